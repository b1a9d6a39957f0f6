//! A smashed journal under the real program: it is up within ten seconds, what was lost is counted to the entry, and
//! the rest is delivered once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use trapline::journal::{Commit, Journal, JournalSettings};

use super::harness::touch;
use super::*;

/// Within this time it answers and its decoys do, whatever the file looks like.
const UP_MAX: Duration = Duration::from_secs(10);
/// Bytes of a page of the journal.
const PAGE: u64 = 8192;
/// Entries of a group when the journal is filled.
const GROUP: u64 = 512;

/// What is done to a file of so many pages. Chance is seeded: a run that failed fails again.
type Damage = fn(&File, u64, &mut StdRng);

const DAMAGES: &[(&str, Damage)] = &[
    ("a page of zeros in the middle", |file, pages, _| {
        write(file, pages / 2, &[0; PAGE as usize]);
    }),
    ("twenty pages of noise", |file, pages, random| {
        for _ in 0..20 {
            let page = random.random_range(10..pages);
            noise(file, page, 1, random);
        }
    }),
    ("no header and no schema", |file, _, _| {
        write(file, 0, &[0; PAGE as usize])
    }),
    ("no root of the entries", |file, _, random| noise(file, 1, 1, random)),
    ("the last fifty pages are noise", |file, pages, random| {
        noise(file, pages - 50, 50, random);
    }),
    ("cut off behind two thirds, within a page", |file, pages, _| {
        file.set_len(pages / 3 * 2 * PAGE + 1234).unwrap();
    }),
    ("fifty bits turned over", |file, pages, random| {
        for _ in 0..50 {
            let at = random.random_range(10 * PAGE..pages * PAGE);
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            byte[0] ^= 1 << random.random_range(0..8);
            file.write_all_at(&byte, at).unwrap();
        }
    }),
    ("a letter of an event that was not delivered", |file, pages, _| {
        let page = pages / 10 * 9;
        let mut bytes = [0; PAGE as usize];
        file.read_exact_at(&mut bytes, page * PAGE).unwrap();
        let word = b"honeyport.decoy.id";
        let at = bytes.windows(word.len()).position(|found| found == word).unwrap();
        bytes[at] = b'H';
        write(file, page, &bytes);
    }),
    ("a tenth of it zeros", |file, pages, _| {
        (pages / 2..pages / 2 + pages / 10).for_each(|page| write(file, page, &[0; PAGE as usize]));
    }),
];

fn write(file: &File, page: u64, bytes: &[u8]) {
    file.write_all_at(bytes, page * PAGE).unwrap();
}

fn noise(file: &File, first: u64, pages: u64, random: &mut StdRng) {
    let mut bytes = [0; PAGE as usize];
    for page in first..first + pages {
        random.fill(&mut bytes);
        write(file, page, &bytes);
    }
}

/// A journal that was ended in order, and what stands in it.
struct Filled {
    trap: Trap,
    /// Ids of the contacts that were filled in, by offset.
    ids: BTreeMap<u64, String>,
    /// The sink has had what is before.
    cursor: u64,
}

/// A trap that ended with so many contacts in its journal, the last `behind` of them not delivered, all of them indexed.
fn filled(contacts: u64, behind: u64) -> Filled {
    let mut trap = idle();
    let config = std::fs::read_to_string(trap.config()).unwrap() + "format = \"cef\"\n";
    trap.configure(&config);
    trap.launch();
    touch(trap.address("door"));
    let like = eventually("the touch is an event", || {
        trap.events(&["--action", "decoy-connect"]).pop()
    });
    end(&mut trap);
    let (ids, cursor) = fill(&trap, &like, contacts, behind);
    trap.configure(&(config + "enabled = false\n"));
    trap.launch();
    let patience = Instant::now() + Duration::from_secs(3600);
    while trap.status()["journal"]["index_lag"] != 0 {
        assert!(Instant::now() < patience);
        std::thread::park_timeout(Duration::from_secs(1));
    }
    end(&mut trap);
    Filled { trap, ids, cursor }
}

