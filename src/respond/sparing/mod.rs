//! Who is never acted on: found out about this host, and again when it changes.
//!
//! In: the kernel's addresses and routes, files of this host, what the sinks send to, `allow`, login records, tokens that
//! were right. Out: a [`Spared`](trapline_sink::set::Spared) for all set sinks, anew when anything changes; rows with
//! their reasons, and notes on what could not be found out, for people.
//!
//! Invariants:
//! 1. What a peer sends to a decoy adds nobody, nor does an open connection: an administrator is who logged in to this
//!    host, started this process by hand over SSH, or showed a token that was right ([`Admins`]).
//! 2. What was found stays on the list until it is found that it is gone; a source that fails takes nothing off.
//! 3. Each source has a task of its own: a disk or a resolver that hangs holds up no other. Nothing waits on the
//!    runtime's threads.
//! 4. Every table has a bound, and a note says when it is reached.
//!
//! Not known: addresses of other network namespaces, the global addresses of a gateway that routes name by its link-local
//! one, brokers that Kafka's brokers tell of, and what an ICMP redirect says, which anybody on the link can send.

mod admins;
mod board;
mod files;
mod keeper;
mod kernel;
mod logins;
mod names;
mod resolvers;
mod routes;
mod shared;
mod timeservers;

#[cfg(test)]
mod tests;

pub use admins::Admins;
pub use board::Row;
pub use keeper::{Destination, Host, READY_WITHIN, Settings, Sparing, Work, open};
pub use logins::started_from;
pub use shared::is_shared;
