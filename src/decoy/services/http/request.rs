//! A request head as it came: line, headers, where each is.
//!
//! In: bytes. Out: a [`Request`] that borrows them, or the [`Fault`] in them. What is a fault differs from product to
//! product, so each is named and the product decides.
//!
//! Invariants: 1. the head is at most [`HEAD_MAX`] bytes and [`HEADERS_MAX`] headers. 2. Nothing is decoded, and only
//! folded values are copied.
//! 3. The same bytes give the same request however they were cut on the way.
//!
//! Source: RFC 9112 sections 2 to 5.

use std::borrow::Cow;
use std::ops::Range;

/// Longest head that is read, bytes.
pub(super) const HEAD_MAX: usize = 32 << 10;

/// Most headers that are kept.
const HEADERS_MAX: usize = 256;

/// A request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Request<'a> {
    pub(super) method: &'a [u8],
    /// The target as sent.
    pub(super) target: &'a [u8],
    /// Where the target begins in the head.
    pub(super) target_at: usize,
    pub(super) version: Version,
    pub(super) headers: Vec<Header<'a>>,
    /// What is wrong with the line or the headers, first found first.
    pub(super) faults: Vec<Fault>,
    /// Length of the request line, without its end.
    pub(super) line_bytes: usize,
    /// Length of the longest header with what it goes on with, without its end.
    pub(super) field_bytes_max: usize,
}

/// A header.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header<'a> {
    pub(super) name: &'a [u8],
    /// The value without blanks around it; where it is folded, blanks stand for the line ends.
    pub(super) value: Cow<'a, [u8]>,
    /// Where the value begins in the head.
    pub(super) at: usize,
}

/// `HTTP/major.minor`; 0.9 is a line without a version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    pub(super) major: u16,
    pub(super) minor: u16,
}

/// HTTP/0.9: no headers at all.
pub(super) const V0_9: Version = Version { major: 0, minor: 9 };
/// HTTP/1.1: keeps the connection.
pub(super) const V1_1: Version = Version { major: 1, minor: 1 };

/// What is wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The line is not one of a request.
    Line,
    /// A line of the oldest kind, without version, that asks for more than GET.
    Old,
    /// A method of bytes that no method has.
    Method,
    /// More than one blank between the parts of the line.
    Blanks,
    /// Blanks after the line.
    Tail,
    /// A blank in the target.
    Gap,
    /// A control byte in the target.
    Target,
    /// A version of more than two digits.
    LongVersion,
    /// The head is longer than [`HEAD_MAX`].
    LongHead,
    /// More than 100 headers.
    ManyHeaders,
    /// A header line without colon.
    NoColon,
    /// A header name with blanks or control bytes, or none.
    Name,
    /// A header name with other bytes that no name has.
    OddName,
    /// A header line that goes on with the one before.
    Fold,
    /// A line of blanks that goes on with the one before.
    BlankFold,
    /// A control byte in a header.
    Control,
    /// A CR within a header.
    Cr,
    /// A NUL.
    Nul,
    /// A line that ends with LF alone.
    BareLf,
}

/// Where the head ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// Not yet.
    More,
    /// After this many bytes.
    End(usize),
    /// It is longer than [`HEAD_MAX`].
    TooLong,
}

/// Finds the end of the head. Only the first line counts if it has no version or is no request at all. A line that
/// has not ended after `open_max` bytes is too long.
pub(super) fn head(bytes: &[u8], open_max: usize) -> Head {
    let window = bytes.get(..HEAD_MAX).unwrap_or(bytes);
    let Some(first) = memchr::memchr(b'\n', window) else {
        return more(window, open_max);
    };
    let request = request_line(window.get(..first).unwrap_or_default());
    if request.version == V0_9 || request.is_junk() {
        return Head::End(first + 1);
    }
    let mut at = first + 1;
    while let Some(rest) = window.get(at..)
        && let Some(end) = memchr::memchr(b'\n', rest)
    {
        at += end + 1;
        if matches!(rest.get(..end), Some(b"" | b"\r")) {
            return Head::End(at);
        }
    }
    match more(window.get(at..).unwrap_or_default(), open_max) {
        Head::More => more(window, HEAD_MAX),
        too_long => too_long,
    }
}

fn more(window: &[u8], max: usize) -> Head {
    if window.len() >= max { Head::TooLong } else { Head::More }
}

