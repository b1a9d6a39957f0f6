//! `check`: what it tells of a configuration, and how.

use super::*;

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
fn a_folder_in_place_of_the_journal_is_told_before_and_left_alone() {
    let trap = Trap::idle("[journal]\npath = \"precious\"\n");
    std::fs::create_dir_all(trap.path("precious/sub")).unwrap();
    for command in ["check", "run"] {
        let output = trap.trapline(&[command]);
        assert_eq!(output.status.code(), FAILED, "{command}");
        let said = text(&output.stderr);
        assert!(
            said.contains("journal.path") && said.contains("is not a file"),
            "{said}"
        );
    }
    assert!(trap.path("precious/sub").is_dir());
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
fn a_configuration_comes_by_a_pipe_as_well() {
    let mut check = trapline()
        .args(["check", "--config", "/dev/stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mistaken = PLAIN.replace("ssh", "shs");
    check.stdin.take().unwrap().write_all(mistaken.as_bytes()).unwrap();
    let output = check.wait_with_output().unwrap();
    assert_eq!(output.status.code(), CONFIG);
    let said = text(&output.stderr);
    assert!(said.contains("/dev/stdin:6:"), "{said}");
}
