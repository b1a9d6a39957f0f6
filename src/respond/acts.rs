//! How it stands with each decision at each sink that acts: wanted, applied, failed since, lifting.
//!
//! In: what the sinks' workers report. What failed is not kept over a restart: workers compare anew then, and report anew.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use trapline_schemas::Timestamp;
use trapline_sink::set::{Scope, Verb};
use uuid::Uuid;

use super::decision::{Decision, Phase};

/// How a decision stands with one sink; part of `decisions list --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetRow {
    /// The sink.
    pub sink: String,
    /// What it does.
    pub verb: String,
    /// `wanted`, `applied`, `failed`, `nowhere`, `refused` or `lifting`.
    pub state: String,
    /// Since when, RFC 3339 in UTC, where that is known.
    pub since: Option<String>,
    /// Why it is not applied.
    pub why: Option<String>,
}

/// A sink that acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// Its name.
    pub name: String,
    /// What it does.
    pub verb: Verb,
    /// Whom it acts on.
    pub scope: Scope,
}

impl Actor {
    /// Whether a decision is for it.
    pub fn takes(&self, decision: &Decision) -> bool {
        self.scope.takes(decision.inside) && decision.verbs.contains(&self.verb)
    }
}

/// What is in the way of an act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// `failed`, `nowhere` or `refused`.
    pub state: &'static str,
    /// Since when.
    pub since: Timestamp,
    /// The sink's words.
    pub why: String,
}

/// All acts that something is in the way of, by decision and sink.
#[derive(Debug, Default)]
pub struct Acts(HashMap<Uuid, BTreeMap<String, Trouble>>);

impl Acts {
    /// Something is in the way.
    pub fn trouble(&mut self, decision: Uuid, sink: &str, trouble: Trouble) {
        self.0.entry(decision).or_default().insert(sink.to_owned(), trouble);
    }

    /// Nothing is any more.
    pub fn clear(&mut self, decision: Uuid, sink: &str) {
        if let Some(sinks) = self.0.get_mut(&decision) {
            sinks.remove(sink);
            if sinks.is_empty() {
                self.0.remove(&decision);
            }
        }
    }

    /// Forgets decisions that are not known any more.
    pub fn keep(&mut self, is_known: impl Fn(Uuid) -> bool) {
        self.0.retain(|decision, _| is_known(*decision));
    }

    /// How a decision stands with each sink that it is for, or is in force at.
    pub fn of(&self, decision: &Decision, actors: &[Actor], moment: impl Fn(Timestamp) -> String) -> Vec<TargetRow> {
        let troubles = self.0.get(&decision.id);
        let is_due = |actor: &&Actor| match decision.phase {
            Phase::Active => actor.takes(decision),
            Phase::Over => decision.applied.contains(&actor.name),
            Phase::Observed | Phase::Proposed | Phase::Rejected => false,
        };
        let row = |actor: &Actor| {
            let trouble = troubles.and_then(|sinks| sinks.get(&actor.name));
            let state = match (trouble, decision.phase, decision.applied.contains(&actor.name)) {
                (Some(trouble), ..) => trouble.state,
                (None, Phase::Over, _) => "lifting",
                (None, _, true) => "applied",
                (None, _, false) => "wanted",
            };
            TargetRow {
                sink: actor.name.clone(),
                verb: actor.verb.name().to_owned(),
                state: state.to_owned(),
                since: trouble.map(|trouble| moment(trouble.since)),
                why: trouble.map(|trouble| trouble.why.clone()),
            }
        };
        actors.iter().filter(is_due).map(row).collect()
    }
}
