//! Connections that have not shown a token: so many of a source, so that one who opens many holds up nobody else.
//!
//! Bounded by [`super::CONNECTIONS_MAX`]: each row has a connection.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::misses::network;

/// Connections of one source without a token.
pub(super) const GUESTS_MAX: usize = 16;

/// Who waits, by source.
#[derive(Debug, Default)]
pub(super) struct Lobby(Mutex<HashMap<IpAddr, usize>>);

/// A connection that has not shown a token. It is one no more when this is dropped.
#[derive(Debug)]
pub(super) struct Guest {
    lobby: Arc<Lobby>,
    source: IpAddr,
}

impl Lobby {
    /// Lets a connection in; `None` if its source has too many there.
    pub(super) fn enter(self: &Arc<Self>, source: IpAddr) -> Option<Guest> {
        let source = network(source);
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = rows.entry(source).or_default();
        if *count >= GUESTS_MAX {
            return None;
        }
        *count += 1;
        Some(Guest {
            lobby: self.clone(),
            source,
        })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut rows = self.lobby.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = rows.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                rows.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_so_many_guests_and_others_are_not_asked() {
        let lobby = Arc::new(Lobby::default());
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let mut guests: Vec<_> = (0..GUESTS_MAX).map(|_| lobby.enter(one).unwrap()).collect();
        assert!(lobby.enter(one).is_none());
        assert!(lobby.enter(other).is_some());
        guests.pop();
        assert!(lobby.enter(one).is_some());
        guests.clear();
        assert!(lobby.0.lock().unwrap().is_empty());
    }
}
