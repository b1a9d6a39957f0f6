//! TLS client settings from a `tls` key, and what to say when a handshake fails.
//!
//! In: the table `{ca, cert, key, server_name, fingerprint}`. Out: [`Tls`], a rustls client configuration that every
//! sink shares, whatever transport it uses, and [`explain`], which turns a failure into a sentence an operator can act on.
//!
//! Invariants:
//! 1. The server is always verified: by its chain, dates and name, or by its pinned fingerprint. There is no off switch
//!    here; a sink with `tls = "off"` has no [`Tls`] at all and says so in `status`.
//! 2. No byte of an event or token is written before the handshake is complete.
//! 3. A refused certificate is named by its subject and dates, escaped and bounded: they come from the peer.
//! 4. One provider (ring), TLS 1.2 and 1.3 (RFC 9662: 1.2 with ECDHE only, which is all that rustls has).
//!
//! It does not open sockets; that is [`crate::dial`].

mod refusal;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256};

use crate::config::{Key, KeyKind, Problem, Table};
use crate::stream::{Fault, FaultKind};
pub(crate) use refusal::CLOSED_IN_HANDSHAKE;
use refusal::Certificate;
pub use refusal::{Refusal, RefusalCause, explain};

/// The file of authorities.
pub const CA: Key = Key::optional(
    "ca",
    KeyKind::InputPath,
    "PEM file of the authorities to trust; the system's if absent",
);
/// The file of the client certificate.
pub const CERT: Key = Key::optional(
    "cert",
    KeyKind::InputPath,
    "PEM file of the client certificate and its chain",
);
/// The file of the client certificate's key.
pub const CERT_KEY: Key = Key::optional("key", KeyKind::InputPath, "PEM file of the client certificate's key");

/// The keys of a `tls` table.
pub const KEYS: &[Key] = &[
    CA,
    CERT,
    CERT_KEY,
    Key::optional(
        "server_name",
        KeyKind::Address,
        "name the certificate must have, if not the host's",
    ),
    Key::optional(
        "fingerprint",
        KeyKind::Text,
        "SHA-256 of the server's certificate, hex with or without colons; replaces the check of chain, dates and name",
    ),
];

/// The `tls` key itself: `"off"` or a table of [`KEYS`].
pub const KEY: Key = Key::optional(
    "tls",
    KeyKind::OffOr(KEYS),
    "\"off\", or a table {ca, cert, key, server_name, fingerprint}",
);

/// A `tls` table as written. An empty one means: verify against the system's authorities.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// Authorities to trust; the system's if `None`.
    pub ca: Option<PathBuf>,
    /// Client certificate chain.
    pub cert: Option<PathBuf>,
    /// Key of the client certificate.
    pub key: Option<PathBuf>,
    /// The name that the certificate must have, if not the host's.
    pub server_name: Option<String>,
    /// SHA-256 of the server's certificate.
    pub fingerprint: Option<[u8; 32]>,
}

impl TlsSettings {
    /// Reads the `tls` key of a sink's table: `None` if it is `"off"`, the defaults if it is absent. Adds a problem
    /// for a certificate without its key and for a fingerprint that is none.
    pub fn read(sink: &Table) -> Option<Self> {
        if sink.is_off("tls") {
            return None;
        }
        Some(
            sink.table("tls")
                .map(|table| Self::from_table(&table))
                .unwrap_or_default(),
        )
    }

    fn from_table(table: &Table) -> Self {
        if table.is_set("cert") != table.is_set("key") {
            let lone = if table.is_set("cert") { "cert" } else { "key" };
            table.problem(lone, &format!("`{lone}` alone"), "`cert` and `key` together");
        }
        let name = table.text_opt("server_name");
        if name.as_deref().is_some_and(|name| parse_name(name).is_err()) {
            table.problem_with_address("server_name", "a host name or an address");
        }
        let written = table.text_opt("fingerprint");
        let fingerprint = written.as_deref().and_then(parse_fingerprint);
        if let (Some(written), None) = (&written, fingerprint) {
            table.problem("fingerprint", &format!("`{written}`"), "64 hex digits, colons allowed");
        }
        Self {
            ca: table.path("ca"),
            cert: table.path("cert"),
            key: table.path("key"),
            server_name: name,
            fingerprint,
        }
    }
}

