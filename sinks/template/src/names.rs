//! What a template may speak of, and what is said of one that is wrong.

use std::collections::BTreeSet;
use std::fmt;

use trapline_schemas::fields::CATALOGUE;

/// The values that a template may name, as dotted paths. What stands below a path that was named is not looked at: it
/// may be an object.
#[derive(Debug, Clone, Default)]
pub struct Names(BTreeSet<String>);

impl Names {
    /// Exactly these paths.
    pub fn new<N: Into<String>>(paths: impl IntoIterator<Item = N>) -> Self {
        Self(paths.into_iter().map(Into::into).collect())
    }

    /// Every field of an event, as conditions name them: the ECS path, and `timestamp` for `@timestamp`.
    pub fn of_events() -> Self {
        Self::new(CATALOGUE.iter().map(|row| row.ecs.trim_start_matches('@')))
    }

    /// These, and others.
    #[must_use]
    pub fn and<N: Into<String>>(mut self, paths: impl IntoIterator<Item = N>) -> Self {
        self.0.extend(paths.into_iter().map(Into::into));
        self
    }

    /// Whether there can be a value at `path`: it is known, it leads to one that is, or it leads on from one.
    pub(crate) fn knows(&self, path: &str) -> bool {
        let leads = |from: &str, to: &str| to.strip_prefix(from).is_some_and(|rest| rest.starts_with('.'));
        self.0
            .iter()
            .any(|known| known == path || leads(path, known) || leads(known, path))
    }

    /// What there is, for a message about `path`: what stands beside it, else the roots.
    pub(crate) fn beside(&self, path: &str) -> String {
        let root = path.split('.').next().unwrap_or_default();
        let near: Vec<_> = self
            .0
            .iter()
            .filter(|known| known.split('.').next() == Some(root))
            .map(String::as_str)
            .collect();
        if !near.is_empty() {
            return shortened(near);
        }
        let roots: BTreeSet<_> = self.0.iter().filter_map(|known| known.split('.').next()).collect();
        shortened(roots.into_iter().collect())
    }
}

/// Most names in a message.
const NAMES_MAX: usize = 40;

fn shortened(names: Vec<&str>) -> String {
    let listed = names.iter().take(NAMES_MAX).copied().collect::<Vec<_>>().join(", ");
    match names.len() > NAMES_MAX {
        true => format!("{listed}, …"),
        false => listed,
    }
}

/// One mistake of a template: where, what was found, what is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where in a body, a JSON Pointer; a parameter's name, or what the template is for. May be empty.
    pub place: String,
    /// Byte of the text in which it is: of the whole JSON text where a body was read from one, else of the leaf.
    pub offset: usize,
    /// Line of that text, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What was found.
    pub found: String,
    /// What would be right.
    pub allowed: String,
}

/// Longest text on what was found, in characters: a part of it is the template's own.
const FOUND_CHARS_MAX: usize = 200;

impl Mistake {
    pub(crate) fn new(place: &str, text: &str, offset: usize, found: &str, allowed: impl Into<String>) -> Self {
        let found = trapline_schemas::text::clean_within(found.as_bytes(), FOUND_CHARS_MAX).to_string();
        let mistake = Self {
            place: place.to_owned(),
            offset,
            line: 1,
            column: 1,
            found,
            allowed: allowed.into(),
        };
        mistake.at(text, offset)
    }

    /// The same mistake at another byte of another text.
    pub(crate) fn at(mut self, text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        self.offset = before.len();
        self.line = before.matches('\n').count() + 1;
        self.column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        self
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            place,
            line,
            column,
            found,
            allowed,
            ..
        } = self;
        let gap = if place.is_empty() { "" } else { " " };
        write!(
            f,
            "{place}{gap}line {line} column {column}: {found}; allowed: {allowed}"
        )
    }
}

impl std::error::Error for Mistake {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_known_with_what_it_leads_to_and_what_it_leads_on_to() {
        let names = Names::new(["source.ip", "labels"]);
        for known in ["source.ip", "source", "labels", "labels.any.thing", "source.ip.x"] {
            assert!(names.knows(known), "{known}");
        }
        for unknown in ["source.i", "source.ipp", "sourc", "ip", "label", ""] {
            assert!(!names.knows(unknown), "{unknown}");
        }
    }

    #[test]
    fn every_field_of_an_event_is_known_and_the_time_under_its_plain_name() {
        let names = Names::of_events();
        assert!(names.knows("timestamp") && names.knows("source.ip") && names.knows("honeyport.touch.level"));
        assert!(!names.knows("@timestamp") && !names.knows("source.ipp"));
        assert!(names.beside("source.ipp").contains("source.ip"));
        assert!(names.beside("sourc.ip").contains("source"));
    }
}
