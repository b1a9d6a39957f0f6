//! The way when all is well: at once, in order, from the cursor, beside others.

use std::time::Duration;

use tokio::time::Instant;
use trapline_sink::{BatchLimits, Delivery};

use super::double::MemoryStore;
use super::sinks::{Answer, LIMITS, Rig, ScriptedSink, hits, sunk};
use crate::delivery::{SinkState, Start};
use crate::journal::Skipped;

#[tokio::test(start_paused = true)]
async fn a_lone_hit_goes_at_once() {
    let store = MemoryStore::new();
    let sink = ScriptedSink::good();
    let _rig = Rig::start(&store, vec![sunk("siem", &sink)]).await;
    let begun = Instant::now();
    hits(&store, 1);
    sink.wait_for(1).await;
    assert_eq!(begun.elapsed(), Duration::ZERO, "no linger, no second hit");
    hits(&store, 1);
    sink.wait_for(2).await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(sink.batches(), [[1], [2]]);
}

#[tokio::test(start_paused = true)]
async fn events_come_in_order_and_batches_grow_while_one_is_under_way() {
    let store = MemoryStore::new();
    let sink = ScriptedSink::with(LIMITS, Some(0), |_, batch| Answer::Is(Delivery::all(batch.len())));
    let _rig = Rig::start(&store, vec![sunk("siem", &sink)]).await;
    let mut sent = hits(&store, 1);
    sink.wait_for_calls(1).await;
    sent.extend(hits(&store, 20));
    sink.open_gate(100);
    sink.wait_for(21).await;
    assert_eq!(sink.ids(), sent);
    let sizes: Vec<_> = sink.batches().iter().map(Vec::len).collect();
    assert_eq!(sizes, [1, 8, 8, 4], "at most 8 events in a batch");
}

#[tokio::test(start_paused = true)]
async fn several_batches_are_under_way_when_the_sink_allows() {
    let store = MemoryStore::new();
    let limits = BatchLimits { in_flight: 3, ..LIMITS };
    let sink = ScriptedSink::with(limits, Some(0), |_, batch| Answer::Is(Delivery::all(batch.len())));
    let sent = hits(&store, 30);
    let rig = Rig::start(&store, vec![sunk("siem", &sink)]).await;
    sink.wait_for_calls(3).await;
    assert_eq!(rig.status("siem").cursor, 1, "nothing is finished");
    sink.open_gate(1);
    rig.wait_for_status("siem", |status| status.cursor > 1).await;
    let cursor = rig.status("siem").cursor;
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(
        store.cursor_of("sink/siem"),
        Some(cursor),
        "what is answered is saved at once"
    );
    sink.open_gate(100);
    sink.wait_for(30).await;
    let mut got = sink.ids();
    got.sort();
    let mut all = sent;
    all.sort();
    assert_eq!(got, all);
    rig.wait_for_status("siem", |status| status.cursor == 31).await;
}

#[tokio::test(start_paused = true)]
async fn no_more_is_sent_past_an_open_batch_than_may_be_under_way() {
    let store = MemoryStore::new();
    let limits = BatchLimits { in_flight: 2, ..LIMITS };
    let sink = ScriptedSink::with(limits, None, |call, batch| match call {
        1 => Answer::Never,
        _ => Answer::Is(Delivery::all(batch.len())),
    });
    let sent = hits(&store, 100);
    let rig = Rig::start(&store, vec![sunk("siem", &sink)]).await;
    sink.wait_for_calls(2).await;
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(
        sink.calls().len(),
        2,
        "a crash doubles two batches, not all that came since"
    );
    rig.wait_for_status("siem", |status| status.cursor == 101).await;
    assert_eq!(sink.ids().len(), sent.len(), "the open one was given up and sent again");
}

#[tokio::test(start_paused = true)]
async fn a_sink_may_learn_with_an_answer_that_one_batch_at_a_time_is_enough() {
    let store = MemoryStore::new();
    let sink = ScriptedSink::with(LIMITS, Some(0), |_, batch| Answer::Is(Delivery::all(batch.len())));
    sink.allow(2);
    hits(&store, 50);
    let _rig = Rig::start(&store, vec![sunk("siem", &sink)]).await;
    sink.wait_for_calls(2).await;
    sink.allow(1);
    sink.open_gate(2);
    sink.wait_for_calls(3).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(sink.calls().len(), 3, "the fourth waits for the third");
}