/// What is wrong with the files of a sink's `tls` table, each at its key. Blocking, short: a few local files.
pub fn look(sink: &Table) -> Vec<Problem> {
    let Some(table) = sink.table("tls") else {
        return Vec::new();
    };
    let settings = TlsSettings::from_table(&table);
    let problem =
        |key, error: TlsError| Problem::error(table.place(key), error.to_string(), "a PEM file to be read here");
    let ca = settings.ca.as_deref().and_then(|path| roots(Some(path)).err());
    let cert = settings.cert.as_deref();
    let cert = cert.and_then(|path| read_certificates("certificate", path).err());
    let key = settings.key.as_deref().and_then(|path| read_key(path).err());
    let files = [("ca", ca), ("cert", cert), ("key", key)];
    let found: Vec<_> = files
        .into_iter()
        .filter_map(|(name, error)| Some(problem(name, error?)))
        .collect();
    if !found.is_empty() {
        return found;
    }
    // Each file is right by itself: what is left is that they do not belong together.
    let pair = Tls::new(&settings)
        .err()
        .filter(|error| matches!(error, TlsError::Client(_)));
    pair.into_iter()
        .map(|error| Problem::error(table.place("key"), error.to_string(), "the key of `cert`"))
        .collect()
}

/// Reads a SHA-256 fingerprint: 64 hex digits, colons and the prefix `sha-256:` (RFC 5425 section 4.2.2) allowed.
pub fn parse_fingerprint(text: &str) -> Option<[u8; 32]> {
    let lower = text.trim().to_ascii_lowercase();
    let digits: Vec<u8> = lower
        .strip_prefix("sha-256:")
        .unwrap_or(&lower)
        .bytes()
        .filter(|byte| *byte != b':')
        .collect();
    let mut out = [0; 32];
    if digits.len() != out.len() * 2 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(out)
}

/// Why TLS could not be set up; always this host's files or settings.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file is missing, unreadable or holds nothing of its kind.
    #[error("no usable {what} in `{}`: {why}", path.display())]
    Pem {
        /// What was looked for.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// What the reader said.
        why: String,
    },
    /// Neither a file nor the system has authorities to trust.
    #[error("no authority to trust on this system; set `tls.ca`")]
    NoRoots,
    /// A certificate without its key, or the other way round.
    #[error("`tls.cert` and `tls.key` belong together")]
    LoneCert,
    /// Certificate and key do not fit, or rustls refuses them.
    #[error("client certificate refused: {0}")]
    Client(#[source] rustls::Error),
    /// `tls.server_name` is neither a host name nor an address.
    #[error("`{0}` is not a server name")]
    Name(String),
}

impl From<TlsError> for Fault {
    fn from(error: TlsError) -> Self {
        Fault {
            kind: FaultKind::Config,
            message: error.to_string(),
        }
    }
}

/// A ready TLS client. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
    verifier: Arc<Verifier>,
    own: Option<Certificate>,
}

