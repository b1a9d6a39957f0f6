//! The packets of a MySQL or MariaDB connection up to the login. Pure.
//!
//! In: the payload of a client's packet. Out: who it is and how it proves it, or that it is no handshake; and the bytes
//! of what the server sends.
//!
//! Source: "Connection Phase" of the MySQL Internals Manual, and what mariadbd 10.11 does with lengths that lie.

use std::ops::Range;

/// Bytes of a packet before its payload: three of length, one of sequence.
pub(super) const HEADER: usize = 4;

/// Most connection attributes that are read.
const ATTRIBUTES_MAX: usize = 32;

/// Longest user that is said back, characters (`USERNAME_CHAR_LENGTH`).
const USER_CHARS_MAX: usize = 128;

/// Capability flags of both sides.
pub(super) mod capability {
    /// A database is named at login.
    pub(in super::super) const DATABASE: u32 = 1 << 3;
    /// The protocol since 4.1: errors have an SQL state.
    pub(in super::super) const PROTOCOL_41: u32 = 1 << 9;
    /// TLS comes next.
    pub(in super::super) const SSL: u32 = 1 << 11;
    /// The proof has a length and is of the kind since 4.1.
    pub(in super::super) const SECURE: u32 = 1 << 15;
    /// The kind of proof is named.
    pub(in super::super) const PLUGIN: u32 = 1 << 19;
    /// The client tells of itself.
    pub(in super::super) const ATTRIBUTES: u32 = 1 << 20;
    /// The proof has a length of any size.
    pub(in super::super) const LONG_PROOF: u32 = 1 << 21;
}

/// A packet with its header.
pub(super) fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(0).to_le_bytes();
    let mut out = Vec::with_capacity(HEADER + payload.len());
    out.extend_from_slice(length.get(..3).unwrap_or_default());
    out.push(sequence);
    out.extend_from_slice(payload);
    out
}

/// The length of a payload and its number, from a header.
pub(super) fn header(bytes: &[u8]) -> Option<(usize, u8)> {
    let [a, b, c, sequence, ..] = *bytes else {
        return None;
    };
    let length = u32::from_le_bytes([a, b, c, 0]);
    Some((usize::try_from(length).unwrap_or(usize::MAX), sequence))
}

/// A failure: its code, its SQL state where the client knows of such, its words.
pub(super) fn error(code: u16, state: Option<&str>, text: &[u8]) -> Vec<u8> {
    let mut out = vec![0xff];
    out.extend_from_slice(&code.to_le_bytes());
    if let Some(state) = state {
        out.push(b'#');
        out.extend_from_slice(state.as_bytes());
    }
    out.extend_from_slice(text);
    out
}

/// What a client answers to the greeting.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Login {
    /// Its capabilities.
    pub(super) capabilities: u32,
    /// The number of its collation; 0 before 4.1.
    pub(super) charset: u8,
    /// The user.
    pub(super) user: Vec<u8>,
    /// Where the proof is in the payload.
    pub(super) proof: Range<usize>,
    /// The database it asks for; empty if none.
    pub(super) database: Vec<u8>,
    /// The kind of proof; empty if it is not named.
    pub(super) plugin: Vec<u8>,
    /// What it says of itself: names and values.
    pub(super) attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What is no handshake, and whether it was one of 4.1 as far as it went.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bad {
    /// Errors to it have an SQL state.
    pub(super) has_state: bool,
}

/// Whether an answer to the greeting asks for TLS before the login; what follows the flags is not looked at then.
pub(super) fn wants_tls(payload: &[u8]) -> bool {
    const LEAST: usize = 32;
    let flags = Cursor { bytes: payload, at: 0 }.number(4).unwrap_or_default();
    let wanted = capability::PROTOCOL_41 | capability::SSL;
    payload.len() >= LEAST && flags & wanted == wanted
}

/// Reads a client's answer to the greeting.
pub(super) fn login(payload: &[u8]) -> Result<Login, Bad> {
    let mut at = Cursor { bytes: payload, at: 0 };
    let low = at
        .number(2)
        .filter(|_| payload.len() >= 6)
        .ok_or(Bad { has_state: true })?;
    let has_state = low & capability::PROTOCOL_41 != 0;
    let found = if has_state {
        since_41(at, low)
    } else {
        until_40(at, low)
    };
    found.ok_or(Bad { has_state })
}

