//! A damaged file: what can be read goes to a new one.
//!
//! In: the damaged file, its log, and the reason. Out: the file kept as `journal.corrupt-<time>`, a new file with every
//! entry whose sum holds, the cursors, state and dead letters that could be read, and numbers for [`super::Fact::Salvaged`].
//!
//! 1. Nothing of the old file is changed or removed.
//! 2. Entries keep offset, time and hash. Where the chain no longer links, a break is recorded, and the verification
//!    names it; a published head hash can still be found.
//! 3. New offsets are above every old one: by the newest row if that is beyond doubt, else by what the file could
//!    hold at most beyond any row found. The offsets in between are noted as never given (`super::skipped`).
//! 4. The start waits for [`FOREGROUND`] at most; the rest is carried over by the writer between groups. Until then
//!    entries of the old file are not given out, so that no reader walks past one that is still to come.
//! 5. What the old file had held and the new one has not is counted, with its offsets (`extent`), but what an earlier
//!    salvage told. The count is noted with the last row and told by the writer, or by the next start (`untold`).
//!
//! Pages are read without SQLite (`pages`, `rows`, `small`): a broken link in the tree must not hide the leaves behind.

mod extent;
mod pages;
mod rows;
mod small;

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension, Transaction};
use trapline_schemas::Timestamp;

use self::extent::Extent;
use self::pages::{Log, Pages};
use self::rows::{Found, Kind, Row};
use self::small::Small;
use super::chain::{self, GENESIS, Stored, Tip};
use super::index::{self, Seen};
use super::settings::{Fact, JournalSettings, Salvaged};
use super::skipped::{self, Skipped};
use super::sqlite::{self, OpenFault, Store, offset, record_break, save_state, sql};
use super::{Entry, Offset, untold};

/// A salvage on its way.
#[derive(Debug)]
pub(super) struct Salvage {
    pages: Pages,
    phase: Phase,
    anchor: Tip,
    /// Where the new file went on; every row carried over is below.
    resumed: Tip,
    /// Whether the newest old row is known for sure, so that the chain goes on from it.
    certain: bool,
    extent: Extent,
    /// Offsets that were never given, and those that an earlier salvage told as missing.
    before: Skipped,
    tally: Tally,
}

/// What was found so far.
#[derive(Debug, Clone, Default)]
struct Tally {
    numbers: Salvaged,
    /// What is missing, up to [`skipped::TOLD_MAX`] ranges.
    holes: Vec<(Offset, Offset)>,
}

impl Tally {
    fn of(numbers: Salvaged) -> Self {
        Self {
            numbers,
            holes: Vec::new(),
        }
    }

