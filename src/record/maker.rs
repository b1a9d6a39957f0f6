//! Makes events of hits. No I/O; the only state is what is remembered of sources.

use std::sync::Arc;

use trapline_schemas::derive::risk::{self, Circumstances};
use trapline_schemas::{Action, Event, Field, Timestamp, Value, ids, text};

use super::incidents::{self, Incidents};
use super::missed::Misses;
use super::sources::{Folded, Sources};
use super::zones::Zone;
use super::{HostEvent, Identity, Settings};
use crate::decoy::Secrets;
use crate::decoy::services::Transport;
use crate::roles::{Capture, Contact, Hit, Missed, OfferedSecret, Touch};

/// Makes events.
#[derive(Debug)]
pub(super) struct Maker {
    settings: Settings,
    sources: Sources,
    incidents: Incidents,
    misses: Misses,
}

impl Maker {
    pub(super) fn new(mut settings: Settings) -> Self {
        let state = std::mem::take(&mut settings.state);
        Self {
            incidents: Incidents::restore(&settings.identity.key, state),
            settings,
            sources: Sources::default(),
            misses: Misses::default(),
        }
    }

    /// State that changed with the events made since it was asked last: it belongs in their commit.
    pub(super) fn state(&mut self) -> Vec<(String, Option<Vec<u8>>)> {
        self.incidents.changes()
    }

    /// The event of a hit; `None` if its source has had its share of this minute.
    pub(super) fn event(&mut self, hit: Hit) -> Option<Event> {
        let address = hit.contact.peer.ip();
        let limit = self.settings.events_per_source_per_minute;
        let source = self.sources.admit(address, hit.at, limit)?;
        let several = source.touched(&hit.contact.spec.name, hit.at);
        let key = &self.settings.identity.key;
        let incident = match source.incident {
            Some(incident) if incident.day == incidents::day(hit.at) => incident,
            _ => *source.incident.insert(self.incidents.of(key, address, hit.at)),
        };
        let touch = if several {
            hit.touch.max(Touch::Intent)
        } else {
            hit.touch
        };
        let zone = self.settings.zones.of(address);
        let mut event = Event::new(ids::fresh(hit.at), hit.at, hit.action);
        place(&mut event, &hit.contact);
        event.set(Field::IncidentId, incident.id);
        event.set_some(Field::IncidentPrevious, incident.previous);
        event.set(Field::TouchLevel, touch.name());
        set_zone(&mut event, zone);
        event.set(Field::EventRiskScore, risk(&hit, zone, several));
        self.settings.identity.stamp(&mut event);
        for (field, value) in hit.facts {
            event.set(field, value);
        }
        if let Some(secret) = hit.secret {
            offer(&mut event, &secret, hit.contact.spec.secrets, &self.settings.identity);
        }
        if let Some(capture) = hit.capture {
            payload(&mut event, *capture, &self.settings.identity);
        }
        Some(event)
    }

    /// The event of something that trapline tells about itself.
    pub(super) fn host(&self, told: HostEvent) -> Event {
        let mut event = Event::new(ids::fresh(told.at), told.at, told.action);
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
        self.counted_events(folded, missed)
    }

    /// Events of all that was counted.
    pub(super) fn counted(&mut self) -> Vec<Event> {
        let (folded, missed) = (self.sources.folded(), self.misses.all());
        self.counted_events(folded, missed)
    }

    fn counted_events(&mut self, folded: Vec<Folded>, missed: Vec<Missed>) -> Vec<Event> {
        let missed: Vec<_> = missed.iter().map(|missed| self.missed_event(missed)).collect();
        let folded = folded.into_iter().map(|folded| self.folded_event(folded));
        folded.chain(missed).collect()
    }

    fn missed_event(&self, missed: &Missed) -> Event {
        let mut event = Event::new(ids::fresh(missed.first), missed.first, Action::JournalGap);
        event.set(Field::DecoyId, missed.spec.name.clone());
        event.set(Field::DecoyService, missed.spec.service.name);
        event.set(Field::EventStart, missed.first);
        event.set(Field::EventEnd, missed.last);
        event.set(
            Field::EventReason,
            "the kernel dropped them, they came faster than they were read",
        );
        event.set(Field::FindingHits, i64::try_from(missed.datagrams).unwrap_or(i64::MAX));
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
        set_zone(&mut event, self.settings.zones.of(source));
        identity.stamp(&mut event);
        event
    }
}

/// Who touched what.
fn place(event: &mut Event, contact: &Contact) {
    let spec = &contact.spec;
    let (number, transport) = match spec.service.transport() {
        Transport::Tcp => (6, "tcp"),
        Transport::Udp => (17, "udp"),
    };
    if !contact.local.ip().is_unspecified() {
        event.set(Field::DestinationIp, contact.local.ip());
    }
    event.set(Field::DestinationPort, contact.local.port());
    event.set(Field::DecoyId, spec.name.clone());
    event.set(Field::DecoyPersonality, spec.personality.name.clone());
    event.set(Field::DecoyService, spec.service.name);
    event.set(Field::SessionId, contact.session);
    event.set(Field::SourceSpoofable, number == 17);
    event.set(
        Field::NetworkCommunityId,
        ids::community(number, contact.peer, contact.local),
    );
    event.set(Field::NetworkTransport, transport);
    event.set(Field::SourceIp, contact.peer.ip());
    event.set(Field::SourcePort, contact.peer.port());
}

fn set_zone(event: &mut Event, zone: &Zone) {
    event.set(Field::SourceZone, zone.name.clone());
    event.set(Field::SourceZoneInside, zone.inside);
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
        Secrets::Clear => event.set(Field::CredentialSecret, text::clean(&secret.bytes)),
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
        unverified: hit.contact.spec.service.transport() == Transport::Udp,
        several_decoys,
        ..Circumstances::default()
    };
    risk::risk(hit.action, &circumstances)
}
