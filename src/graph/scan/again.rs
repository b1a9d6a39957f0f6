//! How far back a restart reads again, so that most of what is remembered need not be kept in the journal.

use std::collections::VecDeque;

use crate::journal::Offset;

/// Most entries that a restart reads again: about a second of work.
const ENTRIES_MAX: Offset = 131_072;
/// Entries between two marks.
const STEP: Offset = 2048;

/// The latest contacts, as marks: the offset of one, and when it was.
#[derive(Debug, Default)]
pub(super) struct Again(VecDeque<(Offset, i64)>);

impl Again {
    /// Takes note of a contact; marks are `step` microseconds apart or less.
    pub(super) fn note(&mut self, offset: Offset, at: i64, step: i64) {
        let is_far = |(last, then): &(Offset, i64)| offset >= last + STEP || at >= then + step;
        if self.0.back().is_none_or(is_far) {
            self.0.push_back((offset, at));
        }
    }

    /// The mark to begin at, to see about all contacts since `before`; `None` if there was none before `next`.
    pub(super) fn from(&mut self, before: i64, next: Offset) -> Option<(Offset, i64)> {
        let is_over = |(offset, at): &(Offset, i64)| *at < before || next.saturating_sub(*offset) > ENTRIES_MAX;
        while self.0.front().is_some_and(is_over) {
            self.0.pop_front();
        }
        self.0.front().copied()
    }
}
