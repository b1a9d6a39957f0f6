//! SMB2 and SMB3: headers, negotiation, and the bodies of answers.
//!
//! In: messages without their frame. Out: what they ask, and messages to answer with. Pure.
//!
//! Source: MS-SMB2 2.2; the values are those of a live Samba 4.17.12 and, for Windows, of MS-SMB2 section 3.3.5.4 and
//! its product notes.

use std::ops::Range;

use super::look::{Family, Look};
use super::status;
use crate::decoy::services::ntlm::{u16_at, u32_at};

/// What a message begins with.
pub(super) const SIGNATURE: &[u8] = b"\xfeSMB";

/// Bytes of a header.
pub(super) const HEADER: usize = 64;

/// Commands (MS-SMB2 2.2.1).
pub(super) const NEGOTIATE: u16 = 0;
pub(super) const SESSION_SETUP: u16 = 1;
pub(super) const LOGOFF: u16 = 2;
pub(super) const TREE_CONNECT: u16 = 3;
pub(super) const CANCEL: u16 = 12;
pub(super) const ECHO: u16 = 13;
/// The last that exists: OPLOCK_BREAK.
pub(super) const LAST: u16 = 18;

/// Flags of a header (MS-SMB2 2.2.1.2).
pub(super) mod flags {
    pub(in super::super) const ANSWER: u32 = 0x01;
    pub(in super::super) const ASYNC: u32 = 0x02;
    pub(in super::super) const RELATED: u32 = 0x04;
    pub(in super::super) const SIGNED: u32 = 0x08;
    pub(in super::super) const PRIORITY: u32 = 0x70;
    pub(in super::super) const DFS: u32 = 0x1000_0000;
}

/// The dialect of an answer that leaves the revision open (MS-SMB2 2.2.4).
pub(super) const ANY: u16 = 0x02ff;

/// A header, as far as an answer needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) charge: u16,
    pub(super) command: u16,
    pub(super) credits: u16,
    pub(super) flags: u32,
    /// Where the next message of the compound begins; 0: this is the last.
    pub(super) next: usize,
    pub(super) message: u64,
    pub(super) process: u32,
    pub(super) tree: u32,
    /// The session it belongs to.
    pub(super) session: u64,
    /// That session as the request names it, and the answer repeats it.
    pub(super) named: u64,
}

impl Header {
    /// Reads the header of a message. `None`: it is none.
    pub(super) fn read(message: &[u8]) -> Option<Self> {
        let size = u16_at(message, 4).filter(|_| message.starts_with(SIGNATURE) && message.len() >= HEADER)?;
        Some(Self {
            charge: u16_at(message, 6)?,
            command: u16_at(message, 12)?,
            credits: u16_at(message, 14)?,
            flags: u32_at(message, 16)?,
            next: u32_at(message, 20)? as usize,
            message: u64_at(message, 24)?,
            process: u32_at(message, 32)?,
            tree: u32_at(message, 36)?,
            session: u64_at(message, 40)?,
            named: u64_at(message, 40)?,
        })
        .filter(|_| usize::from(size) == HEADER)
    }

    /// The header of the answer to a client that spoke SMB1.
    pub(super) fn to_smb1() -> Self {
        Self {
            charge: 0,
            command: NEGOTIATE,
            credits: 1,
            flags: 0,
            next: 0,
            message: 0,
            process: 0,
            tree: 0,
            session: 0,
            named: 0,
        }
    }

    /// The answer: this header turned around, and a body.
    pub(super) fn answer(&self, status: u32, credits: u16, body: &[u8]) -> Vec<u8> {
        const KEPT: u32 = flags::PRIORITY | flags::ASYNC | flags::RELATED | flags::SIGNED;
        let mut out = Vec::with_capacity(HEADER + body.len());
        out.extend_from_slice(SIGNATURE);
        out.extend((HEADER as u16).to_le_bytes());
        out.extend(self.charge.to_le_bytes());
        out.extend(status.to_le_bytes());
        out.extend(self.command.to_le_bytes());
        out.extend(credits.to_le_bytes());
        out.extend((flags::ANSWER | self.flags & KEPT).to_le_bytes());
        out.extend([0; 4]);
        out.extend(self.message.to_le_bytes());
        out.extend(self.process.to_le_bytes());
        out.extend(self.tree.to_le_bytes());
        out.extend(self.named.to_le_bytes());
        out.extend([0; 16]);
        out.extend_from_slice(body);
        out
    }
}

