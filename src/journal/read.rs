//! Reading: a few connections with short transactions, off the runtime's threads, and the tail kept in memory.
//!
//! The tail is the newest entries as they were appended. Consumers that keep up read from it, which costs neither a
//! thread hop nor SQLite; it is filled before the head is announced, so what the head promises is there.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension};
use tokio::sync::Semaphore;
use trapline_schemas::Timestamp;

use super::chain::{self, Stored};
use super::sqlite::{self, bytes, is_damage, offset, sql};
use super::{Cursor, Entry, JournalError, Offset};

/// The reading connections.
#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    /// Whether the last connection to close leaves the log as it is.
    keeps_log: bool,
    turns: Semaphore,
    idle: Mutex<Idle>,
    /// Set when a read found the file damaged; the writer looks after it.
    pub suspect: AtomicBool,
}

#[derive(Debug, Default)]
struct Idle {
    /// Counts how often the file was opened anew; connections of earlier ones are not used again.
    file: u64,
    connections: Vec<Connection>,
}

impl Readers {
    pub fn new(path: PathBuf, keeps_log: bool) -> Self {
        Self {
            path,
            keeps_log,
            turns: Semaphore::new(READERS),
            idle: Mutex::default(),
            suspect: AtomicBool::new(false),
        }
    }

    /// Runs `query` on a connection on a blocking thread.
    ///
    /// Cancel: safe; the query runs to its end and its result is dropped.
    pub async fn run<T: Send + 'static>(
        self: &std::sync::Arc<Self>,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, JournalError> {
        let readers = self.clone();
        let _turn = self.turns.acquire().await.map_err(|_| JournalError::Closed)?;
        tokio::task::spawn_blocking(move || readers.run_here(query))
            .await
            .map_err(|error| JournalError::Storage(format!("a read ended early: {error}").into()))?
    }

    /// Drops every connection: the file behind the path is another one now.
    pub fn renew(&self) {
        let mut idle = self.lock();
        idle.file += 1;
        idle.connections.clear();
    }

    /// Refuses further queries and drops every connection.
    pub fn close(&self) {
        self.turns.close();
        self.renew();
    }

    fn run_here<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, JournalError> {
        let result = self.take().and_then(|(file, conn)| {
            let found = query(&conn)?;
            self.give_back(file, conn);
            Ok(found)
        });
        if result.as_ref().is_err_and(is_damage) {
            self.suspect.store(true, Ordering::Release);
        }
        result.map_err(|error| match is_damage(&error) {
            true => JournalError::damaged(&self.path, &error),
            false => error.into(),
        })
    }

    /// Keeps a connection for the next query. One that failed may be tied to a file that is gone, and is not given back.
    fn give_back(&self, file: u64, conn: Connection) {
        let mut idle = self.lock();
        if idle.file == file {
            idle.connections.push(conn);
        }
    }

