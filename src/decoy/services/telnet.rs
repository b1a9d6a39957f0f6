//! `telnet`: option negotiation and a login that never succeeds.
//!
//! In: what the client types and negotiates. Out: one handshake with its terminal, window, environment and the order
//! of its options; a credential for each login that was tried; never a shell.
//!
//! Two negotiations are known, because they are what tells one telnet server from another: that of Linux telnetd
//! (NetKit 0.17, which asks for the terminal first and says nothing more until it is answered; its order was compared
//! with a live GNU inetutils, which has the same root) and that of BusyBox since 1.14.

mod ahead;
mod line;
mod wire;

use std::ops::Range;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use smol_str::SmolStr;
use trapline_schemas::{Field, Value, text};

use self::ahead::Ahead;
use self::line::{Editor, Line, Typed};
use self::wire::{DO, Decoder, IAC, Options, SB, SE, Token, WILL, option};
use crate::decoy::mask::names;
use crate::decoy::personality;
use crate::decoy::services::{Service, Speak, lines};
use crate::decoy::session::{Session, SessionError};

/// The row.
pub(super) const SERVICE: Service = Service {
    name: "telnet",
    personality: "telnet-ubuntu-22.04",
    look: personality::look::<Look>,
    provide: None,
    speak: Speak::Stream(serve),
};

/// Most option commands that go into the fingerprint.
const OPTIONS_MAX: usize = 64;

/// Most variables that are kept.
const VARIABLES_MAX: usize = 32;

/// Empty user names until it hangs up.
const EMPTY_MAX: usize = 10;

/// `[look]` of a `telnet` personality.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Look {
    /// Whose negotiation: `netkit` or `busybox`.
    negotiation: Negotiation,
    /// Shown once, before the first prompt.
    #[serde(default)]
    issue: String,
    /// Asks for the user.
    login: String,
    /// Asks for the password.
    password: String,
    /// Shown after a failed login.
    incorrect: String,
    /// Logins until it hangs up.
    tries: u32,
    /// How long a failed login takes.
    delay_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Negotiation {
    Netkit,
    Busybox,
}

impl Negotiation {
    /// Sent at accept.
    const fn opening(self) -> &'static [u8] {
        match self {
            Self::Netkit => &[
                IAC,
                DO,
                option::TTYPE,
                IAC,
                DO,
                option::TSPEED,
                IAC,
                DO,
                option::XDISPLOC,
                IAC,
                DO,
                option::NEW_ENVIRON,
            ],
            Self::Busybox => &[
                IAC,
                DO,
                option::ECHO,
                IAC,
                DO,
                option::NAWS,
                IAC,
                WILL,
                option::ECHO,
                IAC,
                WILL,
                option::SGA,
            ],
        }
    }
}

/// Questions by subnegotiation, in NetKit's order.
const QUESTIONS: [u8; 4] = [option::TSPEED, option::XDISPLOC, option::NEW_ENVIRON, option::TTYPE];

/// What NetKit says once it knows the terminal.
const SECOND: &[u8] = &[
    IAC,
    WILL,
    option::SGA,
    IAC,
    DO,
    option::ECHO,
    IAC,
    DO,
    option::NAWS,
    IAC,
    WILL,
    option::STATUS,
    IAC,
    DO,
    option::LFLOW,
];

fn serve(session: &mut Session) -> BoxFuture<'_, Result<(), SessionError>> {
    talk(session).boxed()
}

async fn talk(session: &mut Session) -> Result<(), SessionError> {
    let personality = session.personality();
    let look: &Look = personality.look();
    let mut terminal = Terminal::new(session);
    let ended = terminal.converse(look).await;
    terminal.hide_typed_ahead();
    // A client that leaves before it typed a line is known by its options alone.
    Box::pin(terminal.introduce()).await;
    ended
}

