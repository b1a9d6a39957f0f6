//! The index's file.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Transaction};

use super::{IndexRow, Offset, Rows, owned};
use crate::journal::sqlite::{offset, sql};

/// An open index.
#[derive(Debug)]
pub(super) struct Table {
    pub conn: Connection,
    /// Device and inode, to tell whether the path still leads to it. No handle: closing one would free SQLite's locks.
    file: (u64, u64),
}

impl Table {
    /// Opens the file at `path` for writing; one that cannot be used as it is is made anew.
    pub fn open_or_make(path: &Path) -> rusqlite::Result<Self> {
        match Self::open_existing(path) {
            Ok(Some(table)) => {
                table
                    .conn
                    .execute("UPDATE place SET whole = 0, boot = ?1", [boot_id()])?;
                Ok(table)
            }
            Ok(None) | Err(_) => {
                remove(path);
                Self::create(path)
            }
        }
    }

    /// Opens the file at `path` if it can be used as it is. A searcher never makes one: two makers would be at odds.
    pub fn open_existing(path: &Path) -> rusqlite::Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let conn = connect(path)?;
        let version: i64 = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if version != VERSION {
            return Ok(None);
        }
        let (whole, boot): (bool, String) = conn.query_row("SELECT whole, boot FROM place", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
        let file = place(path).map_err(unopened)?;
        Ok((whole || boot == boot_id()).then_some(Self { conn, file }))
    }

    /// Whether the path still leads to the open file.
    pub fn is_in_place(&self, path: &Path) -> bool {
        place(path).is_ok_and(|file| file == self.file)
    }

    fn create(path: &Path) -> rusqlite::Result<Self> {
        use std::os::unix::fs::OpenOptionsExt;
        // Whatever hinders this hinders SQLite as well, which says it.
        let _ = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path);
        let conn = connect(path)?;
        conn.execute_batch(&format!("BEGIN; {TABLES}; PRAGMA user_version = {VERSION}; COMMIT"))?;
        conn.execute(
            "INSERT INTO place (id, next, whole, boot) VALUES (1, 0, 0, ?1)",
            [boot_id()],
        )?;
        let file = place(path).map_err(unopened)?;
        Ok(Self { conn, file })
    }

    /// The next offset to take, given the journal's oldest and next; an index ahead of its journal is emptied.
    pub fn next(&mut self, oldest: Offset, head: Offset) -> rusqlite::Result<Offset> {
        let next = offset(self.conn.query_row("SELECT next FROM place", [], |row| row.get(0))?);
        if next > head {
            self.conn.execute_batch(
                "BEGIN; DELETE FROM rows; DELETE FROM owned; DELETE FROM owned_services;
                     UPDATE place SET next = 0; COMMIT",
            )?;
            return Ok(oldest);
        }
        Ok(next.max(oldest))
    }

    /// The oldest offset that has a row, and the next to take.
    pub fn seen(&self) -> rusqlite::Result<(Option<Offset>, Offset)> {
        self.conn
            .query_row("SELECT (SELECT min(offset) FROM rows), next FROM place", [], |row| {
                Ok((row.get::<_, Option<i64>>(0)?.map(offset), offset(row.get(1)?)))
            })
    }

    /// Adds rows, forgets some of those before `oldest`, and moves the cursor, which it gives.
    pub fn take(&mut self, from: Offset, taken: &Rows, oldest: Offset) -> rusqlite::Result<Offset> {
        let next = taken.next.unwrap_or(from);
        let tx = self.conn.transaction()?;
        insert(&tx, &taken.rows)?;
        owned::add(&tx, &taken.rows)?;
        let first: Option<i64> = tx.query_row("SELECT min(offset) FROM rows", [], |row| row.get(0))?;
        if let Some(first) = first.map(offset).filter(|first| *first < oldest) {
            let until = oldest.min(first + FORGET_ROWS);
            tx.prepare_cached("DELETE FROM rows WHERE offset < ?1")?
                .execute([sql(until)])?;
            owned::forget(&tx, until)?;
        }
        tx.prepare_cached("UPDATE place SET next = ?1")?.execute([sql(next)])?;
        tx.commit()?;
        Ok(next)
    }

    /// Makes the file whole on the disk, so that it is used again even if the machine goes down.
    pub fn close_in_order(&mut self) -> rusqlite::Result<()> {
        self.conn.execute_batch("PRAGMA synchronous = FULL")?;
        self.conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        self.conn.execute("UPDATE place SET whole = 1", [])?;
        self.conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
    }

    /// The number of a word of the dictionary, if it was ever used.
    pub fn word(&self, word: &str) -> rusqlite::Result<Option<i64>> {
        let mut statement = self.conn.prepare_cached("SELECT id FROM words WHERE word = ?1")?;
        statement.query_row([word], |row| row.get(0)).optional()
    }
}

fn place(path: &Path) -> std::io::Result<(u64, u64)> {
    let file = std::fs::metadata(path)?;
    Ok((file.dev(), file.ino()))
}

