//! Letting the owner of a source be written to.
//!
//! In: an incident, and who lets it: a person by the control socket; whatever acts against sources, by the same call, with
//! its decision. Out: one commit with the event and with the note that it was done, durable before anything is sent. The
//! email sinks that the event names have it by their cursors, as any entry: at least once, under one Message-ID.
//!
//! Invariants: 1. one release at a time, so that two who ask at once do not both find it waiting; 2. an incident that was
//! released is released again only by who says so; 3. what is told is what the journal has up to the moment of asking, as
//! far as the index could be waited for.
//!
//! Layout of state: `owners/INCIDENT` is the last [`Release`] as JSON; of more than [`RELEASES_MAX`] the oldest go.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use trapline_schemas::{Timestamp, codec};
use trapline_sink::config::OwnerMail;
use uuid::Uuid;

use super::indexed::level;
use super::{build, core::Refused};
use crate::app::Core;
use crate::config::Config;
use crate::control::owners::{
    By, LIST_MAX, Matter, OwnerRow, REASON_CHARS_MAX, Release, ReleaseOrder, ReleaseReport, event, ids_of,
};
use crate::control::protocol::Refusal;
use crate::journal::index::{OwnedIncident, Search};
use crate::journal::{Commit, JournalError};

/// Where releases stand in the journal's state.
const STATE: &str = "owners/";
/// Most releases that are remembered.
const RELEASES_MAX: usize = 10_000;
/// How long the index is waited for, and how often it is looked at: it lingers a quarter of a second.
const INDEX_TIME_MAX: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(25);

impl Core {
    /// Incidents whose source has an owner, the latest first; a limit of 0 is [`LIST_MAX`]. Cancel: safe.
    pub async fn owners(&self, limit: u32) -> Result<Vec<OwnerRow>, JournalError> {
        self.index_catches_up().await;
        let limit = if limit == 0 { LIST_MAX } else { limit.min(LIST_MAX) };
        let found = self.index.owned(limit as usize).await?;
        let releases: BTreeMap<_, _> = self.journal.states(STATE).await?.into_iter().collect();
        let config = self.config();
        let row = |found: OwnedIncident| {
            let released = releases.get(&key(found.incident));
            OwnerRow {
                incident: found.incident.to_string(),
                source: found.source,
                email: email_of(&config, &found.owner).flatten(),
                first: moment(found.span.0),
                last: moment(found.span.1),
                hits: found.visits,
                level: level(found.gravity).map(str::to_owned),
                spoofable: !found.proved,
                services: found.services.iter().map(ToString::to_string).collect(),
                released: released.and_then(|row| serde_json::from_slice(row).ok()),
                owner: found.owner.into(),
            }
        };
        Ok(found.into_iter().map(row).collect())
    }

    /// Lets the owner of an incident's source be written to; durable on return. The seam for whatever acts against a
    /// source: it passes [`By::Enforcement`] with its decision, and is refused like a person where there is nobody to
    /// write to or where the owner was written to before.
    ///
    /// Errors: nothing was done, with the reason. Cancel: either all of it is done, or nothing.
    pub async fn release(&self, order: &ReleaseOrder, by: &By) -> Result<ReleaseReport, Refused> {
        let _alone = self.releasing.lock().await;
        let reason = reason(order)?;
        let config = self.config();
        let found = self.owned(&order.incident).await?;
        let sinks = sinks(&config);
        let to = address(&config, &found, &sinks)?;
        let releases = self.journal.states(STATE).await.map_err(failed)?;
        let number = next_number(&releases, found.incident, order.again)?;
        let matter = Matter {
            incident: found.incident,
            source: found.source,
            owner: found.owner,
            to,
            span: found.span,
            visits: found.visits,
            level: level(found.gravity),
            spoofable: !found.proved,
            services: found.services,
        };
        let now = Timestamp::now();
        let mut event = event(&matter, by, (number, now), &sinks, reason);
        self.identity.stamp(&mut event);
        let released = Release {
            at: moment(now),
            by: by.shown(),
            number,
        };
        let mut state = forgotten(&releases);
        state.push((
            key(matter.incident),
            Some(serde_json::to_vec(&released).map_err(failed)?),
        ));
        let commit = Commit {
            append: vec![codec::encode(&event).into()],
            state,
            ..Commit::default()
        };
        self.journal.commit(commit).await.map_err(failed)?;
        tracing::info!(
            incident = %matter.incident,
            "{} let the owner {} of {} be written to",
            released.by,
            matter.owner,
            matter.source
        );
        Ok(ReleaseReport {
            incident: matter.incident.to_string(),
            event_id: event.id.to_string(),
            source: matter.source,
            owner: matter.owner.into(),
            email: matter.to,
            spoofable: matter.spoofable,
            sinks,
            released,
        })
    }

