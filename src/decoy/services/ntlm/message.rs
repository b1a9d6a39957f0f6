//! The three NTLMSSP messages (MS-NLMP 2.2.1).
//!
//! In: messages of peers, bounds of every field checked against the message. Out: what they say, as text; the
//! challenge that goes between.

use std::ops::Range;

use hmac::{Hmac, Mac as _};
use md5::Md5;
use trapline_schemas::ids;

use crate::decoy::personality::Install;

/// What every message begins with.
pub(super) const SIGNATURE: &[u8] = b"NTLMSSP\0";

/// Most bytes that are kept of a name in a type 1 message.
const NAME_BYTES_MAX: usize = 256;

/// Bytes of a challenge before its payload.
const CHALLENGE_HEAD: u32 = 56;

/// Strings are UTF-16.
const UNICODE: u32 = 0x0000_0001;
const OEM: u32 = 0x0000_0002;
const REQUEST_TARGET: u32 = 0x0000_0004;
const NTLM: u32 = 0x0000_0200;
const DOMAIN_SUPPLIED: u32 = 0x0000_1000;
const WORKSTATION_SUPPLIED: u32 = 0x0000_2000;
const TARGET_TYPE_DOMAIN: u32 = 0x0001_0000;
const TARGET_TYPE_SERVER: u32 = 0x0002_0000;
const TARGET_INFO: u32 = 0x0080_0000;
const VERSION: u32 = 0x0200_0000;

/// What a server agrees to if the client proposes it: signing, sealing, extended session security, key exchange and
/// the lengths of keys. LM keys are not among it.
const AGREED: u32 = 0xe008_8034;

/// The kind of a message: 1, 2 or 3.
pub(super) fn kind(message: &[u8]) -> Option<u32> {
    message.starts_with(SIGNATURE).then(|| u32_at(message, 8)).flatten()
}

/// What a client says first.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::decoy::services) struct Hello {
    /// What it proposes.
    pub(in crate::decoy::services) flags: u32,
    /// Its domain, if it says so.
    pub(in crate::decoy::services) domain: String,
    /// Its own name, if it says so.
    pub(in crate::decoy::services) workstation: String,
    /// Version of its system, such as `10.0.19041`; may be empty.
    pub(in crate::decoy::services) version: String,
}

impl Hello {
    /// Whether it asks for the names of the server.
    pub(super) fn wants_target(&self) -> bool {
        self.flags & REQUEST_TARGET != 0
    }

    /// Reads a type 1 message. `None`: it is none.
    pub(super) fn read(message: &[u8]) -> Option<Self> {
        let flags = u32_at(message, 12)?;
        // Both names are in the character set of the machine, whatever else is agreed; no machine has longer ones.
        let named = |flag, at| {
            let bytes = (flags & flag != 0).then(|| message.get(place(message, at)?)).flatten();
            let bytes = bytes.map(|bytes| bytes.get(..NAME_BYTES_MAX).unwrap_or(bytes));
            bytes.map(|bytes| decode(bytes, false)).unwrap_or_default()
        };
        Some(Self {
            flags,
            domain: named(DOMAIN_SUPPLIED, 16),
            workstation: named(WORKSTATION_SUPPLIED, 24),
            version: version(message, flags, 32),
        })
    }
}

/// What a client says last.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::decoy::services) struct Response {
    /// Whose the account is.
    pub(super) domain: String,
    /// The account.
    pub(in crate::decoy::services) user: String,
    /// What the client calls itself.
    pub(super) workstation: String,
    /// Version of its system; may be empty.
    pub(super) version: String,
    /// The LM or LMv2 response.
    pub(super) lm: Vec<u8>,
    /// The NTLMv1 or NTLMv2 response.
    pub(super) nt: Vec<u8>,
    /// Where both responses are in the message.
    pub(super) secrets: Vec<Range<usize>>,
    /// Where else in it a guessed password could be tried: the session key, the integrity code.
    pub(super) sealed: Vec<Range<usize>>,
}

