//! What a sink's worker reports of an act, taken to the decision that it is about.

use std::time::Duration;

use trapline_schemas::Timestamp;
use trapline_sink::set::Target;
use uuid::Uuid;

use super::acts::{Actor, Acts, Trouble};
use super::decision::{Decision, Phase};
use super::engine::Engine;
use super::telling::{self, About, Place};
use super::worker::Report;

/// The engine, while a report of one sink is taken.
pub(super) struct Reported<'a> {
    pub(super) engine: &'a mut Engine,
    pub(super) actor: &'a Actor,
    pub(super) now: Timestamp,
}

impl Reported<'_> {
    pub(super) fn take(mut self, report: Report, acts: &mut Acts) {
        let actor = self.actor;
        let sink = &actor.name;
        match report {
            Report::Applied { decision, handle, .. } => {
                acts.clear(decision, sink);
                let was = self
                    .engine
                    .book()
                    .get(decision)
                    .is_some_and(|known| known.applied.contains(sink));
                if let Some(known) = self.engine.applied(decision, sink, handle).filter(|_| !was) {
                    self.enforced(&known);
                }
            }
            Report::Found { decision, handle, .. } => {
                acts.clear(decision, sink);
                self.engine.applied(decision, sink, handle);
            }
            Report::Lifted { target, decision } => self.lifted(target, decision, acts),
            Report::Failed { target, decision, why } => self.failed(target, decision, ("failed", why), acts),
            Report::Refused { target, decision, why } => self.failed(target, Some(decision), ("refused", why), acts),
            Report::Nowhere { decision, why, .. } => {
                let trouble = self.trouble("nowhere", why);
                acts.trouble(decision, sink, trouble);
            }
            Report::Repaired { count } => {
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                let event = telling::repaired(place(self.actor), count, self.now);
                self.engine.say(event);
            }
        }
    }

    /// It is in force because of a contact that was a moment ago, unless it was only put back.
    fn enforced(&mut self, known: &Decision) {
        let latency = self.now.since(known.touched);
        let is_first = known.is_automatic() && !known.restored && known.since == known.touched;
        let latency: Option<Duration> = is_first.then_some(latency);
        let about = About::of(known, self.engine.mode());
        let event = telling::enforced(&about, place(self.actor), self.now, latency);
        self.engine.say(event);
    }

    fn lifted(&mut self, target: Target, decision: Option<Uuid>, acts: &mut Acts) {
        let Some(known) = self.engine.lifted(target, decision, &self.actor.name) else {
            tracing::info!(sink.name = %self.actor.name, "{target} was taken out, no decision is known for it");
            return;
        };
        acts.clear(known.id, &self.actor.name);
        let about = About::of(&known, self.engine.mode());
        let event = telling::lifted(&about, place(self.actor), self.now);
        self.engine.say(event);
    }

    fn failed(
        &mut self,
        target: Target,
        decision: Option<Uuid>,
        (state, why): (&'static str, String),
        acts: &mut Acts,
    ) {
        let book = self.engine.book();
        let by_id = decision.and_then(|id| book.get(id));
        let Some(known) = by_id.or_else(|| book.of(target).next()).cloned() else {
            return;
        };
        let trouble = telling::Trouble {
            began: self.now,
            kind: state,
            message: &why,
            undoing: known.phase == Phase::Over,
        };
        let about = About::of(&known, self.engine.mode());
        let event = telling::failed(&about, place(self.actor), self.now, &trouble);
        self.engine.say(event);
        let trouble = self.trouble(state, why);
        acts.trouble(known.id, &self.actor.name, trouble);
    }

    const fn trouble(&self, state: &'static str, why: String) -> Trouble {
        Trouble {
            state,
            since: self.now,
            why,
        }
    }
}

fn place(actor: &Actor) -> Place<'_> {
    Place {
        name: &actor.name,
        verb: actor.verb,
    }
}
