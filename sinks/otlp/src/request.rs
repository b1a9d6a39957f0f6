//! Records as requests, each within the receiver's bound.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;
use trapline_sink::Parcel;

use crate::proto::{ExportRequest, LogRecord, Resource, ResourceLogs, Scope, ScopeLogs};
use crate::record::Maker;

/// Room for what stands around records, beside the resource itself.
const AROUND: usize = 256;
/// What stands before a record in its list: a tag and a length, or a comma.
const BEFORE_RECORD: usize = 6;

/// So many records of a request of which a part was refused go each by itself.
const ALONE_MAX: usize = 32;

/// How a request is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Protobuf.
    Protobuf,
    /// OTLP JSON.
    Json,
}

/// What is the same in every request of a sink.
#[derive(Debug, Clone)]
pub(crate) struct Envelope {
    pub(crate) encoding: Encoding,
    pub(crate) gzip: bool,
    /// Largest request, before it is compressed.
    pub(crate) bytes_max: usize,
    pub(crate) resource: Resource,
    pub(crate) scope: Scope,
}

/// Records for one request, and where in the batch they are from.
#[derive(Debug, Default)]
pub(crate) struct Load {
    pub(crate) places: Vec<usize>,
    records: Vec<LogRecord>,
}

impl Load {
    /// A record that is about no event of the batch.
    pub(crate) fn control(record: LogRecord) -> Self {
        Self {
            places: Vec::new(),
            records: vec![record],
        }
    }

    /// How many records.
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }
}

/// A batch as requests.
#[derive(Debug, Default)]
pub(crate) struct Packed {
    pub(crate) loads: Vec<Load>,
    /// Places in the batch of what does not fit a request.
    pub(crate) unfit: Vec<usize>,
}

impl Envelope {
    /// Makes the records of a batch and parts them, in order, into requests.
    pub(crate) fn pack(&self, maker: Maker, batch: &[Arc<Parcel>]) -> Packed {
        self.pack_some(maker, batch.iter().enumerate())
    }

    /// Like [`pack`](Self::pack), for a request of which a part was refused: what was in it, each by itself or, of many, in
    /// groups, so that each of them is sent three times at most until the refused are known.
    pub(crate) fn pack_apart(&self, maker: Maker, batch: &[Arc<Parcel>], places: &[usize]) -> Vec<Load> {
        let parcel = |place: &usize| Some((*place, batch.get(*place)?));
        let groups = places.chunks(group(places.len()));
        groups
            .flat_map(|group| self.pack_some(maker, group.iter().filter_map(parcel)).loads)
            .collect()
    }

    fn pack_some<'a>(&self, maker: Maker, parcels: impl Iterator<Item = (usize, &'a Arc<Parcel>)>) -> Packed {
        let (mut packed, mut load, mut bytes) = (Packed::default(), Load::default(), 0);
        let room = self.bytes_max.saturating_sub(AROUND + self.size_of_resource());
        for (place, parcel) in parcels {
            let Some((record, size)) = self.sized(maker, parcel).filter(|(_, size)| *size <= room) else {
                packed.unfit.push(place);
                continue;
            };
            if bytes + size > room {
                packed.loads.push(std::mem::take(&mut load));
                bytes = 0;
            }
            bytes += size;
            load.places.push(place);
            load.records.push(record);
        }
        packed.loads.extend(Some(load).filter(|load| !load.places.is_empty()));
        packed
    }

    fn sized(&self, maker: Maker, parcel: &Parcel) -> Option<(LogRecord, usize)> {
        let record = maker.record(parcel)?;
        let size = match self.encoding {
            Encoding::Protobuf => record.encoded_len(),
            Encoding::Json => json_len(&record),
        };
        Some((record, size + BEFORE_RECORD))
    }

    fn size_of_resource(&self) -> usize {
        match self.encoding {
            Encoding::Protobuf => self.resource.encoded_len() + self.scope.encoded_len(),
            Encoding::Json => json_len(&self.resource) + json_len(&self.scope),
        }
    }

    /// The body of a request for these records, compressed if it shall be; without any, a request that stores nothing.
    pub(crate) fn body(&self, load: Load) -> Bytes {
        let message = self.message(load.records);
        let plain = match self.encoding {
            Encoding::Protobuf => message.encode_to_vec(),
            Encoding::Json => serde_json::to_vec(&message).expect("messages are of texts and numbers"),
        };
        if self.gzip {
            compress(&plain).into()
        } else {
            plain.into()
        }
    }

    fn message(&self, records: Vec<LogRecord>) -> ExportRequest {
        if records.is_empty() {
            return ExportRequest::default();
        }
        ExportRequest {
            resource_logs: vec![ResourceLogs {
                resource: Some(self.resource.clone()),
                scope_logs: vec![ScopeLogs {
                    scope: Some(self.scope.clone()),
                    log_records: records,
                }],
            }],
        }
    }
}

