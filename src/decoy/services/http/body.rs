//! How long a request's body is, and its bytes: by length or in chunks, never inflated.
//!
//! In: bytes one piece after another. Out: the first [`KEPT_MAX`] bytes of the body; of the rest, whether it names a
//! secret. Invariant: cutting the pieces elsewhere changes nothing.
//!
//! Source: RFC 9112 sections 6 and 7.1.

/// Most bytes of a body that are read for forms.
pub(super) const KEPT_MAX: usize = 16 << 10;

/// How far before a piece a name may have begun that it ends, bytes.
const NAME_MAX: usize = 256;

/// How much comes together before it is looked through: what is before it is looked through again.
const WATCHED_AT_ONCE: usize = 4 << 10;

/// Most bytes that are watched for names beyond what is read: no capture holds more.
const WATCHED_MAX: u64 = 1 << 20;

/// Longest chunk line: size and extension.
const CHUNK_LINE_MAX: usize = 8 << 10;

/// Takes a body off the stream.
#[derive(Debug)]
pub(super) struct Body {
    state: State,
    /// The first bytes.
    pub(super) kept: Vec<u8>,
    /// How many bytes it had so far.
    pub(super) seen: u64,
    /// Whether the kept bytes lie in the stream as they are here.
    pub(super) whole: bool,
    /// Whether what was looked through of the rest names a secret.
    named: bool,
    suspects: fn(&[u8]) -> bool,
    /// Whether lines end with CR LF and with nothing else.
    strict: bool,
    /// The last byte was a CR.
    cr: bool,
    /// Once not all are kept: the last bytes that were looked through, and what has come since.
    tail: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// This many bytes of plain body.
    Length(u64),
    /// A chunk line: digits so far, bytes so far, whether digits ended.
    Size {
        size: u64,
        line: usize,
        digits: usize,
        over: bool,
    },
    Data(u64),
    /// The line end after a chunk.
    DataEnd,
    /// The trailer; whether the line has bytes.
    Trailer {
        line: usize,
    },
    Done,
    Broken,
}

/// What taking bytes led to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    More,
    Done,
    /// The chunks are none.
    Broken,
}

const SIZE: State = State::Size {
    size: 0,
    line: 0,
    digits: 0,
    over: false,
};

impl Body {
    /// A body of known length; `suspects` says whether bytes of what is not kept name a secret.
    pub(super) fn sized(length: u64, suspects: fn(&[u8]) -> bool) -> Self {
        Self::new(State::Length(length), true, suspects)
    }

    /// A body in chunks; `strict`: their lines end with CR LF.
    pub(super) fn chunked(suspects: fn(&[u8]) -> bool, strict: bool) -> Self {
        Self {
            strict,
            ..Self::new(SIZE, false, suspects)
        }
    }

    fn new(state: State, whole: bool, suspects: fn(&[u8]) -> bool) -> Self {
        Self {
            suspects,
            strict: false,
            cr: false,
            state,
            kept: Vec::new(),
            seen: 0,
            whole,
            named: false,
            tail: Vec::new(),
        }
    }

    /// Where it stands before the next byte.
    pub(super) fn progress(&self) -> Progress {
        match self.state {
            State::Length(0) | State::Done => Progress::Done,
            State::Broken => Progress::Broken,
            _ => Progress::More,
        }
    }

    /// Takes what belongs to the body off the front of `bytes`; returns how many that were.
    pub(super) fn take(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while !rest.is_empty() && self.progress() == Progress::More {
            rest = match self.state {
                State::Length(left) => {
                    let (rest, left) = self.keep(rest, left);
                    self.state = State::Length(left);
                    rest
                }
                State::Data(left) => {
                    let (rest, left) = self.keep(rest, left);
                    self.state = if left == 0 { State::DataEnd } else { State::Data(left) };
                    rest
                }
                _ => {
                    let (byte, after) = rest.split_first().unwrap_or((&0, &[]));
                    let is_bare = self.strict && *byte == b'\n' && !self.cr;
                    self.state = if is_bare {
                        State::Broken
                    } else {
                        step(self.state, *byte)
                    };
                    self.cr = *byte == b'\r';
                    after
                }
            };
        }
        bytes.len() - rest.len()
    }

    fn keep<'a>(&mut self, bytes: &'a [u8], left: u64) -> (&'a [u8], u64) {
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let (data, rest) = bytes.split_at_checked(count).unwrap_or((bytes, &[]));
        let room = KEPT_MAX.saturating_sub(self.kept.len());
        self.kept.extend_from_slice(data.get(..room).unwrap_or(data));
        self.watch(data.get(room..).unwrap_or_default());
        self.seen += count as u64;
        (rest, left - count as u64)
    }

    /// Whether what is not kept names a secret, as far as it has come.
    pub(super) fn names_a_secret(&self) -> bool {
        self.named || !self.tail.is_empty() && (self.suspects)(&self.tail)
    }

    /// Looks for names of secrets in what is not kept.
    fn watch(&mut self, data: &[u8]) {
        if data.is_empty() || self.named || self.seen > WATCHED_MAX {
            return;
        }
        if self.tail.is_empty() {
            self.tail
                .extend_from_slice(self.kept.get(KEPT_MAX - NAME_MAX..).unwrap_or_default());
        }
        self.tail.extend_from_slice(data);
        if self.tail.len() < NAME_MAX + WATCHED_AT_ONCE {
            return;
        }
        self.named = (self.suspects)(&self.tail);
        self.tail.drain(..self.tail.len().saturating_sub(NAME_MAX));
    }
}

