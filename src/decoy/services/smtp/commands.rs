//! The commands of mail, one by one.

use trapline_schemas::{Field, text};

use super::address::Path;
use super::look::Manner;
use super::{Kind, Line, Mail, Next, Talk, Words};
use crate::decoy::services::lines;
use crate::decoy::session::SessionError;

/// Commands that Exim counts as having nothing to do with mail. The first of each of these kinds is free.
const IDLE_ONCE: [&[u8]; 5] = [b"HELO", b"EHLO", b"RSET", b"AUTH", b"STARTTLS"];
/// Those whose first is free once more within TLS.
const AFRESH: [&[u8]; 2] = [b"EHLO", b"AUTH"];
const MAIL: [&[u8]; 4] = [b"MAIL", b"RCPT", b"DATA", b"BDAT"];

/// A command line, taken apart.
pub(super) struct Command<'l> {
    /// In capitals.
    verb: Vec<u8>,
    pub(super) argument: &'l [u8],
    /// Where the argument begins in the line.
    at: usize,
}

impl<'l> Command<'l> {
    fn read(line: &'l [u8]) -> Self {
        let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        let before = line.iter().take_while(|byte| blank(byte)).count();
        let typed = line.get(before..).unwrap_or_default();
        let length = typed.iter().position(blank).unwrap_or(typed.len());
        let rest = typed.get(length..).unwrap_or_default();
        let at = before + length + rest.iter().take_while(|byte| blank(byte)).count();
        Self {
            verb: typed.get(..length).unwrap_or_default().to_ascii_uppercase(),
            argument: line.get(at..).unwrap_or_default().trim_ascii_end(),
            at,
        }
    }

    pub(super) fn words(&self) -> Words<'_> {
        Words {
            verb: &self.verb,
            arg: self.argument,
            ..Words::default()
        }
    }
}

impl Mail {
    /// Leaves the transaction.
    pub(super) fn leave(&mut self) {
        *self = Self {
            greeted: self.greeted,
            extended: self.extended,
            ..Self::default()
        };
    }
}

