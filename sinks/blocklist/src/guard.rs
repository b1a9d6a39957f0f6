//! Who may stand on a list, whoever asks.
//!
//! In: the scope, the networks that are inside, the list of those that are spared. Out: why a target is refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;
use trapline_sink::set::{Member, Scope, Spared, Target, Why};

/// What is not routed on the internet (IANA's special-purpose registries), beside the networks for documentation: a
/// firewall that reads them shuts out nobody, or its own people.
const NOT_PUBLIC: [(IpAddr, u8); 21] = [
    v4([0, 0, 0, 0], 8),
    v4([10, 0, 0, 0], 8),
    v4([100, 64, 0, 0], 10),
    v4([127, 0, 0, 0], 8),
    v4([169, 254, 0, 0], 16),
    v4([172, 16, 0, 0], 12),
    v4([192, 0, 0, 0], 24),
    v4([192, 88, 99, 0], 24),
    v4([192, 168, 0, 0], 16),
    v4([198, 18, 0, 0], 15),
    v4([224, 0, 0, 0], 4),
    v4([240, 0, 0, 0], 4),
    // All of ::/8: unspecified, loopback, IPv4 in its several wrappings (mapped, compatible, 64:ff9b::), nothing routed.
    v6([0, 0], 8),
    v6([0x100, 0], 64),
    v6([0x2001, 0x2], 48),
    v6([0x2001, 0x10], 28),
    v6([0x2001, 0x20], 28),
    v6([0xfc00, 0], 7),
    v6([0xfe80, 0], 10),
    v6([0xfec0, 0], 10),
    v6([0xff00, 0], 8),
];

const DOCUMENTATION: [(IpAddr, u8); 4] = [
    v4([192, 0, 2, 0], 24),
    v4([198, 51, 100, 0], 24),
    v4([203, 0, 113, 0], 24),
    v6([0x2001, 0xdb8], 32),
];

const fn v4(octets: [u8; 4], prefix: u8) -> (IpAddr, u8) {
    (
        IpAddr::V4(Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3])),
        prefix,
    )
}

const fn v6(first: [u16; 2], prefix: u8) -> (IpAddr, u8) {
    (IpAddr::V6(Ipv6Addr::new(first[0], first[1], 0, 0, 0, 0, 0, 0)), prefix)
}

/// The rules of one list.
#[derive(Debug)]
pub(crate) struct Guard {
    scope: Scope,
    spared: Arc<Spared>,
    /// What is not routed. As [`Spared`], for that also finds IPv4 addresses that stand in IPv6 ones.
    private: Spared,
    /// What is inside, marked as [`Why::Own`].
    inside: Spared,
}

impl Guard {
    pub(crate) fn new(scope: Scope, inside: &[IpNet]) -> Self {
        let private = networks(&NOT_PUBLIC).map(|net| (net, Why::NoHost));
        Self {
            scope,
            spared: Arc::new(Spared::new([])),
            private: Spared::new(private),
            inside: Spared::new(inside.iter().map(|net| (*net, Why::Own))),
        }
    }

    /// Who is never acted on, from now on.
    pub(crate) fn spare(&mut self, spared: Arc<Spared>) {
        self.spared = spared;
    }

    /// Whom the list is about.
    pub(crate) const fn is_inside(&self) -> bool {
        matches!(self.scope, Scope::Inside)
    }

    /// Why a target is never acted on.
    pub(crate) fn spares(&self, target: Target) -> Option<&Why> {
        self.spared.why(target)
    }

    /// Why a member never stands on this list.
    pub(crate) fn why_not(&self, member: &Member) -> Option<String> {
        let target = member.target;
        if let Some(why) = self.spares(target) {
            return Some(format!("{target} is never acted on: {why}"));
        }
        let is_private = self.private.why(target).is_some();
        let is_ours = member.inside || self.inside.why(target) == Some(&Why::Own);
        let why = match (self.is_inside(), is_private, is_ours) {
            (false, true, _) => "is not an address of the internet, the list is for outside",
            (false, _, true) => "is in a zone that is inside, the list is for outside",
            (true, false, false) => "is in no zone that is inside, the list is for inside",
            _ => return None,
        };
        Some(format!("{target} {why}"))
    }
}

