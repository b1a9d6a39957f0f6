//! The way when a sink fails, asks for time, or refuses.

use std::time::Duration;

use trapline_schemas::{Action, Field};
use trapline_sink::{Arrears, BatchLimits, Delivery, FaultKind, Outcome};

use super::double::MemoryStore;
use super::sinks::{Answer, Call, LIMITS, Rig, ScriptedSink, Sunk, at, fault, hits, sunk};
use crate::delivery::{SinkState, SinkStatus, sink_consumer};

/// Fails the first `times` calls, then takes everything.
fn fails(times: usize, kind: FaultKind) -> std::sync::Arc<ScriptedSink> {
    ScriptedSink::new(move |call, batch| {
        Answer::Is(match call <= times {
            true => Delivery::retry(batch.len(), fault(kind)),
            false => Delivery::all(batch.len()),
        })
    })
}

/// The waits between calls.
pub(super) fn waits(calls: &[Call]) -> Vec<Duration> {
    calls.windows(2).map(|pair| pair[1].at - pair[0].at).collect()
}

pub(super) fn health_listener() -> (std::sync::Arc<ScriptedSink>, Sunk) {
    let sink = ScriptedSink::good();
    let listener = Sunk {
        inputs: &["health"],
        ..sunk("ops", &sink)
    };
    (sink, listener)
}

