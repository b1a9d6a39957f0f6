//! What the events of a digest were: counts by action, who and what took part, how grave it was.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use trapline_schemas::{Event, Field, Timestamp, Value};

use super::bucket::Bucket;
use super::notices;

/// Longest list of a digest.
pub(super) const LIST_MAX: usize = 32;
/// Most different actions told apart.
const ACTIONS_MAX: usize = 48;
/// The action of those beyond.
const OTHER: &str = "other";

/// What a digest takes over from its events as long as they agree.
const COMMON: &[Field] = &[
    Field::DestinationAddress,
    Field::DestinationIp,
    Field::DestinationPort,
    Field::BenignName,
    Field::BenignReason,
    Field::BenignWalk,
    Field::DecoyId,
    Field::DecoyPersonality,
    Field::DecoyService,
    Field::IncidentId,
    Field::IncidentPrevious,
    Field::SampleOneIn,
    Field::SinkName,
    Field::SinkType,
    Field::SourceZoneInside,
    Field::SourceOwner,
    Field::SourceSharedAddress,
    Field::SourceSpoofable,
    Field::SourceTags,
    Field::SourceZone,
    Field::NetworkTransport,
    Field::SourceAddress,
    Field::SourceAsNumber,
    Field::SourceAsName,
    Field::SourceDomain,
    Field::SourceGeoCity,
    Field::SourceGeoContinent,
    Field::SourceGeoCountry,
    Field::SourceGeoCountryName,
    Field::SourceGeoLat,
    Field::SourceGeoLon,
    Field::SourceGeoRegion,
    Field::SourceIp,
    Field::SourceMac,
    Field::UserDomain,
    Field::UserName,
];

/// The levels of touch, the least first.
const LEVELS: [&str; 3] = ["contact", "intent", "proof"];

/// What is known of the events of one key and window.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Tally {
    /// How many of those held back had each action.
    actions: BTreeMap<String, u64>,
    decoys: Vec<String>,
    ports: Vec<i64>,
    users: Vec<String>,
    pub(super) sources: Vec<IpAddr>,
    /// The highest level of touch, from 1; 0: none.
    pub(super) level: usize,
    risk: Option<f64>,
    /// Different sources beyond the list; known only where keys came together, which no row says.
    #[serde(skip)]
    sources_beyond: usize,
}

impl Tally {
    /// Begins with what the first event has; the draft loses what a later one has otherwise.
    pub(super) fn begin(draft: &mut Event, first: &Event) -> Self {
        for field in COMMON {
            draft.set_some(*field, first.get(*field).cloned());
        }
        draft.set(Field::DigestSample, first.id);
        Self::default()
    }

    /// Adds who and what took part in an event; that is of all events of the window, counts are of those held back.
    pub(super) fn add(&mut self, draft: &mut Event, event: &Event, room: &mut usize) {
        keep_common(draft, event);
        let user = event.text(Field::UserName).filter(|name| !name.is_empty());
        list(&mut self.decoys, event.text(Field::DecoyId).map(SmolStr::as_str), room);
        list(&mut self.users, user.map(SmolStr::as_str), room);
        list(&mut self.ports, event.int(Field::DestinationPort).as_ref(), room);
        list(&mut self.sources, event.ip(Field::SourceIp).as_ref(), room);
        self.level = self.level.max(level(event));
        if let Some(Value::Float(risk)) = event.get(Field::EventRiskScore) {
            self.risk = Some(self.risk.unwrap_or(0.0).max(*risk));
        }
    }

    /// Counts events that were held back.
    pub(super) fn count(&mut self, action: &str, events: u64) {
        let known = self.actions.contains_key(action) || self.actions.len() < ACTIONS_MAX;
        let action = if known { action } else { OTHER };
        let count = self.actions.entry(action.to_owned()).or_default();
        *count = count.saturating_add(events);
    }

    /// Counts an event that may be a sum of others: as these, with who and what took part in them.
    pub(super) fn count_sum(&mut self, event: &Event, room: &mut usize) {
        for (action, events) in notices::counts(event) {
            self.count(&action, events);
        }
        if !notices::is_sum(event) {
            return;
        }
        for decoy in texts_of(event, Field::ScanDecoys) {
            list(&mut self.decoys, Some(decoy.as_str()), room);
        }
        for user in texts_of(event, Field::DigestUsers) {
            list(&mut self.users, Some(user.as_str()), room);
        }
        if let Some(Value::Ints(ports)) = event.get(Field::ScanPorts) {
            ports.iter().for_each(|port| list(&mut self.ports, Some(port), room));
        }
        if let Some(Value::Ips(sources)) = event.get(Field::DigestSources) {
            let sources = sources.iter();
            sources.for_each(|source| list(&mut self.sources, Some(source), room));
        }
    }

