//! Events for tests, as notices are made of them.

use std::sync::Arc;

use trapline_schemas::{Action, Event, Field, Timestamp};
use trapline_sink::Parcel;
use uuid::Uuid;

/// An event of an incident, with this level of touch.
pub fn event(incident: u128, level: &str) -> Event {
    let mut event = Event::new(Uuid::new_v4(), Timestamp::now(), Action::Credential);
    event.set(Field::SourceIp, std::net::IpAddr::from([203, 0, 113, 77]));
    event.set(Field::DestinationPort, 22_i64);
    event.set(Field::DecoyId, "ssh");
    event.set(Field::DecoyService, "ssh");
    event.set(Field::ObserverName, "lure-test");
    event.set(Field::IncidentId, Uuid::from_u128(incident));
    event.set(Field::TouchLevel, level);
    event.set(Field::UserName, "root");
    event
}

/// An event as a parcel.
pub fn parcel(event: Event) -> Arc<Parcel> {
    Arc::new(Parcel::new(1, Arc::new(event)))
}

/// One event of an incident as a batch.
pub fn one(incident: u128, level: &str) -> Vec<Arc<Parcel>> {
    vec![parcel(event(incident, level))]
}
