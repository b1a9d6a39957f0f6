//! SMB1: headers, negotiation, session setup and what an answer to them looks like.
//!
//! In: messages without their frame. Out: what they ask, and messages to answer with. Pure.
//!
//! Source: MS-CIFS 2.2, MS-SMB 2.2.4; the values are those of a live Samba 4.17.12 with `server min protocol = NT1`
//! and, for Windows Server 2016, of public captures and of nmap's fingerprints.

use std::ops::Range;

use super::look::{Family, Look};
use super::status;
use crate::decoy::services::ntlm::{decode, encode, u16_at};

/// What a message begins with.
pub(super) const SIGNATURE: &[u8] = b"\xffSMB";

/// Bytes of a header.
pub(super) const HEADER: usize = 32;

/// Where the words of a message begin.
const WORDS: usize = HEADER + 1;

/// Commands (MS-CIFS 2.2.2.1).
pub(super) const ECHO: u8 = 0x2b;
pub(super) const NEGOTIATE: u8 = 0x72;
pub(super) const SESSION_SETUP: u8 = 0x73;
pub(super) const LOGOFF: u8 = 0x74;
pub(super) const TREE_CONNECT: u8 = 0x75;
pub(super) const PROCESS_EXIT: u8 = 0x11;

/// What an old client asks for a share by.
const OLD_TREE_CONNECT: u8 = 0x70;

/// What becomes of a command that wants more than a login can give, each asked of a live server: `None` is no answer.
pub(super) const fn refused(command: u8, is_let_in: bool) -> Option<u32> {
    Some(match (command, is_let_in) {
        (PROCESS_EXIT, true) => status::SUCCESS,
        (PROCESS_EXIT, false) | (TREE_DISCONNECT, _) => status::BAD_TID,
        (IOCTL | OLD_TREE_CONNECT, false) => status::BAD_MESSAGE,
        (IOCTL | OLD_TREE_CONNECT, true) => status::INVALID_PARAMETER,
        (CREATE, false) => status::BAD_FILE,
        (CREATE, true) => status::INVALID_HANDLE,
        (CANCEL, _) => return None,
        // Messages to people.
        (0xd0 | 0xd5..=0xd7, false) => status::PAUSED,
        (0xd0 | 0xd5..=0xd7, true) => status::REQUEST_NOT_ACCEPTED,
        (command, false) if is_of_files(command) => status::BAD_TREE,
        (command, true) if is_of_files(command) => status::NETWORK_NAME_DELETED,
        _ => status::BAD_COMMAND,
    })
}

const IOCTL: u8 = 0x27;
const TREE_DISCONNECT: u8 = 0x71;
const CREATE: u8 = 0xa2;
const CANCEL: u8 = 0xa4;

/// Commands that Samba has of those that need a tree (MS-CIFS 2.2.2.1).
const fn is_of_files(command: u8) -> bool {
    matches!(
        command,
        0x00..=0x14 | 0x1a..=0x1f | 0x22..=0x26 | 0x29 | 0x2c..=0x2f | 0x32..=0x35
            | 0x80..=0x84 | 0xa0 | 0xa1 | 0xa5 | 0xc0..=0xc3
    )
}

const UNICODE: u16 = 0x8000;
const NT_STATUS: u16 = 0x4000;
const EXTENDED: u16 = 0x0800;
const LONG_NAMES: u16 = 0x0040;
const SIGNED: u16 = 0x0010;

/// A header, as far as an answer needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) command: u8,
    flags2: u16,
    tree: u16,
    process: u16,
    pub(super) user: u16,
    multiplex: u16,
}

impl Header {
    /// Reads the header of a message. `None`: it is none.
    pub(super) fn read(message: &[u8]) -> Option<Self> {
        message.get(WORDS).filter(|_| message.starts_with(SIGNATURE))?;
        Some(Self {
            command: *message.get(4)?,
            flags2: u16_at(message, 10)?,
            tree: u16_at(message, 24)?,
            process: u16_at(message, 26)?,
            user: u16_at(message, 28)?,
            multiplex: u16_at(message, 30)?,
        })
    }

    /// Whether the client writes its strings in UTF-16.
    pub(super) fn is_unicode(&self) -> bool {
        self.flags2 & UNICODE != 0
    }

    /// Whether the client asks for security tokens instead of a challenge.
    pub(super) fn is_extended(&self) -> bool {
        self.flags2 & EXTENDED != 0
    }

