//! How the journal stands, and what it told of itself.

use std::path::Path;

use trapline_schemas::Timestamp;

use super::{NEWS, time};
use crate::app::core::Core;
use crate::control::status::{Fault, Health, JournalStatus};
use crate::journal::{Cause, Fact, HealthLevel, Told};

impl Core {
    pub(super) async fn journal_status(&self, faults: &mut Vec<Fault>) -> JournalStatus {
        let head = *self.journal.head().borrow();
        let seen = self.journal.health().borrow().clone();
        let health = match seen.level {
            HealthLevel::Ok => Health::Ok,
            HealthLevel::Degraded => Health::Degraded,
            HealthLevel::Failing => Health::Failing,
        };
        if health != Health::Ok {
            faults.push(Fault {
                health,
                part: "journal".into(),
                what: format!(
                    "{}; {} events held in memory, {} dropped",
                    seen.reason, seen.held, seen.shed
                ),
                since: Some(time(seen.since)),
                hint: format!(
                    "make room on, or mend, the disk of `{}`; file and folder must be open to the user that trapline runs as",
                    self.journal_path.display()
                ),
            });
        }
        let alarms = self.journal.told();
        let now = Timestamp::now();
        let alarms: Vec<_> = alarms.iter().filter_map(|told| told_fault(told, now)).collect();
        let health = alarms.iter().map(|fault| fault.health).fold(health, Health::max);
        faults.extend(alarms);
        JournalStatus {
            path: self.journal_path.display().to_string(),
            health,
            head,
            oldest: self.journal.oldest().await.unwrap_or(head),
            entries: self.journal.count().await.unwrap_or(0),
            bytes: file_bytes(&self.journal_path),
            index_lag: head.saturating_sub(self.index.indexed_to().max(1)),
        }
    }
}

/// What the journal told of itself, as long as it is news.
fn told_fault(told: &Told, now: Timestamp) -> Option<Fault> {
    if now.since(told.last) > NEWS {
        return None;
    }
    let hint = match &told.fact {
        Fact::Lost {
            cause: Cause::Trimmed, ..
        } => "raise `journal.retain_bytes`, or mend the sink that lags",
        Fact::Lost { .. } => {
            "check the disk, and who writes to the file: `trapline journal verify` names the first fault"
        }
        Fact::Pruned { .. } | Fact::Shed { .. } | Fact::Unkept { .. } => {
            "make room on, or mend, the disk of the journal"
        }
        Fact::DeadLettersDropped { .. } => "mend what the sink refuses; the log names it",
        Fact::Salvaged(_) => "check the disk; the damaged file is kept, and `trapline journal verify` names the breaks",
        Fact::Missing(_) => "check the disk; what the damaged file still holds is kept beside the journal",
        Fact::CutShort(_) => "put the file back from a backup, or find out who took it, its log or its rows away",
        Fact::Replaced { .. } => "find out who removed the journal's file; nobody but trapline may touch it",
    };
    Some(Fault {
        health: Health::Degraded,
        part: "journal".into(),
        what: told.fact.to_string(),
        since: Some(time(told.first)),
        hint: format!("{hint}; shown for a day, or until the next start"),
    })
}

/// The database with its write-ahead log.
fn file_bytes(path: &Path) -> u64 {
    let wal = format!("{}-wal", path.display());
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
    size(path) + size(Path::new(&wal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_journal_told_is_a_fault_for_a_day() {
        let at = Timestamp::from_micros(1_000_000);
        let lost = Fact::Lost {
            consumer: "sink/siem".into(),
            first: 3,
            last: 9,
            count: 7,
            cause: Cause::Trimmed,
        };
        let told = Told {
            fact: lost,
            first: at,
            last: at,
        };
        let fault = told_fault(&told, Timestamp::from_micros(60_000_000)).unwrap();
        assert_eq!((fault.health, fault.part.as_str()), (Health::Degraded, "journal"));
        assert!(fault.what.starts_with("7 entries, offsets 3 to 9"), "{}", fault.what);
        assert_eq!(fault.since.as_deref(), Some("1970-01-01T00:00:01.000Z"));
        assert_eq!(told_fault(&told, Timestamp::from_micros(86_402_000_000)), None);
    }
}
