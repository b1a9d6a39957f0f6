//! What is done about sources: rules make decisions of events, set sinks make the world equal to the decisions.
//!
//! In: hits, as they are recorded; persons, by `trapline decisions`. Out: [`decision::Decision`]s, each with an end, in one
//! commit with the hit that caused it; what set sinks are to equal.
//!
//! | room | what it does |
//! |---|---|
//! | `engine` | events in, decisions out: pure |
//! | `rule`, `threshold`, `history`, `caps` | when something is done, how often it has to be so, which step of an escalation it is, how much is too much |
//! | `guard`, `sparing` | who is never acted on |
//! | `telling` | what happened, as an event |
//! | `worker` | holds one set sink to what is decided: reads, compares, mends |
//! | `book`, `row` | all decisions that are not over, and how they are kept |
//!
//! It knows no firewall, no DNS and no vendor: a set sink is [`trapline_sink::set::SetSink`].

pub mod acts;
pub mod book;
pub mod caps;
pub mod decision;
pub mod desk;
pub mod engine;
pub mod guard;
pub mod history;
mod reported;
pub mod row;
pub mod rule;
pub mod settings;
pub mod simulate;
pub mod sparing;
pub mod telling;
pub mod threshold;
pub mod told;
pub mod worker;

#[cfg(test)]
mod tests;
