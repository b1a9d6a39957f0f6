//! `sip`, by Debian's clients: `sipsak`, SIPp, `sipvicious`, hydra and nmap.

use serde_json::{Value, json};

use crate::harness::Trap;
use crate::harness::clients::{has, hydra, nmap, run, shell};
use crate::{event, lure};

fn over(transport: &str) -> Trap {
    lure(&format!("service = \"sip\"\ntransport = \"{transport}\""))
}

fn told(uri: &str) -> Vec<(&str, Value)> {
    vec![("/honeyport/sip/uri", json!(uri))]
}

#[test]
fn a_login_by_sipsak_over_tcp_is_a_hash_of_its_user_and_nowhere_in_clear() {
    if !has("sipsak") {
        return;
    }
    let trap = over("tcp");
    let address = trap.address("lure");
    let uri = format!("sip:alice@{address}");
    run(
        "sipsak",
        &[
            "-E",
            "tcp",
            "-U",
            "-C",
            "sip:a@192.0.2.1",
            "-u",
            "alice",
            "-a",
            "hunter22",
            "-s",
            &uri,
        ],
    );
    let offered = [
        ("/honeyport/credential/kind", json!("hash")),
        ("/user/name", json!("alice")),
        ("/honeyport/sip/method", json!("REGISTER")),
        ("/network/transport", json!("tcp")),
    ];
    let seen = event(&trap, "decoy-credential", &offered);
    assert!(
        seen.pointer("/honeyport/credential/secret/hmac").is_some() || seen.to_string().contains("hmac"),
        "{seen:#}"
    );
    let realm = json!(address.ip().to_string());
    assert_eq!(seen.pointer("/honeyport/sip/realm"), Some(&realm), "{seen:#}");
}

#[test]
fn a_call_by_sipp_is_told_with_who_calls_whom() {
    if !has("sipp") {
        return;
    }
    for transport in ["tcp", "udp"] {
        let trap = over(transport);
        let address = trap.address("lure").to_string();
        let mode = if transport == "tcp" { "t1" } else { "u1" };
        let options = [
            "-sn",
            "uac",
            "-s",
            "00972599",
            "-m",
            "1",
            "-t",
            mode,
            "-nostdin",
            "-timeout",
            "10s",
            "-recv_timeout",
            "3000",
        ];
        run("sipp", &[&options[..], &[&address]].concat());
        let uri = format!("sip:00972599@{address}");
        let mut wanted = told(&uri);
        wanted.push(("/honeyport/sip/method", json!("INVITE")));
        let action = if transport == "tcp" {
            "decoy-query"
        } else {
            "decoy-udp-probe"
        };
        let seen = event(&trap, action, &wanted);
        let from = seen.pointer("/honeyport/sip/from").and_then(Value::as_str);
        assert!(from.is_some_and(|from| from.contains("sipp")), "{seen:#}");
    }
}

#[test]
fn svmap_finds_kamailio_and_svcrack_leaves_the_extension_it_tries() {
    if !(has("svmap") && has("svcrack")) {
        return;
    }
    let trap = over("udp");
    let address = trap.address("lure");
    let (ip, port) = (address.ip(), address.port());
    let said = shell(&format!("svmap -p {port} {ip} 2>&1"));
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("kamailio (5.6.3"), "{said}");
    event(
        &trap,
        "decoy-udp-probe",
        &[("/user_agent/original", json!("friendly-scanner"))],
    );
    // Its requests are shorter than what Kamailio answers, so it hears nothing and offers no password.
    shell(&format!("timeout 20 svcrack -u 100 -r 1-3 -p {port} {ip} 2>&1"));
    let asked = [
        ("/honeyport/sip/method", json!("REGISTER")),
        ("/honeyport/sip/to", json!(format!("\"100\" <sip:100@{ip}>"))),
    ];
    event(&trap, "decoy-udp-probe", &asked);
}

/// What a telephone sends, which is long enough to be answered.
const TELEPHONE: &str = r#"<?xml version="1.0" encoding="ISO-8859-1" ?>
<scenario name="register">
<send retrans="500"><![CDATA[

REGISTER sip:[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch];rport
Max-Forwards: 70
From: "Alice" <sip:alice@[remote_ip]>;tag=[pid]SIPpTag00[call_number]
To: "Alice" <sip:alice@[remote_ip]>
Call-ID: [call_id]
CSeq: 1 REGISTER
Contact: <sip:alice@[local_ip]:[local_port];transport=[transport]>;expires=600
User-Agent: Linphone/3.12.0 (belle-sip/1.6.3)
Supported: replaces, outbound, gruu, path
Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, MESSAGE, SUBSCRIBE, INFO, PRACK, UPDATE
Expires: 600
Content-Length: 0

]]></send>
<recv response="401" auth="true"></recv>
<send retrans="500"><![CDATA[

REGISTER sip:[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch];rport
Max-Forwards: 70
From: "Alice" <sip:alice@[remote_ip]>;tag=[pid]SIPpTag00[call_number]
To: "Alice" <sip:alice@[remote_ip]>
Call-ID: [call_id]
CSeq: 2 REGISTER
Contact: <sip:alice@[local_ip]:[local_port];transport=[transport]>;expires=600
[authentication username=alice password=hunter22]
User-Agent: Linphone/3.12.0 (belle-sip/1.6.3)
Expires: 600
Content-Length: 0

]]></send>
<recv response="401"></recv>
</scenario>
"#;

#[test]
fn a_telephone_that_logs_in_leaves_its_user_and_a_hash_over_udp_too() {
    if !has("sipp") {
        return;
    }
    let trap = over("udp");
    let address = trap.address("lure");
    let scenario = trap.path("register.xml");
    std::fs::write(&scenario, TELEPHONE).unwrap();
    let (file, to) = (scenario.to_str().unwrap(), address.to_string());
    let said = run(
        "sipp",
        &[
            "-sf",
            file,
            "-m",
            "1",
            "-nostdin",
            "-timeout",
            "20s",
            "-recv_timeout",
            "8000",
            &to,
        ],
    );
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));
    let offered = [
        ("/honeyport/credential/kind", json!("hash")),
        ("/user/name", json!("alice")),
        ("/honeyport/sip/realm", json!(address.ip().to_string())),
        ("/network/transport", json!("udp")),
    ];
    event(&trap, "decoy-credential", &offered);
}

#[test]
fn hydra_over_udp_is_told() {
    if !has("hydra") {
        return;
    }
    let trap = over("udp");
    let address = trap.address("lure");
    let list = trap.path("passwords");
    std::fs::write(&list, "one\ntwo\n").unwrap();
    hydra("sip", address, "200", list.to_str().unwrap());
    event(
        &trap,
        "decoy-udp-probe",
        &[("/honeyport/sip/method", json!("REGISTER"))],
    );
}

#[test]
fn nmap_names_kamailio_and_its_version() {
    if !has("nmap") {
        return;
    }
    let trap = over("tcp");
    let said = nmap(&[trap.address("lure")]);
    assert!(said.contains("Kamailio 5.6.3"), "{said}");
}
