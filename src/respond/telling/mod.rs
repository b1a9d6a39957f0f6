//! Decisions as events: what a sink, a person and the watch over incidents are told of what is done about sources.
//!
//! In: what happened to a decision ([`told`]), or to an act at one place ([`enforced`], [`lifted`], [`failed`],
//! [`repaired`]). Out: an event with all that is known of it, but who this host is: whoever appends it
//! [stamps](crate::record::Identity::stamp) it.
//!
//! Invariants:
//! 1. The id of an event is made of the decision, the state and the place; of what may happen more than once, of when, too.
//!    So a repeat after a crash carries the same id.
//! 2. The source of an event is the address that is acted on. Nothing of a peer is in it but that.
//! 3. What was only observed or proposed says so (`honeyport.response.dry_run`), and so do its extension and its end.

mod act;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::time::Duration;

use smol_str::SmolStr;
use trapline_schemas::derive::risk::{Circumstances, risk};
use trapline_schemas::derive::state::State;
use trapline_schemas::{Action, Event, Field, Timestamp, Value, ids};
use trapline_sink::set::{Target, Verb};
use uuid::Uuid;

use super::decision::{By, Decision, Phase};
use super::settings::Mode;
use super::told::{Told, What};

pub use act::{Place, Trouble, enforced, failed, lifted, repaired};

/// What an event says of a decision.
#[derive(Debug, Clone)]
pub struct About<'a> {
    /// Its id.
    pub id: Uuid,
    /// Whom it is about.
    pub source: Target,
    /// Who came; of a network that a person named, its first address.
    pub address: IpAddr,
    /// Whether the source is inside.
    pub inside: bool,
    /// The zone of the source; empty if it is not known.
    pub zone: &'a str,
    /// Who answers for the source.
    pub owner: Option<&'a str>,
    /// The incident that it belongs to.
    pub incident: Option<Uuid>,
    /// The rule that decided, if one did.
    pub rule: Option<&'a str>,
    /// Who decided, or had happen what is told.
    pub by: &'a By,
    /// What is done; at least one.
    pub verbs: &'a [Verb],
    /// What becomes of decisions.
    pub mode: Mode,
    /// Whether nothing is done: it is observed, proposed or was rejected.
    pub is_dry: bool,
    /// The event that caused it.
    pub cause: Option<Uuid>,
    /// When it ends; of a proposal, when it is no longer open.
    pub until: Timestamp,
    /// How long it is done for; nothing if it never is.
    pub ttl: Duration,
    /// Which step of an escalation, from 1; none of what a person decided.
    pub step: Option<u32>,
    /// Why it is refused, how it ended, or a person's reason.
    pub reason: Option<&'a str>,
}

impl<'a> About<'a> {
    /// All that is known of a decision, made in a mode.
    pub fn of(decision: &'a Decision, mode: Mode) -> Self {
        Self {
            id: decision.id,
            source: decision.target,
            address: decision.target.address(),
            inside: decision.inside,
            zone: &decision.zone,
            owner: decision.owner.as_deref(),
            incident: decision.incident,
            rule: rule_of(decision),
            by: &decision.by,
            verbs: &decision.verbs,
            mode,
            is_dry: decision.phase != Phase::Active,
            cause: decision.cause,
            until: decision.until,
            ttl: decision.ttl,
            step: (!decision.parts.is_empty()).then(|| decision.step()),
            reason: decision.reason.as_deref(),
        }
    }
}

/// The rule that decided: it stays so when a person approves or ends it.
fn rule_of(decision: &Decision) -> Option<&str> {
    match &decision.by {
        By::Rule(rule) => Some(rule),
        By::Person { .. } => decision.parts.first().map(|part| part.rule.as_str()),
    }
}

/// What happened to a decision, as an event.
pub fn told(told: &Told, mode: Mode) -> Event {
    let about = About {
        by: told.by.as_ref().unwrap_or(&told.decision.by),
        reason: told.reason.as_deref(),
        ..About::of(&told.decision, mode)
    };
    decided(&about, state_of(told.what), told.at)
}

const fn state_of(what: What) -> State {
    match what {
        What::Observed => State::Observed,
        What::Proposed => State::Proposed,
        What::Decided => State::Decided,
        What::Approved => State::Approved,
        What::Rejected => State::Rejected,
        What::Extended => State::Extended,
        What::Refused => State::Refused,
        What::Ended => State::Ended,
    }
}

/// `response-decided`: a decision is in a state since `at`.
pub fn decided(about: &About<'_>, state: State, at: Timestamp) -> Event {
    // It may be extended any number of times; all else happens to a decision once.
    let which = if state == State::Extended {
        at
    } else {
        Timestamp::default()
    };
    let mut event = begin(about, (Action::Decided, state), at, id(about, state, "", which));
    event.set(Field::ResponseDryRun, about.is_dry);
    event
}

/// The same for the same.
fn id(about: &About<'_>, state: State, place: &str, which: Timestamp) -> Uuid {
    let node = format!("response/{}", state.name());
    ids::derived(&node, &format!("{}/{place}", about.id), which)
}

/// An event with what every one about a decision has.
fn begin(about: &About<'_>, (action, state): (Action, State), at: Timestamp, id: Uuid) -> Event {
    let mut event = Event::new(id, at, action);
    source(about, &mut event);
    decision(about, &mut event);
    event.set(Field::ResponseState, state.name());
    let circumstances = Circumstances {
        inside: about.inside,
        failed: state == State::Failed,
        state: Some(state),
        ..Circumstances::default()
    };
    event.set(Field::EventRiskScore, risk(action, &circumstances));
    event
}

/// Whom it is about.
fn source(about: &About<'_>, event: &mut Event) {
    event.set(Field::SourceIp, about.address);
    event.set(Field::SourceZoneInside, about.inside);
    event.set_some(Field::SourceZone, Some(about.zone).filter(|zone| !zone.is_empty()));
    event.set_some(Field::SourceOwner, about.owner);
    event.set_some(Field::IncidentId, about.incident);
    if about.source.is_host() {
        event.set(Field::ResponseScope, "address");
    } else {
        event.set(Field::ResponseScope, "network");
        event.set(Field::ResponseNetwork, about.source.to_string());
    }
}

/// What was decided, by whom, until when.
fn decision(about: &About<'_>, event: &mut Event) {
    event.set(Field::ResponseId, about.id);
    event.set_some(Field::ResponseCause, about.cause);
    event.set(Field::ResponseMode, about.mode.name());
    event.set_some(Field::ResponseRule, about.rule);
    event.set(Field::ResponseBy, about.by.shown().clone());
    if let By::Person { uid, .. } = about.by {
        event.set_some(Field::ResponseUid, uid.map(i64::from));
    }
    event.set(Field::ResponseVerbs, verbs(about.verbs));
    event.set_some(Field::ResponseStep, about.step.map(i64::from));
    event.set_some(Field::ResponseReason, about.reason);
    event.set(Field::ResponseExpires, about.until);
    let seconds = i64::try_from(about.ttl.as_secs()).unwrap_or(i64::MAX);
    event.set_some(Field::ResponseTtl, Some(seconds).filter(|seconds| *seconds > 0));
}

fn verbs(verbs: &[Verb]) -> Value {
    let words = verbs.iter().map(|verb| SmolStr::new_static(verb.name()));
    words.collect::<Vec<_>>().into()
}
