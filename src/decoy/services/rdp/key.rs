//! The key of RDP's own encryption: RSA of 2048 bits, made once per decoy, in a certificate that everybody can sign.
//!
//! In: the install's key folder, where `DECOY.rdp_key` holds modulus and private exponent, a line of hex each. Out: the
//! certificate; the randoms of clients, decrypted. Source: MS-RDPBCGR 2.2.1.4.3.1.1, 5.3.3.1; `xrdp-keygen` of 0.9.21.1.
//!
//! Invariant: a key takes its time to be made: that happens beside the start, and only who asks for it waits.

use std::io;
use std::sync::{Arc, LazyLock};

use md5::{Digest as _, Md5};
use tokio::sync::{Semaphore, watch};
use trapline_schemas::ids;

use super::look::Look;
use super::negotiation::Layer;
use super::security::RANDOM;
use crate::decoy::Personality;
use crate::decoy::keys::{KeyFault, KeyFolder, Provided};
use crate::decoy::number::{RsaNumbers, power};

/// Bits of a key, and bytes.
const BITS: u32 = 2048;
const BYTES: usize = 256;

/// Zeros behind every number.
const PADDING: usize = 8;

/// The key that every such certificate is signed with: Microsoft publishes it (MS-RDPBCGR 5.3.3.1.1). Big end first.
const SIGNER_MODULUS: &[u8] = b"\
    \x87\xea\x6d\x05\x5f\x09\x93\x20\xbb\x61\xf5\x1a\x09\x06\x5e\x6c\x7d\x5c\xf6\x3d\xfe\xbf\xe7\x7c\xef\xfe\x3a\x58\
    \x6b\x65\x63\xce\x95\x45\x52\xf2\x9a\x6b\xb7\xd7\xe2\xc1\xf5\xef\x87\x20\x88\x3e\xcb\x5f\xba\x4a\x1e\xc1\xbb\x4d\
    \xc9\x3e\x43\x72\xbd\x5e\x3a\x3d";
const SIGNER_EXPONENT: &[u8] = b"\
    \x5f\xf3\x3f\xe7\x13\x01\x10\xc7\xb3\x9b\x51\x0b\x17\x79\x07\x35\xdd\x0d\x7b\x0a\xb8\x3a\xc7\x99\x24\xb1\xdd\x24\
    \x9f\x12\x9a\x17\x60\x08\xe8\x99\x33\xcc\x92\xcf\x94\x49\x67\xe9\xfa\xe6\x3e\x24\xf8\x68\x65\x25\x16\x16\x00\x58\
    \x55\x87\x11\xda\x32\x19\xa7\x87";

/// A key.
pub(super) struct Key {
    /// Big end first.
    modulus: Vec<u8>,
    exponent: Vec<u8>,
    certificate: Vec<u8>,
}

/// A key that there is, or that is being made.
pub(super) type Pending = watch::Receiver<Option<Arc<Key>>>;

/// The key of a decoy whose look needs one.
pub(super) fn provide(folder: &KeyFolder, decoy: &str, personality: &Personality) -> Result<Provided, KeyFault> {
    let (sender, receiver) = watch::channel(None);
    if personality.look::<Look>().has(Layer::Rdp) {
        let name = format!("{decoy}.rdp_key");
        if folder.path(&name).exists() {
            sender.send_replace(Some(read(folder, &name)?));
        } else {
            let folder = folder.clone();
            // It ends by itself, with the process at the latest: a key that is half made was shown to nobody.
            std::thread::spawn(move || match read(&folder, &name) {
                Ok(key) => drop(sender.send(Some(key))),
                Err(error) => tracing::error!(error = %error, "a key of RDP could not be made: {error}"),
            });
        }
    }
    Ok(Box::new(receiver))
}

fn read(folder: &KeyFolder, name: &str) -> Result<Arc<Key>, KeyFault> {
    let text = folder.keep(name, || Ok::<_, io::Error>(make()))?;
    let key = Key::read(&text);
    key.map(Arc::new).ok_or_else(|| {
        folder.damaged(
            name,
            "it is not modulus and private exponent of an RSA key of 2048 bits",
        )
    })
}

