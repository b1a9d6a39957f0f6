//! `smb`, by Samba's own client, hydra and nmap's scripts.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::harness::clients::{has, hydra, run};
use crate::harness::{Trap, eventually};
use crate::{event, lure};

/// A decoy that looks like this.
fn server(personality: &str) -> Trap {
    lure(&format!("service = \"smb\"\npersonality = \"{personality}\""))
}

/// smbclient asking for shares; what it says.
fn smbclient(address: SocketAddr, dialect: &str, who: &[&str]) -> String {
    let (ip, port) = (address.ip(), address.port().to_string());
    let share = format!("//{ip}/");
    let most = format!("--option=client max protocol={dialect}");
    let mut arguments = vec!["--option=client min protocol=NT1", &most, "-p", &port, "-L", &share];
    arguments.extend(who);
    let output = run("smbclient", &arguments);
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

/// Waits for a login by this user, and looks that no form of it shows what a password can be guessed by.
fn login(trap: &Trap, user: &str) -> Value {
    let seen = event(
        trap,
        "decoy-ntlm",
        &[("/user/name", json!(user)), ("/user/domain", json!("CORP"))],
    );
    assert_eq!(seen["honeyport"]["credential"]["kind"], "hash", "{seen:#}");
    assert_eq!(seen["event"]["outcome"], "failure");
    let digest = seen["honeyport"]["ntlm"]["response_sha256"].as_str().unwrap();
    let challenge = seen["honeyport"]["ntlm"]["server_challenge"].as_str().unwrap();
    assert_eq!((digest.len(), challenge.len()), (64, 16));
    assert!(seen["honeyport"]["credential"].get("secret").is_none(), "{seen:#}");
    seen
}

#[test]
fn smbclient_is_refused_in_every_dialect_and_its_names_are_told() {
    if !has("smbclient") {
        return;
    }
    let trap = server("samba-smb1");
    for dialect in ["NT1", "SMB2_02", "SMB2_10", "SMB3_00", "SMB3_02", "SMB3_11"] {
        let who = format!("CORP\\{}%hunter2", dialect.to_lowercase());
        let said = smbclient(trap.address("lure"), dialect, &["-U", &who]);
        assert!(
            said.contains("session setup failed: NT_STATUS_LOGON_FAILURE"),
            "{dialect}: {said}"
        );
        let seen = login(&trap, &dialect.to_lowercase());
        assert_eq!(seen["honeyport"]["ntlm"]["version"], "NTLMv2", "{seen:#}");
        assert!(seen["honeyport"]["ntlm"]["workstation"].is_string(), "{seen:#}");
    }
    let newest = event(&trap, "decoy-handshake", &[]);
    assert!(newest["honeyport"]["smb"]["dialects"].is_array(), "{newest:#}");
    let hidden = eventually("a payload is recorded", || {
        let events = trap.events(&["--limit", "10000", "--format", "ecs"]);
        events
            .into_iter()
            .find(|event| event["event"]["action"] == "decoy-payload")
    });
    assert_eq!(hidden["honeyport"]["payload"]["masked"], true, "{hidden:#}");
}

#[test]
fn a_response_in_clear_is_a_line_for_hashcat() {
    if !has("smbclient") {
        return;
    }
    let trap = lure("service = \"smb\"\n[capture]\nsecrets = \"clear\"");
    smbclient(trap.address("lure"), "SMB3", &["-U", "CORP\\alice%hunter2"]);
    let seen = event(&trap, "decoy-ntlm", &[("/user/name", json!("alice"))]);
    let line = seen["honeyport"]["credential"]["secret"].as_str().unwrap();
    let parts: Vec<&str> = line.split(':').collect();
    let [user, "", domain, challenge, proof, blob] = parts[..] else {
        panic!("{line}");
    };
    assert_eq!(
        (user, domain, challenge.len(), proof.len()),
        ("alice", "CORP", 16, 32),
        "{line}"
    );
    assert!(blob.starts_with("0101000000000000") && !blob.ends_with('…'), "{line}");
}

#[test]
fn nobody_is_let_into_samba_and_sees_nothing() {
    if !has("smbclient") {
        return;
    }
    let trap = server("samba-debian-12");
    let said = smbclient(trap.address("lure"), "SMB3", &["-N"]);
    assert!(said.contains("Anonymous login successful"), "{said}");
    assert!(said.contains("tree connect failed: NT_STATUS_ACCESS_DENIED"), "{said}");
    let asked = event(&trap, "decoy-query", &[]);
    assert_eq!(asked["honeyport"]["smb"]["share"], "\\\\127.0.0.1\\IPC$", "{asked:#}");
}

#[test]
fn a_windows_of_today_refuses_nobody_and_everybody() {
    if !has("smbclient") {
        return;
    }
    let trap = server("windows-server-2019");
    let said = smbclient(trap.address("lure"), "SMB3", &["-N"]);
    assert!(said.contains("session setup failed: NT_STATUS_ACCESS_DENIED"), "{said}");
    let said = smbclient(trap.address("lure"), "SMB3", &["-U", "CORP\\alice%hunter2"]);
    assert!(said.contains("session setup failed: NT_STATUS_LOGON_FAILURE"), "{said}");
    login(&trap, "alice");
    let said = smbclient(trap.address("lure"), "SMB3", &["-U", "guest%"]);
    assert!(said.contains("NT_STATUS_ACCOUNT_DISABLED"), "{said}");
}

/// impacket, which is what intruders' tools are made of: a login in every dialect, a null session, a guest, and the
/// names that it was told.
const IMPACKET: &str = "
import sys
from impacket.smbconnection import SMBConnection
def attempt(dialect, user, password, domain):
    client = SMBConnection('files03', '127.0.0.1', sess_port=int(sys.argv[1]), preferredDialect=dialect, timeout=20)
    try: said = client.login(user, password, domain)
    except Exception as error: said = error
    print(dialect, user or 'nobody', said, client.getServerName(), client.getServerDomain(), client.getServerOS())
for dialect in ('NT LM 0.12', 0x202, 0x210, 0x300, 0x311):
    attempt(dialect, 'dave%s' % dialect, 'hunter2', 'CORP')
    attempt(dialect, '', '', '')
";

#[test]
fn impacket_is_refused_in_every_dialect_and_is_told_coherent_names() {
    if !has("/usr/bin/python3") || !run("/usr/bin/python3", &["-c", "import impacket"]).status.success() {
        println!("SKIPPED part of a test: impacket is not installed");
        return;
    }
    for (personality, system) in [("samba-smb1", "Windows 6.1"), ("windows-server-2016", " 14393")] {
        let trap = server(personality);
        let port = trap.address("lure").port().to_string();
        let output = run("/usr/bin/python3", &["-c", IMPACKET, &port]);
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(said.matches("STATUS_LOGON_FAILURE").count(), 5, "{said}");
        // It has no word for a null session in SMB1.
        let let_in = said.matches("nobody True").count() + said.matches("nobody None").count();
        assert_eq!((let_in, said.matches(system).count()), (5, 10), "{said}");
        for dialect in ["NT LM 0.12", "514", "528", "768", "785"] {
            login(&trap, &format!("dave{dialect}"));
        }
        let shown = trap.events(&["--limit", "10000"]);
        assert!(!shown.iter().any(|event| event.to_string().contains("hunter")));
    }
}

#[test]
fn rpcclient_is_refused_as_well() {
    if !has("rpcclient") {
        return;
    }
    let trap = server("samba-debian-12");
    let address = trap.address("lure");
    let (ip, port) = (address.ip().to_string(), address.port().to_string());
    let output = run(
        "rpcclient",
        &["-p", &port, "-U", "CORP\\bob%hunter2", &ip, "-c", "srvinfo"],
    );
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(said.contains("NT_STATUS_LOGON_FAILURE"), "{said}");
    login(&trap, "bob");
}

#[test]
fn each_guess_of_hydra_is_a_login() {
    if !has("hydra") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("passwords");
    std::fs::write(&list, "hunter2\nhunter3\n").unwrap();
    let trap = server("samba-smb1");
    let output = hydra("smb", trap.address("lure"), "administrator", list.to_str().unwrap());
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(said.contains("0 valid password"), "{said}");
    event(&trap, "decoy-ntlm", &[("/user/name", json!("administrator"))]);
    assert!(
        !trap
            .events(&["--limit", "10000"])
            .iter()
            .any(|event| event.to_string().contains("hunter"))
    );
}

/// nmap's scripts for SMB; with `-sV` its name of the service too. What it says.
fn scan(personality: &str, versions: &[&str]) -> String {
    let trap = server(personality);
    let address = trap.address("lure");
    let (ip, port) = (address.ip().to_string(), address.port().to_string());
    let place = format!("smbport={port}");
    let scripts = "smb-protocols,smb2-security-mode,smb2-time,smb2-capabilities,smb-security-mode";
    let mut arguments = vec![
        "-Pn",
        "-sT",
        "-p",
        &port,
        "--script",
        scripts,
        "--script-args",
        &place,
        &ip,
    ];
    arguments.extend(versions);
    String::from_utf8_lossy(&run("nmap", &arguments).stdout).into_owned()
}

#[test]
fn the_scripts_of_nmap_see_one_coherent_product() {
    if !has("nmap") {
        return;
    }
    let modern = ["Message signing enabled but not required", "start_date: N/A", "311"];
    let products = [
        ("samba-debian-12", &["-sV"][..], "Samba smbd 4.6.2"),
        ("samba-smb1", &["-sV"], "Samba smbd 3.X - 4.X (workgroup: WORKGROUP)"),
        (
            "windows-server-2016",
            &["-sV"],
            "Microsoft Windows Server 2008 R2 - 2012 microsoft-ds",
        ),
        // Without SMB1 there is nothing to know a Windows by, and its probes take minutes.
        ("windows-server-2019", &[], "Leasing"),
    ];
    let check = |(personality, versions, expected): (&str, &[&str], &str)| {
        let said = scan(personality, versions);
        for words in modern.iter().chain(&[expected]) {
            assert!(said.contains(words), "{personality}: no `{words}` in {said}");
        }
    };
    // It waits for most of a minute on a port that it does not expect SMB on, so they wait together.
    std::thread::scope(|scope| {
        for product in products {
            scope.spawn(move || check(product));
        }
    });
}
