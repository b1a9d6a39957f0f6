//! `learn`: what comes again and again is proposed, in a form that the configuration takes.

use super::*;

#[test]
fn a_habit_is_proposed_as_a_table_that_check_accepts_and_the_mark_follows() {
    let mut trap = Trap::start(PLAIN);
    let address = trap.address("door");
    for _ in 0..4 {
        TcpStream::connect(address).unwrap();
    }
    eventually("the visits are recorded", || {
        let visits = trap.events(&["--action", "decoy-connect"]);
        (visits.len() >= 4).then_some(())
    });
    let learn = ["learn", "--since", "1h", "--visits", "4", "--days", "1"];
    let proposed = text(&trap.trapline(&learn).stdout);
    assert!(proposed.contains("[ignore.learned_127_0_0_1]"), "{proposed}");
    assert!(proposed.contains("decoys = [\"door\"]"), "{proposed}");
    let config = std::fs::read_to_string(trap.config()).unwrap();
    trap.configure(&format!("{config}\n{proposed}"));
    let checked = trap.trapline(&["check"]);
    assert_eq!(checked.status.code(), DONE, "{}", text(&checked.stderr));
    let reloaded = trap.trapline(&["reload"]);
    assert_eq!(reloaded.status.code(), DONE, "{}", text(&reloaded.stderr));
    TcpStream::connect(address).unwrap();
    let marked = eventually("the next visit is marked", || {
        let visits = trap.events(&["--action", "decoy-connect"]);
        visits
            .into_iter()
            .find(|visit| visit["honeyport.benign.name"].is_string())
    });
    assert_eq!(marked["honeyport.benign.name"], "ignore.learned_127_0_0_1");
    assert_eq!(marked["event.risk_score"], 0.0);
    trap.signal("TERM");
    trap.ended();
    let offline = json(&trap.trapline(&["--json", "learn", "--visits", "2", "--days", "1"]));
    assert_eq!(offline["proposals"][0]["source"], "127.0.0.1", "{offline}");
}

#[test]
fn a_list_that_is_over_is_warned_of() {
    let trap = Trap::idle(&format!(
        "{PLAIN}[ignore.x]\nsources = [\"10.0.0.1\"]\ndecoys = [\"door\"]\nreason = \"y\"\nuntil = \"2024-01-31\"\n"
    ));
    let checked = trap.trapline(&["check"]);
    assert_eq!(checked.status.code(), DONE);
    assert!(
        text(&checked.stderr).contains("ignore.x.until is over"),
        "{}",
        text(&checked.stderr)
    );
}

#[test]
fn mistakes_in_recognisers_and_ignore_lists_are_told_with_their_place() {
    let trap = Trap::idle(&format!(
        "{PLAIN}[benign.monitorin]\n[ignore.x]\nsources = [\"10.0.0.0/33\"]\ndecoys = [\"dor\"]\nreason = \"y\"\nuntil = \"soon\"\n"
    ));
    std::fs::create_dir(trap.path("benign")).unwrap();
    std::fs::write(trap.path("benign/mine.toml"), "title = 7\n").unwrap();
    let output = trap.trapline(&["check"]);
    assert_eq!(output.status.code(), CONFIG);
    let told = text(&output.stderr);
    for words in [
        "unknown recogniser `monitorin`",
        "did you mean `monitoring`",
        "10.0.0.0/33",
        "there is no decoy `dor`",
        "did you mean `door`",
        "`soon` is no time",
        "mine.toml:1:9",
    ] {
        assert!(told.contains(words), "`{words}` is missing in {told}");
    }
}
