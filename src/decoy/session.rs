//! One connection to a decoy: reading within limits, writing, reporting.
//!
//! In: an accepted stream whose connect hit is already reported. Out: at most one handshake, the attempts and queries
//! up to their limits, at most one payload and one session end.
//!
//! Invariants:
//! 1. Every wait ends by the session's total limit; a wait for bytes also by the idle limit.
//! 2. Nothing is allocated for the peer's bytes until there are some; a silent session costs its task and its socket.
//! 3. Reports wait for room in the channel and are never shed. If that takes longer than the session may last, the
//!    socket is shut and the report still waits.
//! 4. The payload is reported at the end, when every secret in it is known, so that none leaves unmasked.

mod farewell;
mod reports;
mod secure;

use std::any::Any;
use std::borrow::Cow;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout_at};
use trapline_schemas::{Field, Value};

use self::farewell::Farewell;
use crate::decoy::crowd::{Live, Seat};
use crate::decoy::inbound::Inbound;
use crate::decoy::mask;
use crate::decoy::personality::{self, Personality};
use crate::decoy::tls::Channel;
use crate::decoy::{Limits, Shared};
use crate::roles::{Contact, Touch};

/// Most bytes that wait unconsumed: one SSH packet (RFC 4253 section 6.1: 35,000) with room to spare.
pub const INPUT_BYTES_MAX: usize = 36 << 10;

