//! Retention: what goes, when, and who is told.
//!
//! In: the store, the enabled consumers. Out: the oldest rows deleted in slices that ride with groups while hits come,
//! and stand alone while none do. Each slice moves the anchor in its own transaction and so never breaks the chain.
//!
//! 1. Age never passes the lowest cursor of an enabled consumer; one without a cursor holds everything.
//! 2. Bytes pass it. What a consumer misses by that it reports itself, as only it knows what it had read before: the
//!    report is added to its row of `losses` in the same commit, and told by a gap entry in the same commit, at most one
//!    a minute and consumer, so that a flood is not answered by a flood. What is reported again, as after a restart that
//!    goes on from an older cursor, is not counted again.
//! 3. A full disk takes no more than what is to be written needs, and only what all consumers have read: it is in the
//!    sinks, and what would be shed in its stead is nowhere. Without one that delivers nothing is. It is counted
//!    and told as a loss is.
//! 4. A slice is small: a group waits for one at most. It ends where the bound is met.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rusqlite::Transaction;
use trapline_schemas::Timestamp;

use super::chain::{Stored, Tip};
use super::letters;
use super::settings::{Fact, JournalSettings};
use super::sqlite::{Cursors, Draft, Store, bytes, offset, sql};
use super::{Cause, Loss, Offset};

/// Bounds of what is kept; zero is without bound.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub age: Duration,
    pub bytes: u64,
}

impl Bounds {
    /// Those that a journal starts with.
    pub fn of(settings: &JournalSettings) -> Self {
        Self {
            age: settings.retain,
            bytes: settings.retain_bytes,
        }
    }
}

/// What the next slice does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// Nothing is over a bound.
    None,
    /// Entries appended before this instant, as far as all consumers have read.
    Before(Timestamp),
    /// The oldest, read or not.
    Oldest,
    /// The oldest, as far as all consumers have read: the disk is full.
    Finished,
}

/// The state of the trim.
#[derive(Debug)]
pub(super) struct Trimmer {
    bounds: Bounds,
    cut: Cut,
    /// Bytes that the cut is to take; what comes to stand below is kept.
    excess: u64,
    entries_at_look: Offset,
    /// Row id up to which dead letters are too many.
    letters_over: Option<i64>,
    clock: Clock,
    /// What has not been told, by consumer and cause ([`key`]); what a full disk took, under [`PRUNED`].
    losses: BTreeMap<String, Range>,
    /// What consumers have reported that their cursors have not passed, told or not.
    reported: BTreeMap<String, Range>,
    /// When the oldest and newest entries were appended that a full disk took and nobody was told of.
    pruned_at: Option<(Timestamp, Timestamp)>,
    told: BTreeMap<String, Instant>,
}

/// Entries between two offsets, not all that could be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    first: Offset,
    last: Offset,
    count: u64,
}

impl Range {
    fn of(loss: &Loss) -> Self {
        Self {
            first: loss.first,
            last: loss.last,
            count: loss.count(),
        }
    }

    fn with(self, other: Self) -> Self {
        Self {
            first: self.first.min(other.first),
            last: self.last.max(other.last),
            count: self.count + other.count,
        }
    }

    /// How many of the offsets of `loss` are not among these.
    fn beyond(self, loss: &Loss) -> u64 {
        let again = match loss.first {
            first if first > self.last || loss.last < self.first => 0,
            first if first <= self.first => self.count,
            first => self.count.min(self.last - first + 1),
        };
        loss.count().saturating_sub(again)
    }
}

/// What a slice took.
#[derive(Debug, Default)]
struct Taken {
    range: Option<Range>,
    at: Option<(Timestamp, Timestamp)>,
    rows: usize,
    bytes: u64,
}

impl Taken {
    fn add(&mut self, place: Offset, at: Timestamp, bytes: u64) {
        let row = Range {
            first: place,
            last: place,
            count: 1,
        };
        self.range = Some(self.range.map_or(row, |range| range.with(row)));
        self.at = Some(self.at.map_or((at, at), |(first, _)| (first, at)));
        self.rows += 1;
        self.bytes += bytes;
    }
}

