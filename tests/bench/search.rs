//! A journal of a million events: how long the start takes, and a search by an indexed field.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use trapline::journal::{Commit, Durability, Journal, JournalSettings};
use trapline_schemas::{Action, Event, Field, Timestamp, codec, ids};

use crate::harness::Trap;
use crate::measure::{millis, row};

const EVENTS: usize = 1_000_000;
/// Events of one commit.
const GROUP: usize = 10_000;
/// Building the index of a million events takes longer than anything else here.
const PATIENCE: Duration = Duration::from_secs(300);

/// Writes the journal, starts on it, and searches.
pub fn run() {
    let mut trap =
        Trap::idle("[journal]\npath = \"journal.db\"\n[decoys.ftp]\nservice = \"ftp\"\nlisten = [\"127.0.0.1:0\"]\n");
    fill(trap.path("journal.db"));
    let start = Instant::now();
    trap.launch();
    row(
        "start on a journal of 1 M events",
        &millis(start.elapsed()),
        "",
        None,
        "5000 ms",
    );
    wait_for_the_index(&trap);
    for (what, arguments) in [
        ("`events --source` at 1 M", ["--source", "198.51.7.7"]),
        ("`events --port` at 1 M", ["--port", "21"]),
        ("`events --user` at 1 M", ["--user", "user77"]),
    ] {
        let start = Instant::now();
        let found = trap.events(&[arguments[0], arguments[1], "--limit", "100"]);
        assert!(!found.is_empty(), "{what} finds nothing");
        row(what, &millis(start.elapsed()), "", None, "200 ms");
    }
}

fn wait_for_the_index(trap: &Trap) {
    let deadline = Instant::now() + PATIENCE;
    while trap.status()["journal"]["index_lag"] != 0 {
        assert!(Instant::now() < deadline, "the index does not catch up");
        std::thread::park_timeout(Duration::from_millis(200));
    }
}

/// A million credentials of 65,536 sources.
fn fill(path: std::path::PathBuf) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let settings = JournalSettings {
            durability: Durability::Normal,
            ..JournalSettings::at(path)
        };
        let (journal, _) = Journal::open(settings).unwrap();
        for group in 0..EVENTS / GROUP {
            let append = (0..GROUP).map(|number| body(group * GROUP + number).into()).collect();
            journal
                .commit(Commit {
                    append,
                    ..Commit::default()
                })
                .await
                .unwrap();
        }
    });
}

fn body(number: usize) -> Vec<u8> {
    let at = Timestamp::now();
    let mut event = Event::new(ids::fresh(at), at, Action::Credential);
    let octet = |value: usize| u8::try_from(value % 256).unwrap();
    event.set(
        Field::SourceIp,
        IpAddr::V4(Ipv4Addr::new(198, 51, octet(number), octet(number / 256))),
    );
    event.set(Field::SourcePort, 40_000_i64);
    event.set(Field::DestinationIp, IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
    event.set(
        Field::DestinationPort,
        if number.is_multiple_of(2) { 21_i64 } else { 22 },
    );
    event.set(Field::NetworkTransport, "tcp");
    event.set(Field::DecoyId, "ftp");
    event.set(Field::DecoyService, "ftp");
    event.set(Field::TouchLevel, "proof");
    event.set(Field::EventRiskScore, 50.0);
    event.set(Field::UserName, format!("user{}", number % 1000));
    event.set(Field::SessionId, ids::fresh(at));
    codec::encode(&event)
}
