//! What a mail server answers. Pure.
//!
//! In: bytes of a stranger. Out: [`Reply`]s, one or more lines under one code (RFC 5321 section 4.2), or [`Garbled`].
//! Invariants: 1. at most [`REPLY_BYTES_MAX`] are held of an answer that does not end; 2. what is shown of a reply is one
//! clean line of at most [`SHOWN_CHARS`]; 3. a reply has 1 line or more, all with its code.

use trapline_schemas::text::clean_within;

/// Longest answer: RFC 5321 has 512 bytes a line, and servers announce some dozens of extensions.
pub(crate) const REPLY_BYTES_MAX: usize = 16 * 1024;
/// Most that is shown of a reply.
const SHOWN_CHARS: usize = 200;

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    /// 200..=599.
    pub(crate) code: u16,
    /// The texts after the code, as they came but cleaned.
    pub(crate) lines: Vec<String>,
}

impl Reply {
    /// Whether the server did what it was asked to.
    pub(crate) fn is_good(&self) -> bool {
        self.code / 100 == 2
    }

    /// Whether it may do so later.
    pub(crate) fn is_later(&self) -> bool {
        self.code / 100 == 4
    }

    /// Whether it never will.
    pub(crate) fn is_never(&self) -> bool {
        self.code / 100 == 5
    }

    /// Code and text in one line.
    pub(crate) fn shown(&self) -> String {
        let text = format!("{} {}", self.code, self.lines.join(" "));
        clean_within(text.trim_end().as_bytes(), SHOWN_CHARS).to_string()
    }
}

/// What is no answer of a mail server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Garbled {
    /// A line that does not begin with a code.
    #[error("answers what is no mail server's answer: `{0}`")]
    NoCode(String),
    /// Lines of one answer with several codes.
    #[error("answers with {0} and {1} in one")]
    Mixed(u16, u16),
    /// No end.
    #[error("answers without end, more than {REPLY_BYTES_MAX} bytes")]
    Endless,
}

/// Bytes that came and are not yet a whole reply.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    pending: Vec<u8>,
    lines: Vec<String>,
    code: Option<u16>,
    held: usize,
}

impl Replies {
    /// Takes what was read.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// Whether nothing is left over.
    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty() && self.lines.is_empty()
    }

    /// The next whole reply, `None` if more must be read.
    pub(crate) fn next(&mut self) -> Result<Option<Reply>, Garbled> {
        while let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.pending.drain(..=end).collect();
            self.held += line.len();
            let (code, more, text) = read_line(&line)?;
            match self.code {
                Some(before) if before != code => return Err(Garbled::Mixed(before, code)),
                _ => self.code = Some(code),
            }
            self.lines.push(text);
            if !more {
                self.held = 0;
                self.code = None;
                let lines = std::mem::take(&mut self.lines);
                return Ok(Some(Reply { code, lines }));
            }
            self.bounded()?;
        }
        self.bounded().map(|()| None)
    }

    fn bounded(&self) -> Result<(), Garbled> {
        match self.held + self.pending.len() > REPLY_BYTES_MAX {
            true => Err(Garbled::Endless),
            false => Ok(()),
        }
    }
}

/// `250-text` or `250 text` or `250`: the code, whether more lines follow, the text.
fn read_line(line: &[u8]) -> Result<(u16, bool, String), Garbled> {
    let line = line.trim_ascii_end();
    let no_code = || Garbled::NoCode(clean_within(line, 80).to_string());
    let (digits, rest) = line.split_at_checked(3).ok_or_else(no_code)?;
    let code = match digits {
        [b'2'..=b'5', b'0'..=b'9', b'0'..=b'9'] => {
            digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'))
        }
        _ => return Err(no_code()),
    };
    let (more, text) = match rest {
        [] => (false, rest),
        [b' ', text @ ..] => (false, text),
        [b'-', text @ ..] => (true, text),
        _ => return Err(no_code()),
    };
    Ok((code, more, clean_within(text, SHOWN_CHARS).to_string()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(bytes: &[u8]) -> Result<Vec<Reply>, Garbled> {
        let mut replies = Replies::default();
        replies.push(bytes);
        std::iter::from_fn(|| replies.next().transpose()).collect()
    }

    #[test]
    fn a_reply_is_one_or_more_lines_under_one_code() {
        let read = all(b"220 mx.example ESMTP\r\n250-mx.example\r\n250-SIZE 1000\r\n250\r\n").unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].shown(), "220 mx.example ESMTP");
        assert_eq!(read[1].lines, ["mx.example", "SIZE 1000", ""]);
        assert!(read[1].is_good() && !read[1].is_later() && !read[1].is_never());
    }

    #[test]
    fn a_reply_that_has_not_ended_is_waited_for() {
        assert_eq!(all(b"250-mx.example\r\n250 SI").unwrap(), []);
    }

    #[test]
    fn what_is_no_reply_is_told_in_one_clean_line() {
        for bytes in [
            &b"HTTP/1.1 400 Bad\r\n"[..],
            b"\x1b[2J\x00\r\n",
            b"25\r\n",
            b"250_x\r\n",
            b"999 x\r\n",
        ] {
            let error = all(bytes).unwrap_err().to_string();
            assert!(error.starts_with("answers what is no mail server's answer"), "{error}");
            assert!(trapline_schemas::text::is_clean(&error), "{error:?}");
        }
        assert_eq!(all(b"250-a\r\n451 b\r\n"), Err(Garbled::Mixed(250, 451)));
    }

    #[test]
    fn an_answer_without_end_is_given_up() {
        assert_eq!(all(&vec![b'2'; REPLY_BYTES_MAX + 1]), Err(Garbled::Endless));
        assert_eq!(
            all(&b"250-x\r\n".repeat(REPLY_BYTES_MAX / 7 + 1)),
            Err(Garbled::Endless)
        );
    }

    proptest! {
        #[test]
        fn any_bytes_of_a_server_are_a_reply_or_a_bounded_clean_refusal(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20),
        ) {
            let mut replies = Replies::default();
            for chunk in chunks {
                replies.push(&chunk);
                for _ in 0..200 {
                    match replies.next() {
                        Ok(None) => break,
                        Ok(Some(reply)) => {
                            prop_assert!((200..600).contains(&reply.code) && !reply.lines.is_empty());
                            prop_assert!(trapline_schemas::text::is_clean(&reply.shown()));
                        }
                        Err(error) => {
                            prop_assert!(trapline_schemas::text::is_clean(&error.to_string()));
                            return Ok(());
                        }
                    }
                }
            }
        }

        #[test]
        fn any_bytes_cut_anywhere_give_the_same_replies(
            bytes in "(250-[ -~]{0,20}\r\n){0,3}(2|4|5)50 [ -~]{0,20}\r\n([ -~]{0,9}\r?\n){0,2}",
            cut in any::<prop::sample::Index>(),
        ) {
            let bytes = bytes.as_bytes();
            let (first, second) = bytes.split_at(cut.index(bytes.len() + 1));
            let mut replies = Replies::default();
            let mut parts = Vec::new();
            let mut failed = None;
            for part in [first, second] {
                replies.push(part);
                while failed.is_none() {
                    match replies.next() {
                        Ok(Some(reply)) => parts.push(reply),
                        Ok(None) => break,
                        Err(error) => failed = Some(error),
                    }
                }
            }
            match all(bytes) {
                Ok(whole) => prop_assert_eq!((whole, None), (parts, failed)),
                Err(error) => prop_assert_eq!(Some(error), failed),
            }
        }
    }
}
