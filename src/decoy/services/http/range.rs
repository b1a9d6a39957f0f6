//! Which parts of a file a client asks for (RFC 9110 section 14), as each product reads it.
//!
//! In: a request and the file's size. Out: [`Wanted`]. Invariant: parts lie within the file, and together are no
//! longer than it.

use std::ops::Range;

use super::answer::Family;
use super::conditions::{File, parse};
use super::request::Request;

/// Most parts that are looked at.
const PARTS_MAX: usize = 200;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The file, as it is.
    Whole,
    /// These parts of it, at least one.
    Parts(Vec<Range<usize>>),
    /// Nothing that it has.
    Nothing,
}

/// What `request` wants of a file of `size` bytes.
pub(super) fn of(request: &Request<'_>, file: File<'_>, size: usize, family: Family) -> Wanted {
    let Some(specs) = request.get("range").and_then(bytes).filter(|_| is_still(request, file)) else {
        return Wanted::Whole;
    };
    let found = match family {
        Family::Nginx => nginx(specs, size),
        _ => apache(specs, size),
    };
    let sum = |parts: &[Range<usize>]| parts.iter().map(ExactSizeIterator::len).sum::<usize>();
    match found {
        Some(parts) if parts.is_empty() => Wanted::Nothing,
        Some(parts) if sum(&parts) <= size => Wanted::Parts(parts),
        _ => Wanted::Whole,
    }
}

fn bytes(value: &[u8]) -> Option<&[u8]> {
    let (unit, specs) = value.split_first_chunk::<6>()?;
    (unit.eq_ignore_ascii_case(b"bytes=") && !specs.is_empty()).then_some(specs)
}

/// Whether the file is still the one that `If-Range` names.
fn is_still(request: &Request<'_>, file: File<'_>) -> bool {
    request
        .get("if-range")
        .is_none_or(|value| value == file.etag.as_bytes() || parse(value) == Some(file.written))
}

/// A part as written: first and last, one of them may be absent. `None`: it is none.
fn spec(text: &[u8]) -> Option<(Option<usize>, Option<usize>)> {
    let (first, last) = text.split_at_checked(memchr::memchr(b'-', text)?)?;
    let number = |digits: &[u8]| match digits.trim_ascii() {
        b"" => Some(None),
        digits if digits.iter().all(u8::is_ascii_digit) => {
            let number: i64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
            usize::try_from(number).ok().map(Some)
        }
        _ => None,
    };
    Some((number(first)?, number(last.get(1..)?)?))
}

/// Apache leaves out what the file has not, joins what touches, and ignores all if one is no part. `None`: all.
fn apache(specs: &[u8], size: usize) -> Option<Vec<Range<usize>>> {
    let mut parts: Vec<Range<usize>> = Vec::new();
    let specs = specs
        .split(|byte| *byte == b',')
        .filter(|text| !text.trim_ascii().is_empty());
    for text in specs.take(PARTS_MAX) {
        let part = match spec(text)? {
            (None, None | Some(0)) => return None,
            (None, Some(count)) => size.saturating_sub(count)..size,
            (Some(first), Some(last)) if last < first => return None,
            (Some(first), last) => first..last.map_or(size, |last| size.min(last.saturating_add(1))),
        };
        match parts.last_mut() {
            _ if part.start >= size => {}
            Some(before) if part.start <= before.end && before.start <= part.end => {
                *before = before.start.min(part.start)..before.end.max(part.end);
            }
            _ => parts.push(part),
        }
    }
    Some(parts)
}

/// nginx refuses all if one is no part, and joins nothing. `None`: more than the file has.
fn nginx(specs: &[u8], size: usize) -> Option<Vec<Range<usize>>> {
    let mut parts = Vec::new();
    for text in specs.split(|byte| *byte == b',').take(PARTS_MAX) {
        let part = match spec(text) {
            None | Some((None, None)) => return Some(Vec::new()),
            Some((None, Some(count))) => size.saturating_sub(count)..size,
            Some((Some(first), last)) => first..last.map_or(size, |last| size.min(last.saturating_add(1))),
        };
        if part.start < part.end {
            parts.push(part);
        } else if part.start == 0 {
            return None;
        }
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::request::read;
    use super::*;

    const FILE: File<'_> = File {
        written: 0,
        etag: "\"e\"",
    };

    fn wanted(family: Family, value: &str) -> Wanted {
        let head = format!("GET / HTTP/1.1\r\nRange: {value}\r\n\r\n");
        of(&read(head.as_bytes()), FILE, 805, family)
    }

    /// Each row: what is asked of 805 bytes, and what Apache 2.4.71 and nginx 1.22.1 sent (both live).
    #[test]
    fn each_product_reads_ranges_as_it_does() {
        let parts = |parts: &[Range<usize>]| Wanted::Parts(parts.to_vec());
        let one = |part: Range<usize>| Wanted::Parts(std::iter::once(part).collect());
        let (whole, nothing) = (Wanted::Whole, Wanted::Nothing);
        for (value, apache, nginx) in [
            ("bytes=0-9", one(0..10), one(0..10)),
            ("BYTES=0-9", one(0..10), one(0..10)),
            ("bytes=-5", one(800..805), one(800..805)),
            ("bytes=-99999", one(0..805), one(0..805)),
            ("bytes=5-", one(5..805), one(5..805)),
            ("bytes=0-99999", one(0..805), one(0..805)),
            ("bytes=9999-", nothing.clone(), nothing.clone()),
            ("bytes=0-1,3-4", parts(&[0..2, 3..5]), parts(&[0..2, 3..5])),
            ("bytes=0-1,2-3,900-", one(0..4), parts(&[0..2, 2..4])),
            ("bytes=0-,0-,0-", one(0..805), whole.clone()),
            ("bytes=0-9,", one(0..10), nothing.clone()),
            ("bytes=5-2", whole.clone(), nothing.clone()),
            ("bytes=abc", whole.clone(), nothing.clone()),
            ("bytes=-0", whole.clone(), nothing.clone()),
            ("bytes=0-18446744073709551615", whole.clone(), nothing),
            ("bytes=", whole.clone(), whole.clone()),
            ("bytes 0-9", whole.clone(), whole.clone()),
            ("foo=1-2", whole.clone(), whole),
        ] {
            assert_eq!(
                [wanted(Family::Apache, value), wanted(Family::Nginx, value)],
                [apache, nginx],
                "{value}"
            );
        }
    }

    #[test]
    fn a_part_is_sent_of_the_named_file_alone() {
        let wanted = |tag: &str| {
            let head = format!("GET / HTTP/1.1\r\nRange: bytes=0-9\r\nIf-Range: {tag}\r\n\r\n");
            of(&read(head.as_bytes()), FILE, 805, Family::Apache)
        };
        assert_eq!(wanted("\"x\""), Wanted::Whole);
        let part = Wanted::Parts(std::iter::once(0..10).collect());
        assert_eq!(wanted("\"e\""), part);
        assert_eq!(wanted("Thu, 01 Jan 1970 00:00:00 GMT"), part);
    }

    proptest! {
        #[test]
        fn any_bytes_want_parts_within_the_file(value in "[0-9,=a-]{0,40}", size in 0usize..100) {
            let head = format!("GET / HTTP/1.1\r\nRange: bytes={value}\r\n\r\n");
            for family in [Family::Apache, Family::Nginx, Family::Iis] {
                if let Wanted::Parts(parts) = of(&read(head.as_bytes()), FILE, size, family) {
                    prop_assert!(!parts.is_empty());
                    prop_assert!(parts.iter().all(|part| part.start < part.end && part.end <= size));
                }
            }
        }
    }
}
