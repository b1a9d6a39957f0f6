//! What a workflow, or whoever sits in its place, may answer without a notice getting lost or a secret out; and what is
//! told of a configuration that is wrong.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is wrong")]

mod fake;

use fake::{PATH, Workflow, event, one, refusal, sink_at};
use trapline_schemas::Format;
use trapline_sink::config::Table;
use trapline_sink::conformance::samples::common;
use trapline_sink::conformance::web::{Fault, Reply, Server};
use trapline_sink::dial::Resolver;
use trapline_sink::{FaultKind, Outcome};
use trapline_sink_teams::SINK;

async fn start() -> Server<Workflow> {
    Server::start(Workflow::default(), None).await
}

/// What is told of a table.
fn told(toml: &str) -> Vec<String> {
    let (table, problems) = Table::for_test(toml, SINK.keys);
    let _ = (SINK.parse)(&table);
    problems.take().iter().map(|problem| problem.rich(false)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_success_that_speaks_of_an_error_or_is_a_page_loses_no_notice() {
    let server = start().await;
    let sink = sink_at(&server.url());
    for body in [
        r#"{"error":{"code":"Bad-Gateway"}}"#,
        r#"{"error":{"message":"no"}}"#,
        r#"{"error":"unavailable"}"#,
        "\u{feff}<html>welcome</html>",
        "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429",
    ] {
        for status in [200, 202] {
            server.order_lasting(Fault::Answer(Reply::text(status, body)));
            let delivery = sink.deliver(&one(event(1, "proof"))).await;
            assert_eq!(delivery.outcomes, [Outcome::Retry], "{status} {body}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_word_about_the_message_under_a_status_that_is_about_something_else_loses_no_notice() {
    for (status, expected) in [
        (401, FaultKind::Auth),
        (403, FaultKind::Auth),
        (404, FaultKind::Config),
        (429, FaultKind::Busy),
        (500, FaultKind::Server),
        (503, FaultKind::Server),
    ] {
        let server = start().await;
        let sink = sink_at(&server.url());
        server.order_lasting(Fault::Answer(refusal(status, "InvalidRequestContent")));
        let delivery = sink.deliver(&one(event(1, "proof"))).await;
        assert_eq!(delivery.outcomes, [Outcome::Retry], "{status} {delivery:?}");
        assert_eq!(delivery.fault.unwrap().kind, expected, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_code_that_repeats_the_credential_does_not_show_it() {
    let server = start().await;
    let path = PATH.replace("SECRET", "Hq3SECRETz0123456789abcdef");
    let toml = format!("webhook_url = \"{}{path}\"\ninterval = \"250ms\"", server.url());
    let sink = fake::sink_with(&toml, Resolver::default());
    for status in [400, 401, 500] {
        server.order_lasting(Fault::Answer(refusal(status, "Hq3SECRETz0123456789abcdef")));
        let delivery = sink.deliver(&one(event(1, "proof"))).await;
        let told = format!("{delivery:?}{:?}{:?}", sink.word(), sink.destination());
        assert!(!told.contains("SECRET"), "{told}");
    }
}

#[tokio::test]
async fn whoever_tests_it_is_told_where_it_went_and_what_came_back() {
    let server = start().await;
    let sink = sink_at(&server.url());
    assert_eq!(sink.destination(), Some(format!("a workflow of {}", server.url())));
    let delivery = sink.deliver(&one(event(1, "proof"))).await;
    assert_eq!(delivery.outcomes, [Outcome::Delivered]);
    let word = sink.word().unwrap();
    assert!(
        word.contains("http status 202") && word.contains("run history"),
        "{word}"
    );
}

#[test]
fn a_missing_url_is_told_once() {
    let told = told("");
    assert_eq!(told.len(), 1, "{told:?}");
}

#[test]
fn every_kind_of_a_retired_connector_is_told() {
    for host in [
        "contoso.webhook.office.com",
        "webhook.office.com",
        "outlook.office.com",
        "outlook.office365.com",
    ] {
        let told = told(&format!("webhook_url = \"https://{host}/webhook/hush\""));
        assert!(told.len() == 1 && told[0].contains("retired"), "{told:?}");
    }
}

#[test]
fn a_tone_that_nobody_has_is_told_also_if_it_is_that_of_all_sinks() {
    let toml = "webhook_url = \"https://h.example/x?sig=y\"";
    let mut common = common(Format::Text, Resolver::default());
    common.notices.tone = "shouted".into();
    let (table, _) = Table::for_test(toml, SINK.keys);
    assert_eq!((SINK.parse)(&table).look(&table, &common).len(), 1);
}
