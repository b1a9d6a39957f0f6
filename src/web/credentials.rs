//! What a request shows to be let in by: a token as a bearer, or as the password of HTTP basic, which is what firewalls
//! send. The user name beside it says nothing and is not looked at.
//!
//! Source: RFC 6750 section 2.1, RFC 7617 section 2.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;

/// Longest `Authorization` that is looked at, bytes.
pub(super) const AUTHORIZATION_BYTES_MAX: usize = 512;

/// Some clients leave the padding out.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Credential {
    /// Nothing.
    None,
    /// What may be a token.
    Token(String),
    /// What is none: another scheme, too long, twice, or no text.
    Unreadable,
}

/// Reads it.
pub(super) fn shown(headers: &HeaderMap) -> Credential {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let value = match (all.next(), all.next()) {
        (None, _) => return Credential::None,
        (Some(value), None) => value.to_str().ok().filter(|text| text.len() <= AUTHORIZATION_BYTES_MAX),
        (Some(_), Some(_)) => None,
    };
    let token = value.and_then(|text| text.split_once(' ')).and_then(|(scheme, rest)| {
        let rest = rest.trim();
        match scheme.to_ascii_lowercase().as_str() {
            "bearer" => Some(rest.to_owned()),
            "basic" => password(rest),
            _ => None,
        }
    });
    match token {
        Some(token) if !token.is_empty() => Credential::Token(token),
        _ => Credential::Unreadable,
    }
}

fn password(encoded: &str) -> Option<String> {
    let text = String::from_utf8(LENIENT.decode(encoded).ok()?).ok()?;
    let (_, password) = text.split_once(':')?;
    Some(password.to_owned())
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[&[u8]]) -> Credential {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
        }
        shown(&headers)
    }

    fn token(text: &str) -> Credential {
        Credential::Token(text.to_owned())
    }

    #[test]
    fn a_token_is_a_bearer_or_a_password_whoever_the_user_is() {
        assert_eq!(of(&[]), Credential::None);
        assert_eq!(of(&[b"Bearer trapline_x"]), token("trapline_x"));
        assert_eq!(of(&[b"bearer  trapline_x "]), token("trapline_x"));
        // `fw:trapline_x`, `:trapline_x`, `a:b:c`
        assert_eq!(of(&[b"Basic Znc6dHJhcGxpbmVfeA=="]), token("trapline_x"));
        assert_eq!(of(&[b"BASIC Znc6dHJhcGxpbmVfeA"]), token("trapline_x"));
        assert_eq!(of(&[b"Basic OnRyYXBsaW5lX3g="]), token("trapline_x"));
        assert_eq!(of(&[b"Basic YTpiOmM="]), token("b:c"));
    }

    #[test]
    fn what_is_no_token_is_not_taken_for_one() {
        let long = [b"Bearer ".as_slice(), &[b'x'; AUTHORIZATION_BYTES_MAX]].concat();
        for bad in [
            &b"Bearer"[..],
            b"Bearer ",
            b"Basic !!!!",
            b"Basic Znc=",
            b"Basic Znc6",
            b"Basic /w==",
            b"Digest username=\"x\"",
            b"trapline_x",
            b"Bearer \xff",
            &long,
        ] {
            assert_eq!(of(&[bad]), Credential::Unreadable, "{bad:?}");
        }
        assert_eq!(
            of(&[b"Bearer trapline_x", b"Bearer trapline_y"]),
            Credential::Unreadable
        );
    }

    proptest! {
        #[test]
        fn any_bytes_as_an_authorization_are_a_token_within_bounds_or_none(
            scheme in prop::sample::select(vec![&b""[..], b"Bearer ", b"Basic ", b"basic"]),
            rest in prop::collection::vec(prop_oneof![32_u8..=126, 128_u8..=255, Just(b'\t')], 0..700),
        ) {
            let credential = of(&[&[scheme, &rest].concat()]);
            if let Credential::Token(token) = credential {
                prop_assert!(!token.is_empty() && token.len() <= AUTHORIZATION_BYTES_MAX);
            }
        }
    }
}
