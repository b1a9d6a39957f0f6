//! The file: opening it, its schema, and writing groups into it.
//!
//! Tuning, and why:
//! - `journal_mode = WAL`, `synchronous = FULL` (one sync a group) or `NORMAL` (none until a checkpoint).
//! - `page_size = 8192`: a log frame carries six entries of a usual size, and a lone one rewrites two pages.
//! - `mmap_size = 0`: mapped pages would count as ours; appends touch one leaf, reads are sequential.
//! - `cache_size` 1 MiB: enough for the rightmost branch and the small tables.
//! - `wal_autocheckpoint = 0`: the writer checkpoints after [`CHECKPOINT_BYTES`] or when idle, so that no commit pays
//!   for it twice and no other connection ever does.
//! - `auto_vacuum = NONE`: pages freed by the trim are used again by the next appends. The file keeps its greatest size,
//!   which the byte bound limits; a page map would cost every hit a page write. `journal backup` writes a compact file.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, ffi};
use trapline_schemas::Timestamp;

use super::chain::{self, Stored, Tip};
use super::growth::Growth;
use super::lock::same_file;
use super::room;
use super::settings::{CutShort, Fact};
use super::skipped::{self, Skipped};
use super::untold;
use super::upgrade::{self, MIGRATIONS};
use super::verify::is_tail_missing;
use super::{Commit, DeadLetter, Durability, Entry, JournalError, Offset};

/// Schema version of the files that this build writes.
pub(super) const SCHEMA: i64 = upgrade::newest(MIGRATIONS);
/// Bytes of a page in every file that this build makes.
pub(super) const PAGE_BYTES: usize = 8192;
/// "trap".
pub(super) const APPLICATION: i32 = 0x7472_6170;

/// Consumers' next offsets to read.
pub(super) type Cursors = BTreeMap<String, Offset>;

/// The open file and what the writer must know of it without asking.
#[derive(Debug)]
pub(super) struct Store {
    pub conn: Connection,
    /// Next offset and the chain before it.
    pub tip: Tip,
    /// The oldest entry's offset, and the chain before it.
    pub anchor: Tip,
    last_at: Timestamp,
    growth: Growth,
    file: File,
    path: PathBuf,
}

/// Why a file was not opened.
#[derive(Debug)]
pub(super) enum OpenFault {
    /// Its content is damaged: to be salvaged.
    Damaged(String),
    /// It must be left as it is, or the disk refuses.
    Refused(JournalError),
}

impl From<JournalError> for OpenFault {
    fn from(error: JournalError) -> Self {
        Self::Refused(error)
    }
}

impl From<rusqlite::Error> for OpenFault {
    fn from(error: rusqlite::Error) -> Self {
        if is_damage(&error) {
            Self::Damaged(error.to_string())
        } else {
            Self::Refused(error.into())
        }
    }
}

impl From<std::io::Error> for OpenFault {
    fn from(error: std::io::Error) -> Self {
        Self::Refused(JournalError::Storage(error.to_string().into()))
    }
}

/// Whether the file's content is at fault, not the disk or its room.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    match error {
        // SQLITE_ERROR is what our own statements can only get from a schema or a header that is not ours.
        rusqlite::Error::SqliteFailure(failure, _) => {
            matches!(failure.code, DatabaseCorrupt | NotADatabase) || failure.extended_code == ffi::SQLITE_ERROR
        }
        // Our own statements on our own schema: a wrong type or a missing table is damage.
        rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::QueryReturnedNoRows
        | rusqlite::Error::SqlInputError { .. } => true,
        _ => false,
    }
}

/// Whether the disk has no room.
pub(super) fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
}

/// Whether another connection is in the way.
pub(super) fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy)
}

/// Refuses an SQLite that may corrupt a WAL file (fixed in 3.51.3).
pub(super) fn check_library() -> Result<(), JournalError> {
    if rusqlite::version_number() >= 3_051_003 {
        return Ok(());
    }
    Err(JournalError::SqliteTooOld {
        found: rusqlite::version().into(),
    })
}

