//! One incident that is open.
//!
//! Layout of its row: a line of JSON, and the body of an event with the facts of its source.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use trapline_schemas::{Action, Event, Field, Timestamp, Value, codec, ids};
use uuid::Uuid;

use crate::graph::inputs::Class;
use crate::graph::window::{is_sum, weight};
use crate::journal::Offset;

/// What the event that closes it takes over from the first, beside its source.
const COMMON: &[Field] = &[
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
];
/// Most decisions that keep one incident open.
const HOLDS_MAX: usize = 8;
/// Sets of common facts that are remembered to be shared.
const SHARED_MAX: usize = 16;
/// The levels of touch, the least first.
const LEVELS: [&str; 3] = ["contact", "intent", "proof"];

type Common = Arc<[(Field, Value)]>;

/// Sets of facts that many incidents have in common: those met last.
#[derive(Debug, Default)]
pub(super) struct Facts(Vec<Common>);

impl Facts {
    fn of(&mut self, event: &Event) -> Common {
        let values = COMMON
            .iter()
            .filter_map(|field| Some((*field, event.get(*field)?.clone())));
        let values: Vec<_> = values.collect();
        if let Some(known) = self.0.iter().find(|known| ***known == *values) {
            return Arc::clone(known);
        }
        let new: Common = values.into();
        if self.0.len() == SHARED_MAX {
            self.0.remove(0);
        }
        self.0.push(Arc::clone(&new));
        new
    }
}

/// An incident.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) first: i64,
    pub(super) last: i64,
    hits: u64,
    /// The highest level of touch, from 1; 0: none.
    level: usize,
    /// Decisions about it, and until when each keeps it open.
    holds: Vec<(Uuid, i64)>,
    /// The offset after that of the last entry counted; what is read again before it is counted already.
    pub(super) counted: Offset,
    /// The first entry that the journal's row, if there is one, does not count, and when it came.
    pub(super) unsaved: Option<(Offset, i64)>,
    /// Whether the journal has a row.
    pub(super) has_row: bool,
    ip: Option<IpAddr>,
    /// Its pseudonym, where the address is hidden.
    address: Option<SmolStr>,
    previous: Option<Uuid>,
    common: Common,
}

#[derive(Debug, Serialize, Deserialize)]
struct Row {
    v: u32,
    first: i64,
    last: i64,
    hits: u64,
    level: usize,
    /// The latest of the holds; alone in rows of earlier versions.
    held: i64,
    /// The id of each decision in two halves, and until when it holds.
    #[serde(default)]
    holds: Vec<(u64, u64, i64)>,
    counted: Offset,
}

impl Open {
    pub(super) fn new(event: &Event, facts: &mut Facts) -> Self {
        let (first, last) = span(event);
        Self {
            first,
            last,
            hits: 0,
            level: 0,
            holds: Vec::new(),
            counted: 0,
            unsaved: None,
            has_row: false,
            ip: event.ip(Field::SourceIp),
            address: event.text(Field::SourceAddress).cloned(),
            previous: event.uuid(Field::IncidentPrevious),
            common: facts.of(event),
        }
    }

    /// Takes in an entry; `weighs`: as events that are not counted otherwise.
    pub(super) fn count(&mut self, offset: Offset, event: &Event, weighs: bool) {
        self.counted = offset + 1;
        if !weighs {
            return;
        }
        // What was done about a source is nothing that the source did.
        if Class::of(event.action) != Class::Decisions {
            let (first, last) = span(event);
            self.first = self.first.min(first);
            self.last = self.last.max(last);
        }
        self.hits = self.hits.saturating_add(weight(event));
        let level = event.text(Field::TouchLevel);
        let place = LEVELS.iter().position(|name| level.is_some_and(|level| level == name));
        self.level = self.level.max(place.map_or(0, |place| place + 1));
    }

    /// A decision keeps it open until then, and no longer. Of too many decisions the one that ends first is forgotten.
    pub(super) fn hold(&mut self, decision: Uuid, until: i64) {
        self.holds.retain(|(held_by, _)| *held_by != decision);
        if self.holds.len() == HOLDS_MAX {
            let first = self.holds.iter().enumerate().min_by_key(|(_, (_, until))| *until);
            if let Some((first, _)) = first {
                self.holds.swap_remove(first);
            }
        }
        self.holds.push((decision, until));
    }