impl Response {
    /// Reads a type 3 message. `None`: it is none, or a field points out of it.
    pub(super) fn read(message: &[u8]) -> Option<Self> {
        let [lm, nt, domain, user, workstation] = [12, 20, 28, 36, 44].map(|at| place(message, at));
        let (lm, nt) = (lm?, nt?);
        // The oldest clients end before the flags, and write in the character set of the machine.
        let flags = u32_at(message, 60).unwrap_or(0);
        let bytes = |range: &Range<usize>| message.get(range.clone()).unwrap_or_default();
        let tells = |range: &Range<usize>| range.len() > 1 && bytes(range).iter().any(|byte| *byte != 0);
        let name = |range: Option<Range<usize>>| Some(decode(bytes(&range?), flags & UNICODE != 0));
        Some(Self {
            domain: name(domain)?,
            user: name(user)?,
            workstation: name(workstation)?,
            version: version(message, flags, 64),
            lm: bytes(&lm).to_vec(),
            nt: bytes(&nt).to_vec(),
            sealed: sealed(message),
            secrets: [lm, nt].into_iter().filter(tells).collect(),
        })
    }

    /// A response from a message that is not NTLMSSP's own: SMB1 without extended security.
    pub(in crate::decoy::services) fn bare(user: String, domain: String, lm: &[u8], nt: &[u8]) -> Self {
        Self {
            domain,
            user,
            workstation: String::new(),
            version: String::new(),
            lm: lm.to_vec(),
            nt: nt.to_vec(),
            secrets: Vec::new(),
            sealed: Vec::new(),
        }
    }

    /// The version of the response, and the one that counts. `None`: there is none.
    pub(super) fn proof(&self) -> Option<(&'static str, &[u8])> {
        match (self.nt.len(), self.lm.len()) {
            (25.., _) => Some(("NTLMv2", &self.nt)),
            (24, _) => Some(("NTLMv1", &self.nt)),
            (_, 24) => Some(("LM", &self.lm)),
            _ => None,
        }
    }

    /// Whether nobody can try passwords on a digest of the response: what the client chose for itself is in it, and
    /// not to be seen. A bare NTLMv1 or LM response is made of the password and the challenge alone.
    pub(super) fn is_salted(&self) -> bool {
        self.nt.len() > 24
    }

    /// The line that crackers of passwords read: hashcat's modes 5600 (NTLMv2) and 5500 (NTLMv1). Empty: no response.
    pub(super) fn crackable(&self, challenge: &[u8; 8]) -> String {
        let (user, domain, challenge) = (&self.user, &self.domain, ids::hex(challenge));
        let (lm, nt) = (ids::hex(&self.lm), ids::hex(&self.nt));
        match self.proof() {
            Some(("NTLMv2", _)) => {
                let (proof, blob) = nt.split_at_checked(32).unwrap_or_default();
                format!("{user}::{domain}:{challenge}:{proof}:{blob}")
            }
            Some(_) => format!("{user}::{domain}:{lm}:{nt}:{challenge}"),
            None => String::new(),
        }
    }

    /// Whether an NTLMv2 response is that of an empty password (MS-NLMP 3.3.2).
    pub(super) fn is_of_empty_password(&self, challenge: &[u8; 8]) -> bool {
        /// MD4 of nothing: the hash of an empty password.
        const EMPTY: [u8; 16] = *b"\x31\xd6\xcf\xe0\xd1\x6a\xe9\x31\xb7\x3c\x59\xd7\xe0\xc0\x89\xc0";
        let Some((proof, blob)) = self.nt.split_at_checked(16) else {
            return false;
        };
        let names = self.user.to_uppercase() + &self.domain;
        let key = hmac_md5(&EMPTY, &[&encode(&names, true)]);
        hmac_md5(&key, &[challenge, blob]) == proof
    }

    /// What the client believes it talks to, such as `cifs/files03` (MsvAvTargetName of an NTLMv2 response); else empty.
    pub(super) fn spn(&self) -> String {
        const TARGET_NAME: u16 = 9;
        let pairs = self.pairs();
        let named = pairs.iter().find(|(id, _)| *id == TARGET_NAME);
        named.map(|(_, name)| decode(name, true)).unwrap_or_default()
    }

    /// Whether an NTLMv2 response says again each pair that the challenge said, in a list that ends. `told`: the pairs
    /// of the challenge.
    pub(super) fn repeats(&self, told: &[u8]) -> bool {
        let theirs = self.pairs();
        pairs(told).iter().all(|pair| theirs.contains(pair))
    }

