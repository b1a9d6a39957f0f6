//! Redis's requests as bytes: inline commands and RESP arrays of bulk strings. Pure.
//!
//! In: bytes received and not yet consumed. Out: commands one by one, or what is wrong with them. What a server refuses
//! to a client that has not logged in is refused here: more than 10 arguments, or one of more than 16,384 bytes.
//!
//! Invariants: 1. at most [`ARGUMENTS_MAX`] arguments and [`KEPT_MAX`] bytes of a command are kept. 2. Every waiting for
//! an end is bounded by 64 KiB, also for what is consumed meanwhile. 3. However the bytes are cut, the commands are the
//! same.
//!
//! Source: the RESP specification, and what redis-server 7.0.15 does: it looks for line ends with `strchr`, so a NUL
//! hides them; `string2ll` takes no sign but `-`, no blank and no leading zero; `sdssplitargs` reads quotes.

use std::ops::Range;

/// Most arguments of a command that are kept; the rest is counted.
const ARGUMENTS_MAX: usize = 64;

/// Most bytes of a command's arguments that are kept.
const KEPT_MAX: usize = 4096;

/// Longest line: an inline command, or a count (`PROTO_INLINE_MAX_SIZE`).
const LINE_MAX: u64 = 64 << 10;

/// Bytes of a line without an end that may wait in the input; beyond, they are consumed.
const WAITING_MAX: usize = 32 << 10;

/// Most arguments of a client that has not logged in.
const UNKNOWN_ARGUMENTS_MAX: i64 = 10;

/// Longest argument of a client that has not logged in, bytes.
const UNKNOWN_BULK_MAX: i64 = 16_384;

/// Longest argument that can be, bytes (`proto-max-bulk-len`).
const BULK_MAX: i64 = 512 << 20;

/// What became of the bytes at the front of the input.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// More must come before anything can be said.
    More,
    /// So many bytes were read, and there may be more to say.
    Read(usize),
    /// So many bytes were read, and they end a command.
    Command(usize, Command),
    /// The server gives up.
    Wrong(Fault),
}

/// What is wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// A line of more than 64 KiB.
    BigInline,
    /// A count of arguments that has more than 64 KiB.
    BigCount,
    /// A length of an argument that has more than 64 KiB.
    BigBulk,
    /// A quote is not closed, or a word goes on after it.
    Quotes,
    /// The count of arguments is no number or too large.
    Count,
    /// More arguments than before a login.
    UnknownCount,
    /// An argument begins with this byte and not with `$`.
    NoBulk(u8),
    /// The length of an argument is no number or too large.
    Bulk,
    /// An argument longer than before a login.
    UnknownBulk,
}

impl Fault {
    /// The server's last words, as 7.0 says them.
    pub(super) fn said(self) -> Vec<u8> {
        let text: &[u8] = match self {
            Self::BigInline => b"too big inline request",
            Self::BigCount => b"too big mbulk count string",
            Self::BigBulk => b"too big bulk count string",
            Self::Quotes => b"unbalanced quotes in request",
            Self::Count => b"invalid multibulk length",
            Self::UnknownCount => b"unauthenticated multibulk length",
            Self::NoBulk(byte) => {
                let shown = if matches!(byte, b'\r' | b'\n') { b' ' } else { byte };
                return [b"-ERR Protocol error: expected '$', got '", &[shown][..], b"'\r\n"].concat();
            }
            Self::Bulk => b"invalid bulk length",
            Self::UnknownBulk => b"unauthenticated bulk length",
        };
        [b"-ERR Protocol error: ", text, b"\r\n"].concat()
    }
}

/// One argument; the first is the command's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Argument {
    /// What is kept of it.
    pub(super) bytes: Vec<u8>,
    /// Where it is in the stream, with its quotes.
    pub(super) place: Range<u64>,
}

