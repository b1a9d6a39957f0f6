//! The last words of a destination, kept for whoever asks what came back ([`crate::StreamSink::word`]).

use std::sync::{Mutex, PoisonError};

use trapline_schemas::text::clean_within;

/// Most that is kept, in characters.
pub const SAID_CHARS_MAX: usize = 200;

/// The last words; none at first.
#[derive(Debug, Default)]
pub struct Said(Mutex<Option<String>>);

impl Said {
    /// Keeps these words in the place of those before: clean, bounded, and with stars for each of `secrets`, which a
    /// destination may repeat.
    pub fn keep(&self, words: &str, secrets: &[&str]) {
        let clean = clean_within(hidden(words, secrets).trim().as_bytes(), SAID_CHARS_MAX).into();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(clean);
    }

    /// The words that were kept last.
    pub fn last(&self) -> Option<String> {
        let said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.clone().filter(|said| !said.is_empty())
    }
}

/// The words with stars for each of `secrets`.
pub(crate) fn hidden(words: &str, secrets: &[&str]) -> String {
    let secrets = secrets.iter().filter(|secret| !secret.is_empty());
    secrets.fold(words.to_owned(), |words, secret| words.replace(secret, "***"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_are_kept_clean_bounded_and_without_secrets() {
        let said = Said::default();
        assert_eq!(said.last(), None);
        said.keep(
            &format!("token hunter2 is good\x1b[2J{}", "x".repeat(1000)),
            &["hunter2", ""],
        );
        let last = said.last().unwrap();
        assert!(
            last.starts_with("token *** is good") && !last.contains('\x1b'),
            "{last}"
        );
        assert!(last.chars().count() <= SAID_CHARS_MAX, "{last}");
        said.keep("ok\n", &[]);
        assert_eq!(said.last().as_deref(), Some("ok"));
        said.keep(" ", &[]);
        assert_eq!(said.last(), None);
    }
}
