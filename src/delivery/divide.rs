//! What becomes of a batch, given the sink's answer. Pure.

use std::sync::Arc;

use trapline_schemas::text;
use trapline_sink::{Delivery, Outcome, Parcel};

use crate::journal::Offset;

/// Parcels that are sent together, in order of offset.
pub(super) type Batch = Vec<Arc<Parcel>>;

/// Longest reason kept with a dead letter, in characters.
const REASON_CHARS_MAX: usize = 512;

/// A batch, sorted by outcome.
#[derive(Debug, Default)]
pub(super) struct Divided {
    /// Finished.
    pub(super) delivered: Vec<Offset>,
    /// To be sent again, in this order: the halves of what is suspect, and what only needs another try.
    pub(super) again: Vec<Batch>,
    /// Refused for good, with the sink's reason.
    pub(super) dead: Vec<(Arc<Parcel>, String)>,
}

impl Divided {
    /// Whether anything was finished or made smaller: then the next try need not wait.
    pub(super) fn has_moved(&self, sent: usize) -> bool {
        !self.delivered.is_empty() || !self.dead.is_empty() || self.again.iter().any(|batch| batch.len() < sent)
    }
}

/// Sorts a batch by its outcomes. An outcome that is missing counts as "again".
///
/// A suspect event alone in its batch is the one at fault. Suspects among others are halved, so a batch of n with one
/// bad event costs about 2 log2 n requests, and every step is smaller than the one before: it ends. What is sent again is
/// in order over all its batches, so that nothing overtakes a suspect that stands before it.
pub(super) fn divide(batch: Batch, delivery: &Delivery) -> Divided {
    let alone = batch.len() == 1;
    let mut divided = Divided::default();
    let (mut again, mut suspects) = (Vec::new(), Vec::new());
    for (at, parcel) in batch.into_iter().enumerate() {
        match delivery.outcomes.get(at) {
            Some(Outcome::Delivered) => divided.delivered.push(parcel.offset),
            Some(Outcome::Rejected(reason)) => divided.dead.push((parcel, bounded(reason))),
            Some(Outcome::Suspect(reason)) if alone => divided.dead.push((parcel, bounded(reason))),
            Some(Outcome::Suspect(_)) => {
                suspects.push(again.len());
                again.push(parcel);
            }
            Some(Outcome::Retry) | None => again.push(parcel),
        }
    }
    divided.again = apart(again, &suspects);
    divided
}

/// Cuts what is sent again: a lone suspect from what stands before and behind it, several into halves, each with what
/// stands behind its suspects. In: the places of the suspects, in rising order.
fn apart(mut again: Batch, suspects: &[usize]) -> Vec<Batch> {
    let cuts = match suspects {
        [] => Vec::new(),
        [lone] => vec![lone + 1, *lone],
        several => several.get(several.len().div_ceil(2)).copied().into_iter().collect(),
    };
    let mut batches: Vec<Batch> = cuts.into_iter().map(|cut| again.split_off(cut)).collect();
    batches.push(again);
    batches.reverse();
    batches.retain(|batch| !batch.is_empty());
    batches
}

/// The offset that a batch begins with.
pub(super) fn first_offset(batch: &Batch) -> Offset {
    batch.first().map_or(Offset::MAX, |parcel| parcel.offset)
}

