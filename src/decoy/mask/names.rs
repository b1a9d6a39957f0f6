//! What a name says of the value after it: whether that is a secret, and of which kind.
//!
//! In: the name of a form field, header or variable as sent, in any case, percent-encoded or escaped. Out: a [`Kind`].
//! Names are compared by their ASCII letters and digits alone, so that `X-Api-Key`, `x_api_key` and `x%2Dapi%2Dkey` are
//! one. A name that only looks like that of a secret hides its value as well: too much is masked, never too little.

use std::borrow::Cow;

/// What a secret is to a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// What a person types to get in.
    Password,
    /// What lets its bearer in.
    Token,
    /// What clients send by themselves, so that it is no attempt to get in: a session, a signature.
    Other,
}

/// Parts of names, each with what it says. The first that is found counts.
const PARTS: [(&str, Kind); 27] = [
    ("csrf", Kind::Other),
    ("xsrf", Kind::Other),
    ("pass", Kind::Password),
    ("pwd", Kind::Password),
    ("psw", Kind::Password),
    ("secret", Kind::Password),
    ("accesstoken", Kind::Token),
    ("apitoken", Kind::Token),
    ("authtoken", Kind::Token),
    ("idtoken", Kind::Token),
    ("privatetoken", Kind::Token),
    ("refreshtoken", Kind::Token),
    ("accesskey", Kind::Token),
    ("apikey", Kind::Token),
    ("authkey", Kind::Token),
    ("bearer", Kind::Token),
    ("jwt", Kind::Token),
    ("accountkey", Kind::Other),
    ("authoriz", Kind::Other),
    ("cookie", Kind::Other),
    ("credential", Kind::Other),
    ("privatekey", Kind::Other),
    ("sessid", Kind::Other),
    ("sessionid", Kind::Other),
    ("signature", Kind::Other),
    ("subscriptionkey", Kind::Other),
    ("token", Kind::Other),
];

/// Words that must stand alone: within others they say nothing.
const WORDS: [(&str, Kind); 10] = [
    ("pw", Kind::Password),
    ("pin", Kind::Password),
    ("auth", Kind::Other),
    ("credentials", Kind::Other),
    ("key", Kind::Other),
    ("nonce", Kind::Other),
    ("otp", Kind::Other),
    ("session", Kind::Other),
    ("sid", Kind::Other),
    ("sig", Kind::Other),
];

/// Longest name that is looked at whole, bytes as sent; of a longer one, its end counts.
const NAME_MAX: usize = 512;

/// What the name of a field or variable says.
pub(crate) fn kind(name: &[u8]) -> Option<Kind> {
    let name = decoded(end(name));
    let bare = Bare::of(&name);
    // A nonce of the handshake (RFC 6455), no key.
    if bare.letters().starts_with(b"secwebsocket") {
        return None;
    }
    part(&bare).or_else(|| name.split(separates).find_map(word))
}

/// What the letters of a whole name say.
fn part(bare: &Bare) -> Option<Kind> {
    if bare.letters() == b"token" {
        return Some(Kind::Token);
    }
    let found = PARTS.iter().find(|(part, _)| bare.has(part));
    found.map(|(_, kind)| *kind)
}

/// What a word says that stands alone.
fn word(word: &[u8]) -> Option<Kind> {
    let bare = Bare::of(word);
    let found = WORDS.iter().find(|(known, _)| bare.letters() == known.as_bytes());
    found.map(|(_, kind)| *kind)
}

/// What stands between words. Control bytes and those beyond ASCII are noise within one.
fn separates(byte: &u8) -> bool {
    byte.is_ascii_graphic() && !byte.is_ascii_alphanumeric() || *byte == b' '
}

fn end(name: &[u8]) -> &[u8] {
    name.get(name.len().saturating_sub(NAME_MAX)..).unwrap_or(name)
}

/// Letters and digits of a name, in lower case; on the stack, because every name of every line comes by here.
struct Bare {
    bytes: [u8; NAME_MAX],
    length: usize,
}

impl Bare {
    fn of(name: &[u8]) -> Self {
        let mut bare = Self {
            bytes: [0; NAME_MAX],
            length: 0,
        };
        let letters = name.iter().filter(|byte| byte.is_ascii_alphanumeric());
        for (slot, letter) in bare.bytes.iter_mut().zip(letters) {
            *slot = letter.to_ascii_lowercase();
            bare.length += 1;
        }
        bare
    }

    fn letters(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    fn has(&self, word: &str) -> bool {
        self.letters()
            .windows(word.len())
            .any(|window| window == word.as_bytes())
    }
}

/// What the value of a header is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Header {
    /// A scheme and what proves it.
    Authorization,
    /// Names and values.
    Cookie,
    /// A secret as a whole.
    Secret(Kind),
}

