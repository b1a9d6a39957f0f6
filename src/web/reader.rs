//! Taking parameters out of a query string, each checked, with all that is wrong at once.

use trapline_schemas::Format;
use trapline_sink::config::{listed, nearest, one_of, shown};

use super::params::number;
use super::shown::Shown;
use crate::control::protocol::Query;
use crate::control::query::{Filter, instant};

/// Longest value, bytes.
const VALUE_BYTES_MAX: usize = 1_024;
/// Mistakes told at once.
const WRONG_MAX: usize = 20;
/// What both lists and streams are filtered by.
const FILTERS: [&str; 9] = [
    "since", "until", "source", "port", "decoy", "action", "level", "user", "incident",
];
const LEVELS: [&str; 3] = ["contact", "intent", "proof"];

/// Takes parameters out of a query, and notes what is wrong with them.
pub(super) struct Reader {
    pairs: Vec<(String, String)>,
    allowed: Vec<&'static str>,
    wrong: Vec<String>,
}

impl Reader {
    /// For a query with filters, and these.
    pub(super) fn new(query: &str, others: &[&'static str]) -> Self {
        Self::named(query, FILTERS.iter().chain(others).copied().collect())
    }

    pub(super) fn named(query: &str, allowed: Vec<&'static str>) -> Self {
        let pairs = form_urlencoded::parse(query.as_bytes());
        Self {
            pairs: pairs
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect(),
            allowed,
            wrong: Vec::new(),
        }
    }

    /// One parameter, out of the query.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.pairs.iter().position(|(there, _)| there == name)?;
        let (_, value) = self.pairs.remove(at);
        if value.len() > VALUE_BYTES_MAX {
            self.wrong
                .push(format!("`{name}` is longer than {VALUE_BYTES_MAX} bytes"));
            return None;
        }
        Some(value)
    }

    pub(super) fn keep<T>(&mut self, read: Result<T, String>) -> Option<T> {
        read.map_err(|wrong| self.wrong.push(wrong)).ok()
    }

    /// Notes what is wrong beyond one value.
    pub(super) fn refuse(&mut self, wrong: &str) {
        self.wrong.push(wrong.to_owned());
    }

    pub(super) fn choice(&mut self, name: &str, words: &'static [&'static str]) -> Option<&'static str> {
        let value = self.take(name)?;
        let found = words.iter().copied().find(|word| *word == value);
        let wrong = || {
            format!(
                "`{name}` is `{}`; allowed: {}",
                shown(&value),
                one_of(words.iter().copied())
            )
        };
        self.keep(found.ok_or_else(wrong))
    }

    pub(super) fn number(&mut self, name: &str, min: u64, max: u64) -> Option<u64> {
        let value = self.take(name)?;
        let found = number(&value).filter(|number| (min..=max).contains(number));
        let wrong = || {
            format!(
                "`{name}` is `{}`; allowed: a whole number in {min}..={max}",
                shown(&value)
            )
        };
        self.keep(found.ok_or_else(wrong))
    }

    fn time(&mut self, name: &str) -> Option<i64> {
        let value = self.take(name)?;
        // A `+` that was not written as `%2B` comes as a space.
        let read = instant(&value).or_else(|_| instant(&value.replace(' ', "+")));
        let read = read.map_err(|_| {
            let value = shown(&value);
            format!(
                "`{name}` is `{value}`; allowed: a span back such as 15m or 2d, or a time such as 2026-11-22T10:00:00Z"
            )
        });
        self.keep(read).map(jiff::Timestamp::as_microsecond)
    }

    pub(super) fn shown(&mut self) -> Shown {
        let Some(word) = self.take("format") else {
            return Shown::As(Format::Ecs);
        };
        if word == "json" {
            return Shown::Json;
        }
        let words = || Format::ALL.iter().map(|format| format.name()).chain(["json"]);
        let found =
            Format::find(&word).ok_or_else(|| format!("`format` is `{}`; allowed: {}", shown(&word), one_of(words())));
        Shown::As(self.keep(found).unwrap_or(Format::Ecs))
    }

    /// A name: left empty by whatever made the query it would match nothing, without a word.
    fn name(&mut self, name: &str) -> Option<String> {
        let value = self.take(name)?;
        let named = match value.is_empty() {
            true => Err(format!("`{name}` is empty; allowed: a name, or leave it out")),
            false => Ok(value),
        };
        self.keep(named)
    }

    pub(super) fn filter(&mut self) -> Filter {
        let query = Query {
            since: self.time("since"),
            until: self.time("until"),
            source: self.take("source"),
            port: self
                .number("port", 0, u16::MAX.into())
                .and_then(|port| port.try_into().ok()),
            decoy: self.name("decoy"),
            action: self.take("action"),
            level: self.choice("level", &LEVELS).map(str::to_owned),
            user: self.take("user"),
            incident: self.take("incident"),
            ..Query::default()
        };
        match Filter::parse(&query) {
            Ok(filter) => filter,
            Err(wrong) => {
                self.wrong.extend(wrong);
                Filter::default()
            }
        }
    }

    /// Whether all was right, and nothing is left.
    pub(super) fn end(mut self) -> Result<(), Vec<String>> {
        for (name, _) in &self.pairs {
            let name = shown(name);
            let allowed = match self.allowed.is_empty() {
                true => "none".to_owned(),
                false => listed(self.allowed.iter().copied()),
            };
            let near = nearest(&name, self.allowed.iter().copied());
            self.wrong.push(match (self.allowed.contains(&name.as_str()), near) {
                (true, _) => format!("parameter `{name}` stands there twice"),
                (false, Some(near)) => format!("unknown parameter `{name}`, did you mean `{near}`? allowed: {allowed}"),
                (false, None) => format!("unknown parameter `{name}`; allowed: {allowed}"),
            });
            if self.wrong.len() > WRONG_MAX {
                break;
            }
        }
        if self.wrong.is_empty() { Ok(()) } else { Err(self.wrong) }
    }
}
