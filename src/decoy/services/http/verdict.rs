//! What is wrong with a request in the eyes of each product, and what it then says.
//!
//! In: a request. Out: fine, or the answer that refuses it. The rows of Apache and nginx are what live servers did.

use super::answer::{Answer, Family};
use super::form;
use super::request::{Fault, Request, V0_9, V1_1, Version};

/// What a server thinks of a request.
#[derive(Debug)]
pub(super) enum Verdict<'a> {
    /// It is in order.
    Fine,
    /// It is answered so, whatever the site has.
    Refused(Answer<'a>),
}

impl PartialEq for Verdict<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Fine, Self::Fine) => true,
            (Self::Refused(one), Self::Refused(two)) => one.status == two.status,
            _ => false,
        }
    }
}

/// Judges a request as the product does.
pub(super) fn of<'a>(request: &Request<'a>, family: Family) -> Verdict<'a> {
    let refused = match family {
        Family::Apache => apache(request),
        Family::Nginx => nginx(request),
        Family::Iis => iis(request),
    };
    refused.map_or(Verdict::Fine, Verdict::Refused)
}

/// The host that the client asks for: of an absolute target, else of the `Host` header; without port. Only names and
/// addresses count.
pub(super) fn host(request: &Request<'_>) -> Option<String> {
    let value = authority(request).or_else(|| request.get("host"))?;
    let text = std::str::from_utf8(value).ok().filter(|text| is_host(text))?;
    let bare = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None => text.split_once(':').map_or(text, |(host, _)| host),
    };
    (!bare.is_empty()).then(|| bare.to_owned())
}

fn authority<'a>(request: &Request<'a>) -> Option<&'a [u8]> {
    if request.method == b"CONNECT" {
        return Some(request.target);
    }
    let at = memchr::memmem::find(request.target, b"://").filter(|_| !request.target.starts_with(b"/"))?;
    let rest = request.target.get(at + 3..)?;
    rest.get(..memchr::memchr(b'/', rest).unwrap_or(rest.len()))
}

fn is_host(text: &str) -> bool {
    text.len() <= 255
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte))
}

