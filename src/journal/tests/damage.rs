//! Damaged files: whatever is broken, the start succeeds, keeps the bad file, and carries over what still holds.

use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::super::index::{self, Index};
use super::super::{
    ChainFault, Commit, Entry, Fact, Hold, Journal, JournalError, JournalReport, Missing, Salvaged, Told, start,
};
use super::{all, append, folder, open, settings};

/// A closed journal of `count` entries, one of them long, with a cursor and a state, and its path.
async fn filled(count: u32) -> (TempDir, PathBuf, Vec<Entry>) {
    let folder = folder();
    let journal = open(&folder);
    for number in 0..count {
        let long = if number == count / 2 { 30_000 } else { 900 };
        let mut commit = append(&[&format!("{number:-<long$}")]);
        if number == count / 2 {
            commit.cursors.push(("siem".into(), 40));
            commit.state.push(("window".into(), Some(b"open".to_vec())));
        }
        journal.enqueue(commit).await.unwrap();
    }
    journal.commit(Commit::default()).await.unwrap();
    let entries = all(&journal).await;
    assert_eq!(entries.len(), count as usize);
    journal.close().await;
    let path = folder.path().join("journal.db");
    (folder, path, entries)
}

/// Opens a damaged journal and checks what must hold whatever the damage was; gives what is left.
async fn reopened(folder: &TempDir, before: &[Entry]) -> (Journal, JournalReport, Vec<Entry>) {
    let (journal, report) = Journal::open(settings(folder)).unwrap();
    assert!(report.took < Duration::from_secs(10));
    let after = all(&journal).await;
    for entry in &after {
        assert!(
            before.contains(entry),
            "entry {} is not one that was written",
            entry.offset
        );
    }
    let head = *journal.head().borrow();
    let newest = before.last().unwrap().offset;
    if let Some(Salvaged { kept_as, entries, .. }) = &report.salvaged {
        assert!(kept_as.exists(), "the bad file is kept");
        let of_log = kept_as.to_string_lossy().ends_with("-wal");
        assert!(of_log || *entries as usize == after.len());
        assert!(head > newest || after.is_empty(), "offsets are never given twice");
    } else {
        assert_eq!(after, before, "nothing is lost without a word");
    }
    assert_eq!(
        journal.count().await.unwrap(),
        after.len() as u64,
        "the count is honest"
    );
    let salvaged = |told: &Told| matches!(&told.fact, Fact::Salvaged(_));
    assert_eq!(journal.told().iter().any(salvaged), report.salvaged.is_some());
    assert_eq!(journal.commit(append(&["new"])).await.unwrap(), head);
    assert_eq!(journal.verify().await.unwrap().fault, None);
    (journal, report, after)
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let mut file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(bytes).unwrap();
}

#[tokio::test]
async fn a_zeroed_header_costs_nothing_but_the_header() {
    let (folder, path, before) = filled(100).await;
    overwrite(&path, 0, &[0; 100]);
    let (journal, report, after) = reopened(&folder, &before).await;
    assert_eq!(after, before);
    assert_eq!(journal.cursor("siem").await.unwrap(), Some(40));
    assert_eq!(journal.state("window").await.unwrap(), Some(b"open".to_vec()));
    let salvaged = report.salvaged.unwrap();
    assert_eq!((salvaged.entries, salvaged.small, salvaged.running), (100, 2, false));
    assert_eq!(report.head, 101);
}

#[tokio::test]
async fn a_lost_first_page_costs_no_entry_and_no_cursor() {
    let (folder, path, before) = filled(100).await;
    overwrite(&path, 0, &[0; 8192]);
    let (journal, _, after) = reopened(&folder, &before).await;
    assert_eq!(after, before);
    assert_eq!(journal.cursor("siem").await.unwrap(), Some(40));
}

#[tokio::test]
async fn a_file_that_is_no_database_is_kept_and_a_new_one_begun() {
    let (folder, path, before) = filled(10).await;
    std::fs::write(&path, b"this was never a journal").unwrap();
    let (_, report, after) = reopened(&folder, &before).await;
    assert!(after.is_empty());
    assert_eq!(
        std::fs::read(report.salvaged.unwrap().kept_as).unwrap(),
        b"this was never a journal"
    );
}

