//! The Elasticsearch sink of the real program against real OpenSearch.
//!
//! Where Java or Maven are missing each test says so on a line that begins with `SKIPPED`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops where something is wrong, and says what it skips"
)]

#[path = "../harness/mod.rs"]
mod harness;
mod node;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};

use harness::promises::ids;
use harness::{PATIENCE, Trap, eventually, json, text};
use node::Node;
use serde_json::{Value, json};

const STREAM: &str = "logs-trapline.events-default";
/// The template that people are given.
const TEMPLATE: &str = include_str!("../../config/vendors/elasticsearch-template.json");

/// A trap with a decoy and a sink to this node, with further lines of its table.
fn configuration(node: &Node, lines: &str) -> String {
    format!(
        "[observer]\nname = \"lure-dmz-01\"\nsite = \"lyon\"\n[journal]\npath = \"state/journal.db\"\n\
         [decoys.ftp]\nservice = \"ftp\"\nlisten = [\"127.0.0.1:0\"]\n[limits]\nsessions_per_source = 10000\n\
         [sinks.search]\ntype = \"elasticsearch\"\ninputs = [\"decoys\"]\nendpoint = \"{}\"\n\
         timeout = \"5s\"\nretry.max = \"1s\"\n{lines}\n",
        node.url()
    )
}

/// Comes and says something.
fn knock(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"USER root\r\nPASS hunter2\r\n").unwrap();
    assert!(stream.read(&mut [0; 512]).unwrap() > 0);
    stream
}

/// So many sessions at once, each of which hears all that is said to it.
fn visit(address: SocketAddr, sessions: usize) {
    std::thread::scope(|scope| {
        for _ in 0..sessions {
            scope.spawn(|| {
                let mut stream = knock(address);
                stream.shutdown(Shutdown::Write).unwrap();
                stream.read_to_end(&mut Vec::new()).unwrap();
            });
        }
    });
}

/// Every event of a visitor in the journal. Those about the sensor and its sinks do not go to the sink.
fn journal(trap: &Trap) -> Vec<Value> {
    let mut events = trap.events(&["--limit", "1000000", "--format", "ecs"]);
    events.retain(|event| event["source"]["ip"].is_string());
    events
}

/// The sink as `status` shows it.
fn sink(trap: &Trap) -> Value {
    trap.status()["sinks"][0].clone()
}

/// What is wrong with the sink, once it is in trouble of this kind of words.
fn trouble(trap: &Trap, words: &str) -> Value {
    eventually(&format!("the sink is in trouble: {words}"), || {
        let sink = sink(trap);
        let error = sink["error"].as_str().unwrap_or_default();
        error.contains(words).then(|| sink.clone())
    })
}

/// Waits until the index has every event of the journal, each once under its id and nothing else, and shows its documents.
fn all_arrive(node: &Node, index: &str, trap: &Trap) -> Vec<Value> {
    let documents = eventually("every event is in the index, and nothing else", || {
        let idle = sink(trap)["lag"] == 0;
        let documents = node.documents(index);
        let ((wanted, _), (found, _)) = (ids(&journal(trap)), ids(&documents));
        (idle && wanted == found).then_some(documents)
    });
    assert_eq!(ids(&documents).1, 0, "each is there once");
    assert!(
        documents
            .iter()
            .all(|document| document["_id"] == document["event"]["id"])
    );
    documents
}

/// Sessions go on in the background from the first line of `during` to its last.
fn with_visitors<T>(address: SocketAddr, during: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut sessions = (0..20_000).take_while(|_| !over.load(Ordering::Relaxed));
            sessions.by_ref().for_each(|_| {
                knock(address);
                std::thread::park_timeout(std::time::Duration::from_millis(20));
            });
        });
        let done = during();
        over.store(true, Ordering::Relaxed);
        done
    })
}

fn delivered(trap: &Trap, more: u64) {
    let before = sink(trap)["delivered"].as_u64().unwrap();
    eventually("events are delivered", || {
        (sink(trap)["delivered"].as_u64() >= Some(before + more)).then_some(())
    });
}

#[test]
fn hits_arrive_in_a_data_stream_of_our_template_and_the_check_tells_what_is_there() {
    let Some(node) = Node::start("hits") else {
        return;
    };
    let template: Value = serde_json::from_str(TEMPLATE).unwrap();
    let made = node.ask("PUT", "_index_template/trapline", Some(&template));
    assert_eq!(made["acknowledged"], true, "{made}");
    let trap = Trap::start(&configuration(&node, ""));
    let said = |trap: &Trap| json(&trap.trapline(&["check", "--connect", "--json"]))["sinks"][0]["said"].to_string();
    let before = said(&trap);
    assert!(
        before.contains("OpenSearch 2.19.1") && before.contains("does not exist yet"),
        "{before}"
    );
    visit(trap.address("ftp"), 30);
    let documents = all_arrive(&node, STREAM, &trap);
    assert!(documents.len() >= 90, "{}", documents.len());
    assert!(
        documents
            .iter()
            .all(|document| document["_index"].as_str().unwrap().starts_with(".ds-"))
    );
    assert!(said(&trap).contains("is 1 data stream"));
    let by_net = json!({"query": {"bool": {"filter": [
        {"term": {"source.ip": "127.0.0.0/8"}}, {"term": {"event.action": "decoy-credential"}}]}}});
    let found = node.ask("GET", &format!("{STREAM}/_count"), Some(&by_net));
    assert_eq!(found["count"], 30, "addresses and actions can be asked for: {found}");
    let sent = trap.trapline(&["send-test", "search"]);
    assert!(sent.status.success(), "{}", text(&sent.stderr));
    assert!(sink(&trap)["notes"].to_string().contains("tls is off"));
}

