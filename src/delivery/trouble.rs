//! How long a sink has failed, and who is told of it when. Pure.

use std::time::Duration;

use tokio::time::Instant;
use trapline_sink::FaultKind;

/// A fault that mends itself within this time is nobody's business.
pub(crate) const TOLD_AFTER: Duration = Duration::from_secs(30);
/// After this a person should look.
pub(crate) const ALARM_AFTER: Duration = Duration::from_secs(300);

/// A row of tries that failed.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    now: Option<Row>,
}

#[derive(Debug)]
struct Row {
    since: Instant,
    attempts: u32,
    kind: Option<FaultKind>,
    told: bool,
    alarmed: bool,
}

/// Whom to tell now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tell {
    /// A `sink-failed` event is due.
    pub(crate) event: bool,
    /// The alarm in status and log is due.
    pub(crate) alarm: bool,
}

/// The row that has just ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Recovery {
    /// How long it lasted.
    pub(crate) lasted: Duration,
    /// Tries that failed.
    pub(crate) attempts: u32,
    /// Whether a `sink-failed` event told of it, so that a `sink-recovered` is due.
    pub(crate) told: bool,
}

impl Trouble {
    /// A try failed. `counts` is false where tries under way together failed together.
    pub(crate) fn failed(&mut self, kind: Option<FaultKind>, counts: bool, now: Instant) -> u32 {
        let row = self.now.get_or_insert(Row {
            since: now,
            attempts: 0,
            kind,
            told: false,
            alarmed: false,
        });
        row.kind = kind.or(row.kind);
        if counts || row.attempts == 0 {
            row.attempts = row.attempts.saturating_add(1);
        }
        row.attempts
    }

    /// Whom to tell at this moment; each only once a row.
    pub(crate) fn tell(&mut self, now: Instant) -> Tell {
        let Some(row) = &mut self.now else {
            return Tell::default();
        };
        let tell = Tell {
            event: !row.told && now >= row.since + told_after(row.kind),
            alarm: !row.alarmed && now >= row.since + alarm_after(row.kind),
        };
        row.told |= tell.event;
        row.alarmed |= tell.alarm;
        tell
    }

    /// When somebody must be told next, if the trouble lasts.
    pub(crate) fn due(&self) -> Option<Instant> {
        let row = self.now.as_ref()?;
        let told = (!row.told).then(|| row.since + told_after(row.kind));
        let alarm = (!row.alarmed).then(|| row.since + alarm_after(row.kind));
        told.into_iter().chain(alarm).min()
    }

    /// A try went through.
    pub(crate) fn worked(&mut self, now: Instant) -> Option<Recovery> {
        let row = self.now.take()?;
        Some(Recovery {
            lasted: now.saturating_duration_since(row.since),
            attempts: row.attempts,
            told: row.told,
        })
    }

    /// Whether the last try failed.
    pub(crate) fn is_on(&self) -> bool {
        self.now.is_some()
    }

    /// Whether a person should look.
    pub(crate) fn is_alarmed(&self) -> bool {
        self.now.as_ref().is_some_and(|row| row.alarmed)
    }
}

/// What time does not mend: a person must act.
const fn needs_a_person(kind: Option<FaultKind>) -> bool {
    use FaultKind::{Auth, Broken, Config, Tls};
    matches!(kind, Some(Auth | Config | Tls | Broken))
}

const fn told_after(kind: Option<FaultKind>) -> Duration {
    if needs_a_person(kind) {
        Duration::ZERO
    } else {
        TOLD_AFTER
    }
}

const fn alarm_after(kind: Option<FaultKind>) -> Duration {
    if needs_a_person(kind) {
        Duration::ZERO
    } else {
        ALARM_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: Tell = Tell {
        event: true,
        alarm: false,
    };
    const ALARM: Tell = Tell {
        event: false,
        alarm: true,
    };
    const BOTH: Tell = Tell {
        event: true,
        alarm: true,
    };

    #[test]
    fn a_fault_is_told_once_after_its_threshold_and_alarms_after_five_minutes() {
        let start = Instant::now();
        let mut trouble = Trouble::default();
        trouble.failed(Some(FaultKind::Unreachable), true, start);
        assert_eq!(trouble.tell(start), Tell::default());
        assert_eq!(trouble.due(), Some(start + TOLD_AFTER));
        assert_eq!(trouble.tell(start + TOLD_AFTER), EVENT);
        assert_eq!(trouble.due(), Some(start + ALARM_AFTER));
        assert_eq!(trouble.tell(start + ALARM_AFTER), ALARM);
        assert_eq!(trouble.tell(start + 2 * ALARM_AFTER), Tell::default());
        assert!(trouble.is_alarmed() && trouble.due().is_none());
    }

    #[test]
    fn what_only_a_person_can_mend_alarms_at_once_and_nothing_else_does() {
        use FaultKind::{Auth, Broken, Busy, Config, Local, Server, Tls, Unreachable};
        let start = Instant::now();
        let told_at_once = |kind| {
            let mut trouble = Trouble::default();
            trouble.failed(kind, true, start);
            trouble.tell(start)
        };
        for kind in [Auth, Config, Tls, Broken] {
            assert_eq!(told_at_once(Some(kind)), BOTH, "{kind:?}");
        }
        for kind in [Unreachable, Busy, Server, Local] {
            assert_eq!(told_at_once(Some(kind)), Tell::default(), "{kind:?}");
        }
        assert_eq!(told_at_once(None), Tell::default());
    }

    #[test]
    fn the_last_kind_that_was_named_says_when_to_tell() {
        let start = Instant::now();
        let mut trouble = Trouble::default();
        trouble.failed(Some(FaultKind::Unreachable), true, start);
        assert_eq!(trouble.tell(start), Tell::default());
        trouble.failed(Some(FaultKind::Auth), true, start);
        trouble.failed(None, true, start);
        assert_eq!(trouble.tell(start), BOTH, "a try without a kind changes nothing");
    }

    #[test]
    fn after_a_recovery_a_new_row_is_told_and_alarms_anew() {
        let start = Instant::now();
        let mut trouble = Trouble::default();
        trouble.failed(Some(FaultKind::Auth), true, start);
        trouble.tell(start);
        trouble.worked(start);
        assert!(!trouble.is_alarmed() && trouble.due().is_none());
        let attempts = trouble.failed(Some(FaultKind::Auth), false, start);
        assert_eq!(attempts, 1, "the first of a row always counts");
        assert_eq!(trouble.tell(start), BOTH);
    }

    #[test]
    fn a_recovery_says_how_long_it_took_and_whether_anybody_knew() {
        let start = Instant::now();
        let mut trouble = Trouble::default();
        assert_eq!(trouble.worked(start), None);
        trouble.failed(None, true, start);
        trouble.failed(None, false, start);
        trouble.failed(None, true, start);
        let recovery = trouble.worked(start + Duration::from_secs(9)).expect("a row");
        assert_eq!(recovery.lasted, Duration::from_secs(9));
        assert_eq!((recovery.attempts, recovery.told), (2, false));
        assert!(!trouble.is_on());
    }
}
