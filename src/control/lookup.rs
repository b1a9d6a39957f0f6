//! One event, by its place or by its id.
//!
//! In: an offset or an `event.id`. Out: a [`Lookup`]. By its offset an event is found at once; ids stand in no index, so
//! the journal is read from the time on that stands in the id, or else from the newest back, for as long as there is time.

use std::time::Instant;

use memchr::memmem;
use trapline_schemas::{Event, Timestamp};
use uuid::Uuid;

use super::paging::numbered;
use super::query::Filter;
use super::search::{PAGE, event_of, read_range};
use crate::journal::{Journal, JournalError, Offset};

/// How long before the time in an id its entry is looked for: clocks are set back.
const BEFORE_MICROS: i64 = 60_000_000;

/// What became of the search for one event.
#[derive(Debug)]
pub enum Lookup {
    /// It.
    Found(Box<Event>),
    /// There is none.
    None,
    /// The time was over before all was looked at.
    Late,
}

/// The event of an entry.
pub async fn at(journal: &Journal, offset: Offset) -> Result<Lookup, JournalError> {
    // What is not durable yet may not stay.
    if offset >= *journal.head().borrow() {
        return Ok(Lookup::None);
    }
    let entries = journal.entries(vec![offset]).await?;
    let event = entries
        .first()
        .and_then(|entry| Some(numbered(event_of(entry, &Filter::default())?, offset)));
    Ok(event.map_or(Lookup::None, |event| Lookup::Found(event.into())))
}

/// The event of an id: from the time on that stands in it, else from the newest back.
pub async fn find(journal: &Journal, id: Uuid, until: Instant) -> Result<Lookup, JournalError> {
    let head = *journal.head().borrow();
    let oldest = journal.oldest().await?;
    let made = id.get_timestamp().map(|at| {
        let (secs, nanos) = at.to_unix();
        i64::try_from(secs).unwrap_or(i64::MAX).saturating_mul(1_000_000) + i64::from(nanos / 1000)
    });
    let from = match made {
        Some(micros) => {
            let before = Timestamp::from_micros(micros.saturating_sub(BEFORE_MICROS));
            journal.offset_at(before).await?.max(oldest)
        }
        None => oldest,
    };
    let needle = format!("\"id\":\"{id}\"");
    let (mut low, mut high) = (from, head);
    while low < high {
        let step = PAGE as u64;
        let (first, end) = match made {
            Some(_) => (low, low.saturating_add(step).min(high)),
            None => (high.saturating_sub(step).max(low), high),
        };
        if let Some(event) = within(journal, id, needle.as_bytes(), first, end).await? {
            return Ok(Lookup::Found(event.into()));
        }
        match made {
            Some(_) => low = end,
            None => high = first,
        }
        if Instant::now() >= until && low < high {
            return Ok(Lookup::Late);
        }
    }
    Ok(Lookup::None)
}

/// The event of an id between two offsets. Only a body in which the id stands is decoded.
async fn within(
    journal: &Journal,
    id: Uuid,
    needle: &[u8],
    first: Offset,
    end: Offset,
) -> Result<Option<Event>, JournalError> {
    let mut next = first;
    loop {
        let page = read_range(journal, next, end).await?;
        let Some(last) = page.last() else {
            return Ok(None);
        };
        next = last.offset + 1;
        let named = page.iter().filter(|entry| memmem::find(&entry.body, needle).is_some());
        let mut events = named.filter_map(|entry| Some(numbered(event_of(entry, &Filter::default())?, entry.offset)));
        if let Some(event) = events.find(|event| event.id == id) {
            return Ok(Some(event));
        }
    }
}

#[cfg(test)]
mod tests {
    use trapline_schemas::{Action, ids};

    use super::*;
    use crate::control::paging::tests::{append, filled, offset, soon};

    #[tokio::test]
    async fn an_event_is_found_by_its_offset_and_by_its_id_of_either_kind() {
        let (_folder, journal, mut events) = filled(1_500).await;
        let id = ids::derived("node", "key", Timestamp::from_micros(5));
        let derived = Event::new(id, Timestamp::now(), Action::Connect);
        append(&journal, std::slice::from_ref(&derived)).await;
        events.push(derived);
        for index in [0, 700, 1_499, 1_500] {
            let Lookup::Found(found) = find(&journal, events[index].id, soon()).await.unwrap() else {
                panic!("{index} is not found");
            };
            assert_eq!(offset(&found), index as u64 + 1);
            let Lookup::Found(same) = at(&journal, index as u64 + 1).await.unwrap() else {
                panic!("{index} is not there");
            };
            assert_eq!(same.id, events[index].id);
        }
        let unknown = ids::fresh(Timestamp::from_micros(5));
        assert!(matches!(find(&journal, unknown, soon()).await.unwrap(), Lookup::None));
        assert!(matches!(at(&journal, 9_999).await.unwrap(), Lookup::None));
        let late = find(&journal, unknown, Instant::now()).await.unwrap();
        assert!(matches!(late, Lookup::Late));
        journal.close().await;
    }
}
