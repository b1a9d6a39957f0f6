//! NTLM, as the services that carry it share it: SMB, RDP, and whatever else Windows speaks.
//!
//! In: security tokens, NTLMSSP bare or in SPNEGO. Out: the tokens that go back, and of the last one who asked to be
//! let in and with what. Nobody is. Pure: no I/O; the caller reports an [`Attempt`] by [`report`].
//!
//! Source: MS-NLMP 2.2, RFC 4178; flags and orders of fields are those of a live Samba 4.17.12, and of Windows as
//! MS-NLMP section 4 and public captures show it.

mod message;
mod spnego;
#[cfg(test)]
mod tests;

use std::ops::Range;

use sha2::{Digest as _, Sha256};
use trapline_schemas::{Field, Value, ids, text};

use self::message::{Hello, Response, SIGNATURE};
pub(super) use self::message::{Look, Names, decode, encode, now, u16_at, u32_at};
pub(super) use self::spnego::Hint;
use crate::decoy::session::Session;

/// One negotiation, from the first token to the refusal.
#[derive(Debug)]
pub(super) struct Acceptor {
    names: Names,
    challenge: Option<[u8; 8]>,
    /// When it was made.
    challenged: u64,
    hello: Hello,
    /// The peer wraps its tokens in SPNEGO.
    wrapped: bool,
}

/// What a token comes to.
#[derive(Debug)]
pub(super) enum Step {
    /// This goes back, and another token is due.
    Continue(Vec<u8>),
    /// Somebody wants to be let in.
    Attempt(Box<Attempt>),
    /// It is no token of this negotiation.
    Invalid,
}

/// Who wants to be let in, and with what.
#[derive(Debug)]
pub(super) struct Attempt {
    /// What the peer said in its first message.
    hello: Hello,
    /// What it said in its last.
    response: Response,
    /// The challenge that it answers.
    challenge: [u8; 8],
    /// Where in the token the secret parts are: what a password can be guessed by.
    secrets: Vec<Range<usize>>,
    /// Where in it passwords could be tried against something else.
    sealed: Vec<Range<usize>>,
    /// It says again what the challenge said, where it has to.
    coherent: bool,
    /// The name under which the decoy introduced itself.
    target: String,
}

impl Acceptor {
    /// A negotiation by a host of these names.
    pub(super) fn new(names: Names) -> Self {
        Self {
            names,
            challenge: None,
            challenged: 0,
            hello: Hello::default(),
            wrapped: false,
        }
    }

    /// Takes the peer's next token.
    pub(super) fn step(&mut self, token: &[u8]) -> Step {
        let Some(unwrapped) = spnego::unwrap(token) else {
            return Step::Invalid;
        };
        self.wrapped |= unwrapped.wrapped;
        let Some(range) = unwrapped.token else {
            return Step::Continue(spnego::choose(unwrapped.preferred));
        };
        let message = token.get(range.clone()).unwrap_or_default();
        match (message::kind(message), self.challenge.take()) {
            (Some(1), None) => self.greet(message),
            (Some(3), Some(challenge)) => {
                let mut attempt = self.judge(message, range.start, challenge);
                if let Step::Attempt(attempt) = &mut attempt {
                    attempt.sealed.extend(unwrapped.signed);
                }
                attempt
            }
            // The mechanism that the peer would rather have had speaks first: it is told what there is.
            _ if unwrapped.opens && !message.starts_with(SIGNATURE) => {
                Step::Continue(spnego::choose(unwrapped.preferred))
            }
            _ => Step::Invalid,
        }
    }

    fn greet(&mut self, message: &[u8]) -> Step {
        let Some(hello) = Hello::read(message) else {
            return Step::Invalid;
        };
        let challenge = rand::random();
        self.challenge = Some(challenge);
        self.challenged = now();
        let reply = self.names.challenge(hello.flags, challenge, self.challenged);
        self.hello = hello;
        Step::Continue(if self.wrapped { spnego::carry(&reply) } else { reply })
    }

    fn judge(&mut self, message: &[u8], at: usize, challenge: [u8; 8]) -> Step {
        let Some(response) = Response::read(message) else {
            return Step::Invalid;
        };
        let moved = |ranges: &[Range<usize>]| ranges.iter().map(|range| range.start + at..range.end + at).collect();
        Step::Attempt(Box::new(Attempt {
            secrets: moved(&response.secrets),
            sealed: moved(&response.sealed),
            coherent: !response.is_salted()
                || !self.hello.wants_target()
                || response.repeats(&self.names.target_info(self.challenged)),
            hello: std::mem::take(&mut self.hello),
            response,
            challenge,
            target: self.names.target().to_owned(),
        }))
    }

