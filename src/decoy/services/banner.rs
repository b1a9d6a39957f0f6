//! `banner`: a TCP service of lines, for protocols without a file of their own.
//!
//! In: the greeting and the table of answers of the personality. Out: a credential for each login that its table
//! describes, a query for each other line. A peer that never ends a line is only captured.
//!
//! Invariant: what a peer offers as a secret is in no captured form. That holds for lines that are too long, cut short,
//! malformed or of another protocol as well: see [`Talk::report`].

mod imap;
mod login;
mod look;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use self::imap::{Argument, Scan, Scanner};
use self::look::{Asked, Look, Row, Takes};
use crate::decoy::personality;
use crate::decoy::services::lines::{self, End};
use crate::decoy::services::{Service, Speak};
use crate::decoy::session::{Session, SessionError};

/// The row.
pub(super) const SERVICE: Service = Service {
    name: "banner",
    personality: "pop3-dovecot",
    look: personality::look::<Look>,
    provide: None,
    speak: Speak::Stream(serve),
};

/// The mark of a session within TLS.
const SECURE: &str = "secure";

/// Lets a client send a literal.
const GO_AHEAD: &[u8] = b"+ OK\r\n";

fn serve(session: &mut Session) -> BoxFuture<'_, Result<(), SessionError>> {
    talk(session).boxed()
}

async fn talk(session: &mut Session) -> Result<(), SessionError> {
    let personality = session.personality();
    let look: &Look = personality.look();
    let mut talk = Talk::new(session, look);
    // Answers are on the heap, so that a silent session does not hold the room of one.
    Box::pin(talk.greet()).await?;
    let ended = talk.answer_lines().await;
    talk.hide_rest();
    ended
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    Line,
    Close,
}

struct Talk<'a> {
    session: &'a mut Session,
    look: &'a Look,
    tag: Vec<u8>,
    user: Vec<u8>,
    /// What rows have set.
    marks: Vec<&'a str>,
    /// Wrong commands.
    bad: u32,
    /// Literals of this command that were let through.
    asked: usize,
    /// How far the command was read.
    scanner: Scanner,
    /// Bytes to be passed over.
    chunk: u64,
    /// The beginning of a line whose rest is passed over.
    cut: Option<Line>,
    /// A secret was offered in vain, and more of it may follow.
    wary: bool,
}

/// A line, without its end, and where it was in the stream.
struct Line {
    bytes: Vec<u8>,
    at: u64,
    /// Where it ended, its end and what was passed over included.
    end: u64,
    cut: bool,
}

/// The peer's words that an answer may say back.
#[derive(Default)]
struct Words<'w> {
    verb: &'w [u8],
    argument: &'w [u8],
    why: &'w str,
}

/// What the input comes to.
enum Step {
    Line(Line),
    GoAhead,
    TooLong,
    TooLarge,
}

/// What a line was found to be.
struct Found<'l, 'r> {
    row: &'r Row,
    rest: &'l [u8],
    arguments: Vec<Argument>,
}

impl<'a> Talk<'a> {
    fn new(session: &'a mut Session, look: &'a Look) -> Self {
        Self {
            session,
            look,
            tag: Vec::new(),
            user: Vec::new(),
            marks: Vec::new(),
            bad: 0,
            asked: 0,
            scanner: Scanner::default(),
            chunk: 0,
            cut: None,
            wary: false,
        }
    }

    async fn greet(&mut self) -> Result<(), SessionError> {
        let look = self.look;
        let mut greeting = &look.greeting;
        if self.session.is_secure() {
            self.marks.push(SECURE);
            greeting = Some(&look.greeting_secure)
                .filter(|own| !own.is_empty())
                .unwrap_or(greeting);
        }
        self.say(greeting, &Words::default()).await
    }

    async fn answer_lines(&mut self) -> Result<(), SessionError> {
        let listens = self.look.answers.is_empty() && self.look.unknown.is_empty();
        loop {
            if listens {
                // A greeting alone has no lines: whatever comes is only captured.
                self.drop_input();
            } else if let Some(step) = self.step() {
                if Box::pin(self.take(step)).await? == Next::Close {
                    return Ok(());
                }
                continue;
            }
            self.session.fill().await?;
        }
    }