fn since_41(mut at: Cursor<'_>, low: u32) -> Option<Login> {
    let capabilities = low | at.number(2)? << 16;
    at.skip(4)?;
    let charset = u8::try_from(at.number(1)?).ok()?;
    at.skip(23)?;
    rest(
        at,
        Login {
            capabilities,
            charset,
            ..Login::default()
        },
    )
}

fn until_40(mut at: Cursor<'_>, capabilities: u32) -> Option<Login> {
    at.skip(3)?;
    rest(
        at,
        Login {
            capabilities,
            ..Login::default()
        },
    )
}

/// User, proof, database, kind of proof, attributes.
fn rest(mut at: Cursor<'_>, mut login: Login) -> Option<Login> {
    let has = |flag: u32| login.capabilities & flag != 0;
    login.user = at.text()?.to_vec();
    let length = match () {
        () if !has(capability::SECURE) => memchr::memchr(0, at.left()).unwrap_or(at.left().len()),
        () if !has(capability::LONG_PROOF) => usize::try_from(at.number(1)?).ok()?,
        () => at.length()?,
    };
    let (has_database, has_plugin) = (has(capability::DATABASE), has(capability::PLUGIN));
    let has_attributes = has(capability::ATTRIBUTES);
    login.proof = at.at..at.at.checked_add(length)?;
    at.skip(length)?;
    if !has(capability::SECURE) {
        // Its end is a NUL, which the last may lack.
        let _ = at.skip(1);
    }
    if has_database {
        login.database = at.text_or_rest().to_vec();
    }
    if has_plugin {
        login.plugin = at.text_or_rest().to_vec();
    }
    if has_attributes {
        login.attributes = attributes(at);
    }
    Some(login)
}

/// The attributes, up to the first that is cut.
fn attributes(mut at: Cursor<'_>) -> Vec<(Vec<u8>, Vec<u8>)> {
    // Their whole length; each has its own.
    let _ = at.length();
    let next = || {
        let name = at.counted()?.to_vec();
        Some((name, at.counted()?.to_vec()))
    };
    std::iter::from_fn(next).take(ATTRIBUTES_MAX).collect()
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn left(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn skip(&mut self, count: usize) -> Option<&'a [u8]> {
        let skipped = self.left().get(..count)?;
        self.at += count;
        Some(skipped)
    }

    /// A number of up to 4 bytes, little endian.
    fn number(&mut self, count: usize) -> Option<u32> {
        let bytes = self.skip(count)?;
        Some(
            bytes
                .iter()
                .rev()
                .fold(0, |number, byte| number << 8 | u32::from(*byte)),
        )
    }

    /// A length of its own length; none beyond 16 MiB can be.
    fn length(&mut self) -> Option<usize> {
        let number = match self.number(1)? {
            small @ 0..=250 => small,
            0xfc => self.number(2)?,
            0xfd => self.number(3)?,
            _ => return None,
        };
        usize::try_from(number).ok()
    }

    fn counted(&mut self) -> Option<&'a [u8]> {
        let length = self.length()?;
        self.skip(length)
    }

    /// Up to a NUL, which there must be.
    fn text(&mut self) -> Option<&'a [u8]> {
        let end = memchr::memchr(0, self.left())?;
        let text = self.skip(end);
        self.skip(1)?;
        text
    }

    fn text_or_rest(&mut self) -> &'a [u8] {
        let end = memchr::memchr(0, self.left()).unwrap_or(self.left().len());
        let text = self.skip(end).unwrap_or_default();
        let _ = self.skip(1);
        text
    }
}

