//! What an agent answers in versions 1 and 2c.
//!
//! In: a message and what there is. Out: the answer of net-snmp, if that is not longer than the message; else the
//! protocol's own short one, that it would be too big, and of many objects at once as many as fit.
//!
//! Source: RFC 1157 section 4.1, RFC 3416 section 4.2; compared with a live snmpd 5.9.3 of Debian 12.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::LazyLock;
use std::time::Instant;

use super::ber::{identifier, integer, number, numbers, size, tagged, whole};
use crate::decoy::personality::Install;

/// A name, as numbers; at least two.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Name(Vec<u32>);

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let numbers: Result<Vec<u32>, _> = text.split('.').map(str::parse).collect();
        let numbers = numbers.ok().filter(|numbers| numbers.len() > 1);
        numbers
            .map(Self)
            .ok_or_else(|| format!("`{text}` is not numbers with dots between them"))
    }
}

/// What an object holds.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Shown {
    /// A text with variables.
    Text(String),
    /// A whole number.
    Number(i32),
    /// A number that goes up and down.
    Gauge(u32),
    /// Another object's name.
    Name(Name),
    /// A time span, hundredths of seconds.
    Ticks(u32),
    /// How long it runs, if it began so many seconds after its machine.
    Uptime(u32),
}

impl Shown {
    fn encoded(&self, install: &Install) -> Vec<u8> {
        match self {
            Self::Text(text) => tagged(0x04, install.expand(text).as_bytes()),
            Self::Number(number) => tagged(0x02, &integer((*number).into())),
            Self::Gauge(number) => tagged(0x42, &integer((*number).into())),
            Self::Name(name) => tagged(0x06, &identifier(&name.0)),
            Self::Ticks(ticks) => tagged(0x43, &integer((*ticks).into())),
            Self::Uptime(after) => tagged(0x43, &integer(uptime(*after).into())),
        }
    }
}

/// Since when the machine runs: a moment, and how many seconds it ran then.
static BOOT: LazyLock<(Instant, u64)> = LazyLock::new(|| {
    let seconds = u64::try_from(rustix::system::sysinfo().uptime).unwrap_or_default();
    (Instant::now(), seconds)
});

/// Hundredths of seconds that something runs which began so many seconds after the machine. They count round.
pub(super) fn uptime(after_secs: u32) -> u32 {
    let (since, seconds) = *BOOT;
    let seconds = seconds.saturating_sub(after_secs.into());
    let hundredths = u128::from(seconds) * 100 + since.elapsed().as_millis() / 10;
    (hundredths & u128::from(u32::MAX)) as u32
}

const GET: u8 = 0xa0;
const GET_NEXT: u8 = 0xa1;
const RESPONSE: u8 = 0xa2;
const SET: u8 = 0xa3;
const GET_BULK: u8 = 0xa5;

const NO_SUCH_OBJECT: [u8; 2] = [0x80, 0];
const NO_SUCH_INSTANCE: [u8; 2] = [0x81, 0];
const END_OF_VIEW: [u8; 2] = [0x82, 0];

const TOO_BIG: i64 = 1;
const NO_SUCH_NAME: i64 = 2;
const NO_ACCESS: i64 = 6;

/// Most repetitions of one request that are looked at.
const REPETITIONS_MAX: i64 = 1000;

/// A message of version 1 or 2c.
struct Request<'m> {
    /// 0 is version 1, 1 is 2c.
    version: i64,
    community: &'m [u8],
    operation: u8,
    id: &'m [u8],
    /// Of GetBulk: how many names are asked for once, and how often the others.
    once: i64,
    often: i64,
    bindings: Vec<Binding>,
}

/// A name and its value, encoded.
#[derive(Debug, Clone)]
struct Binding {
    name: Vec<u32>,
    value: Vec<u8>,
}

impl Binding {
    fn encoded(&self) -> Vec<u8> {
        let name = tagged(0x06, &identifier(&self.name));
        tagged(0x30, &[name, self.value.clone()].concat())
    }
}

/// What is answered: an error and its place, and bindings.
struct Answer {
    error: i64,
    index: i64,
    bindings: Vec<Binding>,
}

/// The answer to a message; `None`: it is none of these versions, of another community, or not to be answered.
pub(super) fn reply(
    message: &[u8],
    community: &str,
    objects: &BTreeMap<Name, Shown>,
    install: &Install,
) -> Option<Vec<u8>> {
    let request = Request::read(message).filter(|request| request.community == community.as_bytes())?;
    let room = message.len();
    let tree = Tree { objects, install };
    let answer = match request.operation {
        GET => tree.get(&request),
        GET_NEXT => tree.next(&request),
        GET_BULK => tree.bulk(&request, room),
        SET => request.refuse(if request.version == 0 { NO_SUCH_NAME } else { NO_ACCESS }, 1),
        _ => return None,
    };
    let whole = request.encode(&answer);
    if whole.len() <= room {
        return Some(whole);
    }
    let mut short = request.refuse(TOO_BIG, 0);
    if request.version > 0 {
        short.bindings.clear();
    }
    Some(request.encode(&short))
}

