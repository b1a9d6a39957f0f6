//! The body of a bulk request: two lines an event, what to do and the document.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use trapline_schemas::{Event, Format, Timestamp};
use trapline_sink::Parcel;
use trapline_sink::pattern::Pattern;
use uuid::Uuid;

use crate::config::Op;

/// Room made for an event at first.
const EVENT_BYTES: usize = 2560;

/// How events of one sink become documents.
#[derive(Debug, Clone)]
pub(crate) struct Form {
    pub(crate) format: Format,
    pub(crate) index: Pattern,
    pub(crate) op: Op,
}

impl Form {
    /// Where requests go to: an index that is the same for all stands in the path, which proxies can tell apart.
    pub(crate) fn path(&self) -> String {
        match self.index.fixed() {
            Some(index) => format!("{index}/_bulk"),
            None => "_bulk".to_owned(),
        }
    }

    /// The lines of a batch.
    pub(crate) fn lines(&self, batch: &[Arc<Parcel>]) -> Vec<u8> {
        let mut out = Vec::with_capacity(batch.len() * EVENT_BYTES);
        for parcel in batch {
            self.action(parcel.event.id, &parcel.event, &mut out);
            self.document(parcel, &mut out);
        }
        out
    }

    /// The lines of a document that no peer has a part in, in the index of an event that was not taken.
    pub(crate) fn control(&self, own: Uuid, event: &Event, at: Timestamp) -> Vec<u8> {
        let mut out = Vec::new();
        self.action(own, event, &mut out);
        let id = event.id;
        let said =
            format!("the cluster did not take a request with event {id}; this document asks whether it takes any");
        let document = json!({"@timestamp": at.to_string(), "message": said, "event": {"action": "record-control"}});
        out.extend_from_slice(document.to_string().as_bytes());
        out.push(b'\n');
        out
    }

    /// Names of indices and ids need no escape.
    fn action(&self, own: Uuid, event: &Event, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"");
        out.extend_from_slice(self.op.name().as_bytes());
        out.extend_from_slice(b"\":{");
        if self.index.fixed().is_none() {
            out.extend_from_slice(b"\"_index\":\"");
            out.extend_from_slice(self.index.of(event).as_bytes());
            out.extend_from_slice(b"\",");
        }
        out.extend_from_slice(b"\"_id\":\"");
        out.extend_from_slice(id(own, &mut [0; 36]).as_bytes());
        out.extend_from_slice(b"\"}}\n");
    }

    /// A form without `@timestamp` is given one: data streams need it.
    fn document(&self, parcel: &Parcel, out: &mut Vec<u8>) {
        let document = parcel.rendered(self.format);
        match (self.format, document.split_first()) {
            (Format::Ocsf, Some((b'{', rest))) => {
                out.extend_from_slice(format!("{{\"@timestamp\":\"{}\",", parcel.event.at).as_bytes());
                out.extend_from_slice(rest);
            }
            _ => out.extend_from_slice(document),
        }
        out.push(b'\n');
    }
}

/// An id as documents have it.
pub(crate) fn id(id: Uuid, room: &mut [u8; 36]) -> &str {
    id.hyphenated().encode_lower(room)
}

/// The body as it is sent.
pub(crate) fn body(lines: Vec<u8>, gzip: bool) -> Bytes {
    if !gzip {
        return lines.into();
    }
    let mut encoder = GzEncoder::new(Vec::with_capacity(lines.len() / 4), Compression::fast());
    let done = encoder.write_all(&lines).and_then(|()| encoder.finish());
    done.expect("writing to a Vec does not fail").into()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use trapline_sink::conformance::events;

    use super::*;
    use crate::config::tests::settings;

    fn form(index: &str, format: Format) -> Form {
        Form {
            format,
            index: settings(&format!("index = \"{index}\"")).index,
            op: Op::Create,
        }
    }

    fn lines(form: &Form, batch: &[Arc<Parcel>]) -> Vec<Value> {
        let text = String::from_utf8(form.lines(batch)).unwrap();
        assert!(text.ends_with('\n'));
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn an_event_is_two_lines_under_its_own_id() {
        let batch = events(2, false);
        let form = form("logs-x-default", Format::Ecs);
        let lines = lines(&form, &batch);
        assert_eq!((lines.len(), form.path().as_str()), (4, "logs-x-default/_bulk"));
        let id = batch[1].event.id.to_string();
        assert_eq!(lines[2], serde_json::json!({"create": {"_id": id}}));
        assert_eq!(lines[3]["event"]["id"], id.as_str());
        assert!(lines[3]["@timestamp"].is_string());
    }

    #[test]
    fn an_index_of_the_events_own_stands_beside_its_id() {
        let batch = events(1, false);
        let form = form("hp-{level}-{yyyy.mm}", Format::Ecs);
        let lines = lines(&form, &batch);
        let expected = format!("hp-proof-{}", &batch[0].event.at.to_string().replace('-', ".")[..7]);
        assert_eq!(
            (lines[0]["create"]["_index"].as_str(), form.path().as_str()),
            (Some(&*expected), "_bulk")
        );
    }

    #[test]
    fn a_document_in_ocsf_has_the_timestamp_that_a_data_stream_needs() {
        let batch = events(1, false);
        let document = lines(&form("x", Format::Ocsf), &batch).remove(1);
        assert_eq!(document["@timestamp"], batch[0].event.at.to_string());
        assert_eq!(document["metadata"]["uid"], batch[0].event.id.to_string());
        assert_eq!(document["time"], batch[0].event.at.millis());
    }

    #[test]
    fn the_document_that_is_about_no_event_stands_in_the_events_index_under_an_id_of_its_own() {
        let (parcel, own) = (events(1, false).remove(0), Uuid::from_u128(7));
        let text = form("hp-{level}", Format::Ecs).control(own, &parcel.event, Timestamp::now());
        let text = String::from_utf8(text).unwrap();
        let [action, document] = &text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect::<Vec<Value>>()[..]
        else {
            panic!("{text}")
        };
        assert_eq!(
            action,
            &json!({"create": {"_index": "hp-proof", "_id": own.to_string()}})
        );
        assert!(
            document["message"]
                .as_str()
                .unwrap()
                .contains(&parcel.event.id.to_string())
        );
        assert!(
            document["event"]["id"].is_null(),
            "whoever counts events does not count it"
        );
    }

    #[test]
    fn a_compressed_body_is_what_it_was() {
        use std::io::Read;
        let plain = b"{\"create\":{}}\n".repeat(9);
        let mut back = Vec::new();
        flate2::read::GzDecoder::new(&body(plain.clone(), true)[..])
            .read_to_end(&mut back)
            .unwrap();
        assert_eq!((back, &body(plain.clone(), false)[..]), (plain.clone(), &plain[..]));
    }
}
