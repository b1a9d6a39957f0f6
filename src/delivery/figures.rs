//! What delivery counts for `/metrics` beside the totals: times, tries that failed, what windows hold back.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use trapline_schemas::Timestamp;
use trapline_sink::{Delivery, FaultKind, Outcome};

use super::divide::Batch;
use super::health::kind_name;
use crate::metrics::histogram::{Histogram, OF_DELIVERY};

/// What is counted of one sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figures {
    /// Batches under way now.
    pub in_flight: u64,
    /// Tries that failed, by kind of fault.
    pub failed: BTreeMap<&'static str, u64>,
    /// How long the sink took to answer a batch.
    pub answers: Histogram,
    /// How long after a hit its event was delivered; not of what is sent again by a person's word.
    pub latency: Histogram,
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            in_flight: 0,
            failed: BTreeMap::new(),
            answers: Histogram::new(OF_DELIVERY),
            latency: Histogram::new(OF_DELIVERY),
        }
    }
}

impl Figures {
    /// A try failed.
    pub(super) fn failed(&mut self, kind: Option<FaultKind>) {
        *self.failed.entry(kind_name(kind)).or_default() += 1;
    }

    /// What of a batch is delivered at `now`: only of hits, for what windows make speaks of hours.
    pub(super) fn delivered(&mut self, batch: &Batch, delivery: &Delivery, now: Timestamp) {
        let outcomes = batch.iter().zip(&delivery.outcomes);
        let hits =
            outcomes.filter(|(parcel, outcome)| **outcome == Outcome::Delivered && parcel.event.action.is_touch());
        hits.for_each(|(parcel, _)| self.latency.add(now.since(parcel.event.at)));
    }

    /// The sink answered.
    pub(super) fn answered(&mut self, taken: Duration) {
        self.answers.add(taken);
    }
}

/// What a window let through and held back since the start.
#[derive(Debug, Default)]
pub(super) struct Sieve {
    passed: AtomicU64,
    held: AtomicU64,
}

impl Sieve {
    /// Counts a handful.
    pub(super) fn count(&self, passed: usize, held: usize) {
        self.passed.fetch_add(passed as u64, Ordering::Relaxed);
        self.held.fetch_add(held as u64, Ordering::Relaxed);
    }
}

/// A [`Sieve`] at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sieved {
    /// The transform, or the node before a sink that people read.
    pub node: String,
    /// Events let through.
    pub passed: u64,
    /// Events held back: for a digest, a sum, or for good.
    pub held: u64,
}

/// The sieves of all windows; bounded by the nodes of the graph.
#[derive(Debug, Default)]
pub(super) struct Sieves(Mutex<BTreeMap<String, Arc<Sieve>>>);

impl Sieves {
    /// The counts of a node; those of an earlier run of it go on.
    pub(super) fn of(&self, node: &str) -> Arc<Sieve> {
        Arc::clone(self.lock().entry(node.to_owned()).or_default())
    }

    /// Forgets nodes that are none of `nodes`.
    pub(super) fn retain(&self, nodes: &[&str]) {
        self.lock().retain(|node, _| nodes.contains(&node.as_str()));
    }

    pub(super) fn now(&self) -> Vec<Sieved> {
        let sieves = self.lock();
        let read = |(node, sieve): (&String, &Arc<Sieve>)| Sieved {
            node: node.clone(),
            passed: sieve.passed.load(Ordering::Relaxed),
            held: sieve.held.load(Ordering::Relaxed),
        };
        sieves.iter().map(read).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Sieve>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use trapline_schemas::{Action, Event};
    use trapline_sink::Parcel;

    use super::*;

    #[test]
    fn the_time_from_hit_to_delivery_is_that_of_hits_that_were_delivered() {
        let now = Timestamp::from_micros(10_000_000);
        let parcel = |action, at| {
            let event = Event::new(uuid::Uuid::nil(), Timestamp::from_micros(at), action);
            Arc::new(Parcel::new(1, Arc::new(event)))
        };
        let batch = vec![
            parcel(Action::Connect, 9_000_000),
            parcel(Action::Connect, 0),
            parcel(Action::Digest, 0),
        ];
        let delivery = Delivery {
            outcomes: vec![Outcome::Delivered, Outcome::Retry, Outcome::Delivered],
            ..Delivery::all(3)
        };
        let mut figures = Figures::default();
        figures.delivered(&batch, &delivery, now);
        assert_eq!(
            (figures.latency.count(), figures.latency.sum()),
            (1, Duration::from_secs(1))
        );
    }

    #[test]
    fn a_window_that_is_no_more_is_forgotten_and_one_that_stays_counts_on() {
        let sieves = Sieves::default();
        sieves.of("a").count(1, 2);
        sieves.of("b").count(3, 4);
        sieves.retain(&["a"]);
        sieves.of("a").count(1, 1);
        let a = Sieved {
            node: "a".into(),
            passed: 2,
            held: 3,
        };
        assert_eq!(sieves.now(), [a]);
    }
}
