//! The topic of an event: a name, or a pattern with words of our own in it.
//!
//! In: the text of `topic`; events. Out: legal topic names: 1 to 249 of `a-z A-Z 0-9 . _ -`, not `.` or `..`.
//! Invariants: 1 the literal parts are legal as they stand; 2 what stands in for a placeholder is made legal and bounded,
//! so that the whole is, whatever it was; 3 no placeholder names anything that a peer can choose.

use std::borrow::Cow;

use trapline_schemas::{Action, Event, Field};
use trapline_sink::config::{one_of, shown};

/// Longest topic name of Kafka.
const NAME_CHARS_MAX: usize = 249;
/// Longest stand-in for a placeholder.
const WORD_CHARS_MAX: usize = 48;
/// What stands in for what an event does not have.
const NONE: &str = "none";

/// A name, or a pattern of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Topic {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Word(Word),
}

/// What may stand in a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Site,
    Observer,
    Level,
    Action,
}

const WORDS: &[(&str, Word)] = &[
    ("site", Word::Site),
    ("observer", Word::Observer),
    ("level", Word::Level),
    ("action", Word::Action),
];

/// Why a text is no topic: what was found, and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotATopic {
    pub(crate) found: String,
    pub(crate) allowed: String,
}

impl Topic {
    /// Reads a name or a pattern.
    pub(crate) fn parse(text: &str) -> Result<Self, NotATopic> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, from)) = rest.split_once('{') {
            let (name, after) = from.split_once('}').ok_or_else(|| not(text, "a `{` without `}`"))?;
            parts.push(Part::Text(before.to_owned()));
            parts.push(Part::Word(word(name)?));
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        parts.retain(|part| !matches!(part, Part::Text(text) if text.is_empty()));
        Self { parts }.legal(text)
    }

    fn legal(self, text: &str) -> Result<Self, NotATopic> {
        let longest: usize = self.parts.iter().map(Part::chars_max).sum();
        let wrong = self.texts().flat_map(str::chars).find(|sign| !is_legal(*sign));
        match (wrong, self.fixed()) {
            (Some(sign), _) => Err(not(text, &format!("`{}`", sign.escape_default()))),
            (None, Some("" | "." | "..")) => Err(not(text, "a name that Kafka does not take")),
            _ if longest > NAME_CHARS_MAX => Err(not(text, &format!("up to {longest} characters"))),
            _ => Ok(self),
        }
    }

    /// The topic of an event.
    pub(crate) fn of(&self, event: &Event) -> Cow<'_, str> {
        match self.fixed() {
            Some(name) => Cow::Borrowed(name),
            None => Cow::Owned(self.parts.iter().map(|part| part.of(event)).collect()),
        }
    }

    /// The name, if it is the same for every event.
    pub(crate) fn fixed(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(name)] => Some(name),
            _ => None,
        }
    }

    /// Whether a topic may be one of the pattern's: it begins and ends as that does, and is no shorter.
    pub(crate) fn may_be(&self, name: &str) -> bool {
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

impl std::fmt::Display for Topic {
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
            Self::Word(_) => WORD_CHARS_MAX,
        }
    }

    fn chars_min(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Word(_) => 1,
        }
    }

    fn of(&self, event: &Event) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Word(word) => legal_word(word.of(event)),
        }
    }
}

impl Word {
    fn name(self) -> &'static str {
        let row = WORDS.iter().find(|(_, word)| *word == self);
        row.map_or("", |(name, _)| name)
    }

    fn of(self, event: &Event) -> &str {
        let field = match self {
            // The name of an action that only a newer version knows is not one of ours.
            Self::Action if event.action == Action::Other => return Action::Other.name(),
            Self::Action => return event.action.name(),
            Self::Site => Field::Site,
            Self::Observer => Field::ObserverName,
            Self::Level => Field::TouchLevel,
        };
        event.text(field).map_or(NONE, |text| text.as_str())
    }
}

fn word(name: &str) -> Result<Word, NotATopic> {
    let row = WORDS.iter().find(|(known, _)| *known == name);
    row.map(|(_, word)| *word).ok_or_else(|| NotATopic {
        found: format!("`{{{}}}` in a topic", shown(name)),
        allowed: one_of(WORDS.iter().map(|(name, _)| *name)),
    })
}

