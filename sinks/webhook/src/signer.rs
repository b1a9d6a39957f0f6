//! Signatures of Standard Webhooks 1.0.0.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use trapline_sink::config::{ExposeSecret, Secret};

/// Lengths of a key, bytes ("Signature scheme").
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Most secrets that sign at once.
const SECRETS_MAX: usize = 8;

/// Base64 as people copy it: with or without its `=`.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Signs with every secret there is: while secrets change, receivers of the old and of the new one believe it.
#[derive(Clone)]
pub(crate) struct Signer(Vec<Hmac<Sha256>>);

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({} secrets)", self.0.len())
    }
}

impl Signer {
    /// Reads `whsec_…`, several with white space between them. Errors: what is wrong, without the secret.
    pub(crate) fn parse(secrets: &Secret) -> Result<Self, &'static str> {
        let keys: Result<Vec<_>, _> = secrets.expose_secret().split_whitespace().map(key).collect();
        let keys = keys?;
        match keys.len() {
            0 => Err("an empty text"),
            1..=SECRETS_MAX => Ok(Self(keys)),
            _ => Err("more than 8 secrets"),
        }
    }

    /// The value of `webhook-signature`.
    pub(crate) fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let signature = |key: &Hmac<Sha256>| {
            let mut mac = key.clone();
            mac.update(format!("{id}.{timestamp}.").as_bytes());
            mac.update(body);
            format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
        };
        self.0.iter().map(signature).collect::<Vec<_>>().join(" ")
    }
}

fn key(secret: &str) -> Result<Hmac<Sha256>, &'static str> {
    if secret.starts_with("whsk_") || secret.starts_with("whpk_") {
        return Err("an asymmetric key");
    }
    let encoded = secret.strip_prefix("whsec_").unwrap_or(secret);
    let key = LENIENT
        .decode(encoded)
        .map_err(|_| "a secret that is not base64 after `whsec_`")?;
    if !KEY_BYTES.contains(&key.len()) {
        return Err("a key of other than 24 to 64 bytes");
    }
    Hmac::new_from_slice(&key).map_err(|_| "a key that cannot be used")
}

/// Seconds since 1970.
pub(crate) fn unix_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or(Duration::ZERO).as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn signer(text: &str) -> Result<Signer, &'static str> {
        Signer::parse(&text.to_owned().into())
    }

    /// The example that the libraries of Standard Webhooks test with.
    #[test]
    fn the_reference_example_comes_out() {
        let signed = signer(SECRET).unwrap().sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn with_two_secrets_there_are_two_signatures_and_each_is_its_own() {
        let other = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";
        let both = signer(&format!("{SECRET} {other}\n")).unwrap().sign("a", 1, b"x");
        let each = [SECRET, other].map(|secret| signer(secret).unwrap().sign("a", 1, b"x"));
        assert_eq!(both, each.join(" "));
    }

    #[test]
    fn what_is_no_secret_is_refused_without_being_shown() {
        for (text, found) in [
            ("", "an empty text"),
            ("whsec_!", "not base64"),
            ("whsec_aGk=", "24 to 64"),
            ("whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "asymmetric"),
            (&[SECRET; 9].join(" "), "more than 8"),
        ] {
            let error = signer(text).unwrap_err();
            assert!(error.contains(found), "{text}: {error}");
        }
        assert!(
            signer("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").is_ok(),
            "the prefix may be left out"
        );
        assert_eq!(format!("{:?}", signer(SECRET).unwrap()), "Signer(1 secrets)");
    }
}
