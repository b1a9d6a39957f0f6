//! MAIL and RCPT: who writes to whom, and why nobody else gets it.

use trapline_schemas::{Field, text};

use super::address::Path;
use super::commands::Command;
use super::look::Manner;
use super::{Kind, Line, Next, Talk, Words};
use crate::decoy::session::SessionError;

/// Words that Postfix knows behind a sender.
const MAIL_OPTIONS: [&str; 7] = [
    "SIZE=",
    "BODY=7BIT",
    "BODY=8BITMIME",
    "RET=",
    "ENVID=",
    "AUTH=",
    "SMTPUTF8",
];

/// Words that it knows behind a recipient.
const RCPT_OPTIONS: [&str; 2] = ["NOTIFY=", "ORCPT="];

/// Signs in a local part that once meant a way through the host.
const WAYS: [u8; 4] = [b'%', b'!', b'|', b'/'];

/// Longest list of recipients that is kept.
const RECIPIENTS_MAX: usize = 100;

/// An answer that is still a template.
pub(super) type Answer<'a> = (Kind, &'a str);

impl<'a> Talk<'a> {
    pub(super) async fn mail(&mut self, line: &Line, command: &Command<'_>) -> Result<Next, SessionError> {
        let syntax = &self.look.says.mail_syntax;
        let Some(operand) = operand(command.argument, b"FROM:") else {
            return self.no_operand(line, syntax, command).await;
        };
        if self.is_ahead() {
            return self.hang_up_ahead(line).await;
        }
        let path = Path::read(operand);
        let (kind, answer) = self.sender(operand, path.as_ref());
        self.report(line, None, true, addressed(Field::EmailFrom, path.as_ref()))
            .await;
        if let (Kind::Good, Some(path)) = (kind, &path) {
            self.mail.from = Some(path.address.clone());
        }
        self.answer_to(operand, path.unwrap_or_default(), kind, answer, command)
            .await
    }

    pub(super) async fn rcpt(&mut self, line: &Line, command: &Command<'_>) -> Result<Next, SessionError> {
        let says = &self.look.says;
        if self.mail.from.is_none() && self.look.manner == Manner::Postfix {
            let path = operand(command.argument, b"TO:").and_then(Path::read);
            self.report(line, None, true, addressed(Field::EmailTo, path.as_ref()))
                .await;
            return self.wrong(&says.rcpt_early, &command.words()).await;
        }
        let Some(operand) = operand(command.argument, b"TO:") else {
            return self.no_operand(line, &says.rcpt_syntax, command).await;
        };
        if self.is_ahead() {
            return self.hang_up_ahead(line).await;
        }
        let path = Path::read(operand);
        let (kind, answer) = self.receiver(operand, path.as_ref());
        self.report(line, None, true, addressed(Field::EmailTo, path.as_ref()))
            .await;
        match (kind, &path) {
            (Kind::Good, Some(path)) if self.mail.to.len() < RECIPIENTS_MAX => self.mail.to.push(path.address.clone()),
            (Kind::Refused, _) => self.mail.refused = Some(answer.get(4..).unwrap_or_default().trim_end().to_owned()),
            _ => {}
        }
        self.answer_to(operand, path.unwrap_or_default(), kind, answer, command)
            .await
    }

    /// To a line without FROM: or TO:, which Exim does not take for the command.
    async fn no_operand(&mut self, line: &Line, syntax: &str, command: &Command<'_>) -> Result<Next, SessionError> {
        match self.look.manner {
            Manner::Postfix => self.plainly(line, false, Kind::Wrong, syntax, &command.words()).await,
            Manner::Exim => self.unknown(line, &command.words()).await,
        }
    }

    async fn answer_to(
        &mut self,
        operand: &[u8],
        path: Path,
        kind: Kind,
        answer: &str,
        command: &Command<'_>,
    ) -> Result<Next, SessionError> {
        let before = operand.strip_suffix(&path.rest[..]).unwrap_or(operand);
        let unknown = path
            .options()
            .find(|word| !known(word, &MAIL_OPTIONS) && !known(word, &RCPT_OPTIONS));
        let words = Words {
            arg: operand,
            address: match self.look.manner {
                Manner::Postfix => &path.address,
                Manner::Exim => before.trim_ascii(),
            },
            rest: match self.look.manner {
                Manner::Postfix => unknown.unwrap_or_default(),
                Manner::Exim => &path.rest,
            },
            ..command.words()
        };
        self.reply(kind, answer, &words).await
    }