impl<'m> Request<'m> {
    fn read(message: &'m [u8]) -> Option<Self> {
        let body = expect(message, 0, 0x30)?.0;
        let (version, at) = expect(body, 0, 0x02)?;
        let version = number(version).filter(|version| matches!(version, 0 | 1))?;
        let (community, at) = expect(body, at, 0x04)?;
        let (operation, contents, _) = whole(body, at)?;
        let (id, at) = expect(contents, 0, 0x02)?;
        let (once, at) = expect(contents, at, 0x02)?;
        let (often, at) = expect(contents, at, 0x02)?;
        Some(Self {
            version,
            community,
            operation,
            id,
            once: number(once)?,
            often: number(often)?,
            bindings: bindings(expect(contents, at, 0x30)?.0)?,
        })
    }

    fn refuse(&self, error: i64, index: i64) -> Answer {
        let bindings = self.bindings.clone();
        let is_any = !bindings.is_empty();
        Answer {
            error: if is_any { error } else { 0 },
            index: if is_any { index } else { 0 },
            bindings,
        }
    }

    /// Bytes of an answer without an error whose bindings have so many: what [`Request::encode`] would write of it.
    fn size_with(&self, bindings: usize) -> usize {
        let contents = size(self.id.len()) + 2 * size(1) + size(bindings);
        size(size(1) + size(self.community.len()) + size(contents))
    }

    fn encode(&self, answer: &Answer) -> Vec<u8> {
        let bindings: Vec<u8> = answer.bindings.iter().flat_map(Binding::encoded).collect();
        let contents = [
            tagged(0x02, self.id),
            tagged(0x02, &integer(answer.error)),
            tagged(0x02, &integer(answer.index)),
            tagged(0x30, &bindings),
        ];
        let body = [
            tagged(0x02, &integer(self.version)),
            tagged(0x04, self.community),
            tagged(RESPONSE, &contents.concat()),
        ];
        tagged(0x30, &body.concat())
    }
}

/// The contents of the element at `at`, which has this tag, and where the next begins.
fn expect(bytes: &[u8], at: usize, tag: u8) -> Option<(&[u8], usize)> {
    let (found, contents, end) = whole(bytes, at)?;
    (found == tag).then_some((contents, end))
}

fn bindings(list: &[u8]) -> Option<Vec<Binding>> {
    let (mut found, mut at) = (Vec::new(), 0);
    while at < list.len() {
        let (pair, end) = expect(list, at, 0x30)?;
        let (name, value) = expect(pair, 0, 0x06)?;
        let (tag, value, _) = whole(pair, value)?;
        found.push(Binding {
            name: numbers(name)?,
            value: tagged(tag, value),
        });
        at = end;
    }
    Some(found)
}

/// What there is.
struct Tree<'a> {
    objects: &'a BTreeMap<Name, Shown>,
    install: &'a Install,
}

