//! What PagerDuty is sent, field by field.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops where something is wrong, and says what it skips"
)]

mod fake;

use fake::{KEY, PagerDuty, batch, event, sink};
use proptest::prelude::*;
use serde_json::Value;
use trapline_schemas::text::is_clean;
use trapline_schemas::{Action, Event, Field, Timestamp};
use trapline_sink::conformance::web::{Fault, Reply, Server};
use trapline_sink::{Delivery, FaultKind, Outcome};
use uuid::Uuid;

async fn start() -> Server<PagerDuty> {
    Server::start(PagerDuty::default(), None).await
}

fn taken(server: &Server<PagerDuty>) -> Vec<Value> {
    server.with(|service| service.taken.clone())
}

/// What is sent of events, all of which are taken.
async fn sent(keys: &str, events: Vec<Event>) -> Vec<Value> {
    let server = start().await;
    let sink = sink(&server.url(), keys);
    for event in events {
        assert_eq!(sink.deliver(&batch(event)).await, Delivery::all(1));
    }
    taken(&server)
}

fn health(action: Action, sink: &str) -> Event {
    let mut event = Event::new(Uuid::new_v4(), Timestamp::now(), action);
    event.set(Field::SinkName, sink);
    event.set(Field::ObserverName, "lure-test");
    event
}

#[tokio::test]
async fn a_touch_triggers_the_alert_of_its_incident_with_what_is_known() {
    let touch = event(7, "proof");
    let (id, at) = (touch.id, touch.at);
    let sent = sent("", vec![touch]).await;
    let told = &sent[0];
    assert_eq!(told["event_action"], "trigger");
    assert_eq!(told["routing_key"], KEY);
    assert_eq!(told["dedup_key"], Uuid::from_u128(7).to_string());
    assert_eq!(told["client"], "trapline on lure-test");
    let payload = &told["payload"];
    for (name, value) in [
        ("source", "203.0.113.77"),
        ("severity", "critical"),
        ("component", "ssh"),
        ("group", "lyon"),
        ("class", "decoy-credential"),
        ("timestamp", &at.to_string()),
    ] {
        assert_eq!(payload[name], value, "{name}");
    }
    let summary = payload["summary"].as_str().unwrap();
    assert!(
        summary.contains("203.0.113.77") && summary.contains("lure-test"),
        "{summary}"
    );
    let details = &payload["custom_details"];
    assert_eq!(details["event"], id.to_string());
    assert_eq!(details["user tried"], "root");
    assert!(details["what"].as_str().is_some_and(|what| !what.is_empty()));
    assert!(details.get("whole event").is_none());
}

/// A count of what trapline said of itself.
fn digest(tally: &str) -> Event {
    let mut event = Event::new(Uuid::from_u128(9), Timestamp::default(), Action::Digest);
    event.set(Field::DecoyId, "ssh");
    event.set(Field::DigestActions, trapline_schemas::Value::Texts(vec![tally.into()]));
    event
}

#[tokio::test]
async fn the_severity_is_by_what_was_done_and_can_be_set() {
    let levels = || ["contact", "intent", "proof"].map(|level| event(1, level)).to_vec();
    let severities = |sent: Vec<Value>| -> Vec<String> {
        let one = |event: &Value| event["payload"]["severity"].as_str().unwrap().to_owned();
        sent.iter().map(one).collect()
    };
    let mut events = levels();
    let mut deaf = health(Action::ListenerFailed, "siem");
    deaf.set(Field::DecoyId, "ssh");
    events.extend([
        health(Action::JournalGap, "siem"),
        deaf,
        health(Action::SensorStarted, "siem"),
        digest("listener-started=14"),
        digest("listener-failed=1"),
        digest("chain-head=2, of which nobody knows=1"),
    ]);
    assert_eq!(
        severities(sent("", events).await),
        [
            "info", "warning", "critical", "warning", "warning", "info", "info", "warning", "warning"
        ],
        "that it started wakes nobody, one by one or counted"
    );
    let keys = "severity = { proof = \"error\", intent = \"info\" }";
    assert_eq!(severities(sent(keys, levels()).await), ["info", "info", "error"]);
}

#[tokio::test]
async fn an_incident_that_closed_resolves_its_alert_and_no_other() {
    let server = start().await;
    let sink = sink(&server.url(), "");
    let mut closed = event(7, "proof");
    closed.action = Action::IncidentClosed;
    for event in [
        event(7, "intent"),
        event(8, "intent"),
        event(7, "proof"),
        closed.clone(),
        closed,
    ] {
        assert_eq!(sink.deliver(&batch(event)).await, Delivery::all(1));
    }
    let alerts = server.with(|service| service.alerts.clone());
    assert_eq!(alerts[&Uuid::from_u128(7).to_string()], (false, 2));
    assert_eq!(alerts[&Uuid::from_u128(8).to_string()], (true, 1));
    let resolve = &taken(&server)[3];
    assert_eq!(resolve.as_object().unwrap().len(), 3, "{resolve}");
}

#[tokio::test]
async fn a_sink_that_works_again_resolves_what_its_failure_triggered() {
    let server = start().await;
    let sink = sink(&server.url(), "");
    for (action, name) in [
        (Action::SinkFailed, "siem"),
        (Action::SinkFailed, "bus"),
        (Action::SinkRecovered, "siem"),
    ] {
        assert_eq!(sink.deliver(&batch(health(action, name))).await, Delivery::all(1));
    }
    let alerts = server.with(|service| service.alerts.clone());
    assert_eq!(alerts["trapline/lure-test/sink/siem"], (false, 1));
    assert_eq!(alerts["trapline/lure-test/sink/bus"], (true, 1));
}

