//! How the instance stands, put together from what every station shows.

use std::path::Path;
use std::time::Duration;

use trapline_schemas::Timestamp;
use trapline_sink::FaultKind;

use crate::app::alarms::Alarm;
use crate::app::core::Core;
use crate::app::process;
use crate::config::Config;
use crate::control::status::{Fault, Health, JournalStatus, ListenerStatus, ProcessStatus, SinkStatus, Status};
use crate::decoy::bind::{self, BindError};
use crate::decoy::services::Transport;
use crate::delivery::{self, RefusalsSeen, SinkState};
use crate::journal::index::Trouble;
use crate::journal::{DeadLetterCount, Fact, HealthLevel, Told};
use crate::telemetry;

impl Core {
    /// How the instance stands.
    pub async fn status(&self) -> Status {
        let config = self.config();
        let mut faults = Vec::new();
        let journal = self.journal_status(&mut faults).await;
        let listeners = listeners(&config, &self.listeners.borrow(), &mut faults);
        let sinks = self.sink_statuses(&config, journal.head, &mut faults).await;
        faults.extend(self.index.trouble().map(index_fault));
        let process = self.process_status(&mut faults);
        faults.extend(self.alarms.news(Timestamp::now()).into_iter().map(alarm_fault));
        faults.sort_by_key(|fault| std::cmp::Reverse(fault.health));
        let (started, running) = self.started;
        Status {
            health: faults.first().map_or(Health::Ok, |worst| worst.health),
            faults,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started: time(started),
            uptime_secs: running.elapsed().as_secs(),
            config: self.source.path().map(|path| path.display().to_string()),
            state_dir: self.state_dir.display().to_string(),
            journal,
            listeners,
            sinks,
            process,
        }
    }

