//! The suite that every sink must pass, against a strict fake of both endpoints.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is wrong")]

mod fake;

use std::sync::Arc;

use fake::Azure;
use serde_json::json;
use trapline_sink::StreamSink;
use trapline_sink::conformance::web::{self, Destination, Fault, Place, Reply, fault_of};
use trapline_sink::conformance::{BAD_USER, Case, TAKES_AT_ONCE};
use uuid::Uuid;

#[derive(Debug, Clone, Copy)]
struct Sentinel;

impl Destination for Sentinel {
    type Service = Azure;

    fn service(&self, case: Case) -> Option<Azure> {
        Some(Azure {
            poison: (case == Case::OneBad).then_some(BAD_USER),
            records_max: (case == Case::TooLarge).then_some(TAKES_AT_ONCE),
            ..Azure::default()
        })
    }

    fn sink(&self, place: &Place) -> Arc<dyn StreamSink> {
        fake::sink(&place.base, &place.tls(), place.resolver.clone())
    }

    fn stored(&self, azure: &Azure) -> Vec<Uuid> {
        assert_eq!(azure.wrong, Vec::<String>::new());
        azure.ids()
    }

    fn secrets(&self) -> &[&str] {
        &["hush", "client_credentials", "eyJ.", "dataCollectionRules"]
    }

    fn fault(&self, case: Case) -> Option<Fault> {
        let error = |status: u16, code: &str| Reply::json(status, &json!({"error": {"code": code, "message": "no"}}));
        Some(Fault::Answer(match case {
            Case::Unauthorized => error(401, "InvalidToken"),
            Case::Forbidden => error(403, "OperationFailed"),
            _ => return fault_of(case),
        }))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_is_survived() {
    web::run("sentinel", Sentinel, &[]).await.unwrap();
}
