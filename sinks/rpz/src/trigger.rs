//! Names of triggers: what of a question or an answer is policed.
//!
//! In: a network, made of a parsed address. Out: its owner name within the policy zone, in the one spelling that servers
//! take, and back.
//!
//! Invariants: 1. the name is made of numbers alone, never of text. 2. It is canonical (host bits zero, hex in small
//! letters without leading zeros, the longest run of two or more zero groups as `zz`, the first of equally long ones):
//! BIND stores any other spelling, answers NOERROR and then does nothing. 3. What reads back, reads back to the same
//! name; nothing else is read. 4. Everybody (a prefix of 0) is never named.
//!
//! A trigger that names a *question* (QNAME) would be one more [`Kind`]; none is made here, since such names would have
//! to be taken from what a peer sent.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// What is compared with the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The address of whoever asks.
    ClientIp,
    /// An address in the answer.
    Ip,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::ClientIp, Self::Ip];

    /// The word in `triggers`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::ClientIp => "client-ip",
            Self::Ip => "ip",
        }
    }

    /// The label below the policy zone.
    pub const fn label(self) -> &'static str {
        match self {
            Self::ClientIp => "rpz-client-ip",
            Self::Ip => "rpz-ip",
        }
    }

    fn of_label(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.label() == label)
    }
}

/// A trigger. Shown as the name below the policy zone, `32.7.113.0.203.rpz-client-ip`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Trigger {
    /// What is compared.
    pub kind: Kind,
    /// With which network; host bits are zero.
    pub net: IpNet,
}

impl Trigger {
    /// A trigger; host bits are made zero.
    pub fn new(kind: Kind, net: IpNet) -> Self {
        Self { kind, net: net.trunc() }
    }

    /// Reads a name below the policy zone; `None` if it is none of ours, or not in the canonical spelling.
    pub fn parse(name: &str) -> Option<Self> {
        let (encoded, label) = name.rsplit_once('.')?;
        let trigger = Self::new(Kind::of_label(label)?, network(encoded)?);
        (trigger.to_string() == name && trigger.net.prefix_len() > 0).then_some(trigger)
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.", self.net.prefix_len())?;
        match self.net {
            IpNet::V4(net) => {
                let [a, b, c, d] = net.addr().octets();
                write!(f, "{d}.{c}.{b}.{a}.")?;
            }
            IpNet::V6(net) => groups(net.addr().segments(), f)?,
        }
        f.write_str(self.kind.label())
    }
}

