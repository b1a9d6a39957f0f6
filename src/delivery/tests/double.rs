//! A journal in memory. It keeps the real one's promises, and dies when told to: after so many commits nothing is kept.
//! Its disk may stall, or fail, which it notices; commits wait for it then.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;
use trapline_schemas::{Timestamp, codec};

use super::sinks::take_one;
use crate::delivery::store::Store;
use crate::graph::Body;
use crate::journal::{Commit, DeadLetter, Entry, Health, HealthLevel, JournalError, KeptLetter, Loss, Offset, Skipped};

/// What is kept.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) entries: BTreeMap<Offset, Bytes>,
    pub(super) cursors: BTreeMap<String, Offset>,
    pub(super) state: BTreeMap<String, Vec<u8>>,
    pub(super) dead: Vec<DeadLetter>,
    pub(super) losses: Vec<Loss>,
    pub(super) skipped: Arc<Skipped>,
    next: Offset,
    /// Commits until the process is killed.
    fuse: Option<usize>,
    pub(super) reads: usize,
    /// Handed over while the disk failed: the real one holds them at the expense of hits.
    pub(super) held: Vec<Commit>,
    /// How often a call of each kind still takes its caller down.
    breaking: BTreeMap<Breaking, u32>,
}

/// A call that takes its caller down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Breaking {
    /// A read.
    Read,
    /// A commit with state, which only windows have.
    State,
    /// A commit without.
    Cursor,
}

/// The double.
#[derive(Debug, Clone)]
pub(super) struct MemoryStore {
    pub(super) kept: Arc<Mutex<Kept>>,
    head: watch::Sender<Offset>,
    disk: watch::Sender<Disk>,
    health: watch::Sender<Health>,
}

/// What the disk does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Disk {
    Works,
    /// Commits wait, and nobody knows why.
    Stalls,
    /// Commits wait, and the journal is known to fail.
    Fails,
}

impl Disk {
    fn health(self) -> Health {
        let level = match self {
            Self::Works | Self::Stalls => HealthLevel::Ok,
            Self::Fails => HealthLevel::Failing,
        };
        Health {
            level,
            reason: "".into(),
            since: Timestamp::default(),
            held: 0,
            shed: 0,
        }
    }
}

impl MemoryStore {
    pub(super) fn new() -> Self {
        let kept = Kept {
            next: 1,
            ..Kept::default()
        };
        Self {
            kept: Arc::new(Mutex::new(kept)),
            head: watch::Sender::new(1),
            disk: watch::Sender::new(Disk::Works),
            health: watch::Sender::new(Disk::Works.health()),
        }
    }

    pub(super) fn set_disk(&self, disk: Disk) {
        if disk == Disk::Works {
            let held = std::mem::take(&mut self.kept.lock().unwrap().held);
            held.into_iter().for_each(|commit| drop(self.apply(commit)));
        }
        self.disk.send_replace(disk);
        self.health.send_replace(disk.health());
    }

    /// Calls of this kind take their callers down, so often.
    pub(super) fn break_down(&self, at: Breaking, times: u32) {
        self.kept.lock().unwrap().breaking.insert(at, times);
    }

    /// How often calls of this kind still would.
    pub(super) fn breaks_left(&self, at: Breaking) -> u32 {
        self.kept.lock().unwrap().breaking.get(&at).copied().unwrap_or(0)
    }

    fn meet(&self, at: Breaking) {
        let breaks = self.kept.lock().unwrap().breaking.get_mut(&at).is_some_and(take_one);
        assert!(!breaks, "on purpose");
    }

    /// Has no entries from `first` to `last`, and never had those `skipped`.
    pub(super) fn lose(&self, first: Offset, last: Offset, skipped: Skipped) {
        let mut kept = self.kept.lock().unwrap();
        kept.entries.retain(|offset, _| !(first..=last).contains(offset));
        kept.skipped = skipped.into();
    }

    /// The process is killed at the commit after `commits` more: that one and all later ones are not kept.
    pub(super) fn kill_after(&self, commits: usize) {
        self.kept.lock().unwrap().fuse = Some(commits);
    }

    /// Whether the kill has happened.
    pub(super) fn is_killed(&self) -> bool {
        self.kept.lock().unwrap().fuse == Some(0)
    }

    /// The next process opens the same journal.
    pub(super) fn reopen(&self) -> Self {
        let mut kept = self.kept.lock().unwrap();
        (kept.fuse, kept.held) = (None, Vec::new());
        drop(kept);
        Self {
            kept: Arc::clone(&self.kept),
            head: watch::Sender::new(*self.head.borrow()),
            ..Self::new()
        }
    }

    pub(super) fn append(&self, event: &trapline_schemas::Event) -> Offset {
        self.append_body(codec::encode(event))
    }

    pub(super) fn append_body(&self, body: Vec<u8>) -> Offset {
        let mut kept = self.kept.lock().unwrap();
        let offset = kept.next;
        kept.next += 1;
        kept.entries.insert(offset, body.into());
        drop(kept);
        self.head.send_replace(offset + 1);
        offset
    }

    /// Retention takes everything before `offset`.
    pub(super) fn trim(&self, offset: Offset) {
        let mut kept = self.kept.lock().unwrap();
        kept.entries = kept.entries.split_off(&offset);
    }

