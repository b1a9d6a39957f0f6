//! Who comes for a list, and who does not come any more.

use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Pollers of a list that are remembered; the one that is longest away makes room.
pub const POLLERS_MAX: usize = 64;
/// How often it is told that a poller is refused.
pub const REFUSAL_TOLD_EVERY: Duration = Duration::from_secs(3_600);
/// After so long away a poller is forgotten: it was taken out of service.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(7 * 86_400);

/// One that came for a list with a right token, or without where that is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poller {
    /// Name of the token that it showed last.
    pub who: String,
    /// From where.
    pub address: IpAddr,
    /// When it came last.
    pub last: Instant,
    /// How often it came.
    pub came: u64,
    /// How often it was refused since.
    pub refused: u64,
}

/// One that should have come and did not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Away {
    /// The list.
    pub list: String,
    /// Name of its token and address; `None`: nobody at all has come since the list is there.
    pub who: Option<(String, IpAddr)>,
    /// For how long.
    pub since: Duration,
    /// How often somebody is expected.
    pub expected: Duration,
}

/// The pollers of one list.
#[derive(Debug)]
pub(super) struct Pollers {
    /// Since when they are waited for.
    began: Instant,
    expected: Option<Duration>,
    rows: Vec<Row>,
    /// Whether it was told that nobody comes.
    told: bool,
}

#[derive(Debug)]
struct Row {
    poller: Poller,
    /// When it came first.
    first: Instant,
    told_away: bool,
    told_refused: Option<Instant>,
}

