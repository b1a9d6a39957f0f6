//! Decoys: where a hit is born.
//!
//! In: bound sockets and what to be on them ([`crate::roles::ToDecoy`]). Out: [`crate::roles::Hit`]s on a bounded
//! channel, and on another what the kernel dropped ([`crate::roles::Missed`]). One task per listener and per session.
//!
//! Invariants:
//! 1. One accepted TCP connection is exactly one connect hit, whatever the peer or a limit does next.
//! 2. Nothing a peer sends is run, resolved, followed or inflated; no connection is ever opened to anybody.
//! 3. A datagram is never answered with more bytes than it had.
//! 4. Every session ends: by its peer, its service, a limit, an eviction or the shutdown. Memory is bounded by
//!    [`Limits`] and one shared budget, and nothing is buffered for a peer that is silent.
//! 5. A full report channel makes sessions wait; it never makes a hit vanish.
//!
//! It knows nothing of events, the journal or sinks.

pub mod bind;
mod crowd;
mod der;
pub mod handed;
mod inbound;
pub mod keys;
mod listener;
mod mask;
mod number;
pub mod personality;
pub mod role;
pub mod services;
pub mod session;
mod stream;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub mod tls;
mod udp;

use std::sync::Arc;
use std::time::Duration;

use smol_str::SmolStr;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use crate::roles::{Hit, Missed};

pub use crowd::Hold;
pub use personality::Personality;

/// What a decoy is, as the configuration says. Shared by its listeners and sessions.
pub struct DecoySpec {
    /// Its name in the configuration.
    pub name: SmolStr,
    /// The protocol it speaks: a row of `services`.
    pub service: &'static services::Service,
    /// How it looks.
    pub personality: Arc<Personality>,
    /// The bounds its sessions keep.
    pub limits: Limits,
    /// What becomes of secrets that peers offer.
    pub secrets: Secrets,
    /// What the service made of the install's keys, if it needs any.
    pub provided: Option<keys::Provided>,
    /// What it needs to speak TLS, if it may.
    pub tls: Option<tls::Tls>,
}

impl std::fmt::Debug for DecoySpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DecoySpec")
            .field("name", &self.name)
            .field("personality", &self.personality)
            .finish_non_exhaustive()
    }
}

/// What becomes of a secret that a peer offers: `capture.secrets`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Secrets {
    /// Kept as HMAC and length; masked in every captured form.
    #[default]
    Hmac,
    /// Kept as typed; nothing is masked.
    Clear,
    /// Only its length is kept; masked in every captured form.
    None,
}

impl Secrets {
    /// Whether secrets are masked in captured bytes and texts.
    pub const fn masked(self) -> bool {
        !matches!(self, Self::Clear)
    }
}

/// Bounds of sessions and sources: the `[limits]` table, and `capture.bytes_max`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Open sessions of all decoys; beyond it the longest idle one is closed.
    pub sessions: usize,
    /// Open sessions of one source; a contact beyond it is recorded and closed.
    pub sessions_per_source: usize,
    /// Longest a session lasts, whatever trickles.
    pub session: Duration,
    /// Longest a session waits for one byte.
    pub idle: Duration,
    /// Longest one write waits for the peer to read.
    pub write: Duration,
    /// Bytes a session may send before it is closed.
    pub received_bytes_max: u64,
    /// Bytes of a session or datagram that are kept.
    pub capture_bytes_max: usize,
    /// Credentials reported one by one; the rest of a session is a count.
    pub credentials_per_session: u32,
    /// Queries reported one by one; the rest of a session is a count.
    pub queries_per_session: u32,
    /// A silent session that lasts longer than this is worth a session end.
    pub report_after: Duration,
    /// Datagrams of one source to one decoy reported one by one within a minute; the rest is one event with a count.
    pub datagrams_per_source_per_minute: u32,
    /// Events of one source within a minute; the rest is one event with a count.
    pub events_per_source_per_minute: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 15_000,
            sessions_per_source: 200,
            session: Duration::from_secs(60),
            idle: Duration::from_secs(30),
            write: Duration::from_secs(10),
            received_bytes_max: 32 << 20,
            capture_bytes_max: 64 << 10,
            credentials_per_session: 20,
            queries_per_session: 100,
            report_after: Duration::from_millis(250),
            datagrams_per_source_per_minute: 60,
            events_per_source_per_minute: 10_000,
        }
    }
}

impl Limits {
    /// The same with waits of its own, up to a quarter shorter: a time that every install and every service has in
    /// common would tell what they are.
    #[must_use]
    pub fn drawn(self, drawn: [u8; 32]) -> Self {
        let [session, idle, ..] = drawn;
        let shorter = |time: Duration, by: u8| time.mul_f64(1.0 - f64::from(by) / 1024.0);
        Self {
            session: shorter(self.session, session),
            idle: shorter(self.idle, idle),
            ..self
        }
    }
}

/// Bytes that all sessions together may hold for what peers sent: input, captures, and captures on their way to the
/// recorder. Beyond it captures are counted and hashed but not kept, and a session whose input finds no room ends.
const MEMORY_BYTES_MAX: usize = 96 << 20;

/// What all sessions of the decoy role share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// To the recorder; a full channel makes sessions wait.
    pub(crate) hits: mpsc::Sender<Hit>,
    /// To the recorder too; what finds no room is counted on.
    pub(crate) missed: mpsc::Sender<Missed>,
    /// Who is here.
    pub(crate) crowd: Arc<crowd::Crowd>,
    /// What they hold.
    pub(crate) memory: Arc<crowd::Memory>,
    /// Tasks of sessions, so that their end is awaited.
    pub(crate) tasks: TaskTracker,
    /// Most sessions that the limit of open files leaves room for.
    pub(crate) sessions_max: usize,
}
