//! `udp`: datagram services that answer shortly or not at all.
//!
//! In: one datagram. Out: what it tells, and an answer no longer than it: the sender may be forged, so nothing here
//! amplifies (the listener enforces it again). What a real server would answer with more is met with silence.
//!
//! Source: RFC 5905 section 7.3 (NTP), RFC 1350 (TFTP), RFC 3416 and X.690 (SNMP), RFC 1035 section 4.1 (DNS).

use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use trapline_schemas::{Field, text};

use crate::decoy::personality::{self, Install, Personality};
use crate::decoy::services::{Service, Speak, UdpAnswer, UdpCredential};

/// The row.
pub(super) const SERVICE: Service = Service {
    name: "udp",
    personality: "ntp-server",
    look: personality::look::<Look>,
    provide: None,
    speak: Speak::Datagram(answer),
};

/// `[look]` of a `udp` personality.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Look {
    /// The protocol.
    protocol: Protocol,
}

#[derive(Debug, Clone, Copy, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Protocol {
    /// Tells clients the time; control and private modes get nothing.
    Ntp,
    /// Records the file. It is silent: a real server answers from a new port, and an answer from 69 would be a tell.
    Tftp,
    /// Records the community. It is silent, as an agent is to a wrong one.
    Snmp,
    /// Refuses, as a server does that is not for this client.
    Dns,
}

fn answer(datagram: &[u8], personality: &Personality) -> UdpAnswer {
    match personality.look::<Look>().protocol {
        Protocol::Ntp => UdpAnswer {
            reply: ntp(datagram, &personality.install, since_1900()),
            ..UdpAnswer::default()
        },
        Protocol::Tftp => tftp(datagram),
        Protocol::Snmp => snmp(datagram),
        Protocol::Dns => UdpAnswer {
            reply: refuse(datagram),
            ..UdpAnswer::default()
        },
    }
}

/// Seconds from 1900, where NTP's clock begins, to 1970.
const NTP_EPOCH_SECS: u64 = 2_208_988_800;

fn since_1900() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now + Duration::from_secs(NTP_EPOCH_SECS)
}

/// NTP's 32.32 fixed point.
fn ntp_time(at: Duration) -> [u8; 8] {
    let fraction = (u64::from(at.subsec_nanos()) << 32) / 1_000_000_000;
    (at.as_secs() << 32 | fraction).to_be_bytes()
}

/// A stratum 2 server's answer to a client's request.
fn ntp(request: &[u8], install: &Install, now: Duration) -> Option<Vec<u8>> {
    let [first, _, poll, ..] = *request else {
        return None;
    };
    let version = first >> 3 & 7;
    if request.len() < 48 || first & 7 != 3 || !(1..=4).contains(&version) {
        return None;
    }
    let [a, b, c, jitter, back, ..] = install.draw("ntp upstream");
    let mut reply = Vec::with_capacity(48);
    // Mode 4, stratum 2, precision 2^-23 s; root delay and dispersion of some milliseconds.
    reply.extend_from_slice(&[version << 3 | 4, 2, poll, 0xe9]);
    reply.extend_from_slice(&[0, 0, 1, jitter, 0, 0, 2, c]);
    // The upstream is a public address that is this install's own.
    reply.extend_from_slice(&[185 + a % 8, b, c, 1 + jitter % 250]);
    let synchronised = now.saturating_sub(Duration::from_secs(u64::from(back) + now.as_secs() % 1024));
    reply.extend_from_slice(&ntp_time(synchronised));
    reply.extend_from_slice(request.get(40..48)?);
    reply.extend_from_slice(&ntp_time(now));
    reply.extend_from_slice(&ntp_time(now + Duration::from_micros(17 + u64::from(jitter))));
    Some(reply)
}

/// The file of a read or write request.
fn tftp(request: &[u8]) -> UdpAnswer {
    let mut answer = UdpAnswer::default();
    if let [0, 1 | 2, rest @ ..] = request {
        let name = rest.split(|byte| *byte == 0).next().unwrap_or_default();
        answer.facts.push((Field::FileName, text::clean(name).into()));
    }
    answer
}

