//! The frames that SMB travels in: NetBIOS session service, or the same four bytes directly over TCP.
//!
//! Source: RFC 1002 section 4.3, MS-SMB2 2.1. Lengths are of 24 bits; what is longer than the session's input never
//! becomes whole.

/// What stands at the front of the input.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// Not yet a whole frame.
    More,
    /// A frame of this kind, of so many bytes with its head.
    Whole {
        /// 0: a message.
        kind: u8,
        /// Bytes, head included.
        end: usize,
    },
}

/// Bytes before a frame's content.
pub(super) const HEAD: usize = 4;

/// A message.
pub(super) const MESSAGE: u8 = 0x00;

/// Asks for a session with a NetBIOS name.
pub(super) const REQUEST: u8 = 0x81;

/// Grants a session.
pub(super) const GRANTED: &[u8] = b"\x82\0\0\0";

/// Refuses one: the called name is not present.
pub(super) const NOT_PRESENT: &[u8] = b"\x83\0\0\x01\x82";

/// Refuses one: unspecified error.
pub(super) const UNSPECIFIED: &[u8] = b"\x83\0\0\x01\x8f";

/// Reads the frame at the front.
pub(super) fn next(input: &[u8]) -> Frame {
    let Some([kind, high, middle, low]) = input.first_chunk() else {
        return Frame::More;
    };
    let end = HEAD + u32::from_be_bytes([0, *high, *middle, *low]) as usize;
    match input.len() {
        length if length < end => Frame::More,
        _ => Frame::Whole { kind: *kind, end },
    }
}

/// A message in its frame.
pub(super) fn wrap(message: &[u8]) -> Vec<u8> {
    let mut out = (message.len() as u32 & 0x00ff_ffff).to_be_bytes().to_vec();
    out.extend_from_slice(message);
    out
}

/// The calling name of a session request. `None`: the request is no such thing.
pub(super) fn calling_name(request: &[u8]) -> Option<String> {
    let (_, rest) = name(request)?;
    name(rest).map(|(name, _)| name)
}

/// A name in the first-level encoding (RFC 1001 section 14.1), without its padding and type; and what follows it.
fn name(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (&32, rest) = bytes.split_first()? else {
        return None;
    };
    let (encoded, rest) = rest.split_at_checked(32)?;
    let rest = rest.strip_prefix(b"\0")?;
    let nibble = |letter: u8| letter.checked_sub(b'A').filter(|nibble| *nibble < 16);
    let mut decoded = Vec::with_capacity(16);
    for pair in encoded.chunks_exact(2) {
        decoded.push(nibble(*pair.first()?)? << 4 | nibble(*pair.last()?)?);
    }
    decoded.pop();
    let text = String::from_utf8_lossy(&decoded);
    Some((text.trim_end_matches([' ', '\0']).to_owned(), rest))
}