/// Whether an address is one that no host has: it stands in examples.
pub(crate) fn is_documentation(address: IpAddr) -> bool {
    networks(&DOCUMENTATION).any(|network| network.contains(&address))
}

fn networks(rows: &[(IpAddr, u8)]) -> impl Iterator<Item = IpNet> {
    rows.iter()
        .filter_map(|(address, prefix)| IpNet::new(*address, *prefix).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::roll::tests::member;

    fn guard(scope: Scope) -> Guard {
        let inside = ["198.51.100.0/25", "2001:db8:1::/48", "10.0.0.0/8"];
        Guard::new(scope, &inside.map(|net| net.parse().unwrap()))
    }

    #[test]
    fn a_list_for_outside_never_holds_what_is_not_routed_or_is_inside() {
        let guard = guard(Scope::Outside);
        for text in [
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.0/24",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "169.254.1.1",
            "0.1.2.3",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::ffff:10.0.0.1",
            "::1",
            "::",
            "64:ff9b::a00:1",
            "64:ff9b:1::a00:1",
            "2002:a00:1::1",
            "2001:0:cb00:7101::f5ff:fffe",
            "fc00::1",
            "fdff::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "198.51.100.7",
            "198.51.100.0/24",
            "2001:db8:1::9",
        ] {
            assert!(guard.why_not(&member(text, 50)).is_some(), "{text}");
        }
        for text in [
            "203.0.113.7",
            "198.51.100.200",
            "2001:db8::9",
            "2a00::1",
            "2002:cb00:7107::1",
            "8.8.8.0/24",
            "100.128.0.1",
            "172.32.0.1",
        ] {
            assert_eq!(guard.why_not(&member(text, 50)), None, "{text}");
        }
    }

    #[test]
    fn a_list_for_inside_holds_nobody_else() {
        let guard = guard(Scope::Inside);
        let named = Member {
            inside: true,
            ..member("203.0.113.7", 50)
        };
        assert_eq!(guard.why_not(&named), None, "who decided knows its zone");
        for text in [
            "10.1.2.3",
            "192.168.1.1",
            "198.51.100.7",
            "2001:db8:1::9",
            "fd00::1",
            "100.64.0.1",
        ] {
            assert_eq!(guard.why_not(&member(text, 50)), None, "{text}");
        }
        for text in ["203.0.113.7", "2001:db8::9", "127.0.0.1", "fe80::1"] {
            assert!(guard.why_not(&member(text, 50)).is_some(), "{text}");
        }
    }

    #[test]
    fn who_is_spared_stands_on_no_list() {
        let mut guard = guard(Scope::Outside);
        assert_eq!(guard.why_not(&member("203.0.113.7", 50)), None);
        guard.spare(Arc::new(Spared::new([(
            "203.0.113.7/32".parse().unwrap(),
            Why::Allowed,
        )])));
        let why = guard.why_not(&member("203.0.113.0/24", 50)).unwrap();
        assert_eq!(why, "203.0.113.0/24 is never acted on: in `allow`");
    }

    proptest! {
        #[test]
        fn no_private_address_passes_a_list_for_outside(bits: u32, v6: u128, prefix in 24_u8..=32) {
            let guard = guard(Scope::Outside);
            let of = |target| Member { target, ..member("203.0.113.7", 50) };
            let address = Ipv4Addr::from_bits(bits);
            let target = Target::around(address.into(), prefix);
            let is_shared = address.octets()[0] == 100 && address.octets()[1] & 0xc0 == 64;
            if address.is_private() || address.is_loopback() || address.is_link_local() || is_shared {
                prop_assert!(guard.why_not(&of(target)).is_some());
            }
            let local = Ipv6Addr::from_bits(v6 & (u128::MAX >> 7) | 0xfc << 120);
            prop_assert!(guard.why_not(&of(Target::host(local.into()))).is_some());
        }
    }
}
