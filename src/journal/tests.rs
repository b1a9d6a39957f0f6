//! The journal through its own face, file and all.

mod basics;
mod damage;
pub(crate) mod disk;
mod faults;
mod model;
mod retention;
mod syncs;
mod upgrade;

use bytes::Bytes;
use tempfile::TempDir;

use super::{Commit, DeadLetter, Entry, Journal, JournalSettings};

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn settings(folder: &TempDir) -> JournalSettings {
    JournalSettings::at(folder.path().join("journal.db"))
}

fn open(folder: &TempDir) -> Journal {
    Journal::open(settings(folder)).unwrap().0
}

fn append(bodies: &[impl AsRef<str>]) -> Commit {
    Commit {
        append: bodies
            .iter()
            .map(|body| Bytes::copy_from_slice(body.as_ref().as_bytes()))
            .collect(),
        ..Commit::default()
    }
}

fn texts(entries: &[Entry]) -> Vec<(u64, String)> {
    entries
        .iter()
        .map(|entry| (entry.offset, String::from_utf8(entry.body.to_vec()).unwrap()))
        .collect()
}

async fn all(journal: &Journal) -> Vec<Entry> {
    let (mut from, mut entries) = (0, Vec::new());
    loop {
        let read = journal.read(from, 500, 1 << 20).await.unwrap();
        let Some(last) = read.last() else {
            return entries;
        };
        from = last.offset + 1;
        entries.extend(read);
    }
}

/// Every dead letter, of a sink or of all, by sink and offset.
async fn letters(journal: &Journal, sink: Option<&str>) -> Vec<DeadLetter> {
    let (mut after, mut letters) = (None, Vec::new());
    loop {
        let page = journal.dead_letters(sink, after).await.unwrap();
        let Some(last) = page.last() else {
            return letters;
        };
        after = Some((last.letter.sink.clone(), last.letter.offset));
        letters.extend(page.into_iter().map(|kept| kept.letter));
    }
}

/// Polls until `holds`, for ten seconds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !holds().await {
        assert!(std::time::Instant::now() < deadline, "not within 10 s: {what}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}
