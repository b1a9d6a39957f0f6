//! Sinks that follow incidents, told of their end.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use trapline_schemas::{Action, Event, Field, Timestamp, Value, ids};
use uuid::Uuid;

use super::double::MemoryStore;
use super::notices::read_by_people;
use super::shapes::redact;
use super::sinks::{Rig, ScriptedSink, Sunk, at, hit, sunk};
use super::windows::account;
use crate::delivery::{Board, Clock};

/// Longer than a window of notices, which has 60 s.
const QUIET: Duration = Duration::from_secs(100);

fn touch(secs: i64, source: u8, level: &str) -> Event {
    let mut event = hit(secs, source);
    event.set(Field::IncidentId, Uuid::from_u128(u128::from(source)));
    event.set(Field::TouchLevel, level);
    event
}

fn following(sink: Sunk) -> Sunk {
    Sunk {
        follows: Some(QUIET),
        ..sink
    }
}

fn pager(sink: &Arc<ScriptedSink>) -> Sunk {
    following(read_by_people("pager", &["decoys"], sink))
}

fn closings(events: &[Arc<Event>]) -> Vec<Arc<Event>> {
    let is_closing = |event: &&Arc<Event>| event.action == Action::IncidentClosed;
    events.iter().filter(is_closing).cloned().collect()
}

