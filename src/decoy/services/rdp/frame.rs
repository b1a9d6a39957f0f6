//! What everything before and beside the picture travels in: TPKT frames with TPDUs of X.224 class 0.
//!
//! In: the front of the input. Out: whole frames, the connection request read; frames around what is said.
//! Source: RFC 1006 section 6, ITU-T X.224 section 13, MS-RDPBCGR 2.2.1.1; xrdp 0.9.21.1 for what it makes of others.

use std::ops::Range;

use smol_str::SmolStr;
use trapline_schemas::{Field, Value, ids, text};

use super::look::Family;
use super::negotiation;
use crate::decoy::services::ntlm::u32_at;

/// Largest frame that is read, bytes: xrdp's bound.
const FRAME_MAX: usize = 32 << 10;

/// Bytes before the content of a data TPDU.
pub(super) const HEAD: usize = 7;

/// TPDU codes.
const DATA: u8 = 0xf0;
const REQUEST: u8 = 0xe0;

/// What stands at the front of the input.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// Not yet a whole frame.
    More,
    /// A frame of so many bytes.
    Whole(usize),
    /// None at all; a server reads so many bytes before it knows.
    Broken(usize),
}

/// Reads the frame at the front.
pub(super) fn next(input: &[u8], family: Family) -> Frame {
    let is_tpkt = input.first() == Some(&3);
    if family == Family::Windows && !is_tpkt && !input.is_empty() {
        return Frame::Broken(0);
    }
    let Some([_, first, second, third]) = input.first_chunk().copied() else {
        return Frame::More;
    };
    let length = match is_tpkt {
        true => u16::from_be_bytes([second, third]),
        // xrdp takes it for fast-path input, also before there can be any.
        false if first & 0x80 != 0 => u16::from_be_bytes([first & 0x7f, second]),
        false => first.into(),
    };
    let least = if family == Family::Windows { HEAD } else { 4 };
    match usize::from(length) {
        length if !(least..=FRAME_MAX).contains(&length) => Frame::Broken(4),
        length if input.len() < length => Frame::More,
        length => Frame::Whole(length),
    }
}

/// The content of a data TPDU. `None`: the frame holds none.
pub(super) fn data(frame: &[u8]) -> Option<&[u8]> {
    let head = frame.first_chunk::<HEAD>()?;
    let is_data = matches!(head, [3, _, _, _, 2, DATA, _]);
    is_data.then(|| frame.get(HEAD..)).flatten()
}

/// A data TPDU in its frame.
pub(super) fn wrap(content: &[u8]) -> Vec<u8> {
    tpkt(&[&[2, DATA, 0x80], content].concat())
}

/// A connection confirm with negotiation data, which may be none.
pub(super) fn confirm(negotiation: &[u8]) -> Vec<u8> {
    let length = 6 + negotiation.len() as u8;
    tpkt(&[&[length, 0xd0, 0, 0, 0x12, 0x34, 0], negotiation].concat())
}

fn tpkt(tpdu: &[u8]) -> Vec<u8> {
    let length = (tpdu.len() + 4) as u16;
    [&[3, 0], &length.to_be_bytes()[..], tpdu].concat()
}

/// A connection request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Request<'a> {
    /// Who the client says comes: the beginning of a user's name, as a rule.
    cookie: &'a [u8],
    /// Where a balancer is to send it.
    token: &'a [u8],
    /// The layers it asks for; `None`: it knows of no choice.
    pub(super) asked: Option<u32>,
    flags: u8,
    correlation: Option<[u8; 16]>,
}

impl<'a> Request<'a> {
    /// Reads the request in a whole frame. `None`: it is none, or xrdp would not have it.
    pub(super) fn read(frame: &'a [u8], family: Family) -> Option<Self> {
        let [3, _, _, _, indicated, REQUEST, ..] = *frame else {
            return None;
        };
        let rest = frame.get(11..)?;
        if usize::from(indicated) != rest.len() + 6 {
            return None;
        }
        let mut request = Self::default();
        request.read_line(rest);
        request.read_structures(rest, family).then_some(request)
    }

    /// Cookie or token: a line before all else.
    fn read_line(&mut self, rest: &'a [u8]) {
        let Some(end) = memchr::memmem::find(rest, b"\r\n") else {
            return;
        };
        let line = rest.get(..end).unwrap_or_default();
        match line.strip_prefix(b"Cookie: mstshash=") {
            Some(name) => self.cookie = name,
            None => self.token = line.strip_prefix(b"Cookie: ").unwrap_or(line),
        }
    }

    /// The structures, found as xrdp finds them; `false`: one is not as it must be.
    fn read_structures(&mut self, rest: &[u8], family: Family) -> bool {
        let mut at = 0;
        while let Some(kind) = rest.get(at) {
            let structure = rest.get(at..).unwrap_or_default();
            at += match kind {
                b'C' => memchr::memmem::find(structure, b"\r\n").map_or(structure.len(), |end| end + 2),
                1 if self.read_wish(structure, family) => 8,
                6 if structure.len() >= 36 => {
                    self.correlation = structure.get(4..).and_then(<[u8]>::first_chunk).copied();
                    36
                }
                1 | 6 => return false,
                _ => 1,
            };
        }
        true
    }

    fn read_wish(&mut self, structure: &[u8], family: Family) -> bool {
        let (Some([_, flags, 8, 0]), Some(asked)) = (structure.first_chunk(), u32_at(structure, 4)) else {
            return false;
        };
        (self.flags, self.asked) = (*flags, Some(asked));
        family == Family::Windows || (matches!(flags, 0 | 1 | 8) && asked <= 0xb)
    }

    /// What is known of the peer by it, but for the user's name.
    pub(super) fn facts(&self) -> Vec<(Field, Value)> {
        let mut facts = Vec::with_capacity(5);
        for (field, bytes) in [(Field::RdpCookie, self.cookie), (Field::RdpRoutingToken, self.token)] {
            if !bytes.is_empty() {
                facts.push((field, text::clean(bytes).into()));
            }
        }
        if let Some(asked) = self.asked {
            let names = negotiation::names(asked).chain(self.manners());
            facts.push((Field::RdpProtocols, names.map(SmolStr::from).collect::<Vec<_>>().into()));
        }
        if let Some(id) = self.correlation {
            facts.push((Field::RdpCorrelationId, ids::hex(&id).into()));
        }
        facts
    }

    /// Who the client says comes, raw; may be empty.
    pub(super) fn cookie(&self) -> &'a [u8] {
        self.cookie
    }

    /// How it wants to log on (MS-RDPBCGR 2.2.1.1.1): without a password that could be stolen, or by one's own machine.
    fn manners(&self) -> impl Iterator<Item = &'static str> {
        let all = [(1, "restricted-admin"), (2, "redirected-authentication")];
        let flags = self.flags;
        all.into_iter()
            .filter(move |(bit, _)| flags & bit != 0)
            .map(|(_, name)| name)
    }
}

/// A part of a message, as a part of the stream in which the message begins at `at`.
pub(super) fn placed(range: &Range<usize>, at: u64) -> Range<u64> {
    at + range.start as u64..at + range.end as u64
}
