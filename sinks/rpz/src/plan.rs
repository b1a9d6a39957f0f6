//! What one change to the set is on the server, given whose triggers stand there.
//!
//! Pure: in a [`Change`] and the [`Ledger`] of the last walk, out the records to send and what the ledger is then.

use trapline_schemas::Timestamp;
use trapline_sink::set::{Change, Member, Put, Standing, Target};

use crate::ledger::{Ledger, Orphan, Own};
use crate::mark::Mark;
use crate::rules::{Names, Rules};
use crate::trigger::{Kind, Trigger};
use crate::update::Group;

/// A change, ready to be sent.
#[derive(Debug)]
pub struct Plan {
    /// What to send; nothing if it is as it should be.
    pub group: Group,
    /// What the ledger is told when it is made: what stands now, or that nothing of ours does.
    pub after: Vec<(Trigger, Option<Own>)>,
    /// What became of it, once it is made.
    pub outcome: Put,
    /// The trigger that was put, and what its mark says.
    pub put: Option<(Trigger, String)>,
}

impl Plan {
    fn nothing(outcome: Put) -> Self {
        Self {
            group: Group::default(),
            after: Vec::new(),
            outcome,
            put: None,
        }
    }

    /// The way to make a change.
    pub fn of(change: &Change, ledger: &Ledger, rules: &Rules) -> Self {
        match change {
            Change::Put(member) => Self::put(member, ledger, rules).unwrap_or_else(Self::nothing),
            Change::Take(standing) => Self::take(standing.target, ledger, rules),
        }
    }

    fn take(target: Target, ledger: &Ledger, rules: &Rules) -> Self {
        let mut plan = Self::nothing(Put::DONE);
        for kind in Kind::ALL {
            plan.leave(&Trigger::new(kind, target.net()), ledger, rules);
        }
        plan
    }

    /// Takes away what of ours stands at a trigger, if anything does. What others want as well stays.
    fn leave(&mut self, trigger: &Trigger, ledger: &Ledger, rules: &Rules) {
        let (Some(own), Ok(names)) = (ledger.own.get(trigger), rules.names(trigger)) else {
            return;
        };
        let group = std::mem::take(&mut self.group);
        let group = match own.is_shared {
            true => group,
            false => group.take_cname(&names.trigger, &own.policy),
        };
        self.group = group.take_text(&names.mark);
        self.after.push((*trigger, None));
    }

    fn put(member: &Member, ledger: &Ledger, rules: &Rules) -> Result<Self, Put> {
        let trigger = rules.trigger(member)?;
        if ledger.is_foreign(&trigger) {
            return Err(Put::Refused(format!(
                "`{trigger}` was written by somebody else and is left as it is"
            )));
        }
        if let Some(net) = ledger.let_pass(&trigger) {
            return Err(Put::Refused(format!("somebody else wrote that {net} is let pass")));
        }
        let names = rules.names(&trigger)?;
        let mut plan = Self::nothing(Put::DONE);
        for kind in Kind::ALL.into_iter().filter(|kind| *kind != trigger.kind) {
            plan.leave(&Trigger::new(kind, trigger.net), ledger, rules);
        }
        plan.stand(trigger, &names, member, ledger, rules);
        Ok(plan)
    }

    /// Lets a trigger stand, with its mark.
    fn stand(&mut self, trigger: Trigger, names: &Names, member: &Member, ledger: &Ledger, rules: &Rules) {
        let own = ledger.own.get(&trigger);
        let shared = ledger
            .others
            .get(&trigger)
            .or(own.filter(|own| own.is_shared).map(|own| &own.policy));
        // What another observer wants as well is not changed under its feet: the mark says what stands.
        let policy = shared.unwrap_or(&rules.policy).clone();
        let group = std::mem::take(&mut self.group);
        let group = match (shared, own) {
            (Some(_), _) => group,
            (None, Some(own)) => group
                .if_stands(&names.trigger, &own.policy)
                .take_cname(&names.trigger, &own.policy)
                .put_cname(&names.trigger, &policy, rules.ttl),
            (None, None) => group
                .if_free(&names.trigger)
                .put_cname(&names.trigger, &policy, rules.ttl),
        };
        let decision = member.decision;
        let mark = Mark {
            decision,
            until: member.until,
            policy: policy.clone(),
        };
        let text = mark.to_string();
        self.group = group.put_text(&names.mark, &text, rules.ttl);
        let is_shared = shared.is_some();
        self.after.push((
            trigger,
            Some(Own {
                policy,
                decision,
                is_shared,
            }),
        ));
        self.put = Some((trigger, text));
    }
}

