//! What is settled, and saved to the journal: the cursor, dead letters, losses, what the sink remembers.
//!
//! The saved cursor is never past an event that is neither delivered nor kept as a dead letter.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;
use trapline_schemas::codec;
use trapline_sink::Parcel;

use super::{Lane, Worker};
use crate::delivery::pipeline::sink_consumer;
use crate::delivery::store::{commit_unless_failing, is_failing};
use crate::journal::{Cause, Commit, DeadLetter, JournalError, Loss, Offset};

/// How long a cursor that moved may be unsaved without an answer: past entries of others, or what is owed no more.
const SAVE_AFTER: Duration = Duration::from_millis(200);
/// Wait after the journal could not keep a dead letter or cursor.
const KEEP_AGAIN: Duration = Duration::from_secs(1);
/// Most dead letters in memory while the journal's disk fails; then the sink waits for it.
const LETTERS_MAX: usize = 256;
/// The same of rows that the sink remembers.
const MEMOS_MAX: usize = 256;

impl Worker {
    /// Takes what the sink refused for good; it is kept before the cursor passes it, in one commit.
    pub(super) fn bury(&mut self, dead: &[(Arc<Parcel>, String)]) {
        if !dead.is_empty() {
            let waits_for_disk = self.save_at.filter(|_| is_failing(self.parts.store.as_ref()));
            self.save_at = Some(waits_for_disk.unwrap_or_else(Instant::now));
        }
        dead.iter().for_each(|(parcel, _)| self.ledger.finish(parcel.offset));
        self.letters.extend(self.refused(dead));
    }

    /// What the sink refused, as it is kept.
    pub(super) fn refused(&self, dead: &[(Arc<Parcel>, String)]) -> Vec<DeadLetter> {
        for (parcel, reason) in dead {
            warn!(
                sink.name = %self.name(), journal.offset = parcel.offset, reason = %reason,
                "sink {} refused an event, it is kept as a dead letter", self.name(),
            );
        }
        dead.iter()
            .map(|(parcel, reason)| self.letter(parcel, reason))
            .collect()
    }

    fn letter(&self, parcel: &Parcel, reason: &str) -> DeadLetter {
        DeadLetter {
            sink: self.name().to_owned(),
            offset: parcel.offset,
            reason: reason.to_owned(),
            body: codec::encode(&parcel.event).into(),
        }
    }

    /// Remembers what the journal is to be told with the next cursor.
    pub(super) fn note_losses(&mut self, lost: Vec<((Offset, Offset), Cause)>) {
        if !lost.is_empty() {
            self.save_at.get_or_insert_with(|| Instant::now() + SAVE_AFTER);
        }
        // In rising order: the journal tells a repeat by what was reported up to an offset.
        for ((first, last), cause) in lost {
            let before = self.losses.last_mut();
            match before.filter(|loss| loss.last + 1 == first && loss.cause == cause) {
                Some(before) => before.last = last,
                None => self.losses.push(Loss {
                    consumer: sink_consumer(self.name()),
                    first,
                    last,
                    cause,
                }),
            }
        }
    }

    pub(super) fn note_cursor(&mut self) {
        if self.cursor() != self.saved {
            self.save_at.get_or_insert_with(|| Instant::now() + SAVE_AFTER);
        }
    }

    /// Where a restart goes on: with the first event that the sink owes, if it owes any.
    pub(super) fn cursor(&self) -> Offset {
        let done = self.ledger.cursor();
        self.owed(Lane::Live).next().map_or(done, |first| done.min(first))
    }

    /// What an answer has settled goes to the journal at once. One that keeps an order waits until it is there; where
    /// others are under way it rides the next group, but for what must be kept, which the worker does when it wakes.
    pub(super) async fn settle(&mut self) -> Result<(), JournalError> {
        if self.queue.keeps_order() && self.under_way.is_empty() {
            return self.keep().await;
        }
        if !self.has_to_keep() && self.cursor() != self.saved {
            return self.enqueue_cursor().await;
        }
        Ok(())
    }

    /// Whether there is more to save than a cursor, whose loss repeats a delivery and no more.
    pub(super) fn has_to_keep(&self) -> bool {
        !self.letters.is_empty() || !self.losses.is_empty() || self.memory.unkept() > 0
    }

    /// Saves cursor and dead letters, and returns when they are kept: no batch starts before, so a kill repeats one at
    /// most. While the journal's disk fails they stay in memory, up to [`LETTERS_MAX`], and delivery goes on.
    pub(super) async fn keep(&mut self) -> Result<(), JournalError> {
        while self.save_at.is_some() {
            let cursor = self.cursor();
            match commit_unless_failing(self.parts.store.as_ref(), self.commit()).await {
                Ok(true) => {
                    (self.saved, self.save_at) = (cursor, None);
                    self.letters.clear();
                    self.losses.clear();
                    self.memory.kept();
                    return Ok(());
                }
                Ok(false) => {}
                Err(JournalError::Closed) => return Err(JournalError::Closed),
                Err(error) => {
                    warn!(sink.name = %self.name(), %error, "the journal does not keep the cursor of sink {} yet", self.name());
                }
            }
            self.save_at = Some(Instant::now() + KEEP_AGAIN);
            if self.letters.len() < LETTERS_MAX && self.memory.unkept() < MEMOS_MAX {
                return Ok(());
            }
            tokio::time::sleep(KEEP_AGAIN).await;
        }
        Ok(())
    }

    /// Saves the cursor, where that is all there is to save, with the next group, without waiting for it. A disk that
    /// fails is left alone: cursors would crowd out the hits that memory holds for it.
    pub(super) async fn enqueue_cursor(&mut self) -> Result<(), JournalError> {
        if is_failing(self.parts.store.as_ref()) {
            self.save_at = Some(Instant::now() + KEEP_AGAIN);
            return Ok(());
        }
        let (commit, cursor) = (self.commit(), self.cursor());
        self.save_at = None;
        match self.parts.store.enqueue(commit).await {
            Err(JournalError::Closed) => Err(JournalError::Closed),
            Ok(()) => {
                self.saved = cursor;
                Ok(())
            }
            // The next save makes up for one that was shed.
            Err(_) => Ok(()),
        }
    }

    pub(super) async fn save_last(&mut self) {
        let owed: Vec<_> = self.owed(Lane::Letters).collect();
        let aside = Some(self.aside_commit(&owed)).filter(|_| self.has_aside());
        let own = self.commit();
        let saved = match aside {
            Some(aside) => self.parts.store.commit(own.and(aside)).await,
            None => self.parts.store.commit(own).await,
        };
        if let Err(error) = saved {
            warn!(sink.name = %self.name(), %error, "the last cursor of sink {} is not saved", self.name());
        }
    }

    fn commit(&self) -> Commit {
        Commit {
            cursors: vec![(sink_consumer(self.name()), self.cursor())],
            losses: self.losses.clone(),
            dead_letters: self.letters.clone(),
            state: self.memory.rows(self.name()),
            ..Commit::default()
        }
    }
}
