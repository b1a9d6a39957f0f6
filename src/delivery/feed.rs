//! The feed: reads the journal once at its head and decodes each entry once, for all consumers.
//!
//! In: the journal's head. Out: [`Item`]s in a small ring, which consumers take from at their own pace; who falls out
//! of the ring reads for himself ([`super::reader`]).
//!
//! Invariants: 1. the ring holds every entry from its base to its tip, in order; 2. it never holds more than
//! [`RING_ITEMS`] items and about [`RING_BYTES`] of bodies, and when all consumers have passed an item only the last
//! [`RING_KEPT`] stay (passes name recent events); 3. the feed waits for nobody.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tracing::{error, warn};
use trapline_schemas::{Event, Field, Format};
use trapline_sink::Parcel;

use super::forms::{Asking, render_ahead};
use crate::delivery::store::Store;
use crate::fresh::Taker;
use crate::graph::wiring::Origin;
use crate::graph::{Body, Graph, Node, Pass, Reach, Reached};
use crate::journal::{Cause, Entry, JournalError, Offset};
use trapline_schemas::Timestamp;

/// Most items in the ring.
const RING_ITEMS: usize = 4096;
/// Most bytes of bodies in the ring.
const RING_BYTES: usize = 8 << 20;
/// Items that stay when everybody has them.
const RING_KEPT: usize = 64;
/// Who is no further behind the tip keeps up, and will ask for what comes next at once.
const NEAR_TIP: u64 = 2 * READ_ITEMS as u64;
/// Entries and bytes read at a time.
pub(super) const READ_ITEMS: usize = 256;
pub(super) const READ_BYTES: usize = 1 << 20;
/// Where so many came at once others are on their way: they are gathered for [`GATHER`], as each handful wakes every
/// consumer. A few wait for nobody.
const MANY: usize = 32;
const GATHER: Duration = Duration::from_millis(10);
/// Wait after the journal could not be read.
pub(super) const READ_AGAIN: Duration = Duration::from_secs(1);

/// One entry of the journal, decoded.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) offset: Offset,
    pub(super) appended_at: Timestamp,
    /// Offset of the event itself: the entry's own, but for passes; a pass of a pass names the event too.
    pub(super) original: Offset,
    /// What to deliver; for a pass the original under the pass's offset.
    pub(super) content: Content,
    /// The nodes it reaches, of those that were asked about.
    pub(super) reach: Reach,
    /// What those get that stand behind a node which changes events.
    versions: Vec<(Reach, Arc<Parcel>)>,
    bytes: usize,
}

impl Item {
    /// What a node that it reaches gets of the entry, live as in a replay; `None` if there is nothing to give.
    pub(super) fn for_node(&self, node: Node) -> Option<&Arc<Parcel>> {
        let recorded = self.recorded()?;
        let own = self.versions.iter().find(|(nodes, _)| nodes.contains(node));
        Some(own.map_or(recorded, |(_, own)| own))
    }

    /// Why there is nothing to give.
    pub(super) fn lost(&self) -> Option<Cause> {
        match self.content {
            Content::Parcel(_) => None,
            Content::Lost => Some(Cause::Trimmed),
            Content::Unreadable => Some(Cause::Unreadable),
        }
    }

    fn recorded(&self) -> Option<&Arc<Parcel>> {
        match &self.content {
            Content::Parcel(parcel) => Some(parcel),
            Content::Lost | Content::Unreadable => None,
        }
    }

    /// Each form of the event that somebody gets.
    pub(super) fn parcels(&self) -> impl Iterator<Item = &Arc<Parcel>> {
        self.recorded()
            .into_iter()
            .chain(self.versions.iter().map(|(_, own)| own))
    }
}

/// What an entry holds.
#[derive(Debug)]
pub(super) enum Content {
    /// Something to deliver.
    Parcel(Arc<Parcel>),
    /// A pass whose original has been trimmed.
    Lost,
    /// A body that this version cannot read.
    Unreadable,
}

/// The shared ring.
#[derive(Debug)]
pub(super) struct Feed {
    ring: Mutex<Ring>,
    /// The next offset that will come into the ring.
    tip: watch::Sender<Offset>,
}

#[derive(Debug)]
struct Ring {
    items: VecDeque<Arc<Item>>,
    bytes: usize,
    /// The offset that the ring begins at: nothing from here to the tip is missing.
    base: Offset,
    consumers: Vec<Consumer>,
}

/// Who takes from the ring.
#[derive(Debug)]
struct Consumer {
    /// The next offset that it will take; gone when it is.
    place: Weak<AtomicU64>,
    node: Node,
    form: Option<Format>,
}

