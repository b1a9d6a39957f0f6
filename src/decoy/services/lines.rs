//! Lines: what the text protocols share. Pure.
//!
//! In: bytes as received. Out: where a line ends, which part of it may be a secret, an answer with the peer's words.
//!
//! A line that a service does not take apart may still be a login: one of another protocol, or a malformed one. Such a
//! line is known by its words, and then all but its first word is hidden: too much rather than too little.

use std::borrow::Cow;

use crate::decoy::mask;

/// Longest text of the peer that is said back, bytes.
const SAID_BACK_MAX: usize = 256;

/// Longest first word of a line that is shown although the rest is hidden, bytes.
const VERB_MAX: usize = 24;

/// Words before a secret in the text protocols, beyond those that [`mask::may_hold_one`] knows.
const WORDS: [&[u8]; 13] = [
    b"acct ",
    b"adat ",
    b"api-key",
    b"apikey",
    b"apop",
    b"authenticate",
    b"bearer",
    b"cookie",
    b"credential",
    b"key:",
    b"login",
    b"pswd",
    b"session",
];

/// Where a line ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Bytes of the line, its end included.
    At(usize),
    /// Not yet.
    More,
    /// Nowhere within the bound.
    TooLong,
}

/// Finds the end of the first line, which has at most `max` bytes, its end included.
pub(super) fn end(bytes: &[u8], max: usize) -> End {
    let window = bytes.get(..max).unwrap_or(bytes);
    match memchr::memchr(b'\n', window) {
        Some(at) => End::At(at + 1),
        None if window.len() == max => End::TooLong,
        None => End::More,
    }
}

/// A line without its end.
pub(super) fn bare(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Whether a line that nobody took apart names a secret. Bytes that no keyboard types do not hide a word.
pub(super) fn names_a_secret(line: &[u8]) -> bool {
    let typed: Vec<u8> = line
        .iter()
        .map(|byte| {
            if *byte == b'\t' {
                b' '
            } else {
                byte.to_ascii_lowercase()
            }
        })
        .filter(|byte| byte.is_ascii_graphic() || *byte == b' ')
        .collect();
    let has = |word: &&[u8]| memchr::memmem::find(&typed, word).is_some();
    mask::has_ntlm_answer(line) || mask::may_hold_one(&typed) || WORDS.iter().any(has) || names_a_user(&typed)
}

/// `user:secret@host`, in a URL or a `Host` line.
fn names_a_user(line: &[u8]) -> bool {
    let mut words = line.split(|byte| matches!(byte, b' ' | b'/' | b'<'));
    words.any(|word| {
        let colon = memchr::memchr(b':', word).unwrap_or(word.len());
        word.get(colon + 2..).is_some_and(|rest| rest.contains(&b'@'))
    })
}

/// How many bytes of a line that names a secret may be shown: its first word, if it is one.
pub(super) fn shown(line: &[u8]) -> usize {
    let blanks = line.iter().take_while(|byte| **byte == b' ').count();
    let word = line.get(blanks..).unwrap_or_default();
    let letters = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'-';
    let length = word.iter().take_while(letters).count();
    let ends = word
        .get(length)
        .is_none_or(|byte| matches!(byte, b' ' | b':' | b'\t' | 0));
    let after = usize::from(word.get(length) == Some(&b' '));
    if ends && length <= VERB_MAX {
        blanks + length + after
    } else {
        0
    }
}

/// How many bytes of a name a keyboard types: what comes after a control character may be the next line.
pub(super) fn typed(name: &[u8]) -> usize {
    name.iter().position(u8::is_ascii_control).unwrap_or(name.len())
}

/// Fills a template whose `{{name}}`s `value` knows with the peer's own bytes. They are cut as a C program cuts them:
/// at a NUL, and at the size of its buffer.
pub(super) fn fill<'t, 'v>(template: &'t str, value: impl Fn(&str) -> Option<&'v [u8]>) -> Cow<'t, [u8]> {
    if !template.contains("{{") {
        return Cow::Borrowed(template.as_bytes());
    }
    let mut out = Vec::with_capacity(template.len() + 32);
    let mut rest = template;
    while let Some((before, from)) = rest.split_once("{{") {
        out.extend_from_slice(before.as_bytes());
        let known = from
            .split_once("}}")
            .and_then(|(name, after)| Some((value(name)?, after)));
        match known {
            Some((value, after)) => {
                out.extend_from_slice(said_back(value));
                rest = after;
            }
            None => {
                out.extend_from_slice(b"{{");
                rest = from;
            }
        }
    }
    out.extend_from_slice(rest.as_bytes());
    Cow::Owned(out)
}

