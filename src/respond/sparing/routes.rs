//! What rtnetlink says of this host's addresses and routes.
//!
//! In: the answers to dumps. Out: [`Learned`]. No I/O.
//!
//! Layout: messages and attributes as of [`crate::record::neighbours`]; `ifaddrmsg` is 8 bytes, `rtmsg` 12, `nhmsg` 8,
//! `rtnexthop` 8, in native byte order. Source: rtnetlink(7), linux/{if_addr,rtnetlink,nexthop}.h.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use crate::record::neighbours::{ip, number, part};

pub(super) const HEADER: usize = 16;
pub(super) const NLMSG_ERROR: u16 = 2;
pub(super) const NLMSG_DONE: u16 = 3;
pub(super) const RTM_NEWADDR: u16 = 20;
pub(super) const RTM_NEWROUTE: u16 = 24;
pub(super) const RTM_NEWNEXTHOP: u16 = 104;
/// NLM_F_DUMP_INTR: something changed while it was told.
const INTERRUPTED: u16 = 0x10;
/// Kinds carry flags in their upper bits.
const KIND_MASK: u16 = 0x3fff;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_ANYCAST: u16 = 5;
/// IFA_F_DADFAILED: another host has the address.
const OF_ANOTHER: u8 = 0x08;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
const RTA_VIA: u16 = 18;
const NHA_GATEWAY: u16 = 6;
/// RTM_F_CLONED: no route but what was learned of one, as from an ICMP redirect.
const CLONED: u32 = 0x200;
/// RTPROT_REDIRECT.
const REDIRECT: u8 = 1;
const RTN_UNICAST: u8 = 1;
const RTN_LOCAL: u8 = 2;
const RTN_BROADCAST: u8 = 3;
const RTN_ANYCAST: u8 = 4;
/// RT_TABLE_LOCAL.
const TABLE_LOCAL: u32 = 255;

/// Widest network that a local route makes this host's own. Transparent proxies have routes that make everything local.
const OWN_PREFIX_MIN_V4: u8 = 8;
const OWN_PREFIX_MIN_V6: u8 = 32;
/// Most entries of each kind: no host has as many by honest means.
pub(super) const ENTRIES_MAX: usize = 16_384;

/// What a host has, and where it sends to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Learned {
    /// Addresses and networks of its own, with the number of the link, 0 if that is not known.
    pub own: BTreeMap<IpNet, u32>,
    /// First and last addresses of its networks.
    pub broadcasts: BTreeSet<IpAddr>,
    /// Gateways of all routes, with the number of the link.
    pub gateways: BTreeMap<IpAddr, u32>,
    /// Networks that routes of the table `local` make its own, and that are too wide to be true.
    pub too_wide: BTreeSet<IpNet>,
    /// Whether there was more than is kept.
    pub is_cut: bool,
    /// Whether something changed while it was told: some may be missing.
    pub is_torn: bool,
    /// The other ends of links between two.
    peers: BTreeMap<IpAddr, u32>,
    /// Links that a default route without a gateway leads to.
    ways_out: BTreeSet<u32>,
}

/// How an answer goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// More is to come.
    Open,
    /// That was all.
    Done,
    /// The kernel's error, positive.
    Failed(i32),
}

impl Learned {
    /// Takes in a datagram of an answer to the request with this number.
    pub fn take(&mut self, mut bytes: &[u8], sequence: u32) -> Answer {
        while let Some((message, rest)) = part::<4>(bytes, HEADER) {
            bytes = rest;
            if long(message, 8) != Some(sequence) {
                continue;
            }
            self.is_torn |= number(message, 6).unwrap_or(0) & INTERRUPTED != 0;
            let body = message.get(HEADER..).unwrap_or_default();
            match number(message, 4).unwrap_or(0) {
                NLMSG_ERROR | NLMSG_DONE if failure(body) != 0 => return Answer::Failed(failure(body)),
                NLMSG_DONE => return Answer::Done,
                RTM_NEWADDR => drop(self.address(body)),
                RTM_NEWROUTE => drop(self.route(body)),
                RTM_NEWNEXTHOP => drop(self.nexthop(body)),
                _ => {}
            }
        }
        Answer::Open
    }

