//! What a personality says of an SMB server.

use crate::decoy::services::ntlm::{self, Hint};

/// `[look]` of an `smb` personality.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Look {
    /// Whose manners: `samba` or `windows`.
    pub(super) family: Family,
    /// The dialects it speaks; `NT LM 0.12` is SMB1.
    pub(super) dialects: Vec<Dialect>,
    /// What it says it understands, unasked: `ntlm` or `windows`.
    pub(super) mechanisms: Hint,
    /// Whether it insists on signing.
    #[serde(default)]
    pub(super) signing_required: bool,
    /// Ciphers of 3.1.1 that it knows (MS-SMB2 2.2.3.1.2), best first.
    #[serde(default)]
    pub(super) ciphers: Vec<u16>,
    /// Signing algorithms of 3.1.1 that it knows (MS-SMB2 2.2.3.1.7), best first; empty: it does not negotiate them.
    #[serde(default)]
    pub(super) signers: Vec<u16>,
    /// What becomes of a null session: `accepted` (and may see nothing) or `denied`.
    pub(super) anonymous: Anonymous,
    /// How long a refused login takes.
    pub(super) failed_delay_ms: u64,
    /// The system that SMB1 names.
    #[serde(default)]
    pub(super) native_os: String,
    /// The program that SMB1 names.
    #[serde(default)]
    pub(super) native_lm: String,
    /// What it says of itself in NTLM.
    pub(super) ntlm: ntlm::Look,
}

/// Whose manners a server has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Family {
    /// Samba's smbd.
    Samba,
    /// Windows.
    Windows,
}

/// A dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
pub(super) enum Dialect {
    /// SMB1.
    #[serde(rename = "NT LM 0.12")]
    Smb1,
    /// SMB 2.0.2.
    #[serde(rename = "2.0.2")]
    V202,
    /// SMB 2.1.
    #[serde(rename = "2.1")]
    V210,
    /// SMB 3.0.
    #[serde(rename = "3.0")]
    V300,
    /// SMB 3.0.2.
    #[serde(rename = "3.0.2")]
    V302,
    /// SMB 3.1.1.
    #[serde(rename = "3.1.1")]
    V311,
}

impl Dialect {
    /// Its number in SMB2; 0 for SMB1.
    pub(super) const fn number(self) -> u16 {
        match self {
            Self::Smb1 => 0,
            Self::V202 => 0x0202,
            Self::V210 => 0x0210,
            Self::V300 => 0x0300,
            Self::V302 => 0x0302,
            Self::V311 => 0x0311,
        }
    }
}

/// What becomes of a null session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Anonymous {
    /// It is let in, and refused whatever it asks for.
    Accepted,
    /// It is refused.
    Denied,
}

impl Look {
    /// Whether it speaks SMB1.
    pub(super) fn speaks_smb1(&self) -> bool {
        self.dialects.contains(&Dialect::Smb1)
    }

    /// The best dialect of SMB2 that both know.
    pub(super) fn best(&self, offered: &[u16]) -> Option<u16> {
        let known = self.dialects.iter().map(|dialect| dialect.number());
        known.filter(|number| *number > 0 && offered.contains(number)).max()
    }

    /// Whether it speaks more of SMB2 than its first dialect.
    pub(super) fn speaks_beyond_202(&self) -> bool {
        self.dialects
            .iter()
            .any(|dialect| dialect.number() > Dialect::V202.number())
    }
}
