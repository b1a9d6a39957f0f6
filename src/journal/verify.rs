//! The verification: a walk over the whole chain.
//!
//! In: a reading connection. Out: the first row that was altered, taken away or moved, or the proof that none was. It
//! goes in short transactions, so that hits and checkpoints go on beside it.

use rusqlite::Connection;
use trapline_schemas::Timestamp;

use super::Offset;
use super::chain::{self, GENESIS, Stored, Tip};
use super::sqlite::{bytes, offset, sql};

/// What the verification found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Entries walked over.
    pub entries: u64,
    /// The first offset walked over; the head, if there is none.
    pub first: Offset,
    /// The offset after the last sound entry.
    pub next: Offset,
    /// Chain hash of the last sound entry.
    pub hash: [u8; 32],
    /// Offsets at which it was recorded that the chain starts anew.
    pub breaks: Vec<Offset>,
    /// The first fault; the walk ends there.
    pub fault: Option<ChainFault>,
}

/// What is wrong at a place of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainFault {
    /// The row's offset, time or body is not what was written.
    Altered(Offset),
    /// The row is sound but does not follow on the one before: others were taken away before it, or it was moved.
    Unlinked(Offset),
    /// Offsets from here on were given, and their rows are gone.
    Missing(Offset),
}

/// Where a walk stands.
#[derive(Debug)]
pub(super) struct Walk {
    behind: Tip,
    found: Verified,
}

impl Walk {
    /// Begins at the anchor.
    pub fn begin(conn: &Connection) -> rusqlite::Result<Self> {
        let behind = anchor(conn)?;
        let found = Verified {
            entries: 0,
            first: behind.next,
            next: behind.next,
            hash: behind.chain,
            breaks: Vec::new(),
            fault: None,
        };
        Ok(Self { behind, found })
    }

    /// The first offset it passed, and the next.
    pub fn stands(&self) -> (Offset, Offset) {
        (self.found.first, self.found.next)
    }

    /// Walks on by [`STEP_ROWS`] rows; gives the result when the end or a fault is reached.
    pub fn step(mut self, conn: &Connection) -> rusqlite::Result<Result<Verified, Self>> {
        let tx = conn.unchecked_transaction()?;
        let walked = self.walk(&tx)?;
        let sound = self.found.fault.is_none();
        if sound && walked == STEP_ROWS {
            return Ok(Err(self));
        }
        if sound {
            self.found.fault = self.missing_tail(&tx)?;
        }
        if self.found.fault.is_some() && anchor(&tx)?.next > self.behind.next {
            // The trim overtook the walk: what is left begins at its anchor.
            tx.commit()?;
            return Ok(Err(Self::begin(conn)?));
        }
        Ok(Ok(self.found))
    }

    fn walk(&mut self, tx: &Connection) -> rusqlite::Result<i64> {
        let mut next = tx.prepare_cached(
            "SELECT e.offset, appended_at, hash, body, b.offset FROM entries e LEFT JOIN breaks b ON b.offset = e.offset
             WHERE e.offset >= ?1 ORDER BY e.offset LIMIT ?2",
        )?;
        let mut rows = next.query((sql(self.behind.next), STEP_ROWS))?;
        let mut walked = 0;
        while let Some(row) = rows.next()? {
            let (place, at) = (offset(row.get(0)?), Timestamp::from_micros(row.get(1).unwrap_or(0)));
            let digest = chain::digest(place, at, bytes(row, 3)?);
            let stored = Stored::parse(bytes(row, 2)?).filter(|stored| stored.sum_holds(&digest));
            let begins_anew = row.get::<_, Option<i64>>(4)?.is_some();
            let Some(stored) = stored else {
                self.found.fault = Some(ChainFault::Altered(place));
                break;
            };
            if begins_anew {
                self.found.breaks.push(place);
            } else if !stored.follows(&self.behind.chain, &digest) {
                self.found.fault = Some(ChainFault::Unlinked(place));
                break;
            }
            self.pass(place, stored);
            walked += 1;
        }
        Ok(walked)
    }

    fn pass(&mut self, place: Offset, stored: Stored) {
        if self.found.entries == 0 {
            self.found.first = place;
        }
        self.behind = Tip {
            next: place + 1,
            chain: stored.chain,
        };
        self.found.entries += 1;
        (self.found.next, self.found.hash) = (self.behind.next, self.behind.chain);
    }

    /// Rows taken from the end leave a chain that holds: only the offsets that were given tell.
    fn missing_tail(&self, tx: &Connection) -> rusqlite::Result<Option<ChainFault>> {
        let given: i64 = tx.query_row("SELECT seq FROM sqlite_sequence WHERE name = 'entries'", [], |row| {
            row.get(0)
        })?;
        let is_missing = is_tail_missing(tx, self.behind.next, offset(given) + 1)?;
        Ok(is_missing.then_some(ChainFault::Missing(self.behind.next)))
    }
}

/// Whether offsets from `next` on were given, up to before `head`, and no break says that they are gone.
pub(super) fn is_tail_missing(conn: &Connection, next: Offset, head: Offset) -> rusqlite::Result<bool> {
    let told = conn
        .prepare_cached("SELECT 1 FROM breaks WHERE offset >= ?1 AND offset <= ?2")?
        .exists((sql(next), sql(head)))?;
    Ok(next < head && !told)
}

fn anchor(conn: &Connection) -> rusqlite::Result<Tip> {
    conn.query_row("SELECT offset, hash FROM anchor WHERE id = 1", [], |row| {
        let chain = row.get::<_, Vec<u8>>(1)?.try_into().unwrap_or(GENESIS);
        Ok(Tip {
            next: offset(row.get(0)?),
            chain,
        })
    })
}

/// Rows of one transaction.
const STEP_ROWS: i64 = 2000;
