//! One file per protocol; the table of all.
//!
//! A new protocol is a file here and a row in [`SERVICES`]. A row knows how to read its own table of a personality and
//! how to speak on a session or to a datagram. It knows nothing of sockets, limits, events or sinks.

mod banner;
mod dns;
mod ftp;
mod http;
mod lines;
mod mysql;
mod ntlm;
mod ntp;
mod postgresql;
mod redis;
mod smb;
mod smtp;
mod snmp;
mod ssh;
mod telnet;
#[cfg(test)]
mod tests;
mod tftp;
mod vnc;

use std::fmt;

use futures_util::future::BoxFuture;
use trapline_schemas::{Field, Value};

use crate::decoy::keys::Provide;
use crate::decoy::personality::{Look, Personality};
use crate::decoy::session::{Session, SessionError};

/// Every protocol a decoy can speak.
pub static SERVICES: &[Service] = &[
    ssh::SERVICE,
    telnet::SERVICE,
    ftp::SERVICE,
    http::SERVICE,
    smtp::SERVICE,
    smb::SERVICE,
    banner::SERVICE,
    redis::SERVICE,
    mysql::SERVICE,
    postgresql::SERVICE,
    vnc::SERVICE,
    snmp::SERVICE,
    dns::SERVICE,
    ntp::SERVICE,
    tftp::SERVICE,
];

/// Finds a protocol by its word in the configuration.
pub fn find(name: &str) -> Option<&'static Service> {
    SERVICES.iter().find(|service| service.name == name)
}

/// What a service runs over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// A stream.
    Tcp,
    /// Datagrams.
    Udp,
}

/// One row: a protocol a decoy can speak.
#[derive(Debug)]
pub struct Service {
    /// The word after `service =`.
    pub name: &'static str,
    /// The personality when none is named.
    pub personality: &'static str,
    /// Reads the `[look]` table of a personality, once, at load: [`crate::decoy::personality::look`] of the service's
    /// own type.
    pub look: fn(&str) -> Result<Look, toml::de::Error>,
    /// Makes what its sessions need besides the look, such as host keys, once per decoy: see [`Session::provided`].
    pub provide: Option<Provide>,
    /// Speaks it.
    pub speak: Speak,
}

impl Service {
    /// What it runs over.
    pub const fn transport(&self) -> Transport {
        match self.speak {
            Speak::Stream(_) => Transport::Tcp,
            Speak::Datagram(_) => Transport::Udp,
        }
    }
}

/// How a service speaks.
#[derive(Clone, Copy)]
pub enum Speak {
    /// Speaks on one session until the end. Returning `Ok` closes it: with RST if input is left unconsumed, as a
    /// kernel does for a real server, else with FIN.
    Stream(for<'a> fn(&'a mut Session) -> BoxFuture<'a, Result<(), SessionError>>),
    /// Answers one datagram. Pure, so that nothing a peer forges can cost more than this call.
    Datagram(fn(&[u8], &Personality) -> UdpAnswer),
}

impl fmt::Debug for Speak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stream(_) => "Stream",
            Self::Datagram(_) => "Datagram",
        })
    }
}

/// What a datagram service makes of one datagram.
#[derive(Debug, Default)]
pub struct UdpAnswer {
    /// What to send back. Longer than the request is never sent: the listener stays silent instead.
    pub reply: Option<Vec<u8>>,
    /// What was learned, text already clean.
    pub facts: Vec<(Field, Value)>,
    /// A credential in the datagram, such as an SNMP community.
    pub credential: Option<UdpCredential>,
}

/// A credential found in a datagram.
#[derive(Debug)]
pub struct UdpCredential {
    /// `community`, `password`, …: `honeyport.credential.kind`.
    pub kind: &'static str,
    /// The user it was for, raw; empty if there is none.
    pub user: Vec<u8>,
    /// Where in the datagram the secret is; out of bounds counts as empty.
    pub secret: std::ops::Range<usize>,
}
