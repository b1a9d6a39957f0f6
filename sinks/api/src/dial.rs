//! The one place that opens TCP and TLS connections to a destination.
//!
//! In: [`Address`] and, for TLS, [`Tls`]. Out: a connected [`Stream`] or a [`Fault`] that says what to look at.
//!
//! Invariants:
//! 1. From the call to the finished handshake at most [`CONNECT_DEADLINE`] pass, over all addresses of a name.
//! 2. A dead peer is noticed within [`DEAD_PEER`] also when nothing is written: keepalive and `TCP_USER_TIMEOUT`.
//! 3. At most one `getaddrinfo` is under way per [`Names`], off the runtime's threads, whatever the resolver does.
//! 4. While names do not resolve, the last good addresses are used for at most [`NAMES_KEPT`]; TLS still checks the name.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::kernel::socket_counts;
use crate::stream::{Fault, FaultKind};
use crate::tls::{CLOSED_IN_HANDSHAKE, Tls, explain};

/// Longest time to a connected, TLS-verified stream.
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// Longest time that written bytes may stay unacknowledged by the peer's kernel before the connection is given up.
pub const DEAD_PEER: Duration = Duration::from_secs(30);
/// How long addresses are used after their name stopped resolving.
pub const NAMES_KEPT: Duration = Duration::from_secs(3600);
/// Send buffer asked of the kernel: what is in it is lost with the connection, so it is small.
const SEND_BUFFER: usize = 128 * 1024;

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Host name or address, without brackets.
    pub host: String,
    /// Port, 1..=65535.
    pub port: u16,
}

impl Address {
    /// Reads `host:port`, `192.0.2.1:514` or `[2001:db8::1]:514`; the port may be left out if there is a default.
    pub fn parse(text: &str, default_port: Option<u16>) -> Option<Self> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Self::new(address.ip().to_string(), address.port());
        }
        if let Ok(ip) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            return Self::new(ip.to_string(), default_port?);
        }
        match text.rsplit_once(':') {
            Some((host, port)) => Self::new(host.to_owned(), port.parse().ok()?),
            None => Self::new(text.to_owned(), default_port?),
        }
    }

    fn new(host: String, port: u16) -> Option<Self> {
        let is_name = |host: &str| {
            host.bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        };
        let good = host.parse::<IpAddr>().is_ok() || (!host.is_empty() && host.len() <= 253 && is_name(&host));
        (good && port != 0).then_some(Self { host, port })
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

type Lookup = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// How a name becomes addresses; the default is the system's way. It may block: it is asked on a thread of its own.
#[derive(Clone)]
pub struct Resolver(Arc<Lookup>);

impl Resolver {
    /// Names become what `lookup` says of them.
    pub fn new(lookup: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(lookup))
    }

    /// What a name is now. It may block as long as the system's resolver does: ask on a thread that may wait.
    pub fn lookup(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        self.0(host, port)
    }

    /// The same without the addresses that `keep` does not take. A name with none but those does not resolve.
    #[must_use]
    pub fn keeping(self, keep: impl Fn(IpAddr) -> bool + Send + Sync + 'static, refused: &'static str) -> Self {
        Self::new(move |host, port| {
            let found = self.0(host, port)?;
            let kept: Vec<_> = found.iter().copied().filter(|address| keep(address.ip())).collect();
            match kept.is_empty() && !found.is_empty() {
                true => Err(io::Error::other(refused)),
                false => Ok(kept),
            }
        })
    }
}

impl Default for Resolver {
    fn default() -> Self {
        Self::new(|host, port| (host, port).to_socket_addrs().map(Iterator::collect))
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Resolver")
    }
}

/// Resolves one destination's name and remembers the last good answer.
pub struct Names {
    address: Address,
    resolver: Resolver,
    state: Mutex<NamesState>,
}

#[derive(Default)]
struct NamesState {
    good: Option<(Instant, Vec<SocketAddr>)>,
    pending: Option<JoinHandle<io::Result<Vec<SocketAddr>>>>,
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Names({})", self.address)
    }
}

