//! The hash chain over the entries.
//!
//! `digest = BLAKE3(offset ‖ appended_at ‖ body)`, `chain = BLAKE3(previous chain ‖ digest)`; integers are big-endian
//! 64-bit. A row stores `chain ‖ digest[..8]`. Two steps, so that a row can be checked alone (its sum, against
//! accidents) and in its place (its chain, against hands); the second step costs one 64-byte block.
//! Limit: an unkeyed chain can be rewritten from any row on; the head hash that leaves the host each hour is what makes
//! that visible.

use trapline_schemas::Timestamp;

use super::Offset;

/// A link of the chain.
pub(super) type Hash = [u8; 32];

/// Bytes of `hash` in a row: chain and sum.
pub(super) const STORED_BYTES: usize = HASH_BYTES + SUM_BYTES;

/// The chain before the first entry of a new journal.
pub(super) const GENESIS: Hash = [0; HASH_BYTES];

/// Where the chain stands: the offset to be given next and the hash of the entry before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tip {
    pub next: Offset,
    pub chain: Hash,
}

impl Tip {
    /// Chains one body at the next offset; gives what its row stores.
    pub fn extend(&mut self, appended_at: Timestamp, body: &[u8]) -> [u8; STORED_BYTES] {
        let digest = digest(self.next, appended_at, body);
        self.chain = follow(&self.chain, &digest);
        self.next += 1;
        stored(&self.chain, &digest)
    }
}

/// A row's hash, split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stored {
    pub chain: Hash,
    sum: [u8; SUM_BYTES],
}

impl Stored {
    /// Splits the bytes of a row; `None` if their length is wrong.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (chain, sum) = bytes.split_at_checked(HASH_BYTES)?;
        Some(Self {
            chain: chain.try_into().ok()?,
            sum: sum.try_into().ok()?,
        })
    }

    /// Whether offset, time and body are those that were written.
    pub fn sum_holds(&self, digest: &Hash) -> bool {
        digest.starts_with(&self.sum)
    }

    /// Whether the row follows on an entry with chain hash `previous`.
    pub fn follows(&self, previous: &Hash, digest: &Hash) -> bool {
        follow(previous, digest) == self.chain
    }
}

/// The digest of one row.
pub(super) fn digest(offset: Offset, appended_at: Timestamp, body: &[u8]) -> Hash {
    let mut hasher = blake3::Hasher::new();
    let mut place = [0; 16];
    place[..8].copy_from_slice(&offset.to_be_bytes());
    place[8..].copy_from_slice(&appended_at.micros().to_be_bytes());
    hasher.update(&place).update(body);
    *hasher.finalize().as_bytes()
}

fn follow(previous: &Hash, digest: &Hash) -> Hash {
    let mut both = [0; 2 * HASH_BYTES];
    both[..HASH_BYTES].copy_from_slice(previous);
    both[HASH_BYTES..].copy_from_slice(digest);
    *blake3::hash(&both).as_bytes()
}

/// What a row stores.
pub(super) fn stored(chain: &Hash, digest: &Hash) -> [u8; STORED_BYTES] {
    let mut stored = [0; STORED_BYTES];
    stored[..HASH_BYTES].copy_from_slice(chain);
    stored[HASH_BYTES..].copy_from_slice(&digest[..SUM_BYTES]);
    stored
}

const HASH_BYTES: usize = 32;
const SUM_BYTES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_byte_offset_or_time_breaks_the_sum_and_a_changed_neighbour_breaks_the_chain() {
        let mut tip = Tip {
            next: 7,
            chain: GENESIS,
        };
        let at = Timestamp::from_micros(1_000);
        let row = Stored::parse(&tip.extend(at, b"body")).unwrap();
        let good = digest(7, at, b"body");
        assert!(row.sum_holds(&good) && row.follows(&GENESIS, &good));
        assert!(!row.sum_holds(&digest(7, at, b"bodx")));
        assert!(!row.sum_holds(&digest(8, at, b"body")));
        assert!(!row.sum_holds(&digest(7, Timestamp::from_micros(1_001), b"body")));
        assert!(!row.follows(&[1; 32], &good));
        assert_eq!(tip.next, 8);
        assert_eq!(tip.chain, row.chain);
    }

    #[test]
    fn a_hash_of_any_other_length_is_not_a_hash() {
        assert_eq!(Stored::parse(&[0; STORED_BYTES - 1]), None);
        assert_eq!(Stored::parse(&[0; STORED_BYTES + 1]), None);
    }
}
