//! `ftp`: a server that knows its product's words and lets nobody in.
//!
//! In: command lines. Out: a credential for each PASS, a query for each other command but USER and QUIT; the answers
//! of the personality, which are data. No data connection is ever opened, to anybody.
//!
//! Source: RFC 959; the answers and times of vsftpd 3.0.3, ProFTPD 1.3.8 and Pure-FTPd 1.0.50 were captured.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use trapline_schemas::{Field, text};

use crate::decoy::personality;
use crate::decoy::services::{Service, Speak};
use crate::decoy::session::{Session, SessionError};

/// The row.
pub(super) const SERVICE: Service = Service {
    name: "ftp",
    personality: "vsftpd-3.0.5",
    look: personality::look::<Look>,
    speak: Speak::Stream(serve),
};

/// Longest command line that is read, bytes: vsftpd's bound.
const LINE_MAX: usize = 4096;

/// Longest text of the peer that is said back, bytes.
const SAID_BACK_MAX: usize = 127;

/// `[look]` of an `ftp` personality. Answers may use `{{user}}`, `{{verb}}` (as typed) and `{{arg}}`.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Look {
    /// Sent at once.
    greeting: String,
    /// To USER with a name.
    user: String,
    /// To PASS, after the delay.
    failed: String,
    /// How long a failed login takes.
    failed_delay_ms: u64,
    /// Failed logins until it hangs up; 0: it never does.
    #[serde(default)]
    tries: u32,
    /// To PASS without USER.
    no_user: String,
    /// To a command that has no answer of its own.
    unknown: String,
    /// To an empty line; empty: nothing.
    #[serde(default)]
    empty: String,
    /// To QUIT, before it closes.
    quit: String,
    /// To a line that is too long, before it closes; empty: nothing.
    #[serde(default)]
    too_long: String,
    /// Commands that make it close without a word: what browsers and proxies send.
    #[serde(default)]
    hang_up: Vec<String>,
    /// Answers by command, upper case: `FEAT`, or `AUTH TLS` for a command with that argument.
    #[serde(default)]
    answers: HashMap<String, String>,
}

fn serve(session: &mut Session) -> BoxFuture<'_, Result<(), SessionError>> {
    talk(session).boxed()
}

async fn talk(session: &mut Session) -> Result<(), SessionError> {
    let personality = session.personality();
    let look: &Look = personality.look();
    let mut login = Login::default();
    say(session, &look.greeting, &[]).await?;
    loop {
        let end = match line_end(session.input()) {
            LineEnd::At(end) => end,
            LineEnd::More => {
                session.fill().await?;
                continue;
            }
            LineEnd::TooLong => {
                session.consume(usize::MAX);
                return say(session, &look.too_long, &[]).await;
            }
        };
        let line = session.input().get(..end).unwrap_or_default().to_vec();
        let place = session.consume(end);
        // On the heap, so that a silent session does not hold the room of an answer.
        if Box::pin(answer(session, look, &mut login, &Command::read(&line), place)).await? == Next::Close {
            return Ok(());
        }
    }
}

/// Where the login stands.
#[derive(Debug, Default)]
struct Login {
    user: Option<Vec<u8>>,
    failed: u32,
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    Line,
    Close,
}

async fn answer(
    session: &mut Session,
    look: &Look,
    login: &mut Login,
    command: &Command<'_>,
    place: Range<u64>,
) -> Result<Next, SessionError> {
    let own = command.answer(&look.answers);
    match (command.verb.to_ascii_uppercase().as_slice(), own) {
        (b"", _) => say(session, &look.empty, &[]).await?,
        (b"QUIT", _) => {
            say(session, &look.quit, &[]).await?;
            return Ok(Next::Close);
        }
        (b"PASS", _) => return password(session, look, login, command, place).await,
        (b"USER", None) => {
            login.user = Some(command.argument.to_vec());
            say(session, &look.user, &[("user", command.argument)]).await?;
        }
        (verb, own) => {
            let facts = vec![(Field::FtpCommand, text::clean(verb).into())];
            session.query(command.line, facts).await;
            if look.hang_up.iter().any(|word| word.as_bytes() == verb) {
                return Ok(Next::Close);
            }
            let values = [("verb", command.verb), ("arg", command.argument)];
            say(session, own.unwrap_or(&look.unknown), &values).await?;
        }
    }
    Ok(Next::Line)
}

async fn password(
    session: &mut Session,
    look: &Look,
    login: &mut Login,
    command: &Command<'_>,
    place: Range<u64>,
) -> Result<Next, SessionError> {
    let from = place.start + command.argument_at as u64;
    session.mark_secret(from..from + command.argument.len() as u64);
    let known = login.user.take();
    let user = known.as_deref().unwrap_or_default();
    session.credential("password", user, command.argument, Vec::new()).await;
    if known.is_none() {
        say(session, &look.no_user, &[]).await?;
        return Ok(Next::Line);
    }
    session.pause(Duration::from_millis(look.failed_delay_ms)).await?;
    say(session, &look.failed, &[]).await?;
    login.failed += 1;
    Ok(if login.failed == look.tries {
        Next::Close
    } else {
        Next::Line
    })
}

