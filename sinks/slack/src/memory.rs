//! What is known of threads, and how a start finds out what was known before it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use trapline_notice::Notice;
use trapline_sink::stream::{Fault, FaultKind};

use crate::history::{Page, Recall};
use crate::route::{Line, Route, is_channel_id};
use crate::threads::{MessageId, Thread, Threads};

/// Pages of the history that are read at most.
const PAGES_MAX: usize = 10;
/// Longest time for all of them: a notice is waiting.
const RECALL_MAX: Duration = Duration::from_secs(15);

/// The threads of a channel.
#[derive(Debug)]
pub(crate) struct Memory(Mutex<State>);

#[derive(Debug)]
struct State {
    threads: Threads,
    recall: Recall,
}

impl Memory {
    /// For the threads of this channel.
    pub(crate) fn new(channel: &str) -> Self {
        let recall = Recall::new(match is_channel_id(channel) {
            true => Ok(()),
            false => Err("`channel` is a name, and only an id can be asked for"),
        });
        let threads = Threads::default();
        Self(Mutex::new(State { threads, recall }))
    }

    /// The thread that a notice belongs to; after a start the channel is asked.
    pub(crate) async fn thread(&self, line: &Line, notice: &Notice) -> Option<Thread> {
        let incident = notice.incident?;
        let (known, due) = {
            let state = self.state();
            (state.threads.get(&incident), state.recall.is_due())
        };
        if known.is_some() || !due {
            return known;
        }
        self.recall(line).await;
        self.state().threads.get(&incident)
    }

    /// A notice was posted, in this thread or as this message.
    pub(crate) fn posted(&self, notice: &Notice, thread: Option<&Thread>, id: Option<MessageId>) {
        let Some(incident) = notice.incident else { return };
        let mut state = self.state();
        state.recall.went_out();
        if let Some(root) = thread.map(|thread| thread.root.clone()).or(id) {
            state.threads.note(incident, root, notice.weight);
        }
    }

    /// The thread of a notice cannot be answered.
    pub(crate) fn forget(&self, notice: &Notice) {
        if let Some(incident) = notice.incident {
            self.state().threads.forget(&incident);
        }
    }

    /// Why threads begin anew after a restart.
    pub(crate) fn note(&self) -> Option<String> {
        self.state().recall.note()
    }

    /// Reads the threads of the last days from the channel. That it fails is noted, and no more than that.
    async fn recall(&self, line: &Line) {
        let Route::Bot { channel, .. } = &line.route else {
            return;
        };
        let read = tokio::time::timeout(RECALL_MAX, self.read_history(line, channel)).await;
        let late = Fault {
            kind: FaultKind::Unreachable,
            message: "slack's history of the channel took too long".to_owned(),
        };
        let mut state = self.state();
        match read.unwrap_or(Err(late)) {
            Ok(()) => state.recall.done(),
            Err(fault) => {
                tracing::warn!(error = %fault.message, "threads of before the start are not known");
                state.recall.failed(&fault);
            }
        }
    }

    async fn read_history(&self, line: &Line, channel: &str) -> Result<(), Fault> {
        let mut cursor = None;
        for _ in 0..PAGES_MAX {
            let Page { found, next } = line.history(channel, cursor.as_deref()).await?;
            let mut state = self.state();
            // The newest is first, and stays.
            found
                .into_iter()
                .for_each(|(incident, thread)| state.threads.note(incident, thread.root, thread.weight));
            if next.is_none() {
                break;
            }
            cursor = next;
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
