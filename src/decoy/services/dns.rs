//! `dns`: a name server that is not for this client.
//!
//! In: messages. Out: each question, and a refusal, or what the server tells of itself. Over UDP that is never longer
//! than the message: what a cookie would add is left out, and an answer that is too long is said to be truncated, so
//! that the client asks again over TCP. There it has all that BIND says.
//!
//! Source: RFC 1035 section 4.1, RFC 6891 (EDNS); what is answered how was compared with a live BIND 9.18 of Debian 12
//! that has `recursion no`, with and without `allow-query { none; }`.

mod itself;
mod records;
mod stream;

use trapline_schemas::{Field, Value, text};

use self::itself::Told;
use self::records::{Edns, Mistake};
use crate::decoy::personality;
use crate::decoy::services::{Asked, Service, Speak, UdpAnswer};

/// The row.
pub(super) const SERVICE: Service = Service {
    name: "dns",
    personality: "bind-debian-12",
    look: personality::look::<Look>,
    provide: None,
    speak: Speak::Both {
        stream: stream::serve,
        datagram: answer,
    },
};

/// `[look]` of a `dns` personality.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Look {
    /// What it says to `version.bind`; without it, what it knows of itself is not for this client either.
    version: Option<String>,
}

/// Bytes of the header.
const HEADER: usize = 12;

/// The UDP payload that BIND says it takes.
const PAYLOAD_BYTES: [u8; 2] = 1232_u16.to_be_bytes();

/// Longest name, bytes with its lengths.
const NAME_BYTES_MAX: usize = 255;

const FORMERR: u8 = 1;
const SERVFAIL: u8 = 2;
const NOTIMP: u8 = 4;
const REFUSED: u8 = 5;
const NOTAUTH: u8 = 9;

fn answer(asked: &Asked<'_>) -> UdpAnswer {
    let Asked {
        bytes: message,
        personality,
        ..
    } = *asked;
    let Some(query) = Query::read(message) else {
        return UdpAnswer::default();
    };
    let whole = query.answer(itself::told(&query, personality).as_ref(), &[]);
    let reply = match whole.len() <= message.len() {
        true => whole,
        false => query.answer(Some(&Told::truncated()), &[]),
    };
    UdpAnswer {
        reply: Some(reply),
        facts: query.told(),
        ..UdpAnswer::default()
    }
}

/// A message that is a query.
struct Query<'m> {
    id: [u8; 2],
    opcode: u8,
    /// RD and CD, which BIND says back.
    wishes: [u8; 2],
    question: Option<Question<'m>>,
    edns: Option<Edns>,
    mistake: Option<Mistake>,
}

/// Its one question.
struct Question<'m> {
    /// As sent.
    bytes: &'m [u8],
    kind: u16,
    class: u16,
}

impl<'m> Query<'m> {
    /// Reads a query. `None`: it is too short, or an answer.
    fn read(message: &'m [u8]) -> Option<Self> {
        let header: &[u8; HEADER] = message.first_chunk()?;
        let [id0, id1, high, low, q0, q1, an0, an1, ns0, ns1, ar0, ar1] = *header;
        if high & 0x80 != 0 {
            return None;
        }
        let question = Question::read(message).filter(|_| [q0, q1] == [0, 1]);
        let counts = [[an0, an1], [ns0, ns1], [ar0, ar1]].map(u16::from_be_bytes);
        let after = match &question {
            Some(question) => Some(HEADER + question.bytes.len()),
            None => ([q0, q1] == [0, 0]).then_some(HEADER),
        };
        let found = after.map(|after| records::edns(message, after, counts.into_iter().map(usize::from).sum()));
        let (edns, mistake) = match found {
            Some(Ok((edns, mistake))) => (edns, mistake),
            Some(Err(mistake)) => (None, Some(mistake)),
            None => (None, None),
        };
        Some(Self {
            id: [id0, id1],
            opcode: high >> 3 & 0x0f,
            wishes: [high & 1, low & 0x10],
            question,
            edns,
            mistake,
        })
    }

