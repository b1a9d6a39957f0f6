//! Open incidents by how long they have been quiet, and what of them the journal does not have.
//!
//! The order is kept lazily: an entry of it says when an incident would be over at the earliest, and is put right when
//! it comes to the front. So an event costs a look-up and no more.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};

use uuid::Uuid;

use super::open::Open;
use crate::journal::Offset;

/// Entries of an order that need not be worth their place, beside as many again as there are incidents.
const STALE_MAX: usize = 1024;

/// Open incidents.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    open: HashMap<Uuid, Open>,
    /// When each is over at the earliest.
    order: BinaryHeap<Reverse<(i64, Uuid)>>,
    /// The first entry of each that its row does not count, by offset, and when it came.
    unsaved: VecDeque<(Offset, i64, Uuid)>,
}

impl Shelf {
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn get(&self, id: Uuid) -> Option<&Open> {
        self.open.get(&id)
    }

    pub(super) fn put(&mut self, id: Uuid, open: Open, quiet: i64) {
        self.order.push(Reverse((open.due(quiet), id)));
        if let Some((offset, since)) = open.unsaved {
            // Mostly the latest; where one changes shelves it may have been unsaved before others here.
            let at = self.unsaved.partition_point(|(known, ..)| *known <= offset);
            self.unsaved.insert(at, (offset, since, id));
        }
        self.open.insert(id, open);
        if self.order.len() > 2 * self.open.len() + STALE_MAX {
            self.sort(quiet);
        }
    }

    pub(super) fn take(&mut self, id: Uuid) -> Option<Open> {
        self.open.remove(&id)
    }

    /// Changes an incident by an entry, which came `now`.
    pub(super) fn change(&mut self, offset: Offset, now: i64, id: Uuid, change: impl FnOnce(&mut Open)) {
        let Some(open) = self.open.get_mut(&id) else { return };
        change(open);
        if open.unsaved.is_none() {
            open.unsaved = Some((offset, now));
            self.unsaved.push_back((offset, now, id));
        }
    }

    /// An incident may be over sooner than was noted.
    pub(super) fn note_sooner(&mut self, id: Uuid, quiet: i64) {
        let due = self.open.get(&id).map(|open| open.due(quiet));
        self.order.extend(due.map(|due| Reverse((due, id))));
        if self.order.len() > 2 * self.open.len() + STALE_MAX {
            self.sort(quiet);
        }
    }

    /// No incident is over before this.
    pub(super) fn earliest(&self) -> Option<i64> {
        self.order.peek().map(|Reverse((noted, _))| *noted)
    }

    /// The one that is over first, and when.
    pub(super) fn quietest(&mut self, quiet: i64) -> Option<(i64, Uuid)> {
        loop {
            let Reverse((noted, id)) = *self.order.peek()?;
            let due = self.open.get(&id).map(|open| open.due(quiet));
            if due == Some(noted) {
                return Some((noted, id));
            }
            self.order.pop();
            self.order.extend(due.map(|due| Reverse((due, id))));
        }
    }

    /// None was seen later than this.
    pub(super) fn bring_back_to(&mut self, now: i64, quiet: i64) {
        for open in self.open.values_mut() {
            open.last = open.last.min(now);
            open.first = open.first.min(now);
        }
        self.sort(quiet);
    }

    fn sort(&mut self, quiet: i64) {
        let each = self.open.iter();
        self.order = each.map(|(id, open)| Reverse((open.due(quiet), *id))).collect();
    }

    /// The first entry that is in no row.
    pub(super) fn unsaved_from(&mut self) -> Option<Offset> {
        while let Some((offset, _, id)) = self.unsaved.front() {
            let is_so = |open: &Open| open.unsaved.is_some_and(|(first, _)| first == *offset);
            if self.open.get(id).is_some_and(is_so) {
                return Some(*offset);
            }
            self.unsaved.pop_front();
        }
        None
    }

    /// When the first entry came that is in no row, or one that was until an incident of its was closed.
    pub(super) fn unsaved_since(&self) -> Option<i64> {
        self.unsaved.front().map(|(_, since, _)| *since)
    }

    /// Forgets incidents of which an entry before this is in no row.
    pub(super) fn forget_before(&mut self, offset: Offset) {
        while self.unsaved_from().is_some_and(|first| first < offset) {
            if let Some((_, _, id)) = self.unsaved.pop_front() {
                self.open.remove(&id);
            }
        }
    }

    /// The rows of all that changed, which the journal is to have from now on.
    pub(super) fn save(&mut self, key: impl Fn(Uuid) -> String) -> Vec<(Uuid, String, Vec<u8>)> {
        let mut rows = Vec::new();
        for (offset, _, id) in self.unsaved.drain(..) {
            let Some(open) = self.open.get_mut(&id) else { continue };
            if open.unsaved.is_some_and(|(first, _)| first == offset) {
                (open.unsaved, open.has_row) = (None, true);
                rows.push((id, key(id), open.encode(id)));
            }
        }
        rows
    }
}
