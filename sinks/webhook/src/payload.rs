//! What a request holds, and what it is called.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};
use trapline_schemas::Format;
use trapline_sink::Parcel;
use trapline_template::{Body, Scope};
use uuid::Uuid;

/// How events share a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Payload {
    /// An object a request.
    Event,
    /// An array of objects.
    Array,
    /// Objects, each on its line.
    Lines,
}

impl Payload {
    /// The words of the key, in the order of the variants.
    pub(crate) const WORDS: &'static [&'static str] = &["event", "array", "ndjson"];

    pub(crate) fn of(word: &str) -> Self {
        match word {
            "array" => Self::Array,
            "ndjson" => Self::Lines,
            _ => Self::Event,
        }
    }

    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::Lines => "application/x-ndjson",
            _ => "application/json",
        }
    }
}

/// How an event becomes JSON.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) format: Format,
    /// Whole events if there is none.
    pub(crate) body: Option<Arc<Body>>,
    pub(crate) event_bytes_max: usize,
}

impl Writer {
    /// The event as one line of JSON. Errors: why it can never be sent.
    pub(crate) fn write(&self, parcel: &Parcel) -> Result<Bytes, String> {
        let max = self.event_bytes_max;
        let Some(body) = &self.body else {
            let unfit = || format!("does not fit `event_bytes_max` = {max} even with every long field left out");
            return parcel.rendered_within(self.format, max).ok_or_else(unfit);
        };
        let scope = self.scope(parcel);
        let value = body.render(&scope).map_err(|error| format!("`body`: {error}"))?;
        let json = value.to_string();
        match json.len() <= max {
            true => Ok(json.into()),
            false => Err(format!("`body` gives {} bytes, `event_bytes_max` is {max}", json.len())),
        }
    }

    fn scope(&self, parcel: &Parcel) -> Scope {
        let whole = serde_json::from_slice(parcel.rendered(self.format)).unwrap_or_default();
        Scope::of_ecs(parcel.rendered(Format::Ecs)).and(WHOLE, &whole)
    }
}

/// The name by which a template has the whole event, in the sink's form.
pub(crate) const WHOLE: &str = "whole";

/// A request's bytes, and the name by which receivers know doubles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) body: Bytes,
}

impl Message {
    /// One event.
    pub(crate) fn of_one(parcel: &Parcel, json: Bytes, gzip: bool) -> Self {
        Self {
            id: parcel.event.id.to_string(),
            body: packed(json, gzip),
        }
    }

    /// Several events: the same ones have the same name, however often they are sent.
    pub(crate) fn of_many(events: &[(Uuid, Bytes)], payload: Payload, gzip: bool) -> Self {
        let ids: Vec<_> = events.iter().map(|(id, _)| *id).collect();
        Self {
            id: name_of(&ids).to_string(),
            body: packed(joined(events, payload), gzip),
        }
    }
}

/// The name of several events: UUIDv8 of their ids, in order (RFC 9562 section 5.8).
fn name_of(ids: &[Uuid]) -> Uuid {
    let mut hash = Sha256::new();
    for id in ids {
        hash.update(id.as_bytes());
    }
    let mut name = [0; 16];
    for (to, from) in name.iter_mut().zip(hash.finalize()) {
        *to = from;
    }
    Uuid::new_v8(name)
}

fn joined(events: &[(Uuid, Bytes)], payload: Payload) -> Bytes {
    let mut all = Vec::with_capacity(events.iter().map(|(_, json)| json.len() + 1).sum::<usize>() + 2);
    let is_array = payload == Payload::Array;
    all.extend(is_array.then_some(b'['));
    for (at, (_, json)) in events.iter().enumerate() {
        all.extend((is_array && at > 0).then_some(b','));
        all.extend_from_slice(json);
        all.extend((!is_array).then_some(b'\n'));
    }
    all.extend(is_array.then_some(b']'));
    all.into()
}

fn packed(body: Bytes, gzip: bool) -> Bytes {
    if !gzip {
        return body;
    }
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    let written = encoder.write_all(&body).and_then(|()| encoder.finish());
    written.expect("writing to a Vec does not fail").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(last: u8) -> Uuid {
        Uuid::from_bytes([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last])
    }

    #[test]
    fn several_events_are_one_array_or_a_line_each() {
        let events = [(id(1), Bytes::from("{}")), (id(2), Bytes::from("{\"a\":1}"))];
        assert_eq!(joined(&events, Payload::Array), "[{},{\"a\":1}]");
        assert_eq!(joined(&events, Payload::Lines), "{}\n{\"a\":1}\n");
        assert_eq!(joined(&events[..1], Payload::Array), "[{}]");
    }

    #[test]
    fn a_batch_has_the_name_of_its_events_in_their_order() {
        assert_eq!(name_of(&[id(1), id(2)]), name_of(&[id(1), id(2)]));
        let names = [name_of(&[id(1), id(2)]), name_of(&[id(2), id(1)]), name_of(&[id(1)])];
        assert!(names[0] != names[1] && names[1] != names[2] && names[0] != names[2]);
        assert_eq!(names[0].get_version_num(), 8);
    }
}
