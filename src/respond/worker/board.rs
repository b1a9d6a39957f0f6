//! What an operator sees of a set sink.

use trapline_schemas::Timestamp;
use trapline_sink::FaultKind;

/// How well a set sink is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// It has not been listed yet.
    #[default]
    Starting,
    /// All that is wanted stands.
    Ok,
    /// Something does not stand, and trapline copes.
    Degraded,
    /// A person should look.
    Failing,
    /// The worker has ended; what stands goes on standing.
    Stopped,
}

impl Level {
    /// The word in `status`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Failing => "failing",
            Self::Stopped => "stopped",
        }
    }
}

/// What a sink that observes would do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WouldDo {
    /// Members that it would put in.
    pub puts: u64,
    /// Entries that it would take out.
    pub takes: u64,
}

/// One set sink, at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Board {
    /// How well it is.
    pub level: Level,
    /// Since when it is so.
    pub since: Timestamp,
    /// The last fault's kind, while there is trouble; `None` if the sink gave none.
    pub kind: Option<FaultKind>,
    /// The last fault in the sink's words, while there is trouble.
    pub fault: Option<String>,
    /// Tries that have failed in a row.
    pub attempts: u32,
    /// Members that are wanted and not over.
    pub wanted: u64,
    /// Of these, how many stand as far as is known.
    pub standing: u64,
    /// Changes that wait for another try.
    pub failed: u64,
    /// Members that were refused for good.
    pub refused: u64,
    /// Members that there is nothing for.
    pub nowhere: u64,
    /// Wanted members that the destination has no room for.
    pub beyond_room: u64,
    /// When all that stands was last listed and compared.
    pub compared: Option<Timestamp>,
    /// Entries mended since the start because somebody else had changed them.
    pub repaired: u64,
    /// Puts that were done since the start.
    pub put: u64,
    /// Takes that were done since the start.
    pub taken: u64,
    /// What it would do, if it observes.
    pub would: Option<WouldDo>,
    /// How often the wall clock has jumped since the start.
    pub clock_jumps: u64,
    /// What the sink wants known.
    pub notes: Vec<String>,
}
