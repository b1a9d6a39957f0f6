//! A conversation with a mail server: greeting, EHLO, STARTTLS, AUTH, then mails one after another.
//!
//! In: a [`Link`] (where to, how protected, who we are). Out: a [`Session`] that is ready for mail, and for each mail a
//! [`Receipt`] or a [`Refusal`].
//!
//! The client is our own, and lettre makes the messages alone: its transport makes its own rustls configuration, which
//! cannot carry the sink's `tls` table (pinned fingerprint, server name, a refused certificate told by name), reads answers
//! of any length, and gives a mail up with the first recipient that is refused.
//!
//! Invariants:
//! 1. Protection is never less than configured: without STARTTLS, or with a word of the server's between its consent and the
//!    handshake, nothing more is said.
//! 2. Credentials go over TLS or to this machine, which the configuration sees to; never into a message or a log.
//! 3. Each answer comes within the sink's `timeout`, that to a whole mail within ten times as long: a server that looks into
//!    mails takes its time, and one that is left before it answers may have the mail and get it again (RFC 5321 section
//!    4.5.3.2.6). A whole opening ends within [`OPEN_MAX`], a whole mail within [`MAIL_MAX`].
//! 4. Commands hold addresses and names of the configuration alone, which have no line ends; mails are dot-stuffed.
//!
//! Source: RFC 5321, 3207 (STARTTLS), 4954 (AUTH), 1870 (SIZE), 3463 (codes).

mod login;
mod wire;

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use trapline_sink::dial::{Dialer, Stream};
use trapline_sink::tls::explain;
use trapline_sink::{Fault, FaultKind};

use crate::reply::Reply;
pub(crate) use login::{Login, Mechanism};
use wire::{Unread, Wire, stuffed};

/// Longest time from the first byte to a session that is ready for mail.
const OPEN_MAX: Duration = Duration::from_secs(120);
/// Longest time for one mail to all its recipients.
const MAIL_MAX: Duration = Duration::from_secs(300);
/// How many times longer the answer to a whole mail may take than others.
const CONTENT_PATIENCE: u32 = 10;
/// How long a server may take to say goodbye.
const QUIT_MAX: Duration = Duration::from_secs(2);

/// How the connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Security {
    /// In clear to begin with; nothing goes on without TLS.
    StartTls,
    /// TLS from the first byte.
    Tls,
    /// In clear.
    Off,
}

/// Where sessions lead, and how they begin.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) dialer: Dialer,
    pub(crate) security: Security,
    pub(crate) login: Option<Login>,
    /// What EHLO says; the connection's own address if `None`.
    pub(crate) helo: Option<String>,
    /// Longest wait for one answer.
    pub(crate) timeout: Duration,
}

/// What became of one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The server has the mail for it.
    Taken,
    /// Not now.
    Later(String),
    /// Never.
    Never(String),
}

/// What became of a mail: an answer for each recipient. If none is [`Answer::Taken`], no mail was sent.
pub(crate) type Receipt = Vec<Answer>;

/// Why no recipient has the mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The server will not have this mail, whoever it is for.
    Content(String),
    /// The server had recipients for it, and puts the mail itself off.
    PutOff(String),
    /// Nothing to do with this mail; the session is over.
    Fault(Fault),
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// What was asked when the server answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Greeting,
    Hello,
    Login,
    From,
    Data,
}

/// A connection that is ready for mail.
#[derive(Debug)]
pub(crate) struct Session<'l> {
    link: &'l Link,
    wire: Wire,
    extensions: Vec<String>,
    greeting: String,
    /// Whether a mail was begun on it.
    used: bool,
    /// What the server said when it took the last mail.
    accepted: String,
}

