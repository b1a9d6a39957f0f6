//! Certificates of decoys: the operator's own files, or one that is made once per decoy and kept.
//!
//! In: the personality's `[tls]` table, the install, the folder of keys; or two PEM files. Out: [`Tls`].
//!
//! Invariants: 1. what is made once is as a fresh install of the product would have it, and equal on no two installs:
//! name, key, serial and dates are this install's. 2. The operator's certificate must be valid now and fit its key, or
//! nothing is made of it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use ::ring::digest;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::TLS12;
use rustls::{ALL_VERSIONS, ServerConfig, SupportedProtocolVersion};
use tokio::sync::watch;
use x509_parser::oid_registry::{
    OID_PKCS1_SHA384WITHRSA, OID_PKCS1_SHA512WITHRSA, OID_SIG_ECDSA_WITH_SHA384, OID_SIG_ECDSA_WITH_SHA512,
};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{Identity, Stack, Tls, making};
use crate::decoy::Personality;
use crate::decoy::keys::{KeyFault, KeyFolder};
use crate::decoy::personality::Install;

/// Largest PEM file that is read, bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// `[tls]` of a personality: how its product does TLS.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsLook {
    /// Whether the plain service may upgrade, so that it has a certificate also where nobody configured one.
    pub upgrade: bool,
    /// Whether the service itself answers a peer that speaks no TLS where it should.
    pub answers_plain: bool,
    /// Whose alerts it gives: `openssl` or `schannel`.
    pub stack: Stack,
    /// The newest version it speaks: `1.2` or `1.3`.
    pub newest: Newest,
    /// Protocols it agrees on (RFC 7301).
    pub alpn: Vec<String>,
    /// Whether a client that offers only other protocols is refused.
    pub alpn_strict: bool,
    /// Common name of its certificate, with the variables of the install.
    pub common_name: String,
    /// Names it is for besides.
    pub names: Vec<String>,
    /// How many days it is valid.
    pub days: u16,
    /// What kind of key it is for: `rsa` or `ec`.
    pub key: KeyLook,
    /// Which program made it: `snakeoil`, `request`, `mysql` or `windows`.
    pub form: Form,
    /// Common name of the authority that signed it, made with it; empty: it signed itself.
    pub issuer: String,
    /// Whether it is the one that Debian's `ssl-cert` makes once a host, the same for all services that have it. What
    /// the other keys say of a certificate means nothing then.
    pub shared: bool,
}

/// A kind of key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyLook {
    /// RSA of 2,048 bits.
    #[default]
    Rsa,
    /// The curve P-256.
    Ec,
}

/// Whose certificate it looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// That of Debian's `make-ssl-cert`.
    #[default]
    Snakeoil,
    /// That of `openssl req -x509`, which most instructions have people type.
    Request,
    /// Those that a MySQL server makes at its first start.
    Mysql,
    /// Those that Windows makes for Remote Desktop.
    Windows,
}

/// The newest version of TLS that a product speaks; the oldest here is 1.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
pub enum Newest {
    /// Windows up to Server 2019 and Windows 10.
    #[serde(rename = "1.2")]
    Tls12,
    /// All others.
    #[serde(rename = "1.3")]
    Tls13,
}

impl Newest {
    fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        static ONE: [&SupportedProtocolVersion; 1] = [&TLS12];
        match self {
            Self::Tls12 => &ONE,
            Self::Tls13 => ALL_VERSIONS,
        }
    }
}

impl Default for TlsLook {
    /// What Debian's `ssl-cert` makes: ten years, named for the host.
    fn default() -> Self {
        Self {
            upgrade: false,
            answers_plain: false,
            stack: Stack::OpenSsl,
            newest: Newest::Tls13,
            alpn: Vec::new(),
            alpn_strict: false,
            common_name: "{{fqdn}}".into(),
            names: vec!["{{fqdn}}".into()],
            days: 3650,
            key: KeyLook::Rsa,
            form: Form::Snakeoil,
            issuer: String::new(),
            shared: false,
        }
    }
}

/// The file of the certificate that services have in common; no decoy's own is named so.
const SHARED_FILE: &str = "ssl-cert-snakeoil.pem";

/// One key is made at a time: decoys that share one find it made by the first.
static MAKING: Mutex<()> = Mutex::new(());

/// The operator's own certificate and key, PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The certificate, and those above it.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsFault {
    /// A file of the operator's cannot be used.
    #[error("`{}` cannot be used: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The one that was made and kept.
    #[error(transparent)]
    Kept(#[from] KeyFault),
}

/// What the operator's files hold, to tell whether they changed. Errors: one cannot be read.
pub fn read(files: &Files) -> Result<[Vec<u8>; 2], TlsFault> {
    Ok([read_file(&files.cert)?, read_file(&files.key)?])
}

