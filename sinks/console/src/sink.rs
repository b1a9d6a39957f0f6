//! The sink: events to a task that keeps the board, its lines to the terminal.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use trapline_schemas::Format;
use trapline_sink::task::{Ended, JobTask};
use trapline_sink::{BatchLimits, Delivery, Fault, FaultKind, Parcel, StreamSink};

use crate::board::Board;
use crate::layout::{Line, Screen};
use crate::out::Out;

/// A console.
#[derive(Debug)]
pub(crate) struct ConsoleSink {
    format: Option<Format>,
    out: Arc<Out>,
    /// Taken by the task with the first batch: a sink may be built outside of a runtime.
    screen: std::sync::Mutex<Option<Screen>>,
    task: JobTask<Job>,
}

enum Job {
    Show(Vec<Arc<Parcel>>, oneshot::Sender<Result<(), Fault>>),
    /// The last one.
    Close,
}

impl ConsoleSink {
    pub(crate) fn new(format: Option<Format>, screen: Screen, out: Out) -> Self {
        Self {
            format,
            out: Arc::new(out),
            screen: std::sync::Mutex::new(Some(screen)),
            task: JobTask::default(),
        }
    }

    /// Each event as it is.
    async fn print(&self, batch: &[Arc<Parcel>], format: Format) -> Result<(), Fault> {
        let mut text = String::with_capacity(batch.iter().map(|parcel| parcel.rendered(format).len() + 1).sum());
        for parcel in batch {
            text.push_str(&String::from_utf8_lossy(parcel.rendered(format)));
            text.push('\n');
        }
        self.out.write(text).await
    }

    /// Hands the batch to the board; comes back when what it made due is on its way to the terminal.
    async fn show(&self, batch: &[Arc<Parcel>]) -> Result<(), Fault> {
        let (reply, answer) = oneshot::channel();
        self.hand(Job::Show(batch.to_vec(), reply))
            .await
            .map_err(|_| closed())?;
        answer.await.unwrap_or_else(|_| Err(closed()))
    }

    async fn hand(&self, job: Job) -> Result<(), Ended> {
        let desk = |queue| {
            let mut screen = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
            let desk = Desk {
                board: Board::default(),
                screen: screen.take().unwrap_or_else(|| Screen::of(false, true)),
                out: self.out.clone(),
                unsaid: String::new(),
            };
            desk.run(queue)
        };
        self.task.hand(job, desk).await
    }
}

fn closed() -> Fault {
    Fault {
        kind: FaultKind::Local,
        message: "the console is closed".to_owned(),
    }
}

#[async_trait]
impl StreamSink for ConsoleSink {
    fn limits(&self) -> BatchLimits {
        BatchLimits {
            events: 500,
            bytes: 1024 * 1024,
            linger: Duration::from_millis(5),
            in_flight: 1,
        }
    }

    async fn deliver(&self, batch: &[Arc<Parcel>]) -> Delivery {
        let shown = match self.format {
            Some(format) => self.print(batch, format).await,
            None => self.show(batch).await,
        };
        match shown {
            Ok(()) => Delivery::all(batch.len()),
            Err(fault) => Delivery::retry(batch.len(), fault),
        }
    }

    async fn check(&self) -> Result<String, Fault> {
        Ok("standard output".to_owned())
    }

    fn destination(&self) -> Option<String> {
        Some("standard output".to_owned())
    }

    async fn close(&self) {
        if self.task.is_started() {
            let _ = self.hand(Job::Close).await;
            self.task.join().await;
        }
    }
}

/// The task that keeps the board.
struct Desk {
    board: Board,
    screen: Screen,
    out: Arc<Out>,
    /// Lines that there was no room for; they go first the next time, so that none is lost or told twice.
    unsaid: String,
}

impl Desk {
    async fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        loop {
            let due = self.board.next_due();
            // Cancel: `recv` and `sleep_until` lose nothing when the other arm wins.
            tokio::select! {
                job = queue.recv() => match job {
                    Some(Job::Show(batch, reply)) => {
                        let _ = reply.send(self.show(&batch).await);
                    }
                    Some(Job::Close) => break self.close().await,
                    None => break,
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    let lines = self.board.due(Instant::now());
                    self.say(&lines).await.unwrap_or_else(complain);
                }
            }
        }
    }

    /// Says what was not said yet, and waits until the terminal has it.
    async fn close(&mut self) {
        let lines = self.board.finish();
        self.say(&lines).await.unwrap_or_else(complain);
        self.out.write(String::new()).await.unwrap_or_else(complain);
    }

    async fn show(&mut self, batch: &[Arc<Parcel>]) -> Result<(), Fault> {
        // A terminal that still takes nothing gets no more: the batch comes again.
        self.say(&[]).await?;
        let (now, mut lines) = (Instant::now(), Vec::new());
        for parcel in batch {
            self.board.take(&parcel.event, now, &mut lines);
        }
        // The board has the batch; what cannot be written now is unsaid, not undelivered.
        self.say(&lines).await.or_else(|fault| {
            complain(fault);
            Ok(())
        })
    }

    async fn say(&mut self, lines: &[Line]) -> Result<(), Fault> {
        for line in lines {
            self.screen.put(line, &mut self.unsaid);
        }
        if self.unsaid.is_empty() {
            return self.out.mend().await;
        }
        self.out.leave(&mut self.unsaid).await
    }
}

fn complain(fault: Fault) {
    tracing::debug!(reason = %fault.message, "the console could not be written");
}

#[cfg(test)]
mod tests;
