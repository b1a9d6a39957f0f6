//! A throttle in the graph, over a journal that is killed at every commit.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use trapline_schemas::{Action, Event, Field, Value};
use uuid::Uuid;

use super::double::MemoryStore;
use super::sinks::{Rig, ScriptedSink, Sunk, at, hit, sunk};
use crate::graph::Body;
use crate::graph::transforms::{TransformKind, TransformSpec};
use crate::graph::window::{First, Policy, WindowSpec};

const WINDOW: Duration = Duration::from_secs(60);

pub(super) fn throttle(name: &str, input: &str, limit: u64) -> TransformSpec {
    windowed(name, input, Policy::Throttle { limit })
}

fn windowed(name: &str, input: &str, policy: Policy) -> TransformSpec {
    let spec = WindowSpec {
        by: vec![Field::SourceIp],
        window: WINDOW,
        policy,
    };
    TransformSpec {
        name: name.to_owned(),
        inputs: vec![input.to_owned()],
        kind: TransformKind::Window(spec),
    }
}

fn filter(name: &str, input: &str, when: &str) -> TransformSpec {
    let kind = TransformKind::Filter { when: when.to_owned() };
    TransformSpec {
        name: name.to_owned(),
        inputs: vec![input.to_owned()],
        kind,
    }
}

