//! What the instance knows of itself, as text that Prometheus reads. Pure.
//!
//! In: [`Facts`], gathered by `app`. Out: the exposition format 0.0.4 ([`render`]), one HELP and TYPE for each family.
//!
//! Invariants:
//! 1. Labels are bounded by the configuration: decoys, sinks, transforms, actions, states, and what a sink bounds
//!    itself. Never an address, port, user or word of a peer.
//! 2. Names begin with `trapline_`, counters end in `_total`, durations are seconds, sizes are bytes. Also the process's
//!    own figures: node_exporter, which may read the text from a file, has some of the usual names itself.
//! 3. [`FAMILIES`] is the table of all families but those that sinks have of themselves
//!    ([`trapline_sink::StreamSink::measures`]), which are called `trapline_sink_TYPE_NAME`.
//!
//! What it does not do: count. The stations count, and their counts begin at 0 with the process.

mod families;
pub mod histogram;
mod measures;
pub mod text;

#[cfg(test)]
mod tests;

use smol_str::SmolStr;
use trapline_schemas::Timestamp;
use trapline_sink::Measure;

use crate::control::status::Status;
use crate::delivery::{Sieved, SinkStatus};
use crate::journal;
use crate::record::Counted;
use crate::roles::Attended;

pub use families::FAMILIES;

/// The media type of what is rendered.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All that is shown, at one moment.
#[derive(Debug)]
pub struct Facts {
    /// That moment.
    pub at: Timestamp,
    /// What `status` says.
    pub status: Status,
    /// When the process started, seconds since 1970.
    pub started_secs: f64,
    /// Processor time that the process has used, in seconds.
    pub cpu_secs: f64,
    /// Hits.
    pub hits: Counted,
    /// Sessions.
    pub sessions: Attended,
    /// The ends of the decoys' certificates, seconds since 1970, by decoy.
    pub certificates: Vec<(SmolStr, i64)>,
    /// The journal's work.
    pub journal: journal::Figures,
    /// Events held in memory as the disk fails, and those dropped.
    pub held: (u64, u64),
    /// Entries that are gone, by cause.
    pub gone: Vec<(&'static str, u64)>,
    /// Windows.
    pub windows: Vec<Sieved>,
    /// Sinks, by name.
    pub sinks: Vec<SinkStatus>,
    /// What sinks know of themselves.
    pub measures: Vec<OfSink>,
}

/// The figures that a sink has of itself.
#[derive(Debug)]
pub struct OfSink {
    /// Its name.
    pub sink: String,
    /// Its type, one word of the registry.
    pub kind: String,
    /// The figures.
    pub measures: Vec<Measure>,
}

/// The text.
pub fn render(facts: &Facts) -> String {
    let mut text = String::with_capacity(32 * 1024);
    for family in FAMILIES {
        text::family(&mut text, family.name, family.kind, family.help, |samples| {
            (family.samples)(facts, samples);
        });
    }
    measures::render(&mut text, &facts.measures);
    text
}
