//! The writing thread: a terminal that takes nothing blocks it and nobody else.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
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
    /// Who waits for the write; without, an error is told with the next one.
    reply: Option<oneshot::Sender<io::Result<()>>>,
}

/// Where the text goes.
pub(crate) type Sink = Box<dyn Write + Send>;

/// A handle on the writing thread; it ends when the handle is dropped and the queue is empty.
#[derive(Debug)]
pub(crate) struct Out {
    jobs: mpsc::Sender<Job>,
    deadline: Duration,
    /// The error of a write that nobody waited for.
    error: Arc<Mutex<Option<io::Error>>>,
}

impl Out {
    /// Starts the thread. If the system has no thread to give, every write is a fault.
    pub(crate) fn new(sink: Sink, deadline: Duration) -> Self {
        let (jobs, queue) = mpsc::channel::<Job>(QUEUE);
        let error = Arc::default();
        let shared = Arc::clone(&error);
        let started = std::thread::Builder::new()
            .name("console".to_owned())
            .spawn(move || work(sink, queue, &shared));
        if let Err(error) = started {
            tracing::error!(%error, "cannot start the console's thread");
        }
        Self { jobs, deadline, error }
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

    /// Leaves `text` to be written, and empties it; if there is no room for it within the deadline, or the write before failed,
    /// `text` stays. Cancel: safe; `text` stays or is left, whole.
    pub(crate) async fn leave(&self, text: &mut String) -> Result<(), Fault> {
        if let Some(error) = self.error.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(refused(&error));
        }
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

fn work(mut sink: Sink, mut queue: mpsc::Receiver<Job>, error: &Mutex<Option<io::Error>>) {
    while let Some(job) = queue.blocking_recv() {
        let written = sink.write_all(job.text.as_bytes()).and_then(|()| sink.flush());
        match (job.reply, written) {
            (Some(reply), written) => {
                let _ = reply.send(written);
            }
            (None, Err(why)) => *error.lock().unwrap_or_else(PoisonError::into_inner) = Some(why),
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
