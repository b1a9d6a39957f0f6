//! Splunk HTTP Event Collector: batches of events over HTTPS, with indexer acknowledgement.
//!
//! ```toml
//! [sinks.siem]
//! type = "splunk_hec"
//! inputs = ["decoys", "findings", "decisions"]
//! endpoint = "https://hec.example:8088"
//! token = "${SPLUNK_HEC_TOKEN}"
//! acknowledge = true            # the token must have indexer acknowledgement on
//! ```
//!
//! In: parcels. Out: `POST /services/collector/event`, JSON objects one after another, gzip.
//! Invariants: 1 an event is delivered when the collector said so: with `acknowledge` on only when an indexer has it;
//! 2 every event carries its id in `event.id` and in the indexed field `event_id`, so doubles can be found; 3 an event
//! that the collector refuses by number becomes a dead letter and the rest goes on after it; 4 a code is judged by
//! number and status together, never by its text; 5 only 400, 413, 422 and a collector's own newer codes can be about
//! an event: a proxy that refuses (407), an endpoint that is gone (404, 410) or a redirect alarms, and is tried again.
//! It does not: follow redirects, log the token, or tell the collector's answer apart by wording.
//!
//! Source: Splunk, "Format events for HTTP Event Collector", "About HTTP Event Collector Indexer Acknowledgment",
//! "Troubleshoot HTTP Event Collector" (reply codes).

mod ack;
mod answer;
mod config;
mod request;
mod sink;

pub use config::SINK;
