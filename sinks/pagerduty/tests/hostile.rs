//! What PagerDuty, or whoever sits in its place, may answer without an alert getting lost or a secret out; and what a
//! peer may say without an alert being taken for another.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is wrong")]

mod fake;

use fake::{KEY, PagerDuty, batch, event, sink};
use serde_json::{Value, json};
use trapline_schemas::{Action, Event, Field, Timestamp};
use trapline_sink::config::Table;
use trapline_sink::conformance::web::{Fault, Reply, Server};
use trapline_sink::{Delivery, FaultKind, Outcome};
use trapline_sink_pagerduty::SINK;
use uuid::Uuid;

async fn start() -> Server<PagerDuty> {
    Server::start(PagerDuty::default(), None).await
}

fn of_sink(action: Action, observer: &str, sink: &str) -> Event {
    let mut event = Event::new(Uuid::new_v4(), Timestamp::now(), action);
    event.set(Field::SinkName, sink);
    event.set(Field::ObserverName, observer);
    event
}

#[tokio::test]
async fn a_refusal_that_repeats_the_routing_key_does_not_show_it() {
    let server = start().await;
    let sink = sink(&server.url(), "");
    for error in [
        format!("'routing_key' {KEY} is unknown"),
        format!("'payload.summary' is invalid for {KEY}"),
    ] {
        let body = json!({ "status": "invalid event", "message": "Event object is invalid", "errors": [error] });
        server.order_lasting(Fault::Answer(Reply::json(400, &body)));
        let told = format!(
            "{:?}{:?}{:?}",
            sink.deliver(&batch(event(1, "proof"))).await,
            sink.check().await,
            sink.word()
        );
        assert!(!told.contains("SECRET"), "{told}");
    }
}

#[tokio::test]
async fn no_text_of_a_whole_event_is_a_link() {
    let server = start().await;
    let sink = sink(&server.url(), "whole_event = true");
    let mut touch = event(1, "proof");
    for field in [Field::UrlOriginal, Field::UserAgent, Field::UserName] {
        touch.set(field, "https://evil.example/x?y=1 javascript:alert(1)");
    }
    assert_eq!(sink.deliver(&batch(touch)).await, Delivery::all(1));
    let details = server.with(|service| service.taken[0]["payload"]["custom_details"].clone());
    assert_eq!(details["whole event"]["source"]["ip"], "203.0.113.77");
    let text = details.to_string();
    assert!(
        !text.contains("https://evil") && !text.contains("evil.example"),
        "{text}"
    );
    assert!(!text.contains("javascript:"), "{text}");
}

#[tokio::test]
async fn sinks_and_hosts_with_long_names_that_end_differently_have_alerts_of_their_own() {
    let server = start().await;
    let sink = sink(&server.url(), "");
    let (host, long) = ("n".repeat(190), "s".repeat(60));
    let other_host = format!("{}x", "n".repeat(250));
    let names = [
        (host.as_str(), format!("{long}_one")),
        (&host, format!("{long}_two")),
        (&other_host, format!("{long}_one")),
        (&"n".repeat(251), format!("{long}_one")),
    ];
    for (host, name) in &names {
        let failed = of_sink(Action::SinkFailed, host, name);
        assert_eq!(sink.deliver(&batch(failed)).await, Delivery::all(1));
    }
    let recovered = of_sink(Action::SinkRecovered, &host, &format!("{long}_one"));
    assert_eq!(sink.deliver(&batch(recovered)).await, Delivery::all(1));
    let alerts = server.with(|service| service.alerts.clone());
    let open = alerts.values().filter(|(open, _)| *open).count();
    assert_eq!((alerts.len(), open), (names.len(), names.len() - 1), "{alerts:?}");
}

#[tokio::test]
async fn a_resolve_that_is_refused_is_not_sent_in_the_same_words_again() {
    let server = start().await;
    let sink = sink(&server.url(), "");
    let errors = json!({ "status": "invalid event", "message": "x", "errors": ["'dedup_key' is invalid"] });
    server.order(Fault::Answer(Reply::json(400, &errors)));
    let mut closed = event(7, "proof");
    closed.action = Action::IncidentClosed;
    let refused = sink.deliver(&batch(closed)).await;
    assert!(matches!(&refused.outcomes[..], [Outcome::Rejected(_)]), "{refused:?}");
    assert_eq!(server.asked().len(), 1);
    assert!(!sink.notes().iter().any(|note| note.contains("without details")));
}

