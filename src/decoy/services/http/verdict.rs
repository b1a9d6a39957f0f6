//! What is wrong with a request in the eyes of each product, and what it then says.
//!
//! In: a request. Out: fine, or the answer that refuses it. The rows of Apache and nginx are what live servers did.

use super::answer::{Answer, Family, Framing};
use super::host;
use super::path::{self, Lost};
use super::request::{Fault, Request, V0_9, V1_1};

/// Longest line and header that Apache reads, bytes (`LimitRequestLine` and one).
const APACHE_LINE_MAX: usize = 8191;

/// The same of nginx, whose buffers of 8 KiB hold the line end too, and of Windows.
const LINE_MAX: usize = 8190;

/// Largest body that nginx takes by default, bytes.
const NGINX_BODY_MAX: u64 = 1 << 20;

/// What a server thinks of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict<'a> {
    /// It is in order.
    Fine,
    /// It is answered so, whatever the site has.
    Refused(Answer<'a>),
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

/// How many bytes of a line without end a product waits for before it answers.
pub(super) fn open_max(family: Family) -> usize {
    match family {
        // Three reads of 8 KiB.
        Family::Apache => 24 << 10,
        Family::Nginx => 8 << 10,
        Family::Iis => LINE_MAX + 1,
    }
}

/// Whether a product answers before the line ends that it is none: nginx reads byte by byte.
pub(super) fn is_no_line(begun: &[u8], family: Family) -> bool {
    let mut method = begun.iter().take_while(|byte| !matches!(byte, b' ' | b'\r' | b'\n'));
    family == Family::Nginx && !method.all(|byte| is_nginx_method(*byte))
}

/// Whether the answer is a body alone: the line had no version, and the product saw one of the oldest kind in it.
pub(super) fn is_bare(request: &Request<'_>, family: Family) -> bool {
    let refused = match family {
        Family::Apache => apache_line(request),
        Family::Nginx => nginx_line(request),
        Family::Iis => iis(request),
    };
    request.version == V0_9 && refused.is_none()
}

fn close(status: u16, detail: &'static str) -> Option<Answer<'static>> {
    Some(Answer {
        status,
        detail: detail.into(),
        close: true,
        ..Answer::default()
    })
}

/// Refuses before the host is known.
fn early(status: u16, detail: &'static str) -> Option<Answer<'static>> {
    close(status, detail).map(|answer| Answer { early: true, ..answer })
}

/// What Apache says when a head does not come in time.
pub(super) fn late() -> Answer<'static> {
    Answer {
        status: 408,
        close: true,
        early: true,
        ..Answer::default()
    }
}

/// What is said to a request in plain text on a port for TLS.
pub(super) fn plain(family: Family) -> Answer<'static> {
    let detail = match family {
        Family::Apache => {
            "Reason: You're speaking plain HTTP to an SSL-enabled server port.\n Instead use the HTTPS scheme to access \
             this URL, please.\n"
        }
        _ => "The plain HTTP request was sent to HTTPS port",
    };
    Answer {
        status: 400,
        detail: detail.into(),
        close: true,
        early: true,
        ..Answer::default()
    }
}

/// Whether a product has a word for a peer that speaks no TLS: Apache has one for what OpenSSL takes for HTTP.
pub(super) fn answers_plain(begun: &[u8], family: Family) -> bool {
    let known = [&b"GET "[..], b"POST ", b"HEAD ", b"PUT "];
    family != Family::Apache || known.iter().any(|word| begun.starts_with(word))
}

/// What the target must be: a path, a URL, or `*` of OPTIONS.
fn target_is_wrong(request: &Request<'_>) -> bool {
    let star = request.target == b"*" && request.method == b"OPTIONS";
    let url = request.scheme().is_some_and(|scheme| !scheme.is_empty());
    !star && !url && request.method != b"CONNECT" && !request.target.starts_with(b"/")
}

fn lost(request: &Request<'_>, family: Family) -> Option<Lost> {
    let has_path = request.target != b"*" && request.method != b"CONNECT";
    path::resolve(request.path(), family).err().filter(|_| has_path)
}

/// The word of the only transfer coding.
fn coding<'r>(request: &'r Request<'_>) -> Option<&'r [u8]> {
    let value = request.get("transfer-encoding")?;
    Some(
        value
            .rsplit(|byte| *byte == b',')
            .next()
            .unwrap_or_default()
            .trim_ascii(),
    )
}

fn is_chunked(word: &[u8]) -> bool {
    word.eq_ignore_ascii_case(b"chunked")
}

/// Whether several headers tell a length, be it the same.
fn has_two_lengths(request: &Request<'_>) -> bool {
    request.all("content-length").count() > 1
}

fn apache<'a>(request: &Request<'a>) -> Option<Answer<'a>> {
    // A host in the target is known from the first.
    let early = request.scheme().is_none();
    apache_line(request)
        .or_else(|| apache_headers(request))
        .map(|answer| Answer { early, ..answer })
        .or_else(|| apache_target(request))
        .or_else(|| unexpected(request))
}

