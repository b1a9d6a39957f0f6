//! Where documents lie until they are asked for.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use trapline_schemas::Timestamp;

use super::document::Document;
use super::pollers::{Away, Poller, Pollers};

/// Forms of one list (`txt`, `v4.txt`, `stix.json` and the like); what is beyond is left out.
pub const FORMS_MAX: usize = 8;

/// The documents of one instance: all sinks and the web server have the same.
#[derive(Debug, Clone, Default)]
pub struct Shelf(Arc<Mutex<Rows>>);

/// By name of the list, which is that of the sink.
type Rows = HashMap<String, Row>;

#[derive(Debug)]
struct Row {
    /// Places that were given out for it and are not gone.
    places: Vec<u64>,
    /// How many were.
    given: u64,
    /// Whose the documents are.
    by: u64,
    /// Whether they may be handed out.
    is_whole: bool,
    documents: HashMap<&'static str, Document>,
    pollers: Pollers,
}

/// What a file name names.
#[derive(Debug, Clone)]
pub struct Found {
    /// The list.
    pub list: String,
    /// The document; `None`: the list is not whole yet, come back.
    pub document: Option<Document>,
}

/// A sink's place: its list, in all its forms. The list is gone when the last of its places is dropped.
#[derive(Debug)]
pub struct Place {
    shelf: Shelf,
    list: String,
    number: u64,
}

impl Shelf {
    /// A place for a list, with nothing on it. If there is one of that name, its documents stay until this one has some.
    pub fn reserve(&self, list: &str) -> Place {
        let mut rows = self.rows();
        let row = rows.entry(list.to_owned()).or_insert_with(|| Row {
            places: Vec::new(),
            given: 0,
            by: 0,
            is_whole: false,
            documents: HashMap::new(),
            pollers: Pollers::new(Instant::now()),
        });
        row.given += 1;
        row.places.push(row.given);
        Place {
            shelf: self.clone(),
            list: list.to_owned(),
            number: row.given,
        }
    }

    /// What `LIST.FORM` is. `None`: there is no such list, or it has no such form.
    pub fn find(&self, file: &str) -> Option<Found> {
        let (list, form) = file.split_once('.')?;
        let rows = self.rows();
        let row = rows.get(list)?;
        let document = match row.is_whole {
            true => Some(row.documents.get(form)?.clone()),
            false => None,
        };
        Some(Found {
            list: list.to_owned(),
            document,
        })
    }

    /// Names of the lists, sorted.
    pub fn lists(&self) -> Vec<String> {
        let mut names: Vec<_> = self.rows().keys().cloned().collect();
        names.sort();
        names
    }

    /// Somebody came for a list and was let in, be there one yet or not.
    pub fn came(&self, list: &str, who: &str, address: IpAddr, now: Instant) {
        if let Some(row) = self.rows().get_mut(list) {
            row.pollers.came(who, address, now);
        }
    }

    /// Somebody came for a list and was refused. Out: the poller, if one from this address was let in before, and
    /// whether that is to be told now: a firewall may stop enforcing.
    pub fn refused(&self, list: &str, address: IpAddr, now: Instant) -> Option<(Poller, bool)> {
        self.rows().get_mut(list)?.pollers.refused(address, now)
    }

