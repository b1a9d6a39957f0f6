//! `sip`: a proxy and registrar that nobody can log in to.
//!
//! In: requests. Out: each request, with who it is said to be from and for; the digest of a password as a credential in
//! the form that crackers read; an answer. Over UDP that is never longer than the request: a real one is often longer,
//! and then there is none. Over TCP, and TLS by the layer below, there always is.
//!
//! It relays nothing, rings nobody, and sends nothing of its own.
//!
//! Source: RFC 3261, RFC 3581 (rport), RFC 5626 section 4.4.1 (ping); what is answered how was compared with a live
//! Kamailio 5.6.3 of Debian 12.

mod digest;
mod message;
mod reply;
mod stream;
#[cfg(test)]
mod tests;
mod verdict;

use trapline_schemas::{Field, Value, text};

use self::message::{Name, Read, Request};
use self::reply::Ends;
use crate::decoy::personality;
use crate::decoy::services::{Asked, Service, Speak, UdpAnswer, UdpCredential};

/// The row.
pub(super) const SERVICE: Service = Service {
    name: "sip",
    personality: "kamailio-debian-12",
    look: personality::look::<Look>,
    provide: None,
    speak: Speak::Both {
        stream: stream::serve,
        datagram: answer,
    },
};

/// `[look]` of a `sip` personality.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Look {
    /// What it says of itself in each answer.
    server: String,
}

/// Longest header that is told, bytes.
const TOLD_BYTES_MAX: usize = 512;

fn answer(asked: &Asked<'_>) -> UdpAnswer {
    let Read::Request(request) = Request::read(asked.bytes) else {
        return UdpAnswer::default();
    };
    let ends = Ends {
        peer: asked.peer,
        local: asked.local,
    };
    let verdict = verdict::of_datagram(&request, ends.local, &asked.personality.install);
    let mut facts = facts(&request);
    facts.push((Field::Commands, vec![text::clean(&line(&request))].into()));
    UdpAnswer {
        reply: verdict.map(|verdict| reply::reply(&request, &verdict, ends, asked.personality)),
        facts,
        credential: credential(&request),
        ..UdpAnswer::default()
    }
}

fn credential(request: &Request<'_>) -> Option<UdpCredential> {
    let login = digest::offered(request)?;
    Some(UdpCredential {
        kind: login.kind,
        facts: login.facts(),
        user: login.user,
        secret: login.place,
        proof: Some(login.secret),
    })
}

/// The request in one line.
fn line(request: &Request<'_>) -> Vec<u8> {
    let uri = request.uri.get(..TOLD_BYTES_MAX).unwrap_or(request.uri);
    [request.method, b" ", uri].concat()
}

/// What a request is, and who it is said to be from and for.
fn facts(request: &Request<'_>) -> Vec<(Field, Value)> {
    const TOLD: [(Name, Field); 5] = [
        (Name::CallId, Field::SipCallId),
        (Name::Contact, Field::SipContact),
        (Name::From, Field::SipFrom),
        (Name::To, Field::SipTo),
        (Name::UserAgent, Field::UserAgent),
    ];
    let told = |text: &[u8]| Value::from(text::clean(text.get(..TOLD_BYTES_MAX).unwrap_or(text)));
    let mut facts = vec![
        (Field::SipMethod, told(request.method)),
        (Field::SipUri, told(request.uri)),
    ];
    for (name, field) in TOLD {
        facts.extend(request.value(name).map(|value| (field, told(value))));
    }
    facts
}
