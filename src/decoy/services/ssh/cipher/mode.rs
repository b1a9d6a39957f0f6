//! How a packet is encrypted and proved, for each kind of cipher.

use aes::cipher::{KeyIvInit as _, StreamCipher};
use aes::{Aes128, Aes192, Aes256};
use ctr::Ctr128BE;
use ring::aead::chacha20_poly1305_openssh::{OpeningKey, SealingKey};
use ring::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};

use super::{Keys, Suite};
use crate::decoy::services::ssh::mac::{Mac, MacKey};

/// Bytes of the tag of a cipher that proves packets by itself.
const TAG: usize = 16;

/// Bytes of a block of AES.
const AES_BLOCK: usize = 16;

/// A kind of cipher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// ChaCha20-Poly1305, the length encrypted apart.
    ChaCha,
    /// AES-GCM, the length in clear.
    Gcm,
    /// AES in counter mode, with a MAC.
    Counter,
}

/// What framing has to know of a mode.
pub(super) struct Shape {
    /// Packets are padded to this many bytes.
    pub(super) block: usize,
    /// Bytes behind the packet that prove it.
    pub(super) tag: usize,
    /// Whether the length is not part of the blocks.
    pub(super) is_length_apart: bool,
}

/// How packets of one direction are encrypted, with keys.
pub(super) enum Mode {
    /// Not at all.
    Plain,
    /// The key of both halves.
    ChaCha(Box<[u8; 64]>),
    /// Key and nonce.
    Gcm(Box<Gcm>),
    /// Key stream and MAC.
    Counter(Box<Counter>),
}

/// AES-GCM: the nonce's last eight bytes count packets.
pub(super) struct Gcm {
    key: LessSafeKey,
    fixed: [u8; 4],
    count: u64,
}

/// AES in counter mode with a MAC.
pub(super) struct Counter {
    stream: Box<dyn StreamCipher + Send + Sync>,
    mac: MacKey,
    tag: usize,
    is_outside: bool,
    /// The first block of the packet that is on its way, already decrypted for its length.
    first: Option<[u8; AES_BLOCK]>,
}

impl Mode {
    /// `None`: keys of a wrong length.
    pub(super) fn new(suite: Suite, keys: &Keys) -> Option<Self> {
        Some(match suite.cipher.kind {
            Kind::ChaCha => Self::ChaCha(Box::new(keys.cipher.as_slice().try_into().ok()?)),
            Kind::Gcm => Self::Gcm(Box::new(Gcm::new(keys)?)),
            Kind::Counter => Self::Counter(Box::new(Counter::new(keys, suite.mac?)?)),
        })
    }

    pub(super) const fn shape(&self) -> Shape {
        let (block, tag, is_length_apart) = match self {
            Self::Plain => (8, 0, false),
            Self::ChaCha(_) => (8, TAG, true),
            Self::Gcm(_) => (AES_BLOCK, TAG, true),
            Self::Counter(counter) => (AES_BLOCK, counter.tag, counter.is_outside),
        };
        Shape {
            block,
            tag,
            is_length_apart,
        }
    }

    /// The `packet_length` of the packet that `bytes` begin with. `None`: too few bytes to tell. A server reads a whole
    /// block before it looks at a length that is part of one.
    pub(super) fn length(&mut self, number: u32, bytes: &[u8]) -> Option<u32> {
        let head = *bytes.first_chunk::<4>()?;
        let head = match self {
            Self::Plain => (bytes.len() >= 8).then_some(head)?,
            Self::Gcm(_) => head,
            Self::ChaCha(key) => OpeningKey::new(key).decrypt_packet_length(number, head),
            Self::Counter(counter) if counter.is_outside => head,
            Self::Counter(counter) => *counter.first_block(bytes)?.first_chunk()?,
        };
        Some(u32::from_be_bytes(head))
    }

    /// Decrypts a whole packet: its length, padding length, payload and padding. `None`: it is not what was sent.
    pub(super) fn open(&mut self, number: u32, packet: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Plain => Some(packet.to_vec()),
            Self::ChaCha(key) => {
                let (packet, tag) = packet.split_last_chunk::<TAG>()?;
                let mut packet = packet.to_vec();
                OpeningKey::new(key).open_in_place(number, &mut packet, tag).ok()?;
                Some(packet)
            }
            Self::Gcm(gcm) => gcm.open(packet),
            Self::Counter(counter) => counter.open(number, packet),
        }
    }

    /// Encrypts a padded packet and puts its proof behind it.
    pub(super) fn seal(&mut self, number: u32, packet: &mut Vec<u8>) {
        match self {
            Self::Plain => {}
            Self::ChaCha(key) => {
                let mut tag = [0; TAG];
                SealingKey::new(key).seal_in_place(number, packet, &mut tag);
                packet.extend_from_slice(&tag);
            }
            Self::Gcm(gcm) => gcm.seal(packet),
            Self::Counter(counter) => counter.seal(number, packet),
        }
    }
}

