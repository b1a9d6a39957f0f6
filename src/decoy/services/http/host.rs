//! The host that a client asks for, and which names each product takes for one.
//!
//! In: a request. Out: [`Named`], or whether the product refuses it. The rows are what live servers did.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::answer::Family;
use super::request::{Request, V1_1};

/// A host as asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    /// Without brackets.
    pub(super) name: String,
    pub(super) port: Option<u16>,
}

/// The host that the client asks for: of an absolute target, else of the `Host` header. Only names and addresses
/// count.
pub(super) fn named(request: &Request<'_>) -> Option<Named> {
    authority(request).and_then(read).or_else(|| read(request.get("host")?))
}

fn read(value: &[u8]) -> Option<Named> {
    let text = std::str::from_utf8(value).ok().filter(|text| is_plain(text))?;
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    (!name.is_empty()).then(|| Named {
        name: name.to_owned(),
        port: port.strip_prefix(':').and_then(|digits| digits.parse().ok()),
    })
}

fn authority<'a>(request: &Request<'a>) -> Option<&'a [u8]> {
    if request.method == b"CONNECT" {
        return Some(request.target).filter(|target| !target.starts_with(b"/"));
    }
    let scheme = request.scheme().filter(|scheme| scheme.eq_ignore_ascii_case(b"http"))?;
    let rest = request.target.get(scheme.len() + 3..)?;
    rest.get(..memchr::memchr3(b'/', b'?', b'#', rest).unwrap_or(rest.len()))
}

/// Whether a 1.1 request names exactly one host, and that well.
pub(super) fn is_wrong(request: &Request<'_>, family: Family) -> bool {
    let mut all = request.all("host");
    let Some(first) = all.next() else {
        return request.version >= V1_1;
    };
    let is_named = match family {
        Family::Nginx => nginx_takes(&first.value),
        _ if first.value.is_empty() => request.version < V1_1,
        Family::Apache => apache_takes(&first.value),
        Family::Iis => std::str::from_utf8(&first.value).is_ok_and(is_plain),
    };
    !is_named || all.next().is_some()
}

fn is_plain(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte))
}

fn apache_takes(value: &[u8]) -> bool {
    let Some(text) = std::str::from_utf8(value).ok().filter(|text| is_plain(text)) else {
        return false;
    };
    let (is_name, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) => (address.parse::<Ipv6Addr>().is_ok(), port),
            None => return false,
        },
        None => {
            let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            (is_name(name), port)
        }
    };
    is_name && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
}

fn is_name(name: &str) -> bool {
    let is_number = name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let is_dotted = name.starts_with('.') || !name.contains("..");
    !name.is_empty()
        && is_dotted
        && name != "."
        && name != ".."
        && !name.contains(['[', ']'])
        && (!is_number || name.parse::<Ipv4Addr>().is_ok() || !name.contains('.'))
}

fn is_port(digits: &str) -> bool {
    digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok_and(|port| port > 0)
}

/// nginx looks for what could lead out of a folder, and for nothing else.
fn nginx_takes(value: &[u8]) -> bool {
    let end = match value.strip_prefix(b"[") {
        Some(rest) => memchr::memchr(b']', rest).map_or(value.len(), |at| at + 2),
        None => memchr::memchr(b':', value).unwrap_or(value.len()),
    };
    let name = value.get(..end).unwrap_or(value);
    let is_bad = |byte: &u8| *byte <= b' ' || matches!(byte, 0x7f | b'/');
    !matches!(name, b"" | b".") && !value.iter().any(is_bad) && memchr::memmem::find(value, b"..").is_none()
}

#[cfg(test)]
mod tests {
    use super::super::request::read;
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address() {
        let of = |value: &str| {
            let head = format!("GET / HTTP/1.1\r\nHost: {value}\r\n\r\n");
            named(&read(head.as_bytes())).map(|named| (named.name, named.port))
        };
        assert_eq!(of("a.example:8080"), Some(("a.example".to_owned(), Some(8080))));
        assert_eq!(of("[::1]:80"), Some(("::1".to_owned(), Some(80))));
        assert_eq!(of("x"), Some(("x".to_owned(), None)));
        assert_eq!(of("<b>"), None);
        assert_eq!(of(""), None);
    }

    /// Each row: the header, and whether Apache 2.4.71 and nginx 1.22.1 take it (both live).
    #[test]
    fn each_product_takes_the_hosts_it_takes() {
        for (value, apache, nginx) in [
            ("x", true, true),
            ("x:8080", true, true),
            ("x:65535", true, true),
            ("x:65536", false, true),
            ("x:0", false, true),
            ("x:abc", false, true),
            ("x:", false, true),
            ("x.", true, true),
            ("x..", false, false),
            ("a..b", false, false),
            (".", false, false),
            ("-", true, true),
            ("_", true, true),
            (":80", false, false),
            ("::1", false, false),
            ("[::1]:81", true, true),
            ("[::1", false, true),
            ("[g]", false, true),
            ("1.2.3.4.5", false, true),
            ("127.0.0.1", true, true),
            ("a/b", false, false),
            ("a b", false, false),
            ("<b>", false, true),
            ("a@b", false, true),
            ("", false, false),
        ] {
            let head = format!("GET / HTTP/1.1\r\nHost: {value}\r\n\r\n");
            let takes = |family| !is_wrong(&read(head.as_bytes()), family);
            assert_eq!(
                (takes(Family::Apache), takes(Family::Nginx)),
                (apache, nginx),
                "{value}"
            );
        }
        let long = format!("GET / HTTP/1.0\r\nHost: {}\r\n\r\n", "a".repeat(300));
        assert!(!is_wrong(&read(long.as_bytes()), Family::Apache));
        let empty = read(b"GET / HTTP/1.0\r\nHost:\r\n\r\n");
        assert!(!is_wrong(&empty, Family::Apache) && is_wrong(&empty, Family::Nginx));
    }
}
