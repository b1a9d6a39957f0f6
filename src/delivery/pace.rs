//! When a sink that did not take a batch is tried again. Pure.

use std::time::Duration;

use trapline_sink::FaultKind;

/// Where a person must act first, each try costs somebody else's log: one a minute.
const PERSON: Duration = Duration::from_secs(60);
/// The longest that a destination can make us wait with its own word.
const ASKED_MAX: Duration = Duration::from_secs(3600);
/// Jitter adds up to this share of a delay, so that many sensors do not come back together.
const JITTER: f64 = 0.25;

/// How the waits between tries grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The first wait; 1 s.
    pub first: Duration,
    /// The longest wait, before jitter; 60 s.
    pub max: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            max: Duration::from_secs(60),
        }
    }
}

impl Pace {
    /// The wait before the next try.
    ///
    /// In: `attempt`, the number of tries that failed in a row, 1 or more; `asked`, the destination's own word, which
    /// is obeyed exactly up to 1 h, unless it is no time at all; `jitter`, 0.0..1.0, by chance.
    pub(crate) fn wait(self, kind: Option<FaultKind>, attempt: u32, asked: Option<Duration>, jitter: f64) -> Duration {
        if let Some(asked) = asked.filter(|asked| !asked.is_zero()) {
            return asked.min(ASKED_MAX);
        }
        if matches!(kind, Some(FaultKind::Auth | FaultKind::Config)) {
            return PERSON;
        }
        let doublings = attempt.saturating_sub(1).min(31);
        let grown = self.first.saturating_mul(1 << doublings).min(self.max);
        grown.mul_f64(1.0 + JITTER * jitter.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(kind: FaultKind, attempt: u32, asked: Option<u64>) -> u64 {
        let asked = asked.map(Duration::from_secs);
        let wait = Pace::default().wait(Some(kind), attempt, asked, 0.0);
        wait.as_secs()
    }

    #[test]
    fn waits_double_from_one_second_to_sixty_and_never_end() {
        let waits: Vec<_> = (1..=9).map(|n| wait(FaultKind::Unreachable, n, None)).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(wait(FaultKind::Unreachable, u32::MAX, None), 60);
    }

    #[test]
    fn the_destinations_own_word_is_obeyed_exactly_up_to_an_hour() {
        assert_eq!(wait(FaultKind::Busy, 9, Some(7)), 7);
        assert_eq!(wait(FaultKind::Auth, 1, Some(7)), 7);
        assert_eq!(wait(FaultKind::Busy, 1, Some(86_400)), 3600);
        assert_eq!(
            wait(FaultKind::Busy, 3, Some(0)),
            4,
            "at once is never the word of who does not take it"
        );
    }

    #[test]
    fn refused_credentials_are_tried_each_minute_from_the_start() {
        assert_eq!(wait(FaultKind::Auth, 1, None), 60);
        assert_eq!(wait(FaultKind::Config, 5, None), 60);
    }

    #[test]
    fn jitter_only_adds_and_at_most_a_quarter() {
        let pace = Pace::default();
        let most = pace.wait(None, 3, None, 1.0);
        assert_eq!(most, Duration::from_secs(5));
        assert_eq!(pace.wait(None, 3, None, 9.0), most);
        assert_eq!(pace.wait(None, 3, None, -9.0), Duration::from_secs(4));
        assert!(pace.wait(None, 3, None, 0.5) > Duration::from_secs(4));
    }
}
