//! `postgresql`: a server whose users are all unknown to it.
//!
//! In: requests for TLS and GSSAPI, cancellations, a startup packet, and a login by SCRAM-SHA-256 or by a password in
//! clear, as the personality says. Out: the parameters as a handshake, and one credential. The proof of SCRAM can be
//! cracked and is a secret; kept in clear it is what a cracker needs: the messages that it was made of, `,p=` and the
//! proof (RFC 5802 section 3: AuthMessage, ClientProof).
//!
//! A salt is the same for the same user on one install, as the server's own for users it does not have.
//!
//! Source: "Message Flow" of the manual; PostgreSQL 15.18 of Debian 12 was asked all that the tests ask.

mod fault;
#[cfg(test)]
mod tests;
mod wire;

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use trapline_schemas::{Field, Value, text};

use self::fault::{Fault, Lines};
use self::wire::{First, Startup};
use crate::decoy::personality;
use crate::decoy::services::{Service, Speak, lines};
use crate::decoy::session::{Session, SessionError};

/// The row.
pub(super) const SERVICE: Service = Service {
    name: "postgresql",
    personality: "postgresql-debian-12",
    look: personality::look::<Look>,
    provide: None,
    speak: Speak::Stream(serve),
};

/// Longest startup packet without its length, bytes (`MAX_STARTUP_PACKET_LENGTH`).
const STARTUP_MAX: usize = 10_000;

/// Longest message of SASL, its length included, bytes (`PG_MAX_SASL_MESSAGE_LENGTH`).
const SASL_MAX: usize = 1024;

/// Longest message with a password, its length included, bytes (`PG_MAX_AUTH_TOKEN_LENGTH`).
const PASSWORD_MAX: usize = 65_535;

/// Bytes of a message that are kept.
const KEPT_MAX: usize = 8 << 10;

/// Longest token of GSSAPI, bytes.
const TOKEN_MAX: usize = 65_532;

/// What the server reads at once, bytes.
const READ_AT_ONCE: usize = 8 << 10;

/// Most parameters that are reported.
const PARAMETERS_MAX: usize = 32;

const CANCEL: u32 = 80_877_102;
const SSL: u32 = 80_877_103;
const GSS: u32 = 80_877_104;

/// `[look]` of a `postgresql` personality.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Look {
    /// How a user has to prove itself.
    auth: Auth,
    /// Where its errors are raised.
    lines: Lines,
}

#[derive(Debug, Clone, Copy, serde::Deserialize)]
enum Auth {
    /// By a proof that tells no password.
    #[serde(rename = "scram-sha-256")]
    Scram,
    /// In clear.
    #[serde(rename = "password")]
    Password,
}

/// What ends a session before the client does.
enum End {
    /// The server says why, and hangs up.
    Fault(Fault),
    /// It hangs up.
    Silent,
    /// The session is over.
    Session(SessionError),
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<SessionError> for End {
    fn from(error: SessionError) -> Self {
        Self::Session(error)
    }
}

fn serve(session: &mut Session) -> BoxFuture<'_, Result<(), SessionError>> {
    talk(session).boxed()
}

async fn talk(session: &mut Session) -> Result<(), SessionError> {
    let personality = session.personality();
    let look: &Look = personality.look();
    let (ssl, gss) = (&mut false, &mut false);
    let end = loop {
        match request(session, ssl, gss).await {
            Ok(None) => {}
            // On the heap, so that a silent session does not hold the room of a login.
            Ok(Some(startup)) => break Box::pin(log_in(session, look, startup)).await,
            Err(end) => break end,
        }
    };
    match end {
        End::Fault(fault) => {
            session.send(&fault.said(&look.lines)).await?;
            read_out(session).await
        }
        End::Silent => read_out(session).await,
        End::Session(error) => {
            session.hide_input();
            Err(error)
        }
    }
}

/// Reads what the server would have read by now, so that it closes with FIN; it may hold a login.
async fn read_out(session: &mut Session) -> Result<(), SessionError> {
    let mut read = 0;
    loop {
        session.hide_input();
        session.drop_input();
        if read >= READ_AT_ONCE || !session.has_waiting() {
            return Ok(());
        }
        match session.fill_within(Duration::ZERO).await? {
            0 => return Ok(()),
            count => read += count,
        }
    }
}

/// Waits until so many bytes have come.
async fn wait_for(session: &mut Session, count: usize) -> Result<(), SessionError> {
    while session.input().len() < count {
        session.fill().await?;
    }
    Ok(())
}

