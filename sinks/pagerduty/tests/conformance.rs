//! The suite that every sink must pass, against a strict fake PagerDuty.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops where something is wrong, and says what it skips"
)]

mod fake;

use std::sync::Arc;

use fake::{KEY, PagerDuty, sink_with};
use trapline_sink::StreamSink;
use trapline_sink::conformance::web::{self, Destination, Place};
use trapline_sink::conformance::{BAD_USER, Case};
use uuid::Uuid;

#[derive(Debug, Clone, Copy)]
struct Service;

impl Destination for Service {
    type Service = PagerDuty;

    fn service(&self, case: Case) -> Option<PagerDuty> {
        (case != Case::TooLarge).then(|| PagerDuty {
            poison: (case == Case::OneBad).then_some(BAD_USER),
            ..PagerDuty::default()
        })
    }

    fn sink(&self, place: &Place) -> Arc<dyn StreamSink> {
        let toml = format!(
            "endpoint = \"{}\"\nrouting_key = \"{KEY}\"\ntimeout = \"1s\"\n{}",
            place.base,
            place.tls()
        );
        sink_with(&toml, place.resolver.clone())
    }

    fn stored(&self, service: &PagerDuty) -> Vec<Uuid> {
        service.ids()
    }

    fn secrets(&self) -> &[&str] {
        &["SECRET", "routing_key", "custom_details"]
    }
}

/// Cases that cannot apply.
static DECLARED: &[(Case, &str)] = &[(
    Case::TooLarge,
    "an event is a request of its own, and what is too large for it goes without details",
)];

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_is_survived() {
    web::run("pagerduty", Service, DECLARED).await.unwrap();
}
