//! The throttle: so many events a key and window go on, the rest are counted. Pure; the window task keeps its cursor.
//!
//! In: events in journal order ([`Throttle::see`]) and the clock when nothing is left to read ([`Throttle::tick`]).
//! Out: a [`Verdict`] per event; one `held-back` event per closed window and key that held something back; state rows
//! for the commit that carries them.
//!
//! Invariants:
//! 1. Window time is event time: windows lie side by side from the epoch on, whatever the clock does meanwhile.
//! 2. Every event is counted in exactly one window. A *late* event, whose window has closed, counts in the oldest
//!    window that is still open: no closed window is counted twice, and no id is given twice.
//! 3. A window closes when the time seen is [`LATENESS`] past its end, and is told of once, under the id of
//!    (node, key, window start): the same however often it is made.
//! 4. Bounds: [`KEYS_MAX`] keys in open windows. When full, keys that are new share one key, `(others)`: their limit
//!    is then common, their count still exact.
//! 5. State rows equal memory: a restart from them goes on where the last commit stood.
//! 6. Other windows or keys in the configuration, or a clock that stepped back by more than a window: what is open is
//!    told of as it stands (a partial window), and a new *epoch* begins, whose ids differ.
//!
//! Layout of state: `window/NODE` is `{"v":1,"epoch":…,"mark":…,"window":…,"by":[…]}`;
//! `window/NODE/EPOCH/START/KEY` is one line `1 PASSED HELD FIRST LAST` and the body of the draft of its event.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use trapline_schemas::{Action, Event, Field, Timestamp, Value, codec, ids};

use super::transforms::ThrottleSpec;

/// How long after its end, in event time, a window still takes events.
pub const LATENESS: Duration = Duration::from_secs(1);
/// Most keys in the open windows of one node, about 0.5 KiB each.
pub const KEYS_MAX: usize = 16_384;

/// Stands between the values of a key; clean text has no control characters.
const SEPARATOR: char = '\u{1f}';
/// Stands for an absent value.
const ABSENT: char = '\u{1e}';
/// The key that keys share when there are too many.
const OTHERS: &str = "(others)";
/// What a derived event takes over from the events it sums up, besides the key.
const IDENTITY: &[Field] = &[
    Field::ObserverName,
    Field::ObserverHostname,
    Field::ObserverVersion,
    Field::Site,
    Field::OrganizationId,
];

/// What becomes of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Pass,
    /// It is counted, and goes no further.
    Hold,
}

/// A state row to save; `None` removes it.
pub type StateRow = (String, Option<Vec<u8>>);

/// The windows of one node.
#[derive(Debug)]
pub struct Throttle {
    node: String,
    spec: ThrottleSpec,
    window: i64,
    epoch: u32,
    /// Latest time seen, of events and clock, microseconds.
    mark: i64,
    mark_saved: bool,
    open: BTreeMap<i64, HashMap<String, Bucket>>,
    keys: usize,
    /// Closed, but not told of yet.
    closing: VecDeque<Closed>,
    removed: Vec<String>,
}

#[derive(Debug)]
struct Bucket {
    passed: u64,
    held: u64,
    first: i64,
    last: i64,
    draft: Event,
    saved: bool,
}

#[derive(Debug)]
struct Closed {
    row: String,
    event: Option<Event>,
    /// The row's value, if the journal does not have it yet.
    unsaved: Option<Vec<u8>>,
}

/// The row of the node as a whole.
#[derive(Debug, Serialize, Deserialize)]
struct Meta {
    v: u32,
    epoch: u32,
    mark: i64,
    window: i64,
    by: Vec<String>,
}

impl Throttle {
    /// The prefix of all rows of a node.
    pub fn prefix(node: &str) -> String {
        format!("window/{node}")
    }

    /// Goes on from the node's state rows; none for a new node. Rows that cannot be read are dropped and counted.
    ///
    /// Out: the node, and how many rows were dropped.
    pub fn restore(node: &str, spec: &ThrottleSpec, rows: Vec<(String, Vec<u8>)>) -> (Self, usize) {
        let prefix = Self::prefix(node);
        let meta = rows.iter().find(|(key, _)| *key == prefix);
        let meta: Option<Meta> = meta.and_then(|(_, row)| serde_json::from_slice(row).ok());
        let mut throttle = Self::new(node, spec);
        let same = meta.as_ref().is_none_or(|meta| throttle.is_same(meta));
        if let Some(meta) = &meta {
            throttle.epoch = meta.epoch;
            throttle.mark = meta.mark;
            throttle.mark_saved = true;
        }
        let dropped = rows
            .iter()
            .filter(|(key, row)| *key != prefix && !throttle.restore_row(key, row))
            .count();
        if !same {
            throttle.begin_epoch();
        }
        (throttle, dropped)
    }

