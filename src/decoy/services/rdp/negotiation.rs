//! Which security layer it is to be (MS-RDPBCGR 2.2.1.2, 5.4.2).
//!
//! In: what a client asks for. Out: the answer as the claimed product gives it, and what both then speak. xrdp 0.9.21.1
//! was asked for every protocol; a Windows that insists on CredSSP says so with HYBRID_REQUIRED_BY_SERVER, as scans by
//! nmap's `rdp-enum-encryption` show.

use super::frame;
use super::look::{Family, Look};

/// A security layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Layer {
    /// RDP's own encryption.
    Rdp,
    /// TLS alone.
    Tls,
    /// CredSSP over TLS.
    #[serde(skip)]
    Credssp,
    /// RDSTLS: a login that another server passed on, over TLS.
    Rdstls,
    /// CredSSP, behind which the server says at once whether the user may log on.
    #[serde(skip)]
    CredsspEarly,
}

/// Failure codes (MS-RDPBCGR 2.2.1.2.2).
const SSL_REQUIRED: u32 = 1;
const HYBRID_REQUIRED: u32 = 5;

/// Layers of a Windows, the one it likes best first.
const BEST: [Layer; 4] = [Layer::CredsspEarly, Layer::Credssp, Layer::Tls, Layer::Rdstls];

impl Layer {
    /// Its number on the wire.
    pub(super) const fn number(self) -> u32 {
        match self {
            Self::Rdp => 0,
            Self::Tls => 1,
            Self::Credssp => 2,
            Self::Rdstls => 4,
            Self::CredsspEarly => 8,
        }
    }
}

/// Every name that a client's wish can have, by bit; the last is of a later protocol.
const NAMES: [(u32, &str); 5] = [
    (1, "tls"),
    (2, "credssp"),
    (4, "rdstls"),
    (8, "credssp-early-auth"),
    (16, "rdsaad"),
];

/// What a client asks for, in words.
pub(super) fn names(asked: u32) -> impl Iterator<Item = &'static str> {
    let rdp = (asked == 0).then_some("rdp");
    let others = NAMES.iter().filter(move |(bit, _)| asked & bit != 0);
    rdp.into_iter().chain(others.map(|(_, name)| *name))
}

/// What becomes of a wish.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// This is said, and then spoken.
    Agreed(Vec<u8>, Layer),
    /// This is said, and nothing more; it may be nothing.
    Refused(Vec<u8>),
}

/// Answers a client that asks for `asked`; `None`: it knows of no choice, which is older than all but RDP's own.
pub(super) fn answer(look: &Look, asked: Option<u32>) -> Answer {
    let Some(protocols) = asked else {
        return match look.has(Layer::Rdp) {
            true => Answer::Agreed(frame::confirm(&[]), Layer::Rdp),
            // nmap's probes say of Windows: some answer only to whoever asks for a protocol.
            false if look.family == Family::Windows => Answer::Refused(Vec::new()),
            false => Answer::Refused(frame::confirm(&[])),
        };
    };
    let best = BEST
        .into_iter()
        .find(|layer| protocols & layer.number() != 0 && look.has(*layer));
    match best.or(look.has(Layer::Rdp).then_some(Layer::Rdp)) {
        Some(layer) => Answer::Agreed(frame::confirm(&data(2, look.flags, layer.number())), layer),
        None if look.has(Layer::Tls) => Answer::Refused(frame::confirm(&data(3, 0, SSL_REQUIRED))),
        None => Answer::Refused(frame::confirm(&data(3, 0, HYBRID_REQUIRED))),
    }
}

/// RDP_NEG_RSP or RDP_NEG_FAILURE.
fn data(kind: u8, flags: u8, value: u32) -> [u8; 8] {
    let [a, b, c, d] = value.to_le_bytes();
    [kind, flags, 8, 0, a, b, c, d]
}
