//! What a sink remembers, as far as the journal must know: which rows there are, how old, which are to be kept. Pure.
//!
//! A row stands in the state under `memory/SINK/KEY`: eight bytes, when it was written in microseconds since 1970, and
//! the sink's value. Values are not held here once they are kept.
//!
//! Invariant: of a sink there are at most [`MEMOS_MAX`] rows; the longest unwritten goes first.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use trapline_schemas::Timestamp;
use trapline_sink::Memo;
use trapline_sink::memory::{KEPT, MEMOS_MAX};

/// Under which the rows of a sink stand.
pub fn memory_prefix(sink: &str) -> String {
    format!("memory/{sink}/")
}

/// The rows of one sink.
#[derive(Debug, Default)]
pub(super) struct Memory {
    written: HashMap<Arc<str>, i64>,
    by_age: BTreeSet<(i64, Arc<str>)>,
    /// What the journal does not have yet, as it is to stand there.
    unkept: HashMap<Arc<str>, Option<Vec<u8>>>,
}

impl Memory {
    /// Takes over what the journal has of a sink, and gives what the sink is to be told of it. Rows that are too old
    /// or cannot be read are forgotten.
    pub(super) fn restore(rows: Vec<(String, Vec<u8>)>, sink: &str, now: Timestamp) -> (Self, Vec<Memo>) {
        let (mut memory, mut told) = (Self::default(), Vec::new());
        for (key, stored) in rows {
            let Some(key) = key.strip_prefix(&memory_prefix(sink)) else {
                continue;
            };
            match read(key, &stored) {
                Some((written, memo)) => {
                    memory.enter(key.into(), written);
                    told.push(memo);
                }
                None => drop(memory.unkept.insert(key.into(), None)),
            }
        }
        memory.expire(now);
        told.retain(|memo| memory.written.contains_key(memo.key()));
        (memory, told)
    }

    /// Takes what the sink wants kept.
    pub(super) fn note(&mut self, memos: Vec<Memo>, now: Timestamp) {
        for (key, value) in memos.into_iter().map(Memo::into_parts) {
            let key: Arc<str> = key.into();
            self.leave(&key);
            let stored = value.map(|value| [&now.micros().to_be_bytes(), value.as_slice()].concat());
            if stored.is_some() {
                self.enter(key.clone(), now.micros());
            }
            self.unkept.insert(key, stored);
        }
        self.expire(now);
    }

    /// How many rows the journal does not have as they are to be.
    pub(super) fn unkept(&self) -> usize {
        self.unkept.len()
    }

    /// Those rows, for a commit.
    pub(super) fn rows(&self, sink: &str) -> Vec<(String, Option<Vec<u8>>)> {
        let prefix = memory_prefix(sink);
        let rows = self.unkept.iter();
        rows.map(|(key, value)| (format!("{prefix}{key}"), value.clone()))
            .collect()
    }

    /// The journal has them.
    pub(super) fn kept(&mut self) {
        self.unkept.clear();
    }

    fn enter(&mut self, key: Arc<str>, written: i64) {
        self.by_age.insert((written, key.clone()));
        self.written.insert(key, written);
    }

    fn leave(&mut self, key: &Arc<str>) {
        if let Some(written) = self.written.remove(key) {
            self.by_age.remove(&(written, key.clone()));
        }
    }

    /// Forgets what is too old, and the oldest of what is too much.
    fn expire(&mut self, now: Timestamp) {
        let is_old = |written| now.since(Timestamp::from_micros(written)) >= KEPT;
        while let Some((written, key)) = self.by_age.first().cloned()
            && (is_old(written) || self.by_age.len() > MEMOS_MAX)
        {
            self.leave(&key);
            self.unkept.insert(key, None);
        }
    }
}

/// When a row was written, and what it says.
fn read(key: &str, stored: &[u8]) -> Option<(i64, Memo)> {
    let (written, value) = stored.split_first_chunk()?;
    Some((i64::from_be_bytes(*written), Memo::keep(key, value)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3600 * 1_000_000;

    fn day(day: i64) -> Timestamp {
        Timestamp::from_micros(day * DAY)
    }

    fn memo(key: &str, value: &str) -> Memo {
        Memo::keep(key, value.as_bytes()).unwrap()
    }

    /// What the journal has after a commit.
    fn stored(memory: &Memory) -> Vec<(String, Vec<u8>)> {
        let rows = memory.rows("desk").into_iter();
        rows.filter_map(|(key, value)| Some((key, value?))).collect()
    }

    fn keys(memos: &[Memo]) -> Vec<&str> {
        let mut keys: Vec<_> = memos.iter().map(Memo::key).collect();
        keys.sort_unstable();
        keys
    }

    #[test]
    fn what_was_noted_last_is_what_is_told() {
        let mut memory = Memory::default();
        memory.note(vec![memo("a", "1"), memo("b", "1"), memo("a", "2")], day(1));
        memory.note(vec![Memo::forget("b"), Memo::forget("never")], day(1));
        let (again, told) = Memory::restore(stored(&memory), "desk", day(2));
        assert_eq!(told, [memo("a", "2")]);
        assert_eq!((again.unkept(), again.written.len(), again.by_age.len()), (0, 1, 1));
        memory.kept();
        assert!(memory.rows("desk").is_empty());
    }

    #[test]
    fn a_row_is_forgotten_thirty_days_after_it_was_last_written() {
        let mut memory = Memory::default();
        memory.note(vec![memo("a", "1"), memo("b", "1")], day(1));
        memory.note(vec![memo("b", "2")], day(20));
        assert_eq!(keys(&Memory::restore(stored(&memory), "desk", day(30)).1), ["a", "b"]);
        let (again, told) = Memory::restore(stored(&memory), "desk", day(31));
        assert_eq!(keys(&told), ["b"]);
        assert_eq!(again.rows("desk"), [("memory/desk/a".to_owned(), None)]);
        memory.kept();
        memory.note(Vec::new(), day(31));
        assert_eq!(
            memory.rows("desk"),
            [("memory/desk/a".to_owned(), None)],
            "also without a restart"
        );
    }

    #[test]
    fn the_longest_unwritten_row_goes_for_a_new_one() {
        let mut memory = Memory::default();
        for number in 0..MEMOS_MAX {
            memory.note(
                vec![memo(&format!("{number:06}"), "")],
                Timestamp::from_micros(number as i64),
            );
        }
        memory.note(vec![memo("000000", "again")], Timestamp::from_micros(1 << 30));
        memory.kept();
        memory.note(vec![memo("new", "")], Timestamp::from_micros(1 << 30));
        let rows = memory.rows("desk");
        assert_eq!((rows.len(), memory.written.len()), (2, MEMOS_MAX));
        assert!(rows.contains(&("memory/desk/000001".to_owned(), None)));
    }

    #[test]
    fn a_row_that_cannot_be_read_is_forgotten_and_one_of_another_sink_is_not_touched() {
        let rows = vec![
            ("memory/desk/short".to_owned(), vec![1, 2]),
            ("memory/desks/a".to_owned(), vec![0; 9]),
        ];
        let (memory, told) = Memory::restore(rows, "desk", day(0));
        assert_eq!(told, []);
        assert_eq!(memory.rows("desk"), [("memory/desk/short".to_owned(), None)]);
    }
}