    /// All gateways: also the other end of a link that everything goes out by.
    pub fn gateways(&self) -> impl Iterator<Item = (IpAddr, u32)> + '_ {
        let ends = self.peers.iter().filter(|(_, link)| self.ways_out.contains(link));
        self.gateways
            .iter()
            .chain(ends)
            .map(|(address, link)| (*address, *link))
    }

    fn address(&mut self, body: &[u8]) -> Option<()> {
        let [family, prefix, flags, _] = *body.first_chunk()?;
        let link = long(body, 4)?;
        if !is_ip(family) || flags & OF_ANOTHER != 0 {
            return None;
        }
        let (mut address, mut local) = (None, None);
        for (kind, value) in attributes(body.get(8..)?) {
            match kind {
                IFA_ADDRESS => address = ip(value),
                IFA_LOCAL => local = ip(value),
                IFA_ANYCAST => self.add_own(ip(value)?.into(), link),
                IFA_BROADCAST => self.add_broadcast(ip(value)?),
                _ => {}
            }
        }
        if let Some(own) = local.or(address) {
            self.add_own(own.into(), link);
        }
        let on_link = IpNet::new(address?, prefix).ok()?;
        if let IpNet::V4(net) = on_link
            && net.prefix_len() <= 30
        {
            self.add_broadcast(net.network().into());
            self.add_broadcast(net.broadcast().into());
        }
        if local.is_some_and(|local| Some(local) != address) && self.peers.len() < ENTRIES_MAX {
            self.peers.insert(address?, link);
        }
        Some(())
    }

    fn route(&mut self, body: &[u8]) -> Option<()> {
        let [family, prefix, _, _, table, protocol, _, kind] = *body.first_chunk()?;
        if !is_ip(family) || protocol == REDIRECT || long(body, 8)? & CLONED != 0 {
            return None;
        }
        let mut route = Route {
            link: 0,
            table: u32::from(table),
            destination: unspecified(family),
            hops: Vec::new(),
        };
        for (kind, value) in attributes(body.get(12..)?) {
            route.attribute(kind, value);
        }
        let net = IpNet::new(route.destination, prefix).ok()?.trunc();
        match kind {
            RTN_LOCAL | RTN_ANYCAST => self.add_local(net, &route),
            RTN_BROADCAST => self.add_broadcast(net.addr()),
            RTN_UNICAST if prefix == 0 => self.ways_out.extend(route.ways_out()),
            _ => {}
        }
        for (gateway, link) in &route.hops {
            // The link of a route with one way may be told after its gateway.
            let link = if *link == 0 { route.link } else { *link };
            if let Some(gateway) = gateway {
                self.add_gateway(*gateway, link);
            }
        }
        Some(())
    }

    fn nexthop(&mut self, body: &[u8]) -> Option<()> {
        for (kind, value) in attributes(body.get(8..)?) {
            if kind == NHA_GATEWAY {
                self.add_gateway(ip(value)?, 0);
            }
        }
        Some(())
    }

    /// One of the table `local` may make a whole network this host's own; another's is a way to a proxy unless it is of
    /// one address.
    fn add_local(&mut self, net: IpNet, route: &Route) {
        let is_host = net.prefix_len() == net.max_prefix_len();
        let least = match net {
            IpNet::V4(_) => OWN_PREFIX_MIN_V4,
            IpNet::V6(_) => OWN_PREFIX_MIN_V6,
        };
        let fits = net.prefix_len() >= least;
        if is_host || (fits && route.table == TABLE_LOCAL) {
            self.add_own(net, route.link);
        } else if route.table == TABLE_LOCAL && self.too_wide.len() < ENTRIES_MAX {
            self.too_wide.insert(net);
        }
    }

    fn add_own(&mut self, net: IpNet, link: u32) {
        self.is_cut |= self.own.len() >= ENTRIES_MAX;
        if self.own.len() < ENTRIES_MAX {
            let known = self.own.entry(net).or_default();
            *known = (*known).max(link);
        }
    }

    fn add_broadcast(&mut self, address: IpAddr) {
        self.is_cut |= self.broadcasts.len() >= ENTRIES_MAX;
        if self.broadcasts.len() < ENTRIES_MAX {
            self.broadcasts.insert(address);
        }
    }

    fn add_gateway(&mut self, address: IpAddr, link: u32) {
        self.is_cut |= self.gateways.len() >= ENTRIES_MAX;
        if !address.is_unspecified() && self.gateways.len() < ENTRIES_MAX {
            let known = self.gateways.entry(address).or_default();
            *known = (*known).max(link);
        }
    }
}

