//! One message after the other, and what became of each.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use trapline_notice::{Notice, Voice};
use trapline_schemas::Event;
use trapline_sink::pace::Pace;
use trapline_sink::stream::{BatchLimits, Delivery, Fault, FaultKind, Outcome, StreamSink};
use trapline_sink::{Parcel, Said};

use crate::answer::Verdict;
use crate::history::{Page, Recall};
use crate::message::{Form, Message};

use crate::route::{Line, Route, Told, is_channel_id};
use crate::threads::{MessageId, Thread, Threads};

/// Pages of the history that are read at most.
const PAGES_MAX: usize = 10;
/// Longest time for all of them: a notice is waiting.
const RECALL_MAX: Duration = Duration::from_secs(15);
/// The pause after a 429 that names none.
const PAUSE: Duration = Duration::from_secs(1);

/// A channel of a workspace.
#[derive(Debug)]
pub(crate) struct Slack {
    line: Line,
    voice: Voice,
    pace: Pace,
    /// `None` where there are no threads.
    memory: Option<Mutex<Memory>>,
    /// Notices that went as a line of text, because Slack refused the whole.
    shortened: AtomicU64,
    said: Said,
}

/// What is known of threads.
#[derive(Debug)]
struct Memory {
    threads: Threads,
    recall: Recall,
}

/// Why no more of a batch is sent now.
struct Stop {
    fault: Fault,
    retry_after: Option<Duration>,
}

impl Slack {
    /// A sink for a line; `threads` asks for a thread per incident, which a webhook cannot give.
    pub(crate) fn new(line: Line, voice: Voice, interval: Duration, threads: bool) -> Self {
        let recall = match &line.route {
            Route::Bot { channel, .. } if threads => Some(Recall::new(match is_channel_id(channel) {
                true => Ok(()),
                false => Err("`channel` is a name, and only an id can be asked for"),
            })),
            _ => None,
        };
        let memory = recall.map(|recall| {
            Mutex::new(Memory {
                threads: Threads::default(),
                recall,
            })
        });
        Self {
            line,
            voice,
            pace: Pace::new(interval),
            memory,
            shortened: AtomicU64::new(0),
            said: Said::default(),
        }
    }

    /// Posts the notice of an event: in its thread or without, in full or short. Each turn of the loop ends it or gives
    /// up one of the two.
    async fn tell(&self, event: &Event) -> Result<Outcome, Stop> {
        let notice = self.voice.compose(event);
        let message = Message::new(&notice, event.at);
        let (mut thread, mut form) = (self.thread(&notice).await, Form::Full);
        loop {
            let told = self.post(&message, thread.as_ref(), form).await?;
            match told.verdict {
                Verdict::Accepted => {
                    self.said.keep(&accepted(told.id.as_ref()), &[]);
                    self.posted(&notice, thread, told.id, form);
                    return Ok(Outcome::Delivered);
                }
                Verdict::Unthreaded(_) if thread.is_some() => {
                    self.forget(&notice);
                    thread = None;
                }
                Verdict::Refused { .. } if form == Form::Full => form = Form::Short,
                Verdict::Refused { reason, known: true } => return Ok(Outcome::Rejected(reason)),
                // What even a line of text meets, under a name that is new, is hardly about the line.
                Verdict::Refused { reason, .. } | Verdict::Unthreaded(reason) => return Err(config(reason)),
                Verdict::Fault(fault) => return Err(self.stop(fault, told.retry_after)),
            }
        }
    }

    async fn post(&self, message: &Message, thread: Option<&Thread>, form: Form) -> Result<Told, Stop> {
        self.pace.turn().await.map_err(|left| Stop {
            fault: Fault {
                kind: FaultKind::Busy,
                message: "slack asked for a pause, which is not over".to_owned(),
            },
            retry_after: Some(left),
        })?;
        Ok(self.line.post(message, thread, form).await)
    }

    /// A pause that Slack asked for is kept, whoever comes with the next event.
    fn stop(&self, fault: Fault, retry_after: Option<Duration>) -> Stop {
        let asked = (fault.kind == FaultKind::Busy).then(|| retry_after.unwrap_or(PAUSE));
        if let Some(pause) = asked.or(retry_after) {
            self.pace.close_for(pause);
        }
        Stop { fault, retry_after }
    }

