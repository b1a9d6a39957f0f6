//! `ssh`: an OpenSSH server up to the key exchange.
//!
//! In: the client's identification and packets. Out: one handshake with its version and HASSH. The identification
//! goes out at once, the KEXINIT unasked as soon as the client has identified itself; refusals are those of the
//! claimed version (see [`ident`]).
//!
//! After both KEXINITs a real server computes keys from what the client sends next. This one has no host key: it takes
//! the time of a slow machine and then closes without a word. Everything else is answered as a live 9.2p1 did: no
//! common algorithm and a corrupt length with a bare FIN, a strange message with UNIMPLEMENTED, one that cannot be, or
//! is out of order where both sides are strict, with DISCONNECT and its words.
//!
//! It never sees a user or a password.

mod ident;
mod packet;

use std::ops::Range;
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
    provide: None,
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
    Box::pin(introduced(session, &look.offer, known, facts)).await
}

/// What follows on the identification; the client is reported as soon as all is known of it.
async fn introduced(
    session: &mut Session,
    offer: &Offer,
    known: Result<bool, SessionError>,
    mut facts: Vec<(Field, Value)>,
) -> Result<(), SessionError> {
    let mut packets = Packets { session, sequence: 0 };
    let agreed = match known {
        Ok(true) => packets.negotiate(offer, &mut facts).await,
        Ok(false) => Ok(None),
        Err(error) => Err(error),
    };
    if !facts.is_empty() {
        packets.session.handshake(facts).await;
    }
    match agreed? {
        Some(agreed) => packets.exchange(agreed).await,
        None => Ok(()),
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
        // sshd reads byte by byte: what it has not read makes the kernel reset.
        if !session.input().is_empty() {
            session.abort();
        }
        return Ok(false);
    }
}

/// Both sides have algorithms in common.
struct Agreed {
    /// Both keep strictly to the order of messages.
    strict: bool,
}

/// The client's packets, in order.
struct Packets<'a> {
    session: &'a mut Session,
    /// The number of the packet that comes next.
    sequence: u32,
}

/// A packet at the front of the input.
struct Packet {
    kind: u8,
    payload: Range<usize>,
    end: usize,
}

impl Packets<'_> {
    /// Sends our KEXINIT and reads up to the client's, into `facts`. `None`: the server has given up.
    async fn negotiate(
        &mut self,
        offer: &Offer,
        facts: &mut Vec<(Field, Value)>,
    ) -> Result<Option<Agreed>, SessionError> {
        self.session.send(&packet::kexinit(rand::random(), offer)).await?;
        while let Some(packet) = self.next().await? {
            if packet.kind != packet::KEXINIT {
                if self.strange(&packet).await? {
                    continue;
                }
                return Ok(None);
            }
            let first = self.sequence == 0;
            let payload = self.session.input().get(packet.payload.clone()).unwrap_or_default();
            let noted = note(payload, offer, facts);
            self.pass(&packet);
            return match noted {
                Some(agreed) if agreed.strict && !first => {
                    self.refuse("strict KEX violation: KEXINIT was not the first packet")
                        .await
                }
                Some(agreed) => Ok(Some(agreed)),
                None => Ok(give_up(self.session)),
            };
        }
        Ok(None)
    }

    /// Reads on until the client has sent what the server would compute keys from.
    async fn exchange(&mut self, agreed: Agreed) -> Result<(), SessionError> {
        while let Some(packet) = self.next().await? {
            match packet.kind {
                // SSH_MSG_KEXDH_INIT and its kin, SSH_MSG_KEX_DH_GEX_REQUEST.
                30 | 34 => return compute(self.session).await,
                kind @ 2..=49 if agreed.strict => {
                    let seen = self.sequence;
                    let text = format!("strict KEX violation: unexpected packet type {kind} (seqnr {seen})");
                    return self.refuse(&text).await.map(|_: Option<()>| ());
                }
                _ if self.strange(&packet).await? => {}
                _ => return Ok(()),
            }
        }
        Ok(())
    }

    /// Waits for a whole packet. `None`: it was one that the server gives up for.
    async fn next(&mut self) -> Result<Option<Packet>, SessionError> {
        loop {
            let (payload, end) = match packet::frame(self.session.input()) {
                Framed::More => {
                    self.session.fill().await?;
                    continue;
                }
                Framed::Corrupt => return Ok(give_up(self.session)),
                Framed::ShortPadding(padding) => {
                    return self.refuse(&format!("Corrupted padlen {padding} on input.")).await;
                }
                Framed::Packet { payload, end } => (payload, end),
            };
            let kind = self.session.input().get(payload.start).copied();
            match kind.filter(|_| !payload.is_empty()) {
                Some(kind @ (0 | 192..)) => return self.refuse(&format!("Invalid ssh2 packet type: {kind}")).await,
                Some(kind) => return Ok(Some(Packet { kind, payload, end })),
                None => return Ok(give_up(self.session)),
            }
        }
    }

    /// Deals with a message that is not for now; `false`: the server gives up.
    async fn strange(&mut self, packet: &Packet) -> Result<bool, SessionError> {
        match packet.kind {
            // Ignore, unimplemented, debug.
            2..=4 => {}
            5..=49 => self.session.send(&packet::unimplemented(self.sequence)).await?,
            _ => return Ok(give_up::<()>(self.session).is_some()),
        }
        self.pass(packet);
        Ok(true)
    }

    fn pass(&mut self, packet: &Packet) {
        self.session.consume(packet.end);
        self.sequence = self.sequence.wrapping_add(1);
    }

    /// Says why, and gives up.
    async fn refuse<T>(&mut self, text: &str) -> Result<Option<T>, SessionError> {
        self.session.send(&packet::disconnect(text)).await?;
        Ok(give_up(self.session))
    }
}

/// Puts what a KEXINIT tells into `facts`; `None` if the two sides have no algorithms in common.
fn note(payload: &[u8], offer: &Offer, facts: &mut Vec<(Field, Value)>) -> Option<Agreed> {
    let kexinit = Kexinit::read(payload)?;
    let algorithms = kexinit.algorithms();
    facts.push((Field::SshHassh, packet::hassh(&algorithms).into()));
    let shown = text::clean_within(&algorithms, ALGORITHMS_CHARS_MAX);
    facts.push((Field::SshHasshAlgorithms, shown.into()));
    kexinit.agrees(offer).then(|| Agreed {
        strict: kexinit.is_strict() && offer.is_strict(),
    })
}

/// A server that gives up has read what came: it closes with FIN.
fn give_up<T>(session: &mut Session) -> Option<T> {
    session.consume(usize::MAX);
    None
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
