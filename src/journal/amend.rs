//! One commit into the journal of an instance that does not run.

use std::path::Path;

use trapline_schemas::Timestamp;

use super::look::look;
use super::sqlite::{OpenFault, Store};
use super::unkept::Unkept;
use super::{Commit, Durability, JournalError, Offset};

/// Writes `commit` into the file, durable on return; `None` if there never was a file.
///
/// A file that is not sound is left to its owner's start. Blocking, for 2 s or so, while the lock is held. Errors: as of
/// [`super::Journal::open_to_read`]; then nothing is written.
pub fn amend(path: &Path, commit: &Commit) -> Result<Option<Offset>, JournalError> {
    let Some(looked) = look(path)? else {
        return Ok(None);
    };
    let mut store = Store::open(path, Durability::Full).map_err(|fault| refused(path, fault))?;
    if !commit.append.is_empty() {
        Unkept::take_up_offline(path, &store);
    }
    let written = store.write(std::iter::once(commit), |_, _| Ok(()), Timestamp::now());
    let written = written.map_err(|fault| JournalError::from(fault.error))?;
    // Whoever starts next reads the log, should it not be carried over now.
    if let Err(error) = store.settle() {
        tracing::debug!(%error, "the journal's log stays beside it");
    }
    drop(store);
    drop(looked.lock);
    Ok(Some(written.from))
}

fn refused(path: &Path, fault: OpenFault) -> JournalError {
    match fault {
        OpenFault::Damaged(reason) => JournalError::damaged(path, &reason),
        OpenFault::Refused(error) => error,
    }
}
