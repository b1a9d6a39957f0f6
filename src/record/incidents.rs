//! Which incident a source's hit belongs to, and which one that goes on from.
//!
//! The id itself is a function of key, source and UTC day. What is remembered is only who was here today and
//! yesterday, so that the first hit after midnight can name the incident before.
//!
//! It is remembered in the journal's state as well, so that a restart forgets nobody. Layout: `incidents/KEY/DAY/ROW`
//! is up to [`ROW_SOURCES`] addresses of 16 bytes, IPv4 mapped into IPv6. KEY is a print of the site key, for the
//! incidents of another key have other ids; DAY counts from 1970-01-01. Only the row that is filling is written again;
//! a new run begins a new one. Rows ride in the commit of the hits that changed them, and those of days before
//! yesterday go [`ROWS_GONE`] at a time with later ones.

use std::collections::{HashSet, VecDeque};
use std::net::{IpAddr, Ipv6Addr};

use trapline_schemas::Timestamp;
use trapline_schemas::ids::{self, SiteKey};
use uuid::Uuid;

/// Prefix of all rows in the journal's state.
pub const STATE: &str = "incidents/";

/// Sources remembered per day; beyond it a source's next incident names none before it.
const SOURCES_MAX: usize = 65_536;

/// Sources in one row: a row is written again for each commit with new ones, so it is small.
const ROW_SOURCES: usize = 64;

/// Rows removed in one commit.
const ROWS_GONE: usize = 16;

const DAY_MICROS: i64 = 86_400_000_000;

/// A row of the journal's state to save; `None` removes it.
type StateRow = (String, Option<Vec<u8>>);

/// A source's incident of one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Incident {
    pub(super) day: i64,
    pub(super) id: Uuid,
    pub(super) previous: Option<Uuid>,
}

/// Who was here today and yesterday.
#[derive(Debug)]
pub(super) struct Incidents {
    /// [`STATE`] and the print of the key.
    prefix: String,
    day: i64,
    today: Day,
    yesterday: Day,
    /// Rows that nobody needs any more.
    gone: VecDeque<String>,
}

/// Who was here on one day.
#[derive(Debug, Default)]
struct Day {
    sources: HashSet<IpAddr>,
    /// Number of the row that is filling.
    row: u32,
    /// What is in it, and what is to go into the next ones.
    filling: Vec<IpAddr>,
    /// How many of these the journal has.
    saved: usize,
}

/// The UTC day of an instant, counted from 1970-01-01.
pub(super) fn day(at: Timestamp) -> i64 {
    at.micros().div_euclid(DAY_MICROS)
}

impl Incidents {
    /// Goes on from the rows that an earlier run left; none at first. Those of another key are removed.
    pub(super) fn restore(key: &SiteKey, rows: Vec<(String, Vec<u8>)>) -> Self {
        let print: String = key.hmac_hex(STATE.as_bytes()).chars().take(8).collect();
        let prefix = format!("{STATE}{print}/");
        let newest = rows.iter().filter_map(|(name, _)| place(&prefix, name)).max();
        let mut incidents = Self {
            prefix,
            day: newest.map_or(0, |(day, _)| day),
            today: Day::default(),
            yesterday: Day::default(),
            gone: VecDeque::new(),
        };
        for (name, row) in rows {
            incidents.restore_row(name, &row);
        }
        incidents
    }

    fn restore_row(&mut self, name: String, row: &[u8]) {
        match place(&self.prefix, &name) {
            Some((day, number)) if day == self.day => self.today.restore_row(number, row),
            Some((day, number)) if day == self.day - 1 => self.yesterday.restore_row(number, row),
            _ => self.gone.push_back(name),
        }
    }

    /// The incident of `source` on the day of `at`.
    pub(super) fn of(&mut self, key: &SiteKey, source: IpAddr, at: Timestamp) -> Incident {
        let day = day(at);
        self.turn_to(day);
        // Over midnight hits come out of order, and a fold is told after it: a late one turns nothing back.
        let is_late = day < self.day;
        if !is_late {
            self.today.remember(source);
        }
        let before = Timestamp::from_micros(at.micros() - DAY_MICROS);
        let goes_on = !is_late && self.yesterday.sources.contains(&source);
        Incident {
            day,
            id: ids::incident(key, source, at),
            previous: goes_on.then(|| ids::incident(key, source, before)),
        }
    }

    /// What changed since it was asked last, for the commit of the hits that changed it.
    pub(super) fn changes(&mut self) -> Vec<StateRow> {
        let mut rows = Vec::new();
        for (day, of) in [(self.day - 1, &mut self.yesterday), (self.day, &mut self.today)] {
            of.save(|row| name(&self.prefix, day, row), &mut rows);
        }
        let gone = self.gone.len().min(ROWS_GONE);
        rows.extend(self.gone.drain(..gone).map(|name| (name, None)));
        rows
    }

