//! Who was acted on before, by which rule and at which step: the next step of an escalation follows.
//!
//! Layout of the journal's state: `acted/TARGET` is a JSON object, by rule, of its last step and when that was (microseconds).

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use smol_str::SmolStr;
use trapline_schemas::Timestamp;
use trapline_sink::set::Target;

use super::book::StateRow;
use super::decision::Part;

/// Prefix of all rows in the journal's state.
pub const STATE: &str = "acted/";

/// Most targets that are remembered; beyond it those acted on longest ago are forgotten.
const TARGETS_MAX: usize = 100_000;

/// At which step a rule last acted on a target, and when.
type Acts = BTreeMap<SmolStr, (u32, i64)>;

/// Who was acted on.
#[derive(Debug)]
pub struct History {
    remember: Duration,
    targets: HashMap<Target, Acts>,
}

impl History {
    /// What an earlier run left; rows that cannot be read are handed back by name, to be removed.
    pub fn restore(remember: Duration, rows: Vec<(String, Vec<u8>)>) -> (Self, Vec<String>) {
        let mut unreadable = Vec::new();
        let mut targets = HashMap::with_capacity(rows.len());
        for (name, row) in rows {
            let target = name.strip_prefix(STATE).and_then(|text| text.parse().ok());
            match target.zip(read(&row)) {
                Some((target, acts)) => drop(targets.insert(target, acts)),
                None => unreadable.push(name),
            }
        }
        (Self { remember, targets }, unreadable)
    }

    /// Remembers for so long from now on.
    pub const fn set_remember(&mut self, remember: Duration) {
        self.remember = remember;
    }

    /// Which step a rule is at with a target now, from 1.
    pub fn step(&self, target: Target, rule: &str, now: Timestamp) -> u32 {
        let acts = self.targets.get(&target).and_then(|acts| acts.get(rule));
        let remembered = acts.filter(|(_, last)| self.is_remembered(*last, now));
        remembered.map_or(1, |(count, _)| count.saturating_add(1))
    }

    /// A rule acts on a target, at this step. Out: rows to save.
    pub fn act(&mut self, target: Target, part: &Part, now: Timestamp) -> Vec<StateRow> {
        let mut rows = match self.targets.len() >= TARGETS_MAX && !self.targets.contains_key(&target) {
            true => self.make_room(now),
            false => Vec::new(),
        };
        let acts = self.targets.entry(target).or_default();
        acts.insert(part.rule.clone(), (part.step, now.micros()));
        rows.push((key(target), write(acts)));
        rows
    }

    /// Forgets whom nothing is remembered of any more. Out: rows to remove, at most `max`.
    pub fn forget(&mut self, now: Timestamp, max: usize) -> Vec<StateRow> {
        let is_over = |acts: &Acts| !acts.values().any(|(_, last)| self.is_remembered(*last, now));
        let over = self.targets.iter().filter(|(_, acts)| is_over(acts));
        let over: Vec<_> = over.map(|(target, _)| *target).take(max).collect();
        self.remove(over)
    }

    /// The tenth that was acted on longest ago goes.
    fn make_room(&mut self, now: Timestamp) -> Vec<StateRow> {
        let last = |acts: &Acts| acts.values().map(|(_, last)| *last).max();
        let mut by_age: Vec<_> = self
            .targets
            .iter()
            .map(|(target, acts)| (last(acts), *target))
            .collect();
        by_age.sort_unstable();
        tracing::warn!(
            at = now.micros(),
            "more than {TARGETS_MAX} sources were acted on: the earliest are forgotten"
        );
        let oldest = by_age.into_iter().take(TARGETS_MAX / 10);
        self.remove(oldest.map(|(_, target)| target).collect())
    }

    fn remove(&mut self, targets: Vec<Target>) -> Vec<StateRow> {
        for target in &targets {
            self.targets.remove(target);
        }
        targets.into_iter().map(|target| (key(target), None)).collect()
    }

    fn is_remembered(&self, last: i64, now: Timestamp) -> bool {
        let remember = i64::try_from(self.remember.as_micros()).unwrap_or(i64::MAX);
        now.micros().saturating_sub(last) < remember
    }
}

fn key(target: Target) -> String {
    format!("{STATE}{target}")
}

fn read(row: &[u8]) -> Option<Acts> {
    let acts: BTreeMap<String, (u32, i64)> = serde_json::from_slice(row).ok()?;
    Some(acts.into_iter().map(|(rule, act)| (rule.into(), act)).collect())
}

fn write(acts: &Acts) -> Option<Vec<u8>> {
    let acts: BTreeMap<&str, _> = acts.iter().map(|(rule, act)| (rule.as_str(), act)).collect();
    serde_json::to_vec(&acts).ok()
}