/// A writing connection, tuned. The file must exist.
pub(super) fn connect_writer(path: &Path, durability: Durability) -> rusqlite::Result<Connection> {
    let synchronous = match durability {
        Durability::Full => "FULL",
        Durability::Normal => "NORMAL",
    };
    let conn = connect(
        path,
        false,
        &format!(
            "PRAGMA synchronous = {synchronous}; PRAGMA cache_size = -1024; PRAGMA mmap_size = 0;
             PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 67108864; PRAGMA cell_size_check = ON;
             PRAGMA trusted_schema = OFF; PRAGMA temp_store = MEMORY;"
        ),
    )?;
    conn.set_prepared_statement_cache_capacity(32);
    Ok(conn)
}

/// A connection with these settings that has looked into the file. With `keeps_log` its close never checkpoints.
///
/// SQLite keeps the index of the log in a file of its own, 32 KiB that a full disk does not have. The index is then kept
/// in memory, where all connections of this process find it: nobody else works on a journal whose lock we hold.
pub(super) fn connect(path: &Path, keeps_log: bool, settings: &str) -> rusqlite::Result<Connection> {
    match connect_by(c"unix", path, keeps_log, settings) {
        Err(error) if lacks_log_index(&error) => {
            tracing::debug!(%error, "the index of the journal's log is kept in memory");
            connect_by(c"unix-excl", path, keeps_log, settings)
        }
        connected => connected,
    }
}

/// Whether SQLite could not make or lengthen the file of the log's index.
fn lacks_log_index(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error().map(|error| error.extended_code);
    matches!(
        code,
        Some(ffi::SQLITE_IOERR_SHMSIZE | ffi::SQLITE_IOERR_SHMOPEN | ffi::SQLITE_IOERR_SHMMAP | ffi::SQLITE_CANTOPEN)
    )
}

fn connect_by(vfs: &CStr, path: &Path, keeps_log: bool, settings: &str) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags_and_vfs(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        vfs,
    )?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keeps_log)?;
    conn.busy_timeout(std::time::Duration::from_secs(1))?;
    conn.execute_batch(settings)?;
    // The first look into the file, which opens the log.
    conn.query_row("PRAGMA schema_version", [], |_| Ok(()))?;
    Ok(conn)
}

/// Makes a new file: whole under another name first, so that a file of this name is never half made.
pub(super) fn create(path: &Path, anchor: Tip) -> Result<(), OpenFault> {
    let fresh = path.with_extension("new");
    for leftover in ["new", "new-wal", "new-shm"] {
        remove(&path.with_extension(leftover))?;
    }
    // SQLite gives its side files the mode of the main one.
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&fresh)?;
    let conn = Connection::open(&fresh)?;
    conn.execute_batch(&format!(
        "PRAGMA page_size = {PAGE_BYTES}; PRAGMA auto_vacuum = NONE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         BEGIN; {TABLES}; PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {SCHEMA}; COMMIT;"
    ))?;
    conn.execute(
        "INSERT INTO anchor (id, schema, offset, hash) VALUES (1, ?1, ?2, ?3)",
        (SCHEMA, sql(anchor.next), &anchor.chain[..]),
    )?;
    conn.execute(
        "INSERT INTO sqlite_sequence (name, seq) VALUES ('entries', ?1)",
        [sql(anchor.next) - 1],
    )?;
    conn.close().map_err(|(_, error)| error)?;
    std::fs::rename(&fresh, path)?;
    sync_folder(path)?;
    Ok(())
}

