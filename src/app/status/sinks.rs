//! How the sinks stand, and what to do about those that do not deliver.

use trapline_schemas::Timestamp;
use trapline_sink::FaultKind;

use super::time;
use crate::app::core::Core;
use crate::config::Config;
use crate::control::protocol::ReplayState;
use crate::control::status::{Fault, Health, SinkStatus};
use crate::delivery::{self, RefusalsSeen, SinkState};
use crate::journal::DeadLetterCount;

impl Core {
    pub(super) async fn sink_statuses(&self, config: &Config, head: u64, faults: &mut Vec<Fault>) -> Vec<SinkStatus> {
        let mut sinks = Vec::new();
        let letters = self.journal.dead_letter_counts().await.unwrap_or_default();
        for seen in self.board.snapshot(head, &self.journal.skipped()) {
            let kind = config
                .sinks
                .iter()
                .find(|sink| sink.name == seen.name)
                .map_or("", |sink| sink.kind.name);
            let letters = letters.iter().find(|letters| letters.sink == seen.name);
            let in_trouble = state_health(seen.state) != Health::Ok;
            let refusal = refusal_fault(&seen);
            let mut status = sink(seen, kind, letters);
            let replay = self.replay_report(&status.0.name).await.ok();
            status.0.replay = replay.filter(|replay| replay.state == ReplayState::Running);
            faults.extend(sink_fault(&status.0, status.1).filter(|_| in_trouble));
            faults.extend(refusal);
            sinks.push(status.0);
        }
        sinks
    }
}

/// A sink's status, and the kind of its fault if it has one now.
fn sink(seen: delivery::SinkStatus, kind: &str, letters: Option<&DeadLetterCount>) -> (SinkStatus, Option<FaultKind>) {
    let health = state_health(seen.state);
    let fault = seen.last_fault.filter(|_| health != Health::Ok);
    // A sink in trouble tells that first; what it refuses has a line of its own.
    let refuses = seen.refuses.map(|refuses| (refuses.since, refused(&refuses)));
    let (refused_since, refused) = refuses.unzip();
    let now = Timestamp::now();
    let status = SinkStatus {
        name: seen.name,
        kind: kind.to_owned(),
        health: health.max(refused.as_ref().map_or(Health::Ok, |_| Health::Degraded)),
        since: fault.as_ref().map(|fault| fault.since).or(refused_since).map(time),
        cursor: seen.cursor,
        lag: seen.lag,
        lost: seen.totals.missing + seen.totals.lost + seen.totals.unreadable,
        oldest_unsent_secs: seen.oldest_unsent.map(|at| now.since(at).as_secs()),
        delivered: seen.totals.delivered,
        unconfirmed: seen.unconfirmed,
        dead_letters: letters.map_or(0, |letters| letters.count),
        oldest_dead_letter_secs: letters.map_or(0, |letters| now.since(letters.oldest_at).as_secs()),
        replay: None,
        error: fault.as_ref().map(|fault| fault.message.clone()).or(refused),
        retry_in_secs: seen
            .retry_at
            .filter(|_| health != Health::Ok)
            .map(|at| at.since(now).as_secs()),
        notes: remarks(&seen.totals).chain(seen.notes).collect(),
    };
    (status, fault.and_then(|fault| fault.kind))
}

const fn state_health(state: SinkState) -> Health {
    match state {
        SinkState::Starting | SinkState::Working | SinkState::Stopped => Health::Ok,
        SinkState::Retrying => Health::Degraded,
        SinkState::Failing => Health::Failing,
    }
}

fn refused(refuses: &RefusalsSeen) -> String {
    format!(
        "{} events refused, kept as dead letters: {}",
        refuses.events, refuses.reason
    )
}

/// What stays true after a recovery.
fn remarks(totals: &delivery::Totals) -> impl Iterator<Item = String> + use<> {
    let (given_up, breakdowns) = (totals.given_up, totals.breakdowns);
    let given_up = (given_up > 0).then(|| format!("{given_up} events sent, perhaps never read, and given up"));
    let broke = (breakdowns > 0).then(|| format!("its worker broke down {breakdowns} times, see the log"));
    given_up.into_iter().chain(broke)
}

fn sink_fault(status: &SinkStatus, kind: Option<FaultKind>) -> Option<Fault> {
    if status.health == Health::Ok {
        return None;
    }
    Some(Fault {
        health: status.health,
        part: format!("sink {}", status.name),
        what: format!(
            "{}; {} entries wait",
            status.error.as_deref().unwrap_or("not delivering"),
            status.lag
        ),
        since: status.since.clone(),
        hint: hint(kind).to_owned(),
    })
}

/// A sink that answers, and refuses.
fn refusal_fault(seen: &delivery::SinkStatus) -> Option<Fault> {
    let refuses = seen.refuses.as_ref()?;
    Some(Fault {
        health: Health::Degraded,
        part: format!("sink {}", seen.name),
        what: refused(refuses),
        since: Some(time(refuses.since)),
        hint: "the reason says what the destination cannot take: correct it there, or the sink's `format` and address"
            .to_owned(),
    })
}

