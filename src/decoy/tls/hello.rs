//! Reads the ClientHello that begins a stream, as sent, whatever else the client then does.
//!
//! In: the first bytes of a stream, whole or not. Out: [`Read`]. The hello may be split over any number of records
//! (RFC 8446 section 5.1); a hello in the form of SSL 2.0 (RFC 5246 appendix E.2) is told as such.
//!
//! Limits: a hello has at most [`HELLO_BYTES_MAX`] bytes; names and lists are as long as they are in it, and are cut
//! where they are reported.

use std::ops::Range;

/// Longest hello that is read, bytes. Clients of today send up to 2,000.
pub(crate) const HELLO_BYTES_MAX: usize = 32 << 10;

/// Longest fragment of a record (RFC 8446 section 5.1, and what TLS 1.2 allows on top).
const RECORD_BYTES_MAX: usize = (16 << 10) + 2048;

/// Record types (RFC 8446 section 5.1).
const HANDSHAKE: u8 = 22;

/// What the first bytes of a stream are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// The beginning of a hello, or nothing yet.
    More,
    /// A hello.
    Hello(Box<Hello>),
    /// A hello in the form of SSL 2.0.
    Old(OldHello),
    /// Records, but no hello that can be read.
    Malformed(Fault),
    /// No TLS.
    Other,
}

/// What is wrong with something that is TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Another record or message than the one that begins a connection.
    Unexpected,
    /// A record longer than any may be.
    Overflow,
    /// The hello is not one.
    Decode,
}

/// A ClientHello (RFC 8446 section 4.1.2), in the client's order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Hello {
    /// `legacy_version`.
    pub(crate) version: u16,
    /// Cipher suites.
    pub(crate) ciphers: Vec<u16>,
    /// Types of the extensions.
    pub(crate) extensions: Vec<u16>,
    /// `server_name` of type host name (RFC 6066 section 3).
    pub(crate) server_name: Option<Vec<u8>>,
    /// `supported_groups`.
    pub(crate) groups: Vec<u16>,
    /// `ec_point_formats`.
    pub(crate) point_formats: Vec<u8>,
    /// `signature_algorithms`.
    pub(crate) signatures: Vec<u16>,
    /// `application_layer_protocol_negotiation` (RFC 7301).
    pub(crate) alpn: Vec<Vec<u8>>,
    /// `supported_versions`; empty: only `version` is offered.
    pub(crate) versions: Vec<u16>,
}

impl Hello {
    /// The highest version that it offers. Values that only keep servers tolerant (RFC 8701) are none.
    pub(crate) fn highest(&self) -> u16 {
        let offered = self.versions.iter().copied().filter(|version| !is_grease(*version));
        offered.max().unwrap_or(self.version)
    }
}

/// A hello in the form of SSL 2.0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OldHello {
    /// The version that it offers.
    pub(crate) version: u16,
    /// Its cipher suites, each of 24 bits.
    pub(crate) ciphers: Vec<u32>,
}

/// Whether a value means nothing and only keeps servers tolerant (RFC 8701).
pub(crate) const fn is_grease(value: u16) -> bool {
    let [high, low] = value.to_be_bytes();
    high == low && low & 0x0f == 0x0a
}

/// Reads the first bytes of a stream.
pub(crate) fn read(bytes: &[u8]) -> Read {
    match bytes {
        [] => Read::More,
        [20..=23] | [20..=23, 3] | [20..=23, 3, _] | [20..=23, 3, _, _] => Read::More,
        [20..=23, 3, ..] => records(bytes),
        [128..=255, ..] => old(bytes),
        _ => Read::Other,
    }
}

/// Whether a stream that begins so is taken for something else than TLS by servers that can answer it (nginx looks at
/// the first byte, Apache at the first word).
pub(crate) fn is_plain(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| !matches!(first, 20..=23 | 128..))
}

