//! A small internet of network namespaces: the host that is guarded, in the middle; `source`, `bystander` and `server` each
//! on a wire of its own to it. What goes to `server` is forwarded.
#![allow(clippy::print_stdout, reason = "what is skipped is said")]
#![allow(clippy::unwrap_used, reason = "a test's own tools fail the test")]
#![allow(dead_code, reason = "each test binary uses a part")]

pub mod forged;

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use trapline_nftables::{Nftables, Settings};
use trapline_schemas::Timestamp;
use trapline_sink::dial::Resolver;
use trapline_sink::set::{Change, Grounds, Member, SetCommon, Spared, Target};
use uuid::Uuid;

/// How long a packet that is dropped is waited for. Nothing fails because it takes longer.
pub const SILENCE: Duration = Duration::from_millis(400);

/// The namespaces; gone when this is.
pub struct Net {
    name: String,
}

const WIRES: [(&str, u8); 3] = [("source", 1), ("bystander", 2), ("server", 3)];

impl Net {
    /// Makes the namespaces and enters the middle one, with the calling thread. `None`, said loudly, where that is not
    /// possible.
    pub fn enter() -> Option<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        if !rustix::process::geteuid().is_root() {
            println!("SKIPPED: only root makes network namespaces; the packet filter was not tried");
            return None;
        }
        for program in ["ip", "nft"] {
            if Command::new(program).arg("-V").output().is_err() {
                println!("SKIPPED: `{program}` is not installed; the packet filter was not tried");
                return None;
            }
        }
        let name = format!("tl{}n{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let net = Self { name };
        net.build();
        net.move_to("host");
        Some(net)
    }

    fn space(&self, of: &str) -> String {
        format!("{}{of}", self.name)
    }

    fn build(&self) {
        let host = self.space("host");
        run("ip", &["netns", "add", &host]);
        run("ip", &["-n", &host, "link", "set", "lo", "up"]);
        for (name, number) in WIRES {
            self.wire(name, number);
        }
        for key in ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"] {
            run("ip", &["netns", "exec", &host, "sysctl", "-qw", key]);
        }
    }

    fn wire(&self, name: &str, number: u8) {
        let (host, space) = (self.space("host"), self.space(name));
        run("ip", &["netns", "add", &space]);
        run("ip", &["-n", &space, "link", "set", "lo", "up"]);
        run(
            "ip",
            &[
                "-n", &host, "link", "add", name, "type", "veth", "peer", "name", "wire", "netns", &space,
            ],
        );
        for (of, link, end) in [(&host, name, 1), (&space, "wire", 2)] {
            run(
                "ip",
                &["-n", of, "addr", "add", &format!("10.{number}.0.{end}/24"), "dev", link],
            );
            run(
                "ip",
                &[
                    "-n",
                    of,
                    "addr",
                    "add",
                    &format!("fd00:{number}::{end}/64"),
                    "dev",
                    link,
                    "nodad",
                ],
            );
            run("ip", &["-n", of, "link", "set", link, "up"]);
        }
        run(
            "ip",
            &[
                "-n",
                &space,
                "route",
                "add",
                "default",
                "via",
                &format!("10.{number}.0.1"),
            ],
        );
        run(
            "ip",
            &[
                "-n",
                &space,
                "route",
                "add",
                "default",
                "via",
                &format!("fd00:{number}::1"),
            ],
        );
    }

    /// Gives `source` one more address.
    pub fn lend(&self, address: &str) {
        run(
            "ip",
            &[
                "-n",
                &self.space("source"),
                "addr",
                "add",
                address,
                "dev",
                "wire",
                "nodad",
            ],
        );
    }

    fn move_to(&self, of: &str) {
        let file = File::open(format!("/run/netns/{}", self.space(of))).unwrap();
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
    }

    /// Does something in a namespace.
    pub fn within<T: Send>(&self, of: &str, act: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.move_to(of);
                act()
            });
            thread.join().unwrap()
        })
    }

    /// A listener in a namespace.
    pub fn listen(&self, of: &str, address: &str) -> TcpListener {
        self.within(of, || {
            TcpListener::bind((address.parse::<IpAddr>().unwrap(), 0)).unwrap()
        })
    }

    /// A connection from one of the addresses of a namespace; `None` if nobody answers.
    pub fn connect(&self, of: &str, from: &str, to: SocketAddr) -> Option<TcpStream> {
        self.within(of, || {
            let kind = if to.is_ipv4() {
                socket2::Domain::IPV4
            } else {
                socket2::Domain::IPV6
            };
            let socket = socket2::Socket::new(kind, socket2::Type::STREAM, None).unwrap();
            socket.bind(&SocketAddr::new(from.parse().unwrap(), 0).into()).unwrap();
            let result = socket.connect_timeout(&to.into(), SILENCE);
            if let Err(error) = &result {
                assert!(matches!(error.kind(), std::io::ErrorKind::TimedOut), "{error}");
            }
            result.ok().map(|()| socket.into())
        })
    }

    /// A connection that is answered, with both ends.
    pub fn flow(&self, of: &str, from: &str, listener: &TcpListener) -> (TcpStream, TcpStream) {
        let client = self
            .connect(of, from, listener.local_addr().unwrap())
            .expect("nothing is shut out yet");
        let (server, _) = listener.accept().unwrap();
        assert!(flows(&client, &server));
        (client, server)
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for name in ["host", "source", "bystander", "server"] {
            let _ = Command::new("ip").args(["netns", "del", &self.space(name)]).output();
        }
    }
}

