//! An event as a log record.

use serde_json::{Map, Value};
use trapline_schemas::{Event, Field, Format, Timestamp, Value as Fact};
use trapline_sink::Parcel;
use uuid::Uuid;

use crate::json::{any, leaves};
use crate::names::{attribute, is_found_by, role};
use crate::proto::{AnyValue, KeyValue, LogRecord};

/// Makes records.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Maker {
    /// The form of the body: a line of text, or with JSON the whole event as a map.
    pub(crate) format: Format,
    /// Longest rendering; beyond it fields are left out in the drop order.
    pub(crate) bytes_max: usize,
}

impl Maker {
    /// The record of an event, the same each time; `None` if it cannot be made to fit.
    pub(crate) fn record(&self, parcel: &Parcel) -> Option<LogRecord> {
        let event = &parcel.event;
        let severity = event.severity();
        Some(LogRecord {
            time_unix_nano: nanos(event.at),
            severity_number: severity_number(severity.syslog),
            severity_text: severity.caption.to_owned(),
            body: Some(self.body(parcel)?),
            attributes: self.attributes(parcel)?,
            observed_time_unix_nano: nanos(observed(event)),
            event_name: event_name(event.action_name()),
        })
    }

    /// A record that no peer has a part in, about an event that was not taken.
    pub(crate) fn control(id: Uuid, at: Timestamp) -> LogRecord {
        let body =
            format!("the receiver did not take a request with event {id}; this record asks whether it takes any");
        LogRecord {
            time_unix_nano: nanos(at),
            severity_number: severity_number(6),
            severity_text: "Informational".to_owned(),
            body: Some(body.as_str().into()),
            attributes: Vec::new(),
            observed_time_unix_nano: nanos(at),
            event_name: event_name("record-control"),
        }
    }

    fn body(&self, parcel: &Parcel) -> Option<AnyValue> {
        let text = parcel.rendered_within(self.format, self.bytes_max)?;
        if self.format.is_json() {
            return Some(any(serde_json::from_slice(&text).ok()?));
        }
        Some(String::from_utf8_lossy(&text).as_ref().into())
    }

    /// Every field, or beside a body that has them all those by which a record is found.
    fn attributes(&self, parcel: &Parcel) -> Option<Vec<KeyValue>> {
        let text = parcel.rendered_within(Format::Ecs, self.bytes_max)?;
        let mut event: Map<String, Value> = serde_json::from_slice(&text).ok()?;
        for end in ["source", "destination"] {
            forget_doubled_address(event.get_mut(end));
        }
        let mut attributes = Vec::new();
        for (path, value) in leaves(event) {
            if let Some(name) = attribute(&path) {
                self.push(&mut attributes, name, any(value));
            }
        }
        Some(attributes)
    }

    fn push(&self, attributes: &mut Vec<KeyValue>, name: String, value: AnyValue) {
        let keeps = |name: &str| !self.format.is_json() || is_found_by(name);
        if let Some(role) = role(&name).filter(|role| keeps(role)) {
            attributes.push(KeyValue::new(role, value.clone()));
        }
        if keeps(&name) {
            attributes.push(KeyValue::new(name, value));
        }
    }
}

/// ECS has an address as text and once more as an address; OpenTelemetry has the text.
fn forget_doubled_address(end: Option<&mut Value>) {
    let Some(Value::Object(end)) = end else { return };
    if end.get("address").is_some_and(|address| end.get("ip") == Some(address)) {
        end.remove("ip");
    }
}

/// When trapline had made the event: that does not change when it is sent again.
fn observed(event: &Event) -> Timestamp {
    match event.get(Field::EventCreated) {
        Some(Fact::Time(created)) => *created,
        _ => event.at,
    }
}

/// Nanoseconds since the epoch; a clock before it stands at 1, since 0 means that no time is known.
fn nanos(at: Timestamp) -> u64 {
    let micros = u64::try_from(at.micros()).unwrap_or(0);
    micros.saturating_mul(1000).max(1)
}

/// Severities of syslog as the Logs Data Model maps them (appendix B).
const fn severity_number(syslog: u8) -> i32 {
    match syslog {
        0 => 21,
        1 => 19,
        2 => 18,
        3 => 17,
        4 => 13,
        5 => 10,
        6 => 9,
        _ => 5,
    }
}

