//! DER: as much as keys and certificates need to be written, and what SPNEGO and CredSSP say to be read and answered.
//! Elements of definite length with one-byte tags. Pure.
//!
//! In: bytes of peers. Out: ranges within them, or nothing. Source: ITU-T X.690 sections 8.1 and 10.1.

use std::ops::Range;

/// Tag of a bit string.
pub(crate) const BITS: u8 = 3;
/// Tag of an octet string.
pub(crate) const OCTETS: u8 = 4;
/// Tag of an object identifier.
pub(crate) const OBJECT: u8 = 6;

/// Tag of a sequence.
pub(crate) const SEQUENCE: u8 = 0x30;
/// Tag of an integer.
pub(crate) const INTEGER: u8 = 2;

/// Tag of a context-specific, constructed element.
pub(crate) const fn context(number: u8) -> u8 {
    0xa0 | number
}

/// The beginning of an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) tag: u8,
    /// Bytes of tag and length.
    pub(crate) size: usize,
    /// Bytes of the content.
    pub(crate) length: usize,
}

/// The head of the element that `bytes` begin with. `None`: there is too little yet, or it is no such element.
pub(crate) fn head(bytes: &[u8]) -> Option<Head> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    if first < 0x80 {
        let length = usize::from(first);
        return Some(Head { tag, size: 2, length });
    }
    let count = usize::from(first & 0x7f);
    if !(1..=4).contains(&count) {
        return None;
    }
    let length = rest
        .get(..count)?
        .iter()
        .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    Some(Head {
        tag,
        size: 2 + count,
        length,
    })
}

/// Reads elements one after another.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Reader<'a> {
    /// Of all of `bytes`.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        let end = bytes.len();
        Self { bytes, at: 0, end }
    }

    /// Of a part of what this one reads; it counts from the same beginning.
    pub(crate) fn within(&self, range: Range<usize>) -> Self {
        let end = range.end.min(self.end);
        let at = range.start.min(end);
        Self {
            bytes: self.bytes,
            at,
            end,
        }
    }

    /// The next element: its tag, and where its content is. `None`: the end, or it is cut off.
    pub(crate) fn next(&mut self) -> Option<(u8, Range<usize>)> {
        let head = head(self.bytes.get(self.at..self.end)?)?;
        let from = self.at + head.size;
        let to = from.checked_add(head.length).filter(|to| *to <= self.end)?;
        self.at = to;
        Some((head.tag, from..to))
    }

    /// The content of the next element if it has this tag.
    pub(crate) fn expect(&mut self, tag: u8) -> Option<Range<usize>> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, range)| range)
    }

    /// Reads within the next element, which must have this tag.
    pub(crate) fn enter(&mut self, tag: u8) -> Option<Self> {
        let range = self.expect(tag)?;
        Some(self.within(range))
    }

    /// The bytes at a range.
    pub(crate) fn bytes(&self, range: Range<usize>) -> &'a [u8] {
        self.bytes.get(range).unwrap_or_default()
    }
}

/// One element: its tag, its length, its content.
pub(crate) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let zeros = length.iter().take_while(|byte| **byte == 0).count();
    let digits = length.get(zeros..).unwrap_or_default();
    let mut out = vec![tag];
    match digits {
        [] => out.push(0),
        [short @ 0..=0x7f] => out.push(*short),
        digits => {
            out.push(0x80 | u8::try_from(digits.len()).unwrap_or_default());
            out.extend_from_slice(digits);
        }
    }
    out.extend_from_slice(content);
    out
}

/// An unsigned integer, big end first.
pub(crate) fn integer(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let digits = number.get(zeros..).unwrap_or_default();
    match digits.first() {
        Some(1..=0x7f) => element(INTEGER, digits),
        _ => element(INTEGER, &[&[0], digits].concat()),
    }
}

/// A sequence of elements.
pub(crate) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    element(SEQUENCE, &parts.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_signs_are_as_short_as_they_can_be() {
        assert_eq!(integer(&[0]), [2, 1, 0]);
        assert_eq!(integer(&[0, 0x7f]), [2, 1, 0x7f]);
        assert_eq!(integer(&[0x80]), [2, 2, 0, 0x80]);
        assert_eq!(sequence(&[]), [0x30, 0]);
        assert_eq!(element(OCTETS, &[7; 200])[..4], [4, 0x81, 200, 7]);
        assert_eq!(element(OCTETS, &[7; 0x102])[..5], [4, 0x82, 1, 2, 7]);
    }
}
