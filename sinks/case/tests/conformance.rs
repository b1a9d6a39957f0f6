//! The suite that every sink must pass, against a strict fake of each vendor.
#![allow(clippy::unwrap_used, reason = "a test stops where something is wrong")]

mod fake;

use std::sync::Arc;

use fake::{Desk, Vendor, sink_at};
use trapline_sink::StreamSink;
use trapline_sink::conformance::Case;
use trapline_sink::conformance::web::{self, Destination, Place};
use uuid::Uuid;

#[derive(Clone, Copy)]
struct Desks(Vendor);

impl Destination for Desks {
    type Service = Desk;

    fn service(&self, case: Case) -> Option<Desk> {
        (!DECLARED.iter().any(|(declared, _)| *declared == case)).then(|| Desk::new(self.0))
    }

    fn sink(&self, place: &Place) -> Arc<dyn StreamSink> {
        let sink = sink_at(self.0, &place.base, &place.tls(), place.resolver.clone());
        sink.recall(Vec::new());
        sink
    }

    fn stored(&self, desk: &Desk) -> Vec<Uuid> {
        assert_eq!(desk.wrong, Vec::<String>::new());
        desk.told()
    }

    fn secrets(&self) -> &[&str] {
        &["SECRET", "Bearer", "Basic ", "description"]
    }
}

const DECLARED: &[(Case, &str)] = &[
    (
        Case::OneBad,
        "a notice that is refused as it is goes as a line of our own words, so no event is at fault",
    ),
    (
        Case::TooLarge,
        "a request holds one notice, so there is nothing to split",
    ),
];

async fn suite(vendor: Vendor) {
    web::run(vendor.word(), Desks(vendor), DECLARED).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_is_survived_at_thehive() {
    suite(Vendor::TheHive).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_is_survived_at_servicenow_sir() {
    suite(Vendor::ServiceNowSir).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_is_survived_at_servicenow_incident() {
    suite(Vendor::ServiceNowIncident).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_is_survived_at_jira_cloud() {
    suite(Vendor::JiraCloud).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_is_survived_at_jira_datacenter() {
    suite(Vendor::JiraDataCenter).await;
}
