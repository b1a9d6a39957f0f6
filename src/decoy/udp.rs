//! One UDP socket: datagrams become probes, some are answered.
//!
//! In: a bound socket. Out: one probe hit per datagram up to a bound per source and window, and beyond it one hit with
//! the count; a credential hit where the service found one; how many datagrams the kernel dropped.
//!
//! Invariants:
//! 1. An answer is never longer than its datagram, and only datagrams that are reported one by one are answered: the
//!    sender may be forged, so it gets no amplification and a bounded rate.
//! 2. Windows are bounded in number; at the bound the oldest is summed up early. Counts are exact over all of it.
//! 3. A datagram that the recorder has no room for goes into the count. What the kernel dropped is reported by its
//!    number: only a full socket drops, so the kernel is asked after each burst that was read from one, and at the end.

use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use nix::libc;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt, sockopt,
};
use sha2::{Digest as _, Sha256};
use smol_str::SmolStr;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use trapline_schemas::{Action, Field, Timestamp, Value, ids, text};
use trapline_sink::kernel::{SocketCounts, socket_counts};

use crate::decoy::listener::canonical;
use crate::decoy::mask;
use crate::decoy::services::{Asked, FromPort, Transport, UdpAnswer, UdpCredential};
use crate::decoy::{DecoySpec, Shared};
use crate::roles::{Capture, Contact, Hit, Missed, OfferedSecret, Touch};

/// How long a source's datagrams are counted together.
const WINDOW: Duration = Duration::from_secs(60);

/// Sources counted at once by one socket.
const WINDOWS_MAX: usize = 4096;

/// Largest UDP payload, bytes.
const DATAGRAM_BYTES_MAX: usize = 65_535;

/// Datagrams taken at one wake-up, so that a flood leaves the thread to others.
const BURST: usize = 64;

/// Datagrams taken after the end: more than the receive buffer holds of the smallest, so that only a flood is cut off.
const LAST_MAX: usize = 4096;

/// One UDP socket.
#[derive(Debug)]
pub(crate) struct Datagrams {
    socket: UdpSocket,
    /// For answers from a new port.
    portless: OwnedFd,
    bound: SocketAddr,
    spec: Arc<DecoySpec>,
    /// Where a changed one comes.
    specs: watch::Receiver<Arc<DecoySpec>>,
    shared: Arc<Shared>,
    windows: HashMap<IpAddr, Window>,
    /// Windows in the order in which they end.
    ends: VecDeque<(Instant, IpAddr)>,
    buffer: Vec<u8>,
    /// Datagrams that the kernel had dropped when it was last reported.
    dropped: u32,
}

/// One source within its counting window.
#[derive(Debug)]
struct Window {
    contact: Arc<Contact>,
    reported: u32,
    folded: u64,
    folded_bytes: u64,
    first: Timestamp,
    last: Timestamp,
}

/// One datagram as received.
struct Datagram {
    bytes: Vec<u8>,
    peer: SocketAddr,
    local: SocketAddr,
}

impl Datagrams {
    /// Takes over a bound socket, and one of its family without a port.
    pub(crate) fn new(
        socket: std::net::UdpSocket,
        portless: OwnedFd,
        mut specs: watch::Receiver<Arc<DecoySpec>>,
        shared: Arc<Shared>,
    ) -> io::Result<Self> {
        let spec = Arc::clone(&specs.borrow_and_update());
        let bound = socket.local_addr()?;
        if bound.is_ipv4() {
            setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        } else {
            setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        }
        if let Err(error) = socket_counts(&socket) {
            tracing::warn!(
                decoy.name = %spec.name,
                error = %error,
                "the kernel does not say how many datagrams it drops, so these are not counted"
            );
        }
        Ok(Self {
            socket: UdpSocket::from_std(socket)?,
            portless,
            bound,
            spec,
            specs,
            shared,
            windows: HashMap::new(),
            ends: VecDeque::new(),
            buffer: Vec::new(),
            dropped: 0,
        })
    }

