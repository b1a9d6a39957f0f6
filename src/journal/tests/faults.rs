//! The disk fails: nothing acknowledged is lost, nothing is dropped without being counted, and it recovers by itself.

use std::path::Path;
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use trapline_schemas::Timestamp;

use super::super::{Commit, Entry, Fact, FactBody, HealthLevel, Journal, JournalError, JournalSettings, Told};
use super::disk::Disk;
use super::{all, append, folder, open, settings, texts, until};

pub(super) async fn level(journal: &Journal, level: HealthLevel) {
    journal.health().wait_for(|health| health.level == level).await.unwrap();
}

#[tokio::test]
async fn a_removed_folder_is_noticed_and_a_new_journal_goes_on_with_what_memory_has() {
    let folder = folder();
    let path = folder.path().join("state/journal.db");
    let told = Arc::new(Mutex::new(Vec::new()));
    let remember = told.clone();
    let facts = FactBody::new(move |fact| {
        remember.lock().unwrap().push(fact.clone());
        None
    });
    let (journal, _) = Journal::open(JournalSettings {
        facts,
        ..JournalSettings::at(&path)
    })
    .unwrap();
    let mut first = append(&["one", "two"]);
    first.cursors.push(("siem".into(), 2));
    journal.commit(first).await.unwrap();
    std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    until("a new journal is there", async || path.exists()).await;
    assert_eq!(journal.commit(append(&["three"])).await.unwrap(), 3);
    level(&journal, HealthLevel::Ok).await;
    journal.close().await;

    let (journal, _) = Journal::open(JournalSettings::at(&path)).unwrap();
    assert_eq!(
        texts(&all(&journal).await),
        [(1, "one".into()), (2, "two".into()), (3, "three".into())]
    );
    assert_eq!(journal.cursor("siem").await.unwrap(), Some(2));
    assert_eq!(journal.verify().await.unwrap().fault, None);
    assert_eq!(*told.lock().unwrap(), [Fact::Replaced { lost: 0, rewritten: 2 }]);
}

#[tokio::test]
async fn a_writer_that_breaks_down_is_noticed_and_refuses_what_comes() {
    let folder = folder();
    let path = folder.path().join("state/journal.db");
    let (journal, _) = Journal::open(JournalSettings {
        facts: FactBody::new(|_| panic!("on purpose")),
        ..JournalSettings::at(&path)
    })
    .unwrap();
    journal.commit(append(&["one"])).await.unwrap();
    // A new file is a fact to be told, which breaks the writer.
    std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    journal.ended().await;
    assert!(matches!(
        journal.commit(append(&["two"])).await,
        Err(JournalError::Closed)
    ));
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_named_in_the_error() {
    let folder = folder();
    std::fs::write(folder.path().join("state"), b"a file stands here").unwrap();
    let refused = Journal::open(JournalSettings::at(folder.path().join("state/journal.db"))).unwrap_err();
    assert!(
        matches!(&refused, JournalError::Folder { path, .. } if path.ends_with("state")),
        "{refused}"
    );
}

#[tokio::test]
async fn a_commit_beyond_any_use_is_refused_and_the_journal_goes_on() {
    let folder = folder();
    let journal = open(&folder);
    let huge = Commit {
        state: vec![("key".into(), Some(vec![0; 65 << 20]))],
        ..Commit::default()
    };
    assert!(matches!(journal.commit(huge).await, Err(JournalError::TooLarge { .. })));
    assert_eq!(journal.commit(append(&["small"])).await.unwrap(), 1);
}

/// Full disk, then read-only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_waited_out_and_what_memory_could_not_hold_is_one_exact_gap() {
    let folder = folder();
    let test = "journal::tests::faults::a_full_disk_is_waited_out_and_what_memory_could_not_hold_is_one_exact_gap";
    let Some(disk) = Disk::mount(folder.path(), test) else {
        return;
    };
    let told = Arc::new(Mutex::new(Vec::new()));
    let remember = told.clone();
    let facts = FactBody::new(move |fact| {
        remember.lock().unwrap().push(fact.clone());
        Some("gap".into())
    });
    // A consumer that has read nothing: finished entries would be taken to make room.
    let consumers = vec!["siem".to_owned()];
    let (journal, _) = Journal::open(JournalSettings {
        facts,
        consumers,
        ..settings(&folder)
    })
    .unwrap();
    let body = "x".repeat(900);
    let mut sent = 0_u64;
    while journal.health().borrow().level != HealthLevel::Failing {
        journal.enqueue(append(&[&body])).await.unwrap();
        sent += 1;
    }
    let reason = journal.health().borrow().reason.clone();
    assert!(reason.contains("full"), "{reason}");
    let waiting = tokio::spawn({
        let journal = journal.clone();
        async move { journal.commit(append(&["a caller that waits"])).await }
    });
    // The caller may come to the queue late; it is the oldest once enough came after it.
    let enough = sent + 12_000;
    while sent < enough || !waiting.is_finished() {
        journal.enqueue(append(&[&body])).await.unwrap();
        sent += 1;
    }
    journal.health().wait_for(|health| health.shed > 1000).await.unwrap();
    let waited = matches!(waiting.await.unwrap(), Err(JournalError::Shed));
    assert!(waited, "a caller in the way of the newest is told");

    disk.remount("size=256m");
    level(&journal, HealthLevel::Ok).await;
    journal.commit(append(&["after"])).await.unwrap();
    let shed = journal.health().borrow().shed;
    let entries = all(&journal).await;
    let hits = entries.iter().filter(|entry| entry.body == body).count() as u64;
    assert_eq!(hits + shed, sent, "each hit is there or counted");
    assert_eq!(entries.iter().filter(|entry| *entry.body == *b"gap").count(), 1);
    assert!(matches!(told.lock().unwrap()[..], [.., Fact::Shed { count, .. }] if count == shed));
    assert_eq!(journal.verify().await.unwrap().fault, None);

    journal.close().await;
    disk.remount("ro");
    assert!(
        Journal::open(settings(&folder)).is_err(),
        "a read-only disk is an error, not damage"
    );
    disk.remount("rw");
    assert_eq!(all(&open(&folder)).await.len(), entries.len());
}