    fn miss(&mut self, hole: (Offset, Offset)) {
        self.numbers.missing.add(hole);
        if self.holes.len() < skipped::TOLD_MAX {
            self.holes.push(hole);
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// Carrying rows over, from this page on.
    Rows {
        page: u32,
    },
    /// Looking for breaks, from the row behind this tip on.
    Chain {
        behind: Tip,
    },
    Done,
}

impl Salvage {
    /// Begins a new file with the small tables and puts it in the place of the damaged one.
    ///
    /// Time: that of the small tables and, if the newest row is in doubt, of one look over the newest pages.
    /// A kill at any moment leaves either the damaged file in place or all that [`take_up`] needs.
    pub fn begin(settings: &JournalSettings, reason: String) -> Result<(Store, Self), OpenFault> {
        let path = &settings.path;
        let kept_as = free_name(path);
        tracing::error!(
            error.message = %reason,
            "journal {} is damaged ({reason}): kept as {}, what can be read goes to a new file",
            path.display(),
            kept_as.display()
        );
        let pages = Pages::open(path, &log_of(path))?;
        let small = Small::read(&pages);
        let salvage = Self::of(path, pages, &small, Salvaged::begun(kept_as, reason));
        salvage.make_new_file(settings, &small)?;
        put_in_place(path, &salvage.numbers().kept_as)?;
        let mut store = Store::open(path, settings.durability)?;
        salvage.lead(&mut store);
        Ok((store, salvage))
    }

    fn of(path: &Path, pages: Pages, small: &Small, numbers: Salvaged) -> Self {
        let Resume {
            tip: resumed,
            certain,
            found,
        } = resume_at(&pages, small);
        let carried = small.count() as u64;
        Self {
            pages,
            phase: Phase::Rows { page: 1 },
            anchor: small.anchor.unwrap_or(Tip {
                next: 1,
                chain: GENESIS,
            }),
            resumed,
            certain,
            extent: small.extent(resumed.next, found, index::seen(&index::beside(path))),
            before: small.skipped().and(small.told()),
            tally: Tally::of(Salvaged {
                small: carried,
                ..numbers
            }),
        }
    }

    /// Until something new is appended, the chain goes on from the newest old row, not from the newest one carried over.
    fn lead(&self, store: &mut Store) {
        if store.tip.next == self.resumed.next {
            store.tip = self.resumed;
        }
    }

    /// What no entry has, given what was noted before and the offset after the last entry.
    fn skipped(&self, before: Skipped, next: Offset) -> Skipped {
        before.with(next, self.resumed.next, self.anchor.next)
    }

    fn make_new_file(&self, settings: &JournalSettings, small: &Small) -> Result<(), OpenFault> {
        let mut commit = small.commit(self.resumed.next);
        if self.extent.next < self.resumed.next {
            let skipped = self.skipped(small.skipped(), self.extent.next);
            commit.state.push((skipped::KEY.into(), Some(skipped.lines())));
        }
        let fresh = fresh_of(&settings.path);
        sqlite::remove(&fresh)?;
        sqlite::create(&fresh, self.anchor)?;
        let mut store = Store::open(&fresh, settings.durability)?;
        store.resume_at(self.resumed)?;
        store
            .write(
                std::iter::once(&commit),
                |tx, _| small.carry_losses(tx),
                Timestamp::now(),
            )
            .map_err(|fault| fault.error)?;
        self.remember(&store)?;
        store.settle()?;
        Ok(store.conn.close().map_err(|(_, error)| error)?)
    }

    /// Notes in the new file that it is not whole yet: a kill before the end must not lose the rest.
    fn remember(&self, store: &Store) -> rusqlite::Result<()> {
        store.conn.execute(
            "INSERT INTO salvage (id, kept_as, reason, next, hash, certain) VALUES (1, ?1, ?2, ?3, ?4, ?5)",
            (
                self.numbers().kept_as.as_os_str().as_bytes(),
                &self.numbers().reason,
                sql(self.resumed.next),
                &self.resumed.chain[..],
                self.certain,
            ),
        )?;
        Ok(())
    }

    /// Begins a salvage again that an earlier run did not finish; rows that are there already are passed over.
    pub fn resume(path: &Path, store: &mut Store) -> Result<Option<Self>, OpenFault> {
        let Some((numbers, resumed, certain)) = unfinished(store)? else {
            return Ok(None);
        };
        let pages = match Pages::open(&numbers.kept_as, &log_of(&numbers.kept_as)) {
            Ok(pages) => pages,
            Err(error) => {
                tracing::error!(error = %error, "a salvage was not finished and {} is gone", numbers.kept_as.display());
                store.conn.execute("DELETE FROM salvage", [])?;
                return Ok(None);
            }
        };
        let (anchor, skipped) = (store.anchor, Skipped::read(&store.conn)?);
        let sure = certain || matches!(index::seen(&index::beside(path)), Seen::Until { .. });
        let salvage = Self {
            pages,
            phase: Phase::Rows { page: 1 },
            anchor,
            resumed,
            certain,
            extent: Extent::again(anchor.next, resumed.next, &skipped, sure),
            // What this salvage skipped itself says how far the file went, and no more.
            before: skipped.but_before(resumed.next).and(Skipped::read_told(&store.conn)?),
            tally: Tally::of(numbers),
        };
        salvage.lead(store);
        Ok(Some(salvage))
    }

    /// The numbers so far.
    pub fn numbers(&self) -> &Salvaged {
        &self.tally.numbers
    }

    /// Entries below are still being carried over.
    pub fn below(&self) -> Offset {
        self.resumed.next
    }

    /// Works for about `time`; says whether all is done. In doubt about what an error left, it may be called again.
    pub fn step(&mut self, store: &mut Store, time: Duration) -> rusqlite::Result<bool> {
        let until = Instant::now() + time;
        while self.tally.numbers.running && Instant::now() < until {
            let tx = store.conn.transaction()?;
            let mut tally = self.tally.clone();
            let phase = match self.phase {
                Phase::Rows { page } => self.carry(&tx, page, &mut tally.numbers)?,
                Phase::Chain { behind } => self.find_breaks(&tx, behind, &mut tally)?,
                Phase::Done => Phase::Done,
            };
            tx.commit()?;
            (self.phase, self.tally) = (phase, tally);
        }
        Ok(!self.tally.numbers.running)
    }

    /// Carries the rows of the next pages over.
    fn carry(&self, tx: &Transaction<'_>, page: u32, numbers: &mut Salvaged) -> rusqlite::Result<Phase> {
        let behind = page.saturating_add(STEP_PAGES);
        for number in page..behind.min(self.pages.last().saturating_add(1)) {
            for row in self
                .pages
                .read(number)
                .map(|page| rows::of_leaf(&self.pages, &page, 0))
                .unwrap_or_default()
            {
                self.carry_row(tx, row, numbers)?;
            }
        }
        if behind <= self.pages.last() {
            return Ok(Phase::Rows { page: behind });
        }
        Ok(Phase::Chain {
            behind: Tip {
                next: 0,
                chain: self.anchor.chain,
            },
        })
    }

    fn carry_row(&self, tx: &Transaction<'_>, row: Row, numbers: &mut Salvaged) -> rusqlite::Result<()> {
        match rows::judge(row) {
            Kind::Sound(found) if (self.anchor.next..self.resumed.next).contains(&found.entry.offset) => {
                numbers.entries += insert(tx, &found)? as u64;
            }
            Kind::Broken => numbers.refused += 1,
            // Rows below the anchor were trimmed; free pages still show them.
            Kind::Sound(_) | Kind::Other => {}
        }
        Ok(())
    }

    /// Walks over the next rows carried over, records where the chain does not link, and counts what is missing.
    fn find_breaks(&self, tx: &Transaction<'_>, mut behind: Tip, tally: &mut Tally) -> rusqlite::Result<Phase> {
        let mut next = tx.prepare_cached(
            "SELECT offset, appended_at, hash, body FROM entries WHERE offset >= ?1 AND offset < ?2
             ORDER BY offset LIMIT ?3",
        )?;
        let mut rows = next.query((sql(behind.next), sql(self.resumed.next), STEP_ROWS))?;
        let mut count = 0;
        while let Some(row) = rows.next()? {
            let (place, at) = (offset(row.get(0)?), Timestamp::from_micros(row.get(1)?));
            let digest = chain::digest(place, at, row.get_ref(3)?.as_blob()?);
            let stored = Stored::parse(row.get_ref(2)?.as_blob()?);
            if !stored.is_some_and(|stored| stored.follows(&behind.chain, &digest)) {
                record_break(tx, place, at)?;
            }
            self.miss(self.extent.hole(behind.next, place), tally);
            behind = Tip {
                next: place + 1,
                chain: stored.map_or(GENESIS, |stored| stored.chain),
            };
            count += 1;
        }
        if count == STEP_ROWS {
            return Ok(Phase::Chain { behind });
        }
        if !self.certain || behind.chain != self.resumed.chain {
            record_break(tx, self.resumed.next, Timestamp::now())?;
        }
        self.end(tx, behind, tally)?;
        Ok(Phase::Done)
    }

    /// Counts what of a hole was given once and is not told yet.
    fn miss(&self, hole: Option<(Offset, Offset)>, tally: &mut Tally) {
        let parts = hole.map(|hole| self.before.given(hole));
        parts.into_iter().flatten().for_each(|part| tally.miss(part));
    }

    /// Counts what is missing behind the last row carried over, and notes all that is to be told.
    fn end(&self, tx: &Transaction<'_>, behind: Tip, tally: &mut Tally) -> rusqlite::Result<()> {
        let next = self.extent.next.max(behind.next);
        self.miss(self.extent.hole(behind.next, next), tally);
        tally.numbers.missing.unsure = !self.extent.sure;
        tally.numbers.running = false;
        if next < self.resumed.next {
            // What is missing before is told by us: no reader tells it again.
            record_break(tx, next, Timestamp::now())?;
            let skipped = self.skipped(Skipped::read(tx)?, next);
            save_state(tx, skipped::KEY, Some(&skipped.lines()))?;
        }
        skipped::note_told(tx, &tally.holes, self.anchor.next)?;
        untold::note(tx, &Fact::Salvaged(tally.numbers.clone()))?;
        tx.execute("DELETE FROM salvage", [])?;
        Ok(())
    }
}

/// What the file at work says of a salvage that was not finished: its numbers, where the file went on, whether that is
/// certain.
fn unfinished(store: &Store) -> rusqlite::Result<Option<(Salvaged, Tip, bool)>> {
    let noted = "SELECT kept_as, reason, next, hash, certain FROM salvage";
    let read = store.conn.query_row(noted, [], |row| {
        let resumed = Tip {
            next: offset(row.get(2)?),
            chain: row.get::<_, Vec<u8>>(3)?.try_into().unwrap_or(GENESIS),
        };
        let kept_as = PathBuf::from(OsString::from_vec(row.get(0)?));
        Ok((Salvaged::begun(kept_as, row.get(1)?), resumed, row.get(4)?))
    });
    read.optional()
}

/// Entries that only the part of a log behind a broken frame still has: SQLite would drop them without a word.
#[derive(Debug)]
pub(super) struct Loose {
    /// By offset, each once.
    found: Vec<Found>,
    /// The copy of the log; `None` if the disk had no room for it.
    kept_as: Option<PathBuf>,
}

/// Looks behind a broken frame of the log of the file at `path`; keeps a copy of such a log.
///
/// Before SQLite opens the file, as it then writes over the log.
pub(super) fn behind_broken_frame(path: &Path) -> std::io::Result<Option<Loose>> {
    let Some(log) = broken_log(path) else {
        return Ok(None);
    };
    let kept_as = keep_log(path)?;
    let pages = Pages::open(path, &log_of(path))?;
    let leaves = log.loose.iter().filter_map(|at| log.page_at(*at));
    let rows = leaves.flat_map(|page| rows::of_leaf(&pages, &page, 0));
    let mut found: Vec<Found> = rows.filter_map(sound).collect();
    found.sort_by_key(|found| found.entry.offset);
    found.dedup_by_key(|found| found.entry.offset);
    Ok(Some(Loose { found, kept_as }))
}

/// The log of the file at `path`, if frames stand behind a broken one.
pub(super) fn broken_log(path: &Path) -> Option<Log> {
    Log::open(&log_of(path)).filter(|log| !log.loose.is_empty())
}

/// Copies the log; `None` if the disk has no room. A full disk stops no start: what the log of a run holds that failed
/// for want of room is written over in the next all the same.
fn keep_log(path: &Path) -> std::io::Result<Option<PathBuf>> {
    let kept_as = log_of(&free_name(path));
    match std::fs::copy(log_of(path), &kept_as) {
        Err(error) if error.kind() == std::io::ErrorKind::StorageFull => {
            sqlite::remove(&kept_as)?;
            Ok(None)
        }
        copied => copied.map(|_| Some(kept_as)),
    }
}

impl Loose {
    /// Appends again those that follow on the newest entry, under their own offsets; `None` if there are none and no
    /// room was there to keep the log for a person.
    pub fn restore(self, store: &mut Store) -> rusqlite::Result<Option<Salvaged>> {
        let mut tip = store.tip;
        let newer = self
            .found
            .into_iter()
            .filter(|found| found.entry.offset >= store.tip.next);
        let follows = |found: &Found| {
            let follows = found.entry.offset == tip.next && found.stored.follows(&tip.chain, &found.digest);
            tip = Tip {
                next: tip.next + 1,
                chain: found.stored.chain,
            };
            follows
        };
        let entries: Vec<Entry> = newer.take_while(follows).map(|found| found.entry).collect();
        if entries.is_empty() && self.kept_as.is_none() {
            return Ok(None);
        }
        let next = store.tip.next + entries.len() as u64;
        store.restore(&entries, next, &sqlite::Cursors::new())?;
        Ok(Some(Salvaged {
            kept_as: self.kept_as.unwrap_or_else(|| "nothing, as the disk was full".into()),
            reason: BROKEN_LOG.into(),
            entries: entries.len() as u64,
            ..Salvaged::default()
        }))
    }
}

fn sound(row: Row) -> Option<Found> {
    if let Kind::Sound(found) = rows::judge(row) {
        Some(found)
    } else {
        None
    }
}

/// Where a new file goes on.
struct Resume {
    tip: Tip,
    /// Whether that is right behind the newest old row.
    certain: bool,
    /// The offset after the newest row found.
    found: Offset,
}

fn resume_at(pages: &Pages, small: &Small) -> Resume {
    if let (Some(found), Some(given)) = (&small.newest, small.given)
        && given == found.entry.offset
    {
        return Resume {
            tip: Tip {
                next: given + 1,
                chain: found.stored.chain,
            },
            certain: true,
            found: given + 1,
        };
    }
    let known = small
        .newest
        .as_ref()
        .map(|found| found.entry.offset)
        .max(newest_of_pages(pages));
    let (found, hidden) = (known.unwrap_or(0) + 1, pages.bytes() / ROW_BYTES_MIN);
    Resume {
        tip: Tip {
            next: found + hidden,
            chain: GENESIS,
        },
        certain: false,
        found,
    }
}

/// The highest sound offset on the last pages, looked for from the end.
fn newest_of_pages(pages: &Pages) -> Option<Offset> {
    let until = Instant::now() + LOOK;
    let numbers = (1..=pages.last()).rev().take_while(|_| Instant::now() < until);
    let leaves = numbers.filter_map(|number| pages.read(number));
    leaves
        .flat_map(|page| rows::of_leaf(pages, &page, 0))
        .filter_map(sound)
        .map(|found| found.entry.offset)
        .max()
}

fn insert(tx: &Transaction<'_>, found: &Found) -> rusqlite::Result<usize> {
    tx.prepare_cached("INSERT OR IGNORE INTO entries (offset, appended_at, hash, body) VALUES (?1, ?2, ?3, ?4)")?
        .execute((
            sql(found.entry.offset),
            found.entry.appended_at.micros(),
            &chain::stored(&found.stored.chain, &found.digest)[..],
            &found.entry.body[..],
        ))
}

/// The schema version of the file at `path` with its log, if the two places where it stands say the same.
pub(super) fn version(path: &Path) -> std::io::Result<Option<i64>> {
    Ok(small::version(&Pages::open(path, &log_of(path))?))
}

/// Finishes what a kill between the renames left; says whether there was something.
pub(super) fn take_up(path: &Path) -> Result<bool, OpenFault> {
    let fresh = fresh_of(path);
    if !fresh.try_exists()? {
        return Ok(false);
    }
    let conn = Connection::open(&fresh)?;
    let kept_as: Vec<u8> = conn.query_row("SELECT kept_as FROM salvage", [], |row| row.get(0))?;
    conn.close().map_err(|(_, error)| error)?;
    put_in_place(path, Path::new(&OsString::from_vec(kept_as)))?;
    Ok(true)
}

/// Renames the damaged file and its log, then the new file into their place; the log's index is made anew.
fn put_in_place(path: &Path, kept_as: &Path) -> std::io::Result<()> {
    for (from, to) in [(path.to_owned(), kept_as.to_owned()), (log_of(path), log_of(kept_as))] {
        match std::fs::rename(from, to) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    sqlite::remove(&beside(path, "-shm"))?;
    std::fs::rename(fresh_of(path), path)?;
    sqlite::sync_folder(path)
}

/// The new file before it is in place.
pub(super) fn fresh_of(path: &Path) -> PathBuf {
    path.with_extension("salvage")
}

/// `journal.corrupt-20261122T150405Z`, with a number if that is taken.
fn free_name(path: &Path) -> PathBuf {
    let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let name = |count: u32| {
        let number = if count == 0 { String::new() } else { format!("-{count}") };
        path.with_extension(format!("corrupt-{time}{number}"))
    };
    let taken = |name: &PathBuf| name.exists() || log_of(name).exists();
    (0..).map(name).find(|name| !taken(name)).unwrap_or_else(|| name(0))
}

/// The write-ahead log of the file at `path`.
pub(super) fn log_of(path: &Path) -> PathBuf {
    beside(path, "-wal")
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// What is wrong with such a log.
pub(super) const BROKEN_LOG: &str = "a frame of the log is damaged and others stand behind it";
/// How long a start waits for a salvage.
pub(super) const FOREGROUND: Duration = Duration::from_secs(4);
/// How long the newest row is looked for.
const LOOK: Duration = Duration::from_millis(1500);
/// Pages and rows of one transaction.
const STEP_PAGES: u32 = 64;
const STEP_ROWS: i64 = 512;
/// No row is smaller: hash, time, record and cell headers.
const ROW_BYTES_MIN: u64 = 48;