/// Joins the fragments of the first message, and reads it.
fn records(bytes: &[u8]) -> Read {
    let mut rest = Cursor(bytes);
    let mut message = Vec::new();
    loop {
        let (Some(kind), Some(_), Some(length)) = (rest.byte(), rest.short(), rest.short()) else {
            return Read::More;
        };
        let length = usize::from(length);
        if kind != HANDSHAKE {
            return Read::Malformed(Fault::Unexpected);
        }
        if length > RECORD_BYTES_MAX {
            return Read::Malformed(Fault::Overflow);
        }
        let fragment = rest.0.get(..length).unwrap_or(rest.0);
        message.extend_from_slice(fragment);
        match whole(&message) {
            Whole::More if message.len() > HELLO_BYTES_MAX => return Read::Malformed(Fault::Decode),
            Whole::More if fragment.len() < length => return Read::More,
            Whole::More => rest = Cursor(rest.0.get(length..).unwrap_or_default()),
            Whole::Other => return Read::Malformed(Fault::Unexpected),
            Whole::TooLong => return Read::Malformed(Fault::Decode),
            Whole::Message(place) => {
                let body = message.get(place).unwrap_or_default();
                return match hello(body) {
                    Some(hello) => Read::Hello(Box::new(hello)),
                    None => Read::Malformed(Fault::Decode),
                };
            }
        }
    }
}

/// What there is of the first handshake message.
enum Whole {
    More,
    Other,
    TooLong,
    Message(Range<usize>),
}

fn whole(message: &[u8]) -> Whole {
    match message {
        [] => Whole::More,
        [1, a, b, c, rest @ ..] => {
            let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            match rest.len() {
                _ if length > HELLO_BYTES_MAX => Whole::TooLong,
                have if have >= length => Whole::Message(4..4 + length),
                _ => Whole::More,
            }
        }
        [1, ..] => Whole::More,
        _ => Whole::Other,
    }
}

/// Reads the body of a hello. `None`: a length in it cannot be.
fn hello(body: &[u8]) -> Option<Hello> {
    let mut body = Cursor(body);
    let mut hello = Hello {
        version: body.short()?,
        ..Hello::default()
    };
    body.take(32)?;
    body.vector8()?;
    hello.ciphers = body.vector16()?.shorts()?;
    body.vector8()?;
    // A hello without extensions is whole (RFC 5246 section 7.4.1.2).
    if body.0.is_empty() {
        return Some(hello);
    }
    let mut extensions = body.vector16()?;
    while !extensions.0.is_empty() {
        let kind = extensions.short()?;
        let data = extensions.vector16()?;
        hello.extensions.push(kind);
        hello.extend(kind, data)?;
    }
    body.0.is_empty().then_some(hello)
}

impl Hello {
    /// Takes in one extension of those that tell something.
    fn extend(&mut self, kind: u16, mut data: Cursor<'_>) -> Option<()> {
        match kind {
            0 => self.server_name = server_name(data),
            10 => self.groups = data.vector16()?.shorts()?,
            11 => self.point_formats = data.vector8()?.0.to_vec(),
            13 => self.signatures = data.vector16()?.shorts()?,
            16 => self.alpn = protocols(data.vector16()?)?,
            43 => self.versions = data.vector8()?.shorts()?,
            _ => {}
        }
        Some(())
    }
}

/// The first host name of the list; a list that cannot be read has none, and the hello is still one.
fn server_name(mut data: Cursor<'_>) -> Option<Vec<u8>> {
    let mut names = data.vector16()?;
    while let (Some(kind), Some(name)) = (names.byte(), names.vector16()) {
        if kind == 0 {
            return Some(name.0.to_vec());
        }
    }
    None
}

fn protocols(mut list: Cursor<'_>) -> Option<Vec<Vec<u8>>> {
    let mut protocols = Vec::new();
    while !list.0.is_empty() {
        protocols.push(list.vector8()?.0.to_vec());
    }
    Some(protocols)
}

/// Reads a hello in the form of SSL 2.0: a length of 15 bits, type 1, version, lengths of the lists, the lists.
fn old(bytes: &[u8]) -> Read {
    let mut rest = Cursor(bytes);
    let Some(length) = rest.short().map(|length| usize::from(length & 0x7fff)) else {
        return Read::More;
    };
    let header = (rest.byte(), rest.short());
    let is_hello = matches!(header, (None | Some(1), None | Some(2 | 0x0300..=0x0304)));
    if !is_hello || !(9..=HELLO_BYTES_MAX).contains(&length) {
        return Read::Other;
    }
    let (Some(version), Some(body)) = (header.1, bytes.get(5..2 + length)) else {
        return Read::More;
    };
    match old_ciphers(Cursor(body)) {
        Some(ciphers) => Read::Old(OldHello { version, ciphers }),
        None => Read::Other,
    }
}

