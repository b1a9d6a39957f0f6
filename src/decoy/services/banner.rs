//! `banner`: a TCP service of lines, for protocols without a file of their own.
//!
//! In: the greeting and the table of answers of the personality. Out: a credential for each login that its table
//! describes, a query for each other line. A peer that never ends a line is only captured.
//!
//! The table is compared by words, without patterns: a line costs the same whatever it holds.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::decoy::personality;
use crate::decoy::services::{Service, Speak};
use crate::decoy::session::{Session, SessionError};

/// The row.
pub(super) const SERVICE: Service = Service {
    name: "banner",
    personality: "smtp-postfix",
    look: personality::look::<Look>,
    speak: Speak::Stream(serve),
};

/// Longest line that is read, bytes.
const LINE_MAX: usize = 4096;

/// Longest text of the peer that is said back, bytes.
const SAID_BACK_MAX: usize = 256;

/// `[look]` of a `banner` personality. Answers may use `{{tag}}`, `{{verb}}` and `{{arg}}`.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Look {
    /// Sent at once; empty: the peer speaks first.
    #[serde(default)]
    greeting: String,
    /// Whether each line begins with a tag, as in IMAP.
    #[serde(default)]
    tagged: bool,
    /// To a line that no row is for; empty: nothing.
    #[serde(default)]
    unknown: String,
    /// To an empty line; empty: the same as to any other that no row is for.
    #[serde(default)]
    empty: String,
    /// Unknown lines until it hangs up; 0: it never does.
    #[serde(default)]
    unknown_max: u32,
    /// Said before it hangs up for that.
    #[serde(default)]
    too_many: String,
    /// Said after a failed login.
    #[serde(default)]
    failed: String,
    /// How long a failed login takes.
    #[serde(default)]
    failed_delay_ms: u64,
    /// Failed logins until it hangs up; 0: it never does.
    #[serde(default)]
    tries: u32,
    /// What it knows.
    #[serde(default)]
    answers: Vec<Row>,
}

/// One row of the table.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    /// First words of the line, in any case.
    on: String,
    /// What is said.
    #[serde(default)]
    say: String,
    /// What the words after it are.
    #[serde(default)]
    takes: Takes,
    /// Whether it hangs up then.
    #[serde(default)]
    close: bool,
}

/// How a row takes part in a login.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Takes {
    /// Not at all.
    #[default]
    Nothing,
    /// The user.
    User,
    /// The password.
    Password,
    /// Both, apart by a blank, each perhaps quoted.
    Both,
    /// SASL PLAIN in base64: here, or asked for by `say`.
    Plain,
    /// SASL LOGIN: user (here, or asked for) and password in base64, asked for as SMTP does.
    Login,
}

fn serve(session: &mut Session) -> BoxFuture<'_, Result<(), SessionError>> {
    talk(session).boxed()
}

async fn talk(session: &mut Session) -> Result<(), SessionError> {
    let personality = session.personality();
    let mut talk = Talk {
        session,
        look: personality.look(),
        tag: Vec::new(),
        user: Vec::new(),
        unknown: 0,
        failed: 0,
    };
    talk.say(&talk.look.greeting, b"", b"").await?;
    if talk.look.answers.is_empty() && talk.look.unknown.is_empty() {
        return talk.listen().await;
    }
    while talk.answer().await? == Next::Line {}
    Ok(())
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
    unknown: u32,
    failed: u32,
}

/// A line and where it began in the stream.
struct Line {
    bytes: Vec<u8>,
    at: u64,
}

