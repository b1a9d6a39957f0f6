//! Names and MACs of a DHCP server's leases.
//!
//! Three layouts, told apart by what they begin with: dnsmasq (`EXPIRY MAC ADDRESS NAME CLIENT-ID`, a line a lease),
//! ISC dhcpd (`lease ADDRESS { … }`, the last one of an address counts), Kea's CSV memfile (a line of names, then a line
//! a lease, likewise). Bounds: [`LEASES_MAX`]; what cannot be read is counted.
//!
//! Source: dnsmasq(8), dhcpd.leases(5), Kea ARM "Memfile".

use std::collections::HashMap;
use std::net::IpAddr;

use smol_str::SmolStr;
use trapline_schemas::text;

/// Most leases.
pub const LEASES_MAX: usize = 262_144;
/// Longest host name, RFC 1035.
const NAME_CHARS_MAX: usize = 253;

/// What a lease says of an address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lease {
    /// The name that the client gave itself.
    pub name: Option<SmolStr>,
    /// Its MAC, as ECS writes it.
    pub mac: Option<SmolStr>,
}

/// Leases by address.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Leases {
    /// The leases.
    pub by_address: HashMap<IpAddr, Lease>,
    /// Lines, or leases of more lines, that could not be read.
    pub unread: u64,
}

impl Leases {
    /// Reads a file of leases.
    pub fn read(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let mut leases = Self::default();
        let first = text
            .lines()
            .map(str::trim)
            .find(|line| !line.is_empty() && !line.starts_with('#'));
        match first {
            Some(line) if line.starts_with("address,") => leases.read_kea(bytes),
            Some(line) if is_dhcpd(line) => leases.read_dhcpd(&text),
            _ => text.lines().for_each(|line| leases.read_dnsmasq(line)),
        }
        leases
    }

    fn put(&mut self, address: &str, lease: Option<Lease>) -> bool {
        let Ok(address) = address.parse::<IpAddr>() else {
            return false;
        };
        match lease {
            None => drop(self.by_address.remove(&address)),
            Some(lease) if self.by_address.len() < LEASES_MAX => drop(self.by_address.insert(address, lease)),
            Some(_) => return false,
        }
        true
    }

    /// `1700000000 00:00:5e:00:53:23 10.0.0.5 ws-0417 01:00:…`; of IPv6 the second word is no MAC.
    fn read_dnsmasq(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let good = match words[..] {
            [] | ["duid", _] => true,
            [expiry, mac, address, host, ..] if expiry.parse::<u64>().is_ok() => {
                let lease = Lease {
                    name: name(host),
                    mac: text::mac(mac.as_bytes()),
                };
                self.put(address, Some(lease))
            }
            _ => false,
        };
        self.unread += u64::from(!good);
    }

    fn read_dhcpd(&mut self, text: &str) {
        let mut open: Option<(String, Lease, bool)> = None;
        for line in text.lines().map(str::trim) {
            if let Some(address) = line.strip_prefix("lease ").and_then(|rest| rest.strip_suffix('{')) {
                self.unread += u64::from(open.is_some());
                open = Some((address.trim().to_owned(), Lease::default(), true));
            } else if line.starts_with('}') {
                if let Some((address, lease, is_active)) = open.take() {
                    let good = self.put(&address, is_active.then_some(lease));
                    self.unread += u64::from(!good);
                }
            } else if let Some((_, lease, is_active)) = &mut open {
                note_dhcpd(line.trim_end_matches(';'), lease, is_active);
            }
        }
        // The server was writing when it was read.
        self.unread += u64::from(open.is_some());
    }

    fn read_kea(&mut self, bytes: &[u8]) {
        let mut lines = csv::ReaderBuilder::new().flexible(true).from_reader(bytes);
        let names = lines.headers().cloned().unwrap_or_default();
        let column = |name: &str| names.iter().position(|one| one == name);
        let (address, mac, host, state) = (column("address"), column("hwaddr"), column("hostname"), column("state"));
        for line in lines.byte_records() {
            let Ok(line) = line else {
                self.unread += 1;
                continue;
            };
            let cell = |at: Option<usize>| at.and_then(|at| std::str::from_utf8(line.get(at)?).ok());
            let lease = Lease {
                name: cell(host).and_then(name),
                mac: cell(mac).and_then(|mac| text::mac(mac.as_bytes())),
            };
            let is_active = matches!(cell(state), None | Some("0" | ""));
            let good = self.put(cell(address).unwrap_or_default(), is_active.then_some(lease));
            self.unread += u64::from(!good);
        }
    }
}

