//! What a worker sends beside what comes: dead letters that a person gave back to it, and a replay.
//!
//! It goes to the same sink at the same pace, with the same answers: refused is a dead letter (anew), delivered is done.
//! 1. Live events go first: a batch from here goes when none of them is ready, or after [`ROW_MAX`] batches of them.
//! 2. Nothing from here moves the sink's cursor. What became of it is kept before a sink that keeps an order gets the
//!    next batch from here, so that a kill repeats no more than was under way.
//! 3. While the journal's disk fails nothing from here begins: it has time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};
use trapline_sink::BatchLimits;

use super::letters::Letters;
use super::replay::Replay;
use super::{Chunk, Worker};
use crate::delivery::divide::{Batch, Divided};
use crate::delivery::errands::{
    Order, Outcome, Progress, encode, find, order_key, progress_key, replay_consumer, retry_key, retry_of, retry_prefix,
};
use crate::delivery::store::{commit_unless_failing, is_failing};
use crate::journal::{Commit, JournalError, Offset};

/// Live batches in a row after which one from here goes, if there is one.
const ROW_MAX: u32 = 8;
/// How long what was only read may be unsaved.
const SAVE_AFTER: Duration = Duration::from_secs(1);
/// Wait after the journal did not keep or give something.
const AGAIN: Duration = Duration::from_secs(1);

/// Where a batch comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// What comes, from the sink's cursor on.
    Live,
    /// Dead letters to be sent again.
    Letters,
    /// A replay.
    Replay,
}

/// All that is not live.
pub(super) struct Aside {
    pub(super) calls: watch::Receiver<()>,
    letters: Letters,
    pub(super) replay: Option<Replay>,
    /// Live batches since one from here went.
    row: u32,
    /// Something has settled, and the journal does not know of it.
    unkept: bool,
    /// When what has settled or was read is to be kept.
    keep_at: Option<Instant>,
    /// When the journal is to be asked again.
    look_at: Option<Instant>,
}

impl Aside {
    pub(super) fn new(calls: watch::Receiver<()>, letters: Letters) -> Self {
        Self {
            calls,
            letters,
            replay: None,
            row: 0,
            unkept: false,
            keep_at: None,
            look_at: None,
        }
    }

    pub(super) fn set_limits(&mut self, limits: BatchLimits) {
        self.letters.queue.set_limits(limits);
        if let Some(replay) = &mut self.replay {
            replay.queue.set_limits(limits);
        }
    }

    /// Whether nothing waits to be sent.
    pub(super) fn is_empty(&self) -> bool {
        self.letters.queue.is_empty() && self.replay.as_ref().is_none_or(|replay| replay.queue.is_empty())
    }

    /// When something is to be done here, with so many batches of all lanes under way; nothing is sent while `paused`.
    pub(super) fn wake_at(&self, under_way: usize, paused: bool) -> Option<Instant> {
        let letters = self.letters.queue.lingers_until(under_way);
        let replay = self
            .replay
            .as_ref()
            .and_then(|replay| replay.queue.lingers_until(under_way));
        let lingers = [letters, replay].into_iter().flatten().filter(|_| !paused);
        self.keep_at.into_iter().chain(self.look_at).chain(lingers).min()
    }

    fn cut(&mut self, under_way: usize, now: Instant) -> Option<(Lane, Batch)> {
        if let Some(batch) = self.letters.cut(under_way, now) {
            return Some((Lane::Letters, batch));
        }
        let batch = self.replay.as_mut()?.cut(under_way, now)?;
        Some((Lane::Replay, batch))
    }
}

impl Worker {
    /// The batch that should go now, and from where.
    pub(super) fn cut(&mut self, now: Instant) -> Option<(Lane, Batch)> {
        if self.aside.row >= ROW_MAX
            && let Some(cut) = self.cut_aside(now)
        {
            return Some(cut);
        }
        self.queue.hold(self.ledger.span());
        if let Some(batch) = self.queue.cut(self.under_way.len(), now) {
            self.aside.row = self.aside.row.saturating_add(1);
            return Some((Lane::Live, batch));
        }
        self.cut_aside(now)
    }

