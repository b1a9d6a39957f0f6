//! How many hits came since the start, for `/metrics`: by decoy and action, with what was folded and what the kernel
//! dropped. Locked once for a batch, never over an await.
//!
//! Bounded: [`DECOYS_MAX`] decoys, which come from the configuration alone; what reloads bring beyond shares one row.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use smol_str::SmolStr;
use trapline_schemas::Action;

use crate::roles::{Hit, Missed};

/// Decoys with a row of their own.
const DECOYS_MAX: usize = 512;
/// The row of the others; no decoy can have this name.
const OTHERS: &str = "(others)";

/// The counts as they grow.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<Rows>);

#[derive(Debug, Default)]
struct Rows {
    decoys: BTreeMap<SmolStr, Row>,
    folded: u64,
}

#[derive(Debug, Clone)]
struct Row {
    hits: [u64; Action::ALL.len()],
    dropped: u64,
}

impl Default for Row {
    fn default() -> Self {
        Self {
            hits: [0; Action::ALL.len()],
            dropped: 0,
        }
    }
}

/// The counts at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counted {
    /// Hits by decoy and action, also those that were folded.
    pub hits: Vec<(SmolStr, Action, u64)>,
    /// Hits that became part of a count, as their source had had its share of the minute.
    pub folded: u64,
    /// Datagrams that the kernel dropped, by decoy.
    pub dropped: Vec<(SmolStr, u64)>,
}

impl Tally {
    /// Counts a batch of hits.
    pub(super) fn hits(&self, batch: &[Hit]) {
        let mut rows = self.lock();
        for hit in batch {
            rows.of(&hit.contact.spec.name).hits[hit.action as usize] += 1;
        }
    }

    /// Counts hits that became no events of their own.
    pub(super) fn folded(&self, hits: u64) {
        self.lock().folded += hits;
    }

    /// Counts datagrams that never became hits.
    pub(super) fn missed(&self, missed: &Missed) {
        self.lock().of(&missed.spec.name).dropped += missed.datagrams;
    }

    /// What was counted up to now.
    pub(super) fn counted(&self) -> Counted {
        let rows = self.lock();
        let mut counted = Counted {
            folded: rows.folded,
            ..Counted::default()
        };
        for (decoy, row) in &rows.decoys {
            let hits = Action::ALL.iter().map(|action| (*action, row.hits[*action as usize]));
            let hits = hits.filter(|(_, count)| *count > 0);
            counted
                .hits
                .extend(hits.map(|(action, count)| (decoy.clone(), action, count)));
            counted
                .dropped
                .extend((row.dropped > 0).then(|| (decoy.clone(), row.dropped)));
        }
        counted
    }

    /// A panic while the lock is held would be a bug of this file; the counts are then still good.
    fn lock(&self) -> MutexGuard<'_, Rows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rows {
    fn of(&mut self, decoy: &SmolStr) -> &mut Row {
        let is_one_more = self.decoys.len() >= DECOYS_MAX && !self.decoys.contains_key(decoy);
        let name = if is_one_more {
            SmolStr::new_static(OTHERS)
        } else {
            decoy.clone()
        };
        self.decoys.entry(name).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_action_of_a_decoy_is_counted_by_itself() {
        let tally = Tally::default();
        tally.lock().of(&"ssh".into()).hits[Action::Connect as usize] += 2;
        tally.lock().of(&"ssh".into()).hits[Action::Credential as usize] += 1;
        tally.lock().of(&"dns".into()).dropped += 9;
        tally.folded(4);
        let counted = tally.counted();
        assert_eq!(
            counted.hits,
            [
                ("ssh".into(), Action::Connect, 2),
                ("ssh".into(), Action::Credential, 1)
            ]
        );
        assert_eq!((counted.folded, counted.dropped), (4, vec![("dns".into(), 9)]));
    }

    #[test]
    fn decoys_without_end_share_one_row() {
        let tally = Tally::default();
        for decoy in 0..2 * DECOYS_MAX {
            tally.lock().of(&format!("d{decoy}").into()).hits[0] += 1;
        }
        let hits = tally.counted().hits;
        assert_eq!(hits.len(), DECOYS_MAX + 1);
        assert_eq!(
            hits.iter().map(|(_, _, count)| count).sum::<u64>(),
            2 * DECOYS_MAX as u64
        );
    }
}
