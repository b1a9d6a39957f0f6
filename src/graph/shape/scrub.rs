//! Takes hidden values out of all else that an event holds: names in commands, addresses in reasons, users in payloads.
//!
//! Letters match in either case. A value of less than four bytes is hidden only where it stands as a word of its own:
//! an `a` must not take every `a` out of a text. In captured bytes a value is looked for as it is and as UTF-16.

use smol_str::SmolStr;
use trapline_schemas::{Event, Field, Value};

/// Values shorter than this, in bytes, are hidden only as whole words.
const WORD_BYTES: usize = 4;

/// Fields whose words are those of this program or its configuration: a user called `ftp` must not take the service
/// out of the event.
const OURS: &[Field] = &[
    Field::BenignName,
    Field::CredentialKind,
    Field::DecoyId,
    Field::DecoyPersonality,
    Field::DecoyService,
    Field::DigestActions,
    Field::FindingStatus,
    Field::NetworkTransport,
    Field::ObserverHostname,
    Field::ObserverName,
    Field::ObserverVersion,
    Field::ResponseKind,
    Field::ResponseMode,
    Field::ResponseScope,
    Field::ResponseState,
    Field::ResponseVerbs,
    Field::ScanDecoys,
    Field::ScanKind,
    Field::SinkName,
    Field::SinkType,
    Field::Site,
    Field::SourceZone,
    Field::TouchLevel,
    Field::TransformName,
];

/// Values to be hidden, and what stands in their place in texts.
#[derive(Debug, Default)]
pub(super) struct Scrub {
    values: Vec<(String, String)>,
}

impl Scrub {
    /// Has a value hidden.
    pub(super) fn look_for(&mut self, value: &str, stand_in: &str) {
        if !value.is_empty() {
            self.values.push((value.to_owned(), stand_in.to_owned()));
        }
    }

    /// Hides all values in the texts and bytes of an event.
    pub(super) fn clean(mut self, event: &mut Event) {
        // What holds another is hidden as a whole.
        self.values.sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
        let found: Vec<_> = event
            .facts()
            .iter()
            .filter(|(field, _)| !OURS.contains(field))
            .filter_map(|(field, value)| Some((*field, self.cleaned(value)?)))
            .collect();
        for (field, value) in found {
            let is_payload = field == Field::PayloadBase64;
            event.set(field, value);
            if is_payload {
                // A short line could be guessed from the hash of what it was.
                event.remove(Field::PayloadSha256);
                event.set(Field::PayloadMasked, true);
            }
        }
    }

    /// A value without what is to be hidden; `None` if there is nothing of it.
    fn cleaned(&self, value: &Value) -> Option<Value> {
        match value {
            Value::Text(text) => self.text(text).map(Value::Text),
            Value::Texts(texts) => {
                let cleaned: Vec<_> = texts.iter().map(|text| self.text(text)).collect();
                let changed = cleaned.iter().any(Option::is_some);
                let each = cleaned.into_iter().zip(texts);
                changed.then(|| Value::Texts(each.map(|(new, old)| new.unwrap_or_else(|| old.clone())).collect()))
            }
            Value::Bytes(bytes) => self.bytes(bytes).map(Value::from),
            _ => None,
        }
    }

    fn text(&self, text: &str) -> Option<SmolStr> {
        let mut cleaned: Option<String> = None;
        for (value, stand_in) in &self.values {
            let now = cleaned.as_deref().unwrap_or(text);
            if now == stand_in {
                continue;
            }
            let places = places(now.as_bytes(), value.as_bytes());
            if places.is_empty() {
                continue;
            }
            let (mut next, mut from) = (String::with_capacity(now.len()), 0);
            for at in places {
                // A match begins and ends between characters: ASCII alone matches in another case.
                next.push_str(now.get(from..at).unwrap_or_default());
                next.push_str(stand_in);
                from = at + value.len();
            }
            next.push_str(now.get(from..).unwrap_or_default());
            cleaned = Some(next);
        }
        cleaned.map(SmolStr::from)
    }

    fn bytes(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut cleaned: Option<Vec<u8>> = None;
        for (value, _) in &self.values {
            let wide: Vec<u8> = value.encode_utf16().flat_map(u16::to_le_bytes).collect();
            for needle in [value.as_bytes(), &wide] {
                for at in places(cleaned.as_deref().unwrap_or(bytes), needle) {
                    let bytes = cleaned.get_or_insert_with(|| bytes.to_vec());
                    if let Some(found) = bytes.get_mut(at..at + needle.len()) {
                        found.fill(b'*');
                    }
                }
            }
        }
        cleaned
    }
}

/// Where `needle` stands in `text`, without overlaps; a short one only as a word.
fn places(text: &[u8], needle: &[u8]) -> Vec<usize> {
    let mut places = Vec::new();
    let mut from = 0;
    while let Some(rest) = text.get(from..)
        && let Some(at) = rest
            .windows(needle.len())
            .position(|part| part.eq_ignore_ascii_case(needle))
    {
        let at = from + at;
        if needle.len() >= WORD_BYTES || is_word(text, at, needle.len()) {
            places.push(at);
            from = at + needle.len();
        } else {
            from = at + 1;
        }
    }
    places
}

/// Whether what stands at `at` is no part of a longer word.
fn is_word(text: &[u8], at: usize, length: usize) -> bool {
    let part = |at: Option<usize>| at.and_then(|at| text.get(at)).is_some_and(u8::is_ascii_alphanumeric);
    !part(at.checked_sub(1)) && !part(Some(at + length))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scrub(values: &[&str]) -> Scrub {
        let mut scrub = Scrub::default();
        values.iter().for_each(|value| scrub.look_for(value, "***"));
        scrub
    }

    #[test]
    fn a_long_value_is_hidden_everywhere_and_a_short_one_as_a_word() {
        assert_eq!(scrub(&["root"]).text("USER Root, chroot").unwrap(), "USER ***, ch***");
        assert_eq!(
            scrub(&["bo"]).text("bob met bo and Bo.").unwrap(),
            "bob met *** and ***."
        );
        assert_eq!(scrub(&["root"]).text("nobody"), None);
        assert_eq!(scrub(&["ünü"]).text("an ünü b").unwrap(), "an *** b");
    }

    #[test]
    fn bytes_keep_their_length() {
        let mut wide = b"\x01".to_vec();
        wide.extend("admin".encode_utf16().flat_map(u16::to_le_bytes));
        assert_eq!(
            scrub(&["admin"]).bytes(&wide).unwrap(),
            [&b"\x01"[..], &[b'*'; 10]].concat()
        );
        assert_eq!(scrub(&["root"]).bytes(b"USER root\r\n").unwrap(), b"USER ****\r\n");
    }

    proptest! {
        #[test]
        fn any_bytes_lose_the_value_and_nothing_else(before in prop::collection::vec(any::<u8>(), 0..40), value in "[a-z]{4,9}", after in prop::collection::vec(any::<u8>(), 0..40)) {
            let bytes = [&before[..], value.as_bytes(), &after].concat();
            let cleaned = scrub(&[&value]).bytes(&bytes).unwrap();
            prop_assert_eq!(cleaned.len(), bytes.len());
            prop_assert!(places(&cleaned, value.as_bytes()).is_empty());
        }
    }
}
