//! What the cluster is sent, and what its items lead to, beyond the conformance cases.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is wrong")]

mod fake;

use std::sync::Arc;

use fake::Cluster;
use serde_json::json;
use trapline_schemas::Format;
use trapline_sink::conformance::events;
use trapline_sink::conformance::web::{Fault, Reply, Server};
use trapline_sink::dial::Resolver;
use trapline_sink::{Delivery, FaultKind, Outcome, Parcel, StreamSink};

async fn start(cluster: Cluster) -> Server<Cluster> {
    Server::start(cluster, None).await
}

fn sink(server: &Server<Cluster>, lines: &str, format: Format) -> Arc<dyn StreamSink> {
    fake::sink(&server.url(), lines, format, Resolver::default())
}

/// Delivers, and says that the first of each two is there and the second is as `expected`.
async fn halves(status: u16, word: &'static str) -> Delivery {
    let server = start(Cluster {
        every_second: Some((status, word)),
        ..Cluster::default()
    })
    .await;
    let batch = events(4, false);
    let delivery = sink(&server, "", Format::Ecs).deliver(&batch).await;
    assert_eq!(delivery.outcomes[0], Outcome::Delivered);
    assert_eq!(delivery.outcomes[2], Outcome::Delivered);
    let stored = server.with(|cluster| cluster.ids());
    assert_eq!(stored, [batch[0].event.id, batch[2].event.id]);
    delivery
}

#[tokio::test]
async fn each_event_has_its_own_outcome() {
    for (status, word, kind) in [
        (429, "es_rejected_execution_exception", FaultKind::Busy),
        (503, "unavailable_shards_exception", FaultKind::Server),
        (404, "index_not_found_exception", FaultKind::Config),
        (403, "security_exception", FaultKind::Auth),
        (429, "cluster_block_exception", FaultKind::Config),
    ] {
        let delivery = halves(status, word).await;
        assert_eq!(
            [&delivery.outcomes[1], &delivery.outcomes[3]],
            [&Outcome::Retry; 2],
            "{word}"
        );
        assert_eq!(delivery.fault.map(|fault| fault.kind), Some(kind), "{word}");
    }
    let delivery = halves(400, "document_parsing_exception").await;
    assert!(delivery.fault.is_none());
    assert!(
        matches!(&delivery.outcomes[3], Outcome::Rejected(reason) if reason.contains("document_parsing_exception: a reason"))
    );
}

#[tokio::test]
async fn an_event_that_comes_again_is_there_once() {
    let server = start(Cluster {
        streams: true,
        ..Cluster::default()
    })
    .await;
    let (batch, sink) = (events(5, false), sink(&server, "", Format::Ecs));
    assert_eq!(sink.deliver(&batch[..3]).await, Delivery::all(3));
    assert_eq!(sink.deliver(&batch).await, Delivery::all(5));
    server.with(|cluster| {
        assert_eq!((cluster.ids().len(), cluster.conflicts), (5, 3));
        let (index, id, document) = &cluster.stored[4];
        assert_eq!(index, "logs-trapline.events-default");
        assert_eq!(document["event"]["id"], id.as_str());
        assert_eq!(cluster.wrong, Vec::<String>::new());
    });
}

#[tokio::test]
async fn both_forms_fit_a_data_stream_and_settings_are_in_the_query() {
    for format in [Format::Ecs, Format::Ocsf] {
        let server = start(Cluster {
            streams: true,
            ..Cluster::default()
        })
        .await;
        let lines = "pipeline = \"geo ip&x\"\nrequire = \"data_stream\"";
        let sink = sink(&server, lines, format);
        assert_eq!(sink.deliver(&events(2, false)).await, Delivery::all(2), "{format:?}");
        server.with(|cluster| {
            assert_eq!(cluster.query["pipeline"], "geo ip&x");
            assert_eq!(cluster.query["require_data_stream"], "true");
        });
    }
}

#[tokio::test]
async fn an_event_goes_to_the_index_of_its_level_and_day() {
    let server = start(Cluster::default()).await;
    let batch: Vec<Arc<Parcel>> = events(2, false);
    let sink = sink(&server, "index = \"hp-{level}-{yyyy.mm.dd}\"", Format::Ecs);
    assert_eq!(sink.deliver(&batch).await, Delivery::all(2));
    let day = batch[0].event.at.to_string()[..10].replace('-', ".");
    server.with(|cluster| assert_eq!(cluster.stored[0].0, format!("hp-proof-{day}")));
}

#[tokio::test]
async fn an_answer_for_other_events_is_none_and_a_repeat_mends_it() {
    let server = start(Cluster::default()).await;
    let (batch, sink) = (events(2, false), sink(&server, "", Format::Ecs));
    let item = json!({"create": {"_id": "other", "status": 201}});
    let reply = Reply::json(200, &json!({"errors": false, "items": [item, item]}));
    server.order(Fault::Answer(reply));
    let delivery = sink.deliver(&batch).await;
    let fault = delivery.fault.unwrap();
    assert_eq!(
        (delivery.outcomes, fault.kind),
        (vec![Outcome::Retry; 2], FaultKind::Server)
    );
    assert!(fault.message.contains("other ids"), "{fault:?}");
    assert_eq!(sink.deliver(&batch).await, Delivery::all(2));
}

#[tokio::test]
async fn events_in_the_failure_store_are_delivered_and_told_of() {
    let server = start(Cluster::default()).await;
    let (batch, sink) = (events(1, false), sink(&server, "", Format::Ecs));
    assert!(!sink.notes().iter().any(|note| note.contains("failure store")));
    let entry = json!({"_id": batch[0].event.id.to_string(), "status": 201, "failure_store": "used"});
    let reply = Reply::json(200, &json!({"errors": false, "items": [{"create": entry}]}));
    server.order(Fault::Answer(reply));
    assert_eq!(sink.deliver(&batch).await, Delivery::all(1));
    assert!(
        sink.notes()
            .iter()
            .any(|note| note.starts_with("1 events are in the failure store"))
    );
}

#[tokio::test]
async fn the_check_names_product_and_index_and_writes_nothing() {
    let server = start(Cluster {
        streams: true,
        ..Cluster::default()
    })
    .await;
    let sink = sink(&server, "", Format::Ecs);
    let said = sink.check().await.unwrap();
    assert!(
        said.starts_with("Elasticsearch 8.15.0, ") && said.contains("does not exist yet"),
        "{said}"
    );
    sink.deliver(&events(1, false)).await;
    assert!(
        sink.check()
            .await
            .unwrap()
            .ends_with("`logs-trapline.events-default` is 1 data stream")
    );
    let asked = server.asked();
    assert_eq!(
        asked.iter().filter(|asked| !asked.starts_with("GET ")).count(),
        1,
        "{asked:?}"
    );
}
