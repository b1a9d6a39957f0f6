//! The journal body: a versioned flat JSON object of catalogue names. Never a struct dump.
//!
//! In: an [`Event`]. Out: one line such as
//! `{"v":1,"id":"019c…","at":1772619330123456,"action":"decoy-connect","source.ip":"203.0.113.77"}`; `at` and dates are
//! microseconds since 1970, bytes are base64, the rest is as JSON has it. Invariants, tested:
//!
//! 1. `decode(encode(event)) == event`, also for what a newer version wrote.
//! 2. An unknown name, and a known one whose value is not of its kind, is kept as it was read and written back.
//! 3. An unknown action becomes [`Action::Other`] under its own name: it is delivered in a
//!    generic form and written back unchanged.
//! 4. `v` grows only when an older reader would misread the body; then that reader says [`BodyError::Newer`] and
//!    loses nothing. New fields and actions leave it alone. Every past version stays readable and has its golden
//!    body in the tests.
//! 5. No bytes make it panic, and no body makes more than about its own size of facts.
//!
//! A pass entry (`{"v":1,"pass":…}`) is no event: decoding one is [`BodyError::Malformed`].

use std::borrow::Cow;
use std::fmt;

use base64::prelude::{BASE64_STANDARD, Engine};
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;
use smol_str::SmolStr;
use uuid::Uuid;

use crate::event::{Action, Event};
use crate::fields::{Field, Kind};
use crate::json;
use crate::scan;
use crate::value::{Timestamp, Value};

/// The body version that this build writes, and the newest that it reads.
pub const VERSION: u64 = 1;

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The bytes are not the JSON object that a body is.
    #[error("body is not a valid event: {0}")]
    Malformed(String),
    /// A newer version wrote it in a way that this one cannot read.
    #[error("body has version {found}, this build reads 1..={known}")]
    Newer {
        /// Version found.
        found: u64,
        /// Newest version this build reads.
        known: u64,
    },
}

/// Encodes an event as a journal body.
pub fn encode(event: &Event) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    encode_into(event, &mut out);
    out
}

/// Appends the journal body of an event to `out`.
pub fn encode_into(event: &Event, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"v\":");
    json::int(out, VERSION.cast_signed());
    out.extend_from_slice(b",\"id\":");
    json::id(out, event.id);
    out.extend_from_slice(b",\"at\":");
    json::int(out, event.at.micros());
    out.extend_from_slice(b",\"action\":");
    json::string(out, event.action_name());
    for (field, value) in event.facts() {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(field.name().as_bytes());
        out.extend_from_slice(b"\":");
        put(out, value);
    }
    for (name, raw) in event.unknown() {
        out.push(b',');
        json::string(out, name);
        out.push(b':');
        out.extend_from_slice(raw.as_bytes());
    }
    out.push(b'}');
}

fn put(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Text(text) => json::clean_string(out, text),
        Value::Int(number) => json::int(out, *number),
        Value::Float(number) => json::float(out, *number),
        Value::Bool(yes) => json::bool(out, *yes),
        Value::Ip(ip) => json::ip(out, *ip),
        Value::Time(at) => json::int(out, at.micros()),
        Value::Id(id) => json::id(out, *id),
        Value::Bytes(bytes) => json::base64(out, bytes),
        Value::Texts(texts) => json::array(out, texts, |out, text| json::clean_string(out, text)),
        Value::Ips(ips) => json::array(out, ips, |out, ip| json::ip(out, *ip)),
        Value::Ints(numbers) => json::array(out, numbers, |out, number| json::int(out, *number)),
    }
}

/// Decodes a journal body of this or any earlier version. Unknown names are kept.
pub fn decode(body: &[u8]) -> Result<Event, BodyError> {
    // Checked once as a whole, so that no part of it is checked again.
    let body = std::str::from_utf8(body).map_err(|error| BodyError::Malformed(error.to_string()))?;
    match scan::event(body) {
        Some(event) => Ok(event),
        None => decode_by_the_book(body),
    }
}

/// Decodes any body, also of another version or hand.
fn decode_by_the_book(body: &str) -> Result<Event, BodyError> {
    let malformed = |error: serde_json::Error| BodyError::Malformed(error.to_string());
    let mut reader = serde_json::Deserializer::from_str(body);
    let read = reader.deserialize_map(BodyVisitor).map_err(malformed)?;
    reader.end().map_err(malformed)?;
    read
}

