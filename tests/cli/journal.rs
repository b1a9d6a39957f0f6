//! The journal and its folder: what was lost, cut, damaged or removed is told, and by whom.

use super::*;

/// What the journal knows of today's sources becomes yesterday's, as if the night had passed meanwhile.
fn let_a_night_pass(journal: &Path) {
    let file = rusqlite::Connection::open(journal).unwrap();
    let name = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
    let select = "SELECT key FROM state WHERE key LIKE 'incidents/%'";
    let key = file.query_row(select, [], name).unwrap();
    let parts: Vec<_> = key.split('/').collect();
    let [prefix, print, day, row] = parts[..] else {
        panic!("`{key}` is laid out otherwise");
    };
    let before = format!("{prefix}/{print}/{}/{row}", day.parse::<i64>().unwrap() - 1);
    file.execute("UPDATE state SET key = ?1 WHERE key = ?2", (before, key))
        .unwrap();
}

#[test]
fn killed_in_the_night_it_still_names_the_incident_of_yesterday() {
    let previous = |hit: &serde_json::Value| hit.get("honeyport.incident.previous_id").is_some();
    let mut trap = Trap::start(PLAIN);
    touch(trap.address("door"));
    let first = eventually("the hit is an event", || {
        trap.events(&["--action", "decoy-connect"]).pop()
    });
    assert!(!previous(&first), "{first:#}");
    trap.signal("KILL");
    trap.ended();
    let_a_night_pass(&trap.path("state/journal.db"));
    trap.launch();
    touch(trap.address("door"));
    let connects = eventually("the second touch is an event", || {
        Some(trap.events(&["--action", "decoy-connect"])).filter(|connects| connects.len() == 2)
    });
    assert_eq!(connects.iter().filter(|hit| previous(hit)).count(), 1, "{connects:#?}");
}

#[test]
fn a_journal_is_read_whatever_else_is_wrong_and_whatever_secret_is_missing() {
    let mut trap = Trap::start(PLAIN);
    touch(trap.address("door"));
    eventually("the hit is an event", || {
        trap.events(&["--action", "decoy-connect"]).pop()
    });
    trap.signal("TERM");
    assert_eq!(trap.ended().code(), DONE);
    trap.configure(&format!(
        "{PLAIN}\n[sinks.far]\ntype = \"splunk_hec\"\ninputs = [\"*\"]\nendpoint = \"https://h:1\"\ntoken = \"${{NO_SUCH}}\"\n"
    ));
    assert_eq!(trap.trapline(&["check"]).status.code(), CONFIG);
    assert_eq!(trap.events(&["--action", "decoy-connect"]).len(), 1);
    assert_eq!(trap.trapline(&["journal", "verify"]).status.code(), DONE);
    trap.configure(&PLAIN.replace("path = \"state/journal.db\"", "path = 7"));
    assert_eq!(trap.trapline(&["journal", "verify"]).status.code(), CONFIG);
}

#[test]
fn the_journal_is_verified_by_the_instance_and_from_the_file() {
    let mut trap = Trap::start(PLAIN);
    let live = trap.trapline(&["journal", "verify", "--json"]);
    assert_eq!(live.status.code(), DONE, "{}", text(&live.stderr));
    assert!(json(&live)["entries"].as_u64().unwrap() >= 1);
    trap.signal("TERM");
    assert_eq!(trap.ended().code(), DONE);
    let closed = trap.trapline(&["journal", "verify", "--json"]);
    assert_eq!(closed.status.code(), DONE, "{}", text(&closed.stderr));
    assert!(json(&closed)["entries"].as_u64() > json(&live)["entries"].as_u64());
}

