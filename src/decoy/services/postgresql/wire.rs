//! Packets and SCRAM messages that a PostgreSQL client sends up to its login. Pure.
//!
//! In: bytes of one packet or message. Out: what it says, or what the server calls it.
//!
//! Source: "Message Formats" of the manual, RFC 5802, and the order of the checks of PostgreSQL 15.

use std::ops::Range;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::fault::Fault;

/// Longest user name (`NAMEDATALEN` less one).
const USER_MAX: usize = 63;

/// Bytes of a proof of SCRAM-SHA-256.
const PROOF: usize = 32;

/// A message with its type and length.
pub(super) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    [&[kind][..], &length.to_be_bytes(), body].concat()
}

/// A number at `at`, big endian.
pub(super) fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    four.try_into().ok().map(u32::from_be_bytes)
}

/// The parameters of a startup packet.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Startup {
    /// Who wants in.
    pub(super) user: Vec<u8>,
    /// Where to; empty: a database named as the user.
    pub(super) database: Vec<u8>,
    /// All others, by name.
    pub(super) others: Vec<(Vec<u8>, Vec<u8>)>,
    /// Names of protocol options that are not known.
    pub(super) unknown: Vec<Vec<u8>>,
}

/// Reads the parameters of a startup packet: what follows its version.
pub(super) fn startup(bytes: &[u8]) -> Result<Startup, Fault> {
    let (mut found, mut at) = (Startup::default(), 0);
    while at < bytes.len() {
        let name = text(bytes, at);
        let value_at = at + name.len() + 1;
        if name.is_empty() || value_at >= bytes.len() {
            break;
        }
        let value = text(bytes, value_at);
        found.take(name, value)?;
        at = value_at + value.len() + 1;
    }
    if at + 1 == bytes.len() {
        Ok(found)
    } else {
        Err(Fault::Layout)
    }
}

impl Startup {
    fn take(&mut self, name: &[u8], value: &[u8]) -> Result<(), Fault> {
        match name {
            b"user" => self.user = value.get(..USER_MAX).unwrap_or(value).to_vec(),
            b"database" => self.database = value.to_vec(),
            b"replication" if !is_replication(value) => return Err(Fault::Replication(value.to_vec())),
            _ if name.starts_with(b"_pq_.") => self.unknown.push(name.to_vec()),
            _ => self.others.push((name.to_vec(), value.to_vec())),
        }
        Ok(())
    }

    /// NegotiateProtocolVersion: what of the request is not spoken.
    pub(super) fn negotiation(&self) -> Vec<u8> {
        const LATEST: u32 = 3 << 16;
        let count = u32::try_from(self.unknown.len()).unwrap_or(u32::MAX);
        let mut body = [LATEST.to_be_bytes(), count.to_be_bytes()].concat();
        for name in &self.unknown {
            body.extend_from_slice(name);
            body.push(0);
        }
        message(b'v', &body)
    }
}

/// Up to a NUL or the end.
fn text(bytes: &[u8], at: usize) -> &[u8] {
    let rest = bytes.get(at..).unwrap_or_default();
    rest.get(..memchr::memchr(0, rest).unwrap_or(rest.len()))
        .unwrap_or_default()
}

/// `database`, or what is taken for yes or no: a beginning of these words that is no other's.
fn is_replication(value: &[u8]) -> bool {
    let lower = value.to_ascii_lowercase();
    let begins = |word: &&[u8]| word.starts_with(&lower);
    let word = [&b"true"[..], b"false", b"yes", b"no"].iter().any(begins) && !lower.is_empty();
    let whole: [&[u8]; 6] = [b"on", b"of", b"off", b"1", b"0", b""];
    value == b"database" || word || (whole.contains(&lower.as_slice()) && !lower.is_empty())
}

/// What a login may be bound to (RFC 5802 section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Channel<'a> {
    /// There is no TLS.
    Plain,
    /// There is, and the client does not bind to it.
    Unbound,
    /// The client binds to TLS with a certificate of this hash.
    Bound(&'a [u8]),
}

