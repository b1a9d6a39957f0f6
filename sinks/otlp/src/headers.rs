//! The headers that a receiver wants, from one secret.
//!
//! In: the form that vendors print for `OTEL_EXPORTER_OTLP_HEADERS`: `name=value,other=value`, values percent-encoded or
//! as they are. Out: headers marked as secret, or a [`Mistake`] that holds nothing of a value.

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use trapline_sink::config::{ExposeSecret, Secret};

/// Most headers.
const HEADERS_MAX: usize = 32;
/// Shortest value that is looked for in what a receiver says: shorter ones are words of any text.
const SECRET_BYTES_MIN: usize = 4;

/// Those that the transport sets itself, or with a dash at the end all that begin so.
const OWN: &[&str] = &[
    "accept",
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "grpc-",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// What is wrong with the text; the number is the header's, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// No `=`, or no name before it.
    NoPair(usize),
    /// Not a header's name.
    Name(usize),
    /// One that the transport sets itself.
    Own(usize, &'static str),
    /// A value that no header can carry, such as one with a line end.
    Value(usize),
    /// The name is there already.
    Twice(usize),
    /// Too many.
    Many,
}

impl std::fmt::Display for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoPair(at) => write!(f, "no `name=value` as header {at} of `headers`"),
            Self::Name(at) => write!(f, "not a header's name before `=` in header {at} of `headers`"),
            Self::Own(at, name) => write!(f, "`{name}`, which trapline sets itself, as header {at} of `headers`"),
            Self::Value(at) => write!(f, "bytes that no header can carry in header {at} of `headers`"),
            Self::Twice(at) => write!(f, "a name for the second time as header {at} of `headers`"),
            Self::Many => write!(f, "more than {HEADERS_MAX} headers in `headers`"),
        }
    }
}

/// Reads the headers.
pub(crate) fn read(secret: &Secret) -> Result<HeaderMap, Mistake> {
    let mut headers = HeaderMap::new();
    let pairs = secret
        .expose_secret()
        .split(',')
        .map(str::trim)
        .filter(|pair| !pair.is_empty());
    for (at, pair) in pairs.enumerate().map(|(at, pair)| (at + 1, pair)) {
        if at > HEADERS_MAX {
            return Err(Mistake::Many);
        }
        let (name, value) = header(at, pair)?;
        if headers.insert(name, value).is_some() {
            return Err(Mistake::Twice(at));
        }
    }
    Ok(headers)
}

fn header(at: usize, pair: &str) -> Result<(HeaderName, HeaderValue), Mistake> {
    let (name, value) = pair.split_once('=').ok_or(Mistake::NoPair(at))?;
    let name = name.trim();
    if name.is_empty() {
        return Err(Mistake::NoPair(at));
    }
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Mistake::Name(at))?;
    // The name is shown only where it is one of ours, so a secret that stands at its place is not.
    if let Some(own) = OWN
        .iter()
        .find(|own| **own == name.as_str() || own.ends_with('-') && name.as_str().starts_with(**own))
    {
        return Err(Mistake::Own(at, own));
    }
    let mut value = HeaderValue::from_bytes(&decoded(value.trim())).map_err(|_| Mistake::Value(at))?;
    value.set_sensitive(true);
    Ok((name, value))
}

/// Percent-decoding; a `%` without two hex digits behind it stands for itself.
pub(crate) fn decoded(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        match (first, escaped(behind)) {
            (b'%', Some(byte)) => {
                out.push(byte);
                rest = behind.get(2..).unwrap_or_default();
            }
            _ => {
                out.push(*first);
                rest = behind;
            }
        }
    }
    out
}

fn escaped(behind: &[u8]) -> Option<u8> {
    let digits = behind
        .get(..2)
        .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Whether a text holds the value of one of these headers, or a word of it, as a receiver may that tells what it refused.
pub(crate) fn gives_away(headers: &HeaderMap, text: &str) -> bool {
    // Not `to_str`, which has nothing of a value with a sign beyond ASCII.
    headers
        .values()
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
        .any(|value| value.split_ascii_whitespace().any(|word| holds(text, word)))
}

fn holds(text: &str, word: &str) -> bool {
    word.len() >= SECRET_BYTES_MIN && !is_scheme(word) && text.contains(word)
}

fn is_scheme(word: &str) -> bool {
    ["basic", "bearer", "token", "apikey", "api-key"].contains(&word.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(text: &str) -> Result<HeaderMap, Mistake> {
        read(&Secret::from(text.to_owned()))
    }

    #[test]
    fn headers_are_read_as_vendors_print_them() {
        let headers = of("Authorization=Basic%20dXNlcjpw%3D, x-scope=a=b ,api-key=50%").unwrap();
        assert_eq!(headers["authorization"], "Basic dXNlcjpw=");
        assert_eq!(headers["x-scope"], "a=b");
        assert_eq!(headers["api-key"], "50%");
        assert!(headers.values().all(HeaderValue::is_sensitive));
        assert!(of("").unwrap().is_empty());
    }

    #[test]
    fn mistakes_are_told_without_a_value() {
        for (text, expected) in [
            ("hush", Mistake::NoPair(1)),
            ("a=1,=hush", Mistake::NoPair(2)),
            ("a b=hush", Mistake::Name(1)),
            ("content-type=hush", Mistake::Own(1, "content-type")),
            ("Accept=hush", Mistake::Own(1, "accept")),
            ("grpc-timeout=hush", Mistake::Own(1, "grpc-")),
            ("a=hush%0d%0aX-Evil: 1", Mistake::Value(1)),
            ("a=hush\nb", Mistake::Value(1)),
            ("a=1,A=hush", Mistake::Twice(2)),
        ] {
            let mistake = of(text).unwrap_err();
            assert_eq!(mistake, expected, "{text:?}");
            assert!(!mistake.to_string().contains("hush"));
        }
        let many: Vec<String> = (0..33).map(|at| format!("h{at}=v")).collect();
        assert_eq!(of(&many.join(",")).unwrap_err(), Mistake::Many);
    }

    #[test]
    fn what_gives_a_value_away_is_known() {
        let headers = of("authorization=Bearer s3cr3t-t0ken,x=ab").unwrap();
        assert!(gives_away(&headers, "invalid token `s3cr3t-t0ken`"));
        assert!(!gives_away(&headers, "a Bearer token and ab"));
        let headers = of("api-key=clé-s3crète").unwrap();
        assert!(gives_away(&headers, "unknown key clé-s3crète"));
    }

    proptest! {
        #[test]
        fn any_bytes_as_headers_are_headers_of_one_line_or_a_mistake(text in "[a-zA-Z0-9=,%: \r\n\u{0}\u{e9}-]{0,60}") {
            if let Ok(headers) = of(&text) {
                for value in headers.values() {
                    prop_assert!(!value.as_bytes().iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
                }
            }
        }
    }
}
