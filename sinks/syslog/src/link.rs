//! One stream connection to a receiver that never answers.
//!
//! In: batches of frames. Out: written, or a fault. One task owns the connection; it ends with the [`Link`].
//!
//! Invariants:
//! 1. The read side is polled before each write and watched between them: an end or an error closes the connection.
//! 2. Frames called written are kept in the tail (bounded by count, bytes and [`TAIL_AGE_MAX`]) and written first on the
//!    next connection. When a connection is lost that had such frames, it is opened again without waiting for an event.
//! 3. A peer that sends anything is on probation: nothing is called written until it stays silent for [`PROBATION`]
//!    after it, and the tail does not age meanwhile.
//! 4. A batch is written within the deadline or the connection is given up; connecting has its own ([`trapline_sink::dial`]).

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::OnceLock;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};
use trapline_schemas::text::clean;
use trapline_sink::dial::{CONNECT_DEADLINE, Dialer};
use trapline_sink::tls::explain;
use trapline_sink::{Fault, FaultKind};

use crate::block::Pieces;

/// Frames older than this have been read: twice the time after which an unacknowledged connection is given up, and more.
const TAIL_AGE_MAX: Duration = Duration::from_secs(120);
/// Most bytes in the tail.
const TAIL_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long a peer that has sent something must be silent after a batch.
const PROBATION: Duration = Duration::from_millis(500);
/// How long the peer may take to close after us.
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);
/// Pauses between attempts to bring the tail home when no event comes.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// How much of what a peer sends is shown.
const SHOWN_BYTES: usize = 48;

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// What the stream runs over.
#[derive(Debug)]
pub(crate) enum Wire {
    /// TCP, with or without TLS.
    Net(Box<Dialer>),
    /// A local stream socket.
    Unix(PathBuf),
}

impl Wire {
    async fn connect(&self) -> Result<(Box<dyn Io>, String), Fault> {
        match self {
            Self::Net(dialer) => {
                let stream = dialer.connect().await?;
                let protection = stream.protection();
                Ok((Box::new(stream), protection))
            }
            Self::Unix(path) => match timeout(CONNECT_DEADLINE, UnixStream::connect(path)).await {
                Ok(Ok(stream)) => Ok((Box::new(stream), "a unix stream".to_owned())),
                Ok(Err(error)) => Err(self.unreachable(&format!("cannot connect: {error}"))),
                Err(_) => Err(self.unreachable("does not accept")),
            },
        }
    }

    fn unreachable(&self, why: &str) -> Fault {
        Fault {
            kind: FaultKind::Unreachable,
            message: format!("{}: {why}", self.shown()),
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Net(dialer) => dialer.address().to_string(),
            Self::Unix(path) => path.display().to_string(),
        }
    }
}

/// A handle on the connection's task.
#[derive(Debug)]
pub(crate) struct Link {
    wire: std::sync::Arc<Wire>,
    resend_frames: usize,
    deadline: Duration,
    jobs: OnceLock<mpsc::Sender<Job>>,
}

enum Job {
    Send(Pieces, oneshot::Sender<Result<(), Fault>>),
    Close(oneshot::Sender<()>),
}

impl Link {
    pub(crate) fn new(wire: Wire, resend_frames: usize, deadline: Duration) -> Self {
        Self {
            wire: std::sync::Arc::new(wire),
            resend_frames,
            deadline,
            jobs: OnceLock::new(),
        }
    }

    /// Writes the frames, in order. Time: at most connecting plus twice the deadline and the probation. Cancel: safe;
    /// the frames may be written nevertheless.
    pub(crate) async fn send(&self, frames: Pieces) -> Result<(), Fault> {
        let (reply, answer) = oneshot::channel();
        let ended = |_| self.wire.unreachable("the sink is closed");
        self.jobs()
            .send(Job::Send(frames, reply))
            .await
            .map_err(|_| ended(()))?;
        answer.await.map_err(|_| ended(()))?
    }

