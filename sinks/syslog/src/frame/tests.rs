use std::net::IpAddr;
use std::sync::Arc;

use proptest::prelude::*;
use trapline_schemas::{Action, Timestamp};
use uuid::Uuid;

use super::*;

fn writer(rfc: Rfc) -> Writer {
    let mut writer = Writer::new(
        rfc,
        Facility::LOG_LOCAL0,
        Some("lure-dmz-01.example.org"),
        "trapline",
        32_473,
    );
    writer.pid = 4711;
    writer.with_message(Format::Text, false, 8000)
}

fn event() -> Event {
    let id = Uuid::from_u128(0x019c_b859_0e8b_7d47_978e_8997_85bb_b80f);
    // 2026-03-04T10:16:10.123456Z
    let mut event = Event::new(id, Timestamp::from_micros(1_772_619_370_123_456), Action::Credential);
    event.set(Field::SourceIp, IpAddr::from([203, 0, 113, 77]));
    event.set(Field::SourcePort, 40_022_i64);
    event.set(Field::DestinationIp, IpAddr::from([10, 20, 30, 40]));
    event.set(Field::DestinationPort, 22_i64);
    event.set(Field::DecoyId, "ssh");
    event.set(Field::TouchLevel, "proof");
    event.set(Field::EventRiskScore, 50.0);
    event
}

fn message(writer: &Writer, event: Event) -> String {
    let mut out = Vec::new();
    let body = writer.message(&Parcel::new(7, Arc::new(event)), &mut out).unwrap();
    out.extend_from_slice(&body);
    String::from_utf8(out).unwrap()
}

/// An RFC 5424 message taken apart by the grammar of section 6, independently of how it was written.
#[derive(Debug, PartialEq)]
struct Parsed {
    pri: u8,
    header: Vec<String>,
    data_id: String,
    params: Vec<(String, String)>,
    message: String,
}

fn parse(text: &str) -> Option<Parsed> {
    let (pri, rest) = text.strip_prefix('<')?.split_once('>')?;
    let mut words = rest.splitn(7, ' ');
    let header: Vec<String> = words.by_ref().take(6).map(str::to_owned).collect();
    let rest = words.next()?.strip_prefix('[')?;
    let (data_id, mut rest) = rest.split_at(rest.find([' ', ']'])?);
    let mut params = Vec::new();
    while let Some(after) = rest.strip_prefix(' ') {
        let (name, after) = after.split_once("=\"")?;
        let (mut value, mut end, mut escaped) = (String::new(), None, false);
        for (at, ch) in after.char_indices() {
            match (escaped, ch) {
                (false, '\\') => escaped = true,
                (false, '"') => {
                    end = Some(at + 1);
                    break;
                }
                (false, ']') => return None,
                (true, ch) if !matches!(ch, '"' | '\\' | ']') => return None,
                (_, ch) => {
                    value.push(ch);
                    escaped = false;
                }
            }
        }
        params.push((name.to_owned(), value));
        rest = after.get(end?..)?;
    }
    let message = rest.strip_prefix("] ")?.to_owned();
    Some(Parsed {
        pri: pri.parse().ok()?,
        header,
        data_id: data_id.to_owned(),
        params,
        message,
    })
}

#[test]
fn an_rfc_5424_message_has_its_header_and_data_before_the_text() {
    let text = message(&writer(Rfc::Rfc5424), event());
    let head = "<132>1 2026-03-04T10:16:10.123456Z lure-dmz-01.example.org trapline 4711 decoy-credential \
                [trapline@32473 id=\"019cb859-0e8b-7d47-978e-899785bbb80f\" src=\"203.0.113.77\" srcPort=\"40022\" \
                dst=\"10.20.30.40\" dstPort=\"22\" decoy=\"ssh\" level=\"proof\" risk=\"50\"] ";
    assert!(text.starts_with(head), "{text}");
    assert_eq!(parse(&text).unwrap().header[5], "decoy-credential");
}

#[test]
fn an_rfc_3164_message_is_in_local_time_with_a_padded_day_and_a_short_host() {
    let text = message(&writer(Rfc::Rfc3164), event());
    let local = jiff::Timestamp::from_second(1_772_619_370)
        .unwrap()
        .to_zoned(jiff::tz::TimeZone::system());
    let time = format!(
        "Mar {:>2} {:02}:{:02}:{:02}",
        local.day(),
        local.hour(),
        local.minute(),
        local.second()
    );
    assert!(
        text.starts_with(&format!("<132>{time} lure-dmz-01 trapline[4711]: ")),
        "{text}"
    );
}

#[test]
fn every_form_in_either_header_has_the_id_by_which_a_double_is_told() {
    let id = event().id.to_string();
    for rfc in [Rfc::Rfc5424, Rfc::Rfc3164] {
        for format in Format::ALL {
            let text = message(&writer(rfc).with_message(*format, false, 8000), event());
            assert!(text.contains(&id), "{rfc:?} {format:?}: {text}");
        }
    }
}

