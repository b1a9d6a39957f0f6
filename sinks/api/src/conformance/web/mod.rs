//! A destination that speaks HTTP, for tests: a server with faults to order, and the suite's rig on top of it.
//!
//! In: a [`Service`], which answers as the real one would and keeps what it accepts. Out: a [`Server`] of it on
//! loopback; and, with a [`Destination`], the whole conformance suite ([`run`]). What the faults and the rig have to do with
//! HTTP is in `server.rs` and `rig.rs`: [`Orders`], [`Listening`] and [`rig_around`] serve a fake that speaks something else.
//!
//! What it does not do: chunked requests, pipelining with an order of its own, HTTP/2.
#![allow(
    clippy::unwrap_used,
    reason = "compiled for tests alone, which stop where something is wrong"
)]

mod impostor;
mod listening;
mod message;
mod orders;
mod peer;
mod rig;
mod server;

pub use impostor::Impostor;
pub use listening::Listening;
pub use message::{Reply, Request};
pub use orders::Orders;
pub use peer::{Peer, Place, rig_around};
pub use rig::{Destination, fault_of, rig, run};
pub use server::{Fault, Server, Service};
