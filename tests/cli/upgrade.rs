//! A journal of an older trapline goes on; one of a newer is refused, and a person is told the way back.

use super::*;

/// The sinks that the golden journal has cursors of, and nothing to come in.
const GOLDEN: &str = r#"
[journal]
path = "state/journal.db"
retain_days = 0

[decoys.door]
service = "ssh"
listen = ["127.0.0.1:0"]

[sinks.archive]
type = "file"
inputs = ["*"]
path = "archive.jsonl"

[sinks.refuser]
type = "splunk_hec"
inputs = ["decoys"]
endpoint = "http://127.0.0.1:9"
token = "x${HOME}"
enabled = false
"#;

/// A trap on the golden journal of version 1: six decoys touched twice each, dead letters, windows, a clean end.
fn on_golden() -> Trap {
    let trap = Trap::idle(GOLDEN);
    std::fs::create_dir(trap.path("state")).unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/journal-v1.db");
    std::fs::copy(golden, trap.path("state/journal.db")).unwrap();
    trap
}

#[test]
fn a_journal_of_the_first_version_is_shown_whole_and_goes_on_where_it_was() {
    let mut trap = on_golden();
    let listed = include_str!("../golden/journal-v1.txt");
    let shown = |trap: &Trap| -> Vec<String> {
        let line = |event: &serde_json::Value| {
            let [id, action] = ["id", "action"].map(|key| event[key].as_str().unwrap().to_owned());
            format!("{} {id} {action}", event["honeyport.journal.sequence"])
        };
        trap.events(&["--limit", "0"]).iter().map(line).collect()
    };
    let of_file = shown(&trap);
    trap.launch();
    let of_instance = shown(&trap);
    for shown in [of_file, of_instance] {
        let old: Vec<_> = shown.iter().take(listed.lines().count()).collect();
        assert_eq!(old, listed.lines().collect::<Vec<_>>());
    }
    for format in ["ecs", "ocsf", "cef", "leef", "text"] {
        let output = trap.trapline(&["events", "--limit", "0", "--format", format]);
        assert!(output.status.success(), "{format}: {}", text(&output.stderr));
        assert!(
            text(&output.stdout).lines().count() >= listed.lines().count(),
            "{format}"
        );
    }
    let letters = trap.trapline(&["dead-letters", "list", "--json"]);
    assert_eq!(lines(&letters.stdout).len(), 8, "{}", text(&letters.stdout));
    touch(trap.address("door"));
    let news = eventually("the new touch is delivered", || {
        let news = lines(&std::fs::read(trap.path("state/archive.jsonl")).unwrap_or_default());
        let touched = |event: &serde_json::Value| event["event"]["action"] == "decoy-connect";
        news.iter().any(touched).then_some(news)
    });
    for event in news {
        let id = event["event"]["id"].as_str().unwrap();
        assert!(!listed.contains(id), "the sink had {id}");
    }
    let verified = trap.trapline(&["journal", "verify"]);
    assert_eq!(verified.status.code(), DONE, "{}", text(&verified.stderr));
}

#[test]
fn a_newer_journal_is_refused_with_both_versions_and_the_way_back_works() {
    let mut trap = on_golden();
    let (journal, backup) = (trap.path("state/journal.db"), trap.path("state/journal.backup-v1"));
    std::fs::copy(&journal, &backup).unwrap();
    trap.launch();
    touch(trap.address("door"));
    eventually("the touch is an event", || {
        trap.events(&["--action", "decoy-connect"]).pop()
    });
    trap.signal("TERM");
    assert_eq!(trap.ended().code(), DONE);
    let verified = trap.trapline(&["journal", "verify", "--json"]);
    let head = json(&verified)["next"].as_u64().unwrap();
    let file = rusqlite::Connection::open(&journal).unwrap();
    file.execute_batch("PRAGMA user_version = 2; UPDATE anchor SET schema = 2")
        .unwrap();
    file.close().unwrap();
    let before = std::fs::read(&journal).unwrap();
    for arguments in [&["run"][..], &["events"], &["journal", "verify"]] {
        let refused = trap.trapline(arguments);
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), FAILED, "{arguments:?}: {said}");
        for part in ["schema version 2", "this one knows 1", backup.to_str().unwrap()] {
            assert!(said.contains(part), "{arguments:?}: {part}: {said}");
        }
    }
    assert!(std::fs::read(&journal).unwrap() == before, "it was left as it is");

    std::fs::rename(&journal, trap.path("aside")).unwrap();
    std::fs::copy(&backup, &journal).unwrap();
    trap.launch();
    let gap = eventually("what was recorded since is told", || {
        trap.events(&["--action", "journal-gap"]).pop()
    });
    let told = ["finding.hits", "gap.first", "gap.last"].map(|field| gap[format!("honeyport.{field}")].as_u64());
    assert_eq!(told, [head - 87, 87, head - 1].map(Some), "{gap:#}");
    let listed = include_str!("../golden/journal-v1.txt").lines().count();
    assert!(trap.events(&["--limit", "0"]).len() > listed);
}
