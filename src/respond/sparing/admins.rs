//! Who proved to administer this host, and when last.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use trapline_sink::set::Why;

use super::board::{Board, Found, Row, Source};

/// How long an address is spared after a token that was right came from it.
pub(super) const TOKEN_KEPT: Duration = Duration::from_secs(24 * 3600);
/// How long an address is spared after somebody who came from it was last seen logged in.
pub(super) const LOGIN_KEPT: Duration = Duration::from_secs(3600);
/// Most addresses of each kind; of more the one that was not seen for longest goes.
pub(super) const ADMINS_MAX: usize = 256;

/// Where those who show tokens come from. A handle for who checks them: nobody else is to have one, least of all what
/// speaks to the peers of decoys.
#[derive(Debug, Clone)]
pub struct Admins(Arc<Remembered>);

impl Admins {
    pub(super) fn new(board: Arc<Board>) -> Self {
        Self(Arc::new(Remembered::new(
            board,
            Source::Tokens,
            TOKEN_KEPT,
            "a token that was right",
        )))
    }

    /// Somebody at this address showed a token that was right: call it after the check alone, and with the peer of the
    /// connection, not with what a header says. A token that can only read lists proves nothing and is not told here.
    ///
    /// Waits for nothing; of an address that is known it only keeps the time.
    pub fn seen(&self, address: IpAddr) {
        if !self.0.saw_again(address) {
            self.0.saw([address]);
        }
    }

    pub(super) fn forget(&self) {
        self.0.saw([]);
    }
}

/// Addresses that are spared for a while after they were seen, in rows of their own.
#[derive(Debug)]
pub(super) struct Remembered {
    board: Arc<Board>,
    source: Source,
    kept: Duration,
    from: &'static str,
    seen: Mutex<HashMap<IpAddr, Instant>>,
}

impl Remembered {
    pub fn new(board: Arc<Board>, source: Source, kept: Duration, from: &'static str) -> Self {
        Self {
            board,
            source,
            kept,
            from,
            seen: Mutex::default(),
        }
    }

    /// Remembers who was seen and forgets who was not for long.
    pub fn saw(&self, addresses: impl IntoIterator<Item = IpAddr>) {
        self.saw_with(addresses, Found::default());
    }

    /// Whether it was remembered anyway.
    fn saw_again(&self, address: IpAddr) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let known = seen.get_mut(&address.to_canonical());
        known.map(|last| *last = Instant::now()).is_some()
    }

    /// [`saw`](Self::saw), with rows and notes to put beside.
    pub fn saw_with(&self, addresses: impl IntoIterator<Item = IpAddr>, beside: Found) {
        let now = Instant::now();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|_, last| now.duration_since(*last) < self.kept);
        for address in addresses {
            seen.insert(address.to_canonical(), now);
            make_room(&mut seen);
        }
        let rows = seen.keys().map(|address| Row::host(*address, Why::Admin, self.from));
        let mut found = beside;
        found.rows.extend(rows);
        // Put before the next one may look: the board's order is that of the table.
        self.board.put(self.source, found);
    }
}

fn make_room(seen: &mut HashMap<IpAddr, Instant>) {
    while seen.len() > ADMINS_MAX {
        let oldest = seen.iter().min_by_key(|(address, last)| (**last, **address));
        let Some(oldest) = oldest.map(|(address, _)| *address) else {
            return;
        };
        seen.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_spared(board: &Board, text: &str) -> bool {
        let target = text.parse().unwrap();
        board.watch().borrow().why(target) == Some(&Why::Admin)
    }

    #[tokio::test(start_paused = true)]
    async fn who_showed_a_token_is_spared_for_a_day() {
        let board = Arc::new(Board::new());
        let admins = Admins::new(Arc::clone(&board));
        admins.seen("::ffff:192.0.2.7".parse().unwrap());
        assert!(is_spared(&board, "192.0.2.7") && !is_spared(&board, "192.0.2.8"));
        tokio::time::advance(TOKEN_KEPT - Duration::from_secs(1)).await;
        admins.forget();
        assert!(is_spared(&board, "192.0.2.7"));
        tokio::time::advance(Duration::from_secs(1)).await;
        admins.forget();
        assert!(!is_spared(&board, "192.0.2.7"));
    }

    #[tokio::test(start_paused = true)]
    async fn of_more_than_there_is_room_for_the_latest_stay() {
        let board = Arc::new(Board::new());
        let admins = Admins::new(Arc::clone(&board));
        for number in 0..=ADMINS_MAX as u32 {
            admins.seen(IpAddr::V4((0x0a00_0000 + number).into()));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(board.rows().len(), ADMINS_MAX);
        assert!(!is_spared(&board, "10.0.0.0") && is_spared(&board, "10.0.0.1"));
    }
}
