//! The journal's disk: full for a while, read-only, failing each write.

use std::io::Write as _;
use std::net::SocketAddr;

use super::harness::manager::Manager;
use super::harness::touch;
use super::*;

/// Contacts while the disk fails: far more than memory holds.
const FLOOD: usize = 13_000;

const OWN_MOUNTS: &str = "TRAPLINE_TEST_MOUNTS";

/// A small tmpfs in the state folder, among the mounts of a process of its own.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Runs `test` again where it may mount; gives the disk in that process alone.
    fn mount(trap: &Trap, test: &str) -> Option<Self> {
        if std::env::var_os(OWN_MOUNTS).is_none() {
            match is_root() {
                true => run_again(test, &["unshare", "--mount", "env", &format!("{OWN_MOUNTS}=own")]),
                false => println!("SKIPPED: no right to mount a tmpfs; {test} was not tried"),
            }
            return None;
        }
        let state = trap.path("state");
        std::fs::create_dir(&state).unwrap();
        mount(&["-t", "tmpfs", "-o", "size=32m", "tmpfs"], &state);
        Some(Self(state))
    }

    /// Takes all the room there is, for another's file.
    fn fill(&self) {
        let mut other = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.0.join("other"))
            .unwrap();
        while other.write_all(&[0; 4096]).is_ok() {}
    }

    fn make_room(&self) {
        std::fs::remove_file(self.0.join("other")).unwrap();
    }
}

fn mount(arguments: &[&str], path: &Path) {
    let mounted = Command::new("mount").args(arguments).arg(path).output().unwrap();
    assert!(mounted.status.success(), "{}", String::from_utf8_lossy(&mounted.stderr));
}

fn health(trap: &Trap) -> Value {
    trap.status()["journal"]["health"].clone()
}

/// Touches until the journal's health is what is wanted; gives how often.
fn touch_until(trap: &Trap, address: SocketAddr, wanted: impl Fn(&Value) -> bool) -> usize {
    let mut touched = 0;
    eventually("the journal's health changes", || {
        touch(address);
        touched += 1;
        wanted(&health(trap)).then_some(touched)
    })
}

/// How many gap entries tell of what the disk did not take, and of how many events. What was delivered and then made
/// room is told as well, and is no loss.
fn dropped(events: &[Value]) -> (usize, i64) {
    let is_loss = |event: &&Value| {
        let reason = event["event"]["reason"].as_str().unwrap_or_default();
        event["event"]["action"] == "journal-gap" && !reason.starts_with("the disk was full: removed before")
    };
    let gaps = events.iter().filter(is_loss);
    let counts: Vec<_> = gaps
        .map(|gap| gap["honeyport"]["finding"]["hits"].as_i64().unwrap_or(0))
        .collect();
    (counts.len(), counts.iter().sum())
}

/// Waits until the journal has counted all that came; gives how much of it was dropped.
fn settled(trap: &Trap) -> i64 {
    let told = || trap.status()["faults"][0]["what"].clone();
    let mut before = told();
    let mut same = 0;
    eventually("the count of what was dropped stands still", || {
        let now = told();
        same = if now == before { same + 1 } else { 0 };
        before = now;
        (same > 50).then_some(())
    });
    let told = before.as_str().unwrap();
    told.trim_end_matches(" dropped")
        .rsplit(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap()
}

#[test]
fn a_disk_full_for_a_while_costs_no_answer_and_what_memory_could_not_hold_is_counted() {
    let mut trap = idle();
    let Some(disk) = SmallDisk::mount(
        &trap,
        "disk::a_disk_full_for_a_while_costs_no_answer_and_what_memory_could_not_hold_is_counted",
    ) else {
        return;
    };
    let mut manager = Manager::listen(trap.folder.path());
    trap.set(&[("NOTIFY_SOCKET", manager.address()), ("WATCHDOG_USEC", "3000000")]);
    trap.launch();
    let door = trap.address("door");
    touch(door);
    all_delivered(&trap, 1);
    disk.fill();
    let mut touched = 1 + touch_until(&trap, door, |health| health == "failing");
    manager.hear();
    let fed = manager.heard.len();
    for _ in 0..FLOOD {
        assert!(touch(door).starts_with(b"SSH-2.0-"), "decoys answer throughout");
        touched += 1;
    }
    manager.wait_for(fed, "WATCHDOG=1");
    manager.wait_for(0, "STATUS=failing: journal");
    // One that does not listen any more would make a sender wait.
    drop(manager);
    let counted = settled(&trap);
    disk.make_room();
    eventually("the journal recovers by itself", || {
        (health(&trap) != "failing").then_some(())
    });
    touch(door);
    touched += 1;
    let events = eventually("delivery resumes by itself, and every event is kept or counted", || {
        let events = delivered(&trap);
        let kept = actions(&events, "decoy-connect") as i64;
        (kept + dropped(&events).1 >= touched as i64).then_some(events)
    });
    let kept = actions(&events, "decoy-connect");
    let (gaps, dropped) = dropped(&events);
    // What trapline tells of itself meanwhile is held, dropped and counted as contacts are.
    let told = kept as i64 + dropped - touched as i64;
    assert!(
        (0..=3).contains(&told),
        "{kept} kept and {dropped} dropped of {touched}"
    );
    assert!(dropped > 0, "memory holds 10,000");
    let told = events.iter().filter(|event| event["event"]["action"] == "journal-gap");
    let told: Vec<_> = told.collect();
    assert_eq!(
        gaps,
        1,
        "one outage is one entry, {counted} counted: {told:#?}\n{}",
        trap.log()
    );
    assert_eq!(dropped, counted, "all that was dropped and nothing else");
    assert_unique(&events);
    trap.signal("TERM");
    assert_eq!(trap.ended().code(), DONE);
}

#[test]
fn a_disk_that_fails_every_write_for_a_while_costs_nothing() {
    a_fault_costs_nothing("eio");
}

/// The kernel refuses to remount what is open for writing, as the journal is; after an error of the disk it does it all
/// the same, which only the shim can show.
#[test]
fn a_disk_that_is_read_only_for_a_while_costs_nothing() {
    a_fault_costs_nothing("erofs");
}

fn a_fault_costs_nothing(fault: &str) {
    let Some(shim) = Shim::build() else { return };
    let mut trap = idle();
    shim.lay_under(&mut trap);
    trap.launch();
    let door = trap.address("door");
    touch(door);
    all_delivered(&trap, 1);
    shim.begin(fault);
    let mut touched = 1 + touch_until(&trap, door, |health| health == "failing");
    for _ in 0..50 {
        assert!(touch(door).starts_with(b"SSH-2.0-"));
        touched += 1;
    }
    let status = trap.trapline(&["status"]);
    assert_eq!(status.status.code(), FAILED, "a failing journal fails status");
    shim.end(fault);
    eventually("the journal recovers by itself", || {
        (health(&trap) != "failing").then_some(())
    });
    let events = all_delivered(&trap, touched);
    assert_eq!(actions(&events, "decoy-connect"), touched);
    assert_eq!(dropped(&events), (0, 0));
    assert_unique(&events);
    let verified = trap.trapline(&["journal", "verify"]);
    assert_eq!(
        verified.status.code(),
        DONE,
        "{}",
        String::from_utf8_lossy(&verified.stderr)
    );
}
