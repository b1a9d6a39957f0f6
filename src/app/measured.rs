//! The instance's figures, gathered from the stations for [`crate::metrics`].

use smol_str::SmolStr;
use trapline_schemas::Timestamp;

use super::core::Core;
use super::process;
use crate::control::status::Status;
use crate::journal::{Cause, Fact, Told};
use crate::metrics::{self, Facts, OfSink};

impl Core {
    /// All figures in the text form of Prometheus: what `/metrics` and `trapline metrics` show.
    pub async fn metrics(&self) -> String {
        let status = self.status().await;
        metrics::render(&self.facts(status))
    }

    fn facts(&self, status: Status) -> Facts {
        let health = self.journal.health().borrow().clone();
        let (started, _) = self.started;
        Facts {
            at: Timestamp::now(),
            started_secs: started.micros() as f64 / 1e6,
            cpu_secs: process::cpu_time().as_secs_f64(),
            hits: self.recorder.counted(),
            sessions: self.attendance.now(),
            certificates: certificates(&status),
            journal: self.journal.figures(),
            held: (health.held, health.shed),
            gone: gone(&self.journal.told()),
            windows: self.board.sieved(),
            sinks: self.board.snapshot(status.journal.head, &self.journal.skipped()),
            measures: status
                .sinks
                .iter()
                .map(|sink| self.of_sink(&sink.name, &sink.kind))
                .collect(),
            status,
        }
    }

    fn of_sink(&self, sink: &str, kind: &str) -> OfSink {
        OfSink {
            sink: sink.to_owned(),
            kind: kind.to_owned(),
            measures: self.board.measures(sink),
        }
    }
}

/// The end of each decoy's certificate; several listeners of one have the same.
fn certificates(status: &Status) -> Vec<(SmolStr, i64)> {
    let mut ends: Vec<(SmolStr, i64)> = Vec::new();
    for listener in &status.listeners {
        let until = listener.certificate.as_ref().map(|certificate| &certificate.until);
        let until = until.and_then(|until| until.parse::<jiff::Timestamp>().ok());
        let is_new = ends.last().is_none_or(|(decoy, _)| *decoy != *listener.decoy);
        ends.extend(
            until
                .filter(|_| is_new)
                .map(|until| (SmolStr::new(&listener.decoy), until.as_second())),
        );
    }
    ends
}

/// What the journal told as gone since the start, by cause. What was shed is counted as it happens.
fn gone(told: &[Told]) -> Vec<(&'static str, u64)> {
    let mut causes = [
        ("trimmed", 0),
        ("gone", 0),
        ("unreadable", 0),
        ("disk_full", 0),
        ("outage", 0),
        ("damage", 0),
        ("cut_short", 0),
    ];
    for (cause, count) in told.iter().filter_map(|told| missed(&told.fact)) {
        let row = causes.iter_mut().find(|(name, _)| *name == cause);
        row.into_iter().for_each(|(_, sum)| *sum += count);
    }
    causes.to_vec()
}

fn missed(fact: &Fact) -> Option<(&'static str, u64)> {
    Some(match fact {
        Fact::Lost { count, cause, .. } => match cause {
            Cause::Trimmed => ("trimmed", *count),
            Cause::Gone => ("gone", *count),
            Cause::Unreadable => ("unreadable", *count),
        },
        Fact::Pruned { count, .. } => ("disk_full", *count),
        Fact::Unkept { count, .. } => ("outage", *count),
        Fact::Missing(missing) => ("damage", missing.count),
        Fact::CutShort(cut) => ("cut_short", cut.count()),
        Fact::Replaced { lost, .. } => ("cut_short", *lost),
        Fact::Shed { .. } | Fact::DeadLettersDropped { .. } | Fact::Salvaged(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_loss_that_the_journal_told_is_counted_under_its_cause() {
        let at = Timestamp::from_micros(0);
        let told = |fact| Told {
            fact,
            first: at,
            last: at,
        };
        let lost = |cause, count| Fact::Lost {
            consumer: "sink/siem".into(),
            first: 1,
            last: 9,
            count,
            cause,
        };
        let all = [
            told(lost(Cause::Trimmed, 3)),
            told(lost(Cause::Trimmed, 4)),
            told(lost(Cause::Unreadable, 1)),
            told(Fact::Replaced { lost: 2, rewritten: 5 }),
            told(Fact::DeadLettersDropped { count: 99 }),
        ];
        let counted: Vec<_> = gone(&all).into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [("trimmed", 7), ("unreadable", 1), ("cut_short", 2)]);
    }
}