fn said_back(value: &[u8]) -> &[u8] {
    let value = value.get(..SAID_BACK_MAX).unwrap_or(value);
    let end = memchr::memchr(0, value).unwrap_or(value.len());
    value.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_login_of_another_protocol_is_known_by_its_words() {
        for line in [
            &b"PASS x"[..],
            b" PASS x",
            b"PA\0SS\0x",
            b"a  LOGIN u p",
            b"AUTH XOAUTH2 dXNlcj1",
            b"APOP u 0123",
            b"ACCT x",
            b"SITE PSWD a b",
            b"Authorization: Basic dTpw",
            b"Proxy-Authorization: x",
            b"Cookie: sid=1",
            b"GET http://u:pw@h/ HTTP/1.1",
            b"Host: u:pw@h",
        ] {
            assert!(names_a_secret(line), "{}", line.escape_ascii());
        }
        for line in [
            &b"EHLO x"[..],
            b"MAIL FROM:<a@b.c>",
            b"GET / HTTP/1.0",
            b"SYST",
            b"a NOOP",
        ] {
            assert!(!names_a_secret(line), "{}", line.escape_ascii());
        }
    }

    #[test]
    fn only_the_first_word_of_a_secret_line_is_shown() {
        let seen = |line: &'static [u8]| &line[..shown(line)];
        assert_eq!(seen(b"PASS hunter2"), b"PASS ");
        assert_eq!(seen(b" PASS hunter2"), b" PASS ");
        assert_eq!(seen(b"PASS\thunter2"), b"PASS");
        assert_eq!(seen(b"{\"password\":\"x\"}"), b"");
        assert_eq!(seen(b"user=u&password=x"), b"");
    }

    #[test]
    fn the_words_of_a_peer_are_said_back_as_they_came_and_cut_at_a_nul() {
        let fill = |value: &'static [u8]| fill("500 {{verb}} {{no}}\r\n", |name| (name == "verb").then_some(value));
        assert_eq!(*fill(b"\xff\xfe"), *b"500 \xff\xfe {{no}}\r\n");
        assert_eq!(*fill(b"US\0ER"), *b"500 US {{no}}\r\n");
    }

    #[test]
    fn a_line_without_end_is_bounded() {
        assert_eq!(end(&[b'A'; 9], 10), End::More);
        assert_eq!(end(&[b'A'; 10], 10), End::TooLong);
        assert_eq!(end(b"a\r\nb", 10), End::At(3));
    }

    proptest! {
        #[test]
        fn what_is_shown_of_any_bytes_is_within_them(line in prop::collection::vec(any::<u8>(), 0..80)) {
            prop_assert!(shown(&line) <= line.len());
            let _ = names_a_secret(&line);
        }

        #[test]
        fn any_bytes_end_their_line_at_the_same_place_however_cut(bytes in prop::collection::vec(prop::sample::select(b"aP \r\n\0".to_vec()), 0..40)) {
            let whole = end(&bytes, 20);
            for cut in 0..bytes.len() {
                let part = end(&bytes[..cut], 20);
                prop_assert!(part == End::More || part == whole);
            }
        }
    }
}
