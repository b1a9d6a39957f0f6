//! Nodes that change an event for what stands behind them: `sample`, `redact`, `enrich`. Pure.
//!
//! In: an event as it comes to the node. Out: a [`Shaped`]: nothing, the same, or a changed copy under the same
//! `event.id`. What is in the journal never changes, and a sink on another way gets its own form of the event.
//!
//! Invariants: 1. the same event is shaped the same, however often, by whichever sink's worker, in a replay as well
//! (by the tables of the day);
//! 2. an event that a node has nothing to do with is not copied.

mod enrich;
mod inventory;
mod redact;
mod sample;
mod scrub;

#[cfg(test)]
mod enrich_tests;
#[cfg(test)]
mod tests;

use trapline_schemas::Event;

pub use enrich::{Enrich, EnrichSpec, MaxMind, SharedTables, Tables};
pub use inventory::{COLUMNS, Inventory, Unread, is_column};
pub use redact::{Redact, RedactSpec, With};
pub use sample::{Sample, SampleSpec};

/// What becomes of an event.
#[derive(Debug)]
pub enum Shaped {
    /// It goes no further.
    Dropped,
    /// It goes on as it is.
    Same,
    /// This goes on in its place.
    Changed(Box<Event>),
}

/// A node that changes events.
#[derive(Debug)]
pub enum Shaper {
    /// Lets one in so many through.
    Sample(Sample),
    /// Hides fields.
    Redact(Redact),
    /// Adds what tables know.
    Enrich(Enrich),
}

impl Shaper {
    /// What the node makes of an event.
    pub fn shape(&self, event: &Event) -> Shaped {
        match self {
            Self::Sample(sample) => sample.shape(event),
            Self::Redact(redact) => redact.shape(event),
            Self::Enrich(enrich) => enrich.shape(event),
        }
    }
}