    /// The thread that a notice belongs to; after a start the channel is asked.
    async fn thread(&self, notice: &Notice) -> Option<Thread> {
        let incident = notice.incident?;
        let (known, due) = {
            let memory = self.memory()?;
            (memory.threads.get(&incident), memory.recall.is_due())
        };
        if known.is_some() || !due {
            return known;
        }
        self.recall().await;
        self.memory()?.threads.get(&incident)
    }

    /// Reads the threads of the last days from the channel. That it fails is noted, and no more than that.
    async fn recall(&self) {
        let Route::Bot { channel, .. } = &self.line.route else {
            return;
        };
        let read = tokio::time::timeout(RECALL_MAX, self.read_history(channel)).await;
        let late = Fault {
            kind: FaultKind::Unreachable,
            message: "slack's history of the channel took too long".to_owned(),
        };
        let Some(mut memory) = self.memory() else { return };
        match read.unwrap_or(Err(late)) {
            Ok(()) => memory.recall.done(),
            Err(fault) => {
                tracing::warn!(error = %fault.message, "threads of before the start are not known");
                memory.recall.failed(&fault);
            }
        }
    }

    async fn read_history(&self, channel: &str) -> Result<(), Fault> {
        let mut cursor = None;
        for _ in 0..PAGES_MAX {
            let Page { found, next } = self.line.history(channel, cursor.as_deref()).await?;
            if let Some(mut memory) = self.memory() {
                // The newest is first, and stays.
                found
                    .into_iter()
                    .for_each(|(incident, thread)| memory.threads.note(incident, thread.root, thread.weight));
            }
            if next.is_none() {
                break;
            }
            cursor = next;
        }
        Ok(())
    }

    fn posted(&self, notice: &Notice, thread: Option<Thread>, id: Option<MessageId>, form: Form) {
        if form == Form::Short {
            self.shortened.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(event.id = %notice.event, "slack refused a notice as it was, so it went as a line of text");
        }
        let (Some(incident), Some(mut memory)) = (notice.incident, self.memory()) else {
            return;
        };
        memory.recall.went_out();
        if let Some(root) = thread.map(|thread| thread.root).or(id) {
            memory.threads.note(incident, root, notice.weight);
        }
    }

    fn forget(&self, notice: &Notice) {
        if let (Some(incident), Some(mut memory)) = (notice.incident, self.memory()) {
            memory.threads.forget(&incident);
        }
    }

    fn memory(&self) -> Option<MutexGuard<'_, Memory>> {
        let memory = self.memory.as_ref()?;
        Some(memory.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What Slack's good answer says.
fn accepted(message: Option<&MessageId>) -> String {
    match message {
        Some(message) => format!("ok, message {}", message.as_str()),
        None => "ok".to_owned(),
    }
}

fn config(message: String) -> Stop {
    Stop {
        fault: Fault {
            kind: FaultKind::Config,
            message,
        },
        retry_after: None,
    }
}

#[async_trait]
impl StreamSink for Slack {
    fn limits(&self) -> BatchLimits {
        BatchLimits {
            // A message is a request of its own, so a crash or a failure doubles none that was taken before it.
            events: 1,
            bytes: 1 << 20,
            linger: Duration::ZERO,
            in_flight: 1,
        }
    }

    async fn deliver(&self, batch: &[Arc<Parcel>]) -> Delivery {
        let mut delivery = Delivery::all(0);
        for parcel in batch {
            match self.tell(&parcel.event).await {
                Ok(outcome) => delivery.outcomes.push(outcome),
                Err(stop) => {
                    delivery.fault = Some(stop.fault);
                    delivery.retry_after = stop.retry_after;
                    break;
                }
            }
        }
        delivery.outcomes.resize(batch.len(), Outcome::Retry);
        delivery
    }

    async fn check(&self) -> Result<String, Fault> {
        self.line.check().await
    }

    fn destination(&self) -> Option<String> {
        let origin = self.line.client.origin();
        Some(match &self.line.route {
            Route::Webhook { .. } => format!("a webhook of {origin}"),
            Route::Bot { channel, .. } => format!("channel {channel} at {origin}"),
        })
    }

    fn word(&self) -> Option<String> {
        self.said.last()
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = self.line.client.notes();
        if matches!(self.line.route, Route::Webhook { .. }) {
            notes.push("a webhook tells no message's name, so incidents have no threads".to_owned());
        }
        notes.extend(self.memory().and_then(|memory| memory.recall.note()));
        match self.shortened.load(Ordering::Relaxed) {
            0 => {}
            count => notes.push(format!(
                "{count} notices went as a line of text: slack refused them as they were"
            )),
        }
        notes
    }
}
