//! `throttle`, `dedupe`, `aggregate`: what takes events together by key and window.

use std::time::Duration;

use trapline_schemas::{CATALOGUE, Field, Kind};
use trapline_sink::config::{Key, KeyKind, Problem, Table, shown};

use super::TransformKind;
use crate::graph::window::{First, Policy, WindowSpec};

/// Most fields in `by`.
pub const BY_MAX: usize = 4;

const BY: Key = Key::required("by", KeyKind::Texts, "Fields that make the key, 1 to 4.");
const WINDOW: Key = Key::required(
    "window",
    KeyKind::Duration {
        min: Duration::from_secs(1),
        max: Duration::from_secs(7 * 86_400),
    },
    "Length of a window, in the events' own time.",
);

pub(super) const THROTTLE: &[Key] = &[
    BY,
    Key::required(
        "limit",
        KeyKind::Integer { min: 1, max: 1_000_000 },
        "Events of one key that go on in each window.",
    ),
    WINDOW,
];

pub(super) const DEDUPE: &[Key] = &[BY, WINDOW];

pub(super) const AGGREGATE: &[Key] = &[
    Key::default(
        "by",
        KeyKind::Texts,
        "[]",
        "Fields that make the key, up to 4; none: one digest of all.",
    ),
    WINDOW,
    Key::default(
        "first",
        KeyKind::Choice(&["at_once", "never"]),
        "\"at_once\"",
        "Whether the first event of a window goes on at once as itself, and the digest counts the others.",
    ),
];

pub(super) fn throttle(table: &Table) -> TransformKind {
    let limit = u64::try_from(table.integer("limit")).unwrap_or(1).max(1);
    window(table, 1, Policy::Throttle { limit })
}

pub(super) fn dedupe(table: &Table) -> TransformKind {
    window(table, 1, Policy::Dedupe)
}

pub(super) fn aggregate(table: &Table) -> TransformKind {
    let first = match table.choice("first") {
        "never" => First::Never,
        _ => First::AtOnce,
    };
    window(table, 0, Policy::Aggregate { first })
}

fn window(table: &Table, least: usize, policy: Policy) -> TransformKind {
    TransformKind::Window(WindowSpec {
        by: by(table, least),
        window: table.duration("window").max(Duration::from_secs(1)),
        policy,
    })
}

/// The fields of the key `by`, at least so many.
pub(super) fn by(table: &Table, least: usize) -> Vec<Field> {
    let names = table.texts("by");
    if names.len() < least || names.len() > BY_MAX {
        let found = format!("{} fields", names.len());
        table.problem("by", &found, &format!("{least}..={BY_MAX} fields"));
    }
    let fields = names.iter().enumerate();
    fields
        .filter_map(|(index, name)| key_field(table, "by", Some(index), name))
        .collect()
}

/// The field of a key's text, or of an item of its list.
pub(super) fn key_field(table: &Table, key: &str, item: Option<usize>, name: &str) -> Option<Field> {
    let field = Field::find(name).filter(|field| is_single(field.row().kind));
    if field.is_none() {
        let paths = CATALOGUE.iter().filter(|row| is_single(row.kind)).map(|row| row.ecs);
        let found = format!("`{}` is no path to count by", shown(name));
        let allowed = "a field of the catalogue with a single value";
        let place = match item {
            Some(index) => table.item_place(key, index),
            None => table.place_within(key, 0),
        };
        let problem = Problem::error(place, found, allowed);
        table.report(key, problem.did_you_mean(name, paths));
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