    fn take(&self) -> rusqlite::Result<(u64, Connection)> {
        let mut idle = self.lock();
        let file = idle.file;
        let kept = idle.connections.pop();
        drop(idle);
        Ok((file, kept.map_or_else(|| connect(&self.path, self.keeps_log), Ok)?))
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opened for writing because a reader of a WAL file takes part in its index; `query_only` keeps it a reader, and with
/// `keeps_log` it never checkpoints, not even as the last to close. Without, a log, which must be empty, goes then.
pub(super) fn connect(path: &std::path::Path, keeps_log: bool) -> rusqlite::Result<Connection> {
    sqlite::connect(
        path,
        keeps_log,
        "PRAGMA query_only = ON; PRAGMA cache_size = -512; PRAGMA mmap_size = 0; PRAGMA wal_autocheckpoint = 0;
         PRAGMA cell_size_check = ON; PRAGMA trusted_schema = OFF;",
    )
}

/// Up to `count` entries at `from` or later, of at most `bytes_max` of bodies, one at least.
pub(super) fn entries(conn: &Connection, from: Offset, count: usize, bytes_max: usize) -> rusqlite::Result<Vec<Entry>> {
    let mut statement = conn.prepare_cached(
        "SELECT offset, appended_at, hash, body FROM entries WHERE offset >= ?1 ORDER BY offset LIMIT ?2",
    )?;
    let mut rows = statement.query((sql(from), i64::try_from(count).unwrap_or(i64::MAX)))?;
    let (mut entries, mut used) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let entry = entry(row)?;
        used += entry.body.len();
        if used > bytes_max && !entries.is_empty() {
            break;
        }
        entries.push(entry);
    }
    Ok(entries)
}

/// Those of the given offsets that are there, in the order given.
pub(super) fn entries_at(conn: &Connection, offsets: &[Offset]) -> rusqlite::Result<Vec<Entry>> {
    let mut statement = conn.prepare_cached("SELECT offset, appended_at, hash, body FROM entries WHERE offset = ?1")?;
    let mut entries = Vec::new();
    for place in offsets {
        entries.extend(statement.query_row([sql(*place)], entry).optional()?);
    }
    Ok(entries)
}

/// A body that is not what was appended must not pass for it: it is left out, and whoever reads passes over the entry
/// as unreadable, counted.
fn entry(row: &rusqlite::Row<'_>) -> rusqlite::Result<Entry> {
    let (offset, appended_at) = (offset(row.get(0)?), Timestamp::from_micros(row.get(1)?));
    let body = bytes(row, 3)?;
    let digest = chain::digest(offset, appended_at, body);
    let is_sound = Stored::parse(bytes(row, 2)?).is_some_and(|stored| stored.sum_holds(&digest));
    Ok(Entry {
        offset,
        appended_at,
        body: Bytes::copy_from_slice(if is_sound { body } else { &[] }),
    })
}

/// The oldest offset there.
pub(super) fn oldest(conn: &Connection) -> rusqlite::Result<Option<Offset>> {
    let mut statement = conn.prepare_cached("SELECT min(offset) FROM entries")?;
    statement.query_row([], |row| Ok(row.get::<_, Option<i64>>(0)?.map(offset)))
}

/// The first offset that the trim has left, whether it is there or not.
pub(super) fn anchor(conn: &Connection) -> rusqlite::Result<Offset> {
    let mut statement = conn.prepare_cached("SELECT offset FROM anchor WHERE id = 1")?;
    statement.query_row([], |row| Ok(offset(row.get(0)?)))
}

/// How many entries there are before `head`: a hole that is not the trim's ends where the chain starts anew.
pub(super) fn count(conn: &Connection, head: Offset) -> rusqlite::Result<u64> {
    let anchor = anchor(conn)?;
    let mut holes = conn.prepare_cached(
        "SELECT offset, (SELECT max(offset) FROM entries WHERE offset < breaks.offset),
                (SELECT max(offset) FROM breaks before WHERE offset < breaks.offset) FROM breaks WHERE offset > ?1",
    )?;
    let missing = holes.query_map([sql(anchor)], |row| {
        let before = row.get::<_, Option<i64>>(1)?.map_or(anchor, |place| offset(place) + 1);
        // A hole that has a break in it was counted up to there.
        let before = before.max(row.get::<_, Option<i64>>(2)?.map_or(anchor, offset));
        Ok(offset(row.get(0)?).saturating_sub(before))
    })?;
    let missing: u64 = missing.sum::<rusqlite::Result<u64>>()?;
    Ok(head.saturating_sub(anchor).saturating_sub(missing))
}

/// The first offset in `low..high` appended at `at` or later, else `high`.
///
/// Halves the range; a middle that falls into a hole is answered by the next entry after it.
pub(super) fn offset_at(conn: &Connection, at: Timestamp, high: Offset) -> rusqlite::Result<Offset> {
    let mut probe = conn.prepare_cached(
        "SELECT offset, appended_at FROM entries WHERE offset >= ?1 AND offset < ?2 ORDER BY offset LIMIT 1",
    )?;
    let (mut low, mut high) = (oldest(conn)?.unwrap_or(high), high);
    let end = high;
    let mut found = end;
    while low < high {
        let middle = low + (high - low) / 2;
        let next = probe
            .query_row((sql(middle), sql(end)), |row| {
                Ok((offset(row.get(0)?), row.get::<_, i64>(1)?))
            })
            .optional()?;
        match next {
            Some((place, appended)) if appended < at.micros() => low = place + 1,
            Some((place, _)) => (found, high) = (place, middle),
            None => high = middle,
        }
    }
    Ok(found)
}

/// A consumer's cursor.
pub(super) fn cursor(conn: &Connection, consumer: &str) -> rusqlite::Result<Option<Offset>> {
    let mut statement = conn.prepare_cached("SELECT offset FROM cursors WHERE consumer = ?1")?;
    statement
        .query_row([consumer], |row| Ok(offset(row.get(0)?)))
        .optional()
}

/// Every cursor, by consumer.
pub(super) fn cursors(conn: &Connection) -> rusqlite::Result<Vec<Cursor>> {
    let mut statement = conn.prepare_cached("SELECT consumer, offset, saved_at FROM cursors ORDER BY consumer")?;
    let cursors = statement.query_map([], |row| {
        Ok(Cursor {
            consumer: row.get(0)?,
            offset: offset(row.get(1)?),
            saved_at: Timestamp::from_micros(row.get(2)?),
        })
    })?;
    cursors.collect()
}

/// State by key.
pub(super) fn state(conn: &Connection, key: &str) -> rusqlite::Result<Option<Vec<u8>>> {
    let mut statement = conn.prepare_cached("SELECT value FROM state WHERE key = ?1")?;
    statement.query_row([key], |row| row.get(0)).optional()
}

/// All state whose key starts with `prefix`, by key.
pub(super) fn states(conn: &Connection, prefix: &str) -> rusqlite::Result<Vec<(String, Vec<u8>)>> {
    let mut statement = conn.prepare_cached("SELECT key, value FROM state WHERE key >= ?1 ORDER BY key")?;
    let mut rows = statement.query([prefix])?;
    let mut states = Vec::new();
    while let Some(row) = rows.next()? {
        let key: String = row.get(0)?;
        if !key.starts_with(prefix) {
            break;
        }
        states.push((key, row.get(1)?));
    }
    Ok(states)
}

/// The newest entries, in memory.
#[derive(Debug, Default)]
pub(super) struct Tail {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    entries: VecDeque<Entry>,
    bytes: usize,
}

impl Tail {
    /// Adds entries that have just become durable; they follow on those there.
    pub fn extend(&self, entries: impl Iterator<Item = Entry>) {
        let mut kept = self.lock();
        for entry in entries {
            kept.bytes += entry.body.len();
            kept.entries.push_back(entry);
            while kept.entries.len() > TAIL_ENTRIES || kept.bytes > TAIL_BYTES {
                kept.drop_oldest();
            }
        }
    }

