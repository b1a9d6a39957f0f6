//! A network of its own for each test, with real name servers in it.
//!
//! A test runs itself again in a new network namespace, where it may have any address and port 53: nothing outside is
//! reached or disturbed. What is missing is said on standard error, and the test passes.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::io::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use trapline_schemas::Timestamp;
use trapline_sink::config::Table;
use trapline_sink::dial::Resolver;
use trapline_sink::set::{Grounds, Member, Put, SetCommon, SetSink, Wanted, compare};
use trapline_sink_rpz::SINK;
use uuid::Uuid;

/// Longest wait for anything.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// The secret of key `trapline`.
pub const SECRET: &str = "c2VjcmV0LW9mLXRoaXJ0eS10d28tYnl0ZXMtLS0tLS0=";
/// What tells a test that it is in its own network.
const INSIDE: &str = "TRAPLINE_RPZ_LAB";
/// The hosts of the network: the server's, its downstream's and clients'.
const ADDRESSES: [&str; 6] = [
    "10.0.0.53",
    "10.0.0.54",
    "10.0.0.7",
    "10.0.0.8",
    "2001:db8:1::53",
    "2001:db8:1::7",
];

/// Runs the test `name` in a network of its own, if `programs` are there.
pub fn within(name: &str, programs: &[&str], work: impl AsyncFnOnce()) {
    within_time(name, programs, None, work);
}

/// The same with a clock of its own, which no server has: so much before or behind, as libfaketime writes it.
pub fn within_time(name: &str, programs: &[&str], offset: Option<&str>, work: impl AsyncFnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        set_up();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build();
        return runtime.unwrap().block_on(work());
    }
    let is_missing = |program: &&&str| !Path::new(program).exists();
    if let Some(missing) = programs.iter().find(is_missing) {
        return skip(&format!(
            "{missing} is not installed (apt install bind9 bind9-dnsutils knot unbound libfaketime)"
        ));
    }
    let unshare = || Command::new("unshare");
    let user = if is_root() { "-n" } else { "-rn" };
    let able = unshare().args([user, "ip", "link", "set", "lo", "up"]).output();
    if !able.is_ok_and(|output| output.status.success()) {
        return skip("this host lets nobody make a network namespace (root, iproute2)");
    }
    let this = std::env::current_exe().unwrap();
    let mut again = unshare();
    again
        .arg(user)
        .arg(this)
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1");
    if let Some(offset) = offset {
        again.env("FAKETIME", offset).env("LD_PRELOAD", FAKETIME);
    }
    let status = again.status();
    assert!(status.unwrap().success(), "{name} failed in its network");
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout.trim_ascii() == b"0"
}

fn skip(why: &str) {
    // Not by `eprintln!`, which a passing test swallows.
    std::io::stderr()
        .write_all(format!("SKIPPED: {why}\n").as_bytes())
        .unwrap();
}

fn set_up() {
    run("ip", &["link", "set", "lo", "up"]);
    for address in ADDRESSES {
        let prefix = if address.contains(':') { 128 } else { 32 };
        run(
            "ip",
            &["addr", "add", &format!("{address}/{prefix}"), "dev", "lo", "nodad"],
        );
    }
}

/// Runs a program; what it wrote.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// Waits until something holds.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A server that ends with the test.
pub struct Server {
    pub folder: tempfile::TempDir,
    child: Child,
    command: PathBuf,
    address: &'static str,
}

impl Server {
    /// Starts a program that listens on port 53 of `address`; `file` is written first, its `DIR` replaced.
    pub fn start(address: &'static str, program: &str, file: &str, text: &str, others: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().to_str().unwrap().to_owned();
        for (name, text) in others.iter().chain([&(file, text)]) {
            std::fs::write(folder.path().join(name), text.replace("DIR", &place)).unwrap();
        }
        let command = folder.path().join(file);
        let child = spawn(program, folder.path(), &command);
        let server = Self {
            folder,
            child,
            command,
            address,
        };
        server.wait();
        server
    }

    fn wait(&self) {
        until("the server listens", || {
            TcpStream::connect((self.address, 53)).is_ok() && !self.log().is_empty()
        });
    }

    /// What it wrote on its standard error.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it runs, or is held.
    pub fn is_up(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub fn restart(&mut self, program: &str) {
        self.stop();
        self.child = spawn(program, self.folder.path(), &self.command);
        self.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            let _ = std::io::stderr().write_all(self.log().as_bytes());
        }
    }
}

