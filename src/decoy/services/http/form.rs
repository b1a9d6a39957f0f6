//! Credentials in what a browser or a script sends: authorization, keys in headers, forms, query strings, JSON.
//!
//! In: bytes. Out: who and what was tried, and which bytes to hide. Decoding is bounded by its input; nothing is
//! inflated or run.
//!
//! Source: RFC 7617 (Basic), RFC 6750 (Bearer), RFC 7616 (Digest), WHATWG URL section 5.1
//! (application/x-www-form-urlencoded).

use std::ops::Range;

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

use super::request::Request;
use crate::decoy::mask::lines;
use crate::decoy::mask::names::{self, Kind};

/// A login as offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Login {
    /// `honeyport.credential.kind`.
    pub(super) kind: &'static str,
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

/// What the head of a request offers.
pub(super) fn offered(request: &Request<'_>) -> Vec<Login> {
    let mut logins = Vec::new();
    for header in &request.headers {
        let login = match names::header(header.name) {
            Some(names::Header::Authorization) => authorization(&header.value),
            Some(names::Header::Secret(Kind::Password)) => whole("password", &header.value),
            Some(names::Header::Secret(Kind::Token)) => whole("token", &header.value),
            _ => None,
        };
        logins.extend(login.map(|login| moved(login, header.at)));
    }
    for host in request
        .headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case(b"host"))
    {
        logins.extend(userinfo(&host.value).map(|login| moved(login, host.at)));
    }
    let target = match request.method {
        b"CONNECT" => userinfo(request.target),
        _ => absolute_userinfo(request.target),
    };
    logins.extend(target.map(|login| moved(login, request.target_at)));
    if let Some((query, at)) = request.query() {
        logins.extend(pairs(query).login.map(|login| moved(login, at)));
    }
    logins
}

/// The same login with its places counted from the beginning of what holds it.
fn moved(mut login: Login, by: usize) -> Login {
    for place in &mut login.places {
        *place = place.start + by..place.end + by;
    }
    login
}

/// A value that is a secret as a whole.
fn whole(kind: &'static str, value: &[u8]) -> Option<Login> {
    (!value.is_empty()).then(|| Login {
        kind,
        user: Vec::new(),
        secret: value.to_vec(),
        places: std::iter::once(0..value.len()).collect(),
    })
}

/// Reads an `Authorization` value. What is of no known scheme is a token as a whole.
fn authorization(value: &[u8]) -> Option<Login> {
    let (scheme, at) = lines::scheme(value);
    let proof = value.get(at..)?;
    let mut login = whole("token", proof)?;
    if scheme.eq_ignore_ascii_case(b"basic") {
        login = basic(proof, login);
    } else if scheme.eq_ignore_ascii_case(b"digest") {
        login.user = parameter(proof, "username").to_vec();
        login.secret = parameter(proof, "response").to_vec();
    } else if is_ntlm_request(proof) {
        return None;
    }
    Some(moved(login, at))
}

fn basic(proof: &[u8], login: Login) -> Login {
    // A folded value has blanks in it.
    let token: Vec<u8> = proof
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    let decoded = BASE64.decode(&token).unwrap_or_else(|_| proof.to_vec());
    let colon = memchr::memchr(b':', &decoded).unwrap_or(decoded.len());
    Login {
        kind: "password",
        user: decoded.get(..colon).unwrap_or_default().to_vec(),
        secret: decoded.get(colon + 1..).unwrap_or_default().to_vec(),
        ..login
    }
}

/// The value of `name="value"` or `name=value` in a list.
fn parameter<'a>(list: &'a [u8], name: &str) -> &'a [u8] {
    let pairs = list.split(|byte| *byte == b',');
    let mut values = pairs.filter_map(|pair| {
        let equals = memchr::memchr(b'=', pair)?;
        let (found, value) = (pair.get(..equals)?, pair.get(equals + 1..)?.trim_ascii());
        found
            .trim_ascii()
            .eq_ignore_ascii_case(name.as_bytes())
            .then_some(value)
    });
    let value = values.next().unwrap_or_default();
    value
        .strip_prefix(b"\"")
        .and_then(|value| value.strip_suffix(b"\""))
        .unwrap_or(value)
}

/// The first message of NTLM asks for a challenge and offers nothing (MS-NLMP section 2.2.1.1).
fn is_ntlm_request(proof: &[u8]) -> bool {
    BASE64
        .decode(proof)
        .is_ok_and(|message| message.starts_with(b"NTLMSSP\0\x01"))
}

/// Reads the user and password that stand in an absolute target, as a proxy is asked with.
fn absolute_userinfo(target: &[u8]) -> Option<Login> {
    let from = memchr::memmem::find(target, b"://").filter(|_| !target.starts_with(b"/"))? + 3;
    let rest = target.get(from..)?;
    let authority = rest.get(..memchr::memchr3(b'/', b'?', b'#', rest).unwrap_or(rest.len()))?;
    userinfo(authority).map(|login| moved(login, from))
}

