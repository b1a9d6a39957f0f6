//! Lookups in a database and a table made here.

use std::net::IpAddr;
use std::sync::Arc;

use proptest::prelude::*;
use trapline_schemas::{Action, Event, Field, Timestamp, Value};
use uuid::Uuid;

use super::enrich::*;
use super::*;

/// Values of a MaxMind database as bytes: control byte, size, content.
mod mmdb {
    /// A text of at most 284 bytes.
    pub fn text(text: &str) -> Vec<u8> {
        let length = text.len();
        let mut bytes = match u8::try_from(length.saturating_sub(29)) {
            Ok(rest) if length >= 29 => vec![2 << 5 | 29, rest],
            _ => vec![2 << 5 | length as u8],
        };
        bytes.extend(text.as_bytes());
        bytes
    }

    pub fn map(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = vec![7 << 5 | entries.len() as u8];
        for (key, value) in entries {
            bytes.extend(text(key));
            bytes.extend(value);
        }
        bytes
    }

    pub fn array(items: &[Vec<u8>]) -> Vec<u8> {
        [&[items.len() as u8, 4][..], &items.concat()].concat()
    }

    pub fn double(number: f64) -> Vec<u8> {
        [&[3 << 5 | 8][..], &number.to_be_bytes()].concat()
    }

    pub fn small(number: u16) -> Vec<u8> {
        [&[5 << 5 | 2][..], &number.to_be_bytes()].concat()
    }

    pub fn number(number: u32) -> Vec<u8> {
        [&[6 << 5 | 4][..], &number.to_be_bytes()].concat()
    }

    fn long(number: u64) -> Vec<u8> {
        [&[8, 2][..], &number.to_be_bytes()].concat()
    }

    /// A database that knows one IPv4 network: a tree of one path, with records of 24 bits.
    pub fn database(kind: &str, network: [u8; 4], length: usize, data: &[u8]) -> Vec<u8> {
        let bits = u128::from(u32::from_be_bytes(network));
        let count = 96 + length;
        let mut bytes = Vec::new();
        for at in 0..count {
            let next = if at + 1 == count { count + 16 } else { at + 1 };
            let is_right = bits >> (127 - at) & 1 == 1;
            let pair = if is_right { [count, next] } else { [next, count] };
            pair.iter()
                .for_each(|node| bytes.extend(&(*node as u32).to_be_bytes()[1..]));
        }
        bytes.extend([0; 16]);
        bytes.extend(data);
        bytes.extend(b"\xab\xcd\xefMaxMind.com");
        bytes.extend(map(&[
            ("binary_format_major_version", small(2)),
            ("binary_format_minor_version", small(0)),
            ("build_epoch", long(1_700_000_000)),
            ("database_type", text(kind)),
            ("description", map(&[("en", text("of a test"))])),
            ("ip_version", small(6)),
            ("languages", array(&[text("en")])),
            ("node_count", number(count as u32)),
            ("record_size", small(24)),
        ]));
        bytes
    }
}

fn city() -> Vec<u8> {
    let names = |name: &str| mmdb::map(&[("en", mmdb::text(name))]);
    let data = mmdb::map(&[
        ("city", mmdb::map(&[("names", names("Lyon"))])),
        ("continent", mmdb::map(&[("code", mmdb::text("EU"))])),
        (
            "country",
            mmdb::map(&[("iso_code", mmdb::text("FR")), ("names", names("France"))]),
        ),
        (
            "location",
            mmdb::map(&[("latitude", mmdb::double(45.75)), ("longitude", mmdb::double(4.85))]),
        ),
    ]);
    mmdb::database("GeoLite2-City", [203, 0, 113, 0], 24, &data)
}

fn asn() -> Vec<u8> {
    let data = mmdb::map(&[
        ("autonomous_system_number", mmdb::number(64_496)),
        ("autonomous_system_organization", mmdb::text("Example Net")),
    ]);
    mmdb::database("GeoLite2-ASN", [203, 0, 113, 0], 24, &data)
}

fn enrich(tables: Tables, key: Field) -> Enrich {
    let shared = Arc::new(SharedTables::default());
    shared.put(tables);
    let spec = EnrichSpec {
        geoip: None,
        asn: None,
        table: None,
        key,
        columns: Vec::new(),
    };
    Enrich::new(&spec, shared)
}

