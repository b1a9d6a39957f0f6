//! Commit, read, reopen; the second instance; what is refused.

use std::time::Duration;

use trapline_schemas::Timestamp;

use super::super::letters::COUNTS;
use super::super::{Commit, DeadLetter, Journal, JournalError, room};
use super::{all, append, folder, letters, open, settings, texts};

#[tokio::test]
async fn what_is_committed_is_read_back_and_survives_a_restart() {
    let folder = folder();
    let journal = open(&folder);
    assert_eq!(journal.commit(append(&["a", "b"])).await.unwrap(), 1);
    let mut second = append(&["c"]);
    second.cursors.push(("siem".into(), 3));
    second.state.push(("window/x".into(), Some(b"state".to_vec())));
    second.dead_letters.push(letter(2));
    assert_eq!(journal.commit(second).await.unwrap(), 3);
    for _ in 0..2 {
        assert_eq!(
            texts(&all(&journal).await),
            [(1, "a".into()), (2, "b".into()), (3, "c".into())]
        );
    }
    let before = journal.head_hash();
    journal.close().await;
    assert!(matches!(
        journal.commit(append(&["d"])).await,
        Err(JournalError::Closed)
    ));

    let (journal, report) = Journal::open(settings(&folder)).unwrap();
    assert_eq!(
        (report.created, report.oldest, report.head, report.checked_whole),
        (false, 1, 4, true)
    );
    assert_eq!(journal.head_hash(), before);
    assert_eq!(*journal.head().borrow(), 4);
    assert_eq!(
        texts(&journal.read(2, 10, 1 << 20).await.unwrap()),
        [(2, "b".into()), (3, "c".into())]
    );
    assert_eq!(journal.cursor("siem").await.unwrap(), Some(3));
    assert_eq!(journal.cursor("other").await.unwrap(), None);
    assert_eq!(journal.state("window/x").await.unwrap(), Some(b"state".to_vec()));
    assert_eq!(letters(&journal, None).await, [letter(2)]);
}

fn letter(offset: u64) -> DeadLetter {
    DeadLetter {
        sink: "siem".into(),
        offset,
        reason: "400: no".into(),
        body: "b".into(),
    }
}

#[tokio::test]
async fn dead_letters_are_counted_by_sink_with_the_age_of_the_oldest() {
    let folder = folder();
    let journal = open(&folder);
    assert_eq!(journal.dead_letter_counts().await.unwrap(), []);
    let of = |sink: &str, offset| DeadLetter {
        sink: sink.into(),
        ..letter(offset)
    };
    let before = Timestamp::now();
    for letters in [
        vec![of("siem", 5)],
        vec![of("siem", 9), of("archive", 7), of("siem", 7)],
    ] {
        let commit = Commit {
            dead_letters: letters,
            ..append(&["x"])
        };
        journal.commit(commit).await.unwrap();
    }
    let counts = journal.dead_letter_counts().await.unwrap();
    let told: Vec<_> = counts
        .iter()
        .map(|count| (count.sink.as_str(), count.count, count.oldest))
        .collect();
    assert_eq!(told, [("archive", 1, 7), ("siem", 3, 5)]);
    assert!(before <= counts[1].oldest_at && counts[1].oldest_at < counts[0].oldest_at);
    let dead_letters_gone = vec![("siem".to_owned(), 5), ("archive".to_owned(), 7)];
    let commit = Commit {
        dead_letters_gone,
        ..Commit::default()
    };
    journal.commit(commit).await.unwrap();
    let counts = journal.dead_letter_counts().await.unwrap();
    assert_eq!((counts.len(), counts[0].count, counts[0].oldest), (1, 2, 7));
}