    /// Serves until `stop`, then sums up what is still counted. Cancel: not safe; stop it by the token.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut stopped = pin!(stop.cancelled());
        loop {
            let next_end = self.ends.front().map(|(end, _)| *end);
            // Cancel: readiness and time are not used up by asking.
            tokio::select! {
                () = &mut stopped => break,
                Ok(()) = self.specs.changed() => self.transform().await,
                () = sleep_until(next_end.unwrap_or_else(Instant::now)), if next_end.is_some() => self.end_windows().await,
                ready = self.socket.readable() => self.take_burst(ready).await,
            }
        }
        self.take_last().await;
        self.end_all().await;
        if let Some((missed, _)) = self.missed() {
            let _ = self.shared.missed.send(missed).await;
        }
    }

    /// Becomes what it is told. What is counted is of what it was.
    async fn transform(&mut self) {
        self.end_all().await;
        self.spec = Arc::clone(&self.specs.borrow_and_update());
    }

    async fn end_all(&mut self) {
        while !self.ends.is_empty() {
            self.end_oldest().await;
        }
    }

    /// Takes what the kernel has received already. The socket is asked itself: the reactor may not have been told.
    async fn take_last(&mut self) {
        self.buffer.resize(DATAGRAM_BYTES_MAX, 0);
        for _ in 0..LAST_MAX {
            let datagram = match read(&self.socket, &mut self.buffer, self.bound) {
                Ok(datagram) => datagram,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => continue,
            };
            if self.windows.len() >= WINDOWS_MAX {
                self.end_oldest().await;
            }
            self.take(datagram);
        }
    }

    async fn take_burst(&mut self, ready: io::Result<()>) {
        self.take_ready(ready).await;
        if let Some((missed, dropped)) = self.missed()
            && self.shared.missed.try_send(missed).is_ok()
        {
            self.dropped = dropped;
        }
    }

    async fn take_ready(&mut self, ready: io::Result<()>) {
        for _ in 0..BURST {
            match ready.as_ref().map_or_else(|_| Ok(None), |()| self.receive()) {
                Ok(Some(datagram)) => {
                    if self.windows.len() >= WINDOWS_MAX {
                        self.end_oldest().await;
                    }
                    self.take(datagram);
                }
                Ok(None) => return,
                // An ICMP error of an earlier answer: the peer's port is closed, which is no fault of ours.
                Err(error) => tracing::debug!(error = %error, "datagram could not be received"),
            }
        }
        tokio::task::yield_now().await;
    }

    fn take(&mut self, datagram: Datagram) {
        let limit = self.spec.limits.datagrams_per_source_per_minute;
        let window = self.window(datagram.peer, datagram.local);
        if window.reported >= limit {
            return window.fold(datagram.bytes.len());
        }
        let contact = window.contact_of(datagram.peer, datagram.local);
        let mut answer = self.answer(&datagram);
        let fits = |reply: &Vec<u8>| reply.len() <= datagram.bytes.len();
        let reply = answer.reply.take().filter(fits);
        let from = answer.from;
        let folded = !self.report(&contact, &datagram.bytes, answer, reply.as_deref());
        let window = self.window(datagram.peer, datagram.local);
        if folded {
            return window.fold(datagram.bytes.len());
        }
        window.reported += 1;
        if let Some(reply) = reply {
            self.reply(&reply, from, datagram.peer, datagram.local);
        }
    }

    fn answer(&self, datagram: &Datagram) -> UdpAnswer {
        let asked = Asked {
            bytes: &datagram.bytes,
            peer: canonical(datagram.peer),
            local: datagram.local,
            personality: &self.spec.personality,
        };
        let answer = self.spec.service.speak.datagram();
        answer.map_or_else(UdpAnswer::default, |answer| answer(&asked))
    }

    /// The window of a source, opened now if it has none.
    fn window(&mut self, peer: SocketAddr, local: SocketAddr) -> &mut Window {
        let source = canonical(peer).ip();
        if !self.windows.contains_key(&source) {
            self.ends.push_back((Instant::now() + WINDOW, source));
        }
        let spec = &self.spec;
        self.windows
            .entry(source)
            .or_insert_with(|| Window::new(peer, local, spec))
    }

    async fn end_windows(&mut self) {
        let now = Instant::now();
        while self.ends.front().is_some_and(|(end, _)| *end <= now) {
            self.end_oldest().await;
        }
    }

    /// Ends the oldest window. Waits for room if there is something to sum up: meanwhile the kernel holds what comes.
    async fn end_oldest(&mut self) {
        let oldest = self.ends.pop_front();
        if let Some(hit) = oldest.and_then(|(_, source)| self.sum_up(source)) {
            let _ = self.shared.hits.send(hit).await;
        }
    }

    /// The hit that stands for what was counted only; `None` if all was reported one by one.
    fn sum_up(&mut self, source: IpAddr) -> Option<Hit> {
        let window = self.windows.remove(&source)?;
        if window.folded == 0 {
            return None;
        }
        let facts = vec![
            (Field::SourcePackets, whole(window.folded)),
            (Field::SourceBytes, whole(window.folded_bytes)),
            (Field::EventStart, window.first.into()),
            (Field::EventEnd, window.last.into()),
        ];
        Some(hit(
            Action::UdpProbe,
            window.first,
            &window.contact,
            Touch::Contact,
            facts,
        ))
    }

    /// Reports a datagram, and the credential in it. `false` if there was no room.
    fn report(&self, contact: &Arc<Contact>, bytes: &[u8], answer: UdpAnswer, reply: Option<&[u8]>) -> bool {
        // What it offers is told by an event of its own, which is the proof.
        let touch = match (&answer.credential, answer.facts.is_empty()) {
            (None, true) => Touch::Contact,
            _ => Touch::Intent,
        };
        let room = 1 + usize::from(answer.credential.is_some());
        let Ok(mut permits) = self.shared.hits.try_reserve_many(room) else {
            return false;
        };
        let at = Timestamp::now();
        let UdpAnswer {
            mut facts,
            mut credential,
            ..
        } = answer;
        if self.spec.secrets.masked() {
            let place = credential.as_ref().map(|found| found.secret.clone());
            let offered = place.and_then(|place| bytes.get(place));
            let further = credential.as_mut().map(|found| found.facts.iter_mut());
            let all = facts.iter_mut().chain(further.into_iter().flatten());
            all.for_each(|(_, value)| hide_secrets(value, offered));
        }
        facts.push((Field::SourceBytes, whole(bytes.len() as u64)));
        facts.push((Field::SourcePackets, 1u8.into()));
        facts.push((Field::DestinationBytes, whole(reply.map_or(0, <[u8]>::len) as u64)));
        let mut probe = hit(Action::UdpProbe, at, contact, touch, facts);
        let astray = is_astray(bytes, touch, credential.as_ref());
        probe.capture = self.capture(bytes, credential.as_ref(), astray);
        let mut credential = credential.map(|found| attempt(at, contact, bytes, found));
        if let Some(attempt) = credential.as_mut().filter(|_| self.spec.secrets.masked()) {
            // The user's name may be the secret as well, but it may not name one.
            attempt
                .facts
                .iter_mut()
                .for_each(|(_, value)| hide_secrets(value, None));
        }
        for (permit, hit) in permits.by_ref().zip(std::iter::once(probe).chain(credential)) {
            permit.send(hit);
        }
        true
    }

    /// The capture of a datagram; `astray`: all of it is secret.
    fn capture(&self, bytes: &[u8], credential: Option<&UdpCredential>, astray: bool) -> Option<Box<Capture>> {
        if bytes.is_empty() {
            return None;
        }
        let kept = bytes.len().min(self.spec.limits.capture_bytes_max);
        let mut hold = self.shared.memory.hold();
        let kept = if hold.grow(kept) { kept } else { 0 };
        let kept = bytes.get(..kept).unwrap_or_default().to_vec();
        let secrets = match self.spec.secrets.masked() {
            true if astray => std::iter::once(0..bytes.len()).collect(),
            true => secrets(bytes, credential),
            false => Vec::new(),
        };
        let within = |place: &Range<usize>| place.start.min(kept.len())..place.end.min(kept.len());
        Some(Box::new(Capture {
            seen: bytes.len() as u64,
            sha256: Sha256::digest(bytes).into(),
            has_secret: !secrets.is_empty(),
            secrets: mask::union(secrets.iter().map(within)),
            kept,
            hold: Some(hold),
        }))
    }

    /// What the kernel dropped and was not reported, and its count now. It counts round.
    fn missed(&self) -> Option<(Missed, u32)> {
        let SocketCounts { dropped, .. } = socket_counts(&self.socket).ok()?;
        let datagrams = dropped.wrapping_sub(self.dropped);
        if datagrams == 0 {
            return None;
        }
        let at = Timestamp::now();
        let missed = Missed {
            spec: Arc::clone(&self.spec),
            datagrams: datagrams.into(),
            first: at,
            last: at,
        };
        Some((missed, dropped))
    }
}

