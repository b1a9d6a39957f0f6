//! The file of a host key: OpenSSH's own format, without a passphrase, as `ssh-keygen` writes and reads it.
//!
//! Source: OpenSSH PROTOCOL.key.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};

use super::Kind;
use crate::decoy::number::RsaNumbers;
use crate::decoy::services::ssh::wire::{Reader, Writer};

const MAGIC: &[u8] = b"openssh-key-v1\0";
const BEGIN: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";
const END: &str = "-----END OPENSSH PRIVATE KEY-----";

/// Characters of a line of the file.
const LINE: usize = 70;

/// What keys without a passphrase are padded to, bytes.
const BLOCK: usize = 8;

/// A private key, as the file has it.
pub(super) enum PrivateKey {
    /// RSA.
    Rsa(RsaNumbers),
    /// On the curve P-256: the secret number and the point.
    Ecdsa {
        /// 32 bytes.
        secret: Vec<u8>,
        /// 65 bytes, not compressed.
        public: Vec<u8>,
    },
    /// Ed25519.
    Ed25519 {
        /// 32 bytes.
        seed: Vec<u8>,
        /// 32 bytes.
        public: Vec<u8>,
    },
}

impl PrivateKey {
    /// A new key; `None` without random numbers.
    pub(super) fn ed25519() -> Option<Self> {
        let mut seed = vec![0; 32];
        SystemRandom::new().fill(&mut seed).ok()?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).ok()?;
        let public = pair.public_key().as_ref().to_vec();
        Some(Self::Ed25519 { seed, public })
    }

    /// A new key; `None` without random numbers.
    pub(super) fn ecdsa() -> Option<Self> {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).ok()?;
        // ring shows the secret nowhere else. Where it stands in its one form of document is checked by what follows.
        let secret = document.as_ref().get(36..68)?.to_vec();
        let public = document.as_ref().last_chunk::<65>()?.to_vec();
        let scheme = &ECDSA_P256_SHA256_FIXED_SIGNING;
        EcdsaKeyPair::from_private_key_and_public_key(scheme, &secret, &public, &random).ok()?;
        Some(Self::Ecdsa { secret, public })
    }

    /// Its kind.
    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::Rsa(_) => Kind::Rsa,
            Self::Ecdsa { .. } => Kind::Ecdsa,
            Self::Ed25519 { .. } => Kind::Ed25519,
        }
    }

    /// The text of its file.
    pub(super) fn write(&self) -> String {
        let mut check = [0; 4];
        // Equal numbers say that a passphrase was right; here there is none.
        let _ = SystemRandom::new().fill(&mut check);
        let secret = self.secret_part(Writer::default().raw(&check).raw(&check));
        let mut secret = secret.string(b"root").done();
        let padding = secret.len().next_multiple_of(BLOCK) - secret.len();
        secret.extend((1..).take(padding));
        let body = Writer::default().raw(MAGIC).string(b"none").string(b"none").string(b"");
        let body = body.u32(1).string(&self.public_part()).string(&secret).done();
        armoured(&body)
    }

    fn public_part(&self) -> Vec<u8> {
        let key = Writer::default();
        match self {
            Self::Rsa(numbers) => key.string(b"ssh-rsa").number(&numbers.e).number(&numbers.n),
            Self::Ecdsa { public, .. } => key.string(b"ecdsa-sha2-nistp256").string(b"nistp256").string(public),
            Self::Ed25519 { public, .. } => key.string(b"ssh-ed25519").string(public),
        }
        .done()
    }

    fn secret_part(&self, to: Writer) -> Writer {
        match self {
            Self::Rsa(key) => {
                let to = to.string(b"ssh-rsa").number(&key.n).number(&key.e).number(&key.d);
                to.number(&key.q_inverse).number(&key.p).number(&key.q)
            }
            Self::Ecdsa { secret, public } => {
                let to = to.string(b"ecdsa-sha2-nistp256").string(b"nistp256");
                to.string(public).number(secret)
            }
            Self::Ed25519 { seed, public } => {
                let both = [seed.as_slice(), public].concat();
                to.string(b"ssh-ed25519").string(public).string(&both)
            }
        }
    }

    /// Reads the text of a file. `None`: it is not one, it has a passphrase, or a key of another kind.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let body = bare(std::str::from_utf8(text).ok()?)?;
        let mut body = Reader::new(body.strip_prefix(MAGIC)?);
        let (cipher, kdf, _) = (body.string()?, body.string()?, body.string()?);
        let (count, _) = (body.u32()?, body.string()?);
        let mut secret = Reader::new(body.string()?);
        let is_plain = cipher == b"none" && kdf == b"none" && count == 1 && secret.u32()? == secret.u32()?;
        if is_plain { Self::read_secret(secret) } else { None }
    }

    fn read_secret(mut from: Reader<'_>) -> Option<Self> {
        match from.string()? {
            b"ssh-rsa" => Self::read_rsa(from).map(Self::Rsa),
            b"ecdsa-sha2-nistp256" => {
                let (_, public, secret) = (from.string()?, from.string()?.to_vec(), from.number()?);
                let zeros = vec![0; 32_usize.checked_sub(secret.len())?];
                let secret = [&zeros, secret].concat();
                Some(Self::Ecdsa { secret, public })
            }
            b"ssh-ed25519" => {
                let public = from.string()?.to_vec();
                let seed = from.string()?.get(..32)?.to_vec();
                Some(Self::Ed25519 { seed, public })
            }
            _ => None,
        }
    }

    fn read_rsa(mut from: Reader<'_>) -> Option<RsaNumbers> {
        let mut number = || from.number().map(<[u8]>::to_vec);
        let (n, e, d) = (number()?, number()?, number()?);
        let (q_inverse, p, q) = (number()?, number()?, number()?);
        Some(RsaNumbers {
            n,
            e,
            d,
            p,
            q,
            q_inverse,
        })
    }
}

fn armoured(body: &[u8]) -> String {
    let encoded = STANDARD.encode(body);
    let mut text = format!("{BEGIN}\n");
    for (at, character) in encoded.chars().enumerate() {
        if at > 0 && at % LINE == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    text + "\n" + END + "\n"
}

fn bare(text: &str) -> Option<Vec<u8>> {
    let (_, after) = text.split_once(BEGIN)?;
    let (body, _) = after.split_once(END)?;
    let encoded: String = body.split_ascii_whitespace().collect();
    STANDARD.decode(encoded).ok()
}
