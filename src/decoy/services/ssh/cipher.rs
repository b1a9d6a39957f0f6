//! Packets, before encryption and within it: taken off the received bytes, and made to be sent.
//!
//! In: bytes as received, and which packet of its direction this is. Out: payloads; packets as they are sent.
//!
//! Invariants: 1. no length from the wire is believed before it is within bounds. 2. The same bytes give the same
//! packets however they were cut on the way. 3. Nothing here shows a key.
//!
//! Source: RFC 4253 section 6, RFC 4344 (counter mode), RFC 5647 with OpenSSH's nonces (GCM), OpenSSH PROTOCOL and
//! PROTOCOL.chacha20poly1305; checks and their order as OpenSSH's packet.c, compared with a live 9.2p1.

mod mode;

use rand::RngCore as _;

use self::mode::Mode;
use super::mac::Mac;
use super::offer::Row;

/// Largest `packet_length` that OpenSSH reads, bytes.
const LENGTH_MAX: usize = 256 << 10;

/// Least padding: RFC 4253 section 6.
const PADDING_MIN: usize = 4;

/// A cipher by name.
#[derive(Debug)]
pub(super) struct Cipher {
    name: &'static str,
    kind: mode::Kind,
    /// Bytes of its key.
    pub(super) key_len: usize,
    /// Bytes of its first nonce or counter.
    pub(super) iv_len: usize,
}

impl Row for Cipher {
    const KIND: &'static str = "cipher";

    fn table() -> &'static [Self] {
        const fn row(name: &'static str, kind: mode::Kind, key_len: usize, iv_len: usize) -> Cipher {
            Cipher {
                name,
                kind,
                key_len,
                iv_len,
            }
        }
        static TABLE: &[Cipher] = &[
            row("chacha20-poly1305@openssh.com", mode::Kind::ChaCha, 64, 0),
            row("aes128-ctr", mode::Kind::Counter, 16, 16),
            row("aes192-ctr", mode::Kind::Counter, 24, 16),
            row("aes256-ctr", mode::Kind::Counter, 32, 16),
            row("aes128-gcm@openssh.com", mode::Kind::Gcm, 16, 12),
            row("aes256-gcm@openssh.com", mode::Kind::Gcm, 32, 12),
        ];
        TABLE
    }

    fn name(&self) -> &'static str {
        self.name
    }
}

impl Cipher {
    /// Whether it proves packets by itself, so that no MAC is needed.
    pub(super) fn is_authenticated(&self) -> bool {
        self.kind != mode::Kind::Counter
    }
}

/// What protects one direction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Suite {
    /// The cipher.
    pub(super) cipher: &'static Cipher,
    /// The MAC; none beside a cipher that needs none.
    pub(super) mac: Option<&'static Mac>,
}

/// The keys of one direction.
pub(super) struct Keys {
    /// Key of the cipher.
    pub(super) cipher: Vec<u8>,
    /// First nonce or counter.
    pub(super) iv: Vec<u8>,
    /// Key of the MAC.
    pub(super) mac: Vec<u8>,
}

/// What the bytes at hand begin with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Framed {
    /// Part of a packet.
    More,
    /// A packet that a real server dies of.
    Corrupt,
    /// One that it dies of with a word: so little padding.
    ShortPadding(usize),
    /// A whole packet.
    Packet {
        /// Its payload; the first byte is the message number.
        payload: Vec<u8>,
        /// Where the next packet begins.
        end: usize,
    },
}

/// One direction of a connection.
pub(super) struct Channel {
    mode: Mode,
    /// The number of the packet that comes next.
    pub(super) number: u32,
}

impl Channel {
    /// Before the first key exchange.
    pub(super) const fn plain() -> Self {
        Self {
            mode: Mode::Plain,
            number: 0,
        }
    }

    /// Goes on with new keys. `restart`: packets are counted from 0 again (strict key exchange). `None`: keys of a wrong
    /// length.
    pub(super) fn rekey(&mut self, suite: Suite, keys: &Keys, restart: bool) -> Option<()> {
        self.mode = Mode::new(suite, keys)?;
        if restart {
            self.number = 0;
        }
        Some(())
    }

    /// Takes one packet off the front of `bytes`.
    pub(super) fn open(&mut self, bytes: &[u8]) -> Framed {
        let shape = self.mode.shape();
        let Some(length) = self.mode.length(self.number, bytes) else {
            return Framed::More;
        };
        let length = length as usize;
        // Where the length is in clear it does not count as part of the blocks.
        let blocks = if shape.is_length_apart { length } else { 4 + length };
        if !(5..=LENGTH_MAX).contains(&length) || !blocks.is_multiple_of(shape.block) {
            return Framed::Corrupt;
        }
        let end = 4 + length + shape.tag;
        let Some(packet) = bytes.get(..end) else {
            return Framed::More;
        };
        let Some(plain) = self.mode.open(self.number, packet) else {
            return Framed::Corrupt;
        };
        self.number = self.number.wrapping_add(1);
        unpadded(&plain, length, end)
    }

