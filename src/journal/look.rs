//! A look at the journal of an instance that does not run.
//!
//! In: the file's path. Out: where it ends, if it is sound. Nothing is changed: no salvage, no checkpoint, no file made.
//! What is damaged is left to the owner's start, which keeps it, salvages it, and tells it once with the numbers.

use std::fs::File;
use std::path::Path;

use rusqlite::Connection;

use super::JournalError;
use super::chain::Tip;
use super::index::{self, Seen};
use super::lock::Lock;
use super::sqlite::{Ends, OpenFault};
use super::{read, salvage, sqlite, start};

/// A sound file, and the lock for as long as it is read.
#[derive(Debug)]
pub(super) struct Looked {
    pub lock: Lock,
    pub tip: Tip,
    /// A kill left the log beside the file.
    pub has_log: bool,
}

/// Takes the lock and looks; `None` if there never was a file.
pub(super) fn look(path: &Path) -> Result<Option<Looked>, JournalError> {
    sqlite::check_library()?;
    let (index, lock) = (index::beside(path), path.with_extension("lock"));
    let traces = [path, &salvage::log_of(path), &salvage::fresh_of(path), &index, &lock];
    if !traces.iter().any(|file| file.exists()) {
        return Ok(None);
    }
    let lock = Lock::borrow(path)?;
    let has_log = salvage::log_of(path).metadata().is_ok_and(|log| log.len() > 0);
    let whole = tip(path, has_log).and_then(|tip| not_cut_short(tip, &index));
    match whole {
        Ok(tip) => Ok(Some(Looked { lock, tip, has_log })),
        Err(OpenFault::Refused(error)) => Err(error),
        Err(OpenFault::Damaged(reason)) => Err(JournalError::damaged(path, &reason)),
    }
}

/// Where the file ends. What the owner's start would salvage is damage here.
fn tip(path: &Path, has_log: bool) -> Result<Tip, OpenFault> {
    if !path.try_exists()? {
        return Err(OpenFault::Damaged(
            "the file is gone, what stood beside it is there".into(),
        ));
    }
    if salvage::broken_log(path).is_some() {
        return Err(OpenFault::Damaged(salvage::BROKEN_LOG.into()));
    }
    // Before SQLite opens it: beside a file without a byte it would remove the log.
    sqlite::check_header(&File::open(path)?)?;
    let conn = read::connect(path, has_log)?;
    let ends = Ends::read(&conn, path)?;
    if is_being_salvaged(&conn)? {
        return Err(OpenFault::Damaged("a salvage of it was not finished".into()));
    }
    start::quick_check(&conn, start::CHECK_TIME)?;
    Ok(ends.tip)
}

fn not_cut_short(tip: Tip, index: &Path) -> Result<Tip, OpenFault> {
    match index::seen(index) {
        Seen::Until { next, .. } if next > tip.next => Err(OpenFault::Damaged(format!(
            "it ends before {}, its index had seen entries to before {next}",
            tip.next
        ))),
        _ => Ok(tip),
    }
}

fn is_being_salvaged(conn: &Connection) -> rusqlite::Result<bool> {
    conn.prepare("SELECT 1 FROM salvage")?.exists([])
}
