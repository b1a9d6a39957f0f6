//! The topic of an event: 1 to 249 of `a-z A-Z 0-9 . _ -`, not `.` or `..`; fixed, or a pattern.
//!
//! Dates are no words of a topic: topics are made beforehand.

pub(crate) use trapline_sink::pattern::Pattern as Topic;
use trapline_sink::pattern::{Rules, Signs, Word};

/// What Kafka takes for a topic. A dot would be one of the pattern's own.
pub(crate) static RULES: Rules = Rules {
    what: "topic",
    whose: "Kafka",
    chars_max: 249,
    signs: Signs::Letters,
    instead: '-',
    parting: &['.'],
    not_first: &[],
    refused: &[".", ".."],
    words: &[Word::Site, Word::Observer, Word::Level, Word::Action],
};
