//! Changes as the table understands them.

use std::time::Duration;

use trapline_schemas::Timestamp;

use crate::element::Place;

/// A change to an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// Let it stand for this long from now, whatever stood.
    Put(Place, Duration),
    /// Let it stand no more.
    Take(Place),
}

/// Most changes in a transaction: it is a few milliseconds, so that what cannot wait does not wait long.
pub(crate) const ACTS_MAX: usize = 256;
/// The kernel counts in milliseconds, and an element without any time left has no end.
const LEFT_MIN: Duration = Duration::from_millis(1);
/// Longest that an element stands; whoever wants it longer puts it again.
const LEFT_MAX: Duration = Duration::from_secs(10 * 365 * 86_400);

/// What is left until an end; `None` if it is over.
pub(crate) fn left(until: Timestamp, now: Timestamp) -> Option<Duration> {
    let left = until.since(now);
    (!left.is_zero()).then(|| left.clamp(LEFT_MIN, LEFT_MAX))
}

impl Act {
    /// Where it is made.
    pub(crate) const fn place(&self) -> Place {
        match self {
            Self::Put(place, _) | Self::Take(place) => *place,
        }
    }

    /// How long it is to stand.
    pub(crate) const fn left(&self) -> Option<Duration> {
        match self {
            Self::Put(_, left) => Some(*left),
            Self::Take(_) => None,
        }
    }
}
