//! The way up from a file of an older trapline, and what to go back to.
//!
//! In: the file at the journal's path, and the list of [`MIGRATIONS`]. Out: a file of [`super::sqlite::SCHEMA`], and the
//! one that was there as `journal.backup-v<version>` beside it.
//!
//! 1. The schema version stands in the header and in `anchor`. They are read from the pages, with the log laid over, and
//!    without SQLite: a file of a newer trapline is refused without a byte of it or of its log changed. Where the two
//!    differ the file is damaged.
//! 2. The backup comes first, made by SQLite, synced, then renamed. One is kept: those of earlier versions go once the
//!    way up is done. One of the same version is replaced, by a whole one.
//! 3. Each migration is one transaction, which ends with the new version in both places. Killed at any moment, the file
//!    is wholly of one version, and the next start goes on from there.
//! 4. A disk without room for backup and log refuses before anything is written.
//!
//! # Going back
//! With trapline stopped, move the file away with its log and the log's index (`journal.db`, `-wal`, `-shm`), copy the
//! backup to `journal.db`, and start the older trapline. What was recorded since the way up is told as a gap, counted:
//! the index beside it knows how far the journal had come.
//!
//! # A new version
//! One more [`Migration`], the new tables in `sqlite.rs`, and a golden file of the version that was left, in
//! `tests/golden`: its test opens every one. What salvages reads rows of every version.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{Connection, Transaction};

use super::backup;
use super::settings::{Durability, JournalSettings, UpgradeStep, Upgrading};
use super::sqlite::{self, OpenFault, PAGE_BYTES, offset};
use super::{JournalError, salvage, start};

/// The first version there was.
const FIRST: i64 = 1;

/// The way up, in order. There is one version yet.
pub(super) const MIGRATIONS: &[Migration] = &[];

/// One step of the way up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Migration {
    /// The version it ends at; it begins at the one before.
    pub to: i64,
    /// Whether it writes every entry anew: the log then grows as large as the file, and the file with it.
    pub rewrites: bool,
    /// Does it. The versions are written by the caller, in the same transaction.
    pub run: Run,
}

type Run = fn(&Transaction<'_>, &mut Progress<'_>) -> rusqlite::Result<()>;

/// The version at which a way up ends.
pub(super) const fn newest(migrations: &[Migration]) -> i64 {
    match migrations {
        [.., last] => last.to,
        [] => FIRST,
    }
}

/// Brings the file up to what `migrations` end at, if it is older. A file whose version cannot be read is left to the
/// checks that follow.
///
/// Errors: [`JournalError::Newer`], [`JournalError::NotUpgraded`]; damage that only a migration met.
pub(super) fn bring_up(settings: &JournalSettings, migrations: &[Migration]) -> Result<(), OpenFault> {
    let (path, newest) = (&settings.path, newest(migrations));
    match salvage::version(path)? {
        Some(found) if found > newest => Err(newer(path, found, newest).into()),
        Some(found) if (FIRST..newest).contains(&found) => Way::of(settings, found, migrations).go(),
        _ => Ok(()),
    }
}

/// The refusal of a newer file, with the backup to go back to.
pub(super) fn newer(path: &Path, found: i64, known: i64) -> JournalError {
    let backup = (FIRST..=known)
        .rev()
        .map(|version| backup_of(path, version))
        .find(|backup| backup.is_file());
    JournalError::Newer {
        path: shown(path),
        found,
        known,
        backup: backup.as_deref().map(shown),
    }
}

/// The copy of the file at `path` as it was at `version`.
pub(super) fn backup_of(path: &Path, version: i64) -> PathBuf {
    path.with_extension(format!("backup-v{version}"))
}

/// The way from one version up.
struct Way<'a> {
    settings: &'a JournalSettings,
    /// The version that the file has.
    at: i64,
    migrations: &'a [Migration],
}

impl<'a> Way<'a> {
    fn of(settings: &'a JournalSettings, found: i64, migrations: &'a [Migration]) -> Self {
        let behind = migrations.partition_point(|migration| migration.to <= found);
        Self {
            settings,
            at: found,
            migrations: migrations.get(behind..).unwrap_or_default(),
        }
    }

    fn newest(&self) -> i64 {
        newest(self.migrations)
    }

