//! What a personality says of an RDP server.

use super::negotiation::Layer;
use super::security;
use crate::decoy::services::ntlm;

/// `[look]` of an `rdp` personality.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Look {
    /// Whose manners: `windows` or `xrdp`.
    pub(super) family: Family,
    /// What it agrees on besides CredSSP: `rdp`, `tls`, `rdstls`.
    pub(super) layers: Vec<Layer>,
    /// What it says of itself in NTLM; none: it has no CredSSP, which is to say no network level authentication.
    #[serde(default)]
    pub(super) credssp: Option<ntlm::Look>,
    /// Flags of its answer to a negotiation (MS-RDPBCGR 2.2.1.2.1).
    pub(super) flags: u8,
    /// The version it gives (MS-RDPBCGR 2.2.1.4.2), such as 0x00080004.
    pub(super) version: u32,
    /// What it can besides, by the same table; none: it does not say.
    #[serde(default)]
    pub(super) early_capabilities: Option<u32>,
    /// RDP's own encryption, where `rdp` is among the layers.
    #[serde(default)]
    pub(super) encryption: security::Look,
    /// How long a refused login takes.
    #[serde(default)]
    pub(super) failed_delay_ms: u64,
}

/// Whose manners a server has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Family {
    /// Windows.
    Windows,
    /// xrdp.
    Xrdp,
}

impl Look {
    /// Whether it agrees on a layer.
    pub(super) fn has(&self, layer: Layer) -> bool {
        match layer {
            Layer::Credssp | Layer::CredsspEarly => self.credssp.is_some(),
            _ => self.layers.contains(&layer),
        }
    }
}
