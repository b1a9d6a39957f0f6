//! Marks of ownership: what tells an entry of ours from one that somebody else wrote.
//!
//! A trigger holds a CNAME, beside which nothing else can stand. So each has a TXT at a name of its own,
//! `32.7.113.0.203.rpz-client-ip.OBSERVER._trapline.ZONE`, put and taken in the same message. To a resolver that is a
//! policy for a question that nobody asks.
//!
//! Invariants: 1. an entry is ours only if a mark of this observer says which policy we wrote, and that very policy
//! stands. 2. A mark never decides alone what is removed. 3. Each observer has a subtree of its own, so that several on
//! one zone do not touch each other's marks.

use std::fmt;

use trapline_schemas::Timestamp;
use uuid::Uuid;

use crate::policy::Policy;
use crate::trigger::Trigger;

/// The label above all marks.
pub const BRANCH: &str = "_trapline";

/// The label of one observer: small letters, digits and hyphens, 1 to 63.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observer(String);

/// Longest label that is the observer's name itself; others get a hash.
const NAME_BYTES_MAX: usize = 40;
/// What begins a label made of a hash.
const HASHED: &str = "x--";

impl Observer {
    /// The label of an observer's name: the name where it can stand as a label, else the hash of it, so that two names
    /// never have one label.
    pub fn new(name: &str) -> Self {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_label = (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(plain);
        Self(match is_label && !name.starts_with(HASHED) {
            true => name.to_owned(),
            false => hashed(name),
        })
    }

    /// The name of a trigger's mark, below the policy zone.
    pub fn mark_of(&self, trigger: &Trigger) -> String {
        format!("{trigger}.{}.{BRANCH}", self.0)
    }

    /// A name of this observer's that no trigger has, to ask for leave with.
    pub fn nobody(&self) -> String {
        format!("check.{}.{BRANCH}", self.0)
    }

    /// What a name below the policy zone is, as a mark; `None` if it is no mark of anybody.
    pub fn read(&self, name: &str) -> Option<MarkName> {
        let below = name.strip_suffix(BRANCH)?.strip_suffix('.')?;
        let (trigger, observer) = below.rsplit_once('.')?;
        Some(MarkName {
            trigger: Trigger::parse(trigger),
            is_mine: observer == self.0,
        })
    }
}

/// Bytes of the hash in a label: enough that no two observers of a company share one.
const HASH_BYTES: usize = 12;

fn hashed(name: &str) -> String {
    use std::fmt::Write as _;
    let digest = ring::digest::digest(&ring::digest::SHA256, name.as_bytes());
    digest
        .as_ref()
        .iter()
        .take(HASH_BYTES)
        .fold(HASHED.to_owned(), |mut label, byte| {
            let _ = write!(label, "{byte:02x}");
            label
        })
}

/// The name of a mark.
#[derive(Debug, PartialEq, Eq)]
pub struct MarkName {
    /// Which trigger it is about; `None` if that cannot be read.
    pub trigger: Option<Trigger>,
    /// Whether it is this observer's.
    pub is_mine: bool,
}

/// What a mark says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Which decision put the entry in.
    pub decision: Uuid,
    /// When it is to end; for people, nothing is judged by it.
    pub until: Timestamp,
    /// What was written.
    pub policy: Policy,
}

impl Mark {
    /// Reads a mark's text; only the decision and the policy.
    pub fn parse(text: &str) -> Option<(Uuid, Policy)> {
        let rest = text.strip_prefix("decision=")?;
        let (decision, rest) = rest.split_once(' ')?;
        let (_, policy) = rest.split_once("policy=")?;
        Some((decision.parse().ok()?, Policy::of_name(policy.strip_suffix('.')?)))
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            decision,
            until,
            policy,
        } = self;
        write!(f, "decision={decision} until={until} policy={policy}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::trigger::Kind;

    fn trigger() -> Trigger {
        Trigger::new(Kind::ClientIp, "203.0.113.7/32".parse().unwrap())
    }

    #[test]
    fn a_mark_has_a_name_that_tells_observer_and_trigger() {
        let observer = Observer::new("fra-1");
        let name = observer.mark_of(&trigger());
        assert_eq!(name, "32.7.113.0.203.rpz-client-ip.fra-1._trapline");
        let mine = |is_mine| {
            Some(MarkName {
                trigger: Some(trigger()),
                is_mine,
            })
        };
        assert_eq!(observer.read(&name), mine(true));
        assert_eq!(Observer::new("fra-2").read(&name), mine(false));
        assert_eq!(Trigger::parse(&name), None);
        let unreadable = observer.read("junk.fra-1._trapline").unwrap();
        assert_eq!((unreadable.trigger, unreadable.is_mine), (None, true));
        assert_eq!(observer.read("32.7.113.0.203.rpz-client-ip"), None);
    }

    #[test]
    fn an_observer_whose_name_is_no_label_gets_one_of_its_own() {
        let labels =
            ["Fra 1", "fra 1", "fra.1", "", "x--0", "\u{e9}", &"a".repeat(64)].map(|name| Observer::new(name).0);
        for (at, label) in labels.iter().enumerate() {
            assert!(label.starts_with("x--") && label.len() == 27, "{label}");
            assert!(!labels[..at].contains(label), "{label}");
        }
    }

    #[test]
    fn a_mark_says_decision_end_and_policy() {
        let decision = Uuid::from_u128(7);
        for policy in ["", "*", "rpz-drop", "garden.example"].map(Policy::of_name) {
            let mark = Mark {
                decision,
                until: Timestamp::from_micros(0),
                policy: policy.clone(),
            };
            assert_eq!(Mark::parse(&mark.to_string()), Some((decision, policy)));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_mark_or_none(text in ".{0,80}", name in "[a-z0-9._-]{0,60}") {
            let _ = Mark::parse(&text);
            let _ = Mark::parse(&format!("decision={} until=x policy={text}.", Uuid::nil()));
            if let Some(read) = Observer::new("o").read(&name) {
                prop_assert!(name.ends_with("_trapline"), "{:?}", read);
            }
        }
    }
}