    /// What goes with the word that the peer is let in.
    pub(super) fn farewell(&self) -> Vec<u8> {
        if self.wrapped { spnego::completed() } else { Vec::new() }
    }
}

impl Attempt {
    /// Whether this is nobody: a null session.
    pub(super) fn is_anonymous(&self) -> bool {
        let response = &self.response;
        response.user.is_empty() && response.nt.is_empty() && response.lm.len() <= 1
    }

    /// An attempt outside of NTLMSSP: bare answers to a bare challenge. Their bytes are hidden by the caller.
    pub(super) fn bare(user: String, domain: String, lm: &[u8], nt: &[u8], challenge: [u8; 8], target: &str) -> Self {
        Self {
            hello: Hello::default(),
            response: Response::bare(user, domain, lm, nt),
            challenge,
            secrets: Vec::new(),
            sealed: Vec::new(),
            coherent: true,
            target: target.to_owned(),
        }
    }

    /// The user's name; empty for nobody.
    pub(super) fn user(&self) -> &[u8] {
        self.response.user.as_bytes()
    }

    /// Whether it is for the guest account.
    pub(super) fn is_guest(&self) -> bool {
        self.response.user.eq_ignore_ascii_case("guest")
    }

    /// Whether an NTLMv2 response says again what the challenge said, as MS-NLMP 3.1.5.1.2 has it. Not all servers look.
    pub(super) fn is_coherent(&self) -> bool {
        self.coherent
    }

    /// Whether the response is that of an empty password. NTLMv2 alone is tried.
    pub(super) fn has_empty_password(&self) -> bool {
        self.response.is_of_empty_password(&self.challenge)
    }

    /// What is known of the peer by it.
    pub(super) fn facts(&self) -> Vec<(Field, Value)> {
        let response = &self.response;
        let mut facts = Vec::with_capacity(10);
        let mut name = |field, name: &str| {
            if !name.is_empty() {
                facts.push((field, text::clean(name.as_bytes()).into()));
            }
        };
        let domain = either(&response.domain, &self.hello.domain);
        name(Field::NtlmDomain, domain);
        name(Field::UserDomain, &response.domain);
        name(
            Field::NtlmWorkstation,
            either(&response.workstation, &self.hello.workstation),
        );
        name(
            Field::SourceDomain,
            &either(&response.workstation, &self.hello.workstation).to_ascii_lowercase(),
        );
        name(Field::NtlmTarget, &self.target);
        name(Field::NtlmSpn, &response.spn());
        name(Field::NtlmClientVersion, either(&response.version, &self.hello.version));
        facts.push((Field::NtlmServerChallenge, ids::hex(&self.challenge).into()));
        if let Some((version, bytes)) = response.proof() {
            facts.push((Field::NtlmVersion, version.into()));
            if response.is_salted() {
                let digest: [u8; 32] = Sha256::digest(bytes).into();
                facts.push((Field::NtlmResponseSha256, ids::hex(&digest).into()));
            }
        }
        facts
    }
}

/// What a type 3 message begins with.
const RESPONSE: &[u8] = b"NTLMSSP\0\x03\0\0\0";

/// Where in bytes a response begins, of whatever negotiation: a type 3 message.
pub(super) fn response_in(bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, RESPONSE)
}

/// How many responses there are in bytes.
pub(super) fn responses(bytes: &[u8]) -> usize {
    memchr::memmem::find_iter(bytes, RESPONSE).count()
}

fn either<'a>(first: &'a str, second: &'a str) -> &'a str {
    if first.is_empty() { second } else { first }
}

/// Reports an attempt, and hides what passwords can be guessed by. In: where in the stream its token begins; what else
/// is known.
pub(super) async fn report(session: &mut Session, attempt: &Attempt, token_at: u64, more: Vec<(Field, Value)>) {
    for range in &attempt.secrets {
        session.mark_secret(token_at + range.start as u64..token_at + range.end as u64);
    }
    for range in &attempt.sealed {
        session.hide(token_at + range.start as u64..token_at + range.end as u64);
    }
    let line = attempt.response.crackable(&attempt.challenge);
    let facts = [attempt.facts(), more].concat();
    session.ntlm(attempt.user(), line.as_bytes(), facts).await;
}
