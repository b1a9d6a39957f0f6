//! The suite of set sinks, against BIND.

#![expect(clippy::unwrap_used, reason = "tests fail so")]

mod lab;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use lab::{DIG, NAMED, NAMED_RUN, NSUPDATE, SECRET, Server, bind, nsupdate, sink_observing, within, zone};
use trapline_sink::conformance::sets::{Added, BAD, Case, Held, ROOM, SetRig, SetSuite, Trouble, run};
use trapline_sink::set::{SetSink, Target};

/// What stands for a network in the zone, as a person writes it.
fn owner(target: Target) -> String {
    let net = target.net();
    let prefix = net.prefix_len();
    match target.address() {
        std::net::IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{prefix}.{d}.{c}.{b}.{a}.rpz-ip.rpz.test.")
        }
        std::net::IpAddr::V6(_) => panic!("no case writes IPv6 by hand"),
    }
}

/// The network that an owner name stands for.
fn target(line: &str) -> Option<Target> {
    let encoded = line.split_whitespace().next()?.strip_suffix(".rpz-ip.rpz.test.")?;
    let (prefix, address) = encoded.split_once('.')?;
    let parts: Vec<&str> = address.rsplit('.').collect();
    let is_v4 = parts.len() == 4 && !parts.contains(&"zz");
    let text = match is_v4 {
        true => parts.join("."),
        // A run of zeros at the end or the beginning has two colons of its own.
        false => parts
            .join(":")
            .replace(":zz:", "::")
            .replace(":zz", "::")
            .replace("zz:", "::"),
    };
    format!("{text}/{prefix}").parse().ok()
}

struct Rig {
    bind: Server,
    port: u16,
    loses: Arc<AtomicBool>,
    more: String,
}

impl Rig {
    fn start(case: Case) -> Self {
        let bind = bind(NAMED_RUN, "");
        let loses = Arc::new(AtomicBool::new(false));
        if case == Case::OneBad {
            nsupdate(&format!(
                "add {} 30 CNAME rpz-passthru.",
                owner(Target::host(BAD.into()))
            ));
        }
        let members = if case == Case::Room { ROOM } else { 100_000 };
        let timeout = if case == Case::Many { "20s" } else { "2s" };
        let more = format!("members = {members}\ntimeout = \"{timeout}\"");
        Self {
            port: pass_on(Arc::clone(&loses)),
            bind,
            loses,
            more,
        }
    }

    fn restart(&mut self) {
        self.bind.restart(NAMED_RUN);
        let bind = &self.bind;
        lab::until("the zones are loaded", || bind.log().contains("all zones loaded"));
    }

    /// The server knows another secret, or ours again.
    fn rekey(&mut self, from: &str, to: &str) {
        let path = self.bind.path("named.conf");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace(from, to)).unwrap();
        self.restart();
    }

    fn signal(&self, signal: &str) {
        lab::run("kill", &[signal, &self.bind.id().to_string()]);
    }

    /// The names that have a mark of ours.
    fn marked() -> Vec<String> {
        let below = |line: &String| {
            line.split_whitespace()
                .next()?
                .strip_suffix(".fra-1._trapline.rpz.test.")
                .map(str::to_owned)
        };
        zone().iter().filter_map(below).collect()
    }

    fn is_ours(line: &str) -> bool {
        let marked = Self::marked();
        let owner = line.split_whitespace().next().unwrap_or_default();
        owner.ends_with("._trapline.rpz.test.") || marked.iter().any(|name| owner == format!("{name}.rpz.test."))
    }
}

const OTHER: &str = "YW5vdGhlci1zZWNyZXQtb2YtMzItYnl0ZXMtLS0tLS0=";

#[async_trait]
impl SetRig for Rig {
    async fn open(&mut self, observes: bool) -> Arc<dyn SetSink> {
        sink_observing(
            &format!("server = \"127.0.0.1:{}\"\n{}", self.port, self.more),
            observes,
        )
    }

    async fn held(&mut self) -> Vec<Held> {
        let marked: std::collections::HashSet<String> = Self::marked().into_iter().collect();
        let is_ours = |line: &&String| {
            let owner = line.split_whitespace().next().unwrap_or_default();
            marked.contains(owner.trim_end_matches(".rpz.test."))
        };
        let held = |line: &String| Held {
            target: target(line).unwrap(),
            until: None,
        };
        zone().iter().filter(is_ours).map(held).collect()
    }