    /// The answer: this header turned around, parameter words and data.
    pub(super) fn answer(&self, family: Family, extended: bool, status: u32, words: &[u8], data: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER + 3 + words.len() + data.len());
        out.extend_from_slice(SIGNATURE);
        out.push(self.command);
        out.extend(status.to_le_bytes());
        out.push(0x88);
        out.extend(self.flags2(family, extended, status).to_le_bytes());
        out.extend([0; 2]);
        out.extend(self.signature(family));
        out.extend([0; 2]);
        out.extend(
            [self.tree, self.process, self.user, self.multiplex]
                .into_iter()
                .flat_map(u16::to_le_bytes),
        );
        out.push((words.len() / 2) as u8);
        out.extend_from_slice(words);
        out.extend((data.len() as u16).to_le_bytes());
        out.extend_from_slice(data);
        out
    }

    fn flags2(&self, family: Family, extended: bool, status: u32) -> u16 {
        if family == Family::Windows {
            return self.flags2;
        }
        let mut kept = UNICODE | SIGNED;
        if extended {
            kept |= EXTENDED;
        }
        if extended && self.command == NEGOTIATE && status == status::SUCCESS {
            kept |= LONG_NAMES;
        }
        let errors = if status::is_dos(status) { 0 } else { NT_STATUS };
        self.flags2 & kept | errors | 0x0003
    }

    /// What Samba puts in place of a signature until there is a key.
    fn signature(&self, family: Family) -> [u8; 8] {
        let signs = family == Family::Samba && self.command == SESSION_SETUP && self.flags2 & SIGNED != 0;
        if signs { *b"BSRSPYL " } else { [0; 8] }
    }
}

/// The parameter words of a message, and its data. `None`: it is cut off.
fn parts(message: &[u8]) -> Option<(&[u8], Range<usize>)> {
    parts_at(message, HEADER)
}

/// The same of a command whose words' count stands at `place`.
fn parts_at(message: &[u8], place: usize) -> Option<(&[u8], Range<usize>)> {
    let count = usize::from(*message.get(place)?) * 2;
    let words = message.get(place + 1..)?.get(..count)?;
    let data = place + 1 + count + 2;
    let length = usize::from(u16_at(message, data - 2)?);
    Some((words, data..data + length)).filter(|(_, data)| data.end <= message.len())
}

/// Whether a message is long enough to be one; a server hangs up on less.
pub(super) fn has_lengths(message: &[u8]) -> bool {
    message.len() >= WORDS + 2
}

/// Where a message that nobody has taken apart may hold a password, or an answer to a challenge: a login without a token,
/// a request for a share, or what may have one of them chained behind it.
pub(super) fn secret_in(message: &[u8]) -> Option<Range<usize>> {
    const CHAINED: [u8; 6] = [0x24, 0x2d, 0x2e, 0x2f, LOGOFF, CREATE];
    let command = *message.get(4).filter(|_| message.starts_with(SIGNATURE))?;
    let count = *message.get(HEADER)?;
    let all = || Some(WORDS..message.len());
    match command {
        SESSION_SETUP if count == 12 => None,
        SESSION_SETUP | OLD_TREE_CONNECT => all(),
        TREE_CONNECT => share_password(message, HEADER),
        _ if CHAINED.contains(&command) && count > 1 && message.get(WORDS) != Some(&0xff) => all(),
        _ => None,
    }
}

/// What is chained behind a login or a request for a share and is not read: anything but a request for a share behind a
/// login. It may be another login, so it counts from where it is said to begin, or from where what was read ends.
pub(super) fn unread_chain(message: &[u8]) -> Option<Range<usize>> {
    let command = *message.get(4).filter(|_| message.starts_with(SIGNATURE))?;
    if !matches!(command, SESSION_SETUP | TREE_CONNECT) {
        return None;
    }
    let end = |place: usize| parts_at(message, place).map_or(place, |(_, data)| data.end);
    let (next, place) = chained(message, HEADER)?;
    let is_read = (command, next) == (SESSION_SETUP, TREE_CONNECT) && place < message.len();
    let from = if is_read {
        chained(message, place)?.1.min(end(place))
    } else {
        place.min(end(HEADER))
    };
    (from < message.len()).then_some(from..message.len())
}

