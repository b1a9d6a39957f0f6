//! What a product answers: status, headers in the product's order, its own pages.
//!
//! In: a status and what belongs to it. Out: the bytes. Invariants: 1. the order and case of headers, the texts and
//! the lengths are those of the product; Apache's and nginx's were captured from live servers. 2. What the peer sent
//! is in an answer only as the host name and method that were checked, escaped.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::pages;

/// Whose answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Family {
    /// Apache HTTP Server 2.4.
    Apache,
    /// nginx.
    Nginx,
    /// Microsoft IIS and the kernel's HTTP below it.
    Iis,
}

/// How often Apache keeps a connection (`MaxKeepAliveRequests`); it counts down in its answers.
pub(super) const APACHE_KEPT_MAX: u32 = 100;

/// What stays the same over one exchange.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    pub(super) family: Family,
    /// The `Server` header.
    pub(super) server: &'a str,
    /// First line of Apache's error pages.
    pub(super) doctype: &'a str,
    /// Now, as in a `Date` header.
    pub(super) date: &'a str,
    /// Host name the client asked for, checked; else the address it touched.
    pub(super) host: &'a str,
    /// The port it asked for; else the one it touched.
    pub(super) port: u16,
    /// HEAD: no body is sent.
    pub(super) head: bool,
    /// The line had no version: a bare body is sent.
    pub(super) bare: bool,
    /// The client is of 1.0 and knows no chunks.
    pub(super) old: bool,
    /// The client asked by name to keep the connection.
    pub(super) asked_keep: bool,
    /// How often this connection was kept before.
    pub(super) kept: u32,
}

/// An answer before it is bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Answer<'a> {
    pub(super) status: u16,
    pub(super) body: Option<Cow<'a, [u8]>>,
    /// Content type of `body`; the product's own for its error pages.
    pub(super) kind: Option<Cow<'a, str>>,
    /// `Last-Modified` and `ETag` of a file.
    pub(super) file: Option<(&'a str, &'a str)>,
    /// `Allow`, `Location`, `WWW-Authenticate` or `Content-Range`.
    pub(super) extra: Option<(&'static str, Cow<'a, str>)>,
    /// What the error page adds: a method, a reason.
    pub(super) detail: Cow<'a, str>,
    /// Whether the connection ends with it.
    pub(super) close: bool,
    /// Whether the connection ends with it although it does not say so.
    pub(super) drop: bool,
    /// How the end of the body is told.
    pub(super) framing: Framing,
    /// It was made before the host was known: the page names the address that was touched.
    pub(super) early: bool,
}

/// How the end of a body is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Framing {
    /// By its length.
    #[default]
    Length,
    /// By chunks; by the end of the connection for a client of 1.0.
    Chunks,
    /// By the end of the connection.
    End,
}

