//! One stream connection to a receiver that never answers.
//!
//! In: batches of frames. Out: written, or a fault. One task owns the connection; it ends with the close, or with the
//! [`Link`].
//!
//! Invariants:
//! 1. The read side is polled before each write and watched between them: an end or an error closes the connection.
//! 2. Frames called written are kept in the [`Tail`] and written first on the next connection. When a connection is lost
//!    that leaves such frames, it is opened again without waiting for an event. Frames that are owed do not age, and those
//!    still owed at the end are in [`Link::arrears`].
//! 3. A new connection is on trial: nothing is called written until the peer was silent for [`TRIAL_MIN`] and as long as
//!    connecting took, because with TLS 1.3 a refused client certificate shows only after our first write, and a
//!    balancer without a receiver closes only then. Who speaks later than that is listened to longer the next time.
//! 4. After a connection that the peer closed or reset before it was trusted, or right after a write, the next one is
//!    careful: it is listened to before the first byte, because a balancer without a receiver and a listener that goes down
//!    close then; and frames go in steps, one at first and more as it lives on, because a receiver that takes a few
//!    messages a connection discards the others. So what the end of a careful connection leaves open is little.
//! 5. An end in order after all was acknowledged means that all is read: nothing is sent again, nobody connects before
//!    there is something to send. On a connection that is not careful that holds for what was written [`TRIAL_MIN`] before.
//!    What any other end leaves open is sent once more; see [`Tail`].
//! 6. A batch is written within the deadline or the connection is given up; connecting has its own ([`trapline_sink::dial`]).

use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};
use trapline_sink::task::{Ended, JobTask};
use trapline_sink::{Arrears, Fault};

use crate::block::Pieces;
use crate::tail::Tail;
use crate::wire::{End, Io, Wire, broken, ended, noise};

