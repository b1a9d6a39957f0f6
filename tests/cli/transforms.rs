//! Windows of the real binary, killed in their midst.

use std::collections::HashSet;

use serde_json::Value;

use super::*;

/// Contacts before and after the kill.
const TOUCHES: usize = 20;

/// One decoy, and each kind of window behind the same filter.
const WINDOWED: &str = r#"
[journal]
path = "state/journal.db"

[decoys.door]
service = "ssh"
listen = ["127.0.0.1:0"]

[transforms.contacts]
type = "filter"
inputs = ["decoys"]
when = 'event.action == "decoy-connect"'

[transforms.few]
type = "throttle"
inputs = ["contacts"]
by = ["source.ip"]
limit = 3
window = "15s"

[transforms.once]
type = "dedupe"
inputs = ["contacts"]
by = ["source.ip", "honeyport.decoy.id"]
window = "15s"

[transforms.digest]
type = "aggregate"
inputs = ["contacts"]
by = ["source.ip"]
window = "15s"
first = "never"

[transforms.first]
type = "aggregate"
inputs = ["contacts"]
window = "15s"

[sinks.all]
type = "file"
inputs = ["contacts"]
path = "all.jsonl"

[sinks.few_file]
type = "file"
inputs = ["few"]
path = "few.jsonl"

[sinks.once_file]
type = "file"
inputs = ["once"]
path = "once.jsonl"

[sinks.digest_file]
type = "file"
inputs = ["digest"]
path = "digest.jsonl"

[sinks.first_file]
type = "file"
inputs = ["first"]
path = "first.jsonl"
"#;

/// The whole lines of a sink's file, each event once: a kill may repeat a batch.
fn sent(trap: &Trap, name: &str) -> Vec<Value> {
    let file = std::fs::read_to_string(trap.path("state").join(format!("{name}.jsonl"))).unwrap_or_default();
    let whole = file.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let mut seen = HashSet::new();
    let events = whole
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    events
        .filter(|event| seen.insert(event["event"]["id"].to_string()))
        .collect()
}

/// What a sink has of the contacts: as themselves, and counted by derived events.
fn accounted(trap: &Trap, name: &str) -> u64 {
    let hits = |event: &Value| match event["event"]["action"].as_str() {
        Some("decoy-connect") => 1,
        _ => event["honeyport"]["finding"]["hits"].as_u64().unwrap(),
    };
    sent(trap, name).iter().map(hits).sum()
}

#[test]
fn killed_in_the_midst_of_windows_every_contact_counts_exactly_once() {
    let mut trap = Trap::start(WINDOWED);
    let knock = |trap: &Trap, wanted: usize| {
        let address = trap.address("door");
        (0..TOUCHES).for_each(|_| drop(touch(address)));
        eventually("the contacts are delivered", || {
            (sent(trap, "all").len() >= wanted).then_some(())
        });
    };
    knock(&trap, TOUCHES);
    trap.signal("KILL");
    trap.ended();
    trap.launch();
    knock(&trap, 2 * TOUCHES);
    let contacts = 2 * TOUCHES as u64;
    for name in ["few", "once", "digest", "first"] {
        eventually("the windows are over", || {
            (accounted(&trap, name) >= contacts).then_some(())
        });
    }
    // Nothing more comes: each window has told all it had.
    trap.signal("TERM");
    trap.ended();
    for name in ["few", "once", "digest", "first"] {
        assert_eq!(accounted(&trap, name), contacts, "{name}: {:#?}", sent(&trap, name));
    }
    assert!(
        sent(&trap, "digest")
            .iter()
            .all(|event| event["event"]["action"] == "digest")
    );
    let message = sent(&trap, "digest")[0]["message"].to_string();
    assert!(message.contains("127.0.0.1 touched decoy 'door'"), "{message}");
}
