//! What goes over the wire, and what is made of answers that no fault of the suite gives.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is wrong")]

mod fake;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fake::store::{Poison, Store, attributes};
use fake::{grpc, http, place, sink};
use serde_json::{Value, json};
use trapline_schemas::{Action, Event, Field, Format, Timestamp};
use trapline_sink::conformance::certs::Authority;
use trapline_sink::conformance::web::{self, Place, Server};
use trapline_sink::conformance::{BAD_USER, Driver, events};
use trapline_sink::dial::Resolver;
use trapline_sink::stream::{FaultKind, Outcome};
use trapline_sink::stubborn::TRIES;
use trapline_sink::{Parcel, StreamSink};

/// A receiver of either transport.
enum Receiver {
    Grpc(grpc::Receiver),
    Http(Server<http::Receiver>),
}

const PROTOCOLS: [&str; 3] = ["grpc", "http/protobuf", "http/json"];

impl Receiver {
    async fn start(protocol: &str, store: Store) -> Self {
        match protocol {
            "grpc" => Self::Grpc(grpc::Receiver::start(store, None).await),
            _ => Self::Http(Server::start(http::Receiver { store }, None).await),
        }
    }

    fn url(&self) -> String {
        match self {
            Self::Grpc(receiver) => receiver.url(),
            Self::Http(server) => server.url(),
        }
    }

    fn with<T>(&self, look: impl FnOnce(&mut Store) -> T) -> T {
        match self {
            Self::Grpc(receiver) => receiver.with(look),
            Self::Http(server) => server.with(|receiver| look(&mut receiver.store)),
        }
    }

    fn sink(&self, protocol: &str, format: Format, more: &str) -> Arc<dyn StreamSink> {
        sink(protocol, &place(self.url()), format, more)
    }
}

const ID: &str = "019cb859-0e8b-7d47-978e-899785bbb80f";
const SESSION: &str = "019cb859-0e8b-7ad3-a211-aa862cca8cd6";

/// An event whose record is known to the last byte.
fn known() -> Arc<Parcel> {
    let at = Timestamp::from_micros(1_772_619_370_123_456);
    let mut event = Event::new(ID.parse().unwrap(), at, Action::Credential);
    event.set(Field::SourceIp, std::net::IpAddr::from([203, 0, 113, 77]));
    event.set(Field::SourcePort, 40_022_i64);
    event.set(Field::DestinationIp, std::net::IpAddr::from([10, 20, 30, 40]));
    event.set(Field::DestinationPort, 22_i64);
    event.set(Field::NetworkTransport, "tcp");
    event.set(Field::DecoyId, "ssh");
    event.set(Field::DecoyService, "ssh");
    event.set(Field::EventRiskScore, 78.0);
    event.set(Field::SessionId, SESSION.parse::<uuid::Uuid>().unwrap());
    event.set(Field::UserName, "root");
    event.set(Field::SourceZoneInside, true);
    event.set(Field::EventCreated, Timestamp::from_micros(1_772_619_370_124_000));
    Arc::new(Parcel::new(1, Arc::new(event)))
}

#[tokio::test]
async fn a_record_is_the_same_in_every_protocol_and_as_the_data_model_says() {
    for protocol in PROTOCOLS {
        for compression in ["gzip", "none"] {
            let receiver = Receiver::start(protocol, Store::default()).await;
            let more = format!("compression = \"{compression}\"\nresource = [\"deployment.environment.name = prod\"]");
            let sink = receiver.sink(protocol, Format::Text, &more);
            let delivery = sink.deliver(&[known()]).await;
            assert_eq!(
                delivery.outcomes,
                [Outcome::Delivered],
                "{protocol} {compression} {delivery:?}"
            );
            let (record, (resource, scope)) = receiver.with(|store| {
                assert!(store.wrong.is_empty(), "{:?}", store.wrong);
                (store.records.remove(0), store.frames.remove(0))
            });
            is_known(&record);
            is_ours(&resource, &scope);
        }
    }
}

