//! Notices: what a person is told at once, what comes in a digest, what not at all.
//!
//! In: the events that a sink of people takes. Out: for each a [`Claim`]; for a window that closes, which keys are told
//! one by one and which together.
//!
//! Invariants:
//! 1. What is told at once is told once: a key comes again in the same window only if it has gone further since
//!    (a contact or an intent became a proof). All else of it is in its digest, counted.
//! 2. At most [`NoticeRules::keys`] keys of a window are told one by one: those that spoke first at once, then, when
//!    the window ends, the gravest of the others. The rest is one digest, exact in count and in sources. The last
//!    quarter is not for intents and sums to be told at once.
//! 3. A person is told of a decision once, however many places it is in force at; of what waits for a yes or no and of what
//!    failed at once; of what ended, was lifted or was only observed in digests alone.
//! 4. What was derived by a transform stands for the events that it counted, wherever it is summed up.
//!
//! How much is told needs no state of its own: it is what the rows of the keys say ([`Bucket::slots`]).

use std::collections::HashSet;

use smol_str::SmolStr;
use trapline_schemas::derive::state::State;
use trapline_schemas::{Action, Event, Field, Value};

use super::bucket::Bucket;
use super::key::{OTHERS, SEPARATOR};
use super::policy::First;
use crate::graph::inputs::Class;

/// How the names of the nodes before sinks of people begin; no name in a configuration has the sign.
const BEFORE: &str = "notices/";

/// The windowed node before a sink of people.
pub fn node_before(sink: &str) -> String {
    format!("{BEFORE}{sink}")
}

/// The sink that a windowed node of this name stands before, if it is such a node.
pub fn sink_behind(node: &str) -> Option<&str> {
    node.strip_prefix(BEFORE)
}

/// How much people are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoticeRules {
    /// Whether anything is told before the window ends.
    pub first: First,
    /// Most keys of a window that are told one by one, 1 or more.
    pub keys: u64,
    /// Whether benign noise is told as well.
    pub benign: bool,
}

/// How an event wants to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Claim {
    /// Not at all.
    Silent,
    /// With the others of its key.
    Digest,
    /// At once, if its key has not been told of anything as grave.
    Grave(u8),
    /// At once, as the sum of others that it is.
    Sum,
}

/// Somebody meant it.
const INTENT: u8 = 1;
/// Somebody left proof, or trapline speaks of itself.
const PROOF: u8 = 2;
/// Something is done about somebody.
const ACT: u8 = 3;
/// A person is asked.
const ASKED: u8 = 4;

impl NoticeRules {
    /// What the event wants.
    pub(super) fn claim(&self, event: &Event) -> Claim {
        if !self.benign && event.get(Field::BenignName).is_some() {
            return Claim::Silent;
        }
        match claim(event) {
            Claim::Grave(_) if self.first == First::Never => Claim::Digest,
            claim => claim,
        }
    }
}

impl Claim {
    /// How many of a window's keys are kept for what is graver: a crowd must not hide the proof that comes behind it,
    /// nor that a sink fails.
    pub(super) const fn kept_of(self, keys: u64) -> u64 {
        match self {
            Self::Sum | Self::Grave(INTENT) => keys / 4,
            Self::Grave(_) | Self::Digest | Self::Silent => 0,
        }
    }
}

fn claim(event: &Event) -> Claim {
    match (event.action, Class::of(event.action)) {
        // A routine of each hour, and what no window counts.
        (Action::ChainHead, _) | (_, Class::Canary) => Claim::Silent,
        // It is about a mail that goes to somebody else; whoever released it knows, and no window may sum it up.
        (Action::NoticeReleased, _) => Claim::Silent,
        (_, Class::Derived) => Claim::Sum,
        // What happened in a session was told when it did; what was folded follows much that was told.
        (Action::SessionEnd | Action::SourceFolded, _) => Claim::Digest,
        (Action::Scan, _) if event.text(Field::FindingStatus).is_some_and(|status| status != "new") => Claim::Digest,
        (_, Class::Decisions) => of_response(event),
        (_, Class::Decoys) => match event.text(Field::TouchLevel).map(SmolStr::as_str) {
            Some("proof") => Claim::Grave(PROOF),
            Some("intent") => Claim::Grave(INTENT),
            _ => Claim::Digest,
        },
        (Action::Scan, _) => Claim::Grave(INTENT),
        (_, Class::Findings | Class::Health) => Claim::Grave(PROOF),
    }
}

/// Of what is done about a source a person is told when it is decided, not for each place where it is then in force: those
/// are counted, as is what runs by itself. At once comes what waits for a person, and what does not work.
fn of_response(event: &Event) -> Claim {
    let is_dry = event.get(Field::ResponseDryRun) == Some(&Value::Bool(true));
    match (event.action, State::of(event)) {
        (Action::Decided, Some(State::Refused)) if is_dry => Claim::Digest,
        (Action::Repaired, _) | (_, Some(State::Failed)) => Claim::Grave(PROOF),
        (_, Some(State::Proposed)) => Claim::Grave(ASKED),
        (Action::Decided, Some(State::Decided | State::Approved | State::Refused)) => Claim::Grave(ACT),
        _ => Claim::Digest,
    }
}