    /// Takes in what another key counted, and out of the draft what theirs has otherwise.
    pub(super) fn absorb(&mut self, draft: &mut Event, other: Self, theirs: &Event) {
        keep_common(draft, theirs);
        let mut room = usize::MAX;
        other
            .actions
            .iter()
            .for_each(|(action, events)| self.count(action, *events));
        other
            .decoys
            .iter()
            .for_each(|decoy| list(&mut self.decoys, Some(decoy.as_str()), &mut room));
        other
            .users
            .iter()
            .for_each(|user| list(&mut self.users, Some(user.as_str()), &mut room));
        other
            .ports
            .iter()
            .for_each(|port| list(&mut self.ports, Some(port), &mut room));
        let sources = other.sources.iter();
        sources.for_each(|source| list(&mut self.sources, Some(source), &mut room));
        self.level = self.level.max(other.level);
        self.risk = match (self.risk, other.risk) {
            (Some(ours), Some(theirs)) => Some(ours.max(theirs)),
            (ours, theirs) => ours.or(theirs),
        };
    }

    /// Says how many different sources there are in all.
    pub(super) fn sources_in_all(&mut self, count: usize) {
        self.sources_beyond = count.saturating_sub(self.sources.len());
    }

    /// Items in all lists.
    pub(super) fn items(&self) -> usize {
        self.decoys.len() + self.ports.len() + self.users.len() + self.sources.len()
    }

    /// Writes what is known into the derived event.
    pub(super) fn tell(&self, bucket: &Bucket, event: &mut Event) {
        let span = bucket.last.saturating_sub(bucket.first);
        event.set(Field::EventDuration, span.saturating_mul(1000));
        event.set(Field::EventStart, Timestamp::from_micros(bucket.first));
        event.set_some(Field::EventRiskScore, self.risk);
        event.set(Field::DigestActions, self.by_count());
        event.set(Field::DigestPassed, i64::try_from(bucket.passed).unwrap_or(i64::MAX));
        event.set_some(
            Field::TouchLevel,
            self.level.checked_sub(1).and_then(|at| LEVELS.get(at)).copied(),
        );
        if let Some(count) = length(&self.decoys) {
            event.set(Field::ScanDecoyCount, count);
            event.set(Field::ScanDecoys, texts(&self.decoys));
        }
        if let Some(count) = length(&self.ports) {
            event.set(Field::ScanPortCount, count);
            event.set(Field::ScanPorts, sorted(&self.ports));
        }
        if let Some(count) = length(&self.users) {
            event.set(Field::DigestUserCount, count);
            event.set(Field::DigestUsers, texts(&self.users));
        }
        if let Some(count) = length(&self.sources) {
            let beyond = i64::try_from(self.sources_beyond).unwrap_or(i64::MAX);
            event.set(Field::DigestSourceCount, count.saturating_add(beyond));
        }
        if self.sources.len() > 1 {
            event.set(Field::DigestSources, sorted(&self.sources));
        }
    }

    /// `decoy-credential=380`, the most frequent first.
    fn by_count(&self) -> Vec<SmolStr> {
        let mut actions: Vec<_> = self.actions.iter().collect();
        actions.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        let shown = |(name, count): (&String, &u64)| SmolStr::from(format!("{name}={count}"));
        actions.into_iter().map(shown).collect()
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts, addresses and finite numbers are always JSON")
    }

    pub(super) fn decode(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }
}

/// Takes out of a draft what an event has otherwise.
fn keep_common(draft: &mut Event, event: &Event) {
    for field in COMMON {
        if draft.get(*field).is_some() && draft.get(*field) != event.get(*field) {
            draft.remove(*field);
        }
    }
}

fn texts_of(event: &Event, field: Field) -> &[SmolStr] {
    match event.get(field) {
        Some(Value::Texts(texts)) => texts,
        _ => &[],
    }
}

/// Puts a new item into a list with room.
fn list<B: ?Sized + PartialEq + ToOwned>(list: &mut Vec<B::Owned>, item: Option<&B>, room: &mut usize) {
    let Some(item) = item else { return };
    if list.len() < LIST_MAX && *room > 0 && list.iter().all(|known| known.borrow() != item) {
        list.push(item.to_owned());
        *room -= 1;
    }
}

fn length<T>(list: &[T]) -> Option<i64> {
    i64::try_from(list.len()).ok().filter(|length| *length > 0)
}

fn sorted<T: Clone + Ord>(list: &[T]) -> Vec<T> {
    let mut list = list.to_vec();
    list.sort_unstable();
    list
}

fn texts(list: &[String]) -> Vec<SmolStr> {
    sorted(list).into_iter().map(SmolStr::from).collect()
}

/// The place of an event's level of touch, from 1.
fn level(event: &Event) -> usize {
    let level = event.text(Field::TouchLevel);
    let place = LEVELS.iter().position(|name| level.is_some_and(|level| level == name));
    place.map_or(0, |place| place + 1)
}
