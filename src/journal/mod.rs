//! The journal: the only truth.
//!
//! In: bodies to append, consumers' cursors, opaque state, dead letters. Out: entries by offset, once they are durable.
//! One primitive, [`Journal::commit`]: all of a [`Commit`] or nothing of it, durable on return. It knows nothing of
//! what an event means: bodies are bytes, and the few entries of its own making (gap, break) get theirs from a closure.
//!
//! # Layout
//! `journal.db`, one SQLite file in WAL mode, owned by the one process that holds `journal.lock` (flock):
//!
//! | table | row |
//! |---|---|
//! | `entries` | `offset` (AUTOINCREMENT rowid), `appended_at` (µs, never goes back), `hash`, `body`; **no secondary index** |
//! | `cursors` | a consumer's next offset to read |
//! | `state` | opaque bytes by key |
//! | `dead_letters` | entries that a sink refused for good, with reason and body |
//! | `anchor` | one row: offset and chain hash just before the oldest entry |
//! | `breaks` | offsets at which the chain starts anew, after a salvage or behind what was taken away |
//! | `losses` | what a consumer misses and no gap event has told yet, and what it reported that its cursor has not passed |
//! | `salvage` | one row while entries of a damaged file are being carried over |
//!
//! `journal.unkept` beside it is one line for the next run to tell, in case this one ends while the disk fails.
//!
//! `hash` is 32 bytes of chain and 8 bytes of row sum (`chain.rs`): the chain says that no row was altered, removed or
//! moved; the sum lets a salvage trust a row whose neighbours are gone.
//!
//! # Invariants
//! 1. What `commit` acknowledged survives a kill at any instruction, and with [`Durability::Full`] power loss.
//! 2. Offsets only grow; none is ever given twice, also if the file is gone: its index knows how far it was. Holes are
//!    where entries were trimmed or lost, or where a salvage skipped ahead, which is noted ([`Skipped`]).
//! 3. One thread owns the only writing connection and every checkpoint; readers hold short transactions.
//! 4. Age never takes what an enabled consumer has not read; bytes may, and then a gap entry says how much, in the
//!    commit in which the consumer reports it or, for a loss that goes on, within a minute. A full disk takes only what
//!    all of them have read, and a gap entry says how much.
//! 5. A failed sync is final: the file is opened anew and what was not confirmed is appended again from memory.
//! 6. Nothing is dropped silently: what memory could not hold is counted, dated and appended as a gap entry, by the next
//!    run if this one ends while the disk fails.
//! 7. A file of an older trapline is brought up once, behind a backup; one of a newer is refused (`upgrade.rs`).
//! 8. A damaged file never stops the start and is never overwritten: it is kept beside the new one. Who only reads
//!    ([`Journal::open_to_read`]) changes nothing, so that the owner's start finds and tells the damage.
//!
//! # What it does not do
//! It does not decode bodies, does not search in them ([`index`] is a derived file that may vanish at any time) and
//! does not tell anybody but its caller: health is a [`tokio::sync::watch`], facts are entries.

mod amend;
mod backup;
mod chain;
mod figures;
mod growth;
mod handle;
mod holders;
pub mod index;
mod letters;
mod lock;
mod look;
mod queue;
mod read;
mod room;
mod salvage;
mod settings;
mod skipped;
mod sqlite;
mod start;
#[cfg(test)]
pub(crate) mod tests;
mod trim;
mod unkept;
mod untold;
mod upgrade;
mod verify;
mod writer;

use std::sync::Arc;

use bytes::Bytes;
use trapline_schemas::Timestamp;

pub use amend::amend;
pub use figures::Figures;
pub use handle::{Hold, Journal};
pub use letters::DEAD_LETTERS_MAX;
pub use settings::{
    CutShort, Durability, Fact, FactBody, Health, HealthLevel, JournalReport, JournalSettings, Missing, Salvaged, Told,
    UpgradeStep, Upgrading,
};
pub use skipped::Skipped;
pub use verify::{ChainFault, Verified};

/// Position of an entry: 1, 2, 3, … without end; holes only where entries were trimmed or lost.
pub type Offset = u64;

/// What becomes durable together. Make it with `..Commit::default()`: more parts may come.
#[derive(Debug, Default, Clone)]
pub struct Commit {
    /// Bodies to append, in order.
    pub append: Vec<Bytes>,
    /// Consumers' next offsets to read.
    pub cursors: Vec<(String, Offset)>,
    /// State by key; `None` removes.
    pub state: Vec<(String, Option<Vec<u8>>)>,
    /// Dead letters to add; one that is there already (same sink and offset) is replaced.
    pub dead_letters: Vec<DeadLetter>,
    /// Dead letters to remove, by sink and offset: delivered again, or dropped by a person.
    pub dead_letters_gone: Vec<(String, Offset)>,
    /// Consumers whose cursor is forgotten.
    pub cursors_gone: Vec<String>,
    /// What consumers found gone before they had read it; each entry is counted once, however often it is reported.
    pub losses: Vec<Loss>,
}

impl Commit {
    /// Both, all or nothing.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.append.extend(other.append);
        self.cursors.extend(other.cursors);
        self.state.extend(other.state);
        self.dead_letters.extend(other.dead_letters);
        self.dead_letters_gone.extend(other.dead_letters_gone);
        self.cursors_gone.extend(other.cursors_gone);
        self.losses.extend(other.losses);
        self
    }
}

/// Why a consumer misses entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The trim took them.
    Trimmed,
    /// They are not in the file. The journal knows how far its trim came, and tells those before as trimmed.
    Gone,
    /// They are there, and their bodies are no bodies.
    Unreadable,
}

