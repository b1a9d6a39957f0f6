//! Whose the triggers of a zone are, as a walk through all of it says.
//!
//! In: each record ([`Walk::see`]), and the ledger before. Out: a [`Ledger`], the triggers of this observer, and what of
//! its own has no place any more ([`Ledger::orphans`]).
//!
//! Invariants: 1. a trigger is this observer's only if its mark says that it wrote the very policy that stands. 2. What
//! neither its mark nor that of another observer explains was written by others, and is foreign; so is what somebody
//! changed by hand. 3. Only triggers and marks are kept of a zone, and at most [`ENTRIES_MAX`] of them.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use ipnet::IpNet;
use uuid::Uuid;

use crate::mark::{Mark, Observer};
use crate::policy::Policy;
use crate::trigger::{Kind, Trigger};
use crate::zone::WireName;

/// Most triggers and marks of a zone, whoever wrote them.
pub const ENTRIES_MAX: usize = 1_000_000;

/// A record of the zone, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// A CNAME.
    Cname(Policy),
    /// A TXT of one text.
    Text(String),
    /// Anything else, or what cannot be read.
    Other,
}

/// What is known of a trigger while the zone is walked.
#[derive(Debug, Default)]
struct Sighting {
    /// What stands; more than one record is nothing of ours.
    data: Option<Data>,
    /// What this observer's mark says; `Some(None)` if it cannot be read.
    mine: Option<Option<(Uuid, Policy)>>,
    /// What the marks of others say.
    others: Vec<Policy>,
}

/// Most marks of other observers that are looked at for one trigger.
const OTHERS_MAX: usize = 16;

/// A walk under way.
#[derive(Debug)]
pub struct Walk<'o> {
    observer: &'o Observer,
    sightings: HashMap<Trigger, Sighting>,
    /// Names in this observer's subtree that no trigger has.
    strays: HashSet<WireName>,
}

/// The zone holds more than can be kept.
#[derive(Debug, PartialEq, Eq)]
pub struct TooMany;

impl<'o> Walk<'o> {
    /// A walk of which nothing is seen yet.
    pub fn new(observer: &'o Observer) -> Self {
        Self {
            observer,
            sightings: HashMap::new(),
            strays: HashSet::new(),
        }
    }

    /// Takes a record in: its name below the zone, and what it says.
    pub fn see(&mut self, below: &str, owner: impl FnOnce() -> WireName, data: Data) -> Result<(), TooMany> {
        if self.sightings.len() + self.strays.len() >= ENTRIES_MAX {
            return Err(TooMany);
        }
        if let Some(trigger) = Trigger::parse(below) {
            let seen = &mut self.sightings.entry(trigger).or_default().data;
            *seen = Some(if seen.is_none() { data } else { Data::Other });
        } else if let Some(mark) = self.observer.read(below) {
            match mark.trigger {
                Some(trigger) => self.see_mark(trigger, mark.is_mine, &data),
                None if mark.is_mine => drop(self.strays.insert(owner())),
                None => {}
            }
        }
        Ok(())
    }

    fn see_mark(&mut self, trigger: Trigger, is_mine: bool, data: &Data) {
        let said = match data {
            Data::Text(text) => Mark::parse(text),
            Data::Cname(_) | Data::Other => None,
        };
        let sighting = self.sightings.entry(trigger).or_default();
        match (is_mine, said) {
            // Two texts at one name: whichever was ours, the mark is no longer.
            (true, said) => sighting.mine = Some(said.filter(|_| sighting.mine.is_none())),
            (false, Some((_, policy))) if sighting.others.len() < OTHERS_MAX => sighting.others.push(policy),
            (false, _) => {}
        }
    }

    /// What the walk has shown. A trigger that lost its mark, but stands as the ledger before had it, is an orphan.
    pub fn finish(self, before: Option<&Ledger>) -> Ledger {
        let mut ledger = Ledger::default();
        ledger.orphans.extend(self.strays.into_iter().map(Orphan::Stray));
        for (trigger, sighting) in self.sightings {
            ledger.enter(trigger, sighting, before);
        }
        ledger
    }
}

/// What of this observer's own has no place any more. A trigger is told as an orphan if its mark is gone or unreadable, but
/// it stands as it was read or written before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Orphan {
    /// A mark whose trigger is gone, or is no longer what it says.
    Mark(Trigger),
    /// A trigger whose mark is gone.
    Trigger(Trigger, Policy),
    /// A name among the marks that is none.
    Stray(WireName),
}

