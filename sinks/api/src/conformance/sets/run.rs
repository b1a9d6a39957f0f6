//! One case under way: what the cases are told in.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::Duration;

use trapline_schemas::Timestamp;
use uuid::Uuid;

use super::rounds::{Round, Rounds};
use super::{Case, Held, PATIENCE, SetRig, Traits};
use crate::set::{Applied, Change, Grounds, Member, Put, Spared, Target};

/// An hour, which is how long members last unless a case says otherwise.
pub(super) const HOUR: Duration = Duration::from_secs(3600);
/// Most rounds until all is well again after a fault, where one need not be enough.
const ROUNDS_MAX: usize = 5;
/// Between two looks at what should come soon.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What a case says when it does not hold.
pub(super) type Verdict = Result<(), String>;

/// One case under way.
pub(super) struct Run {
    pub(super) rig: Box<dyn SetRig>,
    pub(super) rounds: Rounds,
    pub(super) traits: Traits,
    /// How far the suite's clock is ahead of the destination's: the time that is said to have passed.
    passed: Duration,
}

impl Run {
    pub(super) async fn new(mut rig: Box<dyn SetRig>, traits: Traits) -> Self {
        let sink = rig.open(false).await;
        sink.spare(Arc::new(Spared::new([])));
        Self {
            rig,
            rounds: Rounds::new(sink, PATIENCE).ending_by_itself(traits.ends_itself),
            traits,
            passed: Duration::ZERO,
        }
    }

    pub(super) async fn case(mut self, case: Case) -> Verdict {
        match case {
            Case::Well => self.well().await,
            Case::Lone => self.lone().await,
            Case::V6 => self.v6().await,
            Case::Network => self.network().await,
            Case::Overlap => self.overlap().await,
            Case::Extend => self.extend().await,
            Case::TakeGone => self.take_gone().await,
            Case::PutStanding => self.put_standing().await,
            Case::AnswerLost => self.answer_lost().await,
            Case::Wiped => self.wiped().await,
            Case::Deleted => self.deleted().await,
            Case::Added => self.added().await,
            Case::Foreign => self.foreign().await,
            Case::DownForADay => self.down_for_a_day().await,
            Case::ExpiredWhileDown => self.expired_while_down().await,
            Case::EndsItself => self.ends_itself().await,
            Case::Many => self.many().await,
            Case::Room => self.room().await,
            Case::Spared => self.spared().await,
            Case::Observe => self.observe().await,
            Case::Unauthorized => self.unauthorized().await,
            Case::HalfOpen => self.half_open().await,
            Case::Restart => self.restart().await,
            Case::Cancelled => self.cancelled().await,
            Case::Nowhere => self.nowhere().await,
            Case::OneBad => self.one_bad().await,
            Case::FastLane => self.fast_lane().await,
            Case::Told => self.told().await,
        }?;
        self.rounds.sink().close().await;
        Ok(())
    }

    /// The time, with what is said to have passed.
    pub(super) fn now(&self) -> Timestamp {
        after(self.rig.now(), self.passed)
    }

    /// Lets so much time be said to have passed; the destination's own clock stays.
    pub(super) fn pass(&mut self, time: Duration) {
        self.passed += time;
    }

    /// A member that began now and ends in a while.
    pub(super) fn member(&self, target: Target, ends_in: Duration) -> Member {
        let now = self.now();
        Member {
            target,
            inside: false,
            since: now,
            until: after(now, ends_in),
            decision: Uuid::new_v4(),
            gravity: 50,
            reason: "conformance".into(),
            grounds: Grounds::Handshake,
            handle: None,
        }
    }

    /// Members that last for an hour, one for each number.
    pub(super) fn members(&self, hosts: impl IntoIterator<Item = u8>) -> Vec<Member> {
        hosts.into_iter().map(|n| self.member(host(n), HOUR)).collect()
    }

    /// One round, which must leave nothing to do.
    pub(super) async fn clean_round(&mut self) -> Result<Round, String> {
        let round = self.rounds.round(self.now()).await?;
        match round.is_clean() && round.refused.is_empty() && round.nowhere.is_empty() {
            true => Ok(round),
            false => Err(format!("a round at a well destination: {round:?}")),
        }
    }

    /// Wants these, and one round brings them; a second finds nothing to do.
    pub(super) async fn stand(&mut self, members: Vec<Member>) -> Verdict {
        self.rounds.want(members);
        self.clean_round().await?;
        self.holds_wanted().await?;
        self.is_quiet().await
    }

