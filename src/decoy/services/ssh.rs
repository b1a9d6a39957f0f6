//! `ssh`: an OpenSSH server that exchanges keys, hears who wants in, and lets nobody in.
//!
//! In: the client's identification and packets. Out: one handshake with its version and HASSH, a credential for each
//! password and public key. The identification goes out at once, the KEXINIT unasked as soon as the client has
//! identified itself; refusals are those of the claimed version (see [`ident`] and [`auth`]).
//!
//! Invariants:
//! 1. Every algorithm that the claimed version offers is spoken: [`offer`].
//! 2. The host keys are this install's and decoy's, at every visit: [`hostkey`].
//! 3. The captured payload ends where encryption begins: ciphertext is counted and hashed, and not kept. What was
//!    encrypted is in no captured form, so no secret is; what the sessions' keys were made of is forgotten with them.
//! 4. A silent client costs no more than its session; the state of a key exchange is on the heap.
//!
//! What is out of order is answered as a live 9.2p1 did: no common algorithm and a corrupt length with a bare FIN, a
//! strange message with UNIMPLEMENTED, one that cannot be, or is out of order where both sides are strict, with
//! DISCONNECT and its words.

mod auth;
mod cipher;
mod exchange;
mod hostkey;
mod ident;
mod kex;
mod kexinit;
mod mac;
mod offer;
mod transport;
mod umac;
mod wire;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use trapline_schemas::{Field, Value, text};

use self::auth::{Auth, Login};
use self::exchange::{EXT_INFO, Parties, Proposals};
use self::hostkey::HostKeys;
use self::ident::{Rules, Verdict};
use self::kexinit::{Agreed, KEXINIT, Kexinit};
use self::offer::Offer;
use self::transport::{DISCONNECT, End, Transport};
use crate::decoy::Personality;
use crate::decoy::keys::{KeyFault, KeyFolder, Provided};
use crate::decoy::personality;
use crate::decoy::services::{Service, Speak, lines};
use crate::decoy::session::{Session, SessionError};

/// The row.
pub(super) const SERVICE: Service = Service {
    name: "ssh",
    personality: "openssh-ubuntu-22.04",
    look: personality::look::<Look>,
    provide: Some(provide),
    speak: Speak::Stream(serve),
};

/// Longest algorithm text in an event, characters: clients of today offer about 1,100.
const ALGORITHMS_CHARS_MAX: usize = 2048;

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
    /// How users may try to get in.
    auth: Auth,
}

fn provide(folder: &KeyFolder, decoy: &str, personality: &Personality) -> Result<Provided, KeyFault> {
    let look: &Look = personality.look();
    Ok(Box::new(HostKeys::keep(folder, decoy, &look.offer.host_keys)?))
}

fn serve(session: &mut Session) -> BoxFuture<'_, Result<(), SessionError>> {
    talk(session).boxed()
}

async fn talk(session: &mut Session) -> Result<(), SessionError> {
    let personality = session.personality();
    let look: &Look = personality.look();
    // sshd asks for prompt writes only after a login.
    session.join_small_writes();
    let ident_first = session.has_waiting();
    let banner = format!("{}\r\n", look.banner);
    session.send(banner.as_bytes()).await?;
    let mut facts = Vec::new();
    let known = identify(session, look.ident, &mut facts).await;
    if !facts.is_empty() {
        facts.push((Field::SshIdentFirst, ident_first.into()));
    }
    // On the heap, so that a silent client does not hold the room of what comes after.
    Box::pin(introduced(session, &personality, known, facts)).await
}

/// What follows on the identification; the client is reported as soon as all is known of it.
async fn introduced(
    session: &mut Session,
    personality: &Personality,
    known: Result<Option<Vec<u8>>, SessionError>,
    facts: Vec<(Field, Value)>,
) -> Result<(), SessionError> {
    let end = match known {
        Ok(Some(client)) => Box::pin(converse(session, personality, client, facts)).await,
        Ok(None) => {
            introduce(session, facts).await;
            return Ok(());
        }
        Err(error) => {
            introduce(session, facts).await;
            return Err(error);
        }
    };
    match end {
        End::Closed => {
            // A server that gives up has read what came: it closes with FIN.
            session.drop_input();
            Ok(())
        }
        End::Session(error) => Err(error),
    }
}

async fn introduce(session: &mut Session, facts: Vec<(Field, Value)>) {
    if !facts.is_empty() {
        session.handshake(facts).await;
    }
}