#[tokio::test]
async fn dead_letters_are_counted_without_reading_them() {
    let folder = folder();
    let journal = open(&folder);
    let file = rusqlite::Connection::open(folder.path().join("journal.db")).unwrap();
    let mut plan = file.prepare(&format!("EXPLAIN QUERY PLAN {COUNTS}")).unwrap();
    let steps = plan.query_map([], |row| row.get::<_, String>("detail")).unwrap();
    let steps: Vec<_> = steps.map(Result::unwrap).collect();
    let scans: Vec<_> = steps.iter().filter(|step| step.contains("SCAN dead_letters")).collect();
    assert!(scans.len() == 1 && scans[0].contains("COVERING INDEX"), "{steps:?}");
    assert!(steps.iter().any(|step| step.starts_with("SEARCH letter")), "{steps:?}");
    journal.close().await;
}

#[tokio::test]
async fn an_enqueued_hit_reaches_the_head_without_anybody_waiting_for_it() {
    let folder = folder();
    let journal = open(&folder);
    let mut head = journal.head();
    journal.enqueue(append(&["hit"])).await.unwrap();
    assert_eq!(*head.wait_for(|head| *head > 1).await.unwrap(), 2);
    assert_eq!(texts(&journal.read(1, 1, 1).await.unwrap()), [(1, "hit".into())]);
}

#[tokio::test]
async fn a_read_is_bounded_by_count_and_bytes_but_gives_one_entry_at_least() {
    let folder = folder();
    let journal = open(&folder);
    journal.commit(append(&["aaaa", "bbbb", "cccc"])).await.unwrap();
    let count = async |from, count, bytes| journal.read(from, count, bytes).await.unwrap().len();
    assert_eq!(count(1, 2, 100).await, 2);
    assert_eq!(count(1, 9, 8).await, 2);
    assert_eq!(count(1, 9, 1).await, 1);
    assert_eq!(count(4, 9, 100).await, 0);
    assert_eq!(count(1, 0, 100).await, 0);
    journal.close().await;
    let journal = open(&folder);
    let count = async |from, count, bytes| journal.read(from, count, bytes).await.unwrap().len();
    assert_eq!(
        (count(1, 2, 100).await, count(1, 9, 8).await, count(1, 9, 1).await),
        (2, 2, 1),
        "also from the file"
    );
}

#[tokio::test]
async fn cursors_alone_are_durable_when_commit_returns() {
    let folder = folder();
    let journal = open(&folder);
    let cursors = vec![("siem".to_owned(), 9)];
    assert_eq!(
        journal
            .commit(Commit {
                cursors,
                ..Commit::default()
            })
            .await
            .unwrap(),
        1,
        "the head"
    );
    assert_eq!(journal.cursor("siem").await.unwrap(), Some(9));
    let gone = Commit {
        cursors_gone: vec!["siem".into()],
        ..Commit::default()
    };
    journal.commit(gone).await.unwrap();
    assert!(journal.cursors().await.unwrap().is_empty());
}