#[tokio::test]
async fn an_empty_file_is_not_taken_for_a_new_journal() {
    let (folder, path, before) = filled(10).await;
    std::fs::write(&path, b"").unwrap();
    let (_, report, _) = reopened(&folder, &before).await;
    assert!(!report.created && report.salvaged.is_some());
}

#[tokio::test]
async fn a_truncated_file_keeps_the_entries_before_the_cut() {
    let (folder, path, before) = filled(200).await;
    let bytes = std::fs::metadata(&path).unwrap().len();
    std::fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(bytes / 2)
        .unwrap();
    let (_, _, after) = reopened(&folder, &before).await;
    assert!(after.len() >= 60, "{} of 200", after.len());
}

#[tokio::test]
async fn a_zeroed_leaf_costs_its_own_rows_and_the_break_is_recorded() {
    let (folder, path, before) = filled(200).await;
    let bytes = std::fs::metadata(&path).unwrap().len() / 8192;
    overwrite(&path, bytes / 2 * 8192, &[0; 8192]);
    let (journal, report, after) = reopened(&folder, &before).await;
    assert!(after.len() >= 180 && after.len() < 200, "{} of 200", after.len());
    assert!(!journal.verify().await.unwrap().breaks.is_empty());
    let missing = report.salvaged.unwrap().missing;
    let held = |offset: &u64| after.iter().any(|entry| entry.offset == *offset);
    let lost: Vec<u64> = (1..=200).filter(|offset| !held(offset)).collect();
    let told = (missing.count, missing.first, missing.last, missing.unsure);
    assert_eq!(told, (lost.len() as u64, lost[0], lost[lost.len() - 1], false));
    assert!(missing.to_string().ends_with(" are lost"), "{missing}");
    let is_told = |told: &&Told| told.fact == Fact::Missing(missing.clone());
    assert_eq!(journal.told().iter().filter(is_told).count(), 1);
    assert_eq!(journal.skipped(), Arc::default(), "the newest entry is there");
    journal.close().await;
    assert_eq!(
        open(&folder).verify().await.unwrap().fault,
        None,
        "also after a restart"
    );
}

#[tokio::test]
async fn damage_at_any_place_loses_no_entry_without_a_word() {
    let (source, path, before) = filled(120).await;
    let good = std::fs::read(&path).unwrap();
    let (mut random, mut salvaged) = (StdRng::seed_from_u64(7), 0);
    for round in 0..60 {
        let folder = folder();
        let mut bad = good.clone();
        let at = if round % 3 == 0 {
            random.random_range(0..100)
        } else {
            random.random_range(0..bad.len())
        };
        let until = bad.len().min(at + [1, 16, 4096][round % 3]);
        random.fill(&mut bad[at..until]);
        if round % 10 == 9 {
            bad.truncate(random.random_range(0..good.len()));
        }
        std::fs::write(folder.path().join("journal.db"), &bad).unwrap();
        let (journal, report) =
            Journal::open(settings(&folder)).unwrap_or_else(|error| panic!("{round}, {at}: {error}"));
        let after = all(&journal).await;
        // A byte of a body is not seen by the quick check; the verification finds it.
        let fault = journal.verify().await.unwrap().fault;
        let lost = before.iter().filter(|entry| !after.contains(entry)).count() as u64;
        match report.salvaged.map(|salvaged| salvaged.missing) {
            Some(missing) => {
                salvaged += 1;
                let cut = report.cut_short.map_or(0, |cut| cut.count());
                let is_told = missing.count + cut == lost || missing.unsure;
                assert!(is_told, "round {round}, damage at {at}: {lost} lost, {missing:?}");
            }
            None => assert!(
                lost == 0 || fault.is_some(),
                "round {round}, damage at {at}: {lost} lost"
            ),
        }
        journal.commit(append(&["new"])).await.unwrap();
        journal.close().await;
    }
    assert!((20..60).contains(&salvaged), "{salvaged} of 60 rounds were salvaged");
    drop(source);
}

