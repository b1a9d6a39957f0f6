//! Who is never acted on.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::Target;
use super::embedded;
use super::target::unmapped;

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
    /// As another instance, or this one at another time, says.
    Known(String),
}

impl Why {
    /// One word, for programs.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::NoHost => "no-host",
            Self::Own => "own",
            Self::Gateway => "gateway",
            Self::Resolver => "resolver",
            Self::TimeServer => "time-server",
            Self::Sink(_) => "sink",
            Self::Allowed => "allow",
            Self::Admin => "admin",
            Self::Known(_) => "known",
        }
    }
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
            Self::Known(why) => f.write_str(why),
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
    /// Of networks and reasons; of one network the first reason in the order of [`Why`] stands. A network of IPv4-mapped
    /// addresses is the IPv4 network.
    pub fn new(rows: impl IntoIterator<Item = (IpNet, Why)>) -> Self {
        let no_host = NO_HOST
            .iter()
            .filter_map(|(address, prefix)| IpNet::new(*address, *prefix).ok());
        let v6_single = [std::net::Ipv6Addr::UNSPECIFIED, std::net::Ipv6Addr::LOCALHOST];
        let v6_single = v6_single.into_iter().map(|address| IpNet::from(IpAddr::V6(address)));
        let no_host = no_host.chain(v6_single).map(|network| (network, Why::NoHost));
        let mut rows: Vec<_> = rows
            .into_iter()
            .map(|(net, why)| (unmapped(net).trunc(), why))
            .chain(no_host)
            .collect();
        rows.sort();
        rows.dedup_by(|next, before| next.0 == before.0);
        Self { rows }
    }

    /// Why an act on `target` is refused: the first network that has an address in common with it, also in the form that
    /// an IPv4 address has in IPv6 (mapped, translated, NAT64, 6to4, Teredo). A network with all of IPv4 in it, such as
    /// a /64 of NAT64, is refused.
    pub fn why(&self, target: Target) -> Option<&Why> {
        let net = target.net();
        let inner = embedded::within(net).map(IpNet::V4);
        let meets = |row: &&(IpNet, Why)| is_met(row.0, net) || inner.is_some_and(|inner| is_met(row.0, inner));
        self.rows.iter().find(meets).map(|(_, why)| why)
    }

    /// All networks, and the IPv6 networks that those of IPv4 are behind NAT64 and 6to4: for destinations that act by
    /// themselves and cannot ask [`why`](Self::why). Teredo has no such networks.
    pub fn networks(&self) -> impl Iterator<Item = IpNet> + '_ {
        let outer = self.rows.iter().filter_map(|(net, _)| match net {
            IpNet::V4(v4) => Some(embedded::outside(*v4)),
            IpNet::V6(_) => None,
        });
        self.rows.iter().map(|(net, _)| *net).chain(outer.flatten())
    }

    /// All networks, sorted, with the reasons.
    pub fn rows(&self) -> &[(IpNet, Why)] {
        &self.rows
    }
}

fn is_met(one: IpNet, other: IpNet) -> bool {
    one.contains(&other) || other.contains(&one)
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

    #[test]
    fn a_spared_ipv4_address_is_spared_in_all_its_forms_of_ipv6() {
        let spared = Spared::new([("192.0.2.1/32".parse().unwrap(), Why::Gateway)]);
        for text in [
            "64:ff9b::c000:201",
            "64:ff9b::c000:200/120",
            "64:ff9b:1::c000:201",
            "2002:c000:201::1",
            "2002:c000:201:5::/64",
            "2001:0:4136:e378:8000:63bf:3fff:fdfe",
            "::ffff:192.0.2.1",
            "::ffff:0:192.0.2.1",
        ] {
            assert_eq!(spared.why(target(text)), Some(&Why::Gateway), "{text}");
        }
        for text in [
            "64:ff9b::c000:202",
            "2002:c000:202::1",
            "2001:0:4136:e378:8000:63bf:3fff:fdfd",
        ] {
            assert_eq!(spared.why(target(text)), None, "{text}");
        }
    }

    #[test]
    fn what_is_all_of_ipv4_and_what_is_no_host_in_it_is_spared() {
        let spared = Spared::new([]);
        for text in [
            "64:ff9b::/64",
            "2001:0:4136:e378::/64",
            "64:ff9b::7f00:1",
            "2002:7f00:1::1",
        ] {
            assert_eq!(spared.why(target(text)), Some(&Why::NoHost), "{text}");
        }
    }

    #[test]
    fn a_network_of_mapped_addresses_is_the_ipv4_network() {
        let spared = Spared::new([("::ffff:192.0.2.0/120".parse().unwrap(), Why::Allowed)]);
        assert_eq!(spared.why(target("192.0.2.9")), Some(&Why::Allowed));
        assert!(spared.rows().iter().any(|(net, _)| net.to_string() == "192.0.2.0/24"));
    }

    #[test]
    fn every_network_of_the_list_is_one_that_is_refused() {
        let allowed = ["192.0.2.1/32", "198.51.100.0/24", "2001:db8::/64"];
        let spared = Spared::new(allowed.map(|net| (net.parse().unwrap(), Why::Allowed)));
        let networks: Vec<_> = spared.networks().collect();
        for text in [
            "192.0.2.1/32",
            "64:ff9b::c000:201/128",
            "2002:c633:6400::/40",
            "2001:db8::/64",
        ] {
            assert!(networks.contains(&text.parse().unwrap()), "{text}");
        }
        for net in networks {
            assert!(spared.why(Target::host(net.addr())).is_some(), "{net}");
        }
    }
}
