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
mod rdp;
mod redis;
mod sip;
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
use std::net::SocketAddr;

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
    rdp::SERVICE,
    banner::SERVICE,
    redis::SERVICE,
    mysql::SERVICE,
    postgresql::SERVICE,
    vnc::SERVICE,
    sip::SERVICE,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// A stream.
    Tcp,
    /// Datagrams.
    Udp,
}

impl Transport {
    /// `network.transport`, and the word in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }

    /// Its number at IANA.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
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
    /// All that it runs over; at least one.
    pub const fn transports(&self) -> &'static [Transport] {
        match self.speak {
            Speak::Stream(_) => &[Transport::Tcp],
            Speak::Datagram(_) => &[Transport::Udp],
            Speak::Both { .. } => &[Transport::Tcp, Transport::Udp],
        }
    }

    /// Whether it runs over streams.
    pub const fn is_stream(&self) -> bool {
        self.speak.stream().is_some()
    }
}

/// Speaks on one session until the end. Returning `Ok` closes it: with RST if input is left unconsumed, as a kernel
/// does for a real server, else with FIN.
pub type Serve = for<'a> fn(&'a mut Session) -> BoxFuture<'a, Result<(), SessionError>>;

/// Answers one datagram. Pure, so that nothing a peer forges can cost more than this call.
pub type AnswerDatagram = fn(&Asked<'_>) -> UdpAnswer;

/// One datagram, as a service gets it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// What it holds.
    pub bytes: &'a [u8],
    /// Who is said to have sent it.
    pub peer: SocketAddr,
    /// The address that was touched.
    pub local: SocketAddr,
    /// How the service looks.
    pub personality: &'a Personality,
}

/// How a service speaks.
#[derive(Clone, Copy)]
pub enum Speak {
    /// Over TCP.
    Stream(Serve),
    /// Over UDP.
    Datagram(AnswerDatagram),
    /// Over either, as the listener is.
    Both {
        /// Over TCP.
        stream: Serve,
        /// Over UDP.
        datagram: AnswerDatagram,
    },
}

impl Speak {
    /// How it speaks over TCP, if it does.
    pub const fn stream(self) -> Option<Serve> {
        match self {
            Self::Stream(stream) | Self::Both { stream, .. } => Some(stream),
            Self::Datagram(_) => None,
        }
    }

    /// How it speaks over UDP, if it does.
    pub const fn datagram(self) -> Option<AnswerDatagram> {
        match self {
            Self::Datagram(datagram) | Self::Both { datagram, .. } => Some(datagram),
            Self::Stream(_) => None,
        }
    }
}

impl fmt::Debug for Speak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stream(_) => "Stream",
            Self::Datagram(_) => "Datagram",
            Self::Both { .. } => "Both",
        })
    }
}

/// What a datagram service makes of one datagram.
#[derive(Debug, Default)]
pub struct UdpAnswer {
    /// What to send back. Longer than the request is never sent: the listener stays silent instead.
    pub reply: Option<Vec<u8>>,
    /// Which port it comes from.
    pub from: FromPort,
    /// What was learned, text already clean.
    pub facts: Vec<(Field, Value)>,
    /// A credential in the datagram, such as an SNMP community.
    pub credential: Option<UdpCredential>,
}

/// Which port an answer comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FromPort {
    /// The one that was asked.
    #[default]
    Same,
    /// A new one, which is nobody's when the answer is on its way: as of a server that has a process for each answer.
    New,
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
    /// What is offered, if that is more than those bytes: all that a password can be tried against.
    pub proof: Option<Vec<u8>>,
    /// What else was learned of it.
    pub facts: Vec<(Field, Value)>,
}
