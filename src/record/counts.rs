//! Counts that no event tells of yet, kept so that a kill loses none of them.
//!
//! A count stands in memory for up to a minute. Meanwhile it is a row of the journal's state, written again when it
//! changed, at most once a second and [`ROWS_MAX`] of them at a time; the row goes in the commit of the event that tells
//! it. A row that is there at a start was left by a kill, and is told then. What a kill costs is the last second.
//!
//! Layout: `folds/ADDRESS/FIRST` is `HITS LAST`, `folds/decoy/NAME` is `DATAGRAMS FIRST LAST SERVICE`; times are
//! microseconds since 1970. A trapline that does not know these rows leaves them alone.

use std::collections::HashMap;
use std::net::IpAddr;

use smol_str::SmolStr;
use trapline_schemas::Timestamp;

use super::sources::Folded;
use crate::roles::Missed;

/// Prefix of all rows in the journal's state.
pub const FOLDS: &str = "folds/";

/// Stands in place of an address before the name of a decoy.
const DECOY: &str = "decoy/";

/// Rows written at a time: a flood of many sources must not make a commit of thousands.
const ROWS_MAX: usize = 256;

/// A row of the journal's state to save; `None` removes it.
type StateRow = (String, Option<Vec<u8>>);

/// What the kernel dropped of a decoy's datagrams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dropped {
    pub(super) decoy: SmolStr,
    pub(super) service: SmolStr,
    pub(super) datagrams: u64,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
}

impl From<&Missed> for Dropped {
    fn from(missed: &Missed) -> Self {
        Self {
            decoy: missed.spec.name.clone(),
            service: missed.spec.service.name.into(),
            datagrams: missed.datagrams,
            first: missed.first,
            last: missed.last,
        }
    }
}

/// Which counts the journal has, and which rows are to go.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// By row, as far as it was counted when it was written.
    saved: HashMap<String, u64>,
    gone: Vec<String>,
}

/// What an earlier run had counted and not told.
#[derive(Debug, Default)]
pub(super) struct Left {
    pub(super) folded: Vec<Folded>,
    pub(super) dropped: Vec<Dropped>,
}

impl Counts {
    /// Takes the rows that an earlier run left; they go with the next commit.
    pub(super) fn restore(rows: Vec<(String, Vec<u8>)>) -> (Self, Left) {
        let (mut counts, mut left) = (Self::default(), Left::default());
        for (key, row) in rows {
            let row = String::from_utf8_lossy(&row);
            left.folded.extend(folded(&key, &row));
            left.dropped.extend(dropped(&key, &row));
            counts.gone.push(key);
        }
        (counts, left)
    }

    /// The rows of counts that changed since they were written.
    pub(super) fn changes<'c>(
        &mut self,
        folded: impl Iterator<Item = &'c Folded>,
        missed: impl Iterator<Item = &'c Missed>,
    ) -> Vec<StateRow> {
        let folded = folded.map(|folded| (key_of(folded), folded.hits, row_of(folded)));
        let missed = missed.map(Dropped::from);
        let missed = missed.map(|dropped| (key_of_decoy(&dropped.decoy), dropped.datagrams, row_of_decoy(&dropped)));
        let changed = |(key, count, _): &(String, u64, String)| self.saved.get(key) != Some(count);
        let rows: Vec<_> = folded.chain(missed).filter(changed).take(ROWS_MAX).collect();
        self.saved
            .extend(rows.iter().map(|(key, count, _)| (key.clone(), *count)));
        rows.into_iter()
            .map(|(key, _, row)| (key, Some(row.into_bytes())))
            .collect()
    }

    /// A fold is told: its row goes.
    pub(super) fn told(&mut self, folded: &Folded) {
        if !self.saved.is_empty() {
            self.forget(key_of(folded));
        }
    }

    /// What a decoy missed is told: its row goes.
    pub(super) fn told_of_decoy(&mut self, dropped: &Dropped) {
        self.forget(key_of_decoy(&dropped.decoy));
    }

    fn forget(&mut self, key: String) {
        if self.saved.remove(&key).is_some() {
            self.gone.push(key);
        }
    }

    /// The rows that are to go with what is told.
    pub(super) fn take_gone(&mut self) -> impl Iterator<Item = StateRow> {
        self.gone.drain(..).map(|key| (key, None))
    }
}

