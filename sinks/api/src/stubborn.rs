//! Events that a destination fails over again and again although it works: the one thing that would hold a sink up for ever.
//!
//! In: the ids of events that it failed over, where it showed at the same time that it works (or every event of an outage
//! would be here). Out: whether an event has failed often enough to be at fault.
//! Where one has just been found, the next has one try: whoever found out how to make such events makes many, and the waits
//! between tries would hold the sink up as well.
//! Bound: [`EVENTS_MAX`] events; the one that was counted longest ago is forgotten first, and begins anew.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::stream::{Fault, FaultKind};

/// Tries after which an event is at fault and no accident: with the usual waits between tries, a quarter of a minute.
pub const TRIES: u32 = 5;
/// So long after an event was found the next one has one try.
const LATELY: Duration = Duration::from_secs(600);
/// Most events that are counted; twice what the largest batch holds.
const EVENTS_MAX: usize = 1024;

/// The fault of a destination that failed over events, and at that moment took a record that no event has a part in: it is
/// neither the login nor the settings, so time may mend it.
pub fn over_these(fault: Fault) -> Fault {
    let kind = match fault.kind {
        FaultKind::Auth | FaultKind::Config => FaultKind::Server,
        kind => kind,
    };
    let message = format!(
        "{}, and takes a record without an event: it, or a filter on the way, refuses these",
        fault.message
    );
    Fault { kind, message }
}

/// The counts; none at first.
#[derive(Debug, Default)]
pub struct Stubborn(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    rows: VecDeque<(Uuid, u32)>,
    /// When an event was found at fault.
    found: Option<Instant>,
}

impl Stubborn {
    /// One more failure over this event: whether it is at fault, after so many `tries`.
    pub fn is_at_fault(&self, id: Uuid, tries: u32) -> bool {
        let (mut counts, now) = (self.0.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
        let is_lately = counts.found.is_some_and(|found| now < found + LATELY);
        let is_found = counts.add(id) >= tries || is_lately;
        if is_found {
            counts.rows.pop_back();
            counts.found = Some(now);
        }
        is_found
    }
}

impl Counts {
    /// Counts, and leaves the event's row as the last.
    fn add(&mut self, id: Uuid) -> u32 {
        let before = self.rows.iter().position(|(known, _)| *known == id);
        let row = before.and_then(|at| self.rows.remove(at));
        let count = row.map_or(1, |(_, count)| count.saturating_add(1));
        if self.rows.len() >= EVENTS_MAX {
            self.rows.pop_front();
        }
        self.rows.push_back((id, count));
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_event_is_at_fault_after_its_tries_and_for_a_while_the_next_at_once() {
        let (stubborn, [one, other, third]) = (Stubborn::default(), [1, 2, 3].map(Uuid::from_u128));
        let tries = [one, one, other, one].map(|id| stubborn.is_at_fault(id, 3));
        assert_eq!(tries, [false, false, false, true]);
        assert!(stubborn.is_at_fault(third, 3), "one was found a moment ago");
        tokio::time::advance(LATELY).await;
        let tries = [third, one, one, other, other].map(|id| stubborn.is_at_fault(id, 3));
        assert_eq!(
            tries,
            [false, false, false, false, true],
            "those that were found begin anew"
        );
    }

    #[test]
    fn what_is_taken_of_others_is_no_fault_of_the_login() {
        for (kind, expected) in [
            (FaultKind::Auth, FaultKind::Server),
            (FaultKind::Config, FaultKind::Server),
            (FaultKind::Busy, FaultKind::Busy),
        ] {
            let message = "it refused: http status 403".to_owned();
            let fault = over_these(Fault { kind, message });
            assert_eq!(fault.kind, expected);
            assert!(fault.message.contains("403, and takes a record without an event"));
        }
    }

    #[test]
    fn the_table_is_bounded_and_what_fails_now_stays_in_it() {
        let (mut counts, held) = (Counts::default(), Uuid::from_u128(0));
        for at in 1..=3 * EVENTS_MAX {
            counts.add(Uuid::from_u128(at as u128));
            assert_eq!(counts.add(held) as usize, at);
        }
        assert_eq!((counts.rows.len(), counts.add(Uuid::from_u128(1))), (EVENTS_MAX, 1));
    }
}
