//! Sinks and events for the tests of sinks.
#![allow(
    clippy::unwrap_used,
    reason = "compiled for tests alone, which stop where something is wrong"
)]

use std::net::IpAddr;
use std::sync::Arc;

use trapline_schemas::{Action, CATALOGUE, Event, Field, Format, Kind, Origin, Timestamp, Value};
use uuid::Uuid;

use crate::config::{Common, NoticeSettings, SinkType, Table};
use crate::dial::Resolver;
use crate::parcel::Parcel;
use crate::stream::StreamSink;

/// What a sink gets besides its table.
pub fn common(format: Format, resolver: Resolver) -> Common {
    Common {
        name: "sample".into(),
        format,
        observer: "lure".into(),
        resolver,
        notices: NoticeSettings::default(),
    }
}

/// A sink for a configuration in which nothing is wrong.
pub fn sink(kind: &SinkType, toml: &str, format: Format, resolver: Resolver) -> Arc<dyn StreamSink> {
    let (table, problems) = Table::for_test(toml, kind.keys);
    let factory = (kind.parse)(&table);
    assert_eq!(problems.count(), 0, "{:?}", problems.take());
    factory.build(&common(format, resolver)).unwrap()
}

/// A touch of an incident, with this level.
pub fn touch(incident: u128, level: &str) -> Event {
    let mut event = Event::new(Uuid::new_v4(), Timestamp::now(), Action::Credential);
    event.set(Field::SourceIp, IpAddr::from([203, 0, 113, 77]));
    event.set(Field::DestinationPort, 22_i64);
    event.set(Field::DecoyId, "ssh");
    event.set(Field::DecoyService, "ssh");
    event.set(Field::ObserverName, "lure-test");
    event.set(Field::IncidentId, Uuid::from_u128(incident));
    event.set(Field::TouchLevel, level);
    event.set(Field::UserName, "root");
    event
}

/// An event with a text in every field that takes one.
pub fn filled(action: Action, text: &str) -> Event {
    let mut event = touch(9, "proof");
    event.action = action;
    for row in CATALOGUE.iter().filter(|row| row.origin == Origin::Stored) {
        match row.kind {
            Kind::Keyword | Kind::Text if row.field != Field::TouchLevel => event.set(row.field, text),
            Kind::Keywords => event.set(row.field, Value::Texts(vec![text.into(); 3])),
            Kind::Bytes => event.set(row.field, text.as_bytes().to_vec()),
            _ => {}
        }
    }
    event
}

/// A batch of one event.
pub fn one(event: Event) -> Vec<Arc<Parcel>> {
    vec![Arc::new(Parcel::new(1, Arc::new(event)))]
}