/// What stands, each target once, and what of ours stands for no target.
///
/// An entry that is otherwise than it would be put today (another policy, a trigger that is configured no more, both
/// kinds) is said to have ended long ago, so that it is put anew if it is wanted and taken if it is not.
pub fn standings(ledger: &Ledger, rules: &Rules) -> (Vec<Standing>, Vec<Orphan>) {
    let mut found: std::collections::HashMap<Target, Standing> = std::collections::HashMap::new();
    let mut orphans = Vec::new();
    for (trigger, own) in &ledger.own {
        let Ok(target) = Target::network(trigger.net) else {
            orphans.push(Orphan::Trigger(*trigger, own.policy.clone()));
            orphans.push(Orphan::Mark(*trigger));
            continue;
        };
        let is_stale = !rules.triggers.contains(&trigger.kind) || (own.policy != rules.policy && !own.is_shared);
        let standing = Standing {
            target,
            until: is_stale.then_some(LONG_AGO),
            decision: Some(own.decision),
            handle: None,
        };
        let twice = |first: &mut Standing| first.until = Some(LONG_AGO);
        found.entry(target).and_modify(twice).or_insert(standing);
    }
    (found.into_values().collect(), orphans)
}

const LONG_AGO: Timestamp = Timestamp::from_micros(0);

