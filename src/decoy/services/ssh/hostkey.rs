//! Host keys: who the server is, the same at every visit.
//!
//! In: the install's key folder. Out: public keys as clients see them, and signatures. One file a key and decoy,
//! `keys/DECOY.ssh_host_rsa_key` and so on, in OpenSSH's own format.
//!
//! Invariants: 1. a key is made once. 2. An RSA key takes its time to be made: that happens beside the start, and only
//! who asks for that key waits for it.

mod file;

use std::io;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ring::digest;
use ring::rand::SystemRandom;
use ring::rsa::KeyPairComponents;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512,
    RsaKeyPair,
};
use tokio::sync::watch;

use self::file::PrivateKey;
use super::offer::{List, Row};
use super::wire::{Reader, Writer};
use crate::decoy::keys::{KeyFault, KeyFolder};
use crate::decoy::number::{self, RsaNumbers};

/// Bits of an RSA host key: what `ssh-keygen` makes since OpenSSH 8.0.
const RSA_BITS: u32 = 3072;

/// How a server signs, by name.
#[derive(Debug)]
pub(super) struct Algorithm {
    name: &'static str,
    kind: Kind,
}

/// A kind of key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rsa,
    Ecdsa,
    Ed25519,
}

impl Row for Algorithm {
    const KIND: &'static str = "host key algorithm";

    fn table() -> &'static [Self] {
        const fn row(name: &'static str, kind: Kind) -> Algorithm {
            Algorithm { name, kind }
        }
        static TABLE: &[Algorithm] = &[
            row("rsa-sha2-512", Kind::Rsa),
            row("rsa-sha2-256", Kind::Rsa),
            row("ssh-rsa", Kind::Rsa),
            row("ecdsa-sha2-nistp256", Kind::Ecdsa),
            row("ssh-ed25519", Kind::Ed25519),
        ];
        TABLE
    }

    fn name(&self) -> &'static str {
        self.name
    }
}

impl Algorithm {
    /// Whether signing takes a processor for longer than a moment.
    pub(super) fn is_heavy(&self) -> bool {
        self.kind == Kind::Rsa
    }
}

/// A host key.
pub(super) enum HostKey {
    /// With its numbers, for signatures that ring does not make.
    Rsa(Box<RsaKeyPair>, Box<RsaNumbers>),
    /// On the curve P-256.
    Ecdsa(Box<EcdsaKeyPair>),
    /// Of 256 bits.
    Ed25519(Box<Ed25519KeyPair>),
}

impl HostKey {
    fn new(key: PrivateKey) -> Option<Self> {
        Some(match key {
            PrivateKey::Rsa(numbers) => Self::Rsa(Box::new(rsa(&numbers)?), Box::new(numbers)),
            PrivateKey::Ecdsa { secret, public } => {
                let random = SystemRandom::new();
                let (scheme, secret, public) = (&ECDSA_P256_SHA256_FIXED_SIGNING, &secret, &public);
                let pair = EcdsaKeyPair::from_private_key_and_public_key(scheme, secret, public, &random);
                Self::Ecdsa(Box::new(pair.ok()?))
            }
            PrivateKey::Ed25519 { seed, public } => {
                let pair = Ed25519KeyPair::from_seed_and_public_key(&seed, &public);
                Self::Ed25519(Box::new(pair.ok()?))
            }
        })
    }

    /// The public key as a message holds it.
    pub(super) fn public(&self) -> Vec<u8> {
        let key = Writer::default();
        match self {
            Self::Rsa(_, numbers) => key.string(b"ssh-rsa").number(&numbers.e).number(&numbers.n),
            Self::Ecdsa(pair) => {
                let point = pair.public_key().as_ref();
                key.string(b"ecdsa-sha2-nistp256").string(b"nistp256").string(point)
            }
            Self::Ed25519(pair) => key.string(b"ssh-ed25519").string(pair.public_key().as_ref()),
        }
        .done()
    }

    /// Signs; `None` only for an algorithm of another kind of key.
    pub(super) fn sign(&self, algorithm: &Algorithm, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        let signature = match (self, algorithm.kind) {
            (Self::Rsa(pair, numbers), Kind::Rsa) => rsa_sign(pair, numbers, algorithm.name, message)?,
            (Self::Ecdsa(pair), Kind::Ecdsa) => {
                let both = pair.sign(&random, message).ok()?;
                let (r, s) = both.as_ref().split_at_checked(32)?;
                Writer::default().number(r).number(s).done()
            }
            (Self::Ed25519(pair), Kind::Ed25519) => pair.sign(message).as_ref().to_vec(),
            _ => return None,
        };
        let signed = Writer::default().string(algorithm.name.as_bytes());
        Some(signed.string(&signature).done())
    }
}

fn rsa(numbers: &RsaNumbers) -> Option<RsaKeyPair> {
    let (d_p, d_q) = numbers.remainders()?;
    let parts = ring::rsa::KeyPairComponents {
        public_key: ring::rsa::PublicKeyComponents {
            n: &numbers.n,
            e: &numbers.e,
        },
        d: &numbers.d,
        p: &numbers.p,
        q: &numbers.q,
        dP: &d_p,
        dQ: &d_q,
        qInv: &numbers.q_inverse,
    };
    let parts: KeyPairComponents<&Vec<u8>> = parts;
    RsaKeyPair::from_components(&parts).ok()
}

