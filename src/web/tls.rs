//! TLS of the live feed: the operator's certificate and key and, if wanted, authorities of clients.
//!
//! A certificate that has run out is served on, and is a fault of `status`: no decoy stays shut because of it, and
//! clients refuse it by themselves.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::config::WebTls;
use crate::decoy::tls::certificate::{TlsFault, chain, read_file};

/// What TLS is spoken with.
#[derive(Clone)]
pub struct Secured {
    pub(super) acceptor: TlsAcceptor,
    /// Until when the certificate is valid, seconds since the epoch.
    pub until: i64,
    /// What the files hold: they may change under the same names.
    files: Vec<Vec<u8>>,
}

impl std::fmt::Debug for Secured {
    /// The key is among the files.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secured")
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}

impl PartialEq for Secured {
    fn eq(&self, other: &Self) -> bool {
        self.files == other.files
    }
}

/// Reads the files. Blocking, short.
///
/// Errors: one cannot be read, is none of its kind, or the key is another's.
pub fn secured(settings: &WebTls) -> Result<Secured, TlsFault> {
    let cert = read_file(&settings.cert)?;
    let key = read_file(&settings.key)?;
    let ca = settings.ca.as_deref().map(read_file).transpose()?;
    let certificates = chain(&cert).map_err(|reason| fault(&settings.cert, reason))?;
    let until = until(&certificates).ok_or_else(|| fault(&settings.cert, "the certificate cannot be read".into()))?;
    let private =
        PrivateKeyDer::from_pem_slice(&key).map_err(|error| fault(&settings.key, format!("no key in it: {error}")))?;
    let provider = Arc::new(ring::default_provider());
    let started = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let builder = started.map_err(|error| fault(&settings.cert, error.to_string()))?;
    let builder = match (&settings.ca, &ca) {
        (Some(path), Some(pem)) => {
            let roots = roots(path, pem)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| fault(path, error.to_string()))?)
        }
        _ => builder.with_no_client_auth(),
    };
    let mut config = builder
        .with_single_cert(certificates, private)
        .map_err(|error| fault(&settings.key, format!("it is not the key of `cert`: {error}")))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Secured {
        acceptor: TlsAcceptor::from(Arc::new(config)),
        until,
        files: [Some(cert), Some(key), ca].into_iter().flatten().collect(),
    })
}

fn fault(path: &Path, reason: String) -> TlsFault {
    TlsFault::File {
        path: path.to_owned(),
        reason,
    }
}

fn roots(path: &Path, pem: &[u8]) -> Result<RootCertStore, TlsFault> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(pem).map_err(|reason| fault(path, reason))? {
        roots.add(certificate).map_err(|error| fault(path, error.to_string()))?;
    }
    Ok(roots)
}

fn until(certificates: &[CertificateDer<'_>]) -> Option<i64> {
    let (_, first) = X509Certificate::from_der(certificates.first()?).ok()?;
    Some(first.validity().not_after.timestamp())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn files() -> (tempfile::TempDir, WebTls) {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2010, 1, 1);
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        let key = KeyPair::generate().unwrap();
        let tls = WebTls {
            cert: folder.path().join("cert.pem"),
            key: folder.path().join("key.pem"),
            ca: None,
        };
        std::fs::write(&tls.cert, params.self_signed(&key).unwrap().pem()).unwrap();
        std::fs::write(&tls.key, key.serialize_pem()).unwrap();
        (folder, tls)
    }

    #[test]
    fn files_are_taken_if_they_fit_also_when_their_time_is_over() {
        let (_folder, tls) = files();
        let made = secured(&tls).unwrap();
        assert_eq!(made.until, 1_262_304_000);
        assert_eq!(made, secured(&tls).unwrap());
        let (_other_folder, other) = files();
        assert_ne!(made, secured(&other).unwrap());
        let mixed = WebTls {
            key: other.key,
            ..tls.clone()
        };
        assert!(
            secured(&mixed)
                .unwrap_err()
                .to_string()
                .contains("not the key of `cert`")
        );
        let no_authority = WebTls {
            ca: Some(tls.key.clone()),
            ..tls.clone()
        };
        assert!(
            secured(&no_authority)
                .unwrap_err()
                .to_string()
                .contains("no certificate in it")
        );
        assert!(!format!("{made:?}").contains("PRIVATE"), "a key is never shown");
    }
}