#[tokio::test]
async fn a_log_damaged_in_its_middle_gives_its_later_entries_back() {
    let folder = folder();
    let journal = open(&folder);
    for number in 0..60 {
        journal.commit(append(&[&format!("{number:-<900}")])).await.unwrap();
    }
    let before = all(&journal).await;
    // A copy taken while the journal works is what a kill leaves.
    let copy = copy_of(&folder);
    journal.close().await;
    let log = copy.path().join("journal.db-wal");
    let frames = (std::fs::metadata(&log).unwrap().len() - 32) / (24 + 8192);
    assert!(frames > 60);
    overwrite(&log, 32 + frames / 2 * (24 + 8192) + 500, &[0xff; 8]);
    let (_, report, after) = reopened(&copy, &before).await;
    let salvaged = report.salvaged.unwrap();
    assert!(salvaged.entries > 20, "{salvaged:?}");
    assert_eq!(
        after.len(),
        60,
        "every row stands whole in a later frame or before the broken one"
    );
}

fn copy_of(folder: &TempDir) -> TempDir {
    let copy = super::folder();
    for name in ["journal.db", "journal.db-wal"] {
        let _ = std::fs::copy(folder.path().join(name), copy.path().join(name));
    }
    copy
}

#[tokio::test]
async fn the_verification_names_the_first_row_that_was_altered_removed_or_moved() {
    let (folder, path, _) = filled(50).await;
    let verdict = async |change: &str| {
        let copy = copy_of(&folder);
        let path = copy.path().join("journal.db");
        let raw = rusqlite::Connection::open(&path).unwrap();
        raw.execute_batch(change).unwrap();
        raw.close().unwrap();
        // The start of an owner would note the break.
        let read = Journal::open_to_read(path, Hold::WhileOpen).unwrap().unwrap();
        let verified = read.verify().await.unwrap();
        (verified.entries, verified.fault)
    };
    assert_eq!(verdict("").await, (50, None));
    assert_eq!(
        verdict("UPDATE entries SET body = 'x' WHERE offset = 20").await,
        (19, Some(ChainFault::Altered(20)))
    );
    assert_eq!(
        verdict("UPDATE entries SET appended_at = appended_at + 1 WHERE offset = 20").await,
        (19, Some(ChainFault::Altered(20)))
    );
    assert_eq!(
        verdict("DELETE FROM entries WHERE offset = 20").await,
        (19, Some(ChainFault::Unlinked(21)))
    );
    assert_eq!(
        verdict("DELETE FROM entries WHERE offset = 1").await,
        (0, Some(ChainFault::Unlinked(2)))
    );
    assert_eq!(
        verdict("DELETE FROM entries WHERE offset = 50").await,
        (49, Some(ChainFault::Missing(50)))
    );
    let swap = "UPDATE entries SET offset = -1 WHERE offset = 7; UPDATE entries SET offset = 7 WHERE offset = 8;
                UPDATE entries SET offset = 8 WHERE offset = -1";
    assert_eq!(verdict(swap).await, (6, Some(ChainFault::Altered(7))));
    drop(path);
}

#[tokio::test]
async fn a_salvage_that_was_killed_between_its_renames_is_finished() {
    let (folder, path, before) = filled(50).await;
    overwrite(&path, 0, &[0; 100]);
    let (journal, report, _) = reopened(&folder, &before).await;
    journal.close().await;
    // Back to the moment when the bad file was set aside and the new one not yet in place.
    let (kept, fresh) = (report.salvaged.unwrap().kept_as, path.with_extension("salvage"));
    std::fs::rename(&path, &fresh).unwrap();
    let raw = rusqlite::Connection::open(&fresh).unwrap();
    raw.execute("DELETE FROM entries WHERE offset > 20", []).unwrap();
    raw.execute(
        "INSERT INTO salvage SELECT 1, ?1, 'killed', 51, hash, 1 FROM anchor",
        [kept.as_os_str().as_encoded_bytes()],
    )
    .unwrap();
    raw.execute("DELETE FROM breaks", []).unwrap();
    raw.close().unwrap();
    let (journal, report) = Journal::open(settings(&folder)).unwrap();
    assert_eq!(all(&journal).await[..50], before);
    assert_eq!(report.salvaged.unwrap().missing, Missing::default());
}

