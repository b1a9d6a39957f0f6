//! Code words by which a destination says why it does not take a message.
//!
//! In: a word of an answer. Out: what it means, and what an operator is to do. A word that is not in the table means
//! nothing here: whoever asks knows better what such a one can be.

use crate::courier::Verdict;
use crate::stream::{Fault, FaultKind};

/// What a code word is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// Who we say we are.
    Credentials,
    /// What the configuration names at the destination.
    Settings,
    /// How fast messages come.
    Pace,
    /// The destination itself.
    Server,
    /// This very message.
    Message,
}

/// A code word, what it is about, and what to do; empty where the word says it.
pub type Row = (&'static str, About, &'static str);

/// The words of a destination.
#[derive(Debug, Clone, Copy)]
pub struct Codes {
    /// The destination in an operator's words, such as `slack`.
    pub who: &'static str,
    /// What it does where a setting is wrong, such as `does not let us post`.
    pub where_unset: &'static str,
    /// Each word once.
    pub rows: &'static [Row],
}

impl Codes {
    /// What a word means; `None` if it is not in the table.
    pub fn verdict(&self, word: &str) -> Option<Verdict> {
        let (word, about, advice) = self.rows.iter().find(|(known, ..)| *known == word)?;
        let (kind, what) = match about {
            About::Credentials => (FaultKind::Auth, "refused the credentials"),
            About::Settings => (FaultKind::Config, self.where_unset),
            About::Pace => (FaultKind::Busy, "asked for a pause"),
            About::Server => (FaultKind::Server, "failed"),
            About::Message => return Some(self.refusal(word, true)),
        };
        let gap = if advice.is_empty() { "" } else { "; " };
        let message = format!("{} {what}: {word}{gap}{advice}", self.who);
        Some(Verdict::Fault(Fault { kind, message }))
    }

    /// A refusal of the message by this word; `known` if it can mean nothing else.
    pub fn refusal(&self, word: &str, known: bool) -> Verdict {
        let reason = format!("{} refused the message: {word}", self.who);
        Verdict::Refused { reason, known }
    }

    /// A word that stands in the table twice, if there is one.
    pub fn double(&self) -> Option<&'static str> {
        let words: Vec<_> = self.rows.iter().map(|(word, ..)| *word).collect();
        let is_double = |(at, word): &(usize, &&'static str)| words.iter().take(*at).any(|before| before == *word);
        words.iter().enumerate().find(is_double).map(|(_, word)| *word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODES: Codes = Codes {
        who: "the hook",
        where_unset: "does not run",
        rows: &[
            ("bad_key", About::Credentials, "copy it again"),
            ("gone", About::Settings, ""),
            ("slow_down", About::Pace, ""),
            ("oops", About::Server, ""),
            ("too_long", About::Message, ""),
        ],
    };

    #[test]
    fn each_word_means_a_fault_with_advice_or_a_refusal() {
        for (word, kind, message) in [
            (
                "bad_key",
                FaultKind::Auth,
                "the hook refused the credentials: bad_key; copy it again",
            ),
            ("gone", FaultKind::Config, "the hook does not run: gone"),
            ("slow_down", FaultKind::Busy, "the hook asked for a pause: slow_down"),
            ("oops", FaultKind::Server, "the hook failed: oops"),
        ] {
            let message = message.to_owned();
            assert_eq!(CODES.verdict(word), Some(Verdict::Fault(Fault { kind, message })));
        }
        assert_eq!(CODES.verdict("too_long"), Some(CODES.refusal("too_long", true)));
        assert_eq!(CODES.verdict("new"), None);
    }

    #[test]
    fn a_word_that_stands_there_twice_is_found() {
        assert_eq!(CODES.double(), None);
        let rows = &[("a", About::Pace, ""), ("b", About::Pace, ""), ("a", About::Server, "")];
        assert_eq!(Codes { rows, ..CODES }.double(), Some("a"));
    }
}
