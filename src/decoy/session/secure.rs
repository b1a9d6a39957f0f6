//! TLS below a session: after it, everything that a session does is done on plaintext.
//!
//! In: [`Session::start_tls`], called by a service whose protocol upgrades, or before the service where the decoy speaks
//! TLS from the first byte. Out: one handshake event with what the client's hello tells, whether or not the TLS
//! handshake then succeeds; at the session's end whether it did, and on what the two sides agreed.
//!
//! Invariants: 1. limits of time and of bytes received hold on what the wire carries. 2. The capture is what the service
//! reads: the bytes of the handshake are in it only if no plaintext follows. 3. Offsets go on counting over an upgrade.

use std::borrow::Cow;
use std::sync::Arc;

use futures_util::FutureExt as _;
use trapline_schemas::{Field, Value};

use super::{Session, SessionError, contain};
use crate::decoy::inbound::Inbound;
use crate::decoy::tls::hello::{self, Read};
use crate::decoy::tls::refusal::{self, Verdict};
use crate::decoy::tls::{Channel, End, Tls, fingerprint};

/// The head of a record (RFC 8446 section 5.1).
const RECORD_HEAD_BYTES: usize = 5;

impl Session {
    /// Whether the decoy has a certificate, so that [`Session::start_tls`] can be called.
    pub fn has_tls(&self) -> bool {
        self.contact.spec.tls.is_some()
    }

    /// Whether TLS is spoken: bytes read and sent are plaintext of it.
    pub fn is_secure(&self) -> bool {
        self.channel.is_some()
    }

    /// What a login within TLS is bound to: `tls-server-end-point` (RFC 5929 section 4). `None`: TLS is not spoken.
    pub fn tls_endpoint(&self) -> Option<Arc<[u8]>> {
        let tls = self.contact.spec.tls.as_ref().filter(|_| self.is_secure());
        let identity = tls.and_then(Tls::known);
        identity.map(|identity| Arc::clone(&identity.endpoint))
    }

    /// Whether the decoy speaks TLS from the first byte and the peer does not: what it sent waits in the input.
    pub fn is_misled(&self) -> bool {
        self.misled
    }

    /// Waits for the client's hello, reports it, and shakes hands. Bytes that wait in the input belong to the hello.
    /// From then on the session's input and what is sent are plaintext, and offsets are those of the plaintext, counted
    /// on from what came before.
    ///
    /// What was learned before, such as a cookie, is told in the same event if it was given to
    /// [`Session::introduce`] instead of [`Session::handshake`].
    ///
    /// Errors: the session is to end. The peer was told why, if the claimed server tells; [`SessionError::Tls`] says
    /// it. Cancel: not safe.
    pub async fn start_tls(&mut self) -> Result<(), SessionError> {
        let Some(tls) = self.contact.spec.tls.clone() else {
            return Err(SessionError::Ended("the decoy has no certificate"));
        };
        while self.input().is_empty() {
            self.fill().await?;
        }
        // On the heap, so that a silent session does not hold the room of a handshake.
        Box::pin(self.shake_hands(&tls)).await
    }

    /// Drops what waits in the input unread, as servers do at the start of TLS, so that nothing sent ahead in plaintext is
    /// taken for a part of it (CVE-2011-0411). It stays in the capture, hidden if it may be a login.
    pub fn drop_input(&mut self) {
        self.hide_unread_login();
        self.consume(self.input().len());
    }

    /// What comes before the service: TLS, where the decoy speaks it from the first byte.
    pub(super) fn begin(&mut self) -> impl Future<Output = Result<(), SessionError>> + Send {
        let implicit = self.contact.spec.tls.as_ref().is_some_and(|tls| tls.implicit);
        match implicit {
            true => contain(self.begin_tls().boxed()).left_future(),
            false => std::future::ready(Ok(())).right_future(),
        }
    }

    /// Like [`Session::start_tls`] at the very beginning: a peer that speaks something else is left to a service that
    /// knows what to say to it.
    async fn begin_tls(&mut self) -> Result<(), SessionError> {
        while self.input().is_empty() {
            self.fill().await?;
        }
        let answers = self.contact.spec.tls.as_ref().is_some_and(|tls| tls.answers_plain);
        if answers && hello::is_plain(self.input()) {
            self.misled = true;
            return Ok(());
        }
        self.start_tls().await
    }

    async fn shake_hands(&mut self, tls: &Tls) -> Result<(), SessionError> {
        let from = self.position();
        self.tls_tried = true;
        let message = self.first_message().await?;
        self.introduce_client(&message).await;
        if let Verdict::Refused { why, said, unread } = refusal::judge(&message, tls.stack) {
            self.send(&said).await?;
            // Web servers look at the first bytes by other means, and end otherwise.
            if unread && !tls.implicit && self.input().len() > RECORD_HEAD_BYTES {
                self.abort();
            }
            return Err(self.refused(why.into()));
        }
        let identity = self.wait_for(tls.identity()).await?;
        let identity = identity.ok_or(SessionError::Ended("the decoy's certificate could not be made"))?;
        let room = self.shared.memory.hold();
        let channel = Channel::new(identity.config_for(&message), from, room);
        let mut channel = Box::new(channel.ok_or(SessionError::Limit("memory"))?);
        loop {
            let plain = channel.receive(self.input());
            self.drop_input();
            self.send(&channel.outgoing()).await?;
            if !channel.is_handshaking() {
                return self.secured(from, channel, &plain);
            }
            if let Some(end) = channel.end() {
                if end.is_in_order() {
                    self.forget(from);
                }
                return Err(self.ended_by(end));
            }
            let filled = self.fill().await;
            if filled.is_err() {
                self.forget(from);
            }
            filled?;
        }
    }

