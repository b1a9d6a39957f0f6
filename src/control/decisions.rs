//! Decisions as persons see them and what they can ask for.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use trapline_schemas::Timestamp;
use trapline_sink::set::{Target, Verb};
use uuid::Uuid;

use crate::respond::acts::TargetRow;
use crate::respond::decision::{By, Decision};

/// Longest reason of a person, in characters.
pub const REASON_CHARS_MAX: usize = 500;
/// Fewest signs that a decision is named by.
const NAME_CHARS_MIN: usize = 8;
/// Longest time that a person may ask for.
pub const TTL_MAX: Duration = Duration::from_secs(365 * 86_400);

/// A decision; the stable form of `decisions list --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionRow {
    /// Its id.
    pub id: Uuid,
    /// Whom it is about: an address, or a network.
    pub target: String,
    /// `observed`, `proposed`, `active` or `rejected`.
    pub state: String,
    /// What is done.
    pub verbs: Vec<String>,
    /// The rule that decided, if one did.
    pub rule: Option<String>,
    /// The person who decided, if one did.
    pub person: Option<String>,
    /// Which step of an escalation it is, from 1.
    pub step: u32,
    /// Why, in a person's words.
    pub reason: Option<String>,
    /// The event that caused it.
    pub cause: Option<Uuid>,
    /// The incident that it belongs to.
    pub incident: Option<Uuid>,
    /// The zone of the source.
    pub zone: String,
    /// Who answers for the source.
    pub owner: Option<String>,
    /// How grave the cause was, 0 to 100.
    pub gravity: u8,
    /// When it was decided, RFC 3339 in UTC.
    pub since: String,
    /// When it ends; of a proposal, when it is no longer open.
    pub until: String,
    /// Seconds until then.
    pub remaining_seconds: u64,
    /// How it stands with each sink that acts.
    pub sinks: Vec<TargetRow>,
}

impl DecisionRow {
    /// A decision as it is at `now`.
    pub fn new(decision: &Decision, now: Timestamp, sinks: Vec<TargetRow>) -> Self {
        let (rule, person) = match &decision.by {
            By::Rule(rule) => (Some(rule.to_string()), None),
            By::Person { name, .. } => (None, Some(name.to_string())),
        };
        Self {
            id: decision.id,
            target: decision.target.to_string(),
            state: decision.phase.name().to_owned(),
            verbs: decision.verbs.iter().map(|verb| verb.name().to_owned()).collect(),
            rule,
            person,
            step: decision.step(),
            reason: decision.reason.clone(),
            cause: decision.cause,
            incident: decision.incident,
            zone: decision.zone.to_string(),
            owner: decision.owner.as_ref().map(ToString::to_string),
            gravity: decision.gravity,
            since: moment(decision.since),
            until: moment(decision.until),
            remaining_seconds: decision.until.since(now).as_secs(),
            sinks,
        }
    }
}

/// RFC 3339 in UTC, with milliseconds.
pub fn moment(at: Timestamp) -> String {
    let at = jiff::Timestamp::from_microsecond(at.micros()).unwrap_or_default();
    format!("{at:.3}")
}

/// What a person wants done about decisions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionOrder {
    /// What.
    pub act: DecisionAct,
    /// An address or a network; but for `add` also the id of a decision, or the first eight signs of it or more.
    pub about: String,
    /// Why, for the record.
    pub reason: Option<String>,
}

/// What is done about decisions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecisionAct {
    /// One is made.
    Add {
        /// What is done: words of `do`.
        verbs: Vec<String>,
        /// For how long, seconds.
        ttl_secs: u64,
    },
    /// They end now.
    Remove,
    /// A proposal is put in force.
    Approve,
    /// A proposal is turned down.
    Reject,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionReport {
    /// The decisions it was about: as they are now, or as they were if they ended.
    pub decisions: Vec<DecisionRow>,
}

/// A network that nothing is ever done to; the stable form of `decisions spared --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SparedRow {
    /// The network.
    pub network: String,
    /// Why.
    pub why: String,
    /// What says so.
    #[serde(default)]
    pub from: String,
}

/// Which decisions are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meant {
    /// All about a target.
    Target(Target),
    /// Those whose id is between these two.
    Ids(Uuid, Uuid),
}

impl Meant {
    /// Reads an address, a network or the beginning of an id. Errors: it is none of them.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.contains(['.', ':', '/']) {
            return target(text).map(Self::Target);
        }
        let digits: String = text.chars().filter(|sign| *sign != '-').collect();
        let is_name =
            (NAME_CHARS_MIN..=32).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let filled = |with: &str| {
            let rest = with.repeat(32_usize.saturating_sub(digits.len()));
            format!("{digits}{rest}").parse().ok()
        };
        let ids = filled("0").zip(filled("f")).filter(|_| is_name);
        ids.map(|(first, last)| Self::Ids(first, last)).ok_or_else(|| {
            format!("`{text}` names no decision: an address, a network or an id does, or the first {NAME_CHARS_MIN} signs of one or more")
        })
    }

    /// Whether a decision is meant.
    pub fn is(self, decision: &Decision) -> bool {
        match self {
            Self::Target(target) => decision.target == target,
            Self::Ids(first, last) => (first..=last).contains(&decision.id),
        }
    }
}

/// Reads an address or a network that may be acted on.
pub fn target(text: &str) -> Result<Target, String> {
    text.parse().map_err(
        |wrong: String| match text.parse::<IpAddr>().is_ok() || text.contains('/') {
            true => wrong,
            false => format!("`{text}` is neither an address nor a network"),
        },
    )
}

/// Reads words of `do`. Errors: one is none, or there is none.
pub fn verbs(words: &[String]) -> Result<Vec<Verb>, String> {
    let all = || Verb::ALL.map(Verb::name).join(", ");
    let mut verbs = Vec::new();
    for word in words {
        verbs.push(Verb::find(word).ok_or_else(|| format!("`{word}` is no act: {} are", all()))?);
    }
    verbs.sort_unstable();
    verbs.dedup();
    match verbs.is_empty() {
        true => Err(format!("nothing to do: one of {}", all())),
        false => Ok(verbs),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_is_named_by_its_target_or_the_beginning_of_its_id() {
        let target = |text: &str| Meant::Target(text.parse().unwrap());
        assert_eq!(Meant::parse("203.0.113.7"), Ok(target("203.0.113.7")));
        assert_eq!(Meant::parse("2001:db8::/64"), Ok(target("2001:db8::/64")));
        let id: Uuid = "019cb859-1273-7f28-96c3-5be2f836a111".parse().unwrap();
        let Ok(Meant::Ids(first, last)) = Meant::parse("019CB859") else {
            panic!()
        };
        assert!((first..=last).contains(&id));
        assert_eq!(Meant::parse(&id.to_string()), Ok(Meant::Ids(id, id)));
        for wrong in ["019cb85", "nobody", "", "019cb859-1273-7f28-96c3-5be2f836a1110"] {
            assert!(
                Meant::parse(wrong).unwrap_err().contains("names no decision"),
                "{wrong}"
            );
        }
        assert!(Meant::parse("10.0.0.0/8").unwrap_err().contains("is wider than"));
    }

    #[test]
    fn acts_are_read_by_their_words() {
        let words = |words: &[&str]| verbs(&words.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(words(&["list", "block", "block"]), Ok(vec![Verb::Block, Verb::List]));
        assert_eq!(
            words(&["blok"]).unwrap_err(),
            "`blok` is no act: block, sinkhole, tag, list are"
        );
        assert!(words(&[]).unwrap_err().starts_with("nothing to do"));
    }
}