fn is_dhcpd(line: &str) -> bool {
    ["lease ", "authoring-byte-order", "server-duid", "failover "]
        .iter()
        .any(|word| line.starts_with(word))
}

fn note_dhcpd(line: &str, lease: &mut Lease, is_active: &mut bool) {
    if let Some(mac) = line.strip_prefix("hardware ethernet ") {
        lease.mac = text::mac(mac.trim().as_bytes());
    } else if let Some(host) = line.strip_prefix("client-hostname ") {
        lease.name = name(host.trim().trim_matches('"'));
    } else if let Some(state) = line.strip_prefix("binding state ") {
        *is_active = state.trim() == "active";
    }
}

/// A name, unless there is none.
fn name(text: &str) -> Option<SmolStr> {
    let text = text.trim_end_matches('.');
    (!matches!(text, "" | "*")).then(|| text::clean_within(text.as_bytes(), NAME_CHARS_MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(leases: &Leases, address: &str) -> (Option<String>, Option<String>) {
        let lease = leases
            .by_address
            .get(&address.parse().unwrap())
            .cloned()
            .unwrap_or_default();
        (
            lease.name.map(|name| name.to_string()),
            lease.mac.map(|mac| mac.to_string()),
        )
    }

    fn both(name: &str, mac: &str) -> (Option<String>, Option<String>) {
        (Some(name.to_owned()), Some(mac.to_owned()))
    }

    #[test]
    fn dnsmasq_writes_a_line_a_lease() {
        let leases = Leases::read(
            b"1700000000 00:00:5e:00:53:23 10.0.0.5 ws-0417 01:00:00:5e:00:53:23\n\
              0 00:00:5e:00:53:24 10.0.0.6 * *\n\
              broken line\n\
              duid 00:01:00:01:2a\n\
              1700000000 1543503872 2001:db8::7 ws6 00:01\n",
        );
        assert_eq!(of(&leases, "10.0.0.5"), both("ws-0417", "00-00-5E-00-53-23"));
        assert_eq!(of(&leases, "10.0.0.6"), (None, Some("00-00-5E-00-53-24".to_owned())));
        assert_eq!(of(&leases, "2001:db8::7"), (Some("ws6".to_owned()), None));
        assert_eq!(leases.unread, 1);
    }

    #[test]
    fn dhcpd_tells_the_last_state_of_a_lease_last() {
        let leases = Leases::read(
            b"# The format of this file is documented in the dhcpd.leases(5) manual page.\n\
              authoring-byte-order little-endian;\n\n\
              lease 10.0.0.5 {\n  starts 4 2026/03/05 10:00:00;\n  binding state active;\n  \
              hardware ethernet 00:00:5e:00:53:23;\n  client-hostname \"old\";\n}\n\
              lease 10.0.0.5 {\n  binding state active;\n  next binding state free;\n  \
              hardware ethernet 00:00:5e:00:53:23;\n  client-hostname \"ws-0417\";\n}\n\
              lease 10.0.0.9 {\n  binding state active;\n}\n\
              lease 10.0.0.9 {\n  binding state free;\n}\n\
              lease 10.0.0.10 {\n  binding",
        );
        assert_eq!(of(&leases, "10.0.0.5"), both("ws-0417", "00-00-5E-00-53-23"));
        assert_eq!(leases.by_address.len(), 1, "what is free is nobody's");
        assert_eq!(leases.unread, 1, "the one that was being written");
    }

    #[test]
    fn kea_writes_csv() {
        let leases = Leases::read(
            b"address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context\n\
              10.0.0.5,00:00:5e:00:53:23,,4000,1700000000,1,0,0,ws-0417.example.,0,\n\
              10.0.0.6,00:00:5e:00:53:24,,4000,1700000000,1,0,0,declined,1,\n",
        );
        assert_eq!(of(&leases, "10.0.0.5"), both("ws-0417.example", "00-00-5E-00-53-23"));
        assert_eq!(leases.by_address.len(), 1);
    }

    proptest! {
        #[test]
        fn any_bytes_are_leases_or_counted(bytes in prop::collection::vec(any::<u8>(), 0..200), begins in prop::sample::select(vec!["", "address,hwaddr\n", "lease 10.0.0.1 {\n", "1 00:00:5e:00:53:23 "])) {
            let leases = Leases::read(&[begins.as_bytes(), &bytes].concat());
            for lease in leases.by_address.values() {
                prop_assert!(lease.name.iter().all(|name| text::is_clean(name)));
            }
        }
    }
}
