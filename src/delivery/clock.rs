//! The wall clock, handed in.

use std::sync::Arc;

use tokio::time::Instant;
use trapline_schemas::Timestamp;

/// Says what time it is.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self(Arc::new(Timestamp::now))
    }

    /// A clock that shows `start` now and goes with tokio's clock, also when that is paused and advanced.
    pub fn with_tokio(start: Timestamp) -> Self {
        let begun = Instant::now();
        Self(Arc::new(move || {
            let passed = i64::try_from(begun.elapsed().as_micros()).unwrap_or(i64::MAX / 2);
            Timestamp::from_micros(start.micros().saturating_add(passed))
        }))
    }

    /// A clock that shows what `read` says.
    pub fn read_by(read: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Clock({})", self.now().micros())
    }
}

/// The time `wait` after `at`.
pub(crate) fn after(at: Timestamp, wait: std::time::Duration) -> Timestamp {
    let wait = i64::try_from(wait.as_micros()).unwrap_or(i64::MAX / 2);
    Timestamp::from_micros(at.micros().saturating_add(wait))
}
