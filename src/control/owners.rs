//! The owners of sources: which incidents wait for somebody to let their owner be written to, and that it was let.
//!
//! In: what the index sums up of an incident, and who lets its owner be written to ([`By`]). Out: the event
//! `notice-released`, which the email sinks that it names turn into one mail each. Pure.
//!
//! Nothing else ever makes a mail to an owner: the mailbox may be the intruder's, so somebody decides each time. Whatever
//! acts against a source is one more [`By`]: it calls [`crate::app::Core::release`] with its decision.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use trapline_schemas::{Action, ENFORCEMENT, Event, Field, Timestamp, ids};
use uuid::Uuid;

/// Longest reason of a release, in characters.
pub const REASON_CHARS_MAX: usize = 500;
/// Most incidents that are listed.
pub const LIST_MAX: u32 = 1000;
/// Fewest signs that an incident is named by: those that the subjects of mails have.
const NAME_CHARS_MIN: usize = 8;

/// Who lets an owner be written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// A user of this host.
    Person {
        /// The number.
        uid: u32,
        /// The name, if this host knows one.
        name: Option<String>,
    },
    /// Something was done about the source: the decision's id.
    Enforcement(Uuid),
}

impl By {
    /// As it is told: a name, else `uid 1000`. No user passes for enforcement.
    pub fn shown(&self) -> String {
        match self {
            Self::Person { name: Some(name), .. } if name != ENFORCEMENT => name.clone(),
            Self::Person { uid, .. } => format!("uid {uid}"),
            Self::Enforcement(_) => ENFORCEMENT.to_owned(),
        }
    }
}

/// What is asked to be released.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseOrder {
    /// The incident: its id, or the first eight signs or more of it.
    pub incident: String,
    /// Why, for the record: it is not in the mail.
    pub reason: Option<String>,
    /// Also if it was released before.
    pub again: bool,
}

/// An incident whose source has an owner; the stable form of `owners list --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerRow {
    /// Its id.
    pub incident: String,
    /// Who came.
    pub source: IpAddr,
    /// Who answers for it, as the hits say.
    pub owner: String,
    /// Where that one is reached by now, if anywhere.
    pub email: Option<String>,
    /// When it began, RFC 3339 in UTC.
    pub first: String,
    /// When it was seen last.
    pub last: String,
    /// Visits: connections, and datagrams.
    pub hits: u64,
    /// The gravest level of touch.
    pub level: Option<String>,
    /// Whether no handshake proved the address, so that anybody may have written it.
    pub spoofable: bool,
    /// Services that were touched.
    pub services: Vec<String>,
    /// The last release, if there was one.
    pub released: Option<Release>,
}

/// A release, as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// By whom.
    pub by: String,
    /// Which of its incident, from 1.
    pub number: u64,
}

/// What was released; the stable form of `owners release --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseReport {
    /// The incident.
    pub incident: String,
    /// The event that says so: also the id of the mail.
    pub event_id: String,
    /// Who came.
    pub source: IpAddr,
    /// Who answers for it.
    pub owner: String,
    /// Where the mail goes.
    pub email: String,
    /// Whether no handshake proved the address of who came.
    pub spoofable: bool,
    /// The sinks that send it.
    pub sinks: Vec<String>,
    /// The release.
    pub released: Release,
}

/// What is known of an incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matter {
    /// Its id.
    pub incident: Uuid,
    /// Who came.
    pub source: IpAddr,
    /// Who answers for it.
    pub owner: SmolStr,
    /// Where that one is reached.
    pub to: String,
    /// The first and the last of it.
    pub span: (Timestamp, Timestamp),
    /// Visits.
    pub visits: u64,
    /// The gravest level of touch.
    pub level: Option<&'static str>,
    /// Whether no handshake proved the address.
    pub spoofable: bool,
    /// Services that were touched.
    pub services: Vec<SmolStr>,
}

/// The event by which the owner is written to, once by each of `sinks`, at `at`.
pub fn event(
    matter: &Matter,
    by: &By,
    (number, at): (u64, Timestamp),
    sinks: &[String],
    reason: Option<&str>,
) -> Event {
    let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let (first, last) = matter.span;
    let mut event = Event::new(ids::fresh(at), at, Action::NoticeReleased);
    event.set(Field::EventStart, first);
    event.set(Field::EventEnd, last);
    event.set(
        Field::EventDuration,
        (last.micros() - first.micros()).max(0).saturating_mul(1000),
    );
    event.set_some(Field::EventReason, reason.map(SmolStr::from));
    event.set(Field::FindingHits, signed(matter.visits.max(1)));
    event.set(Field::IncidentId, matter.incident);
    event.set(Field::ReleaseBy, by.shown().as_str());
    event.set(Field::ReleaseNumber, signed(number));
    event.set(Field::ReleaseServices, matter.services.clone());
    event.set(Field::ReleaseSinks, sinks.iter().map(SmolStr::from).collect::<Vec<_>>());
    event.set(Field::ReleaseTo, matter.to.as_str());
    event.set(Field::SourceIp, matter.source);
    event.set(Field::SourceOwner, matter.owner.clone());
    event.set(Field::SourceSpoofable, matter.spoofable);
    event.set_some(Field::TouchLevel, matter.level);
    match by {
        By::Person { uid, .. } => event.set(Field::ReleaseUid, i64::from(*uid)),
        By::Enforcement(decision) => event.set(Field::ResponseId, *decision),
    }
    event
}

