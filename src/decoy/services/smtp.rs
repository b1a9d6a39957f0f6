//! `smtp`: a mail server that relays for nobody and lets nobody in.
//!
//! In: command lines, plain or after STARTTLS, and the message of whoever writes to a mailbox of this host. Out: a handshake with the name that
//! the client gives itself, a credential for each login, a query for each other command with the addresses in it. No
//! message is kept but as captured bytes, none is ever sent on.
//!
//! Two servers are known by their manners, because no text tells them: how they take lines apart, whom they want to
//! greet first, how they count mistakes. The texts are data.
//!
//! Invariants: 1. what a peer offers as a secret is in no captured form, also in a malformed line or another protocol.
//! 2. Nothing that came before the handshake of TLS is answered after it.
//!
//! Source: RFC 5321, RFC 4954 (AUTH), RFC 3030 (BDAT), RFC 3207 (STARTTLS); every answer, time and bound was compared with a live Postfix
//! 3.7.11 and Exim 4.96 as Debian 12 ships them.

mod address;
mod auth;
mod commands;
mod envelope;
mod look;
mod message;
mod report;
mod secure;
#[cfg(test)]
mod tests;

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use self::look::{Look, Manner};
use crate::decoy::personality;
use crate::decoy::services::lines::{self, End};
use crate::decoy::services::{Service, Speak};
use crate::decoy::session::{Session, SessionError};

/// The row.
pub(super) const SERVICE: Service = Service {
    name: "smtp",
    personality: "smtp-postfix",
    look: personality::look::<Look>,
    provide: None,
    speak: Speak::Stream(serve),
};

fn serve(session: &mut Session) -> BoxFuture<'_, Result<(), SessionError>> {
    talk(session).boxed()
}

async fn talk(session: &mut Session) -> Result<(), SessionError> {
    let personality = session.personality();
    let look: &Look = personality.look();
    let mut talk = Talk::new(session, look);
    // Answers are on the heap, so that a silent session does not hold the room of one.
    Box::pin(talk.say(&look.says.greeting, &Words::default())).await?;
    let ended = talk.answer_lines().await;
    talk.hide_rest();
    ended
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    Line,
    Close,
}

/// What an answer counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Good,
    /// A mistake of syntax or order.
    Wrong,
    /// Refused for another reason than a mistake, which Postfix counts as one.
    Refused,
    Unknown,
}

struct Talk<'a> {
    session: &'a mut Session,
    look: &'a Look,
    mail: Mail,
    mistakes: Mistakes,
    /// The beginning of a line whose rest is passed over.
    cut: Option<Line>,
    /// A secret was offered in vain, and more of it may follow.
    wary: bool,
    /// The client's name was told.
    named: bool,
    /// STARTTLS was among what the last EHLO was answered with.
    offered_tls: bool,
    /// Nothing but QUIT is heard any more.
    barred: bool,
}

/// Where the client is in its dialogue.
#[derive(Default)]
struct Mail {
    greeted: bool,
    /// Whether it was EHLO: the client may send ahead then.
    extended: bool,
    from: Option<Vec<u8>>,
    /// Recipients that were taken.
    to: Vec<Vec<u8>>,
    /// What the last recipient was refused with.
    refused: Option<String>,
    /// Bytes of the chunks so far.
    chunks: Option<u64>,
}

/// What the client did wrong.
#[derive(Default)]
struct Mistakes {
    wrong: u32,
    unknown: u32,
    /// Commands that have nothing to do with mail.
    idle: u32,
    /// Which kinds of them were there once, a bit each.
    seen: u8,
}

/// A line, without its end, and where it was in the stream.
struct Line {
    bytes: Vec<u8>,
    at: u64,
    /// Where it ended, its end and what was passed over included.
    end: u64,
    cut: bool,
}

/// What an answer may say back.
#[derive(Default)]
struct Words<'w> {
    verb: &'w [u8],
    arg: &'w [u8],
    address: &'w [u8],
    rest: &'w [u8],
    number: u64,
    total: u64,
}

impl<'a> Talk<'a> {
    fn new(session: &'a mut Session, look: &'a Look) -> Self {
        Self {
            session,
            look,
            mail: Mail::default(),
            mistakes: Mistakes::default(),
            cut: None,
            wary: false,
            named: false,
            offered_tls: false,
            barred: false,
        }
    }

    async fn answer_lines(&mut self) -> Result<(), SessionError> {
        loop {
            match self.next_line(self.look.line_max) {
                Some(line) => {
                    if Box::pin(self.command(line)).await? == Next::Close {
                        return Ok(());
                    }
                }
                None => {
                    self.session.fill().await?;
                }
            }
        }
    }

