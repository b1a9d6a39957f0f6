//! The list as a bundle of STIX 2.1: an identity (this host) and an indicator for each member.
//!
//! In: entries in their order. Out: JSON in parts, the same bytes for the same entries.
//!
//! An indicator's id is made of its decision and its target, so whoever polls again sees the same object; what is said
//! anew of it has a later `modified` (section 3.6); one that was lifted before its time comes as `revoked`. Ids are
//! UUIDv5 under a namespace of our own: the one of the specification is for observables alone (section 2.9).

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use trapline_sink::published::Parts;
use uuid::{Builder, Uuid};

use crate::roll::Entry;

/// Media type of a bundle (section 9 of the specification).
pub(crate) const KIND: &str = "application/stix+json;version=2.1";

/// Under which our ids are made.
const NAMESPACE: Uuid = Uuid::from_u128(0x17dd_b1d4_c155_4ee8_9051_4327_ea54_4627);

/// Since when the identity is as it is: an object with the same id has the same times, whoever asks when.
const IDENTITY_SINCE: &str = "2026-01-01T00:00:00.000Z";

/// Indicators in a part.
const PART: usize = 256;

/// Who says it.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    id: String,
    name: String,
    /// Whether the list is about hosts of our own.
    is_inside: bool,
}

impl Identity {
    /// Of this observer.
    pub(crate) fn new(observer: &str, is_inside: bool) -> Self {
        Self {
            id: format!("identity--{}", named("observer", observer)),
            name: observer.to_owned(),
            is_inside,
        }
    }

    fn types(&self) -> [&'static str; 1] {
        match self.is_inside {
            true => ["compromised"],
            false => ["malicious-activity"],
        }
    }
}

/// A bundle: nothing of it is written before it is asked for.
#[derive(Debug)]
pub(crate) struct Bundle {
    identity: Identity,
    entries: Vec<Arc<Entry>>,
}

impl Bundle {
    pub(crate) fn new(members: impl Iterator<Item = Arc<Entry>>, lifted: Vec<Arc<Entry>>, identity: &Identity) -> Self {
        // `valid_until` is later than `valid_from` (section 4.7), in the milliseconds that are written.
        let has_time = |entry: &Arc<Entry>| entry.until.millis() > entry.since.millis();
        Self {
            identity: identity.clone(),
            entries: members.chain(lifted).filter(has_time).collect(),
        }
    }

    /// Of all that its bytes depend on.
    pub(crate) fn digest(&self) -> Vec<u8> {
        let mut hash = Sha256::new();
        hash.update(VERSION);
        hash.update(self.identity.id.as_bytes());
        hash.update([u8::from(self.identity.is_inside)]);
        for entry in &self.entries {
            hash.update(entry.decision.as_bytes());
            for time in [entry.since, entry.modified, entry.until] {
                hash.update(time.millis().to_be_bytes());
            }
            // Texts end in a byte that they do not have.
            hash.update(format!("{}\n{}\n{}\n", entry.target, entry.reason, entry.lifted));
        }
        hash.finalize().to_vec()
    }

    fn head(&self) -> Option<Bytes> {
        let id = named("bundle", &trapline_schemas::ids::hex(&self.digest()));
        let identity = serde_json::to_string(&IdentityObject {
            kind: "identity",
            spec_version: "2.1",
            id: &self.identity.id,
            created: IDENTITY_SINCE,
            modified: IDENTITY_SINCE,
            name: &self.identity.name,
            identity_class: "system",
        });
        let head = format!("{{\"type\":\"bundle\",\"id\":\"bundle--{id}\",\"objects\":[\n");
        Some(Bytes::from(head + &identity.ok()?))
    }

    fn indicators(&self, number: usize) -> Option<Bytes> {
        let chunk = self.entries.chunks(PART).nth(number)?;
        let mut out = Vec::with_capacity(chunk.len() * OBJECT_BYTES);
        for entry in chunk {
            out.extend_from_slice(b",\n");
            // Writing to a vector does not fail, and there is no key that is no text.
            serde_json::to_writer(&mut out, &self.indicator(entry)).ok()?;
        }
        Some(out.into())
    }

