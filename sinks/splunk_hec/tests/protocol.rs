//! What the collector is sent, and what its answers lead to, beyond the conformance cases.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops where something is wrong, and says what it skips"
)]

mod fake;

use std::sync::Arc;

use fake::{Collector, Settings, TOKEN, sink_with};
use trapline_sink::config::Table;
use trapline_sink::conformance::web::{Fault, Reply};
use trapline_sink::conformance::{BAD_USER, events};
use trapline_sink::dial::Resolver;
use trapline_sink::{FaultKind, Outcome, Parcel, StreamSink};
use trapline_sink_splunk_hec::SINK;

fn sink(collector: &Collector, further: &str) -> Arc<dyn StreamSink> {
    let toml = format!(
        "endpoint = \"{}\"\ntoken = \"{}\"\nacknowledge_interval = \"50ms\"\nacknowledge_timeout = \"1s\"\n{further}",
        collector.url(),
        TOKEN
    );
    sink_with(&toml, Resolver::default())
}

fn ids(parcels: &[Arc<Parcel>]) -> Vec<String> {
    parcels.iter().map(|parcel| parcel.event.id.to_string()).collect()
}

#[tokio::test]
async fn where_it_sends_and_what_the_collector_said_are_told_without_the_token() {
    let collector = Collector::start(Settings::default()).await;
    let sink = sink(&collector, "index = \"traps\"");
    assert_eq!(sink.word(), None);
    sink.deliver(&events(1, false)).await;
    let word = sink.word().unwrap();
    assert!(
        word.starts_with("http status 200: {") && word.contains("\"code\":0"),
        "{word}"
    );
    let destination = sink.destination().unwrap();
    assert_eq!(
        destination,
        format!("{}, index `traps`", collector.url().trim_end_matches('/'))
    );
    assert!(!(word + &destination).contains(TOKEN));
}

#[tokio::test]
async fn a_batch_is_one_request_that_a_strict_collector_takes() {
    for compression in ["gzip", "none"] {
        let collector = Collector::start(Settings::default()).await;
        let batch = events(50, false);
        let further = format!("index = \"traps\"\ncompression = \"{compression}\"");
        let delivery = sink(&collector, &further).deliver(&batch).await;
        assert!(delivery.outcomes.iter().all(|outcome| *outcome == Outcome::Delivered));
        assert_eq!((collector.requests(), collector.ids()), (1, ids(&batch)));
        assert_eq!(collector.wrong(), Vec::<String>::new());
        let first = &collector.stored()[0];
        assert_eq!(
            (&first["index"], &first["sourcetype"]),
            (&"traps".into(), &"trapline:ecs".into())
        );
        assert_eq!(first["event"]["event"]["id"], first["fields"]["event_id"]);
    }
}

#[tokio::test]
async fn the_events_after_a_refused_one_go_on_and_none_is_sent_twice() {
    let collector = Collector::start(Settings {
        poison: Some(BAD_USER),
        ..Settings::default()
    })
    .await;
    let batch = events(9, true);
    let delivery = sink(&collector, "").deliver(&batch).await;
    let refused: Vec<usize> = (0..9)
        .filter(|at| matches!(delivery.outcomes[*at], Outcome::Rejected(_)))
        .collect();
    assert_eq!(refused, [4]);
    let mut expected = ids(&batch);
    expected.remove(4);
    assert_eq!(collector.ids(), expected);
}

#[tokio::test]
async fn without_an_indexers_word_nothing_is_delivered() {
    let collector = Collector::start(Settings {
        acknowledge: true,
        acks_after: 1000,
        ..Settings::default()
    })
    .await;
    let delivery = sink(&collector, "acknowledge = true").deliver(&events(3, false)).await;
    assert_eq!(delivery.outcomes, vec![Outcome::Retry; 3]);
    assert_eq!(delivery.fault.map(|fault| fault.kind), Some(FaultKind::Server));
}

#[tokio::test]
async fn acknowledgements_lost_in_a_restart_are_not_taken_for_new_ones() {
    let collector = Collector::start(Settings {
        acknowledge: true,
        ..Settings::default()
    })
    .await;
    let sink = sink(&collector, "acknowledge = true");
    let first = events(2, false);
    assert_eq!(sink.deliver(&first).await.outcomes, vec![Outcome::Delivered; 2]);
    collector.restart();
    let second = events(2, false);
    assert_eq!(sink.deliver(&second).await.outcomes, vec![Outcome::Retry; 2]);
    assert_eq!(sink.deliver(&second).await.outcomes, vec![Outcome::Delivered; 2]);
    assert_eq!(collector.ids(), [ids(&first), ids(&second)].concat());
}

