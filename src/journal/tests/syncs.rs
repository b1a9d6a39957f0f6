//! A sync fails. The kernel says so once and calls the next one a success, so nothing may rest on that next one.
//!
//! Each test runs again in a process of its own, under `syncs.c`, which makes syncs fail when told; no rights are needed.

use std::path::{Path, PathBuf};
use std::process::Command;

use rusqlite::Connection;

use super::super::HealthLevel;
use super::disk::run_again;
use super::faults::level;
use super::{all, append, folder, open, settings, texts, until};

/// The syncs of this process.
struct Syncs(PathBuf);

impl Syncs {
    /// Runs `test` again where syncs can fail; gives them in that process alone.
    fn of(test: &str) -> Option<Self> {
        if let Some(told) = std::env::var_os(TOLD) {
            return Some(Self(told.into()));
        }
        let folder = folder();
        let shim = folder.path().join("syncs.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/journal/tests/syncs.c");
        let made = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .arg(&shim)
            .arg(source)
            .status();
        let Ok(made) = made else {
            println!("SKIPPED: no C compiler; a failed sync was not tried");
            return None;
        };
        assert!(made.success());
        let preload = format!("LD_PRELOAD={}", shim.display());
        let told = format!("{TOLD}={}", folder.path().display());
        run_again(&format!("journal::tests::syncs::{test}"), &["env", &preload, &told]);
        None
    }

    /// The next sync of this file fails.
    fn fail_once(&self, file: &str) {
        std::fs::write(self.0.join(format!("once-{file}")), b"").unwrap();
    }

    fn fail_always(&self) {
        std::fs::write(self.0.join("always"), b"").unwrap();
    }

    fn work_again(&self) {
        std::fs::remove_file(self.0.join("always")).unwrap();
    }

    /// What became of the journal's files from the first sync that failed on.
    fn since_the_failure(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.0.join("log")).unwrap();
        let lines = log.lines().skip_while(|line| !line.starts_with("failed"));
        lines.map(str::to_owned).collect()
    }
}

const TOLD: &str = "TRAPLINE_TEST_SYNCS";

/// Each handle whose sync failed is closed before anything else is synced; at last the log is written into the file.
fn are_given_up(since: &[String]) {
    for (at, failed) in since.iter().enumerate() {
        let Some(file) = failed.strip_prefix("failed ") else {
            continue;
        };
        let next = since[at + 1..].iter();
        let mut still_open = next.take_while(|line| **line != format!("closed {file}"));
        let is_given_up = still_open.all(|line| line.starts_with("closed"));
        assert!(is_given_up, "line {at} of {since:#?}");
    }
    let synced = since.iter().rposition(|line| line == "synced journal.db");
    let failed = since.iter().rposition(|line| line.starts_with("failed"));
    assert!(synced > failed, "{since:#?}");
}

#[tokio::test]
async fn a_commit_whose_sync_failed_is_acknowledged_only_from_a_file_opened_anew() {
    let Some(syncs) = Syncs::of("a_commit_whose_sync_failed_is_acknowledged_only_from_a_file_opened_anew") else {
        return;
    };
    let folder = folder();
    let journal = open(&folder);
    journal.commit(append(&["one"])).await.unwrap();
    syncs.fail_once("journal.db-wal");
    let (second, ()) = tokio::join!(journal.commit(append(&["two"])), level(&journal, HealthLevel::Failing));
    are_given_up(&syncs.since_the_failure());
    assert_eq!(second.unwrap(), 2);
    level(&journal, HealthLevel::Ok).await;
    let expected = [(1, "one".into()), (2, "two".into())];
    assert_eq!(texts(&all(&journal).await), expected, "once, though it was in doubt");
    journal.close().await;
    assert_eq!(texts(&all(&open(&folder)).await), expected);
}

#[tokio::test]
async fn a_reader_in_the_way_of_the_fresh_writes_is_waited_for() {
    let Some(syncs) = Syncs::of("a_reader_in_the_way_of_the_fresh_writes_is_waited_for") else {
        return;
    };
    let folder = folder();
    let journal = open(&folder);
    journal.commit(append(&["one"])).await.unwrap();
    let reader = Connection::open(settings(&folder).path).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM entries").unwrap();
    syncs.fail_once("journal.db-wal");
    let mut second = std::pin::pin!(journal.commit(append(&["two"])));
    let mut health = journal.health();
    let in_the_way = health.wait_for(|health| health.reason.contains("locked"));
    tokio::select! {
        biased;
        early = &mut second => panic!("acknowledged from a log that no sync has confirmed: {early:?}"),
        seen = in_the_way => assert_eq!(seen.unwrap().level, HealthLevel::Failing),
    }
    drop(reader);
    assert_eq!(second.await.unwrap(), 2);
    level(&journal, HealthLevel::Ok).await;
}

#[tokio::test]
async fn a_failed_sync_of_a_checkpoint_costs_nothing() {
    let Some(syncs) = Syncs::of("a_failed_sync_of_a_checkpoint_costs_nothing") else {
        return;
    };
    let folder = folder();
    let journal = open(&folder);
    syncs.fail_once("journal.db");
    // Enough for a checkpoint at once.
    journal.commit(append(&["x".repeat(9 << 20)])).await.unwrap();
    level(&journal, HealthLevel::Failing).await;
    assert_eq!(journal.commit(append(&["two"])).await.unwrap(), 2);
    are_given_up(&syncs.since_the_failure());
    assert_eq!(journal.verify().await.unwrap().entries, 2);
}

#[tokio::test]
async fn while_every_sync_fails_hits_are_held_and_readers_served_and_then_all_is_written_in_order() {
    let Some(syncs) =
        Syncs::of("while_every_sync_fails_hits_are_held_and_readers_served_and_then_all_is_written_in_order")
    else {
        return;
    };
    let folder = folder();
    let journal = open(&folder);
    journal.commit(append(&["one"])).await.unwrap();
    syncs.fail_always();
    let mut second = std::pin::pin!(journal.commit(append(&["two"])));
    assert!(futures_util::poll!(second.as_mut()).is_pending());
    journal.enqueue(append(&["three", "four"])).await.unwrap();
    let tries = || {
        syncs
            .since_the_failure()
            .iter()
            .filter(|line| line.starts_with("failed"))
            .count()
    };
    until("it has tried again", async || tries() > 2).await;
    assert!(futures_util::poll!(second.as_mut()).is_pending());
    // A try may have begun before the last two were handed over.
    let mut health = journal.health();
    let health = health.wait_for(|health| health.held == 3).await.unwrap().clone();
    assert_eq!(
        (health.level, health.shed),
        (HealthLevel::Failing, 0),
        "{}",
        health.reason
    );
    assert_eq!(texts(&all(&journal).await), [(1, "one".into())]);

    syncs.work_again();
    assert_eq!(second.await.unwrap(), 2);
    are_given_up(&syncs.since_the_failure());
    assert_eq!(journal.commit(append(&["five"])).await.unwrap(), 5);
    journal.close().await;
    let journal = open(&folder);
    let bodies: Vec<_> = texts(&all(&journal).await).into_iter().map(|(_, body)| body).collect();
    assert_eq!(bodies, ["one", "two", "three", "four", "five"]);
    assert_eq!(journal.verify().await.unwrap().fault, None);
}