/// A trigger of this observer's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// What stands.
    pub policy: Policy,
    /// The decision that its mark names.
    pub decision: Uuid,
    /// Whether other observers want it as well: then it stays when this one wants it no more.
    pub is_shared: bool,
}

/// Whose the triggers are.
#[derive(Debug, Default)]
pub struct Ledger {
    /// This observer's.
    pub own: HashMap<Trigger, Own>,
    /// Other observers' alone.
    pub others: HashMap<Trigger, Policy>,
    /// Somebody else's.
    pub foreign: HashSet<Trigger>,
    /// Whose questions somebody else lets pass.
    pub passing: Vec<IpNet>,
    /// What is to be cleared away.
    pub orphans: Vec<Orphan>,
}

impl Ledger {
    fn enter(&mut self, trigger: Trigger, sighting: Sighting, before: Option<&Self>) {
        let Sighting { data, mine, others } = sighting;
        let stands = match data {
            None => {
                self.orphans.extend(mine.map(|_| Orphan::Mark(trigger)));
                return;
            }
            Some(Data::Cname(policy)) => Some(policy),
            Some(Data::Text(_) | Data::Other) => None,
        };
        let is_shared = stands.as_ref().is_some_and(|policy| others.contains(policy));
        let mark = mine.as_ref().map(|_| Orphan::Mark(trigger));
        match (mine.flatten(), &stands) {
            (Some((decision, said)), Some(policy)) if said == *policy => {
                let policy = said;
                self.own.insert(
                    trigger,
                    Own {
                        policy,
                        decision,
                        is_shared,
                    },
                );
                return;
            }
            (_, Some(policy)) if !is_shared && before.is_some_and(|before| before.owned(&trigger, policy)) => {
                self.orphans.push(Orphan::Trigger(trigger, policy.clone()));
                self.orphans.extend(mark);
                return;
            }
            _ => self.orphans.extend(mark),
        }
        match stands {
            Some(policy) if is_shared => drop(self.others.insert(trigger, policy)),
            stands => self.enter_foreign(trigger, stands),
        }
    }

    fn enter_foreign(&mut self, trigger: Trigger, stands: Option<Policy>) {
        if trigger.kind == Kind::ClientIp && stands == Some(Policy::Passthru) {
            self.passing.push(trigger.net);
        }
        self.foreign.insert(trigger);
    }

    /// Takes in what an update has made: what stands now, or that nothing of this observer's does.
    pub fn note(&mut self, changes: &[(Trigger, Option<Own>)]) {
        for (trigger, own) in changes {
            let before = match own {
                Some(own) => self.own.insert(*trigger, own.clone()),
                None => self.own.remove(trigger),
            };
            match before.filter(|before| before.is_shared && own.is_none()) {
                Some(before) => drop(self.others.insert(*trigger, before.policy)),
                None => drop(self.others.remove(trigger)),
            }
        }
    }

    fn owned(&self, trigger: &Trigger, policy: &Policy) -> bool {
        self.own.get(trigger).is_some_and(|own| own.policy == *policy)
    }

    /// Whether somebody else wrote something at this trigger.
    pub fn is_foreign(&self, trigger: &Trigger) -> bool {
        self.foreign.contains(trigger)
    }

    /// The network whose questions somebody else lets pass and into which `trigger` would cut, if any.
    pub fn let_pass(&self, trigger: &Trigger) -> Option<IpNet> {
        let mut passing = self.passing.iter().filter(|_| trigger.kind == Kind::ClientIp);
        passing.find(|net| meet(**net, trigger.net)).copied()
    }
}

/// Whether two networks have an address in common.
pub fn meet(one: IpNet, other: IpNet) -> bool {
    one.contains(&other) || other.contains(&one)
}