#[tokio::test]
async fn state_is_found_by_prefix_and_removed_by_none() {
    let folder = folder();
    let journal = open(&folder);
    let set = |key: &str, value: &str| (key.to_owned(), Some(value.as_bytes().to_vec()));
    let state = vec![
        set("a/1", "x"),
        set("a/2", "y"),
        set("b/1", "z"),
        ("a/1".to_owned(), None),
    ];
    journal
        .commit(Commit {
            state,
            ..Commit::default()
        })
        .await
        .unwrap();
    assert_eq!(journal.states("a/").await.unwrap(), [("a/2".to_owned(), b"y".to_vec())]);
    assert_eq!(journal.states("").await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_dead_letter_is_kept_once_and_goes_when_it_is_done() {
    let folder = folder();
    let journal = open(&folder);
    let dead_letters = vec![letter(2), letter(2), letter(3)];
    journal
        .commit(Commit {
            dead_letters,
            ..Commit::default()
        })
        .await
        .unwrap();
    assert_eq!(letters(&journal, Some("siem")).await, [letter(2), letter(3)]);
    let dead_letters_gone = vec![("siem".to_owned(), 2)];
    journal
        .commit(Commit {
            dead_letters_gone,
            ..Commit::default()
        })
        .await
        .unwrap();
    assert_eq!(letters(&journal, None).await, [letter(3)]);
    assert!(letters(&journal, Some("other")).await.is_empty());
}

#[tokio::test]
async fn time_leads_to_the_first_offset_of_that_moment_or_later() {
    let folder = folder();
    let journal = open(&folder);
    let before = Timestamp::now();
    for body in ["a", "b", "c", "d"] {
        journal.commit(append(&[body])).await.unwrap();
    }
    let entries = all(&journal).await;
    assert!(entries.is_sorted_by_key(|entry| entry.appended_at));
    for entry in &entries {
        let first = entries
            .iter()
            .find(|other| other.appended_at >= entry.appended_at)
            .unwrap();
        assert_eq!(journal.offset_at(entry.appended_at).await.unwrap(), first.offset);
    }
    assert_eq!(journal.offset_at(before).await.unwrap(), 1);
    let later = Timestamp::from_micros(entries[3].appended_at.micros() + 1);
    assert_eq!(journal.offset_at(later).await.unwrap(), 5);
}

#[tokio::test]
async fn a_second_instance_is_refused_with_the_pid_of_the_first_and_the_first_goes_on() {
    let folder = folder();
    let journal = open(&folder);
    let second = Journal::open(settings(&folder)).unwrap_err();
    assert!(
        matches!(second, JournalError::Held { pid: Some(pid), .. } if pid == std::process::id()),
        "{second}"
    );
    journal.commit(append(&["still here"])).await.unwrap();
    journal.close().await;
    open(&folder);
}

#[tokio::test]
async fn a_newer_file_and_a_foreign_file_are_refused_and_left_as_they_are() {
    let folder = folder();
    open(&folder).close().await;
    let path = folder.path().join("journal.db");
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.execute_batch("PRAGMA user_version = 7; UPDATE anchor SET schema = 7")
        .unwrap();
    raw.close().unwrap();
    let refused = Journal::open(settings(&folder)).unwrap_err();
    assert!(matches!(refused, JournalError::Newer { found: 7, .. }), "{refused}");

    std::fs::remove_file(&path).unwrap();
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.execute_batch("CREATE TABLE notes (text)").unwrap();
    raw.close().unwrap();
    let before = std::fs::read(&path).unwrap();
    assert!(matches!(
        Journal::open(settings(&folder)),
        Err(JournalError::Foreign { .. })
    ));
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn a_folder_where_the_file_should_be_is_left_as_it_is() {
    let folder = folder();
    let path = settings(&folder).path;
    std::fs::create_dir_all(path.join("precious")).unwrap();
    let before: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    let refused = Journal::open(settings(&folder)).unwrap_err();
    assert!(matches!(refused, JournalError::NotAFile { .. }), "{refused}");
    assert!(path.join("precious").is_dir());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), before.len());
}

#[tokio::test]
async fn the_state_folder_is_made_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder();
    let path = folder.path().join("state/deep/journal.db");
    let (journal, report) = Journal::open(super::JournalSettings::at(&path)).unwrap();
    assert!(report.created && report.took < Duration::from_secs(10));
    journal.commit(append(&["a"])).await.unwrap();
    let mode = |name: &str| {
        std::fs::metadata(path.with_file_name(name))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(
        (mode("../deep"), mode("journal.db"), mode("journal.lock")),
        (0o700, 0o600, 0o600)
    );
    assert_eq!(mode("journal.db-wal"), 0o600);
}

#[tokio::test]
async fn lone_entries_do_not_outgrow_the_room_that_was_made_for_the_log() {
    let folder = folder();
    let journal = open(&folder);
    // Two pages each: twice the room, if nothing was carried over meanwhile.
    for _ in 0..1200 {
        journal.commit(append(&["lone"])).await.unwrap();
    }
    let log = folder.path().join("journal.db-wal").metadata().unwrap().len();
    assert!(log <= room::ROOM_BYTES, "{log} bytes");
    journal.close().await;
}