/// How long the peer must be silent before a new connection is trusted.
pub(crate) const TRIAL_MIN: Duration = Duration::from_millis(500);
/// No refusal takes longer than this.
const TRIAL_MAX: Duration = Duration::from_secs(10);
/// How long the peer may take to close after us.
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);
/// Pauses between attempts to bring the tail home when no event comes.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// How long the peer must be silent before it is written to, after a connection that was lost early.
const HUSH: Duration = Duration::from_millis(100);
/// How long after each step the peer may take to end the connection over it.
const STEP: Duration = Duration::from_millis(20);
/// As many frames as a batch has at most.
const STRIDE_MAX: usize = 256;

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
    Send(Pieces, oneshot::Sender<Result<usize, Fault>>),
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

    /// Writes the frames, in order; gives how many, from the first on, of which there is at least one. Time: at most
    /// connecting plus six times the deadline and the trial. Cancel: safe; the frames may be written nevertheless.
    pub(crate) async fn send(&self, frames: Pieces) -> Result<usize, Fault> {
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

    /// Where the frames go.
    pub(crate) fn shown(&self) -> String {
        let transport = match &*self.wire {
            Wire::Net(dialer) if dialer.tls().is_some() => "tls",
            Wire::Net(_) => "tcp",
            Wire::Unix(_) => "unix",
        };
        format!("{transport} {}", self.wire.shown())
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
                wrote: Instant::now(),
                stride: STRIDE_MAX,
                ceiling: STRIDE_MAX,
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
    /// When something was last written.
    wrote: Instant,
    /// Frames in a step; [`STRIDE_MAX`] unless connections were lost early.
    stride: usize,
    /// What a careful connection did not outlive, halved.
    ceiling: usize,
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
                end = ended(&self.wire, self.stream.as_mut()) => self.ended_between(end),
                () = sleep_until(self.next_try), if self.owed => self.bring_home().await,
            }
        }
    }

    async fn send(&mut self, frames: Pieces) -> Result<usize, Fault> {
        let (count, end) = self.try_send(&frames).await;
        if count > 0 {
            self.pause = PAUSE_MIN;
            self.tail.keep(frames.pieces().take(count), self.wrote, Instant::now());
        }
        let Some(end) = end else { return Ok(count) };
        self.lost(&end);
        if count > 0 { Ok(count) } else { Err(end.fault) }
    }

    /// How many of the frames were written, and how the connection ended over it.
    async fn try_send(&mut self, frames: &Pieces) -> (usize, Option<End>) {
        if let Some(end) = self.glance().await {
            if end.has_spoken() {
                return (0, Some(end));
            }
            self.lost(&end);
        }
        if let Err(end) = self.open().await {
            return (0, Some(end));
        }
        let pieces: Vec<_> = frames.pieces().collect();
        if self.is_careful() {
            return self.walk_and_listen(&pieces).await;
        }
        match self.write_and_listen(frames.bytes()).await {
            Ok(()) => (pieces.len(), None),
            Err(end) => (0, Some(end)),
        }
    }

    async fn write_and_listen(&mut self, frames: &[u8]) -> Result<(), End> {
        self.write(frames).await?;
        self.listen().await
    }

    async fn walk_and_listen(&mut self, frames: &[Bytes]) -> (usize, Option<End>) {
        match self.walk(frames).await {
            (count, None) => match self.listen().await {
                Ok(()) => (count, None),
                Err(end) => (if end.may_be_read() { count } else { 0 }, Some(end)),
            },
            ended => ended,
        }
    }

    /// What the read side says at this moment; `None`: open and silent.
    async fn glance(&mut self) -> Option<End> {
        // Without a turn of the runtime a close that has just come in would not show yet.
        tokio::task::yield_now().await;
        let mut look = pin!(ended(&self.wire, self.stream.as_mut()));
        std::future::poll_fn(|cx| match look.as_mut().poll(cx) {
            Poll::Ready(end) => Poll::Ready(Some(end)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    /// Connects if need be, and writes the tail first. A peer that takes a part of it and closes is connected to again:
    /// each time there is less to write.
    async fn open(&mut self) -> Result<(), End> {
        let until = Instant::now() + 2 * self.deadline;
        loop {
            let owed = self.tail.len();
            match self.open_once().await {
                Err(end) if end.may_be_read() && Instant::now() < until => {
                    self.lost(&end);
                    if self.tail.len() == owed {
                        return Err(end);
                    }
                }
                opened => return opened,
            }
        }
    }

    async fn open_once(&mut self) -> Result<(), End> {
        if self.stream.is_some() {
            return Ok(());
        }
        let asked = Instant::now();
        let (stream, _) = self.wire.connect().await?;
        self.stream = Some(stream);
        self.opened = Instant::now();
        self.wrote = self.opened;
        self.trusted = false;
        // Connecting took more than the turn of a packet: what the peer says to our last one comes within that time.
        let turn = asked.elapsed();
        self.trial = self.trial.max(turn);
        if !self.tail.is_empty() {
            tracing::debug!(peer = %self.wire.shown(), frames = self.tail.len(), "reconnected, sending the last frames again");
        }
        match self.is_careful() {
            true => self.open_carefully(turn).await,
            false => self.write(&self.tail.unwritten().concat()).await,
        }
    }

    /// The last connection was lost early: waits whether this one is, then writes what is owed in small steps.
    async fn open_carefully(&mut self, turn: Duration) -> Result<(), End> {
        self.stride = 1;
        let hush = if self.wire.has_tls() {
            self.trial
        } else {
            HUSH.max(turn)
        };
        if let Ok(end) = timeout(hush, ended(&self.wire, self.stream.as_mut())).await {
            // Nothing of ours was written that it could have read.
            return Err(end.fault.into());
        }
        let owed = self.tail.unwritten();
        let (count, end) = self.walk(&owed).await;
        self.tail.rewrite(count, Instant::now());
        match end {
            Some(end) => Err(end),
            None if count < owed.len() => Err(self.wire.unreachable("does not take the last frames again").into()),
            None => Ok(()),
        }
    }

    fn is_careful(&self) -> bool {
        self.stride < STRIDE_MAX
    }

    /// Writes frames a step at a time. Gives how many may have been read, and how the connection ended: over a single
    /// frame it counts, over a larger step none of its frames do, for the peer may have stopped at the first.
    async fn walk(&mut self, frames: &[Bytes]) -> (usize, Option<End>) {
        let until = Instant::now() + 2 * self.deadline;
        let mut done = 0;
        while let Some(rest @ [_, ..]) = frames.get(done..).filter(|_| Instant::now() < until) {
            let (step, _) = rest.split_at(self.stride.min(rest.len()));
            match self.step(step).await {
                Ok(()) => done += step.len(),
                Err(end) if end.may_be_read() => {
                    self.ceiling = (step.len() / 2).max(1);
                    return (done + usize::from(step.len() == 1), Some(end));
                }
                Err(end) => return (0, Some(end)),
            }
        }
        (done, None)
    }

    /// Writes a few frames and waits until the peer's kernel has them, and whether it ends the connection over them.
    async fn step(&mut self, frames: &[Bytes]) -> Result<(), End> {
        self.write(&frames.concat()).await?;
        let until = Instant::now() + self.deadline;
        loop {
            if let Ok(end) = timeout(STEP, ended(&self.wire, self.stream.as_mut())).await {
                return Err(end);
            }
            if self.stream.as_ref().is_none_or(|stream| stream.is_read()) || Instant::now() >= until {
                break;
            }
        }
        self.hasten();
        Ok(())
    }

    /// A connection that lives on gets more at once, after a while more than those before it.
    fn hasten(&mut self) {
        let lived = self.opened.elapsed();
        if lived >= TRIAL_MAX {
            self.ceiling = STRIDE_MAX;
        }
        if lived >= self.trial {
            self.stride = (self.stride * 2).min(self.ceiling);
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), End> {
        let Some(stream) = self.stream.as_mut() else {
            return Ok(());
        };
        self.wrote = Instant::now();
        let written = timeout(self.deadline, async {
            stream.write_all(bytes).await?;
            stream.flush().await
        });
        match written.await {
            Ok(Ok(())) => Ok(()),
            // The peer's reason may have come before its reset.
            Ok(Err(error)) => Err(self.cut_short(&error).await),
            Err(_) => {
                let why = format!(
                    "did not take {} bytes within {} ms",
                    bytes.len(),
                    self.deadline.as_millis()
                );
                Err(self.wire.unreachable(&why).into())
            }
        }
    }

    /// A write failed: something was not read, whatever the read side says.
    async fn cut_short(&mut self, error: &io::Error) -> End {
        let end = self.glance().await;
        End {
            is_read: false,
            ..end.unwrap_or_else(|| End::broken(&self.wire, error))
        }
    }

    /// Looks once after a write; on trial it waits.
    async fn listen(&mut self) -> Result<(), End> {
        if self.trusted {
            return self.glance().await.map_or(Ok(()), Err);
        }
        match timeout(self.trial, ended(&self.wire, self.stream.as_mut())).await {
            Ok(end) => Err(end),
            Err(_) => {
                self.trust();
                Ok(())
            }
        }
    }

    fn trust(&mut self) {
        self.trusted = true;
        self.tail.rewrite(self.tail.len(), self.opened);
        self.tail.start(Instant::now());
        self.owed = false;
        self.tell(None);
    }

    /// Gives the connection up. Frames that the peer may not have read are brought home on the next one.
    fn lost(&mut self, end: &End) {
        tracing::debug!(peer = %self.wire.shown(), reason = %end.fault.message, "connection ended");
        let now = Instant::now();
        let lived = self.stream.take().map(|_| now - self.opened);
        if lived.is_some() {
            self.settle(end, now);
        }
        self.tail.stop(now);
        self.owed = !self.tail.is_empty();
        self.next_try = now + self.pause;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        if let Some(lived) = lived {
            self.judge(lived, end);
        }
        let told = self.arrears.borrow().fault.clone();
        let now = self.standing(told);
        self.arrears
            .send_if_modified(|arrears| std::mem::replace(arrears, now.clone()) != now);
    }

    /// What the end of a connection says of the frames written on it, and of how to write on the next one.
    fn settle(&mut self, end: &End, now: Instant) {
        if !end.may_be_read() {
            return self.tail.unwrite();
        }
        let careful = self.is_careful();
        if end.is_read {
            // What came in a burst just before may have been read and not kept: by a receiver that takes so many and
            // no more, or one that was killed.
            let until = if careful { Some(now) } else { now.checked_sub(TRIAL_MIN) };
            until.into_iter().for_each(|until| self.tail.settle(until));
        }
        let early = !self.trusted || now - self.wrote < TRIAL_MIN;
        if early && !(careful && end.is_read) {
            self.stride = 1;
        }
    }

    /// What a connection that lived so long says of the next one.
    fn judge(&mut self, lived: Duration, end: &End) {
        if lived >= TRIAL_MAX {
            self.trial = TRIAL_MIN;
            self.pause = PAUSE_MIN;
            self.next_try = self.next_try.min(Instant::now() + PAUSE_MIN);
        } else if end.has_spoken() {
            self.trial = self.trial.max(lived * 2).min(TRIAL_MAX);
        }
    }

    /// A peer may well close a connection that rests; one that says why, or nothing that can be read, has a reason.
    fn ended_between(&mut self, end: End) {
        self.lost(&end);
        if end.has_spoken() {
            self.tell(Some(end.fault));
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
            given_up: 0,
        }
    }

    /// Opens a connection for the tail alone.
    async fn bring_home(&mut self) {
        let opened = self.open().await;
        let done = match opened {
            Ok(()) => self.listen().await,
            Err(end) => Err(end),
        };
        if let Err(end) = done {
            self.lost(&end);
            self.tell(Some(end.fault));
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
                    self.lost(&End::broken(&self.wire, &error));
                }
                Ok(_) | Err(_) => return,
            }
        }
    }
}
