//! `snmp`: an agent with another community.
//!
//! In: one message. Out: the community as a credential, or what proves the user of version 3; the version, the operation
//! and the objects it is about. It is silent, as an agent is to a wrong community.
//!
//! Source: RFC 3416 section 3 (operations), RFC 3414 section 2.4 (version 3), X.690 (BER).

use std::ops::Range;

use smol_str::SmolStr;
use trapline_schemas::{Field, Value, text};

use crate::decoy::personality;
use crate::decoy::services::{Asked, Service, Speak, UdpAnswer, UdpCredential};

/// The row.
pub(super) const SERVICE: Service = Service {
    name: "snmp",
    personality: "snmp-silent",
    look: personality::look::<Look>,
    provide: None,
    speak: Speak::Datagram(answer),
};

/// `[look]` of an `snmp` personality: nothing to choose.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Look {}

/// Most objects that are kept of a request.
const OBJECTS_MAX: usize = 16;

/// Longest object identifier that is read, bytes: 128 numbers (RFC 3416 section 4.1) of up to five each.
const OBJECT_BYTES_MAX: usize = 640;

fn answer(asked: &Asked<'_>) -> UdpAnswer {
    snmp(asked.bytes)
}

fn snmp(request: &[u8]) -> UdpAnswer {
    UdpAnswer {
        facts: facts(request),
        credential: offered(request),
        ..UdpAnswer::default()
    }
}

/// What a message asks for.
fn facts(request: &[u8]) -> Vec<(Field, Value)> {
    let mut facts = Vec::new();
    let Some((version, at)) = version(request) else {
        return facts;
    };
    facts.push((Field::SnmpVersion, version.into()));
    let pdu = match version {
        "3" => None,
        _ => element(request, at, 0x04).and_then(|community| operation(request, community.end)),
    };
    if let Some((operation, contents)) = pdu {
        let objects = objects(request, contents);
        let asked = [&[operation.into()][..], &objects].concat().join(" ");
        facts.push((Field::Commands, vec![text::clean(asked.as_bytes())].into()));
        facts.push((Field::SnmpOids, objects.into()));
        facts.push((Field::SnmpOperation, operation.into()));
    }
    facts
}

/// The version of a message, and where what follows it begins.
fn version(request: &[u8]) -> Option<(&'static str, usize)> {
    let message = element(request, 0, 0x30)?;
    let version = element(request, message.start, 0x02)?;
    let (last, zeros) = request.get(version.clone())?.split_last()?;
    let name = match last {
        0 => "1",
        1 => "2c",
        3 => "3",
        _ => return None,
    };
    zeros.iter().all(|byte| *byte == 0).then_some((name, version.end))
}

/// The operation at a place, and its contents.
fn operation(request: &[u8], at: usize) -> Option<(&'static str, Range<usize>)> {
    let tag = *request.get(at)?;
    let name = match tag {
        0xa0 => "get",
        0xa1 => "get-next",
        0xa2 => "response",
        0xa3 => "set",
        0xa4 => "trap",
        0xa5 => "get-bulk",
        0xa6 => "inform",
        0xa7 => "trap",
        0xa8 => "report",
        _ => return None,
    };
    Some((name, element(request, at, tag)?))
}

/// The objects of an operation: behind its three numbers, a list of pairs that begin with one.
fn objects(request: &[u8], contents: Range<usize>) -> Vec<SmolStr> {
    let mut objects = Vec::new();
    let mut at = contents.start;
    for _ in 0..3 {
        let Some(number) = element(request, at, 0x02) else {
            return objects;
        };
        at = number.end;
    }
    let Some(list) = element(request, at, 0x30) else {
        return objects;
    };
    at = list.start;
    while at < list.end
        && objects.len() < OBJECTS_MAX
        && let Some(pair) = element(request, at, 0x30)
    {
        let name = element(request, pair.start, 0x06).and_then(|place| request.get(place));
        objects.extend(name.and_then(dotted));
        at = pair.end;
    }
    objects
}

/// An object identifier as it is written (X.690 section 8.19). `None`: it ends within a number, or has one that is too
/// large.
fn dotted(bytes: &[u8]) -> Option<SmolStr> {
    let bytes = bytes.get(..OBJECT_BYTES_MAX).unwrap_or(bytes);
    let (mut numbers, mut number) = (Vec::new(), 0_u32);
    for byte in bytes {
        number = number.checked_mul(128)?.checked_add(u32::from(byte & 0x7f))?;
        if byte & 0x80 == 0 {
            numbers.push(std::mem::take(&mut number));
        }
    }
    let (first, rest) = numbers
        .split_first()
        .filter(|_| bytes.last().is_some_and(|last| last & 0x80 == 0))?;
    let top = (first / 40).min(2);
    let mut text = format!("{top}.{}", first - top * 40);
    rest.iter().for_each(|number| text.push_str(&format!(".{number}")));
    Some(text::clean(text.as_bytes()))
}

fn offered(request: &[u8]) -> Option<UdpCredential> {
    let message = element(request, 0, 0x30)?;
    let number = element(request, message.start, 0x02)?;
    if version(request).is_some_and(|(version, _)| version == "3") {
        return user(request, number.end);
    }
    Some(UdpCredential {
        kind: "community",
        user: Vec::new(),
        secret: element(request, number.end, 0x04)?,
        proof: None,
        facts: Vec::new(),
    })
}