#[tokio::test(start_paused = true)]
async fn who_follows_is_told_of_the_end_by_the_clock_alone_and_nobody_else_is() {
    let store = MemoryStore::new();
    let sinks = [(); 3].map(|()| ScriptedSink::good());
    let [pages, mails, lines] = &sinks;
    let everything = |sink| Sunk {
        inputs: &["*", "health"],
        ..sink
    };
    let begun = tokio::time::Instant::now();
    let _rig = Rig::start_with(
        &store,
        vec![],
        vec![
            pager(pages),
            everything(read_by_people("mail", &["*"], mails)),
            everything(sunk("siem", lines)),
        ],
    )
    .await;
    store.append(&touch(0, 1, "contact"));
    store.append(&touch(1, 1, "proof"));
    store.append(&touch(2, 1, "proof"));
    // The proof at once, the two others as a digest, the end.
    pages.wait_for(3).await;
    assert_eq!(begun.elapsed().as_secs(), 102, "nobody touches anything any more");
    let closed = &closings(&pages.got())[0];
    assert_eq!((closed.at, closed.int(Field::FindingHits)), (at(102), Some(3)));
    assert_eq!(closed.get(Field::EventStart), Some(&Value::Time(at(0))));
    assert_eq!(closed.uuid(Field::IncidentId), Some(Uuid::from_u128(1)));
    tokio::time::sleep(Duration::from_secs(1000)).await;
    assert_eq!(pages.got().len(), 3, "once");
    for other in [mails, lines] {
        assert!(closings(&other.got()).is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn of_an_incident_that_stayed_below_the_sinks_inputs_or_in_the_crowd_no_end_is_told() {
    let store = MemoryStore::new();
    let pages = ScriptedSink::good();
    let health = Sunk {
        inputs: &["health"],
        ..pager(&pages)
    };
    let _rig = Rig::start_with(&store, vec![], vec![health]).await;
    store.append(&touch(0, 1, "proof"));
    tokio::time::sleep(Duration::from_secs(1000)).await;
    assert!(pages.got().is_empty());
    let (store, pages) = (MemoryStore::new(), ScriptedSink::good());
    let _rig = Rig::start_with(&store, vec![], vec![pager(&pages)]).await;
    for source in 0..40 {
        store.append(&touch(0, source, "contact"));
    }
    tokio::time::sleep(Duration::from_secs(1000)).await;
    let got = pages.got();
    let told: HashSet<_> = got.iter().filter_map(|event| event.uuid(Field::IncidentId)).collect();
    assert_eq!(
        (told.len(), closings(&got).len()),
        (2, 2),
        "of forty two are told one by one"
    );
}

#[tokio::test(start_paused = true)]
async fn a_sink_of_machines_follows_what_it_takes_and_two_sinks_each_their_own() {
    let store = MemoryStore::new();
    let (cases, pages) = (ScriptedSink::good(), ScriptedSink::good());
    let sinks = vec![following(sunk("cases", &cases)), pager(&pages)];
    let _rig = Rig::start_with(&store, vec![], sinks).await;
    store.append(&touch(0, 1, "contact"));
    store.append(&touch(0, 2, "proof"));
    cases.wait_for(4).await;
    pages.wait_for(4).await;
    let ends = |sink: &ScriptedSink| closings(&sink.got());
    assert_eq!((ends(&cases).len(), ends(&pages).len()), (2, 2));
    for end in ends(&cases) {
        assert_eq!(end.text(Field::TransformName).unwrap(), "follow/cases");
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_says_no_more_of_the_source_than_the_sink_was_told() {
    let store = MemoryStore::new();
    let cases = ScriptedSink::good();
    let hidden = Sunk {
        inputs: &["hide"],
        ..following(sunk("cases", &cases))
    };
    let _rig = Rig::start_with(&store, vec![redact("hide", "decoys")], vec![hidden]).await;
    store.append(&touch(0, 1, "proof"));
    cases.wait_for(2).await;
    let closed = &closings(&cases.got())[0];
    assert_eq!(closed.ip(Field::SourceIp), None);
    assert!(closed.text(Field::SourceAddress).is_some());
}

/// One life of the process with a clock that goes on.
async fn live(clock: &Clock, store: &MemoryStore, is_pager: bool) -> Rig {
    let sink = ScriptedSink::good();
    let sink = match is_pager {
        true => pager(&sink),
        false => following(sunk("pager", &sink)),
    };
    Rig::start_by(clock.clone(), Board::new(), store, vec![], vec![sink]).await
}

/// A touch each few seconds, at times after a pause in which incidents end.
async fn play(clock: &Clock, store: &MemoryStore, from: u8) -> u8 {
    for step in from..24 {
        if store.is_killed() {
            return step;
        }
        let (source, level) = (step % 3, ["contact", "intent", "proof"][usize::from(step % 5 / 2)]);
        let mut event = touch(0, source, level);
        event.at = clock.now();
        event.id = ids::fresh(event.at);
        store.append(&event);
        let pause = if step % 8 == 7 { 170 } else { i64::from(step % 4) * 13 };
        tokio::time::sleep(Duration::from_secs(pause.unsigned_abs())).await;
    }
    24
}

fn time(event: &Event, field: Field) -> i64 {
    match event.get(field) {
        Some(Value::Time(time)) => Timestamp::micros(*time),
        other => panic!("{other:?}"),
    }
}

/// What must be so of all ends in a journal: each touch is counted once, and ends lie behind each other.
fn assert_exact(store: &MemoryStore, kill: usize) {
    let (_, derived) = account(store);
    let ends: Vec<_> = derived
        .iter()
        .filter(|event| event.action == Action::IncidentClosed)
        .collect();
    let different: HashSet<_> = ends.iter().map(|end| end.id).collect();
    assert_eq!(
        different.len(),
        ends.len(),
        "killed at commit {kill}: no end is told twice"
    );
    let mut by_incident: BTreeMap<Uuid, Vec<&Event>> = BTreeMap::new();
    for end in &ends {
        by_incident
            .entry(end.uuid(Field::IncidentId).unwrap())
            .or_default()
            .push(end);
    }
    assert_eq!(by_incident.len(), 3);
    for ends in by_incident.values() {
        let hits: i64 = ends.iter().filter_map(|end| end.int(Field::FindingHits)).sum();
        assert_eq!(hits, 8, "killed at commit {kill}: each touch counts once");
        for pair in ends.windows(2) {
            let over = pair[0].at.micros();
            assert!(
                time(pair[1], Field::EventStart) >= over,
                "killed at commit {kill}: {pair:?}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn ends_are_exact_whichever_commit_the_process_is_killed_at() {
    for is_pager in [true, false] {
        let mut kills = 0;
        for commits in 1..30 {
            let (store, clock) = (MemoryStore::new(), Clock::with_tokio(at(0)));
            // Where its nodes begin is settled before anything can be killed.
            live(&clock, &store, is_pager).await.pipeline.stop().await;
            let rig = live(&clock, &store, is_pager).await;
            store.kill_after(commits);
            let step = play(&clock, &store, 0).await;
            tokio::time::sleep(Duration::from_secs(20)).await;
            rig.pipeline.stop().await;
            kills += usize::from(store.is_killed());
            let store = store.reopen();
            let rig = live(&clock, &store, is_pager).await;
            play(&clock, &store, step).await;
            tokio::time::sleep(Duration::from_secs(1000)).await;
            rig.pipeline.stop().await;
            assert_exact(&store, commits);
            let state = store.kept.lock().unwrap().state.clone();
            let left: Vec<_> = state.keys().filter(|key| key.starts_with("follow/pager/")).collect();
            assert!(left.is_empty(), "{left:?}");
        }
        assert!(
            kills >= 25,
            "only {kills} of the runs were killed: the test has lost its teeth"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_told_ends_also_where_its_entries_are_trimmed_before_a_restart() {
    let (store, clock) = (MemoryStore::new(), Clock::with_tokio(at(0)));
    let rig = live(&clock, &store, false).await;
    let mut event = touch(0, 1, "proof");
    event.at = clock.now();
    store.append(&event);
    tokio::time::sleep(Duration::from_secs(70)).await;
    rig.pipeline.stop().await;
    store.trim(2);
    let _rig = live(&clock, &store, false).await;
    tokio::time::sleep(Duration::from_secs(1000)).await;
    let (_, told) = account(&store);
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].action, told[0].at), (Action::IncidentClosed, at(100)));
}
