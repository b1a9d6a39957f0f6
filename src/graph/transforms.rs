//! The transforms there are: one row each, with the keys of its table.

use std::time::Duration;

use trapline_schemas::{CATALOGUE, Field, Kind};
use trapline_sink::config::{Key, KeyKind, Problem, Table, shown};

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
    /// Lets through so many a window and key, and counts the rest.
    Throttle(ThrottleSpec),
}

/// The settings of a throttle.
#[derive(Debug, Clone, PartialEq)]
pub struct ThrottleSpec {
    /// The fields that make the key; 1..=[`BY_MAX`].
    pub by: Vec<Field>,
    /// Events of one key let through in a window, 1 or more.
    pub limit: u64,
    /// Length of a window; 1 s to 1 d.
    pub window: Duration,
}

/// Most fields in `by`.
pub const BY_MAX: usize = 4;

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
        keys: &[
            Key::required("by", KeyKind::Texts, "Fields that make the key, 1 to 4."),
            Key::required(
                "limit",
                KeyKind::Integer { min: 1, max: 1_000_000 },
                "Events of one key that go on in each window.",
            ),
            Key::required(
                "window",
                KeyKind::Duration {
                    min: Duration::from_secs(1),
                    max: Duration::from_secs(86_400),
                },
                "Length of a window, in the events' own time.",
            ),
        ],
        parse: parse_throttle,
        doc: "lets through so many events a key and window, and tells how many it held back",
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

fn parse_throttle(table: &Table) -> TransformKind {
    let names = table.texts("by");
    if names.is_empty() || names.len() > BY_MAX {
        let found = format!("{} fields", names.len());
        table.problem("by", &found, &format!("1..={BY_MAX} fields"));
    }
    let by = names
        .iter()
        .enumerate()
        .filter_map(|(index, name)| key_field(table, index, name));
    TransformKind::Throttle(ThrottleSpec {
        by: by.collect(),
        limit: u64::try_from(table.integer("limit")).unwrap_or(1).max(1),
        window: table.duration("window").max(Duration::from_secs(1)),
    })
}

fn key_field(table: &Table, index: usize, name: &str) -> Option<Field> {
    let field = Field::find(name).filter(|field| is_single(field.row().kind));
    if field.is_none() {
        let paths = CATALOGUE.iter().filter(|row| is_single(row.kind)).map(|row| row.ecs);
        let found = format!("`{}` is no path to count by", shown(name));
        let allowed = "a field of the catalogue with a single value";
        let problem = Problem::error(table.item_place("by", index), found, allowed);
        table.report("by", problem.did_you_mean(name, paths));
    }
    field
}

/// Lists, dates and bytes make no keys.
const fn is_single(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Keyword | Kind::Text | Kind::Long | Kind::Bool | Kind::Ip | Kind::Id
    )
}
