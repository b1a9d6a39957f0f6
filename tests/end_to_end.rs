//! The main job: real clients touch real decoys, and every receiver holds every event.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops where something is wrong, and says what it skips"
)]

#[path = "../sinks/splunk_hec/tests/fake/mod.rs"]
mod fake;
mod harness;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Command;

use fake::{Collector, Settings, TOKEN};
use harness::clients::{self, has};
use harness::promises::{action, check_sessions, ids, sessions};
use harness::rsyslog::Rsyslog;
use harness::{Trap, eventually, lines, touch};
use serde_json::Value;
use tempfile::TempDir;
use trapline_sink::conformance::web::Fault;

const DECOYS: &str = r#"
[journal]
path = "state/journal.db"
[decoys.ssh]
service = "ssh"
listen = ["127.0.0.1:0"]
[decoys.telnet]
service = "telnet"
listen = ["127.0.0.1:0"]
[decoys.ftp]
service = "ftp"
listen = ["127.0.0.1:0"]
[decoys.http]
service = "http"
listen = ["127.0.0.1:0"]
[limits]
sessions_per_source = 10000
[sinks.archive]
type = "file"
inputs = ["*", "health"]
path = "events.jsonl"
"#;

/// A trap with every sink of the spine, and what they send to.
struct Deployment {
    trap: Trap,
    rsyslog: Option<Rsyslog>,
    collector: Collector,
    _folder: TempDir,
    _runtime: tokio::runtime::Runtime,
}

impl Deployment {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let collector = runtime.block_on(Collector::start(Settings {
            acknowledge: true,
            ..Settings::default()
        }));
        let folder = TempDir::new().unwrap();
        let rsyslog = Rsyslog::is_installed().then(|| Rsyslog::start(&folder.path().join("rsyslog")));
        let mut config = format!(
            "{DECOYS}\n[sinks.siem]\ntype = \"splunk_hec\"\ninputs = [\"*\", \"health\"]\nendpoint = \"{}\"\n\
             token = \"${{TRAPLINE_TEST_TOKEN}}\"\nacknowledge = true\nacknowledge_interval = \"100ms\"\n",
            collector.url()
        );
        if let Some(rsyslog) = &rsyslog {
            config.push_str(&format!(
                "[sinks.rsyslog]\ninputs = [\"*\", \"health\"]\n{}",
                rsyslog.sink()
            ));
        }
        let trap = Trap::start_with(&config, &[("TRAPLINE_TEST_TOKEN", TOKEN)]);
        Self {
            trap,
            rsyslog,
            collector,
            _folder: folder,
            _runtime: runtime,
        }
    }

    fn address(&self, decoy: &str) -> SocketAddr {
        self.trap.address(decoy)
    }

    /// Every event in the journal.
    fn journal(&self) -> Vec<Value> {
        self.trap.events(&["--limit", "1000000", "--format", "ecs"])
    }

    fn file(&self) -> Vec<Value> {
        lines(&std::fs::read(self.trap.path("state/events.jsonl")).unwrap_or_default())
    }

    fn syslog(&self) -> Option<Vec<Value>> {
        let received = self.rsyslog.as_ref()?.lines();
        Some(
            received
                .iter()
                .filter_map(|line| serde_json::from_str(line).ok())
                .collect(),
        )
    }

    fn hec(&self) -> Vec<Value> {
        self.collector
            .stored()
            .into_iter()
            .map(|object| object["event"].clone())
            .collect()
    }

    /// Waits until file, rsyslog and collector hold what the journal holds; gives the journal's events.
    fn agreed(&self) -> Vec<Value> {
        eventually("every sink has every event", || {
            let status = self.trap.status();
            status["sinks"]
                .as_array()
                .unwrap()
                .iter()
                .all(|sink| sink["lag"] == 0)
                .then_some(())
        });
        let mut said = String::new();
        eventually("journal, file, rsyslog and collector agree", || {
            let journal = self.journal();
            let (expected, doubles) = ids(&journal);
            assert_eq!(doubles, 0, "an id stands twice in the journal");
            let mut receivers = vec![("file", self.file()), ("collector", self.hec())];
            receivers.extend(self.syslog().map(|events| ("rsyslog", events)));
            let others = receivers.iter().map(|(name, events)| (name, ids(events).0));
            let others: Vec<_> = others.filter(|(_, held)| *held != expected).collect();
            let told = others.iter().map(|(name, held)| differs(name, held, &expected));
            let told: String = told.collect();
            if told != said {
                println!("{told}");
                said = told;
            }
            others.is_empty().then_some(journal)
        })
    }
}

