//! Bodies of a batch of events, written one after another into one piece of memory.

use bytes::Bytes;
use trapline_schemas::{Event, codec};

/// Room made for a body at first; most are smaller.
const BODY_BYTES: usize = 1024;

/// Bodies under way, and the events they were made of if somebody wants them.
pub(super) struct Sheet {
    text: Vec<u8>,
    ends: Vec<usize>,
    events: Option<Vec<Event>>,
}

impl Sheet {
    /// Room for so many events; with `keep` the events themselves are given back as well.
    pub(super) fn new(events: usize, keep: bool) -> Self {
        Self {
            text: Vec::with_capacity(events * BODY_BYTES),
            ends: Vec::with_capacity(events),
            events: keep.then(|| Vec::with_capacity(events)),
        }
    }

    /// Writes an event's body.
    pub(super) fn write(&mut self, event: Event) {
        codec::encode_into(&event, &mut self.text);
        self.ends.push(self.text.len());
        if let Some(events) = &mut self.events {
            events.push(event);
        }
    }

    /// Bytes written so far.
    pub(super) fn bytes(&self) -> usize {
        self.text.len()
    }

    /// The bodies, and their events if they were kept, in order.
    pub(super) fn finish(self) -> (Vec<Bytes>, Vec<Event>) {
        let text = Bytes::from(self.text);
        let mut from = 0;
        let bodies = self
            .ends
            .into_iter()
            .map(|end| text.slice(std::mem::replace(&mut from, end)..end));
        (bodies.collect(), self.events.unwrap_or_default())
    }
}
