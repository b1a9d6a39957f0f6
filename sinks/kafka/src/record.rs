//! One event as a Kafka record: topic, key, headers, value, time.
//!
//! In: a parcel. Out: what goes into a record. Invariant: key and headers hold ids, addresses and words of our own; text
//! of a peer is in the value alone.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use rdkafka::message::{Header, OwnedHeaders};
use trapline_schemas::{Event, Field, Format};
use trapline_sink::Parcel;
use trapline_sink::config::Common;

use crate::config::Settings;
use crate::topic::Topic;

/// What the key of a record is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyOf {
    Source,
    Observer,
    Event,
    None,
}

impl KeyOf {
    /// By its word in the configuration.
    pub(crate) fn of_word(word: &str) -> Self {
        match word {
            "observer" => Self::Observer,
            "event" => Self::Event,
            "none" => Self::None,
            _ => Self::Source,
        }
    }
}

/// How events of one sink become records.
#[derive(Debug)]
pub(crate) struct Form {
    format: Format,
    key: KeyOf,
    topic: Topic,
    schema: String,
    observer: String,
}

impl Form {
    /// What all records of a sink have in common.
    pub(crate) fn new(settings: &Settings, common: &Common) -> Self {
        Self {
            format: common.format,
            key: settings.key,
            topic: settings.topic.clone(),
            schema: schema(common.format),
            observer: common.observer.clone(),
        }
    }

    /// The record's topic.
    pub(crate) fn topic(&self, event: &Event) -> Cow<'_, str> {
        self.topic.of(event)
    }

    /// The record's key; without one the partition is a matter of chance.
    pub(crate) fn key(&self, event: &Event) -> Option<String> {
        match self.key {
            KeyOf::Source => source(event),
            KeyOf::Observer => Some(self.observer.clone()),
            KeyOf::Event => Some(id(event)),
            KeyOf::None => None,
        }
    }

    /// The record's headers.
    pub(crate) fn headers(&self, event: &Event) -> OwnedHeaders {
        let content_type = match self.format.is_json() {
            true => "application/json",
            false => "text/plain; charset=utf-8",
        };
        let rows = [
            ("event.id", id(event).as_str()),
            ("schema", &self.schema),
            ("content-type", content_type),
            ("observer", &self.observer),
        ]
        .map(|(key, value)| (key, value.to_owned()));
        rows.iter()
            .fold(OwnedHeaders::new_with_capacity(rows.len()), |headers, (key, value)| {
                headers.insert(Header {
                    key,
                    value: Some(value),
                })
            })
    }

    /// The record's value in at most `max` bytes; `None` if it cannot be made to fit.
    pub(crate) fn value(&self, parcel: &Arc<Parcel>, max: usize) -> Option<Bytes> {
        parcel.rendered_within(self.format, max)
    }
}

/// Who came: the address in canonical text, or the pseudonym that stands in its place.
fn source(event: &Event) -> Option<String> {
    let pseudonym = || event.text(Field::SourceAddress).map(ToString::to_string);
    event.ip(Field::SourceIp).map(|ip| ip.to_string()).or_else(pseudonym)
}

fn id(event: &Event) -> String {
    event.id.hyphenated().to_string()
}

/// `ecs/9.4`: the form with the first two parts of its version.
fn schema(format: Format) -> String {
    let Some(version) = format.version() else {
        return format.name().to_owned();
    };
    let short: Vec<_> = version.split('.').take(2).collect();
    format!("{}/{}", format.name(), short.join("."))
}

#[cfg(test)]
mod tests {
    use rdkafka::message::Headers;
    use trapline_sink::conformance::events;

    use super::*;
    use crate::config::tests::{common, settings};

    #[test]
    fn the_schema_names_form_and_version() {
        let named = [Format::Ecs, Format::Ocsf, Format::Cef, Format::Leef, Format::Text].map(schema);
        assert_eq!(named, ["ecs/9.4", "ocsf/1.8", "cef/0", "leef/2.0", "text"]);
    }

    #[test]
    fn the_key_is_what_was_asked_for() {
        let parcel = events(1, false).remove(0);
        let key = |of| {
            Form {
                key: of,
                ..Form::new(&settings(""), &common())
            }
            .key(&parcel.event)
        };
        assert_eq!(key(KeyOf::Source).as_deref(), Some("203.0.113.77"));
        assert_eq!(key(KeyOf::Observer).as_deref(), Some("lure"));
        assert_eq!(key(KeyOf::Event), Some(parcel.event.id.to_string()));
        assert_eq!(key(KeyOf::None), None);
    }

    #[test]
    fn a_hidden_source_is_keyed_by_its_pseudonym_and_nobody_by_nothing() {
        let mut event = Event::clone(&events(1, false)[0].event);
        event.remove(Field::SourceIp);
        assert_eq!(source(&event), None);
        event.set(Field::SourceAddress, "source-1a2b");
        assert_eq!(source(&event).as_deref(), Some("source-1a2b"));
    }

    #[test]
    fn headers_name_event_schema_content_and_observer() {
        let parcel = events(1, false).remove(0);
        let headers = Form::new(&settings(""), &common()).headers(&parcel.event);
        let found: Vec<_> = headers
            .iter()
            .map(|header| {
                (
                    header.key.to_owned(),
                    String::from_utf8(header.value.unwrap().to_vec()).unwrap(),
                )
            })
            .collect();
        let expected = [
            ("event.id", parcel.event.id.to_string()),
            ("schema", "ecs/9.4".to_owned()),
            ("content-type", "application/json".to_owned()),
            ("observer", "lure".to_owned()),
        ];
        assert_eq!(found, expected.map(|(key, value)| (key.to_owned(), value)));
    }
}