fn close(status: u16, detail: &'static str) -> Option<Answer<'static>> {
    Some(Answer {
        status,
        detail,
        close: true,
        ..Answer::default()
    })
}

/// 405 of a file.
pub(super) fn not_allowed(family: Family, method: &'static str) -> Answer<'static> {
    let allow = match family {
        Family::Apache => Some("OPTIONS,HEAD,GET,POST"),
        Family::Nginx => None,
        Family::Iis => Some("GET, HEAD, OPTIONS, TRACE"),
    };
    Answer {
        status: 405,
        detail: method,
        extra: allow.map(|allow| ("Allow", allow.to_owned())),
        ..Answer::default()
    }
}

/// What a product says to OPTIONS.
pub(super) fn options(family: Family, star: bool) -> Answer<'static> {
    let allow = match family {
        Family::Nginx => return not_allowed(family, "OPTIONS"),
        Family::Apache => "OPTIONS,HEAD,GET,POST",
        Family::Iis => "OPTIONS, TRACE, GET, HEAD, POST",
    };
    Answer {
        status: 200,
        body: Some(""),
        kind: (family == Family::Apache && !star).then_some("text/html"),
        extra: (!star).then(|| ("Allow", allow.to_owned())),
        ..Answer::default()
    }
}

/// Methods that servers know, and so refuse by name.
const KNOWN: [&str; 17] = [
    "PUT",
    "DELETE",
    "CONNECT",
    "PATCH",
    "PROPFIND",
    "PROPPATCH",
    "MKCOL",
    "COPY",
    "MOVE",
    "LOCK",
    "UNLOCK",
    "TRACE",
    "REPORT",
    "SEARCH",
    "CHECKOUT",
    "MERGE",
    "LABEL",
];

fn known(request: &Request<'_>) -> Option<&'static str> {
    KNOWN.into_iter().find(|name| name.as_bytes() == request.method)
}

fn is_served(request: &Request<'_>) -> bool {
    matches!(request.method, b"GET" | b"HEAD" | b"POST" | b"OPTIONS")
}

fn has(request: &Request<'_>, faults: &[Fault]) -> bool {
    request.faults.iter().any(|fault| faults.contains(fault))
}

/// Whether a 1.1 request names exactly one host, and that well.
fn host_is_wrong(request: &Request<'_>) -> bool {
    let count = request.all("host").count();
    let missing = request.version >= V1_1 && count == 0;
    let named = request
        .get("host")
        .is_some_and(|value| std::str::from_utf8(value).map_or(true, |text| !is_host(text)));
    missing || count > 1 || named
}

/// What the target must be: a path, a URL, or `*` of OPTIONS.
fn target_is_wrong(request: &Request<'_>) -> bool {
    let star = request.target == b"*" && request.method == b"OPTIONS";
    let url = memchr::memmem::find(request.target, b"://").is_some();
    !star && !url && request.method != b"CONNECT" && !request.target.starts_with(b"/")
}

fn path_is_wrong(request: &Request<'_>) -> bool {
    request.target != b"*" && request.method != b"CONNECT" && form::path(request.path()).is_none()
}

fn encoding_is_wrong(request: &Request<'_>) -> bool {
    request.get("transfer-encoding").is_some() && !request.says("transfer-encoding", "chunked")
}

fn apache<'a>(request: &Request<'a>) -> Option<Answer<'a>> {
    if has(request, &[Fault::LongLine]) {
        return close(414, "");
    }
    if has(request, &[Fault::LongHeader]) {
        return close(400, "Size of a request header field exceeds server limit.");
    }
    if has(request, &[Fault::ManyHeaders]) {
        return close(400, "The number of request header fields exceeds this server's limit.");
    }
    let malformed = has(
        request,
        &[Fault::Line, Fault::Method, Fault::Nul, Fault::NoColon, Fault::Name],
    );
    if malformed
        || request.version == (Version { major: 0, minor: 0 })
        || host_is_wrong(request)
        || target_is_wrong(request)
    {
        return close(400, "");
    }
    if path_is_wrong(request) || request.content_length().is_err() || encoding_is_wrong(request) {
        return close(400, "");
    }
    if let Some(method) = known(request) {
        let mut answer = not_allowed(Family::Apache, method);
        if method == "TRACE" {
            answer.extra = Some(("Allow", String::new()));
        }
        return Some(answer);
    }
    (!is_served(request)).then(|| Answer {
        status: 501,
        // A method is a token, so it is text.
        detail: std::str::from_utf8(request.method).unwrap_or_default(),
        extra: Some(("Allow", "OPTIONS,HEAD,GET,POST".to_owned())),
        close: true,
        ..Answer::default()
    })
}

