//! Events as records, and records as the bodies of requests.

use std::io::Write;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Map, Value, json};
use trapline_schemas::text::clean_within;
use trapline_schemas::{Event, Field, Format, Timestamp, Value as Fact};
use trapline_sink::Parcel;
use uuid::Uuid;

/// Most bytes of a body before it is compressed: the service's megabyte (1,048,576), less what others count as one.
pub const BODY_BYTES_MAX: usize = 1_000_000;
/// Most bytes of the whole event: a column keeps 64 KiB and cuts what is longer, and half a JSON is none.
pub const EVENT_BYTES_MAX: usize = 60_000;
/// The type of a record that is about no event.
pub const CONTROL: &str = "record-control";
/// Longest text in a column of its own.
const TEXT_CHARS_MAX: usize = 1024;

/// A column of the table.
#[derive(Debug)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Its type, by the service's word, which is the same for a rule's stream.
    pub kind: &'static str,
    of: Of,
}

#[derive(Debug, Clone, Copy)]
enum Of {
    Fact(Field),
    Severity,
    Whole,
}

const fn column(name: &'static str, kind: &'static str, field: Field) -> Column {
    Column {
        name,
        kind,
        of: Of::Fact(field),
    }
}

/// The columns, in their order.
pub const COLUMNS: &[Column] = &[
    column("TimeGenerated", "datetime", Field::Timestamp),
    // The service puts its own time into the first where the event is days old.
    column("EventStartTime", "datetime", Field::Timestamp),
    column("EventOriginalUid", "string", Field::EventId),
    column("EventOriginalType", "string", Field::EventAction),
    Column {
        name: "EventSeverity",
        kind: "string",
        of: Of::Severity,
    },
    column("EventMessage", "string", Field::Message),
    column("RiskScore", "real", Field::EventRiskScore),
    column("TouchLevel", "string", Field::TouchLevel),
    column("SrcIpAddr", "string", Field::SourceIp),
    column("SrcPortNumber", "int", Field::SourcePort),
    column("SrcHostname", "string", Field::SourceDomain),
    column("SrcMacAddr", "string", Field::SourceMac),
    column("SrcGeoCountry", "string", Field::SourceGeoCountryName),
    column("SrcZone", "string", Field::SourceZone),
    column("DstIpAddr", "string", Field::DestinationIp),
    column("DstPortNumber", "int", Field::DestinationPort),
    column("NetworkProtocol", "string", Field::NetworkTransport),
    column("NetworkApplicationProtocol", "string", Field::DecoyService),
    column("NetworkDirection", "string", Field::NetworkDirection),
    column("DecoyId", "string", Field::DecoyId),
    column("TargetUsername", "string", Field::UserName),
    column("CredentialKind", "string", Field::CredentialKind),
    column("HttpUserAgent", "string", Field::UserAgent),
    column("Url", "string", Field::UrlOriginal),
    column("RuleName", "string", Field::RuleName),
    column("Dvc", "string", Field::ObserverName),
    column("Site", "string", Field::Site),
    column("SessionId", "string", Field::SessionId),
    column("IncidentId", "string", Field::IncidentId),
    column("BenignName", "string", Field::BenignName),
    Column {
        name: "Event",
        kind: "dynamic",
        of: Of::Whole,
    },
];

/// The record of an event, as JSON; `None` if its event cannot be made to fit.
fn record(parcel: &Parcel, format: Format) -> Option<Vec<u8>> {
    let whole = parcel.rendered_within(format, EVENT_BYTES_MAX)?;
    let mut columns = Map::new();
    for column in COLUMNS {
        let value = match column.of {
            Of::Fact(field) => parcel.event.resolve(field).and_then(plain),
            Of::Severity => Some(severity(&parcel.event).into()),
            Of::Whole => None,
        };
        columns.extend(value.map(|value| (column.name.to_owned(), value)));
    }
    let mut out = serde_json::to_vec(&columns).expect("a map of plain values is JSON");
    // The event is JSON as it stands: it is put in, not read and written again.
    out.pop();
    out.extend_from_slice(b",\"Event\":");
    out.extend_from_slice(&whole);
    out.push(b'}');
    Some(out)
}

