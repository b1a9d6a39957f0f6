//! A written table against its declared keys.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::Secret;
use super::address::plain;
use super::expand::expand;
use super::key::{Key, KeyKind};
use super::name::{is_name, no_name};
use super::outside::{Context, Variables};
use super::place::{Origin, Place, SourceText};
use super::problem::{Problem, Problems, Visible, listed, nearest, shown};
use super::table::{Cell, Checked, Table};
use super::tree::{Node, Raw};
use super::units::{duration_text, parse_duration, parse_size, size_text};

/// Checks `node` against `keys`: unknown keys, missing ones, types, bounds, choices. Every problem goes to the
/// context's collector; the table is always handed out.
pub fn check(node: &Node, keys: &[&'static Key], context: &Context<'_>) -> Table {
    let none = BTreeMap::new();
    let entries = node.entries().unwrap_or_else(|| {
        let problem = Problem::error(node.place.clone(), node.described(), "a table");
        context.problems.push(problem);
        &none
    });
    for (name, entry) in entries {
        if !keys.iter().any(|key| key.name == name) {
            context.problems.push(unknown(name, entry, keys));
        }
    }
    for key in keys
        .iter()
        .filter(|key| key.required && !entries.contains_key(key.name))
    {
        if !entries.keys().any(|name| meant(name, keys) == Some(key.name)) {
            context.problems.push(missing(node, key));
        }
    }
    let cell = |key: &&'static Key| (key.name, cell(node, entries.get(key.name), key, context));
    Table {
        place: node.key_place.clone(),
        cells: Arc::new(keys.iter().map(cell).collect()),
        problems: context.problems.clone(),
    }
}

/// The key that an unknown name was meant to be.
fn meant(name: &str, keys: &[&'static Key]) -> Option<&'static str> {
    nearest(name, keys.iter().map(|key| key.name))
}

impl Table {
    /// Checks a TOML text against `keys`, for tests of a component: relative paths resolve against `/config` and
    /// `/state`, literal secrets are allowed. The problems are those of [`check`] and whatever is added later.
    pub fn for_test(toml: &str, keys: &'static [Key]) -> (Self, Problems) {
        let problems = Problems::default();
        let source = SourceText {
            name: "test.toml".into(),
            text: toml.into(),
        };
        let node = Node::parse(&Arc::new(source), &problems);
        let context = Context {
            outside: &Variables::default(),
            config_dir: "/config".into(),
            state_dir: "/state".into(),
            literal_secrets: true,
            problems: problems.clone(),
        };
        (check(&node, &keys.iter().collect::<Vec<_>>(), &context), problems)
    }
}

fn unknown(name: &str, entry: &Node, keys: &[&'static Key]) -> Problem {
    let names = || keys.iter().map(|key| key.name);
    let parent = entry.place.key.rsplit_once('.').map_or("", |(parent, _)| parent);
    let found = match parent {
        "" => format!("unknown key `{}`", shown(name)),
        _ => format!("unknown key `{}` in `{}`", shown(name), shown(parent)),
    };
    Problem::error(entry.key_place.clone(), found, listed(names())).did_you_mean(name, names())
}

fn cell(table: &Node, entry: Option<&Node>, key: &'static Key, context: &Context<'_>) -> Cell {
    let reader = Reader {
        key,
        context,
        items: RefCell::default(),
    };
    let read = entry.and_then(|entry| reader.read(entry));
    let items = reader.items.take();
    Cell {
        key,
        place: entry.map_or(&table.key_place, |entry| &entry.place).clone(),
        written: entry.is_some(),
        good: read.is_some() && items.wrong == 0,
        items: items.good,
        value: read.or_else(|| reader.default(&table.place.key)),
    }
}

fn missing(table: &Node, key: &Key) -> Problem {
    let found = match table.place.key.as_str() {
        "" => format!("key `{}` is missing", key.name),
        parent => format!("key `{}` is missing in `{}`", key.name, shown(parent)),
    };
    let hint = format!("{} = …: {}", key.name, key.doc.trim_end_matches('.'));
    Problem::error(table.key_place.clone(), found, key.kind.allowed()).hint(hint)
}

/// Reads one key's value.
struct Reader<'a> {
    key: &'static Key,
    context: &'a Context<'a>,
    items: RefCell<Items>,
}

/// The elements of a list.
#[derive(Default)]
struct Items {
    /// Places of those that are right, in the order of the values.
    good: Vec<Place>,
    wrong: usize,
}

impl Reader<'_> {
    fn default(&self, parent: &str) -> Option<Checked> {
        let key = match parent {
            "" => self.key.name.to_owned(),
            _ => format!("{parent}.{}", self.key.name),
        };
        let place = Place {
            origin: Origin::Default,
            key,
        };
        match Node::parse_value(self.key.default?, &place) {
            Some(node) => self.read(&node),
            None => self.wrong(&node_of(place, self.key.default?)),
        }
    }

    fn read(&self, node: &Node) -> Option<Checked> {
        let node = &typed(node, self.key.kind);
        match self.key.kind {
            KeyKind::Text | KeyKind::Address => Some(Checked::Text(self.text(node)?)),
            KeyKind::Condition => match &node.value {
                Raw::Text(text) => Some(Checked::Text(text.clone())),
                _ => self.wrong(node),
            },
            KeyKind::Bool => match node.value {
                Raw::Bool(value) => Some(Checked::Bool(value)),
                _ => self.wrong(node),
            },
            KeyKind::Integer { min, max } => self.integer(node, min, max).map(Checked::Integer),
            KeyKind::Integers { min, max } => self
                .list(node, |item| self.integer(item, min, max))
                .map(Checked::Integers),
            KeyKind::Texts => self.list(node, |item| self.text(item)).map(Checked::Texts),
            KeyKind::Choice(words) => self.choice(node, words),
            KeyKind::Duration { .. } => self.duration(node),
            KeyKind::Size { .. } => self.size(node),
            KeyKind::InputPath => self.path(node, &self.context.config_dir),
            KeyKind::OutputPath => self.path(node, &self.context.state_dir),
            KeyKind::Secret => self.secret(node),
            KeyKind::Pairs => self.pairs(node),
            KeyKind::MadeSecret => self.made_secret(node),
            KeyKind::OffOr(_) if node.as_text() == Some("off") => Some(Checked::Off),
            KeyKind::BoolOr(keys) => match node.value {
                Raw::Bool(value) => Some(Checked::Bool(value)),
                _ => self.table(node, keys),
            },
            KeyKind::OffOr(keys) | KeyKind::Table(keys) => self.table(node, keys),
            KeyKind::Tables(keys) => self.tables(node, keys),
            KeyKind::Values => match self.json(node)? {
                Value::Object(values) => Some(Checked::Values(values)),
                _ => self.wrong(node),
            },
        }
    }

    fn wrong<T>(&self, node: &Node) -> Option<T> {
        let found = match self.hides(node) {
            true => node.kind().to_owned(),
            false => node.described(),
        };
        self.refuse(node, format!("{found} for `{}`", self.key.name))
    }

    fn refuse<T>(&self, node: &Node, found: String) -> Option<T> {
        let visible = match self.hides(node) {
            true => Visible::Nothing,
            false => Visible::Place,
        };
        let problem = Problem::error(node.place.clone(), found, self.key.kind.allowed());
        self.context.problems.push(problem.show(visible).hint(self.about()));
        None
    }

    /// Whether the value is not to be shown: also a text in the place of a list, unless it is surely no URL.
    fn hides(&self, node: &Node) -> bool {
        let lone = node.as_text().filter(|_| matches!(self.key.kind, KeyKind::Texts));
        self.key.kind.is_hidden() || lone.is_some_and(|text| plain(text).is_none())
    }

    /// What the key is for, and its default.
    fn about(&self) -> String {
        match self.key.default {
            Some(default) => format!("{}; default {default}", self.key.doc.trim_end_matches('.')),
            None => self.key.doc.trim_end_matches('.').to_owned(),
        }
    }

    /// A string with its variables filled in.
    fn text(&self, node: &Node) -> Option<String> {
        match &node.value {
            Raw::Text(text) => Some(self.expanded(node, text)?.0),
            _ => self.wrong(node),
        }
    }

    /// The text and whether a variable was filled in.
    fn expanded(&self, node: &Node, text: &str) -> Option<(String, bool)> {
        match expand(text, self.context.outside) {
            Ok(expanded) => Some((expanded.text, expanded.filled)),
            Err(unfilled) => {
                let place = node.place.within(unfilled.at);
                let problem = Problem::error(place, unfilled.found, "a variable that is set")
                    .show(Visible::Nothing)
                    .hint("`$${` stands for a plain `${`");
                self.context.problems.push(problem);
                None
            }
        }
    }

    fn integer(&self, node: &Node, min: i64, max: i64) -> Option<i64> {
        let Raw::Integer(number) = node.value else {
            return self.wrong(node);
        };
        match i64::try_from(number) {
            Ok(number) if (min..=max).contains(&number) => Some(number),
            _ => self.refuse(
                node,
                format!("{} `{number}` is out of range {min}..={max}", self.key.name),
            ),
        }
    }

    fn list<T>(&self, node: &Node, read: impl Fn(&Node) -> Option<T>) -> Option<Vec<T>> {
        match &node.value {
            Raw::List(items) => Some(items.iter().filter_map(|item| self.item(item, &read)).collect()),
            _ => self.wrong(node),
        }
    }

    fn item<T>(&self, item: &Node, read: impl Fn(&Node) -> Option<T>) -> Option<T> {
        let value = read(item);
        let mut items = self.items.borrow_mut();
        match value {
            Some(_) => items.good.push(item.place.clone()),
            None => items.wrong += 1,
        }
        value
    }

    /// A value of any shape, variables filled in.
    fn json(&self, node: &Node) -> Option<Value> {
        Some(match &node.value {
            Raw::Text(text) | Raw::Variable(text) => self.expanded(node, text)?.0.into(),
            Raw::Bool(value) => (*value).into(),
            Raw::Integer(number) => match i64::try_from(*number) {
                Ok(number) => number.into(),
                Err(_) => return self.wrong(node),
            },
            Raw::Other(_) => return self.wrong(node),
            Raw::List(items) => items.iter().map(|item| self.json(item)).collect::<Option<_>>()?,
            Raw::Table(entries) => {
                let entries = entries
                    .iter()
                    .map(|(name, entry)| Some((name.clone(), self.json(entry)?)));
                Value::Object(entries.collect::<Option<_>>()?)
            }
        })
    }

    fn choice(&self, node: &Node, words: &[&'static str]) -> Option<Checked> {
        let text = self.text(node)?;
        if let Some(word) = words.iter().find(|word| **word == text) {
            return Some(Checked::Word(word));
        }
        let found = format!("{} for `{}`", node.described(), self.key.name);
        let problem = Problem::error(node.place.clone(), found, self.key.kind.allowed())
            .hint(self.about())
            .did_you_mean(&text, words.iter().copied());
        self.context.problems.push(problem);
        None
    }

    fn duration(&self, node: &Node) -> Option<Checked> {
        let KeyKind::Duration { min, max } = self.key.kind else {
            return None;
        };
        let Some(duration) = node.as_text().and_then(parse_duration) else {
            return self.wrong(node);
        };
        match (min..=max).contains(&duration) {
            true => Some(Checked::Duration(duration)),
            false => self.out_of_range(node, &duration_text(min), &duration_text(max)),
        }
    }

    fn size(&self, node: &Node) -> Option<Checked> {
        let KeyKind::Size { min, max } = self.key.kind else {
            return None;
        };
        let bytes = match &node.value {
            Raw::Integer(bytes) => u64::try_from(*bytes).ok(),
            Raw::Text(text) => parse_size(text),
            _ => None,
        };
        match bytes {
            None => self.wrong(node),
            Some(bytes) if (min..=max).contains(&bytes) => Some(Checked::Size(bytes)),
            Some(_) => self.out_of_range(node, &size_text(min), &size_text(max)),
        }
    }

    fn out_of_range<T>(&self, node: &Node, min: &str, max: &str) -> Option<T> {
        let value = match &node.value {
            Raw::Integer(number) => number.to_string(),
            _ => shown(node.as_text().unwrap_or("")),
        };
        self.refuse(
            node,
            format!("{} `{value}` is out of range {min} to {max}", self.key.name),
        )
    }

    fn path(&self, node: &Node, base: &Path) -> Option<Checked> {
        let text = self.text(node)?;
        match text.is_empty() || text.contains('\0') {
            true => self.wrong(node),
            false => Some(Checked::Path(resolved(base, &text))),
        }
    }

    fn secret(&self, node: &Node) -> Option<Checked> {
        self.hidden(node, self.literal_allowed(node)).map(Checked::Secret)
    }

    /// A text that is not shown, wherever it comes from.
    fn hidden(&self, node: &Node, may_be_literal: bool) -> Option<Secret> {
        let Raw::Text(text) = &node.value else {
            return self.wrong(node);
        };
        let secret = if let Some(path) = text.strip_prefix("file:") {
            let path = resolved(&self.context.config_dir, &self.expanded(node, path)?.0);
            self.context.outside.secret_file(&path)
        } else if let Some(name) = text.strip_prefix("credential:") {
            self.context.outside.credential(name)
        } else {
            let (secret, filled) = self.expanded(node, text)?;
            match filled || may_be_literal {
                true => Ok(secret),
                false => Err("a literal secret, but others may read this file (chmod 600 would do)".into()),
            }
        };
        match secret {
            Ok(secret) if secret.is_empty() => self.refuse(node, format!("`{}` is empty", self.key.name)),
            Ok(secret) => Some(secret.into()),
            Err(why) => self.refuse(node, format!("`{}`: {why}", self.key.name)),
        }
    }

    fn pairs(&self, node: &Node) -> Option<Checked> {
        let Some(entries) = node.entries() else {
            return self.wrong(node);
        };
        let read = |(name, entry): (&String, &Node)| {
            let may_be_literal = self.literal_allowed(entry) || !sounds_secret(name);
            let entry = typed(entry, KeyKind::Secret);
            Some((
                name.clone(),
                self.item(&entry, |entry| self.hidden(entry, may_be_literal))?,
            ))
        };
        Some(Checked::Pairs(entries.iter().filter_map(read).collect()))
    }

    fn literal_allowed(&self, node: &Node) -> bool {
        self.context.literal_secrets || !matches!(node.place.origin, Origin::Text { .. })
    }

    fn made_secret(&self, node: &Node) -> Option<Checked> {
        match node.as_text().and_then(|text| text.strip_prefix("file:")) {
            Some("") => self.wrong(node),
            Some(path) => {
                let path = self.expanded(node, path)?.0;
                Some(Checked::Path(resolved(&self.context.state_dir, &path)))
            }
            None => self.secret(node),
        }
    }

    fn table(&self, node: &Node, keys: &'static [Key]) -> Option<Checked> {
        match node.entries() {
            Some(_) => {
                let keys: Vec<_> = keys.iter().collect();
                Some(Checked::Table(check(node, &keys, self.context)))
            }
            None => self.wrong(node),
        }
    }
}

impl Reader<'_> {
    fn tables(&self, node: &Node, keys: &'static [Key]) -> Option<Checked> {
        let Some(entries) = node.entries() else {
            return self.wrong(node);
        };
        let declared: Vec<_> = keys.iter().collect();
        let read = |(name, entry): (&String, &Node)| match (is_name(name), entry.entries()) {
            (false, _) => self.refuse_named(no_name(name, entry)),
            (true, None) => {
                let found = format!("`{}` is not a table", shown(&entry.place.key));
                let allowed = format!("a table of {}", listed(keys.iter().map(|key| key.name)));
                self.refuse_named(Problem::error(entry.key_place.clone(), found, allowed))
            }
            (true, Some(_)) => Some((name.clone(), check(entry, &declared, self.context))),
        };
        Some(Checked::Tables(entries.iter().filter_map(read).collect()))
    }

    fn refuse_named<T>(&self, problem: Problem) -> Option<T> {
        self.context.problems.push(problem);
        None
    }
}

/// Whether a header or a field of this name holds a credential, as far as names tell.
fn sounds_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let words = [
        "auth",
        "token",
        "key",
        "secret",
        "password",
        "cookie",
        "signature",
        "credential",
    ];
    words.iter().any(|word| name.contains(word))
}

fn resolved(base: &Path, text: &str) -> PathBuf {
    base.join(text)
}

fn node_of(place: Place, text: &str) -> Node {
    Node {
        key_place: place.clone(),
        place,
        value: Raw::Other(text.to_owned()),
    }
}

/// A variable's text as the type of its key; other nodes as they are.
fn typed<'a>(node: &'a Node, kind: KeyKind) -> std::borrow::Cow<'a, Node> {
    use std::borrow::Cow;
    let Raw::Variable(text) = &node.value else {
        return Cow::Borrowed(node);
    };
    let as_text = || Node {
        value: Raw::Text(text.clone()),
        ..node.clone()
    };
    let as_toml = || Node::parse_value(text, &node.place).unwrap_or_else(as_text);
    Cow::Owned(match kind {
        KeyKind::Bool | KeyKind::Integer { .. } | KeyKind::Integers { .. } => as_toml(),
        KeyKind::Texts if !text.trim_start().starts_with('[') => Node {
            value: Raw::List(split(text, node)),
            ..node.clone()
        },
        KeyKind::Texts => as_toml(),
        KeyKind::Size { .. } if text.bytes().all(|b| b.is_ascii_digit()) => as_toml(),
        KeyKind::BoolOr(_) => as_toml(),
        KeyKind::OffOr(_) | KeyKind::Table(_) | KeyKind::Pairs | KeyKind::Values
            if text.trim_start().starts_with('{') =>
        {
            as_toml()
        }
        _ => as_text(),
    })
}

/// A list written `a, b`.
fn split(text: &str, node: &Node) -> Vec<Node> {
    text.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(|item| Node {
            value: Raw::Text(item.to_owned()),
            ..node.clone()
        })
        .collect()
}
