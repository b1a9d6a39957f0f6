//! IPv4 addresses that stand in IPv6 addresses: whoever acts on the one acts on the other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Bits of an IPv4 address.
const V4_BITS: u8 = 32;

/// A network of IPv6 addresses that have an IPv4 address in them.
struct Form {
    network: Ipv6Addr,
    prefix: u8,
    /// The bit that the IPv4 address begins at.
    at: u8,
    /// Whether its bits are inverted.
    inverted: bool,
}

const fn form(network: [u16; 8], prefix: u8, at: u8) -> Form {
    let [a, b, c, d, e, f, g, h] = network;
    Form {
        network: Ipv6Addr::new(a, b, c, d, e, f, g, h),
        prefix,
        at,
        inverted: false,
    }
}

/// NAT64's well-known prefix (RFC 6052 section 2.1).
const NAT64: Form = form([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96, 96);
/// 6to4 (RFC 3056 section 2).
const SIX_TO_FOUR: Form = form([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, 16);

const FORMS: [Form; 6] = [
    // IPv4-mapped (RFC 4291 section 2.5.5.2).
    form([0, 0, 0, 0, 0, 0xffff, 0, 0], 96, 96),
    // IPv4-translated (RFC 2765 section 2.1).
    form([0, 0, 0, 0, 0xffff, 0, 0, 0], 96, 96),
    NAT64,
    // A network's own NAT64 (RFC 8215), where it has a prefix of 96 bits.
    form([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, 96),
    SIX_TO_FOUR,
    // Teredo's client (RFC 4380 section 4); its server is another host.
    Form {
        inverted: true,
        ..form([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, 96)
    },
];

/// The IPv4 network whose addresses stand in those of `network`; of one that takes in all of a form, all of IPv4. None
/// of one that is IPv4, or of no such form.
pub(super) fn within(network: IpNet) -> Option<Ipv4Net> {
    let IpNet::V6(v6) = network else { return None };
    FORMS.iter().find_map(|form| form.within(v6))
}

/// The IPv6 networks that an IPv4 network becomes where that is a prefix: at NAT64 and 6to4.
pub(super) fn outside(network: Ipv4Net) -> impl Iterator<Item = IpNet> {
    [NAT64, SIX_TO_FOUR]
        .into_iter()
        .filter_map(move |form| form.around(network))
}

impl Form {
    fn within(&self, net: Ipv6Net) -> Option<Ipv4Net> {
        let all = Ipv6Net::new(self.network, self.prefix).ok()?;
        if net.contains(&all) {
            return Ipv4Net::new(Ipv4Addr::UNSPECIFIED, 0).ok();
        }
        if !all.contains(&net) {
            return None;
        }
        let known = net.prefix_len().saturating_sub(self.at).min(V4_BITS);
        let bits = net.addr().to_bits() >> (128 - u32::from(self.at) - u32::from(V4_BITS));
        let bits = (bits & u128::from(u32::MAX)) as u32;
        let bits = if self.inverted { !bits } else { bits };
        Some(Ipv4Net::new(Ipv4Addr::from_bits(bits), known).ok()?.trunc())
    }

    fn around(&self, net: Ipv4Net) -> Option<IpNet> {
        let shifted = u128::from(net.addr().to_bits()) << (128 - u32::from(self.at) - u32::from(V4_BITS));
        let address = Ipv6Addr::from_bits(self.network.to_bits() | shifted);
        IpNet::new(IpAddr::V6(address), self.at + net.prefix_len()).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn inner(text: &str) -> Option<String> {
        within(text.parse().unwrap()).map(|net| net.to_string())
    }

    #[test]
    fn an_ipv4_address_is_found_in_every_form() {
        for (outer, found) in [
            ("::ffff:192.0.2.1/128", "192.0.2.1/32"),
            ("::ffff:0:192.0.2.1/128", "192.0.2.1/32"),
            ("64:ff9b::c000:201/128", "192.0.2.1/32"),
            ("64:ff9b::c000:200/120", "192.0.2.0/24"),
            ("64:ff9b:1:2:3::c000:201/128", "192.0.2.1/32"),
            ("2002:c000:201::9/128", "192.0.2.1/32"),
            ("2002:c000:201:7::/64", "192.0.2.1/32"),
            ("2002:c000:201::/48", "192.0.2.1/32"),
            // RFC 4380 section 4, with the client 192.0.2.45.
            ("2001:0:4136:e378:8000:63bf:3fff:fdd2/128", "192.0.2.45/32"),
        ] {
            assert_eq!(inner(outer).as_deref(), Some(found), "{outer}");
        }
    }

    #[test]
    fn a_network_of_many_such_addresses_has_all_of_ipv4_in_it() {
        for outer in ["64:ff9b::/64", "64:ff9b:1::/48", "2001:0:4136:e378::/64", "::/48"] {
            assert_eq!(inner(outer).as_deref(), Some("0.0.0.0/0"), "{outer}");
        }
        for other in [
            "2001:db8::/48",
            "2001:1::/32",
            "64:ff9b:2::1/128",
            "192.0.2.1/32",
            "::2/128",
        ] {
            assert_eq!(inner(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn what_goes_out_comes_back(bits in any::<u32>(), prefix in 0..=32u8) {
            let net = Ipv4Net::new(Ipv4Addr::from_bits(bits), prefix).unwrap().trunc();
            for outer in outside(net) {
                prop_assert_eq!(within(outer), Some(net));
            }
            prop_assert_eq!(outside(net).count(), 2);
        }

        #[test]
        fn any_bytes_are_an_address_with_one_or_none_in_it(bits in any::<u128>(), prefix in 0..=128u8) {
            let net = IpNet::new(IpAddr::V6(Ipv6Addr::from_bits(bits)), prefix).unwrap();
            within(net);
            within(net.trunc());
        }
    }
}
