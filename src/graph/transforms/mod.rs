//! The transforms there are: one row each, with the keys of its table.

mod shaping;
mod windowed;

use trapline_sink::config::{Key, KeyKind, Table};

pub use windowed::BY_MAX;

use super::shape::{EnrichSpec, RedactSpec, SampleSpec};
use super::window::WindowSpec;

/// One `[transforms.NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub struct TransformSpec {
    /// Its name.
    pub name: String,
    /// Its inputs.
    pub inputs: Vec<String>,
    /// What it does.
    pub kind: TransformKind,
}

/// What a transform does.
#[derive(Debug, Clone, PartialEq)]
pub enum TransformKind {
    /// Lets through what fulfils the condition.
    Filter {
        /// The condition, as written.
        when: String,
    },
    /// Takes events together by key and window: `throttle`, `dedupe`, `aggregate`.
    Window(WindowSpec),
    /// Lets one in so many through.
    Sample(SampleSpec),
    /// Hides fields.
    Redact(RedactSpec),
    /// Adds what tables know.
    Enrich(EnrichSpec),
}

/// A type of transform: one row.
#[derive(Debug, Clone, Copy)]
pub struct TransformType {
    /// The word after `type =`.
    pub name: &'static str,
    /// Its own keys; `type` and `inputs` are the loader's.
    pub keys: &'static [Key],
    /// Reads the checked table.
    pub parse: fn(&Table) -> TransformKind,
    /// One line for `README.md` and `schema config`.
    pub doc: &'static str,
}

/// Every transform type.
pub static TRANSFORMS: &[TransformType] = &[
    TransformType {
        name: "filter",
        keys: &[Key::required(
            "when",
            KeyKind::Condition,
            "Events that fulfil this condition go on.",
        )],
        parse: parse_filter,
        doc: "lets through what fulfils a condition",
    },
    TransformType {
        name: "throttle",
        keys: windowed::THROTTLE,
        parse: windowed::throttle,
        doc: "lets through so many events a key and window, and tells how many it held back",
    },
    TransformType {
        name: "dedupe",
        keys: windowed::DEDUPE,
        parse: windowed::dedupe,
        doc: "lets through the first event of a key and window, and tells how often it came again",
    },
    TransformType {
        name: "aggregate",
        keys: windowed::AGGREGATE,
        parse: windowed::aggregate,
        doc: "sums up the events of a key and window in one digest",
    },
    TransformType {
        name: "sample",
        keys: shaping::SAMPLE,
        parse: shaping::sample,
        doc: "lets one in so many through, and says so in each",
    },
    TransformType {
        name: "redact",
        keys: shaping::REDACT,
        parse: shaping::redact,
        doc: "hides fields from the sinks behind it",
    },
    TransformType {
        name: "enrich",
        keys: shaping::ENRICH,
        parse: shaping::enrich,
        doc: "adds what databases and an inventory know of the source",
    },
];

/// Finds a type by its word.
pub fn find(name: &str) -> Option<&'static TransformType> {
    TRANSFORMS.iter().find(|row| row.name == name)
}

fn parse_filter(table: &Table) -> TransformKind {
    TransformKind::Filter {
        when: table.text("when"),
    }
}
