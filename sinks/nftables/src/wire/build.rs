//! Builds messages, one behind the other, with lengths filled in when a nest closes.

use std::io;

use super::ALIGN;
use super::numbers as nr;

/// What stands at the head of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// The message of nf_tables.
    pub(crate) kind: u16,
    /// Flags besides `REQUEST`.
    pub(crate) flags: u16,
    /// What the answer will carry.
    pub(crate) sequence: u32,
}

/// Bytes of messages under construction.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    bytes: Vec<u8>,
    is_too_long: bool,
}

impl Builder {
    /// Bytes so far.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// A message of nf_tables about family `inet`, its attributes by `fill`.
    pub(crate) fn message(&mut self, head: Head, fill: impl FnOnce(&mut Self)) {
        let kind = (nr::SUBSYS_NFTABLES << 8) | head.kind;
        self.whole(kind, head, nr::PROTO_INET, 0, fill);
    }

    /// The begin or the end of a transaction.
    pub(crate) fn bracket(&mut self, kind: u16, sequence: u32) {
        let head = Head {
            kind,
            flags: 0,
            sequence,
        };
        self.whole(kind, head, nr::PROTO_UNSPEC, nr::SUBSYS_NFTABLES, |_| {});
    }

    fn whole(&mut self, kind: u16, head: Head, family: u8, resource: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend([0; 4]);
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend((nr::F_REQUEST | head.flags).to_ne_bytes());
        self.bytes.extend(head.sequence.to_ne_bytes());
        self.bytes.extend([0; 4]);
        self.bytes.extend([family, 0]);
        self.bytes.extend(resource.to_be_bytes());
        fill(self);
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        self.set(start, &length.to_ne_bytes());
    }

    /// Attributes within an attribute.
    pub(crate) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        // NLA_F_NESTED.
        let start = self.open(kind | 0x8000);
        fill(self);
        self.close(start);
    }

    /// Bytes as they are.
    pub(crate) fn raw(&mut self, kind: u16, value: &[u8]) {
        let start = self.open(kind);
        self.bytes.extend(value);
        self.close(start);
    }

    /// A text that ends in a zero.
    pub(crate) fn text(&mut self, kind: u16, value: &str) {
        let start = self.open(kind);
        self.bytes.extend(value.as_bytes());
        self.bytes.push(0);
        self.close(start);
    }

    /// A number of 4 bytes.
    pub(crate) fn u32(&mut self, kind: u16, value: u32) {
        self.raw(kind, &value.to_be_bytes());
    }

    /// A number of 8 bytes.
    pub(crate) fn u64(&mut self, kind: u16, value: u64) {
        self.raw(kind, &value.to_be_bytes());
    }

    fn open(&mut self, kind: u16) -> usize {
        let start = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend(kind.to_ne_bytes());
        start
    }

    fn close(&mut self, start: usize) {
        let length = self.bytes.len() - start;
        self.is_too_long |= length > usize::from(u16::MAX);
        let length = u16::try_from(length).unwrap_or(u16::MAX);
        self.set(start, &length.to_ne_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGN), 0);
    }

    /// Has the kernel answer the message that begins `at`.
    pub(crate) fn ask_answer(&mut self, at: usize) {
        let place = at + 6;
        let flags = self.bytes.get(place..place + 2).and_then(|two| two.try_into().ok());
        let flags = flags.map_or(0, u16::from_ne_bytes) | nr::F_ACK;
        self.set(place, &flags.to_ne_bytes());
    }

    fn set(&mut self, at: usize, value: &[u8]) {
        if let Some(place) = self.bytes.get_mut(at..at + value.len()) {
            place.copy_from_slice(value);
        }
    }

    /// The messages. Errors: an attribute is longer than its length can say.
    pub(crate) fn bytes(&self) -> io::Result<&[u8]> {
        match self.is_too_long {
            true => Err(rustix::io::Errno::MSGSIZE.into()),
            false => Ok(&self.bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_laid_out_as_the_kernel_reads_it() {
        let mut builder = Builder::default();
        let head = Head {
            kind: nr::NEWTABLE,
            flags: nr::F_CREATE,
            sequence: 7,
        };
        builder.message(head, |b| {
            b.text(nr::TABLE_NAME, "trap");
            b.nest(2, |b| b.u32(1, 5));
        });
        let mut wanted = 44_u32.to_ne_bytes().to_vec();
        wanted.extend(0x0a00_u16.to_ne_bytes());
        wanted.extend(0x0401_u16.to_ne_bytes());
        wanted.extend(7_u32.to_ne_bytes());
        wanted.extend([0, 0, 0, 0, 1, 0, 0, 0]);
        wanted.extend([9_u16.to_ne_bytes(), 1_u16.to_ne_bytes()].concat());
        wanted.extend(*b"trap\0\0\0\0");
        wanted.extend([12_u16.to_ne_bytes(), 0x8002_u16.to_ne_bytes()].concat());
        wanted.extend([8_u16.to_ne_bytes(), 1_u16.to_ne_bytes()].concat());
        wanted.extend([0, 0, 0, 5]);
        assert_eq!(builder.bytes().unwrap(), wanted);
        assert_eq!(builder.len(), 44);
    }

    #[test]
    fn a_bracket_names_the_subsystem() {
        let mut builder = Builder::default();
        builder.bracket(nr::BATCH_BEGIN, 1);
        let bytes = builder.bytes().unwrap();
        assert_eq!(bytes.len(), 20);
        assert_eq!(bytes[16..], [0, 0, 0, 10]);
    }

    #[test]
    fn a_nest_that_is_too_long_is_an_error_and_not_cut() {
        let mut builder = Builder::default();
        builder.nest(1, |b| (0..3).for_each(|_| b.raw(1, &[0; 30_000])));
        assert_eq!(builder.bytes().unwrap_err().raw_os_error(), Some(90));
    }
}
