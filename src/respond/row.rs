//! A decision as JSON: in the journal's state, and for whoever asks. Keys that a later version adds are passed over; those
//! that it leaves out have a default.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use trapline_schemas::Timestamp;
use trapline_sink::set::Verb;
use uuid::Uuid;

use super::decision::{By, Decision, Part, Phase};

/// A decision in plain words. Times are microseconds since 1970, `ttl` is in seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of Decision")]
pub struct Row {
    pub id: Uuid,
    pub target: String,
    #[serde(default)]
    pub inside: bool,
    #[serde(default)]
    pub zone: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<Uuid>,
    pub verbs: Vec<String>,
    pub phase: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Rules with their steps.
    #[serde(default)]
    pub parts: Vec<(String, u32)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Uuid>,
    pub touched: i64,
    pub since: i64,
    pub until: i64,
    pub ttl: u64,
    #[serde(default)]
    pub gravity: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub handles: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub applied: BTreeSet<String>,
}

impl From<&Decision> for Row {
    fn from(decision: &Decision) -> Self {
        let (rule, person, uid) = match &decision.by {
            By::Rule(rule) => (Some(rule.to_string()), None, None),
            By::Person { name, uid } => (None, Some(name.to_string()), *uid),
        };
        let handles = decision.handles.iter();
        Self {
            id: decision.id,
            target: decision.target.to_string(),
            inside: decision.inside,
            zone: decision.zone.to_string(),
            owner: decision.owner.as_ref().map(ToString::to_string),
            incident: decision.incident,
            verbs: decision.verbs.iter().map(|verb| verb.name().to_owned()).collect(),
            phase: decision.phase.name().to_owned(),
            rule,
            person,
            uid,
            parts: decision
                .parts
                .iter()
                .map(|part| (part.rule.to_string(), part.step))
                .collect(),
            cause: decision.cause,
            touched: decision.touched.micros(),
            since: decision.since.micros(),
            until: decision.until.micros(),
            ttl: decision.ttl.as_secs(),
            gravity: decision.gravity,
            reason: decision.reason.clone(),
            handles: handles
                .map(|(sink, handle)| (sink.clone(), handle.to_string()))
                .collect(),
            applied: decision.applied.clone(),
        }
    }
}

impl Row {
    /// The decision; `None` if the row says nothing that can be acted on.
    pub fn decision(self) -> Option<Decision> {
        let by = match (self.rule, self.person) {
            (Some(rule), _) => By::Rule(rule.into()),
            (None, person) => By::Person {
                name: person?.into(),
                uid: self.uid,
            },
        };
        let part = |(rule, step): (String, u32)| Part {
            rule: rule.into(),
            step,
        };
        let verbs: Vec<_> = Verb::ALL
            .into_iter()
            .filter(|verb| self.verbs.iter().any(|word| word == verb.name()))
            .collect();
        let handles = self.handles.into_iter();
        (!verbs.is_empty()).then_some(())?;
        Some(Decision {
            id: self.id,
            target: self.target.parse().ok()?,
            inside: self.inside,
            zone: self.zone.into(),
            owner: self.owner.map(Into::into),
            incident: self.incident,
            verbs,
            phase: Phase::find(&self.phase)?,
            by,
            parts: self.parts.into_iter().map(part).collect(),
            cause: self.cause,
            touched: Timestamp::from_micros(self.touched),
            since: Timestamp::from_micros(self.since),
            until: Timestamp::from_micros(self.until),
            ttl: Duration::from_secs(self.ttl),
            gravity: self.gravity.min(100),
            reason: self.reason,
            handles: handles.map(|(sink, handle)| (sink, handle.into())).collect(),
            applied: self.applied,
            restored: true,
        })
    }
}