#[test]
fn a_local_message_of_rfc_3164_has_no_host() {
    let mut writer = Writer::new(Rfc::Rfc3164, Facility::LOG_LOCAL0, None, "trapline", 1);
    writer.pid = 1;
    let text = message(&writer.with_message(Format::Text, false, 8000), event());
    assert_eq!(
        text.split(' ').filter(|word| !word.is_empty()).nth(3),
        Some("trapline[1]:")
    );
}

#[test]
fn severity_follows_the_bands_of_risk() {
    let bands = [
        (0.0, 6),
        (20.9, 6),
        (21.0, 5),
        (47.0, 4),
        (73.0, 3),
        (98.9, 3),
        (99.0, 2),
        (100.0, 2),
    ];
    for (risk, expected) in bands {
        let mut event = event();
        event.set(Field::EventRiskScore, risk);
        assert_eq!(severity(&event) as u8, expected, "risk {risk}");
    }
}

#[test]
fn the_mark_of_utf_8_is_written_only_when_asked_for() {
    let plain = parse(&message(&writer(Rfc::Rfc5424), event())).unwrap().message;
    let marked = message(&writer(Rfc::Rfc5424).with_message(Format::Text, true, 8000), event());
    assert!(!plain.starts_with('\u{feff}'));
    assert_eq!(parse(&marked).unwrap().message, format!("\u{feff}{plain}"));
}

#[test]
fn each_framing_ends_or_counts_its_message() {
    let framed = |framing: Framing| {
        let mut out = Vec::new();
        framing.frame(b"<1>1 ", b"x", &mut out);
        out
    };
    assert_eq!(framed(Framing::OctetCounting), b"6 <1>1 x");
    assert_eq!(framed(Framing::Newline), b"<1>1 x\n");
    assert_eq!(framed(Framing::Nul), b"<1>1 x\0");
}

#[test]
fn header_words_are_printable_ascii_within_their_bounds() {
    assert_eq!(printable("lure dmz\u{e9}\n", 255), "lure_dmz__");
    assert_eq!(printable("", 255), "-");
    assert_eq!(printable(&"x".repeat(300), 48).len(), 48);
}

#[test]
fn a_large_event_is_made_to_fit_and_one_that_cannot_is_refused() {
    let mut large = event();
    large.set(Field::PayloadBase64, vec![b'x'; 40_000]);
    large.set(Field::PayloadSize, 40_000_i64);
    let small = writer(Rfc::Rfc5424).with_message(Format::Ecs, false, 8000);
    assert!(message(&small, large.clone()).len() <= 8000);
    let tiny = writer(Rfc::Rfc5424).with_message(Format::Ecs, false, 480);
    let refused = tiny.message(&Parcel::new(1, Arc::new(large)), &mut Vec::new());
    assert!(refused.unwrap_err().contains("`message_bytes_max` = 480"));
}

proptest! {
    #[test]
    fn parameters_come_out_of_an_independent_parser_as_they_went_in(name in "\\PC{0,100}") {
        let name = trapline_schemas::text::clean(name.as_bytes());
        let mut event = event();
        event.set(Field::DecoyId, name.clone());
        let parsed = parse(&message(&writer(Rfc::Rfc5424), event)).unwrap();
        prop_assert_eq!(parsed.pri, 132);
        prop_assert_eq!(&parsed.data_id, "trapline@32473");
        prop_assert_eq!(parsed.params.iter().find(|(key, _)| key == "decoy"), Some(&("decoy".to_owned(), name.to_string())));
    }

    #[test]
    fn any_bytes_from_a_peer_are_one_message_without_control_characters(bytes in proptest::collection::vec(any::<u8>(), 0..400), at in 0..Format::ALL.len()) {
        let mut event = event();
        event.set(Field::UserName, trapline_schemas::text::clean(&bytes));
        event.set(Field::PayloadBase64, bytes);
        for rfc in [Rfc::Rfc5424, Rfc::Rfc3164] {
            let text = message(&writer(rfc).with_message(Format::ALL[at], false, 8000), event.clone());
            prop_assert!(!text.chars().any(char::is_control), "{:?}", text);
        }
    }

    #[test]
    fn counted_frames_are_read_back_one_by_one(messages in proptest::collection::vec("<1>\\PC{1,60}", 1..20)) {
        let mut stream = Vec::new();
        for message in &messages {
            Framing::OctetCounting.frame(b"", message.as_bytes(), &mut stream);
        }
        let (mut rest, mut read) = (stream.as_slice(), Vec::new());
        while let Some(space) = rest.iter().position(|byte| *byte == b' ') {
            let len: usize = std::str::from_utf8(&rest[..space]).unwrap().parse().unwrap();
            read.push(String::from_utf8(rest[space + 1..space + 1 + len].to_vec()).unwrap());
            rest = &rest[space + 1 + len..];
        }
        prop_assert_eq!(read, messages);
    }
}
