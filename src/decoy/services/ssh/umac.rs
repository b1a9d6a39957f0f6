//! UMAC over AES-128, with tags of 64 and of 128 bits: what an OpenSSH client prefers beside a counter-mode cipher.
//!
//! In: a key of 16 bytes; messages of any length with nonces of 8 bytes. Out: their tags. A tag of 128 bits is two
//! hashes with Toeplitz-shifted keys.
//!
//! Messages here are packets of at most 256 KiB, so the polynomial layer needs its first stage alone (it takes 16 MiB).
//!
//! Source: RFC 4418, whose test vectors are below; `umac-128` is the same with four iterations.

use aes::Aes128;
use aes::cipher::{BlockCipherEncrypt as _, KeyInit as _};

/// Bytes that the first layer hashes at once.
const CHUNK: usize = 1024;

/// Largest prime below 2^64: 2^64 - 59.
const P64: u128 = (1 << 64) - 59;

/// Largest prime below 2^36: 2^36 - 5.
const P36: u64 = (1 << 36) - 5;

/// Which bits of a key of the second layer count.
const MASK64: u64 = 0x01ff_ffff_01ff_ffff;

/// A key, for tags of `4 * streams` bytes.
pub(super) struct Umac {
    pad: Aes128,
    /// Keys of the first layer: the words of one chunk, and four more for each further stream.
    words: Vec<u32>,
    streams: Vec<Stream>,
}

/// Keys of one 32-bit part of the tag.
struct Stream {
    poly: u64,
    inner: [u64; 8],
    last: u32,
}

impl Umac {
    /// In: a key of 16 bytes, and how long its tags are, in bytes: 8, 12 or 16. `None`: it is no such key.
    pub(super) fn new(key: &[u8], tag: usize) -> Option<Self> {
        let cipher = Aes128::new_from_slice(key).ok()?;
        let count = tag / 4;
        let words = derive(&cipher, 1, CHUNK + 16 * (count - 1));
        let poly = derive(&cipher, 2, 24 * count);
        let inner = derive(&cipher, 3, 64 * count);
        let last = derive(&cipher, 4, 4 * count);
        let streams = poly
            .chunks_exact(24)
            .zip(inner.chunks_exact(64))
            .zip(last.chunks_exact(4));
        let pad = derive(&cipher, 0, 16);
        Some(Self {
            pad: Aes128::new_from_slice(&pad).ok()?,
            words: words.chunks_exact(4).map(word_be).collect(),
            streams: streams
                .map(|((poly, inner), last)| Stream::new(poly, inner, last))
                .collect(),
        })
    }

    /// The tag of `message`.
    pub(super) fn tag(&self, message: &[u8], nonce: u64) -> Vec<u8> {
        let pad = self.pad(nonce);
        let hash = self.streams.iter().enumerate().map(|(at, stream)| {
            let words = self.words.get(4 * at..).unwrap_or_default();
            stream.hash(words, message).to_be_bytes()
        });
        let hash: Vec<u8> = hash.flatten().collect();
        hash.iter().zip(pad).map(|(byte, pad)| byte ^ pad).collect()
    }

    /// The nonce, encrypted. Shorter tags share one block: the nonce's low bits say which part of it.
    fn pad(&self, nonce: u64) -> Vec<u8> {
        let length = 4 * self.streams.len();
        let parts = (16 / length) as u64;
        let (part, nonce) = (nonce % parts, nonce - nonce % parts);
        let mut block = [0; 16];
        if let Some(front) = block.first_chunk_mut::<8>() {
            *front = nonce.to_be_bytes();
        }
        let mut block = block.into();
        self.pad.encrypt_block(&mut block);
        block
            .iter()
            .copied()
            .skip(part as usize * length)
            .take(length)
            .collect()
    }
}

impl Stream {
    fn new(poly: &[u8], inner: &[u8], last: &[u8]) -> Self {
        let mut keys = inner.chunks_exact(8).map(|key| double_be(key) % P36);
        Self {
            poly: double_be(poly) & MASK64,
            inner: std::array::from_fn(|_| keys.next().unwrap_or(0)),
            last: word_be(last),
        }
    }

    /// The three layers: from any length to 32 bits.
    fn hash(&self, words: &[u32], message: &[u8]) -> u32 {
        let first = if message.len() <= CHUNK {
            u128::from(compress(words, message))
        } else {
            message
                .chunks(CHUNK)
                .fold(1, |sum, chunk| self.step(sum, compress(words, chunk)))
        };
        self.inner_product(first)
    }

