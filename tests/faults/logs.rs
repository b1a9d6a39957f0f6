//! A flood of one complaint.

use super::*;

#[test]
fn a_flood_of_one_complaint_fills_no_log_and_is_counted() {
    let mut trap = idle();
    let config = std::fs::read_to_string(trap.config()).unwrap();
    trap.configure(&config.replace("sessions_per_source = 15000", "sessions_per_source = 1"));
    // A line for each contact that is one too many.
    trap.set(&[("TRAPLINE_LOG", "info,trapline::decoy=debug")]);
    trap.launch();
    let door = trap.address("door");
    let first = std::net::TcpStream::connect(door).unwrap();
    for _ in 0..500 {
        drop(std::net::TcpStream::connect(door).unwrap());
    }
    all_delivered(&trap, 501);
    drop(first);
    trap.signal("TERM");
    assert_eq!(trap.ended().code(), DONE);
    let log = trap.log();
    let shown = log.matches("DEBUG").count();
    assert!(shown < 60, "{shown} lines: {log}");
    let counted = log
        .lines()
        .find(|line| line.contains("more of these in the last window"));
    assert!(
        counted.is_some_and(|line| line.contains("source has all the sessions")),
        "{log}"
    );
}