/// What clears an orphan away.
pub fn clearing(orphan: &Orphan, rules: &Rules) -> Group {
    let group = Group::default();
    match orphan {
        Orphan::Stray(name) => group.take_all(name),
        Orphan::Mark(trigger) => match rules.names(trigger) {
            Ok(names) => group.take_text(&names.mark),
            Err(_) => group,
        },
        Orphan::Trigger(trigger, policy) => match rules.names(trigger) {
            Ok(names) => group.take_cname(&names.trigger, policy),
            Err(_) => group,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use trapline_sink::set::{Grounds, Spared, Why};
    use uuid::Uuid;

    use super::*;
    use crate::policy::Policy;
    use crate::zone::Zone;

    fn rules(triggers: &[Kind]) -> Rules {
        let forwarders = vec!["10.9.0.0/24".parse().unwrap()];
        let zone = Zone::parse("rpz.example").unwrap();
        Rules::new(zone, "fra-1", triggers.to_vec(), Policy::Drop, 30, forwarders)
    }

    fn member(target: &str, inside: bool) -> Member {
        Member {
            target: target.parse().unwrap(),
            inside,
            since: LONG_AGO,
            until: Timestamp::from_micros(60_000_000),
            decision: Uuid::from_u128(7),
            gravity: 50,
            reason: "credentials".into(),
            grounds: Grounds::Handshake,
            handle: None,
        }
    }

    fn planned(member: Member, ledger: &Ledger, rules: &Rules) -> Plan {
        Plan::of(&Change::Put(member), ledger, rules)
    }

    fn own(policy: Policy, is_shared: bool) -> Own {
        Own {
            policy,
            decision: Uuid::from_u128(7),
            is_shared,
        }
    }

    fn holding(kind: Kind, net: &str, own: Own) -> Ledger {
        let trigger = Trigger::new(kind, net.parse().unwrap());
        Ledger {
            own: HashMap::from([(trigger, own)]),
            ..Ledger::default()
        }
    }

    #[test]
    fn who_is_inside_gets_a_client_ip_trigger_and_who_is_outside_an_ip_trigger() {
        let (rules, ledger) = (rules(&Kind::ALL), Ledger::default());
        for (inside, kind) in [(true, Kind::ClientIp), (false, Kind::Ip)] {
            let plan = planned(member("10.0.0.7", inside), &ledger, &rules);
            assert_eq!(plan.put.unwrap().0.kind, kind);
            assert_eq!(plan.outcome, Put::DONE);
        }
        let only = self::rules(&[Kind::ClientIp]);
        let plan = planned(member("203.0.113.7", false), &ledger, &only);
        assert!(matches!(plan.outcome, Put::Nowhere(_)) && plan.group.is_empty());
    }

    #[test]
    fn who_asks_for_many_and_who_is_spared_is_refused() {
        let (rules, ledger) = (rules(&Kind::ALL), Ledger::default());
        rules.reached("10.0.0.53".parse().ok());
        rules.spare(std::sync::Arc::new(Spared::new([(
            "10.0.1.0/24".parse().unwrap(),
            Why::Allowed,
        )])));
        for (target, word) in [
            ("10.9.0.7", "`forwarders`"),
            ("10.0.0.53", "the dns server itself"),
            ("10.0.0.0/24", "the dns server itself"),
            ("10.0.1.9", "in `allow`"),
            ("127.0.0.1", "not the address of one host"),
        ] {
            let Put::Refused(why) = planned(member(target, true), &ledger, &rules).outcome else {
                panic!("{target}")
            };
            assert!(why.contains(word), "{why}");
        }
        // An answer that points to a forwarder cuts nobody off who asks through it.
        assert_eq!(planned(member("10.9.0.7", false), &ledger, &rules).outcome, Put::DONE);
    }

    #[test]
    fn a_name_that_does_not_fit_is_refused_and_counted() {
        let zone = Zone::parse(&["abcdefghij"; 20].join(".")).unwrap();
        let rules = Rules::new(zone, "fra-1", Kind::ALL.to_vec(), Policy::Drop, 30, Vec::new());
        let plan = planned(member("2001:db8:1:2:3:4:5:6", false), &Ledger::default(), &rules);
        assert!(matches!(plan.outcome, Put::Refused(_)));
        assert_eq!(rules.too_long(), 1);
    }

    #[test]
    fn taking_what_is_gone_sends_nothing_and_what_is_shared_loses_only_its_mark() {
        let rules = rules(&Kind::ALL);
        let take = |ledger: &Ledger| {
            let target = "10.0.0.7".parse().unwrap();
            Plan::of(
                &Change::Take(Standing {
                    target,
                    until: None,
                    decision: None,
                    handle: None,
                }),
                ledger,
                &rules,
            )
        };
        let gone = take(&Ledger::default());
        assert!(gone.group.is_empty() && gone.outcome == Put::DONE);
        let names = rules
            .names(&Trigger::new(Kind::ClientIp, "10.0.0.7/32".parse().unwrap()))
            .unwrap();
        let shared = take(&holding(Kind::ClientIp, "10.0.0.7/32", own(Policy::Drop, true)));
        assert_eq!(shared.group, Group::default().take_text(&names.mark));
        let alone = take(&holding(Kind::ClientIp, "10.0.0.7/32", own(Policy::Drop, false)));
        let both = Group::default()
            .take_cname(&names.trigger, &Policy::Drop)
            .take_text(&names.mark);
        assert_eq!(alone.group, both);
    }

    #[test]
    fn what_stands_otherwise_than_configured_is_put_anew() {
        let rules = rules(&[Kind::ClientIp]);
        for (kind, own, is_stale) in [
            (Kind::ClientIp, own(Policy::Drop, false), false),
            (Kind::ClientIp, own(Policy::Nodata, false), true),
            (Kind::ClientIp, own(Policy::Nodata, true), false),
            (Kind::Ip, own(Policy::Drop, false), true),
        ] {
            let (standings, _) = standings(&holding(kind, "10.0.0.7/32", own), &rules);
            assert_eq!(standings[0].until.is_some(), is_stale, "{standings:?}");
        }
        // Whoever moved from outside to inside loses the one trigger with the other.
        let ledger = holding(Kind::Ip, "10.0.0.7/32", own(Policy::Drop, false));
        let plan = planned(member("10.0.0.7", true), &ledger, &rules);
        assert_eq!(plan.after.len(), 2);
    }

    #[test]
    fn what_is_ours_but_no_target_is_cleared_away() {
        let ledger = holding(Kind::Ip, "10.0.0.0/8", own(Policy::Drop, false));
        let (standings, orphans) = standings(&ledger, &rules(&Kind::ALL));
        assert!(standings.is_empty() && orphans.len() == 2);
    }
}