    /// The second layer: a polynomial in the key, modulo a prime. What is too near to the modulus comes in two steps.
    fn step(&self, sum: u128, value: u64) -> u128 {
        const TOP: u64 = u64::MAX - u32::MAX as u64;
        const OFFSET: u64 = 59;
        let step = |sum: u128, value: u64| (sum * u128::from(self.poly) + u128::from(value)) % P64;
        if value >= TOP {
            step(step(sum, u64::MAX - OFFSET), value - OFFSET)
        } else {
            step(sum, value)
        }
    }

    /// The third layer.
    fn inner_product(&self, value: u128) -> u32 {
        let halves = value.to_be_bytes();
        let parts = halves
            .chunks_exact(2)
            .map(|part| part.iter().fold(0, |all, byte| all << 8 | u64::from(*byte)));
        let sum = self.inner.iter().zip(parts).map(|(key, part)| key * part % P36);
        let sum = sum.fold(0, |all, part| (all + part) % P36);
        // The low half of a number below 2^36.
        let [.., a, b, c, d] = sum.to_be_bytes();
        u32::from_be_bytes([a, b, c, d]) ^ self.last
    }
}

/// The first layer, NH: a chunk of at most 1,024 bytes to 64 bits.
fn compress(words: &[u32], chunk: &[u8]) -> u64 {
    let mut padded = chunk.to_vec();
    padded.resize(chunk.len().max(1).next_multiple_of(32), 0);
    let sum = padded
        .chunks_exact(32)
        .zip(words.chunks_exact(8))
        .fold(0_u64, |sum, (block, key)| {
            let at = |index: usize| {
                let word = block.get(4 * index..4 * index + 4).map_or(0, word_le);
                u64::from(word.wrapping_add(key.get(index).copied().unwrap_or(0)))
            };
            (0..4).fold(sum, |sum, index| {
                sum.wrapping_add(at(index).wrapping_mul(at(index + 4)))
            })
        });
    sum.wrapping_add(8 * chunk.len() as u64)
}

/// So many bytes of key for one purpose.
fn derive(cipher: &Aes128, purpose: u8, length: usize) -> Vec<u8> {
    let blocks = (1..=length.div_ceil(16) as u64).flat_map(|count| {
        let mut block = [0; 16];
        block[7] = purpose;
        if let Some(back) = block.last_chunk_mut::<8>() {
            *back = count.to_be_bytes();
        }
        let mut block = block.into();
        cipher.encrypt_block(&mut block);
        block.to_vec()
    });
    blocks.take(length).collect()
}

fn word_be(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |word| u32::from_be_bytes(*word))
}

fn word_le(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |word| u32::from_le_bytes(*word))
}

fn double_be(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |word| u64::from_be_bytes(*word))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 4418, appendix: the key and the nonce of all its vectors.
    fn tag(message: &[u8], length: usize) -> String {
        let umac = Umac::new(b"abcdefghijklmnop", length).unwrap();
        let nonce = u64::from_be_bytes(*b"bcdefghi");
        umac.tag(message, nonce)
            .iter()
            .map(|byte| format!("{byte:02X}"))
            .collect()
    }

    #[test]
    fn tags_are_those_of_rfc_4418() {
        for (message, short, long) in [
            (vec![], "6E155FAD26900BE1", "32FEDB100C79AD58F07FF764"),
            (vec![b'a'; 3], "44B5CB542F220104", "185E4FE905CBA7BD85E4C2DC"),
            (vec![b'a'; 1 << 10], "26BF2F5D60118BD9", "7A54ABE04AF82D60FB298C3C"),
            (vec![b'a'; 1 << 15], "27F8EF643B0D118D", "7B136BD911E4B734286EF2BE"),
            (vec![b'a'; 1 << 20], "A4477E87E9F55853", "F8ACFA3AC31CFEEA047F7B11"),
            (b"abc".to_vec(), "D4D7B9F6BD4FBFCF", "883C3D4B97A61976FFCF2323"),
            (b"abc".repeat(500), "D4CF26DDEFD5C01A", "8824A260C53C66A36C9260A6"),
        ] {
            assert_eq!(tag(&message, 8), short, "{}", message.len());
            assert_eq!(tag(&message, 12), long, "{}", message.len());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_tag_of_its_length(message in prop::collection::vec(any::<u8>(), 0..3000), nonce: u64) {
            for length in [8, 16] {
                let umac = Umac::new(&[7; 16], length).unwrap();
                prop_assert_eq!(umac.tag(&message, nonce).len(), length);
            }
        }
    }
}
