//! Whatever a peer sends, every form stays what it claims to be.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops where something is wrong, and says what it skips"
)]

#[expect(dead_code, reason = "shared with the golden tests, which use all of it")]
mod happenings;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use proptest::prelude::*;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use trapline_schemas::render::{render, render_within};
use trapline_schemas::text::{clean, clean_within, hidden, is_clean, printable};
use trapline_schemas::{Action, CATALOGUE, Event, Field, Format, Kind, Origin, Timestamp, Value, codec};
use uuid::Uuid;

/// Bytes that are likely to break something.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let nasty = prop::sample::select(vec![
        &b"\0"[..],
        b"\r\n",
        b"\x1b[2J",
        b"\\",
        b"\"",
        b"|",
        b"^",
        b"=",
        b" k=v",
        b"\xff",
        b"\xc3",
        b"\xed\xa0\x80",
        b"\xe2\x80\xae",
        b"\xe2\x80\x8b",
        b"\xc2\x85",
        b"\xe2\x80\xa8",
        b"\xf3\xa0\x81\x81",
        b"${jndi:ldap://x}",
        b"<script>",
        b"\\u0000",
        b"\\xff",
        b"CEF:0|",
        "漢😀é".as_bytes(),
    ])
    .prop_map(<[u8]>::to_vec);
    let part = prop_oneof![
        nasty,
        prop::collection::vec(any::<u8>(), 0..40),
        "[ -~]{0,20}".prop_map(String::into_bytes)
    ];
    prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

fn ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u8; 16]>().prop_map(IpAddr::from)
    ]
}

/// An instant that every form can show.
fn instant() -> impl Strategy<Value = Timestamp> {
    (946_684_800_000_000..4_102_444_800_000_000_i64).prop_map(Timestamp::from_micros)
}

/// A value for a field: text and bytes are whatever a peer sends.
fn value(kind: Kind) -> BoxedStrategy<Value> {
    match kind {
        Kind::Keyword | Kind::Text => prop_oneof![
            bytes().prop_map(|bytes| Value::Text(clean(&bytes))),
            bytes().prop_map(|bytes| Value::Text(String::from_utf8_lossy(&bytes).into())),
            prop::sample::select(vec![
                "tcp", "udp", "ssh", "http", "redis", "GET", "Get", "new", "password", "a.b"
            ])
            .prop_map(Value::from),
        ]
        .boxed(),
        Kind::Long => prop_oneof![0..70_000_i64, any::<i64>()].prop_map(Value::Int).boxed(),
        Kind::Float => any::<f64>().prop_map(Value::Float).boxed(),
        Kind::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Kind::Ip => ip().prop_map(Value::Ip).boxed(),
        Kind::Date => instant().prop_map(Value::Time).boxed(),
        Kind::Id => any::<u128>().prop_map(|id| Value::Id(Uuid::from_u128(id))).boxed(),
        Kind::Bytes => bytes().prop_map(Value::from).boxed(),
        Kind::Keywords => prop::collection::vec(bytes().prop_map(|bytes| clean(&bytes)), 0..12)
            .prop_map(Value::Texts)
            .boxed(),
        Kind::Ips => prop::collection::vec(ip(), 0..4).prop_map(Value::Ips).boxed(),
        Kind::Longs => prop::collection::vec(any::<i64>(), 0..20).prop_map(Value::Ints).boxed(),
    }
}

/// Any event: any action with any stored facts.
fn event() -> impl Strategy<Value = Event> {
    let stored: Vec<Field> = CATALOGUE
        .iter()
        .filter(|row| row.origin == Origin::Stored)
        .map(|row| row.field)
        .collect();
    let fact = prop::sample::select(stored).prop_flat_map(|field| (Just(field), value(field.row().kind)));
    let action = prop::sample::select(Action::ALL);
    (
        any::<u128>(),
        instant(),
        action,
        prop::collection::vec(fact, 0..40),
        bytes(),
    )
        .prop_map(|(id, at, action, facts, name)| {
            let mut event = Event::new(Uuid::from_u128(id), at, action);
            for (field, value) in facts {
                event.set(field, value);
            }
            if action == Action::Other {
                event.set_action_name(&String::from_utf8_lossy(&name));
            }
            event
        })
}

fn rendered(event: &Event, format: Format) -> String {
    let mut out = Vec::new();
    render(event, format, &mut out);
    String::from_utf8(out).expect("a form is UTF-8")
}

