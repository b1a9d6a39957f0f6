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
#[path = "../harness/desk.rs"]
mod desk;
#[path = "../../sinks/email/tests/server/mod.rs"]
mod exim;
#[path = "../harness/mod.rs"]
mod harness;
mod people;
#[path = "../kafka/reader.rs"]
mod reader;
mod receivers;
mod tables;
mod visitors;

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cluster::Cluster;
use exim::Exim;
use harness::feed::{Stream, feed_address, token};
use harness::killer::Killer;
use harness::promises::{action, id, ids};
use harness::rsyslog::Rsyslog;
use harness::{Trap, eventually, lines, told};
use receivers::{Receivers, Web};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use trapline_sink::conformance::web::{Fault, Server};
use visitors::Visits;

/// Visits in all, a few more than are asserted: those that are under way when trapline is killed, three times, need not
/// be in the journal.
const VISITS: usize = 5_200;
/// How many addresses they come from.
const SOURCES: usize = 20;
const TOPIC: &str = "honeyport.events";

/// What is away for a while.
#[derive(Debug, Clone, Copy)]
enum Away {
    Broker,
    Receivers,
    /// Killed when the receiver of this name has taken a notice, and before it says so.
    Trapline(&'static str),
    MailServer,
    LogServer,
}

/// In this order.
const TURNS: [Away; 7] = [
    Away::Broker,
    Away::Receivers,
    Away::Trapline("desk"),
    Away::MailServer,
    Away::LogServer,
    Away::Trapline("teams"),
    Away::Trapline("pagerduty"),
];
/// How many answers are lost after the receivers came back.
const LOST: usize = 20;

/// A sink, and which hits its inputs let through.
type Row = (&'static str, fn(&Value) -> bool);

/// A trap, everything that it sends to, and who comes.
struct World {
    trap: Trap,
    decoys: Vec<SocketAddr>,
    web: Web,
    cluster: Option<Cluster>,
    exim: Option<Exim>,
    rsyslog: Option<Rsyslog>,
    _folder: TempDir,
    runtime: Runtime,
}

impl World {
    /// With everything that can be had.
    fn start() -> Self {
        let cluster = Cluster::start("streams", 1);
        if let Some(cluster) = &cluster {
            cluster.make_topic(TOPIC, 3, &[]);
        }
        let folder = TempDir::new().unwrap();
        let rsyslog = Rsyslog::is_installed().then(|| Rsyslog::start(&folder.path().join("rsyslog")));
        Self::with(cluster, rsyslog, folder)
    }

    /// Without Kafka and rsyslog.
    fn of_people() -> Self {
        Self::with(None, None, TempDir::new().unwrap())
    }

    fn with(cluster: Option<Cluster>, rsyslog: Option<Rsyslog>, folder: TempDir) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let web = runtime.block_on(Server::start(Killer::new(Receivers::default()), None));
        let exim = Exim::start(false);
        let mut decoys = ports(4);
        let feed = decoys.split_off(3);
        let mut trap = Trap::idle("");
        let mut config =
            format!("[web]\nlisten = \"{}\"\n", feed[0]) + &tables::decoys(&decoys) + &tables::web(&web.url());
        config += &rsyslog.as_ref().map(tables::log).unwrap_or_default();
        config += &cluster.as_ref().map(tables::bus).unwrap_or_default();
        config += &exim.as_ref().map(tables::mail).unwrap_or_default();
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

    /// Waits until each stream holds every hit in the journal that its inputs let through, and nothing else.
    fn streams_hold(&self, streams: &[Row]) {
        for (sink, lets_through) in streams {
            eventually(&format!("`{sink}` holds every event"), || {
                let Some(held) = self.held(sink) else { return Some(()) };
                let found: BTreeSet<String> = held.iter().cloned().collect();
                let hits = told::hits(&self.trap);
                let wanted: BTreeSet<String> = hits.iter().filter(|hit| lets_through(hit)).map(id).collect();
                let strangers = found.difference(&wanted).count();
                assert_eq!(strangers, 0, "`{sink}` holds what its inputs do not let through");
                let all = found == wanted;
                if all {
                    println!("{sink}: {} of {} hits, {} held", wanted.len(), hits.len(), held.len());
                }
                all.then_some(())
            });
        }
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

    /// Waits until whoever reads the live feed was sent every event in the journal, each once.
    fn feed_holds(&self, sent: &Feed) {
        eventually("the reader of the feed was sent every event", || {
            let sent = sent.lock().unwrap().clone();
            let found: BTreeSet<String> = sent.iter().cloned().collect();
            assert_eq!(found.len(), sent.len(), "the feed sent an event twice");
            let (journal, _) = ids(&self.trap.events(&["--limit", "0", "--format", "ecs"]));
            assert!(found.is_subset(&journal), "the feed sent what is not in the journal");
            let all = found.len() == journal.len();
            if all {
                println!("feed: {} events, each once", found.len());
            }
            all.then_some(())
        });
    }

    /// What is away for a while, each in its turn, while visitors go on: `come_back` undoes `go_away`.
    fn go_away(&mut self, turn: Away) {
        match turn {
            Away::Broker => self.cluster.iter_mut().for_each(|cluster| cluster.kill(0)),
            Away::Receivers => {
                // The first requests after it are taken, and their answers lost.
                (0..LOST).for_each(|_| self.web.order(Fault::ResetAfterStored));
                self.runtime.block_on(self.web.stop());
            }
            Away::Trapline(told) => {
                receivers::kill_at(&self.web, self.trap.pid(), told);
                self.trap.ended();
            }
            Away::MailServer => self.exim.iter_mut().for_each(Exim::close),
            Away::LogServer => self.rsyslog.iter_mut().for_each(Rsyslog::stop),
        }
    }

    fn come_back(&mut self, turn: Away) {
        match turn {
            Away::Broker => self.cluster.iter_mut().for_each(|cluster| cluster.revive(0)),
            Away::Receivers => self.runtime.block_on(self.web.resume()),
            Away::Trapline(_) => self.trap.launch(),
            Away::MailServer => self.exim.iter_mut().for_each(Exim::open),
            Away::LogServer => self.rsyslog.iter_mut().for_each(Rsyslog::launch),
        }
    }

    /// The visitors come, and in the midst of them one after the other goes away and comes back.
    fn live(&mut self) {
        let (visits, decoys) = (Visits::default(), self.decoys.clone());
        std::thread::scope(|scope| {
            let come = scope.spawn(|| visits.go_on(&decoys, VISITS, SOURCES));
            let close = visits.close_later();
            for (at, turn) in TURNS.into_iter().enumerate() {
                let begins = VISITS * (1 + at) / (TURNS.len() + 2);
                eventually("visitors come", || (visits.made() >= begins).then_some(()));
                self.go_away(turn);
                // While trapline is away nobody gets in.
                let more = if matches!(turn, Away::Trapline(_)) { 0 } else { 100 };
                eventually("visitors go on", || (visits.made() >= begins + more).then_some(()));
                self.come_back(turn);
            }
            come.join().unwrap();
            drop(close);
        });
        assert_eq!(visits.made(), VISITS);
    }
}

fn ports(count: usize) -> Vec<SocketAddr> {
    let held: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    held.iter().map(|port| port.local_addr().unwrap()).collect()
}

/// The ids that a reader of the live feed was sent.
type Feed = Arc<Mutex<Vec<String>>>;

/// Reads the live feed from its first event on, in the background, and comes back with the last id when it is cut off.
fn read_the_feed(trap: &Trap) -> Feed {
    let (address, token) = (feed_address(trap), token(trap, "soc"));
    let sent = Feed::default();
    let into = sent.clone();
    std::thread::spawn(move || {
        let mut last = Some(0);
        loop {
            let Ok(mut stream) = Stream::try_sse(address, "", &token, last) else {
                // Nobody answers while trapline is away.
                std::thread::park_timeout(Duration::from_millis(20));
                continue;
            };
            for event in stream.by_ref() {
                let id = event.data["event"]["id"].as_str().unwrap().to_owned();
                into.lock().unwrap().push(id);
                last = Some(event.id);
            }
        }
    });
    sent
}

fn is_proof(event: &Value) -> bool {
    event["honeyport"]["touch"]["level"] == "proof"
}

#[test]
fn every_stream_holds_every_event_while_all_it_goes_to_is_away_in_turn() {
    let mut world = World::start();
    let sent = read_the_feed(&world.trap);
    world.live();
    let hits = world.people_are_told();
    let contacts = hits.iter().filter(|hit| action(hit) == "decoy-connect").count();
    assert!(contacts >= 5_000, "{contacts} contacts");
    assert_eq!(ids(&hits).1, 0, "an id stands twice in the journal");
    world.streams_hold(&[
        ("archive", |_| true),
        ("rsyslog", |_| true),
        ("bus", |_| true),
        ("elastic", |_| true),
        ("otlp", |_| true),
        ("azure", |_| true),
        ("hec", is_proof),
        ("webhook", is_proof),
    ]);
    world.feed_holds(&sent);
    // Nothing that was still under way told anything twice.
    let hits = world.people_are_told();
    world.cases_are_one_per_incident(&hits);
    world.alerts_are_one_per_incident(&hits);
    world.summary(&hits);
    world.who_was_told_last_is_told_again();
    assert_eq!(receivers::wrong(&world.web), Vec::<String>::new());
}

#[test]
fn ten_thousand_hits_of_one_source_are_a_handful_of_notices_that_add_up() {
    let world = World::of_people();
    // The last decoy is quick: it answers a login at once.
    Visits::default().go_on(&world.decoys[2..], 10_000, 1);
    let hits = world.people_are_told();
    let sources: BTreeSet<_> = hits.iter().map(|hit| hit["source"]["ip"].to_string()).collect();
    assert!(
        hits.len() >= 10_000 && sources.len() == 1,
        "{} of {sources:?}",
        hits.len()
    );
    world.summary(&hits);
    world.notices_are_a_handful(&hits);
    world.cases_are_one_per_incident(&hits);
    world.alerts_are_one_per_incident(&hits);
    assert_eq!(receivers::wrong(&world.web), Vec::<String>::new());
}
