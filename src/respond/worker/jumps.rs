//! Ends over jumps of the wall clock. Pure.
//!
//! A member's end is an instant of the wall clock. If that clock jumps, the ends of the members that were made before it
//! move with it, so that each stands for as long as was decided. A member that was made under another clock than shows
//! now (its beginning lies ahead) is left as it is: the jump is what mends the clock.

use std::collections::HashMap;

use tokio::time::Instant;
use trapline_schemas::Timestamp;
use trapline_sink::set::{Member, Target, Wanted};

/// The clocks may differ by so much, microseconds, before it is a jump: time services set clocks right in small steps.
const JUMP: i64 = 30_000_000;
/// A decision may be so much ahead of the clock, microseconds, because two tasks have read it.
const AHEAD: i64 = 5_000_000;

/// What is remembered of jumps.
#[derive(Debug, Default)]
pub(super) struct Jumps {
    last: Option<(Timestamp, Instant)>,
    /// By how much an end has moved, microseconds; with the end as it is written, which tells a later decision.
    moved: HashMap<Target, (Timestamp, i64)>,
    /// How many there were.
    pub(super) seen: u64,
}

impl Jumps {
    /// Looks at both clocks; whether the wall clock has jumped, so that ends have moved.
    pub(super) fn look(&mut self, wall: Timestamp, at: Instant, wanted: &Wanted) -> bool {
        let last = self.last.replace((wall, at));
        let Some((before, then)) = last else { return false };
        let passed = i64::try_from(at.saturating_duration_since(then).as_micros()).unwrap_or(i64::MAX);
        let by = wall.micros().saturating_sub(before.micros()).saturating_sub(passed);
        if by.saturating_abs() <= JUMP {
            return false;
        }
        self.seen += 1;
        for member in wanted.values() {
            let moved = self.by(member);
            let began = member.since.micros().saturating_add(moved);
            if began <= before.micros().saturating_add(AHEAD) {
                let moved = moved.saturating_add(by);
                self.moved.insert(member.target, (member.until, moved));
            }
        }
        true
    }

    fn by(&self, member: &Member) -> i64 {
        let found = self.moved.get(&member.target);
        found
            .filter(|(until, _)| *until == member.until)
            .map_or(0, |(_, by)| *by)
    }

    /// Whether any end has moved.
    pub(super) fn any(&self) -> bool {
        !self.moved.is_empty()
    }

    /// When a member ends by the clock as it shows now.
    pub(super) fn end_of(&self, member: &Member) -> Timestamp {
        Timestamp::from_micros(member.until.micros().saturating_add(self.by(member)))
    }

    /// Forgets those that nobody wants any more.
    pub(super) fn keep(&mut self, wanted: &Wanted) {
        self.moved.retain(|target, _| wanted.contains_key(target));
    }
}