    /// How it is refused.
    fn code(&self) -> u8 {
        match (self.opcode, &self.question) {
            (0 | 4 | 5, None) => FORMERR,
            (0 | 4 | 5, Some(_)) if self.mistake.is_some() => FORMERR,
            (4 | 5, Some(_)) => NOTAUTH,
            (0, Some(question)) => match (question.class, question.kind) {
                // NONE and ANY are no classes to ask in, OPT and TSIG no types to ask for.
                (0 | 254 | 255, _) | (1 | 3 | 4, 41 | 250) => FORMERR,
                (1 | 3 | 4, 253 | 254) => NOTIMP,
                (3, 252) if question.is_built_in() => SERVFAIL,
                (1 | 3 | 4, 251 | 252) => NOTAUTH,
                (1 | 3 | 4, _) => REFUSED,
                _ => NOTIMP,
            },
            _ => NOTIMP,
        }
    }

    /// Whether BIND says of a refusal that this is prohibited (RFC 8914): what it knows of itself is not for this client.
    fn is_prohibited(&self) -> bool {
        let question = self.question.as_ref().filter(|_| self.code() == REFUSED);
        question.is_some_and(|question| question.class == 4 || question.class == 3 && question.is_built_in())
    }

    /// The answer: the header, the question where it was read, what is told (or the refusal, if nothing is), and an OPT
    /// record, with `options`, where there was one.
    fn answer(&self, told: Option<&Told>, options: &[u8]) -> Vec<u8> {
        let code = if told.is_some() { 0 } else { self.code() };
        let edns = self.edns.as_ref();
        let outdated = edns.is_some_and(Edns::is_outdated);
        let question = self.question.as_ref().filter(|_| matches!(self.opcode, 0 | 4 | 5));
        let [rd, cd] = if self.opcode == 0 { self.wishes } else { [0, 0] };
        let [id0, id1] = self.id;
        let code = if outdated { 0 } else { code };
        let told = told.filter(|_| !outdated);
        let [an, ns] = told.map_or([0, 0], |told| [told.answers, told.authorities]);
        let counts = [
            0,
            u8::from(question.is_some()),
            0,
            an,
            0,
            ns,
            0,
            u8::from(edns.is_some()),
        ];
        let authoritative = told.map_or(0, |told| told.flags);
        let mut reply = vec![id0, id1, 0x80 | self.opcode << 3 | authoritative | rd, cd | code];
        reply.extend_from_slice(&counts);
        reply.extend_from_slice(question.map_or(&[], |question| question.bytes));
        reply.extend_from_slice(told.map_or(&[], |told| &told.records));
        if let Some(edns) = edns {
            let [size0, size1] = PAYLOAD_BYTES;
            // BADVERS is 16, whose upper eight bits are here.
            let upper = u8::from(outdated);
            let flags = if edns.dnssec_ok { 0x80 } else { 0 };
            let length = u16::try_from(options.len()).unwrap_or_default();
            let [length0, length1] = length.to_be_bytes();
            reply.extend_from_slice(&[0, 0, 41, size0, size1, upper, 0, flags, 0, length0, length1]);
            reply.extend_from_slice(options.get(..length.into()).unwrap_or_default());
        }
        reply
    }

    fn facts(&self) -> Vec<(Field, Value)> {
        let mut facts = Vec::new();
        if let Some(operation) = operation(self.opcode) {
            facts.push((Field::DnsOpcode, operation.into()));
        }
        if let Some(question) = &self.question {
            let name = text::clean(&question.name());
            let (class, kind) = (class(question.class), kind(question.kind));
            facts.push((Field::DnsQuestionClass, class.as_str().into()));
            facts.push((Field::DnsQuestionName, name.into()));
            facts.push((Field::DnsQuestionType, kind.as_str().into()));
        }
        facts
    }

    /// The question in one line, if there is one.
    fn asked(&self) -> Option<String> {
        let question = self.question.as_ref()?;
        let (class, kind) = (class(question.class), kind(question.kind));
        Some(format!("{} {class} {kind}", text::clean(&question.name())))
    }