impl Tree<'_> {
    fn get(&self, request: &Request<'_>) -> Answer {
        let mut found = Vec::new();
        for (binding, index) in request.bindings.iter().zip(1..) {
            let value = match self.objects.get(&Name(binding.name.clone())) {
                Some(shown) => shown.encoded(self.install),
                None if request.version == 0 => return request.refuse(NO_SUCH_NAME, index),
                None if self.is_known(&binding.name) => NO_SUCH_INSTANCE.to_vec(),
                None => NO_SUCH_OBJECT.to_vec(),
            };
            found.push(Binding {
                name: binding.name.clone(),
                value,
            });
        }
        good(found)
    }

    /// Whether a name is of an object that has other instances.
    fn is_known(&self, name: &[u32]) -> bool {
        let is_of = |known: &Name| known.0.split_last().is_some_and(|(_, object)| name.starts_with(object));
        self.objects.keys().any(is_of)
    }

    fn next(&self, request: &Request<'_>) -> Answer {
        let mut found = Vec::new();
        for (binding, index) in request.bindings.iter().zip(1..) {
            let next = self.after(&binding.name);
            if request.version == 0 && next.value == END_OF_VIEW {
                return request.refuse(NO_SUCH_NAME, index);
            }
            found.push(next);
        }
        good(found)
    }

    /// The object behind a name, or that there is none.
    fn after(&self, name: &[u32]) -> Binding {
        let behind = (Bound::Excluded(Name(name.to_vec())), Bound::Unbounded);
        let next = self.objects.range(behind).next();
        next.map_or_else(
            || Binding {
                name: name.to_vec(),
                value: END_OF_VIEW.to_vec(),
            },
            |(name, shown)| Binding {
                name: name.0.clone(),
                value: shown.encoded(self.install),
            },
        )
    }

    /// As many as fit; that one at least does not is for the caller to find.
    fn bulk(&self, request: &Request<'_>, room: usize) -> Answer {
        let once = usize::try_from(request.once).unwrap_or_default();
        let (once, often) = request
            .bindings
            .split_at_checked(once)
            .unwrap_or((&request.bindings, &[]));
        let mut answer = good(once.iter().map(|binding| self.after(&binding.name)).collect());
        let mut held: usize = answer.bindings.iter().map(|binding| binding.encoded().len()).sum();
        let mut names: Vec<Vec<u32>> = often.iter().map(|binding| binding.name.clone()).collect();
        for _ in 0..request.often.clamp(0, REPETITIONS_MAX) {
            let mut ended = true;
            for name in &mut names {
                let next = self.after(name);
                ended &= next.value == END_OF_VIEW;
                name.clone_from(&next.name);
                held += next.encoded().len();
                let is_full = request.size_with(held) > room;
                if !is_full || answer.bindings.is_empty() {
                    answer.bindings.push(next);
                }
                if is_full {
                    return answer;
                }
            }
            if ended {
                break;
            }
        }
        answer
    }
}