/// Removes a file if it is there.
pub(super) fn remove(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Bytes that the disk of the file at `path` has left for us.
pub(super) fn room_at(path: &Path) -> std::io::Result<u64> {
    let disk = rustix::fs::statvfs(path)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Makes a rename in the folder of `path` durable.
pub(super) fn sync_folder(path: &Path) -> std::io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

impl Store {
    /// Opens an existing file. Time: constant, but for the log of the last run, [`CHECKPOINT_BYTES`] or so.
    pub fn open(path: &Path, durability: Durability) -> Result<Self, OpenFault> {
        let file = File::open(path)?;
        check_header(&file)?;
        let mut conn = connect_writer(path, durability)?;
        let Ends { anchor, tip, last_at } = Ends::read(&conn, path)?;
        room::make(path);
        let growth = Growth::of(&mut conn)?;
        let path = path.to_owned();
        Ok(Self {
            conn,
            tip,
            anchor,
            last_at,
            growth,
            file,
            path,
        })
    }

    /// Writes a group in one transaction; gives the offset of each commit's first entry, or the head.
    ///
    /// On an error nothing of it is visible on this connection, and `attempted` is the tip it would have had.
    pub fn write<'c>(
        &mut self,
        group: impl Iterator<Item = &'c Commit> + Clone,
        extra: impl FnOnce(&Transaction<'_>, &mut Draft) -> rusqlite::Result<()>,
        now: Timestamp,
    ) -> Result<Written, WriteFault> {
        let mut draft = Draft {
            tip: self.tip,
            anchor: self.anchor,
            at: self.last_at.max(now),
        };
        let mut firsts = Vec::new();
        let written = (|| {
            let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for commit in group.clone() {
                firsts.push(draft.tip.next);
                draft.append(&tx, &commit.append)?;
            }
            for commit in group.clone() {
                save_small(&tx, commit, draft.at)?;
            }
            extra(&tx, &mut draft)?;
            tx.commit()
        })();
        if let Err(error) = written {
            return Err(WriteFault {
                error,
                attempted: draft.tip,
            });
        }
        let from = self.tip.next;
        self.keep(&draft);
        Ok(Written {
            firsts,
            from,
            at: draft.at,
        })
    }

    /// Writes entries again at their own offsets, behind the tip, and goes on at offset `next`.
    ///
    /// Where an offset is passed over, the chain's break is recorded.
    pub fn restore(&mut self, entries: &[Entry], next: Offset, cursors: &Cursors) -> rusqlite::Result<()> {
        let mut draft = Draft {
            tip: self.tip,
            anchor: self.anchor,
            at: self.last_at,
        };
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for entry in entries {
            draft.skip_to(&tx, entry.offset)?;
            draft.at = draft.at.max(entry.appended_at);
            draft.append(&tx, std::slice::from_ref(&entry.body))?;
        }
        draft.skip_to(&tx, next)?;
        for (consumer, next) in cursors {
            save_cursor(&tx, consumer, *next, draft.at)?;
        }
        tx.commit()?;
        self.keep(&draft);
        Ok(())
    }

    /// Goes on at `tip`, ahead of every row that will be carried over.
    pub fn resume_at(&mut self, tip: Tip) -> rusqlite::Result<()> {
        self.conn.execute(
            "UPDATE sqlite_sequence SET seq = ?1 WHERE name = 'entries'",
            [sql(tip.next) - 1],
        )?;
        self.tip = tip;
        Ok(())
    }

    /// Looks whether the newest entries were taken away, which leaves a chain that holds: their first offset.
    pub fn find_taken(&self) -> rusqlite::Result<Option<Taken>> {
        let newest: Option<i64> = self
            .conn
            .query_row("SELECT max(offset) FROM entries", [], |row| row.get(0))?;
        let next = newest.map_or(self.anchor.next, |newest| offset(newest) + 1);
        if !is_tail_missing(&self.conn, next, self.tip.next)? {
            return Ok(None);
        }
        // Behind a salvage that was never finished nobody knows what there was.
        let skipped = Skipped::read(&self.conn)?.before(self.tip.next);
        Ok(Some(Taken(skipped.map_or(next, |_| self.tip.next))))
    }

    /// Records that the chain starts anew behind what was taken away, and what is missing, all or nothing: it is found
    /// once.
    pub fn note_cut(&mut self, taken: Option<&Taken>, cut: Option<&CutShort>) -> rusqlite::Result<()> {
        let mut draft = Draft {
            tip: self.tip,
            anchor: self.anchor,
            at: self.last_at,
        };
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if let Some(Taken(first)) = taken {
            let gone = (*first < self.tip.next).then(|| (*first, self.tip.next - 1));
            skipped::note_told(&tx, gone.as_slice(), self.anchor.next)?;
            record_break(&tx, self.tip.next, self.last_at)?;
        }
        if let Some(cut) = cut {
            draft.skip_to(&tx, cut.next)?;
            untold::note(&tx, &Fact::CutShort(cut.clone()))?;
        }
        tx.commit()?;
        self.keep(&draft);
        Ok(())
    }

    fn keep(&mut self, draft: &Draft) {
        self.tip = draft.tip;
        self.anchor = draft.anchor;
        self.last_at = draft.at;
    }

    /// Every consumer's cursor.
    pub fn cursors(&self) -> rusqlite::Result<Cursors> {
        let mut statement = self.conn.prepare_cached("SELECT consumer, offset FROM cursors")?;
        let cursors = statement.query_map([], |row| Ok((row.get(0)?, offset(row.get(1)?))))?;
        cursors.collect()
    }

    /// Whether the log has grown enough to be carried into the file; less is enough when `idle`.
    pub fn wants_checkpoint(&self, idle: bool) -> bool {
        let bytes = self.growth.frames() * PAGE_BYTES as u64;
        bytes >= if idle { CHECKPOINT_IDLE_BYTES } else { CHECKPOINT_BYTES }
    }

    /// Carries the log into the file as far as readers allow.
    pub fn checkpoint(&mut self) -> rusqlite::Result<()> {
        self.growth.restart();
        self.conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
    }

    /// Carries the whole log into the file and empties it: after it, all that is visible is on the disk.
    ///
    /// Errors: also when a reader kept it from finishing.
    pub fn settle(&mut self) -> rusqlite::Result<()> {
        let busy: i64 = self
            .conn
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
        if busy != 0 {
            return Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_BUSY), None));
        }
        self.growth.restart();
        Ok(())
    }

    /// Gives the handle up after a failure. Closed in the usual way, SQLite would sync the log through it once more
    /// and believe the answer.
    pub fn abandon(self) {
        let kept = self
            .conn
            .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        if let Err(error) = kept {
            tracing::debug!(error = %error, "the journal's file is closed with a checkpoint");
        }
    }

    /// Whether the path still leads to the open file.
    pub fn is_in_place(&self) -> bool {
        same_file(&self.file, &self.path)
    }

    /// Bytes in pages that hold something.
    pub fn live_bytes(&self) -> rusqlite::Result<u64> {
        let pages: i64 = self.conn.query_row("PRAGMA page_count", [], |row| row.get(0))?;
        let free: i64 = self.conn.query_row("PRAGMA freelist_count", [], |row| row.get(0))?;
        Ok(offset(pages - free) * PAGE_BYTES as u64)
    }
}

