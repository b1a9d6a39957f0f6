//! What a case is told of an event: the values of the profile's templates.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use smol_str::SmolStr;
use trapline_notice::{Notice, Voice, Weight};
use trapline_schemas::text::clean_within;
use trapline_schemas::{Action, Event, Field, Value as Stored};
use uuid::Uuid;

use crate::markup::Markup;

/// The names of the values.
pub(crate) const NAMES: &[&str] = &[
    "ref",
    "incident",
    "event",
    "title",
    "description",
    "comment",
    "resolution",
    "level",
    "at",
    "tags",
    "observables",
    "users",
    "source",
];

/// What marks the event of `trapline send-test`.
const TEST: &str = "send-test";
/// Most observables of one event, and most users.
const LISTED_MAX: usize = 32;
/// Longest value of an observable, in characters.
const VALUE_CHARS_MAX: usize = 256;
/// Longest tag, in characters.
const TAG_CHARS_MAX: usize = 64;

/// How far a source has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Contact,
    Intent,
    Proof,
}

impl Level {
    const WORDS: [(&'static str, Self); 3] = [
        ("contact", Self::Contact),
        ("intent", Self::Intent),
        ("proof", Self::Proof),
    ];

    fn of(weight: Weight) -> Self {
        match weight {
            Weight::News | Weight::Contact => Self::Contact,
            Weight::Intent => Self::Intent,
            Weight::Proof => Self::Proof,
        }
    }

    pub(crate) fn word(self) -> &'static str {
        let found = Self::WORDS.iter().find(|(_, level)| *level == self);
        found.map_or("contact", |(word, _)| word)
    }

    pub(crate) fn parse(word: &str) -> Option<Self> {
        Self::WORDS
            .iter()
            .find(|(known, _)| *known == word)
            .map(|(_, level)| *level)
    }
}

/// In how much detail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As it is.
    Full,
    /// Our own words and ids: nothing of it can be at fault.
    Short,
}

/// An event as it is told.
pub(crate) struct Told<'e> {
    event: &'e Event,
    notice: Notice,
    markup: Markup,
    /// What the case is of: the incident, else the event itself.
    pub(crate) key: Uuid,
    pub(crate) level: Level,
}

impl<'e> Told<'e> {
    pub(crate) fn new(voice: &Voice, event: &'e Event, markup: Markup) -> Self {
        let notice = voice.compose(event);
        let told = Self {
            key: notice.thread().id(),
            level: Level::of(notice.weight),
            event,
            notice,
            markup,
        };
        match told.is_test() {
            // Each test opens a case of its own.
            true => Self { key: event.id, ..told },
            false => told,
        }
    }

    /// Whether it says that the incident is over.
    pub(crate) fn is_end(&self) -> bool {
        self.event.action == Action::IncidentClosed
    }

    /// Whether somebody tries whether cases are opened.
    pub(crate) fn is_test(&self) -> bool {
        self.event.text(Field::BenignName).is_some_and(|name| name == TEST)
    }

    pub(crate) fn id(&self) -> Uuid {
        self.event.id
    }

    /// The values. In: `level`, the gravest that the case knows; `generation`, which case of the incident it is, from 1.
    pub(crate) fn values(&self, form: Form, level: Level, generation: u32) -> Value {
        let reference = match generation {
            0 | 1 => self.key.to_string(),
            further => format!("{}-{further}", self.key),
        };
        let (notice, is_full) = (&self.notice, form == Form::Full);
        json!({
            "ref": reference,
            "incident": notice.incident.map(|incident| incident.to_string()),
            "event": self.event.id.to_string(),
            "title": notice.subject,
            "description": self.text(form, &[&notice.opening], &[&notice.closing]),
            "comment": self.text(form, &[&notice.subject], &[]),
            "resolution": self.text(form, &[self.resolution()], &[]),
            "level": level.word(),
            "at": self.event.at.millis(),
            "tags": self.tags(),
            "observables": if is_full { self.observables() } else { Vec::new() },
            "users": if is_full { self.users() } else { Vec::new() },
            "source": self.event.ip(Field::SourceIp).map(|ip| ip.to_string()),
        })
    }

    /// Why a case is closed, in our words.
    fn resolution(&self) -> &'static str {
        match self.is_test() {
            true => "This was a test; no decoy was touched.",
            false => "The incident is over: its source has been quiet, and nothing is done about it any more.",
        }
    }

    fn text(&self, form: Form, before: &[&str], after: &[&str]) -> Value {
        let (own, none): (&[&str], &[&str]) = (&[&self.notice.subject], &[]);
        match form {
            Form::Full => self.markup.render(before, &self.notice.facts, after),
            Form::Short => {
                let ids = self
                    .notice
                    .facts
                    .iter()
                    .filter(|fact| matches!(fact.label, "event" | "incident"));
                self.markup.render(own, &ids.cloned().collect::<Vec<_>>(), none)
            }
        }
    }

    /// Names of ours alone; another sensor's are not believed to be any.
    fn tags(&self) -> Vec<String> {
        let mut tags = vec!["trapline".to_owned()];
        for (kind, field) in [
            ("decoy", Field::DecoyId),
            ("service", Field::DecoyService),
            ("zone", Field::SourceZone),
            ("observer", Field::ObserverName),
            ("site", Field::Site),
        ] {
            let name = self
                .event
                .text(field)
                .map(|text| plain(text))
                .filter(|name| !name.is_empty());
            tags.extend(name.map(|name| format!("{kind}:{name}")));
        }
        tags
    }

    fn observables(&self) -> Vec<Value> {
        let one = |kind: &str, what: &str, value: String| json!({ "kind": kind, "what": what, "value": value });
        let ip = self
            .event
            .ip(Field::SourceIp)
            .map(|ip| one("ip", "source of the touches", ip.to_string()));
        let text = |field| {
            self.event
                .text(field)
                .map(|text| value(text))
                .filter(|text| !text.is_empty())
        };
        let hash = text(Field::FileHashSha256).map(|hash| one("hash", "file that was offered", hash));
        let agent = text(Field::UserAgent).map(|agent| one("agent", "user agent as sent", agent));
        let users = self
            .users()
            .into_iter()
            .map(|user| one("user", "user name that was tried", user));
        ip.into_iter()
            .chain(hash)
            .chain(agent)
            .chain(users)
            .take(LISTED_MAX)
            .collect()
    }

    /// The user names that were tried, each once.
    fn users(&self) -> Vec<String> {
        let one = self.event.text(Field::UserName).cloned();
        let listed = match self.event.get(Field::DigestUsers) {
            Some(Stored::Texts(users)) => users.clone(),
            _ => Default::default(),
        };
        let all: BTreeSet<String> = one
            .iter()
            .chain(listed.iter())
            .map(|user: &SmolStr| value(user))
            .collect();
        all.into_iter()
            .filter(|user| !user.is_empty())
            .take(LISTED_MAX)
            .collect()
    }
}

/// A value as one clean line.
fn value(text: &str) -> String {
    clean_within(text.trim().as_bytes(), VALUE_CHARS_MAX).to_string()
}

/// Letters, digits and a few signs.
fn plain(text: &str) -> String {
    let kept = |ch: char| ch.is_alphanumeric() || "-_.".contains(ch);
    let plain = text.chars().map(|ch| if kept(ch) { ch } else { '_' });
    plain.take(TAG_CHARS_MAX).collect()
}
