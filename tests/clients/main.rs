//! Real clients from Debian against each service: what they offer becomes events, and they believe what we claim to be.
//!
//! One file a family of protocols. A client that is not installed is a loud skip.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops where something is wrong, and says what it skips"
)]

mod databases;
mod datagrams;
mod feed;
#[path = "../harness/mod.rs"]
mod harness;
mod mail;
mod noise;
mod notices;
mod pager;
mod rdp;
mod sip;
mod ssh;
mod tls;
mod vnc;
mod web;
mod week;
mod windows;

use harness::{Trap, eventually};
use serde_json::Value;

/// A trap with one decoy, `lure`. In: the further keys of its table, a line each, the service among them.
fn lure(keys: &str) -> Trap {
    Trap::start(&format!("{}{}", one_decoy(keys), SINK))
}

fn one_decoy(keys: &str) -> String {
    format!("[journal]\npath = \"state/journal.db\"\n[decoys.lure]\nlisten = [\"127.0.0.1:0\"]\n{keys}\n")
}

const SINK: &str = "[sinks.console]\ntype = \"console\"\ninputs = [\"*\"]\n";

/// Waits for the first event of this action (`decoy-credential`) that has all of these ECS paths, as JSON pointers
/// (`/user/name`), with these values.
fn event(trap: &Trap, action: &str, wanted: &[(&str, Value)]) -> Value {
    eventually(&format!("`{action}` with {wanted:?} is recorded"), || {
        let events = trap.events(&["--limit", "10000", "--format", "ecs"]);
        events.into_iter().find(|event| {
            event["event"]["action"] == action && wanted.iter().all(|(path, value)| event.pointer(path) == Some(value))
        })
    })
}