    /// The incident that is meant, with an owner. Errors: there is none, or several.
    async fn owned(&self, named: &str) -> Result<OwnedIncident, Refused> {
        let (first, last) = ids_of(named).map_err(|wrong| Refused::new(Refusal::Usage, wrong))?;
        self.index_catches_up().await;
        let mut found = self.index.owned_within(first, last).await.map_err(failed)?;
        match (found.pop(), found.is_empty()) {
            (Some(found), true) => Ok(found),
            (Some(_), false) => Err(Refused::new(
                Refusal::Usage,
                format!("`{named}` begins several incidents: write more of the id"),
            )),
            (None, _) => Err(self.not_owned(named, (first == last).then_some(first)).await),
        }
    }

    /// Why an incident is not among those with an owner.
    async fn not_owned(&self, named: &str, id: Option<Uuid>) -> Refused {
        let search = Search {
            incident: id,
            limit: 1,
            ..Search::default()
        };
        let is_known = match id {
            Some(_) => self
                .index
                .search(search)
                .await
                .is_ok_and(|page| !page.offsets.is_empty()),
            None => false,
        };
        let behind = self.journal.head().borrow().saturating_sub(self.index.indexed_to());
        let why = match (is_known, behind) {
            (true, _) => format!(
                "the source of incident `{named}` has no owner: no `[owners.NAME]` had its address when it came"
            ),
            (false, 0) => {
                format!("there is no incident `{named}` whose source has an owner; `trapline owners list` has them")
            }
            (false, behind) => {
                format!("there is no incident `{named}` yet: the index is {behind} entries behind, try again")
            }
        };
        Refused::new(Refusal::Usage, why)
    }