/// The messages of a compound (MS-SMB2 3.3.5.2.7), and where they are. `None`: one of them is none, or the place of the
/// next is not a multiple of 8, or lies within it or beyond the end: a server hangs up on that.
pub(super) fn parts(message: &[u8]) -> Option<Vec<(Header, Range<usize>)>> {
    let mut parts = Vec::new();
    let mut from = 0;
    while parts.is_empty() || from < message.len() {
        let rest = message.get(from..)?;
        let mut header = Header::read(rest)?;
        let length = match header.next {
            0 => rest.len(),
            next if next > HEADER && next % 8 == 0 && next <= rest.len() => next,
            _ => return None,
        };
        from += length;
        if from == message.len() {
            header.next = 0;
        }
        parts.push((header, from - length..from));
    }
    Some(parts)
}

/// Joins answers to the parts of a compound (MS-SMB2 3.3.4.1.3), each of several padded to a multiple of 8.
pub(super) fn compound(answers: Vec<Vec<u8>>) -> Vec<u8> {
    let mut out = Vec::new();
    let last = answers.len().saturating_sub(1);
    for (number, mut answer) in answers.into_iter().enumerate() {
        if last > 0 {
            answer.resize(answer.len().next_multiple_of(8), 0);
        }
        if number < last {
            let next = (answer.len() as u32).to_le_bytes();
            if let Some(field) = answer.get_mut(20..24) {
                field.copy_from_slice(&next);
            }
        }
        out.append(&mut answer);
    }
    out
}

/// A NEGOTIATE request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Negotiate {
    pub(super) dialects: Vec<u16>,
    pub(super) guid: [u8; 16],
    capabilities: u32,
    contexts: Option<Contexts>,
}

/// What the contexts of a NEGOTIATE request offer.
#[derive(Debug, Default, PartialEq, Eq)]
struct Contexts {
    /// Hash algorithms for the integrity before authentication.
    hashes: Option<Vec<u16>>,
    ciphers: Option<Vec<u16>>,
    signers: Option<Vec<u16>>,
}

const PREAUTH: u16 = 1;
const ENCRYPTION: u16 = 2;
const SIGNING: u16 = 8;
const SHA512: u16 = 1;

impl Negotiate {
    /// Reads a request. `None`: it is none.
    pub(super) fn read(message: &[u8]) -> Option<Self> {
        let body = message.get(HEADER..)?;
        let count = usize::from(u16_at(body, 2)?);
        let list = body
            .get(36..)?
            .get(..count * 2)
            .filter(|_| u16_at(body, 0) == Some(36) && count > 0)?;
        let dialects: Vec<u16> = numbers(list);
        let contexts = dialects
            .contains(&0x0311)
            .then(|| Contexts::read(message, body))
            .flatten();
        Some(Self {
            guid: *body.get(12..)?.first_chunk()?,
            capabilities: u32_at(body, 8)?,
            dialects,
            contexts,
        })
    }

    /// The body of the answer, or what is wrong. `hint`: the security token.
    pub(super) fn answer(&self, look: &Look, offer: &Offer<'_>) -> Result<Vec<u8>, u32> {
        let dialect = look.best(&self.dialects).ok_or(status::NOT_SUPPORTED)?;
        let mut contexts = Vec::new();
        if dialect == 0x0311 {
            contexts = self.chosen(look)?;
        }
        let mut capabilities = self.capabilities(look, dialect);
        if offer.netbios {
            capabilities &= !LARGE;
        }
        Ok(offer.body(look, dialect, capabilities, &contexts))
    }