/// Reads the client's identification, also into `facts`. `None`: it was refused and told so.
async fn identify(
    session: &mut Session,
    rules: Rules,
    facts: &mut Vec<(Field, Value)>,
) -> Result<Option<Vec<u8>>, SessionError> {
    loop {
        let (line, end, writes) = match ident::judge(session.input(), rules) {
            Verdict::More => {
                session.fill().await?;
                continue;
            }
            Verdict::Accept { line, end } => (Some(line), end, None),
            Verdict::Refuse { line, end, writes } => (line, end, Some(writes)),
        };
        let version = line.and_then(|line| session.input().get(line)).map(<[u8]>::to_vec);
        if let Some(version) = &version {
            facts.push((Field::SshClientVersion, text::clean(version).into()));
        }
        // A login of another protocol, whose lines mean something together.
        if writes.is_some() && lines::names_a_secret(session.input()) {
            session.hide_input();
        }
        session.consume(end);
        let Some(writes) = writes else {
            return Ok(version);
        };
        for text in writes {
            session.send(text.as_bytes()).await?;
        }
        // sshd reads byte by byte: what it has not read makes the kernel reset.
        if !session.input().is_empty() {
            session.abort();
        }
        return Ok(None);
    }
}

/// All from the first KEXINIT on. It ends by itself, in one of two ways.
async fn converse(
    session: &mut Session,
    personality: &Personality,
    client: Vec<u8>,
    mut facts: Vec<(Field, Value)>,
) -> End {
    let look: &Look = personality.look();
    let keys = session.provided::<HostKeys>().cloned();
    let mut transport = Transport::new(session);
    let met = meet(&mut transport, &look.offer, &mut facts).await;
    introduce(transport.session, facts).await;
    let (agreed, proposals) = match met {
        Ok(met) => met,
        Err(end) => return end,
    };
    let Some(keys) = keys else {
        return End::Closed;
    };
    let mut parties = Parties {
        client,
        server: look.banner.clone().into_bytes(),
        keys,
        session: None,
        strict: false,
    };
    let extensions = &look.auth.extensions;
    if let Err(end) = exchange::run(&mut transport, &mut parties, &agreed, &proposals, extensions).await {
        return end;
    }
    let draw = |label: &str| personality.install.draw(label);
    let mut login = Login::new(&look.auth, &draw);
    let end = authenticate(&mut transport, &mut parties, look, agreed.extends, &mut login).await;
    login.leave(&mut transport).await;
    end
}

/// Sends our KEXINIT and reads up to the client's, into `facts`.
async fn meet(
    transport: &mut Transport<'_>,
    offer: &Offer,
    facts: &mut Vec<(Field, Value)>,
) -> Result<(Agreed, Proposals), End> {
    let ours = kexinit::kexinit(rand::random(), offer);
    transport.put(&ours);
    loop {
        let message = transport.next().await?;
        if message.number != KEXINIT {
            transport.strange(&message)?;
            continue;
        }
        let theirs = message.payload;
        let agreed = note(&theirs, offer, facts).ok_or(End::Closed)?;
        if agreed.strict && message.sequence != 0 {
            let text = b"strict KEX violation: KEXINIT was not the first packet";
            return Err(transport.refuse(text).await);
        }
        return Ok((agreed, Proposals { theirs, ours }));
    }
}

/// Puts what a KEXINIT tells into `facts`; `None` if the two sides have no algorithms in common.
fn note(payload: &[u8], offer: &Offer, facts: &mut Vec<(Field, Value)>) -> Option<Agreed> {
    let kexinit = Kexinit::read(payload)?;
    let algorithms = kexinit.algorithms();
    facts.push((Field::SshHassh, kexinit::hassh(&algorithms).into()));
    let shown = text::clean_within(&algorithms, ALGORITHMS_CHARS_MAX);
    facts.push((Field::SshHasshAlgorithms, shown.into()));
    kexinit.agree(offer)
}

/// Answers what a client says that has keys, until one of both ends it.
async fn authenticate(
    transport: &mut Transport<'_>,
    parties: &mut Parties,
    look: &Look,
    extends: bool,
    login: &mut Login<'_>,
) -> End {
    loop {
        let message = match transport.next().await {
            Ok(message) => message,
            Err(end) => return end,
        };
        let answered = match message.number {
            DISCONNECT => Err(End::Closed),
            // Ignore, unimplemented, debug.
            2..=4 => Ok(()),
            EXT_INFO if extends => Ok(()),
            KEXINIT => again(transport, parties, &look.offer, message.payload).await,
            _ => login.answer(transport, &message).await,
        };
        if let Err(end) = answered {
            return end;
        }
    }
}

/// The client wants new keys.
async fn again(
    transport: &mut Transport<'_>,
    parties: &mut Parties,
    offer: &Offer,
    theirs: Vec<u8>,
) -> Result<(), End> {
    let ours = kexinit::kexinit(rand::random(), offer);
    transport.put(&ours);
    let agreed = Kexinit::read(&theirs)
        .and_then(|kexinit| kexinit.agree(offer))
        .ok_or(End::Closed)?;
    exchange::run(transport, parties, &agreed, &Proposals { theirs, ours }, &[]).await
}
