//! What real clients and scanners make of the shipped personalities.

use std::process::Command;

use trapline_schemas::{Action, Field};

use crate::decoy::personality::{Personality, embedded, embedded_names};
use crate::decoy::services::find;
use crate::decoy::testing::{Stage, actions, fact, install, spec};

fn shipped() -> Vec<std::sync::Arc<Personality>> {
    let load = |name| Personality::load(name, None, &install()).unwrap_or_else(|error| panic!("{name}: {error}"));
    embedded_names().map(load).collect()
}

#[test]
fn every_shipped_personality_loads_and_every_service_has_its_default() {
    let all = shipped();
    assert!(all.len() >= 15);
    for service in super::SERVICES {
        let default = all.iter().find(|personality| personality.name == service.personality);
        assert!(
            default.is_some_and(|personality| personality.is_for(service)),
            "{}",
            service.name
        );
    }
}

#[test]
fn no_shipped_text_names_us() {
    for name in embedded_names() {
        let text = embedded(name).expect("it is there").to_ascii_lowercase();
        assert!(!text.contains("trapline") && !text.contains("honey"), "{name}");
    }
}

/// Products that nmap has no name for: a Windows without SMB1 resets what it sends to port 445. It finds that out in
/// minutes, so it is not asked.
const NAMELESS: [&str; 3] = ["windows-10", "windows-server-2019", "windows-server-2022"];

/// What nmap 7.93 calls each stream personality: product, and version where its match line has one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nmap_names_each_personality() {
    let Ok(version) = Command::new("nmap").arg("--version").output() else {
        eprintln!("SKIPPED: nmap is not installed");
        return;
    };
    assert!(version.status.success());
    let mut stages = Vec::new();
    for personality in shipped() {
        let service = find(personality.service).expect("it loaded");
        if service.is_stream() && !NAMELESS.contains(&personality.name.as_str()) {
            let text = embedded(&personality.name).expect("it is embedded");
            stages.push((personality, Stage::open(spec(text)).await));
        }
    }
    let ports: Vec<_> = stages
        .iter()
        .map(|(_, stage)| stage.address.port().to_string())
        .collect();
    let ports = ports.join(",");
    let scan = tokio::task::spawn_blocking(move || {
        let scan = Command::new("nmap")
            .args(["-sV", "-Pn", "-n", "-oG", "-", "-p", &ports, "127.0.0.1"])
            .output();
        String::from_utf8_lossy(&scan.expect("nmap runs").stdout).into_owned()
    });
    let said = scan.await.expect("nmap ends");
    let lower = said.to_ascii_lowercase();
    let mut wrong = Vec::new();
    for (personality, stage) in &stages {
        let mark = format!("{}/open/", stage.address.port());
        let found = said
            .split([',', '\t'])
            .map(str::trim)
            .find_map(|part| part.split_once(&mark));
        let named = found.map_or("not open", |(_, named)| named).replace('|', "/");
        println!("{:24} {named}", personality.name);
        // Versions of Windows ports read `for_Windows_…`, as nmap prints them.
        if personality.name == "dns-refused" {
            // It has no version to tell: nmap takes a live BIND that refuses it for another server.
            assert!(named.contains("NLnet Labs NSD"), "{named}");
        } else if !named.contains(personality.product.as_str()) || !named.contains(personality.version.as_str()) {
            wrong.push(format!("{}: {named}", personality.name));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}\n{said}");
    for tell in [
        "honeypot",
        "honeyd",
        "kojoney",
        "cowrie",
        "dionaea",
        "nepenthes",
        "tcpwrapped",
        "trapline",
    ] {
        assert!(!lower.contains(tell), "{tell}: {said}");
    }
}

#[tokio::test]
async fn an_ssh_client_is_known_by_its_version_and_algorithms() {
    let mut stage = Stage::open(spec(embedded("openssh-debian-12").expect("it is embedded"))).await;
    let Ok(_) = Command::new("ssh").arg("-V").output() else {
        eprintln!("SKIPPED: ssh is not installed");
        return;
    };
    let port = stage.address.port().to_string();
    let client = tokio::task::spawn_blocking(move || {
        let options = [
            "-F",
            "none",
            "-oBatchMode=yes",
            "-oStrictHostKeyChecking=no",
            "-oUserKnownHostsFile=/dev/null",
        ];
        let ssh = Command::new("ssh")
            .args(options)
            .args(["-p", &port, "root@127.0.0.1"])
            .output();
        String::from_utf8_lossy(&ssh.expect("ssh runs").stderr).into_owned()
    });
    let said = client.await.expect("ssh ends");
    assert!(
        said.contains("root@127.0.0.1: Permission denied (publickey,password)."),
        "{said}"
    );
    let hits = stage.session().await;
    let handshake = hits
        .iter()
        .find(|hit| hit.action == Action::Handshake)
        .expect("a handshake");
    let text = |field| match fact(handshake, field) {
        Some(trapline_schemas::Value::Text(text)) => text.to_string(),
        other => panic!("{field:?}: {other:?}"),
    };
    assert!(text(Field::SshClientVersion).starts_with("SSH-2.0-OpenSSH_"));
    assert_eq!(text(Field::SshHassh).len(), 32);
    assert!(text(Field::SshHasshAlgorithms).contains("curve25519-sha256"));
}

