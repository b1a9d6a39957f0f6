//! Rules, modes, escalation, persons.

use super::*;

#[test]
fn a_proof_is_acted_on_and_a_contact_is_not() {
    let mut engine = enforcing(vec![rule("proof", Touch::Proof)]);
    assert_eq!(seen(&mut engine, &hit("203.0.113.7", Touch::Intent, 0)), []);
    engine.see(&hit("203.0.113.7", Touch::Proof, 1));
    let fast = engine.take_fast();
    assert_eq!(fast[0].target.to_string(), "203.0.113.7");
    assert_eq!(told(&mut engine), [(What::Decided, "203.0.113.7".to_owned())]);
    let decision = only(&engine);
    assert_eq!(
        (decision.until, decision.gravity, decision.phase),
        (at(3601), 65, Phase::Active)
    );
    assert_eq!(blocked(&engine), ["203.0.113.7"]);
}

#[test]
fn a_decision_and_its_state_come_out_together() {
    let mut engine = enforcing(vec![rule("proof", Touch::Proof)]);
    engine.see(&hit("203.0.113.7", Touch::Proof, 0));
    let out = engine.take();
    let names: Vec<_> = out
        .state
        .iter()
        .map(|(name, _)| name.split('/').next().unwrap())
        .collect();
    assert_eq!(
        (names, out.told.len(), out.changed),
        (vec!["acted", "decisions"], 1, true)
    );
    assert!(engine.take().is_empty());
}

#[test]
fn in_mode_observe_it_is_said_and_never_wanted() {
    let mut engine = engine(settings(Mode::Observe, vec![rule("proof", Touch::Proof)]));
    engine.see(&hit("203.0.113.7", Touch::Proof, 0));
    assert!(engine.take_fast().is_empty());
    let out = engine.take();
    assert_eq!((out.told[0].what, out.changed), (What::Observed, false));
    assert_eq!(blocked(&engine), [""; 0]);
    assert_eq!(engine.add(wish("203.0.113.9"), at(0)), Err(Denied::Observes));
    // Once, not with each hit, however long they go on.
    for seconds in [5, 1800, 3599] {
        assert_eq!(seen(&mut engine, &hit("203.0.113.7", Touch::Proof, seconds)), []);
    }
    engine.pass(at(3599 + 3600));
    assert_eq!((told(&mut engine), engine.book().len()), (vec![], 0));
}

#[test]
fn a_proposal_waits_for_a_person_and_ends_unasked() {
    let mut engine = engine(settings(Mode::Propose, vec![rule("proof", Touch::Proof)]));
    assert_eq!(
        seen(&mut engine, &hit("203.0.113.7", Touch::Proof, 0))[0].0,
        What::Proposed
    );
    assert_eq!(blocked(&engine), [""; 0]);
    let id = only(&engine).id;
    engine.approve(id, &person(), at(600)).unwrap();
    assert_eq!(blocked(&engine), ["203.0.113.7"]);
    let out = engine.take();
    assert_eq!((out.told[0].what, &out.told[0].by), (What::Approved, &Some(person())));
    assert_eq!(only(&engine).until, at(600 + 3600));
    assert_eq!(
        engine.approve(id, &person(), at(601)),
        Err(Denied::NotOpen(Phase::Active))
    );

    seen(&mut engine, &hit("203.0.113.8", Touch::Proof, 0));
    engine.pass(at(86_399));
    assert!(
        told(&mut engine)
            .iter()
            .all(|(_, why)| !why.contains("nobody answered"))
    );
    engine.pass(at(86_400));
    assert_eq!(told(&mut engine), [(What::Ended, "nobody answered in time".to_owned())]);
}

#[test]
fn what_a_person_turned_down_is_not_proposed_again_while_it_would_have_lasted() {
    let mut engine = engine(settings(Mode::Propose, vec![rule("proof", Touch::Proof)]));
    seen(&mut engine, &hit("203.0.113.7", Touch::Proof, 0));
    let id = only(&engine).id;
    engine
        .reject(id, &person(), Some("our own scanner".into()), at(10))
        .unwrap();
    assert_eq!(told(&mut engine), [(What::Rejected, "our own scanner".to_owned())]);
    assert_eq!(seen(&mut engine, &hit("203.0.113.7", Touch::Proof, 20)), []);
    engine.pass(at(86_401));
    assert_eq!(told(&mut engine), []);
    assert_eq!(
        seen(&mut engine, &hit("203.0.113.7", Touch::Proof, 86_402))[0].0,
        What::Proposed
    );
}