/// Reads a whole head, or what there is of one that is too long.
pub(super) fn read(head: &[u8]) -> Request<'_> {
    let first = memchr::memchr(b'\n', head).unwrap_or(head.len());
    let mut request = request_line(head.get(..first).unwrap_or_default());
    if head.len() >= HEAD_MAX {
        request.faults.push(Fault::LongHead);
    }
    if has_bare_lf(head) {
        request.faults.push(Fault::BareLf);
    }
    let mut at = first + 1;
    while let Some(line) = line(head, at).filter(|line| !trim_cr(head.get(line.clone()).unwrap_or_default()).is_empty())
    {
        let whole = line.start..folded(head, line.end);
        header(&mut request, head, whole.clone(), line.end);
        at = whole.end + 1;
    }
    request
}

fn has_bare_lf(head: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', head).any(|at| at == 0 || head.get(at - 1) != Some(&b'\r'))
}

/// The line that begins at `at`, without the LF.
fn line(head: &[u8], at: usize) -> Option<Range<usize>> {
    let rest = head.get(at..).filter(|rest| !rest.is_empty())?;
    Some(at..at + memchr::memchr(b'\n', rest).unwrap_or(rest.len()))
}

/// Where the lines end that go on with the one that ends at `end`: they begin with a blank (RFC 9112 section 5.2).
fn folded(head: &[u8], mut end: usize) -> usize {
    while matches!(head.get(end + 1), Some(b' ' | b'\t'))
        && let Some(more) = line(head, end + 1)
    {
        end = more.end;
    }
    end
}

fn request_line(line: &[u8]) -> Request<'_> {
    let line = trim_cr(line);
    let (text, version) = split_version(line);
    let head_bytes = text.len() + usize::from(version.is_some());
    let method = text
        .get(..memchr::memchr(b' ', text).unwrap_or(text.len()))
        .unwrap_or_default();
    let rest = text.get(method.len()..).unwrap_or_default();
    let target = trim_blanks(rest);
    let target_at = text.len() - trim_blanks_start(rest).len();
    let mut request = Request {
        method,
        target,
        target_at,
        version: version.unwrap_or(V0_9),
        line_bytes: line.len(),
        ..Request::default()
    };
    let is_old = version.is_none();
    // One blank before the target, one before the version.
    let plain = method.len() + 1 + target.len() + usize::from(!is_old);
    let faults = [
        (line.contains(&0), Fault::Nul),
        (!method.iter().all(is_token) || method.is_empty(), Fault::Method),
        (is_line_wrong(&request, is_old), Fault::Line),
        (is_old && method != b"GET" && !target.contains(&b' '), Fault::Old),
        (head_bytes > plain, Fault::Blanks),
        (line.ends_with(b" "), Fault::Tail),
        (target.contains(&b' '), Fault::Gap),
        (target.iter().any(u8::is_ascii_control), Fault::Target),
        (
            request.version.major > 9 || request.version.minor > 9,
            Fault::LongVersion,
        ),
    ];
    request
        .faults
        .extend(faults.into_iter().filter(|(is, _)| *is).map(|(_, fault)| fault));
    request
}

/// A line of two words without a version, a version that no request names, or too few words.
fn is_line_wrong(request: &Request<'_>, is_old: bool) -> bool {
    request.target.is_empty() || (is_old && request.target.contains(&b' ')) || (!is_old && request.version.major == 0)
}

/// Parts a line before the version at its end; blanks after it do not count.
fn split_version(line: &[u8]) -> (&[u8], Option<Version>) {
    let text = line.get(..line.len() - line.iter().rev().take_while(|byte| **byte == b' ').count());
    let text = text.unwrap_or_default();
    let word = memchr::memrchr(b' ', text).filter(|at| memchr::memchr(b' ', text).is_some_and(|first| first < *at));
    match word.and_then(|at| Some((at, version(text.get(at + 1..)?)?))) {
        Some((at, version)) => (text.get(..at).unwrap_or_default(), Some(version)),
        None => (text, None),
    }
}

fn trim_blanks_start(text: &[u8]) -> &[u8] {
    text.get(text.iter().take_while(|byte| **byte == b' ').count()..)
        .unwrap_or_default()
}

fn trim_blanks(text: &[u8]) -> &[u8] {
    let text = trim_blanks_start(text);
    let after = text.iter().rev().take_while(|byte| **byte == b' ').count();
    text.get(..text.len() - after).unwrap_or_default()
}

