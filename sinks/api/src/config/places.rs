//! Where a sink sends to, as far as its table tells.

use std::net::IpAddr;

use super::ExposeSecret;
use super::key::KeyKind;
use super::table::{Checked, Table};
use crate::dial::Address;

/// Stands in for a port that is not written; nobody connects to it.
const ANY_PORT: u16 = 1;

impl Table {
    /// The hosts that its values name: those of addresses, and of URLs and of `host:port` in other texts. Of a secret
    /// that is a URL the host alone. No path of a socket, and nothing from tables of the user's own keys.
    ///
    /// Where no port is written, the port of an address means nothing.
    pub fn places(&self) -> Vec<Address> {
        let mut places = Vec::new();
        for cell in self.cells.values() {
            match &cell.value {
                Some(Checked::Text(text)) if matches!(cell.key.kind, KeyKind::Address) => {
                    places.extend(of_address(text));
                }
                Some(Checked::Text(text)) => places.extend(of_text(text)),
                Some(Checked::Texts(texts)) => places.extend(texts.iter().filter_map(|text| of_text(text))),
                Some(Checked::Secret(secret)) => places.extend(of_url(secret.expose_secret())),
                Some(Checked::Table(table)) => places.extend(table.places()),
                _ => {}
            }
        }
        places
    }
}

fn of_address(text: &str) -> Option<Address> {
    of_url(text).or_else(|| Address::parse(text, Some(ANY_PORT)))
}

/// A lone word may be anything, and so may a word before a number.
fn of_text(text: &str) -> Option<Address> {
    let is_host = |place: &Address| place.host.contains(['.', ':']);
    let is_literal = text.parse::<IpAddr>().is_ok();
    let port = is_literal.then_some(ANY_PORT);
    of_url(text).or_else(|| Address::parse(text, port).filter(is_host))
}

fn of_url(text: &str) -> Option<Address> {
    let (scheme, rest) = text.trim().split_once("://")?;
    let is_scheme = scheme
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    let (authority, _) = rest.split_at(rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = host.strip_suffix(':').unwrap_or(host);
    Address::parse(host, Some(ANY_PORT)).filter(|_| is_scheme)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::Key;

    const NESTED: &[Key] = &[Key::optional("proxy", KeyKind::Address, "")];
    const KEYS: &[Key] = &[
        Key::optional("address", KeyKind::Address, ""),
        Key::default("endpoint", KeyKind::Address, "\"https://api.example/v1\"", ""),
        Key::optional("webhook", KeyKind::Secret, ""),
        Key::optional("name", KeyKind::Text, ""),
        Key::optional("list", KeyKind::Texts, ""),
        Key::optional("tls", KeyKind::OffOr(NESTED), ""),
        Key::optional("more", KeyKind::Values, ""),
    ];

    fn places(toml: &str) -> Vec<String> {
        let (table, _) = Table::for_test(toml, KEYS);
        table.places().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn hosts_are_found_in_addresses_urls_lists_and_tables_within() {
        let toml = r#"
            address = "siem.example:6514"
            endpoint = "https://me:hush@[2001:db8::1]:8088/hush?x=@y"
            webhook = "https://hooks.example/services/hush"
            name = "http://other.example"
            list = ["kafka-1.example:9092", "192.0.2.1:9092", "192.0.2.2", "a.b", "env:1", "x=y"]
            tls = { proxy = "proxy.example" }
            more = { link = "https://not.example" }
        "#;
        let found = [
            "siem.example:6514",
            "[2001:db8::1]:8088",
            "kafka-1.example:9092",
            "192.0.2.1:9092",
            "192.0.2.2:1",
            "other.example:1",
            "proxy.example:1",
            "hooks.example:1",
        ];
        assert_eq!(places(toml), found);
    }

    #[test]
    fn a_default_is_a_place_and_a_socket_or_a_word_is_none() {
        let toml = "address = '/dev/log'\nname = 'trapline'\nwebhook = 'xoxb-1-2'\ntls = 'off'";
        assert_eq!(places(toml), ["api.example:1"]);
        assert_eq!(places("address = 'unix:///run/x'"), ["api.example:1"]);
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_place_or_none(text in "[ -~]{0,40}") {
            for place in [of_address(&text), of_text(&text), of_url(&text)].into_iter().flatten() {
                prop_assert!(!place.host.is_empty() && !place.host.contains(['/', '@', ' ']), "{place}");
            }
        }
    }
}
