//! What a sink remembers over restarts: a few small rows.
//!
//! A sink says after an answer what it wants kept ([`crate::StreamSink::memos`]); whoever delivers keeps it in one step
//! with how far the sink has come, and gives it back before the first batch ([`crate::StreamSink::recall`]). A kill may
//! fall between what a destination did and that step, so a memory may be one answer short: a sink that must not act
//! twice asks its destination where it remembers nothing.
//!
//! Invariants: 1. a key has at most [`KEY_BYTES_MAX`] bytes, a value [`VALUE_BYTES_MAX`]; 2. a sink has at most
//! [`MEMOS_MAX`] rows, of which the longest unused goes for a new one; 3. a row that was not written again for
//! [`KEPT`] is gone.

use std::time::Duration;

/// Longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 128;
/// Longest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 1024;
/// Most rows of one sink.
pub const MEMOS_MAX: usize = 100_000;
/// How long a row stays that is not written again.
pub const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// A row to keep or to forget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memo {
    key: String,
    value: Option<Vec<u8>>,
}

impl Memo {
    /// A row with a value, instead of what was kept under its key; `None` if one of the two is too long.
    pub fn keep(key: &str, value: &[u8]) -> Option<Self> {
        let fits = key.len() <= KEY_BYTES_MAX && value.len() <= VALUE_BYTES_MAX;
        fits.then(|| Self {
            key: key.to_owned(),
            value: Some(value.to_owned()),
        })
    }

    /// Nothing is to be kept under a key.
    pub fn forget(key: &str) -> Self {
        Self {
            key: key.to_owned(),
            value: None,
        }
    }

    /// Under which it is kept.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What is kept; `None`: nothing any more.
    pub fn value(&self) -> Option<&[u8]> {
        self.value.as_deref()
    }

    /// Key and value.
    pub fn into_parts(self) -> (String, Option<Vec<u8>>) {
        (self.key, self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_no_memo() {
        let (key, value) = ("k".repeat(KEY_BYTES_MAX), vec![0; VALUE_BYTES_MAX]);
        assert!(Memo::keep(&key, &value).is_some());
        assert!(Memo::keep(&format!("{key}k"), &value).is_none());
        assert!(Memo::keep(&key, &[value, vec![0]].concat()).is_none());
        assert_eq!(Memo::forget("a").into_parts(), ("a".to_owned(), None));
    }
}
