//! The listener: who gets a connection, and how long it may take.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use trapline_schemas::Timestamp;
use trapline_sink::published::Shelf;

use super::bearers::Tokens;
use super::lists::{self, OldTokens};
use super::lobby::{Guest, Lobby};
use super::misses::Misses;
use super::patient::{Patient, WRITE_TIME_MAX};
use super::route;
use super::speech;
use super::tls::{Secured, secured};
use crate::app::{Core, Tasks};
use crate::config::WebSettings;
use crate::control::status::Health;
use crate::decoy::bind::{self, BindError, RETRY_EVERY};
use crate::decoy::services::Transport;
use crate::decoy::tls::certificate::TlsFault;
use crate::respond::sparing::Admins;

/// Connections at once. One more takes the place of one that has shown no token, or waits until one ends.
pub const CONNECTIONS_MAX: usize = 96;
/// Streams among them; one more is told to come back.
pub const STREAMS_MAX: usize = 64;
/// Searches at once; more wait for their turn.
const SEARCHES_MAX: usize = 4;
/// Send buffer of a connection, bytes: what the kernel holds for a reader that is slow.
const SEND_BUFFER_BYTES: usize = 128 << 10;
/// How long connections may go on once the instance stops.
const STOP_GRACE: Duration = Duration::from_secs(1);
/// At most so often is said that connections cannot be taken.
const COMPLAINT_EVERY: Duration = Duration::from_secs(10);
/// How long `/healthz` tells what it found: whoever asks more often costs nothing.
const HEALTH_TIME: Duration = Duration::from_secs(1);
/// Longest that a look at the instance takes before it is no good one.
const HEALTH_TIME_MAX: Duration = Duration::from_secs(5);

/// What a reload may change.
#[derive(Debug, PartialEq)]
pub struct Look {
    /// Further names it may be asked by.
    pub hosts: Vec<String>,
    /// With what it speaks TLS.
    pub tls: Option<Secured>,
    /// Networks from which lists are read without a token.
    pub lists_from: Vec<IpNet>,
}

impl Look {
    /// Reads the files that the configuration names. Blocking, short.
    pub fn of(settings: &WebSettings) -> Result<Self, TlsFault> {
        Ok(Self {
            hosts: settings.hosts.clone(),
            tls: settings.tls.as_ref().map(secured).transpose()?,
            lists_from: settings.lists_from.clone(),
        })
    }
}

/// How the listener is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listening {
    /// Where, or where it is to.
    pub address: SocketAddr,
    /// Why it does not.
    pub error: Option<Arc<BindError>>,
    /// Since when it is so.
    pub since: Timestamp,
}

/// The live feed of an instance.
#[derive(Debug)]
pub struct Web {
    look: Mutex<Arc<Look>>,
    listening: Mutex<Listening>,
    pub(super) tokens: Arc<Tokens>,
    pub(super) misses: Misses,
    pub(super) shelf: Shelf,
    pub(super) old_tokens: OldTokens,
    admins: Option<Admins>,
    lobby: Arc<Lobby>,
    connections: Arc<Semaphore>,
    pub(super) streams: Arc<Semaphore>,
    pub(super) searches: Semaphore,
    pub(super) stop: CancellationToken,
    health: tokio::sync::Mutex<Option<(Instant, Health)>>,
    /// When it was last said that connections cannot be taken.
    complained: Mutex<Option<Instant>>,
}

impl Web {
    /// One that listens nowhere yet.
    pub fn new(settings: &WebSettings, look: Look, state_dir: &Path, stop: CancellationToken) -> Self {
        Self {
            look: Mutex::new(Arc::new(look)),
            listening: Mutex::new(Listening {
                address: settings.listen,
                error: None,
                since: Timestamp::now(),
            }),
            tokens: Arc::new(Tokens::new(state_dir)),
            misses: Misses::default(),
            shelf: Shelf::default(),
            old_tokens: OldTokens::default(),
            admins: None,
            lobby: Arc::default(),
            connections: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            searches: Semaphore::new(SEARCHES_MAX),
            stop,
            health: tokio::sync::Mutex::default(),
            complained: Mutex::default(),
        }
    }

    /// Hands out what sinks put on this shelf.
    #[must_use]
    pub fn with_shelf(self, shelf: Shelf) -> Self {
        Self { shelf, ..self }
    }

    /// Says who showed a token that was right: nothing is ever done to them.
    #[must_use]
    pub fn with_admins(self, admins: Admins) -> Self {
        Self {
            admins: Some(admins),
            ..self
        }
    }

    /// Somebody showed a token that was right.
    pub(super) fn was_right(&self, peer: IpAddr) {
        if let Some(admins) = &self.admins {
            admins.seen(peer);
        }
    }

