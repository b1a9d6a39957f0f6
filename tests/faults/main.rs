//! Faults, injected into the real program: the disk, the clock, limits, ports, a second instance, signals.
//!
//! A fault that this machine cannot inject is a line that begins with `SKIPPED`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]
#![allow(clippy::print_stdout, reason = "what is skipped is said")]

mod clock;
mod disk;
mod feed;
mod files;
mod folder;
#[path = "../harness/mod.rs"]
mod harness;
mod listeners;
mod logs;
mod retention;
mod salvage;
mod signals;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use harness::again::{is_root, run_again};
use harness::{Trap, eventually, lines};

const DONE: Option<i32> = Some(0);
const FAILED: Option<i32> = Some(1);
const HELD: Option<i32> = Some(3);

/// One decoy, and a sink whose file is not on the journal's disk.
const PLAIN: &str = r#"
[journal]
path = "state/journal.db"

[limits]
events_per_source_per_minute = 10000000
sessions_per_source = 15000

[decoys.door]
service = "ssh"
listen = ["127.0.0.1:0"]

[sinks.archive]
type = "file"
inputs = ["*", "health"]
path = "DIR/events.jsonl"
"#;

/// A trap on [`PLAIN`] that does not run yet.
fn idle() -> Trap {
    let trap = Trap::idle("");
    let folder = trap.folder.path().to_str().unwrap();
    trap.configure(&PLAIN.replace("DIR", folder));
    trap
}

/// What the sink was given.
fn delivered(trap: &Trap) -> Vec<Value> {
    lines(&std::fs::read(trap.path("events.jsonl")).unwrap_or_default())
}

fn actions(events: &[Value], action: &str) -> usize {
    events.iter().filter(|event| event["event"]["action"] == action).count()
}

/// Waits until the sink has so many contacts and nothing more to come; gives it all.
fn all_delivered(trap: &Trap, contacts: usize) -> Vec<Value> {
    eventually("every contact is delivered", || {
        let sinks = trap.status()["sinks"].as_array().unwrap().clone();
        let is_done = sinks.iter().any(|sink| sink["name"] == "archive" && sink["lag"] == 0);
        let events = delivered(trap);
        (is_done && actions(&events, "decoy-connect") >= contacts).then_some(events)
    })
}

/// No id twice.
fn assert_unique(events: &[Value]) {
    let ids: BTreeSet<_> = events
        .iter()
        .map(|event| event["event"]["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), events.len());
}

/// What makes system calls fail while a file is there: `shim.c`, built for this test.
struct Shim {
    folder: tempfile::TempDir,
}

impl Shim {
    /// `None` without a C compiler.
    fn build() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/shim.c");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .arg(folder.path().join("shim.so"))
            .arg(source)
            .status();
        let Ok(built) = built else {
            println!("SKIPPED: no C compiler; failing system calls were not tried");
            return None;
        };
        assert!(built.success());
        Some(Self { folder })
    }

    fn lay_under(&self, trap: &mut Trap) {
        let path = |name: &str| self.folder.path().join(name).to_str().unwrap().to_owned();
        let (shim, folder) = (path("shim.so"), path(""));
        trap.set(&[("LD_PRELOAD", &shim), ("TRAPLINE_TEST_FAULTS", &folder)]);
    }

    fn fault(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn begin(&self, name: &str) {
        std::fs::write(self.fault(name), "").unwrap();
    }

    fn end(&self, name: &str) {
        std::fs::remove_file(self.fault(name)).unwrap();
    }
}
