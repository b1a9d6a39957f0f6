//! Searching the journal: which entries match, oldest first, then new ones as they come.
//!
//! In: a [`Filter`]. Out: offsets and bodies of entries whose event matches. Pass entries are pointers, not events, and
//! are left out. The index finds candidates; every entry that is shown was read from the journal and matched, so that a stale
//! or broken index may cost time, never truth. Memory: one page of entries, and one offset for each match that is asked for.

use std::io;

use bytes::Bytes;
use tokio::sync::watch;
use trapline_schemas::Event;

use crate::app::Core;
use crate::control::protocol::{Answer, BEAT, Query, Refusal};
use crate::control::query::Filter;
use crate::control::server::Peer;
use crate::graph::Body;
use crate::journal::index::{Index, Page, Search};
use crate::journal::{Entry, Journal, JournalError, Offset};

/// Entries read at once.
pub(super) const PAGE: usize = 512;
/// Bytes of bodies read at once.
const PAGE_BYTES: usize = 4 << 20;
/// Entries behind the index that are searched one by one; with more, the answer says how far the index is behind.
const TAIL_MAX: u64 = 50_000;

/// Where is searched.
#[derive(Debug, Clone, Copy)]
pub struct Places<'a> {
    /// The truth.
    pub journal: &'a Journal,
    /// By which it is found faster; without it everything is read.
    pub index: Option<&'a Index>,
}

/// Why a search ended early.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The journal could not be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Whoever is shown the events has gone.
    #[error("the reader has gone")]
    Reader(#[from] io::Error),
}

/// Answers an events request.
pub(super) async fn serve(peer: &mut Peer, core: &Core, wanted: &Query) -> io::Result<()> {
    let filter = match Filter::parse(wanted) {
        Ok(filter) => filter,
        Err(reasons) => return peer.refuse_all(Refusal::Usage, reasons).await,
    };
    let mut head = core.journal().head();
    let end = *head.borrow_and_update();
    let places = Places {
        journal: core.journal(),
        index: Some(core.index()),
    };
    let served = match show_past(peer, places, &filter, wanted.limit, end).await {
        Ok(_) if wanted.follow => follow(peer, core.journal(), &filter, end, head).await,
        Ok(index_lag) => peer.finish(&Answer::End { index_lag }).await.map_err(SearchError::from),
        Err(error) => Err(error),
    };
    match served {
        Ok(()) => Ok(()),
        Err(SearchError::Reader(error)) => Err(error),
        Err(SearchError::Journal(error)) => peer.refuse_all(Refusal::Failed, vec![error.to_string()]).await,
    }
}

/// Shows what is there; gives how many entries were not searched because the index is behind.
async fn show_past(
    peer: &mut Peer,
    places: Places<'_>,
    filter: &Filter,
    limit: u32,
    end: Offset,
) -> Result<u64, SearchError> {
    let (mut pages, unsearched) = peer.during(Pages::of(places, filter, limit, end)).await??;
    while let Some(page) = peer.during(pages.next(places.journal, filter)).await?? {
        for entry in page {
            peer.send(&answer(&entry)).await?;
        }
    }
    Ok(unsearched)
}

/// Goes on with what comes, until the peer has gone.
async fn follow(
    peer: &mut Peer,
    journal: &Journal,
    filter: &Filter,
    mut next: Offset,
    mut head: watch::Receiver<Offset>,
) -> Result<(), SearchError> {
    peer.flush().await?;
    loop {
        let page = peer.during(journal.read(next, PAGE, PAGE_BYTES)).await??;
        if let Some(last) = page.last() {
            next = last.offset + 1;
            for entry in page.iter().filter(|entry| is_match(entry, filter)) {
                peer.send(&answer(entry)).await?;
            }
            peer.flush().await?;
            continue;
        }
        // Cancel: all three are safe.
        tokio::select! {
            () = peer.closed() => return Ok(()),
            changed = head.changed() => if changed.is_err() { return Ok(()) },
            () = tokio::time::sleep(BEAT) => peer.finish(&Answer::Working).await?,
        }
    }
}

