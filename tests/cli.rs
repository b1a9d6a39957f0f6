//! The program through its front door: commands, exit codes, the control socket, reload and shutdown.
#![expect(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

mod harness;

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
fn five_mistakes_are_five_errors_with_their_places_and_nothing_is_bound() {
    let trap = Trap::idle(
        r#"
[journal]
path = "state/journal.db"
durabilty = "full"

[decoys.door]
service = "shs"
listen = ["127.0.0.1:99999"]

[sinks.archive]
type = "file"
inputs = ["decoys", "dekoys"]
path = "events.jsonl"

[transforms.proof]
type = "filter"
inputs = ["decoys"]
when = 'honeyport.touch.levl == "proof"'
"#,
    );
    for command in [&["run"][..], &["check"]] {
        let output = trap.trapline(command);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), CONFIG, "{said}");
        for place in [
            "trapline.toml:4:1",
            "trapline.toml:7:",
            "trapline.toml:8:",
            "trapline.toml:12:",
            "trapline.toml:18:",
        ] {
            assert!(said.contains(place), "{place} in {said}");
        }
        for hint in ["`durability`", "`ssh`", "`decoys`", "`honeyport.touch.level`"] {
            assert!(said.contains(&format!("did you mean {hint}")), "{hint} in {said}");
        }
        assert!(!trap.path("state").exists(), "{command:?} made the state folder");
    }
}

/// Every reason of a JSON document on standard output.
fn reasons(output: &std::process::Output, list: &str) -> Vec<serde_json::Value> {
    let said = json(output);
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
    said[list].as_array().unwrap_or_else(|| panic!("{said}")).clone()
}

const MISTAKES: &str = r#"
[journal]
path = "state/journal.db"
durabilty = "full"

[limits]
sessions_per_source = 300
sessions = 200
idle = "0s"
"#;

#[test]
fn with_json_a_failure_is_one_document_with_the_place_of_each_mistake() {
    let trap = Trap::start(PLAIN);
    trap.configure(MISTAKES);
    for command in ["check", "run", "reload"] {
        let output = trap.trapline(&[command, "--json"]);
        assert_eq!(output.status.code(), CONFIG, "{command}");
        let errors = reasons(&output, "errors");
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert!(errors[0]["file"].as_str().unwrap().ends_with("trapline.toml"));
        assert_eq!(
            (errors[0]["line"].as_u64(), errors[0]["column"].as_u64()),
            (Some(4), Some(1))
        );
        assert!(
            errors[0]["message"]
                .as_str()
                .unwrap()
                .contains("unknown key `durabilty`")
        );
        assert_eq!(errors[0]["hint"], "did you mean `durability`?");
        assert_eq!(errors[1]["line"], 9);
        let warnings = reasons(&output, "warnings");
        assert_eq!(
            (warnings.len(), warnings[0]["line"].as_u64()),
            (1, Some(7)),
            "{warnings:?}"
        );
    }
}

#[test]
fn with_json_other_failures_are_a_document_too() {
    let trap = Trap::idle(PLAIN);
    std::fs::remove_file(trap.config()).unwrap();
    let output = trap.trapline(&["check", "--json"]);
    assert_eq!(output.status.code(), CONFIG);
    let errors = reasons(&output, "errors");
    assert!(
        errors[0]["file"].as_str().unwrap().ends_with("trapline.toml"),
        "{errors:?}"
    );
    trap.configure(PLAIN);
    let output = trap.trapline(&["status", "--json"]);
    assert_eq!(output.status.code(), FAILED);
    let errors = reasons(&output, "errors");
    assert!(
        errors[0]["hint"].as_str().unwrap().contains("trapline run"),
        "{errors:?}"
    );
    let output = trap.trapline(&["send-test", "--json"]);
    assert_eq!(output.status.code(), USAGE);
    assert!(
        reasons(&output, "errors")[0]["message"]
            .as_str()
            .unwrap()
            .contains("required")
    );
    let output = trap.trapline(&["journal", "verify", "--json"]);
    assert_eq!(
        (output.status.code(), json(&output)["entries"].as_u64()),
        (DONE, Some(0))
    );
}

#[test]
fn check_tells_a_port_in_use_as_a_warning_and_a_good_configuration_is_exit_code_0() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = PLAIN.replace("127.0.0.1:0", &taken.local_addr().unwrap().to_string());
    let output = Trap::idle(&config).trapline(&["check"]);
    assert_eq!(output.status.code(), DONE, "{}", text(&output.stderr));
    assert!(
        text(&output.stderr).contains("is taken by another process"),
        "{}",
        text(&output.stderr)
    );
    let output = Trap::idle(PLAIN).trapline(&["check", "--connect"]);
    assert_eq!(output.status.code(), DONE, "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("archive"), "{}", text(&output.stdout));
}

#[test]
fn check_names_the_place_of_files_and_values_with_which_a_sink_can_never_work() {
    let sinks = r#"
[sinks.far]
type = "splunk_hec"
inputs = ["*"]
endpoint = "https://localhost:1"
token = "${TOKEN}"
tls.ca = "no-such.pem"

[sinks.log]
type = "syslog"
inputs = ["*"]
transport = "tls"
address = "localhost:1"
tls = { cert = "trapline.toml", key = "trapline.toml" }

[sinks.small]
type = "syslog"
inputs = ["*"]
transport = "udp"
address = "127.0.0.1:1"
message_bytes_max = 480
"#;
    let trap = Trap::idle(&format!("{PLAIN}{sinks}"));
    let check = |token: &str| trap.command(&["check", "--json"]).env("TOKEN", token).output().unwrap();
    let output = check("fine");
    assert_eq!(output.status.code(), CONFIG, "{}", text(&output.stdout));
    let places: Vec<_> = reasons(&output, "errors")
        .iter()
        .map(|error| (error["line"].as_u64().unwrap(), error["column"].as_u64().unwrap()))
        .collect();
    assert_eq!(places, [(19, 10), (26, 16), (26, 39), (33, 21)]);
    let output = check("two\nlines");
    assert_eq!(output.status.code(), CONFIG);
    assert_eq!(reasons(&output, "errors")[0]["line"], 18);
    assert!(!text(&output.stdout).contains("lines"));
}

