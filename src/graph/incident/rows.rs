//! What the journal keeps of the incidents: rows made and rows read.
//!
//! Invariant: rows and the entries from [`Meta::from`] on make memory again. What is given by [`Incidents::changes`] is
//! taken for kept.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::open::{Facts, Open};
use super::shelf::Shelf;
use super::{AGAIN_MAX, Closed, FollowSpec, Incidents, SAVE_ENTRIES, micros};
use crate::graph::window::StateRow;
use crate::journal::Offset;

#[derive(Debug, Serialize, Deserialize)]
struct Meta {
    v: u32,
    /// The cursor that it was committed with.
    next: Offset,
    /// What is read first.
    from: Offset,
}

impl Incidents {
    /// Goes on from the state rows; none at first. Out: also how many rows could not be read and are dropped.
    pub fn restore(node: &str, spec: &FollowSpec, rows: Vec<(String, Vec<u8>)>) -> (Self, usize) {
        let mut incidents = Self {
            node: node.to_owned(),
            quiet: micros(spec.close_after),
            told: Shelf::default(),
            untold: Shelf::default(),
            closed: Closed::default(),
            closing: Vec::new(),
            unreadable: Vec::new(),
            facts: Facts::default(),
            resume: 0,
            is_resumed: false,
            from: None,
            now: 0,
            settle: micros(spec.settle),
            begun: None,
            latest: 0,
        };
        for (key, row) in rows {
            if incidents.restore_row(&key, &row).is_none() {
                incidents.unreadable.push(key);
            }
        }
        let dropped = incidents.unreadable.len();
        (incidents, dropped)
    }

    fn restore_row(&mut self, key: &str, row: &[u8]) -> Option<()> {
        let name = key.strip_prefix(self.node.as_str())?;
        if name.is_empty() {
            let meta: Meta = serde_json::from_slice(row).ok().filter(|meta: &Meta| meta.v == 1)?;
            (self.resume, self.from) = (meta.next, Some(meta.from));
            return Some(());
        }
        let id = name.strip_prefix('/')?.parse().ok()?;
        if self.closed.restore_row(id, row) {
            return Some(());
        }
        let open = Open::decode(row, &mut self.facts)?;
        self.latest = self.latest.max(open.last);
        self.told.put(id, open, self.quiet);
        Some(())
    }

    /// The rows that changed since the last call; `next`: all entries before it have been seen.
    pub fn changes(&mut self, next: Offset) -> Vec<StateRow> {
        if !self.is_resumed {
            return Vec::new();
        }
        let mut rows: Vec<StateRow> = self.unreadable.drain(..).map(|key| (key, None)).collect();
        self.untold.forget_before(next.saturating_sub(AGAIN_MAX));
        let saved = match self.must_save(next) {
            true => self.told.save(|id| row_key(&self.node, id)),
            false => Vec::new(),
        };
        let unsaved = [&mut self.told, &mut self.untold].map(Shelf::unsaved_from);
        let from = unsaved.into_iter().flatten().fold(next, Offset::min);
        rows.extend(self.closed.settle(from, |id| row_key(&self.node, id)));
        for (id, key, row) in saved {
            self.closed.reopen(id);
            rows.push((key, Some(row)));
        }
        let meta = Meta { v: 1, next, from };
        rows.push((self.node.clone(), Some(json(&meta))));
        self.from = Some(from);
        rows
    }

    fn must_save(&mut self, next: Offset) -> bool {
        let first = self.told.unsaved_from();
        !self.is_patient() || first.is_some_and(|first| first.saturating_add(SAVE_ENTRIES) <= next)
    }
}

pub(super) fn row_key(node: &str, id: Uuid) -> String {
    format!("{node}/{id}")
}

pub(super) fn json<T: Serialize>(row: &T) -> Vec<u8> {
    serde_json::to_vec(row).expect("numbers are always JSON")
}
