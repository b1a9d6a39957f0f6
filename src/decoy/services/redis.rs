//! `redis`: a server that wants a password and never gets the right one.
//!
//! In: inline commands and RESP arrays. Out: a credential for each AUTH and HELLO … AUTH, a query for each other
//! command, and the client's own name of itself as a handshake. The order of refusals is the server's: a command that
//! it does not know, a wrong count of arguments, a command that is not allowed, and only then the missing login.
//!
//! Invariant: what a peer offers as a secret is in no captured form, also in a command that was cut short.
//!
//! Source: redis-server 7.0.15 of Debian 12 was asked all that the tests ask; see [`wire`] for the protocol.

mod secrets;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::HashMap;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde::de::{Deserialize, Deserializer, Error as _};
use trapline_schemas::{Field, Value, text};

use self::secrets::Secret;
use self::wire::{Command, Reader, Step};
use crate::decoy::personality;
use crate::decoy::services::{Service, Speak, lines};
use crate::decoy::session::{Session, SessionError};

/// The row.
pub(super) const SERVICE: Service = Service {
    name: "redis",
    personality: "redis-debian-12",
    look: personality::look::<Look>,
    provide: None,
    speak: Speak::Stream(serve),
};

/// Answers that may wait until all that came has been read, bytes.
const ANSWERS_MAX: usize = 16 << 10;

/// What the server reads at once, bytes: of what came so far nothing is left for the kernel to reset for.
const READ_AT_ONCE: usize = 16 << 10;

/// Most bytes of an unknown command that are said back, and of all its arguments.
const SAID_BACK_MAX: usize = 128;

const NO_LOGIN: &str = "NOAUTH Authentication required.";

const WRONG_LOGIN: &str = "WRONGPASS invalid username-password pair or user is disabled.";

const NO_LOGIN_IN_HELLO: &str = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO \
                                 AUTH <user> <pass> option can be used to authenticate the client and select the RESP \
                                 protocol version at the same time";

/// Commands that monitors and the clients' own start send.
const COMMON: [&str; 7] = ["client", "command", "echo", "hello", "info", "ping", "reset"];

/// `[look]` of a `redis` personality.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Look {
    /// What it knows: `name:arity` apart by blanks, as COMMAND tells; a subcommand is `name|subcommand:arity`. An arity
    /// below zero is a least count.
    commands: Commands,
    /// Commands, or `name|subcommand`, that are not allowed before any login is asked for.
    not_allowed: Vec<String>,
}

/// Commands by their lower-case full names, with their arity.
#[derive(Debug)]
struct Commands(HashMap<String, i32>);

impl<'de> Deserialize<'de> for Commands {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let read = |word: &str| {
            let (name, arity) = word.rsplit_once(':')?;
            Some((name.to_owned(), arity.parse().ok()?))
        };
        let each = text.split_whitespace();
        let pairs = each.map(|word| read(word).ok_or_else(|| D::Error::custom(format!("`{word}` is no `name:arity`"))));
        pairs.collect::<Result<_, _>>().map(Self)
    }
}

impl Commands {
    fn has_subcommands(&self, name: &str) -> bool {
        let before = format!("{name}|");
        self.0.keys().any(|known| known.starts_with(&before))
    }
}

fn serve(session: &mut Session) -> BoxFuture<'_, Result<(), SessionError>> {
    talk(session).boxed()
}

async fn talk(session: &mut Session) -> Result<(), SessionError> {
    let mut reader = Reader::default();
    let mut said = Vec::new();
    loop {
        match reader.step(session.input(), session.position()) {
            Step::More => {
                say(session, &mut said).await?;
                if let Err(error) = session.fill().await {
                    hide_unfinished(session, &reader);
                    return Err(error);
                }
            }
            Step::Read(count) => {
                session.consume(count);
            }
            Step::Command(count, command) => {
                session.consume(count);
                // On the heap, so that a silent session does not hold the room of an answer.
                if Box::pin(answer(session, &command, &mut said)).await == Next::Close {
                    return hang_up(session, &said).await;
                }
            }
            Step::Wrong(fault) => {
                hide_unfinished(session, &reader);
                said.extend_from_slice(&fault.said());
                return hang_up(session, &said).await;
            }
        }
        if said.len() > ANSWERS_MAX {
            say(session, &mut said).await?;
        }
    }
}

/// Answers go out together, when all that came has been read.
async fn say(session: &mut Session, said: &mut Vec<u8>) -> Result<(), SessionError> {
    session.send(&std::mem::take(said)).await
}

/// The last words; what has come meanwhile is read, so that they arrive.
async fn hang_up(session: &mut Session, said: &[u8]) -> Result<(), SessionError> {
    session.send(said).await?;
    let mut read = 0;
    while read < READ_AT_ONCE && session.has_waiting() {
        hide_input(session);
        session.drop_input();
        match session.fill_within(Duration::ZERO).await? {
            0 => break,
            count => read += count,
        }
    }
    hide_input(session);
    session.drop_input();
    Ok(())
}