    /// Waits until the first message is whole, or what it is can be told.
    async fn first_message(&mut self) -> Result<Read, SessionError> {
        loop {
            match hello::read(self.input()) {
                Read::More => self.fill().await?,
                read => return Ok(read),
            };
        }
    }

    async fn introduce_client(&mut self, message: &Read) {
        if let Some(facts) = fingerprint::facts_of(message) {
            self.meet(facts).await;
        }
    }

    /// The handshake is over: what comes from now on is what the service reads.
    fn secured(&mut self, from: u64, channel: Box<Channel>, plain: &[u8]) -> Result<(), SessionError> {
        self.forget(from);
        self.channel = Some(channel);
        self.take(plain)
    }

    /// The messages of a handshake that went as it should are no part of what was said.
    fn forget(&mut self, from: u64) {
        if let Some(inbound) = self.inbound.as_deref_mut() {
            inbound.forget(from);
        }
    }

    fn refused(&mut self, why: Cow<'static, str>) -> SessionError {
        self.drop_input();
        SessionError::Tls(why)
    }

    fn ended_by(&mut self, end: &End) -> SessionError {
        match end {
            End::Closed => SessionError::Closed,
            End::Memory => SessionError::Limit("memory"),
            End::Failed(error) => self.refused(error.to_string().into()),
        }
    }

    /// Takes what came off the wire; gives how much of it is for the service.
    pub(super) fn take_wire(&mut self, bytes: &[u8]) -> Result<usize, SessionError> {
        self.live.touched();
        let plain = match self.channel.as_deref_mut() {
            Some(channel) => Cow::Owned(channel.receive(bytes)),
            None => Cow::Borrowed(bytes),
        };
        if plain.is_empty() {
            return Ok(0);
        }
        self.take(&plain).map(|()| plain.len())
    }

    /// Whether TLS has something to say to the peer, or its end to tell.
    pub(super) fn has_tls_news(&self) -> bool {
        self.channel.as_deref().is_some_and(Channel::has_news)
    }

    /// Says what TLS has to say; its end is the session's.
    pub(super) async fn tell_tls_news(&mut self) -> Result<(), SessionError> {
        let Some(channel) = self.channel.as_deref_mut() else {
            return Ok(());
        };
        let (outgoing, end) = (channel.outgoing(), channel.end().cloned());
        if !self.deaf {
            self.send_rest(&outgoing).await?;
        }
        end.map_or(Ok(()), |end| Err(self.ended_by(&end)))
    }

    /// What goes over the wire to say `plain`.
    pub(super) fn sealed<'a>(&mut self, plain: &'a [u8]) -> Cow<'a, [u8]> {
        match self.channel.as_deref_mut() {
            Some(channel) if !plain.is_empty() && !self.deaf => channel.seal(plain).into(),
            _ => plain.into(),
        }
    }

    /// Tells the peer that nothing more comes, as far as there is room to.
    pub(super) fn close_tls(&mut self) {
        let Some(channel) = self.channel.as_deref_mut().filter(|_| !self.deaf) else {
            return;
        };
        if let Ok(count) = self.live.stream.send_now(&channel.close()) {
            self.sent += count as u64;
        }
    }

    /// Bytes that came over the wire.
    pub(super) fn received(&self) -> u64 {
        let plain = || self.inbound.as_deref().map_or(0, Inbound::seen);
        self.channel.as_deref().map_or_else(plain, Channel::received)
    }

    /// What became of TLS, for the session's end.
    pub(super) fn tls_facts(&self) -> Vec<(Field, Value)> {
        let mut facts = Vec::new();
        if self.tls_tried {
            facts.push((Field::TlsEstablished, self.is_secure().into()));
        }
        if let Some(channel) = self.channel.as_deref() {
            facts.extend(channel.agreed());
        }
        facts
    }

    /// What a hello tells that came where none was awaited: the peer took the decoy for another.
    pub(super) fn stray_hello(&self) -> Stray {
        if self.tls_tried {
            return Stray::None;
        }
        let kept = self.inbound.as_deref().map(Inbound::kept);
        let message = kept.filter(|kept| !kept.is_empty()).map(hello::read);
        match message {
            Some(Read::More) => Stray::Begun,
            Some(message) => fingerprint::facts_of(&message).map_or(Stray::None, Stray::Whole),
            None => Stray::None,
        }
    }
}

/// A hello at the beginning of a plain stream.
pub(super) enum Stray {
    /// There is none.
    None,
    /// There may be one.
    Begun,
    /// There is one, and tells this.
    Whole(Vec<(Field, Value)>),
}