    /// Forgets entries before `oldest`: they were trimmed.
    pub fn trim(&self, oldest: Offset) {
        let mut kept = self.lock();
        while kept.entries.front().is_some_and(|entry| entry.offset < oldest) {
            kept.drop_oldest();
        }
    }

    /// Entries at `from` or later as [`entries`] gives them; `None` if the tail does not reach back so far.
    pub fn read(&self, from: Offset, count: usize, bytes: usize) -> Option<Vec<Entry>> {
        let kept = self.lock();
        let first = kept.entries.front()?.offset;
        if from < first {
            return None;
        }
        let skipped = kept.entries.partition_point(|entry| entry.offset < from);
        let mut used = 0;
        let within = |(place, entry): &(usize, &Entry)| {
            used += entry.body.len();
            used <= bytes || *place == 0
        };
        let read = kept
            .entries
            .iter()
            .skip(skipped)
            .take(count)
            .enumerate()
            .take_while(within);
        Some(read.map(|(_, entry)| entry.clone()).collect())
    }

    /// All of it, oldest first.
    pub fn all(&self) -> Vec<Entry> {
        self.lock().entries.iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn drop_oldest(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.bytes -= entry.body.len();
        }
    }
}

/// Reading connections at most, and queries at a time.
const READERS: usize = 3;
/// Bounds of the tail: what a sink that keeps up is behind by.
const TAIL_ENTRIES: usize = 2048;
const TAIL_BYTES: usize = 2 << 20;