fn is_known(record: &Value) {
    assert_eq!(record["timeUnixNano"], "1772619370123456000");
    assert_eq!(record["observedTimeUnixNano"], "1772619370124000000");
    assert_eq!(record["severityNumber"], 17);
    assert_eq!(record["severityText"], "High");
    assert_eq!(record["eventName"], "trapline.decoy_credential");
    let line = "2026-03-04T10:16:10.123Z decoy-credential 203.0.113.77:40022 → 10.20.30.40:22 ssh user=root";
    assert_eq!(record["body"], json!({"stringValue": line}));
    let found = attributes(record);
    for (name, expected) in [
        ("client.address", json!({"stringValue": "203.0.113.77"})),
        ("client.port", json!({"intValue": "40022"})),
        ("event.action", json!({"stringValue": "decoy-credential"})),
        (
            "event.type",
            json!({"arrayValue": {"values": [{"stringValue": "start"}]}}),
        ),
        ("event.id", json!({"stringValue": ID})),
        ("event.risk_score", json!({"doubleValue": 78.0})),
        ("network.protocol.name", json!({"stringValue": "ssh"})),
        ("network.transport", json!({"stringValue": "tcp"})),
        ("network.type", json!({"stringValue": "ipv4"})),
        ("server.address", json!({"stringValue": "10.20.30.40"})),
        ("server.port", json!({"intValue": "22"})),
        ("session.id", json!({"stringValue": SESSION})),
        ("source.address", json!({"stringValue": "203.0.113.77"})),
        ("source.port", json!({"intValue": "40022"})),
        ("trapline.decoy.id", json!({"stringValue": "ssh"})),
        ("trapline.source.inside", json!({"boolValue": true})),
        ("user.name", json!({"stringValue": "root"})),
    ] {
        assert_eq!(found.get(name), Some(&expected), "{name} in {found:#?}");
    }
}

