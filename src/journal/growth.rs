//! How far the log has grown since its last checkpoint, as SQLite itself counts it.
//!
//! The bodies that were written do not tell it: a lone entry rewrites two pages, a full group few more than it fills.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rusqlite::Connection;

/// Counts the frames of a connection's commits.
#[derive(Debug, Clone, Default)]
pub(super) struct Growth(Arc<AtomicU64>);

impl Growth {
    /// Counts from now on. Whatever sets `wal_autocheckpoint` on the connection later ends it.
    pub fn of(conn: &mut Connection) -> rusqlite::Result<Self> {
        let growth = Self::default();
        let (counted, mut before) = (growth.clone(), 0);
        conn.wal_hook(Some(move |_: &mut _, frames| {
            // A log that was carried over begins anew, so that it may hold less than before.
            let now = u64::try_from(frames).unwrap_or(0);
            counted.0.fetch_add(now.checked_sub(before).unwrap_or(now), Relaxed);
            before = now;
            Ok(())
        }))?;
        Ok(growth)
    }

    /// Frames since the last [`Growth::restart`].
    pub fn frames(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// The log was carried over, as far as that went.
    pub fn restart(&self) {
        self.0.store(0, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_counted_over_commits_and_over_logs_that_begin_anew() {
        let folder = tempfile::tempdir().unwrap();
        let mut conn = Connection::open(folder.path().join("any.db")).unwrap();
        conn.execute_batch("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (x)")
            .unwrap();
        let growth = Growth::of(&mut conn).unwrap();
        let insert = |conn: &Connection| conn.execute_batch("INSERT INTO t VALUES (1)").unwrap();
        insert(&conn);
        // The page of the row, after the two of the table's schema.
        assert_eq!(growth.frames(), 3);
        insert(&conn);
        assert_eq!(growth.frames(), 4);
        conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
            .unwrap();
        growth.restart();
        insert(&conn);
        assert_eq!(growth.frames(), 1);
    }
}
