//! `smtp`, by swaks, curl, hydra and nmap.

use serde_json::json;

use crate::harness::Trap;
use crate::harness::clients::{curl, has, nmap, run, shell};
use crate::{event, lure, one_decoy};

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

#[test]
fn a_login_by_swaks_after_starttls_is_a_credential_and_its_hello_is_told_with_its_name() {
    if !has("swaks") {
        return;
    }
    for personality in ["smtp-postfix", "smtp-exim", "smtp-postfix-submission"] {
        let trap = lure(&format!("service = \"smtp\"\npersonality = \"{personality}\""));
        let server = trap.address("lure").to_string();
        let login = ["--auth", "LOGIN", "--auth-user", "bob", "--auth-password", "hunter22"];
        let how = [
            "--server",
            &server,
            "-tls",
            "--tls-sni",
            "mail.example",
            "--helo",
            "WIN-SCAN01",
        ];
        let said = run("swaks", &[&how[..], &["--quit-after", "AUTH"], &login].concat());
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(said.contains("=== TLS started with cipher TLSv1.3"), "{said}");
        let hello = event(
            &trap,
            "decoy-handshake",
            &[("/honeyport/smtp/helo", json!("WIN-SCAN01"))],
        );
        assert_eq!(hello["tls"]["client"]["server_name"], "mail.example", "{hello:#}");
        assert_eq!(hello["tls"]["client"]["ja3"].as_str().unwrap().len(), 32);
        assert!(hello["honeyport"]["tls"]["ja4"].as_str().unwrap().starts_with("t13d"));
        let seen = event(&trap, "decoy-credential", &[("/user/name", json!("bob"))]);
        assert_eq!(seen["honeyport"]["credential"]["secret_length"], 8);
        event(&trap, "session-end", &[("/tls/established", json!(true))]);
        let all = format!("{:?}", trap.events(&["--limit", "10000", "--format", "ecs"]));
        assert!(!all.contains("hunter2") && !all.contains("aHVudGVyMj"));
    }
}

#[test]
fn curl_that_insists_on_tls_is_served() {
    if !has("curl") {
        return;
    }
    let trap = lure("service = \"smtp\"");
    let url = format!("smtp://{}", trap.address("lure"));
    let said = curl(&["-v", "-k", "--ssl-reqd", "-X", "VRFY root", &url]);
    let words = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(
        words.contains("220 2.0.0 Ready to start TLS") && words.contains("252 2.0.0 root"),
        "{words}"
    );
    event(&trap, "decoy-query", &[("/email/to/address", json!(["root"]))]);
}

#[test]
fn openssl_is_shown_the_certificate_of_the_host_and_speaks_on() {
    if !has("openssl") {
        return;
    }
    for personality in ["smtp-postfix", "smtp-exim"] {
        let trap = lure(&format!("service = \"smtp\"\npersonality = \"{personality}\""));
        let address = trap.address("lure");
        let options = "-starttls smtp -servername a.example -crlf -ign_eof";
        let said = shell(&format!(
            "(sleep 1; printf 'QUIT\\n') | openssl s_client -connect {address} {options} 2>&1"
        ));
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(
            said.contains("Verify return code: 18 (self-signed certificate)"),
            "{said}"
        );
        assert!(
            said.contains("\n221 2.0.0 Bye") || said.contains("closing connection"),
            "{said}"
        );
        event(
            &trap,
            "decoy-handshake",
            &[("/tls/client/server_name", json!("a.example"))],
        );
    }
}

#[test]
fn nmap_reads_the_certificate_behind_starttls() {
    if !has("nmap") {
        return;
    }
    for (personality, product) in [
        ("smtp-postfix", "Postfix smtpd"),
        ("smtp-postfix-submission", "Postfix smtpd"),
    ] {
        let trap = lure(&format!("service = \"smtp\"\npersonality = \"{personality}\""));
        let port = trap.address("lure").port().to_string();
        let scripts = [
            "-Pn",
            "-sT",
            "-sV",
            "--script",
            "+ssl-cert,+smtp-commands",
            "-p",
            &port,
            "127.0.0.1",
        ];
        let said = String::from_utf8_lossy(&run("nmap", &scripts).stdout).into_owned();
        assert!(
            said.contains(product) && said.contains("Subject: commonName="),
            "{said}"
        );
        assert!(
            said.contains("STARTTLS") && !said.contains("commonName=localhost"),
            "{said}"
        );
    }
}

#[test]
fn curl_logs_in_to_mailboxes_and_ftp_over_tls_on_request_and_openssl_goes_on_after_it() {
    if !has("curl") || !has("openssl") {
        return;
    }
    for (service, personality, scheme) in [
        ("banner", "imap-dovecot", "imap"),
        ("banner", "pop3-dovecot", "pop3"),
        ("ftp", "vsftpd-3.0.5-tls", "ftp"),
    ] {
        let trap = lure(&format!("service = \"{service}\"\npersonality = \"{personality}\""));
        let address = trap.address("lure");
        curl(&[
            "-k",
            "--ssl-reqd",
            "-u",
            "bob:hunter22",
            &format!("{scheme}://{address}/"),
        ]);
        let login = event(&trap, "decoy-credential", &[("/user/name", json!("bob"))]);
        assert_eq!(login["honeyport"]["credential"]["secret_length"], 8, "{personality}");
        let hello = event(&trap, "decoy-handshake", &[("/tls/version", json!("1.3"))]);
        assert_eq!(
            hello["tls"]["client"]["ja3"].as_str().unwrap().len(),
            32,
            "{personality}"
        );
        event(&trap, "session-end", &[("/tls/established", json!(true))]);
        let options = format!("-starttls {scheme} -servername a.example");
        let said = shell(&format!(
            "openssl s_client -connect {address} {options} </dev/null 2>&1"
        ));
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(
            said.contains("TLSv1.3") && said.contains("a:PKEY: rsaEncryption, 2048 (bit)"),
            "{said}"
        );
        event(
            &trap,
            "decoy-handshake",
            &[("/tls/client/server_name", json!("a.example"))],
        );
        let all = format!("{:?}", trap.events(&["--limit", "10000", "--format", "ecs"]));
        assert!(!all.contains("hunter2") && !all.contains("aHVudGVy"), "{personality}");
    }
}

#[test]
fn the_operators_certificate_is_shown_after_starttls_and_refused_where_there_is_none() {
    if !has("openssl") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let pair = rcgen::generate_simple_self_signed(vec!["mx.example".to_owned()]).unwrap();
    std::fs::write(&cert, pair.cert.pem()).unwrap();
    std::fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
    let tls = format!("tls = {{ cert = {cert:?}, key = {key:?}, upgrade = true }}");
    let trap = lure(&format!("service = \"smtp\"\n{tls}"));
    let address = trap.address("lure");
    let line = format!(
        "openssl s_client -connect {address} -starttls smtp </dev/null 2>&1 | openssl x509 -noout -ext subjectAltName"
    );
    let said = String::from_utf8_lossy(&shell(&line).stdout).into_owned();
    assert!(said.contains("DNS:mx.example"), "{said}");

    let none = Trap::idle(&one_decoy(&format!("service = \"redis\"\n{tls}")));
    for command in ["check", "run"] {
        let said = none.trapline(&[command]);
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(said.contains("has no STARTTLS or the like"), "{command}: {said}");
    }
}