impl Talk<'_> {
    /// A greeting alone has no lines: whatever comes is only captured.
    async fn listen(&mut self) -> Result<(), SessionError> {
        loop {
            self.session.fill().await?;
            self.session.consume(usize::MAX);
        }
    }

    /// Reads a line and answers it.
    async fn answer(&mut self) -> Result<Next, SessionError> {
        let line = self.line().await?;
        let (tag, rest) = if self.look.tagged {
            word(&line.bytes)
        } else {
            (&b""[..], &line.bytes[..])
        };
        self.tag = tag.to_vec();
        let look = self.look;
        let Some((row, argument)) = find(&look.answers, rest) else {
            return self.unknown(&line.bytes, rest).await;
        };
        let argument_at = line.at + (line.bytes.len() - argument.len()) as u64;
        match row.takes {
            Takes::Nothing => {
                self.session.query(&line.bytes, Vec::new()).await;
                self.say(&row.say, word(rest).0, argument).await?;
            }
            Takes::User => {
                self.user = argument.to_vec();
                self.say(&row.say, word(rest).0, argument).await?;
            }
            Takes::Password => return self.refuse(argument, argument_at, argument).await,
            Takes::Both => {
                let (user, password) = both(argument);
                self.user = user;
                return self.refuse(&password, argument_at, argument).await;
            }
            Takes::Plain => {
                let (text, at) = self.asked(argument, argument_at, &row.say).await?;
                let decoded = decode(&text);
                let mut parts = decoded.splitn(3, |byte| *byte == 0).skip(1);
                self.user = parts.next().unwrap_or_default().to_vec();
                let password = parts.next().unwrap_or_default().to_vec();
                return self.refuse(&password, at, &text).await;
            }
            Takes::Login => {
                let (user, _) = self.asked(argument, argument_at, "334 VXNlcm5hbWU6\r\n").await?;
                self.user = decode(&user);
                let (password, at) = self.asked(b"", 0, "334 UGFzc3dvcmQ6\r\n").await?;
                return self.refuse(&decode(&password), at, &password).await;
            }
        }
        Ok(if row.close { Next::Close } else { Next::Line })
    }

    /// What is given already, else what a further line says.
    async fn asked(&mut self, given: &[u8], at: u64, ask: &str) -> Result<(Vec<u8>, u64), SessionError> {
        if !given.is_empty() {
            return Ok((given.to_vec(), at));
        }
        self.say(ask, b"", b"").await?;
        let line = self.line().await;
        if line.is_err() {
            self.session.hide_input();
        }
        line.map(|line| (line.bytes, line.at))
    }

    /// Reports a login and refuses it. `typed`, at `at` in the stream, holds the secret.
    async fn refuse(&mut self, secret: &[u8], at: u64, typed: &[u8]) -> Result<Next, SessionError> {
        self.session.mark_secret(at..at + typed.len() as u64);
        let user = std::mem::take(&mut self.user);
        self.session.credential("password", &user, secret, Vec::new()).await;
        self.session
            .pause(Duration::from_millis(self.look.failed_delay_ms))
            .await?;
        self.say(&self.look.failed, b"", b"").await?;
        self.failed += 1;
        Ok(if self.failed == self.look.tries {
            Next::Close
        } else {
            Next::Line
        })
    }

    async fn unknown(&mut self, line: &[u8], rest: &[u8]) -> Result<Next, SessionError> {
        if !line.is_empty() {
            self.session.query(line, Vec::new()).await;
        }
        self.unknown += 1;
        if self.unknown == self.look.unknown_max {
            self.say(&self.look.too_many, b"", b"").await?;
            return Ok(Next::Close);
        }
        let (verb, argument) = word(rest);
        let look = self.look;
        let is_empty = line.is_empty() && !look.empty.is_empty();
        let answer = if is_empty { &look.empty } else { &look.unknown };
        self.say(answer, verb, argument).await?;
        Ok(Next::Line)
    }

    /// Reads a line. What is longer than [`LINE_MAX`] is passed over: it is in the capture.
    async fn line(&mut self) -> Result<Line, SessionError> {
        loop {
            let input = self.session.input();
            if let Some(end) = memchr::memchr(b'\n', input) {
                let bytes = input.get(..end).unwrap_or_default();
                let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes).to_vec();
                let at = self.session.consume(end + 1).start;
                return Ok(Line { bytes, at });
            }
            if input.len() > LINE_MAX {
                self.session.consume(LINE_MAX);
            }
            self.session.fill().await?;
        }
    }

    async fn say(&mut self, template: &str, verb: &[u8], argument: &[u8]) -> Result<(), SessionError> {
        if template.is_empty() {
            return Ok(());
        }
        let ours = self.session.expand(template).into_owned();
        let text = personality::expand(&ours, |name| match name {
            "tag" => Some(said_back(&self.tag)),
            "verb" => Some(said_back(verb)),
            "arg" => Some(said_back(argument)),
            _ => None,
        });
        self.session.send(text.as_bytes()).await
    }
}

