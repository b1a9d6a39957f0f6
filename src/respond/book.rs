//! All decisions that are not over, by id, by target and by their end.
//!
//! Layout of the journal's state: `decisions/ID` is a [`Row`] as JSON.

use std::collections::{BTreeSet, HashMap};

use trapline_schemas::Timestamp;
use trapline_sink::set::{Scope, Target, Verb, Wanted};
use uuid::Uuid;

use super::decision::{Decision, Phase};
use super::row::Row;

/// Prefix of all rows in the journal's state.
pub const STATE: &str = "decisions/";

/// A row of the journal's state to save; `None` removes it.
pub type StateRow = (String, Option<Vec<u8>>);

/// All decisions that are not over.
#[derive(Debug, Default)]
pub struct Book {
    by_id: HashMap<Uuid, Decision>,
    by_target: HashMap<Target, Vec<Uuid>>,
    ends: BTreeSet<(Timestamp, Uuid)>,
    active: usize,
    over: usize,
}

impl Book {
    /// What an earlier run left; rows that cannot be read are handed back by name, to be removed.
    pub fn restore(rows: Vec<(String, Vec<u8>)>) -> (Self, Vec<String>) {
        let mut book = Self::default();
        let mut unreadable = Vec::new();
        for (name, row) in rows {
            match serde_json::from_slice::<Row>(&row).ok().and_then(Row::decision) {
                Some(decision) => book.put(decision),
                None => unreadable.push(name),
            }
        }
        (book, unreadable)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// How many are in force, wait, or are remembered so that they are not made again: all but those that are over.
    pub fn open(&self) -> usize {
        self.by_id.len() - self.over
    }

    /// How many are in force.
    pub const fn active(&self) -> usize {
        self.active
    }

    /// All, in no order.
    pub fn all(&self) -> impl Iterator<Item = &Decision> {
        self.by_id.values()
    }

    /// One by its id.
    pub fn get(&self, id: Uuid) -> Option<&Decision> {
        self.by_id.get(&id)
    }

    /// Those about a target, the oldest first.
    pub fn of(&self, target: Target) -> impl Iterator<Item = &Decision> {
        let ids = self.by_target.get(&target).into_iter().flatten();
        ids.filter_map(|id| self.by_id.get(id))
    }

    /// The one that rules made about a target, if it is not over.
    pub fn automatic(&self, target: Target) -> Option<&Decision> {
        let is_it = |decision: &&Decision| decision.is_automatic() && decision.phase != Phase::Over;
        self.of(target).find(is_it)
    }

    /// Puts one in, in the place of the one with its id.
    pub fn put(&mut self, decision: Decision) {
        self.remove(decision.id);
        self.ends.insert((decision.forgotten(), decision.id));
        self.by_target.entry(decision.target).or_default().push(decision.id);
        self.active += usize::from(decision.phase == Phase::Active);
        self.over += usize::from(decision.phase == Phase::Over);
        self.by_id.insert(decision.id, decision);
    }

    /// Takes one out.
    pub fn remove(&mut self, id: Uuid) -> Option<Decision> {
        let decision = self.by_id.remove(&id)?;
        self.ends.remove(&(decision.forgotten(), id));
        self.active -= usize::from(decision.phase == Phase::Active);
        self.over -= usize::from(decision.phase == Phase::Over);
        if let Some(ids) = self.by_target.get_mut(&decision.target) {
            ids.retain(|there| *there != id);
            if ids.is_empty() {
                self.by_target.remove(&decision.target);
            }
        }
        Some(decision)
    }

    /// Those whose time is over, the earliest first.
    pub fn due(&self, now: Timestamp) -> Vec<Uuid> {
        let over = self.ends.iter().take_while(|(until, _)| *until <= now);
        over.map(|(_, id)| *id).collect()
    }

    /// When the next one ends.
    pub fn next_end(&self) -> Option<Timestamp> {
        self.ends.first().map(|(until, _)| *until)
    }

    /// What is wanted of a sink that does `verb` to those in its scope. Of several decisions about one target the one that
    /// lasts longest stands for it, with the greatest gravity of them.
    pub fn wanted(&self, sink: &str, verb: Verb, scope: Scope) -> Wanted {
        let mut wanted = Wanted::new();
        let in_force = self.by_id.values().filter(|decision| decision.phase == Phase::Active);
        for decision in in_force.filter(|decision| scope.takes(decision.inside) && decision.verbs.contains(&verb)) {
            let member = decision.member(sink);
            wanted
                .entry(decision.target)
                .and_modify(|there| {
                    let gravity = there.gravity.max(member.gravity);
                    let handle = there.handle.clone().or_else(|| member.handle.clone());
                    // Of equal ends the id decides, so that what is wanted does not change from look to look.
                    if (member.until, member.decision) > (there.until, there.decision) {
                        *there = member.clone();
                    }
                    there.gravity = gravity;
                    there.handle = handle;
                })
                .or_insert(member);
        }
        wanted
    }

    /// The row of one, for the journal: its removal if it is over.
    pub fn row(&self, id: Uuid) -> StateRow {
        let row = self
            .get(id)
            .and_then(|decision| serde_json::to_vec(&Row::from(decision)).ok());
        (format!("{STATE}{id}"), row)
    }
}