#[tokio::test(start_paused = true)]
async fn what_a_sink_that_cannot_be_made_will_never_have_is_reported_while_it_waits() {
    let store = MemoryStore::new();
    hits(&store, 5);
    store.kept.lock().unwrap().cursors.insert("sink/siem".to_owned(), 1);
    store.trim(4);
    let broken = Sunk {
        fails: 1000,
        ..sunk("siem", &ScriptedSink::good())
    };
    let _rig = Rig::start(&store, vec![broken]).await;
    store.wait_for_loss("sink/siem", (1, 3)).await;
    assert_eq!(store.cursor_of("sink/siem"), Some(4));
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_is_down_is_retried_for_ever_and_then_gets_everything_in_order() {
    let store = MemoryStore::new();
    let sink = fails(1000, FaultKind::Unreachable);
    let rig = Rig::start(&store, vec![sunk("siem", &sink)]).await;
    let sent = hits(&store, 30);
    sink.wait_for(30).await;
    assert_eq!(sink.ids(), sent);
    let waits = waits(&sink.calls());
    for (wait, secs) in waits.iter().zip([1u64, 2, 4, 8, 16, 32, 60, 60]) {
        let least = Duration::from_secs(secs);
        assert!(*wait >= least && *wait <= least.mul_f64(1.26), "{wait:?} for {secs} s");
    }
    assert!(waits[500] >= Duration::from_secs(60), "it never gives up");
    assert_ne!(waits[500], waits[501], "many sensors do not come back together");
    rig.wait_for_status("siem", |status| {
        status.state == SinkState::Working && status.cursor > 30
    })
    .await;
    let status = rig.status("siem");
    assert_eq!(status.last_fault.map(|fault| fault.attempts), Some(1000));
    assert_eq!(status.retry_at, None);
}

#[tokio::test(start_paused = true)]
async fn an_outage_began_with_its_first_failure_however_often_it_was_tried_again() {
    let store = MemoryStore::new();
    let sink = fails(8, FaultKind::Unreachable);
    let rig = Rig::start(&store, vec![sunk("siem", &sink)]).await;
    tokio::time::advance(Duration::from_secs(10)).await;
    hits(&store, 1);
    for attempts in [1, 8] {
        let at_least = |status: &SinkStatus| {
            let fault = status.last_fault.as_ref();
            fault.is_some_and(|fault| fault.attempts >= attempts)
        };
        rig.wait_for_status("siem", at_least).await;
        let fault = rig.status("siem").last_fault.unwrap();
        assert_eq!(fault.since.since(at(10)), Duration::ZERO, "after {attempts} tries");
    }
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_cannot_be_opened_shows_how_old_its_oldest_event_is_and_gets_all_once_it_can() {
    let store = MemoryStore::new();
    let sink = ScriptedSink::good();
    let closed = Sunk {
        fails: 9,
        ..sunk("siem", &sink)
    };
    let rig = Rig::start(&store, vec![closed]).await;
    let sent = hits(&store, 30);
    rig.wait_for_status("siem", |status| status.oldest_unsent.is_some())
        .await;
    let status = rig.status("siem");
    assert_eq!((status.state, status.lag), (SinkState::Retrying, 30));
    sink.wait_for(30).await;
    assert_eq!(sink.ids(), sent);
    rig.wait_for_status("siem", |status| status.oldest_unsent.is_none())
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_is_obeyed_exactly_and_nothing_is_sent_meanwhile() {
    let store = MemoryStore::new();
    let limits = BatchLimits { in_flight: 4, ..LIMITS };
    let sink = ScriptedSink::with(limits, None, |call, batch| {
        Answer::Is(match call {
            1 => Delivery {
                retry_after: Some(Duration::from_secs(17)),
                ..Delivery::retry(batch.len(), fault(FaultKind::Busy))
            },
            _ => Delivery::all(batch.len()),
        })
    });
    let _rig = Rig::start(&store, vec![sunk("siem", &sink)]).await;
    hits(&store, 1);
    sink.wait_for_calls(1).await;
    hits(&store, 40);
    sink.wait_for(41).await;
    assert_eq!(waits(&sink.calls())[0], Duration::from_secs(17));
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_was_asked_for_holds_whatever_becomes_of_the_batches_under_way() {
    let store = MemoryStore::new();
    let limits = BatchLimits {
        in_flight: 3,
        events: 1,
        ..LIMITS
    };
    let sink = ScriptedSink::with(limits, Some(0), |call, batch| {
        Answer::Is(match call {
            1 => Delivery {
                retry_after: Some(Duration::from_secs(600)),
                ..Delivery::retry(batch.len(), fault(FaultKind::Busy))
            },
            2 => Delivery::retry(batch.len(), fault(FaultKind::Unreachable)),
            _ => Delivery::all(batch.len()),
        })
    });
    hits(&store, 4);
    let _rig = Rig::start(&store, vec![sunk("siem", &sink)]).await;
    sink.wait_for_calls(3).await;
    sink.open_gate(100);
    sink.wait_for(4).await;
    assert_eq!(waits(&sink.calls())[2], Duration::from_secs(600));
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_a_pause_that_was_asked_for() {
    let store = MemoryStore::new();
    let limits = BatchLimits {
        in_flight: 2,
        events: 1,
        ..LIMITS
    };
    let sink = ScriptedSink::with(limits, Some(0), |call, batch| {
        Answer::Is(match call {
            1 => Delivery {
                retry_after: Some(Duration::from_secs(600)),
                ..Delivery::retry(batch.len(), fault(FaultKind::Busy))
            },
            _ => Delivery::all(batch.len()),
        })
    });
    hits(&store, 4);
    let rig = Rig::start(&store, vec![sunk("siem", &sink)]).await;
    sink.wait_for_calls(2).await;
    sink.open_gate(100);
    sink.wait_for(1).await;
    let begun = tokio::time::Instant::now();
    rig.pipeline.stop().await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn refused_credentials_alarm_at_once_and_are_retried_each_minute() {
    let store = MemoryStore::new();
    let sink = fails(3, FaultKind::Auth);
    let (ops, listener) = health_listener();
    let rig = Rig::start(&store, vec![sunk("siem", &sink), listener]).await;
    hits(&store, 1);
    ops.wait_for(1).await;
    assert_eq!(sink.calls().len(), 1, "told before the second try");
    assert_eq!(rig.status("siem").state, SinkState::Failing);
    assert_eq!(rig.status("siem").retry_at, Some(at(60)));
    sink.wait_for(1).await;
    assert_eq!(waits(&sink.calls()), [Duration::from_secs(60); 3]);
    ops.wait_for(2).await;
    let told: Vec<_> = ops.got().iter().map(|event| event.action).collect();
    assert_eq!(told, [Action::SinkFailed, Action::SinkRecovered]);
    assert_eq!(ops.got()[0].text(Field::SinkName).unwrap(), "siem");
    assert_eq!(ops.got()[0].text(Field::ErrorType).unwrap(), "auth");
}

#[tokio::test(start_paused = true)]
async fn a_reload_that_changes_nothing_tries_a_sink_that_waits_once_at_once() {
    for kind in [FaultKind::Auth, FaultKind::Config, FaultKind::Tls] {
        let store = MemoryStore::new();
        let sink = fails(3, kind);
        let rig = Rig::start(&store, vec![sunk("siem", &sink)]).await;
        let sent = hits(&store, 1);
        for call in 1..=2 {
            // The state and the wait are shown after the answer.
            let waits = |status: &SinkStatus| status.retry_at.is_some_and(|retry| retry > at(0));
            sink.wait_for_calls(call).await;
            rig.wait_for_status("siem", waits).await;
            rig.pipeline.retry_now();
        }
        sink.wait_for(1).await;
        let waits = waits(&sink.calls());
        assert_eq!(waits[..2], [Duration::ZERO; 2], "{kind:?}");
        assert!(waits[2] >= Duration::from_secs(4), "{kind:?}: {waits:?}");
        assert_eq!(sink.ids(), sent);
    }
}

#[tokio::test(start_paused = true)]
async fn a_reload_while_a_try_is_under_way_is_answered_by_one_more() {
    let store = MemoryStore::new();
    let sink = ScriptedSink::with(LIMITS, Some(0), |_, batch| {
        Answer::Is(Delivery::retry(batch.len(), fault(FaultKind::Auth)))
    });
    let rig = Rig::start(&store, vec![sunk("siem", &sink)]).await;
    hits(&store, 1);
    sink.wait_for_calls(1).await;
    rig.pipeline.retry_now();
    rig.pipeline.retry_now();
    sink.open_gate(100);
    sink.wait_for_calls(4).await;
    let minute = Duration::from_secs(60);
    assert_eq!(waits(&sink.calls()), [Duration::ZERO, minute, minute]);
}

#[tokio::test(start_paused = true)]
async fn a_reload_sends_nothing_twice_and_is_forgotten_by_a_sink_that_works() {
    let store = MemoryStore::new();
    let limits = BatchLimits { in_flight: 4, ..LIMITS };
    let sink = ScriptedSink::with(limits, Some(0), |call, batch| {
        Answer::Is(match call {
            3 => Delivery::retry(batch.len(), fault(FaultKind::Auth)),
            _ => Delivery::all(batch.len()),
        })
    });
    let mut sent = hits(&store, 16);
    let rig = Rig::start(&store, vec![sunk("siem", &sink)]).await;
    sink.wait_for_calls(2).await;
    rig.pipeline.retry_now();
    sink.open_gate(100);
    sink.wait_for(16).await;
    sent.extend(hits(&store, 1));
    sink.wait_for(17).await;
    assert_eq!(sink.ids(), sent);
    let waits = waits(&sink.calls());
    assert_eq!(waits.last(), Some(&Duration::from_secs(60)), "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn a_reload_does_not_shorten_a_pause_that_the_destination_asked_for() {
    let store = MemoryStore::new();
    let sink = ScriptedSink::new(|call, batch| {
        Answer::Is(match call {
            1 => Delivery {
                retry_after: Some(Duration::from_secs(600)),
                ..Delivery::retry(batch.len(), fault(FaultKind::Busy))
            },
            _ => Delivery::all(batch.len()),
        })
    });
    let rig = Rig::start(&store, vec![sunk("siem", &sink)]).await;
    hits(&store, 1);
    rig.wait_for_status("siem", |status| status.retry_at.is_some()).await;
    rig.pipeline.retry_now();
    sink.wait_for(1).await;
    assert_eq!(waits(&sink.calls())[0], Duration::from_secs(600));
}

/// The status after trouble that outlives a reload.
async fn after_a_reload(sink: &std::sync::Arc<ScriptedSink>, begun: impl FnMut(&SinkStatus) -> bool) -> Rig {
    let store = MemoryStore::new();
    let rig = Rig::start(&store, vec![sunk("siem", sink)]).await;
    hits(&store, 4);
    rig.wait_for_status("siem", begun).await;
    let board = rig.board.clone();
    rig.pipeline.stop().await;
    tokio::time::advance(Duration::from_secs(1000)).await;
    let rig = Rig::start_on(board, &store, Vec::new(), vec![sunk("siem", sink)]).await;
    hits(&store, 1);
    rig
}

#[tokio::test(start_paused = true)]
async fn a_reload_does_not_make_an_outage_younger_nor_keep_one_that_is_over() {
    let sink = fails(9, FaultKind::Unreachable);
    let failed = |status: &SinkStatus| status.last_fault.as_ref().is_some_and(|fault| fault.attempts == 2);
    let rig = after_a_reload(&sink, failed).await;
    sink.wait_for_calls(5).await;
    let fault = rig.status("siem").last_fault.unwrap();
    assert!(
        !fault.over && fault.since.since(at(0)) < Duration::from_secs(9),
        "{fault:?}"
    );
    sink.wait_for(5).await;
    rig.wait_for_status("siem", |status| {
        status.last_fault.as_ref().is_some_and(|fault| fault.over)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_refused_before_a_reload_is_cleared_when_it_takes_events_after_it() {
    let sink = ScriptedSink::new(|_, batch| {
        Answer::Is(match batch[0].offset <= 4 {
            true => Delivery::suspect(batch.len(), "a page in HTML"),
            false => Delivery::all(batch.len()),
        })
    });
    let rig = after_a_reload(&sink, |status| status.totals.rejected == 4).await;
    assert!(rig.status("siem").refuses.is_some());
    sink.wait_for(1).await;
    rig.wait_for_status("siem", |status| status.refuses.is_none()).await;
}

#[tokio::test(start_paused = true)]
async fn a_fault_between_batches_is_shown_and_told_and_over_when_the_sink_says_so() {
    let store = MemoryStore::new();
    let sink = ScriptedSink::good();
    let (ops, listener) = health_listener();
    let rig = Rig::start(&store, vec![sunk("siem", &sink), listener]).await;
    hits(&store, 1);
    sink.wait_for(1).await;
    sink.arrears.send_replace(Arrears {
        fault: Some(fault(FaultKind::Tls)),
        owed: 7,
        given_up: 0,
    });
    ops.wait_for(1).await;
    let status = rig.status("siem");
    assert_eq!(status.state, SinkState::Failing);
    let message = status.last_fault.unwrap().message;
    assert!(message.contains("scripted fault; 7 events"), "{message}");
    sink.arrears.send_replace(Arrears::default());
    ops.wait_for(2).await;
    rig.wait_for_status("siem", |status| status.state == SinkState::Working)
        .await;
    let told: Vec<_> = ops.got().iter().map(|event| event.action).collect();
    assert_eq!(told, [Action::SinkFailed, Action::SinkRecovered]);
}

#[tokio::test(start_paused = true)]
async fn events_that_a_sink_gives_up_are_counted_and_told() {
    let store = MemoryStore::new();
    let sink = ScriptedSink::good();
    let (ops, listener) = health_listener();
    let rig = Rig::start(&store, vec![sunk("siem", &sink), listener]).await;
    hits(&store, 1);
    sink.wait_for(1).await;
    sink.arrears.send_replace(Arrears {
        given_up: 2,
        ..Arrears::default()
    });
    ops.wait_for(1).await;
    assert_eq!(rig.status("siem").totals.given_up, 2);
    let message = ops.got()[0].text(Field::ErrorMessage).unwrap().to_owned();
    assert!(message.starts_with("2 events"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn what_a_sink_owes_is_behind_its_cursor_and_comes_again_at_the_next_start() {
    let store = MemoryStore::new();
    let sink = ScriptedSink::good();
    let rig = Rig::start(&store, vec![sunk("siem", &sink)]).await;
    let sent = hits(&store, 9);
    sink.wait_for(9).await;
    let consumer = sink_consumer("siem");
    rig.wait_for_status("siem", |status| status.cursor == 10).await;
    let owes = |owed| Arrears {
        owed,
        ..Arrears::default()
    };
    for (owed, cursor) in [(4, 6), (0, 10), (3, 7)] {
        sink.arrears.send_replace(owes(owed));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(store.cursor_of(&consumer), Some(cursor), "{owed} are owed");
    }
    rig.pipeline.stop().await;
    assert_eq!(store.cursor_of(&consumer), Some(7));
    let next = ScriptedSink::good();
    let _rig = Rig::start(&store, vec![sunk("siem", &next)]).await;
    next.wait_for(3).await;
    assert_eq!(next.ids(), sent[6..]);
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_answers_and_refuses_is_told_and_shown_and_over_when_it_takes_events_again() {
    let store = MemoryStore::new();
    let sink = ScriptedSink::new(|call, batch| {
        Answer::Is(match call <= 5 {
            true => Delivery::suspect(batch.len(), "a page in HTML"),
            false => Delivery::all(batch.len()),
        })
    });
    let (ops, listener) = health_listener();
    let rig = Rig::start(&store, vec![sunk("siem", &sink), listener]).await;
    for calls in 1..=5 {
        hits(&store, 1);
        sink.wait_for_calls(calls).await;
    }
    ops.wait_for(1).await;
    rig.wait_for_status("siem", |status| status.totals.rejected == 5).await;
    let refuses = rig.status("siem").refuses.unwrap();
    assert_eq!((refuses.events, refuses.reason.as_str()), (5, "a page in HTML"));
    let message = ops.got()[0].text(Field::ErrorMessage).unwrap().to_owned();
    assert!(message.contains("a page in HTML"), "{message}");
    hits(&store, 1);
    sink.wait_for(1).await;
    ops.wait_for(2).await;
    assert_eq!(rig.status("siem").refuses, None);
    let told: Vec<_> = ops.got().iter().map(|event| event.action).collect();
    assert_eq!(told, [Action::SinkFailed, Action::SinkRecovered]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_told_once_and_alarms_after_five_minutes() {
    let store = MemoryStore::new();
    let sink = fails(12, FaultKind::Unreachable);
    let (ops, listener) = health_listener();
    let rig = Rig::start(&store, vec![sunk("siem", &sink), listener]).await;
    let begun = tokio::time::Instant::now();
    hits(&store, 1);
    ops.wait_for(1).await;
    assert_eq!(begun.elapsed().as_secs(), 30);
    assert_eq!(rig.status("siem").state, SinkState::Retrying);
    rig.wait_for_status("siem", |status| status.state == SinkState::Failing)
        .await;
    assert_eq!(begun.elapsed().as_secs(), 300);
    ops.wait_for(2).await;
    let told: Vec<_> = ops.got().iter().map(|event| event.action).collect();
    assert_eq!(
        told,
        [Action::SinkFailed, Action::SinkRecovered],
        "once a row, not once a try"
    );
}

#[tokio::test(start_paused = true)]
async fn a_short_fault_is_nobodys_business() {
    let store = MemoryStore::new();
    let sink = fails(3, FaultKind::Server);
    let (ops, listener) = health_listener();
    let rig = Rig::start(&store, vec![sunk("siem", &sink), listener]).await;
    hits(&store, 1);
    sink.wait_for(1).await;
    rig.pipeline.stop().await;
    assert!(ops.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn no_sink_hears_of_its_own_failure() {
    let store = MemoryStore::new();
    let sink = fails(1, FaultKind::Auth);
    let all = Sunk {
        inputs: &["*", "health"],
        ..sunk("siem", &sink)
    };
    let rig = Rig::start(&store, vec![all]).await;
    let sent = hits(&store, 1);
    sink.wait_for(1).await;
    rig.wait_for_status("siem", |status| status.cursor == 4).await;
    assert_eq!(store.bodies().len(), 3, "failed and recovered are in the journal");
    assert_eq!(sink.ids(), sent);
}

#[tokio::test(start_paused = true)]
async fn splitting_finds_the_one_bad_event_and_the_dead_letter_keeps_the_reason() {
    let store = MemoryStore::new();
    let limits = BatchLimits { events: 64, ..LIMITS };
    let sink = ScriptedSink::with(limits, None, |_, batch| {
        Answer::Is(match batch.iter().any(|parcel| parcel.offset == 23) {
            true => Delivery::suspect(batch.len(), "400: field `x` is no number"),
            false => Delivery::all(batch.len()),
        })
    });
    let mut sent = hits(&store, 64);
    let rig = Rig::start(&store, vec![sunk("siem", &sink)]).await;
    sink.wait_for(63).await;
    rig.wait_for_status("siem", |status| status.cursor == 65).await;
    let bad = sent.remove(22);
    assert_eq!(sink.ids(), sent, "the rest arrives, in order");
    let kept = store.kept.lock().unwrap();
    let letter = &kept.dead[0];
    assert_eq!((kept.dead.len(), letter.sink.as_str(), letter.offset), (1, "siem", 23));
    assert_eq!(letter.reason, "400: field `x` is no number");
    assert_eq!(trapline_schemas::codec::decode(&letter.body).unwrap().id, bad);
    drop(kept);
    let totals = rig.status("siem").totals;
    assert_eq!((totals.delivered, totals.rejected, totals.batches), (63, 1, 13));
}

#[tokio::test(start_paused = true)]
async fn a_rejected_event_goes_to_dead_letter_and_the_others_are_not_sent_again() {
    let store = MemoryStore::new();
    let sink = ScriptedSink::new(|_, batch| {
        let outcome = |offset| match offset {
            2 => Outcome::Rejected("too old".to_owned()),
            _ => Outcome::Delivered,
        };
        let outcomes = batch.iter().map(|parcel| outcome(parcel.offset)).collect();
        Answer::Is(Delivery {
            outcomes,
            retry_after: None,
            fault: None,
        })
    });
    hits(&store, 4);
    let rig = Rig::start(&store, vec![sunk("siem", &sink)]).await;
    rig.wait_for_status("siem", |status| status.cursor == 5).await;
    assert_eq!(sink.batches(), [[1, 2, 3, 4]]);
    assert_eq!(store.kept.lock().unwrap().dead[0].reason, "too old");
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_is_kept_though_an_earlier_batch_holds_the_cursor_back() {
    let store = MemoryStore::new();
    let limits = BatchLimits {
        in_flight: 2,
        events: 1,
        ..LIMITS
    };
    let sink = ScriptedSink::with(limits, None, |call, batch| match call {
        1 => Answer::Never,
        _ => Answer::Is(Delivery::suspect(batch.len(), "400")),
    });
    hits(&store, 2);
    let rig = Rig::start(&store, vec![sunk("siem", &sink)]).await;
    rig.wait_for_status("siem", |status| status.totals.rejected == 1).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(store.kept.lock().unwrap().dead[0].offset, 2);
    assert_eq!(rig.status("siem").cursor, 1);
}

#[tokio::test(start_paused = true)]
async fn only_what_was_not_delivered_is_sent_again() {
    let store = MemoryStore::new();
    let sink = ScriptedSink::new(|call, batch| {
        let outcomes = batch.iter().map(|parcel| match (call, parcel.offset) {
            (1, 2 | 3) => Outcome::Retry,
            _ => Outcome::Delivered,
        });
        Answer::Is(Delivery {
            outcomes: outcomes.collect(),
            retry_after: None,
            fault: None,
        })
    });
    hits(&store, 4);
    let rig = Rig::start(&store, vec![sunk("siem", &sink)]).await;
    rig.wait_for_status("siem", |status| status.cursor == 5).await;
    assert_eq!(sink.batches(), [vec![1, 2, 3, 4], vec![2, 3]]);
    assert_eq!(
        waits(&sink.calls()),
        [Duration::ZERO],
        "it moves on, so it need not wait"
    );
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_takes_nothing_and_says_nothing_is_paced_all_the_same() {
    let store = MemoryStore::new();
    let sink = ScriptedSink::new(|call, batch| {
        let outcome = if call < 3 { Outcome::Retry } else { Outcome::Delivered };
        Answer::Is(Delivery {
            outcomes: vec![outcome; batch.len()],
            retry_after: None,
            fault: None,
        })
    });
    hits(&store, 1);
    let _rig = Rig::start(&store, vec![sunk("siem", &sink)]).await;
    sink.wait_for(1).await;
    assert!(waits(&sink.calls())[0] >= Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn while_in_trouble_one_batch_at_a_time_asks_whether_it_is_over() {
    let store = MemoryStore::new();
    let limits = BatchLimits {
        in_flight: 4,
        events: 2,
        ..LIMITS
    };
    let sink = ScriptedSink::with(limits, None, |call, batch| {
        Answer::Is(match call <= 7 {
            true => Delivery::retry(batch.len(), fault(FaultKind::Unreachable)),
            false => Delivery::all(batch.len()),
        })
    });
    hits(&store, 20);
    let rig = Rig::start(&store, vec![sunk("siem", &sink)]).await;
    sink.wait_for(20).await;
    let calls = sink.calls();
    let together = calls.iter().filter(|call| call.at == calls[0].at).count();
    assert_eq!(together, 4, "as many as the sink allows, while nothing is known");
    assert_eq!(
        calls[4..7].iter().map(|call| call.offsets[0]).collect::<Vec<_>>(),
        [1, 1, 1]
    );
    let waits: Vec<_> = waits(&calls)
        .into_iter()
        .filter(|wait| !wait.is_zero())
        .map(|wait| wait.as_secs())
        .collect();
    assert_eq!(waits[..3], [1, 2, 4], "failing together is one try");
    rig.wait_for_status("siem", |status| status.cursor == 21).await;
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_cannot_be_made_is_tried_again() {
    let store = MemoryStore::new();
    let sink = ScriptedSink::good();
    let plan = Sunk {
        fails: 3,
        ..sunk("siem", &sink)
    };
    hits(&store, 2);
    let rig = Rig::start(&store, vec![plan]).await;
    sink.wait_for(2).await;
    rig.wait_for_status("siem", |status| status.state == SinkState::Working)
        .await;
    assert_eq!(rig.status("siem").last_fault.map(|fault| fault.attempts), Some(3));
}

#[tokio::test(start_paused = true)]
async fn a_reload_tries_at_once_to_make_a_sink_that_could_not_be_made() {
    let store = MemoryStore::new();
    let sink = ScriptedSink::good();
    let fails = Sunk {
        fails: 1,
        ..sunk("siem", &sink)
    };
    let begun = tokio::time::Instant::now();
    let rig = Rig::start(&store, vec![fails]).await;
    hits(&store, 1);
    rig.wait_for_status("siem", |status| status.retry_at.is_some()).await;
    rig.pipeline.retry_now();
    sink.wait_for(1).await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_cannot_be_made_is_told_of_and_alarms_as_one_that_fails() {
    let store = MemoryStore::new();
    let sink = ScriptedSink::good();
    let (ops, listener) = health_listener();
    let plan = Sunk {
        fails: 12,
        ..sunk("siem", &sink)
    };
    let begun = tokio::time::Instant::now();
    let rig = Rig::start(&store, vec![plan, listener]).await;
    ops.wait_for(1).await;
    assert_eq!(begun.elapsed().as_secs(), 30);
    rig.wait_for_status("siem", |status| status.state == SinkState::Failing)
        .await;
    assert_eq!(begun.elapsed().as_secs(), 300);
    hits(&store, 1);
    ops.wait_for(2).await;
    assert_eq!(ops.got()[1].action, Action::SinkRecovered);
}

#[tokio::test(start_paused = true)]
async fn each_row_of_failures_says_since_when_it_lasts() {
    let store = MemoryStore::new();
    let sink = ScriptedSink::new(|call, batch| {
        Answer::Is(match call % 2 {
            1 => Delivery::retry(batch.len(), fault(FaultKind::Server)),
            _ => Delivery::all(batch.len()),
        })
    });
    let rig = Rig::start(&store, vec![sunk("siem", &sink)]).await;
    let begun = tokio::time::Instant::now();
    for (row, calls) in [(0, 2), (200, 4)] {
        hits(&store, 1);
        sink.wait_for_calls(calls).await;
        let since = rig.status("siem").last_fault.map(|fault| fault.since);
        assert_eq!(since, Some(at(row)));
        tokio::time::sleep_until(begun + Duration::from_secs(200)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_breaks_the_sink_down_is_found_and_kept() {
    let store = MemoryStore::new();
    let sink = ScriptedSink::new(|_, batch| match batch.iter().any(|parcel| parcel.offset == 3) {
        true => Answer::Panic,
        false => Answer::Is(Delivery::all(batch.len())),
    });
    hits(&store, 8);
    let rig = Rig::start(&store, vec![sunk("siem", &sink)]).await;
    // Health events come after them.
    rig.wait_for_status("siem", |status| status.cursor >= 9).await;
    assert_eq!(store.kept.lock().unwrap().dead[0].offset, 3);
    assert_eq!(sink.got().len(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_never_answers_is_given_up_on_in_the_end() {
    let store = MemoryStore::new();
    let sink = ScriptedSink::new(|call, batch| match call {
        1 => Answer::Never,
        _ => Answer::Is(Delivery::all(batch.len())),
    });
    hits(&store, 1);
    let _rig = Rig::start(&store, vec![sunk("siem", &sink)]).await;
    sink.wait_for(1).await;
    assert!(waits(&sink.calls())[0] >= Duration::from_secs(600));
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_longer_than_its_grace() {
    let store = MemoryStore::new();
    let sink = ScriptedSink::new(|_, _| Answer::Never);
    hits(&store, 10);
    let rig = Rig::start(&store, vec![sunk("siem", &sink)]).await;
    sink.wait_for_calls(1).await;
    let begun = tokio::time::Instant::now();
    rig.pipeline.stop().await;
    assert_eq!(begun.elapsed(), Duration::from_secs(5));
    assert_eq!(
        store.cursor_of("sink/siem"),
        Some(1),
        "what was under way counts as not delivered"
    );
}
