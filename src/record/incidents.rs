//! Which incident a source's hit belongs to, and which one that goes on from.
//!
//! The id itself is a function of key, source and UTC day. What is remembered is only who was here yesterday, so that
//! the first hit after midnight can name the incident before.

use std::collections::HashSet;
use std::net::IpAddr;

use trapline_schemas::Timestamp;
use trapline_schemas::ids::{self, SiteKey};
use uuid::Uuid;

/// Sources remembered per day; beyond it a source's next incident names none before it.
const SOURCES_MAX: usize = 65_536;

const DAY_MICROS: i64 = 86_400_000_000;

/// A source's incident of one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Incident {
    pub(super) day: i64,
    pub(super) id: Uuid,
    pub(super) previous: Option<Uuid>,
}

/// Who was here today and yesterday.
#[derive(Debug, Default)]
pub(super) struct Incidents {
    day: i64,
    today: HashSet<IpAddr>,
    yesterday: HashSet<IpAddr>,
}

/// The UTC day of an instant, counted from 1970-01-01.
pub(super) fn day(at: Timestamp) -> i64 {
    at.micros().div_euclid(DAY_MICROS)
}

impl Incidents {
    /// The incident of `source` on the day of `at`.
    pub(super) fn of(&mut self, key: &SiteKey, source: IpAddr, at: Timestamp) -> Incident {
        let day = day(at);
        self.turn_to(day);
        // Over midnight hits come out of order, and a fold is told after it: a late one turns nothing back.
        let is_late = day < self.day;
        if !is_late && self.today.len() < SOURCES_MAX {
            self.today.insert(source);
        }
        let before = Timestamp::from_micros(at.micros() - DAY_MICROS);
        let goes_on = !is_late && self.yesterday.contains(&source);
        Incident {
            day,
            id: ids::incident(key, source, at),
            previous: goes_on.then(|| ids::incident(key, source, before)),
        }
    }

    fn turn_to(&mut self, day: i64) {
        // A clock that steps back further than a day begins anew.
        if day == self.day || day == self.day - 1 {
            return;
        }
        let today = std::mem::take(&mut self.today);
        self.yesterday = if day == self.day + 1 { today } else { HashSet::new() };
        self.day = day;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_midnight_the_new_incident_names_the_old_one_and_only_then() {
        let key = SiteKey::new([7; 32]);
        let (source, other) = ("203.0.113.7".parse().unwrap(), "203.0.113.8".parse().unwrap());
        let at = |day: i64| Timestamp::from_micros(day * DAY_MICROS + 5);
        let mut incidents = Incidents::default();
        let first = incidents.of(&key, source, at(20_000));
        assert_eq!(first.previous, None);
        assert_eq!(incidents.of(&key, source, at(20_000)), first);
        let second = incidents.of(&key, source, at(20_001));
        assert_eq!(second.previous, Some(first.id));
        assert_eq!(incidents.of(&key, other, at(20_001)).previous, None);
        assert_eq!(incidents.of(&key, source, at(20_003)).previous, None);
    }

    #[test]
    fn a_hit_that_comes_late_over_midnight_makes_nobody_forgotten() {
        let key = SiteKey::new([7; 32]);
        let (source, other) = ("203.0.113.7".parse().unwrap(), "203.0.113.8".parse().unwrap());
        let at = |day: i64| Timestamp::from_micros(day * DAY_MICROS + 5);
        let mut incidents = Incidents::default();
        let first = incidents.of(&key, source, at(20_000));
        incidents.of(&key, other, at(20_001));
        assert_eq!(incidents.of(&key, other, at(20_000)).day, 20_000, "told late");
        assert_eq!(incidents.of(&key, source, at(20_001)).previous, Some(first.id));
    }
}
