//! The Kafka sink of the real program against real Apache Kafka, read back by another client (kcat).
//!
//! Where Java, Maven or kcat are missing each test says so on a line that begins with `SKIPPED`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops where something is wrong, and says what it skips"
)]

mod certificates;
mod cluster;
#[path = "../harness/mod.rs"]
mod harness;
mod outages;
mod reader;
mod secure;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};

use cluster::Cluster;
use harness::promises::ids;
use harness::{PATIENCE, Trap, eventually, json, text};
use reader::{Record, order_by_key};
use serde_json::Value;
use socket2::{Domain, Socket, Type};

const TOPIC: &str = "honeyport.events";

/// A trap with two decoys and a sink to these brokers, with further lines of its table.
fn configuration(brokers: &[String], topic: &str, lines: &str) -> String {
    format!(
        "[observer]\nname = \"lure-dmz-01\"\nsite = \"lyon\"\n[journal]\npath = \"state/journal.db\"\n\
         [decoys.ftp]\nservice = \"ftp\"\nlisten = [\"127.0.0.1:0\"]\n\
         [decoys.web]\nservice = \"http\"\nlisten = [\"127.0.0.1:0\"]\n\
         [limits]\nsessions_per_source = 10000\n\
         [sinks.bus]\ntype = \"kafka\"\ninputs = [\"decoys\"]\nbrokers = {brokers:?}\ntopic = \"{topic}\"\n\
         timeout = \"3s\"\nretry.max = \"1s\"\n{lines}\n"
    )
}

/// Comes from one of many addresses of this host, says something, hears something, goes.
fn call(address: SocketAddr, from: u8, words: &[u8]) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket
        .bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 9, from), 0)).into())
        .unwrap();
    socket.connect(&address.into()).unwrap();
    let mut stream = std::net::TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(words).unwrap();
    assert!(stream.read(&mut [0; 512]).unwrap() > 0);
}

/// Some sessions from some sources.
fn visit(trap: &Trap, sessions: u8) {
    let ftp = trap.address("ftp");
    (0..sessions).for_each(|at| call(ftp, 1 + at % 7, b"USER root\r\nPASS hunter2\r\n"));
}

/// Every event of a visitor in the journal. Those about the sensor and its sinks do not go to the sink.
fn journal(trap: &Trap) -> Vec<Value> {
    let mut events = trap.events(&["--limit", "1000000", "--format", "ecs"]);
    events.retain(|event| event["source"]["ip"].is_string());
    events
}

/// The sink as `status` shows it.
fn bus(trap: &Trap) -> Value {
    trap.status()["sinks"][0].clone()
}

/// What is wrong with the sink, once it is in trouble of this kind of words.
fn trouble(trap: &Trap, words: &str) -> Value {
    eventually(&format!("the sink is in trouble: {words}"), || {
        let bus = bus(trap);
        bus["error"]
            .as_str()
            .is_some_and(|error| error.contains(words))
            .then_some(bus)
    })
}

/// Waits until the topic has every event of the journal, and shows its records: nothing else is in them, and one source's
/// events are in one partition, in their order.
fn all_arrive(cluster: &Cluster, topic: &str, trap: &Trap) -> Vec<Record> {
    let records = eventually("every event is in the topic", || {
        let idle = bus(trap)["lag"] == 0;
        let (wanted, _) = ids(&journal(trap));
        let records = cluster.records(topic);
        let found: BTreeSet<_> = records.iter().map(|record| record.id().to_owned()).collect();
        (idle && wanted.is_subset(&found)).then_some(records)
    });
    let (wanted, _) = ids(&journal(trap));
    for record in &records {
        assert!(wanted.contains(record.id()), "nobody recorded {record:?}");
        assert_eq!(record.id(), record.event()["event"]["id"]);
    }
    for (key, places) in order_by_key(&records).iter().filter(|(key, _)| !key.is_empty()) {
        assert!(places.is_sorted(), "{key}: {places:?}");
        let partitions: BTreeSet<_> = of_key(&records, key).map(|record| record.partition).collect();
        assert_eq!(partitions.len(), 1, "{key} is in {partitions:?}");
    }
    records
}

fn of_key<'a>(records: &'a [Record], key: &'a str) -> impl Iterator<Item = &'a Record> {
    records.iter().filter(move |record| record.key.as_deref() == Some(key))
}