/// Whether a datagram may be a login of another protocol, so that nobody knows where its secret is. One that the service
/// took for its own may be so by chance; then a word alone, such as a file's name, says nothing.
fn is_astray(bytes: &[u8], touch: Touch, credential: Option<&UdpCredential>) -> bool {
    match touch {
        Touch::Contact => mask::may_hold_one(bytes),
        _ if credential.is_some() => false,
        _ => mask::has_nameless_one(bytes) || mask::lines::places(bytes).is_empty() && mask::lines::name_one(bytes),
    }
}

/// Where a datagram is secret: the credential in it, wherever else its bytes occur, and what it names as secret.
fn secrets(bytes: &[u8], credential: Option<&UdpCredential>) -> Vec<Range<usize>> {
    let place = credential.map(|found| found.secret.clone());
    let known = place.as_ref().and_then(|place| bytes.get(place.clone()));
    let found = mask::find(bytes, known.into_iter());
    mask::union(place.clone().into_iter().chain(found).chain(mask::lines::places(bytes)))
}

/// Masks what a fact names as secret, and the secret that was offered wherever it is said again.
fn hide_secrets(value: &mut Value, offered: Option<&[u8]>) {
    match value {
        Value::Text(text) => hide_in(text, offered),
        Value::Texts(texts) => texts.iter_mut().for_each(|text| hide_in(text, offered)),
        _ => {}
    }
}