fn apache_line(request: &Request<'_>) -> Option<Answer<'static>> {
    if request.line_bytes > APACHE_LINE_MAX {
        return early(414, "");
    }
    let malformed = [
        Fault::Line,
        Fault::Old,
        Fault::Method,
        Fault::Blanks,
        Fault::Gap,
        Fault::Target,
        Fault::LongVersion,
        Fault::BareLf,
    ];
    let has_tail = request.has(&[Fault::Tail]) && request.version != V0_9;
    let is_odd = request.target.starts_with(b"?") && request.method != b"CONNECT";
    let is_wrong = (target_is_wrong(request) && !is_odd)
        || (request.method == b"CONNECT" && request.target.starts_with(b"/"))
        || (request.target.starts_with(b"/") && request.target.contains(&b'#'));
    (has_tail || is_wrong || request.has(&malformed)).then_some(())?;
    early(400, "")
}

fn apache_headers(request: &Request<'_>) -> Option<Answer<'static>> {
    if request.field_bytes_max > APACHE_LINE_MAX || request.has(&[Fault::LongHead]) {
        return early(400, "Size of a request header field exceeds server limit.");
    }
    if request.has(&[Fault::ManyHeaders]) {
        return early(400, "The number of request header fields exceeds this server's limit.");
    }
    let malformed = [
        Fault::Nul,
        Fault::NoColon,
        Fault::Name,
        Fault::OddName,
        Fault::Control,
        Fault::BlankFold,
    ];
    let length = request.content_length();
    let is_wrong = request.has(&malformed)
        || host::is_wrong(request, Family::Apache)
        || has_two_lengths(request)
        || coding(request).is_some_and(|word| !is_chunked(word))
        || length.is_err()
        || length.is_ok_and(|length| length > Some(i64::MAX as u64));
    is_wrong.then_some(())?;
    early(400, "")
}

fn apache_target(request: &Request<'_>) -> Option<Answer<'static>> {
    let is_foreign = request
        .scheme()
        .is_some_and(|scheme| !scheme.eq_ignore_ascii_case(b"http") && !scheme.eq_ignore_ascii_case(b"https"));
    let authority = request
        .target
        .get(..request.target.len().saturating_sub(request.path().len()));
    let has_user = request.scheme().is_some() && authority.is_some_and(|authority| authority.contains(&b'@'));
    let is_lost = matches!(lost(request, Family::Apache), Some(Lost::Escape | Lost::Climbs));
    (is_foreign || has_user || is_lost || (request.scheme().is_some() && request.target.contains(&b'#')))
        .then_some(())?;
    close(400, "")
}

/// Only one expectation is known; others are refused, and the connection ends without a word about it.
fn unexpected<'a>(request: &Request<'_>) -> Option<Answer<'a>> {
    let value = request.get("expect").filter(|value| !value.is_empty())?;
    (!value.eq_ignore_ascii_case(b"100-continue")).then(|| Answer {
        status: 417,
        detail: String::from_utf8_lossy(value).into_owned().into(),
        drop: true,
        ..Answer::default()
    })
}

/// What is answered when the chunks of a body are none, and `answer` would have been given otherwise.
pub(super) fn no_chunks(family: Family, answer: Answer<'_>) -> Answer<'_> {
    match family {
        // An error has been sent before the body is read.
        Family::Nginx if answer.status >= 400 => Answer { close: true, ..answer },
        _ => Answer {
            status: 400,
            close: true,
            framing: if family == Family::Apache {
                Framing::End
            } else {
                Framing::Length
            },
            ..Answer::default()
        },
    }
}

fn is_nginx_method(byte: u8) -> bool {
    byte.is_ascii_uppercase() || matches!(byte, b'_' | b'-')
}

fn nginx_line(request: &Request<'_>) -> Option<Answer<'static>> {
    let malformed = [Fault::Line, Fault::Method, Fault::Gap, Fault::Target, Fault::Nul];
    let is_method = request.method.iter().copied().all(is_nginx_method);
    if !is_method {
        return close(400, "");
    }
    if request.line_bytes > LINE_MAX {
        return close(414, "");
    }
    if request.has(&malformed)
        || target_is_wrong(request)
        || request.target == b"*"
        || nginx_authority_is_wrong(request)
    {
        return close(400, "");
    }
    // A proxy's target is refused before its method is.
    if request.method == b"CONNECT" {
        return close(if request.target.starts_with(b"/") { 405 } else { 400 }, "");
    }
    (request.version.major > 1).then_some(())?;
    close(505, "")
}

/// Whether the host of an absolute target is none: nginx takes letters, digits, `-`, `.`, and a port of digits.
fn nginx_authority_is_wrong(request: &Request<'_>) -> bool {
    let Some(scheme) = request.scheme() else {
        return false;
    };
    let rest = request.target.get(scheme.len() + 3..).unwrap_or_default();
    let host = rest
        .split(|byte| matches!(byte, b'/' | b'?'))
        .next()
        .unwrap_or_default();
    let bare = host.strip_prefix(b"[").unwrap_or(host);
    let odd = |byte: &u8| !byte.is_ascii_alphanumeric() && !b"-._~:]!$&'()*+,;=".contains(byte);
    let port = memchr::memrchr(b':', host)
        .filter(|_| !host.starts_with(b"["))
        .and_then(|at| host.get(at + 1..));
    host.is_empty() || bare.iter().any(odd) || port.is_some_and(|port| !port.iter().all(u8::is_ascii_digit))
}

fn nginx(request: &Request<'_>) -> Option<Answer<'static>> {
    nginx_line(request)
        .or_else(|| nginx_headers(request))
        .or_else(|| nginx_body(request))
}

fn nginx_headers(request: &Request<'_>) -> Option<Answer<'static>> {
    if request.has(&[Fault::Old, Fault::Fold]) {
        return close(400, "");
    }
    if request.field_bytes_max > LINE_MAX || request.has(&[Fault::LongHead]) {
        return close(400, "Request Header Or Cookie Too Large");
    }
    let is_wrong = request.has(&[Fault::Nul, Fault::Name, Fault::Cr])
        || host::is_wrong(request, Family::Nginx)
        || lost(request, Family::Nginx).is_some();
    is_wrong.then_some(())?;
    close(400, "")
}

fn nginx_body(request: &Request<'_>) -> Option<Answer<'static>> {
    let codings = request.all("transfer-encoding").count();
    let length = request
        .content_length()
        .ok()
        .filter(|length| *length <= Some(i64::MAX as u64));
    let both = codings > 0 && request.get("content-length").is_some();
    if both || codings > 1 || (codings > 0 && request.version < V1_1) || has_two_lengths(request) {
        return close(400, "");
    }
    let Some(length) = length else {
        return close(400, "");
    };
    if request.get("transfer-encoding").is_some_and(|word| !is_chunked(word)) {
        return close(501, "");
    }
    if length > Some(NGINX_BODY_MAX) {
        return close(413, "");
    }
    (request.method == b"TRACE").then_some(())?;
    close(405, "")
}

fn iis(request: &Request<'_>) -> Option<Answer<'static>> {
    iis_line(request)
        .or_else(|| iis_headers(request))
        .or_else(|| iis_method(request))
}

fn iis_line(request: &Request<'_>) -> Option<Answer<'static>> {
    if request.has(&[Fault::Method]) {
        return close(400, "verb");
    }
    if request.line_bytes > LINE_MAX {
        return close(414, "");
    }
    if request.has(&[Fault::Line, Fault::Old, Fault::Nul]) || request.version == V0_9 {
        return close(400, "");
    }
    (request.version.major > 1).then_some(())?;
    close(505, "")
}

fn iis_headers(request: &Request<'_>) -> Option<Answer<'static>> {
    if request.field_bytes_max > LINE_MAX || request.has(&[Fault::LongHead]) {
        return close(400, "long");
    }
    if request.has(&[Fault::NoColon, Fault::Name, Fault::OddName]) {
        return close(400, "header");
    }
    let is_lost = matches!(lost(request, Family::Iis), Some(Lost::Escape | Lost::Climbs));
    if target_is_wrong(request) || is_lost {
        return close(400, "url");
    }
    if host::is_wrong(request, Family::Iis) {
        return close(400, "host");
    }
    request.content_length().is_err().then_some(())?;
    close(400, "length")
}

fn iis_method(request: &Request<'_>) -> Option<Answer<'static>> {
    let bodyless = request.get("content-length").is_none() && request.get("transfer-encoding").is_none();
    if request.method == b"POST" && bodyless {
        return close(411, "");
    }
    (request.method == b"TRACE").then(|| Answer {
        status: 501,
        ..Answer::default()
    })
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

    /// Each row: the request, and what Apache 2.4.71, nginx 1.22.1 (both live) and IIS say before they look at the
    /// site; 200: nothing.
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
            ("CONNECT a:443 HTTP/1.1\r\nHost: x\r\n\r\n", 200, 400, 200),
            ("TRACE / HTTP/1.1\r\nHost: x\r\n\r\n", 200, 405, 501),
            ("FOO / HTTP/1.1\r\nHost: x\r\n\r\n", 200, 200, 200),
            ("get / HTTP/1.1\r\nHost: x\r\n\r\n", 200, 400, 200),
            ("PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n", 200, 200, 200),
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
}
