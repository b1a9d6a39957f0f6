//! What an operator sees of each sink.
//!
//! In: each worker's own account. Out: a copy for whoever asks ([`Board::snapshot`]). The board outlives a reload, so
//! totals go on counting.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::watch;
use trapline_schemas::Timestamp;
use trapline_sink::measure::{MEASURES_MAX, Measure};
use trapline_sink::{FaultKind, StreamSink};

use super::canary::Canaries;
use super::figures::{Figures, Sieve, Sieved, Sieves};
use crate::journal::{Offset, Skipped};

/// What a sink's worker is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SinkState {
    /// It has not answered yet.
    #[default]
    Starting,
    /// The last batch went through.
    Working,
    /// The last batch did not; the next try has its time.
    Retrying,
    /// As retrying, for so long or for such a cause that a person should look.
    Failing,
    /// The worker has ended.
    Stopped,
}

impl SinkState {
    /// Every one.
    pub const ALL: [Self; 5] = [
        Self::Starting,
        Self::Working,
        Self::Retrying,
        Self::Failing,
        Self::Stopped,
    ];

    /// The word in `status`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Working => "working",
            Self::Retrying => "retrying",
            Self::Failing => "failing",
            Self::Stopped => "stopped",
        }
    }
}

/// The last fault of a sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultSeen {
    /// Its kind; `None` if the sink gave none.
    pub kind: Option<FaultKind>,
    /// The sink's words.
    pub message: String,
    /// When the first of the tries failed.
    pub since: Timestamp,
    /// Tries that have failed in a row.
    pub attempts: u32,
    /// A try has gone through since.
    pub over: bool,
}

/// A sink that answers, and refuses much of what it gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusalsSeen {
    /// Events refused since it began.
    pub events: u64,
    /// Why the last of them was.
    pub reason: String,
    /// When it was noticed.
    pub since: Timestamp,
}

/// What a sink has done since trapline started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Events delivered.
    pub delivered: u64,
    /// Events that became dead letters.
    pub rejected: u64,
    /// Events sent again.
    pub retried: u64,
    /// Batches sent.
    pub batches: u64,
    /// Entries that retention or a damaged file took before the sink had them.
    pub missing: u64,
    /// Events that a transform let through and retention took before they were read.
    pub lost: u64,
    /// Entries that this version cannot read.
    pub unreadable: u64,
    /// Events delivered as far as the sink could tell, then owed on a lost connection, and given up.
    pub given_up: u64,
    /// How often its worker broke down and began anew.
    pub breakdowns: u64,
}

/// One sink, at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SinkStatus {
    /// Its name.
    pub name: String,
    /// What it is doing.
    pub state: SinkState,
    /// The lowest unfinished offset.
    pub cursor: Offset,
    /// Entries that wait: taken and not finished, or not read yet, whether they are for this sink or not.
    pub lag: u64,
    /// Entries taken and not finished.
    pub taken: u64,
    /// The next offset it reads.
    pub read_to: Offset,
    /// When the oldest event that it should have and has not was appended.
    pub oldest_unsent: Option<Timestamp>,
    /// The last fault; stays after a recovery.
    pub last_fault: Option<FaultSeen>,
    /// Set while many of its events become dead letters.
    pub refuses: Option<RefusalsSeen>,
    /// When the next try is due.
    pub retry_at: Option<Timestamp>,
    /// What it has done.
    pub totals: Totals,
    /// The same in more detail.
    pub figures: Figures,
    /// The destination answers nothing: what was delivered was sent.
    pub unconfirmed: bool,
    /// What the sink wants known, such as "tls is off".
    pub notes: Vec<String>,
}

/// The status of all sinks.
#[derive(Debug, Default)]
pub struct Board {
    sinks: Mutex<BTreeMap<String, watch::Sender<SinkStatus>>>,
    made: Mutex<Made>,
    sieves: Sieves,
    canaries: Canaries,
    calls: watch::Sender<()>,
}

/// The sinks that are at work, for what they know of themselves.
#[derive(Default)]
struct Made(BTreeMap<String, Weak<dyn StreamSink>>);

impl std::fmt::Debug for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Board {
    /// An empty board.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Calls every worker to look what was left for it to do in the journal's state.
    pub fn call(&self) {
        self.calls.send_replace(());
    }