/// One command.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Command {
    /// Its first arguments.
    pub(super) arguments: Vec<Argument>,
    /// How many it has.
    pub(super) count: usize,
    /// Where it is in the stream.
    pub(super) place: Range<u64>,
    kept: usize,
}

impl Command {
    /// An argument; empty if there is none.
    pub(super) fn argument(&self, at: usize) -> &[u8] {
        self.arguments.get(at).map_or(&[], |argument| &argument.bytes)
    }

    fn push(&mut self, bytes: &[u8], place: Range<u64>) {
        self.count += 1;
        if self.arguments.len() < ARGUMENTS_MAX {
            let room = KEPT_MAX.saturating_sub(self.kept).min(bytes.len());
            self.kept += room;
            let bytes = bytes.get(..room).unwrap_or_default().to_vec();
            self.arguments.push(Argument { bytes, place });
        }
    }
}

/// Reads commands.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// The array under way.
    array: Option<Array>,
    /// The line under way that is too long to wait in the input.
    long: Option<Long>,
}

#[derive(Debug)]
struct Array {
    left: i64,
    command: Command,
}

/// What was consumed of a line that has no end yet.
#[derive(Debug)]
struct Long {
    start: Vec<u8>,
    from: u64,
    size: u64,
    /// A NUL hides every line end that follows.
    endless: bool,
}

impl Reader {
    /// Reads the front of `input`, which is at `at` in the stream.
    pub(super) fn step(&mut self, input: &[u8], at: u64) -> Step {
        match (&self.array, self.first(input)) {
            (_, None) => Step::More,
            (Some(_), _) => self.bulk(input, at),
            (None, Some(b'*')) => self.count(input, at),
            (None, Some(_)) => self.inline(input, at),
        }
    }

    /// What has been read of a command that is not whole: where it begins, and its arguments so far.
    pub(super) fn unfinished(&self) -> Option<(u64, &[Argument])> {
        let array = self.array.as_ref();
        let long = self.long.as_ref().map(|long| (long.from, &[][..]));
        array
            .map(|array| (array.command.place.start, &array.command.arguments[..]))
            .or(long)
    }

    /// The byte that tells what kind of line it is.
    fn first(&self, input: &[u8]) -> Option<u8> {
        let long = self.long.as_ref().and_then(|long| long.start.first());
        long.or(input.first()).copied()
    }

    fn count(&mut self, input: &[u8], at: u64) -> Step {
        let (line, end) = match self.line(input, at, b'\r', 1) {
            Ok(found) => found,
            Err(more) => return more.unwrap_or(Step::Wrong(Fault::BigCount)),
        };
        match line.get(1..).and_then(integer) {
            None => Step::Wrong(Fault::Count),
            Some(count) if count > i64::from(i32::MAX) => Step::Wrong(Fault::Count),
            Some(count) if count > UNKNOWN_ARGUMENTS_MAX => Step::Wrong(Fault::UnknownCount),
            Some(left) => {
                let place = at..at;
                let command = Command {
                    place,
                    ..Command::default()
                };
                self.array = (left > 0).then_some(Array { left, command });
                Step::Read(end)
            }
        }
    }

    fn bulk(&mut self, input: &[u8], at: u64) -> Step {
        let (line, end) = match self.line(input, at, b'\r', 1) {
            Ok(found) => found,
            Err(more) => return more.unwrap_or(Step::Wrong(Fault::BigBulk)),
        };
        let length = match (line.first(), line.get(1..).and_then(integer)) {
            (Some(b'$'), Some(length @ 0..=UNKNOWN_BULK_MAX)) => usize::try_from(length).unwrap_or(0),
            (Some(b'$'), Some(0..=BULK_MAX)) => return Step::Wrong(Fault::UnknownBulk),
            (Some(b'$'), _) => return Step::Wrong(Fault::Bulk),
            (other, _) => return Step::Wrong(Fault::NoBulk(other.copied().unwrap_or(b'\r'))),
        };
        // The line of a length is short, or it were no number: nothing of it has been consumed.
        match input.get(end..end + length).filter(|_| input.len() >= end + length + 2) {
            Some(bytes) => {
                let from = at + end as u64;
                self.argument(bytes, from..from + length as u64, end + length + 2)
            }
            None => Step::More,
        }
    }

