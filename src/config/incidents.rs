//! `[incidents]`: when one is over. It holds for every sink that follows them.

use std::time::Duration;

use trapline_sink::config::{Key, KeyKind};

use super::load::Loader;
use super::sinks::SinkSettings;

/// Keys of `[incidents]`.
pub const KEYS: &[Key] = &[Key::default(
    "close_after",
    KeyKind::Duration {
        min: Duration::from_secs(60),
        max: Duration::from_secs(30 * 86_400),
    },
    "\"24h\"",
    "After how long without an event of it an incident is over, which sinks that follow incidents tell. Where people read \
     it not before the last digest.",
)];

/// Settles for each sink that follows incidents when they are over.
pub(super) fn settle(loader: &Loader<'_>, sinks: &mut [SinkSettings]) {
    let close_after = loader.single("incidents", KEYS).duration("close_after");
    for sink in sinks.iter_mut().filter(|sink| sink.kind.follows_incidents) {
        // What stands for a value that is wrong, which is told, is no time at all.
        sink.follows = Some(close_after.max(Duration::from_secs(60)));
    }
}
