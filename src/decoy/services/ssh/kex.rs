//! Key exchange: the methods, and what both sides have in common after one.
//!
//! In: what the client sends to a method. Out: what the server sends back, the shared secret, the exchange hash and the
//! keys that follow from both.
//!
//! Invariants: 1. every method that a personality may name works. 2. What is secret lives for one exchange and is
//! never shown.
//!
//! Source: RFC 4253 sections 7 and 8, RFC 5656 (ECDH), RFC 8731 (X25519), RFC 8268 (larger groups), RFC 4419 (groups by
//! request), draft-ietf-sshm-ntruprime-ssh and draft-ietf-sshm-mlkem-hybrid-kex (hybrids).

mod curve;
pub(super) mod group;
mod hybrid;
mod sntrup;

use ring::digest::{self, Context};

use self::curve::Curve;
use self::group::Group;
use super::cipher::{Keys, Suite};
use super::mac::Mac;
use super::offer::Row;
use super::wire::{Reader, Writer};

/// A method by name, or a marker among the names that is none.
#[derive(Debug)]
pub(super) struct Method {
    name: &'static str,
    hash: &'static digest::Algorithm,
    /// How it goes; none for a marker.
    pub(super) way: Option<Way>,
}

/// How a method goes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Way {
    /// A curve.
    Curve(Curve),
    /// X25519 together with a key encapsulation that withstands quantum computers.
    Hybrid(hybrid::Kem),
    /// A group of RFC 3526, by its number.
    Group(&'static str),
    /// A group that the client asks for by size.
    GroupExchange,
}

impl Way {
    /// Whether it takes a processor for longer than a moment.
    pub(super) const fn is_heavy(self) -> bool {
        !matches!(self, Self::Curve(Curve::X25519 | Curve::P256))
    }

    const fn is_of_numbers(self) -> bool {
        matches!(self, Self::Group(_) | Self::GroupExchange)
    }

    /// Reads a public value as messages of this way hold it.
    pub(super) fn read<'a>(self, from: &mut Reader<'a>) -> Option<&'a [u8]> {
        if self.is_of_numbers() {
            from.number()
        } else {
            from.string()
        }
    }

    /// Writes one.
    pub(super) fn write(self, to: Writer, value: &[u8]) -> Writer {
        if self.is_of_numbers() {
            to.number(value)
        } else {
            to.string(value)
        }
    }
}

const fn row(name: &'static str, hash: &'static digest::Algorithm, way: Way) -> Method {
    Method {
        name,
        hash,
        way: Some(way),
    }
}

const fn marker(name: &'static str) -> Method {
    Method {
        name,
        hash: &digest::SHA256,
        way: None,
    }
}

impl Row for Method {
    const KIND: &'static str = "key exchange method";

    fn table() -> &'static [Self] {
        static TABLE: &[Method] = &[
            row(
                "sntrup761x25519-sha512",
                &digest::SHA512,
                Way::Hybrid(hybrid::Kem::Sntrup761),
            ),
            row(
                "sntrup761x25519-sha512@openssh.com",
                &digest::SHA512,
                Way::Hybrid(hybrid::Kem::Sntrup761),
            ),
            row("curve25519-sha256", &digest::SHA256, Way::Curve(Curve::X25519)),
            row(
                "curve25519-sha256@libssh.org",
                &digest::SHA256,
                Way::Curve(Curve::X25519),
            ),
            row("ecdh-sha2-nistp256", &digest::SHA256, Way::Curve(Curve::P256)),
            row("ecdh-sha2-nistp384", &digest::SHA384, Way::Curve(Curve::P384)),
            row("ecdh-sha2-nistp521", &digest::SHA512, Way::Curve(Curve::P521)),
            row(
                "diffie-hellman-group-exchange-sha256",
                &digest::SHA256,
                Way::GroupExchange,
            ),
            row("diffie-hellman-group16-sha512", &digest::SHA512, Way::Group("16")),
            row("diffie-hellman-group18-sha512", &digest::SHA512, Way::Group("18")),
            row("diffie-hellman-group14-sha256", &digest::SHA256, Way::Group("14")),
            row(
                "diffie-hellman-group14-sha1",
                &digest::SHA1_FOR_LEGACY_USE_ONLY,
                Way::Group("14"),
            ),
            marker("ext-info-s"),
            marker("kex-strict-s-v00@openssh.com"),
        ];
        TABLE
    }

    fn name(&self) -> &'static str {
        self.name
    }
}