fn hide_input(session: &mut Session) {
    if lines::names_a_secret(session.input()) {
        session.hide_input();
    }
}

/// A command that was cut short may be a login.
fn hide_unfinished(session: &mut Session, reader: &Reader) {
    let Some((from, arguments)) = reader.unfinished() else {
        return hide_input(session);
    };
    let mut bytes = arguments.iter().fold(Vec::new(), |mut all, argument| {
        all.extend_from_slice(&argument.bytes);
        all.push(b' ');
        all
    });
    bytes.extend_from_slice(session.input());
    let carries = [&b"auth"[..], b"hello", b"config", b"acl", b"migrate"];
    let first = arguments.first().map_or(&[][..], |first| &first.bytes);
    if lines::names_a_secret(&bytes) || carries.iter().any(|name| first.eq_ignore_ascii_case(name)) {
        let end = session.position() + session.input().len() as u64;
        session.hide(from..end);
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    Command,
    Close,
}

async fn answer(session: &mut Session, command: &Command, said: &mut Vec<u8>) -> Next {
    report(session, command).await;
    let name = command.argument(0);
    // Browsers that are made to speak to a server: it hangs up, and what it would have said is lost.
    if name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:") {
        said.clear();
        return Next::Close;
    }
    if name.eq_ignore_ascii_case(b"quit") {
        said.extend_from_slice(b"+OK\r\n");
        return Next::Close;
    }
    let personality = session.personality();
    let reply = reply(personality.look(), command);
    said.extend_from_slice(&reply);
    Next::Command
}

/// What the server says to a client that has not logged in.
fn reply(look: &Look, command: &Command) -> Vec<u8> {
    match refusal(look, command) {
        // A transaction that is not there is refused with its own word.
        Some(text) if command.argument(0).eq_ignore_ascii_case(b"exec") => {
            let text = text.strip_prefix(b"ERR ").unwrap_or(&text);
            error(&[b"EXECABORT Transaction discarded because of: ", text].concat())
        }
        Some(text) => error(&text),
        None => b"+RESET\r\n".to_vec(),
    }
}

/// An error line; what ends a line within it is a blank.
fn error(text: &[u8]) -> Vec<u8> {
    let mut out = vec![b'-'];
    out.extend(
        text.iter()
            .map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }),
    );
    out.extend_from_slice(b"\r\n");
    out
}

/// Why it is refused, in the server's order. `None`: it is not.
fn refusal(look: &Look, command: &Command) -> Option<Vec<u8>> {
    let typed = String::from_utf8_lossy(command.argument(0)).to_lowercase();
    let Some(mut arity) = look.commands.0.get(&typed).copied() else {
        return Some(unknown(command));
    };
    let mut name = typed;
    if command.count > 1 && look.commands.has_subcommands(&name) {
        let full = format!("{name}|{}", String::from_utf8_lossy(command.argument(1)).to_lowercase());
        match look.commands.0.get(&full) {
            Some(own) => (name, arity) = (full, *own),
            None => return Some(unknown_subcommand(&name, command.argument(1))),
        }
    }
    if !fits(arity, command.count) {
        return Some(format!("ERR wrong number of arguments for '{name}' command").into_bytes());
    }
    if look.not_allowed.contains(&name) {
        return Some(not_allowed(name.split('|').next().unwrap_or(&name)));
    }
    match name.as_str() {
        "auth" if command.count > 3 => Some(b"ERR syntax error".to_vec()),
        "auth" => Some(WRONG_LOGIN.into()),
        "hello" => Some(hello(command)),
        "reset" => None,
        _ => Some(NO_LOGIN.into()),
    }
}

fn fits(arity: i32, count: usize) -> bool {
    let least = usize::try_from(arity.unsigned_abs()).unwrap_or(usize::MAX);
    if arity < 0 { count >= least } else { count == least }
}

/// As C prints a text: to the first NUL.
fn printed(bytes: &[u8], max: usize) -> &[u8] {
    let end = memchr::memchr(0, bytes).unwrap_or(bytes.len()).min(max);
    bytes.get(..end).unwrap_or_default()
}

fn unknown(command: &Command) -> Vec<u8> {
    let mut shown = Vec::new();
    for argument in command.arguments.iter().skip(1) {
        if shown.len() >= SAID_BACK_MAX {
            break;
        }
        let room = SAID_BACK_MAX - shown.len();
        shown.push(b'\'');
        shown.extend_from_slice(printed(&argument.bytes, room));
        shown.extend_from_slice(b"' ");
    }
    let name = printed(command.argument(0), SAID_BACK_MAX);
    [b"ERR unknown command '", name, b"', with args beginning with: ", &shown].concat()
}