#[tokio::test]
async fn a_journal_that_is_gone_is_told_and_a_first_start_that_came_to_nothing_is_none() {
    let folder = folder();
    let path = folder.path().join("journal.db");
    let in_the_way = folder.path().join("journal.new");
    std::fs::create_dir(&in_the_way).unwrap();
    Journal::open(settings(&folder)).unwrap_err();
    std::fs::remove_dir(&in_the_way).unwrap();
    let opened = || Journal::open(settings(&folder)).unwrap();
    let (journal, report) = opened();
    assert!(report.created && report.cut_short.is_none(), "the first start");
    journal.commit(append(&["one"])).await.unwrap();
    journal.close().await;
    std::fs::remove_file(&path).unwrap();
    let read = Journal::open_to_read(path.clone(), Hold::WhileOpen);
    assert!(matches!(read, Err(JournalError::Damaged { .. })), "{read:?}");
    let (journal, report) = opened();
    assert!(report.cut_short.unwrap().gone);
    assert!(matches!(journal.told()[0].fact, Fact::CutShort(_)));
    journal.commit(append(&["two"])).await.unwrap();
    assert_eq!(journal.told().len(), 1, "{:?}", journal.told());
    journal.close().await;
    let (journal, report) = opened();
    assert_eq!(report.cut_short, None, "told once");
    journal.close().await;
}

#[tokio::test]
async fn the_newest_entries_taken_away_are_told_once_with_or_without_an_index() {
    for indexed in [false, true] {
        let (folder, path, _) = match indexed {
            true => filled_and_indexed(50).await,
            false => filled(50).await,
        };
        let raw = rusqlite::Connection::open(&path).unwrap();
        raw.execute("DELETE FROM entries WHERE offset > 40", []).unwrap();
        raw.close().unwrap();
        let looked = Journal::open_to_read(path.clone(), Hold::WhileOpen).unwrap().unwrap();
        assert_eq!(looked.verify().await.unwrap().fault, Some(ChainFault::Missing(41)));
        drop(looked);
        let (journal, report) = Journal::open(settings(&folder)).unwrap();
        let cut = report.cut_short.unwrap();
        assert_eq!((cut.gone, cut.first, cut.next), (false, 41, 51), "{cut}");
        assert_eq!(journal.commit(append(&["new"])).await.unwrap(), 51);
        let told: Vec<_> = journal.told().into_iter().map(|told| told.fact).collect();
        assert_eq!(told, [Fact::CutShort(cut)]);
        let verified = journal.verify().await.unwrap();
        assert_eq!((verified.fault, verified.breaks.as_slice()), (None, &[51][..]));
        assert_eq!(journal.count().await.unwrap(), 41);
        journal.close().await;
        let (journal, report) = Journal::open(settings(&folder)).unwrap();
        assert_eq!((report.cut_short, journal.told()), (None, Vec::new()), "told once");
        journal.close().await;
    }
}

#[tokio::test]
async fn offsets_that_the_index_has_seen_are_not_given_again_and_the_hole_is_counted_once() {
    let (folder, path, before) = filled_and_indexed(20).await;
    // Not a page of it is left: the salvage finds nothing, the index knows better.
    std::fs::write(&path, b"").unwrap();
    let (journal, report) = Journal::open(settings(&folder)).unwrap();
    let cut = report.cut_short.unwrap();
    assert_eq!((cut.gone, cut.count(), cut.next), (false, 20, 21), "{cut}");
    assert!(before.iter().all(|entry| entry.offset < report.head));
    assert_eq!(journal.commit(append(&["new"])).await.unwrap(), 21);
    let told = journal.told();
    let cuts = told.iter().filter(|told| matches!(told.fact, Fact::CutShort(_)));
    assert_eq!(cuts.count(), 1, "{told:?}");
    assert_eq!(journal.count().await.unwrap(), 1);
    let verified = journal.verify().await.unwrap();
    assert_eq!((verified.fault, verified.breaks.as_slice()), (None, &[21][..]));
    journal.close().await;
}

