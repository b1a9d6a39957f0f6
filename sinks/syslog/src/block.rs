//! The messages of a batch, one after another in one piece of memory.

use bytes::Bytes;

use crate::frame::Framing;

/// Room made for a message at first.
const MESSAGE_BYTES: usize = 2560;

/// Messages under way.
#[derive(Debug)]
pub(crate) struct Block {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Block {
    pub(crate) fn with_room(messages: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(messages * MESSAGE_BYTES),
            ends: Vec::with_capacity(messages),
        }
    }

    /// Adds a message, as a frame if so asked.
    pub(crate) fn push(&mut self, header: &[u8], body: &[u8], framing: Option<Framing>) {
        match framing {
            Some(framing) => framing.frame(header, body, &mut self.bytes),
            None => [header, body]
                .iter()
                .for_each(|part| self.bytes.extend_from_slice(part)),
        }
        self.ends.push(self.bytes.len());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub(crate) fn finish(self) -> Pieces {
        Pieces {
            bytes: self.bytes.into(),
            ends: self.ends,
        }
    }
}

/// Messages, or the frames of a stream, to be sent.
#[derive(Debug)]
pub(crate) struct Pieces {
    bytes: Bytes,
    ends: Vec<usize>,
}

impl Pieces {
    /// All of them as they follow on each other.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Each of them; none is copied.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = Bytes> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| self.bytes.slice(start..*end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_what_was_added_and_follow_on_each_other() {
        let mut block = Block::with_room(2);
        assert!(block.is_empty());
        block.push(b"fi", b"rst", Some(Framing::OctetCounting));
        block.push(b"second", b"", Some(Framing::Newline));
        block.push(b"thi", b"rd", None);
        let block = block.finish();
        assert_eq!(block.bytes(), b"5 firstsecond\nthird");
        let pieces: Vec<_> = block.pieces().collect();
        assert_eq!(pieces, [&b"5 first"[..], b"second\n", b"third"]);
    }
}