/// A user as an error shows it: at most 128 characters, what cannot be printed as its number, what is no text as `?`.
/// `charset`: the client's; latin1 is said back as it came.
pub(super) fn shown(user: &[u8], charset: u8) -> Vec<u8> {
    const LATIN1: u8 = 8;
    const UTF8MB3: [u8; 3] = [33, 83, 192];
    if charset == LATIN1 {
        return user.get(..USER_CHARS_MAX).unwrap_or(user).to_vec();
    }
    let mut out = String::new();
    for chunk in user.utf8_chunks() {
        chunk.valid().chars().for_each(|character| match character {
            '\t' | '\n' | '\r' => out.push(character),
            _ if character.is_control() => out.push_str(&format!("\\{:04X}", u32::from(character))),
            '\u{10000}'.. if UTF8MB3.contains(&charset) => out.push_str("????"),
            '\u{10000}'.. => out.push('?'),
            _ => out.push(character),
        });
        out.extend(chunk.invalid().iter().map(|_| '?'));
    }
    out.chars().take(USER_CHARS_MAX).collect::<String>().into_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_user_is_shown_as_10_11_shows_it() {
        for (user, charset, expected) in [
            (&b"root"[..], 33, &b"root"[..]),
            (b"a'b\"c\\\n\x1b\x7f", 45, b"a'b\"c\\\n\\001B\\007F"),
            ("a\u{80}\u{9f}é".as_bytes(), 255, "a\\0080\\009Fé".as_bytes()),
            ("\u{1f600}".as_bytes(), 33, b"????"),
            ("\u{1f600}".as_bytes(), 45, b"?"),
            (b"e\xe2\x82", 33, b"e??"),
            (b"e\xe2\x82", 8, b"e\xe2\x82"),
            (&[b'x'; 200], 33, &[b'x'; 128]),
        ] {
            assert_eq!(
                shown(user, charset).escape_ascii().to_string(),
                expected.escape_ascii().to_string()
            );
        }
    }

    #[test]
    fn lengths_that_lie_are_no_handshake() {
        let head = |flags: u32| [&flags.to_le_bytes()[..], &[0, 0, 0, 1, 33], &[0; 23]].concat();
        let flags = capability::PROTOCOL_41 | capability::SECURE;
        for rest in [
            &b""[..],
            b"root",
            b"root\0",
            b"root\0\xff12345678901234567890",
            b"root\0\x14\xaa\xaa",
        ] {
            assert_eq!(login(&[&head(flags), rest].concat()), Err(Bad { has_state: true }));
        }
        let long = [
            &head(flags | capability::LONG_PROOF)[..],
            b"root\0\xfe\xff\xff\xff\xff\xff\xff\xff\xff",
        ]
        .concat();
        assert_eq!(login(&long), Err(Bad { has_state: true }));
        assert_eq!(login(b"\x85\xa6\xff\x01"), Err(Bad { has_state: true }));
        assert_eq!(login(b"aaaaaaaaaa"), Err(Bad { has_state: false }));
    }

    #[test]
    fn what_a_client_tells_of_itself_is_read() {
        let flags = capability::PROTOCOL_41
            | capability::SECURE
            | capability::DATABASE
            | capability::PLUGIN
            | capability::ATTRIBUTES;
        let payload = [
            &flags.to_le_bytes()[..],
            &[0, 0, 0, 1, 45],
            &[0; 23],
            b"root\0\x03abcshop\0mysql_native_password\0\x0a\x03_os\x05Linux\xfb",
        ]
        .concat();
        let read = login(&payload).expect("it is whole");
        assert_eq!((&payload[read.proof.clone()], read.charset), (&b"abc"[..], 45));
        assert_eq!(
            (&read.user[..], &read.database[..], &read.plugin[..]),
            (&b"root"[..], &b"shop"[..], &b"mysql_native_password"[..])
        );
        assert_eq!(read.attributes, [(b"_os".to_vec(), b"Linux".to_vec())]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_login_within_them_or_none(mut payload in prop::collection::vec(any::<u8>(), 0..200), flags: u32) {
            for (at, byte) in flags.to_le_bytes().iter().enumerate().take(payload.len()) {
                payload[at] = *byte;
            }
            if let Ok(login) = login(&payload) {
                prop_assert!(login.proof.end <= payload.len() && login.attributes.len() <= ATTRIBUTES_MAX);
                prop_assert!(shown(&login.user, login.charset).len() <= 4 * USER_CHARS_MAX);
            }
        }
    }
}
