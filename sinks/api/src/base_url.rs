//! URLs as keys of a sink's table.
//!
//! In: the text of an address key. Out: a URL that holds no secret and goes in clear only where that is harmless or was
//! asked for. What is wrong is told without showing more of it than host and port. For a URL that is itself the
//! credential there is [`crate::secret_url`]; the rules of the way hold for it as well ([`objection_to_way`]).

use std::net::IpAddr;

use reqwest::Url;

use crate::config::Table;

/// Reads the URL of `key`; `example` is one. A wrong one is told, and stood in for.
pub fn read(table: &Table, key: &str, example: &str) -> Url {
    read_with(table, key, example, |_| None)
}

/// Like [`read`], with a rule of the sink's own: what is allowed instead of a URL that breaks it.
pub fn read_with(table: &Table, key: &str, example: &str, rule: fn(&Url) -> Option<&'static str>) -> Url {
    let text = table.text(key);
    match Url::parse(&text) {
        Ok(url) => match objection(&url, table.is_off("tls")).or_else(|| rule(&url)) {
            None => return url,
            Some(allowed) => table.problem_with_address(key, allowed),
        },
        Err(_) if text.is_empty() && !table.is_set(key) => {}
        Err(_) => table.problem_with_address(key, &format!("a URL such as `{example}`")),
    }
    harmless()
}

/// What is wrong with a base URL: what is allowed instead.
pub fn objection(url: &Url, tls_off: bool) -> Option<&'static str> {
    if url.query().is_some() || url.fragment().is_some() || has_login(url) {
        Some("a base URL without user, password, query or fragment")
    } else {
        objection_to_way(url, tls_off)
    }
}

/// What is wrong with the way to a URL's host: it is encrypted, or leads to this machine, or to go in clear was asked for.
pub fn objection_to_way(url: &Url, tls_off: bool) -> Option<&'static str> {
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        Some("a URL with `https://` (or `http://` to this machine) and a host")
    } else if url.scheme() == "http" && !tls_off && !is_loopback(url) {
        Some("`https://`; `http://` goes to this machine only, or with `tls = \"off\"`")
    } else {
        None
    }
}

/// Whether there is a user or a password in it.
pub fn has_login(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

/// Its host, of an IPv6 address without the brackets.
pub fn host(url: &Url) -> &str {
    url.host_str().unwrap_or_default().trim_matches(['[', ']'])
}

/// Whether it is on this machine.
pub fn is_loopback(url: &Url) -> bool {
    let address = host(url).parse::<IpAddr>();
    host(url) == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// Stands in for a URL that is wrong, which is told.
pub fn harmless() -> Url {
    Url::parse("https://localhost").expect("a constant URL parses")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objection_to(url: &str, tls_off: bool) -> Option<&'static str> {
        objection(&Url::parse(url).unwrap(), tls_off)
    }

    #[test]
    fn a_base_url_is_encrypted_or_stays_on_this_machine() {
        for good in [
            "https://es.example:9200",
            "https://es.example/proxy/",
            "http://127.0.0.1:9200",
            "http://[::1]",
        ] {
            assert_eq!(objection_to(good, false), None, "{good}");
        }
        assert!(
            objection_to("http://es.example", false)
                .unwrap()
                .contains("tls = \"off\"")
        );
        assert_eq!(objection_to("http://es.example", true), None);
    }

    #[test]
    fn a_url_that_could_hold_a_secret_or_has_no_host_is_refused() {
        for bad in [
            "https://me:hush@h",
            "https://h/?token=hush",
            "https://h/#hush",
            "ftp://h",
            "unix:/run/x",
        ] {
            assert!(
                objection_to(bad, true).is_some_and(|allowed| !allowed.contains("hush")),
                "{bad}"
            );
        }
    }
}
