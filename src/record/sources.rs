//! What is remembered of each source: its events this minute, the decoys it touched, its incident.
//!
//! Two generations of a bounded map: a source that is seen moves to the young one; when that is full or
//! [`GENERATION`] old, it becomes the old one and the old one is forgotten. So memory is bounded, each step costs the
//! same, and a source is remembered for at least [`GENERATION`] unless more than [`SOURCES_MAX`] others came.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::IpAddr;
use std::time::Duration;

use trapline_schemas::Timestamp;

use super::benign::Known;
use super::incidents::Incident;

/// Sources in one generation.
const SOURCES_MAX: usize = 16_384;

/// How long a generation is young, and how far back several decoys count as one walk.
const GENERATION: Duration = Duration::from_secs(600);

/// Decoys remembered per source: enough to tell several from one.
const DECOYS: usize = 4;

/// Different decoys within [`GENERATION`] that make a contact an intent.
const SEVERAL: usize = 3;

const MINUTE_MICROS: i64 = 60_000_000;

/// What is remembered of one source.
#[derive(Debug, Default)]
pub(super) struct Source {
    pub(super) incident: Option<Incident>,
    /// On the heap: few sources are known.
    pub(super) benign: Option<Box<Known>>,
    decoys: [Seen; DECOYS],
    minute: i64,
    events: u32,
    /// On the heap: few sources fold, and thousands are remembered.
    folded: Option<Box<Folded>>,
}

/// A decoy that a source touched: 32 bits of its name's hash, never 0, and when, in seconds since 1970.
#[derive(Debug, Default, Clone, Copy)]
struct Seen {
    decoy: u32,
    at: u32,
}

/// Hits of one source that became no events of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Folded {
    pub(super) source: IpAddr,
    pub(super) hits: u64,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
}

impl Folded {
    fn new(source: IpAddr, at: Timestamp) -> Self {
        Self {
            source,
            hits: 0,
            first: at,
            last: at,
        }
    }
}

fn seconds(at: Timestamp) -> u32 {
    u32::try_from(at.micros() / 1_000_000).unwrap_or_default()
}

/// The minute of an instant.
pub(super) fn minute(at: Timestamp) -> i64 {
    at.micros().div_euclid(MINUTE_MICROS)
}

impl Source {
    /// Notes a decoy; whether the source touched several within the time that counts.
    pub(super) fn touched(&mut self, decoy: &str, at: Timestamp) -> bool {
        let mut hasher = DefaultHasher::new();
        decoy.hash(&mut hasher);
        let (decoy, at) = (hasher.finish() as u32 | 1, seconds(at));
        let known = self.decoys.iter().position(|seen| seen.decoy == decoy);
        let oldest = || (0..DECOYS).min_by_key(|slot| self.decoys.get(*slot).map(|seen| seen.at));
        if let Some(slot) = known.or_else(oldest).and_then(|slot| self.decoys.get_mut(slot)) {
            *slot = Seen { decoy, at };
        }
        let recent = |seen: &&Seen| seen.decoy != 0 && u64::from(at.saturating_sub(seen.at)) <= GENERATION.as_secs();
        self.decoys.iter().filter(recent).count() >= SEVERAL
    }

    /// Counts a hit. `Ok`: it may be an event. `Err`: it was folded; true if it is the first of its minute.
    /// The second value is what the minute before folded.
    fn count(&mut self, source: IpAddr, at: Timestamp, limit: u32) -> (Result<(), bool>, Option<Folded>) {
        let minute = minute(at);
        let mut before = None;
        // A hit may come a little late over the end of its minute: it counts in the minute that runs.
        if minute > self.minute || minute < self.minute - 1 {
            before = self.folded.take().map(|folded| *folded);
            self.minute = minute;
            self.events = 0;
        }
        if self.events < limit {
            self.events += 1;
            return (Ok(()), before);
        }
        let first = self.folded.is_none();
        let folded = self.folded.get_or_insert_with(|| Box::new(Folded::new(source, at)));
        folded.hits += 1;
        folded.last = folded.last.max(at);
        (Err(first), before)
    }
}

/// All sources that are remembered.
#[derive(Debug, Default)]
pub(super) struct Sources {
    young: HashMap<IpAddr, Source>,
    old: HashMap<IpAddr, Source>,
    since: Timestamp,
    /// Sources that folded in some minute not yet told of.
    folding: Vec<IpAddr>,
    /// Counts whose minute is over.
    told: Vec<Folded>,
}

impl Sources {
    /// What is remembered of a source, if its hit may be an event; `None` if the hit was folded.
    pub(super) fn admit(&mut self, source: IpAddr, at: Timestamp, limit: u32) -> Option<&mut Source> {
        self.age(at);
        let old = &mut self.old;
        let known = || old.remove(&source).unwrap_or_default();
        let entry = self.young.entry(source).or_insert_with(known);
        let (verdict, before) = entry.count(source, at, limit);
        self.told.extend(before);
        match verdict {
            Ok(()) => Some(entry),
            Err(first) => {
                if first && !self.folding.contains(&source) {
                    self.folding.push(source);
                }
                None
            }
        }
    }

