//! `rdp`, by FreeRDP, rdesktop, hydra and nmap's scripts.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::harness::Trap;
use crate::harness::clients::{has, hydra, run, shell};
use crate::{event, lure};

/// A decoy that looks like this.
fn server(personality: &str) -> Trap {
    lure(&format!("service = \"rdp\"\npersonality = \"{personality}\""))
}

/// xfreerdp, logging on as `CORP\alice` on a screen that nobody sees; what it says.
fn xfreerdp(address: SocketAddr, options: &[&str]) -> String {
    let place = format!("/v:{address}");
    let mut arguments = vec!["-a", "timeout", "30", "xfreerdp", &place, "/cert:ignore"];
    arguments.extend(["/u:CORP\\alice", "/p:hunter2"]);
    arguments.extend(options);
    let output = run("xvfb-run", &arguments);
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

fn has_xfreerdp() -> bool {
    has("xfreerdp") && has("xvfb-run")
}

/// No form of any event shows a password.
fn assert_hidden(trap: &Trap) {
    let events = trap.events(&["--limit", "10000"]);
    assert!(!events.iter().any(|event| event.to_string().contains("hunter")));
    // As UTF-16 it would be between NULs.
    assert!(
        !events
            .iter()
            .any(|event| event.to_string().contains("h\\\\x00u\\\\x00n"))
    );
}

/// Waits for what the client says of itself before it logs on.
fn introduced(trap: &Trap, cookie: &str) -> Value {
    event(trap, "decoy-handshake", &[("/honeyport/rdp/cookie", json!(cookie))])
}

#[test]
fn a_windows_refuses_xfreerdp_by_credssp_and_its_response_is_told() {
    if !has_xfreerdp() {
        return;
    }
    let trap = server("rdp-windows-server-2019");
    let said = xfreerdp(trap.address("lure"), &["+auth-only"]);
    assert!(said.contains("ERRCONNECT_LOGON_FAILURE"), "{said}");
    let seen = event(
        &trap,
        "decoy-ntlm",
        &[("/user/name", json!("alice")), ("/user/domain", json!("CORP"))],
    );
    assert_eq!(seen["honeyport"]["ntlm"]["version"], "NTLMv2", "{seen:#}");
    assert_eq!(seen["honeyport"]["rdp"]["credssp_version"], 6, "{seen:#}");
    assert_eq!(seen["honeyport"]["credential"]["kind"], "hash");
    assert!(seen["honeyport"]["credential"].get("secret").is_none(), "{seen:#}");
    let hello = introduced(&trap, "alice");
    assert_eq!(
        hello["honeyport"]["rdp"]["protocols"],
        json!(["tls", "credssp"]),
        "{hello:#}"
    );
    assert_eq!(hello["tls"]["client"]["ja3"].as_str().unwrap().len(), 32, "{hello:#}");
    assert_hidden(&trap);
}

#[test]
fn what_xfreerdp_sends_without_credssp_is_a_password() {
    if !has_xfreerdp() {
        return;
    }
    for (personality, options, told) in [
        ("xrdp-debian-12", &["/sec:tls"][..], "ERRINFO_LOGOFF_BY_USER"),
        (
            "rdp-windows-server-2016",
            &["/sec:tls"],
            "ERRINFO_SERVER_INSUFFICIENT_PRIVILEGES",
        ),
        ("xrdp-debian-12", &["/sec:rdp"], "ERRINFO_LOGOFF_BY_USER"),
        ("rdp-windows-server-2016", &["/sec:rdp"], "ERRINFO_LOGOFF_BY_USER"),
        // Asked for more, xrdp has less.
        ("xrdp-debian-12", &[], "ERRINFO_LOGOFF_BY_USER"),
    ] {
        let trap = server(personality);
        let said = xfreerdp(trap.address("lure"), options);
        assert!(said.contains(told), "{personality}: {said}");
        let seen = event(
            &trap,
            "decoy-credential",
            &[("/user/name", json!("alice")), ("/user/domain", json!("CORP"))],
        );
        let rdp = &seen["honeyport"]["rdp"];
        assert_eq!(seen["honeyport"]["credential"]["secret_length"], 7, "{seen:#}");
        assert!(rdp["client_address"].is_string(), "{seen:#}");
        // Told with whatever comes first behind it: with the login in TLS, else as the handshake.
        let hello = introduced(&trap, "alice");
        let told = |name: &str| rdp[name].is_string() || hello["honeyport"]["rdp"][name].is_string();
        for name in ["client_name", "client_build", "keyboard_layout", "desktop"] {
            assert!(told(name), "{name}: {hello:#} {seen:#}");
        }
        let payload = event(&trap, "decoy-payload", &[]);
        assert_eq!(payload["honeyport"]["payload"]["masked"], true, "{payload:#}");
        assert_hidden(&trap);
    }
}

#[test]
fn the_password_of_rdesktop_is_told_by_every_server_that_lets_it_come_so_far() {
    if !has("rdesktop") || !has("xvfb-run") {
        return;
    }
    for (personality, protocols) in [
        ("xrdp-debian-12", json!(["tls", "credssp"])),
        ("rdp-windows-server-2016", json!(["tls"])),
    ] {
        let trap = server(personality);
        let address = trap.address("lure");
        // It asks whether it may trust the certificate.
        shell(&format!(
            "yes yes | xvfb-run -a timeout 30 rdesktop -u alice -p hunter2 -d CORP {address}"
        ));
        let seen = event(
            &trap,
            "decoy-credential",
            &[("/user/name", json!("alice")), ("/user/domain", json!("CORP"))],
        );
        assert_eq!(seen["honeyport"]["credential"]["secret_length"], 7, "{seen:#}");
        event(&trap, "decoy-handshake", &[("/honeyport/rdp/protocols", protocols)]);
        assert_hidden(&trap);
    }
}

#[test]
fn a_client_without_credssp_is_told_that_a_windows_wants_it() {
    if !has_xfreerdp() {
        return;
    }
    let trap = server("rdp-windows-10");
    let said = xfreerdp(trap.address("lure"), &["/sec:tls"]);
    assert!(said.contains("HYBRID_REQUIRED_BY_SERVER"), "{said}");
    let hello = introduced(&trap, "alice");
    assert_eq!(hello["honeyport"]["rdp"]["protocols"], json!(["tls"]), "{hello:#}");
}

#[test]
fn each_guess_of_hydra_at_a_windows_is_a_login() {
    if !has("hydra") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("passwords");
    std::fs::write(&list, "hunter2\nhunter3\n").unwrap();
    let trap = server("rdp-windows-server-2022");
    let output = hydra("rdp", trap.address("lure"), "administrator", list.to_str().unwrap());
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(said.contains("0 valid password"), "{said}");
    event(&trap, "decoy-ntlm", &[("/user/name", json!("administrator"))]);
    assert_hidden(&trap);
}

/// What a Windows without network level authentication has besides.
const OPEN: [&str; 7] = [
    "SSL: SUCCESS",
    "Native RDP: SUCCESS",
    "RDP Encryption level: Client Compatible",
    "40-bit RC4: SUCCESS",
    "56-bit RC4: SUCCESS",
    "128-bit RC4: SUCCESS",
    "RDP 10.1 server",
];

/// nmap's scripts for RDP, with its name of the service too; what it says.
fn scan(personality: &str) -> String {
    let trap = server(personality);
    let address = trap.address("lure");
    let (ip, port) = (address.ip().to_string(), address.port().to_string());
    let scripts = "rdp-enum-encryption,rdp-ntlm-info";
    let output = run("nmap", &["-Pn", "-sT", "-sV", "-p", &port, "--script", scripts, &ip]);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_scripts_of_nmap_see_xrdp_as_it_comes() {
    if !has("nmap") {
        return;
    }
    let said = scan("xrdp-debian-12");
    // Whatever it is asked for, xrdp agrees on something; what, this script does not look at.
    for word in [
        "ms-wbt-server xrdp",
        "CredSSP (NLA): SUCCESS",
        "Native RDP: SUCCESS",
        "RDP Encryption level: High",
        "128-bit RC4: SUCCESS",
        "RDP 5.x, 6.x, 7.x, or 8.x server",
    ] {
        assert!(said.contains(word), "no `{word}` in {said}");
    }
    assert!(!said.contains("40-bit") && !said.contains("Product_Version"), "{said}");
}

#[test]
fn the_scripts_of_nmap_see_a_windows_with_network_level_authentication_and_one_without() {
    if !has("nmap") {
        return;
    }
    for (personality, build, words) in [
        ("rdp-windows-10", "10.0.17763", &[][..]),
        ("rdp-windows-server-2022", "10.0.20348", &[]),
        ("rdp-windows-server-2016", "10.0.14393", &OPEN),
    ] {
        let said = scan(personality);
        let version = format!("Product_Version: {build}");
        let always = [
            "Microsoft Terminal Services",
            "CredSSP (NLA): SUCCESS",
            "CredSSP with Early User Auth: SUCCESS",
            "RDSTLS: SUCCESS",
            &version,
        ];
        for word in always.iter().chain(words) {
            assert!(said.contains(word), "{personality}: no `{word}` in {said}");
        }
        assert_eq!(
            said.contains("SSL: SUCCESS"),
            !words.is_empty(),
            "{personality}: {said}"
        );
    }
}
