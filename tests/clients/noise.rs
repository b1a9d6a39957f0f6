//! Office noise, made by the real tools: what is benign is marked as such, what is not is not, and nothing is left out.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::event;
use crate::harness::clients::{curl, has, nmap, run};
use crate::harness::{Trap, eventually};

const OFFICE: &str = r#"
[journal]
path = "state/journal.db"
[limits]
sessions_per_source = 10000
[decoys.ssh]
service = "ssh"
listen = ["127.0.0.1:0"]
[decoys.web]
service = "http"
listen = ["127.0.0.1:0"]
[decoys.ftp]
service = "ftp"
listen = ["127.0.0.1:0"]
[decoys.time]
service = "ntp"
listen = ["127.0.0.1:0"]
[decoys.agent]
service = "snmp"
listen = ["127.0.0.1:0"]
[benign.vulnerability_scanner]
sources = ["127.0.0.66"]
[transforms.worth_a_human]
type = "filter"
inputs = ["decoys"]
when = 'honeyport.touch.level in ["intent", "proof"] && !has(honeyport.benign.name)'
[transforms.notices]
type = "dedupe"
inputs = ["worth_a_human"]
by = ["source.ip"]
window = "1h"
[sinks.people]
type = "file"
inputs = ["notices"]
path = "people.jsonl"
[sinks.all]
type = "file"
inputs = ["*"]
path = "all.jsonl"
"#;

/// Where Debian keeps the checks.
const CHECKS: &str = "/usr/lib/nagios/plugins";

#[test]
fn office_noise_is_marked_recorded_and_told_to_nobody() {
    let trap = Trap::start(OFFICE);
    let at = |decoy: &str| trap.address(decoy);
    let port = |decoy: &str| at(decoy).port().to_string();
    if !(has(&format!("{CHECKS}/check_http")) && has("snmpget") && has("curl") && has("nmap")) {
        return;
    }
    for _ in 0..3 {
        run(
            &format!("{CHECKS}/check_http"),
            &["-I", "127.0.0.1", "-p", &port("web")],
        );
        run(&format!("{CHECKS}/check_ssh"), &["-p", &port("ssh"), "127.0.0.1"]);
    }
    // A third decoy is a walk, which the name of a check does not explain.
    eventually("the checks have ended", || {
        (trap.events(&["--action", "session-end"]).len() >= 6).then_some(())
    });
    for _ in 0..3 {
        run(
            &format!("{CHECKS}/check_ntp_time"),
            &["-H", "127.0.0.1", "-p", &port("time"), "-t", "3"],
        );
    }
    let agent = format!("udp:{}", at("agent"));
    run(
        "snmpget",
        &[
            "-v2c",
            "-c",
            "public",
            "-t",
            "1",
            "-r",
            "0",
            &agent,
            "1.3.6.1.2.1.1.1.0",
        ],
    );
    for (action, name) in [
        ("decoy-handshake", "monitoring"),
        ("decoy-credential", "snmp_poller"),
        ("decoy-udp-probe", "time_poller"),
    ] {
        event(&trap, action, &[("/honeyport/benign/name", json!(name))]);
    }
    let notices = told(&trap);
    assert!(notices.is_empty(), "nobody is told of noise: {notices:#?}");

    run(
        "snmpget",
        &[
            "-v2c",
            "-c",
            "private",
            "-t",
            "1",
            "-r",
            "0",
            &agent,
            "1.3.6.1.2.1.1.1.0",
        ],
    );
    let guess = event(
        &trap,
        "decoy-credential",
        &[("/honeyport/credential/secret_length", json!(7))],
    );
    assert_eq!(
        guess.pointer("/honeyport/benign"),
        None,
        "a guessed community is none: {guess:#}"
    );
    curl(&[
        "--interface",
        "127.0.0.5",
        "-A",
        "check_http/v2.3",
        "-u",
        "admin:hunter22",
        &format!("http://{}/", at("web")),
    ]);
    let login = event(&trap, "decoy-credential", &[("/user/name", json!("admin"))]);
    assert_eq!(
        login.pointer("/honeyport/benign"),
        None,
        "a borrowed name excuses no login: {login:#}"
    );
    curl(&[
        "--interface",
        "127.0.0.66",
        "-u",
        "scan:me",
        &format!("http://{}/", at("web")),
    ]);
    let declared = event(&trap, "decoy-credential", &[("/user/name", json!("scan"))]);
    assert_eq!(declared["honeyport"]["benign"]["name"], "vulnerability_scanner");
    assert_eq!(
        (&declared["event"]["risk_score"], &declared["event"]["kind"]),
        (&json!(0.0), &json!("event"))
    );
    nmap(&[at("ssh"), at("web"), at("ftp")]);
    let ftp = json!("ftp");
    let sweep = event(
        &trap,
        "decoy-connect",
        &[
            ("/honeyport/decoy/id", ftp),
            ("/honeyport/touch/level", json!("intent")),
        ],
    );
    assert_eq!(
        sweep.pointer("/honeyport/benign"),
        None,
        "a walk over decoys is none: {sweep:#}"
    );

    let sources: Vec<Value> = eventually("those who are worth it are told of", || {
        let notices = told(&trap);
        (notices.len() >= 2).then(|| notices.iter().map(|notice| notice["source"]["ip"].clone()).collect())
    });
    let different: BTreeSet<_> = sources.iter().map(ToString::to_string).collect();
    assert_eq!(different.len(), sources.len(), "one notice per source: {sources:?}");
    assert!(
        !different.contains("\"127.0.0.66\""),
        "a declared scanner is told to nobody"
    );
}

/// What people were sent, once all that was recorded has been judged.
fn told(trap: &Trap) -> Vec<Value> {
    eventually("every sink is up to date", || {
        let status = trap.status();
        let sinks = status["sinks"].as_array().unwrap().clone();
        sinks.iter().all(|sink| sink["lag"] == 0).then_some(())
    });
    let written = std::fs::read_to_string(trap.path("state/people.jsonl")).unwrap_or_default();
    let lines = written.lines().map(|line| serde_json::from_str(line).unwrap());
    lines
        .filter(|event: &Value| event["event"]["action"] != "held-back")
        .collect()
}
