//! When the next message to people may go.
//!
//! Invariants: 1. two messages are an interval apart or more; 2. none goes before a pause is over that the destination asked for.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Longest interval that may be set. A message may need three requests, and whoever delivers gives up after ten minutes
/// and takes a sink that makes it wait for longer for one that fails: what is to be rarer is for `[notices]` to sum up.
pub const INTERVAL_MAX: Duration = Duration::from_secs(180);
/// Longest pause that is waited out here; for a longer one the event goes back, and comes again when it is over.
const WAITED_OUT: Duration = Duration::from_secs(10);
/// Longest rest of an interval that is waited out here: whoever delivers gives up on an answer after ten minutes.
const TURN_MAX: Duration = Duration::from_secs(300);

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

    /// Waits until a message may go. Errors: what is left of a pause, or of an interval, that is too long to wait here.
    ///
    /// Time: five minutes and ten seconds at most, for each who waits before. Cancel: safe; nobody's slot is lost.
    pub async fn turn(&self) -> Result<(), Duration> {
        loop {
            let found = self.slots().take(Instant::now(), self.interval);
            match found? {
                None => return Ok(()),
                Some(at) => sleep_until(at).await,
            }
        }
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
    /// Takes the slot of this moment if it is free; else says when to ask again.
    fn take(&mut self, now: Instant, interval: Duration) -> Result<Option<Instant>, Duration> {
        let left = self.closed_until.map(|until| until.saturating_duration_since(now));
        if let Some(left) = left.filter(|left| *left > WAITED_OUT) {
            return Err(left);
        }
        let at = [self.next, self.closed_until]
            .into_iter()
            .flatten()
            .fold(now, Instant::max);
        match at.saturating_duration_since(now) {
            Duration::ZERO => {
                self.next = Some(now + interval);
                Ok(None)
            }
            left if left > TURN_MAX => Err(left),
            _ => Ok(Some(at)),
        }
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
    async fn an_interval_that_is_longer_than_a_delivery_may_last_is_waited_out_elsewhere() {
        let (pace, start) = (Pace::new(Duration::from_secs(1800)), Instant::now());
        pace.turn().await.unwrap();
        let deadline = Duration::from_secs(600);
        let left = tokio::time::timeout(deadline, pace.turn()).await;
        let left = left.expect("it ends within a delivery").unwrap_err();
        assert_eq!(start.elapsed() + left, Duration::from_secs(1800));
        tokio::time::advance(left).await;
        pace.turn().await.unwrap();
        assert_eq!(start.elapsed(), Duration::from_secs(1800));
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_is_broken_off_costs_nobody_a_slot() {
        let (pace, start) = (Pace::new(Duration::from_secs(60)), Instant::now());
        pace.turn().await.unwrap();
        for _ in 0..5 {
            assert!(tokio::time::timeout(Duration::from_secs(1), pace.turn()).await.is_err());
        }
        pace.turn().await.unwrap();
        assert_eq!(start.elapsed(), Duration::from_secs(60));
    }

    #[tokio::test(start_paused = true)]
    async fn of_two_who_wait_each_has_a_slot_of_its_own() {
        let (pace, start) = (Pace::new(Duration::from_secs(1)), Instant::now());
        let (one, two, three) = tokio::join!(pace.turn(), pace.turn(), pace.turn());
        assert_eq!((one, two, three), (Ok(()), Ok(()), Ok(())));
        assert_eq!(start.elapsed(), Duration::from_secs(2));
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
