//! CredSSP: NTLM in TSRequests, over TLS, before anything of RDP (MS-CSSP 2.2.1, 3.1.5).
//!
//! In: what the input begins with. Out: a token and where it is; the server's own requests. The credentials that a
//! client would send last are never seen: nobody comes so far.

use std::ops::Range;

use crate::decoy::der::{self, OCTETS, Reader, SEQUENCE, context, element};

/// The version that a Windows of today speaks.
const VERSION: u8 = 6;

/// Largest request that is read, bytes.
const REQUEST_MAX: usize = 16 << 10;

/// Tag of an INTEGER.
const INTEGER: u8 = 0x02;

/// The user or the password is wrong (MS-ERREF 2.3.1).
pub(super) const LOGON_FAILURE: u32 = 0xc000_006d;

/// The token is none (MS-ERREF 2.1.1).
pub(super) const INVALID_TOKEN: u32 = 0x8009_0308;

/// What stands at the front of the input.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Front {
    /// Not yet a whole request.
    More,
    /// A request of so many bytes.
    Whole(usize),
    /// None at all.
    Broken,
}

/// Finds the request at the front.
pub(super) fn next(input: &[u8]) -> Front {
    /// Tag and longest length.
    const HEAD_MAX: usize = 6;
    match (der::head(input), input.first()) {
        (_, Some(tag)) if *tag != SEQUENCE => Front::Broken,
        (None, _) if input.len() >= HEAD_MAX => Front::Broken,
        (None, _) => Front::More,
        (Some(head), _) => match head.size.saturating_add(head.length) {
            whole if whole > REQUEST_MAX => Front::Broken,
            whole if input.len() < whole => Front::More,
            whole => Front::Whole(whole),
        },
    }
}

/// A client's request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Request {
    /// The version that it speaks.
    pub(super) version: u32,
    /// Where its token is.
    pub(super) token: Range<usize>,
}

impl Request {
    /// Reads a whole request. `None`: it is none, or carries no token.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut fields = Reader::new(bytes).enter(SEQUENCE)?;
        let mut request = Self::default();
        while let Some((tag, range)) = fields.next() {
            let mut field = fields.within(range);
            if tag == context(0) {
                request.version = number(field.bytes(field.clone().expect(INTEGER)?))?;
            } else if tag == context(1) {
                let mut tokens = field.enter(SEQUENCE)?.enter(SEQUENCE)?;
                request.token = tokens.enter(context(0))?.expect(OCTETS)?;
            }
        }
        (request.version > 0 && !request.token.is_empty()).then_some(request)
    }

    /// Whether the client is told what is wrong: not by the oldest versions, and not by one that forgot it.
    pub(super) fn hears_of_errors(&self) -> bool {
        !matches!(self.version, 0..=2 | 5)
    }
}

fn number(bytes: &[u8]) -> Option<u32> {
    let fits = (1..=4).contains(&bytes.len());
    fits.then(|| bytes.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
}

/// A request that carries a token.
pub(super) fn carry(token: &[u8]) -> Vec<u8> {
    let token = element(context(0), &element(OCTETS, token));
    wrap(&element(context(1), &element(SEQUENCE, &element(SEQUENCE, &token))))
}

/// A request that says what is wrong.
pub(super) fn failure(status: u32) -> Vec<u8> {
    wrap(&element(context(4), &element(INTEGER, &status.to_be_bytes())))
}

fn wrap(field: &[u8]) -> Vec<u8> {
    let version = element(context(0), &element(INTEGER, &[VERSION]));
    element(SEQUENCE, &[&version, field].concat())
}