/// The user of a version 3 message and the digest that proves it (RFC 3414 section 2.4), if it has one.
fn user(request: &[u8], at: usize) -> Option<UdpCredential> {
    let global = element(request, at, 0x30)?;
    let security = element(request, global.end, 0x04)?;
    let parameters = element(request, security.start, 0x30)?;
    let engine = element(request, parameters.start, 0x04)?;
    let boots = element(request, engine.end, 0x02)?;
    let time = element(request, boots.end, 0x02)?;
    let name = element(request, time.end, 0x04)?;
    let digest = element(request, name.end, 0x04).filter(|digest| !digest.is_empty())?;
    Some(UdpCredential {
        kind: "token",
        user: request.get(name)?.to_vec(),
        secret: digest,
        proof: None,
        facts: Vec::new(),
    })
}

/// Where the contents of the BER element at `at` are, if it has this tag. One that is cut short or lies about its
/// length reaches to the end: it may still hold a secret.
fn element(bytes: &[u8], at: usize, tag: u8) -> Option<Range<usize>> {
    let (found, rest) = bytes.get(at..)?.split_first()?;
    if *found != tag {
        return None;
    }
    let (first, rest) = rest.split_first()?;
    let (length, header) = match *first {
        short @ 0..=0x7f => (usize::from(short), 2),
        // X.690 section 8.1.3.5; longer forms would have to be longer than any datagram, or padded.
        long @ 0x81..=0x88 => {
            let octets = rest.get(..usize::from(long & 0x7f))?;
            let fold = |length: usize, octet: &u8| length.saturating_mul(256).saturating_add(usize::from(*octet));
            (octets.iter().fold(0, fold), 2 + octets.len())
        }
        _ => return None,
    };
    let start = at + header;
    Some(start..start.saturating_add(length).min(bytes.len()).max(start))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_community_is_a_credential() {
        let request = b"\x30\x26\x02\x01\x01\x04\x06public\xa0\x19";
        let found = snmp(request).credential.expect("a community");
        assert_eq!((&request[found.secret], found.kind), (&b"public"[..], "community"));
        for odd in [
            &b"\x30\x84\0\0\0\x26\x02\x02\0\x01\x04\x83\0\0\x06public\xa0\x19"[..],
            b"\x30\x26\x02\x01\0\x04\x30public",
            b"\x30\x80\x02\x01",
        ] {
            let found = snmp(odd).credential.map(|found| &odd[found.secret]);
            assert!(found.is_none_or(|found| found == b"public"), "{}", odd.escape_ascii());
            assert_eq!(found.is_some(), odd.len() > 4, "{}", odd.escape_ascii());
        }
        assert!(
            snmp(b"\x30\x26\x02\x01\x03\x04\x06public").credential.is_none(),
            "version 3 has none"
        );
    }

    #[test]
    fn what_proves_a_user_of_version_3_is_a_credential_and_discovery_is_none() {
        let message = |digest: &[u8]| {
            let security = [
                b"\x04\x01\x80\x02\x01\0\x02\x01\0\x04\x03bob\x04",
                &[digest.len() as u8][..],
                digest,
            ]
            .concat();
            let security = [&[0x30, security.len() as u8][..], &security].concat();
            let security = [&[4, security.len() as u8][..], &security].concat();
            [&b"\x30\x40\x02\x01\x03\x30\x03\x02\x01\x07"[..], &security].concat()
        };
        let request = message(b"0123456789ab");
        let found = snmp(&request).credential.expect("a digest");
        assert_eq!(
            (&found.user[..], &request[found.secret], found.kind),
            (&b"bob"[..], &b"0123456789ab"[..], "token")
        );
        assert!(snmp(&message(b"")).credential.is_none());
    }

    /// What snmpget and snmpbulkwalk of net-snmp 5.9 sent.
    #[test]
    fn what_a_client_asks_for_is_told() {
        let get = b"\x30\x29\x02\x01\x01\x04\x06public\xa0\x1c\x02\x04\x28\x5a\x29\x7e\x02\x01\0\x02\x01\0\x30\x0e\x30\x0c\x06\x08\x2b\x06\x01\x02\x01\x01\x01\0\x05\0";
        let facts = snmp(get).facts;
        for (field, value) in [
            (Field::SnmpVersion, Value::from("2c")),
            (Field::SnmpOperation, "get".into()),
            (Field::SnmpOids, Value::Texts(vec!["1.3.6.1.2.1.1.1.0".into()])),
            (Field::Commands, Value::Texts(vec!["get 1.3.6.1.2.1.1.1.0".into()])),
        ] {
            assert!(facts.contains(&(field, value)), "{field:?}: {facts:?}");
        }
        assert_eq!(dotted(b"\x2b\x86\x8d\x1f"), Some("1.3.99999".into()));
        assert_eq!(dotted(b"\x88\x37\x03"), Some("2.999.3".into()));
        assert_eq!((dotted(b"\x2b\x86"), dotted(b"")), (None, None));
    }

    proptest! {
        #[test]
        fn any_bytes_get_silence_and_what_is_found_is_within_them(
            bytes in prop::collection::vec(prop_oneof![prop::sample::select(b"\x30\x02\x04\x06\x01\0\xa0\x81\x03".to_vec()), any::<u8>()], 0..80),
        ) {
            let found = snmp(&bytes);
            prop_assert!(found.reply.is_none());
            if let Some(found) = found.credential {
                prop_assert!(found.secret.end <= bytes.len());
            }
        }
    }
}
