//! A configuration as a tree in which every key and value knows where it was written.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::place::{Origin, Place, SourceText};
use super::problem::{Problem, Problems, Visible, shown};

/// A value and where it and its key stand.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where the value stands.
    pub place: Place,
    /// Where its key stands (the value again, in a list).
    pub key_place: Place,
    /// The value.
    pub value: Raw,
}

/// A value as written.
#[derive(Debug, Clone)]
pub enum Raw {
    /// A string.
    Text(String),
    /// The text of an environment variable: its type is that of the key.
    Variable(String),
    /// A whole number, if it fits.
    Integer(i128),
    /// A float or a date: no key takes one.
    Other(String),
    /// true or false.
    Bool(bool),
    /// A list.
    List(Vec<Node>),
    /// A table.
    Table(BTreeMap<String, Node>),
}

impl Node {
    /// Reads a TOML text. Every syntax error is a problem; what could be read is still handed out.
    pub fn parse(source: &Arc<SourceText>, problems: &Problems) -> Self {
        let (table, errors) = DeTable::parse_recoverable(&source.text);
        let broken: Vec<_> = errors.iter().map(|error| syntax_problem(source, error)).collect();
        let origin = |span| Origin::Text {
            source: source.clone(),
            span,
        };
        let place = Place {
            origin: origin(0..0),
            key: String::new(),
        };
        let mut entries = entries(table.get_ref(), "", &origin);
        for problem in broken {
            if problem.found.starts_with("unclosed table") {
                entries.retain(|_, entry| !follows(&entry.key_place, &problem.place));
            }
            problems.push(problem);
        }
        Self {
            value: Raw::Table(entries),
            key_place: place.clone(),
            place,
        }
    }

    /// Reads one TOML value that comes as a whole from `origin`; `None` if it is none.
    pub(super) fn parse_value(text: &str, place: &Place) -> Option<Self> {
        let value = DeValue::parse(text).ok()?;
        let origin = |_| place.origin.clone();
        Some(node(place.clone(), value.get_ref(), &origin))
    }

    /// The entries of a table.
    pub fn entries(&self) -> Option<&BTreeMap<String, Self>> {
        match &self.value {
            Raw::Table(entries) => Some(entries),
            _ => None,
        }
    }

    /// One entry of a table.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entries()?.get(key)
    }

    /// The text of a string value.
    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            Raw::Text(text) | Raw::Variable(text) => Some(text),
            _ => None,
        }
    }

    /// Puts the text of a variable at `path`, making tables on the way. `false` if the way leads through a value.
    pub fn set(&mut self, path: &[&str], variable: &str, text: &str) -> bool {
        let parent = self.place.key.clone();
        let Raw::Table(entries) = &mut self.value else {
            return false;
        };
        let Some((first, rest)) = path.split_first() else {
            return false;
        };
        let place = Place {
            origin: Origin::Variable(variable.to_owned()),
            key: joined(&parent, first),
        };
        let fresh = |value| Self {
            place: place.clone(),
            key_place: place.clone(),
            value,
        };
        if rest.is_empty() {
            entries.insert((*first).to_owned(), fresh(Raw::Variable(text.to_owned())));
            return true;
        }
        entries
            .entry((*first).to_owned())
            .or_insert_with(|| fresh(Raw::Table(BTreeMap::new())))
            .set(rest, variable, text)
    }

    /// What it is, for messages: values of at most 60 characters.
    pub(super) fn described(&self) -> String {
        match &self.value {
            Raw::Text(text) | Raw::Variable(text) => format!("text `{}`", shown(text)),
            Raw::Integer(number) => format!("number `{number}`"),
            Raw::Other(text) => format!("`{}`", shown(text)),
            Raw::Bool(value) => format!("`{value}`"),
            Raw::List(_) => "a list".into(),
            Raw::Table(_) => "a table".into(),
        }
    }

    /// What kind of thing it is, for messages about secrets.
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            Raw::Text(_) | Raw::Variable(_) => "text",
            Raw::Integer(_) => "a number",
            Raw::Other(_) => "a float or a date",
            Raw::Bool(_) => "true or false",
            Raw::List(_) => "a list",
            Raw::Table(_) => "a table",
        }
    }
}

/// Whether a key stands on the line after a table's head that is not closed: nobody can know whose it is.
fn follows(key: &Place, head: &Place) -> bool {
    let line = |place: &Place| place.position().map(|(line, _)| line);
    line(key).zip(line(head)).is_some_and(|(key, head)| key == head + 1)
}

type MakeOrigin<'a> = dyn Fn(Range<usize>) -> Origin + 'a;

fn entries(table: &DeTable<'_>, parent: &str, origin: &MakeOrigin<'_>) -> BTreeMap<String, Node> {
    table
        .iter()
        .map(|(name, value)| (name.get_ref().to_string(), entry(name, value, parent, origin)))
        .collect()
}

