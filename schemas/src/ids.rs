//! Ids: events, sessions, incidents, derived events, flows; and the key that hides secrets.
//!
//! In: the hit's clock, addresses, the site key. Out: UUIDs (RFC 9562) and the community id. Invariants, tested:
//!
//! 1. A fresh id is UUIDv7 and sorts by the hit's clock down to the microsecond. A clock that is set back gives ids that
//!    sort before earlier ones: order is `honeyport.boot.id` with `honeyport.journal.sequence`, never that of ids.
//! 2. An incident or derived id is UUIDv8 and the same on every sensor, restart and retry that is given the same.
//! 3. An IPv4-mapped IPv6 address is its IPv4 address in all of them.

use std::net::{IpAddr, SocketAddr};

use base64::prelude::{BASE64_STANDARD, Engine};
use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use smol_str::SmolStr;
use uuid::Uuid;

use crate::value::Timestamp;

const MICROS_PER_DAY: i64 = 86_400_000_000;
/// `1:` and a SHA-1 as base64.
const COMMUNITY_BYTES: usize = 2 + 28;

/// The key that a site's sensors share: hides secrets, names incidents.
#[derive(Clone)]
pub struct SiteKey(Hmac<Sha256>);

impl SiteKey {
    /// A key from its bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        // Keyed once: a tag then costs two blocks of SHA-256, not four.
        Self(Hmac::new_from_slice(&bytes).expect("HMAC takes a key of any length"))
    }

    /// HMAC-SHA-256 of `bytes` under this key, as lower-case hex.
    pub fn hmac_hex(&self, bytes: &[u8]) -> String {
        hex(&self.tag(&[bytes]))
    }

    fn tag(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.0.clone();
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

impl std::fmt::Debug for SiteKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SiteKey(***)")
    }
}

/// A new event or session id: UUIDv7 of the hit's clock.
///
/// `rand_a` holds the fraction of the millisecond (RFC 9562 section 6.2 method 3), the rest is random.
pub fn fresh(at: Timestamp) -> Uuid {
    let millis = at.millis().clamp(0, (1 << 48) - 1).cast_unsigned();
    let fraction = (at.micros().rem_euclid(1000).cast_unsigned() * 4096) / 1000;
    let high = (millis << 16) | 0x7000 | fraction;
    let low = rand::random::<u64>() >> 2 | 0x8000_0000_0000_0000;
    Uuid::from_u64_pair(high, low)
}

/// The incident of `source` on the UTC day of `at`: UUIDv8 of HMAC(site key, source, day).
pub fn incident(key: &SiteKey, source: IpAddr, at: Timestamp) -> Uuid {
    let day = at.micros().div_euclid(MICROS_PER_DAY).to_be_bytes();
    // The label keeps incidents apart from secrets under the same key.
    let label = b"trapline incident v1\0";
    let tag = match source.to_canonical() {
        IpAddr::V4(ip) => key.tag(&[label, &ip.octets(), &day]),
        IpAddr::V6(ip) => key.tag(&[label, &ip.octets(), &day]),
    };
    uuid_v8(&tag)
}

