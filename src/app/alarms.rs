//! What a person must hear of though it is over: log line, event and a line in status, for a day or until the next start.

use std::sync::{Mutex, PoisonError};

use trapline_schemas::{Action, Field, Timestamp, text};

use crate::record::{HostEvent, Recorder};

/// Alarms kept; beyond, the log and the journal have them.
const ALARMS_MAX: usize = 32;

/// One alarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Alarm {
    /// What it is about: one word.
    pub(super) part: &'static str,
    /// What happened.
    pub(super) what: String,
    /// When.
    pub(super) at: Timestamp,
    /// What to do.
    pub(super) hint: &'static str,
}

/// The alarms of this run.
#[derive(Debug, Default)]
pub(super) struct Alarms(Mutex<Vec<Alarm>>);

impl Alarms {
    /// Says it everywhere. Cancel: the event may be missing, the rest is there.
    pub(super) async fn raise(&self, recorder: &Recorder, part: &'static str, what: String, hint: &'static str) {
        tracing::warn!("{part}: {what}; {hint}");
        let reason = text::clean(what.as_bytes());
        self.keep(Alarm {
            part,
            what,
            at: Timestamp::now(),
            hint,
        });
        let facts = vec![(Field::ErrorType, part.into()), (Field::EventReason, reason.into())];
        recorder.host(HostEvent::new(Action::HostAlarm, facts)).await;
    }

    /// What is news at `now`, the newest last.
    pub(super) fn news(&self, now: Timestamp) -> Vec<Alarm> {
        let alarms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let news = alarms.iter().filter(|alarm| now.since(alarm.at) <= super::status::NEWS);
        news.cloned().collect()
    }

    fn keep(&self, alarm: Alarm) {
        let mut alarms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if alarms.len() >= ALARMS_MAX {
            alarms.remove(0);
        }
        alarms.push(alarm);
    }
}
