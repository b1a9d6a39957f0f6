//! What a stream runs over, and what its read side says.

use std::io;
use std::path::PathBuf;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::UnixStream;
use tokio::time::timeout;
use trapline_schemas::text::clean;
use trapline_sink::dial::{CONNECT_DEADLINE, Dialer, Stream};
use trapline_sink::tls::explain;
use trapline_sink::{Fault, FaultKind};

/// How much of what a peer sends is shown.
const SHOWN_BYTES: usize = 48;

/// A connection.
pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + Send {
    /// Whether an end of the stream at this moment means that the peer has read all.
    fn is_read(&self) -> bool;
}

impl Io for Stream {
    fn is_read(&self) -> bool {
        self.is_acknowledged()
    }
}

impl Io for UnixStream {
    /// The kernel resets instead of ending a stream whose peer left something unread.
    fn is_read(&self) -> bool {
        matches!(self.take_error(), Ok(None))
    }
}

/// What the stream runs over.
#[derive(Debug)]
pub(crate) enum Wire {
    /// TCP, with or without TLS.
    Net(Box<Dialer>),
    /// A local stream socket.
    Unix(PathBuf),
}

impl Wire {
    pub(crate) async fn connect(&self) -> Result<(Box<dyn Io>, String), Fault> {
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

    pub(crate) fn unreachable(&self, why: &str) -> Fault {
        Fault {
            kind: FaultKind::Unreachable,
            message: format!("{}: {why}", self.shown()),
        }
    }

    pub(crate) fn has_tls(&self) -> bool {
        matches!(self, Self::Net(dialer) if dialer.tls().is_some())
    }

    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Net(dialer) => dialer.address().to_string(),
            Self::Unix(path) => path.display().to_string(),
        }
    }
}

/// How a connection ended.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) fault: Fault,
    /// The peer ended or reset it; else it stood still, or was never there.
    pub(crate) by_peer: bool,
    /// Ended in order, by a peer whose kernel had acknowledged all by then.
    pub(crate) is_read: bool,
}

impl End {
    /// By an error of the connection.
    pub(crate) fn broken(wire: &Wire, error: &io::Error) -> Self {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        Self {
            fault: broken(wire, error),
            by_peer: matches!(
                error.kind(),
                BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof
            ),
            is_read: false,
        }
    }

    /// Whether the peer gave a reason, or what is no syslog receiver's: the next connection would fare no better at once.
    pub(crate) fn has_spoken(&self) -> bool {
        matches!(self.fault.kind, FaultKind::Server | FaultKind::Tls)
    }

    /// Whether the peer may have read what was written: it closed without a reason. A connection that stands still, or
    /// that says what is wrong, proves nothing.
    pub(crate) fn may_be_read(&self) -> bool {
        self.by_peer && !self.has_spoken()
    }
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        Self {
            fault,
            by_peer: false,
            is_read: false,
        }
    }
}

/// Waits until the peer closes, fails or sends; for ever if there is no connection. Cancel: safe; a read takes nothing
/// unless it ends.
pub(crate) async fn ended(wire: &Wire, stream: Option<&mut Box<dyn Io>>) -> End {
    let Some(stream) = stream else {
        return std::future::pending().await;
    };
    let mut bytes = [0; SHOWN_BYTES];
    let read = stream.read(&mut bytes).await;
    let is_read = is_end(&read) && stream.is_read();
    match read {
        Ok(0) => End {
            fault: wire.unreachable("closed the connection"),
            by_peer: true,
            is_read,
        },
        Ok(len) => noise(wire, bytes.get(..len).unwrap_or_default()).into(),
        Err(error) => End {
            is_read,
            ..End::broken(wire, &error)
        },
    }
}

/// Many peers end TLS without saying so.
fn is_end(read: &io::Result<usize>) -> bool {
    match read {
        Ok(len) => *len == 0,
        Err(error) => error.kind() == io::ErrorKind::UnexpectedEof,
    }
}

pub(crate) fn noise(wire: &Wire, bytes: &[u8]) -> Fault {
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

pub(crate) fn broken(wire: &Wire, error: &io::Error) -> Fault {
    match explain(error) {
        Some(fault) => Fault {
            message: format!("{}: {}", wire.shown(), fault.message),
            ..fault
        },
        None => wire.unreachable(&error.to_string()),
    }
}
