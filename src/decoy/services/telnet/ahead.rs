//! What is typed before anybody reads it: bytes, each with its offset in the stream.
//!
//! In: data bytes in order. Out: the same, from the first. Invariant: what waits takes little more room than it has
//! bytes, because what came in one run is kept as one; of bytes and of runs there is a bound.

use std::collections::VecDeque;
use std::ops::Range;

/// Most bytes that wait.
const BYTES_MAX: usize = 8192;

/// Most runs that wait; options between the bytes make more of them.
const RUNS_MAX: usize = 256;

/// Typed bytes that wait.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    bytes: VecDeque<u8>,
    /// Where they are in the stream; none is empty.
    runs: VecDeque<Range<u64>>,
}

impl Ahead {
    /// Takes a byte, if there is room for it; offsets only grow.
    pub(super) fn push(&mut self, at: u64, byte: u8) -> bool {
        if self.bytes.len() >= BYTES_MAX {
            return false;
        }
        let is_full = self.runs.len() >= RUNS_MAX;
        match self.runs.back_mut() {
            Some(last) if last.end == at => last.end = at + 1,
            _ if is_full => return false,
            _ => self.runs.push_back(at..at + 1),
        }
        self.bytes.push_back(byte);
        true
    }

    /// Gives the first byte back, and its offset.
    pub(super) fn pop(&mut self) -> Option<(u64, u8)> {
        let byte = self.bytes.pop_front()?;
        let first = self.runs.front_mut()?;
        let at = first.start;
        first.start += 1;
        if first.is_empty() {
            self.runs.pop_front();
        }
        if self.bytes.is_empty() {
            *self = Self::default();
        }
        Some((at, byte))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// From the first to the last byte that waits.
    pub(super) fn place(&self) -> Option<Range<u64>> {
        Some(self.runs.front()?.start..self.runs.back()?.end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bytes of the heap that it holds.
    fn held(ahead: &Ahead) -> usize {
        ahead.bytes.capacity() + ahead.runs.capacity() * size_of::<Range<u64>>()
    }

    #[test]
    fn what_waits_takes_little_more_room_than_it_has_bytes_however_it_came() {
        for gap in [0, 1, 7, 64] {
            let mut ahead = Ahead::default();
            let kept = (0..100_000_u64)
                .filter(|at| ahead.push(at + at / 32 * gap, b'x'))
                .count();
            assert!(
                held(&ahead) <= BYTES_MAX + RUNS_MAX * 16,
                "{gap}: {} for {kept}",
                held(&ahead)
            );
            while ahead.pop().is_some() {}
            assert_eq!(held(&ahead), 0);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_come_back_as_they_were_typed(
            bytes in prop::collection::vec((0..3_u64, any::<u8>()), 0..300), reads in 0..300_usize,
        ) {
            let (mut ahead, mut kept, mut at) = (Ahead::default(), VecDeque::new(), 0);
            for (gap, byte) in bytes {
                at += gap + 1;
                if ahead.push(at, byte) {
                    kept.push_back((at, byte));
                }
            }
            for _ in 0..reads {
                prop_assert_eq!(ahead.pop(), kept.pop_front());
            }
            let place = kept.front().zip(kept.back()).map(|((first, _), (last, _))| *first..last + 1);
            prop_assert_eq!(ahead.place(), place);
            prop_assert_eq!(ahead.is_empty(), kept.is_empty());
        }
    }
}