/// The newest entries were taken away: the first of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken(pub Offset);

/// What a finished group was.
#[derive(Debug)]
pub(super) struct Written {
    /// Per commit, the offset of its first entry, or of the head.
    pub firsts: Vec<Offset>,
    /// The first offset of the group.
    pub from: Offset,
    /// When it was appended.
    pub at: Timestamp,
}

/// What a group failed by.
#[derive(Debug)]
pub(super) struct WriteFault {
    pub error: rusqlite::Error,
    /// The tip the file has if the group reached the disk all the same.
    pub attempted: Tip,
}

/// The state of a transaction that may still fail.
#[derive(Debug)]
pub(super) struct Draft {
    pub tip: Tip,
    pub anchor: Tip,
    pub at: Timestamp,
}

impl Draft {
    /// Appends bodies at the tip.
    pub fn append(&mut self, tx: &Transaction<'_>, bodies: &[bytes::Bytes]) -> rusqlite::Result<()> {
        let (many, rest) = bodies.as_chunks::<ROWS>();
        for eight in many {
            self.insert(tx, INSERT_MANY, eight)?;
        }
        rest.iter()
            .try_for_each(|body| self.insert(tx, INSERT, std::slice::from_ref(body)))
    }

    /// Runs a statement that inserts as many rows as there are bodies.
    fn insert(&mut self, tx: &Transaction<'_>, statement: &str, bodies: &[bytes::Bytes]) -> rusqlite::Result<()> {
        let mut insert = tx.prepare_cached(statement)?;
        for (row, body) in bodies.iter().enumerate() {
            let column = |number| row * COLUMNS + number;
            insert.raw_bind_parameter(column(1), sql(self.tip.next))?;
            insert.raw_bind_parameter(column(2), self.at.micros())?;
            insert.raw_bind_parameter(column(3), &self.tip.extend(self.at, body)[..])?;
            insert.raw_bind_parameter(column(4), &body[..])?;
        }
        insert.raw_execute().map(|_| ())
    }