impl Tls {
    /// Reads the files and makes the client. Blocking, short: a few local files.
    pub fn new(settings: &TlsSettings) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let verifier = Arc::new(Verifier::new(settings, provider.clone())?);
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Client)?
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone());
        let (config, own) = match client_chain(settings)? {
            Some((chain, key)) => {
                let own = chain.first().and_then(|certificate| Certificate::read(certificate));
                (
                    builder.with_client_auth_cert(chain, key).map_err(TlsError::Client)?,
                    own,
                )
            }
            None => (builder.with_no_client_auth(), None),
        };
        let server_name = settings.server_name.as_deref().map(parse_name).transpose()?;
        Ok(Self {
            config: Arc::new(config),
            server_name,
            verifier,
            own,
        })
    }

    /// The rustls configuration, for clients that open their own connections. It ignores `server_name`; see [`Self::name`].
    pub fn config(&self) -> &Arc<ClientConfig> {
        &self.config
    }

    /// The name to verify when connected to `host`: `tls.server_name`, else the host.
    pub fn name(&self, host: &str) -> Result<ServerName<'static>, TlsError> {
        match &self.server_name {
            Some(name) => Ok(name.clone()),
            None => parse_name(host),
        }
    }

    /// What `status` says of certificates: days left of the server's, once seen, and of our own.
    pub fn notes(&self) -> Vec<String> {
        let now = unix_now();
        let seen = self
            .verifier
            .seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let server = seen.map(|certificate| format!("server certificate {}", certificate.days_left(now)));
        let own = self
            .own
            .as_ref()
            .map(|certificate| format!("client certificate {}", certificate.days_left(now)));
        server.into_iter().chain(own).collect()
    }
}

fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn parse_name(host: &str) -> Result<ServerName<'static>, TlsError> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(bare.to_owned()).map_err(|_| TlsError::Name(host.to_owned()))
}

type Chain = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn client_chain(settings: &TlsSettings) -> Result<Option<Chain>, TlsError> {
    match (&settings.cert, &settings.key) {
        (None, None) => Ok(None),
        (Some(cert), Some(key)) => Ok(Some((read_certificates("certificate", cert)?, read_key(key)?))),
        _ => Err(TlsError::LoneCert),
    }
}

fn read_certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = |why: String| TlsError::Pem {
        what,
        path: path.to_owned(),
        why,
    };
    let read: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path)
        .map_err(|error| pem(error.to_string()))?
        .collect();
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(pem("no CERTIFICATE block".to_owned())),
        Err(error) => Err(pem(error.to_string())),
    }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| TlsError::Pem {
        what: "private key",
        path: path.to_owned(),
        why: error.to_string(),
    })
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    match ca {
        Some(path) => {
            for certificate in read_certificates("authority", path)? {
                store.add(certificate).map_err(|error| TlsError::Pem {
                    what: "authority",
                    path: path.to_owned(),
                    why: error.to_string(),
                })?;
            }
        }
        None => {
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if store.is_empty() {
        Err(TlsError::NoRoots)
    } else {
        Ok(store)
    }
}

/// Verifies as webpki does, or by fingerprint; names what it refuses, remembers what it accepted.
#[derive(Debug)]
struct Verifier {
    rule: Rule,
    provider: Arc<CryptoProvider>,
    seen: Mutex<Option<Certificate>>,
}

#[derive(Debug)]
enum Rule {
    Chain(Arc<WebPkiServerVerifier>),
    Fingerprint([u8; 32]),
}

impl Verifier {
    fn new(settings: &TlsSettings, provider: Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let rule = match settings.fingerprint {
            Some(fingerprint) => Rule::Fingerprint(fingerprint),
            None => {
                let roots = Arc::new(roots(settings.ca.as_deref())?);
                let inner = WebPkiServerVerifier::builder_with_provider(roots, provider.clone()).build();
                Rule::Chain(inner.map_err(|_| TlsError::NoRoots)?)
            }
        };
        Ok(Self {
            rule,
            provider,
            seen: Mutex::new(None),
        })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verdict = match &self.rule {
            Rule::Chain(inner) => inner
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
                .map(|_| ()),
            Rule::Fingerprint(wanted) if Sha256::digest(end_entity)[..] == wanted[..] => Ok(()),
            Rule::Fingerprint(_) => Err(rustls::Error::InvalidCertificate(
                CertificateError::ApplicationVerificationFailure,
            )),
        };
        let certificate = Certificate::read(end_entity);
        match verdict {
            Ok(()) => {
                *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = certificate;
                Ok(ServerCertVerified::assertion())
            }
            Err(error) => {
                let refusal = Refusal::new(&error, certificate, server_name, now);
                Err(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(
                    Arc::new(refusal),
                ))))
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
