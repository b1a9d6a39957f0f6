//! `mysql`: a MySQL or MariaDB server that knows nobody.
//!
//! In: the client's answer to the greeting, within TLS if it asks for that first and the server has it. Out: what it says of itself as a handshake, and one credential: the proof
//! of its password, which can be cracked and so is a secret like one. Kept in clear, it is a line for hashcat (mode
//! 11200) and john: `$mysqlna$SALT*PROOF`. A client that proves itself in another way is asked for this one, as a server
//! does whose accounts have it.
//!
//! Source: mariadbd 10.11 of Debian 12 was asked all that the tests ask; MySQL 8.0 is from its manual and greetings seen.

#[cfg(test)]
mod tests;
mod wire;

use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::time::Instant;
use trapline_schemas::ids;
use trapline_schemas::{Field, Value, text};

use self::wire::{HEADER, Login, capability};
use crate::decoy::personality;
use crate::decoy::services::{Service, Speak};
use crate::decoy::session::{Session, SessionError};

/// The row.
pub(super) const SERVICE: Service = Service {
    name: "mysql",
    personality: "mariadb-debian-12",
    look: personality::look::<Look>,
    provide: None,
    speak: Speak::Stream(serve),
};

/// Bytes of a packet that are looked at; the rest is passed over.
const PACKET_MAX: usize = 16 << 10;

/// How long a client may take over each packet of the login (`connect_timeout`).
const PATIENCE: Duration = Duration::from_secs(10);

/// The proof that accounts of this server have.
const NATIVE: &[u8] = b"mysql_native_password";

/// Bytes of a proof of that kind, and of what it is made with.
const SCRAMBLE: usize = 20;

/// `[look]` of a `mysql` personality.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Look {
    /// The version in the greeting.
    version: String,
    /// Capability flags.
    capabilities: u32,
    /// MariaDB's further capability flags; 0: none.
    #[serde(default)]
    extended: u32,
    /// Number of the default collation.
    charset: u8,
    /// The name in its own words.
    name: String,
    /// Whether the salt is printable; else it has any of seven bits but NUL and `$`.
    printable_salt: bool,
    /// Whether a proxy's header is known, and refused.
    proxy_header: bool,
    /// The connection that came last; as after a start, the first are few.
    #[serde(skip)]
    thread: AtomicU32,
}

/// Threads that serve the server itself, before the first client.
const OWN_THREADS: u32 = 7;

impl Look {
    /// The number of the next connection.
    fn next_thread(&self) -> u32 {
        self.thread
            .fetch_add(1, Ordering::Relaxed)
            .wrapping_add(OWN_THREADS + 1)
    }

    fn salt(&self) -> [u8; SCRAMBLE] {
        let printable = || rand::random_range(b'!'..=b'~');
        let seven_bits = || match rand::random_range(1..=0x7f) {
            b'$' => b'%',
            byte => byte,
        };
        std::array::from_fn(|_| if self.printable_salt { printable() } else { seven_bits() })
    }

    /// `further`: capabilities besides its own.
    fn greeting(&self, salt: &[u8; SCRAMBLE], further: u32) -> Vec<u8> {
        const AUTOCOMMIT: u16 = 2;
        let [first, second] = [salt.get(..8), salt.get(8..)].map(Option::unwrap_or_default);
        let [low_a, low_b, high_a, high_b] = (self.capabilities | further).to_le_bytes();
        let mut out = vec![10];
        out.extend_from_slice(self.version.as_bytes());
        out.push(0);
        out.extend_from_slice(&self.next_thread().to_le_bytes());
        out.extend_from_slice(first);
        out.extend_from_slice(&[0, low_a, low_b, self.charset]);
        out.extend_from_slice(&AUTOCOMMIT.to_le_bytes());
        out.extend_from_slice(&[high_a, high_b, 21, 0, 0, 0, 0, 0, 0]);
        out.extend_from_slice(&self.extended.to_le_bytes());
        out.extend_from_slice(second);
        out.push(0);
        out.extend_from_slice(NATIVE);
        out.push(0);
        wire::packet(0, &out)
    }
}

fn serve(session: &mut Session) -> BoxFuture<'_, Result<(), SessionError>> {
    talk(session).boxed()
}

async fn talk(session: &mut Session) -> Result<(), SessionError> {
    let personality = session.personality();
    let look: &Look = personality.look();
    let salt = look.salt();
    let offers_tls = session.has_tls() && !session.is_secure();
    let further = if offers_tls { capability::SSL } else { 0 };
    session.send(&look.greeting(&salt, further)).await?;
    // On the heap, so that a silent session does not hold the room of what comes after.
    let Some(packet) = Box::pin(next(session, look, 1)).await? else {
        return Ok(());
    };
    if !offers_tls || !wire::wants_tls(&packet.payload) {
        return Box::pin(log_in(session, look, &salt, &packet, 2)).await;
    }
    Box::pin(session.start_tls()).await?;
    match Box::pin(next(session, look, 2)).await? {
        Some(packet) => Box::pin(log_in(session, look, &salt, &packet, 3)).await,
        None => Ok(()),
    }
}

