//! What brokers say, one by one, against the mock cluster of librdkafka.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is wrong")]

mod cluster;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cluster::{Cluster, PARTITIONS, TOPIC, sink, sink_to, stored};
use rdkafka::types::{RDKafkaApiKey as Api, RDKafkaRespErr as Code};
use trapline_schemas::Field;
use trapline_sink::conformance::events;
use trapline_sink::stream::{Delivery, FaultKind, Outcome};
use trapline_sink::{Parcel, StreamSink};

fn kind(delivery: &Delivery) -> Option<FaultKind> {
    delivery.fault.as_ref().map(|fault| fault.kind)
}

fn all(delivery: &Delivery, outcome: &Outcome) -> bool {
    delivery.outcomes.iter().all(|found| found == outcome)
}

/// Delivers until nothing is left to send again; bounded.
async fn deliver_all(sink: &Arc<dyn StreamSink>, batch: &[Arc<Parcel>]) {
    for _ in 0..20 {
        if all(&sink.deliver(batch).await, &Outcome::Delivered) {
            return;
        }
    }
    panic!("not delivered in 20 tries");
}

/// The partitioner of Java's producers, from its description: murmur2 with their seed, without the sign.
fn partition_of(key: &[u8]) -> i32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ u32::try_from(key.len()).unwrap();
    let words = key.chunks_exact(4);
    let rest = words.remainder();
    for word in words {
        let mut word = u32::from_le_bytes(word.try_into().unwrap()).wrapping_mul(M);
        word ^= word >> 24;
        hash = hash.wrapping_mul(M) ^ word.wrapping_mul(M);
    }
    for (at, byte) in rest.iter().enumerate() {
        hash ^= u32::from(*byte) << (8 * at);
    }
    if !rest.is_empty() {
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^= hash >> 15;
    i32::try_from(hash & 0x7fff_ffff).unwrap() % PARTITIONS
}