    /// The pairs of an NTLMv2 response (MS-NLMP 2.2.2.7): behind its proof and the client's time and challenge.
    fn pairs(&self) -> Vec<(u16, &[u8])> {
        pairs(self.nt.get(16 + 28..).unwrap_or_default())
    }
}

/// What a host calls itself, in NTLM.
#[derive(Debug, Clone)]
pub(in crate::decoy::services) struct Names {
    domain: String,
    computer: String,
    dns_domain: String,
    dns_computer: String,
    member: bool,
    version: [u8; 8],
}

/// What a personality says of NTLM.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::decoy::services) struct Look {
    /// The version it gives: major, minor, build.
    version: (u8, u8, u16),
    /// Whose word its account is: `domain` (the install's), `workgroup` (its own).
    member_of: Member,
    /// The workgroup, where it matters.
    #[serde(default = "workgroup")]
    pub(in crate::decoy::services) workgroup: String,
}

fn workgroup() -> String {
    "WORKGROUP".to_owned()
}

impl Look {
    /// Whether the host is in the install's domain.
    pub(in crate::decoy::services) fn is_member(&self) -> bool {
        self.member_of == Member::Domain
    }
}

/// Whether a host is in a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Member {
    /// It is: the domain of the install.
    Domain,
    /// It is a Windows of its own.
    Workgroup,
    /// It is a Samba of its own.
    Samba,
}

impl Names {
    /// The names of an install, as a personality has them.
    pub(in crate::decoy::services) fn new(look: &Look, install: &Install) -> Self {
        let computer: String = install.host().to_ascii_uppercase().chars().take(15).collect();
        let fqdn = format!("{}.{}", install.host(), install.domain());
        let label = install.domain().split('.').next().unwrap_or_default();
        let (domain, dns_domain, dns_computer) = match look.member_of {
            Member::Domain => (label.to_ascii_uppercase(), install.domain().to_owned(), fqdn),
            Member::Workgroup => (computer.clone(), install.host().to_owned(), install.host().to_owned()),
            Member::Samba => (computer.clone(), install.domain().to_owned(), fqdn),
        };
        let (major, minor, build) = look.version;
        let [low, high] = build.to_le_bytes();
        Self {
            domain,
            computer,
            dns_domain,
            dns_computer,
            member: look.member_of == Member::Domain,
            version: [major, minor, low, high, 0, 0, 0, 15],
        }
    }

    /// The name it gives to clients: its domain, or itself.
    pub(in crate::decoy::services) fn target(&self) -> &str {
        &self.domain
    }

    /// Its NetBIOS name.
    pub(in crate::decoy::services) fn computer(&self) -> &str {
        &self.computer
    }

    /// A type 2 message for a client that proposes `proposed`. `now` as by [`now`].
    pub(super) fn challenge(&self, proposed: u32, challenge: [u8; 8], now: u64) -> Vec<u8> {
        let charset = if proposed & UNICODE != 0 {
            UNICODE
        } else {
            proposed & OEM
        };
        let mut flags = proposed & AGREED | charset | NTLM | VERSION;
        let (mut target, mut info) = (Vec::new(), Vec::new());
        if proposed & REQUEST_TARGET != 0 {
            let kind = if self.member {
                TARGET_TYPE_DOMAIN
            } else {
                TARGET_TYPE_SERVER
            };
            flags |= TARGET_INFO | kind;
            target = encode(&self.domain, charset == UNICODE);
            info = self.target_info(now);
        }
        let info_at = CHALLENGE_HEAD + target.len() as u32;
        let mut out = Vec::with_capacity(info_at as usize + info.len());
        out.extend_from_slice(SIGNATURE);
        out.extend(2u32.to_le_bytes());
        out.extend(descriptor(target.len(), CHALLENGE_HEAD));
        out.extend(flags.to_le_bytes());
        out.extend(challenge);
        out.extend([0; 8]);
        out.extend(descriptor(info.len(), info_at));
        out.extend(self.version);
        out.extend(target);
        out.extend(info);
        out
    }

