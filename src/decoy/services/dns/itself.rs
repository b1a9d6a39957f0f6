//! What a name server tells of itself: the zones of class CHAOS that BIND builds in.
//!
//! Source: RFC 4892; each answer compared with a live BIND 9.18.49.

use super::Query;
use super::{Look, REFUSED};
use crate::decoy::personality::Personality;

/// AA, in the upper byte of the flags.
const AUTHORITATIVE: u8 = 0x04;

/// TC, in the upper byte of the flags.
const TRUNCATED: u8 = 0x02;

const TXT: u16 = 16;

/// A record's name: that of the question.
const SAME_NAME: [u8; 2] = [0xc0, super::HEADER as u8];

/// The SOA of such a zone, from its class on: TTL, length, the zone itself, `hostmaster` in it, and five numbers.
const SOA: &[u8] = b"\0\x06\0\x03\0\x01\x51\x80\0\x23\xc0\x0c\x0ahostmaster\xc0\x0c\0\0\0\0\0\0\x70\x80\0\0\x1c\x20\0\x09\x3a\x80\0\x01\x51\x80";

/// What an answer tells.
#[derive(Debug)]
pub(super) struct Told {
    /// Beyond those of any answer, of the upper byte.
    pub(super) flags: u8,
    pub(super) answers: u8,
    pub(super) authorities: u8,
    pub(super) records: Vec<u8>,
}

impl Told {
    /// That there is more than fits.
    pub(super) const fn truncated() -> Self {
        Self {
            flags: AUTHORITATIVE | TRUNCATED,
            answers: 0,
            authorities: 0,
            records: Vec::new(),
        }
    }

    fn text(text: &[u8]) -> Self {
        let text = text.get(..255).unwrap_or(text);
        let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
        let fixed = [0, 16, 0, 3, 0, 0, 0, 0];
        let size = u16::from(length) + 1;
        Self {
            flags: AUTHORITATIVE,
            answers: 1,
            authorities: 0,
            records: [&SAME_NAME[..], &fixed, &size.to_be_bytes(), &[length], text].concat(),
        }
    }

    /// That the name has nothing of this type.
    fn nothing() -> Self {
        Self {
            flags: AUTHORITATIVE,
            answers: 0,
            authorities: 1,
            records: [&SAME_NAME[..], SOA].concat(),
        }
    }
}

/// What is told to a query; `None`: it is refused.
pub(super) fn told(query: &Query<'_>, personality: &Personality) -> Option<Told> {
    let look: &Look = personality.look();
    let version = look.version.as_ref()?;
    let question = query.question.as_ref()?;
    if query.code() != REFUSED || question.class != 3 {
        return None;
    }
    let host = personality.install.host();
    match (question.name().to_ascii_lowercase().as_slice(), question.kind) {
        (b"version.bind", TXT) => Some(Told::text(version.as_bytes())),
        (b"hostname.bind", TXT) => Some(Told::text(host.as_bytes())),
        // No `server-id` is set.
        (b"version.bind" | b"hostname.bind" | b"id.server", _) => Some(Told::nothing()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use trapline_schemas::ids;

    use super::*;
    use crate::decoy::personality::embedded;
    use crate::decoy::services::Asked;
    use crate::decoy::testing::personality;

    fn asked(name: &[u8], kind: u8, more: &[u8]) -> Vec<u8> {
        let header = [&b"\x12\x34\x01\0\0\x01\0\0\0\0\0"[..], &[u8::from(!more.is_empty())]].concat();
        [&header, name, &[0, kind, 0, 3], more].concat()
    }

    const VERSION: &[u8] = b"\x07version\x04bind\0";
    const OPT: &[u8] = b"\0\0\x29\x10\0\0\0\0\0\0\0";

    /// What BIND 9.18.49 of Debian 12 answered over TCP, byte for byte.
    #[test]
    fn what_it_tells_of_itself_is_what_bind_tells() {
        let look = personality(embedded("bind-debian-12").unwrap());
        for (sent, said) in [
            (
                asked(VERSION, 16, b""),
                "1234850000010001000000000776657273696f6e0462696e640000100003c00c0010000300000000001918392e31382e34392d317e646562313275332d44656269616e",
            ),
            (
                asked(VERSION, 1, OPT),
                "1234850000010000000100010776657273696f6e0462696e640000010003c00c00060003000151800023c00c0a686f73746d6173746572c00c000000000000708000001c2000093a800001518000002904d0000000000000",
            ),
            (
                asked(b"\x01a\x04bind\0", 16, OPT),
                "12348105000100000000000101610462696e64000010000300002904d0000000000000",
            ),
            (
                asked(VERSION, 252, OPT),
                "1234810200010000000000010776657273696f6e0462696e640000fc000300002904d0000000000000",
            ),
        ] {
            let query = Query::read(&sent).expect("a query");
            let reply = query.answer(told(&query, &look).as_ref(), &[]);
            assert_eq!(ids::hex(&reply), said, "{}", sent.escape_ascii());
        }
    }

    #[test]
    fn over_udp_what_is_longer_than_its_question_is_truncated() {
        let look = personality(embedded("bind-debian-12").unwrap());
        let sent = asked(VERSION, 16, OPT);
        let reply = |bytes: &[u8]| {
            let [peer, local] = ["192.0.2.1:53", "192.0.2.2:53"].map(|address| address.parse().unwrap());
            let asked = Asked {
                bytes,
                peer,
                local,
                personality: &look,
            };
            super::super::answer(&asked).reply.expect("an answer")
        };
        let truncated = reply(&sent);
        assert_eq!(truncated.len(), sent.len());
        assert_eq!(truncated[2..8], [0x87, 0, 0, 1, 0, 0]);
        let padded = [&sent[..], &[0; 40]].concat();
        assert_eq!(reply(&padded)[2..8], [0x85, 0, 0, 1, 0, 1], "it fits");
    }
}
