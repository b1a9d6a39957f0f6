//! Who is on the list: the members that stand, and of those that were lifted before their time what has to be told.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use trapline_schemas::Timestamp;
use trapline_sink::set::{Member, REASON_CHARS_MAX, Standing, Target};
use uuid::Uuid;

/// Lifted entries that are still told of; the oldest makes room.
pub(crate) const LIFTED_MAX: usize = 1_024;

/// One that is on the list, or was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) target: Target,
    pub(crate) since: Timestamp,
    pub(crate) until: Timestamp,
    pub(crate) decision: Uuid,
    pub(crate) gravity: u8,
    /// Printable ASCII, at most [`REASON_CHARS_MAX`] characters, not empty.
    pub(crate) reason: Arc<str>,
    /// When what is said of it changed last.
    pub(crate) modified: Timestamp,
    /// Whether it was lifted before its time.
    pub(crate) lifted: bool,
}

impl Entry {
    fn of(member: &Member) -> Self {
        Self {
            target: member.target,
            since: member.since,
            until: member.until,
            decision: member.decision,
            gravity: member.gravity,
            reason: clean(&member.reason),
            modified: member.since,
            lifted: false,
        }
    }

    /// The order of a list: the gravest first, of these the latest, and never by chance.
    pub(crate) fn rank(&self) -> (u8, i64, Target) {
        (u8::MAX - self.gravity, -self.since.micros(), self.target)
    }

    /// The same subject, said otherwise at `now`: versions of one object follow each other in time.
    fn changed(mut self, before: &Self, now: Timestamp) -> Self {
        let next = Timestamp::from_micros(before.modified.micros().saturating_add(1_000));
        self.modified = now.max(next).max(self.since);
        self
    }

    const fn is_same_object(&self, other: &Self) -> bool {
        self.decision.as_u128() == other.decision.as_u128()
    }
}

/// Our own words, once more: a list is no place to trust them.
fn clean(reason: &str) -> Arc<str> {
    let plain = reason.chars().filter(|c| matches!(c, ' '..='~'));
    let text: String = plain.take(REASON_CHARS_MAX).collect();
    match text.trim() {
        "" => "decided".into(),
        text => text.into(),
    }
}

/// The members and the lifted.
#[derive(Debug, Default)]
pub(crate) struct Roll {
    members: HashMap<Target, Arc<Entry>>,
    lifted: VecDeque<Arc<Entry>>,
    /// Counts up with each change.
    version: u64,
}

impl Roll {
    pub(crate) const fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    pub(crate) fn put(&mut self, member: &Member, now: Timestamp) {
        let mut entry = Entry::of(member);
        let lifted = self.unlift(&entry);
        let before = self.members.get(&entry.target);
        let before = before
            .filter(|before| before.is_same_object(&entry))
            .or(lifted.as_ref());
        if let Some(before) = before {
            entry.modified = before.modified;
            if entry == **before {
                return;
            }
            entry = entry.changed(before, now);
        }
        self.members.insert(entry.target, Arc::new(entry));
        self.version += 1;
    }

    /// What is put again is not lifted any more.
    fn unlift(&mut self, entry: &Entry) -> Option<Arc<Entry>> {
        let is_same = |lifted: &Arc<Entry>| lifted.target == entry.target && lifted.is_same_object(entry);
        let index = self.lifted.iter().position(is_same)?;
        self.lifted.remove(index)
    }

    pub(crate) fn take(&mut self, target: Target, now: Timestamp) {
        let Some(gone) = self.members.remove(&target) else {
            return;
        };
        self.version += 1;
        if gone.until <= now {
            return;
        }
        let mut lifted = Entry::clone(&gone).changed(&gone, now);
        lifted.lifted = true;
        if self.lifted.len() >= LIFTED_MAX {
            self.lifted.pop_front();
        }
        self.lifted.push_back(Arc::new(lifted));
    }

    /// Takes all that may not stand any more.
    pub(crate) fn drop_those(&mut self, refused: impl Fn(Target) -> bool, now: Timestamp) {
        let refused: Vec<_> = self.members.keys().copied().filter(|target| refused(*target)).collect();
        for target in refused {
            self.take(target, now);
        }
    }

    /// Takes those whose time is over; says whether there were any.
    pub(crate) fn expire(&mut self, now: Timestamp) -> bool {
        let before = self.members.len();
        self.members.retain(|_, entry| entry.until > now);
        let has_ended = self.members.len() != before;
        self.version += u64::from(has_ended);
        has_ended
    }

    /// When the next one's time is over.
    pub(crate) fn next_end(&self) -> Option<Timestamp> {
        self.members.values().map(|entry| entry.until).min()
    }

    pub(crate) fn stands(&self, now: Timestamp) -> Vec<Standing> {
        let standing = |entry: &Arc<Entry>| Standing {
            target: entry.target,
            until: Some(entry.until),
            decision: Some(entry.decision),
            handle: None,
        };
        let live = self.members.values().filter(|entry| entry.until > now);
        live.map(standing).collect()
    }

    /// All members, the gravest first.
    pub(crate) fn ranked(&self) -> Vec<Arc<Entry>> {
        let mut members: Vec<_> = self.members.values().cloned().collect();
        members.sort_unstable_by_key(|entry| entry.rank());
        members
    }