/// Reads `HTTP/` and two numbers of at most three digits; the first does not begin with 0 unless it is 0.
fn version(word: &[u8]) -> Option<Version> {
    let numbers = word.strip_prefix(b"HTTP/")?;
    let dot = memchr::memchr(b'.', numbers)?;
    let (major, minor) = (numbers.get(..dot)?, numbers.get(dot + 1..)?);
    if major.len() > 1 && major.starts_with(b"0") {
        return None;
    }
    Some(Version {
        major: number(major)?,
        minor: number(minor)?,
    })
}

fn number(digits: &[u8]) -> Option<u16> {
    let is_short = (1..=3).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    is_short.then(|| digits.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0')))
}

/// Takes a header that is `place` in the head; its first line ends at `first`.
fn header<'a>(request: &mut Request<'a>, head: &'a [u8], place: Range<usize>, first: usize) {
    let line = trim_cr(head.get(place.clone()).unwrap_or_default());
    request.field_bytes_max = request.field_bytes_max.max(line.len());
    request
        .faults
        .extend(faults(line, place.end > first, request.headers.len()));
    let Some(colon) = memchr::memchr(b':', line) else {
        request.faults.push(Fault::NoColon);
        return;
    };
    let name = line.get(..colon).unwrap_or_default();
    if name.is_empty() || name.iter().any(|byte| byte.is_ascii_control() || *byte == b' ') {
        request.faults.push(Fault::Name);
    } else if !name.iter().all(is_token) {
        request.faults.push(Fault::OddName);
    }
    let raw = line.get(colon + 1..).unwrap_or_default();
    if request.headers.len() < HEADERS_MAX {
        request.headers.push(Header {
            name,
            value: unfolded(raw.trim_ascii()),
            at: place.start + colon + 1 + raw.len() - raw.trim_ascii_start().len(),
        });
    }
}

/// What is wrong with a header line after `count` others.
fn faults(line: &[u8], is_folded: bool, count: usize) -> impl Iterator<Item = Fault> {
    let is_control = |byte: &u8| byte.is_ascii_control() && !matches!(byte, b'\t' | b'\r' | b'\n');
    let is_blank = |line: &[u8]| line.iter().all(u8::is_ascii_whitespace);
    let mut crs = memchr::memchr_iter(b'\r', line).filter(|at| line.get(at + 1) != Some(&b'\n'));
    let first_cr = crs.next();
    let more = first_cr.is_some_and(|at| line.get(at..).is_some_and(|rest| !is_blank(rest)));
    [
        (count == 100, Fault::ManyHeaders),
        (line.contains(&0), Fault::Nul),
        (
            is_folded || line.starts_with(b" ") || line.starts_with(b"\t"),
            Fault::Fold,
        ),
        (
            is_folded && line.split(|byte| *byte == b'\n').skip(1).any(is_blank),
            Fault::BlankFold,
        ),
        (first_cr.is_some() || line.iter().any(is_control), Fault::Control),
        (more, Fault::Cr),
    ]
    .into_iter()
    .filter(|(is, _)| *is)
    .map(|(_, fault)| fault)
}

/// A value with blanks for the line ends in it, so that each byte stays in its place.
fn unfolded(value: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'\n', value).is_none() {
        return value.into();
    }
    let blank = |byte: &u8| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte };
    value.iter().map(blank).collect::<Vec<u8>>().into()
}

impl Header<'_> {
    fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

