//! What to say of a handshake that failed: which certificate, which mistake.

use std::error::Error as StdError;
use std::io;

use rustls::pki_types::{ServerName, UnixTime};
use rustls::{AlertDescription, CertificateError};
use trapline_schemas::text::clean;
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

use crate::stream::{Fault, FaultKind};

/// What of a certificate is worth telling; from the peer, so cleaned and bounded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Certificate {
    subject: String,
    not_before: ASN1Time,
    not_after: ASN1Time,
    self_signed: bool,
}

impl Certificate {
    pub(super) fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        Some(Self {
            subject: clean(certificate.subject().to_string().as_bytes()).to_string(),
            not_before: certificate.validity().not_before,
            not_after: certificate.validity().not_after,
            self_signed: certificate.subject() == certificate.issuer(),
        })
    }

    pub(super) fn days_left(&self, now_secs: i64) -> String {
        match (self.not_after.timestamp() - now_secs).div_euclid(86_400) {
            days @ ..=-1 => format!("`{}` expired {} days ago", self.subject, -days),
            days => format!("`{}` has {days} days left", self.subject),
        }
    }
}

impl std::fmt::Display for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "`{}`, valid {} to {}",
            self.subject,
            day(self.not_before),
            day(self.not_after)
        )
    }
}

fn day(time: ASN1Time) -> String {
    time.to_datetime().date().to_string()
}

/// Why a server's certificate was refused: the cause and the certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{cause}: {certificate}")]
pub struct Refusal {
    /// The cause, one kind each.
    pub cause: RefusalCause,
    certificate: String,
}

/// Kinds of refusal an operator treats differently.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RefusalCause {
    /// Its time is over.
    #[error("server certificate expired (this host's clock says {0})")]
    Expired(String),
    /// Its time has not come: usually this host's clock is wrong.
    #[error("server certificate is not valid yet (this host's clock says {0}: is it right?)")]
    NotYet(String),
    /// It is for another host.
    #[error("server certificate is not for `{0}`")]
    WrongName(String),
    /// It signed itself.
    #[error("server certificate is self-signed and not trusted")]
    SelfSigned,
    /// Nobody we trust signed it.
    #[error("server certificate is signed by an unknown authority")]
    UnknownIssuer,
    /// It is not the pinned one.
    #[error("server certificate has another fingerprint than `tls.fingerprint`")]
    Fingerprint,
    /// Anything else.
    #[error("server certificate refused ({0})")]
    Other(String),
}

impl Refusal {
    pub(super) fn new(
        error: &rustls::Error,
        certificate: Option<Certificate>,
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Self {
        let self_signed = certificate.as_ref().is_some_and(|certificate| certificate.self_signed);
        let clock = || {
            let secs = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
            ASN1Time::from_timestamp(secs).map_or_else(|_| "an impossible time".to_owned(), day)
        };
        let cause = match error {
            rustls::Error::InvalidCertificate(cause) => match cause {
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => RefusalCause::Expired(clock()),
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    RefusalCause::NotYet(clock())
                }
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    RefusalCause::WrongName(name.to_str().into_owned())
                }
                CertificateError::UnknownIssuer | CertificateError::BadSignature if self_signed => {
                    RefusalCause::SelfSigned
                }
                // A bad signature is what a stranger's authority of the same name looks like.
                CertificateError::UnknownIssuer | CertificateError::BadSignature => RefusalCause::UnknownIssuer,
                CertificateError::ApplicationVerificationFailure => RefusalCause::Fingerprint,
                other if self_signed && is_ca_as_leaf(other) => RefusalCause::SelfSigned,
                other => RefusalCause::Other(clean(other.to_string().as_bytes()).to_string()),
            },
            other => RefusalCause::Other(clean(other.to_string().as_bytes()).to_string()),
        };
        let certificate = certificate.map_or_else(|| "a certificate that cannot be read".to_owned(), |c| c.to_string());
        Self { cause, certificate }
    }
}

/// webpki reports an authority that is shown as a server certificate only as text.
fn is_ca_as_leaf(error: &CertificateError) -> bool {
    matches!(error, CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity"))
}

/// Says what failed in a TLS handshake or connection, if TLS is what failed: walks the causes of `error` to rustls', or
/// to the end of a connection that came too early.
pub fn explain(error: &(dyn StdError + 'static)) -> Option<Fault> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return Some(Fault {
                kind: FaultKind::Tls,
                message: describe(error),
            });
        }
        let told = |error: &io::Error| broken_off(error).or_else(|| alerted(error));
        if let Some(fault) = error.downcast_ref().and_then(told) {
            return Some(fault);
        }
        // An io::Error hides the error it wraps from `source`.
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn StdError + 'static)),
            None => error.source(),
        };
    }
    None
}

