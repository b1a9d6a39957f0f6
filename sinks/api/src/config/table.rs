//! A checked table.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use serde_json::{Map, Value};

use super::Secret;
use super::address::seen;
use super::key::{Key, KeyKind};
use super::place::Place;
use super::problem::{Problem, Problems, Visible};

/// A checked table. Getters name a declared key; they panic on an undeclared one (a bug, caught by any test).
/// Two tables are equal if their values are, wherever they were written.
#[derive(Debug, Clone)]
pub struct Table {
    pub(super) place: Place,
    pub(super) cells: Arc<BTreeMap<&'static str, Cell>>,
    pub(super) problems: Problems,
}

/// One declared key of a table.
#[derive(Debug)]
pub(super) struct Cell {
    pub key: &'static Key,
    /// The value's place if it is written, else the table's.
    pub place: Place,
    /// Places of a list's elements, as far as these are right.
    pub items: Vec<Place>,
    pub written: bool,
    /// Whether what is written is right, in a list every element.
    pub good: bool,
    pub value: Option<Checked>,
}

impl Cell {
    /// Whether a problem of this very key stands already.
    fn is_told(&self) -> bool {
        if self.written { !self.good } else { self.key.required }
    }
}

/// A value that is right.
#[derive(Debug, Clone)]
pub(super) enum Checked {
    Text(String),
    Word(&'static str),
    Bool(bool),
    Integer(i64),
    Duration(Duration),
    Size(u64),
    Texts(Vec<String>),
    Integers(Vec<i64>),
    Path(PathBuf),
    Secret(Secret),
    Pairs(Vec<(String, Secret)>),
    Off,
    Table(Table),
    Tables(Vec<(String, Table)>),
    Values(Map<String, Value>),
}

impl PartialEq for Checked {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Word(a), Self::Word(b)) => a == b,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Integer(a), Self::Integer(b)) => a == b,
            (Self::Duration(a), Self::Duration(b)) => a == b,
            (Self::Size(a), Self::Size(b)) => a == b,
            (Self::Texts(a), Self::Texts(b)) => a == b,
            (Self::Integers(a), Self::Integers(b)) => a == b,
            (Self::Path(a), Self::Path(b)) => a == b,
            (Self::Secret(a), Self::Secret(b)) => a.expose_secret() == b.expose_secret(),
            (Self::Pairs(a), Self::Pairs(b)) => same_pairs(a, b),
            (Self::Table(a), Self::Table(b)) => a == b,
            (Self::Tables(a), Self::Tables(b)) => a == b,
            (Self::Values(a), Self::Values(b)) => a == b,
            (Self::Off, Self::Off) => true,
            _ => false,
        }
    }
}

fn same_pairs(a: &[(String, Secret)], b: &[(String, Secret)]) -> bool {
    let same = |((name, one), (other, two)): (&(String, Secret), &(String, Secret))| {
        name == other && one.expose_secret() == two.expose_secret()
    };
    a.len() == b.len() && a.iter().zip(b).all(same)
}

impl PartialEq for Table {
    fn eq(&self, other: &Self) -> bool {
        self.cells.len() == other.cells.len()
            && self
                .cells
                .iter()
                .all(|(name, cell)| other.cells.get(name).is_some_and(|there| cell.value == there.value))
    }
}

impl Table {
    /// The text of a key; empty if absent or wrong.
    pub fn text(&self, key: &str) -> String {
        self.text_opt(key).unwrap_or_default()
    }

    /// The text of a key that may be absent.
    pub fn text_opt(&self, key: &str) -> Option<String> {
        match self.value(key)? {
            Checked::Text(text) => Some(text.clone()),
            Checked::Word(word) => Some((*word).to_owned()),
            _ => None,
        }
    }

