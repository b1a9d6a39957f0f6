//! Memory of idle decoys and held sessions, and how long a connect takes in a crowd.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::bare::Bare;
use crate::harness::{PATIENCE, Trap, eventually};
use crate::load::{self, Leave};
use crate::measure::{resident_kib, row};

/// Sessions held at once.
const HELD: usize = 10_000;

/// Idle with 15 decoys, then with 10,000 sessions held.
pub fn run() {
    let trap = Trap::start(&fifteen_decoys());
    let mib = |kib: u64| format!("{:.1} MiB", kib as f64 / 1024.0);
    row(
        "resident, idle, 15 decoys",
        &mib(resident_kib(trap.pid())),
        "",
        None,
        "15 MiB",
    );

    let bare = Bare::start();
    let twins = hold(bare.address);
    let theirs = resident_kib(bare.pid());
    drop(twins);

    let sessions = hold(trap.address("decoy01"));
    eventually("every held session is recorded", || {
        let recorded = trap.events(&["--decoy", "decoy01", "--limit", "0"]).len();
        (recorded >= HELD).then_some(())
    });
    let ours = resident_kib(trap.pid());
    row(
        "resident, 10,000 sessions held",
        &mib(ours),
        &mib(theirs),
        Some(ours as f64 / theirs as f64),
        "40 MiB",
    );
    drop(sessions);
}

/// Connects from as many sources and waits until each was accepted, which its banner tells.
fn hold(address: SocketAddr) -> Vec<TcpStream> {
    let sessions: Vec<_> = (0..HELD).map(|number| load::connect(address, number)).collect();
    for mut session in &sessions {
        session.set_read_timeout(Some(PATIENCE)).unwrap();
        assert!(session.read(&mut [0; 64]).unwrap() > 0, "a session was not accepted");
    }
    sessions
}

fn fifteen_decoys() -> String {
    let services = ["ftp", "ssh", "telnet", "http"];
    let mut config = "[limits]\nsessions_per_source = 10000\n".to_owned();
    for number in 1..=15 {
        let service = services[(number - 1) % services.len()];
        config.push_str(&format!(
            "[decoys.decoy{number:02}]\nservice = \"{service}\"\nlisten = [\"127.0.0.1:0\"]\n"
        ));
    }
    config
}

/// Connect latency with 200 peers at a time.
pub fn connect() {
    let trap = Trap::start(&fifteen_decoys());
    let bare = Bare::start();
    let ours = percentile_99(load::touch(trap.address("decoy01"), 10_000, 200, Leave::AfterBanner));
    let theirs = percentile_99(load::touch(bare.address, 10_000, 200, Leave::AfterBanner));
    let ms = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1e3);
    let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
    row(
        "connect p99, 200 at a time",
        &ms(ours),
        &ms(theirs),
        Some(ratio),
        "20 ms",
    );
}

fn percentile_99(mut latencies: Vec<Duration>) -> Duration {
    latencies.sort();
    latencies[latencies.len() * 99 / 100]
}
