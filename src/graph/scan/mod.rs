//! Scans: who touched several ports, or one port at several addresses of ours, within a span of time. Pure; the window
//! task keeps its cursor.
//!
//! In: contacts in journal order ([`Scans::see`]) and the clock when nothing is left to read ([`Scans::tick`]). Out:
//! findings with a life: `new` at the contact that made it one, `updated` when more was touched, `closed` after it was
//! quiet; all under one `honeyport.finding.id`. They are events of the input `findings`.
//!
//! Invariants:
//! 1. Time is event time. The id of a finding is made of source and first contact, that of an event of finding, status
//!    and number: the same however often they are made.
//! 2. `honeyport.finding.hits` counts each contact of the scan once: those within [`ScanSpec::within`] of each other
//!    that made it a scan, and all that came until it was closed.
//! 3. Bounds: [`SOURCES_MAX`] sources are watched, [`TOUCHED_MAX`] places remembered of each and [`PLACES_MAX`] in all.
//!    When full, who is not known yet is not watched, which is counted; a full list takes no more.
//! 4. State rows and the entries from [`Scans::reads_from`] on make memory again: a restart goes on where it stood. Only
//!    what entries alone would not bring back has a row, for most sources come once: a finding that was told of, and
//!    contacts before those that are read again.
//!
//! Layout of state: `window/findings` is `{"v":1,"mark":…,"from":…}`; `window/findings/ADDRESS` is one source.

mod again;
mod source;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use trapline_schemas::{Action, Event, Field, Timestamp};

use self::again::Again;
use self::source::{Source, Status};
use super::window::StateRow;
use crate::journal::Offset;

pub use source::TOUCHED_MAX;

/// The name of the node, which no other has: it is reserved.
pub const NODE: &str = "findings";
/// Most sources watched.
pub const SOURCES_MAX: usize = 16_384;
/// Most places remembered of all sources, about 100 bytes each.
pub const PLACES_MAX: usize = 131_072;
/// Least time between two updates of a finding.
const UPDATE_EVERY: i64 = 60_000_000;
/// Least time between two looks for sources to forget.
const SWEEP_EVERY: i64 = 1_000_000;
/// Into how many steps the time is divided that is read again.
const STEPS: i64 = 64;

/// What makes a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanSpec {
    /// Different ports of one source; 2 or more.
    pub ports: usize,
    /// Different addresses of ours with one port; 2 or more.
    pub addresses: usize,
    /// Within how long.
    pub within: Duration,
    /// After how long without a contact it is over.
    pub close_after: Duration,
}

/// All sources that are watched.
#[derive(Debug)]
pub struct Scans {
    spec: ScanSpec,
    sources: HashMap<IpAddr, Source>,
    /// Those whose finding is open.
    open: BTreeSet<IpAddr>,
    /// Places remembered of all.
    places: usize,
    /// Latest time seen, of events and clock, microseconds.
    mark: i64,
    mark_saved: bool,
    swept: i64,
    /// Sources that found no room.
    unwatched: u64,
    told: Vec<Event>,
    removed: Vec<IpAddr>,
    again: Again,
    /// Where a restart reads on from, as of the last commit.
    from: Option<Offset>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Meta {
    v: u32,
    /// The time of what is read first.
    mark: i64,
    /// What is read first; rows of the first versions are whole, and have none.
    #[serde(default)]
    from: Option<Offset>,
}

/// The prefix of all rows.
pub fn prefix() -> String {
    format!("window/{NODE}")
}

impl Scans {
    /// Goes on from the state rows; none at first. Out: also how many rows could not be read and are dropped.
    pub fn restore(spec: &ScanSpec, rows: Vec<(String, Vec<u8>)>) -> (Self, usize) {
        let mut scans = Self {
            spec: spec.clone(),
            sources: HashMap::new(),
            open: BTreeSet::new(),
            places: 0,
            mark: 0,
            mark_saved: true,
            swept: 0,
            unwatched: 0,
            told: Vec::new(),
            removed: Vec::new(),
            again: Again::default(),
            from: None,
        };
        let dropped = rows.iter().filter(|(key, row)| !scans.restore_row(key, row)).count();
        (scans, dropped)
    }

    fn restore_row(&mut self, key: &str, row: &[u8]) -> bool {
        let Some(name) = key.strip_prefix(&prefix()) else {
            return false;
        };
        if name.is_empty() {
            let meta: Option<Meta> = serde_json::from_slice(row).ok();
            self.mark = meta.as_ref().map_or(self.mark, |meta| meta.mark);
            self.from = meta.as_ref().and_then(|meta| meta.from);
            return meta.is_some();
        }
        let Ok(address) = name.trim_start_matches('/').parse() else {
            return false;
        };
        let Some(source) = Source::decode(row) else {
            self.removed.push(address);
            return false;
        };
        self.places += source.places();
        if source.is_open() {
            self.open.insert(address);
        }
        self.sources.insert(address, source);
        true
    }

    /// The entry to begin with, where that is not the one after the cursor.
    pub fn reads_from(&self) -> Option<Offset> {
        self.from
    }

    /// Counts a contact; other events, and what was counted before a restart, mean nothing here.
    pub fn see(&mut self, offset: Offset, event: &Event) {
        let is_contact = matches!(event.action, Action::Connect | Action::UdpProbe);
        let (Some(address), Some(port)) = (event.ip(Field::SourceIp), event.int(Field::DestinationPort)) else {
            return;
        };
        if !is_contact {
            return;
        }
        let at = event.at.micros();
        self.mark = self.mark.max(at);
        self.again.note(offset, at, micros(self.spec.within) / STEPS);
        if !self.sources.contains_key(&address) && !self.has_room() {
            self.unwatched += 1;
            return;
        }
        let source = self.sources.entry(address).or_insert_with(|| Source::new(event));
        if !source.has_counted(offset) {
            self.count(offset, event, (address, port));
        }
    }

