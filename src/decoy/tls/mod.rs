//! TLS below a session: what a decoy needs to speak it, and what a client's hello tells.
//!
//! In: the bytes of a peer that is to speak TLS. Out: plaintext for the service and ciphertext for the peer
//! ([`Channel`]); the client's fingerprint ([`hello`], [`fingerprint`]), which is told whether or not the handshake
//! succeeds.
//!
//! Invariants: 1. Nothing is allocated for a peer that has not sent a whole hello, beyond what it sent. 2. What no real
//! server would go on with is answered with the alert of the claimed one ([`refusal`]), before any key is touched.
//! 3. Ciphertext that waits for the rest of its record counts in the memory of all sessions. 4. Nothing is inflated:
//! certificate compression is not offered, and TLS 1.2 compression does not exist.

pub mod certificate;
mod channel;
pub(crate) mod fingerprint;
pub(crate) mod hello;
mod making;
pub(crate) mod refusal;
#[cfg(test)]
pub(crate) mod testing;

use std::sync::Arc;

use rustls::ServerConfig;
use tokio::sync::watch;

use self::certificate::TlsLook;
pub(crate) use channel::{Channel, End};
pub use refusal::Stack;

/// What a decoy needs to speak TLS.
#[derive(Debug, Clone)]
pub struct Tls {
    identity: watch::Receiver<Option<Arc<Identity>>>,
    /// Whether it speaks TLS from the first byte; else only when its service upgrades.
    pub implicit: bool,
    /// Whether the service knows what to say to a peer that should speak TLS and does not.
    pub answers_plain: bool,
    /// Whose alerts it gives.
    pub stack: Stack,
}

/// Who the decoy is in TLS: all that stands only when its key is made.
#[derive(Debug)]
pub struct Identity {
    /// Its certificate, versions and protocols.
    pub config: Arc<ServerConfig>,
    /// The same for a client with whom it has no protocol in common; none: it is refused.
    pub without_alpn: Option<Arc<ServerConfig>>,
    /// The hash of its certificate that logins are bound to: `tls-server-end-point` (RFC 5929 section 4).
    pub endpoint: Arc<[u8]>,
    /// Until when its certificate is valid, seconds since 1970.
    pub until: i64,
}

impl Tls {
    fn new(identity: watch::Receiver<Option<Arc<Identity>>>, look: &TlsLook, implicit: bool) -> Self {
        Self {
            identity,
            implicit,
            answers_plain: look.answers_plain,
            stack: look.stack,
        }
    }

    /// Who it is, if that stands by now.
    pub fn known(&self) -> Option<Arc<Identity>> {
        self.identity.borrow().clone()
    }

    /// Who it is, once that stands. `None`: its key could not be made. Cancel: safe.
    pub(crate) async fn identity(&self) -> Option<Arc<Identity>> {
        let mut identity = self.identity.clone();
        let identity = identity.wait_for(Option::is_some).await.ok()?;
        identity.clone()
    }
}

impl Identity {
    /// The configuration for a client with this first message.
    pub(crate) fn config_for(&self, message: &hello::Read) -> Arc<ServerConfig> {
        let hello::Read::Hello(hello) = message else {
            return Arc::clone(&self.config);
        };
        let common = hello.alpn.iter().any(|name| self.config.alpn_protocols.contains(name));
        let without = self.without_alpn.as_ref().filter(|_| !common);
        Arc::clone(without.unwrap_or(&self.config))
    }
}
