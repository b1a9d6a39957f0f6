//! Pages of matching events, from either end of the journal, for whoever comes back for the next one.
//!
//! In: a [`Filter`] and a [`Wanted`]. Out: a [`Page`], and the place that the next one begins at. Places are offsets, so
//! that events which come meanwhile move nothing: each match is on exactly one page.
//!
//! Bounds: a page ends at a count, at [`PAGE_BYTES_MAX`] of bodies, or when its time is over; at least one step was made
//! then, so that whoever comes back gets on. The index finds candidates; every event was read from the journal and
//! matched, as in [`super::search`].

use std::time::Instant;

use trapline_schemas::{Event, Field};

use super::query::Filter;
use super::search::{PAGE, Places, event_of, indexed, matches_in, span};
use crate::journal::index::{Index, Search};
use crate::journal::{Entry, JournalError, Offset};

/// Bodies of one page, bytes: what the last event adds may go beyond it.
const PAGE_BYTES_MAX: usize = 4 << 20;
/// Entries held at once while a page is put together.
const STEP: usize = 16;

/// From which end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The newest first.
    Newest,
    /// The oldest first.
    Oldest,
}

/// Which page.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// From which end.
    pub order: Order,
    /// Where the page before it ended; `None` is the first.
    pub place: Option<Offset>,
    /// Events at most; at least 1.
    pub count: usize,
    /// When searching ends.
    pub until: Instant,
}

/// Matching events in the order asked for, each with its offset set.
#[derive(Debug, Default)]
pub struct Page {
    /// They.
    pub events: Vec<Event>,
    /// The place of the next page; `None`: there is no more.
    pub next: Option<Offset>,
}

/// Finds one page. Cancel: safe.
pub async fn page(places: Places<'_>, filter: &Filter, wanted: Wanted) -> Result<Page, JournalError> {
    let head = *places.journal.head().borrow();
    let (first, end) = span(places.journal, filter, head).await?;
    let place = match wanted.order {
        Order::Newest => wanted.place.unwrap_or(end).min(end),
        Order::Oldest => wanted.place.unwrap_or(first).max(first),
    };
    let mut walk = Walk {
        places,
        filter,
        wanted,
        bounds: (first, end),
        place,
        bytes: 0,
        events: Vec::new(),
    };
    let mut is_over = walk.is_through();
    while !is_over {
        walk.step().await?;
        is_over = walk.is_through() || walk.is_full() || Instant::now() >= wanted.until;
    }
    Ok(Page {
        next: (!walk.is_through()).then_some(walk.place),
        events: walk.events,
    })
}

/// A page on its way.
struct Walk<'a> {
    places: Places<'a>,
    filter: &'a Filter,
    wanted: Wanted,
    /// The first offset and the one after the last.
    bounds: (Offset, Offset),
    /// Newest first: all from here on was looked at; oldest first: all before it.
    place: Offset,
    bytes: usize,
    events: Vec<Event>,
}

impl Walk<'_> {
    fn is_through(&self) -> bool {
        match self.wanted.order {
            Order::Newest => self.place <= self.bounds.0,
            Order::Oldest => self.place >= self.bounds.1,
        }
    }

    const fn is_full(&self) -> bool {
        self.events.len() >= self.wanted.count || self.bytes >= PAGE_BYTES_MAX
    }

    /// Looks at the next candidates, and takes those that match until the page is full.
    async fn step(&mut self) -> Result<(), JournalError> {
        let (offsets, behind) = self.candidates().await?;
        for few in offsets.chunks(STEP) {
            for entry in self.places.journal.entries(few.to_vec()).await? {
                if self.is_full() {
                    return Ok(());
                }
                self.take(&entry);
            }
        }
        if !self.is_full() {
            self.place = behind;
        }
        Ok(())
    }

    fn take(&mut self, entry: &Entry) {
        self.place = match self.wanted.order {
            Order::Newest => entry.offset,
            Order::Oldest => entry.offset + 1,
        };
        if let Some(event) = event_of(entry, self.filter) {
            self.bytes += entry.body.len();
            self.events.push(numbered(event, entry.offset));
        }
    }

    /// Offsets to be looked at, in order, and the place behind them all.
    async fn candidates(&self) -> Result<(Vec<Offset>, Offset), JournalError> {
        match self.ask().await {
            Some(found) => Ok(found),
            None => self.read().await,
        }
    }

    /// What the index finds; `None` if it does not have this place, knows nothing of what is wanted, or cannot say.
    async fn ask(&self) -> Option<(Vec<Offset>, Offset)> {
        let (index, search) = (self.places.index?, self.filter.search()?);
        let newest = self.wanted.order == Order::Newest;
        let (from, until) = match newest {
            true => (self.bounds.0, self.place),
            false => (self.place, self.bounds.1.min(index.indexed_to())),
        };
        if from >= until || index.indexed_to() < until {
            return None;
        }
        let search = Search {
            from: Some(from),
            until: Some(until),
            oldest_first: !newest,
            limit: PAGE,
            ..search
        };
        let page = indexed(index, search).await?;
        let last = page.offsets.last().filter(|_| page.more.is_some());
        let behind = match (newest, last) {
            (true, last) => last.copied().unwrap_or(from),
            (false, last) => last.map_or(until, |last| last + 1),
        };
        Some((page.offsets, behind))
    }

    /// What is found by reading; not beyond where the index can be asked.
    async fn read(&self) -> Result<(Vec<Offset>, Offset), JournalError> {
        let (journal, step) = (self.places.journal, PAGE as u64);
        if self.wanted.order == Order::Oldest {
            let above = self.place.saturating_add(step).min(self.bounds.1);
            return Ok((matches_in(journal, self.filter, self.place, above).await?, above));
        }
        let index = self.places.index.filter(|_| self.filter.search().is_some());
        let indexed = index.map(Index::indexed_to).filter(|indexed| *indexed < self.place);
        let below = self.place.saturating_sub(step).max(self.bounds.0);
        let below = below.max(indexed.unwrap_or_default());
        let mut found = matches_in(journal, self.filter, below, self.place).await?;
        found.reverse();
        Ok((found, below))
    }
}

