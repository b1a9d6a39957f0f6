//! What retention takes, under the real program: counted to the entry for who misses it, without a word for who had it.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;

use super::harness::touch;
use super::salvage::{end, fill, offsets};
use super::*;

/// A second sink, whose receiver comes late.
const LATE: &str = r#"
[sinks.late]
type = "syslog"
inputs = ["*", "health"]
transport = "tcp"
framing = "newline"
address = "RECEIVER"
retry.max = "1s"
"#;

const CONTACTS: u64 = 20_000;

/// A trap that ended with contacts in its journal that the sink `archive` has had.
struct Behind {
    trap: Trap,
    config: String,
    /// Where the sink `late`, which had none, reads on.
    cursor: u64,
    /// Where its receiver is to listen.
    receiver: std::net::SocketAddr,
}

fn behind(journal: &str) -> Behind {
    let mut trap = idle();
    let receiver = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = std::fs::read_to_string(trap.config()).unwrap();
    let late = LATE.replace("RECEIVER", &receiver.to_string());
    let config = config.replace("[journal]", &format!("[journal]\n{journal}")) + &late;
    trap.configure(&config);
    trap.launch();
    touch(trap.address("door"));
    all_delivered(&trap, 1);
    let like = trap.events(&["--action", "decoy-connect"]).pop().unwrap();
    end(&mut trap);
    fill(&trap, &like, CONTACTS, 0);
    let file = rusqlite::Connection::open(trap.path("state/journal.db")).unwrap();
    let select = "SELECT offset FROM cursors WHERE consumer = 'sink/late'";
    let cursor: i64 = file.query_row(select, [], |row| row.get(0)).unwrap();
    let cursor = cursor.cast_unsigned();
    Behind {
        trap,
        config,
        cursor,
        receiver,
    }
}

/// Takes what one connection sends, to its end; gives the offsets of the events.
fn receive(at: std::net::SocketAddr) -> std::thread::JoinHandle<BTreeSet<u64>> {
    let listener = TcpListener::bind(at).unwrap();
    std::thread::spawn(move || {
        let stream = BufReader::new(listener.accept().unwrap().0);
        let offset = |line: String| {
            let (_, event) = line.split_once('{').unwrap();
            let event: Value = serde_json::from_str(&format!("{{{event}")).unwrap();
            event["honeyport"]["journal"]["sequence"].as_u64().unwrap()
        };
        stream.lines().map(|line| offset(line.unwrap())).collect()
    })
}

fn oldest(trap: &Trap) -> u64 {
    trap.status()["journal"]["oldest"].as_u64().unwrap()
}

fn sink<'s>(status: &'s Value, name: &str) -> &'s Value {
    let sinks = status["sinks"].as_array().unwrap();
    sinks.iter().find(|sink| sink["name"] == name).unwrap()
}

/// What gap events say that each sink lost.
fn told(trap: &Trap, name: &str) -> u64 {
    let gaps = trap.events(&["--limit", "0", "--action", "journal-gap"]);
    let of = gaps.iter().filter(|gap| gap["honeyport.sink.name"] == name);
    of.map(|gap| gap["honeyport.finding.hits"].as_u64().unwrap()).sum()
}

#[test]
fn what_size_takes_from_a_sink_that_is_behind_is_counted_exactly_and_from_no_other() {
    let Behind {
        mut trap,
        cursor,
        receiver,
        ..
    } = behind("retain_bytes = \"4MiB\"");
    trap.launch();
    let mut before = 0;
    let mut same = 0;
    eventually("the trim is at its bound", || {
        let oldest = oldest(&trap);
        same = if oldest == before { same + 1 } else { 0 };
        before = oldest;
        (oldest > CONTACTS / 2 && same > 50).then_some(())
    });
    let received = receive(receiver);
    touch(trap.address("door"));
    let lost = eventually("the sink has what is left", || {
        let status = trap.status();
        let late = sink(&status, "late");
        (late["lag"] == 0 && late["delivered"].as_u64()? > 0).then(|| late["lost"].as_u64().unwrap())
    });
    assert_eq!(sink(&trap.status(), "archive")["lost"], 0);
    // What was not told before the minute was over is told by the next start.
    end(&mut trap);
    let given = received.join().unwrap();
    let last = offsets(&trap).pop_last().unwrap();
    trap.launch();
    eventually("all of it is told", || (told(&trap, "late") >= lost).then_some(()));
    assert_eq!((told(&trap, "late"), told(&trap, "archive")), (lost, 0));
    end(&mut trap);

    let kept = offsets(&trap);
    let missed = (cursor..last).filter(|offset| !given.contains(offset) && !kept.contains(offset));
    assert_eq!(missed.count() as u64, lost);
    assert!(lost > CONTACTS / 2, "{lost}");
}

#[test]
fn age_takes_nothing_that_a_sink_has_not_had_and_says_nothing_of_what_all_had() {
    let library = format!(
        "/usr/lib/{}-linux-gnu/faketime/libfaketimeMT.so.1",
        std::env::consts::ARCH
    );
    if !Path::new(&library).exists() {
        return println!("SKIPPED: no libfaketime; what age takes was not tried");
    }
    let Behind {
        mut trap,
        config,
        cursor,
        ..
    } = behind("retain_days = 30");
    let in_time = [
        ("LD_PRELOAD", library.as_str()),
        ("FAKETIME", "+40d"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("NO_FAKE_STAT", "1"),
    ];
    trap.set(&in_time);
    trap.launch();
    eventually("the trim has had a few looks", || {
        (trap.status()["uptime_secs"].as_u64().unwrap() >= 4).then_some(())
    });
    let held = oldest(&trap);
    assert!(held <= cursor, "{held}: the sink that is behind reads on from {cursor}");
    trap.configure(&config.replace("[sinks.late]", "[sinks.late]\nenabled = false"));
    assert_eq!(trap.trapline(&["reload"]).status.code(), DONE);
    // The watch for scans saves its cursor now and then.
    eventually("what only the disabled sink missed is gone", || {
        (oldest(&trap) > CONTACTS / 2).then_some(())
    });
    let gaps = trap.events(&["--limit", "0", "--action", "journal-gap"]);
    assert!(gaps.is_empty(), "{gaps:#?}");
    end(&mut trap);
    let verified = trap.trapline(&["journal", "verify"]);
    assert_eq!(verified.status.code(), DONE, "{}", harness::text(&verified.stderr));
}
