//! Credentials in what a browser or a script sends: Basic authorization, forms, query strings, JSON.
//!
//! In: bytes. Out: who and what was tried, and which bytes to hide. Decoding is bounded by its input; nothing is
//! inflated or run.
//!
//! Source: RFC 7617 (Basic), WHATWG URL section 5.1 (application/x-www-form-urlencoded).

use std::ops::Range;

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

/// A login as offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) user: Vec<u8>,
    pub(super) secret: Vec<u8>,
    /// The bytes that hold the secret, encoded as they were, within what was read.
    pub(super) places: Vec<Range<usize>>,
}

/// Clients pad or do not; both are read.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// What an `Authorization` value offers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Authorization {
    /// A user and a password.
    Basic(Login),
    /// A token of the kind that alone lets its bearer in.
    Bearer(Login),
}

/// Reads an `Authorization` value. NTLM, Negotiate and Digest hold no secret as typed.
pub(super) fn authorization(value: &[u8]) -> Option<Authorization> {
    let space = memchr::memchr(b' ', value)?;
    let scheme = value.get(..space)?;
    let token = value.get(space..)?.trim_ascii();
    let place = value.len() - token.len()..value.len();
    if scheme.eq_ignore_ascii_case(b"basic") {
        let decoded = BASE64.decode(token).unwrap_or_else(|_| token.to_vec());
        let colon = memchr::memchr(b':', &decoded).unwrap_or(decoded.len());
        return Some(Authorization::Basic(Login {
            user: decoded.get(..colon).unwrap_or_default().to_vec(),
            secret: decoded.get(colon + 1..).unwrap_or_default().to_vec(),
            places: vec![place],
        }));
    }
    let bearer = [&b"bearer"[..], b"token", b"apikey"];
    bearer.iter().any(|name| scheme.eq_ignore_ascii_case(name)).then(|| {
        Authorization::Bearer(Login {
            user: Vec::new(),
            secret: token.to_vec(),
            places: vec![place],
        })
    })
}

/// Reads the user and password that stand in an absolute target (RFC 3986 section 3.2.1), as a proxy is asked with.
pub(super) fn userinfo(target: &[u8]) -> Option<Login> {
    let from = memchr::memmem::find(target, b"://").filter(|_| !target.starts_with(b"/"))? + 3;
    let rest = target.get(from..)?;
    let authority = rest.get(..memchr::memchr3(b'/', b'?', b'#', rest).unwrap_or(rest.len()))?;
    let info = authority.get(..memchr::memrchr(b'@', authority)?)?;
    let colon = memchr::memchr(b':', info)?;
    Some(Login {
        user: decode(info.get(..colon)?),
        secret: decode(info.get(colon + 1..)?),
        places: std::iter::once(from + colon + 1..from + info.len()).collect(),
    })
}

/// Reads `name=value&…`; `None` if no field is one for a secret.
pub(super) fn pairs(text: &[u8]) -> Option<Login> {
    let mut login = Login {
        user: Vec::new(),
        secret: Vec::new(),
        places: Vec::new(),
    };
    let mut at = 0;
    for pair in text.split(|byte| *byte == b'&') {
        let equals = memchr::memchr(b'=', pair).unwrap_or(pair.len());
        let name = decode(pair.get(..equals).unwrap_or_default());
        let value = pair.get(equals + 1..).unwrap_or_default();
        if is_secret(&name) {
            login.places.push(at + pair.len() - value.len()..at + pair.len());
            if login.secret.is_empty() {
                login.secret = decode(value);
            }
        } else if login.user.is_empty() && is_user(&name) {
            login.user = decode(value);
        }
        at += pair.len() + 1;
    }
    (!login.places.is_empty()).then_some(login)
}

/// Reads the top level of a JSON object. All of it is hidden: its strings may be escaped in many ways.
pub(super) fn json(text: &[u8]) -> Option<Login> {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(text).ok()?;
    let find = |wanted: fn(&[u8]) -> bool| {
        let mut named = object.iter().filter(|(name, _)| wanted(name.as_bytes()));
        named.find_map(|(_, value)| value.as_str())
    };
    Some(Login {
        secret: find(is_secret)?.into(),
        user: find(is_user).unwrap_or_default().into(),
        places: std::iter::once(0..text.len()).collect(),
    })
}

/// Whether a field of this name holds a secret.
pub(super) fn is_secret(name: &[u8]) -> bool {
    let name = name.to_ascii_lowercase();
    let has = |word: &[u8]| memchr::memmem::find(&name, word).is_some();
    has(b"pass") || has(b"pwd") || has(b"psw") || has(b"secret") || matches!(&name[..], b"pw" | b"pin" | b"auth_key")
}

