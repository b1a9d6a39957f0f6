//! Makes events of hits. No I/O; the only state is what is remembered of sources.

use std::net::IpAddr;
use std::sync::Arc;

use trapline_schemas::derive::risk::{self, Circumstances};
use trapline_schemas::{Action, Event, Field, Timestamp, Value, ids, text};

use super::benign::Seen;
use super::counts::{Counts, Dropped, FOLDS, Left};
use super::incidents::{self, Incident, Incidents};
use super::missed::Misses;
use super::sources::{Folded, Sources};
use super::zones::Zone;
use super::{HostEvent, Identity, Rules, Settings};
use crate::decoy::Secrets;
use crate::decoy::services::Transport;
use crate::roles::{Capture, Contact, Hit, Missed, OfferedSecret, Touch};

/// Longest secret in clear, characters: an NTLMv2 response, as crackers of passwords read it, has about 700.
const SECRET_CHARS_MAX: usize = 2048;

/// Makes events.
#[derive(Debug)]
pub(super) struct Maker {
    settings: Settings,
    sources: Sources,
    incidents: Incidents,
    misses: Misses,
    counts: Counts,
    /// What an earlier run counted and did not tell.
    left: Left,
}

impl Maker {
    pub(super) fn new(mut settings: Settings) -> Self {
        let state = std::mem::take(&mut settings.state);
        let (counted, state) = state.into_iter().partition(|(key, _)| key.starts_with(FOLDS));
        let (counts, left) = Counts::restore(counted);
        Self {
            counts,
            left,
            incidents: Incidents::restore(&settings.identity.key, state),
            settings,
            sources: Sources::default(),
            misses: Misses::default(),
        }
    }

    /// Makes events by other rules from now on.
    pub(super) fn settle(&mut self, rules: Rules) {
        self.settings.rules = rules;
        self.sources.forget_benign();
    }

    /// State that changed with the events made since it was asked last: it belongs in their commit.
    pub(super) fn state(&mut self) -> Vec<(String, Option<Vec<u8>>)> {
        let mut rows = self.incidents.changes();
        rows.extend(self.counts.take_gone());
        rows
    }

    /// Counts that changed since it was asked last: a kill must not cost them.
    pub(super) fn count_rows(&mut self) -> Vec<(String, Option<Vec<u8>>)> {
        self.counts.changes(self.sources.folds(), self.misses.open())
    }

    /// Events of what an earlier run had counted when it was killed.
    pub(super) fn left_over(&mut self) -> Vec<Event> {
        let Left { folded, dropped } = std::mem::take(&mut self.left);
        self.counted_events(folded, dropped)
    }

    /// The event of a hit; `None` if its source has had its share of this minute.
    pub(super) fn event(&mut self, hit: Hit) -> Option<Event> {
        let address = hit.contact.peer.ip();
        let limit = self.settings.rules.events_per_source_per_minute;
        let source = self.sources.admit(address, hit.at, limit)?;
        let several = source.touched(&hit.contact.spec.name, hit.at);
        let key = &self.settings.identity.key;
        let incident = match source.incident {
            Some(incident) if incident.day == incidents::day(hit.at) => incident,
            _ => *source.incident.insert(self.incidents.of(key, address, hit.at)),
        };
        let touch = hit.touch.max(if several { Touch::Intent } else { Touch::Contact });
        let zone = self.settings.rules.zones.of(address);
        let about = About {
            zone,
            touch,
            incident,
            risk: risk(&hit, zone, several),
        };
        let mut event = Event::new(ids::fresh(hit.at), hit.at, hit.action);
        about.place(&mut event, &hit.contact, &self.settings);
        for (field, value) in hit.facts {
            event.set(field, value);
        }
        if let Some(secret) = &hit.secret {
            offer(&mut event, secret, hit.contact.spec.secrets, &self.settings.identity);
        }
        if let Some(capture) = hit.capture {
            payload(&mut event, *capture, &self.settings.identity);
        }
        let seen = Seen {
            event: &event,
            secret: hit.secret.as_ref().map(|secret| &*secret.bytes),
            touch,
            said: hit.touch,
            several,
            inside: zone.inside,
            source: address,
            decoy: &hit.contact.spec.name,
            session: hit.contact.session,
        };
        if let Some(mark) = self.settings.rules.benign.judge(&seen, &mut source.benign) {
            mark.write(&mut event);
        }
        Some(event)
    }

