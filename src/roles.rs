//! The messages between the roles: the decoy role, which reads hostile bytes, and core, which keeps what it saw.
//!
//! They run as tasks of one process today and speak only through these types, so that a later split into processes
//! changes where they are spawned and nothing else. Every message is bounded in length. What alone may touch a firewall is
//! spoken to by the traits of [`trapline_sink::set`].

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::oneshot;
use trapline_schemas::{Action, Field, Timestamp, Value};
use uuid::Uuid;

use crate::decoy::DecoySpec;
use crate::decoy::services::Transport;

/// What core bound for a decoy.
#[derive(Debug)]
pub enum Bound {
    /// A TCP socket that listens.
    Tcp(OwnedFd),
    /// A UDP socket.
    Udp {
        /// The one that is bound.
        socket: OwnedFd,
        /// One of the same family without a port, for answers that come from another port: it has a new one for each.
        portless: OwnedFd,
    },
}

/// What core tells the decoy role.
#[derive(Debug)]
pub enum ToDecoy {
    /// Serve this bound socket (listening for TCP) as this decoy.
    Listen {
        /// What the socket is called in later messages; core gives each number once.
        listener: u64,
        /// What core bound.
        socket: Bound,
        /// What to be on it.
        spec: Arc<DecoySpec>,
    },
    /// Be something else for those who come from now on, of the same transport; sessions stay what they began as.
    Become {
        /// Which socket.
        listener: u64,
        /// What to be on it.
        spec: Arc<DecoySpec>,
    },
    /// Stop listening; sessions end by themselves, by their limit at the latest.
    Close {
        /// Which socket.
        listener: u64,
        /// Answered once the socket is closed, so that the address is free.
        closed: oneshot::Sender<()>,
    },
}

/// One raw observation, before it is an event.
#[derive(Debug)]
pub struct Hit {
    /// What happened.
    pub action: Action,
    /// When.
    pub at: Timestamp,
    /// The contact it belongs to.
    pub contact: Arc<Contact>,
    /// How far the contact has gone, this hit included.
    pub touch: Touch,
    /// What was learned, by catalogue field; text already clean.
    pub facts: Vec<(Field, Value)>,
    /// A secret that was offered; never put into `facts`.
    pub secret: Option<OfferedSecret>,
    /// Bytes captured, with the places of secrets in them.
    pub capture: Option<Box<Capture>>,
}

/// Datagrams that the kernel dropped before the decoy role could read them.
#[derive(Debug, Clone)]
pub struct Missed {
    /// The decoy they were sent to.
    pub spec: Arc<DecoySpec>,
    /// How many.
    pub datagrams: u64,
    /// When the first of them was noticed.
    pub first: Timestamp,
    /// When the last of them was noticed.
    pub last: Timestamp,
}

/// How full the decoy role is: written by it, read by core; a page of memory that both have, should they be processes.
#[derive(Debug, Default)]
pub struct Attendance {
    /// Sessions that are open.
    pub(crate) open: AtomicU64,
    /// Sessions since the start.
    pub(crate) begun: AtomicU64,
    /// Connections closed at once because their source had all the sessions it may have.
    pub(crate) refused_of_source: AtomicU64,
    /// Connections closed at once because all sessions were taken.
    pub(crate) refused_as_full: AtomicU64,
    /// Sessions that were ended to make room, the longest idle first.
    pub(crate) ended: AtomicU64,
}

/// An [`Attendance`] at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "the fields are those of Attendance")]
pub struct Attended {
    pub open: u64,
    pub begun: u64,
    pub refused_of_source: u64,
    pub refused_as_full: u64,
    pub ended: u64,
}

impl Attendance {
    /// How it is now.
    pub fn now(&self) -> Attended {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Attended {
            open: read(&self.open),
            begun: read(&self.begun),
            refused_of_source: read(&self.refused_of_source),
            refused_as_full: read(&self.refused_as_full),
            ended: read(&self.ended),
        }
    }
}

/// How far a contact has gone, as one session knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Touch {
    /// A finished handshake or a datagram, no more.
    Contact,
    /// The protocol was spoken with purpose, or several decoys were touched.
    Intent,
    /// Credentials, commands, exploit.
    Proof,
}

impl Touch {
    /// `honeyport.touch.level`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Contact => "contact",
            Self::Intent => "intent",
            Self::Proof => "proof",
        }
    }
}

/// Who touched what: one TCP connection, or one UDP source within its counting window.
#[derive(Debug)]
pub struct Contact {
    /// Session id, made at accept.
    pub session: Uuid,
    /// When it was accepted.
    pub at: Timestamp,
    /// The kernel's peer address; IPv4-mapped is already IPv4.
    pub peer: SocketAddr,
    /// The address that was touched; unspecified only where the kernel did not say.
    pub local: SocketAddr,
    /// What it came over; a service may run over both.
    pub transport: Transport,
    /// The decoy that was touched.
    pub spec: Arc<DecoySpec>,
}

/// A secret as offered.
pub struct OfferedSecret {
    /// The bytes, as they would be typed.
    pub bytes: Box<[u8]>,
}

impl std::fmt::Debug for OfferedSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OfferedSecret({} bytes)", self.bytes.len())
    }
}

/// Captured bytes of a session or datagram.
#[derive(Debug)]
pub struct Capture {
    /// The first bytes received, up to `limits.capture_bytes_max`.
    pub kept: Vec<u8>,
    /// How many bytes were received in all.
    pub seen: u64,
    /// SHA-256 of all bytes received.
    pub sha256: [u8; 32],
    /// Byte ranges of `kept` that are secret, sorted and disjoint.
    pub secrets: Vec<std::ops::Range<usize>>,
    /// Whether any secret was in the stream, also beyond `kept`, and the policy masks secrets.
    pub has_secret: bool,
    /// The share of the decoy role's memory that `kept` takes, until the recorder has made an event of it.
    pub hold: Option<crate::decoy::Hold>,
}