/// Shows every match to `show`, oldest first; at most the newest `limit`, 0 is all.
pub async fn each(
    journal: &Journal,
    filter: &Filter,
    limit: u32,
    mut show: impl FnMut(Offset, &[u8]) -> io::Result<()>,
) -> Result<(), SearchError> {
    let end = *journal.head().borrow();
    let places = Places { journal, index: None };
    let (mut pages, _) = Pages::of(places, filter, limit, end).await?;
    while let Some(page) = pages.next(journal, filter).await? {
        for entry in page {
            show(entry.offset, &entry.body)?;
        }
    }
    Ok(())
}

/// What is still to be shown.
enum Pages {
    /// All matches of a range.
    Range(Offset, Offset),
    /// These entries, known to match.
    Found(Vec<Offset>),
}

impl Pages {
    /// With the number of entries that were not searched.
    async fn of(places: Places<'_>, filter: &Filter, limit: u32, end: Offset) -> Result<(Self, u64), JournalError> {
        let (first, end) = span(places.journal, filter, end).await?;
        if limit == 0 {
            return Ok((Self::Range(first, end), 0));
        }
        let mut newest = Newest::new(filter, limit, first, end);
        let unsearched = newest.find(places).await?;
        Ok((Self::Found(newest.offsets()), unsearched))
    }

    /// The next page of matches; `None` after the last.
    async fn next(&mut self, journal: &Journal, filter: &Filter) -> Result<Option<Vec<Entry>>, JournalError> {
        match self {
            Self::Range(next, end) => {
                let mut page = read_range(journal, *next, *end).await?;
                let Some(last) = page.last() else {
                    return Ok(None);
                };
                *next = last.offset + 1;
                page.retain(|entry| is_match(entry, filter));
                Ok(Some(page))
            }
            Self::Found(offsets) if offsets.is_empty() => Ok(None),
            Self::Found(offsets) => {
                let rest = offsets.split_off(offsets.len().min(PAGE));
                let page = journal.entries(std::mem::replace(offsets, rest)).await?;
                Ok(Some(page.into_iter().filter(|entry| is_match(entry, filter)).collect()))
            }
        }
    }
}

/// The entries of the times asked for: the first offset, and the one after the last, which is `end` at most.
pub(super) async fn span(journal: &Journal, filter: &Filter, end: Offset) -> Result<(Offset, Offset), JournalError> {
    let first = match filter.since {
        Some(since) => journal.offset_at(since).await?,
        None => journal.oldest().await?,
    };
    let end = match filter.until {
        Some(until) => journal.offset_at(until).await?.min(end),
        None => end,
    };
    // Times asked for may be the wrong way round, and the trim may have passed the end: then there is nothing.
    Ok((first, end.max(first)))
}

/// The newest matches in a range, found from the newest to the oldest.
struct Newest<'a> {
    filter: &'a Filter,
    limit: usize,
    first: Offset,
    end: Offset,
    /// Descending.
    found: Vec<Offset>,
}

impl<'a> Newest<'a> {
    fn new(filter: &'a Filter, limit: u32, first: Offset, end: Offset) -> Self {
        Self {
            filter,
            limit: limit as usize,
            first,
            end,
            found: Vec::new(),
        }
    }

    /// Finds them; gives how many entries were not searched.
    async fn find(&mut self, places: Places<'_>) -> Result<u64, JournalError> {
        let search = self.filter.search();
        let (Some(index), Some(search)) = (places.index, search) else {
            self.scan(places.journal, self.first, self.end).await?;
            return Ok(0);
        };
        let indexed = index.indexed_to().clamp(self.first, self.end);
        let behind = self.end - indexed;
        let tail = self.end.saturating_sub(TAIL_MAX).max(indexed);
        self.scan(places.journal, tail, self.end).await?;
        self.ask(places.journal, index, search, indexed).await?;
        Ok(behind.saturating_sub(TAIL_MAX))
    }

    /// Ascending.
    fn offsets(mut self) -> Vec<Offset> {
        self.found.reverse();
        self.found
    }

    const fn is_full(&self) -> bool {
        self.found.len() >= self.limit
    }

