//! Acts at one place: in force, undone, failed, put right.

use std::time::Duration;

use trapline_schemas::derive::risk::{Circumstances, risk};
use trapline_schemas::derive::state::State;
use trapline_schemas::{Action, Event, Field, Timestamp, ids};
use trapline_sink::set::Verb;

use super::{About, begin, id};

/// A set sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// Its name in the configuration.
    pub name: &'a str,
    /// What it does.
    pub verb: Verb,
}

/// Why something is not as decided at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trouble<'a> {
    /// When it began: each trouble is told once.
    pub began: Timestamp,
    /// Its kind, one word.
    pub kind: &'a str,
    /// What failed, as the sink says it.
    pub message: &'a str,
    /// Whether it is the undoing that failed.
    pub undoing: bool,
}

/// What an act is called, and its undoing.
const fn actions(verb: Verb) -> (Action, Action) {
    match verb {
        Verb::Block => (Action::Block, Action::Unblock),
        Verb::Sinkhole => (Action::Sinkhole, Action::Unsinkhole),
        Verb::Tag => (Action::Tag, Action::Untag),
        Verb::List => (Action::List, Action::Unlist),
    }
}

/// A decision is in force at a place; `latency`: since the contact that caused it, if that is why it is in force now.
pub fn enforced(about: &About<'_>, place: Place<'_>, at: Timestamp, latency: Option<Duration>) -> Event {
    let (on, _) = actions(place.verb);
    let mut event = act(about, place, (on, State::Enforced), at, Timestamp::default());
    let micros = latency.map(|latency| i64::try_from(latency.as_micros()).unwrap_or(i64::MAX));
    event.set_some(Field::ResponseLatency, micros);
    event
}

/// It is in force there no longer.
pub fn lifted(about: &About<'_>, place: Place<'_>, at: Timestamp) -> Event {
    let (_, off) = actions(place.verb);
    act(about, place, (off, State::Lifted), at, Timestamp::default())
}

/// It could not be put in force there, or not be undone.
pub fn failed(about: &About<'_>, place: Place<'_>, at: Timestamp, trouble: &Trouble<'_>) -> Event {
    let (on, off) = actions(place.verb);
    let action = if trouble.undoing { off } else { on };
    let mut event = act(about, place, (action, State::Failed), at, trouble.began);
    event.set(Field::ErrorType, trouble.kind);
    event.set(Field::ErrorMessage, trouble.message);
    event
}

fn act(about: &About<'_>, place: Place<'_>, what: (Action, State), at: Timestamp, which: Timestamp) -> Event {
    let (action, state) = what;
    let key = format!("{}/{}", action.name(), place.name);
    let mut event = begin(about, what, at, id(about, state, &key, which));
    event.set(Field::ResponseKind, place.verb.name());
    event.set(Field::ResponseTarget, place.name);
    event.set(Field::ResponseDryRun, false);
    event
}

/// Others had changed so many entries at a place; they are as decided again.
pub fn repaired(place: Place<'_>, entries: usize, at: Timestamp) -> Event {
    let id = ids::derived("response/repaired", place.name, at);
    let mut event = Event::new(id, at, Action::Repaired);
    event.set(Field::ResponseKind, place.verb.name());
    event.set(Field::ResponseTarget, place.name);
    event.set(Field::ResponseRepaired, i64::try_from(entries).unwrap_or(i64::MAX));
    event.set(Field::EventRiskScore, risk(Action::Repaired, &Circumstances::default()));
    event
}
