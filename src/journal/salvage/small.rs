//! The small tables of a damaged file: where it begins and ends, cursors, state, dead letters.

use bytes::Bytes;
use rusqlite::Transaction;

use super::extent::{Clues, Extent};
use super::pages::{Pages, word};
use super::rows::{self, Found, Row, Value};
use super::sound;
use crate::journal::chain::{Hash, Tip};
use crate::journal::index::Seen;
use crate::journal::skipped::{self, Skipped};
use crate::journal::sqlite::offset;
use crate::journal::{Commit, DeadLetter, Offset};

/// The small tables, as far as they can be read.
#[derive(Debug, Default)]
pub(super) struct Small {
    pub anchor: Option<Tip>,
    /// Offset given last, if its table can be read.
    pub given: Option<Offset>,
    pub newest: Option<Found>,
    cursors: Vec<Row>,
    state: Vec<Row>,
    dead_letters: Vec<Row>,
    losses: Vec<Row>,
}

impl Small {
    pub fn read(pages: &Pages) -> Self {
        let roots = Roots::read(pages);
        let table = |name: &str| rows::of_table(pages, roots.of(name));
        Self {
            anchor: table("anchor").into_iter().find_map(anchor),
            given: table("sqlite_sequence").into_iter().find_map(given),
            newest: rows::last_of_table(pages, roots.of("entries")).and_then(sound),
            cursors: table("cursors"),
            state: table("state"),
            dead_letters: table("dead_letters"),
            losses: table("losses"),
        }
    }

    /// What goes to the new file; no cursor is beyond `head`.
    pub fn commit(&self, head: Offset) -> Commit {
        Commit {
            cursors: self.cursors.iter().filter_map(|row| cursor(row, head)).collect(),
            state: self.state.iter().filter_map(state).collect(),
            dead_letters: self.dead_letters.iter().filter_map(dead_letter).collect(),
            ..Commit::default()
        }
    }

    /// How many rows that are.
    pub fn count(&self) -> usize {
        let commit = self.commit(Offset::MAX);
        commit.cursors.len() + commit.state.len() + commit.dead_letters.len()
    }

    /// Brings what consumers miss, and nobody was told of yet, to the new file.
    pub fn carry_losses(&self, tx: &Transaction<'_>) -> rusqlite::Result<()> {
        for (name, [first, last, count]) in self.losses.iter().filter_map(loss) {
            tx.prepare_cached("INSERT OR REPLACE INTO losses (consumer, first, last, count) VALUES (?1, ?2, ?3, ?4)")?
                .execute((name, first, last, count))?;
        }
        Ok(())
    }

    /// What the file had held, if the new one goes on at `resumed` and `found` is behind the newest row found.
    pub fn extent(&self, resumed: Offset, found: Offset, seen: Seen) -> Extent {
        let clues = Clues {
            found,
            given: self.given,
            seen,
        };
        Extent::of(self.anchor.map(|anchor| anchor.next), resumed, &clues)
    }

    /// What earlier salvages had skipped.
    pub fn skipped(&self) -> Skipped {
        self.ranges(skipped::KEY)
    }

    /// What was missing before, and told.
    pub fn told(&self) -> Skipped {
        self.ranges(skipped::TOLD)
    }

    fn ranges(&self, wanted: &str) -> Skipped {
        let lines = self.state.iter().filter_map(state).find(|(key, _)| key == wanted);
        lines
            .and_then(|(_, lines)| lines)
            .map_or_else(Skipped::default, |lines| Skipped::parse(&lines))
    }
}

/// The schema version, if header and anchor say the same.
pub(super) fn version(pages: &Pages) -> Option<i64> {
    let header = word(&pages.read(1)?, VERSION_AT)?;
    let anchors = rows::of_table(pages, Roots::read(pages).of("anchor"));
    let version = anchors.iter().find_map(|row| match row.values.as_slice() {
        [Value::Null, Value::Int(version), ..] => Some(*version),
        _ => None,
    })?;
    (version == i64::from(header)).then_some(version)
}