fn is_user(name: &[u8]) -> bool {
    let name = name.to_ascii_lowercase();
    let has = |word: &[u8]| memchr::memmem::find(&name, word).is_some();
    has(b"user")
        || has(b"login")
        || has(b"mail")
        || matches!(
            &name[..],
            b"log" | b"name" | b"uname" | b"usr" | b"account" | b"uid" | b"id"
        )
}

/// Undoes `+` and `%XX`; what is no such escape stays.
fn decode(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        out.push(match byte {
            b'+' => b' ',
            b'%' => match after
                .split_first_chunk::<2>()
                .and_then(|(hex, after)| Some((unhex(*hex)?, after)))
            {
                Some((byte, after)) => {
                    rest = after;
                    byte
                }
                None => b'%',
            },
            byte => *byte,
        });
    }
    out
}

fn unhex([high, low]: [u8; 2]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

/// The path with its escapes undone; `None` if one is broken or it climbs above the root.
pub(super) fn path(raw: &[u8]) -> Option<Vec<u8>> {
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'%', rest) {
        let (hex, after) = rest.get(at + 1..)?.split_first_chunk::<2>()?;
        unhex(*hex)?;
        rest = after;
    }
    let plus_kept: Vec<u8> = raw
        .iter()
        .flat_map(|byte| match byte {
            b'+' => b"%2b".to_vec(),
            byte => vec![*byte],
        })
        .collect();
    let decoded = decode(&plus_kept);
    let mut depth = 0_i64;
    for part in decoded
        .split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty() && *part != b".")
    {
        depth += if part == b".." { -1 } else { 1 };
        if depth < 0 {
            return None;
        }
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn basic_is_a_user_and_a_password() {
        let read = |value: &[u8]| match authorization(value) {
            Some(Authorization::Basic(login)) => (login.user, login.secret, login.places[0].clone()),
            other => panic!("{other:?}"),
        };
        assert_eq!(read(b"Basic Ym9iOm5v"), (b"bob".to_vec(), b"no".to_vec(), 6..14));
        assert_eq!(read(b"basic  YTpiOmM=").1, b"b:c");
        assert_eq!(read(b"Basic YTpiOmM").1, b"b:c");
        assert_eq!(read(b"Basic !!!").0, b"!!!");
        assert!(matches!(
            authorization(b"Bearer abc.def"),
            Some(Authorization::Bearer(_))
        ));
        assert_eq!(authorization(b"NTLM TlRMTVNTUAAB"), None);
    }

    #[test]
    fn a_form_is_read_wherever_its_fields_are() {
        let text = b"csrf=1&Password=p%26w+d&user%6eame=a%40b";
        let login = pairs(text).expect("a login");
        assert_eq!(
            (login.user.as_slice(), login.secret.as_slice()),
            (&b"a@b"[..], &b"p&w d"[..])
        );
        assert_eq!(&text[login.places[0].clone()], b"p%26w+d");
        assert_eq!(pairs(b"q=1&user=x"), None);
        assert_eq!(pairs(b"pass").expect("a field").places[0], 4..4);
    }

    #[test]
    fn json_is_read_and_hidden_whole() {
        let login = json(br#"{"username":"a","password":"b\n"}"#).expect("a login");
        assert_eq!((login.user, login.secret), (b"a".to_vec(), b"b\n".to_vec()));
        assert_eq!(json(&b"[".repeat(100_000)), None);
    }

    #[test]
    fn a_path_may_not_climb() {
        assert_eq!(path(b"/a/%2e%2e/b"), Some(b"/a/../b".to_vec()));
        assert_eq!(path(b"/a+b"), Some(b"/a+b".to_vec()));
        for bad in [&b"/%zz"[..], b"/%2", b"/../x", b"/cgi-bin/.%2e/.%2e/bin/sh"] {
            assert_eq!(path(bad), None, "{}", bad.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_give_places_within_them(bytes in prop::collection::vec(prop::sample::select(b"pas=&%2+{}\":,ub \xff".to_vec()), 0..200)) {
            for login in [pairs(&bytes), json(&bytes)].into_iter().flatten() {
                prop_assert!(login.places.iter().all(|place| place.start <= place.end && place.end <= bytes.len()));
            }
            if let Some(Authorization::Basic(login) | Authorization::Bearer(login)) = authorization(&bytes) {
                prop_assert!(login.places.iter().all(|place| place.end <= bytes.len()));
            }
            let _ = path(&bytes);
        }
    }
}
