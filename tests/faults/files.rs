//! The limit of open files.

use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::harness::{PATIENCE, json, touch};
use super::*;

/// The limit that the program is started with: half of it is kept for journal, sinks and control.
const LIMIT: usize = 240;

/// A trap that may open so many files. The wrapper becomes the program, so its process id is the program's.
fn limited() -> Trap {
    let mut trap = idle();
    let run = trap.command(&["run"]);
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &format!("ulimit -n {LIMIT}; exec \"$0\" \"$@\"")])
        .arg(run.get_program())
        .args(run.get_args())
        .env("XDG_STATE_HOME", trap.folder.path());
    trap.launch_by(shell);
    trap
}

/// A session that has read the banner and says nothing.
fn idle_session(address: SocketAddr) -> TcpStream {
    let mut session = TcpStream::connect(address).unwrap();
    session.set_read_timeout(Some(PATIENCE)).unwrap();
    session.read_exact(&mut [0; 4]).unwrap();
    session
}

fn is_closed(session: &mut TcpStream) -> bool {
    session.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    loop {
        match session.read(&mut [0; 512]) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => {
                return !matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                );
            }
        }
    }
}

/// Processor time used so far, in clock ticks (100 a second).
fn ticks(trap: &Trap) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", trap.pid())).unwrap();
    let after_name = stat.rsplit(')').next().unwrap();
    let fields: Vec<_> = after_name.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn at_the_limit_of_files_the_oldest_idle_session_makes_room_and_the_rest_works() {
    let trap = limited();
    let door = trap.address("door");
    let mut sessions: Vec<_> = (0..LIMIT).map(|_| idle_session(door)).collect();
    assert!(is_closed(&mut sessions[0]), "the oldest had to go");
    assert!(!is_closed(sessions.last_mut().unwrap()), "the newest stays");
    let status = json(&trap.trapline(&["--json", "status"]));
    assert_eq!(status["listeners"][0]["bound"], true, "{status}");
    let events = all_delivered(&trap, LIMIT);
    assert_eq!(actions(&events, "decoy-connect"), LIMIT, "each was recorded");
    assert!(trap.log().contains("files.limit=240"), "{}", trap.log());
    assert!(trap.log().contains("LimitNOFILE="), "{}", trap.log());
}

#[test]
fn where_no_file_can_be_opened_at_all_accepting_does_not_spin_and_goes_on_afterwards() {
    let trap = limited();
    let door = trap.address("door");
    let mut sessions: Vec<_> = (0..20).map(|_| idle_session(door)).collect();
    // Below what is open already: each accept fails until sessions are closed, and after that too.
    let prlimit = |limit: usize| {
        let pid = trap.pid().to_string();
        let set = Command::new("prlimit")
            .args(["--pid", &pid, &format!("--nofile={limit}:{LIMIT}")])
            .status();
        assert!(set.unwrap().success());
    };
    prlimit(12);
    let waiting: Vec<_> = (0..5).map(|_| TcpStream::connect(door).unwrap()).collect();
    eventually("idle sessions are closed to make room", || {
        sessions.iter_mut().any(is_closed).then_some(())
    });
    let before = ticks(&trap);
    std::thread::park_timeout(Duration::from_secs(3));
    let used = ticks(&trap) - before;
    assert!(used < 150, "{used} ticks in 300: accepting spins");
    prlimit(LIMIT);
    for mut session in waiting {
        session.set_read_timeout(Some(PATIENCE)).unwrap();
        session.read_exact(&mut [0; 4]).expect("who waited is served");
    }
    assert!(touch(door).starts_with(b"SSH-2.0-"));
    let events = all_delivered(&trap, 26);
    assert_eq!(actions(&events, "decoy-connect"), 26);
    assert_unique(&events);
}