/// The first and the last id that begin as `text` does: hyphens do not count. Errors: it names no incident.
pub fn ids_of(text: &str) -> Result<(Uuid, Uuid), String> {
    let digits: String = text.chars().filter(|sign| *sign != '-').collect();
    let is_name = (NAME_CHARS_MIN..=32).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let filled = |with: &str| {
        format!("{digits}{}", with.repeat(32_usize.saturating_sub(digits.len())))
            .parse()
            .ok()
    };
    let ids = filled("0").zip(filled("f")).filter(|_| is_name);
    ids.ok_or_else(|| {
        format!("`{text}` names no incident: its id does, or the first {NAME_CHARS_MIN} signs of it or more")
    })
}

#[cfg(test)]
mod tests {
    use trapline_schemas::Value;

    use super::*;

    fn matter() -> Matter {
        Matter {
            incident: Uuid::from_u128(7),
            source: IpAddr::from([10, 3, 4, 5]),
            owner: "lab".into(),
            to: "lab@example.org".into(),
            span: (Timestamp::from_micros(5), Timestamp::from_micros(9)),
            visits: 412,
            level: Some("proof"),
            spoofable: true,
            services: vec!["ssh".into()],
        }
    }

    fn made(by: &By, reason: Option<&str>) -> Event {
        event(
            &matter(),
            by,
            (2, Timestamp::from_micros(50)),
            &["mail".to_owned()],
            reason,
        )
    }

    #[test]
    fn a_release_says_who_let_whom_be_told_of_what_and_through_which_sinks() {
        let person = By::Person {
            uid: 1000,
            name: Some("alice".into()),
        };
        let event = made(&person, Some("seen with the team"));
        let text = |field| event.text(field).map(SmolStr::as_str);
        assert_eq!(event.action, Action::NoticeReleased);
        assert_eq!(text(Field::ReleaseBy), Some("alice"));
        assert_eq!(text(Field::ReleaseTo), Some("lab@example.org"));
        assert_eq!(text(Field::EventReason), Some("seen with the team"));
        assert_eq!(
            (event.int(Field::ReleaseUid), event.int(Field::ReleaseNumber)),
            (Some(1000), Some(2))
        );
        assert_eq!(
            (event.int(Field::FindingHits), event.int(Field::EventDuration)),
            (Some(412), Some(4000))
        );
        assert_eq!(event.get(Field::ReleaseSinks), Some(&Value::Texts(vec!["mail".into()])));
        assert_eq!(event.get(Field::SourceSpoofable), Some(&Value::Bool(true)));
        assert_eq!(event.uuid(Field::ResponseId), None);
    }

    #[test]
    fn a_decision_releases_in_the_same_way_and_no_user_passes_for_one() {
        let decision = Uuid::from_u128(9);
        let event = made(&By::Enforcement(decision), None);
        assert_eq!(event.text(Field::ReleaseBy).map(SmolStr::as_str), Some(ENFORCEMENT));
        assert_eq!(
            (event.uuid(Field::ResponseId), event.int(Field::ReleaseUid)),
            (Some(decision), None)
        );
        let by = |name: Option<&str>| By::Person {
            uid: 7,
            name: name.map(str::to_owned),
        };
        assert_eq!(
            [Some(ENFORCEMENT), None, Some("bob")].map(|name| by(name).shown()),
            ["uid 7", "uid 7", "bob"]
        );
    }

    #[test]
    fn an_incident_is_named_by_its_id_or_by_what_the_subject_of_a_mail_has_of_it() {
        let id: Uuid = "3459ea46-c468-81c8-abd0-67377876e751".parse().unwrap();
        assert_eq!(ids_of(&id.to_string()), Ok((id, id)));
        let (first, last) = ids_of("3459ea46").unwrap();
        assert!(first < id && id < last);
        assert_eq!(ids_of("3459EA46-C4"), ids_of("3459ea46c4"));
        for wrong in [
            "",
            "3459ea4",
            "3459ea4g",
            "ééééé",
            "3459ea46-c468-81c8-abd0-67377876e7510",
            "10.3.4.5.6.7",
        ] {
            assert!(ids_of(wrong).unwrap_err().contains(&format!("`{wrong}`")), "{wrong}");
        }
    }
}
