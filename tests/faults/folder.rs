//! What others do to the state folder while trapline works in it: delete, exchange, shut, give away.

use std::os::unix::fs::{PermissionsExt, chown};

use super::harness::touch;
use super::*;

/// Whom the program runs as where permissions are to count.
const NOBODY: u32 = 65534;

fn door(trap: &Trap) -> std::net::SocketAddr {
    trap.address("door")
}

/// Touches it, and waits until the touch is in the journal and delivered.
fn touched(trap: &Trap, contacts: usize) {
    touch(door(trap));
    all_delivered(trap, contacts);
}

/// Waits until `status` has a fault of the journal that says so.
fn told(trap: &Trap, words: &str) {
    eventually(&format!("status says `{words}`"), || {
        let output = trap.trapline(&["status", "--json"]);
        let status: Value = serde_json::from_slice(&output.stdout).ok()?;
        let faults = status["faults"].as_array()?;
        let says = |fault: &Value| fault["part"] == "journal" && fault["what"].as_str().unwrap().contains(words);
        faults.iter().any(says).then_some(())
    });
}

/// Each contact came to the sink once, and the chain holds.
fn is_whole(trap: &mut Trap, contacts: usize) {
    let events = all_delivered(trap, contacts);
    assert_eq!(actions(&events, "decoy-connect"), contacts);
    assert_unique(&events);
    trap.signal("TERM");
    assert_eq!(trap.ended().code(), DONE);
    let verified = trap.trapline(&["journal", "verify"]);
    assert_eq!(verified.status.code(), DONE, "{}", harness::text(&verified.stderr));
}

#[test]
fn a_journal_folder_that_is_deleted_comes_back_with_what_memory_holds_and_the_alarm_counts_it() {
    let mut trap = idle();
    trap.launch();
    (1..=5).for_each(|contacts| touched(&trap, contacts));
    let kept = trap.events(&["--limit", "0", "--action", "decoy-connect"]);
    eventually("the folder is gone", || {
        std::fs::remove_dir_all(trap.path("state")).ok()
    });
    told(&trap, "was gone: ");
    touched(&trap, 6);
    let again = trap.events(&["--limit", "0", "--action", "decoy-connect"]);
    assert_eq!(
        again[..5],
        kept[..],
        "written again from memory, under the same offsets"
    );
    let gap = trap.events(&["--action", "journal-gap"]).pop().unwrap();
    assert_eq!(gap["honeyport.finding.hits"], 0, "nothing is lost: {gap:#}");
    is_whole(&mut trap, 6);
}

#[test]
fn an_older_journal_that_is_put_in_place_under_trapline_is_brought_to_where_memory_is() {
    let mut trap = idle();
    trap.launch();
    touched(&trap, 1);
    let backup = trap.path("backup.db");
    let made = trap.trapline(&["journal", "backup", backup.to_str().unwrap()]);
    assert_eq!(made.status.code(), DONE, "{}", harness::text(&made.stderr));
    (2..=4).for_each(|contacts| touched(&trap, contacts));
    // As a restore does it that nobody announced: the folder is another one, with the file of an hour ago.
    std::fs::rename(trap.path("state"), trap.path("aside")).unwrap();
    std::fs::create_dir(trap.path("state")).unwrap();
    std::fs::copy(&backup, trap.path("state/journal.db")).unwrap();
    told(&trap, "was gone: ");
    touched(&trap, 5);
    let all = trap.events(&["--limit", "0", "--action", "decoy-connect"]);
    let offsets: BTreeSet<_> = all
        .iter()
        .map(|event| event["honeyport.journal.sequence"].as_u64())
        .collect();
    assert_eq!((all.len(), offsets.len()), (5, 5));
    is_whole(&mut trap, 5);
}

/// A trap that runs as nobody, in a folder of its own that it may write; `None` where the test may not do that.
fn of_nobody() -> Option<Trap> {
    if !is_root() {
        println!("SKIPPED: only root runs a program as somebody else; permissions were not taken away");
        return None;
    }
    let mut trap = Trap::idle("");
    let folder = trap.folder.path().to_owned();
    for name in ["own", "own/state"] {
        std::fs::create_dir(folder.join(name)).unwrap();
        chown(folder.join(name), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    mode(&folder, 0o755);
    let plain = PLAIN.replace("state/journal.db", "own/state/journal.db");
    trap.configure(&plain.replace("DIR", folder.join("own").to_str().unwrap()));
    let run = trap.command(&["run"]);
    let mut other = Command::new("setpriv");
    other
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"])
        .arg(run.get_program())
        .args(run.get_args())
        .current_dir(folder.join("own"));
    trap.launch_by(other);
    Some(trap)
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// What the sink of a trap of nobody was given, all of it.
fn given(trap: &Trap, contacts: usize) -> Vec<Value> {
    eventually("every contact is delivered", || {
        let events = lines(&std::fs::read(trap.path("own/events.jsonl")).unwrap_or_default());
        (actions(&events, "decoy-connect") >= contacts).then_some(events)
    })
}

/// The folder is shut to the program and opened again; hits go on meanwhile, and all of them are there afterwards.
fn survives_a_folder_that(shut: impl FnOnce(&Path), open: impl FnOnce(&Path)) {
    let Some(mut trap) = of_nobody() else { return };
    let (state, door) = (trap.path("own/state"), door(&trap));
    touch(door);
    given(&trap, 1);
    shut(&state);
    told(&trap, "");
    (0..3).for_each(|_| assert!(touch(door).starts_with(b"SSH-2.0-")));
    open(&state);
    eventually("the journal is well again", || {
        (trap.status()["journal"]["health"] == "ok").then_some(())
    });
    touch(door);
    let events = given(&trap, 5);
    assert_eq!(actions(&events, "decoy-connect"), 5);
    assert_unique(&events);
    trap.signal("TERM");
    assert_eq!(trap.ended().code(), DONE);
    let verified = trap.trapline(&["journal", "verify"]);
    assert_eq!(verified.status.code(), DONE, "{}", harness::text(&verified.stderr));
}

#[test]
fn a_file_whose_mode_is_taken_away_is_written_on_and_told_before_a_restart_would_fail() {
    let Some(mut trap) = of_nobody() else { return };
    let (journal, door) = (trap.path("own/state/journal.db"), door(&trap));
    touch(door);
    given(&trap, 1);
    mode(&journal, 0o400);
    told(&trap, "was shut");
    touch(door);
    given(&trap, 2);
    mode(&journal, 0o600);
    eventually("the journal is well again", || {
        (trap.status()["journal"]["health"] == "ok").then_some(())
    });
    trap.signal("TERM");
    assert_eq!(trap.ended().code(), DONE);
}

#[test]
fn a_folder_that_nobody_may_enter_any_more_is_told_and_costs_nothing_once_it_is_open_again() {
    survives_a_folder_that(|state| mode(state, 0), |state| mode(state, 0o700));
}

#[test]
fn a_folder_that_is_given_to_another_user_is_told_and_costs_nothing_once_it_is_ours_again() {
    survives_a_folder_that(
        |state| chown(state, Some(0), Some(0)).unwrap(),
        |state| chown(state, Some(NOBODY), Some(NOBODY)).unwrap(),
    );
}