/// What a first message of SASL holds: what it binds to of `endpoint`, the hash of the certificate if there is TLS, and
/// where the mechanism's own message is, if there is one yet.
pub(super) fn initial<'a>(
    body: &[u8],
    endpoint: Option<&'a [u8]>,
) -> Result<(Channel<'a>, Option<Range<usize>>), Fault> {
    let end = memchr::memchr(0, body).ok_or(Fault::MessageString)?;
    let channel = match (body.get(..end), endpoint) {
        (Some(b"SCRAM-SHA-256"), None) => Channel::Plain,
        (Some(b"SCRAM-SHA-256"), Some(_)) => Channel::Unbound,
        (Some(b"SCRAM-SHA-256-PLUS"), Some(endpoint)) => Channel::Bound(endpoint),
        _ => return Err(Fault::Mechanism),
    };
    own_message(body, end).map(|place| (channel, place))
}

/// Where the mechanism's own message is, behind the name that ends at `end`.
fn own_message(body: &[u8], end: usize) -> Result<Option<Range<usize>>, Fault> {
    let length = number(body, end + 1).ok_or(Fault::MessageCopy)?;
    let from = end + 5;
    if length == u32::MAX {
        return if body.len() == from {
            Ok(None)
        } else {
            Err(Fault::MessageEnd)
        };
    }
    let left = body.len() - from;
    match usize::try_from(length).unwrap_or(usize::MAX) {
        length if length > left => Err(Fault::MessageBytes),
        length if length < left => Err(Fault::MessageEnd),
        length => Ok(Some(from..from + length)),
    }
}

/// A client's first message of SCRAM.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct First {
    /// It, without what it says of channel binding.
    pub(super) bare: Vec<u8>,
    /// The client's nonce.
    pub(super) nonce: Vec<u8>,
    /// What the last message must say of channel binding.
    pub(super) binding: Vec<u8>,
    /// Whether that names the certificate.
    pub(super) is_bound: bool,
}

/// The channel binding that the server knows (RFC 5929 section 4).
const END_POINT: &[u8] = b"tls-server-end-point";

/// What the last message must say of channel binding, and where the first goes on behind what it says of it.
fn binding(message: &[u8], channel: Channel<'_>) -> Result<(Vec<u8>, usize), Fault> {
    let at = |at: usize| message.get(at).copied().unwrap_or(0);
    let endpoint = match (at(0), channel) {
        (b'p', Channel::Bound(endpoint)) => endpoint,
        (b'n', Channel::Bound(_)) => return Err(Fault::NotBound),
        (b'y', Channel::Bound(_)) => return Err(Fault::NotBoundEither),
        (b'y', Channel::Unbound) => return Err(Fault::Negotiation),
        (b'p', _) => return Err(Fault::Binding),
        (b'n', _) if at(1) == b',' => return Ok((b"biws".to_vec(), 2)),
        (b'y', _) if at(1) == b',' => return Ok((b"eSws".to_vec(), 2)),
        (b'n', _) => return Err(Fault::Comma(at(1))),
        (b'y', _) => return Err(Fault::CommaBinding(at(1))),
        (other, _) => return Err(Fault::Flag(other)),
    };
    let mut rest = Attributes(message);
    let kind = rest.due('p')?;
    if kind != END_POINT {
        return Err(Fault::BindingType(kind.to_vec()));
    }
    let said = [b"p=", END_POINT, b",,", endpoint].concat();
    Ok((BASE64_STANDARD.encode(said).into_bytes(), message.len() - rest.0.len()))
}

/// Reads a client's first message.
pub(super) fn first(message: &[u8], channel: Channel<'_>) -> Result<First, Fault> {
    is_text(message)?;
    let (binding, after) = binding(message, channel)?;
    match message.get(after).copied().unwrap_or(0) {
        b',' => {}
        b'a' => return Err(Fault::Identity),
        other => return Err(Fault::FirstAttribute(other)),
    }
    let bare = message.get(after + 1..).unwrap_or_default();
    if bare.first() == Some(&b'm') {
        return Err(Fault::Extension);
    }
    let mut rest = Attributes(bare);
    rest.due('n')?;
    let nonce = rest.due('r')?;
    if !nonce.iter().all(u8::is_ascii_graphic) {
        return Err(Fault::FirstNonce);
    }
    while !rest.0.is_empty() {
        rest.any()?;
    }
    Ok(First {
        bare: bare.to_vec(),
        nonce: nonce.to_vec(),
        binding,
        is_bound: matches!(channel, Channel::Bound(_)),
    })
}