    fn turn_to(&mut self, day: i64) {
        // A clock that steps back further than a day begins anew.
        if day == self.day || day == self.day - 1 {
            return;
        }
        let today = std::mem::take(&mut self.today);
        let yesterday = std::mem::take(&mut self.yesterday);
        self.forget(self.day - 1, &yesterday);
        if day == self.day + 1 {
            self.yesterday = today;
        } else {
            self.forget(self.day, &today);
        }
        self.day = day;
    }

    fn forget(&mut self, day: i64, of: &Day) {
        let prefix = &self.prefix;
        self.gone.extend(of.rows().map(|row| name(prefix, day, row)));
    }
}

impl Day {
    fn remember(&mut self, source: IpAddr) {
        if self.sources.len() < SOURCES_MAX && self.sources.insert(source) {
            self.filling.push(source);
        }
    }

    fn restore_row(&mut self, number: u32, row: &[u8]) {
        self.row = self.row.max(number + 1);
        let (addresses, _) = row.as_chunks::<16>();
        let addresses = addresses.iter().map(|bytes| Ipv6Addr::from(*bytes).to_canonical());
        let room = SOURCES_MAX.saturating_sub(self.sources.len());
        self.sources.extend(addresses.take(room));
    }

    /// Rows that are not as the journal has them; full ones are then done with.
    fn save(&mut self, name: impl Fn(u32) -> String, rows: &mut Vec<StateRow>) {
        if self.filling.len() == self.saved {
            return;
        }
        for (row, sources) in (self.row..).zip(self.filling.chunks(ROW_SOURCES)) {
            rows.push((name(row), Some(encode(sources))));
        }
        let full = self.filling.len() / ROW_SOURCES;
        self.filling.drain(..full * ROW_SOURCES);
        self.row += u32::try_from(full).unwrap_or(u32::MAX);
        self.saved = self.filling.len();
    }

    /// Every row that the journal may have.
    fn rows(&self) -> impl Iterator<Item = u32> {
        let end = if self.saved > 0 { self.row + 1 } else { self.row };
        0..end
    }
}

fn name(prefix: &str, day: i64, row: u32) -> String {
    format!("{prefix}{day}/{row}")
}

/// Day and number of a row; `None` if it is of another key, or not ours.
fn place(prefix: &str, name: &str) -> Option<(i64, u32)> {
    let (day, row) = name.strip_prefix(prefix)?.split_once('/')?;
    // A row holds one source at least, so these are all that there can be.
    let (day, row): (i32, u16) = (day.parse().ok()?, row.parse().ok()?);
    Some((day.into(), row.into()))
}