/// TLS with the operator's certificate.
///
/// Errors: a file is none of its kind, the certificate is not valid now, or the key is another's.
pub fn own(files: &Files, read: &[Vec<u8>; 2], look: &TlsLook, implicit: bool) -> Result<Tls, TlsFault> {
    let [cert, key] = read;
    let wrong = |path: &Path, reason: String| TlsFault::File {
        path: path.to_owned(),
        reason,
    };
    let chain = chain(cert).map_err(|reason| wrong(&files.cert, reason))?;
    valid_now(&chain).map_err(|reason| wrong(&files.cert, reason))?;
    let key =
        PrivateKeyDer::from_pem_slice(key).map_err(|error| wrong(&files.key, format!("no key in it: {error}")))?;
    let identity =
        build(chain, key, look).map_err(|error| wrong(&files.key, format!("it is not the key of `cert`: {error}")))?;
    Ok(Tls::new(watch::channel(Some(identity)).1, look, implicit))
}

/// TLS with the certificate that this install keeps for the decoy `name`. One that is missing is made; an RSA key takes
/// its time, which nobody waits for but the peers that ask for it.
pub fn kept(folder: &KeyFolder, name: &str, personality: &Personality, implicit: bool) -> Result<Tls, TlsFault> {
    let look = &personality.tls;
    let keeper = Keeper {
        folder: folder.clone(),
        name: name.to_owned(),
        look: look.clone(),
        install: personality.install.clone(),
    };
    let (sender, receiver) = watch::channel(None);
    if look.key == KeyLook::Rsa && !folder.path(&keeper.file()).exists() {
        // It ends by itself, with the process at the latest: a key that is half made was shown to nobody.
        std::thread::spawn(move || match keeper.identity() {
            Ok(identity) => drop(sender.send(Some(identity))),
            Err(error) => tracing::error!(error = %error, "a certificate could not be made: {error}"),
        });
    } else {
        sender.send_replace(Some(keeper.identity()?));
    }
    Ok(Tls::new(receiver, look, implicit))
}

/// What a certificate is kept or made from.
struct Keeper {
    folder: KeyFolder,
    name: String,
    look: TlsLook,
    install: Install,
}

impl Keeper {
    fn file(&self) -> String {
        match self.look.shared {
            true => SHARED_FILE.to_owned(),
            false => format!("{}.tls.pem", self.name),
        }
    }

    fn make(&self) -> Result<Vec<u8>, rcgen::Error> {
        match self.look.shared {
            true => making::make(SHARED_FILE, &TlsLook::default(), &self.install),
            false => making::make(&self.name, &self.look, &self.install),
        }
    }

    fn identity(&self) -> Result<Arc<Identity>, TlsFault> {
        let file = self.file();
        let one = MAKING.lock();
        let pem = self.folder.keep(&file, || self.make().map_err(io::Error::other))?;
        drop(one);
        let damaged = |reason: String| self.folder.damaged(&file, reason);
        let chain = chain(&pem).map_err(damaged)?;
        let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| damaged(error.to_string()))?;
        Ok(build(chain, key, &self.look).map_err(|error| damaged(error.to_string()))?)
    }
}

/// What a PEM file holds. Errors: it cannot be read, or is too large.
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, TlsFault> {
    let wrong = |reason: String| TlsFault::File {
        path: path.to_owned(),
        reason,
    };
    let found = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?;
    if !found.is_file() || found.len() > FILE_BYTES_MAX {
        return Err(wrong(format!("it is not a file of at most {FILE_BYTES_MAX} bytes")));
    }
    std::fs::read(path).map_err(|error| wrong(error.to_string()))
}

/// The certificates of a PEM file; at least one.
pub(crate) fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err("no certificate in it".into()),
        Ok(chain) => Ok(chain),
        Err(error) => Err(error.to_string()),
    }
}

