//! Bytes from the network as text that is safe to show anywhere.
//!
//! In: any bytes. Out: valid UTF-8 of a bounded length that moves no cursor, breaks no line, turns no direction and
//! hides nothing. Invariants, tested on any bytes:
//!
//! 1. No C0, DEL, C1, bidi control, zero-width or other invisible character, line or paragraph separator comes out.
//! 2. [`clean`] gives at most its bound in characters and is its own fixed point.
//! 3. [`printable`] is pure ASCII and can be turned back into the bytes.
//!
//! It does not escape for a format: CEF, LEEF, JSON and HTML each escape again, on top of this.

use smol_str::SmolStr;

/// Longest text made from network bytes, in characters.
pub const TEXT_CHARS_MAX: usize = 256;

/// What ends a text that was cut.
const CUT: char = '…';

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Bytes as clean text of at most [`TEXT_CHARS_MAX`] characters.
///
/// Invalid UTF-8, C0 and DEL become `\xNN`; C1, bidi controls, zero-width characters and line separators `\u{N}`;
/// `\` stays. A longer text is cut between characters, never inside an escape, and then ends in `…`.
pub fn clean(bytes: &[u8]) -> SmolStr {
    clean_within(bytes, TEXT_CHARS_MAX)
}

/// Like [`clean`], of at most `chars_max` characters.
pub fn clean_within(bytes: &[u8], chars_max: usize) -> SmolStr {
    if bytes.len() <= chars_max
        && is_plain(bytes)
        && let Ok(text) = std::str::from_utf8(bytes)
    {
        return SmolStr::new(text);
    }
    let mut text = Cut::new(bytes.len(), chars_max);
    for chunk in bytes.utf8_chunks() {
        let whole = chunk.valid().chars().all(|ch| match hidden(ch) {
            false => text.push(ch),
            true if ch.is_ascii() => text.push_byte(ch as u8),
            true => text.push_escape(&format!("\\u{{{:x}}}", u32::from(ch))),
        }) && chunk.invalid().iter().all(|byte| text.push_byte(*byte));
        if !whole {
            break;
        }
    }
    text.finish()
}

/// A MAC as ECS writes it, `00-00-5E-00-53-23`, from six pairs of hex digits with `:` or `-` or nothing between them.
pub fn mac(text: &[u8]) -> Option<SmolStr> {
    let digits: Vec<u8> = text
        .iter()
        .copied()
        .filter(|byte| !matches!(byte, b':' | b'-'))
        .collect();
    let is_mac = digits.len() == 12 && digits.iter().all(u8::is_ascii_hexdigit) && text.len() <= 17;
    let pairs = digits
        .chunks(2)
        .map(|pair| String::from_utf8_lossy(pair).to_uppercase());
    is_mac.then(|| SmolStr::from(pairs.collect::<Vec<_>>().join("-")))
}

/// Whether `text` could have come from [`clean`]: it hides nothing.
pub fn is_clean(text: &str) -> bool {
    is_plain(text.as_bytes()) || !text.chars().any(hidden)
}

/// Bytes as pure printable ASCII: `\` doubled, `\r \n \t` named, all else outside 0x20..=0x7e as `\xNN`.
pub fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + bytes.len() / 8);
    for byte in bytes {
        match byte {
            b'\\' => text.push_str("\\\\"),
            b'\r' => text.push_str("\\r"),
            b'\n' => text.push_str("\\n"),
            b'\t' => text.push_str("\\t"),
            0x20..=0x7e => text.push(char::from(*byte)),
            _ => text.extend(hex_escape(*byte)),
        }
    }
    text
}

/// Whether every byte is printable ASCII.
fn is_plain(bytes: &[u8]) -> bool {
    is_plain_without(bytes, [b'\0'; 2])
}

/// Whether every byte is printable ASCII and none is one of `others`: the text then needs no escape.
///
/// Eight bytes at a time, the last eight overlapping: short texts are most of what is written.
pub(crate) fn is_plain_without(bytes: &[u8], others: [u8; 2]) -> bool {
    let Some(last) = bytes.last_chunk::<8>() else {
        return bytes
            .iter()
            .all(|byte| (0x20..0x7f).contains(byte) && !others.contains(byte));
    };
    let mut found = special(u64::from_le_bytes(*last), others);
    let mut rest = bytes;
    while let Some((eight, more)) = rest.split_first_chunk::<8>() {
        found |= special(u64::from_le_bytes(*eight), others);
        rest = more;
    }
    found == 0
}

