//! `ftp`: a server that knows its product's words and lets nobody in.
//!
//! In: command lines. Out: a credential for each PASS, a query for each other command but USER and QUIT; the answers
//! of the personality, which are data. No data connection is ever opened, to anybody.
//!
//! Invariant: what a peer offers as a secret is in no captured form, also in a malformed line or another protocol.
//!
//! Source: RFC 959, RFC 4217 (TLS); the answers, times and bounds of vsftpd 3.0.3 and ProFTPD 1.3.8 were captured.

mod secure;

use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use trapline_schemas::{Field, text};

use self::secure::Upgrade;
use crate::decoy::personality;
use crate::decoy::services::lines::{self, End};
use crate::decoy::services::{Service, Speak};
use crate::decoy::session::{Session, SessionError};

/// The row.
pub(super) const SERVICE: Service = Service {
    name: "ftp",
    personality: "vsftpd-3.0.5",
    look: personality::look::<Look>,
    provide: None,
    speak: Speak::Stream(serve),
};

/// Longest command line that is read, bytes: the bound of vsftpd and of ProFTPD.
const LINE_MAX: usize = 4096;

/// What AUTH may name that is no secret (RFC 4217 section 3, RFC 2228 section 8).
const MECHANISMS: [&[u8]; 7] = [
    b"TLS",
    b"TLS-C",
    b"TLS-P",
    b"SSL",
    b"GSSAPI",
    b"KERBEROS_V4",
    b"KERBEROS_V5",
];

/// `[look]` of an `ftp` personality. Answers may use `{{verb}}`, `{{arg}}` and `{{first}}` (its first word), as typed;
/// the same names in capitals say them back in capitals.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Look {
    /// Sent at once.
    greeting: String,
    /// To USER with a name.
    user: String,
    /// To USER without one; empty: the same.
    #[serde(default)]
    user_empty: String,
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
    /// To a line that begins with a blank; empty: the same as to a command that has no answer of its own.
    #[serde(default)]
    blank: String,
    /// Whether a tab or a NUL ends a command as a blank does, and the user is one word.
    #[serde(default)]
    words: bool,
    /// To QUIT, before it closes.
    quit: String,
    /// To a line that is too long, before it closes; empty: nothing.
    #[serde(default)]
    too_long: String,
    /// Whether a line that is too long is passed over instead.
    #[serde(default)]
    passes_over: bool,
    /// Commands that make it close without a word: what clients of other protocols send. One that ends in `-` may go
    /// on.
    #[serde(default)]
    hang_up: Vec<String>,
    /// Answers by command, upper case: `FEAT`, `AUTH TLS` for a command with that argument or first word of it,
    /// `OPTS *` for one with any other argument.
    #[serde(default)]
    answers: HashMap<String, String>,
    /// What it does of TLS.
    tls: Option<Upgrade>,
}

fn serve(session: &mut Session) -> BoxFuture<'_, Result<(), SessionError>> {
    talk(session).boxed()
}

async fn talk(session: &mut Session) -> Result<(), SessionError> {
    let personality = session.personality();
    let look: &Look = personality.look();
    let mut login = Login::default();
    say(session, &look.greeting, &Command::default()).await?;
    loop {
        let end = match lines::end(session.input(), LINE_MAX) {
            End::At(end) => end,
            End::More => {
                session.fill().await?;
                continue;
            }
            End::TooLong => {
                Box::pin(pass_over(session, look.passes_over)).await?;
                if look.passes_over {
                    continue;
                }
                return say(session, &look.too_long, &Command::default()).await;
            }
        };
        let line = session.input().get(..end).unwrap_or_default().to_vec();
        let place = session.consume(end);
        let command = Command::read(&line, look.words);
        // On the heap, so that a silent session does not hold the room of an answer.
        if Box::pin(answer(session, look, &mut login, &command, place)).await? == Next::Close {
            return Ok(());
        }
    }
}

/// Consumes a line that is too long: what is there of it, or `whole`, to its end. One that names a secret is hidden.
async fn pass_over(session: &mut Session, whole: bool) -> Result<(), SessionError> {
    let hidden = lines::names_a_secret(session.input());
    loop {
        let end = if whole {
            memchr::memchr(b'\n', session.input())
        } else {
            None
        };
        let place = session.consume(end.map_or(session.input().len(), |at| at + 1));
        if hidden {
            session.mark_secret(place);
        }
        if !whole || end.is_some() {
            return Ok(());
        }
        session.fill().await?;
    }
}

