//! What the sources have found, and the list that is made of it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;
use tokio::sync::watch;
use trapline_sink::set::{Spared, Why};

/// One reason why a network is never acted on; a network may have several.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// It; of one address all bits are the prefix.
    pub network: IpNet,
    /// The reason.
    pub why: Why,
    /// How it is known: an interface, a file, a name.
    pub from: Arc<str>,
}

impl Row {
    pub(super) fn host(address: IpAddr, why: Why, from: impl Into<Arc<str>>) -> Self {
        Self {
            network: address.to_canonical().into(),
            why,
            from: from.into(),
        }
    }
}

/// Where rows come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    Settings,
    Kernel,
    Resolvers,
    TimeServers,
    Names,
    Logins,
    Tokens,
}

impl Source {
    pub(super) const ALL: [Self; 7] = [
        Self::Settings,
        Self::Kernel,
        Self::Resolvers,
        Self::TimeServers,
        Self::Names,
        Self::Logins,
        Self::Tokens,
    ];

    /// What is missing until it was asked once.
    const fn what(self) -> &'static str {
        match self {
            Self::Settings => "`allow` and the sinks' addresses",
            Self::Kernel => "addresses and gateways of this host",
            Self::Resolvers => "the name servers of this host",
            Self::TimeServers => "the time servers of this host",
            Self::Names => "addresses of some names",
            Self::Logins => "the login records",
            Self::Tokens => "who showed a token",
        }
    }
}

impl Found {
    /// A note on what could not be read, instead of it.
    pub fn or_note<T: Default>(&mut self, read: Result<T, String>) -> T {
        read.unwrap_or_else(|why| {
            self.fail(format!("cannot be read: {why}"));
            T::default()
        })
    }

    /// A note on what could not be read.
    pub fn fail(&mut self, note: String) {
        self.notes.push(note);
        self.is_partial = true;
    }
}

/// What a source found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub rows: Vec<Row>,
    /// What could not be found out.
    pub notes: Vec<String>,
    /// Whether some could not be read.
    pub is_partial: bool,
    /// What was asked at first and is still to come.
    pub awaited: Vec<String>,
}

/// The rows of all sources. What is put is on the list when `put` returns.
#[derive(Debug)]
pub(super) struct Board {
    found: Mutex<BTreeMap<Source, Found>>,
    spared: watch::Sender<Arc<Spared>>,
    /// Sources that have found all they could at first.
    ready: watch::Sender<usize>,
}

impl Board {
    pub fn new() -> Self {
        Self {
            found: Mutex::default(),
            spared: watch::Sender::new(Arc::new(Spared::new([]))),
            ready: watch::Sender::new(0),
        }
    }

    /// Puts what a source found in the place of what it found before.
    pub fn put(&self, source: Source, mut found: Found) {
        found.rows.sort();
        found.rows.dedup();
        let mut all = self.lock();
        let before = all.get(&source);
        if before == Some(&found) {
            return;
        }
        tell(&found, before);
        all.insert(source, found);
        let rows = all.values().flat_map(|found| &found.rows);
        let spared = Spared::new(rows.map(|row| (row.network, row.why.clone())));
        self.spared.send_if_modified(|now| {
            let is_other = **now != spared;
            if is_other {
                *now = Arc::new(spared);
            }
            is_other
        });
        self.ready
            .send_replace(all.values().filter(|found| found.awaited.is_empty()).count());
    }

    /// Puts what was read. Where some could not be, the rows of before stay beside.
    pub fn put_read(&self, source: Source, mut found: Found) {
        if found.is_partial {
            let before = self.lock().get(&source).map(|before| before.rows.clone());
            found.rows.extend(before.unwrap_or_default());
        }
        self.put(source, found);
    }

    pub fn watch(&self) -> watch::Receiver<Arc<Spared>> {
        self.spared.subscribe()
    }

    pub fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<_> = self.lock().values().flat_map(|found| found.rows.clone()).collect();
        rows.sort();
        rows
    }

    /// What is not, or not yet, known.
    pub fn notes(&self) -> Vec<String> {
        let all = self.lock();
        let missing = Source::ALL.into_iter().filter(|source| !all.contains_key(source));
        let missing = missing.map(|source| format!("{} are not yet known", source.what()));
        missing
            .chain(
                all.values()
                    .flat_map(|found| [found.notes.clone(), found.awaited.clone()].concat()),
            )
            .collect()
    }

    /// Waits until every source has found all it could at first. Cancel: safe.
    pub async fn is_whole(&self) {
        let mut ready = self.ready.subscribe();
        // The sender lives as long as `self`.
        let _ = ready.wait_for(|count| *count == Source::ALL.len()).await;
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Source, Found>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Each note is told once.
fn tell(found: &Found, before: Option<&Found>) {
    let is_new = |note: &&String| !before.is_some_and(|before| before.notes.contains(note));
    for note in found.notes.iter().filter(is_new) {
        tracing::warn!("who is never acted on: {note}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(net: &str, why: Why) -> Row {
        Row {
            network: net.parse().unwrap(),
            why,
            from: "a test".into(),
        }
    }

    fn of(rows: &[Row]) -> Found {
        Found {
            rows: rows.to_vec(),
            ..Found::default()
        }
    }

    #[test]
    fn the_list_is_made_anew_when_a_source_finds_something_else_and_only_then() {
        let board = Board::new();
        let mut list = board.watch();
        let own = row("192.0.2.1/32", Why::Own);
        board.put(Source::Kernel, of(std::slice::from_ref(&own)));
        assert!(list.has_changed().unwrap());
        let target = "192.0.2.1".parse().unwrap();
        assert_eq!(list.borrow_and_update().why(target), Some(&Why::Own));
        board.put(Source::Kernel, of(&[own.clone(), own.clone()]));
        board.put(Source::Resolvers, of(&[row("192.0.2.1/32", Why::Resolver)]));
        assert!(!list.has_changed().unwrap(), "the first reason stands");
        assert_eq!(board.rows().len(), 2, "people see both");
        board.put(Source::Kernel, of(&[]));
        assert_eq!(list.borrow_and_update().why(target), Some(&Why::Resolver));
    }

    #[test]
    fn a_source_that_fails_takes_nothing_off_and_says_why() {
        let board = Board::new();
        board.put_read(Source::Resolvers, of(&[row("192.0.2.53/32", Why::Resolver)]));
        let mut failed = Found::default();
        failed.or_note::<()>(Err("no right to it".into()));
        board.put_read(Source::Resolvers, failed);
        let list = board.watch().borrow().clone();
        assert_eq!(list.why("192.0.2.53".parse().unwrap()), Some(&Why::Resolver));
        let notes = board.notes();
        assert!(notes.iter().any(|note| note.contains("no right to it")), "{notes:?}");
        assert!(notes.iter().any(|note| note.contains("gateways")), "{notes:?}");
    }
}
