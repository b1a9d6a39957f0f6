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

/// A decoy whose events are looked up in a table beside the configuration.
const ENRICHED: &str = r#"
[journal]
path = "state/journal.db"

[decoys.door]
service = "ssh"
listen = ["127.0.0.1:0"]

[transforms.known]
type = "enrich"
inputs = ["decoys"]
table = "inventory.csv"

[sinks.known_file]
type = "file"
inputs = ["known"]
path = "known.jsonl"
"#;

/// The owners that the sink's events name, in order of their coming.
fn owners(trap: &Trap) -> Vec<String> {
    let contacts = sent(trap, "known");
    let owner = |event: &Value| event["honeyport"]["source"]["owner"].as_str().map(str::to_owned);
    contacts.iter().filter_map(owner).collect()
}

#[test]
fn an_inventory_that_changes_is_read_again_and_a_bad_one_leaves_the_tables_as_they_were() {
    let mut trap = Trap::idle(ENRICHED);
    let write = |text: &str| std::fs::write(trap.path("inventory.csv"), text).unwrap();
    write("address,owner\n127.0.0.0/8,first team\n");
    trap.launch();
    let knock = |wanted: &str| {
        eventually("the table in force is the one wanted", || {
            touch(trap.address("door"));
            owners(&trap).last().filter(|owner| *owner == wanted).map(drop)
        });
    };
    let write = |text: &str| std::fs::write(trap.path("inventory.csv"), text).unwrap();
    knock("first team");
    write("address,owner\n127.0.0.1,first team\nelsewhere,nobody\n");
    let check = trap.trapline(&["check"]);
    let said = text(&check.stdout) + &text(&check.stderr);
    assert_eq!(check.status.code(), DONE, "{said}");
    assert!(
        said.contains("1 lines of") && said.contains("the first is line 3"),
        "{said}"
    );
    write("address,owner\n127.0.0.1,second and better team\n");
    knock("second and better team");
    write("nothing\nof use\n");
    eventually("it is told", || {
        trap.log().contains("the tables stay as they were").then_some(())
    });
    assert_eq!(trap.trapline(&["check"]).status.code(), CONFIG);
    let before = owners(&trap).len();
    touch(trap.address("door"));
    eventually("it is delivered", || (owners(&trap).len() > before).then_some(()));
    assert_eq!(owners(&trap).last().unwrap(), "second and better team");
}

#[test]
fn check_and_run_say_which_table_is_missing_or_wrong() {
    let trap = Trap::idle(&ENRICHED.replace("table =", "geoip ="));
    for (content, words) in [
        (None, "No such file"),
        (Some("no database"), "it is no MaxMind database"),
    ] {
        if let Some(content) = content {
            std::fs::write(trap.path("inventory.csv"), content).unwrap();
        }
        for command in ["check", "run"] {
            let output = trap.trapline(&[command]);
            assert_eq!(output.status.code(), CONFIG, "{command}");
            let said = text(&output.stdout) + &text(&output.stderr);
            assert!(
                said.contains("transforms.known.geoip: ") && said.contains(words),
                "{said}"
            );
        }
    }
}

/// Three decoys, and a sink that takes findings alone.
const WATCHED: &str = r#"
[journal]
path = "state/journal.db"

[findings]
scan_close_after = "15s"

[decoys.ssh]
service = "ssh"
listen = ["127.0.0.1:0"]

[decoys.ftp]
service = "ftp"
listen = ["127.0.0.1:0"]

[decoys.telnet]
service = "telnet"
listen = ["127.0.0.1:0"]

[sinks.found]
type = "file"
inputs = ["findings"]
path = "found.jsonl"
"#;

#[test]
fn a_scan_is_found_at_once_and_closed_once_it_is_quiet_whatever_is_killed_meanwhile() {
    let mut trap = Trap::start(WATCHED);
    let scans = |trap: &Trap| -> Vec<Value> {
        let all = sent(trap, "found").into_iter();
        all.filter(|event| event["event"]["action"] == "decoy-scan").collect()
    };
    for decoy in ["ssh", "ftp", "telnet"] {
        touch(trap.address(decoy));
    }
    eventually("the scan is told of", || (scans(&trap).len() == 1).then_some(()));
    trap.signal("KILL");
    trap.ended();
    trap.launch();
    touch(trap.address("ssh"));
    let all = eventually("the scan is over", || {
        let all = scans(&trap);
        (all.last()?["honeyport"]["finding"]["status"] == "closed").then_some(all)
    });
    let of = |event: &Value, part: &str| event["honeyport"]["finding"][part].clone();
    assert_eq!(
        (&of(&all[0], "status"), &of(&all[0], "hits")),
        (&"new".into(), &3.into())
    );
    let last = all.last().unwrap();
    assert_eq!(of(last, "hits"), 4, "before and after the kill");
    assert!(all.iter().all(|event| of(event, "id") == of(&all[0], "id")));
    assert_eq!(last["honeyport"]["scan"]["decoy_count"], 3);
}
