//! `check --canary`: one marked event through everything, told hop by hop.

use super::*;

/// A decoy, a filter, and sinks by the given tables.
fn config(sinks: &str) -> String {
    format!(
        r#"
[journal]
path = "state/journal.db"

[decoys.door]
service = "ssh"
listen = ["127.0.0.1:0"]

[transforms.open]
type = "filter"
inputs = ["decoys"]
when = 'honeyport.touch.level == "proof" || event.action == "canary"'

[transforms.shut]
type = "filter"
inputs = ["decoys"]
when = 'honeyport.touch.level == "proof"'

[transforms.calm]
type = "throttle"
inputs = ["open"]
by = ["source.ip"]
limit = 1
window = "1h"

{sinks}
"#
    )
}

fn file(name: &str, input: &str, canary: bool) -> String {
    format!("[sinks.{name}]\ntype = \"file\"\ninputs = [\"{input}\"]\npath = \"{name}.jsonl\"\ncanary = {canary}\n")
}

fn syslog(name: &str, input: &str, address: std::net::SocketAddr, transport: &str) -> String {
    format!(
        "[sinks.{name}]\ntype = \"syslog\"\ninputs = [\"{input}\"]\ntransport = \"{transport}\"\naddress = \"{address}\"\ncanary = true\n"
    )
}

fn canary(trap: &Trap, timeout: &str) -> (Option<i32>, serde_json::Value) {
    let output = trap.trapline(&["check", "--canary", "--timeout", timeout, "--json"]);
    (output.status.code(), json(&output)["canary"].clone())
}

fn hop(report: &serde_json::Value, name: &str) -> serde_json::Value {
    let hops = report["hops"].as_array().unwrap();
    let found = hops.iter().find(|hop| hop["name"] == name);
    found.unwrap_or_else(|| panic!("no hop {name} in {report:#}")).clone()
}

fn written(trap: &Trap, name: &str) -> Vec<serde_json::Value> {
    lines(&std::fs::read(trap.path(&format!("state/{name}.jsonl"))).unwrap_or_default())
}

#[test]
fn a_canary_goes_through_filter_and_window_to_file_and_syslog_and_says_how_long_each_hop_took() {
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    receiver.set_read_timeout(Some(PATIENCE)).unwrap();
    let log = syslog("log", "open", receiver.local_addr().unwrap(), "udp");
    let trap = Trap::start(&config(&(file("archive", "calm", true) + &log)));
    for _ in 0..3 {
        let (code, report) = canary(&trap, "60s");
        assert_eq!(code, DONE, "{report:#}");
        assert_eq!(report["ok"], true);
        for name in ["durable", "indexed", "calm"] {
            let hop = hop(&report, name);
            assert_eq!(hop["state"], "passed", "{hop}");
            assert!(hop["micros"].as_u64().is_some(), "{hop}");
        }
        assert_eq!(hop(&report, "recorded")["state"], "passed");
        assert_eq!(hop(&report, "open")["state"], "passed");
        let archive = hop(&report, "archive");
        assert_eq!(archive["state"], "delivered", "{archive}");
        assert!(archive["queued_micros"].as_u64().unwrap() <= archive["micros"].as_u64().unwrap());
        assert_eq!(hop(&report, "log")["state"], "sent", "over UDP nobody confirms it");
    }
    // A window that lets one through in an hour has let all of them through, and counted none.
    let events = written(&trap, "archive");
    assert_eq!(events.len(), 3, "{events:#?}");
    for event in &events {
        assert_eq!(event["event"]["action"], "canary");
        assert_eq!(event["event"]["kind"], "event", "it is no alert");
        assert!(
            event.get("source").is_none() && event["honeyport"].get("incident").is_none(),
            "{event:#}"
        );
    }
    let mut bytes = [0; 9000];
    let len = receiver.recv(&mut bytes).unwrap();
    assert!(String::from_utf8_lossy(&bytes[..len]).contains("canary"));
    touch(trap.address("door"));
    assert!(trap.status()["canary"]["ok"].as_bool().unwrap());
}

#[test]
fn a_canary_that_is_filtered_says_by_whom_and_is_exit_code_1() {
    let trap = Trap::start(&config(&file("archive", "shut", true)));
    let (code, report) = canary(&trap, "60s");
    assert_eq!(code, FAILED, "{report:#}");
    let archive = hop(&report, "archive");
    assert_eq!(
        (&archive["state"], &archive["failed"]),
        (&"filtered".into(), &true.into())
    );
    assert!(
        archive["said"].as_str().unwrap().starts_with("filtered by shut"),
        "{archive}"
    );
    assert_eq!(hop(&report, "shut")["state"], "filtered");
    assert_eq!(hop(&report, "indexed")["state"], "passed");
    let shown = trap.trapline(&["check", "--canary"]);
    assert_eq!(shown.status.code(), FAILED);
    assert!(
        text(&shown.stdout).contains("sink archive filtered: filtered by shut"),
        "{}",
        text(&shown.stdout)
    );
    assert!(
        text(&shown.stderr).contains("canary: sink archive"),
        "{}",
        text(&shown.stderr)
    );
}