    async fn journal_status(&self, faults: &mut Vec<Fault>) -> JournalStatus {
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
                hint: format!("make room on, or mend, the disk of `{}`", self.journal_path.display()),
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

    async fn sink_statuses(&self, config: &Config, head: u64, faults: &mut Vec<Fault>) -> Vec<SinkStatus> {
        let mut sinks = Vec::new();
        let letters = self.journal.dead_letter_counts().await.unwrap_or_default();
        for seen in self.board.snapshot(head) {
            let kind = config
                .sinks
                .iter()
                .find(|sink| sink.name == seen.name)
                .map_or("", |sink| sink.kind.name);
            let letters = letters.iter().find(|letters| letters.sink == seen.name);
            let in_trouble = state_health(seen.state) != Health::Ok;
            let refusal = refusal_fault(&seen);
            let status = sink(seen, kind, letters);
            faults.extend(sink_fault(&status.0, status.1).filter(|_| in_trouble));
            faults.extend(refusal);
            sinks.push(status.0);
        }
        sinks
    }

    fn process_status(&self, faults: &mut Vec<Fault>) -> ProcessStatus {
        let usage = process::usage();
        let mut fault = |health, what: String, since: Option<Timestamp>, hint: &str| {
            faults.push(Fault {
                health,
                part: "process".into(),
                what,
                since: since.map(time),
                hint: hint.to_owned(),
            });
        };
        for ended in self.tasks.ended() {
            let what = format!("task {} ended before its time", ended.name);
            fault(Health::Failing, what, Some(ended.at), RESTART);
        }
        if usage.panics > 0 {
            let what = format!("{} panics, see the log", usage.panics);
            fault(Health::Failing, what, telemetry::last_panic(), RESTART);
        }
        if usage.descriptors.saturating_mul(10) > usage.descriptors_max.saturating_mul(9) {
            let what = format!(
                "{} of {} descriptors are in use",
                usage.descriptors, usage.descriptors_max
            );
            fault(Health::Degraded, what, None, DESCRIPTORS);
        }
        if let Some(short) = &self.shortage {
            fault(Health::Degraded, short.clone(), Some(self.started.0), DESCRIPTORS);
        }
        usage
    }
}

/// What the journal told of itself, as long as it is news.
fn told_fault(told: &Told, now: Timestamp) -> Option<Fault> {
    if now.since(told.last) > NEWS {
        return None;
    }
    let hint = match &told.fact {
        Fact::Lost { .. } => "raise `journal.retain_bytes`, or mend the sink that lags",
        Fact::Pruned { .. } | Fact::Shed { .. } => "make room on, or mend, the disk of the journal",
        Fact::DeadLettersDropped { .. } => "mend what the sink refuses; the log names it",
        Fact::Salvaged(_) => "check the disk; the damaged file is kept, and `trapline journal verify` names the breaks",
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

fn index_fault(trouble: Trouble) -> Fault {
    Fault {
        health: Health::Degraded,
        part: "index".into(),
        what: format!(
            "`index.db` cannot be used, `events` searches without it: {}",
            trouble.reason
        ),
        since: Some(time(trouble.since)),
        hint: "remove what stands in its place beside the journal; it is built anew by itself".into(),
    }
}

fn alarm_fault(alarm: Alarm) -> Fault {
    Fault {
        health: Health::Degraded,
        part: alarm.part.into(),
        what: alarm.what,
        since: Some(time(alarm.at)),
        hint: format!("{}; shown for a day, or until the next start", alarm.hint),
    }
}

/// How long what is over is still shown.
pub(super) const NEWS: Duration = Duration::from_secs(24 * 3600);

const RESTART: &str = "restart trapline, and report the log as a bug";
const DESCRIPTORS: &str = "raise LimitNOFILE= or ulimit -n, or lower `limits.sessions`";

fn time(at: Timestamp) -> String {
    let at = jiff::Timestamp::from_microsecond(at.micros()).unwrap_or_default();
    format!("{at:.3}")
}

/// The database with its write-ahead log.
fn file_bytes(path: &Path) -> u64 {
    let wal = format!("{}-wal", path.display());
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
    size(path) + size(Path::new(&wal))
}

fn listeners(config: &Config, seen: &[bind::ListenerStatus], faults: &mut Vec<Fault>) -> Vec<ListenerStatus> {
    let shown = seen.iter().map(|listener| {
        let decoy = config.decoys.iter().find(|decoy| decoy.name == listener.decoy);
        let status = ListenerStatus {
            decoy: listener.decoy.to_string(),
            service: decoy.map_or_else(String::new, |decoy| decoy.service.to_owned()),
            personality: decoy.map_or_else(String::new, |decoy| decoy.personality.clone()),
            transport: transport(listener.transport).to_owned(),
            address: listener.address.to_string(),
            bound: listener.degraded.is_none(),
            health: listener.degraded.as_deref().map_or(Health::Ok, bind_health),
            error: listener.degraded.as_ref().map(ToString::to_string),
            since: time(listener.since),
        };
        faults.extend(listener_fault(&status, listener.degraded.as_deref()));
        status
    });
    shown.collect()
}

const fn transport(transport: Transport) -> &'static str {
    match transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
    }
}

/// A host without IPv6 is no fault.
const fn bind_health(error: &BindError) -> Health {
    match error {
        BindError::NoFamily(_) => Health::Ok,
        _ => Health::Degraded,
    }
}

fn listener_fault(status: &ListenerStatus, error: Option<&BindError>) -> Option<Fault> {
    let hint = match error? {
        BindError::NoFamily(_) => return None,
        BindError::Taken(_) => {
            "stop the other program (`ss -lnp` names it) or give the decoy another port; tried again each 30 s"
        }
        BindError::Forbidden(_) => {
            "ports below 1024 need CAP_NET_BIND_SERVICE: run as a service, or take a higher port"
        }
        BindError::NotHere(_) => "give the decoy an address of this host, or 0.0.0.0; tried again each 30 s",
        BindError::Failed(..) => "tried again each 30 s",
    };
    Some(Fault {
        health: status.health,
        part: format!("decoy {}", status.decoy),
        what: status.error.clone().unwrap_or_default(),
        since: Some(status.since.clone()),
        hint: hint.to_owned(),
    })
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
        lost: seen.totals.missing + seen.totals.lost,
        oldest_unsent_secs: seen.oldest_unsent.map(|at| now.since(at).as_secs()),
        delivered: seen.totals.delivered,
        unconfirmed: seen.unconfirmed,
        dead_letters: letters.map_or(0, |letters| letters.count),
        oldest_dead_letter_secs: letters.map_or(0, |letters| now.since(letters.oldest_at).as_secs()),
        error: fault.as_ref().map(|fault| fault.message.clone()).or(refused),
        retry_in_secs: seen
            .retry_at
            .filter(|_| health != Health::Ok)
            .map(|at| at.since(now).as_secs()),
        notes: given_up(seen.totals.given_up).into_iter().chain(seen.notes).collect(),
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

fn given_up(count: u64) -> Option<String> {
    (count > 0).then(|| format!("{count} events sent, perhaps never read, and given up"))
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
    fn what_the_journal_told_is_a_fault_for_a_day() {
        let at = Timestamp::from_micros(1_000_000);
        let lost = Fact::Lost {
            consumer: "sink/siem".into(),
            first: 3,
            last: 9,
            count: 7,
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
