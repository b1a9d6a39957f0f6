//! Canaries under way: where each of them was seen, for whoever waits for it.
//!
//! In: sightings by windows and workers ([`Canaries::note`]). Out: a [`Flight`] that grows, while somebody follows it; what
//! nobody follows is forgotten at once. Bounded: [`FLIGHTS_MAX`] flights of [`SIGHTINGS_MAX`] sightings.

use std::collections::BTreeMap;

use tokio::sync::watch;
use tokio::time::Instant;
use trapline_schemas::Action;
use trapline_sink::{Delivery, Outcome};
use uuid::Uuid;

use super::divide::Batch;

/// Canaries followed at once.
const FLIGHTS_MAX: usize = 8;
/// Sightings kept of one: some for each node of a graph.
const SIGHTINGS_MAX: usize = 512;

/// What was seen of a canary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    /// A window let it through.
    Passed,
    /// A worker took it for its sink.
    Queued,
    /// The sink delivered it; the destination's own words, if it has any.
    Delivered(Option<String>),
    /// A try did not go through, and why; it is tried again.
    Failed(String),
    /// The destination refused it for good, and why.
    Refused(String),
}

/// A sighting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// When.
    pub at: Instant,
    /// The window or sink.
    pub node: String,
    /// What.
    pub sight: Sight,
}

/// All sightings of a canary, in order of time.
pub type Flight = Vec<Sighting>;

/// The canaries that somebody follows.
#[derive(Debug, Default)]
pub struct Canaries(watch::Sender<BTreeMap<Uuid, Flight>>);

impl Canaries {
    /// Follows a canary from now on; `None` if too many are followed.
    pub fn follow(&self, id: Uuid) -> Option<Followed<'_>> {
        let is_followed = self.0.send_if_modified(|flights| {
            let has_room = flights.len() < FLIGHTS_MAX;
            if has_room {
                flights.insert(id, Flight::new());
            }
            has_room
        });
        is_followed.then(|| Followed {
            canaries: self,
            sightings: self.0.subscribe(),
            id,
        })
    }

    /// A canary was seen. A try that failed stands in the place of the one before it.
    pub(super) fn note(&self, id: Uuid, node: &str, sight: Sight) {
        self.0.send_if_modified(|flights| {
            let Some(flight) = flights.get_mut(&id) else {
                return false;
            };
            flight.retain(|seen| seen.node != node || !matches!(seen.sight, Sight::Failed(_)));
            let has_room = flight.len() < SIGHTINGS_MAX;
            if has_room {
                flight.push(Sighting {
                    at: Instant::now(),
                    node: node.to_owned(),
                    sight,
                });
            }
            has_room
        });
    }
}

/// A canary that is followed, until this is dropped.
#[derive(Debug)]
pub struct Followed<'c> {
    canaries: &'c Canaries,
    sightings: watch::Receiver<BTreeMap<Uuid, Flight>>,
    id: Uuid,
}

impl Followed<'_> {
    /// What was seen of it so far.
    pub fn flight(&mut self) -> Flight {
        let flights = self.sightings.borrow_and_update();
        flights.get(&self.id).cloned().unwrap_or_default()
    }

    /// Waits until something was seen of some canary since [`Followed::flight`] was asked. Cancel: safe.
    pub async fn changed(&mut self) {
        if self.sightings.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Followed<'_> {
    fn drop(&mut self) {
        self.canaries.0.send_modify(|flights| drop(flights.remove(&self.id)));
    }
}

/// What the answer to a batch means for the canaries in it; usually there are none.
pub(super) fn sights(batch: &Batch, delivery: &Delivery, word: impl Fn() -> Option<String>) -> Vec<(Uuid, Sight)> {
    let outcomes = batch.iter().zip(&delivery.outcomes);
    let canaries = outcomes.filter(|(parcel, _)| parcel.event.action == Action::Canary);
    let sight = |outcome: &Outcome| match outcome {
        Outcome::Delivered => Sight::Delivered(word()),
        Outcome::Rejected(reason) => Sight::Refused(reason.clone()),
        Outcome::Suspect(reason) if batch.len() == 1 => Sight::Refused(reason.clone()),
        Outcome::Suspect(reason) => Sight::Failed(reason.clone()),
        Outcome::Retry => {
            let fault = delivery.fault.as_ref().map(|fault| fault.message.clone());
            Sight::Failed(fault.unwrap_or_else(|| "the sink asked for another try".to_owned()))
        }
    };
    canaries
        .map(|(parcel, outcome)| (parcel.event.id, sight(outcome)))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use trapline_schemas::{Event, Timestamp};
    use trapline_sink::{Fault, FaultKind, Parcel};

    use super::*;

    fn parcel(id: u128, action: Action) -> Arc<Parcel> {
        let event = Event::new(Uuid::from_u128(id), Timestamp::default(), action);
        Arc::new(Parcel::new(1, Arc::new(event)))
    }

    #[test]
    fn a_canary_that_nobody_follows_is_forgotten_at_once() {
        let canaries = Canaries::default();
        let mut followed = canaries.follow(Uuid::from_u128(1)).unwrap();
        canaries.note(Uuid::from_u128(2), "siem", Sight::Queued);
        assert_eq!(followed.flight(), []);
        canaries.note(Uuid::from_u128(1), "siem", Sight::Queued);
        assert_eq!(followed.flight().len(), 1);
        drop(followed);
        assert!(canaries.0.borrow().is_empty());
    }

    #[test]
    fn followed_canaries_and_what_is_kept_of_them_are_bounded() {
        let canaries = Canaries::default();
        let all: Vec<_> = (0..20).filter_map(|id| canaries.follow(Uuid::from_u128(id))).collect();
        assert_eq!(all.len(), FLIGHTS_MAX);
        for node in 0..2 * SIGHTINGS_MAX {
            canaries.note(Uuid::from_u128(0), &node.to_string(), Sight::Queued);
        }
        assert_eq!(canaries.0.borrow()[&Uuid::from_u128(0)].len(), SIGHTINGS_MAX);
    }

    #[test]
    fn a_try_that_failed_is_told_by_the_last_one_alone_and_a_delivery_ends_it() {
        let canaries = Canaries::default();
        let id = Uuid::from_u128(1);
        let mut followed = canaries.follow(id).unwrap();
        for said in ["refused", "timed out"] {
            canaries.note(id, "siem", Sight::Failed(said.into()));
        }
        let seen = followed.flight();
        assert_eq!((seen.len(), &seen[0].sight), (1, &Sight::Failed("timed out".into())));
        canaries.note(id, "siem", Sight::Delivered(None));
        assert_eq!(followed.flight()[0].sight, Sight::Delivered(None));
    }

    #[test]
    fn only_canaries_are_seen_each_with_its_own_outcome() {
        let batch = vec![
            parcel(1, Action::Connect),
            parcel(2, Action::Canary),
            parcel(3, Action::Canary),
        ];
        let delivery = Delivery {
            outcomes: vec![Outcome::Delivered, Outcome::Retry, Outcome::Delivered],
            retry_after: None,
            fault: Some(Fault {
                kind: FaultKind::Unreachable,
                message: "refused".into(),
            }),
        };
        let seen = sights(&batch, &delivery, || Some("250 ok".into()));
        let expected = [
            (Uuid::from_u128(2), Sight::Failed("refused".into())),
            (Uuid::from_u128(3), Sight::Delivered(Some("250 ok".into()))),
        ];
        assert_eq!(seen, expected);
    }
}
