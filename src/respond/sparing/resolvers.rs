//! The name servers that this host asks, from resolv.conf(5) and what writes it.

use std::net::IpAddr;

use trapline_sink::set::Why;

use super::board::{Found, Row};
use super::files::Root;

/// resolv.conf, and those files in which whoever is a stub there writes whom it asks.
const FILES: [&str; 6] = [
    "/etc/resolv.conf",
    "/run/systemd/resolve/resolv.conf",
    "/run/NetworkManager/resolv.conf",
    "/run/NetworkManager/no-stub-resolv.conf",
    "/run/resolvconf/resolv.conf",
    "/run/dnsmasq/resolv.conf",
];

/// Most name servers of one file; the C library itself takes three.
const SERVERS_MAX: usize = 32;

/// Reads all there are; what is there and cannot be read is a note. Blocking.
pub(super) fn read(root: &Root) -> Found {
    let mut found = Found::default();
    for file in FILES {
        let text = found.or_note(root.text(file)).unwrap_or_default();
        let rows = named(&text).into_iter();
        found
            .rows
            .extend(rows.map(|address| Row::host(address, Why::Resolver, file)));
    }
    found
}

fn named(text: &str) -> Vec<IpAddr> {
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        let address = (words.next()? == "nameserver").then(|| words.next())??;
        // A link-local address may name its link.
        let address: IpAddr = address.split('%').next()?.parse().ok()?;
        Some(address.to_canonical()).filter(|address| !address.is_loopback())
    };
    text.lines().filter_map(server).take(SERVERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_name_server_of_every_file_is_found_but_for_a_stub() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["etc", "run/systemd/resolve"] {
            std::fs::create_dir_all(folder.path().join(path)).unwrap();
        }
        let stub = "# made by hand\nsearch example.org\nnameserver 127.0.0.53\nnameserver\nnameserver x\n";
        std::fs::write(folder.path().join("etc/resolv.conf"), stub).unwrap();
        let asked = "nameserver 192.0.2.53\n nameserver 2001:db8::53 \nnameserver ::ffff:192.0.2.54%eth0\n";
        std::fs::write(folder.path().join("run/systemd/resolve/resolv.conf"), asked).unwrap();
        let found = read(&Root::new(folder.path()));
        let rows: Vec<_> = found.rows.iter().map(|row| row.network.addr().to_string()).collect();
        assert_eq!(rows, ["192.0.2.53", "2001:db8::53", "192.0.2.54"]);
        assert!(
            found
                .rows
                .iter()
                .all(|row| &*row.from == FILES[1] && row.why == Why::Resolver)
        );
    }

    proptest! {
        #[test]
        fn any_bytes_name_servers_or_none(bytes in prop::collection::vec(any::<u8>(), 0..200), word in "nameserver [ -~]{0,40}") {
            let text = format!("{}\n{word}", String::from_utf8_lossy(&bytes));
            prop_assert!(named(&text).iter().all(|address| !address.is_loopback()));
            prop_assert!(named(&"nameserver 192.0.2.1\n".repeat(100)).len() <= SERVERS_MAX);
        }
    }
}
