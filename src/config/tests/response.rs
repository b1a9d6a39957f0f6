//! What is done about sources: rules, and the sinks that act.

use trapline_schemas::Field;

use super::*;
use crate::respond::settings::{Mode, ResponseSettings, ThresholdSpec};
use crate::roles::Touch;

/// A sink that blocks, so that nobody is warned of its absence.
const GATE: &str = "[sinks.gate]\ntype = 'gate'\n";
const SSH: &str = "[decoys.ssh]\nservice = 'ssh'\nlisten = ['0.0.0.0:22']\n";

/// A rule that blocks for an hour, with these keys before it.
fn rule(keys: &str) -> String {
    format!("{GATE}{SSH}[response.rules.r]\n{keys}\ndo = ['block']\nttl = '1h'\n")
}

fn response(text: &str) -> ResponseSettings {
    good(text).response.unwrap()
}

#[test]
fn without_a_table_nothing_is_done_and_a_sink_that_acts_says_so() {
    assert_eq!(good("").response, None);
    only(
        GATE,
        "t.toml:1:8: warning: sink `gate` waits for decisions, and nothing decides",
    );
}

#[test]
fn an_empty_table_observes_and_has_its_defaults() {
    assert_eq!(response("[response]"), ResponseSettings::default());
}

#[test]
fn a_rule_is_read_whole() {
    let text = rule(
        "when = 'event.action == \"decoy-connect\"'\nlevel = 'proof'\ndecoys = ['ssh']\neven_contact = true\n\
                     threshold = { distinct = 'honeyport.decoy.id', count = 3, within = '60s' }",
    );
    let response = response(&format!(
        "[response]\nmode = 'enforce'\nallow = ['192.0.2.9/24', '::1']\n{text}"
    ));
    assert_eq!(response.mode, Mode::Enforce);
    let allow: Vec<_> = response.allow.iter().map(ToString::to_string).collect();
    assert_eq!(allow, ["192.0.2.0/24", "::1/128"]);
    let rule = &response.rules[0];
    assert_eq!(
        (rule.name.as_str(), rule.when.as_deref()),
        ("r", Some("event.action == \"decoy-connect\""))
    );
    assert_eq!(
        (rule.level, rule.even_contact, rule.arm),
        (Some(Touch::Proof), true, false)
    );
    assert_eq!(
        (&*rule.verbs, &*rule.steps),
        (&[Verb::Block][..], &[Duration::from_secs(3600)][..])
    );
    let threshold = ThresholdSpec {
        distinct: Field::find("honeyport.decoy.id"),
        count: 3,
        within: Duration::from_secs(60),
    };
    assert_eq!(
        (rule.threshold, rule.decoys.as_slice()),
        (Some(threshold), &["ssh".to_owned()][..])
    );
}

#[test]
fn an_escalation_is_a_list_of_steps_that_do_not_shrink() {
    let with = |steps: &str| format!("{GATE}[response.rules.r]\nlevel = 'intent'\ndo = ['block']\nescalate = {steps}");
    let steps = response(&with("['1h', '1d', '7d']")).rules[0].steps.clone();
    assert_eq!(
        steps.iter().map(Duration::as_secs).collect::<Vec<_>>(),
        [3600, 86_400, 7 * 86_400]
    );
    only(&with("['1h', '5m']"), "t.toml:6:19: a step shorter than the one before");
    only(&with("[]"), "t.toml:6:12: 0 steps");
    only(&with("['soon']"), "t.toml:6:13: `soon` for a step");
    only(&with("['1h']\nttl = '1h'"), "t.toml:6:12: both `ttl` and `escalate`");
}

#[test]
fn what_is_wrong_with_a_rule_is_said_at_its_place() {
    for (text, found) in [
        (
            "[response.rules.r]\nlevel = 'proof'\ndo = ['block']\n",
            "t.toml:5:6: no word of how long it is done",
        ),
        (
            "[response.rules.r]\nlevel = 'proof'\ndo = []\nttl = '1h'",
            "t.toml:5:6: nothing to do",
        ),
        (
            "[response.rules.r]\nlevel = 'proof'\ndo = ['blok']\nttl = '1h'",
            "t.toml:5:7: unknown act `blok`",
        ),
        (
            "[response.rules.r]\nlevel = 'proof'\ndo = ['block', 'block']\nttl = '1h'",
            "t.toml:5:16: `block` stands twice",
        ),
        (
            "[response.rules.r]\nlevel = 'proof'\ndo = ['block', 'tag']\nttl = '1h'",
            "t.toml:5:16: warning: `tag` is decided, and no enabled sink does it",
        ),
        (
            "[response.rules.r]\ndo = ['block']\nttl = '1h'",
            "t.toml:3:17: rule `r` is about everybody who touches anything",
        ),
        (
            "[response.rules.r]\ndecoys = ['shs']\ndo = ['block']\nttl = '1h'",
            "t.toml:4:11: unknown decoy `shs`",
        ),
        (
            "[response.rules.R-1]\nlevel = 'proof'\ndo = ['block']\nttl = '1h'",
            "t.toml:3:17: `R-1` is not a name",
        ),
        (
            "[response.rules.r]\nthreshold = { distinct = 'nothing.like', count = 2, within = '1m' }\n\
             do = ['block']\nttl = '1h'",
            "t.toml:4:26: unknown field `nothing.like`",
        ),
        ("[response]\nipv6_prefix = 100", "t.toml:4:15: a prefix of 100 bits"),
        (
            "[response]\nmode = 'enforced'",
            "t.toml:4:8: text `enforced` for `mode`",
        ),
        (
            "[response]\nallow = ['everybody']",
            "t.toml:4:10: `everybody` is not a network",
        ),
    ] {
        only(&format!("{GATE}{text}"), found);
    }
}

#[test]
fn a_rule_for_the_kernel_has_no_condition_but_its_decoys() {
    let armed = "arm = true\neven_contact = true\ndecoys = ['ssh']";
    assert!(response(&rule(armed)).rules[0].arm);
    only(
        &rule(&format!("{armed}\nlevel = 'intent'")),
        "t.toml:10:9: `level` in a rule that the kernel follows",
    );
    only(
        &rule("arm = true\neven_contact = true"),
        "t.toml:7:7: a rule for the kernel without `decoys`",
    );
    only(
        &rule("arm = true\ndecoys = ['ssh']"),
        "t.toml:7:7: the kernel shuts out whoever",
    );
}

#[test]
fn a_sink_that_acts_has_a_scope_and_a_pace_and_no_inputs() {
    let config = good(&format!("{GATE}scope = 'outside'\nwidth = 9\n[response]"));
    let gate = &config.sets[0];
    assert_eq!(
        (gate.scope, gate.interval, gate.enabled),
        (Scope::Outside, Duration::from_secs(5), true)
    );
    assert_eq!(gate.table.integer("width"), 9);
    assert!(config.sinks.is_empty());
    only(
        &format!("{GATE}inputs = ['*']\n[response]"),
        "t.toml:3:1: unknown key `inputs` in `sinks.gate`",
    );
}

#[test]
fn a_rule_can_be_overridden_by_a_variable() {
    let text = rule("level = 'proof'");
    let config = load_with(&text, &[("TRAPLINE__RESPONSE__RULES__R__TTL", "2h")])
        .unwrap()
        .config;
    assert_eq!(config.response.unwrap().rules[0].steps, [Duration::from_secs(7200)]);
}
