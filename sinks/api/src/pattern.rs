//! The name of a place at a destination (a topic, an index): fixed, or a pattern with words of our own in it.
//!
//! In: the text of a key, the [`Rules`] of the destination; events. Out: legal names.
//! Invariants: 1 the literal parts are legal as they stand; 2 what stands in for a placeholder is made legal and bounded,
//! so that the whole is, whatever it was; 3 no placeholder names anything that a peer can choose; 4 an event's name never
//! changes: a date is the event's own, in UTC.

use std::borrow::Cow;

use trapline_schemas::{Action, Event, Field, Timestamp};

use crate::config::{one_of, shown};

/// Longest stand-in for a placeholder.
pub const WORD_CHARS_MAX: usize = 48;
/// What stands in for what an event does not have.
const NONE: &str = "none";

/// What a destination takes for a name.
#[derive(Debug, PartialEq, Eq)]
pub struct Rules {
    /// What it is, as in "in a topic" and "the topic `x`".
    pub what: &'static str,
    /// Whose names they are.
    pub whose: &'static str,
    /// Longest name.
    pub chars_max: usize,
    /// The signs that a name may have, besides `.`, `_` and `-`.
    pub signs: Signs,
    /// What stands for a sign that a word may not have, and for the signs that part names of the pattern's own.
    pub instead: char,
    /// Those signs: a word never has one.
    pub parting: &'static [char],
    /// What a name may not begin with.
    pub not_first: &'static [char],
    /// Names that are refused although their signs are legal.
    pub refused: &'static [&'static str],
    /// The placeholders that it has.
    pub words: &'static [Word],
}

/// Letters that a name may have; digits it may in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signs {
    /// `a-z` and `A-Z`.
    Letters,
    /// `a-z`; a word's letters become lower-case.
    LowerCase,
}

/// A name, or a pattern of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    parts: Vec<Part>,
    rules: &'static Rules,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Word(Word),
}

/// What may stand in a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// The observer's site.
    Site,
    /// The observer's name.
    Observer,
    /// The level of touch.
    Level,
    /// The event's action.
    Action,
    /// Its day, `2026.03.04`.
    Day,
    /// Its month, `2026.03`.
    Month,
}

/// Why a text is no name: what was found, and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotAName {
    /// What was found.
    pub found: String,
    /// What is allowed.
    pub allowed: String,
}

impl Pattern {
    /// Reads a name or a pattern.
    pub fn parse(text: &str, rules: &'static Rules) -> Result<Self, NotAName> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, from)) = rest.split_once('{') {
            let (name, after) = from
                .split_once('}')
                .ok_or_else(|| rules.not(text, "a `{` without `}`"))?;
            parts.push(Part::Text(before.to_owned()));
            parts.push(Part::Word(rules.word(name)?));
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        parts.retain(|part| !matches!(part, Part::Text(text) if text.is_empty()));
        Self { parts, rules }.legal(text)
    }

    fn legal(self, text: &str) -> Result<Self, NotAName> {
        let rules = self.rules;
        let longest: usize = self.parts.iter().map(Part::chars_max).sum();
        let wrong = self.texts().flat_map(str::chars).find(|sign| !rules.is_legal(*sign));
        let first = text.chars().next();
        match (wrong, self.fixed()) {
            (Some(sign), _) => Err(rules.not(text, &format!("`{}`", sign.escape_default()))),
            (None, Some(name)) if rules.refuses(name) => {
                Err(rules.not(text, &format!("a name that {} does not take", rules.whose)))
            }
            _ if first.is_some_and(|sign| rules.not_first.contains(&sign)) => Err(rules.not(
                text,
                &format!("`{}` as the first sign", text.get(..1).unwrap_or_default()),
            )),
            _ if longest > rules.chars_max => Err(rules.not(text, &format!("up to {longest} characters"))),
            _ => Ok(self),
        }
    }

    /// The name for an event.
    pub fn of(&self, event: &Event) -> Cow<'_, str> {
        match self.fixed() {
            Some(name) => Cow::Borrowed(name),
            None => Cow::Owned(self.parts.iter().map(|part| part.of(event, self.rules)).collect()),
        }
    }

