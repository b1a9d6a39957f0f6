//! The contract on every status: what is retried, who is alarmed, and what alone becomes a dead letter.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops where something is wrong, and says what it skips"
)]

mod fake;

use std::sync::Arc;
use std::time::Duration;

use fake::{Collector, Settings, TOKEN, sink_with};
use trapline_sink::conformance::web::{Fault, Reply};
use trapline_sink::conformance::{Driver, events};
use trapline_sink::dial::Resolver;
use trapline_sink::{FaultKind, Outcome, StreamSink};

fn sink(collector: &Collector, acknowledge: bool) -> Arc<dyn StreamSink> {
    let toml = format!(
        "endpoint = \"{}\"\ntoken = \"{}\"\nacknowledge = {acknowledge}\nacknowledge_interval = \"50ms\"\n\
         acknowledge_timeout = \"1s\"\n",
        collector.url(),
        TOKEN
    );
    sink_with(&toml, Resolver::default())
}

/// Statuses after which every event stays where it is, and how an operator is told.
const KEPT: &[(u16, FaultKind)] = &[
    (204, FaultKind::Server),
    (300, FaultKind::Config),
    (301, FaultKind::Config),
    (302, FaultKind::Config),
    (303, FaultKind::Config),
    (304, FaultKind::Config),
    (307, FaultKind::Config),
    (308, FaultKind::Config),
    (401, FaultKind::Auth),
    (402, FaultKind::Config),
    (403, FaultKind::Auth),
    (404, FaultKind::Config),
    (405, FaultKind::Config),
    (406, FaultKind::Config),
    (407, FaultKind::Auth),
    (408, FaultKind::Busy),
    (409, FaultKind::Config),
    (410, FaultKind::Config),
    (411, FaultKind::Config),
    (412, FaultKind::Config),
    (414, FaultKind::Config),
    (415, FaultKind::Config),
    (416, FaultKind::Config),
    (417, FaultKind::Config),
    (418, FaultKind::Config),
    (421, FaultKind::Config),
    (423, FaultKind::Config),
    (424, FaultKind::Config),
    (425, FaultKind::Busy),
    (426, FaultKind::Config),
    (428, FaultKind::Config),
    (429, FaultKind::Busy),
    (431, FaultKind::Config),
    (451, FaultKind::Config),
    (500, FaultKind::Server),
    (501, FaultKind::Server),
    (502, FaultKind::Server),
    (503, FaultKind::Server),
    (504, FaultKind::Server),
    (505, FaultKind::Server),
    (507, FaultKind::Server),
    (511, FaultKind::Auth),
];

#[tokio::test]
async fn a_refusal_on_the_way_loses_no_event_and_says_whom_to_ask() {
    let collector = Collector::start(Settings::default()).await;
    let sink = sink(&collector, false);
    for body in ["", "<html>refused</html>", "{\"code\":407,\"message\":\"no\"}"] {
        for (status, kind) in KEPT
            .iter()
            .filter(|(status, _)| body.is_empty() || ![204, 304].contains(status))
        {
            collector.order(Fault::Answer(Reply::text(*status, body)));
            let batch = events(3, false);
            let first = sink.deliver(&batch).await;
            assert_eq!(first.outcomes, vec![Outcome::Retry; 3], "{status}");
            assert_eq!(first.fault.map(|fault| fault.kind), Some(*kind), "{status}");
            assert_eq!(
                sink.deliver(&batch).await.outcomes,
                vec![Outcome::Delivered; 3],
                "{status}"
            );
        }
    }
    assert_eq!(collector.wrong(), Vec::<String>::new());
}

