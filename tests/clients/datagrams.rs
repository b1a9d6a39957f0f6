//! `dns`, `snmp`, `tftp` and `ntp`, by Debian's clients.

use serde_json::json;

use crate::harness::clients::{has, run, shell};
use crate::{event, lure};

#[test]
fn a_question_by_dig_is_refused_and_told() {
    if !has("dig") {
        return;
    }
    let trap = lure("service = \"dns\"\npersonality = \"dns-refused\"\ntransport = \"udp\"");
    let address = trap.address("lure");
    let (server, port) = (format!("@{}", address.ip()), address.port().to_string());
    let said = run("dig", &[&server, "-p", &port, "+tries=1", "version.bind", "CH", "TXT"]);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("status: REFUSED"), "{said}");
    let question = [
        ("/dns/question/name", json!("version.bind")),
        ("/dns/question/class", json!("CH")),
        ("/dns/question/type", json!("TXT")),
    ];
    event(&trap, "decoy-udp-probe", &question);
    run("dig", &[&server, "-p", &port, "+tries=1", "-x", "192.0.2.7"]);
    event(
        &trap,
        "decoy-udp-probe",
        &[("/dns/question/name", json!("7.2.0.192.in-addr.arpa"))],
    );
}

#[test]
fn questions_over_tcp_by_dig_host_and_nslookup_are_refused_and_told() {
    if !(has("dig") && has("host") && has("nslookup")) {
        return;
    }
    let trap = lure("service = \"dns\"\npersonality = \"dns-refused\"\ntransport = \"tcp\"");
    let address = trap.address("lure");
    let (ip, port) = (address.ip().to_string(), address.port().to_string());
    let dig =
        format!("dig @{ip} -p {port} +tcp +tries=1 version.bind CH TXT; dig @{ip} -p {port} +tries=1 a.example AXFR");
    let host = format!("host -T -p {port} b.example {ip}; nslookup -vc -port={port} c.example {ip}");
    let said = shell(&format!("{dig}; {host}; true"));
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("status: REFUSED") && said.contains("(good)"), "{said}");
    assert!(said.contains("EDE: 18 (Prohibited)"), "{said}");
    for name in ["version.bind", "a.example", "b.example", "c.example"] {
        let asked = [
            ("/dns/question/name", json!(name)),
            ("/network/transport", json!("tcp")),
        ];
        event(&trap, "decoy-query", &asked);
    }
}

#[test]
fn status_names_both_transports_of_a_decoy_that_has_both() {
    let trap = lure("service = \"dns\"");
    let status = trap.status();
    let listeners = status["listeners"].as_array().unwrap();
    let transports: Vec<_> = listeners.iter().map(|listener| listener["transport"].clone()).collect();
    assert_eq!(transports, [json!("tcp"), json!("udp")], "{status:#}");
}

#[test]
fn a_community_by_snmpget_is_a_credential_and_its_objects_are_told() {
    if !has("snmpget") {
        return;
    }
    let trap = lure("service = \"snmp\"");
    let address = trap.address("lure").to_string();
    run(
        "snmpget",
        &["-v2c", "-c", "hunter22", "-r0", "-t1", &address, "1.3.6.1.2.1.1.1.0"],
    );
    event(
        &trap,
        "decoy-credential",
        &[("/honeyport/credential/kind", json!("community"))],
    );
    let asked = [
        ("/honeyport/snmp/version", json!("2c")),
        ("/honeyport/snmp/operation", json!("get")),
        ("/honeyport/snmp/oids", json!(["1.3.6.1.2.1.1.1.0"])),
    ];
    let seen = event(&trap, "decoy-udp-probe", &asked);
    assert!(!seen.to_string().contains("hunter22"), "{seen:#}");
}

