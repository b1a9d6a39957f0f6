//! RDP's own encryption: keys that both sides draw, under the server's RSA key; RC4 below them (MS-RDPBCGR 5.3).
//!
//! In: the client's random, encrypted; its packets. Out: what the server says of its key; packets that can be read.
//! Packets whose signature is wrong can be read all the same. xrdp of Debian 12 goes on with none of them, nor with those
//! that are signed in the newer way, as FreeRDP signs them.

use md5::{Digest as _, Md5};
use sha1::Sha1;

/// Methods of encryption (MS-RDPBCGR 2.2.1.4.3): by 40, 128 and 56 bits.
const BITS_40: u32 = 0x01;
const BITS_128: u32 = 0x02;
const BITS_56: u32 = 0x08;

/// Methods that can be read, the best first.
const BEST: [u32; 3] = [BITS_128, BITS_56, BITS_40];

/// Bytes of a random.
pub(super) const RANDOM: usize = 32;

/// Bytes of a packet's signature.
pub(super) const SIGNATURE: usize = 8;

/// What a personality says of it.
#[derive(Debug, Clone, Copy, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Look {
    /// The level it gives: 2 is what the client can, 3 is high.
    level: u32,
    /// Methods that it agrees on; if there is one alone, to every client.
    methods: u32,
}

impl Default for Look {
    /// 128 bits at the high level.
    fn default() -> Self {
        Self {
            level: 3,
            methods: BITS_128,
        }
    }
}

impl Look {
    /// The method it comes to with a client of these. `None`: there is none.
    pub(super) fn method(self, offered: u32) -> Option<u32> {
        if self.methods.is_power_of_two() {
            return Some(self.methods);
        }
        BEST.into_iter().find(|method| method & self.methods & offered != 0)
    }

    /// What the server says of method and key, behind the block's head.
    pub(super) fn block(self, method: u32, random: &[u8; RANDOM], certificate: &[u8]) -> Vec<u8> {
        let numbers = [method, self.level, RANDOM as u32, certificate.len() as u32];
        let mut out: Vec<u8> = numbers.into_iter().flat_map(u32::to_le_bytes).collect();
        out.extend_from_slice(random);
        out.extend_from_slice(certificate);
        out
    }
}

/// Reads what a client encrypts.
pub(super) struct Cipher {
    stream: Rc4,
    signer: Vec<u8>,
}

impl Cipher {
    /// The cipher that two randoms make by this method.
    pub(super) fn new(method: u32, client: &[u8; RANDOM], server: &[u8; RANDOM]) -> Self {
        let half = |random: &[u8; RANDOM]| random.get(..24).unwrap_or_default().to_vec();
        let both = Randoms { client, server };
        let premaster = [half(client), half(server)].concat();
        let session = both.expand(&both.expand(&premaster, b'A'), b'X');
        let (first, third) = (session.get(..16), session.get(32..));
        let third = Md5::digest([third.unwrap_or_default(), client, server].concat());
        Self {
            stream: Rc4::new(&weakened(method, &third)),
            signer: weakened(method, first.unwrap_or_default()),
        }
    }

    /// Reads the next packet, its signature before it; and whether that is right.
    pub(super) fn read(&mut self, signed: &[u8]) -> Option<(Vec<u8>, bool)> {
        let (signature, packet) = signed.split_at_checked(SIGNATURE)?;
        let packet: Vec<u8> = packet.iter().map(|byte| byte ^ self.stream.next()).collect();
        let is_right = self.sign(&packet).starts_with(signature);
        Some((packet, is_right))
    }

    /// MS-RDPBCGR 5.3.6.1.
    fn sign(&self, packet: &[u8]) -> [u8; 16] {
        let length = (packet.len() as u32).to_le_bytes();
        let inner = Sha1::digest([&self.signer, &[0x36; 40][..], &length, packet].concat());
        Md5::digest([&self.signer, &[0x5c; 48][..], &inner].concat()).into()
    }
}

