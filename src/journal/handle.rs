//! The handle that everybody holds, and the start.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};
use trapline_schemas::Timestamp;

use super::backup::backup;
use super::chain::Tip;
use super::figures::Figures;
use super::holders::Holders;
use super::letters;
use super::lock::{Inode, Lock, is_lock_of};
use super::look::{self, Looked};
use super::queue::{Job, Queue};
use super::read::{self, Readers, Tail};
use super::salvage::Salvage;
use super::settings::{Fact, Health, HealthLevel, JournalReport, JournalSettings, Told};
use super::skipped::Skipped;
use super::sqlite::{Cursors, Store};
use super::trim::Bounds;
use super::verify::{Verified, Walk};
use super::writer::Writer;
use super::{Commit, Cursor, DeadLetterCount, Entry, JournalError, KeptLetter, Offset, start};

/// Handle to the journal; cheap to clone. SQLite runs on its own threads.
///
/// The writer ends when [`Journal::close`] is called or the last handle is dropped; what was queued is written first.
#[derive(Debug, Clone)]
pub struct Journal {
    shared: Arc<Shared>,
    _life: Arc<Life>,
}

/// What handles and writer share.
#[derive(Debug)]
pub(super) struct Shared {
    pub queue: Queue,
    pub tail: Tail,
    pub readers: Arc<Readers>,
    pub head: watch::Sender<Offset>,
    pub health: watch::Sender<Health>,
    pub ended: watch::Sender<bool>,
    /// Entries below are not there yet: a salvage carries them over.
    pub unread_below: AtomicU64,
    /// Rounds of the writer's loop: it moves, whatever the disk says.
    pub turns: AtomicU64,
    path: PathBuf,
    tip: Mutex<Tip>,
    holders: Mutex<Holders>,
    bounds: Mutex<Bounds>,
    told: Mutex<Vec<Told>>,
    /// Offsets that no entry ever had.
    skipped: Mutex<Arc<Skipped>>,
    /// What the writer counts.
    figures: Mutex<Figures>,
    /// The lock file that the writer holds.
    held_lock: Mutex<Option<Inode>>,
}

impl Shared {
    pub fn new(settings: &JournalSettings, started: &start::Started) -> Self {
        let shared = Self::at(settings, started.store.tip, true);
        let below = started.salvage.as_ref().map_or(0, Salvage::below);
        shared.unread_below.store(below, Ordering::Release);
        shared.note_skipped(&started.store);
        shared.set_held_lock(started.lock.held());
        // It is told with the first group; who asks before must not hear that all is well.
        shared.tell(&started.report.facts());
        shared
    }

    fn at(settings: &JournalSettings, tip: Tip, keeps_log: bool) -> Self {
        Self {
            queue: Queue::new(),
            tail: Tail::default(),
            readers: Arc::new(Readers::new(settings.path.clone(), keeps_log)),
            head: watch::Sender::new(tip.next),
            health: watch::Sender::new(Health {
                level: HealthLevel::Ok,
                reason: "".into(),
                since: Timestamp::now(),
                held: 0,
                shed: 0,
            }),
            ended: watch::Sender::new(false),
            unread_below: AtomicU64::new(0),
            turns: AtomicU64::new(0),
            path: settings.path.clone(),
            tip: Mutex::new(tip),
            holders: Mutex::new(Holders::new(&settings.consumers, &settings.watchers, &settings.guests)),
            bounds: Mutex::new(Bounds::of(settings)),
            told: Mutex::default(),
            skipped: Mutex::default(),
            figures: Mutex::default(),
            held_lock: Mutex::default(),
        }
    }

    /// Notes what was told for whoever asks how the journal is.
    pub fn tell(&self, facts: &[Fact]) {
        let now = Timestamp::now();
        let mut told = lock(&self.told);
        facts.iter().for_each(|fact| Told::add(&mut told, fact, now));
    }

    /// Takes over which offsets no entry of the file ever had.
    pub fn note_skipped(&self, store: &Store) {
        match Skipped::read(&store.conn) {
            Ok(skipped) => *lock(&self.skipped) = Arc::new(skipped),
            Err(error) => tracing::warn!(%error, "offsets that were passed over may be counted as lost"),
        }
    }

    /// Counts a group that became durable.
    pub fn committed(&self, entries: usize, taken: Duration) {
        lock(&self.figures).committed(entries as u64, taken);
    }

    /// Counts a group that did not.
    pub fn refused(&self) {
        lock(&self.figures).refused += 1;
    }

    pub fn set_tip(&self, tip: Tip) {
        *lock(&self.tip) = tip;
    }

    pub fn set_held_lock(&self, held: Option<Inode>) {
        *lock(&self.held_lock) = held;
    }

    /// Who holds the trim back.
    pub fn consumers(&self, cursors: &Cursors) -> Arc<[String]> {
        lock(&self.holders).at(cursors)
    }

