//! `[transforms.NAME]`: nodes between decoys and sinks. What types there are and what their keys mean is the graph's.

use trapline_sink::config::{Key, KeyKind, Problem, Table, Visible};

use super::load::Loader;
use crate::graph::transforms::{self, TRANSFORMS, TransformSpec};

/// Keys that every transform has.
pub const COMMON: &[Key] = &[
    Key::required("type", KeyKind::Text, "What it does."),
    Key::required(
        "inputs",
        KeyKind::Texts,
        "What it takes: `decoys`, `findings`, `decisions`, `health`, `*` (the first three), or names of decoys and \
         transforms.",
    ),
];

/// Reads all transforms; those of unknown type are left out.
pub(super) fn transforms(loader: &Loader<'_>) -> Vec<TransformSpec> {
    loader
        .entries("transforms")
        .into_iter()
        .filter_map(|(name, node)| {
            let types = TRANSFORMS.iter().map(|row| row.name);
            let row = transforms::find(loader.kind(node, "transform", types, &[])?)?;
            let before = loader.context.problems.count();
            let table = loader.check(node, COMMON.iter().chain(row.keys));
            check_conditions(loader, &table, row.keys);
            // Read in any case: one wrong key must not hide what is wrong with another.
            let kind = (row.parse)(&table);
            (loader.context.problems.count() == before).then(|| TransformSpec {
                name,
                inputs: table.texts("inputs"),
                kind,
            })
        })
        .collect()
}

fn check_conditions(loader: &Loader<'_>, table: &Table, keys: &[Key]) {
    for key in keys.iter().filter(|key| matches!(key.kind, KeyKind::Condition)) {
        let Some(text) = table.text_opt(key.name) else { continue };
        for mistake in (loader.rules.condition)(&text) {
            let place = table.place_within(key.name, mistake.offset);
            let mut problem = Problem::error(place, mistake.found, "a CEL condition over ECS paths");
            problem.hint = mistake.hint;
            table.report(key.name, problem.show(Visible::Line));
        }
    }
}
