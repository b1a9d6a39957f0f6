//! Finds secrets in captured bytes and hides them.
//!
//! In: bytes and the secrets to look for; or bytes alone, in which secrets are known by their names ([`lines`]). Out:
//! sorted, disjoint ranges; bytes or text with `*` in their place.
//!
//! Invariants: 1. every occurrence counts, overlapping ones too, and so does the beginning of a secret that the end
//! of the bytes cuts off. 2. Time is linear in bytes and secrets, whatever they are (Knuth, Morris, Pratt).

pub(crate) mod lines;
pub(crate) mod names;

use std::ops::Range;

use smol_str::SmolStr;

/// Shorter secrets occur by chance, and are hidden only where they were typed.
pub(crate) const SECRET_BYTES_MIN: usize = 4;

/// Whether bytes that nobody has taken apart may hold a secret: they name one, or have a word of those that do.
pub(crate) fn may_hold_one(bytes: &[u8]) -> bool {
    const WORDS: [&[u8]; 8] = [
        b"<methodcall",
        b"pass",
        b"pwd",
        b"auth",
        b"login ",
        b"secret",
        b"token",
        // An answer to a challenge of NTLM.
        b"ntlmssp\0\x03",
    ];
    let lower = names::decoded(bytes).to_ascii_lowercase();
    WORDS.iter().any(|word| memchr::memmem::find(&lower, word).is_some()) || lines::name_one(bytes)
}

/// Whether bytes hold an answer to a challenge of NTLM, which passwords can be tried on.
pub(crate) fn has_ntlm_answer(bytes: &[u8]) -> bool {
    memchr::memmem::find(bytes, b"NTLMSSP\0\x03").is_some()
}

/// Whether bytes hold a secret that has no name: an answer of NTLM, or the values of a call by XML-RPC.
pub(crate) fn has_nameless_one(bytes: &[u8]) -> bool {
    has_ntlm_answer(bytes) || memchr::memmem::find(bytes, b"<methodCall").is_some()
}

/// Every place in `bytes` that belongs to an occurrence of a secret, or to one that the end cuts off.
pub(crate) fn find<'a>(bytes: &[u8], secrets: impl Iterator<Item = &'a [u8]>) -> Vec<Range<usize>> {
    let long_enough = secrets.filter(|secret| secret.len() >= SECRET_BYTES_MIN);
    union(long_enough.flat_map(|secret| occurrences(bytes, secret)))
}

/// Sorts ranges and joins those that touch.
pub(crate) fn union(ranges: impl Iterator<Item = Range<usize>>) -> Vec<Range<usize>> {
    let mut sorted: Vec<_> = ranges.filter(|range| !range.is_empty()).collect();
    sorted.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<usize>> = Vec::with_capacity(sorted.len());
    for range in sorted {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

/// Puts `*` in place of each byte of the ranges.
pub(crate) fn apply(bytes: &mut [u8], ranges: &[Range<usize>]) {
    for range in ranges {
        if let Some(secret) = bytes.get_mut(range.clone()) {
            secret.fill(b'*');
        }
    }
}

/// A text with `*` in place of each character that has a byte in the ranges.
pub(crate) fn text(text: &str, ranges: &[Range<usize>]) -> SmolStr {
    text.char_indices()
        .map(|(at, character)| {
            let end = at + character.len_utf8();
            let hidden = ranges.iter().any(|range| range.start < end && at < range.end);
            if hidden { '*' } else { character }
        })
        .collect()
}

/// All occurrences of `secret`, and its longest beginning that `bytes` ends with.
fn occurrences(bytes: &[u8], secret: &[u8]) -> Vec<Range<usize>> {
    let fallback = fallbacks(secret);
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut matched = 0;
    for (at, byte) in bytes.iter().enumerate() {
        matched = step(secret, &fallback, matched, *byte);
        if matched == secret.len() {
            add(&mut found, at + 1 - matched..at + 1);
            matched = fallback.get(matched - 1).copied().unwrap_or(0);
        }
    }
    if matched >= SECRET_BYTES_MIN {
        add(&mut found, bytes.len() - matched..bytes.len());
    }
    found
}

/// Adds a range that starts no earlier than the last one, joined to it if they touch: 64 KiB of one letter are one
/// range, not 64 Ki of them.
fn add(found: &mut Vec<Range<usize>>, range: Range<usize>) {
    match found.last_mut() {
        Some(last) if range.start <= last.end => {
            last.start = last.start.min(range.start);
            last.end = range.end;
        }
        _ => found.push(range),
    }
}

/// How much of `secret` is matched after one more byte.
fn step(secret: &[u8], fallback: &[usize], mut matched: usize, byte: u8) -> usize {
    while matched > 0 && secret.get(matched) != Some(&byte) {
        matched = fallback.get(matched - 1).copied().unwrap_or(0);
    }
    if secret.get(matched) == Some(&byte) {
        matched += 1;
    }
    matched
}

/// For each beginning of `secret`, the longest shorter beginning that it ends with.
fn fallbacks(secret: &[u8]) -> Vec<usize> {
    let mut fallback = Vec::with_capacity(secret.len());
    let mut matched = 0;
    for (at, byte) in secret.iter().enumerate() {
        if at > 0 {
            matched = step(secret, &fallback, matched, *byte);
        }
        fallback.push(matched);
    }
    fallback
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_keep_no_secret_and_no_cut_beginning_of_one(
            bytes in proptest::collection::vec(0u8..4, 0..300),
            secrets in proptest::collection::vec(proptest::collection::vec(0u8..4, 0..8), 0..4),
        ) {
            let found = find(&bytes, secrets.iter().map(Vec::as_slice));
            let mut expected = vec![false; bytes.len()];
            for secret in secrets.iter().filter(|secret| secret.len() >= SECRET_BYTES_MIN) {
                for at in 0..bytes.len() {
                    let here = &bytes[at..bytes.len().min(at + secret.len())];
                    let cut = here.len() < secret.len();
                    if secret.starts_with(here) && (!cut || here.len() >= SECRET_BYTES_MIN) {
                        expected[at..at + here.len()].fill(true);
                    }
                }
            }
            let mut hidden = vec![false; bytes.len()];
            for range in found {
                hidden[range].fill(true);
            }
            prop_assert_eq!(hidden, expected);
        }
    }

    #[test]
    fn a_secret_within_a_longer_one_is_hidden_with_it() {
        let found = find(b"xabcdefghx", [&b"abcd"[..], b"cdefgh"].into_iter());
        assert_eq!(found, std::slice::from_ref(&(1..9)));
    }

    #[test]
    fn a_character_with_any_secret_byte_becomes_one_star() {
        let found = find("é: geheim".as_bytes(), [&b"geheim"[..]].into_iter());
        assert_eq!(text("é: geheim", &found), "é: ******");
    }
}
