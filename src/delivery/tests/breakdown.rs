//! A task of delivery breaks down, which is a bug: it begins anew, nothing is lost, and somebody is told.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;
use trapline_schemas::{Action, Field};
use trapline_sink::{Arrears, BatchLimits, Delivery, FaultKind, Outcome};

use super::double::{Breaking, Disk, MemoryStore};
use super::faults::{health_listener, waits};
use super::sinks::{Answer, LIMITS, Rig, ScriptedSink, at, fault, hit, hits, sunk};
use super::windows::{behind, split, throttle};
use crate::delivery::{SinkState, sink_consumer};

/// Breakdowns in ten minutes: after 1, 2, 4, 8, 16 and 32 s, then one a minute, each with its jitter.
const IN_TEN_MINUTES: std::ops::RangeInclusive<u64> = 12..=16;

#[tokio::test(start_paused = true)]
async fn a_worker_that_breaks_down_begins_anew_at_its_cursor_and_a_person_is_told_at_once() {
    let store = MemoryStore::new();
    let sink = ScriptedSink::good();
    sink.break_down(1);
    let (ops, listener) = health_listener();
    let sent = hits(&store, 20);
    let rig = Rig::start(&store, vec![sunk("siem", &sink), listener]).await;
    ops.wait_for(1).await;
    assert_eq!(sink.calls().len(), 1, "told before it begins anew");
    let status = rig.status("siem");
    let seen = status.last_fault.expect("a fault");
    assert_eq!((status.state, seen.kind), (SinkState::Failing, Some(FaultKind::Broken)));
    assert_eq!((seen.since, status.totals.breakdowns), (at(0), 1));
    sink.wait_for(28).await;
    assert_eq!(sink.ids()[..8], sent[..8]);
    assert_eq!(sink.ids()[8..], sent, "only the batch that was not settled comes twice");
    let waited = waits(&sink.calls())[0];
    assert!((1000..=1250).contains(&waited.as_millis()), "{waited:?}");
    rig.wait_for_status("siem", |status| status.state == SinkState::Working)
        .await;
    ops.wait_for(2).await;
    let told: Vec<_> = ops.got().iter().map(|event| event.action).collect();
    assert_eq!(told, [Action::SinkFailed, Action::SinkRecovered]);
    assert_eq!(ops.got()[0].text(Field::ErrorType).unwrap(), "broken");
    let status = rig.status("siem");
    assert!(status.last_fault.is_some_and(|fault| fault.over));
    assert_eq!(status.totals.breakdowns, 1);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_breaks_down_again_and_again_is_paced_and_stays_in_alarm_beside_others() {
    let store = MemoryStore::new();
    let (broken, good) = (ScriptedSink::good(), ScriptedSink::good());
    broken.break_down(u32::MAX);
    let (ops, listener) = health_listener();
    let rig = Rig::start(&store, vec![sunk("broken", &broken), sunk("good", &good), listener]).await;
    let sent = hits(&store, 20);
    tokio::time::sleep(Duration::from_secs(600)).await;
    let status = rig.status("broken");
    assert!(
        IN_TEN_MINUTES.contains(&status.totals.breakdowns),
        "{:?}",
        status.totals
    );
    assert_eq!(broken.calls().len() as u64, status.totals.breakdowns);
    assert_eq!((status.state, status.cursor), (SinkState::Failing, 1));
    assert!(status.retry_at.is_some_and(|retry| retry > at(600)));
    let seen = status.last_fault.expect("a fault");
    assert_eq!(
        (seen.since, u64::from(seen.attempts)),
        (at(0), status.totals.breakdowns)
    );
    assert_eq!(ops.got().len(), 1, "told once a row");
    assert_eq!(good.ids(), sent);
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_a_worker_that_rests_and_the_next_start_delivers_everything() {
    let store = MemoryStore::new();
    let (sink, next) = (ScriptedSink::good(), ScriptedSink::good());
    sink.break_down(u32::MAX);
    let sent = hits(&store, 20);
    let rig = Rig::start(&store, vec![sunk("siem", &sink)]).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    let begun = Instant::now();
    let board = rig.board.clone();
    rig.pipeline.stop().await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(board.snapshot(0, &Default::default())[0].state, SinkState::Stopped);
    let _rig = Rig::start(&store, vec![sunk("siem", &next)]).await;
    next.wait_for(20).await;
    assert_eq!(next.ids(), sent);
}

#[tokio::test(start_paused = true)]
async fn a_breakdown_after_each_delivery_is_paced_all_the_same() {
    let store = MemoryStore::new();
    let sink = ScriptedSink::good();
    let rig = Rig::start(&store, vec![sunk("siem", &sink)]).await;
    store.break_down(Breaking::Cursor, u32::MAX);
    hits(&store, 8);
    tokio::time::sleep(Duration::from_secs(600)).await;
    let breakdowns = rig.status("siem").totals.breakdowns;
    assert!(IN_TEN_MINUTES.contains(&breakdowns), "{breakdowns}");
    assert_eq!(sink.calls().len() as u64, breakdowns);
}

#[tokio::test(start_paused = true)]
async fn with_several_batches_under_way_nothing_is_lost_by_a_breakdown() {
    let store = MemoryStore::new();
    let limits = BatchLimits { in_flight: 4, ..LIMITS };
    let sink = ScriptedSink::with(limits, None, |_, batch| Answer::Is(Delivery::all(batch.len())));
    sink.break_down(3);
    let sent = hits(&store, 100);
    let rig = Rig::start(&store, vec![sunk("siem", &sink)]).await;
    rig.wait_for_status("siem", |status| status.cursor > 100).await;
    let got: HashSet<_> = sink.ids().into_iter().collect();
    assert_eq!(got, sent.into_iter().collect());
    assert_eq!(rig.status("siem").totals.breakdowns, 3);
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_was_asked_for_holds_over_a_breakdown() {
    let store = MemoryStore::new();
    let sink = ScriptedSink::new(|call, batch| {
        let mut delivery = Delivery::all(batch.len());
        if call == 1 {
            delivery.outcomes[1..].fill(Outcome::Retry);
            delivery.retry_after = Some(Duration::from_secs(600));
            delivery.fault = Some(fault(FaultKind::Busy));
        }
        Answer::Is(delivery)
    });
    let rig = Rig::start(&store, vec![sunk("siem", &sink)]).await;
    store.break_down(Breaking::Cursor, 1);
    hits(&store, 4);
    rig.wait_for_status("siem", |status| status.cursor >= 5).await;
    assert_eq!(rig.status("siem").totals.breakdowns, 1);
    assert_eq!(waits(&sink.calls())[0], Duration::from_secs(600));
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_that_was_only_in_memory_is_found_again_after_a_breakdown() {
    let store = MemoryStore::new();
    let sink = ScriptedSink::new(|_, batch| {
        Answer::Is(match batch.iter().any(|parcel| parcel.offset == 5) {
            true => Delivery::suspect(batch.len(), "400"),
            false => Delivery::all(batch.len()),
        })
    });
    let rig = Rig::start(&store, vec![sunk("siem", &sink)]).await;
    store.set_disk(Disk::Fails);
    hits(&store, 20);
    rig.wait_for_status("siem", |status| status.totals.rejected == 1).await;
    // A sink is asked for what is to be noted each minute: that is when this one breaks down.
    tokio::time::sleep(Duration::from_secs(61)).await;
    sink.break_down(1);
    hits(&store, 1);
    rig.wait_for_status("siem", |status| status.totals.breakdowns == 1)
        .await;
    store.set_disk(Disk::Works);
    rig.wait_for_status("siem", |status| status.cursor >= 22).await;
    rig.pipeline.stop().await;
    let kept = store.kept.lock().unwrap();
    let dead: Vec<_> = kept.dead.iter().map(|letter| letter.offset).collect();
    assert_eq!(dead, [5]);
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_breaks_down_as_it_is_closed_loses_nothing_that_it_owes() {
    let store = MemoryStore::new();
    let sink = ScriptedSink::good();
    let rig = Rig::start(&store, vec![sunk("siem", &sink)]).await;
    hits(&store, 9);
    rig.wait_for_status("siem", |status| status.cursor == 10).await;
    sink.break_down_at_close(3);
    rig.pipeline.stop().await;
    assert_eq!(store.cursor_of(&sink_consumer("siem")), Some(7));
}

#[tokio::test(start_paused = true)]
async fn what_a_sink_owes_since_the_cursor_was_saved_comes_again_after_a_breakdown() {
    let store = MemoryStore::new();
    let sink = ScriptedSink::good();
    let rig = Rig::start(&store, vec![sunk("siem", &sink)]).await;
    let sent = hits(&store, 9);
    rig.wait_for_status("siem", |status| status.cursor == 10).await;
    // It is asked for what is to be noted each minute.
    tokio::time::sleep(Duration::from_secs(61)).await;
    sink.break_down(1);
    let owes = Arrears {
        owed: 3,
        ..Arrears::default()
    };
    sink.arrears.send_replace(owes);
    hits(&store, 1);
    rig.wait_for_status("siem", |status| status.totals.breakdowns == 1)
        .await;
    sink.arrears.send_replace(Arrears::default());
    sink.wait_for(14).await;
    assert_eq!(sink.ids()[10..13], sent[6..]);
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_panics_once_over_a_batch_gets_all_of_it_and_nothing_is_a_dead_letter() {
    let store = MemoryStore::new();
    let sink = ScriptedSink::new(|call, batch| match call {
        1 => Answer::Panic,
        _ => Answer::Is(Delivery::all(batch.len())),
    });
    let (ops, listener) = health_listener();
    let sent = hits(&store, 8);
    let rig = Rig::start(&store, vec![sunk("siem", &sink), listener]).await;
    sink.wait_for(8).await;
    ops.wait_for(2).await;
    assert_eq!(sink.ids(), sent);
    assert!(waits(&sink.calls())[0] >= Duration::from_secs(1));
    let totals = rig.status("siem").totals;
    assert_eq!(
        (totals.rejected, totals.breakdowns),
        (0, 0),
        "the worker itself is sound"
    );
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_panics_over_every_batch_is_paced_and_alarms_instead_of_burying_all() {
    let store = MemoryStore::new();
    let sink = ScriptedSink::new(|_, _| Answer::Panic);
    hits(&store, 1000);
    let rig = Rig::start(&store, vec![sunk("siem", &sink)]).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    let status = rig.status("siem");
    assert_eq!(status.state, SinkState::Failing);
    assert!(IN_TEN_MINUTES.contains(&status.totals.batches), "{:?}", status.totals);
    assert!(status.totals.rejected < 15, "{:?}", status.totals);
    assert_eq!(status.last_fault.and_then(|fault| fault.kind), Some(FaultKind::Broken));
}

#[tokio::test(start_paused = true)]
async fn sinks_get_everything_though_their_feed_breaks_down() {
    let store = MemoryStore::new();
    let sinks = [ScriptedSink::good(), ScriptedSink::good()];
    let rig = Rig::start(&store, vec![sunk("a", &sinks[0]), sunk("b", &sinks[1])]).await;
    store.break_down(Breaking::Read, 2);
    let sent = hits(&store, 20);
    for sink in &sinks {
        sink.wait_for(20).await;
        assert_eq!(sink.ids(), sent);
    }
    assert_eq!(store.breaks_left(Breaking::Read), 0);
    assert_eq!(rig.status("a").totals.breakdowns, 0, "it was the feed alone");
}

#[tokio::test(start_paused = true)]
async fn a_window_that_breaks_down_counts_on_from_what_is_kept() {
    let store = MemoryStore::new();
    let sink = ScriptedSink::good();
    let transforms = vec![throttle("digest", "decoys", 2)];
    let _rig = Rig::start_with(&store, transforms, vec![behind("a", &["digest"], &sink)]).await;
    store.break_down(Breaking::State, 1);
    let sent: Vec<_> = (0..7).map(|secs| hit(secs, 1)).collect();
    for event in &sent {
        store.append(event);
    }
    sink.wait_for(3).await;
    let expected = (vec![sent[0].id, sent[1].id], vec![("192.0.2.1".to_owned(), 5)]);
    assert_eq!(split(&sink.got()), expected);
    assert_eq!(store.breaks_left(Breaking::State), 0);
}

#[tokio::test(start_paused = true)]
async fn a_window_that_breaks_down_again_and_again_is_paced_beside_others_and_ends_when_told() {
    let store = MemoryStore::new();
    let (throttled, direct) = (ScriptedSink::good(), ScriptedSink::good());
    let sinks = vec![behind("a", &["digest"], &throttled), sunk("b", &direct)];
    let rig = Rig::start_with(&store, vec![throttle("digest", "decoys", 2)], sinks).await;
    store.break_down(Breaking::State, u32::MAX);
    let sent = hits(&store, 3);
    tokio::time::sleep(Duration::from_secs(600)).await;
    let breakdowns = u64::from(u32::MAX - store.breaks_left(Breaking::State));
    assert!(IN_TEN_MINUTES.contains(&breakdowns), "{breakdowns}");
    assert!(throttled.got().is_empty());
    assert_eq!(direct.ids(), sent);
    let begun = Instant::now();
    rig.pipeline.stop().await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
}
