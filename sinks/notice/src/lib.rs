//! What a person is told of an event: facts, and words around them in the tone of the house.
//!
//! In: an event. Out: a [`Notice`], which knows nothing of mail or chat: each sink lays it out and escapes it in its own
//! way.
//!
//! Invariants: 1. the words are ours: what a peer sent stands in facts alone, and each fact says whether it is of that
//! kind; 2. no text of a notice holds control, bidi or invisible characters, and each is bounded; 3. the words of an
//! incident are the same in every notice about it, on every host.

use trapline_schemas::text::clean_within;
use trapline_schemas::{Event, Field};
use trapline_sink::config::NoticeSettings;
use uuid::Uuid;

/// What a person is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The event it is about.
    pub event: Uuid,
    /// What it belongs to, which makes a thread; `None` for news about trapline itself.
    pub incident: Option<Uuid>,
    /// How grave it is.
    pub weight: Weight,
    /// One line, at most 150 characters, ours.
    pub subject: String,
    /// A sentence or two before the facts, ours.
    pub opening: String,
    /// Who, what, when, how often, what was done.
    pub facts: Vec<Fact>,
    /// A sentence or two after them, ours: how to be let in again.
    pub closing: String,
}

/// How grave a notice is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Trapline speaks of itself.
    News,
    /// Somebody knocked.
    Contact,
    /// Somebody meant it.
    Intent,
    /// Somebody left proof.
    Proof,
}

/// One fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// What it is, ours.
    pub label: &'static str,
    /// At most 300 characters, one line.
    pub value: String,
    /// Whether a peer chose the value, or a part of it.
    pub foreign: bool,
}

/// How notices are worded.
#[derive(Debug, Clone)]
pub struct Voice {
    contact: String,
}

/// Why there is no voice: a word or a file of the user's is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VoiceError {
    /// Neither beside the configuration nor in the program.
    #[error("there is no tone `{tone}`; there are: {known}")]
    Unknown {
        /// The word that was asked for.
        tone: String,
        /// Those that there are.
        known: String,
    },
}

/// The tones that the program carries, the default one first.
pub const TONES: [&str; 4] = ["passive-aggressive", "plain", "disappointed", "formal"];

impl Voice {
    /// The voice of a tone; an empty word asks for that of the settings, and if they name none for the default one.
    pub fn new(tone: &str, settings: &NoticeSettings) -> Result<Self, VoiceError> {
        let asked = [tone, &settings.tone, TONES[0]]
            .into_iter()
            .find(|word| !word.is_empty());
        let tone = asked.unwrap_or(TONES[0]);
        if !TONES.contains(&tone) {
            return Err(VoiceError::Unknown {
                tone: tone.to_owned(),
                known: TONES.join(", "),
            });
        }
        Ok(Self {
            contact: settings.contact.clone(),
        })
    }

    /// Words a notice of the event.
    pub fn compose(&self, event: &Event) -> Notice {
        let who = event
            .ip(Field::SourceIp)
            .map_or("trapline".to_owned(), |ip| ip.to_string());
        let level = event.text(Field::TouchLevel).map_or("", |level| level);
        Notice {
            event: event.id,
            incident: event.uuid(Field::IncidentId),
            weight: match level {
                "proof" => Weight::Proof,
                "intent" => Weight::Intent,
                "contact" => Weight::Contact,
                _ => Weight::News,
            },
            subject: format!("{who}: {}", event.action.name()),
            opening: format!("{who}: {}.", event.action.name()),
            facts: facts(event),
            closing: format!("Ask {} about it.", clean_within(self.contact.as_bytes(), 100)),
        }
    }
}

fn facts(event: &Event) -> Vec<Fact> {
    let fact = |label, value: String, foreign| Fact { label, value, foreign };
    let mut facts = vec![
        fact("event", event.id.to_string(), false),
        fact("when", event.at.to_string(), false),
    ];
    facts.extend(
        event
            .ip(Field::SourceIp)
            .map(|ip| fact("source", ip.to_string(), false)),
    );
    let user = event.text(Field::UserName);
    facts.extend(user.map(|user| fact("user tried", clean_within(user.as_bytes(), 300).into(), true)));
    facts
}
