//! The index: a derived file by which events are found.
//!
//! In: entries of the journal, made into narrow rows by a closure, as the index knows no more of events than the
//! journal does. Out: offsets that match a [`Search`], in pages. `index.db` stands beside the journal.
//!
//! 1. Everything in it is in the journal: it is removed and built anew when it is missing, damaged, of another version,
//!    ahead of the journal, or was open while the machine went down. It is never synced.
//! 2. It has its own cursor, in the same transaction as its rows: nothing is missing, nothing doubled.
//! 3. It never hurts the hits: groups are large, and while many hits come it works a hundredth of the time, lags, and
//!    says so ([`Page::indexed_to`]).
//! 4. It forgets what the journal trims.
//!
//! It holds no secret, no payload, and searches no text.

mod owned;
mod query;
mod table;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use smol_str::SmolStr;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use trapline_schemas::Timestamp;
use uuid::Uuid;

pub use self::owned::{Owned, OwnedIncident};
pub use self::query::{Page, Search};
use self::table::Table;
use super::sqlite::is_damage;
use super::{Entry, Journal, JournalError, Offset};

/// What an event is found by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IndexRow {
    /// Who came.
    pub source: Option<IpAddr>,
    /// The port that was touched.
    pub port: Option<u16>,
    /// The decoy that was touched.
    pub decoy: Option<SmolStr>,
    /// What happened.
    pub action: Option<SmolStr>,
    /// The level of touch.
    pub level: Option<SmolStr>,
    /// Risk score, 0 to 100.
    pub risk: Option<u8>,
    /// The incident it belongs to.
    pub incident: Option<Uuid>,
    /// The user name that was tried, clean and bounded.
    pub user: Option<SmolStr>,
    /// Of a source that somebody answers for, what is summed up of its incident.
    pub owned: Option<Owned>,
}

/// Makes a row from a body; `None` for what is not found by any of these.
pub type Extract = Arc<dyn Fn(&[u8]) -> Option<IndexRow> + Send + Sync>;

/// Handle to the index; cheap to clone.
#[derive(Clone)]
pub struct Index {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    journal: Journal,
    extract: Extract,
    /// Rows are written by one connection, searches go over another; both only on blocking threads.
    writing: Mutex<Option<Table>>,
    reading: Mutex<Option<Table>>,
    indexed_to: AtomicU64,
    trouble: Mutex<Option<Trouble>>,
}

/// Why the index does not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What the system or SQLite said.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index")
            .field("path", &self.shared.path)
            .finish_non_exhaustive()
    }
}

/// Where the index of the journal at `journal` stands.
pub fn beside(journal: &Path) -> PathBuf {
    journal.with_file_name("index.db")
}

/// What the index at `path` has seen of its journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// There is no index.
    Never,
    /// There is one, which cannot be used as it is.
    Unknown,
    /// Entries to before `next`.
    Until {
        /// The oldest that is found by anything.
        oldest: Option<Offset>,
        next: Offset,
    },
}

/// Asks the file at `path`. Blocking; for the journal's start, before the index runs.
pub(super) fn seen(path: &Path) -> Seen {
    if !path.exists() {
        return Seen::Never;
    }
    let read = || Table::open_existing(path)?.map(|table| table.seen()).transpose();
    match read() {
        Ok(Some((oldest, next))) => Seen::Until { oldest, next },
        Ok(None) => Seen::Unknown,
        Err(error) => {
            tracing::debug!(error = %error, "the index of the journal does not say what it has seen");
            Seen::Unknown
        }
    }
}