impl Trimmer {
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            cut: Cut::None,
            excess: 0,
            entries_at_look: 0,
            letters_over: None,
            clock: Clock::new(Timestamp::now()),
            losses: BTreeMap::new(),
            reported: BTreeMap::new(),
            pruned_at: None,
            told: BTreeMap::new(),
        }
    }

    /// Other bounds, from the next look on.
    pub fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// Reads what earlier runs left untold. After every opening of the file.
    pub fn load(&mut self, store: &Store) -> rusqlite::Result<()> {
        let mut statement = store
            .conn
            .prepare_cached("SELECT consumer, first, last, count FROM losses")?;
        let rows = statement.query_map([], |row| {
            let range = Range {
                first: offset(row.get(1)?),
                last: offset(row.get(2)?),
                count: offset(row.get(3)?),
            };
            Ok((row.get::<_, String>(0)?, range))
        })?;
        (self.losses, self.reported) = (BTreeMap::new(), BTreeMap::new());
        for row in rows {
            let (name, range) = row?;
            match name.strip_prefix(REPORTED) {
                Some(consumer) => self.reported.insert(consumer.to_owned(), range),
                None => self.losses.insert(name, range),
            };
        }
        Ok(())
    }

    /// Whether a look is due because so much was appended since the last.
    pub fn wants_look(&self, store: &Store) -> bool {
        store.tip.next - self.entries_at_look >= LOOK_ENTRIES
    }

    /// Looks whether a bound is passed.
    pub fn look(
        &mut self,
        store: &Store,
        cursors: &Cursors,
        consumers: &[String],
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        self.entries_at_look = store.tip.next;
        self.letters_over = letters::over(&store.conn)?;
        self.cut = Cut::None;
        let live = store.live_bytes()?;
        if self.bounds.bytes > 0 && live > self.bounds.bytes {
            (self.cut, self.excess) = (Cut::Oldest, live - self.bounds.bytes);
            return Ok(());
        }
        let now = self.clock.read(now);
        if let Some(limit) = self.age_limit(now) {
            let aged = oldest_at(store)?.is_some_and(|(place, at)| at < limit && place < lowest_of(cursors, consumers));
            if aged {
                (self.cut, self.excess) = (Cut::Before(limit), u64::MAX);
            }
        }
        Ok(())
    }

    /// Trims nothing until the next look: rows are on their way to the front.
    pub fn pause(&mut self) {
        self.cut = Cut::None;
    }

    /// Makes room for about so many bytes on a full disk, of what all consumers have read.
    pub fn make_room(&mut self, bytes: usize) {
        (self.cut, self.excess) = (Cut::Finished, (bytes as u64).max(ROOM_BYTES_MIN));
    }

    /// Whether there is something to do now that need not wait for a group.
    pub fn is_busy(&self, now: Instant) -> bool {
        self.cut != Cut::None
            || self.letters_over.is_some()
            || self.losses.keys().any(|consumer| self.may_tell(consumer, now))
    }

    /// Deletes one slice within a transaction and gives the facts to append in it.
    pub fn slice(
        &mut self,
        tx: &Transaction<'_>,
        draft: &mut Draft,
        cursors: &Cursors,
        consumers: &[String],
        rows: usize,
    ) -> rusqlite::Result<Vec<Fact>> {
        if self.cut != Cut::None {
            let lowest = lowest_of(cursors, consumers);
            let taken = self.delete(tx, draft, lowest, rows)?;
            if self.cut == Cut::Finished {
                self.note_pruned(tx, &taken)?;
            }
            self.excess = self.excess.saturating_sub(taken.bytes);
            if taken.rows < rows || self.excess == 0 {
                self.cut = Cut::None;
            }
        }
        let mut facts = self.tell(tx)?;
        if let Some(last) = self.letters_over.take() {
            let count = tx
                .prepare_cached("DELETE FROM dead_letters WHERE rowid <= ?1")?
                .execute([last])?;
            facts.push(Fact::DeadLettersDropped { count: count as u64 });
        }
        Ok(facts)
    }

    fn delete(&self, tx: &Transaction<'_>, draft: &mut Draft, lowest: Offset, rows: usize) -> rusqlite::Result<Taken> {
        let (taken, anchor) = self.choose(tx, draft.anchor, lowest, rows)?;
        if taken.rows > 0 {
            tx.prepare_cached("DELETE FROM entries WHERE offset < ?1")?
                .execute([sql(anchor.next)])?;
            tx.prepare_cached("DELETE FROM breaks WHERE offset < ?1")?
                .execute([sql(anchor.next)])?;
            tx.prepare_cached("UPDATE anchor SET offset = ?1, hash = ?2 WHERE id = 1")?
                .execute((sql(anchor.next), &anchor.chain[..]))?;
            draft.anchor = anchor;
        }
        Ok(taken)
    }

    /// What the slice takes, and the anchor after it.
    fn choose(
        &self,
        tx: &Transaction<'_>,
        mut anchor: Tip,
        lowest: Offset,
        rows: usize,
    ) -> rusqlite::Result<(Taken, Tip)> {
        let mut oldest =
            tx.prepare_cached("SELECT offset, appended_at, hash, length(body) FROM entries ORDER BY offset LIMIT ?1")?;
        let mut found = oldest.query([i64::try_from(rows).unwrap_or(i64::MAX)])?;
        let mut taken = Taken::default();
        while let Some(row) = found.next()?
            && taken.bytes < self.excess
        {
            let (place, at) = (offset(row.get(0)?), Timestamp::from_micros(row.get(1)?));
            let goes = match self.cut {
                Cut::None => false,
                Cut::Before(limit) => at < limit && place < lowest,
                Cut::Finished => place < lowest && lowest < Offset::MAX,
                Cut::Oldest => true,
            };
            if !goes {
                break;
            }
            // A row without a sound hash goes as well; the chain is then broken where the verification says.
            let chain = Stored::parse(bytes(row, 2)?).map_or(anchor.chain, |stored| stored.chain);
            anchor = Tip { next: place + 1, chain };
            taken.add(place, at, offset(row.get(3)?) + ROW_BYTES);
        }
        Ok((taken, anchor))
    }

    /// Takes a consumer's report of what it will never read, less what it has reported before. In: `anchor`, the first
    /// offset that the trim has left.
    pub fn note(
        &mut self,
        tx: &Transaction<'_>,
        anchor: Offset,
        cursors: &Cursors,
        loss: &Loss,
    ) -> rusqlite::Result<()> {
        // What a salvage skipped or lost is told by its own entry.
        if loss.cause == Cause::Gone && is_break(tx, loss.last + 1)? {
            return Ok(());
        }
        by_cause(loss, anchor)
            .iter()
            .try_for_each(|loss| self.note_part(tx, cursors, loss))
    }

    fn note_part(&mut self, tx: &Transaction<'_>, cursors: &Cursors, loss: &Loss) -> rusqlite::Result<()> {
        let passed = |range: &Range| cursors.get(&loss.consumer).is_some_and(|cursor| *cursor > range.last);
        // The commit that brought the cursor there had the loss with it, and the consumer does not know that it was kept.
        if passed(&Range::of(loss)) {
            return Ok(());
        }
        let before = self
            .reported
            .get(&loss.consumer)
            .copied()
            .filter(|range| !passed(range));
        let fresh = Range {
            count: before.map_or_else(|| loss.count(), |before| before.beyond(loss)),
            ..Range::of(loss)
        };
        let reported = before.map_or(fresh, |before| before.with(fresh));
        save(tx, &format!("{REPORTED}{}", loss.consumer), reported)?;
        self.reported.insert(loss.consumer.clone(), reported);
        if fresh.count == 0 {
            Ok(())
        } else {
            self.add(tx, &key(loss.cause, &loss.consumer), fresh)
        }
    }

    fn note_pruned(&mut self, tx: &Transaction<'_>, taken: &Taken) -> rusqlite::Result<()> {
        let (Some(range), Some((first, last))) = (taken.range, taken.at) else {
            return Ok(());
        };
        self.pruned_at = Some((self.pruned_at.map_or(first, |(oldest, _)| oldest), last));
        self.add(tx, PRUNED, range)
    }

    /// Adds to what is to be told under `name`.
    fn add(&mut self, tx: &Transaction<'_>, name: &str, range: Range) -> rusqlite::Result<()> {
        let untold = self.losses.get(name).map_or(range, |untold| untold.with(range));
        save(tx, name, untold)?;
        self.losses.insert(name.to_owned(), untold);
        Ok(())
    }

    /// The losses that may be told now; their rows go in the same transaction.
    fn tell(&mut self, tx: &Transaction<'_>) -> rusqlite::Result<Vec<Fact>> {
        let now = Instant::now();
        let due: Vec<String> = self
            .losses
            .keys()
            .filter(|consumer| self.may_tell(consumer, now))
            .cloned()
            .collect();
        let mut facts = Vec::new();
        for consumer in due {
            let Some(Range { first, last, count }) = self.losses.remove(&consumer) else {
                continue;
            };
            tx.prepare_cached("DELETE FROM losses WHERE consumer = ?1")?
                .execute([&consumer])?;
            facts.push(if consumer == PRUNED {
                Fact::Pruned {
                    first,
                    last,
                    count,
                    at: self.pruned_at,
                }
            } else {
                let (cause, consumer) = missed(&consumer);
                Fact::Lost {
                    consumer,
                    first,
                    last,
                    count,
                    cause,
                }
            });
        }
        Ok(facts)
    }

    /// What was told stands in the journal.
    pub fn confirm(&mut self, told: &[Fact]) {
        for fact in told {
            let name = match fact {
                Fact::Lost { consumer, cause, .. } => key(*cause, consumer),
                Fact::Pruned { .. } => {
                    self.pruned_at = None;
                    PRUNED.to_owned()
                }
                _ => continue,
            };
            self.told.insert(name, Instant::now());
        }
    }

    fn may_tell(&self, consumer: &str, now: Instant) -> bool {
        self.told
            .get(consumer)
            .is_none_or(|told| now.duration_since(*told) >= TELL_EVERY)
    }

    fn age_limit(&self, now: Timestamp) -> Option<Timestamp> {
        let age = i64::try_from(self.bounds.age.as_micros()).ok().filter(|age| *age > 0)?;
        Some(Timestamp::from_micros(now.micros().saturating_sub(age)))
    }
}