/// A fact as a column holds it.
fn plain(fact: Fact) -> Option<Value> {
    Some(match fact {
        Fact::Text(text) => clean_within(text.as_bytes(), TEXT_CHARS_MAX).as_str().into(),
        Fact::Int(number) => number.into(),
        Fact::Float(number) => number.into(),
        Fact::Bool(yes) => yes.into(),
        Fact::Ip(ip) => ip.to_string().into(),
        Fact::Time(at) => at.to_string().into(),
        Fact::Id(id) => id.to_string().into(),
        _ => return None,
    })
}

/// ASIM has four steps.
fn severity(event: &Event) -> &'static str {
    match event.severity().caption {
        "Critical" => "High",
        caption => caption,
    }
}

/// A batch as bodies of requests, each with the events that are in it.
#[derive(Debug, Default)]
pub struct Bodies {
    /// Each an array of records, with the places in the batch that it holds.
    pub bodies: Vec<(Vec<u8>, Vec<usize>)>,
    /// Places in the batch of what cannot be made to fit.
    pub unfit: Vec<usize>,
}

impl Bodies {
    /// Packs a batch.
    pub fn new(batch: &[Arc<Parcel>], format: Format) -> Self {
        let mut bodies = Self::default();
        for (place, parcel) in batch.iter().enumerate() {
            match record(parcel, format) {
                Some(record) => bodies.push(place, &record),
                None => bodies.unfit.push(place),
            }
        }
        bodies.bodies.iter_mut().for_each(|(body, _)| body.push(b']'));
        bodies
    }

    fn push(&mut self, place: usize, record: &[u8]) {
        let fits = |body: &[u8]| body.len() + record.len() + 2 <= BODY_BYTES_MAX;
        match self.bodies.last_mut().filter(|(body, _)| fits(body)) {
            Some((body, places)) => {
                body.push(b',');
                body.extend_from_slice(record);
                places.push(place);
            }
            None => self.bodies.push(([b"[", record].concat(), vec![place])),
        }
    }
}

/// The body of a request with one record that no peer has a part in, about an event that was not taken.
pub(crate) fn control(id: Uuid, at: Timestamp) -> Vec<u8> {
    let record = json!([{
        "TimeGenerated": at.to_string(),
        "EventStartTime": at.to_string(),
        "EventOriginalType": CONTROL,
        "EventSeverity": "Informational",
        "EventMessage": format!("the service did not take a request with event {id}; this record asks whether it takes any"),
    }]);
    record.to_string().into_bytes()
}

