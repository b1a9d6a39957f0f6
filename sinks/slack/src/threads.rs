//! Which message began the thread of which incident.

use std::collections::{HashMap, VecDeque};

use trapline_notice::Weight;
use uuid::Uuid;

/// Incidents whose threads are known at once; the oldest is forgotten for a new one.
const THREADS_MAX: usize = 1024;

/// A message's name within its channel: seconds and a counter, as `1772619370.000200`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MessageId(String);

impl MessageId {
    /// Reads what Slack calls a `ts`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digits = |part: &str| (1..=12).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        let (seconds, counter) = text.split_once('.')?;
        (digits(seconds) && digits(counter)).then(|| Self(text.to_owned()))
    }

    /// As Slack wrote it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The thread of an incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Thread {
    /// The message that began it.
    pub(crate) root: MessageId,
    /// The gravest notice in it.
    pub(crate) weight: Weight,
}

/// The threads that are known.
#[derive(Debug, Default)]
pub(crate) struct Threads {
    known: HashMap<Uuid, Thread>,
    order: VecDeque<Uuid>,
}

impl Threads {
    pub(crate) fn get(&self, incident: &Uuid) -> Option<Thread> {
        self.known.get(incident).cloned()
    }

    /// A notice of this weight was posted: it began the thread at `root`, or the thread was known before.
    pub(crate) fn note(&mut self, incident: Uuid, root: MessageId, weight: Weight) {
        if let Some(thread) = self.known.get_mut(&incident) {
            thread.weight = thread.weight.max(weight);
            return;
        }
        if self.order.len() >= THREADS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.order.push_back(incident);
        self.known.insert(incident, Thread { root, weight });
    }

    /// The thread is gone.
    pub(crate) fn forget(&mut self, incident: &Uuid) {
        self.known.remove(incident);
        self.order.retain(|known| known != incident);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> MessageId {
        MessageId::parse(text).unwrap()
    }

    #[test]
    fn a_message_id_is_digits_a_point_and_digits() {
        assert_eq!(id("1772619370.000200").as_str(), "1772619370.000200");
        for wrong in [
            "",
            ".",
            "1",
            "1.",
            ".1",
            "1.2.3",
            "1.x",
            "-1.0",
            "1.0\n",
            "9999999999999.0",
            "<!x>.1",
        ] {
            assert_eq!(MessageId::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_thread_keeps_its_root_and_the_gravest_weight() {
        let (mut threads, incident) = (Threads::default(), Uuid::from_u128(7));
        threads.note(incident, id("1.1"), Weight::Contact);
        threads.note(incident, id("2.2"), Weight::Proof);
        threads.note(incident, id("3.3"), Weight::Intent);
        let expected = Thread {
            root: id("1.1"),
            weight: Weight::Proof,
        };
        assert_eq!(threads.get(&incident), Some(expected));
        threads.forget(&incident);
        assert_eq!(threads.get(&incident), None);
    }

    #[test]
    fn the_oldest_is_forgotten_and_there_are_never_more() {
        let mut threads = Threads::default();
        for number in 0..2 * THREADS_MAX as u128 {
            threads.note(Uuid::from_u128(number), id("1.1"), Weight::Contact);
            threads.note(Uuid::from_u128(number), id("1.1"), Weight::Contact);
        }
        assert_eq!((threads.known.len(), threads.order.len()), (THREADS_MAX, THREADS_MAX));
        assert!(threads.get(&Uuid::from_u128(THREADS_MAX as u128 - 1)).is_none());
        assert!(threads.get(&Uuid::from_u128(THREADS_MAX as u128)).is_some());
    }
}
