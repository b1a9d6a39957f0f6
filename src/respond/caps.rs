//! How many decisions rules may make.

use trapline_schemas::Timestamp;

const MINUTE_MICROS: i64 = 60_000_000;

/// Decisions of the running minute, by the clock of the events.
#[derive(Debug)]
pub struct Caps {
    per_minute: u32,
    at_once: usize,
    minute: i64,
    made: u32,
    told: Option<i64>,
}

/// Which bound is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Full {
    /// That of a minute.
    #[error("{0} decisions were made in this minute, the bound of `decisions_per_minute`")]
    Minute(u32),
    /// That of all.
    #[error("{0} decisions are in force or wait, the bound of `decisions_max`")]
    AtOnce(usize),
}

impl Caps {
    /// Bounds, and nothing made yet.
    pub const fn new(per_minute: u32, at_once: usize) -> Self {
        Self {
            per_minute,
            at_once,
            minute: i64::MIN,
            made: 0,
            told: None,
        }
    }

    /// Other bounds from now on.
    pub const fn set(&mut self, per_minute: u32, at_once: usize) {
        self.per_minute = per_minute;
        self.at_once = at_once;
    }

    /// Takes one, if there is one, with `there` decisions in being. Errors: the bound that is reached.
    pub fn take(&mut self, there: usize, now: Timestamp) -> Result<(), Full> {
        let minute = now.micros().div_euclid(MINUTE_MICROS);
        if minute != self.minute {
            (self.minute, self.made) = (minute, 0);
        }
        if there >= self.at_once {
            return Err(Full::AtOnce(self.at_once));
        }
        if self.made >= self.per_minute {
            return Err(Full::Minute(self.per_minute));
        }
        self.made += 1;
        Ok(())
    }

    /// Whether a bound that is reached is to be told: once a minute.
    pub fn tells(&mut self, now: Timestamp) -> bool {
        let minute = now.micros().div_euclid(MINUTE_MICROS);
        self.told.replace(minute) != Some(minute)
    }
}
