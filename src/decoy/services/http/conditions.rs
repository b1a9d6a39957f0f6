//! Whether a client has a file already, or wants it only as it was (RFC 9110 section 13), as each product decides.
//!
//! In: a request and the file's time and tag. Out: what is answered instead of the file, if anything.

use super::answer::Family;
use super::request::Request;

/// A file as conditions see it.
#[derive(Debug, Clone, Copy)]
pub(super) struct File<'a> {
    /// When it was written, in seconds since 1970.
    pub(super) written: i64,
    /// Its tag, with quotes.
    pub(super) etag: &'a str,
}

/// The status that stands for the file: 304, 412, or `None` for the file itself.
pub(super) fn of(request: &Request<'_>, file: File<'_>, family: Family, now: i64) -> Option<u16> {
    let reads = matches!(request.method, b"GET" | b"HEAD");
    match family {
        Family::Apache => apache(request, file, reads, now),
        Family::Nginx if reads => nginx(request, file),
        Family::Nginx => None,
        Family::Iis => names(request, "if-none-match", file.etag, true)?.then_some(304),
    }
}

fn apache(request: &Request<'_>, file: File<'_>, reads: bool, now: i64) -> Option<u16> {
    let unmodified = date(request, "if-unmodified-since");
    if names(request, "if-match", file.etag, false) == Some(false) || unmodified.is_some_and(|at| file.written > at) {
        return Some(412);
    }
    let known = names(request, "if-none-match", file.etag, reads);
    if known == Some(true) && !reads {
        return Some(412);
    }
    let since = date(request, "if-modified-since").filter(|_| reads);
    let is_old = since.map(|at| file.written <= at && at <= now);
    match (known, is_old) {
        (None, None) | (Some(false), _) | (_, Some(false)) => None,
        _ => Some(304),
    }
}

fn nginx(request: &Request<'_>, file: File<'_>) -> Option<u16> {
    let unmodified = request.get("if-unmodified-since").map(parse);
    let is_other = names(request, "if-match", file.etag, false) == Some(false);
    if is_other || unmodified.is_some_and(|at| at.is_none_or(|at| at < file.written)) {
        return Some(412);
    }
    let since = request.get("if-modified-since").map(parse);
    let known = names(request, "if-none-match", file.etag, true);
    if since.is_some_and(|at| at != Some(file.written)) || known == Some(false) {
        return None;
    }
    (since.is_some() || known.is_some()).then_some(304)
}

/// Whether a header lists this tag, or any; `None` without the header.
fn names(request: &Request<'_>, header: &str, etag: &str, weakly: bool) -> Option<bool> {
    request.get(header)?;
    let mut tags = request
        .all(header)
        .flat_map(|header| header.value.split(|byte| *byte == b','));
    Some(tags.any(|tag| {
        let tag = tag.trim_ascii();
        let tag = tag.strip_prefix(b"W/").filter(|_| weakly).unwrap_or(tag);
        tag == b"*" || tag == etag.as_bytes()
    }))
}

fn date(request: &Request<'_>, header: &str) -> Option<i64> {
    request.get(header).and_then(parse)
}

/// Reads a date in one of the three forms of RFC 9110 section 5.6.7.
pub(super) fn parse(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.len() <= 64)?;
    [
        "%a, %d %b %Y %H:%M:%S GMT",
        "%A, %d-%b-%y %H:%M:%S GMT",
        "%a %b %e %H:%M:%S %Y",
    ]
    .into_iter()
    .find_map(|form| jiff::civil::DateTime::strptime(form, text).ok())
    .and_then(|at| at.to_zoned(jiff::tz::TimeZone::UTC).ok())
    .map(|at| at.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::super::request::read;
    use super::*;

    /// Each row: method, headers, and what Apache 2.4.71 and nginx 1.22.1 said (both live) of a file of 2024-05-29.
    #[test]
    fn each_product_weighs_conditions_as_it_does() {
        let (equal, old, new) = (
            "Wed, 29 May 2024 23:16:20 GMT",
            "Sat, 01 Jan 2000 00:00:00 GMT",
            "Fri, 01 Jan 2027 00:00:00 GMT",
        );
        let none = None;
        let (fresh, failed) = (Some(304), Some(412));
        for (method, headers, apache, nginx) in [
            ("GET", format!("If-Modified-Since: {equal}\r\n"), fresh, fresh),
            ("GET", format!("If-Modified-Since: {old}\r\n"), none, none),
            ("GET", format!("If-Modified-Since: {new}\r\n"), none, none),
            (
                "GET",
                "If-Modified-Since: Saturday, 21-Nov-26 00:00:00 GMT\r\n".into(),
                fresh,
                none,
            ),
            (
                "GET",
                "If-Modified-Since: Sat Nov 21 00:00:00 2026\r\n".into(),
                fresh,
                none,
            ),
            ("GET", "If-Modified-Since: foo\r\n".into(), none, none),
            ("POST", format!("If-Modified-Since: {equal}\r\n"), none, none),
            ("HEAD", "If-None-Match: \"a\", W/\"e\"\r\n".into(), fresh, fresh),
            ("GET", "If-None-Match: *\r\n".into(), fresh, fresh),
            ("GET", "If-None-Match: \"a\"\r\n".into(), none, none),
            ("POST", "If-None-Match: \"e\"\r\n".into(), failed, none),
            ("POST", "If-None-Match: W/\"e\"\r\n".into(), none, none),
            (
                "GET",
                format!("If-None-Match: \"e\"\r\nIf-Modified-Since: {old}\r\n"),
                none,
                none,
            ),
            (
                "GET",
                format!("If-None-Match: \"a\"\r\nIf-Modified-Since: {equal}\r\n"),
                none,
                none,
            ),
            ("GET", format!("If-Unmodified-Since: {old}\r\n"), failed, failed),
            ("GET", format!("If-Unmodified-Since: {equal}\r\n"), none, none),
            ("GET", "If-Unmodified-Since: x\r\n".into(), none, failed),
            ("GET", "If-Match: \"e\"\r\n".into(), none, none),
            ("GET", "If-Match: W/\"e\"\r\n".into(), failed, failed),
            ("POST", "If-Match: \"a\"\r\n".into(), failed, none),
        ] {
            let head = format!("{method} / HTTP/1.1\r\n{headers}\r\n");
            let file = File {
                written: parse(equal.as_bytes()).expect("a date"),
                etag: "\"e\"",
            };
            let now = parse(b"Sun, 22 Nov 2026 00:00:00 GMT").expect("a date");
            let said = [Family::Apache, Family::Nginx].map(|family| of(&read(head.as_bytes()), file, family, now));
            assert_eq!(said, [apache, nginx], "{head}");
        }
    }
}
