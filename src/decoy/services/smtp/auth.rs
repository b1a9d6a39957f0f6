//! AUTH: logins are asked for, reported and refused.
//!
//! Source: RFC 4954, RFC 4616 (PLAIN), RFC 2195 (CRAM-MD5); LOGIN as every client knows it.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use trapline_schemas::Timestamp;

use super::{Kind, Line, Next, Talk, Words};
use crate::decoy::session::SessionError;

/// Mechanisms by name: any other first word may be a secret itself.
const NAMES: [&[u8]; 12] = [
    b"PLAIN",
    b"LOGIN",
    b"CRAM-MD5",
    b"DIGEST-MD5",
    b"NTLM",
    b"GSSAPI",
    b"EXTERNAL",
    b"ANONYMOUS",
    b"XOAUTH2",
    b"OAUTHBEARER",
    b"SCRAM-SHA-1",
    b"SCRAM-SHA-256",
];

/// What a client answers to a question, or gives with the command.
enum Response {
    /// As decoded.
    Text(Vec<u8>),
    /// It has been answered already: it was no answer.
    Refused(Next),
}

impl Talk<'_> {
    /// Answers AUTH, whose argument begins at `at` of its line.
    pub(super) async fn auth(&mut self, line: &Line, at: usize) -> Result<Next, SessionError> {
        let argument = line.bytes.get(at..).unwrap_or_default();
        let mut words = argument
            .split(|byte| matches!(byte, b' ' | b'\t'))
            .filter(|word| !word.is_empty());
        let (mechanism, initial, more) = (words.next().unwrap_or_default(), words.next(), words.next());
        let upper = mechanism.to_ascii_uppercase();
        let shown = if NAMES.contains(&&upper[..]) {
            mechanism.len()
        } else {
            0
        };
        let login = &self.look.login;
        let offered = login.mechanisms.iter().find(|name| name.as_bytes() == upper);
        let refusal = match offered {
            _ if !login.not_plain.is_empty() && !self.session.is_secure() => Some(&login.not_plain),
            _ if self.mail.from.is_some() => Some(&login.in_mail),
            _ if !self.mail.extended && !login.not_offered.is_empty() => Some(&login.not_offered),
            _ if mechanism.is_empty() => Some(&login.syntax),
            Some(_) if more.is_some() => Some(&login.excess),
            None => Some(&login.unknown),
            Some(_) => None,
        };
        if let Some(refusal) = refusal {
            // What follows may be the answer to a question that was never asked.
            self.wary = true;
            let hidden = (shown < argument.len()).then_some(at + shown);
            self.report(line, hidden, true, Vec::new()).await;
            let words = Words {
                arg: mechanism,
                ..Words::default()
            };
            return self.wrong(refusal, &words).await;
        }
        self.hide(line, at + shown);
        let initial = initial.unwrap_or_default();
        match &upper[..] {
            b"LOGIN" => self.user_and_password(initial).await,
            b"CRAM-MD5" => self.challenge(initial).await,
            _ => self.plain(initial).await,
        }
    }

    /// PLAIN: authorization identity, user and password, apart by NUL.
    async fn plain(&mut self, initial: &[u8]) -> Result<Next, SessionError> {
        let text = match self.response(b"", initial, "334 \r\n", true).await? {
            Response::Text(text) => text,
            Response::Refused(next) => return Ok(next),
        };
        let mut parts = text.splitn(3, |byte| *byte == 0).skip(1);
        let (user, password) = (parts.next(), parts.next());
        // What has no such parts may be a password all the same.
        self.refuse("password", user.unwrap_or_default(), password.unwrap_or(&text))
            .await
    }

    async fn user_and_password(&mut self, initial: &[u8]) -> Result<Next, SessionError> {
        let login = &self.look.login;
        let user = match self.response(b"", initial, &login.ask_user, false).await? {
            Response::Text(user) => user,
            Response::Refused(next) => return Ok(next),
        };
        match self.response(&user, b"", &login.ask_password, true).await? {
            Response::Text(password) => self.refuse("password", &user, &password).await,
            Response::Refused(next) => Ok(next),
        }
    }

    /// CRAM-MD5: the user, and a digest that can be tried passwords on.
    async fn challenge(&mut self, initial: &[u8]) -> Result<Next, SessionError> {
        let number = u32::from_be_bytes(rand::random());
        let seconds = Timestamp::now().millis() / 1000;
        let challenge = self.session.expand("{{fqdn}}");
        let challenge = format!("<{}.{seconds}@{challenge}>", number % 32_768 + 300);
        let ask = format!("334 {}\r\n", BASE64_STANDARD.encode(&challenge));
        let text = match self.response(b"", initial, &ask, true).await? {
            Response::Text(text) => text,
            Response::Refused(next) => return Ok(next),
        };
        let blank = memchr::memrchr(b' ', &text);
        let (user, digest) = blank.map_or((&b""[..], &text[..]), |at| text.split_at(at));
        self.refuse("token", user, digest.trim_ascii()).await
    }

    /// What is given already, else what a further line says. A user that is well formed is no secret.
    async fn response(
        &mut self,
        user: &[u8],
        given: &[u8],
        ask: &str,
        is_secret: bool,
    ) -> Result<Response, SessionError> {
        let login = &self.look.login;
        if !given.is_empty() {
            return match decode(given) {
                Some(text) => Ok(Response::Text(text)),
                None => self.not_base64(user, given, &login.not_base64, is_secret).await,
            };
        }
        self.say(ask, &Words::default()).await?;
        let line = self.answer_line().await?;
        let typed = &line.bytes[..];
        let decoded = decode(typed);
        if is_secret || decoded.is_none() || line.cut {
            self.hide(&line, 0);
        }
        if line.cut {
            let next = self.wrong(&login.too_long, &Words::default()).await?;
            return Ok(Response::Refused(next));
        }
        if typed == b"*" {
            let next = self.wrong(&login.cancelled, &Words::default()).await?;
            return Ok(Response::Refused(next));
        }
        match decoded {
            Some(text) => Ok(Response::Text(text)),
            None => self.not_base64(user, typed, &login.not_base64_later, is_secret).await,
        }
    }

    /// A client that does not encode has offered a secret all the same.
    async fn not_base64(
        &mut self,
        user: &[u8],
        typed: &[u8],
        answer: &str,
        is_secret: bool,
    ) -> Result<Response, SessionError> {
        self.wary = true;
        if is_secret {
            self.session.credential("password", user, typed, Vec::new()).await;
        }
        self.wrong(answer, &Words::default()).await.map(Response::Refused)
    }

    /// The line that answers a question, cut if it was too long.
    async fn answer_line(&mut self) -> Result<Line, SessionError> {
        // Whatever comes until the answer is whole is hidden, also if it never is.
        let was_wary = std::mem::replace(&mut self.wary, true);
        let line = self.line(self.look.response_max).await?;
        self.wary = was_wary;
        Ok(line)
    }

    /// Reports a login and refuses it.
    async fn refuse(&mut self, kind: &'static str, user: &[u8], secret: &[u8]) -> Result<Next, SessionError> {
        self.session.credential(kind, user, secret, Vec::new()).await;
        let login = &self.look.login;
        self.session.pause(Duration::from_millis(login.delay_ms)).await?;
        self.reply(Kind::Refused, &login.failed, &Words::default()).await
    }
}

/// Base64 as servers take it; `=` alone is an empty answer (RFC 4954 section 4).
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    if text == b"=" {
        return Some(Vec::new());
    }
    BASE64_STANDARD.decode(text).ok()
}