    /// Changes with every call.
    pub(super) fn calls(&self) -> watch::Receiver<()> {
        self.calls.subscribe()
    }

    /// The sinks as they are now; `head` is the journal's and `skipped` what it never gave, for the lag.
    pub fn snapshot(&self, head: Offset, skipped: &Skipped) -> Vec<SinkStatus> {
        let sinks = self.lock();
        let copies = sinks.values().map(|sink| sink.borrow().clone());
        copies
            .map(|status| SinkStatus {
                lag: status.taken + skipped.count_given(status.read_to, head),
                ..status
            })
            .collect()
    }

    /// The figures that a sink has of itself, bounded; none while it is not at work.
    pub fn measures(&self, name: &str) -> Vec<Measure> {
        let made = self.made().0.get(name).and_then(Weak::upgrade);
        let Some(sink) = made else { return Vec::new() };
        // A sink that breaks down here must not take whoever asks with it.
        let mut measures = catch_unwind(AssertUnwindSafe(|| sink.measures())).unwrap_or_default();
        measures.truncate(MEASURES_MAX);
        measures
    }

    /// What the destination of a sink said last, in its own words; none while the sink is not at work.
    pub fn word(&self, name: &str) -> Option<String> {
        let sink = self.made().0.get(name).and_then(Weak::upgrade)?;
        catch_unwind(AssertUnwindSafe(|| sink.word())).ok().flatten()
    }

    /// The canaries under way.
    pub fn canaries(&self) -> &Canaries {
        &self.canaries
    }

    /// What windows let through and held back.
    pub fn sieved(&self) -> Vec<Sieved> {
        self.sieves.now()
    }

    /// The counts of a windowed node.
    pub(super) fn sieve(&self, node: &str) -> Arc<Sieve> {
        self.sieves.of(node)
    }

    /// A sink is at work.
    pub(super) fn at_work(&self, name: &str, sink: &Arc<dyn StreamSink>) {
        self.made().0.insert(name.to_owned(), Arc::downgrade(sink));
    }

    fn made(&self) -> MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows one sink.
    pub fn watch(&self, name: &str) -> Option<watch::Receiver<SinkStatus>> {
        self.lock().get(name).map(watch::Sender::subscribe)
    }

    /// The place where a worker gives its account; totals of an earlier worker of this name are kept.
    pub(super) fn enter(&self, name: &str) -> watch::Sender<SinkStatus> {
        let mut sinks = self.lock();
        let sender = sinks.entry(name.to_owned()).or_insert_with(|| {
            watch::Sender::new(SinkStatus {
                name: name.to_owned(),
                ..SinkStatus::default()
            })
        });
        sender.clone()
    }

    /// Says of every sink that nobody feeds it, and why, until a worker does.
    pub fn unfed(&self, why: &str, now: Timestamp) {
        for sink in self.lock().values() {
            sink.send_modify(|status| {
                status.state = SinkState::Failing;
                status.last_fault = Some(FaultSeen {
                    kind: Some(FaultKind::Local),
                    message: why.to_owned(),
                    since: now,
                    attempts: 1,
                    over: false,
                });
            });
        }
    }

    /// Forgets the sinks that are not among `names`, and the windowed nodes that are not among `nodes`.
    pub(super) fn retain(&self, names: &[&str], nodes: &[&str]) {
        self.lock().retain(|name, _| names.contains(&name.as_str()));
        self.made().0.retain(|name, _| names.contains(&name.as_str()));
        self.sieves.retain(nodes);
    }

    /// A panic while the lock is held would be a bug of this file; the map itself is then still whole.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, watch::Sender<SinkStatus>>> {
        self.sinks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sink_that_nobody_feeds_is_failing_since_then_with_the_reason() {
        let board = Board::new();
        drop(board.enter("siem"));
        board.unfed("the journal failed", Timestamp::from_micros(7));
        let seen = board.snapshot(1, &Skipped::default()).remove(0);
        assert_eq!(seen.state, SinkState::Failing);
        let fault = seen.last_fault.unwrap();
        assert_eq!(
            (fault.message.as_str(), fault.since.micros()),
            ("the journal failed", 7)
        );
    }
}
