//! One recogniser: a TOML file.
//!
//! ```toml
//! title = "Monitoring plugins"                # whom it knows
//! reason = "says that it is a service check"  # why that is taken for benign, for whoever reads the event
//! who = "inside"                              # inside, resolver or declared
//! touch = "intent"                            # the highest level of touch that it explains
//! walk = true                                 # whether it goes to several places; default: if it explains intent
//! [[seen]]                                    # any of these; in one, every line must fit
//! "destination.port" = [80, 443]
//! "user_agent.original" = ["check_http/*"]
//! ```
//!
//! A line is a catalogue field that is kept, or `event.action`, and the values it may have: whole numbers, texts in
//! which `*` stands for anything, `true` or `false`. `"secret"` is the credential as typed, which no event shows.
//! Without any `[[seen]]` everything fits, which only a recogniser of declared sources may say.

use std::collections::BTreeMap;
use std::ops::Range;

use smol_str::SmolStr;
use toml::Spanned;
use trapline_schemas::{Action, CATALOGUE, Event, Field, Value};
use trapline_sink::config::{nearest, shown};

use super::{Mark, Seen};
use crate::roles::Touch;

/// Whom a recogniser may know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Who {
    /// Sources in an inside zone.
    Inside,
    /// The resolvers of this host.
    Resolver,
    /// Nobody but the sources that the configuration declares: what it explains could be harm as well.
    Declared,
}

/// What is wrong with a recogniser's file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{origin}:{line}:{column}: {found}")]
pub struct RecogniserError {
    origin: String,
    line: usize,
    column: usize,
    found: String,
}

/// A behaviour that is known.
#[derive(Debug, PartialEq)]
pub struct Recogniser {
    /// File name without `.toml`.
    pub name: SmolStr,
    /// Whom it knows, in a few words.
    pub title: SmolStr,
    /// Why that is taken for benign.
    pub reason: SmolStr,
    /// Whom it may know.
    pub who: Who,
    /// The highest level of touch it explains.
    pub touch: Touch,
    /// Whether it explains a walk over several places, too, which makes an intent of each contact.
    pub walk: bool,
    seen: Vec<Vec<Line>>,
}

/// One line of a `[[seen]]`.
#[derive(Debug, PartialEq)]
struct Line {
    what: What,
    values: Vec<Pattern>,
}

/// What a line asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Action,
    Secret,
    Field(Field),
}

#[derive(Debug, PartialEq)]
enum Pattern {
    Number(i64),
    Flag(bool),
    /// The parts between the `*`s; a single part is the whole text.
    Text(Vec<String>),
}

impl Recogniser {
    /// Reads a file's text; `origin` names it in errors.
    pub fn parse(name: &str, origin: &str, text: &str) -> Result<Self, RecogniserError> {
        let at = |span: Range<usize>, found: String| RecogniserError::at(origin, text, span, found);
        let file: File =
            toml::from_str(text).map_err(|error| at(error.span().unwrap_or_default(), error.message().to_owned()))?;
        let seen = file.seen.into_iter().map(|lines| read_lines(lines.0, &at));
        let seen = seen.collect::<Result<Vec<_>, _>>()?;
        if seen.is_empty() && *file.who.get_ref() != Who::Declared {
            let found = "without [[seen]] it fits everything: who = \"declared\" is needed";
            return Err(at(file.who.span(), found.to_owned()));
        }
        Ok(Self {
            name: name.into(),
            title: file.title.into(),
            reason: file.reason.into(),
            who: file.who.into_inner(),
            walk: file.walk.unwrap_or(Touch::from(file.touch) >= Touch::Intent),
            touch: file.touch.into(),
            seen,
        })
    }

    /// Whether this behaviour is what was seen, and no more than that.
    pub(super) fn explains(&self, seen: &Seen<'_>) -> bool {
        let fits = |lines: &Vec<Line>| lines.iter().all(|line| line.fits(seen));
        self.goes_as_far_as(seen) && (self.seen.is_empty() || self.seen.iter().any(fits))
    }

    /// Whether the level of touch is one that it explains, and the walk, if it is on one.
    pub(super) fn goes_as_far_as(&self, seen: &Seen<'_>) -> bool {
        let level = if self.walk { seen.said } else { seen.touch };
        level <= self.touch && (self.walk || !seen.several)
    }

    pub(super) fn mark(&self) -> Mark {
        Mark {
            name: self.name.clone(),
            reason: self.reason.clone(),
            walk: self.walk,
            declared: false,
        }
    }
}

impl Line {
    fn fits(&self, seen: &Seen<'_>) -> bool {
        let any = |fits: &dyn Fn(&Pattern) -> bool| self.values.iter().any(fits);
        match self.what {
            What::Action => any(&|value| value.is_text(seen.event.action_name().as_bytes())),
            What::Secret => seen.secret.is_some_and(|secret| any(&|value| value.is_text(secret))),
            What::Field(field) => field_fits(seen.event, field, &any),
        }
    }
}

/// Whether any of a line's values fits.
type Any<'a> = &'a dyn Fn(&dyn Fn(&Pattern) -> bool) -> bool;

fn field_fits(event: &Event, field: Field, any: Any<'_>) -> bool {
    match event.get(field) {
        Some(Value::Text(text)) => any(&|value| value.is_text(text.as_bytes())),
        Some(Value::Int(number)) => any(&|value| *value == Pattern::Number(*number)),
        Some(Value::Bool(flag)) => any(&|value| *value == Pattern::Flag(*flag)),
        Some(Value::Texts(texts)) => any(&|value| texts.iter().any(|text| value.is_text(text.as_bytes()))),
        Some(Value::Ints(numbers)) => any(&|value| numbers.iter().any(|one| *value == Pattern::Number(*one))),
        _ => false,
    }
}

