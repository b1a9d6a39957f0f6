//! What is done about sources: rules make decisions of events, set sinks make the world equal to the decisions.
//!
//! It knows no firewall, no DNS and no vendor: a set sink is [`trapline_sink::set::SetSink`].

pub mod settings;
pub mod sparing;
