//! The writing thread: a terminal that takes nothing blocks it and nobody else.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use trapline_sink::{Fault, FaultKind};

/// Writes waiting for the terminal; when full, the sink waits.
const QUEUE: usize = 8;
/// How long the terminal may take nothing before it is a fault.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

struct Job {
    text: String,
    /// Who waits for the write; without, it is tried again before the next one.
    reply: Option<oneshot::Sender<io::Result<()>>>,
}

/// Where the text goes.
pub(crate) type Sink = Box<dyn Write + Send>;

/// A handle on the writing thread; it ends when the handle is dropped and the queue is empty.
#[derive(Debug)]
pub(crate) struct Out {
    jobs: mpsc::Sender<Job>,
    deadline: Duration,
    /// What could not be written by writes that nobody waited for.
    failed: Arc<Mutex<String>>,
}

impl Out {
    /// Starts the thread. If the system has no thread to give, every write is a fault.
    pub(crate) fn new(sink: Sink, deadline: Duration) -> Self {
        let (jobs, queue) = mpsc::channel::<Job>(QUEUE);
        let failed = Arc::default();
        let shared = Arc::clone(&failed);
        let started = std::thread::Builder::new()
            .name("console".to_owned())
            .spawn(move || work(sink, queue, &shared));
        if let Err(error) = started {
            tracing::error!(%error, "cannot start the console's thread");
        }
        Self { jobs, deadline, failed }
    }

    /// Writes all of `text`. Time: at most the deadline. Cancel: safe; the text may be written nevertheless.
    pub(crate) async fn write(&self, text: String) -> Result<(), Fault> {
        let (reply, answer) = oneshot::channel();
        let written = timeout(self.deadline, async {
            self.jobs
                .send(Job {
                    text,
                    reply: Some(reply),
                })
                .await
                .map_err(|_| ended())?;
            answer.await.map_err(|_| ended())?
        });
        match written.await {
            Ok(written) => written.map_err(|error| refused(&error)),
            Err(_) => Err(self.stuck()),
        }
    }

    /// Writes once more what could not be written. Errors: it still cannot be. A part of it may be written twice.
    pub(crate) async fn mend(&self) -> Result<(), Fault> {
        let text = std::mem::take(&mut *lock(&self.failed));
        if text.is_empty() {
            return Ok(());
        }
        let written = self.write(text.clone()).await;
        if written.is_err() {
            lock(&self.failed).insert_str(0, &text);
        }
        written
    }

    /// Leaves `text` to be written, and empties it; if there is no room for it within the deadline, or what was left
    /// before cannot be written, `text` stays.
    pub(crate) async fn leave(&self, text: &mut String) -> Result<(), Fault> {
        self.mend().await?;
        match timeout(self.deadline, self.jobs.reserve()).await {
            Ok(Ok(place)) => {
                place.send(Job {
                    text: std::mem::take(text),
                    reply: None,
                });
                Ok(())
            }
            Ok(Err(_)) => Err(refused(&ended())),
            Err(_) => Err(self.stuck()),
        }
    }
}

impl Out {
    fn stuck(&self) -> Fault {
        let message = format!("standard output took nothing for {} ms", self.deadline.as_millis());
        Fault {
            kind: FaultKind::Local,
            message,
        }
    }
}

fn lock(text: &Mutex<String>) -> MutexGuard<'_, String> {
    text.lock().unwrap_or_else(PoisonError::into_inner)
}

fn work(mut sink: Sink, mut queue: mpsc::Receiver<Job>, failed: &Mutex<String>) {
    while let Some(job) = queue.blocking_recv() {
        let written = sink.write_all(job.text.as_bytes()).and_then(|()| sink.flush());
        match (job.reply, written) {
            (Some(reply), written) => {
                let _ = reply.send(written);
            }
            (None, Err(_)) => lock(failed).push_str(&job.text),
            (None, Ok(())) => {}
        }
    }
}

fn ended() -> io::Error {
    io::Error::other("the writing thread ended")
}

fn refused(error: &io::Error) -> Fault {
    Fault {
        kind: FaultKind::Local,
        message: format!("cannot write to standard output: {error}"),
    }
}
