//! The one task set: every task has a name and a span, its end is seen, its panic is not silent.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;
use trapline_schemas::Timestamp;

/// Ended stations kept for status.
const ENDED_MAX: usize = 32;

/// Handle to the task set; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    ended: Arc<Mutex<Vec<Ended>>>,
}

/// A task that should not have ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Its name.
    pub name: &'static str,
    /// When.
    pub at: Timestamp,
}

impl Tasks {
    /// Runs `task` until it ends by itself; a panic ends that task alone.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let ended = self.ended.clone();
        let span = tracing::info_span!("task", task.name = name);
        let watched = async move {
            if AssertUnwindSafe(task).catch_unwind().await.is_err() {
                note(&ended, name);
            }
        };
        self.tracker.spawn(watched.instrument(span));
    }

    /// Runs a task that works until `stop`; if it ends before, that is a fault that status shows.
    pub fn spawn_station(
        &self,
        name: &'static str,
        stop: CancellationToken,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<()> {
        let ended = self.ended.clone();
        let span = tracing::info_span!("task", task.name = name);
        let watched = async move {
            let panicked = AssertUnwindSafe(task).catch_unwind().await.is_err();
            if panicked || !stop.is_cancelled() {
                tracing::error!(task.name = name, "task {name} ended before its time, restart trapline");
                note(&ended, name);
            }
        };
        self.tracker.spawn(watched.instrument(span))
    }

    /// Tasks that ended though they should not have, the oldest first.
    pub fn ended(&self) -> Vec<Ended> {
        self.ended.lock().map(|ended| ended.clone()).unwrap_or_default()
    }

    /// Waits until every task has ended. Cancel: safe.
    pub async fn join(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}

fn note(ended: &Mutex<Vec<Ended>>, name: &'static str) {
    if let Ok(mut ended) = ended.lock()
        && ended.len() < ENDED_MAX
    {
        ended.push(Ended {
            name,
            at: Timestamp::now(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_ends_its_own_task_alone_and_is_seen() {
        let tasks = Tasks::default();
        let (sent, received) = tokio::sync::oneshot::channel();
        tasks.spawn("broken", async { panic!("on purpose") });
        tasks.spawn("sound", async move { sent.send(7).unwrap() });
        assert_eq!(received.await.unwrap(), 7);
        tasks.join().await;
        let ended: Vec<_> = tasks.ended().iter().map(|ended| ended.name).collect();
        assert_eq!(ended, ["broken"]);
    }

    #[tokio::test]
    async fn a_station_that_ends_early_is_a_fault_and_one_that_was_stopped_is_not() {
        let (tasks, stop) = (Tasks::default(), CancellationToken::new());
        tasks.spawn_station("early", stop.clone(), async {});
        let stopped = stop.clone();
        tasks.spawn_station("patient", stop.clone(), async move { stopped.cancelled().await });
        while tasks.ended().is_empty() {
            tokio::task::yield_now().await;
        }
        stop.cancel();
        tasks.join().await;
        let ended: Vec<_> = tasks.ended().iter().map(|ended| ended.name).collect();
        assert_eq!(ended, ["early"]);
    }
}
