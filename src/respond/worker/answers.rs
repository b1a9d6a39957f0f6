//! What the destination's answers mean. Pure.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use trapline_sink::set::{Applied, Change, Put, Standing, Target};
use trapline_sink::{Fault, FaultKind};

use super::core::{Core, Ends, Hold, Moment, shifted};
use super::{Level, Report};

/// So many batches in a row of which nothing was made are the destination's fault, not the members'.
const ROW_MAX: u32 = 3;
/// What was nowhere is asked for again after this.
pub(super) const NOWHERE_AGAIN: Duration = Duration::from_secs(300);
/// What the destination refuses to take out is tried again after this.
pub(super) const REFUSED_TAKE_AGAIN: Duration = Duration::from_secs(60);

impl Core {
    /// The answer to [`Step::List`](super::core::Step::List).
    pub(super) fn listed(&mut self, found: Result<Vec<Standing>, Fault>, now: Moment) {
        match found {
            Ok(stands) => self.stands(stands, now),
            Err(fault) => self.pause(fault, None, now),
        }
        self.judge(now);
    }

    fn stands(&mut self, stands: Vec<Standing>, now: Moment) {
        self.ends = match stands.first() {
            None => self.ends,
            Some(_) if stands.iter().any(|entry| entry.until.is_some()) => Ends::Itself,
            Some(_) => Ends::Never,
        };
        let mut map: HashMap<Target, Standing> = stands.into_iter().map(|entry| (entry.target, entry)).collect();
        if let Some(before) = self.known.take() {
            self.find_changed(&before, &map, now);
            self.tell_what_went(&before, &map, now);
            for (target, entry) in &mut map {
                let handle = before.get(target).and_then(|entry| entry.handle.clone());
                entry.handle = entry.handle.take().or(handle);
            }
        }
        self.known = Some(map);
        self.note_list(now);
        self.board.compared = Some(now.wall);
        (self.is_dirty, self.is_unsettled) = (true, true);
        if self.settings.observes {
            self.works(now);
        }
    }

    /// What nobody wants any more and is gone, by its end or by somebody's hand.
    fn tell_what_went(&mut self, before: &HashMap<Target, Standing>, after: &HashMap<Target, Standing>, now: Moment) {
        let is_wanted = |target: &Target| self.goal.get(target).is_some_and(|member| member.until > now.wall);
        let went = before.values().filter(|entry| !after.contains_key(&entry.target));
        let went: Vec<_> = went.filter(|entry| !is_wanted(&entry.target)).cloned().collect();
        for entry in went {
            self.holds.remove(&entry.target);
            self.account.lifted(&entry);
        }
    }

    /// What somebody else has changed since it was last known.
    fn find_changed(&mut self, before: &HashMap<Target, Standing>, after: &HashMap<Target, Standing>, now: Moment) {
        let slack = self.limits.slack;
        let is_wanted = |target: &Target| self.goal.get(target).is_some_and(|member| member.until > now.wall);
        let is_sure = |target: &&Target| !self.uncertain.contains(*target) && !self.has_failed(**target);
        let ended = |entry: &Standing| entry.until.is_some_and(|until| shifted(until, slack) <= now.wall);
        let differs = |entry: &Standing| match after.get(&entry.target) {
            None => true,
            Some(found) => match (entry.until, found.until) {
                (Some(one), Some(other)) => {
                    one.micros().abs_diff(other.micros()) > u64::try_from(slack.as_micros()).unwrap_or(u64::MAX)
                }
                _ => false,
            },
        };
        let lost = before
            .values()
            .filter(|entry| !ended(entry) && differs(entry))
            .map(|entry| &entry.target);
        let lost = lost.filter(|target| is_wanted(target));
        let added = after
            .keys()
            .filter(|target| !before.contains_key(*target) && !is_wanted(target));
        let found: HashSet<Target> = lost.chain(added).filter(is_sure).copied().collect();
        self.repairing
            .retain(|target| matches!(self.holds.get(target), Some(Hold::Wait(..))));
        // A jump of the clock has moved all ends at once, and nobody's hand.
        if self.jumped_since_list() {
            return;
        }
        self.repairing.extend(found);
    }

