//! Three hosts on one wire: the one with the decoys, one that touches them, and a bystander. Each in a network namespace.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The host with the decoys.
pub const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1));
/// Who touches them.
pub const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7));
/// Who does not.
pub const BYSTANDER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 8));

/// Where the host sends what is for those who are not on the wire.
const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));

/// How long a packet that is dropped is waited for; nothing fails because it takes longer.
const SILENCE: Duration = Duration::from_millis(300);

/// The namespaces; gone when this is.
pub struct Net(String);

impl Net {
    /// Makes them; `None`, said loudly, where that is not possible.
    pub fn make() -> Option<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let has = |program: &str| Command::new(program).arg("-V").output().is_ok();
        if !rustix::process::geteuid().is_root() || !has("ip") || !has("nft") {
            println!("SKIPPED: acts against sources need root, `ip` and `nft`");
            return None;
        }
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let net = Self(format!("tr{}n{number}", std::process::id()));
        let (host, others) = (net.space("h"), net.space("o"));
        for space in [&host, &others] {
            ip(&["netns", "add", space]);
            ip(&["-n", space, "link", "set", "lo", "up"]);
        }
        ip(&[
            "-n", &host, "link", "add", "w", "type", "veth", "peer", "name", "w", "netns", &others,
        ]);
        ip(&["-n", &host, "addr", "add", "203.0.113.1/24", "dev", "w"]);
        for address in [SOURCE, BYSTANDER, GATEWAY] {
            ip(&["-n", &others, "addr", "add", &format!("{address}/24"), "dev", "w"]);
        }
        // Any address of this network is one of theirs, for datagrams that pretend to come from there.
        ip(&["-n", &others, "route", "add", "local", "198.18.0.0/15", "dev", "lo"]);
        for space in [&host, &others] {
            ip(&["-n", space, "link", "set", "w", "up"]);
        }
        ip(&["-n", &host, "route", "add", "198.18.0.0/15", "via", "203.0.113.9"]);
        Some(net)
    }

    fn space(&self, of: &str) -> String {
        format!("{}{of}", self.0)
    }

    /// A command that runs at the host with the decoys.
    pub fn at_host(&self, command: &Command) -> Command {
        let mut inside = Command::new("ip");
        inside
            .args(["netns", "exec", &self.space("h")])
            .arg(command.get_program())
            .args(command.get_args());
        if let Some(folder) = command.get_current_dir() {
            inside.current_dir(folder);
        }
        inside.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        inside
    }

    /// What `nft` says at the host.
    pub fn nft(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("nft");
        command.args(arguments);
        let output = self.at_host(&command).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// Does something in the namespace of the host.
    pub fn host<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        within(&self.space("h"), act)
    }

    /// Does something in the namespace of the others.
    pub fn others<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        within(&self.space("o"), act)
    }

    /// A real service of the host, which gives back what it is sent.
    pub fn echo(&self) -> u16 {
        let listener = self.host(|| TcpListener::bind((HOST, 0)).unwrap());
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming().take(10_000).flatten() {
                std::thread::spawn(move || give_back(stream));
            }
        });
        port
    }

    /// A connection of one of the others; `None` if no answer comes.
    pub fn connect(&self, from: IpAddr, port: u16) -> Option<TcpStream> {
        self.others(|| {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            socket.bind(&SocketAddr::new(from, 0).into()).unwrap();
            let to = SocketAddr::new(HOST, port);
            socket.connect_timeout(&to.into(), SILENCE).ok()?;
            Some(socket.into())
        })
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for of in ["h", "o"] {
            let _ = Command::new("ip").args(["netns", "del", &self.space(of)]).status();
        }
    }
}

/// Whether a connection still carries something there and back.
pub fn carries(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(SILENCE)).unwrap();
    let mut back = [0];
    stream.write_all(b"x").is_ok() && stream.read(&mut back).is_ok_and(|count| count == 1)
}

fn give_back(mut stream: TcpStream) {
    let mut taken = [0; 64];
    while let Ok(count @ 1..) = stream.read(&mut taken) {
        if stream.write_all(&taken[..count]).is_err() {
            return;
        }
    }
}

fn within<T: Send>(space: &str, act: impl FnOnce() -> T + Send) -> T {
    let space = std::fs::File::open(format!("/run/netns/{space}")).unwrap();
    std::thread::scope(|scope| {
        let inside = scope.spawn(move || {
            move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            act()
        });
        inside.join().unwrap()
    })
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "ip {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