    fn argument(&mut self, bytes: &[u8], place: Range<u64>, end: usize) -> Step {
        let Some(mut array) = self.array.take() else {
            return Step::Read(end);
        };
        array.command.place.end = place.end + 2;
        array.command.push(bytes, place);
        array.left -= 1;
        if array.left == 0 {
            return Step::Command(end, array.command);
        }
        self.array = Some(array);
        Step::Read(end)
    }

    fn inline(&mut self, input: &[u8], at: u64) -> Step {
        let from = self.long.as_ref().map_or(at, |long| long.from);
        let is_cut = self.long.is_some();
        let (line, end) = match self.line(input, at, b'\n', 0) {
            Ok(found) => found,
            Err(more) => return more.unwrap_or(Step::Wrong(Fault::BigInline)),
        };
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        let mut command = Command {
            place: from..at + end as u64,
            ..Command::default()
        };
        // Of a line that was cut nobody knows whether its quotes are closed.
        if !split(line, from, &mut command) && !is_cut {
            return Step::Wrong(Fault::Quotes);
        }
        match command.count {
            0 => Step::Read(end),
            _ => Step::Command(end, command),
        }
    }

    /// The line at the front without its end, `after` bytes behind `mark`, and where it ends in the input. `Err`: it has
    /// no end yet; within, what to do, or nothing if it is too long.
    fn line(&mut self, input: &[u8], at: u64, mark: u8, after: usize) -> Result<(Vec<u8>, usize), Option<Step>> {
        let endless = self.long.as_ref().is_some_and(|long| long.endless);
        let found = memchr::memchr2(mark, 0, input).filter(|_| !endless);
        let end = found.filter(|end| input.get(*end) == Some(&mark));
        if let Some(end) = end.filter(|end| input.len() > end + after) {
            let mut line = self.long.take().map(|long| long.start).unwrap_or_default();
            line.extend_from_slice(input.get(..end).unwrap_or_default());
            return Ok((line, end + 1 + after));
        }
        let passed = self.long.as_ref().map_or(0, |long| long.size);
        if end.is_none() && passed + input.len() as u64 > LINE_MAX {
            return Err(None);
        }
        if end.is_some() || input.len() < WAITING_MAX {
            return Err(Some(Step::More));
        }
        self.pass(input, at, found.is_some());
        Err(Some(Step::Read(input.len())))
    }

    fn pass(&mut self, input: &[u8], at: u64, endless: bool) {
        let long = self.long.get_or_insert_with(|| Long {
            start: input.get(..KEPT_MAX).unwrap_or(input).to_vec(),
            from: at,
            size: 0,
            endless: false,
        });
        long.size += input.len() as u64;
        long.endless |= endless;
    }
}

/// A number as `string2ll` reads it.
pub(super) fn integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let is_plain = match digits {
        b"0" => digits.len() == text.len(),
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    std::str::from_utf8(text).ok().filter(|_| is_plain)?.parse().ok()
}

/// Splits an inline command, whose first byte is at `from` in the stream. `false`: its quotes are not balanced.
fn split(line: &[u8], from: u64, command: &mut Command) -> bool {
    let mut at = 0;
    loop {
        at += line.iter().skip(at).take_while(|byte| is_space(**byte)).count();
        if at >= line.len() {
            return true;
        }
        let Some((word, end)) = word(line, at) else {
            return false;
        };
        command.push(&word, from + at as u64..from + end as u64);
        at = end;
    }
}