/// By how much a receiver differs from the journal, and by which event first.
fn differs(name: &str, held: &BTreeSet<String>, expected: &BTreeSet<String>) -> String {
    let (lacks, more) = (expected.difference(held), held.difference(expected));
    format!(
        "{name} lacks {} and has {} more: {:?} ",
        lacks.clone().count(),
        more.clone().count(),
        lacks.chain(more).next()
    )
}

#[test]
fn real_clients_leave_exactly_the_promised_events_at_every_sink() {
    let place = Deployment::start();
    let [ssh, telnet, ftp, http] = ["ssh", "telnet", "ftp", "http"].map(|decoy| place.address(decoy));
    if has("ssh") {
        clients::ssh(ssh, "root");
    }
    if has("curl") {
        clients::curl(&["-u", "admin:hunter2hunter2", &format!("http://{http}/admin")]);
        clients::curl(&[
            "-d",
            "username=bob&password=s3cr3ts3cr3t",
            &format!("http://{http}/login"),
        ]);
        clients::curl(&[
            "-A",
            "${jndi:ldap://x/a}\u{1b}[31m",
            &format!("http://{http}/%0d%0a<script>"),
        ]);
    }
    if has("ftp") {
        clients::ftp(ftp, "anonymous", "me@example.org");
    }
    if has("telnet") {
        clients::telnet(telnet, "admin", "letmein12345");
    }
    if has("hydra") {
        let list = place.trap.path("passwords");
        std::fs::write(&list, "alpha1234\nbravo1234\ncharlie1234\n").unwrap();
        clients::hydra("ftp", ftp, "carol", list.to_str().unwrap());
        clients::hydra("ssh", ssh, "carol", list.to_str().unwrap());
    }
    if has("nmap") {
        clients::nmap(&[ssh, telnet, ftp, http]);
    }
    let events = place.agreed();
    check_sessions(&events);
    check_what_each_client_left(&events);
    check_no_secret(
        &place,
        &[
            "hunter2hunter2",
            "s3cr3ts3cr3t",
            "letmein12345",
            "bravo1234",
            "me@example.org",
        ],
    );
    assert_eq!(place.collector.wrong(), Vec::<String>::new());
    check_with_the_schemas(&place);
}

/// The telling facts of each client are in an event of its decoy.
fn check_what_each_client_left(events: &[Value]) {
    let has_event = |decoy: &str, name: &str, tells: &dyn Fn(&Value) -> bool| {
        let found = events
            .iter()
            .any(|event| event["honeyport"]["decoy"]["id"] == decoy && action(event) == name && tells(event));
        assert!(found, "no `{name}` of `{decoy}` tells it");
    };
    let user = |name: &'static str| move |event: &Value| event["user"]["name"] == name;
    has_event("ssh", "decoy-handshake", &|event| {
        let version = event["honeyport"]["ssh"]["client_version"].as_str().unwrap_or_default();
        let hassh = event["honeyport"]["ssh"]["hassh"].as_str().unwrap_or_default();
        version.contains("OpenSSH") && hassh.len() == 32
    });
    has_event("ssh", "decoy-credential", &user("carol"));
    has_event("http", "decoy-credential", &user("admin"));
    has_event("http", "decoy-credential", &user("bob"));
    has_event("ftp", "decoy-credential", &user("anonymous"));
    has_event("ftp", "decoy-credential", &user("carol"));
    has_event("telnet", "decoy-credential", &user("admin"));
    let attempts = events
        .iter()
        .filter(|event| action(event) == "decoy-credential" && event["user"]["name"] == "carol");
    assert!(
        attempts.count() >= 3,
        "hydra's three passwords are not three credentials"
    );
    assert!(sessions(events).len() > 20, "nmap leaves many sessions");
}

/// With the default policy no secret stands anywhere that leaves the decoy.
fn check_no_secret(place: &Deployment, secrets: &[&str]) {
    let mut seen = format!("{}{}", place.trap.log(), place.trap.printed());
    for name in ["state/events.jsonl", "state/journal.db", "state/journal.db-wal"] {
        seen.push_str(&String::from_utf8_lossy(
            &std::fs::read(place.trap.path(name)).unwrap_or_default(),
        ));
    }
    seen.push_str(&place.hec().iter().map(Value::to_string).collect::<String>());
    for secret in secrets {
        use base64::Engine;
        let packed = base64::engine::general_purpose::STANDARD.encode(secret);
        assert!(!seen.contains(secret), "`{secret}` stands somewhere in clear");
        assert!(
            !seen.contains(packed.trim_end_matches('=')),
            "`{secret}` stands somewhere in base64"
        );
    }
}

