//! Retention: what goes, when, and who is told.
//!
//! In: the store, the enabled consumers. Out: the oldest rows deleted in slices that ride with groups while hits come,
//! and stand alone while none do. Each slice moves the anchor in its own transaction and so never breaks the chain.
//!
//! 1. Age never passes the lowest cursor of an enabled consumer; one without a cursor holds everything.
//! 2. Bytes pass it; what each enabled consumer loses is added to its row of `losses` in the same commit, and told by a
//!    gap entry in the same commit, at most one a minute and consumer, so that a flood is not answered by a flood.
//! 3. A slice is small: a group waits for one at most.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rusqlite::Transaction;
use trapline_schemas::Timestamp;

use super::Offset;
use super::chain::{Stored, Tip};
use super::settings::Fact;
use super::sqlite::{Cursors, Draft, Store, bytes, offset, sql};

/// Bounds of what is kept; zero is without bound.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub age: Duration,
    pub bytes: u64,
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
    entries_at_look: Offset,
    /// Row id up to which dead letters are too many.
    letters_over: Option<i64>,
    clock: Clock,
    losses: BTreeMap<String, Loss>,
    told: BTreeMap<String, Instant>,
}

/// What a consumer lost and has not been told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Loss {
    first: Offset,
    last: Offset,
    count: u64,
}

impl Trimmer {
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            cut: Cut::None,
            entries_at_look: 0,
            letters_over: None,
            clock: Clock::new(Timestamp::now()),
            losses: BTreeMap::new(),
            told: BTreeMap::new(),
        }
    }

    /// Reads what earlier runs left untold. After every opening of the file.
    pub fn load(&mut self, store: &Store) -> rusqlite::Result<()> {
        let mut statement = store
            .conn
            .prepare_cached("SELECT consumer, first, last, count FROM losses")?;
        let rows = statement.query_map([], |row| {
            let loss = Loss {
                first: offset(row.get(1)?),
                last: offset(row.get(2)?),
                count: offset(row.get(3)?),
            };
            Ok((row.get(0)?, loss))
        })?;
        self.losses = rows.collect::<rusqlite::Result<_>>()?;
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
        self.letters_over = letters_over(store)?;
        self.cut = Cut::None;
        if self.bounds.bytes > 0 && store.live_bytes()? > self.bounds.bytes {
            self.cut = Cut::Oldest;
            return Ok(());
        }
        let now = self.clock.read(now);
        if let Some(limit) = self.age_limit(now) {
            let aged = oldest_at(store)?.is_some_and(|(place, at)| at < limit && place < lowest_of(cursors, consumers));
            if aged {
                self.cut = Cut::Before(limit);
            }
        }
        Ok(())
    }

    /// Trims nothing until the next look: rows are on their way to the front.
    pub fn pause(&mut self) {
        self.cut = Cut::None;
    }

    /// Makes room on a full disk: what all consumers have read goes first.
    pub fn make_room(&mut self) {
        self.cut = Cut::Finished;
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
            if self.cut == Cut::Oldest {
                self.count_losses(tx, cursors, consumers, &taken)?;
            }
            if taken.len() < rows {
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

    fn delete(
        &self,
        tx: &Transaction<'_>,
        draft: &mut Draft,
        lowest: Offset,
        rows: usize,
    ) -> rusqlite::Result<Vec<Offset>> {
        let (taken, anchor) = self.choose(tx, draft.anchor, lowest, rows)?;
        if !taken.is_empty() {
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

    /// The offsets of the slice, and the anchor after it.
    fn choose(
        &self,
        tx: &Transaction<'_>,
        mut anchor: Tip,
        lowest: Offset,
        rows: usize,
    ) -> rusqlite::Result<(Vec<Offset>, Tip)> {
        let mut oldest = tx.prepare_cached("SELECT offset, appended_at, hash FROM entries ORDER BY offset LIMIT ?1")?;
        let mut found = oldest.query([i64::try_from(rows).unwrap_or(i64::MAX)])?;
        let mut taken = Vec::new();
        while let Some(row) = found.next()? {
            let (place, at) = (offset(row.get(0)?), Timestamp::from_micros(row.get(1)?));
            let goes = match self.cut {
                Cut::None => false,
                Cut::Before(limit) => at < limit && place < lowest,
                Cut::Finished => place < lowest,
                Cut::Oldest => true,
            };
            if !goes {
                break;
            }
            // A row without a sound hash goes as well; the chain is then broken where the verification says.
            let chain = Stored::parse(bytes(row, 2)?).map_or(anchor.chain, |stored| stored.chain);
            anchor = Tip { next: place + 1, chain };
            taken.push(place);
        }
        Ok((taken, anchor))
    }

    fn count_losses(
        &mut self,
        tx: &Transaction<'_>,
        cursors: &Cursors,
        consumers: &[String],
        taken: &[Offset],
    ) -> rusqlite::Result<()> {
        for consumer in consumers {
            let cursor = cursors.get(consumer).copied().unwrap_or(0);
            let unread = &taken[taken.partition_point(|place| *place < cursor)..];
            let (Some(first), Some(last)) = (unread.first(), unread.last()) else {
                continue;
            };
            let loss = self.losses.entry(consumer.clone()).or_insert(Loss {
                first: *first,
                last: *last,
                count: 0,
            });
            loss.last = *last;
            loss.count += unread.len() as u64;
            tx.prepare_cached("INSERT OR REPLACE INTO losses (consumer, first, last, count) VALUES (?1, ?2, ?3, ?4)")?
                .execute((consumer, sql(loss.first), sql(loss.last), sql(loss.count)))?;
        }
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
            let Some(Loss { first, last, count }) = self.losses.remove(&consumer) else {
                continue;
            };
            tx.prepare_cached("DELETE FROM losses WHERE consumer = ?1")?
                .execute([&consumer])?;
            self.told.insert(consumer.clone(), now);
            facts.push(Fact::Lost {
                consumer,
                first,
                last,
                count,
            });
        }
        Ok(facts)
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

/// The newest row id beyond the number of dead letters that are kept.
fn letters_over(store: &Store) -> rusqlite::Result<Option<i64>> {
    let newest: Option<i64> = store
        .conn
        .prepare_cached("SELECT max(rowid) FROM dead_letters")?
        .query_row([], |row| row.get(0))?;
    let oldest: Option<i64> = store
        .conn
        .prepare_cached("SELECT min(rowid) FROM dead_letters")?
        .query_row([], |row| row.get(0))?;
    Ok(newest
        .map(|newest| newest - DEAD_LETTERS_MAX)
        .filter(|last| oldest.is_some_and(|oldest| oldest <= *last)))
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

/// Entries between two looks at the bounds.
const LOOK_ENTRIES: Offset = 1024;
/// Shortest time between two gap entries of one consumer.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Dead letters kept, counted by row id: some less if some were removed in between.
const DEAD_LETTERS_MAX: i64 = 10_000;
/// No trapline ran before 2020: an earlier clock is one that was not set.
const UNSET: Timestamp = Timestamp::from_micros(1_577_836_800_000_000);

#[cfg(test)]
mod tests {
    use super::*;

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
