//! `snmp`: an agent that tells little to one community, and nothing to others.
//!
//! In: one message. Out: the community as a credential, or what proves the user of version 3; the version, the operation
//! and the objects it is about; an answer that is not longer than the message, which often is no more than that the
//! whole one would be ([`agent`]). Of version 3 it knows no user, and says so where that fits ([`engine`]).
//!
//! Source: RFC 3416 section 3 (operations), RFC 3414 section 2.4 (version 3), X.690 (BER).

mod agent;
mod ber;
mod engine;

use std::collections::BTreeMap;
use std::ops::Range;

use smol_str::SmolStr;
use trapline_schemas::{Field, Value, ids, text};

use self::agent::{Name, Shown};
use self::ber::element;
use self::engine::Counters;
use crate::decoy::personality;
use crate::decoy::services::{Asked, Service, Speak, UdpAnswer, UdpCredential};

/// The row.
pub(super) const SERVICE: Service = Service {
    name: "snmp",
    personality: "net-snmp-debian-12",
    look: personality::look::<Look>,
    provide: None,
    speak: Speak::Datagram(answer),
};

/// `[look]` of an `snmp` personality.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Look {
    /// Who asks with this community is answered; without one nobody is, of no version.
    community: Option<String>,
    /// All that there is, by name (`"1.3.6.1.2.1.1.5.0" = { text = "{{host}}" }`).
    #[serde(default)]
    objects: BTreeMap<Name, Shown>,
    /// What it told users of version 3.
    #[serde(skip)]
    counters: Counters,
}

/// Most objects that are kept of a request.
const OBJECTS_MAX: usize = 16;

/// Longest object identifier that is read, bytes: 128 numbers (RFC 3416 section 4.1) of up to five each.
const OBJECT_BYTES_MAX: usize = 640;

fn answer(asked: &Asked<'_>) -> UdpAnswer {
    let look: &Look = asked.personality.look();
    let install = &asked.personality.install;
    let reply = look.community.as_ref().and_then(|community| {
        let said = agent::reply(asked.bytes, community, &look.objects, install);
        said.or_else(|| engine::report(asked.bytes, install, &look.counters))
    });
    UdpAnswer {
        reply,
        ..snmp(asked.bytes)
    }
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
    let user = security(request).map(|security| security.user).unwrap_or_default();
    if let Some(user) = request.get(user).filter(|user| !user.is_empty()) {
        facts.push((Field::UserName, text::clean(user).into()));
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

/// An object identifier as it is written. `None`: it ends within a number, or has one that is too large.
fn dotted(bytes: &[u8]) -> Option<SmolStr> {
    let numbers = ber::numbers(bytes.get(..OBJECT_BYTES_MAX).unwrap_or(bytes))?;
    let texts: Vec<String> = numbers.iter().map(u32::to_string).collect();
    Some(text::clean(texts.join(".").as_bytes()))
}

fn offered(request: &[u8]) -> Option<UdpCredential> {
    if let Some(("3", _)) = version(request) {
        return proof(request);
    }
    let message = element(request, 0, 0x30)?;
    let number = element(request, message.start, 0x02)?;
    Some(UdpCredential {
        kind: "community",
        user: Vec::new(),
        secret: element(request, number.end, 0x04)?,
        proof: None,
        facts: Vec::new(),
    })
}

/// The user of a version 3 message and the digest that proves it, if it has one, as the line that hashcat's mode 25000
/// reads: the message with nothing in place of the digest, the engine, the digest.
fn proof(request: &[u8]) -> Option<UdpCredential> {
    let Security {
        engine, user, digest, ..
    } = security(request).filter(|security| !security.digest.is_empty())?;
    let mut message = request.to_vec();
    message.get_mut(digest.clone())?.fill(0);
    let [engine, offered] = [engine, digest.clone()].map(|place| ids::hex(request.get(place).unwrap_or_default()));
    let line = format!("$SNMPv3$0$0${}${engine}${offered}", ids::hex(&message));
    Some(UdpCredential {
        kind: "hash",
        user: request.get(user)?.to_vec(),
        secret: digest,
        proof: Some(line.into_bytes()),
        facts: Vec::new(),
    })
}

/// Where the security parameters of a version 3 message are (RFC 3414 section 2.4).
#[derive(Debug)]
struct Security {
    engine: Range<usize>,
    user: Range<usize>,
    digest: Range<usize>,
    /// Where the data behind them begin.
    end: usize,
}

fn security(request: &[u8]) -> Option<Security> {
    let (_, at) = version(request).filter(|(version, _)| *version == "3")?;
    let global = element(request, at, 0x30)?;
    let security = element(request, global.end, 0x04)?;
    let parameters = element(request, security.start, 0x30)?;
    let engine = element(request, parameters.start, 0x04)?;
    let boots = element(request, engine.end, 0x02)?;
    let time = element(request, boots.end, 0x02)?;
    let user = element(request, time.end, 0x04)?;
    Some(Security {
        digest: element(request, user.end, 0x04)?,
        end: security.end,
        engine,
        user,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::decoy::personality::embedded;
    use crate::decoy::testing::personality;

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
            (&b"bob"[..], &b"0123456789ab"[..], "hash")
        );
        let line = String::from_utf8(found.proof.expect("a line")).unwrap();
        assert!(
            line.ends_with("0403626f62040c000000000000000000000000$80$303132333435363738396162"),
            "{line}"
        );
        let told = (Field::UserName, Value::from("bob"));
        assert!(snmp(&message(b"")).facts.contains(&told), "without proof too");
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
        fn any_bytes_get_an_answer_or_none_and_what_is_found_is_within_them(
            bytes in prop::collection::vec(prop_oneof![prop::sample::select(b"\x30\x02\x04\x06\x01\0\xa0\x81\x03".to_vec()), any::<u8>()], 0..80),
        ) {
            let look = personality(embedded("net-snmp-debian-12").unwrap());
            let [peer, local] = ["192.0.2.1:4000", "192.0.2.2:161"].map(|address| address.parse().unwrap());
            let found = answer(&Asked { bytes: &bytes, peer, local, personality: &look });
            prop_assert!(found.reply.is_none_or(|reply| reply.starts_with(b"\x30")));
            if let Some(found) = found.credential {
                prop_assert!(found.secret.end <= bytes.len());
            }
        }
    }
}
