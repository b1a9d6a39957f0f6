//! Dead letters on their way to their sink once more. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::time::Instant;
use tracing::warn;
use trapline_schemas::codec;
use trapline_sink::Parcel;

use super::aside::Again;
use crate::delivery::divide::Batch;
use crate::delivery::queue::Queue;
use crate::journal::{DeadLetter, KeptLetter, Offset};

/// Most letters taken at once: each is kept whole in memory.
const TAKEN_MAX: usize = 256;

/// The letters of one sink. Each is in one place: waiting, open, or settled and about to be kept.
pub(super) struct Letters {
    pub(super) queue: Queue,
    /// Marked, and not taken yet.
    waiting: BTreeSet<Offset>,
    /// Taken, and the journal does not know yet what became of them.
    open: BTreeSet<Offset>,
    /// Delivered, not kept yet.
    pub(super) delivered: Vec<Offset>,
    /// Refused anew, not kept yet.
    pub(super) refused: Vec<DeadLetter>,
    /// Marked, and gone or unreadable.
    pub(super) void: Vec<Offset>,
}

impl Letters {
    pub(super) fn new(queue: Queue) -> Self {
        Self {
            queue,
            waiting: BTreeSet::new(),
            open: BTreeSet::new(),
            delivered: Vec::new(),
            refused: Vec::new(),
            void: Vec::new(),
        }
    }

    /// Takes over which are marked.
    pub(super) fn mark(&mut self, marked: impl Iterator<Item = Offset>) {
        self.waiting = marked.filter(|offset| !self.open.contains(offset)).collect();
    }

    /// Those to ask the journal for now.
    pub(super) fn wanted(&self) -> Vec<Offset> {
        let room = TAKEN_MAX.min(self.queue.room()).saturating_sub(self.open.len());
        self.waiting.iter().copied().take(room).collect()
    }

    /// Takes what the journal gave of those `wanted`; says whether marks are to be removed.
    pub(super) fn take(&mut self, wanted: &[Offset], found: Vec<KeptLetter>, now: Instant) -> bool {
        // Behind the last there may be more that did not fit into the answer.
        let last = found.last().map_or(Offset::MAX, |kept| kept.letter.offset);
        let mut gone: BTreeSet<Offset> = wanted.iter().copied().filter(|offset| *offset <= last).collect();
        for DeadLetter { offset, body, .. } in found.into_iter().map(|kept| kept.letter) {
            self.waiting.remove(&offset);
            match codec::decode(&body) {
                Ok(event) => {
                    gone.remove(&offset);
                    self.open.insert(offset);
                    self.queue.push(Arc::new(Parcel::new(offset, Arc::new(event))), now);
                }
                Err(error) => {
                    warn!(journal.offset = offset, %error, "a dead letter cannot be read, it stays where it is");
                }
            }
        }
        self.waiting.retain(|offset| !gone.contains(offset));
        self.void.extend(&gone);
        !gone.is_empty()
    }

    pub(super) fn cut(&mut self, under_way: usize, now: Instant) -> Option<Batch> {
        self.queue.cut(under_way, now)
    }

    /// Takes what became of a batch.
    pub(super) fn settle(&mut self, delivered: Vec<Offset>, refused: Vec<DeadLetter>, again: Again) {
        self.delivered.extend(delivered);
        self.refused.extend(refused);
        self.queue.push_again(again);
    }

    /// What has settled is kept, but for what the sink may come back to.
    pub(super) fn kept(&mut self, owed: &[Offset]) {
        let refused = self.refused.drain(..).map(|letter| letter.offset);
        let done: Vec<_> = refused.chain(self.delivered.iter().copied()).collect();
        self.delivered.retain(|offset| owed.contains(offset));
        self.void.clear();
        for offset in done.iter().filter(|offset| !self.delivered.contains(offset)) {
            self.open.remove(offset);
        }
    }
}
