//! What people are told: the table of all, the keys of one, and the shares of the bound for all together.

use super::*;
use crate::config::{Notices, SinkSettings};
use crate::graph::window::{First, NoticeRules, Policy};

fn mail(name: &str, more: &str) -> String {
    format!("[sinks.{name}]\ntype = 'mail'\ninputs = ['*']\n{more}\n")
}

fn of<'c>(config: &'c Config, name: &str) -> &'c SinkSettings {
    config.sinks.iter().find(|sink| sink.name == name).unwrap()
}

fn notices<'c>(config: &'c Config, name: &str) -> &'c Notices {
    of(config, name).notices.as_ref().unwrap()
}

fn rules(config: &Config, name: &str) -> NoticeRules {
    match notices(config, name).window.policy {
        Policy::Notices(rules) => rules,
        other => panic!("{other:?}"),
    }
}

#[test]
fn people_have_defaults_and_machines_nothing_of_it() {
    let config = good(&(mail("a", "") + "[sinks.f]\ntype = 'file'\ninputs = ['*']\npath = 'x'"));
    assert_eq!(of(&config, "f").notices, None);
    let notices = notices(&config, "a");
    assert_eq!(notices.window.window, Duration::from_secs(900));
    assert_eq!((notices.words.tone.as_str(), notices.words.contact.as_str()), ("", ""));
    assert_eq!(notices.words.folder, Some(PathBuf::from("/etc/trapline")));
    let expected = NoticeRules {
        first: First::AtOnce,
        keys: 20,
        benign: false,
    };
    assert_eq!(rules(&config, "a"), expected);
}

#[test]
fn a_sink_may_have_a_window_of_its_own_and_else_has_that_of_all() {
    let all = "[notices]\ntone = 'plain'\ncontact = 'ext. 4711'\nwindow = '1h'\nfirst = 'never'\nbenign = true\n";
    let config = good(&(all.to_owned() + &mail("a", "") + &mail("b", "window = '5m'\nfirst = 'at_once'")));
    let seen = ["a", "b"].map(|name| {
        let rules = rules(&config, name);
        (
            notices(&config, name).window.window.as_secs(),
            rules.first,
            rules.benign,
        )
    });
    assert_eq!(seen, [(3600, First::Never, true), (300, First::AtOnce, true)]);
    assert_eq!(notices(&config, "b").words.contact, "ext. 4711");
    only(
        "[sinks.f]\ntype = 'file'\ninputs = ['*']\npath = 'x'\nwindow = '5m'",
        "t.toml:5:1: unknown key `window`",
    );
}

#[test]
fn the_bound_for_all_is_shared_out_among_those_that_run() {
    let config = good(
        &("[notices]\nper_recipient = 9\nin_all = 8\n".to_owned()
            + &mail("a", "")
            + &mail("b", "enabled = false")
            + &mail("c", "")
            + &mail("d", "")),
    );
    assert_eq!(["a", "c", "d"].map(|name| rules(&config, name).keys), [3, 3, 2]);
    assert_eq!(rules(&config, "b").keys, 9);
    only(
        &("[notices]\nin_all = 1\n".to_owned() + &mail("a", "") + &mail("b", "")),
        "t.toml:2:10: 1 for 2 sinks that people read; allowed: 2 or more",
    );
}

#[test]
fn a_changed_table_changes_the_sinks_of_people_alone() {
    let file = "[sinks.f]\ntype = 'file'\ninputs = ['*']\npath = 'x'\n";
    let old = good(&(mail("a", "") + file));
    let new = good(&(mail("a", "") + file + "[notices]\nwindow = '30m'"));
    assert_eq!(changes(&old, &new).sinks.changed, ["a"]);
}

#[test]
fn wrong_values_of_the_table_are_told_with_their_bounds_also_where_nobody_reads() {
    only("[notices]\nper_recipient = 0", "t.toml:2:17: ");
    only("[notices]\nwindow = '8d'", "t.toml:2:10: ");
    only("[notices]\nfirst = 'later'", "t.toml:2:9: ");
}

#[test]
fn sinks_of_people_count_twice_among_the_nodes() {
    let sinks: String = (0..64).map(|n| mail(&format!("s{n}"), "")).collect();
    only(
        &("[notices]\nin_all = 64\n".to_owned() + &sinks),
        "t.toml:3:2: 128 transforms and sinks, 64 sinks that people read counted once more",
    );
}