/// A JSON string, borrowed from the body where nothing in it is escaped.
#[derive(serde::Deserialize)]
struct Str<'a>(#[serde(borrow)] Cow<'a, str>);

/// Reads the object name by name. The outer error is of JSON, the inner of its meaning.
struct BodyVisitor;

impl<'de> Visitor<'de> for BodyVisitor {
    type Value = Result<Event, BodyError>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the object of a journal body")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut event = Event::new(Uuid::nil(), Timestamp::default(), Action::Other);
        let mut seen = Head::default();
        while let Some(Str(name)) = map.next_key()? {
            match &*name {
                "v" => seen.version = map.next_value()?,
                "id" => {
                    event.id = map.next_value::<Str>()?.0.parse().map_err(M::Error::custom)?;
                    seen.id = true;
                }
                "at" => {
                    event.at = Timestamp::from_micros(map.next_value()?);
                    seen.at = true;
                }
                "action" => {
                    event.set_action_name(&map.next_value::<Str>()?.0);
                    seen.action = true;
                }
                _ => keep(&mut event, name, map.next_value::<&RawValue>()?.get()),
            }
            if seen.version > VERSION {
                while map.next_entry::<Str, serde::de::IgnoredAny>()?.is_some() {}
                return Ok(Err(BodyError::Newer {
                    found: seen.version,
                    known: VERSION,
                }));
            }
        }
        Ok(seen.complete(event))
    }
}

/// Which of the names that every body has were there.
#[derive(Default)]
struct Head {
    version: u64,
    id: bool,
    at: bool,
    action: bool,
}

impl Head {
    fn complete(&self, event: Event) -> Result<Event, BodyError> {
        let missing = [
            ("v", self.version > 0),
            ("id", self.id),
            ("at", self.at),
            ("action", self.action),
        ];
        match missing.iter().find(|(_, there)| !there) {
            None => Ok(event),
            Some((name, _)) => Err(BodyError::Malformed(format!("`{name}` is missing"))),
        }
    }
}

/// Sets the fact of a known name, or keeps what this version cannot hold.
fn keep(event: &mut Event, name: Cow<'_, str>, raw: &str) {
    let stored = Field::find(&name).filter(|field| field.is_stored());
    match stored.and_then(|field| Some((field, read(field.row().kind, raw)?))) {
        Some((field, value)) => event.set(field, value),
        None => event.keep_unknown(name.into_owned(), raw.into()),
    }
}

/// The value of one kind from its JSON text; `None` if the text holds another, or more than the kind can.
fn read(kind: Kind, raw: &str) -> Option<Value> {
    Some(match kind {
        Kind::Keyword | Kind::Text => Value::Text(SmolStr::new(text(raw)?)),
        Kind::Long => Value::Int(raw.parse().ok()?),
        Kind::Float => Value::Float(raw.parse().ok().filter(|number: &f64| number.is_finite())?),
        Kind::Bool => Value::Bool(raw.parse().ok()?),
        Kind::Ip => Value::Ip(text(raw)?.parse().ok()?),
        Kind::Date => Value::Time(Timestamp::from_micros(raw.parse().ok()?)),
        Kind::Id => Value::Id(Uuid::try_parse(&text(raw)?).ok()?),
        Kind::Bytes => Value::Bytes(BASE64_STANDARD.decode(&*text(raw)?).ok()?.into()),
        Kind::Keywords => Value::Texts(texts(raw)?),
        Kind::Ips => Value::Ips(serde_json::from_str(raw).ok()?),
        Kind::Longs => Value::Ints(serde_json::from_str(raw).ok()?),
    })
}

/// The text of a JSON string; borrowed where nothing is escaped.
fn text(raw: &str) -> Option<Cow<'_, str>> {
    let inside = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inside.as_bytes().contains(&b'\\') {
        return serde_json::from_str(raw).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inside))
}