    /// Connects beside the connection in use, sends nothing.
    pub(crate) async fn check(&self) -> Result<String, Fault> {
        let (mut stream, protection) = self.wire.connect().await?;
        // With TLS 1.3 a refused client certificate shows only in the first read after the handshake.
        let mut byte = [0; 1];
        match timeout(PROBATION, stream.read(&mut byte)).await {
            Ok(Ok(0)) => return Err(self.wire.unreachable("closes at once")),
            Ok(Ok(_)) => return Err(noise(&self.wire, &byte)),
            Ok(Err(error)) => return Err(broken(&self.wire, &error)),
            Err(_) => {}
        }
        let _ = timeout(CLOSE_DEADLINE, stream.shutdown()).await;
        Ok(format!("{} accepts, {protection}", self.wire.shown()))
    }

    pub(crate) fn notes(&self) -> Vec<String> {
        let no_answers = "no acknowledgement in syslog: the last frames are sent again after a reconnect".to_owned();
        match &*self.wire {
            Wire::Net(dialer) => match dialer.tls() {
                Some(tls) => std::iter::once(no_answers).chain(tls.notes()).collect(),
                None => vec!["tls is off: events travel in clear".to_owned(), no_answers],
            },
            Wire::Unix(_) => Vec::new(),
        }
    }

    /// Ends the stream and waits until the peer has read all and closed, within a bound.
    pub(crate) async fn close(&self) {
        let Some(jobs) = self.jobs.get() else { return };
        let (reply, answer) = oneshot::channel();
        if jobs.send(Job::Close(reply)).await.is_ok() {
            let _ = answer.await;
        }
    }

    /// Starts the task with the first use: a sink may be built outside of a runtime.
    fn jobs(&self) -> &mpsc::Sender<Job> {
        self.jobs.get_or_init(|| {
            let (jobs, queue) = mpsc::channel(1);
            let connection = Connection {
                wire: self.wire.clone(),
                resend_frames: self.resend_frames,
                deadline: self.deadline,
                stream: None,
                tail: VecDeque::new(),
                owed: false,
                probation: false,
                pause: PAUSE_MIN,
                next_try: Instant::now(),
            };
            tokio::spawn(connection.run(queue));
            jobs
        })
    }
}

struct Connection {
    wire: std::sync::Arc<Wire>,
    resend_frames: usize,
    deadline: Duration,
    stream: Option<Box<dyn Io>>,
    tail: VecDeque<(Instant, Bytes)>,
    /// The tail was not yet written on a connection after the one that was lost.
    owed: bool,
    probation: bool,
    pause: Duration,
    next_try: Instant,
}