impl Names {
    /// Names of one destination.
    pub fn new(address: Address, resolver: Resolver) -> Self {
        Self {
            address,
            resolver,
            state: Mutex::default(),
        }
    }

    /// The destination.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Its addresses now. Time: at most half of [`CONNECT_DEADLINE`]. Cancel: safe; a lookup under way is kept.
    pub async fn resolve(&self) -> Result<Vec<SocketAddr>, Fault> {
        if let Ok(ip) = self.address.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, self.address.port)]);
        }
        let mut state = self.state.lock().await;
        let failure = match timeout(CONNECT_DEADLINE / 2, pending(&mut state.pending, || self.spawn())).await {
            Ok(Ok(found)) if !found.is_empty() => {
                state.good = Some((Instant::now(), found.clone()));
                return Ok(found);
            }
            Ok(Ok(_)) => "no address".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the resolver does not answer".to_owned(),
        };
        match &state.good {
            Some((at, found)) if at.elapsed() <= NAMES_KEPT => {
                tracing::debug!(host = %self.address.host, %failure, "name does not resolve, using its last good addresses");
                Ok(found.clone())
            }
            _ => Err(unreachable(format!(
                "name `{}` does not resolve: {failure}",
                self.address.host
            ))),
        }
    }

    fn spawn(&self) -> JoinHandle<io::Result<Vec<SocketAddr>>> {
        let (resolver, address) = (self.resolver.clone(), self.address.clone());
        tokio::task::spawn_blocking(move || resolver.0(&address.host, address.port))
    }
}

/// Waits for the lookup under way, or starts one; it stays in its place until it has answered.
async fn pending(
    slot: &mut Option<JoinHandle<io::Result<Vec<SocketAddr>>>>,
    start: impl FnOnce() -> JoinHandle<io::Result<Vec<SocketAddr>>>,
) -> io::Result<Vec<SocketAddr>> {
    let answer = slot.get_or_insert_with(start).await;
    *slot = None;
    answer.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// Opens connections to one destination.
#[derive(Debug)]
pub struct Dialer {
    names: Names,
    tls: Option<Tls>,
}

impl Dialer {
    /// A dialer; with `tls` every connection is verified before it is handed out.
    pub fn new(names: Names, tls: Option<Tls>) -> Self {
        Self { names, tls }
    }

    /// The destination.
    pub fn address(&self) -> &Address {
        self.names.address()
    }

    /// The TLS client, if any.
    pub fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// Connects. Time: at most [`CONNECT_DEADLINE`]. Cancel: safe; a half-open connection is dropped.
    pub async fn connect(&self) -> Result<Stream, Fault> {
        let deadline = Instant::now() + CONNECT_DEADLINE;
        let tcp = self.open(deadline).await?;
        match &self.tls {
            Some(tls) => self.handshake(tls, tcp, deadline).await,
            None => Ok(Stream::Plain(tcp)),
        }
    }

    /// Connects without TLS whatever the settings: for protocols that begin in clear and go over to TLS with
    /// [`secure`](Self::secure). Time, cancel: as [`connect`](Self::connect).
    pub async fn connect_in_clear(&self) -> Result<TcpStream, Fault> {
        self.open(Instant::now() + CONNECT_DEADLINE).await
    }

    /// Goes over to TLS on a connection of [`connect_in_clear`](Self::connect_in_clear). The caller has read all that the
    /// peer sent in clear. Time: at most [`CONNECT_DEADLINE`]. Cancel: safe; the connection is dropped.
    ///
    /// Errors: [`FaultKind::Tls`] also for a dialer without TLS.
    pub async fn secure(&self, tcp: TcpStream) -> Result<Stream, Fault> {
        match &self.tls {
            Some(tls) => self.handshake(tls, tcp, Instant::now() + CONNECT_DEADLINE).await,
            None => Err(tls_fault(format!("no TLS is set up for {}", self.address()))),
        }
    }

    async fn open(&self, deadline: Instant) -> Result<TcpStream, Fault> {
        let addresses = self.names.resolve().await?;
        self.connect_tcp(&addresses, deadline).await
    }

    async fn handshake(&self, tls: &Tls, tcp: TcpStream, deadline: Instant) -> Result<Stream, Fault> {
        let name = tls.name(&self.address().host)?;
        let connector = TlsConnector::from(tls.config().clone());
        match timeout_at(deadline, connector.connect(name, tcp)).await {
            Ok(Ok(stream)) => Ok(Stream::Tls(Box::new(stream))),
            Ok(Err(error)) => Err(self.handshake_fault(&error)),
            Err(_) => Err(tls_fault(format!(
                "{} did not finish the TLS handshake in {} s: is this a plain-text port?",
                self.address(),
                CONNECT_DEADLINE.as_secs()
            ))),
        }
    }

    async fn connect_tcp(&self, addresses: &[SocketAddr], deadline: Instant) -> Result<TcpStream, Fault> {
        let mut why = "no address".to_owned();
        for (at, address) in addresses.iter().enumerate() {
            let left = deadline.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(addresses.len() - at).unwrap_or(1);
            match timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    tune(&stream);
                    return Ok(stream);
                }
                Ok(Err(error)) => why = error.to_string(),
                Err(_) => why = format!("no answer within {} ms", share.as_millis()),
            }
        }
        Err(unreachable(format!("cannot connect to {}: {why}", self.address())))
    }

    fn handshake_fault(&self, error: &io::Error) -> Fault {
        match explain(error) {
            Some(fault) => Fault {
                message: format!("TLS with {}: {}", self.address(), fault.message),
                ..fault
            },
            // As an end does; which of the two is seen is a race where the peer has left something unread.
            None if matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => {
                tls_fault(format!("TLS with {}: {CLOSED_IN_HANDSHAKE}", self.address()))
            }
            None => unreachable(format!("TLS with {}: {error}", self.address())),
        }
    }
}