/// Ends it in order.
pub(super) fn end(trap: &mut Trap) {
    trap.signal("TERM");
    assert_eq!(trap.ended().code(), DONE);
}

/// Appends contacts like one that was recorded, by the journal's own writer. The sink has had all but the last `behind`.
///
/// Out: their ids by offset, and the sink's cursor.
pub(super) fn fill(trap: &Trap, like: &Value, contacts: u64, behind: u64) -> (BTreeMap<u64, String>, u64) {
    let mut like = like.clone();
    like.as_object_mut().unwrap().remove("honeyport.journal.sequence");
    let (text, id) = (like.to_string(), like["id"].as_str().unwrap().to_owned());
    let named = |number: u64| format!("{}{number:012x}", &id[..24]);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (journal, report) = Journal::open(JournalSettings::at(trap.path("state/journal.db"))).unwrap();
        let cursor = report.head + contacts - behind;
        for group in (0..contacts).step_by(GROUP as usize) {
            let numbers = group..contacts.min(group + GROUP);
            let append = numbers.map(|number| text.replace(&id, &named(number)).into()).collect();
            let cursors = vec![("sink/archive".to_owned(), cursor)];
            let commit = Commit {
                append,
                cursors,
                ..Commit::default()
            };
            journal.commit(commit).await.unwrap();
        }
        journal.close().await;
        (
            (0..contacts)
                .map(|number| (report.head + number, named(number)))
                .collect(),
            cursor,
        )
    })
}

/// Every file of the state folder by its name.
fn laid(filled: &Filled) -> Trap {
    let trap = idle();
    let config = std::fs::read_to_string(trap.config()).unwrap() + "format = \"cef\"\n";
    trap.configure(&config);
    std::fs::create_dir(trap.path("state")).unwrap();
    for file in std::fs::read_dir(filled.trap.path("state")).unwrap() {
        let file = file.unwrap();
        if file.file_type().unwrap().is_file() {
            std::fs::copy(file.path(), trap.path("state").join(file.file_name())).unwrap();
        }
    }
    trap
}

/// The offsets that the journal of an instance that does not run holds, their sums aside.
pub(super) fn offsets(trap: &Trap) -> BTreeSet<u64> {
    let file = rusqlite::Connection::open(trap.path("state/journal.db")).unwrap();
    let mut rows = file.prepare("SELECT offset FROM entries").unwrap();
    let offset = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0).map(i64::cast_unsigned);
    rows.query_map([], offset).unwrap().map(Result::unwrap).collect()
}

/// How often the sink was given each contact.
fn given(trap: &Trap, ids: &BTreeSet<&str>) -> BTreeMap<String, u32> {
    let lines = std::fs::read_to_string(trap.path("events.jsonl")).unwrap();
    let mut given = BTreeMap::new();
    for line in lines.lines() {
        let id = line.split("externalId=").nth(1).unwrap().split(' ').next().unwrap();
        if ids.contains(id) {
            *given.entry(id.to_owned()).or_default() += 1;
        }
    }
    given
}

