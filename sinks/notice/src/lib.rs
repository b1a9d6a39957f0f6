//! What a person is told of an event: facts, and words around them in the tone of the house.
//!
//! In: an event. Out: a [`Notice`], which knows nothing of mail or chat: each sink lays it out and escapes it in its own
//! way. A [`Voice`] is data: `config/notices/TONE.toml`.
//!
//! Invariants: 1. the words are ours: what a peer sent stands in facts alone, and each fact says whether it is of that
//! kind; 2. no text of a notice holds control, bidi or invisible characters, and each is bounded; 3. the words of an
//! incident are the same in every notice about it, on every host.

mod book;
mod facts;
mod kind;
mod safe;
mod scope;
mod shelf;
#[cfg(test)]
mod tests;
mod voice;
mod words;

use std::borrow::Cow;
use std::fmt;

use uuid::Uuid;

pub use book::{Mistake, SUBJECT_CHARS_MAX, WORDS_CHARS_MAX};
pub use facts::FACT_CHARS_MAX;
pub use safe::defang;
pub use shelf::{DEFAULT_TONE, VoiceError, tones};
pub use voice::Voice;

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

impl Fact {
    /// The value as it may be shown where a client makes links of what looks like one: a foreign value
    /// [defanged](defang), our own as it is. Escaping for the client's markup comes on top.
    pub fn shown(&self) -> Cow<'_, str> {
        match self.foreign {
            true => Cow::Owned(defang(&self.value)),
            false => Cow::Borrowed(&self.value),
        }
    }
}

/// What notices of one matter share: a thread of mails, of messages, a key by which doubles are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Thread(Uuid);

impl Thread {
    /// Its id: of an incident, or of the only event of the thread.
    pub fn id(self) -> Uuid {
        self.0
    }
}

/// The id with hyphens: letters and digits, fit for a message id and for a key of 36 characters.
impl fmt::Display for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl Notice {
    /// The thread that the notice belongs to: that of its incident; without one, its own.
    pub fn thread(&self) -> Thread {
        Thread(self.incident.unwrap_or(self.event))
    }
}
