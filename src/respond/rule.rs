//! A rule at work.

use std::net::IpAddr;
use std::time::Duration;

use trapline_schemas::{Event, Field};
use trapline_sink::set::Verb;

use super::settings::RuleSpec;
use super::threshold::Threshold;
use crate::graph::condition::{Condition, ConditionProblem};
use crate::roles::Touch;

/// A rule whose condition is compiled, with what it has counted.
#[derive(Debug)]
pub struct Rule {
    /// As configured.
    pub spec: RuleSpec,
    when: Option<Condition>,
    threshold: Option<Threshold>,
}

impl Rule {
    /// Compiles a rule. Errors: its condition is none, which the configuration was checked for.
    pub fn new(spec: RuleSpec) -> Result<Self, Vec<ConditionProblem>> {
        let when = spec.when.as_deref().map(Condition::compile).transpose()?;
        let threshold = spec.threshold.map(Threshold::new);
        Ok(Self { spec, when, threshold })
    }

    /// Goes on with what `before` has counted, if it counts the same.
    pub fn inherit(&mut self, before: &mut Self) {
        if self.spec.threshold == before.spec.threshold && self.spec.name == before.spec.name {
            self.threshold = before.threshold.take().or_else(|| self.threshold.take());
        }
    }

    /// Whether something is to be done because of a hit; it is counted, where the rule counts.
    pub fn applies(&mut self, source: IpAddr, event: &Event) -> bool {
        self.is_about(event) && self.threshold.as_mut().is_none_or(|count| count.reached(source, event))
    }

    fn is_about(&self, event: &Event) -> bool {
        let decoys = &self.spec.decoys;
        let decoy = event.text(Field::DecoyId);
        let at_decoy = decoys.is_empty() || decoy.is_some_and(|name| decoys.iter().any(|decoy| decoy == name.as_str()));
        at_decoy
            && self.spec.level.is_none_or(|least| touch(event) >= least)
            && self.when.as_ref().is_none_or(|when| when.holds(event))
    }

    /// How long something is done at a step, from 1.
    pub fn ttl(&self, step: u32) -> Duration {
        let steps = &self.spec.steps;
        let at = usize::try_from(step.saturating_sub(1)).unwrap_or(usize::MAX);
        steps.get(at).or(steps.last()).copied().unwrap_or_default()
    }

    /// How many steps its escalation has, at least 1.
    pub fn steps(&self) -> u32 {
        u32::try_from(self.spec.steps.len()).unwrap_or(u32::MAX).max(1)
    }

    /// What is done.
    pub fn verbs(&self) -> &[Verb] {
        &self.spec.verbs
    }
}

/// The level of touch of a hit.
pub fn touch(event: &Event) -> Touch {
    match event.text(Field::TouchLevel).map(|level| level.as_str()) {
        Some("proof") => Touch::Proof,
        Some("intent") => Touch::Intent,
        _ => Touch::Contact,
    }
}
