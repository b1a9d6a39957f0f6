//! `[canary]`: how often trapline tries the way to its own sinks.

use std::time::Duration;

use trapline_sink::config::{Key, KeyKind};

use super::load::Loader;

const EVERY: &[&str] = &["off", "1h", "6h", "12h", "1d", "1w"];
const HOUR: u64 = 3600;

/// Keys of `[canary]`.
pub const KEYS: &[Key] = &[
    Key::default(
        "every",
        KeyKind::Choice(EVERY),
        "\"1d\"",
        "How often a canary goes to the sinks that have `canary = true`; one that does not arrive is an alarm.",
    ),
    Key::default(
        "timeout",
        KeyKind::Duration {
            min: Duration::from_secs(1),
            max: Duration::from_secs(600),
        },
        "\"1m\"",
        "How long it may take.",
    ),
];

/// How often a canary goes out by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CanarySettings {
    /// `None`: only when somebody asks for one.
    pub every: Option<Duration>,
    /// How long it may take to arrive.
    pub timeout: Duration,
}

pub(super) fn canary(loader: &Loader<'_>) -> CanarySettings {
    let table = loader.single("canary", KEYS);
    let hours = match table.choice("every") {
        "1h" => Some(1),
        "6h" => Some(6),
        "12h" => Some(12),
        "1d" => Some(24),
        "1w" => Some(7 * 24),
        _ => None,
    };
    CanarySettings {
        every: hours.map(|hours| Duration::from_secs(hours * HOUR)),
        timeout: table.duration("timeout"),
    }
}