    /// The facts, and the question in one line.
    fn told(&self) -> Vec<(Field, Value)> {
        let asked = self.asked().map(|asked| text::clean(asked.as_bytes()));
        let asked = asked.map(|asked| (Field::Commands, vec![asked].into()));
        self.facts().into_iter().chain(asked).collect()
    }
}

impl<'m> Question<'m> {
    /// Reads the question behind the header. A name in a question is not compressed.
    fn read(message: &'m [u8]) -> Option<Self> {
        let mut at = HEADER;
        loop {
            match *message.get(at)? {
                0 => break,
                label @ 1..=63 => at += 1 + usize::from(label),
                _ => return None,
            }
        }
        if at + 1 - HEADER > NAME_BYTES_MAX {
            return None;
        }
        let [a, b, c, d] = *message.get(at + 1..)?.first_chunk()?;
        Some(Self {
            bytes: message.get(HEADER..at + 5)?,
            kind: u16::from_be_bytes([a, b]),
            class: u16::from_be_bytes([c, d]),
        })
    }

    /// Whether it asks for what BIND knows of itself.
    fn is_built_in(&self) -> bool {
        const NAMES: [&[u8]; 4] = [b"version.bind", b"hostname.bind", b"authors.bind", b"id.server"];
        NAMES.iter().any(|name| self.name().eq_ignore_ascii_case(name))
    }

    /// The name, labels apart by dots; the root is one dot.
    fn name(&self) -> Vec<u8> {
        let (mut name, mut rest) = (Vec::new(), self.bytes);
        while let Some((length, after)) = rest.split_first()
            && *length > 0
            && let Some((label, after)) = after.split_at_checked(usize::from(*length))
        {
            if !name.is_empty() {
                name.push(b'.');
            }
            name.extend_from_slice(label);
            rest = after;
        }
        if name.is_empty() { b".".to_vec() } else { name }
    }
}

/// An operation that is no plain query (RFC 6895 section 2.2).
fn operation(opcode: u8) -> Option<&'static str> {
    match opcode {
        0 => None,
        1 => Some("IQUERY"),
        2 => Some("STATUS"),
        4 => Some("NOTIFY"),
        5 => Some("UPDATE"),
        _ => Some("unassigned"),
    }
}

fn class(number: u16) -> String {
    match number {
        1 => "IN".into(),
        3 => "CH".into(),
        4 => "HS".into(),
        254 => "NONE".into(),
        255 => "ANY".into(),
        other => format!("CLASS{other}"),
    }
}