    /// AV pairs in the order of Windows and Samba (MS-NLMP 2.2.2.1).
    pub(super) fn target_info(&self, now: u64) -> Vec<u8> {
        let mut names = vec![
            (2, &self.domain),
            (1, &self.computer),
            (4, &self.dns_domain),
            (3, &self.dns_computer),
        ];
        if self.member {
            names.push((5, &self.dns_domain));
        }
        let mut out = Vec::new();
        for (id, name) in names {
            pair(&mut out, id, &encode(name, true));
        }
        pair(&mut out, 7, &now.to_le_bytes());
        pair(&mut out, 0, &[]);
        out
    }
}

/// AV pairs up to the one that ends them, with it if it is there (MS-NLMP 2.2.2.1).
fn pairs(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut pairs = Vec::new();
    while let (Some(id), Some(length)) = (u16_at(bytes, 0), u16_at(bytes, 2)) {
        let Some((value, rest)) = bytes.get(4..).and_then(|rest| rest.split_at_checked(length.into())) else {
            break;
        };
        pairs.push((id, value));
        if id == 0 {
            break;
        }
        bytes = rest;
    }
    pairs
}

fn pair(out: &mut Vec<u8>, id: u16, value: &[u8]) {
    out.extend(id.to_le_bytes());
    out.extend((value.len() as u16).to_le_bytes());
    out.extend_from_slice(value);
}

/// Length, length again, and place of a field.
fn descriptor(length: usize, at: u32) -> Vec<u8> {
    let length = (length as u16).to_le_bytes();
    [&length[..], &length, &at.to_le_bytes()].concat()
}

fn hmac_md5(key: &[u8], parts: &[&[u8]]) -> [u8; 16] {
    let mut mac = Hmac::<Md5>::new_from_slice(key).expect("HMAC takes keys of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// The time of Windows: 100 ns since 1601.
pub(in crate::decoy::services) fn now() -> u64 {
    let unix = u64::try_from(jiff::Timestamp::now().as_microsecond()).unwrap_or(0);
    (unix + 11_644_473_600_000_000) * 10
}

/// Where a field of the message is whose descriptor is at `at`; an empty field may point anywhere.
fn place(message: &[u8], at: usize) -> Option<Range<usize>> {
    let length = usize::from(u16_at(message, at)?);
    let from = usize::try_from(u32_at(message, at + 4)?).ok()?;
    if length == 0 {
        return Some(0..0);
    }
    let to = from.checked_add(length).filter(|to| *to <= message.len())?;
    Some(from..to)
}

/// Where a type 3 message holds its session key and its integrity code (MS-NLMP 2.2.1.3), if the message has them.
fn sealed(message: &[u8]) -> Vec<Range<usize>> {
    const KEY_DESCRIPTOR: usize = 52;
    const CODE: Range<usize> = 72..88;
    let fields = [12, 20, 28, 36, 44].into_iter().filter_map(|at| place(message, at));
    let payload = fields.filter(|field| !field.is_empty()).map(|field| field.start).min();
    let head = payload.unwrap_or(message.len());
    let key = place(message, KEY_DESCRIPTOR).filter(|_| head >= KEY_DESCRIPTOR + 8);
    let code = Some(CODE).filter(|code| head >= code.end);
    key.into_iter().chain(code).filter(|range| !range.is_empty()).collect()
}

fn version(message: &[u8], flags: u32, at: usize) -> String {
    match (flags & VERSION != 0, message.get(at..at + 2), u16_at(message, at + 2)) {
        (true, Some([major, minor]), Some(build)) if *major > 0 => format!("{major}.{minor}.{build}"),
        _ => String::new(),
    }
}

/// A name of a peer: UTF-16, what is none of it as U+FFFD; or bytes, which are UTF-8 in nearly all clients.
pub(in crate::decoy::services) fn decode(bytes: &[u8], unicode: bool) -> String {
    if !unicode {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    let units = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    char::decode_utf16(units)
        .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

/// A name of ours.
pub(in crate::decoy::services) fn encode(name: &str, unicode: bool) -> Vec<u8> {
    if unicode {
        name.encode_utf16().flat_map(u16::to_le_bytes).collect()
    } else {
        name.as_bytes().to_vec()
    }
}

/// Two bytes at a place, little-endian.
pub(in crate::decoy::services) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|chunk| u16::from_le_bytes(*chunk))
}

/// Four bytes at a place, little-endian.
pub(in crate::decoy::services) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|chunk| u32::from_le_bytes(*chunk))
}
