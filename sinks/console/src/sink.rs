//! The sink: events to a task that keeps the board, its lines to the terminal.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use trapline_schemas::Format;
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
    jobs: OnceLock<mpsc::Sender<Job>>,
}

enum Job {
    Show(Vec<Arc<Parcel>>, oneshot::Sender<Result<(), Fault>>),
    Close(oneshot::Sender<()>),
}

impl ConsoleSink {
    pub(crate) fn new(format: Option<Format>, screen: Screen, out: Out) -> Self {
        Self {
            format,
            out: Arc::new(out),
            screen: std::sync::Mutex::new(Some(screen)),
            jobs: OnceLock::new(),
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
        if self.jobs().send(Job::Show(batch.to_vec(), reply)).await.is_err() {
            return Err(closed());
        }
        answer.await.unwrap_or_else(|_| Err(closed()))
    }

    fn jobs(&self) -> &mpsc::Sender<Job> {
        self.jobs.get_or_init(|| {
            let (jobs, queue) = mpsc::channel(1);
            let screen = self
                .screen
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .take();
            let screen = screen.unwrap_or_else(|| Screen::of(false, true));
            tokio::spawn(
                Desk {
                    board: Board::default(),
                    screen,
                    out: self.out.clone(),
                    unsaid: String::new(),
                }
                .run(queue),
            );
            jobs
        })
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

    async fn close(&self) {
        let Some(jobs) = self.jobs.get() else { return };
        let (reply, answer) = oneshot::channel();
        if jobs.send(Job::Close(reply)).await.is_ok() {
            let _ = answer.await;
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
                    Some(Job::Close(reply)) => {
                        let lines = self.board.finish();
                        self.say(&lines).await.unwrap_or_else(complain);
                        self.out.write(String::new()).await.unwrap_or_else(complain);
                        let _ = reply.send(());
                    }
                    None => break,
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    let lines = self.board.due(Instant::now());
                    self.say(&lines).await.unwrap_or_else(complain);
                }
            }
        }
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
