//! How the sink stands, for those who must know: the status board, the log, health events. Each is told once.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{error, info, warn};
use trapline_schemas::Timestamp;
use trapline_sink::{Fault, FaultKind, Parcel, StreamSink};

use super::Worker;
use crate::delivery::clock;
use crate::delivery::health::{kind_name, sink_failed, sink_recovered, sink_refuses, sink_takes_again};
use crate::delivery::refusals::{Change, Refusals};
use crate::delivery::status::{FaultSeen, RefusalsSeen, SinkState, SinkStatus};

/// How often a sink at work is asked what is to be noted of it.
const NOTED_EVERY: Duration = Duration::from_secs(60);

impl Worker {
    /// A try failed: shown, paced, and told to those who must know by now.
    pub(super) async fn failed(&mut self, fault: Option<Fault>, asked: Option<Duration>, round: u32) {
        self.note_failure(fault, asked, round);
        self.tell().await;
    }

    pub(super) fn note_failure(&mut self, fault: Option<Fault>, asked: Option<Duration>, round: u32) {
        let now = Instant::now();
        let kind = fault.as_ref().map(|fault| fault.kind);
        // Batches that were under way together fail together: that is one try.
        let counts = round == self.round;
        let attempts = self.trouble.failed(kind, counts, now);
        self.round = self.round.wrapping_add(u32::from(counts));
        let wait = self.plan.pace.wait(kind, attempts, asked, rand::random());
        self.not_before = self.not_before.max(Some(now + wait));
        self.asked_until = self.asked_until.max(asked.map(|_| now + wait));
        let fault = fault.unwrap_or_else(|| nameless(asked));
        if attempts == 1 && counts {
            warn!(
                sink.name = %self.name(), error.type = kind_name(kind), error.message = %fault.message,
                retry.delay_ms = wait.as_millis() as u64, "sink {} did not take a batch, retrying", self.name(),
            );
        }
        let message = fault.message.clone();
        self.last_fault = Some(fault);
        let since = *self.failing_since.get_or_insert_with(|| self.parts.clock.now());
        self.tell_status(|status, _| {
            status.figures.failed(kind);
            status.last_fault = Some(FaultSeen {
                kind,
                message,
                since,
                attempts,
                over: false,
            });
        });
    }

    /// A try went through. One that was under way when another failed ends the trouble, not the wait: the destination
    /// may have asked for it.
    pub(super) async fn worked(&mut self) {
        if self.failing_since.take().is_some() {
            self.tell_status(|status, _| status.last_fault.iter_mut().for_each(|fault| fault.over = true));
        }
        let Some(recovery) = self.trouble.worked(Instant::now()) else {
            return;
        };
        self.round = self.round.wrapping_add(1);
        info!(
            sink.name = %self.name(), attempts = recovery.attempts, lasted_secs = recovery.lasted.as_secs(),
            "sink {} works again", self.name(),
        );
        if recovery.told {
            let at = self.parts.clock.now();
            let event = sink_recovered(self.name(), recovery.lasted, recovery.attempts, at);
            self.parts.recorder.record(event).await;
        }
    }

    /// Tells those who must know by now, each once.
    pub(super) async fn tell(&mut self) {
        let tell = self.trouble.tell(Instant::now());
        let Some(fault) = self.last_fault.as_ref().filter(|_| tell.event || tell.alarm) else {
            return;
        };
        if tell.alarm {
            error!(
                sink.name = %self.name(), error.type = kind_name(Some(fault.kind)), error.message = %fault.message,
                "sink {} does not take events, somebody should look", self.name(),
            );
        }
        if tell.event {
            let at = self.parts.clock.now();
            let event = sink_failed(self.name(), Some(fault.kind), &fault.message, at);
            self.parts.recorder.record(event).await;
        }
    }

