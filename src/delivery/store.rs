//! What delivery needs of the journal: the seam behind which tests put a double.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::journal::{Commit, Entry, Health, HealthLevel, Journal, JournalError, KeptLetter, Offset, Skipped};

/// The journal, as far as its consumers see it. See [`Journal`] for each promise.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Commits, and returns when it is kept. A commit of cursors alone rides with the next group.
    async fn commit(&self, commit: Commit) -> Result<Offset, JournalError>;
    /// Hands a commit over without waiting for it to be kept.
    async fn enqueue(&self, commit: Commit) -> Result<(), JournalError>;
    /// Reads entries at `from` or later.
    async fn read(&self, from: Offset, count: usize, bytes: usize) -> Result<Vec<Entry>, JournalError>;
    /// The next offset to be given.
    fn head(&self) -> watch::Receiver<Offset>;
    /// How well the journal is.
    fn health(&self) -> watch::Receiver<Health>;
    /// The oldest offset that is still there.
    async fn oldest(&self) -> Result<Offset, JournalError>;
    /// Offsets that no entry ever had.
    fn skipped(&self) -> Arc<Skipped>;
    /// A consumer's cursor.
    async fn cursor(&self, consumer: &str) -> Result<Option<Offset>, JournalError>;
    /// All state whose key starts with `prefix`.
    async fn states(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, JournalError>;
    /// The dead letters of a sink at these offsets, as many of the first as fit.
    async fn dead_letters_at(&self, sink: &str, offsets: Vec<Offset>) -> Result<Vec<KeptLetter>, JournalError>;
}

#[async_trait]
impl Store for Journal {
    async fn commit(&self, commit: Commit) -> Result<Offset, JournalError> {
        Self::commit(self, commit).await
    }
    async fn enqueue(&self, commit: Commit) -> Result<(), JournalError> {
        Self::enqueue(self, commit).await
    }
    async fn read(&self, from: Offset, count: usize, bytes: usize) -> Result<Vec<Entry>, JournalError> {
        Self::read(self, from, count, bytes).await
    }
    fn head(&self) -> watch::Receiver<Offset> {
        Self::head(self)
    }
    fn health(&self) -> watch::Receiver<Health> {
        Self::health(self)
    }
    async fn oldest(&self) -> Result<Offset, JournalError> {
        Self::oldest(self).await
    }
    fn skipped(&self) -> Arc<Skipped> {
        Self::skipped(self)
    }
    async fn cursor(&self, consumer: &str) -> Result<Option<Offset>, JournalError> {
        Self::cursor(self, consumer).await
    }
    async fn states(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, JournalError> {
        Self::states(self, prefix).await
    }
    async fn dead_letters_at(&self, sink: &str, offsets: Vec<Offset>) -> Result<Vec<KeptLetter>, JournalError> {
        Self::dead_letters_at(self, sink, offsets).await
    }
}

/// Whether nothing becomes durable at this moment.
pub(super) fn is_failing(store: &dyn Store) -> bool {
    store.health().borrow().level == HealthLevel::Failing
}

/// Commits, and says whether it is kept. A disk that fails is not waited for: then nothing is committed, or, if it began
/// to fail meanwhile, it may be kept later, before whatever is committed next.
pub(super) async fn commit_unless_failing(store: &dyn Store, commit: Commit) -> Result<bool, JournalError> {
    let mut health = store.health();
    tokio::select! {
        biased;
        _ = health.wait_for(|health| health.level == HealthLevel::Failing) => Ok(false),
        kept = store.commit(commit) => kept.map(|_| true),
    }
}