/// The command that is chained behind the one whose words' count stands at `place`, and where it begins.
fn chained(message: &[u8], place: usize) -> Option<(u8, usize)> {
    let has_words = *message.get(place)? >= 2;
    let command = *message.get(place + 1).filter(|_| has_words)?;
    let from = usize::from(u16_at(message, place + 3)?);
    (command != 0xff).then_some((command, from))
}

/// Whether bytes that nobody has taken apart hold a message that [`secret_in`] may find something in.
pub(super) fn may_hold_login(bytes: &[u8]) -> bool {
    memchr::memmem::find_iter(bytes, SIGNATURE)
        .filter_map(|at| bytes.get(at + SIGNATURE.len()))
        .any(|command| !matches!(*command, NEGOTIATE | ECHO))
}

/// Where the password of a TREE_CONNECT_ANDX request is, if it has one; `at` as in [`path`].
pub(super) fn share_password(message: &[u8], at: usize) -> Option<Range<usize>> {
    let count = usize::from(*message.get(at)?) * 2;
    let length = usize::from(u16_at(message, at + 7)?);
    let from = at + 1 + count + 2;
    let to = (from + length).min(message.len());
    (count >= 8 && length > 1 && from < to).then_some(from..to)
}

/// Whether a message is as long as it says.
pub(super) fn is_whole(message: &[u8]) -> bool {
    parts(message).is_some()
}

/// The dialects of a NEGOTIATE request, in order.
pub(super) fn dialects(message: &[u8]) -> Vec<&[u8]> {
    let data = parts(message)
        .and_then(|(_, data)| message.get(data))
        .unwrap_or_default();
    let strings = data.split(|byte| *byte == 0);
    strings.filter_map(|string| string.strip_prefix(b"\x02")).collect()
}

/// What a server says of itself in a negotiation.
pub(super) struct Offer<'a> {
    /// Its number of the dialect in the client's list.
    pub(super) index: u16,
    /// Its security token, for a client that wants one; else the challenge.
    pub(super) security: Security<'a>,
    /// Now, in the time of Windows.
    pub(super) now: u64,
    /// Number of the process, which Samba gives as session key.
    pub(super) process: u32,
}

/// How a client is to log in.
pub(super) enum Security<'a> {
    /// By tokens: the server's GUID and its first token.
    Tokens([u8; 16], &'a [u8]),
    /// By answering a challenge: it, the workgroup and the server's name.
    Challenge([u8; 8], &'a str, &'a str),
}

impl Offer<'_> {
    /// The words and data of the answer.
    pub(super) fn answer(&self, family: Family) -> (Vec<u8>, Vec<u8>) {
        let (capabilities, session): (u32, u32) = match family {
            Family::Samba => (0x0080_f3fd, self.process),
            Family::Windows => (0x0001_f3fc, 0),
        };
        let (extended, length, data) = match self.security {
            Security::Tokens(guid, token) => (0x8000_0000, 0, [&guid, token].concat()),
            Security::Challenge(challenge, workgroup, server) => {
                let names = [workgroup, "\0", server, "\0"].concat();
                (0, 8, [&challenge[..], &encode(&names, true)].concat())
            }
        };
        let mut words = self.index.to_le_bytes().to_vec();
        // Users, and challenges; so many requests, connections, and bytes at once.
        words.push(3);
        words.extend([50u16, 1].into_iter().flat_map(u16::to_le_bytes));
        words.extend(
            [16_644, 65_536, session, capabilities | extended]
                .into_iter()
                .flat_map(u32::to_le_bytes),
        );
        words.extend(self.now.to_le_bytes());
        words.extend([0, 0, length]);
        (words, data)
    }
}

/// The words that say that none of the client's dialects is known.
pub(super) const NO_DIALECT: &[u8] = b"\xff\xff";

/// A SESSION_SETUP_ANDX request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SessionSetup {
    pub(super) login: Login,
    /// What the client says it is: system and program.
    pub(super) system: String,
    /// It is of LAN Manager's form, which no server of today takes.
    pub(super) is_old: bool,
    /// The command chained behind it, and where it begins; [`TREE_CONNECT`] mostly.
    pub(super) chained: Option<(u8, usize)>,
}

/// What it offers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Login {
    /// A security token, there in the message.
    Token(Range<usize>),
    /// Answers to the challenge, or passwords in clear, there in the message.
    Answers {
        lm: Range<usize>,
        nt: Range<usize>,
        user: String,
        domain: String,
    },
}