    fn new(node: &str, spec: &ThrottleSpec) -> Self {
        Self {
            node: node.to_owned(),
            spec: spec.clone(),
            window: micros(spec.window).max(1),
            epoch: 0,
            mark: 0,
            mark_saved: false,
            open: BTreeMap::new(),
            keys: 0,
            closing: VecDeque::new(),
            removed: Vec::new(),
        }
    }

    fn is_same(&self, meta: &Meta) -> bool {
        meta.window == self.window && meta.by == self.by_names()
    }

    fn by_names(&self) -> Vec<String> {
        let names = self.spec.by.iter().map(|field| field.name().to_owned());
        names.collect()
    }

    fn restore_row(&mut self, row: &str, value: &[u8]) -> bool {
        let Some((epoch, start, key)) = parse_row(&Self::prefix(&self.node), row) else {
            return false;
        };
        let Some(bucket) = Bucket::decode(value) else {
            self.removed.push(row.to_owned());
            return false;
        };
        self.keys += 1;
        if epoch == self.epoch {
            self.open.entry(start).or_default().insert(key.to_owned(), bucket);
        } else {
            self.closing.push_back(self.closed(epoch, start, key, bucket, true));
        }
        true
    }

    /// Counts an event that reached the node, and says whether it goes on.
    pub fn see(&mut self, event: &Event) -> Verdict {
        self.raise(event.at.micros());
        let start = self.window_of(event.at.micros());
        let key = self.key_of(event);
        let draft = || self.draft(event, &key);
        let known = self.open.get(&start).is_some_and(|window| window.contains_key(&key));
        let (key, draft) = match known {
            true => (key, None),
            false if self.keys < KEYS_MAX => {
                let draft = draft();
                (key, Some(draft))
            }
            false => (OTHERS.to_owned(), Some(self.draft_of_others(event))),
        };
        let limit = self.spec.limit;
        let window = self.open.entry(start).or_default();
        let keys = &mut self.keys;
        let bucket = window.entry(key).or_insert_with(|| {
            *keys += 1;
            Bucket::new(draft.unwrap_or_else(|| Event::new(event.id, event.at, Action::HeldBack)))
        });
        bucket.count(event.at.micros(), limit)
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

    /// Closes what is due and gives at most `max` events; the others come with the next call.
    pub fn close(&mut self, max: usize) -> Vec<Event> {
        while let Some(window) = self.open.first_entry()
            && *window.key() + self.window + micros(LATENESS) <= self.mark
        {
            let (start, buckets) = window.remove_entry();
            self.shut(start, buckets, false);
        }
        let mut events = Vec::new();
        while events.len() < max {
            let Some(closed) = self.closing.pop_front() else {
                break;
            };
            self.keys -= 1;
            self.removed.push(closed.row);
            events.extend(closed.event);
        }
        events
    }

    /// The rows that changed since the last call.
    pub fn changes(&mut self) -> Vec<StateRow> {
        let mut rows: Vec<StateRow> = self.removed.drain(..).map(|row| (row, None)).collect();
        // What is closed and waits to be told must outlive a kill as well.
        for closed in self.closing.iter_mut().filter(|closed| closed.unsaved.is_some()) {
            rows.push((closed.row.clone(), closed.unsaved.take()));
        }
        for (start, window) in &mut self.open {
            for (key, bucket) in window.iter_mut().filter(|(_, bucket)| !bucket.saved) {
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
        };
        serde_json::to_vec(&meta).expect("numbers and texts are always JSON")
    }

    /// Tells of everything open as it stands, and gives what follows other ids.
    fn begin_epoch(&mut self) {
        for (start, buckets) in std::mem::take(&mut self.open) {
            self.shut(start, buckets, true);
        }
        self.epoch += 1;
        self.mark_saved = false;
    }

    fn shut(&mut self, start: i64, buckets: HashMap<String, Bucket>, partial: bool) {
        let mut buckets: Vec<_> = buckets.into_iter().collect();
        buckets.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        for (key, bucket) in buckets {
            let closed = self.closed(self.epoch, start, &key, bucket, partial);
            self.closing.push_back(closed);
        }
    }

    fn closed(&self, epoch: u32, start: i64, key: &str, bucket: Bucket, partial: bool) -> Closed {
        let row = row_key(&self.node, epoch, start, key);
        let end = match partial {
            true => bucket.last,
            false => (start + self.window).max(bucket.last),
        };
        let unsaved = (!bucket.saved).then(|| bucket.encode());
        let event = (bucket.held > 0).then(|| self.told(epoch, start, key, bucket, end));
        Closed { row, event, unsaved }
    }

    /// The `held-back` event of a closed window and key.
    fn told(&self, epoch: u32, start: i64, key: &str, bucket: Bucket, end: i64) -> Event {
        let node = match epoch {
            0 => self.node.clone(),
            epoch => format!("{}#{epoch}", self.node),
        };
        let mut event = bucket.draft;
        event.id = ids::derived(&node, key, Timestamp::from_micros(start));
        event.at = Timestamp::from_micros(end);
        event.set(Field::EventCreated, event.at);
        event.set(Field::EventStart, Timestamp::from_micros(bucket.first));
        event.set(Field::EventEnd, Timestamp::from_micros(bucket.last));
        event.set(Field::FindingHits, i64::try_from(bucket.held).unwrap_or(i64::MAX));
        event.set(
            Field::EventReason,
            format!("{} held back beyond the limit of {}", bucket.held, self.spec.limit),
        );
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

    fn key_of(&self, event: &Event) -> String {
        let mut key = String::new();
        for (index, field) in self.spec.by.iter().enumerate() {
            if index > 0 {
                key.push(SEPARATOR);
            }
            match event.resolve(*field) {
                Some(value) => key.push_str(&text_of(&value)),
                None => key.push(ABSENT),
            }
        }
        key
    }

    fn draft(&self, event: &Event, key: &str) -> Event {
        let shown = key.replace(SEPARATOR, ", ").replace(ABSENT, "-");
        let mut draft = self.draft_with_key(event, &shown);
        for field in &self.spec.by {
            draft.set_some(*field, event.get(*field).cloned());
        }
        draft
    }

    fn draft_of_others(&self, event: &Event) -> Event {
        self.draft_with_key(event, OTHERS)
    }

    fn draft_with_key(&self, event: &Event, shown: &str) -> Event {
        let mut draft = Event::new(event.id, event.at, Action::HeldBack);
        for field in IDENTITY {
            draft.set_some(*field, event.get(*field).cloned());
        }
        draft.set(Field::TransformName, self.node.as_str());
        draft.set(Field::TransformKey, shown);
        draft
    }
}

impl Bucket {
    fn new(draft: Event) -> Self {
        Self {
            passed: 0,
            held: 0,
            first: 0,
            last: 0,
            draft,
            saved: false,
        }
    }

    /// First and last are of the events held back.
    fn count(&mut self, time: i64, limit: u64) -> Verdict {
        self.saved = false;
        if self.passed < limit {
            self.passed += 1;
            return Verdict::Pass;
        }
        self.first = if self.held == 0 { time } else { self.first.min(time) };
        self.last = if self.held == 0 { time } else { self.last.max(time) };
        self.held += 1;
        Verdict::Hold
    }

    fn encode(&self) -> Vec<u8> {
        let Self {
            passed,
            held,
            first,
            last,
            ..
        } = self;
        let mut row = format!("1 {passed} {held} {first} {last}\n").into_bytes();
        row.extend(codec::encode(&self.draft));
        row
    }

    fn decode(row: &[u8]) -> Option<Self> {
        let end = row.iter().position(|byte| *byte == b'\n')?;
        let line = std::str::from_utf8(row.get(..end)?).ok()?;
        let mut numbers = line.strip_prefix("1 ")?.split(' ');
        Some(Self {
            passed: numbers.next()?.parse().ok()?,
            held: numbers.next()?.parse().ok()?,
            first: numbers.next()?.parse().ok()?,
            last: numbers.next()?.parse().ok()?,
            draft: codec::decode(row.get(end + 1..)?).ok()?,
            saved: true,
        })
    }
}

fn row_key(node: &str, epoch: u32, start: i64, key: &str) -> String {
    format!("{}/{epoch}/{start}/{key}", Throttle::prefix(node))
}

fn parse_row<'r>(prefix: &str, row: &'r str) -> Option<(u32, i64, &'r str)> {
    let mut parts = row.strip_prefix(prefix)?.strip_prefix('/')?.splitn(3, '/');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?))
}

fn text_of(value: &Value) -> String {
    match value {
        Value::Text(text) => text.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::Ip(ip) => ip.to_string(),
        Value::Id(id) => id.to_string(),
        // Fields of other kinds are refused in `by`.
        Value::Float(_) | Value::Time(_) | Value::Bytes(_) => String::new(),
        Value::Texts(_) | Value::Ips(_) | Value::Ints(_) => String::new(),
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 4)
}

#[cfg(test)]
#[path = "throttle_tests.rs"]
mod tests;
