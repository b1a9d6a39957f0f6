//! `ssh`: an OpenSSH server up to the key exchange.
//!
//! In: the client's identification and packets. Out: one handshake with its version and HASSH. The identification
//! goes out at once, the KEXINIT unasked as soon as the client has identified itself; refusals are those of the
//! claimed version (see [`ident`]).
//!
//! After both KEXINITs a real server would compute keys. This one has no host key: it takes the time of a slow machine
//! and then closes without a word, which is what every sshd does when it gives up before keys are in force: a live
//! 9.2p1 answered a failed negotiation, corrupt packets and unknown messages with a bare FIN (its disconnect message
//! does not survive privilege separation). If nothing is common to both sides it closes at once, as that server did.
//!
//! It never sees a user or a password.

mod ident;
mod packet;

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::time::Instant;
use trapline_schemas::{Field, Value, text};

use self::ident::{Rules, Verdict};
use self::packet::{Framed, Kexinit, Offer};
use crate::decoy::personality;
use crate::decoy::services::{Service, Speak};
use crate::decoy::session::{Session, SessionError};

/// The row.
pub(super) const SERVICE: Service = Service {
    name: "ssh",
    personality: "openssh-ubuntu-22.04",
    look: personality::look::<Look>,
    speak: Speak::Stream(serve),
};

/// Longest algorithm text in an event, characters: clients of today offer about 1,100.
const ALGORITHMS_CHARS_MAX: usize = 2048;

/// Time a slow machine takes over a key exchange before it gives up.
const COMPUTING: Duration = Duration::from_millis(2600);

/// `[look]` of an `ssh` personality.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Look {
    /// The identification, without line end.
    banner: String,
    /// How it judges the client's: `until-7.9` or `since-8.0`.
    ident: Rules,
    /// The algorithms of its KEXINIT.
    offer: Offer,
}

fn serve(session: &mut Session) -> BoxFuture<'_, Result<(), SessionError>> {
    talk(session).boxed()
}

async fn talk(session: &mut Session) -> Result<(), SessionError> {
    let personality = session.personality();
    let look: &Look = personality.look();
    let ident_first = session.has_waiting();
    let banner = format!("{}\r\n", look.banner);
    session.send(banner.as_bytes()).await?;
    let mut facts = Vec::with_capacity(4);
    let known = identify(session, look.ident, &mut facts).await;
    if !facts.is_empty() {
        facts.push((Field::SshIdentFirst, ident_first.into()));
    }
    let ended = match known {
        Ok(true) => exchange(session, &look.offer, &mut facts).await,
        Ok(false) => Ok(Exchange::Over),
        Err(error) => Err(error),
    };
    if !facts.is_empty() {
        session.handshake(facts).await;
    }
    match ended? {
        Exchange::Over => Ok(()),
        Exchange::Agreed => compute(session).await,
    }
}

/// Reads the client's identification into `facts`. `false`: it was refused and told so.
async fn identify(session: &mut Session, rules: Rules, facts: &mut Vec<(Field, Value)>) -> Result<bool, SessionError> {
    loop {
        let (line, end, writes) = match ident::judge(session.input(), rules) {
            Verdict::More => {
                session.fill().await?;
                continue;
            }
            Verdict::Accept { line, end } => (Some(line), end, None),
            Verdict::Refuse { line, end, writes } => (line, end, Some(writes)),
        };
        if let Some(version) = line.and_then(|line| session.input().get(line)) {
            facts.push((Field::SshClientVersion, text::clean(version).into()));
        }
        session.consume(end);
        let Some(writes) = writes else {
            return Ok(true);
        };
        for text in writes {
            session.send(text.as_bytes()).await?;
        }
        return Ok(false);
    }
}

/// How far the exchange of KEXINITs came.
enum Exchange {
    /// Both sides could go on.
    Agreed,
    /// The server gives up.
    Over,
}

/// Sends our KEXINIT and reads the client's into `facts`.
async fn exchange(
    session: &mut Session,
    offer: &Offer,
    facts: &mut Vec<(Field, Value)>,
) -> Result<Exchange, SessionError> {
    session.send(&packet::kexinit(rand::random(), offer)).await?;
    let mut sequence = 0_u32;
    loop {
        let (payload, end) = match packet::frame(session.input()) {
            Framed::More => {
                session.fill().await?;
                continue;
            }
            Framed::Corrupt => return Ok(give_up(session)),
            Framed::Packet { payload, end } => (payload, end),
        };
        let payload = session.input().get(payload).unwrap_or_default();
        match payload.first().copied().unwrap_or(0) {
            packet::KEXINIT => {
                let agreed = note(payload, offer, facts);
                session.consume(end);
                return Ok(if agreed { Exchange::Agreed } else { give_up(session) });
            }
            // Ignore, unimplemented, debug.
            2..=4 => drop(session.consume(end)),
            5..=49 => {
                session.consume(end);
                session.send(&packet::unimplemented(sequence)).await?;
            }
            _ => return Ok(give_up(session)),
        }
        sequence = sequence.wrapping_add(1);
    }
}

/// Puts what a KEXINIT tells into `facts`; whether the two sides have algorithms in common.
fn note(payload: &[u8], offer: &Offer, facts: &mut Vec<(Field, Value)>) -> bool {
    let Some(kexinit) = Kexinit::read(payload) else {
        return false;
    };
    let algorithms = kexinit.algorithms();
    facts.push((Field::SshHassh, packet::hassh(&algorithms).into()));
    let shown = text::clean_within(&algorithms, ALGORITHMS_CHARS_MAX);
    facts.push((Field::SshHasshAlgorithms, shown.into()));
    kexinit.agrees(offer)
}

/// A server that gives up has read what came: it closes with FIN.
fn give_up(session: &mut Session) -> Exchange {
    session.consume(usize::MAX);
    Exchange::Over
}

/// Takes the time of a slow machine, reading on as a server does, and gives up.
async fn compute(session: &mut Session) -> Result<(), SessionError> {
    let until = Instant::now() + COMPUTING.mul_f64(rand::random_range(0.7..1.3));
    loop {
        session.consume(usize::MAX);
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || session.fill_within(left).await? == 0 {
            return Ok(());
        }
    }
}