/// The groups of an IPv6 address from the last to the first, each with a dot behind it.
fn groups(groups: [u16; 8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (start, length) = zeros(groups);
    for (at, group) in groups.iter().enumerate().rev() {
        match (start..start + length).contains(&at) {
            false => write!(f, "{group:x}.")?,
            true if at == start => f.write_str("zz.")?,
            true => {}
        }
    }
    Ok(())
}

/// Where the first of the longest runs of two or more zero groups begins, and how long it is; 0 if there is none.
fn zeros(groups: [u16; 8]) -> (usize, usize) {
    let mut best = (0, 0);
    let mut run = 0;
    for (at, group) in groups.iter().enumerate() {
        run = if *group == 0 { run + 1 } else { 0 };
        if run >= 2 && run > best.1 {
            best = (at + 1 - run, run);
        }
    }
    best
}

/// Reads what stands before the label, loosely: the caller compares it with how it is written.
fn network(encoded: &str) -> Option<IpNet> {
    let (prefix, address) = encoded.split_once('.')?;
    let prefix: u8 = prefix.parse().ok()?;
    let parts: Vec<&str> = address.rsplit('.').take(GROUPS + 1).collect();
    if let Some(v4) = octets(&parts) {
        return Some(IpNet::V4(Ipv4Net::new(v4, prefix).ok()?));
    }
    Some(IpNet::V6(Ipv6Net::new(segments(&parts)?, prefix).ok()?))
}

/// Groups of an IPv6 address.
const GROUPS: usize = 8;

fn octets(parts: &[&str]) -> Option<Ipv4Addr> {
    let [a, b, c, d] = parts else { return None };
    let octet = |part: &str| part.parse::<u8>().ok();
    // With a `zz` it is an IPv6 address of as many parts.
    Some(Ipv4Addr::new(octet(a)?, octet(b)?, octet(c)?, octet(d)?))
}

fn segments(parts: &[&str]) -> Option<Ipv6Addr> {
    let mut groups = Vec::with_capacity(GROUPS);
    for part in parts {
        match *part {
            "zz" => groups.resize((GROUPS + 1 + groups.len()).checked_sub(parts.len())?, 0),
            hex => groups.push(u16::from_str_radix(hex, 16).ok()?),
        }
        if groups.len() > GROUPS {
            return None;
        }
    }
    <[u16; GROUPS]>::try_from(groups).ok().map(Ipv6Addr::from)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;

    fn name(net: &str) -> String {
        Trigger::new(Kind::Ip, net.parse().unwrap()).to_string()
    }

    #[test]
    fn networks_are_written_as_servers_take_them() {
        for (net, written) in [
            ("203.0.113.77/32", "32.77.113.0.203"),
            ("192.0.2.0/24", "24.0.2.0.192"),
            ("203.0.113.0/25", "25.0.113.0.203"),
            ("203.0.113.9/25", "25.0.113.0.203"),
            ("2001:db8:5:1::/64", "64.zz.1.5.db8.2001"),
            ("2001:db8:5:1::9/128", "128.9.zz.1.5.db8.2001"),
            ("2001:db8:1:2:3:4:5:6/128", "128.6.5.4.3.2.1.db8.2001"),
            ("2001:db8:77:0:1::5/128", "128.5.zz.1.0.77.db8.2001"),
            // BIND said so when given the other run.
            ("2001:db8:0:0:1:0:0:5/128", "128.5.0.0.1.zz.db8.2001"),
            ("2001:6:5:0:3:2:1:5/128", "128.5.1.2.3.0.5.6.2001"),
            ("2001:0:1::/48", "48.zz.1.0.2001"),
            ("2001::1:0:0/128", "128.0.0.1.zz.2001"),
            ("::1/128", "128.1.zz"),
            ("2001::/48", "48.zz.2001"),
        ] {
            assert_eq!(name(net), format!("{written}.rpz-ip"), "{net}");
            let client = Trigger::new(Kind::ClientIp, net.parse().unwrap());
            assert_eq!(client.to_string(), format!("{written}.rpz-client-ip"), "{net}");
        }
    }

    #[test]
    fn any_other_spelling_is_not_read() {
        for name in [
            "128.5.0.0.1.0.77.db8.2001.rpz-ip",
            "128.5.0.0.1.zz.77.db8.2001.rpz-ip",
            "128.5.zz.1.0.0.db8.2001.rpz-ip",
            "128.5.zz.1.zz.db8.2001.rpz-ip",
            "24.9.2.0.192.rpz-ip",
            "33.9.2.0.192.rpz-ip",
            "032.9.2.0.192.rpz-ip",
            "32.09.2.0.192.rpz-ip",
            "128.DB8.zz.2001.rpz-ip",
            "0.0.0.0.0.rpz-ip",
            "0.zz.rpz-ip",
            "32.2.0.192.rpz-ip",
            "32.1.9.2.0.192.rpz-ip",
            "32.9.2.0.192.rpz-nsip",
            "32.9.2.0.192",
            "rpz-ip",
            "",
        ] {
            assert_eq!(Trigger::parse(name), None, "{name}");
        }
    }

    fn any_trigger() -> impl Strategy<Value = Trigger> {
        let v4 = (any::<u32>(), 1..=32u8).prop_map(|(bits, prefix)| (IpAddr::from(Ipv4Addr::from(bits)), prefix));
        // Many zero groups, so that runs and ties are frequent.
        let groups = prop::array::uniform8(prop_oneof![Just(0u16), Just(0), 1..=9u16, any::<u16>()]);
        let v6 = (groups, 1..=128u8).prop_map(|(groups, prefix)| (IpAddr::from(Ipv6Addr::from(groups)), prefix));
        let kind = prop::sample::select(&Kind::ALL[..]);
        (prop_oneof![v4, v6], kind)
            .prop_map(|((address, prefix), kind)| Trigger::new(kind, IpNet::new(address, prefix).unwrap()))
    }

    proptest! {
        #[test]
        fn a_trigger_reads_back_from_its_name(trigger in any_trigger()) {
            prop_assert_eq!(Trigger::parse(&trigger.to_string()), Some(trigger));
            prop_assert_eq!(trigger.net, trigger.net.trunc());
        }

        #[test]
        fn any_bytes_are_a_trigger_with_that_very_name_or_none(name in "[0-9a-fz.]{0,40}(\\.rpz-ip|\\.rpz-client-ip)?|.{0,40}") {
            if let Some(trigger) = Trigger::parse(&name) {
                prop_assert_eq!(trigger.to_string(), name);
            }
        }
    }
}