/// The state folder is deleted while trapline runs: everything comes back, and the key is the one in memory.
#[test]
fn a_state_folder_that_is_removed_comes_back_with_socket_index_and_the_same_site_key() {
    let mut trap = Trap::start(PLAIN);
    let door = trap.address("door");
    touch(door);
    let key = std::fs::read(trap.path("state/site.key")).unwrap();
    // Its owner may put a file into it while it is emptied.
    eventually("the folder is gone", || {
        std::fs::remove_dir_all(trap.path("state")).ok()
    });
    let status = eventually("the instance can be asked again", || {
        let output = trap.trapline(&["status", "--json"]);
        (!output.stdout.is_empty()).then(|| json(&output))
    });
    let restored = || std::fs::read(trap.path("state/site.key")).ok();
    assert_eq!(eventually("the key is back", restored), key);
    eventually("the index is back", || exists(&trap.path("state/index.db")));
    let told = |part: &str, word: &str| {
        let status = trap.status();
        let faults = status["faults"].as_array().unwrap().clone();
        let said = |fault: &serde_json::Value| fault["part"] == part && fault["what"].as_str().unwrap().contains(word);
        faults.iter().any(said).then_some(())
    };
    eventually("status tells of the key", || told("site key", "written again"));
    eventually("status tells of the socket", || told("control socket", "made anew"));
    eventually("status tells of the journal", || told("journal", "was gone"));
    assert_ne!(status["health"], "ok");
    assert!(trap.trapline(&["reload"]).status.success());
    touch(door);
    eventually("events tell of it", || {
        let alarms = trap.events(&["--limit", "0", "--action", "host-alarm"]);
        (alarms.len() >= 2).then_some(())
    });
    trap.signal("KILL");
    trap.ended();
    trap.launch();
    assert_eq!(std::fs::read(trap.path("state/site.key")).unwrap(), key);
    assert!(about(&trap, "site key").is_none(), "{:#}", trap.status());
}

/// The fault about `part`, if there is one.
fn about(trap: &Trap, part: &str) -> Option<String> {
    let status = trap.status();
    let fault = status["faults"]
        .as_array()?
        .iter()
        .find(|fault| fault["part"] == part)?;
    Some(fault["what"].as_str()?.to_owned())
}

#[test]
fn a_site_key_that_was_made_beside_an_older_journal_is_told() {
    let mut trap = Trap::start(PLAIN);
    assert_eq!(about(&trap, "site key"), None, "a first start makes both");
    trap.signal("TERM");
    trap.ended();
    std::fs::remove_file(trap.path("state/site.key")).unwrap();
    trap.launch();
    let told = about(&trap, "site key").unwrap();
    assert!(told.contains("HMACs and incident ids do not match"), "{told}");
    assert!(trap.log().contains("a new one was made"), "{}", trap.log());
    trap.signal("TERM");
    trap.ended();
    trap.launch();
    assert_eq!(about(&trap, "site key"), None, "told once");
}

/// Forty contacts in the journal of an instance that has ended in order.
fn record_and_end(trap: &mut Trap) {
    let door = trap.address("door");
    (0..40).for_each(|_| drop(touch(door)));
    eventually("all is written", || {
        (trap.status()["journal"]["head"].as_u64()? > 40).then_some(())
    });
    trap.signal("TERM");
    trap.ended();
}

#[test]
fn after_a_salvage_status_is_degraded_counts_what_is_left_and_says_it_in_words() {
    let mut trap = Trap::start(PLAIN);
    record_and_end(&mut trap);
    let path = trap.path("state/journal.db");
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(path.metadata().unwrap().len() / 2).unwrap();
    trap.launch();
    assert_eq!(trap.status()["journal"]["health"], "degraded");
    let what = about(&trap, "journal").unwrap();
    assert!(what.starts_with("the journal was damaged"), "{what}");
    let held = trap.events(&["--limit", "0"]).len() as u64;
    let counted = trap.status()["journal"]["entries"].as_u64().unwrap();
    assert!(counted.abs_diff(held) <= 2, "{counted} are counted, {held} are there");
    let log = trap.log();
    assert!(!log.contains("Salvaged") && log.contains("carried over"), "{log}");
}

/// What stands in the state folder of the journal's own, byte by byte.
fn journal_files(trap: &Trap) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for file in std::fs::read_dir(trap.path("state")).unwrap() {
        let file = file.unwrap();
        let name = file.file_name().into_string().unwrap();
        // The lock is taken to read, and the log's index is made anew by whoever opens the file.
        if name.starts_with("journal.") && !name.ends_with(".lock") && !name.ends_with("-shm") {
            files.push((name, std::fs::read(file.path()).unwrap()));
        }
    }
    files.sort();
    files
}

