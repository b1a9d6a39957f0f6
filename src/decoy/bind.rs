//! Core's side of listening: binds the sockets, hands them to the decoy role, and tries again where it could not.
//!
//! In: what is wanted ([`Wanted`]). Out: [`ToDecoy`] messages, lifecycle events through the recorder, and the state
//! of every listener for `status`.
//!
//! Invariants: 1. one address that cannot be had costs no other. 2. It is tried again every [`RETRY_EVERY`]; an event
//! tells of the failure when it begins or its cause changes, and of the end. 3. IPv6 sockets are IPv6 only, so that
//! `0.0.0.0:22` and `[::]:22` stand side by side. 4. A machine without IPv6 is a note, not a failure. 5. A socket that
//! the service manager holds is used in place of binding, and one that is bound is left with it for the next run.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use smol_str::SmolStr;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use trapline_schemas::{Action, Field, Timestamp, Value};

use crate::decoy::DecoySpec;
use crate::decoy::handed::{Shelf, Taken};
use crate::decoy::services::Transport;
use crate::record::{HostEvent, Recorder};
use crate::roles::{Bound, ToDecoy};

/// How often an address that could not be had is tried again.
pub const RETRY_EVERY: Duration = Duration::from_secs(30);

/// Connections that may wait to be accepted. The kernel cuts it to `net.core.somaxconn`.
pub(super) const BACKLOG: i32 = 4096;

/// Receive buffer of a UDP socket, bytes: a burst of small probes while the thread is busy.
const UDP_BUFFER_BYTES: usize = 1 << 20;

/// A decoy and where it is to listen.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// What it is.
    pub spec: Arc<DecoySpec>,
    /// Where.
    pub endpoints: Vec<Endpoint>,
}

/// One socket that a decoy is to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// TCP or UDP; one that the decoy's service runs over.
    pub transport: Transport,
    /// Where; port 0 takes any free one.
    pub address: SocketAddr,
}

/// How one listener is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerStatus {
    /// The decoy's name.
    pub decoy: SmolStr,
    /// TCP or UDP.
    pub transport: Transport,
    /// Where it listens, or is to listen.
    pub address: SocketAddr,
    /// Since when it is so.
    pub since: Timestamp,
    /// `None`: it listens.
    pub degraded: Option<Arc<BindError>>,
}

/// Why an address could not be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another socket has it.
    #[error("`{0}` is taken by another process")]
    Taken(SocketAddr),
    /// Ports below `net.ipv4.ip_unprivileged_port_start` need a capability.
    #[error("`{0}` needs CAP_NET_BIND_SERVICE, or a port from 1024 on")]
    Forbidden(SocketAddr),
    /// The machine has no such address now.
    #[error("this machine has no address `{}`", .0.ip())]
    NotHere(SocketAddr),
    /// The machine has no IPv6, or no IPv4.
    #[error("this machine has no {family} for `{0}`", family = if .0.is_ipv6() { "IPv6" } else { "IPv4" })]
    NoFamily(SocketAddr),
    /// Anything else.
    #[error("`{0}` could not be bound: {1}")]
    Failed(SocketAddr, io::Error),
}

impl PartialEq for BindError {
    /// Equal if a reader would call it the same cause.
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Eq for BindError {}

impl BindError {
    fn of(address: SocketAddr, error: io::Error) -> Self {
        match Errno::from_io_error(&error) {
            Some(Errno::ADDRINUSE) => Self::Taken(address),
            Some(Errno::ACCESS | Errno::PERM) => Self::Forbidden(address),
            Some(Errno::AFNOSUPPORT) => Self::NoFamily(address),
            Some(Errno::ADDRNOTAVAIL) if address.ip().is_unspecified() => Self::NoFamily(address),
            Some(Errno::ADDRNOTAVAIL) => Self::NotHere(address),
            _ => Self::Failed(address, error),
        }
    }

    /// One word for `error.type`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Taken(_) => "address-taken",
            Self::Forbidden(_) => "port-forbidden",
            Self::NotHere(_) => "address-missing",
            Self::NoFamily(_) => "family-missing",
            Self::Failed(..) => "bind-failed",
        }
    }
}

/// Binds one socket, nonblocking; a TCP socket listens already. Returns it with its address, which has the port that
/// was chosen for port 0.
pub fn bind(address: SocketAddr, transport: Transport) -> Result<(OwnedFd, SocketAddr), BindError> {
    let open = || -> io::Result<(OwnedFd, SocketAddr)> {
        let socket = open(address, transport)?;
        let bound = socket.local_addr()?.as_socket().unwrap_or(address);
        Ok((socket.into(), bound))
    };
    open().map_err(|error| BindError::of(address, error))
}