/// How many bytes from the first on need no escape in JSON and are printable ASCII.
pub(crate) fn plain_len(bytes: &[u8]) -> usize {
    const OTHERS: [u8; 2] = [b'"', b'\\'];
    let mut rest = bytes;
    while let Some((eight, more)) = rest.split_first_chunk::<8>() {
        let found = special(u64::from_le_bytes(*eight), OTHERS);
        if found != 0 {
            return bytes.len() - rest.len() + found.trailing_zeros() as usize / 8;
        }
        rest = more;
    }
    let is_plain = |byte: &&u8| (0x20..0x7f).contains(*byte) && !OTHERS.contains(byte);
    bytes.len() - rest.len() + rest.iter().take_while(is_plain).count()
}

/// Where the first quote is.
#[inline]
pub(crate) fn quote_at(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes;
    while let Some((eight, more)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*eight);
        let found = equal(word, b'"') & !word & HIGHS;
        if found != 0 {
            return Some(bytes.len() - rest.len() + found.trailing_zeros() as usize / 8);
        }
        rest = more;
    }
    let at = rest.iter().position(|byte| *byte == b'"')?;
    Some(bytes.len() - rest.len() + at)
}

/// Whether a text that hides nothing needs an escape in JSON: for a quote or a backslash.
pub(crate) fn has_quote(bytes: &[u8]) -> bool {
    let Some(last) = bytes.last_chunk::<8>() else {
        return short_has_quote(bytes);
    };
    let mut found = quotes(u64::from_le_bytes(*last));
    let mut rest = bytes;
    while let Some((eight, more)) = rest.split_first_chunk::<8>() {
        found |= quotes(u64::from_le_bytes(*eight));
        rest = more;
    }
    found != 0
}

/// [`has_quote`] of fewer than eight bytes.
fn short_has_quote(bytes: &[u8]) -> bool {
    match (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        (Some(first), Some(last)) => {
            let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
            quotes(u64::from(first) | u64::from(last) << 32) != 0
        }
        _ => bytes.iter().any(|byte| matches!(byte, b'"' | b'\\')),
    }
}

/// Not 0 if one of eight bytes is a quote or a backslash.
const fn quotes(word: u64) -> u64 {
    (equal(word, b'"') | equal(word, b'\\')) & !word & HIGHS
}