/// Entries that a consumer will never read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// Who misses them.
    pub consumer: String,
    /// First offset.
    pub first: Offset,
    /// Last offset, not before the first.
    pub last: Offset,
    /// Why, as far as the consumer can tell.
    pub cause: Cause,
}

impl Loss {
    fn count(&self) -> u64 {
        (self.last + 1).saturating_sub(self.first)
    }
}

/// An entry that a sink refused for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The sink.
    pub sink: String,
    /// The entry it refused.
    pub offset: Offset,
    /// Its words, bounded and clean.
    pub reason: String,
    /// The body, so that it outlives the trim.
    pub body: Bytes,
}

/// A dead letter as it stands in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptLetter {
    /// When it was refused last.
    pub at: Timestamp,
    /// What was refused.
    pub letter: DeadLetter,
}

/// How many dead letters a sink has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterCount {
    /// The sink.
    pub sink: String,
    /// How many are kept.
    pub count: u64,
    /// The oldest entry among them.
    pub oldest: Offset,
    /// When that one was refused.
    pub oldest_at: Timestamp,
}

/// One entry as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its position.
    pub offset: Offset,
    /// When it was appended; never goes back.
    pub appended_at: Timestamp,
    /// What was appended; empty if the file has something else there by now.
    pub body: Bytes,
}

/// A consumer's place in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// Who reads.
    pub consumer: String,
    /// The next offset it reads.
    pub offset: Offset,
    /// When it was saved last.
    pub saved_at: Timestamp,
}

/// Why the journal could not do it.
#[derive(Debug, thiserror::Error, Clone)]
pub enum JournalError {
    /// The writer has stopped.
    #[error("the journal is closed")]
    Closed,
    /// SQLite or the disk failed.
    #[error("journal storage failed: {0}")]
    Storage(Arc<str>),
    /// Memory ran out of room while the disk failed: nothing of this commit was or will be written.
    #[error("journal storage has failed for so long that this commit was dropped")]
    Shed,
    /// A commit beyond any use: a bug of the caller.
    #[error("commit of {bytes} bytes is larger than {max}")]
    TooLarge {
        /// Its bytes.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// The file's content is damaged: whoever opens it as its owner salvages it.
    #[error("journal `{path}` is damaged: {reason}")]
    Damaged {
        /// The journal's file.
        path: Arc<str>,
        /// What is wrong with it.
        reason: Arc<str>,
    },
    /// Another process works on this journal: the caller's exit code is 3.
    #[error("journal `{path}` is held by another instance, pid {}", pid.map_or_else(|| "unknown".to_owned(), |pid| pid.to_string()))]
    Held {
        /// The journal's file.
        path: Arc<str>,
        /// Process id of the holder, if its lock file names one.
        pid: Option<u32>,
    },
    /// A newer trapline wrote the file; it is left as it is.
    #[error(
        "journal `{path}` has schema version {found}, of a newer trapline; this one knows {known} and left it as it is"
    )]
    Newer {
        /// The journal's file.
        path: Arc<str>,
        /// Version in the file.
        found: i64,
        /// Newest version this build knows.
        known: i64,
        /// The newest copy of it that this build can open, made when it was brought up.
        backup: Option<Arc<str>>,
    },
    /// An older trapline wrote the file, and who only reads does not bring it up.
    #[error("journal `{path}` has schema version {found}, of an older trapline; this one reads {known}")]
    Older {
        /// The journal's file.
        path: Arc<str>,
        /// Version in the file.
        found: i64,
        /// The version this build reads.
        known: i64,
    },
    /// An older file could not be brought up; what was not yet migrated is as it was.
    #[error("journal `{path}` stays at schema version {found}, it could not be brought to {known}: {reason}")]
    NotUpgraded {
        /// The journal's file.
        path: Arc<str>,
        /// Version in the file.
        found: i64,
        /// The version it was to have.
        known: i64,
        /// What was in the way.
        reason: Arc<str>,
    },
    /// A sound SQLite file of some other program; it is left as it is.
    #[error("`{path}` is an SQLite file of another program (application id {found:#010x})")]
    Foreign {
        /// The file.
        path: Arc<str>,
        /// Its application id.
        found: i32,
    },
    /// A folder or a device stands where the file should be; it is left as it is.
    #[error("`{path}` is not a file: `journal.path` names the journal's file itself")]
    NotAFile {
        /// What stands there.
        path: Arc<str>,
    },
    /// The linked SQLite may corrupt a WAL file.
    #[error("SQLite {found} is linked, 3.51.3 or later is needed: earlier ones can corrupt a WAL file")]
    SqliteTooOld {
        /// Version linked.
        found: Arc<str>,
    },
    /// The state folder or its lock file cannot be made or written.
    #[error("state folder `{path}`: {error}")]
    Folder {
        /// The folder or file.
        path: Arc<str>,
        /// What the system said.
        error: Arc<str>,
    },
    /// A copy cannot be made where it is wanted.
    #[error("backup `{path}`: {error}")]
    Backup {
        /// Where the copy was to stand.
        path: Arc<str>,
        /// What is in the way, and what to do about it.
        error: Arc<str>,
    },
}

impl JournalError {
    fn folder(path: &std::path::Path, error: &dyn std::fmt::Display) -> Self {
        Self::Folder {
            path: path.display().to_string().into(),
            error: error.to_string().into(),
        }
    }

    fn backup(path: &std::path::Path, error: &dyn std::fmt::Display) -> Self {
        Self::Backup {
            path: path.display().to_string().into(),
            error: error.to_string().into(),
        }
    }

    fn damaged(path: &std::path::Path, reason: &dyn std::fmt::Display) -> Self {
        Self::Damaged {
            path: path.display().to_string().into(),
            reason: reason.to_string().into(),
        }
    }
}

impl From<rusqlite::Error> for JournalError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Storage(error.to_string().into())
    }
}