/// A type as it is written (RFC 1035 section 3.2.2, RFC 3597 for those without a name here).
fn kind(number: u16) -> String {
    const KINDS: [(u16, &str); 22] = [
        (1, "A"),
        (2, "NS"),
        (5, "CNAME"),
        (6, "SOA"),
        (10, "NULL"),
        (12, "PTR"),
        (13, "HINFO"),
        (15, "MX"),
        (16, "TXT"),
        (28, "AAAA"),
        (33, "SRV"),
        (35, "NAPTR"),
        (43, "DS"),
        (46, "RRSIG"),
        (48, "DNSKEY"),
        (52, "TLSA"),
        (64, "SVCB"),
        (65, "HTTPS"),
        (99, "SPF"),
        (251, "IXFR"),
        (252, "AXFR"),
        (255, "ANY"),
    ];
    let known = KINDS.iter().find(|(of, _)| *of == number);
    known.map_or_else(|| format!("TYPE{number}"), |(_, name)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn query(opcode: u8, flags: [u8; 2], kind: u8, class: u8, more: &[u8]) -> Vec<u8> {
        let additional = u8::from(!more.is_empty());
        let header = [
            0x12,
            0x34,
            opcode << 3 | flags[0],
            flags[1],
            0,
            1,
            0,
            0,
            0,
            0,
            0,
            additional,
        ];
        [&header, &b"\x07example\x03com\0\0"[..], &[kind, 0, class], more].concat()
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What BIND 9.18.49 answered, byte for byte.
    #[test]
    fn questions_are_refused_as_bind_refuses_them() {
        let question = |kind: &str| format!("076578616d706c6503636f6d0000{kind}");
        for (sent, header, rest) in [
            (
                query(0, [1, 0], 1, 1, b""),
                "123481050001000000000000",
                question("010001"),
            ),
            (
                query(0, [1, 0x30], 1, 1, b""),
                "123481150001000000000000",
                question("010001"),
            ),
            (
                query(0, [0, 0], 1, 1, b""),
                "123480050001000000000000",
                question("010001"),
            ),
            (
                query(0, [1, 0], 252, 1, b""),
                "123481090001000000000000",
                question("fc0001"),
            ),
            (
                query(0, [1, 0], 255, 1, b""),
                "123481050001000000000000",
                question("ff0001"),
            ),
            (
                query(0, [1, 0], 1, 5, b""),
                "123481040001000000000000",
                question("010005"),
            ),
            (query(2, [1, 0], 1, 1, b""), "123490040000000000000000", String::new()),
            (
                query(4, [1, 0], 6, 1, b""),
                "1234a0090001000000000000",
                question("060001"),
            ),
            (
                query(5, [1, 0], 6, 1, b""),
                "1234a8090001000000000000",
                question("060001"),
            ),
            (query(9, [1, 0], 1, 1, b""), "1234c8040000000000000000", String::new()),
            (
                b"\x12\x34\x01\0\0\0\0\0\0\0\0\0".to_vec(),
                "123481010000000000000000",
                String::new(),
            ),
            (
                query(0, [1, 0], 1, 1, b"\0\0\x29\x10\0\0\0\0\0\0\0"),
                "123481050001000000000001",
                question("01000100002904d0000000000000"),
            ),
            (
                query(0, [1, 0], 1, 1, b"\0\0\x29\x10\0\0\x01\0\0\0\0"),
                "123481000001000000000001",
                question("01000100002904d0010000000000"),
            ),
            (
                query(0, [1, 0], 1, 1, b"\0\0\x29\x10\0\0\0\0\0\0\x04\0\x0b\0\x09"),
                "123481010001000000000000",
                question("010001"),
            ),
            (
                query(0, [1, 0], 1, 1, b"\0\0\x29\x10\0\0\0\0\0\0\x07\0\x0a\0\x03ABC"),
                "123481010001000000000001",
                question("01000100002904d0000000000000"),
            ),
            (
                query(5, [1, 0], 6, 1, b"\0\0\x29\x10\0\0\0\0\0\0\0"),
                "1234a8090001000000000001",
                question("06000100002904d0000000000000"),
            ),
            (
                query(0, [1, 0], 1, 1, b"\0\0\x29\x10\0\0\0\x80\0\0\0"),
                "123481050001000000000001",
                question("01000100002904d0000080000000"),
            ),
        ] {
            let reply = Query::read(&sent).expect("a query").answer(None, &[]);
            assert_eq!(hex(&reply), format!("{header}{rest}"), "{}", sent.escape_ascii());
        }
    }

    #[test]
    fn an_answer_and_what_is_too_short_get_silence() {
        assert!(Query::read(&query(0, [0x81, 0], 1, 1, b"")).is_none());
        assert!(Query::read(b"\x12\x34\x01\0\0").is_none());
    }

    #[test]
    fn the_question_is_told() {
        let sent = query(0, [1, 0], 16, 3, b"");
        let facts = Query::read(&sent).expect("a query").told();
        for (field, value) in [
            (Field::DnsQuestionClass, Value::from("CH")),
            (Field::DnsQuestionName, "example.com".into()),
            (Field::DnsQuestionType, "TXT".into()),
            (Field::Commands, Value::Texts(vec!["example.com CH TXT".into()])),
        ] {
            assert!(facts.contains(&(field, value)), "{field:?}: {facts:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_get_no_answer_longer_than_themselves(
            bytes in prop::collection::vec(prop_oneof![3 => 0..3_u8, 1 => any::<u8>()], 0..80),
        ) {
            if let Some(query) = Query::read(&bytes) {
                prop_assert!(query.answer(None, &[]).len() <= bytes.len());
                let _ = query.told();
            }
        }
    }
}
