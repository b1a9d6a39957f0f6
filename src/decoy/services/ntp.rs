//! `ntp`: tells clients the time.
//!
//! In: one datagram. Out: its mode and version, and to a client an answer of the same size. Control and private modes
//! (6 and 7, with monlist) are recorded and get nothing, for their answers are longer than the question.
//!
//! Source: RFC 5905 section 7.3, RFC 9327 (mode 6).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use smol_str::SmolStr;
use trapline_schemas::{Field, Value};

use crate::decoy::personality::{self, Install};
use crate::decoy::services::{Asked, Service, Speak, UdpAnswer};

/// The row.
pub(super) const SERVICE: Service = Service {
    name: "ntp",
    personality: "ntp-server",
    look: personality::look::<Look>,
    provide: None,
    speak: Speak::Datagram(answer),
};

/// `[look]` of an `ntp` personality: nothing to choose.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Look {}

fn answer(asked: &Asked<'_>) -> UdpAnswer {
    UdpAnswer {
        reply: ntp(asked.bytes, &asked.personality.install, since_1900()),
        facts: facts(asked.bytes),
        ..UdpAnswer::default()
    }
}

/// What a request is. What has no size that its mode could have is no request.
fn facts(request: &[u8]) -> Vec<(Field, Value)> {
    let Some((first, rest)) = request.split_first() else {
        return Vec::new();
    };
    let (mode, version) = (first & 7, first >> 3 & 7);
    let least = match mode {
        6 => 12,
        7 => 8,
        _ => 48,
    };
    if request.len() < least || !(1..=4).contains(&version) {
        return Vec::new();
    }
    let mut facts = vec![(Field::NtpMode, mode.into()), (Field::NtpVersion, version.into())];
    if let Some(asked) = asked(mode, rest) {
        facts.push((Field::Commands, vec![SmolStr::new_static(asked)].into()));
    }
    facts
}

/// What a control or private request asks for, as ntpq and ntpdc call it.
fn asked(mode: u8, rest: &[u8]) -> Option<&'static str> {
    match (mode, rest) {
        (6, [operation, ..]) => Some(match operation & 0x1f {
            1 => "readstat",
            2 => "readvar",
            10 => "mrulist",
            12 => "nonce",
            _ => "control",
        }),
        // Request codes of ntp_request.h.
        (7, [_, _, code, ..]) => Some(match code {
            0 => "listpeers",
            1 => "peers",
            4 => "sysinfo",
            20 | 42 => "monlist",
            _ => "private",
        }),
        _ => None,
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
    fn a_control_or_private_request_is_told_and_gets_nothing() {
        let control = [0x16, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        let monlist = [0x17, 0, 3, 42, 0, 0, 0, 0];
        for (request, mode, asked) in [(&control[..], 6_u8, "readvar"), (&monlist[..], 7, "monlist")] {
            let facts = facts(request);
            assert!(facts.contains(&(Field::NtpMode, mode.into())), "{facts:?}");
            let asked = Value::Texts(vec![asked.into()]);
            assert!(facts.contains(&(Field::Commands, asked)), "{facts:?}");
            assert_eq!(ntp(request, &Install::from_seed([1; 32]), Duration::ZERO), None);
        }
        assert!(facts(b"GET /").is_empty() && facts(b"").is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_get_no_answer_longer_than_themselves(bytes in prop::collection::vec(any::<u8>(), 0..80), first in 0..0x40_u8) {
            let install = Install::from_seed([1; 32]);
            let mut bytes = bytes;
            if let Some(byte) = bytes.first_mut() {
                *byte = first;
            }
            let _ = facts(&bytes);
            if let Some(reply) = ntp(&bytes, &install, Duration::ZERO) {
                prop_assert!(reply.len() <= bytes.len());
            }
        }
    }
}
