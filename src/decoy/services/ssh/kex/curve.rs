//! Elliptic-curve Diffie-Hellman.

use p521::elliptic_curve::Generate as _;
use p521::elliptic_curve::sec1::ToSec1Point as _;
use ring::agreement::{self, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
use ring::rand::SystemRandom;

/// A curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Curve {
    /// RFC 8731.
    X25519,
    /// RFC 5656, like the next.
    P256,
    /// As above.
    P384,
    /// As above; ring has no such curve.
    P521,
}

impl Curve {
    /// The server's public value, and the shared secret as a number. `None`: the client's value is no good.
    pub(in super::super) fn agree(self, theirs: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        match self {
            Self::X25519 => by_ring(&agreement::X25519, theirs),
            Self::P256 => by_ring(&agreement::ECDH_P256, theirs),
            Self::P384 => by_ring(&agreement::ECDH_P384, theirs),
            Self::P521 => p521(theirs),
        }
    }
}

fn by_ring(curve: &'static agreement::Algorithm, theirs: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let secret = EphemeralPrivateKey::generate(curve, &SystemRandom::new()).ok()?;
    let ours = secret.compute_public_key().ok()?;
    let theirs = UnparsedPublicKey::new(curve, theirs);
    let shared = agree_ephemeral(secret, &theirs, <[u8]>::to_vec).ok()?;
    Some((ours.as_ref().to_vec(), shared))
}

fn p521(theirs: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    // OpenSSH reads a point that is not compressed.
    let theirs = theirs
        .starts_with(&[4])
        .then(|| p521::PublicKey::from_sec1_bytes(theirs).ok())??;
    let secret = p521::ecdh::EphemeralSecret::generate();
    let ours = secret.public_key().to_sec1_point(false);
    let shared = secret.diffie_hellman(&theirs);
    Some((ours.as_bytes().to_vec(), shared.raw_secret_bytes().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_off_the_curve_or_of_small_order_is_refused() {
        assert!(Curve::X25519.agree(&[0; 32]).is_none());
        assert!(Curve::X25519.agree(&[9; 31]).is_none());
        for (curve, length) in [(Curve::P256, 65), (Curve::P384, 97), (Curve::P521, 133)] {
            let mut point = vec![1; length];
            point[0] = 4;
            assert!(curve.agree(&point).is_none(), "{curve:?}");
            let (ours, _) = curve.agree(&curve.agree_base()).expect("a point of the curve");
            assert_eq!(ours.len(), length);
        }
    }

    impl Curve {
        /// Some point of the curve.
        fn agree_base(self) -> Vec<u8> {
            match self {
                Self::P521 => p521::ecdh::EphemeralSecret::generate()
                    .public_key()
                    .to_sec1_point(false)
                    .as_bytes()
                    .to_vec(),
                _ => {
                    let curve = if self == Self::P256 {
                        &agreement::ECDH_P256
                    } else {
                        &agreement::ECDH_P384
                    };
                    let secret = EphemeralPrivateKey::generate(curve, &SystemRandom::new()).unwrap();
                    secret.compute_public_key().unwrap().as_ref().to_vec()
                }
            }
        }
    }
}