/// One client's terminal.
struct Terminal<'a> {
    session: &'a mut Session,
    decoder: Decoder,
    options: Options,
    editor: Editor,
    /// Where the next token begins in the stream.
    token_at: u64,
    /// What was typed and is not yet read.
    typed: Ahead,
    told: Told,
}

/// What the client told about itself.
#[derive(Default)]
struct Told {
    options: String,
    count: usize,
    terminal: Option<SmolStr>,
    window: Option<SmolStr>,
    environment: Vec<SmolStr>,
    user: Option<Vec<u8>>,
    /// Options whose subnegotiation came.
    answers: wire::Set,
}

impl<'a> Terminal<'a> {
    fn new(session: &'a mut Session) -> Self {
        Self {
            session,
            decoder: Decoder::default(),
            options: Options::default(),
            editor: Editor::default(),
            token_at: 0,
            typed: Ahead::default(),
            told: Told::default(),
        }
    }

    async fn converse(&mut self, look: &Look) -> Result<(), SessionError> {
        self.negotiate(look.negotiation.opening()).await?;
        if look.negotiation == Negotiation::Netkit {
            self.netkit().await?;
        }
        let user = self.told.user.take();
        let asks = if user.is_some() { "" } else { &look.login };
        Box::pin(self.say(&[look.issue.as_str(), asks].concat())).await?;
        while user.is_none() && self.typed.is_empty() {
            self.fill().await?;
        }
        // On the heap, so that a client that types nothing does not hold the room of a login.
        Box::pin(self.logins(look, user)).await
    }

    /// Takes logins; the first user is asked for already, or known.
    async fn logins(&mut self, look: &Look, mut user: Option<Vec<u8>>) -> Result<(), SessionError> {
        for attempt in 1..=look.tries {
            let Some(pair) = self.ask(look, user.take()).await? else {
                return Ok(());
            };
            self.introduce().await;
            self.attempted(&pair).await;
            self.session.pause(Duration::from_millis(look.delay_ms)).await?;
            self.say(&look.incorrect).await?;
            if attempt < look.tries {
                self.say(&look.login).await?;
            }
        }
        Ok(())
    }

    /// NetKit's dialogue before the login: it waits for each answer, however long that takes.
    async fn netkit(&mut self) -> Result<(), SessionError> {
        while !QUESTIONS.iter().all(|option| self.options.theirs_known.has(*option)) {
            self.fill().await?;
        }
        let on = self.options.theirs_on;
        let asked: Vec<u8> = QUESTIONS.into_iter().filter(|option| on.has(*option)).collect();
        for option in &asked {
            Box::pin(self.session.send(&[IAC, SB, *option, 1, IAC, SE])).await?;
        }
        while !asked.iter().all(|option| self.told.answers.has(*option)) {
            self.fill().await?;
        }
        self.negotiate(SECOND).await?;
        while !self.options.theirs_known.has(option::NAWS) {
            self.fill().await?;
        }
        self.negotiate(&[IAC, WILL, option::ECHO]).await
    }

    /// Asks for what is missing of a login. `None`: the client hung up.
    async fn ask(&mut self, look: &Look, user: Option<Vec<u8>>) -> Result<Option<(Vec<u8>, Line)>, SessionError> {
        let Some(user) = self.user(look, user).await? else {
            return Ok(None);
        };
        self.say(&look.password).await?;
        let password = match self.line(false).await {
            Ok(Some(line)) => Some(line),
            other => {
                // A password that its typist thought better of is one all the same.
                if let Some(place) = self.editor.unfinished() {
                    self.session.mark_secret(place);
                }
                other?
            }
        };
        self.session.send(b"\r\n").await?;
        Ok(password.map(|line| (user, line)))
    }

