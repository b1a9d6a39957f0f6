//! What an event is found by: its row of the derived index.

use std::sync::Arc;

use smol_str::SmolStr;
use trapline_schemas::{Action, Event, Field, Value};

use crate::graph::Body;
use crate::journal::index::{Extract, IndexRow, Owned};

/// Makes index rows from journal bodies. Passes, and what cannot be read, have none.
pub(super) fn extract() -> Extract {
    Arc::new(|body| match Body::decode(body) {
        Ok(Body::Event(event)) => Some(row(&event)),
        _ => None,
    })
}

fn row(event: &Event) -> IndexRow {
    IndexRow {
        source: event.ip(Field::SourceIp),
        port: event
            .int(Field::DestinationPort)
            .and_then(|port| u16::try_from(port).ok()),
        decoy: event.text(Field::DecoyId).cloned(),
        action: Some(SmolStr::new(event.action_name())),
        level: event.text(Field::TouchLevel).cloned(),
        risk: risk(event),
        incident: event.uuid(Field::IncidentId),
        user: event.text(Field::UserName).cloned(),
        owned: owned(event),
    }
}

/// What a touch adds to the incident of a source that somebody answers for. A visit is a contact, whatever was said in it.
fn owned(event: &Event) -> Option<Owned> {
    let visits = match event.action {
        Action::Connect | Action::UdpProbe => 1,
        Action::SourceFolded => event.int(Field::FindingHits).unwrap_or(0).max(0).unsigned_abs(),
        action if action.is_touch() => 0,
        _ => return None,
    };
    let time = |field| match event.get(field) {
        Some(Value::Time(at)) if event.action == Action::SourceFolded => *at,
        _ => event.at,
    };
    Some(Owned {
        owner: event.text(Field::SourceOwner)?.clone(),
        span: (time(Field::EventStart), time(Field::EventEnd)),
        visits,
        gravity: gravity(event),
        proved: is_proved(event),
        service: event.text(Field::DecoyService).cloned(),
    })
}

/// Whether a handshake proved the address: no datagram does, nor what was only counted.
fn is_proved(event: &Event) -> bool {
    let is_forgeable = event.get(Field::SourceSpoofable) == Some(&Value::Bool(true))
        || event
            .text(Field::NetworkTransport)
            .is_none_or(|transport| transport == "udp");
    event.action != Action::SourceFolded && !is_forgeable
}

/// The levels of touch, the least first.
const LEVELS: [&str; 3] = ["contact", "intent", "proof"];

/// From 1; 0: none.
fn gravity(event: &Event) -> u8 {
    let level = event.text(Field::TouchLevel);
    let place = LEVELS.iter().position(|name| level.is_some_and(|level| level == name));
    place.map_or(0, |place| place as u8 + 1)
}

/// The level of touch that a gravity stands for.
pub(super) fn level(gravity: u8) -> Option<&'static str> {
    LEVELS.get(usize::from(gravity).checked_sub(1)?).copied()
}

fn risk(event: &Event) -> Option<u8> {
    match event.get(Field::EventRiskScore)? {
        // Bounded first, so the cast only cuts the fraction.
        Value::Float(risk) => Some(risk.clamp(0.0, 100.0) as u8),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Pass;
    use trapline_schemas::{Timestamp, codec};

    #[test]
    fn an_address_is_proved_by_a_handshake_alone() {
        let of = |action, transport: &str, spoofable: Option<bool>| {
            let mut event = Event::new(uuid::Uuid::nil(), Timestamp::from_micros(1), action);
            event.set(Field::SourceOwner, "lab");
            event.set(Field::NetworkTransport, transport);
            event.set_some(Field::SourceSpoofable, spoofable);
            owned(&event).unwrap().proved
        };
        assert!(of(Action::Connect, "tcp", Some(false)) && of(Action::Credential, "tcp", None));
        assert!(!of(Action::UdpProbe, "udp", Some(true)) && !of(Action::Credential, "udp", None));
        assert!(!of(Action::SourceFolded, "tcp", None));
    }

    #[test]
    fn an_event_is_found_by_its_facts_and_a_pass_not_at_all() {
        let mut event = Event::new(uuid::Uuid::nil(), Timestamp::from_micros(1), Action::Credential);
        event.set(Field::DestinationPort, 22_u16);
        event.set(Field::UserName, "root");
        event.set(Field::EventRiskScore, 78.0);
        let row = extract()(&codec::encode(&event)).unwrap();
        assert_eq!(row.action.as_deref(), Some("decoy-credential"));
        assert_eq!(
            (row.port, row.user.as_deref(), row.risk),
            (Some(22), Some("root"), Some(78))
        );
        assert_eq!(row.source, None);
        assert_eq!(extract()(&Pass::new("node", 1).encode()), None);
        assert_eq!(extract()(b"no body"), None);
    }
}
