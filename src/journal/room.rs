//! Room for the log: zeros behind its last frame, so that a commit writes over blocks that are there.
//!
//! A log that grows makes the file system write where the new blocks are with every sync, which doubles what a lone
//! entry costs. What stands behind the last frame is no frame to SQLite, as its salt is not that of the log's header
//! (SQLite file format, section 4.1); it is written over as the log grows. The log keeps its size from one checkpoint
//! to the next.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use super::salvage::log_of;
use super::sqlite::{CHECKPOINT_BYTES, room_at};

/// How far the log is filled up: to where a busy writer checkpoints, and the group behind which it does.
pub(super) const ROOM_BYTES: u64 = CHECKPOINT_BYTES + (1 << 20);
/// The disk must have so many times the room left.
const SPARE: u64 = 64;

/// Fills the log up. Without it all works as well, so a disk that is short or refuses is left alone.
pub(super) fn make(journal: &Path) {
    let log = log_of(journal);
    match has_spare(&log).and_then(|spare| if spare { fill(&log) } else { Ok(()) }) {
        Ok(()) => {}
        Err(error) => tracing::debug!(%error, "the journal's log has no room made, it grows as it is written"),
    }
}

fn has_spare(log: &Path) -> io::Result<bool> {
    Ok(room_at(log)? >= SPARE * ROOM_BYTES)
}

fn fill(log: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(log)?;
    let missing = ROOM_BYTES.saturating_sub(file.seek(SeekFrom::End(0))?);
    if missing == 0 {
        return Ok(());
    }
    zeros(&mut file, missing)?;
    file.sync_all()
}

fn zeros(file: &mut File, mut missing: u64) -> io::Result<()> {
    let block = [0; 64 << 10];
    while missing > 0 {
        let part = block.len().min(usize::try_from(missing).unwrap_or(block.len()));
        file.write_all(block.get(..part).unwrap_or_default())?;
        missing -= part as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_filled_up_behind_what_it_holds_and_once() {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("journal.db");
        let log = log_of(&journal);
        make(&journal);
        assert!(!log.exists(), "it makes no log where there is none");
        std::fs::write(&log, b"frames").unwrap();
        for _ in 0..2 {
            make(&journal);
            let bytes = std::fs::read(&log).unwrap();
            assert_eq!(bytes.len() as u64, ROOM_BYTES);
            assert!(bytes.starts_with(b"frames") && bytes[6..].iter().all(|byte| *byte == 0));
        }
    }
}
