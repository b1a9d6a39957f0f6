//! Whether every peer is recorded, however it leaves.

use std::time::{Duration, Instant};

use crate::harness::{Trap, eventually};
use crate::load::{Leave, touch};
use crate::measure::row;

const PEERS: usize = 10_000;

/// Without a further record for this long, no more are expected.
const QUIET: Duration = Duration::from_secs(5);

/// Peers that close by FIN, and peers that close by RST; the twin is what the kernel had to give.
pub fn run() {
    for (what, leave) in [
        ("recorded of 10,000 that close by FIN", Leave::Fin),
        ("recorded of 10,000 that reset", Leave::Rst),
    ] {
        let unfinished = embryonic_resets();
        let trap = Trap::start("[decoys.ftp]\nservice = \"ftp\"\nlisten = [\"127.0.0.1:0\"]\n");
        touch(trap.address("ftp"), PEERS, 32, leave);
        let recorded = recorded(&trap).to_string();
        let finished = PEERS - (embryonic_resets() - unfinished);
        row(what, &recorded, &finished.to_string(), None, "10000");
    }
}

/// Resets that the kernel saw before the handshake was finished, so that there was nothing to accept.
fn embryonic_resets() -> usize {
    let counters = std::fs::read_to_string("/proc/net/netstat").unwrap();
    let mut lines = counters.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let mut counted = names.split(' ').zip(values.split(' '));
    counted
        .find(|(name, _)| *name == "EmbryonicRsts")
        .unwrap()
        .1
        .parse()
        .unwrap()
}

/// Connects recorded, once all are or no more come.
fn recorded(trap: &Trap) -> usize {
    let (mut count, mut last) = (0, Instant::now());
    eventually("the count stands still", || {
        let now = trap.events(&["--action", "decoy-connect", "--limit", "0"]).len();
        if now > count {
            (count, last) = (now, Instant::now());
        }
        (count >= PEERS || last.elapsed() > QUIET).then_some(count)
    })
}
