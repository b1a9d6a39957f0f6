//! SSH binary packets before encryption: framing, KEXINIT, HASSH.
//!
//! In: bytes as received. Out: whole packets, the lists of a KEXINIT, the server's own KEXINIT as bytes.
//!
//! Invariants: 1. no length from the wire is believed before it is within bounds. 2. Nothing is copied but what a
//! caller keeps. 3. The same bytes give the same packets however they were cut on the way.
//!
//! Source: RFC 4253 sections 6 and 7; checks and their order as OpenSSH's packet.c, compared with a live 9.2p1.

use std::ops::Range;

use md5::{Digest as _, Md5};

/// `SSH_MSG_KEXINIT`.
pub(super) const KEXINIT: u8 = 20;

/// Largest `packet_length` that OpenSSH reads, bytes.
const LENGTH_MAX: usize = 256 << 10;

/// Cipher block size before encryption; packets are padded to it.
const BLOCK: usize = 8;

/// Least padding: RFC 4253 section 6.
const PADDING_MIN: usize = 4;

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
        payload: Range<usize>,
        /// Where the next packet begins.
        end: usize,
    },
}

/// Takes one packet off the front of `bytes`.
pub(super) fn frame(bytes: &[u8]) -> Framed {
    let Some((head, rest)) = bytes.split_first_chunk::<4>() else {
        return Framed::More;
    };
    // A server reads a whole cipher block before it looks at the length in it.
    if bytes.len() < BLOCK {
        return Framed::More;
    }
    let length = u32::from_be_bytes(*head) as usize;
    if !(5..=LENGTH_MAX).contains(&length) || !(4 + length).is_multiple_of(BLOCK) {
        return Framed::Corrupt;
    }
    if rest.len() < length {
        return Framed::More;
    }
    let padding = rest.first().copied().map_or(0, usize::from);
    if padding < PADDING_MIN {
        return Framed::ShortPadding(padding);
    }
    if padding + 1 >= length {
        return Framed::Corrupt;
    }
    Framed::Packet {
        payload: 5..4 + length - padding,
        end: 4 + length,
    }
}

/// The name lists of a KEXINIT, in the order of RFC 4253 section 7.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kexinit<'a> {
    lists: [&'a [u8]; 10],
    /// Nothing follows that does not belong to it.
    whole: bool,
}

impl<'a> Kexinit<'a> {
    /// Reads the payload of a KEXINIT; `None` if it is not one.
    pub(super) fn read(payload: &'a [u8]) -> Option<Self> {
        let mut rest = payload.strip_prefix(&[KEXINIT])?.get(16..)?;
        let mut lists = [&[][..]; 10];
        for list in &mut lists {
            let (length, after) = rest.split_first_chunk::<4>()?;
            let length = u32::from_be_bytes(*length) as usize;
            *list = after.get(..length)?;
            rest = after.get(length..)?;
        }
        // first_kex_packet_follows and the reserved word.
        (rest.len() >= 5).then_some(Self {
            lists,
            whole: rest.len() == 5,
        })
    }

    /// What HASSH is made of: key exchange, encryption, MAC and compression, client to server.
    pub(super) fn algorithms(&self) -> Vec<u8> {
        let [kex, _, encryption, _, mac, _, compression, ..] = self.lists;
        [kex, encryption, mac, compression].join(&b';')
    }

    /// Whether the client asks for strict key exchange.
    pub(super) fn is_strict(&self) -> bool {
        let [kex, ..] = self.lists;
        kex.split(|byte| *byte == b',').any(|name| name == STRICT_CLIENT)
    }

    /// Whether it is in order and a server that offers `ours` finds an algorithm of every kind.
    ///
    /// Authenticated ciphers bring their own MAC, so no common MAC is needed with one.
    pub(super) fn agrees(&self, ours: &Offer) -> bool {
        let [kex, host_key, to_us, to_them, mac_us, mac_them, comp_us, comp_them, ..] = self.lists;
        let mac = |cipher: &[u8], offered| is_authenticated(cipher) || first(offered, &ours.macs).is_some();
        let both = |cipher: Option<&[u8]>, offered| cipher.is_some_and(|cipher| mac(cipher, offered));
        self.whole
            && first(kex, &ours.kex).is_some()
            && first(host_key, &ours.host_keys).is_some()
            && both(first(to_us, &ours.ciphers), mac_us)
            && both(first(to_them, &ours.ciphers), mac_them)
            && first(comp_us, &ours.compression).is_some()
            && first(comp_them, &ours.compression).is_some()
    }
}