/// What a full disk takes of entries that `consumers` and `watchers` have read, and what it tells of it.
async fn fill(disk: &Disk<'_>, folder: &Path, [consumers, watchers]: [&[&str]; 2]) -> (u64, Vec<Fact>, Vec<Told>) {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let told = Arc::new(Mutex::new(Vec::new()));
    let remember = told.clone();
    let facts = FactBody::new(move |fact| {
        remember.lock().unwrap().push(fact.clone());
        Some("gap".into())
    });
    let settings = JournalSettings {
        facts,
        consumers: names(consumers),
        watchers: names(watchers),
        ..JournalSettings::at(folder.join("journal.db"))
    };
    let (journal, _) = Journal::open(settings).unwrap();
    let all = names(consumers).into_iter().chain(names(watchers));
    let cursors = all.map(|consumer| (consumer, 1_000_000)).collect();
    journal
        .commit(Commit {
            cursors,
            ..Commit::default()
        })
        .await
        .unwrap();
    let body = "x".repeat(900);
    while journal.health().borrow().level != HealthLevel::Failing {
        journal.enqueue(append(&[&body])).await.unwrap();
    }
    // Some attempts more.
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    disk.remount("size=64m");
    level(&journal, HealthLevel::Ok).await;
    journal.commit(append(&["after"])).await.unwrap();
    let gone = journal.oldest().await.unwrap() - 1;
    assert_eq!(journal.verify().await.unwrap().fault, None);
    let facts = told.lock().unwrap().clone();
    (gone, facts, journal.told())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_takes_what_every_consumer_had_counts_and_tells_it() {
    let folder = folder();
    let test = "journal::tests::faults::a_full_disk_takes_what_every_consumer_had_counts_and_tells_it";
    let Some(disk) = Disk::mount(folder.path(), test) else {
        return;
    };
    let (gone, facts, told) = fill(&disk, folder.path(), [&["siem"], &[]]).await;
    assert!(gone > 0, "room was made");
    let pruned = |fact: &Fact| match fact {
        Fact::Pruned { count, first, last, at } => {
            assert_eq!(last - first + 1, *count);
            assert!(at.is_some());
            *count
        }
        _ => 0,
    };
    assert!(facts.iter().map(pruned).sum::<u64>() > 0, "{facts:?}");
    let sum: u64 = told.iter().map(|told| pruned(&told.fact)).sum();
    assert!(
        sum > 0 && sum <= gone,
        "{sum} of {gone} are told, the rest within a minute: {told:?}"
    );
    let raw = rusqlite::Connection::open(folder.path().join("journal.db")).unwrap();
    let waiting: i64 = raw
        .query_row("SELECT coalesce(sum(count), 0) FROM losses", [], |row| row.get(0))
        .unwrap();
    assert_eq!(
        sum + waiting.unsigned_abs(),
        gone,
        "what is not told yet is noted to be told"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_takes_nothing_where_the_journal_has_the_only_copy() {
    let folder = folder();
    let test = "journal::tests::faults::a_full_disk_takes_nothing_where_the_journal_has_the_only_copy";
    let Some(disk) = Disk::mount(folder.path(), test) else {
        return;
    };
    let (gone, facts, _) = fill(&disk, folder.path(), [&[], &["window/digest"]]).await;
    assert_eq!(gone, 0, "{facts:?}");
}

#[tokio::test]
async fn a_disk_nine_tenths_full_is_told_while_it_still_takes_events_and_taken_back_when_it_has_room() {
    let folder = folder();
    let test = "journal::tests::faults::a_disk_nine_tenths_full_is_told_while_it_still_takes_events_and_taken_back_when_it_has_room";
    let Some(disk) = Disk::mount(folder.path(), test) else {
        return;
    };
    disk.others_take(2 << 10);
    let journal = open(&folder);
    journal.commit(append(&["one"])).await.unwrap();
    assert_eq!(journal.health().borrow().level, HealthLevel::Ok);
    disk.others_take(2600);
    level(&journal, HealthLevel::Degraded).await;
    let reason = journal.health().borrow().reason.clone();
    assert!(reason.starts_with("the disk of the journal is 9"), "{reason}");
    assert_eq!(journal.commit(append(&["two"])).await.unwrap(), 2);
    disk.others_take(2 << 10);
    level(&journal, HealthLevel::Ok).await;
}

/// Appends until the disk is full; gives how many entries.
async fn fill_up(journal: &Journal) -> u64 {
    let body = "x".repeat(900);
    let mut sent = 0;
    while journal.health().borrow().level != HealthLevel::Failing {
        journal.enqueue(append(&[&body])).await.unwrap();
        sent += 1;
        // Far below what memory holds, or some would be shed before the failure shows.
        if sent % 64 == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }
    sent
}

/// Opens a journal whose log has no room to be carried into the file.
async fn reopen_full(disk: &Disk<'_>, folder: &TempDir) {
    // A consumer that has read nothing: finished entries would be taken to make room.
    let settings = || JournalSettings {
        consumers: vec!["siem".to_owned()],
        ..settings(folder)
    };
    let (journal, _) = Journal::open(settings()).unwrap();
    fill_up(&journal).await;
    journal.close().await;
    disk.others_take(4 << 10);

    let (journal, report) = Journal::open(settings()).unwrap();
    assert!(report.head > 1 && report.salvaged.is_none(), "{report:?}");
    let before = all(&journal).await;
    assert_eq!(before.len() as u64, report.head - 1, "what is there can be read");
    let sent = fill_up(&journal).await;
    disk.remount("size=64m");
    level(&journal, HealthLevel::Ok).await;
    assert_eq!(journal.commit(append(&["after"])).await.unwrap(), report.head + sent);
    assert_eq!(journal.verify().await.unwrap().fault, None);
    journal.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_on_a_full_disk_goes_on_from_a_log_that_cannot_be_carried_over() {
    let folder = folder();
    let test = "journal::tests::faults::a_start_on_a_full_disk_goes_on_from_a_log_that_cannot_be_carried_over";
    if let Some(disk) = Disk::mount(folder.path(), test) {
        reopen_full(&disk, &folder).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_others_filled_meanwhile_stops_no_start() {
    let folder = folder();
    let test = "journal::tests::faults::a_disk_that_others_filled_meanwhile_stops_no_start";
    let Some(disk) = Disk::mount(folder.path(), test) else {
        return;
    };
    let journal = open(&folder);
    journal.commit(append(&["one", "two"])).await.unwrap();
    journal.close().await;
    // Neither the index of the log nor the lock file has a byte.
    assert!(!folder.path().join("journal.db-shm").exists());
    std::fs::remove_file(folder.path().join("journal.lock")).unwrap();
    disk.others_take(4 << 10);

    let journal = open(&folder);
    assert!(journal.holds_lock());
    assert_eq!(texts(&all(&journal).await), [(1, "one".into()), (2, "two".into())]);
    journal.enqueue(append(&["three"])).await.unwrap();
    level(&journal, HealthLevel::Failing).await;
    assert_eq!(all(&journal).await.len(), 2, "what is there can be read");
    disk.remount("size=64m");
    level(&journal, HealthLevel::Ok).await;
    assert_eq!(journal.commit(append(&["four"])).await.unwrap(), 4);
    assert_eq!(journal.verify().await.unwrap().fault, None);
    journal.close().await;
    assert!(!journal.holds_lock());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_written_log_that_a_full_disk_has_no_room_to_keep_stops_no_start() {
    let folder = folder();
    let test = "journal::tests::faults::a_half_written_log_that_a_full_disk_has_no_room_to_keep_stops_no_start";
    let Some(disk) = Disk::mount(folder.path(), test) else {
        return;
    };
    let journal = open(&folder);
    for number in 0..12 {
        journal.commit(append(&[number.to_string()])).await.unwrap();
    }
    // What a kill leaves, with two frames of a group that was given up at the end.
    let killed = folder.path().join("killed");
    std::fs::create_dir(&killed).unwrap();
    let left = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    std::fs::write(killed.join("journal.db"), left("journal.db")).unwrap();
    let mut log = left("journal.db-wal");
    log.extend_from_within(log.len() - 2 * (24 + 8192)..);
    std::fs::write(killed.join("journal.db-wal"), log).unwrap();
    journal.close().await;
    disk.others_take(4 << 10);

    let (journal, report) = Journal::open(JournalSettings::at(killed.join("journal.db"))).unwrap();
    assert_eq!((report.head, report.salvaged), (13, None));
    assert_eq!(all(&journal).await.len(), 12);
    let names = std::fs::read_dir(&killed)
        .unwrap()
        .map(|file| file.unwrap().file_name());
    let kept: Vec<_> = names
        .filter(|name| name.to_string_lossy().contains("corrupt"))
        .collect();
    assert!(kept.is_empty(), "no half a copy takes what room there is: {kept:?}");
    journal.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_disk_did_not_take_before_an_end_is_told_once_by_the_next_run_that_can() {
    let folder = folder();
    let test = "journal::tests::faults::what_the_disk_did_not_take_before_an_end_is_told_once_by_the_next_run_that_can";
    let Some(disk) = Disk::mount(folder.path(), test) else {
        return;
    };
    let run = || {
        let settings = JournalSettings {
            facts: FactBody::new(|_| Some("gap".into())),
            consumers: vec!["siem".to_owned()],
            ..settings(&folder)
        };
        Journal::open(settings).unwrap().0
    };
    let (begun, body) = (Timestamp::now(), "x".repeat(900));
    let (mut sent, mut told) = (0, Vec::new());
    // Two runs end on the full disk, the second with what the first left to tell.
    for _ in 0..2 {
        let journal = run();
        sent += fill_up(&journal).await;
        for _ in 0..100 {
            journal.enqueue(append(&[&body])).await.unwrap();
        }
        sent += 100;
        journal.close().await;
        told.extend(journal.told());
        disk.others_take(4 << 10);
    }
    let ended = Timestamp::now();
    disk.remount("size=64m");
    // Who only looks tells nothing, as nobody would read it.
    open(&folder).close().await;
    let journal = run();
    journal.commit(append(&["after"])).await.unwrap();
    let is_hit = |entry: &&Entry| entry.body == body;
    let hits = all(&journal).await.iter().filter(is_hit).count() as u64;
    journal.close().await;
    let last = run();
    last.close().await;

    let gone = |told: Told| match told.fact {
        Fact::Shed { count, first, last } | Fact::Unkept { count, first, last } => {
            assert!(begun <= first && first <= last && last <= ended);
            count
        }
        other => panic!("{other}"),
    };
    let runs = [told, journal.told(), last.told()];
    let gone = runs.map(|told| told.into_iter().map(gone).sum::<u64>());
    assert!(gone.iter().sum::<u64>() >= 200, "{gone:?}");
    assert_eq!(hits + gone.iter().sum::<u64>(), sent, "{gone:?}");
    assert_eq!(gone[2], 0, "once");
}