fn hide_in(text: &mut SmolStr, offered: Option<&[u8]>) {
    let clean = offered.map(text::clean);
    let found = mask::find(text.as_bytes(), clean.iter().map(|secret| secret.as_bytes())).into_iter();
    let found = mask::union(found.chain(mask::lines::places(text.as_bytes())));
    if !found.is_empty() {
        *text = mask::text(text, &found);
    }
}

/// Talking to the kernel.
impl Datagrams {
    /// The next datagram, or `None` if there is none yet.
    fn receive(&mut self) -> io::Result<Option<Datagram>> {
        if self.buffer.is_empty() {
            self.buffer = vec![0; DATAGRAM_BYTES_MAX];
        }
        let Self {
            socket, buffer, bound, ..
        } = self;
        let received = socket.try_io(Interest::READABLE, || read(socket, buffer, *bound));
        match received {
            Ok(datagram) => Ok(Some(datagram)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Answers from the address that was touched, or not at all: an answer is not worth waiting for.
    fn reply(&self, reply: &[u8], from: FromPort, peer: SocketAddr, local: SocketAddr) {
        match from {
            FromPort::Same => send(self.socket.as_raw_fd(), reply, peer, local),
            FromPort::New => {
                send(self.portless.as_raw_fd(), reply, peer, local);
                // The kernel gave it a port for this answer; it takes that back.
                if let Err(error) = rustix::net::connect_unspec(&self.portless) {
                    tracing::debug!(error = %error, "the port of an answer could not be given up");
                }
            }
        }
    }
}

fn send(fd: RawFd, reply: &[u8], peer: SocketAddr, local: SocketAddr) {
    let iov = [IoSlice::new(reply)];
    let to = SockaddrStorage::from(peer);
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    let sent = match local.ip() {
        IpAddr::V4(ip) => {
            let info = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: in_addr(ip),
                ipi_addr: in_addr(Ipv4Addr::UNSPECIFIED),
            };
            sendmsg(fd, &iov, &[ControlMessage::Ipv4PacketInfo(&info)], flags, Some(&to))
        }
        IpAddr::V6(ip) => {
            let info = libc::in6_pktinfo {
                ipi6_addr: libc::in6_addr { s6_addr: ip.octets() },
                ipi6_ifindex: 0,
            };
            sendmsg(fd, &iov, &[ControlMessage::Ipv6PacketInfo(&info)], flags, Some(&to))
        }
    };
    if let Err(error) = sent {
        tracing::debug!(error = %error, "datagram could not be answered");
    }
}

fn read(socket: &UdpSocket, buffer: &mut [u8], bound: SocketAddr) -> io::Result<Datagram> {
    let mut control = nix::cmsg_space!(libc::in6_pktinfo);
    let mut iov = [IoSliceMut::new(buffer)];
    let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut iov, Some(&mut control), MsgFlags::MSG_DONTWAIT)?;
    let peer = message.address.as_ref().and_then(socket_address);
    let mut local = bound.ip();
    for control in message.cmsgs()? {
        match control {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                local = Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr)).into();
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => local = info.ipi6_addr.s6_addr.into(),
            _ => {}
        }
    }
    let bytes = message.iovs().next().unwrap_or_default().to_vec();
    Ok(Datagram {
        bytes,
        peer: peer.ok_or(io::ErrorKind::InvalidData)?,
        local: canonical(SocketAddr::new(local, bound.port())),
    })
}