fn spawn(program: &str, folder: &Path, config: &Path) -> Child {
    let log = std::fs::File::create(folder.join("log")).unwrap();
    let mut words = program.split(' ');
    let mut command = Command::new(words.next().unwrap());
    command.env_remove("LD_PRELOAD");
    let log_too = log.try_clone().unwrap();
    command
        .args(words)
        .arg(config)
        .stdin(Stdio::null())
        .stdout(log_too)
        .stderr(log)
        .spawn()
        .unwrap()
}

/// What lets a program live in another time.
pub const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
pub const NAMED: &str = "/usr/sbin/named";
pub const KNOTD: &str = "/usr/sbin/knotd";
pub const UNBOUND: &str = "/usr/sbin/unbound";
pub const DIG: &str = "/usr/bin/dig";
pub const NSUPDATE: &str = "/usr/bin/nsupdate";
/// How BIND is started.
pub const NAMED_RUN: &str = "/usr/sbin/named -g -n 1 -c";

/// A zone that resolves, and whose answers are policed.
pub const TEST_ZONE: &str = "$TTL 5
@ SOA localhost. root.localhost. 1 3600 600 86400 5
@ NS localhost.
www A 203.0.113.77
other A 198.51.100.1
six AAAA 2001:db8:5:1::9
tie AAAA 2001:db8:0:0:1:0:0:5
full AAAA 2001:db8:1:2:3:4:5:6
one AAAA 2001:6:5:0:3:2:1:5
zeros AAAA 2001:db8:77:0:1::5
net AAAA 2001:db8:9:9::1
net4 A 192.0.2.99
q A 192.0.2.80
";

/// An empty policy zone.
pub const EMPTY_ZONE: &str = "$TTL 30
@ SOA localhost. root.localhost. 1 3600 600 86400 5
@ NS localhost.
";

