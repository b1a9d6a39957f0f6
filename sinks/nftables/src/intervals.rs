//! Intervals out of the elements that begin and end them.
//!
//! The kernel keeps an interval as two elements: one that begins it, with the time, and one that ends it before its key.
//! They come in no order. One that has no end goes on to the end of all addresses.

use std::time::Duration;

use ipnet::IpNet;
use trapline_sink::set::Target;

use crate::element::{Found, Key, bounds};

/// An interval of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interval {
    /// The first address.
    start: Option<Key>,
    /// The first behind it; `None` if there is none.
    behind: Option<Key>,
    /// What is left of its time; `None` if it has no end.
    pub(crate) left: Option<Duration>,
}

impl Interval {
    /// The network that it is, if it is one that may be acted on.
    pub(crate) fn target(&self, is_v4: bool) -> Option<Target> {
        let address = self.start?.address(is_v4)?;
        let bits = if is_v4 { 32 } else { 128 };
        let nets = (0..=bits).filter_map(|prefix| IpNet::new(address, prefix).ok());
        let exact = nets.filter(|net| net.network() == address);
        let mut exact = exact.filter(|net| Some(bounds(*net).0) == self.start && bounds(*net).1 == self.behind);
        let target = Target::network(exact.next()?).ok()?;
        (target.address() == address).then_some(target)
    }

    /// The keys of its elements, and whether they end it.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (Key, bool)> + use<> {
        let start = self.start.map(|key| (key, false));
        start.into_iter().chain(self.behind.map(|key| (key, true)))
    }

    /// Whether it has an address in common with a network.
    pub(crate) fn meets(&self, net: IpNet) -> bool {
        let (start, behind) = bounds(net);
        let is_before = |key: Option<Key>, behind: Option<Key>| match (key, behind) {
            (Some(key), Some(behind)) => key < behind,
            _ => true,
        };
        is_before(self.start, behind) && is_before(Some(start), self.behind)
    }
}

/// The intervals that elements make. An end that nothing begins is one without a start, unless it is the very first
/// address, where listing programs put one.
pub(crate) fn intervals(mut found: Vec<Found>) -> Vec<Interval> {
    found.sort_unstable_by_key(|found| (found.key, !found.is_end));
    let mut intervals: Vec<Interval> = Vec::with_capacity(found.len() / 2);
    let mut open: Option<Interval> = None;
    for element in found {
        match element.is_end {
            false => {
                intervals.extend(open.take());
                open = Some(Interval {
                    start: Some(element.key),
                    behind: None,
                    left: element.left,
                });
            }
            true => match open.take() {
                Some(interval) => intervals.push(Interval {
                    behind: Some(element.key),
                    ..interval
                }),
                None if is_first(&element.key) => {}
                None => intervals.push(Interval {
                    start: None,
                    behind: Some(element.key),
                    left: None,
                }),
            },
        }
    }
    intervals.extend(open);
    intervals
}

fn is_first(key: &Key) -> bool {
    key.bytes().iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn element(address: &str, is_end: bool) -> Found {
        Found {
            key: Key::of(address.parse().unwrap()),
            is_end,
            left: (!is_end).then_some(Duration::from_secs(60)),
        }
    }

    fn shown(found: Vec<Found>) -> Vec<Option<String>> {
        let intervals = intervals(found);
        let target = |interval: &Interval| interval.target(true).map(|target| target.to_string());
        intervals.iter().map(target).collect()
    }

    #[test]
    fn begins_and_ends_are_networks_in_whatever_order_they_come() {
        let found = vec![
            element("203.0.114.0", true),
            element("203.0.113.0", false),
            element("192.0.2.64", true),
            element("0.0.0.0", true),
            element("192.0.2.64", false),
            element("192.0.2.0", false),
            element("192.0.2.128", true),
        ];
        let wanted = ["192.0.2.0/26", "192.0.2.64/26", "203.0.113.0/24"].map(|net| Some(net.to_owned()));
        assert_eq!(shown(found), wanted);
        assert_eq!(
            shown(vec![element("255.255.255.0", false)]),
            [Some("255.255.255.0/24".into())]
        );
    }

    #[test]
    fn what_is_no_network_or_too_wide_a_one_is_no_target() {
        for (start, behind) in [
            ("10.0.0.0", "10.1.0.0"),
            ("10.0.0.5", "10.0.0.9"),
            ("10.0.0.1", "10.0.0.0"),
        ] {
            let shown = shown(vec![element(start, false), element(behind, true)]);
            assert!(shown.iter().all(Option::is_none), "{start} {shown:?}");
        }
        let alone = intervals(vec![element("10.0.0.5", true)]);
        assert_eq!(alone[0].target(true), None);
        assert_eq!(alone[0].keys().count(), 1);
    }

    #[test]
    fn an_interval_meets_the_networks_that_it_has_addresses_of() {
        let found = vec![element("10.0.0.5", false), element("10.0.0.9", true)];
        let interval = intervals(found)[0];
        for (net, meets) in [
            ("10.0.0.0/30", false),
            ("10.0.0.4/30", true),
            ("10.0.0.8/30", true),
            ("10.0.0.12/30", false),
            ("10.0.0.0/24", true),
        ] {
            assert_eq!(interval.meets(net.parse().unwrap()), meets, "{net}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_as_elements_are_intervals_of_all_their_keys(keys in prop::collection::vec((any::<[u8; 4]>(), any::<bool>()), 0..40)) {
            let found: Vec<_> = keys.iter().map(|(key, is_end)| Found { key: Key::new(key).unwrap(), is_end: *is_end, left: None }).collect();
            let firsts = found.iter().filter(|found| found.is_end && is_first(&found.key)).count();
            let all: usize = intervals(found).iter().map(|interval| interval.keys().count()).sum();
            prop_assert!(all <= keys.len() && all + firsts >= keys.len());
        }
    }
}
