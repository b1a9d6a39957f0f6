//! Reads what the kernel sent. Whatever the bytes are, reading ends and never panics: what is cut is not there.

use super::numbers as nr;
use super::{ALIGN, ATTRIBUTE, GENERIC, HEADER};

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    /// Its type as sent: the subsystem above, the message of it below.
    kind: u16,
    /// Its flags.
    pub(crate) flags: u16,
    /// What it answers.
    pub(crate) sequence: u32,
    payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// The message of nf_tables that it is, if it is one.
    pub(crate) fn table_message(&self) -> Option<u16> {
        (self.kind >> 8 == nr::SUBSYS_NFTABLES).then_some(self.kind & 0xff)
    }

    /// Whether it ends the answer to a dump.
    pub(crate) fn is_done(&self) -> bool {
        self.kind == nr::DONE
    }

    /// Whether it says that messages were lost.
    pub(crate) fn is_overrun(&self) -> bool {
        self.kind == nr::OVERRUN
    }

    /// The family that it is about.
    pub(crate) fn family(&self) -> Option<u8> {
        self.payload.first().copied()
    }

    /// Its attributes.
    pub(crate) fn attributes(&self) -> Attributes<'a> {
        Attributes(self.payload.get(GENERIC..).unwrap_or_default())
    }

    /// If it is an answer to a request: 0, or the error's number.
    pub(crate) fn error(&self) -> Option<i32> {
        let is_answer = self.kind == nr::ERROR || self.kind == nr::DONE;
        let code = self.payload.get(..4).filter(|_| is_answer)?;
        let code = i32::from_ne_bytes(code.try_into().ok()?);
        Some(code.checked_neg().unwrap_or(i32::MAX).max(0))
    }
}

/// The messages of a datagram.
pub(crate) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let (message, rest) = message(bytes)?;
        bytes = rest;
        Some(message)
    })
}

fn message(bytes: &[u8]) -> Option<(Message<'_>, &[u8])> {
    let length = usize::try_from(u32::from_ne_bytes(four(bytes, 0)?)).ok()?;
    let (whole, rest) = cut(bytes, length, HEADER)?;
    let message = Message {
        kind: u16::from_ne_bytes(two(whole, 4)?),
        flags: u16::from_ne_bytes(two(whole, 6)?),
        sequence: u32::from_ne_bytes(four(whole, 8)?),
        payload: whole.get(HEADER..)?,
    };
    Some((message, rest))
}

/// The part of `length`, which is at least `least`, and what follows after the padding.
fn cut(bytes: &[u8], length: usize, least: usize) -> Option<(&[u8], &[u8])> {
    let part = bytes.get(..length).filter(|part| part.len() >= least)?;
    let padded = length.checked_next_multiple_of(ALIGN)?;
    Some((part, bytes.get(padded..).unwrap_or_default()))
}

fn two(bytes: &[u8], at: usize) -> Option<[u8; 2]> {
    bytes.get(at..at + 2)?.try_into().ok()
}

fn four(bytes: &[u8], at: usize) -> Option<[u8; 4]> {
    bytes.get(at..at + 4)?.try_into().ok()
}

/// Attributes, one behind the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    /// The value of the first of a kind.
    pub(crate) fn raw(mut self, kind: u16) -> Option<&'a [u8]> {
        self.find(|(found, _)| *found == kind).map(|(_, value)| value)
    }

    /// The attributes within the first of a kind.
    pub(crate) fn nest(self, kind: u16) -> Option<Self> {
        self.raw(kind).map(Self)
    }

    /// All nests of a kind.
    pub(crate) fn nests(self, kind: u16) -> impl Iterator<Item = Self> {
        self.filter(move |(found, _)| *found == kind)
            .map(|(_, value)| Self(value))
    }

    /// A number of 4 bytes.
    pub(crate) fn u32(self, kind: u16) -> Option<u32> {
        Some(u32::from_be_bytes(self.raw(kind)?.try_into().ok()?))
    }

    /// A number of 8 bytes.
    pub(crate) fn u64(self, kind: u16) -> Option<u64> {
        Some(u64::from_be_bytes(self.raw(kind)?.try_into().ok()?))
    }

    /// A text, without the zero behind it.
    pub(crate) fn text(self, kind: u16) -> Option<&'a str> {
        let bytes = self.raw(kind)?;
        std::str::from_utf8(bytes.strip_suffix(&[0]).unwrap_or(bytes)).ok()
    }
}

