//! Commands of IMAP: literals and arguments, as Dovecot 2.3 reads them before a login. Pure.
//!
//! In: bytes from the first of a command on. Out: where the command ends, whether the client waits for a go-ahead, its
//! arguments or what is wrong with them. A command is one run of bytes in the stream, its literals within it.
//!
//! Source: RFC 9051 sections 2.2 and 4.3, RFC 7888; the texts and bounds of a live 2.3.19.

use crate::decoy::services::lines::bare;

/// Most bytes of a command up to the end of its last literal.
const COMMAND_MAX: usize = 8192;

/// What the bytes of a command come to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Scan {
    /// A command.
    Whole {
        /// Its literals that waited for a go-ahead.
        asked: usize,
        /// Its bytes, its line end included.
        length: usize,
    },
    /// Not yet whole.
    More {
        /// Literals that wait, or waited, for a go-ahead.
        asked: usize,
        /// Where the line or literal begins that is not whole.
        from: usize,
    },
    /// A literal with which the command is longer than any login.
    TooLarge {
        /// Literals before it that waited for a go-ahead.
        asked: usize,
    },
}

/// Finds the end of a command while its bytes come. What was passed over is not looked at again.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    asked: usize,
    /// Where the last literal begins.
    literal: usize,
    /// Where the line behind it begins, which may still have to come.
    line: usize,
}

impl Scanner {
    /// Whether a literal was found, so that the first line is passed.
    pub(super) const fn has_begun(&self) -> bool {
        self.line > 0
    }

    /// Goes on to the end of the command, of which `bytes` is all that has come.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> Scan {
        loop {
            let asked = self.asked;
            let Some(rest) = bytes.get(self.line..) else {
                let from = self.literal;
                return Scan::More { asked, from };
            };
            let Some(length) = memchr::memchr(b'\n', rest) else {
                let from = self.line;
                return Scan::More { asked, from };
            };
            #[cfg(test)]
            crate::decoy::testing::work::spend(length);
            let end = self.line + length + 1;
            let line = bare(rest.get(..=length).unwrap_or_default());
            let Some(literal) = literal(line) else {
                return Scan::Whole { asked, length: end };
            };
            let used = self.line + line.len();
            if used >= COMMAND_MAX || literal.size > COMMAND_MAX - used {
                return Scan::TooLarge { asked };
            }
            self.asked += usize::from(!literal.goes_on);
            self.literal = end;
            self.line = end + literal.size;
        }
    }
}

/// Finds the end of the first line: for a command whose words are taken as they are.
pub(super) fn scan_line(bytes: &[u8]) -> Scan {
    match memchr::memchr(b'\n', bytes) {
        Some(at) => Scan::Whole {
            asked: 0,
            length: at + 1,
        },
        None => Scan::More { asked: 0, from: 0 },
    }
}

/// `{5}` or `{5+}`.
struct Literal {
    size: usize,
    /// The client sends it without waiting.
    goes_on: bool,
}

/// The literal that a line ends with. Within quotes or an atom it is none.
fn literal(line: &[u8]) -> Option<Literal> {
    let at = memchr::memrchr(b'{', line)?;
    let before = line.get(..at)?;
    let quotes = before.iter().filter(|byte| **byte == b'"').count();
    let stands_alone = matches!(before.last(), Some(b' ' | b'('));
    (stands_alone && quotes % 2 == 0)
        .then(|| size(line.get(at..)?))
        .flatten()
}

/// The whole of `{5}` or `{5+}`. More digits than a size has are a size that is too large.
fn size(text: &[u8]) -> Option<Literal> {
    let inner = text.strip_prefix(b"{")?.strip_suffix(b"}")?;
    let digits = inner.strip_suffix(b"+").unwrap_or(inner);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let size = str::from_utf8(digits).ok()?.parse().unwrap_or(usize::MAX);
    Some(Literal {
        size,
        goes_on: digits.len() < inner.len(),
    })
}

/// An argument.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Argument {
    /// An atom, a quoted string or a literal.
    Text(Vec<u8>),
    /// A list in parentheses; what is in it does not matter here.
    List,
}

/// The arguments of a whole command, its line end taken off; or what is wrong, in Dovecot's words.
pub(super) fn arguments(bytes: &[u8]) -> Result<Vec<Argument>, &'static str> {
    let mut rest = bytes;
    let (mut found, mut depth) = (Vec::new(), 0_usize);
    while let Some((first, after)) = rest.split_first() {
        let text = match first {
            b' ' => {
                rest = after;
                continue;
            }
            b'(' => {
                if depth == 0 {
                    found.push(Argument::List);
                }
                depth += 1;
                rest = after;
                continue;
            }
            b')' if depth > 0 => {
                depth -= 1;
                rest = after;
                continue;
            }
            b'"' => quoted(&mut rest)?,
            b'{' => counted(&mut rest)?,
            b'~' if after.starts_with(b"{") => return Err("literal8 not allowed here"),
            _ => atom(&mut rest, depth)?,
        };
        if depth == 0 {
            found.push(Argument::Text(text));
        }
    }
    if depth > 0 { Err("Missing ')'") } else { Ok(found) }
}