impl SessionSetup {
    /// Reads a request. `None`: it is none of the two forms of NT LM 0.12, nor of LAN Manager's own.
    pub(super) fn read(message: &[u8], unicode: bool) -> Option<Self> {
        let (words, data) = parts(message)?;
        let length = |at| u16_at(words, at).map(usize::from);
        let chained = words.first().zip(length(2)).filter(|(command, _)| **command != 0xff);
        let mut strings = Strings {
            message,
            unicode,
            at: 0,
            end: data.end,
        };
        let mut field = |from: usize, length: usize| {
            let to = from + length;
            strings.at = to;
            (to <= data.end).then_some(from..to)
        };
        let login = match words.len() {
            20 => {
                let lm = field(data.start, length(14)?)?;
                let (user, domain) = (strings.next(), strings.next());
                Login::Answers {
                    lm,
                    nt: 0..0,
                    user,
                    domain,
                }
            }
            24 => Login::Token(field(data.start, length(14)?)?),
            26 => {
                let lm = field(data.start, length(14)?)?;
                let nt = field(lm.end, length(16)?)?;
                let (user, domain) = (strings.next(), strings.next());
                Login::Answers { lm, nt, user, domain }
            }
            _ => return None,
        };
        let names = [strings.next(), strings.next()];
        Some(Self {
            login,
            is_old: words.len() == 20,
            system: names.join(" ").trim().to_owned(),
            chained: chained.map(|(command, at)| (*command, at)),
        })
    }
}

/// What is said of a login that cannot be read: its form is none, or what is in it points out of it.
pub(super) fn broken_login(message: &[u8]) -> u32 {
    match message.get(HEADER) {
        Some(10 | 12 | 13) => status::INVALID_PARAMETER,
        _ => status::BAD_MESSAGE,
    }
}

/// The path of a TREE_CONNECT_ANDX request; `at` is where its words' count stands: [`HEADER`] unless it is chained.
pub(super) fn path(message: &[u8], at: usize, unicode: bool) -> Option<String> {
    let count = usize::from(*message.get(at)?) * 2;
    let password = usize::from(u16_at(message, at + 7)?);
    let from = at + 1 + count + 2 + password;
    let end = message.len();
    (count >= 8).then(|| {
        Strings {
            message,
            unicode,
            at: from,
            end,
        }
        .next()
    })
}

/// Strings one behind the other, each ended by a NUL.
struct Strings<'a> {
    message: &'a [u8],
    unicode: bool,
    at: usize,
    end: usize,
}

impl Strings<'_> {
    fn next(&mut self) -> String {
        // UTF-16 begins at an even offset of the message.
        let step = if self.unicode { 2 } else { 1 };
        let from = self.at.next_multiple_of(step);
        let rest = self.message.get(from..self.end).unwrap_or_default();
        let length = rest
            .chunks(step)
            .take_while(|unit| unit.iter().any(|byte| *byte != 0))
            .count()
            * step;
        self.at = from + length + step;
        decode(rest.get(..length).unwrap_or(rest), self.unicode)
    }
}

/// Words and data of an answer to SESSION_SETUP_ANDX. `token`: for a client that logs in by tokens.
pub(super) fn session(look: &Look, token: Option<&[u8]>, unicode: bool) -> (Vec<u8>, Vec<u8>) {
    let mut words = vec![0xff, 0, 0, 0, 0, 0];
    if let Some(token) = token {
        words.extend((token.len() as u16).to_le_bytes());
    }
    let mut data = token.unwrap_or_default().to_vec();
    if unicode && !(WORDS + words.len() + 2 + data.len()).is_multiple_of(2) {
        data.push(0);
    }
    let workgroup = match (look.family, token) {
        (Family::Windows, Some(_)) => None,
        _ => Some(look.ntlm.workgroup.as_str()),
    };
    for name in [Some(look.native_os.as_str()), Some(&look.native_lm), workgroup]
        .into_iter()
        .flatten()
    {
        data.extend(encode(&format!("{name}\0"), unicode));
    }
    (words, data)
}

/// How often an ECHO request wants to be answered, and with what.
pub(super) fn echo(message: &[u8]) -> Option<(u16, &[u8])> {
    let (words, data) = parts(message)?;
    Some((u16_at(words, 0)?, message.get(data)?))
}
