//! What goes by age and by bytes, and who is told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::super::verify::Walk;
use super::super::{Cause, Commit, DeadLetter, Fact, FactBody, Journal, JournalSettings, Loss, Offset};
use super::{all, append, folder, letters, open, settings, until};

/// Settings whose facts are remembered and appended as text.
fn telling(settings: JournalSettings) -> (JournalSettings, Arc<Mutex<Vec<Fact>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let remember = told.clone();
    let facts = FactBody::new(move |fact| {
        remember.lock().unwrap().push(fact.clone());
        Some(format!("{fact:?}").into())
    });
    (JournalSettings { facts, ..settings }, told)
}

fn cursor(consumer: &str, next: Offset) -> Commit {
    Commit {
        cursors: vec![(consumer.to_owned(), next)],
        ..Commit::default()
    }
}

#[tokio::test]
async fn age_takes_what_every_enabled_consumer_has_read_and_nothing_else() {
    let folder = folder();
    let consumers = vec!["slow".to_owned(), "fast".to_owned()];
    let settings = JournalSettings {
        retain: Duration::from_micros(1),
        consumers,
        ..settings(&folder)
    };
    let (settings, told) = telling(settings);
    let (journal, _) = Journal::open(settings).unwrap();
    journal.commit(append(&["entry"; 100])).await.unwrap();
    journal.commit(cursor("fast", 101)).await.unwrap();
    journal.commit(cursor("gone", 5)).await.unwrap();
    journal.commit(append(&["entry"; 2000])).await.unwrap();
    assert_eq!(
        journal.oldest().await.unwrap(),
        1,
        "a consumer without a cursor holds everything"
    );

    journal.commit(cursor("slow", 41)).await.unwrap();
    until("entries that both have read are gone", async || {
        journal.oldest().await.unwrap() == 41
    })
    .await;
    journal.set_consumers(&["fast".to_owned()], &[], &[]);
    until("a disabled consumer holds nothing", async || {
        journal.oldest().await.unwrap() == 101
    })
    .await;
    assert_eq!(
        journal.verify().await.unwrap().fault,
        None,
        "the anchor moved with the trim"
    );
    assert!(told.lock().unwrap().is_empty(), "nobody lost anything");
}

fn loss(consumer: &str, next: Offset, first: Offset, last: Offset) -> Commit {
    let loss = Loss {
        consumer: consumer.to_owned(),
        first,
        last,
        cause: Cause::Gone,
    };
    Commit {
        losses: vec![loss],
        ..cursor(consumer, next)
    }
}

/// How many entries `consumer` was told to miss.
fn lost(told: &Mutex<Vec<Fact>>, consumer: &str) -> u64 {
    let count = |fact: &Fact| match fact {
        Fact::Lost {
            consumer: who, count, ..
        } if who == consumer => *count,
        _ => 0,
    };
    told.lock().unwrap().iter().map(count).sum()
}

#[tokio::test]
async fn what_consumers_report_as_lost_is_told_to_each_exactly_once_also_over_a_restart() {
    let folder = folder();
    let (settings, told) = telling(settings(&folder));
    let (journal, _) = Journal::open(settings.clone()).unwrap();
    journal.commit(append(&["entry"; 900])).await.unwrap();
    journal.commit(loss("late", 11, 101, 300)).await.unwrap();
    until("the first is told at once", async || lost(&told, "late") == 200).await;
    journal.commit(loss("late", 11, 301, 500)).await.unwrap();
    journal.commit(loss("other", 1, 1, 500)).await.unwrap();
    until("others are told for themselves", async || lost(&told, "other") == 500).await;
    journal.close().await;

    // What was not told before the minute is over is told at the next start; the consumer goes on from its cursor, and
    // now misses what it had in memory as well.
    let (journal, _) = Journal::open(settings.clone()).unwrap();
    until("the second is told", async || lost(&told, "late") == 400).await;
    journal.commit(loss("late", 11, 11, 600)).await.unwrap();
    journal.close().await;
    let (journal, _) = Journal::open(settings).unwrap();
    until("all is told, and nothing twice", async || lost(&told, "late") == 590).await;
    let gap = async || all(&journal).await.iter().any(|entry| entry.body.starts_with(b"Lost"));
    until("the gap stands in the journal", gap).await;
    let sum = |fact: &Fact| matches!(fact, Fact::Lost { consumer, count, .. } if consumer == "late" && *count == 190);
    let noted = async || journal.told().iter().any(|told| sum(&told.fact));
    until("the sum of this run is noted", noted).await;
}

#[tokio::test]
async fn what_no_trim_took_is_told_by_its_own_cause_and_once() {
    let folder = folder();
    let (settings, told) = telling(settings(&folder));
    let (journal, _) = Journal::open(settings.clone()).unwrap();
    journal.commit(append(&["entry"; 20])).await.unwrap();
    let unreadable = Loss {
        consumer: "sink".to_owned(),
        first: 9,
        last: 9,
        cause: Cause::Unreadable,
    };
    for _ in 0..2 {
        let mut commit = loss("sink", 1, 5, 7);
        commit.losses.push(unreadable.clone());
        journal.commit(commit).await.unwrap();
    }
    journal.close().await;
    let (journal, _) = Journal::open(settings).unwrap();
    journal.close().await;
    let told = told.lock().unwrap();
    let mut causes: Vec<_> = told
        .iter()
        .map(|fact| match fact {
            Fact::Lost {
                consumer, count, cause, ..
            } => (consumer.as_str(), *count, *cause),
            other => panic!("{other}"),
        })
        .collect();
    causes.sort_by_key(|(_, count, _)| *count);
    assert_eq!(causes, [("sink", 1, Cause::Unreadable), ("sink", 3, Cause::Gone)]);
}