fn valid_now(chain: &[CertificateDer<'_>]) -> Result<(), String> {
    let first = chain.first().map(|first| X509Certificate::from_der(first));
    let Some(Ok((_, certificate))) = first else {
        return Err("the certificate cannot be read".into());
    };
    let validity = certificate.validity();
    match validity.is_valid() {
        true => Ok(()),
        false => Err(format!(
            "it is valid from {} to {}, and not now",
            validity.not_before, validity.not_after
        )),
    }
}

fn build(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    look: &TlsLook,
) -> Result<Arc<Identity>, rustls::Error> {
    let endpoint = chain.first().map(|first| endpoint(first)).unwrap_or_default();
    let parsed = chain.first().and_then(|first| X509Certificate::from_der(first).ok());
    let until = parsed.map_or(i64::MAX, |(_, parsed)| parsed.validity().not_after.timestamp());
    let provider = Arc::new(ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(look.newest.versions())?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.ticketer = ring::Ticketer::new()?;
    let without = Arc::new(config.clone());
    config.alpn_protocols = look.alpn.iter().map(|name| name.clone().into_bytes()).collect();
    Ok(Arc::new(Identity {
        config: Arc::new(config),
        without_alpn: (!look.alpn_strict).then_some(without),
        endpoint: endpoint.into(),
        until,
    }))
}

/// The hash of a certificate by that of its signature, by SHA-256 if that is weaker (RFC 5929 section 4.1).
fn endpoint(certificate: &[u8]) -> Vec<u8> {
    let parsed = X509Certificate::from_der(certificate).ok();
    let signature = parsed.map(|(_, parsed)| parsed.signature_algorithm.algorithm);
    let algorithm = match signature {
        Some(oid) if oid == OID_PKCS1_SHA384WITHRSA || oid == OID_SIG_ECDSA_WITH_SHA384 => &digest::SHA384,
        Some(oid) if oid == OID_PKCS1_SHA512WITHRSA || oid == OID_SIG_ECDSA_WITH_SHA512 => &digest::SHA512,
        _ => &digest::SHA256,
    };
    digest::digest(algorithm, certificate).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    const LOOK: &str = "service = 'banner'\nos = 'linux'\nproduct = 'x'\n[tls]\nkey = 'ec'\n[look]\n";

    fn of(seed: u8) -> (tempfile::TempDir, Arc<Personality>) {
        let install = Install::from_seed([seed; 32]);
        let personality = Personality::parse("test", "test.toml", LOOK, &install).unwrap();
        (tempfile::tempdir().unwrap(), personality)
    }

    fn first(tls: &Tls, folder: &KeyFolder) -> Vec<u8> {
        assert!(tls.known().unwrap().config.alpn_protocols.is_empty());
        std::fs::read(folder.path("lure.tls.pem")).unwrap()
    }

    #[test]
    fn a_certificate_is_made_once_named_for_the_install_and_dated_in_the_past() {
        let (state, personality) = of(1);
        let folder = KeyFolder::within(state.path());
        let made = first(&kept(&folder, "lure", &personality, true).unwrap(), &folder);
        let again = first(&kept(&folder, "lure", &personality, true).unwrap(), &folder);
        assert_eq!(made, again);
        let chain = chain(&made).unwrap();
        valid_now(&chain).unwrap();
        let (_, certificate) = X509Certificate::from_der(&chain[0]).unwrap();
        let subject = certificate.subject().to_string();
        assert_eq!(subject, personality.install.expand("CN={{fqdn}}"));
        let age = jiff::Timestamp::now().as_second() - certificate.validity().not_before.timestamp();
        assert!(age >= 24 * 60 * 60, "{age}");

        let (state, personality) = of(2);
        let folder = KeyFolder::within(state.path());
        kept(&folder, "lure", &personality, true).unwrap();
        let other = std::fs::read(folder.path("lure.tls.pem")).unwrap();
        let (_, other) = X509Certificate::from_der(&super::chain(&other).unwrap()[0])
            .map(|(rest, found)| (rest, found.validity().not_before.timestamp()))
            .unwrap();
        assert_ne!(other, certificate.validity().not_before.timestamp());
    }

    fn files(not_after: i32) -> (tempfile::TempDir, Files) {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(vec!["shop.example".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(not_after, 1, 1);
        let key = KeyPair::generate().unwrap();
        let files = Files {
            cert: folder.path().join("cert.pem"),
            key: folder.path().join("key.pem"),
        };
        std::fs::write(&files.cert, params.self_signed(&key).unwrap().pem()).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        (folder, files)
    }

    fn fault(files: &Files) -> String {
        let made = read(files).and_then(|read| own(files, &read, &TlsLook::default(), true));
        made.map_or_else(|error| error.to_string(), |_| "fine".into())
    }

    #[test]
    fn the_operators_files_are_taken_only_if_they_are_good_now_and_fit() {
        let (_folder, good) = files(2999);
        assert_eq!(fault(&good), "fine");
        let (_folder, expired) = files(2010);
        assert!(fault(&expired).contains("and not now"), "{}", fault(&expired));
        let (_folder, other) = files(2999);
        let mixed = Files {
            key: other.key.clone(),
            ..good.clone()
        };
        assert!(fault(&mixed).contains("not the key of `cert`"), "{}", fault(&mixed));
        let swapped = Files {
            cert: good.key.clone(),
            key: good.cert.clone(),
        };
        assert!(fault(&swapped).contains("no certificate in it"), "{}", fault(&swapped));
        std::fs::remove_file(&good.key).unwrap();
        assert!(
            fault(&good).contains("key.pem` cannot be used: No such file"),
            "{}",
            fault(&good)
        );
    }

    #[tokio::test]
    async fn services_that_share_the_hosts_certificate_find_one_that_was_made_once() {
        let install = Install::from_seed([1; 32]);
        let look = LOOK.replace("key = 'ec'", "shared = true");
        let personality = Personality::parse("test", "test.toml", &look, &install).unwrap();
        let state = tempfile::tempdir().unwrap();
        let folder = KeyFolder::within(state.path());
        let made = ["mail", "web"].map(|name| kept(&folder, name, &personality, false).unwrap());
        let [mail, web] = [made[0].identity().await.unwrap(), made[1].identity().await.unwrap()];
        assert_eq!(mail.endpoint, web.endpoint);
        assert_eq!(std::fs::read_dir(state.path().join("keys")).unwrap().count(), 1);
    }
}
