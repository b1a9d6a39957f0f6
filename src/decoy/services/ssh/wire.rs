//! SSH's data types: reading them off bytes, and putting messages together.
//!
//! Invariant: no length from the wire is believed before that many bytes are there; nothing is copied while reading.
//!
//! Source: RFC 4251 section 5.

/// Reads values off the front of bytes; `None` where the bytes do not hold one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// At the front of `bytes`.
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// One byte.
    pub(super) fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    /// A boolean: all but 0 is true.
    pub(super) fn boolean(&mut self) -> Option<bool> {
        self.byte().map(|byte| byte != 0)
    }

    /// A number of 32 bits.
    pub(super) fn u32(&mut self) -> Option<u32> {
        let (number, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*number))
    }

    /// Any bytes, after their length.
    pub(super) fn string(&mut self) -> Option<&'a [u8]> {
        let mut rest = *self;
        let length = rest.u32()? as usize;
        let (string, rest) = rest.0.split_at_checked(length)?;
        self.0 = rest;
        Some(string)
    }

    /// A string that OpenSSH reads as text: one NUL may end it, none may stand within.
    pub(super) fn text(&mut self) -> Option<&'a [u8]> {
        let text = self.string()?;
        match text.iter().position(|byte| *byte == 0) {
            None => Some(text),
            Some(at) if at + 1 == text.len() => text.get(..at),
            Some(_) => None,
        }
    }

    /// A number of any size that is not negative, without its leading zeros.
    pub(super) fn number(&mut self) -> Option<&'a [u8]> {
        let number = self.string()?;
        let is_negative = number.first().is_some_and(|first| first & 0x80 != 0);
        (!is_negative).then(|| trimmed(number))
    }

    /// Whether all is read.
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Puts a message together.
#[derive(Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    /// A message with this number.
    pub(super) fn message(number: u8) -> Self {
        Self(vec![number])
    }

    /// Bytes as they are.
    pub(super) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// One byte.
    pub(super) fn byte(self, byte: u8) -> Self {
        self.raw(&[byte])
    }

    /// A number of 32 bits.
    pub(super) fn u32(self, number: u32) -> Self {
        self.raw(&number.to_be_bytes())
    }

    /// Bytes, after their length.
    pub(super) fn string(self, bytes: &[u8]) -> Self {
        self.u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX)).raw(bytes)
    }

    /// A number of any size that is not negative, big end first.
    pub(super) fn number(self, bytes: &[u8]) -> Self {
        let bytes = trimmed(bytes);
        // A first bit that is set would make it negative.
        match bytes.first() {
            Some(first) if first & 0x80 != 0 => self.string(&[&[0], bytes].concat()),
            _ => self.string(bytes),
        }
    }

    /// The bytes.
    pub(super) fn done(self) -> Vec<u8> {
        self.0
    }
}

/// A number without its leading zeros.
pub(super) fn trimmed(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_as_rfc_4251_shows_them() {
        let number = |bytes: &[u8]| Writer::default().number(bytes).done();
        assert_eq!(number(&[]), [0, 0, 0, 0]);
        assert_eq!(number(&[0, 0]), [0, 0, 0, 0]);
        let large = [0x09, 0xa3, 0x78, 0xf9, 0xb2, 0xe3, 0x32, 0xa7];
        assert_eq!(number(&large), [&[0, 0, 0, 8][..], &large].concat());
        assert_eq!(number(&[0x80]), [0, 0, 0, 2, 0, 0x80]);
        let list = Writer::message(20).string(b"zlib,none").done();
        assert_eq!(list, b"\x14\0\0\0\x09zlib,none");
    }

    #[test]
    fn a_text_may_end_in_one_nul_and_hold_none() {
        let text = |bytes: &'static [u8]| Reader::new(bytes).text();
        assert_eq!(text(b"\0\0\0\x02ab"), Some(&b"ab"[..]));
        assert_eq!(text(b"\0\0\0\x02a\0"), Some(&b"a"[..]));
        assert_eq!(text(b"\0\0\0\x02\0a"), None);
        assert_eq!(text(b"\0\0\0\x03ab"), None);
    }

    #[test]
    fn a_negative_number_is_none() {
        assert_eq!(Reader::new(&[0, 0, 0, 1, 0x80]).number(), None);
        assert_eq!(Reader::new(&[0, 0, 0, 2, 0, 0x80]).number(), Some(&[0x80][..]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_within_their_length_and_written_back(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut reader = Reader::new(&bytes);
            while let Some(string) = reader.string() {
                prop_assert!(string.len() <= bytes.len());
            }
            let _ = (reader.text(), reader.number(), reader.u32(), reader.boolean(), reader.byte());
            let written = Writer::default().string(&bytes).number(&bytes).u32(7).done();
            let mut reader = Reader::new(&written);
            prop_assert_eq!(reader.string(), Some(&bytes[..]));
            prop_assert_eq!(reader.number(), Some(trimmed(&bytes)));
            prop_assert_eq!(reader.u32(), Some(7));
            prop_assert!(reader.is_empty());
        }
    }
}
