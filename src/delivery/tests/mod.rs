//! Delivery, told in scenarios: a scripted sink, a journal in memory that can be killed at any commit, tokio's paused
//! clock; and a few over the real journal.

mod aside;
mod breakdown;
mod disk;
mod double;
mod faults;
mod flow;
mod forms;
mod incidents;
mod kill;
mod memory;
mod notices;
mod real;
mod shapes;
mod sinks;
mod windows;