fn texts(raw: &str) -> Option<Vec<SmolStr>> {
    let texts: Vec<Str<'_>> = serde_json::from_str(raw).ok()?;
    Some(texts.into_iter().map(|Str(text)| SmolStr::new(text)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body of version 1 with a field of every kind, as this crate first wrote it. Never to be changed: journals
    /// in the field hold such bodies.
    const GOLDEN_V1: &str = concat!(
        r#"{"v":1,"id":"019cb859-0e8b-7d47-978e-899785bbb80f","at":1772619370123456,"action":"decoy-payload","#,
        r#""destination.ip":"2001:db8::1","destination.port":22,"event.created":1772619370125001,"#,
        r#""event.risk_score":60.0,"honeyport.commands":["sh","say \"hi\""],"#,
        r#""honeyport.incident.id":"5b2e4a4e-7b0a-8b5e-9a42-5648e7281961","honeyport.payload.base64":"//0B","#,
        r#""honeyport.payload.masked":false,"honeyport.scan.ports":[22,23],"honeyport.source.inside":true,"#,
        r#""source.ip":"203.0.113.77","user.name":"naïve \\ \\x0d"}"#,
    );

    fn golden_event() -> Event {
        let id = "019cb859-0e8b-7d47-978e-899785bbb80f".parse().unwrap();
        let mut event = Event::new(id, Timestamp::from_micros(1_772_619_370_123_456), Action::Payload);
        event.set(Field::UserName, SmolStr::new("naïve \\ \r"));
        event.set(
            Field::SourceIp,
            "::ffff:203.0.113.77".parse::<std::net::IpAddr>().unwrap(),
        );
        event.set(Field::DestinationIp, "2001:db8::1".parse::<std::net::IpAddr>().unwrap());
        event.set(Field::DestinationPort, 22_u16);
        event.set(Field::EventCreated, Timestamp::from_micros(1_772_619_370_125_001));
        event.set(Field::EventRiskScore, 60.0);
        event.set(Field::Commands, vec![SmolStr::new("sh"), SmolStr::new("say \"hi\"")]);
        event.set(
            Field::IncidentId,
            "5b2e4a4e-7b0a-8b5e-9a42-5648e7281961".parse::<Uuid>().unwrap(),
        );
        event.set(Field::PayloadBase64, b"\xff\xfd\x01".to_vec());
        event.set(Field::PayloadMasked, false);
        event.set(Field::ScanPorts, vec![22_i64, 23]);
        event.set(Field::SourceZoneInside, true);
        event
    }

    #[test]
    fn the_golden_body_of_version_1_is_read_and_written_as_ever() {
        assert_eq!(String::from_utf8(encode(&golden_event())).unwrap(), GOLDEN_V1);
        assert_eq!(decode(GOLDEN_V1.as_bytes()).unwrap(), golden_event());
    }

    #[test]
    fn what_a_newer_version_wrote_is_kept_and_written_back() {
        let newer = concat!(
            r#"{"v":1,"id":"019cb859-0e8b-7d47-978e-899785bbb80f","at":5,"action":"decoy-telepathy","#,
            r#""source.port":"many","honeyport.mind":{"read":[1.50,null,"\u0041"]},"event.kind":"alert"}"#,
        );
        let event = decode(newer.as_bytes()).unwrap();
        assert_eq!((event.action, event.action_name()), (Action::Other, "decoy-telepathy"));
        assert_eq!(event.get(Field::SourcePort), None);
        let written = encode(&event);
        assert_eq!(String::from_utf8_lossy(&written), newer);
        assert_eq!(decode(&written).unwrap(), event);
    }

    #[test]
    fn a_body_of_a_newer_layout_is_reported_not_misread() {
        let body = br#"{"v":2,"what":{"ever":[]}}"#;
        assert!(matches!(decode(body), Err(BodyError::Newer { found: 2, known: 1 })));
    }

    #[test]
    fn what_is_no_event_is_malformed() {
        let id = r#""id":"019cb859-0e8b-7d47-978e-899785bbb80f""#;
        for body in [
            String::new(),
            "[]".into(),
            "{}".into(),
            r#"{"v":1,"pass":"quiet","of":7}"#.into(),
            format!(r#"{{"v":1,{id},"at":1,"action":"decoy-connect"}} x"#),
            format!(r#"{{"v":1,{id},"at":1.5,"action":"decoy-connect"}}"#),
            format!(r#"{{"v":1,{id},"at":1}}"#),
            format!(r#"{{"v":0,{id},"at":1,"action":"decoy-connect"}}"#),
            r#"{"v":1,"id":"x","at":1,"action":"decoy-connect"}"#.into(),
        ] {
            let read = decode(body.as_bytes());
            assert!(matches!(read, Err(BodyError::Malformed(_))), "{body}: {read:?}");
        }
    }

    /// Both ways to read a body give the same event, or the quick one gives none.
    fn reads_alike(body: &[u8]) {
        let Ok(body) = std::str::from_utf8(body) else { return };
        if let Some(event) = scan::event(body) {
            assert_eq!(decode_by_the_book(body).unwrap(), event, "{body}");
        }
    }

    #[test]
    fn what_this_build_writes_is_read_the_quick_way() {
        let samples = concat!(
            include_str!("../samples/contact.body.jsonl"),
            include_str!("../samples/finding.body.jsonl"),
            include_str!("../samples/response.body.jsonl"),
            include_str!("../samples/decision.body.jsonl"),
            include_str!("../samples/health.body.jsonl"),
        );
        for body in samples.lines().chain([GOLDEN_V1]) {
            let event = decode_by_the_book(body).unwrap();
            let expected = event.unknown().is_empty().then_some(event);
            assert_eq!(scan::event(body), expected, "{body}");
        }
    }

    #[test]
    fn a_body_with_any_one_byte_changed_or_cut_reads_alike_both_ways() {
        let body = GOLDEN_V1.as_bytes();
        for at in 0..body.len() {
            reads_alike(&body[..at]);
            reads_alike(&[&body[..at], &body[at + 1..]].concat());
            for byte in *b"\"\\,:.{}[]0129-+eEtx \n\0\x7f" {
                let (before, after) = body.split_at(at);
                reads_alike(&[before, &[byte], after].concat());
                reads_alike(&[before, &[byte], &after[1..]].concat());
            }
        }
    }

    #[test]
    fn odd_values_read_alike_both_ways() {
        let head = r#"{"v":1,"id":"019cb859-0e8b-7d47-978e-899785bbb80f","at":5,"action":"decoy-connect","#;
        for fact in [
            r#""source.port":-0"#,
            r#""source.port":-7"#,
            r#""source.port":007"#,
            r#""source.port":999999999999999999"#,
            r#""source.port":9223372036854775807"#,
            r#""source.port":9223372036854775808"#,
            r#""event.risk_score":0.10"#,
            r#""event.risk_score":00.1"#,
            r#""event.risk_score":1."#,
            r#""event.risk_score":-1.5e3"#,
            r#""source.ip":"0.0.0.0""#,
            r#""source.ip":"255.255.255.256""#,
            r#""source.ip":"01.2.3.4""#,
            r#""source.ip":"1.2.3""#,
            r#""source.ip":"1.2.3.4.5""#,
            r#""source.ip":"1..3.4""#,
            r#""source.ip":"::ffff:1.2.3.4""#,
            r#""user.name":"\u202e\ud83d\ude00""#,
            r#""user.name":"\ud83d""#,
            r#""user.name":"é漢\u2028""#,
            r#""user.name":"a\\""#,
            r#""honeyport.commands":["\u001b[2J", "a" ]"#,
            r#""honeyport.commands":["a",null]"#,
            r#""honeyport.scan.ports":[1,2.0]"#,
            r#""honeyport.payload.base64":"//0B=""#,
            r#""event.kind":"alert""#,
            r#""source.port":1,"source.ip":"1.2.3.4","source.port":2"#,
        ] {
            reads_alike(format!("{head}{fact}}}").as_bytes());
        }
    }

    #[test]
    fn a_name_given_twice_counts_once() {
        let body = concat!(
            r#"{"v":1,"id":"019cb859-0e8b-7d47-978e-899785bbb80f","at":5,"action":"decoy-connect","#,
            r#""x.y":1,"source.port":1,"source.port":2,"x.y":2}"#,
        );
        let event = decode(body.as_bytes()).unwrap();
        assert_eq!(event.int(Field::SourcePort), Some(2));
        assert_eq!(event.unknown(), [("x.y".to_owned(), "2".into())]);
    }
}
