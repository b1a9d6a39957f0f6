//! What the kernel does by itself.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

/// A decoy's socket, as packets see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Door {
    /// The address that it listens on; unspecified: every one of the host, of this family, or of both if it is IPv6's.
    pub address: IpAddr,
    /// The TCP port.
    pub port: u16,
}

/// Whoever finishes a handshake with a door is shut out at once, by the kernel; the conversation with the doors goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arming {
    /// The decoys' sockets.
    pub doors: Vec<Door>,
    /// For how long.
    pub ttl: Duration,
    /// Who passes, beside those that [`spare`](super::SetSink::spare) names.
    pub passes: Vec<IpNet>,
    /// Most that are shut out at once; beyond it the kernel lets everybody in.
    pub members: usize,
    /// Most that are shut out in a minute.
    pub per_minute: u32,
}
