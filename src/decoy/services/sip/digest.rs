//! The password that a request offers: its digest, as a line for crackers.
//!
//! In: a request. Out: the user, the proof, and where in the message that stands.
//!
//! Source: RFC 3261 section 22.4, RFC 7616; the line is that of hashcat's mode 11400.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use trapline_schemas::{Field, Value, text};

use super::message::{Name, Request};
use crate::decoy::mask;

/// What is offered.
#[derive(Debug)]
pub(super) struct Login {
    pub(super) kind: &'static str,
    pub(super) user: Vec<u8>,
    /// A line for crackers, or a password as it was typed.
    pub(super) secret: Vec<u8>,
    /// Where in the message the proof is.
    pub(super) place: Range<usize>,
    realm: Vec<u8>,
    method: Vec<u8>,
    uri: Vec<u8>,
}

impl Login {
    /// What was learned with it.
    pub(super) fn facts(&self) -> Vec<(Field, Value)> {
        let told = [
            (Field::SipMethod, &self.method),
            (Field::SipRealm, &self.realm),
            (Field::SipUri, &self.uri),
        ];
        let known = told.iter().filter(|(_, text)| !text.is_empty());
        known.map(|(field, text)| (*field, text::clean(text).into())).collect()
    }
}

/// The first thing that a request offers.
pub(super) fn offered(request: &Request<'_>) -> Option<Login> {
    let is_offer = |name: Name| matches!(name, Name::Authorization | Name::ProxyAuthorization);
    let header = request.headers.iter().find(|header| is_offer(header.name))?;
    let (scheme, at) = mask::lines::scheme(header.value);
    let proof = header.value.get(at..).filter(|proof| !proof.is_empty())?;
    let login = Login {
        kind: "token",
        user: Vec::new(),
        secret: proof.to_vec(),
        place: header.place.start + at..header.place.end,
        realm: Vec::new(),
        method: request.method.to_vec(),
        uri: request.uri.to_vec(),
    };
    Some(match scheme.to_ascii_lowercase().as_slice() {
        b"digest" => digest(proof, login),
        b"basic" => basic(proof, login),
        _ => login,
    })
}

fn digest(proof: &[u8], login: Login) -> Login {
    let value = |name: &str| parameter(proof, name).map(|(value, _)| value).unwrap_or_default();
    let Some((response, place)) = parameter(proof, "response").filter(|(response, _)| !response.is_empty()) else {
        return login;
    };
    let uri = value("uri");
    let mut parts = uri.splitn(3, |byte| *byte == b':');
    let mut part = || parts.next().unwrap_or_default();
    // Both ends may stay empty: the digest does not depend on them.
    let fields: [&[u8]; 15] = [
        b"$sip$",
        b"",
        b"",
        value("username"),
        value("realm"),
        &login.method,
        part(),
        part(),
        part(),
        value("nonce"),
        value("cnonce"),
        value("nc"),
        value("qop"),
        value("algorithm"),
        response,
    ];
    let line = fields.join(&b'*');
    let from = login.place.start;
    Login {
        kind: "hash",
        user: value("username").to_vec(),
        secret: line,
        place: from + place.start..from + place.end,
        realm: value("realm").to_vec(),
        ..login
    }
}

fn basic(proof: &[u8], login: Login) -> Login {
    let Ok(decoded) = STANDARD.decode(proof.trim_ascii()) else {
        return login;
    };
    let colon = memchr::memchr(b':', &decoded).unwrap_or(decoded.len());
    Login {
        kind: "password",
        user: decoded.get(..colon).unwrap_or_default().to_vec(),
        secret: decoded.get(colon + 1..).unwrap_or_default().to_vec(),
        ..login
    }
}

/// The value of `name="value"` or `name=value` in a list, and where it is. A quoted value may hold commas.
fn parameter<'a>(list: &'a [u8], wanted: &str) -> Option<(&'a [u8], Range<usize>)> {
    let mut at = 0;
    while let Some(rest) = list.get(at..).filter(|rest| !rest.is_empty()) {
        let equals = memchr::memchr(b'=', rest)?;
        let name = rest.get(..equals)?.rsplit(|byte| *byte == b',').next()?.trim_ascii();
        let value = rest.get(equals + 1..)?;
        let (length, quote) = match value.strip_prefix(b"\"") {
            Some(inside) => (memchr::memchr(b'"', inside).unwrap_or(inside.len()), 1),
            None => (memchr::memchr(b',', value).unwrap_or(value.len()), 0),
        };
        let from = at + equals + 1 + quote;
        if name.eq_ignore_ascii_case(wanted.as_bytes()) {
            return list.get(from..from + length).map(|value| (value, from..from + length));
        }
        at = from + length + quote;
    }
    None
}
