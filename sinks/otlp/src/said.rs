//! What a receiver says of itself, for people.

use reqwest::header::HeaderMap;
use trapline_schemas::text::clean_within;

use crate::headers::gives_away;

/// Most characters that are shown.
const SHOWN_CHARS: usize = 200;

/// The words as ` (…)`: one clean line; nothing where there are none, and none of those that hold a header's value.
pub(crate) fn said(words: &str, secrets: &HeaderMap) -> String {
    let words = words.trim();
    if words.is_empty() || gives_away(secrets, words) {
        return String::new();
    }
    format!(" ({})", clean_within(words.as_bytes(), SHOWN_CHARS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::read;

    #[test]
    fn words_are_clean_bounded_and_hold_no_secret() {
        let secrets = read(&"api-key=s3cr3t".to_owned().into()).unwrap();
        assert_eq!(said(" no such tenant ", &secrets), " (no such tenant)");
        assert_eq!(said("", &secrets), "");
        assert_eq!(said("key s3cr3t is unknown", &secrets), "");
        let shown = said(&format!("\u{1b}[31m\r\n{}", "x".repeat(999)), &secrets);
        assert!(
            !shown.chars().any(char::is_control) && shown.chars().count() < 230,
            "{shown}"
        );
    }
}
