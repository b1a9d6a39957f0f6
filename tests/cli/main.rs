//! The program through its front door: commands, exit codes, the control socket, reload and shutdown.
#![expect(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

mod canary;
mod check;
mod events;
mod examples;
#[path = "../harness/mod.rs"]
mod harness;
mod journal;
mod learn;
mod memory;
mod metrics;
mod owners;
mod reload;
mod service;
mod sinks;
mod transforms;
mod trials;
mod upgrade;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use harness::{PATIENCE, Trap, eventually, exists, json, lines, text, touch, trapline};

const DONE: Option<i32> = Some(0);
const FAILED: Option<i32> = Some(1);
const USAGE: Option<i32> = Some(2);
const HELD: Option<i32> = Some(3);
const CONFIG: Option<i32> = Some(78);

/// One decoy, one file sink.
const PLAIN: &str = r#"
[journal]
path = "state/journal.db"

[decoys.door]
service = "ssh"
listen = ["127.0.0.1:0"]

[sinks.archive]
type = "file"
inputs = ["*"]
path = "events.jsonl"
"#;

/// The same with a second decoy.
fn with_second_decoy() -> String {
    format!("{PLAIN}\n[decoys.window]\nservice = \"ftp\"\nlisten = [\"127.0.0.1:0\"]\n")
}

#[test]
fn help_is_no_mistake_and_a_wrong_argument_is_exit_code_2() {
    let help = trapline().arg("--help").output().unwrap();
    assert_eq!(help.status.code(), DONE);
    assert!(text(&help.stdout).contains("78 bad configuration"));
    for wrong in [
        &["--no-such"][..],
        &["no-such"],
        &["events", "--since", "yesterday"],
        &["send-test"],
    ] {
        let output = trapline().args(wrong).output().unwrap();
        assert_eq!(output.status.code(), USAGE, "{wrong:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{wrong:?}");
    }
}

#[test]
fn schemas_and_completions_are_printed() {
    for what in ["ecs", "ocsf", "config"] {
        let output = trapline().args(["schema", what]).output().unwrap();
        assert_eq!(output.status.code(), DONE, "{}", text(&output.stderr));
        let schema = json(&output);
        assert!(schema["$schema"].is_string(), "{what}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let output = trapline().args(["completions", shell]).output().unwrap();
        assert!(text(&output.stdout).contains("send-test"), "{shell}");
    }
}

#[test]
fn a_second_instance_ends_with_exit_code_3_and_names_the_first() {
    let trap = Trap::start(PLAIN);
    let second = trap.trapline(&["run"]);
    assert_eq!(second.status.code(), HELD);
    let said = text(&second.stderr);
    assert!(said.contains(&trap.pid().to_string()), "{said}");
    assert_eq!(trap.trapline(&["status"]).status.code(), DONE);
}

#[test]
fn commands_that_need_an_instance_say_that_none_runs() {
    let trap = Trap::idle(PLAIN);
    for command in [
        &["status"][..],
        &["send-test", "archive"],
        &["events", "--follow"],
        &["reload"],
    ] {
        let output = trap.trapline(command);
        assert_eq!(output.status.code(), FAILED, "{command:?}");
        let said = text(&output.stderr);
        assert!(said.contains("no instance is running"), "{command:?}: {said}");
        assert!(said.contains("hint: "), "{command:?}: {said}");
    }
}

#[test]
fn an_instance_that_is_stopped_is_said_so_by_every_command() {
    let trap = Trap::start(PLAIN);
    trap.signal("STOP");
    let commands = [
        &["status"][..],
        &["events"],
        &["events", "--follow"],
        &["reload"],
        &["send-test", "archive"],
        &["journal", "verify"],
    ];
    let asked = commands.map(|arguments| {
        let mut command = trap.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    });
    for mut command in asked {
        let ended = eventually("the command gives up", || command.try_wait().unwrap());
        let mut said = String::new();
        command.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(ended.code(), FAILED, "{said}");
        assert!(said.contains(&format!("process {}", trap.pid())), "{said}");
        assert!(
            said.contains("hangs or is stopped") && said.contains("hint: "),
            "{said}"
        );
    }
    trap.signal("CONT");
    assert_eq!(trap.trapline(&["status"]).status.code(), DONE);
}

#[test]
fn sigterm_ends_with_exit_code_0_and_frees_port_and_socket() {
    let mut trap = Trap::start(PLAIN);
    let address = trap.address("door");
    let mut held = TcpStream::connect(address).unwrap();
    held.set_read_timeout(Some(PATIENCE)).unwrap();
    held.read_exact(&mut [0; 4]).unwrap();
    trap.signal("TERM");
    assert_eq!(trap.ended().code(), DONE, "{}", trap.log());
    assert!(TcpStream::connect(address).is_err());
    assert!(!trap.path("state/control.sock").exists());
    let connects = trap.events(&["--action", "decoy-connect"]);
    assert_eq!(connects.len(), 1, "the held session was recorded");
}

#[test]
fn a_log_that_cannot_be_written_takes_nothing_down() {
    let mut trap = Trap::idle(PLAIN);
    std::os::unix::fs::symlink("/dev/full", trap.path("stderr.log")).unwrap();
    trap.launch();
    touch(trap.address("door"));
    trap.configure("broken");
    assert_eq!(trap.trapline(&["reload"]).status.code(), CONFIG);
    trap.configure(PLAIN);
    eventually("the touch is recorded", || {
        let connects = trap.events(&["--action", "decoy-connect"]);
        (connects.len() == 1).then_some(())
    });
    trap.signal("TERM");
    assert_eq!(trap.ended().code(), DONE);
}

#[test]
fn no_core_is_ever_written() {
    let trap = Trap::start(PLAIN);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", trap.pid())).unwrap();
    let core: Vec<_> = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap()
        .split_whitespace()
        .collect();
    assert_eq!(core[4..6], ["0", "0"]);
}

#[test]
fn state_and_socket_are_for_their_owner_alone() {
    let trap = Trap::start(PLAIN);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&trap.path("state")), 0o700);
    for file in ["control.sock", "journal.db", "site.key"] {
        assert_eq!(mode(&trap.path("state").join(file)) & 0o077, 0, "{file}");
    }
}

#[test]
fn the_control_socket_survives_garbage_and_silence() {
    let trap = Trap::start(PLAIN);
    let socket = trap.path("state/control.sock");
    let silent = UnixStream::connect(&socket).unwrap();
    let mut garbage = UnixStream::connect(&socket).unwrap();
    garbage.write_all(b"{\"no_such\":\x1b[2J}\n").unwrap();
    let mut said = String::new();
    garbage.read_to_string(&mut said).unwrap();
    assert!(said.contains("refused") && !said.contains('\x1b'), "{said}");
    let mut endless = UnixStream::connect(&socket).unwrap();
    let _ = endless.write_all(&vec![b'a'; 2 << 20]);
    assert_eq!(trap.trapline(&["status"]).status.code(), DONE);
    drop(silent);
}

#[test]
fn without_a_configuration_the_embedded_one_keeps_its_state_in_the_users_folder() {
    let folder = tempfile::tempdir().unwrap();
    let status = trapline()
        .arg("status")
        .env("XDG_STATE_HOME", folder.path())
        .output()
        .unwrap();
    assert_eq!(status.status.code(), FAILED);
    let said = text(&status.stderr);
    assert!(
        said.contains(folder.path().join("trapline").to_str().unwrap()),
        "{said}"
    );
}