impl Gcm {
    fn new(keys: &Keys) -> Option<Self> {
        let algorithm = match keys.cipher.len() {
            16 => &aead::AES_128_GCM,
            _ => &aead::AES_256_GCM,
        };
        let (fixed, count) = keys.iv.split_first_chunk()?;
        Some(Self {
            key: LessSafeKey::new(UnboundKey::new(algorithm, &keys.cipher).ok()?),
            fixed: *fixed,
            count: u64::from_be_bytes(*count.first_chunk()?),
        })
    }

    fn nonce(&mut self) -> Nonce {
        let mut nonce = [0; 12];
        nonce[..4].copy_from_slice(&self.fixed);
        nonce[4..].copy_from_slice(&self.count.to_be_bytes());
        self.count = self.count.wrapping_add(1);
        Nonce::assume_unique_for_key(nonce)
    }

    fn open(&mut self, packet: &[u8]) -> Option<Vec<u8>> {
        let (length, sealed) = packet.split_first_chunk::<4>()?;
        let mut sealed = sealed.to_vec();
        let nonce = self.nonce();
        let plain = self.key.open_in_place(nonce, Aad::from(length), &mut sealed).ok()?;
        Some([length, &*plain].concat())
    }

    fn seal(&mut self, packet: &mut Vec<u8>) {
        let nonce = self.nonce();
        let Some((length, plain)) = packet.split_first_chunk_mut::<4>() else {
            return;
        };
        // A packet is far below the bound of the cipher, the one way in which sealing fails.
        if let Ok(tag) = self.key.seal_in_place_separate_tag(nonce, Aad::from(*length), plain) {
            packet.extend_from_slice(tag.as_ref());
        }
    }
}

impl Counter {
    fn new(keys: &Keys, mac: &Mac) -> Option<Self> {
        let (key, iv) = (keys.cipher.as_slice(), keys.iv.as_slice());
        let stream: Box<dyn StreamCipher + Send + Sync> = match key.len() {
            16 => Box::new(Ctr128BE::<Aes128>::new_from_slices(key, iv).ok()?),
            24 => Box::new(Ctr128BE::<Aes192>::new_from_slices(key, iv).ok()?),
            _ => Box::new(Ctr128BE::<Aes256>::new_from_slices(key, iv).ok()?),
        };
        Some(Self {
            stream,
            mac: mac.keyed(&keys.mac)?,
            tag: mac.tag_len(),
            is_outside: mac.is_outside,
            first: None,
        })
    }

    fn first_block(&mut self, bytes: &[u8]) -> Option<[u8; AES_BLOCK]> {
        if self.first.is_none() {
            let mut block = *bytes.first_chunk()?;
            self.stream.apply_keystream(&mut block);
            self.first = Some(block);
        }
        self.first
    }

    fn open(&mut self, number: u32, packet: &[u8]) -> Option<Vec<u8>> {
        let (sealed, tag) = packet.split_at_checked(packet.len().checked_sub(self.tag)?)?;
        if self.is_outside {
            let (length, sealed_rest) = sealed.split_first_chunk::<4>()?;
            let whole = self.mac.tag(number, sealed) == tag;
            let mut rest = sealed_rest.to_vec();
            self.stream.apply_keystream(&mut rest);
            return whole.then(|| [length, rest.as_slice()].concat());
        }
        let first = self.first_block(sealed)?;
        self.first = None;
        let mut rest = sealed.get(AES_BLOCK..)?.to_vec();
        self.stream.apply_keystream(&mut rest);
        let plain = [first.as_slice(), &rest].concat();
        (self.mac.tag(number, &plain) == tag).then_some(plain)
    }

    fn seal(&mut self, number: u32, packet: &mut Vec<u8>) {
        if self.is_outside {
            if let Some(rest) = packet.get_mut(4..) {
                self.stream.apply_keystream(rest);
            }
            packet.extend_from_slice(&self.mac.tag(number, packet));
        } else {
            let tag = self.mac.tag(number, packet);
            self.stream.apply_keystream(packet);
            packet.extend_from_slice(&tag);
        }
    }
}