impl Link {
    /// Opens a session. Time: at most [`OPEN_MAX`]. Cancel: safe; the connection is dropped.
    pub(crate) async fn open(&self) -> Result<Session<'_>, Fault> {
        match timeout(OPEN_MAX, self.begin()).await {
            Ok(opened) => opened,
            Err(_) => Err(self.fault(
                FaultKind::Unreachable,
                &format!("was not ready for mail within {} s", OPEN_MAX.as_secs()),
            )),
        }
    }

    async fn begin(&self) -> Result<Session<'_>, Fault> {
        let stream = match self.security {
            Security::Tls => self.dialer.connect().await?,
            Security::StartTls | Security::Off => Stream::Plain(self.dialer.connect_in_clear().await?),
        };
        let mut session = Session {
            link: self,
            wire: Wire::new(stream),
            extensions: Vec::new(),
            greeting: String::new(),
            used: false,
            accepted: String::new(),
        };
        let greeting = session.reply().await?;
        session.expect(Step::Greeting, &greeting, 220)?;
        session.greeting = greeting.lines.first().cloned().unwrap_or_default();
        session.hello().await?;
        if self.security == Security::StartTls {
            session = session.start_tls().await?;
            session.hello().await?;
        }
        if let Some(login) = &self.login {
            session.log_in(login).await?;
        }
        Ok(session)
    }

    fn fault(&self, kind: FaultKind, what: &str) -> Fault {
        Fault {
            kind,
            message: format!("{} {what}", self.dialer.address()),
        }
    }

    /// What a reply says that is not the one hoped for.
    fn refused(&self, step: Step, reply: &Reply) -> Fault {
        let said = reply.shown();
        let (kind, what) = match (reply.code, step) {
            (530 | 534 | 535 | 538, _) if self.login.is_none() => (
                FaultKind::Auth,
                format!("wants a login (set `user` and `password`): {said}"),
            ),
            (530 | 534 | 535 | 538, _) => (FaultKind::Auth, format!("refuses the login: {said}")),
            (500..=599, Step::Login) => (FaultKind::Auth, format!("refuses the login: {said}")),
            (500..=599, Step::From) => (FaultKind::Config, format!("refuses mail of `from`: {said}")),
            (500..=599, Step::Hello) => (FaultKind::Config, format!("refuses our name (set `helo`): {said}")),
            (400..=499, _) => (FaultKind::Busy, format!("asks to come later: {said}")),
            (500..=599, Step::Greeting) => (FaultKind::Server, format!("will not talk to us: {said}")),
            _ => (FaultKind::Server, format!("answers out of turn: {said}")),
        };
        self.fault(kind, &what)
    }
}

impl<'l> Session<'l> {
    /// Few words on who answered and how, for `check`.
    pub(crate) fn shown(&self) -> String {
        let protection = match self.wire.stream.protection().as_str() {
            "tcp" => "in clear".to_owned(),
            protection => protection.to_owned(),
        };
        let login = match &self.link.login {
            Some(login) => format!("logged in as `{}`", login.user),
            None => "without a login".to_owned(),
        };
        format!("{} answers, {protection}, {login}", self.greeting)
    }

    /// Largest mail the server takes, if it says so.
    fn size_max(&self) -> Option<usize> {
        let parameter = self.parameters("SIZE")?.first()?.parse().ok()?;
        (parameter > 0).then_some(parameter)
    }

    /// What the server said to the last mail that had a recipient.
    pub(crate) fn accepted(&self) -> &str {
        &self.accepted
    }

    /// Sends one mail; the answers stand in the order of `to`. Time: at most [`MAIL_MAX`].
    /// Cancel: safe; the mail may have been taken, then.
    pub(crate) async fn send(&mut self, from: &str, to: &[&str], mail: &[u8]) -> Result<Receipt, Refusal> {
        match timeout(MAIL_MAX, self.transact(from, to, mail)).await {
            Ok(sent) => sent,
            Err(_) => Err(self.fault("did not take a mail in time").into()),
        }
    }

    async fn transact(&mut self, from: &str, to: &[&str], mail: &[u8]) -> Result<Receipt, Refusal> {
        if let Some(max) = self.size_max().filter(|max| mail.len() > *max) {
            let why = format!("the mail has {} bytes, the server takes {max}", mail.len());
            return Err(Refusal::Content(why));
        }
        if std::mem::replace(&mut self.used, true) {
            self.command("RSET").await?;
        }
        let reply = self.command(&format!("MAIL FROM:<{from}>")).await?;
        if reply.code == 552 {
            return Err(Refusal::Content(reply.shown()));
        }
        self.expect(Step::From, &reply, 250)?;
        let mut receipt = Vec::with_capacity(to.len());
        for recipient in to {
            receipt.push(self.recipient(recipient).await?);
        }
        if receipt.contains(&Answer::Taken) {
            self.data(mail).await?;
        }
        Ok(receipt)
    }

    async fn recipient(&mut self, to: &str) -> Result<Answer, Fault> {
        let reply = self.command(&format!("RCPT TO:<{to}>")).await?;
        match reply.code {
            // About us, not about the recipient.
            421 | 530 | 535 => Err(self.link.refused(Step::From, &reply)),
            // A full mailbox, or more recipients than the server takes at a time (RFC 5321 section 4.5.3.1.10).
            552 => Ok(Answer::Later(reply.shown())),
            _ if reply.is_good() => Ok(Answer::Taken),
            _ if reply.is_later() => Ok(Answer::Later(reply.shown())),
            _ if reply.is_never() => Ok(Answer::Never(reply.shown())),
            _ => Err(self.link.refused(Step::From, &reply)),
        }
    }