#[test]
fn the_next_time_it_lasts_longer() {
    let steps = RuleSpec {
        steps: vec![HOUR, DAY],
        ..rule("proof", Touch::Proof)
    };
    let mut engine = enforcing(vec![steps]);
    let mut now = 0;
    let mut lasted = Vec::new();
    for _ in 0..3 {
        engine.see(&hit("203.0.113.7", Touch::Proof, now));
        let until = engine.book().automatic("203.0.113.7".parse().unwrap()).unwrap().until;
        lasted.push(until.since(at(now)));
        now += i64::try_from(until.since(at(now)).as_secs()).unwrap() + 1;
        engine.pass(at(now));
    }
    assert_eq!(lasted, [HOUR, DAY, DAY]);
    // Another source begins at the first step, and so does this one when it has been forgotten.
    engine.see(&hit("203.0.113.8", Touch::Proof, now));
    let later = now + 31 * 86_400;
    engine.pass(at(later));
    engine.see(&hit("203.0.113.7", Touch::Proof, later));
    let decision = engine.book().automatic("203.0.113.7".parse().unwrap()).unwrap();
    assert_eq!((decision.step(), decision.ttl), (1, HOUR));
}

#[test]
fn a_rule_of_one_step_is_always_at_its_first() {
    let mut engine = enforcing(vec![rule("proof", Touch::Proof)]);
    for round in 0..3 {
        engine.see(&hit("203.0.113.7", Touch::Proof, round * 4000));
        assert_eq!(only(&engine).step(), 1);
        engine.pass(at(round * 4000 + 3600));
        let over = only(&engine).id;
        engine.pass(at(round * 4000 + 3990 + 600));
        assert!(engine.book().get(over).is_none());
    }
}

#[test]
fn of_several_rules_the_strongest_wins_and_all_that_they_do_is_done() {
    let list = RuleSpec {
        verbs: vec![Verb::List],
        steps: vec![DAY],
        ..rule("list", Touch::Intent)
    };
    let mut engine = enforcing(vec![rule("block", Touch::Proof), list]);
    engine.see(&hit("203.0.113.7", Touch::Proof, 0));
    let decision = only(&engine);
    assert_eq!(decision.by, By::Rule("list".into()));
    assert_eq!(
        (decision.verbs.clone(), decision.ttl),
        (vec![Verb::Block, Verb::List], DAY)
    );
}

#[test]
fn what_another_rule_wants_is_added_to_the_decision_there_is() {
    let list = RuleSpec {
        verbs: vec![Verb::List],
        ..rule("list", Touch::Intent)
    };
    let mut engine = enforcing(vec![rule("block", Touch::Proof), list]);
    engine.see(&hit("203.0.113.7", Touch::Intent, 0));
    let id = only(&engine).id;
    assert_eq!(blocked(&engine), [""; 0]);
    engine.take();
    assert_eq!(
        seen(&mut engine, &hit("203.0.113.7", Touch::Proof, 1))[0].0,
        What::Extended
    );
    assert_eq!(
        (only(&engine).id, blocked(&engine)),
        (id, vec!["203.0.113.7".to_owned()])
    );
}

#[test]
fn each_hit_moves_the_end_and_only_a_tenth_of_the_time_is_worth_a_word() {
    let mut engine = enforcing(vec![rule("proof", Touch::Proof)]);
    engine.see(&hit("203.0.113.7", Touch::Proof, 0));
    engine.take();
    for seconds in [1, 100, 360] {
        engine.see(&hit("203.0.113.7", Touch::Proof, seconds));
        assert!(engine.take().is_empty(), "{seconds}");
    }
    assert_eq!(
        seen(&mut engine, &hit("203.0.113.7", Touch::Proof, 361))[0].0,
        What::Extended
    );
    assert_eq!((only(&engine).until, only(&engine).step()), (at(361 + 3600), 1));
}

#[test]
fn a_threshold_counts_different_values_of_one_source_within_its_time() {
    let sweep = |distinct| RuleSpec {
        threshold: Some(ThresholdSpec {
            distinct,
            count: 3,
            within: Duration::from_secs(60),
        }),
        ..rule("sweep", Touch::Intent)
    };
    let mut engine = enforcing(vec![sweep(Some(Field::DecoyId))]);
    let visit = |decoy: &str, seconds| with(hit("203.0.113.7", Touch::Intent, seconds), Field::DecoyId, decoy);
    for (decoy, seconds) in [("a", 0), ("a", 1), ("b", 2), ("b", 3), ("c", 63)] {
        engine.see(&visit(decoy, seconds));
    }
    // `a` and `b` were more than a minute before `c`.
    assert_eq!(engine.book().len(), 0);
    engine.see(&visit("a", 64));
    engine.see(&with(
        visit("b", 65),
        Field::SourceIp,
        "203.0.113.8".parse::<std::net::IpAddr>().unwrap(),
    ));
    assert_eq!(engine.book().len(), 0);
    engine.see(&visit("b", 66));
    assert_eq!(blocked(&engine), ["203.0.113.7"]);

    let mut engine = enforcing(vec![sweep(None)]);
    for seconds in 0..3 {
        assert_eq!(engine.book().len(), 0);
        engine.see(&visit("a", seconds));
    }
    assert_eq!(engine.book().len(), 1);
}

