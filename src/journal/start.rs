//! The start: folder, lock, file, quick check, and a salvage if the file is damaged.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use rusqlite::Connection;

use super::chain::{GENESIS, Tip};
use super::index::{self, Seen};
use super::lock::Lock;
use super::salvage::{self, FOREGROUND, Salvage};
use super::settings::{CutShort, Fact, JournalReport, JournalSettings, Salvaged};
use super::sqlite::{self, OpenFault, Store, Taken, is_busy, is_full};
use super::unkept::Unkept;
use super::untold;
use super::upgrade::{self, MIGRATIONS};
use super::{JournalError, Offset};

/// An open journal before its writer runs.
#[derive(Debug)]
pub(super) struct Started {
    pub store: Store,
    pub lock: Lock,
    /// A salvage that goes on in the background.
    pub salvage: Option<Salvage>,
    pub report: JournalReport,
    /// Where is noted what the next run must tell; none where nobody would read of it.
    pub unkept: Option<Unkept>,
    /// What earlier runs left to tell.
    pub owed: Vec<Fact>,
}

/// Takes the lock and opens the file.
pub(super) fn start(settings: &JournalSettings) -> Result<Started, JournalError> {
    sqlite::check_library()?;
    make_folder(&settings.path)?;
    let lock = Lock::take(&settings.path)?;
    let loose =
        salvage::behind_broken_frame(&settings.path).map_err(|error| JournalError::folder(&settings.path, &error))?;
    let mut opened = match open(settings, FOREGROUND, false) {
        Ok(opened) => opened,
        Err(error) => {
            lock.unmake();
            return Err(error);
        }
    };
    if let (Some(loose), None) = (loose, &opened.salvaged) {
        opened.salvaged = loose.restore(&mut opened.store)?;
    }
    let cut_short = compare(&settings.path, &mut opened, lock.made)?;
    settle(&mut opened.store)?;
    let report = JournalReport {
        created: opened.created,
        took_over: lock.stale,
        oldest: opened.store.anchor.next,
        head: opened.store.tip.next,
        checked_whole: opened.checked_whole,
        salvaged: opened.salvaged,
        cut_short,
        took: Duration::ZERO,
    };
    let mut started = Started {
        store: opened.store,
        lock,
        salvage: opened.salvage,
        report,
        unkept: settings.facts.are_told().then(|| Unkept::open(&settings.path)),
        owed: Vec::new(),
    };
    started.take_up()?;
    Ok(started)
}

impl Started {
    /// Takes over what earlier runs left to tell.
    fn take_up(&mut self) -> rusqlite::Result<()> {
        self.owed = untold::read(&self.store.conn, &self.report.facts())?;
        let was_salvaged = self.report.salvaged.is_some();
        let unkept = self.unkept.as_mut();
        self.owed
            .extend(unkept.and_then(|unkept| unkept.take_up(&self.store, was_salvaged)));
        Ok(())
    }
}

/// An empty log holds no frames of a transaction that a kill cut short: what stands behind a broken frame of the next
/// log was written whole.
fn settle(store: &mut Store) -> rusqlite::Result<()> {
    match store.settle() {
        // Somebody looks at the file with a tool of SQLite, or the disk is full: the log is carried over later. What it
        // holds can be read, and what is to come waits in memory for room as it does in a run.
        Err(error) if is_busy(&error) || is_full(&error) => Ok(()),
        settled => settled,
    }
}

/// Compares the file with what it says of itself and with what earlier runs left beside it, and goes on behind what the
/// index saw: an offset that was given is not given again.
fn compare(path: &Path, opened: &mut Opened, is_first: bool) -> Result<Option<CutShort>, JournalError> {
    let (seen, head, gone) = (index::seen(&index::beside(path)), opened.store.tip.next, opened.created);
    // A salvage counts by itself what is missing.
    let taken = match opened.salvaged {
        None => opened.store.find_taken()?,
        Some(_) => None,
    };
    let end = taken.map_or(head, |Taken(first)| first);
    let cut = |first: Offset, next| Some(CutShort { gone, first, next });
    let cut = match seen {
        Seen::Until { oldest, next } if next > head => cut(oldest.unwrap_or(end).max(end), next),
        Seen::Never if is_first => None,
        _ if gone || taken.is_some() => cut(end, head),
        _ => None,
    };
    if taken.is_some() || cut.is_some() {
        opened.store.note_cut(taken.as_ref(), cut.as_ref())?;
    }
    Ok(cut)
}

/// A file, opened, made or salvaged.
#[derive(Debug)]
pub(super) struct Opened {
    pub store: Store,
    /// The rest of a salvage.
    pub salvage: Option<Salvage>,
    /// What a salvage has done so far.
    pub salvaged: Option<Salvaged>,
    created: bool,
    checked_whole: bool,
}

impl Opened {
    fn sound(store: Store, created: bool, checked_whole: bool) -> Self {
        Self {
            store,
            salvage: None,
            salvaged: None,
            created,
            checked_whole,
        }
    }

