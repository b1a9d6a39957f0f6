//! Whether a sink refuses much of what it gets, and whom to tell. Pure.
//!
//! A dead letter now and then is an odd event; a row of them is a destination that takes nothing although it answers.

use std::time::Duration;

use tokio::time::Instant;

/// So many events must have been refused before it is more than an accident.
const DEAD_MIN: u64 = 3;
/// Counts are halved beyond this, so that old events weigh little.
const WINDOW: u64 = 64;
/// So long no event must have been refused, some having been delivered, before it is over.
pub(super) const QUIET: Duration = Duration::from_secs(30);

/// What became of the last events.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    delivered: u64,
    dead: u64,
    /// Delivered since the last refusal.
    run: u64,
    last: Option<Instant>,
    /// While it refuses: events refused since it began.
    row: Option<u64>,
}

/// What has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// At least a third of the last events were refused.
    Refuses,
    /// It takes events again.
    Over {
        /// Events refused meanwhile.
        dead: u64,
    },
}

impl Refusals {
    /// With the row that an earlier worker has seen.
    pub(super) fn resumed(row: Option<u64>, now: Instant) -> Self {
        Self {
            last: row.map(|_| now),
            row,
            ..Self::default()
        }
    }

    /// Counts the events of one answer that were finished.
    pub(super) fn count(&mut self, delivered: u64, dead: u64, now: Instant) -> Option<Change> {
        self.weigh(delivered, dead);
        if dead > 0 {
            self.last = Some(now);
            self.run = 0;
        } else {
            self.run += delivered;
        }
        match &mut self.row {
            Some(refused) => {
                *refused += dead;
                self.look(now)
            }
            None if self.dead >= DEAD_MIN && self.dead * 2 >= self.delivered => {
                self.row = Some(self.dead);
                Some(Change::Refuses)
            }
            None => None,
        }
    }

    /// Whether it is over by now: a whole window was taken, or some events, and none refused for a while.
    pub(super) fn look(&mut self, now: Instant) -> Option<Change> {
        let quiet = self.run > 0 && self.last.is_none_or(|last| now >= last + QUIET);
        if !quiet && self.run < WINDOW {
            return None;
        }
        let dead = self.row.take()?;
        *self = Self::default();
        Some(Change::Over { dead })
    }

    /// When to look again.
    pub(super) fn due(&self) -> Option<Instant> {
        let waits = self.row.is_some() && self.run > 0;
        self.last.filter(|_| waits).map(|last| last + QUIET)
    }

    /// Events refused since it began, while it lasts.
    pub(super) fn refused(&self) -> Option<u64> {
        self.row
    }

    fn weigh(&mut self, delivered: u64, dead: u64) {
        self.delivered += delivered;
        self.dead += dead;
        while self.delivered + self.dead > WINDOW {
            self.delivered /= 2;
            self.dead /= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn two_odd_events_are_an_accident_and_a_third_is_not() {
        let (now, mut refusals) = (Instant::now(), Refusals::default());
        assert_eq!(refusals.count(0, 2, now), None);
        assert_eq!(refusals.count(0, 1, now), Some(Change::Refuses));
        assert_eq!(refusals.count(0, 9, now), None, "told once");
        assert_eq!(refusals.refused(), Some(12));
    }

    #[test]
    fn a_few_refused_among_many_taken_are_no_trouble_and_a_third_of_them_is() {
        let (now, mut refusals) = (Instant::now(), Refusals::default());
        for _ in 0..100 {
            assert_eq!(refusals.count(9, 1, now), None);
        }
        assert!((0..100).any(|_| refusals.count(3, 2, now) == Some(Change::Refuses)));
    }

    #[test]
    fn it_is_over_when_something_was_taken_and_nothing_refused_for_a_while() {
        let (now, mut refusals) = (Instant::now(), Refusals::default());
        refusals.count(0, 5, now);
        assert_eq!(refusals.look(now + 9 * QUIET), None, "nothing was taken");
        assert_eq!(refusals.due(), None);
        assert_eq!(refusals.count(1, 0, now + secs(1)), None);
        assert_eq!(refusals.due(), Some(now + QUIET));
        let over = Change::Over { dead: 5 };
        assert_eq!(refusals.look(now + QUIET), Some(over));
        assert_eq!(refusals.refused(), None);
        assert_eq!(refusals.count(0, 1, now + QUIET), None, "it begins anew");
    }

    #[test]
    fn what_an_earlier_worker_saw_is_over_when_this_one_delivers() {
        let now = Instant::now();
        let mut refusals = Refusals::resumed(Some(7), now);
        assert_eq!((refusals.refused(), refusals.look(now + 2 * QUIET)), (Some(7), None));
        assert_eq!(refusals.count(1, 0, now + QUIET), Some(Change::Over { dead: 7 }));
        assert_eq!(Refusals::resumed(None, now).refused(), None);
    }

    #[test]
    fn it_is_over_at_once_when_a_whole_window_was_taken() {
        let (now, mut refusals) = (Instant::now(), Refusals::default());
        refusals.count(0, 5, now);
        assert_eq!(refusals.count(63, 0, now + secs(1)), None);
        let over = Change::Over { dead: 5 };
        assert_eq!(refusals.count(1, 0, now + secs(2)), Some(over));
    }
}
