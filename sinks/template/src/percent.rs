//! Percent-encoding of one value (RFC 3986 section 2).

/// Appends `text` so that it is one value wherever it stands in a path, a query or a form: all but letters, digits and
/// `-._~` is encoded.
pub(crate) fn encode(text: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |nibble: u8| char::from(HEX.get(usize::from(nibble)).copied().unwrap_or(b'0'));
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.extend(['%', digit(byte >> 4), digit(byte & 15)]),
        }
    }
}

/// What `text` stands for, where that is UTF-8; a `%` that begins no pair stays.
pub(crate) fn decode(text: &str) -> Option<String> {
    let mut bytes = text.as_bytes().iter();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let pair = bytes.as_slice().get(..2).filter(|_| *byte == b'%');
        let value = pair
            .and_then(|pair| std::str::from_utf8(pair).ok())
            .filter(|pair| pair.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|pair| u8::from_str_radix(pair, 16).ok());
        if value.is_some() {
            bytes.nth(1);
        }
        out.push(value.unwrap_or(*byte));
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_percent_sign_without_two_digits_stays() {
        for (text, decoded) in [
            ("%2e%2E", ".."),
            ("%", "%"),
            ("%2", "%2"),
            ("%+1%zz", "%+1%zz"),
            ("%%41", "%A"),
        ] {
            assert_eq!(decode(text).as_deref(), Some(decoded));
        }
        assert_eq!(decode("%ff"), None);
    }

    proptest! {
        #[test]
        fn any_text_comes_back_and_is_plain_between(text in any::<String>()) {
            let mut encoded = String::new();
            encode(&text, &mut encoded);
            prop_assert!(encoded.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte)));
            prop_assert_eq!(decode(&encoded), Some(text));
        }
    }
}