/// Kinds, without the bits that say how a value is made, and values.
impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16::from_ne_bytes(two(self.0, 0)?));
        let (whole, rest) = cut(self.0, length, ATTRIBUTE)?;
        let kind = u16::from_ne_bytes(two(whole, 2)?) & 0x3fff;
        self.0 = rest;
        Some((kind, whole.get(ATTRIBUTE..)?))
    }
}

/// An answer as the kernel writes it, for tests of those who read it.
#[cfg(test)]
pub(crate) fn answer(sequence: u32, error: i32) -> Vec<u8> {
    let mut bytes = 36_u32.to_ne_bytes().to_vec();
    bytes.extend(nr::ERROR.to_ne_bytes());
    bytes.extend([0; 2]);
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend((-error).to_ne_bytes());
    bytes.extend([0; 16]);
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Builder, Head};
    use super::*;

    fn element() -> Vec<u8> {
        let mut builder = Builder::default();
        let head = Head {
            kind: nr::NEWSETELEM,
            flags: nr::F_DUMP_INTR,
            sequence: 9,
        };
        builder.message(head, |b| {
            b.text(nr::LIST_TABLE, "trapline");
            b.nest(nr::LIST_ELEMENTS, |b| {
                b.nest(nr::LIST_ELEM, |b| b.u64(nr::ELEM_TIMEOUT, 60_000));
                b.nest(nr::LIST_ELEM, |b| b.u32(nr::ELEM_FLAGS, 1));
            });
        });
        builder.bytes().unwrap().to_vec()
    }

    #[test]
    fn what_was_built_reads_back() {
        let bytes = [element(), answer(3, 17)].concat();
        let read: Vec<_> = messages(&bytes).collect();
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].table_message(), Some(nr::NEWSETELEM));
        assert_eq!(
            (read[0].sequence, read[0].family(), read[0].error()),
            (9, Some(1), None)
        );
        let attributes = read[0].attributes();
        assert_eq!(attributes.text(nr::LIST_TABLE), Some("trapline"));
        let elements: Vec<_> = attributes
            .nest(nr::LIST_ELEMENTS)
            .unwrap()
            .nests(nr::LIST_ELEM)
            .collect();
        assert_eq!(elements[0].u64(nr::ELEM_TIMEOUT), Some(60_000));
        assert_eq!(
            (elements[1].u32(nr::ELEM_FLAGS), elements[1].u64(nr::ELEM_FLAGS)),
            (Some(1), None)
        );
        assert_eq!((read[1].error(), read[1].sequence), (Some(17), 3));
        assert_eq!(read[1].table_message(), None);
    }

    #[test]
    fn what_is_cut_is_not_there() {
        let bytes = element();
        for end in 0..bytes.len() {
            assert_eq!(messages(&bytes[..end]).count(), 0, "{end}");
        }
    }

    fn walk(attributes: Attributes<'_>, depth: usize) -> usize {
        let below = |value| match depth {
            0 => 0,
            _ => walk(Attributes(value), depth - 1),
        };
        attributes.map(|(_, value)| 1 + below(value)).sum()
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            for message in messages(&bytes) {
                message.error();
                prop_assert!(walk(message.attributes(), 4) <= bytes.len() * 5);
            }
        }

        #[test]
        fn a_changed_byte_is_no_harm(at in 0..100usize, byte in any::<u8>()) {
            let mut bytes = element();
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            for message in messages(&bytes) {
                walk(message.attributes(), 4);
                message.attributes().text(nr::LIST_TABLE);
            }
        }
    }
}