/// Every event satisfies the project's own JSON Schemas, and the public ones' validators where they are at hand.
fn check_with_the_schemas(place: &Deployment) {
    for format in ["ecs", "ocsf"] {
        let events = place.trap.events(&["--limit", "1000000", "--format", format]);
        let schema = std::fs::read(format!("schemas/json/{format}.schema.json")).unwrap();
        let validator = jsonschema::validator_for(&serde_json::from_slice(&schema).unwrap()).unwrap();
        for event in &events {
            if let Err(error) = validator.validate(event) {
                panic!("{format}: {error} in {event}");
            }
        }
        run_public_validator(place, format, &events);
    }
}

fn run_public_validator(place: &Deployment, format: &str, events: &[Value]) {
    let shared = std::env::var("TRAPLINE_SHARED").unwrap_or_else(|_| "../shared".to_owned());
    let validator = format!("{shared}/schemas/validate_{format}.py");
    if !std::path::Path::new(&validator).exists() {
        println!("note: {validator} is not at hand, only the project's own schemas were checked");
        return;
    }
    let path = place.trap.path(&format!("all.{format}.jsonl"));
    let text: String = events.iter().map(|event| format!("{event}\n")).collect();
    std::fs::write(&path, text).unwrap();
    let output = Command::new("python3").arg(validator).arg(&path).output().unwrap();
    let words = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{format}: {words}");
}

/// How many sessions of mixed real clients: `TRAPLINE_HITS`, a few hundred by default.
fn hits() -> usize {
    std::env::var("TRAPLINE_HITS")
        .ok()
        .and_then(|hits| hits.parse().ok())
        .unwrap_or(200)
}

#[test]
fn mixed_real_clients_agree_at_every_sink_to_the_last_id() {
    if !(has("curl") && has("nmap") && has("hydra") && has("ssh-keyscan")) {
        return;
    }
    let place = Deployment::start();
    let [ssh, telnet, ftp, http] = ["ssh", "telnet", "ftp", "http"].map(|decoy| place.address(decoy));
    let list = place.trap.path("passwords");
    let passwords: String = (0..(hits() / 40).clamp(6, 200))
        .map(|number| format!("word{number:04}\n"))
        .collect();
    std::fs::write(&list, passwords).unwrap();
    let connects = || {
        place
            .journal()
            .iter()
            .filter(|event| action(event) == "decoy-connect")
            .count()
    };
    let mut round = 0;
    while connects() < hits() {
        round += 1;
        let pages = hits() / 10;
        let url = format!("http://{http}/page{round}-[1-{pages}]");
        std::thread::scope(|scope| {
            scope.spawn(|| clients::curl(&["-H", "Connection: close", "-o", "/dev/null", &url]));
            scope.spawn(|| clients::hydra("ftp", ftp, "carol", list.to_str().unwrap()));
            scope.spawn(|| clients::nmap(&[ssh, telnet, ftp, http]));
            scope.spawn(|| {
                clients::shell(&format!(
                    "for n in $(seq {pages}); do nc -z 127.0.0.1 {}; done",
                    telnet.port()
                ))
            });
            scope.spawn(|| {
                clients::shell(&format!(
                    "for n in 1 2 3; do ssh-keyscan -T 3 -p {} 127.0.0.1; done",
                    ssh.port()
                ))
            });
        });
    }
    let events = place.agreed();
    check_sessions(&events);
    check_with_the_schemas(&place);
    println!("{} sessions, {} events agree", sessions(&events).len(), events.len());
}

#[test]
fn a_sink_added_to_a_full_journal_gets_it_from_the_oldest_entry() {
    let trap = Trap::start(DECOYS);
    let ftp = trap.address("ftp");
    for _ in 0..50 {
        touch(ftp);
    }
    let late =
        "[sinks.late]\ntype = \"file\"\ninputs = [\"*\", \"health\"]\npath = \"late.jsonl\"\nstart = \"oldest\"\n";
    trap.configure(&format!("{DECOYS}{late}"));
    trap.signal("HUP");
    let journal = || ids(&trap.events(&["--limit", "0", "--format", "ecs"])).0;
    eventually("the late sink holds the whole journal, each event once", || {
        let (late, doubles) = ids(&lines(
            &std::fs::read(trap.path("state/late.jsonl")).unwrap_or_default(),
        ));
        assert_eq!(doubles, 0);
        (late.len() > 50 && late == journal()).then_some(())
    });
}

