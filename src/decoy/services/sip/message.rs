//! A SIP message taken apart. Pure.
//!
//! In: bytes from the first line on. Out: the request line, the headers that matter with where they stand, the body.
//!
//! Source: RFC 3261 sections 7, 20 and 25; what Kamailio 5.6.3 takes for no message is none.

use std::ops::Range;

/// Most headers of a message.
const HEADERS_MAX: usize = 128;

/// The version that is spoken.
const VERSION: &[u8] = b"SIP/2.0";

/// What bytes are.
#[derive(Debug)]
pub(super) enum Read<'m> {
    /// A request.
    Request(Request<'m>),
    /// Something that is answered by nothing: another version, another protocol, an answer.
    Other,
    /// Nothing that can be read.
    Broken,
}

/// A request.
#[derive(Debug)]
pub(super) struct Request<'m> {
    pub(super) method: &'m [u8],
    pub(super) uri: &'m [u8],
    pub(super) headers: Vec<Header<'m>>,
    pub(super) body: &'m [u8],
}

/// One header.
#[derive(Debug)]
pub(super) struct Header<'m> {
    pub(super) name: Name,
    /// As sent, with its line ends.
    pub(super) whole: &'m [u8],
    /// Up to the value.
    pub(super) before: &'m [u8],
    /// Without blanks around it.
    pub(super) value: &'m [u8],
    /// Where the value is in the message.
    pub(super) place: Range<usize>,
}

/// The headers that matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    Authorization,
    CallId,
    Contact,
    ContentLength,
    CSeq,
    Event,
    Expires,
    From,
    MaxForwards,
    ProxyAuthorization,
    To,
    UserAgent,
    Via,
    Other,
}

/// Names and their compact forms (RFC 3261 section 7.3.3).
const NAMES: [(&str, &str, Name); 13] = [
    ("Authorization", "", Name::Authorization),
    ("Call-ID", "i", Name::CallId),
    ("Contact", "m", Name::Contact),
    ("Content-Length", "l", Name::ContentLength),
    ("CSeq", "", Name::CSeq),
    ("Event", "o", Name::Event),
    ("Expires", "", Name::Expires),
    ("From", "f", Name::From),
    ("Max-Forwards", "", Name::MaxForwards),
    ("Proxy-Authorization", "", Name::ProxyAuthorization),
    ("To", "t", Name::To),
    ("User-Agent", "", Name::UserAgent),
    ("Via", "v", Name::Via),
];

impl Name {
    fn of(name: &[u8]) -> Self {
        let is = |known: &str| !known.is_empty() && name.eq_ignore_ascii_case(known.as_bytes());
        let found = NAMES.iter().find(|(long, compact, _)| is(long) || is(compact));
        found.map_or(Self::Other, |(_, _, name)| *name)
    }
}

impl<'m> Request<'m> {
    /// Reads a message; empty lines before it are passed over (RFC 3261 section 7.5).
    pub(super) fn read(message: &'m [u8]) -> Read<'m> {
        let start = message.iter().take_while(|byte| b"\r\n".contains(byte)).count();
        let Some(end) = line_end(message, start) else {
            return Read::Broken;
        };
        let line = message.get(start..end).unwrap_or_default().trim_ascii_end();
        let mut words = line.splitn(3, |byte| *byte == b' ');
        let [Some(method), Some(uri), Some(version)] = [words.next(), words.next(), words.next()] else {
            return Read::Broken;
        };
        let is_request = version.eq_ignore_ascii_case(VERSION) && method.iter().all(|byte| is_token(*byte));
        if !is_request || method.is_empty() {
            return Read::Other;
        }
        let Some((headers, body)) = headers(message, end) else {
            return Read::Broken;
        };
        let request = Self {
            method,
            uri,
            headers,
            body: message.get(body..).unwrap_or_default(),
        };
        match request.is_whole() {
            true => Read::Request(request),
            false => Read::Broken,
        }
    }

    /// Whether it has what every request has.
    fn is_whole(&self) -> bool {
        const NEEDED: [Name; 5] = [Name::Via, Name::From, Name::To, Name::CallId, Name::CSeq];
        NEEDED.iter().all(|name| self.value(*name).is_some())
            && self
                .value(Name::ContentLength)
                .is_none_or(|value| number(value).is_some())
    }

    /// The first header of a name.
    pub(super) fn header(&self, name: Name) -> Option<&Header<'m>> {
        self.headers.iter().find(|header| header.name == name)
    }

    /// The value of the first header of a name.
    pub(super) fn value(&self, name: Name) -> Option<&'m [u8]> {
        self.header(name).map(|header| header.value)
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte)
}

