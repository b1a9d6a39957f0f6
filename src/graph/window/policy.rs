//! What a windowed node lets through, and what it says of the rest.

use std::time::Duration;

use trapline_schemas::{Action, Event, Field};

use super::bucket::Bucket;
use super::key::{draft, draft_of_others, draft_shown, key_of};
use super::notices::{self, Claim, NoticeRules};

/// The settings of a windowed node.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowSpec {
    /// The fields that make the key; up to [`BY_MAX`](crate::graph::transforms::BY_MAX), none for a single key. Notices
    /// have a key of their own, and none here.
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
    /// People are told: the gravest at once, the rest in digests, within bounds.
    Notices(NoticeRules),
}

/// What an aggregate, or a person, is given of the first event of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum First {
    /// It goes on as itself at once; the digest counts the others.
    AtOnce,
    /// It is counted with the others.
    Never,
}

impl WindowSpec {
    /// The key of an event; `None` if it counts in no window at all.
    pub(super) fn key_of(&self, event: &Event) -> Option<String> {
        match self.policy {
            Policy::Notices(rules) if rules.claim(event) == Claim::Silent => None,
            Policy::Notices(_) => Some(notices::key_of(event)),
            _ => Some(key_of(&self.by, event)),
        }
    }

    /// The derived event of a key as its first event makes it, without counts; of no key: of those that found no room.
    pub(super) fn draft(&self, node: &str, event: &Event, key: Option<&str>) -> Event {
        let action = self.policy.action();
        match (key, self.policy) {
            (None, _) => draft_of_others(node, action, event),
            (Some(key), Policy::Notices(_)) => draft_shown(node, action, event, &notices::shown(event, key)),
            (Some(key), _) => draft(node, action, &self.by, event, key),
        }
    }
}

impl Policy {
    /// How many events of a window go on as themselves.
    pub(super) const fn passes(self) -> u64 {
        match self {
            Self::Throttle { limit } => limit,
            Self::Dedupe | Self::Aggregate { first: First::AtOnce } => 1,
            // Notices go by what an event is, not by how many came before.
            Self::Aggregate { first: First::Never } | Self::Notices(_) => 0,
        }
    }

    /// What its derived event says happened.
    pub(super) const fn action(self) -> Action {
        match self {
            Self::Throttle { .. } | Self::Dedupe => Action::HeldBack,
            Self::Aggregate { .. } | Self::Notices(_) => Action::Digest,
        }
    }

    /// How an event wants to be told; `None` where that is not asked.
    pub(super) fn claim(self, event: &Event) -> Option<Claim> {
        match self {
            Self::Notices(rules) => Some(rules.claim(event)),
            _ => None,
        }
    }

    /// Most keys of a window that are told one by one.
    pub(super) const fn keys(self) -> u64 {
        match self {
            Self::Notices(rules) => rules.keys,
            _ => u64::MAX,
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
            (Self::Aggregate { .. } | Self::Notices(_), None) => {}
        }
    }
}
