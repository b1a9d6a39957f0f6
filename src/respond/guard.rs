//! The one place that says no: what is never done, whoever decides.
//!
//! Each set sink asks [`Spared`] once more before it acts.

use std::net::IpAddr;

use trapline_schemas::{Event, Field};
use trapline_sink::set::{Spared, Target, Why};

use super::caps::Full;
use super::rule::touch;
use crate::roles::Touch;

/// Why nothing is done.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum No {
    /// On the list of those that nothing is ever done to.
    #[error("{0}")]
    Spared(Why),
    /// Private, and private sources are not acted on.
    #[error("a private address, and `block_private` is false")]
    Private,
    /// Many have this address.
    #[error("an address that many share")]
    Shared,
    /// All that is known is a contact, and the source is inside.
    #[error("a contact alone, from inside: the rule has no `even_contact`")]
    ContactInside,
    /// A bound is reached.
    #[error("{0}")]
    Full(#[from] Full),
}

impl No {
    /// Without what it depends on: of each kind a source is told once in a while.
    pub const fn kind(&self) -> u8 {
        match self {
            Self::Spared(_) => 0,
            Self::Private => 1,
            Self::Shared => 2,
            Self::ContactInside => 3,
            Self::Full(_) => 4,
        }
    }
}

/// What asks whether something may be done.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Whom it is about.
    pub target: Target,
    /// Who is never acted on.
    pub spared: &'a Spared,
    /// Whether private addresses are acted on.
    pub block_private: bool,
}

impl Asked<'_> {
    /// Why nothing is done to the target, whoever decides.
    pub fn ever(&self) -> Option<No> {
        if let Some(why) = self.spared.why(self.target) {
            return Some(No::Spared(why.clone()));
        }
        (!self.block_private && is_private(self.target.address())).then_some(No::Private)
    }

    /// Why no rule does anything to the source of a hit.
    pub fn of_rule(&self, event: &Event) -> Option<No> {
        if let Some(no) = self.ever() {
            return Some(no);
        }
        let is_shared = holds(event, Field::SourceSharedAddress) || is_shared(self.target.address());
        is_shared.then_some(No::Shared)
    }
}

/// Whether a hit proves whose it is: a handshake was finished with that address. Nothing that a peer sends counts.
pub fn is_proved(event: &Event) -> bool {
    let is_tcp = event
        .text(Field::NetworkTransport)
        .is_some_and(|transport| transport == "tcp");
    is_tcp && !holds(event, Field::SourceSpoofable)
}

/// Whether a hit is a contact alone, from inside: something that printers, scanners and domain controllers do.
pub fn is_contact_inside(event: &Event) -> bool {
    holds(event, Field::SourceZoneInside) && touch(event) == Touch::Contact
}

/// Whether a field says yes.
pub fn holds(event: &Event, field: Field) -> bool {
    matches!(event.get(field), Some(trapline_schemas::Value::Bool(true)))
}

/// RFC 1918 and RFC 4193.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_private(),
        IpAddr::V6(v6) => v6.is_unique_local(),
    }
}

/// Shared address space of carriers (RFC 6598): behind one address are many customers.
fn is_shared(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [first, second, ..] = v4.octets();
            first == 100 && second & 0xc0 == 64
        }
        IpAddr::V6(_) => false,
    }
}
