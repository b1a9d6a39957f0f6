//! DATA and BDAT: a message for a mailbox of this host is taken, and nothing is kept of it but what a session captures.

use trapline_schemas::{Field, Timestamp, Value, text};

use super::look::Manner;
use super::{Kind, Line, Next, Talk, Words};
use crate::decoy::services::lines::{self, End};
use crate::decoy::session::SessionError;

/// Longest part of a message's line that is looked at, bytes.
const LINE_MAX: usize = 1000;

/// Longest subject that is put together of its lines, bytes.
const SUBJECT_MAX: usize = 1000;

/// What is read of a message while it passes.
#[derive(Default)]
struct Message {
    bytes: u64,
    /// The beginning of a line whose end has not come.
    part: Vec<u8>,
    subject: Option<Vec<u8>>,
    /// Whether the last header was the subject, which may go on.
    within: bool,
    body: bool,
    /// Whether the last line has an end.
    ended: bool,
}

impl Message {
    /// Takes bytes of the message, wherever they are cut; of a long line its beginning counts.
    fn take(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.body {
                break;
            }
            let room = LINE_MAX.saturating_sub(self.part.len());
            self.part.extend_from_slice(piece.get(..room).unwrap_or(piece));
            if piece.ends_with(b"\n") {
                self.end_line();
            }
        }
        self.ended = bytes.ends_with(b"\n");
    }

    /// Takes the line that has come so far.
    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.part);
        self.line(lines::bare(&line));
    }

    /// Takes a line of the message.
    fn line(&mut self, line: &[u8]) {
        self.body |= line.is_empty();
        if self.body {
            return;
        }
        let name = line.get(..8).unwrap_or_default();
        if matches!(line.first(), Some(b' ' | b'\t')) {
            let room = |subject: &&mut Vec<u8>| subject.len() < SUBJECT_MAX;
            if let Some(subject) = self.subject.as_mut().filter(|_| self.within).filter(room) {
                subject.push(b' ');
                subject.extend_from_slice(line.trim_ascii());
            }
            return;
        }
        self.within = self.subject.is_none() && name.eq_ignore_ascii_case(b"subject:");
        if self.within {
            self.subject = Some(line.get(8..).unwrap_or_default().trim_ascii().to_vec());
        }
    }
}

