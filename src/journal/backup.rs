//! A copy of the journal while it works.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::JournalError;
use super::sqlite::sync_folder;
use super::verify::{Verified, Walk};

/// Copies the journal to `target`, as of the moment of the call, and says what a walk over the copy found. A file that
/// is there is only replaced if `replace` says so.
///
/// SQLite's backup runs inside one read transaction: a write by the writer would otherwise begin it anew, and under
/// load it would never end. Meanwhile the log grows. The copy is synced under another name, then renamed.
pub(super) fn backup(conn: &Connection, target: &Path, replace: bool) -> Result<Verified, JournalError> {
    let error = |error: std::io::Error| JournalError::folder(target, &error);
    if target.is_dir() || !replace && target.try_exists().map_err(error)? {
        return Err(JournalError::folder(target, &"the file exists"));
    }
    let part = target.with_extension("part");
    let found = draft(conn, target, &part);
    if found.is_err() {
        // What could not be made whole is of no use, and what removes it may fail as well.
        let _ = std::fs::remove_file(&part);
    }
    let found = found?;
    std::fs::rename(&part, target).map_err(error)?;
    sync_folder(target).map_err(error)?;
    Ok(found)
}

/// Makes the copy whole under another name, and walks over its chain.
fn draft(conn: &Connection, target: &Path, part: &Path) -> Result<Verified, JournalError> {
    let error = |error: std::io::Error| JournalError::folder(target, &error);
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(part)
        .map_err(error)?;
    let found = copy(conn, part)?;
    File::open(part).and_then(|file| file.sync_all()).map_err(error)?;
    Ok(found)
}

fn copy(conn: &Connection, part: &Path) -> Result<Verified, JournalError> {
    let tx = conn.unchecked_transaction()?;
    tx.query_row("SELECT count(*) FROM anchor", [], |_| Ok(()))?;
    let mut copy = Connection::open(part)?;
    {
        let steps = Backup::new(conn, &mut copy)?;
        while steps.step(STEP_PAGES)? != StepResult::Done {}
    }
    tx.commit()?;
    let found = verify(&copy)?;
    copy.close().map_err(|(_, error)| error)?;
    Ok(found)
}

fn verify(conn: &Connection) -> Result<Verified, JournalError> {
    let mut walk = Walk::begin(conn)?;
    loop {
        match walk.step(conn)? {
            Ok(found) => return Ok(found),
            Err(further) => walk = further,
        }
    }
}

const STEP_PAGES: i32 = 1024;