/// One damage to a copy of a journal; prints what was seen.
fn survives(filled: &Filled, (what, damage): &(&str, Damage), is_killed: bool) {
    let before = offsets(&filled.trap);
    let mut trap = laid(filled);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(trap.path("state/journal.db"))
        .unwrap();
    let pages = file.metadata().unwrap().len() / PAGE;
    damage(&file, pages, &mut StdRng::seed_from_u64(pages));
    drop(file);
    let mut begun = Instant::now();
    trap.launch();
    assert!(touch(trap.address("door")).starts_with(b"SSH-2.0-"));
    let mut up = begun.elapsed();
    if is_killed {
        trap.signal("KILL");
        trap.ended();
        begun = Instant::now();
        trap.launch();
        up = up.max(begun.elapsed());
    }
    assert!(up < UP_MAX, "{what}: up after {up:?}");
    let patience = Instant::now() + Duration::from_secs(1800);
    while !is_delivered(&trap) {
        assert!(Instant::now() < patience, "{what}: {:#}", trap.status());
        std::thread::park_timeout(Duration::from_millis(200));
    }
    let whole = begun.elapsed();
    let status = trap.status();
    end(&mut trap);
    let after = offsets(&trap);

    let gone: BTreeSet<u64> = before.difference(&after).copied().collect();
    let ids: BTreeSet<&str> = filled.ids.values().map(String::as_str).collect();
    let given = given(&trap, &ids);
    // A kill in the middle of a delivery doubles what was under way.
    let times_max = if is_killed { 2 } else { 1 };
    assert!(
        given.values().all(|times| *times <= times_max),
        "{what}: something came too often"
    );
    let wanted = filled.ids.range(filled.cursor..);
    let missed: BTreeSet<u64> = wanted
        .filter(|(_, id)| !given.contains_key(*id))
        .map(|(offset, _)| *offset)
        .collect();
    let unreadable: BTreeSet<u64> = missed.difference(&gone).copied().collect();
    // What was not told before the minute was over is told by the next start.
    trap.launch();
    let gaps = eventually("all that the sink misses is told", || {
        let gaps = trap.events(&["--limit", "0", "--action", "journal-gap"]);
        (of_sink(&gaps) >= unreadable.len() as u64).then_some(gaps)
    });
    end(&mut trap);
    let told = |reason: &str, field: &str| -> u64 {
        let of = gaps
            .iter()
            .filter(|gap| gap["event.reason"].as_str().unwrap().contains(reason));
        of.map(|gap| gap[field].as_u64().unwrap_or(0)).sum()
    };
    println!(
        "{what}: {pages} pages, up in {up:.1?}, all delivered in {whole:.1?}, {} gone, {} unreadable, {} given",
        gone.len(),
        unreadable.len(),
        given.len()
    );
    assert_eq!(
        told("the journal was damaged", "honeyport.finding.hits"),
        gone.len() as u64,
        "{what}: {gaps:#?}"
    );
    assert_eq!(of_sink(&gaps), unreadable.len() as u64, "{what}: {gaps:#?}");
    let lost = gone.range(filled.cursor..).count() + unreadable.len();
    assert_eq!(
        status["sinks"][0]["lost"].as_u64(),
        Some(lost as u64),
        "{what}: {status:#}"
    );
    let verified = trap.trapline(&["journal", "verify", "--json"]);
    let said = harness::json(&verified);
    assert_eq!(said["fault"].is_null(), unreadable.is_empty(), "{what}: {said:#}");
}

/// What gap events say that the sink misses.
fn of_sink(gaps: &[Value]) -> u64 {
    let of_sink = gaps.iter().filter(|gap| gap["honeyport.sink.name"] == "archive");
    of_sink.map(|gap| gap["honeyport.finding.hits"].as_u64().unwrap()).sum()
}

/// Nothing is being carried over any more, and the sink has all there is.
fn is_delivered(trap: &Trap) -> bool {
    let status = trap.status();
    let is_carrying = status["faults"].to_string().contains("carried over so far");
    !is_carrying && status["sinks"][0]["lag"] == 0
}

#[test]
fn a_smashed_journal_comes_up_with_exact_numbers_and_delivers_the_rest_once() {
    let filled = filled(20_000, 15_000);
    for damage in DAMAGES {
        survives(&filled, damage, false);
    }
}

#[test]
#[ignore = "minutes, and 4 GB: run it after a change to salvage, best with --release"]
fn a_million_events_in_a_smashed_journal_come_up_within_ten_seconds() {
    let filled = filled(1_000_000, 200_000);
    for damage in DAMAGES {
        survives(&filled, damage, false);
        survives(&filled, damage, true);
    }
}