/// One request before the login. `None`: another may follow.
async fn request(session: &mut Session, ssl: &mut bool, gss: &mut bool) -> Result<Option<Startup>, End> {
    wait_for(session, 4).await?;
    let length = wire::number(session.input(), 0).and_then(|length| usize::try_from(length).ok());
    let length = length.and_then(|length| length.checked_sub(4)).unwrap_or_default();
    if !(4..=STARTUP_MAX).contains(&length) {
        // What came is no packet of ours; a login of another protocol is known by its words.
        return Err(silent(session));
    }
    wait_for(session, 4 + length).await?;
    let packet = session.input().get(4..4 + length).unwrap_or_default().to_vec();
    let version = wire::number(&packet, 0).unwrap_or_default();
    match version {
        CANCEL => {
            session.consume(4 + length);
            session.request(b"CancelRequest", Vec::new()).await;
            Err(End::Silent)
        }
        SSL if !std::mem::replace(ssl, true) => {
            // TLS leaves nothing for GSSAPI to protect.
            *gss |= session.has_tls();
            Box::pin(answer_ssl(session, length)).await
        }
        GSS if !*gss => {
            session.consume(4 + length);
            session.send(b"G").await?;
            Err(gssapi(session).await)
        }
        _ => start(session, version, &packet).await.map(Some),
    }
}

/// Hangs up without a word, and without hiding what names no secret.
fn silent(session: &mut Session) -> End {
    if lines::names_a_secret(session.input()) {
        session.hide_input();
    }
    session.drop_input();
    End::Silent
}

async fn answer_ssl(session: &mut Session, length: usize) -> Result<Option<Startup>, End> {
    session.consume(4 + length);
    let alone = session.input().is_empty();
    if session.has_tls() {
        session.drop_input();
        session.send(b"S").await?;
        session.start_tls().await?;
    } else {
        session.send(b"N").await?;
    }
    if alone { Ok(None) } else { Err(Fault::AfterSsl.into()) }
}

/// Takes one token, which is never right.
async fn gssapi(session: &mut Session) -> End {
    let token = async {
        wait_for(session, 4).await?;
        let length = wire::number(session.input(), 0).and_then(|length| usize::try_from(length).ok());
        let mut left = length.filter(|length| *length <= TOKEN_MAX).unwrap_or_default();
        session.consume(4);
        while left > 0 {
            wait_for(session, 1).await?;
            session.hide_input();
            let come = session.input().len().min(left);
            session.consume(come);
            left -= come;
        }
        Ok(())
    };
    token.await.map_or_else(End::Session, |()| End::Silent)
}

/// Reads a startup packet, reports it and answers what of it is not spoken.
async fn start(session: &mut Session, version: u32, packet: &[u8]) -> Result<Startup, End> {
    let (major, minor) = (version >> 16, version & 0xffff);
    let whole = packet.len() + 4;
    if major != 3 {
        if lines::names_a_secret(packet) {
            session.hide_input();
        }
        session.consume(whole);
        return Err(Fault::Protocol(major, minor).into());
    }
    let startup = wire::startup(packet.get(4..).unwrap_or_default());
    session.consume(whole);
    let startup = startup?;
    introduce(session, &startup).await;
    if minor > 0 || !startup.unknown.is_empty() {
        session.send(&startup.negotiation()).await?;
    }
    if startup.user.is_empty() {
        Err(Fault::User.into())
    } else {
        Ok(startup)
    }
}

async fn introduce(session: &mut Session, startup: &Startup) {
    let mut facts: Vec<(Field, Value)> = Vec::new();
    if !startup.database.is_empty() {
        facts.push((Field::DatabaseName, text::clean(&startup.database).into()));
    }
    let others = startup.others.iter().take(PARAMETERS_MAX);
    let others: Vec<_> = others
        .map(|(name, value)| text::clean(&[name, &b"="[..], value].concat()))
        .collect();
    if !others.is_empty() {
        facts.push((Field::ClientAttributes, others.into()));
    }
    if !startup.user.is_empty() {
        facts.push((Field::UserName, session.user(&startup.user)));
    }
    session.handshake(facts).await;
}

async fn log_in(session: &mut Session, look: &Look, startup: Startup) -> End {
    let done = match look.auth {
        Auth::Scram => scram(session, &startup.user).await,
        Auth::Password => password(session, &startup.user).await,
    };
    match done {
        Ok(()) => Fault::Denied(startup.user).into(),
        Err(end) => end,
    }
}

/// A message of the client.
struct Message {
    /// Its beginning.
    body: Vec<u8>,
    /// Its last byte.
    last: u8,
    /// Where its body is in the stream.
    at: u64,
    /// Bytes of its whole body.
    length: usize,
}

