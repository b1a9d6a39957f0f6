//! trapline: decoys, a journal, and sinks.

pub mod config;
pub mod decoy;
pub mod delivery;
pub mod graph;
pub mod journal;
pub mod record;
pub mod roles;
