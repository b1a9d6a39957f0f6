//! What to do now: the state of one worker. Pure: time and chance are handed in.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use trapline_schemas::Timestamp;
use trapline_sink::Fault;
use trapline_sink::set::{Change, Member, SetLimits, Spared, Standing, Target, Wanted, compare};
use uuid::Uuid;

use super::account::Account;
use super::board::Board;
use super::jumps::Jumps;
use super::{Settings, WouldDo};
use crate::delivery::trouble::Trouble;

/// Somebody else's hand is waited for so long to come to rest.
pub(super) const TOLD_SETTLES: Duration = Duration::from_millis(200);
/// However often somebody else changes the destination, it is listed no more often than this.
pub(super) const TOLD_GAP: Duration = Duration::from_secs(2);

/// While much is under way the members are counted no more often than this.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// This moment, and a number by chance for the next wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) wall: Timestamp,
    pub(super) at: Instant,
    /// 0.0..1.0.
    pub(super) jitter: f64,
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Ask what stands.
    List,
    /// Make these changes.
    Apply(Vec<Change>),
    /// Say that all stands.
    Settle,
    /// Nothing before this, unless something changes.
    Rest(Instant),
}

/// Why a change is not tried now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    /// Refused for good, while this decision wants it.
    Refused(Uuid),
    /// There was nothing there; up to then, or to another decision.
    Nowhere(Uuid, Instant),
    /// It failed so often, and waits up to then.
    Wait(u32, Instant),
}

/// Whether the destination ends entries by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    /// No entry has been listed yet.
    Unknown,
    Itself,
    Never,
}

/// The state.
pub(super) struct Core {
    pub(super) settings: Settings,
    pub(super) limits: SetLimits,
    wanted: Arc<Wanted>,
    spared: Arc<Spared>,
    /// What is wanted and not spared, with ends as the clock shows them now.
    pub(super) goal: Arc<Wanted>,
    jumps: Jumps,
    /// What stands as far as is known; `None` before the first list.
    pub(super) known: Option<HashMap<Target, Standing>>,
    pub(super) ends: Ends,
    pub(super) holds: HashMap<Target, Hold>,
    /// Entries that somebody else has changed and that are not mended yet.
    pub(super) repairing: HashSet<Target>,
    pub(super) queue: VecDeque<Change>,
    pub(super) is_dirty: bool,
    pub(super) is_unsettled: bool,
    pub(super) list_at: Instant,
    pub(super) listed: Option<Instant>,
    next_end: Option<Instant>,
    /// When it was last compared; what was due then is queued.
    planned: Option<Instant>,
    /// What stands has not been told yet.
    is_first: bool,
    /// Targets of which nobody knows whether they were changed.
    pub(super) uncertain: HashSet<Target>,
    /// The wall clock at the last list.
    pub(super) listed_wall: Timestamp,
    /// Entries mended that were not told of yet.
    pub(super) mended: u64,
    jumps_at_list: u64,
    /// When the members were last counted for the board.
    counted: Option<Instant>,
    pub(super) not_before: Option<Instant>,
    /// Batches in a row of which nothing was made.
    pub(super) row: u32,
    pub(super) trouble: Trouble,
    seen_at: Option<Instant>,
    pub(super) last_fault: Option<Fault>,
    pub(super) account: Account,
    pub(super) board: Board,
}

impl Core {
    pub(super) fn new(settings: Settings, limits: SetLimits, now: Moment) -> Self {
        let board = Board {
            since: now.wall,
            ..Board::default()
        };
        Self {
            settings,
            limits,
            wanted: Arc::default(),
            spared: Arc::new(Spared::new([])),
            goal: Arc::default(),
            jumps: Jumps::default(),
            known: None,
            ends: Ends::Unknown,
            holds: HashMap::new(),
            repairing: HashSet::new(),
            queue: VecDeque::new(),
            is_dirty: false,
            is_unsettled: false,
            list_at: now.at,
            listed: None,
            next_end: None,
            planned: None,
            is_first: true,
            uncertain: HashSet::new(),
            listed_wall: now.wall,
            mended: 0,
            jumps_at_list: 0,
            counted: None,
            not_before: None,
            row: 0,
            trouble: Trouble::default(),
            seen_at: None,
            last_fault: None,
            account: Account::default(),
            board,
        }
    }

