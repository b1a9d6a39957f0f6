//! What the site of a decoy has: a page, a login, a folder behind a password, and folders that are nobody's business.
//!
//! In: a request that is in order. Out: its answer, in the product's order of checks: name, password, method, file.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Look;
use super::answer::{Answer, Family, Framing};
use super::conditions::{self, File};
use super::path;
use super::range::{self, Wanted};
use super::request::Request;
use crate::decoy::personality::Install;
use crate::decoy::session::Session;

/// The files of the site, as this install has them.
pub(super) struct Site<'a> {
    pub(super) look: &'a Look,
    index: String,
    refused: String,
    realm: String,
    written: i64,
    modified: String,
    etag: String,
    allow: &'static str,
}

impl<'a> Site<'a> {
    pub(super) fn new(look: &'a Look, install: &Install, session: &Session) -> Self {
        let index = session.expand(&look.index).into_owned();
        let (written, etag) = file(look.family, install, index.len());
        Self {
            look,
            refused: session.expand(&look.refused).into_owned(),
            realm: session.expand(&look.realm).into_owned(),
            index,
            written,
            modified: http_date(jiff::Timestamp::from_second(written).unwrap_or_default()),
            etag,
            allow: allow(look.family, install),
        }
    }

    /// What the site has for a request that is in order.
    pub(super) fn answer<'s>(&'s self, request: &Request<'_>) -> Answer<'s> {
        let family = self.look.family;
        if request.target == b"*" {
            return self.options(false, true);
        }
        if request.method == b"TRACE" || request.method == b"CONNECT" {
            return self.not_allowed(request);
        }
        let Ok(path) = path::resolve(request.path(), family) else {
            return plain(404);
        };
        if path::is_under(&path, self.look.protected_path.as_bytes()) {
            return self.unauthorized();
        }
        if self.is_forbidden(&path) {
            return plain(403);
        }
        let is_file = matches!(path.as_slice(), b"/" | b"/index.html");
        match request.method {
            b"GET" | b"HEAD" | b"POST" => {}
            b"OPTIONS" if family != Family::Nginx => return self.options(is_file, false),
            _ if family == Family::Nginx && !is_file => {}
            _ => return self.not_allowed(request),
        }
        if path == self.look.login_path.as_bytes() {
            return self.login(request);
        }
        match is_file {
            true => self.file(request),
            false => plain(404),
        }
    }

    fn is_forbidden(&self, path: &[u8]) -> bool {
        let is_apache = self.look.family == Family::Apache;
        let listed = |place: &String| match place.strip_suffix('/') {
            // The folder itself: it may not be listed. What is in it, is not there.
            Some(_) => path == place.as_bytes(),
            None => path::is_under(path, place.as_bytes()),
        };
        (is_apache && (path.starts_with(b"/.ht") || path::is_too_long(path))) || self.look.forbidden.iter().any(listed)
    }