fn unopened(error: std::io::Error) -> rusqlite::Error {
    let failure = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN);
    rusqlite::Error::SqliteFailure(failure, Some(error.to_string()))
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let conn = Connection::open(path)?;
    conn.busy_timeout(std::time::Duration::from_secs(5))?;
    conn.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA cache_size = -2048; PRAGMA mmap_size = 0;
         PRAGMA wal_autocheckpoint = 4000; PRAGMA journal_size_limit = 16777216; PRAGMA cell_size_check = ON;
         PRAGMA trusted_schema = OFF;",
    )?;
    Ok(conn)
}

/// An entry never changes, so a row that is there already is the right one. Replacing it is no choice: that undoes
/// statement by statement, for which SQLite copies each page of each of the indexes first.
fn insert(tx: &Transaction<'_>, rows: &[(Offset, IndexRow)]) -> rusqlite::Result<()> {
    let mut insert = tx.prepare_cached(
        "INSERT OR IGNORE INTO rows (offset, source, port, decoy, action, level, risk, incident, user)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    let mut words = Words::default();
    for (place, row) in rows {
        let source = row.source.map(address);
        insert.execute((
            sql(*place),
            source.as_ref().map(AsRef::as_ref),
            row.port,
            words.id(tx, row.decoy.as_deref())?,
            words.id(tx, row.action.as_deref())?,
            words.id(tx, row.level.as_deref())?,
            row.risk,
            row.incident.as_ref().map(|incident| incident.as_bytes().as_slice()),
            row.user.as_deref(),
        ))?;
    }
    Ok(())
}

/// Words of bounded kinds (decoys, actions, levels) stand in the rows as numbers.
#[derive(Default)]
struct Words(std::collections::HashMap<String, i64>);

impl Words {
    fn id(&mut self, tx: &Transaction<'_>, word: Option<&str>) -> rusqlite::Result<Option<i64>> {
        let Some(word) = word else { return Ok(None) };
        if let Some(id) = self.0.get(word) {
            return Ok(Some(*id));
        }
        tx.prepare_cached("INSERT OR IGNORE INTO words (word) VALUES (?1)")?
            .execute([word])?;
        let id = tx
            .prepare_cached("SELECT id FROM words WHERE word = ?1")?
            .query_row([word], |row| row.get(0))?;
        self.0.insert(word.to_owned(), id);
        Ok(Some(id))
    }
}

/// An address as stored: 4 or 16 bytes.
pub(super) fn address(address: std::net::IpAddr) -> Box<[u8]> {
    match address {
        std::net::IpAddr::V4(address) => Box::new(address.octets()),
        std::net::IpAddr::V6(address) => Box::new(address.octets()),
    }
}

/// Removes the file and what stands beside it; what cannot be removed is met again when it is made.
pub(super) fn remove(path: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        let _ = std::fs::remove_file(name);
    }
}

/// Changes with every start of the machine; empty if the system does not tell, which then counts as the same.
fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .unwrap_or_default()
        .trim()
        .to_owned()
}

const VERSION: i64 = 3;
/// Rows forgotten in one transaction.
const FORGET_ROWS: Offset = 4096;

/// An index entry ends in the rowid, so each gives its matches by offset. Risk is asked for as a minimum, which no
/// index gives by offset: the rows are narrow enough to be walked.
const TABLES: &str = "
    CREATE TABLE place (id INTEGER PRIMARY KEY CHECK (id = 1), next INTEGER NOT NULL, whole INTEGER NOT NULL,
        boot TEXT NOT NULL);
    CREATE TABLE words (id INTEGER PRIMARY KEY, word TEXT UNIQUE NOT NULL);
    CREATE TABLE rows (offset INTEGER PRIMARY KEY, source BLOB, port INTEGER, decoy INTEGER, action INTEGER,
        level INTEGER, risk INTEGER, incident BLOB, user TEXT);
    CREATE INDEX rows_source ON rows (source) WHERE source IS NOT NULL;
    CREATE INDEX rows_port ON rows (port) WHERE port IS NOT NULL;
    CREATE INDEX rows_decoy ON rows (decoy) WHERE decoy IS NOT NULL;
    CREATE INDEX rows_action ON rows (action) WHERE action IS NOT NULL;
    CREATE INDEX rows_level ON rows (level) WHERE level IS NOT NULL;
    CREATE INDEX rows_incident ON rows (incident) WHERE incident IS NOT NULL;
    CREATE INDEX rows_user ON rows (user) WHERE user IS NOT NULL;
    CREATE TABLE owned (incident BLOB PRIMARY KEY, owner TEXT NOT NULL, source BLOB NOT NULL, first INTEGER NOT NULL,
        last INTEGER NOT NULL, visits INTEGER NOT NULL, gravity INTEGER NOT NULL, proved INTEGER NOT NULL,
        until INTEGER NOT NULL) WITHOUT ROWID;
    CREATE INDEX owned_last ON owned (last);
    CREATE TABLE owned_services (incident BLOB, service TEXT, PRIMARY KEY (incident, service)) WITHOUT ROWID";