/// A closed journal as of [`filled`] whose index has seen all of it.
async fn filled_and_indexed(count: u32) -> (TempDir, PathBuf, Vec<Entry>) {
    let (folder, path, before) = filled(count).await;
    let index = Index::new(index::beside(&path), open(&folder), Arc::new(|_| None));
    let stop = CancellationToken::new();
    let (running, stopping) = (index.clone(), stop.clone());
    let run = tokio::spawn(async move { running.run(stopping).await });
    super::until("all is indexed", async || index.indexed_to() == u64::from(count) + 1).await;
    stop.cancel();
    run.await.unwrap();
    drop(index);
    super::until("the journal is free", async || {
        Journal::open_to_read(path.clone(), Hold::WhileOpen).is_ok()
    })
    .await;
    (folder, path, before)
}

fn cut_off(path: &Path, bytes: u64) {
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(path.metadata().unwrap().len() - bytes).unwrap();
}

#[tokio::test]
async fn after_a_torn_tail_what_the_index_had_seen_is_missing_and_what_was_skipped_is_not() {
    let (folder, path, before) = filled_and_indexed(200).await;
    cut_off(&path, 50_123);
    let (journal, report, after) = reopened(&folder, &before).await;
    let lost = 200 - after.len() as u64;
    let missing = report.salvaged.unwrap().missing;
    assert_eq!((missing.count, missing.last, missing.unsure), (lost, 200, false));
    assert_eq!(report.cut_short, None);
    assert!(report.head > 1000, "no offset is given twice: {}", report.head);
    let hole = (missing.first, report.head - 1);
    assert_eq!(journal.skipped().given(hole), [(missing.first, 200)]);
    journal.close().await;
    let journal = open(&folder);
    assert_eq!(
        journal.skipped().given(hole),
        [(missing.first, 200)],
        "also after a restart"
    );
    assert_eq!(journal.told(), [], "told once");
    journal.close().await;
    // Nothing is skipped twice when the file is damaged again, nor told as missing.
    overwrite(&path, 0, &[0; 100]);
    let (journal, report) = Journal::open(settings(&folder)).unwrap();
    assert_eq!(journal.skipped().given(hole), [(missing.first, 200)]);
    assert_eq!(report.salvaged.unwrap().missing, Missing::default());
}

/// Zeroes the page of the file in which this entry stands; gives the offsets of the entries that stand there.
fn zero_page_of(path: &Path, offset: u64) -> Vec<u64> {
    let raw = rusqlite::Connection::open(path).unwrap();
    raw.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
    let mut rows = raw.prepare("SELECT offset, body FROM entries").unwrap();
    let rows = rows.query_map([], |row| Ok((row.get::<_, u32>(0)?.into(), row.get::<_, Vec<u8>>(1)?)));
    let rows: Vec<_> = rows.unwrap().map(Result::unwrap).collect();
    let mut bytes = std::fs::read(path).unwrap();
    let is_in = |page: &[u8], body: &[u8]| page.windows(body.len()).any(|window| window == body);
    let body = &rows.iter().find(|(place, _)| *place == offset).unwrap().1;
    let page = bytes.chunks_mut(8192).find(|page| is_in(page, body)).unwrap();
    let lost = rows
        .iter()
        .filter(|(_, body)| is_in(page, body))
        .map(|(place, _)| *place);
    let lost = lost.collect();
    page.fill(0);
    std::fs::write(path, bytes).unwrap();
    lost
}

#[tokio::test]
async fn a_file_that_is_damaged_twice_tells_each_time_what_was_lost_since() {
    let (folder, path, mut before) = filled(200).await;
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.execute("INSERT INTO losses VALUES ('unreadable/siem', 3, 4, 2)", [])
        .unwrap();
    raw.close().unwrap();
    for offset in [30, 160] {
        let lost = zero_page_of(&path, offset);
        let (journal, report, _) = reopened(&folder, &before).await;
        let missing = report.salvaged.unwrap().missing;
        let told = (missing.count, missing.first, missing.last);
        assert_eq!(told, (lost.len() as u64, lost[0], lost[lost.len() - 1]));
        let of_siem = |told: &Told| matches!(&told.fact, Fact::Lost { consumer: who, count: 2, .. } if who == "siem");
        assert_eq!(
            journal.told().iter().any(of_siem),
            offset == 30,
            "what was not told yet is carried over"
        );
        before = all(&journal).await;
        journal.close().await;
    }
}