    /// Whether what all consumers have read stands elsewhere as well.
    pub fn delivers(&self) -> bool {
        lock(&self.holders).delivers()
    }

    pub fn bounds(&self) -> Bounds {
        *lock(&self.bounds)
    }
}

/// Closes the queue with the last handle.
#[derive(Debug)]
struct Life {
    shared: Arc<Shared>,
    /// Held here where there is no writer to hold it.
    lock: Option<Lock>,
}

impl Drop for Life {
    fn drop(&mut self) {
        self.shared.queue.close();
        if self.lock.is_some() {
            self.shared.readers.close();
        }
    }
}

/// How long a reader keeps an owner out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// While any handle is there: nothing may change under the reader.
    WhileOpen,
    /// Not at all, once it was looked at: what an owner appends or trims meanwhile is seen or not.
    WhileLooking,
}

impl Journal {
    /// Opens the journal, making it if absent, and starts its writer.
    ///
    /// Blocking: call it before the runtime starts, or on a blocking thread. Time: within 10 s in any case (a salvage
    /// or a check that takes longer goes on in the background), within 1 s if another instance holds it.
    /// Errors: [`JournalError::Held`], [`JournalError::Newer`], [`JournalError::Foreign`],
    /// [`JournalError::NotAFile`], [`JournalError::SqliteTooOld`], [`JournalError::Folder`], or
    /// [`JournalError::Storage`] if the disk refuses.
    pub fn open(settings: JournalSettings) -> Result<(Self, JournalReport), JournalError> {
        let begun = Instant::now();
        let started = start::start(&settings)?;
        let report = JournalReport {
            took: begun.elapsed(),
            ..started.report.clone()
        };
        let shared = Arc::new(Shared::new(&settings, &started));
        let writer = Writer::new(settings, shared.clone(), started);
        std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || writer.run())
            .map_err(|error| JournalError::Storage(format!("no thread for the writer: {error}").into()))?;
        Ok((Self::with(shared, None), report))
    }

    /// Opens the journal of an instance that does not run, to read it; `None` if there never was one.
    ///
    /// Nothing is changed: commits are refused, a log is left to the next owner, and so is the salvage of a damaged file.
    /// Blocking, for 2 s or so at most, while the lock is held; `hold` says for how long after.
    /// Errors: as of [`Journal::open`], and [`JournalError::Damaged`].
    pub fn open_to_read(path: PathBuf, hold: Hold) -> Result<Option<Self>, JournalError> {
        let Some(Looked { lock, tip, has_log }) = look::look(&path)? else {
            return Ok(None);
        };
        let shared = Shared::at(&JournalSettings::at(path), tip, has_log);
        shared.queue.close();
        shared.ended.send_replace(true);
        let lock = Some(lock).filter(|_| hold == Hold::WhileOpen);
        Ok(Some(Self::with(Arc::new(shared), lock)))
    }

    fn with(shared: Arc<Shared>, lock: Option<Lock>) -> Self {
        let life = Life {
            shared: shared.clone(),
            lock,
        };
        Self {
            shared,
            _life: Arc::new(life),
        }
    }

    /// Commits; returns the offset of the first appended entry (of the head, if nothing was appended) once durable.
    ///
    /// A commit without entries rides with the next that has some, 20 ms later at most. While the disk fails it waits.
    /// Errors: [`JournalError::Shed`] if memory ran out of room meanwhile; then nothing of it is written.
    /// Cancel: not after it was first polled to a wait: whether it is written is then unknown. Dropped while it waits
    /// for room, it is not.
    pub async fn commit(&self, commit: Commit) -> Result<Offset, JournalError> {
        let (done, durable) = oneshot::channel();
        self.push(commit, Some(done)).await?;
        durable.await.map_err(|_| JournalError::Closed)?
    }

    /// Hands a commit to the writer without waiting for the disk, waiting only for room in its queue: for hits, and
    /// for cursors whose loss repeats a delivery.
    ///
    /// If the disk fails for so long that memory runs full, the oldest hits are dropped, counted, and told by a gap
    /// entry. Cancel: safe; a commit whose future is dropped is not queued.
    pub async fn enqueue(&self, commit: Commit) -> Result<(), JournalError> {
        self.push(commit, None).await
    }

    /// Reads up to `count` entries at `from` or later, at most `bytes` of bodies (one entry at least).
    ///
    /// Empty at the head; then wait for [`Journal::head`] to change. Empty also where a salvage still carries entries
    /// over; then ask again. Cancel: safe.
    pub async fn read(&self, from: Offset, count: usize, bytes: usize) -> Result<Vec<Entry>, JournalError> {
        let head = *self.shared.head.borrow();
        if count == 0 || from >= head || from < self.unread_below() {
            return Ok(Vec::new());
        }
        if let Some(entries) = self.shared.tail.read(from, count, bytes) {
            return Ok(entries);
        }
        let mut entries = self.query(move |conn| read::entries(conn, from, count, bytes)).await?;
        // A group whose sync failed may stand in the file; nobody was told that it will stay.
        entries.truncate(entries.partition_point(|entry| entry.offset < head));
        // The file may have been replaced by one that is not whole yet while the query was on its way.
        Ok(if from < self.unread_below() {
            Vec::new()
        } else {
            entries
        })
    }

    /// The entries of these offsets that are there, in the order given. Cancel: safe.
    pub async fn entries(&self, offsets: Vec<Offset>) -> Result<Vec<Entry>, JournalError> {
        self.query(move |conn| read::entries_at(conn, &offsets)).await
    }

    /// The next offset to be given: changes with every commit that appended.
    pub fn head(&self) -> watch::Receiver<Offset> {
        self.shared.head.subscribe()
    }

    /// The newest durable entry's offset (0 if there never was one) and its chain hash: what leaves the host hourly.
    pub fn head_hash(&self) -> (Offset, [u8; 32]) {
        let tip = *lock(&self.shared.tip);
        (tip.next - 1, tip.chain)
    }

    /// How well the journal is; changes when level or reason change, and each second while it fails.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.shared.health.subscribe()
    }

    /// Whether the lock file at its place is the one that this process holds. Blocking, but short.
    pub fn holds_lock(&self) -> bool {
        lock(&self.shared.held_lock).is_some_and(|held| is_lock_of(&self.shared.path, held))
    }

    /// What the journal told of itself since the start.
    pub fn told(&self) -> Vec<Told> {
        lock(&self.shared.told).clone()
    }

    /// What was counted of its work since the start.
    pub fn figures(&self) -> Figures {
        lock(&self.shared.figures).clone()
    }

    /// Offsets that no entry ever had: whoever reads past them has lost nothing.
    pub fn skipped(&self) -> Arc<Skipped> {
        lock(&self.shared.skipped).clone()
    }

    /// Names the consumers whose cursors hold the age trim back, in place of those named before: those that deliver, those
    /// that do not, and those that hold it while they have a cursor.
    pub fn set_consumers(&self, consumers: &[String], watchers: &[String], guests: &[String]) {
        *lock(&self.shared.holders) = Holders::new(consumers, watchers, guests);
    }

    /// Keeps entries this long and this many bytes of them from now on; zero is without bound.
    pub fn set_retention(&self, age: Duration, bytes: u64) {
        *lock(&self.shared.bounds) = Bounds { age, bytes };
    }

    /// Grows about once a second while the writer is alive, also while the disk refuses what it writes.
    pub fn turns(&self) -> u64 {
        self.shared.turns.load(Ordering::Relaxed)
    }

    /// The oldest offset that is still there (the head, if empty). While a salvage carries entries over, the oldest
    /// that may still come: nobody walks past an entry that is on its way.
    pub async fn oldest(&self) -> Result<Offset, JournalError> {
        let head = *self.shared.head.borrow();
        let oldest = self.query(read::oldest).await?.unwrap_or(head);
        if self.unread_below() == 0 {
            return Ok(oldest);
        }
        Ok(self.query(read::anchor).await?.min(oldest))
    }

    /// How many entries there are. Time: that of a search for each place where the chain was broken.
    pub async fn count(&self) -> Result<u64, JournalError> {
        let head = *self.shared.head.borrow();
        self.query(move |conn| read::count(conn, head)).await
    }

    /// The first offset appended at `at` or later, by binary search; the head if there is none.
    pub async fn offset_at(&self, at: Timestamp) -> Result<Offset, JournalError> {
        let head = *self.shared.head.borrow();
        self.query(move |conn| read::offset_at(conn, at, head)).await
    }

    /// A consumer's cursor.
    pub async fn cursor(&self, consumer: &str) -> Result<Option<Offset>, JournalError> {
        let consumer = consumer.to_owned();
        self.query(move |conn| read::cursor(conn, &consumer)).await
    }

    /// Every cursor there is, of enabled consumers and others.
    pub async fn cursors(&self) -> Result<Vec<Cursor>, JournalError> {
        self.query(read::cursors).await
    }

    /// State by key.
    pub async fn state(&self, key: &str) -> Result<Option<Vec<u8>>, JournalError> {
        let key = key.to_owned();
        self.query(move |conn| read::state(conn, &key)).await
    }

    /// All state whose key starts with `prefix`, by key.
    pub async fn states(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, JournalError> {
        let prefix = prefix.to_owned();
        self.query(move |conn| read::states(conn, &prefix)).await
    }

    /// A page of dead letters of a sink (of all sinks if `None`), by sink and offset; the next one begins after the last
    /// of it. Empty after the last.
    pub async fn dead_letters(
        &self,
        sink: Option<&str>,
        after: Option<(String, Offset)>,
    ) -> Result<Vec<KeptLetter>, JournalError> {
        let sink = sink.map(str::to_owned);
        self.query(move |conn| letters::page(conn, sink.as_deref(), after.as_ref()))
            .await
    }

    /// The dead letters of a sink at these offsets that are there, in the order given, up to a bound of bytes: ask again
    /// for those behind the last.
    pub async fn dead_letters_at(&self, sink: &str, offsets: Vec<Offset>) -> Result<Vec<KeptLetter>, JournalError> {
        let sink = sink.to_owned();
        self.query(move |conn| letters::at(conn, &sink, &offsets)).await
    }

    /// How many dead letters each sink has that has any, by sink. Cheap: reads no body.
    pub async fn dead_letter_counts(&self) -> Result<Vec<DeadLetterCount>, JournalError> {
        self.query(letters::counts).await
    }

    /// Walks over the whole chain, oldest entry first. Cancel: safe.
    ///
    /// Time: about a second a gigabyte; hits and sinks go on meanwhile.
    pub async fn verify(&self) -> Result<Verified, JournalError> {
        self.verify_watched(|_, _| {}).await
    }

    /// Like [`Journal::verify`]; `walked` is told now and then how many offsets of how many are behind the walk.
    pub async fn verify_watched(&self, mut walked: impl FnMut(u64, u64)) -> Result<Verified, JournalError> {
        let mut walk = self.query(Walk::begin).await?;
        loop {
            match self.query(move |conn| walk.step(conn)).await? {
                Ok(found) => return Ok(found),
                Err(further) => walk = further,
            }
            let (first, next) = walk.stands();
            let head = *self.shared.head.borrow();
            walked(next - first, head.saturating_sub(first));
        }
    }

    /// Copies the journal, as it is at the call, to `target`, and says what a walk over the copy found. A file that is
    /// there is only replaced if `replace` says so. Cancel: the copy goes on.
    pub async fn backup(&self, target: PathBuf, replace: bool) -> Result<Verified, JournalError> {
        self.query(move |conn| Ok(backup(conn, &target, replace))).await?
    }

    /// Waits until nothing can be written any more: after [`Journal::close`], or because the writer broke down.
    ///
    /// Cancel: safe.
    pub async fn ended(&self) {
        let mut ended = self.shared.ended.subscribe();
        // An error says that the writer is gone, which is what is waited for.
        let _ = ended.wait_for(|ended| *ended).await;
    }

    /// Refuses new commits, writes those queued, carries the log into the file, and frees the lock.
    ///
    /// Cancel: safe; the writer ends all the same.
    pub async fn close(&self) {
        self.shared.queue.close();
        self.ended().await;
    }

    fn unread_below(&self) -> Offset {
        self.shared.unread_below.load(Ordering::Acquire)
    }

    async fn push(
        &self,
        commit: Commit,
        done: Option<oneshot::Sender<Result<Offset, JournalError>>>,
    ) -> Result<(), JournalError> {
        let job = Job { commit, done };
        if job.bytes() > COMMIT_BYTES_MAX {
            return Err(JournalError::TooLarge {
                bytes: job.bytes(),
                max: COMMIT_BYTES_MAX,
            });
        }
        self.shared.queue.push(job).await
    }

    async fn query<T: Send + 'static>(
        &self,
        query: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, JournalError> {
        self.shared.readers.run(query).await
    }
}

