//! A consumer's eyes: entries from its place on, from the feed's ring while it keeps up, from the journal when it lags.
//!
//! Invariants: 1. every entry from the first place on is seen exactly once and in order; 2. what retention has taken is
//! counted, never waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tracing::error;
use trapline_schemas::Format;

use super::feed::{Decoder, Feed, Item, READ_AGAIN, Taken};
use crate::graph::{Graph, Node, Reach};
use crate::journal::{Cause, JournalError, Offset};

/// Entries that came, and where the consumer stands after them.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// Entries that reach the consumer's node, and those that cannot be told.
    pub(super) items: Vec<Arc<Item>>,
    /// The next offset to read.
    pub(super) next: Offset,
    /// Entries that were trimmed or lost before the consumer had them: first and last offsets.
    pub(super) missing: Vec<(Offset, Offset)>,
}

impl Chunk {
    /// What the consumer will never have of it: first and last offsets in rising order, and why.
    pub(super) fn losses(&self) -> Vec<((Offset, Offset), Cause)> {
        let holes = self.missing.iter().map(|hole| (*hole, Cause::Gone));
        let lost = |item: &Arc<Item>| Some(((item.offset, item.offset), item.lost()?));
        let mut lost: Vec<_> = holes.chain(self.items.iter().filter_map(lost)).collect();
        lost.sort_by_key(|((first, _), _)| *first);
        lost.dedup_by(|((first, last), cause), ((_, before), of_before)| {
            let follows = *before + 1 == *first && cause == of_before;
            if follows {
                *before = *last;
            }
            follows
        });
        lost
    }
}

type Reading = BoxFuture<'static, Result<Vec<Arc<Item>>, JournalError>>;

/// One consumer's place in the journal.
pub(super) struct Reader {
    feed: Arc<Feed>,
    decoder: Decoder,
    tip: watch::Receiver<Offset>,
    node: Node,
    wanted: Reach,
    next: Offset,
    place: Arc<AtomicU64>,
    /// A read of its own that was begun; kept, so that a cancelled wait loses nothing.
    reading: Option<Reading>,
}

impl Reader {
    /// A reader for `node` that begins at `next`; for a sink, with the form that it will ask for.
    pub(super) fn new(feed: &Arc<Feed>, decoder: &Decoder, node: Node, form: Option<Format>, next: Offset) -> Self {
        let place = Arc::new(AtomicU64::new(next));
        feed.register(&place, node, form);
        Self {
            feed: Arc::clone(feed),
            decoder: decoder.clone(),
            tip: feed.tip(),
            node,
            wanted: decoder.graph.ancestry(node),
            next,
            place,
            reading: None,
        }
    }

    /// Whose eyes these are.
    pub(super) fn node(&self) -> Node {
        self.node
    }

    /// By what it is decided what comes here.
    pub(super) fn graph(&self) -> &Arc<Graph> {
        &self.decoder.graph
    }

    /// The next offset to read.
    pub(super) fn next_offset(&self) -> Offset {
        self.next
    }

    /// Whether nothing is left that the feed has seen.
    pub(super) fn is_up_to_date(&self) -> bool {
        self.next >= *self.decoder.store.head().borrow()
    }

    /// Waits for the next entries, at most about `count`; at least one entry was passed, perhaps none of them for us.
    ///
    /// Errors: the journal is closed. Cancel: safe.
    pub(super) async fn read(&mut self, count: usize) -> Result<Chunk, JournalError> {
        loop {
            self.tip.borrow_and_update();
            match self.feed.take(self.next, count.max(1)) {
                Taken::Items(items, next) => {
                    self.reading = None;
                    return Ok(self.advance(items, next));
                }
                Taken::Behind(base) => {
                    if let Some(chunk) = self.read_own(base).await? {
                        return Ok(chunk);
                    }
                }
                Taken::UpToDate => self.tip.changed().await.map_err(|_| JournalError::Closed)?,
            }
        }
    }

    /// Passes over what retention has taken while the consumer did not read. `None` if that is nothing.
    ///
    /// Errors: the journal is closed. Cancel: safe.
    pub(super) async fn pass_over(&mut self) -> Result<Option<Chunk>, JournalError> {
        let Taken::Behind(base) = self.feed.take(self.next, 0) else {
            return Ok(None);
        };
        let gone = match self.decoder.store.oldest().await {
            Ok(oldest) => oldest.min(base),
            Err(JournalError::Closed) => return Err(JournalError::Closed),
            // Whoever reads meets it, and says so.
            Err(_) => return Ok(None),
        };
        if gone <= self.next {
            return Ok(None);
        }
        // What was being read begins too early now.
        self.reading = None;
        Ok(Some(self.advance(Vec::new(), gone)))
    }

    /// A handful of entries read by ourselves; `base` is where the ring begins.
    async fn read_own(&mut self, base: Offset) -> Result<Option<Chunk>, JournalError> {
        let (decoder, next, wanted) = (&self.decoder, self.next, self.wanted);
        let reading = self.reading.get_or_insert_with(|| {
            let decoder = decoder.clone();
            Box::pin(async move { decoder.read(next, None, wanted).await })
        });
        let read = reading.await;
        self.reading = None;
        match self.settle(read, base).await {
            Ok(chunk) => Ok(chunk),
            Err(JournalError::Closed) => Err(JournalError::Closed),
            Err(error) => {
                error!(journal.offset = self.next, %error, "the journal cannot be read, trying again");
                tokio::time::sleep(READ_AGAIN).await;
                Ok(None)
            }
        }
    }

    /// What a read of our own means. Nothing at all before the ring: retention has taken it, or it is not there yet.
    async fn settle(
        &mut self,
        read: Result<Vec<Arc<Item>>, JournalError>,
        base: Offset,
    ) -> Result<Option<Chunk>, JournalError> {
        let items = read?;
        if let Some(last) = items.last() {
            let next = last.offset + 1;
            return Ok(Some(self.advance(items, next)));
        }
        let oldest = self.decoder.store.oldest().await?.min(base);
        if oldest > self.next {
            return Ok(Some(self.advance(items, oldest)));
        }
        tokio::time::sleep(READ_AGAIN).await;
        Ok(None)
    }

    fn advance(&mut self, mut items: Vec<Arc<Item>>, next: Offset) -> Chunk {
        let missing = self.lost(&items, next);
        let node = self.node;
        items.retain(|item| item.reach.contains(node));
        self.next = next;
        self.place.store(next, Ordering::Relaxed);
        Chunk { items, next, missing }
    }

    /// What stood between here and `next` and no item has.
    fn lost(&self, items: &[Arc<Item>], next: Offset) -> Vec<(Offset, Offset)> {
        let holes = holes(items, self.next, next);
        if holes.is_empty() {
            return holes;
        }
        let skipped = self.decoder.store.skipped();
        holes.into_iter().flat_map(|hole| skipped.given(hole)).collect()
    }
}

/// The offsets from `from` to before `to` that no item has.
fn holes(items: &[Arc<Item>], from: Offset, to: Offset) -> Vec<(Offset, Offset)> {
    if items.len() as u64 == to.saturating_sub(from) {
        return Vec::new();
    }
    let mut expected = from;
    let mut holes = Vec::new();
    for offset in items.iter().map(|item| item.offset).chain([to]) {
        if offset > expected {
            holes.push((expected, offset - 1));
        }
        expected = offset + 1;
    }
    holes
}