/// Makes a socket that is bound to this address ready for the decoy role.
pub fn ready(socket: OwnedFd, address: SocketAddr, transport: Transport) -> Result<Bound, BindError> {
    match transport {
        Transport::Tcp => Ok(Bound::Tcp(socket)),
        Transport::Udp => {
            let portless = portless(address).map_err(|error| BindError::of(address, error))?;
            Ok(Bound::Udp { socket, portless })
        }
    }
}

/// A UDP socket that gets a port when something is sent. What comes there is nobody's.
fn portless(address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM.nonblocking(),
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_recv_buffer_size(1)?;
    Ok(socket.into())
}

fn open(address: SocketAddr, transport: Transport) -> io::Result<Socket> {
    let (kind, protocol) = match transport {
        Transport::Tcp => (Type::STREAM, Protocol::TCP),
        Transport::Udp => (Type::DGRAM, Protocol::UDP),
    };
    let socket = Socket::new(Domain::for_address(address), kind.nonblocking(), Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    match transport {
        Transport::Tcp => {
            // A restart must not wait for the last run's connections in TIME_WAIT. On UDP the same option would let
            // two processes share a port.
            socket.set_reuse_address(true)?;
            socket.bind(&address.into())?;
            socket.listen(BACKLOG)?;
        }
        Transport::Udp => {
            socket.set_recv_buffer_size(UDP_BUFFER_BYTES)?;
            socket.bind(&address.into())?;
        }
    }
    Ok(socket)
}

/// Keeps the listeners as wanted.
#[derive(Debug)]
pub struct Binder {
    role: mpsc::Sender<ToDecoy>,
    recorder: Recorder,
    rows: Vec<Row>,
    shelf: Shelf,
    /// How many sockets were numbered.
    numbers: u64,
    status: watch::Sender<Vec<ListenerStatus>>,
}

#[derive(Debug)]
struct Row {
    /// What the decoy role knows its socket by.
    listener: u64,
    spec: Arc<DecoySpec>,
    wanted: Endpoint,
    status: Option<ListenerStatus>,
}

impl Binder {
    /// A binder that hands sockets to `role`, those of the `shelf` first, and the state of its listeners.
    pub fn new(
        role: mpsc::Sender<ToDecoy>,
        recorder: Recorder,
        shelf: Shelf,
    ) -> (Self, watch::Receiver<Vec<ListenerStatus>>) {
        let (status, states) = watch::channel(Vec::new());
        let binder = Self {
            role,
            recorder,
            rows: Vec::new(),
            shelf,
            numbers: 0,
            status,
        };
        (binder, states)
    }

    /// Retries what is degraded and takes new wishes, until `stop`; then tells of each listener that it stopped.
    pub async fn run(mut self, mut wishes: mpsc::Receiver<Vec<Wanted>>, stop: CancellationToken) {
        loop {
            let degraded = self.rows.iter().any(Row::is_missing);
            // Cancel: recv and sleep are safe.
            tokio::select! {
                () = stop.cancelled() => break,
                Some(wanted) = wishes.recv() => self.apply(wanted).await,
                () = tokio::time::sleep(RETRY_EVERY), if degraded => self.bind_missing().await,
            }
        }
        for row in std::mem::take(&mut self.rows) {
            self.tell_stopped(&row).await;
        }
        self.publish();
    }

    /// Makes the listeners those that are wanted. A decoy's socket stays open as long as the decoy is to listen at its
    /// address, whatever else of it changes.
    pub async fn apply(&mut self, wanted: Vec<Wanted>) {
        let mut before = std::mem::take(&mut self.rows);
        for Wanted { spec, endpoints } in wanted {
            for endpoint in endpoints {
                let same = before.iter().position(|row| row.stays(&spec, endpoint));
                let row = match same {
                    Some(at) => self.kept(before.remove(at), &spec).await,
                    None => self.fresh(&spec, endpoint),
                };
                self.rows.push(row);
            }
        }
        self.close(before).await;
        self.bind_missing().await;
        self.shelf.clear();
    }

    fn fresh(&mut self, spec: &Arc<DecoySpec>, wanted: Endpoint) -> Row {
        self.numbers += 1;
        Row {
            listener: self.numbers,
            spec: Arc::clone(spec),
            wanted,
            status: None,
        }
    }

    async fn kept(&self, mut row: Row, spec: &Arc<DecoySpec>) -> Row {
        if !Arc::ptr_eq(&row.spec, spec) {
            row.spec = Arc::clone(spec);
            if !row.is_missing() {
                let (listener, spec) = (row.listener, Arc::clone(spec));
                let _ = self.role.send(ToDecoy::Become { listener, spec }).await;
            }
        }
        row
    }

    async fn close(&mut self, rows: Vec<Row>) {
        for row in rows {
            self.shelf.let_go(&row.spec, row.wanted);
            let (closed, done) = oneshot::channel();
            let listener = row.listener;
            if self.role.send(ToDecoy::Close { listener, closed }).await.is_ok() {
                let _ = done.await;
            }
            self.tell_stopped(&row).await;
        }
    }

    async fn bind_missing(&mut self) {
        let all: Vec<_> = self.rows.iter().map(|row| row.wanted).collect();
        for at in 0..self.rows.len() {
            if let Some(row) = self.rows.get(at).filter(|row| row.is_missing()) {
                let socket = self.shelf.take(&row.spec, row.wanted, &all);
                let status = self.bind_row(row, socket).await;
                if let Some(row) = self.rows.get_mut(at) {
                    row.status = Some(status);
                }
            }
        }
        self.publish();
    }

    /// Tries to bind a row, unless there is a socket for it; tells of the outcome if it is news.
    async fn bind_row(&self, row: &Row, handed: Option<Taken>) -> ListenerStatus {
        let (address, degraded) = match self.socket(row, handed) {
            Ok((socket, address)) => {
                let (listener, spec) = (row.listener, Arc::clone(&row.spec));
                let order = ToDecoy::Listen { listener, socket, spec };
                let _ = self.role.send(order).await;
                (address, None)
            }
            Err(error) => (row.wanted.address, Some(Arc::new(error))),
        };
        match &row.status {
            Some(before) if before.degraded == degraded => before.clone(),
            _ => {
                let status = ListenerStatus {
                    decoy: row.spec.name.clone(),
                    transport: row.wanted.transport,
                    address,
                    since: Timestamp::now(),
                    degraded,
                };
                self.tell(row, &status).await;
                status
            }
        }
    }

    fn socket(&self, row: &Row, handed: Option<Taken>) -> Result<(Bound, SocketAddr), BindError> {
        let (socket, address) = self.bound(row, handed)?;
        Ok((ready(socket, address, row.wanted.transport)?, address))
    }

    fn bound(&self, row: &Row, handed: Option<Taken>) -> Result<(OwnedFd, SocketAddr), BindError> {
        if let Some(Taken { socket, address }) = handed {
            tracing::debug!(listener.address = %address, "a socket of the service manager is used");
            return Ok((socket, address));
        }
        let bound = bind(row.wanted.address, row.wanted.transport)?;
        self.shelf.keep(&row.spec, row.wanted, bound.0.as_fd());
        Ok(bound)
    }

    async fn tell(&self, row: &Row, status: &ListenerStatus) {
        let decoy = &status.decoy;
        let action = match status.degraded.as_deref() {
            None => {
                tracing::info!(decoy.name = %decoy, listener.address = %status.address, "decoy {decoy} listens");
                Action::ListenerStarted
            }
            Some(BindError::NoFamily(_)) => {
                tracing::info!(decoy.name = %decoy, listener.address = %status.address, "decoy {decoy} leaves out an address family that this machine has not");
                Action::ListenerFailed
            }
            Some(error) => {
                tracing::warn!(decoy.name = %decoy, listener.address = %status.address, error = %error, "decoy {decoy} cannot listen, trying again every 30 s");
                Action::ListenerFailed
            }
        };
        let mut facts = row.facts(status);
        if let Some(error) = status.degraded.as_deref() {
            facts.push((Field::ErrorType, error.kind().into()));
            facts.push((Field::ErrorMessage, error.to_string().into()));
        }
        self.recorder.host(HostEvent::new(action, facts)).await;
    }

    async fn tell_stopped(&self, row: &Row) {
        if let Some(status) = row.status.as_ref().filter(|status| status.degraded.is_none()) {
            let event = HostEvent::new(Action::ListenerStopped, row.facts(status));
            self.recorder.host(event).await;
        }
    }

    fn publish(&self) {
        let states = self.rows.iter().filter_map(|row| row.status.clone());
        self.status.send_replace(states.collect());
    }
}

impl Row {
    /// Whether its socket is the one for `spec` at an endpoint.
    fn stays(&self, spec: &DecoySpec, endpoint: Endpoint) -> bool {
        self.spec.name == spec.name && self.wanted == endpoint
    }

    /// Whether it does not listen.
    fn is_missing(&self) -> bool {
        self.status.as_ref().is_none_or(|status| status.degraded.is_some())
    }

    fn facts(&self, status: &ListenerStatus) -> Vec<(Field, Value)> {
        vec![
            (Field::DecoyId, self.spec.name.clone().into()),
            (Field::DecoyService, self.spec.service.name.into()),
            (Field::DecoyPersonality, self.spec.personality.name.clone().into()),
            (Field::DestinationIp, status.address.ip().into()),
            (Field::DestinationPort, status.address.port().into()),
            (Field::NetworkTransport, status.transport.name().into()),
        ]
    }
}
