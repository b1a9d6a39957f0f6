//! One row per state of what is done about sources: what a form says of it.
//!
//! `honeyport.response.state` of an act (`block-ip` and its like) says whether it is in force at one place; that of
//! `response-decided` how it stands with the decision.

use crate::event::Event;
use crate::fields::Field;

/// What a form says of a state.
#[derive(Debug, Clone, Copy)]
pub struct StateRow {
    /// ECS `event.outcome`: nothing was done, and nothing failed, where it is unknown.
    pub outcome: &'static str,
    /// OCSF `status_id` and `status` of the remediation classes.
    pub status: (i64, &'static str),
    /// OCSF `disposition_id` and `disposition` of a decision; acts have their own.
    pub disposition: (i64, &'static str),
    /// Its risk: what a person should see, and what did not come about.
    pub risk: i32,
}

const SUCCESS: (i64, &str) = (1, "Success");
const FAILURE: (i64, &str) = (2, "Failure");
const NO_ACTION: (i64, &str) = (16, "No Action");
const LOGGED: (i64, &str) = (17, "Logged");

macro_rules! states {
    ($($state:ident = $name:literal, $outcome:literal, $status:expr, $disposition:expr, $risk:literal, $doc:literal;)*) => {
        /// How it stands with an act or a decision. The word is stable, as that of an action.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum State { $(#[doc = $doc] $state,)* }

        impl State {
            /// Every state, in order of declaration.
            pub const ALL: &[Self] = &[$(Self::$state,)*];

            /// The word in `honeyport.response.state`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$state => $name,)* }
            }

            /// What the forms say of it.
            pub const fn row(self) -> StateRow {
                match self {
                    $(Self::$state => StateRow {
                        outcome: $outcome, status: $status, disposition: $disposition, risk: $risk,
                    },)*
                }
            }
        }
    };
}

states! {
    Enforced = "enforced", "success", SUCCESS, LOGGED, 0, "An act is in force at its place.";
    Failed = "failed", "failure", FAILURE, (27, "Error"), 73, "An act, or its undoing, failed at its place.";
    Lifted = "lifted", "success", SUCCESS, LOGGED, 0, "An act was undone at its place.";
    Observed = "observed", "unknown", (99, "Observed"), NO_ACTION, 0, "It would have been decided, had the rule been allowed to.";
    Proposed = "proposed", "unknown", (99, "Proposed"), NO_ACTION, 47, "It waits for a person's yes or no.";
    Decided = "decided", "success", SUCCESS, LOGGED, 0, "It is to be done.";
    Approved = "approved", "success", SUCCESS, (8, "Approved"), 0, "A person said yes to what was proposed.";
    Rejected = "rejected", "unknown", (99, "Rejected"), (25, "Rejected"), 0, "A person said no to what was proposed.";
    Extended = "extended", "success", SUCCESS, LOGGED, 0, "It lasts longer than it was to.";
    Refused = "refused", "failure", FAILURE, NO_ACTION, 21, "It is not allowed against this source.";
    Ended = "ended", "success", SUCCESS, LOGGED, 0, "Its time is over, or it was lifted or withdrawn before.";
}

impl State {
    /// Those that an act can be in.
    pub const OF_ACTS: [Self; 3] = [Self::Enforced, Self::Failed, Self::Lifted];

    /// Those that a decision can be in.
    pub const OF_DECISIONS: [Self; 8] = [
        Self::Observed,
        Self::Proposed,
        Self::Decided,
        Self::Approved,
        Self::Rejected,
        Self::Extended,
        Self::Refused,
        Self::Ended,
    ];

    /// That of an act or a decision; `None` of any other event.
    pub fn of(event: &Event) -> Option<Self> {
        Self::find(event.text(Field::ResponseState)?)
    }

    /// Finds a state by its word.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|state| state.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_one_of_acts_or_one_of_decisions_and_is_found_by_its_word() {
        for state in State::ALL {
            assert_ne!(State::OF_ACTS.contains(state), State::OF_DECISIONS.contains(state));
            assert_eq!(State::find(state.name()), Some(*state));
        }
        assert_eq!(State::find("dreamt"), None);
    }
}