/// What the server computes from what a client sent.
pub(super) struct Agreement {
    /// The public value that it sends back.
    pub(super) ours: Vec<u8>,
    /// The shared secret, encoded as the exchange hash and the keys read it.
    pub(super) secret: Vec<u8>,
}

/// Answers the public value that a client sends. In: also the group, where one was asked for. `None`: it is no good,
/// and a server gives up.
pub(super) fn agree(way: Way, theirs: &[u8], group: Option<&Group>) -> Option<Agreement> {
    match way {
        Way::Curve(curve) => {
            let (ours, shared) = curve.agree(theirs)?;
            let secret = Writer::default().number(&shared).done();
            Some(Agreement { ours, secret })
        }
        Way::Hybrid(kem) => {
            let (ours, shared) = kem.agree(theirs)?;
            let secret = Writer::default().string(&shared).done();
            Some(Agreement { ours, secret })
        }
        Way::Group(name) => group::fixed(name)?.agree(theirs),
        Way::GroupExchange => group?.agree(theirs),
    }
}

/// What both sides sign and derive keys from.
pub(super) struct Outcome {
    /// The hash that the method's names.
    hash: &'static digest::Algorithm,
    /// The shared secret, encoded.
    secret: Vec<u8>,
    /// The exchange hash.
    pub(super) exchange: Vec<u8>,
}

impl Outcome {
    /// In: all that the exchange hash is over but the secret, in its order.
    pub(super) fn new(method: &Method, transcript: &[u8], secret: Vec<u8>) -> Self {
        let exchange = digest_of(method.hash, &[transcript, &secret]);
        Self {
            hash: method.hash,
            secret,
            exchange,
        }
    }

    /// The keys of one direction, by the letters of RFC 4253 section 7.2: nonce, cipher, MAC. In: the first exchange
    /// hash of the session.
    pub(super) fn keys(&self, letters: [u8; 3], suite: Suite, session: &[u8]) -> Keys {
        let [iv, cipher, mac] = letters;
        let key = |letter, length| self.key(letter, length, session);
        Keys {
            iv: key(iv, suite.cipher.iv_len),
            cipher: key(cipher, suite.cipher.key_len),
            mac: key(mac, suite.mac.map_or(0, Mac::key_len)),
        }
    }

    fn key(&self, letter: u8, length: usize, session: &[u8]) -> Vec<u8> {
        let mut key = digest_of(self.hash, &[&self.secret, &self.exchange, &[letter], session]);
        while key.len() < length {
            let more = digest_of(self.hash, &[&self.secret, &self.exchange, &key]);
            key.extend_from_slice(&more);
        }
        key.truncate(length);
        key
    }
}

fn digest_of(hash: &'static digest::Algorithm, parts: &[&[u8]]) -> Vec<u8> {
    let mut context = Context::new(hash);
    for part in parts {
        context.update(part);
    }
    context.finish().as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_are_as_long_as_asked_for_and_unlike_each_other() {
        let method = Method::table()
            .iter()
            .find(|row| row.name == "curve25519-sha256")
            .unwrap();
        let outcome = Outcome::new(method, b"transcript", b"secret".to_vec());
        let key = |letter, length| outcome.key(letter, length, &outcome.exchange);
        assert_eq!(key(b'C', 64).len(), 64);
        assert_eq!(key(b'C', 64)[..32], key(b'C', 32)[..]);
        assert_ne!(key(b'C', 32), key(b'D', 32));
        assert!(key(b'A', 0).is_empty());
    }

    fn ways() -> impl Iterator<Item = Way> {
        Method::table().iter().filter_map(|method| method.way)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn any_bytes_sent_to_any_method_are_answered_or_refused(
            bytes in prop::collection::vec(any::<u8>(), 0..1300),
            length in prop::sample::select(vec![32_usize, 65, 97, 133, 1190, 1216, 256, 512]),
        ) {
            let mut exact = bytes.clone();
            exact.resize(length, 4);
            for way in ways().filter(|way| !matches!(way, Way::Group("16" | "18"))) {
                for theirs in [&bytes, &exact] {
                    if let Some(agreement) = agree(way, theirs, group::fixed("14").as_ref()) {
                        prop_assert!(!agreement.ours.is_empty() && agreement.secret.len() > 4);
                    }
                }
            }
        }
    }
}
