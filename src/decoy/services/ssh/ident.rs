//! What an OpenSSH server makes of a client's identification line, version by version.
//!
//! In: the bytes after accept. Out: accepted, refused with the text of that version, or more bytes are needed. Until
//! 7.9 the server read up to 255 bytes with C string rules; since 8.0 it checks byte by byte.
//!
//! Invariant: the same bytes give the same verdict however they were cut on the way.
//!
//! Source: sshd.c `sshd_exchange_identification` of 7.6p1, kex.c `kex_exchange_identification` of 8.0 and later;
//! every refusal was compared with a live 9.2p1.

use std::ops::Range;

/// Longest line that 8.0 and later read, bytes without CR LF.
const LINE_MAX: usize = 8192;

/// Bytes that 7.9 and earlier read before they judge.
const OLD_LINE_MAX: usize = 255;

/// Which server reads the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
pub(super) enum Rules {
    /// OpenSSH until 7.9.
    #[serde(rename = "until-7.9")]
    Until79,
    /// OpenSSH since 8.0.
    #[serde(rename = "since-8.0")]
    Since80,
}

/// What becomes of the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The line is not whole.
    More,
    /// Key exchange begins.
    Accept {
        /// The identification, without line end.
        line: Range<usize>,
        /// Bytes the server has read.
        end: usize,
    },
    /// The server says why, in these writes, and closes.
    Refuse {
        /// The identification if it is one of SSH at all.
        line: Option<Range<usize>>,
        /// Bytes the server has read; what is left makes it reset.
        end: usize,
        /// What it writes, each with its own system call.
        writes: &'static [&'static str],
    },
}

/// Judges the line at the front of `bytes`.
pub(super) fn judge(bytes: &[u8], rules: Rules) -> Verdict {
    match rules {
        Rules::Until79 => judge_old(bytes),
        Rules::Since80 => judge_new(bytes),
    }
}

const MISMATCH: &[&str] = &["Protocol mismatch.\n"];
const OLD_MAJOR: &[&str] = &["Protocol major versions differ.\n"];
const INVALID: &[&str] = &["Invalid SSH identification string.", "\r\n"];
const MAJOR: &[&str] = &["Protocol major versions differ.", "\r\n"];
/// Scanners that OpenSSH knows by name get a close and no word.
const NOTHING: &[&str] = &[];

fn judge_new(bytes: &[u8]) -> Verdict {
    let mut after_cr = None;
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'\r' => after_cr = after_cr.or(Some(at)),
            b'\n' => return judge_line(bytes, 0..after_cr.unwrap_or(at), at + 1),
            // The byte that makes the line invalid has been read, what follows it has not.
            0 => return invalid(at + 1),
            _ if after_cr.is_some() || at >= LINE_MAX => return invalid(at + 1),
            _ => {}
        }
    }
    Verdict::More
}

fn judge_line(bytes: &[u8], line: Range<usize>, end: usize) -> Verdict {
    let Some(version) = bytes.get(line.clone()).and_then(scan) else {
        return invalid(end);
    };
    let writes = match version.major {
        2 => refusal(version.software),
        1 if version.minor == 99 => refusal(version.software),
        _ => Some(MAJOR),
    };
    decided(line, end, writes)
}

fn invalid(end: usize) -> Verdict {
    Verdict::Refuse {
        line: None,
        end,
        writes: INVALID,
    }
}

fn judge_old(bytes: &[u8]) -> Verdict {
    let window = bytes.get(..OLD_LINE_MAX.min(bytes.len())).unwrap_or_default();
    let end = match window.iter().position(|byte| *byte == b'\n') {
        Some(at) => at + 1,
        None if window.len() == OLD_LINE_MAX => OLD_LINE_MAX,
        None => return Verdict::More,
    };
    // A CR becomes the NUL that ends the C string.
    let line = 0..window
        .iter()
        .position(|byte| matches!(byte, b'\r' | b'\n' | 0))
        .unwrap_or(end);
    match bytes.get(line.clone()).and_then(scan) {
        None => Verdict::Refuse {
            line: None,
            end,
            writes: MISMATCH,
        },
        Some(version) => {
            let quiet = refusal(version.software);
            decided(line, end, quiet.or((version.major != 2).then_some(OLD_MAJOR)))
        }
    }
}

fn decided(line: Range<usize>, end: usize, writes: Option<&'static [&'static str]>) -> Verdict {
    match writes {
        None => Verdict::Accept { line, end },
        Some(writes) => Verdict::Refuse {
            line: Some(line),
            end,
            writes,
        },
    }
}

fn refusal(software: &[u8]) -> Option<&'static [&'static str]> {
    let scanner = software.starts_with(b"Probe-") || memchr::memmem::find(software, b"SSH_Version_Mapper").is_some();
    scanner.then_some(NOTHING)
}

struct Version<'a> {
    major: i32,
    minor: i32,
    software: &'a [u8],
}

