//! A stage for tests of services: a real decoy on loopback whose hits land in a channel.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use trapline_schemas::{Action, Field, Value};

use crate::decoy::bind::{bind, ready};
use crate::decoy::keys::{KeyFolder, Provided};
use crate::decoy::role::Role;
use crate::decoy::tls::{Tls, certificate};
use crate::decoy::{
    DecoySpec, Limits, Personality, Secrets, personality::Install, services::Service, services::Transport,
};
use crate::roles::{Hit, Missed, ToDecoy};

/// Longest a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(90);

/// The install of every test.
pub(crate) fn install() -> Install {
    Install::new("files03", "corp.local", [7; 32])
}

/// A personality from the text of its file.
pub(crate) fn personality(text: &str) -> Arc<Personality> {
    Personality::parse("test", "test.toml", text, &install()).expect("the test's personality is whole")
}

/// A decoy named `lure` with default limits, speaking what its personality is for.
pub(crate) fn spec(text: &str) -> DecoySpec {
    let personality = personality(text);
    let service = crate::decoy::services::find(personality.service).expect("the personality found it");
    spec_of(service, personality)
}

/// A decoy of any service, also one that is in no table.
pub(crate) fn spec_of(service: &'static Service, personality: Arc<Personality>) -> DecoySpec {
    let provided = provided(service, &personality);
    let tls = personality.tls.upgrade.then(|| tls(&personality));
    DecoySpec {
        name: "lure".into(),
        service,
        personality,
        limits: Limits::default(),
        secrets: Secrets::Hmac,
        provided,
        tls,
    }
}

/// Keys that `ssh-keygen` and `openssl genrsa` made once: an RSA key takes a debug build seconds.
const KEYS: [(&str, &str); 4] = [
    ("rdp_key", include_str!("testing/rdp_key")),
    ("ssh_host_rsa_key", include_str!("testing/ssh_host_rsa_key")),
    ("ssh_host_ecdsa_key", include_str!("testing/ssh_host_ecdsa_key")),
    ("ssh_host_ed25519_key", include_str!("testing/ssh_host_ed25519_key")),
];

/// What the service's row makes of a folder of keys, in which those of [`KEYS`] lie already.
fn provided(service: &Service, personality: &Personality) -> Option<Provided> {
    let provide = service.provide?;
    let state = tempfile::tempdir().expect("a folder can be made");
    let folder = KeyFolder::within(state.path());
    for (name, text) in KEYS {
        let kept = folder.keep(&format!("lure.{name}"), || Ok(text.as_bytes().to_vec()));
        kept.expect("a key can be written");
    }
    Some(provide(&folder, "lure", personality).expect("the keys are good"))
}

/// The certificate of `files03.corp.local` that `openssl` made once, for TLS on request.
pub(crate) const CERTIFICATE: &str = include_str!("testing/lure.tls.pem");

fn tls(personality: &Personality) -> Tls {
    let state = tempfile::tempdir().expect("a folder can be made");
    let folder = KeyFolder::within(state.path());
    for file in ["lure.tls.pem", "ssl-cert-snakeoil.pem"] {
        let kept = folder.keep(file, || Ok(CERTIFICATE.into()));
        kept.expect("a key can be written");
    }
    certificate::kept(&folder, "lure", personality, false).expect("the certificate is good")
}

/// A running decoy role.
pub(crate) struct Stage {
    /// Where the decoy listens.
    pub(crate) address: SocketAddr,
    /// What it reported.
    pub(crate) hits: mpsc::Receiver<Hit>,
    /// What it says the kernel dropped.
    pub(crate) missed: mpsc::Receiver<Missed>,
    /// To hand it more sockets.
    pub(crate) role: mpsc::Sender<ToDecoy>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Stage {
    /// Serves `spec` on a free port of 127.0.0.1.
    pub(crate) async fn open(spec: DecoySpec) -> Self {
        Self::open_at("127.0.0.1:0", spec, 65_536).await
    }

    /// Serves `spec` on an address, with room for `room` hits.
    pub(crate) async fn open_at(address: &str, spec: DecoySpec, room: usize) -> Self {
        let transport = spec.service.transports()[0];
        Self::open_over(transport, address, spec, room).await
    }

    /// Like [`Stage::open_at`], over one of the transports of the service.
    pub(crate) async fn open_over(transport: Transport, address: &str, spec: DecoySpec, room: usize) -> Self {
        let (hits, hits_in) = mpsc::channel(room);
        let (missed, missed_in) = mpsc::channel(1);
        let (role, orders) = mpsc::channel(8);
        let stop = CancellationToken::new();
        let run = Role::new(hits, missed, Duration::from_millis(500)).run(orders, stop.clone());
        let (socket, address) = bind(address.parse().unwrap(), transport).expect("loopback has a free port");
        let socket = ready(socket, address, transport).expect("there is a file left");
        let spec = Arc::new(spec);
        let listener = 1;
        let order = ToDecoy::Listen { listener, socket, spec };
        role.send(order).await.unwrap();
        Self {
            address,
            hits: hits_in,
            missed: missed_in,
            role,
            stop,
            task: tokio::runtime::Handle::current().spawn(run),
        }
    }

    /// A client of the decoy.
    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("the decoy listens")
    }