fn not(text: &str, found: &str) -> NotATopic {
    NotATopic {
        found: format!("{found} in the topic `{}`", shown(text)),
        allowed: format!(
            "1 to {NAME_CHARS_MAX} of a-z, A-Z, 0-9, `.`, `_` and `-`, and placeholders such as `{{level}}`"
        ),
    }
}

const fn is_legal(sign: char) -> bool {
    sign.is_ascii_alphanumeric() || matches!(sign, '.' | '_' | '-')
}

/// A word for the place of a placeholder: a dot would be one of the pattern's own.
fn legal_word(text: &str) -> String {
    let legal = |sign: char| if is_legal(sign) && sign != '.' { sign } else { '-' };
    let word: String = text.chars().take(WORD_CHARS_MAX).map(legal).collect();
    if word.is_empty() { NONE.to_owned() } else { word }
}

#[cfg(test)]
mod tests {
    use trapline_schemas::Timestamp;
    use trapline_sink::conformance::events;

    use super::*;

    fn event() -> Event {
        let mut event = Event::clone(&events(1, false)[0].event);
        event.set(Field::Site, "lyon é/..");
        event
    }

    #[test]
    fn a_pattern_takes_words_of_ours_and_makes_them_legal() {
        let of = |text: &str| Topic::parse(text).unwrap().of(&event()).into_owned();
        assert_eq!(of("honeyport.events"), "honeyport.events");
        assert_eq!(of("hp.{level}.{action}"), "hp.proof.decoy-credential");
        assert_eq!(of("{site}_{observer}"), "lyon-----_lure-test");
        let nothing = Event::new(event().id, Timestamp::now(), Action::Connect);
        assert_eq!(Topic::parse("{site}").unwrap().of(&nothing), "none");
    }

    #[test]
    fn an_action_of_a_newer_version_is_none_of_our_words() {
        let mut event = event();
        event.set_action_name("../../etc");
        assert_eq!(Topic::parse("{action}").unwrap().of(&event), "other");
    }

    #[test]
    fn what_kafka_does_not_take_is_refused_with_the_reason() {
        for (text, found) in [
            ("", "a name that Kafka does not take in the topic ``"),
            ("..", "a name that Kafka does not take in the topic `..`"),
            ("a b", "` ` in the topic `a b`"),
            ("é", "`\\u{e9}` in the topic `é`"),
            ("a}", "`}` in the topic `a}`"),
            ("{level", "a `{` without `}` in the topic `{level`"),
            ("{user}", "`{user}` in a topic"),
            ("{}", "`{}` in a topic"),
        ] {
            assert_eq!(Topic::parse(text).unwrap_err().found, found, "{text}");
        }
        let allowed = Topic::parse("{user}").unwrap_err().allowed;
        assert!(allowed.contains("level") && allowed.contains("site"), "{allowed}");
    }

    #[test]
    fn the_longest_that_can_come_of_a_pattern_is_within_the_bound() {
        let fits = "{level}".repeat(5);
        assert!(Topic::parse(&fits).is_ok() && Topic::parse(&format!("{fits}0123456789")).is_err());
        let mut event = event();
        event.set(Field::Site, "x".repeat(200));
        let topic = Topic::parse(&"{site}".repeat(5)).unwrap();
        assert!(topic.of(&event).len() <= NAME_CHARS_MAX);
    }

    #[test]
    fn topics_of_a_pattern_are_known_by_its_ends() {
        let topic = Topic::parse("hp.{level}.{site}.v1").unwrap();
        assert!(topic.may_be("hp.proof.lyon.v1") && !topic.may_be("hp..v1") && !topic.may_be("other"));
        assert_eq!(topic.to_string(), "hp.{level}.{site}.v1");
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_as_a_site_make_a_legal_name(site in ".{0,80}") {
            let mut event = event();
            event.set(Field::Site, trapline_schemas::text::clean(site.as_bytes()));
            let name = Topic::parse("{site}").unwrap().of(&event).into_owned();
            proptest::prop_assert!(!name.is_empty() && name.chars().all(is_legal) && !name.contains('.'));
        }
    }
}
