//! As much of DER as SPNEGO and CredSSP need: elements of definite length, one-byte tags.
//!
//! In: bytes of peers. Out: ranges within them, or nothing. Source: ITU-T X.690 section 8.1.

use std::ops::Range;

/// Tag of an OCTET STRING.
pub(in crate::decoy::services) const OCTETS: u8 = 0x04;

/// Tag of a SEQUENCE.
pub(in crate::decoy::services) const SEQUENCE: u8 = 0x30;

/// Tag of a context-specific, constructed element.
pub(in crate::decoy::services) const fn context(number: u8) -> u8 {
    0xa0 | number
}

/// The beginning of an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::decoy::services) struct Head {
    pub(in crate::decoy::services) tag: u8,
    /// Bytes of tag and length.
    pub(in crate::decoy::services) size: usize,
    /// Bytes of the content.
    pub(in crate::decoy::services) length: usize,
}

/// The head of the element that `bytes` begin with. `None`: there is too little yet, or it is no such element.
pub(in crate::decoy::services) fn head(bytes: &[u8]) -> Option<Head> {
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
pub(in crate::decoy::services) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Reader<'a> {
    /// Of all of `bytes`.
    pub(in crate::decoy::services) fn new(bytes: &'a [u8]) -> Self {
        let end = bytes.len();
        Self { bytes, at: 0, end }
    }

    /// Of a part of what this one reads; it counts from the same beginning.
    pub(in crate::decoy::services) fn within(&self, range: Range<usize>) -> Self {
        let end = range.end.min(self.end);
        let at = range.start.min(end);
        Self {
            bytes: self.bytes,
            at,
            end,
        }
    }

    /// The next element: its tag, and where its content is. `None`: the end, or it is cut off.
    pub(in crate::decoy::services) fn next(&mut self) -> Option<(u8, Range<usize>)> {
        let head = head(self.bytes.get(self.at..self.end)?)?;
        let from = self.at + head.size;
        let to = from.checked_add(head.length).filter(|to| *to <= self.end)?;
        self.at = to;
        Some((head.tag, from..to))
    }

    /// The content of the next element if it has this tag.
    pub(in crate::decoy::services) fn expect(&mut self, tag: u8) -> Option<Range<usize>> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, range)| range)
    }

    /// Reads within the next element, which must have this tag.
    pub(in crate::decoy::services) fn enter(&mut self, tag: u8) -> Option<Self> {
        let range = self.expect(tag)?;
        Some(self.within(range))
    }

    /// The bytes at a range.
    pub(in crate::decoy::services) fn bytes(&self, range: Range<usize>) -> &'a [u8] {
        self.bytes.get(range).unwrap_or_default()
    }
}

/// An element.
pub(in crate::decoy::services) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut out = Vec::with_capacity(length + 6);
    out.push(tag);
    let bytes = (length as u32).to_be_bytes();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    if length < 0x80 {
        out.push(length as u8);
    } else {
        out.push(0x80 | (4 - zeros) as u8);
        out.extend(bytes.iter().skip(zeros));
    }
    out.extend_from_slice(content);
    out
}