fn nginx(request: &Request<'_>) -> Option<Answer<'static>> {
    let lower = |byte: &u8| !(byte.is_ascii_uppercase() || matches!(byte, b'_' | b'-'));
    if has(request, &[Fault::LongLine]) {
        return close(414, "");
    }
    if has(request, &[Fault::Line, Fault::Method]) || request.method.iter().any(lower) {
        return close(400, "");
    }
    if request.version.major > 1 {
        return close(505, "");
    }
    if has(request, &[Fault::LongHeader]) {
        return close(400, "Request Header Or Cookie Too Large");
    }
    let wrong = has(request, &[Fault::Nul, Fault::Name, Fault::Fold]) || host_is_wrong(request);
    if wrong || target_is_wrong(request) || request.method == b"CONNECT" || request.target == b"*" {
        return close(400, "");
    }
    let nul = form::path(request.path()).is_none_or(|path| path.contains(&0));
    let both = request.get("content-length").is_some() && request.get("transfer-encoding").is_some();
    if nul || request.content_length().is_err() || both {
        return close(400, "");
    }
    if encoding_is_wrong(request) {
        return close(501, "");
    }
    if request
        .content_length()
        .ok()
        .flatten()
        .is_some_and(|length| length > 1 << 20)
    {
        return close(413, "");
    }
    if request.method == b"TRACE" {
        return close(405, "");
    }
    let odd = !is_served(request);
    (odd && request.path() == b"/").then(|| not_allowed(Family::Nginx, ""))
}

fn iis(request: &Request<'_>) -> Option<Answer<'static>> {
    if has(request, &[Fault::Method]) {
        return close(400, "verb");
    }
    if has(request, &[Fault::LongLine]) {
        return close(414, "");
    }
    if has(request, &[Fault::Line, Fault::Nul]) || request.version == V0_9 {
        return close(400, "");
    }
    if request.version.major > 1 {
        return close(505, "");
    }
    if has(request, &[Fault::LongHeader]) {
        return close(400, "long");
    }
    if has(request, &[Fault::NoColon, Fault::Name]) {
        return close(400, "header");
    }
    if target_is_wrong(request) || path_is_wrong(request) {
        return close(400, "url");
    }
    if host_is_wrong(request) {
        return close(400, "host");
    }
    if request.content_length().is_err() {
        return close(400, "length");
    }
    let bodyless = request.get("content-length").is_none() && request.get("transfer-encoding").is_none();
    if request.method == b"POST" && bodyless {
        return close(411, "");
    }
    if request.method == b"TRACE" {
        return Some(Answer {
            status: 501,
            ..Answer::default()
        });
    }
    (!is_served(request)).then(|| not_allowed(Family::Iis, ""))
}

#[cfg(test)]
mod tests {
    use super::super::request::read;
    use super::*;

    fn status(family: Family, head: &str) -> u16 {
        match of(&read(head.as_bytes()), family) {
            Verdict::Fine => 200,
            Verdict::Refused(answer) => answer.status,
        }
    }

    /// Each row: the request, and what Apache 2.4.71, nginx 1.22.1 (both live) and IIS say.
    #[test]
    fn each_product_judges_strange_requests_as_it_does() {
        for (head, apache, nginx, iis) in [
            ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 200, 200, 200),
            ("GET / HTTP/1.0\r\n\r\n", 200, 200, 200),
            ("GET / HTTP/9.9\r\nHost: x\r\n\r\n", 200, 505, 505),
            ("GET / HTTP/1.2\r\nHost: x\r\n\r\n", 200, 200, 200),
            ("GET / HTTX/1.1\r\n", 400, 400, 400),
            ("HELP\r\n", 400, 400, 400),
            ("GET /\r\n", 200, 200, 400),
            ("GET / HTTP/1.1\r\n\r\n", 400, 400, 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, 400, 400),
            ("GET / HTTP/1.1\r\nHost: a/b c\r\n\r\n", 400, 400, 400),
            ("GET / HTTP/1.1\r\nfoo\r\nHost: x\r\n\r\n", 400, 200, 400),
            ("GET / HTTP/1.1\r\nfoo : x\r\nHost: x\r\n\r\n", 400, 400, 400),
            ("GET / HTTP/1.1\r\nfoo: x\r\n y\r\nHost: x\r\n\r\n", 200, 400, 200),
            ("GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n", 200, 400, 200),
            ("GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400, 400, 400),
            ("GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", 400, 400, 400),
            ("GET foo HTTP/1.1\r\nHost: x\r\n\r\n", 400, 400, 400),
            ("GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n", 200, 200, 200),
            ("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 200, 400, 200),
            ("CONNECT a:443 HTTP/1.1\r\nHost: x\r\n\r\n", 405, 400, 405),
            ("TRACE / HTTP/1.1\r\nHost: x\r\n\r\n", 405, 405, 501),
            ("FOO / HTTP/1.1\r\nHost: x\r\n\r\n", 501, 405, 405),
            ("get / HTTP/1.1\r\nHost: x\r\n\r\n", 501, 400, 405),
            ("PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n", 405, 200, 405),
            (
                "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n",
                400,
                400,
                400,
            ),
            (
                "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n",
                200,
                413,
                200,
            ),
            (
                "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: foo\r\n\r\n",
                400,
                501,
                200,
            ),
            ("POST / HTTP/1.1\r\nHost: x\r\n\r\n", 200, 200, 411),
        ] {
            let said = [Family::Apache, Family::Nginx, Family::Iis].map(|family| status(family, head));
            assert_eq!(said, [apache, nginx, iis], "{head:?}");
        }
    }

    #[test]
    fn a_host_is_a_name_or_an_address() {
        let of = |value: &str| host(&read(format!("GET / HTTP/1.1\r\nHost: {value}\r\n\r\n").as_bytes()));
        assert_eq!(of("a.example:8080").as_deref(), Some("a.example"));
        assert_eq!(of("[::1]:80").as_deref(), Some("::1"));
        assert_eq!(of("<b>"), None);
        assert_eq!(of(""), None);
    }
}
