//! Dead letters: reading them, and how many are kept.
//!
//! At most [`DEAD_LETTERS_MAX`] of all sinks together; beyond, the oldest go, counted and told. They are read by pages,
//! in the order of the index that keeps sink and offset unique, so that no read sorts bodies.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row};
use trapline_schemas::Timestamp;

use super::sqlite::{bytes, offset, sql};
use super::{DeadLetter, DeadLetterCount, KeptLetter, Offset};

/// Dead letters kept.
pub const DEAD_LETTERS_MAX: u64 = 10_000;

/// The letters behind `after`, of one sink or of all, by sink and offset: a page of them.
pub(super) fn page(
    conn: &Connection,
    sink: Option<&str>,
    after: Option<&(String, Offset)>,
) -> rusqlite::Result<Vec<KeptLetter>> {
    let (behind, place) = after.map_or(("", 0), |(sink, place)| (sink.as_str(), *place));
    let mut statement = conn.prepare_cached(
        "SELECT sink, offset, at, reason, body FROM dead_letters
         WHERE (?1 IS NULL OR sink = ?1) AND (sink, offset) > (?2, ?3) ORDER BY sink, offset LIMIT ?4",
    )?;
    let mut rows = statement.query((sink, behind, sql(place), PAGE_LETTERS))?;
    let (mut letters, mut used) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        if !take(row, &mut letters, &mut used)? {
            break;
        }
    }
    Ok(letters)
}

/// The letters of a sink at these offsets, as many of the first as fit.
pub(super) fn at(conn: &Connection, sink: &str, offsets: &[Offset]) -> rusqlite::Result<Vec<KeptLetter>> {
    let mut statement =
        conn.prepare_cached("SELECT sink, offset, at, reason, body FROM dead_letters WHERE sink = ?1 AND offset = ?2")?;
    let (mut letters, mut used) = (Vec::new(), 0);
    for place in offsets {
        let fits = statement
            .query_row((sink, sql(*place)), |row| take(row, &mut letters, &mut used))
            .optional()?;
        if fits == Some(false) {
            break;
        }
    }
    Ok(letters)
}

/// Takes a letter unless it is too much; the first never is.
fn take(row: &Row<'_>, letters: &mut Vec<KeptLetter>, used: &mut usize) -> rusqlite::Result<bool> {
    let body = bytes(row, 4)?;
    *used += body.len();
    if *used > PAGE_BYTES && !letters.is_empty() {
        return Ok(false);
    }
    letters.push(KeptLetter {
        at: Timestamp::from_micros(row.get(2)?),
        letter: DeadLetter {
            sink: row.get(0)?,
            offset: offset(row.get(1)?),
            reason: row.get(3)?,
            body: Bytes::copy_from_slice(body),
        },
    });
    Ok(true)
}

/// How many dead letters each sink has, by sink.
pub(super) fn counts(conn: &Connection) -> rusqlite::Result<Vec<DeadLetterCount>> {
    let mut statement = conn.prepare_cached(COUNTS)?;
    let counts = statement.query_map([], |row| {
        Ok(DeadLetterCount {
            sink: row.get(0)?,
            count: offset(row.get(1)?),
            oldest: offset(row.get(2)?),
            oldest_at: Timestamp::from_micros(row.get(3)?),
        })
    })?;
    counts.collect()
}

/// The row id up to which dead letters are too many, if they are. They are counted only where row ids leave it open:
/// letters that were delivered again or dropped left holes.
pub(super) fn over(conn: &Connection) -> rusqlite::Result<Option<i64>> {
    let end = |which: &str| -> rusqlite::Result<Option<i64>> {
        conn.prepare_cached(&format!("SELECT {which}(rowid) FROM dead_letters"))?
            .query_row([], |row| row.get(0))
    };
    let (Some(oldest), Some(newest)) = (end("min")?, end("max")?) else {
        return Ok(None);
    };
    if offset(newest - oldest) < DEAD_LETTERS_MAX {
        return Ok(None);
    }
    let count: i64 = conn
        .prepare_cached("SELECT count(*) FROM dead_letters")?
        .query_row([], |row| row.get(0))?;
    let beyond = offset(count).saturating_sub(DEAD_LETTERS_MAX);
    if beyond == 0 {
        return Ok(None);
    }
    conn.prepare_cached("SELECT rowid FROM dead_letters ORDER BY rowid LIMIT 1 OFFSET ?1")?
        .query_row([sql(beyond - 1)], |row| row.get(0))
        .optional()
}

/// Counts in the index that keeps sink and offset unique; of the table itself, one row a sink.
pub(super) const COUNTS: &str = "
    WITH counted AS (SELECT sink, count(*) AS letters, min(offset) AS oldest FROM dead_letters GROUP BY sink)
    SELECT counted.sink, letters, oldest, letter.at FROM counted
    JOIN dead_letters AS letter ON letter.sink = counted.sink AND letter.offset = oldest ORDER BY counted.sink";
/// Bounds of a page.
const PAGE_LETTERS: i64 = 256;
const PAGE_BYTES: usize = 2 << 20;