/// A body compressed.
pub(crate) fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    encoder
        .write_all(body)
        .and_then(|()| encoder.finish())
        .expect("writing to a Vec does not fail")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use trapline_sink::conformance::events;

    use super::*;

    fn read(body: &[u8]) -> Vec<Value> {
        serde_json::from_slice(body).unwrap()
    }

    fn changed(change: impl FnOnce(&mut Event)) -> Arc<Parcel> {
        let mut event = Event::clone(&events(1, false)[0].event);
        change(&mut event);
        Arc::new(Parcel::new(1, Arc::new(event)))
    }

    #[test]
    fn a_record_has_its_columns_and_the_whole_event() {
        let batch = events(2, false);
        for format in [Format::Ecs, Format::Ocsf] {
            let bodies = Bodies::new(&batch, format);
            let [(body, places)] = bodies.bodies.as_slice() else {
                panic!("{bodies:?}")
            };
            let records = read(body);
            assert_eq!((records.len(), places.as_slice()), (2, &[0, 1][..]));
            let record = &records[1];
            let event = &batch[1].event;
            assert_eq!(record["EventOriginalUid"], event.id.to_string());
            assert_eq!(record["TimeGenerated"], event.at.to_string());
            assert_eq!(
                (&record["SrcIpAddr"], &record["SrcPortNumber"]),
                (&"203.0.113.77".into(), &40_022.into())
            );
            assert_eq!(
                (&record["TargetUsername"], &record["EventSeverity"]),
                (&"root".into(), &"Medium".into())
            );
            assert_eq!(record["RiskScore"], 50.0);
            let rendered: Value = serde_json::from_slice(batch[1].rendered(format)).unwrap();
            assert_eq!(record["Event"], rendered);
        }
    }

    #[test]
    fn the_service_knows_each_column_by_a_type_that_its_values_have() {
        for (at, column) in COLUMNS.iter().enumerate() {
            assert!(
                COLUMNS[..at].iter().all(|other| other.name != column.name),
                "{}",
                column.name
            );
            assert!(["string", "int", "real", "datetime", "dynamic"].contains(&column.kind));
        }
        let record = &read(&Bodies::new(&events(1, false), Format::Ecs).bodies[0].0)[0];
        for (name, value) in record.as_object().unwrap() {
            let column = COLUMNS.iter().find(|column| column.name == name).unwrap();
            let fits = match column.kind {
                "int" => value.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
                "real" => value.is_f64(),
                "dynamic" => value.is_object(),
                _ => value.is_string(),
            };
            assert!(fits, "{name}: {value}");
        }
    }

    #[test]
    fn the_record_that_is_about_no_event_has_columns_of_the_table_and_no_events_id() {
        let id = Uuid::from_u128(7);
        let [record] = &read(&control(id, Timestamp::now()))[..] else {
            panic!("one record")
        };
        for (name, value) in record.as_object().unwrap() {
            let column = COLUMNS.iter().find(|column| column.name == name).unwrap();
            assert!(
                ["string", "datetime"].contains(&column.kind) && value.is_string(),
                "{name}"
            );
        }
        assert!(
            record.get("EventOriginalUid").is_none(),
            "whoever counts events does not count it"
        );
        assert!(record["EventMessage"].as_str().unwrap().contains(&id.to_string()));
    }

    #[test]
    fn a_batch_is_split_where_the_service_would_refuse_it() {
        let large = |_| changed(|event| event.set(Field::PayloadBase64, vec![b'x'; 15_000]));
        let batch: Vec<_> = (0..40).map(large).collect();
        let bodies = Bodies::new(&batch, Format::Ecs);
        assert!(bodies.bodies.len() > 1 && bodies.unfit.is_empty());
        let places: Vec<usize> = bodies.bodies.iter().flat_map(|(_, places)| places.clone()).collect();
        assert_eq!(places, (0..40).collect::<Vec<_>>());
        for (body, places) in &bodies.bodies {
            assert!(body.len() <= BODY_BYTES_MAX && read(body).len() == places.len());
        }
    }

    #[test]
    fn an_event_that_a_column_would_cut_is_made_smaller() {
        let large = changed(|event| event.set(Field::PayloadBase64, vec![0xff_u8; 200_000]));
        let record = &read(&Bodies::new(&[large], Format::Ecs).bodies[0].0)[0];
        assert!(record["Event"].to_string().len() <= EVENT_BYTES_MAX);
        assert_eq!(record["Event"]["honeyport"]["truncated"], true);
    }

    #[test]
    fn the_steps_of_severity_are_asims() {
        let of = |risk: f64| severity(&changed(|event| event.set(Field::EventRiskScore, risk)).event);
        assert_eq!(
            [0.0, 21.0, 50.0, 80.0, 100.0].map(of),
            ["Informational", "Low", "Medium", "High", "High"]
        );
    }

    proptest! {
        #[test]
        fn any_bytes_of_a_peer_stay_within_their_column(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
            let hostile = changed(|event| event.set(Field::UserName, trapline_schemas::text::clean_within(&bytes, 3000)));
            let record = &read(&Bodies::new(&[hostile], Format::Ecs).bodies[0].0)[0];
            let name = record["TargetUsername"].as_str().unwrap_or_default();
            prop_assert!(name.chars().count() <= TEXT_CHARS_MAX && trapline_schemas::text::is_clean(name));
            prop_assert_eq!(record["SrcIpAddr"].as_str(), Some("203.0.113.77"));
        }
    }
}
