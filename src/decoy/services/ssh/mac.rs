//! What proves that a packet is whole, beside a cipher that does not prove it by itself.
//!
//! In: a key, a packet and its number. Out: its tag.
//!
//! Source: RFC 4253 section 6.4, RFC 6668; `-etm` and umac: OpenSSH PROTOCOL section 1.5, mac.c.

use ring::hmac;

use super::offer::Row;
use super::umac::Umac;

/// A MAC by name.
#[derive(Debug)]
pub(super) struct Mac {
    name: &'static str,
    /// Whether it proves the packet as encrypted, with its length in clear.
    pub(super) is_outside: bool,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Hmac(fn() -> hmac::Algorithm),
    /// Bytes of its tag.
    Umac(usize),
}

const SHA1: Kind = Kind::Hmac(|| hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY);
const SHA256: Kind = Kind::Hmac(|| hmac::HMAC_SHA256);
const SHA512: Kind = Kind::Hmac(|| hmac::HMAC_SHA512);

const fn inside(name: &'static str, kind: Kind) -> Mac {
    Mac {
        name,
        is_outside: false,
        kind,
    }
}

const fn outside(name: &'static str, kind: Kind) -> Mac {
    Mac {
        name,
        is_outside: true,
        kind,
    }
}

impl Row for Mac {
    const KIND: &'static str = "MAC";

    fn table() -> &'static [Self] {
        static TABLE: &[Mac] = &[
            outside("umac-64-etm@openssh.com", Kind::Umac(8)),
            outside("umac-128-etm@openssh.com", Kind::Umac(16)),
            outside("hmac-sha2-256-etm@openssh.com", SHA256),
            outside("hmac-sha2-512-etm@openssh.com", SHA512),
            outside("hmac-sha1-etm@openssh.com", SHA1),
            inside("umac-64@openssh.com", Kind::Umac(8)),
            inside("umac-128@openssh.com", Kind::Umac(16)),
            inside("hmac-sha2-256", SHA256),
            inside("hmac-sha2-512", SHA512),
            inside("hmac-sha1", SHA1),
        ];
        TABLE
    }

    fn name(&self) -> &'static str {
        self.name
    }
}

impl Mac {
    /// Bytes of its key.
    pub(super) fn key_len(&self) -> usize {
        match self.kind {
            Kind::Hmac(algorithm) => algorithm().digest_algorithm().output_len(),
            Kind::Umac(_) => 16,
        }
    }

    /// Bytes of its tag.
    pub(super) fn tag_len(&self) -> usize {
        match self.kind {
            Kind::Umac(length) => length,
            Kind::Hmac(_) => self.key_len(),
        }
    }

    /// With a key of [`Mac::key_len`] bytes.
    pub(super) fn keyed(&self, key: &[u8]) -> Option<MacKey> {
        match self.kind {
            Kind::Hmac(algorithm) => Some(MacKey::Hmac(hmac::Key::new(algorithm(), key))),
            Kind::Umac(length) => Umac::new(key, length).map(|umac| MacKey::Umac(Box::new(umac))),
        }
    }
}

/// A MAC with its key.
pub(super) enum MacKey {
    /// Over the packet's number and the packet.
    Hmac(hmac::Key),
    /// Over the packet; the number is the nonce.
    Umac(Box<Umac>),
}

impl MacKey {
    /// The tag of the packet with this number.
    pub(super) fn tag(&self, number: u32, packet: &[u8]) -> Vec<u8> {
        match self {
            Self::Umac(umac) => umac.tag(packet, number.into()),
            Self::Hmac(key) => {
                let mut context = hmac::Context::with_key(key);
                context.update(&number.to_be_bytes());
                context.update(packet);
                context.sign().as_ref().to_vec()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mac_gives_tags_of_its_length_that_depend_on_the_number() {
        for mac in Mac::table() {
            let key = mac.keyed(&vec![1; mac.key_len()]).expect("a key of its length");
            assert_eq!(key.tag(0, b"packet").len(), mac.tag_len(), "{}", mac.name);
            assert_ne!(key.tag(0, b"packet"), key.tag(1, b"packet"), "{}", mac.name);
        }
    }
}