#[tokio::test]
async fn a_loss_whose_commit_was_kept_without_the_consumer_knowing_counts_once() {
    let folder = folder();
    let (settings, told) = telling(settings(&folder));
    let (journal, _) = Journal::open(settings.clone()).unwrap();
    journal.commit(append(&["entry"; 20])).await.unwrap();
    // The disk began to fail under the first, which was kept all the same.
    for next in [11, 13] {
        journal.commit(loss("sink", next, 1, 10)).await.unwrap();
    }
    journal.close().await;
    let (journal, _) = Journal::open(settings).unwrap();
    journal.close().await;
    assert_eq!(lost(&told, "sink"), 10);
}

#[tokio::test]
async fn what_a_salvage_skipped_is_no_loss_of_a_consumer() {
    let folder = folder();
    let (settings, told) = telling(settings(&folder));
    let (journal, _) = Journal::open(settings).unwrap();
    journal.commit(append(&["entry"; 9])).await.unwrap();
    let raw = rusqlite::Connection::open(folder.path().join("journal.db")).unwrap();
    raw.execute("INSERT INTO breaks (offset, at) VALUES (8, 0)", [])
        .unwrap();
    journal.commit(loss("sink", 1, 5, 7)).await.unwrap();
    journal.commit(loss("sink", 1, 2, 3)).await.unwrap();
    until("the other is told", async || lost(&told, "sink") == 2).await;
}

#[tokio::test]
async fn bytes_take_unread_entries_down_to_their_bound_and_not_much_below() {
    let folder = folder();
    let settings = JournalSettings {
        retain_bytes: 2 << 20,
        consumers: vec!["late".to_owned()],
        ..settings(&folder)
    };
    let (journal, _) = Journal::open(settings).unwrap();
    journal.commit(cursor("late", 11)).await.unwrap();
    let body = "x".repeat(1000);
    for _ in 0..40 {
        journal.commit(append(&[&body; 100])).await.unwrap();
    }
    // 4000 of about 1,070 bytes, seven to a page: about 1,790 fit.
    let kept = async || 4001 - journal.oldest().await.unwrap();
    until("the trim is at its bound", async || kept().await < 1900).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let kept = kept().await;
    assert!(kept > 1600, "only {kept} are left");
    assert_eq!(journal.verify().await.unwrap().fault, None);
}

#[tokio::test]
async fn offsets_go_on_after_everything_was_trimmed() {
    let folder = folder();
    let settings = JournalSettings {
        retain: Duration::from_micros(1),
        ..settings(&folder)
    };
    let (journal, _) = Journal::open(settings.clone()).unwrap();
    journal.commit(append(&["entry"; 10])).await.unwrap();
    until("all is gone", async || journal.oldest().await.unwrap() == 11).await;
    assert_eq!(journal.verify().await.unwrap().fault, None);
    let hash = journal.head_hash();
    journal.close().await;
    let (journal, report) = Journal::open(settings).unwrap();
    assert_eq!((report.oldest, report.head, journal.head_hash()), (11, 11, hash));
    assert_eq!(journal.commit(append(&["next"])).await.unwrap(), 11);
    assert_eq!(journal.verify().await.unwrap().fault, None);
}

/// The trim takes all that a walk was about to read, between two of its steps.
#[tokio::test]
async fn a_walk_that_the_trim_overtakes_finds_nothing_missing() {
    let folder = folder();
    let journal = open(&folder);
    journal.commit(append(&["entry"; 10])).await.unwrap();
    let (_, hash) = journal.head_hash();
    journal.close().await;
    let conn = rusqlite::Connection::open(folder.path().join("journal.db")).unwrap();
    let walk = Walk::begin(&conn).unwrap();
    conn.execute("DELETE FROM entries", []).unwrap();
    conn.execute("UPDATE anchor SET offset = 11, hash = ?1", [hash.as_slice()])
        .unwrap();
    let again = walk
        .step(&conn)
        .unwrap()
        .expect_err("the walk begins again at the anchor");
    let verified = again.step(&conn).unwrap().expect("the end is reached");
    assert_eq!((verified.fault, verified.entries, verified.next), (None, 0, 11));
}

#[tokio::test]
async fn dead_letters_beyond_their_bound_go_oldest_first_and_are_counted() {
    let folder = folder();
    let (settings, told) = telling(settings(&folder));
    let (journal, _) = Journal::open(settings).unwrap();
    let letter = |offset| DeadLetter {
        sink: "siem".into(),
        offset,
        reason: "400".into(),
        body: "x".into(),
    };
    let dead_letters = (1..=10_007).map(letter).collect();
    journal
        .commit(Commit {
            dead_letters,
            ..Commit::default()
        })
        .await
        .unwrap();
    until("the oldest are gone", async || {
        letters(&journal, None).await[0].offset == 8
    })
    .await;
    assert_eq!(letters(&journal, None).await.len(), 10_000);
    assert_eq!(*told.lock().unwrap(), [Fact::DeadLettersDropped { count: 7 }]);
}