#[test]
fn a_damaged_journal_is_told_by_whoever_reads_it_and_salvaged_by_its_owner_alone() {
    let mut trap = Trap::start(PLAIN);
    record_and_end(&mut trap);
    let path = trap.path("state/journal.db");
    let good = std::fs::read(&path).unwrap();
    let mut inverted = good.clone();
    let page = good.len() / 8192 / 2 * 8192;
    inverted[page..page + 4096].iter_mut().for_each(|byte| *byte = !*byte);
    for bad in [&b""[..], &good[..good.len() / 2], &inverted] {
        std::fs::write(&path, bad).unwrap();
        let before = journal_files(&trap);
        for _ in 0..2 {
            let verified = trap.trapline(&["journal", "verify", "--json"]);
            assert_eq!(verified.status.code(), FAILED, "{}", text(&verified.stdout));
            let fault = json(&verified)["fault"].to_string();
            assert!(fault.contains("is damaged"), "{fault}");
            let verified = trap.trapline(&["journal", "verify"]);
            assert_eq!(verified.status.code(), FAILED);
            assert!(!text(&verified.stdout).contains("sound"), "{}", text(&verified.stdout));
            let events = trap.trapline(&["events"]);
            assert_eq!(events.status.code(), FAILED);
            assert!(
                text(&events.stderr).contains("trapline run"),
                "{}",
                text(&events.stderr)
            );
        }
        assert!(journal_files(&trap) == before, "nobody but the owner changes the files");
    }
    trap.launch();
    let what = about(&trap, "journal").unwrap();
    assert!(what.starts_with("the journal was damaged"), "{what}");
    trap.signal("TERM");
    trap.ended();
    assert_eq!(trap.trapline(&["journal", "verify"]).status.code(), DONE);
}

#[test]
fn the_journal_that_a_kill_left_is_read_as_it_is_and_its_next_owner_tells_the_kill() {
    let mut trap = Trap::start(PLAIN);
    let door = trap.address("door");
    (0..5).for_each(|_| drop(touch(door)));
    eventually("all is written", || {
        (trap.events(&["--action", "decoy-connect"]).len() == 5).then_some(())
    });
    trap.signal("KILL");
    trap.ended();
    let before = journal_files(&trap);
    assert!(
        before
            .iter()
            .any(|(name, log)| name == "journal.db-wal" && !log.is_empty())
    );
    let verified = trap.trapline(&["journal", "verify", "--json"]);
    assert_eq!(verified.status.code(), DONE, "{}", text(&verified.stderr));
    assert!(json(&verified)["entries"].as_u64().unwrap() > 5);
    assert_eq!(trap.events(&["--action", "decoy-connect"]).len(), 5);
    assert!(journal_files(&trap) == before, "the log is left to the owner");
    trap.launch();
    assert_eq!(about(&trap, "journal"), None);
    assert!(trap.log().contains("had left without closing"), "{}", trap.log());
    trap.signal("TERM");
    trap.ended();
    let before = journal_files(&trap);
    assert_eq!(trap.events(&["--action", "decoy-connect"]).len(), 5);
    assert!(journal_files(&trap) == before, "no file is left behind");
}

/// Touches the door and gives the head once all is in the journal and in its index.
fn indexed_head(trap: &Trap) -> u64 {
    let door = trap.address("door");
    (0..10).for_each(|_| drop(touch(door)));
    eventually("all is indexed", || {
        let journal = trap.status()["journal"].clone();
        let head = journal["head"].as_u64()?;
        (trap.events(&["--action", "decoy-connect"]).len() >= 10 && journal["index_lag"] == 0).then_some(head)
    })
}