impl Connection {
    async fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        loop {
            // Cancel: `recv`, `ended` (a read) and `sleep_until` lose nothing when another arm wins.
            tokio::select! {
                job = queue.recv() => match job {
                    Some(Job::Send(frames, reply)) => {
                        let _ = reply.send(self.send(frames).await);
                    }
                    Some(Job::Close(reply)) => {
                        self.close().await;
                        let _ = reply.send(());
                    }
                    None => break,
                },
                fault = ended(&self.wire, self.stream.as_mut()) => self.lost(&fault),
                () = sleep_until(self.next_try), if self.owed => self.bring_home().await,
            }
        }
    }

    async fn send(&mut self, frames: Pieces) -> Result<(), Fault> {
        let sent = self.try_send(frames.bytes()).await;
        match &sent {
            Ok(()) => self.keep(&frames),
            Err(fault) => self.lost(fault),
        }
        sent
    }

    async fn try_send(&mut self, frames: &[u8]) -> Result<(), Fault> {
        if let Some(fault) = self.glance().await {
            self.lost(&fault);
            if self.probation {
                return Err(fault);
            }
        }
        self.open().await?;
        self.write(frames).await?;
        self.listen().await
    }

    /// What the read side says at this moment; `None`: open and silent.
    async fn glance(&mut self) -> Option<Fault> {
        // Without a turn of the runtime a close that has just come in would not show yet.
        tokio::task::yield_now().await;
        let mut look = pin!(ended(&self.wire, self.stream.as_mut()));
        std::future::poll_fn(|cx| match look.as_mut().poll(cx) {
            Poll::Ready(fault) => Poll::Ready(Some(fault)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    /// Connects if need be, and writes the tail first.
    async fn open(&mut self) -> Result<(), Fault> {
        if self.stream.is_some() {
            return Ok(());
        }
        let (stream, _) = self.wire.connect().await?;
        self.stream = Some(stream);
        self.forget_old();
        let tail: Vec<u8> = self.tail.iter().flat_map(|(_, frame)| frame.clone()).collect();
        if !tail.is_empty() {
            tracing::debug!(peer = %self.wire.shown(), frames = self.tail.len(), "reconnected, sending the last frames again");
        }
        self.write(&tail).await?;
        self.owed = false;
        Ok(())
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let Some(stream) = self.stream.as_mut() else {
            return Ok(());
        };
        let written = timeout(self.deadline, async {
            stream.write_all(bytes).await?;
            stream.flush().await
        });
        match written.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(broken(&self.wire, &error)),
            Err(_) => {
                let why = format!(
                    "did not take {} bytes within {} ms",
                    bytes.len(),
                    self.deadline.as_millis()
                );
                Err(self.wire.unreachable(&why))
            }
        }
    }

    /// Looks once after a write; on probation it waits.
    async fn listen(&mut self) -> Result<(), Fault> {
        if !self.probation {
            return self.glance().await.map_or(Ok(()), Err);
        }
        match timeout(PROBATION, ended(&self.wire, self.stream.as_mut())).await {
            Ok(fault) => Err(fault),
            Err(_) => {
                self.probation = false;
                Ok(())
            }
        }
    }

    /// Gives the connection up. Frames that the peer may not have read are brought home on the next one.
    fn lost(&mut self, fault: &Fault) {
        tracing::debug!(peer = %self.wire.shown(), reason = %fault.message, "connection ended");
        self.stream = None;
        self.probation |= fault.kind == FaultKind::Server;
        self.forget_old();
        self.owed = !self.tail.is_empty();
        self.next_try = Instant::now() + self.pause;
    }

    /// Opens a connection for the tail alone.
    async fn bring_home(&mut self) {
        let opened = self.open().await;
        let done = match opened {
            Ok(()) => self.listen().await,
            Err(fault) => Err(fault),
        };
        match done {
            Ok(()) => self.pause = PAUSE_MIN,
            Err(fault) => {
                self.pause = (self.pause * 2).min(PAUSE_MAX);
                self.lost(&fault);
            }
        }
    }

    fn keep(&mut self, frames: &Pieces) {
        self.pause = PAUSE_MIN;
        let now = Instant::now();
        self.tail.extend(frames.pieces().map(|frame| (now, frame)));
        let mut bytes: usize = self.tail.iter().map(|(_, frame)| frame.len()).sum();
        while self.tail.len() > self.resend_frames || bytes > TAIL_BYTES_MAX {
            let Some((_, frame)) = self.tail.pop_front() else { break };
            bytes -= frame.len();
        }
    }

    fn forget_old(&mut self) {
        while !self.probation && self.tail.front().is_some_and(|(at, _)| at.elapsed() > TAIL_AGE_MAX) {
            self.tail.pop_front();
        }
    }

    async fn close(&mut self) {
        if self.owed {
            self.bring_home().await;
        }
        if let Some(mut stream) = self.stream.take() {
            let mut rest = [0; 64];
            let _ = timeout(CLOSE_DEADLINE, async {
                stream.shutdown().await?;
                while stream.read(&mut rest).await? > 0 {}
                io::Result::Ok(())
            })
            .await;
        }
        self.tail.clear();
        self.owed = false;
    }
}

/// Waits until the peer closes, fails or sends; for ever if there is no connection. Cancel: safe; a read takes nothing
/// unless it ends.
async fn ended(wire: &Wire, stream: Option<&mut Box<dyn Io>>) -> Fault {
    let Some(stream) = stream else {
        return std::future::pending().await;
    };
    let mut bytes = [0; SHOWN_BYTES];
    match stream.read(&mut bytes).await {
        Ok(0) => wire.unreachable("closed the connection"),
        Ok(len) => noise(wire, bytes.get(..len).unwrap_or_default()),
        Err(error) => broken(wire, &error),
    }
}

fn noise(wire: &Wire, bytes: &[u8]) -> Fault {
    let message = format!(
        "{} answers (`{}`): a syslog receiver is silent, is this one?",
        wire.shown(),
        clean(bytes)
    );
    Fault {
        kind: FaultKind::Server,
        message,
    }
}

fn broken(wire: &Wire, error: &io::Error) -> Fault {
    match explain(error) {
        Some(fault) => Fault {
            message: format!("{}: {}", wire.shown(), fault.message),
            ..fault
        },
        None => wire.unreachable(&error.to_string()),
    }
}
