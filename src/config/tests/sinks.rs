//! Sinks: their own keys, the common ones, and what they object to.

use super::*;

#[test]
fn sinks_do_not_write_each_others_files() {
    let file = |name: &str, path: &str| format!("[sinks.{name}]\ntype = 'file'\ninputs = ['*']\npath = '{path}'\n");
    only(
        &(file("a", "x.log") + &file("b", "/var/lib/trapline/x.log")),
        "t.toml:8:8: `/var/lib/trapline/x.log` is already written by sink `a`",
    );
    for (own, owner) in [
        ("journal.db", "the journal"),
        ("journal.db-wal", "the journal"),
        ("journal.lock", "the journal"),
        ("journal.unkept", "the journal"),
        ("index.db-shm", "trapline itself"),
        ("control.sock", "trapline itself"),
    ] {
        only(
            &file("a", own),
            &format!("t.toml:4:8: `/var/lib/trapline/{own}` is already written by {owner}"),
        );
    }
}

#[test]
fn a_sink_gets_its_own_keys_the_common_ones_and_its_formats() {
    let hec = "[sinks.h]\ntype = 'splunk_hec'\ninputs = ['*']\nendpoint = 'https://x'\n";
    let loaded = load_with(
        &format!("{hec}token = '${{TOKEN}}'\nbatch = true"),
        &[("TOKEN", "hush")],
    )
    .unwrap();
    let sink = &loaded.config.sinks[0];
    assert_eq!(sink.format, Format::Ocsf);
    assert_eq!(sink.table.secret("token").unwrap().expose_secret(), "hush");
    assert!(sink.table.bool("batch"));
    only(
        &format!("{hec}token = 'hush'"),
        "t.toml:5:9: `token`: a literal secret, but others may read this file",
    );
    let found = load_with(
        &format!("{hec}token = '${{TOKEN}}'\nformat = 'cef'"),
        &[("TOKEN", "hush")],
    )
    .unwrap_err();
    assert!(
        found
            .to_string()
            .starts_with("t.toml:6:10: format `cef` for a `splunk_hec` sink; allowed: \"ocsf\" or \"ecs\""),
        "{found}"
    );
}

#[test]
fn a_sink_that_writes_to_owners_begins_with_no_release_of_before() {
    let mail = "[sinks.m]\ntype = 'mail'\ninputs = ['*']\nstart = 'oldest'\n";
    for owners in ["also", "alone"] {
        only(
            &format!("{mail}owners = '{owners}'"),
            "t.toml:4:9: `\"oldest\"` for a sink that writes to owners",
        );
    }
    good(mail);
}

#[test]
fn a_sink_that_writes_to_owners_alone_takes_no_canary() {
    let mail = "[sinks.m]\ntype = 'mail'\ninputs = ['*']\ncanary = true\n";
    only(
        &format!("{mail}owners = 'alone'"),
        "t.toml:4:10: a canary for a sink that writes to owners alone",
    );
    good(&format!("{mail}owners = 'also'"));
}

#[test]
fn a_sink_of_its_own_adds_problems() {
    only(
        "[sinks.f]\ntype = 'file'\ninputs = ['*']\npath = 'x'\nendpoint = 'http://x'",
        "t.toml:5:12: no https URL",
    );
}

#[test]
fn what_a_sink_objects_to_is_told_beside_the_other_mistakes_of_its_table() {
    let sink =
        "[sinks.h]\ntype = 'splunk_hec'\ninputs = ['*']\nendpoint = 'http://x'\ntoken = '${NOPE}'\nstrat = 'now'\n";
    let told = lines(sink);
    assert_eq!(told.len(), 3, "{told:#?}");
    assert!(
        told.iter().any(|line| line.starts_with("t.toml:4:12: no https URL")),
        "{told:#?}"
    );
    // An endpoint that is no text stands as that, without what its stand-in would lead to.
    only(
        "[sinks.f]\ntype = 'file'\ninputs = ['*']\npath = 'x'\nendpoint = 5",
        "t.toml:5:12: number `5`",
    );
}