impl<'a> Request<'a> {
    /// The values of a header.
    pub(super) fn all<'r>(&'r self, name: &'r str) -> impl Iterator<Item = &'r Header<'a>> {
        self.headers.iter().filter(move |header| header.is(name))
    }

    /// The first value of a header.
    pub(super) fn get(&self, name: &str) -> Option<&[u8]> {
        self.headers
            .iter()
            .find(|header| header.is(name))
            .map(|header| &*header.value)
    }

    /// Whether this is no request of today: what it holds is unknown.
    pub(super) fn is_junk(&self) -> bool {
        self.faults.contains(&Fault::Line) || self.faults.contains(&Fault::Old)
    }

    /// Whether it has one of these faults.
    pub(super) fn has(&self, faults: &[Fault]) -> bool {
        self.faults.iter().any(|fault| faults.contains(fault))
    }

    /// The scheme of an absolute target.
    pub(super) fn scheme(&self) -> Option<&'a [u8]> {
        let at = memchr::memmem::find(self.target, b"://").filter(|_| !self.target.starts_with(b"/"))?;
        self.target.get(..at)
    }

    /// Whether it has a body, or says so.
    pub(super) fn has_body(&self) -> bool {
        self.get("transfer-encoding").is_some() || !matches!(self.content_length(), Ok(None | Some(0)))
    }

    /// The path of the target: without query, without scheme and host.
    pub(super) fn path(&self) -> &'a [u8] {
        let origin = match memchr::memmem::find(self.target, b"://") {
            Some(at) if !self.target.starts_with(b"/") => {
                let rest = self.target.get(at + 3..).unwrap_or_default();
                let slash = memchr::memchr(b'/', rest).unwrap_or(rest.len());
                rest.get(slash..).filter(|path| !path.is_empty()).unwrap_or(b"/")
            }
            _ => self.target,
        };
        let end = memchr::memchr2(b'?', b'#', origin).unwrap_or(origin.len());
        origin.get(..end).unwrap_or_default()
    }

    /// The query of the target, and where it begins in the head.
    pub(super) fn query(&self) -> Option<(&'a [u8], usize)> {
        let at = memchr::memchr(b'?', self.target)? + 1;
        Some((self.target.get(at..)?, self.target_at + at))
    }

    /// Whether a header with a list of words has this one.
    pub(super) fn says(&self, name: &str, word: &str) -> bool {
        self.all(name)
            .flat_map(|header| header.value.split(|byte| *byte == b','))
            .any(|found| found.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
    }

    /// How long the body says it is; `Err` if that is no length.
    pub(super) fn content_length(&self) -> Result<Option<u64>, ()> {
        let mut lengths = self.all("content-length").map(|header| &*header.value);
        let Some(first) = lengths.next() else {
            return Ok(None);
        };
        if first.is_empty() || !first.iter().all(u8::is_ascii_digit) || lengths.any(|other| other != first) {
            return Err(());
        }
        let digits = std::str::from_utf8(first).map_err(|_| ())?;
        digits.parse().map(Some).map_err(|_| ())
    }
}

fn is_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

