//! The cases that are remembered.

use std::collections::{HashMap, HashSet, VecDeque};

use serde_json::{Value, json};
use trapline_sink::Memo;
use trapline_vendor::Remote;
use uuid::Uuid;

use crate::told::Level;

/// Cases known at once; of older ones the vendor is asked.
const CASES_MAX: usize = 20_000;
/// Most matters of which it is open whether a case was opened.
const UNSURE_MAX: usize = 1024;

/// A case of an incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Case {
    /// What the vendor told of it; without `id` there is none yet.
    pub(crate) remote: Remote,
    /// The gravest level that it was told.
    pub(crate) level: Option<Level>,
    /// Which case of the incident it is, from 1: the first may have been deleted.
    pub(crate) generation: u32,
    /// The last event that it was told.
    pub(crate) last: Option<Uuid>,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            remote: Remote::default(),
            level: None,
            generation: 1,
            last: None,
        }
    }
}

impl Case {
    pub(crate) fn exists(&self) -> bool {
        self.remote.has("id")
    }

    /// The next case of the same incident: this one is gone.
    pub(crate) fn next(&self) -> Self {
        Self {
            generation: self.generation.saturating_add(1),
            ..Self::default()
        }
    }

    fn write(&self, place: &str) -> Vec<u8> {
        let stored = json!({
            "at": place,
            "remote": self.remote.to_json(),
            "level": self.level.map(Level::word),
            "generation": self.generation,
            "last": self.last.map(|last| last.to_string()),
        });
        stored.to_string().into_bytes()
    }

    /// What was written for the same place; `None` for another's, or what cannot be read.
    fn read(stored: &[u8], place: &str) -> Option<Self> {
        let stored: Value = serde_json::from_slice(stored).ok()?;
        let text = |name: &str| stored.get(name).and_then(Value::as_str);
        (text("at") == Some(place)).then(|| Self {
            remote: Remote::from_json(stored.get("remote").unwrap_or(&Value::Null)),
            level: text("level").and_then(Level::parse),
            generation: stored
                .get("generation")
                .and_then(Value::as_u64)
                .and_then(|n| n.try_into().ok())
                .unwrap_or(1),
            last: text("last").and_then(|last| last.parse().ok()),
        })
    }
}

/// All that is known.
#[derive(Debug)]
pub(crate) struct Known {
    /// Vendor and endpoint: the ids of another place mean nothing here.
    place: String,
    cases: HashMap<Uuid, Case>,
    order: VecDeque<Uuid>,
    memos: Vec<Memo>,
    /// Matters of which a case may have been opened, and the event that was to open it.
    unsure: HashMap<Uuid, Uuid>,
    unsure_order: VecDeque<Uuid>,
    /// Before the first notice after a start: the one before it may have been cut off by a kill.
    fresh: bool,
}

impl Known {
    pub(crate) fn new(place: String) -> Self {
        Self {
            place,
            cases: HashMap::new(),
            order: VecDeque::new(),
            memos: Vec::new(),
            unsure: HashMap::new(),
            unsure_order: VecDeque::new(),
            fresh: false,
        }
    }

    /// Takes what was kept.
    pub(crate) fn recall(&mut self, rows: Vec<Memo>) {
        self.fresh = true;
        let mut seen = HashSet::new();
        for memo in rows {
            let key = memo.key().parse().ok();
            let case = memo.value().and_then(|stored| Case::read(stored, &self.place));
            if let (Some(key), Some(case)) = (key, case)
                && seen.insert(key)
            {
                self.enter(key, case);
            }
        }
    }

    pub(crate) fn get(&self, key: &Uuid) -> Case {
        self.cases.get(key).cloned().unwrap_or_default()
    }

    /// Remembers a case, to be kept.
    pub(crate) fn note(&mut self, key: Uuid, case: Case) {
        match Memo::keep(&key.to_string(), &case.write(&self.place)) {
            Some(memo) => self.memos.push(memo),
            None => tracing::warn!("a case has too long an id to be remembered over a restart"),
        }
        self.unsure.remove(&key);
        self.enter(key, case);
    }

    /// What is to be kept since it was last asked for.
    pub(crate) fn memos(&mut self) -> Vec<Memo> {
        std::mem::take(&mut self.memos)
    }

    /// It is open whether a case was opened, by this event.
    pub(crate) fn doubt(&mut self, key: Uuid, event: Uuid) {
        if self.unsure.insert(key, event).is_none() {
            self.unsure_order.push_back(key);
        }
        if self.unsure_order.len() > UNSURE_MAX
            && let Some(oldest) = self.unsure_order.pop_front()
        {
            self.unsure.remove(&oldest);
        }
    }

    /// A case was opened, by the event that may have done so, else by nobody here.
    pub(crate) fn doubt_whose(&mut self, key: Uuid) {
        let opener = self.opener(&key).unwrap_or_default();
        self.doubt(key, opener);
    }

    /// Whether a case may have been opened that nobody remembers.
    pub(crate) fn is_unsure(&self, key: &Uuid) -> bool {
        self.fresh || self.unsure.contains_key(key)
    }

    /// The event that may have opened it.
    pub(crate) fn opener(&self, key: &Uuid) -> Option<Uuid> {
        self.unsure.get(key).copied()
    }

    /// A notice is through: what was cut off by a kill has come again.
    pub(crate) fn settled(&mut self) {
        self.fresh = false;
    }

    fn enter(&mut self, key: Uuid, case: Case) {
        if self.cases.insert(key, case).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > CASES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.cases.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(id: &str) -> Case {
        let mut case = Case {
            level: Some(Level::Intent),
            generation: 2,
            last: Some(Uuid::from_u128(9)),
            ..Case::default()
        };
        case.remote.set("id", json!(id));
        case
    }

    #[test]
    fn a_case_is_remembered_as_it_was_and_only_at_its_place() {
        let (mut known, key) = (Known::new("here".into()), Uuid::from_u128(7));
        known.note(key, case("~1"));
        known.note(key, case("~2"));
        let memos = known.memos();
        assert!(known.memos().is_empty());
        let (mut again, mut elsewhere) = (Known::new("here".into()), Known::new("there".into()));
        again.recall(vec![
            memos[1].clone(),
            Memo::keep("odd", b"{}").unwrap(),
            Memo::forget("x"),
        ]);
        elsewhere.recall(memos);
        assert_eq!(again.get(&key), case("~2"));
        assert!(!elsewhere.get(&key).exists());
        assert_eq!(again.cases.len(), 1);
    }

    #[test]
    fn what_is_open_ends_with_the_first_notice_and_with_a_case() {
        let (mut known, key) = (Known::new("here".into()), Uuid::from_u128(7));
        assert!(!known.is_unsure(&key), "nothing was cut off where nothing is recalled");
        known.recall(Vec::new());
        assert!(known.is_unsure(&key));
        known.settled();
        assert!(!known.is_unsure(&key));
        known.doubt(key, Uuid::from_u128(1));
        assert_eq!(known.opener(&key), Some(Uuid::from_u128(1)));
        known.note(key, case("~1"));
        assert!(!known.is_unsure(&key));
    }

    #[test]
    fn tables_are_bounded() {
        let mut known = Known::new("here".into());
        for number in 0..2 * CASES_MAX as u128 {
            known.doubt(Uuid::from_u128(number), Uuid::nil());
            known.enter(Uuid::from_u128(number), case("~1"));
        }
        assert_eq!((known.cases.len(), known.order.len()), (CASES_MAX, CASES_MAX));
        assert_eq!((known.unsure.len(), known.unsure_order.len()), (UNSURE_MAX, UNSURE_MAX));
    }
}
