//! What a worker has taken and not sent: the next batch is cut from it. Pure.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use trapline_schemas::Format;
use trapline_sink::{BatchLimits, Parcel};

use super::divide::{Batch, first_offset};

/// Parcels in wait: those to send again first, then new ones, each in order of offset.
#[derive(Debug)]
pub(super) struct Queue {
    limits: BatchLimits,
    format: Format,
    again: VecDeque<Batch>,
    fresh: VecDeque<Arc<Parcel>>,
    /// Rendered bytes of `fresh`.
    bytes: usize,
    /// When the oldest of `fresh` came.
    since: Option<Instant>,
    /// When the last batch went, if it was of several: then more are on their way.
    crowded: Option<Instant>,
    /// What is new waits for an open event, see [`Queue::hold`].
    held: bool,
}

/// Longest time that a batch waits for more with nothing under way: a receiver that answers at once shall not be asked
/// hundreds of times a second, and nobody who reads notices.
const GATHER_MAX: Duration = Duration::from_millis(200);

impl Queue {
    pub(super) fn new(limits: BatchLimits, format: Format) -> Self {
        Self {
            limits,
            format,
            again: VecDeque::new(),
            fresh: VecDeque::new(),
            bytes: 0,
            since: None,
            crowded: None,
            held: false,
        }
    }

    /// An empty one with the same limits and form.
    pub(super) fn like(&self) -> Self {
        Self::new(self.limits, self.format)
    }

    /// The sink's own limits, known once it is made, and better with its answers.
    pub(super) fn set_limits(&mut self, limits: BatchLimits) {
        self.limits = limits;
    }

    /// Whether one batch at a time goes.
    pub(super) fn keeps_order(&self) -> bool {
        self.limits.in_flight <= 1
    }

    /// Holds back what is new while so much was sent from the oldest open event on as batches under way may hold: a
    /// crash sends all of it again. `span` counts the entries from that event to the last one that waits here.
    pub(super) fn hold(&mut self, span: usize) {
        let sent = span.saturating_sub(self.fresh.len());
        self.held = sent >= self.limits.in_flight.max(1).saturating_mul(self.limits.events.max(1));
    }

    /// How many more it takes: enough for the batch under way and the next one.
    pub(super) fn room(&self) -> usize {
        (2 * self.limits.events).saturating_sub(self.fresh.len())
    }

    /// Takes a new parcel.
    pub(super) fn push(&mut self, parcel: Arc<Parcel>, now: Instant) {
        self.bytes += self.size(&parcel);
        self.since.get_or_insert(now);
        self.fresh.push_back(parcel);
    }

    /// Takes back what must be sent again.
    pub(super) fn push_again(&mut self, batches: Vec<Batch>) {
        self.again.extend(batches);
        self.again.make_contiguous().sort_by_key(first_offset);
    }

    /// The next batch, if one should go now with `under_way` batches unanswered.
    ///
    /// With none under way whatever waits goes at once, unless a batch of several has just gone. Beside others, or after
    /// such a one, a batch goes when it is full or has lingered.
    pub(super) fn cut(&mut self, under_way: usize, now: Instant) -> Option<Batch> {
        if under_way >= self.limits.in_flight.max(1) {
            return None;
        }
        if let Some(batch) = self.again.pop_front() {
            return Some(batch);
        }
        let lingered = self.lingers_until(under_way).is_none_or(|until| now >= until);
        let ready = (self.is_full() || lingered) && !self.held;
        (ready && !self.fresh.is_empty()).then(|| self.cut_fresh(now))
    }

    /// When a batch that is not full goes beside `under_way` others; `None` if at once, or not before an answer.
    pub(super) fn lingers_until(&self, under_way: usize) -> Option<Instant> {
        let since = self.since.filter(|_| !self.held)?;
        match under_way {
            0 => self.crowded.map(|last| last + self.limits.linger.min(GATHER_MAX)),
            _ if under_way < self.limits.in_flight => Some(since + self.limits.linger),
            _ => None,
        }
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.again.is_empty() && self.fresh.is_empty()
    }

    fn is_full(&self) -> bool {
        self.fresh.len() >= self.limits.events || self.bytes >= self.limits.bytes
    }

    fn cut_fresh(&mut self, now: Instant) -> Batch {
        let mut batch = Batch::new();
        let mut bytes = 0;
        while let Some(parcel) = self.fresh.front() {
            let size = self.size(parcel);
            let full = batch.len() >= self.limits.events.max(1) || bytes + size > self.limits.bytes;
            if full && !batch.is_empty() {
                break;
            }
            bytes += size;
            batch.extend(self.fresh.pop_front());
        }
        self.bytes = self.bytes.saturating_sub(bytes);
        self.since = (!self.fresh.is_empty()).then_some(now);
        self.crowded = (batch.len() > 1).then_some(now);
        batch
    }

