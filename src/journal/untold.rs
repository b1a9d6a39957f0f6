//! What befell the file and no entry tells of yet.
//!
//! That a salvage lost entries, or that the newest were taken away, is found once: what finds it also makes the file
//! sound. So it is noted as a state in the transaction that does, one row for each fact, and the row goes in the
//! transaction that appends the entry: a kill in between leaves it to the next start.
//!
//! Layout: `journal/untold/cut-short/NEXT` is `GONE FIRST NEXT`; `journal/untold/salvaged/NAME` is a line of numbers,
//! `ENTRIES REFUSED SMALL COUNT FIRST LAST UNSURE LENGTH`, then LENGTH bytes of the reason and the path of the kept
//! file. A trapline that does not know these rows leaves them alone. A row that cannot be read is passed over.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rusqlite::{Connection, Transaction};

use super::read;
use super::settings::{CutShort, Fact, Missing, Salvaged};
use super::sqlite::save_state;

const PREFIX: &str = "journal/untold/";
const CUT_SHORT: &str = "cut-short/";
const SALVAGED: &str = "salvaged/";

/// Notes a fact that is to be told; one of another kind is not noted.
pub(super) fn note(tx: &Transaction<'_>, fact: &Fact) -> rusqlite::Result<()> {
    match (key(fact), row(fact)) {
        (Some(key), Some(row)) => save_state(tx, &key, Some(&row)),
        _ => Ok(()),
    }
}

/// The fact is told.
pub(super) fn told(tx: &Transaction<'_>, fact: &Fact) -> rusqlite::Result<()> {
    key(fact).map_or(Ok(()), |key| save_state(tx, &key, None))
}

/// What is noted, but what `known` says already.
pub(super) fn read(conn: &Connection, known: &[Fact]) -> rusqlite::Result<Vec<Fact>> {
    let known: Vec<_> = known.iter().filter_map(key).collect();
    let rows = read::states(conn, PREFIX)?.into_iter();
    let others = rows.filter(|(key, _)| !known.contains(key));
    Ok(others.filter_map(|(key, row)| parse(&key, &row)).flatten().collect())
}

fn key(fact: &Fact) -> Option<String> {
    match fact {
        Fact::CutShort(cut) => Some(format!("{PREFIX}{CUT_SHORT}{}", cut.next)),
        Fact::Salvaged(salvaged) if !salvaged.running => {
            let name = salvaged.kept_as.file_name().unwrap_or_default();
            Some(format!("{PREFIX}{SALVAGED}{}", name.display()))
        }
        _ => None,
    }
}

fn row(fact: &Fact) -> Option<Vec<u8>> {
    match fact {
        Fact::CutShort(CutShort { gone, first, next }) => {
            Some(format!("{} {first} {next}", u8::from(*gone)).into_bytes())
        }
        Fact::Salvaged(salvaged) => {
            let Salvaged {
                entries,
                refused,
                small,
                reason,
                ..
            } = salvaged;
            let Missing {
                count,
                first,
                last,
                unsure,
            } = &salvaged.missing;
            let (unsure, length) = (u8::from(*unsure), reason.len());
            let row = format!("{entries} {refused} {small} {count} {first} {last} {unsure} {length}\n{reason}");
            let mut row = row.into_bytes();
            row.extend_from_slice(salvaged.kept_as.as_os_str().as_bytes());
            Some(row)
        }
        _ => None,
    }
}

fn parse(key: &str, row: &[u8]) -> Option<Vec<Fact>> {
    let name = key.strip_prefix(PREFIX)?;
    if name.starts_with(CUT_SHORT) {
        let [gone, first, next] = numbers(row)?;
        let cut = CutShort {
            gone: gone == 1,
            first,
            next,
        };
        return Some(vec![Fact::CutShort(cut)]);
    }
    name.starts_with(SALVAGED).then(|| salvaged(row))?.map(Salvaged::facts)
}

fn salvaged(row: &[u8]) -> Option<Salvaged> {
    let end = row.iter().position(|byte| *byte == b'\n')?;
    let [entries, refused, small, count, first, last, unsure, length] = numbers(row.get(..end)?)?;
    let (reason, kept_as) = row.get(end + 1..)?.split_at_checked(usize::try_from(length).ok()?)?;
    Some(Salvaged {
        kept_as: OsString::from_vec(kept_as.to_vec()).into(),
        reason: String::from_utf8_lossy(reason).into_owned(),
        entries,
        refused,
        missing: Missing {
            count,
            first,
            last,
            unsure: unsure == 1,
        },
        small,
        running: false,
    })
}

fn numbers<const COUNT: usize>(line: &[u8]) -> Option<[u64; COUNT]> {
    let words = std::str::from_utf8(line).ok()?.split_whitespace();
    let numbers: Option<Vec<u64>> = words.map(|word| word.parse().ok()).collect();
    numbers?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_read_as_it_was_and_noise_is_nothing() {
        let missing = Missing {
            count: 8,
            first: 25,
            last: 32,
            unsure: true,
        };
        let salvaged = Salvaged {
            kept_as: OsString::from_vec(b"/var/lib/\xff/journal.corrupt".to_vec()).into(),
            reason: "*** in database main ***\nTree 2 page 18".into(),
            entries: 192,
            refused: 1,
            missing,
            small: 2,
            running: false,
        };
        let cut = CutShort {
            gone: true,
            first: 41,
            next: 51,
        };
        for fact in [Fact::Salvaged(salvaged), Fact::CutShort(cut)] {
            let read = parse(&key(&fact).unwrap(), &row(&fact).unwrap()).unwrap();
            assert_eq!(read[0], fact);
        }
        for row in ["", "1", "1 2", "1 2 3 4", "1 2 3 4 5 6 7 9\nshort", "a\n\n"] {
            assert_eq!(parse("journal/untold/cut-short/5", row.as_bytes()), None, "{row}");
            assert_eq!(parse("journal/untold/salvaged/x", row.as_bytes()), None, "{row}");
        }
    }
}
