//! When the next message to people may go.
//!
//! Invariants: 1. two messages are an interval apart or more; 2. none goes before a pause is over that the destination asked for.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Longest pause that is waited out here; for a longer one the event goes back, and comes again when it is over.
const WAITED_OUT: Duration = Duration::from_secs(10);

/// The pace of one channel.
#[derive(Debug)]
pub struct Pace {
    interval: Duration,
    slots: Mutex<Slots>,
}

#[derive(Debug, Default)]
struct Slots {
    /// The next message is not before this.
    next: Option<Instant>,
    /// The destination asked for a pause up to this.
    closed_until: Option<Instant>,
}

impl Pace {
    /// At most one message in an `interval`.
    pub fn new(interval: Duration) -> Self {
        Self {
            interval,
            slots: Mutex::default(),
        }
    }

    /// Waits until a message may go. Errors: what is left of a pause that is too long to wait here.
    ///
    /// Time: an interval and ten seconds at most. Cancel: safe; the slot is lost.
    pub async fn turn(&self) -> Result<(), Duration> {
        let at = self.slots().take(Instant::now(), self.interval)?;
        sleep_until(at).await;
        Ok(())
    }

    /// No message goes for so long.
    pub fn close_for(&self, pause: Duration) {
        let mut slots = self.slots();
        slots.closed_until = slots.closed_until.max(Some(Instant::now() + pause));
    }

    fn slots(&self) -> std::sync::MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slots {
    fn take(&mut self, now: Instant, interval: Duration) -> Result<Instant, Duration> {
        let left = self.closed_until.map(|until| until.saturating_duration_since(now));
        if let Some(left) = left.filter(|left| *left > WAITED_OUT) {
            return Err(left);
        }
        let at = [self.next, self.closed_until]
            .into_iter()
            .flatten()
            .fold(now, Instant::max);
        self.next = Some(at + interval);
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn messages_are_an_interval_apart_and_the_first_goes_at_once() {
        let (pace, start) = (Pace::new(Duration::from_secs(1)), Instant::now());
        for second in 0..4 {
            pace.turn().await.unwrap();
            assert_eq!(start.elapsed(), Duration::from_secs(second));
        }
        tokio::time::advance(Duration::from_secs(60)).await;
        pace.turn().await.unwrap();
        assert_eq!(
            start.elapsed(),
            Duration::from_secs(63),
            "what was not used is not saved up"
        );
        pace.turn().await.unwrap();
        assert_eq!(start.elapsed(), Duration::from_secs(64));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_goes_before_a_pause_is_over() {
        let (pace, start) = (Pace::new(Duration::from_secs(1)), Instant::now());
        pace.close_for(Duration::from_secs(7));
        pace.close_for(Duration::from_secs(3));
        pace.turn().await.unwrap();
        assert_eq!(start.elapsed(), Duration::from_secs(7), "the longer one counts");
        pace.close_for(Duration::from_secs(3600));
        tokio::time::advance(Duration::from_secs(600)).await;
        assert_eq!(pace.turn().await, Err(Duration::from_secs(3000)));
        tokio::time::advance(Duration::from_secs(3000)).await;
        assert_eq!(pace.turn().await, Ok(()));
    }
}
