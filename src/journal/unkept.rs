//! What the next run must tell if this one ends while the disk fails.
//!
//! `journal.unkept` beside the file: one line of text in a block that is made while the disk has room and written over
//! in place, which also a full disk allows. It is renewed while the disk fails, so that a kill is told as an end is.
//!
//! Layout: five numbers, `HELD DROPPED FIRST LAST NEXT`, filled up with spaces to [`LINE_BYTES`]; spaces alone say that
//! nothing is owed. What was told is noted in the journal under [`KEY`] in the transaction that told it, so that a kill
//! before the line is wiped tells it once. A line that cannot be read counts as none: it is one write of a few bytes.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use trapline_schemas::Timestamp;

use super::settings::Fact;
use super::sqlite::Store;
use super::{Offset, read};

/// The key of the state that holds the line that was told last.
pub(super) const KEY: &str = "journal/unkept";

/// Events that are in no journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Debt {
    /// Those in memory: the disk may take them yet.
    pub held: u64,
    /// Those that are gone and that no entry tells of.
    pub dropped: u64,
    /// When the first of them came.
    pub first: Timestamp,
    /// When the last of them came or was dropped.
    pub last: Timestamp,
    /// The next offset to be given: what stands there was still held.
    pub next: Offset,
}

impl Debt {
    /// The line of the file.
    pub fn line(&self) -> String {
        let (first, last) = (self.first.micros(), self.last.micros());
        format!("{} {} {first} {last} {}", self.held, self.dropped, self.next)
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let debt = Self {
            held: words.next()?.parse().ok()?,
            dropped: words.next()?.parse().ok()?,
            first: Timestamp::from_micros(words.next()?.parse().ok()?),
            last: Timestamp::from_micros(words.next()?.parse().ok()?),
            next: words.next()?.parse().ok()?,
        };
        words.next().is_none().then_some(debt)
    }

    /// What is missing in a journal that goes on at `next` and has told the line `told`: it may have taken some of what
    /// was held before the run ended.
    pub fn missing(&self, next: Offset, told: Option<&[u8]>) -> u64 {
        let held = self.held.saturating_sub(next.saturating_sub(self.next));
        match told {
            Some(told) if told == self.line().as_bytes() => held,
            _ => held.saturating_add(self.dropped),
        }
    }

    /// Adds what a fact says was dropped.
    pub fn add(&mut self, fact: &Fact) {
        if let Fact::Shed { count, first, last } | Fact::Unkept { count, first, last } = fact {
            self.dropped += count;
            (self.first, self.last) = (self.first.min(*first), self.last.max(*last));
        }
    }
}

/// The file.
#[derive(Debug)]
pub(super) struct Unkept {
    path: PathBuf,
    noted: Option<Debt>,
}

impl Unkept {
    /// The file of the journal at `journal`, with its block if there is room for one.
    pub fn open(journal: &Path) -> Self {
        let path = path_of(journal);
        let line = read_line(&path).unwrap_or_default();
        let noted = Debt::parse(&line);
        if line.len() < LINE_BYTES {
            let made = write(&path, &noted.as_ref().map(Debt::line).unwrap_or_default());
            if let Err(error) = made {
                tracing::debug!(%error, "nothing can be noted for the next run yet");
            }
        }
        Self { path, noted }
    }

    /// What the file says.
    pub fn noted(&self) -> Option<&Debt> {
        self.noted.as_ref()
    }

    /// Takes over what the last run noted, now that the journal goes on in `store`: the fact to tell, if anything is
    /// missing. What was held then is held no more, which is noted at once.
    pub fn take_up(&mut self, store: &Store, was_salvaged: bool) -> Option<Fact> {
        let debt = self.noted?;
        // A salvage goes on ahead of all that may have been written.
        let next = if was_salvaged { debt.next } else { store.tip.next };
        let told = read::state(&store.conn, KEY).ok().flatten();
        let count = debt.missing(next, told.as_deref());
        let gone = Debt {
            held: 0,
            dropped: count,
            next: store.tip.next,
            ..debt
        };
        if let Err(error) = self.note((count > 0).then_some(gone)) {
            tracing::warn!(%error, "what the last run left to tell may be told twice");
        }
        let Debt { first, last, .. } = debt;
        (count > 0).then_some(Fact::Unkept { count, first, last })
    }