    /// Leaves a hole up to `next`, if it is ahead, and records the break of the chain.
    fn skip_to(&mut self, tx: &Transaction<'_>, next: Offset) -> rusqlite::Result<()> {
        if next > self.tip.next {
            skipped::note_told(tx, &[(self.tip.next, next - 1)], self.anchor.next)?;
            self.tip.next = next;
            record_break(tx, next, self.at)?;
            tx.execute(
                "UPDATE sqlite_sequence SET seq = ?1 WHERE name = 'entries'",
                [sql(next) - 1],
            )?;
        }
        Ok(())
    }
}

/// Records that the chain starts anew at `offset`.
pub(super) fn record_break(conn: &Connection, offset: Offset, at: Timestamp) -> rusqlite::Result<()> {
    conn.prepare_cached("INSERT OR REPLACE INTO breaks (offset, at) VALUES (?1, ?2)")?
        .execute((sql(offset), at.micros()))?;
    Ok(())
}

fn save_small(tx: &Transaction<'_>, commit: &Commit, at: Timestamp) -> rusqlite::Result<()> {
    for (consumer, next) in &commit.cursors {
        save_cursor(tx, consumer, *next, at)?;
    }
    for consumer in &commit.cursors_gone {
        tx.prepare_cached("DELETE FROM cursors WHERE consumer = ?1")?
            .execute([consumer])?;
    }
    for (key, value) in &commit.state {
        save_state(tx, key, value.as_deref())?;
    }
    for letter in &commit.dead_letters {
        save_letter(tx, letter, at)?;
    }
    for (sink, gone) in &commit.dead_letters_gone {
        tx.prepare_cached("DELETE FROM dead_letters WHERE sink = ?1 AND offset = ?2")?
            .execute((sink, sql(*gone)))?;
    }
    Ok(())
}

fn save_cursor(tx: &Transaction<'_>, consumer: &str, next: Offset, at: Timestamp) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT INTO cursors (consumer, offset, saved_at) VALUES (?1, ?2, ?3)
         ON CONFLICT (consumer) DO UPDATE SET offset = ?2, saved_at = ?3",
    )?
    .execute((consumer, sql(next), at.micros()))?;
    Ok(())
}

pub(super) fn save_state(tx: &Transaction<'_>, key: &str, value: Option<&[u8]>) -> rusqlite::Result<()> {
    match value {
        Some(value) => tx
            .prepare_cached(
                "INSERT INTO state (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2",
            )?
            .execute((key, value))?,
        None => tx.prepare_cached("DELETE FROM state WHERE key = ?1")?.execute([key])?,
    };
    Ok(())
}

fn save_letter(tx: &Transaction<'_>, letter: &DeadLetter, at: Timestamp) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT OR REPLACE INTO dead_letters (sink, offset, at, reason, body) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute((
        &letter.sink,
        sql(letter.offset),
        at.micros(),
        &letter.reason,
        &letter.body[..],
    ))?;
    Ok(())
}