fn databases() -> Tables {
    Tables {
        geoip: Some(MaxMind::read(city(), &["City"]).unwrap()),
        asn: Some(MaxMind::read(asn(), &["ASN"]).unwrap()),
        table: None,
    }
}

fn hit(source: [u8; 4]) -> Event {
    let mut event = Event::new(Uuid::nil(), Timestamp::default(), Action::Connect);
    event.set(Field::SourceIp, IpAddr::from(source));
    event
}

fn richer(enrich: &Enrich, event: &Event) -> Event {
    match enrich.shape(event) {
        Shaped::Changed(event) => *event,
        other => unreachable!("{other:?}"),
    }
}

#[test]
fn a_source_gets_its_place_and_its_network() {
    let event = richer(&enrich(databases(), Field::SourceIp), &hit([203, 0, 113, 77]));
    for (field, value) in [
        (Field::SourceGeoCity, Value::from("Lyon")),
        (Field::SourceGeoContinent, Value::from("EU")),
        (Field::SourceGeoCountry, Value::from("FR")),
        (Field::SourceGeoCountryName, Value::from("France")),
        (Field::SourceGeoLat, Value::Float(45.75)),
        (Field::SourceGeoLon, Value::Float(4.85)),
        (Field::SourceAsNumber, Value::Int(64_496)),
        (Field::SourceAsName, Value::from("Example Net")),
    ] {
        assert_eq!(event.get(field), Some(&value), "{}", field.name());
    }
    assert_eq!(MaxMind::read(city(), &["City"]).unwrap().verify(), Ok(()));
    assert!(matches!(
        enrich(databases(), Field::SourceIp).shape(&hit([192, 0, 2, 1])),
        Shaped::Same
    ));
}

#[test]
fn what_was_recorded_stays() {
    let table = b"address,owner,host\n203.0.113.0/24,lab,from-table\n";
    let tables = Tables {
        table: Some(Inventory::read(table, Field::SourceIp, &[]).unwrap().0),
        ..Tables::default()
    };
    let mut event = hit([203, 0, 113, 77]);
    event.set(Field::SourceDomain, "from-lease");
    let event = richer(&enrich(tables, Field::SourceIp), &event);
    assert_eq!(event.text(Field::SourceDomain).unwrap(), "from-lease");
    assert_eq!(event.text(Field::SourceOwner).unwrap(), "lab");
}

#[test]
fn an_inventory_is_asked_by_any_field() {
    let tables = Tables {
        table: Some(
            Inventory::read(b"key,tags\nroot,admin;unix\n", Field::UserName, &[])
                .unwrap()
                .0,
        ),
        ..Tables::default()
    };
    let enrich = enrich(tables, Field::UserName);
    let mut event = hit([203, 0, 113, 77]);
    assert!(matches!(enrich.shape(&event), Shaped::Same));
    event.set(Field::UserName, "ROOT");
    let tags = Value::Texts(vec!["admin".into(), "unix".into()]);
    assert_eq!(richer(&enrich, &event).get(Field::SourceTags), Some(&tags));
}

#[test]
fn a_database_of_something_else_is_refused() {
    let told = MaxMind::read(asn(), &["City", "Country"]).unwrap_err();
    assert_eq!(told, "it is a database of type `GeoLite2-ASN`, not of City or Country");
    assert!(
        MaxMind::read(b"hello".to_vec(), &["City"])
            .unwrap_err()
            .starts_with("it is no MaxMind database")
    );
}

proptest! {
    #[test]
    fn any_bytes_changed_in_a_database_add_nothing_wrong(at in 0..city().len(), byte in any::<u8>(), cut in 0..city().len()) {
        let mut changed = city();
        changed[at] = byte;
        for bytes in [changed, city()[..cut].to_vec()] {
            let Ok(geoip) = MaxMind::read(bytes, &["City"]) else { continue };
            let tables = Tables { geoip: Some(geoip), ..Tables::default() };
            let enrich = enrich(tables, Field::SourceIp);
            for source in [[203, 0, 113, 77], [10, 0, 0, 1]] {
                let _ = enrich.shape(&hit(source));
            }
        }
    }
}