impl Index {
    /// An index of `journal` at `path`; nothing is opened before it is run or searched.
    pub fn new(path: PathBuf, journal: Journal, extract: Extract) -> Self {
        let (writing, reading) = (Mutex::new(None), Mutex::new(None));
        let shared = Shared {
            path,
            journal,
            extract,
            writing,
            reading,
            indexed_to: AtomicU64::new(0),
            trouble: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Follows the journal until `stop` or its end. A failing disk is tried again each 5 s.
    ///
    /// Cancel: by `stop`, so that the file is closed in order; dropped, it is still whole unless the machine goes down.
    pub async fn run(&self, stop: CancellationToken) {
        let mut head = self.shared.journal.head();
        while !stop.is_cancelled() {
            let before = (Instant::now(), *head.borrow_and_update());
            let rest = match self.follow().await {
                Ok(true) => Rest {
                    pause: pause(before, *head.borrow()),
                    until_more: false,
                },
                Ok(false) => Rest {
                    pause: LINGER,
                    until_more: true,
                },
                Err(JournalError::Closed) => break,
                Err(error) => {
                    self.shared.note(Some(error.to_string()));
                    Rest {
                        pause: RETRY,
                        until_more: false,
                    }
                }
            };
            // Both arms only wait: nothing is lost whichever is dropped.
            tokio::select! {
                () = stop.cancelled() => break,
                journal_lives = rest.wait(&mut head) => if !journal_lives { break },
            }
        }
        self.finish().await;
    }

    /// Takes what [`Index::run`] had not taken when it was stopped, so that the next start knows how far the journal came.
    ///
    /// Time: that of [`LAST_GROUPS`] at most; what a flood left beyond that is taken by the next run. Cancel: safe.
    pub async fn catch_up(&self) {
        for _ in 0..LAST_GROUPS {
            if !matches!(self.follow().await, Ok(true)) {
                break;
            }
        }
        self.finish().await;
    }

    /// Finds offsets. Time: below 200 ms at a million rows for any one field.
    ///
    /// Errors: [`JournalError::Storage`] if the file cannot be read; a damaged one is built anew by [`Index::run`].
    pub async fn search(&self, search: Search) -> Result<Page, JournalError> {
        let found = self
            .on(
                |shared| &shared.reading,
                Table::open_existing,
                move |table| table.search(&search),
            )
            .await?;
        // Without a file nothing was searched, however far the one before it was.
        Ok(found.map_or_else(Page::default, |page| Page {
            indexed_to: self.indexed_to(),
            ..page
        }))
    }

    /// Incidents of sources that somebody answers for, the latest first, at most `limit` of them. Errors: as of
    /// [`Index::search`].
    pub async fn owned(&self, limit: usize) -> Result<Vec<OwnedIncident>, JournalError> {
        let look = move |table: &mut Table| table.owned_latest(limit);
        let found = self.on(|shared| &shared.reading, Table::open_existing, look).await?;
        Ok(found.unwrap_or_default())
    }

    /// Those whose ids are from `first` to `last`, two of them at most. Errors: as of [`Index::search`].
    pub async fn owned_within(&self, first: Uuid, last: Uuid) -> Result<Vec<OwnedIncident>, JournalError> {
        let look = move |table: &mut Table| table.owned_within(first, last);
        let found = self.on(|shared| &shared.reading, Table::open_existing, look).await?;
        Ok(found.unwrap_or_default())
    }

    /// The first offset that is not in the index yet.
    pub fn indexed_to(&self) -> Offset {
        self.shared.indexed_to.load(Ordering::Acquire)
    }

    /// Why it does not go on, if it does not.
    pub fn trouble(&self) -> Option<Trouble> {
        let trouble = self.shared.trouble.lock();
        trouble.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes the next group of entries and forgets trimmed ones; says whether there are more to take.
    async fn follow(&self) -> Result<bool, JournalError> {
        let journal = &self.shared.journal;
        let (oldest, head) = (journal.oldest().await?, *journal.head().borrow());
        let next = self.write(move |table| table.next(oldest, head)).await?;
        let entries = journal.read(next, GROUP_ENTRIES, GROUP_BYTES).await?;
        let more = entries.last().is_some_and(|last| last.offset + 1 < head);
        let extract = self.shared.extract.clone();
        let next = self
            .write(move |table| table.take(next, &rows(&entries, &extract), oldest))
            .await?;
        self.shared.indexed_to.store(next, Ordering::Release);
        self.shared.note(None);
        Ok(more)
    }

    async fn finish(&self) {
        if let Err(error) = self.write(Table::close_in_order).await {
            tracing::debug!(error = %error, "the index of the journal is built anew at the next start");
        }
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Table) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, JournalError> {
        let done = self
            .on(
                |shared| &shared.writing,
                |path| Table::open_or_make(path).map(Some),
                work,
            )
            .await?;
        done.ok_or_else(|| JournalError::Storage("the index could not be made".into()))
    }

    /// Runs `work` on a connection, opened if need be, on a blocking thread; `None` if there is no file to open.
    async fn on<T: Send + 'static>(
        &self,
        which: fn(&Shared) -> &Mutex<Option<Table>>,
        open: fn(&Path) -> rusqlite::Result<Option<Table>>,
        work: impl FnOnce(&mut Table) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<Option<T>, JournalError> {
        let shared = self.shared.clone();
        let run = move || {
            // A panic in SQLite's binding would leave a connection that rolls back: the table is still whole.
            let mut held = which(&shared).lock().unwrap_or_else(PoisonError::into_inner);
            // A file that was removed goes on living for whoever has it open, and nobody else would find anything.
            let before = held.take();
            let had_one = before.is_some();
            let in_place = before.filter(|table| table.is_in_place(&shared.path));
            if had_one && in_place.is_none() {
                shared.indexed_to.store(0, Ordering::Release);
            }
            let result = match in_place.map_or_else(|| open(&shared.path), |table| Ok(Some(table))) {
                Ok(Some(mut table)) => work(&mut table).map(|done| {
                    *held = Some(table);
                    Some(done)
                }),
                Ok(None) => Ok(None),
                Err(error) => Err(error),
            };
            drop(held);
            result.map_err(|error| shared.heed(error))
        };
        tokio::task::spawn_blocking(run)
            .await
            .map_err(|error| JournalError::Storage(format!("the index's thread ended early: {error}").into()))?
    }
}

impl Shared {
    /// Notes how it goes; says what changed.
    fn note(&self, reason: Option<String>) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if trouble.as_ref().map(|trouble| &trouble.reason) == reason.as_ref() {
            return;
        }
        let path = self.path.display();
        match &reason {
            Some(reason) => tracing::warn!("the index {path} of the journal cannot go on, trying again: {reason}"),
            None => tracing::info!("the index {path} of the journal goes on"),
        }
        let since = trouble.take().map_or_else(Timestamp::now, |before| before.since);
        *trouble = reason.map(|reason| Trouble { reason, since });
    }

    /// A damaged index costs nothing but the time to build it again.
    fn heed(&self, error: rusqlite::Error) -> JournalError {
        if is_damage(&error) {
            tracing::warn!(error = %error, "the index of the journal is damaged and built anew");
            *self.writing.lock().unwrap_or_else(PoisonError::into_inner) = None;
            *self.reading.lock().unwrap_or_else(PoisonError::into_inner) = None;
            self.indexed_to.store(0, Ordering::Release);
            table::remove(&self.path);
        }
        error.into()
    }
}

fn rows(entries: &[Entry], extract: &Extract) -> Rows {
    let next = entries.last().map(|entry| entry.offset + 1);
    let rows = entries
        .iter()
        .filter_map(|entry| Some((entry.offset, extract(&entry.body)?)))
        .collect();
    Rows { rows, next }
}

/// The rows of a group, and the offset after it; `None` if there was nothing to take.
struct Rows {
    rows: Vec<(Offset, IndexRow)>,
    next: Option<Offset>,
}

/// The rest between two groups.
struct Rest {
    pause: Duration,
    /// Whether nothing is left to take before the journal's head moves.
    until_more: bool,
}

impl Rest {
    /// Waits; says whether the journal still lives. Cancel: safe.
    async fn wait(&self, head: &mut watch::Receiver<Offset>) -> bool {
        tokio::time::sleep(self.pause).await;
        !self.until_more || head.changed().await.is_ok()
    }
}

/// How long to rest while there is more to take: as long as the group took, [`FLOOD_REST`] times that while many hits come.
fn pause((begun, head_before): (Instant, Offset), head: Offset) -> Duration {
    let took = begun.elapsed();
    let flood = (head - head_before) as f64 > took.as_secs_f64() * FLOOD_PER_SECOND;
    if flood { took * FLOOD_REST } else { took }
}

/// Bounds of a group.
const GROUP_ENTRIES: usize = 2048;
const GROUP_BYTES: usize = 4 << 20;
/// Groups that the way down waits for.
const LAST_GROUPS: u32 = 4;
/// Rest when all is taken: an event is found this much later at most, on a quiet day.
const LINGER: Duration = Duration::from_millis(250);
const RETRY: Duration = Duration::from_secs(5);
const FLOOD_PER_SECOND: f64 = 500.0;
/// At a tenth of the time, a seventh of what a hit costs went here; at a hundredth it is 2 %, and the rows still come as
/// fast as what is just a flood.
const FLOOD_REST: u32 = 99;

#[cfg(test)]
mod tests;