/// Statuses and codes that may be about an event: the batch is split, and alone the event is a dead letter.
#[tokio::test]
async fn what_may_be_about_an_event_is_split() {
    let collector = Collector::start(Settings::default()).await;
    let sink = sink(&collector, false);
    for (status, body) in [
        (400, ""),
        (413, ""),
        (422, ""),
        (400, r#"{"text":"No data","code":5}"#),
        (400, r#"{"text":"Invalid data format","code":6}"#),
        (400, r#"{"text":"Event field is required","code":12}"#),
        (400, r#"{"text":"Event field cannot be blank","code":13}"#),
        (400, r#"{"text":"Error in handling indexed fields","code":15}"#),
        (413, r#"{"text":"Request entity too large","code":413}"#),
        (422, r#"{"text":"new","code":31}"#),
        (400, r#""Invalid data format""#),
    ] {
        collector.order(Fault::Answer(Reply::text(status, body)));
        let delivery = sink.deliver(&events(2, false)).await;
        let split =
            |outcome: &Outcome| matches!(outcome, Outcome::Suspect(reason) if reason.contains(&status.to_string()));
        assert!(delivery.outcomes.iter().all(split), "{status} {body}: {delivery:?}");
        assert_eq!(delivery.fault, None, "{status} {body}");
    }
}

#[tokio::test]
async fn each_code_of_the_documentation_is_kept_and_told() {
    let collector = Collector::start(Settings::default()).await;
    let sink = sink(&collector, false);
    for (status, code, kind) in [
        (403, 1, FaultKind::Auth),
        (401, 2, FaultKind::Auth),
        (401, 3, FaultKind::Auth),
        (403, 4, FaultKind::Auth),
        (400, 7, FaultKind::Config),
        (500, 8, FaultKind::Server),
        (503, 9, FaultKind::Busy),
        (400, 16, FaultKind::Auth),
        (503, 18, FaultKind::Server),
        (503, 19, FaultKind::Server),
        (503, 20, FaultKind::Server),
        (503, 23, FaultKind::Server),
        (429, 26, FaultKind::Busy),
    ] {
        let body = format!("{{\"text\":\"x\",\"code\":{code}}}");
        collector.order(Fault::Answer(Reply::text(status, &body)));
        let batch = events(2, false);
        let first = sink.deliver(&batch).await;
        assert_eq!(first.outcomes, vec![Outcome::Retry; 2], "code {code}");
        assert_eq!(first.fault.map(|fault| fault.kind), Some(kind), "code {code}");
        assert_eq!(
            sink.deliver(&batch).await.outcomes,
            vec![Outcome::Delivered; 2],
            "code {code}"
        );
    }
}

#[tokio::test]
async fn a_whole_backlog_outlives_a_proxy_that_refuses_and_an_endpoint_that_is_gone() {
    for status in [407, 410, 404, 302] {
        let collector = Collector::start(Settings::default()).await;
        let sink = sink(&collector, false);
        let sent = events(40, false);
        let mut driver = Driver::new(sink, sent.clone());
        for _ in 0..20 {
            collector.order(Fault::Answer(Reply::text(status, "gone").with("Retry-After", "0")));
        }
        while !driver.is_done() {
            driver.step(Duration::from_secs(30)).await.unwrap();
        }
        assert_eq!((driver.delivered().len(), driver.dead().len()), (40, 0), "{status}");
        assert_eq!(collector.ids().len(), 40, "{status}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_nothing_is_sent_to_where_it_points() {
    let elsewhere = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let location = format!("http://{}/services/collector/event", elsewhere.local_addr().unwrap());
    for status in [301, 302, 303, 307, 308] {
        let collector = Collector::start(Settings::default()).await;
        let sink = sink(&collector, false);
        collector.order(Fault::Answer(Reply::status(status).with("Location", &location)));
        let delivery = sink.deliver(&events(1, false)).await;
        let fault = delivery.fault.unwrap();
        assert!(fault.message.contains("never followed"), "{}", fault.message);
        assert!(!fault.message.contains(&location), "{}", fault.message);
    }
    // Whoever connected would be waiting in the backlog by now.
    let asked = futures_util::FutureExt::now_or_never(elsewhere.accept());
    assert!(asked.is_none(), "{asked:?}");
}

#[tokio::test]
async fn only_a_collector_without_the_page_goes_on_without_acknowledgement() {
    for (status, goes_on) in [
        (404, true),
        (405, true),
        (302, false),
        (407, false),
        (410, false),
        (503, false),
    ] {
        let collector = Collector::start(Settings::default()).await;
        let sink = sink(&collector, true);
        collector.order_ack_status(status);
        let delivery = sink.deliver(&events(2, false)).await;
        let expected = if goes_on { Outcome::Delivered } else { Outcome::Retry };
        assert_eq!(delivery.outcomes, vec![expected; 2], "{status}");
        let noted = sink.notes().iter().any(|note| note.contains("acknowledgement off"));
        assert_eq!(noted, goes_on, "{status}");
    }
}

#[tokio::test]
async fn without_an_answer_for_its_number_nothing_counts_as_indexed() {
    for (status, kind) in [
        (404, FaultKind::Config),
        (302, FaultKind::Config),
        (407, FaultKind::Auth),
        (503, FaultKind::Server),
    ] {
        let collector = Collector::start(Settings {
            acknowledge: true,
            ..Settings::default()
        })
        .await;
        let sink = sink(&collector, true);
        collector.order_ack_status(status);
        let batch = events(2, false);
        let first = sink.deliver(&batch).await;
        assert_eq!(first.outcomes, vec![Outcome::Retry; 2], "{status}");
        assert_eq!(first.fault.map(|fault| fault.kind), Some(kind), "{status}");
        collector.heal();
        assert_eq!(
            sink.deliver(&batch).await.outcomes,
            vec![Outcome::Delivered; 2],
            "{status}"
        );
    }
}