    /// What was lifted before its time, as long as that would not have come; in the order in which it was.
    pub(crate) fn lifted(&mut self, now: Timestamp) -> Vec<Arc<Entry>> {
        self.lifted.retain(|entry| entry.until > now);
        self.lifted.iter().cloned().collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;
    use trapline_sink::set::Grounds;

    use super::*;

    pub(crate) const NOW: Timestamp = Timestamp::from_micros(1_790_000_000_000_000);

    pub(crate) fn after(secs: i64) -> Timestamp {
        Timestamp::from_micros(NOW.micros() + secs * 1_000_000)
    }

    pub(crate) fn member(target: &str, gravity: u8) -> Member {
        Member {
            target: target.parse().unwrap(),
            inside: false,
            since: NOW,
            until: after(3_600),
            decision: Uuid::from_u128(gravity.into()),
            gravity,
            reason: "credentials".into(),
            grounds: Grounds::Handshake,
            handle: None,
        }
    }

    fn targets(roll: &Roll) -> Vec<String> {
        roll.ranked().iter().map(|entry| entry.target.to_string()).collect()
    }

    #[test]
    fn the_gravest_come_first_then_the_latest_then_by_number() {
        let mut roll = Roll::default();
        let later = Member {
            since: after(1),
            ..member("203.0.113.9", 50)
        };
        for member in [
            member("203.0.113.2", 50),
            member("203.0.113.1", 50),
            later,
            member("203.0.113.3", 90),
        ] {
            roll.put(&member, NOW);
        }
        assert_eq!(
            targets(&roll),
            ["203.0.113.3", "203.0.113.9", "203.0.113.1", "203.0.113.2"]
        );
    }

    #[test]
    fn what_is_put_again_as_it_is_changes_nothing() {
        let mut roll = Roll::default();
        roll.put(&member("203.0.113.1", 50), NOW);
        let version = roll.version();
        roll.put(&member("203.0.113.1", 50), after(60));
        assert_eq!(roll.version(), version);
        roll.take("203.0.113.2".parse().unwrap(), NOW);
        assert_eq!(roll.version(), version, "what is not there is gone already");
    }

    #[test]
    fn another_end_of_the_same_decision_is_a_later_version_and_another_decision_another_object() {
        let mut roll = Roll::default();
        roll.put(&member("203.0.113.1", 50), NOW);
        assert_eq!(roll.ranked()[0].modified, NOW);
        roll.put(
            &Member {
                until: after(7_200),
                ..member("203.0.113.1", 50)
            },
            after(60),
        );
        assert_eq!(
            (roll.ranked()[0].modified, roll.ranked()[0].until),
            (after(60), after(7_200))
        );
        roll.put(
            &Member {
                until: after(9_000),
                ..member("203.0.113.1", 50)
            },
            after(60),
        );
        assert!(roll.ranked()[0].modified > after(60), "also within a moment");
        roll.put(
            &Member {
                since: after(90),
                ..member("203.0.113.1", 60)
            },
            after(100),
        );
        assert_eq!(roll.ranked()[0].modified, after(90));
        assert_eq!(roll.len(), 1);
    }

    #[test]
    fn one_that_is_lifted_before_its_time_is_told_until_then_and_one_that_is_over_is_not() {
        let mut roll = Roll::default();
        roll.put(&member("203.0.113.1", 50), NOW);
        roll.put(&member("203.0.113.2", 51), NOW);
        roll.take("203.0.113.1".parse().unwrap(), after(60));
        roll.take("203.0.113.2".parse().unwrap(), after(3_600));
        let lifted = roll.lifted(after(60));
        assert_eq!(lifted.len(), 1);
        assert!(lifted[0].lifted && lifted[0].modified == after(60));
        roll.put(&member("203.0.113.1", 50), after(70));
        assert!(roll.lifted(after(70)).is_empty(), "it stands again");
        assert_eq!(roll.ranked()[0].modified, after(70));
        roll.take("203.0.113.1".parse().unwrap(), after(80));
        assert!(roll.lifted(after(3_600)).is_empty(), "its time is over");
    }

    #[test]
    fn those_whose_time_is_over_go_and_are_not_lifted() {
        let mut roll = Roll::default();
        assert_eq!(roll.next_end(), None);
        let brief = Member {
            until: after(60),
            ..member("203.0.113.1", 50)
        };
        roll.put(&brief, NOW);
        roll.put(&member("203.0.113.2", 51), NOW);
        assert_eq!(roll.next_end(), Some(after(60)));
        let version = roll.version();
        assert!(!roll.expire(after(59)));
        assert_eq!(roll.version(), version);
        roll.expire(after(60));
        assert_eq!(
            (targets(&roll), roll.version()),
            (vec!["203.0.113.2".to_owned()], version + 1)
        );
        assert!(roll.lifted(after(60)).is_empty());
    }

    #[test]
    fn the_lifted_are_bounded() {
        let mut roll = Roll::default();
        for number in 0..2_000_u32 {
            let target = std::net::Ipv4Addr::from(0x0800_0000 + number);
            let one = Member {
                target: target.into(),
                ..member("203.0.113.1", 50)
            };
            roll.put(&one, NOW);
            roll.take(one.target, NOW);
        }
        let lifted = roll.lifted(NOW);
        assert_eq!(lifted.len(), LIFTED_MAX);
        assert_eq!(lifted.last().unwrap().target.to_string(), "8.0.7.207");
    }

    proptest! {
        #[test]
        fn any_bytes_as_a_reason_are_printable_ascii_and_short(reason in ".{0,300}") {
            let clean = clean(&reason);
            prop_assert!(!clean.is_empty() && clean.len() <= REASON_CHARS_MAX);
            prop_assert!(clean.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        }
    }
}
