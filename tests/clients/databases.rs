//! `redis`, by redis-cli, hydra and nmap.

use serde_json::json;

use crate::harness::clients::{has, nmap, run};
use crate::{event, lure};

#[test]
fn redis_cli_is_refused_in_both_protocols_and_its_password_is_nowhere() {
    if !has("redis-cli") {
        return;
    }
    let trap = lure("service = \"redis\"");
    let port = trap.address("lure").port().to_string();
    let cli = |arguments: &[&str]| {
        let output = run("redis-cli", &[&["-p", &port], arguments].concat());
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    assert_eq!(cli(&["ping"]).trim(), "NOAUTH Authentication required.");
    let refused = "AUTH failed: WRONGPASS invalid username-password pair or user is disabled.";
    assert!(cli(&["-a", "hunter22", "info"]).contains(refused));
    assert!(cli(&["-3", "--user", "root", "--pass", "hunter22", "keys", "*"]).contains(refused));
    let root = event(&trap, "decoy-credential", &[("/user/name", json!("root"))]);
    assert_eq!(root["honeyport"]["credential"]["secret_length"], 8);
    event(&trap, "decoy-query", &[("/honeyport/commands", json!(["keys *"]))]);
    let all = trap.events(&["--limit", "10000", "--format", "ecs"]);
    assert!(all.iter().all(|event| !event.to_string().contains("hunter22")));
}

#[test]
fn hydra_guesses_at_redis_and_nmap_calls_it_so() {
    let trap = lure("service = \"redis\"");
    if has("hydra") {
        let list = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(list.path(), "letmein1\nhunter22\n").unwrap();
        // It takes no user for redis.
        let (port, list) = (
            trap.address("lure").port().to_string(),
            list.path().to_str().unwrap().to_owned(),
        );
        run(
            "hydra",
            &["-I", "-t", "2", "-P", &list, "-s", &port, "127.0.0.1", "redis"],
        );
        event(
            &trap,
            "decoy-credential",
            &[("/honeyport/credential/kind", json!("password"))],
        );
    }
    if has("nmap") {
        let said = nmap(&[trap.address("lure")]);
        assert!(said.contains("Redis key-value store"), "{said}");
    }
}
