//! The lock file: one process works on a journal.
//!
//! `journal.lock` beside the file, held by flock for the life of the process, holding the pid as text so that a second
//! instance can name the first. The lock, not the file, counts: a crash frees it, and what it left is taken over.
//! SQLite's own locks would let a second process in between two transactions.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use super::JournalError;

/// Device and inode of a file.
pub(super) type Inode = (u64, u64);

/// The held lock; dropping it frees it.
#[derive(Debug)]
pub(super) struct Lock {
    /// `None` once it is freed.
    file: Option<File>,
    path: PathBuf,
    /// Pid that a crashed holder had left.
    pub stale: Option<u32>,
    /// Whether its file was made now: no earlier run had it.
    pub made: bool,
    /// Pid to leave in the file.
    leaves: Option<u32>,
}

impl Lock {
    /// Takes the lock of the journal at `journal`.
    ///
    /// Time: at most [`PATIENCE`] if it is held: a predecessor that is just ending is waited for.
    /// Errors: [`JournalError::Held`] with the holder's pid, [`JournalError::Folder`] if the file cannot be made.
    pub fn take(journal: &Path) -> Result<Self, JournalError> {
        refuse_no_file(journal)?;
        let path = journal.with_extension("lock");
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(lock) = Self::attempt(&path)? {
                return Ok(lock);
            }
            if Instant::now() >= until {
                return Err(JournalError::Held {
                    path: journal.display().to_string().into(),
                    pid: pid_in(&path),
                });
            }
            std::thread::sleep(STEP);
        }
    }

    /// Takes the lock for a while to read: the pid that a crashed holder had left is there again afterwards, for the
    /// next owner to tell.
    pub fn borrow(journal: &Path) -> Result<Self, JournalError> {
        let mut lock = Self::take(journal)?;
        lock.leaves = lock.stale;
        Ok(lock)
    }

    /// Whether the file at the path is still the one that is held.
    pub fn is_in_place(&self) -> bool {
        self.file.as_ref().is_some_and(|file| same_file(file, &self.path))
    }

    /// The file that is held, by device and inode.
    pub fn held(&self) -> Option<Inode> {
        let held = self.file.as_ref()?.metadata().ok()?;
        Some((held.dev(), held.ino()))
    }

    fn attempt(path: &Path) -> Result<Option<Self>, JournalError> {
        let error = |error: std::io::Error| JournalError::folder(path, &error);
        let made = !path.exists();
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(error)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(errno) => return Err(error(errno.into())),
        }
        // Removed between open and flock: the lock would guard nothing.
        if !same_file(&file, path) {
            return Ok(None);
        }
        let stale = pid_in(path);
        match write_text(&mut file, &std::process::id().to_string()) {
            // The lock holds without the pid, which is for whoever comes second.
            Err(full) if full.kind() == std::io::ErrorKind::StorageFull => {}
            written => written.map_err(error)?,
        }
        let path = path.to_owned();
        Ok(Some(Self {
            file: Some(file),
            path,
            stale,
            made,
            leaves: None,
        }))
    }
}

impl Lock {
    /// Removes a lock file that was made now, for a start that came to nothing: the next one is the first again.
    pub fn unmake(self) {
        if self.made && self.is_in_place() {
            // A file that stays makes the next start tell a journal that is gone, which is no harm.
            let _ = std::fs::remove_file(&self.path);
        }
    }

    /// Frees the lock. An orderly end leaves no pid, so that only a crash looks like one; a line end stays, so that the
    /// next pid finds its place on a disk that is full by then.
    pub fn free(&mut self) {
        let Some(mut file) = self.file.take() else { return };
        let left = self.leaves.map_or_else(String::new, |pid| pid.to_string());
        let freed = write_text(&mut file, &left).and_then(|()| Ok(flock(&file, FlockOperation::Unlock)?));
        if let Err(error) = freed {
            tracing::debug!(error = %error, "the lock file could not be emptied");
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.free();
    }
}

/// Writes one line over what stands there, which needs no room.
fn write_text(file: &mut File, text: &str) -> std::io::Result<()> {
    file.seek(SeekFrom::Start(0))?;
    file.write_all(format!("{text}\n").as_bytes())?;
    file.set_len(text.len() as u64 + 1)
}

fn pid_in(path: &Path) -> Option<u32> {
    let mut text = String::new();
    File::open(path).ok()?.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Whether the lock file of the journal at `journal` is this one.
pub(super) fn is_lock_of(journal: &Path, held: Inode) -> bool {
    std::fs::metadata(journal.with_extension("lock")).is_ok_and(|there| (there.dev(), there.ino()) == held)
}

/// Whether `path` leads to the open `file`.
pub(super) fn same_file(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(held), Ok(there)) => (held.dev(), held.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

const PATIENCE: Duration = Duration::from_millis(400);
const STEP: Duration = Duration::from_millis(10);

/// A salvage would move away whatever is there, so it must be a file at least.
fn refuse_no_file(journal: &Path) -> Result<(), JournalError> {
    match journal.metadata() {
        Ok(found) if !found.is_file() => Err(JournalError::NotAFile {
            path: journal.display().to_string().into(),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lock_is_refused_with_the_pid_of_the_first_within_a_second() {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("journal.db");
        let _first = Lock::take(&journal).unwrap();
        let begun = Instant::now();
        let second = Lock::take(&journal).unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(1));
        assert!(matches!(second, JournalError::Held { pid: Some(pid), .. } if pid == std::process::id()));
        assert!(
            second.to_string().contains(&format!("pid {}", std::process::id())),
            "{second}"
        );
    }

    #[test]
    fn a_lock_file_of_a_dead_process_is_taken_over_and_an_orderly_end_leaves_no_pid() {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("journal.db");
        std::fs::write(folder.path().join("journal.lock"), "4000000\n").unwrap();
        let lock = Lock::take(&journal).unwrap();
        assert_eq!(lock.stale, Some(4_000_000));
        assert!(lock.is_in_place() && is_lock_of(&journal, lock.held().unwrap()));
        assert_eq!(pid_in(&folder.path().join("journal.lock")), Some(std::process::id()));
        drop(lock);
        assert_eq!(pid_in(&folder.path().join("journal.lock")), None);
        assert_eq!(Lock::take(&journal).unwrap().stale, None);
    }

    #[test]
    fn a_lock_that_was_borrowed_leaves_the_pid_of_the_dead_process_to_its_next_owner() {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("journal.db");
        std::fs::write(folder.path().join("journal.lock"), "4000000\n").unwrap();
        drop(Lock::borrow(&journal).unwrap());
        assert_eq!(Lock::take(&journal).unwrap().stale, Some(4_000_000));
        drop(Lock::borrow(&journal).unwrap());
        assert_eq!(Lock::take(&journal).unwrap().stale, None);
    }

    #[test]
    fn a_removed_lock_file_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("journal.db");
        let lock = Lock::take(&journal).unwrap();
        std::fs::remove_file(folder.path().join("journal.lock")).unwrap();
        assert!(!lock.is_in_place());
    }
}