fn rsa_sign(pair: &RsaKeyPair, numbers: &RsaNumbers, name: &str, message: &[u8]) -> Option<Vec<u8>> {
    let scheme = match name {
        "rsa-sha2-512" => &RSA_PKCS1_SHA512,
        "rsa-sha2-256" => &RSA_PKCS1_SHA256,
        _ => return rsa_sign_sha1(numbers, message),
    };
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(scheme, &SystemRandom::new(), message, &mut signature).ok()?;
    Some(signature)
}

/// What old servers still offer, and ring does not make: RFC 8017 section 8.2.1 with SHA-1.
fn rsa_sign_sha1(numbers: &RsaNumbers, message: &[u8]) -> Option<Vec<u8>> {
    const PREFIX: [u8; 15] = *b"\x30\x21\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\x00\x04\x14";
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, message);
    let filling = numbers.n.len().checked_sub(3 + PREFIX.len() + digest.as_ref().len())?;
    let padded = [&[0, 1][..], &vec![0xff; filling], &[0], &PREFIX, digest.as_ref()].concat();
    number::power(&padded, &numbers.d, &numbers.n)
}

/// `SHA256:…` of a public key, as `ssh-keygen -l` shows it.
pub(super) fn fingerprint(public: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, public);
    format!("SHA256:{}", STANDARD_NO_PAD.encode(digest))
}

/// The type that a public key says it has.
pub(super) fn key_type(public: &[u8]) -> Option<&[u8]> {
    Reader::new(public).text()
}

/// The keys of a decoy.
#[derive(Clone)]
pub(super) struct HostKeys(Vec<(Kind, Pending)>);

/// A key that there is, or that is being made.
type Pending = watch::Receiver<Option<Arc<HostKey>>>;

impl HostKeys {
    /// The keys that `algorithms` sign with; those that are missing are made. One of RSA comes later.
    pub(super) fn keep(folder: &KeyFolder, decoy: &str, algorithms: &List<Algorithm>) -> Result<Self, KeyFault> {
        let mut keys: Vec<(Kind, Pending)> = Vec::new();
        for kind in algorithms.iter().map(|algorithm| algorithm.kind) {
            if !keys.iter().any(|(known, _)| *known == kind) {
                keys.push((kind, kept(folder, decoy, kind)?));
            }
        }
        Ok(Self(keys))
    }

    /// The key that `algorithm` signs with, once there is one. `None`: it could not be made. Cancel: safe.
    pub(super) async fn get(&self, algorithm: &Algorithm) -> Option<Arc<HostKey>> {
        let (_, key) = self.0.iter().find(|(kind, _)| *kind == algorithm.kind)?;
        let mut key = key.clone();
        let key = key.wait_for(Option::is_some).await.ok()?;
        key.clone()
    }
}

fn kept(folder: &KeyFolder, decoy: &str, kind: Kind) -> Result<Pending, KeyFault> {
    let name = format!("{decoy}.{}", file_name(kind));
    let (sender, receiver) = watch::channel(None);
    if kind == Kind::Rsa && !folder.path(&name).exists() {
        let folder = folder.clone();
        // It ends by itself, with the process at the latest: a key that is half made was shown to nobody.
        std::thread::spawn(move || match read(&folder, &name, kind) {
            Ok(key) => drop(sender.send(Some(key))),
            Err(error) => tracing::error!(error = %error, "a host key could not be made: {error}"),
        });
    } else {
        let key = read(folder, &name, kind)?;
        sender.send_replace(Some(key));
    }
    Ok(receiver)
}

fn read(folder: &KeyFolder, name: &str, kind: Kind) -> Result<Arc<HostKey>, KeyFault> {
    let text = folder.keep(name, || make(kind).map(|key| key.write().into_bytes()))?;
    let key = PrivateKey::read(&text).ok_or("it is no private key of OpenSSH without a passphrase");
    let key = key.map_err(|reason| folder.damaged(name, reason))?;
    if key.kind() != kind {
        return Err(folder.damaged(name, format!("it is not {}", wanted(kind))));
    }
    let key = HostKey::new(key).ok_or_else(|| folder.damaged(name, "its numbers do not belong together"))?;
    Ok(Arc::new(key))
}

const fn file_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Rsa => "ssh_host_rsa_key",
        Kind::Ecdsa => "ssh_host_ecdsa_key",
        Kind::Ed25519 => "ssh_host_ed25519_key",
    }
}

const fn wanted(kind: Kind) -> &'static str {
    match kind {
        Kind::Rsa => "an RSA key",
        Kind::Ecdsa => "an ECDSA key on the curve P-256",
        Kind::Ed25519 => "an Ed25519 key",
    }
}

fn make(kind: Kind) -> io::Result<PrivateKey> {
    let failed = || io::Error::other("no random numbers can be had");
    match kind {
        Kind::Rsa => Some(PrivateKey::Rsa(RsaNumbers::generate(RSA_BITS))),
        Kind::Ecdsa => PrivateKey::ecdsa(),
        Kind::Ed25519 => PrivateKey::ed25519(),
    }
    .ok_or_else(failed)
}