    async fn data(&mut self, mail: &[u8]) -> Result<(), Refusal> {
        let reply = self.command("DATA").await?;
        self.judge_content(&reply, 354)?;
        self.write(&stuffed(mail)).await?;
        let reply = self.reply_within(self.link.timeout * CONTENT_PATIENCE).await?;
        self.accepted = reply.shown();
        self.judge_content(&reply, 250)
    }

    fn judge_content(&self, reply: &Reply, wanted: u16) -> Result<(), Refusal> {
        match reply.code {
            code if code == wanted => Ok(()),
            // About us, not about the mail.
            421 | 530 | 535 => Err(self.link.refused(Step::Data, reply).into()),
            _ if reply.is_never() => Err(Refusal::Content(reply.shown())),
            _ if reply.is_later() => Err(Refusal::PutOff(reply.shown())),
            _ => Err(self.link.refused(Step::Data, reply).into()),
        }
    }

    /// Says goodbye; a server that does not answer is left.
    pub(crate) async fn quit(mut self) {
        let _ = timeout(QUIT_MAX, self.command("QUIT")).await;
        let _ = timeout(QUIT_MAX, self.wire.stream.shutdown()).await;
    }

    async fn hello(&mut self) -> Result<(), Fault> {
        let name = match &self.link.helo {
            Some(name) => name.clone(),
            None => self.wire.literal(),
        };
        let reply = self.command(&format!("EHLO {name}")).await?;
        self.expect(Step::Hello, &reply, 250)?;
        self.extensions = reply.lines.get(1..).unwrap_or_default().to_vec();
        Ok(())
    }

    /// The words after an extension's name, `None` if the server has not announced it.
    fn parameters(&self, name: &str) -> Option<Vec<String>> {
        let extension = self.extensions.iter().find_map(|line| {
            // `AUTH=PLAIN` is how servers said it before RFC 2554.
            let mut words = line.split([' ', '=']).filter(|word| !word.is_empty());
            words
                .next()
                .filter(|word| word.eq_ignore_ascii_case(name))
                .map(|_| words)
        });
        extension.map(|words| words.map(str::to_uppercase).collect())
    }

    async fn start_tls(mut self) -> Result<Session<'l>, Fault> {
        let link = self.link;
        let refuse = |why: String| link.fault(FaultKind::Tls, &why);
        if self.parameters("STARTTLS").is_none() {
            return Err(refuse(
                "does not offer STARTTLS, so nothing is sent (`security = \"tls\"` is for port 465)".to_owned(),
            ));
        }
        let reply = self.command("STARTTLS").await?;
        if reply.code != 220 {
            return Err(refuse(format!(
                "refuses STARTTLS, so nothing is sent: {}",
                reply.shown()
            )));
        }
        let Wire {
            stream: Stream::Plain(tcp),
            replies,
        } = self.wire
        else {
            return Err(refuse("has TLS already".to_owned()));
        };
        // Whatever stands between the consent and the handshake was put there by somebody else.
        // The handshake itself finds what comes later.
        if !replies.is_empty() {
            return Err(refuse(
                "spoke on after it agreed to TLS: somebody may be in between".to_owned(),
            ));
        }
        self.wire = Wire::new(link.dialer.secure(tcp).await?);
        self.extensions.clear();
        Ok(self)
    }

    fn expect(&self, step: Step, reply: &Reply, code: u16) -> Result<(), Fault> {
        match reply.code == code {
            true => Ok(()),
            false => Err(self.link.refused(step, reply)),
        }
    }

    async fn command(&mut self, line: &str) -> Result<Reply, Fault> {
        self.write(format!("{line}\r\n").as_bytes()).await?;
        self.reply().await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let written = timeout(self.link.timeout, async {
            self.wire.stream.write_all(bytes).await?;
            self.wire.stream.flush().await
        });
        match written.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.broken(&error)),
            Err(_) => Err(self.fault("does not read what is sent")),
        }
    }

    /// The next answer. Time: at most the link's timeout, however slowly its bytes come.
    async fn reply(&mut self) -> Result<Reply, Fault> {
        self.reply_within(self.link.timeout).await
    }

    async fn reply_within(&mut self, longest: Duration) -> Result<Reply, Fault> {
        let link = self.link;
        match timeout(longest, self.wire.reply()).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(Unread::Garbled(why))) => Err(link.fault(FaultKind::Server, &why)),
            Ok(Err(Unread::Broken(error))) => Err(self.broken(&error)),
            Err(_) => Err(self.fault(&format!("does not answer within {} ms", longest.as_millis()))),
        }
    }

    fn broken(&self, error: &std::io::Error) -> Fault {
        match explain(error) {
            Some(fault) => self.link.fault(fault.kind, &format!("(TLS): {}", fault.message)),
            None => self.fault(&format!("broke the connection off: {error}")),
        }
    }

    fn fault(&self, what: &str) -> Fault {
        self.link.fault(FaultKind::Unreachable, what)
    }
}