fn unreachable(message: String) -> Fault {
    Fault {
        kind: FaultKind::Unreachable,
        message,
    }
}

fn tls_fault(message: String) -> Fault {
    Fault {
        kind: FaultKind::Tls,
        message,
    }
}

/// Options that only make faults show sooner; a kernel that lacks one still works.
fn tune(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let probes = TcpKeepalive::new()
        .with_time(DEAD_PEER / 2)
        .with_interval(DEAD_PEER / 6)
        .with_retries(3);
    let _ = socket.set_tcp_keepalive(&probes);
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(DEAD_PEER));
    let _ = socket.set_send_buffer_size(SEND_BUFFER);
    let _ = stream.set_nodelay(true);
}

/// A connected stream, plain or TLS.
#[derive(Debug)]
pub enum Stream {
    /// TCP alone.
    Plain(TcpStream),
    /// TLS over TCP, verified.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Whether the peer's kernel has acknowledged all that was written, and has not reset the connection. A peer that
    /// ends a stream in this state has read all of it: a kernel resets where the reader left something.
    ///
    /// Takes the socket's error away. `false` also where the kernel does not say.
    pub fn is_acknowledged(&self) -> bool {
        let tcp = match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(stream) => stream.get_ref().0,
        };
        let queued = socket_counts(tcp).ok().map(|counts| counts.unacknowledged);
        // The error comes second: a reset empties the queue.
        queued == Some(0) && matches!(tcp.take_error(), Ok(None))
    }

    /// Few words on what protects it, for `check`: `tcp` or the TLS version.
    pub fn protection(&self) -> String {
        match self {
            Self::Plain(_) => "tcp".to_owned(),
            Self::Tls(stream) => match stream.get_ref().1.protocol_version() {
                Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3".to_owned(),
                Some(rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2".to_owned(),
                _ => "TLS".to_owned(),
            },
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests;
