//! What is to be told of a decision.

use trapline_schemas::Timestamp;

use super::decision::{By, Decision};
use super::settings::Mode;

/// What happened to a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum What {
    /// It would have been made, were the mode another.
    Observed,
    /// It waits for a person.
    Proposed,
    /// It is in force.
    Decided,
    /// A person said yes.
    Approved,
    /// A person said no.
    Rejected,
    /// It lasts longer, or more is done.
    Extended,
    /// It was not made: safety says no.
    Refused,
    /// It is over.
    Ended,
}

impl What {
    /// What a new decision is in a mode.
    pub const fn of_mode(mode: Mode) -> Self {
        match mode {
            Mode::Observe => Self::Observed,
            Mode::Propose => Self::Proposed,
            Mode::Enforce => Self::Decided,
        }
    }
}

/// One thing to tell of a decision.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// The decision as it is then.
    pub decision: Decision,
    /// What happened.
    pub what: What,
    /// When.
    pub at: Timestamp,
    /// Who had it happen, if not who decided.
    pub by: Option<By>,
    /// Why.
    pub reason: Option<String>,
}

impl Told {
    /// Something that happened to a decision.
    pub fn new(decision: Decision, what: What, at: Timestamp) -> Self {
        Self {
            reason: decision.reason.clone(),
            decision,
            what,
            at,
            by: None,
        }
    }

    /// Why.
    pub fn because(self, reason: String) -> Self {
        Self {
            reason: Some(reason),
            ..self
        }
    }

    /// Who had it happen.
    pub fn by(self, by: Option<By>) -> Self {
        Self { by, ..self }
    }
}
