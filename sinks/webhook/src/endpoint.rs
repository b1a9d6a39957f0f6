//! Where requests go: a literal URL, of which the path and the query may be the credential.

use std::net::IpAddr;

use reqwest::Url;
use trapline_sink::base_url::{harmless, has_login, host, objection_to_way};
use trapline_sink::config::{ExposeSecret, Table};
use trapline_sink::secret_url::SecretUrl;

/// Reads `url` or `secret_url`. What is wrong becomes a problem, and a harmless address stands in for it.
pub(crate) fn read(table: &Table) -> SecretUrl {
    match (table.is_set("url"), table.is_set("secret_url")) {
        (true, true) => table.problem("secret_url", "both `url` and `secret_url`", "one of them"),
        (false, false) => table.problem("url", "neither `url` nor `secret_url`", "one of them"),
        _ => {}
    }
    let secret = table.secret("secret_url");
    let (key, text) = match &secret {
        Some(secret) => ("secret_url", secret.expose_secret().trim().to_owned()),
        None => ("url", table.text("url")),
    };
    let found = Url::parse(&text).map_err(|_| "a URL such as `https://soar.example/hooks/honeyport`");
    match found.and_then(|url| objection(&url, table, secret.is_some()).map_or(Ok(url), Err)) {
        Ok(url) => SecretUrl::of(url),
        Err(allowed) => {
            match (key, table.is_set("url")) {
                ("secret_url", _) => table.problem(key, "a URL that cannot be asked", allowed),
                (_, true) => table.problem_with_address(key, allowed),
                (_, false) => {}
            }
            SecretUrl::of(harmless())
        }
    }
}

fn objection(url: &Url, table: &Table, is_secret: bool) -> Option<&'static str> {
    let address = host(url).parse::<IpAddr>();
    if url.fragment().is_some() || has_login(url) {
        Some("a URL without user, password or fragment; `username` and `password` are keys")
    } else if url.query().is_some() && !is_secret {
        Some("a URL without a query; with one it is a secret: `secret_url = \"${VARIABLE}\"`")
    } else if let Some(allowed) = objection_to_way(url, table.is_off("tls")) {
        Some(allowed)
    } else if address.is_ok_and(|address| !is_safe(address)) && !table.bool("allow_link_local") {
        Some("an address that is not link-local; such a one only with `allow_link_local = true`")
    } else {
        None
    }
}

/// Where the metadata of cloud hosts is served outside of the link-local networks.
const METADATA: &[IpAddr] = &[
    IpAddr::V4(std::net::Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(std::net::Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V6(std::net::Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

/// Whether an address may be asked without being allowed: none that is link-local, for all, or a cloud's metadata.
pub(crate) fn is_safe(address: IpAddr) -> bool {
    let address = address.to_canonical();
    let is_special = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_unspecified() || v4.is_broadcast() || v4.is_multicast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.is_unspecified() || v6.is_multicast(),
    };
    !is_special && !METADATA.contains(&address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_and_link_local_addresses_are_not_safe_in_any_spelling() {
        for unsafe_one in [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "fe80::1",
            "fd00:ec2::254",
            "100.100.100.200",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "255.255.255.255",
        ] {
            assert!(!is_safe(unsafe_one.parse().unwrap()), "{unsafe_one}");
        }
        for safe in ["192.0.2.1", "10.0.0.1", "127.0.0.1", "::1", "2001:db8::1", "fd00::1"] {
            assert!(is_safe(safe.parse().unwrap()), "{safe}");
        }
    }
}