#[tokio::test]
async fn a_refusal_in_words_that_are_not_pagerdutys_loses_no_alert() {
    let server = start().await;
    let sink = sink(&server.url(), "");
    for body in [
        json!({ "status": "error", "message": "upstream is not set up" }),
        json!({ "status": "", "errors": [] }),
    ] {
        server.order_lasting(Fault::Answer(Reply::json(400, &body)));
        let told = sink.deliver(&batch(event(7, "proof"))).await;
        assert_eq!(told.outcomes, [Outcome::Retry], "{told:?}");
        assert_eq!(told.fault.unwrap().kind, FaultKind::Config);
    }
    server.heal();
    assert_eq!(sink.deliver(&batch(event(7, "proof"))).await, Delivery::all(1));
}

#[tokio::test]
async fn an_error_about_the_key_is_found_behind_all_others() {
    let server = start().await;
    let sink = sink(&server.url(), "");
    let mut errors = vec!["'payload.source' is missing or blank"; 9];
    errors.push("Length of 'routing_key' is incorrect (should be 32 characters)");
    let body = json!({ "status": "invalid event", "message": "Event object is invalid", "errors": errors });
    server.order_lasting(Fault::Answer(Reply::json(400, &body)));
    let told = sink.deliver(&batch(event(7, "proof"))).await;
    assert_eq!(told.outcomes, [Outcome::Retry], "{told:?}");
    assert_eq!(told.fault.unwrap().kind, FaultKind::Auth);
}

#[tokio::test]
async fn nothing_is_asked_before_a_pause_is_over_given_in_seconds_or_as_a_date() {
    for asked in ["3000", "Fri, 31 Dec 9999 23:59:59 GMT"] {
        let server = start().await;
        let sink = sink(&server.url(), "");
        server.order(Fault::Answer(Reply::status(429).with("Retry-After", asked)));
        let told = sink.deliver(&batch(event(7, "proof"))).await;
        assert_eq!(told.fault.unwrap().kind, FaultKind::Busy);
        let again = sink.deliver(&batch(event(7, "proof"))).await;
        assert_eq!((again.outcomes, server.asked().len()), (vec![Outcome::Retry], 1));
        // An hour is the longest that is believed.
        let left = again.retry_after.unwrap().as_secs();
        assert!((2000..=3600).contains(&left), "{left}");
    }
}

#[tokio::test]
async fn what_is_refused_for_any_field_of_its_own_goes_without_it() {
    for name in ["timestamp", "component", "group", "class"] {
        let server = start().await;
        server.with(|service| service.no_field = Some(name));
        let told = sink(&server.url(), "").deliver(&batch(event(7, "proof"))).await;
        assert_eq!(told, Delivery::all(1), "{name}");
    }
}

#[tokio::test]
async fn whoever_tests_it_is_told_where_it_went_and_what_came_back() {
    let server = start().await;
    let sink = sink(&server.url(), "");
    assert_eq!(sink.word(), None);
    assert_eq!(sink.destination(), Some(format!("a service of {}", server.url())));
    assert_eq!(sink.deliver(&batch(event(7, "proof"))).await, Delivery::all(1));
    assert_eq!(
        sink.word().as_deref(),
        Some("http status 202, success: Event processed")
    );
}

#[test]
fn a_base_url_may_hold_the_letters_v2() {
    for endpoint in ["https://gw.example/v2-relay", "https://gw.example/v20"] {
        let (table, problems) = Table::for_test(&format!("routing_key = '{KEY}'\nendpoint = '{endpoint}'"), SINK.keys);
        let _ = (SINK.parse)(&table);
        assert_eq!(problems.count(), 0, "{:?}", problems.take());
    }
}

#[tokio::test]
async fn a_detail_that_was_cut_says_so() {
    let server = start().await;
    let sink = sink(&server.url(), "");
    let mut touch = event(7, "proof");
    touch.set(Field::UserName, "x".repeat(5000).as_str());
    assert_eq!(sink.deliver(&batch(touch)).await, Delivery::all(1));
    let details: Value = server.with(|service| service.taken[0]["payload"]["custom_details"].clone());
    let user = details["user tried"].as_str().unwrap();
    assert!(user.ends_with('…') && user.chars().count() <= 2000, "{user}");
}