    /// DFS, leases, large and several connections; directories leased only by Windows (MS-SMB2 3.3.5.4).
    fn capabilities(&self, look: &Look, dialect: u16) -> u32 {
        const MULTI_CHANNEL: u32 = 0x08;
        const DIRECTORIES: u32 = 0x20;
        const ENCRYPTS: u32 = 0x40;
        let ciphers = self
            .contexts
            .as_ref()
            .is_some_and(|contexts| contexts.ciphers.is_some());
        let known = match (look.family, dialect) {
            (_, ..0x0300) => 0,
            (Family::Samba, _) if !ciphers => MULTI_CHANNEL | ENCRYPTS,
            (Family::Samba, _) => MULTI_CHANNEL,
            (Family::Windows, 0x0311) => MULTI_CHANNEL | DIRECTORIES,
            (Family::Windows, _) => MULTI_CHANNEL | DIRECTORIES | ENCRYPTS,
        };
        common(dialect) | self.capabilities & known
    }

    /// The contexts of the answer.
    fn chosen(&self, look: &Look) -> Result<Vec<(u16, Vec<u8>)>, u32> {
        let contexts = self.contexts.as_ref().ok_or(status::INVALID_PARAMETER)?;
        let hashes = contexts.hashes.as_ref().ok_or(status::INVALID_PARAMETER)?;
        if !hashes.contains(&SHA512) {
            return Err(status::NO_PREAUTH_HASH_OVERLAP);
        }
        let salt: [u8; 32] = rand::random();
        let mut preauth = [1u16, 32, SHA512].map(u16::to_le_bytes).concat();
        preauth.extend(salt);
        let mut chosen = vec![(PREAUTH, preauth)];
        let best = |ours: &[u16], theirs: &[u16]| ours.iter().copied().find(|algorithm| theirs.contains(algorithm));
        if let Some(theirs) = &contexts.ciphers {
            let cipher = best(&look.ciphers, theirs).unwrap_or(0);
            chosen.push((ENCRYPTION, [1, cipher].map(u16::to_le_bytes).concat()));
        }
        if let Some(signer) = contexts.signers.as_ref().and_then(|theirs| best(&look.signers, theirs)) {
            chosen.push((SIGNING, [1, signer].map(u16::to_le_bytes).concat()));
        }
        Ok(chosen)
    }
}

/// Large messages, which NetBIOS sessions do not carry (MS-SMB2 3.3.5.4).
const LARGE: u32 = 0x04;

/// What every server of today says it can, of a dialect.
const fn common(dialect: u16) -> u32 {
    if dialect > 0x0202 { 0x07 } else { 0x01 }
}

impl Contexts {
    /// Reads the list (MS-SMB2 2.2.3.1). `None`: there is none, or it is cut off, or something in it offers nothing.
    fn read(message: &[u8], body: &[u8]) -> Option<Self> {
        let mut at = u32_at(body, 28)? as usize;
        let count = u16_at(body, 32)?;
        let mut found = Self::default();
        for _ in 0..count {
            let length = usize::from(u16_at(message, at.checked_add(2)?)?);
            let data = message.get(at.checked_add(8)?..)?.get(..length)?;
            let listed = |from: usize| {
                let count = usize::from(u16_at(data, 0)?);
                let list = data.get(from..)?.get(..count * 2)?;
                (count > 0).then(|| Some(numbers(list)))
            };
            match u16_at(message, at)? {
                PREAUTH => found.hashes = listed(4)?,
                ENCRYPTION => found.ciphers = listed(2)?,
                SIGNING => found.signers = listed(2)?,
                _ => {}
            }
            at = (at + 8 + length).next_multiple_of(8);
        }
        Some(found)
    }
}

/// What a server says of itself in every negotiation.
pub(super) struct Offer<'a> {
    /// Its GUID.
    pub(super) guid: [u8; 16],
    /// Now, in the time of Windows.
    pub(super) now: u64,
    /// Its security token.
    pub(super) token: &'a [u8],
    /// It is in a NetBIOS session.
    pub(super) netbios: bool,
}

