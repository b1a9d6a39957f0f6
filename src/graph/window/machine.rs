//! The machine of all windowed nodes: which window an event counts in, when windows close, what the journal must keep.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use trapline_schemas::{Event, Field, Timestamp, ids};

use super::Verdict;
use super::bucket::Bucket;
use super::key::OTHERS;
use super::notices;
use super::policy::{Policy, WindowSpec};
use super::rows::{self, Ending, Meta, parse_row, row_key};
use super::span::Span;

/// How long after its end, in event time, a window still takes events.
pub const LATENESS: Duration = Duration::from_secs(1);
/// Most keys in the open windows of one node, about 0.5 KiB each.
pub const KEYS_MAX: usize = 16_384;
/// Most items in the lists of one node's open digests, about 64 bytes each.
pub const ITEMS_MAX: usize = 131_072;

/// A state row to save; `None` removes it.
pub type StateRow = (String, Option<Vec<u8>>);

/// The windows of one node.
#[derive(Debug)]
pub struct Windows {
    node: String,
    spec: WindowSpec,
    window: i64,
    epoch: u32,
    /// Latest time seen, of events and clock, microseconds.
    mark: i64,
    mark_saved: bool,
    open: BTreeMap<i64, Span>,
    keys: usize,
    /// Items that the lists of all open digests still take.
    room: usize,
    /// Closed, but not told of yet.
    closing: VecDeque<Closed>,
    removed: Vec<String>,
}

#[derive(Debug)]
struct Closed {
    event: Option<Event>,
    /// The rows that it is told of.
    rows: Vec<ClosedRow>,
}

#[derive(Debug)]
struct ClosedRow {
    name: String,
    /// Its value, if the journal does not have it yet.
    unsaved: Option<Vec<u8>>,
}

impl Windows {
    /// The prefix of all rows of a node.
    pub fn prefix(node: &str) -> String {
        rows::prefix(node)
    }

    /// Goes on from the node's state rows; none for a new node. Rows that cannot be read are dropped and counted.
    ///
    /// Out: the node, and how many rows were dropped.
    pub fn restore(node: &str, spec: &WindowSpec, rows: Vec<(String, Vec<u8>)>) -> (Self, usize) {
        let prefix = Self::prefix(node);
        let meta = rows.iter().find(|(key, _)| *key == prefix);
        let meta: Option<Meta> = meta.and_then(|(_, row)| serde_json::from_slice(row).ok());
        let mut windows = Self::new(node, spec);
        let same = meta.as_ref().is_none_or(|meta| windows.is_same(meta));
        if let Some(meta) = &meta {
            windows.epoch = meta.epoch;
            windows.mark = meta.mark;
            windows.mark_saved = true;
        }
        let rows = rows.iter().filter(|(key, _)| *key != prefix);
        let (mut dropped, mut stale) = (0, BTreeMap::new());
        for (key, row) in rows {
            dropped += usize::from(!windows.restore_row(key, row, &mut stale));
        }
        for (ending, buckets) in stale {
            windows.shut(ending, buckets);
        }
        if !same {
            windows.begin_epoch();
        }
        (windows, dropped)
    }

    fn new(node: &str, spec: &WindowSpec) -> Self {
        Self {
            node: node.to_owned(),
            spec: spec.clone(),
            window: micros(spec.window).max(1),
            epoch: 0,
            mark: 0,
            mark_saved: false,
            open: BTreeMap::new(),
            keys: 0,
            room: ITEMS_MAX,
            closing: VecDeque::new(),
            removed: Vec::new(),
        }
    }

    fn is_same(&self, meta: &Meta) -> bool {
        meta.window == self.window && meta.by == self.by_names() && meta.tells == self.tells()
    }

