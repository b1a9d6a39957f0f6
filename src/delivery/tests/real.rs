//! Over the real journal, with the real clock.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tempfile::TempDir;
use trapline_schemas::{Event, Field, codec};
use trapline_sink::Delivery;
use uuid::Uuid;

use super::notices::read_by_people;
use super::sinks::{Answer, LIMITS, ScriptedSink, Sunk, hit, plan, sunk};
use crate::delivery::{Board, Clock, Parts, Pipeline, Recorder, Start, sink_consumer, window_consumer};
use crate::journal::tests::disk::Disk;
use crate::journal::{Commit, HealthLevel, Journal, JournalSettings};

struct Unheard;

#[async_trait]
impl Recorder for Unheard {
    async fn record(&self, _event: Event) {}
}

fn open(folder: &TempDir) -> Journal {
    Journal::open(JournalSettings::at(folder.path().join("journal.db")))
        .unwrap()
        .0
}

async fn start(journal: &Journal, sinks: Vec<Sunk>) -> Pipeline {
    let parts = Parts {
        store: Arc::new(journal.clone()),
        recorder: Arc::new(Unheard),
        clock: Clock::system(),
        board: Board::new(),
        fresh: Arc::default(),
    };
    Pipeline::start(plan(Vec::new(), sinks), parts, Duration::from_secs(5))
        .await
        .unwrap()
}

async fn append(journal: &Journal, count: usize) -> Vec<Uuid> {
    let events: Vec<_> = (0..count).map(|_| hit(0, 1)).collect();
    let append = events.iter().map(|event| codec::encode(event).into()).collect();
    journal
        .commit(Commit {
            append,
            ..Commit::default()
        })
        .await
        .unwrap();
    events.iter().map(|event| event.id).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_journal_is_delivered_in_order_and_a_restart_goes_on_at_the_cursor() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    let mut sent = append(&journal, 3000).await;
    let (old, new) = (ScriptedSink::good(), ScriptedSink::good());
    let from_now = Sunk {
        start: Start::Now,
        ..sunk("new", &new)
    };
    let pipeline = start(&journal, vec![sunk("old", &old), from_now]).await;
    let later = append(&journal, 1).await;
    new.wait_for(1).await;
    old.wait_for(3001).await;
    sent.extend(&later);
    assert_eq!(old.ids(), sent);
    assert_eq!(new.ids(), later);
    pipeline.stop().await;
    assert_eq!(journal.cursor(&sink_consumer("old")).await.unwrap(), Some(3002));
    journal.close().await;

    let journal = open(&folder);
    let again = ScriptedSink::good();
    let pipeline = start(&journal, vec![sunk("old", &again)]).await;
    let last = append(&journal, 10).await;
    again.wait_for(10).await;
    assert_eq!(again.ids(), last);
    pipeline.stop().await;
    journal.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_is_kept_in_the_journal_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    let sent = append(&journal, 40).await;
    let sink = ScriptedSink::new(|_, batch| match batch.iter().any(|parcel| parcel.offset == 17) {
        true => Answer::Is(Delivery::suspect(batch.len(), "400 bad field")),
        false => Answer::Is(Delivery::all(batch.len())),
    });
    let pipeline = start(&journal, vec![sunk("siem", &sink)]).await;
    sink.wait_for(39).await;
    pipeline.stop().await;
    let letters = journal.dead_letters(Some("siem"), None).await.unwrap();
    let letters: Vec<_> = letters.into_iter().map(|kept| kept.letter).collect();
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].offset, letters[0].reason.as_str()), (17, "400 bad field"));
    assert_eq!(codec::decode(&letters[0].body).unwrap().id, sent[16]);
    assert_eq!(journal.cursor(&sink_consumer("siem")).await.unwrap(), Some(41));
    journal.close().await;
}

async fn is_at(journal: &Journal, level: HealthLevel) {
    journal.health().wait_for(|health| health.level == level).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_a_backlog_is_delivered_once_and_the_cursor_saved_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let test =
        "delivery::tests::real::on_a_full_disk_a_backlog_is_delivered_once_and_the_cursor_saved_when_there_is_room";
    let Some(disk) = Disk::mount(folder.path(), test) else {
        return;
    };
    let journal = open(&folder);
    let mut sent = append(&journal, 500).await;
    journal.close().await;
    // Opened again, so that nothing of the backlog is in memory.
    let journal = open(&folder);
    disk.others_take(3 << 10);
    let late = hit(0, 2);
    let commit = Commit {
        append: vec![codec::encode(&late).into()],
        ..Commit::default()
    };
    journal.enqueue(commit).await.unwrap();
    is_at(&journal, HealthLevel::Failing).await;

    let sink = ScriptedSink::good();
    let pipeline = start(&journal, vec![sunk("siem", &sink)]).await;
    sink.wait_for(500).await;
    assert_eq!(sink.batches().len(), 500_usize.div_ceil(LIMITS.events));
    assert_eq!(journal.health().borrow().level, HealthLevel::Failing);
    assert_eq!(journal.cursor(&sink_consumer("siem")).await.unwrap(), None);

    disk.others_take(0);
    is_at(&journal, HealthLevel::Ok).await;
    let saved = async {
        while journal.cursor(&sink_consumer("siem")).await.unwrap() != Some(502) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), saved)
        .await
        .expect("saved in time");
    sent.push(late.id);
    assert_eq!(sink.ids(), sent, "in order, and nothing twice");
    pipeline.stop().await;
    journal.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_window_before_a_sink_of_people_is_kept_and_goes_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    append(&journal, 3).await;
    let (mail, again) = (ScriptedSink::good(), ScriptedSink::good());
    let pipeline = start(&journal, vec![read_by_people("mail", &["decoys"], &mail)]).await;
    // Its window is long over.
    mail.wait_for(1).await;
    assert_eq!(mail.got()[0].int(Field::FindingHits), Some(3));
    pipeline.stop().await;
    journal.close().await;

    let journal = open(&folder);
    let rows = journal.states("notices/mail").await.unwrap();
    assert_eq!(rows.len(), 1, "closed windows leave nothing behind");
    let cursor = journal.cursor(&window_consumer("notices/mail")).await.unwrap();
    assert!(cursor.is_some_and(|cursor| cursor >= 4), "{cursor:?}");
    let pipeline = start(&journal, vec![read_by_people("mail", &["decoys"], &again)]).await;
    let mut proof = hit(0, 1);
    proof.set(Field::TouchLevel, "proof");
    let append = vec![codec::encode(&proof).into()];
    let commit = Commit {
        append,
        ..Commit::default()
    };
    journal.commit(commit).await.unwrap();
    again.wait_for(1).await;
    assert_eq!(again.ids(), [proof.id], "the digest is not told again");
    pipeline.stop().await;
}
