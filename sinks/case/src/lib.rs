//! A case per incident, at TheHive, ServiceNow or Jira: opened, updated, closed.
//!
//! ```toml
//! [sinks.desk]
//! type = "case"
//! inputs = ["decoys", "findings"]
//! vendor = "thehive"                       # a file in config/vendors/
//! endpoint = "https://thehive.example"
//! token = "${THEHIVE_TOKEN}"
//! ```
//!
//! In: parcels, each the one notice that somebody is to read, and the event that an incident is over. Out: what the
//! vendor's profile says ([`trapline_vendor`]) for the steps `find`, `open`, `look`, `update`, `raise`, `close` and
//! `reopen`; a new vendor is a file and no Rust.
//!
//! Invariants: 1. an incident has one case: where none is remembered, the vendor is asked by the incident's id before one
//! is opened, and asked twice, some seconds apart, where a start or a lost answer leaves it open whether one was opened
//! just before; 2. a further notice is a comment, and never fails because the case is there, or was closed or deleted
//! meanwhile: it is opened again if `reopen` says so, or a new one is opened where the old one is gone or takes nothing more; 3. the severity only rises, and not below
//! what a person set; 4. what a peer chose is a value or shown as such, in the vendor's markup; 5. what a vendor refuses
//! for its looks goes once more as a line of our own; if that is refused too, it is a dead letter, and the next notice
//! goes on; 6. a case that a search finds is touched only if it names the incident.
//!
//! What is remembered of a case is kept with the sink's cursor ([`trapline_sink::memory`]). A kill between the vendor's
//! answer and that commit repeats one comment at most, with the same event id in it.
//!
//! What has no incident, news about trapline itself, gets a case of its own, which nobody closes but a person.
//!
//! It does not: read what people write in a case, assign, delete.
//!
//! Source: the profiles name theirs.

mod config;
mod desk;
mod known;
mod markup;
mod sink;
mod stop;
mod told;

pub use config::{SINK, WANTS};