    /// Takes offsets in descending order.
    fn take(&mut self, offsets: impl IntoIterator<Item = Offset>) {
        let room = self.limit.saturating_sub(self.found.len());
        self.found.extend(offsets.into_iter().take(room));
    }

    /// Reads everything in `first..end`, page by page from its end.
    async fn scan(&mut self, journal: &Journal, first: Offset, end: Offset) -> Result<(), JournalError> {
        let mut above = end;
        while above > first && !self.is_full() {
            let below = above.saturating_sub(PAGE as u64).max(first);
            let matching = matches_in(journal, self.filter, below, above).await?;
            self.take(matching.into_iter().rev());
            above = below;
        }
        Ok(())
    }

    /// Asks the index, and reads what it names: a network is narrowed down only here.
    async fn ask(&mut self, journal: &Journal, index: &Index, search: Search, end: Offset) -> Result<(), JournalError> {
        let mut next = Some(Box::new(Search {
            from: Some(self.first),
            until: Some(end),
            limit: PAGE,
            ..search
        }));
        while let Some(search) = next.filter(|_| !self.is_full()) {
            let until = search.until.unwrap_or(end);
            let Some(page) = indexed(index, *search).await else {
                return self.scan(journal, self.first, until).await;
            };
            let entries = journal.entries(page.offsets).await?;
            let matching = entries.iter().filter(|entry| is_match(entry, self.filter));
            self.take(matching.map(|entry| entry.offset));
            next = page.more;
        }
        Ok(())
    }
}

/// What the index finds below `search.until`; `None` if it cannot say: it cannot be read, or was lost since it was asked
/// how far it is, and is built anew.
pub(super) async fn indexed(index: &Index, search: Search) -> Option<Page> {
    let until = search.until.unwrap_or_default();
    let found = index.search(search).await;
    let found = found.inspect_err(|error| tracing::debug!(%error, "searched without the index"));
    found.ok().filter(|page| page.indexed_to >= until)
}

pub(super) async fn matches_in(
    journal: &Journal,
    filter: &Filter,
    first: Offset,
    end: Offset,
) -> Result<Vec<Offset>, JournalError> {
    let mut found = Vec::new();
    let mut next = first;
    loop {
        let page = read_range(journal, next, end).await?;
        let Some(last) = page.last() else {
            return Ok(found);
        };
        next = last.offset + 1;
        found.extend(
            page.iter()
                .filter(|entry| is_match(entry, filter))
                .map(|entry| entry.offset),
        );
    }
}

pub(super) async fn read_range(journal: &Journal, first: Offset, end: Offset) -> Result<Vec<Entry>, JournalError> {
    if first >= end {
        return Ok(Vec::new());
    }
    let mut page = journal.read(first, PAGE, PAGE_BYTES).await?;
    page.retain(|entry| entry.offset < end);
    Ok(page)
}

/// Whether an entry is an event that matches. What cannot be read is not searched, and is left to `journal verify`.
fn is_match(entry: &Entry, filter: &Filter) -> bool {
    event_of(entry, filter).is_some()
}

/// The event of an entry, if it is one that matches.
pub fn event_of(entry: &Entry, filter: &Filter) -> Option<Event> {
    if !filter.is_within(entry.appended_at) {
        return None;
    }
    match Body::decode(&entry.body) {
        Ok(Body::Event(event)) => Some(event).filter(|event| filter.matches(event)),
        _ => None,
    }
}