    fn size(&self, parcel: &Parcel) -> usize {
        parcel.rendered(self.format).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trapline_schemas::{Action, Event, Timestamp};

    const LIMITS: BatchLimits = BatchLimits {
        events: 3,
        bytes: 1 << 20,
        linger: Duration::from_millis(50),
        in_flight: 2,
    };

    fn parcel(offset: u64) -> Arc<Parcel> {
        let event = Event::new(uuid::Uuid::nil(), Timestamp::default(), Action::Connect);
        Arc::new(Parcel::new(offset, Arc::new(event)))
    }

    fn queue(limits: BatchLimits, count: u64, now: Instant) -> Queue {
        let mut queue = Queue::new(limits, Format::Ecs);
        (1..=count).for_each(|offset| queue.push(parcel(offset), now));
        queue
    }

    fn offsets(batch: Option<Batch>) -> Option<Vec<u64>> {
        batch.map(|batch| batch.iter().map(|parcel| parcel.offset).collect())
    }

    #[test]
    fn a_lone_parcel_goes_at_once_when_nothing_is_under_way() {
        let now = Instant::now();
        assert_eq!(offsets(queue(LIMITS, 1, now).cut(0, now)), Some(vec![1]));
    }

    #[test]
    fn beside_others_a_batch_waits_until_it_is_full_or_has_lingered() {
        let now = Instant::now();
        assert_eq!(offsets(queue(LIMITS, 2, now).cut(1, now)), None);
        assert_eq!(offsets(queue(LIMITS, 3, now).cut(1, now)), Some(vec![1, 2, 3]));
        let later = now + LIMITS.linger;
        assert_eq!(offsets(queue(LIMITS, 2, now).cut(1, later)), Some(vec![1, 2]));
        assert_eq!(offsets(queue(LIMITS, 3, now).cut(2, later)), None, "two are enough");
        assert_eq!(queue(LIMITS, 2, now).lingers_until(1), Some(later));
        assert_eq!(
            queue(LIMITS, 2, now).lingers_until(2),
            None,
            "only an answer lets it go"
        );
    }

    #[test]
    fn after_a_batch_of_several_the_next_waits_for_more_and_after_a_lone_one_it_does_not() {
        let now = Instant::now();
        let mut queue = queue(LIMITS, 2, now);
        assert_eq!(offsets(queue.cut(0, now)), Some(vec![1, 2]));
        queue.push(parcel(3), now);
        let until = now + LIMITS.linger;
        assert_eq!(offsets(queue.cut(0, now)), None);
        assert_eq!(queue.lingers_until(0), Some(until));
        assert_eq!(offsets(queue.cut(0, until)), Some(vec![3]));
        queue.push(parcel(4), until);
        assert_eq!(queue.lingers_until(0), None);
        assert_eq!(offsets(queue.cut(0, until)), Some(vec![4]), "the one before was alone");
    }

    #[test]
    fn a_full_batch_waits_for_nothing() {
        let now = Instant::now();
        let mut queue = queue(LIMITS, 6, now);
        assert_eq!(offsets(queue.cut(0, now)), Some(vec![1, 2, 3]));
        assert_eq!(offsets(queue.cut(0, now)), Some(vec![4, 5, 6]));
    }

    #[test]
    fn what_failed_goes_before_what_is_new_and_in_order() {
        let now = Instant::now();
        let mut queue = queue(LIMITS, 0, now);
        queue.push(parcel(9), now);
        queue.push_again(vec![vec![parcel(5)], vec![parcel(2), parcel(3)]]);
        assert_eq!(offsets(queue.cut(0, now)), Some(vec![2, 3]));
        assert_eq!(offsets(queue.cut(0, now)), Some(vec![5]));
        assert_eq!(offsets(queue.cut(0, now)), Some(vec![9]));
        assert!(queue.is_empty());
    }

    #[test]
    fn bytes_bound_a_batch_but_a_larger_event_still_goes_alone() {
        let now = Instant::now();
        let small = BatchLimits { bytes: 1, ..LIMITS };
        let mut queue = queue(small, 2, now);
        assert_eq!(offsets(queue.cut(0, now)), Some(vec![1]));
        assert_eq!(offsets(queue.cut(0, now)), Some(vec![2]));
    }
}