impl Offer<'_> {
    /// The answer to an SMB1 client that knows SMB2 too.
    pub(super) fn to_smb1(&self, look: &Look, dialect: u16) -> Vec<u8> {
        let capabilities = common(dialect) & if self.netbios { !LARGE } else { !0 };
        self.body(look, dialect, capabilities, &[])
    }

    fn body(&self, look: &Look, dialect: u16, capabilities: u32, contexts: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let max: u32 = if capabilities & LARGE != 0 { 8 << 20 } else { 64 << 10 };
        let contexts_at = (HEADER + 64 + self.token.len()).next_multiple_of(8);
        let mode: u16 = if look.signing_required { 3 } else { 1 };
        let mut out = Vec::with_capacity(contexts_at + 80);
        out.extend(
            [65, mode, dialect, contexts.len() as u16]
                .into_iter()
                .flat_map(u16::to_le_bytes),
        );
        out.extend(self.guid);
        out.extend([capabilities, max, max, max].into_iter().flat_map(u32::to_le_bytes));
        out.extend(self.now.to_le_bytes());
        out.extend([0; 8]);
        out.extend(
            [(HEADER + 64) as u16, self.token.len() as u16]
                .into_iter()
                .flat_map(u16::to_le_bytes),
        );
        let place = if contexts.is_empty() { 0 } else { contexts_at as u32 };
        out.extend(place.to_le_bytes());
        out.extend_from_slice(self.token);
        for (kind, data) in contexts {
            out.resize(out.len().next_multiple_of(8), 0);
            out.extend([*kind, data.len() as u16, 0, 0].into_iter().flat_map(u16::to_le_bytes));
            out.extend_from_slice(data);
        }
        out
    }
}

/// The body of an error.
pub(super) fn error() -> Vec<u8> {
    vec![9, 0, 0, 0, 0, 0, 0, 0, 0]
}

/// The body of an answer that says nothing: ECHO, LOGOFF.
pub(super) fn nothing() -> Vec<u8> {
    vec![4, 0, 0, 0]
}

/// Whether a body begins as the command says it does; an empty session setup or the like is refused by its own rules.
pub(super) fn is_whole(command: u16, message: &[u8]) -> bool {
    let size = match command {
        NEGOTIATE => 36,
        SESSION_SETUP => 25,
        TREE_CONNECT => 9,
        LOGOFF | ECHO | CANCEL => 4,
        _ => return command <= LAST,
    };
    let body = message.get(HEADER..).unwrap_or_default();
    // An odd size counts the first byte of what is of variable length.
    u16_at(body, 0) == Some(size) && body.len() >= usize::from(size & !1)
}

/// Where the security token of a SESSION_SETUP request is.
pub(super) fn token(message: &[u8]) -> Option<Range<usize>> {
    range(message, HEADER + 12)
}

/// The path of a TREE_CONNECT request, UTF-16.
pub(super) fn path(message: &[u8]) -> Option<&[u8]> {
    message.get(range(message, HEADER + 4)?)
}

/// A range whose offset and length stand at a place.
fn range(message: &[u8], at: usize) -> Option<Range<usize>> {
    let from = usize::from(u16_at(message, at)?);
    let to = from + usize::from(u16_at(message, at + 2)?);
    (to <= message.len()).then_some(from..to)
}

/// The body of an answer to SESSION_SETUP. `null`: somebody is let in as nobody.
pub(super) fn session(token: &[u8], null: bool) -> Vec<u8> {
    /// Windows says that the session is nobody's.
    const IS_NULL: u16 = 2;
    let flags = if null { IS_NULL } else { 0 };
    let mut out: Vec<u8> = [9, flags, (HEADER + 8) as u16, token.len() as u16]
        .into_iter()
        .flat_map(u16::to_le_bytes)
        .collect();
    out.extend_from_slice(token);
    out
}

fn numbers(bytes: &[u8]) -> Vec<u16> {
    let pairs = bytes.chunks_exact(2);
    pairs
        .filter_map(|pair| pair.first_chunk())
        .map(|pair| u16::from_le_bytes(*pair))
        .collect()
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|chunk| u64::from_le_bytes(*chunk))
}