    /// Until when a decision keeps it open, if it does.
    pub(super) fn hold_of(&self, decision: Uuid) -> Option<i64> {
        let hold = self.holds.iter().find(|(held_by, _)| *held_by == decision)?;
        Some(hold.1)
    }

    fn held(&self) -> i64 {
        self.holds.iter().map(|(_, until)| *until).max().unwrap_or(0)
    }

    /// When it is over if nothing more comes: after its quiet, and not while something is done about it.
    pub(super) fn due(&self, quiet: i64) -> i64 {
        self.last.saturating_add(quiet).max(self.held())
    }

    /// The event that says so.
    pub(super) fn closed(&self, node: &str, id: Uuid, at: i64, reason: &str) -> Event {
        let mut event = self.told(id);
        let first = Timestamp::from_micros(self.first);
        event.id = ids::derived(node, &id.to_string(), first);
        event.at = Timestamp::from_micros(at);
        event.set(Field::EventCreated, event.at);
        event.set(Field::EventStart, first);
        event.set(Field::EventEnd, Timestamp::from_micros(self.last));
        event.set(Field::EventDuration, (self.last - self.first).saturating_mul(1000));
        event.set(Field::EventReason, reason);
        event.set(Field::FindingHits, i64::try_from(self.hits).unwrap_or(i64::MAX));
        event.set(Field::FindingStatus, "closed");
        event.set(Field::TransformName, node);
        let level = self.level.checked_sub(1).and_then(|at| LEVELS.get(at));
        event.set_some(Field::TouchLevel, level.copied());
        event
    }

    /// What is known of its source, as an event.
    fn told(&self, id: Uuid) -> Event {
        let mut event = Event::new(id, Timestamp::from_micros(self.first), Action::IncidentClosed);
        event.set(Field::IncidentId, id);
        event.set_some(Field::IncidentPrevious, self.previous);
        event.set_some(Field::SourceIp, self.ip);
        event.set_some(Field::SourceAddress, self.address.clone());
        for (field, value) in &*self.common {
            event.set(*field, value.clone());
        }
        event
    }

    pub(super) fn encode(&self, id: Uuid) -> Vec<u8> {
        let facts = Row {
            v: 1,
            first: self.first,
            last: self.last,
            hits: self.hits,
            level: self.level,
            held: self.held(),
            holds: self.holds.iter().map(halved).collect(),
            counted: self.counted,
        };
        let mut row = serde_json::to_vec(&facts).expect("numbers are always JSON");
        row.push(b'\n');
        codec::encode_into(&self.told(id), &mut row);
        row
    }

    pub(super) fn decode(row: &[u8], facts: &mut Facts) -> Option<Self> {
        let end = row.iter().position(|byte| *byte == b'\n')?;
        let row_facts: Row = serde_json::from_slice(row.get(..end)?).ok()?;
        let event = codec::decode(row.get(end + 1..)?).ok()?;
        let holds = match row_facts.holds.is_empty() && row_facts.held > 0 {
            true => vec![(Uuid::nil(), row_facts.held)],
            false => row_facts.holds.iter().map(whole).collect(),
        };
        (row_facts.v == 1).then(|| Self {
            first: row_facts.first,
            last: row_facts.last,
            hits: row_facts.hits,
            level: row_facts.level,
            holds,
            counted: row_facts.counted,
            has_row: true,
            ..Self::new(&event, facts)
        })
    }
}

fn halved((decision, until): &(Uuid, i64)) -> (u64, u64, i64) {
    let (high, low) = decision.as_u64_pair();
    (high, low, *until)
}

fn whole((high, low, until): &(u64, u64, i64)) -> (Uuid, i64) {
    (Uuid::from_u64_pair(*high, *low), *until)
}

/// From when to when an event is; of a sum, from when to when what it counts was.
pub(super) fn span(event: &Event) -> (i64, i64) {
    let at = event.at.micros();
    let time = |field| match event.get(field) {
        Some(Value::Time(time)) if is_sum(event) => time.micros().min(at),
        _ => at,
    };
    (time(Field::EventStart), time(Field::EventEnd))
}