fn encode(sources: &[IpAddr]) -> Vec<u8> {
    let bytes = sources.iter().flat_map(|source| match source {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    });
    bytes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_midnight_the_new_incident_names_the_old_one_and_only_then() {
        let key = SiteKey::new([7; 32]);
        let (source, other) = ("203.0.113.7".parse().unwrap(), "203.0.113.8".parse().unwrap());
        let at = |day: i64| Timestamp::from_micros(day * DAY_MICROS + 5);
        let mut incidents = Incidents::restore(&key, Vec::new());
        let first = incidents.of(&key, source, at(20_000));
        assert_eq!(first.previous, None);
        assert_eq!(incidents.of(&key, source, at(20_000)), first);
        let second = incidents.of(&key, source, at(20_001));
        assert_eq!(second.previous, Some(first.id));
        assert_eq!(incidents.of(&key, other, at(20_001)).previous, None);
        assert_eq!(incidents.of(&key, source, at(20_003)).previous, None);
    }

    #[test]
    fn a_hit_that_comes_late_over_midnight_makes_nobody_forgotten() {
        let key = SiteKey::new([7; 32]);
        let (source, other) = ("203.0.113.7".parse().unwrap(), "203.0.113.8".parse().unwrap());
        let at = |day: i64| Timestamp::from_micros(day * DAY_MICROS + 5);
        let mut incidents = Incidents::restore(&key, Vec::new());
        let first = incidents.of(&key, source, at(20_000));
        incidents.of(&key, other, at(20_001));
        assert_eq!(incidents.of(&key, other, at(20_000)).day, 20_000, "told late");
        assert_eq!(incidents.of(&key, source, at(20_001)).previous, Some(first.id));
    }

    fn address(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from(0x0a00_0000 + number).into()
    }

    fn at(day: i64) -> Timestamp {
        Timestamp::from_micros(day * DAY_MICROS + 5)
    }

    /// The journal's state, as commits change it.
    #[derive(Default, Clone)]
    struct State(std::collections::BTreeMap<String, Vec<u8>>);

    impl State {
        /// Takes what changed; gives how many rows that were.
        fn commit(&mut self, incidents: &mut Incidents) -> usize {
            let changes = incidents.changes();
            let count = changes.len();
            for (name, row) in changes {
                match row {
                    Some(row) => self.0.insert(name, row),
                    None => self.0.remove(&name),
                };
            }
            count
        }

        fn restore(&self, key: &SiteKey) -> Incidents {
            Incidents::restore(key, self.0.clone().into_iter().collect())
        }
    }

    #[test]
    fn a_restart_forgets_nobody_of_today_and_of_yesterday() {
        let key = SiteKey::new([7; 32]);
        let (old, new) = (address(1), "2001:db8::7".parse().unwrap());
        let (mut state, mut incidents) = (State::default(), Incidents::restore(&key, Vec::new()));
        let first = incidents.of(&key, old, at(20_000));
        state.commit(&mut incidents);
        let mut incidents = state.restore(&key);
        let second = incidents.of(&key, new, at(20_000));
        assert_eq!(state.commit(&mut incidents), 1);
        let mut incidents = state.restore(&key);
        assert_eq!(incidents.of(&key, old, at(20_001)).previous, Some(first.id));
        state.commit(&mut incidents);
        let mut incidents = state.restore(&key);
        assert_eq!(incidents.of(&key, new, at(20_001)).previous, Some(second.id));
        assert_eq!(incidents.of(&key, address(2), at(20_001)).previous, None);
    }

    #[test]
    fn a_source_costs_one_small_row_on_its_first_hit_of_the_day_and_nothing_after() {
        let key = SiteKey::new([7; 32]);
        let (mut state, mut incidents) = (State::default(), Incidents::restore(&key, Vec::new()));
        for number in 0..1000 {
            incidents.of(&key, address(number), at(20_000));
            assert_eq!(state.commit(&mut incidents), 1);
            incidents.of(&key, address(number), at(20_000));
            assert_eq!(state.commit(&mut incidents), 0);
        }
        assert_eq!(state.0.len(), 1000_usize.div_ceil(ROW_SOURCES));
        assert!(state.0.values().all(|row| row.len() <= 16 * ROW_SOURCES));
    }

    #[test]
    fn sources_without_number_are_bounded_and_rows_of_old_days_go_with_later_commits() {
        let key = SiteKey::new([7; 32]);
        let (mut state, mut incidents) = (State::default(), Incidents::restore(&key, Vec::new()));
        for number in 0..70_000 {
            incidents.of(&key, address(number), at(20_000));
            if number % 256 == 0 {
                assert!(state.commit(&mut incidents) <= 256 / ROW_SOURCES + 1);
            }
        }
        state.commit(&mut incidents);
        assert_eq!(state.0.len(), SOURCES_MAX / ROW_SOURCES);
        // Over two midnights, with a restart while rows are still to go.
        let mut incidents = state.restore(&key);
        assert!(incidents.of(&key, address(65_535), at(20_001)).previous.is_some());
        assert!(incidents.of(&key, address(65_536), at(20_001)).previous.is_none());
        state.commit(&mut incidents);
        incidents.of(&key, address(1), at(20_002));
        assert!(state.commit(&mut incidents) <= ROWS_GONE + 1);
        let mut incidents = state.restore(&key);
        for number in 0..100 {
            incidents.of(&key, address(number), at(20_002));
            assert!(state.commit(&mut incidents) <= ROWS_GONE + 1);
        }
        assert_eq!(incidents.gone.len(), 0);
        assert!(state.0.len() < 8, "{} rows", state.0.len());
    }

    #[test]
    fn rows_of_another_key_or_of_no_sense_name_nobody_and_go() {
        let (key, other) = (SiteKey::new([7; 32]), SiteKey::new([8; 32]));
        let (mut state, mut incidents) = (State::default(), Incidents::restore(&other, Vec::new()));
        incidents.of(&other, address(1), at(20_000));
        state.commit(&mut incidents);
        let prefix = Incidents::restore(&key, Vec::new()).prefix;
        for wrong in ["", "x/0", "20000/x", "20000/65536", "99999999999/0"] {
            state.0.insert(format!("{prefix}{wrong}"), vec![1; 40]);
        }
        let mut incidents = state.restore(&key);
        assert_eq!(incidents.of(&key, address(1), at(20_001)).previous, None);
        state.commit(&mut incidents);
        assert_eq!(state.0.len(), 1);
    }
}