/// A key of as many bits as the method has.
fn weakened(method: u32, key: &[u8]) -> Vec<u8> {
    let salt: &[u8] = match method {
        BITS_40 => b"\xd1\x26\x9e",
        BITS_56 => b"\xd1",
        _ => return key.to_vec(),
    };
    [salt, key.get(salt.len()..8).unwrap_or_default()].concat()
}

struct Randoms<'a> {
    client: &'a [u8; RANDOM],
    server: &'a [u8; RANDOM],
}

impl Randoms<'_> {
    /// 48 bytes of 48 (MS-RDPBCGR 5.3.5.1).
    fn expand(&self, secret: &[u8], salt: u8) -> Vec<u8> {
        let part = |count: u8| {
            let salt = vec![salt + count - 1; count.into()];
            let inner = Sha1::digest([&salt, secret, self.client, self.server].concat());
            Md5::digest([secret, &inner].concat())
        };
        (1..=3).flat_map(part).collect()
    }
}

/// RC4, which nothing else here needs.
struct Rc4 {
    state: [u8; 256],
    i: u8,
    j: u8,
}

impl Rc4 {
    fn new(key: &[u8]) -> Self {
        let mut rc4 = Self {
            state: std::array::from_fn(|at| at as u8),
            i: 0,
            j: 0,
        };
        let mut j = 0u8;
        for (i, key) in (0..=255u8).zip(key.iter().cycle()) {
            j = j.wrapping_add(rc4.at(i)).wrapping_add(*key);
            rc4.state.swap(i.into(), j.into());
        }
        rc4
    }

    fn at(&self, place: u8) -> u8 {
        // A byte is never beyond 256 of them.
        self.state.get(usize::from(place)).copied().unwrap_or_default()
    }

    fn next(&mut self) -> u8 {
        self.i = self.i.wrapping_add(1);
        self.j = self.j.wrapping_add(self.at(self.i));
        self.state.swap(self.i.into(), self.j.into());
        self.at(self.at(self.i).wrapping_add(self.at(self.j)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rc4_is_that_of_rfc_6229() {
        let mut rc4 = Rc4::new(&[1, 2, 3, 4, 5]);
        let first: Vec<u8> = (0..16).map(|_| rc4.next()).collect();
        assert_eq!(
            first,
            *b"\xb2\x39\x63\x05\xf0\x3d\xc0\x27\xcc\xc3\x52\x4a\x0a\x11\x18\xa8"
        );
    }

    /// Computed apart; a live xrdp 0.9.21.1 went on with packets of such a client.
    #[test]
    fn packets_are_read_and_their_signatures_checked() {
        let random = |from: u8| std::array::from_fn(|at| from + at as u8);
        for (method, sent) in [
            (1, b"\x45\x1b\xbb\x09\x9f\x74\x0a\x91\xf5\x19\x9b\xc5\x87\x70"),
            (8, b"\x40\x07\xdb\xc3\x30\x3a\xa8\xcb\x14\xb9\x66\x37\x7d\x13"),
            (2, b"\xea\xd7\x0d\x8d\x96\xd3\xc8\x25\x1d\x34\xab\x76\x40\x07"),
        ] {
            let mut cipher = Cipher::new(method, &random(0), &random(32));
            assert_eq!(cipher.read(sent), Some((b"packet".to_vec(), true)), "{method}");
            assert!(!cipher.read(sent).unwrap().1);
            assert_eq!(cipher.read(&sent[..7]), None);
        }
    }

    #[test]
    fn a_server_of_one_method_has_it_for_all_and_another_the_best_of_both() {
        let (one, three) = (Look { level: 3, methods: 2 }, Look { level: 2, methods: 0xb });
        assert_eq!([0, 1, 2, 16].map(|offered| one.method(offered)), [Some(2); 4]);
        let agreed = [0, 1, 8, 9, 0x1b, 16].map(|offered| three.method(offered));
        assert_eq!(agreed, [None, Some(1), Some(8), Some(8), Some(2), None]);
    }
}
