//! A line as a terminal makes it out of typed bytes, and what it echoes.
//!
//! In: data bytes one by one with their offsets in the stream. Out: whole lines; the echo.
//!
//! Invariants: 1. a line keeps at most [`LINE_MAX`] bytes; more are dropped, as a terminal does. 2. CR NUL, CR LF, CR
//! and LF each end one line (RFC 854, "The NVT printer and keyboard").

use std::ops::Range;

use super::wire::IAC;

/// Most bytes kept of a line.
const LINE_MAX: usize = 512;

/// A whole line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Its bytes, after erasing.
    pub(super) bytes: Vec<u8>,
    /// Where its first to last typed byte were in the stream.
    pub(super) place: Range<u64>,
}

/// What a byte did.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Typed {
    /// It is part of a line.
    Part,
    /// It ended a line.
    Line(Line),
    /// It hung up: end of file on an empty line, or an interrupt.
    HangUp,
}

/// Makes lines.
#[derive(Debug, Default)]
pub(super) struct Editor {
    bytes: Vec<u8>,
    place: Option<Range<u64>>,
    after_cr: bool,
}

impl Editor {
    /// Takes one typed byte; appends what a terminal echoes of it to `echo`.
    pub(super) fn push(&mut self, byte: u8, at: u64, echo: &mut Vec<u8>) -> Typed {
        let after_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
        match byte {
            b'\n' | 0 if after_cr => Typed::Part,
            b'\r' | b'\n' => {
                echo.extend_from_slice(b"\r\n");
                Typed::Line(self.end(at))
            }
            0x03 | 0x1c => Typed::HangUp,
            0x04 if self.bytes.is_empty() => Typed::HangUp,
            0x04 => Typed::Line(self.end(at)),
            0x08 | 0x7f => self.erase(echo),
            0x15 => {
                self.bytes.clear();
                Typed::Part
            }
            _ => self.keep(byte, at, echo),
        }
    }

    /// Where the bytes of a line that has not ended were in the stream, if there are any.
    pub(super) fn unfinished(&self) -> Option<Range<u64>> {
        self.place.clone()
    }

    fn keep(&mut self, byte: u8, at: u64, echo: &mut Vec<u8>) -> Typed {
        let from = self.place.as_ref().map_or(at, |place| place.start);
        self.place = Some(from..at + 1);
        if self.bytes.len() >= LINE_MAX {
            return Typed::Part;
        }
        self.bytes.push(byte);
        match byte {
            0..=0x1f if byte != b'\t' => echo.extend_from_slice(&[b'^', byte + b'@']),
            IAC => echo.extend_from_slice(&[IAC, IAC]),
            _ => echo.push(byte),
        }
        Typed::Part
    }

    fn erase(&mut self, echo: &mut Vec<u8>) -> Typed {
        if self.bytes.pop().is_some() {
            echo.extend_from_slice(b"\x08 \x08");
        }
        Typed::Part
    }

    fn end(&mut self, at: u64) -> Line {
        Line {
            bytes: std::mem::take(&mut self.bytes),
            place: self.place.take().unwrap_or(at..at),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn type_in(bytes: &[u8]) -> (Vec<Line>, Vec<u8>) {
        let (mut editor, mut echo, mut lines) = (Editor::default(), Vec::new(), Vec::new());
        for (at, byte) in (0..).zip(bytes) {
            if let Typed::Line(line) = editor.push(*byte, at, &mut echo) {
                lines.push(line);
            }
        }
        (lines, echo)
    }

    #[test]
    fn every_line_end_ends_one_line() {
        for bytes in [
            &b"root\r\0toor\r\0"[..],
            b"root\r\ntoor\r\n",
            b"root\ntoor\n",
            b"root\rtoor\r",
        ] {
            let (lines, echo) = type_in(bytes);
            let texts: Vec<_> = lines.iter().map(|line| line.bytes.as_slice()).collect();
            assert_eq!(texts, [b"root", b"toor"], "{}", bytes.escape_ascii());
            assert_eq!(echo, b"root\r\ntoor\r\n");
            assert_eq!(
                &bytes[lines[1].place.start as usize..lines[1].place.end as usize],
                b"toor"
            );
        }
    }

    #[test]
    fn erased_bytes_are_still_in_the_lines_place() {
        let (lines, echo) = type_in(b"rx\x7foot\r");
        assert_eq!(
            lines,
            [Line {
                bytes: b"root".to_vec(),
                place: 0..6
            }]
        );
        assert_eq!(echo, b"rx\x08 \x08oot\r\n");
    }

    #[test]
    fn control_bytes_are_shown_not_sent_back() {
        assert_eq!(type_in(b"\x1b[2J\xff\r").1, b"^[[2J\xff\xff\r\n");
    }

    #[test]
    fn end_of_file_and_interrupt_hang_up() {
        let (mut editor, mut echo) = (Editor::default(), Vec::new());
        assert_eq!(editor.push(4, 0, &mut echo), Typed::HangUp);
        assert_eq!(editor.push(b'a', 1, &mut echo), Typed::Part);
        assert_eq!(editor.push(3, 2, &mut echo), Typed::HangUp);
    }

    proptest! {
        #[test]
        fn lines_and_echo_are_bounded_for_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
            let (lines, echo) = type_in(&bytes);
            prop_assert!(lines.iter().all(|line| line.bytes.len() <= LINE_MAX));
            prop_assert!(lines.iter().all(|line| line.place.end <= bytes.len() as u64));
            prop_assert!(echo.len() <= 3 * bytes.len());
        }
    }
}
