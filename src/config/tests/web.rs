//! `[web]`.

use super::*;

const DECOY: &str = "[decoys.a]\nservice = 'ssh'\nlisten = ['0.0.0.0:2222']\n";

fn loaded(web: &str) -> Option<WebSettings> {
    load_with(&format!("{DECOY}{web}"), &[]).unwrap().config.web
}

#[test]
fn nothing_listens_without_the_table_and_an_empty_one_is_for_this_host() {
    assert_eq!(loaded(""), None);
    let empty = WebSettings {
        listen: "127.0.0.1:8420".parse().unwrap(),
        hosts: Vec::new(),
        tls: None,
        lists_from: Vec::new(),
    };
    assert_eq!(loaded("[web]\n"), Some(empty));
    let open =
        loaded("[web]\nlisten = '[::]:443'\nhosts = ['Trap.Example.', '2001:db8::1']\ntls = { cert = 'c', key = 'k' }");
    let open = open.unwrap();
    assert_eq!(open.hosts, ["trap.example", "2001:db8::1"]);
    let tls = open.tls.unwrap();
    assert!(tls.cert.ends_with("c") && tls.cert.is_absolute() && tls.ca.is_none());
}

#[test]
fn what_others_could_reach_needs_tls_and_every_mistake_has_its_place() {
    only(
        "[web]\nlisten = '0.0.0.0:8420'",
        "t.toml:2:10: `0.0.0.0:8420` can be reached from other hosts, and TLS is off; allowed: a loopback address",
    );
    only(
        "[web]\nlisten = '192.0.2.1:1'\ntls = 'off'",
        "t.toml:2:10: `192.0.2.1:1` can be reached from other hosts",
    );
    only(
        "[web]\nlisten = 'localhost:8420'",
        "t.toml:2:10: `localhost:8420` is not an address and port",
    );
    only(
        "[web]\nhosts = ['a', 'http://b']",
        "t.toml:2:15: `http://b` is neither a host name nor an address",
    );
    only(
        "[web]\nlisten = '0.0.0.0:1'\ntls = { cert = 'c' }",
        "t.toml:3:1: key `key` is missing in `web.tls`",
    );
    only("[web]\ncors = '*'", "t.toml:2:1: unknown key `cors`");
    let taken = format!("{DECOY}[web]\nlisten = '127.0.0.1:2222'");
    let error = load_with(&taken, &[]).unwrap_err().to_string();
    assert!(
        error.contains("t.toml:5:10: `127.0.0.1:2222` is taken: decoy `a` listens there"),
        "{error}"
    );
}

#[test]
fn networks_without_a_token_are_named_and_never_everybody() {
    let settings = loaded("[web]\nlists_from = ['10.3.0.9/24', '2001:db8::1']").unwrap();
    let networks: Vec<_> = settings.lists_from.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["10.3.0.0/24", "2001:db8::1/128"]);
    only(
        "[web]\nlists_from = ['10.3.0.0/24', '0.0.0.0/0']",
        "t.toml:2:30: `0.0.0.0/0` is everybody; allowed: a network such as \"10.3.0.0/24\", or an address",
    );
    only(
        "[web]\nlists_from = ['fw.example.org']",
        "t.toml:2:15: `fw.example.org` is neither an address nor a network",
    );
    let config = |web: &str| load_with(&format!("{DECOY}{web}"), &[]).unwrap().config;
    let other = changes(&config("[web]\n"), &config("[web]\nlists_from = ['10.3.0.0/24']"));
    assert!(other.restart_only.is_empty() && other.web);
}

#[test]
fn the_address_takes_a_restart_and_names_and_files_do_not() {
    let config = |web: &str| load_with(&format!("{DECOY}{web}"), &[]).unwrap().config;
    let plain = config("[web]\n");
    let named = changes(&plain, &config("[web]\nhosts = ['a']"));
    assert!(named.restart_only.is_empty() && named.web);
    assert_eq!(
        changes(&plain, &config("[web]\nlisten = '[::1]:1'")).restart_only,
        ["web.listen"]
    );
    assert_eq!(changes(&plain, &config("")).restart_only, ["web"]);
    assert_eq!(changes(&config(""), &plain).restart_only, ["web"]);
}