    /// Before something is appended while no run is on: what was held is held no more, so that nobody takes what comes to
    /// stand at those offsets for it. The next run tells it.
    pub fn take_up_offline(journal: &Path, store: &Store) {
        if path_of(journal).exists() {
            // The fact is told by whoever has the journal next.
            let _ = Self::open(journal).take_up(store, false);
        }
    }

    /// Notes what is owed; `None` if nothing is.
    pub fn note(&mut self, debt: Option<Debt>) -> io::Result<()> {
        if self.noted != debt {
            write(&self.path, &debt.as_ref().map(Debt::line).unwrap_or_default())?;
            self.noted = debt;
        }
        Ok(())
    }
}

fn path_of(journal: &Path) -> PathBuf {
    journal.with_extension("unkept")
}

fn read_line(path: &Path) -> io::Result<String> {
    let mut line = String::new();
    let file = std::fs::File::open(path)?;
    file.take(LINE_BYTES as u64).read_to_string(&mut line)?;
    Ok(line)
}

fn write(path: &Path, line: &str) -> io::Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    let width = LINE_BYTES - 1;
    file.write_all_at(format!("{line:width$}\n").as_bytes(), 0)?;
    file.sync_all()
}

/// Five numbers of 20 digits, their spaces, a line end, and some.
const LINE_BYTES: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::settings::{FactBody, JournalSettings};
    use crate::journal::start::start;
    use crate::journal::{Commit, amend};

    fn debt() -> Debt {
        Debt {
            held: 1276,
            dropped: 30,
            first: Timestamp::from_micros(5),
            last: Timestamp::from_micros(9),
            next: 100,
        }
    }

    #[test]
    fn what_is_noted_is_read_by_the_next_run_and_wiped_in_place() {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("journal.db");
        let mut unkept = Unkept::open(&journal);
        assert_eq!(unkept.noted(), None);
        let bytes = || std::fs::metadata(folder.path().join("journal.unkept")).unwrap().len();
        assert_eq!(bytes(), LINE_BYTES as u64, "its block is there before it is needed");
        unkept.note(Some(debt())).unwrap();
        assert_eq!(Unkept::open(&journal).noted(), Some(&debt()));
        unkept.note(None).unwrap();
        assert_eq!(Unkept::open(&journal).noted(), None);
        assert_eq!(bytes(), LINE_BYTES as u64);
    }

    #[test]
    fn what_is_written_while_no_run_is_on_makes_nothing_less_missing() {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("journal.db");
        let settings = JournalSettings::at(journal.clone());
        drop(start(&settings).unwrap());
        let owed = Debt {
            next: 1,
            held: 5,
            dropped: 0,
            ..debt()
        };
        Unkept::open(&journal).note(Some(owed)).unwrap();
        for _ in 0..2 {
            let dropped = Commit {
                append: vec!["a person dropped dead letters".into()],
                ..Commit::default()
            };
            amend(&journal, &dropped).unwrap();
        }
        let settings = JournalSettings {
            facts: FactBody::new(|_| None),
            ..settings
        };
        let owed = start(&settings).unwrap().owed;
        assert!(matches!(owed[..], [Fact::Unkept { count: 5, .. }]), "{owed:?}");
    }

    #[test]
    fn what_the_disk_took_before_the_end_is_not_missing_and_what_was_told_is_told_once() {
        assert_eq!(debt().missing(100, None), 1306);
        assert_eq!(debt().missing(1100, Some(b"another line")), 306);
        assert_eq!(debt().missing(1100, Some(debt().line().as_bytes())), 276);
        assert_eq!(debt().missing(1376, Some(debt().line().as_bytes())), 0);
        assert_eq!(debt().missing(9000, None), 30);
    }

    #[test]
    fn the_longest_line_fits_and_one_that_makes_no_sense_is_none() {
        let most = Debt {
            held: u64::MAX,
            dropped: u64::MAX,
            first: Timestamp::from_micros(i64::MIN),
            last: Timestamp::from_micros(i64::MIN),
            next: u64::MAX,
        };
        assert!(most.line().len() < LINE_BYTES);
        assert_eq!(Debt::parse(&most.line()), Some(most));
        for line in ["", "1", "1 2 3 4", "1 2 3 4 5 6", "a b c d e", "-1 2 3 4 5"] {
            assert_eq!(Debt::parse(line), None, "{line}");
        }
    }
}