    /// The packet that carries a payload.
    pub(super) fn seal(&mut self, payload: &[u8]) -> Vec<u8> {
        let shape = self.mode.shape();
        let apart = if shape.is_length_apart { 4 } else { 0 };
        let mut padding = shape.block - (5 + payload.len() - apart) % shape.block;
        if padding < PADDING_MIN {
            padding += shape.block;
        }
        let length = 1 + payload.len() + padding;
        let mut packet = Vec::with_capacity(4 + length + shape.tag);
        packet.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
        packet.push(u8::try_from(padding).unwrap_or(u8::MAX));
        packet.extend_from_slice(payload);
        let filled = packet.len();
        packet.resize(filled + padding, 0);
        // OpenSSH draws the padding only once packets are encrypted.
        if !matches!(self.mode, Mode::Plain)
            && let Some(padding) = packet.get_mut(filled..)
        {
            rand::rng().fill_bytes(padding);
        }
        self.mode.seal(self.number, &mut packet);
        self.number = self.number.wrapping_add(1);
        packet
    }
}

/// Takes the padding off a packet whose `packet_length` is `length`.
fn unpadded(plain: &[u8], length: usize, end: usize) -> Framed {
    let padding = plain.get(4).copied().map_or(0, usize::from);
    if padding < PADDING_MIN {
        return Framed::ShortPadding(padding);
    }
    match plain.get(5..(4 + length).saturating_sub(padding)) {
        Some(payload) if !payload.is_empty() => Framed::Packet {
            payload: payload.to_vec(),
            end,
        },
        _ => Framed::Corrupt,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_length_is_judged_once_a_whole_block_is_there() {
        let mut bytes = vec![0xff; 7];
        assert_eq!(
            Channel::plain().open(&bytes),
            Framed::More,
            "a real server waits for the eighth byte"
        );
        bytes.push(0xff);
        assert_eq!(Channel::plain().open(&bytes), Framed::Corrupt);
    }

    #[test]
    fn packets_that_kill_a_real_server_are_corrupt() {
        for bytes in [
            &[0x7f, 0xff, 0xff, 0xff, 1, 0, 0, 0][..],
            &[0, 0, 0, 0, 1, 0, 0, 0],
            &[0, 0, 0, 13, 4, 0, 0, 0],
            b"GET / HTTP/1.0\r\n\r\n",
            &[0, 0, 0, 12, 11, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        ] {
            assert_eq!(Channel::plain().open(bytes), Framed::Corrupt, "{bytes:?}");
        }
    }

    #[test]
    fn too_little_padding_is_told_by_how_much() {
        let bytes = [0, 0, 0, 12, 3, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(Channel::plain().open(&bytes), Framed::ShortPadding(3));
    }

    #[test]
    fn padding_before_encryption_is_zeros() {
        assert!(
            Channel::plain()
                .seal(&[20; 9])
                .ends_with(&[20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
        );
    }

    /// Every way to protect a direction.
    fn suites() -> Vec<Suite> {
        let mut suites = Vec::new();
        for cipher in Cipher::table() {
            if cipher.is_authenticated() {
                suites.push(Suite { cipher, mac: None });
            } else {
                suites.extend(Mac::table().iter().map(|mac| Suite { cipher, mac: Some(mac) }));
            }
        }
        suites
    }

    /// Both ends of one direction.
    fn pair(suite: Suite) -> (Channel, Channel) {
        let keys = Keys {
            cipher: vec![1; suite.cipher.key_len],
            iv: vec![2; suite.cipher.iv_len],
            mac: vec![3; suite.mac.map_or(0, Mac::key_len)],
        };
        let mut ends = (Channel::plain(), Channel::plain());
        ends.0.rekey(suite, &keys, true).expect("keys of their lengths");
        ends.1.rekey(suite, &keys, true).expect("keys of their lengths");
        ends
    }

    #[test]
    fn every_suite_carries_packets_of_every_length_and_notices_a_changed_bit() {
        for suite in suites() {
            let (mut from, mut to) = pair(suite);
            for length in (1..60).chain([35_000]) {
                let payload = vec![length as u8; length];
                let packet = from.seal(&payload);
                assert_eq!(to.open(&packet[..packet.len() - 1]), Framed::More, "{suite:?}");
                let end = packet.len();
                assert_eq!(to.open(&packet), Framed::Packet { payload, end }, "{suite:?} {length}");
            }
            let mut packet = from.seal(b"changed");
            *packet.last_mut().unwrap() ^= 1;
            assert_eq!(to.open(&packet), Framed::Corrupt, "{suite:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_framed_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), at in 0usize..33) {
            let mut channels = vec![Channel::plain()];
            channels.extend(suites().get(at).map(|suite| pair(*suite).1));
            for mut channel in channels {
                if let Framed::Packet { payload, end } = channel.open(&bytes) {
                    prop_assert!(payload.len() < end && end <= bytes.len());
                }
            }
        }

        #[test]
        fn any_bytes_cut_anywhere_arrive_whole(payload in prop::collection::vec(any::<u8>(), 1..300), at in 0usize..33, cut: u16) {
            if let Some(suite) = suites().get(at) {
                let (mut from, mut to) = pair(*suite);
                let packet = from.seal(&payload);
                let cut = usize::from(cut) % packet.len();
                prop_assert_eq!(to.open(&packet[..cut]), Framed::More);
                let end = packet.len();
                prop_assert_eq!(to.open(&packet), Framed::Packet { payload, end });
            }
        }
    }
}
