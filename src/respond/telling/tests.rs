//! Events about decisions.

use std::collections::HashSet;

use trapline_schemas::{Format, codec, render::render};

use super::super::decision::Part;
use super::*;

const NOON: Timestamp = Timestamp::from_micros(1_772_619_330_123_456);
const FIREWALL: Place<'_> = Place {
    name: "firewall",
    verb: Verb::Block,
};

fn after(seconds: i64) -> Timestamp {
    Timestamp::from_micros(NOON.micros() + seconds * 1_000_000)
}

fn decision(target: &str) -> Decision {
    Decision {
        id: Uuid::from_u128(7),
        target: target.parse().unwrap(),
        inside: false,
        zone: "external".into(),
        owner: Some("net_team".into()),
        incident: Some(Uuid::from_u128(8)),
        verbs: vec![Verb::Block, Verb::Sinkhole],
        phase: Phase::Active,
        by: By::Rule("credentials".into()),
        parts: vec![Part {
            rule: "credentials".into(),
            step: 2,
        }],
        cause: Some(Uuid::from_u128(9)),
        touched: NOON,
        since: NOON,
        until: after(3600),
        ttl: Duration::from_secs(3600),
        gravity: 50,
        reason: None,
        handles: Default::default(),
        applied: Default::default(),
        restored: false,
    }
}

