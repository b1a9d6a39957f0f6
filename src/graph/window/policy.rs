//! What a windowed node lets through, and what it says of the rest.

use std::time::Duration;

use trapline_schemas::{Action, Event, Field};

use super::bucket::Bucket;

/// The settings of a windowed node.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowSpec {
    /// The fields that make the key; up to [`BY_MAX`](crate::graph::transforms::BY_MAX), none for a single key.
    pub by: Vec<Field>,
    /// Length of a window; 1 s to 7 d.
    pub window: Duration,
    /// What is done with the events of a window.
    pub policy: Policy,
}

/// What is done with the events of one key and window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// So many go on, the others are counted.
    Throttle {
        /// How many, 1 or more.
        limit: u64,
    },
    /// The first goes on, its repeats are counted.
    Dedupe,
    /// All are summed up in a digest.
    Aggregate {
        /// What becomes of the first of them.
        first: First,
    },
}

/// What an aggregate does with the first event of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum First {
    /// It goes on as itself at once; the digest counts the others.
    AtOnce,
    /// It is counted with the others.
    Never,
}

impl Policy {
    /// How many events of a window go on as themselves.
    pub(super) const fn passes(self) -> u64 {
        match self {
            Self::Throttle { limit } => limit,
            Self::Dedupe | Self::Aggregate { first: First::AtOnce } => 1,
            Self::Aggregate { first: First::Never } => 0,
        }
    }

    /// What its derived event says happened.
    pub(super) const fn action(self) -> Action {
        match self {
            Self::Throttle { .. } | Self::Dedupe => Action::HeldBack,
            Self::Aggregate { .. } => Action::Digest,
        }
    }

    /// Writes what the events of a closed window were. One that was opened under another policy is told as it is.
    pub(super) fn tell(self, bucket: &Bucket, event: &mut Event) {
        let held = bucket.held;
        match (self, &bucket.tally) {
            (_, Some(tally)) => tally.tell(bucket, event),
            (Self::Throttle { limit }, None) => {
                event.set(
                    Field::EventReason,
                    format!("{held} held back beyond the limit of {limit}"),
                );
            }
            (Self::Dedupe, None) if held == 1 => event.set(Field::EventReason, "1 repeat of the first"),
            (Self::Dedupe, None) => event.set(Field::EventReason, format!("{held} repeats of the first")),
            (Self::Aggregate { .. }, None) => {}
        }
    }
}
