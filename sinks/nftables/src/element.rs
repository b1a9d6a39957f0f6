//! Elements of sets: which element stands for a target, and the way back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::IpNet;
use trapline_sink::set::Target;

use crate::plan::{Plan, Set};
use crate::wire::{Attributes, Builder, numbers as nr};

/// The bytes of a key that is one or two registers of an address and a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    bytes: [u8; 20],
    length: u8,
}

impl Key {
    /// Of bytes as the kernel has them; `None` if there are too many.
    pub(crate) fn new(value: &[u8]) -> Option<Self> {
        let mut bytes = [0; 20];
        bytes.get_mut(..value.len())?.copy_from_slice(value);
        let length = u8::try_from(value.len()).ok()?;
        Some(Self { bytes, length })
    }

    pub(crate) fn of(address: IpAddr) -> Self {
        let mut bytes = [0; 20];
        let length = match address {
            IpAddr::V4(v4) => copy(&mut bytes, &v4.octets()),
            IpAddr::V6(v6) => copy(&mut bytes, &v6.octets()),
        };
        Self { bytes, length }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }

    /// The address that it is, if it is one of the family.
    pub(crate) fn address(&self, is_v4: bool) -> Option<IpAddr> {
        match is_v4 {
            true => <[u8; 4]>::try_from(self.bytes()).ok().map(IpAddr::from),
            false => <[u8; 16]>::try_from(self.bytes()).ok().map(IpAddr::from),
        }
    }
}

fn copy<const N: usize>(bytes: &mut [u8; 20], from: &[u8; N]) -> u8 {
    for (place, byte) in bytes.iter_mut().zip(from) {
        *place = *byte;
    }
    u8::try_from(N).unwrap_or_default()
}

/// Where a target has its element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// One element of a hash.
    Hash(Set, Key),
    /// An interval.
    Interval(Set, IpNet),
}

impl Plan {
    /// Where a target has its element.
    pub(crate) fn place(&self, target: Target) -> Place {
        let v4 = target.address().is_ipv4();
        match (target.is_host(), v4) {
            (true, true) => Place::Hash(Set::Hosts4, Key::of(target.address())),
            (true, false) => Place::Hash(Set::Hosts6, Key::of(target.address())),
            (false, false) if self.masks && target.prefix() == 64 => {
                Place::Hash(Set::Prefixes6, Key::of(target.address()))
            }
            (false, true) => Place::Interval(Set::Nets4, target.net()),
            (false, false) => Place::Interval(Set::Nets6, target.net()),
        }
    }
}

/// The target that an element of a hash stands for; `None` if it cannot stand for any.
pub(crate) fn target(set: Set, key: &Key) -> Option<Target> {
    let address = key.address(set.is_v4())?;
    match (set, address) {
        (Set::Prefixes6, IpAddr::V6(v6)) => {
            let target = Target::network(IpNet::new(address, 64).ok()?).ok()?;
            (target.address() == IpAddr::V6(v6)).then_some(target)
        }
        // A mapped address in the IPv6 set would be the target of another set.
        _ => Some(Target::host(address)).filter(|target| target.address() == address),
    }
}

/// An element as a dump has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// Its key.
    pub(crate) key: Key,
    /// Whether it only ends an interval.
    pub(crate) is_end: bool,
    /// What is left of its time; `None` if it has no end.
    pub(crate) left: Option<Duration>,
}

/// The elements of one message of a dump; `None` for one that cannot be read.
pub(crate) fn found(attributes: Attributes<'_>) -> impl Iterator<Item = Option<Found>> {
    let list = attributes.nest(nr::LIST_ELEMENTS).into_iter();
    list.flat_map(|list| list.nests(nr::LIST_ELEM)).map(|element| {
        let value = element.nest(nr::ELEM_KEY)?.raw(nr::DATA_VALUE)?;
        Some(Found {
            key: Key::new(value)?,
            is_end: element.u32(nr::ELEM_FLAGS).unwrap_or(0) & nr::ELEM_F_INTERVAL_END != 0,
            left: element.u64(nr::ELEM_EXPIRATION).map(Duration::from_millis),
        })
    })
}