fn trim_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OPEN_MAX: usize = 8 << 10;

    #[test]
    fn a_request_is_taken_apart_in_place() {
        let bytes = b"POST /a?b=c HTTP/1.1\r\nHost:  x \r\nA: 1\r\nA: 2\r\n\r\nbody";
        assert_eq!(head(bytes, OPEN_MAX), Head::End(bytes.len() - 4));
        let request = read(bytes);
        assert_eq!(
            (request.method, request.target, request.version),
            (&b"POST"[..], &b"/a?b=c"[..], V1_1)
        );
        assert_eq!((request.path(), request.query()), (&b"/a"[..], Some((&b"b=c"[..], 8))));
        assert_eq!(request.get("host"), Some(&b"x"[..]));
        assert_eq!(&bytes[request.headers[0].at..][..1], b"x");
        assert!(request.says("a", "2") && request.faults.is_empty());
    }

    #[test]
    fn one_line_is_a_whole_request_of_the_old_kind_or_no_request() {
        assert_eq!(head(b"GET /\r\n", OPEN_MAX), Head::End(7));
        assert_eq!(read(b"GET /\r\n").version, V0_9);
        for junk in [
            &b"HELP\r\n"[..],
            b"\x16\x03\x01\x00abc\r\n",
            b"GET / HTTX/1.1\r\n",
            b"POST /\r\n",
        ] {
            assert_eq!(head(junk, OPEN_MAX), Head::End(junk.len()));
            assert!(read(junk).is_junk(), "{}", junk.escape_ascii());
        }
    }

    #[test]
    fn faults_are_named() {
        let faults = |bytes: &[u8]| read(bytes).faults;
        assert_eq!(faults(b"GET / HTTP/1.1\r\nfoo\r\n\r\n"), [Fault::NoColon]);
        assert_eq!(faults(b"GET / HTTP/1.1\r\nfoo : x\r\n\r\n"), [Fault::Name]);
        assert_eq!(faults(b"GET / HTTP/1.1\r\na: x\r\n y\r\n\r\n"), [Fault::Fold]);
        assert_eq!(faults(b"GET /\0 HTTP/1.1\r\n\r\n"), [Fault::Nul, Fault::Target]);
        for (line, fault) in [
            ("GET  / HTTP/1.1\r\n", Fault::Blanks),
            ("GET /  HTTP/1.1\r\n", Fault::Blanks),
            ("GET / HTTP/1.1 \r\n", Fault::Tail),
            ("GET / \r\n", Fault::Tail),
            ("GET /a b HTTP/1.1\r\n", Fault::Gap),
            ("GET /\x01 HTTP/1.1\r\n", Fault::Target),
            ("GET / HTTP/1.10\r\n", Fault::LongVersion),
            ("GET / HTTP/0.9\r\n", Fault::Line),
            ("POST /\r\n", Fault::Old),
            ("GET / HTTP/1.1\n", Fault::BareLf),
            ("GET / HTTP/1.1\r\na(b: x\r\n", Fault::OddName),
            ("GET / HTTP/1.1\r\na: \x01\r\n", Fault::Control),
        ] {
            assert_eq!(faults(line.as_bytes()), [fault], "{line:?}");
        }
        assert_eq!(faults(b"GET / HTTP/1.1\r\na: x\ry\r\n"), [Fault::Control, Fault::Cr]);
        assert_eq!(
            faults(b"GET / HTTP/1.1\r\na: x\r\n \r\n"),
            [Fault::Fold, Fault::BlankFold]
        );
    }

    #[test]
    fn lengths_are_told() {
        let long = [
            b"GET /",
            &[b'a'; 9000][..],
            b" HTTP/1.1\r\nA: ",
            &[b'b'; 70],
            b"\r\nC: d\r\n\r\n",
        ]
        .concat();
        let request = read(&long);
        assert_eq!((request.line_bytes, request.field_bytes_max), (9014, 73));
    }

    #[test]
    fn a_folded_value_is_one_and_each_byte_is_in_its_place() {
        let bytes = b"GET / HTTP/1.1\r\nA:\r\n b\r\n\tc\r\nD: e\r\n\r\n";
        let request = read(bytes);
        assert_eq!(
            (request.get("a"), request.get("d")),
            (Some(&b"b  \tc"[..]), Some(&b"e"[..]))
        );
        assert_eq!(&bytes[request.headers[0].at..][..1], b"b");
        let first = read(b"GET / HTTP/1.1\r\n A: b\r\n\r\n");
        assert_eq!(first.faults, [Fault::Fold, Fault::Name]);
    }

    #[test]
    fn a_head_without_end_is_bounded() {
        let open = [&b"GET / HTTP/1.1\r\n"[..], &[b'a'; OPEN_MAX]].concat();
        for (bytes, last) in [(&open[16..], OPEN_MAX - 1), (&open[..], open.len() - 1)] {
            assert_eq!(head(&bytes[..last], OPEN_MAX), Head::More);
            assert_eq!(head(bytes, OPEN_MAX), Head::TooLong);
        }
        let many = [&b"GET / HTTP/1.1\r\n"[..], &b"a: b\r\n".repeat(8000)].concat();
        assert_eq!(head(&many, OPEN_MAX), Head::TooLong);
        assert!(read(&many).headers.len() <= HEADERS_MAX);
        assert!(read(&many).faults.contains(&Fault::LongHead));
    }

    #[test]
    fn lengths_that_lie_are_no_lengths() {
        let length = |value: &str| {
            let head = format!("POST / HTTP/1.1\r\nContent-Length: {value}\r\n\r\n");
            read(head.as_bytes()).content_length()
        };
        assert_eq!(length("3"), Ok(Some(3)));
        for lie in ["-1", "+3", "abc", "", "3, 3", "99999999999999999999"] {
            assert_eq!(length(lie), Err(()), "{lie}");
        }
        let twice = b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n";
        assert_eq!(read(twice).content_length(), Err(()));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic_and_cut_anywhere_the_same(
            line in prop::sample::select(vec![&b"GET / HTTP/1.1\r\n"[..], b"", b"POST /x?a=b HTTP/1.0\n"]),
            rest in prop::collection::vec(prop::sample::select(b"aB:?=&% \t\r\n\0\xff/".to_vec()), 0..200),
        ) {
            let bytes = [line, &rest].concat();
            let whole = head(&bytes, OPEN_MAX);
            for cut in 0..bytes.len() {
                let part = head(&bytes[..cut], OPEN_MAX);
                prop_assert!(part == Head::More || part == whole);
            }
            let request = read(&bytes);
            let _ = (request.path(), request.content_length());
            if let Some((query, at)) = request.query() {
                prop_assert_eq!(&bytes[at..][..query.len()], query);
            }
            for header in &request.headers {
                let raw = &bytes[header.at..][..header.value.len()];
                prop_assert_eq!(unfolded(raw), &*header.value);
            }
        }
    }
}
