//! What is done every hour: the head of the journal's chain goes out, cursors of removed sinks grow old.
//!
//! A head hash that has left the host keeps the past from being rewritten unseen: an unkeyed chain can be made anew.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use trapline_schemas::ids::hex;
use trapline_schemas::{Action, Field, Timestamp};

use crate::app::build;
use crate::app::core::Core;
use crate::delivery::{memory_prefix, replay_consumer, sink_consumer};
use crate::graph::incident::sink_of;
use crate::graph::window::{StateRow, Windows};
use crate::journal::{Commit, Journal, JournalError};
use crate::record::HostEvent;

/// How often the chores are done.
const EVERY: Duration = Duration::from_secs(3600);
/// How long a removed sink or transform keeps its cursor.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// State key under which stands since when a consumer is not configured any more.
const ABSENT: &str = "absent/";

/// Does the chores, the first time one period after the start, until `stop`.
pub(super) async fn run(core: Arc<Core>, stop: CancellationToken) {
    let mut hours = tokio::time::interval_at(tokio::time::Instant::now() + EVERY, EVERY);
    hours.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut said = BTreeMap::new();
    loop {
        core.certificates.warn(&mut said, Timestamp::now());
        // Cancel: a tick that is dropped comes again.
        tokio::select! {
            () = stop.cancelled() => return,
            _ = hours.tick() => {}
        }
        tell_head(&core).await;
        let configured = [build::consumers(&core.config()), build::watchers(&core.config())].concat();
        // A disabled sink is configured: its cursor stays.
        let disabled = core
            .config()
            .sinks
            .iter()
            .flat_map(|sink| [sink_consumer(&sink.name), replay_consumer(&sink.name)])
            .collect();
        let known: Vec<String> = [configured, disabled].concat();
        if let Err(error) = forget_absent(&core.journal, &known, Timestamp::now()).await {
            tracing::warn!(error = %error, "cursors of removed sinks could not be looked at, trying again in an hour");
        }
    }
}

async fn tell_head(core: &Core) {
    let (offset, hash) = core.journal.head_hash();
    let facts = vec![
        (Field::JournalHash, hex(&hash).into()),
        (Field::GapLast, i64::try_from(offset).unwrap_or(i64::MAX).into()),
    ];
    core.recorder.host(HostEvent::new(Action::ChainHead, facts)).await;
}

/// Forgets the cursors of consumers that have not been configured for [`KEPT`].
async fn forget_absent(journal: &Journal, known: &[String], now: Timestamp) -> Result<(), JournalError> {
    let since = absent_since(journal).await?;
    let mut commit = Commit::default();
    for cursor in journal.cursors().await? {
        let name = &cursor.consumer;
        let ours = ["sink/", "window/", "replay/"]
            .iter()
            .any(|kind| name.starts_with(kind));
        if !ours || known.contains(name) {
            continue;
        }
        match since.get(name) {
            None => commit
                .state
                .push((key(name), Some(now.micros().to_string().into_bytes()))),
            Some(then) if now.since(*then) >= KEPT => {
                commit.cursors_gone.push(name.clone());
                commit.state.extend(rows_of(journal, name).await?);
                commit.state.push((key(name), None));
            }
            Some(_) => {}
        }
    }
    let back = since.keys().filter(|name| known.contains(name));
    commit.state.extend(back.map(|name| (key(name), None)));
    journal.enqueue(commit).await
}

/// The rows that a windowed node or a sink left behind, to be removed; none for another consumer.
async fn rows_of(journal: &Journal, consumer: &str) -> Result<Vec<StateRow>, JournalError> {
    let rows = match (consumer.strip_prefix("window/"), consumer.strip_prefix("sink/")) {
        (Some(node), _) => {
            // A watch over incidents keeps its rows under its own name.
            let prefix = sink_of(node).map_or_else(|| Windows::prefix(node), |_| node.to_owned());
            let below = format!("{prefix}/");
            let mut rows = journal.states(&prefix).await?;
            rows.retain(|(key, _)| *key == prefix || key.starts_with(&below));
            rows
        }
        (_, Some(sink)) => journal.states(&memory_prefix(sink)).await?,
        _ => Vec::new(),
    };
    Ok(rows.into_iter().map(|(key, _)| (key, None)).collect())
}

async fn absent_since(journal: &Journal) -> Result<BTreeMap<String, Timestamp>, JournalError> {
    let states = journal.states(ABSENT).await?;
    let read = |(key, value): (String, Vec<u8>)| {
        let micros = String::from_utf8(value).ok()?.parse().ok()?;
        Some((key.strip_prefix(ABSENT)?.to_owned(), Timestamp::from_micros(micros)))
    };
    Ok(states.into_iter().filter_map(read).collect())
}

fn key(consumer: &str) -> String {
    format!("{ABSENT}{consumer}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::JournalSettings;

    const DAY: i64 = 24 * 3600 * 1_000_000;

    async fn day(journal: &Journal, known: &[&str], day: i64) -> Vec<String> {
        let known: Vec<_> = known.iter().map(|name| (*name).to_owned()).collect();
        forget_absent(journal, &known, Timestamp::from_micros(day * DAY))
            .await
            .unwrap();
        journal.commit(Commit::default()).await.unwrap();
        journal
            .cursors()
            .await
            .unwrap()
            .into_iter()
            .map(|cursor| cursor.consumer)
            .collect()
    }

    #[tokio::test]
    async fn a_removed_sink_keeps_its_cursor_for_seven_days_and_one_that_came_back_for_good() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(JournalSettings::at(folder.path().join("journal.db"))).unwrap();
        let cursors = [
            "window/a",
            "window/notices/b",
            "window/follow/d",
            "sink/b",
            "sink/c",
            "index",
        ]
        .map(|name| (name.to_owned(), 1))
        .to_vec();
        let rows = [
            "window/a",
            "window/ab",
            "notices/b",
            "notices/b/0/60/x",
            "notices/bc",
            "memory/c/case",
            "memory/cd/case",
            "follow/d",
            "follow/d/019cb859-0e8b-8d47-978e-899785bbb80f",
            "follow/de",
        ];
        journal
            .commit(Commit {
                cursors,
                state: rows.map(|key| (key.to_owned(), Some(b"{}".to_vec()))).to_vec(),
                ..Commit::default()
            })
            .await
            .unwrap();
        assert_eq!(day(&journal, &[], 1).await.len(), 6);
        assert_eq!(day(&journal, &["sink/b"], 5).await.len(), 6);
        assert_eq!(day(&journal, &[], 7).await.len(), 6);
        assert!(journal.state("window/a").await.unwrap().is_some());
        assert_eq!(day(&journal, &[], 8).await, ["index", "sink/b"]);
        let left = [
            journal.states("window/").await.unwrap(),
            journal.states("notices/").await.unwrap(),
            journal.states("memory/").await.unwrap(),
            journal.states("follow/").await.unwrap(),
        ]
        .concat();
        let left: Vec<_> = left.into_iter().map(|(key, _)| key).collect();
        assert_eq!(
            left,
            ["window/ab", "notices/bc", "memory/cd/case", "follow/de"],
            "what it kept is gone, and nobody else's"
        );
        journal.close().await;
    }
}
