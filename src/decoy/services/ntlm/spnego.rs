//! SPNEGO: the envelope in which NTLM travels (RFC 4178, MS-SPNG 2.2).
//!
//! In: a token. Out: where in it the NTLM message is, if there is one; the envelopes that go back. Negotiation is as
//! Windows and Samba do it without Kerberos: NTLM or nothing.

use std::ops::Range;

use super::message::SIGNATURE;
use crate::decoy::der::{self, OCTETS, Reader, SEQUENCE, context, element};

/// Tag of the GSS-API frame of a first token (RFC 2743 section 3.1).
const GSS: u8 = 0x60;

/// Tag of an object identifier.
const OID: u8 = 0x06;

/// Tag of an enumeration.
const ENUMERATED: u8 = 0x0a;

/// SPNEGO, 1.3.6.1.5.5.2.
const SPNEGO: &[u8] = b"\x2b\x06\x01\x05\x05\x02";

/// NTLMSSP, 1.3.6.1.4.1.311.2.2.10.
const NTLM: &[u8] = b"\x2b\x06\x01\x04\x01\x82\x37\x02\x02\x0a";

/// NEGOEX; Kerberos as Windows 2000 wrote it; Kerberos; Kerberos between users.
const OTHERS: [&[u8]; 4] = [
    b"\x2b\x06\x01\x04\x01\x82\x37\x02\x02\x1e",
    b"\x2a\x86\x48\x82\xf7\x12\x01\x02\x02",
    b"\x2a\x86\x48\x86\xf7\x12\x01\x02\x02",
    b"\x2a\x86\x48\x86\xf7\x12\x01\x02\x02\x03",
];

/// What a server says it understands, unasked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::decoy::services) enum Hint {
    /// NTLM alone: a Samba that is in no domain.
    Ntlm,
    /// All that Windows understands.
    Windows,
}

impl Hint {
    /// The server's first token, a NegTokenInit2 (MS-SPNG 2.2.1).
    pub(in crate::decoy::services) fn token(self) -> Vec<u8> {
        let others = match self {
            Self::Ntlm => &OTHERS[..0],
            Self::Windows => &OTHERS[..],
        };
        let mechanisms: Vec<u8> = others.iter().chain(&[NTLM]).flat_map(|oid| element(OID, oid)).collect();
        let text = element(0x1b, b"not_defined_in_RFC4178@please_ignore");
        let hints = element(SEQUENCE, &element(context(0), &text));
        let init = [
            element(context(0), &element(SEQUENCE, &mechanisms)),
            element(context(3), &hints),
        ];
        let init = element(context(0), &element(SEQUENCE, &init.concat()));
        element(GSS, &[element(OID, SPNEGO), init].concat())
    }
}

/// A token without its envelope.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Unwrapped {
    /// It had one.
    pub(super) wrapped: bool,
    /// It was a first one.
    pub(super) opens: bool,
    /// NTLM is what the peer would like best.
    pub(super) preferred: bool,
    /// Where the mechanism's own token is.
    pub(super) token: Option<Range<usize>>,
    /// Where the list of mechanisms is signed, with a key that comes of the password.
    pub(super) signed: Option<Range<usize>>,
}

/// Takes a token out of its envelope. `None`: it is neither NTLM nor SPNEGO with NTLM in it.
pub(super) fn unwrap(token: &[u8]) -> Option<Unwrapped> {
    if token.starts_with(SIGNATURE) {
        return Some(Unwrapped {
            token: Some(0..token.len()),
            ..Unwrapped::default()
        });
    }
    let mut reader = Reader::new(token);
    match der::head(token)?.tag {
        GSS => opening(reader.enter(GSS)?),
        tag if tag == context(1) => {
            let fields = reader.enter(tag)?.enter(SEQUENCE)?;
            Some(Unwrapped {
                wrapped: true,
                token: field(fields.clone(), 2).and_then(|mut inner| inner.expect(OCTETS)),
                signed: field(fields, 3).and_then(|mut inner| inner.expect(OCTETS)),
                ..Unwrapped::default()
            })
        }
        // Some leave the GSS-API frame out.
        tag if tag == context(0) => init(reader.enter(tag)?),
        _ => None,
    }
}

fn opening(mut reader: Reader<'_>) -> Option<Unwrapped> {
    let mechanism = reader.expect(OID)?;
    if reader.bytes(mechanism) != SPNEGO {
        return None;
    }
    init(reader.enter(context(0))?)
}

/// A NegTokenInit (RFC 4178 section 4.2.1).
fn init(mut reader: Reader<'_>) -> Option<Unwrapped> {
    let fields = reader.enter(SEQUENCE)?;
    let mut mechanisms = field(fields.clone(), 0)?.enter(SEQUENCE)?;
    let mut offered = std::iter::from_fn(|| mechanisms.expect(OID).map(|oid| mechanisms.bytes(oid)));
    let place = offered.position(|oid| oid == NTLM)?;
    Some(Unwrapped {
        wrapped: true,
        opens: true,
        preferred: place == 0,
        token: field(fields, 2).and_then(|mut inner| inner.expect(OCTETS)),
        signed: None,
    })
}

/// The field of this number in a sequence of optional ones.
fn field(mut fields: Reader<'_>, number: u8) -> Option<Reader<'_>> {
    loop {
        let (tag, range) = fields.next()?;
        if tag == context(number) {
            return Some(fields.within(range));
        }
    }
}

/// A NegTokenResp (RFC 4178 section 4.2.2) of these fields.
fn response(fields: &[Vec<u8>]) -> Vec<u8> {
    element(context(1), &element(SEQUENCE, &fields.concat()))
}

fn state(state: u8) -> Vec<u8> {
    element(context(0), &element(ENUMERATED, &[state]))
}

/// Says that NTLM it is: accept-incomplete, or request-mic where the peer would rather have had another.
pub(super) fn choose(preferred: bool) -> Vec<u8> {
    let state = state(if preferred { 1 } else { 3 });
    response(&[state, element(context(1), &element(OID, NTLM))])
}

/// Carries an NTLM message, which is not the last.
pub(super) fn carry(message: &[u8]) -> Vec<u8> {
    response(&[
        state(1),
        element(context(1), &element(OID, NTLM)),
        element(context(2), &element(OCTETS, message)),
    ])
}

/// Says that the peer is let in.
pub(super) fn completed() -> Vec<u8> {
    response(&[state(0)])
}