pub(super) fn behind(name: &'static str, input: &'static [&'static str], sink: &Arc<ScriptedSink>) -> Sunk {
    Sunk {
        inputs: input,
        ..sunk(name, sink)
    }
}

fn append_all(store: &MemoryStore, events: &[Event]) {
    for event in events {
        store.append(event);
    }
}

/// What came, as originals and held-back counts by key.
pub(super) fn split(events: &[Arc<Event>]) -> (Vec<Uuid>, Vec<(String, i64)>) {
    let (told, originals): (Vec<_>, Vec<_>) = events.iter().partition(|event| event.action == Action::HeldBack);
    let count = |event: &Arc<Event>| {
        let key = event.text(Field::TransformKey).unwrap().to_string();
        (key, event.int(Field::FindingHits).unwrap())
    };
    (
        originals.iter().map(|event| event.id).collect(),
        told.into_iter().map(count).collect(),
    )
}

#[tokio::test(start_paused = true)]
async fn sinks_behind_a_throttle_get_the_originals_and_the_exact_count() {
    let store = MemoryStore::new();
    let (a, b, all) = (ScriptedSink::good(), ScriptedSink::good(), ScriptedSink::good());
    let sinks = vec![
        behind("a", &["digest"], &a),
        behind("b", &["digest"], &b),
        sunk("all", &all),
    ];
    let rig = Rig::start_with(&store, vec![throttle("digest", "decoys", 2)], sinks).await;
    let sent: Vec<_> = (0..7).map(|secs| hit(secs, 1)).collect();
    append_all(&store, &sent);
    all.wait_for(7).await;
    a.wait_for(3).await;
    b.wait_for(3).await;
    let expected = (vec![sent[0].id, sent[1].id], vec![("192.0.2.1".to_owned(), 5)]);
    assert_eq!(
        split(&a.got()),
        expected,
        "under their own ids, and the count when the window is over"
    );
    assert_eq!(split(&b.got()), expected, "two sinks share one window");
    let passes = store
        .bodies()
        .iter()
        .filter(|(_, body)| matches!(body, Body::Pass(_)))
        .count();
    assert_eq!(passes, 2);
    assert_eq!(
        a.got()[1].int(Field::JournalSequence),
        Some(2),
        "the original's own number"
    );
    rig.pipeline.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_window_closes_by_the_clock_when_nothing_more_comes() {
    let store = MemoryStore::new();
    let sink = ScriptedSink::good();
    let begun = tokio::time::Instant::now();
    let _rig = Rig::start_with(
        &store,
        vec![throttle("digest", "decoys", 1)],
        vec![behind("a", &["digest"], &sink)],
    )
    .await;
    store.append(&hit(0, 1));
    store.append(&hit(0, 1));
    sink.wait_for(2).await;
    assert_eq!(begun.elapsed().as_secs(), 61, "the end of the window, and the lateness");
    assert_eq!(sink.got()[1].at, at(60));
}

#[tokio::test(start_paused = true)]
async fn a_filter_before_and_a_filter_behind_a_throttle_both_count() {
    let store = MemoryStore::new();
    let (before, behind_it) = (ScriptedSink::good(), ScriptedSink::good());
    let transforms = vec![
        filter("some", "decoys", r#"source.ip != "192.0.2.9""#),
        throttle("few", "some", 2),
        filter("one", "few", r#"source.ip == "192.0.2.1""#),
    ];
    let sinks = vec![behind("a", &["few"], &before), behind("b", &["one"], &behind_it)];
    let _rig = Rig::start_with(&store, transforms, sinks).await;
    for source in [9, 9, 9, 1, 1, 1, 2, 2, 2] {
        store.append(&hit(0, source));
    }
    before.wait_for(6).await;
    let (originals, mut told) = split(&before.got());
    told.sort();
    assert_eq!(originals.len(), 4);
    assert_eq!(told, [("192.0.2.1".to_owned(), 1), ("192.0.2.2".to_owned(), 1)]);
    behind_it.wait_for(3).await;
    assert_eq!(split(&behind_it.got()).1, [("192.0.2.1".to_owned(), 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_throttle_behind_a_throttle_passes_the_original_on() {
    let store = MemoryStore::new();
    let sink = ScriptedSink::good();
    let transforms = vec![throttle("outer", "inner", 1), throttle("inner", "decoys", 2)];
    let _rig = Rig::start_with(&store, transforms, vec![behind("a", &["outer"], &sink)]).await;
    let sent: Vec<_> = (0..4).map(|secs| hit(secs, 1)).collect();
    append_all(&store, &sent);
    sink.wait_for(2).await;
    let (originals, told) = split(&sink.got());
    assert_eq!(originals, [sent[0].id]);
    // The second hit and the inner count are both one event too many in the outer window.
    assert_eq!(told.iter().map(|(_, count)| count).sum::<i64>(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_pass_whose_original_was_trimmed_is_counted() {
    let store = MemoryStore::new();
    let sink = ScriptedSink::good();
    let plan = || {
        (
            vec![throttle("digest", "decoys", 9)],
            vec![behind("a", &["digest"], &sink)],
        )
    };
    let (transforms, _) = plan();
    let rig = Rig::start_with(&store, transforms, vec![]).await;
    append_all(&store, &(0..3).map(|secs| hit(secs, 1)).collect::<Vec<_>>());
    while store.bodies().len() < 6 {
        tokio::task::yield_now().await;
    }
    rig.pipeline.stop().await;
    store.trim(3);
    let (transforms, sinks) = plan();
    let rig = Rig::start_with(&store, transforms, sinks).await;
    sink.wait_for(1).await;
    rig.wait_for_status("a", |status| status.totals.lost == 2 && status.cursor == 7)
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_window_behind_a_window_reports_passes_whose_originals_were_trimmed() {
    let store = MemoryStore::new();
    let inner = || throttle("inner", "decoys", 9);
    let rig = Rig::start_with(&store, vec![inner()], vec![]).await;
    append_all(&store, &(0..3).map(|secs| hit(secs, 1)).collect::<Vec<_>>());
    while store.bodies().len() < 6 {
        tokio::task::yield_now().await;
    }
    rig.pipeline.stop().await;
    store.trim(3);
    // The outer one was there before, and has seen none of it.
    store.kept.lock().unwrap().cursors.insert("window/outer".to_owned(), 4);
    let sink = ScriptedSink::good();
    let transforms = vec![throttle("outer", "inner", 9), inner()];
    let _rig = Rig::start_with(&store, transforms, vec![behind("a", &["outer"], &sink)]).await;
    store.wait_for_loss("window/outer", (4, 5)).await;
    sink.wait_for(1).await;
    assert_eq!(store.losses_of("window/outer"), [(4, 5)]);
}

#[tokio::test(start_paused = true)]
async fn a_window_that_nothing_reaches_does_not_hold_the_age_trim_for_days() {
    let store = MemoryStore::new();
    let _rig = Rig::start_with(&store, vec![throttle("few", "decoys", 9)], vec![]).await;
    // The first takes a state with it, which the second has not.
    for head in 1..=2 {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let next = store.append(&Event::new(Uuid::from_u128(head), at(0), Action::ChainHead)) + 1;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(store.cursor_of("window/few"), Some(next));
    }
}

/// All that the throttle ever let through and told, read from the journal itself.
pub(super) fn account(store: &MemoryStore) -> (Vec<u64>, Vec<Event>) {
    let (mut passes, mut told) = (Vec::new(), Vec::new());
    for (_, body) in store.bodies() {
        match body {
            Body::Pass(pass) => passes.push(pass.of),
            Body::Event(event) if event.text(Field::TransformName).is_some() => told.push(event),
            Body::Event(_) => {}
        }
    }
    (passes, told)
}

/// Six hits for each of ten half windows, appended in handfuls with time for the throttle between them.
async fn play(store: &MemoryStore, from: usize, hit: &impl Fn(i64, u8) -> Event) -> usize {
    for step in from..10 {
        if store.is_killed() {
            return step;
        }
        for n in 0..6u8 {
            store.append(&hit(step as i64 * 30 + i64::from(n), n));
            tokio::time::sleep(Duration::from_secs(u64::from(n % 2))).await;
        }
        tokio::time::sleep(Duration::from_secs(27)).await;
    }
    10
}

/// Plays the hits with a kill at each commit in turn; gives what the journals say afterwards.
pub(super) async fn killed_at_every_commit(
    start: impl AsyncFn(&MemoryStore) -> Rig,
    hit: impl Fn(i64, u8) -> Event,
) -> Vec<(Vec<u64>, Vec<Event>)> {
    let (mut kills, mut accounts) = (0, Vec::new());
    for commits in 1..40 {
        let store = MemoryStore::new();
        // The cursor of the node is settled before anything can be killed.
        start(&store).await.pipeline.stop().await;
        let rig = start(&store).await;
        store.kill_after(commits);
        let step = play(&store, 0, &hit).await;
        tokio::time::sleep(Duration::from_secs(100)).await;
        rig.pipeline.stop().await;
        kills += usize::from(store.is_killed());
        let store = store.reopen();
        let rig = start(&store).await;
        play(&store, step, &hit).await;
        tokio::time::sleep(Duration::from_secs(1000)).await;
        rig.pipeline.stop().await;
        assert_eq!(
            store.kept.lock().unwrap().state.len(),
            1,
            "closed windows leave no state"
        );
        accounts.push(account(&store));
    }
    assert!(
        kills >= 30,
        "only {kills} of the runs were killed: the test has lost its teeth"
    );
    accounts
}

pub(super) fn hits_of(told: &[Event]) -> i64 {
    told.iter().filter_map(|event| event.int(Field::FindingHits)).sum()
}

/// The counts by action of a digest, together.
pub(super) fn by_action(digest: &Event) -> i64 {
    let Some(Value::Texts(actions)) = digest.get(Field::DigestActions) else {
        return 0;
    };
    let counts = actions.iter().filter_map(|action| action.rsplit_once('='));
    counts.map(|(_, count)| count.parse::<i64>().unwrap()).sum()
}

#[tokio::test(start_paused = true)]
async fn counts_are_exact_whichever_commit_the_process_is_killed_at() {
    let policies = [
        Policy::Throttle { limit: 1 },
        Policy::Dedupe,
        Policy::Aggregate { first: First::AtOnce },
        Policy::Aggregate { first: First::Never },
    ];
    for policy in policies {
        let start = async |store: &MemoryStore| {
            Rig::start_with(store, vec![windowed("digest", "decoys", policy)], vec![]).await
        };
        let accounts = killed_at_every_commit(start, |secs, n| hit(secs, n % 3)).await;
        for (at, (passes, told)) in accounts.into_iter().enumerate() {
            let counted = passes.len() as i64 + hits_of(&told);
            assert_eq!(
                counted, 60,
                "{policy:?} killed at commit {at}: each of 60 hits counts once"
            );
            let different: HashSet<_> = passes.iter().collect();
            assert_eq!(different.len(), passes.len(), "no pass comes twice");
            let ids: HashSet<_> = told.iter().map(|event| event.id).collect();
            assert_eq!(ids.len(), told.len(), "no window is told twice");
            let is_digest = |event: &&Event| event.action == Action::Digest;
            for digest in told.iter().filter(is_digest) {
                assert_eq!(
                    by_action(digest),
                    digest.int(Field::FindingHits).unwrap(),
                    "and so does each action"
                );
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn sinks_behind_an_aggregate_get_the_first_at_once_and_the_rest_as_one_digest() {
    let store = MemoryStore::new();
    let (sink, all) = (ScriptedSink::good(), ScriptedSink::good());
    let at_once = Policy::Aggregate { first: First::AtOnce };
    let sinks = vec![behind("a", &["digest"], &sink), sunk("all", &all)];
    let _rig = Rig::start_with(&store, vec![windowed("digest", "decoys", at_once)], sinks).await;
    let sent: Vec<_> = (0..7).map(|secs| hit(secs, 1)).collect();
    append_all(&store, &sent);
    sink.wait_for(2).await;
    let got = sink.got();
    assert_eq!((got[0].id, got[1].action), (sent[0].id, Action::Digest));
    assert_eq!(got[1].int(Field::FindingHits), Some(6));
    assert_eq!(all.got().len(), 7, "the star has no output of transforms");
}

#[tokio::test(start_paused = true)]
async fn a_reload_with_another_window_tells_the_open_one_as_partial() {
    let store = MemoryStore::new();
    let sink = ScriptedSink::good();
    let plan = |secs| {
        let mut transform = throttle("digest", "decoys", 1);
        let spec = WindowSpec {
            by: vec![Field::SourceIp],
            window: Duration::from_secs(secs),
            policy: Policy::Throttle { limit: 1 },
        };
        transform.kind = TransformKind::Window(spec);
        (vec![transform], vec![behind("a", &["digest"], &sink)])
    };
    let (transforms, sinks) = plan(60);
    let rig = Rig::start_with(&store, transforms, sinks).await;
    append_all(&store, &(0..4).map(|secs| hit(secs, 1)).collect::<Vec<_>>());
    sink.wait_for(1).await;
    while account(&store).0.is_empty() || store.cursor_of("window/digest") < Some(5) {
        tokio::task::yield_now().await;
    }
    rig.pipeline.stop().await;
    let (transforms, sinks) = plan(120);
    let _rig = Rig::start_with(&store, transforms, sinks).await;
    sink.wait_for(2).await;
    assert_eq!(split(&sink.got()).1, [("192.0.2.1".to_owned(), 3)]);
    assert_eq!(sink.got()[1].at, at(3), "as far as it went");
}

#[tokio::test(start_paused = true)]
async fn a_window_that_a_reload_removed_tells_what_it_held_back_and_leaves_no_window_open() {
    let store = MemoryStore::new();
    let (sink, other) = (ScriptedSink::good(), ScriptedSink::good());
    let transforms = vec![throttle("digest", "decoys", 1), throttle("digest_b", "decoys", 9)];
    let sinks = vec![behind("a", &["digest"], &sink), behind("b", &["digest_b"], &other)];
    let rig = Rig::start_with(&store, transforms, sinks).await;
    append_all(&store, &(0..4).map(|secs| hit(secs, 1)).collect::<Vec<_>>());
    while account(&store).0.len() < 5 || store.cursor_of("window/digest") < Some(5) {
        tokio::task::yield_now().await;
    }
    rig.pipeline.stop().await;
    let sinks = vec![behind("b", &["digest_b"], &other)];
    let rig = Rig::start_with(&store, vec![throttle("digest_b", "decoys", 9)], sinks).await;
    let held_back = || account(&store).1.into_iter().map(|event| event.int(Field::FindingHits));
    assert_eq!(held_back().collect::<Vec<_>>(), [Some(3)]);
    let rows = |store: &MemoryStore| {
        let kept = store.kept.lock().unwrap();
        kept.state
            .keys()
            .filter(|key| key.starts_with("window/"))
            .cloned()
            .collect::<Vec<_>>()
    };
    let left = rows(&store);
    let (other, own): (Vec<_>, Vec<_>) = left.iter().partition(|key| key.starts_with("window/digest_b"));
    assert_eq!(own, ["window/digest"], "its epoch, so that no id is given twice");
    assert_eq!(other.len(), 2, "the other goes on: {other:?}");
    rig.pipeline.stop().await;
    Rig::start_with(&store, vec![], vec![]).await.pipeline.stop().await;
    assert_eq!(account(&store).1.len(), 1, "told once, and the other held nothing back");
}
