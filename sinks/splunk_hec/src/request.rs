//! The body of a request: one JSON object per event, one after another.

use std::io::Write;
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

    /// One event as the collector takes it; `None` if it cannot be made to fit.
    pub(crate) fn wrap(&self, parcel: &Parcel) -> Option<Bytes> {
        let event = parcel.rendered_within(self.format, self.event_bytes_max)?;
        let mut out = Vec::with_capacity(event.len() + self.metadata.len() + 128);
        out.extend_from_slice(b"{\"time\":");
        push_seconds(parcel.event.at, &mut out);
        out.extend_from_slice(self.metadata.as_bytes());
        self.push_event(&event, &mut out);
        out.extend_from_slice(b",\"fields\":{\"event_id\":\"");
        out.extend_from_slice(parcel.event.id.hyphenated().encode_lower(&mut [0; 36]).as_bytes());
        out.extend_from_slice(b"\"}}");
        Some(out.into())
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

/// Joins wrapped events and compresses them if asked.
pub(crate) fn body(events: &[(usize, Bytes)], gzip: bool) -> Bytes {
    let size = events.iter().map(|(_, event)| event.len() + 1).sum();
    let mut plain = Vec::with_capacity(size);
    for (_, event) in events {
        plain.extend_from_slice(event);
        plain.push(b'\n');
    }
    if gzip { compress(&plain) } else { plain.into() }
}

fn compress(plain: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::fast());
    encoder
        .write_all(plain)
        .and_then(|()| encoder.finish())
        .expect("writing to a Vec does not fail")
        .into()
}

/// Wraps a batch: what can be sent, with its place in the batch, and the places of what does not fit.
pub(crate) fn wrap_all(envelope: &Envelope, batch: &[Arc<Parcel>]) -> (Vec<(usize, Bytes)>, Vec<usize>) {
    let mut events = Vec::with_capacity(batch.len());
    let mut unfit = Vec::new();
    for (place, parcel) in batch.iter().enumerate() {
        match envelope.wrap(parcel) {
            Some(event) => events.push((place, event)),
            None => unfit.push(place),
        }
    }
    (events, unfit)
}

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
