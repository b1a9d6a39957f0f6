//! What is never done.

use super::*;

#[test]
fn nobody_is_acted_on_without_a_finished_handshake() {
    let mut engine = enforcing(vec![RuleSpec {
        even_contact: true,
        ..rule("all", Touch::Contact)
    }]);
    let udp = with(hit("203.0.113.7", Touch::Proof, 0), Field::NetworkTransport, "udp");
    let forged = with(hit("203.0.113.7", Touch::Proof, 0), Field::SourceSpoofable, true);
    let benign = with(hit("203.0.113.7", Touch::Proof, 0), Field::BenignName, "scanner");
    let mut silent = hit("203.0.113.7", Touch::Proof, 0);
    silent.action = Action::SourceFolded;
    for event in [udp, forged, benign, silent] {
        assert_eq!(seen(&mut engine, &event), []);
    }
    for number in 0..10_000_u32 {
        let source = std::net::Ipv4Addr::from(0xcb00_7100 + number).to_string();
        engine.see(&with(hit(&source, Touch::Proof, 0), Field::NetworkTransport, "udp"));
    }
    assert!(engine.book().is_empty() && engine.take().is_empty());
}

#[test]
fn who_is_spared_is_refused_to_rules_and_persons_and_told_once() {
    let mut engine = enforcing(vec![rule("proof", Touch::Proof)]);
    spare(&mut engine, &["203.0.113.1/32"], at(0));
    let refused = seen(&mut engine, &hit("203.0.113.1", Touch::Proof, 0));
    assert_eq!(refused, [(What::Refused, "a gateway of this host".to_owned())]);
    assert_eq!(seen(&mut engine, &hit("203.0.113.1", Touch::Proof, 3599)), []);
    assert_eq!(seen(&mut engine, &hit("203.0.113.1", Touch::Proof, 3600)).len(), 1);
    for target in ["203.0.113.1", "203.0.113.0/24", "127.0.0.1", "::1", "224.0.0.1"] {
        let denied = engine.add(wish(target), at(0)).unwrap_err();
        assert!(matches!(denied, Denied::Never(..)), "{target}: {denied}");
    }
    assert!(engine.book().is_empty());
}

#[test]
fn who_becomes_spared_is_let_go() {
    let mut engine = enforcing(vec![rule("proof", Touch::Proof)]);
    engine.see(&hit("203.0.113.1", Touch::Proof, 0));
    engine.see(&hit("203.0.113.2", Touch::Proof, 0));
    engine.take();
    spare(&mut engine, &["203.0.113.1/32"], at(1));
    assert_eq!(
        told(&mut engine),
        [(What::Ended, "it is spared now: a gateway of this host".to_owned())]
    );
    assert_eq!(blocked(&engine), ["203.0.113.2"]);
}

#[test]
fn a_contact_alone_from_inside_is_not_acted_on_unless_the_rule_says_so() {
    let contact = inside(hit("10.0.0.7", Touch::Contact, 0));
    let mut careful = enforcing(vec![rule("all", Touch::Contact)]);
    let refused = seen(&mut careful, &contact);
    assert!(refused[0].1.starts_with("a contact alone, from inside"), "{refused:?}");
    assert_eq!(
        seen(&mut careful, &inside(hit("10.0.0.7", Touch::Intent, 1)))[0].0,
        What::Decided
    );
    let mut bold = enforcing(vec![RuleSpec {
        even_contact: true,
        ..rule("all", Touch::Contact)
    }]);
    assert_eq!(seen(&mut bold, &contact)[0].0, What::Decided);
    assert_eq!(
        seen(&mut bold, &hit("203.0.113.7", Touch::Contact, 0))[0].0,
        What::Decided
    );
}

#[test]
fn shared_addresses_are_never_acted_on_by_rules() {
    let mut engine = enforcing(vec![rule("proof", Touch::Proof)]);
    let shared = with(hit("203.0.113.7", Touch::Proof, 0), Field::SourceSharedAddress, true);
    assert_eq!(
        seen(&mut engine, &shared),
        [(What::Refused, "an address that many share".to_owned())]
    );
    assert_eq!(
        seen(&mut engine, &hit("100.64.3.4", Touch::Proof, 0))[0].0,
        What::Refused
    );
    assert_eq!(
        seen(&mut engine, &hit("100.128.3.4", Touch::Proof, 0))[0].0,
        What::Decided
    );
    // A person may know better.
    assert!(engine.add(wish("100.64.3.4"), at(0)).is_ok());
}