    /// Writes who this host is into an event that others made.
    pub(super) fn stamp(&self, event: &mut Event) {
        self.settings.identity.stamp(event);
    }

    /// The event of something that trapline tells about itself.
    pub(super) fn host(&self, told: HostEvent) -> Event {
        let id = told.id.unwrap_or_else(|| ids::fresh(told.at));
        let mut event = Event::new(id, told.at, told.action);
        self.settings.identity.stamp(&mut event);
        for (field, value) in told.facts {
            event.set(field, value);
        }
        event
    }

    /// Counts what the kernel dropped.
    pub(super) fn miss(&mut self, missed: Missed) {
        self.misses.add(missed);
    }

    /// Whether anything is counted that no event tells of yet.
    pub(super) fn is_counting(&self) -> bool {
        self.sources.is_folding() || !self.misses.is_empty()
    }

    /// Events of what was counted in the minutes before `now`.
    pub(super) fn counted_before(&mut self, now: Timestamp) -> Vec<Event> {
        let (folded, missed) = (self.sources.folded_before(now), self.misses.before(now));
        self.counted_events(folded, missed.iter().map(Dropped::from).collect())
    }

    /// Events of all that was counted.
    pub(super) fn counted(&mut self) -> Vec<Event> {
        let (folded, missed) = (self.sources.folded(), self.misses.all());
        self.counted_events(folded, missed.iter().map(Dropped::from).collect())
    }

    fn counted_events(&mut self, folded: Vec<Folded>, dropped: Vec<Dropped>) -> Vec<Event> {
        folded.iter().for_each(|folded| self.counts.told(folded));
        dropped.iter().for_each(|dropped| self.counts.told_of_decoy(dropped));
        let dropped: Vec<_> = dropped.iter().map(|dropped| self.dropped_event(dropped)).collect();
        let folded = folded.into_iter().map(|folded| self.folded_event(folded));
        folded.chain(dropped).collect()
    }

    fn dropped_event(&self, dropped: &Dropped) -> Event {
        let mut event = Event::new(ids::fresh(dropped.first), dropped.first, Action::JournalGap);
        event.set(Field::DecoyId, dropped.decoy.clone());
        event.set(Field::DecoyService, dropped.service.clone());
        event.set(Field::EventStart, dropped.first);
        event.set(Field::EventEnd, dropped.last);
        event.set(
            Field::EventReason,
            "the kernel dropped them, they came faster than they were read",
        );
        event.set(Field::FindingHits, i64::try_from(dropped.datagrams).unwrap_or(i64::MAX));
        event.set(Field::NetworkTransport, "udp");
        self.settings.identity.stamp(&mut event);
        event
    }

    fn folded_event(&mut self, folded: Folded) -> Event {
        let Folded {
            source,
            hits,
            first,
            last,
        } = folded;
        let identity = Arc::clone(&self.settings.identity);
        let incident = self.incidents.of(&identity.key, source, first);
        let mut event = Event::new(ids::fresh(first), first, Action::SourceFolded);
        event.set(Field::EventStart, first);
        event.set(Field::EventEnd, last);
        event.set(Field::FindingHits, i64::try_from(hits).unwrap_or(i64::MAX));
        event.set(Field::IncidentId, incident.id);
        event.set(Field::SourceIp, source);
        event.set_some(Field::SourceOwner, self.settings.rules.owners.of(source).cloned());
        set_zone(&mut event, self.settings.rules.zones.of(source), None);
        identity.stamp(&mut event);
        event
    }
}

/// What the recorder knows of a hit beyond what it was told.
struct About<'a> {
    zone: &'a Zone,
    touch: Touch,
    incident: Incident,
    risk: f64,
}