#[tokio::test(flavor = "multi_thread")]
async fn where_it_sends_and_which_offset_was_confirmed_are_told() {
    let cluster = Cluster::new(1);
    let sink = sink(cluster.servers(), "");
    assert_eq!(sink.word(), None);
    assert_eq!(
        sink.destination(),
        Some(format!("topic `{TOPIC}` at {}", cluster.servers()))
    );
    deliver_all(&sink, &events(1, false)).await;
    assert_eq!(sink.word().as_deref(), Some("confirmed by the brokers, offset 0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_has_key_headers_time_and_the_partition_that_java_would_choose() {
    let cluster = Cluster::new(3);
    let batch = events(20, false);
    let sink = sink(cluster.servers(), "compression = \"zstd\"");
    assert!(all(&sink.deliver(&batch).await, &Outcome::Delivered));
    let found = cluster.stored();
    assert_eq!(found.len(), 20);
    for (record, parcel) in found.iter().zip(&batch) {
        assert_eq!(record.id(), parcel.event.id, "one key, one partition, one order");
        assert_eq!(record.key.as_deref(), Some("203.0.113.77"));
        assert_eq!(record.partition, partition_of(b"203.0.113.77"));
        assert_eq!(record.millis, Some(parcel.event.at.millis()));
        assert_eq!(record.value, parcel.rendered(trapline_schemas::Format::Ecs).to_vec());
        assert_eq!(record.headers["schema"], "ecs/9.4");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_records_are_spread_and_with_that_of_the_event_as_well() {
    for key in ["none", "event"] {
        let cluster = Cluster::new(1);
        let sink = sink(cluster.servers(), &format!("key = \"{key}\""));
        for batch in events(60, false).chunks(2) {
            assert!(all(&sink.deliver(batch).await, &Outcome::Delivered));
        }
        let partitions: BTreeSet<_> = cluster.stored().iter().map(|record| record.partition).collect();
        assert!(partitions.len() > 1, "{key}: {partitions:?}");
        let keyed = cluster.stored().iter().filter(|record| record.key.is_some()).count();
        assert_eq!(keyed, if key == "none" { 0 } else { 60 });
    }
}

/// What is refused for good, with the kind that an operator acts on; then it goes on.
const REFUSALS: &[(Api, Code, FaultKind, &str)] = &[
    (
        Api::Produce,
        Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
        FaultKind::Auth,
        "grant Write",
    ),
    (
        Api::InitProducerId,
        Code::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED,
        FaultKind::Auth,
        "IdempotentWrite",
    ),
    (
        Api::Produce,
        Code::RD_KAFKA_RESP_ERR_POLICY_VIOLATION,
        FaultKind::Config,
        "policy",
    ),
    (
        Api::Produce,
        Code::RD_KAFKA_RESP_ERR_UNSUPPORTED_COMPRESSION_TYPE,
        FaultKind::Config,
        "`compression`",
    ),
    (Api::Produce, Code::RD_KAFKA_RESP_ERR_UNKNOWN, FaultKind::Server, TOPIC),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_is_told_apart_and_not_remembered_when_it_is_over() {
    for (api, code, expected, words) in REFUSALS {
        let cluster = Cluster::new(1);
        let sink = sink(cluster.servers(), "");
        let (api, code) = (*api, *code);
        cluster.act(move |mock| mock.request_errors(api, &[code; 8]));
        let batch = events(3, false);
        let first = sink.deliver(&batch).await;
        assert_eq!(kind(&first), Some(*expected), "{code:?}: {first:?}");
        assert!(all(&first, &Outcome::Retry), "{code:?}: {first:?}");
        let message = first.fault.unwrap().message;
        assert!(message.contains(words), "{code:?}: {message}");
        cluster.act(move |mock| mock.clear_request_errors(api));
        deliver_all(&sink, &batch).await;
        assert_eq!(cluster.stored().len(), 3, "{code:?}: once each");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_is_tried_again_inside_and_stored_once_in_its_order() {
    for code in [
        Code::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        Code::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        Code::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        Code::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
        Code::RD_KAFKA_RESP_ERR__TRANSPORT,
    ] {
        let cluster = Cluster::new(3);
        let sink = sink(cluster.servers(), "");
        cluster.act(move |mock| mock.request_errors(Api::Produce, &[code; 2]));
        let batch = events(30, false);
        let first = sink.deliver(&batch).await;
        assert!(all(&first, &Outcome::Delivered), "{code:?}: {first:?}");
        let found: Vec<_> = cluster.stored().iter().map(cluster::Stored::id).collect();
        let sent: Vec<_> = batch.iter().map(|parcel| parcel.event.id).collect();
        assert_eq!(found, sent, "{code:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_that_the_brokers_lost_track_of_is_replaced() {
    let cluster = Cluster::new(1);
    let sink = sink(cluster.servers(), "");
    deliver_all(&sink, &events(2, false)).await;
    cluster.fail(Api::Produce, &[Code::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER; 2]);
    let batch = events(2, false);
    let first = sink.deliver(&batch).await;
    assert!(
        all(&first, &Outcome::Retry) && kind(&first) == Some(FaultKind::Server),
        "{first:?}"
    );
    cluster.act(|mock| mock.clear_request_errors(Api::Produce));
    deliver_all(&sink, &batch).await;
    assert_eq!(cluster.stored().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_record_is_suspected_and_not_sent_for_ever() {
    let cluster = Cluster::new(1);
    let sink = sink(cluster.servers(), "");
    cluster.fail(Api::Produce, &[Code::RD_KAFKA_RESP_ERR_INVALID_RECORD]);
    let refused = sink.deliver(&events(1, false)).await;
    assert!(matches!(refused.outcomes[..], [Outcome::Suspect(_)]), "{refused:?}");
    assert!(all(&sink.deliver(&events(1, false)).await, &Outcome::Delivered));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_too_large_is_taken_apart_and_the_next_are_smaller() {
    let cluster = Cluster::new(1);
    let sink = sink(cluster.servers(), "");
    cluster.fail(Api::Produce, &[Code::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE]);
    let batch = events(10, false);
    let delivery = sink.deliver(&batch).await;
    assert!(all(&delivery, &Outcome::Delivered), "{delivery:?}");
    assert_eq!(cluster.stored().len(), 10, "nothing twice");
    let notes = sink.notes().join("; ");
    assert!(notes.contains("requests of 450000 bytes"), "{notes}");
    deliver_all(&sink, &events(10, false)).await;
}

/// Events of one source that need some requests, since each is about 2.5 kB.
fn large_events(count: usize) -> Vec<Arc<Parcel>> {
    let grow = |parcel: &Arc<Parcel>| {
        let mut event = (*parcel.event).clone();
        event.set(Field::UserAgent, "x".repeat(2_000).as_str());
        Arc::new(Parcel::new(parcel.offset, Arc::new(event)))
    };
    events(count, false).iter().map(grow).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_behind_a_refused_request_does_not_overtake_it() {
    const FINE: Code = Code::RD_KAFKA_RESP_ERR_NO_ERROR;
    for code in [
        Code::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
        Code::RD_KAFKA_RESP_ERR_INVALID_RECORD,
        Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
    ] {
        for refused in 0..3_usize {
            let cluster = Cluster::new(1);
            let sink = sink(cluster.servers(), "compression = \"none\"");
            cluster.act(move |mock| {
                let mut answers = vec![FINE; refused];
                answers.push(code);
                mock.request_errors(Api::Produce, &answers);
            });
            let batch = large_events(1000);
            deliver_in_order(&sink, batch.clone()).await;
            let found: Vec<_> = cluster.stored().iter().map(cluster::Stored::id).collect();
            let sent: Vec<_> = batch.iter().map(|parcel| parcel.event.id).collect();
            assert_eq!(found, sent, "{code:?} for request {refused}");
        }
    }
}

/// Delivers as a worker does: what is left goes again, in its order; what is suspect goes in halves.
async fn deliver_in_order(sink: &Arc<dyn StreamSink>, batch: Vec<Arc<Parcel>>) {
    let mut left = vec![batch];
    for _ in 0..100 {
        let Some(batch) = left.pop() else { return };
        let delivery = sink.deliver(&batch).await;
        let pairs = || batch.iter().zip(&delivery.outcomes);
        let again = pairs().filter(|(_, outcome)| **outcome == Outcome::Retry);
        let suspects = pairs().filter(|(_, outcome)| matches!(outcome, Outcome::Suspect(_)));
        let mut front: Vec<_> = suspects.map(|(parcel, _)| parcel.clone()).collect();
        let back = front.split_off(front.len().div_ceil(2));
        left.extend([again.map(|(parcel, _)| parcel.clone()).collect(), back, front]);
        left.retain(|batch: &Vec<_>| !batch.is_empty());
    }
    panic!("not delivered in 100 tries");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_stays_too_large_is_a_dead_letter_and_those_around_it_are_not() {
    let cluster = Cluster::new(1);
    let sink = sink(cluster.servers(), "");
    cluster.fail(Api::Produce, &[Code::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE; 40]);
    let refused = sink.deliver(&events(1, false)).await;
    let [Outcome::Rejected(reason)] = &refused.outcomes[..] else {
        panic!("{refused:?}")
    };
    assert!(reason.contains("cannot be made smaller"), "{reason}");
    let notes = sink.notes().join("; ");
    assert!(
        notes.contains("a topic refused events of ") && notes.contains("`event_bytes_max`"),
        "{notes}"
    );
    cluster.act(|mock| mock.clear_request_errors(Api::Produce));
    assert!(all(&sink.deliver(&events(2, false)).await, &Outcome::Delivered));
    assert_eq!(cluster.stored().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_topic_is_told_and_its_events_go_once_it_is_there() {
    let cluster = Cluster::bare(1);
    cluster.act(|mock| {
        mock.topic_error(TOPIC, Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
            .unwrap();
    });
    let sink = sink(cluster.servers(), "");
    let batch = events(2, false);
    let first = sink.deliver(&batch).await;
    assert_eq!(kind(&first), Some(FaultKind::Config), "{first:?}");
    let fault = sink.check().await.unwrap_err();
    assert_eq!(
        (fault.kind, fault.message.contains("there is no topic")),
        (FaultKind::Config, true)
    );
    cluster.act(|mock| {
        mock.topic_error(TOPIC, Code::RD_KAFKA_RESP_ERR_NO_ERROR).unwrap();
    });
    deliver_all(&sink, &batch).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_check_says_how_many_brokers_and_partitions_answered() {
    let cluster = Cluster::new(3);
    let said = sink(cluster.servers(), "").check().await.unwrap();
    assert_eq!(said, "3 brokers, topic `honeyport.events` has 3 partitions");
    let said = sink_to(cluster.servers(), "honeyport.{level}", "")
        .check()
        .await
        .unwrap();
    assert_eq!(said, "3 brokers, 1 topic like `honeyport.{level}`");
    let fault = sink_to(cluster.servers(), "other.{level}", "")
        .check()
        .await
        .unwrap_err();
    assert_eq!(fault.kind, FaultKind::Config);
    assert!(fault.message.contains("`other.{level}`"), "{}", fault.message);
    let fault = sink("127.0.0.1:1", "").check().await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unreachable, "{}", fault.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_gone_is_unreachable_and_named() {
    let delivery = sink("nobody.invalid:9092", "").deliver(&events(1, false)).await;
    assert_eq!(kind(&delivery), Some(FaultKind::Unreachable), "{delivery:?}");
    assert!(delivery.fault.unwrap().message.contains("nobody.invalid"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_nobody_waits_for_leaves_the_sink_usable() {
    let cluster = Cluster::new(1);
    cluster.act(|mock| mock.broker_down(-1).unwrap());
    let sink = sink(cluster.servers(), "");
    let batch = events(5, false);
    assert!(
        tokio::time::timeout(Duration::from_millis(200), sink.deliver(&batch))
            .await
            .is_err()
    );
    cluster.act(|mock| mock.broker_up(-1).unwrap());
    deliver_all(&sink, &batch).await;
    let unique: BTreeSet<_> = cluster.stored().iter().map(cluster::Stored::id).collect();
    assert_eq!(unique.len(), 5);
    sink.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_pattern_go_to_their_topics() {
    let cluster = Cluster::new(1);
    cluster.act(|mock| mock.create_topic("hp.proof.decoy-credential", PARTITIONS, 1).unwrap());
    let sink = sink_to(cluster.servers(), "hp.{level}.{action}", "");
    deliver_all(&sink, &events(4, false)).await;
    assert_eq!(stored(cluster.servers(), "hp.proof.decoy-credential").len(), 4);
}
