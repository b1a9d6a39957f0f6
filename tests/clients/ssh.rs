//! `ssh`, by OpenSSH's own client, sshpass, hydra, ssh-keyscan and nmap.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::clients::{has, hydra, run, shell};
use crate::harness::{Trap, text};
use crate::{event, lure};

/// Asks no one, and trusts every host.
const OPTIONS: &str =
    "-F none -oStrictHostKeyChecking=no -oUserKnownHostsFile=/dev/null -oConnectTimeout=30 -oIdentityAgent=none";

/// What every algorithm's login ends with.
const DENIED: &str = "root@127.0.0.1: Permission denied (publickey,password).";

/// What the client says with further options.
fn ssh(address: SocketAddr, options: &[&str]) -> String {
    let port = address.port().to_string();
    let mut arguments: Vec<&str> = OPTIONS.split(' ').collect();
    arguments.extend(options);
    arguments.extend(["-p", &port, "root@127.0.0.1", "true"]);
    text(&run("ssh", &arguments).stderr)
}

/// What it says where a password is typed at each prompt.
fn sshpass(address: SocketAddr, password: &str, options: &str) -> String {
    let port = address.port();
    let said = shell(&format!(
        "sshpass -p '{password}' ssh {OPTIONS} -oPubkeyAuthentication=no {options} -p {port} root@127.0.0.1 true"
    ));
    text(&said.stderr)
}

/// The algorithms that a personality offers under a key of its `[look.offer]`, without markers.
fn offered(personality: &str, key: &str) -> Vec<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("config/personalities/{personality}.toml"));
    let table: toml::Table = std::fs::read_to_string(file).unwrap().parse().unwrap();
    let names = table["look"]["offer"][key].as_array().unwrap().iter();
    let names = names.map(|name| name.as_str().unwrap().to_owned());
    names.filter(|name| !name.starts_with("kex-strict")).collect()
}

#[test]
fn openssh_gets_as_far_as_a_refusal_with_each_algorithm_that_is_offered() {
    if !has("ssh") {
        return;
    }
    for personality in ["openssh-debian-12", "openssh-ubuntu-18.04"] {
        let trap = lure(&format!("service = \"ssh\"\npersonality = \"{personality}\""));
        let address = trap.address("lure");
        let known = text(&shell("for kind in kex cipher mac HostKeyAlgorithms; do ssh -Q $kind; done").stdout);
        let kinds = [
            ("kex", "KexAlgorithms"),
            ("host_keys", "HostKeyAlgorithms"),
            ("ciphers", "Ciphers"),
            ("macs", "MACs"),
        ];
        for (key, option) in kinds {
            for name in offered(personality, key) {
                if !known.lines().any(|line| line == name) {
                    println!("SKIPPED part of a test: this ssh does not know `{name}`");
                    continue;
                }
                let one = format!("-o{option}={name}");
                let cipher = if key == "macs" {
                    "-oCiphers=aes128-ctr"
                } else {
                    "-oBatchMode=yes"
                };
                let said = ssh(address, &["-oBatchMode=yes", cipher, &one]);
                assert!(said.contains(DENIED), "{personality} {name}: {said}");
            }
        }
    }
}

#[test]
fn a_password_is_a_credential_and_stands_in_no_event() {
    if !has("sshpass") {
        return;
    }
    let trap = lure("service = \"ssh\"");
    let said = sshpass(trap.address("lure"), "hunter2hunter2", "-oNumberOfPasswordPrompts=1");
    assert!(said.contains(DENIED), "{said}");
    let wanted = [
        ("/user/name", json!("root")),
        ("/honeyport/ssh/auth_method", json!("password")),
    ];
    let login = event(&trap, "decoy-credential", &wanted);
    assert_eq!(login["honeyport"]["credential"]["secret_length"], 14);
    event(&trap, "session-end", &[]);
    for format in ["ecs", "ocsf", "text"] {
        let printed = text(
            &trap
                .trapline(&["events", "--limit", "10000", "--format", format])
                .stdout,
        );
        assert!(printed.len() > 100 && !printed.contains("hunter2"), "{format}");
    }
}

#[test]
fn a_key_that_is_offered_is_known_by_its_type_and_fingerprint() {
    if !has("ssh") || !has("ssh-keygen") {
        return;
    }
    let trap = lure("service = \"ssh\"");
    let key = trap.path("id");
    let key = key.to_str().unwrap();
    run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", key]);
    let listed = text(&run("ssh-keygen", &["-lf", key]).stdout);
    let fingerprint = listed.split(' ').nth(1).unwrap();
    let said = ssh(
        trap.address("lure"),
        &["-oBatchMode=yes", "-oIdentitiesOnly=yes", "-i", key],
    );
    assert!(said.contains(DENIED), "{said}");
    let wanted = [
        ("/honeyport/credential/kind", json!("key")),
        ("/honeyport/ssh/key_type", json!("ssh-ed25519")),
        ("/honeyport/ssh/key_fingerprint", json!(fingerprint)),
    ];
    let login = event(&trap, "decoy-credential", &wanted);
    assert_eq!(login.pointer("/honeyport/credential/secret_length"), None);
}

