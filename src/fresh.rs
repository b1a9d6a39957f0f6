//! Events that were recorded a moment ago, so that delivery need not decode what has just been encoded.
//!
//! In: each body on its way to the journal, with the event it was made of. Out: the event, once, to whoever holds the
//! same bytes. It is a short cut and no more: the journal stays the only truth, and what is not here is decoded.
//!
//! Bounds: `EVENTS_MAX` events and `BYTES_MAX` of bodies, the oldest go first; nothing while nobody takes any.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use trapline_schemas::Event;

/// Most events that wait: twice the largest group of the journal.
const EVENTS_MAX: usize = 2048;
/// Most bytes of their bodies.
const BYTES_MAX: usize = 4 << 20;

/// Events between recorder and delivery.
#[derive(Debug, Default)]
pub struct Fresh {
    takers: AtomicUsize,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// In the order in which they were recorded, which is that of the journal.
    events: VecDeque<(Bytes, Event)>,
    bytes: usize,
}

/// Somebody takes events; given up on drop.
#[derive(Debug)]
pub struct Taker(Arc<Fresh>);

impl Fresh {
    /// From now on events are kept for the caller.
    pub fn taker(self: &Arc<Self>) -> Taker {
        self.takers.fetch_add(1, Ordering::Relaxed);
        Taker(Arc::clone(self))
    }

    /// Whether anybody takes events.
    pub fn is_wanted(&self) -> bool {
        self.takers.load(Ordering::Relaxed) > 0
    }

    /// Keeps events until they are taken or out of bounds. Call it before the bodies go to the journal.
    pub fn put(&self, events: impl Iterator<Item = (Bytes, Event)>) {
        let mut waiting = self.lock();
        for (body, event) in events {
            waiting.bytes += body.len();
            waiting.events.push_back((body, event));
        }
        waiting.shrink();
    }

    /// A panic while the lock is held would be a bug of this file; what waits is then still whole.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn shrink(&mut self) {
        while self.events.len() > EVENTS_MAX || self.bytes > BYTES_MAX {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) -> Option<Event> {
        let (body, event) = self.events.pop_front()?;
        self.bytes -= body.len();
        Some(event)
    }
}

impl Taker {
    /// The event that `body` was made of, if it still waits. What was recorded before it is given up.
    pub fn take(&self, body: &Bytes) -> Option<Event> {
        let mut waiting = self.0.lock();
        // The very bytes, not equal ones: they are held here, so no other body can have come to lie in their place.
        let is_it = |(held, _): &(Bytes, Event)| held.as_ptr() == body.as_ptr() && held.len() == body.len();
        let at = waiting.events.iter().position(is_it)?;
        for _ in 0..at {
            waiting.drop_oldest();
        }
        waiting.drop_oldest()
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        if self.0.takers.fetch_sub(1, Ordering::Relaxed) == 1 {
            *self.0.lock() = Waiting::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trapline_schemas::{Action, Timestamp};
    use uuid::Uuid;

    fn recorded(number: u128, body: &Bytes) -> (Bytes, Event) {
        let event = Event::new(Uuid::from_u128(number), Timestamp::from_micros(1), Action::Connect);
        (body.clone(), event)
    }

    #[test]
    fn an_event_is_given_once_and_to_its_own_bytes_alone() {
        let fresh = Arc::new(Fresh::default());
        let taker = fresh.taker();
        let (body, equal) = (Bytes::from(vec![1, 2]), Bytes::from(vec![1, 2]));
        fresh.put([recorded(1, &body)].into_iter());
        assert_eq!(taker.take(&equal), None);
        assert_eq!(taker.take(&body.slice(..1)), None);
        assert_eq!(taker.take(&body.clone()).unwrap().id, Uuid::from_u128(1));
        assert_eq!(taker.take(&body), None);
    }

    #[test]
    fn what_was_passed_over_is_given_up() {
        let fresh = Arc::new(Fresh::default());
        let taker = fresh.taker();
        let bodies: Vec<_> = (0..3).map(|byte| Bytes::from(vec![byte])).collect();
        fresh.put(bodies.iter().zip(0..).map(|(body, number)| recorded(number, body)));
        assert_eq!(taker.take(&bodies[1]).unwrap().id, Uuid::from_u128(1));
        assert_eq!(taker.take(&bodies[0]), None);
        assert!(taker.take(&bodies[2]).is_some());
        assert_eq!(fresh.lock().bytes, 0);
    }

    #[test]
    fn the_oldest_go_first_and_nothing_stays_when_nobody_takes_any_more() {
        let fresh = Arc::new(Fresh::default());
        assert!(!fresh.is_wanted());
        let taker = fresh.taker();
        assert!(fresh.is_wanted());
        let large = Bytes::from(vec![0; BYTES_MAX - 1]);
        let small = Bytes::from(vec![0; 2]);
        fresh.put([recorded(1, &large), recorded(2, &small)].into_iter());
        assert_eq!(taker.take(&large), None, "both are more than fits");
        fresh.put((0..EVENTS_MAX as u128 + 5).map(|number| recorded(number, &small)));
        assert_eq!(fresh.lock().events.len(), EVENTS_MAX);
        drop(taker);
        assert!(!fresh.is_wanted() && fresh.lock().events.is_empty());
    }
}
