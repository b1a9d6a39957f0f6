//! Stream sinks: every event at least once.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::measure::Measure;
use crate::memory::Memo;
use crate::parcel::Parcel;

/// How much a sink takes at a time.
#[derive(Debug, Clone, Copy)]
pub struct BatchLimits {
    /// Events in a batch, 1 or more.
    pub events: usize,
    /// Rendered bytes in a batch; a single larger event still goes, alone.
    pub bytes: usize,
    /// How long a batch that is not full waits for more, while earlier ones are in flight. A lone event on an idle
    /// sink goes at once.
    pub linger: Duration,
    /// Batches under way at once; 1 keeps the order.
    pub in_flight: usize,
}

/// What became of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The destination has it, as far as its protocol can say.
    Delivered,
    /// Not delivered; send the same bytes again later.
    Retry,
    /// The destination refuses this very event for good: a dead letter, with the reason.
    Rejected(String),
    /// The destination refused the whole batch without saying which event is at fault: split it and try the parts;
    /// alone it is a dead letter.
    Suspect(String),
}

/// Why a delivery did not go through, for status, log and health events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Kind of fault; decides the pace of retries.
    pub kind: FaultKind,
    /// What failed, in house style, without secrets and bounded.
    pub message: String,
}

/// Kinds of fault an operator treats differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// Refused, reset, unresolved, no answer in time.
    Unreachable,
    /// The destination asked for a pause (429, 503 with Retry-After).
    Busy,
    /// 5xx or an answer that means nothing.
    Server,
    /// The certificate, its name or the handshake.
    Tls,
    /// Credentials refused: alarm at once, retry each 60 s.
    Auth,
    /// The destination lacks what the configuration names (index, topic, channel): alarm, retry each 60 s.
    Config,
    /// This host: disk, file mode, descriptor.
    Local,
    /// The sink's own code broke down, which is a bug: alarm at once.
    Broken,
}

/// The answer to one batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// One outcome per event, in the batch's order.
    pub outcomes: Vec<Outcome>,
    /// The destination's own word on when to try again, capped at 1 h.
    pub retry_after: Option<Duration>,
    /// Why anything was not delivered.
    pub fault: Option<Fault>,
}

impl Delivery {
    /// All delivered.
    pub fn all(count: usize) -> Self {
        Self {
            outcomes: vec![Outcome::Delivered; count],
            retry_after: None,
            fault: None,
        }
    }

    /// None delivered, all to be sent again.
    pub fn retry(count: usize, fault: Fault) -> Self {
        Self {
            outcomes: vec![Outcome::Retry; count],
            retry_after: None,
            fault: Some(fault),
        }
    }

    /// The batch was refused as a whole.
    pub fn suspect(count: usize, reason: &str) -> Self {
        Self {
            outcomes: vec![Outcome::Suspect(reason.to_owned()); count],
            retry_after: None,
            fault: None,
        }
    }
}

/// What a sink without acknowledgements knows of events that it has called delivered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Arrears {
    /// Why the destination does not take them back; `None`: they are taken, or were not yet tried.
    pub fault: Option<Fault>,
    /// Events that were sent on a connection which then was lost, and are to be sent again; at most 10,000.
    pub owed: u64,
    /// Events that were sent again and again and perhaps never read, and are sent no more; counts up.
    pub given_up: u64,
}

/// A destination for events. Made by its crate's `Factory` (see [`crate::config`]).
#[async_trait]
pub trait StreamSink: Send + Sync + 'static {
    /// How much it takes at a time. Asked when it is made and after each answer, which may have taught it better.
    fn limits(&self) -> BatchLimits;

    /// Sends a batch and says what became of each event.
    ///
    /// In: 1..=`limits().events` parcels. Time: bounded by the sink's own deadlines, also when the peer is silent.
    /// Cancel: safe; what was in flight counts as not delivered.
    async fn deliver(&self, batch: &[Arc<Parcel>]) -> Delivery;

    /// Reaches the destination without sending an event; says in a few words what answered (`check --connect`).
    async fn check(&self) -> Result<String, Fault>;

    /// What an operator should know in `status`, such as "tls is off" or "udp: sent, never confirmed".
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// Figures of its own for `/metrics`, as they are now; at most [`crate::measure::MEASURES_MAX`] are shown. Asked from
    /// any task, at each scrape: it waits for nothing.
    fn measures(&self) -> Vec<Measure> {
        Vec::new()
    }

    /// Where it sends, as an operator knows the place: an address, a topic, a path. Without secrets.
    fn destination(&self) -> Option<String> {
        None
    }

    /// What the destination said to the last batch, in its own words, clean, bounded and without secrets; `None` if it
    /// says nothing, or has not yet.
    fn word(&self) -> Option<String> {
        None
    }

    /// Whether [`Outcome::Delivered`] is the destination's own word; else it means "sent".
    fn confirms(&self) -> bool {
        true
    }

    /// Faults met while no batch is under way; `None` if what was delivered needs no second look. What is owed are the
    /// last events that were called delivered; what still is after [`close`](Self::close) comes again with the next
    /// start.
    fn arrears(&self) -> Option<watch::Receiver<Arrears>> {
        None
    }

    /// Takes what was kept for it, in no order; called once, before the first batch. Nothing is kept where there is no
    /// journal, as for `send-test` on a host that does not run.
    fn recall(&self, _rows: Vec<Memo>) {}

    /// What is to be kept that was not told before, newest last. Asked after each answer and at the end, also when a
    /// batch was broken off: what its beginning did is known.
    fn memos(&self) -> Vec<Memo> {
        Vec::new()
    }

    /// Finishes and closes; called once, at the end, within the shutdown grace.
    async fn close(&self) {}
}
