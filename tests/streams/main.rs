//! Every sink at once, over thousands of real hits: while they come in, trapline is killed, and the broker, the mail
//! server, the log server and every receiver are away for a while. In the end each stream holds every event that its
//! inputs let through, and what people were told adds up to every hit.
//!
//! Real are Kafka, exim and rsyslog; where one is missing, that is said on a line that begins with `SKIPPED`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops where something is wrong, and says what it skips"
)]
#![allow(dead_code, reason = "what is shared with other tests is not all used")]

#[path = "../kafka/certificates.rs"]
mod certificates;
#[path = "../kafka/cluster.rs"]
mod cluster;
#[path = "../../sinks/email/tests/server/mod.rs"]
mod exim;
#[path = "../harness/mod.rs"]
mod harness;
#[path = "../kafka/reader.rs"]
mod reader;
mod receivers;
mod visitors;

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;

use cluster::Cluster;
use exim::Exim;
use harness::promises::{action, id};
use harness::rsyslog::Rsyslog;
use harness::{Trap, eventually, lines};
use receivers::{Receivers, TOKEN};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use trapline_sink::conformance::web::Server;
use visitors::Visits;

/// Visits in all, a few more than are asserted: one that is under way when trapline is killed need not be in the journal.
const VISITS: usize = 5_100;
const TOPIC: &str = "honeyport.events";

/// A trap, everything that it sends to, and who comes.
struct World {
    trap: Trap,
    decoys: Vec<SocketAddr>,
    web: Server<Receivers>,
    cluster: Option<Cluster>,
    exim: Option<Exim>,
    rsyslog: Option<Rsyslog>,
    _folder: TempDir,
    runtime: Runtime,
}

impl World {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let web = runtime.block_on(Server::start(Receivers::default(), None));
        let folder = TempDir::new().unwrap();
        let rsyslog = Rsyslog::is_installed().then(|| Rsyslog::start(&folder.path().join("rsyslog")));
        let cluster = Cluster::start("streams", 1);
        if let Some(cluster) = &cluster {
            cluster.make_topic(TOPIC, 3, &[]);
        }
        let exim = Exim::start(false);
        let decoys = ports(3);
        let mut trap = Trap::idle("");
        let mut config = decoy_tables(&decoys) + &web_tables(&web.url());
        config += &rsyslog.as_ref().map(log_table).unwrap_or_default();
        config += &cluster.as_ref().map(bus_table).unwrap_or_default();
        config += &exim.as_ref().map(mail_table).unwrap_or_default();
        trap.configure(&config);
        // There are secrets in it.
        std::fs::set_permissions(trap.config(), PermissionsExt::from_mode(0o600)).unwrap();
        trap.launch();
        Self {
            trap,
            decoys,
            web,
            cluster,
            exim,
            rsyslog,
            _folder: folder,
            runtime,
        }
    }

    /// Every event of a visitor.
    fn journal(&self) -> Vec<Value> {
        let mut events = self.trap.events(&["--limit", "1000000", "--format", "ecs"]);
        events.retain(|event| action(event).starts_with("decoy-") || action(event) == "session-end");
        events.retain(|event| action(event) != "decoy-scan");
        events
    }

    /// What each stream holds, by the name of its sink, doubles included.
    fn held(&self, sink: &str) -> Option<Vec<String>> {
        match sink {
            "archive" => {
                let file = std::fs::read(self.trap.path("state/events.jsonl")).unwrap_or_default();
                Some(lines(&file).iter().map(id).collect())
            }
            "rsyslog" => {
                let lines = self.rsyslog.as_ref()?.lines();
                let events = lines.iter().filter_map(|line| serde_json::from_str(line).ok());
                Some(events.map(|event: Value| id(&event)).collect())
            }
            "bus" => {
                let records = self.cluster.as_ref()?.records(TOPIC);
                Some(records.iter().map(|record| record.id().to_owned()).collect())
            }
            web => Some(receivers::held(&self.web, web)),
        }
    }

    /// What is away for a while, each in its turn, while visitors go on: `come_back` undoes `go_away`.
    fn go_away(&mut self, turn: usize) {
        match turn {
            0 => self.cluster.iter_mut().for_each(|cluster| cluster.kill(0)),
            1 => self.runtime.block_on(self.web.stop()),
            2 => {
                self.trap.signal("KILL");
                self.trap.ended();
            }
            3 => self.exim.iter_mut().for_each(Exim::close),
            _ => self.rsyslog.iter_mut().for_each(Rsyslog::stop),
        }
    }

    fn come_back(&mut self, turn: usize) {
        match turn {
            0 => self.cluster.iter_mut().for_each(|cluster| cluster.revive(0)),
            1 => self.runtime.block_on(self.web.resume()),
            2 => self.trap.launch(),
            3 => self.exim.iter_mut().for_each(Exim::open),
            _ => self.rsyslog.iter_mut().for_each(Rsyslog::launch),
        }
    }

    /// The visitors come, and in the midst of them one after the other goes away and comes back.
    fn live(&mut self) {
        let (visits, decoys) = (Visits::default(), self.decoys.clone());
        std::thread::scope(|scope| {
            let come = scope.spawn(|| visits.go_on(&decoys, VISITS));
            let close = visits.close_later();
            for turn in 0..TURNS {
                let begins = VISITS * (1 + turn) / (TURNS + 2);
                eventually("visitors come", || (visits.made() >= begins).then_some(()));
                self.go_away(turn);
                // While trapline is away nobody gets in.
                let more = if turn == 2 { 0 } else { 100 };
                eventually("visitors go on", || (visits.made() >= begins + more).then_some(()));
                self.come_back(turn);
            }
            come.join().unwrap();
            drop(close);
        });
        assert_eq!(visits.made(), VISITS);
    }
}

