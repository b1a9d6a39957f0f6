//! Incidents that were closed: known as such for as long as a restart may read entries of them again.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::open::Open;
use super::rows::json;
use crate::graph::window::StateRow;
use crate::journal::Offset;

/// Incidents that were closed.
#[derive(Debug, Default)]
pub(super) struct Closed {
    /// The offset after the last entry of each.
    until: HashMap<Uuid, Offset>,
    by_offset: BTreeSet<(Offset, Uuid)>,
    /// Since the last commit: incident, that offset, and whether the journal has a row of it.
    ended: Vec<(Uuid, Offset, bool)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Row {
    v: u32,
    closed: Offset,
}

impl Closed {
    /// Takes in a row; `false` if it is none of such an incident.
    pub(super) fn restore_row(&mut self, id: Uuid, row: &[u8]) -> bool {
        let Ok(Row { v: 1, closed }) = serde_json::from_slice(row) else {
            return false;
        };
        self.note(id, closed);
        true
    }

    /// Whether an entry was counted before the incident was closed.
    pub(super) fn covers(&self, id: Uuid, offset: Offset) -> bool {
        self.until.get(&id).is_some_and(|until| offset < *until)
    }

    /// Takes in an incident that ends.
    pub(super) fn add(&mut self, id: Uuid, open: &Open) {
        self.ended.push((id, open.counted, open.has_row));
    }

    /// The incident is open again, with a row that says what it has counted.
    pub(super) fn reopen(&mut self, id: Uuid) {
        self.until.remove(&id);
    }

    /// The rows that change where a restart reads from `from` on: what it may read again says so, all else goes.
    pub(super) fn settle(&mut self, from: Offset, key: impl Fn(Uuid) -> String) -> Vec<StateRow> {
        let mut rows = Vec::new();
        for (id, until, has_row) in std::mem::take(&mut self.ended) {
            if until > from {
                self.note(id, until);
                rows.push((key(id), Some(json(&Row { v: 1, closed: until }))));
            } else if has_row {
                rows.push((key(id), None));
            }
        }
        while let Some((until, id)) = self.by_offset.first().copied()
            && until <= from
        {
            self.by_offset.pop_first();
            // Not one that was closed again since, or is open again.
            if self.until.get(&id) == Some(&until) {
                self.until.remove(&id);
                rows.push((key(id), None));
            }
        }
        rows
    }

    fn note(&mut self, id: Uuid, until: Offset) {
        self.until.insert(id, until);
        self.by_offset.insert((until, id));
    }
}