    /// Carries over what `patience` allows.
    fn salvaging(mut store: Store, mut salvage: Salvage, patience: Duration) -> Result<Self, OpenFault> {
        let done = salvage.step(&mut store, patience)?;
        let mut opened = Self::sound(store, false, true);
        opened.salvaged = Some(salvage.numbers().clone());
        opened.salvage = (!done).then_some(salvage);
        Ok(opened)
    }
}

/// Opens the file whatever its state: made if absent, salvaged if damaged; waits about `patience` for a salvage.
///
/// In: `suspected`, whether a read met damage. Such a file is salvaged unless a check of all its pages finds none: of a
/// large one the check sees the front alone.
pub(super) fn open(settings: &JournalSettings, patience: Duration, suspected: bool) -> Result<Opened, JournalError> {
    match open_sound(settings, patience, suspected.then_some(CHECK_TIME)) {
        Ok(opened) => Ok(opened),
        Err(OpenFault::Refused(error)) => Err(error),
        Err(OpenFault::Damaged(reason)) => match open_damaged(settings, reason, patience) {
            Ok(opened) => Ok(opened),
            Err(OpenFault::Refused(error)) => Err(error),
            Err(OpenFault::Damaged(reason)) => Err(JournalError::Storage(
                format!("the new file is damaged as well: {reason}").into(),
            )),
        },
    }
}

/// In: `suspected`, the time that the check has to clear a file of suspicion.
fn open_sound(
    settings: &JournalSettings,
    patience: Duration,
    suspected: Option<Duration>,
) -> Result<Opened, OpenFault> {
    let path = &settings.path;
    if !path.try_exists()? && !salvage::take_up(path)? {
        if !salvage::log_of(path).try_exists()? {
            sqlite::create(
                path,
                Tip {
                    next: 1,
                    chain: GENESIS,
                },
            )?;
            return Ok(Opened::sound(Store::open(path, settings.durability)?, true, true));
        }
        // SQLite would lay an orphaned log over whatever file comes to stand beside it.
        std::fs::File::create_new(path)?;
        return Err(OpenFault::Damaged("the file is gone, its log is there".into()));
    }
    upgrade::bring_up(settings, MIGRATIONS)?;
    let mut store = Store::open(path, settings.durability)?;
    let checked_whole = quick_check(&store.conn, suspected.unwrap_or(CHECK_TIME))?;
    if suspected.is_some() && !checked_whole {
        return Err(OpenFault::Damaged(MET_BY_A_READ.into()));
    }
    match Salvage::resume(path, &mut store)? {
        Some(salvage) => Opened::salvaging(store, salvage, patience),
        None => Ok(Opened::sound(store, false, checked_whole)),
    }
}

fn open_damaged(settings: &JournalSettings, reason: String, patience: Duration) -> Result<Opened, OpenFault> {
    let (store, salvage) = Salvage::begin(settings, reason)?;
    Opened::salvaging(store, salvage, patience)
}

/// The state folder, for its owner alone if it is made here.
pub(super) fn make_folder(journal: &Path) -> Result<(), JournalError> {
    let Some(folder) = journal.parent().filter(|folder| !folder.as_os_str().is_empty()) else {
        return Ok(());
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| JournalError::folder(folder, &error))
}

/// SQLite's own check of the pages, stopped after `time`; says whether it went over all of them.
pub(super) fn quick_check(conn: &Connection, time: Duration) -> Result<bool, OpenFault> {
    if time.is_zero() {
        return Ok(false);
    }
    let handle = conn.get_interrupt_handle();
    let (done, finished) = mpsc::channel::<()>();
    let timer = std::thread::spawn(move || {
        if finished.recv_timeout(time) == Err(mpsc::RecvTimeoutError::Timeout) {
            handle.interrupt();
        }
    });
    let found: rusqlite::Result<String> = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
    drop(done);
    // The timer only sleeps and interrupts; it cannot panic.
    let _ = timer.join();
    match found {
        Ok(found) if found == "ok" => Ok(true),
        Ok(found) => Err(OpenFault::Damaged(found)),
        Err(rusqlite::Error::SqliteFailure(failure, _))
            if failure.code == rusqlite::ErrorCode::OperationInterrupted =>
        {
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// Longest quick check at the start: a journal of a million entries is read in about this time.
pub(super) const CHECK_TIME: Duration = Duration::from_secs(2);
/// What is wrong with a file of which a read says more than the check had time for.
const MET_BY_A_READ: &str = "a read met a page that is none";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_too_large_to_be_checked_is_opened_as_it_is_and_salvaged_once_a_read_has_met_damage() {
        let folder = tempfile::tempdir().unwrap();
        let settings = JournalSettings::at(folder.path().join("journal.db"));
        open(&settings, Duration::ZERO, false).unwrap();
        let cleared = open_sound(&settings, Duration::ZERO, Some(CHECK_TIME)).unwrap();
        assert!(cleared.checked_whole && cleared.salvaged.is_none());
        let suspected = open_sound(&settings, Duration::ZERO, Some(Duration::ZERO));
        assert!(matches!(suspected, Err(OpenFault::Damaged(reason)) if reason == MET_BY_A_READ));
    }
}