/// BIND's configuration, with the usual options for policies or these in their place.
pub fn bind_config(extra: &str) -> String {
    format!(
        "key trapline {{ algorithm hmac-sha256; secret \"{SECRET}\"; }};
         key reader {{ algorithm hmac-sha256; secret \"{SECRET}\"; }};
         key other-512 {{ algorithm hmac-sha512; secret \"{SECRET}\"; }};
         options {{ directory \"DIR\"; pid-file \"DIR/pid\"; session-keyfile none; listen-on {{ 10.0.0.53; }};
           listen-on-v6 {{ 2001:db8:1::53; }}; recursion yes; dnssec-validation no; allow-query {{ any; }};
           allow-recursion {{ any; }}; {} }};
         controls {{}};
         zone \"test\" {{ type primary; file \"DIR/test.db\"; }};
         zone \"rpz.test\" {{ type primary; file \"DIR/rpz.db\";
           update-policy {{ grant trapline zonesub ANY; grant other-512 zonesub ANY; }};
           allow-transfer {{ key trapline; key reader; key other-512; 10.0.0.0/8; }}; also-notify {{ 10.0.0.54; }}; notify explicit; }};
         zone \"fixed.test\" {{ type primary; file \"DIR/fixed.db\"; allow-transfer {{ key trapline; }}; }};\n",
        if extra.is_empty() { POLICED } else { extra }
    )
}

/// The usual options.
const POLICED: &str =
    "response-policy { zone \"rpz.test\"; } qname-wait-recurse no break-dnssec yes min-update-interval 1;";

/// BIND with a policy zone.
pub fn bind(program: &str, extra: &str) -> Server {
    let files = [("test.db", TEST_ZONE), ("rpz.db", EMPTY_ZONE), ("fixed.db", EMPTY_ZONE)];
    let server = Server::start("10.0.0.53", program, "named.conf", &bind_config(extra), &files);
    until("the zones are loaded", || server.log().contains("all zones loaded"));
    server
}

/// What `dig` says to a question: the status, and the addresses or names.
pub fn dig(server: &str, client: &str, name: &str, rtype: &str, more: &[&str]) -> String {
    let at = format!("@{server}");
    let mut arguments = vec![&*at, "-b", client, name, rtype, "+tries=1", "+time=2", "+nocookie"];
    arguments.extend(more);
    let output = Command::new(DIG).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let status = text
        .split("status: ")
        .nth(1)
        .and_then(|rest| rest.split(',').next())
        .unwrap_or("SILENCE");
    let records = text.split(";; ANSWER SECTION:\n").nth(1).unwrap_or_default().lines();
    let records = records
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().last());
    let flags = text
        .split(";; flags: ")
        .nth(1)
        .and_then(|rest| rest.split(';').next())
        .unwrap_or_default();
    let cut = if flags.contains("tc") { " tc" } else { "" };
    let records: Vec<_> = records.collect();
    format!("{status}{cut} {}", records.join(" ")).trim().to_owned()
}

/// Waits until `dig` says this.
pub fn digs(client: &str, name: &str, rtype: &str, expected: &str) {
    let mut last = String::new();
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        last = dig("10.0.0.53", client, name, rtype, &["+ignore"]);
        if last == expected {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{name} {rtype} from {client}: {last}, not {expected}");
}

/// All records of the policy zone but the SOA, sorted.
pub fn zone() -> Vec<String> {
    let key = format!("hmac-sha256:trapline:{SECRET}");
    let text = run(
        DIG,
        &[
            "@10.0.0.53",
            "-y",
            &key,
            "rpz.test",
            "AXFR",
            "+onesoa",
            "+nocomments",
            "+nocmd",
            "+nostats",
        ],
    );
    let mut lines: Vec<_> = text
        .lines()
        .filter(|line| !line.contains("\tSOA\t") && !line.contains("TSIG"))
        .map(str::to_owned)
        .collect();
    lines.retain(|line| !line.is_empty());
    lines.sort();
    lines
}

/// Changes the zone as a person does.
pub fn nsupdate(lines: &str) {
    let key = format!("hmac-sha256:trapline:{SECRET}");
    let mut child = Command::new(NSUPDATE)
        .args(["-y", &key])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let text = format!("server 10.0.0.53\nzone rpz.test\n{lines}\nsend\n");
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{lines}");
}

/// A configuration with these lines beside the usual ones.
pub fn config(more: &str) -> String {
    let usual = [
        ("server", "\"10.0.0.53\"".to_owned()),
        ("zone", "\"rpz.test\"".to_owned()),
        ("tsig", format!("{{ name = \"trapline\", secret = \"{SECRET}\" }}")),
    ];
    let keep = usual
        .iter()
        .filter(|(key, _)| !more.lines().any(|line| line.starts_with(&format!("{key} "))));
    keep.map(|(key, value)| format!("{key} = {value}\n"))
        .collect::<String>()
        + more
}

/// The sink of this observer and configuration.
pub fn sink_of(observer: &str, more: &str) -> Arc<dyn SetSink> {
    sink_by(observer, more, false)
}

/// The usual sink, which may change nothing if it observes.
pub fn sink_observing(more: &str, observes: bool) -> Arc<dyn SetSink> {
    sink_by("fra-1", more, observes)
}

fn sink_by(observer: &str, more: &str, observes: bool) -> Arc<dyn SetSink> {
    let (table, problems) = Table::for_test(&config(more), SINK.keys);
    let factory = (SINK.parse)(&table);
    assert!(!problems.has_errors(), "{:#?}", problems.take());
    let common = SetCommon {
        observes,
        ..SetCommon::new("sinkhole", observer, Resolver::default())
    };
    factory.build(&common).unwrap()
}

/// The usual sink.
pub fn sink(more: &str) -> Arc<dyn SetSink> {
    sink_of("fra-1", more)
}

/// A member; inside are the tens.
pub fn member(target: &str) -> Member {
    Member {
        target: target.parse().unwrap(),
        inside: target.starts_with("10.") || target.starts_with("2001:db8:1::"),
        since: Timestamp::from_micros(0),
        until: Timestamp::from_micros(4_000_000_000_000_000),
        decision: Uuid::from_u128(7),
        gravity: 50,
        reason: "credentials".into(),
        grounds: Grounds::Handshake,
        handle: None,
    }
}

/// What is wanted of these.
pub fn wanted(targets: &[&str]) -> Wanted {
    targets
        .iter()
        .map(|target| member(target))
        .map(|member| (member.target, member))
        .collect()
}

/// What the engine does: how many changes it took. All of them are made.
pub async fn reconcile(sink: &Arc<dyn SetSink>, wanted: &Wanted) -> usize {
    let stands = sink.stands().await.unwrap();
    let changes = compare(wanted, &stands, Timestamp::now(), sink.limits());
    for batch in changes.chunks(sink.limits().changes) {
        let applied = sink.apply(batch).await;
        assert!(
            applied.outcomes.iter().all(|outcome| *outcome == Put::DONE),
            "{applied:?}"
        );
    }
    sink.settled().await.unwrap();
    changes.len()
}
