//! The wall clock goes a day forward, and two back.

use std::net::TcpListener;

use super::harness::touch;
use super::*;

/// Where Debian has it; a preloaded library that shifts the wall clock by what a file says.
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

#[test]
fn a_clock_that_jumps_by_a_day_doubles_loses_and_stops_nothing() {
    let library = format!(
        "/usr/lib/{}-linux-gnu/faketime/libfaketimeMT.so.1",
        std::env::consts::ARCH
    );
    if !Path::new(&library).exists() {
        return println!("SKIPPED: `{LIBRARY}` is not installed (libfaketime); a jump of the clock was not tried");
    }
    let mut trap = idle();
    let shift = trap.path("shift");
    let set = |by: &str| {
        // In one piece: the library may read at any time.
        std::fs::write(trap.path("shift.new"), by).unwrap();
        std::fs::rename(trap.path("shift.new"), trap.path("shift")).unwrap();
    };
    set("+0");
    // A sink that cannot be reached yet, and waits between its tries.
    let later = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = std::fs::read_to_string(trap.config()).unwrap();
    let syslog = format!(
        "[sinks.late]\ntype = \"syslog\"\ninputs = [\"*\"]\ntransport = \"tcp\"\naddress = \"{later}\"\nretry.max = \"2s\"\n"
    );
    trap.configure(&format!("{config}\n{syslog}"));
    let shift_path = shift.to_str().unwrap().to_owned();
    trap.set(&[
        ("LD_PRELOAD", &library),
        ("FAKETIME_TIMESTAMP_FILE", &shift_path),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("NO_FAKE_STAT", "1"),
    ]);
    let set = |by: &str| {
        std::fs::write(shift.with_extension("new"), by).unwrap();
        std::fs::rename(shift.with_extension("new"), &shift).unwrap();
    };
    trap.launch();
    let door = trap.address("door");
    let alarms = |trap: &Trap, count: usize| {
        eventually("the jump is one alarm", || {
            let alarms = trap.events(&["--action", "host-alarm"]);
            (alarms.len() == count).then_some(alarms)
        })
    };
    for (jumps, by) in ["+0", "+1d", "-1d"].into_iter().enumerate() {
        set(by);
        alarms(&trap, jumps);
        for _ in 0..5 {
            assert!(touch(door).starts_with(b"SSH-2.0-"));
        }
    }
    let told = alarms(&trap, 2);
    let reasons: Vec<_> = told
        .iter()
        .map(|alarm| alarm["event.reason"].as_str().unwrap())
        .collect();
    assert!(
        reasons[0].contains("forward by 86") && reasons[1].contains("back by 172"),
        "{reasons:?}"
    );
    let events = all_delivered(&trap, 15);
    assert_eq!(actions(&events, "decoy-connect"), 15);
    assert_unique(&events);
    let order: Vec<_> = events
        .iter()
        .map(|event| event["honeyport"]["journal"]["sequence"].as_u64().unwrap())
        .collect();
    assert!(
        order.is_sorted_by(|a, b| a < b),
        "the order is that of the sequence: {order:?}"
    );
    // Whoever waited for a retry waits no day longer.
    let receiver = TcpListener::bind(later).unwrap();
    receiver.accept().expect("the sink tries again");
    eventually("it delivers", || {
        let sinks = trap.status()["sinks"].as_array().unwrap().clone();
        sinks
            .iter()
            .find(|sink| sink["name"] == "late" && sink["lag"] == 0)
            .map(|_| ())
    });
    trap.signal("TERM");
    assert_eq!(trap.ended().code(), DONE);
}