#[tokio::test]
async fn a_kill_between_the_find_of_damage_and_its_telling_leaves_it_to_the_next_start() {
    let (folder, path, _) = filled(200).await;
    let lost = zero_page_of(&path, 30);
    // Ends as by a kill: nothing was told.
    let started = start::start(&settings(&folder)).unwrap();
    let found = started.report.salvaged.clone().unwrap();
    assert_eq!((found.missing.count, found.running), (lost.len() as u64, false));
    drop(started);
    for told in [1, 0] {
        let journal = open(&folder);
        journal.commit(append(&["new"])).await.unwrap();
        let facts = journal.told().into_iter().map(|told| told.fact);
        let facts: Vec<_> = facts
            .filter(|fact| matches!(fact, Fact::Salvaged(_) | Fact::Missing(_)))
            .collect();
        let expected = [Fact::Salvaged(found.clone()), Fact::Missing(found.missing.clone())];
        assert_eq!(facts, expected[..2 * told], "once");
        journal.close().await;
    }
}

#[tokio::test]
async fn a_kill_before_what_was_taken_away_is_told_leaves_it_to_the_next_start() {
    for indexed in [false, true] {
        let (folder, path, _) = match indexed {
            true => filled_and_indexed(50).await,
            false => filled(50).await,
        };
        let raw = rusqlite::Connection::open(&path).unwrap();
        raw.execute("DELETE FROM entries WHERE offset > 40", []).unwrap();
        if indexed {
            raw.execute("UPDATE sqlite_sequence SET seq = 40", []).unwrap();
        }
        raw.close().unwrap();
        let cut = start::start(&settings(&folder)).unwrap().report.cut_short.unwrap();
        assert_eq!((cut.first, cut.next), (41, 51));
        for told in [1, 0] {
            let journal = open(&folder);
            journal.commit(append(&["new"])).await.unwrap();
            let facts: Vec<_> = journal.told().into_iter().map(|told| told.fact).collect();
            assert_eq!(facts, vec![Fact::CutShort(cut.clone()); told], "once");
            journal.close().await;
        }
    }
}

#[tokio::test]
async fn a_backup_is_never_written_over_the_journal_itself() {
    let (folder, path, before) = filled(20).await;
    let journal = open(&folder);
    let link = folder.path().join("link.db");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    for target in [path.clone(), link, folder.path().join("journal.db-wal")] {
        let refused = journal.backup(target, true).await.unwrap_err();
        assert!(refused.to_string().contains("the journal itself"), "{refused}");
    }
    assert_eq!(journal.commit(append(&["new"])).await.unwrap(), 21);
    journal.close().await;
    assert_eq!(all(&open(&folder)).await[..20], before);
}

#[tokio::test]
async fn how_many_of_the_newest_entries_a_torn_tail_cost_is_not_known_if_nothing_tells() {
    let (folder, path, before) = filled(200).await;
    cut_off(&path, 50_123);
    // The table that says which offset was given last.
    overwrite(&path, 2 * 8192, &[0; 8192]);
    let (journal, report, after) = reopened(&folder, &before).await;
    let missing = report.salvaged.unwrap().missing;
    assert!(
        missing.unsure && missing.to_string().ends_with("is not known"),
        "{missing}"
    );
    let newest = after.last().unwrap().offset;
    assert!(missing.last < newest, "{missing}");
    assert_eq!(journal.skipped().given((newest + 1, report.head - 1)), []);
}

#[tokio::test]
async fn a_backup_taken_under_load_is_a_whole_journal() {
    let folder = folder();
    let journal = open(&folder);
    for number in 0..300 {
        journal.enqueue(append(&[&format!("{number:-<900}")])).await.unwrap();
    }
    let head = journal.commit(append(&["last before"])).await.unwrap();
    let load = async {
        for number in 0..100 {
            journal.commit(append(&[&format!("{number}")])).await.unwrap();
        }
    };
    let copy = super::folder();
    let target = copy.path().join("journal.db");
    let (backup, ()) = tokio::join!(journal.backup(target.clone(), false), load);
    assert_eq!(backup.unwrap().fault, None);
    assert!(
        journal.backup(target, false).await.is_err(),
        "an existing file is never written over"
    );
    let copied = open(&copy);
    assert!(*copied.head().borrow() > head);
    assert_eq!(copied.verify().await.unwrap().fault, None);
}
