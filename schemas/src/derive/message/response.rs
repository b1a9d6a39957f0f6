//! What is done about sources, in one sentence.

use super::Line;
use crate::derive::state::State;
use crate::derive::view::View;
use crate::fields::Field;
use crate::json::raw_time;
use crate::value::Value;

impl Line<'_> {
    /// `Blocked 203.0.113.0/24 (203.0.113.7) on firewall for 1 hour: credentials were tried`.
    pub(super) fn act(&mut self, view: &View<'_>, done: &str, verb: &str) -> &mut Self {
        match (view.failed(), view.is(Field::ResponseDryRun)) {
            (true, _) => self.add("Failed to ").add(verb),
            (false, true) => self.add("Would ").add(verb),
            (false, false) => self.add(done),
        };
        self.add(" ").acted_on(view);
        if let Some(target) = view.text(Field::ResponseTarget) {
            self.add(" on ").part(target);
        }
        if view.action().is_act_on() {
            self.lasting(view);
        }
        self.why(view)
    }

    /// `Decided to block and tag 203.0.113.7 for 1 hour, by rule 'credentials', step 2`.
    pub(super) fn decided(&mut self, view: &View<'_>) -> &mut Self {
        let is_dry = view.is(Field::ResponseDryRun);
        match view.state() {
            Some(State::Observed) => self.add("Only observed: would "),
            Some(State::Proposed) => self.add("Proposed to "),
            Some(State::Approved) => self.add("Approved the proposal to "),
            Some(State::Rejected) => self.add("Rejected the proposal to "),
            Some(State::Extended) if is_dry => self.add("Extended the proposal to "),
            Some(State::Ended) if is_dry => self.add("Ended the proposal to "),
            Some(State::Extended) => self.add("Extended the decision to "),
            Some(State::Refused) => self.add("Refused to "),
            Some(State::Ended) => self.add("Ended the decision to "),
            _ => self.add("Decided to "),
        };
        self.verbs(view).add(" ").acted_on(view);
        match view.state() {
            Some(State::Ended | State::Refused | State::Rejected) => &mut *self,
            Some(State::Extended) => self.until(view),
            _ => self.lasting(view),
        };
        self.decider(view).number(view, ", step ", Field::ResponseStep);
        if view.state() == Some(State::Proposed) {
            self.add("; nothing is done until a person approves");
        }
        self.why(view)
    }

    /// `Repaired firewall: 3 entries had been changed by others`.
    pub(super) fn repaired(&mut self, view: &View<'_>) -> &mut Self {
        self.add("Repaired ")
            .part(view.text(Field::ResponseTarget).unwrap_or("a destination"))
            .add(": ");
        match view.int(Field::ResponseRepaired) {
            Some(1) => self.add("1 entry"),
            Some(number) => self.int(number).add(" entries"),
            None => self.add("entries"),
        };
        self.add(" had been changed by others").why(view)
    }

    /// Whom it is about: the network, if it is one, with the source beside it.
    fn acted_on(&mut self, view: &View<'_>) -> &mut Self {
        match view.text(Field::ResponseNetwork) {
            Some(network) => self.part(network).add(" (").source(view).add(")"),
            None => self.source(view),
        }
    }

    /// `block`, `block and tag`, `block, sinkhole and tag`.
    fn verbs(&mut self, view: &View<'_>) -> &mut Self {
        let verbs = view.texts(Field::ResponseVerbs);
        let Some((last, first)) = verbs.split_last() else {
            return self.part(view.text(Field::ResponseKind).unwrap_or("act on"));
        };
        for (at, verb) in first.iter().enumerate() {
            self.add(if at > 0 { ", " } else { "" }).part(verb);
        }
        self.add(if first.is_empty() { "" } else { " and " }).part(last)
    }

    /// ` for 1 hour`, exactly; nothing if nobody said how long.
    fn lasting(&mut self, view: &View<'_>) -> &mut Self {
        let Some(seconds) = view.int(Field::ResponseTtl) else {
            return self;
        };
        let units = [(86_400, " day"), (3600, " hour"), (60, " minute")];
        let whole = units.iter().find(|(unit, _)| seconds >= *unit && seconds % unit == 0);
        let (number, unit) = whole.map_or((seconds, " second"), |(unit, name)| (seconds / unit, name));
        self.add(" for ").several(Some(number), unit)
    }

    /// ` until 2026-03-04T11:16:11.123Z`.
    fn until(&mut self, view: &View<'_>) -> &mut Self {
        if let Some(Value::Time(at)) = view.get(Field::ResponseExpires) {
            self.add(" until ");
            raw_time(self.0, *at);
        }
        self
    }

    /// `, by rule 'credentials'`, or who else decided.
    fn decider(&mut self, view: &View<'_>) -> &mut Self {
        let (rule, by) = (view.text(Field::ResponseRule), view.text(Field::ResponseBy));
        let Some(name) = by.or(rule) else {
            return self;
        };
        let is_refused = view.state() == Some(State::Refused);
        let is_rule = rule == Some(name) && view.int(Field::ResponseUid).is_none();
        self.add(if is_refused { ", wanted by " } else { ", by " })
            .add(if is_rule { "rule '" } else { "'" })
            .part(name)
            .add("'")
    }
}
