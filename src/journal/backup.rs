//! A copy of the journal while it works.

use std::fs::{File, Metadata, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::JournalError;
use super::sqlite::sync_folder;
use super::verify::{Verified, Walk};

/// Is told how many pages of how many are copied.
pub(super) type Copied<'a> = dyn FnMut(u64, u64) + 'a;

/// Copies the journal to `target`, as of the moment of the call, and says what a walk over the copy found. A file that
/// is there is only replaced if `replace` says so.
///
/// SQLite's backup runs inside one read transaction: a write by the writer would otherwise begin it anew, and under
/// load it would never end. Meanwhile the log grows. The copy is synced under another name, then renamed.
pub(super) fn backup(conn: &Connection, target: &Path, replace: bool) -> Result<Verified, JournalError> {
    refuse(conn, target, replace)?;
    whole(target, |part| {
        let copy = copy(conn, part, &mut |_, _| {})?;
        let found = verify(&copy)?;
        close(copy)?;
        Ok(found)
    })
}

/// Looks whether a copy may stand at `target`.
fn refuse(conn: &Connection, target: &Path, replace: bool) -> Result<(), JournalError> {
    let there = match std::fs::metadata(target) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        there => there.map_err(|error| JournalError::backup(target, &hint(&error)))?,
    };
    let id = |file: &Metadata| (file.dev(), file.ino());
    let is_ours = |own: &PathBuf| std::fs::metadata(own).is_ok_and(|own| id(&own) == id(&there));
    let why = if own_files(conn).iter().any(is_ours) {
        "this is the journal itself: name another file"
    } else if there.is_dir() {
        "this is a folder: name a file in it"
    } else if !replace {
        "the file exists: name another, or replace it with `--force`"
    } else {
        return Ok(());
    };
    Err(JournalError::backup(target, &why))
}

/// The file behind `conn` and those that SQLite keeps beside it.
fn own_files(conn: &Connection) -> Vec<PathBuf> {
    let path = conn.path().unwrap_or_default();
    ["", "-wal", "-shm"]
        .iter()
        .map(|suffix| format!("{path}{suffix}").into())
        .collect()
}

/// Copies a journal of any version to `target`, which it replaces; nothing is read but pages.
pub(super) fn keep(conn: &Connection, target: &Path, copied: &mut Copied<'_>) -> Result<(), JournalError> {
    whole(target, |part| close(copy(conn, part, copied)?))
}

/// Has a file made under another name, syncs it, then renames it.
fn whole<T>(target: &Path, make: impl FnOnce(&Path) -> Result<T, JournalError>) -> Result<T, JournalError> {
    let error = |error: std::io::Error| JournalError::backup(target, &hint(&error));
    let part = target.with_extension("part");
    let drafted = make_empty(&part).map_err(error).and_then(|()| {
        let made = make(&part)?;
        File::open(&part).and_then(|file| file.sync_all()).map_err(error)?;
        Ok(made)
    });
    if drafted.is_err() {
        // What could not be made whole is of no use, and what removes it may fail as well.
        let _ = std::fs::remove_file(&part);
    }
    let made = drafted?;
    std::fs::rename(&part, target).map_err(error)?;
    sync_folder(target).map_err(error)?;
    Ok(made)
}

/// What the system said, and what to do where the service may not write.
fn hint(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ReadOnlyFilesystem | std::io::ErrorKind::PermissionDenied => format!(
            "{error}: a service may write below its state folder alone; name a path there, or add the folder to its `ReadWritePaths=`"
        ),
        _ => error.to_string(),
    }
}

/// SQLite would make it with the process's own mode.
fn make_empty(part: &Path) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(part).map(|_| ())
}

fn copy(conn: &Connection, part: &Path, copied: &mut Copied<'_>) -> Result<Connection, JournalError> {
    let tx = conn.unchecked_transaction()?;
    tx.query_row("SELECT count(*) FROM anchor", [], |_| Ok(()))?;
    let mut copy = Connection::open(part)?;
    {
        let steps = Backup::new(conn, &mut copy)?;
        while steps.step(STEP_PAGES)? != StepResult::Done {
            let (pages, left) = (steps.progress().pagecount, steps.progress().remaining);
            copied(count(pages - left), count(pages));
        }
    }
    tx.commit()?;
    Ok(copy)
}

fn count(pages: i32) -> u64 {
    u64::try_from(pages).unwrap_or(0)
}

fn close(copy: Connection) -> Result<(), JournalError> {
    Ok(copy.close().map_err(|(_, error)| error)?)
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