    /// The next line, once it is whole. Of what is longer than `max`, Postfix passes over the rest, and Exim takes it for
    /// another line.
    fn next_line(&mut self, max: usize) -> Option<Line> {
        if let Some(line) = self.cut.take() {
            return self.pass_over(line);
        }
        match lines::end(self.session.input(), max) {
            End::At(length) => Some(self.take_line(length)),
            End::More => None,
            End::TooLong => {
                let mut line = self.take_line(max);
                line.cut = true;
                match self.look.manner {
                    Manner::Postfix => self.pass_over(line),
                    Manner::Exim => Some(line),
                }
            }
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

    /// Waits for a line that is no command.
    async fn line(&mut self, max: usize) -> Result<Line, SessionError> {
        loop {
            if let Some(line) = self.next_line(max) {
                return Ok(line);
            }
            self.session.fill().await?;
        }
    }
}

/// Answers.
impl Talk<'_> {
    /// Says an answer and counts what was wrong.
    async fn reply(&mut self, kind: Kind, template: &str, words: &Words<'_>) -> Result<Next, SessionError> {
        match self.look.manner {
            Manner::Postfix => self.reply_as_postfix(kind, template, words).await,
            Manner::Exim => self.reply_as_exim(kind, template, words).await,
        }
    }

    /// After as many errors as it takes, one more answer: that it is enough.
    async fn reply_as_postfix(&mut self, kind: Kind, template: &str, words: &Words<'_>) -> Result<Next, SessionError> {
        self.say(template, words).await?;
        if kind == Kind::Good {
            return Ok(Next::Line);
        }
        self.mistakes.wrong += 1;
        if self.mistakes.wrong < self.look.mistakes.max {
            return Ok(Next::Line);
        }
        self.say(&self.look.says.too_many, words).await?;
        Ok(Next::Close)
    }

    /// In the last answer, that it is enough.
    async fn reply_as_exim(&mut self, kind: Kind, template: &str, words: &Words<'_>) -> Result<Next, SessionError> {
        let max = self.look.mistakes.max;
        if kind == Kind::Unknown {
            self.mistakes.unknown += 1;
            if self.mistakes.unknown > max {
                self.say(&self.look.says.too_many_unknown, words).await?;
                return Ok(Next::Close);
            }
        }
        if matches!(kind, Kind::Good | Kind::Refused) {
            return self.say(template, words).await.map(|()| Next::Line);
        }
        self.mistakes.wrong += 1;
        if self.mistakes.wrong <= max {
            return self.say(template, words).await.map(|()| Next::Line);
        }
        let (code, text) = template.split_once(' ').unwrap_or((template, ""));
        let last = format!("{code}-{text}{code} {}", self.look.says.too_many);
        self.say(&last, words).await?;
        Ok(Next::Close)
    }

    /// An answer to what is no mistake.
    async fn good(&mut self, template: &str, words: &Words<'_>) -> Result<Next, SessionError> {
        self.reply(Kind::Good, template, words).await
    }

    async fn wrong(&mut self, template: &str, words: &Words<'_>) -> Result<Next, SessionError> {
        self.reply(Kind::Wrong, template, words).await
    }

    async fn say(&mut self, template: &str, words: &Words<'_>) -> Result<(), SessionError> {
        let slow = &self.look.mistakes;
        if slow.slow_after > 0 && self.mistakes.wrong >= slow.slow_after {
            self.session.pause(Duration::from_millis(slow.slow_ms)).await?;
        }
        let text = self.filled(template, words);
        self.session.send(&text).await
    }

    /// An answer with the peer's own words in it.
    fn filled(&self, template: &str, words: &Words<'_>) -> Vec<u8> {
        let ours = self.session.expand(template);
        let numbers = [words.number.to_string(), words.total.to_string()];
        let queue = match ours.contains("{{queue}}") {
            true => self.queue_id(),
            false => String::new(),
        };
        let last = self.mail.refused.as_deref().unwrap_or_default();
        let text = lines::fill(&ours, |name| match name {
            "verb" => Some(words.verb),
            "arg" => Some(words.arg),
            "address" => Some(words.address),
            "rest" => Some(words.rest),
            "number" => Some(numbers[0].as_bytes()),
            "total" => Some(numbers[1].as_bytes()),
            "queue" => Some(queue.as_bytes()),
            "refused" => Some(last.as_bytes()),
            _ => None,
        });
        text.into_owned()
    }
}
