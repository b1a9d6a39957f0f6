//! MCS: how a client joins the conference that a session is, and the channels of it.
//!
//! In: the contents of data TPDUs. Out: what they ask for; confirmations. Connect-Initial and its response are BER, all
//! behind them aligned PER. Source: ITU-T T.125 section 7, MS-RDPBCGR 2.2.1.3 to 2.2.1.9; xrdp 0.9.21.1.

use std::ops::Range;

use super::look::Family;
use crate::decoy::der::{OCTETS, Reader, SEQUENCE, element};

/// The channel that everything but the extensions goes over.
pub(super) const IO_CHANNEL: u16 = 1003;

/// The lowest user id; users are told apart by what is above it.
pub(super) const USERS: u16 = 1001;

/// The server's word that the conference is over: reason `rn-user-requested`.
pub(super) const DISCONNECT: &[u8] = b"\x21\x80";

/// Tags of Connect-Initial and Connect-Response, two bytes each.
const CONNECT_INITIAL: &[u8] = b"\x7f\x65";
const CONNECT_RESPONSE: &[u8] = b"\x7f\x66";

/// Most bytes of user data in a Connect-Initial.
const USER_DATA_MAX: usize = 16 << 10;

/// Where the user data of a Connect-Initial is. `None`: it is no such message, or holds none.
pub(super) fn connect_initial(message: &[u8]) -> Option<Range<usize>> {
    const BOOLEAN: u8 = 0x01;
    // The first byte of the tag says only that more of it follow.
    message.strip_prefix(CONNECT_INITIAL)?;
    let mut outer = Reader::new(message.get(1..)?);
    let mut fields = outer.enter(CONNECT_INITIAL.last().copied()?)?;
    for tag in [OCTETS, OCTETS, BOOLEAN, SEQUENCE, SEQUENCE, SEQUENCE] {
        fields.expect(tag)?;
    }
    let data = fields.expect(OCTETS)?;
    (1..=USER_DATA_MAX)
        .contains(&data.len())
        .then_some(data.start + 1..data.end + 1)
}

/// A Connect-Response that carries `data`.
pub(super) fn connect_response(data: &[u8], family: Family) -> Vec<u8> {
    const SUCCESSFUL: &[u8] = b"\x0a\x01\0";
    const CONNECT_ID: &[u8] = b"\x02\x01\0";
    // Most channels, users, tokens; priorities, throughput, height; largest message, version.
    let most_channels = if family == Family::Windows { 34 } else { 22 };
    let parameters = [
        &[2, 1, most_channels][..],
        b"\x02\x01\x03\x02\x01\0\x02\x01\x01\x02\x01\0\x02\x01\x01\x02\x03\0\xff\xf8\x02\x01\x02",
    ];
    let octets = match family {
        Family::Windows => element(OCTETS, data),
        Family::Xrdp => long(&[OCTETS], data.len(), data),
    };
    let content = [
        SUCCESSFUL,
        CONNECT_ID,
        &element(SEQUENCE, &parameters.concat()),
        &octets,
    ]
    .concat();
    match family {
        Family::Windows => [&CONNECT_RESPONSE[..1], &element(0x66, &content)].concat(),
        Family::Xrdp => long(CONNECT_RESPONSE, content.len(), &content),
    }
}

/// An element whose length takes one byte or three: xrdp knows no others.
fn long(tag: &[u8], length: usize, content: &[u8]) -> Vec<u8> {
    let [high, low] = (length as u16).to_be_bytes();
    let head = if length < 0x80 { &[low][..] } else { &[0x82, high, low] };
    [tag, head, content].concat()
}

/// What a client asks for once it is connected.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// To be at the top of a domain.
    ErectDomain,
    /// To be a user.
    AttachUser,
    /// To join a channel.
    Join { user: u16, channel: u16 },
    /// To have data sent, which are here in the message.
    Data(Range<usize>),
    /// To go.
    Disconnect,
}

/// Reads a message. `None`: it is none that a client of RDP sends, or it is cut off.
pub(super) fn request(message: &[u8]) -> Option<Request> {
    let word = |at: usize| Some(u16::from_be_bytes(*message.get(at..)?.first_chunk()?));
    let choice = message.first()? >> 2;
    Some(match choice {
        1 if message.len() >= 5 => Request::ErectDomain,
        8 => Request::Disconnect,
        10 => Request::AttachUser,
        14 => Request::Join {
            user: word(1)?,
            channel: word(3)?,
        },
        25 => {
            // Priority and segmentation are before the length, of which servers need but its own size.
            let length = match message.get(6)? >> 6 {
                0 | 1 => 1,
                2 => 2,
                _ => return None,
            };
            let from = 6 + length;
            (from <= message.len()).then_some(Request::Data(from..message.len()))?
        }
        _ => return None,
    })
}

/// Says which user a client is.
pub(super) fn attach_confirm(user: u16) -> Vec<u8> {
    [&[0x2e, 0][..], &user.to_be_bytes()].concat()
}

/// Says that a user is on a channel.
pub(super) fn join_confirm(user: u16, channel: u16) -> Vec<u8> {
    let (user, channel) = (user.to_be_bytes(), channel.to_be_bytes());
    [&[0x3e, 0][..], &user, &channel, &channel].concat()
}

/// Data for a client. In: who sends them, as a user.
pub(super) fn data(user: u16, data: &[u8]) -> Vec<u8> {
    let [high, low] = (data.len() as u16 | 0x8000).to_be_bytes();
    let length = if data.len() < 0x80 { &[low][..] } else { &[high, low] };
    let (user, channel) = (user.to_be_bytes(), IO_CHANNEL.to_be_bytes());
    [&[26 << 2][..], &user, &channel, &[0x70], length, data].concat()
}