const fn hint(kind: Option<FaultKind>) -> &'static str {
    match kind {
        Some(FaultKind::Unreachable) | None => {
            "is the destination up, and its address right? `trapline send-test` tries it at once"
        }
        Some(FaultKind::Busy) => "the destination has too much to do; nothing to do here unless it lasts",
        Some(FaultKind::Server) => "look into the destination's own log",
        Some(FaultKind::Tls) => "check its certificate, the `ca` of the sink's `tls` table, and both clocks",
        Some(FaultKind::Auth) => "renew the token or password, then `trapline reload`",
        Some(FaultKind::Config) => {
            "make what the configuration names at the destination, or correct it and `trapline reload`"
        }
        Some(FaultKind::Local) => "mend the disk, file mode or limit that the message names on this host",
        Some(FaultKind::Broken) => "it begins anew by itself; report the log as a bug",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sink_that_retries_is_degraded_and_its_fault_says_since_when_and_what_to_do() {
        let seen = delivery::SinkStatus {
            name: "siem".into(),
            state: SinkState::Retrying,
            lag: 7,
            last_fault: Some(delivery::FaultSeen {
                kind: Some(FaultKind::Auth),
                message: "token refused".into(),
                since: Timestamp::from_micros(0),
                attempts: 3,
                over: false,
            }),
            ..delivery::SinkStatus::default()
        };
        let letters = DeadLetterCount {
            sink: "siem".into(),
            count: 3,
            oldest: 5,
            oldest_at: Timestamp::from_micros(Timestamp::now().micros() - 7_200_500_000),
        };
        let (status, kind) = sink(seen, "splunk_hec", Some(&letters));
        assert_eq!((status.dead_letters, status.oldest_dead_letter_secs), (3, 7200));
        let fault = sink_fault(&status, kind).unwrap();
        assert_eq!(fault.health, Health::Degraded);
        assert_eq!(fault.part, "sink siem");
        assert!(
            fault.what.contains("token refused") && fault.what.contains('7'),
            "{}",
            fault.what
        );
        assert_eq!(fault.since.as_deref(), Some("1970-01-01T00:00:00.000Z"));
        assert!(fault.hint.contains("trapline reload"));
    }

    #[test]
    fn a_sink_that_refuses_is_degraded_with_its_reason_although_it_answers() {
        let seen = delivery::SinkStatus {
            name: "siem".into(),
            state: SinkState::Working,
            refuses: Some(RefusalsSeen {
                events: 113,
                reason: "http status 400".into(),
                since: Timestamp::from_micros(0),
            }),
            ..delivery::SinkStatus::default()
        };
        let fault = refusal_fault(&seen).unwrap();
        assert_eq!((fault.health, fault.part.as_str()), (Health::Degraded, "sink siem"));
        assert_eq!(fault.what, "113 events refused, kept as dead letters: http status 400");
        assert_eq!(fault.since.as_deref(), Some("1970-01-01T00:00:00.000Z"));
        let (status, _) = sink(seen, "splunk_hec", None);
        assert_eq!((status.health, status.error), (Health::Degraded, Some(fault.what)));
        assert_eq!(status.since, fault.since);
    }

    #[test]
    fn a_busy_destination_is_not_said_to_have_asked_for_a_pause() {
        assert!(!hint(Some(FaultKind::Busy)).contains("asked"));
    }

    #[test]
    fn what_a_sink_gave_up_stays_in_its_remarks() {
        let mut seen = delivery::SinkStatus::default();
        seen.totals.given_up = 6;
        let (status, _) = sink(seen, "syslog", None);
        assert_eq!(status.notes, ["6 events sent, perhaps never read, and given up"]);
    }

    #[test]
    fn a_worker_that_broke_down_is_a_fault_with_its_reason_and_stays_in_the_remarks() {
        let mut seen = delivery::SinkStatus {
            state: SinkState::Failing,
            last_fault: Some(delivery::FaultSeen {
                kind: Some(FaultKind::Broken),
                message: "its worker broke down".into(),
                since: Timestamp::from_micros(0),
                attempts: 2,
                over: false,
            }),
            notes: vec!["tls is off".into()],
            ..delivery::SinkStatus::default()
        };
        seen.totals.breakdowns = 2;
        let (status, kind) = sink(seen.clone(), "file", None);
        let fault = sink_fault(&status, kind).unwrap();
        assert!(fault.what.starts_with("its worker broke down"), "{}", fault.what);
        assert_eq!(fault.since.as_deref(), Some("1970-01-01T00:00:00.000Z"));
        assert!(fault.hint.contains("report the log"));
        seen.state = SinkState::Working;
        let (status, _) = sink(seen, "file", None);
        assert_eq!(status.health, Health::Ok);
        assert_eq!(
            status.notes,
            ["its worker broke down 2 times, see the log", "tls is off"]
        );
    }

    #[test]
    fn a_recovered_sink_shows_no_old_fault() {
        let seen = delivery::SinkStatus {
            state: SinkState::Working,
            last_fault: Some(delivery::FaultSeen {
                kind: None,
                message: "refused".into(),
                since: Timestamp::from_micros(0),
                attempts: 1,
                over: false,
            }),
            ..delivery::SinkStatus::default()
        };
        let (status, kind) = sink(seen, "file", None);
        assert_eq!((status.health, status.error.clone()), (Health::Ok, None));
        assert_eq!(sink_fault(&status, kind), None);
    }
}
