//! One stream connection to a receiver that never answers.
//!
//! In: batches of frames. Out: written, or a fault. One task owns the connection; it ends with the close, or with the
//! [`Link`].
//!
//! Invariants:
//! 1. The read side is polled before each write and watched between them: an end or an error closes the connection.
//! 2. Frames called written are kept in the [`Tail`] and written first on the next connection. When a connection is lost
//!    that had such frames, it is opened again without waiting for an event. Frames that are owed do not age, and those
//!    still owed at the end are in [`Link::arrears`].
//! 3. A new connection is on trial: nothing is called written until the peer was silent for [`TRIAL_MIN`] and as long as
//!    connecting took, because with TLS 1.3 a refused client certificate shows only after our first write, and a
//!    balancer without a receiver closes only then. Who speaks later than that is listened to longer the next time.
//! 4. A batch is written within the deadline or the connection is given up; connecting has its own ([`trapline_sink::dial`]).

use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};
use trapline_schemas::text::clean;
use trapline_sink::dial::{CONNECT_DEADLINE, Dialer};
use trapline_sink::task::{Ended, JobTask};
use trapline_sink::tls::explain;
use trapline_sink::{Arrears, Fault, FaultKind};

use crate::block::Pieces;
use crate::tail::Tail;

/// How long the peer must be silent before a new connection is trusted.
pub(crate) const TRIAL_MIN: Duration = Duration::from_millis(500);
/// No refusal takes longer than this.
const TRIAL_MAX: Duration = Duration::from_secs(10);
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
    arrears: watch::Sender<Arrears>,
    task: JobTask<Job>,
}

enum Job {
    Send(Pieces, oneshot::Sender<Result<(), Fault>>),
    /// The last one.
    Close,
}

impl Link {
    pub(crate) fn new(wire: Wire, resend_frames: usize, deadline: Duration) -> Self {
        Self {
            wire: std::sync::Arc::new(wire),
            resend_frames,
            deadline,
            arrears: watch::Sender::default(),
            task: JobTask::default(),
        }
    }