fn socket_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| SocketAddr::V4((*v4).into()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| SocketAddr::V6((*v6).into())))
}

fn in_addr(ip: Ipv4Addr) -> libc::in_addr {
    libc::in_addr {
        s_addr: u32::from(ip).to_be(),
    }
}

impl Window {
    fn new(peer: SocketAddr, local: SocketAddr, spec: &Arc<DecoySpec>) -> Self {
        let at = Timestamp::now();
        let contact = Contact {
            session: ids::fresh(at),
            at,
            peer: canonical(peer),
            local,
            transport: Transport::Udp,
            spec: Arc::clone(spec),
        };
        Self {
            contact: Arc::new(contact),
            reported: 0,
            folded: 0,
            folded_bytes: 0,
            first: at,
            last: at,
        }
    }

    /// The window's contact, with the ports of this datagram.
    fn contact_of(&self, peer: SocketAddr, local: SocketAddr) -> Arc<Contact> {
        let contact = &self.contact;
        let peer = canonical(peer);
        if contact.peer == peer && contact.local == local {
            return Arc::clone(contact);
        }
        Arc::new(Contact {
            session: contact.session,
            at: contact.at,
            peer,
            local,
            transport: Transport::Udp,
            spec: Arc::clone(&contact.spec),
        })
    }

    fn fold(&mut self, bytes: usize) {
        let now = Timestamp::now();
        if self.folded == 0 {
            self.first = now;
        }
        self.last = now;
        self.folded += 1;
        self.folded_bytes += bytes as u64;
    }
}

fn attempt(at: Timestamp, contact: &Arc<Contact>, bytes: &[u8], found: UdpCredential) -> Hit {
    let mut facts = found.facts;
    facts.push((Field::CredentialKind, found.kind.into()));
    facts.push((Field::EventSequence, 1u8.into()));
    if !found.user.is_empty() {
        let user: SmolStr = text::clean(&found.user);
        facts.push((Field::UserName, user.into()));
    }
    let secret = bytes.get(found.secret).unwrap_or_default();
    let secret = found.proof.as_deref().unwrap_or(secret);
    let mut hit = hit(Action::Credential, at, contact, Touch::Proof, facts);
    hit.secret = Some(OfferedSecret { bytes: secret.into() });
    hit
}

fn hit(action: Action, at: Timestamp, contact: &Arc<Contact>, touch: Touch, facts: Vec<(Field, Value)>) -> Hit {
    Hit {
        action,
        at,
        contact: Arc::clone(contact),
        touch,
        facts,
        secret: None,
        capture: None,
    }
}

fn whole(number: u64) -> Value {
    i64::try_from(number).unwrap_or(i64::MAX).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_hidden_where_a_fact_says_it_again() {
        let mut facts = [
            Value::from("read private"),
            Value::Texts(vec!["x?password=hunter2".into()]),
        ];
        facts.iter_mut().for_each(|value| hide_secrets(value, Some(b"private")));
        assert_eq!(facts[0], "read *******".into());
        assert_eq!(facts[1], Value::Texts(vec!["x?password=*******".into()]));
    }
}