impl About<'_> {
    /// Writes who touched what, where, and how it is to be read. In the order of the catalogue, in which an event keeps
    /// its facts: so each is put behind the one before and none has to move, for every hit.
    fn place(&self, event: &mut Event, contact: &Contact, settings: &Settings) {
        let (identity, source) = (&settings.identity, contact.peer.ip());
        set_destination(event, contact);
        identity.stamp_time(event);
        event.set(Field::EventRiskScore, self.risk);
        set_decoy(event, contact);
        event.set(Field::IncidentId, self.incident.id);
        event.set_some(Field::IncidentPrevious, self.incident.previous);
        event.set(Field::SessionId, contact.session);
        identity.stamp_place(event);
        set_source(event, source, settings);
        set_zone(event, self.zone, Some(is_spoofable(contact)));
        event.set(Field::TouchLevel, self.touch.name());
        set_network(event, contact);
        identity.stamp_observer(event);
        event.set_some(Field::SourceDomain, settings.hosts.name(source));
        event.set(Field::SourceIp, source);
        event.set_some(Field::SourceMac, settings.hosts.mac(source));
        event.set(Field::SourcePort, contact.peer.port());
    }
}

fn set_destination(event: &mut Event, contact: &Contact) {
    if !contact.local.ip().is_unspecified() {
        event.set(Field::DestinationIp, contact.local.ip());
    }
    event.set(Field::DestinationPort, contact.local.port());
}

fn set_decoy(event: &mut Event, contact: &Contact) {
    let spec = &contact.spec;
    event.set(Field::DecoyId, spec.name.clone());
    event.set(Field::DecoyPersonality, spec.personality.name.clone());
    event.set(Field::DecoyService, spec.service.name);
}

/// Whether anybody could have written this address: a datagram proves nothing.
fn is_spoofable(contact: &Contact) -> bool {
    contact.transport == Transport::Udp
}

fn set_network(event: &mut Event, contact: &Contact) {
    let transport = contact.transport;
    let flow = ids::community(transport.number(), contact.peer, contact.local);
    event.set(Field::NetworkCommunityId, flow);
    event.set(Field::NetworkTransport, transport.name());
}

/// Who answers for the source, and whether many share its address.
fn set_source(event: &mut Event, source: IpAddr, settings: &Settings) {
    event.set_some(Field::SourceOwner, settings.rules.owners.of(source).cloned());
    event.set_some(
        Field::SourceSharedAddress,
        settings.rules.shared.of(source).map(|()| true),
    );
}

fn set_zone(event: &mut Event, zone: &Zone, spoofable: Option<bool>) {
    event.set(Field::SourceZoneInside, zone.inside);
    event.set_some(Field::SourceSpoofable, spoofable);
    event.set(Field::SourceZone, zone.name.clone());
}

/// A secret that was offered, as the policy allows.
fn offer(event: &mut Event, secret: &OfferedSecret, policy: Secrets, identity: &Identity) {
    let length = i64::try_from(secret.bytes.len()).unwrap_or(i64::MAX);
    if event.get(Field::CredentialAccepted).is_none() {
        event.set(Field::CredentialAccepted, false);
    }
    event.set(Field::CredentialSecretLength, length);
    match policy {
        Secrets::Hmac => event.set(Field::CredentialSecretHmac, identity.key.hmac_hex(&secret.bytes)),
        Secrets::Clear => event.set(
            Field::CredentialSecret,
            text::clean_within(&secret.bytes, SECRET_CHARS_MAX),
        ),
        Secrets::None => {}
    }
}

/// Captured bytes, with `*` in place of secrets.
fn payload(event: &mut Event, mut capture: Capture, identity: &Identity) {
    for range in &capture.secrets {
        if let Some(secret) = capture.kept.get_mut(range.clone()) {
            secret.fill(b'*');
        }
    }
    event.set(Field::PayloadSize, i64::try_from(capture.seen).unwrap_or(i64::MAX));
    if capture.has_secret {
        // Of the digest, because the bytes are gone: as hard to guess as an HMAC of the bytes.
        event.set(Field::PayloadHmac, identity.key.hmac_hex(&capture.sha256));
        event.set(Field::PayloadMasked, true);
    } else {
        event.set(Field::PayloadSha256, ids::hex(&capture.sha256));
    }
    if !capture.kept.is_empty() {
        event.set(Field::PayloadBase64, Value::Bytes(capture.kept.into()));
    }
}

fn risk(hit: &Hit, zone: &Zone, several_decoys: bool) -> f64 {
    let circumstances = Circumstances {
        inside: zone.inside,
        unverified: is_spoofable(&hit.contact),
        several_decoys,
        ..Circumstances::default()
    };
    risk::risk(hit.action, &circumstances)
}