#[test]
fn what_was_counted_before_a_restart_counts() {
    let sweep = RuleSpec {
        threshold: Some(ThresholdSpec {
            distinct: None,
            count: 2,
            within: Duration::from_secs(60),
        }),
        ..rule("sweep", Touch::Intent)
    };
    let mut engine = enforcing(vec![sweep]);
    engine.warm(&hit("203.0.113.7", Touch::Intent, 0));
    assert!(engine.take().is_empty());
    engine.see(&hit("203.0.113.7", Touch::Intent, 1));
    assert_eq!(blocked(&engine), ["203.0.113.7"]);
}

#[test]
fn a_rule_may_be_about_some_decoys_and_have_a_condition() {
    let spec = RuleSpec {
        decoys: vec!["telnet".into()],
        when: Some("source.ip == \"203.0.113.7\"".into()),
        ..rule("r", Touch::Intent)
    };
    let mut engine = enforcing(vec![spec]);
    let at_telnet = |source| with(hit(source, Touch::Intent, 0), Field::DecoyId, "telnet");
    engine.see(&hit("203.0.113.7", Touch::Intent, 0));
    engine.see(&at_telnet("203.0.113.8"));
    assert_eq!(engine.book().len(), 0);
    engine.see(&at_telnet("203.0.113.7"));
    assert_eq!(engine.book().len(), 1);
}

#[test]
fn a_person_decides_and_ends_what_is_decided() {
    let mut engine = enforcing(vec![rule("proof", Touch::Proof)]);
    let id = engine.add(wish("203.0.113.0/24"), at(0)).unwrap();
    assert_eq!(told(&mut engine), [(What::Decided, "seen elsewhere".to_owned())]);
    engine.see(&hit("203.0.113.7", Touch::Proof, 1));
    assert_eq!(blocked(&engine), ["203.0.113.0/24", "203.0.113.7"]);
    engine.take();
    engine.remove(id, person(), None, at(2)).unwrap();
    assert_eq!(told(&mut engine), [(What::Ended, "lifted by alice".to_owned())]);
    assert_eq!(blocked(&engine), ["203.0.113.7"]);
    assert_eq!(
        engine.remove(uuid::Uuid::from_u128(1), person(), None, at(2)),
        Err(Denied::Unknown)
    );
}

#[test]
fn of_two_decisions_about_one_target_the_longer_stands_for_it() {
    let mut engine = enforcing(vec![rule("proof", Touch::Proof)]);
    engine.see(&hit("203.0.113.7", Touch::Proof, 0));
    let longer = engine
        .add(
            Wish {
                ttl: DAY,
                ..wish("203.0.113.7")
            },
            at(1),
        )
        .unwrap();
    let wanted = engine.book().wanted("firewall", Verb::Block, Scope::Both);
    let member = &wanted[&"203.0.113.7".parse::<Target>().unwrap()];
    assert_eq!((member.decision, member.until, wanted.len()), (longer, at(86_401), 1));
}

#[test]
fn a_sink_has_those_in_its_scope_and_of_its_verb() {
    let mut engine = enforcing(vec![rule("proof", Touch::Proof)]);
    engine.see(&hit("203.0.113.7", Touch::Proof, 0));
    engine.see(&inside(hit("10.0.0.7", Touch::Proof, 0)));
    let count = |verb, scope| engine.book().wanted("s", verb, scope).len();
    assert_eq!(count(Verb::Block, Scope::Both), 2);
    assert_eq!(
        (count(Verb::Block, Scope::Inside), count(Verb::Block, Scope::Outside)),
        (1, 1)
    );
    assert_eq!(count(Verb::Tag, Scope::Both), 0);
}

#[test]
fn another_mode_forgets_what_was_only_said_and_leaves_what_is_in_force() {
    let rules = vec![rule("proof", Touch::Proof)];
    let mut engine = engine(settings(Mode::Propose, rules.clone()));
    engine.see(&hit("203.0.113.7", Touch::Proof, 0));
    engine.see(&hit("203.0.113.8", Touch::Proof, 0));
    let first = engine.book().automatic("203.0.113.7".parse().unwrap()).unwrap().id;
    engine.approve(first, &person(), at(1)).unwrap();
    let observe = settings(Mode::Observe, rules);
    let compiled = compiled(&observe);
    engine.settle(observe, compiled);
    assert_eq!(only(&engine).id, first);
    assert_eq!(blocked(&engine), ["203.0.113.7"]);
}

#[test]
fn a_clock_that_is_set_moves_all_ends() {
    let mut engine = enforcing(vec![rule("proof", Touch::Proof)]);
    engine.see(&hit("203.0.113.7", Touch::Proof, 0));
    engine.shift(86_400_000_000);
    engine.pass(at(86_400));
    assert_eq!(only(&engine).until, at(86_400 + 3600));
    engine.shift(-2 * 86_400_000_000);
    engine.pass(at(-86_400 + 3600));
    assert_eq!(blocked(&engine), [""; 0]);
}