/// Where a file begins and ends.
#[derive(Debug)]
pub(super) struct Ends {
    anchor: Tip,
    pub tip: Tip,
    last_at: Timestamp,
}

impl Ends {
    /// Reads them, after a look whether the file is one of ours.
    pub fn read(conn: &Connection, path: &Path) -> Result<Self, OpenFault> {
        check_schema(conn, path, SCHEMA)?;
        let anchor = read_anchor(conn)?;
        let (tip, last_at) = read_tip(conn, anchor)?;
        Ok(Self { anchor, tip, last_at })
    }
}

/// The parts of the header that never change must be ours; SQLite trusts some of them blindly.
pub(super) fn check_header(mut file: &File) -> Result<(), OpenFault> {
    let mut header = [0; 100];
    if file.read_exact(&mut header).is_err() {
        return Err(OpenFault::Damaged("the file is shorter than its header".into()));
    }
    if !header.starts_with(b"SQLite format 3\0") {
        return Err(OpenFault::Damaged("the file does not begin as an SQLite file".into()));
    }
    let application = i32::from_be_bytes([header[68], header[69], header[70], header[71]]);
    if application == APPLICATION && header[16..24] != FIXED_HEADER {
        return Err(OpenFault::Damaged(
            "the header holds values that were never written".into(),
        ));
    }
    Ok(())
}

/// Refuses a file that is not ours, or not of version `known`.
fn check_schema(conn: &Connection, path: &Path, known: i64) -> Result<(), OpenFault> {
    let application: i32 = conn.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let tables: i64 = conn.query_row(
        "SELECT count(*) FROM sqlite_schema WHERE name IN ('entries', 'anchor')",
        [],
        |row| row.get(0),
    )?;
    let shown = || path.display().to_string().into();
    if application != APPLICATION && tables == 0 {
        return Err(JournalError::Foreign {
            path: shown(),
            found: application,
        }
        .into());
    }
    let found: i64 = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found == known && application == APPLICATION {
        return Ok(());
    }
    // The version stands in two places: one of them alone is damage, not a newer program.
    let stored: i64 = conn.query_row("SELECT schema FROM anchor", [], |row| row.get(0))?;
    match found {
        _ if stored != found => {}
        _ if found > known => return Err(upgrade::newer(path, found, known).into()),
        1.. if found < known => {
            return Err(JournalError::Older {
                path: shown(),
                found,
                known,
            }
            .into());
        }
        _ => {}
    }
    Err(OpenFault::Damaged(format!(
        "the header says application {application:#x}, schema version {found}"
    )))
}

