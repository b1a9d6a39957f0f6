//! The faults that were ordered of a fake server, whatever it speaks.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

/// Faults to come, and one that lasts.
pub struct Orders<F>(Mutex<Kept<F>>);

struct Kept<F> {
    next: VecDeque<F>,
    lasting: Option<F>,
    closes: bool,
}

impl<F> Default for Orders<F> {
    fn default() -> Self {
        Self(Mutex::new(Kept {
            next: VecDeque::new(),
            lasting: None,
            closes: false,
        }))
    }
}

impl<F: Clone> Orders<F> {
    /// For the next request that meets faults.
    pub fn order(&self, fault: F) {
        self.kept().next.push_back(fault);
    }

    /// For every such request until it is healed.
    pub fn order_lasting(&self, fault: F) {
        self.kept().lasting = Some(fault);
    }

    /// Takes back all faults.
    pub fn heal(&self) {
        let mut kept = self.kept();
        kept.next.clear();
        kept.lasting = None;
    }

    /// The fault of a request that meets faults.
    pub fn take(&self) -> Option<F> {
        let mut kept = self.kept();
        kept.next.pop_front().or_else(|| kept.lasting.clone())
    }

    /// From now on a connection serves one request alone.
    pub fn close_after_each(&self) {
        self.kept().closes = true;
    }

    /// Whether it does.
    pub fn closes(&self) -> bool {
        self.kept().closes
    }

    fn kept(&self) -> MutexGuard<'_, Kept<F>> {
        self.0.lock().unwrap()
    }
}