impl<'a> Talk<'a> {
    /// What is said where nobody would get a message.
    fn no_recipient(&self) -> Option<&'a str> {
        let says = &self.look.says;
        let refused = match self.look.manner {
            Manner::Postfix => self.mail.from.is_some(),
            Manner::Exim => self.mail.refused.is_some(),
        };
        match (self.mail.to.is_empty(), refused) {
            (false, _) => None,
            (true, true) => Some(&says.data_refused),
            (true, false) => Some(&says.data_early),
        }
    }

    /// DATA.
    pub(super) async fn data(&mut self, line: &Line) -> Result<Next, SessionError> {
        if let Some(early) = self.no_recipient() {
            let words = Words {
                verb: b"DATA",
                ..Words::default()
            };
            self.report(line, None, true, Vec::new()).await;
            return self.wrong(early, &words).await;
        }
        self.say(&self.look.says.data, &Words::default()).await?;
        let mut message = Message::default();
        while let Some(text) = self.message_line(&mut message).await? {
            message.line(text.strip_prefix(b".").unwrap_or(&text));
        }
        self.tell(line, &message).await;
        let words = Words {
            number: message.bytes,
            ..Words::default()
        };
        self.mail.leave();
        if message.bytes > self.look.size_max {
            return self.reply(Kind::Refused, &self.look.says.data_large, &words).await;
        }
        self.mistakes.wrong = 0;
        self.good(&self.look.says.queued, &words).await
    }

    /// BDAT: as many bytes as it says follow it.
    pub(super) async fn chunk(&mut self, line: &Line, argument: &[u8]) -> Result<Next, SessionError> {
        let mut words = argument.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        let size = words
            .next()
            .and_then(|word| str::from_utf8(word).ok()?.parse::<u64>().ok());
        let last = words.next().is_some_and(|word| word.eq_ignore_ascii_case(b"LAST"));
        let Some(size) = size else {
            self.report(line, None, true, Vec::new()).await;
            let next = self.wrong(&self.look.says.chunk_syntax, &Words::default()).await?;
            let closes = self.look.manner == Manner::Postfix;
            return Ok(if closes { Next::Close } else { next });
        };
        let early = self.no_recipient();
        let mut message = Message {
            bytes: size,
            ..Message::default()
        };
        self.pass(size, &mut message).await?;
        self.tell(line, &message).await;
        let total = self.mail.chunks.unwrap_or(0).saturating_add(size);
        self.mail.chunks = Some(total);
        let words = Words {
            verb: b"BDAT",
            number: size,
            // A last line without an end gets one.
            total: total + if message.ended { 0 } else { 2 },
            ..Words::default()
        };
        let says = &self.look.says;
        match (early, last) {
            (Some(early), _) => self.wrong(early, &words).await,
            (None, _) if total > self.look.size_max => {
                self.mail.leave();
                self.reply(Kind::Refused, &says.data_large, &words).await
            }
            (None, true) => {
                self.mail.leave();
                self.good(&says.chunk_last, &words).await
            }
            (None, false) => self.good(&says.chunk, &words).await,
        }
    }

    /// The next line of a message; `None`: it has ended. Of a long one only the beginning is given.
    async fn message_line(&mut self, message: &mut Message) -> Result<Option<Vec<u8>>, SessionError> {
        let mut text: Option<Vec<u8>> = None;
        loop {
            let (count, whole) = match lines::end(self.session.input(), LINE_MAX) {
                End::At(length) => (length, true),
                End::TooLong => (LINE_MAX, false),
                End::More => {
                    self.session.fill().await?;
                    continue;
                }
            };
            let bytes = self.session.input().get(..count).unwrap_or_default().to_vec();
            self.session.consume(count);
            let first = text.is_none();
            if first && lines::bare(&bytes) == b"." {
                return Ok(None);
            }
            message.bytes = message.bytes.saturating_add(count as u64);
            let text = text.get_or_insert_with(|| lines::bare(&bytes).to_vec());
            if whole {
                return Ok(Some(std::mem::take(text)));
            }
        }
    }

    /// Passes over a chunk; its first bytes are looked at as a message.
    async fn pass(&mut self, size: u64, message: &mut Message) -> Result<(), SessionError> {
        let mut left = size;
        while left > 0 {
            if self.session.input().is_empty() {
                self.session.fill().await?;
            }
            let count = usize::try_from(left).unwrap_or(usize::MAX);
            let here = self.session.input();
            let here = here.get(..count.min(here.len())).unwrap_or_default();
            message.take(here);
            let passed = self.session.consume(here.len());
            left -= passed.end - passed.start;
        }
        if !message.ended {
            message.end_line();
        }
        Ok(())
    }

    /// Reports a message by its envelope and subject.
    async fn tell(&mut self, line: &Line, message: &Message) {
        let addresses = |all: &[Vec<u8>]| Value::from(all.iter().map(|one| text::clean(one)).collect::<Vec<_>>());
        let mut facts = Vec::new();
        if let Some(from) = &self.mail.from {
            facts.push((Field::EmailFrom, addresses(std::slice::from_ref(from))));
        }
        if let Some(subject) = &message.subject {
            facts.push((Field::EmailSubject, text::clean(subject).into()));
        }
        if !self.mail.to.is_empty() {
            facts.push((Field::EmailTo, addresses(&self.mail.to)));
        }
        self.report(line, None, true, facts).await;
    }

    /// A name for a message, as the server makes them.
    pub(super) fn queue_id(&self) -> String {
        let now = Timestamp::now().micros().unsigned_abs();
        let [a, b, c, d, ..] = self.session.personality().install.draw("mail queue");
        match self.look.manner {
            // Microseconds, then an inode (Postfix, short names): near the same one all the time.
            Manner::Postfix => {
                let micros = now % 1_000_000;
                let inode = u32::from_be_bytes([0, a, b, c & 0x3f]) + u32::from(rand::random::<u8>() & 0x3f);
                format!("{micros:05X}{inode:X}")
            }
            // Seconds, process and a fraction in base 62.
            Manner::Exim => {
                let seconds = now / 1_000_000;
                let process = u64::from(u16::from_be_bytes([c, d])) + seconds % 4096;
                let fraction = now % 1_000_000 / 500;
                format!("{}-{}-{}", base62(seconds, 6), base62(process, 6), base62(fraction, 2))
            }
        }
    }
}

fn base62(mut number: u64, digits: usize) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut out = vec![b'0'; digits];
    for place in out.iter_mut().rev() {
        *place = DIGITS[usize::try_from(number % 62).unwrap_or(0)];
        number /= 62;
    }
    out.into_iter().map(char::from).collect()
}