/// The offset behind the line that begins at an offset.
fn line_end(message: &[u8], from: usize) -> Option<usize> {
    let rest = message.get(from..)?;
    memchr::memchr(b'\n', rest).map(|length| from + length + 1)
}

/// The headers from an offset on, and where the body begins. `None`: a line is none, or the end is missing.
fn headers(message: &[u8], from: usize) -> Option<(Vec<Header<'_>>, usize)> {
    let (mut headers, mut at) = (Vec::new(), from);
    loop {
        let mut end = line_end(message, at)?;
        if message.get(at..end)?.trim_ascii().is_empty() {
            return Some((headers, end));
        }
        // A line that begins with a blank belongs to the one before it.
        while matches!(message.get(end), Some(b' ' | b'\t')) {
            end = line_end(message, end)?;
        }
        if headers.len() >= HEADERS_MAX {
            return None;
        }
        headers.push(header(message, at..end)?);
        at = end;
    }
}

fn header(message: &[u8], place: Range<usize>) -> Option<Header<'_>> {
    let whole = message.get(place.clone())?;
    let colon = memchr::memchr(b':', whole)?;
    let (name, value) = (whole.get(..colon)?.trim_ascii(), whole.get(colon + 1..)?);
    let from = place.start + colon + 1 + (value.len() - value.trim_ascii_start().len());
    let value = value.trim_ascii();
    Some(Header {
        name: Name::of(name),
        whole,
        before: message.get(place.start..from)?,
        value,
        place: from..from + value.len(),
    })
}

/// A decimal number.
pub(super) fn number(text: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(text).ok()?;
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

/// A URI (RFC 3261 section 19.1), as far as it says where to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Uri<'m> {
    pub(super) user: Option<&'m [u8]>,
    /// Empty in a telephone number; an IPv6 address has its brackets.
    pub(super) host: &'m [u8],
    pub(super) port: Option<&'m [u8]>,
}

impl<'m> Uri<'m> {
    pub(super) fn read(uri: &'m [u8]) -> Option<Self> {
        let colon = memchr::memchr(b':', uri)?;
        let (scheme, rest) = (uri.get(..colon)?, uri.get(colon + 1..)?);
        let end = rest.iter().position(|byte| b";?>".contains(byte)).unwrap_or(rest.len());
        let rest = rest.get(..end)?;
        if scheme.eq_ignore_ascii_case(b"tel") {
            return Some(Self {
                user: Some(rest),
                host: b"",
                port: None,
            });
        }
        if !scheme.eq_ignore_ascii_case(b"sip") && !scheme.eq_ignore_ascii_case(b"sips") {
            return None;
        }
        let at = memchr::memrchr(b'@', rest);
        let login = at.and_then(|at| rest.get(..at));
        let user = login.and_then(|login| login.split(|byte| *byte == b':').next());
        let (host, port) = host_and_port(rest.get(at.map_or(0, |at| at + 1)..)?);
        (!host.is_empty()).then_some(Self { user, host, port })
    }

    /// The URI of a `From` or `To`: between angle brackets, or all up to the parameters.
    pub(super) fn of_address(value: &'m [u8]) -> Option<Self> {
        Self::read(bracketed(value).map_or_else(|| upto(value, b';'), |(inside, _)| inside))
    }
}

/// What is between the angle brackets of an address, and what is behind; a quoted name before may hold anything.
fn bracketed(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mut quoted, mut escaped) = (false, false);
    let open = value.iter().position(|byte| {
        let is_quote = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && quoted && !escaped;
        quoted ^= is_quote;
        *byte == b'<' && !quoted
    })?;
    let inside = value.get(open + 1..)?;
    let close = memchr::memchr(b'>', inside)?;
    Some((inside.get(..close)?, inside.get(close + 1..)?))
}

fn upto(text: &[u8], end: u8) -> &[u8] {
    text.split(|byte| *byte == end).next().unwrap_or_default()
}

pub(super) fn host_and_port(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    let host = match memchr::memchr(b']', text) {
        Some(end) if text.starts_with(b"[") => end + 1,
        _ => memchr::memchr(b':', text).unwrap_or(text.len()),
    };
    let (host, rest) = text.split_at_checked(host).unwrap_or((text, b""));
    (host, rest.strip_prefix(b":"))
}

/// Whether an address has a tag: it is within a dialogue.
pub(super) fn has_tag(value: &[u8]) -> bool {
    let parameters = bracketed(value).map_or_else(
        || {
            memchr::memchr(b';', value)
                .and_then(|at| value.get(at..))
                .unwrap_or_default()
        },
        |(_, behind)| behind,
    );
    parameters
        .split(|byte| *byte == b';')
        .any(|parameter| upto(parameter, b'=').trim_ascii().eq_ignore_ascii_case(b"tag"))
}