/// As C's `isspace`.
const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// The word at `at`, and where it ends. `None`: a quote in it is not closed.
fn word(line: &[u8], mut at: usize) -> Option<(Vec<u8>, usize)> {
    let mut word = Vec::new();
    loop {
        match line.get(at).copied() {
            None | Some(b' ' | b'\t' | b'\r' | b'\n') => return Some((word, at)),
            Some(quote @ (b'"' | b'\'')) => {
                let end = quoted(line, at + 1, quote, &mut word)?;
                return line.get(end).is_none_or(|next| is_space(*next)).then_some((word, end));
            }
            Some(byte) => word.push(byte),
        }
        at += 1;
    }
}

/// Reads up to behind the closing quote.
fn quoted(line: &[u8], mut at: usize, quote: u8, word: &mut Vec<u8>) -> Option<usize> {
    loop {
        let rest = line.get(at..)?;
        let (byte, length) = match rest {
            [byte, ..] if *byte == quote => return Some(at + 1),
            [b'\\', b'x', high, low, ..] if quote == b'"' && hex(*high, *low).is_some() => (hex(*high, *low)?, 4),
            [b'\\', byte, ..] if quote == b'"' => (escaped(*byte), 2),
            [b'\\', b'\'', ..] => (b'\'', 2),
            [byte, ..] => (*byte, 1),
            [] => return None,
        };
        word.push(byte);
        at += length;
    }
}

const fn escaped(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'a' => 7,
        other => other,
    }
}

