//! Tokens, requests and what their answers lead to, beyond the conformance cases.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is wrong")]

mod fake;

use std::sync::Arc;
use std::time::Duration;

use fake::{Azure, SECRET};
use trapline_schemas::{Event, Field};
use trapline_sink::conformance::web::{Fault, Reply, Server};
use trapline_sink::conformance::{BAD_USER, Driver, events};
use trapline_sink::dial::Resolver;
use trapline_sink::stubborn::TRIES;
use trapline_sink::{Delivery, FaultKind, Outcome, Parcel, StreamSink};

async fn start(azure: Azure) -> (Server<Azure>, Arc<dyn StreamSink>) {
    let server = Server::start(azure, None).await;
    let sink = fake::sink(&server.url(), "", Resolver::default());
    (server, sink)
}

fn tokens(server: &Server<Azure>) -> usize {
    server.asked().iter().filter(|asked| asked.ends_with("/token")).count()
}

#[tokio::test]
async fn one_token_serves_many_requests() {
    let (server, sink) = start(Azure::default()).await;
    let batch = events(6, false);
    for pair in batch.chunks(2) {
        assert_eq!(sink.deliver(pair).await, Delivery::all(2));
    }
    assert_eq!(tokens(&server), 1);
    let sent: Vec<_> = batch.iter().map(|parcel| parcel.event.id).collect();
    server.with(|azure| assert_eq!((azure.ids(), &azure.wrong), (sent, &vec![])));
}

#[tokio::test]
async fn a_token_that_was_revoked_is_renewed_once_and_the_events_arrive() {
    let (server, sink) = start(Azure::default()).await;
    let batch = events(2, false);
    assert_eq!(sink.deliver(&batch[..1]).await, Delivery::all(1));
    server.with(|azure| azure.revoked = azure.given);
    assert_eq!(sink.deliver(&batch[1..]).await, Delivery::all(1));
    assert_eq!(tokens(&server), 2);
    server.with(|azure| azure.revoked = usize::MAX);
    let delivery = sink.deliver(&batch).await;
    assert_eq!(delivery.fault.unwrap().kind, FaultKind::Auth);
    assert_eq!(
        tokens(&server),
        3,
        "a fresh token that is refused is not asked for again"
    );
}

#[tokio::test]
async fn a_fault_of_the_token_endpoint_is_told_apart_and_says_what_to_do() {
    for (status, word, said, kind, hint) in [
        (
            401,
            "invalid_client",
            "AADSTS7000215: Invalid client secret provided. hush",
            FaultKind::Auth,
            "not its id",
        ),
        (
            401,
            "invalid_client",
            "AADSTS7000222: The provided client secret keys are expired.",
            FaultKind::Auth,
            "expired",
        ),
        (
            400,
            "invalid_request",
            "AADSTS90002: Tenant 'hush' not found.",
            FaultKind::Config,
            "no such tenant",
        ),
        (
            400,
            "unauthorized_client",
            "AADSTS700016: Application not found.",
            FaultKind::Auth,
            "`client_id`",
        ),
        (429, "", "", FaultKind::Busy, "pause"),
        (503, "", "", FaultKind::Server, "503"),
    ] {
        let (server, sink) = start(Azure {
            no_token: Some((status, word, said)),
            ..Azure::default()
        })
        .await;
        let delivery = sink.deliver(&events(2, false)).await;
        let fault = delivery.fault.unwrap();
        assert_eq!(
            (delivery.outcomes, fault.kind),
            (vec![Outcome::Retry; 2], kind),
            "{said}"
        );
        assert!(fault.message.starts_with("the token endpoint 127.0.0.1"), "{fault:?}");
        assert!(
            fault.message.contains(hint) && !fault.message.contains("hush"),
            "{fault:?}"
        );
        assert_eq!(server.asked().len(), 1, "nothing is sent without a token");
    }
}

#[tokio::test]
async fn a_batch_that_is_too_large_for_one_request_goes_in_several() {
    let (server, sink) = start(Azure::default()).await;
    let large = |parcel: &Arc<Parcel>| {
        let mut event = Event::clone(&parcel.event);
        event.set(Field::PayloadBase64, vec![b'x'; 15_000]);
        Arc::new(Parcel::new(parcel.offset, Arc::new(event)))
    };
    let batch: Vec<_> = events(60, false).iter().map(large).collect();
    assert_eq!(sink.deliver(&batch).await, Delivery::all(60));
    server.with(|azure| assert!(azure.requests > 1 && azure.stored.len() == 60, "{}", azure.requests));

    // What went before the fault is there, and what comes after it waits.
    let before = server.asked().len();
    server.order(Fault::Slow(Duration::ZERO));
    server.order(Fault::Answer(Reply::status(503).with("Retry-After", "9")));
    let delivery = sink.deliver(&batch).await;
    let done = delivery
        .outcomes
        .iter()
        .filter(|outcome| **outcome == Outcome::Delivered)
        .count();
    assert!(done > 0 && done < 60, "{done}");
    assert_eq!(delivery.retry_after, Some(Duration::from_secs(9)));
    assert_eq!(server.with(|azure| azure.stored.len()), 60 + done);
    assert_eq!(server.asked().len(), before + 2);
    server.with(|azure| assert!(azure.requests > 2, "there was a third to send"));
}

