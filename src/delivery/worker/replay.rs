//! A replay: recorded entries on their way to one sink once more. Pure but for its reader.

use std::sync::Arc;

use tokio::time::Instant;

use super::Chunk;
use super::aside::Again;
use crate::delivery::divide::Batch;
use crate::delivery::errands::{Order, Progress};
use crate::delivery::ledger::Ledger;
use crate::delivery::queue::Queue;
use crate::delivery::reader::Reader;
use crate::journal::{Cause, DeadLetter, Loss, Offset};

/// One replay at work. Its place is that of its own ledger, as a sink's is: the lowest unfinished offset.
pub(super) struct Replay {
    progress: Progress,
    pub(super) reader: Reader,
    pub(super) queue: Queue,
    ledger: Ledger,
    /// Batches that are not answered.
    under_way: usize,
    cancelled: bool,
    /// Delivered, not kept yet.
    pub(super) delivered: Vec<Offset>,
    /// Refused, not kept yet.
    pub(super) refused: Vec<DeadLetter>,
    /// Gone or unreadable, not kept yet.
    pub(super) losses: Vec<Loss>,
}

impl Replay {
    /// Goes on from where `progress` is; `reader` stands there.
    pub(super) fn new(progress: Progress, reader: Reader, queue: Queue) -> Self {
        Self {
            ledger: Ledger::new(progress.next),
            progress,
            reader,
            queue,
            under_way: 0,
            cancelled: false,
            delivered: Vec::new(),
            refused: Vec::new(),
            losses: Vec::new(),
        }
    }

    /// Whether it is the one that was asked for.
    pub(super) fn is_of(&self, order: &Order) -> bool {
        self.progress.order == *order
    }

    /// Sends nothing more.
    pub(super) fn cancel(&mut self) {
        self.cancelled = true;
    }

    /// Whether somebody cancelled it.
    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled
    }

    /// How many more it takes.
    pub(super) fn room(&self) -> usize {
        if self.cancelled || self.reader.next_offset() >= self.progress.order.end {
            return 0;
        }
        self.queue.room()
    }

    /// Takes what was read, up to its end, in the form that the sink gets live.
    pub(super) fn take(&mut self, chunk: &Chunk, consumer: &str, now: Instant) {
        let (end, node) = (self.progress.order.end, self.reader.node());
        let graph = Arc::clone(self.reader.graph());
        for item in chunk.items.iter().filter(|item| item.offset < end) {
            if let Some(parcel) = item.for_node(node).filter(|parcel| !graph.is_once(node, &parcel.event)) {
                self.ledger.take(item.offset, item.appended_at);
                self.queue.push(Arc::clone(parcel), now);
            }
        }
        self.ledger.read_to(chunk.next.min(end));
        self.note_losses(chunk.losses(), consumer);
    }

    fn note_losses(&mut self, lost: Vec<((Offset, Offset), Cause)>, consumer: &str) {
        let within = lost
            .into_iter()
            .filter(|((first, _), _)| *first < self.progress.order.end);
        for ((first, last), cause) in within {
            let last = last.min(self.progress.order.end - 1);
            self.progress.missing += last + 1 - first;
            self.losses.push(Loss {
                consumer: consumer.to_owned(),
                first,
                last,
                cause,
            });
        }
    }

    pub(super) fn cut(&mut self, under_way: usize, now: Instant) -> Option<Batch> {
        if self.cancelled {
            return None;
        }
        self.queue.hold(self.ledger.span());
        let batch = self.queue.cut(under_way, now)?;
        self.under_way += 1;
        Some(batch)
    }

    /// Takes what became of a batch.
    pub(super) fn settle(&mut self, delivered: Vec<Offset>, refused: Vec<DeadLetter>, again: Again) {
        self.under_way = self.under_way.saturating_sub(1);
        self.progress.sent += delivered.len() as u64;
        self.progress.refused += refused.len() as u64;
        let done = delivered
            .iter()
            .copied()
            .chain(refused.iter().map(|letter| letter.offset));
        done.for_each(|offset| self.ledger.finish(offset));
        self.delivered.extend(delivered);
        self.refused.extend(refused);
        self.queue.push_again(again);
    }

    /// What has settled is kept.
    pub(super) fn kept(&mut self) {
        self.delivered.clear();
        self.refused.clear();
        self.losses.clear();
    }

    /// How far it is; `owed` is the first of it that the sink may come back to.
    pub(super) fn progress(&self, owed: Option<Offset>) -> Progress {
        let done = self.ledger.cursor();
        Progress {
            next: owed.map_or(done, |first| done.min(first)),
            ..self.progress.clone()
        }
    }

    /// Whether nothing is left to do.
    pub(super) fn has_ended(&self, owed: Option<Offset>) -> bool {
        let is_through = self.progress(owed).next >= self.progress.order.end;
        is_through || self.cancelled && self.under_way == 0
    }
}
