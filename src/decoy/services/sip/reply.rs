//! An answer as Kamailio writes it.
//!
//! In: a request and its verdict. Out: the bytes of the answer: the headers that say whose it is, as they were sent and
//! in their order, and few others.
//!
//! Source: RFC 3261 section 8.2.6, RFC 3581 section 4; tags and nonces as Kamailio makes them.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use md5::Md5;
use sha2::{Digest as _, Sha256};
use trapline_schemas::ids;

use super::Look;
use super::message::{Header, Name, Request, Uri, has_tag, host_and_port};
use super::verdict::Verdict;
use crate::decoy::personality::{Install, Personality};

/// How long a nonce is good, seconds (`nonce_expire` of its `auth` module).
const NONCE_SECS: u32 = 300;

/// Who speaks to whom.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    pub(super) peer: SocketAddr,
    pub(super) local: SocketAddr,
}

/// The answer to a request.
pub(super) fn reply(request: &Request<'_>, verdict: &Verdict, ends: Ends, personality: &Personality) -> Vec<u8> {
    let look: &Look = personality.look();
    let mut reply = format!("SIP/2.0 {}\r\n", verdict.status).into_bytes();
    let mut first = true;
    for header in &request.headers {
        match header.name {
            Name::Via if std::mem::replace(&mut first, false) => reply.extend(via(header, ends.peer)),
            Name::To if !has_tag(header.value) => reply.extend(tagged(header, &tag(request, verdict, ends.local))),
            Name::Via | Name::From | Name::To | Name::CallId | Name::CSeq => reply.extend_from_slice(header.whole),
            _ => {}
        }
    }
    if let Some(challenge) = verdict.challenge {
        let nonce = nonce(&personality.install, now());
        let realm = request.value(Name::From).and_then(Uri::of_address);
        let realm = realm.map_or(&b""[..], |from| from.host);
        reply.extend([challenge.as_bytes(), b": Digest realm=\"", realm].concat());
        reply.extend(format!("\", nonce=\"{nonce}\"\r\n").bytes());
    }
    reply.extend(format!("Server: {}\r\nContent-Length: 0\r\n\r\n", look.server).bytes());
    reply
}

/// The first `Via`, with the port and, where they differ or a port is asked for, the address it came from.
fn via(header: &Header<'_>, peer: SocketAddr) -> Vec<u8> {
    let hop = Hop::of(header.value);
    let mut out = header.before.to_vec();
    let rport = format!("rport={}", peer.port());
    match hop.rport {
        Some((from, to)) => {
            out.extend_from_slice(header.value.get(..from).unwrap_or_default());
            out.extend_from_slice(rport.as_bytes());
            out.extend_from_slice(header.value.get(to..).unwrap_or_default());
        }
        None => out.extend([header.value, b";", rport.as_bytes()].concat()),
    }
    let ip = peer.ip().to_string();
    let bare = hop.host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]"));
    if hop.rport.is_some() || bare.unwrap_or(hop.host) != ip.as_bytes() {
        out.extend(format!(";received={ip}").bytes());
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// `To` with our tag.
fn tagged(header: &Header<'_>, tag: &str) -> Vec<u8> {
    let text = header.whole.trim_ascii_end();
    let end = header.whole.get(text.len()..).unwrap_or_default();
    [text, b";tag=", tag.as_bytes(), end].concat()
}

/// What the first value of a `Via` says.
#[derive(Debug, Default)]
struct Hop<'m> {
    host: &'m [u8],
    port: &'m [u8],
    branch: &'m [u8],
    /// Where `rport` stands in the header's value, with its own value.
    rport: Option<(usize, usize)>,
}

impl<'m> Hop<'m> {
    fn of(value: &'m [u8]) -> Self {
        let value = value.split(|byte| *byte == b',').next().unwrap_or_default();
        let mut hop = Self::default();
        let mut at = 0;
        for part in value.split(|byte| *byte == b';') {
            let text = part.trim_ascii();
            let equals = memchr::memchr(b'=', text).unwrap_or(text.len());
            let (name, after) = text.split_at_checked(equals).unwrap_or((text, b""));
            if at == 0 {
                // Protocol and version may be apart.
                let sent_by = text.rsplit(u8::is_ascii_whitespace).next().unwrap_or_default();
                let (host, port) = host_and_port(sent_by);
                (hop.host, hop.port) = (host, port.unwrap_or_default());
            } else if name.trim_ascii().eq_ignore_ascii_case(b"branch") {
                hop.branch = after.get(1..).unwrap_or_default();
            } else if name.trim_ascii().eq_ignore_ascii_case(b"rport") {
                let from = at + (part.len() - part.trim_ascii_start().len());
                hop.rport = Some((from, from + text.len()));
            }
            at += part.len() + 1;
        }
        hop
    }
}

/// The tag of an answer: a sum of the server and its address, and sums of what the request came with.
fn tag(request: &Request<'_>, verdict: &Verdict, local: SocketAddr) -> String {
    let (label, apart) = match verdict.stateful {
        true => ("SER-TM/tags", '-'),
        false => ("KAMAILIO-stateless", '.'),
    };
    let server = Md5::digest(format!("{label}{}{}", local.ip(), local.port()));
    let hop = request.value(Name::Via).map(Hop::of).unwrap_or_default();
    let call = request.value(Name::CallId).unwrap_or_default();
    let (first, second) = (sum(&[hop.host, hop.port, hop.branch]), sum(&[hop.port, hop.host, call]));
    format!("{}{apart}{first}{second}", ids::hex(&server))
}

/// CRC-16 of ITU-T V.41 over the parts up to the first empty one, its digits in reverse.
fn sum(parts: &[&[u8]]) -> String {
    let parts = parts.iter().take_while(|part| !part.is_empty());
    let crc = !parts
        .copied()
        .flatten()
        .fold(0xffff, |crc, byte| shifted(crc ^ u16::from(*byte)));
    format!("{crc:04x}").chars().rev().collect()
}

fn shifted(crc: u16) -> u16 {
    (0..8).fold(crc, |crc, _| crc >> 1 ^ if crc & 1 == 1 { 0x8408 } else { 0 })
}

fn now() -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(now.as_secs()).unwrap_or(u32::MAX)
}

/// Until when it is good, since when, and a sum that nobody else can make.
fn nonce(install: &Install, now: u32) -> String {
    let times = [now.saturating_add(NONCE_SECS).to_be_bytes(), now.to_be_bytes()].concat();
    let sum = Sha256::new()
        .chain_update(install.draw("sip nonce"))
        .chain_update(&times)
        .finalize();
    let sum = sum.get(..16).unwrap_or_default();
    BASE64_STANDARD.encode([&times, sum].concat())
}