    /// From now on this is wanted.
    pub(super) fn want(&mut self, wanted: Arc<Wanted>, now: Moment) {
        self.look_at_clock(now);
        self.wanted = wanted;
        self.jumps.keep(&self.wanted);
        self.aim();
    }

    /// From now on these are spared. What was refused may not be any more.
    pub(super) fn spare(&mut self, spared: Arc<Spared>) {
        self.spared = spared;
        self.holds.retain(|_, hold| !matches!(hold, Hold::Refused(_)));
        self.aim();
    }

    /// Somebody else has changed the destination.
    pub(super) fn told(&mut self, now: Moment) {
        let soonest = self.listed.map_or(now.at, |listed| listed + TOLD_GAP);
        self.list_at = self.list_at.min(soonest.max(now.at + TOLD_SETTLES));
    }

    fn look_at_clock(&mut self, now: Moment) {
        if self.jumps.look(now.wall, now.at, &self.wanted) {
            self.board.clock_jumps = self.jumps.seen;
            // What is known to stand has its ends by the clock of before.
            self.list_at = now.at;
            self.aim();
        }
    }

    /// Whether the clock has jumped since what stands was last listed.
    pub(super) fn jumped_since_list(&self) -> bool {
        self.jumps.seen > self.jumps_at_list
    }

    /// What stands was listed.
    pub(super) fn note_list(&mut self, now: Moment) {
        self.uncertain.clear();
        self.listed = Some(now.at);
        self.listed_wall = now.wall;
        self.jumps_at_list = self.jumps.seen;
        self.list_at = now.at + self.settings.interval;
    }

    /// Makes the goal anew.
    fn aim(&mut self) {
        let is_spared = |member: &Member| self.spared.why(member.target).is_some();
        if !self.jumps.any() && !self.wanted.values().any(is_spared) {
            self.goal = self.wanted.clone();
        } else {
            let kept = self.wanted.values().filter(|member| !is_spared(member));
            let moved = kept.map(|member| Member {
                until: self.jumps.end_of(member),
                ..member.clone()
            });
            self.goal = Arc::new(moved.map(|member| (member.target, member)).collect());
        }
        self.is_dirty = true;
    }

    /// What to do now.
    pub(super) fn next(&mut self, now: Moment) -> Step {
        self.look_at_clock(now);
        self.complain(now);
        if let Some(at) = self.not_before.filter(|at| *at > now.at) {
            let told = self.trouble.due().into_iter().chain(self.account_due());
            return Step::Rest(told.filter(|told| *told > now.at).fold(at, Instant::min));
        }
        self.not_before = None;
        if self.known.is_none() || now.at >= self.list_at {
            return Step::List;
        }
        if self.is_dirty || self.something_is_due(now.at) {
            self.plan(now);
        }
        if self.settings.observes {
            return Step::Rest(self.due());
        }
        let batch = self.queue.len().min(self.limits.changes.max(1));
        match self.queue.drain(..batch).collect::<Vec<_>>() {
            batch if !batch.is_empty() => Step::Apply(batch),
            _ if self.is_unsettled && !self.is_waiting() => Step::Settle,
            _ => Step::Rest(self.due()),
        }
    }

    /// Tells of what has failed for too long.
    fn complain(&mut self, now: Moment) {
        self.seen_at = Some(now.at);
        self.trouble.tell(now.at);
        if let Some(fault) = self.last_fault.clone() {
            self.account.fails(&fault, now.at);
        }
    }

    fn is_waiting(&self) -> bool {
        self.holds.values().any(|hold| matches!(hold, Hold::Wait(..)))
    }

    fn something_is_due(&self, now: Instant) -> bool {
        self.dates().any(|at| at <= now)
    }

    /// When something is to be done next, if nothing changes.
    fn due(&self) -> Instant {
        self.dates().chain(self.account_due()).fold(self.list_at, Instant::min)
    }

    /// When what was not due at the last comparison is.
    fn dates(&self) -> impl Iterator<Item = Instant> {
        let holds = self.holds.values().filter_map(Hold::at);
        let dates = holds.chain(self.next_end);
        dates.filter(|at| self.planned.is_none_or(|planned| *at > planned))
    }