    /// Writes the frames, in order. Time: at most connecting plus twice the deadline and the trial. Cancel: safe; the
    /// frames may be written nevertheless.
    pub(crate) async fn send(&self, frames: Pieces) -> Result<(), Fault> {
        let (reply, answer) = oneshot::channel();
        let closed = || self.wire.unreachable("the sink is closed");
        self.hand(Job::Send(frames, reply)).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// Connects beside the connection in use, sends nothing.
    pub(crate) async fn check(&self) -> Result<String, Fault> {
        let (mut stream, protection) = self.wire.connect().await?;
        // With TLS 1.3 a refused client certificate shows only in the first read after the handshake.
        let mut byte = [0; 1];
        match timeout(TRIAL_MIN, stream.read(&mut byte)).await {
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

    /// What the peer may not have read although it was called written.
    pub(crate) fn arrears(&self) -> watch::Receiver<Arrears> {
        self.arrears.subscribe()
    }

    /// Ends the stream and waits until the peer has read all and closed, within a bound.
    pub(crate) async fn close(&self) {
        if self.task.is_started() {
            let _ = self.hand(Job::Close).await;
            self.task.join().await;
        }
    }

    async fn hand(&self, job: Job) -> Result<(), Ended> {
        let connection = |queue| {
            let connection = Connection {
                wire: self.wire.clone(),
                deadline: self.deadline,
                arrears: self.arrears.clone(),
                stream: None,
                tail: Tail::new(self.resend_frames),
                owed: false,
                opened: Instant::now(),
                trial: TRIAL_MIN,
                trusted: false,
                pause: PAUSE_MIN,
                next_try: Instant::now(),
            };
            connection.run(queue)
        };
        self.task.hand(job, connection).await
    }
}

struct Connection {
    wire: std::sync::Arc<Wire>,
    deadline: Duration,
    arrears: watch::Sender<Arrears>,
    stream: Option<Box<dyn Io>>,
    tail: Tail,
    /// The tail was not yet written on a trusted connection after the one that was lost.
    owed: bool,
    opened: Instant,
    /// How long the peer must be silent on a new connection.
    trial: Duration,
    trusted: bool,
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
                    Some(Job::Close) => break self.close().await,
                    None => break,
                },
                fault = ended(&self.wire, self.stream.as_mut()) => self.ended_between(fault),
                () = sleep_until(self.next_try), if self.owed => self.bring_home().await,
            }
        }
    }

    async fn send(&mut self, frames: Pieces) -> Result<(), Fault> {
        let sent = self.try_send(frames.bytes()).await;
        match &sent {
            Ok(()) => {
                self.pause = PAUSE_MIN;
                self.tail.keep(&frames, Instant::now());
            }
            Err(fault) => self.lost(fault),
        }
        sent
    }

    async fn try_send(&mut self, frames: &[u8]) -> Result<(), Fault> {
        if let Some(fault) = self.glance().await {
            if has_spoken(&fault) {
                return Err(fault);
            }
            self.lost(&fault);
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
        let asked = Instant::now();
        let (stream, _) = self.wire.connect().await?;
        self.stream = Some(stream);
        self.opened = Instant::now();
        self.trusted = false;
        // Connecting took more than the turn of a packet: what the peer says to our last one comes within that time.
        self.trial = self.trial.max(asked.elapsed());
        if !self.tail.is_empty() {
            tracing::debug!(peer = %self.wire.shown(), frames = self.tail.len(), "reconnected, sending the last frames again");
        }
        self.write(&self.tail.bytes()).await
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
            // The peer's reason may have come before its reset.
            Ok(Err(error)) => Err(self.glance().await.unwrap_or_else(|| broken(&self.wire, &error))),
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

    /// Looks once after a write; on trial it waits.
    async fn listen(&mut self) -> Result<(), Fault> {
        if self.trusted {
            return self.glance().await.map_or(Ok(()), Err);
        }
        match timeout(self.trial, ended(&self.wire, self.stream.as_mut())).await {
            Ok(fault) => Err(fault),
            Err(_) => {
                self.trust();
                Ok(())
            }
        }
    }

    fn trust(&mut self) {
        self.trusted = true;
        self.tail.start(Instant::now());
        self.owed = false;
        self.tell(None);
    }

    /// Gives the connection up. Frames that the peer may not have read are brought home on the next one.
    fn lost(&mut self, fault: &Fault) {
        tracing::debug!(peer = %self.wire.shown(), reason = %fault.message, "connection ended");
        let now = Instant::now();
        self.tail.stop(now);
        self.owed = !self.tail.is_empty();
        self.next_try = now + self.pause;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        if self.stream.take().is_some() {
            self.judge(now - self.opened, fault);
        }
        let told = self.arrears.borrow().fault.clone();
        let now = self.standing(told);
        self.arrears
            .send_if_modified(|arrears| std::mem::replace(arrears, now.clone()) != now);
    }

    /// What a connection that lived so long says of the next one.
    fn judge(&mut self, lived: Duration, fault: &Fault) {
        if lived >= TRIAL_MAX {
            self.trial = TRIAL_MIN;
            self.pause = PAUSE_MIN;
            self.next_try = self.next_try.min(Instant::now() + PAUSE_MIN);
        } else if has_spoken(fault) {
            self.trial = self.trial.max(lived * 2).min(TRIAL_MAX);
        }
    }

    /// A peer may well close a connection that rests; one that says why, or nothing that can be read, has a reason.
    fn ended_between(&mut self, fault: Fault) {
        self.lost(&fault);
        if has_spoken(&fault) {
            self.tell(Some(fault));
        }
    }

    /// Tells what no answer to a batch will.
    fn tell(&self, fault: Option<Fault>) {
        self.arrears.send_replace(self.standing(fault));
    }

    fn standing(&self, fault: Option<Fault>) -> Arrears {
        let owed = if self.owed { self.tail.len() as u64 } else { 0 };
        Arrears {
            fault: fault.filter(|_| owed > 0),
            owed,
            given_up: self.tail.given_up(),
        }
    }

    /// Opens a connection for the tail alone.
    async fn bring_home(&mut self) {
        let opened = self.open().await;
        let done = match opened {
            Ok(()) => self.listen().await,
            Err(fault) => Err(fault),
        };
        if let Err(fault) = done {
            self.lost(&fault);
            self.tell(Some(fault));
        }
    }

    /// Ends the stream. A peer that breaks it off instead of reading to the end gets the tail once more.
    async fn close(&mut self) {
        for _ in 0..2 {
            if self.owed {
                self.bring_home().await;
            }
            let Some(mut stream) = self.stream.take() else { return };
            let mut rest = [0; 64];
            let ended = timeout(CLOSE_DEADLINE, async {
                stream.shutdown().await?;
                while stream.read(&mut rest).await? > 0 {}
                io::Result::Ok(())
            });
            match ended.await {
                // Many peers end TLS without saying so.
                Ok(Err(error)) if error.kind() != io::ErrorKind::UnexpectedEof => {
                    self.lost(&broken(&self.wire, &error));
                }
                Ok(_) | Err(_) => return,
            }
        }
    }
}

/// Whether the peer gave a reason, or what is no syslog receiver's: the next connection would fare no better at once.
fn has_spoken(fault: &Fault) -> bool {
    matches!(fault.kind, FaultKind::Server | FaultKind::Tls)
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