impl Answer<'_> {
    /// The bytes to send.
    pub(super) fn render(&self, frame: &Frame<'_>) -> Vec<u8> {
        let body = match &self.body {
            Some(body) => Cow::Borrowed(&**body),
            None => pages::error(self, frame).into_bytes().into(),
        };
        let mut out = Vec::with_capacity(512 + body.len());
        if !frame.bare {
            self.head(frame, body.len(), &mut out);
        }
        if !frame.head && self.status != 304 {
            self.frame(frame, &body, &mut out);
        }
        out
    }

    fn head(&self, frame: &Frame<'_>, length: usize, out: &mut Vec<u8>) {
        let (reason, headers) = match frame.family {
            Family::Apache => (pages::apache_reason(self.status), self.apache(frame, length)),
            Family::Nginx => (pages::nginx_reason(self.status), self.nginx(frame, length)),
            Family::Iis => (pages::iis_reason(self.status), self.iis(frame, length)),
        };
        let mut text = format!("HTTP/1.1 {} {reason}\r\n", self.status);
        for (name, value) in headers {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        text.push_str("\r\n");
        out.extend_from_slice(text.as_bytes());
    }

    fn frame(&self, frame: &Frame<'_>, body: &[u8], out: &mut Vec<u8>) {
        let chunked = self.framing == Framing::Chunks && !frame.old && !frame.bare;
        if chunked {
            out.extend_from_slice(format!("{:x}\r\n", body.len()).as_bytes());
        }
        out.extend_from_slice(body);
        if chunked {
            out.extend_from_slice(b"\r\n0\r\n\r\n");
        }
    }

    fn apache(&self, frame: &Frame<'_>, length: usize) -> Headers {
        let mut headers = Headers::new();
        headers.add("Date", frame.date);
        headers.add("Server", frame.server);
        headers.extra(self, &["WWW-Authenticate", "Location", "Allow"]);
        if let Some((modified, etag)) = self.file {
            headers.add("Last-Modified", modified);
            headers.add("ETag", etag);
            headers.add("Accept-Ranges", "bytes");
        }
        // Error pages of HEAD have no length.
        if self.framing == Framing::Length && self.status != 304 && (self.body.is_some() || !frame.head) {
            headers.add("Content-Length", length);
        }
        if self.file.is_some() && matches!(self.status, 200 | 206) {
            headers.add("Vary", "Accept-Encoding");
        }
        headers.extra(self, &["Content-Range"]);
        if self.framing == Framing::Chunks && !frame.head && !frame.old {
            headers.add("Transfer-Encoding", "chunked");
        }
        if self.close {
            headers.add("Connection", "close");
        } else if frame.asked_keep {
            let left = APACHE_KEPT_MAX.saturating_sub(frame.kept);
            headers.add("Keep-Alive", format_args!("timeout=5, max={left}"));
            headers.add("Connection", "Keep-Alive");
        }
        let own = self.body.is_none().then_some("text/html; charset=iso-8859-1");
        if let Some(kind) = self.kind.as_deref().or(own).filter(|_| self.status != 304) {
            headers.add("Content-Type", kind);
        }
        headers
    }

    fn nginx(&self, frame: &Frame<'_>, length: usize) -> Headers {
        let mut headers = Headers::new();
        headers.add("Server", frame.server);
        headers.add("Date", frame.date);
        if self.status != 304 {
            headers.add("Content-Type", self.kind.as_deref().unwrap_or("text/html"));
            headers.add("Content-Length", length);
        }
        if let Some((modified, _)) = self.file {
            headers.add("Last-Modified", modified);
        }
        headers.extra(self, &["Location", "Allow"]);
        headers.add("Connection", if self.close { "close" } else { "keep-alive" });
        headers.extra(self, &["WWW-Authenticate"]);
        if let Some((_, etag)) = self.file {
            headers.add("ETag", etag);
            if self.status == 200 {
                headers.add("Accept-Ranges", "bytes");
            }
        }
        headers.extra(self, &["Content-Range"]);
        headers
    }

    fn iis(&self, frame: &Frame<'_>, length: usize) -> Headers {
        let kernel = pages::is_kernel(self.status);
        let mut headers = Headers::new();
        if self.status != 304 && (length > 0 || self.kind.is_some()) {
            let own = if kernel {
                "text/html; charset=us-ascii"
            } else {
                "text/html"
            };
            headers.add("Content-Type", self.kind.as_deref().unwrap_or(own));
        }
        headers.extra(self, &["Content-Range"]);
        if let Some((modified, etag)) = self.file {
            headers.add("Last-Modified", modified);
            headers.add("Accept-Ranges", "bytes");
            headers.add("ETag", etag);
        }
        headers.extra(self, &["Location", "Allow"]);
        headers.add("Server", if kernel { "Microsoft-HTTPAPI/2.0" } else { frame.server });
        headers.extra(self, &["WWW-Authenticate"]);
        headers.add("Date", frame.date);
        if self.close {
            headers.add("Connection", "close");
        }
        if self.status != 304 {
            headers.add("Content-Length", length);
        }
        headers
    }
}

/// Headers in order.
struct Headers(Vec<(&'static str, String)>);

impl Headers {
    fn new() -> Self {
        Self(Vec::with_capacity(12))
    }

    fn add(&mut self, name: &'static str, value: impl ToString) {
        self.0.push((name, value.to_string()));
    }

    fn extra(&mut self, answer: &Answer<'_>, names: &[&str]) {
        if let Some((name, value)) = &answer.extra
            && names.contains(name)
        {
            self.add(name, value);
        }
    }
}

impl IntoIterator for Headers {
    type Item = (&'static str, String);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