fn message(event: &Event) -> String {
    match event.resolve(Field::Message) {
        Some(Value::Text(text)) => text.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_decision_says_whom_what_why_and_until_when() {
    let made = Told::new(decision("203.0.113.77"), What::Decided, NOON);
    let event = told(&made, Mode::Enforce);
    assert_eq!(
        message(&event),
        "Decided to block and sinkhole 203.0.113.77 for 1 hour, by rule 'credentials', step 2"
    );
    assert_eq!(event.ip(Field::SourceIp), "203.0.113.77".parse().ok());
    assert_eq!(event.uuid(Field::IncidentId), Some(Uuid::from_u128(8)));
    assert_eq!(event.uuid(Field::ResponseCause), Some(Uuid::from_u128(9)));
    assert_eq!(event.text(Field::SourceOwner).unwrap(), "net_team");
    assert_eq!(event.text(Field::ResponseScope).unwrap(), "address");
    assert_eq!(event.get(Field::ResponseExpires), Some(&Value::Time(after(3600))));
    assert_eq!(event.get(Field::ResponseDryRun), Some(&Value::Bool(false)));
    assert_eq!(event.get(Field::ResponseUid), None);
}

#[test]
fn whoever_says_yes_is_named_beside_the_rule_that_proposed_it() {
    let alice = By::Person {
        name: "alice".into(),
        uid: Some(1000),
    };
    let yes = Told::new(decision("203.0.113.77"), What::Approved, NOON).by(Some(alice));
    let event = told(&yes.because("seen with the team".into()), Mode::Propose);
    assert_eq!(
        message(&event),
        "Approved the proposal to block and sinkhole 203.0.113.77 for 1 hour, by 'alice', step 2: seen with the team"
    );
    assert_eq!(event.text(Field::ResponseRule).unwrap(), "credentials");
    assert_eq!(event.int(Field::ResponseUid), Some(1000));
}

#[test]
fn what_was_not_done_says_so_to_its_end() {
    let mut open = decision("203.0.113.77");
    open.phase = Phase::Proposed;
    for (what, said) in [
        (What::Extended, "Extended the proposal to "),
        (What::Ended, "Ended the proposal to "),
    ] {
        let event = told(&Told::new(open.clone(), what, NOON), Mode::Propose);
        assert_eq!(event.get(Field::ResponseDryRun), Some(&Value::Bool(true)));
        assert!(message(&event).starts_with(said), "{}", message(&event));
    }
}

#[test]
fn a_network_is_named_beside_the_address() {
    let network = decision("2001:db8:0:1::/64");
    let about = About {
        address: "2001:db8:0:1::9".parse().unwrap(),
        ..About::of(&network, Mode::Enforce)
    };
    let event = enforced(&about, FIREWALL, NOON, Some(Duration::from_micros(1482)));
    assert_eq!(
        message(&event),
        "Blocked 2001:db8:0:1::/64 (2001:db8:0:1::9) on firewall for 1 hour"
    );
    assert_eq!(event.text(Field::ResponseScope).unwrap(), "network");
    assert_eq!(event.int(Field::ResponseLatency), Some(1482));
}

#[test]
fn each_verb_has_its_act_its_undoing_and_its_failure() {
    let decision = decision("203.0.113.77");
    let about = About::of(&decision, Mode::Enforce);
    let trouble = |undoing| Trouble {
        began: NOON,
        kind: "auth",
        message: "refused the key",
        undoing,
    };
    for (verb, on, off) in [
        (Verb::Block, "block-ip", "unblock-ip"),
        (Verb::Sinkhole, "sinkhole-add", "sinkhole-remove"),
        (Verb::Tag, "tag-host", "untag-host"),
        (Verb::List, "list-add", "list-remove"),
    ] {
        let place = Place { name: "there", verb };
        let events = [
            enforced(&about, place, NOON, None),
            lifted(&about, place, NOON),
            failed(&about, place, NOON, &trouble(false)),
            failed(&about, place, NOON, &trouble(true)),
        ];
        let told = events.each_ref().map(|event| {
            let state = event.text(Field::ResponseState).unwrap();
            (event.action_name().to_owned(), state.to_string())
        });
        let expected = [(on, "enforced"), (off, "lifted"), (on, "failed"), (off, "failed")];
        assert_eq!(
            told,
            expected.map(|(action, state)| (action.to_owned(), state.to_owned()))
        );
        assert_eq!(events[2].resolve(Field::EventOutcome), Some("failure".into()));
        assert_eq!(events[2].get(Field::EventRiskScore), Some(&Value::Float(73.0)));
    }
}

#[test]
fn what_is_told_again_has_the_same_id_and_what_is_new_has_another() {
    let decision = decision("203.0.113.77");
    let about = About::of(&decision, Mode::Enforce);
    let trouble = |began| Trouble {
        began,
        kind: "busy",
        message: "",
        undoing: false,
    };
    let rpz = Place {
        name: "rpz",
        verb: Verb::Sinkhole,
    };
    let all = |at: Timestamp| {
        let states = State::OF_DECISIONS
            .into_iter()
            .filter(|state| *state != State::Extended);
        let mut events: Vec<_> = states.map(|state| decided(&about, state, at)).collect();
        events.extend([
            enforced(&about, FIREWALL, at, None),
            enforced(&about, rpz, at, None),
            lifted(&about, FIREWALL, at),
            failed(&about, FIREWALL, at, &trouble(NOON)),
            failed(&about, FIREWALL, at, &trouble(after(60))),
            decided(&about, State::Extended, NOON),
            decided(&about, State::Extended, after(60)),
            repaired(FIREWALL, 3, NOON),
            repaired(FIREWALL, 3, after(60)),
        ]);
        events.iter().map(|event| event.id).collect::<Vec<_>>()
    };
    let ids = all(NOON);
    assert_eq!(all(after(1)), ids);
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
}

#[test]
fn every_event_is_kept_and_shown_in_every_form() {
    let decision = decision("2001:db8:0:1::/64");
    let about = About::of(&decision, Mode::Enforce);
    let mut events: Vec<_> = State::OF_DECISIONS.map(|state| decided(&about, state, NOON)).into();
    events.extend([
        enforced(&about, FIREWALL, NOON, None),
        lifted(&about, FIREWALL, NOON),
        repaired(FIREWALL, 3, NOON),
    ]);
    for event in events {
        assert_eq!(codec::decode(&codec::encode(&event)).unwrap(), event);
        for format in Format::ALL {
            let mut line = Vec::new();
            render(&event, *format, &mut line);
            assert!(String::from_utf8(line).unwrap().contains(event.action_name()));
        }
    }
}