    /// What the input holds for an answer, if it does by now.
    fn step(&mut self) -> Option<Step> {
        if self.chunk > 0 {
            let count = usize::try_from(self.chunk).unwrap_or(usize::MAX);
            let passed = self.session.consume(count.min(self.session.input().len()));
            self.chunk -= passed.end - passed.start;
        }
        if self.look.tagged {
            return self.tagged_step();
        }
        match self.next_line(self.look.line.max, self.look.line.too_long.is_empty()) {
            Some(Ok(line)) => Some(Step::Line(line)),
            Some(Err(TooLong)) => Some(Step::TooLong),
            None => None,
        }
    }

    /// A command with its literals is one run of bytes.
    fn tagged_step(&mut self) -> Option<Step> {
        let input = self.session.input();
        let max = self.look.line.max;
        match scan(self.look, &mut self.scanner, input) {
            Scan::Whole { asked, .. } | Scan::More { asked, .. } | Scan::TooLarge { asked } if asked > self.asked => {
                Some(Step::GoAhead)
            }
            Scan::TooLarge { .. } => Some(Step::TooLarge),
            Scan::Whole { asked, length } if length > max * (asked + 1) => Some(Step::TooLong),
            Scan::Whole { length, .. } => Some(Step::Line(self.take_line(length))),
            Scan::More { from, .. } if input.len().saturating_sub(from) >= max => Some(Step::TooLong),
            Scan::More { .. } => None,
        }
    }

    /// The next line, once it is whole. What is longer than `max` is cut to it, or told.
    fn next_line(&mut self, max: usize, cuts: bool) -> Option<Result<Line, TooLong>> {
        if let Some(line) = self.cut.take() {
            return self.pass_over(line).map(Ok);
        }
        match lines::end(self.session.input(), max) {
            End::At(length) => Some(Ok(self.take_line(length))),
            End::More => None,
            End::TooLong if cuts => {
                let mut line = self.take_line(max);
                line.cut = true;
                self.pass_over(line).map(Ok)
            }
            End::TooLong => Some(Err(TooLong)),
        }
    }

    /// Passes over the rest of a line; gives it back once its end was there.
    fn pass_over(&mut self, mut line: Line) -> Option<Line> {
        let input = self.session.input();
        let end = memchr::memchr(b'\n', input);
        let count = end.map_or(input.len(), |at| at + 1);
        line.end = self.session.consume(count).end;
        if end.is_none() {
            self.cut = Some(line);
            return None;
        }
        Some(line)
    }

    fn take_line(&mut self, length: usize) -> Line {
        let bytes = self.session.input().get(..length).unwrap_or_default();
        let bytes = lines::bare(bytes).to_vec();
        let place = self.session.consume(length);
        Line {
            bytes,
            at: place.start,
            end: place.end,
            cut: false,
        }
    }

    async fn take(&mut self, step: Step) -> Result<Next, SessionError> {
        let bounds = &self.look.line;
        match step {
            Step::Line(line) => {
                (self.asked, self.scanner) = (0, Scanner::default());
                self.command(line).await
            }
            Step::GoAhead => {
                self.asked += 1;
                self.session.send(GO_AHEAD).await?;
                Ok(Next::Line)
            }
            Step::TooLong => {
                self.drop_input();
                self.say(&bounds.too_long, &Words::default()).await?;
                self.session.abort();
                Ok(Next::Close)
            }
            Step::TooLarge => {
                self.drop_input();
                self.say(&bounds.too_large, &Words::default()).await?;
                Ok(Next::Close)
            }
        }
    }

    /// Answers a whole line.
    async fn command(&mut self, line: Line) -> Result<Next, SessionError> {
        let look = self.look;
        let (tag, rest) = if look.tagged {
            word(&line.bytes)
        } else {
            (&b""[..], &line.bytes[..])
        };
        let has_tag = imap::is_tag(tag);
        self.tag = if has_tag { tag.to_vec() } else { b"*".to_vec() };
        if !look.not_utf8.is_empty() && str::from_utf8(&line.bytes).is_err() {
            self.report(&line, None, true).await;
            return self.reply(&look.not_utf8, &Words::default(), true).await;
        }
        let rest = if look.tagged && !has_tag { b"" } else { rest };
        match self.find(rest) {
            Ok(Some(found)) => self.known(&line, rest, found).await,
            Ok(None) => self.unknown(&line, rest).await,
            Err(why) => {
                self.report(&line, None, true).await;
                let words = Words {
                    why,
                    ..Words::default()
                };
                self.reply(&look.malformed, &words, false).await
            }
        }
    }

