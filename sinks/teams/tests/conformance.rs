//! The suite that every sink must pass, against a strict fake workflow.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops where something is wrong, and says what it skips"
)]

mod fake;

use std::sync::Arc;

use fake::{PATH, Workflow, refusal, sink_with};
use trapline_sink::StreamSink;
use trapline_sink::conformance::web::{self, Destination, Fault, Place, Reply, fault_of};
use trapline_sink::conformance::{BAD_USER, BUSY_FOR, Case};
use uuid::Uuid;

#[derive(Debug, Clone, Copy)]
struct Teams;

impl Destination for Teams {
    type Service = Workflow;

    fn service(&self, case: Case) -> Option<Workflow> {
        let workflow = Workflow {
            poison: (case == Case::OneBad).then_some(BAD_USER),
            ..Workflow::default()
        };
        (case != Case::TooLarge).then_some(workflow)
    }

    fn sink(&self, place: &Place) -> Arc<dyn StreamSink> {
        let (base, tls) = (&place.base, place.tls());
        let toml = format!("webhook_url = \"{base}{PATH}\"\ntimeout = \"1s\"\ninterval = \"250ms\"\n{tls}");
        sink_with(&toml, place.resolver.clone())
    }

    fn stored(&self, workflow: &Workflow) -> Vec<Uuid> {
        assert_eq!(workflow.wrong, Vec::<String>::new());
        workflow.ids()
    }

    fn secrets(&self) -> &[&str] {
        &["SECRET", "AdaptiveCard"]
    }

    fn fault(&self, case: Case) -> Option<Fault> {
        Some(Fault::Answer(match case {
            Case::Busy => refusal(429, "TooManyRequests").with("Retry-After", &BUSY_FOR.as_secs().to_string()),
            Case::Unauthorized => refusal(401, "DirectApiAuthorizationRequired"),
            Case::Forbidden => refusal(403, "MisMatchingOAuthClaims"),
            _ => return fault_of(case),
        }))
    }

    fn failed(&self, status: u16) -> Reply {
        refusal(status, "InternalServerError")
    }
}

const DECLARED: &[(Case, &str)] = &[(
    Case::TooLarge,
    "a request holds one message, so there is nothing to split",
)];

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_is_survived() {
    web::run("teams", Teams, DECLARED).await.unwrap();
}