fn anchor(row: Row) -> Option<Tip> {
    match row.values.as_slice() {
        [Value::Null, Value::Int(_), Value::Int(next), Value::Blob(hash)] => {
            let chain: Hash = hash.as_slice().try_into().ok()?;
            Some(Tip {
                next: Offset::try_from(*next).ok().filter(|next| *next > 0)?,
                chain,
            })
        }
        _ => None,
    }
}

fn given(row: Row) -> Option<Offset> {
    match row.values.as_slice() {
        [Value::Text(name), Value::Int(given)] if name == "entries" => Offset::try_from(*given).ok(),
        _ => None,
    }
}

fn cursor(row: &Row, head: Offset) -> Option<(String, Offset)> {
    match row.values.as_slice() {
        [Value::Text(consumer), Value::Int(next), Value::Int(_)] => Some((consumer.clone(), offset(*next).min(head))),
        _ => None,
    }
}

fn state(row: &Row) -> Option<(String, Option<Vec<u8>>)> {
    match row.values.as_slice() {
        [Value::Text(key), Value::Blob(value)] => Some((key.clone(), Some(value.clone()))),
        _ => None,
    }
}

fn dead_letter(row: &Row) -> Option<DeadLetter> {
    match row.values.as_slice() {
        [
            Value::Text(sink),
            Value::Int(place),
            Value::Int(_),
            Value::Text(reason),
            Value::Blob(body),
        ] => Some(DeadLetter {
            sink: sink.clone(),
            offset: offset(*place),
            reason: reason.clone(),
            body: Bytes::copy_from_slice(body),
        }),
        _ => None,
    }
}

fn loss(row: &Row) -> Option<(&str, [i64; 3])> {
    match row.values.as_slice() {
        [
            Value::Text(name),
            Value::Int(first),
            Value::Int(last),
            Value::Int(count),
        ] => Some((name, [*first, *last, *count])),
        _ => None,
    }
}

/// The tables' first pages by the schema; by their order of creation where page 1 is gone.
#[derive(Debug)]
struct Roots(Vec<(String, u32)>);

impl Roots {
    fn read(pages: &Pages) -> Self {
        let root = |row: Row| match row.values.as_slice() {
            [Value::Text(kind), Value::Text(name), _, Value::Int(root), _] if kind == "table" => {
                Some((name.clone(), u32::try_from(*root).ok()?))
            }
            _ => None,
        };
        Self(rows::of_table(pages, 1).into_iter().filter_map(root).collect())
    }

    fn of(&self, table: &str) -> u32 {
        let read = self.0.iter().find(|(name, _)| name == table).map(|(_, root)| *root);
        read.or_else(|| ROOTS.iter().find(|(name, _)| *name == table).map(|(_, root)| *root))
            .unwrap_or(0)
    }
}

/// Where the header has the number that is ours to set (section 1.3.14).
const VERSION_AT: usize = 60;

/// First pages in a file made by this build.
const ROOTS: [(&str, u32); 7] = [
    ("entries", 2),
    ("sqlite_sequence", 3),
    ("anchor", 4),
    ("cursors", 5),
    ("state", 7),
    ("dead_letters", 9),
    ("losses", 12),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::chain::GENESIS;
    use crate::journal::sqlite;

    #[test]
    fn tables_begin_where_a_lost_schema_is_believed_to_have_put_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.db");
        sqlite::create(
            &path,
            Tip {
                next: 1,
                chain: GENESIS,
            },
        )
        .unwrap();
        let conn = rusqlite::Connection::open(&path).unwrap();
        for (name, root) in ROOTS {
            let found: u32 = conn
                .query_row(
                    "SELECT rootpage FROM sqlite_schema WHERE type = 'table' AND name = ?1",
                    [name],
                    |row| row.get(0),
                )
                .unwrap();
            assert_eq!(found, root, "{name}");
        }
    }
}