/// Reads the user and password that stand before a host (RFC 3986 section 3.2.1).
fn userinfo(authority: &[u8]) -> Option<Login> {
    let info = authority.get(..memchr::memrchr(b'@', authority)?)?;
    let colon = memchr::memchr(b':', info)?;
    Some(Login {
        kind: "password",
        user: decode(info.get(..colon)?),
        secret: decode(info.get(colon + 1..)?),
        places: std::iter::once(colon + 1..info.len()).collect(),
    })
}

/// What was found in a text of fields.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// What would let somebody in.
    pub(super) login: Option<Login>,
    /// All that is secret.
    pub(super) places: Vec<Range<usize>>,
}

/// Makes a login of fields, one after another.
#[derive(Debug, Default)]
pub(super) struct Fields {
    user: Vec<u8>,
    secret: Option<(Kind, Vec<u8>)>,
    places: Vec<Range<usize>>,
    hidden: Vec<Range<usize>>,
}

impl Fields {
    /// Takes a field whose value is at `place`. A password goes before a token.
    pub(super) fn add(&mut self, name: &[u8], value: Vec<u8>, place: Range<usize>) {
        let kind = names::kind(name);
        if kind.is_some() || lines::name_one(&value) {
            self.hidden.push(place.clone());
        }
        match kind {
            Some(kind @ (Kind::Password | Kind::Token)) if is_word(name) => {
                self.places.push(place);
                let known = self.secret.as_ref().map(|(kind, _)| *kind);
                if known.is_none() || (known, kind) == (Some(Kind::Token), Kind::Password) {
                    self.secret = Some((kind, value));
                }
            }
            None if self.user.is_empty() && is_user(name) => self.user = value,
            _ => {}
        }
    }

    /// Takes what is not looked into: it is hidden if its name says so.
    pub(super) fn hide(&mut self, name: &[u8], place: Range<usize>) {
        if names::kind(name).is_some() {
            self.hidden.push(place);
        }
    }

    /// What they were.
    pub(super) fn end(self) -> Found {
        let Self {
            user,
            secret,
            places,
            hidden,
        } = self;
        let login = secret.map(|(kind, secret)| Login {
            kind: if kind == Kind::Token { "token" } else { "form" },
            user,
            secret,
            places,
        });
        Found { login, places: hidden }
    }
}

/// Whether a name is one that a form has, and not some bytes before a `=`.
fn is_word(name: &[u8]) -> bool {
    name.len() <= 128 && !name.iter().any(u8::is_ascii_control)
}

/// Reads `name=value&…`.
pub(super) fn pairs(text: &[u8]) -> Found {
    let mut fields = Fields::default();
    let mut at = 0;
    for pair in text.split(|byte| *byte == b'&') {
        let equals = memchr::memchr(b'=', pair).unwrap_or(pair.len());
        let name = decode(pair.get(..equals).unwrap_or_default());
        let value = pair.get(equals + 1..).unwrap_or_default();
        let end = at + pair.len();
        fields.add(&name, decode(value), end - value.len()..end);
        at = end + 1;
    }
    fields.end()
}

/// Reads a JSON value, at any depth. Its places are not told: its strings may be escaped in many ways.
pub(super) fn json(text: &[u8]) -> Found {
    let mut fields = Fields::default();
    if let Ok(value) = serde_json::from_slice(text) {
        walk(&value, &mut fields);
    }
    Found {
        places: Vec::new(),
        ..fields.end()
    }
}

/// The parser has bounded the depth.
fn walk(value: &serde_json::Value, fields: &mut Fields) {
    match value {
        serde_json::Value::Array(list) => list.iter().for_each(|value| walk(value, fields)),
        serde_json::Value::Object(object) => {
            for (name, value) in object {
                match value {
                    serde_json::Value::String(text) => fields.add(name.as_bytes(), text.as_bytes().to_vec(), 0..0),
                    serde_json::Value::Number(number) => fields.add(name.as_bytes(), number.to_string().into(), 0..0),
                    value => walk(value, fields),
                }
            }
        }
        _ => {}
    }
}

