//! A destination in memory with its own clock, which goes on whatever the wall clock shows.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use trapline_schemas::Timestamp;
use trapline_sink::set::{Applied, Change, Member, Put, SetLimits, Spared, Standing, Target};
use trapline_sink::{Fault, FaultKind};

use super::super::core::shifted;
use super::SLACK;

/// What a destination suffers from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ill {
    Away(FaultKind),
    /// It makes changes and answers none of them.
    LosesAnswers,
    /// Of each batch it makes every second change.
    Half,
}

pub struct World {
    /// By target: when the destination ends it, or was to, and what it calls it.
    pub entries: HashMap<Target, Instant>,
    pub ends_itself: bool,
    /// It says that it ends entries by itself, and does not.
    pub never_ends: bool,
    pub room: usize,
    pub batch: usize,
    pub ill: Option<Ill>,
    pub spared: Arc<Spared>,
    /// Targets that it refuses for good, and that there is nothing for.
    pub refused: HashSet<Target>,
    pub nowhere: HashSet<Target>,
    /// Targets that it fails over, again and again.
    pub fails: HashSet<Target>,
    pub lists: usize,
    pub batches: Vec<Vec<Change>>,
    pub settles: usize,
}

impl World {
    pub fn new(ends_itself: bool) -> Self {
        Self {
            entries: HashMap::new(),
            ends_itself,
            never_ends: false,
            room: 1000,
            batch: 4,
            ill: None,
            spared: Arc::new(Spared::new([])),
            refused: HashSet::new(),
            nowhere: HashSet::new(),
            fails: HashSet::new(),
            lists: 0,
            batches: Vec::new(),
            settles: 0,
        }
    }

    pub fn limits(&self) -> SetLimits {
        SetLimits {
            changes: self.batch,
            members: self.room,
            slack: SLACK,
        }
    }

    /// What is over ends, where the destination does that.
    pub fn pass(&mut self, at: Instant) {
        if self.ends_itself && !self.never_ends {
            self.entries.retain(|_, end| *end > at);
        }
    }

    pub fn fault(kind: FaultKind) -> Fault {
        Fault {
            kind,
            message: "the world says so".to_owned(),
        }
    }

    pub fn stands(&mut self, wall: Timestamp, at: Instant) -> Result<Vec<Standing>, Fault> {
        self.pass(at);
        self.lists += 1;
        if let Some(Ill::Away(kind)) = self.ill {
            return Err(Self::fault(kind));
        }
        let late = |end: &Instant| i64::try_from(at.saturating_duration_since(*end).as_micros()).unwrap();
        let left = |end: &Instant| shifted(wall, end.saturating_duration_since(at));
        let until = |end: &Instant| Timestamp::from_micros(left(end).micros() - late(end));
        let standing = |(target, end): (&Target, &Instant)| Standing {
            target: *target,
            until: self.ends_itself.then(|| until(end)),
            decision: None,
            handle: None,
        };
        Ok(self.entries.iter().map(standing).collect())
    }

    pub fn apply(&mut self, batch: &[Change], wall: Timestamp, at: Instant) -> Applied {
        self.pass(at);
        assert!((1..=self.batch).contains(&batch.len()), "{} changes", batch.len());
        self.batches.push(batch.to_vec());
        if let Some(Ill::Away(kind)) = self.ill {
            return Applied::retry(batch.len(), Self::fault(kind));
        }
        let ill = self.ill;
        let made = batch.iter().enumerate().map(|(n, change)| match ill {
            Some(Ill::Half) if n % 2 == 1 => Put::Retry,
            _ => self.change(change, wall, at),
        });
        let outcomes: Vec<_> = made.collect();
        if ill == Some(Ill::LosesAnswers) {
            return Applied::retry(batch.len(), Self::fault(FaultKind::Unreachable));
        }
        let failed = outcomes.contains(&Put::Retry);
        Applied {
            outcomes,
            retry_after: None,
            fault: failed.then(|| Self::fault(FaultKind::Server)),
        }
    }

    fn change(&mut self, change: &Change, wall: Timestamp, at: Instant) -> Put {
        match change {
            Change::Take(entry) => {
                self.entries.remove(&entry.target);
                Put::DONE
            }
            Change::Put(member) => self.put(member, wall, at),
        }
    }

    fn put(&mut self, member: &Member, wall: Timestamp, at: Instant) -> Put {
        let target = member.target;
        assert_eq!(
            self.spared.why(target),
            None,
            "{target} is spared, and was to be put in"
        );
        if self.refused.contains(&target) {
            return Put::Refused("refused".to_owned());
        }
        if self.fails.contains(&target) {
            return Put::Retry;
        }
        if self.nowhere.contains(&target) {
            return Put::Nowhere("nothing there".to_owned());
        }
        if self.entries.len() >= self.room && !self.entries.contains_key(&target) {
            // Somebody else's hand has taken the room.
            return Put::Retry;
        }
        let ttl = member.until.since(wall);
        assert_ne!(ttl, Duration::ZERO, "{target} is over, and was to be put in");
        self.entries.insert(target, at + ttl);
        Put::Done {
            handle: Some(format!("entry {target}").into()),
        }
    }
}
