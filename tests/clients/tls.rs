//! TLS, by curl, openssl and nmap.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::harness::Trap;
use crate::harness::clients::{curl, has, run, shell};
use crate::{event, lure};

fn https(personality: &str) -> (Trap, SocketAddr) {
    let trap = lure(&format!(
        "service = \"http\"\npersonality = \"{personality}\"\ntls = true"
    ));
    let address = trap.address("lure");
    (trap, address)
}

fn has_hex(value: &Value, digits: usize) -> bool {
    let text = value.as_str().unwrap_or_default();
    text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[test]
fn a_login_by_curl_over_tls_is_a_credential_without_its_password() {
    if !has("curl") {
        return;
    }
    let (trap, address) = https("nginx-debian-12");
    let port = address.port();
    let page = curl(&[
        "-k",
        "-u",
        "admin:hunter22",
        "--resolve",
        &format!("shop.example:{port}:127.0.0.1"),
        "-i",
        &format!("https://shop.example:{port}/admin/"),
    ]);
    let page = String::from_utf8_lossy(&page.stdout).into_owned();
    assert!(
        page.starts_with("HTTP/1.1 401 Unauthorized\r\nServer: nginx/1.22.1"),
        "{page}"
    );
    let hello = event(
        &trap,
        "decoy-handshake",
        &[("/tls/client/server_name", json!("shop.example"))],
    );
    assert!(has_hex(&hello["tls"]["client"]["ja3"], 32), "{hello:#}");
    let ja4 = hello["honeyport"]["tls"]["ja4"].as_str().unwrap();
    assert!(ja4.starts_with("t13d") && ja4.contains("h2_"), "{ja4}");
    assert_eq!(hello["tls"]["version"], "1.3");
    assert!(
        hello["honeyport"]["tls"]["alpn"]
            .as_array()
            .unwrap()
            .contains(&json!("http/1.1"))
    );
    event(&trap, "decoy-query", &[("/url/path", json!("/admin/"))]);
    let login = event(&trap, "decoy-credential", &[("/user/name", json!("admin"))]);
    assert_eq!(login["honeyport"]["credential"]["secret_length"], 8);
    let payload = event(&trap, "decoy-payload", &[]);
    let end = event(&trap, "session-end", &[("/tls/established", json!(true))]);
    for seen in [&login, &payload, &end] {
        assert!(!seen.to_string().contains("hunter22"), "{seen:#}");
    }
    assert!(
        payload["event"]["original"]
            .as_str()
            .unwrap()
            .starts_with("GET /admin/"),
        "{payload:#}"
    );
}

#[test]
fn openssl_speaks_1_2_and_1_3_and_is_refused_1_1() {
    if !has("openssl") {
        return;
    }
    let (trap, address) = https("apache-debian-12");
    let said = |option: &str| {
        let line = format!(
            "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | openssl s_client -connect {address} -servername a.example {option} -ign_eof 2>&1"
        );
        String::from_utf8_lossy(&shell(&line).stdout).into_owned()
    };
    let (two, three) = (said("-tls1_2"), said("-tls1_3"));
    assert!(
        two.contains("TLSv1.2") && two.contains("HTTP/1.1 200 OK") && two.contains("Server: Apache/2.4"),
        "{two}"
    );
    assert!(
        three.contains("TLSv1.3") && three.contains("HTTP/1.1 200 OK"),
        "{three}"
    );
    assert!(
        !two.contains("localhost") && !two.to_lowercase().contains("rcgen"),
        "{two}"
    );
    event(&trap, "decoy-handshake", &[("/tls/version", json!("1.2"))]);
    event(&trap, "decoy-handshake", &[("/tls/version", json!("1.3"))]);
    let old = said("-tls1_1 -cipher ALL:@SECLEVEL=0");
    assert!(old.contains("alert internal error"), "{old}");
    event(&trap, "decoy-handshake", &[("/tls/version", json!("1.1"))]);
    event(&trap, "session-end", &[("/tls/established", json!(false))]);
}

#[test]
fn a_hello_to_a_plain_port_is_told_and_curl_is_none_the_wiser() {
    if !has("curl") {
        return;
    }
    let trap = lure("service = \"http\"\npersonality = \"nginx-debian-12\"");
    let failed = curl(&["-k", &format!("https://{}/", trap.address("lure"))]);
    let words = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(
        words.contains("wrong version number") || words.contains("packet length"),
        "{words}"
    );
    let hello = event(&trap, "decoy-handshake", &[("/tls/version", json!("1.3"))]);
    assert!(has_hex(&hello["tls"]["client"]["ja3"], 32), "{hello:#}");
}

/// A real Apache reads as plain `http` there as well, for it answers plain HTTP on its TLS port.
/// A monitor that does not know our authority has meant no harm, and left nothing that could be kept.
#[test]
fn a_client_that_refuses_our_certificate_has_only_knocked() {
    if !has("curl") {
        return;
    }
    let (trap, address) = https("nginx-debian-12");
    let page = curl(&[&format!("https://127.0.0.1:{}/", address.port())]);
    assert_eq!(page.status.code(), Some(60), "curl cannot verify the certificate");
    event(&trap, "session-end", &[]);
    let events = trap.events(&["--limit", "100", "--format", "ecs"]);
    let of = |path: &str| -> BTreeSet<String> {
        let texts = events.iter().filter_map(|event| event.pointer(path)?.as_str());
        texts.map(ToOwned::to_owned).collect()
    };
    assert_eq!(
        of("/honeyport/touch/level"),
        ["contact".to_owned()].into(),
        "{events:#?}"
    );
    assert!(!of("/event/action").contains("decoy-payload"), "{events:#?}");
}

#[test]
fn nmap_names_the_product_behind_tls() {
    if !has("nmap") {
        return;
    }
    for (personality, name) in [
        ("nginx-debian-12", "ssl/http nginx 1.22.1"),
        ("apache-debian-12", "http Apache httpd 2.4"),
    ] {
        let (_trap, address) = https(personality);
        let port = address.port().to_string();
        let scripts = "+ssl-cert,+ssl-enum-ciphers";
        let output = run(
            "nmap",
            &["-Pn", "-sT", "-sV", "--script", scripts, "-p", &port, "127.0.0.1"],
        );
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let words: Vec<_> = said.split_whitespace().collect();
        assert!(words.join(" ").contains(name), "{said}");
        assert!(
            said.contains("Subject: commonName=") && said.contains("TLSv1.3"),
            "{said}"
        );
        assert!(
            !said.contains("commonName=localhost") && !said.contains("honeypot"),
            "{said}"
        );
    }
}