fn entry(
    name: &Spanned<std::borrow::Cow<'_, str>>,
    value: &Spanned<DeValue<'_>>,
    parent: &str,
    origin: &MakeOrigin<'_>,
) -> Node {
    let key = joined(parent, name.get_ref());
    let key_place = Place {
        origin: origin(name.span()),
        key: key.clone(),
    };
    let place = Place {
        origin: origin(value.span()),
        key,
    };
    Node {
        key_place,
        ..node(place, value.get_ref(), origin)
    }
}

fn node(place: Place, value: &DeValue<'_>, origin: &MakeOrigin<'_>) -> Node {
    let value = match value {
        DeValue::String(text) => Raw::Text(text.to_string()),
        DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Raw::Other(number.to_string()), Raw::Integer),
        DeValue::Float(number) => Raw::Other(number.to_string()),
        DeValue::Datetime(date) => Raw::Other(date.to_string()),
        DeValue::Boolean(value) => Raw::Bool(*value),
        DeValue::Array(items) => Raw::List(
            items
                .iter()
                .map(|item| {
                    let place = Place {
                        origin: origin(item.span()),
                        key: place.key.clone(),
                    };
                    node(place, item.get_ref(), origin)
                })
                .collect(),
        ),
        DeValue::Table(table) => Raw::Table(entries(table, &place.key, origin)),
    };
    Node {
        key_place: place.clone(),
        place,
        value,
    }
}

fn joined(parent: &str, name: &str) -> String {
    match parent.is_empty() {
        true => name.to_owned(),
        false => format!("{parent}.{name}"),
    }
}

fn syntax_problem(source: &Arc<SourceText>, error: &toml::de::Error) -> Problem {
    let end = source.text.len();
    let (span, message) = match (error.span(), error.message().trim()) {
        (None, TOO_DEEP) => (deepest(&source.text), "nested too deep"),
        (span, message) => (span.unwrap_or(end..end), message),
    };
    let visible = match secret_line(&source.text, span.start) {
        true => Visible::Nothing,
        false => Visible::Place,
    };
    let origin = Origin::Text {
        source: source.clone(),
        span: span.clone(),
    };
    let place = Place {
        origin,
        key: String::new(),
    };
    if error.message() != "duplicate key" {
        return Problem::error(place, message, "TOML 1.1").show(visible);
    }
    let key = shown(source.text.get(span.clone()).unwrap_or_default());
    let problem = Problem::error(place, format!("duplicate key `{key}`"), "each key and table once").show(visible);
    match first_place(source, &span) {
        Some(first) => problem.hint(format!("the first one is at {}", first.label())),
        None => problem,
    }
}

/// What the parser says, without a place, of a text that nests too deep.
const TOO_DEEP: &str = "recursion limit";

/// The beginning of the line with the most dots and brackets: where the nesting is, as far as can be told.
fn deepest(text: &str) -> Range<usize> {
    let mut end = 0;
    let lines = text.split_inclusive('\n').map(|line| {
        end += line.len();
        (line.matches(['.', '[', '{']).count(), end - line.len())
    });
    // The first of those that have as many.
    let start = lines.max_by_key(|(depth, start)| (*depth, std::cmp::Reverse(*start)));
    let start = start.map_or(0, |(_, start)| start);
    start
        ..start
            + text
                .get(start..)
                .and_then(|rest| rest.chars().next())
                .map_or(0, char::len_utf8)
}

/// Where a key that stands twice stands first: in the same table, or in an equal head of a table.
fn first_place(source: &Arc<SourceText>, span: &Range<usize>) -> Option<Place> {
    let text = source.text.get(..span.end)?;
    let line = text.rfind('\n').map_or(0, |at| at + 1);
    let (before, written) = (text.get(..line)?, text.get(line..)?.trim_start());
    let table = match written.starts_with('[') {
        true => 0,
        false => before.rfind("\n[").unwrap_or(0),
    };
    let mut at = table;
    for candidate in before.get(table..)?.split_inclusive('\n') {
        let bare = candidate.trim_start();
        let start = at + candidate.len() - bare.len();
        at += candidate.len();
        let rest = bare.strip_prefix(written);
        if rest.is_some_and(|rest| rest.starts_with([' ', '\t', '=', '.', ']'])) {
            let end = start + written.len();
            let origin = Origin::Text {
                source: source.clone(),
                span: end - span.len()..end,
            };
            return Some(Place {
                origin,
                key: String::new(),
            });
        }
    }
    None
}

/// Whether the broken line may hold a secret, by the name before its `=`.
fn secret_line(text: &str, at: usize) -> bool {
    let before = text.get(..at).unwrap_or(text);
    let line = text.get(before.rfind('\n').map_or(0, |at| at + 1)..).unwrap_or("");
    let name = line.lines().next().unwrap_or("").split('=').next().unwrap_or("");
    [
        "token",
        "secret",
        "key",
        "password",
        "url",
        "endpoint",
        "address",
        "authority",
        "server",
        "listen",
    ]
    .iter()
    .any(|word| name.contains(word))
}
