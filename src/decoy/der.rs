//! DER, as far as keys and certificates are written here (X.690). Pure.

/// Tag of a bit string.
pub(crate) const BITS: u8 = 3;
/// Tag of an octet string.
pub(crate) const OCTETS: u8 = 4;
/// Tag of an object identifier.
pub(crate) const OBJECT: u8 = 6;

const INTEGER: u8 = 2;
const SEQUENCE: u8 = 0x30;

/// One element: its tag, its length, its content.
pub(crate) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let zeros = length.iter().take_while(|byte| **byte == 0).count();
    let digits = length.get(zeros..).unwrap_or_default();
    let mut out = vec![tag];
    match digits {
        [] => out.push(0),
        [short @ 0..=0x7f] => out.push(*short),
        digits => {
            out.push(0x80 | u8::try_from(digits.len()).unwrap_or_default());
            out.extend_from_slice(digits);
        }
    }
    out.extend_from_slice(content);
    out
}

/// An unsigned integer, big end first.
pub(crate) fn integer(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let digits = number.get(zeros..).unwrap_or_default();
    match digits.first() {
        Some(1..=0x7f) => element(INTEGER, digits),
        _ => element(INTEGER, &[&[0], digits].concat()),
    }
}

/// A sequence of elements.
pub(crate) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    element(SEQUENCE, &parts.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_signs_are_as_short_as_they_can_be() {
        assert_eq!(integer(&[0]), [2, 1, 0]);
        assert_eq!(integer(&[0, 0x7f]), [2, 1, 0x7f]);
        assert_eq!(integer(&[0x80]), [2, 2, 0, 0x80]);
        assert_eq!(sequence(&[]), [0x30, 0]);
        assert_eq!(element(OCTETS, &[7; 200])[..4], [4, 0x81, 200, 7]);
        assert_eq!(element(OCTETS, &[7; 0x102])[..5], [4, 0x82, 1, 2, 7]);
    }
}