impl Pattern {
    fn is_text(&self, text: &[u8]) -> bool {
        let Self::Text(parts) = self else { return false };
        let [first, middle @ .., last] = parts.as_slice() else {
            return parts.first().is_some_and(|whole| whole.as_bytes() == text);
        };
        let inner = text.strip_prefix(first.as_bytes());
        let Some(mut rest) = inner.and_then(|rest| rest.strip_suffix(last.as_bytes())) else {
            return false;
        };
        // The leftmost place of each part leaves the most room to those after it.
        middle.iter().all(|part| {
            let at = memchr::memmem::find(rest, part.as_bytes());
            at.and_then(|at| rest.get(at + part.len()..))
                .map(|after| rest = after)
                .is_some()
        })
    }
}

impl RecogniserError {
    fn at(origin: &str, text: &str, span: Range<usize>, found: String) -> Self {
        let before = text.get(..span.start).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self {
            origin: origin.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
            found: found.trim_end().replace('\n', ", "),
        }
    }

    /// One of a file that cannot be read at all.
    pub(super) fn unreadable(origin: &str, found: String) -> Self {
        Self::at(origin, "", 0..0, found)
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    title: String,
    reason: String,
    who: Spanned<Who>,
    touch: Level,
    walk: Option<bool>,
    #[serde(default)]
    seen: Vec<Lines>,
}

#[derive(Clone, Copy, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Contact,
    Intent,
    Proof,
}

impl From<Level> for Touch {
    fn from(level: Level) -> Self {
        match level {
            Level::Contact => Self::Contact,
            Level::Intent => Self::Intent,
            Level::Proof => Self::Proof,
        }
    }
}

#[derive(serde::Deserialize)]
struct Lines(Words);

/// Keys with the values they may have.
type Words = BTreeMap<Spanned<String>, Spanned<Vec<Word>>>;

#[derive(serde::Deserialize)]
#[serde(untagged, expecting = "a text, a whole number, true or false")]
enum Word {
    Number(i64),
    Flag(bool),
    Text(String),
}

type Wrong<'a> = &'a dyn Fn(Range<usize>, String) -> RecogniserError;

fn read_lines(lines: Words, wrong: Wrong<'_>) -> Result<Vec<Line>, RecogniserError> {
    lines
        .into_iter()
        .map(|(key, values)| {
            let what = what(key.get_ref()).map_err(|found| wrong(key.span(), found))?;
            if values.get_ref().is_empty() {
                let found = format!("`{}` has no values", shown(key.get_ref()));
                return Err(wrong(values.span(), found));
            }
            if what == What::Action && !values.get_ref().iter().all(Word::is_action) {
                return Err(wrong(values.span(), "there is no action of that name".to_owned()));
            }
            let values = values.into_inner().into_iter().map(Pattern::from).collect();
            Ok(Line { what, values })
        })
        .collect()
}

fn what(key: &str) -> Result<What, String> {
    match key {
        "event.action" => return Ok(What::Action),
        "secret" => return Ok(What::Secret),
        _ => {}
    }
    if let Some(field) = Field::find(key).filter(|field| field.is_stored()) {
        return Ok(What::Field(field));
    }
    let stored = CATALOGUE.iter().filter(|row| row.field.is_stored()).map(|row| row.ecs);
    let paths = stored.chain(["event.action", "secret"]);
    Err(match nearest(key, paths) {
        Some(near) => format!("`{}` is no field to know by, did you mean `{near}`?", shown(key)),
        None => format!("`{}` is no field to know by", shown(key)),
    })
}

impl Word {
    fn is_action(&self) -> bool {
        matches!(self, Self::Text(name) if Action::find(name).is_some())
    }
}

impl From<Word> for Pattern {
    fn from(word: Word) -> Self {
        match word {
            Word::Number(number) => Self::Number(number),
            Word::Flag(flag) => Self::Flag(flag),
            Word::Text(text) => Self::Text(text.split('*').map(str::to_owned).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Recogniser::parse("mine", "mine.toml", text).unwrap_err().to_string()
    }

    const HEAD: &str = "title = 'x'\nreason = 'y'\nwho = 'inside'\ntouch = 'contact'\n";

    #[test]
    fn a_mistake_is_told_with_its_place_and_what_was_meant() {
        for (text, told) in [
            (
                "[[seen]]\n'user_agent.orginal' = ['x']\n",
                "6:1: `user_agent.orginal` is no field to know by, did you mean `user_agent.original`?",
            ),
            (
                "[[seen]]\n'event.action' = ['connect']\n",
                "6:18: there is no action of that name",
            ),
            (
                "[[seen]]\n'destination.port' = []\n",
                "6:22: `destination.port` has no values",
            ),
            ("[[seen]]\n'destination.port' = [1.5]\n", "6:22: "),
            ("", "3:7: without [[seen]]"),
            ("[[sen]]\n", "5:3: unknown field `sen`"),
        ] {
            let error = error(&format!("{HEAD}{text}"));
            assert!(error.starts_with(&format!("mine.toml:{told}")), "{error}");
        }
        assert!(error("title = ").starts_with("mine.toml:1:"));
    }

    #[test]
    fn a_star_stands_for_anything_and_nothing_else_does() {
        let is = |pattern: &str, text: &str| Pattern::from(Word::Text(pattern.into())).is_text(text.as_bytes());
        assert!(is("check_http/*", "check_http/v2.3.3"));
        assert!(is("*", "") && is("*", "anything") && is("a*b*c", "a-b-b-c") && is("**", "x"));
        assert!(!is("check_http/*", "xcheck_http/1") && !is("a*b*c", "a-c") && !is("a*a", "a") && !is("a", "ab"));
        assert!(!is("a.c", "abc"));
    }
}
