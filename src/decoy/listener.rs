//! One listening TCP socket: each accepted connection becomes a connect hit and, if there is a seat, a session.
//!
//! Invariants: 1. the connect hit is sent before anything else can go wrong, and from the address that `accept`
//! returned: a peer that resets at once has none left to ask for. 2. A failing accept never spins: at the limit of
//! open files the longest idle sessions are ended and the loop rests. 3. When it stops, what the kernel has already
//! accepted is still reported.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};
use rustix::process::{Resource, getrlimit};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use trapline_schemas::{Action, Timestamp, ids};

use crate::decoy::crowd::{Full, Live};
use crate::decoy::services::Transport;
use crate::decoy::session::Session;
use crate::decoy::stream::Stream;
use crate::decoy::{DecoySpec, Shared};
use crate::roles::{Contact, Hit, Touch};

/// How long the loop rests when the process or the machine has run out of something.
const REST: Duration = Duration::from_millis(20);

/// A repeated complaint is logged once in this time.
const COMPLAINT_EVERY: Duration = Duration::from_secs(10);

/// Sessions ended at once when there are no more file descriptors.
const ROOM: usize = 16;

/// One listening TCP socket.
#[derive(Debug)]
pub(crate) struct Listener {
    /// A listening socket in the type of a stream: tokio's listener would give the reactor whatever it accepts, and has
    /// no way for us to accept ourselves.
    listener: TcpStream,
    host: Host,
}

/// Receives what the socket accepts.
#[derive(Debug)]
struct Host {
    bound: SocketAddr,
    spec: Arc<DecoySpec>,
    /// Where a changed one comes.
    specs: watch::Receiver<Arc<DecoySpec>>,
    shared: Arc<Shared>,
    complained: Option<Instant>,
}

impl Listener {
    /// Takes over a socket that listens.
    pub(crate) fn new(
        socket: std::net::TcpListener,
        mut specs: watch::Receiver<Arc<DecoySpec>>,
        shared: Arc<Shared>,
    ) -> io::Result<Self> {
        let spec = Arc::clone(&specs.borrow_and_update());
        let host = Host {
            bound: socket.local_addr()?,
            spec,
            specs,
            shared,
            complained: None,
        };
        let listener = TcpStream::from_std(OwnedFd::from(socket).into())?;
        Ok(Self { listener, host })
    }

    /// Accepts until `stop`. Cancel: not safe; stop it by the token.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let Self { listener, mut host } = self;
        let mut stopped = pin!(stop.cancelled());
        loop {
            // Cancel: accept is safe, an unaccepted connection stays in the backlog.
            let accepted = tokio::select! {
                () = &mut stopped => break,
                accepted = listener.async_io(Interest::READABLE, || accept(&listener)) => accepted,
            };
            match accepted {
                Ok((socket, peer)) => host.greet(socket, peer).await,
                Err(error) => host.cope(&error).await,
            }
        }
        host.empty(&listener).await;
    }
}

impl Host {
    /// Receives what the kernel has accepted already. The socket is asked itself: the reactor may not have been told.
    async fn empty(&mut self, listener: &TcpStream) {
        while let Ok((socket, peer)) = accept(listener) {
            self.greet(socket, peer).await;
        }
    }

    /// Reports the contact, then gives it a session if there is a seat.
    async fn greet(&mut self, socket: std::net::TcpStream, peer: SocketAddr) {
        if self.specs.has_changed().unwrap_or(false) {
            self.spec = Arc::clone(&self.specs.borrow_and_update());
        }
        let contact = self.contact(&socket, peer);
        let _ = self.shared.hits.send(connect(&contact)).await;
        let live = Arc::new(Live::new(Stream::new(socket), contact));
        let limits = &self.spec.limits;
        let sessions = limits.sessions.min(self.shared.sessions_max);
        match self.shared.crowd.sit(&live, sessions, limits.sessions_per_source) {
            Ok(seat) => {
                let span = tracing::debug_span!("session", decoy.name = %self.spec.name, source.address = %peer);
                let session = Session::new(Arc::clone(&self.shared), live, seat);
                self.shared.tasks.spawn(session.run().instrument(span));
            }
            Err(Full::Source) => {
                tracing::debug!(source.address = %peer, "source has all the sessions it may have")
            }
            Err(Full::House) => self.complain_of_files("all sessions are taken"),
        }
    }

    fn contact(&self, socket: &std::net::TcpStream, peer: SocketAddr) -> Arc<Contact> {
        let at = Timestamp::now();
        Arc::new(Contact {
            session: ids::fresh(at),
            at,
            peer: canonical(peer),
            local: self.local(socket),
            transport: Transport::Tcp,
            spec: Arc::clone(&self.spec),
        })
    }

    /// The address that was touched: ours if it is not a wildcard, which saves the call, else the kernel's word.
    fn local(&self, socket: &std::net::TcpStream) -> SocketAddr {
        if !self.bound.ip().is_unspecified() {
            return canonical(self.bound);
        }
        canonical(socket.local_addr().unwrap_or(self.bound))
    }

    async fn cope(&mut self, error: &io::Error) {
        match Errno::from_io_error(error) {
            Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                self.shared.crowd.end_longest_idle(ROOM, "no more open files");
                self.complain_of_files("no more open files");
                tokio::time::sleep(REST).await;
            }
            // Errors of one connection that is gone (accept(2)): the next one is unharmed.
            Some(Errno::CONNABORTED | Errno::INTR | Errno::PROTO | Errno::PERM) => {}
            _ => {
                self.complain(|| tracing::error!(error = %error, "decoy cannot accept, trying again"));
                tokio::time::sleep(REST).await;
            }
        }
    }

    fn complain_of_files(&mut self, what: &'static str) {
        let limit = getrlimit(Resource::Nofile).current;
        let open = self.shared.crowd.open();
        let sessions = self.spec.limits.sessions;
        self.complain(|| {
            tracing::warn!(
                files.limit = limit,
                sessions.open = open,
                limits.sessions = sessions,
                "{what}, closing the longest idle; raise `limits.sessions`, or LimitNOFILE= or ulimit -n"
            );
        });
    }

    fn complain(&mut self, say: impl FnOnce()) {
        let now = Instant::now();
        if self.complained.is_none_or(|last| now - last >= COMPLAINT_EVERY) {
            self.complained = Some(now);
            say();
        }
    }
}

/// Accepts one connection, which will not block.
fn accept(listener: impl AsFd) -> io::Result<(std::net::TcpStream, SocketAddr)> {
    let (socket, peer) = acceptfrom_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?;
    let peer = peer.ok_or(Errno::CONNABORTED)?.try_into()?;
    Ok((socket.into(), peer))
}

fn connect(contact: &Arc<Contact>) -> Hit {
    Hit {
        action: Action::Connect,
        at: contact.at,
        contact: Arc::clone(contact),
        touch: Touch::Contact,
        facts: Vec::new(),
        secret: None,
        capture: None,
    }
}

/// An address as it is recorded: IPv4-mapped IPv6 is IPv4.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        IpAddr::V6(_) => address,
    }
}