/// A peer that left without a word of TLS, which is no error of rustls: it is told apart by the text alone.
fn broken_off(error: &io::Error) -> Option<Fault> {
    let text = (error.kind() == io::ErrorKind::UnexpectedEof).then(|| error.to_string())?;
    let (kind, message) = match text.as_str() {
        HANDSHAKE_EOF => (FaultKind::Tls, CLOSED_IN_HANDSHAKE),
        // A server that ends does so too: nobody is called before the usual time.
        text if text.starts_with(NO_CLOSE_NOTIFY) => (FaultKind::Unreachable, BROKEN_OFF),
        _ => return None,
    };
    Some(Fault {
        kind,
        message: message.to_owned(),
    })
}

/// An alert that came over HTTP/2, which keeps of rustls' error the text alone: those about our certificate come after the
/// handshake.
fn alerted(error: &io::Error) -> Option<Fault> {
    let text = error.to_string();
    let name = text.strip_prefix(ALERT)?;
    let about = ABOUT_OUR_CERTIFICATE.iter().find(|alert| format!("{alert:?}") == name);
    Some(Fault {
        kind: FaultKind::Tls,
        message: describe(&rustls::Error::AlertReceived(*about?)),
    })
}

/// How rustls begins to tell of an alert; its name follows.
const ALERT: &str = "received fatal alert: ";

/// Of a peer that leaves before the handshake is done.
pub(crate) const CLOSED_IN_HANDSHAKE: &str = "the peer closed during the TLS handshake: is this a plain-text port (give its TLS \
    port, or set the sink up without TLS), or does it want a client certificate (set `tls.cert` and `tls.key`)?";
const BROKEN_OFF: &str = "the peer closed the connection without ending TLS: does it break down, or does it want a client \
    certificate (set `tls.cert` and `tls.key`)?";
/// What `tokio-rustls` says when the stream ends within the handshake.
const HANDSHAKE_EOF: &str = "tls handshake eof";
/// How rustls begins when it ends after the handshake; a link to its manual follows, which is no help to an operator.
const NO_CLOSE_NOTIFY: &str = "peer closed connection without sending TLS close_notify";

fn describe(error: &rustls::Error) -> String {
    use rustls::{Error, InvalidMessage};
    match error {
        Error::InvalidCertificate(CertificateError::Other(other)) => match other.0.downcast_ref::<Refusal>() {
            Some(refusal) => refusal.to_string(),
            None => clean(other.to_string().as_bytes()).to_string(),
        },
        Error::InvalidMessage(InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion) => {
            "the peer does not speak TLS: is this a plain-text port?".to_owned()
        }
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "the server wants a client certificate: set `tls.cert` and `tls.key`".to_owned()
        }
        Error::AlertReceived(AlertDescription::NoApplicationProtocol) => {
            "the server speaks none of the protocols that were offered: is this a port of HTTP/1 alone?".to_owned()
        }
        Error::AlertReceived(alert) if ABOUT_OUR_CERTIFICATE.contains(alert) => {
            format!("the server refused our client certificate ({alert:?})")
        }
        Error::AlertReceived(alert) => format!("the server ended the handshake ({alert:?})"),
        other => clean(other.to_string().as_bytes()).to_string(),
    }
}

/// Alerts that only a client certificate can be the cause of.
const ABOUT_OUR_CERTIFICATE: &[AlertDescription] = &[
    AlertDescription::CertificateRequired,
    AlertDescription::BadCertificate,
    AlertDescription::UnsupportedCertificate,
    AlertDescription::CertificateRevoked,
    AlertDescription::CertificateExpired,
    AlertDescription::CertificateUnknown,
    AlertDescription::UnknownCA,
    AlertDescription::AccessDenied,
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_in_a_certificate_are_told_in_one_clean_line(
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
            now in any::<u32>(),
        ) {
            static SOUND: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| {
                let made = rcgen::generate_simple_self_signed(["hec.example".to_owned()]);
                made.unwrap().cert.der().to_vec()
            });
            let mut der = SOUND.clone();
            for (at, byte) in damage {
                let at = at.index(der.len());
                der[at] = byte;
            }
            if let Some(certificate) = Certificate::read(&der) {
                let told = format!("{certificate}, {}", certificate.days_left(now.into()));
                prop_assert!(!told.chars().any(char::is_control), "{:?}", told);
            }
        }
    }
}
