//! `vnc`, by hydra and nmap.

use serde_json::json;

use crate::harness::clients::{has, nmap, run};
use crate::{event, lure};

#[test]
fn hydra_guesses_at_vnc_and_its_answers_are_hashes() {
    if !has("hydra") {
        return;
    }
    let trap = lure("service = \"vnc\"\n[capture]\nsecrets = \"clear\"");
    let list = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(list.path(), "hunter22\n").unwrap();
    let (port, list) = (
        trap.address("lure").port().to_string(),
        list.path().to_str().unwrap().to_owned(),
    );
    run(
        "hydra",
        &["-I", "-t", "1", "-P", &list, "-s", &port, "127.0.0.1", "vnc"],
    );
    let login = event(
        &trap,
        "decoy-credential",
        &[("/honeyport/credential/kind", json!("hash"))],
    );
    let line = login["honeyport"]["credential"]["secret"].as_str().unwrap();
    assert!(line.starts_with("$vnc$*") && line.len() == 6 + 32 + 1 + 32, "{line}");
}

#[test]
fn nmap_calls_it_vnc_and_reads_what_it_asks_for() {
    if !has("nmap") {
        return;
    }
    let trap = lure("service = \"vnc\"");
    let said = nmap(&[trap.address("lure")]);
    assert!(said.contains("VNC (protocol 3.8)"), "{said}");
}
