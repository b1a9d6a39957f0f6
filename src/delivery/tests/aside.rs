//! What goes to a sink beside what comes: dead letters once more, and replays.

use std::collections::{HashMap, HashSet};

use trapline_sink::{BatchLimits, Delivery, FaultKind};
use uuid::Uuid;

use super::double::{Disk, MemoryStore};
use super::sinks::{Answer, LIMITS, Rig, ScriptedSink, Sunk, fault, hits, sunk};
use crate::delivery::errands::{Order, Outcome, Progress, encode, find, order_key, progress_key, retry_key};
use crate::delivery::{SinkState, Start, replay_consumer};
use crate::journal::{Commit, Offset};

/// Refuses these offsets for good.
fn picky(refused: &'static [Offset]) -> std::sync::Arc<ScriptedSink> {
    ScriptedSink::new(|_, batch| {
        let bad = batch.iter().any(|parcel| refused.contains(&parcel.offset));
        Answer::Is(match bad {
            true => Delivery::suspect(batch.len(), "400"),
            false => Delivery::all(batch.len()),
        })
    })
}

pub(super) fn order(first: Offset, end: Offset) -> Order {
    Order {
        id: 1,
        first,
        end,
        asked: ("1d".into(), None),
    }
}

/// Leaves word of a replay as a person would.
pub(super) async fn ask_for(store: &MemoryStore, order: &Order) {
    use crate::delivery::store::Store;
    let commit = Commit {
        cursors: vec![(replay_consumer("siem"), order.first)],
        state: vec![(order_key("siem"), Some(encode(order)))],
        ..Commit::default()
    };
    store.commit(commit).await.unwrap();
}

async fn mark(store: &MemoryStore, offsets: &[Offset]) {
    use crate::delivery::store::Store;
    let state = offsets
        .iter()
        .map(|offset| (retry_key("siem", *offset), Some(Vec::new())));
    let commit = Commit {
        state: state.collect(),
        ..Commit::default()
    };
    store.commit(commit).await.unwrap();
}

fn progress(store: &MemoryStore) -> Option<Progress> {
    let kept = store.kept.lock().unwrap();
    let rows: Vec<_> = kept.state.clone().into_iter().collect();
    find(&rows, &progress_key("siem"))
}

fn dead(store: &MemoryStore) -> Vec<Offset> {
    let mut dead: Vec<_> = store.kept.lock().unwrap().dead.iter().map(|dead| dead.offset).collect();
    dead.sort_unstable();
    dead
}

fn marks(store: &MemoryStore) -> usize {
    let kept = store.kept.lock().unwrap();
    kept.state.keys().filter(|key| key.starts_with("retry/")).count()
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    panic!("not so: {what}");
}

pub(super) async fn ended(store: &MemoryStore) -> Progress {
    until("the replay ends", || {
        progress(store).is_some_and(|progress| progress.ended.is_some())
    })
    .await;
    progress(store).unwrap()
}

fn counts(ids: impl IntoIterator<Item = Uuid>) -> HashMap<Uuid, usize> {
    let mut counts = HashMap::new();
    ids.into_iter().for_each(|id| *counts.entry(id).or_default() += 1);
    counts
}

/// A sink that was added today: it has a cursor behind what was recorded before.
async fn added_today(sink: &std::sync::Arc<ScriptedSink>, count: usize) -> (MemoryStore, Rig, Vec<Uuid>) {
    let store = MemoryStore::new();
    let sent = hits(&store, count);
    let added = Sunk {
        start: Start::Now,
        ..sunk("siem", sink)
    };
    let rig = Rig::start(&store, vec![added]).await;
    (store, rig, sent)
}

#[tokio::test(start_paused = true)]
async fn letters_that_are_given_back_are_delivered_or_dead_letters_anew_and_the_others_stay() {
    let store = MemoryStore::new();
    let sent = hits(&store, 12);
    let first = picky(&[2, 3, 4, 5, 6, 7, 9]);
    let rig = Rig::start(&store, vec![sunk("siem", &first)]).await;
    first.wait_for(5).await;
    until("all are kept", || dead(&store).len() == 7).await;
    rig.pipeline.stop().await;
    let second = picky(&[4]);
    let rig = Rig::start(&store, vec![sunk("siem", &second)]).await;
    mark(&store, &[2, 3, 4, 5, 6, 7, 11]).await;
    rig.board.call();
    until("no letter is open", || marks(&store) == 0).await;
    assert_eq!(dead(&store), [4, 9], "one was refused again, one was not given back");
    let expected: HashSet<Uuid> = [2, 3, 5, 6, 7].map(|at: usize| sent[at - 1]).into();
    assert_eq!(second.ids().len(), 5);
    assert_eq!(second.ids().into_iter().collect::<HashSet<_>>(), expected);
    assert!(store.cursor_of("sink/siem") >= Some(13), "it does not go back");
}