    async fn user(&mut self, look: &Look, known: Option<Vec<u8>>) -> Result<Option<Vec<u8>>, SessionError> {
        if known.is_some() {
            return Ok(known);
        }
        for _ in 0..EMPTY_MAX {
            match self.line(true).await? {
                Some(line) if line.bytes.is_empty() => self.say(&look.login).await?,
                Some(line) => return Ok(Some(self.name(line))),
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    /// The user that a line names. A password typed behind it, or a line of another protocol with one, is hidden.
    fn name(&mut self, line: Line) -> Vec<u8> {
        let mut words = line.bytes.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        let (first, second, third) = (words.next(), words.next(), words.next());
        let hidden = match (first, second, third) {
            (Some(first), Some(_), None) => Some(first),
            _ if lines::names_a_secret(&line.bytes) => line.bytes.get(..lines::shown(&line.bytes)),
            _ => None,
        };
        let Some(shown) = hidden else {
            return line.bytes;
        };
        self.session.mark_secret(line.place);
        shown.trim_ascii().to_vec()
    }

    async fn attempted(&mut self, (user, password): &(Vec<u8>, Line)) {
        self.session.mark_secret(password.place.clone());
        self.session
            .credential("password", user, &password.bytes, Vec::new())
            .await;
    }

    /// Reads a line, echoing it if `echo`. `None`: the client hung up.
    async fn line(&mut self, echo: bool) -> Result<Option<Line>, SessionError> {
        loop {
            let mut shown = Vec::new();
            let mut result = Typed::Part;
            while result == Typed::Part
                && let Some((at, byte)) = self.typed.pop()
            {
                result = self.editor.push(byte, at, &mut shown);
            }
            if echo && !shown.is_empty() {
                self.session.send(&shown).await?;
            }
            match result {
                Typed::Part => self.fill().await?,
                Typed::Line(line) => return Ok(Some(line)),
                Typed::HangUp => return Ok(None),
            }
        }
    }

    /// Takes what comes next: data waits in `typed`, options are answered.
    async fn fill(&mut self) -> Result<(), SessionError> {
        self.session.fill().await?;
        let answers = self.read();
        if answers.is_empty() {
            return Ok(());
        }
        Box::pin(self.session.send(&answers)).await
    }

    /// Reads what came; gives the answers that its options need.
    fn read(&mut self) -> Vec<u8> {
        let mut answers = Vec::new();
        let chunk = self.session.input().to_vec();
        let place = self.session.consume(chunk.len());
        for (at, byte) in (place.start..).zip(chunk) {
            let Some(token) = self.decoder.push(byte) else {
                continue;
            };
            let from = std::mem::replace(&mut self.token_at, at + 1);
            match token {
                Token::Data(byte) => {
                    if !self.typed.push(at, byte) {
                        self.drop_data(at..at + 1);
                    }
                }
                Token::Option(verb, option) => {
                    self.told.option(verb, option);
                    answers.extend(self.options.take(verb, option).into_iter().flatten());
                }
                Token::Sub(option, body) => {
                    if wire::holds_secret(option, &body) {
                        self.session.hide(from..at + 1);
                    }
                    self.told.sub(option, &body, self.session.masks());
                }
            }
        }
        answers
    }

    /// What is typed beyond the bound could be a password: it is not shown in any captured form.
    fn drop_data(&mut self, place: Range<u64>) {
        self.session.mark_secret(place);
    }

    /// Logins that were sent ahead and never read, and a variable that was cut short.
    fn hide_typed_ahead(&mut self) {
        let (option, body) = self.decoder.unfinished();
        if wire::holds_secret(option, body) {
            self.session.hide(self.token_at..self.session.position());
        }
        if let Some(place) = self.typed.place() {
            self.drop_data(place);
        }
    }

    async fn negotiate(&mut self, bytes: &[u8]) -> Result<(), SessionError> {
        self.options.sent(bytes);
        Box::pin(self.session.send(bytes)).await
    }

    async fn say(&mut self, template: &str) -> Result<(), SessionError> {
        let text = self.session.expand(template).into_owned();
        self.session.send(text.as_bytes()).await
    }

    /// Reports who the client is, once.
    async fn introduce(&mut self) {
        let facts = self.told.facts();
        if !facts.is_empty() {
            self.session.handshake(facts).await;
        }
    }
}

impl Told {
    fn option(&mut self, verb: u8, option: u8) {
        let word = match verb {
            wire::WILL => "will",
            wire::WONT => "wont",
            wire::DO => "do",
            _ => "dont",
        };
        self.count += 1;
        if self.count <= OPTIONS_MAX {
            let comma = if self.options.is_empty() { "" } else { "," };
            self.options.push_str(&format!("{comma}{word} {option}"));
        }
    }

    fn sub(&mut self, option: u8, body: &[u8], masks: bool) {
        self.answers.add(option);
        match (option, body) {
            (option::TTYPE, [0, name @ ..]) => {
                self.terminal.get_or_insert_with(|| text::clean(name));
            }
            (option::NAWS, _) => {
                let size = wire::window(body).map(|(columns, rows)| format!("{columns}x{rows}").into());
                self.window = size.or(self.window.take());
            }
            (option::NEW_ENVIRON, _) => self.variables(wire::environment(body), masks),
            _ => {}
        }
    }

    fn variables(&mut self, variables: Vec<(Vec<u8>, Vec<u8>)>, masks: bool) {
        for (name, value) in variables {
            if self.environment.len() >= VARIABLES_MAX {
                return;
            }
            let is_secret = masks && names::kind(&name).is_some();
            let stars = vec![b'*'; value.len()];
            let shown = text::clean(&[&name, &b"="[..], if is_secret { &stars } else { &value }].concat());
            if !self.environment.contains(&shown) {
                self.environment.push(shown);
            }
            // NetKit hands USER to login, which then asks for the password only.
            if name == b"USER" && !value.is_empty() && !value.starts_with(b"-") {
                self.user = Some(value);
            }
        }
    }

    fn facts(&self) -> Vec<(Field, Value)> {
        let mut facts = Vec::new();
        if !self.options.is_empty() {
            facts.push((Field::TelnetOptions, self.options.as_str().into()));
        }
        if let Some(terminal) = &self.terminal {
            facts.push((Field::TelnetTerminal, terminal.clone().into()));
        }
        if let Some(window) = &self.window {
            facts.push((Field::TelnetWindow, window.clone().into()));
        }
        if !self.environment.is_empty() {
            facts.push((Field::TelnetEnvironment, self.environment.clone().into()));
        }
        facts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decoy::personality::embedded;
    use crate::decoy::testing::{Stage, fact, spec};

    #[tokio::test]
    async fn a_password_typed_behind_the_user_is_hidden() {
        for (sent, user) in [
            (&b"root Sup3rPass\r\nx\r\n"[..], "root"),
            (b"Authorization: Basic Sup3rPass\r\nx\r\n", "Authorization"),
        ] {
            let text = embedded("telnet-busybox").expect("it is embedded");
            let mut stage = Stage::open(spec(&text.replace("delay_ms = 3000", "delay_ms = 0"))).await;
            stage.talk(sent).await;
            let hits = stage.session().await;
            assert!(hits.iter().any(|hit| fact(hit, Field::UserName) == Some(&user.into())));
            let capture = hits.iter().find_map(|hit| hit.capture.as_ref()).expect("a capture");
            let mut kept = capture.kept.clone();
            for range in &capture.secrets {
                kept[range.clone()].fill(b'*');
            }
            let shown = format!("{:?}{kept:?}", hits.iter().map(|hit| &hit.facts).collect::<Vec<_>>());
            assert!(!shown.contains("Sup3r") && !kept.windows(5).any(|five| five == b"Sup3r"));
        }
    }

    /// 10,000 clients that say nothing are to cost little.
    #[test]
    fn a_silent_client_costs_no_room_for_a_login() {
        fn size<F: Future>(_: impl FnOnce(&'static mut Session) -> F) -> usize {
            size_of::<F>()
        }
        let size = size(talk);
        assert!(size <= 1100, "{size}");
    }
}