fn old_ciphers(mut body: Cursor<'_>) -> Option<Vec<u32>> {
    let ciphers = usize::from(body.short()?);
    let rest = usize::from(body.short()?) + usize::from(body.short()?);
    let ciphers = body.take(ciphers)?;
    body.take(rest)?;
    let cipher = |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
    Some(ciphers.chunks_exact(3).map(cipher).collect())
}

/// What is left to read.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn short(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    /// A vector whose length is one byte.
    fn vector8(&mut self) -> Option<Self> {
        let length = self.byte()?;
        self.take(length.into()).map(Self)
    }

    /// A vector whose length is two bytes.
    fn vector16(&mut self) -> Option<Self> {
        let length = self.short()?;
        self.take(length.into()).map(Self)
    }

    /// All that is left as numbers of two bytes.
    fn shorts(self) -> Option<Vec<u16>> {
        let number = |pair: &[u8]| Some(u16::from_be_bytes(pair.try_into().ok()?));
        self.0.chunks(2).map(number).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{hello_of, in_records};
    use super::*;

    fn sample() -> Hello {
        Hello {
            version: 0x0303,
            ciphers: vec![0x1a1a, 0x1301, 0xc02f],
            extensions: vec![0x2a2a, 0, 10, 11, 13, 16, 43, 0xff01],
            server_name: Some(b"files03.corp.local".to_vec()),
            groups: vec![0x1a1a, 29, 23],
            point_formats: vec![0],
            signatures: vec![0x0403, 0x0804],
            alpn: vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            versions: vec![0x1a1a, 0x0304, 0x0303],
        }
    }

    #[test]
    fn a_hello_is_read_whole_and_in_the_clients_order() {
        let sent = in_records(&hello_of(&sample()), 16 << 10);
        assert_eq!(read(&sent), Read::Hello(Box::new(sample())));
        assert_eq!(sample().highest(), 0x0304);
    }

    #[test]
    fn a_hello_is_the_same_however_it_is_cut_into_records_and_arrives() {
        for record in [1, 2, 3, 7, 50, 255] {
            let sent = in_records(&hello_of(&sample()), record);
            for cut in 0..sent.len() {
                assert_eq!(read(&sent[..cut]), Read::More, "{cut} of records of {record}");
            }
            assert_eq!(read(&sent), Read::Hello(Box::new(sample())));
        }
    }

    #[test]
    fn what_is_no_hello_is_told_as_what_it_is() {
        for (sent, is) in [
            (&b"GET / HTTP/1.1\r\n"[..], Read::Other),
            (b"\x16\x99abc", Read::Other),
            (b"\x80\x99\x05", Read::Other),
            (b"\x17\x03\x01\0\x05hello", Read::Malformed(Fault::Unexpected)),
            (b"\x16\x03\x01\0\x04\x02\0\0\0", Read::Malformed(Fault::Unexpected)),
            (b"\x16\x03\x01\xff\xff", Read::Malformed(Fault::Overflow)),
            (
                b"\x16\x03\x01\0\x06\x01\0\0\x02\x03\x03",
                Read::Malformed(Fault::Decode),
            ),
            (b"\x16\x03\x01\0\x04\x01\xff\0\0", Read::Malformed(Fault::Decode)),
            (b"\x16\x03\x01\0\0", Read::More),
        ] {
            assert_eq!(read(sent), is, "{}", sent.escape_ascii());
        }
    }

    #[test]
    fn a_hello_of_ssl_2_is_recognised() {
        let mut sent = b"\x80\x1f\x01\x00\x02\x00\x06\x00\x00\x00\x10\x01\0\x80\0\0\x2f".to_vec();
        sent.extend([0x22; 16]);
        for cut in 0..sent.len() {
            assert_eq!(read(&sent[..cut]), Read::More);
        }
        let ciphers = vec![0x01_0080, 0x2f];
        assert_eq!(read(&sent), Read::Old(OldHello { version: 2, ciphers }));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = read(&bytes);
            let body = [&[22, 3, 1, 2, 88, 1, 0, 2, 84][..], &bytes].concat();
            let _ = read(&body);
        }

        #[test]
        fn any_bytes_in_place_of_one_of_a_hello_are_read_without_harm(at in 0usize..200, byte: u8, record in 1usize..300) {
            let mut sent = in_records(&hello_of(&sample()), record);
            let at = at % sent.len();
            sent[at] = byte;
            let _ = read(&sent);
        }
    }
}
