//! Which zone a source is in.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use smol_str::SmolStr;

/// A part of the network with a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// `honeyport.source.zone`.
    pub name: SmolStr,
    /// Whether hosts there are ours.
    pub inside: bool,
}

/// Networks, each with what is known of it; the longest prefix wins.
#[derive(Debug, Clone)]
pub struct Networks<T>(Arc<[(IpNet, T)]>);

impl<T> Default for Networks<T> {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl<T> Networks<T> {
    /// Networks; of two equal ones the first counts.
    pub fn new(mut networks: Vec<(IpNet, T)>) -> Self {
        networks.sort_by_key(|(net, _)| std::cmp::Reverse(net.prefix_len()));
        Self(networks.into())
    }

    /// What is known of an address.
    pub fn of(&self, address: IpAddr) -> Option<&T> {
        let found = self.0.iter().find(|(net, _)| net.contains(&address));
        found.map(|(_, known)| known)
    }
}

/// All zones; the longest prefix wins, and what is in none is `external`.
#[derive(Debug, Clone)]
pub struct Zones {
    zones: Arc<[Zone]>,
    /// With the zone's number.
    networks: Networks<usize>,
    external: Zone,
}

/// RFC 1918, RFC 4193 (ULA), loopback, and link-local of RFC 3927 and RFC 4291.
const INSIDE: &[&str] = &[
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "fc00::/7",
    "::1/128",
    "fe80::/10",
];

impl Default for Zones {
    fn default() -> Self {
        let networks = INSIDE.iter().filter_map(|net| net.parse().ok()).collect();
        let inside = Zone {
            name: "inside".into(),
            inside: true,
        };
        Self::new(vec![(inside, networks)])
    }
}

impl Zones {
    /// Zones with their networks; of two equal networks the first counts.
    pub fn new(zones: Vec<(Zone, Vec<IpNet>)>) -> Self {
        let networks = zones
            .iter()
            .enumerate()
            .flat_map(|(number, (_, nets))| nets.iter().map(move |net| (*net, number)))
            .collect();
        Self {
            zones: zones.into_iter().map(|(zone, _)| zone).collect(),
            networks: Networks::new(networks),
            external: Zone {
                name: "external".into(),
                inside: false,
            },
        }
    }

    /// The zone of an address.
    pub fn of(&self, address: IpAddr) -> &Zone {
        let found = self.networks.of(address).and_then(|number| self.zones.get(*number));
        found.unwrap_or(&self.external)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str, inside: bool) -> Zone {
        Zone {
            name: name.into(),
            inside,
        }
    }

    #[test]
    fn the_longest_prefix_wins_and_the_rest_is_external() {
        let zones = Zones::new(vec![
            (zone("office", true), vec!["10.0.0.0/8".parse().unwrap()]),
            (zone("guests", false), vec!["10.9.0.0/16".parse().unwrap()]),
        ]);
        assert_eq!(zones.of("10.1.2.3".parse().unwrap()), &zone("office", true));
        assert_eq!(zones.of("10.9.2.3".parse().unwrap()), &zone("guests", false));
        assert_eq!(zones.of("203.0.113.9".parse().unwrap()), &zone("external", false));
    }

    #[test]
    fn private_loopback_and_link_local_addresses_are_inside_by_default() {
        let zones = Zones::default();
        for inside in [
            "10.0.0.1",
            "172.31.255.1",
            "192.168.1.1",
            "127.0.0.9",
            "169.254.3.4",
            "fd00::1",
            "::1",
            "fe80::1",
        ] {
            assert!(zones.of(inside.parse().unwrap()).inside, "{inside}");
        }
        for outside in ["172.32.0.1", "198.51.100.1", "2001:db8::1"] {
            assert!(!zones.of(outside.parse().unwrap()).inside, "{outside}");
        }
    }
}
