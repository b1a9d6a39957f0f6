//! What a peer sent in one session: the input a service has still to read, the capture, and where secrets are in it.
//!
//! Made at the first byte, so that a silent session has none. In: chunks as read, marks and secrets as the service
//! finds them. Out: the input, the [`Capture`], masked facts.
//!
//! Invariants: 1. `kept` is a prefix of the stream, at most `capture_bytes_max` long; size and digest are of all of it.
//! 2. Whatever was marked or known as secret is in the capture's secret ranges, wherever it occurs, and so is what the
//! bytes themselves name as one ([`mask::lines`]), whether a service read it or not. 3. Beyond the bounds on marks,
//! places and secrets everything counts as secret: too much is masked, never too little.

use std::ops::Range;

use sha2::{Digest as _, Sha256};
use smol_str::SmolStr;
use trapline_schemas::{Field, Value, text};

use crate::decoy::crowd::Hold;
use crate::decoy::mask;
use crate::roles::Capture;

/// Most marked ranges; beyond, the whole capture is secret.
const MARKS_MAX: usize = 1024;

/// Most places of secrets in one capture; beyond, the whole capture is secret.
const PLACES_MAX: usize = 4096;

/// Most distinct secrets looked for; beyond, the whole capture is secret.
const SECRETS_MAX: usize = 64;

/// Texts that the decoy makes or works out, which repeat no secret but by chance; and the user's name, which may be the
/// password as well and has a rule of its own. Every other text may be the peer's own words.
const MADE: &[Field] = &[
    Field::CredentialKind,
    Field::DnsOpcode,
    Field::DnsQuestionClass,
    Field::DnsQuestionType,
    Field::EventReason,
    Field::NtlmClientVersion,
    Field::NtlmResponseSha256,
    Field::NtlmServerChallenge,
    Field::NtlmTarget,
    Field::NtlmVersion,
    Field::RdpClientBuild,
    Field::RdpCorrelationId,
    Field::RdpDesktop,
    Field::RdpKeyboardLayout,
    Field::RdpProtocols,
    Field::SmbClientGuid,
    Field::SshHassh,
    Field::SshKeyFingerprint,
    Field::TelnetOptions,
    Field::TelnetWindow,
    Field::TlsCipher,
    Field::TlsCiphers,
    Field::TlsJa3,
    Field::TlsJa4,
    Field::TlsNextProtocol,
    Field::TlsVersion,
    Field::TlsVersions,
    Field::UserName,
    Field::VncSecurityType,
];

/// What a peer sent in one session.
pub(crate) struct Inbound {
    input: Vec<u8>,
    start: usize,
    kept: Vec<u8>,
    seen: u64,
    digest: Sha256,
    marks: Vec<Range<u64>>,
    known: Vec<Secret>,
    all_secret: bool,
    has_secret: bool,
    /// Nothing more is kept.
    full: bool,
    hold: Hold,
}

/// A secret in the two shapes in which it can occur.
struct Secret {
    raw: Box<[u8]>,
    clean: SmolStr,
}

impl std::fmt::Debug for Inbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Inbound({} bytes)", self.seen)
    }
}

impl Inbound {
    pub(crate) fn new(hold: Hold) -> Self {
        Self {
            input: Vec::new(),
            start: 0,
            kept: Vec::new(),
            seen: 0,
            digest: Sha256::new(),
            marks: Vec::new(),
            known: Vec::new(),
            all_secret: false,
            has_secret: false,
            full: false,
            hold,
        }
    }

    /// Takes a chunk in. `false`: there is no memory for it left in the decoy role's budget.
    pub(crate) fn take(&mut self, bytes: &[u8], capture_bytes_max: usize) -> bool {
        self.seen += bytes.len() as u64;
        self.digest.update(bytes);
        let room = capture_bytes_max.saturating_sub(self.kept.len());
        let keep = bytes.get(..room.min(bytes.len())).unwrap_or_default();
        // A prefix has no holes: once a chunk could not be kept whole, nothing after it is.
        let prefix = self.kept.len() as u64 + bytes.len() as u64 == self.seen;
        if prefix && !self.full && self.hold.grow(keep.len()) {
            self.kept.extend_from_slice(keep);
        }
        self.hold.shrink(self.start);
        self.input.drain(..std::mem::take(&mut self.start));
        let fits = self.hold.grow(bytes.len());
        if fits {
            self.input.extend_from_slice(bytes);
        }
        fits
    }

    /// Keeps nothing of what is not yet consumed and of what still comes.
    pub(crate) fn keep_no_more(&mut self) {
        self.full = true;
        let read = usize::try_from(self.position()).unwrap_or(usize::MAX);
        self.hold.shrink(self.kept.len().saturating_sub(read));
        self.kept.truncate(read);
    }

    /// Bytes not yet consumed.
    pub(crate) fn input(&self) -> &[u8] {
        self.input.get(self.start..).unwrap_or_default()
    }

    /// Offset of the input's first byte in the stream.
    pub(crate) fn position(&self) -> u64 {
        self.seen - self.input().len() as u64
    }