#[tokio::test(start_paused = true)]
async fn a_batch_beside_others_lingers_for_more() {
    let store = MemoryStore::new();
    let limits = BatchLimits { in_flight: 2, ..LIMITS };
    let sink = ScriptedSink::with(limits, Some(0), |_, batch| Answer::Is(Delivery::all(batch.len())));
    let _rig = Rig::start(&store, vec![sunk("siem", &sink)]).await;
    let begun = Instant::now();
    hits(&store, 1);
    sink.wait_for_calls(1).await;
    hits(&store, 2);
    sink.wait_for_calls(2).await;
    assert_eq!(sink.batches(), [vec![1], vec![2, 3]]);
    assert!(begun.elapsed() >= limits.linger, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_sink_added_to_a_full_journal_reads_it_from_the_oldest_or_from_now() {
    let store = MemoryStore::new();
    let mut sent = hits(&store, 1000);
    let (all, new) = (ScriptedSink::good(), ScriptedSink::good());
    let from_now = super::sinks::Sunk {
        start: Start::Now,
        ..sunk("new", &new)
    };
    let rig = Rig::start(&store, vec![sunk("all", &all), from_now]).await;
    let later = hits(&store, 5);
    new.wait_for(5).await;
    all.wait_for(1005).await;
    assert_eq!(new.ids(), later);
    sent.extend(&later);
    assert_eq!(all.ids(), sent);
    rig.wait_for_status("all", |status| status.cursor == 1006).await;
    assert_eq!(rig.status("all").lag, 0);
}

#[tokio::test(start_paused = true)]
async fn now_is_settled_when_the_sink_first_starts() {
    let store = MemoryStore::new();
    hits(&store, 3);
    let sink = ScriptedSink::good();
    let plan = || {
        vec![super::sinks::Sunk {
            start: Start::Now,
            ..sunk("siem", &sink)
        }]
    };
    Rig::start(&store, plan()).await.pipeline.stop().await;
    let missed = hits(&store, 2);
    let _rig = Rig::start(&store, plan()).await;
    sink.wait_for(2).await;
    assert_eq!(sink.ids(), missed, "what came while it was stopped is not skipped");
}

#[tokio::test(start_paused = true)]
async fn a_restart_goes_on_at_the_cursor() {
    let store = MemoryStore::new();
    let first = ScriptedSink::good();
    let rig = Rig::start(&store, vec![sunk("siem", &first)]).await;
    hits(&store, 10);
    first.wait_for(10).await;
    rig.pipeline.stop().await;
    assert_eq!(store.cursor_of("sink/siem"), Some(11));
    let second = ScriptedSink::good();
    let later = hits(&store, 2);
    let _rig = Rig::start(&store, vec![sunk("siem", &second)]).await;
    second.wait_for(2).await;
    assert_eq!(second.ids(), later);
}

#[tokio::test(start_paused = true)]
async fn a_stop_delivers_what_the_journal_holds_if_the_sink_takes_it() {
    let store = MemoryStore::new();
    let sink = ScriptedSink::good();
    let sent = hits(&store, 500);
    let rig = Rig::start(&store, vec![sunk("siem", &sink)]).await;
    rig.pipeline.stop().await;
    assert_eq!(sink.ids(), sent);
    assert_eq!(store.cursor_of("sink/siem"), Some(501));
}

#[tokio::test(start_paused = true)]
async fn one_stalled_sink_stands_beside_three_that_get_everything() {
    let store = MemoryStore::new();
    let stalled = ScriptedSink::new(|_, _| Answer::Never);
    let good = [ScriptedSink::good(), ScriptedSink::good(), ScriptedSink::good()];
    let sinks = vec![
        sunk("stalled", &stalled),
        sunk("a", &good[0]),
        sunk("b", &good[1]),
        sunk("c", &good[2]),
    ];
    let rig = Rig::start(&store, sinks).await;
    let begun = Instant::now();
    let mut sent = Vec::new();
    for round in 1..=20 {
        sent.extend(hits(&store, 500));
        for sink in &good {
            sink.wait_for(round * 500).await;
        }
    }
    // A burst after a burst waits for more as long as a batch may; nobody waits for the stalled one.
    assert!(begun.elapsed() <= 20 * LIMITS.linger, "{:?}", begun.elapsed());
    for sink in &good {
        assert_eq!(sink.ids(), sent);
    }
    let status = rig.status("stalled");
    assert_eq!((status.cursor, status.lag, stalled.calls().len()), (1, 10_000, 1));
    assert!(status.oldest_unsent.is_some());
}

#[tokio::test(start_paused = true)]
async fn consumers_that_keep_up_share_one_reading_of_the_journal() {
    let store = MemoryStore::new();
    let sinks: Vec<_> = (0..4).map(|_| ScriptedSink::good()).collect();
    let names = ["a", "b", "c", "d"];
    let sunks = names.iter().zip(&sinks).map(|(name, sink)| sunk(name, sink)).collect();
    let _rig = Rig::start(&store, sunks).await;
    hits(&store, 200);
    for sink in &sinks {
        sink.wait_for(200).await;
    }
    let reads = store.kept.lock().unwrap().reads;
    assert!(reads <= 4, "{reads} reads for one handful of entries");
    let first = sinks[0].got();
    assert!(
        sinks
            .iter()
            .all(|sink| std::sync::Arc::ptr_eq(&sink.got()[7], &first[7])),
        "decoded once"
    );
}

#[tokio::test(start_paused = true)]
async fn entries_for_others_move_the_cursor_too() {
    let store = MemoryStore::new();
    let sink = ScriptedSink::good();
    let health = super::sinks::Sunk {
        inputs: &["health"],
        ..sunk("ops", &sink)
    };
    let rig = Rig::start(&store, vec![health]).await;
    hits(&store, 50);
    rig.wait_for_status("ops", |status| status.cursor == 51).await;
    assert!(sink.calls().is_empty());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(
        store.cursor_of("sink/ops"),
        Some(51),
        "saved within bounds, though nothing was sent"
    );
}

#[tokio::test(start_paused = true)]
async fn what_retention_took_is_counted_and_the_rest_delivered() {
    let store = MemoryStore::new();
    let sink = ScriptedSink::good();
    Rig::start(&store, vec![sunk("siem", &sink)])
        .await
        .pipeline
        .stop()
        .await;
    hits(&store, 300);
    store.trim(201);
    let rig = Rig::start(&store, vec![sunk("siem", &sink)]).await;
    sink.wait_for(100).await;
    assert_eq!(rig.status("siem").totals.missing, 200);
    store.trim(301);
    hits(&store, 1);
    sink.wait_for(101).await;
    rig.wait_for_status("siem", |status| status.cursor == 302).await;
    assert_eq!(
        store.losses_of("sink/siem"),
        [(1, 200)],
        "what it had read before is none"
    );
}

#[tokio::test(start_paused = true)]
async fn offsets_that_no_entry_ever_had_are_neither_lost_nor_waiting() {
    let store = MemoryStore::new();
    let stalled = ScriptedSink::new(|_, _| Answer::Never);
    let rig = Rig::start(&store, vec![sunk("siem", &stalled)]).await;
    rig.pipeline.stop().await;
    hits(&store, 300);
    store.lose(91, 290, Skipped::parse(b"101 290"));
    let sink = ScriptedSink::good();
    let rig = Rig::start(&store, vec![sunk("siem", &sink)]).await;
    let lag = rig.pipeline.status()[0].lag;
    assert!(lag <= 111, "{lag} are said to wait, 110 do");
    sink.wait_for(100).await;
    assert_eq!(rig.status("siem").totals.missing, 10);
    rig.wait_for_status("siem", |status| status.cursor == 301).await;
    assert_eq!(store.losses_of("sink/siem"), [(91, 100)]);
}

/// The journal is told while the sink still takes nothing, and of what it never had alone.
#[tokio::test(start_paused = true)]
async fn a_stalled_sink_that_retention_overtakes_tells_what_it_will_never_have_and_does_not_call_it_waiting() {
    let store = MemoryStore::new();
    let stalled = ScriptedSink::new(|_, _| Answer::Never);
    let good = ScriptedSink::good();
    let rig = Rig::start(&store, vec![sunk("siem", &stalled), sunk("archive", &good)]).await;
    hits(&store, 10_000);
    good.wait_for(10_000).await;
    store.trim(9_001);
    let lost = |store: &MemoryStore| -> u64 {
        let losses = store.losses_of("sink/siem");
        losses.iter().map(|(first, last)| last - first + 1).sum()
    };
    rig.wait_for_status("siem", |status| status.totals.missing > 0).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let status = rig.status("siem");
    assert_eq!((status.cursor, lost(&store)), (1, status.totals.missing));
    assert_eq!(
        status.lag + lost(&store),
        10_000,
        "what is lost does not wait: {status:?}"
    );
    assert!(status.lag > 1000, "what it has in memory is not lost: {status:?}");
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_cannot_be_read_is_counted_and_passed_over() {
    let store = MemoryStore::new();
    let sink = ScriptedSink::good();
    let rig = Rig::start(&store, vec![sunk("siem", &sink)]).await;
    store.append_body(b"{\"v\":1,\"id\":".to_vec());
    hits(&store, 1);
    sink.wait_for(1).await;
    assert_eq!(rig.status("siem").totals.unreadable, 1);
    store.wait_for_loss("sink/siem", (1, 1)).await;
    rig.wait_for_status("siem", |status| {
        status.cursor == 3 && status.state == SinkState::Working
    })
    .await;
    let notes = rig.status("siem").notes;
    assert_eq!(
        notes,
        ["a double", "promises less than was asked"],
        "also what only an answer told"
    );
}