impl Talk<'_> {
    /// Answers a whole line.
    pub(super) async fn command(&mut self, line: Line) -> Result<Next, SessionError> {
        let says = &self.look.says;
        if !says.not_utf8.is_empty() && str::from_utf8(&line.bytes).is_err() {
            self.report(&line, None, true, Vec::new()).await;
            return self.wrong(&says.not_utf8, &Words::default()).await;
        }
        let command = Command::read(&line.bytes);
        if self.is_idle(&command.verb) {
            self.report(&line, None, false, Vec::new()).await;
            self.say(&says.too_many_idle, &Words::default()).await?;
            return Ok(Next::Close);
        }
        let words = &command.words();
        if let Some((kind, refusal)) = self.bar(&command.verb) {
            return self.plainly(&line, false, kind, refusal, words).await;
        }
        match &command.verb[..] {
            b"HELO" | b"EHLO" => self.hello(&line, &command).await,
            b"AUTH" => self.auth(&line, command.at).await,
            b"MAIL" => self.mail(&line, &command).await,
            b"RCPT" => self.rcpt(&line, &command).await,
            b"DATA" => self.data(&line).await,
            b"BDAT" => self.chunk(&line, command.argument).await,
            b"RSET" if command.argument.is_empty() => {
                self.report(&line, None, false, Vec::new()).await;
                self.mail.leave();
                self.good(&says.reset, words).await
            }
            b"QUIT" if command.argument.is_empty() || says.excess.is_empty() || self.look.manner == Manner::Postfix => {
                self.report(&line, None, false, Vec::new()).await;
                self.say(&says.quit, words).await?;
                Ok(Next::Close)
            }
            b"NOOP" => self.plainly(&line, false, Kind::Good, &says.noop, words).await,
            b"VRFY" => self.verify(&line, &command).await,
            b"EXPN" if !says.expn.is_empty() => self.plainly(&line, true, Kind::Refused, &says.expn, words).await,
            b"HELP" if !says.help.is_empty() => self.plainly(&line, false, Kind::Good, &says.help, words).await,
            b"ETRN" => self.etrn(&line, &command).await,
            b"XCLIENT" | b"XFORWARD" if !says.x_command.is_empty() => {
                self.plainly(&line, true, Kind::Wrong, &says.x_command, words).await
            }
            b"RSET" | b"QUIT" => self.plainly(&line, false, Kind::Wrong, &says.excess, words).await,
            b"STARTTLS" if !command.argument.is_empty() => {
                self.plainly(&line, false, Kind::Wrong, &says.excess, words).await
            }
            b"STARTTLS" => self.start_tls(&line, words).await,
            _ => self.unknown(&line, words).await,
        }
    }

    /// Reports a line and answers it.
    pub(super) async fn plainly(
        &mut self,
        line: &Line,
        proof: bool,
        kind: Kind,
        template: &str,
        words: &Words<'_>,
    ) -> Result<Next, SessionError> {
        self.report(line, None, proof, Vec::new()).await;
        self.reply(kind, template, words).await
    }

    /// Counts a command beside mail; whether it was one too many.
    fn is_idle(&mut self, verb: &[u8]) -> bool {
        let max = self.look.mistakes.idle_max;
        if max == 0 || MAIL.contains(&verb) || verb == b"QUIT" {
            return false;
        }
        if let Some(bit) = bit_of(verb) {
            let is_first = self.mistakes.seen & bit == 0;
            self.mistakes.seen |= bit;
            if is_first {
                return false;
            }
        }
        self.mistakes.idle += 1;
        self.mistakes.idle > max
    }

    /// TLS begins: what is free once is free once more.
    pub(super) fn forget_firsts(&mut self) {
        for bit in AFRESH.into_iter().filter_map(bit_of) {
            self.mistakes.seen &= !bit;
        }
    }

    /// HELO and EHLO.
    async fn hello(&mut self, line: &Line, command: &Command<'_>) -> Result<Next, SessionError> {
        let says = &self.look.says;
        let name = command.argument;
        let good = match self.look.manner {
            Manner::Postfix => !name.is_empty(),
            Manner::Exim => is_host(name),
        };
        if !good {
            return self
                .plainly(line, false, Kind::Wrong, &says.no_name, &command.words())
                .await;
        }
        self.introduce(line, name).await;
        self.mail.leave();
        self.mail.greeted = true;
        self.mail.extended = command.verb == b"EHLO";
        self.offered_tls = self.mail.extended && self.offers_tls();
        let answer = match self.mail.extended {
            true if self.session.is_secure() => &says.ehlo_secure,
            true => &says.ehlo,
            false => &says.helo,
        };
        self.good(answer, &command.words()).await
    }

    /// Reports the name that a client gives itself: as its identity, and once more if it gives another. Where it may
    /// go on with TLS, that is told with it.
    async fn introduce(&mut self, line: &Line, name: &[u8]) {
        if lines::names_a_secret(&line.bytes) {
            return self.report(line, None, false, Vec::new()).await;
        }
        let mut facts = vec![(Field::SmtpHelo, text::clean(name).into())];
        if is_host(name) && name.iter().any(u8::is_ascii_alphabetic) {
            facts.push((Field::SourceDomain, text::clean(name).into()));
        }
        let was_named = std::mem::replace(&mut self.named, true);
        if was_named || self.session.is_introduced() {
            self.report(line, None, false, facts).await;
        } else if self.offers_tls() {
            self.session.introduce(facts);
        } else {
            self.session.handshake(facts).await;
        }
    }

    /// VRFY: whether an address is one of this host.
    async fn verify(&mut self, line: &Line, command: &Command<'_>) -> Result<Next, SessionError> {
        let says = &self.look.says;
        let words = command.words();
        if command.argument.is_empty() {
            return self.plainly(line, true, Kind::Wrong, &says.vrfy_syntax, &words).await;
        }
        let path = Path::read(command.argument).filter(|path| path.rest.is_empty() && !path.address.is_empty());
        let (kind, answer) = match (self.look.manner, &path) {
            (Manner::Exim, Some(path)) if path.domain().is_none() => (Kind::Wrong, &says.rcpt_bare[..]),
            (Manner::Exim, _) => (Kind::Refused, &says.vrfy[..]),
            (Manner::Postfix, None) => (Kind::Wrong, &says.rcpt_bad[..]),
            (Manner::Postfix, Some(path)) => match self.recipient(path) {
                (Kind::Good, _) => (Kind::Good, &says.vrfy[..]),
                other => other,
            },
        };
        let path = path.unwrap_or_default();
        let facts = match path.address.is_empty() {
            true => Vec::new(),
            false => vec![(Field::EmailTo, vec![text::clean(&path.address)].into())],
        };
        self.report(line, None, true, facts).await;
        let words = Words {
            address: &path.address,
            ..words
        };
        self.reply(kind, answer, &words).await
    }

    async fn etrn(&mut self, line: &Line, command: &Command<'_>) -> Result<Next, SessionError> {
        let says = &self.look.says;
        let one = !command.argument.is_empty() && !command.argument.contains(&b' ');
        let (kind, answer) = if one {
            (Kind::Refused, &says.etrn)
        } else {
            (Kind::Wrong, &says.etrn_syntax)
        };
        self.plainly(line, one, kind, answer, &command.words()).await
    }

    /// A line that is no command, which may be a secret of a login that went wrong.
    pub(super) async fn unknown(&mut self, line: &Line, words: &Words<'_>) -> Result<Next, SessionError> {
        let says = &self.look.says;
        let hidden = (self.wary && !line.bytes.is_empty()).then_some(0);
        if !line.bytes.is_empty() {
            self.report(line, hidden, true, Vec::new()).await;
        }
        if line.bytes.is_empty() && !says.empty.is_empty() {
            return self.wrong(&says.empty, words).await;
        }
        if !says.bogus.is_empty() && is_bogus(line.bytes.trim_ascii_start(), words.verb) {
            self.say(&says.bogus, words).await?;
            return Ok(Next::Close);
        }
        self.reply(Kind::Unknown, &says.unknown, words).await
    }
}

/// The place of a command in [`Mistakes::seen`](super::Mistakes), if its first is free.
fn bit_of(verb: &[u8]) -> Option<u8> {
    let place = IDLE_ONCE.iter().position(|once| *once == verb);
    place.map(|place| 1 << place)
}

/// Whether Postfix hangs up on a line: it begins with no letter, or as a mail header or a request to a proxy does.
fn is_bogus(line: &[u8], verb: &[u8]) -> bool {
    let colon = memchr::memchr(b':', line).and_then(|at| line.get(..at));
    let is_name = |name: &[u8]| name.iter().all(u8::is_ascii_graphic);
    let foreign = matches!(verb, b"GET" | b"POST" | b"CONNECT");
    foreign || !line.first().is_some_and(u8::is_ascii_alphabetic) || colon.is_some_and(is_name)
}

/// Whether Exim takes it for the name of a host: letters, digits, `.`, `-`, `:`, or an address within brackets.
fn is_host(name: &[u8]) -> bool {
    let inner = name.strip_prefix(b"[").and_then(|name| name.strip_suffix(b"]"));
    let name = inner.unwrap_or(name);
    let good = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':');
    !name.is_empty() && name.iter().all(good)
}