fn answer(entry: &Entry) -> Answer {
    let body: &Bytes = &entry.body;
    Answer::Event {
        offset: entry.offset,
        body: String::from_utf8_lossy(body).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Pass;
    use crate::journal::{Commit, JournalSettings};
    use trapline_schemas::{Action, Event, Field, Timestamp, codec};

    fn event(number: u16) -> Bytes {
        let mut event = Event::new(uuid::Uuid::nil(), Timestamp::from_micros(1), Action::Connect);
        event.set(Field::DestinationPort, number % 2);
        codec::encode(&event).into()
    }

    async fn filled(count: u16) -> (tempfile::TempDir, Journal) {
        let folder = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(JournalSettings::at(folder.path().join("journal.db"))).unwrap();
        let mut append: Vec<_> = (1..count).map(event).collect();
        append.push(Pass::new("node", 1).encode().into());
        journal
            .commit(Commit {
                append,
                ..Commit::default()
            })
            .await
            .unwrap();
        (folder, journal)
    }

    #[tokio::test]
    async fn the_index_finds_what_reading_everything_finds() {
        let (folder, journal) = filled(3_000).await;
        let row: crate::journal::index::Extract = std::sync::Arc::new(|body| match Body::decode(body) {
            Ok(Body::Event(event)) => Some(crate::journal::index::IndexRow {
                port: event
                    .int(Field::DestinationPort)
                    .and_then(|port| u16::try_from(port).ok()),
                ..Default::default()
            }),
            _ => None,
        });
        let index = Index::new(folder.path().join("index.db"), journal.clone(), row);
        let stop = tokio_util::sync::CancellationToken::new();
        let (runner, stopped) = (index.clone(), stop.clone());
        let running = tokio::spawn(async move { runner.run(stopped).await });
        while index.indexed_to() < 3_001 {
            tokio::task::yield_now().await;
        }
        // Two more that the index may not have yet.
        let append = vec![event(2), event(3)];
        journal
            .commit(Commit {
                append,
                ..Commit::default()
            })
            .await
            .unwrap();
        let even = Filter {
            port: Some(0),
            ..Filter::default()
        };
        for limit in [1, 3, 1_000, 5_000] {
            let mut newest = Newest::new(&even, limit, 1, 3_003);
            newest
                .find(Places {
                    journal: &journal,
                    index: Some(&index),
                })
                .await
                .unwrap();
            assert_eq!(newest.offsets(), shown(&journal, &even, limit).await, "limit {limit}");
        }
        stop.cancel();
        running.await.unwrap();
        journal.close().await;
    }

    async fn shown(journal: &Journal, filter: &Filter, limit: u32) -> Vec<Offset> {
        let mut offsets = Vec::new();
        each(journal, filter, limit, |offset, _| {
            offsets.push(offset);
            Ok(())
        })
        .await
        .unwrap();
        offsets
    }

    #[tokio::test]
    async fn the_newest_matches_are_shown_oldest_first_and_passes_never() {
        let (_folder, journal) = filled(2_000).await;
        let even = Filter {
            port: Some(0),
            ..Filter::default()
        };
        assert_eq!(shown(&journal, &even, 3).await, [1_994, 1_996, 1_998]);
        assert_eq!(shown(&journal, &even, 0).await.len(), 999);
        assert_eq!(shown(&journal, &Filter::default(), 0).await.len(), 1_999);
        assert_eq!(shown(&journal, &Filter::default(), 5_000).await.len(), 1_999);
        let never = Filter {
            port: Some(7),
            ..Filter::default()
        };
        assert!(shown(&journal, &never, 10).await.is_empty());
        journal.close().await;
    }

    #[tokio::test]
    async fn a_time_without_entries_shows_none() {
        let (_folder, journal) = filled(10).await;
        let past = Filter {
            until: Some(Timestamp::from_micros(5)),
            ..Filter::default()
        };
        assert!(shown(&journal, &past, 0).await.is_empty());
        let future = Filter {
            since: Some(Timestamp::from_micros(i64::MAX)),
            ..Filter::default()
        };
        assert!(shown(&journal, &future, 100).await.is_empty());
        journal.close().await;
    }

    #[tokio::test]
    async fn times_the_wrong_way_round_find_nothing() {
        let (folder, journal) = filled(9).await;
        let index = Index::new(
            folder.path().join("index.db"),
            journal.clone(),
            std::sync::Arc::new(|_| None),
        );
        let filter = Filter {
            since: Some(Timestamp::from_micros(i64::MAX)),
            until: Some(Timestamp::from_micros(0)),
            port: Some(0),
            ..Filter::default()
        };
        let places = Places {
            journal: &journal,
            index: Some(&index),
        };
        let (mut pages, _) = Pages::of(places, &filter, 5, 9).await.unwrap();
        assert!(pages.next(&journal, &filter).await.unwrap().is_none());
    }
}