/// Whether what a client writes reaches its server.
pub fn flows(mut client: &TcpStream, mut server: &TcpStream) -> bool {
    server.set_read_timeout(Some(SILENCE)).unwrap();
    client.write_all(b"?").unwrap();
    server.read_exact(&mut [0]).is_ok()
}

/// Runs a program that must succeed; gives what it writes.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs `nft` in the namespace of the calling thread.
pub fn nft(words: &str) -> String {
    run("nft", &[words])
}

/// The whole table, without what changes by itself but the ends of elements.
pub fn listed() -> String {
    run("nft", &["-s", "list", "table", "inet", "trapline"])
}

/// Whether `nft` does it.
pub fn nft_may(words: &str) -> bool {
    Command::new("nft").arg(words).output().unwrap().status.success()
}

pub fn common() -> SetCommon {
    SetCommon::new("firewall", "lure", Resolver::default())
}

/// A table that anybody may change, as on kernels before 6.9.
pub fn plain() -> Settings {
    Settings {
        owned: false,
        ..Settings::default()
    }
}

pub fn open(settings: &Settings) -> Arc<Nftables> {
    Nftables::open(settings, &common()).unwrap()
}

pub fn spared(nets: &[&str]) -> Arc<Spared> {
    let allowed = |net: &&str| (net.parse().unwrap(), trapline_sink::set::Why::Allowed);
    Arc::new(Spared::new(nets.iter().map(allowed)))
}

pub fn member(target: &str, minutes: i64) -> Member {
    member_of(target.parse().unwrap(), minutes)
}

pub fn member_of(target: Target, minutes: i64) -> Member {
    let now = Timestamp::now();
    Member {
        target,
        inside: false,
        since: now,
        until: Timestamp::from_micros(now.micros() + minutes * 60_000_000),
        decision: Uuid::from_u128(1),
        gravity: 50,
        reason: "credentials".into(),
        grounds: Grounds::Handshake,
        handle: None,
    }
}

pub fn put(target: &str, minutes: i64) -> Change {
    Change::Put(member(target, minutes))
}

pub fn take(target: &str) -> Change {
    Change::Take(trapline_sink::set::Standing {
        target: target.parse().unwrap(),
        until: None,
        decision: None,
        handle: None,
    })
}

/// What stands, as text and the minutes left, to the nearest, sorted.
pub fn shown(stands: &[trapline_sink::set::Standing]) -> Vec<(String, i64)> {
    let now = Timestamp::now();
    let left = |until: Timestamp| (until.micros() - now.micros() + 30_000_000).div_euclid(60_000_000);
    let mut shown: Vec<_> = stands
        .iter()
        .map(|entry| (entry.target.to_string(), left(entry.until.unwrap())))
        .collect();
    shown.sort();
    shown
}

/// The same of what is wanted.
pub fn all(wanted: &[(&str, i64)]) -> Vec<(String, i64)> {
    let mut all: Vec<_> = wanted
        .iter()
        .map(|(target, minutes)| ((*target).to_owned(), *minutes))
        .collect();
    all.sort();
    all
}

/// What is wanted, as the engine has it.
pub fn wanted(members: &[(&str, i64)]) -> trapline_sink::set::Wanted {
    let of = |(target, minutes): &(&str, i64)| member(target, *minutes);
    members.iter().map(of).map(|member| (member.target, member)).collect()
}

/// Compares and applies, as the engine does; gives how many changes it took.
pub async fn settle(sink: &Nftables, wanted: &trapline_sink::set::Wanted) -> usize {
    use trapline_sink::set::SetSink;
    let stands = sink.stands().await.unwrap();
    let changes = trapline_sink::set::compare(wanted, &stands, Timestamp::now(), sink.limits());
    for part in changes.chunks(sink.limits().changes) {
        let applied = sink.apply(part).await;
        assert_eq!(applied.fault, None);
    }
    changes.len()
}