    fn go(mut self) -> Result<(), OpenFault> {
        let path = &self.settings.path;
        sqlite::check_header(&std::fs::File::open(path)?)?;
        let mut conn = sqlite::connect_writer(path, Durability::Full)?;
        start::quick_check(&conn, start::CHECK_TIME)?;
        let (from, kept_as) = (self.at, backup_of(path, self.at));
        self.check_room(&conn)?;
        tracing::warn!(
            "journal {} has schema version {from}: kept as {}, then brought to version {}",
            path.display(),
            kept_as.display(),
            self.newest()
        );
        let mut progress = self.progress(UpgradeStep::Backup);
        backup::keep(&conn, &kept_as, &mut |done, of| progress.at(done, of))?;
        for migration in self.migrations {
            self.migrate(&mut conn, migration)?;
            self.at = migration.to;
        }
        conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        conn.close().map_err(|(_, error)| error)?;
        (FIRST..from).for_each(|version| forget(&backup_of(path, version)));
        tracing::warn!("journal {} has schema version {} now", path.display(), self.at);
        Ok(())
    }

    /// One transaction. What SQLite calls an error here is one of the migration, not damage of the file.
    fn migrate(&self, conn: &mut Connection, migration: &Migration) -> Result<(), OpenFault> {
        let refused = |error: rusqlite::Error| match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => OpenFault::from(error),
            _ => self.refusal(&error).into(),
        };
        let tx = conn.transaction().map_err(refused)?;
        let mut progress = self.progress(UpgradeStep::Migration);
        (migration.run)(&tx, &mut progress)
            .and_then(|()| tx.execute("UPDATE anchor SET schema = ?1", [migration.to]))
            .and_then(|_| tx.pragma_update(None, "user_version", migration.to))
            .and_then(|()| {
                // What follows is one sync of all that was written.
                progress.at(1, 1);
                tx.commit()
            })
            .map_err(refused)
    }

    /// Copy and log must both fit, and what a migration that writes all anew adds to the file.
    fn check_room(&self, conn: &Connection) -> Result<(), OpenFault> {
        let pages: i64 = conn.query_row("PRAGMA page_count", [], |row| row.get(0))?;
        let bytes = offset(pages).saturating_mul(PAGE_BYTES as u64);
        let copies = if self.migrations.iter().any(|migration| migration.rewrites) {
            3
        } else {
            1
        };
        let needed = bytes.saturating_mul(copies).saturating_add(SPARE_BYTES);
        let left = sqlite::room_at(&self.settings.path)?;
        if left >= needed {
            return Ok(());
        }
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        let reason = format!("backup and log need {} MiB, the disk has {}", mib(needed), mib(left));
        Err(self.refusal(&reason).into())
    }

    fn refusal(&self, reason: &dyn std::fmt::Display) -> JournalError {
        JournalError::NotUpgraded {
            path: shown(&self.settings.path),
            found: self.at,
            known: self.newest(),
            reason: reason.to_string().into(),
        }
    }

    fn progress(&self, step: UpgradeStep) -> Progress<'a> {
        Progress {
            tell: &self.settings.upgrading,
            upgrading: Upgrading {
                from: self.at,
                to: self.newest(),
                step,
                done: 0,
                of: 0,
            },
            said: Instant::now(),
        }
    }
}

/// Tells how far a step has come.
#[derive(Debug)]
pub(super) struct Progress<'a> {
    tell: &'a fn(&Upgrading),
    upgrading: Upgrading,
    said: Instant,
}

impl Progress<'_> {
    /// So much of so much is done: pages, rows, whatever the step counts. Cheap; call it every few milliseconds.
    pub fn at(&mut self, done: u64, of: u64) {
        (self.upgrading.done, self.upgrading.of) = (done, of);
        (self.tell)(&self.upgrading);
        if self.said.elapsed() >= SAY_EVERY {
            self.said = Instant::now();
            tracing::warn!("the journal is on its way up: {}", self.upgrading);
        }
    }
}

fn shown(path: &Path) -> Arc<str> {
    path.display().to_string().into()
}

/// A backup that stays is no harm but its room.
fn forget(backup: &Path) {
    if let Err(error) = sqlite::remove(backup) {
        tracing::warn!(%error, "an old backup of the journal stays: {}", backup.display());
    }
}

/// How often progress is said: a small file is done before.
const SAY_EVERY: Duration = Duration::from_secs(5);
/// Room beyond what is computed: small tables, the log's header, a file system's own.
const SPARE_BYTES: u64 = 1 << 20;