#[test]
fn a_sink_that_accepts_and_never_answers_delays_nobody() {
    let place = Deployment::start();
    place.collector.order_lasting(Fault::Silence);
    let ftp = place.address("ftp");
    for _ in 0..200 {
        touch(ftp);
    }
    // At least, as a sink may get an event twice and the port a guest from a test beside this one; `agreed` compares ids.
    let connects = |events: &[Value]| events.iter().filter(|event| action(event) == "decoy-connect").count();
    let has_all = |events: &[Value]| (connects(events) >= 200).then_some(());
    eventually("the others have all", || has_all(&place.file()));
    if place.rsyslog.is_some() {
        eventually("rsyslog has all", || has_all(&place.syslog().unwrap()));
    }
    assert_eq!(connects(&place.hec()), 0);
    place.collector.heal();
    eventually("the stalled one catches up by itself", || has_all(&place.hec()));
    place.agreed();
}

#[test]
fn a_restart_of_rsyslog_in_mid_flow_loses_nothing() {
    let mut place = Deployment::start();
    if place.rsyslog.is_none() {
        return;
    }
    let ftp = place.address("ftp");
    for round in 0..60 {
        touch(ftp);
        match round {
            20 => place.rsyslog.as_mut().unwrap().stop(),
            40 => place.rsyslog.as_mut().unwrap().launch(),
            _ => {}
        }
    }
    place.agreed();
}

#[test]
fn kill_under_load_loses_nothing_that_was_promised() {
    let rounds: usize = std::env::var("TRAPLINE_ROUNDS")
        .ok()
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(4);
    let mut place = Deployment::start();
    let mut promised = BTreeSet::new();
    for round in 0..rounds {
        promised.extend(kill_under_load(&mut place, round));
    }
    let events = place.agreed();
    let recorded: BTreeSet<String> = events
        .iter()
        .filter(|event| action(event) == "decoy-connect")
        .map(peer)
        .collect();
    let missing: Vec<_> = promised.difference(&recorded).collect();
    assert!(
        missing.is_empty(),
        "{} of {} contacts are lost: {missing:?}",
        missing.len(),
        promised.len()
    );
    let most = rounds * 2 * 500;
    for (name, events) in [("file", place.file()), ("collector", place.hec())] {
        let doubles = ids(&events).1;
        println!("{name}: {} events, {doubles} twice after {rounds} kills", events.len());
        assert!(doubles <= most, "{name}: {doubles} doubles in {rounds} rounds");
    }
}

/// Touches from many sources while the process is killed; gives the peers whose contact is older than the promise.
fn kill_under_load(place: &mut Deployment, round: usize) -> Vec<String> {
    use std::time::{Duration, Instant};
    let ftp = place.address("ftp");
    let pid = place.trap.pid().to_string();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let (touched, killed) = std::thread::scope(|scope| {
        let peer = scope.spawn(|| {
            let mut touched = Vec::new();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let Ok(stream) = std::net::TcpStream::connect(ftp) else {
                    continue;
                };
                let mut banner = [0; 64];
                if std::io::Read::read(&mut &stream, &mut banner).is_ok_and(|count| count > 0) {
                    touched.push((Instant::now(), stream.local_addr().unwrap()));
                }
            }
            touched
        });
        std::thread::park_timeout(Duration::from_millis(1500 + 37 * round as u64));
        Command::new("kill").args(["-KILL", &pid]).status().unwrap();
        let killed = Instant::now();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        (peer.join().unwrap(), killed)
    });
    place.trap.ended();
    place.trap.launch();
    // A contact is durable within milliseconds of its accept; a second leaves room for a machine under full load.
    let promised = |at: &Instant| killed.duration_since(*at) > Duration::from_secs(1);
    touched
        .into_iter()
        .filter(|(at, _)| promised(at))
        .map(|(_, address)| address.to_string())
        .collect()
}

fn peer(event: &Value) -> String {
    format!(
        "{}:{}",
        event["source"]["ip"].as_str().unwrap(),
        event["source"]["port"]
    )
}