/// HASSH: MD5 of the algorithms' text, lower-case hex.
pub(super) fn hassh(algorithms: &[u8]) -> String {
    format!("{:x}", Md5::digest(algorithms))
}

/// The client's first choice that the server has too: RFC 4253 section 7.1. Markers are no algorithms.
fn first<'a>(offered: &'a [u8], ours: &[String]) -> Option<&'a [u8]> {
    offered
        .split(|byte| *byte == b',')
        .find(|name| !is_marker(name) && ours.iter().any(|own| own.as_bytes() == *name))
}

fn is_marker(name: &[u8]) -> bool {
    name.starts_with(b"ext-info-") || name.starts_with(b"kex-strict-")
}

fn is_authenticated(cipher: &[u8]) -> bool {
    cipher == b"chacha20-poly1305@openssh.com" || cipher.ends_with(b"-gcm@openssh.com")
}

/// The algorithms that a server offers: part of the `[look]` of an `ssh` personality, in the product's order.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Offer {
    /// Key exchange, with markers such as `kex-strict-s-v00@openssh.com`.
    pub(super) kex: Vec<String>,
    /// Host key algorithms: what the keys of such an install can sign with.
    pub(super) host_keys: Vec<String>,
    /// Ciphers, both directions.
    pub(super) ciphers: Vec<String>,
    /// MACs, both directions.
    pub(super) macs: Vec<String>,
    /// Compression, both directions.
    pub(super) compression: Vec<String>,
}

impl Offer {
    /// Whether the server knows strict key exchange.
    pub(super) fn is_strict(&self) -> bool {
        self.kex.iter().any(|name| name == STRICT_SERVER)
    }
}

/// What both sides say to have each other keep to the order of messages (OpenSSH PROTOCOL, section 1.10).
const STRICT_CLIENT: &[u8] = b"kex-strict-c-v00@openssh.com";
const STRICT_SERVER: &str = "kex-strict-s-v00@openssh.com";

/// The server's KEXINIT as one packet. The padding is zeros: OpenSSH draws it only once packets are encrypted.
pub(super) fn kexinit(cookie: [u8; 16], offer: &Offer) -> Vec<u8> {
    let mut payload = Vec::with_capacity(1200);
    payload.push(KEXINIT);
    payload.extend_from_slice(&cookie);
    let (ciphers, macs, compression) = (&offer.ciphers, &offer.macs, &offer.compression);
    for list in [
        &offer.kex,
        &offer.host_keys,
        ciphers,
        ciphers,
        macs,
        macs,
        compression,
        compression,
    ] {
        put_list(&mut payload, list);
    }
    // Two empty language lists, first_kex_packet_follows, reserved.
    payload.extend_from_slice(&[0; 13]);
    packet(&payload)
}

/// `SSH_MSG_UNIMPLEMENTED` for the packet with this number.
pub(super) fn unimplemented(sequence: u32) -> Vec<u8> {
    let mut payload = vec![3];
    payload.extend_from_slice(&sequence.to_be_bytes());
    packet(&payload)
}

/// `SSH_MSG_DISCONNECT` for a protocol error (RFC 4253 section 11.1), with its words.
pub(super) fn disconnect(text: &str) -> Vec<u8> {
    let mut payload = vec![1, 0, 0, 0, 2];
    payload.extend_from_slice(&length(text.len()));
    payload.extend_from_slice(text.as_bytes());
    // No language.
    payload.extend_from_slice(&[0; 4]);
    packet(&payload)
}

fn put_list(payload: &mut Vec<u8>, names: &[String]) {
    let list = names.join(",");
    payload.extend_from_slice(&length(list.len()));
    payload.extend_from_slice(list.as_bytes());
}

fn packet(payload: &[u8]) -> Vec<u8> {
    let mut padding = BLOCK - (5 + payload.len()) % BLOCK;
    if padding < PADDING_MIN {
        padding += BLOCK;
    }
    let mut packet = Vec::with_capacity(5 + payload.len() + padding);
    packet.extend_from_slice(&length(1 + payload.len() + padding));
    packet.push(u8::try_from(padding).unwrap_or(u8::MAX));
    packet.extend_from_slice(payload);
    packet.resize(packet.len() + padding, 0);
    packet
}

fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn offer() -> Offer {
        let names = |text: &str| text.split(',').map(str::to_owned).collect();
        Offer {
            kex: names("curve25519-sha256,kex-strict-s-v00@openssh.com"),
            host_keys: names("ssh-ed25519"),
            ciphers: names("chacha20-poly1305@openssh.com,aes128-ctr"),
            macs: names("hmac-sha2-256"),
            compression: names("none,zlib@openssh.com"),
        }
    }

    fn client(lists: [&str; 10]) -> Vec<u8> {
        let mut payload = vec![KEXINIT];
        payload.extend_from_slice(&[7; 16]);
        for list in lists {
            payload.extend_from_slice(&length(list.len()));
            payload.extend_from_slice(list.as_bytes());
        }
        payload.extend_from_slice(&[0; 5]);
        payload
    }

    const GOOD: [&str; 10] = [
        "ext-info-c,curve25519-sha256",
        "ssh-ed25519",
        "aes128-ctr",
        "aes128-ctr",
        "hmac-sha2-256",
        "hmac-sha2-256",
        "none",
        "none",
        "",
        "",
    ];

    #[test]
    fn our_kexinit_is_a_packet_that_reads_back() {
        let bytes = kexinit([1; 16], &offer());
        let Framed::Packet { payload, end } = frame(&bytes) else {
            panic!("not a packet");
        };
        assert_eq!(end, bytes.len());
        let read = Kexinit::read(&bytes[payload]).expect("a KEXINIT");
        assert_eq!(read.lists[0], b"curve25519-sha256,kex-strict-s-v00@openssh.com");
        assert_eq!(read.lists[7], b"none,zlib@openssh.com");
        assert!(bytes.ends_with(&[0; 4]), "padding before encryption is zeros");
    }

    #[test]
    fn a_length_is_judged_once_a_whole_block_is_there() {
        let mut bytes = vec![0xff; 7];
        assert_eq!(frame(&bytes), Framed::More, "a real server waits for the eighth byte");
        bytes.push(0xff);
        assert_eq!(frame(&bytes), Framed::Corrupt);
    }

    #[test]
    fn hassh_is_the_md5_of_four_lists() {
        let payload = client(GOOD);
        let text = Kexinit::read(&payload).expect("a KEXINIT").algorithms();
        assert_eq!(text, b"ext-info-c,curve25519-sha256;aes128-ctr;hmac-sha2-256;none");
        // `md5sum` of that text.
        assert_eq!(hassh(&text), "894286461a8661ac0d430c70e654631e");
    }

    #[test]
    fn every_kind_of_algorithm_needs_a_common_name() {
        let agrees = |lists| Kexinit::read(&client(lists)).is_some_and(|kexinit| kexinit.agrees(&offer()));
        assert!(agrees(GOOD));
        for (at, wrong) in [
            (0, "ext-info-c"),
            (0, "kex-strict-s-v00@openssh.com"),
            (1, "ssh-rsa"),
            (2, "3des-cbc"),
            (5, "hmac-md5"),
            (6, "zlib"),
            (7, ""),
        ] {
            let mut lists = GOOD;
            lists[at] = wrong;
            assert!(!agrees(lists), "list {at} `{wrong}`");
        }
        let mut own_mac = GOOD;
        (own_mac[2], own_mac[3]) = ("chacha20-poly1305@openssh.com", "chacha20-poly1305@openssh.com");
        (own_mac[4], own_mac[5]) = ("", "");
        assert!(agrees(own_mac), "an authenticated cipher needs no MAC");
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
            assert_eq!(frame(bytes), Framed::Corrupt, "{bytes:?}");
        }
    }

    #[test]
    fn too_little_padding_is_told_by_how_much() {
        let bytes = [0, 0, 0, 12, 3, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(frame(&bytes), Framed::ShortPadding(3));
    }

    #[test]
    fn a_kexinit_with_more_behind_it_is_read_and_agrees_with_nobody() {
        let mut payload = client(GOOD);
        payload.push(0);
        let kexinit = Kexinit::read(&payload).expect("a KEXINIT");
        assert!(!kexinit.agrees(&offer()) && !kexinit.algorithms().is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_are_framed_and_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            if let Framed::Packet { payload, end } = frame(&bytes) {
                prop_assert!(payload.end <= end && end <= bytes.len());
                let _ = Kexinit::read(&bytes[payload]);
            }
            let mut forced = vec![KEXINIT];
            forced.extend_from_slice(&bytes);
            if let Some(kexinit) = Kexinit::read(&forced) {
                prop_assert!(kexinit.algorithms().len() <= forced.len());
                let _ = kexinit.agrees(&offer());
            }
        }

        #[test]
        fn a_cut_packet_is_never_taken_for_a_whole_one(cut in 0usize..200) {
            let bytes = kexinit([0; 16], &offer());
            let part = &bytes[..cut.min(bytes.len() - 1)];
            prop_assert_eq!(frame(part), Framed::More);
        }
    }
}