#[test]
fn a_sink_that_has_the_name_of_the_filter_before_it_is_told_as_filtered_too() {
    let trap = Trap::start(&config(&file("shut", "shut", true)));
    let (code, report) = canary(&trap, "60s");
    assert_eq!(code, FAILED, "{report:#}");
    let hops = report["hops"].as_array().unwrap();
    let of_name = hops.iter().filter(|hop| hop["name"] == "shut");
    assert!(of_name.clone().all(|hop| hop["state"] == "filtered"), "{report:#}");
    assert_eq!(of_name.count(), 2, "{report:#}");
}

#[test]
fn a_sink_that_is_down_is_named_with_its_reason_and_the_others_have_the_canary() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let trap = Trap::start(&config(
        &(file("archive", "*", true) + &syslog("far", "*", nobody, "tcp")),
    ));
    let (code, report) = canary(&trap, "2s");
    assert_eq!(code, FAILED, "{report:#}");
    assert_eq!(hop(&report, "archive")["state"], "delivered");
    let far = hop(&report, "far");
    assert_eq!(far["failed"], true, "{far}");
    assert!(far["said"].as_str().unwrap().contains("refused"), "{far}");
    assert_eq!(trap.status()["canary"]["ok"], false);
}

#[test]
fn a_sink_that_did_not_ask_for_canaries_gets_none() {
    let trap = Trap::start(&config(&(file("archive", "*", true) + &file("quiet", "*", false))));
    let (code, report) = canary(&trap, "60s");
    assert_eq!(code, DONE, "{report:#}");
    let quiet = hop(&report, "quiet");
    assert_eq!(
        (&quiet["state"], &quiet["failed"]),
        (&"not_wanted".into(), &false.into())
    );
    touch(trap.address("door"));
    let events = eventually("the sink has the touch", || {
        let events = written(&trap, "quiet");
        let touched = events.iter().any(|event| event["event"]["action"] == "decoy-connect");
        touched.then_some(events)
    });
    assert!(events.iter().all(|event| event["event"]["action"] != "canary"));
    assert!(
        written(&trap, "archive")
            .iter()
            .any(|event| event["event"]["action"] == "canary")
    );
}

#[test]
fn a_canary_of_the_clock_that_does_not_arrive_is_an_alarm_and_comes_once_a_period() {
    let always = "[canary]\nevery = \"1h\"\ntimeout = \"1s\"\n";
    let mut trap = Trap::start(&(always.to_owned() + &config(&file("archive", "shut", true))));
    let alarm = eventually("the alarm is raised", || {
        let status = trap.status();
        let faults = status["faults"].as_array().unwrap();
        faults.iter().find(|fault| fault["part"] == "canary").cloned()
    });
    assert!(alarm["what"].as_str().unwrap().contains("filtered by shut"), "{alarm}");
    assert!(alarm["hint"].as_str().unwrap().contains("check --canary"), "{alarm}");
    assert_eq!(trap.events(&["--action", "host-alarm"]).len(), 1);
    trap.signal("TERM");
    trap.ended();
    let file = rusqlite::Connection::open(trap.path("state/journal.db")).unwrap();
    let last: Vec<u8> = file
        .query_row("SELECT value FROM state WHERE key = 'canary/last'", (), |row| {
            row.get(0)
        })
        .unwrap();
    assert!(
        String::from_utf8(last).unwrap().parse::<i64>().unwrap() > 0,
        "a restart sends none before its time"
    );
}

#[test]
fn a_canary_needs_an_instance_and_a_time_within_bounds() {
    let trap = Trap::idle(&config(&file("archive", "*", true)));
    let output = trap.trapline(&["check", "--canary"]);
    assert_eq!(output.status.code(), FAILED);
    assert!(
        text(&output.stderr).contains("no instance is running"),
        "{}",
        text(&output.stderr)
    );
    for timeout in ["0s", "11m", "soon"] {
        let output = trap.trapline(&["check", "--canary", "--timeout", timeout]);
        assert_eq!(output.status.code(), USAGE, "{timeout}");
    }
    assert_eq!(trap.trapline(&["check", "--timeout", "5s"]).status.code(), USAGE);
}