    /// Looks whether the sink refuses much of what it gets.
    pub(super) async fn weigh(&mut self, delivered: usize, dead: &[(Arc<Parcel>, String)]) {
        let change = self.refusals.count(delivered as u64, dead.len() as u64, Instant::now());
        let reason = dead.last().map_or("", |(_, reason)| reason.as_str());
        self.tell_refusals(change, reason).await;
        let Some(refused) = self.refusals.refused() else { return };
        self.tell_status(|status, now| {
            let since = status.refuses.as_ref().map_or(now, |seen| seen.since);
            let last = status.refuses.take().map(|seen| seen.reason);
            status.refuses = Some(RefusalsSeen {
                events: refused,
                reason: last.filter(|_| dead.is_empty()).unwrap_or_else(|| reason.to_owned()),
                since,
            });
        });
    }

    /// Tells once that it refuses, and once that it is over.
    pub(super) async fn tell_refusals(&mut self, change: Option<Change>, reason: &str) {
        let (name, at) = (self.name().to_owned(), self.parts.clock.now());
        let event = match change {
            None => return,
            Some(Change::Refuses) => {
                error!(sink.name = %name, %reason, "sink {name} refuses events, somebody should look");
                sink_refuses(&name, reason, at)
            }
            Some(Change::Over { dead }) => {
                let begun = self.status.borrow().refuses.as_ref().map_or(at, |seen| seen.since);
                let lasted = at.since(begun);
                info!(sink.name = %name, events = dead, lasted_secs = lasted.as_secs(), "sink {name} takes events again");
                self.tell_status(|status, _| status.refuses = None);
                sink_takes_again(&name, lasted, dead, at)
            }
        };
        self.parts.recorder.record(event).await;
    }

    /// Shows what is to be noted of the sink: days run, and a destination may turn out to promise less.
    pub(super) fn note(&mut self, sink: &dyn StreamSink) {
        let now = Instant::now();
        if self.noted.is_some_and(|noted| now < noted + NOTED_EVERY) {
            return;
        }
        self.noted = Some(now);
        let notes = sink.notes();
        self.tell_status(|status, _| status.notes = notes);
    }

    pub(super) fn count(&self, delivered: usize, rejected: usize, again: usize) {
        self.tell_status(|status, _| {
            status.totals.delivered += delivered as u64;
            status.totals.rejected += rejected as u64;
            status.totals.retried += again as u64;
        });
    }

    /// Puts the present state on the board.
    pub(super) fn show(&self) {
        let state = match (self.trouble.is_on(), self.trouble.is_alarmed()) {
            (false, _) if self.status.borrow().totals.delivered == 0 => SinkState::Starting,
            (false, _) => SinkState::Working,
            (true, false) => SinkState::Retrying,
            (true, true) => SinkState::Failing,
        };
        let (cursor, oldest) = (self.ledger.cursor(), self.ledger.oldest());
        let (taken, read_to) = (self.ledger.unfinished(), self.reader.next_offset());
        let wait = self
            .not_before
            .map(|until| until.saturating_duration_since(Instant::now()));
        let in_flight = self.under_way.len() as u64;
        self.tell_status(|status, now| {
            status.state = state;
            status.figures.in_flight = in_flight;
            status.cursor = cursor;
            (status.taken, status.read_to) = (taken, read_to);
            status.oldest_unsent = oldest;
            status.retry_at = wait.map(|wait| clock::after(now, wait));
        });
    }

    pub(super) fn tell_status(&self, change: impl FnOnce(&mut SinkStatus, Timestamp)) {
        let now = self.parts.clock.now();
        self.status.send_modify(|status| change(status, now));
    }
}

/// What an earlier worker of this sink has left: since when it fails, and that it refuses.
pub(super) fn unfinished(status: &SinkStatus) -> (Option<Timestamp>, Refusals) {
    let fault = status.last_fault.as_ref().filter(|fault| !fault.over);
    let refused = status.refuses.as_ref().map(|seen| seen.events);
    (
        fault.map(|fault| fault.since),
        Refusals::resumed(refused, Instant::now()),
    )
}

/// A sink that gives no reason.
fn nameless(asked: Option<Duration>) -> Fault {
    match asked {
        Some(asked) => Fault {
            kind: FaultKind::Busy,
            message: format!("asked for a pause of {} s", asked.as_secs()),
        },
        None => Fault {
            kind: FaultKind::Server,
            message: "took nothing and gave no reason".to_owned(),
        },
    }
}
