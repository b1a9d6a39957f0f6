//! What became of each event of a batch.

use trapline_sink::stream::{Delivery, Fault, Outcome};

use crate::fault::Verdict;

/// The verdicts of one batch, by place.
#[derive(Debug)]
pub(crate) struct Ledger {
    outcomes: Vec<Outcome>,
    /// The first that was met.
    pub(crate) fault: Option<Fault>,
}

impl Ledger {
    /// Nothing is delivered until it is marked so.
    pub(crate) fn new(count: usize) -> Self {
        Self {
            outcomes: vec![Outcome::Retry; count],
            fault: None,
        }
    }

    /// Marks what became of one event.
    pub(crate) fn mark(&mut self, at: usize, verdict: Verdict) {
        let outcome = match verdict {
            Verdict::Delivered => Outcome::Delivered,
            Verdict::Suspect(reason) => Outcome::Suspect(reason),
            Verdict::Unfit(reason) => Outcome::Rejected(reason),
            Verdict::TooLarge | Verdict::Behind => Outcome::Retry,
            Verdict::Fault(fault) => {
                self.meet(fault);
                Outcome::Retry
            }
        };
        if let Some(slot) = self.outcomes.get_mut(at) {
            *slot = outcome;
        }
    }

    /// Notes a fault that is not one event's, if it is the first.
    pub(crate) fn meet(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }

    /// The places of what is to be sent.
    pub(crate) fn open(&self) -> Vec<usize> {
        let places = self.outcomes.iter().enumerate();
        places
            .filter(|(_, outcome)| **outcome == Outcome::Retry)
            .map(|(at, _)| at)
            .collect()
    }

    /// Whether there is something to send, and nothing in front of it that must be settled by others first.
    pub(crate) fn goes_on(&self) -> bool {
        let is_suspect = |outcome: &Outcome| matches!(outcome, Outcome::Suspect(_));
        self.fault.is_none() && self.outcomes.contains(&Outcome::Retry) && !self.outcomes.iter().any(is_suspect)
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
