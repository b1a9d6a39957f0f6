//! A network of its own for a test, with a peer in another, and what a reconciler does.
//!
//! A test runs itself again within `unshare --net --mount`, where it is root of an empty network and of an empty `/run`:
//! whatever it starts or breaks there, the host does not notice, and all is gone with it.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "each test uses a part of it, and helpers of tests fail as tests do"
)]

use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use trapline_schemas::Timestamp;
use trapline_sink::dial::Resolver;
use trapline_sink::set::{
    Applied, Change, Grounds, Member, Put, SetCommon, SetFactory, SetSink, Standing, Target, Wanted, compare,
};
use trapline_sink_firewall::{Kind, Programs, Settings};
use uuid::Uuid;

const INSIDE: &str = "TRAPLINE_TEST_WORLD";
/// How long a world may need for what it does sooner or later.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the test of this name again in a world of its own; true within it. Where that cannot be, it says so loudly.
pub fn within(name: &str, needs: &[(&str, &str)]) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        prepare();
        return true;
    }
    let missing = needs.iter().find(|(path, _)| !Path::new(path).exists());
    if let Some((path, package)) = missing {
        skip(&format!("{path} is not installed (apt install {package})"));
        return false;
    }
    let can = Command::new("unshare").args(["--net", "--mount", "true"]).output();
    if !can.is_ok_and(|out| out.status.success()) {
        skip("network namespaces need root");
        return false;
    }
    // What it prints is kept back, for its lines look like those of this run.
    let out = Command::new("unshare")
        .args(["--net", "--mount"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "`{name}` failed in its own world: {said}");
    assert!(said.contains("1 passed"), "`{name}` is no test: {said}");
    false
}

fn skip(why: &str) {
    // Not by `eprintln!`, which a passing test swallows.
    std::io::stderr()
        .write_all(format!("SKIPPED: {why}\n").as_bytes())
        .unwrap();
}

fn prepare() {
    run("mount -t tmpfs tmpfs /run");
    run("ip link set lo up");
}

/// Runs a command of words; its output. Panics if it fails.
pub fn run(words: &str) -> String {
    let out = tried(words);
    assert!(
        out.status.success(),
        "{words}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8(out.stdout).unwrap()
}

/// Runs a command of words, whatever comes of it.
pub fn tried(words: &str) -> Output {
    let mut words = words.split(' ');
    Command::new(words.next().unwrap()).args(words).output().unwrap()
}

/// Waits until it is so.
pub fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A host in another network, with several addresses, and a listener here that it may reach.
pub struct Peer {
    listener: TcpListener,
}

/// Addresses of the peer.
pub const PEERS: [&str; 4] = ["198.51.100.2", "198.51.100.3", "2001:db8::2", "2001:db8::3"];

impl Peer {
    pub fn new() -> Self {
        run("ip netns add peer");
        run("ip link add here type veth peer name there netns peer");
        run("ip addr add 198.51.100.1/24 dev here");
        run("ip addr add 2001:db8::1/64 dev here nodad");
        run("ip link set here up");
        for address in PEERS {
            match address.contains(':') {
                true => run(&format!("ip -n peer addr add {address}/64 dev there nodad")),
                false => run(&format!("ip -n peer addr add {address}/24 dev there")),
            };
        }
        run("ip -n peer link set there up");
        let peer = Self {
            listener: TcpListener::bind("[::]:0").unwrap(),
        };
        for address in PEERS {
            until("the peer reaches us", || peer.connects(address, 1));
        }
        peer
    }

    /// Whether a connection from this address of the peer's comes about within a second.
    pub fn is_let_in(&self, from: &str) -> bool {
        self.connects(from, 5)
    }

    /// Whether no connection from there comes about.
    pub fn is_shut_out(&self, from: &str) -> bool {
        !self.connects(from, 1)
    }

    fn connects(&self, from: &str, secs: u8) -> bool {
        let port = self.listener.local_addr().unwrap().port();
        let to = if from.contains(':') {
            "2001:db8::1"
        } else {
            "198.51.100.1"
        };
        let out = tried(&format!("ip netns exec peer nc -z -w {secs} -s {from} {to} {port}"));
        out.status.success()
    }
}

pub fn settings(kind: Kind) -> Settings {
    Settings::new(kind, Programs::system(Duration::from_secs(30)))
}

pub fn build(settings: &Settings, observes: bool) -> Arc<dyn SetSink> {
    let common = SetCommon {
        observes,
        ..SetCommon::new("firewall", "lure", Resolver::default())
    };
    settings.build(&common).unwrap()
}

pub fn target(text: &str) -> Target {
    text.parse().unwrap()
}

pub fn targets(texts: &[&str]) -> Vec<Target> {
    let mut all: Vec<_> = texts.iter().map(|text| target(text)).collect();
    all.sort_unstable();
    all
}

/// A member that ends in so many seconds.
pub fn member(text: &str, secs: i64) -> Member {
    let now = Timestamp::now();
    Member {
        target: target(text),
        inside: false,
        since: now,
        until: Timestamp::from_micros(now.micros() + secs * 1_000_000),
        decision: Uuid::from_u128(7),
        gravity: 50,
        reason: "credentials".into(),
        grounds: Grounds::Handshake,
        handle: None,
    }
}

pub fn wanted(members: &[Member]) -> Wanted {
    members.iter().map(|member| (member.target, member.clone())).collect()
}

/// Reads, compares and mends, as the reconciler does; how many changes it took.
pub async fn reconcile(sink: &Arc<dyn SetSink>, wanted: &Wanted) -> usize {
    let stands = sink.stands().await.unwrap();
    let changes = compare(wanted, &stands, Timestamp::now(), sink.limits());
    for part in changes.chunks(sink.limits().changes) {
        let applied = sink.apply(part).await;
        assert_eq!(applied, Applied::all(part.len()), "{part:?}");
    }
    changes.len()
}

/// Who stands, sorted.
pub async fn standing(sink: &Arc<dyn SetSink>) -> Vec<Target> {
    let mut all: Vec<_> = sink.stands().await.unwrap().iter().map(|s| s.target).collect();
    all.sort_unstable();
    all
}

/// Seconds until an entry ends by itself; `None`: it does not.
pub async fn left(sink: &Arc<dyn SetSink>, text: &str) -> Option<i64> {
    let stands = sink.stands().await.unwrap();
    let entry = stands.into_iter().find(|s| s.target == target(text)).unwrap();
    let now = Timestamp::now().micros();
    entry.until.map(|until| (until.micros() - now) / 1_000_000)
}

pub fn take(text: &str) -> Change {
    Change::Take(Standing {
        target: target(text),
        until: None,
        decision: None,
        handle: None,
    })
}

/// One change, and what became of it.
pub async fn applied(sink: &Arc<dyn SetSink>, change: Change) -> Put {
    sink.apply(&[change]).await.outcomes.remove(0)
}