/// `trapline.decoy_connect`: lower case, digits, dots and underscores, whatever a newer version calls its action.
fn event_name(action: &str) -> String {
    let good = |ch: char| {
        if ch.is_ascii_lowercase() || ch.is_ascii_digit() {
            ch
        } else {
            '_'
        }
    };
    let action: String = action.chars().map(good).collect();
    format!("trapline.{action}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Any;
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use trapline_schemas::Action;
    use trapline_sink::conformance::events;

    fn record(format: Format) -> LogRecord {
        let parcel = events(1, false).remove(0);
        let maker = Maker {
            format,
            bytes_max: 1 << 18,
        };
        maker.record(&parcel).unwrap()
    }

    fn attributes(record: &LogRecord) -> BTreeMap<&str, &Any> {
        let pairs = record.attributes.iter();
        let pairs: BTreeMap<_, _> = pairs
            .map(|pair| (pair.key.as_str(), pair.value.as_ref().unwrap().value.as_ref().unwrap()))
            .collect();
        assert_eq!(
            pairs.len(),
            record.attributes.len(),
            "keys are there once: {:?}",
            record.attributes
        );
        pairs
    }

    #[test]
    fn a_credential_is_a_record_with_the_names_and_kinds_of_the_conventions() {
        let record = record(Format::Text);
        assert_eq!((record.severity_number, record.severity_text.as_str()), (13, "Medium"));
        assert_eq!(record.event_name, "trapline.decoy_credential");
        let found = attributes(&record);
        let text = |name: &str| match found[name] {
            Any::Text(text) => text.as_str(),
            other => panic!("{name} is {other:?}"),
        };
        for name in ["client.address", "source.address"] {
            assert_eq!(text(name), "203.0.113.77");
        }
        assert_eq!(text("server.address"), "10.20.30.40");
        assert_eq!(text("network.transport"), "tcp");
        assert_eq!(text("trapline.decoy.id"), "ssh");
        assert_eq!(text("user.name"), "root");
        assert_eq!(text("event.id").len(), 36);
        assert_eq!(text("session.id").len(), 36);
        for (name, port) in [("client.port", 40_022), ("server.port", 22)] {
            assert_eq!(found[name], &Any::Whole(port));
        }
        assert_eq!(found["event.risk_score"], &Any::Double(50.0));
        assert!(matches!(found["event.category"], Any::List(_)));
        for absent in ["source.ip", "@timestamp", "message", "related.ip"] {
            assert!(!found.contains_key(absent), "{absent}");
        }
        assert!(matches!(record.body.unwrap().value, Some(Any::Text(line)) if line.contains("root")));
    }

    #[test]
    fn with_json_the_body_is_the_whole_event_and_attributes_are_what_it_is_found_by() {
        for format in [Format::Ecs, Format::Ocsf] {
            let record = record(format);
            let found = attributes(&record);
            assert!(
                found.contains_key("event.id") && !found.contains_key("rule.id"),
                "{found:?}"
            );
            let Some(Any::Map(body)) = record.body.and_then(|body| body.value) else {
                panic!("no map");
            };
            let of_the_form = if format == Format::Ecs { "event" } else { "class_uid" };
            assert!(body.values.iter().any(|pair| pair.key == of_the_form), "{body:?}");
        }
    }

    #[test]
    fn the_same_event_is_the_same_record() {
        let parcel = events(1, false).remove(0);
        let maker = Maker {
            format: Format::Text,
            bytes_max: 1 << 18,
        };
        assert_eq!(
            maker.record(&parcel),
            maker.record(&Parcel::new(9, parcel.event.clone()))
        );
    }

    #[test]
    fn times_are_of_the_event_and_not_of_the_sending() {
        let at = Timestamp::from_micros(1_772_619_370_007_999);
        let mut event = Event::new(trapline_schemas::ids::fresh(at), at, Action::Connect);
        let maker = Maker {
            format: Format::Text,
            bytes_max: 1 << 18,
        };
        let record = maker.record(&Parcel::new(1, Arc::new(event.clone()))).unwrap();
        assert_eq!(
            (record.time_unix_nano, record.observed_time_unix_nano),
            (1_772_619_370_007_999_000, 1_772_619_370_007_999_000)
        );
        event.set(Field::EventCreated, Timestamp::from_micros(1_772_619_370_008_000));
        let record = maker.record(&Parcel::new(1, Arc::new(event))).unwrap();
        assert_eq!(record.observed_time_unix_nano, 1_772_619_370_008_000_000);
        assert_eq!(nanos(Timestamp::from_micros(-1)), 1);
    }

    #[test]
    fn a_large_event_loses_fields_and_says_so_and_none_that_cannot_fit_is_made() {
        let at = Timestamp::now();
        let mut event = Event::new(trapline_schemas::ids::fresh(at), at, Action::Payload);
        event.set(Field::PayloadBase64, vec![b'x'; 60_000]);
        let parcel = Parcel::new(1, Arc::new(event));
        let made = |bytes_max| {
            Maker {
                format: Format::Text,
                bytes_max,
            }
            .record(&parcel)
        };
        let (whole, cut) = (made(1 << 20).unwrap(), made(8000).unwrap());
        assert!(attributes(&whole).contains_key("trapline.payload.base64"));
        assert!(!attributes(&cut).contains_key("trapline.payload.base64"));
        assert_eq!(attributes(&cut)["trapline.truncated"], &Any::Bool(true));
        assert_eq!(made(16), None);
    }

    #[test]
    fn the_name_of_any_action_is_one_of_the_conventions() {
        assert_eq!(event_name("session-end"), "trapline.session_end");
        assert_eq!(event_name("New Thing\"ü"), "trapline._ew__hing__");
    }
}