/// Whether a text that is not taken apart holds a secret: it names one, or is a call of XML-RPC to a blog, which gives
/// user and password by their order alone.
pub(super) fn may_hold_secret(text: &[u8]) -> bool {
    let lower = text.to_ascii_lowercase();
    let has = |word: &[u8]| memchr::memmem::find(&lower, word).is_some();
    let to_blog = || [&b"wp."[..], b"metaweblog.", b"blogger.", b"mt."].into_iter().any(has);
    lines::name_one(text) || has(b"<methodcall") && to_blog()
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

/// The byte that two hex digits stand for.
pub(super) fn unhex([high, low]: [u8; 2]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tried(value: &[u8]) -> Option<(&'static str, Vec<u8>, Vec<u8>)> {
        authorization(value).map(|login| (login.kind, login.user, login.secret))
    }

    #[test]
    fn basic_is_a_user_and_a_password() {
        let read = |value: &[u8]| authorization(value).expect("a login");
        let login = read(b"Basic Ym9iOm5v");
        assert_eq!(
            (login.kind, &login.user[..], &login.secret[..]),
            ("password", &b"bob"[..], &b"no"[..])
        );
        assert_eq!(login.places, std::slice::from_ref(&(6..14)));
        assert_eq!(read(b"basic  YTpiOmM=").secret, b"b:c");
        assert_eq!(read(b"Basic\tYTpi  OmM").secret, b"b:c");
        assert_eq!(read(b"Basic !!!").user, b"!!!");
    }

    #[test]
    fn what_is_not_basic_is_a_token_of_its_scheme() {
        let token = |user: &[u8], secret: &[u8]| Some(("token", user.to_vec(), secret.to_vec()));
        assert_eq!(tried(b"Bearer abc.def"), token(b"", b"abc.def"));
        assert_eq!(
            tried(b"Digest username=\"bob\", realm=\"a\", response=\"0a1b\", nc=1"),
            token(b"bob", b"0a1b")
        );
        assert_eq!(tried(b"NTLM TlRMTVNTUAADAAAA"), token(b"", b"TlRMTVNTUAADAAAA"));
        assert_eq!(tried(b"NTLM TlRMTVNTUAABAAAA"), None, "asks for a challenge");
        assert_eq!(tried(b"Negotiate YII="), token(b"", b"YII="));
        assert_eq!(tried(b"my own words"), token(b"", b"my own words"));
        assert_eq!(tried(b"hunter2"), token(b"", b"hunter2"));
        assert_eq!(tried(b"Bearer"), None);
    }

    #[test]
    fn a_key_in_a_header_is_a_token() {
        let request = super::super::request::read(b"GET / HTTP/1.1\r\nX-Api-Key: abc\r\nX-Csrf-Token: d\r\n\r\n");
        let logins = offered(&request);
        assert_eq!(
            (logins.len(), logins[0].kind, &logins[0].secret[..]),
            (1, "token", &b"abc"[..])
        );
        assert_eq!(logins[0].places, std::slice::from_ref(&(27..30)));
    }

    #[test]
    fn a_form_is_read_wherever_its_fields_are() {
        let text = b"csrf=1&Password=p%26w+d&user%6eame=a%40b";
        let found = pairs(text);
        let login = found.login.expect("a login");
        assert_eq!(
            (login.user.as_slice(), login.secret.as_slice()),
            (&b"a@b"[..], &b"p&w d"[..])
        );
        assert_eq!(&text[login.places[0].clone()], b"p%26w+d");
        assert_eq!(found.places, [5..6, 16..23], "the csrf token is no login, but hidden");
        assert_eq!(pairs(b"q=1&user=x"), Found::default());
        assert_eq!(pairs(b"pass").login.expect("a field").places[0], 4..4);
        assert_eq!(pairs(b"n=%2F%3Fpassword%3Dx").places, std::slice::from_ref(&(2..20)));
    }

    #[test]
    fn a_password_goes_before_a_token() {
        let kind = |text: &[u8]| pairs(text).login.map(|login| (login.kind, login.secret));
        assert_eq!(kind(b"token=a&pass=b&pass=c"), Some(("form", b"b".to_vec())));
        assert_eq!(kind(b"access_token=a"), Some(("token", b"a".to_vec())));
    }

    #[test]
    fn json_is_read_at_any_depth() {
        let read = |text: &[u8]| json(text).login.map(|login| (login.user, login.secret));
        let login = Some((b"a".to_vec(), b"b\n".to_vec()));
        assert_eq!(read(br#"{"username":"a","password":"b\n"}"#), login);
        assert_eq!(read(br#"[{"user":{"name":"a"},"auth":{"p\u0061ss":"b\n"}}]"#), login);
        assert_eq!(read(br#"{"pin":1234}"#), Some((vec![], b"1234".to_vec())));
        assert_eq!(read(br#"{"q":"password"}"#), None);
        assert_eq!(json(&b"[".repeat(100_000)), Found::default());
    }

    #[test]
    fn a_call_to_a_blog_is_known_by_its_method() {
        let call = |method: &str| format!("<methodCall><methodName>{method}</methodName><params/></methodCall>");
        assert!(may_hold_secret(call("wp.getUsersBlogs").as_bytes()));
        assert!(may_hold_secret(call("metaWeblog.newPost").as_bytes()));
        assert!(!may_hold_secret(call("pingback.ping").as_bytes()));
        assert!(!may_hold_secret(b"wp.getUsersBlogs"));
    }

    proptest! {
        #[test]
        fn any_bytes_give_places_within_them(bytes in prop::collection::vec(prop::sample::select(b"pas=&%2+{}\":,ub \xff".to_vec()), 0..200)) {
            let found = pairs(&bytes);
            let logins = [found.login, authorization(&bytes)];
            let places = logins.into_iter().flatten().flat_map(|login| login.places).chain(found.places);
            for place in places {
                prop_assert!(place.start <= place.end && place.end <= bytes.len());
            }
            let _ = (json(&bytes), parameter(&bytes, "response"), may_hold_secret(&bytes));
        }
    }
}
