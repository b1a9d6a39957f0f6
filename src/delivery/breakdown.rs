//! What happens to a task that breaks down (a panic, which is a bug): it is caught, and begins anew at a bounded pace.
//!
//! The panic itself is counted and logged where every panic is, in `telemetry`.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;

use super::pace::Pace;

/// A breakdown this long after the one before is another story; longer than any wait between two of one story.
const CALM: Duration = Duration::from_secs(600);

/// The work broke down.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Broken;

/// Runs `work` to its end, or until it breaks down. The caller forgets what the work has touched, or knows it whole.
pub(crate) async fn caught<T>(work: impl Future<Output = T>) -> Result<T, Broken> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|_| Broken)
}

/// The breakdowns of one task. Work in between does not end their row: a task that does a little and breaks down over
/// the next thing, again and again, must not do so in a hot loop.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Breakdowns {
    row: u32,
    last: Option<Instant>,
}

impl Breakdowns {
    /// One more, at `now`: how long the task rests before it begins anew. `jitter` is 0.0..1.0, by chance.
    pub(crate) fn wait(&mut self, now: Instant, jitter: f64) -> Duration {
        let is_new = self.last.is_none_or(|last| now >= last + CALM);
        self.row = if is_new { 1 } else { self.row.saturating_add(1) };
        self.last = Some(now);
        Pace::default().wait(None, self.row, None, jitter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breakdowns_are_paced_as_a_row_until_it_was_calm() {
        let (mut breakdowns, mut now) = (Breakdowns::default(), Instant::now());
        let mut next = |after: u64| {
            now += Duration::from_secs(after);
            breakdowns.wait(now, 0.0).as_secs()
        };
        let waits = [0, 1, 2, 4, 8, 16, 32, 75, 599].map(&mut next);
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(next(600), 1);
    }

    #[tokio::test]
    async fn only_a_panic_is_a_breakdown() {
        assert_eq!(caught(async { 7 }).await, Ok(7));
        assert_eq!(caught(async { panic!("on purpose") }).await, Err::<(), _>(Broken));
    }
}