    fn indicator<'a>(&'a self, entry: &Entry) -> Indicator<'a> {
        let (since, until) = (entry.since.to_string(), entry.until.to_string());
        Indicator {
            kind: "indicator",
            spec_version: "2.1",
            id: format!(
                "indicator--{}",
                named(&entry.decision.to_string(), &entry.target.to_string())
            ),
            created_by_ref: &self.identity.id,
            created: since.clone(),
            modified: entry.modified.to_string(),
            revoked: entry.lifted,
            name: format!("{} touched a decoy", entry.target),
            description: format!("decided by {}", entry.reason),
            indicator_types: self.identity.types(),
            pattern: pattern(entry),
            pattern_type: "stix",
            pattern_version: "2.1",
            valid_from: since,
            valid_until: until,
        }
    }
}

/// Of how a bundle is written: another one makes other tags.
const VERSION: &[u8] = b"stix 2.1, 1";
/// A guess at an indicator.
const OBJECT_BYTES: usize = 700;

impl Parts for Bundle {
    fn part(&self, index: usize) -> Option<Bytes> {
        let last = self.entries.len().div_ceil(PART) + 1;
        match index {
            0 => self.head(),
            index if index == last => Some(Bytes::from_static(b"\n]}\n")),
            index => self.indicators(index - 1),
        }
    }
}

#[derive(Serialize)]
struct IdentityObject<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    spec_version: &'static str,
    id: &'a str,
    created: &'static str,
    modified: &'static str,
    name: &'a str,
    identity_class: &'static str,
}

#[derive(Serialize)]
struct Indicator<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    spec_version: &'static str,
    id: String,
    created_by_ref: &'a str,
    created: String,
    modified: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    revoked: bool,
    name: String,
    description: String,
    indicator_types: [&'static str; 1],
    pattern: String,
    pattern_type: &'static str,
    pattern_version: &'static str,
    valid_from: String,
    valid_until: String,
}

/// Section 9: an address is equal, what is in a network is a subset of it. A target is no text, so nothing is escaped.
fn pattern(entry: &Entry) -> String {
    let kind = match entry.target.address().is_ipv4() {
        true => "ipv4-addr",
        false => "ipv6-addr",
    };
    let operator = match entry.target.is_host() {
        true => "=",
        false => "ISSUBSET",
    };
    format!("[{kind}:value {operator} '{}']", entry.target)
}

