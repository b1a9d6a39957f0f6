//! Shuts sources out by the kernel's own packet filter, over netlink, without a program and without a library of C.
//!
//! In: what the contract of a set sink brings ([`trapline_sink::set`]): members with their ends, whom to spare, which doors
//! the kernel guards by itself. Out: a table of family `inet` that is ours alone, with sets whose elements end by
//! themselves, and a chain at prerouting, priority raw, which drops all that members send: what is new and what is
//! under way, to this host and through it.
//!
//! ```text
//! FastLane::put ──► bounded queue ──►┐
//! apply, arm, spare ──► requests ───►│ thread (real-time) ──► one socket ──► transactions ──► kernel
//! stands, armed ──► a socket of their own, on a thread of the pool ◄── dumps ──────────────────┤
//! told ◄── thread ◄── a socket that hears of all changes but our own ◄─────────────────────────┘
//! ```
//!
//! Invariants:
//! 1. No table but ours is read further than its name, and none is changed.
//! 2. The table is changed by one socket, in transactions: laid down whole or not at all, and one member at fault undoes no
//!    other.
//! 3. Every element has an end, in the kernel. One that somebody put in without an end gets one, or goes.
//! 4. What was taken is read back before it is called gone.
//! 5. Nothing is changed before [`stands`](trapline_sink::set::SetSink::stands) is first asked by who may change it, so a
//!    start that fails leaves no rules; a close leaves none if nobody is shut out.
//!
//! Where the kernel can (6.9 or newer), the table belongs to our socket while this process lives and stays when it ends:
//! nobody else flushes or changes it, elements end when they should, and the next start takes it over. A kernel that could
//! only have the table vanish with the socket (5.12 to 6.8), and an older one, gets a plain table: what others do to it is
//! heard and repaired.
//!
//! It does not decide, does not know of rules or journals, and does not end connections: their packets are dropped, and
//! they time out.

mod arm;
mod census;
mod change;
mod doors;
mod element;
mod fault;
mod hashes;
mod intervals;
mod kernel;
mod lane;
mod lay;
mod look;
mod nets;
mod news;
mod pace;
mod plan;
mod rules;
mod settings;
mod sink;
mod socket;
mod wire;
mod worker;

pub use pace::real_time_by;
pub use settings::{MEMBERS_MAX, Settings, TABLE_CHARS_MAX};
pub use sink::Nftables;

#[cfg(test)]
extern crate self as trapline_nftables;
#[cfg(test)]
#[path = "../tests/net/mod.rs"]
mod net;
