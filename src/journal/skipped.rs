//! Offsets that no entry ever had.
//!
//! A salvage that cannot see how far the damaged file went goes on far ahead of it, so that no offset is given twice.
//! The offsets in between are kept as a state, one line `FIRST LAST` for each range: whoever reads past them has lost
//! nothing.
//!
//! In the same form, under [`TOLD`], stand the offsets of entries that are lost and of which a gap entry tells: a file
//! that is damaged once more has not lost them again. A trapline that does not know this state leaves it alone.

use rusqlite::{Connection, Transaction};

use super::sqlite::save_state;
use super::{Offset, read};

/// The key of the state that holds the ranges.
pub(super) const KEY: &str = "journal/skipped";

/// The key of the state that holds what was told as missing.
pub(super) const TOLD: &str = "journal/missing";

/// Notes, in the transaction that has them told, offsets whose entries are missing from now on; those that the trim has
/// passed go.
pub(super) fn note_told(tx: &Transaction<'_>, holes: &[(Offset, Offset)], anchor: Offset) -> rusqlite::Result<()> {
    if holes.is_empty() {
        return Ok(());
    }
    let mut told = Skipped::read_told(tx)?.and(Skipped(holes.to_vec()));
    told.0.retain(|(_, last)| *last >= anchor);
    told.0.drain(..told.0.len().saturating_sub(TOLD_MAX));
    save_state(tx, TOLD, Some(&told.lines()))
}

/// Ranges of offsets, first and last, in rising order.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Skipped(Vec<(Offset, Offset)>);

impl Skipped {
    /// What the journal behind `conn` notes.
    pub(super) fn read(conn: &Connection) -> rusqlite::Result<Self> {
        Ok(read::state(conn, KEY)?.map_or_else(Self::default, |lines| Self::parse(&lines)))
    }

    /// What is missing in the journal behind `conn` and was told.
    pub(super) fn read_told(conn: &Connection) -> rusqlite::Result<Self> {
        Ok(read::state(conn, TOLD)?.map_or_else(Self::default, |lines| Self::parse(&lines)))
    }

    /// Both.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self.0.sort_unstable();
        self
    }

    /// Without the range that ends right before `next`.
    pub(super) fn but_before(mut self, next: Offset) -> Self {
        self.0.retain(|(_, last)| last.checked_add(1) != Some(next));
        self
    }

    /// Lines that are none are passed over.
    pub(crate) fn parse(lines: &[u8]) -> Self {
        let range = |line: &str| {
            let (first, last) = line.split_once(' ')?;
            let range: (Offset, Offset) = (first.parse().ok()?, last.parse().ok()?);
            (range.0 <= range.1).then_some(range)
        };
        let mut ranges: Vec<_> = String::from_utf8_lossy(lines).lines().filter_map(range).collect();
        ranges.sort_unstable();
        Self(ranges)
    }

    /// The lines that [`Skipped::parse`] takes.
    pub(super) fn lines(&self) -> Vec<u8> {
        let line = |(first, last): &(Offset, Offset)| format!("{first} {last}\n");
        self.0.iter().map(line).collect::<String>().into_bytes()
    }

    /// With `first` to before `next`, which is behind all others, and without what the trim has passed.
    pub(super) fn with(mut self, first: Offset, next: Offset, anchor: Offset) -> Self {
        self.0.retain(|(_, last)| (anchor..first).contains(last));
        if first < next {
            self.0.push((first, next - 1));
        }
        self.0.drain(..self.0.len().saturating_sub(RANGES_MAX));
        self
    }

    /// Where the range begins that ends right before `next`.
    pub(super) fn before(&self, next: Offset) -> Option<Offset> {
        self.0
            .iter()
            .find(|(_, last)| last.checked_add(1) == Some(next))
            .map(|(first, _)| *first)
    }

    /// The parts of a hole that entries once had.
    pub fn given(&self, (mut first, last): (Offset, Offset)) -> Vec<(Offset, Offset)> {
        let mut parts = Vec::new();
        for (from, to) in self.0.iter().take_while(|(from, _)| *from <= last) {
            if *from > first {
                parts.push((first, from - 1));
            }
            first = first.max(to.saturating_add(1));
        }
        if first <= last {
            parts.push((first, last));
        }
        parts
    }

    /// How many entries there once were from `from` to before `to`.
    pub fn count_given(&self, from: Offset, to: Offset) -> u64 {
        let hole = Some((from, to.saturating_sub(1))).filter(|_| from < to);
        let parts = hole.map(|hole| self.given(hole)).unwrap_or_default();
        parts.iter().map(|(first, last)| last - first + 1).sum()
    }
}

/// Ranges kept: one for each salvage that the trim has not passed.
const RANGES_MAX: usize = 64;
/// Ranges of what was told; of more, the oldest would be told again by another salvage.
pub(super) const TOLD_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hole_counts_without_what_was_never_given() {
        let skipped = Skipped::parse(b"10 19\nnoise\n9 3\n30 39\n");
        assert_eq!(skipped.given((1, 5)), [(1, 5)]);
        assert_eq!(skipped.given((8, 19)), [(8, 9)]);
        assert_eq!(skipped.given((10, 15)), []);
        assert_eq!(skipped.given((5, 45)), [(5, 9), (20, 29), (40, 45)]);
        assert_eq!((skipped.count_given(5, 46), skipped.count_given(46, 46)), (21, 0));
        assert_eq!((skipped.before(20), skipped.before(25)), (Some(10), None));
        let last = Skipped::parse(format!("5 {}", Offset::MAX).as_bytes());
        assert_eq!((last.before(0), last.given((3, 9))), (None, vec![(3, 4)]));
    }

    #[test]
    fn ranges_are_kept_until_the_trim_has_passed_them() {
        let skipped = Skipped::parse(b"10 19\n30 39\n").with(50, 60, 20);
        assert_eq!(skipped, Skipped::parse(&skipped.lines()));
        assert_eq!(skipped, Skipped(vec![(30, 39), (50, 59)]));
        let known = skipped.clone().with(55, 60, 20);
        assert_eq!(
            known,
            Skipped(vec![(30, 39), (55, 59)]),
            "more was found of the same file"
        );
        assert_eq!(skipped.with(50, 50, 20), Skipped(vec![(30, 39)]), "nothing is skipped");
    }
}
