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

/// Longest line that servers read by default, bytes.
pub(super) const LINE_MAX: usize = 8190;

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
    pub(super) major: u8,
    pub(super) minor: u8,
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
    /// A method of bytes that no method has.
    Method,
    /// A line longer than [`LINE_MAX`].
    LongLine,
    /// A header longer than [`LINE_MAX`], or a head longer than [`HEAD_MAX`].
    LongHeader,
    /// More than 100 headers.
    ManyHeaders,
    /// A header line without colon.
    NoColon,
    /// A header name with blanks or control bytes.
    Name,
    /// A header line that goes on with the one before.
    Fold,
    /// A NUL.
    Nul,
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

/// Finds the end of the head. Only the first line counts if it has no version or is no request at all.
pub(super) fn head(bytes: &[u8]) -> Head {
    let window = bytes.get(..HEAD_MAX).unwrap_or(bytes);
    let Some(first) = memchr::memchr(b'\n', window) else {
        return more(window, LINE_MAX + 1);
    };
    let line = window.get(..first).unwrap_or_default();
    let request = request_line(line);
    if request.version == V0_9 || request.faults.contains(&Fault::Line) {
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
    more(window, HEAD_MAX)
}

fn more(window: &[u8], max: usize) -> Head {
    if window.len() >= max { Head::TooLong } else { Head::More }
}

/// Reads a whole head, or what there is of one that is too long.
pub(super) fn read(head: &[u8]) -> Request<'_> {
    let first = memchr::memchr(b'\n', head).unwrap_or(head.len());
    let mut request = request_line(head.get(..first).unwrap_or_default());
    if head.len() >= HEAD_MAX {
        request.faults.push(Fault::LongHeader);
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
    let mut request = Request::default();
    if line.len() > LINE_MAX {
        request.faults.push(Fault::LongLine);
    }
    if line.contains(&0) {
        request.faults.push(Fault::Nul);
    }
    let method_end = memchr::memchr(b' ', line).unwrap_or(line.len());
    let last = memchr::memrchr(b' ', line).filter(|last| *last > method_end);
    let version = last.and_then(|last| version(line.get(last + 1..)?));
    let target_end = match (version, last) {
        (Some(version), Some(last)) => {
            request.version = version;
            last
        }
        _ => {
            request.version = V0_9;
            line.len()
        }
    };
    request.method = line.get(..method_end).unwrap_or_default();
    request.target_at = (method_end + 1).min(line.len());
    request.target = line.get(request.target_at..target_end).unwrap_or_default();
    if !request.method.iter().all(is_token) || request.method.is_empty() {
        request.faults.push(Fault::Method);
    }
    let simple = request.version == V0_9 && (request.method != b"GET" || request.target.contains(&b' '));
    if request.target.is_empty() || simple {
        request.faults.push(Fault::Line);
    }
    request
}

fn version(word: &[u8]) -> Option<Version> {
    match *word {
        [
            b'H',
            b'T',
            b'T',
            b'P',
            b'/',
            major @ b'0'..=b'9',
            b'.',
            minor @ b'0'..=b'9',
        ] => Some(Version {
            major: major - b'0',
            minor: minor - b'0',
        }),
        _ => None,
    }
}

/// Takes a header that is `place` in the head; its first line ends at `first`.
fn header<'a>(request: &mut Request<'a>, head: &'a [u8], place: Range<usize>, first: usize) {
    let line = trim_cr(head.get(place.clone()).unwrap_or_default());
    let faults = [
        (line.len() > LINE_MAX, Fault::LongHeader),
        (request.headers.len() == 100, Fault::ManyHeaders),
        (line.contains(&0), Fault::Nul),
        (
            place.end > first || line.starts_with(b" ") || line.starts_with(b"\t"),
            Fault::Fold,
        ),
    ];
    request
        .faults
        .extend(faults.into_iter().filter(|(is, _)| *is).map(|(_, fault)| fault));
    let Some(colon) = memchr::memchr(b':', line) else {
        request.faults.push(Fault::NoColon);
        return;
    };
    let name = line.get(..colon).unwrap_or_default();
    if name.is_empty() || !name.iter().all(is_token) {
        request.faults.push(Fault::Name);
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

    #[test]
    fn a_request_is_taken_apart_in_place() {
        let bytes = b"POST /a?b=c HTTP/1.1\r\nHost:  x \r\nA: 1\r\nA: 2\r\n\r\nbody";
        assert_eq!(head(bytes), Head::End(bytes.len() - 4));
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
        assert_eq!(head(b"GET /\r\n"), Head::End(7));
        assert_eq!(read(b"GET /\r\n").version, V0_9);
        for junk in [
            &b"HELP\r\n"[..],
            b"\x16\x03\x01\x00abc\r\n",
            b"GET / HTTX/1.1\r\n",
            b"POST /\r\n",
        ] {
            assert_eq!(head(junk), Head::End(junk.len()));
            assert!(read(junk).faults.contains(&Fault::Line), "{}", junk.escape_ascii());
        }
    }

    #[test]
    fn faults_are_named() {
        let faults = |bytes: &[u8]| read(bytes).faults;
        assert_eq!(faults(b"GET / HTTP/1.1\r\nfoo\r\n\r\n"), [Fault::NoColon]);
        assert_eq!(faults(b"GET / HTTP/1.1\r\nfoo : x\r\n\r\n"), [Fault::Name]);
        assert_eq!(faults(b"GET / HTTP/1.1\r\na: x\r\n y\r\n\r\n"), [Fault::Fold]);
        assert_eq!(faults(b"GET /\0 HTTP/1.1\r\n\r\n"), [Fault::Nul]);
        let long = [b"GET /", &[b'a'; 9000][..], b" HTTP/1.1\r\n\r\n"].concat();
        assert_eq!(faults(&long), [Fault::LongLine]);
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
        assert_eq!(head(&[b'a'; LINE_MAX]), Head::More);
        assert_eq!(head(&[b'a'; LINE_MAX + 1]), Head::TooLong);
        let many = [&b"GET / HTTP/1.1\r\n"[..], &b"a: b\r\n".repeat(8000)].concat();
        assert_eq!(head(&many), Head::TooLong);
        assert!(read(&many).headers.len() <= HEADERS_MAX);
        assert!(read(&many).faults.contains(&Fault::LongHeader));
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
            let whole = head(&bytes);
            for cut in 0..bytes.len() {
                let part = head(&bytes[..cut]);
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