    /// Sends `bytes`, ends the client's side, and returns all that the decoy said.
    pub(crate) async fn talk(&self, bytes: &[u8]) -> Vec<u8> {
        let mut client = self.connect().await;
        client.write_all(bytes).await.expect("the decoy reads");
        client.shutdown().await.expect("the client may stop");
        let mut said = Vec::new();
        // A reset after the last word is an answer too.
        let _ = client.read_to_end(&mut said).await;
        said
    }

    /// The next hit.
    pub(crate) async fn hit(&mut self) -> Hit {
        let hit = tokio::time::timeout(PATIENCE, self.hits.recv()).await;
        hit.expect("a hit comes in time").expect("the role runs")
    }

    /// The next hits, up to and with the session end.
    pub(crate) async fn session(&mut self) -> Vec<Hit> {
        let mut hits = vec![self.hit().await];
        while hits.last().is_some_and(|hit| hit.action != Action::SessionEnd) {
            hits.push(self.hit().await);
        }
        hits
    }

    /// Makes the decoy another.
    pub(crate) async fn change(&self, spec: DecoySpec) {
        let (listener, spec) = (1, Arc::new(spec));
        self.role.send(ToDecoy::Become { listener, spec }).await.unwrap();
    }

    /// Closes the decoy.
    pub(crate) async fn close(&self) {
        let (closed, done) = oneshot::channel();
        self.role.send(ToDecoy::Close { listener: 1, closed }).await.unwrap();
        done.await.unwrap();
    }

    /// Stops the role; returns what it had still to report.
    pub(crate) async fn end(self) -> Vec<Hit> {
        self.end_with_missed().await.0
    }

    /// Like [`Stage::end`], with what the kernel dropped.
    pub(crate) async fn end_with_missed(mut self) -> (Vec<Hit>, Vec<Missed>) {
        self.stop.cancel();
        let (mut rest, mut all_missed) = (Vec::new(), Vec::new());
        loop {
            tokio::select! {
                Some(hit) = self.hits.recv() => rest.push(hit),
                Some(missed) = self.missed.recv() => all_missed.push(missed),
                else => break,
            }
        }
        self.task.await.expect("the role ends without a panic");
        (rest, all_missed)
    }
}

/// The actions of hits, in order.
pub(crate) fn actions(hits: &[Hit]) -> Vec<Action> {
    hits.iter().map(|hit| hit.action).collect()
}

/// A fact of a hit.
pub(crate) fn fact(hit: &Hit, field: Field) -> Option<&Value> {
    let found = hit.facts.iter().find(|(of, _)| *of == field);
    found.map(|(_, value)| value)
}

/// A recorder's settings.
pub(crate) fn settings() -> crate::record::Settings {
    let identity = crate::record::Identity {
        name: "lure-01".into(),
        hostname: "lure-01.corp.local".into(),
        site: Some("lyon".into()),
        organization: None,
        boot: uuid::Uuid::from_u128(1),
        key: trapline_schemas::ids::SiteKey::new([9; 32]),
    };
    crate::record::Settings {
        identity: Arc::new(identity),
        rules: crate::record::Rules {
            events_per_source_per_minute: 10_000,
            ..crate::record::Rules::default()
        },
        hosts: Default::default(),
        state: Vec::new(),
    }
}

/// Work that is counted where it is done, so that a test sees what grows too fast without a clock. It counts for the
/// thread that does it, which is the test's own where the runtime has one thread.
pub(crate) mod work {
    use std::cell::Cell;

    thread_local! {
        static DONE: Cell<u64> = const { Cell::new(0) };
    }

    /// Counts so many bytes that were looked at or written.
    pub(crate) fn spend(bytes: usize) {
        DONE.set(DONE.get() + bytes as u64);
    }

    /// All that this thread did so far.
    pub(crate) fn done() -> u64 {
        DONE.get()
    }

    /// What `task` costs.
    pub(crate) fn of<T>(task: impl FnOnce() -> T) -> u64 {
        let before = done();
        task();
        done() - before
    }
}
