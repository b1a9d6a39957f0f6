//! The suite that every sink must pass, against a strict fake collector, with and without acknowledgement.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops where something is wrong, and says what it skips"
)]

mod fake;

use std::sync::Arc;

use fake::{Hec, Settings, TOKEN, sink_with};
use serde_json::json;
use trapline_sink::StreamSink;
use trapline_sink::conformance::web::{self, Destination, Fault, Place, Reply, fault_of};
use trapline_sink::conformance::{BAD_USER, BUSY_FOR, Case, TAKES_AT_ONCE};
use uuid::Uuid;

/// A collector, and whether its token has acknowledgement.
#[derive(Debug, Clone, Copy)]
struct Collector {
    acknowledge: bool,
}

impl Destination for Collector {
    type Service = Hec;

    fn service(&self, case: Case) -> Option<Hec> {
        Some(Hec::new(Settings {
            acknowledge: self.acknowledge,
            poison: (case == Case::OneBad).then_some(BAD_USER),
            keeps_before_poison: !self.acknowledge,
            events_max: if case == Case::TooLarge {
                TAKES_AT_ONCE
            } else {
                usize::MAX
            },
            ..Settings::default()
        }))
    }

    fn sink(&self, place: &Place) -> Arc<dyn StreamSink> {
        let toml = format!(
            "endpoint = \"{}\"\ntoken = \"{TOKEN}\"\nacknowledge = {}\nacknowledge_interval = \"50ms\"\n\
             acknowledge_timeout = \"2s\"\ntimeout = \"1s\"\n{}",
            place.base,
            self.acknowledge,
            place.tls()
        );
        sink_with(&toml, place.resolver.clone())
    }

    fn stored(&self, hec: &Hec) -> Vec<Uuid> {
        hec.ids()
    }

    fn secrets(&self) -> &[&str] {
        &["Splunk ", "collector", "decoy-credential"]
    }

    fn fault(&self, case: Case) -> Option<Fault> {
        let refusal = match case {
            Case::Busy => {
                let reply = Reply::json(429, &json!({"text": "Server is busy", "code": 9}));
                reply.with("Retry-After", &BUSY_FOR.as_secs().to_string())
            }
            Case::Unauthorized => Reply::json(401, &json!({"text": "Invalid authorization", "code": 3})),
            Case::Forbidden => Reply::json(403, &json!({"text": "Invalid token", "code": 4})),
            Case::Html => Reply::text(200, "<html><body>Success</body></html>"),
            _ => return fault_of(case),
        };
        Some(Fault::Answer(refusal))
    }

    fn failed(&self, status: u16) -> Reply {
        Reply::json(status, &json!({"text": "Internal server error", "code": 8}))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_is_survived_without_acknowledgement() {
    let collector = Collector { acknowledge: false };
    web::run("splunk_hec", collector, &[]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_is_survived_with_acknowledgement() {
    let collector = Collector { acknowledge: true };
    web::run("splunk_hec+ack", collector, &[]).await.unwrap();
}