    /// When somebody is to be told of what fails.
    fn account_due(&self) -> Option<Instant> {
        let due = self.last_fault.as_ref().and_then(|_| self.account.due());
        due.filter(|at| self.seen_at.is_none_or(|seen| *at > seen))
    }

    /// Compares what is wanted with what is known to stand.
    fn plan(&mut self, now: Moment) {
        self.is_dirty = false;
        self.forget_what_ended(now);
        let Some(known) = &self.known else { return };
        let stands: Vec<Standing> = known.values().cloned().collect();
        let goal = self.reachable_goal(known, now);
        let changes = compare(&goal, &stands, now.wall, self.limits);
        let due: HashSet<Target> = changes.iter().map(Change::target).collect();
        let open = changes.into_iter().filter(|change| self.is_open(change, now));
        let mut queue: Vec<_> = open.map(|change| self.with_handle(change)).collect();
        // What failed before comes last, so that it holds up nobody.
        queue.sort_by_key(|change| matches!(change, Change::Put(member) if self.has_failed(member.target)));
        self.holds.retain(|target, hold| match hold {
            Hold::Refused(_) => true,
            Hold::Nowhere(_, at) => *at > now.at,
            Hold::Wait(..) => due.contains(target),
        });
        self.planned = Some(now.at);
        self.queue = queue.into();
        self.next_end = self.end_after(now);
        self.tell_what_stands(now);
        self.counted = None;
        self.count(now);
    }

    pub(super) fn has_failed(&self, target: Target) -> bool {
        matches!(self.holds.get(&target), Some(Hold::Wait(..)))
    }

    /// The destination has ended these by itself.
    fn forget_what_ended(&mut self, now: Moment) {
        let (ends, slack) = (self.ends, self.limits.slack);
        let Some(known) = &mut self.known else { return };
        if ends != Ends::Itself {
            return;
        }
        // What was listed after its end does not end by itself.
        let listed = self.listed_wall;
        let is_over = |until: Timestamp| shifted(until, slack) <= now.wall && shifted(until, slack) > listed;
        let gone = known.extract_if(|_, entry| entry.until.is_some_and(is_over));
        for (target, entry) in gone {
            self.holds.remove(&target);
            self.account.lifted(&entry);
        }
    }

    /// The goal without what cannot be put in now, so that it takes nobody's room; what of it stands is kept.
    fn reachable_goal(&self, known: &HashMap<Target, Standing>, now: Moment) -> Arc<Wanted> {
        let is_barred = |member: &Member| match self.holds.get(&member.target) {
            Some(Hold::Refused(decision)) => *decision == member.decision,
            Some(Hold::Nowhere(decision, at)) => *decision == member.decision && *at > now.at,
            _ => false,
        };
        if self.holds.values().all(|hold| matches!(hold, Hold::Wait(..))) {
            return self.goal.clone();
        }
        let goal = self.goal.values();
        let kept = goal.filter(|member| known.contains_key(&member.target) || !is_barred(member));
        Arc::new(kept.map(|member| (member.target, member.clone())).collect())
    }

    /// Whether a change may be tried now.
    fn is_open(&self, change: &Change, now: Moment) -> bool {
        let hold = self.holds.get(&change.target());
        match (change, hold) {
            (Change::Put(member), Some(Hold::Refused(decision))) => *decision != member.decision,
            (Change::Put(member), Some(Hold::Nowhere(decision, at))) => *decision != member.decision || *at <= now.at,
            (_, Some(Hold::Wait(_, at))) => *at <= now.at,
            (Change::Take(entry), _) => !self.is_about_to_end(entry, now),
            _ => true,
        }
    }

    /// Whether the destination ends an entry by itself in a moment, or has just done so.
    fn is_about_to_end(&self, entry: &Standing, now: Moment) -> bool {
        let near = |until: Timestamp| {
            let (from, to) = (shifted(now.wall, self.limits.slack), shifted(until, self.limits.slack));
            until <= from && now.wall < to
        };
        self.ends == Ends::Itself && entry.until.is_some_and(near) && !self.is_spared(entry.target)
    }

    fn is_spared(&self, target: Target) -> bool {
        self.spared.why(target).is_some()
    }