/// What only a look at the disk shows is told beside what is wrong in the text.
#[test]
fn check_tells_of_missing_files_beside_all_other_mistakes() {
    let sinks = r#"
[sinks.far]
type = "splunk_hec"
inputs = ["*"]
endpoint = "https://localhost:1"
token = "${TOKEN}"
tls.ca = "no-such.pem"
timeout = "never"

[sinks.lines]
type = "file"
inputs = ["*"]
path = "nowhere/events.jsonl"
"#;
    let trap = Trap::idle(&format!("{PLAIN}{sinks}"));
    let output = trap.command(&["check", "--json"]).env("TOKEN", "t").output().unwrap();
    assert_eq!(output.status.code(), CONFIG, "{}", text(&output.stdout));
    let told = |list| {
        let told = reasons(&output, list).into_iter();
        told.map(|one| one["line"].as_u64().unwrap_or_default())
            .collect::<Vec<_>>()
    };
    assert_eq!(told("errors"), [19, 20], "the certificate and the duration");
    assert_eq!(told("warnings"), [25], "the folder");
}

#[test]
fn check_reaches_sinks_of_a_first_start_and_does_not_call_a_failure_good() {
    let deep = PLAIN.replace("state/journal.db", "not/yet/there/journal.db");
    let trap = Trap::idle(&deep);
    let output = trap.trapline(&["check", "--connect"]);
    assert_eq!(output.status.code(), DONE, "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("configuration is good: 1 decoy, 0 transforms, 1 sink"));
    assert!(!trap.path("not").exists());
    trap.configure(&deep.replace("events.jsonl", "nowhere/events.jsonl"));
    let output = trap.trapline(&["check", "--connect"]);
    assert_eq!(output.status.code(), FAILED);
    assert!(!text(&output.stdout).contains("good"), "{}", text(&output.stdout));
    assert!(!trap.path("not").exists());
}

#[test]
fn check_warns_of_a_configuration_that_does_nothing() {
    let output = Trap::idle("state_dir = \"state\"").trapline(&["check"]);
    assert_eq!(output.status.code(), DONE);
    let said = text(&output.stderr);
    assert!(said.contains("no decoy") && said.contains("no enabled sink"), "{said}");
}

#[test]
fn check_does_not_warn_of_ports_that_our_own_instance_holds() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let trap = Trap::start(&PLAIN.replace("127.0.0.1:0", &free.to_string()));
    let output = trap.trapline(&["check"]);
    assert_eq!(output.status.code(), DONE);
    assert!(!text(&output.stderr).contains("is taken"), "{}", text(&output.stderr));
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
fn a_touch_is_an_event_that_status_events_and_the_sink_agree_on() {
    let trap = Trap::start(PLAIN);
    assert!(touch(trap.address("door")).starts_with(b"SSH-2.0-"));
    let hit = eventually("the hit is an event", || {
        trap.events(&["--action", "decoy-connect", "--decoy", "door", "--source", "127.0.0.1"])
            .pop()
    });
    assert_eq!(hit["honeyport.decoy.id"], "door");
    let line = eventually("the file sink has it", || {
        let written = std::fs::read_to_string(trap.path("state/events.jsonl")).unwrap_or_default();
        written
            .lines()
            .find(|line| line.contains(hit["id"].as_str().unwrap()))
            .map(str::to_owned)
    });
    assert!(line.contains("\"decoy-connect\""), "{line}");
    let sink = eventually("the sink has no lag", || {
        let status = trap.status();
        let sink = status["sinks"][0].clone();
        (sink["lag"] == 0).then_some(sink)
    });
    assert_eq!(
        (sink["name"].as_str(), sink["health"].as_str()),
        (Some("archive"), Some("ok"))
    );
    assert!(sink["delivered"].as_u64().unwrap() >= 1);
}

#[test]
fn events_are_filtered_by_every_option() {
    let trap = Trap::start(PLAIN);
    let address = trap.address("door");
    touch(address);
    eventually("the hit is an event", || {
        trap.events(&["--action", "decoy-connect"]).pop()
    });
    let port = address.port().to_string();
    let hit = trap.events(&["--action", "decoy-connect"]).pop().unwrap();
    let incident = hit["honeyport.incident.id"].as_str().unwrap();
    for matching in [
        &["--since", "1h"][..],
        &["--source", "127.0.0.0/8"],
        &["--port", &port],
        &["--level", hit["honeyport.touch.level"].as_str().unwrap()],
        &["--incident", incident],
        &["--limit", "0"],
    ] {
        assert!(trap.events(matching).contains(&hit), "{matching:?}");
    }
    for other in [
        &["--until", "1h"][..],
        &["--source", "10.0.0.0/8"],
        &["--port", "1"],
        &["--decoy", "nobody"],
        &["--user", "nobody"],
        &["--level", "proof"],
    ] {
        assert!(!trap.events(other).contains(&hit), "{other:?}");
    }
    assert_eq!(trap.events(&["--limit", "1"]).len(), 1);
    let wrong = trap.trapline(&["events", "--action", "decoy-conect"]);
    assert_eq!(wrong.status.code(), USAGE);
    assert!(
        text(&wrong.stderr).contains("did you mean `decoy-connect`"),
        "{}",
        text(&wrong.stderr)
    );
}

#[test]
fn every_format_of_events_is_one_line_an_event() {
    let trap = Trap::start(PLAIN);
    touch(trap.address("door"));
    eventually("the hit is an event", || {
        trap.events(&["--action", "decoy-connect"]).pop()
    });
    for (format, mark) in [
        ("ecs", "\"@timestamp\""),
        ("ocsf", "\"class_uid\":4001"),
        ("cef", "CEF:0|"),
        ("leef", "LEEF:2.0|"),
        ("text", "127.0.0.1"),
        ("table", "door:"),
    ] {
        let output = trap.trapline(&["events", "--action", "decoy-connect", "--format", format]);
        let said = text(&output.stdout);
        assert!(said.contains(mark), "{format}: {said}");
        let heads = usize::from(format == "table");
        assert_eq!(said.lines().count(), 1 + heads, "{format}: {said}");
    }
}

#[test]
fn events_are_read_from_the_file_when_nothing_runs() {
    let mut trap = Trap::start(PLAIN);
    touch(trap.address("door"));
    eventually("the hit is an event", || {
        trap.events(&["--action", "decoy-connect"]).pop()
    });
    trap.signal("TERM");
    assert_eq!(trap.ended().code(), DONE);
    let actions: Vec<_> = trap
        .events(&["--limit", "0"])
        .iter()
        .map(|event| event["action"].clone())
        .collect();
    for action in ["sensor-started", "listener-started", "decoy-connect", "sensor-stopped"] {
        assert!(actions.iter().any(|found| found == action), "{action} in {actions:?}");
    }
}

#[test]
fn a_pager_that_reads_the_file_keeps_no_start_out() {
    let mut trap = Trap::start(PLAIN);
    (0..100).for_each(|_| drop(touch(trap.address("door"))));
    eventually("the hits are events", || {
        Some(trap.events(&["--action", "decoy-connect", "--limit", "0"])).filter(|hits| hits.len() == 100)
    });
    trap.signal("TERM");
    assert_eq!(trap.ended().code(), DONE);
    // More than a pipe holds, and nobody takes more than the first byte of it.
    let mut pager = trap
        .command(&["events", "--limit", "0", "--format", "ecs"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut printed = pager.stdout.take().unwrap();
    let mut text = vec![0];
    printed.read_exact(&mut text).unwrap();
    trap.launch();
    touch(trap.address("door"));
    printed.read_to_end(&mut text).unwrap();
    assert!(pager.wait().unwrap().success());
    assert!(text.len() > 65536, "{} bytes fit into a pipe", text.len());
    assert!(lines(&text).len() >= 100);
}

/// What the journal knows of today's sources becomes yesterday's, as if the night had passed meanwhile.
fn let_a_night_pass(journal: &Path) {
    let file = rusqlite::Connection::open(journal).unwrap();
    let name = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
    let select = "SELECT key FROM state WHERE key LIKE 'incidents/%'";
    let key = file.query_row(select, [], name).unwrap();
    let parts: Vec<_> = key.split('/').collect();
    let [prefix, print, day, row] = parts[..] else {
        panic!("`{key}` is laid out otherwise");
    };
    let before = format!("{prefix}/{print}/{}/{row}", day.parse::<i64>().unwrap() - 1);
    file.execute("UPDATE state SET key = ?1 WHERE key = ?2", (before, key))
        .unwrap();
}

#[test]
fn killed_in_the_night_it_still_names_the_incident_of_yesterday() {
    let previous = |hit: &serde_json::Value| hit.get("honeyport.incident.previous_id").is_some();
    let mut trap = Trap::start(PLAIN);
    touch(trap.address("door"));
    let first = eventually("the hit is an event", || {
        trap.events(&["--action", "decoy-connect"]).pop()
    });
    assert!(!previous(&first), "{first:#}");
    trap.signal("KILL");
    trap.ended();
    let_a_night_pass(&trap.path("state/journal.db"));
    trap.launch();
    touch(trap.address("door"));
    let connects = eventually("the second touch is an event", || {
        Some(trap.events(&["--action", "decoy-connect"])).filter(|connects| connects.len() == 2)
    });
    assert_eq!(connects.iter().filter(|hit| previous(hit)).count(), 1, "{connects:#?}");
}

/// The sum of a whole number over events.
fn sum(events: &[serde_json::Value], field: &str) -> u64 {
    events.iter().filter_map(|event| event[field].as_u64()).sum()
}

#[test]
fn each_datagram_of_a_flood_is_in_the_journal_or_in_the_count_of_what_the_kernel_dropped() {
    const FLOOD: u64 = 20_000;
    let decoy = "[decoys.well]\nservice = \"udp\"\npersonality = \"snmp-silent\"\nlisten = [\"127.0.0.1:0\"]\n";
    let mut trap = Trap::start(&format!("{PLAIN}\n{decoy}"));
    let well = trap.address("well");
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    // Stopped, it reads nothing: the socket fills up and the rest is dropped.
    trap.signal("STOP");
    for _ in 0..FLOOD {
        socket.send_to(b"x", well).unwrap();
    }
    trap.signal("CONT");
    trap.signal("TERM");
    trap.ended();
    let gaps = trap.events(&["--action", "journal-gap", "--limit", "0"]);
    let probes = trap.events(&["--action", "decoy-udp-probe", "--limit", "0"]);
    let dropped = sum(&gaps, "honeyport.finding.hits");
    assert!(dropped > 1000, "{gaps:#?}");
    assert_eq!(sum(&probes, "source.packets") + dropped, FLOOD);
    assert!(gaps.len() <= 2, "at most one a minute: {gaps:#?}");
    assert!(gaps.iter().all(|gap| gap["honeyport.decoy.id"] == "well"), "{gaps:#?}");
}

#[test]
fn a_journal_is_read_whatever_else_is_wrong_and_whatever_secret_is_missing() {
    let mut trap = Trap::start(PLAIN);
    touch(trap.address("door"));
    eventually("the hit is an event", || {
        trap.events(&["--action", "decoy-connect"]).pop()
    });
    trap.signal("TERM");
    assert_eq!(trap.ended().code(), DONE);
    trap.configure(&format!(
        "{PLAIN}\n[sinks.far]\ntype = \"splunk_hec\"\ninputs = [\"*\"]\nendpoint = \"https://h:1\"\ntoken = \"${{NO_SUCH}}\"\n"
    ));
    assert_eq!(trap.trapline(&["check"]).status.code(), CONFIG);
    assert_eq!(trap.events(&["--action", "decoy-connect"]).len(), 1);
    assert_eq!(trap.trapline(&["journal", "verify"]).status.code(), DONE);
    trap.configure(&PLAIN.replace("path = \"state/journal.db\"", "path = 7"));
    assert_eq!(trap.trapline(&["journal", "verify"]).status.code(), CONFIG);
}

#[test]
fn the_journal_is_verified_by_the_instance_and_from_the_file() {
    let mut trap = Trap::start(PLAIN);
    let live = trap.trapline(&["journal", "verify", "--json"]);
    assert_eq!(live.status.code(), DONE, "{}", text(&live.stderr));
    assert!(json(&live)["entries"].as_u64().unwrap() >= 1);
    trap.signal("TERM");
    assert_eq!(trap.ended().code(), DONE);
    let closed = trap.trapline(&["journal", "verify", "--json"]);
    assert_eq!(closed.status.code(), DONE, "{}", text(&closed.stderr));
    assert!(json(&closed)["entries"].as_u64() > json(&live)["entries"].as_u64());
}

#[test]
fn events_follow_shows_a_hit_as_it_comes() {
    let trap = Trap::start(PLAIN);
    let mut follower = trap
        .command(&["events", "--follow", "--json", "--action", "decoy-connect"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    touch(trap.address("door"));
    let line = lines.next().unwrap().unwrap();
    assert!(line.contains("\"honeyport.decoy.id\":\"door\""), "{line}");
    follower.kill().unwrap();
    follower.wait().unwrap();
}

#[test]
fn events_follow_says_when_the_instance_ends() {
    let mut trap = Trap::start(PLAIN);
    let mut follower = trap
        .command(&["events", "--follow", "--action", "decoy-connect"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    touch(trap.address("door"));
    lines.next().unwrap().unwrap();
    trap.signal("TERM");
    trap.ended();
    assert_eq!(follower.wait().unwrap().code(), FAILED);
    let mut said = String::new();
    follower.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("the running instance ended"), "{said}");
}

#[test]
fn a_reader_that_goes_away_ends_the_command_quietly() {
    let trap = Trap::start(PLAIN);
    let mut command = trap
        .command(&["events", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(command.stdout.take());
    assert_eq!(command.wait().unwrap().code(), DONE);
    let mut said = String::new();
    command.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "");
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

/// Needs the right to mount a small file system for the journal.
#[test]
fn on_a_full_disk_a_reload_of_sinks_is_refused_and_sigterm_ends() {
    let mut trap = Trap::idle(PLAIN);
    let state = trap.path("state");
    std::fs::create_dir(&state).unwrap();
    let Some(_disk) = SmallDisk::mount(&state) else {
        println!("SKIPPED: no right to mount a tmpfs; a reload on a full disk was not tried");
        return;
    };
    trap.launch();
    let mut filler = std::fs::File::create(state.join("filler")).unwrap();
    while filler.write_all(&[0; 4096]).is_ok() {}
    // Each touch is an event: the journal notices.
    let address = trap.address("door");
    eventually("the journal fails", || {
        touch(address);
        (trap.status()["journal"]["health"] != "ok").then_some(())
    });
    trap.configure(&format!(
        "{PLAIN}\n[sinks.late]\ntype = \"file\"\ninputs = [\"*\"]\npath = \"late.jsonl\"\n"
    ));
    let reload = trap.command(&["reload"]).output().unwrap();
    assert_ne!(reload.status.code(), DONE);
    let said = String::from_utf8_lossy(&reload.stderr);
    assert!(said.contains("the journal's disk fails"), "{said}");
    trap.signal("TERM");
    assert_eq!(trap.ended().code(), DONE);
}

/// A tmpfs of 4 MiB, unmounted at the end.
struct SmallDisk<'p>(&'p Path);

impl<'p> SmallDisk<'p> {
    fn mount(path: &'p Path) -> Option<Self> {
        let arguments = ["-t", "tmpfs", "-o", "size=4m", "tmpfs", path.to_str()?];
        let mounted = Command::new("mount").args(arguments).output();
        mounted
            .is_ok_and(|output| output.status.success())
            .then_some(Self(path))
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).output();
    }
}

/// The state folder is deleted while trapline runs: everything comes back, and the key is the one in memory.
#[test]
fn a_state_folder_that_is_removed_comes_back_with_socket_index_and_the_same_site_key() {
    let mut trap = Trap::start(PLAIN);
    let door = trap.address("door");
    touch(door);
    let key = std::fs::read(trap.path("state/site.key")).unwrap();
    std::fs::remove_dir_all(trap.path("state")).unwrap();
    let status = eventually("the instance can be asked again", || {
        let output = trap.trapline(&["status", "--json"]);
        (!output.stdout.is_empty()).then(|| json(&output))
    });
    let restored = || std::fs::read(trap.path("state/site.key")).ok();
    assert_eq!(eventually("the key is back", restored), key);
    eventually("the index is back", || exists(&trap.path("state/index.db")));
    let told = |part: &str, word: &str| {
        let status = trap.status();
        let faults = status["faults"].as_array().unwrap().clone();
        let said = |fault: &serde_json::Value| fault["part"] == part && fault["what"].as_str().unwrap().contains(word);
        faults.iter().any(said).then_some(())
    };
    eventually("status tells of the key", || told("site key", "written again"));
    eventually("status tells of the socket", || told("control socket", "made anew"));
    eventually("status tells of the journal", || told("journal", "was gone"));
    assert_ne!(status["health"], "ok");
    assert!(trap.trapline(&["reload"]).status.success());
    touch(door);
    eventually("events tell of it", || {
        let alarms = trap.events(&["--limit", "0", "--action", "host-alarm"]);
        (alarms.len() >= 2).then_some(())
    });
    trap.signal("KILL");
    trap.ended();
    trap.launch();
    assert_eq!(std::fs::read(trap.path("state/site.key")).unwrap(), key);
    assert!(about(&trap, "site key").is_none(), "{:#}", trap.status());
}

/// The fault about `part`, if there is one.
fn about(trap: &Trap, part: &str) -> Option<String> {
    let status = trap.status();
    let fault = status["faults"]
        .as_array()?
        .iter()
        .find(|fault| fault["part"] == part)?;
    Some(fault["what"].as_str()?.to_owned())
}

#[test]
fn a_site_key_that_was_made_beside_an_older_journal_is_told() {
    let mut trap = Trap::start(PLAIN);
    assert_eq!(about(&trap, "site key"), None, "a first start makes both");
    trap.signal("TERM");
    trap.ended();
    std::fs::remove_file(trap.path("state/site.key")).unwrap();
    trap.launch();
    let told = about(&trap, "site key").unwrap();
    assert!(told.contains("HMACs and incident ids do not match"), "{told}");
    assert!(trap.log().contains("a new one was made"), "{}", trap.log());
    trap.signal("TERM");
    trap.ended();
    trap.launch();
    assert_eq!(about(&trap, "site key"), None, "told once");
}

/// Forty contacts in the journal of an instance that has ended in order.
fn record_and_end(trap: &mut Trap) {
    let door = trap.address("door");
    (0..40).for_each(|_| drop(touch(door)));
    eventually("all is written", || {
        (trap.status()["journal"]["head"].as_u64()? > 40).then_some(())
    });
    trap.signal("TERM");
    trap.ended();
}

#[test]
fn after_a_salvage_status_is_degraded_counts_what_is_left_and_says_it_in_words() {
    let mut trap = Trap::start(PLAIN);
    record_and_end(&mut trap);
    let path = trap.path("state/journal.db");
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(path.metadata().unwrap().len() / 2).unwrap();
    trap.launch();
    assert_eq!(trap.status()["journal"]["health"], "degraded");
    let what = about(&trap, "journal").unwrap();
    assert!(what.starts_with("the journal was damaged"), "{what}");
    let held = trap.events(&["--limit", "0"]).len() as u64;
    let counted = trap.status()["journal"]["entries"].as_u64().unwrap();
    assert!(counted.abs_diff(held) <= 2, "{counted} are counted, {held} are there");
    let log = trap.log();
    assert!(!log.contains("Salvaged") && log.contains("carried over"), "{log}");
}

/// What stands in the state folder of the journal's own, byte by byte.
fn journal_files(trap: &Trap) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for file in std::fs::read_dir(trap.path("state")).unwrap() {
        let file = file.unwrap();
        let name = file.file_name().into_string().unwrap();
        // The lock is taken to read, and the log's index is made anew by whoever opens the file.
        if name.starts_with("journal.") && !name.ends_with(".lock") && !name.ends_with("-shm") {
            files.push((name, std::fs::read(file.path()).unwrap()));
        }
    }
    files.sort();
    files
}

#[test]
fn a_damaged_journal_is_told_by_whoever_reads_it_and_salvaged_by_its_owner_alone() {
    let mut trap = Trap::start(PLAIN);
    record_and_end(&mut trap);
    let path = trap.path("state/journal.db");
    let good = std::fs::read(&path).unwrap();
    let mut inverted = good.clone();
    let page = good.len() / 8192 / 2 * 8192;
    inverted[page..page + 4096].iter_mut().for_each(|byte| *byte = !*byte);
    for bad in [&b""[..], &good[..good.len() / 2], &inverted] {
        std::fs::write(&path, bad).unwrap();
        let before = journal_files(&trap);
        for _ in 0..2 {
            let verified = trap.trapline(&["journal", "verify", "--json"]);
            assert_eq!(verified.status.code(), FAILED, "{}", text(&verified.stdout));
            let fault = json(&verified)["fault"].to_string();
            assert!(fault.contains("is damaged"), "{fault}");
            let verified = trap.trapline(&["journal", "verify"]);
            assert_eq!(verified.status.code(), FAILED);
            assert!(!text(&verified.stdout).contains("sound"), "{}", text(&verified.stdout));
            let events = trap.trapline(&["events"]);
            assert_eq!(events.status.code(), FAILED);
            assert!(
                text(&events.stderr).contains("trapline run"),
                "{}",
                text(&events.stderr)
            );
        }
        assert!(journal_files(&trap) == before, "nobody but the owner changes the files");
    }
    trap.launch();
    let what = about(&trap, "journal").unwrap();
    assert!(what.starts_with("the journal was damaged"), "{what}");
    trap.signal("TERM");
    trap.ended();
    assert_eq!(trap.trapline(&["journal", "verify"]).status.code(), DONE);
}

#[test]
fn the_journal_that_a_kill_left_is_read_as_it_is_and_its_next_owner_tells_the_kill() {
    let mut trap = Trap::start(PLAIN);
    let door = trap.address("door");
    (0..5).for_each(|_| drop(touch(door)));
    eventually("all is written", || {
        (trap.events(&["--action", "decoy-connect"]).len() == 5).then_some(())
    });
    trap.signal("KILL");
    trap.ended();
    let before = journal_files(&trap);
    assert!(
        before
            .iter()
            .any(|(name, log)| name == "journal.db-wal" && !log.is_empty())
    );
    let verified = trap.trapline(&["journal", "verify", "--json"]);
    assert_eq!(verified.status.code(), DONE, "{}", text(&verified.stderr));
    assert!(json(&verified)["entries"].as_u64().unwrap() > 5);
    assert_eq!(trap.events(&["--action", "decoy-connect"]).len(), 5);
    assert!(journal_files(&trap) == before, "the log is left to the owner");
    trap.launch();
    assert_eq!(about(&trap, "journal"), None);
    assert!(trap.log().contains("had left without closing"), "{}", trap.log());
    trap.signal("TERM");
    trap.ended();
    let before = journal_files(&trap);
    assert_eq!(trap.events(&["--action", "decoy-connect"]).len(), 5);
    assert!(journal_files(&trap) == before, "no file is left behind");
}

/// Touches the door and gives the head once all is in the journal and in its index.
fn indexed_head(trap: &Trap) -> u64 {
    let door = trap.address("door");
    (0..10).for_each(|_| drop(touch(door)));
    eventually("all is indexed", || {
        let journal = trap.status()["journal"].clone();
        let head = journal["head"].as_u64()?;
        (trap.events(&["--action", "decoy-connect"]).len() >= 10 && journal["index_lag"] == 0).then_some(head)
    })
}

/// An instance is killed, its files are cut, and what its index had seen is told, once, in the words `said`.
fn is_told_after(cut: impl FnOnce(&Path), said: &str) {
    let mut trap = Trap::start(PLAIN);
    let head = indexed_head(&trap);
    trap.signal("KILL");
    trap.ended();
    cut(&trap.path("state"));
    let verified = trap.trapline(&["journal", "verify", "--json"]);
    assert_eq!(verified.status.code(), FAILED, "{}", text(&verified.stdout));
    assert!(!json(&verified)["fault"].is_null());
    assert_eq!(trap.trapline(&["events"]).status.code(), FAILED);
    trap.launch();
    let what = about(&trap, "journal").unwrap();
    assert!(what.contains(said), "{what}");
    let gaps = eventually("it stands in the journal", || {
        Some(trap.events(&["--action", "journal-gap"])).filter(|gaps| !gaps.is_empty())
    });
    assert_eq!(gaps.len(), 1);
    assert!(
        gaps[0]["honeyport.journal.sequence"].as_u64().unwrap() >= head,
        "no offset is given again: {gaps:?}"
    );
    assert_eq!(gaps[0]["honeyport.gap.last"], head - 1);
    assert!(trap.log().contains("entries that its index had seen"), "{}", trap.log());
    trap.signal("TERM");
    trap.ended();
    trap.launch();
    assert_eq!(about(&trap, "journal"), None, "told once");
    trap.signal("TERM");
    trap.ended();
    assert_eq!(trap.trapline(&["journal", "verify"]).status.code(), DONE);
}

#[test]
fn a_journal_that_is_gone_is_told_and_no_offset_is_given_again() {
    let remove = |state: &Path| {
        for name in ["journal.db", "journal.db-wal", "journal.db-shm"] {
            std::fs::remove_file(state.join(name)).unwrap();
        }
    };
    is_told_after(remove, "was gone: ");
}

#[test]
fn a_journal_whose_log_was_cut_is_told_and_no_offset_is_given_again() {
    let cut = |state: &Path| {
        let log = std::fs::OpenOptions::new()
            .write(true)
            .open(state.join("journal.db-wal"))
            .unwrap();
        log.set_len(32 + 3 * (24 + 8192)).unwrap();
    };
    is_told_after(cut, "was cut short: ");
}

#[test]
fn entries_that_are_gone_or_unreadable_are_counted_and_told_by_their_cause() {
    let mut trap = Trap::start(PLAIN);
    indexed_head(&trap);
    trap.signal("TERM");
    trap.ended();
    // The sink has not read them yet.
    let file = rusqlite::Connection::open(trap.path("state/journal.db")).unwrap();
    let damage = "UPDATE entries SET body = zeroblob(length(body)) WHERE offset = 3;
        DELETE FROM entries WHERE offset IN (5, 6); UPDATE cursors SET offset = 2";
    file.execute_batch(damage).unwrap();
    drop(file);
    trap.launch();
    let gaps = eventually("both stand in the journal", || {
        Some(trap.events(&["--action", "journal-gap"])).filter(|gaps| gaps.len() >= 2)
    });
    let of = |reason: &str| {
        let gap = gaps
            .iter()
            .find(|gap| gap["event.reason"].as_str().unwrap().starts_with(reason));
        let gap = gap.unwrap_or_else(|| panic!("no {reason}: {gaps:?}"));
        ["honeyport.gap.first", "honeyport.gap.last"].map(|field| gap[field].as_u64().unwrap())
    };
    assert_eq!((of("unreadable"), of("gone from the file")), ([3, 3], [5, 6]));
    let status = trap.status();
    assert_eq!(status["sinks"][0]["lost"], 3, "{status:#}");
    let what: Vec<_> = status["faults"].as_array().unwrap().iter().collect();
    assert!(
        what.len() == 2 && what.iter().all(|fault| fault["part"] == "journal"),
        "{status:#}"
    );
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

/// The newest event of an action, once there are `count` of them.
fn told(trap: &Trap, action: &str, count: usize) -> serde_json::Value {
    eventually("the journal tells of it", || {
        let mut events = trap.events(&["--action", action]);
        (events.len() == count).then(|| events.pop()).flatten()
    })
}

#[test]
fn a_good_reload_opens_and_closes_what_changed_and_nothing_else() {
    let trap = Trap::start(PLAIN);
    let door = trap.address("door");
    let mut held = TcpStream::connect(door).unwrap();
    held.set_read_timeout(Some(PATIENCE)).unwrap();
    held.read_exact(&mut [0; 4]).unwrap();
    trap.configure(&with_second_decoy());
    let output = trap.trapline(&["reload"]);
    assert_eq!(output.status.code(), DONE, "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("window"), "{}", text(&output.stdout));
    assert_eq!(told(&trap, "config-reloaded", 1)["event.reason"], "decoy window added");
    assert!(touch(trap.address("window")).starts_with(b"220"));
    assert_eq!(trap.address("door"), door, "the unchanged listener keeps its port");
    held.write_all(b"SSH-2.0-client\r\n").unwrap();
    assert!(held.read(&mut [0; 64]).unwrap() > 0, "the open session goes on");
    trap.configure(PLAIN);
    let window = trap.address("window");
    assert_eq!(trap.trapline(&["reload"]).status.code(), DONE);
    eventually("the removed decoy is closed", || {
        TcpStream::connect(window).is_err().then_some(())
    });
    assert_eq!(trap.trapline(&["reload"]).status.code(), DONE);
    assert_eq!(told(&trap, "config-reloaded", 3)["event.reason"], "nothing changed");
    assert!(trap.events(&["--action", "config-refused"]).is_empty());
}

#[test]
fn following_events_of_a_time_that_is_over_ends() {
    let trap = Trap::start(PLAIN);
    touch(trap.address("door"));
    let output = trap.trapline(&["events", "--follow", "--until", "1h"]);
    assert_eq!(output.status.code(), DONE, "{}", text(&output.stderr));
}

#[test]
fn a_check_tries_the_state_folder() {
    let trap = Trap::idle("state_dir = \"taken/state\"\n[journal]\npath = \"taken/j.db\"\n");
    assert_eq!(trap.trapline(&["check"]).status.code(), DONE);
    std::fs::write(trap.path("taken"), "").unwrap();
    let output = trap.trapline(&["check"]);
    assert_eq!(output.status.code(), FAILED, "{}", text(&output.stderr));
    for key in ["state_dir", "journal.path"] {
        assert!(
            text(&output.stderr).contains(&format!("{key}: `")),
            "{}",
            text(&output.stderr)
        );
    }
    assert!(
        text(&output.stderr).contains("is not a folder"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn a_text_that_hides_where_the_instance_is_is_told_as_such() {
    let trap = Trap::idle(PLAIN);
    for (broken, mistake) in [("garbage[", "1"), ("stat_dir = \"/tmp\"", "stat_dir")] {
        trap.configure(&format!(
            "{broken}\n[sinks.out]\ntype = \"console\"\ninputs = [\"*\"]\n"
        ));
        for command in [&["status"][..], &["reload"], &["events"], &["send-test", "out"]] {
            let output = trap.trapline(command);
            assert_eq!(output.status.code(), CONFIG, "{command:?}: {}", text(&output.stderr));
            assert!(text(&output.stderr).contains(mistake), "{}", text(&output.stderr));
        }
    }
}

#[test]
fn a_reload_of_limits_drops_no_session_and_reopens_no_listener() {
    let trap = Trap::start(PLAIN);
    let door = trap.address("door");
    let mut held = TcpStream::connect(door).unwrap();
    held.set_read_timeout(Some(PATIENCE)).unwrap();
    held.read_exact(&mut [0; 4]).unwrap();
    trap.configure(&format!("{PLAIN}\n[limits]\nsessions = 321\n"));
    assert_eq!(trap.trapline(&["reload"]).status.code(), DONE);
    assert_eq!(told(&trap, "config-reloaded", 1)["event.reason"], "decoy door changed");
    assert_eq!(trap.address("door"), door);
    // Longer than the grace that sessions have at a stop.
    std::thread::park_timeout(std::time::Duration::from_secs(4));
    held.write_all(b"SSH-2.0-client\r\n").unwrap();
    assert!(held.read(&mut [0; 64]).unwrap() > 0, "the open session goes on");
    assert!(trap.events(&["--action", "listener-stopped"]).is_empty());
}

#[test]
fn a_broken_reload_changes_nothing_and_says_why() {
    let trap = Trap::start(PLAIN);
    let door = trap.address("door");
    let broken = with_second_decoy().replace("\"ftp\"", "\"f\\u001bt\"");
    trap.configure(&format!("{broken}servce = \"ftp\"\n"));
    let output = trap.trapline(&["reload"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), CONFIG, "{said}");
    assert!(
        said.contains("trapline.toml:15:") && said.contains("trapline.toml:17:1:"),
        "{said}"
    );
    assert!(said.contains("did you mean `service`"), "{said}");
    let refused = told(&trap, "config-refused", 1);
    assert_eq!(refused["honeyport.config.mistakes"], 2, "{refused:#}");
    let first = refused["error.message"].as_str().unwrap();
    assert!(first.contains("trapline.toml:15:"), "{first}");
    assert!(!first.chars().any(char::is_control), "{first:?}");
    assert!(trap.events(&["--action", "config-reloaded"]).is_empty());
    assert_eq!(trap.address("door"), door);
    assert_eq!(trap.status()["listeners"].as_array().unwrap().len(), 1);
    assert!(touch(door).starts_with(b"SSH-2.0-"));
}

#[test]
fn a_hangup_reloads_and_a_broken_file_is_logged() {
    let trap = Trap::start(PLAIN);
    trap.configure(&with_second_decoy());
    trap.signal("HUP");
    eventually("the second decoy listens", || {
        let status = trap.status();
        status["listeners"]
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["decoy"] == "window")
            .cloned()
    });
    let door = trap.address("door");
    trap.configure("[decoys.door]\nservice = 7\n");
    trap.signal("HUP");
    eventually("the refusal is logged", || {
        trap.log().contains("trapline.toml:2:").then_some(())
    });
    assert!(touch(door).starts_with(b"SSH-2.0-"));
}

#[test]
fn a_reload_refuses_what_only_a_restart_can_change() {
    let trap = Trap::start(PLAIN);
    trap.configure(&PLAIN.replace("state/journal.db", "elsewhere/journal.db"));
    trap.signal("HUP");
    eventually("the refusal is logged", || trap.log().contains("restart").then_some(()));
    // With the path as it was, the instance is found again.
    trap.configure(PLAIN);
    let refused = told(&trap, "config-refused", 1);
    let logged = trap.log().matches("takes a restart").count();
    assert_eq!(refused["honeyport.config.mistakes"], logged, "{refused:#}");
    assert!(refused["error.message"].as_str().unwrap().contains("takes a restart"));
    assert!(!trap.path("elsewhere").exists());
}

#[test]
fn a_port_in_use_degrades_that_decoy_alone() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let config = with_second_decoy().replacen("127.0.0.1:0", &address.to_string(), 1);
    let trap = Trap::start(&config);
    assert!(touch(trap.address("window")).starts_with(b"220"));
    let status = trap.status();
    assert_eq!(status["health"], "degraded");
    let fault = &status["faults"][0];
    assert_eq!(fault["part"], "decoy door");
    assert!(
        fault["since"].is_string() && !fault["hint"].as_str().unwrap().is_empty(),
        "{fault}"
    );
    let output = trap.trapline(&["status"]);
    assert_eq!(output.status.code(), DONE, "degraded is not failing");
    assert!(
        text(&output.stdout).contains("is taken by another process"),
        "{}",
        text(&output.stdout)
    );
}

#[test]
fn send_test_goes_through_one_sink_and_is_not_recorded() {
    let trap = Trap::start(PLAIN);
    let before = trap.events(&["--limit", "0"]).len();
    let output = trap.trapline(&["send-test", "archive"]);
    assert_eq!(output.status.code(), DONE, "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("archive"), "{}", text(&output.stdout));
    eventually("the file has the test event", || {
        exists(&trap.path("state/events.jsonl"))
    });
    let written = std::fs::read_to_string(trap.path("state/events.jsonl")).unwrap();
    assert!(written.contains("test"), "{written}");
    assert_eq!(trap.events(&["--limit", "0"]).len(), before);
    let unknown = trap.trapline(&["send-test", "archiv"]);
    assert_eq!(unknown.status.code(), USAGE);
    assert!(text(&unknown.stderr).contains("`archiv`"), "{}", text(&unknown.stderr));
}

#[test]
fn status_counts_the_dead_letters_of_a_sink_and_tells_the_age_of_the_oldest() {
    let mut trap = Trap::start(PLAIN);
    assert_eq!(trap.status()["sinks"][0]["dead_letters"], 0);
    trap.signal("TERM");
    trap.ended();
    let file = rusqlite::Connection::open(trap.path("state/journal.db")).unwrap();
    let insert = "INSERT INTO dead_letters (sink, offset, at, reason, body)
        VALUES (?1, ?2, (unixepoch() - ?3) * 1000000, '400: no', 'x')";
    for (sink, offset, age) in [("archive", 2, 7200), ("archive", 3, 60), ("removed", 1, 9999)] {
        file.execute(insert, (sink, offset, age)).unwrap();
    }
    drop(file);
    trap.launch();
    let sink = trap.status()["sinks"][0].clone();
    assert_eq!(sink["dead_letters"], 2, "{sink:#}");
    assert!(sink["oldest_dead_letter_secs"].as_u64().unwrap() >= 7199, "{sink:#}");
    let shown = text(&trap.trapline(&["status"]).stdout);
    assert!(shown.contains("2, oldest 2h"), "{shown}");
}

#[test]
fn a_message_of_syslog_names_the_observer_as_its_host() {
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    receiver.set_read_timeout(Some(PATIENCE)).unwrap();
    let sink = format!(
        "[sinks.log]\ntype = \"syslog\"\ninputs = [\"*\"]\ntransport = \"udp\"\naddress = \"{}\"\n",
        receiver.local_addr().unwrap()
    );
    let trap = Trap::start(&format!("[observer]\nname = \"lure-dmz-01\"\n{PLAIN}\n{sink}"));
    touch(trap.address("door"));
    let mut bytes = [0; 9000];
    let len = receiver.recv(&mut bytes).unwrap();
    let message = String::from_utf8_lossy(&bytes[..len]);
    assert_eq!(message.split(' ').nth(2), Some("lure-dmz-01"), "{message}");
}

#[test]
fn status_shows_a_sink_that_cannot_deliver_with_what_to_do() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = format!(
        "{PLAIN}\n[sinks.far]\ntype = \"syslog\"\ninputs = [\"*\"]\ntransport = \"tcp\"\naddress = \"{nobody}\"\n"
    );
    let trap = Trap::start(&config);
    touch(trap.address("door"));
    let fault = eventually("the sink is shown as not delivering", || {
        let status = trap.status();
        status["faults"]
            .as_array()
            .unwrap()
            .iter()
            .find(|fault| fault["part"] == "sink far")
            .cloned()
    });
    assert!(
        fault["since"].is_string() && !fault["hint"].as_str().unwrap().is_empty(),
        "{fault}"
    );
    let archive = eventually("the other sink is not held up", || {
        let status = trap.status();
        let sinks = status["sinks"].as_array().unwrap().clone();
        sinks
            .into_iter()
            .find(|sink| sink["name"] == "archive" && sink["lag"] == 0)
    });
    assert_eq!(archive["health"], "ok");
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