    /// The name, if it is the same for every event.
    pub fn fixed(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(name)] => Some(name),
            _ => None,
        }
    }

    /// The pattern with `any` in the place of every placeholder.
    pub fn with(&self, any: &str) -> String {
        let parts = self.parts.iter().map(|part| match part {
            Part::Text(text) => text.as_str(),
            Part::Word(_) => any,
        });
        parts.collect()
    }

    /// Whether a name may be one of the pattern's: it begins and ends as that does, and is no shorter.
    pub fn may_be(&self, name: &str) -> bool {
        let text = |part: Option<&Part>| match part {
            Some(Part::Text(text)) => text.clone(),
            _ => String::new(),
        };
        let (first, last) = (text(self.parts.first()), text(self.parts.last()));
        let least: usize = self.parts.iter().map(Part::chars_min).sum();
        name.len() >= least && name.starts_with(&first) && name.ends_with(&last)
    }

    fn texts(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            Part::Word(_) => None,
        })
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text),
            Part::Word(word) => write!(f, "{{{}}}", word.name()),
        })
    }
}

impl Part {
    fn chars_max(&self) -> usize {
        match self {
            Self::Text(text) => text.chars().count(),
            Self::Word(word) => word.chars_max(),
        }
    }

    fn chars_min(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Word(_) => 1,
        }
    }

    fn of(&self, event: &Event, rules: &Rules) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Word(Word::Day) => date(event.at, "yyyy.mm.dd".len()),
            Self::Word(Word::Month) => date(event.at, "yyyy.mm".len()),
            Self::Word(word) => rules.legal_word(word.of(event)),
        }
    }
}

/// The first signs of an instant's date, with dots.
fn date(at: Timestamp, chars: usize) -> String {
    at.to_string()
        .chars()
        .take(chars)
        .map(|sign| if sign == '-' { '.' } else { sign })
        .collect()
}

impl Word {
    /// As it stands between the braces.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Site => "site",
            Self::Observer => "observer",
            Self::Level => "level",
            Self::Action => "action",
            Self::Day => "yyyy.mm.dd",
            Self::Month => "yyyy.mm",
        }
    }

    const fn chars_max(self) -> usize {
        match self {
            Self::Day | Self::Month => self.name().len(),
            _ => WORD_CHARS_MAX,
        }
    }

    fn of(self, event: &Event) -> &str {
        let field = match self {
            // The name of an action that only a newer version knows is not one of ours.
            Self::Action if event.action == Action::Other => return Action::Other.name(),
            Self::Action => return event.action.name(),
            Self::Observer => Field::ObserverName,
            Self::Level => Field::TouchLevel,
            Self::Site | Self::Day | Self::Month => Field::Site,
        };
        event.text(field).map_or(NONE, |text| text.as_str())
    }
}

impl Rules {
    fn word(&self, name: &str) -> Result<Word, NotAName> {
        let found = self.words.iter().copied().find(|word| word.name() == name);
        found.ok_or_else(|| NotAName {
            found: format!("`{{{}}}` in {} {}", shown(name), self.article(), self.what),
            allowed: one_of(self.words.iter().map(|word| word.name())),
        })
    }

    fn not(&self, text: &str, found: &str) -> NotAName {
        let letters = match self.signs {
            Signs::Letters => "a-z, A-Z",
            Signs::LowerCase => "a-z",
        };
        NotAName {
            found: format!("{found} in the {} `{}`", self.what, shown(text)),
            allowed: format!(
                "1 to {} of {letters}, 0-9, `.`, `_` and `-`, and placeholders such as `{{level}}`",
                self.chars_max
            ),
        }
    }

    fn article(&self) -> &'static str {
        if self.what.starts_with(['a', 'e', 'i', 'o']) {
            "an"
        } else {
            "a"
        }
    }

    fn refuses(&self, name: &str) -> bool {
        name.is_empty() || self.refused.contains(&name)
    }

    fn is_legal(&self, sign: char) -> bool {
        let letter = match self.signs {
            Signs::Letters => sign.is_ascii_alphabetic(),
            Signs::LowerCase => sign.is_ascii_lowercase(),
        };
        letter || sign.is_ascii_digit() || matches!(sign, '.' | '_' | '-')
    }

    /// A word for the place of a placeholder.
    fn legal_word(&self, text: &str) -> String {
        let legal = |sign: char| {
            let sign = match self.signs {
                Signs::Letters => sign,
                Signs::LowerCase => sign.to_ascii_lowercase(),
            };
            let fits = self.is_legal(sign) && !self.parting.contains(&sign);
            if fits { sign } else { self.instead }
        };
        let word: String = text.chars().take(WORD_CHARS_MAX).map(legal).collect();
        if word.is_empty() { NONE.to_owned() } else { word }
    }
}

#[cfg(test)]
#[path = "pattern_tests.rs"]
mod tests;
