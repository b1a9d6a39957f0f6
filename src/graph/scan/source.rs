//! What is remembered of one source: the places that it touched, and its finding if it has one.
//!
//! Layout: a line of JSON, and the body of the draft of its findings.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use trapline_schemas::derive::risk::{self, Circumstances};
use trapline_schemas::{Action, Event, Field, Timestamp, Value, codec, ids};

use super::{NODE, ScanSpec, UPDATE_EVERY};
use crate::journal::Offset;

/// Most places remembered of one source.
pub const TOUCHED_MAX: usize = 512;

/// What a finding takes over from the first contact.
const KEPT: &[Field] = &[
    Field::IncidentId,
    Field::Site,
    Field::SourceZoneInside,
    Field::SourceOwner,
    Field::SourceSharedAddress,
    Field::SourceTags,
    Field::SourceZone,
    Field::ObserverHostname,
    Field::ObserverName,
    Field::ObserverVersion,
    Field::OrganizationId,
    Field::SourceDomain,
    Field::SourceIp,
    Field::SourceMac,
];

/// What it takes over from the last contact, if each place was touched for a reason that explains a walk.
const MARK: &[Field] = &[Field::BenignName, Field::BenignReason, Field::BenignWalk];

/// Where a finding stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    New,
    Updated,
    Closed,
}

impl Status {
    const fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Updated => "updated",
            Self::Closed => "closed",
        }
    }
}

/// One source.
#[derive(Debug)]
pub(super) struct Source {
    facts: Facts,
    draft: Event,
    /// The first contact that the journal's row, if there is one, does not count.
    unsaved: Option<Offset>,
    /// Whether something was told that the journal's row knows nothing of.
    was_told: bool,
    /// Whether the journal has a row.
    has_row: bool,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Facts {
    places: Vec<Place>,
    /// Contacts at places that found no room.
    elsewhere: u64,
    last: i64,
    /// Whether each contact so far was a datagram, or each a connection.
    udp: bool,
    tcp: bool,
    finding: Option<Finding>,
    /// The offset after that of the last contact counted; what is read again before it is counted already.
    #[serde(default)]
    counted: Offset,
}

/// A port at an address of ours, through a decoy.
#[derive(Debug, Serialize, Deserialize)]
struct Place {
    port: i64,
    address: Option<IpAddr>,
    decoy: String,
    first: i64,
    last: i64,
    hits: u64,
    /// Whether the last contact here was one that is known as benign, and would be if it were a walk.
    #[serde(default)]
    explained: bool,
}

/// A finding that is open.
#[derive(Debug, Serialize, Deserialize)]
struct Finding {
    first: i64,
    told: i64,
    /// How many places had been told of.
    places: usize,
    /// Its events so far.
    events: u64,
}

impl Source {
    pub(super) fn new(event: &Event) -> Self {
        let mut draft = Event::new(event.id, event.at, Action::Scan);
        for field in KEPT {
            draft.set_some(*field, event.get(*field).cloned());
        }
        Self {
            facts: Facts::default(),
            draft,
            unsaved: None,
            was_told: false,
            has_row: false,
        }
    }

    /// Whether a contact is counted already.
    pub(super) fn has_counted(&self, offset: Offset) -> bool {
        offset < self.facts.counted
    }

    /// The offset after that of the last contact counted.
    #[cfg(test)]
    pub(super) fn counted(&self) -> Offset {
        self.facts.counted
    }

    /// Whether nothing is remembered but what was counted.
    pub(super) fn is_settled(&self) -> bool {
        self.facts.places.is_empty() && !self.is_open()
    }

    /// Whether what is read from `from` on says nothing of it.
    pub(super) fn is_before(&self, from: Offset) -> bool {
        self.facts.counted <= from
    }

    /// Whether the row must be written for a restart that reads again from `from` on. What was last touched before
    /// `before` begins anew with the next contact.
    pub(super) fn must_be_saved(&self, from: Offset, before: i64) -> bool {
        let is_over = !self.is_open() && self.last() < before;
        self.was_told || (!is_over && self.unsaved.is_some_and(|first| first < from))
    }

    /// The row, which the journal is to have from now on.
    pub(super) fn save(&mut self) -> Vec<u8> {
        (self.unsaved, self.was_told, self.has_row) = (None, false, true);
        self.encode()
    }

    /// Whether the journal has a row of it.
    pub(super) fn has_row(&self) -> bool {
        self.has_row
    }

