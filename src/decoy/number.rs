//! Numbers of any size: powers modulo an odd number, and RSA keys.
//!
//! In and out: unsigned, big end first. Time does not depend on what is secret: `crypto-bigint`.

use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, ConcatenatingMul as _, NonZero, Odd};
use crypto_primes::hazmat::{SetBits, SmallFactorsSieveFactory};
use crypto_primes::{Flavor, is_prime, sieve_and_find};

use super::der;

/// Public exponent of every RSA key that OpenSSH and OpenSSL make.
const RSA_EXPONENT: u32 = 65537;

/// `base` to the power of `exponent`, modulo an odd `modulus`; as long as the modulus. `None`: the modulus is even, or
/// shorter than the base.
pub(crate) fn power(base: &[u8], exponent: &[u8], modulus: &[u8]) -> Option<Vec<u8>> {
    let bits = u32::try_from(modulus.len()).ok()?.checked_mul(8)?;
    let modulus = BoxedUint::from_be_slice(modulus, bits).ok()?;
    let params = BoxedMontyParams::new(Odd::new(modulus).into_option()?);
    let exponent = BoxedUint::from_be_slice(exponent, 8 * u32::try_from(exponent.len()).ok()?).ok()?;
    let base = BoxedUint::from_be_slice(base, bits).ok()?;
    let power = BoxedMontyForm::new(base, &params).pow(&exponent).retrieve();
    Some(power.to_be_bytes().into())
}

/// The numbers of an RSA key, under the names of RFC 8017 section 3.2.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RsaNumbers {
    /// Modulus.
    pub(crate) n: Vec<u8>,
    /// Public exponent.
    pub(crate) e: Vec<u8>,
    /// Private exponent.
    pub(crate) d: Vec<u8>,
    /// First prime.
    pub(crate) p: Vec<u8>,
    /// Second prime.
    pub(crate) q: Vec<u8>,
    /// The second prime's inverse modulo the first.
    pub(crate) q_inverse: Vec<u8>,
}

impl RsaNumbers {
    /// A new key of so many bits, an even number of at least 1,024: one of 3,072 takes a processor some hundred
    /// milliseconds.
    pub(crate) fn generate(bits: u32) -> Self {
        loop {
            if let Some(key) = Self::of_primes(&prime(bits / 2), &prime(bits / 2)) {
                return key;
            }
        }
    }

    /// `None`: no key can be made of these two, which is rare.
    fn of_primes(p: &BoxedUint, q: &BoxedUint) -> Option<Self> {
        let bits = p.bits_precision();
        let one = BoxedUint::one_with_precision(bits);
        let count = NonZero::new(p.wrapping_sub(&one).concatenating_mul(q.wrapping_sub(&one))).into_option()?;
        let e = BoxedUint::from(RSA_EXPONENT);
        let wide = BoxedUint::from_be_slice(&RSA_EXPONENT.to_be_bytes(), 2 * bits).ok()?;
        let d = wide.invert_mod(&count).into_option()?;
        let q_inverse = q.invert_mod(&NonZero::new(p.clone()).into_option()?).into_option()?;
        let bytes = |number: &BoxedUint| number.to_be_bytes_trimmed_vartime().into();
        Some(Self {
            n: bytes(&p.concatenating_mul(q)),
            e: bytes(&e),
            d: bytes(&d),
            p: bytes(p),
            q: bytes(q),
            q_inverse: bytes(&q_inverse),
        })
    }

    /// What remains of the private exponent modulo each prime less one: for both, or `None` if they are no primes.
    pub(crate) fn remainders(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        let d = BoxedUint::from_be_slice_vartime(&self.d);
        let remainder = |prime: &[u8]| {
            let prime = BoxedUint::from_be_slice_vartime(prime);
            let one = BoxedUint::one_with_precision(prime.bits_precision());
            let modulus = NonZero::new(prime.wrapping_sub(&one)).into_option()?;
            Some(d.rem_vartime(&modulus).to_be_bytes_trimmed_vartime().into())
        };
        Some((remainder(&self.p)?, remainder(&self.q)?))
    }

    /// The key as PKCS #8 has it (RFC 5958, RFC 8017 appendix A.1.2), DER. `None`: its numbers are none of a key.
    pub(crate) fn pkcs8(&self) -> Option<Vec<u8>> {
        const RSA_ENCRYPTION: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
        let (d_p, d_q) = self.remainders()?;
        let version = der::integer(&[0]);
        let numbers = [&self.n, &self.e, &self.d, &self.p, &self.q, &d_p, &d_q, &self.q_inverse];
        let numbers: Vec<u8> = numbers.into_iter().flat_map(|number| der::integer(number)).collect();
        let key = der::sequence(&[&version, &numbers]);
        Some(der::sequence(&[
            &version,
            RSA_ENCRYPTION,
            &der::element(der::OCTETS, &key),
        ]))
    }
}

/// A random prime with its two highest bits set, so that the product of two has all its bits.
fn prime(bits: u32) -> BoxedUint {
    let mut rng = crypto_bigint::rand_core::UnwrapErr(getrandom::SysRng);
    loop {
        let factory = SmallFactorsSieveFactory::<BoxedUint>::new(Flavor::Any, bits, SetBits::TwoMsb);
        let found = factory.and_then(|factory| sieve_and_find(&mut rng, factory, |_, odd| is_prime(Flavor::Any, odd)));
        if let Ok(Some(prime)) = found {
            return prime;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_made_is_one_to_ring_in_either_form() {
        for _ in 0..4 {
            let key = RsaNumbers::generate(2048);
            let pair = ring::signature::RsaKeyPair::from_pkcs8(&key.pkcs8().unwrap()).unwrap();
            assert_eq!(pair.public().modulus_len(), 256);
            assert_eq!((key.n.len(), key.n[0] >> 7), (256, 1));
        }
    }
}
