//! A week of an office that does what offices do: no intruder, and nobody is bothered.
//!
//! The visits are those of real tools, recorded (`office.jsonl`, see [`recording`]); who comes when, and what each is to
//! be known as, is in [`hosts`]. The real binary stands among these hosts in a network of its own, and its clock goes
//! forward by an hour each time all visits of an hour were made.

mod hosts;
mod play;
mod recording;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use self::hosts::{HOSTS, Host};
use self::recording::Recording;
use crate::harness::again::{is_root, run_again};
use crate::harness::{Trap, eventually, lines, text};
use crate::notices::Channel;

/// Set where the test has a network and mounts of its own.
const OWN_OFFICE: &str = "TRAPLINE_TEST_OFFICE";
const TEST: &str = "week::a_week_of_an_office_bothers_nobody_and_is_recorded_whole";

const HOUR: u64 = 3600;
const WEEK: u64 = 7 * 24 * HOUR;

#[test]
fn a_week_of_an_office_bothers_nobody_and_is_recorded_whole() {
    let library = format!(
        "/usr/lib/{}-linux-gnu/faketime/libfaketimeMT.so.1",
        std::env::consts::ARCH
    );
    if std::env::var_os(OWN_OFFICE).is_none() {
        return match is_root() && Path::new(&library).exists() {
            true => run_again(
                TEST,
                &["unshare", "--net", "--mount", "env", &format!("{OWN_OFFICE}=1")],
            ),
            false => println!("SKIPPED: no right to make a network, or no libfaketime; the office week was not played"),
        };
    }
    enter_the_office();
    let recording = match std::env::var_os("TRAPLINE_REMAKE") {
        Some(_) => Recording::make(),
        None => Recording::read(),
    };
    let mut trap = with_own_recogniser(Trap::idle(&office(hosts::SENSOR)));
    let (clock, channel) = (Clock::of(&trap), Channel::open());
    let hook = channel.url();
    trap.set(&[
        ("HOOK", hook.as_str()),
        ("LD_PRELOAD", library.as_str()),
        ("FAKETIME_TIMESTAMP_FILE", clock.file.to_str().unwrap()),
        ("FAKETIME_NO_CACHE", "1"),
        // What waits for a time waits for that clock, and by system calls that the library does not see.
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("NO_FAKE_STAT", "1"),
    ]);
    trap.launch();
    let mut visits = BTreeMap::new();
    for hour in 0..WEEK / HOUR {
        clock.set(hour);
        play::hour(&recording, hour % 24, &mut visits);
        all_have_gone(&trap, &visits);
    }
    let events = all_events(&trap);
    each_visit_is_recorded(&events, &visits);
    let unlike: String = HOSTS.iter().filter_map(|host| unlike(host, &events)).collect();
    assert!(unlike.is_empty(), "{unlike}");
    assert_eq!(written(&trap, "acts.jsonl"), Vec::<Value>::new(), "nothing is done");
    let notices = written(&trap, "notices.jsonl");
    let told: Vec<&str> = notices.iter().map(source).collect();
    let unexplained: Vec<&str> = HOSTS
        .iter()
        .filter(|host| host.known_as.contains(&"-"))
        .map(|host| host.address)
        .collect();
    assert_eq!(
        told, unexplained,
        "one notice for each host that nobody declared: {notices:#?}"
    );
    assert_eq!(channel.sources(), unexplained, "and one message in the channel");
    what_is_learned_names_no_other(&trap, &unexplained);
}

/// Addresses of all, and the office's resolver in place of the tester's.
fn enter_the_office() {
    let run = |line: &str| {
        let done = Command::new("sh").args(["-c", line]).status().unwrap();
        assert!(done.success(), "{line}");
    };
    run("ip link set lo up");
    let ours = [hosts::SENSOR, recording::BEHIND];
    for address in HOSTS.iter().map(|host| host.address).chain(ours) {
        run(&format!("ip addr add {address}/32 dev lo"));
    }
    let resolver = hosts::RESOLVER;
    run(&format!(
        "f=$(mktemp) && echo nameserver {resolver} >$f && mount --bind $f $(realpath /etc/resolv.conf)"
    ));
}

/// The decoys at an address, and who is told.
fn office(address: &str) -> String {
    include_str!("week/office.toml").replace("ADDRESS", address)
}

/// Puts a recogniser of the office's own beside the configuration.
fn with_own_recogniser(trap: Trap) -> Trap {
    std::fs::create_dir(trap.path("benign")).unwrap();
    std::fs::write(trap.path("benign/checks.toml"), include_str!("week/checks.toml")).unwrap();
    trap
}

/// The clock that the binary reads: hours of a week that begins as windows do.
struct Clock {
    file: std::path::PathBuf,
    start: u64,
}