impl Consumer {
    /// What it will ask for next, if it is a sink that keeps up.
    fn asking(&self, tip: Offset) -> Option<Asking> {
        let place = self.place.upgrade()?.load(Ordering::Relaxed);
        let form = self.form.filter(|_| place.saturating_add(NEAR_TIP) >= tip)?;
        Some((self.node, form))
    }
}

/// What the ring has for a consumer.
#[derive(Debug)]
pub(super) enum Taken {
    /// Entries from its place on, and where the next ones begin.
    Items(Vec<Arc<Item>>, Offset),
    /// The ring begins later, at this offset.
    Behind(Offset),
    /// Nothing new.
    UpToDate,
}

impl Feed {
    /// A feed whose first entry will be the one at `head`.
    pub(super) fn new(head: Offset) -> Self {
        Self {
            ring: Mutex::new(Ring {
                items: VecDeque::new(),
                bytes: 0,
                base: head,
                consumers: Vec::new(),
            }),
            tip: watch::Sender::new(head),
        }
    }

    /// Follows the journal until it is closed. Cancel: safe at any point.
    pub(super) async fn run(&self, decoder: &Decoder, fresh: &Taker) {
        let mut head = decoder.store.head();
        loop {
            let next = *self.tip.borrow();
            if *head.borrow_and_update() <= next {
                if head.changed().await.is_err() {
                    return;
                }
                continue;
            }
            let near = Near { feed: self, fresh };
            match decoder.read(next, Some(near), Reach::ALL).await {
                Ok(items) if items.is_empty() => tokio::time::sleep(READ_AGAIN).await,
                Ok(items) => {
                    let many = items.len() >= MANY;
                    render_ahead(&items, &self.asking(next));
                    self.push(items);
                    if many && *head.borrow() == *self.tip.borrow() {
                        tokio::time::sleep(GATHER).await;
                    } else {
                        // Nothing here waits while the journal is ahead, and others live on this thread.
                        tokio::task::yield_now().await;
                    }
                }
                Err(JournalError::Closed) => return,
                Err(error) => {
                    error!(journal.offset = next, %error, "the journal cannot be read, trying again");
                    tokio::time::sleep(READ_AGAIN).await;
                }
            }
        }
    }

    fn push(&self, items: Vec<Arc<Item>>) {
        let Some(tip) = items.last().map(|item| item.offset + 1) else {
            return;
        };
        let mut ring = self.lock();
        for item in items {
            ring.bytes += item.bytes;
            ring.items.push_back(item);
        }
        ring.evict(tip);
        drop(ring);
        self.tip.send_replace(tip);
    }

    /// Registers the consumer behind `node`; its place lets the ring forget what everybody has. A sink names its form.
    pub(super) fn register(&self, place: &Arc<AtomicU64>, node: Node, form: Option<Format>) {
        let place = Arc::downgrade(place);
        self.lock().consumers.push(Consumer { place, node, form });
    }

    /// The sinks that keep up, where the next entry will be the one at `tip`.
    fn asking(&self, tip: Offset) -> Vec<Asking> {
        let ring = self.lock();
        ring.consumers.iter().filter_map(|sink| sink.asking(tip)).collect()
    }

    /// Up to `count` items from `from` on.
    pub(super) fn take(&self, from: Offset, count: usize) -> Taken {
        let tip = *self.tip.borrow();
        let ring = self.lock();
        if from < ring.base {
            return Taken::Behind(ring.base);
        }
        let start = ring.items.partition_point(|item| item.offset < from);
        let items: Vec<_> = ring.items.range(start..).take(count).cloned().collect();
        match items.last() {
            Some(last) => {
                let next = last.offset + 1;
                Taken::Items(items, next)
            }
            None if from < tip => Taken::Items(Vec::new(), tip),
            None => Taken::UpToDate,
        }
    }

    /// The event at `offset`, if the ring still has it.
    fn event(&self, offset: Offset) -> Option<Arc<Event>> {
        find_event(self.lock().items.make_contiguous(), offset)
    }

    /// Changes whenever something came.
    pub(super) fn tip(&self) -> watch::Receiver<Offset> {
        self.tip.subscribe()
    }

    /// A panic while the lock is held would be a bug of this file; the ring itself is then still whole.
    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn evict(&mut self, tip: Offset) {
        self.consumers.retain(|consumer| consumer.place.strong_count() > 0);
        let base = self.base;
        let places = self.consumers.iter().filter_map(|consumer| consumer.place.upgrade());
        let near = places
            .map(|place| place.load(Ordering::Relaxed))
            .filter(|place| *place >= base);
        let needed = near.min().unwrap_or(tip);
        while let Some(front) = self.items.front() {
            let full = self.items.len() > RING_ITEMS || self.bytes > RING_BYTES;
            let spent = self.items.len() > RING_KEPT && front.offset < needed;
            if !full && !spent {
                break;
            }
            self.bytes -= front.bytes;
            self.base = front.offset + 1;
            self.items.pop_front();
        }
    }
}

