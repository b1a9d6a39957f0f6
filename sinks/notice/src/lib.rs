//! What a person is told of an event: facts, and words around them in the tone of the house.
//!
//! In: an event. Out: a [`Notice`], which knows nothing of mail or chat: each sink lays it out and escapes it in its own
//! way.
//!
//! Invariants: 1. the words are ours: what a peer sent stands in facts alone, and each fact says whether it is of that
//! kind; 2. no text of a notice holds control, bidi or invisible characters, and each is bounded; 3. the words of an
//! incident are the same in every notice about it, on every host.

use trapline_schemas::Event;
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
pub struct Voice {}

impl Voice {
    /// Words a notice of the event.
    pub fn compose(&self, _event: &Event) -> Notice {
        todo!()
    }
}