    /// The row that a line is for, or what is wrong with its arguments.
    fn find<'l>(&self, line: &'l [u8]) -> Result<Option<Found<'l, 'a>>, &'static str> {
        let look = self.look;
        for row in &look.answers {
            let Some(rest) = row.rest(line, look.any_blanks) else {
                continue;
            };
            let arguments = look::arguments(rest, look.tagged && !row.takes.is_raw())?;
            let asked = Asked {
                tag: &self.tag,
                arguments: &arguments,
                marks: &self.marks,
            };
            if row.suits(&asked, rest) {
                return Ok(Some(Found { row, rest, arguments }));
            }
        }
        look::arguments(word(line).1, look.tagged).map(|_| None)
    }

    async fn known(&mut self, line: &Line, rest: &[u8], found: Found<'_, 'a>) -> Result<Next, SessionError> {
        let row = found.row;
        self.set_marks(row);
        let from = line.bytes.len() - found.rest.len();
        if row.takes.is_login() {
            self.hide(line, from);
            return self.login(row, found.rest, &found.arguments).await;
        }
        self.note(line, &found, from).await;
        let words = Words {
            verb: word(rest).0,
            argument: found.rest,
            why: "",
        };
        let next = self.reply(&row.say, &words, row.bad).await?;
        match () {
            () if row.close => Ok(Next::Close),
            () if row.tls && !self.session.is_secure() => self.start_tls().await,
            () => Ok(next),
        }
    }

    fn set_marks(&mut self, row: &'a Row) {
        for mark in &row.then {
            let name = mark.trim_start_matches('!');
            self.marks.retain(|set| *set != name);
            if name == mark {
                self.marks.push(name);
            }
        }
    }

    /// Takes from a line that is no whole login what its row says, and reports it. Its argument begins at `from`.
    async fn note(&mut self, line: &Line, found: &Found<'_, 'a>, from: usize) {
        let (row, argument) = (found.row, found.rest);
        match row.takes {
            Takes::Nothing => {
                self.wary = false;
                self.report(line, None, row.proof).await;
            }
            Takes::User => {
                let end = lines::typed(argument);
                self.user = argument.get(..end).unwrap_or_default().to_vec();
                if end < argument.len() {
                    self.hide(line, from + end);
                }
            }
            Takes::Chunk => {
                self.report(line, None, row.proof).await;
                self.chunk = look::number(found.arguments.first()).unwrap_or(0);
            }
            // A login that it does not know, and whatever else may be one.
            Takes::Secret | Takes::Password | Takes::Both | Takes::Plain | Takes::Login => {
                self.wary = true;
                self.report(line, Some(from), true).await;
            }
        }
    }

    /// TLS begins. Nothing that was sent ahead in plaintext gets into it (CVE-2011-0411).
    async fn start_tls(&mut self) -> Result<Next, SessionError> {
        if !self.session.input().is_empty() {
            self.drop_input();
            return Ok(Next::Close);
        }
        self.session.start_tls().await?;
        self.marks.push(SECURE);
        Ok(Next::Line)
    }

    async fn unknown(&mut self, line: &Line, rest: &[u8]) -> Result<Next, SessionError> {
        let look = self.look;
        let hidden = (self.wary && !line.bytes.is_empty()).then_some(0);
        if !line.bytes.is_empty() {
            self.report(line, hidden, true).await;
        }
        let (verb, argument) = word(rest);
        let words = Words {
            verb,
            argument,
            why: "",
        };
        if line.bytes.is_empty() && !look.empty.is_empty() {
            return self.reply(&look.empty, &words, true).await;
        }
        if !look.bogus.is_empty() && is_bogus(look::trim_start(&line.bytes)) {
            self.say(&look.bogus, &words).await?;
            return Ok(Next::Close);
        }
        self.reply(&look.unknown, &words, true).await
    }

    /// Reports a line as a query. From `hidden` on it is hidden; a line that names a secret is hidden all the same.
    async fn report(&mut self, line: &Line, hidden: Option<usize>, proof: bool) {
        let names = || lines::names_a_secret(&line.bytes);
        let from = hidden.or_else(|| names().then(|| lines::shown(&line.bytes)));
        let mut text = line.bytes.clone();
        if let Some(from) = from {
            self.wary = true;
            self.hide(line, from);
            if self.session.masks()
                && let Some(secret) = text.get_mut(from..)
            {
                secret.fill(b'*');
            }
        }
        if proof {
            self.session.query(&text, Vec::new()).await;
        } else {
            self.session.request(&text, Vec::new()).await;
        }
    }

    fn hide(&mut self, line: &Line, from: usize) {
        let end = line.at + line.bytes.len() as u64;
        let end = if line.cut { line.end } else { end };
        if line.at + (from as u64) < end {
            self.session.mark_secret(line.at + from as u64..end);
        }
    }

    /// Consumes what is no line, hidden if it may be a login; what follows on a login may be the rest of it.
    fn drop_input(&mut self) {
        self.wary |= lines::names_a_secret(self.session.input());
        if self.wary {
            self.session.hide_input();
        }
        self.session.drop_input();
    }

    /// Hides what the peer did not end.
    fn hide_rest(&mut self) {
        if let Some(line) = self.cut.take()
            && (self.wary || lines::names_a_secret(&line.bytes))
        {
            self.hide(&line, 0);
        }
        if self.wary || lines::names_a_secret(self.session.input()) {
            self.session.hide_input();
        }
    }

    /// Says an answer and counts what was wrong.
    async fn reply(&mut self, template: &str, words: &Words<'_>, bad: bool) -> Result<Next, SessionError> {
        let bounds = &self.look.bad;
        if !bad {
            if bounds.forgiven {
                self.bad = 0;
            }
            return self.say(template, words).await.map(|()| Next::Line);
        }
        let is_last = self.bad + 1 == bounds.max;
        if !(is_last && bounds.in_place) {
            self.say(template, words).await?;
        }
        self.bad += 1;
        if !is_last {
            return Ok(Next::Line);
        }
        self.say(&bounds.too_many, words).await?;
        Ok(Next::Close)
    }

    async fn say(&mut self, template: &str, words: &Words<'_>) -> Result<(), SessionError> {
        if template.is_empty() {
            return Ok(());
        }
        let bounds = &self.look.bad;
        if bounds.slow_after > 0 && self.bad >= bounds.slow_after {
            self.session
                .pause(std::time::Duration::from_millis(bounds.slow_ms))
                .await?;
        }
        let ours = self.session.expand(template);
        let text = lines::fill(&ours, |name| match name {
            "tag" => Some(&self.tag[..]),
            "verb" => Some(words.verb),
            "arg" => Some(words.argument),
            "address" => Some(address(words.argument)),
            "why" => Some(words.why.as_bytes()),
            _ => None,
        });
        self.session.send(&text).await
    }
}

