//! Addresses that many hosts share.

use ipnet::{IpNet, Ipv4Net};
use std::net::Ipv4Addr;
use trapline_sink::set::Target;

/// Between a provider and its customers (RFC 6598).
const CARRIER: (Ipv4Addr, u8) = (Ipv4Addr::new(100, 64, 0, 0), 10);

/// Whether many who have nothing to do with each other may stand behind a target: carrier-grade NAT, also as IPv6 has
/// its addresses within its own. Such a target is never acted on automatically; by hand it may be.
pub fn is_shared(target: Target) -> bool {
    let Ok(carrier) = Ipv4Net::new(CARRIER.0, CARRIER.1) else {
        return false;
    };
    let own = match target.net() {
        IpNet::V4(v4) => Some(v4),
        IpNet::V6(_) => target.ipv4_within(),
    };
    own.is_some_and(|v4| carrier.contains(&v4) || v4.contains(&carrier))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carrier_grade_nat_is_shared_in_every_form_and_its_neighbours_are_not() {
        for text in [
            "100.64.0.0",
            "100.127.255.255",
            "100.100.3.0/24",
            "::ffff:100.64.0.1",
            "64:ff9b::6440:1",
            "2002:6440:1::1",
            "2001:0:4136:e378:8000:63bf:9bbf:fffe",
            "64:ff9b::/64",
        ] {
            assert!(is_shared(text.parse().unwrap()), "{text}");
        }
        for text in [
            "100.63.255.255",
            "100.128.0.0",
            "10.64.0.1",
            "2001:db8::6440:1",
            "64:ff9b::6480:1",
        ] {
            assert!(!is_shared(text.parse().unwrap()), "{text}");
        }
    }
}
