//! What became of each event of a batch.

use trapline_sink::stream::{Delivery, Fault, Outcome};

use crate::fault::Verdict;

/// The verdicts of one batch, by place.
#[derive(Debug)]
pub(crate) struct Ledger {
    outcomes: Vec<Outcome>,
    /// The first that was met.
    pub(crate) fault: Option<Fault>,
    /// Whether the next delivery needs another producer although nothing is wrong.
    pub(crate) renew: bool,
}

impl Ledger {
    /// Nothing is delivered until it is marked so.
    pub(crate) fn new(count: usize) -> Self {
        Self {
            outcomes: vec![Outcome::Retry; count],
            fault: None,
            renew: false,
        }
    }

    /// Marks what became of one event.
    pub(crate) fn mark(&mut self, at: usize, verdict: Verdict) {
        let outcome = match verdict {
            Verdict::Delivered => Outcome::Delivered,
            Verdict::Suspect(reason) => Outcome::Suspect(reason),
            Verdict::Unfit(reason) => Outcome::Rejected(reason),
            Verdict::TooLarge => Outcome::Retry,
            Verdict::Fault(fault) => {
                self.fault.get_or_insert(fault);
                Outcome::Retry
            }
        };
        if let Some(slot) = self.outcomes.get_mut(at) {
            *slot = outcome;
        }
    }

    /// Whether one event is delivered.
    pub(crate) fn is_delivered(&self, at: usize) -> bool {
        self.outcomes.get(at) == Some(&Outcome::Delivered)
    }

    /// The answer to the whole batch.
    pub(crate) fn into_delivery(self) -> Delivery {
        Delivery {
            outcomes: self.outcomes,
            retry_after: None,
            fault: self.fault,
        }
    }
}