#[test]
fn who_has_the_community_is_answered_within_the_size_of_his_question() {
    if !has("snmpget") {
        return;
    }
    let trap = lure("service = \"snmp\"");
    let address = trap.address("lure").to_string();
    let get = |version: &str, object: &str| {
        let said = run(
            "snmpget",
            &[version, "-c", "public", "-On", "-r0", "-t5", &address, object],
        );
        let said = [said.stdout, said.stderr].concat();
        String::from_utf8_lossy(&said).into_owned()
    };
    let missing = get("-v2c", "1.3.6.1.2.1.2.1.0");
    assert!(missing.contains("No Such Object available"), "{missing}");
    let missing = get("-v1", "1.3.6.1.2.1.2.1.0");
    assert!(missing.contains("(noSuchName)"), "{missing}");
    let big = get("-v2c", "1.3.6.1.2.1.1.1.0");
    assert!(big.contains("(tooBig)"), "{big}");
    let asked = [
        ("/honeyport/snmp/operation", json!("get")),
        ("/honeyport/snmp/oids", json!(["1.3.6.1.2.1.1.1.0"])),
    ];
    event(&trap, "decoy-udp-probe", &asked);
    let community = [("/honeyport/credential/kind", json!("community"))];
    event(&trap, "decoy-credential", &community);
}

#[test]
fn a_user_of_version_3_leaves_the_name_and_a_hash() {
    if !has("snmpget") {
        return;
    }
    let trap = lure("service = \"snmp\"");
    let address = trap.address("lure").to_string();
    // Discovery cannot be answered in its size: whoever knows an engine says who he is, and hears that it is another.
    let engine = "0x80001f8880aaaaaaaabbbbbbbb00000000";
    let user = format!("-v3 -r0 -t2 -e {engine} -u alice -l authNoPriv -a SHA -A hunter22hunter22");
    let user: Vec<&str> = user.split(' ').collect();
    run("snmpget", &[&user[..], &[&address, "1.3.6.1.2.1.1.1.0"]].concat());
    let offered = [
        ("/honeyport/credential/kind", json!("hash")),
        ("/user/name", json!("alice")),
    ];
    event(&trap, "decoy-credential", &offered);
    let asked = [("/honeyport/snmp/version", json!("3")), ("/user/name", json!("alice"))];
    let probe = event(&trap, "decoy-udp-probe", &asked);
    let answered = probe.pointer("/destination/bytes").and_then(serde_json::Value::as_u64);
    assert!(answered.is_some_and(|bytes| bytes > 100), "{probe:#}");
}

#[test]
fn nmap_finds_an_agent_and_its_host_over_udp() {
    if !has("nmap") || !is_root() {
        return;
    }
    let trap = lure("service = \"snmp\"");
    let address = trap.address("lure");
    let (ip, port) = (address.ip().to_string(), address.port().to_string());
    let said = run("nmap", &["-Pn", "-sU", "-sV", "-p", &port, &ip]);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("SNMPv1 server") && said.contains("Host: "), "{said}");
}

/// Whether nmap may send what it likes.
fn is_root() -> bool {
    let id = run("id", &["-u"]);
    let is_root = id.stdout == b"0\n";
    if !is_root {
        println!("SKIPPED part of a test: nmap scans datagrams only as root");
    }
    is_root
}

#[test]
fn the_file_that_tftp_asks_for_is_told() {
    if !has("tftp") {
        return;
    }
    let trap = lure("service = \"tftp\"");
    let address = trap.address("lure");
    let (ip, port) = (address.ip(), address.port());
    // It takes answers from a new port alone, and would ask again for minutes if none came.
    let said = shell(&format!("timeout 30 tftp -m octet {ip} {port} -c get router.cfg"));
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("Error code 1: File not found"), "{said}");
    let asked = [
        ("/file/name", json!("router.cfg")),
        ("/honeyport/tftp/operation", json!("read")),
    ];
    event(&trap, "decoy-udp-probe", &asked);
}

#[test]
fn a_client_of_the_time_is_told_its_mode() {
    let trap = lure("service = \"ntp\"");
    let address = trap.address("lure");
    let client = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    client
        .set_read_timeout(Some(std::time::Duration::from_secs(30)))
        .unwrap();
    let mut request = [0; 48];
    request[0] = 0x23;
    client.send_to(&request, address).unwrap();
    let mut answer = [0; 64];
    assert_eq!(client.recv(&mut answer).unwrap(), 48);
    assert_eq!(answer[..2], [0x24, 2]);
    event(&trap, "decoy-udp-probe", &[("/honeyport/ntp/mode", json!(3))]);
}