impl Clock {
    fn of(trap: &Trap) -> Self {
        let now = now();
        let clock = Self {
            file: trap.path("clock"),
            start: now - now % WEEK + WEEK,
        };
        clock.set(0);
        clock
    }

    fn set(&self, hour: u64) {
        let forward = self.start + hour * HOUR - now();
        // In one piece: the library may read at any time.
        let new = self.file.with_extension("new");
        std::fs::write(&new, format!("+{forward}")).unwrap();
        std::fs::rename(&new, &self.file).unwrap();
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Waits until each visit so far was taken in and is over: what is still under way would be of the next hour.
fn all_have_gone(trap: &Trap, visits: &BTreeMap<&str, u64>) {
    let made: u64 = visits.values().sum();
    eventually("all have gone", || {
        let metrics = text(&trap.trapline(&["metrics"]).stdout);
        let of = |line: &str| line.rsplit_once(' ').and_then(|(_, value)| value.parse::<f64>().ok());
        let is_visit = |line: &&str| {
            let is_hit = line.starts_with("trapline_hits_total{");
            is_hit
                && ["decoy-connect", "decoy-udp-probe"]
                    .iter()
                    .any(|action| line.contains(action))
        };
        let taken: f64 = metrics.lines().filter(is_visit).filter_map(of).sum();
        let is_empty = metrics.lines().any(|line| line == "trapline_open_sessions 0");
        (is_empty && taken >= made as f64).then_some(())
    });
}

/// Every event of a host of the office, once all are where they go.
fn all_events(trap: &Trap) -> Vec<Value> {
    let mut before = 0;
    eventually("all is recorded and delivered", || {
        let status = trap.status();
        let sinks = status["sinks"].as_array().unwrap().clone();
        let count = written(trap, "all.jsonl").len();
        let is_still = std::mem::replace(&mut before, count) == count;
        (is_still && sinks.iter().all(|sink| sink["lag"] == 0)).then_some(())
    });
    let mut events = written(trap, "all.jsonl");
    events.retain(|event| HOSTS.iter().any(|host| source(event) == host.address));
    events
}

fn written(trap: &Trap, name: &str) -> Vec<Value> {
    lines(&std::fs::read(trap.path("state").join(name)).unwrap_or_default())
}

fn source(event: &Value) -> &str {
    event["source"]["ip"].as_str().unwrap_or_default()
}

/// Connections and datagrams of each host are as many as were made.
fn each_visit_is_recorded(events: &[Value], visits: &BTreeMap<&str, u64>) {
    let mut recorded = BTreeMap::new();
    for event in events {
        let action = event["event"]["action"].as_str().unwrap();
        if ["decoy-connect", "decoy-udp-probe"].contains(&action) {
            *recorded.entry(source(event)).or_insert(0) += 1;
        }
    }
    assert_eq!(recorded, *visits, "each visit once");
}

/// As what a host is known in its events, and how far they say that it goes, where that is not as it should be.
fn unlike(host: &Host, events: &[Value]) -> Option<String> {
    let own = || events.iter().filter(|event| source(event) == host.address);
    let expected: BTreeSet<&str> = host.known_as.iter().copied().collect();
    let names: BTreeSet<&str> = own().map(mark).collect();
    let highest = own().max_by_key(|event| rank(level(event)));
    if names == expected && highest.is_some_and(|event| level(event) == host.touch) {
        return None;
    }
    let strange = own().find(|event| !expected.contains(mark(event)) || rank(level(event)) > rank(host.touch));
    let strange = strange.or(highest).map(|event| {
        let (action, port) = (&event["event"]["action"], &event["destination"]["port"]);
        format!("{action} at {port}, {}", event["honeyport"])
    });
    Some(format!(
        "{} ({}): {names:?}: {}\n",
        host.who,
        host.address,
        strange.unwrap_or_default()
    ))
}

fn mark(event: &Value) -> &str {
    event["honeyport"]["benign"]["name"].as_str().unwrap_or("-")
}

fn level(event: &Value) -> &str {
    event["honeyport"]["touch"]["level"].as_str().unwrap()
}

fn rank(level: &str) -> usize {
    let levels = ["contact", "intent", "proof"];
    levels.iter().position(|known| *known == level).unwrap()
}

/// What `learn` proposes is for those who were told of, and for nobody else.
fn what_is_learned_names_no_other(trap: &Trap, unexplained: &[&str]) {
    let learned = trap.trapline(&["learn", "--since", "7d"]);
    let said = String::from_utf8_lossy(&learned.stdout);
    for host in HOSTS {
        let is_named = said.contains(&format!("\"{}\"", host.address));
        assert!(!is_named || unexplained.contains(&host.address), "{}: {said}", host.who);
    }
}
