//! A copy of the journal while it works.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::JournalError;
use super::sqlite::sync_folder;

/// Copies the journal to `target`, which must not exist, as of the moment of the call.
///
/// SQLite's backup runs inside one read transaction: a write by the writer would otherwise begin it anew, and under
/// load it would never end. Meanwhile the log grows. The copy is synced under another name, then renamed.
pub(super) fn backup(conn: &Connection, target: &Path) -> Result<(), JournalError> {
    let error = |error: std::io::Error| JournalError::folder(target, &error);
    if target.try_exists().map_err(error)? {
        return Err(JournalError::folder(target, &"the file exists"));
    }
    let part = target.with_extension("part");
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&part)
        .map_err(error)?;
    copy(conn, &part)?;
    File::open(&part).and_then(|file| file.sync_all()).map_err(error)?;
    std::fs::rename(&part, target).map_err(error)?;
    sync_folder(target).map_err(error)
}

fn copy(conn: &Connection, part: &Path) -> Result<(), JournalError> {
    let tx = conn.unchecked_transaction()?;
    tx.query_row("SELECT count(*) FROM anchor", [], |_| Ok(()))?;
    let mut copy = Connection::open(part)?;
    {
        let steps = Backup::new(conn, &mut copy)?;
        while steps.step(STEP_PAGES)? != StepResult::Done {}
    }
    copy.close().map_err(|(_, error)| error)?;
    Ok(tx.commit()?)
}

const STEP_PAGES: i32 = 1024;