/// The text of an embedded personality.
fn text_of(name: &str) -> &'static str {
    embedded(name).expect("it is embedded")
}

#[tokio::test]
async fn an_http_login_is_reported_and_hidden_wherever_it_was_typed() {
    let mut stage = Stage::open(spec(text_of("apache-ubuntu-22.04"))).await;
    let sent = b"GET /admin/?password=%68unter2 HTTP/1.1\r\nHost: x\r\nAuthorization: Basic Ym9iOmh1bnRlcjM=\r\n\r\n\
                 POST /login.php HTTP/1.1\r\nHost: x\r\nContent-Length: 32\r\n\r\nusername=root&password=t%6f%6fr!";
    let said = String::from_utf8(stage.talk(sent).await).expect("text");
    assert!(said.starts_with("HTTP/1.1 401 Unauthorized\r\nDate: "), "{said}");
    assert!(
        said.contains("HTTP/1.1 302 Found\r\n") && said.contains("\r\nLocation: /login.php?error=1\r\n"),
        "{said}"
    );
    let hits = stage.session().await;
    let (handshake, credential, query) = (Action::Handshake, Action::Credential, Action::Query);
    let end = [Action::Payload, Action::SessionEnd];
    let expected = [
        &[Action::Connect, handshake, credential, credential, query, credential],
        &end[..],
    ]
    .concat();
    assert_eq!(actions(&hits), expected);
    let secrets: Vec<_> = hits
        .iter()
        .filter_map(|hit| hit.secret.as_ref())
        .map(|secret| &*secret.bytes)
        .collect();
    assert_eq!(secrets, [&b"hunter3"[..], b"hunter2", b"toor!"]);
    let target = fact(&hits[1], Field::UrlOriginal);
    assert_eq!(target, Some(&"/admin/?password=*********".into()));
    for hit in &hits {
        let shown = format!("{:?}", hit.facts);
        assert!(!shown.contains("unter2") && !shown.contains("hunter3"), "{shown}");
    }
    let capture = hits.iter().find_map(|hit| hit.capture.as_ref()).expect("a capture");
    let hidden: Vec<_> = capture.secrets.iter().map(|range| &sent[range.clone()]).collect();
    assert_eq!(hidden, [&b"%68unter2"[..], b"Ym9iOmh1bnRlcjM=", b"t%6f%6fr!"]);
}

#[tokio::test]
async fn three_failed_ftp_logins_end_the_session_as_vsftpd_ends_it() {
    let mut stage = Stage::open(spec(text_of("vsftpd-3.0.5"))).await;
    let login = b"USER root\r\nPASS hunter2\r\n";
    let said = stage.talk(&[&b"SYST\r\n"[..], &login.repeat(3)].concat()).await;
    let attempt = "331 Please specify the password.\r\n530 Login incorrect.\r\n";
    let expected = format!(
        "220 (vsFTPd 3.0.5)\r\n530 Please login with USER and PASS.\r\n{}",
        attempt.repeat(3)
    );
    assert_eq!(String::from_utf8_lossy(&said), expected);
    let hits = stage.session().await;
    let credentials = hits.iter().filter(|hit| hit.action == Action::Credential).count();
    let queries = hits.iter().filter(|hit| hit.action == Action::Query).count();
    assert_eq!((credentials, queries), (3, 1));
}

