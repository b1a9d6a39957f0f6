//! What was hidden is nowhere.

use std::net::IpAddr;

use proptest::prelude::*;
use smol_str::SmolStr;
use trapline_schemas::ids::SiteKey;
use trapline_schemas::render::render;
use trapline_schemas::{Action, CATALOGUE, Event, Field, Format, Timestamp, codec, ids, schema};

use super::*;

fn redact(fields: &[Field], with: With) -> Redact {
    let spec = RedactSpec {
        fields: fields.to_vec(),
        with,
    };
    Redact::new(&spec, SiteKey::new([7; 32]))
}

fn hidden(event: &Event, fields: &[Field], with: With) -> Event {
    match redact(fields, with).shape(event) {
        Shaped::Changed(event) => *event,
        other => unreachable!("{other:?}"),
    }
}

/// A login whose user and source stand in many other places too.
fn login(action: Action) -> Event {
    let at = Timestamp::from_micros(1_772_619_330_123_456);
    let (source, local) = ("203.0.113.77".parse::<IpAddr>(), "10.20.30.40".parse::<IpAddr>());
    let (source, local) = (source.unwrap(), local.unwrap());
    let mut event = Event::new(ids::fresh(at), at, action);
    event.set(Field::SourceIp, source);
    event.set(Field::SourcePort, 40_022_i64);
    event.set(Field::DestinationIp, local);
    event.set(Field::DestinationPort, 21_i64);
    event.set(Field::NetworkTransport, "tcp");
    event.set(
        Field::NetworkCommunityId,
        ids::community(6, (source, 40_022).into(), (local, 21).into()),
    );
    event.set(Field::DecoyService, "ftp");
    event.set(Field::DecoyId, "ftp");
    event.set(Field::UserName, "wolfgang");
    event.set(Field::CredentialKind, "password");
    event.set(
        Field::Commands,
        ["USER Wolfgang", "PORT 203.0.113.77"].map(SmolStr::from).to_vec(),
    );
    event.set(Field::UrlOriginal, "/~wolfgang/");
    event.set(Field::EventReason, "203.0.113.77 gave up");
    event.set(Field::TransformKey, "203.0.113.77, wolfgang");
    event.set(Field::PayloadBase64, b"USER wolfgang\r\nPORT 203.0.113.77\r\n".to_vec());
    event.set(Field::PayloadSize, 34_i64);
    event.set(Field::PayloadSha256, "a".repeat(64));
    event
}

const WITH: [With; 3] = [With::Mask, With::Remove, With::Hmac];

fn line(event: &Event, format: Format) -> String {
    let mut line = Vec::new();
    render(event, format, &mut line);
    String::from_utf8(line).unwrap()
}

fn assert_valid(event: &Event) {
    for (format, schema) in [(Format::Ecs, schema::ecs()), (Format::Ocsf, schema::ocsf())] {
        let json: serde_json::Value = serde_json::from_str(&line(event, format)).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let errors: Vec<_> = validator.iter_errors(&json).map(|error| error.to_string()).collect();
        assert_eq!(errors, Vec::<String>::new(), "{json}");
    }
}

#[test]
fn what_was_hidden_is_nowhere_in_any_form() {
    let base64 = |text: &[u8]| {
        codec::encode(&{
            let mut event = Event::new(uuid::Uuid::nil(), Timestamp::default(), Action::Payload);
            event.set(Field::PayloadBase64, text.to_vec());
            event
        })
    };
    let payload = String::from_utf8(base64(b"USER wolfgang\r\nPORT 203.0.113.77\r\n")).unwrap();
    let payload = payload.rsplit('"').nth(1).unwrap().to_owned();
    for with in WITH {
        for action in [
            Action::Credential,
            Action::Payload,
            Action::Connect,
            Action::SessionEnd,
            Action::Digest,
        ] {
            let event = hidden(&login(action), &[Field::SourceIp, Field::UserName], with);
            for format in Format::ALL {
                let line = line(&event, *format);
                for value in ["203.0.113.77", "wolfgang", "Wolfgang", &payload] {
                    assert!(!line.contains(value), "{with:?} {format:?} {value}: {line}");
                }
            }
            assert_eq!(
                event.get(Field::NetworkCommunityId),
                None,
                "an unkeyed hash of the addresses"
            );
            assert_eq!(event.get(Field::PayloadSha256), None, "a hash of what it was");
            assert_valid(&event);
        }
    }
}