    /// Places remembered.
    pub(super) fn places(&self) -> usize {
        self.facts.places.len()
    }

    /// When it was seen last.
    pub(super) fn last(&self) -> i64 {
        self.facts.last
    }

    pub(super) fn is_open(&self) -> bool {
        self.facts.finding.is_some()
    }

    /// Forgets places that were not touched since; without any it begins anew with `event`.
    pub(super) fn forget(&mut self, before: i64, event: &Event) {
        self.facts.places.retain(|place| place.last >= before);
        if self.facts.places.is_empty() {
            self.settle();
            self.draft = Self::new(event).draft;
        }
    }

    /// Forgets all but what was counted.
    fn settle(&mut self) {
        self.facts = Facts {
            last: self.facts.last,
            counted: self.facts.counted,
            ..Facts::default()
        };
        self.unsaved = None;
    }

    /// Its finding was told of for the last time.
    pub(super) fn close(&mut self) {
        self.settle();
        self.was_told = true;
    }

    /// Counts a contact; a place that is new is remembered if there is room.
    pub(super) fn touch(&mut self, offset: Offset, event: &Event, port: i64, has_room: bool) {
        self.unsaved.get_or_insert(offset);
        let at = event.at.micros();
        let facts = &mut self.facts;
        facts.counted = offset + 1;
        facts.last = facts.last.max(at);
        facts.udp |= event.action == Action::UdpProbe;
        facts.tcp |= event.action == Action::Connect;
        let address = event.ip(Field::DestinationIp);
        let explained = explains_walk(event);
        let known = facts.places.iter_mut();
        let mut known = known.filter(|place| place.port == port && place.address == address);
        if let Some(place) = known.next() {
            place.hits += 1;
            place.first = place.first.min(at);
            place.last = place.last.max(at);
            place.explained = explained;
        } else if has_room && facts.places.len() < TOUCHED_MAX {
            let decoy = event.text(Field::DecoyId).map(SmolStr::to_string);
            facts.places.push(Place {
                port,
                address,
                decoy: decoy.unwrap_or_default(),
                first: at,
                last: at,
                hits: 1,
                explained,
            });
        } else {
            facts.elsewhere += 1;
        }
        // It may be known better by now: the incident of the day, what it was recognised as.
        for field in [Field::IncidentId, Field::SourceMac].iter().chain(MARK) {
            self.draft.set_some(*field, event.get(*field).cloned());
        }
        self.draft
            .set_some(Field::EventRiskScore, event.get(Field::EventRiskScore).cloned());
    }

    /// Whether it touched enough.
    pub(super) fn is_scan(&self, spec: &ScanSpec) -> bool {
        if self.places() < spec.ports.min(spec.addresses) {
            return false;
        }
        self.ports().len() >= spec.ports || self.addresses() >= spec.addresses
    }

    fn ports(&self) -> BTreeSet<i64> {
        self.facts.places.iter().map(|place| place.port).collect()
    }

    /// Most addresses at which one port was touched.
    fn addresses(&self) -> usize {
        let at = |port| self.facts.places.iter().filter(move |place| place.port == port).count();
        self.ports().into_iter().map(at).max().unwrap_or(0)
    }

    pub(super) fn open(&mut self, at: i64) {
        let first = self.facts.places.iter().map(|place| place.first).min();
        self.facts.finding = Some(Finding {
            first: first.unwrap_or(at),
            told: at,
            places: self.places(),
            events: 1,
        });
        self.was_told = true;
    }

    /// Whether more was touched than was told, long enough ago.
    pub(super) fn is_due_for_update(&self, at: i64) -> bool {
        let finding = self.facts.finding.as_ref();
        finding.is_some_and(|finding| self.places() > finding.places && at >= finding.told + UPDATE_EVERY)
    }

    pub(super) fn update(&mut self, at: i64) {
        let places = self.places();
        if let Some(finding) = &mut self.facts.finding {
            finding.told = at;
            finding.places = places;
            finding.events += 1;
        }
        self.was_told = true;
    }

    /// When its finding is to be told of next, if nothing more comes.
    pub(super) fn due(&self, quiet: i64) -> i64 {
        let over = self.facts.last + quiet;
        match &self.facts.finding {
            Some(finding) if self.places() > finding.places => over.min(finding.told + UPDATE_EVERY),
            _ => over,
        }
    }

