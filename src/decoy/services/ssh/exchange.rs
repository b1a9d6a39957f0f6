//! One key exchange, from both KEXINITs to new keys in both directions.
//!
//! Invariants: 1. what takes a processor for longer than a moment runs beside the reactor, on no more than half of the
//! processors, so that a flood of exchanges starves no other decoy. 2. A session waits for its turn no longer than it
//! may last.
//!
//! Source: RFC 4253 sections 7 to 9, RFC 8308; messages and their order as OpenSSH's kexgens.c and kexgexs.c, compared
//! with a live 9.2p1.

use std::sync::{Arc, LazyLock};

use tokio::sync::Semaphore;

use super::hostkey::{HostKey, HostKeys};
use super::kex::group::{Group, Wanted};
use super::kex::{self, Agreement, Outcome, Way};
use super::kexinit::Agreed;
use super::transport::{End, Message, NEWKEYS, Transport};
use super::wire::{Reader, Writer};

/// `SSH_MSG_KEXDH_INIT` and its kin for curves and hybrids; `SSH_MSG_KEXDH_REPLY`.
const INIT: u8 = 30;
const REPLY: u8 = 31;

/// The same where the client asks for a group first: RFC 4419 section 5.
const GEX_GROUP: u8 = 31;
const GEX_INIT: u8 = 32;
const GEX_REPLY: u8 = 33;
const GEX_REQUEST: u8 = 34;

/// `SSH_MSG_EXT_INFO`.
pub(super) const EXT_INFO: u8 = 7;

/// Who exchanges keys, from the first exchange to the last.
pub(super) struct Parties {
    /// The client's identification.
    pub(super) client: Vec<u8>,
    /// The server's.
    pub(super) server: Vec<u8>,
    /// The server's keys.
    pub(super) keys: HostKeys,
    /// The exchange hash of the first exchange; none before it.
    pub(super) session: Option<Vec<u8>>,
    /// Both keep strictly to the order of messages, as the first exchange settled.
    pub(super) strict: bool,
}

/// Both KEXINITs.
pub(super) struct Proposals {
    /// The client's payload.
    pub(super) theirs: Vec<u8>,
    /// The server's.
    pub(super) ours: Vec<u8>,
}

/// Exchanges keys. In: what is said of the server's extensions, after the first exchange, to a client that understands.
pub(super) async fn run(
    transport: &mut Transport<'_>,
    parties: &mut Parties,
    agreed: &Agreed,
    proposals: &Proposals,
    extensions: &[(String, String)],
) -> Result<(), End> {
    let is_first = parties.session.is_none();
    if is_first {
        parties.strict = agreed.strict;
    }
    let strict = parties.strict;
    let order = Order {
        is_kept: strict && is_first,
    };
    if agreed.guessed_wrong {
        transport.next().await?;
    }
    let outcome = answer(transport, parties, agreed, proposals, order).await?;
    let session = parties.session.get_or_insert_with(|| outcome.exchange.clone()).clone();
    transport.send_with(agreed.to_them, &outcome.keys(*b"BDF", agreed.to_them, &session), strict)?;
    if is_first && agreed.extends && !extensions.is_empty() {
        transport.put(&ext_info(extensions));
    }
    order.expect(transport, NEWKEYS).await?;
    transport.receive_with(agreed.to_us, &outcome.keys(*b"ACE", agreed.to_us, &session), strict)
}

/// Whether both sides keep to the order of messages.
#[derive(Clone, Copy)]
struct Order {
    is_kept: bool,
}

impl Order {
    /// Waits for the message with this number; others are dealt with as sshd does.
    async fn expect(self, transport: &mut Transport<'_>, number: u8) -> Result<Message, End> {
        loop {
            let message = transport.next().await?;
            match message.number {
                found if found == number => return Ok(message),
                found @ 2..=49 if self.is_kept => {
                    let seen = message.sequence;
                    let text = format!("strict KEX violation: unexpected packet type {found} (seqnr {seen})");
                    return Err(transport.refuse(text.as_bytes()).await);
                }
                _ => transport.strange(&message)?,
            }
        }
    }
}