/// A line is longer than it may be.
struct TooLong;

/// Literals are looked for unless the command takes its words as they are.
fn scan(look: &Look, scanner: &mut Scanner, input: &[u8]) -> Scan {
    if scanner.has_begun() {
        return scanner.scan(input);
    }
    let end = memchr::memchr(b'\n', input).map_or(input.len(), |at| at + 1);
    let (_, rest) = word(lines::bare(input.get(..end).unwrap_or_default()));
    let row = look
        .answers
        .iter()
        .find(|row| row.tag.is_empty() && row.rest(rest, false).is_some());
    if row.is_some_and(|row| row.takes.is_raw()) {
        imap::scan_line(input)
    } else {
        scanner.scan(input)
    }
}

/// The first word of a line and what follows the blank after it.
fn word(line: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b' ', line) {
        Some(at) => (
            line.get(..at).unwrap_or_default(),
            line.get(at + 1..).unwrap_or_default(),
        ),
        None => (line, b""),
    }
}

/// The first word of an argument without its angle brackets.
fn address(argument: &[u8]) -> &[u8] {
    let first = word(argument).0;
    let inner = first.strip_prefix(b"<").unwrap_or(first);
    inner.strip_suffix(b">").unwrap_or(inner)
}

/// Whether a line begins with no letter, or with the name of a mail header.
fn is_bogus(line: &[u8]) -> bool {
    let colon = memchr::memchr(b':', line).and_then(|at| line.get(..at));
    let is_name = |name: &[u8]| name.iter().all(u8::is_ascii_graphic);
    !line.first().is_some_and(u8::is_ascii_alphabetic) || colon.is_some_and(is_name)
}

#[cfg(test)]
mod tests;