    /// The answer to [`Step::Apply`](super::core::Step::Apply).
    pub(super) fn applied(&mut self, batch: &[Change], applied: Applied, now: Moment) {
        let Applied {
            outcomes,
            retry_after,
            fault,
        } = applied;
        let again = outcomes.iter().filter(|put| **put == Put::Retry).count();
        let miscounted = outcomes.len() != batch.len();
        let fault = match miscounted {
            true => broken(format!("{} outcomes for {} changes", outcomes.len(), batch.len())),
            false => fault.unwrap_or_else(|| server("tried again without a reason".to_owned())),
        };
        let is_away = miscounted || (again == batch.len() && self.is_away(&fault));
        if is_away {
            self.all_again(batch, now);
        } else {
            for (change, put) in batch.iter().zip(outcomes) {
                self.note(change, put, (&fault, retry_after), now);
            }
        }
        if again > 0 {
            self.last_fault = Some(fault.clone());
        }
        if is_away || (again > 0 && retry_after.is_some()) {
            self.pause(fault, retry_after, now);
        } else if again < batch.len() {
            self.row = 0;
            self.works(now);
        }
        self.tell_mended();
        self.judge(now);
    }

    /// Whether a batch of which nothing was made is the destination's fault.
    fn is_away(&mut self, fault: &Fault) -> bool {
        use FaultKind::{Auth, Broken, Busy, Config, Tls, Unreachable};
        self.row += 1;
        matches!(fault.kind, Unreachable | Busy | Auth | Config | Tls | Broken) || self.row >= ROW_MAX
    }

    fn all_again(&mut self, batch: &[Change], now: Moment) {
        self.uncertain.extend(batch.iter().map(Change::target));
        for change in batch {
            self.fails(change, now);
        }
    }

    fn fails(&mut self, change: &Change, now: Moment) {
        match change {
            Change::Put(member) => self.account.is_open(member, now.at),
            Change::Take(entry) => self.account.is_stuck(entry.target, now.at),
        }
    }

    fn note(&mut self, change: &Change, put: Put, (fault, asked): (&Fault, Option<Duration>), now: Moment) {
        let target = change.target();
        match (change, put) {
            (_, Put::Done { handle }) => self.done(change, handle, now),
            (Change::Take(_), Put::Nowhere(_)) => self.done(change, None, now),
            (Change::Put(member), Put::Nowhere(why)) => {
                self.gone(target);
                self.holds
                    .insert(target, Hold::Nowhere(member.decision, now.at + NOWHERE_AGAIN));
                self.account.nowhere(member, why);
                // It may have had the room of another.
                self.is_dirty = true;
            }
            (Change::Put(member), Put::Refused(why)) => {
                self.holds.insert(target, Hold::Refused(member.decision));
                self.account.refused(member, why);
                self.is_dirty = true;
            }
            (Change::Take(_), Put::Refused(why)) => {
                self.fails(change, now);
                self.last_fault = Some(server(format!("does not take {target} out: {why}")));
                self.wait(target, Some(REFUSED_TAKE_AGAIN), fault, now);
            }
            (_, Put::Retry) => {
                self.fails(change, now);
                self.wait(target, asked, fault, now);
            }
        }
    }

    fn wait(&mut self, target: Target, asked: Option<Duration>, fault: &Fault, now: Moment) {
        let before = match self.holds.get(&target) {
            Some(Hold::Wait(attempts, _)) => *attempts,
            _ => 0,
        };
        let attempts = before.saturating_add(1);
        let wait = self.settings.retry.wait(Some(fault.kind), attempts, asked, now.jitter);
        self.holds.insert(target, Hold::Wait(attempts, now.at + wait));
    }

