//! What must change so that a destination is as wanted.

use std::collections::HashMap;

use trapline_schemas::Timestamp;

use super::{Change, Member, SetLimits, Standing, Target};

/// What is wanted of a destination, by target.
pub type Wanted = HashMap<Target, Member>;

/// The changes that make what `stands` equal what is wanted at `now`: what has to go first (room for the rest), then
/// what has to come, the gravest first. Wanted members whose time is over count as not wanted; of more than the
/// destination has room for, the gravest stand, then the latest.
///
/// A member is put again if the destination ends it by itself and does so earlier than wanted, or later, by more than
/// the slack.
pub fn compare(wanted: &Wanted, stands: &[Standing], now: Timestamp, limits: SetLimits) -> Vec<Change> {
    let chosen = chosen(wanted, now, limits.members);
    let mut standing: HashMap<Target, &Standing> = HashMap::with_capacity(stands.len());
    standing.extend(stands.iter().map(|entry| (entry.target, entry)));
    let is_chosen = |target: &Target| wanted.get(target).is_some_and(|member| chosen.contains(member, now));
    let gone = stands.iter().filter(|entry| !is_chosen(&entry.target));
    let taken = gone.map(|entry| Change::Take(entry.clone()));
    let missing = chosen
        .members
        .iter()
        .filter(|member| match standing.get(&member.target) {
            Some(entry) => is_off(entry, member, limits),
            None => true,
        });
    taken
        .chain(missing.map(|member| Change::Put((*member).clone())))
        .collect()
}

/// The members that are to stand.
struct Chosen<'w> {
    /// The gravest first.
    members: Vec<&'w Member>,
    /// The last one that had room, if not all had.
    last: Option<Rank>,
}

/// In what order members find room: smaller comes first.
type Rank = (u8, i64, Target);

fn rank(member: &Member) -> Rank {
    (u8::MAX - member.gravity, -member.since.micros(), member.target)
}

fn chosen(wanted: &Wanted, now: Timestamp, room: usize) -> Chosen<'_> {
    let mut members: Vec<_> = wanted.values().filter(|member| member.until > now).collect();
    members.sort_unstable_by_key(|member| rank(member));
    let last = match members.len() > room {
        true => members.get(room.saturating_sub(1)).map(|member| rank(member)),
        false => None,
    };
    members.truncate(room);
    Chosen { members, last }
}

impl Chosen<'_> {
    fn contains(&self, member: &Member, now: Timestamp) -> bool {
        let has_room = !self.members.is_empty() && self.last.is_none_or(|last| rank(member) <= last);
        member.until > now && has_room
    }
}

/// Whether an entry ends by itself at another time than wanted.
fn is_off(entry: &Standing, member: &Member, limits: SetLimits) -> bool {
    let slack = i64::try_from(limits.slack.as_micros()).unwrap_or(i64::MAX);
    let off = |until: Timestamp| until.micros().abs_diff(member.until.micros()) > slack.unsigned_abs();
    entry.until.is_some_and(off)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use super::super::Grounds;
    use super::*;

    const LIMITS: SetLimits = SetLimits {
        changes: 100,
        members: 3,
        slack: Duration::from_secs(2),
    };
    const NOW: Timestamp = Timestamp::from_micros(1_000_000_000);

    fn after(seconds: i64) -> Timestamp {
        Timestamp::from_micros(NOW.micros() + seconds * 1_000_000)
    }

    fn member(host: u8, ends_in: i64, gravity: u8) -> Member {
        Member {
            target: std::net::Ipv4Addr::new(203, 0, 113, host).into(),
            inside: false,
            since: NOW,
            until: after(ends_in),
            decision: Uuid::from_u128(host.into()),
            gravity,
            reason: "credentials".into(),
            grounds: Grounds::Handshake,
            handle: None,
        }
    }

    fn standing(member: &Member, until: Option<Timestamp>) -> Standing {
        Standing {
            target: member.target,
            until,
            decision: None,
            handle: None,
        }
    }

    fn wanted(members: &[Member]) -> Wanted {
        members.iter().map(|member| (member.target, member.clone())).collect()
    }

    #[test]
    fn what_is_missing_comes_and_what_nobody_wants_goes_first() {
        let (new, old) = (member(1, 60, 50), member(2, 60, 50));
        let stands = [standing(&old, None)];
        let changes = compare(&wanted(std::slice::from_ref(&new)), &stands, NOW, LIMITS);
        assert_eq!(changes, [Change::Take(stands[0].clone()), Change::Put(new)]);
    }

    #[test]
    fn what_stands_as_wanted_is_left_alone() {
        let kept = member(1, 60, 50);
        for until in [None, Some(after(60)), Some(after(59)), Some(after(62))] {
            let stands = [standing(&kept, until)];
            assert_eq!(compare(&wanted(std::slice::from_ref(&kept)), &stands, NOW, LIMITS), []);
        }
    }

    #[test]
    fn an_end_that_is_off_by_more_than_the_slack_is_put_again() {
        let kept = member(1, 60, 50);
        for until in [after(57), after(63)] {
            let stands = [standing(&kept, Some(until))];
            let changes = compare(&wanted(std::slice::from_ref(&kept)), &stands, NOW, LIMITS);
            assert_eq!(changes, [Change::Put(kept.clone())]);
        }
    }

    #[test]
    fn what_is_over_is_not_wanted() {
        let over = member(1, 0, 50);
        let stands = [standing(&over, None)];
        let changes = compare(&wanted(&[over]), &stands, NOW, LIMITS);
        assert_eq!(changes, [Change::Take(stands[0].clone())]);
    }

    #[test]
    fn without_room_for_all_the_gravest_stand() {
        let members: Vec<_> = (1..=5).map(|host| member(host, 60, host * 10)).collect();
        let stands = [standing(&members[0], None), standing(&members[4], None)];
        let changes = compare(&wanted(&members), &stands, NOW, LIMITS);
        let targets: Vec<_> = changes.iter().map(|change| change.target().to_string()).collect();
        assert_eq!(targets, ["203.0.113.1", "203.0.113.4", "203.0.113.3"]);
        assert!(matches!(changes[0], Change::Take(_)));
    }

    #[test]
    fn without_any_room_all_goes() {
        let kept = member(1, 60, 50);
        let stands = [standing(&kept, None)];
        let none = SetLimits { members: 0, ..LIMITS };
        assert_eq!(
            compare(&wanted(&[kept]), &stands, NOW, none),
            [Change::Take(stands[0].clone())]
        );
    }
}
