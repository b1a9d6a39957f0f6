//! What goes by age and by bytes, and who is told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::super::verify::Walk;
use super::super::{Commit, DeadLetter, Fact, FactBody, Journal, JournalSettings, Offset};
use super::{all, append, folder, open, settings, until};

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
    journal.set_consumers(vec!["fast".to_owned()]);
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

#[tokio::test]
async fn bytes_take_unread_entries_and_each_enabled_consumer_is_told_exactly_what_it_lost() {
    let folder = folder();
    let consumers = vec!["late".to_owned(), "current".to_owned()];
    let settings = JournalSettings {
        retain_bytes: 1 << 20,
        consumers,
        ..settings(&folder)
    };
    let (settings, told) = telling(settings);
    let (journal, _) = Journal::open(settings.clone()).unwrap();
    journal.commit(cursor("late", 11)).await.unwrap();
    journal.commit(cursor("current", 1_000_000)).await.unwrap();
    let body = "x".repeat(1000);
    for _ in 0..40 {
        journal.commit(append(&[&body; 100])).await.unwrap();
    }
    until("the trim has gone below its bound", async || {
        journal.oldest().await.unwrap() > 2000
    })
    .await;
    journal.close().await;

    // What was not told before the minute is over is told at the next start.
    let (journal, _) = Journal::open(settings).unwrap();
    let oldest = journal.oldest().await.unwrap();
    let lost = |told: &[Fact]| -> u64 {
        let count = |fact: &Fact| match fact {
            Fact::Lost { consumer, count, .. } if consumer == "late" => *count,
            other => panic!("unexpected {other:?}"),
        };
        told.iter().map(count).sum()
    };
    until("all is told", async || lost(&told.lock().unwrap()) == oldest - 11).await;
    let first = told.lock().unwrap()[0].clone();
    assert!(matches!(first, Fact::Lost { first: 11, .. }), "{first:?}");
    // Earlier ones were taken by the bound as well, and counted in the last.
    let gap = async || all(&journal).await.iter().any(|entry| entry.body.starts_with(b"Lost"));
    until("the last gap stands in the journal", gap).await;
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
        journal.dead_letters(None).await.unwrap()[0].offset == 8
    })
    .await;
    assert_eq!(journal.dead_letters(None).await.unwrap().len(), 10_000);
    assert_eq!(*told.lock().unwrap(), [Fact::DeadLettersDropped { count: 7 }]);
}