fn find_event(items: &[Arc<Item>], offset: Offset) -> Option<Arc<Event>> {
    let at = items.binary_search_by_key(&offset, |item| item.offset).ok()?;
    items.get(at)?.recorded().map(|parcel| parcel.event.clone())
}

/// Where an event may be found without reading the journal for it.
#[derive(Clone, Copy)]
pub(super) struct Near<'a> {
    feed: &'a Feed,
    fresh: &'a Taker,
}

/// Reads and decodes entries; used by the feed and by consumers that lag.
#[derive(Clone)]
pub(super) struct Decoder {
    pub(super) store: Arc<dyn Store>,
    pub(super) graph: Arc<Graph>,
}

impl Decoder {
    /// Reads a handful of entries at `from` or later and decodes those that are not at hand. Originals of passes come from the same handful,
    /// from the feed's ring, or from the journal.
    ///
    /// Errors: the journal's. Cancel: safe.
    pub(super) async fn read(
        &self,
        from: Offset,
        near: Option<Near<'_>>,
        wanted: Reach,
    ) -> Result<Vec<Arc<Item>>, JournalError> {
        let entries = self.store.read(from, READ_ITEMS, READ_BYTES).await?;
        let mut items = Vec::with_capacity(entries.len());
        for entry in entries {
            let fresh = near.and_then(|near| near.fresh.take(&entry.body)).map(Body::Event);
            let item = match fresh.map_or_else(|| Body::decode(&entry.body), Ok) {
                Ok(Body::Event(event)) => self.event_item(&entry, event, wanted),
                Ok(Body::Pass(pass)) => {
                    let original = self.original(pass.of, &items, near).await?;
                    self.pass_item(&entry, &pass, original, wanted)
                }
                Err(error) => {
                    warn!(journal.offset = entry.offset, %error, "a journal entry cannot be read, it is passed over");
                    item(&entry, Content::Unreadable, Reach::ALL)
                }
            };
            items.push(Arc::new(item));
        }
        Ok(items)
    }

    fn event_item(&self, entry: &Entry, event: Event, wanted: Reach) -> Item {
        let event = Arc::new(numbered(event, entry.offset));
        let reached = self.graph.follow(Origin::Recorded, &event, wanted);
        delivered(entry, event, reached)
    }

    fn pass_item(&self, entry: &Entry, pass: &Pass, original: Option<Arc<Event>>, wanted: Reach) -> Item {
        let Some(event) = original else {
            return item(entry, Content::Lost, self.graph.downstream(&pass.node));
        };
        let reached = self.graph.follow(Origin::Passed(&pass.node), &event, wanted);
        Item {
            original: pass.of,
            ..delivered(entry, event, reached)
        }
    }

    async fn original(
        &self,
        offset: Offset,
        items: &[Arc<Item>],
        near: Option<Near<'_>>,
    ) -> Result<Option<Arc<Event>>, JournalError> {
        let known = find_event(items, offset).or_else(|| near?.feed.event(offset));
        if known.is_some() {
            return Ok(known);
        }
        let entries = self.store.read(offset, 1, READ_BYTES).await?;
        let entry = entries.into_iter().find(|entry| entry.offset == offset);
        Ok(entry.and_then(|entry| match Body::decode(&entry.body) {
            Ok(Body::Event(event)) => Some(Arc::new(numbered(event, offset))),
            Ok(Body::Pass(_)) | Err(_) => None,
        }))
    }
}

/// An entry that is there to be delivered, to each node in its form.
fn delivered(entry: &Entry, event: Arc<Event>, reached: Reached) -> Item {
    let parcel = |event| Arc::new(Parcel::new(entry.offset, event));
    let versions = reached.versions.into_iter();
    Item {
        versions: versions.map(|own| (own.nodes, parcel(own.event))).collect(),
        ..item(entry, Content::Parcel(parcel(event)), reached.nodes)
    }
}

fn item(entry: &Entry, content: Content, reach: Reach) -> Item {
    Item {
        offset: entry.offset,
        appended_at: entry.appended_at,
        original: entry.offset,
        content,
        reach,
        versions: Vec::new(),
        bytes: entry.body.len(),
    }
}

/// The journal's own number orders events for ever; it is known only once the entry has an offset.
fn numbered(mut event: Event, offset: Offset) -> Event {
    event.set(Field::JournalSequence, i64::try_from(offset).unwrap_or(i64::MAX));
    event
}