    fn count(&mut self, offset: Offset, event: &Event, (address, port): (IpAddr, i64)) {
        let at = event.at.micros();
        let Some(source) = self.sources.get_mut(&address) else {
            return;
        };
        let places = source.places();
        if !source.is_open() {
            source.forget(at - micros(self.spec.within), event);
        }
        source.touch(offset, event, port, self.places < PLACES_MAX);
        self.places = self.places + source.places() - places;
        if !source.is_open() && source.is_scan(&self.spec) {
            source.open(at);
            self.open.insert(address);
            self.told.push(source.finding(Status::New, at));
        } else if source.is_due_for_update(at) {
            source.update(at);
            self.told.push(source.finding(Status::Updated, at));
        }
    }

    fn has_room(&mut self) -> bool {
        if self.sources.len() < SOURCES_MAX {
            return true;
        }
        if self.mark >= self.swept + SWEEP_EVERY {
            self.swept = self.mark;
            self.sweep();
        }
        self.sources.len() < SOURCES_MAX
    }

    /// Forgets sources that would have to begin anew. Of what was told of, a restart may read contacts again.
    fn sweep(&mut self) {
        let before = self.mark - micros(self.spec.within);
        let (removed, places) = (&mut self.removed, &mut self.places);
        self.sources.retain(|address, source| {
            let stays = source.is_open() || source.is_settled() || source.last() >= before;
            if !stays {
                removed.extend(source.has_row().then_some(*address));
                *places -= source.places();
            }
            stays
        });
    }

    /// How many contacts came of sources that found no room, since it was asked last.
    pub fn take_unwatched(&mut self) -> u64 {
        std::mem::take(&mut self.unwatched)
    }

    /// Takes note of the clock; only when every entry before the journal's head has been seen. A clock that stepped
    /// far back makes the time anew.
    pub fn tick(&mut self, now: Timestamp) {
        let now = now.micros();
        if self.mark - now > micros(self.spec.within) + micros(self.spec.close_after) {
            self.mark = now;
            self.mark_saved = false;
        }
        self.mark = self.mark.max(now);
    }

    /// When the next finding is to be told of, if none comes before.
    pub fn due(&self) -> Option<Timestamp> {
        let open = self.open.iter().filter_map(|address| self.sources.get(address));
        let next = open.map(|source| source.due(micros(self.spec.close_after))).min();
        next.map(Timestamp::from_micros)
    }

    /// The findings to tell of; of those that are due because of the time at most `max`, the others come with the next
    /// call.
    pub fn close(&mut self, max: usize) -> Vec<Event> {
        let quiet = micros(self.spec.close_after);
        let is_due = |address: &&IpAddr| {
            let source = self.sources.get(*address);
            source.is_some_and(|source| source.due(quiet) <= self.mark)
        };
        let due: Vec<IpAddr> = self.open.iter().filter(is_due).take(max).copied().collect();
        for address in due {
            self.tell_due(address, quiet);
        }
        if self.mark >= self.swept + micros(self.spec.within) {
            self.swept = self.mark;
            self.sweep();
        }
        std::mem::take(&mut self.told)
    }

    fn tell_due(&mut self, address: IpAddr, quiet: i64) {
        let Some(source) = self.sources.get_mut(&address) else {
            return;
        };
        let over = source.last() + quiet;
        if over > self.mark {
            let at = source.due(quiet);
            source.update(at);
            self.told.push(source.finding(Status::Updated, at));
            return;
        }
        self.told.push(source.finding(Status::Closed, over));
        self.places -= source.places();
        source.close();
        self.open.remove(&address);
    }

    /// The rows that changed since the last call; `next`: all entries before it have been seen.
    pub fn changes(&mut self, next: Offset) -> Vec<StateRow> {
        let before = self.mark - micros(self.spec.within);
        let (from, mark) = self.again.from(before, next).unwrap_or((next, self.mark));
        self.drop_settled(from);
        let removed = self.removed.drain(..);
        let mut rows: Vec<StateRow> = removed.map(|address| (row_key(address), None)).collect();
        for (address, source) in &mut self.sources {
            if source.must_be_saved(from, before) {
                rows.push((row_key(*address), Some(source.save())));
            }
        }
        if !rows.is_empty() || !self.mark_saved || self.from != Some(from) {
            rows.push((prefix(), Some(self.meta(from, mark))));
        }
        rows
    }

    /// Forgets what was told of for the last time, once no contact of it is read again.
    fn drop_settled(&mut self, from: Offset) {
        let removed = &mut self.removed;
        self.sources.retain(|address, source| {
            let stays = !source.is_settled() || !source.is_before(from);
            removed.extend((!stays && source.has_row()).then_some(*address));
            stays
        });
    }

    fn meta(&mut self, from: Offset, mark: i64) -> Vec<u8> {
        self.mark_saved = true;
        self.from = Some(from);
        let meta = Meta {
            v: 1,
            mark,
            from: self.from,
        };
        serde_json::to_vec(&meta).expect("numbers are always JSON")
    }
}

fn row_key(address: IpAddr) -> String {
    format!("{}/{address}", prefix())
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 4)
}
