//! What a sink remembers, over kills, reloads, disks that fail, and batches that were broken off.

use std::time::Duration;

use trapline_sink::{Delivery, FaultKind, Memo};

use super::double::{Disk, MemoryStore};
use super::sinks::{Answer, LIMITS, Rig, ScriptedSink, fault, hits, sunk};
use crate::delivery::SinkState;

/// The keys that the journal has of the sink, without their prefix.
fn kept(store: &MemoryStore) -> Vec<String> {
    let kept = store.kept.lock().unwrap();
    let keys = kept.state.keys().filter_map(|key| key.strip_prefix("memory/desk/"));
    keys.map(str::to_owned).collect()
}

fn offsets(range: std::ops::Range<u64>) -> Vec<String> {
    range.map(|offset| format!("{offset:04}")).collect()
}

#[tokio::test(start_paused = true)]
async fn after_a_kill_at_any_commit_a_sink_remembers_exactly_what_its_cursor_is_past() {
    for commits in 1..=8 {
        let store = MemoryStore::new();
        let first = ScriptedSink::good();
        first.remember_each();
        Rig::start(&store, vec![sunk("desk", &first)])
            .await
            .pipeline
            .stop()
            .await;
        hits(&store, 60);
        store.kill_after(commits);
        let rig = Rig::start(&store, vec![sunk("desk", &first)]).await;
        rig.wait_for_status("desk", |status| status.state == SinkState::Stopped)
            .await;
        assert!(store.is_killed());
        rig.pipeline.stop().await;
        let cursor = store.cursor_of("sink/desk").unwrap();
        let (store, second) = (store.reopen(), ScriptedSink::good());
        let _rig = Rig::start(&store, vec![sunk("desk", &second)]).await;
        second.wait_for(1).await;
        assert_eq!(second.recalled(), offsets(1..cursor), "killed at {commits}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_forgotten_is_gone_and_another_sink_is_told_nothing_of_it() {
    let store = MemoryStore::new();
    let (desk, other) = (ScriptedSink::good(), ScriptedSink::good());
    desk.remember_each();
    desk.keep(Memo::keep("a", b"1").unwrap());
    hits(&store, 3);
    let rig = Rig::start(&store, vec![sunk("desk", &desk), sunk("desks", &other)]).await;
    desk.wait_for(3).await;
    desk.keep(Memo::forget("0002"));
    hits(&store, 1);
    desk.wait_for(4).await;
    rig.pipeline.stop().await;
    assert_eq!(kept(&store), ["0001", "0003", "0004", "a"]);
    let again = ScriptedSink::good();
    let rig = Rig::start(&store, vec![sunk("desk", &again), sunk("desks", &other)]).await;
    hits(&store, 1);
    again.wait_for(1).await;
    assert_eq!(again.recalled(), ["0001", "0003", "0004", "a"]);
    assert!(other.recalled().is_empty());
    rig.pipeline.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_batch_did_before_it_was_broken_off_is_remembered() {
    let store = MemoryStore::new();
    let sink = ScriptedSink::new(|_, _| Answer::Never);
    sink.remember_each();
    hits(&store, 2);
    let rig = Rig::start(&store, vec![sunk("desk", &sink)]).await;
    sink.wait_for_calls(1).await;
    rig.pipeline.stop().await;
    assert_eq!(store.cursor_of("sink/desk"), Some(1));
    assert_eq!(kept(&store).len(), sink.batches()[0].len());
}

#[tokio::test(start_paused = true)]
async fn what_was_learned_from_a_batch_that_failed_is_kept_without_waiting_for_the_next_try() {
    let store = MemoryStore::new();
    let sink = ScriptedSink::new(|_, batch| Answer::Is(Delivery::retry(batch.len(), fault(FaultKind::Server))));
    sink.remember_each();
    hits(&store, 1);
    let _rig = Rig::start(&store, vec![sunk("desk", &sink)]).await;
    sink.wait_for_calls(1).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!((kept(&store), sink.calls().len()), (offsets(1..2), 1));
}

#[tokio::test(start_paused = true)]
async fn what_was_learned_while_the_disk_failed_is_kept_when_it_is_back_though_the_cursor_stands_still() {
    let store = MemoryStore::new();
    let sink = ScriptedSink::new(|_, batch| {
        Answer::Is(Delivery {
            retry_after: Some(Duration::from_secs(3_600)),
            ..Delivery::retry(batch.len(), fault(FaultKind::Server))
        })
    });
    sink.remember_each();
    store.set_disk(Disk::Fails);
    hits(&store, 1);
    let _rig = Rig::start(&store, vec![sunk("desk", &sink)]).await;
    sink.wait_for_calls(1).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(kept(&store), offsets(1..1));
    store.set_disk(Disk::Works);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!((kept(&store), sink.calls().len()), (offsets(1..2), 1));
}

#[tokio::test(start_paused = true)]
async fn while_the_disk_fails_a_bounded_number_of_rows_waits_in_memory_and_all_are_kept_when_it_is_back() {
    let store = MemoryStore::new();
    let sink = ScriptedSink::good();
    sink.remember_each();
    hits(&store, 1);
    let rig = Rig::start(&store, vec![sunk("desk", &sink)]).await;
    rig.wait_for_status("desk", |status| status.cursor == 2).await;
    store.set_disk(Disk::Fails);
    hits(&store, 600);
    sink.wait_for(200).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    let waits = sink.got().len();
    assert!((256..256 + 2 * LIMITS.events).contains(&waits), "{waits}");
    assert_eq!(kept(&store), offsets(1..2));
    store.set_disk(Disk::Works);
    sink.wait_for(601).await;
    rig.pipeline.stop().await;
    assert_eq!(kept(&store), offsets(1..602));
}

#[tokio::test(start_paused = true)]
async fn a_row_is_gone_thirty_days_after_it_was_written() {
    let store = MemoryStore::new();
    let sink = ScriptedSink::good();
    sink.keep(Memo::keep("old", b"").unwrap());
    hits(&store, 1);
    let rig = Rig::start(&store, vec![sunk("desk", &sink)]).await;
    sink.wait_for(1).await;
    tokio::time::sleep(Duration::from_secs(29 * 86_400)).await;
    sink.keep(Memo::keep("young", b"").unwrap());
    hits(&store, 1);
    sink.wait_for(2).await;
    tokio::time::sleep(Duration::from_secs(86_400)).await;
    assert_eq!(kept(&store), ["old", "young"]);
    sink.keep(Memo::keep("new", b"").unwrap());
    hits(&store, 1);
    sink.wait_for(3).await;
    rig.pipeline.stop().await;
    assert_eq!(kept(&store), ["new", "young"]);
}