#[tokio::test(start_paused = true)]
async fn letters_are_exactly_accounted_for_when_killed_at_any_commit() {
    for commits in 1..=8 {
        let store = MemoryStore::new();
        hits(&store, 40);
        let first = ScriptedSink::new(|_, batch| Answer::Is(Delivery::suspect(batch.len(), "400")));
        let rig = Rig::start(&store, vec![sunk("siem", &first)]).await;
        until("all are kept", || dead(&store).len() == 40).await;
        rig.pipeline.stop().await;
        mark(&store, &(1..=40).collect::<Vec<_>>()).await;
        store.kill_after(commits);
        let (one, two) = (picky(&[5, 30]), picky(&[5, 30]));
        let rig = Rig::start(&store, vec![sunk("siem", &one)]).await;
        rig.wait_for_status("siem", |status| status.state == SinkState::Stopped)
            .await;
        assert!(store.is_killed());
        rig.pipeline.stop().await;
        let store = store.reopen();
        let _rig = Rig::start(&store, vec![sunk("siem", &two)]).await;
        until("no letter is open", || marks(&store) == 0).await;
        assert_eq!(dead(&store), [5, 30]);
        let counts = counts(one.ids().into_iter().chain(two.ids()));
        assert_eq!(counts.len(), 38, "killed at {commits}");
        let doubled = counts.values().filter(|count| **count > 1).count();
        assert!(doubled <= LIMITS.events, "killed at {commits}: {doubled} doubled");
    }
}

#[tokio::test(start_paused = true)]
async fn a_replay_sends_what_was_recorded_before_the_sink_was_added_once_each_and_in_order() {
    let sink = ScriptedSink::good();
    let (store, rig, sent) = added_today(&sink, 50).await;
    ask_for(&store, &order(11, 41)).await;
    rig.board.call();
    let progress = ended(&store).await;
    assert_eq!(
        (progress.sent, progress.refused, progress.missing, progress.next),
        (30, 0, 0, 41)
    );
    assert_eq!(progress.ended.unwrap().0, Outcome::Done);
    assert_eq!(sink.ids(), sent[10..40]);
    assert_eq!(store.cursor_of("replay/siem"), None, "it holds the journal no longer");
    assert_eq!(store.cursor_of("sink/siem"), Some(51));
    let live = hits(&store, 3);
    sink.wait_for(33).await;
    assert_eq!(sink.ids()[30..], live);
}

#[tokio::test(start_paused = true)]
async fn a_kill_at_any_commit_of_a_replay_repeats_at_most_one_batch_and_loses_nothing() {
    for commits in 1..=9 {
        let (one, two) = (ScriptedSink::good(), ScriptedSink::good());
        let (store, rig, sent) = added_today(&one, 60).await;
        ask_for(&store, &order(1, 61)).await;
        store.kill_after(commits);
        rig.board.call();
        rig.wait_for_status("siem", |status| status.state == SinkState::Stopped)
            .await;
        rig.pipeline.stop().await;
        let store = store.reopen();
        let _rig = Rig::start(&store, vec![sunk("siem", &two)]).await;
        ended(&store).await;
        let counts = counts(one.ids().into_iter().chain(two.ids()));
        assert!(
            sent.iter().all(|id| counts.contains_key(id)),
            "killed at {commits}: something is lost"
        );
        let doubled = counts.values().filter(|count| **count > 1).count();
        assert!(doubled <= LIMITS.events, "killed at {commits}: {doubled} doubled");
    }
}

#[tokio::test(start_paused = true)]
async fn a_replay_goes_on_after_an_orderly_end_and_repeats_nothing() {
    for in_flight in [1, 4] {
        let limits = BatchLimits { in_flight, ..LIMITS };
        let one = ScriptedSink::with(limits, Some(2), |_, batch| Answer::Is(Delivery::all(batch.len())));
        let (store, rig, sent) = added_today(&one, 60).await;
        ask_for(&store, &order(1, 61)).await;
        rig.board.call();
        one.wait_for(16).await;
        one.open_gate(1);
        rig.pipeline.stop().await;
        let two = ScriptedSink::good();
        let _rig = Rig::start(&store, vec![sunk("siem", &two)]).await;
        ended(&store).await;
        let ids: Vec<_> = one.ids().into_iter().chain(two.ids()).collect();
        let counts = counts(ids);
        assert_eq!(counts.len(), sent.len());
        // Those under way when the time was over.
        let doubled = counts.values().filter(|count| **count > 1).count();
        assert_eq!(doubled, 0, "{in_flight} under way");
    }
}