/// An instance is killed, its files are cut, and what its index had seen is told, once, in the words `said`.
fn is_told_after(cut: impl FnOnce(&Path), said: &str) {
    let mut trap = Trap::start(PLAIN);
    let head = indexed_head(&trap);
    trap.signal("KILL");
    trap.ended();
    cut(&trap.path("state"));
    let verified = trap.trapline(&["journal", "verify", "--json"]);
    assert_eq!(verified.status.code(), FAILED, "{}", text(&verified.stdout));
    assert!(!json(&verified)["fault"].is_null());
    assert_eq!(trap.trapline(&["events"]).status.code(), FAILED);
    trap.launch();
    let what = about(&trap, "journal").unwrap();
    assert!(what.contains(said), "{what}");
    let gaps = eventually("it stands in the journal", || {
        Some(trap.events(&["--action", "journal-gap"])).filter(|gaps| !gaps.is_empty())
    });
    assert_eq!(gaps.len(), 1);
    assert!(
        gaps[0]["honeyport.journal.sequence"].as_u64().unwrap() >= head,
        "no offset is given again: {gaps:?}"
    );
    assert_eq!(gaps[0]["honeyport.gap.last"], head - 1);
    assert!(trap.log().contains("entries that had been written"), "{}", trap.log());
    trap.signal("TERM");
    trap.ended();
    trap.launch();
    assert_eq!(about(&trap, "journal"), None, "told once");
    trap.signal("TERM");
    trap.ended();
    assert_eq!(trap.trapline(&["journal", "verify"]).status.code(), DONE);
}

#[test]
fn a_journal_that_is_gone_is_told_and_no_offset_is_given_again() {
    let remove = |state: &Path| {
        for name in ["journal.db", "journal.db-wal", "journal.db-shm"] {
            std::fs::remove_file(state.join(name)).unwrap();
        }
    };
    is_told_after(remove, "was gone: ");
}

#[test]
fn a_journal_whose_log_was_cut_is_told_and_no_offset_is_given_again() {
    let cut = |state: &Path| {
        let log = std::fs::OpenOptions::new()
            .write(true)
            .open(state.join("journal.db-wal"))
            .unwrap();
        log.set_len(32 + 3 * (24 + 8192)).unwrap();
    };
    is_told_after(cut, "was cut short: ");
}

/// The offsets of all events.
fn offsets(trap: &Trap) -> std::collections::BTreeSet<u64> {
    let events = trap.events(&["--limit", "0"]);
    let offset = |event: &serde_json::Value| event["honeyport.journal.sequence"].as_u64().unwrap();
    events.iter().map(offset).collect()
}

#[test]
fn what_a_torn_file_cost_is_one_exact_gap_and_a_sink_behind_counts_nothing_else() {
    let mut trap = Trap::start(PLAIN);
    let door = trap.address("door");
    (0..150).for_each(|_| drop(touch(door)));
    indexed_head(&trap);
    trap.signal("TERM");
    trap.ended();
    let before = offsets(&trap);
    let path = trap.path("state/journal.db");
    let file = rusqlite::Connection::open(&path).unwrap();
    file.execute_batch("UPDATE cursors SET offset = 2").unwrap();
    drop(file);
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(path.metadata().unwrap().len() - 50_123).unwrap();
    trap.launch();
    let gaps = eventually("it stands in the journal", || {
        Some(trap.events(&["--action", "journal-gap"])).filter(|gaps| !gaps.is_empty())
    });
    let after = offsets(&trap);
    let lost: Vec<u64> = before.difference(&after).copied().collect();
    assert!(!lost.is_empty() && gaps.len() == 1, "{lost:?}, {gaps:?}");
    let told = ["finding.hits", "gap.first", "gap.last"].map(|field| gaps[0][format!("honeyport.{field}")].as_u64());
    let count = lost.len() as u64;
    assert_eq!(told, [Some(count), lost.first().copied(), lost.last().copied()]);
    eventually("the sink counts them", || {
        let sink = trap.status()["sinks"][0].clone();
        (sink["lost"] == count && sink["lag"] == 0).then_some(())
    });
    let said = format!("{count} entries, offsets ");
    let faults = trap.status()["faults"].to_string();
    assert_eq!(faults.matches(&said).count(), 1, "{faults}");
    assert_eq!(trap.log().matches(&said).count(), 1, "{}", trap.log());
}