const fn good(bindings: Vec<Binding>) -> Answer {
    Answer {
        error: 0,
        index: 0,
        bindings,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use trapline_schemas::ids;

    use super::*;
    use crate::decoy::personality::embedded;
    use crate::decoy::services::snmp::Look;
    use crate::decoy::testing::{personality, work};

    fn said(message: &[u8]) -> Option<Vec<u8>> {
        let look = personality(embedded("net-snmp-debian-12").unwrap());
        let own: &Look = look.look();
        reply(message, "public", &own.objects, &look.install)
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(digit).collect()
    }

    /// What a live snmpd 5.9.3 of Debian 12 answered, byte for byte, on a host of this name.
    #[test]
    fn what_fits_is_answered_as_net_snmp_answers_it() {
        for (sent, answer) in [
            // nmap's SNMPv1public asks with long lengths, which leaves room for a name of eight letters.
            (
                "3082002f02010004067075626c6963a082002002044c33a756020100020100308200103082000c06082b060102010105000500",
                "303002010004067075626c6963a22302044c33a7560201000201003015301306082b06010201010500040766696c65733033",
            ),
            (
                "302902010004067075626c6963a01c020412345678020100020100300e300c06082b060102010163000500",
                "302902010004067075626c6963a21c020412345678020102020101300e300c06082b060102010163000500",
            ),
            (
                "302902010104067075626c6963a01c020412345678020100020100300e300c06082b060102010163000500",
                "302902010104067075626c6963a21c020412345678020100020100300e300c06082b060102010163008000",
            ),
            (
                "302902010104067075626c6963a01c020412345678020100020100300e300c06082b060102010101010500",
                "302902010104067075626c6963a21c020412345678020100020100300e300c06082b060102010101018100",
            ),
            (
                "302802010104067075626c6963a01b020412345678020100020100300d300b06072b0601020101010500",
                "302802010104067075626c6963a21b020412345678020100020100300d300b06072b0601020101018100",
            ),
            (
                "302802010104067075626c6963a11b020412345678020100020100300d300b06072b0601020119090500",
                "302802010104067075626c6963a21b020412345678020100020100300d300b06072b0601020119098200",
            ),
            (
                "302802010004067075626c6963a11b020412345678020100020100300d300b06072b0601020119090500",
                "302802010004067075626c6963a21b020412345678020102020101300d300b06072b0601020119090500",
            ),
            (
                "302a02010104067075626c6963a31d020412345678020100020100300f300d06082b06010201010500040178",
                "302a02010104067075626c6963a21d020412345678020106020101300f300d06082b06010201010500040178",
            ),
            (
                "302a02010004067075626c6963a31d020412345678020100020100300f300d06082b06010201010500040178",
                "302a02010004067075626c6963a21d020412345678020102020101300f300d06082b06010201010500040178",
            ),
            (
                "301b02010104067075626c6963a00e0204123456780201000201003000",
                "301b02010104067075626c6963a20e0204123456780201000201003000",
            ),
            (
                "303702010004067075626c6963a02a020412345678020100020100301c300c06082b060102010105000500300c06082b060102010163000500",
                "303702010004067075626c6963a22a020412345678020102020102301c300c06082b060102010105000500300c06082b060102010163000500",
            ),
        ] {
            let said = said(&bytes(sent)).map(|said| ids::hex(&said));
            assert_eq!(said.as_deref(), Some(answer), "{sent}");
        }
    }

    #[test]
    fn what_does_not_fit_is_too_big() {
        for (sent, answer) in [
            (
                "302902010104067075626c6963a01c020412345678020100020100300e300c06082b060102010101000500",
                "301b02010104067075626c6963a20e0204123456780201010201003000",
            ),
            (
                "302902010004067075626c6963a01c020412345678020100020100300e300c06082b060102010101000500",
                "302902010004067075626c6963a21c020412345678020101020100300e300c06082b060102010101000500",
            ),
        ] {
            assert_eq!(said(&bytes(sent)).map(|said| ids::hex(&said)).as_deref(), Some(answer));
        }
        // One name, and a lot of room: nobody's bytes behind it.
        let bulk = bytes("302902010104067075626c6963a51c020412345678020100020164300e300c06082b060102010101000500");
        let padded = [&bulk[..], &[0; 100]].concat();
        let some = said(&padded).expect("an answer");
        assert!(
            some.len() > bulk.len() && some.len() <= padded.len(),
            "{}",
            ids::hex(&some)
        );
    }

    /// A GetBulk of so many names that nothing is behind.
    fn bulk(names: usize) -> Vec<u8> {
        let list = tagged(0x30, &b"\x30\x05\x06\x01\x55\x05\0".repeat(names));
        let contents = [&b"\x02\x01\x07\x02\x01\0\x02\x01\x01"[..], &list].concat();
        let body = [vec![2, 1, 1], tagged(4, b"public"), tagged(GET_BULK, &contents)];
        tagged(0x30, &body.concat())
    }

    #[test]
    fn names_of_one_datagram_cost_work_by_their_number_and_not_by_its_square() {
        let cost = |names| {
            let sent = bulk(names);
            work::of(|| assert_eq!(said(&sent).map(|said| said.len()), Some(sent.len())))
        };
        let (one, two) = (cost(500), cost(1000));
        assert!(two < 3 * one, "{one} bytes written for 500 names, {two} for 1000");
    }

    #[test]
    fn another_community_or_operation_or_version_gets_silence() {
        for sent in [
            "302a020101040770726976617465a01c020412345678020100020100300e300c06082b060102010101000500",
            "302902010104067075626c6963a71c020412345678020100020100300e300c06082b060102010105000500",
            "302902010104067075626c6963a21c020412345678020100020100300e300c06082b060102010105000500",
            "302902010504067075626c6963a01c020412345678020100020100300e300c06082b060102010101000500",
        ] {
            assert_eq!(said(&bytes(sent)), None, "{sent}");
        }
    }

    proptest! {
        #[test]
        fn the_size_of_an_answer_is_known_before_it_is_written(names in 0..3000_usize, community in prop::collection::vec(any::<u8>(), 0..300)) {
            let bindings = vec![Binding { name: vec![1, 3, 6], value: END_OF_VIEW.to_vec() }; names];
            let request = Request { version: 1, community: &community, operation: GET_BULK, id: &[1, 2, 3], once: 0, often: 1, bindings: Vec::new() };
            let held = bindings.iter().map(|binding| binding.encoded().len()).sum();
            prop_assert_eq!(request.size_with(held), request.encode(&good(bindings)).len());
        }

        #[test]
        fn any_bytes_in_a_request_get_no_answer_longer_than_it(
            operation in prop::sample::select(vec![GET, GET_NEXT, GET_BULK, SET]),
            version in 0..2_u8,
            once in 0..3_u8,
            names in prop::collection::vec(prop::collection::vec(0..30_u32, 0..9), 0..5),
        ) {
            let pair = |rest: &Vec<u32>| {
                let name = identifier(&[&[1, 3, 6, 1, 2, 1][..], rest].concat());
                tagged(0x30, &[tagged(0x06, &name), vec![5, 0]].concat())
            };
            let list: Vec<u8> = names.iter().flat_map(pair).collect();
            let contents = [b"\x02\x01\x07\x02\x01".to_vec(), vec![once], b"\x02\x01\x09".to_vec(), tagged(0x30, &list)];
            let body = [vec![2, 1, version], tagged(4, b"public"), tagged(operation, &contents.concat())];
            let message = tagged(0x30, &body.concat());
            let said = said(&message).expect("an answer");
            prop_assert!(said.len() <= message.len());
        }
    }
}
