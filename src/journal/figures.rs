//! What the writer counts of its own work since the start, for `/metrics`.

use std::time::Duration;

use crate::metrics::histogram::{Histogram, OF_DISK};

/// The counts at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figures {
    /// Entries appended.
    pub appended: u64,
    /// How long each group took from its first row until it was durable.
    pub commits: Histogram,
    /// Groups that the disk refused; they are held and tried again.
    pub refused: u64,
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            appended: 0,
            commits: Histogram::new(OF_DISK),
            refused: 0,
        }
    }
}

impl Figures {
    pub(super) fn committed(&mut self, entries: u64, taken: Duration) {
        self.appended += entries;
        self.commits.add(taken);
    }
}