    /// Waits until the index has what the journal has by now, for [`INDEX_TIME_MAX`] at most.
    async fn index_catches_up(&self) {
        let head = *self.journal.head().borrow();
        let caught_up = async {
            while self.index.indexed_to() < head {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        // In a flood it lags: what it has is told then.
        let _ = tokio::time::timeout(INDEX_TIME_MAX, caught_up).await;
    }
}

fn failed(error: impl fmt::Display) -> Refused {
    Refused::new(Refusal::Failed, error)
}

fn key(incident: Uuid) -> String {
    format!("{STATE}{incident}")
}

fn moment(at: Timestamp) -> String {
    let at = jiff::Timestamp::from_microsecond(at.micros()).unwrap_or_default();
    format!("{at:.3}")
}

fn reason(order: &ReleaseOrder) -> Result<Option<&str>, Refused> {
    let reason = order
        .reason
        .as_deref()
        .map(str::trim)
        .filter(|reason| !reason.is_empty());
    let chars = reason.map_or(0, |reason| reason.chars().count());
    match chars > REASON_CHARS_MAX {
        false => Ok(reason),
        true => {
            let why = format!("a reason of {chars} characters; at most {REASON_CHARS_MAX}");
            Err(Refused::new(Refusal::Usage, why))
        }
    }
}

/// The sinks that write to owners.
fn sinks(config: &Config) -> Vec<String> {
    let writing = build::enabled(config).filter(|sink| sink.owners != OwnerMail::Never);
    writing.map(|sink| sink.name.clone()).collect()
}

/// Where an owner is reached, if at all; `None` if there is no such owner any more.
fn email_of(config: &Config, name: &str) -> Option<Option<String>> {
    let owner = config.owners.iter().find(|owner| owner.name == name)?;
    Some(owner.email.clone())
}

/// Where the owner is written to. Errors: nobody could be.
fn address(config: &Config, found: &OwnedIncident, sinks: &[String]) -> Result<String, Refused> {
    let (owner, source) = (&found.owner, found.source);
    let why = match email_of(config, owner) {
        None => format!("`[owners.{owner}]`, which {source} was in when it came, is not in the configuration any more"),
        Some(None) => format!("the owner `{owner}` of {source} has no address: `[owners.{owner}]` needs `email`"),
        Some(Some(_)) if sinks.is_empty() => {
            "no sink writes to owners: an enabled `email` sink needs `owners = true`".to_owned()
        }
        Some(Some(email)) => return Ok(email),
    };
    Err(Refused::new(Refusal::Failed, why))
}

/// Which release of an incident it is. Errors: there was one, and no second is asked for.
fn next_number(releases: &[(String, Vec<u8>)], incident: Uuid, again: bool) -> Result<u64, Refused> {
    let key = key(incident);
    let before = releases.iter().find(|(known, _)| *known == key);
    let Some(before) = before.and_then(|(_, row)| serde_json::from_slice::<Release>(row).ok()) else {
        return Ok(1);
    };
    match again {
        true => Ok(before.number.saturating_add(1)),
        false => {
            let why = format!(
                "incident {incident} was released on {} by {}; `--again` sends its owner a second mail",
                before.at, before.by
            );
            Err(Refused::new(Refusal::Failed, why))
        }
    }
}

/// The rows that go so that one more has room: the oldest, and those that cannot be read.
fn forgotten(releases: &[(String, Vec<u8>)]) -> Vec<(String, Option<Vec<u8>>)> {
    let excess = (releases.len() + 1).saturating_sub(RELEASES_MAX);
    let at = |row: &[u8]| serde_json::from_slice::<Release>(row).map_or_else(|_| String::new(), |release| release.at);
    let mut by_age: Vec<_> = releases.iter().map(|(key, row)| (at(row), key)).collect();
    by_age.sort_unstable();
    let oldest = by_age.into_iter().take(excess);
    oldest.map(|(_, key)| (key.clone(), None)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn released(number: usize) -> (String, Vec<u8>) {
        let release = Release {
            at: format!("2026-03-04T10:{:02}:{:02}.000Z", number / 60 % 60, number % 60),
            by: "alice".into(),
            number: 1,
        };
        (
            key(Uuid::from_u128(number as u128)),
            serde_json::to_vec(&release).unwrap(),
        )
    }

    #[test]
    fn an_incident_is_released_once_and_again_only_if_somebody_says_so() {
        let releases = [released(3)];
        assert_eq!(next_number(&releases, Uuid::from_u128(4), false), Ok(1));
        let refused = next_number(&releases, Uuid::from_u128(3), false).unwrap_err();
        assert!(
            refused
                .first
                .contains("was released on 2026-03-04T10:00:03.000Z by alice; `--again`"),
            "{refused:?}"
        );
        assert_eq!(next_number(&releases, Uuid::from_u128(3), true), Ok(2));
    }

    #[test]
    fn of_too_many_releases_the_oldest_are_forgotten() {
        let releases: Vec<_> = (0..RELEASES_MAX - 1).map(|number| released(number % 3600)).collect();
        assert_eq!(forgotten(&releases), []);
        let mut releases = releases;
        releases[5] = (key(Uuid::from_u128(55_555)), b"not a release".to_vec());
        releases.push(released(3599));
        assert_eq!(forgotten(&releases), [(key(Uuid::from_u128(55_555)), None)]);
    }
}
