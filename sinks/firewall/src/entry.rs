//! Addresses as firewalls write them, and times as they count them.

use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use trapline_schemas::Timestamp;
use trapline_sink::set::{Standing, Target};

/// What stands where an address should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Ours to list.
    Target(Target),
    /// A network that is wider than any that may be acted on: not of our making.
    Wide(IpNet),
    /// No address at all.
    Unreadable,
}

/// Reads `203.0.113.7`, `203.0.113.0/24`, `203.0.113.0/255.255.255.0` and the same of IPv6.
pub(crate) fn entry(text: &str) -> Entry {
    if let Ok(address) = text.parse() {
        return Entry::Target(Target::host(address));
    }
    match text.parse::<IpNet>().ok().or_else(|| masked(text)) {
        Some(net) => Target::network(net).map_or(Entry::Wide(net), Entry::Target),
        None => Entry::Unreadable,
    }
}

fn masked(text: &str) -> Option<IpNet> {
    let (address, mask) = text.split_once('/')?;
    let (address, mask): (Ipv4Addr, Ipv4Addr) = (address.parse().ok()?, mask.parse().ok()?);
    Ipv4Net::with_netmask(address, mask).ok().map(IpNet::V4)
}

/// An entry without a mark of its own.
pub(crate) const fn standing(target: Target, until: Option<Timestamp>) -> Standing {
    Standing {
        target,
        until,
        decision: None,
        handle: None,
    }
}

/// Whole seconds until then, rounded up, at least 1.
pub(crate) fn seconds_left(until: Timestamp, now: Timestamp) -> u64 {
    let left = until.since(now);
    let whole = left.as_secs() + u64::from(left.subsec_nanos() > 0);
    whole.max(1)
}

/// A time after another; the last there is if it is beyond.
pub(crate) fn after(now: Timestamp, time: Duration) -> Timestamp {
    let micros = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(now.micros().saturating_add(micros))
}

/// The end of what has none: so late that it is off whatever is wanted, and is put again with an end.
pub(crate) fn never(now: Timestamp) -> Timestamp {
    const TEN_YEARS: Duration = Duration::from_secs(10 * 365 * 86_400);
    after(now, TEN_YEARS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_and_networks_are_read_as_firewalls_write_them() {
        for (text, shown) in [
            ("203.0.113.7", "203.0.113.7"),
            ("203.0.113.0/24", "203.0.113.0/24"),
            ("203.0.113.0/255.255.255.0", "203.0.113.0/24"),
            ("203.0.113.7/255.255.255.255", "203.0.113.7"),
            ("2001:db8::/64", "2001:db8::/64"),
        ] {
            assert_eq!(entry(text), Entry::Target(shown.parse().unwrap()), "{text}");
        }
        assert_eq!(entry("10.0.0.0/8"), Entry::Wide("10.0.0.0/8".parse().unwrap()));
        assert_eq!(entry("0.0.0.0/0.0.0.0"), Entry::Wide("0.0.0.0/0".parse().unwrap()));
        for text in ["", "Any", "10.0.0.1-10.0.0.9", "LocalSubnet", "10.0.0.0/255.0.255.0"] {
            assert_eq!(entry(text), Entry::Unreadable, "{text}");
        }
    }

    #[test]
    fn seconds_are_rounded_up_and_there_is_at_least_one() {
        let now = Timestamp::from_micros(5_000_000);
        for (until, seconds) in [(0, 1), (5_000_000, 1), (5_000_001, 1), (6_000_001, 2), (7_000_000, 2)] {
            assert_eq!(seconds_left(Timestamp::from_micros(until), now), seconds, "{until}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_entry_or_none(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Entry::Target(target) = entry(&String::from_utf8_lossy(&bytes)) {
                prop_assert_eq!(entry(&target.to_string()), Entry::Target(target));
            }
        }
    }
}
