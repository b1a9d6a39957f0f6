//! What the cluster is sent, and what its items lead to, beyond the conformance cases.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is wrong")]

mod fake;

use std::sync::Arc;
use std::time::Duration;

use fake::Cluster;
use serde_json::json;
use trapline_schemas::Format;
use trapline_sink::conformance::web::{Fault, Reply, Server};
use trapline_sink::conformance::{BAD_USER, Driver, events};
use trapline_sink::dial::Resolver;
use trapline_sink::stubborn::TRIES;
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
        (vec![Outcome::Retry; 2], FaultKind::Config)
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

/// Sends until every event is delivered or a dead letter.
async fn drive(sink: &Arc<dyn StreamSink>, batch: &[Arc<Parcel>]) -> Driver {
    let mut driver = Driver::new(sink.clone(), batch.to_vec());
    while !driver.is_done() {
        driver.step(Duration::from_secs(30)).await.unwrap();
    }
    driver
}

#[tokio::test]
async fn an_index_that_takes_no_document_is_a_fault_and_makes_no_dead_letter() {
    let server = start(Cluster {
        fits_nothing: true,
        ..Cluster::default()
    })
    .await;
    let (batch, sink) = (events(4, false), sink(&server, "", Format::Ecs));
    for part in [&batch[..], &batch[..1], &batch[3..]] {
        let delivery = sink.deliver(part).await;
        let fault = delivery.fault.unwrap();
        assert_eq!(
            (delivery.outcomes, fault.kind),
            (vec![Outcome::Retry; part.len()], FaultKind::Config)
        );
        for word in ["strict_dynamic_mapping_exception", "no event is at fault"] {
            assert!(fault.message.contains(word), "{fault:?}");
        }
    }
    server.with(|cluster| cluster.fits_nothing = false);
    assert_eq!(sink.deliver(&batch).await, Delivery::all(4));
    server.with(|cluster| assert!(cluster.controls.is_empty() && cluster.wrong.is_empty()));
}

#[tokio::test]
async fn an_index_that_takes_no_document_loses_nothing_beside_one_that_takes_them() {
    let server = start(Cluster {
        fits_nothing_in: Some("contact"),
        ..Cluster::default()
    })
    .await;
    let sink = sink(&server, "index = \"hp-{level}\"", Format::Ecs);
    let mut batch = events(4, false);
    for at in [1, 3] {
        let mut event = trapline_schemas::Event::clone(&batch[at].event);
        event.set(trapline_schemas::Field::TouchLevel, "contact");
        batch[at] = Arc::new(Parcel::new(batch[at].offset, Arc::new(event)));
    }
    let delivery = sink.deliver(&batch).await;
    let (taken, kept) = (Outcome::Delivered, Outcome::Retry);
    assert_eq!(delivery.outcomes, [taken.clone(), kept.clone(), taken, kept]);
    let fault = delivery.fault.unwrap();
    assert!(
        fault.kind == FaultKind::Config && fault.message.contains("no event is at fault"),
        "{fault:?}"
    );
    server.with(|cluster| cluster.fits_nothing_in = None);
    assert_eq!(
        sink.deliver(&[batch[1].clone(), batch[3].clone()]).await,
        Delivery::all(2)
    );
}

#[tokio::test]
async fn a_lone_event_that_does_not_fit_is_a_dead_letter_where_a_document_of_ours_does() {
    for format in [Format::Ecs, Format::Ocsf] {
        let server = start(Cluster {
            poison: Some(BAD_USER),
            streams: true,
            ..Cluster::default()
        })
        .await;
        let sink = sink(&server, "index = \"hp-{level}\"", format);
        let delivery = sink.deliver(&events(1, true)).await;
        assert!(matches!(&delivery.outcomes[..], [Outcome::Rejected(_)]), "{delivery:?}");
        assert!(delivery.fault.is_none());
        server.with(|cluster| assert_eq!((cluster.controls.len(), cluster.wrong.len()), (1, 0)));
    }
}

#[tokio::test]
async fn an_event_that_the_cluster_breaks_down_over_holds_nobody_up_for_ever() {
    let server = start(Cluster {
        poison: Some(BAD_USER),
        poison_as: Some((500, "exception")),
        ..Cluster::default()
    })
    .await;
    let sink = sink(&server, "", Format::Ecs);
    let driver = drive(&sink, &events(8, true)).await;
    assert_eq!(driver.delivered().len(), 7);
    assert!(
        matches!(driver.dead(), [(_, reason)] if reason.contains("500")),
        "{:?}",
        driver.dead()
    );
    server.with(|cluster| assert!(cluster.controls.len() >= TRIES as usize));
}