fn key_of(folded: &Folded) -> String {
    format!("{FOLDS}{}/{}", folded.source, folded.first.micros())
}

fn row_of(folded: &Folded) -> String {
    format!("{} {}", folded.hits, folded.last.micros())
}

fn key_of_decoy(decoy: &str) -> String {
    format!("{FOLDS}{DECOY}{decoy}")
}

fn row_of_decoy(dropped: &Dropped) -> String {
    let (first, last) = (dropped.first.micros(), dropped.last.micros());
    format!("{} {first} {last} {}", dropped.datagrams, dropped.service)
}

fn folded(key: &str, row: &str) -> Option<Folded> {
    let (source, first) = key.strip_prefix(FOLDS)?.split_once('/')?;
    let (hits, last) = row.split_once(' ')?;
    Some(Folded {
        source: source.parse::<IpAddr>().ok()?,
        hits: hits.parse().ok()?,
        first: time(first)?,
        last: time(last)?,
    })
}

fn dropped(key: &str, row: &str) -> Option<Dropped> {
    let decoy = key.strip_prefix(FOLDS)?.strip_prefix(DECOY)?;
    let mut words = row.splitn(4, ' ');
    Some(Dropped {
        decoy: decoy.into(),
        datagrams: words.next()?.parse().ok()?,
        first: time(words.next()?)?,
        last: time(words.next()?)?,
        service: words.next()?.into(),
    })
}

fn time(word: &str) -> Option<Timestamp> {
    word.parse().ok().map(Timestamp::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fold(hits: u64) -> Folded {
        Folded {
            source: "2001:db8::1".parse().unwrap(),
            hits,
            first: Timestamp::from_micros(5),
            last: Timestamp::from_micros(9),
        }
    }

    fn kept(rows: Vec<StateRow>) -> Vec<(String, Vec<u8>)> {
        rows.into_iter().filter_map(|(key, row)| Some((key, row?))).collect()
    }

    #[test]
    fn a_count_is_written_when_it_changed_and_its_row_goes_when_it_is_told() {
        let mut counts = Counts::default();
        let rows = counts.changes([fold(3)].iter(), std::iter::empty());
        assert_eq!(rows.len(), 1);
        assert_eq!(counts.changes([fold(3)].iter(), std::iter::empty()), []);
        let rows = kept(counts.changes([fold(7)].iter(), std::iter::empty()));
        let (mut next, left) = Counts::restore(rows.clone());
        assert_eq!(left.folded, [fold(7)]);
        assert_eq!(next.take_gone().collect::<Vec<_>>(), [(rows[0].0.clone(), None)]);
        counts.told(&fold(8));
        assert_eq!(counts.take_gone().collect::<Vec<_>>(), [(rows[0].0.clone(), None)]);
        counts.told(&fold(8));
        assert_eq!(counts.take_gone().count(), 0);
    }

    #[test]
    fn many_counts_are_written_over_several_seconds() {
        let folds: Vec<_> = (0..ROWS_MAX as i64 + 9)
            .map(|first| Folded {
                first: Timestamp::from_micros(first),
                ..fold(1)
            })
            .collect();
        let mut counts = Counts::default();
        let mut written = || counts.changes(folds.iter(), std::iter::empty()).len();
        assert_eq!([written(), written(), written()], [ROWS_MAX, 9, 0]);
    }

    #[test]
    fn a_row_that_makes_no_sense_is_no_count_and_goes() {
        let rows = [
            "folds/",
            "folds/x/5",
            "folds/10.0.0.1/5",
            "folds/10.0.0.1/x",
            "folds/decoy/ssh",
        ];
        let rows = rows.map(|key| (key.to_owned(), b"1 x \xff".to_vec())).to_vec();
        let (mut counts, left) = Counts::restore(rows);
        assert!(left.folded.is_empty() && left.dropped.is_empty());
        assert_eq!(counts.take_gone().count(), 5);
    }
}
