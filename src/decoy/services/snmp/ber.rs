//! BER (X.690), as far as SNMP uses it.

use std::ops::Range;

/// Where the contents of the BER element at `at` are, if it has this tag. One that is cut short or lies about its
/// length reaches to the end: it may still hold a secret.
pub(super) fn element(bytes: &[u8], at: usize, tag: u8) -> Option<Range<usize>> {
    let (found, rest) = bytes.get(at..)?.split_first()?;
    if *found != tag {
        return None;
    }
    let (first, rest) = rest.split_first()?;
    let (length, header) = match *first {
        short @ 0..=0x7f => (usize::from(short), 2),
        // X.690 section 8.1.3.5; longer forms would have to be longer than any datagram, or padded.
        long @ 0x81..=0x88 => {
            let octets = rest.get(..usize::from(long & 0x7f))?;
            let fold = |length: usize, octet: &u8| length.saturating_mul(256).saturating_add(usize::from(*octet));
            (octets.iter().fold(0, fold), 2 + octets.len())
        }
        _ => return None,
    };
    let start = at + header;
    Some(start..start.saturating_add(length).min(bytes.len()).max(start))
}

/// The element at `at`, if it is whole: its tag, its contents, and where the next one begins.
pub(super) fn whole(bytes: &[u8], at: usize) -> Option<(u8, &[u8], usize)> {
    let tag = *bytes.get(at)?;
    let place = element(bytes, at, tag)?;
    let ends_here = bytes.get(at + 1).is_some_and(|length| {
        let octets = usize::from(length & 0x7f);
        let stated = match length {
            0..=0x7f => octets,
            _ => bytes
                .get(at + 2..at + 2 + octets)
                .unwrap_or_default()
                .iter()
                .fold(0, |length: usize, octet| {
                    length.saturating_mul(256).saturating_add((*octet).into())
                }),
        };
        stated == place.len()
    });
    ends_here.then(|| Some((tag, bytes.get(place.clone())?, place.end)))?
}

/// The numbers of an object identifier (section 8.19). `None`: it ends within one, or one is too large.
pub(super) fn numbers(bytes: &[u8]) -> Option<Vec<u32>> {
    let (mut numbers, mut number) = (Vec::new(), 0_u32);
    for byte in bytes {
        number = number.checked_mul(128)?.checked_add(u32::from(byte & 0x7f))?;
        if byte & 0x80 == 0 {
            numbers.push(std::mem::take(&mut number));
        }
    }
    let (first, rest) = numbers
        .split_first()
        .filter(|_| bytes.last().is_some_and(|last| last & 0x80 == 0))?;
    let top = (first / 40).min(2);
    Some([&[top, first - top * 40], rest].concat())
}

/// An object identifier from its numbers, of which there are at least two.
pub(super) fn identifier(numbers: &[u32]) -> Vec<u8> {
    let (top, rest) = numbers.split_at_checked(2).unwrap_or((numbers, &[]));
    let first = top
        .iter()
        .fold(0_u32, |sum, number| sum.saturating_mul(40).saturating_add(*number));
    let mut bytes = Vec::new();
    for number in std::iter::once(&first).chain(rest) {
        let groups = (32 - number.leading_zeros()).div_ceil(7).max(1);
        for group in (0..groups).rev() {
            let more = if group > 0 { 0x80 } else { 0 };
            bytes.push((number >> (7 * group) & 0x7f) as u8 | more);
        }
    }
    bytes
}

/// A whole number in as few bytes as hold it (section 8.3).
pub(super) fn integer(number: i64) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    let spare = |pair: &[u8]| matches!(pair, [0, 0..=0x7f] | [0xff, 0x80..=0xff]);
    let skipped = bytes.windows(2).take_while(|pair| spare(pair)).count();
    bytes.get(skipped..).unwrap_or_default().to_vec()
}

/// An integer of up to eight bytes.
pub(super) fn number(contents: &[u8]) -> Option<i64> {
    let first = *contents.first().filter(|_| contents.len() <= 8)?;
    let sign = if first & 0x80 == 0 { 0 } else { -1 };
    Some(
        contents
            .iter()
            .fold(sign, |number, byte| number << 8 | i64::from(*byte)),
    )
}

/// Bytes of an element with so many of contents, as [`tagged`] writes it.
pub(super) const fn size(contents: usize) -> usize {
    contents
        + match contents {
            0..=0x7f => 2,
            0x80..=0xff => 3,
            _ => 4,
        }
}

/// An element, its length in as few bytes as hold it.
pub(super) fn tagged(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = contents.len();
    #[cfg(test)]
    crate::decoy::testing::work::spend(length);
    let mut out = vec![tag];
    match length {
        0..=0x7f => out.push(length as u8),
        0x80..=0xff => out.extend([0x81, length as u8]),
        _ => {
            out.push(0x82);
            out.extend(u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
        }
    }
    out.extend_from_slice(contents);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_again(number in any::<i64>(), rest in prop::collection::vec(any::<u32>(), 0..20), size in 0..1000_usize) {
            prop_assert_eq!(super::number(&integer(number)), Some(number));
            let name = [&[1, 3][..], &rest].concat();
            prop_assert_eq!(numbers(&identifier(&name)), Some(name));
            let contents = vec![7; size];
            let bytes = tagged(4, &contents);
            prop_assert_eq!(whole(&bytes, 0), Some((4, &contents[..], bytes.len())));
            prop_assert_eq!(super::size(size), bytes.len());
        }

        #[test]
        fn any_bytes_are_elements_within_them(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            if let Some((_, contents, end)) = whole(&bytes, 0) {
                prop_assert!(contents.len() < end && end <= bytes.len());
            }
        }
    }
}
