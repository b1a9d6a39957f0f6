//! The decoy role: serves the sockets that core hands it, until it is told to stop.
//!
//! In: [`ToDecoy`] messages. Out: [`Hit`]s, and what was [`Missed`]. It opens no file, no connection and no socket of
//! its own.
//!
//! Shutdown: stop accepting, report what the kernel had accepted, let sessions end within the grace, end the rest,
//! wait for their last reports.

use std::collections::HashMap;
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::decoy::crowd::Memory;
use crate::decoy::listener::Listener;
use crate::decoy::udp::Datagrams;
use crate::decoy::{DecoySpec, MEMORY_BYTES_MAX, Shared};
use crate::roles::{Attendance, Bound, Hit, Missed, ToDecoy};

/// File descriptors that sessions leave to the rest of the process: listeners, journal, sinks, control.
const FILES_RESERVED: u64 = 256;

/// How often the shutdown ends sessions that were accepted in the meantime.
const LAST_CALL: Duration = Duration::from_millis(100);

/// The decoy role.
#[derive(Debug)]
pub struct Role {
    shared: Arc<Shared>,
    grace: Duration,
    listeners: HashMap<u64, Open>,
    told_files: bool,
}

/// A socket that is served.
#[derive(Debug)]
struct Open {
    spec: watch::Sender<Arc<DecoySpec>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// How a served socket is told what to be, and its task.
type Served = (watch::Sender<Arc<DecoySpec>>, JoinHandle<()>);

impl Role {
    /// A role that reports to `hits` and `missed`, and gives sessions `grace` to end by themselves.
    pub fn new(hits: mpsc::Sender<Hit>, missed: mpsc::Sender<Missed>, grace: Duration) -> Self {
        let shared = Arc::new(Shared {
            hits,
            missed,
            crowd: Arc::default(),
            memory: Memory::new(MEMORY_BYTES_MAX),
            tasks: TaskTracker::new(),
            sessions_max: sessions_max(),
        });
        Self {
            shared,
            grace,
            listeners: HashMap::new(),
            told_files: false,
        }
    }

    /// How full it is, for whoever looks on.
    pub fn attendance(&self) -> Arc<Attendance> {
        self.shared.crowd.attendance()
    }

    /// Serves until `stop`, or until nobody is left who could send an order. Returns when all is reported, or when
    /// twice the grace has passed.
    pub async fn run(mut self, mut orders: mpsc::Receiver<ToDecoy>, stop: CancellationToken) {
        loop {
            // Cancel: recv is safe.
            let order = tokio::select! {
                () = stop.cancelled() => break,
                order = orders.recv() => order,
            };
            match order {
                Some(ToDecoy::Listen { listener, socket, spec }) => self.listen(listener, socket, spec),
                Some(ToDecoy::Become { listener, spec }) => self.transform(listener, spec),
                Some(ToDecoy::Close { listener, closed }) => {
                    self.close(listener).await;
                    let _ = closed.send(());
                }
                None => break,
            }
        }
        self.drain().await;
    }

    fn listen(&mut self, listener: u64, socket: Bound, spec: Arc<DecoySpec>) {
        self.check_files(spec.limits.sessions);
        let (name, stop) = (spec.name.clone(), CancellationToken::new());
        match self.serve(socket, Arc::clone(&spec), stop.clone()) {
            Ok((spec, task)) => {
                self.listeners.insert(listener, Open { spec, stop, task });
            }
            Err(error) => {
                tracing::error!(decoy.name = %name, error = %error, "decoy {name} cannot serve its socket");
            }
        }
    }

    fn serve(&self, socket: Bound, spec: Arc<DecoySpec>, stop: CancellationToken) -> io::Result<Served> {
        let span = tracing::info_span!("decoy", decoy.name = %spec.name);
        let shared = Arc::clone(&self.shared);
        let (changes, spec) = watch::channel(spec);
        let task = match socket {
            Bound::Tcp(socket) => {
                let listener = Listener::new(TcpListener::from(socket), spec, shared)?;
                tokio::spawn(listener.run(stop).instrument(span))
            }
            Bound::Udp { socket, portless } => {
                let datagrams = Datagrams::new(UdpSocket::from(socket), portless, spec, shared)?;
                tokio::spawn(datagrams.run(stop).instrument(span))
            }
        };
        Ok((changes, task))
    }

    fn transform(&mut self, listener: u64, spec: Arc<DecoySpec>) {
        self.check_files(spec.limits.sessions);
        if let Some(open) = self.listeners.get(&listener) {
            open.spec.send_replace(spec);
        }
    }

    /// Tells once if the sessions that are allowed need more files than may be open.
    fn check_files(&mut self, sessions: usize) {
        if self.told_files || sessions <= self.shared.sessions_max {
            return;
        }
        self.told_files = true;
        tracing::warn!(
            files.limit = getrlimit(Resource::Nofile).current,
            limits.sessions = sessions,
            sessions.max = self.shared.sessions_max,
            "the limit of open files allows fewer sessions than `limits.sessions`; raise LimitNOFILE= or ulimit -n"
        );
    }

    /// Closes a socket. Its sessions have their own limits: a decoy that is taken away closes on nobody, which all who
    /// are connected would see at once.
    async fn close(&mut self, listener: u64) {
        if let Some(open) = self.listeners.remove(&listener) {
            open.shut().await;
        }
    }

    async fn drain(self) {
        futures_util::future::join_all(self.listeners.into_values().map(Open::shut)).await;
        self.shared.tasks.close();
        let all = self.shared.tasks.wait();
        tokio::pin!(all);
        if tokio::time::timeout(self.grace, &mut all).await.is_ok() {
            return;
        }
        let end = tokio::time::Instant::now() + self.grace.max(LAST_CALL);
        while tokio::time::Instant::now() < end {
            self.shared.crowd.end_where("trapline stops", |_| true);
            if tokio::time::timeout(LAST_CALL, &mut all).await.is_ok() {
                return;
            }
        }
        let open = self.shared.crowd.open();
        tracing::warn!(sessions.open = open, "sessions did not end within the grace");
    }
}

impl Open {
    async fn shut(self) {
        self.stop.cancel();
        if self.task.await.is_err() {
            tracing::error!("a listener ended early");
        }
    }
}

/// Most sessions that the limit of open files leaves room for.
fn sessions_max() -> usize {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let reserved = FILES_RESERVED.min(files / 2);
    usize::try_from(files - reserved).unwrap_or(usize::MAX)
}