    /// Who should have come and did not; each once until it comes.
    pub fn away(&self, now: Instant) -> Vec<Away> {
        let mut rows = self.rows();
        let away = rows.iter_mut().flat_map(|(list, row)| row.pollers.away(list, now));
        let mut away: Vec<_> = away.collect();
        away.sort_by(|one, other| (&one.list, &one.who).cmp(&(&other.list, &other.who)));
        away
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Name of the list.
    pub fn list(&self) -> &str {
        &self.list
    }

    /// Hands out these documents from now on, by form; how often somebody is expected to come for them. Nothing happens
    /// if a later place of that name has handed out its own.
    pub fn put(&self, documents: Vec<(&'static str, Document)>, expected: Option<Duration>) {
        let now = Timestamp::now();
        self.with(|row| {
            row.pollers.expect(expected, Instant::now());
            let next = documents.into_iter().take(FORMS_MAX);
            let next = next.map(|(form, document)| (form, dated(document, row.documents.get(form), now)));
            row.documents = next.collect();
            row.is_whole = true;
        });
    }

    /// Hands out these documents as long as nobody of that name hands out any.
    pub fn offer(&self, documents: Vec<(&'static str, Document)>, expected: Option<Duration>) {
        let is_free = |row: &Row| !row.is_whole;
        if self.shelf.rows().get(&self.list).is_some_and(is_free) {
            self.put(documents, expected);
        }
    }

    /// What is handed out in this form, by whoever has the name.
    pub fn held(&self, form: &str) -> Option<Document> {
        let rows = self.shelf.rows();
        let row = rows.get(&self.list).filter(|row| row.is_whole)?;
        row.documents.get(form).cloned()
    }

    /// Hands out none until there are some again.
    pub fn clear(&self) {
        self.with(|row| row.is_whole = false);
    }

    /// Who came for them.
    pub fn pollers(&self) -> Vec<Poller> {
        let rows = self.shelf.rows();
        rows.get(&self.list).map(|row| row.pollers.all()).unwrap_or_default()
    }

    /// If it is not superseded, the row is its own from now on.
    fn with(&self, change: impl FnOnce(&mut Row)) {
        let mut rows = self.shelf.rows();
        if let Some(row) = rows.get_mut(&self.list)
            && self.number >= row.by
        {
            row.by = self.number;
            change(row);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut rows = self.shelf.rows();
        let Some(row) = rows.get_mut(&self.list) else { return };
        row.places.retain(|number| *number != self.number);
        if row.places.is_empty() {
            rows.remove(&self.list);
        } else if row.by == self.number {
            // Who was there before may go on.
            (row.is_whole, row.by) = (false, 0);
        }
    }
}

/// With the time of its last change, which is later than that of what was there before it.
fn dated(mut document: Document, before: Option<&Document>, now: Timestamp) -> Document {
    let second = |at: Timestamp| at.micros().div_euclid(1_000_000);
    let modified = match before {
        Some(before) if before.tag == document.tag => second(before.modified),
        Some(before) => second(now).max(second(before.modified) + 1),
        None => second(now),
    };
    document.modified = Timestamp::from_micros(modified * 1_000_000);
    document
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Body;
    use super::*;

    fn plain(text: &'static str) -> Vec<(&'static str, Document)> {
        vec![("txt", Document::whole("text/plain", text))]
    }

    fn body(shelf: &Shelf, file: &str) -> Option<Option<String>> {
        let text = |document: Document| match document.body {
            Body::Whole(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Body::Parts(_) => "parts".to_owned(),
        };
        shelf.find(file).map(|found| found.document.map(text))
    }

    #[test]
    fn a_list_is_not_there_then_not_whole_then_handed_out_and_gone_with_its_sink() {
        let shelf = Shelf::default();
        assert_eq!(body(&shelf, "edge.txt"), None);
        let place = shelf.reserve("edge");
        assert_eq!(body(&shelf, "edge.txt"), Some(None));
        place.put(plain("one\n"), None);
        assert_eq!(body(&shelf, "edge.txt"), Some(Some("one\n".into())));
        assert_eq!(body(&shelf, "edge.v4.txt"), None, "it has no such form");
        place.clear();
        assert_eq!(body(&shelf, "edge.txt"), Some(None));
        assert_eq!(shelf.lists(), ["edge"]);
        drop(place);
        assert_eq!(body(&shelf, "edge.txt"), None);
        assert!(shelf.lists().is_empty());
    }

    #[test]
    fn who_replaces_another_takes_nothing_from_it_before_it_has_its_own() {
        let shelf = Shelf::default();
        let old = shelf.reserve("edge");
        old.put(plain("old\n"), None);
        let new = shelf.reserve("edge");
        assert_eq!(body(&shelf, "edge.txt"), Some(Some("old\n".into())));
        new.put(plain("new\n"), None);
        old.put(plain("late\n"), None);
        old.clear();
        assert_eq!(body(&shelf, "edge.txt"), Some(Some("new\n".into())));
        drop(old);
        assert_eq!(body(&shelf, "edge.txt"), Some(Some("new\n".into())));
    }

    #[test]
    fn an_offer_takes_nobodys_place() {
        let shelf = Shelf::default();
        let (old, new) = (shelf.reserve("edge"), shelf.reserve("edge"));
        assert!(new.held("txt").is_none());
        new.offer(plain("new\n"), None);
        assert_eq!(body(&shelf, "edge.txt"), Some(Some("new\n".into())));
        drop(new);
        let again = shelf.reserve("edge");
        old.put(plain("old\n"), None);
        again.offer(plain("again\n"), None);
        assert_eq!(body(&shelf, "edge.txt"), Some(Some("old\n".into())));
        assert_eq!(again.held("txt").unwrap().tag, old.held("txt").unwrap().tag);
    }

    #[test]
    fn one_that_was_only_tried_leaves_no_trace() {
        let shelf = Shelf::default();
        let place = shelf.reserve("edge");
        place.put(plain("one\n"), None);
        drop(shelf.reserve("edge"));
        assert_eq!(body(&shelf, "edge.txt"), Some(Some("one\n".into())));
    }

    #[test]
    fn who_was_to_be_replaced_goes_on_if_the_new_one_is_gone() {
        let shelf = Shelf::default();
        let old = shelf.reserve("edge");
        let new = shelf.reserve("edge");
        new.put(plain("new\n"), None);
        drop(new);
        old.put(plain("old\n"), None);
        assert_eq!(body(&shelf, "edge.txt"), Some(Some("old\n".into())));
    }

    #[test]
    fn what_a_sink_that_is_gone_left_is_not_handed_out_for_its_successor() {
        let shelf = Shelf::default();
        let old = shelf.reserve("edge");
        old.put(plain("old\n"), None);
        let _new = shelf.reserve("edge");
        drop(old);
        assert_eq!(body(&shelf, "edge.txt"), Some(None));
    }

    #[test]
    fn the_time_of_change_goes_up_with_each_change_and_stays_without() {
        let shelf = Shelf::default();
        let place = shelf.reserve("edge");
        let modified = || shelf.find("edge.txt").unwrap().document.unwrap().modified;
        place.put(plain("one\n"), None);
        let first = modified();
        place.clear();
        place.put(plain("one\n"), None);
        assert_eq!(modified(), first);
        place.put(plain("two\n"), None);
        let second = modified();
        assert!(second > first);
        place.put(plain("one\n"), None);
        assert!(modified() > second);
        assert_eq!(modified().micros() % 1_000_000, 0);
    }

    #[test]
    fn who_comes_is_known_to_the_sink_and_to_who_refuses_it_later() {
        let (shelf, now) = (Shelf::default(), Instant::now());
        let address = IpAddr::from([192, 0, 2, 1]);
        shelf.came("edge", "fw", address, now);
        assert_eq!(shelf.refused("edge", address, now), None);
        let place = shelf.reserve("edge");
        shelf.came("edge", "fw", address, now);
        assert_eq!(place.pollers()[0].who, "fw");
        let (poller, is_news) = shelf.refused("edge", address, now).unwrap();
        assert_eq!((poller.came, poller.refused, is_news), (1, 1, true));
        place.put(plain("one\n"), Some(Duration::from_secs(60)));
        assert_eq!(shelf.away(now + Duration::from_secs(600)).len(), 1);
    }

    proptest! {
        #[test]
        fn any_bytes_as_a_file_name_find_nothing_but_what_is_there(name in ".{0,40}") {
            let shelf = Shelf::default();
            let place = shelf.reserve("edge");
            place.put(plain("one\n"), None);
            prop_assert_eq!(shelf.find(&name).is_some(), name == "edge.txt");
        }
    }
}