    /// What becomes of a sender.
    fn sender(&self, operand: &[u8], path: Option<&Path>) -> Answer<'a> {
        let says = &self.look.says;
        let wrong = |answer: &'a str| (Kind::Wrong, answer);
        if !self.mail.greeted && !says.no_helo.is_empty() {
            return wrong(&says.no_helo);
        }
        if self.mail.from.is_some() {
            return wrong(&says.mail_again);
        }
        if operand.is_empty() {
            return wrong(&says.mail_syntax);
        }
        let Some(path) = path else {
            return wrong(&says.mail_bad);
        };
        if let Some(unknown) = self.misses_option(path, &MAIL_OPTIONS) {
            return unknown;
        }
        match size(path) {
            Some(None) => return wrong(&says.size_syntax),
            Some(Some(size)) if size > self.look.size_max => return (Kind::Refused, &says.mail_large),
            _ => {}
        }
        let bare = path.domain().is_none() && !path.address.is_empty();
        if bare && !says.mail_bare.is_empty() {
            return wrong(&says.mail_bare);
        }
        (Kind::Good, &says.mail)
    }

    /// What becomes of a recipient.
    fn receiver(&self, operand: &[u8], path: Option<&Path>) -> Answer<'a> {
        let says = &self.look.says;
        if self.mail.from.is_none() {
            return (Kind::Wrong, &says.rcpt_early);
        }
        if self.mail.chunks.is_some() && !says.rcpt_late.is_empty() {
            return (Kind::Wrong, &says.rcpt_late);
        }
        if operand.is_empty() {
            return (Kind::Wrong, &says.rcpt_syntax);
        }
        let Some(path) = path else {
            return (Kind::Wrong, &says.rcpt_bad);
        };
        if path.address.is_empty() {
            return (Kind::Wrong, &says.rcpt_empty);
        }
        self.misses_option(path, &RCPT_OPTIONS)
            .unwrap_or_else(|| self.recipient(path))
    }

    /// What becomes of a recipient that is well formed.
    pub(super) fn recipient(&self, path: &Path) -> Answer<'a> {
        let says = &self.look.says;
        let has_way = path.local().iter().any(|byte| WAYS.contains(byte));
        match path.domain() {
            None if !says.rcpt_bare.is_empty() && !path.local().eq_ignore_ascii_case(b"postmaster") => {
                (Kind::Wrong, &says.rcpt_bare)
            }
            Some(domain) if domain.starts_with(b"[") && !says.rcpt_literal.is_empty() => {
                (Kind::Wrong, &says.rcpt_literal)
            }
            Some(domain) if !self.is_ours(domain) => (Kind::Refused, &says.rcpt_relay),
            _ if has_way && says.rcpt_restricted.is_empty() => (Kind::Refused, &says.rcpt_relay),
            _ if has_way => (Kind::Refused, &says.rcpt_restricted),
            _ if self.has_mailbox(path.local()) => (Kind::Good, &says.rcpt),
            _ => (Kind::Refused, &says.rcpt_unknown),
        }
    }

    /// An option behind an address that the server does not know. Exim knows options after EHLO alone.
    fn misses_option(&self, path: &Path, known_ones: &[&str]) -> Option<Answer<'a>> {
        let is_known = |word: &[u8]| match self.look.manner {
            Manner::Postfix => known(word, known_ones),
            Manner::Exim => self.mail.extended && known(word, known_ones),
        };
        let misses = path.options().any(|word| !is_known(word));
        misses.then_some((Kind::Wrong, &self.look.says.option))
    }

    /// Whether a domain is a name of this host.
    fn is_ours(&self, domain: &[u8]) -> bool {
        let literal = format!("[{}]", self.session.local().ip());
        let is = |name: &str| domain.eq_ignore_ascii_case(name.as_bytes());
        is(&literal) || self.look.domains.iter().any(|name| is(&self.session.expand(name)))
    }

    fn has_mailbox(&self, local: &[u8]) -> bool {
        let look = self.look;
        let end = match look.delimiter.is_empty() {
            true => None,
            false => memchr::memmem::find(local, look.delimiter.as_bytes()),
        };
        let user = local.get(..end.unwrap_or(local.len())).unwrap_or_default();
        look.users
            .iter()
            .any(|known| known.as_bytes().eq_ignore_ascii_case(user))
    }

    /// Whether something was sent ahead by a client that was not told that it may.
    fn is_ahead(&self) -> bool {
        !self.look.says.ahead.is_empty() && !self.mail.extended && !self.session.input().is_empty()
    }

    async fn hang_up_ahead(&mut self, line: &Line) -> Result<Next, SessionError> {
        self.report(line, None, true, Vec::new()).await;
        self.say(&self.look.says.ahead, &Words::default()).await?;
        Ok(Next::Close)
    }
}

/// What a line carries behind `word`, in any case. `None`: it has no such word.
fn operand<'l>(argument: &'l [u8], word: &[u8]) -> Option<&'l [u8]> {
    let (start, rest) = argument.split_at_checked(word.len())?;
    start.eq_ignore_ascii_case(word).then(|| rest.trim_ascii())
}

fn addressed(field: Field, path: Option<&Path>) -> Vec<(Field, trapline_schemas::Value)> {
    let path = path.filter(|path| !path.address.is_empty());
    path.map(|path| (field, vec![text::clean(&path.address)].into()))
        .into_iter()
        .collect()
}

/// Whether a word is one of these options, in any case; one that ends in `=` has a value.
fn known(word: &[u8], options: &[&str]) -> bool {
    options.iter().any(|option| match option.ends_with('=') {
        true => word
            .get(..option.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(option.as_bytes())),
        false => word.eq_ignore_ascii_case(option.as_bytes()),
    })
}

/// The size that a sender announces, if it does; `None` within: it is no number.
fn size(path: &Path) -> Option<Option<u64>> {
    let word = path.options().find(|word| known(word, &["SIZE="]))?;
    let digits = word.get(5..).unwrap_or_default();
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let number = str::from_utf8(digits)
        .ok()
        .map(|digits| digits.parse().unwrap_or(u64::MAX));
    Some(number.filter(|_| is_number))
}