    fn unauthorized(&self) -> Answer<'_> {
        Answer {
            status: 401,
            extra: Some(("WWW-Authenticate", format!("Basic realm=\"{}\"", self.realm).into())),
            ..Answer::default()
        }
    }

    fn login(&self, request: &Request<'_>) -> Answer<'_> {
        if request.method == b"POST" {
            let place = format!("{}?error=1", self.look.login_path);
            return Answer {
                status: 302,
                extra: Some(("Location", place.into())),
                ..Answer::default()
            };
        }
        let failed = request.query().is_some();
        let body = if failed { &self.refused } else { &self.index };
        Answer {
            status: 200,
            body: Some(body.as_bytes().into()),
            kind: Some("text/html; charset=UTF-8".into()),
            ..Answer::default()
        }
    }

    fn file(&self, request: &Request<'_>) -> Answer<'_> {
        let family = self.look.family;
        if request.method == b"POST" && family != Family::Apache {
            return self.not_allowed(request);
        }
        let now = jiff::Timestamp::now().as_second();
        let file = File {
            written: self.written,
            etag: &self.etag,
        };
        match conditions::of(request, file, family, now) {
            Some(412) => self.failed(request),
            Some(status) => self.whole(status),
            None => self.ranges(range::of(request, file, self.index.len(), family)),
        }
    }

    fn whole(&self, status: u16) -> Answer<'_> {
        Answer {
            status,
            body: Some(self.index.as_bytes().into()),
            kind: Some("text/html".into()),
            file: Some((&self.modified, &self.etag)),
            ..Answer::default()
        }
    }

    /// Apache answers a condition that failed with the file's headers and no page, nginx with a page and the end.
    fn failed(&self, request: &Request<'_>) -> Answer<'_> {
        match self.look.family {
            Family::Apache if request.method == b"HEAD" => self.whole(412),
            Family::Apache => Answer {
                body: Some(b"".into()),
                ..self.whole(412)
            },
            _ => Answer {
                drop: true,
                ..plain(412)
            },
        }
    }

    fn ranges(&self, wanted: Wanted) -> Answer<'_> {
        let size = self.index.len();
        let of = |part: &Range<usize>| format!("bytes {}-{}/{size}", part.start, part.end.saturating_sub(1));
        match wanted {
            Wanted::Whole => self.whole(200),
            Wanted::Nothing => self.no_range(),
            Wanted::Parts(parts) => match parts.as_slice() {
                [part] => Answer {
                    body: self.index.as_bytes().get(part.clone()).map(Cow::Borrowed),
                    extra: Some(("Content-Range", of(part).into())),
                    ..self.whole(206)
                },
                parts => self.parts(parts, of),
            },
        }
    }

    fn no_range(&self) -> Answer<'_> {
        let is_apache = self.look.family == Family::Apache;
        Answer {
            framing: if is_apache { Framing::Chunks } else { Framing::Length },
            extra: (!is_apache).then(|| ("Content-Range", format!("bytes */{}", self.index.len()).into())),
            ..plain(416)
        }
    }

    fn parts(&self, parts: &[Range<usize>], of: impl Fn(&Range<usize>) -> String) -> Answer<'_> {
        let (boundary, [kind, place]) = match self.look.family {
            Family::Nginx => (next_boundary(), ["Content-Type", "Content-Range"]),
            _ => (
                format!("{:016x}", rand::random::<u64>()),
                ["Content-type", "Content-range"],
            ),
        };
        let mut body = Vec::new();
        for part in parts {
            let head = format!("\r\n--{boundary}\r\n{kind}: text/html\r\n{place}: {}\r\n\r\n", of(part));
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(self.index.as_bytes().get(part.clone()).unwrap_or_default());
        }
        body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        Answer {
            body: Some(body.into()),
            kind: Some(format!("multipart/byteranges; boundary={boundary}").into()),
            ..self.whole(206)
        }
    }

    /// What a product says to OPTIONS.
    fn options(&self, is_file: bool, star: bool) -> Answer<'_> {
        let is_apache = self.look.family == Family::Apache;
        Answer {
            status: 200,
            body: Some(b"".into()),
            // Only of a file is the type known.
            kind: (is_apache && is_file).then_some("text/html".into()),
            extra: (!star).then(|| {
                (
                    "Allow",
                    if is_apache {
                        self.allow
                    } else {
                        "OPTIONS, TRACE, GET, HEAD, POST"
                    }
                    .into(),
                )
            }),
            ..Answer::default()
        }
    }

    /// Refuses a method: 405 if the product knows it, else, of Apache, 501.
    fn not_allowed<'s>(&'s self, request: &Request<'_>) -> Answer<'s> {
        let is_apache = self.look.family == Family::Apache;
        let known = KNOWN.into_iter().find(|name| name.as_bytes() == request.method);
        // A method is a token, so it is text.
        let name = known.map_or_else(
            || String::from_utf8_lossy(request.method).into_owned().into(),
            Cow::Borrowed,
        );
        let allow = if request.method == b"TRACE" { "" } else { self.allow };
        Answer {
            status: if is_apache && known.is_none() { 501 } else { 405 },
            detail: if is_apache { name } else { "".into() },
            extra: (self.look.family != Family::Nginx).then(|| ("Allow", allow.into())),
            close: is_apache && known.is_none(),
            ..Answer::default()
        }
    }
}