    async fn foreign(&mut self) -> Vec<u8> {
        zone()
            .into_iter()
            .filter(|line| !Self::is_ours(line))
            .collect::<Vec<_>>()
            .join("\n")
            .into_bytes()
    }

    async fn dump(&mut self) -> Vec<u8> {
        zone().join("\n").into_bytes()
    }

    async fn plant(&mut self) {
        nsupdate(
            "add 32.200.113.0.203.rpz-ip.rpz.test 30 CNAME rpz-passthru.
             add evil.example.rpz.test 30 CNAME .
             add 32.9.9.9.10.rpz-client-ip.fra-2._trapline.rpz.test 30 TXT theirs",
        );
    }

    async fn wipe(&mut self) {
        let names = Self::marked();
        let lines: Vec<_> = names
            .iter()
            .map(|name| format!("del {name}.rpz.test.\ndel {name}.fra-1._trapline.rpz.test."))
            .collect();
        nsupdate(&lines.join("\n"));
    }

    async fn delete(&mut self, target: Target) {
        nsupdate(&format!("del {}", owner(target)));
    }

    async fn add(&mut self, target: Target) {
        nsupdate(&format!("add {} 30 CNAME .", owner(target)));
    }

    async fn begin(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::Down => self.bind.stop(),
            Trouble::HalfOpen => self.signal("-STOP"),
            Trouble::LosesAnswers => self.loses.store(true, Ordering::SeqCst),
            Trouble::Unauthorized => self.rekey(SECRET, OTHER),
        }
    }

    async fn heal(&mut self) {
        if std::fs::read_to_string(self.bind.path("named.conf"))
            .unwrap()
            .contains(OTHER)
        {
            self.rekey(OTHER, SECRET);
        }
        self.loses.store(false, Ordering::SeqCst);
        match self.bind.is_up() {
            true => self.signal("-CONT"),
            false => self.restart(),
        }
    }
}

/// Passes connections on to BIND, as long as it is there; while `loses`, answers to updates are lost.
fn pass_on(loses: Arc<AtomicBool>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let loses = Arc::clone(&loses);
            std::thread::spawn(move || pass(&client.unwrap(), &loses));
        }
    });
    port
}

fn pass(mut client: &TcpStream, loses: &AtomicBool) -> Option<()> {
    let mut server = TcpStream::connect("10.0.0.53:53").ok()?;
    while let Some(request) = message(&mut client) {
        server.write_all(&request).ok()?;
        let is_update = request.get(4).is_some_and(|flags| flags & 0x78 == 0x28);
        if is_update && loses.load(Ordering::SeqCst) {
            message(&mut server)?;
            return client.shutdown(Shutdown::Both).ok();
        }
        if is_update {
            client.write_all(&message(&mut server)?).ok()?;
            continue;
        }
        // A transfer has as many messages as it has; it is the last that is asked, but for updates behind it.
        let (mut from, mut to) = (server.try_clone().ok()?, client.try_clone().ok()?);
        std::thread::spawn(move || std::io::copy(&mut from, &mut to));
        return std::io::copy(&mut client, &mut server).ok().map(|_| ());
    }
    Some(())
}

/// A message with its length before it.
fn message(stream: &mut impl std::io::Read) -> Option<Vec<u8>> {
    let mut framed = vec![0; 2];
    stream.read_exact(&mut framed).ok()?;
    let length = u16::from_be_bytes([framed[0], framed[1]]);
    stream.take(length.into()).read_to_end(&mut framed).ok()?;
    Some(framed)
}

struct Bind;

#[async_trait]
impl SetSuite for Bind {
    fn name(&self) -> &'static str {
        "rpz"
    }

    fn declared(&self) -> &[(Case, &'static str)] {
        &[
            (Case::EndsItself, "a record has no end: a TTL is for caches alone"),
            (Case::Nowhere, "a zone takes a policy for every address"),
            (Case::FastLane, "an update is a round trip"),
            (Case::Told, "a name server tells nobody but its secondaries"),
        ]
    }

    fn added(&self) -> Added {
        Added::Foreign
    }

    async fn start(&self, case: Case) -> Option<Box<dyn SetRig>> {
        let is_declared = self.declared().iter().any(|(declared, _)| *declared == case);
        (!is_declared).then(|| Box::new(Rig::start(case)) as Box<dyn SetRig>)
    }
}

#[test]
fn every_case_of_set_sinks_holds() {
    within("every_case_of_set_sinks_holds", &[NAMED, DIG, NSUPDATE], async || {
        run(&Bind).await.unwrap();
    });
}
