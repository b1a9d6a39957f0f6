//! Connections that have not shown a token: so many of a source, and where there is no room for another one, the source
//! that has most of them gives up the one that waits for longest. So one who opens many holds up nobody else.
//!
//! Bounded by [`super::CONNECTIONS_MAX`] and the one that is at the door: each row has a connection.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use super::misses::network;

/// Connections of one source without a token.
pub(super) const GUESTS_MAX: usize = 16;

/// Who waits.
#[derive(Debug, Default)]
pub(super) struct Lobby(Mutex<Rows>);

#[derive(Debug, Default)]
struct Rows {
    /// How many have come.
    came: u64,
    /// By source, in the order in which they came.
    sources: HashMap<IpAddr, BTreeMap<u64, CancellationToken>>,
}

/// A connection that has not shown a token. It is one no more when this is dropped.
#[derive(Debug)]
pub(super) struct Guest {
    lobby: Arc<Lobby>,
    source: IpAddr,
    number: u64,
    shown_out: CancellationToken,
}

impl Lobby {
    /// Lets a connection in; `None` if its source has too many there.
    pub(super) fn enter(self: &Arc<Self>, source: IpAddr) -> Option<Guest> {
        let source = network(source);
        let mut rows = self.rows();
        rows.came += 1;
        let number = rows.came;
        let guests = rows.sources.entry(source).or_default();
        if guests.len() >= GUESTS_MAX {
            return None;
        }
        let shown_out = CancellationToken::new();
        guests.insert(number, shown_out.clone());
        Some(Guest {
            lobby: self.clone(),
            source,
            number,
            shown_out,
        })
    }

    /// Shows one out for `newest`, if there is another: of the source that has most, the one that came first.
    pub(super) fn make_room(&self, newest: &Guest) {
        let mut rows = self.rows();
        let others = rows.sources.iter().filter_map(|(source, guests)| {
            let first = guests.keys().find(|number| **number != newest.number)?;
            Some((guests.len(), std::cmp::Reverse(*first), *source))
        });
        if let Some((_, std::cmp::Reverse(number), source)) = others.max()
            && let Some(shown_out) = rows.leave(source, number)
        {
            shown_out.cancel();
        }
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rows {
    fn leave(&mut self, source: IpAddr, number: u64) -> Option<CancellationToken> {
        let guests = self.sources.get_mut(&source)?;
        let gone = guests.remove(&number);
        if guests.is_empty() {
            self.sources.remove(&source);
        }
        gone
    }
}

impl Guest {
    /// Cancelled when it is to make room for another.
    pub(super) fn shown_out(&self) -> CancellationToken {
        self.shown_out.clone()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.lobby.rows().leave(self.source, self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn a_source_has_so_many_guests_and_others_are_not_asked() {
        let lobby = Arc::new(Lobby::default());
        let mut guests: Vec<_> = (0..GUESTS_MAX).map(|_| lobby.enter(ONE).unwrap()).collect();
        assert!(lobby.enter(ONE).is_none());
        assert!(lobby.enter(OTHER).is_some());
        guests.pop();
        assert!(lobby.enter(ONE).is_some());
        guests.clear();
        assert!(lobby.rows().sources.is_empty());
    }

    #[test]
    fn who_has_most_makes_room_with_the_one_that_waits_for_longest_and_who_comes_stays() {
        let lobby = Arc::new(Lobby::default());
        let early = lobby.enter(OTHER).unwrap();
        let many: Vec<_> = (0..3).map(|_| lobby.enter(ONE).unwrap()).collect();
        let newest = lobby.enter(OTHER).unwrap();
        let are_out = || {
            let each = many.iter().chain([&early, &newest]);
            each.map(|guest| guest.shown_out().is_cancelled()).collect::<Vec<_>>()
        };
        lobby.make_room(&newest);
        assert_eq!(are_out(), [true, false, false, false, false]);
        lobby.make_room(&newest);
        assert_eq!(are_out(), [true, false, false, true, false], "of as many, the longest");
        (0..5).for_each(|_| lobby.make_room(&newest));
        assert_eq!(are_out(), [true, true, true, true, false]);
        drop((many, early, newest));
        assert!(lobby.rows().sources.is_empty());
    }
}