/// JSON of which no object has a key twice.
struct Strict;

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Strict;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON without null")
            }
            fn visit_bool<E>(self, _: bool) -> Result<Strict, E> {
                Ok(Strict)
            }
            fn visit_i64<E>(self, _: i64) -> Result<Strict, E> {
                Ok(Strict)
            }
            fn visit_u64<E>(self, _: u64) -> Result<Strict, E> {
                Ok(Strict)
            }
            fn visit_f64<E>(self, _: f64) -> Result<Strict, E> {
                Ok(Strict)
            }
            fn visit_str<E>(self, _: &str) -> Result<Strict, E> {
                Ok(Strict)
            }
            fn visit_seq<S: SeqAccess<'de>>(self, mut items: S) -> Result<Strict, S::Error> {
                while items.next_element::<Strict>()?.is_some() {}
                Ok(Strict)
            }
            fn visit_map<M: MapAccess<'de>>(self, mut members: M) -> Result<Strict, M::Error> {
                let mut seen = BTreeMap::new();
                while let Some((key, value)) = members.next_entry::<String, Strict>()? {
                    if seen.insert(key.clone(), value).is_some() {
                        return Err(M::Error::custom(format!("key `{key}` given twice")));
                    }
                }
                Ok(Strict)
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// Reads a CEF line: header fields and extension, unescaped, by the rules of the standard alone.
fn read_cef(line: &str) -> Option<(Vec<String>, BTreeMap<String, String>)> {
    let mut header = vec![String::new()];
    let mut chars = line.strip_prefix("CEF:")?.chars();
    while header.len() < 8 {
        match chars.next()? {
            '\\' => header.last_mut()?.push(chars.next().filter(|ch| "\\|".contains(*ch))?),
            '|' => header.push(String::new()),
            ch => header.last_mut()?.push(ch),
        }
    }
    header.pop();
    let mut pairs = BTreeMap::new();
    let mut key = String::new();
    let mut text = String::new();
    let mut reading_key = true;
    while let Some(ch) = chars.next() {
        match ch {
            '=' if reading_key => reading_key = false,
            _ if reading_key => key.push(ch),
            '\\' => text.push(chars.next().filter(|ch| "\\=".contains(*ch))?),
            '=' => {
                // An unescaped sign ends the next key, which began after the last space.
                let (value, next) = text.rsplit_once(' ')?;
                pairs
                    .insert(std::mem::replace(&mut key, next.to_owned()), value.to_owned())
                    .is_none()
                    .then_some(())?;
                text.clear();
            }
            _ => text.push(ch),
        }
    }
    pairs.insert(key, text).is_none().then_some((header, pairs))
}

/// Reads a LEEF 2.0 line by the delimiter that it names.
fn read_leef(line: &str) -> Option<(Vec<&str>, BTreeMap<&str, &str>)> {
    let mut header: Vec<&str> = line.strip_prefix("LEEF:")?.splitn(7, '|').collect();
    let rest = header.pop()?;
    let delimiter = header.pop()?;
    let mut pairs = BTreeMap::new();
    for pair in rest.split(delimiter) {
        let (key, value) = pair.split_once('=')?;
        pairs.insert(key, value).is_none().then_some(())?;
    }
    Some((header, pairs))
}