/// With its offset, which its body has not.
pub fn numbered(mut event: Event, offset: Offset) -> Event {
    event.set(Field::JournalSequence, i64::try_from(offset).unwrap_or(i64::MAX));
    event
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use trapline_schemas::{Action, Timestamp, codec, ids};

    use super::*;
    use crate::journal::index::IndexRow;
    use crate::journal::{Commit, Journal, JournalSettings};

    fn event(number: u16) -> Event {
        let at = Timestamp::now();
        let mut event = Event::new(ids::fresh(at), at, Action::Connect);
        event.set(Field::DestinationPort, number % 3);
        event
    }

    pub(in crate::control) async fn append(journal: &Journal, events: &[Event]) {
        let append = events.iter().map(|event| codec::encode(event).into()).collect();
        let commit = Commit {
            append,
            ..Commit::default()
        };
        journal.commit(commit).await.unwrap();
    }

    pub(in crate::control) async fn filled(count: u16) -> (tempfile::TempDir, Journal, Vec<Event>) {
        let folder = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(JournalSettings::at(folder.path().join("journal.db"))).unwrap();
        let events: Vec<_> = (1..=count).map(event).collect();
        append(&journal, &events).await;
        (folder, journal, events)
    }

    pub(in crate::control) fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    pub(in crate::control) fn offset(event: &Event) -> Offset {
        event.int(Field::JournalSequence).unwrap().cast_unsigned()
    }

    /// All pages one after the other, with `between` before each further one.
    async fn pages(
        places: Places<'_>,
        filter: &Filter,
        order: Order,
        until: Instant,
        between: impl AsyncFn(),
    ) -> Vec<Offset> {
        let mut wanted = Wanted {
            order,
            place: None,
            count: 70,
            until,
        };
        let mut seen = Vec::new();
        for _ in 0..1_000 {
            let page = page(places, filter, wanted).await.unwrap();
            assert!(page.events.len() <= 70);
            seen.extend(page.events.iter().map(offset));
            let Some(next) = page.next else { return seen };
            wanted.place = Some(next);
            between().await;
        }
        panic!("pages without end");
    }

    async fn indexed(folder: &std::path::Path, journal: &Journal) -> Index {
        let row: crate::journal::index::Extract = std::sync::Arc::new(|body| {
            let event = codec::decode(body).ok()?;
            Some(IndexRow {
                port: event.int(Field::DestinationPort).and_then(|port| port.try_into().ok()),
                ..IndexRow::default()
            })
        });
        let index = Index::new(folder.join("index.db"), journal.clone(), row);
        index.catch_up().await;
        index
    }

    #[tokio::test]
    async fn each_match_is_on_one_page_from_either_end_while_events_come() {
        let (folder, journal, _) = filled(1_300).await;
        let index = indexed(folder.path(), &journal).await;
        append(&journal, &(1..=100).map(event).collect::<Vec<_>>()).await;
        let third = Filter {
            port: Some(0),
            ..Filter::default()
        };
        let expected: Vec<Offset> = (1..=1_300)
            .filter(|at| at % 3 == 0)
            .chain((1..=100).filter(|at| at % 3 == 0).map(|at| 1_300 + at))
            .collect();
        let come = async || append(&journal, &[event(1), event(0)]).await;
        for index in [None, Some(&index)] {
            let journal = &journal;
            let places = Places { journal, index };
            let mut newest = pages(places, &third, Order::Newest, soon(), come).await;
            newest.reverse();
            newest.retain(|at| *at <= 1_400);
            assert_eq!(newest, expected, "with index: {}", index.is_some());
            let mut oldest = pages(places, &third, Order::Oldest, soon(), async || {}).await;
            oldest.retain(|at| *at <= 1_400);
            assert_eq!(oldest, expected, "with index: {}", index.is_some());
        }
        journal.close().await;
    }

    #[tokio::test]
    async fn an_index_that_was_removed_hides_nothing() {
        let (folder, journal, _) = filled(1_300).await;
        let index = indexed(folder.path(), &journal).await;
        let third = Filter {
            port: Some(0),
            ..Filter::default()
        };
        let places = Places {
            journal: &journal,
            index: Some(&index),
        };
        std::fs::remove_file(folder.path().join("index.db")).unwrap();
        for order in [Order::Newest, Order::Oldest] {
            let mut found = pages(places, &third, order, soon(), async || {}).await;
            found.sort_unstable();
            assert_eq!(found, (1..=433).map(|third| 3 * third).collect::<Vec<_>>(), "{order:?}");
        }
        journal.close().await;
    }

    #[tokio::test]
    async fn a_page_whose_time_is_over_is_short_and_the_next_goes_on() {
        let (_folder, journal, _) = filled(2_000).await;
        let never = Filter {
            port: Some(7),
            ..Filter::default()
        };
        let places = Places {
            journal: &journal,
            index: None,
        };
        let wanted = Wanted {
            order: Order::Newest,
            place: None,
            count: 10,
            until: Instant::now(),
        };
        let first = page(places, &never, wanted).await.unwrap();
        assert!(first.events.is_empty() && first.next.is_some_and(|next| next < 2_000));
        let all = pages(places, &Filter::default(), Order::Newest, Instant::now(), async || {}).await;
        assert_eq!(all, (1..=2_000).rev().collect::<Vec<_>>());
        journal.close().await;
    }
}