fn hex(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is read of a stream that comes in pieces of `piece` bytes.
    fn read(stream: &[u8], piece: usize) -> (Vec<Vec<Vec<u8>>>, Option<Fault>) {
        let (mut reader, mut commands) = (Reader::default(), Vec::new());
        let (mut at, mut come) = (0, 0);
        loop {
            match reader.step(&stream[at..come], at as u64) {
                Step::More if come == stream.len() => return (commands, None),
                Step::More => come = stream.len().min(come + piece),
                Step::Read(count) => at += count,
                Step::Command(count, command) => {
                    at += count;
                    assert!(command.place.end <= at as u64 && command.arguments.len() <= ARGUMENTS_MAX);
                    commands.push(command.arguments.into_iter().map(|argument| argument.bytes).collect());
                }
                Step::Wrong(fault) => return (commands, Some(fault)),
            }
            assert!(come - at <= WAITING_MAX + piece);
        }
    }

    #[test]
    fn what_7_0_15_refuses_is_refused_in_its_words() {
        for (sent, said) in [
            (&b"*x\r\n"[..], "invalid multibulk length"),
            (b"*\r\n", "invalid multibulk length"),
            (b"*+1\r\n", "invalid multibulk length"),
            (b"*01\r\n", "invalid multibulk length"),
            (b"*2147483648\r\n", "invalid multibulk length"),
            (b"*99999999999999999999\r\n", "invalid multibulk length"),
            (b"*11\r\n", "unauthenticated multibulk length"),
            (b"*1\r\nfoo\r\n", "expected '$', got 'f'"),
            (b"*1\r\n\r\n", "expected '$', got ' '"),
            (b"*1\r$4\r\nPING\r\n", "expected '$', got '4'"),
            (b"*1\r\n$\r\n", "invalid bulk length"),
            (b"*1\r\n$-1\r\n", "invalid bulk length"),
            (b"*1\r\n$ 4\r\n", "invalid bulk length"),
            (b"*1\r\n$04\r\n", "invalid bulk length"),
            (b"*1\r\n$536870913\r\n", "invalid bulk length"),
            (b"*1\r\n$16385\r\n", "unauthenticated bulk length"),
            (b"\"unbalanced\r\n", "unbalanced quotes in request"),
            (b"foo 'a'b\r\n", "unbalanced quotes in request"),
            (b"foo '\r\n", "unbalanced quotes in request"),
            (&[b'x'; 65_537], "too big inline request"),
            (&[&b"\0\r\n"[..], &[b'x'; 65_536]].concat(), "too big inline request"),
            (&[&b"*1"[..], &[b'1'; 65_600]].concat(), "too big mbulk count string"),
            (
                &[&b"*1\r\n$1"[..], &[b'1'; 65_600]].concat(),
                "too big bulk count string",
            ),
            (
                &[&b"*1\r\nx"[..], &[b'y'; 40_000], b"\r\n"].concat(),
                "expected '$', got 'x'",
            ),
        ] {
            for piece in [1000, 4096, 70_000] {
                let fault = read(sent, piece).1.expect("it is refused");
                let expected = format!("-ERR Protocol error: {said}\r\n");
                assert_eq!(String::from_utf8(fault.said()).unwrap(), expected);
            }
        }
    }

    #[test]
    fn what_7_0_15_waits_for_is_waited_for() {
        for sent in [
            &b"*10\r\n"[..],
            b"*1\r\n$16384\r\n",
            b"*1\n$4\nPING\n",
            b"*1\r\n\0abc\r\n",
            b"\0\0\0\0\r\n",
            b"\x16\x03\x01\0\x05abcd\n",
            b"\r\n",
            b"  \r\n",
            b"*0\r\n",
            b"*-1\r\n",
            &[b'x'; 65_536],
        ] {
            assert_eq!(read(sent, 512), (vec![], None), "{}", sent.escape_ascii());
        }
    }

    #[test]
    fn commands_are_read_as_7_0_15_reads_them() {
        for (sent, arguments) in [
            (&b"*1\r\n$4\r\nPINGxx"[..], &[&b"PING"[..]][..]),
            (b"*0\r\n*2\r\n$0\r\n\r\n$1\r\na\r\n", &[b"", b"a"]),
            (b"foo \"a b\" 'c'\r\n", &[b"foo", b"a b", b"c"]),
            (b"foo \"\\x41\\n\\xzz\\q\"\n", &[b"foo", b"A\nxzzq"]),
            (b"foo 'it\\'s' 'a\\n'\r\n", &[b"foo", b"it's", b"a\\n"]),
            (b"a\"b c\"\r\n", &[b"ab c"]),
            (b"\"\" a\r\n", &[b"", b"a"]),
            (b"get\tx\x0by\x0b \r\n", &[b"get", b"x\x0by\x0b"]),
        ] {
            for piece in [1, 7, 1000] {
                assert_eq!(
                    read(sent, piece),
                    (vec![arguments.iter().map(|argument| argument.to_vec()).collect()], None)
                );
            }
        }
        let long = [&b"x "[..], &[b'y'; 60_000], b"\r\nPING\r\n"].concat();
        let (commands, fault) = read(&long, 4096);
        assert_eq!((commands.len(), fault, &commands[0][0][..]), (2, None, &b"x"[..]));
        assert_eq!(commands[0][1].len(), KEPT_MAX - 1, "of what was kept");
    }

    #[test]
    fn arguments_know_their_place() {
        let mut reader = Reader::default();
        let Step::Command(_, command) = reader.step(b"AUTH \"a b\" c\r\n", 100) else {
            panic!("it is a command");
        };
        let places: Vec<_> = command
            .arguments
            .iter()
            .map(|argument| argument.place.clone())
            .collect();
        assert_eq!(places, [100..104, 105..110, 111..112]);
        assert_eq!(command.place, 100..114);
    }

    fn sent() -> impl Strategy<Value = Vec<u8>> {
        let words: &[&[u8]] = &[
            b"*", b"1", b"2\r\n", b"$4\r\n", b"AUTH", b"\r\n", b"\n", b"\0", b"\"", b"'", b" ", b"\\x4",
        ];
        let word = prop::sample::select(words).prop_map(<[u8]>::to_vec);
        let noise = prop::collection::vec(any::<u8>(), 0..6);
        prop::collection::vec(prop_oneof![4 => word, 1 => noise], 0..30).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn any_bytes_are_the_same_commands_however_cut(stream in sent(), piece in 1usize..20) {
            prop_assert_eq!(read(&stream, piece), read(&stream, stream.len().max(1)));
        }
    }
}