/// How many go away in [`World::live`].
const TURNS: usize = 5;

fn ports(count: usize) -> Vec<SocketAddr> {
    let held: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    held.iter().map(|port| port.local_addr().unwrap()).collect()
}

fn decoy_tables(at: &[SocketAddr]) -> String {
    let mut tables = String::from(
        "[observer]\nname = \"lure-dmz-01\"\nsite = \"lyon\"\n[journal]\npath = \"state/journal.db\"\n\
         [limits]\nsessions_per_source = 10000\nevents_per_source_per_minute = 1000000\n\
         [notices]\nwindow = \"5s\"\n\
         [transforms.proofs]\ntype = \"filter\"\ninputs = [\"decoys\"]\nwhen = 'honeyport.touch.level == \"proof\"'\n\
         [sinks.archive]\ntype = \"file\"\ninputs = [\"decoys\"]\npath = \"events.jsonl\"\n",
    );
    for (service, at) in ["telnet", "ftp", "http"].iter().zip(at) {
        tables += &format!("[decoys.{service}]\nservice = \"{service}\"\nlisten = [\"{at}\"]\n");
    }
    tables
}

/// The sinks that speak HTTP, each named as its receiver is.
fn web_tables(url: &str) -> String {
    format!(
        "[sinks.hec]\ntype = \"splunk_hec\"\ninputs = [\"proofs\"]\nendpoint = \"{url}/hec\"\ntoken = \"{TOKEN}\"\n\
         acknowledge = false\nretry.max = \"1s\"\n\
         [sinks.slack]\ntype = \"slack\"\ninputs = [\"decoys\"]\nwebhook_url = \"{url}/slack/services/T0/B0/x\"\n\
         interval = \"10ms\"\nretry.max = \"1s\"\n"
    )
}

fn log_table(server: &Rsyslog) -> String {
    format!(
        "[sinks.rsyslog]\ninputs = [\"decoys\"]\n{}retry.max = \"1s\"\n",
        server.sink()
    )
}

fn bus_table(cluster: &Cluster) -> String {
    let brokers = cluster.brokers();
    format!(
        "[sinks.bus]\ntype = \"kafka\"\ninputs = [\"decoys\"]\nbrokers = {brokers:?}\ntopic = \"{TOPIC}\"\n\
         timeout = \"3s\"\nretry.max = \"1s\"\n"
    )
}

fn mail_table(server: &Exim) -> String {
    format!(
        "[sinks.mail]\ntype = \"email\"\ninputs = [\"decoys\"]\nserver = \"{}\"\nuser = \"trapline\"\n\
         password = \"hush\"\nfrom = \"trapline@example.org\"\nto = [\"soc@example.org\"]\nretry.max = \"1s\"\n\
         tls = {{ ca = \"{}\" }}\n",
        server.at,
        server.path("ca.pem").display()
    )
}

fn is_proof(event: &Value) -> bool {
    event["honeyport"]["touch"]["level"] == "proof"
}

#[test]
fn every_stream_holds_every_event_while_all_it_goes_to_is_away_in_turn() {
    let mut world = World::start();
    world.live();
    let journal = world.journal();
    let contacts = journal.iter().filter(|event| action(event) == "decoy-connect").count();
    assert!(contacts >= 5_000, "{contacts} hits");
    let all: BTreeSet<String> = journal.iter().map(id).collect();
    assert_eq!(all.len(), journal.len(), "an id stands twice in the journal");
    let proofs: BTreeSet<String> = journal.iter().filter(|event| is_proof(event)).map(id).collect();
    assert!((1_000..all.len()).contains(&proofs.len()), "{}", proofs.len());
    for (sink, wanted) in [("archive", &all), ("rsyslog", &all), ("bus", &all), ("hec", &proofs)] {
        let held = eventually(&format!("`{sink}` holds every event"), || {
            let Some(held) = world.held(sink) else {
                return Some(Vec::new());
            };
            let found: BTreeSet<String> = held.iter().cloned().collect();
            wanted.is_subset(&found).then_some(held)
        });
        let strangers = held.iter().filter(|id| !wanted.contains(*id)).count();
        assert_eq!(strangers, 0, "`{sink}` holds what its inputs do not let through");
        println!("{sink}: {} of {} events, {} held", wanted.len(), all.len(), held.len());
    }
    assert_eq!(world.web.with(|web| web.wrong.clone()), Vec::<String>::new());
}
