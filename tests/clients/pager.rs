//! An incident from its first touch to its end, as PagerDuty is told it, over kills: the real binary with its clock moved.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::harness::{Trap, eventually, told};
use crate::notices::{login, request};

const KEY: &str = "0123456789abcdef0123456789abcdef";

const CONFIG: &str = r#"
[journal]
path = "state/journal.db"
[decoys.lure]
service = "http"
listen = ["127.0.0.1:0"]
[incidents]
close_after = "1m"
[notices]
window = "1s"
[sinks.pager]
type = "pagerduty"
inputs = ["decoys"]
routing_key = "${PAGERDUTY_ROUTING_KEY}"
endpoint = "http://ADDRESS"
retry.max = "1s"
[sinks.archive]
type = "file"
inputs = ["*", "health"]
path = "events.jsonl"
"#;

#[test]
fn an_incident_is_one_alert_that_is_resolved_once_when_it_closes_over_kills() {
    let library = format!(
        "/usr/lib/{}-linux-gnu/faketime/libfaketimeMT.so.1",
        std::env::consts::ARCH
    );
    if !Path::new(&library).exists() {
        return println!("SKIPPED: no libfaketime; the end of an incident was not waited for");
    }
    let service = Service::open();
    let mut trap = Trap::idle(&CONFIG.replace("ADDRESS", &service.address.to_string()));
    let shift = trap.path("shift");
    later(&shift, "+0");
    trap.set(&[
        ("PAGERDUTY_ROUTING_KEY", KEY),
        ("LD_PRELOAD", &library),
        ("FAKETIME_TIMESTAMP_FILE", shift.to_str().unwrap()),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("NO_FAKE_STAT", "1"),
    ]);
    for round in 0..3 {
        trap.launch();
        let before = service.sent("trigger").len();
        login(trap.address("lure"));
        eventually("it is told", || {
            (service.sent("trigger").len() > before || round > 0).then_some(())
        });
        // A kill before that would cost hits that nobody was told of yet, and rightly so.
        eventually("its hits are durable", || {
            (told::hits(&trap).len() >= 3 * (round + 1)).then_some(())
        });
        trap.signal("KILL");
        trap.ended();
    }
    assert!(service.sent("resolve").is_empty());
    // Nobody touches anything any more, and the trap was away meanwhile.
    later(&shift, "+10m");
    trap.launch();
    let resolved = eventually("it is resolved", || service.sent("resolve").into_iter().next());
    let closed = trap.events(&["--action", "incident-closed", "--format", "ecs"]);
    let hits = told::hits(&trap).len();
    assert!(hits >= 9, "{hits}");
    let counted: u64 = closed
        .iter()
        .map(|event| event["honeyport"]["finding"]["hits"].as_u64().unwrap())
        .sum();
    assert_eq!(usize::try_from(counted).unwrap(), hits);
    eventually("every hit is told of", || {
        let told = told::in_all(service.sent("trigger").iter().map(told::of_pager));
        assert!(told <= hits, "{told} of {hits} hits are told of");
        (told == hits).then_some(())
    });
    let triggers = service.sent("trigger");
    assert!(
        triggers
            .iter()
            .all(|told| told["routing_key"] == KEY && told["payload"]["source"] == "127.0.0.1")
    );
    let keys = |events: &[Value]| -> Vec<String> {
        let mut keys: Vec<_> = events
            .iter()
            .map(|told| told["dedup_key"].as_str().unwrap().to_owned())
            .collect();
        keys.sort();
        keys.dedup();
        keys
    };
    assert!(keys(&triggers).contains(&resolved["dedup_key"].as_str().unwrap().to_owned()));
    eventually("each alert is resolved", || {
        (keys(&service.sent("resolve")) == keys(&triggers)).then_some(())
    });
    let ends = service.sent("resolve").len();
    assert_eq!(ends, closed.len());
    trap.signal("TERM");
    trap.ended();
    // Whoever comes again opens it anew: what would be told twice had been told before that.
    trap.launch();
    login(trap.address("lure"));
    eventually("it is told anew", || {
        (service.sent("trigger").len() > triggers.len()).then_some(())
    });
    assert_eq!(service.sent("resolve").len(), ends, "once");
    trap.signal("TERM");
    trap.ended();
    let lines = std::fs::read_to_string(trap.path("state/events.jsonl")).unwrap();
    assert!(
        lines.contains("decoy-credential") && !lines.contains("incident-closed"),
        "nobody else is told"
    );
    for told in service.sent("trigger") {
        assert!(!told.to_string().contains("hunter22"), "{told}");
    }
    assert!(!trap.log().contains(KEY));
}

/// The wall clock from now on.
fn later(shift: &PathBuf, by: &str) {
    // In one piece: the library may read at any time.
    std::fs::write(shift.with_extension("new"), by).unwrap();
    std::fs::rename(shift.with_extension("new"), shift).unwrap();
}

/// As much of PagerDuty as takes events.
struct Service {
    address: SocketAddr,
    taken: Arc<Mutex<Vec<Value>>>,
}

impl Service {
    fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, taken) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<Value>>>::default());
        let into = Arc::clone(&taken);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let into = Arc::clone(&into);
                std::thread::spawn(move || serve(stream.unwrap(), &into));
            }
        });
        Self { address, taken }
    }

    /// The events of an action, in order.
    fn sent(&self, action: &str) -> Vec<Value> {
        let taken = self.taken.lock().unwrap();
        taken
            .iter()
            .filter(|event| event["event_action"] == action)
            .cloned()
            .collect()
    }
}

/// Takes events of one connection, until it ends.
fn serve(mut stream: TcpStream, into: &Mutex<Vec<Value>>) {
    while let Some(body) = request(&mut stream) {
        into.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
        let reply = r#"{"status":"success","message":"Event processed"}"#;
        let head = format!("HTTP/1.1 202 Accepted\r\nContent-Length: {}\r\n\r\n", reply.len());
        if stream.write_all(format!("{head}{reply}").as_bytes()).is_err() {
            return;
        }
    }
}