    /// The word of a `Choice`; its first word if absent or wrong.
    pub fn choice(&self, key: &str) -> &'static str {
        let first = match self.cell(key).key.kind {
            KeyKind::Choice(words) => words.first().copied(),
            _ => None,
        };
        match self.value(key) {
            Some(Checked::Word(word)) => word,
            _ => first.unwrap_or(""),
        }
    }

    /// A `Bool`, or a `BoolOr` that is no table; false if absent or wrong.
    pub fn bool(&self, key: &str) -> bool {
        matches!(self.value(key), Some(Checked::Bool(true)))
    }

    /// An `Integer`; the smallest allowed if absent or wrong.
    pub fn integer(&self, key: &str) -> i64 {
        let least = match self.cell(key).key.kind {
            KeyKind::Integer { min, .. } => min,
            _ => 0,
        };
        self.integer_opt(key).unwrap_or(least)
    }

    /// An `Integer` that may be absent.
    pub fn integer_opt(&self, key: &str) -> Option<i64> {
        match self.value(key)? {
            Checked::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// A `Duration`; the shortest allowed if absent or wrong.
    pub fn duration(&self, key: &str) -> Duration {
        let least = match self.cell(key).key.kind {
            KeyKind::Duration { min, .. } => min,
            _ => Duration::ZERO,
        };
        self.duration_opt(key).unwrap_or(least)
    }

    /// A `Duration` that may be absent.
    pub fn duration_opt(&self, key: &str) -> Option<Duration> {
        match self.value(key)? {
            Checked::Duration(duration) => Some(*duration),
            _ => None,
        }
    }

    /// A `Size`, bytes; the smallest allowed if absent or wrong.
    pub fn size(&self, key: &str) -> u64 {
        let least = match self.cell(key).key.kind {
            KeyKind::Size { min, .. } => min,
            _ => 0,
        };
        self.size_opt(key).unwrap_or(least)
    }

    /// A `Size` that may be absent, bytes.
    pub fn size_opt(&self, key: &str) -> Option<u64> {
        match self.value(key)? {
            Checked::Size(bytes) => Some(*bytes),
            _ => None,
        }
    }

    /// A `Texts`; empty if absent.
    pub fn texts(&self, key: &str) -> Vec<String> {
        match self.value(key) {
            Some(Checked::Texts(texts)) => texts.clone(),
            _ => Vec::new(),
        }
    }

    /// An `Integers`; empty if absent.
    pub fn integers(&self, key: &str) -> Vec<i64> {
        match self.value(key) {
            Some(Checked::Integers(numbers)) => numbers.clone(),
            _ => Vec::new(),
        }
    }

    /// A path, already resolved. Also the file of a `MadeSecret`.
    pub fn path(&self, key: &str) -> Option<PathBuf> {
        match self.value(key)? {
            Checked::Path(path) => Some(path.clone()),
            _ => None,
        }
    }

    /// A `Secret`.
    pub fn secret(&self, key: &str) -> Option<Secret> {
        match self.value(key)? {
            Checked::Secret(secret) => Some(secret.clone()),
            _ => None,
        }
    }

    /// A `Pairs`, by name; empty if absent.
    pub fn pairs(&self, key: &str) -> Vec<(String, Secret)> {
        match self.value(key) {
            Some(Checked::Pairs(pairs)) => pairs.clone(),
            _ => Vec::new(),
        }
    }

    /// A nested table, `None` if absent or `"off"`.
    pub fn table(&self, key: &str) -> Option<Table> {
        match self.value(key)? {
            Checked::Table(table) => Some(table.clone()),
            _ => None,
        }
    }

    /// A `Tables`, sorted by name, those of wrong name left out; empty if absent.
    pub fn tables(&self, key: &str) -> Vec<(String, Table)> {
        match self.value(key) {
            Some(Checked::Tables(tables)) => tables.clone(),
            _ => Vec::new(),
        }
    }

    /// A `Values`; empty if absent or wrong.
    pub fn values(&self, key: &str) -> Map<String, Value> {
        match self.value(key) {
            Some(Checked::Values(values)) => values.clone(),
            _ => Map::new(),
        }
    }

    /// Whether an `OffOr` key says `"off"`.
    pub fn is_off(&self, key: &str) -> bool {
        matches!(self.value(key), Some(Checked::Off))
    }

    /// Whether the key is written in the configuration.
    pub fn is_set(&self, key: &str) -> bool {
        self.cell(key).written
    }

    /// Whether the key is written and its value is right.
    pub fn is_good(&self, key: &str) -> bool {
        let cell = self.cell(key);
        cell.written && cell.good
    }

    /// Where the key's value stands; the table's place if it is not written.
    pub fn place(&self, key: &str) -> Place {
        self.cell(key).place.clone()
    }

    /// Where the table's name stands.
    pub fn own_place(&self) -> Place {
        self.place.clone()
    }

    /// Adds a problem at this key's value: for checks that types cannot say.
    pub fn problem(&self, key: &str, found: &str, allowed: &str) {
        self.report(key, Problem::error(self.place(key), found, allowed));
    }

    /// Adds a problem at a key that holds a URL or an address, of which only [`seen`] is shown.
    pub fn problem_with_address(&self, key: &str, allowed: &str) {
        self.problem(key, &seen(&self.text(key)), allowed);
    }

    /// Adds a problem at one element of a list.
    pub fn problem_at(&self, key: &str, index: usize, found: &str, allowed: &str) {
        let place = self.item_place(key, index);
        self.report(key, Problem::error(place, found, allowed));
    }

    /// Where one element of a list stands; the key's place if the elements have none of their own.
    pub fn item_place(&self, key: &str, index: usize) -> Place {
        let cell = self.cell(key);
        cell.items.get(index).unwrap_or(&cell.place).clone()
    }

    /// Where byte `offset` of a text's value stands, such as a column of a condition.
    pub fn place_within(&self, key: &str, offset: usize) -> Place {
        self.cell(key).place.within(offset)
    }

    /// Adds a warning at this key's value.
    pub fn warning(&self, key: &str, found: &str, allowed: &str) {
        self.report(key, Problem::warning(self.place(key), found, allowed));
    }

    /// Adds a problem made by the caller; the value of a secret or an address stays hidden. Where the value is known to be
    /// missing or wrong already, what follows from the stand-in is not told; of a list, what is wrong with another element
    /// is.
    pub fn report(&self, key: &str, problem: Problem) {
        let cell = self.cell(key);
        if cell.is_told() && !cell.items.contains(&problem.place) {
            return;
        }
        let visible = match self.cell(key).key.kind.is_hidden() {
            true => Visible::Nothing,
            false => problem.visible,
        };
        self.problems.push(problem.show(visible));
    }

    fn value(&self, key: &str) -> Option<&Checked> {
        self.cell(key).value.as_ref()
    }

    fn cell(&self, key: &str) -> &Cell {
        self.cells
            .get(key)
            .unwrap_or_else(|| unreachable!("key `{key}` of `{}` is not declared", self.place.key))
    }
}
