//! trapline: decoys, a journal, and sinks.

pub mod journal;