    /// Where sinks put documents that it hands out.
    pub const fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    /// What is in force for new connections.
    pub fn look(&self) -> Arc<Look> {
        self.look.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts another look in force; says whether it is another one.
    pub fn set_look(&self, look: Look) -> bool {
        let mut held = self.look.lock().unwrap_or_else(PoisonError::into_inner);
        let differs = **held != look;
        *held = Arc::new(look);
        differs
    }

    /// How the listener is.
    pub fn listening(&self) -> Listening {
        self.listening.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Streams that are open.
    pub fn open_streams(&self) -> usize {
        STREAMS_MAX - self.streams.available_permits()
    }

    /// Connections that are open, streams among them.
    pub fn open_connections(&self) -> usize {
        CONNECTIONS_MAX - self.connections.available_permits()
    }

    /// The tokens.
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// What each connection could make us say is said once in a while.
    fn complain(&self, say: impl FnOnce()) {
        let mut last = self.complained.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|at| at.elapsed() >= COMPLAINT_EVERY) {
            *last = Some(Instant::now());
            say();
        }
    }

    /// Opens the listener; it may be tried again.
    pub fn bind(&self) -> Option<TcpListener> {
        let before = self.listening();
        let opened = bind::bind(before.address, Transport::Tcp).and_then(|(socket, address)| {
            let listener = TcpListener::from_std(socket.into());
            let listener = listener.map_err(|error| BindError::Failed(address, error))?;
            Ok((listener, address))
        });
        let (listener, address, error) = match opened {
            Ok((listener, address)) => (Some(listener), address, None),
            Err(error) => (None, before.address, Some(Arc::new(error))),
        };
        tell(
            address,
            self.look().tls.is_some(),
            error.as_deref(),
            before.error.as_deref(),
        );
        *self.listening.lock().unwrap_or_else(PoisonError::into_inner) = Listening {
            address,
            error,
            since: Timestamp::now(),
        };
        listener
    }

    /// How the instance is, as one word tells it.
    pub(super) async fn health(&self, core: &Core) -> Health {
        let mut known = self.health.lock().await;
        if let Some((at, health)) = *known
            && at.elapsed() < HEALTH_TIME
        {
            return health;
        }
        let status = timeout(HEALTH_TIME_MAX, core.status()).await;
        let health = status.map_or(Health::Failing, |status| status.health);
        *known = Some((Instant::now(), health));
        health
    }
}

fn tell(address: SocketAddr, tls: bool, error: Option<&BindError>, before: Option<&BindError>) {
    let scheme = if tls { "https" } else { "http" };
    match error {
        None => tracing::info!(web.address = %address, "the live feed listens on {scheme}://{address}"),
        Some(error) if before != Some(error) => {
            tracing::warn!(web.address = %address, error = %error, "the live feed cannot listen, trying again every 30 s");
        }
        Some(_) => {}
    }
}

/// Seconds since the epoch.
pub(super) fn now() -> i64 {
    Timestamp::now().micros().div_euclid(1_000_000)
}

/// Serves until `stop`; then lets connections end within a grace.
pub async fn serve(web: Arc<Web>, core: Arc<Core>, tasks: Tasks, stop: CancellationToken, first: Option<TcpListener>) {
    let mut listener = first;
    tasks.spawn("web-lists", lists::watch(web.clone(), core.clone(), stop.clone()));
    while !stop.is_cancelled() {
        let Some(open) = &listener else {
            // Cancel: both are safe.
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(RETRY_EVERY) => listener = web.bind(),
            }
            continue;
        };
        // Cancel: a connection not yet given out stays in the backlog.
        tokio::select! {
            () = stop.cancelled() => {}
            () = accept(open, &web, &core, &tasks) => {}
        }
    }
    drop(listener);
    let all = u32::try_from(CONNECTIONS_MAX).unwrap_or(u32::MAX);
    let _ = timeout(STOP_GRACE, web.connections.acquire_many(all)).await;
}

/// Takes one connection, and waits until there is room for it.
async fn accept(listener: &TcpListener, web: &Arc<Web>, core: &Arc<Core>, tasks: &Tasks) {
    let (stream, peer) = match listener.accept().await {
        Ok(accepted) => accepted,
        Err(error) => {
            web.complain(|| tracing::warn!(error = %error, "the live feed cannot accept, trying again"));
            tokio::time::sleep(Duration::from_millis(100)).await;
            return;
        }
    };
    let Some(guest) = web.lobby.enter(peer.ip()) else {
        tracing::debug!(source.ip = %peer.ip(), "too many connections of {} without a token", peer.ip());
        return;
    };
    let Some(seat) = seat(web, &guest).await else {
        return;
    };
    let (web, core) = (web.clone(), core.clone());
    tasks.spawn("web-connection", async move {
        let _seat = seat;
        let shown_out = guest.shown_out();
        let ended = tokio::select! {
            // Cancel: the connection is closed, which is what is wanted.
            ended = connection(stream, (peer.ip(), guest), &web, &core) => ended,
            () = shown_out.cancelled() => Err(io::Error::other("it made room for another, having shown no token")),
        };
        if let Err(error) = ended {
            tracing::debug!(source.ip = %peer.ip(), error = %error, "a connection of the live feed broke");
        }
    });
}

/// A seat for who is at the door. Where all are taken, one who has not shown a token makes room.
async fn seat(web: &Web, guest: &Guest) -> Option<OwnedSemaphorePermit> {
    if let Ok(seat) = web.connections.clone().try_acquire_owned() {
        return Some(seat);
    }
    web.complain(|| {
        tracing::warn!("all {CONNECTIONS_MAX} connections of the live feed are taken, those without a token make room");
    });
    web.lobby.make_room(guest);
    web.connections.clone().acquire_owned().await.ok()
}

/// One connection: TLS if it is on, one request, its answer.
async fn connection(
    stream: TcpStream,
    (peer, guest): (IpAddr, Guest),
    web: &Arc<Web>,
    core: &Arc<Core>,
) -> io::Result<()> {
    let local = stream.local_addr()?.ip();
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    // A peer whose network is gone would keep the seat of a quiet stream for a quarter of an hour.
    socket.set_tcp_user_timeout(Some(WRITE_TIME_MAX))?;
    let look = web.look();
    let caller = route::Caller {
        web: web.clone(),
        core: core.clone(),
        look: look.clone(),
        peer,
        local,
        guest: Mutex::new(Some(guest)),
    };
    let caller = Arc::new(caller);
    let answer = move |request| {
        let caller = caller.clone();
        async move { route::answer(&caller, request).await }
    };
    speech::hear(Patient::new(stream), look.tls.as_ref(), answer).await
}