    /// A round finds nothing to do.
    pub(super) async fn is_quiet(&mut self) -> Verdict {
        let round = self.clean_round().await?;
        match round.changes {
            0 => Ok(()),
            changes => Err(format!("all stands, and a round makes {changes} changes")),
        }
    }

    /// Rounds after a fault, until there is nothing left to do.
    pub(super) async fn mends(&mut self) -> Verdict {
        let mut last = Round::default();
        for _ in 0..ROUNDS_MAX {
            last = self.rounds.round(self.now()).await?;
            if last.is_clean() && last.changes == 0 {
                return self.holds_wanted().await;
            }
        }
        Err(format!("not well after {ROUNDS_MAX} rounds: {last:?}"))
    }

    /// The destination holds what is wanted and not over, each once, with the end that is wanted.
    pub(super) async fn holds_wanted(&mut self) -> Verdict {
        let now = self.now();
        let live = self.rounds.wanted().values().filter(|member| member.until > now);
        let wanted: BTreeSet<Target> = live.map(|member| member.target).collect();
        self.holds(&wanted).await
    }

    /// The destination holds these, each once; those that are wanted, with their ends.
    pub(super) async fn holds(&mut self, targets: &BTreeSet<Target>) -> Verdict {
        let held = self.rig.held().await;
        let found: BTreeSet<Target> = held.iter().map(|entry| entry.target).collect();
        if found.len() != held.len() {
            return Err(format!("{} entries are there twice", held.len() - found.len()));
        }
        if found != *targets {
            let missing: Vec<_> = targets.difference(&found).take(5).collect();
            let beyond: Vec<_> = found.difference(targets).take(5).collect();
            return Err(format!("the destination lacks {missing:?} and holds {beyond:?} beyond"));
        }
        held.iter().try_for_each(|entry| self.ends_as_wanted(entry))
    }

    fn ends_as_wanted(&self, entry: &Held) -> Verdict {
        let slack = self.rounds.sink().limits().slack;
        let (Some(until), Some(member)) = (entry.until, self.rounds.wanted().get(&entry.target)) else {
            return Ok(());
        };
        match until.micros().abs_diff(member.until.micros()) > u64::try_from(slack.as_micros()).unwrap_or(u64::MAX) {
            true => Err(format!("{} ends at {until}, wanted is {}", entry.target, member.until)),
            false => Ok(()),
        }
    }

    /// Makes changes past all comparing; all must be done.
    pub(super) async fn does(&mut self, changes: &[Change]) -> Verdict {
        for batch in changes.chunks(self.rounds.sink().limits().changes.max(1)) {
            let applied = self.rounds.apply(batch).await?;
            if !all_done(&applied) {
                return Err(format!("{batch:?} at a well destination: {applied:?}"));
            }
        }
        let settled = self.rounds.sink().settled().await;
        settled.map_err(|fault| format!("`settled` at a well destination: {fault:?}"))
    }

    /// Looks until something is so.
    pub(super) async fn comes(&mut self, what: &str, is_so: impl Fn(&[Held]) -> bool) -> Verdict {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !is_so(&self.rig.held().await) {
            if tokio::time::Instant::now() >= deadline {
                return Err(format!("{what}: not so after {} s", PATIENCE.as_secs()));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }
}

/// Whether all was done and nothing failed.
fn all_done(applied: &Applied) -> bool {
    let done = |put: &Put| matches!(put, Put::Done { .. });
    applied.fault.is_none() && applied.outcomes.iter().all(done)
}

/// To let members stand.
pub(super) fn puts(members: &[Member]) -> Vec<Change> {
    members.iter().cloned().map(Change::Put).collect()
}

/// The targets of members.
pub(super) fn targets(members: &[Member]) -> BTreeSet<Target> {
    members.iter().map(|member| member.target).collect()
}

/// An address for tests (RFC 5737).
pub(super) fn host(n: u8) -> Target {
    Target::host([203, 0, 113, n].into())
}

/// An IPv6 address for tests (RFC 3849).
pub(super) fn host_v6(n: u16) -> Target {
    Target::host(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, n).into())
}

/// The time a while after another.
pub(super) fn after(at: Timestamp, wait: Duration) -> Timestamp {
    let wait = i64::try_from(wait.as_micros()).unwrap_or(i64::MAX / 2);
    Timestamp::from_micros(at.micros().saturating_add(wait))
}
