//! The journal's disk fails: sinks are fed on, and where they stand is saved when it is back.

use std::time::Duration;

use trapline_sink::{BatchLimits, Delivery};

use super::double::{Disk, MemoryStore};
use super::sinks::{Answer, LIMITS, Rig, ScriptedSink, hits, sunk};
use crate::delivery::SinkState;

/// A rig that has delivered one hit, so that its cursor is at 2.
async fn begun(store: &MemoryStore, sink: &std::sync::Arc<ScriptedSink>) -> Rig {
    let rig = Rig::start(store, vec![sunk("siem", sink)]).await;
    hits(store, 1);
    sink.wait_for(1).await;
    rig.wait_for_status("siem", |status| status.state == SinkState::Working)
        .await;
    rig
}

async fn is_saved(store: &MemoryStore, cursor: u64) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while store.cursor_of("sink/siem") != Some(cursor) {
        assert!(
            tokio::time::Instant::now() < deadline,
            "{:?}",
            store.cursor_of("sink/siem")
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn while_the_disk_fails_a_backlog_is_delivered_once_and_the_cursor_saved_when_it_is_back() {
    for in_flight in [1, 4] {
        let store = MemoryStore::new();
        let limits = BatchLimits { in_flight, ..LIMITS };
        let sink = ScriptedSink::with(limits, None, |_, batch| Answer::Is(Delivery::all(batch.len())));
        let rig = begun(&store, &sink).await;
        is_saved(&store, 2).await;
        store.set_disk(Disk::Fails);
        let sent = hits(&store, 60);
        sink.wait_for(61).await;
        assert_eq!(rig.status("siem").cursor, 62);
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert_eq!(store.cursor_of("sink/siem"), Some(2));
        assert!(
            store.kept.lock().unwrap().held.is_empty(),
            "cursors do not crowd out hits"
        );

        store.set_disk(Disk::Works);
        is_saved(&store, 62).await;
        assert_eq!(sink.ids()[1..], sent, "in order, and nothing twice");
    }
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_is_only_slow_is_waited_for_and_one_that_turns_out_to_fail_is_not() {
    let store = MemoryStore::new();
    let sink = ScriptedSink::good();
    let _rig = begun(&store, &sink).await;
    store.set_disk(Disk::Stalls);
    hits(&store, 60);
    sink.wait_for_calls(2).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(sink.calls().len(), 2, "a kill would repeat one batch at most");
    store.set_disk(Disk::Fails);
    sink.wait_for(61).await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_waits_in_memory_for_the_disk_and_goes_with_the_cursor_that_passes_it() {
    let store = MemoryStore::new();
    let refuses = |_, batch: &[std::sync::Arc<trapline_sink::Parcel>]| {
        Answer::Is(match batch.iter().any(|parcel| parcel.offset == 5) {
            true => Delivery::suspect(batch.len(), "400"),
            false => Delivery::all(batch.len()),
        })
    };
    let sink = ScriptedSink::new(refuses);
    let rig = begun(&store, &sink).await;
    store.set_disk(Disk::Fails);
    hits(&store, 29);
    sink.wait_for(29).await;
    rig.wait_for_status("siem", |status| status.cursor == 31).await;
    assert_eq!(store.kept.lock().unwrap().dead.len(), 0);
    store.set_disk(Disk::Works);
    is_saved(&store, 31).await;
    let letters: Vec<_> = store
        .kept
        .lock()
        .unwrap()
        .dead
        .iter()
        .map(|letter| letter.offset)
        .collect();
    assert_eq!(letters, [5]);
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_refuses_everything_waits_for_the_disk_in_the_end() {
    let store = MemoryStore::new();
    let sink = ScriptedSink::new(|call, batch| {
        Answer::Is(match call {
            1 => Delivery::all(batch.len()),
            _ => Delivery::suspect(batch.len(), "400"),
        })
    });
    let rig = begun(&store, &sink).await;
    store.set_disk(Disk::Fails);
    hits(&store, 1000);
    rig.wait_for_status("siem", |status| status.totals.rejected >= 256)
        .await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(
        rig.status("siem").totals.rejected < 300,
        "{:?}",
        rig.status("siem").totals
    );
    store.set_disk(Disk::Works);
    // One entry more: that the sink refuses was told.
    is_saved(&store, 1003).await;
    assert_eq!(store.kept.lock().unwrap().dead.len(), 1000);
}

#[tokio::test(start_paused = true)]
async fn a_kill_while_the_disk_fails_repeats_what_was_delivered_and_loses_nothing() {
    let store = MemoryStore::new();
    let first = ScriptedSink::good();
    let rig = begun(&store, &first).await;
    is_saved(&store, 2).await;
    store.set_disk(Disk::Fails);
    let sent = hits(&store, 40);
    first.wait_for(41).await;
    drop(rig);
    let second = ScriptedSink::good();
    let _rig = Rig::start(&store.reopen(), vec![sunk("siem", &second)]).await;
    second.wait_for(40).await;
    assert_eq!(second.ids(), sent);
}

#[tokio::test(start_paused = true)]
async fn a_new_sink_starts_on_a_disk_that_fails() {
    let store = MemoryStore::new();
    store.set_disk(Disk::Fails);
    let sink = ScriptedSink::good();
    let begun = tokio::time::timeout(Duration::from_secs(60), begun(&store, &sink)).await;
    let _rig = begun.expect("nobody waits for the disk");
    store.set_disk(Disk::Works);
    is_saved(&store, 2).await;
}
