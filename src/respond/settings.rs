//! What is to be done about whom, as configured.

use std::time::Duration;

use ipnet::IpNet;
use trapline_schemas::Field;
use trapline_sink::set::Verb;

use crate::roles::Touch;

/// What becomes of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Mode {
    /// It is said, and nothing is done.
    #[default]
    Observe,
    /// It waits for a person.
    Propose,
    /// It is done.
    Enforce,
}

impl Mode {
    /// The words of `mode`.
    pub const WORDS: &[&str] = &["observe", "propose", "enforce"];

    /// The word in `mode`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Propose => "propose",
            Self::Enforce => "enforce",
        }
    }

    /// Finds a mode by its word.
    pub fn find(name: &str) -> Option<Self> {
        [Self::Observe, Self::Propose, Self::Enforce]
            .into_iter()
            .find(|mode| mode.name() == name)
    }
}

/// `[response]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseSettings {
    /// What becomes of decisions.
    pub mode: Mode,
    /// Who is never acted on.
    pub allow: Vec<IpNet>,
    /// Whether private sources are acted on.
    pub block_private: bool,
    /// Prefix of an outside IPv6 source that is acted on, 64 or 128.
    pub ipv6_prefix: u8,
    /// Most decisions that rules make in a minute.
    pub decisions_per_minute: u32,
    /// Most decisions that are in force or wait at once.
    pub decisions_max: usize,
    /// How long a proposal waits for a person.
    pub propose_for: Duration,
    /// How long it is remembered that a source was acted on.
    pub remember: Duration,
    /// Rules, by name.
    pub rules: Vec<RuleSpec>,
}

impl Default for ResponseSettings {
    fn default() -> Self {
        Self {
            mode: Mode::Observe,
            allow: Vec::new(),
            block_private: true,
            ipv6_prefix: 128,
            decisions_per_minute: 60,
            decisions_max: 10_000,
            propose_for: Duration::from_secs(86_400),
            remember: Duration::from_secs(30 * 86_400),
            rules: Vec::new(),
        }
    }
}

/// When something is done, what, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleSpec {
    /// Its name.
    pub name: String,
    /// A CEL condition of the event.
    pub when: Option<String>,
    /// Least level of touch.
    pub level: Option<Touch>,
    /// Decoys that it is about; empty: all.
    pub decoys: Vec<String>,
    /// How often it has to be so.
    pub threshold: Option<ThresholdSpec>,
    /// Whether the kernel acts by itself.
    pub arm: bool,
    /// What is done; sorted, at least one.
    pub verbs: Vec<Verb>,
    /// How long, the first time, the second and so on; at least one, the last stands for all that follow.
    pub steps: Vec<Duration>,
    /// Whether a contact alone is enough to act on a source that is inside.
    pub even_contact: bool,
}

/// How often something has to be so before anything is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThresholdSpec {
    /// Different values of this field are counted; `None`: events.
    pub distinct: Option<Field>,
    /// How many.
    pub count: usize,
    /// Within how long.
    pub within: Duration,
}
