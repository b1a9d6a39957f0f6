//! Events that a destination fails over again and again although it works: the one thing that would hold a sink up for ever.
//!
//! In: the ids of events that it failed over. Out: how often so far. A failure is counted only where the destination
//! showed at the same time that it works, or every event of an outage would be here.
//! Bound: [`EVENTS_MAX`] events; the one that was counted longest ago is forgotten first, and begins anew.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

use crate::stream::{Fault, FaultKind};

/// Tries after which an event is at fault and no accident: with the usual waits between tries, a quarter of a minute.
pub const TRIES: u32 = 5;
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
pub struct Stubborn(Mutex<VecDeque<(Uuid, u32)>>);

impl Stubborn {
    /// One more failure over this event: how many there were.
    pub fn failed(&self, id: Uuid) -> u32 {
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = rows.iter().position(|(known, _)| *known == id);
        let count = before
            .and_then(|at| rows.remove(at))
            .map_or(1, |(_, count)| count.saturating_add(1));
        if rows.len() >= EVENTS_MAX {
            rows.pop_front();
        }
        rows.push_back((id, count));
        count
    }

    /// The event is done with.
    pub fn forget(&self, id: Uuid) {
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rows.retain(|(known, _)| *known != id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_by_event_until_it_is_done_with() {
        let (stubborn, [one, other]) = (Stubborn::default(), [1, 2].map(Uuid::from_u128));
        assert_eq!([one, one, other, one].map(|id| stubborn.failed(id)), [1, 2, 1, 3]);
        stubborn.forget(one);
        assert_eq!([one, other].map(|id| stubborn.failed(id)), [1, 2]);
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
        let (stubborn, held) = (Stubborn::default(), Uuid::from_u128(0));
        for at in 1..=3 * EVENTS_MAX {
            stubborn.failed(Uuid::from_u128(at as u128));
            assert_eq!(stubborn.failed(held) as usize, at);
        }
        assert_eq!(stubborn.0.lock().unwrap().len(), EVENTS_MAX);
        assert_eq!(stubborn.failed(Uuid::from_u128(1)), 1);
    }
}