struct Route {
    link: u32,
    table: u32,
    destination: IpAddr,
    /// Gateways, if any, and links.
    hops: Vec<(Option<IpAddr>, u32)>,
}

impl Route {
    fn attribute(&mut self, kind: u16, value: &[u8]) {
        match kind {
            RTA_DST => self.destination = ip(value).unwrap_or(self.destination),
            RTA_OIF => self.link = long(value, 0).unwrap_or(0),
            RTA_TABLE => self.table = long(value, 0).unwrap_or(self.table),
            RTA_GATEWAY => self.hops.push((ip(value), self.link)),
            RTA_VIA => self.hops.push((via(value), self.link)),
            RTA_MULTIPATH => self.hops.extend(hops(value)),
            _ => {}
        }
    }

    /// Links that it leads to without a gateway.
    fn ways_out(&self) -> Vec<u32> {
        let of_hops = self.hops.iter().filter(|(gateway, _)| gateway.is_none());
        match self.hops.is_empty() {
            true => vec![self.link],
            false => of_hops.map(|(_, link)| *link).collect(),
        }
    }
}

/// The ways of a route that has several.
fn hops(mut bytes: &[u8]) -> Vec<(Option<IpAddr>, u32)> {
    let mut hops = Vec::new();
    while let Some((hop, rest)) = part::<2>(bytes, 8) {
        let link = long(hop, 4).unwrap_or(0);
        let gateways = attributes(hop.get(8..).unwrap_or_default()).filter_map(|(kind, value)| match kind {
            RTA_GATEWAY => ip(value),
            RTA_VIA => via(value),
            _ => None,
        });
        let before = hops.len();
        hops.extend(gateways.map(|gateway| (Some(gateway), link)));
        if hops.len() == before {
            hops.push((None, link));
        }
        bytes = rest;
    }
    hops
}

/// A gateway of the other family: the family in two bytes, then the address.
fn via(value: &[u8]) -> Option<IpAddr> {
    ip(value.get(2..)?)
}

fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (attribute, rest) = part::<2>(bytes, 4)?;
        bytes = rest;
        Some((number(attribute, 2)? & KIND_MASK, attribute.get(4..)?))
    })
}

fn long(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(four.try_into().ok()?))
}

/// The error that an answer ends with; 0 is none.
fn failure(body: &[u8]) -> i32 {
    long(body, 0).map_or(0, |number| number.cast_signed().saturating_neg().max(0))
}

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

const fn is_ip(family: u8) -> bool {
    matches!(family, AF_INET | AF_INET6)
}

fn unspecified(family: u8) -> IpAddr {
    match family {
        AF_INET => Ipv4Addr::UNSPECIFIED.into(),
        _ => std::net::Ipv6Addr::UNSPECIFIED.into(),
    }
}

#[cfg(test)]
#[path = "routes_tests.rs"]
mod tests;