#[tokio::test]
async fn a_collector_that_has_forgotten_the_channel_gets_the_events_again_at_once_on_a_new_one() {
    let collector = Collector::start(Settings {
        acknowledge: true,
        ..Settings::default()
    })
    .await;
    let sink = sink(&collector, "acknowledge = true");
    collector.order_unknown_channels(1);
    let batch = events(2, false);
    let delivery = sink.deliver(&batch).await;
    assert_eq!(delivery.outcomes, vec![Outcome::Delivered; 2]);
    assert_eq!(delivery.fault, None, "nobody is alarmed");
    assert_eq!((collector.requests(), collector.ids()), (2, ids(&batch)));
}

#[tokio::test]
async fn a_collector_that_knows_no_channel_at_all_is_a_fault_after_three_of_them() {
    let collector = Collector::start(Settings {
        acknowledge: true,
        ..Settings::default()
    })
    .await;
    let sink = sink(&collector, "acknowledge = true");
    collector.order_unknown_channels(usize::MAX);
    let delivery = sink.deliver(&events(2, false)).await;
    assert_eq!(delivery.outcomes, vec![Outcome::Retry; 2]);
    assert_eq!(delivery.fault.map(|fault| fault.kind), Some(FaultKind::Config));
    assert_eq!(collector.requests(), 3);
}

#[tokio::test]
async fn a_token_without_acknowledgement_delivers_and_status_says_so() {
    let collector = Collector::start(Settings::default()).await;
    let sink = sink(&collector, "acknowledge = true");
    assert_eq!(sink.limits().in_flight, 4, "an acknowledgement takes its time");
    assert_eq!(sink.deliver(&events(1, false)).await.outcomes, vec![Outcome::Delivered]);
    assert_eq!(sink.limits().in_flight, 1, "an answer alone does not");
    assert!(
        sink.notes().iter().any(|note| note.contains("acknowledgement off")),
        "{:?}",
        sink.notes()
    );
}

#[tokio::test]
async fn one_success_without_a_number_does_not_turn_acknowledgement_off() {
    let collector = Collector::start(Settings {
        acknowledge: true,
        ..Settings::default()
    })
    .await;
    let sink = sink(&collector, "acknowledge = true");
    collector.order(Fault::Answer(Reply::text(200, "{\"text\":\"Success\",\"code\":0}")));
    let batch = events(2, false);
    assert_eq!(sink.deliver(&batch).await.outcomes, vec![Outcome::Retry; 2]);
    assert_eq!(sink.deliver(&batch).await.outcomes, vec![Outcome::Delivered; 2]);
    assert_eq!(collector.ids(), ids(&batch));
}

#[tokio::test]
async fn an_event_that_cannot_fit_is_refused_with_the_bound_and_never_cut() {
    let collector = Collector::start(Settings::default()).await;
    let delivery = sink(&collector, "event_bytes_max = 1000")
        .deliver(&events(1, false))
        .await;
    assert!(
        matches!(&delivery.outcomes[0], Outcome::Rejected(reason) if reason.contains("`event_bytes_max` = 1000")),
        "{delivery:?}"
    );
    assert_eq!(collector.requests(), 0);
}

#[tokio::test]
async fn a_large_event_is_made_to_fit_and_stays_json() {
    let collector = Collector::start(Settings::default()).await;
    let mut large = (*events(1, false)[0].event).clone();
    large.set(trapline_schemas::Field::PayloadBase64, vec![b'x'; 60_000]);
    large.set(trapline_schemas::Field::PayloadSize, 60_000_i64);
    let batch = [Arc::new(Parcel::new(9, Arc::new(large)))];
    assert_eq!(
        sink(&collector, "").deliver(&batch).await.outcomes,
        vec![Outcome::Delivered]
    );
    let stored = collector.stored()[0]["event"].clone();
    assert!(stored.to_string().len() <= 9500);
    assert_eq!(stored["event"]["id"], batch[0].event.id.to_string());
}

#[tokio::test]
async fn the_health_page_is_asked_and_the_token_is_never_shown() {
    let collector = Collector::start(Settings::default()).await;
    let sink = sink(&collector, "");
    assert_eq!(sink.check().await.unwrap(), "the collector is healthy");
    collector.order(Fault::Answer(Reply::text(
        401,
        "{\"text\":\"Invalid authorization\",\"code\":3}",
    )));
    let delivery = sink.deliver(&events(1, false)).await;
    let shown = format!("{delivery:?} {:?}", sink.notes());
    assert!(!shown.contains(TOKEN), "{shown}");
}

#[test]
fn an_endpoint_that_would_leak_or_mislead_is_refused() {
    for endpoint in [
        "http://hec.example:8088",
        "https://hec.example:8088/services/collector/event",
        "https://user:word@hec.example",
        "https://hec.example/?token=1",
        "ftp://hec.example",
        "hec.example:8088",
    ] {
        let toml = Box::leak(format!("endpoint = \"{endpoint}\"\ntoken = \"x\"").into_boxed_str());
        let (table, problems) = Table::for_test(toml, SINK.keys);
        let _ = (SINK.parse)(&table);
        assert!(problems.has_errors(), "{endpoint}");
    }
}