    /// With what the destination calls the entry.
    fn with_handle(&self, mut change: Change) -> Change {
        let target = change.target();
        let known = self.known.as_ref().and_then(|known| known.get(&target));
        let wanted = self.wanted.get(&target);
        let handle = known.and_then(|entry| entry.handle.clone());
        let handle = handle.or_else(|| wanted.and_then(|member| member.handle.clone()));
        match &mut change {
            Change::Put(member) => member.handle = member.handle.take().or(handle),
            Change::Take(entry) => entry.handle = entry.handle.take().or(handle),
        }
        change
    }

    /// When the next member ends, or the next entry that the destination ends by itself.
    fn end_after(&self, now: Moment) -> Option<Instant> {
        let members = self.goal.values().map(|member| member.until);
        let members = members.filter(|until| *until > now.wall);
        let entries = self.known.iter().flat_map(HashMap::values);
        let entries = entries.filter_map(|entry| entry.until.map(|until| shifted(until, self.limits.slack)));
        let entries = entries.filter(|until| self.ends == Ends::Itself && *until > now.wall);
        let next = members.chain(entries).min()?;
        // A hair later, so that it is over when it is looked at.
        Some(now.at + next.since(now.wall) + Duration::from_millis(1))
    }

    fn tell_what_stands(&mut self, now: Moment) {
        let Some(known) = &self.known else { return };
        let first = std::mem::take(&mut self.is_first);
        let queued: HashSet<Target> = self.queue.iter().map(Change::target).collect();
        for member in self.goal.values().filter(|member| member.until > now.wall) {
            match known.get(&member.target) {
                Some(entry) if !queued.contains(&member.target) => {
                    let handle = entry.handle.clone().or_else(|| member.handle.clone());
                    self.account
                        .stands(member.target, member.decision, handle, first, now.at);
                }
                Some(_) => {}
                None if self.is_held(member) => {}
                None => self.account.is_open(member, now.at),
            }
        }
        self.account.keep(&self.goal, |target| known.contains_key(target));
        self.holds
            .retain(|target, _| self.goal.contains_key(target) || known.contains_key(target));
    }

    fn is_held(&self, member: &Member) -> bool {
        let hold = self.holds.get(&member.target);
        matches!(hold, Some(Hold::Refused(decision) | Hold::Nowhere(decision, _)) if *decision == member.decision)
    }

    /// The figures of the board that follow from the state.
    pub(super) fn count(&mut self, now: Moment) {
        self.count_holds();
        // Between the batches of a long queue once a second is enough.
        let is_fresh = self.counted.is_some_and(|at| now.at < at + COUNT_EVERY);
        if is_fresh && !self.queue.is_empty() {
            return;
        }
        self.counted = Some(now.at);
        let Some(known) = &self.known else { return };
        let alive = self.goal.values().filter(|member| member.until > now.wall);
        let (mut wanted, mut standing) = (0_usize, 0_u64);
        for member in alive {
            wanted += 1;
            standing += u64::from(known.contains_key(&member.target));
        }
        self.board.wanted = wanted as u64;
        self.board.standing = standing;
        self.board.beyond_room = wanted.saturating_sub(self.limits.members) as u64;
    }

    fn count_holds(&mut self) {
        let holds = |is: fn(&Hold) -> bool| self.holds.values().filter(|hold| is(hold)).count() as u64;
        let puts = self
            .queue
            .iter()
            .filter(|change| matches!(change, Change::Put(_)))
            .count() as u64;
        let would = WouldDo {
            puts,
            takes: self.queue.len() as u64 - puts,
        };
        self.board.failed = holds(|hold| matches!(hold, Hold::Wait(..)));
        self.board.refused = holds(|hold| matches!(hold, Hold::Refused(_)));
        self.board.nowhere = holds(|hold| matches!(hold, Hold::Nowhere(..)));
        self.board.would = self.settings.observes.then_some(would);
    }
}

impl Hold {
    /// When it is over by itself.
    pub(super) fn at(&self) -> Option<Instant> {
        match self {
            Self::Refused(_) => None,
            Self::Nowhere(_, at) | Self::Wait(_, at) => Some(*at),
        }
    }
}

/// The time a while after another.
pub(super) fn shifted(at: Timestamp, by: Duration) -> Timestamp {
    let by = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(at.micros().saturating_add(by))
}