/// The key of an event: its source, else its incident, else what trapline says and of which sink. Not the incident first:
/// that is another each day, and a window may be longer. What does not work at one place is a matter of that place.
pub(super) fn key_of(event: &Event) -> String {
    if let Some(place) = place(event) {
        return place;
    }
    let incident = || event.uuid(Field::IncidentId).map(|incident| incident.to_string());
    source(event).or_else(incident).unwrap_or_else(|| {
        let about = event.text(Field::SinkName).or_else(|| event.text(Field::TransformName));
        let about = about.map_or("", SmolStr::as_str);
        format!("{}{SEPARATOR}{about}", event.action_name())
    })
}

/// How a key is shown: a person knows addresses, and no incidents.
pub(super) fn shown(event: &Event, key: &str) -> String {
    let source = source(event).filter(|_| place(event).is_none());
    source.unwrap_or_else(|| key.replace(SEPARATOR, " ").trim_end().to_owned())
}

/// The place where an act failed, or what was done there had been changed by others.
fn place(event: &Event) -> Option<String> {
    let is_of_place = event.action == Action::Repaired || State::of(event) == Some(State::Failed);
    let target = event.text(Field::ResponseTarget).filter(|_| is_of_place)?;
    Some(format!("{}{SEPARATOR}{target}", event.action_name()))
}

fn source(event: &Event) -> Option<String> {
    let address = event.text(Field::SourceAddress).map(SmolStr::to_string);
    address.or_else(|| event.ip(Field::SourceIp).map(|ip| ip.to_string()))
}

/// How many events one stands for.
pub(in crate::graph) fn weight(event: &Event) -> u64 {
    match is_sum(event) {
        true => event
            .int(Field::FindingHits)
            .map_or(1, |hits| hits.max(1).unsigned_abs()),
        false => 1,
    }
}

/// Whether it is a count of events that are not told otherwise. What a scan counts are.
pub(in crate::graph) fn is_sum(event: &Event) -> bool {
    event.action == Action::SourceFolded || Class::of(event.action) == Class::Derived
}

/// What an event counts for, by action: of a digest what it says itself, as far as it does.
pub(super) fn counts(event: &Event) -> Vec<(String, u64)> {
    let mut left = weight(event);
    let mut counts = Vec::new();
    if let Some(Value::Texts(actions)) = event.get(Field::DigestActions).filter(|_| is_sum(event)) {
        for (action, count) in actions.iter().filter_map(|text| counted(text)) {
            let count = count.min(left);
            left -= count;
            counts.push((action.to_owned(), count));
        }
    }
    counts.push((event.action_name().to_owned(), left));
    counts.retain(|(_, count)| *count > 0);
    counts
}

fn counted(text: &str) -> Option<(&str, u64)> {
    let (action, count) = text.rsplit_once('=')?;
    Some((action, count.parse().ok()?))
}

/// Takes out of the keys of a closed window those that are told together.
pub(super) fn take_others(buckets: &mut Vec<(String, Bucket)>, rules: &NoticeRules) -> Vec<(String, Bucket)> {
    let used: u64 = buckets.iter().map(|(_, bucket)| bucket.slots).sum();
    let free = usize::try_from(rules.keys.saturating_sub(used)).unwrap_or(usize::MAX);
    let waits = |(key, bucket): &(String, Bucket)| key == OTHERS || bucket.slots == 0 && bucket.held > 0;
    let (mut waiting, told): (Vec<_>, Vec<_>) = std::mem::take(buckets).into_iter().partition(waits);
    let rank = |(key, bucket): &(String, Bucket)| (key == OTHERS, std::cmp::Reverse((bucket.level(), bucket.held)));
    waiting.sort_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| a.0.cmp(&b.0)));
    let no_room = waiting.iter().position(|(key, _)| key == OTHERS);
    let others = waiting.split_off(no_room.unwrap_or(waiting.len()).min(free));
    *buckets = told;
    buckets.append(&mut waiting);
    others
}

/// Several keys as one bucket, under the name that keys share; `None` of none.
pub(super) fn together(buckets: impl IntoIterator<Item = Bucket>) -> Option<Bucket> {
    let mut buckets = buckets.into_iter();
    let mut all = buckets.next()?;
    let mut sources: HashSet<_> = all.sources().collect();
    for bucket in buckets {
        sources.extend(bucket.sources());
        all.absorb(bucket);
    }
    all.draft.set(Field::TransformKey, OTHERS);
    if let Some(tally) = &mut all.tally {
        tally.sources_in_all(sources.len());
    }
    Some(all)
}

#[cfg(test)]
#[path = "notices_tests.rs"]
mod tests;
