//! Two instances, kills and stops.

use std::io::Read as _;
use std::net::{TcpListener, TcpStream};

use super::harness::{PATIENCE, text, touch};
use super::*;

#[test]
fn a_second_instance_names_the_first_and_one_that_was_killed_is_taken_over() {
    let mut trap = idle();
    trap.launch();
    touch(trap.address("door"));
    all_delivered(&trap, 1);
    let second = trap.trapline(&["run"]);
    assert_eq!(second.status.code(), HELD);
    assert!(
        text(&second.stderr).contains(&format!("pid {}", trap.pid())),
        "{}",
        text(&second.stderr)
    );
    let first = trap.pid();
    trap.signal("KILL");
    trap.ended();
    trap.launch();
    assert!(
        trap.log()
            .contains(&format!("process {first} had left without closing")),
        "{}",
        trap.log()
    );
    touch(trap.address("door"));
    assert_unique(&all_delivered(&trap, 2));
}

#[test]
fn a_stop_with_open_sessions_and_a_sink_that_hangs_saves_all_and_is_exit_code_0() {
    // Accepts by its backlog, and never reads.
    let hangs = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut trap = idle();
    let config = std::fs::read_to_string(trap.config()).unwrap();
    let address = hangs.local_addr().unwrap();
    let hec = format!(
        "[sinks.siem]\ntype = \"splunk_hec\"\ninputs = [\"*\"]\nendpoint = \"http://{address}\"\ntoken = \"${{TOKEN}}\"\n"
    );
    trap.configure(&format!("{config}\n{hec}"));
    trap.set(&[("TOKEN", "11111111-2222-3333-4444-555555555555")]);
    trap.launch();
    let door = trap.address("door");
    let mut sessions: Vec<_> = (0..50).map(|_| TcpStream::connect(door).unwrap()).collect();
    for session in &mut sessions {
        session.set_read_timeout(Some(PATIENCE)).unwrap();
        session.read_exact(&mut [0; 4]).unwrap();
    }
    trap.signal("TERM");
    assert_eq!(trap.ended().code(), DONE, "{}", trap.log());
    assert!(trap.log().trim_end().ends_with("stopped"), "{}", trap.log());
    let recorded = trap.events(&["--action", "decoy-connect"]);
    assert_eq!(recorded.len(), 50);
    assert_eq!(trap.events(&["--action", "sensor-stopped"]).len(), 1);
}

#[test]
fn a_second_signal_ends_at_once() {
    let mut trap = idle();
    trap.launch();
    let mut session = TcpStream::connect(trap.address("door")).unwrap();
    session.set_read_timeout(Some(PATIENCE)).unwrap();
    session.read_exact(&mut [0; 4]).unwrap();
    trap.signal("TERM");
    eventually("the way down begins", || {
        trap.log().contains("stopping, a second signal").then_some(())
    });
    trap.signal("TERM");
    assert_eq!(trap.ended().code(), DONE);
    assert!(
        !trap.log().contains("INFO stopped"),
        "the open session was not waited for: {}",
        trap.log()
    );
}