#[test]
fn hits_arrive_with_id_key_and_headers_and_another_client_reads_them() {
    let Some(cluster) = Cluster::start("hits", 1) else {
        return;
    };
    cluster.make_topic(TOPIC, 6, &[]);
    let trap = Trap::start(&configuration(&cluster.brokers(), TOPIC, ""));
    visit(&trap, 30);
    let records = all_arrive(&cluster, TOPIC, &trap);
    let distinct: BTreeSet<_> = records.iter().map(Record::id).collect();
    assert_eq!(
        distinct.len(),
        records.len(),
        "nothing failed, so nothing is there twice"
    );
    for record in &records {
        assert_eq!(record.headers["schema"], "ecs/9.4");
        assert_eq!(record.headers["content-type"], "application/json");
        assert_eq!(record.headers["observer"], "lure-dmz-01");
        let source = record.event()["source"]["ip"].as_str().map(str::to_owned);
        assert_eq!(record.key, source, "{record:?}");
    }
    let sources: BTreeSet<_> = records.iter().filter_map(|record| record.key.clone()).collect();
    assert_eq!(sources.len(), 7);
    let notes = bus(&trap)["notes"].to_string();
    assert!(notes.contains("tls is off"), "{notes}");
    let check = trap.trapline(&["check", "--connect", "--json"]);
    let said = json(&check)["sinks"][0]["said"].to_string();
    assert!(
        said.contains("1 broker, topic `honeyport.events` has 6 partitions"),
        "{said}"
    );
    let sent = trap.trapline(&["send-test", "bus"]);
    assert!(sent.status.success(), "{}", text(&sent.stderr));
}

#[test]
fn every_form_and_compression_is_read_by_another_client_and_topics_follow_their_pattern() {
    let Some(cluster) = Cluster::start("forms", 1) else {
        return;
    };
    for compression in ["lz4", "zstd", "gzip", "snappy", "none"] {
        for action in ["decoy-connect", "decoy-credential", "session-end"] {
            cluster.make_topic(&format!("{compression}.lyon.{action}"), 1, &[]);
        }
        let lines = format!("compression = \"{compression}\"\nformat = \"ocsf\"\nkey = \"observer\"");
        let config = configuration(
            &cluster.brokers(),
            &format!("{compression}.{{site}}.{{action}}"),
            &lines,
        );
        let trap = Trap::start(&config);
        visit(&trap, 1);
        let record = eventually("a credential is in its topic", || {
            cluster.records(&format!("{compression}.lyon.decoy-credential")).pop()
        });
        assert_eq!(record.headers["schema"], "ocsf/1.8");
        assert_eq!(record.key.as_deref(), Some("lure-dmz-01"));
        assert_eq!(record.event()["metadata"]["version"], "1.8.0");
    }
}

#[test]
fn a_missing_topic_is_an_alarm_and_its_events_come_once_it_is_made() {
    let Some(cluster) = Cluster::start("missing", 1) else {
        return;
    };
    let trap = Trap::start(&configuration(&cluster.brokers(), TOPIC, ""));
    let check = trap.trapline(&["check", "--connect"]);
    assert!(!check.status.success());
    assert!(text(&check.stderr).contains("there is no topic") || text(&check.stdout).contains("there is no topic"));
    visit(&trap, 5);
    let bus = trouble(
        &trap,
        "there is no topic `honeyport.events`; make it, or correct `topic`",
    );
    assert_eq!(
        (&bus["health"], &bus["delivered"]),
        (&"failing".into(), &0.into()),
        "{bus:#}"
    );
    assert!(
        bus["retry_in_secs"].as_u64().is_some_and(|secs| secs > 10),
        "a person must act: {bus:#}"
    );
    cluster.make_topic(TOPIC, 3, &[]);
    // A person who has mended it says so, and need not wait for the next try.
    assert!(trap.trapline(&["reload"]).status.success());
    all_arrive(&cluster, TOPIC, &trap);
}

#[test]
fn an_event_too_large_for_its_topic_is_made_smaller_and_else_becomes_a_dead_letter() {
    let Some(cluster) = Cluster::start("large", 1) else {
        return;
    };
    cluster.make_topic("small", 1, &[("max.message.bytes", "6000")]);
    cluster.make_topic("tiny", 1, &[("max.message.bytes", "200")]);
    let body = vec![b'x'; 9000];
    let mut request = b"POST /login HTTP/1.1\r\nHost: lure\r\nContent-Length: 9000\r\n\r\n".to_vec();
    request.extend(body);
    let trap = Trap::start(&configuration(&cluster.brokers(), "small", "compression = \"none\""));
    call(trap.address("web"), 1, &request);
    visit(&trap, 40);
    let records = all_arrive(&cluster, "small", &trap);
    let cut = records
        .iter()
        .filter(|record| record.event()["honeyport"]["truncated"] == true)
        .count();
    assert!(
        cut > 0 && records.iter().all(|record| record.value.len() < 6000),
        "{cut} of {}",
        records.len()
    );
    assert_eq!(bus(&trap)["dead_letters"], 0);
    drop(trap);

    let trap = Trap::start(&configuration(&cluster.brokers(), "tiny", "compression = \"none\""));
    visit(&trap, 1);
    eventually("all events are dead letters", || {
        let bus = bus(&trap);
        (bus["lag"] == 0 && bus["dead_letters"].as_u64() == Some(journal(&trap).len() as u64)).then_some(())
    });
    let letters = text(&trap.trapline(&["dead-letters", "list", "--json"]).stdout);
    assert!(letters.contains("the topic takes no record of"), "{letters}");
    assert_eq!(cluster.records("tiny").len(), 0);
}
