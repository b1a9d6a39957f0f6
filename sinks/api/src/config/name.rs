//! Names of the user's choice: of decoys, transforms, sinks, rules.

use super::problem::{Problem, shown};
use super::tree::Node;

/// Longest name, characters.
pub const NAME_CHARS_MAX: usize = 64;

/// A name as a regular expression; [`is_name`] says the same.
pub const NAME_PATTERN: &str = "^[a-z][a-z0-9]*(_[a-z0-9]+)*_?$";

/// Whether a table may have this name: lower case, so that variables can name it; without `__`, which parts names in
/// variables.
pub fn is_name(name: &str) -> bool {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(good)
        && !name.contains("__")
        && name.len() <= NAME_CHARS_MAX
}

/// The problem of a table whose name is none.
pub fn no_name(name: &str, node: &Node) -> Problem {
    let found = format!("`{}` is not a name", shown(name));
    let allowed = "a letter a-z, then letters, digits and single _, at most 64";
    let problem = Problem::error(node.key_place.clone(), found, allowed);
    let lower = name.to_lowercase().replace(['-', ' ', '.'], "_");
    match is_name(&lower) {
        true => problem.hint(format!("did you mean `{lower}`?")),
        false => problem,
    }
}