#[test]
fn the_newest_entries_taken_away_are_told_by_the_start_that_finds_them_gone() {
    let mut trap = Trap::start(PLAIN);
    record_and_end(&mut trap);
    let file = rusqlite::Connection::open(trap.path("state/journal.db")).unwrap();
    let newest: u32 = file
        .query_row("SELECT max(offset) FROM entries", [], |row| row.get(0))
        .unwrap();
    file.execute("DELETE FROM entries WHERE offset > ?1", [newest - 10])
        .unwrap();
    drop(file);
    let verify = |trap: &Trap| trap.trapline(&["journal", "verify"]);
    for _ in 0..2 {
        assert_eq!(verify(&trap).status.code(), FAILED, "who reads changes nothing");
    }
    trap.launch();
    let what = about(&trap, "journal").unwrap();
    assert!(what.contains("was cut short: 10 entries"), "{what}");
    let gaps = eventually("it stands in the journal", || {
        Some(trap.events(&["--action", "journal-gap"])).filter(|gaps| !gaps.is_empty())
    });
    let told = ["gap.first", "gap.last"].map(|field| gaps[0][format!("honeyport.{field}")].as_u64());
    assert_eq!(
        (told, gaps.len()),
        ([newest - 9, newest].map(|at| Some(u64::from(at))), 1)
    );
    assert!(trap.log().contains("was cut short: 10 entries"), "{}", trap.log());
    trap.signal("TERM");
    trap.ended();
    let verified = verify(&trap);
    assert_eq!(verified.status.code(), DONE);
    let anew = format!("starts anew at {}", newest + 1);
    assert!(text(&verified.stdout).contains(&anew), "{}", text(&verified.stdout));
    trap.launch();
    assert_eq!(about(&trap, "journal"), None, "told once");
}

#[test]
fn entries_that_are_gone_or_unreadable_are_counted_and_told_by_their_cause() {
    let mut trap = Trap::start(PLAIN);
    indexed_head(&trap);
    trap.signal("TERM");
    trap.ended();
    // The sink has not read them yet.
    let file = rusqlite::Connection::open(trap.path("state/journal.db")).unwrap();
    let damage = "UPDATE entries SET body = zeroblob(length(body)) WHERE offset = 3;
        DELETE FROM entries WHERE offset IN (5, 6); UPDATE cursors SET offset = 2 WHERE consumer LIKE 'sink/%'";
    file.execute_batch(damage).unwrap();
    drop(file);
    trap.launch();
    let gaps = eventually("both stand in the journal", || {
        Some(trap.events(&["--action", "journal-gap"])).filter(|gaps| gaps.len() >= 2)
    });
    let of = |reason: &str| {
        let gap = gaps
            .iter()
            .find(|gap| gap["event.reason"].as_str().unwrap().starts_with(reason));
        let gap = gap.unwrap_or_else(|| panic!("no {reason}: {gaps:?}"));
        ["honeyport.gap.first", "honeyport.gap.last"].map(|field| gap[field].as_u64().unwrap())
    };
    assert_eq!((of("unreadable"), of("gone from the file")), ([3, 3], [5, 6]));
    // The watch for scans may have been as far behind, and tells its own.
    eventually("what the sink has lost is counted and told", || {
        let status = trap.status();
        let faults = status["faults"].as_array().unwrap();
        assert!(faults.iter().all(|fault| fault["part"] == "journal"), "{status:#}");
        let of_the_sink = faults
            .iter()
            .filter(|fault| fault["what"].as_str().unwrap().contains("sink/archive"));
        (of_the_sink.count() == 2 && status["sinks"][0]["lost"] == 3).then_some(())
    });
}

#[test]
fn a_verification_draws_its_progress_for_a_person_and_is_quiet_in_a_pipe() {
    use trapline::journal::{Commit, Journal, JournalSettings};
    let trap = Trap::idle(PLAIN);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (journal, _) = Journal::open(JournalSettings::at(trap.path("state/journal.db"))).unwrap();
        let append = vec!["entry".into(); 9000];
        journal
            .commit(Commit {
                append,
                ..Commit::default()
            })
            .await
            .unwrap();
        journal.close().await;
    });
    let piped = trap.trapline(&["journal", "verify"]);
    assert_eq!((piped.status.code(), text(&piped.stderr)), (DONE, String::new()));
    let program = env!("CARGO_BIN_EXE_trapline");
    let line = format!("{program} --config {} journal verify", trap.config().display());
    let watched = Command::new("script").args(["-qec", &line, "/dev/null"]).output();
    let Ok(watched) = watched else {
        return println!("SKIPPED: no `script`; no terminal was watched");
    };
    let shown = text(&watched.stdout);
    assert!(shown.contains("%, 8000 of 9000 entries\r"), "{shown:?}");
    assert!(shown.contains("9000 entries are sound"), "{shown:?}");
}
