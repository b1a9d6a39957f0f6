//! Logins of a `banner` service: asked for, reported, refused.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::imap::Argument;
use super::look::{Row, Takes};
use super::{Line, Next, Talk, Words};
use crate::decoy::session::SessionError;

/// What a client answers to a question, or gives with the command.
enum Response {
    /// As decoded.
    Text(Vec<u8>),
    /// It has been answered already: it was no answer.
    Refused(Next),
}

impl Talk<'_> {
    /// Takes a login that `row` begins, and refuses it. The argument is hidden already.
    pub(super) async fn login(
        &mut self,
        row: &Row,
        argument: &[u8],
        arguments: &[Argument],
    ) -> Result<Next, SessionError> {
        match row.takes {
            Takes::Both => {
                let mut texts = arguments.iter().filter_map(|argument| match argument {
                    Argument::Text(text) => Some(text.clone()),
                    Argument::List => None,
                });
                self.user = texts.next().unwrap_or_default();
                self.refuse(&texts.next().unwrap_or_default()).await
            }
            Takes::Plain => self.plain(argument, &row.say).await,
            Takes::Login => self.user_and_password(argument).await,
            _ => self.refuse(argument).await,
        }
    }

    /// SASL PLAIN (RFC 4616): authorization identity, user and password, apart by NUL.
    async fn plain(&mut self, argument: &[u8], ask: &str) -> Result<Next, SessionError> {
        let text = match self.response(argument, ask, true).await? {
            Response::Text(text) => text,
            Response::Refused(next) => return Ok(next),
        };
        let mut parts = text.splitn(3, |byte| *byte == 0).skip(1);
        let (user, password) = (parts.next(), parts.next());
        self.user = user.unwrap_or_default().to_vec();
        // What has no such parts may be a password all the same.
        self.refuse(password.unwrap_or(&text)).await
    }

    /// SASL LOGIN, as SMTP asks for it.
    async fn user_and_password(&mut self, argument: &[u8]) -> Result<Next, SessionError> {
        match self.response(argument, "334 VXNlcm5hbWU6\r\n", false).await? {
            Response::Text(user) => self.user = user,
            Response::Refused(next) => return Ok(next),
        }
        match self.response(b"", "334 UGFzc3dvcmQ6\r\n", true).await? {
            Response::Text(password) => self.refuse(&password).await,
            Response::Refused(next) => Ok(next),
        }
    }

    /// What is given already, else what a further line says. A user that is well formed is no secret.
    async fn response(&mut self, given: &[u8], ask: &str, is_secret: bool) -> Result<Response, SessionError> {
        let texts = &self.look.login;
        let words = Words::default();
        if !given.is_empty() {
            return match decode(given) {
                Some(text) => Ok(Response::Text(text)),
                None => self.not_base64(given, &texts.not_base64, is_secret).await,
            };
        }
        self.say(ask, &words).await?;
        let line = self.answer_line().await?;
        let typed = &line.bytes[..];
        let decoded = decode(typed);
        if is_secret || decoded.is_none() || line.cut {
            self.hide(&line, 0);
        }
        if line.cut {
            let too_long = &self.look.line.response_too_long;
            return self.reply(too_long, &words, true).await.map(Response::Refused);
        }
        if typed == b"*" && !texts.cancelled.is_empty() {
            return self
                .reply(&texts.cancelled, &words, texts.is_bad)
                .await
                .map(Response::Refused);
        }
        match decoded {
            Some(text) => Ok(Response::Text(text)),
            None => self.not_base64(typed, &texts.not_base64_later, is_secret).await,
        }
    }

    /// A client that does not encode has offered a secret all the same.
    async fn not_base64(&mut self, typed: &[u8], answer: &str, is_secret: bool) -> Result<Response, SessionError> {
        self.wary = true;
        let user = std::mem::take(&mut self.user);
        if is_secret {
            self.session.credential("password", &user, typed, Vec::new()).await;
        }
        let is_bad = self.look.login.is_bad;
        let next = self.reply(answer, &Words::default(), is_bad).await?;
        Ok(Response::Refused(next))
    }

    /// The line that answers a question, cut if it was too long.
    async fn answer_line(&mut self) -> Result<Line, SessionError> {
        let bounds = &self.look.line;
        let max = if bounds.response_max > 0 {
            bounds.response_max
        } else {
            bounds.max
        };
        // Whatever comes until the answer is whole is hidden, also if it never is.
        let was_wary = std::mem::replace(&mut self.wary, true);
        let line = loop {
            match self.next_line(max, true) {
                Some(Ok(line)) => break line,
                _ => self.session.fill().await?,
            };
        };
        self.wary = was_wary;
        Ok(line)
    }

    /// Reports a login and refuses it.
    async fn refuse(&mut self, secret: &[u8]) -> Result<Next, SessionError> {
        let texts = &self.look.login;
        let user = std::mem::take(&mut self.user);
        self.session.credential("password", &user, secret, Vec::new()).await;
        self.session.pause(Duration::from_millis(texts.delay_ms)).await?;
        self.reply(&texts.failed, &Words::default(), texts.is_bad).await
    }
}

/// Base64 as servers take it; `=` alone is an empty answer (RFC 4954 section 4).
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    if text == b"=" {
        return Some(Vec::new());
    }
    BASE64_STANDARD.decode(text).ok()
}