#[test]
fn a_pseudonym_of_an_address_stands_where_a_text_may_stand_in_each_form() {
    let event = hidden(&login(Action::Connect), &[Field::SourceIp], With::Hmac);
    let address = event.text(Field::SourceAddress).unwrap().to_string();
    assert_eq!(address.len(), 32);
    let again = hidden(&login(Action::Credential), &[Field::SourceIp], With::Hmac);
    assert_eq!(
        again.text(Field::SourceAddress).unwrap(),
        address.as_str(),
        "one source, one pseudonym"
    );
    for format in Format::ALL {
        assert!(
            line(&event, *format).contains(&address),
            "{format:?}: {}",
            line(&event, *format)
        );
    }
    let ocsf: serde_json::Value = serde_json::from_str(&line(&event, Format::Ocsf)).unwrap();
    assert_eq!(
        (&ocsf["class_uid"], &ocsf["src_endpoint"]["uid"]),
        (&4001.into(), &address.into())
    );
}

#[test]
fn an_address_that_stands_in_another_field_too_is_hidden_there_as_well() {
    let mut event = login(Action::Connect);
    let source = event.ip(Field::SourceIp).unwrap();
    event.set(Field::DestinationIp, source);
    event.set(Field::DigestSources, vec![source, IpAddr::from([192, 0, 2, 9])]);
    for with in WITH {
        let event = hidden(&event, &[Field::SourceIp], with);
        for format in Format::ALL {
            assert!(
                !line(&event, *format).contains("203.0.113.77"),
                "{}",
                line(&event, *format)
            );
        }
        assert_valid(&event);
    }
}

#[test]
fn a_masked_address_is_its_network() {
    let event = hidden(&login(Action::Connect), &[Field::SourceIp], With::Mask);
    assert_eq!(event.ip(Field::SourceIp), Some(IpAddr::from([203, 0, 113, 0])));
    let mut event = login(Action::Connect);
    event.set(Field::SourceIp, "2001:db8:1:2:3::4".parse::<IpAddr>().unwrap());
    let event = hidden(&event, &[Field::SourceIp], With::Mask);
    assert_eq!(event.ip(Field::SourceIp), "2001:db8:1::".parse().ok());
}

#[test]
fn what_there_is_nothing_of_is_left_alone() {
    assert!(matches!(
        redact(&[Field::TlsJa3], With::Mask).shape(&login(Action::Connect)),
        Shaped::Same
    ));
}

/// Every event that the project keeps as a sample.
fn samples() -> Vec<Event> {
    let files = [
        include_str!("../../../schemas/samples/contact.body.jsonl"),
        include_str!("../../../schemas/samples/finding.body.jsonl"),
        include_str!("../../../schemas/samples/response.body.jsonl"),
        include_str!("../../../schemas/samples/decision.body.jsonl"),
        include_str!("../../../schemas/samples/health.body.jsonl"),
    ];
    let bodies = files.iter().flat_map(|file| file.lines());
    bodies.map(|body| codec::decode(body.as_bytes()).unwrap()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_sample_stays_valid_whatever_is_hidden_of_it(
        sample in prop::sample::select(samples()), with in prop::sample::select(&WITH[..]),
        fields in prop::collection::vec(prop::sample::select(stored()), 1..12),
    ) {
        if let Shaped::Changed(event) = redact(&fields, with).shape(&sample) {
            assert_valid(&event);
        }
        let all: Vec<_> = sample.facts().iter().map(|(field, _)| *field).collect();
        if !all.is_empty() {
            assert_valid(&hidden(&sample, &all, with));
        }
    }

    #[test]
    fn any_bytes_of_a_name_are_hidden_in_every_form(name in "[a-z]{6,12}", payload in prop::collection::vec(any::<u8>(), 0..60), with in prop::sample::select(&WITH[..])) {
        let name = format!("Q{name}Q");
        let mut event = login(Action::Payload);
        event.set(Field::UserName, name.as_str());
        event.set(Field::SourceDomain, format!("{name}.example"));
        event.set(Field::PayloadBase64, [&payload[..], name.as_bytes(), &payload[..]].concat());
        let event = hidden(&event, &[Field::UserName, Field::SourceIp, Field::DestinationIp], with);
        for format in Format::ALL {
            prop_assert!(!line(&event, *format).contains(&name));
        }
        assert_valid(&event);
    }
}

fn stored() -> Vec<Field> {
    CATALOGUE
        .iter()
        .map(|row| row.field)
        .filter(|field| field.is_stored())
        .collect()
}
