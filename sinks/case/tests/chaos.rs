//! A vendor that answers anything: a notice ends after a bounded number of requests, all of them below the vendor's own
//! paths, and what is told of it is short and without secrets.
#![allow(clippy::unwrap_used, reason = "a test stops where something is wrong")]

mod fake;

use std::sync::Arc;

use fake::{CLIENT_SECRET, PASSWORD, TOKEN, Vendor, end, sink_at, touch};
use proptest::prelude::*;
use serde_json::{Value, json};
use trapline_sink::conformance::web::{Reply, Request, Server, Service};
use trapline_sink::dial::Resolver;
use trapline_sink::{Delivery, Outcome, Parcel};

/// Most requests of one notice, its login included.
const REQUESTS_MAX: usize = 80;

/// Says what it was told to say, over and over.
struct Chaos {
    replies: Vec<(u16, Value)>,
    next: usize,
    targets: Vec<String>,
}

impl Service for Chaos {
    fn answer(&mut self, request: &Request) -> Reply {
        self.targets.push(request.target.clone());
        if request.path() == "/oauth_token.do" {
            let token = json!({ "access_token": "token-SECRET-9", "token_type": "Bearer" });
            return Reply::json(200, &token);
        }
        let (status, body) = self.replies[self.next % self.replies.len()].clone();
        self.next += 1;
        Reply::json(status, &body)
    }
}

/// Ids as a hostile vendor would choose them.
const IDS: &[&str] = &[
    "~1",
    "..",
    ".",
    "../../admin",
    "%2e%2e",
    "@evil.example/",
    "//evil.example",
    "a\r\nX: y",
    "",
    "\u{202e}",
    "x?y#z",
    "\\..\\",
];

fn id() -> impl Strategy<Value = Value> {
    prop_oneof![
        6 => prop::sample::select(IDS).prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => Just(json!(["x"])),
        1 => Just(Value::from("x".repeat(5000))),
    ]
}

/// Answers that mean something to one vendor or another.
fn body() -> impl Strategy<Value = Value> {
    (id(), any::<bool>(), 0..8_usize).prop_map(|(id, closed, form)| {
        let reference = "00000000-0000-2000-0000-000000000001";
        let stage = if closed { "Closed" } else { "New" };
        let record = json!({ "sys_id": id, "number": id, "state": if closed { "3" } else { "16" }, "severity": id, "urgency": "" });
        let issue = json!({ "id": id, "key": id, "fields": { "labels": [format!("trapline-{reference}")] } });
        match form {
            0 => json!([{ "_id": id, "sourceRef": reference, "caseId": id }]),
            1 => json!({ "_id": id, "number": id, "stage": stage, "severity": 1 }),
            2 => json!({ "result": [{ "sys_id": id, "correlation_id": reference, "number": "x" }] }),
            3 => json!({ "result": record }),
            4 => json!({ "issues": [issue] }),
            5 => json!({ "id": id, "key": id, "fields": { "status": { "statusCategory": { "key": if closed { "done" } else { "new" } } } } }),
            6 => json!({ "transitions": [{ "id": id, "name": id, "to": { "statusCategory": { "key": "done" } } }] }),
            _ => json!({ "message": format!("{TOKEN} {PASSWORD} {CLIENT_SECRET} token-SECRET-9"), "type": id, "error": { "message": TOKEN } }),
        }
    })
}

fn replies() -> impl Strategy<Value = Vec<(u16, Value)>> {
    let status = prop::sample::select(
        &[
            200_u16, 200, 201, 201, 204, 302, 400, 401, 403, 404, 404, 409, 422, 429, 503,
        ][..],
    );
    prop::collection::vec((status, body()), 1..9)
}

/// What became of the notices, and what was asked for each.
async fn told(vendor: Vendor, replies: Vec<(u16, Value)>) -> Vec<(Delivery, Vec<String>)> {
    let chaos = Chaos {
        replies,
        next: 0,
        targets: Vec::new(),
    };
    let server = Server::start(chaos, None).await;
    let sink = sink_at(vendor, &server.url(), "", Resolver::default());
    sink.recall(Vec::new());
    let mut told = Vec::new();
    for event in [touch(1, 1, "intent"), touch(2, 1, "proof"), end(3, 1)] {
        let delivery = sink.deliver(&[Arc::new(Parcel::new(0, Arc::new(event)))]).await;
        told.push((delivery, server.with(|chaos| std::mem::take(&mut chaos.targets))));
        for memo in sink.memos() {
            assert!(
                memo.value()
                    .is_none_or(|value| !String::from_utf8_lossy(value).contains("SECRET"))
            );
        }
    }
    told
}

/// What is sent to a vendor, and it alone.
fn secrets(vendor: Vendor) -> &'static [&'static str] {
    match vendor {
        Vendor::TheHive | Vendor::JiraCloud | Vendor::JiraDataCenter => &[TOKEN],
        Vendor::ServiceNowSir => &[CLIENT_SECRET, "token-SECRET-9"],
        Vendor::ServiceNowIncident => &[PASSWORD],
    }
}

const ROOTS: &[&str] = &["/api/v1/", "/api/now/table/", "/rest/api/", "/oauth_token.do"];

fn is_below(target: &str) -> bool {
    let path = target
        .split('?')
        .next()
        .unwrap_or_default()
        .to_lowercase()
        .replace("%2e", ".");
    let climbs = path.split('/').any(|segment| matches!(segment, "." | ".."));
    ROOTS.iter().any(|root| target.starts_with(root)) && !climbs
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn any_bytes_of_a_vendor_end_a_notice_within_bounds_and_below_its_paths(
        vendor in prop::sample::select(&Vendor::ALL[..]), replies in replies(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for (delivery, targets) in runtime.block_on(told(vendor, replies)) {
            prop_assert!(targets.len() <= REQUESTS_MAX, "{} requests: {targets:?}", targets.len());
            prop_assert!(targets.iter().all(|target| is_below(target)), "{targets:?}");
            let said = match (&delivery.outcomes[0], &delivery.fault) {
                (Outcome::Rejected(reason), None) => reason.clone(),
                (Outcome::Retry, Some(fault)) => fault.message.clone(),
                (Outcome::Delivered, None) => String::new(),
                other => return Err(TestCaseError::fail(format!("{other:?}"))),
            };
            let is_shown = secrets(vendor).iter().any(|secret| said.contains(secret));
            prop_assert!(said.len() < 1000 && !is_shown, "{}", said);
        }
    }
}