#[tokio::test]
async fn what_belongs_to_nothing_is_an_alert_of_its_own_also_when_it_is_sent_again() {
    let mut digest = event(7, "intent");
    digest.action = Action::Digest;
    digest.remove(Field::IncidentId);
    digest.set(Field::SinkName, "siem");
    let sent = sent("", vec![digest.clone(), digest.clone()]).await;
    for told in sent {
        assert_eq!(told["dedup_key"], digest.id.to_string());
    }
}

#[tokio::test]
async fn the_whole_event_goes_along_where_it_is_wanted_and_never_above_the_bound() {
    let mut large = event(1, "proof");
    large.set(Field::PayloadBase64, vec![b'x'; 3 << 20]);
    let sent = sent("whole_event = true", vec![event(1, "proof"), large]).await;
    let whole = &sent[0]["payload"]["custom_details"]["whole event"];
    assert_eq!(whole["source"]["ip"], "203.0.113.77");
    assert!(sent[1].to_string().len() < 256 << 10);
}

#[tokio::test]
async fn what_is_refused_as_a_whole_goes_without_details() {
    let server = start().await;
    server.with(|service| service.no_detail = Some("what"));
    let sink = sink(&server.url(), "");
    let touch = event(7, "proof");
    assert_eq!(sink.deliver(&batch(touch.clone())).await, Delivery::all(1));
    let told = &taken(&server)[0];
    assert_eq!(
        told["payload"]["custom_details"],
        serde_json::json!({ "event": touch.id.to_string() })
    );
    assert_eq!(told["dedup_key"], Uuid::from_u128(7).to_string());
    assert!(
        sink.notes()
            .iter()
            .any(|note| note.starts_with("1 notices went without details"))
    );
    server.with(|service| service.poison = Some("203.0.113.77"));
    let refused = sink.deliver(&batch(touch)).await;
    assert!(matches!(&refused.outcomes[..], [Outcome::Rejected(reason)] if reason.contains("'payload' is invalid")));
}

#[tokio::test]
async fn a_refused_key_alarms_and_loses_nothing() {
    let server = start().await;
    let sink = sink(&server.url(), "");
    let errors = serde_json::json!({
        "status": "invalid event", "message": "Event object is invalid",
        "errors": ["'routing_key' cannot contain non-alphanumeric characters."],
    });
    server.order(Fault::Answer(Reply::json(400, &errors)));
    let refused = sink.deliver(&batch(event(1, "proof"))).await;
    assert_eq!(refused.outcomes, [Outcome::Retry]);
    let fault = refused.fault.unwrap();
    assert_eq!(fault.kind, FaultKind::Auth);
    assert!(fault.message.contains("Events API V2"), "{}", fault.message);
}

#[tokio::test]
async fn a_look_sends_no_event() {
    let server = start().await;
    let sink = sink(&server.url(), "");
    assert!(sink.check().await.unwrap().contains("pagerduty answers"));
    assert!(taken(&server).is_empty());
    server.order(Fault::Answer(Reply::text(200, "<html>welcome</html>")));
    assert_eq!(sink.check().await.unwrap_err().kind, FaultKind::Server);
}

fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "http://evil.example/x",
            "\u{202e}gpj",
            "\r\nX: y",
            "<b>",
            "\u{0}",
            "\"},{\"",
            "@here",
            "\u{1F480}",
        ])
        .prop_map(str::to_owned),
        any::<String>(),
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

fn texts(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::String(text) => out.push(text.clone()),
        Value::Array(values) => values.iter().for_each(|value| texts(value, out)),
        Value::Object(object) => object.values().for_each(|value| texts(value, out)),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_bytes_of_a_peer_keep_the_bounds_hide_nothing_and_are_no_link(
        user in hostile(), domain in hostile(), url in hostile(),
        // Of a configuration, on this host or another.
        observer in any::<String>(), decoy in any::<String>(), site in any::<String>(),
    ) {
        let mut event = event(1, "proof");
        for (field, text) in [
            (Field::UserName, &user),
            (Field::SourceDomain, &domain),
            (Field::UrlOriginal, &url),
            (Field::ObserverName, &observer),
            (Field::DecoyId, &decoy),
            (Field::Site, &site),
        ] {
            event.set(field, trapline_schemas::text::clean(text.as_bytes()));
        }
        let mut failed = health(Action::SinkFailed, &site);
        failed.set(Field::ObserverName, trapline_schemas::text::clean(observer.as_bytes()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        // The fake refuses what is too long, blank or of a wrong type.
        let sent = runtime.block_on(sent("", vec![event, failed]));
        let mut all = Vec::new();
        sent.iter().for_each(|event| texts(event, &mut all));
        for text in &all {
            prop_assert!(is_clean(text), "{text}");
        }
        let mut details = Vec::new();
        texts(&sent[0]["payload"]["custom_details"], &mut details);
        prop_assert!(!details.iter().any(|text| text.contains("http://")), "{details:?}");
        let summary = sent[0]["payload"]["summary"].as_str().unwrap();
        prop_assert!(!summary.contains("evil.example"), "{summary}");
    }
}
