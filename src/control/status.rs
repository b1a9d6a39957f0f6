//! How the instance stands: the stable form of `trapline status --json`.
//!
//! Keys are only ever added. Times are RFC 3339 in UTC, spans are whole seconds, sizes are bytes.

use serde::{Deserialize, Serialize};

/// How well something does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// As it should be.
    Ok,
    /// It copes, but a person should look.
    Degraded,
    /// It does not do its work.
    Failing,
}

impl Health {
    /// The word shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Failing => "failing",
        }
    }
}

/// Something that is wrong: what, since when, what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// How bad.
    pub health: Health,
    /// What it is about: `journal`, `decoy ssh`, `sink siem`, `process`.
    pub part: String,
    /// What is wrong.
    pub what: String,
    /// Since when; unknown for what was so at start.
    pub since: Option<String>,
    /// What to do about it.
    pub hint: String,
}

/// The whole instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The worst of all faults.
    pub health: Health,
    /// Every fault, the worst first.
    pub faults: Vec<Fault>,
    /// Version of trapline.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// When it started.
    pub started: String,
    /// For how long it runs.
    pub uptime_secs: u64,
    /// The configuration file; `None` is the embedded default.
    pub config: Option<String>,
    /// The state folder.
    pub state_dir: String,
    /// The journal.
    pub journal: JournalStatus,
    /// Decoy listeners, by decoy and address.
    pub listeners: Vec<ListenerStatus>,
    /// Sinks, by name.
    pub sinks: Vec<SinkStatus>,
    /// What is decided about sources; `None` if nothing is.
    #[serde(default)]
    pub response: Option<ResponseStatus>,
    /// Sinks that act, by name.
    #[serde(default)]
    pub acting: Vec<ActingStatus>,
    /// The live feed; `None` if there is no `[web]`.
    #[serde(default)]
    pub web: Option<WebStatus>,
    /// The process.
    pub process: ProcessStatus,
    /// The last canary since the start.
    #[serde(default)]
    pub canary: Option<CanaryStatus>,
}

/// How a canary fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanaryStatus {
    /// Whether it came to every sink that wants it.
    pub ok: bool,
    /// How long ago.
    pub age_secs: u64,
}

/// The live feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebStatus {
    /// The address it listens on, or is to listen on.
    pub address: String,
    /// Whether it listens.
    pub bound: bool,
    /// How it does.
    pub health: Health,
    /// Why it does not listen, or lets nobody in.
    pub error: Option<String>,
    /// Since when it listens, or does not.
    pub since: String,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// Its certificate, if it does.
    pub certificate: Option<CertificateStatus>,
    /// Tokens that are good now. All but `/healthz` needs one.
    pub tokens: u64,
    /// Open connections, streams among them.
    pub connections: u64,
    /// Open streams.
    pub streams: u64,
    /// Streams that there may be.
    pub streams_max: u64,
}

/// The journal and its index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalStatus {
    /// Its file.
    pub path: String,
    /// How it does.
    pub health: Health,
    /// The next offset to be given.
    pub head: u64,
    /// The oldest offset kept.
    pub oldest: u64,
    /// How many entries there are: what a damaged file lost is not counted.
    #[serde(default)]
    pub entries: u64,
    /// Size of the file with its write-ahead log.
    pub bytes: u64,
    /// Entries not yet in the index.
    pub index_lag: u64,
}

/// One address of a decoy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerStatus {
    /// The decoy's name.
    pub decoy: String,
    /// What it speaks.
    pub service: String,
    /// How it looks.
    pub personality: String,
    /// `tcp` or `udp`.
    pub transport: String,
    /// The address it listens on, or is to listen on.
    pub address: String,
    /// Whether it listens.
    pub bound: bool,
    /// How it does.
    pub health: Health,
    /// Why it is not bound.
    pub error: Option<String>,
    /// Since when it is so.
    pub since: String,
    /// Whether it speaks TLS from the first byte.
    #[serde(default)]
    pub tls: bool,
    /// Its certificate, once it has one.
    #[serde(default)]
    pub certificate: Option<CertificateStatus>,
}

/// The certificate of a decoy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateStatus {
    /// Until when it is valid.
    pub until: String,
    /// Whole days until then; below 0: it has run out.
    pub days_left: i64,
    /// Whether it is the operator's; else the install made it.
    pub own: bool,
}

/// One sink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkStatus {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: String,
    /// How it does.
    pub health: Health,
    /// Since when it is so.
    pub since: Option<String>,
    /// The next offset it reads.
    pub cursor: u64,
    /// Entries that it has not finished and can still get.
    pub lag: u64,
    /// Entries that it will never have: trimmed, gone from the file, or unreadable; found since the start.
    #[serde(default)]
    pub lost: u64,
    /// Age of the oldest entry it has not sent, in seconds; `None` if none is known to be for it.
    pub oldest_unsent_secs: Option<u64>,
    /// Events delivered since the start.
    pub delivered: u64,
    /// The destination answers nothing: what was delivered was sent.
    pub unconfirmed: bool,
    /// Events it refused for good, kept in the journal.
    pub dead_letters: u64,
    /// Age of the oldest of these, in seconds.
    #[serde(default)]
    pub oldest_dead_letter_secs: u64,
    /// The replay to it, while one is under way.
    #[serde(default)]
    pub replay: Option<crate::control::protocol::ReplayReport>,
    /// What went wrong last, if it is wrong now.
    pub error: Option<String>,
    /// When it is tried again, in seconds.
    pub retry_in_secs: Option<u64>,
    /// What an operator should know, such as "tls is off".
    pub notes: Vec<String>,
}

/// What is decided about sources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResponseStatus {
    /// `observe`, `propose` or `enforce`.
    pub mode: String,
    /// Decisions in force.
    pub active: u64,
    /// Decisions that wait for a person.
    pub proposed: u64,
    /// Decisions that would have been made, were the mode another.
    pub observed: u64,
    /// Decisions that are over and not yet undone everywhere.
    pub over: u64,
}

/// A sink that acts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActingStatus {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: String,
    /// What it does.
    pub verb: String,
    /// Whom it acts on: `inside`, `outside` or `both`.
    pub scope: String,
    /// Where it acts.
    pub destination: Option<String>,
    /// How it does.
    pub health: Health,
    /// Since when it is so.
    pub since: Option<String>,
    /// What is wrong.
    pub error: Option<String>,
    /// Sources that are wanted there.
    pub wanted: u64,
    /// Of these, how many stand there.
    pub standing: u64,
    /// Changes that wait for another try.
    pub failed: u64,
    /// Sources that were refused there for good.
    pub refused: u64,
    /// Sources that there is nothing for.
    pub nowhere: u64,
    /// Sources that find no room there.
    pub beyond_room: u64,
    /// When all that stands was last compared with what is wanted.
    pub compared: Option<String>,
    /// Entries that somebody else had changed, and that were mended since the start.
    pub repaired: u64,
    /// In mode observe: how many it would put in now.
    pub would_put: Option<u64>,
    /// In mode observe: how many it would take out now.
    pub would_take: Option<u64>,
    /// What an operator should know.
    pub notes: Vec<String>,
}

/// What the process uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessStatus {
    /// Open descriptors.
    pub descriptors: u64,
    /// How many there may be.
    pub descriptors_max: u64,
    /// Resident memory.
    pub memory_bytes: u64,
    /// Panics since the start.
    pub panics: u64,
}