/// `sscanf(line, "SSH-%d.%d-%[^\n]")`: numbers may have blanks and a sign in front.
fn scan(line: &[u8]) -> Option<Version<'_>> {
    let (major, rest) = number(line.strip_prefix(b"SSH-")?)?;
    let (minor, rest) = number(rest.strip_prefix(b".")?)?;
    let software = rest.strip_prefix(b"-")?;
    (!software.is_empty()).then_some(Version { major, minor, software })
}

/// `%d` of the C library: saturates as a long, then keeps the low 32 bits.
fn number(bytes: &[u8]) -> Option<(i32, &[u8])> {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | 0x0b | 0x0c | b'\r');
    let start = bytes.iter().position(|byte| !blank(byte))?;
    let rest = bytes.get(start..)?;
    let (negative, rest) = match rest.split_first()? {
        (b'-', rest) => (true, rest),
        (b'+', rest) => (false, rest),
        _ => (false, rest),
    };
    let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let digits = rest.get(..count).filter(|digits| !digits.is_empty())?;
    let value = digits.iter().fold(0_i64, |value, digit| {
        value.saturating_mul(10).saturating_add(i64::from(digit - b'0'))
    });
    let value = if negative { -value } else { value };
    Some((low_half(value), rest.get(count..)?))
}

fn low_half(value: i64) -> i32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    i32::from_le_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn said(bytes: &[u8], rules: Rules) -> Option<(String, usize)> {
        match judge(bytes, rules) {
            Verdict::Refuse { writes, end, .. } => Some((writes.concat(), bytes.len() - end)),
            _ => None,
        }
    }

    #[test]
    fn a_new_server_says_what_9_2_was_seen_to_say() {
        let invalid = "Invalid SSH identification string.\r\n";
        let major = "Protocol major versions differ.\r\n";
        for (sent, text, left) in [
            (&b"GET / HTTP/1.0\r\n\r\n"[..], invalid, 2),
            (b"\r\n\r\n", invalid, 2),
            (b"SSH-1111-OpenSSH_9.0\r\n", invalid, 0),
            (b"SSH-2.0-\r\n", invalid, 0),
            (b"SSH-2.0-x\ry\r\n", invalid, 2),
            (b"SSH-\r\n", invalid, 0),
            (b"\x16\x03\x01\x00\n", invalid, 1),
            (b"SSH-9.9-x\r\n", major, 0),
            (b"SSH-1.5-x\r\n", major, 0),
            (b"SSH--2.0-x\r\n", major, 0),
            (b"SSH-2.0-Probe-x\r\n", "", 0),
            (b"SSH-2.0-SSH_Version_Mapper\r\n", "", 0),
        ] {
            assert_eq!(
                said(sent, Rules::Since80),
                Some((text.to_owned(), left)),
                "{}",
                sent.escape_ascii()
            );
        }
        for sent in [
            &b"SSH-2.0-x\r\n"[..],
            b"SSH-2.0-x\n",
            b"SSH-1.99-x\r\n",
            b"SSH- 2.0-x\r\n",
            b"SSH-+2.0-x\n",
            b"SSH-02.0-x\n",
            b"SSH-4294967298.0-x\r\n",
        ] {
            assert!(
                matches!(judge(sent, Rules::Since80), Verdict::Accept { .. }),
                "{}",
                sent.escape_ascii()
            );
        }
        let long = [b"SSH-2.0-".as_slice(), &[b'a'; 9000]].concat();
        assert_eq!(
            said(&long, Rules::Since80),
            Some((invalid.to_owned(), long.len() - 8193))
        );
    }

    #[test]
    fn an_old_server_speaks_of_a_mismatch() {
        let old = |sent| said(sent, Rules::Until79).map(|(text, _)| text);
        assert_eq!(old(b"GET / HTTP/1.0\r\n").as_deref(), Some("Protocol mismatch.\n"));
        assert_eq!(
            old(b"SSH-1.5-x\r\n").as_deref(),
            Some("Protocol major versions differ.\n")
        );
        assert_eq!(
            old(b"SSH-1.99-x\r\n").as_deref(),
            Some("Protocol major versions differ.\n")
        );
        assert_eq!(old(&[b'a'; 255]).as_deref(), Some("Protocol mismatch.\n"));
        assert_eq!(judge(&[b'a'; 254], Rules::Until79), Verdict::More);
        let accepted = Verdict::Accept { line: 0..9, end: 13 };
        assert_eq!(judge(b"SSH-2.0-x\ry\r\nz", Rules::Until79), accepted);
    }

    proptest! {
        #[test]
        fn any_bytes_cut_anywhere_get_the_same_verdict(
            head in prop::sample::select(vec![&b"SSH-2.0-"[..], b"SSH-", b"", b"SSH-1.5-a"]),
            tail in prop::collection::vec(any::<u8>(), 0..400),
            old in any::<bool>(),
        ) {
            let bytes = [head, &tail].concat();
            let rules = if old { Rules::Until79 } else { Rules::Since80 };
            let whole = judge(&bytes, rules);
            for cut in 0..bytes.len() {
                let part = judge(&bytes[..cut], rules);
                prop_assert!(part == Verdict::More || part == whole);
            }
        }
    }
}