impl Pollers {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            began: now,
            expected: None,
            rows: Vec::new(),
            told: false,
        }
    }

    pub(super) fn expect(&mut self, every: Option<Duration>, now: Instant) {
        if self.expected != every {
            (self.expected, self.began, self.told) = (every, now, false);
        }
    }

    pub(super) fn all(&self) -> Vec<Poller> {
        self.rows.iter().map(|row| row.poller.clone()).collect()
    }

    /// One came, and was let in.
    pub(super) fn came(&mut self, who: &str, address: IpAddr, now: Instant) {
        let row = self.row(who, address, now);
        row.poller.last = now;
        row.poller.came += 1;
        (row.poller.refused, row.told_away, row.told_refused) = (0, false, None);
        self.told = true;
    }

    fn row(&mut self, who: &str, address: IpAddr, now: Instant) -> &mut Row {
        let known = |row: &Row| row.poller.address == address && row.poller.who == who;
        let index = self.rows.iter().position(known).unwrap_or_else(|| {
            // A poller that changes its token is the same one, not a new one beside one that stays away.
            let renamed = |row: &Row| row.poller.address == address && row.poller.refused > 0;
            let index = self.rows.iter().position(renamed);
            let index = index.unwrap_or_else(|| self.place(address, now));
            self.rows[index].poller.who = who.to_owned();
            index
        });
        &mut self.rows[index]
    }

    /// An index for a new row, which it puts there.
    fn place(&mut self, address: IpAddr, now: Instant) -> usize {
        if self.rows.len() >= POLLERS_MAX {
            let longest = self.rows.iter().enumerate().min_by_key(|(_, row)| row.poller.last);
            let longest = longest.map_or(0, |(index, _)| index);
            self.rows.swap_remove(longest);
        }
        self.rows.push(Row {
            poller: Poller {
                who: String::new(),
                address,
                last: now,
                came: 0,
                refused: 0,
            },
            first: now,
            told_away: false,
            told_refused: None,
        });
        self.rows.len() - 1
    }

    /// One was refused. Out: the poller, if one from this address came before, and whether that is to be told now.
    pub(super) fn refused(&mut self, address: IpAddr, now: Instant) -> Option<(Poller, bool)> {
        let of_address = self.rows.iter_mut().filter(|row| row.poller.address == address);
        // Of several behind one address, it is the one that is longest away.
        let row = of_address.min_by_key(|row| row.poller.last)?;
        row.poller.refused += 1;
        let told = row.told_refused;
        let is_news = told.is_none_or(|at| now.saturating_duration_since(at) >= REFUSAL_TOLD_EVERY);
        if is_news {
            row.told_refused = Some(now);
        }
        Some((row.poller.clone(), is_news))
    }

    /// Forgets who is gone for good, and whose place another token has taken: one that came from the same address for the
    /// first time after it had come for the last time. Two behind one address come by turns.
    fn forget(&mut self, now: Instant) {
        let begun: Vec<_> = self.rows.iter().map(|row| (row.poller.address, row.first)).collect();
        self.rows.retain(|row| {
            let (address, last) = (row.poller.address, row.poller.last);
            let is_replaced = begun.iter().any(|(other, first)| *other == address && *first > last);
            !is_replaced && now.saturating_duration_since(last) < FORGOTTEN_AFTER
        });
    }

    /// Who is away for longer than expected; each once until it comes again.
    pub(super) fn away(&mut self, list: &str, now: Instant) -> Vec<Away> {
        self.forget(now);
        let Some(expected) = self.expected else {
            return Vec::new();
        };
        let away = |who, since| Away {
            list: list.to_owned(),
            who,
            since,
            expected,
        };
        let waited = now.saturating_duration_since(self.began);
        if self.rows.is_empty() && !self.told && waited > expected {
            self.told = true;
            return vec![away(None, waited)];
        }
        let mut found = Vec::new();
        for row in self.rows.iter_mut().filter(|row| !row.told_away) {
            let since = now.saturating_duration_since(row.poller.last.max(self.began));
            if since > expected {
                row.told_away = true;
                found.push(away(Some((row.poller.who.clone(), row.poller.address)), since));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));
    const EVERY: Duration = Duration::from_secs(900);

    fn expecting() -> (Pollers, Instant) {
        let now = Instant::now();
        let mut pollers = Pollers::new(now);
        pollers.expect(Some(EVERY), now);
        (pollers, now)
    }

    fn names(away: &[Away]) -> Vec<Option<&str>> {
        let who = away.iter().map(|one| one.who.as_ref());
        who.map(|who| who.map(|(name, _)| name.as_str())).collect()
    }

    #[test]
    fn who_stays_away_is_told_once_until_it_comes_again() {
        let (mut pollers, now) = expecting();
        pollers.came("fw", ONE, now);
        assert_eq!(pollers.away("edge", now + EVERY), []);
        let late = now + EVERY + Duration::from_secs(1);
        assert_eq!(names(&pollers.away("edge", late)), [Some("fw")]);
        assert_eq!(pollers.away("edge", late + EVERY), []);
        pollers.came("fw", ONE, late + EVERY);
        assert_eq!(names(&pollers.away("edge", late + EVERY * 3)), [Some("fw")]);
    }

    #[test]
    fn a_list_that_nobody_comes_for_is_told_once() {
        let (mut pollers, now) = expecting();
        assert_eq!(pollers.away("edge", now + EVERY), []);
        assert_eq!(names(&pollers.away("edge", now + EVERY * 2)), [None]);
        assert_eq!(pollers.away("edge", now + EVERY * 3), []);
    }

    #[test]
    fn without_an_expectation_there_is_silence() {
        let now = Instant::now();
        let mut pollers = Pollers::new(now);
        pollers.came("fw", ONE, now);
        assert_eq!(pollers.away("edge", now + EVERY * 100), []);
        pollers.expect(Some(EVERY), now + EVERY * 100);
        assert_eq!(
            pollers.away("edge", now + EVERY * 100),
            [],
            "the time begins with the expectation"
        );
    }

    #[test]
    fn only_who_came_before_is_a_poller_that_is_refused_and_that_is_told_once_an_hour() {
        let (mut pollers, now) = expecting();
        assert_eq!(pollers.refused(ONE, now), None);
        pollers.came("fw", ONE, now);
        let told = |pollers: &mut Pollers, at| pollers.refused(ONE, at).map(|(_, is_news)| is_news);
        assert_eq!(told(&mut pollers, now), Some(true));
        assert_eq!(told(&mut pollers, now + EVERY), Some(false));
        assert_eq!(told(&mut pollers, now + REFUSAL_TOLD_EVERY), Some(true));
        pollers.came("fw", ONE, now + REFUSAL_TOLD_EVERY);
        assert_eq!(told(&mut pollers, now + REFUSAL_TOLD_EVERY), Some(true));
        assert_eq!(pollers.refused(OTHER, now), None);
    }

    #[test]
    fn a_poller_that_gets_a_new_token_after_a_refusal_is_the_same_one() {
        let (mut pollers, now) = expecting();
        pollers.came("old", ONE, now);
        pollers.refused(ONE, now);
        pollers.came("new", ONE, now);
        let all = pollers.all();
        assert_eq!(all.len(), 1);
        assert_eq!((all[0].who.as_str(), all[0].came, all[0].refused), ("new", 2, 0));
    }

    #[test]
    fn an_old_token_that_a_new_one_has_replaced_is_not_missed_and_two_behind_one_address_are() {
        let (mut pollers, now) = expecting();
        let at = |secs| now + Duration::from_secs(secs);
        pollers.came("old", ONE, at(0));
        pollers.came("new", ONE, at(600));
        assert_eq!(pollers.away("edge", at(1_000)), []);
        pollers.came("other", ONE, at(1_100));
        pollers.came("new", ONE, at(1_200));
        assert_eq!(names(&pollers.away("edge", at(2_050))), [Some("other")]);
    }

    #[test]
    fn pollers_are_bounded_and_in_the_end_forgotten() {
        let (mut pollers, now) = expecting();
        for number in 0..200_u32 {
            let at = now + Duration::from_secs(number.into());
            pollers.came("fw", IpAddr::from(number.to_be_bytes()), at);
        }
        assert_eq!(pollers.rows.len(), POLLERS_MAX);
        let has = |number: u32| {
            let address = IpAddr::from(number.to_be_bytes());
            pollers.rows.iter().any(|row| row.poller.address == address)
        };
        assert!(has(199) && has(136) && !has(135));
        pollers.away("edge", now + FORGOTTEN_AFTER * 2);
        assert!(pollers.rows.is_empty());
    }
}