    /// Bytes received in all.
    pub(crate) fn seen(&self) -> u64 {
        self.seen
    }

    /// The beginning of the stream, as far as it is kept.
    pub(crate) fn kept(&self) -> &[u8] {
        &self.kept
    }

    /// Forgets all that came from an offset of the stream on, which must be consumed: it was no part of the
    /// conversation. Where not all was kept it cannot be taken back, and stays.
    pub(crate) fn forget(&mut self, from: u64) {
        let whole = self.kept.len() as u64 == self.seen;
        let Some(from) = usize::try_from(from).ok().filter(|_| whole && self.input().is_empty()) else {
            return;
        };
        let forgotten = self.kept.len().saturating_sub(from);
        self.kept.truncate(from);
        self.hold.shrink(forgotten);
        self.seen = self.kept.len() as u64;
        self.digest = Sha256::new_with_prefix(&self.kept);
    }

    /// Drops the first bytes of the input; gives their offsets in the stream.
    pub(crate) fn consume(&mut self, count: usize) -> Range<u64> {
        let from = self.position();
        self.start += count.min(self.input().len());
        let to = self.position();
        if self.start == self.input.len() {
            self.hold.shrink(std::mem::take(&mut self.start));
            self.input = Vec::new();
        }
        from..to
    }

    /// Marks a range of the stream as secret, and its bytes wherever they occur.
    pub(crate) fn mark(&mut self, range: Range<u64>) {
        let bytes = self.kept.get(within(&range, self.kept.len())).unwrap_or_default();
        let bytes: Box<[u8]> = bytes.into();
        self.hide(range);
        self.know(&bytes);
    }

    /// Marks a range of the stream as secret, there alone.
    pub(crate) fn hide(&mut self, range: Range<u64>) {
        self.has_secret |= !range.is_empty();
        let is_full = self.marks.len() >= MARKS_MAX;
        match self.marks.last_mut() {
            Some(last) if last.start <= range.start && range.end <= last.end => {}
            Some(last) if last.end == range.start => last.end = range.end,
            _ if is_full => self.all_secret = true,
            _ => self.marks.push(range),
        }
    }

    /// Knows a secret, to be masked wherever it occurs; shorter than [`mask::SECRET_BYTES_MIN`] it is masked only
    /// where it is marked.
    pub(crate) fn know(&mut self, secret: &[u8]) {
        self.has_secret |= !secret.is_empty();
        let is_new = !self.known.iter().any(|known| *known.raw == *secret);
        if secret.len() < mask::SECRET_BYTES_MIN || !is_new {
            return;
        }
        if self.known.len() >= SECRETS_MAX || !self.hold.grow(2 * secret.len()) {
            self.all_secret = true;
            return;
        }
        self.known.push(Secret {
            raw: secret.into(),
            clean: text::clean(secret),
        });
    }

    /// Masks what is known or named as secret in a text as typed.
    pub(crate) fn mask_bytes(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = bytes.to_vec();
        let named = mask::lines::places(bytes);
        self.has_secret |= !named.is_empty();
        let secrets = self.known.iter().map(|secret| &*secret.raw);
        mask::apply(&mut out, &named);
        mask::apply(&mut out, &mask::find(bytes, secrets));
        out
    }

    /// Masks what is known or named as secret in facts that may hold what the peer typed.
    pub(crate) fn mask_facts(&self, facts: &mut [(Field, Value)]) {
        for (_, value) in facts.iter_mut().filter(|(field, _)| !MADE.contains(field)) {
            match value {
                Value::Text(text) => self.mask_text(text),
                Value::Texts(texts) => texts.iter_mut().for_each(|text| self.mask_text(text)),
                _ => {}
            }
        }
    }

    fn mask_text(&self, text: &mut SmolStr) {
        let secrets = self.known.iter().map(|secret| uncut(&secret.clean));
        let found = mask::find(uncut(text), secrets).into_iter();
        let found = mask::union(found.chain(mask::lines::places(uncut(text))));
        if !found.is_empty() {
            *text = mask::text(text, &found);
        }
    }

    /// The capture of the whole session; with `masked`, its secrets are named.
    pub(crate) fn into_capture(self, masked: bool) -> Capture {
        let secrets = if masked { self.secrets() } else { Vec::new() };
        Capture {
            seen: self.seen,
            sha256: self.digest.finalize().into(),
            has_secret: masked && self.has_secret || !secrets.is_empty(),
            secrets,
            kept: self.kept,
            hold: Some(self.hold),
        }
    }

    fn secrets(&self) -> Vec<Range<usize>> {
        let all = || std::iter::once(0..self.kept.len()).collect();
        if self.all_secret {
            return all();
        }
        let marked = self.marks.iter().map(|range| within(range, self.kept.len()));
        let known = mask::find(&self.kept, self.known.iter().map(|secret| &*secret.raw));
        let found = mask::union(marked.chain(known).chain(mask::lines::places(&self.kept)));
        if found.len() > PLACES_MAX { all() } else { found }
    }
}

