//! What the host knows of the network around it.

use std::net::IpAddr;
use std::path::Path;

/// Where a stub resolver writes those it asks, and where everybody else does.
const RESOLVER_FILES: [&str; 2] = ["/run/systemd/resolve/resolv.conf", "/etc/resolv.conf"];

/// Most resolvers that are taken from a file.
const RESOLVERS_MAX: usize = 16;

/// The resolvers of this host, as resolv.conf(5) names them; none if it has none, or a stub on loopback alone.
pub(super) fn resolvers() -> Vec<IpAddr> {
    let mut files = RESOLVER_FILES.iter().map(|path| read(Path::new(path)));
    files.find(|found| !found.is_empty()).unwrap_or_default()
}

fn read(path: &Path) -> Vec<IpAddr> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    named(&text)
}

fn named(text: &str) -> Vec<IpAddr> {
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        let address = (words.next()? == "nameserver").then(|| words.next())??;
        // A link-local address may name its link.
        let address: IpAddr = address.split('%').next()?.parse().ok()?;
        Some(address.to_canonical()).filter(|address| !address.is_loopback())
    };
    text.lines().filter_map(server).take(RESOLVERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_are_those_that_the_file_names_but_for_a_stub() {
        let text = "# made by hand\nsearch example.org\nnameserver 127.0.0.53\nnameserver 10.0.0.2 \nnameserver fe80::1%eth0\nnameserver\nnameserver x\n";
        let found: Vec<_> = named(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.0.0.2", "fe80::1"]);
    }
}
