//! Holds one set sink to what is decided: one task for each.
//!
//! In: what is wanted ([`Wanted`], whole, whenever it changes), who is spared, the sink, a token to stop. Out: what became
//! of each member, as [`Report`]s through a bounded channel, changes of state alone; how the sink is, on a [`Board`].
//!
//! ```text
//!  wanted ─┐            ┌── list ──► stands ──┐
//!  spared ─┼─► core ────┤                     ├──► core ──► reports, board
//!  told ───┤  (pure:    ├── apply ─► outcomes ┤
//!  time ───┘   what now)└── settle ───────────┘
//! ```
//!
//! Invariants, each a named test:
//! 1. Level-triggered: what is done follows from what is wanted and what stands, never from what was done before. A
//!    change of what is wanted is compared with what is known to stand; all is listed at the start, each `interval`, after
//!    an outage, and when the sink is told of somebody else's hand.
//! 2. A member is taken out when its time is over, whether anybody says so or not; where the destination ends entries by
//!    itself, it is left to.
//! 3. Once faults are over the destination equals what is wanted after a bounded number of steps; nothing that is spared
//!    is ever put in.
//! 4. Waits go by the monotonic clock, ends by the wall clock; where that jumps, ends move with it, so that nothing ends
//!    early or late by the jump.
//! 5. A destination that is away is left alone: 1 s, doubled up to 60 s, with jitter; at its own word if it gave one;
//!    each 60 s where a person must act. What fails of one member holds up no other.
//! 6. What is refused for good is not tried again before its decision or the list of the spared changes; what is nowhere
//!    is asked for every few minutes.
//! 7. A sink that observes is listed and never applied to. At a stop nothing is taken back.
//!
//! What it does not do: decide, keep anything over a restart, know what a destination is.

mod account;
mod answers;
mod board;
mod core;
mod jumps;
mod shell;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use trapline_sink::set::{SetSink, Spared, Target, Wanted};
use uuid::Uuid;

pub use board::{Board, Level, WouldDo};

use crate::delivery::{Clock, Pace};

/// What became of a member; told once for each change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// It stands. Also told when it stood already and another decision wants it now.
    Applied {
        /// Whom.
        target: Target,
        /// The decision.
        decision: Uuid,
        /// What the destination calls it, to be given back with the member.
        handle: Option<Arc<str>>,
        /// From when it was wanted to when it stood.
        took: Duration,
    },
    /// It stood already when the destination was first listed.
    Found {
        /// Whom.
        target: Target,
        /// The decision that wants it.
        decision: Uuid,
        /// What the destination calls it.
        handle: Option<Arc<str>>,
    },
    /// It stands no more: its time is over, nobody wants it, or a graver one has its room.
    Lifted {
        /// Whom.
        target: Target,
        /// The decision it stood for, if that is known.
        decision: Option<Uuid>,
    },
    /// It does not stand, or cannot be taken out, and is tried again. Told after half a minute, or at once where a person
    /// must act.
    Failed {
        /// Whom.
        target: Target,
        /// The decision, if that is known.
        decision: Option<Uuid>,
        /// The sink's words.
        why: String,
    },
    /// There is nothing there to act on.
    Nowhere {
        /// Whom.
        target: Target,
        /// The decision.
        decision: Uuid,
        /// The sink's words.
        why: String,
    },
    /// Refused for good.
    Refused {
        /// Whom.
        target: Target,
        /// The decision.
        decision: Uuid,
        /// The sink's words.
        why: String,
    },
    /// So many entries that somebody else had changed are as wanted again.
    Repaired {
        /// How many.
        count: u64,
    },
}

/// How a worker goes about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How often all that stands is listed.
    pub interval: Duration,
    /// How the waits between tries grow.
    pub retry: Pace,
    /// Nothing is to be changed.
    pub observes: bool,
    /// How long it has at a stop.
    pub grace: Duration,
}

/// The worker of one set sink.
pub struct Worker {
    /// The sink's name.
    pub name: String,
    /// The sink.
    pub sink: Arc<dyn SetSink>,
    /// How it goes about it.
    pub settings: Settings,
    /// The wall clock.
    pub clock: Clock,
    /// What is wanted.
    pub wanted: watch::Receiver<Arc<Wanted>>,
    /// Who is spared.
    pub spared: watch::Receiver<Arc<Spared>>,
    /// Where reports go; the worker waits for room. Closed: nobody wants them.
    pub reports: mpsc::Sender<Report>,
    /// Where it says how it is.
    pub board: watch::Sender<Board>,
    /// Ends it.
    pub stop: CancellationToken,
}

#[cfg(test)]
mod tests;