/// How many of so many go together when some of them are refused.
fn group(count: usize) -> usize {
    match count {
        0..=ALONE_MAX => 1,
        _ => count.isqrt(),
    }
}

fn json_len(message: &impl serde::Serialize) -> usize {
    let mut counted = Counted(0);
    serde_json::to_writer(&mut counted, message).expect("messages are of texts and numbers");
    counted.0
}

/// Counts what is written.
struct Counted(usize);

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn compress(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    encoder
        .write_all(body)
        .and_then(|()| encoder.finish())
        .expect("writing to a Vec does not fail")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::KeyValue;
    use trapline_schemas::Format;
    use trapline_sink::conformance::events;

    fn envelope(encoding: Encoding, bytes_max: usize) -> Envelope {
        Envelope {
            encoding,
            gzip: false,
            bytes_max,
            resource: Resource {
                attributes: vec![KeyValue::new("service.name", "trapline")],
            },
            scope: Scope {
                name: "trapline".into(),
                version: "0".into(),
            },
        }
    }

    const MAKER: Maker = Maker {
        format: Format::Text,
        bytes_max: 1 << 18,
    };

    #[test]
    fn no_request_is_above_the_bound_and_none_is_forgotten() {
        let batch = events(40, false);
        for encoding in [Encoding::Protobuf, Encoding::Json] {
            for bytes_max in [4000, 9000, 30_000, 1 << 22] {
                let envelope = envelope(encoding, bytes_max);
                let packed = envelope.pack(MAKER, &batch);
                assert_eq!(packed.unfit, Vec::<usize>::new());
                let places: Vec<usize> = packed.loads.iter().flat_map(|load| load.places.clone()).collect();
                assert_eq!(places, (0..40).collect::<Vec<_>>());
                for load in packed.loads {
                    let bytes = envelope.body(load).len();
                    assert!(bytes <= bytes_max, "{bytes} of {bytes_max}");
                }
            }
        }
    }

    #[test]
    fn what_was_refused_in_part_goes_again_in_at_most_two_steps() {
        let batch = events(500, false);
        let envelope = envelope(Encoding::Protobuf, 1 << 22);
        let places: Vec<usize> = (0..500).collect();
        let groups = envelope.pack_apart(MAKER, &batch, &places);
        let found: Vec<usize> = groups.iter().flat_map(|load| load.places.clone()).collect();
        assert_eq!(found, places, "none is forgotten");
        assert!(groups.len() <= 24 && groups.iter().all(|load| load.len() <= ALONE_MAX));
        let alone = envelope.pack_apart(MAKER, &batch, &groups[3].places);
        assert!(alone.iter().all(|load| load.len() == 1) && alone.len() == groups[3].len());
        assert_eq!((group(0), group(ALONE_MAX), group(10_000)), (1, 1, 100));
    }

    #[test]
    fn a_record_that_no_request_can_hold_is_named() {
        let packed = envelope(Encoding::Protobuf, 500).pack(MAKER, &events(3, false));
        assert!(packed.loads.is_empty());
        assert_eq!(packed.unfit, [0, 1, 2]);
    }

    #[test]
    fn a_request_without_records_stores_nothing() {
        assert_eq!(envelope(Encoding::Protobuf, 9000).body(Load::default()), Bytes::new());
        assert_eq!(
            envelope(Encoding::Json, 9000).body(Load::default()),
            r#"{"resourceLogs":[]}"#
        );
    }
}
