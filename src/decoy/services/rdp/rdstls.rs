//! RDSTLS: a login that a client was given by another server, to show it here, over TLS (MS-RDPBCGR 2.2.17).
//!
//! In: what the input begins with. Out: who logs on, and where in it the proof is; the server's two messages. All
//! numbers are little end first, strings are UTF-16 with a NUL.

use std::ops::Range;

use crate::decoy::services::ntlm::{decode, u16_at};

/// What the server says first: which version it speaks.
pub(super) const CAPABILITIES: &[u8] = b"\x01\0\x01\0\x01\0\x01\0";

/// What it says last: user or password is wrong.
pub(super) const LOGON_FAILURE: &[u8] = b"\x01\0\x04\0\x01\0\x2e\x05\0\0";

/// Most bytes of a field.
const FIELD_MAX: u16 = 4 << 10;

/// A login.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) domain: String,
    /// Where the password is, which the other server encrypted, or the cookie of a session.
    pub(super) secret: Range<usize>,
}

/// What stands at the front of the input.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Front {
    /// Not yet a whole login.
    More,
    /// A login, and so many bytes.
    Whole(Login, usize),
    /// None at all.
    Broken,
}

/// Reads the login at the front.
pub(super) fn next(input: &[u8]) -> Front {
    const PASSWORD: &[u8] = b"\x01\0\x02\0\x01\0";
    const COOKIE: &[u8] = b"\x01\0\x02\0\x02\0";
    let Some(head) = input.get(..PASSWORD.len()) else {
        return if PASSWORD.starts_with(input.get(..4).unwrap_or(input)) {
            Front::More
        } else {
            Front::Broken
        };
    };
    let mut at = head.len();
    // A GUID, user, domain and password; or the number of a session, and its cookie.
    let count = match head {
        PASSWORD => 4,
        COOKIE => {
            at += 4;
            1
        }
        _ => return Front::Broken,
    };
    let mut fields = Vec::with_capacity(count);
    for _ in 0..count {
        match u16_at(input, at) {
            Some(length) if length > FIELD_MAX => return Front::Broken,
            Some(length) if input.len() >= at + 2 + usize::from(length) => {
                fields.push(at + 2..at + 2 + usize::from(length));
                at += 2 + usize::from(length);
            }
            _ => return Front::More,
        }
    }
    Front::Whole(login(input, &fields), at)
}

fn login(input: &[u8], fields: &[Range<usize>]) -> Login {
    let text = |range: &Range<usize>| {
        let text = decode(input.get(range.clone()).unwrap_or_default(), true);
        text.trim_end_matches('\0').to_owned()
    };
    let secret = fields.last().cloned().unwrap_or_default();
    match fields {
        [_, user, domain, _] => Login {
            user: text(user),
            domain: text(domain),
            secret,
        },
        _ => Login {
            secret,
            ..Login::default()
        },
    }
}
