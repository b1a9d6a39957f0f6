//! X25519 together with a key encapsulation: both have to be broken to learn the secret.

use ring::digest;

use super::curve::Curve;
use super::sntrup;

/// A key encapsulation.
#[derive(Debug, Clone, Copy)]
pub(in super::super) enum Kem {
    /// Streamlined NTRU Prime.
    Sntrup761,
}

impl Kem {
    /// What the server sends, and the shared secret. In: the client's public key and its X25519 value. `None`: they
    /// are no good.
    pub(super) fn agree(self, theirs: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        let (key, value) = theirs.split_at_checked(theirs.len().checked_sub(32)?)?;
        let (sealed, first) = match self {
            Self::Sntrup761 => sntrup::encapsulate(key, &mut rand::rng())?,
        };
        let (ours, second) = Curve::X25519.agree(value)?;
        let secret = [first.as_slice(), &second].concat();
        let hashed = digest::digest(&digest::SHA512, &secret);
        Some(([sealed, ours].concat(), hashed.as_ref().to_vec()))
    }
}