/// The community of a message, or what proves the user of version 3.
fn snmp(request: &[u8]) -> UdpAnswer {
    UdpAnswer {
        credential: offered(request),
        ..UdpAnswer::default()
    }
}

fn offered(request: &[u8]) -> Option<UdpCredential> {
    let message = element(request, 0, 0x30)?;
    let version = element(request, message.start, 0x02)?;
    let (last, zeros) = request.get(version.clone())?.split_last()?;
    if *last == 3 && zeros.iter().all(|byte| *byte == 0) {
        return user(request, version.end);
    }
    Some(UdpCredential {
        kind: "community",
        user: Vec::new(),
        secret: element(request, version.end, 0x04)?,
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

/// REFUSED: the header and the question, nothing else.
fn refuse(request: &[u8]) -> Option<Vec<u8>> {
    let header: &[u8; 12] = request.first_chunk()?;
    let [id0, id1, flags, _, q0, q1, ..] = *header;
    // A response, or not exactly one question.
    if flags & 0x80 != 0 || (q0, q1) != (0, 1) {
        return None;
    }
    let end = question_end(request)?;
    let mut reply = vec![id0, id1, 0x80 | flags & 0x79, 5, 0, 1, 0, 0, 0, 0, 0, 0];
    reply.extend_from_slice(request.get(12..end)?);
    Some(reply)
}

fn question_end(request: &[u8]) -> Option<usize> {
    let mut at = 12;
    loop {
        match *request.get(at)? {
            0 => return Some(at + 5).filter(|end| *end <= request.len()),
            label @ 1..=63 => at += 1 + usize::from(label),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn client() -> Vec<u8> {
        let mut request = vec![0x23, 0, 6, 0xec];
        request.resize(40, 0);
        request.extend_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
        request
    }

    #[test]
    fn a_client_gets_the_time_with_its_own_stamp() {
        let install = Install::from_seed([1; 32]);
        let reply = ntp(&client(), &install, Duration::from_secs(3_900_000_000)).expect("an answer");
        assert_eq!((reply.len(), reply[0], reply[1]), (48, 0x24, 2));
        assert_eq!(&reply[24..32], &[1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(&reply[32..36], &3_900_000_000_u32.to_be_bytes());
        for mode in [6, 7, 4, 1] {
            let mut other = client();
            other[0] = 0x20 | mode;
            assert_eq!(ntp(&other, &install, Duration::ZERO), None, "mode {mode}");
        }
    }

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

    #[test]
    fn a_question_is_refused_and_said_back() {
        let request = b"\x12\x34\x01\x20\0\x01\0\0\0\0\0\x01\x07example\x03com\0\0\x01\0\x01\0\0\x29\x10\0\0\0\0\0\0\0";
        let reply = refuse(request).expect("an answer");
        assert_eq!(&reply[..12], b"\x12\x34\x81\x05\0\x01\0\0\0\0\0\0");
        assert_eq!(&reply[12..], &request[12..29]);
        assert_eq!(
            refuse(b"\x12\x34\x81\x05\0\x01\0\0\0\0\0\0\0\0\x01\0\x01"),
            None,
            "a response"
        );
    }

    #[test]
    fn the_file_of_a_tftp_request_is_a_fact() {
        let answer = tftp(b"\0\x01boot.cfg\0octet\0");
        assert_eq!(answer.facts, [(Field::FileName, "boot.cfg".into())]);
        assert!(answer.reply.is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_get_no_answer_longer_than_themselves(bytes in prop::collection::vec(any::<u8>(), 0..80), first in any::<u8>()) {
            let install = Install::from_seed([1; 32]);
            let mut bytes = bytes;
            if let Some(byte) = bytes.first_mut() {
                *byte = first & 0x3f;
            }
            for reply in [ntp(&bytes, &install, Duration::ZERO), refuse(&bytes), tftp(&bytes).reply, snmp(&bytes).reply].into_iter().flatten() {
                prop_assert!(reply.len() <= bytes.len());
            }
            if let Some(found) = snmp(&bytes).credential {
                prop_assert!(found.secret.end <= bytes.len());
            }
        }
    }
}
