//! Who is never acted on.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::Target;

/// Why an address is never acted on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// No single host: loopback, unspecified, link-local, multicast, broadcast, reserved for documentation of protocols.
    NoHost,
    /// An address of this host.
    Own,
    /// A gateway of this host.
    Gateway,
    /// A name server that this host asks.
    Resolver,
    /// A time server that this host asks.
    TimeServer,
    /// Where a sink sends to, by its name.
    Sink(String),
    /// Named in `allow`.
    Allowed,
    /// Somebody who proved to administer this host came from there.
    Admin,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHost => f.write_str("not the address of one host"),
            Self::Own => f.write_str("an address of this host"),
            Self::Gateway => f.write_str("a gateway of this host"),
            Self::Resolver => f.write_str("a name server of this host"),
            Self::TimeServer => f.write_str("a time server of this host"),
            Self::Sink(name) => write!(f, "where sink `{name}` sends to"),
            Self::Allowed => f.write_str("in `allow`"),
            Self::Admin => f.write_str("where an administrator of this host came from"),
        }
    }
}

/// The networks that are never acted on, with the reason for each. Made anew when anything changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Spared {
    /// Sorted, each network once.
    rows: Vec<(IpNet, Why)>,
}

/// What is never the address of one host that could be shut out, beyond what the standard library knows.
const NO_HOST: [(IpAddr, u8); 6] = [
    (IpAddr::V4(std::net::Ipv4Addr::new(0, 0, 0, 0)), 8),
    (IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 0)), 8),
    (IpAddr::V4(std::net::Ipv4Addr::new(169, 254, 0, 0)), 16),
    (IpAddr::V4(std::net::Ipv4Addr::new(224, 0, 0, 0)), 3),
    (IpAddr::V6(std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)), 10),
    (IpAddr::V6(std::net::Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0)), 8),
];

impl Spared {
    /// Of networks and reasons; of one network the first reason in the order of [`Why`] stands.
    pub fn new(rows: impl IntoIterator<Item = (IpNet, Why)>) -> Self {
        let no_host = NO_HOST
            .iter()
            .filter_map(|(address, prefix)| IpNet::new(*address, *prefix).ok());
        let v6_single = [std::net::Ipv6Addr::UNSPECIFIED, std::net::Ipv6Addr::LOCALHOST];
        let v6_single = v6_single.into_iter().map(|address| IpNet::from(IpAddr::V6(address)));
        let no_host = no_host.chain(v6_single).map(|network| (network, Why::NoHost));
        let mut rows: Vec<_> = rows
            .into_iter()
            .map(|(net, why)| (net.trunc(), why))
            .chain(no_host)
            .collect();
        rows.sort();
        rows.dedup_by(|next, before| next.0 == before.0);
        Self { rows }
    }

    /// Why an act on `target` is refused: the first network that has an address in common with it.
    pub fn why(&self, target: Target) -> Option<&Why> {
        let net = target.net();
        let meets = |row: &&(IpNet, Why)| row.0.contains(&net) || net.contains(&row.0);
        self.rows.iter().find(meets).map(|(_, why)| why)
    }

    /// All networks, sorted, with the reasons.
    pub fn rows(&self) -> &[(IpNet, Why)] {
        &self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Target {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_no_single_host_is_spared_whatever_is_configured() {
        let spared = Spared::new([]);
        for text in [
            "0.0.0.0",
            "127.0.0.1",
            "127.3.2.1",
            "169.254.1.1",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "::",
            "::1",
            "fe80::1",
            "ff02::1",
            "::ffff:127.0.0.1",
        ] {
            assert_eq!(spared.why(target(text)), Some(&Why::NoHost), "{text}");
        }
        for text in ["203.0.113.7", "10.0.0.1", "2001:db8::1", "::2"] {
            assert_eq!(spared.why(target(text)), None, "{text}");
        }
    }

    #[test]
    fn a_network_is_spared_if_it_holds_one_address_that_is() {
        let spared = Spared::new([("192.0.2.53/32".parse().unwrap(), Why::Resolver)]);
        assert_eq!(spared.why(target("192.0.2.0/24")), Some(&Why::Resolver));
        assert_eq!(spared.why(target("192.0.2.52")), None);
        let spared = Spared::new([("192.0.2.0/24".parse().unwrap(), Why::Allowed)]);
        assert_eq!(spared.why(target("192.0.2.52")), Some(&Why::Allowed));
    }
}
