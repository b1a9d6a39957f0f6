//! Waiting for an indexer: the channel, and how long a question is repeated.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

/// First pause before asking; a busy indexer doubles it up to the configured interval.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The sink's channel. Acknowledgement numbers are the channel's own and start again when the collector restarts, so
/// after a broken connection a new channel keeps old numbers from being taken for new ones.
#[derive(Debug)]
pub(crate) struct Channel(Mutex<Uuid>);

impl Channel {
    /// A fresh channel.
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Uuid::new_v4()))
    }

    /// The channel in use.
    pub(crate) fn current(&self) -> Uuid {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves `old` for a new channel, unless somebody did already.
    pub(crate) fn leave(&self, old: Uuid) {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *current == old {
            *current = Uuid::new_v4();
        }
    }
}

/// The pace of questions for one acknowledgement.
#[derive(Debug)]
pub(crate) struct Patience {
    pause: Duration,
    longest: Duration,
    until: Instant,
}

impl Patience {
    /// Asks at most every `longest`, for `timeout` in all.
    pub(crate) fn new(longest: Duration, timeout: Duration) -> Self {
        Self {
            pause: FIRST_PAUSE.min(longest),
            longest,
            until: Instant::now() + timeout,
        }
    }

    /// Waits for the next question; `false` when the time is up. Cancel: safe.
    pub(crate) async fn next(&mut self) -> bool {
        if Instant::now() >= self.until {
            return false;
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(self.longest);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_left_once_for_each_break() {
        let channel = Channel::new();
        let old = channel.current();
        channel.leave(old);
        let new = channel.current();
        assert_ne!(old, new);
        channel.leave(old);
        assert_eq!(channel.current(), new);
    }

    #[tokio::test(start_paused = true)]
    async fn patience_doubles_its_pause_and_ends() {
        let mut patience = Patience::new(Duration::from_secs(1), Duration::from_secs(5));
        let mut questions = 0;
        while patience.next().await {
            questions += 1;
        }
        assert_eq!(questions, 8);
    }
}