    /// What was thought to stand does not.
    fn gone(&mut self, target: Target) {
        if let Some(known) = &mut self.known {
            known.remove(&target);
        }
    }

    fn done(&mut self, change: &Change, handle: Option<Arc<str>>, now: Moment) {
        let target = change.target();
        self.holds.remove(&target);
        self.is_unsettled = true;
        let was_changed = self.repairing.remove(&target);
        self.mended += u64::from(was_changed);
        match change {
            Change::Put(member) => {
                let handle = handle.or_else(|| member.handle.clone());
                let entry = Standing {
                    target,
                    until: (self.ends != Ends::Never).then_some(member.until),
                    decision: Some(member.decision),
                    handle: handle.clone(),
                };
                self.known.get_or_insert_default().insert(target, entry);
                self.board.put += 1;
                self.account.stands(target, member.decision, handle, false, now.at);
            }
            Change::Take(entry) => {
                self.gone(target);
                self.board.taken += 1;
                // What somebody else had added never stood for a decision.
                if !was_changed || entry.decision.is_some() {
                    self.account.lifted(entry);
                }
            }
        }
    }

    /// The answer to [`Step::Settle`](super::core::Step::Settle).
    pub(super) fn settled(&mut self, found: Result<(), Fault>, now: Moment) {
        match found {
            Ok(()) => {
                self.is_unsettled = false;
                self.works(now);
            }
            Err(fault) => self.pause(fault, None, now),
        }
        self.judge(now);
    }

    fn works(&mut self, now: Moment) {
        self.trouble.worked(now.at);
    }

    /// The destination is left alone for a while, and listed then.
    fn pause(&mut self, fault: Fault, asked: Option<Duration>, now: Moment) {
        let attempts = self.trouble.failed(Some(fault.kind), true, now.at);
        self.trouble.tell(now.at);
        let wait = self.settings.retry.wait(Some(fault.kind), attempts, asked, now.jitter);
        self.not_before = Some(now.at + wait);
        self.list_at = now.at;
        self.queue.clear();
        self.is_dirty = true;
        self.row = 0;
        self.board.attempts = attempts;
        self.open_all(now);
        self.account.fails(&fault, now.at);
        self.last_fault = Some(fault);
    }

    /// What is wanted and is not known to stand waits from now on.
    fn open_all(&mut self, now: Moment) {
        let stands = |target: &Target| self.known.as_ref().is_some_and(|known| known.contains_key(target));
        for member in self.goal.values().filter(|member| member.until > now.wall) {
            if !stands(&member.target) && !self.holds.contains_key(&member.target) {
                self.account.is_open(member, now.at);
            }
        }
    }

    fn tell_mended(&mut self) {
        if self.queue.is_empty() && self.mended > 0 {
            let count = std::mem::take(&mut self.mended);
            self.board.repaired += count;
            self.account.say(Report::Repaired { count });
        }
    }

    /// How well it is now.
    pub(super) fn judge(&mut self, now: Moment) {
        self.count(now);
        let level = match () {
            () if self.trouble.is_alarmed() => Level::Failing,
            () if self.trouble.is_on() || self.board.failed > 0 => Level::Degraded,
            () if self.known.is_none() => Level::Starting,
            () if self.board.beyond_room > 0 => Level::Degraded,
            () => Level::Ok,
        };
        if self.board.level != level {
            (self.board.level, self.board.since) = (level, now.wall);
        }
        if !self.trouble.is_on() && self.board.failed == 0 {
            self.last_fault = None;
            self.board.attempts = 0;
        }
        self.board.kind = self.last_fault.as_ref().map(|fault| fault.kind);
        self.board.fault = self.last_fault.as_ref().map(|fault| fault.message.clone());
    }
}

fn broken(message: String) -> Fault {
    Fault {
        kind: FaultKind::Broken,
        message,
    }
}

fn server(message: String) -> Fault {
    Fault {
        kind: FaultKind::Server,
        message,
    }
}
