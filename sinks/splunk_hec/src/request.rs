//! The body of a request: one JSON object per event, one after another.

use std::io::Write;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use trapline_schemas::{Format, Timestamp};
use trapline_sink::Parcel;

/// What every event of a sink carries beside itself, as JSON text made once.
#[derive(Debug, Clone)]
pub(crate) struct Envelope {
    format: Format,
    event_bytes_max: usize,
    /// `,"host":"…","source":"…","sourcetype":"…","index":"…","event":`
    metadata: String,
}

impl Envelope {
    /// Makes the constant part. All metadata is repeated in each event: some collectors carry it over to the events
    /// that follow in the same request.
    pub(crate) fn new(
        format: Format,
        event_bytes_max: usize,
        host: &str,
        source: &str,
        sourcetype: &str,
        index: Option<&str>,
    ) -> Self {
        let mut metadata = String::new();
        let fields = [
            ("host", Some(host)),
            ("source", Some(source)),
            ("sourcetype", Some(sourcetype)),
            ("index", index),
        ];
        for (name, value) in fields {
            if let Some(value) = value {
                metadata.push_str(&format!(",\"{name}\":{}", json_string(value)));
            }
        }
        metadata.push_str(",\"event\":");
        Self {
            format,
            event_bytes_max,
            metadata,
        }
    }

    /// Appends one event as the collector takes it, with the space that parts it from the next; `false`, and nothing, if it
    /// cannot be made to fit.
    fn wrap(&self, parcel: &Parcel, out: &mut Vec<u8>) -> bool {
        let Some(event) = parcel.rendered_within(self.format, self.event_bytes_max) else {
            return false;
        };
        out.extend_from_slice(b"{\"time\":");
        push_seconds(parcel.event.at, out);
        out.extend_from_slice(self.metadata.as_bytes());
        self.push_event(&event, out);
        out.extend_from_slice(b",\"fields\":{\"event_id\":\"");
        out.extend_from_slice(parcel.event.id.hyphenated().encode_lower(&mut [0; 36]).as_bytes());
        out.extend_from_slice(b"\"}}\n");
        true
    }

    fn push_event(&self, event: &[u8], out: &mut Vec<u8>) {
        if self.format.is_json() {
            out.extend_from_slice(event);
        } else {
            out.extend_from_slice(json_string(&String::from_utf8_lossy(event)).as_bytes());
        }
    }
}

/// Seconds since the epoch with milliseconds, as the `time` key wants them.
fn push_seconds(at: Timestamp, out: &mut Vec<u8>) {
    let millis = at.millis().max(0);
    out.extend_from_slice(itoa::Buffer::new().format(millis / 1000).as_bytes());
    out.push(b'.');
    let fraction = 1000 + millis % 1000;
    out.extend_from_slice(
        itoa::Buffer::new()
            .format(fraction)
            .as_bytes()
            .get(1..)
            .unwrap_or_default(),
    );
}

fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A batch as the collector takes it, one event behind the other in one piece of memory.
#[derive(Debug)]
pub(crate) struct Wrapped {
    text: Bytes,
    /// What can be sent.
    pub(crate) events: Vec<Place>,
    /// Places in the batch of what does not fit.
    pub(crate) unfit: Vec<usize>,
}

/// Where an event is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// Its place in the batch.
    pub(crate) in_batch: usize,
    in_text: Range<usize>,
}

impl Wrapped {
    /// Wraps a batch.
    pub(crate) fn new(envelope: &Envelope, batch: &[Arc<Parcel>]) -> Self {
        let mut text = Vec::with_capacity(batch.len() * (EVENT_BYTES + envelope.metadata.len()));
        let (mut events, mut unfit) = (Vec::with_capacity(batch.len()), Vec::new());
        for (in_batch, parcel) in batch.iter().enumerate() {
            let from = text.len();
            match envelope.wrap(parcel, &mut text) {
                true => events.push(Place {
                    in_batch,
                    in_text: from..text.len(),
                }),
                false => unfit.push(in_batch),
            }
        }
        let text = text.into();
        Self { text, events, unfit }
    }

    /// The body of a request for events that follow each other, compressed if asked.
    pub(crate) fn body(&self, events: &[Place], gzip: bool) -> Bytes {
        let (Some(first), Some(last)) = (events.first(), events.last()) else {
            return Bytes::new();
        };
        let body = self.text.slice(first.in_text.start..last.in_text.end);
        if gzip { compress(&body).into() } else { body }
    }
}

fn compress(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    encoder
        .write_all(body)
        .and_then(|()| encoder.finish())
        .expect("writing to a Vec does not fail")
}

/// Room made for an event at first.
const EVENT_BYTES: usize = 2560;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_seconds_with_three_digits() {
        let mut out = Vec::new();
        push_seconds(Timestamp::from_micros(1_772_619_370_007_999), &mut out);
        assert_eq!(out, b"1772619370.007");
    }

    #[test]
    fn metadata_is_json_whatever_the_names_hold() {
        let envelope = Envelope::new(Format::Ecs, 9500, "a\"b\n", "s", "t", Some("i"));
        assert_eq!(
            envelope.metadata,
            r#","host":"a\"b\n","source":"s","sourcetype":"t","index":"i","event":"#
        );
    }
}