/// The bytes that `printable` made a text of.
fn unprintable(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut chars = text.chars();
    while let Some(ch) = chars.next() {
        bytes.push(match ch {
            '\\' => match chars.next()? {
                '\\' => b'\\',
                'r' => b'\r',
                'n' => b'\n',
                't' => b'\t',
                'x' => u8::from_str_radix(&chars.by_ref().take(2).collect::<String>(), 16).ok()?,
                _ => return None,
            },
            _ => u8::try_from(ch).ok()?,
        });
    }
    Some(bytes)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn clean_text_hides_nothing_and_stays_itself(bytes in bytes(), most in 0_usize..40) {
        let text = clean(&bytes);
        prop_assert!(is_clean(&text) && text.chars().count() <= 256);
        prop_assert_eq!(clean(text.as_bytes()), text);
        prop_assert!(clean_within(&bytes, most).chars().count() <= most);
    }

    #[test]
    fn printable_text_is_ascii_and_turns_back_into_the_bytes(bytes in bytes()) {
        let text = printable(&bytes);
        prop_assert!(text.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
        prop_assert_eq!(unprintable(&text), Some(bytes));
    }

    #[test]
    fn every_form_is_one_line_that_hides_nothing(event in event()) {
        for format in Format::ALL {
            let line = rendered(&event, *format);
            prop_assert!(!line.chars().any(hidden), "{}", line);
        }
    }

    #[test]
    fn ecs_and_ocsf_are_json_without_double_keys(event in event()) {
        for format in [Format::Ecs, Format::Ocsf] {
            let line = rendered(&event, format);
            let read = serde_json::from_str::<Strict>(&line);
            prop_assert!(read.is_ok(), "{:?} {}", read.err(), line);
        }
    }

    #[test]
    fn cef_reads_back_with_the_values_that_went_in(event in event()) {
        let line = rendered(&event, Format::Cef);
        let read = read_cef(&line);
        prop_assert!(read.is_some(), "{}", line);
        let (header, pairs) = read.unwrap();
        prop_assert_eq!(&header[..3], ["0", "Trapline", "trapline"]);
        prop_assert_eq!(pairs.get("externalId"), Some(&event.id.to_string()));
        if let Some(user) = event.text(Field::UserName).filter(|user| !user.is_empty()) {
            prop_assert_eq!(pairs.get("duser").map(String::as_str), Some(user.as_str()));
        }
    }

    #[test]
    fn leef_reads_back_with_the_values_that_went_in(event in event()) {
        let line = rendered(&event, Format::Leef);
        let read = read_leef(&line);
        prop_assert!(read.is_some(), "{}", line);
        let (header, pairs) = read.unwrap();
        prop_assert_eq!(header.len(), 5);
        prop_assert_eq!(pairs.get("eventId").map(|id| id.parse()), Some(Ok(event.id)));
        if let Some(user) = event.text(Field::UserName).filter(|user| !user.is_empty()) {
            let replaced = user.replace('^', "_");
            prop_assert_eq!(pairs.get("usrName").copied(), Some(replaced.as_str()));
        }
    }

    #[test]
    fn a_bound_is_kept_and_json_never_cut(event in event(), max in 0_usize..6000) {
        for format in Format::ALL {
            let mut out = b"before".to_vec();
            let fits = render_within(&event, *format, max, &mut out);
            let (before, line) = out.split_at(6);
            prop_assert_eq!(before, b"before");
            prop_assert!(line.len() <= max);
            prop_assert!(fits != line.is_empty());
            if fits && format.is_json() {
                let read: serde_json::Value = serde_json::from_slice(line).unwrap();
                let whole = rendered(&event, *format).len() <= max;
                let marked = read["honeyport"]["truncated"] == true || read["metadata"]["is_truncated"] == true;
                prop_assert_eq!(marked, !whole);
            }
        }
    }

    #[test]
    fn a_body_reads_back_as_its_event(event in event()) {
        let body = codec::encode(&event);
        prop_assert_eq!(codec::decode(&body).unwrap(), event);
    }

    #[test]
    fn any_bytes_in_a_body_are_refused_or_read_but_never_a_panic(
        event in event(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut body = codec::encode(&event);
        for (at, byte) in damage {
            let at = at.index(body.len());
            body[at] = byte;
        }
        if cut.index(3) == 0 {
            body.truncate(cut.index(body.len()));
        }
        if let Ok(read) = codec::decode(&body) {
            // What was read can be shown, and goes back as it is.
            for format in Format::ALL {
                rendered(&read, *format);
            }
            prop_assert_eq!(codec::decode(&codec::encode(&read)).unwrap(), read);
        }
    }

    #[test]
    fn any_bytes_are_refused_or_read_but_never_a_panic(bytes in bytes()) {
        let _ = codec::decode(&bytes);
    }

    #[test]
    fn what_is_resolved_is_what_ecs_shows(event in event()) {
        let ecs: serde_json::Value = serde_json::from_str(&rendered(&event, Format::Ecs)).unwrap();
        for row in CATALOGUE {
            let shown = row.ecs.split('.').try_fold(&ecs, |value, key| value.get(key));
            let resolved = event.resolve(row.field);
            prop_assert_eq!(resolved.is_some(), shown.is_some(), "{}", row.ecs);
            if let (Some(Value::Texts(texts)), Some(shown), Origin::Derived) = (resolved, shown, row.origin) {
                prop_assert_eq!(&serde_json::json!(texts.iter().map(|text| text.as_str()).collect::<Vec<_>>()), shown);
            }
        }
    }
}

#[test]
fn the_drop_order_is_bytes_then_text_then_commands() {
    let event = happenings::hostile(&mut happenings::Maker::new())
        .into_iter()
        .find(|event| event.action == Action::Payload)
        .unwrap();
    let mut max = rendered(&event, Format::Ecs).len();
    let mut missing = Vec::new();
    loop {
        let mut out = Vec::new();
        if !render_within(&event, Format::Ecs, max, &mut out) {
            break;
        }
        let ecs: serde_json::Value = serde_json::from_slice(&out).unwrap();
        let own = &ecs["honeyport"];
        missing.push(
            [
                own["payload"].get("base64"),
                own["payload"].get("printable"),
                own.get("commands"),
            ]
            .map(|part| part.is_none()),
        );
        max = out.len() - 1;
    }
    assert_eq!(
        missing,
        [
            [false, false, false],
            [true, false, false],
            [true, true, false],
            [true, true, true],
            [true, true, true],
            [true, true, true]
        ]
    );
}

#[test]
fn a_payload_above_the_bound_still_leaves_a_short_event() {
    let mut event = happenings::Maker::new().hit(Action::Payload, "tcp", happenings::From::OutsideV6);
    event.set(Field::PayloadBase64, vec![0xff_u8; 65_536]);
    event.set(Field::PayloadSize, 1_000_000_i64);
    for (format, max) in [
        (Format::Ecs, 9500),
        (Format::Ocsf, 9500),
        (Format::Cef, 8000),
        (Format::Leef, 4000),
    ] {
        let mut out = Vec::new();
        assert!(render_within(&event, format, max, &mut out));
        assert!(out.len() > 500 && out.len() <= max, "{format:?} {}", out.len());
    }
}
