//! Whom an act is about: one address, or a network that is not too wide.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::embedded;

/// Widest IPv4 network that may be acted on.
pub const PREFIX_MIN_V4: u8 = 24;
/// Widest IPv6 network that may be acted on.
pub const PREFIX_MIN_V6: u8 = 48;

/// One address, or a network of /24 (IPv4) or /48 (IPv6) at the widest, its host bits zero. An IPv4-mapped IPv6 address
/// is the IPv4 address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target(IpNet);

/// Why a network cannot be acted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotATarget {
    /// It would take in too many.
    #[error("{0} is wider than /{PREFIX_MIN_V4} (IPv4) or /{PREFIX_MIN_V6} (IPv6)")]
    TooWide(IpNet),
}

impl Target {
    /// One address.
    pub fn host(address: IpAddr) -> Self {
        Self(address.to_canonical().into())
    }

    /// A network, its host bits made zero; one of an IPv4-mapped prefix is the IPv4 network.
    ///
    /// Errors: it is too wide.
    pub fn network(network: IpNet) -> Result<Self, NotATarget> {
        let network = unmapped(network).trunc();
        let min = match network {
            IpNet::V4(_) => PREFIX_MIN_V4,
            IpNet::V6(_) => PREFIX_MIN_V6,
        };
        match network.prefix_len() < min {
            true => Err(NotATarget::TooWide(network)),
            false => Ok(Self(network)),
        }
    }

    /// The network of `prefix` bits around an address; the address itself if the family has no such prefix, and never
    /// wider than what may be acted on.
    pub fn around(address: IpAddr, prefix: u8) -> Self {
        let host = Self::host(address);
        let network = IpNet::new(host.address(), prefix).ok();
        network.and_then(|network| Self::network(network).ok()).unwrap_or(host)
    }

    /// The address, or the first of the network.
    pub const fn address(self) -> IpAddr {
        match self.0 {
            IpNet::V4(net) => IpAddr::V4(net.addr()),
            IpNet::V6(net) => IpAddr::V6(net.addr()),
        }
    }

    /// Length of the prefix, bits.
    pub fn prefix(self) -> u8 {
        self.0.prefix_len()
    }

    /// As a network; of one address all bits are the prefix.
    pub const fn net(self) -> IpNet {
        self.0
    }

    /// Whether it is one address.
    pub fn is_host(self) -> bool {
        self.0.prefix_len() == self.0.max_prefix_len()
    }

    /// The IPv4 network whose addresses stand in these of IPv6 (NAT64, 6to4, Teredo and the like); of a network with all
    /// of IPv4 in it, all of IPv4.
    pub fn ipv4_within(self) -> Option<ipnet::Ipv4Net> {
        embedded::within(self.0)
    }

    /// Whether an address is meant.
    pub fn contains(self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

/// Prefix of IPv4-mapped addresses, bits (RFC 4291 section 2.5.5.2).
const MAPPED_PREFIX: u8 = 96;

pub(super) fn unmapped(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    let (Some(v4), Some(prefix)) = (v6.addr().to_ipv4_mapped(), v6.prefix_len().checked_sub(MAPPED_PREFIX)) else {
        return network;
    };
    ipnet::Ipv4Net::new(v4, prefix).map_or(network, IpNet::V4)
}

/// As lists are written: an address alone, or with its prefix.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_host() {
            true => self.address().fmt(f),
            false => self.0.fmt(f),
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Target {
    type Err = String;

    /// Reads an address or a network. Errors: neither, or too wide; without the text if it is neither.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::host(address));
        }
        let network: IpNet = text
            .parse()
            .map_err(|_| "neither an address nor a network".to_owned())?;
        Self::network(network).map_err(|wide| wide.to_string())
    }
}

impl From<Ipv4Addr> for Target {
    fn from(address: Ipv4Addr) -> Self {
        Self::host(address.into())
    }
}

impl From<Ipv6Addr> for Target {
    fn from(address: Ipv6Addr) -> Self {
        Self::host(address.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_target_is_written_as_lists_have_it() {
        for (text, shown) in [
            ("203.0.113.7", "203.0.113.7"),
            ("203.0.113.7/32", "203.0.113.7"),
            ("203.0.113.7/24", "203.0.113.0/24"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("::ffff:203.0.113.7/120", "203.0.113.0/24"),
            ("2001:db8::1", "2001:db8::1"),
            ("2001:db8:0:1::9/64", "2001:db8:0:1::/64"),
        ] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn a_network_that_is_too_wide_is_no_target() {
        for text in [
            "0.0.0.0/0",
            "203.0.112.0/23",
            "::/0",
            "2001:db8::/47",
            "::ffff:0.0.0.0/96",
            "::ffff:0:0/100",
        ] {
            assert!(text.parse::<Target>().unwrap_err().contains("is wider than"), "{text}");
        }
        assert_eq!(
            "nobody".parse::<Target>().unwrap_err(),
            "neither an address nor a network"
        );
    }

    #[test]
    fn around_an_address_is_its_network_and_never_too_wide_a_one() {
        let v6: IpAddr = "2001:db8:0:1::9".parse().unwrap();
        assert_eq!(Target::around(v6, 64).to_string(), "2001:db8:0:1::/64");
        assert_eq!(Target::around(v6, 3).to_string(), "2001:db8:0:1::9");
        let v4: IpAddr = "::ffff:203.0.113.7".parse().unwrap();
        assert_eq!(Target::around(v4, 24).to_string(), "203.0.113.0/24");
        assert_eq!(Target::around(v4, 64).to_string(), "203.0.113.7");
    }

    proptest! {
        #[test]
        fn any_text_is_a_target_that_reads_back_or_none(text in "[0-9a-f:./]{0,24}") {
            if let Ok(target) = text.parse::<Target>() {
                prop_assert_eq!(target.to_string().parse(), Ok(target));
                prop_assert!(target.contains(target.address()));
            }
        }
    }
}