#[test]
fn private_addresses_are_left_alone_if_so_configured() {
    let settings = ResponseSettings {
        block_private: false,
        ..settings(Mode::Enforce, vec![rule("proof", Touch::Proof)])
    };
    let mut engine = engine(settings);
    for source in ["10.0.0.7", "192.168.1.1", "172.31.0.1", "fd00::7"] {
        let refused = seen(&mut engine, &inside(hit(source, Touch::Proof, 0)));
        assert_eq!(refused[0].0, What::Refused, "{source}");
    }
    assert_eq!(
        seen(&mut engine, &hit("172.32.0.1", Touch::Proof, 0))[0].0,
        What::Decided
    );
}

#[test]
fn an_outside_ipv6_source_may_be_acted_on_as_its_network_and_an_inside_one_never() {
    let settings = ResponseSettings {
        ipv6_prefix: 64,
        ..settings(Mode::Enforce, vec![rule("proof", Touch::Proof)])
    };
    let mut engine = engine(settings);
    engine.see(&hit("2001:db8:0:1::9", Touch::Proof, 0));
    engine.see(&inside(hit("fd00::7", Touch::Proof, 0)));
    engine.see(&hit("203.0.113.7", Touch::Proof, 0));
    assert_eq!(blocked(&engine), ["2001:db8:0:1::/64", "203.0.113.7", "fd00::7"]);
    // Another address of that network is the same source.
    assert_eq!(engine.book().len(), 3);
    engine.see(&hit("2001:db8:0:1::a", Touch::Proof, 1));
    assert_eq!(engine.book().len(), 3);
}

#[test]
fn no_more_are_decided_in_a_minute_than_is_allowed_and_one_alarm_says_so() {
    let settings = ResponseSettings {
        decisions_per_minute: 2,
        ..settings(Mode::Enforce, vec![rule("proof", Touch::Proof)])
    };
    let mut engine = engine(settings);
    let mut alarms = 0;
    for number in 0..10 {
        engine.see(&hit(&format!("203.0.113.{number}"), Touch::Proof, 30));
        alarms += u32::from(engine.take().full.is_some());
    }
    assert_eq!((engine.book().len(), alarms), (2, 1));
    // A person is not held up by that, and the next minute has room again.
    assert!(engine.add(wish("203.0.113.100"), at(31)).is_ok());
    engine.see(&hit("203.0.113.5", Touch::Proof, 95));
    assert_eq!(engine.book().len(), 4);
}

#[test]
fn no_more_are_in_force_than_is_allowed() {
    let settings = ResponseSettings {
        decisions_max: 2,
        ..settings(Mode::Enforce, vec![rule("proof", Touch::Proof)])
    };
    let mut engine = engine(settings);
    for number in 0..5 {
        engine.see(&hit(&format!("203.0.113.{number}"), Touch::Proof, number));
    }
    assert_eq!(engine.book().len(), 2);
    assert!(matches!(engine.add(wish("203.0.113.100"), at(1)), Err(Denied::Full(_))));
}

proptest::proptest! {
    #[test]
    fn whatever_hits_come_no_decision_is_endless_unproved_or_about_who_is_spared(
        hits in proptest::collection::vec((0_u8..8, 0_u8..3, proptest::bool::ANY, proptest::bool::ANY, 0_i64..9000), 0..60)
    ) {
        let mut engine = enforcing(vec![rule("proof", Touch::Proof), rule("intent", Touch::Intent)]);
        spare(&mut engine, &["203.0.113.0/30"], at(0));
        let mut latest = 0;
        for (source, level, is_udp, is_inside, seconds) in hits {
            latest = latest.max(seconds);
            let level = [Touch::Contact, Touch::Intent, Touch::Proof][usize::from(level)];
            let mut event = hit(&format!("203.0.113.{source}"), level, latest);
            if is_udp { event.set(Field::NetworkTransport, "udp"); }
            if is_inside { event = inside(event); }
            engine.pass(at(latest));
            engine.see(&event);
            for decision in engine.book().all() {
                proptest::prop_assert!(decision.target.to_string().as_str() > "203.0.113.3");
                let ends = decision.phase == Phase::Over || decision.until.since(at(latest)) <= HOUR;
                proptest::prop_assert!(ends);
            }
        }
    }
}