#[tokio::test(start_paused = true)]
async fn live_events_go_before_a_replay_and_a_flood_of_them_does_not_stop_it() {
    let sink = ScriptedSink::with(LIMITS, Some(1), |_, batch| Answer::Is(Delivery::all(batch.len())));
    let (store, rig, _) = added_today(&sink, 400).await;
    ask_for(&store, &order(1, 401)).await;
    rig.board.call();
    sink.wait_for(8).await;
    sink.wait_for_calls(2).await;
    let live = hits(&store, 200);
    rig.wait_for_status("siem", |status| status.taken >= 16).await;
    sink.open_gate(30);
    sink.wait_for_calls(32).await;
    let batches = sink.batches();
    let is_live = |batch: &Vec<u64>| batch[0] > 400;
    let replayed: Vec<_> = (2..31).filter(|at| !is_live(&batches[*at])).collect();
    assert!(is_live(&batches[2]), "the first batch after them is live: {batches:?}");
    assert!(!replayed.is_empty(), "the replay goes on beside them: {batches:?}");
    sink.open_gate(1_000);
    ended(&store).await;
    sink.wait_for(600).await;
    let counts = counts(sink.ids());
    assert!(counts.len() == 600 && counts.values().all(|count| *count == 1));
    assert!(live.iter().all(|id| counts.contains_key(id)));
}

#[tokio::test(start_paused = true)]
async fn a_replay_that_is_cancelled_sends_no_more_and_holds_nothing() {
    let sink = ScriptedSink::with(LIMITS, Some(1), |_, batch| Answer::Is(Delivery::all(batch.len())));
    let (store, rig, _) = added_today(&sink, 100).await;
    ask_for(&store, &order(1, 101)).await;
    rig.board.call();
    sink.wait_for(8).await;
    sink.wait_for_calls(2).await;
    use crate::delivery::store::Store;
    let commit = Commit {
        state: vec![(order_key("siem"), None)],
        cursors_gone: vec![replay_consumer("siem")],
        ..Commit::default()
    };
    store.commit(commit).await.unwrap();
    rig.board.call();
    sink.open_gate(1_000);
    let progress = ended(&store).await;
    assert_eq!((progress.ended.unwrap().0, progress.sent), (Outcome::Cancelled, 16));
    assert_eq!(store.cursor_of("replay/siem"), None);
    assert_eq!(sink.ids().len(), 16);
}

#[tokio::test(start_paused = true)]
async fn a_replay_waits_for_a_sink_that_is_down_and_for_a_disk_that_fails() {
    let sink = ScriptedSink::new(|call, batch| {
        Answer::Is(match call <= 20 {
            true => Delivery::retry(batch.len(), fault(FaultKind::Unreachable)),
            false => Delivery::all(batch.len()),
        })
    });
    let (store, rig, sent) = added_today(&sink, 30).await;
    store.set_disk(Disk::Fails);
    ask_without_waiting(&store, &order(1, 31));
    rig.board.call();
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    assert!(sink.calls().is_empty(), "it has time");
    store.set_disk(Disk::Works);
    ended(&store).await;
    assert_eq!(sink.ids(), sent);
}

fn ask_without_waiting(store: &MemoryStore, order: &Order) {
    let mut kept = store.kept.lock().unwrap();
    kept.state.insert(order_key("siem"), encode(order));
}

#[tokio::test(start_paused = true)]
async fn what_a_replay_finds_gone_is_counted_and_reported_and_a_letter_that_it_delivers_is_done() {
    let first = picky(&[20]);
    let store = MemoryStore::new();
    hits(&store, 30);
    let rig = Rig::start(&store, vec![sunk("siem", &first)]).await;
    first.wait_for(29).await;
    until("it is kept", || dead(&store) == [20]).await;
    rig.pipeline.stop().await;
    store.lose(5, 8, crate::journal::Skipped::default());
    let second = picky(&[21]);
    let rig = Rig::start(&store, vec![sunk("siem", &second)]).await;
    ask_for(&store, &order(1, 31)).await;
    rig.board.call();
    let progress = ended(&store).await;
    assert_eq!((progress.sent, progress.refused, progress.missing), (25, 1, 4));
    assert_eq!(store.losses_of("replay/siem"), [(5, 8)]);
    assert_eq!(dead(&store), [21]);
}