    pub(super) fn cursor_of(&self, consumer: &str) -> Option<Offset> {
        self.kept.lock().unwrap().cursors.get(consumer).copied()
    }

    /// First and last offsets of what a consumer reported as lost.
    pub(super) fn losses_of(&self, consumer: &str) -> Vec<(Offset, Offset)> {
        let kept = self.kept.lock().unwrap();
        let own = kept.losses.iter().filter(|loss| loss.consumer == consumer);
        own.map(|loss| (loss.first, loss.last)).collect()
    }

    /// Waits until a consumer has reported this range.
    pub(super) async fn wait_for_loss(&self, consumer: &str, range: (Offset, Offset)) {
        for _ in 0..1000 {
            if self.losses_of(consumer).contains(&range) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("{consumer} did not report {range:?}");
    }

    pub(super) fn bodies(&self) -> Vec<(Offset, Body)> {
        let kept = self.kept.lock().unwrap();
        kept.entries
            .iter()
            .map(|(offset, body)| (*offset, Body::decode(body).unwrap()))
            .collect()
    }

    fn apply(&self, commit: Commit) -> Result<Offset, JournalError> {
        let mut kept = self.kept.lock().unwrap();
        match &mut kept.fuse {
            Some(0) => return Err(JournalError::Closed),
            Some(left) => *left -= 1,
            None => {}
        }
        if kept.fuse == Some(0) {
            return Err(JournalError::Closed);
        }
        let first = kept.next;
        for body in commit.append {
            let offset = kept.next;
            kept.entries.insert(offset, body);
            kept.next += 1;
        }
        kept.cursors.extend(commit.cursors);
        kept.losses.extend(commit.losses);
        for (key, value) in commit.state {
            match value {
                Some(value) => kept.state.insert(key, value),
                None => kept.state.remove(&key),
            };
        }
        for letter in commit.dead_letters {
            kept.dead
                .retain(|dead| (&dead.sink, dead.offset) != (&letter.sink, letter.offset));
            kept.dead.push(letter);
        }
        for gone in commit.dead_letters_gone {
            kept.dead.retain(|dead| (&dead.sink, dead.offset) != (&gone.0, gone.1));
        }
        for gone in commit.cursors_gone {
            kept.cursors.remove(&gone);
        }
        let head = kept.next;
        drop(kept);
        self.head.send_if_modified(|old| std::mem::replace(old, head) != head);
        Ok(first)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn commit(&self, commit: Commit) -> Result<Offset, JournalError> {
        tokio::task::yield_now().await;
        self.meet(match commit.state.is_empty() {
            true => Breaking::Cursor,
            false => Breaking::State,
        });
        let _ = self.disk.subscribe().wait_for(|disk| *disk == Disk::Works).await;
        self.apply(commit)
    }
    async fn enqueue(&self, commit: Commit) -> Result<(), JournalError> {
        if *self.disk.borrow() == Disk::Works {
            return self.apply(commit).map(|_| ());
        }
        self.kept.lock().unwrap().held.push(commit);
        Ok(())
    }
    async fn read(&self, from: Offset, count: usize, bytes: usize) -> Result<Vec<Entry>, JournalError> {
        tokio::task::yield_now().await;
        self.meet(Breaking::Read);
        let mut kept = self.kept.lock().unwrap();
        kept.reads += 1;
        let mut room = bytes;
        let fits = |(_, body): &(&Offset, &Bytes)| {
            let fits = room == bytes || body.len() <= room;
            room = room.saturating_sub(body.len());
            fits
        };
        let entries = kept.entries.range(from..).take(count).take_while(fits);
        let entry = |(offset, body): (&Offset, &Bytes)| Entry {
            offset: *offset,
            appended_at: Timestamp::from_micros(*offset as i64 * 1_000_000),
            body: body.clone(),
        };
        Ok(entries.map(entry).collect())
    }
    fn head(&self) -> watch::Receiver<Offset> {
        self.head.subscribe()
    }
    fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }
    async fn oldest(&self) -> Result<Offset, JournalError> {
        let kept = self.kept.lock().unwrap();
        Ok(kept.entries.keys().next().copied().unwrap_or(kept.next))
    }
    fn skipped(&self) -> Arc<Skipped> {
        Arc::clone(&self.kept.lock().unwrap().skipped)
    }
    async fn cursor(&self, consumer: &str) -> Result<Option<Offset>, JournalError> {
        Ok(self.cursor_of(consumer))
    }
    async fn states(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, JournalError> {
        let kept = self.kept.lock().unwrap();
        let rows = kept.state.iter().filter(|(key, _)| key.starts_with(prefix));
        Ok(rows.map(|(key, value)| (key.clone(), value.clone())).collect())
    }
    async fn dead_letters_at(&self, sink: &str, offsets: Vec<Offset>) -> Result<Vec<KeptLetter>, JournalError> {
        let kept = self.kept.lock().unwrap();
        let find = |offset: Offset| {
            let letter = kept
                .dead
                .iter()
                .find(|dead| dead.sink == sink && dead.offset == offset)?;
            Some(KeptLetter {
                at: Timestamp::default(),
                letter: letter.clone(),
            })
        };
        // As if no more fitted into the answer.
        Ok(offsets.into_iter().filter_map(find).take(3).collect())
    }
}