/// Sets the high bit of an ASCII byte that is `byte`; other bytes above ASCII may have it set too.
const fn equal(word: u64, byte: u8) -> u64 {
    (word ^ (ONES * byte as u64)).wrapping_sub(ONES)
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = ONES << 7;

/// Not 0 if one of eight bytes is below 0x20, above 0x7e, or one of `others`.
///
/// Source: Sean Eron Anderson, "Bit Twiddling Hacks", `hasless` and `haszero`. The lowest bit that is set tells the
/// first such byte; what is above it may be a borrow or a carry.
const fn special(word: u64, others: [u8; 2]) -> u64 {
    let less = word.wrapping_sub(ONES * 0x20);
    // One more sets the high bit of a delete; a byte that would carry has it set already.
    let delete = word.wrapping_add(ONES);
    (word | delete | less | equal(word, others[0]) | equal(word, others[1])) & HIGHS
}

/// Whether a character moves, breaks, turns or hides what stands around it.
///
/// Source: Unicode 16 general categories Cc, Cf (but for the prepended Arabic signs, which are seen), Zl, Zp, the
/// default-ignorable fillers, and the noncharacters that end each plane.
pub const fn hidden(ch: char) -> bool {
    matches!(ch,
        '\0'..='\x1f' | '\x7f'..='\u{9f}'
        | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
    ) || (ch as u32) & 0xfffe == 0xfffe
        || matches!(ch, '\u{fdd0}'..='\u{fdef}')
}

/// `\xNN` of a byte.
fn hex_escape(byte: u8) -> [char; 4] {
    let digit = |nibble: u8| char::from(HEX[usize::from(nibble & 0xf)]);
    ['\\', 'x', digit(byte >> 4), digit(byte)]
}

/// A text under way that knows where to cut itself.
struct Cut {
    text: String,
    chars: usize,
    chars_max: usize,
    /// Where the text is cut, in bytes, should it grow too long.
    keep: usize,
    full: bool,
}

impl Cut {
    fn new(bytes: usize, chars_max: usize) -> Self {
        Self {
            text: String::with_capacity(bytes.min(chars_max)),
            chars: 0,
            chars_max,
            keep: 0,
            full: false,
        }
    }

    fn push(&mut self, ch: char) -> bool {
        self.take(1, |text| text.push(ch))
    }

    fn push_byte(&mut self, byte: u8) -> bool {
        self.take(4, |text| text.extend(hex_escape(byte)))
    }

    fn push_escape(&mut self, escape: &str) -> bool {
        self.take(escape.len(), |text| text.push_str(escape))
    }

    /// Adds one whole unit of `chars` characters, or says that it did not fit.
    fn take(&mut self, chars: usize, add: impl FnOnce(&mut String)) -> bool {
        if self.chars + chars > self.chars_max {
            self.full = true;
            return false;
        }
        add(&mut self.text);
        self.chars += chars;
        if self.chars < self.chars_max {
            self.keep = self.text.len();
        }
        true
    }

    fn finish(mut self) -> SmolStr {
        if self.full {
            self.text.truncate(self.keep);
            if self.chars_max > 0 {
                self.text.push(CUT);
            }
        }
        SmolStr::from(self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_stays_as_it_is() {
        assert_eq!(clean(b"root"), "root");
        assert_eq!(clean("naïve 漢字 \\x".as_bytes()), "naïve 漢字 \\x");
    }

    #[test]
    fn what_moves_or_hides_is_escaped() {
        assert_eq!(clean(b"a\r\n\x1b[2Jb\x7f\0"), "a\\x0d\\x0a\\x1b[2Jb\\x7f\\x00");
        assert_eq!(
            clean("\u{202e}exe\u{85}\u{2028}".as_bytes()),
            "\\u{202e}exe\\u{85}\\u{2028}"
        );
        assert_eq!(clean(b"\xff\xfeok\xc3"), "\\xff\\xfeok\\xc3");
    }

    #[test]
    fn a_long_text_is_cut_between_units_and_says_so() {
        let long = clean(&[b'a'; 300]);
        assert_eq!(long.chars().count(), TEXT_CHARS_MAX);
        assert!(long.ends_with('…'));
        assert_eq!(clean_within(b"ab\xff", 6), "ab\\xff");
        assert_eq!(clean_within(b"ab\xffc", 6), "ab…");
        assert_eq!(clean_within(b"abc", 0), "");
        assert_eq!(clean(&[b'a'; 256]), SmolStr::from("a".repeat(256)));
    }

    #[test]
    fn plain_text_is_known_at_every_place_and_length() {
        for length in 0..40 {
            for at in 0..length {
                for byte in 0..=u8::MAX {
                    let mut bytes = vec![b'a'; length];
                    bytes[at] = byte;
                    let plain = (0x20..0x7f).contains(&byte) && byte != b'"' && byte != b'\\';
                    assert_eq!(
                        is_plain_without(&bytes, [b'"', b'\\']),
                        plain,
                        "{byte} at {at} of {length}"
                    );
                    assert_eq!(plain_len(&bytes), if plain { length } else { at });
                    assert_eq!(quote_at(&bytes), (byte == b'"').then_some(at));
                    assert_eq!(has_quote(&bytes), matches!(byte, b'"' | b'\\'));
                }
            }
        }
        assert!(is_plain(b""));
    }

    #[test]
    fn printable_is_ascii_with_named_ends_of_lines() {
        assert_eq!(printable(b"a\\b\r\n\t\xff\x01 ~"), "a\\\\b\\r\\n\\t\\xff\\x01 ~");
    }
}