fn plain<'a>(status: u16) -> Answer<'a> {
    Answer {
        status,
        ..Answer::default()
    }
}

/// nginx counts its boundaries.
fn next_boundary() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    format!("{:020}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Methods that Apache knows, and so refuses by name.
const KNOWN: [&str; 23] = [
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
    "VERSION-CONTROL",
    "CHECKOUT",
    "UNCHECKOUT",
    "CHECKIN",
    "UPDATE",
    "LABEL",
    "MKWORKSPACE",
    "MKACTIVITY",
    "MERGE",
    "BASELINE-CONTROL",
];

/// The methods of a file. Apache has them in a table whose order is drawn when it starts.
fn allow(family: Family, install: &Install) -> &'static str {
    const APACHE: [&str; 4] = [
        "GET,POST,OPTIONS,HEAD",
        "POST,OPTIONS,HEAD,GET",
        "OPTIONS,HEAD,GET,POST",
        "HEAD,GET,POST,OPTIONS",
    ];
    match family {
        Family::Apache => {
            let drawn = install.draw("http methods").first().copied().unwrap_or_default();
            APACHE
                .get(usize::from(drawn) % APACHE.len())
                .copied()
                .unwrap_or_default()
        }
        Family::Nginx => "",
        Family::Iis => "GET, HEAD, OPTIONS, TRACE",
    }
}

/// When the index was last written, on this install, and the ETag that the product makes of it.
fn file(family: Family, install: &Install, size: usize) -> (i64, String) {
    let drawn = install.draw("http index");
    let word = |at: usize| {
        drawn
            .get(at..at + 4)
            .and_then(|four| four.try_into().ok())
            .map_or(0, u32::from_le_bytes)
    };
    // From the middle of 2022 for two and a half years.
    let seconds = 1_656_000_000 + u64::from(word(0)) % 80_000_000;
    let micros = seconds * 1_000_000 + u64::from(word(4)) % 1_000_000;
    let etag = match family {
        Family::Apache => format!("\"{size:x}-{micros:x}\""),
        Family::Nginx => format!("\"{seconds:x}-{size:x}\""),
        Family::Iis => {
            // A FILETIME, byte by byte, without leading zeros.
            let ticks = (micros + 11_644_473_600_000_000) * 10;
            let bytes: String = ticks.to_le_bytes().iter().map(|byte| format!("{byte:x}")).collect();
            format!("\"{bytes}:0\"")
        }
    };
    (i64::try_from(seconds).unwrap_or_default(), etag)
}

/// A time as HTTP writes it.
pub(super) fn http_date(at: jiff::Timestamp) -> String {
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etags_have_the_shape_of_their_product() {
        let install = Install::from_seed([3; 32]);
        let etag = |family| file(family, &install, 0x29cd).1;
        let shape = |text: String| {
            text.chars()
                .map(|letter| if letter.is_ascii_hexdigit() { 'h' } else { letter })
                .collect::<String>()
        };
        assert_eq!(shape(etag(Family::Apache)), "\"hhhh-hhhhhhhhhhhhh\"");
        assert_eq!(shape(etag(Family::Nginx)), "\"hhhhhhhh-hhhh\"");
        let iis = etag(Family::Iis);
        assert!(
            iis.ends_with("d81:0\"") || iis.ends_with("db1:0\"") || iis.contains("1:0\""),
            "{iis}"
        );
        assert_eq!(etag(Family::Apache), etag(Family::Apache), "stable on an install");
        assert_ne!(
            file(Family::Apache, &Install::from_seed([4; 32]), 1),
            file(Family::Apache, &install, 1)
        );
    }

    #[test]
    fn installs_of_apache_list_their_methods_in_each_of_its_orders() {
        let mut seen: Vec<_> = (0..64)
            .map(|seed| allow(Family::Apache, &Install::from_seed([seed; 32])))
            .collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 4);
    }
}
