//! Base URLs that credentials may be sent to.

use reqwest::Url;

/// Why a URL cannot be an endpoint, as what would be right; `None` if it can.
pub fn objection(url: &Url, tls_off: bool) -> Option<&'static str> {
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        Some("a URL without user, password, query or fragment")
    } else if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        Some("a URL with `https://` (or `http://` to this machine) and a host")
    } else if url.scheme() == "http" && !tls_off && !is_loopback(url) {
        Some("`https://`; `http://` goes to this machine only, or with `tls = \"off\"`")
    } else {
        None
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let address = host.parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// Stands in for a URL that is wrong, which is told.
pub fn harmless() -> Url {
    Url::parse("https://localhost").expect("a constant URL parses")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_go_in_clear_to_this_machine_alone_unless_told() {
        for (url, tls_off, good) in [
            ("https://desk.example/base", false, true),
            ("http://127.0.0.1:9000", false, true),
            ("http://[::1]:9000", false, true),
            ("http://desk.example", false, false),
            ("http://desk.example", true, true),
            ("https://user:pass@desk.example", false, false),
            ("https://desk.example/?a=b", false, false),
            ("ftp://desk.example", true, false),
        ] {
            assert_eq!(objection(&Url::parse(url).unwrap(), tls_off).is_none(), good, "{url}");
        }
        assert!(objection(&harmless(), false).is_none());
    }
}