    fn cut_aside(&mut self, now: Instant) -> Option<(Lane, Batch)> {
        let waits = self.aside.unkept && self.queue.keeps_order();
        if self.last.is_some() || waits || is_failing(self.parts.store.as_ref()) {
            return None;
        }
        let cut = self.aside.cut(self.under_way.len(), now)?;
        self.aside.row = 0;
        Some(cut)
    }

    /// What became of a batch from here.
    pub(super) async fn settle_aside(&mut self, lane: Lane, divided: Divided) -> Result<(), JournalError> {
        let refused = self.refused(&divided.dead);
        match (lane, &mut self.aside.replay) {
            (Lane::Letters, _) => self.aside.letters.settle(divided.delivered, refused, divided.again),
            (_, Some(replay)) => replay.settle(divided.delivered, refused, divided.again),
            // It is of a replay that is over.
            (_, None) => return Ok(()),
        }
        self.aside.unkept = true;
        self.keep_aside().await
    }

    /// Takes what was read for the replay.
    pub(super) fn take_replay(&mut self, chunk: Chunk) {
        let (now, consumer) = (Instant::now(), replay_consumer(self.name()));
        if let Some(replay) = &mut self.aside.replay {
            replay.take(&chunk, &consumer, now);
            let wait = if replay.has_ended(None) {
                Duration::ZERO
            } else {
                SAVE_AFTER
            };
            self.aside.keep_at = Some(self.aside.keep_at.map_or(now + wait, |at| at.min(now + wait)));
        }
    }

    /// Does what is due here by now.
    pub(super) async fn wake_aside(&mut self) -> Result<(), JournalError> {
        let now = Instant::now();
        if self.aside.look_at.is_some_and(|at| now >= at) {
            self.look_aside().await?;
        }
        if self.aside.keep_at.is_some_and(|at| now >= at) {
            self.keep_aside().await?;
        }
        Ok(())
    }

    /// Looks what was left to do.
    pub(super) async fn look_aside(&mut self) -> Result<(), JournalError> {
        self.aside.look_at = None;
        let looked = self.try_to_look().await;
        self.heed(looked)
    }

    async fn try_to_look(&mut self) -> Result<(), JournalError> {
        let name = self.name().to_owned();
        let marks = self.parts.store.states(&retry_prefix(&name)).await?;
        let marked = marks.iter().filter_map(|(key, _)| retry_of(key));
        let marked = marked.filter(|(sink, _)| *sink == name).map(|(_, offset)| offset);
        self.aside.letters.mark(marked);
        let rows = self.parts.store.states(&format!("{}/", replay_consumer(&name))).await?;
        self.heed_order(find(&rows, &order_key(&name)), find(&rows, &progress_key(&name)));
        self.fetch_letters().await
    }