#[tokio::test]
async fn a_cluster_that_breaks_down_over_everything_loses_nothing() {
    let server = start(Cluster::default()).await;
    let sink = sink(&server, "", Format::Ecs);
    let sent = events(2, false);
    server.order_lasting(Fault::Answer(Reply::status(500)));
    for batch in [&sent[..], &sent[..1]].repeat(3 * TRIES as usize) {
        let delivery = sink.deliver(batch).await;
        assert_eq!(delivery.outcomes, vec![Outcome::Retry; batch.len()]);
        assert_eq!(delivery.fault.unwrap().kind, FaultKind::Server);
    }
}

#[tokio::test]
async fn a_pause_that_comes_with_a_success_does_not_stop_the_sink() {
    let server = start(Cluster::default()).await;
    let (batch, sink) = (events(1, false), sink(&server, "", Format::Ecs));
    let item = json!({"create": {"_id": batch[0].event.id.to_string(), "status": 201}});
    let reply = Reply::json(200, &json!({"errors": false, "items": [item]}));
    server.order(Fault::Answer(reply.with("Retry-After", "3600")));
    assert_eq!(sink.deliver(&batch).await, Delivery::all(1));
}

/// A mapping that a long value does not fit is told with the value.
#[tokio::test]
async fn reasons_of_any_length_are_read_to_their_end() {
    let server = start(Cluster {
        poison: Some(BAD_USER),
        long_reasons: true,
        ..Cluster::default()
    })
    .await;
    let sink = sink(&server, "", Format::Ecs);
    let batch: Vec<_> = (0..40).flat_map(|_| events(1, true)).chain(events(8, false)).collect();
    let driver = drive(&sink, &batch).await;
    assert_eq!((driver.delivered().len(), driver.dead().len()), (8, 40));
}

/// A firewall that reads what an attacker wrote, and blocks it.
#[tokio::test]
async fn a_filter_on_the_way_blocks_one_event_and_not_the_sink() {
    for status in [403, 200] {
        let server = start(Cluster {
            filtered: Some((status, BAD_USER)),
            ..Cluster::default()
        })
        .await;
        let sink = sink(&server, "compression = \"none\"", Format::Ecs);
        let driver = drive(&sink, &events(8, true)).await;
        assert_eq!(driver.delivered().len(), 7);
        let [(_, reason)] = driver.dead() else {
            panic!("{:?}", driver.dead())
        };
        assert!(reason.contains(&status.to_string()) && reason.contains("without an event"));
    }
    let server = start(Cluster::default()).await;
    let sink = sink(&server, "", Format::Ecs);
    server.order_lasting(Fault::Answer(Reply::text(403, "<html>firewall</html>")));
    for _ in 0..3 * TRIES {
        let delivery = sink.deliver(&events(1, false)).await;
        assert_eq!(
            (delivery.outcomes, delivery.fault.unwrap().kind),
            (vec![Outcome::Retry], FaultKind::Auth)
        );
    }
}

#[tokio::test]
async fn items_in_another_order_are_each_their_own_events() {
    let server = start(Cluster {
        poison: Some(BAD_USER),
        backwards: true,
        ..Cluster::default()
    })
    .await;
    let delivery = sink(&server, "", Format::Ecs).deliver(&events(4, true)).await;
    assert!(matches!(
        &delivery.outcomes[..],
        [
            Outcome::Delivered,
            Outcome::Delivered,
            Outcome::Rejected(_),
            Outcome::Delivered
        ]
    ));
}

#[tokio::test]
async fn what_an_ingest_pipeline_leaves_out_is_told_of() {
    let server = start(Cluster {
        dropped: Some(BAD_USER),
        ..Cluster::default()
    })
    .await;
    let sink = sink(&server, "", Format::Ecs);
    assert_eq!(sink.deliver(&events(4, true)).await, Delivery::all(4));
    let notes = sink.notes();
    assert!(
        notes
            .iter()
            .any(|note| note.starts_with("1 event was left out by an ingest pipeline")),
        "{notes:?}"
    );
}
