//! The service manager: it is told when this instance is ready, reloads, stops and how it does, and that it lives.
//!
//! In: what happens to the instance. Out: datagrams on `NOTIFY_SOCKET`; without one nothing is done.
//!
//! The watchdog is fed only after the way of an event was walked: the recorder answered, and the journal committed. A
//! journal whose disk fails commits nothing, but its writer turns and holds events in memory, which a restart would
//! lose: that is life too. A writer that hangs, a recorder that does not answer, or a station that has ended is none, and
//! the manager restarts the instance.
//!
//! Source: sd_notify(3), sd_watchdog_enabled(3).

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use trapline_schemas::Timestamp;

use crate::app::core::Core;
use crate::control::status::Status;
use crate::journal::{Commit, HealthLevel, Journal, Upgrading};
use crate::telemetry;

/// How often status is told, and the watchdog fed if it wants to be fed less often than this.
const EVERY: Duration = Duration::from_secs(10);
/// The manager waits this many times longer than the instance takes between two signs of life.
const SIGNS: u32 = 3;
/// How often is looked whether a journal that fails still turns.
const TURN: Duration = Duration::from_millis(500);
/// How long the manager waits for the next sign of a journal on its way up: a disk may take minutes for one sync.
const PATIENCE_USEC: u32 = 300_000_000;
/// State key of the last sign of life.
const PULSE: &str = "watchdog/pulse";
/// Longest status line, in characters.
const STATUS_CHARS_MAX: usize = 200;
/// Tasks without which nothing is recorded.
const VITAL: [&str; 3] = ["decoys", "listeners", "recorder"];

/// Says that decoys listen.
pub(super) fn ready(status: &Status) {
    tell(&[NotifyState::Ready, NotifyState::Status(&line(status))]);
}

/// Says that the start takes longer than usual: a journal of an older trapline is on its way up.
pub(super) fn upgrading(upgrading: &Upgrading) {
    let status = format!("the journal is on its way up: {upgrading}");
    tell(&[
        NotifyState::ExtendTimeoutUsec(PATIENCE_USEC),
        NotifyState::Status(&status),
    ]);
}

/// Says that the configuration is being read again; [`ready`] ends it.
pub(super) fn reloading() {
    // Without the time of the call a manager does not know which reload is meant.
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, now]);
    }
}

/// Says that the way down has begun.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

/// Tells status and feeds the watchdog until `stop`.
pub(super) async fn run(core: Arc<Core>, stop: CancellationToken) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return stop.cancelled().await;
    }
    let limit = sd_notify::watchdog_enabled();
    let every = limit.map_or(EVERY, |limit| (limit / SIGNS).min(EVERY));
    let mut told = String::new();
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Cancel: a tick that is dropped comes again.
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if limit.is_some() {
            feed(&core, every).await;
        }
        let status = line(&core.status().await);
        if status != told {
            tell(&[NotifyState::Status(&status)]);
            told = status;
        }
    }
}

/// Feeds the watchdog if the instance lives.
async fn feed(core: &Core, patience: Duration) {
    let ended = core.tasks.ended();
    let missing = ended.iter().find(|ended| VITAL.contains(&ended.name));
    if let Some(missing) = missing {
        tracing::error!(
            task.name = missing.name,
            "task {} has ended: the service manager is to restart trapline",
            missing.name
        );
        return;
    }
    let walked = async {
        core.recorder.pulse().await;
        lives(&core.journal).await;
    };
    match timeout(patience, walked).await {
        Ok(()) => tell(&[NotifyState::Watchdog]),
        Err(_) => tracing::warn!("recorder or journal did not answer within {patience:?}, the watchdog is not fed"),
    }
}

/// Waits until the journal has committed, or while its disk fails until its writer has turned. Cancel: safe.
async fn lives(journal: &Journal) {
    let pulse = Commit {
        state: vec![(
            PULSE.to_owned(),
            Some(Timestamp::now().micros().to_string().into_bytes()),
        )],
        ..Commit::default()
    };
    if journal.health().borrow().level < HealthLevel::Failing {
        // Cancel: both are safe; a commit that nobody waits for goes on.
        tokio::select! {
            committed = journal.commit(pulse) => if committed.is_ok() {
                return;
            },
            () = copes(journal) => return,
        }
    }
    copes(journal).await;
}

/// Waits until the writer of a journal whose disk fails has turned.
async fn copes(journal: &Journal) {
    let begun = journal.turns();
    let mut ticks = interval(TURN);
    loop {
        ticks.tick().await;
        let fails = journal.health().borrow().level >= HealthLevel::Failing;
        if fails && journal.turns() > begun {
            return;
        }
    }
}

/// The instance in one line, the worst fault first.
fn line(status: &Status) -> String {
    let bound = status.listeners.iter().filter(|listener| listener.bound).count();
    let all = status.listeners.len();
    let told = match status.faults.first() {
        None => format!("ok: {bound} of {all} listeners, {} sinks", status.sinks.len()),
        Some(worst) => format!("{}: {}: {}", status.health.name(), worst.part, worst.what),
    };
    telemetry::safe(&told, STATUS_CHARS_MAX).into()
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(error = %error, "the service manager does not listen");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::JournalSettings;

    #[tokio::test]
    async fn a_journal_that_commits_lives_and_one_that_is_closed_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(JournalSettings::at(folder.path().join("journal.db"))).unwrap();
        lives(&journal).await;
        assert!(journal.state(PULSE).await.unwrap().is_some(), "it was a real commit");
        journal.close().await;
        assert!(timeout(3 * TURN, lives(&journal)).await.is_err());
    }
}