/// The network of one address.
pub fn host(address: IpAddr) -> IpNet {
    IpNet::from(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECISION: Uuid = Uuid::from_u128(7);

    fn trigger(host: u8) -> Trigger {
        Trigger::new(Kind::ClientIp, format!("10.0.0.{host}/32").parse().unwrap())
    }

    fn walked(records: &[(String, Data)], before: Option<&Ledger>) -> Ledger {
        let observer = Observer::new("fra-1");
        let zone = crate::zone::Zone::parse("rpz.example").unwrap();
        let mut walk = Walk::new(&observer);
        for (below, data) in records {
            walk.see(below, || zone.name(below).unwrap(), data.clone()).unwrap();
        }
        walk.finish(before)
    }

    fn entry(host: u8, policy: &Policy) -> (String, Data) {
        (trigger(host).to_string(), Data::Cname(policy.clone()))
    }

    fn mark(observer: &str, host: u8, policy: Policy) -> (String, Data) {
        let mark = Mark {
            decision: DECISION,
            until: trapline_schemas::Timestamp::from_micros(0),
            policy,
        };
        (
            Observer::new(observer).mark_of(&trigger(host)),
            Data::Text(mark.to_string()),
        )
    }

    #[test]
    fn what_a_mark_explains_is_ours_and_all_else_is_foreign() {
        let ledger = walked(
            &[
                entry(1, &Policy::Drop),
                mark("fra-1", 1, Policy::Drop),
                entry(2, &Policy::Drop),
                // Somebody lets pass what we cut off.
                entry(3, &Policy::Passthru),
                mark("fra-1", 3, Policy::Drop),
                ("www.evil.example".to_owned(), Data::Cname(Policy::Drop)),
            ],
            None,
        );
        let own = Own {
            policy: Policy::Drop,
            decision: DECISION,
            is_shared: false,
        };
        assert_eq!(ledger.own, HashMap::from([(trigger(1), own)]));
        assert!(ledger.is_foreign(&trigger(2)) && ledger.is_foreign(&trigger(3)));
        assert_eq!(ledger.orphans, [Orphan::Mark(trigger(3))]);
        assert_eq!(ledger.let_pass(&trigger(3)), Some(trigger(3).net));
        assert_eq!(ledger.let_pass(&trigger(2)), None);
    }

    #[test]
    fn what_two_observers_want_is_shared_and_what_another_wants_is_not_ours() {
        let both = [
            entry(1, &Policy::Drop),
            mark("fra-1", 1, Policy::Drop),
            mark("fra-2", 1, Policy::Drop),
        ];
        assert!(walked(&both, None).own[&trigger(1)].is_shared);
        let other = walked(&[entry(1, &Policy::Drop), mark("fra-2", 1, Policy::Drop)], None);
        assert_eq!(other.others.get(&trigger(1)), Some(&Policy::Drop));
        assert!(other.own.is_empty() && !other.is_foreign(&trigger(1)) && other.orphans.is_empty());
    }

    #[test]
    fn marks_without_triggers_and_triggers_that_lost_their_marks_are_orphans() {
        let before = walked(&[entry(1, &Policy::Drop), mark("fra-1", 1, Policy::Drop)], None);
        let bare = [entry(1, &Policy::Drop)];
        assert_eq!(
            walked(&bare, Some(&before)).orphans,
            [Orphan::Trigger(trigger(1), Policy::Drop)]
        );
        assert!(walked(&[entry(1, &Policy::Nodata)], Some(&before)).orphans.is_empty());
        assert!(walked(&bare, None).orphans.is_empty());
        assert_eq!(
            walked(&[mark("fra-1", 1, Policy::Drop)], None).orphans,
            [Orphan::Mark(trigger(1))]
        );
        assert!(walked(&[mark("fra-2", 1, Policy::Drop)], None).orphans.is_empty());
        let stray = walked(&[("junk.fra-1._trapline".to_owned(), Data::Other)], None);
        assert!(matches!(stray.orphans.as_slice(), [Orphan::Stray(_)]));
    }

    #[test]
    fn two_records_at_one_trigger_are_nothing_of_ours() {
        let twice = [
            entry(1, &Policy::Drop),
            (trigger(1).to_string(), Data::Other),
            mark("fra-1", 1, Policy::Drop),
        ];
        let ledger = walked(&twice, None);
        assert!(ledger.own.is_empty() && ledger.is_foreign(&trigger(1)));
    }

    #[test]
    fn a_wider_network_that_others_let_pass_is_not_cut_into() {
        let wide = Trigger::new(Kind::ClientIp, "10.0.0.0/8".parse().unwrap());
        let ledger = walked(&[(wide.to_string(), Data::Cname(Policy::Passthru))], None);
        assert_eq!(ledger.let_pass(&trigger(9)), Some(wide.net));
        let answers = Trigger::new(Kind::Ip, trigger(9).net);
        assert_eq!(ledger.let_pass(&answers), None);
    }
}
