//! The addresses of names: of sinks and time servers.
//!
//! A name is asked for again and again: destinations move, and pools answer differently each time. Every address that it
//! had in the last hour is spared, and the last ones for as long as it does not resolve.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use trapline_sink::dial::Resolver;
use trapline_sink::set::Why;

use super::board::{Board, Found, Row, Source};

/// Names of which the addresses are wanted, and why.
pub(super) type Wanted = BTreeMap<String, BTreeSet<Why>>;

/// Most names that are asked for; those of sinks come first.
const NAMES_MAX: usize = 256;
/// Most lookups under way: each may hold a thread for as long as the system's resolver waits.
const LOOKUPS_MAX: usize = 8;
/// First wait before a name is asked for again, and the longest while its addresses stay the same.
const AGAIN: Duration = Duration::from_secs(60);
const AGAIN_MAX: Duration = Duration::from_secs(15 * 60);
/// First wait after a name did not resolve, and the longest.
const RETRY: Duration = Duration::from_secs(5);
const RETRY_MAX: Duration = Duration::from_secs(5 * 60);
/// How long an address is spared after its name had it last, while the name resolves.
pub(super) const KEPT: Duration = Duration::from_secs(3600);
/// Most addresses of one name; of more the latest.
const ADDRESSES_MAX: usize = 64;

type Answer = (String, io::Result<Vec<IpAddr>>);

/// What is known of one name.
#[derive(Debug)]
struct Name {
    /// Its addresses, and when it had each last.
    seen: BTreeMap<IpAddr, Instant>,
    /// When it is asked for; `None` while it is.
    due: Option<Instant>,
    wait: Duration,
    /// Why it did not resolve when it was asked for last.
    failure: Option<String>,
    is_answered: bool,
}

/// Keeps the board's rows of names. Ends when nobody can want any more.
pub(super) async fn follow(board: Arc<Board>, resolver: Resolver, mut wanted: watch::Receiver<Wanted>) {
    let mut names: BTreeMap<String, Name> = BTreeMap::new();
    let mut lookups = JoinSet::new();
    loop {
        let (want, left) = bounded(wanted.borrow_and_update().clone());
        names.retain(|host, _| want.contains_key(host));
        for host in want.keys() {
            names.entry(host.clone()).or_insert_with(Name::new);
        }
        start(&mut names, &mut lookups, &resolver);
        board.put(Source::Names, found(&names, &want, left));
        let next = names.values().filter_map(|name| name.due).min();
        let is_free = lookups.len() < LOOKUPS_MAX;
        tokio::select! {
            changed = wanted.changed() => if changed.is_err() { return },
            // Cancel: an answer that is not taken stays.
            Some(answer) = lookups.join_next() => take(&mut names, answer),
            () = until(next), if is_free => {}
        }
    }
}

/// As many names as there is room for, and how many were left out.
fn bounded(wanted: Wanted) -> (Wanted, usize) {
    let left = wanted.len().saturating_sub(NAMES_MAX);
    let mut wanted: Vec<_> = wanted.into_iter().collect();
    wanted.sort_by_key(|(_, whys)| !whys.iter().any(|why| matches!(why, Why::Sink(_))));
    wanted.truncate(NAMES_MAX);
    (wanted.into_iter().collect(), left)
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Starts what is due, as far as there is room.
fn start(names: &mut BTreeMap<String, Name>, lookups: &mut JoinSet<Answer>, resolver: &Resolver) {
    let now = Instant::now();
    for (host, name) in names {
        if lookups.len() >= LOOKUPS_MAX {
            return;
        }
        if name.due.is_some_and(|due| due <= now) {
            name.due = None;
            let (host, resolver) = (host.clone(), resolver.clone());
            lookups.spawn_blocking(move || {
                // The port says nothing; no resolver is asked for it.
                let found = resolver.lookup(&host, 1);
                let found = found.map(|found| found.iter().map(|address| address.ip().to_canonical()).collect());
                (host, found)
            });
        }
    }
}

fn take(names: &mut BTreeMap<String, Name>, answer: Result<Answer, JoinError>) {
    match answer {
        Ok((host, answer)) => {
            if let Some(name) = names.get_mut(&host) {
                name.take(answer);
            }
        }
        // A resolver that broke down does not say for which name: all that wait are asked for again.
        Err(error) => names
            .values_mut()
            .filter(|name| name.due.is_none())
            .for_each(|name| name.take(Err(io::Error::other(error.to_string())))),
    }
}

impl Name {
    fn new() -> Self {
        Self {
            seen: BTreeMap::new(),
            due: Some(Instant::now()),
            wait: Duration::ZERO,
            failure: None,
            is_answered: false,
        }
    }

    fn take(&mut self, answer: io::Result<Vec<IpAddr>>) {
        let now = Instant::now();
        let answer = answer.and_then(|found| match found.is_empty() {
            true => Err(io::Error::other("no address")),
            false => Ok(found),
        });
        self.is_answered = true;
        match answer {
            Ok(found) => self.wait = self.keep(found, now),
            Err(error) => {
                let wait = if self.failure.is_some() { self.wait * 2 } else { RETRY };
                self.wait = wait.clamp(RETRY, RETRY_MAX);
                self.failure = Some(error.to_string());
            }
        }
        self.due = Some(now + self.wait);
    }

    /// Keeps what a name has now, and had lately; how long it may be left alone.
    fn keep(&mut self, found: Vec<IpAddr>, now: Instant) -> Duration {
        let is_same = self.failure.is_none() && found.iter().all(|address| self.seen.contains_key(address));
        self.failure = None;
        self.seen.retain(|_, last| now.duration_since(*last) < KEPT);
        for address in found {
            self.seen.insert(address, now);
            if self.seen.len() > ADDRESSES_MAX {
                let oldest = self.seen.iter().min_by_key(|(_, last)| **last);
                let oldest = oldest.map(|(address, _)| *address);
                oldest.map(|address| self.seen.remove(&address));
            }
        }
        match is_same {
            true => (self.wait * 2).clamp(AGAIN, AGAIN_MAX),
            false => AGAIN,
        }
    }

    /// What could not be found out.
    fn note(&self, host: &str, whys: &BTreeSet<Why>) -> Option<String> {
        let failure = self.failure.as_deref()?;
        let whys = said(whys);
        Some(match self.seen.len() {
            0 => format!("`{host}` ({whys}) does not resolve, no address of it is spared: {failure}"),
            count => format!("`{host}` ({whys}) does not resolve, its last addresses ({count}) stay spared: {failure}"),
        })
    }
}

fn said(whys: &BTreeSet<Why>) -> String {
    whys.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn found(names: &BTreeMap<String, Name>, wanted: &Wanted, left: usize) -> Found {
    let mut found = Found::default();
    if left > 0 {
        found.notes.push(format!(
            "more than {NAMES_MAX} names of sinks and time servers: {left} are not asked for, and not spared"
        ));
    }
    for (host, whys) in wanted {
        let Some(name) = names.get(host) else { continue };
        let from: Arc<str> = format!("the name `{host}`").into();
        for why in whys {
            let rows = name.seen.keys();
            let rows = rows.map(|address| Row::host(*address, why.clone(), Arc::clone(&from)));
            found.rows.extend(rows);
        }
        found.notes.extend(name.note(host, whys));
        if !name.is_answered {
            found
                .awaited
                .push(format!("`{host}` ({}) has not resolved yet", said(whys)));
        }
    }
    found
}

#[cfg(test)]
#[path = "names_tests.rs"]
mod tests;