/// Writes an element; with `left`, it ends after that.
pub(crate) fn write(b: &mut Builder, key: &[u8], left: Option<Duration>, is_end: bool) {
    b.nest(nr::LIST_ELEM, |b| {
        b.nest(nr::ELEM_KEY, |b| b.raw(nr::DATA_VALUE, key));
        if is_end {
            b.u32(nr::ELEM_FLAGS, nr::ELEM_F_INTERVAL_END);
        }
        if let Some(left) = left {
            b.u64(nr::ELEM_TIMEOUT, u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
        }
    });
}

/// Writes the head of a message about elements of a set.
pub(crate) fn write_list(b: &mut Builder, table: &str, set: Set, fill: impl FnOnce(&mut Builder)) {
    b.text(nr::LIST_TABLE, table);
    b.text(nr::LIST_SET, set.name());
    b.nest(nr::LIST_ELEMENTS, fill);
}

/// The first address of a network, and the first behind it, if there is one.
pub(crate) fn bounds(net: IpNet) -> (Key, Option<Key>) {
    let behind = match net {
        IpNet::V4(v4) => u32::from(v4.broadcast())
            .checked_add(1)
            .map(|next| IpAddr::V4(Ipv4Addr::from(next))),
        IpNet::V6(v6) => u128::from(v6.broadcast())
            .checked_add(1)
            .map(|next| IpAddr::V6(Ipv6Addr::from(next))),
    };
    (Key::of(net.network()), behind.map(Key::of))
}

/// Writes an interval.
pub(crate) fn write_net(b: &mut Builder, net: IpNet, left: Option<Duration>) {
    let (start, behind) = bounds(net);
    write(b, start.bytes(), left, false);
    if let Some(behind) = behind {
        write(b, behind.bytes(), None, true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings;

    fn plan(v6_prefix: u8) -> Plan {
        Plan::new(&Settings {
            v6_prefix,
            ..Settings::default()
        })
    }

    #[test]
    fn hosts_go_to_hashes_and_networks_to_intervals() {
        let set = |text: &str, v6_prefix| match plan(v6_prefix).place(text.parse().unwrap()) {
            Place::Hash(set, key) => (set, key.address(set.is_v4()).unwrap().to_string()),
            Place::Interval(set, net) => (set, net.to_string()),
        };
        for (text, v6_prefix, wanted, shown) in [
            ("203.0.113.7", 128, Set::Hosts4, "203.0.113.7"),
            ("203.0.113.0/24", 64, Set::Nets4, "203.0.113.0/24"),
            ("2001:db8::7", 64, Set::Hosts6, "2001:db8::7"),
            ("2001:db8::/64", 64, Set::Prefixes6, "2001:db8::"),
            ("2001:db8::/64", 128, Set::Nets6, "2001:db8::/64"),
            ("2001:db8::/56", 64, Set::Nets6, "2001:db8::/56"),
        ] {
            assert_eq!(set(text, v6_prefix), (wanted, shown.to_owned()), "{text}");
        }
    }

    #[test]
    fn an_element_is_the_target_that_it_was_put_for() {
        for text in ["203.0.113.7", "2001:db8::7", "2001:db8::/64"] {
            let Place::Hash(set, key) = plan(64).place(text.parse().unwrap()) else {
                panic!("{text}")
            };
            assert_eq!(target(set, &key).unwrap().to_string(), text);
        }
        let odd = Key::of("2001:db8::1".parse().unwrap());
        assert_eq!(target(Set::Prefixes6, &odd), None);
        assert_eq!(target(Set::Hosts4, &odd), None);
        let mapped = Key::of("::ffff:203.0.113.7".parse().unwrap());
        assert_eq!(target(Set::Hosts6, &mapped), None);
        assert_eq!(Key::new(&[0; 21]), None);
    }

    #[test]
    fn a_network_ends_before_the_first_address_behind_it() {
        let shown = |net: &str| {
            let net: IpNet = net.parse().unwrap();
            let (start, behind) = bounds(net);
            let is_v4 = net.addr().is_ipv4();
            let text = |key: Key| key.address(is_v4).unwrap().to_string();
            (text(start), behind.map(text))
        };
        assert_eq!(
            shown("203.0.113.0/24"),
            ("203.0.113.0".into(), Some("203.0.114.0".into()))
        );
        assert_eq!(shown("255.255.255.0/24"), ("255.255.255.0".into(), None));
        assert_eq!(
            shown("2001:db8::/48"),
            ("2001:db8::".into(), Some("2001:db8:1::".into()))
        );
        assert_eq!(shown("ffff::/16"), ("ffff::".into(), None));
    }
}