/// A client's last message of SCRAM.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Last {
    /// Both nonces, as they came.
    pub(super) nonce: Vec<u8>,
    /// Where the proof begins with its comma and name.
    pub(super) proof: usize,
}

/// Reads a client's last message, which follows `first`.
pub(super) fn last(message: &[u8], first: &First) -> Result<Last, Fault> {
    is_text(message)?;
    let mut rest = Attributes(message);
    if rest.due('c')? != first.binding {
        return Err(match first.is_bound {
            true => Fault::BoundElsewhere,
            false => Fault::FinalBinding,
        });
    }
    let nonce = rest.due('r')?.to_vec();
    loop {
        let before = message.len() - rest.0.len();
        let (name, value) = rest.any()?;
        if name != b'p' {
            continue;
        }
        if BASE64_STANDARD
            .decode(value)
            .ok()
            .is_none_or(|proof| proof.len() != PROOF)
        {
            return Err(Fault::Proof);
        }
        if !rest.0.is_empty() {
            return Err(Fault::FinalEnd);
        }
        return Ok(Last {
            nonce,
            proof: before.saturating_sub(1),
        });
    }
}

fn is_text(message: &[u8]) -> Result<(), Fault> {
    match message {
        [] => Err(Fault::Empty),
        _ if message.contains(&0) => Err(Fault::Length),
        _ => Ok(()),
    }
}

