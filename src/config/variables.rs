//! `TRAPLINE__A__B` laid over the text.

use std::collections::BTreeMap;

use config::{Environment, Source};
use trapline_sink::config::{Node, Origin, Place, Problem, Problems};

/// What every variable of ours begins with.
const PREFIX: &str = "TRAPLINE";
const SEPARATOR: &str = "__";

/// Lays every `TRAPLINE__…` variable over the tree; a variable that cannot be laid anywhere is a problem.
pub(super) fn overlay(tree: &mut Node, variables: &BTreeMap<String, String>, problems: &Problems) {
    let names = ours(variables, problems);
    let environment = Environment::with_prefix(PREFIX)
        .separator(SEPARATOR)
        .source(Some(variables.clone().into_iter().collect()));
    // Collecting from a given map of texts cannot fail.
    let collected = environment.collect().unwrap_or_default();
    let mut values: Vec<_> = collected.into_iter().collect();
    values.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (path, value) in values {
        let name = names.get(&path).cloned().unwrap_or_default();
        let text = value.into_string().unwrap_or_default();
        let segments: Vec<_> = path.split('.').collect();
        if segments.iter().any(|segment| segment.is_empty()) || !tree.set(&segments, &name, &text) {
            problems.push(nowhere(&name, &path));
        }
    }
}

/// A variable of ours that is not UTF-8 means something that nobody can read.
pub(super) fn refuse_not_utf8(names: &[String], problems: &Problems) {
    let prefix = format!("{PREFIX}{SEPARATOR}").to_lowercase();
    for name in names {
        let lower = name.to_lowercase();
        if let Some(path) = lower.strip_prefix(&prefix) {
            let place = place(name, &path.replace(SEPARATOR, "."));
            problems.push(Problem::error(place, "the value is not UTF-8", "UTF-8 text"));
        }
    }
}

/// The variables' own names by the path they stand for. Two that differ only in case are a problem.
fn ours(variables: &BTreeMap<String, String>, problems: &Problems) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    for name in variables.keys() {
        let lower = name.to_lowercase();
        let prefix = format!("{PREFIX}{SEPARATOR}").to_lowercase();
        let Some(path) = lower.strip_prefix(&prefix) else {
            continue;
        };
        let path = path.replace(SEPARATOR, ".");
        if let Some(other) = names.insert(path.clone(), name.clone()) {
            let found = format!("{name} and {other} stand for the same key");
            problems.push(Problem::error(place(name, &path), found, "one of them"));
        }
    }
    names
}

fn nowhere(name: &str, path: &str) -> Problem {
    let found = format!("no key can stand at `{}`", trapline_sink::config::shown(path));
    Problem::error(
        place(name, path),
        found,
        "TRAPLINE__TABLE__KEY or TRAPLINE__TABLE__NAME__KEY",
    )
}

fn place(name: &str, path: &str) -> Place {
    Place {
        origin: Origin::Variable(name.to_owned()),
        key: path.to_owned(),
    }
}