/// What the name of a header says.
pub(crate) fn header(name: &[u8]) -> Option<Header> {
    let bare = Bare::of(&decoded(end(name)));
    if bare.has("authorization") {
        return Some(Header::Authorization);
    }
    if bare.has("cookie") {
        return Some(Header::Cookie);
    }
    let is_token = bare.letters().ends_with(b"token") && !bare.has("srf");
    let is_auth = bare.has("auth") && !bare.has("author");
    let kind = match kind(name) {
        Some(Kind::Other) if is_token => Some(Kind::Token),
        None if is_auth => Some(Kind::Other),
        kind => kind,
    };
    kind.map(Header::Secret)
}

/// Undoes `%XX`, `%uXXXX`, `\xXX` and `\uXXXX` until there are none, at most three times: what is encoded more often
/// was not meant for a server.
pub(crate) fn decoded(text: &[u8]) -> Cow<'_, [u8]> {
    let mut text = Cow::Borrowed(text);
    for _ in 0..3 {
        if memchr::memchr2(b'%', b'\\', &text).is_none() {
            break;
        }
        text = Cow::Owned(decoded_once(&text));
    }
    text
}

fn decoded_once(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        let escape = match (byte, after) {
            (b'%' | b'\\', [b'u' | b'U', hex @ ..]) => hex4(hex),
            (b'%', hex) | (b'\\', [b'x' | b'X', hex @ ..]) => hex2(hex),
            _ => None,
        };
        let (byte, after) = escape.unwrap_or((*byte, after));
        out.push(byte);
        rest = after;
    }
    out
}

fn hex2(text: &[u8]) -> Option<(u8, &[u8])> {
    let ([high, low], rest) = text.split_first_chunk()?;
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let value = digit(*high)? << 4 | digit(*low)?;
    Some((u8::try_from(value).ok()?, rest))
}

/// Names and separators are ASCII: what is beyond stays as it was.
fn hex4(text: &[u8]) -> Option<(u8, &[u8])> {
    let rest = text.strip_prefix(b"00")?;
    hex2(rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_is_known_however_it_is_written() {
        for name in [
            "password",
            "PassWord",
            "p%61ssword",
            "p%2561ssword",
            "%u0070assword",
            "pass\\u0077ord",
            "user[password]",
            "user.password",
            "ctl00$Login$Password",
            "pass%00word",
            "pass_word",
            "pwd",
            "client_secret",
            "pw",
            "data[pin]",
        ] {
            assert_eq!(kind(name.as_bytes()), Some(Kind::Password), "{name}");
        }
        for name in ["token", "access_token", "apiKey", "API-KEY", "x.jwt"] {
            assert_eq!(kind(name.as_bytes()), Some(Kind::Token), "{name}");
        }
        for name in ["csrf_token", "PHPSESSID", "jsessionid", "key", "user-sid", "Sig"] {
            assert_eq!(kind(name.as_bytes()), Some(Kind::Other), "{name}");
        }
        for name in ["user", "keyword", "monkey", "spinner", "author", "q", "sidebar", ""] {
            assert_eq!(kind(name.as_bytes()), None, "{name}");
        }
    }

    #[test]
    fn a_header_says_how_its_value_is_read() {
        for name in [
            "Authorization",
            "proxy-authorization",
            "X_AUTHORIZATION",
            "Author\0ization ",
        ] {
            assert_eq!(header(name.as_bytes()), Some(Header::Authorization), "{name}");
        }
        assert_eq!(header(b"set-cookie2"), Some(Header::Cookie));
        for name in ["X-Api-Key", "X-Vault-Token", "Private-Token", "X-Auth-Token"] {
            assert_eq!(header(name.as_bytes()), Some(Header::Secret(Kind::Token)), "{name}");
        }
        for name in [
            "X-CSRF-Token",
            "X-Auth-User",
            "Ocp-Apim-Subscription-Key",
            "X-Goog-Signature",
        ] {
            assert_eq!(header(name.as_bytes()), Some(Header::Secret(Kind::Other)), "{name}");
        }
        for name in [
            "Host",
            "User-Agent",
            "Sec-WebSocket-Key",
            "Author",
            "Accept",
            "Keep-Alive",
        ] {
            assert_eq!(header(name.as_bytes()), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_name_and_are_decoded_to_no_more_bytes(
            bytes in prop::collection::vec(prop::sample::select(b"%u0041\\x pasS_\xff\0".to_vec()), 0..600),
        ) {
            let _ = (kind(&bytes), header(&bytes));
            prop_assert!(decoded(&bytes).len() <= bytes.len());
        }
    }
}