#[tokio::test]
async fn the_check_asks_for_a_token_and_sends_no_record() {
    let (server, sink) = start(Azure::default()).await;
    assert!(sink.check().await.unwrap().contains("takes our token"));
    assert_eq!(server.with(|azure| azure.stored.len()), 0);
    server.order(Fault::Answer(Reply::status(403)));
    let fault = sink.check().await.unwrap_err();
    assert!(fault.message.contains("Monitoring Metrics Publisher"), "{fault:?}");
    server.order(Fault::Answer(Reply::status(404)));
    assert_eq!(sink.check().await.unwrap_err().kind, FaultKind::Config);
    let shown = format!("{:?}", sink.notes());
    assert!(shown.contains("EventOriginalUid") && !shown.contains(SECRET));
}

/// Sends until every event is delivered or a dead letter.
async fn drive(sink: &Arc<dyn StreamSink>, batch: &[Arc<Parcel>]) -> Driver {
    let mut driver = Driver::new(sink.clone(), batch.to_vec());
    while !driver.is_done() {
        driver.step(Duration::from_secs(30)).await.unwrap();
    }
    driver
}

#[tokio::test]
async fn what_is_refused_of_every_event_is_the_settings_fault_and_makes_no_dead_letter() {
    let (server, sink) = start(Azure::default()).await;
    let body = serde_json::json!({"error": {"code": "NobodyKnows", "message": "no"}});
    server.order_lasting(Fault::Answer(Reply::json(400, &body)));
    let batch = events(4, false);
    let several = sink.deliver(&batch).await;
    assert!(
        several.outcomes.iter().all(|one| matches!(one, Outcome::Suspect(_))),
        "splitting loses nothing"
    );
    for event in batch.chunks(1) {
        let lone = sink.deliver(event).await;
        let fault = lone.fault.unwrap();
        assert_eq!((lone.outcomes, fault.kind), (vec![Outcome::Retry], FaultKind::Config));
        for word in ["NobodyKnows", "no event is at fault", "transformKql"] {
            assert!(fault.message.contains(word), "{fault:?}");
        }
    }
    server.heal();
    assert_eq!(drive(&sink, &batch).await.delivered().len(), 4);
    server.with(|azure| assert!(azure.controls.is_empty() && azure.wrong.is_empty(), "{:?}", azure.wrong));
}

#[tokio::test]
async fn an_event_that_is_refused_alone_is_a_dead_letter_where_the_service_takes_a_record_of_ours() {
    let (server, sink) = start(Azure {
        poison: Some(BAD_USER),
        ..Azure::default()
    })
    .await;
    let driver = drive(&sink, &events(1, true)).await;
    assert!(matches!(driver.dead(), [(_, reason)] if reason.contains("InvalidPayload")));
    server.with(|azure| assert_eq!((azure.controls.len(), azure.stored.len()), (1, 0)));
}

#[tokio::test]
async fn an_event_that_the_service_breaks_down_over_holds_nobody_up_for_ever() {
    let (server, sink) = start(Azure {
        breaks_over: Some(BAD_USER),
        ..Azure::default()
    })
    .await;
    let driver = drive(&sink, &events(8, true)).await;
    assert_eq!(driver.delivered().len(), 7);
    assert!(matches!(driver.dead(), [(_, reason)] if reason.contains("500")));
    let lone = server.with(|azure| azure.controls.len());
    assert!(lone >= TRIES as usize, "it had its tries: {lone}");
}

#[tokio::test]
async fn a_service_that_breaks_down_over_everything_loses_nothing() {
    let (server, sink) = start(Azure::default()).await;
    server.order_lasting(Fault::Answer(Reply::status(500)));
    for _ in 0..2 * TRIES {
        let delivery = sink.deliver(&events(1, false)).await;
        assert_eq!(delivery.outcomes, [Outcome::Retry]);
        assert_eq!(delivery.fault.unwrap().kind, FaultKind::Server);
    }
}

/// A firewall that reads what an attacker wrote, and blocks it.
#[tokio::test]
async fn a_filter_on_the_way_blocks_one_event_and_not_the_sink() {
    for status in [403, 200] {
        let (_server, sink) = start(Azure {
            filtered: Some((status, BAD_USER)),
            ..Azure::default()
        })
        .await;
        let driver = drive(&sink, &events(8, true)).await;
        assert_eq!(driver.delivered().len(), 7);
        let [(_, reason)] = driver.dead() else {
            panic!("{:?}", driver.dead())
        };
        assert!(reason.contains(&status.to_string()) && reason.contains("without an event"));
    }
    let (server, sink) = start(Azure::default()).await;
    server.order_lasting(Fault::Answer(Reply::status(403)));
    for _ in 0..2 * TRIES {
        let delivery = sink.deliver(&events(1, false)).await;
        assert_eq!(
            (delivery.outcomes, delivery.fault.unwrap().kind),
            (vec![Outcome::Retry], FaultKind::Auth)
        );
    }
}
