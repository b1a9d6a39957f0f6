//! A message a datagram: UDP (RFC 5426) and unix datagram sockets.
//!
//! Sent is all that can be said of UDP. An ICMP "port unreachable" is waited for after the first batch of a socket, so that
//! a receiver that is away is not taken for one that is there; later it comes back as an error of the next send: that
//! batch is sent again then, and may double. A unix datagram is in the receiver's queue once the send is done.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::{UdpSocket, UnixDatagram};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use trapline_sink::dial::Names;
use trapline_sink::{Fault, FaultKind};

use crate::link::TRIAL_MIN;

/// How long a UDP socket is used before its name is resolved again.
const SOCKET_AGE_MAX: Duration = Duration::from_secs(300);
/// Linux error numbers without a stable `io::ErrorKind`.
const EPROTOTYPE: i32 = 91;
const EMSGSIZE: i32 = 90;

/// Where datagrams go.
#[derive(Debug)]
pub(crate) enum To {
    /// A host and port.
    Udp(Names),
    /// A local socket.
    Unix(PathBuf),
}

/// Why datagrams were not sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotSent {
    /// The unix socket is a stream: not a fault, use the other path.
    #[error("the socket is a stream")]
    Stream,
    /// Any other reason.
    #[error("{}", .0.message)]
    Fault(Fault),
}

impl From<NotSent> for Fault {
    fn from(error: NotSent) -> Self {
        match error {
            NotSent::Stream => Fault {
                kind: FaultKind::Config,
                message: error.to_string(),
            },
            NotSent::Fault(fault) => fault,
        }
    }
}

#[derive(Debug)]
enum Socket {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

impl Socket {
    async fn send(&self, message: &[u8]) -> io::Result<()> {
        match self {
            Self::Udp(socket) => socket.send(message).await.map(|_| ()),
            Self::Unix(socket) => socket.send(message).await.map(|_| ()),
        }
    }

    /// Waits a little for a refusal of what was sent.
    async fn refusal(&self) -> Option<io::Error> {
        match self {
            Self::Udp(socket) => timeout(TRIAL_MIN, socket.recv(&mut [0])).await.ok()?.err(),
            Self::Unix(_) => None,
        }
    }
}

/// Sends datagrams to one destination.
#[derive(Debug)]
pub(crate) struct Datagrams {
    to: To,
    deadline: Duration,
    socket: Mutex<Option<(Socket, Instant)>>,
}

impl Datagrams {
    pub(crate) fn new(to: To, deadline: Duration) -> Self {
        Self {
            to,
            deadline,
            socket: Mutex::new(None),
        }
    }

    /// Sends all; gives the places of those that are too large for the network. Cancel: safe; the rest is not sent.
    pub(crate) async fn send(&self, messages: &[Bytes]) -> Result<Vec<usize>, NotSent> {
        let mut slot = self.socket.lock().await;
        let kept = slot.take().filter(|(_, opened)| opened.elapsed() < SOCKET_AGE_MAX);
        let is_new = kept.is_none();
        let (socket, opened) = match kept {
            Some(kept) => kept,
            None => (self.open().await?, Instant::now()),
        };
        let mut too_large = Vec::new();
        for (at, message) in messages.iter().enumerate() {
            match timeout(self.deadline, socket.send(message)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) if error.raw_os_error() == Some(EMSGSIZE) => too_large.push(at),
                Ok(Err(error)) => return Err(self.unreachable(&error.to_string())),
                Err(_) => return Err(self.unreachable("its queue stays full")),
            }
        }
        if is_new && let Some(error) = socket.refusal().await {
            return Err(self.unreachable(&error.to_string()));
        }
        *slot = Some((socket, opened));
        Ok(too_large)
    }

    /// Opens a socket, sends nothing.
    pub(crate) async fn check(&self) -> Result<String, NotSent> {
        self.open().await.map(|socket| match socket {
            Socket::Udp(socket) => match socket.peer_addr() {
                Ok(peer) => format!("udp to {peer}: sent, never confirmed"),
                Err(_) => "udp: sent, never confirmed".to_owned(),
            },
            Socket::Unix(_) => "a unix datagram socket listens".to_owned(),
        })
    }

    pub(crate) fn notes(&self) -> Vec<String> {
        match &self.to {
            To::Udp(_) => vec!["udp: sent, never confirmed, in clear".to_owned()],
            To::Unix(_) => Vec::new(),
        }
    }

    async fn open(&self) -> Result<Socket, NotSent> {
        match &self.to {
            To::Udp(names) => {
                let addresses = names.resolve().await.map_err(NotSent::Fault)?;
                let peer = addresses.first().ok_or_else(|| self.unreachable("no address"))?;
                open_udp(*peer)
                    .await
                    .map_err(|error| self.unreachable(&error.to_string()))
            }
            To::Unix(path) => {
                let opened = UnixDatagram::unbound().and_then(|socket| socket.connect(path).map(|()| socket));
                match opened {
                    Ok(socket) => Ok(Socket::Unix(socket)),
                    Err(error) if error.raw_os_error() == Some(EPROTOTYPE) => Err(NotSent::Stream),
                    Err(error) => Err(self.unreachable(&error.to_string())),
                }
            }
        }
    }

    /// Where they go.
    pub(crate) fn shown(&self) -> String {
        match &self.to {
            To::Udp(names) => format!("udp {}", names.address()),
            To::Unix(path) => format!("`{}`", path.display()),
        }
    }

    fn unreachable(&self, why: &str) -> NotSent {
        NotSent::Fault(Fault {
            kind: FaultKind::Unreachable,
            message: format!("cannot send to {}: {why}", self.shown()),
        })
    }
}

async fn open_udp(peer: SocketAddr) -> io::Result<Socket> {
    let any: SocketAddr = match peer {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(peer).await?;
    Ok(Socket::Udp(socket))
}