    /// A journal that is closed ends the worker, anything else is tried again.
    fn heed(&mut self, result: Result<(), JournalError>) -> Result<(), JournalError> {
        match result {
            Err(JournalError::Closed) => Err(JournalError::Closed),
            Err(error) => {
                warn!(sink.name = %self.name(), %error, "what is to be sent again to sink {} cannot be read yet", self.name());
                self.aside.look_at = Some(Instant::now() + AGAIN);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    fn heed_order(&mut self, order: Option<Order>, progress: Option<Progress>) {
        let now = Instant::now();
        match (&mut self.aside.replay, order) {
            (None, None) => {}
            (Some(replay), None) => {
                replay.cancel();
                self.aside.keep_at = Some(now);
            }
            (Some(replay), Some(order)) if replay.is_of(&order) => {}
            (_, Some(order)) => {
                let progress = progress.filter(|progress| progress.order == order && progress.ended.is_none());
                let progress = progress.unwrap_or_else(|| Progress::new(order));
                info!(
                    sink.name = %self.name(), journal.offset = progress.next,
                    "sink {} gets a replay of entries {} to {}", self.name(), progress.next, progress.order.end,
                );
                let reader = (self.reader_at)(progress.next);
                let queue = self.queue.like();
                self.aside.replay = Some(Replay::new(progress, reader, queue));
                self.aside.keep_at = Some(now);
            }
        }
    }

    /// Takes the next letters to be sent again, as many as there is room for.
    async fn fetch_letters(&mut self) -> Result<(), JournalError> {
        let wanted = self.aside.letters.wanted();
        if wanted.is_empty() {
            return Ok(());
        }
        let found = self.parts.store.dead_letters_at(self.name(), wanted.clone()).await?;
        if self.aside.letters.take(&wanted, found, Instant::now()) {
            self.aside.keep_at = Some(Instant::now());
        }
        Ok(())
    }

    /// Keeps what has settled, and returns when it is kept or cannot be now.
    async fn keep_aside(&mut self) -> Result<(), JournalError> {
        let owed: Vec<_> = self.owed(Lane::Letters).collect();
        match commit_unless_failing(self.parts.store.as_ref(), self.aside_commit(&owed)).await {
            Ok(true) => {
                (self.aside.unkept, self.aside.keep_at) = (false, None);
                self.aside.letters.kept(&owed);
                self.replay_kept();
                let fetched = self.fetch_letters().await;
                return self.heed(fetched);
            }
            Ok(false) => {}
            Err(JournalError::Closed) => return Err(JournalError::Closed),
            Err(error) => {
                warn!(sink.name = %self.name(), %error, "the journal does not keep yet what was sent again to sink {}", self.name());
            }
        }
        self.aside.keep_at = Some(Instant::now() + AGAIN);
        Ok(())
    }

    fn replay_kept(&mut self) {
        let owed = self.owed(Lane::Replay).next();
        let Some(replay) = &mut self.aside.replay else { return };
        replay.kept();
        if replay.has_ended(owed) {
            let Progress { sent, refused, .. } = replay.progress(owed);
            self.aside.replay = None;
            info!(sink.name = %self.name(), sent, refused, "the replay to sink {} has ended, {sent} events were sent", self.name());
        }
    }

    /// All that the journal is to keep of this. In: letters that the sink may come back to.
    pub(super) fn aside_commit(&self, owed: &[Offset]) -> Commit {
        let name = self.name();
        let mut commit = Commit::default();
        let letters = &self.aside.letters;
        for offset in letters.delivered.iter().filter(|offset| !owed.contains(offset)) {
            commit.dead_letters_gone.push((name.to_owned(), *offset));
            commit.state.push((retry_key(name, *offset), None));
        }
        commit.dead_letters.extend(letters.refused.iter().cloned());
        let unmarked = letters
            .refused
            .iter()
            .map(|letter| letter.offset)
            .chain(letters.void.iter().copied());
        commit
            .state
            .extend(unmarked.map(|offset| (retry_key(name, offset), None)));
        if let Some(replay) = &self.aside.replay {
            self.add_replay(replay, &mut commit);
        }
        commit
    }

    fn add_replay(&self, replay: &Replay, commit: &mut Commit) {
        let (name, owed) = (self.name(), self.owed(Lane::Replay).next());
        let mut progress = replay.progress(owed);
        if replay.has_ended(owed) {
            let outcome = if replay.is_cancelled() {
                Outcome::Cancelled
            } else {
                Outcome::Done
            };
            progress.ended = Some((outcome, self.parts.clock.now().micros()));
            commit.cursors_gone.push(replay_consumer(name));
            commit.state.push((order_key(name), None));
        } else {
            commit.cursors.push((replay_consumer(name), progress.next));
        }
        commit.state.push((progress_key(name), Some(encode(&progress))));
        commit.dead_letters.extend(replay.refused.iter().cloned());
        // What had been refused before is delivered now.
        let gone = replay.delivered.iter().map(|offset| (name.to_owned(), *offset));
        commit.dead_letters_gone.extend(gone);
        commit.losses.extend(replay.losses.iter().cloned());
    }

    /// Whether a batch from here has an answer that the journal does not know of.
    pub(super) fn has_aside(&self) -> bool {
        self.aside.keep_at.is_some()
    }
}

/// Reads on for the replay; for ever without one. Cancel: safe.
pub(super) async fn read(replay: &mut Option<Replay>) -> Result<Chunk, JournalError> {
    match replay {
        Some(replay) if replay.room() > 0 => replay.reader.read(replay.room()).await,
        _ => std::future::pending().await,
    }
}

/// Batches that come back to a lane, see [`Divided::again`].
pub(super) type Again = Vec<Vec<Arc<trapline_sink::Parcel>>>;