/// Where the login stands.
#[derive(Debug, Default)]
struct Login {
    user: Option<Vec<u8>>,
    failed: u32,
    /// A line named a secret, and more of it may follow.
    wary: bool,
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
    let within = look.tls.as_ref().filter(|_| session.is_secure());
    let own = within.and_then(|tls| command.answer(&tls.answers));
    let own = own.or_else(|| command.answer(&look.answers));
    match (command.verb.to_ascii_uppercase().as_slice(), own) {
        (b"", _) if command.line.is_empty() => say(session, &look.empty, command).await?,
        (b"QUIT", _) => {
            say(session, &look.quit, command).await?;
            return Ok(Next::Close);
        }
        (b"PASS", _) => return password(session, look, login, command, place).await,
        (b"AUTH", _) if session.has_tls() && !session.is_secure() && look.leads_to_tls(command) => {
            report(session, login, command, place).await;
            secure::begin(session, look).await?;
        }
        (b"USER", None) => user(session, look, login, command, place).await?,
        (verb, own) => {
            report(session, login, command, place).await;
            if look.hang_up.iter().any(|word| hangs_up(word.as_bytes(), verb)) {
                return Ok(Next::Close);
            }
            let other = if verb.is_empty() && !look.blank.is_empty() {
                &look.blank
            } else {
                &look.unknown
            };
            say(session, own.unwrap_or(other), command).await?;
        }
    }
    Ok(Next::Line)
}

fn hangs_up(word: &[u8], verb: &[u8]) -> bool {
    verb == word || (word.ends_with(b"-") && verb.starts_with(word))
}

async fn user(
    session: &mut Session,
    look: &Look,
    login: &mut Login,
    command: &Command<'_>,
    place: Range<u64>,
) -> Result<(), SessionError> {
    let name = if look.words { command.first() } else { command.argument };
    if name.is_empty() && !look.user_empty.is_empty() {
        return say(session, &look.user_empty, command).await;
    }
    let end = lines::typed(name);
    if end < name.len() {
        session.mark_secret(place.start + (command.argument_at + end) as u64..place.end);
    }
    login.user = Some(name.get(..end).unwrap_or_default().to_vec());
    say(session, &look.user, command).await
}

/// Reports a command; what may be a secret in it is hidden.
async fn report(session: &mut Session, login: &mut Login, command: &Command<'_>, place: Range<u64>) {
    let mut line = command.line.to_vec();
    let names = !command.is_mechanism() && lines::names_a_secret(&line);
    // What follows such a line and is no command may belong to it.
    let follows = login.wary && !command.looks_known();
    login.wary = names || follows;
    let shown = match (follows, names) {
        (true, _) => 0,
        (_, true) => lines::shown(&line),
        _ => line.len(),
    };
    if shown < line.len() {
        let from = place.end - command.rest as u64 - (line.len() - shown) as u64;
        session.mark_secret(from..place.end);
        if session.masks()
            && let Some(secret) = line.get_mut(shown..)
        {
            secret.fill(b'*');
        }
    }
    // What comes after a verb without a blank may be a secret as well.
    let verb = command.verb.get(..shown).unwrap_or(command.verb);
    let letters = verb.iter().take_while(|byte| byte.is_ascii_graphic()).count();
    let verb = verb.get(..letters).unwrap_or_default().to_ascii_uppercase();
    let facts = vec![(Field::FtpCommand, text::clean(&verb).into())];
    session.query(&line, facts).await;
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
        say(session, &look.no_user, command).await?;
        return Ok(Next::Line);
    }
    session.pause(Duration::from_millis(look.failed_delay_ms)).await?;
    say(session, &look.failed, command).await?;
    login.failed += 1;
    Ok(if login.failed == look.tries {
        Next::Close
    } else {
        Next::Line
    })
}

/// Says an answer with the peer's own words in it.
async fn say(session: &mut Session, template: &str, command: &Command<'_>) -> Result<(), SessionError> {
    if template.is_empty() {
        return Ok(());
    }
    let ours = session.expand(template);
    let upper = [command.verb, command.argument, command.first()].map(<[u8]>::to_ascii_uppercase);
    let [verb, argument, first] = &upper;
    let text = lines::fill(&ours, |name| match name {
        "verb" => Some(command.verb),
        "arg" => Some(command.argument),
        "first" => Some(command.first()),
        "VERB" => Some(verb),
        "ARG" => Some(argument),
        "FIRST" => Some(first),
        _ => None,
    });
    session.send(&text).await
}