/// The id of a derived event: UUIDv8 of (node, key, window start), the same however often it is made.
pub fn derived(node: &str, key: &str, window_start: Timestamp) -> Uuid {
    let mut hash = Sha256::new();
    hash.update(b"trapline derived v1\0");
    for part in [node, key] {
        // Length first, so that ("a", "bc") and ("ab", "c") differ.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.update(window_start.micros().to_be_bytes());
    uuid_v8(&hash.finalize().into())
}

/// Community id v1, seed 0, of a TCP (6) or UDP (17) flow; the same for both directions.
///
/// Source: the Community ID specification, version 1 (corelight/community-id-spec).
pub fn community(protocol: u8, source: SocketAddr, destination: SocketAddr) -> SmolStr {
    let a = (source.ip().to_canonical(), source.port());
    let b = (destination.ip().to_canonical(), destination.port());
    let ((low, low_port), (high, high_port)) = if a <= b { (a, b) } else { (b, a) };
    let mut hash = Sha1::new();
    hash.update(0u16.to_be_bytes());
    for ip in [low, high] {
        match ip {
            IpAddr::V4(ip) => hash.update(ip.octets()),
            IpAddr::V6(ip) => hash.update(ip.octets()),
        }
    }
    hash.update([protocol, 0]);
    hash.update(low_port.to_be_bytes());
    hash.update(high_port.to_be_bytes());
    let mut id = [b'='; COMMUNITY_BYTES];
    id[..2].copy_from_slice(b"1:");
    // The room is what base64 makes of 20 bytes, so this cannot fail.
    let _ = BASE64_STANDARD.encode_slice(hash.finalize(), &mut id[2..]);
    SmolStr::new(String::from_utf8_lossy(&id))
}

/// The first 16 bytes of a digest as UUIDv8 (RFC 9562 section 5.8).
fn uuid_v8(digest: &[u8; 32]) -> Uuid {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    Uuid::new_v8(bytes)
}

/// Bytes as lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 0xf)]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = Timestamp::from_micros(1_772_619_330_123_456);

    fn socket(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_fresh_id_is_version_7_and_sorts_by_the_microsecond() {
        let id = fresh(NOON);
        assert_eq!((id.get_version_num(), id.get_variant()), (7, uuid::Variant::RFC4122));
        assert!(id.to_string().starts_with("019cb858-724b-7"));
        let later = fresh(Timestamp::from_micros(NOON.micros() + 1));
        assert!(id < later);
        assert_ne!(fresh(NOON), fresh(NOON));
    }

    #[test]
    fn a_fresh_id_of_a_clock_before_1970_is_still_an_id() {
        assert_eq!(fresh(Timestamp::from_micros(-5)).get_version_num(), 7);
    }

    #[test]
    fn an_incident_is_one_source_in_one_day_of_one_site() {
        let key = SiteKey::new([7; 32]);
        let source: IpAddr = "203.0.113.77".parse().unwrap();
        let id = incident(&key, source, NOON);
        assert_eq!(id.get_version_num(), 8);
        assert_eq!(id, incident(&key, "::ffff:203.0.113.77".parse().unwrap(), NOON));
        let last = Timestamp::from_micros(1_772_668_799_999_999);
        assert_eq!(id, incident(&key, source, last));
        assert_ne!(id, incident(&key, source, Timestamp::from_micros(last.micros() + 1)));
        assert_ne!(id, incident(&SiteKey::new([8; 32]), source, NOON));
        // Fixed for ever: sensors of different versions share incidents.
        assert_eq!(id.to_string(), "cc14e20d-ad03-86c5-884b-b4cd80198964");
    }

    #[test]
    fn a_derived_id_depends_on_node_key_and_window_alone() {
        let id = derived("quiet", "203.0.113.77", NOON);
        assert_eq!(id, derived("quiet", "203.0.113.77", NOON));
        assert_ne!(derived("a", "bc", NOON), derived("ab", "c", NOON));
        assert_eq!(id.to_string(), "f03d0191-b5b9-8d46-8af8-72aeb7b7dff5");
    }

    #[test]
    fn the_community_id_is_that_of_zeek_and_suricata_both_ways() {
        let flow = (socket("203.0.113.77:51544"), socket("10.20.30.40:9200"));
        let id = "1:zS3nC+DtLidSHJQqNGDGUYqbfUQ=";
        assert_eq!(community(6, flow.0, flow.1), id);
        assert_eq!(community(6, flow.1, flow.0), id);
        assert_eq!(community(6, socket("[::ffff:203.0.113.77]:51544"), flow.1), id);
        // From the specification's baseline: TCP and UDP over IPv4, TCP over IPv6.
        assert_eq!(
            community(6, socket("66.35.250.204:80"), socket("128.232.110.120:34855")),
            "1:LQU9qZlK+B5F3KDmev6m5PMibrg="
        );
        assert_eq!(
            community(17, socket("192.168.1.52:54585"), socket("8.8.8.8:53")),
            "1:d/FP5EW3wiY1vCndhwleRRKHowQ="
        );
    }

    #[test]
    fn a_secret_is_hidden_the_same_way_by_every_sensor_of_the_site() {
        // RFC 4231 test case 2 has a short key; ours is its key padded with zeros, which HMAC does itself.
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        assert_eq!(
            SiteKey::new(key).hmac_hex(b"what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(format!("{:?}", SiteKey::new(key)), "SiteKey(***)");
    }
}