/// UUIDv5 (RFC 9562 section 5.5) of a subject of a kind.
fn named(kind: &str, subject: &str) -> Uuid {
    let mut hash = Sha1::new();
    hash.update(NAMESPACE.as_bytes());
    hash.update(format!("{kind}\n{subject}"));
    let digest: [u8; 20] = hash.finalize().into();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    Builder::from_sha1_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use trapline_schemas::Timestamp;
    use trapline_sink::set::Member;

    use super::*;
    use crate::roll::Roll;
    use crate::roll::tests::{NOW, after, member};

    fn bundle(members: &[Member]) -> Bundle {
        let mut roll = Roll::default();
        members.iter().for_each(|member| roll.put(member, NOW));
        Bundle::new(roll.ranked().into_iter(), Vec::new(), &Identity::new("lure", false))
    }

    fn text(bundle: &Bundle) -> String {
        let parts = (0..).map_while(|index| bundle.part(index));
        parts.map(|part| String::from_utf8(part.to_vec()).unwrap()).collect()
    }

    fn objects(bundle: &Bundle) -> Vec<Value> {
        let all: Value = serde_json::from_str(&text(bundle)).unwrap();
        assert_eq!(all["type"], "bundle");
        all["objects"].as_array().unwrap().clone()
    }

    #[test]
    fn a_bundle_says_who_says_it_and_an_indicator_for_each_member() {
        let bundle = bundle(&[
            member("203.0.113.7", 90),
            member("2001:db8:1::/48", 80),
            member("2001:db8::9", 70),
            member("198.51.100.0/24", 60),
        ]);
        let objects = objects(&bundle);
        assert_eq!(objects[0]["type"], "identity");
        assert_eq!(objects[0]["name"], "lure");
        let patterns: Vec<_> = objects[1..]
            .iter()
            .map(|object| object["pattern"].as_str().unwrap())
            .collect();
        assert_eq!(
            patterns,
            [
                "[ipv4-addr:value = '203.0.113.7']",
                "[ipv6-addr:value ISSUBSET '2001:db8:1::/48']",
                "[ipv6-addr:value = '2001:db8::9']",
                "[ipv4-addr:value ISSUBSET '198.51.100.0/24']",
            ]
        );
        for object in &objects[1..] {
            assert_eq!(object["created_by_ref"], objects[0]["id"]);
            assert_eq!(object["valid_from"], object["created"]);
            assert!(object["valid_until"].as_str() > object["valid_from"].as_str());
            assert!(object["modified"].as_str() >= object["created"].as_str());
            assert!(object.get("revoked").is_none());
        }
    }

    #[test]
    fn who_polls_again_sees_the_same_objects_also_after_a_restart() {
        let members = [member("203.0.113.7", 90), member("203.0.113.8", 80)];
        let (one, other) = (bundle(&members), bundle(&members));
        assert_eq!(text(&one), text(&other));
        assert_eq!(one.digest(), other.digest());
        let ids = objects(&one);
        assert_ne!(ids[1]["id"], ids[2]["id"]);
        let next = Member {
            decision: Uuid::from_u128(7),
            ..member("203.0.113.7", 90)
        };
        assert_ne!(objects(&bundle(&[next]))[1]["id"], ids[1]["id"]);
        for object in &ids {
            let id = object["id"]
                .as_str()
                .unwrap()
                .split_once("--")
                .unwrap()
                .1
                .parse::<Uuid>()
                .unwrap();
            assert_eq!((id.get_version_num(), id.get_variant()), (5, uuid::Variant::RFC4122));
        }
    }

    #[test]
    fn a_tag_changes_with_all_that_is_written() {
        let base = member("203.0.113.7", 90);
        let digest = |member: &Member| bundle(std::slice::from_ref(member)).digest();
        for other in [
            Member {
                until: after(9_999),
                ..base.clone()
            },
            Member {
                since: after(1),
                ..base.clone()
            },
            Member {
                reason: "sweep".into(),
                ..base.clone()
            },
            Member {
                decision: Uuid::from_u128(7),
                ..base.clone()
            },
            member("203.0.113.8", 90),
        ] {
            assert_ne!(digest(&other), digest(&base));
        }
        let inside = Bundle::new([].into_iter(), Vec::new(), &Identity::new("lure", true));
        assert_ne!(inside.digest(), bundle(&[]).digest());
    }

    #[test]
    fn an_empty_bundle_and_one_of_whole_parts_are_json() {
        assert_eq!(objects(&bundle(&[])).len(), 1);
        for count in [1, PART - 1, PART, PART + 1, 3 * PART] {
            let members: Vec<_> = (0..count as u32)
                .map(|number| Member {
                    target: std::net::Ipv4Addr::from(0x0800_0000 + number).into(),
                    ..member("203.0.113.7", 50)
                })
                .collect();
            assert_eq!(objects(&bundle(&members)).len(), count + 1);
        }
    }

    #[test]
    fn what_was_lifted_is_revoked_and_what_has_no_time_is_left_out() {
        let mut roll = Roll::default();
        roll.put(&member("203.0.113.7", 50), NOW);
        roll.put(
            &Member {
                until: Timestamp::from_micros(NOW.micros() + 900),
                ..member("203.0.113.8", 51)
            },
            NOW,
        );
        let before = objects(&Bundle::new(
            roll.ranked().into_iter(),
            Vec::new(),
            &Identity::new("lure", false),
        ));
        assert_eq!(before.len(), 2);
        roll.take("203.0.113.7".parse().unwrap(), after(60));
        let lifted = roll.lifted(after(60));
        let after = objects(&Bundle::new(std::iter::empty(), lifted, &Identity::new("lure", false)));
        assert_eq!(after[1]["revoked"], true);
        assert_eq!(after[1]["id"], before[1]["id"]);
        assert!(after[1]["modified"].as_str() > before[1]["modified"].as_str());
    }

    #[test]
    fn a_name_from_rfc_9562_has_the_uuid_that_stands_there() {
        // The namespace is ours, so the example of the RFC is made with the same steps here.
        let dns: Uuid = "6ba7b810-9dad-11d1-80b4-00c04fd430c8".parse().unwrap();
        let mut hash = Sha1::new();
        hash.update(dns.as_bytes());
        hash.update("www.example.com");
        let digest: [u8; 20] = hash.finalize().into();
        let id = Builder::from_sha1_bytes(digest[..16].try_into().unwrap()).into_uuid();
        assert_eq!(id.to_string(), "2ed6657d-e927-568b-95e1-2665a8aea6a2");
    }
}