/// Answers a login; `sequence`: the number of the answer.
async fn log_in(
    session: &mut Session,
    look: &Look,
    salt: &[u8; SCRAMBLE],
    packet: &Packet,
    sequence: u8,
) -> Result<(), SessionError> {
    let mut login = match wire::login(&packet.payload) {
        // TLS was not offered.
        Ok(login) if login.capabilities & capability::SSL == 0 || session.is_secure() => login,
        Ok(_) => return bad_handshake(session, sequence, true).await,
        Err(bad) => {
            session.hide(packet.place(&(0..packet.length)));
            return bad_handshake(session, sequence, bad.has_state).await;
        }
    };
    let place = packet.place(&login.proof);
    session.mark_secret(place);
    let proof = packet.payload.get(login.proof.clone()).unwrap_or_default().to_vec();
    introduce(session, &mut login).await;
    let answer = Answer {
        session,
        look,
        salt,
        login,
        sequence,
    };
    match () {
        () if answer.is(capability::PLUGIN) && answer.login.plugin != NATIVE => answer.ask_for_native(proof).await,
        () if answer.is(capability::SECURE) => answer.judge(proof).await,
        () => answer.judge_old(proof).await,
    }
}

/// A packet of the client, or its beginning.
struct Packet {
    payload: Vec<u8>,
    /// Where it is in the stream.
    at: u64,
    /// Its whole length.
    length: usize,
}

impl Packet {
    fn place(&self, range: &Range<usize>) -> Range<u64> {
        self.at + range.start as u64..self.at + range.end as u64
    }
}

/// Waits for a packet with this number. `None`: it was none, and the client has been told.
async fn next(session: &mut Session, look: &Look, sequence: u8) -> Result<Option<Packet>, SessionError> {
    let until = Instant::now() + PATIENCE;
    while session.input().len() < HEADER {
        if !more(session, until).await? {
            return Ok(None);
        }
    }
    if look.proxy_header
        && sequence == 1
        && matches!(
            session.input(),
            [b'P', b'R', b'O', b'X', ..] | [b'\r', b'\n', b'\r', b'\n', ..]
        )
    {
        let text = format!("Proxy header is not accepted from {}", session.peer().ip());
        return refuse(session, sequence, &wire::error(1130, Some("HY000"), text.as_bytes())).await;
    }
    let (length, number) = wire::header(session.input()).unwrap_or_default();
    if number != sequence {
        let text = b"Got packets out of order";
        return refuse(session, sequence, &wire::error(1156, Some("08S01"), text)).await;
    }
    session.consume(HEADER);
    let at = session.position();
    let mut payload = Vec::new();
    let mut left = length;
    while left > 0 {
        let room = PACKET_MAX - payload.len();
        let come = session.input().len().min(left);
        // What may be part of it waits in the input until it is whole, or is passed over.
        if come < left && come < PACKET_MAX {
            if !more(session, until).await? {
                return Ok(None);
            }
            continue;
        }
        payload.extend_from_slice(session.input().get(..come.min(room)).unwrap_or_default());
        session.consume(come);
        left -= come;
    }
    Ok(Some(Packet { payload, at, length }))
}

/// Waits for bytes. `false`: the server has lost patience, and resets. What was sent so far may be half a login.
async fn more(session: &mut Session, until: Instant) -> Result<bool, SessionError> {
    let left = until.saturating_duration_since(Instant::now());
    let come = session.fill_within(left).await;
    if !matches!(come, Ok(1..)) {
        session.hide_input();
        session.drop_input();
    }
    if matches!(come, Ok(0)) {
        session.abort();
    }
    come.map(|count| count > 0)
}

/// Says why, and closes: with RST if it has not read all, as a server that reads packet by packet.
async fn refuse<T>(session: &mut Session, sequence: u8, error: &[u8]) -> Result<Option<T>, SessionError> {
    session.send(&wire::packet(sequence, error)).await?;
    if session.input().len() > HEADER {
        session.abort();
    }
    Ok(None)
}

async fn bad_handshake(session: &mut Session, sequence: u8, has_state: bool) -> Result<(), SessionError> {
    let error = wire::error(1043, has_state.then_some("08S01"), b"Bad handshake");
    last_words(session, sequence, &error).await
}

async fn last_words(session: &mut Session, sequence: u8, error: &[u8]) -> Result<(), SessionError> {
    session.send(&wire::packet(sequence, error)).await?;
    if !session.input().is_empty() {
        session.abort();
    }
    Ok(())
}

