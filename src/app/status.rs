//! How the instance stands, put together from what every station shows: the process here, the others in their rooms.

mod acting;
mod journal;
mod listeners;
mod sinks;
mod web;

use std::time::Duration;

use trapline_schemas::Timestamp;

use crate::app::alarms::Alarm;
use crate::app::core::Core;
use crate::app::process;
use crate::control::status::{Fault, Health, ProcessStatus, Status};
use crate::journal::index::Trouble;
use crate::telemetry;

impl Core {
    /// How the instance stands.
    pub async fn status(&self) -> Status {
        let config = self.config();
        let mut faults = Vec::new();
        let journal = self.journal_status(&mut faults).await;
        let listeners = listeners::statuses(&config, &self.listeners.borrow(), &self.certificates, &mut faults);
        faults.extend(self.certificates.faults(Timestamp::now()));
        let sinks = self.sink_statuses(&config, journal.head, &mut faults).await;
        faults.extend(self.index.trouble().map(index_fault));
        let acting = self.acting_statuses(&mut faults);
        let web = self.web.as_ref().map(|web| web::status(web, &mut faults));
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
            response: self.response_status(),
            acting,
            web,
            process,
            canary: self.canary_status(),
        }
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
