//! The live feed over HTTP: what the control socket answers, for a SOC's programs.
//!
//! In: connections to `[web] listen`, each with one request. Out: events by page or as they come, status and metrics,
//! from the same calls as [`crate::control`]. Nothing listens if the table is absent.
//!
//! | path | needs a token | what |
//! |---|---|---|
//! | `/healthz` | no | one word: `ok`, or `failing` with 503 |
//! | `/metrics` | yes | Prometheus text |
//! | `/api/v1/status` | yes | as `status --json` |
//! | `/api/v1/events` | yes | a page of matching events |
//! | `/api/v1/events/ID` | yes | one event, by its id or its offset |
//! | `/api/v1/events/stream` | yes | events as they come: Server-Sent Events or NDJSON |
//! | `/lists/NAME.txt` and others | one of lists | what a sink of type `blocklist` publishes, for firewalls |
//!
//! Invariants:
//! 1. On an address that is not loopback there is TLS, or nothing listens: the configuration refuses the rest.
//! 2. A request whose Host is none of ours is answered nothing (DNS rebinding); only GET and HEAD are, without a body.
//!    Who shows no token is told nothing of what this is: a decoy's neighbour is not to be known.
//! 3. Tokens are kept as hashes, compared in constant time, and never logged. A right one is never refused because
//!    others guess.
//! 4. A stream's id is an offset: who comes back with the last one it had misses nothing and gets nothing twice; what
//!    retention took meanwhile is told as a gap. Its token is looked at again and again.
//! 5. Connections, those of one source without a token, streams, heads, pages, searches and sources that guess are
//!    bounded; where no seat is left, who has shown no token makes room. A reader that takes nothing, or whose network is
//!    gone, is left after [`patient::WRITE_TIME_MAX`] and costs nobody anything until then.
//!
//! What it does not do: write events, change anything, serve pages, speak HTTP/2, keep connections alive.

pub mod answer;
pub mod bearers;
mod conditional;
mod credentials;
mod feed;
mod hosts;
mod lists;
#[cfg(test)]
mod lists_tests;
mod lobby;
mod misses;
mod opening;
mod params;
pub mod patient;
pub mod reach;
mod reader;
mod route;
pub mod server;
mod shown;
mod speech;
pub mod tls;
pub mod tokens;
#[cfg(test)]
mod tokens_tests;

pub use server::{CONNECTIONS_MAX, STREAMS_MAX, Web};