    /// Forgets who was known to mean no harm: what they were known by may be no more.
    pub(super) fn forget_benign(&mut self) {
        let all = self.young.values_mut().chain(self.old.values_mut());
        all.for_each(|source| source.benign = None);
    }

    /// Whether any count is waiting to be told.
    pub(super) fn is_folding(&self) -> bool {
        !self.folding.is_empty() || !self.told.is_empty()
    }

    /// The counts of minutes that are not over, or not told of yet.
    pub(super) fn folds(&self) -> impl Iterator<Item = &Folded> {
        let source = |address| self.young.get(address).or_else(|| self.old.get(address));
        let open = self
            .folding
            .iter()
            .filter_map(move |address| source(address)?.folded.as_deref());
        self.told.iter().chain(open)
    }

    /// Counts of minutes before that of `now`.
    pub(super) fn folded_before(&mut self, now: Timestamp) -> Vec<Folded> {
        let this_minute = minute(now);
        self.take_folded(|source| source.minute != this_minute)
    }

    /// Every count there is.
    pub(super) fn folded(&mut self) -> Vec<Folded> {
        self.take_folded(|_| true)
    }

    fn take_folded(&mut self, over: impl Fn(&Source) -> bool) -> Vec<Folded> {
        let mut told = std::mem::take(&mut self.told);
        let (young, old) = (&mut self.young, &mut self.old);
        self.folding.retain(|address| {
            let Some(source) = young.get_mut(address).or_else(|| old.get_mut(address)) else {
                return false;
            };
            if over(source) {
                told.extend(source.folded.take().map(|folded| *folded));
            }
            source.folded.is_some()
        });
        told
    }

    fn age(&mut self, now: Timestamp) {
        // Hits of many sessions come a little out of order; only a clock that stepped back far begins anew.
        let is_over = now.since(self.since) >= GENERATION || self.since.since(now) >= GENERATION;
        if self.young.len() < SOURCES_MAX && !is_over {
            return;
        }
        self.since = now;
        let forgotten = std::mem::replace(&mut self.old, std::mem::take(&mut self.young));
        self.told
            .extend(forgotten.into_values().filter_map(|source| Some(*source.folded?)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 29_500_000 * MINUTE_MICROS;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_micros(START + secs * 1_000_000)
    }

    fn address(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from(0xcb00_7100 + number).into()
    }

    #[test]
    fn beyond_the_rate_hits_are_counted_and_told_once_a_minute() {
        let mut sources = Sources::default();
        let admitted = (0..25).filter(|second| sources.admit(address(1), at(*second), 10).is_some());
        assert_eq!(admitted.count(), 10);
        assert_eq!(sources.folded_before(at(59)), []);
        let folded = Folded {
            source: address(1),
            hits: 15,
            first: at(10),
            last: at(24),
        };
        assert_eq!(sources.folded_before(at(60)), [folded]);
        assert!(!sources.is_folding());
        assert!(sources.admit(address(1), at(61), 10).is_some());
    }

    #[test]
    fn a_source_that_goes_on_in_the_next_minute_loses_no_count() {
        let mut sources = Sources::default();
        for second in 0..180 {
            sources.admit(address(1), at(second), 10);
        }
        let hits: u64 = sources.folded().iter().map(|folded| folded.hits).sum();
        assert_eq!(hits, 150);
    }

    #[test]
    fn a_flood_of_addresses_is_bounded_and_loses_no_count() {
        let mut sources = Sources::default();
        sources.admit(address(0), at(0), 1);
        sources.admit(address(0), at(0), 1);
        for number in 1..100_000 {
            assert!(sources.admit(address(number), at(1), 1).is_some());
        }
        assert!(sources.young.len() + sources.old.len() <= 2 * SOURCES_MAX);
        let hits: u64 = sources.folded().iter().map(|folded| folded.hits).sum();
        assert_eq!(hits, 1);
        assert!(!sources.is_folding());
    }

    #[test]
    fn hits_that_come_out_of_order_make_no_source_forgotten_and_no_rate_anew() {
        let mut sources = Sources::default();
        sources.admit(address(2), at(60), 1);
        for micros in 1..9 {
            sources.admit(address(3), Timestamp::from_micros(at(60).micros() - micros), 99);
        }
        assert!(sources.admit(address(2), at(60), 1).is_none(), "it had its share");
        let admitted = (0..40).filter(|number| {
            // To and fro over the end of a minute, which is also that of a generation.
            let second = if number % 2 == 0 { 60 } else { 59 };
            sources.admit(address(1), at(second), 10).is_some()
        });
        assert_eq!(admitted.count(), 10);
        let hits: u64 = sources.folded().iter().map(|folded| folded.hits).sum();
        assert_eq!(hits, 30 + 1);
    }

    #[test]
    fn three_decoys_within_ten_minutes_are_several_and_two_are_not() {
        let mut source = Source::default();
        assert!(!source.touched("ssh", at(0)));
        assert!(!source.touched("ftp", at(1)));
        assert!(!source.touched("ssh", at(2)));
        assert!(source.touched("http", at(3)));
        assert!(!source.touched("ssh", at(3 + 601)));
    }
}
