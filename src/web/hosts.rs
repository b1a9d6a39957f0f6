//! Whom a request takes us for: a page of a stranger may lead a browser here under the stranger's name.
//!
//! Source: RFC 9110 sections 7.2 and 15.5.20.

use std::net::IpAddr;

use hyper::HeaderMap;
use hyper::Uri;
use hyper::header::HOST;

/// Why a request is not for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stranger {
    /// It names nobody, or several, or what is no name.
    Nameless,
    /// It names somebody else.
    Other,
}

/// Whether a request means us. In: `local`, the address that it came to; `hosts`, further names, in lower case.
pub(super) fn is_ours(headers: &HeaderMap, uri: &Uri, local: IpAddr, hosts: &[String]) -> Result<(), Stranger> {
    let mut named = headers.get_all(HOST).iter();
    let (Some(host), None) = (named.next(), named.next()) else {
        return Err(Stranger::Nameless);
    };
    let host = host.to_str().map_err(|_| Stranger::Nameless)?;
    let asked = uri.authority().map(|authority| authority.as_str());
    for authority in [Some(host), asked].into_iter().flatten() {
        let name = name(authority).ok_or(Stranger::Nameless)?;
        if !is_known(&name, local, hosts) {
            return Err(Stranger::Other);
        }
    }
    Ok(())
}

fn is_known(name: &str, local: IpAddr, hosts: &[String]) -> bool {
    let literal = name.parse::<IpAddr>().ok();
    let is_same = |host: &String| host == name || literal.is_some() && host.parse().ok() == literal;
    name == "localhost"
        || literal.is_some_and(|ip| ip.to_canonical() == local.to_canonical())
        || hosts.iter().any(is_same)
}

/// The host of `HOST[:PORT]`, in lower case; the port does not matter, for it may be forwarded.
fn name(authority: &str) -> Option<String> {
    let is_port = |text: &str| text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, rest.strip_prefix(':').or(rest.is_empty().then_some(""))?)
        }
        None => authority.split_once(':').unwrap_or((authority, "")),
    };
    let host = host.trim_end_matches('.');
    (is_port(port) && !host.is_empty()).then(|| host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn asked(host: &[u8], uri: &str) -> Result<(), Stranger> {
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_bytes(host) {
            headers.insert(HOST, value);
        }
        let hosts = [
            "trap.example".to_owned(),
            "203.0.113.9".to_owned(),
            "2001:db8::9".to_owned(),
        ];
        is_ours(&headers, &uri.parse().unwrap(), IpAddr::from([127, 0, 0, 1]), &hosts)
    }

    #[test]
    fn our_address_localhost_and_configured_names_are_ours() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:8420",
            "localhost:1",
            "LocalHost.",
            "trap.example:443",
            "TRAP.example.",
            "203.0.113.9",
            "[2001:DB8:0::9]:8420",
        ] {
            assert_eq!(asked(host.as_bytes(), "/healthz"), Ok(()), "{host}");
        }
        assert_eq!(asked(b"localhost", "http://localhost:8420/healthz"), Ok(()));
    }

    #[test]
    fn a_name_of_a_stranger_is_not_whatever_it_looks_like() {
        for host in [
            "evil.example",
            "127.0.0.2",
            "localhost.evil.example",
            "trap.example.evil",
            "[::1]",
            "2130706433",
        ] {
            assert_eq!(asked(host.as_bytes(), "/"), Err(Stranger::Other), "{host}");
        }
        assert_eq!(asked(b"localhost", "http://evil.example/"), Err(Stranger::Other));
        for host in [
            "",
            ":8420",
            "localhost:x",
            "[::1",
            "[::1]8420",
            "[]",
            "localhost:123456",
        ] {
            assert_eq!(asked(host.as_bytes(), "/"), Err(Stranger::Nameless), "{host}");
        }
    }

    #[test]
    fn two_names_are_none() {
        let mut headers = HeaderMap::new();
        let uri = Uri::from_static("/");
        let local = IpAddr::from([127, 0, 0, 1]);
        assert_eq!(is_ours(&headers, &uri, local, &[]), Err(Stranger::Nameless));
        headers.append(HOST, HeaderValue::from_static("localhost"));
        headers.append(HOST, HeaderValue::from_static("localhost"));
        assert_eq!(is_ours(&headers, &uri, local, &[]), Err(Stranger::Nameless));
    }

    proptest! {
        #[test]
        fn any_bytes_for_a_host_are_judged(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = asked(&bytes, "/");
        }
    }
}