fn read_anchor(conn: &Connection) -> Result<Tip, OpenFault> {
    let (next, hash): (i64, Vec<u8>) = conn.query_row("SELECT offset, hash FROM anchor WHERE id = 1", [], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?;
    match hash.try_into() {
        Ok(chain) if next >= 1 => Ok(Tip {
            next: offset(next),
            chain,
        }),
        _ => Err(OpenFault::Damaged("the anchor is not one".into())),
    }
}

/// The tip by the newest row, or by the anchor if there is none; offsets given once stay given.
fn read_tip(conn: &Connection, anchor: Tip) -> Result<(Tip, Timestamp), OpenFault> {
    let given: i64 = conn.query_row("SELECT seq FROM sqlite_sequence WHERE name = 'entries'", [], |row| {
        row.get(0)
    })?;
    let newest = conn
        .query_row(
            "SELECT offset, appended_at, hash, body FROM entries ORDER BY offset DESC LIMIT 1",
            [],
            |row| {
                Ok((
                    row.get(0)?,
                    row.get(1)?,
                    row.get::<_, Vec<u8>>(2)?,
                    row.get::<_, Vec<u8>>(3)?,
                ))
            },
        )
        .optional()?;
    let Some((place, at, hash, body)) = newest else {
        let next = anchor.next.max(offset(given) + 1);
        return Ok((Tip { next, ..anchor }, Timestamp::default()));
    };
    let at = Timestamp::from_micros(at);
    let stored = Stored::parse(&hash).filter(|stored| stored.sum_holds(&chain::digest(offset(place), at, &body)));
    match stored {
        Some(stored) if given >= place => Ok((
            Tip {
                next: offset(given) + 1,
                chain: stored.chain,
            },
            at,
        )),
        _ => Err(OpenFault::Damaged(format!(
            "the newest entry, {place}, is not what was written"
        ))),
    }
}

/// The bytes of a column; none if it holds a number, which no sum fits.
pub(super) fn bytes<'r>(row: &'r rusqlite::Row<'_>, column: usize) -> rusqlite::Result<&'r [u8]> {
    Ok(row.get_ref(column)?.as_bytes().unwrap_or_default())
}

/// An offset as SQLite stores it.
pub(super) fn sql(offset: Offset) -> i64 {
    i64::try_from(offset).unwrap_or(i64::MAX)
}

/// An offset as SQLite stored it; never negative in a sound file.
pub(super) fn offset(stored: i64) -> Offset {
    Offset::try_from(stored).unwrap_or(0)
}

/// `OR FAIL`, because whoever inserts gives the whole transaction up when one row fails: to undo a statement of several
/// rows alone, SQLite would first copy each page that it touches, about one for every row.
const INSERT: &str = "INSERT OR FAIL INTO entries (offset, appended_at, hash, body) VALUES (?, ?, ?, ?)";
/// The same for [`ROWS`] rows: what a statement costs beside its rows is a third of what a row costs.
const INSERT_MANY: &str = "INSERT OR FAIL INTO entries (offset, appended_at, hash, body) VALUES
    (?, ?, ?, ?), (?, ?, ?, ?), (?, ?, ?, ?), (?, ?, ?, ?), (?, ?, ?, ?), (?, ?, ?, ?), (?, ?, ?, ?), (?, ?, ?, ?)";
const COLUMNS: usize = 4;
const ROWS: usize = 8;

/// `hash` stands before `body`, so that reading it never follows a long body's pages.
const TABLES: &str = "
    CREATE TABLE entries (offset INTEGER PRIMARY KEY AUTOINCREMENT, appended_at INTEGER NOT NULL, hash BLOB NOT NULL,
        body BLOB NOT NULL);
    CREATE TABLE anchor (id INTEGER PRIMARY KEY CHECK (id = 1), schema INTEGER NOT NULL, offset INTEGER NOT NULL,
        hash BLOB NOT NULL);
    CREATE TABLE cursors (consumer TEXT PRIMARY KEY NOT NULL, offset INTEGER NOT NULL, saved_at INTEGER NOT NULL);
    CREATE TABLE state (key TEXT PRIMARY KEY NOT NULL, value BLOB NOT NULL);
    CREATE TABLE dead_letters (sink TEXT NOT NULL, offset INTEGER NOT NULL, at INTEGER NOT NULL, reason TEXT NOT NULL,
        body BLOB NOT NULL, UNIQUE (sink, offset));
    CREATE TABLE breaks (offset INTEGER PRIMARY KEY, at INTEGER NOT NULL);
    CREATE TABLE losses (consumer TEXT PRIMARY KEY NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
        count INTEGER NOT NULL);
    CREATE TABLE salvage (id INTEGER PRIMARY KEY CHECK (id = 1), kept_as BLOB NOT NULL, reason TEXT NOT NULL,
        next INTEGER NOT NULL, hash BLOB NOT NULL, certain INTEGER NOT NULL)";

/// Bytes 16 to 23: page size 8192, WAL for reading and writing, nothing reserved, the three fixed fractions.
const FIXED_HEADER: [u8; 8] = [0x20, 0x00, 2, 2, 0, 64, 32, 32];

/// Log bytes after which a busy writer checkpoints.
pub(super) const CHECKPOINT_BYTES: u64 = 8 << 20;
/// Log bytes after which an idle one does.
const CHECKPOINT_IDLE_BYTES: u64 = 1 << 20;