fn make() -> Vec<u8> {
    let numbers = RsaNumbers::generate(BITS);
    format!("{}\n{}\n", ids::hex(&numbers.n), ids::hex(&numbers.d)).into_bytes()
}

impl Key {
    fn read(text: &[u8]) -> Option<Self> {
        let mut lines = std::str::from_utf8(text).ok()?.lines();
        let mut number = || unhex(lines.next()?).filter(|number| number.len() <= BYTES);
        let (modulus, exponent) = (number()?, number()?);
        let certificate = certificate(&modulus).filter(|_| modulus.len() == BYTES)?;
        Some(Self {
            modulus,
            exponent,
            certificate,
        })
    }

    /// The certificate, as the server shows it.
    pub(super) fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// The random that a client encrypted. `None`: it is none. Cancel: safe.
    pub(super) async fn open(self: Arc<Self>, encrypted: Vec<u8>) -> Option<[u8; RANDOM]> {
        /// It takes a processor for longer than a moment: so one at a time.
        static TURN: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(1)));
        #[cfg(test)]
        crate::decoy::testing::work::spend(BYTES);
        let turn = Arc::clone(&TURN).acquire_owned().await.ok()?;
        let opened = tokio::task::spawn_blocking(move || {
            // Kept to the end, also where nobody waits for it any more.
            let _turn = turn;
            self.random(encrypted)
        });
        opened.await.ok()?
    }

    fn random(&self, mut encrypted: Vec<u8>) -> Option<[u8; RANDOM]> {
        encrypted.reverse();
        let mut random = power(&encrypted, &self.exponent, &self.modulus)?;
        random.reverse();
        random.first_chunk().copied()
    }
}

/// What a client's security exchange holds, of which `packet` is what follows its header. `None`: it is none.
pub(super) fn encrypted(packet: &[u8]) -> Option<&[u8]> {
    let (length, rest) = packet.split_first_chunk()?;
    let is_whole = u32::from_le_bytes(*length) as usize == BYTES + PADDING;
    rest.get(..BYTES).filter(|_| is_whole)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = (0..text.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok())
        .collect()
}

/// A proprietary certificate of a modulus.
fn certificate(modulus: &[u8]) -> Option<Vec<u8>> {
    let longs = |longs: &[u32]| longs.iter().flat_map(|long| long.to_le_bytes()).collect::<Vec<_>>();
    let reversed = |number: &[u8]| number.iter().rev().copied().collect::<Vec<_>>();
    let padded = |number: &[u8]| [reversed(number), vec![0; PADDING]].concat();
    let bytes = (BYTES + PADDING) as u32;
    let mut out = longs(&[1, 1, 1]);
    out.extend([6, 0]);
    out.extend((20 + BYTES as u16 + PADDING as u16).to_le_bytes());
    out.extend(b"RSA1");
    out.extend(longs(&[bytes, BITS, BYTES as u32 - 1, 65_537]));
    out.extend(padded(modulus));
    // The digest in a padding of its own, little end first.
    let mut digest = [&Md5::digest(&out)[..], &[0], &[0xff; 45], &[1, 0]].concat();
    digest.reverse();
    let signature = power(&digest, SIGNER_EXPONENT, SIGNER_MODULUS)?;
    out.extend([8, 0, 72, 0]);
    out.extend(padded(&signature));
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_certificate_is_signed_as_that_of_a_live_xrdp() {
        let modulus = unhex(include_str!("tests/modulus.txt").trim()).unwrap();
        let signature = include_str!("tests/signature.txt").trim();
        let made = certificate(&modulus).unwrap();
        assert_eq!(made.len(), 376);
        assert_eq!(ids::hex(&made[304..368]), signature);
    }

    #[test]
    fn a_key_file_that_is_none_is_told() {
        for text in ["", "zz\nzz\n", "00\n00\n", "é\né\n"] {
            assert!(Key::read(text.as_bytes()).is_none(), "{text:?}");
        }
    }
}