/// `name=value` apart by commas.
struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    /// The attribute that must come next.
    fn due(&mut self, name: char) -> Result<&'a [u8], Fault> {
        match self.0 {
            [found, ..] if char::from(*found) != name => Err(Fault::Attribute(name, *found)),
            [] => Err(Fault::Attribute(name, 0)),
            [_, b'=', ..] => Ok(self.value()),
            _ => Err(Fault::Equals(name)),
        }
    }

    /// Whatever comes next.
    fn any(&mut self) -> Result<(u8, &'a [u8]), Fault> {
        match self.0 {
            [] => Err(Fault::AnyEnd),
            [found, ..] if !found.is_ascii_alphabetic() => Err(Fault::AnyName(*found)),
            [name, b'=', ..] => Ok((*name, self.value())),
            [name, ..] => Err(Fault::AnyEquals(*name)),
        }
    }

    fn value(&mut self) -> &'a [u8] {
        let rest = self.0.get(2..).unwrap_or_default();
        let end = memchr::memchr(b',', rest).unwrap_or(rest.len());
        self.0 = rest.get(end + 1..).unwrap_or_default();
        rest.get(..end).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn first_messages_are_judged_as_15_judges_them() {
        for (sent, fault) in [
            (&b""[..], Fault::Empty),
            (b"n,,n=,r=abc\0d", Fault::Length),
            (b"garbage", Fault::Flag(b'g')),
            (b"n", Fault::Comma(0)),
            (b"nx", Fault::Comma(b'x')),
            (b"yx", Fault::CommaBinding(b'x')),
            (b"p=tls-server-end-point,,n=,r=abc", Fault::Binding),
            (b"n,", Fault::FirstAttribute(0)),
            (b"n,a=x,n=,r=abc", Fault::Identity),
            (b"n,,", Fault::Attribute('n', 0)),
            (b"n,,n", Fault::Equals('n')),
            (b"n,,m=x,n=,r=abc", Fault::Extension),
            (b"n,,n=", Fault::Attribute('r', 0)),
            (b"n,,n=,r=a\x80c", Fault::FirstNonce),
            (b"n,,n=,r=abc,1=x", Fault::AnyName(b'1')),
            (b"n,,n=,r=abc,x", Fault::AnyEquals(b'x')),
        ] {
            assert_eq!(first(sent, Channel::Plain), Err(fault), "{}", sent.escape_ascii());
        }
        for sent in [&b"n,,n=,r="[..], b"y,,n=u,r=abc,x=1", b"n,,n=,r=abc,"] {
            assert!(first(sent, Channel::Plain).is_ok(), "{}", sent.escape_ascii());
        }
    }

    #[test]
    fn channel_binding_is_judged_as_15_judges_it() {
        let bound = Channel::Bound(b"hash");
        for (sent, channel, fault) in [
            (&b"nx"[..], bound, Fault::NotBound),
            (b"y,,n=,r=abc", bound, Fault::NotBoundEither),
            (b"yx", Channel::Unbound, Fault::Negotiation),
            (b"p=tls-server-end-point,,n=,r=abc", Channel::Unbound, Fault::Binding),
            (b"p,", bound, Fault::Equals('p')),
            (b"p=x,a=b,n=,r=abc", bound, Fault::BindingType(b"x".to_vec())),
            (b"p=tls-server-end-point", bound, Fault::FirstAttribute(0)),
            (b"p=tls-server-end-point,x", bound, Fault::FirstAttribute(b'x')),
            (b"p=tls-server-end-point,a=u,n=,r=abc", bound, Fault::Identity),
            (b"z", bound, Fault::Flag(b'z')),
        ] {
            assert_eq!(first(sent, channel), Err(fault), "{}", sent.escape_ascii());
        }
        assert!(first(b"n,,n=,r=abc", Channel::Unbound).is_ok());
        let taken = first(b"p=tls-server-end-point,,n=,r=abc", bound).expect("it is whole");
        assert_eq!(taken.bare, b"n=,r=abc");
        let said = BASE64_STANDARD.encode(b"p=tls-server-end-point,,hash");
        let proof = BASE64_STANDARD.encode([1; PROOF]);
        assert!(last(format!("c={said},r=abc,p={proof}").as_bytes(), &taken).is_ok());
        let other = format!("c=biws,r=abc,p={proof}");
        assert_eq!(last(other.as_bytes(), &taken), Err(Fault::BoundElsewhere));
    }

    fn plain() -> First {
        first(b"n,,n=,r=abc", Channel::Plain).expect("it is whole")
    }

    #[test]
    fn last_messages_are_judged_as_15_judges_them() {
        let proof = BASE64_STANDARD.encode([1; PROOF]);
        for (sent, fault) in [
            (String::new(), Fault::Empty),
            ("c=biws".to_owned(), Fault::Attribute('r', 0)),
            ("c,r=abc".to_owned(), Fault::Equals('c')),
            ("c=xxxx,r=abc,p=AAAA".to_owned(), Fault::FinalBinding),
            ("c=biws,r=abc".to_owned(), Fault::AnyEnd),
            ("c=biws,r=abc,1=a".to_owned(), Fault::AnyName(b'1')),
            ("c=biws,r=abc,p=AAAA".to_owned(), Fault::Proof),
            (format!("c=biws,r=abc,p={proof},x=1"), Fault::FinalEnd),
        ] {
            assert_eq!(last(sent.as_bytes(), &plain()), Err(fault), "{sent}");
        }
        let whole = format!("c=biws,r=abc,x=1,p={proof}");
        let read = last(whole.as_bytes(), &plain()).expect("it is whole");
        assert_eq!(
            (&read.nonce[..], &whole[read.proof..read.proof + 3]),
            (&b"abc"[..], ",p=")
        );
    }

    #[test]
    fn startup_packets_are_judged_as_15_judges_them() {
        assert_eq!(startup(b"user\0x\0\0").map(|found| found.user), Ok(b"x".to_vec()));
        for bytes in [&b""[..], b"user\0x\0", b"user\0x\0\0\0", b"user\0\0"] {
            assert_eq!(startup(bytes), Err(Fault::Layout), "{}", bytes.escape_ascii());
        }
        assert_eq!(startup(b"replication\0x\0\0"), Err(Fault::Replication(b"x".to_vec())));
        for value in ["true", "T", "off", "1", "database"] {
            assert!(
                startup(format!("replication\0{value}\0\0").as_bytes()).is_ok(),
                "{value}"
            );
        }
        let asked = startup(b"_pq_.a\0y\0_pq_.b\0z\0\0").expect("it is whole").negotiation();
        assert_eq!(asked, b"v\0\0\0\x1a\0\x03\0\0\0\0\0\x02_pq_.a\0_pq_.b\0");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_named(bytes in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b"nyp,=cr\0ux".to_vec())], 0..120)) {
            let _ = startup(&bytes);
            for channel in [Channel::Plain, Channel::Unbound, Channel::Bound(b"hash")] {
                let _ = first(&bytes, channel);
            }
            if let Ok(read) = last(&bytes, &plain()) {
                prop_assert!(read.proof < bytes.len());
            }
            if let Ok((_, Some(place))) = initial(&bytes, None) {
                prop_assert_eq!(place.end, bytes.len());
            }
        }
    }
}
