//! One decision, from the event that caused it to its end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use smol_str::SmolStr;
use trapline_schemas::Timestamp;
use trapline_sink::set::{Grounds, Member, Target, Verb};
use uuid::Uuid;

use super::engine::after;

/// How long what is over stays known although a sink where it is in force says nothing.
const OVER_KEPT: Duration = Duration::from_secs(7 * 86_400);
/// The same if no sink has said that it is in force there.
const OVER_KEPT_UNSEEN: Duration = Duration::from_secs(600);

/// Where a decision stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// In mode observe: what would be done is known, and nothing is.
    Observed,
    /// It waits for a person.
    Proposed,
    /// It is in force.
    Active,
    /// A person said no: the same is not proposed again before its end.
    Rejected,
    /// It is over, and not yet undone everywhere.
    Over,
}

impl Phase {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Observed => "observed",
            Self::Proposed => "proposed",
            Self::Active => "active",
            Self::Rejected => "rejected",
            Self::Over => "over",
        }
    }

    /// Finds a phase by its word.
    pub fn find(name: &str) -> Option<Self> {
        let all = [Self::Observed, Self::Proposed, Self::Active, Self::Rejected, Self::Over];
        all.into_iter().find(|phase| phase.name() == name)
    }
}

/// Who decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// A rule, by its name.
    Rule(SmolStr),
    /// A user of this host, or of the API.
    Person {
        /// The name, clean.
        name: SmolStr,
        /// The number, if it is a user of this host.
        uid: Option<u32>,
    },
}

impl By {
    /// A name for people.
    pub fn shown(&self) -> &SmolStr {
        match self {
            Self::Rule(name) | Self::Person { name, .. } => name,
        }
    }
}

/// A rule that had its part in a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The rule's name.
    pub rule: SmolStr,
    /// Which step of its escalation, from 1.
    pub step: u32,
}

/// A decision. A source has at most one that rules made at a time; what more rules say of it strengthens that one.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// Its id, for ever.
    pub id: Uuid,
    /// Whom it is about.
    pub target: Target,
    /// Whether the source is inside.
    pub inside: bool,
    /// The zone of the source.
    pub zone: SmolStr,
    /// Who answers for the source.
    pub owner: Option<SmolStr>,
    /// The incident that it belongs to.
    pub incident: Option<Uuid>,
    /// What is done; sorted, at least one.
    pub verbs: Vec<Verb>,
    /// Where it stands.
    pub phase: Phase,
    /// Who decided.
    pub by: By,
    /// The rules that had a part in it; none if a person decided.
    pub parts: Vec<Part>,
    /// The event that caused it.
    pub cause: Option<Uuid>,
    /// When that event was.
    pub touched: Timestamp,
    /// When it was decided; of one that is over, since when.
    pub since: Timestamp,
    /// When it ends; of a proposal, when it is no longer open.
    pub until: Timestamp,
    /// How long it is done for, counted from a person's yes if it is a proposal.
    pub ttl: Duration,
    /// How grave the cause was, 0 to 100.
    pub gravity: u8,
    /// Why, in a person's words; clean.
    pub reason: Option<String>,
    /// What set sinks called what they did, by the sink's name.
    pub handles: BTreeMap<String, Arc<str>>,
    /// Set sinks at which it is in force.
    pub applied: BTreeSet<String>,
    /// Whether it was found in the journal at start.
    pub restored: bool,
}

impl Decision {
    /// When nothing is to be known of it any more: at its end; if it is over, when nobody will say any more that it is
    /// undone.
    pub fn forgotten(&self) -> Timestamp {
        match (self.phase, self.applied.is_empty()) {
            (Phase::Over, true) => after(self.since, OVER_KEPT_UNSEEN),
            (Phase::Over, false) => after(self.since, OVER_KEPT),
            _ => self.until,
        }
    }

    /// Which step of an escalation it is, from 1.
    pub fn step(&self) -> u32 {
        self.parts.iter().map(|part| part.step).max().unwrap_or(1)
    }

    /// Whether rules made it.
    pub const fn is_automatic(&self) -> bool {
        matches!(self.by, By::Rule(_))
    }

    /// What stands for it.
    pub const fn grounds(&self) -> Grounds {
        match (&self.by, self.restored) {
            (By::Person { .. }, _) => Grounds::Person,
            (By::Rule(_), true) => Grounds::Restored,
            (By::Rule(_), false) => Grounds::Handshake,
        }
    }

    /// As a set sink has it.
    pub fn member(&self, sink: &str) -> Member {
        Member {
            target: self.target,
            inside: self.inside,
            since: self.touched,
            until: self.until,
            decision: self.id,
            gravity: self.gravity,
            reason: self.by.shown().as_str().into(),
            grounds: self.grounds(),
            handle: self.handles.get(sink).cloned(),
        }
    }
}