/// Says an answer; `values` are the peer's own words, cut and without line ends.
async fn say(session: &mut Session, template: &str, values: &[(&str, &[u8])]) -> Result<(), SessionError> {
    if template.is_empty() {
        return Ok(());
    }
    let ours = session.expand(template).into_owned();
    let text = personality::expand(&ours, |name| {
        let (_, value) = values.iter().find(|(known, _)| *known == name)?;
        Some(said_back(value).into_owned())
    });
    session.send(text.as_bytes()).await
}

fn said_back(value: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(value.get(..SAID_BACK_MAX).unwrap_or(value))
}

#[derive(Debug, PartialEq, Eq)]
enum LineEnd {
    /// Bytes of the line, its end included.
    At(usize),
    More,
    TooLong,
}

fn line_end(bytes: &[u8]) -> LineEnd {
    let window = bytes.get(..LINE_MAX).unwrap_or(bytes);
    match memchr::memchr(b'\n', window) {
        Some(at) => LineEnd::At(at + 1),
        None if window.len() == LINE_MAX => LineEnd::TooLong,
        None => LineEnd::More,
    }
}

/// A command line.
#[derive(Debug, PartialEq, Eq)]
struct Command<'a> {
    /// As typed, without line end.
    line: &'a [u8],
    verb: &'a [u8],
    argument: &'a [u8],
    /// Where the argument begins in the line.
    argument_at: usize,
}

impl<'a> Command<'a> {
    /// Telnet commands that clients put before ABOR are skipped (RFC 959 section 4.1.3).
    fn read(line: &'a [u8]) -> Self {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let start = line.iter().take_while(|byte| **byte >= 0xf0).count();
        let typed = line.get(start..).unwrap_or_default();
        let space = memchr::memchr(b' ', typed).unwrap_or(typed.len());
        let argument_at = (start + space + 1).min(line.len());
        Self {
            line: typed,
            verb: typed.get(..space).unwrap_or_default(),
            argument: line.get(argument_at..).unwrap_or_default(),
            argument_at,
        }
    }

    /// The answer to exactly this command with this argument, else to the command.
    fn answer<'l>(&self, answers: &'l HashMap<String, String>) -> Option<&'l str> {
        let upper = |bytes: &[u8]| String::from_utf8(bytes.to_ascii_uppercase()).ok();
        let whole = upper(self.line).and_then(|line| answers.get(line.trim_end()));
        let answer = whole.or_else(|| answers.get(&upper(self.verb)?));
        answer.map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_is_a_verb_and_the_rest() {
        let read = |line: &'static [u8]| {
            let command = Command::read(line);
            (command.verb, command.argument, command.argument_at)
        };
        assert_eq!(read(b"PASS a b \r\n"), (&b"PASS"[..], &b"a b "[..], 5));
        assert_eq!(read(b"quit\n"), (&b"quit"[..], &b""[..], 4));
        assert_eq!(read(b"\xff\xf4\xff\xf2ABOR\r\n"), (&b"ABOR"[..], &b""[..], 8));
        assert_eq!(read(b"\r\n"), (&b""[..], &b""[..], 0));
        assert_eq!(read(b"PASS \r\n"), (&b"PASS"[..], &b""[..], 5));
    }

    #[test]
    fn the_longer_answer_wins() {
        let answers = HashMap::from([
            ("AUTH".to_owned(), "500".to_owned()),
            ("AUTH TLS".to_owned(), "234".to_owned()),
        ]);
        let answer = |line| Command::read(line).answer(&answers);
        assert_eq!(answer(&b"auth tls\r\n"[..]), Some("234"));
        assert_eq!(answer(b"AUTH GSSAPI\r\n"), Some("500"));
        assert_eq!(answer(b"FEAT\r\n"), None);
    }

    #[test]
    fn a_line_without_end_is_bounded() {
        assert_eq!(line_end(&[b'A'; LINE_MAX - 1]), LineEnd::More);
        assert_eq!(line_end(&[b'A'; LINE_MAX]), LineEnd::TooLong);
        assert_eq!(line_end(b"a\r\nb"), LineEnd::At(3));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_as_commands_within_the_line(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let command = Command::read(&bytes);
            prop_assert!(command.argument_at + command.argument.len() <= bytes.len());
            prop_assert_eq!(command.argument, &bytes[command.argument_at..][..command.argument.len()]);
            let _ = command.answer(&HashMap::new());
            prop_assert!(said_back(&bytes).chars().count() <= SAID_BACK_MAX);
        }

        #[test]
        fn a_line_ends_at_the_same_byte_however_it_was_cut(bytes in prop::collection::vec(prop::sample::select(b"aP \r\n\0".to_vec()), 0..200)) {
            let whole = line_end(&bytes);
            for cut in 0..bytes.len() {
                let part = line_end(&bytes[..cut]);
                prop_assert!(part == LineEnd::More || part == whole);
            }
        }
    }
}