    /// The finding as it stands.
    pub(super) fn finding(&self, status: Status, at: i64) -> Event {
        let (key, first, number) = self.identity();
        let mut event = self.draft.clone();
        event.id = ids::derived(
            NODE,
            &format!("{key} {number} {}", status.name()),
            Timestamp::from_micros(first),
        );
        event.at = Timestamp::from_micros(at);
        event.set(Field::EventCreated, event.at);
        event.set(Field::EventStart, Timestamp::from_micros(first));
        event.set(Field::EventEnd, Timestamp::from_micros(self.facts.last));
        event.set(Field::EventDuration, (self.facts.last - first).saturating_mul(1000));
        event.set(
            Field::FindingId,
            ids::derived(NODE, &key, Timestamp::from_micros(first)),
        );
        event.set(Field::FindingStatus, status.name());
        event.set(Field::TouchLevel, "intent");
        self.describe(&mut event, first);
        self.judge(&mut event);
        event
    }

    /// A finding is known as benign if all that it is made of is, and has no risk then if it was declared to have none.
    fn judge(&self, event: &mut Event) {
        let is_explained = self.facts.places.iter().all(|place| place.explained);
        let has_no_risk = self.draft.get(Field::EventRiskScore) == Some(&Value::Float(0.0));
        match is_explained {
            true if has_no_risk => event.set(Field::EventRiskScore, 0.0),
            true => {}
            false => MARK.iter().for_each(|field| drop(event.remove(*field))),
        }
    }

    fn identity(&self) -> (String, i64, u64) {
        let key = self
            .draft
            .ip(Field::SourceIp)
            .map(|ip| ip.to_string())
            .unwrap_or_default();
        let finding = self.facts.finding.as_ref();
        finding.map_or((key.clone(), 0, 0), |finding| (key, finding.first, finding.events))
    }

    fn describe(&self, event: &mut Event, first: i64) {
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let ports = self.ports();
        let decoys: BTreeSet<&str> = self.facts.places.iter().map(|place| place.decoy.as_str()).collect();
        let hits = self.facts.elsewhere + self.facts.places.iter().map(|place| place.hits).sum::<u64>();
        let minutes = (self.facts.last - first).max(1_000_000) as f64 / 60_000_000.0;
        let kind = if ports.len() >= self.addresses() {
            "vertical"
        } else {
            "horizontal"
        };
        event.set(Field::FindingHits, i64::try_from(hits).unwrap_or(i64::MAX));
        event.set(Field::ScanKind, kind);
        event.set(Field::ScanPortCount, count(ports.len()));
        event.set(Field::ScanPorts, Value::Ints(ports.into_iter().collect()));
        event.set(Field::ScanDecoyCount, count(decoys.len()));
        event.set(
            Field::ScanDecoys,
            Value::Texts(decoys.into_iter().map(SmolStr::new).collect()),
        );
        event.set(Field::ScanRate, (hits as f64 / minutes * 10.0).round() / 10.0);
        let transport = match (self.facts.tcp, self.facts.udp) {
            (true, false) => Some("tcp"),
            (false, true) => Some("udp"),
            _ => None,
        };
        event.set_some(Field::NetworkTransport, transport);
        event.set(Field::SourceSpoofable, !self.facts.tcp);
        let circumstances = Circumstances {
            inside: event.get(Field::SourceZoneInside) == Some(&Value::Bool(true)),
            unverified: !self.facts.tcp,
            ..Circumstances::default()
        };
        event.set(Field::EventRiskScore, risk::risk(Action::Scan, &circumstances));
    }

    fn encode(&self) -> Vec<u8> {
        let mut row = serde_json::to_vec(&self.facts).expect("texts, addresses and numbers are always JSON");
        row.push(b'\n');
        codec::encode_into(&self.draft, &mut row);
        row
    }

    pub(super) fn decode(row: &[u8]) -> Option<Self> {
        let end = row.iter().position(|byte| *byte == b'\n')?;
        Some(Self {
            facts: serde_json::from_slice(row.get(..end)?).ok()?,
            draft: codec::decode(row.get(end + 1..)?).ok()?,
            unsaved: None,
            was_told: false,
            has_row: true,
        })
    }
}

/// Whether a contact is known as benign by what explains more than this contact.
fn explains_walk(event: &Event) -> bool {
    event.get(Field::BenignWalk) == Some(&Value::Bool(true))
}