/// A clean text without the mark of a cut, so that what the cut left of a secret is still found.
fn uncut(text: &str) -> &[u8] {
    text.strip_suffix('…').unwrap_or(text).as_bytes()
}

/// A range of the stream as a range of its first `kept` bytes.
fn within(range: &Range<u64>, kept: usize) -> Range<usize> {
    let cut = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(kept);
    cut(range.start)..cut(range.end).max(cut(range.start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decoy::crowd::Memory;

    #[test]
    fn without_memory_a_capture_stays_a_prefix_and_input_is_refused() {
        let memory = Memory::new(10);
        let mut inbound = Inbound::new(memory.hold());
        assert!(inbound.take(b"1234", 64));
        assert!(!inbound.take(b"56789", 64));
        inbound.consume(usize::MAX);
        assert!(inbound.take(b"xy", 64));
        let capture = inbound.into_capture(true);
        assert_eq!((&capture.kept[..], capture.seen), (&b"1234"[..], 11));
        assert_eq!(capture.sha256, <[u8; 32]>::from(Sha256::digest(b"123456789xy")));
    }

    #[test]
    fn memory_is_given_back_when_the_capture_is_gone() {
        let memory = Memory::new(1000);
        for _ in 0..100 {
            let mut inbound = Inbound::new(memory.hold());
            assert!(inbound.take(&[b'x'; 400], 64 << 10));
            drop(inbound.into_capture(true));
        }
    }

    #[test]
    fn beyond_the_bounds_everything_is_secret() {
        let mut inbound = Inbound::new(Memory::new(1 << 20).hold());
        inbound.take(b"some line", 64);
        for number in 0..=SECRETS_MAX {
            inbound.know(format!("secret{number:04}").as_bytes());
        }
        assert_eq!(inbound.into_capture(true).secrets, std::slice::from_ref(&(0..9)));
    }

    #[test]
    fn a_cut_text_hides_what_the_cut_left_of_a_secret() {
        let mut inbound = Inbound::new(Memory::new(1 << 20).hold());
        inbound.know(b"correct horse battery staple");
        let long = [&b"x".repeat(240)[..], b" correct horse battery staple"].concat();
        let mut facts = [(Field::UserAgent, Value::from(text::clean(&long)))];
        inbound.mask_facts(&mut facts);
        let Value::Text(masked) = &facts[0].1 else {
            panic!("a text stays a text");
        };
        assert!(masked.starts_with('x') && !masked.contains("corr"), "{masked}");
    }

    #[test]
    fn a_secret_is_hidden_in_whatever_the_peer_said_of_itself() {
        let mut inbound = Inbound::new(Memory::new(1 << 20).hold());
        inbound.know(b"hunter2xx");
        for field in [
            Field::ClientAttributes,
            Field::RdpChannels,
            Field::RdpClientAddress,
            Field::RdpClientFolder,
            Field::RdpClientName,
            Field::RdpClientProduct,
            Field::RdpCookie,
            Field::RdpRoutingToken,
            Field::RdpShell,
            Field::RdpWorkingFolder,
            Field::SourceDomain,
            Field::SshAuthMethod,
            Field::TftpMode,
            Field::VncVersion,
        ] {
            let mut facts = [(field, Value::from("/p hunter2xx"))];
            inbound.mask_facts(&mut facts);
            assert_eq!(facts[0].1, Value::from("/p *********"), "{field:?}");
        }
    }

    #[test]
    fn a_secret_that_is_like_a_part_of_what_the_decoy_made_hides_nothing_of_it() {
        let mut inbound = Inbound::new(Memory::new(1 << 20).hold());
        inbound.know(b"root");
        inbound.know(b"pass");
        for (field, made) in [
            (Field::UserName, "root"),
            (Field::CredentialKind, "password"),
            (Field::SshHassh, "pass0123"),
            (Field::TlsJa4, "root0123"),
        ] {
            let mut facts = [(field, Value::from(made))];
            inbound.mask_facts(&mut facts);
            assert_eq!(facts[0].1, Value::from(made), "{field:?}");
        }
    }

    #[test]
    fn consumed_input_is_given_back_also_when_some_is_always_left() {
        let mut inbound = Inbound::new(Memory::new(100).hold());
        for _ in 0..1000 {
            assert!(inbound.take(&[b'x'; 40], 0));
            inbound.consume(inbound.input().len() - 1);
        }
        assert!(inbound.input.capacity() < 200);
    }

    #[test]
    fn positions_are_those_of_the_stream() {
        let mut inbound = Inbound::new(Memory::new(1 << 20).hold());
        inbound.take(b"abcdef", 64);
        assert_eq!(inbound.consume(2), 0..2);
        assert_eq!((inbound.input(), inbound.position()), (&b"cdef"[..], 2));
        assert_eq!(inbound.consume(100), 2..6);
        inbound.take(b"g", 64);
        assert_eq!(inbound.consume(1), 6..7);
    }
}