/// The values behind these locks are replaced whole: a panic elsewhere leaves them sound.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Largest commit: far above any event, far below what SQLite refuses.
const COMMIT_BYTES_MAX: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn while_a_salvage_carries_entries_over_nobody_walks_past_one_that_is_on_its_way() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(JournalSettings::at(folder.path().join("journal.db"))).unwrap();
        let append = ["one", "two", "three", "four"].map(bytes::Bytes::from).to_vec();
        journal
            .commit(Commit {
                append,
                ..Commit::default()
            })
            .await
            .unwrap();
        // Pages come in any order: the first entries may be the last to be carried over.
        let raw = rusqlite::Connection::open(folder.path().join("journal.db")).unwrap();
        raw.execute("DELETE FROM entries WHERE offset < 3", []).unwrap();
        journal.shared.unread_below.store(5, Ordering::Release);
        assert_eq!(journal.oldest().await.unwrap(), 1, "1 and 2 are still to come");
        assert_eq!(journal.read(1, 9, 99).await.unwrap(), []);
        raw.execute("DELETE FROM entries", []).unwrap();
        assert_eq!(journal.oldest().await.unwrap(), 1, "also if none has come yet");
        journal.shared.unread_below.store(0, Ordering::Release);
        assert_eq!(journal.oldest().await.unwrap(), 5);
        journal.close().await;
    }
}