/// Most bytes taken from the kernel at once.
const READ_BYTES: usize = 4 << 10;

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The peer closed its side.
    #[error("the peer closed")]
    Closed,
    /// The peer reset the connection.
    #[error("the peer reset")]
    Reset,
    /// A limit of time or bytes was reached.
    #[error("limit `{0}` reached")]
    Limit(&'static str),
    /// trapline needed the socket: at the limit of open files, or at shutdown.
    #[error("closed: {0}")]
    Ended(&'static str),
    /// The peer and this decoy do not come to terms on TLS.
    #[error("TLS failed: {0}")]
    Tls(Cow<'static, str>),
    /// The socket failed.
    #[error("socket failed: {0}")]
    Io(#[from] io::Error),
}

/// One connection to a decoy.
#[derive(Debug)]
pub struct Session {
    shared: Arc<Shared>,
    contact: Arc<Contact>,
    live: Arc<Live>,
    seat: Option<Seat>,
    started: Instant,
    inbound: Option<Box<Inbound>>,
    /// Once TLS is spoken.
    channel: Option<Box<Channel>>,
    /// Learned, and not yet told: for the handshake, or for what comes next if that was told. One value of a field.
    carried: Vec<(Field, Value)>,
    sent: u64,
    credentials: u32,
    queries: u32,
    touch: Touch,
    handshaken: bool,
    reported: bool,
    abort: bool,
    /// It is settled whether the kernel may join small writes.
    prompt: bool,
    /// The others had one turn before the reactor was asked to watch the peer.
    yielded: bool,
    /// The peer hears no more; what it has said is still read.
    deaf: bool,
    /// It has reset the connection.
    reset: bool,
    /// A hello was awaited.
    tls_tried: bool,
    /// A hello was awaited, and something else came that the service knows how to answer.
    misled: bool,
}

impl Session {
    pub(crate) fn new(shared: Arc<Shared>, live: Arc<Live>, seat: Seat) -> Self {
        Self {
            shared,
            contact: Arc::clone(&live.contact),
            live,
            seat: Some(seat),
            started: Instant::now(),
            inbound: None,
            channel: None,
            carried: Vec::new(),
            sent: 0,
            credentials: 0,
            queries: 0,
            touch: Touch::Contact,
            handshaken: false,
            reported: false,
            abort: false,
            prompt: false,
            yielded: false,
            deaf: false,
            reset: false,
            tls_tried: false,
            misled: false,
        }
    }

    /// Lets the decoy's service speak until the session ends, then closes and reports what is left to report.
    #[expect(clippy::manual_async_fn, reason = "an async function would hold the session twice")]
    pub(crate) fn run(mut self) -> impl Future<Output = ()> {
        async move {
            let outcome = match self.contact.spec.service.speak.stream() {
                // Boxed, and gone before the service speaks: other decoys do not hold the room of it.
                Some(serve) => match self.begin().await {
                    Ok(()) => contain(serve(&mut self)).await,
                    failed => failed,
                },
                None => Ok(()),
            };
            // Boxed before it is awaited, or every session would hold the room of its farewell.
            let farewell = self.close(outcome).map(|farewell| Box::pin(farewell.report()));
            if let Some(farewell) = farewell {
                farewell.await;
            }
        }
    }

    /// How the decoy looks.
    pub fn personality(&self) -> Arc<Personality> {
        Arc::clone(&self.contact.spec.personality)
    }

    /// What the service's own row made of the install's keys. The caller names the type.
    pub fn provided<T: Any>(&self) -> Option<&T> {
        self.contact.spec.provided.as_ref()?.downcast_ref()
    }

    /// The peer's address.
    pub fn peer(&self) -> SocketAddr {
        self.contact.peer
    }

    /// The address that was touched.
    pub fn local(&self) -> SocketAddr {
        self.contact.local
    }

    /// Replaces variables: those of the install (`{{host}}`, `{{domain}}`, `{{fqdn}}`, `{{hex LABEL}}`) and those of
    /// the session: `{{peer}}`, `{{local}}` (addresses without port), `{{mapped local}}` (as IPv6, IPv4 mapped),
    /// `{{date FORMAT}}` (now, UTC, as `strftime`).
    pub fn expand<'a>(&self, template: &'a str) -> Cow<'a, str> {
        let install = &self.contact.spec.personality.install;
        personality::expand(template, |name| match name {
            "peer" => Some(self.contact.peer.ip().to_string()),
            "local" => Some(self.contact.local.ip().to_string()),
            "mapped local" => Some(mapped(self.contact.local.ip())),
            _ => match name.strip_prefix("date ") {
                Some(format) => {
                    jiff::fmt::strtime::format(format, &jiff::Zoned::now().with_time_zone(jiff::tz::TimeZone::UTC)).ok()
                }
                None => install.variable(name),
            },
        })
    }

    /// Waits for bytes and appends them to the input; returns how many came, at least 1.
    ///
    /// Errors: [`SessionError::Closed`] at the peer's end of stream, [`SessionError::Limit`] when the idle or total
    /// limit passes, or when [`INPUT_BYTES_MAX`] bytes wait unconsumed. Cancel: safe.
    pub async fn fill(&mut self) -> Result<usize, SessionError> {
        match self.fill_within(self.limits().idle).await? {
            0 => Err(SessionError::Limit("idle")),
            count => Ok(count),
        }
    }

    /// Like [`Session::fill`], but waits at most `wait` and then returns 0: for what a server does to a silent peer.
    pub async fn fill_within(&mut self, wait: Duration) -> Result<usize, SessionError> {
        let until = self.until(wait);
        loop {
            if self.has_tls_news() {
                Box::pin(self.tell_tls_news()).await?;
            }
            let room = self.room()?;
            if let Some(count) = self.read_now(room)? {
                tokio::task::consume_budget().await;
                // Records without content, over and over, are no sign of life.
                if count > 0 || Instant::now() >= until {
                    return self.in_time().map(|()| count);
                }
                continue;
            }
            // Whoever came for the banner alone has often gone when the others had their turn.
            if !self.live.stream.is_watched() && !std::mem::replace(&mut self.yielded, true) {
                tokio::task::yield_now().await;
                continue;
            }
            match timeout_at(until, self.live.stream.readable()).await {
                Ok(ready) => ready.map_err(|error| self.why(error))?,
                Err(_) => return self.in_time().map(|()| 0),
            }
        }
    }

    /// Leaves it to the kernel to join small writes, as servers do that never ask for anything else.
    pub fn join_small_writes(&mut self) {
        self.prompt = true;
    }

    /// Whether bytes of the peer wait in the kernel now: before a first [`Session::send`], the peer spoke first.
    pub fn has_waiting(&self) -> bool {
        self.live.stream.has_waiting()
    }

    /// Bytes received and not yet consumed.
    pub fn input(&self) -> &[u8] {
        self.inbound.as_deref().map_or(&[], Inbound::input)
    }

    /// Offset of the input's first byte in the stream, from 0.
    pub fn position(&self) -> u64 {
        self.inbound.as_deref().map_or(0, Inbound::position)
    }

    /// Takes the first `count` bytes off the input, which has as many; returns their offsets in the stream, for
    /// [`Session::mark_secret`]. What nobody has read is dropped by [`Session::drop_input`] alone, which hides logins.
    pub fn consume(&mut self, count: usize) -> Range<u64> {
        debug_assert!(count <= self.input().len(), "{count} bytes are more than have come");
        self.inbound
            .as_deref_mut()
            .map_or(0..0, |inbound| inbound.consume(count))
    }

    /// Writes all of `bytes`. To a peer that is gone nothing is written, and that is no error: what it said before is
    /// still to be read, and [`Session::fill`] tells of its end behind it.
    ///
    /// Errors: a peer that does not read for the write limit is [`SessionError::Limit`]. Cancel: what was written so
    /// far stays written.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), SessionError> {
        if self.sent > 0 && !std::mem::replace(&mut self.prompt, true) {
            // Later writes are answers of a dialogue; real servers do not let them wait for an acknowledgement.
            self.live.stream.send_promptly();
        }
        if bytes.is_empty() || self.deaf {
            return Ok(());
        }
        let bytes = &*self.sealed(bytes);
        // A socket nearly always has room, so the first attempt does not wait to be told by the reactor.
        let rest = match self.live.stream.send_now(bytes) {
            Ok(count) => self.advance(bytes, count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => bytes,
            Err(error) => return self.unheard(error),
        };
        if rest.is_empty() {
            return Ok(());
        }
        // On the heap, so that a silent session does not hold the room of a wait to write.
        Box::pin(self.send_rest(rest)).await
    }

    async fn send_rest(&mut self, mut rest: &[u8]) -> Result<(), SessionError> {
        let until = self.until(self.limits().write);
        while !rest.is_empty() {
            match self.live.stream.try_write(rest) {
                Ok(count) => rest = self.advance(rest, count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let Ok(room) = timeout_at(until, self.live.stream.writable()).await else {
                        self.in_time()?;
                        return Err(SessionError::Limit("write"));
                    };
                    room.map_err(|error| self.why(error))?;
                }
                Err(error) => return self.unheard(error),
            }
        }
        Ok(())
    }

    /// What a failed write means: a peer that is gone hears no more, which ends nothing yet.
    fn unheard(&mut self, error: io::Error) -> Result<(), SessionError> {
        match self.why(error) {
            SessionError::Reset => self.reset = true,
            SessionError::Closed => {}
            other => return Err(other),
        }
        self.deaf = true;
        Ok(())
    }

    /// Waits as a person or a slow host would: `base` give or take a fifth; not at all for a peer that is gone. Errors:
    /// the total limit. Cancel: safe.
    pub async fn pause(&mut self, base: Duration) -> Result<(), SessionError> {
        self.pause_for(base.mul_f64(rand::random_range(0.8..1.2))).await
    }

    /// Like [`Session::pause`], for just so long.
    pub async fn pause_for(&mut self, time: Duration) -> Result<(), SessionError> {
        if self.deaf {
            return Ok(());
        }
        tokio::time::sleep_until(self.until(time)).await;
        self.in_time()
    }

    /// Waits for something that is not the peer's. Errors: the total limit, and what is waited for is dropped.
    pub async fn wait_for<T>(&mut self, done: impl Future<Output = T>) -> Result<T, SessionError> {
        let done = timeout_at(self.deadline(), done).await;
        done.map_err(|_| SessionError::Limit("session"))
    }

    /// Ends our side of the stream and reads until the peer ends its own, at most for `wait`: how a server closes
    /// that wants its last words to arrive. What comes is captured and consumed.
    pub async fn drain(&mut self, wait: Duration) -> Result<(), SessionError> {
        self.close_tls();
        self.live.stream.shut(std::net::Shutdown::Write);
        let until = self.until(wait);
        // A peer that never pauses is cut off as one that waits.
        while Instant::now() < until {
            let left = until.saturating_duration_since(Instant::now());
            match self.fill_within(left).await {
                Ok(0) | Err(SessionError::Closed | SessionError::Reset) => break,
                Ok(_) => self.drop_input(),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Says that bytes of the stream (offsets from its start) are a secret, to be masked in every captured form, also
    /// wherever else the same bytes occur. Call it before facts or queries that may contain the secret are reported.
    pub fn mark_secret(&mut self, range: Range<u64>) {
        if let Some(inbound) = self.inbound.as_deref_mut() {
            inbound.mark(range);
        }
    }

    /// Like [`Session::mark_secret`], for bytes that hold a secret among others: they are masked there alone.
    pub fn hide(&mut self, range: Range<u64>) {
        if let Some(inbound) = self.inbound.as_deref_mut() {
            inbound.hide(range);
        }
    }

    /// Says that all that is not yet consumed, and all that still comes, is encrypted: it is counted and hashed, and not
    /// kept.
    pub fn keep_no_more(&mut self) {
        if let Some(inbound) = self.inbound.as_deref_mut() {
            inbound.keep_no_more();
        }
    }

    /// Says that all that is received and not yet consumed may be part of a secret.
    pub fn hide_input(&mut self) {
        let from = self.position();
        self.hide(from..from + self.input().len() as u64);
    }

    /// Whether secrets are masked at all, as the configuration says.
    pub fn masks(&self) -> bool {
        self.contact.spec.secrets.masked()
    }

    /// A text as typed, with `*` for what is known or named as secret in it; as it is, where secrets are kept in clear.
    pub fn masked<'a>(&mut self, text: &'a [u8]) -> Cow<'a, [u8]> {
        match self.inbound.as_deref_mut() {
            Some(inbound) if self.contact.spec.secrets.masked() => inbound.mask_bytes(text).into(),
            _ => text.into(),
        }
    }

    /// Closes so that the peer sees RST instead of FIN, as the kernel does for a server that has not read all.
    pub fn abort(&mut self) {
        self.abort = true;
    }
}

impl Session {
    fn limits(&self) -> &Limits {
        &self.contact.spec.limits
    }

    fn deadline(&self) -> Instant {
        self.started + self.limits().session
    }

    fn until(&self, wait: Duration) -> Instant {
        (Instant::now() + wait).min(self.deadline())
    }

    fn in_time(&self) -> Result<(), SessionError> {
        if Instant::now() >= self.deadline() {
            return Err(SessionError::Limit("session"));
        }
        Ok(())
    }

    /// How many bytes may be read now.
    fn room(&self) -> Result<usize, SessionError> {
        let Some(inbound) = self.inbound.as_deref() else {
            return Ok(READ_BYTES);
        };
        if self.received() >= self.limits().received_bytes_max {
            return Err(SessionError::Limit("received_bytes_max"));
        }
        match INPUT_BYTES_MAX.saturating_sub(inbound.input().len()) {
            0 => Err(SessionError::Limit("input")),
            room => Ok(room.min(READ_BYTES)),
        }
    }

    /// Reads what the kernel has, through a buffer on the stack: an idle session owns none.
    fn read_now(&mut self, room: usize) -> Result<Option<usize>, SessionError> {
        let mut chunk = [0; READ_BYTES];
        let chunk = chunk.get_mut(..room).unwrap_or_default();
        match self.live.stream.try_read(chunk) {
            Ok(0) => Err(self.end_of_stream()),
            Ok(count) => self.take_wire(chunk.get(..count).unwrap_or_default()).map(Some),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(self.why(error)),
        }
    }

    fn end_of_stream(&self) -> SessionError {
        match self.live.why_ended() {
            Some(why) => SessionError::Ended(why),
            None if self.reset => SessionError::Reset,
            None => SessionError::Closed,
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), SessionError> {
        let inbound = self
            .inbound
            .get_or_insert_with(|| Box::new(Inbound::new(self.shared.memory.hold())));
        if inbound.take(bytes, self.contact.spec.limits.capture_bytes_max) {
            Ok(())
        } else {
            Err(SessionError::Limit("memory"))
        }
    }

    fn advance<'a>(&mut self, bytes: &'a [u8], count: usize) -> &'a [u8] {
        self.sent += count as u64;
        bytes.get(count..).unwrap_or_default()
    }

    fn why(&self, error: io::Error) -> SessionError {
        if let Some(why) = self.live.why_ended() {
            return SessionError::Ended(why);
        }
        match error.kind() {
            io::ErrorKind::ConnectionReset => SessionError::Reset,
            io::ErrorKind::BrokenPipe => SessionError::Closed,
            _ => SessionError::Io(error),
        }
    }

    /// What no service has read may be a login that was cut short, or one sent ahead: it is not shown then.
    fn hide_unread_login(&mut self) {
        if !self.input().is_empty() && mask::may_hold_one(self.input()) {
            self.hide_input();
        }
    }

    fn raise(&mut self, touch: Touch) {
        self.touch = self.touch.max(touch);
    }

    /// Closes the socket; gives what is still to be reported, if anything.
    fn close(mut self, outcome: Result<(), SessionError>) -> Option<Farewell> {
        // Whoever was gone before the decoy closed is why it ended.
        let outcome = match outcome {
            Ok(()) if self.deaf => Err(self.end_of_stream()),
            outcome => outcome,
        };
        self.hide_unread_login();
        if self.abort {
            self.live.stream.reset_on_close();
        } else if outcome.is_ok() {
            self.close_tls();
        }
        let lasted = self.started.elapsed();
        tracing::debug!(event.reason = ?outcome, event.duration = ?lasted, "session ended");
        let spoke = self.inbound.is_some() || self.reported;
        if !spoke && lasted <= self.limits().report_after {
            return None;
        }
        Some(self.farewell(&outcome, lasted))
    }
}

/// A panic of a service ends its session alone, and what the peer sent to cause it is still reported.
async fn contain(service: BoxFuture<'_, Result<(), SessionError>>) -> Result<(), SessionError> {
    let outcome = AssertUnwindSafe(service).catch_unwind().await;
    outcome.unwrap_or_else(|_| {
        tracing::error!("the service failed on what its peer sent; the session was ended and reported");
        Err(SessionError::Ended("the service failed"))
    })
}

/// How a server on an IPv6 socket writes an address.
fn mapped(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_string(),
        IpAddr::V6(address) => address.to_string(),
    }
}
