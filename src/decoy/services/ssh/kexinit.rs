//! KEXINIT: what each side can do, what both have in common, and HASSH.
//!
//! In: a client's KEXINIT, and what the server offers. Out: the algorithms of both; the server's own KEXINIT.
//!
//! Source: RFC 4253 section 7.1; choices as OpenSSH's kex.c makes them.

use md5::{Digest as _, Md5};

use super::cipher::{Cipher, Suite};
use super::hostkey::Algorithm;
use super::kex::Method;
use super::offer::{List, Offer, Row};
use super::wire::{Reader, Writer};

/// `SSH_MSG_KEXINIT`.
pub(super) const KEXINIT: u8 = 20;

/// What both sides say to have each other keep to the order of messages (OpenSSH PROTOCOL, section 1.10).
const STRICT_CLIENT: &[u8] = b"kex-strict-c-v00@openssh.com";
const STRICT_SERVER: &[u8] = b"kex-strict-s-v00@openssh.com";

/// What a client says that understands EXT_INFO (RFC 8308).
const EXT_INFO_CLIENT: &[u8] = b"ext-info-c";

/// The name lists of a KEXINIT, in the order of RFC 4253 section 7.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kexinit<'a> {
    lists: [&'a [u8]; 10],
    /// The client has sent on what it guesses the method to be.
    guesses: bool,
    /// Nothing follows that does not belong to it.
    whole: bool,
}

/// What both sides have in common.
#[derive(Debug)]
pub(super) struct Agreed {
    /// How keys are exchanged.
    pub(super) method: &'static Method,
    /// What the server signs with.
    pub(super) host_key: &'static Algorithm,
    /// From the client.
    pub(super) to_us: Suite,
    /// To the client.
    pub(super) to_them: Suite,
    /// Both keep strictly to the order of messages.
    pub(super) strict: bool,
    /// The client understands EXT_INFO.
    pub(super) extends: bool,
    /// The client has sent a guess that is wrong and is to be passed over.
    pub(super) guessed_wrong: bool,
}

impl<'a> Kexinit<'a> {
    /// Reads the payload of a KEXINIT; `None` if it is not one.
    pub(super) fn read(payload: &'a [u8]) -> Option<Self> {
        let mut rest = Reader::new(payload.strip_prefix(&[KEXINIT])?.get(16..)?);
        let mut lists = [&[][..]; 10];
        for list in &mut lists {
            *list = rest.string()?;
        }
        let guesses = rest.boolean()?;
        rest.u32()?;
        Some(Self {
            lists,
            guesses,
            whole: rest.is_empty(),
        })
    }

    /// What HASSH is made of: key exchange, encryption, MAC and compression, client to server.
    pub(super) fn algorithms(&self) -> Vec<u8> {
        let [kex, _, encryption, _, mac, _, compression, ..] = self.lists;
        [kex, encryption, mac, compression].join(&b';')
    }

    /// What it has in common with a server that offers `ours`, if it is in order and they have an algorithm of every
    /// kind in common.
    pub(super) fn agree(&self, ours: &Offer) -> Option<Agreed> {
        let [kex, host_key, to_us, to_them, mac_us, mac_them, comp_us, comp_them, ..] = self.lists;
        let method = split(kex)
            .filter_map(|name| ours.kex.find(name))
            .find(|method| method.way.is_some())?;
        let host_key = ours.host_keys.choose(host_key)?;
        ours.compression
            .choose(comp_us)
            .and(ours.compression.choose(comp_them))?;
        self.whole.then_some(Agreed {
            method,
            host_key,
            to_us: suite(ours, to_us, mac_us)?,
            to_them: suite(ours, to_them, mac_them)?,
            strict: has(kex, STRICT_CLIENT) && ours.kex.find(STRICT_SERVER).is_some(),
            extends: has(kex, EXT_INFO_CLIENT),
            guessed_wrong: self.guesses && !self.guesses_right(ours),
        })
    }

    /// Whether the first choices of both sides are the same.
    fn guesses_right(&self, ours: &Offer) -> bool {
        let [kex, host_key, ..] = self.lists;
        is_first(kex, &ours.kex) && is_first(host_key, &ours.host_keys)
    }
}

fn suite(ours: &Offer, ciphers: &[u8], macs: &[u8]) -> Option<Suite> {
    let cipher: &'static Cipher = ours.ciphers.choose(ciphers)?;
    // Authenticated ciphers bring their own MAC, so no common MAC is needed with one.
    let mac = if cipher.is_authenticated() {
        None
    } else {
        Some(ours.macs.choose(macs)?)
    };
    Some(Suite { cipher, mac })
}

fn split(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| *byte == b',')
}