    fn tells(&self) -> &'static str {
        self.spec.policy.action().name()
    }

    fn by_names(&self) -> Vec<String> {
        let names = self.spec.by.iter().map(|field| field.name().to_owned());
        names.collect()
    }

    /// Takes in a row; one of an epoch that is over goes to `stale`. Out: whether it could be read.
    fn restore_row(&mut self, row: &str, value: &[u8], stale: &mut BTreeMap<Ending, Vec<(String, Bucket)>>) -> bool {
        let Some((epoch, start, key)) = parse_row(&Self::prefix(&self.node), row) else {
            return false;
        };
        let Some(bucket) = Bucket::decode(value) else {
            self.removed.push(row.to_owned());
            return false;
        };
        self.keys += 1;
        if epoch == self.epoch {
            self.room = self.room.saturating_sub(bucket.items());
            self.open.entry(start).or_default().restore(key, bucket);
        } else {
            let ending = Ending {
                epoch,
                start,
                is_partial: true,
            };
            stale.entry(ending).or_default().push((key.to_owned(), bucket));
        }
        true
    }

    /// Counts an event that reached the node, and says whether it goes on.
    pub fn see(&mut self, event: &Event) -> Verdict {
        let Some(key) = self.spec.key_of(event) else {
            return Verdict::Hold;
        };
        self.raise(event.at.micros());
        let start = self.window_of(event.at.micros());
        let is_full = self.keys >= KEYS_MAX;
        let span = self.open.entry(start).or_default();
        span.see(
            (&self.node, &self.spec),
            (key, event),
            (&mut self.keys, is_full),
            &mut self.room,
        )
    }

    /// Takes note of the clock; only when every entry before the journal's head has been seen, so that no entry is
    /// made late by it.
    pub fn tick(&mut self, now: Timestamp) {
        let now = now.micros();
        if self.mark - now > self.window + 2 * micros(LATENESS) {
            self.begin_epoch();
            self.mark = now;
        }
        self.raise(now);
    }

    /// When the next window closes; `None` while nothing is open. In the past if something waits to be told.
    pub fn due(&self) -> Option<Timestamp> {
        if !self.closing.is_empty() {
            return Some(Timestamp::from_micros(0));
        }
        let (start, _) = self.open.first_key_value()?;
        Some(Timestamp::from_micros(start + self.window + micros(LATENESS)))
    }

    /// Whether something that closed waits to be told.
    pub fn is_closing(&self) -> bool {
        !self.closing.is_empty()
    }

    /// Whether state without anything to tell may wait for more. A window for people sees all that they could be told,
    /// and seldom has anything to say.
    pub const fn is_patient(&self) -> bool {
        matches!(self.spec.policy, Policy::Notices(_))
    }

    /// Closes what is due and gives at most `max` events; the others come with the next call.
    pub fn close(&mut self, max: usize) -> Vec<Event> {
        while let Some(window) = self.open.first_entry()
            && *window.key() + self.window + micros(LATENESS) <= self.mark
        {
            let (start, span) = window.remove_entry();
            self.end(start, span, false);
        }
        let mut events = Vec::new();
        while events.len() < max {
            let Some(closed) = self.closing.pop_front() else {
                break;
            };
            self.keys -= closed.rows.len();
            self.removed.extend(closed.rows.into_iter().map(|row| row.name));
            events.extend(closed.event);
        }
        events
    }

    /// The rows that changed since the last call.
    pub fn changes(&mut self) -> Vec<StateRow> {
        let mut rows: Vec<StateRow> = self.removed.drain(..).map(|row| (row, None)).collect();
        // What is closed and waits to be told must outlive a kill as well.
        let closing = self.closing.iter_mut().flat_map(|closed| &mut closed.rows);
        for closed in closing.filter(|closed| closed.unsaved.is_some()) {
            rows.push((closed.name.clone(), closed.unsaved.take()));
        }
        for (start, span) in &mut self.open {
            for (key, bucket) in span.buckets.iter_mut().filter(|(_, bucket)| !bucket.saved) {
                bucket.saved = true;
                let row = row_key(&self.node, self.epoch, *start, key);
                rows.push((row, Some(bucket.encode())));
            }
        }
        if !rows.is_empty() || !self.mark_saved {
            self.mark_saved = true;
            rows.push((Self::prefix(&self.node), Some(self.meta())));
        }
        rows
    }

    fn meta(&self) -> Vec<u8> {
        let meta = Meta {
            v: 1,
            epoch: self.epoch,
            mark: self.mark,
            window: self.window,
            by: self.by_names(),
            tells: self.tells().to_owned(),
        };
        serde_json::to_vec(&meta).expect("numbers and texts are always JSON")
    }

    /// Tells of everything open as it stands, and gives what follows other ids.
    fn begin_epoch(&mut self) {
        for (start, span) in std::mem::take(&mut self.open) {
            self.end(start, span, true);
        }
        self.epoch += 1;
        self.mark_saved = false;
    }

    /// Ends an open window.
    fn end(&mut self, start: i64, span: Span, is_partial: bool) {
        let mut buckets: Vec<_> = span.buckets.into_iter().collect();
        buckets.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let items: usize = buckets.iter().map(|(_, bucket)| bucket.items()).sum();
        self.room = (self.room + items).min(ITEMS_MAX);
        let ending = Ending {
            epoch: self.epoch,
            start,
            is_partial,
        };
        self.shut(ending, buckets);
    }

    /// Makes what is to be told of a window. What is told together comes first: should the rest be told by a later run,
    /// it is no more than is told one by one.
    fn shut(&mut self, ending: Ending, mut buckets: Vec<(String, Bucket)>) {
        if let Policy::Notices(rules) = self.spec.policy {
            let others = notices::take_others(&mut buckets, &rules);
            let rows = others
                .iter()
                .map(|(key, bucket)| self.row(ending, key, bucket))
                .collect();
            if let Some(together) = notices::together(others.into_iter().map(|(_, bucket)| bucket)) {
                let event = Some(self.told(ending, OTHERS, &together));
                self.closing.push_back(Closed { event, rows });
            }
        }
        for (key, bucket) in buckets {
            let rows = vec![self.row(ending, &key, &bucket)];
            let event = (bucket.held > 0).then(|| self.told(ending, &key, &bucket));
            self.closing.push_back(Closed { event, rows });
        }
    }

    fn row(&self, ending: Ending, key: &str, bucket: &Bucket) -> ClosedRow {
        ClosedRow {
            name: ending.row(&self.node, key),
            unsaved: (!bucket.saved).then(|| bucket.encode()),
        }
    }

    /// The derived event of a closed window and key.
    fn told(&self, ending: Ending, key: &str, bucket: &Bucket) -> Event {
        let node = match ending.epoch {
            0 => self.node.clone(),
            epoch => format!("{}#{epoch}", self.node),
        };
        let end = match ending.is_partial {
            true => bucket.last,
            false => (ending.start + self.window).max(bucket.last),
        };
        let mut event = bucket.draft.clone();
        event.id = ids::derived(&node, key, Timestamp::from_micros(ending.start));
        event.at = Timestamp::from_micros(end);
        event.set(Field::EventCreated, event.at);
        event.set(Field::EventStart, Timestamp::from_micros(bucket.first));
        event.set(Field::EventEnd, Timestamp::from_micros(bucket.last));
        event.set(Field::FindingHits, i64::try_from(bucket.held).unwrap_or(i64::MAX));
        self.spec.policy.tell(bucket, &mut event);
        event
    }

    fn raise(&mut self, time: i64) {
        self.mark = self.mark.max(time);
    }

    /// The start of the window that an event of this time counts in: its own, or the oldest that is open.
    fn window_of(&self, time: i64) -> i64 {
        let floor = |time: i64| time.div_euclid(self.window) * self.window;
        floor(time).max(floor(self.mark - micros(LATENESS)))
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 4)
}
