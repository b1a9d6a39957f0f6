//! Killed at any commit.

use std::collections::HashMap;

use trapline_sink::{Delivery, FaultKind};
use uuid::Uuid;

use super::double::MemoryStore;
use super::sinks::{Answer, LIMITS, Rig, ScriptedSink, fault, hits, sunk};
use crate::delivery::SinkState;

/// How often each id came, over both lives of the process.
fn counts(first: &ScriptedSink, second: &ScriptedSink) -> HashMap<Uuid, usize> {
    let mut counts = HashMap::new();
    for id in first.ids().into_iter().chain(second.ids()) {
        *counts.entry(id).or_default() += 1;
    }
    counts
}

#[tokio::test(start_paused = true)]
async fn a_kill_at_any_commit_repeats_at_most_one_batch_and_loses_nothing() {
    for commits in 1..=8 {
        let store = MemoryStore::new();
        let first = ScriptedSink::good();
        // Where the sink begins is settled before anything can be killed.
        Rig::start(&store, vec![sunk("siem", &first)])
            .await
            .pipeline
            .stop()
            .await;
        let sent = hits(&store, 60);
        store.kill_after(commits);
        let rig = Rig::start(&store, vec![sunk("siem", &first)]).await;
        rig.wait_for_status("siem", |status| status.state == SinkState::Stopped)
            .await;
        assert!(store.is_killed());
        rig.pipeline.stop().await;
        let second = ScriptedSink::good();
        let _rig = Rig::start(&store.reopen(), vec![sunk("siem", &second)]).await;
        let rest = 60 - 8 * (commits - 1);
        second.wait_for(rest).await;
        let counts = counts(&first, &second);
        assert!(
            sent.iter().all(|id| counts.contains_key(id)),
            "killed at {commits}: something is lost"
        );
        let doubled = counts.values().filter(|count| **count > 1).count();
        assert_eq!(
            doubled,
            LIMITS.events.min(rest),
            "killed at {commits}: the batch that was not yet kept"
        );
        assert!(counts.values().all(|count| *count <= 2));
    }
}

#[tokio::test(start_paused = true)]
async fn the_cursor_never_passes_what_is_not_delivered() {
    let store = MemoryStore::new();
    let sent = hits(&store, 20);
    let first = ScriptedSink::new(|call, batch| {
        Answer::Is(match call {
            1 => Delivery::all(batch.len()),
            _ => Delivery::retry(batch.len(), fault(FaultKind::Unreachable)),
        })
    });
    let rig = Rig::start(&store, vec![sunk("siem", &first)]).await;
    first.wait_for_calls(3).await;
    rig.pipeline.stop().await;
    assert_eq!(store.cursor_of("sink/siem"), Some(9));
    let second = ScriptedSink::good();
    let _rig = Rig::start(&store, vec![sunk("siem", &second)]).await;
    second.wait_for(12).await;
    assert_eq!(second.ids(), sent[8..]);
}