/// A command line.
#[derive(Debug, Default, PartialEq, Eq)]
struct Command<'a> {
    /// As typed, without line end.
    line: &'a [u8],
    verb: &'a [u8],
    argument: &'a [u8],
    /// Where the argument begins in the line.
    argument_at: usize,
    /// Bytes of the line's end.
    rest: usize,
}

impl<'a> Command<'a> {
    /// Telnet commands that clients put before ABOR are skipped (RFC 959 section 4.1.3). With `words` a tab or a NUL
    /// ends the verb as well.
    fn read(whole: &'a [u8], words: bool) -> Self {
        let line = lines::bare(whole);
        let start = line.iter().take_while(|byte| **byte >= 0xf0).count();
        let typed = line.get(start..).unwrap_or_default();
        let ends = |byte: &u8| *byte == b' ' || (words && matches!(byte, b'\t' | 0));
        let space = typed.iter().position(ends).unwrap_or(typed.len());
        let argument_at = (start + space + 1).min(line.len());
        Self {
            line: typed,
            verb: typed.get(..space).unwrap_or_default(),
            argument: line.get(argument_at..).unwrap_or_default(),
            argument_at,
            rest: whole.len() - line.len(),
        }
    }

    /// The first word of the argument.
    fn first(&self) -> &'a [u8] {
        let words = self.argument.split(|byte| matches!(byte, b' ' | b'\t'));
        words.into_iter().find(|word| !word.is_empty()).unwrap_or_default()
    }

    /// Whether it names how to authenticate, and no more.
    fn is_mechanism(&self) -> bool {
        let is_auth = self.verb.eq_ignore_ascii_case(b"AUTH");
        is_auth && MECHANISMS.contains(&self.argument.trim_ascii().to_ascii_uppercase().as_slice())
    }

    /// Whether its verb is one of FTP by its looks.
    fn looks_known(&self) -> bool {
        matches!(self.verb.len(), 3 | 4) && self.verb.iter().all(u8::is_ascii_alphabetic)
    }

    /// The answer to exactly this command with this argument, else to its first word, to any, or to the command.
    fn answer<'l>(&self, answers: &'l HashMap<String, String>) -> Option<&'l str> {
        let upper = |bytes: &[u8]| String::from_utf8(bytes.to_ascii_uppercase()).ok();
        let verb = upper(self.verb)?;
        let argument = upper(self.argument).unwrap_or_default();
        let first = upper(self.first()).unwrap_or_default();
        let with = |argument: &str| answers.get(&format!("{verb} {argument}"));
        let any = || with("*").filter(|_| !self.first().is_empty());
        let answer = with(argument.trim()).or_else(|| with(&first)).or_else(any);
        answer.or_else(|| answers.get(&verb)).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::decoy::personality::embedded;
    use crate::decoy::testing::{Stage, spec};
    use crate::roles::Hit;

    #[test]
    fn a_line_is_a_verb_and_the_rest() {
        let read = |line: &'static [u8]| {
            let command = Command::read(line, false);
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
            ("OPTS".to_owned(), "501".to_owned()),
            ("OPTS *".to_owned(), "504".to_owned()),
        ]);
        let answer = |line| Command::read(line, false).answer(&answers);
        assert_eq!(answer(&b"auth tls\r\n"[..]), Some("234"));
        assert_eq!(answer(b"AUTH GSSAPI\r\n"), Some("500"));
        assert_eq!(answer(b"auth TLS now\r\n"), Some("234"));
        assert_eq!(answer(b"OPTS \r\n"), Some("501"));
        assert_eq!(answer(b"OPTS x\r\n"), Some("504"));
        assert_eq!(answer(b"FEAT\r\n"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_as_commands_within_the_line(bytes in prop::collection::vec(any::<u8>(), 0..300), words: bool) {
            let command = Command::read(&bytes, words);
            prop_assert!(command.argument_at + command.argument.len() <= bytes.len());
            prop_assert_eq!(command.argument, &bytes[command.argument_at..][..command.argument.len()]);
            let _ = command.answer(&HashMap::new());
        }
    }

    async fn said(personality: &str, sent: &[u8]) -> (Vec<u8>, Vec<Hit>) {
        let text = embedded(personality).expect("it is embedded");
        let text = text.replace("failed_delay_ms = ", "failed_delay_ms = 0 #");
        let mut stage = Stage::open(spec(&text)).await;
        let said = stage.talk(sent).await;
        let after = memchr::memchr(b'\n', &said).expect("a greeting") + 1;
        (said[after..].to_vec(), stage.session().await)
    }

    #[tokio::test]
    async fn a_secret_is_hidden_in_every_form_and_length() {
        let long = format!("USER u\r\nPASS {}\r\nNOOP\r\n", "Sup3rPass".repeat(500));
        for personality in ["vsftpd-3.0.5", "proftpd-debian-12", "microsoft-ftp"] {
            for sent in [
                long.as_str(),
                "PASS\tSup3rPass\r\n",
                "PASS\0Sup3rPass\r\n",
                " PASS Sup3rPass\r\n",
                "ACCT Sup3rPass\r\n",
                "SITE PSWD old Sup3rPass\r\n",
                "AUTH PLAIN Sup3rPass\r\n",
                "a LOGIN u Sup3rPass\r\n",
                "Authorization: Basic\r\n Sup3rPass\r\n",
                "Proxy-Authorization: Sup3rPass\r\n",
                "USER u\rPASS Sup3rPass\r\nSYST\r\n",
                "USER u\r\nPASS Sup3rPass",
            ] {
                let (_, hits) = said(personality, sent.as_bytes()).await;
                for hit in hits {
                    let mut shown = format!("{:?}", hit.facts);
                    if let Some(mut capture) = hit.capture {
                        for range in &capture.secrets {
                            capture.kept[range.clone()].fill(b'*');
                        }
                        shown.push_str(&String::from_utf8_lossy(&capture.kept));
                    }
                    assert!(
                        !shown.contains("up3rP"),
                        "{personality} {:?}",
                        sent.get(..60).unwrap_or(sent)
                    );
                }
            }
        }
    }

    #[tokio::test]
    async fn proftpd_answers_as_1_3_8() {
        for (sent, expected) in [
            (&b"foo\r\n"[..], &b"500 FOO not understood\r\n"[..]),
            (b"US\0ER a\r\n", b"500 US not understood\r\n"),
            (b"\x80\r\n", b"500 \x80 not understood\r\n"),
            (b" SYST\r\n", b"500 Invalid command: try being more creative\r\n"),
            (
                b"USER \r\nPASS x\r\n",
                b"500 USER: command requires a parameter\r\n503 Login with USER first\r\n",
            ),
            (b"USER\ta b\r\n", b"331 Password required for a\r\n"),
            (
                b"USER a\r\nPASS\tb\r\n",
                b"331 Password required for a\r\n530 Login incorrect.\r\n",
            ),
            (
                b"ABOR\r\nxcwd /\r\n",
                b"530 Please login with USER and PASS\r\n530 Please login with USER and PASS\r\n",
            ),
            (
                b"LANG en\r\nLANG\r\n",
                b"504 Language en not supported\r\n200 Using default language C.UTF-8\r\n",
            ),
            (
                b"OPTS\r\nopts x\r\n",
                b"501 Invalid number of parameters\r\n500 OPTS X not understood\r\n",
            ),
            (
                b"TYPE a\r\nTYPE X\r\n",
                b"200 Type set to a\r\n504 TYPE not implemented for 'X' parameter\r\n",
            ),
            (b"SSH-2.0-x\r\n", b""),
        ] {
            let (text, _) = said("proftpd-debian-12", sent).await;
            assert_eq!(text.escape_ascii().to_string(), expected.escape_ascii().to_string());
        }
        let long = [&b"PASS "[..], &[b'x'; 4200], b"\r\nNOOP\r\n"].concat();
        assert_eq!(
            said("proftpd-debian-12", &long).await.0,
            b"200 NOOP command successful\r\n"
        );
    }

    #[tokio::test]
    async fn vsftpd_answers_a_blank_line_and_an_option_as_3_0() {
        let (text, _) = said("vsftpd-3.0.5", b" \r\n SYST\r\nOPTS x\r\n\r\n").await;
        let login = "530 Please login with USER and PASS.\r\n".repeat(2);
        assert_eq!(String::from_utf8_lossy(&text), login + "501 Option not understood.\r\n");
    }
}
