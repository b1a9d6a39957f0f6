//! `smtp`, by swaks, curl, hydra and nmap.

use serde_json::json;

use crate::harness::clients::{curl, has, nmap, run};
use crate::{event, lure};

#[test]
fn a_relay_test_by_swaks_leaves_its_addresses_and_the_name_of_its_host() {
    if !has("swaks") {
        return;
    }
    let trap = lure("service = \"smtp\"");
    let server = trap.address("lure").to_string();
    let addresses = ["--from", "probe@scan.example", "--to", "drop@relay.example"];
    run(
        "swaks",
        &[&["--server", &server, "--helo", "WIN-SCAN01"][..], &addresses].concat(),
    );
    event(
        &trap,
        "decoy-handshake",
        &[("/honeyport/smtp/helo", json!("WIN-SCAN01"))],
    );
    event(
        &trap,
        "decoy-query",
        &[("/email/from/address", json!(["probe@scan.example"]))],
    );
    event(
        &trap,
        "decoy-query",
        &[("/email/to/address", json!(["drop@relay.example"]))],
    );
}

#[test]
fn a_message_by_curl_to_the_postmaster_leaves_its_subject() {
    if !has("curl") {
        return;
    }
    let trap = lure("service = \"smtp\"\npersonality = \"smtp-exim\"");
    let message = std::env::temp_dir().join(format!("mail-{}", std::process::id()));
    std::fs::write(
        &message,
        "From: a@scan.example\r\nSubject: wire transfer\r\n\r\nhello\r\n",
    )
    .unwrap();
    let url = format!("smtp://{}/client.scan.example", trap.address("lure"));
    let path = message.to_str().unwrap();
    let envelope = ["--mail-from", "a@scan.example", "--mail-rcpt", "postmaster"];
    curl(&[&[&url[..], "--upload-file", path][..], &envelope].concat());
    std::fs::remove_file(&message).unwrap();
    event(&trap, "decoy-query", &[("/email/subject", json!("wire transfer"))]);
}

#[test]
fn logins_by_swaks_and_hydra_are_credentials_without_their_passwords() {
    if !has("swaks") || !has("hydra") {
        return;
    }
    let trap = lure("service = \"smtp\"\npersonality = \"smtp-exim\"");
    let address = trap.address("lure");
    let server = address.to_string();
    for mechanism in ["PLAIN", "LOGIN"] {
        let login = [
            "--auth",
            mechanism,
            "--auth-user",
            mechanism,
            "--auth-password",
            "hunter22",
        ];
        run(
            "swaks",
            &[&["--server", &server, "--quit-after", "AUTH"][..], &login].concat(),
        );
        let seen = event(&trap, "decoy-credential", &[("/user/name", json!(mechanism))]);
        assert_eq!(seen["honeyport"]["credential"]["secret_length"], 8);
    }
    let (ip, port) = (address.ip().to_string(), address.port().to_string());
    run(
        "hydra",
        &["-I", "-t", "1", "-l", "bob", "-p", "hunter23", "-s", &port, &ip, "smtp"],
    );
    event(&trap, "decoy-credential", &[("/user/name", json!("bob"))]);
    let all = format!("{:?}", trap.events(&["--limit", "10000", "--format", "ecs"]));
    assert!(!all.contains("hunter2") && !all.contains("aHVudGVyMj"));
}

#[test]
fn nmap_names_both_products() {
    if !has("nmap") {
        return;
    }
    for (personality, product) in [("smtp-postfix", "Postfix smtpd"), ("smtp-exim", "Exim smtpd 4.96")] {
        let trap = lure(&format!("service = \"smtp\"\npersonality = \"{personality}\""));
        let said = nmap(&[trap.address("lure")]);
        assert!(said.contains(product), "{said}");
    }
}