fn has(list: &[u8], name: &[u8]) -> bool {
    split(list).any(|found| found == name)
}

fn is_first<T: Row>(list: &[u8], ours: &List<T>) -> bool {
    split(list).next() == ours.first().map(|row| row.name().as_bytes())
}

/// HASSH: MD5 of the algorithms' text, lower-case hex.
pub(super) fn hassh(algorithms: &[u8]) -> String {
    format!("{:x}", Md5::digest(algorithms))
}

/// The server's KEXINIT.
pub(super) fn kexinit(cookie: [u8; 16], offer: &Offer) -> Vec<u8> {
    let (ciphers, macs) = (offer.ciphers.names(), offer.macs.names());
    let compression = offer.compression.names();
    let lists = [
        &offer.kex.names(),
        &offer.host_keys.names(),
        &ciphers,
        &ciphers,
        &macs,
        &macs,
        &compression,
        &compression,
    ];
    let head = Writer::message(KEXINIT).raw(&cookie);
    let message = lists
        .into_iter()
        .fold(head, |message, list| message.string(list.as_bytes()));
    // Two empty language lists, first_kex_packet_follows, reserved.
    message.raw(&[0; 13]).done()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn offer() -> Offer {
        toml::from_str(
            "kex = ['curve25519-sha256', 'kex-strict-s-v00@openssh.com']\nhost_keys = ['ssh-ed25519']\n\
             ciphers = ['chacha20-poly1305@openssh.com', 'aes128-ctr']\nmacs = ['hmac-sha2-256']\n\
             compression = ['none', 'zlib@openssh.com']",
        )
        .expect("all of them are known")
    }

    fn client(lists: [&str; 10], guesses: u8) -> Vec<u8> {
        let head = Writer::message(KEXINIT).raw(&[7; 16]);
        let message = lists
            .into_iter()
            .fold(head, |message, list| message.string(list.as_bytes()));
        message.byte(guesses).u32(0).done()
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

    fn agree(lists: [&str; 10], guesses: u8) -> Option<Agreed> {
        Kexinit::read(&client(lists, guesses))?.agree(&offer())
    }

    #[test]
    fn our_kexinit_reads_back() {
        let payload = kexinit([1; 16], &offer());
        let read = Kexinit::read(&payload).expect("a KEXINIT");
        assert_eq!(read.lists[0], b"curve25519-sha256,kex-strict-s-v00@openssh.com");
        assert_eq!(read.lists[7], b"none,zlib@openssh.com");
        assert!(read.whole && !read.guesses);
    }

    #[test]
    fn hassh_is_the_md5_of_four_lists() {
        let payload = client(GOOD, 0);
        let text = Kexinit::read(&payload).expect("a KEXINIT").algorithms();
        assert_eq!(text, b"ext-info-c,curve25519-sha256;aes128-ctr;hmac-sha2-256;none");
        // `md5sum` of that text.
        assert_eq!(hassh(&text), "894286461a8661ac0d430c70e654631e");
    }

    #[test]
    fn every_kind_of_algorithm_needs_a_common_name() {
        let agreed = agree(GOOD, 0).expect("all in common");
        assert!(agreed.extends && !agreed.strict && !agreed.guessed_wrong);
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
            assert!(agree(lists, 0).is_none(), "list {at} `{wrong}`");
        }
        let mut own_mac = GOOD;
        (own_mac[2], own_mac[3]) = ("chacha20-poly1305@openssh.com", "chacha20-poly1305@openssh.com");
        (own_mac[4], own_mac[5]) = ("", "");
        assert!(agree(own_mac, 0).is_some(), "an authenticated cipher needs no MAC");
    }

    #[test]
    fn a_guess_is_wrong_unless_both_put_the_same_names_first() {
        let mut lists = GOOD;
        assert!(agree(lists, 1).is_some_and(|agreed| agreed.guessed_wrong));
        lists[0] = "curve25519-sha256,kex-strict-c-v00@openssh.com";
        assert!(agree(lists, 1).is_some_and(|agreed| !agreed.guessed_wrong && agreed.strict));
    }

    #[test]
    fn a_kexinit_with_more_behind_it_is_read_and_agrees_with_nobody() {
        let mut payload = client(GOOD, 0);
        payload.push(0);
        let kexinit = Kexinit::read(&payload).expect("a KEXINIT");
        assert!(kexinit.agree(&offer()).is_none() && !kexinit.algorithms().is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_as_a_kexinit_or_not(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let mut forced = vec![KEXINIT];
            forced.extend_from_slice(&bytes);
            if let Some(kexinit) = Kexinit::read(&forced) {
                prop_assert!(kexinit.algorithms().len() <= forced.len());
                let _ = kexinit.agree(&offer());
            }
        }
    }
}
