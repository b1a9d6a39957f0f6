//! What a worker has taken and not finished; from it follows the cursor. Pure.

use std::collections::VecDeque;

use trapline_schemas::Timestamp;

use crate::journal::Offset;

/// Open offsets of one consumer, in order.
///
/// Invariant: [`Ledger::cursor`] never passes an offset that was taken and not finished, and never goes back.
#[derive(Debug)]
pub(super) struct Ledger {
    open: VecDeque<Open>,
    unfinished: u64,
    next: Offset,
}

#[derive(Debug)]
struct Open {
    offset: Offset,
    appended_at: Timestamp,
    finished: bool,
}

impl Ledger {
    /// Nothing taken; `next` is the next offset to read.
    pub(super) fn new(next: Offset) -> Self {
        Self {
            open: VecDeque::new(),
            unfinished: 0,
            next,
        }
    }

    /// Takes an entry for delivery. Offsets must be given in rising order.
    pub(super) fn take(&mut self, offset: Offset, appended_at: Timestamp) {
        self.open.push_back(Open {
            offset,
            appended_at,
            finished: false,
        });
        self.unfinished += 1;
    }

    /// Everything before `next` has been read; what was not taken is not for this consumer.
    pub(super) fn read_to(&mut self, next: Offset) {
        self.next = self.next.max(next);
    }

    /// An entry is delivered, or kept as a dead letter.
    pub(super) fn finish(&mut self, offset: Offset) {
        if let Ok(at) = self.open.binary_search_by_key(&offset, |open| open.offset) {
            self.unfinished -= u64::from(!std::mem::replace(&mut self.open[at].finished, true));
        }
        while self.open.front().is_some_and(|open| open.finished) {
            self.open.pop_front();
        }
    }

    /// The lowest unfinished offset: where a restart goes on.
    pub(super) fn cursor(&self) -> Offset {
        self.open.front().map_or(self.next, |open| open.offset)
    }

    /// How many entries were taken and are not finished.
    pub(super) fn unfinished(&self) -> u64 {
        self.unfinished
    }

    /// How many entries were taken from the oldest unfinished one on.
    pub(super) fn span(&self) -> usize {
        self.open.len()
    }

    /// When the oldest unfinished entry was appended.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.open.front().map(|open| open.appended_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(offsets: &[Offset]) -> Ledger {
        let mut ledger = Ledger::new(1);
        for offset in offsets {
            ledger.take(*offset, Timestamp::from_micros(*offset as i64));
            ledger.read_to(offset + 1);
        }
        ledger
    }

    #[test]
    fn the_cursor_is_the_lowest_unfinished_offset() {
        let mut ledger = taken(&[1, 2, 5]);
        ledger.finish(2);
        ledger.finish(2);
        assert_eq!((ledger.cursor(), ledger.unfinished()), (1, 2), "1 is still open");
        ledger.finish(1);
        assert_eq!(ledger.cursor(), 5, "1 and 2 are done");
        ledger.finish(5);
        assert_eq!(ledger.cursor(), 6, "all is done");
        assert_eq!(ledger.oldest(), None);
    }

    #[test]
    fn entries_for_others_are_passed_only_when_nothing_before_them_is_open() {
        let mut ledger = taken(&[3]);
        ledger.read_to(10);
        assert_eq!(ledger.cursor(), 3);
        ledger.finish(3);
        assert_eq!(ledger.cursor(), 10);
    }

    #[test]
    fn what_was_never_taken_cannot_be_finished() {
        let mut ledger = taken(&[4]);
        ledger.finish(3);
        ledger.finish(99);
        assert_eq!(ledger.cursor(), 4);
    }
}