fn step(state: State, byte: u8) -> State {
    match state {
        State::Size {
            size,
            line,
            digits,
            over,
        } => match (byte, char::from(byte).to_digit(16)) {
            (b'\n', _) if digits == 0 => State::Broken,
            (b'\n', _) if size == 0 => State::Trailer { line: 0 },
            (b'\n', _) => State::Data(size),
            _ if line >= CHUNK_LINE_MAX => State::Broken,
            // Zeros before the number do not make it longer.
            (_, Some(digit)) if !over && (digits < 15 || size == 0) => State::Size {
                size: size << 4 | u64::from(digit),
                line: line + 1,
                digits: digits + 1,
                over,
            },
            // An extension, or the line end: what stands here is not read.
            _ if over || (digits > 0 && matches!(byte, b'\r' | b';' | b' ' | b'\t')) => State::Size {
                size,
                line: line + 1,
                digits,
                over: true,
            },
            _ => State::Broken,
        },
        State::DataEnd => match byte {
            b'\r' => State::DataEnd,
            b'\n' => SIZE,
            _ => State::Broken,
        },
        State::Trailer { line } => match byte {
            b'\n' if line == 0 => State::Done,
            b'\n' => State::Trailer { line: 0 },
            b'\r' => State::Trailer { line },
            _ if line >= CHUNK_LINE_MAX => State::Broken,
            _ => State::Trailer { line: line + 1 },
        },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::decoy::mask::lines::name_one;
    use crate::decoy::testing::work;

    #[test]
    fn chunks_are_joined_and_the_next_request_is_left() {
        let mut body = Body::chunked(name_one, false);
        let bytes = b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nA: b\r\n\r\nGET";
        assert_eq!(body.take(bytes), bytes.len() - 3);
        assert_eq!((body.progress(), body.kept.as_slice()), (Progress::Done, &b"abcde"[..]));
        for junk in [&b"zz\r\n"[..], b"\r\n", b"3\r\nabcd", b"ffffffffffffffff\r\n"] {
            let mut body = Body::chunked(name_one, false);
            body.take(junk);
            assert_eq!(body.progress(), Progress::Broken, "{}", junk.escape_ascii());
        }
    }

    #[test]
    fn chunk_lines_are_read_as_servers_read_them() {
        for (bytes, strict, lenient) in [
            (&b"3\na=b\n0\n\n"[..], Progress::Broken, Progress::Done),
            (b"00000000000000003\r\na=b\r\n0\r\n\r\n", Progress::Done, Progress::Done),
            (b"3\t;x\r\na=b\r\n0\r\n\r\n", Progress::Done, Progress::Done),
            (b"ffffffffffffffff\r\n", Progress::Broken, Progress::Broken),
        ] {
            let ended = [true, false].map(|strict| {
                let mut body = Body::chunked(name_one, strict);
                body.take(bytes);
                body.progress()
            });
            assert_eq!(ended, [strict, lenient], "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_length_of_lies_keeps_little() {
        let mut body = Body::sized(u64::MAX, name_one);
        for _ in 0..64 {
            assert_eq!(body.take(&[b'a'; 4096]), 4096);
        }
        assert_eq!(
            (body.progress(), body.kept.len(), body.seen),
            (Progress::More, KEPT_MAX, 64 * 4096)
        );
        assert_eq!(Body::sized(0, name_one).progress(), Progress::Done);
    }

    #[test]
    fn a_name_beyond_what_is_kept_is_seen_wherever_it_is_cut() {
        let text = [&[b'a'; KEPT_MAX - 3][..], b"&x=1&password=hunter2&y=", &[b'b'; 9000]].concat();
        for cut in KEPT_MAX - 10..KEPT_MAX + 30 {
            let mut body = Body::sized(text.len() as u64, name_one);
            assert_eq!(body.take(&text[..cut]) + body.take(&text[cut..]), text.len());
            assert!(body.names_a_secret(), "{cut}");
        }
        let mut harmless = Body::sized(40_000, name_one);
        harmless.take(&[b'a'; 40_000]);
        assert!(!harmless.names_a_secret());
    }

    #[test]
    fn a_body_in_chunks_of_one_byte_is_looked_through_about_once() {
        fn counted(bytes: &[u8]) -> bool {
            work::spend(bytes.len());
            false
        }
        let mut body = Body::chunked(counted, true);
        let spent = work::of(|| {
            for _ in 0..KEPT_MAX + 20_000 {
                body.take(b"1\r\na\r\n");
            }
            body.take(b"0\r\n\r\n");
        });
        assert_eq!(
            (body.progress(), body.seen, body.names_a_secret()),
            (Progress::Done, KEPT_MAX as u64 + 20_000, false)
        );
        assert!(spent < 30_000, "{spent} bytes looked at for 20000");
    }

    proptest! {
        #[test]
        fn any_bytes_cut_anywhere_are_the_same_body(
            bytes in prop::collection::vec(prop::sample::select(b"0123af;\r\n x".to_vec()), 0..120), cut in 0usize..120, sized in any::<bool>(),
        ) {
            let make = || if sized { Body::sized(40, name_one) } else { Body::chunked(name_one, false) };
            let (mut whole, mut parts) = (make(), make());
            let taken = whole.take(&bytes);
            let (first, second) = bytes.split_at(cut.min(bytes.len()));
            let mut count = parts.take(first);
            if count == first.len() {
                count += parts.take(second);
            }
            prop_assert_eq!(count, taken);
            prop_assert_eq!((whole.progress(), whole.kept, whole.seen), (parts.progress(), parts.kept, parts.seen));
        }
    }
}