/// Waits for a message of type `p`; `other`: the fault of one of another type. `None`: its length cannot be.
async fn next(session: &mut Session, max: usize, other: fn(u8) -> Fault) -> Result<Option<Message>, End> {
    wait_for(session, 1).await?;
    match session.input().first().copied() {
        Some(b'p') => {}
        kind => return Err(other(kind.unwrap_or_default()).into()),
    }
    wait_for(session, 5).await?;
    let length = wire::number(session.input(), 1).and_then(|length| usize::try_from(length).ok());
    let Some(length) = length
        .filter(|length| (4..=max).contains(length))
        .map(|length| length - 4)
    else {
        return Ok(None);
    };
    session.consume(5);
    let mut message = Message {
        body: Vec::new(),
        last: 0,
        at: session.position(),
        length,
    };
    let mut left = length;
    while left > 0 {
        wait_for(session, left.min(KEPT_MAX)).await?;
        let come = session.input().len().min(left);
        let bytes = session.input().get(..come).unwrap_or_default();
        message.last = bytes.last().copied().unwrap_or_default();
        let room = KEPT_MAX - message.body.len();
        message
            .body
            .extend_from_slice(bytes.get(..room.min(come)).unwrap_or_default());
        let place = session.consume(come);
        session.hide(place);
        left -= come;
    }
    Ok(Some(message))
}

/// A password in clear.
async fn password(session: &mut Session, user: &[u8]) -> Result<(), End> {
    session.send(&wire::message(b'R', &3_u32.to_be_bytes())).await?;
    let Some(message) = next(session, PASSWORD_MAX, Fault::PasswordType).await? else {
        return Err(End::Silent);
    };
    let typed = memchr::memchr(0, &message.body).unwrap_or(message.body.len());
    let secret = message.body.get(..typed).unwrap_or_default();
    session.mark_secret(message.at..message.at + typed as u64);
    session.credential("password", user, secret, Vec::new()).await;
    match message.length {
        1 if message.last == 0 => Err(Fault::PasswordEmpty.into()),
        length if message.last != 0 || typed + 1 < length.min(KEPT_MAX) => Err(Fault::PasswordSize.into()),
        0 => Err(Fault::PasswordSize.into()),
        _ => Ok(()),
    }
}

/// A message of SASL; one that cannot be is a wrong password, also one that is cut short.
async fn sasl(session: &mut Session, user: &[u8]) -> Result<Message, End> {
    match next(session, SASL_MAX, Fault::SaslType).await {
        Ok(Some(message)) => Ok(message),
        Err(End::Session(SessionError::Closed)) if session.input().is_empty() => Err(End::Silent),
        Ok(None) | Err(End::Session(SessionError::Closed)) => Err(Fault::Denied(user.to_vec()).into()),
        Err(end) => Err(end),
    }
}

/// SCRAM-SHA-256, bound to the certificate or not.
async fn scram(session: &mut Session, user: &[u8]) -> Result<(), End> {
    let endpoint = session.tls_endpoint();
    let endpoint = endpoint.as_deref();
    let bound = endpoint.map_or(&b""[..], |_| b"SCRAM-SHA-256-PLUS\0");
    let mechanisms = [&10_u32.to_be_bytes()[..], bound, b"SCRAM-SHA-256\0\0"].concat();
    session.send(&wire::message(b'R', &mechanisms)).await?;
    let message = sasl(session, user).await?;
    let (channel, place) = wire::initial(&message.body, endpoint)?;
    let first = match place {
        Some(place) => wire::first(message.body.get(place).unwrap_or_default(), channel)?,
        None => {
            session.send(&wire::message(b'R', &11_u32.to_be_bytes())).await?;
            wire::first(&sasl(session, user).await?.body, channel)?
        }
    };
    let (nonce, challenge) = challenge(session, user, &first);
    let body = [&11_u32.to_be_bytes()[..], &challenge].concat();
    session.send(&wire::message(b'R', &body)).await?;
    let message = sasl(session, user).await?;
    let last = wire::last(&message.body, &first)?;
    if last.nonce != nonce {
        return Err(Fault::Nonce.into());
    }
    let (without, proof) = message.body.split_at_checked(last.proof).unwrap_or_default();
    let proven = [&first.bare[..], b",", &challenge, b",", without, proof].concat();
    session.credential("hash", user, &proven, Vec::new()).await;
    Ok(())
}

/// Both nonces, and the server's first message.
fn challenge(session: &Session, user: &[u8], first: &First) -> (Vec<u8>, Vec<u8>) {
    let own: [u8; 18] = rand::random();
    let nonce = [&first.nonce[..], BASE64_STANDARD.encode(own).as_bytes()].concat();
    let label = format!("postgresql salt {}", user.escape_ascii());
    let drawn = session.personality().install.draw(&label);
    let salt = BASE64_STANDARD.encode(drawn.get(..16).unwrap_or_default());
    let said = [b"r=", &nonce[..], format!(",s={salt},i=4096").as_bytes()].concat();
    (nonce, said)
}