fn bounded(reason: &str) -> String {
    text::clean_within(reason.as_bytes(), REASON_CHARS_MAX).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use trapline_schemas::{Action, Event, Timestamp};

    fn batch(offsets: std::ops::RangeInclusive<Offset>) -> Batch {
        let event = Event::new(uuid::Uuid::nil(), Timestamp::default(), Action::Connect);
        let event = Arc::new(event);
        offsets
            .map(|offset| Arc::new(Parcel::new(offset, event.clone())))
            .collect()
    }

    fn offsets(batches: &[Batch]) -> Vec<Vec<Offset>> {
        let of = |batch: &Batch| batch.iter().map(|parcel| parcel.offset).collect();
        batches.iter().map(of).collect()
    }

    #[test]
    fn a_suspect_batch_is_split_in_halves() {
        let divided = divide(batch(1..=5), &Delivery::suspect(5, "400"));
        assert_eq!(offsets(&divided.again), [vec![1, 2, 3], vec![4, 5]]);
        assert!(divided.dead.is_empty() && divided.delivered.is_empty());
        assert!(divided.has_moved(5), "halves are tried without a wait");
    }

    #[test]
    fn what_is_sent_again_stays_in_order_however_suspects_stand_among_it() {
        let again = |suspects: &[Offset]| {
            let outcome = |offset| match suspects.contains(&offset) {
                true => Outcome::Suspect("400".to_owned()),
                false => Outcome::Retry,
            };
            let delivery = Delivery {
                outcomes: (0..=6).map(outcome).collect(),
                ..Delivery::all(0)
            };
            let divided = divide(batch(0..=6), &delivery);
            assert!(suspects.is_empty() || divided.has_moved(7));
            offsets(&divided.again)
        };
        assert_eq!(again(&[]), [vec![0, 1, 2, 3, 4, 5, 6]]);
        assert_eq!(again(&[0]), [vec![0], vec![1, 2, 3, 4, 5, 6]]);
        assert_eq!(again(&[5]), [vec![0, 1, 2, 3, 4], vec![5], vec![6]]);
        assert_eq!(
            again(&[0, 5]),
            [vec![0, 1, 2, 3, 4], vec![5, 6]],
            "6 may stand behind 5"
        );
        assert_eq!(again(&[1, 2, 6]), [vec![0, 1, 2, 3, 4, 5], vec![6]]);
    }

    #[test]
    fn a_suspect_event_alone_is_a_dead_letter_with_the_reason() {
        let divided = divide(batch(7..=7), &Delivery::suspect(1, "bad\u{1b}[31m field"));
        assert!(divided.again.is_empty());
        let (parcel, reason) = &divided.dead[0];
        assert_eq!(parcel.offset, 7);
        assert_eq!(reason, "bad\\x1b[31m field");
    }

    #[test]
    fn a_single_bad_event_is_found_by_splitting_alone() {
        let mut waiting = vec![batch(1..=64)];
        let mut dead = Vec::new();
        let mut delivered = 0;
        let mut requests = 0;
        while let Some(next) = waiting.pop() {
            requests += 1;
            let bad = next.iter().any(|parcel| parcel.offset == 23);
            let answer = match bad {
                true => Delivery::suspect(next.len(), "400"),
                false => Delivery::all(next.len()),
            };
            let divided = divide(next, &answer);
            delivered += divided.delivered.len();
            dead.extend(divided.dead.iter().map(|(parcel, _)| parcel.offset));
            waiting.extend(divided.again);
        }
        assert_eq!((delivered, dead), (63, vec![23]));
        assert_eq!(requests, 13, "1 + 2 log2 64");
    }

    #[test]
    fn outcomes_are_per_event_and_a_missing_one_means_again() {
        let delivery = Delivery {
            outcomes: vec![
                Outcome::Delivered,
                Outcome::Rejected("too old".to_owned()),
                Outcome::Retry,
            ],
            retry_after: None,
            fault: None,
        };
        let divided = divide(batch(1..=4), &delivery);
        assert_eq!(divided.delivered, [1]);
        assert_eq!(divided.dead[0].0.offset, 2);
        assert_eq!(offsets(&divided.again), [vec![3, 4]]);
    }

    #[test]
    fn a_batch_that_is_only_to_be_sent_again_has_not_moved() {
        let delivery = Delivery {
            outcomes: vec![Outcome::Retry; 3],
            retry_after: None,
            fault: None,
        };
        assert!(!divide(batch(1..=3), &delivery).has_moved(3));
    }
}