fn quoted(rest: &mut &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut bytes = rest.iter().enumerate().skip(1);
    let mut text = Vec::new();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => {
                *rest = rest.get(at + 1..).unwrap_or_default();
                return Ok(text);
            }
            b'\\' => text.extend(bytes.next().map(|(_, byte)| *byte)),
            byte => text.push(*byte),
        }
    }
    Err("Missing '\"'")
}

fn counted(rest: &mut &[u8]) -> Result<Vec<u8>, &'static str> {
    const WRONG: &str = "Invalid literal size";
    let length = memchr::memchr(b'\n', rest).ok_or(WRONG)?;
    let literal = size(bare(rest.get(..=length).unwrap_or_default())).ok_or(WRONG)?;
    let after = rest.get(length + 1..).unwrap_or_default();
    let (text, after) = after.split_at_checked(literal.size).ok_or(WRONG)?;
    *rest = after;
    Ok(text.to_vec())
}

fn atom(rest: &mut &[u8], depth: usize) -> Result<Vec<u8>, &'static str> {
    let ends = |byte: &u8| *byte == b' ' || (*byte == b')' && depth > 0);
    let length = rest.iter().position(ends).unwrap_or(rest.len());
    let (text, after) = rest.split_at_checked(length).unwrap_or((rest, b""));
    for byte in text {
        match byte {
            b'\r' => return Err("CR sent without LF"),
            b'(' | b')' | b'{' | b'"' | 0..=0x20 | 0x7f => return Err("Invalid characters in atom"),
            0x80.. => return Err("8bit data in atom"),
            _ => {}
        }
    }
    *rest = after;
    Ok(text.to_vec())
}

/// Whether a tag may be said back (RFC 9051 section 9, `tag`).
pub(super) fn is_tag(word: &[u8]) -> bool {
    let good = |byte: &u8| byte.is_ascii_graphic() && !b"(){%*\"\\+".contains(byte);
    !word.is_empty() && word.len() < 256 && word.iter().all(good)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scan(bytes: &[u8]) -> Scan {
        Scanner::default().scan(bytes)
    }

    #[test]
    fn a_command_ends_after_its_last_literal() {
        let whole = |asked, length| Scan::Whole { asked, length };
        assert_eq!(scan(b"a NOOP\r\nb"), whole(0, 8));
        let more = |asked, from| Scan::More { asked, from };
        assert_eq!(scan(b"a LOGIN {5}\r\n"), more(1, 13));
        assert_eq!(scan(b"a LOGIN {5}\r\nalice {3}\r\nab"), more(2, 24));
        assert_eq!(scan(b"a LOGIN {5}\r\nalice {3}\r\nabc\r\n"), whole(2, 29));
        assert_eq!(scan(b"a LOGIN {5+}\r\nalice"), more(0, 19));
        let too_large = |asked| Scan::TooLarge { asked };
        assert_eq!(scan(b"a LOGIN {99999}\r\n"), too_large(0));
        assert_eq!(scan(b"a LOGIN {99999999999999999999999+}\r\n"), too_large(0));
        assert_eq!(scan(b"a LOGIN {5}\r\nalice {99999}\r\n"), too_large(1));
        assert_eq!(scan(b"a LOGIN u{5}\r\n"), whole(0, 14));
        assert_eq!(scan(b"a LOGIN \"u {5}\r\n"), whole(0, 16));
    }

    #[test]
    fn arguments_are_atoms_strings_literals_and_lists() {
        let texts = |bytes| match arguments(bytes) {
            Ok(found) => format!("{found:?}"),
            Err(why) => why.to_owned(),
        };
        let two = |user: &[u8], password: &[u8]| {
            format!(
                "{:?}",
                [Argument::Text(user.to_vec()), Argument::Text(password.to_vec())]
            )
        };
        assert_eq!(texts(b"u p"), two(b"u", b"p"));
        assert_eq!(texts(b" \"u\\\"x\"  {3}\r\np\r\n"), two(b"u\"x", b"p\r\n"));
        assert_eq!(texts(b"{0}\r\n \"\""), two(b"", b""));
        for (bytes, why) in [
            (&b"\"u p"[..], "Missing '\"'"),
            (b"(u p", "Missing ')'"),
            (b"{x}", "Invalid literal size"),
            (b"u{5}", "Invalid characters in atom"),
            (b"\xff p", "8bit data in atom"),
            (b"~{5}", "literal8 not allowed here"),
        ] {
            assert_eq!(texts(bytes), why);
        }
        assert_eq!(arguments(b"(\"name\" (x) y)"), Ok(vec![Argument::List]));
    }

    proptest! {
        #[test]
        fn a_command_ends_at_the_same_byte_however_it_was_cut(
            bytes in prop::collection::vec(prop::sample::select(b"a {}12+\r\n\"(".to_vec()), 0..60),
        ) {
            let whole = scan(&bytes);
            let mut scanner = Scanner::default();
            for cut in 0..=bytes.len() {
                let part = scanner.scan(&bytes[..cut]);
                prop_assert_eq!(&part, &scan(&bytes[..cut]));
                let is_part = matches!(part, Scan::More { .. });
                prop_assert!(is_part || part == whole);
            }
        }

        #[test]
        fn any_bytes_are_read_as_arguments_within_them(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(found) = arguments(&bytes) {
                let held: usize = found.iter().map(|argument| match argument {
                    Argument::Text(text) => text.len(),
                    Argument::List => 0,
                }).sum();
                prop_assert!(held <= bytes.len());
            }
        }
    }
}