#[test]
fn kill_9_of_the_program_and_of_the_node_in_mid_flow_leaves_each_event_once() {
    let Some(mut node) = Node::start("kills") else {
        return;
    };
    let template: Value = serde_json::from_str(TEMPLATE).unwrap();
    node.ask("PUT", "_index_template/trapline", Some(&template));
    let mut trap = Trap::start(&configuration(&node, ""));
    for _ in 0..3 {
        with_visitors(trap.address("ftp"), || delivered(&trap, 10));
        // What was answered a moment ago may not be in the cursor yet, so it is sent again.
        trap.signal("KILL");
        trap.ended();
        trap.launch();
    }
    with_visitors(trap.address("ftp"), || {
        delivered(&trap, 10);
        node.kill();
        eventually("the sink is in trouble", || sink(&trap)["error"].as_str().map(drop));
        node.launch();
        delivered(&trap, 10);
    });
    let documents = all_arrive(&node, STREAM, &trap);
    assert!(documents.len() >= 50, "{}", documents.len());
    assert_eq!(sink(&trap)["dead_letters"], 0);
}

#[test]
fn events_that_do_not_fit_the_mapping_are_dead_letters_and_the_others_arrive() {
    let Some(node) = Node::start("mapping") else {
        return;
    };
    let wrong = json!({"mappings": {"properties": {"user": {"properties": {"name": {"type": "integer"}}}}}});
    node.ask("PUT", "hp-lyon", Some(&wrong));
    let trap = Trap::start(&configuration(&node, "index = \"hp-{site}\"\nbatch.linger = \"1s\""));
    visit(trap.address("ftp"), 10);
    let is_named = |event: &&Value| event["user"]["name"].is_string();
    let (named, others) = eventually("all are judged", || {
        let sink = sink(&trap);
        let events = journal(&trap);
        let (named, others): (Vec<_>, Vec<_>) = events.iter().partition(is_named);
        let judged = sink["lag"] == 0 && sink["dead_letters"].as_u64() == Some(named.len() as u64);
        judged.then(|| (ids(named).0, ids(others).0))
    });
    assert!(
        named.len() >= 10 && others.len() >= 10,
        "{} and {}",
        named.len(),
        others.len()
    );
    let (stored, doubles) = ids(&node.documents("hp-lyon"));
    assert_eq!((stored, doubles), (others, 0));
    let letters = text(&trap.trapline(&["dead-letters", "list", "--json"]).stdout);
    assert!(
        letters.contains("mapper_parsing_exception") && letters.contains("user.name"),
        "{letters}"
    );
}

#[test]
fn a_block_for_want_of_disk_and_a_wrong_setting_alarm_and_nothing_is_lost() {
    let Some(node) = Node::start("block") else {
        return;
    };
    node.ask("PUT", "hp", Some(&json!({})));
    let block = |on: Value| {
        let settings = json!({"index.blocks.read_only_allow_delete": on});
        let done = node.ask("PUT", "hp/_settings", Some(&settings));
        assert_eq!(done["acknowledged"], true, "{done}");
    };
    block(json!(true));
    let trap = Trap::start(&configuration(&node, "index = \"hp\""));
    visit(trap.address("ftp"), 5);
    let blocked = trouble(&trap, "watermark");
    assert_eq!(
        (&blocked["delivered"], &blocked["dead_letters"]),
        (&json!(0), &json!(0)),
        "{blocked:#}"
    );
    block(Value::Null);
    assert!(trap.trapline(&["reload"]).status.success());
    all_arrive(&node, "hp", &trap);

    let strict = json!({"mappings": {"dynamic": "strict", "properties": {"@timestamp": {"type": "date"}}}});
    node.ask("PUT", "strict", Some(&strict));
    for (lines, words) in [
        ("index = \"strict\"", "no event is at fault"),
        ("pipeline = \"nope\"\nindex = \"hp\"", "pipeline"),
        ("index = \"missing\"", "make it"),
    ] {
        node.ask(
            "PUT",
            "_cluster/settings",
            Some(&json!({"persistent": {"action.auto_create_index": "false"}})),
        );
        trap.configure(&configuration(&node, lines));
        assert!(trap.trapline(&["reload"]).status.success());
        visit(trap.address("ftp"), 1);
        assert_eq!(trouble(&trap, words)["dead_letters"], 0);
    }
}
