//! Delivery: one worker per sink, each with its own cursor into the journal.
//!
//! In: the journal, the graph, the sinks' factories ([`Plan`]). Out: batches to sinks, dead letters, cursors, a status
//! per sink, and health events through the [`Recorder`].
//!
//! ```text
//!  journal ──► feed (reads and decodes once) ──► worker: queue ► batch ► deliver ► outcomes ─┬► ledger ► cursor
//!                 │                                        ▲                                 ├► again (retry, halves)
//!                 └──► window task of each windowed node        └── pace: when ◄── fault ─────────┴► dead letter
//! ```
//!
//! Invariants, each a named test:
//! 1. A cursor moves only past events that were delivered or are dead letters: it is the lowest unfinished offset.
//! 2. Delivery is at least once. A sink with one batch under way (`in_flight = 1`) gets its events in order, and after
//!    a kill at most one batch twice: the next batch does not start before the cursor behind the last one is kept.
//!    With several under way a kill repeats at most as many: no more is sent past the oldest open event.
//!    While the journal's disk fails delivery goes on with cursors and dead letters in memory; a kill then repeats what
//!    was delivered since.
//! 3. A lone event goes at once; batches grow only while an earlier one is under way.
//! 4. A sink that fails is tried for ever: 1 s, doubled up to 60 s, with jitter; at its own word if it gave one; each
//!    60 s where a person must act. Meanwhile nothing is sent to it. A reload ends a wait that it did not ask for.
//! 5. A refused batch is split down to the event at fault, which becomes a dead letter with the sink's reason.
//! 6. A sink costs the others nothing: own task, own cursor, bounded memory; who falls behind reads for himself. A form
//!    that two who keep up need is rendered once, by the feed.
//! 7. A task that breaks down, which is a bug, begins anew with what the journal has, at a bounded pace; a worker's is
//!    an alarm and an event at once.
//! 8. What a sink remembers is kept in one commit with the cursor behind the answer that taught it.
//! 9. Time comes from tokio's clock; wall time from the [`Clock`] that is handed in.
//!
//! What it does not do: know protocols, judge events, follow the journal's retention.

pub(crate) mod breakdown;
pub mod canary;
mod clock;
mod divide;
mod dry;
pub mod errands;
mod feed;
mod figures;
mod forms;
mod health;
mod ledger;
mod memory;
mod pace;
mod pipeline;
mod queue;
mod reader;
mod refusals;
pub mod registry;
mod status;
mod store;
pub(crate) mod trouble;
mod windows;
mod worker;

#[cfg(test)]
mod tests;

pub use clock::Clock;
pub use dry::count_for;
pub use errands::replay_consumer;
pub use figures::{Figures, Sieved};
pub use health::Recorder;
pub use memory::memory_prefix;
pub use pace::Pace;
pub use pipeline::{BatchSettings, Parts, Pipeline, Plan, SinkPlan, Start, sink_consumer, window_consumer};
pub use status::{Board, FaultSeen, RefusalsSeen, SinkState, SinkStatus, Totals};
pub use store::Store;