fn unknown_subcommand(name: &str, subcommand: &[u8]) -> Vec<u8> {
    let help = format!("'. Try {} HELP.", name.to_uppercase());
    [
        b"ERR unknown subcommand '",
        printed(subcommand, SAID_BACK_MAX),
        help.as_bytes(),
    ]
    .concat()
}

fn not_allowed(name: &str) -> Vec<u8> {
    format!(
        "ERR {} command not allowed. If the enable-{name}-command option is set to \"local\", you can run it from a \
         local connection, otherwise you need to set this option in the configuration file, and then restart the server.",
        name.to_uppercase()
    )
    .into_bytes()
}

/// HELLO reads its options one by one, and fails at the first that does.
fn hello(command: &Command) -> Vec<u8> {
    if command.count > 1 {
        match wire::integer(command.argument(1)) {
            None => return b"ERR Protocol version is not an integer or out of range".to_vec(),
            Some(2 | 3) => {}
            Some(_) => return b"NOPROTO unsupported protocol version".to_vec(),
        }
    }
    let mut at = 2;
    while at < command.count {
        let option = command.argument(at);
        match command.count - 1 - at {
            2.. if option.eq_ignore_ascii_case(b"AUTH") => return WRONG_LOGIN.into(),
            1.. if option.eq_ignore_ascii_case(b"SETNAME") && is_name(command.argument(at + 1)) => at += 2,
            1.. if option.eq_ignore_ascii_case(b"SETNAME") => {
                return b"ERR Client names cannot contain spaces, newlines or special characters.".to_vec();
            }
            _ => return [b"ERR Syntax error in HELLO option '", printed(option, usize::MAX), b"'"].concat(),
        }
    }
    NO_LOGIN_IN_HELLO.into()
}

fn is_name(name: &[u8]) -> bool {
    name.iter().all(u8::is_ascii_graphic)
}

/// Reports a command; what is secret in it is hidden before.
async fn report(session: &mut Session, command: &Command) {
    let secret = secrets::of(command);
    hide(session, command, &secret);
    introduce(session, command).await;
    if let Some((user, secret)) = login(command) {
        return session.credential("password", user, secret, Vec::new()).await;
    }
    let shown = secrets::shown(command, &secret, session.masks());
    let name = String::from_utf8_lossy(command.argument(0)).to_lowercase();
    let personality = session.personality();
    let is_known = personality.look::<Look>().commands.0.contains_key(&name);
    match name.as_str() {
        "quit" => {}
        name if COMMON.contains(&name) || !is_known => session.request(&shown, Vec::new()).await,
        _ => session.query(&shown, Vec::new()).await,
    }
}

fn hide(session: &mut Session, command: &Command, secret: &Secret) {
    match secret {
        Secret::None => {}
        Secret::Arguments(places) => {
            for place in places.iter().filter_map(|at| command.arguments.get(*at)) {
                session.mark_secret(place.place.clone());
            }
        }
        Secret::Rest => {
            if login(command).is_some()
                && let Some(last) = command.arguments.last()
            {
                session.mark_secret(last.place.clone());
            } else if let Some(first) = command.arguments.first() {
                session.hide(first.place.end..command.place.end);
            }
        }
    }
}

/// The user, which may be empty, and the secret of a command that logs in.
fn login(command: &Command) -> Option<(&[u8], &[u8])> {
    let is = |at: usize, word: &[u8]| command.argument(at).eq_ignore_ascii_case(word);
    match command.count {
        2 if is(0, b"AUTH") => Some((b"", command.argument(1))),
        3 if is(0, b"AUTH") => Some((command.argument(1), command.argument(2))),
        5.. if is(0, b"HELLO") => {
            let auth = (2..command.arguments.len().saturating_sub(2)).find(|at| is(*at, b"AUTH"))?;
            Some((command.argument(auth + 1), command.argument(auth + 2)))
        }
        _ => None,
    }
}

/// What a client says of itself: HELLO, CLIENT SETNAME and CLIENT SETINFO.
async fn introduce(session: &mut Session, command: &Command) {
    let is = |at: usize, word: &[u8]| command.argument(at).eq_ignore_ascii_case(word);
    let told = match command.count {
        2.. if is(0, b"HELLO") => Some((&b"protocol"[..], command.argument(1))),
        3 if is(0, b"CLIENT") && is(1, b"SETNAME") => Some((&b"name"[..], command.argument(2))),
        4 if is(0, b"CLIENT") && is(1, b"SETINFO") => Some((command.argument(2), command.argument(3))),
        _ => None,
    };
    if let Some((name, value)) = told {
        let attribute = text::clean(&[name, b"=", value].concat());
        let facts = vec![(Field::ClientAttributes, Value::from(vec![attribute]))];
        session.handshake(facts).await;
    }
}