#[test]
fn a_client_that_goes_on_is_told_that_it_failed_too_often() {
    if !has("sshpass") {
        return;
    }
    let trap = lure("service = \"ssh\"");
    // sshpass answers one prompt; the client's own helper answers all of them.
    let port = trap.address("lure").port();
    let helper = trap.path("ask");
    let asks = "#!/bin/sh\necho wrong12345\n";
    std::fs::write(&helper, asks).unwrap();
    let said = shell(&format!(
        "chmod 700 {helper}; SSH_ASKPASS={helper} SSH_ASKPASS_REQUIRE=force ssh {OPTIONS} -oPubkeyAuthentication=no \
         -oNumberOfPasswordPrompts=9 -p {port} root@127.0.0.1 true",
        helper = helper.display()
    ));
    let said = text(&said.stderr);
    assert!(said.contains("Too many authentication failures"), "{said}");
    event(&trap, "decoy-credential", &[("/event/sequence", json!(6))]);
}

/// paramiko, which unlike OpenSSH agrees on new keys before it is logged in, as any client may (RFC 4253 section 9).
const NEW_KEYS: &str = "
import sys
from paramiko import AuthenticationException, Transport
client = Transport(('127.0.0.1', int(sys.argv[1])))
client.start_client(timeout=60)
session = client.session_id
for word in ('guess1', 'guess22'):
    client.renegotiate_keys()
    try:
        client.auth_password('root', word)
    except AuthenticationException:
        print('refused', client.session_id == session)
";

#[test]
fn a_client_may_agree_on_new_keys_between_its_guesses() {
    const PYTHON: &str = "/usr/bin/python3";
    if !has(PYTHON) || !run(PYTHON, &["-c", "import paramiko"]).status.success() {
        return println!("SKIPPED part of a test: paramiko is not installed");
    }
    let trap = lure("service = \"ssh\"");
    let port = trap.address("lure").port().to_string();
    let said = run(PYTHON, &["-c", NEW_KEYS, &port]);
    assert_eq!(text(&said.stdout), "refused True\n".repeat(2), "{}", text(&said.stderr));
    event(
        &trap,
        "decoy-credential",
        &[("/honeyport/credential/secret_length", json!(7))],
    );
}

#[test]
fn each_guess_of_hydra_is_a_credential() {
    if !has("hydra") {
        return;
    }
    let trap = lure("service = \"ssh\"");
    let list = trap.path("passwords");
    std::fs::write(&list, "alpha1234\nbravo12345\n").unwrap();
    hydra("ssh", trap.address("lure"), "carol", list.to_str().unwrap());
    for length in [9, 10] {
        let wanted = [
            ("/user/name", json!("carol")),
            ("/honeyport/credential/secret_length", json!(length)),
        ];
        event(&trap, "decoy-credential", &wanted);
    }
}

/// The keys that a scan sees, sorted.
fn scanned(trap: &Trap) -> Vec<String> {
    let port = trap.address("lure").port().to_string();
    let said = text(&run("ssh-keyscan", &["-T", "60", "-p", &port, "127.0.0.1"]).stdout);
    let keys = said.lines().filter_map(|line| line.split_once(' '));
    let mut keys: Vec<String> = keys.map(|(_, key)| key.to_owned()).collect();
    keys.sort();
    keys
}

#[test]
fn the_host_keys_are_the_same_after_a_restart() {
    if !has("ssh-keyscan") {
        return;
    }
    let mut trap = lure("service = \"ssh\"");
    let first = scanned(&trap);
    assert_eq!(first.len(), 3, "{first:?}");
    trap.signal("TERM");
    trap.ended();
    trap.launch();
    assert_eq!(scanned(&trap), first);
}

#[test]
fn nmap_names_the_product_and_reads_its_keys_algorithms_and_methods() {
    if !has("nmap") {
        return;
    }
    let trap = lure("service = \"ssh\"");
    let port = trap.address("lure").port().to_string();
    let scripts = "ssh-hostkey,ssh2-enum-algos,ssh-auth-methods";
    let said = run(
        "nmap",
        &["-Pn", "-n", "-sV", "--script", scripts, "-p", &port, "127.0.0.1"],
    );
    let said = text(&said.stdout);
    for part in [
        "OpenSSH 8.9p1 Ubuntu",
        "(ECDSA)",
        "(ED25519)",
        "Supported authentication methods",
        "publickey",
        "password",
        "diffie-hellman-group18-sha512",
        "umac-128-etm@openssh.com",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let asked: Value = event(&trap, "decoy-query", &[]);
    assert_eq!(asked["honeyport"]["decoy"]["id"], "lure");
}