/// Reports what the client says of itself.
async fn introduce(session: &mut Session, login: &mut Login) {
    let mut facts: Vec<(Field, Value)> = Vec::new();
    if !login.database.is_empty() {
        facts.push((Field::DatabaseName, text::clean(&login.database).into()));
    }
    let pairs = std::mem::take(&mut login.attributes);
    let mut attributes: Vec<_> = pairs
        .iter()
        .map(|(name, value)| text::clean(&[name, &b"="[..], value].concat()))
        .collect();
    if !login.plugin.is_empty() {
        attributes.push(text::clean(&[b"plugin=", &login.plugin[..]].concat()));
    }
    if !attributes.is_empty() {
        facts.push((Field::ClientAttributes, attributes.into()));
    }
    if !facts.is_empty() {
        session.handshake(facts).await;
    }
}

/// What is left to say once the login has been read.
struct Answer<'a> {
    session: &'a mut Session,
    look: &'a Look,
    salt: &'a [u8; SCRAMBLE],
    login: Login,
    /// The number of what is said next.
    sequence: u8,
}

impl Answer<'_> {
    fn is(&self, flag: u32) -> bool {
        self.login.capabilities & flag != 0
    }

    fn state(&self, state: &'static str) -> Option<&'static str> {
        self.is(capability::PROTOCOL_41).then_some(state)
    }

    /// The client proves itself in another way than the account wants.
    async fn ask_for_native(mut self, first: Vec<u8>) -> Result<(), SessionError> {
        let clear = self.login.plugin == b"mysql_clear_password" && !first.is_empty();
        if clear {
            self.report(&first).await;
        }
        let request = [&[0xfe], NATIVE, &[0], self.salt, &[0]].concat();
        self.session.send(&wire::packet(self.sequence, &request)).await?;
        match next(self.session, self.look, self.sequence + 1).await {
            Ok(Some(packet)) => {
                self.session.mark_secret(packet.place(&(0..packet.length)));
                self.sequence += 2;
                self.judge(packet.payload).await
            }
            // One that does not go on has proved itself all the same.
            ended => {
                if !clear {
                    self.report(&first).await;
                }
                ended.map(drop)
            }
        }
    }

    /// Judges a proof of the kind that accounts have: none is right.
    async fn judge(mut self, proof: Vec<u8>) -> Result<(), SessionError> {
        self.login.plugin = NATIVE.to_vec();
        self.report(&proof).await;
        if !proof.is_empty() && proof.len() != SCRAMBLE {
            let has_state = self.is(capability::PROTOCOL_41);
            return bad_handshake(self.session, self.sequence, has_state).await;
        }
        self.deny(!proof.is_empty()).await
    }

    /// Proofs of before 4.1 are not taken.
    async fn judge_old(mut self, proof: Vec<u8>) -> Result<(), SessionError> {
        self.login.plugin = b"mysql_old_password".to_vec();
        self.report(&proof).await;
        if proof.is_empty() {
            return self.deny(false).await;
        }
        let text = format!(
            "Client does not support authentication protocol requested by server; consider upgrading {} client",
            self.look.name
        );
        let error = wire::error(1251, self.state("08004"), text.as_bytes());
        last_words(self.session, self.sequence, &error).await
    }

    async fn deny(self, has_password: bool) -> Result<(), SessionError> {
        let peer = self.session.peer().ip();
        let using = if has_password { "YES" } else { "NO" };
        let mut text = b"Access denied for user '".to_vec();
        text.extend(wire::shown(&self.login.user, self.login.charset));
        text.extend_from_slice(format!("'@'{peer}' (using password: {using})").as_bytes());
        let error = wire::error(1045, self.state("28000"), &text);
        last_words(self.session, self.sequence, &error).await
    }

    /// A proof is a secret: whoever has it and the salt can try passwords against it.
    async fn report(&mut self, proof: &[u8]) {
        let (kind, secret) = match (self.login.plugin.as_slice(), proof) {
            (_, []) => ("password", Vec::new()),
            (b"mysql_clear_password", typed) => ("password", typed.strip_suffix(&[0]).unwrap_or(typed).to_vec()),
            (NATIVE, proof) => {
                let line = format!("$mysqlna${}*{}", ids::hex(self.salt), ids::hex(proof));
                ("hash", line.into_bytes())
            }
            (plugin, proof) => {
                let plugin = text::clean(plugin);
                let line = format!("{plugin}:{}*{}", ids::hex(self.salt), ids::hex(proof));
                ("hash", line.into_bytes())
            }
        };
        let user = std::mem::take(&mut self.login.user);
        self.session.credential(kind, &user, &secret, Vec::new()).await;
        self.login.user = user;
    }
}