/// Wall time that does not follow jumps: a clock set a year ahead must not cost a year of entries.
#[derive(Debug)]
struct Clock {
    wall: Timestamp,
    at: Instant,
}

impl Clock {
    fn new(wall: Timestamp) -> Self {
        Self {
            wall,
            at: Instant::now(),
        }
    }

    /// The time since the start, added to the wall time then; to that of `wall` if the clock was not set yet then.
    fn read(&mut self, wall: Timestamp) -> Timestamp {
        if self.wall < UNSET {
            *self = Self::new(wall);
        }
        let elapsed = i64::try_from(self.at.elapsed().as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_micros(self.wall.micros().saturating_add(elapsed))
    }
}

fn save(tx: &Transaction<'_>, name: &str, range: Range) -> rusqlite::Result<()> {
    tx.prepare_cached("INSERT OR REPLACE INTO losses (consumer, first, last, count) VALUES (?1, ?2, ?3, ?4)")?
        .execute((name, sql(range.first), sql(range.last), sql(range.count)))?;
    Ok(())
}

/// What was found gone: before the anchor it was trimmed, from there on something else took it.
fn by_cause(loss: &Loss, anchor: Offset) -> Vec<Loss> {
    if loss.cause != Cause::Gone {
        return vec![loss.clone()];
    }
    let trimmed = Loss {
        last: loss.last.min(anchor.saturating_sub(1)),
        cause: Cause::Trimmed,
        ..loss.clone()
    };
    let gone = Loss {
        first: loss.first.max(anchor),
        ..loss.clone()
    };
    [trimmed, gone]
        .into_iter()
        .filter(|part| part.first <= part.last)
        .collect()
}

/// The name in `losses` of what `consumer` misses.
fn key(cause: Cause, consumer: &str) -> String {
    match cause {
        Cause::Trimmed => consumer.to_owned(),
        Cause::Gone => format!("{GONE}{consumer}"),
        Cause::Unreadable => format!("{UNREADABLE}{consumer}"),
    }
}

/// Why and by whom what stands under a name is missed.
fn missed(key: &str) -> (Cause, String) {
    let (cause, consumer) = match (key.strip_prefix(GONE), key.strip_prefix(UNREADABLE)) {
        (Some(consumer), _) => (Cause::Gone, consumer),
        (_, Some(consumer)) => (Cause::Unreadable, consumer),
        _ => (Cause::Trimmed, key),
    };
    (cause, consumer.to_owned())
}

/// Whether the chain starts anew at `place`.
fn is_break(tx: &Transaction<'_>, place: Offset) -> rusqlite::Result<bool> {
    tx.prepare_cached("SELECT 1 FROM breaks WHERE offset = ?1")?
        .exists([sql(place)])
}

fn oldest_at(store: &Store) -> rusqlite::Result<Option<(Offset, Timestamp)>> {
    let mut oldest = store
        .conn
        .prepare_cached("SELECT offset, appended_at FROM entries ORDER BY offset LIMIT 1")?;
    let mut rows = oldest.query([])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    Ok(Some((offset(row.get(0)?), Timestamp::from_micros(row.get(1)?))))
}

/// The lowest cursor of the enabled consumers; without consumers nothing is held.
fn lowest_of(cursors: &Cursors, consumers: &[String]) -> Offset {
    let held = consumers
        .iter()
        .map(|consumer| cursors.get(consumer).copied().unwrap_or(0));
    held.min().unwrap_or(Offset::MAX)
}

/// The name in `losses` of what a full disk took; no consumer has it.
const PRUNED: &str = "";
/// Stand in `losses` before the name of a consumer that misses what was not trimmed.
const GONE: &str = "gone/";
const UNREADABLE: &str = "unreadable/";
/// Stands in `losses` before the name of a consumer that reported what its cursor has not passed.
const REPORTED: &str = "reported/";
/// The least that is taken for a group that a full disk refused: its pages are not all its own.
const ROOM_BYTES_MIN: u64 = 64 << 10;
/// About what a row takes beside its body.
const ROW_BYTES: u64 = 64;
/// Entries between two looks at the bounds.
const LOOK_ENTRIES: Offset = 1024;
/// Shortest time between two gap entries of one consumer.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// No trapline ran before 2020: an earlier clock is one that was not set.
const UNSET: Timestamp = Timestamp::from_micros(1_577_836_800_000_000);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_was_trimmed_before_the_anchor_alone() {
        let parts = |anchor| {
            let loss = Loss {
                consumer: "sink/siem".into(),
                first: 5,
                last: 9,
                cause: Cause::Gone,
            };
            let parts = by_cause(&loss, anchor);
            parts
                .iter()
                .map(|part| (part.first, part.last, part.cause))
                .collect::<Vec<_>>()
        };
        assert_eq!(parts(5), [(5, 9, Cause::Gone)]);
        assert_eq!(parts(8), [(5, 7, Cause::Trimmed), (8, 9, Cause::Gone)]);
        assert_eq!(parts(10), [(5, 9, Cause::Trimmed)]);
        for cause in [Cause::Trimmed, Cause::Gone, Cause::Unreadable] {
            assert_eq!(missed(&key(cause, "sink/siem")), (cause, "sink/siem".to_owned()));
        }
    }

    #[test]
    fn a_jump_of_the_clock_is_not_followed_but_an_unset_clock_is_left_behind() {
        let year = 365 * 86_400 * 1_000_000;
        let now = Timestamp::now();
        let ahead = Timestamp::from_micros(now.micros() + year);
        let mut clock = Clock::new(now);
        assert!(clock.read(ahead).since(now) < Duration::from_secs(3600));
        let mut unset = Clock::new(Timestamp::from_micros(5));
        assert!(unset.read(now) >= now);
        assert!(unset.read(ahead).since(now) < Duration::from_secs(3600));
    }
}