fn said_back(value: &[u8]) -> String {
    String::from_utf8_lossy(value.get(..SAID_BACK_MAX).unwrap_or(value)).into_owned()
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

/// The first row whose words a line begins with, and what follows them.
fn find<'l, 'r>(rows: &'r [Row], line: &'l [u8]) -> Option<(&'r Row, &'l [u8])> {
    rows.iter().find_map(|row| {
        let words = row.on.as_bytes();
        let (start, rest) = line.split_at_checked(words.len())?;
        let ends = rest.is_empty() || rest.starts_with(b" ") || words.ends_with(b":");
        (start.eq_ignore_ascii_case(words) && ends).then(|| (row, rest.strip_prefix(b" ").unwrap_or(rest)))
    })
}

fn decode(text: &[u8]) -> Vec<u8> {
    BASE64_STANDARD
        .decode(text.trim_ascii())
        .unwrap_or_else(|_| text.to_vec())
}

/// Two words, each perhaps in double quotes with `\` escapes (RFC 9051 section 4.3).
fn both(argument: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut words: [Vec<u8>; 2] = Default::default();
    let (mut at, mut quoted) = (0, false);
    let mut bytes = argument.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => quoted = !quoted,
            b' ' if !quoted && at == 0 => at = 1,
            byte => {
                let byte = if quoted && *byte == b'\\' {
                    bytes.next().unwrap_or(byte)
                } else {
                    byte
                };
                if let Some(word) = words.get_mut(at) {
                    word.push(*byte);
                }
            }
        }
    }
    let [user, password] = words;
    (user, password)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use trapline_schemas::{Action, Field};

    use super::*;
    use crate::decoy::testing::{Stage, actions, fact, spec};

    async fn said(personality: &str, sent: &[u8]) -> (String, Vec<crate::roles::Hit>) {
        let text = personality::embedded(personality).expect("it is embedded");
        let mut stage = Stage::open(spec(text)).await;
        let said = stage.talk(sent).await;
        (String::from_utf8(said).expect("text"), stage.session().await)
    }

    #[tokio::test]
    async fn a_mail_login_is_a_credential_and_its_base64_is_hidden() {
        let sent = b"EHLO x\r\nAUTH LOGIN\r\nYm9i\r\naHVudGVyMg==\r\nQUIT\r\n";
        let (text, hits) = said("smtp-postfix", sent).await;
        assert!(text.contains("334 UGFzc3dvcmQ6\r\n535 5.7.8 "), "{text}");
        assert!(text.ends_with("221 2.0.0 Bye\r\n"), "{text}");
        let credential = hits
            .iter()
            .find(|hit| hit.action == Action::Credential)
            .expect("a credential");
        assert_eq!(fact(credential, Field::UserName), Some(&"bob".into()));
        assert_eq!(&*credential.secret.as_ref().expect("a secret").bytes, b"hunter2");
        let capture = hits.iter().find_map(|hit| hit.capture.as_ref()).expect("a capture");
        let hidden = capture
            .secrets
            .iter()
            .any(|range| &sent[range.clone()] == b"aHVudGVyMg==");
        assert!(hidden, "{:?}", capture.secrets);
    }

    #[tokio::test]
    async fn pop3_and_imap_logins_are_credentials() {
        let (text, hits) = said("pop3-dovecot", b"USER bob\r\nPASS a b\r\nQUIT\r\n").await;
        assert!(text.contains("-ERR [AUTH] Authentication failed.\r\n"), "{text}");
        assert_eq!(
            actions(&hits),
            [
                Action::Connect,
                Action::Credential,
                Action::Query,
                Action::Payload,
                Action::SessionEnd
            ]
        );
        let (text, hits) = said("imap-dovecot", b"a1 login \"bob\" \"p\\\"w\"\r\na2 LOGOUT\r\n").await;
        assert!(
            text.contains("a1 NO [AUTHENTICATIONFAILED]") && text.ends_with("a2 OK Logout completed.\r\n"),
            "{text}"
        );
        assert_eq!(&*hits[1].secret.as_ref().expect("a secret").bytes, b"p\"w");
    }

    proptest! {
        #[test]
        fn any_line_is_compared_and_split_without_panic(line in prop::collection::vec(any::<u8>(), 0..200)) {
            let rows = [Row { on: "MAIL FROM:".into(), say: String::new(), takes: Takes::Nothing, close: false }];
            let _ = find(&rows, &line);
            let (user, password) = both(&line);
            prop_assert!(user.len() + password.len() <= line.len());
            let _ = decode(&line);
        }
    }
}
