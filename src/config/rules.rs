//! What a configuration is checked against: the rows of other stations.

use trapline_sink::config::SinkType;
use trapline_sink::set::SetType;

use crate::decoy::services::Transport;

/// Sinks, services, personalities and conditions, as the loader needs them.
#[derive(Clone, Copy)]
pub struct Rules<'a> {
    /// Every sink type.
    pub sinks: &'a [&'static SinkType],
    /// Every type of sink that acts.
    pub sets: &'a [&'static SetType],
    /// Every service.
    pub services: &'a [ServiceRule],
    /// What a personality is for.
    pub look: &'a dyn Fn(&str) -> Result<KnownLook, UnknownLook>,
    /// All that is wrong with a CEL condition; empty if it is good.
    pub condition: &'a dyn Fn(&str) -> Vec<ConditionMistake>,
    /// Recognisers of benign noise.
    pub recognisers: &'a Recognisers,
}

impl std::fmt::Debug for Rules<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rules").finish_non_exhaustive()
    }
}

/// Recognisers of benign noise, as the loader needs them.
#[derive(Debug, Clone, Default)]
pub struct Recognisers {
    /// The names there are.
    pub names: Vec<String>,
    /// What is wrong with files that cannot be used, each a line.
    pub mistakes: Vec<String>,
}

/// One service that a decoy can speak.
#[derive(Debug, Clone, Copy)]
pub struct ServiceRule {
    /// The word after `service =`.
    pub name: &'static str,
    /// All that it runs over; at least one.
    pub transports: &'static [Transport],
    /// The personality when none is named.
    pub personality: &'static str,
}

/// A personality, as the loader needs it.
#[derive(Debug, Clone)]
pub struct KnownLook {
    /// The service that it is for.
    pub service: &'static str,
    /// Whether its plain service goes on with TLS when a client asks for it.
    pub upgrades: bool,
}

/// A personality that is not there or cannot be read.
#[derive(Debug, Clone)]
pub struct UnknownLook {
    /// What is wrong, each a lower-case fragment; at least one.
    pub found: Vec<String>,
    /// The names there are, if the name is what is wrong; else none.
    pub names: Vec<String>,
}

/// A mistake in a condition.
#[derive(Debug, Clone)]
pub struct ConditionMistake {
    /// Where, bytes from the start of the condition.
    pub offset: usize,
    /// What is wrong, a lower-case fragment.
    pub found: String,
    /// What to write instead, if that is known.
    pub hint: Option<String>,
}
