//! What became of a canary: the stable form of `check --canary --json`. Keys are only ever added.

use serde::{Deserialize, Serialize};

/// A canary's way, hop by hop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanaryReport {
    /// Whether every hop went well.
    pub ok: bool,
    /// `event.id` of the canary.
    pub id: String,
    /// Its place in the journal, once it has one.
    pub offset: Option<u64>,
    /// How long was waited for it at most, in seconds.
    pub timeout_secs: u64,
    /// The hops: journal first, then transforms in their order, then sinks.
    pub hops: Vec<Hop>,
}

/// One hop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hop {
    /// What kind of place.
    pub place: Place,
    /// Its name: `recorded`, `durable`, `indexed`, a transform's or a sink's.
    pub name: String,
    /// How far the canary came.
    pub state: HopState,
    /// Whether that is as it should not be.
    pub failed: bool,
    /// Of a sink: microseconds from the start until its worker had the canary.
    pub queued_micros: Option<u64>,
    /// Microseconds from the start until it was through.
    pub micros: Option<u64>,
    /// What came back, or why it came no further.
    pub said: String,
}

/// Kinds of places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Recorder, journal, index.
    Journal,
    /// A node between.
    Transform,
    /// A destination.
    Sink,
}

/// How far the canary came at a hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HopState {
    /// Through.
    Passed,
    /// The destination has it.
    Delivered,
    /// It was sent to a destination that confirms nothing.
    Sent,
    /// Not this far: its conditions, or those of what stands before, do not let it through.
    Filtered,
    /// Not this far: a window before has not let it through yet.
    Held,
    /// Not yet.
    Waiting,
    /// It did not go through, and why is said.
    Failed,
    /// The sink wants no canaries.
    NotWanted,
}

impl HopState {
    /// The words shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Delivered => "delivered",
            Self::Sent => "sent",
            Self::Filtered => "filtered",
            Self::Held => "held",
            Self::Waiting => "waits",
            Self::Failed => "failed",
            Self::NotWanted => "not wanted",
        }
    }
}

impl CanaryReport {
    /// The hops that went wrong, one line each.
    pub fn failures(&self) -> impl Iterator<Item = String> {
        let failed = self.hops.iter().filter(|hop| hop.failed);
        failed.map(|hop| {
            let place = match hop.place {
                Place::Journal => "",
                Place::Transform => "transform ",
                Place::Sink => "sink ",
            };
            format!("{place}{}: {}", hop.name, hop.said)
        })
    }
}
