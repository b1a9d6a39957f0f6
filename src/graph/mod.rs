//! The graph: which entry goes to which sink, and what windows make of it. Pure.
//!
//! In: the `inputs` and transforms of the configuration; entries of the journal, decoded. Out: for each entry the set
//! of nodes and sinks that it reaches ([`Reach`]), and for a windowed node what it lets through and what it counts.
//!
//! Invariants:
//! 1. The same entry reaches the same sinks, however often it is asked: nothing here reads a clock or a file.
//! 2. `"*"` is decoys, findings and decisions: never the output of a transform, never health.
//! 3. No sink is reached by a health event about itself.
//! 4. A windowed node decides once: what it let through is an entry of the journal (a *pass*), so that every sink
//!    behind it, at whatever cursor, sees the same choice.
//!
//! 5. A node that changes events (`sample`, `redact`) changes them for what stands behind it alone, passes and what
//!    windows sum up included.
//!
//! 6. A canary goes to the sinks that want it and to what feeds them. Windows let it through uncounted, samples always;
//!    filters judge it as any event.
//!
//! What it does not do: read the journal, keep cursors, send.

pub mod condition;
pub mod entry;
pub mod incident;
pub mod inputs;
mod machine;
mod passage;
mod reach;
pub mod scan;
pub mod shape;
pub mod transforms;
mod walk;
pub mod window;
pub mod wiring;

pub use entry::{Body, Pass};
pub use machine::{Machine, MachineSpec};
pub use passage::{Passage, Station};
pub use reach::{Node, Reach};
pub use walk::{Reached, Version};
pub use wiring::{Graph, GraphSpec, SinkWiring, WiringProblem};