fn is_ours(resource: &Value, scope: &Value) {
    let found = attributes(resource);
    let text = |name: &str| found[name]["stringValue"].as_str().unwrap().to_owned();
    assert_eq!(text("service.name"), "trapline");
    assert_eq!(text("service.version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(text("service.instance.id"), "lure");
    assert_eq!(text("deployment.environment.name"), "prod");
    assert!(!text("host.name").is_empty());
    assert_eq!(found.len(), 5);
    assert_eq!(
        scope,
        &json!({"name": "trapline", "version": env!("CARGO_PKG_VERSION")})
    );
}

#[tokio::test]
async fn with_json_the_body_is_the_event_as_a_map() {
    for protocol in PROTOCOLS {
        let receiver = Receiver::start(protocol, Store::default()).await;
        let sink = receiver.sink(protocol, Format::Ecs, "");
        assert_eq!(sink.deliver(&[known()]).await.outcomes, [Outcome::Delivered]);
        let record = receiver.with(|store| store.records.remove(0));
        let entry = |of: &Value, name: &str| {
            let values = of["kvlistValue"]["values"].as_array().unwrap().clone();
            values.into_iter().find(|pair| pair["key"] == name).unwrap()["value"].clone()
        };
        let port = entry(&entry(&record["body"], "source"), "port");
        assert_eq!(port, json!({"intValue": "40022"}), "{protocol}");
    }
}

#[tokio::test]
async fn what_a_partial_success_refused_is_found_and_named_and_the_rest_is_there() {
    for protocol in PROTOCOLS {
        let store = Store {
            poison: Poison::Record,
            ..Store::default()
        };
        let receiver = Receiver::start(protocol, store).await;
        let sink = receiver.sink(protocol, Format::Text, "");
        let sent = events(16, true);
        let mut driver = Driver::new(sink.clone(), sent.clone());
        while !driver.is_done() {
            driver.step(std::time::Duration::from_secs(30)).await.unwrap();
        }
        let bad = sent
            .iter()
            .find(|parcel| parcel.event.text(Field::UserName).is_some_and(|name| name == BAD_USER));
        let [(dead, reason)] = driver.dead() else {
            panic!("{:?}", driver.dead())
        };
        assert_eq!(*dead, bad.unwrap().event.id);
        assert_eq!(reason, "the receiver refused the record (bad record)");
        let stored: BTreeSet<_> = receiver.with(|store| store.ids()).into_iter().collect();
        assert_eq!(stored.len(), 15, "{protocol}");
        assert!(
            sink.notes().iter().any(|note| note.contains("in part")),
            "{:?}",
            sink.notes()
        );
    }
}

#[tokio::test]
async fn what_stood_beside_a_refused_record_is_there_three_times_at_most() {
    for protocol in PROTOCOLS {
        let store = Store {
            poison: Poison::Record,
            ..Store::default()
        };
        let receiver = Receiver::start(protocol, store).await;
        let sink = receiver.sink(protocol, Format::Text, "");
        let sent = events(200, true);
        let delivery = sink.deliver(&sent).await;
        let dead = delivery
            .outcomes
            .iter()
            .position(|one| *one != Outcome::Delivered)
            .unwrap();
        assert_eq!(dead, 100, "{protocol}");
        assert!(matches!(&delivery.outcomes[dead], Outcome::Rejected(_)) && delivery.fault.is_none());
        let mut copies = BTreeMap::new();
        for id in receiver.with(|store| store.ids()) {
            *copies.entry(id).or_insert(0) += 1;
        }
        assert_eq!((copies.len(), copies.values().max()), (199, Some(&3)), "{protocol}");
        assert!(copies.values().sum::<i32>() < 2 * 199 + 20, "nearly all twice");
    }
}

#[tokio::test]
async fn a_batch_that_is_refused_whole_is_named_without_being_sent_again() {
    for protocol in PROTOCOLS {
        let store = Store {
            poison: Poison::Record,
            ..Store::default()
        };
        let receiver = Receiver::start(protocol, store).await;
        let batch = [events(1, true).remove(0), events(1, true).remove(0)];
        let delivery = receiver.sink(protocol, Format::Text, "").deliver(&batch).await;
        let refused = Outcome::Rejected("the receiver refused the record (bad record)".into());
        assert_eq!(delivery.outcomes, [refused.clone(), refused], "{protocol}");
        let found = receiver.with(|store| (store.sizes.len(), store.controls.len()));
        assert_eq!(found, (2, 1), "once, and then a record of ours");
    }
}

/// As where a quota is used up.
#[tokio::test]
async fn a_receiver_that_refuses_everything_by_number_loses_nothing() {
    for protocol in PROTOCOLS {
        let store = Store {
            poison: Poison::All,
            ..Store::default()
        };
        let receiver = Receiver::start(protocol, store).await;
        let sink = receiver.sink(protocol, Format::Text, "");
        let sent = events(4, false);
        let delivery = sink.deliver(&sent).await;
        let found = (delivery.outcomes, delivery.fault.unwrap());
        assert_eq!(
            (found.0, found.1.kind),
            (vec![Outcome::Retry; 4], FaultKind::Config),
            "{protocol}"
        );
        assert!(found.1.message.contains("bad record"), "{:?}", found.1);
        receiver.with(|store| store.poison = Poison::None);
        assert_eq!(drive(&sink, &sent).await.delivered().len(), 4);
        assert_eq!(receiver.with(|store| store.ids().len()), 4, "once each");
    }
}

#[tokio::test]
async fn a_large_batch_goes_in_requests_within_the_bound_and_in_order() {
    for protocol in PROTOCOLS {
        let receiver = Receiver::start(protocol, Store::default()).await;
        let sink = receiver.sink(protocol, Format::Ecs, "request_bytes_max = \"32KiB\"");
        let sent = events(100, false);
        let delivery = sink.deliver(&sent).await;
        assert!(
            delivery.outcomes.iter().all(|outcome| *outcome == Outcome::Delivered),
            "{delivery:?}"
        );
        let ids: Vec<_> = sent.iter().map(|parcel| parcel.event.id).collect();
        receiver.with(|store| {
            assert_eq!(store.ids(), ids);
            assert!(
                store.sizes.len() > 1 && store.sizes.iter().all(|size| *size <= 32 * 1024),
                "{:?}",
                store.sizes
            );
        });
    }
}

/// Above the windows of HTTP/2, which are 64 KiB at first.
#[tokio::test]
async fn a_request_larger_than_every_window_arrives_whole() {
    let receiver = Receiver::start("grpc", Store::default()).await;
    let sink = receiver.sink("grpc", Format::Ecs, "compression = \"none\"");
    let sent = events(500, false);
    let delivery = sink.deliver(&sent).await;
    assert!(
        delivery.outcomes.iter().all(|outcome| *outcome == Outcome::Delivered),
        "{:?}",
        delivery.fault
    );
    receiver.with(|store| {
        assert_eq!(store.ids().len(), 500);
        assert!(
            store.sizes == [store.sizes[0]] && store.sizes[0] > 500_000,
            "{:?}",
            store.sizes
        );
    });
}

#[tokio::test]
async fn a_check_stores_nothing() {
    for protocol in PROTOCOLS {
        let receiver = Receiver::start(protocol, Store::default()).await;
        let sink = receiver.sink(protocol, Format::Text, "");
        assert_eq!(sink.check().await.unwrap(), "the receiver answers");
        receiver.with(|store| assert!(store.records.is_empty() && store.wrong.is_empty() && store.sizes.len() == 1));
    }
}

#[tokio::test]
async fn whoever_is_spoken_to_in_the_wrong_protocol_is_told_to_the_operator() {
    let cases = [
        ("grpc", "http/protobuf", "gRPC port"),
        ("http/protobuf", "grpc", "OTLP/HTTP port"),
    ];
    for (theirs, ours, hint) in cases {
        let receiver = Receiver::start(theirs, Store::default()).await;
        let fault = receiver.sink(ours, Format::Text, "").check().await.unwrap_err();
        // The peer may have cut the connection before its answer was read.
        let cut = fault.kind == FaultKind::Unreachable;
        assert!(cut || fault.kind == FaultKind::Config, "{fault:?}");
        assert!(fault.message.contains(hint), "{fault:?}");
    }
}

impl Receiver {
    /// From now on every request is answered so: the status of gRPC, and that of HTTP.
    fn refuse_all(&self, (grpc, http): (u16, u16)) {
        match self {
            Self::Grpc(receiver) => receiver.orders().order_lasting(grpc::Fault::Status(grpc, "")),
            Self::Http(server) => server.order_lasting(web::Fault::Answer(web::Reply::status(http))),
        }
    }

    fn heal(&self) {
        match self {
            Self::Grpc(receiver) => receiver.orders().heal(),
            Self::Http(server) => server.heal(),
        }
    }
}

/// Sends until every event is delivered or a dead letter.
async fn drive(sink: &Arc<dyn StreamSink>, sent: &[Arc<Parcel>]) -> Driver {
    let mut driver = Driver::new(sink.clone(), sent.to_vec());
    while !driver.is_done() {
        driver.step(std::time::Duration::from_secs(30)).await.unwrap();
    }
    driver
}

#[tokio::test]
async fn what_is_refused_of_every_record_is_a_fault_and_makes_no_dead_letter() {
    for protocol in PROTOCOLS {
        for (refusal, kind) in [
            ((3, 400), FaultKind::Config),
            ((6, 422), FaultKind::Config),
            ((13, 500), FaultKind::Server),
        ] {
            let receiver = Receiver::start(protocol, Store::default()).await;
            let sink = receiver.sink(protocol, Format::Text, "");
            receiver.refuse_all(refusal);
            let sent = events(3, false);
            for event in sent.chunks(1).chain(sent.chunks(1)).chain(sent.chunks(1)) {
                let delivery = sink.deliver(event).await;
                let found = (delivery.outcomes, delivery.fault.as_ref().map(|fault| fault.kind));
                assert_eq!(found, (vec![Outcome::Retry], Some(kind)), "{protocol} {refusal:?}");
                let said = delivery.fault.unwrap().message;
                assert!(
                    kind == FaultKind::Server || said.contains("no event is at fault"),
                    "{said}"
                );
            }
            receiver.heal();
            assert_eq!(drive(&sink, &sent).await.delivered().len(), 3);
        }
    }
}

#[tokio::test]
async fn a_record_that_the_receiver_breaks_down_over_holds_nobody_up_for_ever() {
    for protocol in PROTOCOLS {
        let store = Store {
            poison: Poison::Breaks,
            ..Store::default()
        };
        let receiver = Receiver::start(protocol, store).await;
        let sink = receiver.sink(protocol, Format::Text, "");
        let driver = drive(&sink, &events(8, true)).await;
        assert_eq!(driver.delivered().len(), 7, "{protocol}");
        assert!(
            matches!(driver.dead(), [(_, reason)] if reason.contains("failed")),
            "{:?}",
            driver.dead()
        );
        let controls = receiver.with(|store| (store.controls.len(), store.wrong.clone()));
        assert!(controls.0 >= TRIES as usize && controls.1.is_empty(), "{controls:?}");
    }
}

/// Whoever knows how to make one makes many.
#[tokio::test]
async fn many_records_that_the_receiver_breaks_down_over_cost_one_try_each() {
    let store = Store {
        poison: Poison::Breaks,
        ..Store::default()
    };
    let receiver = Receiver::start("grpc", store).await;
    let sink = receiver.sink("grpc", Format::Text, "");
    let bad = |_| events(1, true).remove(0);
    let sent: Vec<_> = (0..30).map(bad).collect();
    assert_eq!(drive(&sink, &sent[..1]).await.dead().len(), 1);
    for lone in sent[1..].chunks(1) {
        let delivery = sink.deliver(lone).await;
        assert!(matches!(&delivery.outcomes[..], [Outcome::Suspect(_)]), "{delivery:?}");
    }
}

/// A firewall that reads what an attacker wrote, and blocks it.
#[tokio::test]
async fn a_filter_on_the_way_blocks_one_event_and_not_the_sink() {
    let kinds = [Poison::Filtered, Poison::Page];
    let all = PROTOCOLS
        .iter()
        .flat_map(|protocol| kinds.map(|poison| (*protocol, poison)));
    for (protocol, poison) in all.chain([("grpc", Poison::Cut)]) {
        let store = Store {
            poison,
            ..Store::default()
        };
        let receiver = Receiver::start(protocol, store).await;
        let sink = receiver.sink(protocol, Format::Text, "");
        let driver = drive(&sink, &events(8, true)).await;
        assert_eq!(driver.delivered().len(), 7, "{protocol}");
        assert!(
            matches!(driver.dead(), [(_, reason)] if reason.contains("without an event")),
            "{:?}",
            driver.dead()
        );
        receiver.refuse_all((7, 403));
        for _ in 0..2 * TRIES {
            let delivery = sink.deliver(&events(1, false)).await;
            let found = (delivery.outcomes, delivery.fault.unwrap().kind);
            assert_eq!(found, (vec![Outcome::Retry], FaultKind::Auth), "{protocol}");
        }
    }
}

#[tokio::test]
async fn a_record_that_is_too_large_for_the_receiver_holds_nobody_up_for_ever() {
    let receiver = grpc::Receiver::start(Store::default(), None).await;
    let sink = sink("grpc", &place(receiver.url()), Format::Text, "");
    for _ in 1..TRIES {
        receiver.orders().order(grpc::Fault::Status(8, ""));
        assert_eq!(sink.deliver(&events(1, false)[..]).await.outcomes, [Outcome::Retry]);
    }
    let lone = events(1, false);
    for _ in 1..TRIES {
        receiver.orders().order(grpc::Fault::Status(8, ""));
        let delivery = sink.deliver(&lone).await;
        assert_eq!(delivery.outcomes, [Outcome::Retry]);
        assert_eq!(delivery.fault.unwrap().kind, FaultKind::Busy);
    }
    receiver.orders().order(grpc::Fault::Status(8, ""));
    let last = sink.deliver(&lone).await;
    assert!(
        matches!(&last.outcomes[..], [Outcome::Suspect(reason)] if reason.contains("RESOURCE_EXHAUSTED")),
        "{last:?}"
    );
}

/// As a receiver says it that repeats what it refuses.
#[tokio::test]
async fn a_refusal_of_any_length_is_a_refusal() {
    let receiver = grpc::Receiver::start(Store::default(), None).await;
    let sink = sink("grpc", &place(receiver.url()), Format::Text, "");
    let lone = events(1, false);
    receiver.orders().order(grpc::Fault::Wordy(3, 100_000));
    let delivery = sink.deliver(&lone).await;
    assert!(
        matches!(&delivery.outcomes[..], [Outcome::Suspect(why)] if why.contains("INVALID_ARGUMENT") && why.len() < 400),
        "{delivery:?}"
    );
    // Beyond what is read nobody knows what it says, but that it is no other protocol's.
    for bytes in [1_000_000; TRIES as usize] {
        receiver.orders().order(grpc::Fault::Wordy(3, bytes));
        let delivery = sink.deliver(&lone).await;
        let said = format!("{delivery:?}");
        assert!(!said.contains("OTLP/HTTP port"), "{said}");
        if let [Outcome::Suspect(_)] = &delivery.outcomes[..] {
            return;
        }
    }
    panic!("it held the sink up");
}

#[tokio::test]
async fn too_much_at_once_goes_in_parts_and_too_much_for_now_is_tried_again() {
    let receiver = grpc::Receiver::start(Store::default(), None).await;
    let sink = sink("grpc", &place(receiver.url()), Format::Text, "");
    for status in [8, 11] {
        // It takes a record of ours, so it is the request.
        receiver.orders().order(grpc::Fault::Status(status, ""));
        let several = sink.deliver(&events(2, false)).await;
        assert!(
            several
                .outcomes
                .iter()
                .all(|outcome| matches!(outcome, Outcome::Suspect(_))),
            "{several:?}"
        );
        // It takes nothing, so it is the receiver, also after many tries.
        receiver.orders().order_lasting(grpc::Fault::Status(status, ""));
        let sent = events(2, false);
        for batch in [&sent[..], &sent[..1]].repeat(2 * TRIES as usize) {
            let delivery = sink.deliver(batch).await;
            assert_eq!(delivery.outcomes, vec![Outcome::Retry; batch.len()]);
            assert_eq!(delivery.fault.unwrap().kind, FaultKind::Busy);
        }
        receiver.orders().heal();
    }
}

#[tokio::test]
async fn a_proxy_before_the_receiver_is_no_receiver() {
    let receiver = grpc::Receiver::start(Store::default(), None).await;
    let sink = sink("grpc", &place(receiver.url()), Format::Text, "");
    for (status, kind) in [
        (401, FaultKind::Auth),
        (404, FaultKind::Config),
        (503, FaultKind::Server),
        (200, FaultKind::Server),
    ] {
        receiver
            .orders()
            .order_lasting(grpc::Fault::Page(status, "text/html", b"<html>".to_vec()));
        let delivery = sink.deliver(&events(2, false)).await;
        assert_eq!(delivery.outcomes, [Outcome::Retry, Outcome::Retry]);
        assert_eq!(delivery.fault.unwrap().kind, kind, "{status}");
    }
}

/// With TLS the server says so itself, where it names its protocols.
#[tokio::test]
async fn a_tls_port_without_http2_is_told_to_the_operator() {
    let (authority, folder) = (Authority::new().unwrap(), tempfile::tempdir().unwrap());
    let mut tls = (*authority.issue("localhost").unwrap().server(None).unwrap()).clone();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let server = Server::start(http::Receiver::default(), Some(Arc::new(tls))).await;
    let ca = folder.path().join("ca.crt");
    std::fs::write(&ca, authority.pem()).unwrap();
    let place = Place {
        base: format!("https://localhost:{}", server.address.port()),
        ca: Some(ca),
        resolver: Resolver::default(),
    };
    let fault = sink("grpc", &place, Format::Text, "").check().await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Tls, "{fault:?}");
    assert!(fault.message.contains("HTTP/1"), "{fault:?}");
}

#[tokio::test]
async fn a_client_certificate_is_shown_over_http2_and_a_missing_one_is_named() {
    let (authority, folder) = (Authority::new().unwrap(), tempfile::tempdir().unwrap());
    let tls = authority.issue("localhost").unwrap().server(Some(&authority)).unwrap();
    let receiver = grpc::Receiver::start(Store::default(), Some(tls)).await;
    let ca = folder.path().join("ca.crt");
    std::fs::write(&ca, authority.pem()).unwrap();
    let (cert, key) = authority
        .issue("client")
        .unwrap()
        .write(folder.path(), "client")
        .unwrap();
    let mut place = place(format!("https://localhost:{}", receiver.address.port()));
    let own = format!("tls = {{ ca = {ca:?}, cert = {cert:?}, key = {key:?} }}");
    let with = sink("grpc", &place, Format::Text, &own);
    assert_eq!(with.deliver(&events(1, false)).await.outcomes, [Outcome::Delivered]);
    place.ca = Some(ca);
    let without = sink("grpc", &place, Format::Text, "").deliver(&events(1, false)).await;
    let fault = without.fault.unwrap();
    assert_eq!(
        (fault.kind, receiver.with(|store| store.records.len())),
        (FaultKind::Tls, 1),
        "{fault:?}"
    );
    assert!(fault.message.contains("`tls.cert`"), "{fault:?}");
}