#[tokio::test]
async fn a_busybox_login_is_a_credential_and_its_password_is_not_echoed() {
    let mut stage = Stage::open(spec(text_of("telnet-busybox"))).await;
    let said = stage
        .talk(b"\xff\xfd\x01\xff\xfb\x1f\xff\xfa\x1f\0\x50\0\x18\xff\xf0root\r\0hunter2\r\0")
        .await;
    let text = String::from_utf8_lossy(&said);
    assert!(
        said.starts_with(
            b"\xff\xfd\x01\xff\xfd\x1f\xff\xfb\x01\xff\xfb\x03\r\r\nfiles03 login: root\r\nPassword: \r\n"
        ),
        "{text}"
    );
    assert!(
        text.ends_with("Login incorrect\r\nfiles03 login: ") && !text.contains("hunter2"),
        "{text}"
    );
    let hits = stage.session().await;
    assert_eq!(fact(&hits[1], Field::TelnetWindow), Some(&"80x24".into()));
    assert_eq!(fact(&hits[1], Field::TelnetOptions), Some(&"do 1,will 31".into()));
    assert_eq!(
        hits[2].secret.as_ref().map(|secret| secret.bytes.to_vec()),
        Some(b"hunter2".to_vec())
    );
}

#[tokio::test]
async fn a_netkit_server_says_nothing_more_until_it_knows_the_terminal() {
    let mut stage = Stage::open(spec(text_of("telnet-ubuntu-22.04"))).await;
    let opening = b"\xff\xfd\x18\xff\xfd\x20\xff\xfd\x23\xff\xfd\x27";
    assert_eq!(stage.talk(b"GET / HTTP/1.0\r\n\r\n").await, opening);
    drop(stage.session().await);
    let answers = b"\xff\xfb\x18\xff\xfc\x20\xff\xfc\x23\xff\xfb\x27\xff\xfa\x27\0\0USER\x01bob\xff\xf0\xff\xfa\x18\0XTERM\xff\xf0\xff\xfc\x1fhunter2\r\0";
    let said = stage.talk(answers).await;
    let after = b"\xff\xfa\x27\x01\xff\xf0\xff\xfa\x18\x01\xff\xf0\xff\xfb\x03\xff\xfd\x01\xff\xfd\x1f\xff\xfb\x05\xff\xfd\x21\xff\xfb\x01Ubuntu 22.04.5 LTS\r\nPassword: ";
    assert!(
        said.starts_with(&[&opening[..], after].concat()),
        "{}",
        said.escape_ascii()
    );
    let hits = stage.session().await;
    assert_eq!(fact(&hits[1], Field::TelnetTerminal), Some(&"XTERM".into()));
    assert_eq!(fact(&hits[2], Field::UserName), Some(&"bob".into()));
}

#[tokio::test]
async fn a_web_request_to_ssh_gets_the_text_of_the_claimed_version() {
    for (name, text) in [
        ("openssh-debian-12", "Invalid SSH identification string."),
        ("openssh-ubuntu-18.04", "Protocol mismatch.\n"),
    ] {
        let mut stage = Stage::open(spec(text_of(name))).await;
        let said = stage.talk(b"GET / HTTP/1.0\r\n\r\n").await;
        let said = String::from_utf8_lossy(&said);
        let (_, after) = said.split_once("\r\n").expect("an identification");
        assert_eq!(after.trim_end_matches("\r\n").trim_end(), text.trim_end(), "{name}");
        let hits = stage.session().await;
        assert_eq!(actions(&hits), [Action::Connect, Action::Payload, Action::SessionEnd]);
    }
}

#[tokio::test]
async fn hostile_bytes_end_every_service_and_every_contact_is_whole() {
    let garbage: Vec<u8> = (0..200_000_u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let mut stages = Vec::new();
    for personality in shipped() {
        let service = find(personality.service).expect("it loaded");
        if service.is_stream() {
            let mut spec = spec(text_of(&personality.name));
            spec.limits.session = std::time::Duration::from_secs(2);
            let stage = Stage::open(spec).await;
            let (mut client, garbage) = (stage.connect().await, garbage.clone());
            let client = tokio::task::spawn(async move {
                let (mut input, mut output) = client.split();
                let mut said = Vec::new();
                // Both at once, so that neither side waits for room; what was cut off is no matter.
                let _ = tokio::join!(
                    tokio::io::AsyncWriteExt::write_all(&mut output, &garbage),
                    tokio::io::AsyncReadExt::read_to_end(&mut input, &mut said),
                );
            });
            stages.push((personality, stage, client));
        }
    }
    for (personality, mut stage, client) in stages {
        client.await.expect("the client wrote or was cut off");
        let hits = stage.session().await;
        let count = |action| hits.iter().filter(|hit| hit.action == action).count();
        let found = [Action::Connect, Action::Payload, Action::SessionEnd].map(count);
        assert_eq!(found, [1; 3], "{}", personality.name);
        assert!(count(Action::Handshake) <= 1, "{}", personality.name);
    }
}
