//! Tokens, requests and what their answers lead to, beyond the conformance cases.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is wrong")]

mod fake;

use std::sync::Arc;
use std::time::Duration;

use fake::{Azure, SECRET};
use trapline_schemas::{Event, Field};
use trapline_sink::conformance::events;
use trapline_sink::conformance::web::{Fault, Reply, Server};
use trapline_sink::dial::Resolver;
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

    // What went before the fault is there, and not sent again.
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