/// Reads what the client sends to the method, and puts the server's answer in line.
async fn answer(
    transport: &mut Transport<'_>,
    parties: &Parties,
    agreed: &Agreed,
    proposals: &Proposals,
    order: Order,
) -> Result<Outcome, End> {
    let way = agreed.method.way.ok_or(End::Closed)?;
    let key = transport.session.wait_for(parties.keys.get(agreed.host_key)).await?;
    let key = key.ok_or(End::Closed)?;
    let transcript = Writer::default().string(&parties.client).string(&parties.server);
    let transcript = transcript.string(&proposals.theirs).string(&proposals.ours);
    let transcript = transcript.string(&key.public());
    let (number, reply, group, transcript) = match way {
        Way::GroupExchange => {
            let (group, transcript) = agree_on_group(transport, order, transcript).await?;
            (GEX_INIT, GEX_REPLY, Some(group), transcript)
        }
        _ => (INIT, REPLY, None, transcript),
    };
    let message = order.expect(transport, number).await?;
    let mut body = Reader::new(message.body());
    let theirs = way.read(&mut body).filter(|_| body.is_empty()).ok_or(End::Closed)?;
    let work = Work {
        way,
        agreed_method: agreed.method,
        algorithm: agreed.host_key,
        key: Arc::clone(&key),
        group,
        theirs: theirs.to_vec(),
        transcript: way.write(transcript, theirs),
    };
    let done = transport.session.wait_for(work.done()).await?.ok_or(End::Closed)?;
    let answer = Writer::message(reply).string(&key.public());
    let answer = way.write(answer, &done.ours).string(&done.signature);
    transport.put(&answer.done());
    Ok(done.outcome)
}

/// The client asks for a group by its size; the answer is part of what is signed.
async fn agree_on_group(
    transport: &mut Transport<'_>,
    order: Order,
    transcript: Writer,
) -> Result<(Group, Writer), End> {
    let request = order.expect(transport, GEX_REQUEST).await?;
    let wanted = Wanted::read(Reader::new(request.body())).ok_or(End::Closed)?;
    let group = wanted.choose().ok_or(End::Closed)?;
    let answer = Writer::message(GEX_GROUP)
        .number(&group.prime)
        .number(&[group.generator]);
    transport.put(&answer.done());
    let transcript = transcript.u32(wanted.min).u32(wanted.best).u32(wanted.max);
    let transcript = transcript.number(&group.prime).number(&[group.generator]);
    Ok((group, transcript))
}

/// What the server has to compute.
struct Work {
    way: Way,
    agreed_method: &'static kex::Method,
    algorithm: &'static super::hostkey::Algorithm,
    key: Arc<HostKey>,
    group: Option<Group>,
    theirs: Vec<u8>,
    /// All that the exchange hash is over, up to the client's value.
    transcript: Writer,
}

/// What came out.
struct Done {
    ours: Vec<u8>,
    signature: Vec<u8>,
    outcome: Outcome,
}

/// Turns for what is heavy: half of the processors.
static TURNS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    Arc::new(Semaphore::new((processors / 2).max(1)))
});

impl Work {
    /// `None`: what the client sent is no good.
    async fn done(self) -> Option<Done> {
        if !self.way.is_heavy() && !self.algorithm.is_heavy() {
            return self.compute();
        }
        let turn = Arc::clone(&TURNS).acquire_owned().await.ok()?;
        let computed = tokio::task::spawn_blocking(move || {
            // Kept to the end, also where nobody waits for it any more.
            let _turn = turn;
            self.compute()
        });
        computed.await.ok()?
    }

    fn compute(self) -> Option<Done> {
        let Agreement { ours, secret } = kex::agree(self.way, &self.theirs, self.group.as_ref())?;
        let transcript = self.way.write(self.transcript, &ours).done();
        let outcome = Outcome::new(self.agreed_method, &transcript, secret);
        let signature = self.key.sign(self.algorithm, &outcome.exchange)?;
        Some(Done {
            ours,
            signature,
            outcome,
        })
    }
}

/// What the server can do besides: RFC 8308.
fn ext_info(extensions: &[(String, String)]) -> Vec<u8> {
    let count = u32::try_from(extensions.len()).unwrap_or(u32::MAX);
    let message = Writer::message(EXT_INFO).u32(count);
    let message = extensions.iter().fold(message, |message, (name, value)| {
        message.string(name.as_bytes()).string(value.as_bytes())
    });
    message.done()
}
