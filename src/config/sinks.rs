//! `[sinks.NAME]`: destinations, each with its own keys and those common to all.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use trapline_schemas::Format;
use trapline_sink::config::{Factory, Key, KeyKind, Node, OwnerMail, Problem, SinkType, Table, one_of, shown};

use super::incidents;
use super::load::{Loader, plain};
use super::notices::{self, Notices};
use super::sets;
use crate::delivery::{BatchSettings, Start};
use crate::graph::window::WindowSpec;

const FORMATS: &[&str] = &["ecs", "ocsf", "cef", "leef", "text"];

/// Keys that every sink has, unless its type has one of that name itself.
pub const COMMON: &[Key] = &[
    Key::required("type", KeyKind::Text, "Which destination."),
    Key::required(
        "inputs",
        KeyKind::Texts,
        "What it takes: `decoys`, `findings`, `decisions`, `health`, `*` (the first three), or names of decoys and \
         transforms.",
    ),
    Key::optional(
        "format",
        KeyKind::Choice(FORMATS),
        "Form of the events. Default: the first that the type can send.",
    ),
    Key::default(
        "enabled",
        KeyKind::Bool,
        "true",
        "Whether it runs; its cursor stays either way.",
    ),
    Key::default(
        "start",
        KeyKind::Choice(&["now", "oldest"]),
        "\"now\"",
        "Where a new sink begins: with what comes, or with all that the journal holds.",
    ),
    Key::default(
        "canary",
        KeyKind::Bool,
        "false",
        "Whether it gets the canaries that try the way to it, see `[canary]`.",
    ),
    Key::default(
        "batch",
        KeyKind::Table(BATCH),
        "{}",
        "How much is sent at a time. Default: the type's own.",
    ),
    Key::default(
        "retry",
        KeyKind::Table(RETRY),
        "{}",
        "Pace of retries, which never end.",
    ),
];

const BATCH: &[Key] = &[
    Key::optional(
        "events",
        KeyKind::Integer { min: 1, max: 100_000 },
        "Events in a batch; at most the type's own.",
    ),
    Key::optional(
        "bytes",
        KeyKind::Size {
            min: 1024,
            max: 64 << 20,
        },
        "Rendered bytes in a batch, at most the type's own; a larger event goes alone.",
    ),
    Key::optional(
        "linger",
        KeyKind::Duration {
            min: Duration::ZERO,
            max: Duration::from_secs(60),
        },
        "How long a batch waits for more while others are under way; a lone event goes at once.",
    ),
];

pub(super) const RETRY: &[Key] = &[
    Key::default(
        "first",
        KeyKind::Duration {
            min: Duration::from_millis(10),
            max: Duration::from_secs(3600),
        },
        "\"1s\"",
        "Wait before the first retry; doubled each time, plus up to a quarter by chance.",
    ),
    Key::default(
        "max",
        KeyKind::Duration {
            min: Duration::from_millis(10),
            max: Duration::from_secs(24 * 3600),
        },
        "\"1m\"",
        "Longest wait between two retries, unless the destination asks for more; refused credentials wait 60s.",
    ),
];

/// Types that the design has and this build has not.
const LATER: &[&str] = &["discord", "firewall", "rpz", "edr_tag", "http_set", "blocklist"];

/// A sink, as configured.
#[derive(Debug, Clone)]
pub struct SinkSettings {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: &'static SinkType,
    /// Reserved names, decoys and transforms it takes from.
    pub inputs: Vec<String>,
    /// Form of the events, one of the type's.
    pub format: Format,
    /// Whether it runs.
    pub enabled: bool,
    /// Where it begins when it is new.
    pub start: Start,
    /// Whether it gets canaries.
    pub canary: bool,
    /// How much is sent at a time.
    pub batch: BatchSettings,
    /// Pace of retries.
    pub retry: RetrySettings,
    /// Makes it.
    pub factory: Arc<dyn Factory>,
    /// All its keys as written, to tell whether a reload changed it.
    pub table: Table,
    /// Of one that people read, what they are told.
    pub notices: Option<Notices>,
    /// Whether it writes to the owners of sources.
    pub owners: OwnerMail,
    /// Of one that follows incidents, after how long without an event they are over.
    pub follows: Option<Duration>,
}

impl SinkSettings {
    /// Of a sink that people read, what goes before it; nothing before one that writes to owners alone.
    pub fn window(&self) -> Option<&WindowSpec> {
        let notices = self.notices.as_ref().filter(|_| self.owners != OwnerMail::Alone);
        notices.map(|notices| &notices.window)
    }
}

/// Equal if every key is, its own and those of `[notices]` and `[incidents]`: what was made from them is not compared.
impl PartialEq for SinkSettings {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && self.kind.name == other.kind.name
            && self.table == other.table
            && self.notices == other.notices
            && self.follows == other.follows
    }
}

/// Pace of retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetrySettings {
    /// Wait before the first retry.
    pub first: Duration,
    /// Longest wait; not below `first`.
    pub max: Duration,
}

/// The keys of a sink type: its own, and the common ones it does not have itself.
pub fn keys(kind: &'static SinkType) -> impl Iterator<Item = &'static Key> {
    let own = |name: &str| kind.keys.iter().any(|key| key.name == name);
    let common = COMMON.iter().chain(notices::keys(kind));
    common.filter(move |key| !own(key.name)).chain(kind.keys)
}

/// Reads all sinks, also those with problems: what is wrong elsewhere in a table is told in the same run.
pub(super) fn sinks(loader: &Loader<'_>) -> Vec<SinkSettings> {
    let mut sinks: Vec<_> = loader
        .entries("sinks")
        .into_iter()
        .filter_map(|(name, node)| sink(loader, name, node))
        .collect();
    check_outputs(loader, &sinks);
    notices::settle(loader, &mut sinks);
    incidents::settle(loader, &mut sinks);
    sinks
}

fn sink(loader: &Loader<'_>, name: String, node: &Node) -> Option<SinkSettings> {
    if sets::of_type(loader, node).is_some() {
        return None;
    }
    let acting = loader.rules.sets.iter().map(|kind| kind.name);
    let types = loader.rules.sinks.iter().map(|kind| kind.name).chain(acting);
    let word = loader.kind(node, "sink", types, LATER)?;
    let kind = loader.rules.sinks.iter().copied().find(|kind| kind.name == word)?;
    let table = loader.check(node, keys(kind));
    let factory: Arc<dyn Factory> = (kind.parse)(&table).into();
    let owners = factory.owner_mail();
    if owners == OwnerMail::Alone && table.bool("canary") {
        let found = "a canary for a sink that writes to owners alone";
        table.problem("canary", found, "false, or a `to` that canaries go to");
    }
    if owners != OwnerMail::Never && table.choice("start") == "oldest" {
        // One that comes back under its name would send what was released to it, and sent, once more.
        let found = "`\"oldest\"` for a sink that writes to owners";
        table.problem(
            "start",
            found,
            "\"now\": each mail to an owner needs a release of its own",
        );
    }
    Some(SinkSettings {
        inputs: table.texts("inputs"),
        format: format(&table, kind),
        enabled: table.bool("enabled"),
        start: match table.choice("start") {
            "oldest" => Start::Oldest,
            _ => Start::Now,
        },
        canary: table.bool("canary"),
        batch: batch(&table),
        retry: retry(&table),
        factory,
        owners,
        name,
        kind,
        table,
        notices: None,
        follows: None,
    })
}

fn format(table: &Table, kind: &SinkType) -> Format {
    let first = kind.formats.first().copied().unwrap_or(Format::Ecs);
    let Some(format) = table.text_opt("format").and_then(|word| Format::find(&word)) else {
        return first;
    };
    if !kind.formats.contains(&format) {
        let found = format!("format `{}` for a `{}` sink", format.name(), kind.name);
        table.problem("format", &found, &one_of(kind.formats.iter().map(|f| f.name())));
    }
    format
}

fn batch(table: &Table) -> BatchSettings {
    let Some(batch) = table.table("batch") else {
        return BatchSettings::default();
    };
    let count = |key| batch.integer_opt(key).and_then(|number| usize::try_from(number).ok());
    BatchSettings {
        events: count("events"),
        bytes: batch.size_opt("bytes").and_then(|bytes| usize::try_from(bytes).ok()),
        linger: batch.duration_opt("linger"),
    }
}

pub(super) fn retry(table: &Table) -> RetrySettings {
    let Some(retry) = table.table("retry") else {
        return RetrySettings {
            first: Duration::from_secs(1),
            max: Duration::from_secs(60),
        };
    };
    let (first, max) = (retry.duration("first"), retry.duration("max"));
    if max < first {
        retry.problem("max", "the longest wait is below the first", "`first` or more");
    }
    RetrySettings { first, max }
}

/// Two sinks, or a sink and the journal, may not write one file.
fn check_outputs(loader: &Loader<'_>, sinks: &[SinkSettings]) {
    let mut taken: Vec<(PathBuf, String)> = loader.reserved_outputs();
    for sink in sinks {
        let outputs = sink
            .kind
            .keys
            .iter()
            .filter(|key| matches!(key.kind, KeyKind::OutputPath));
        for key in outputs {
            let Some(path) = sink.table.path(key.name).map(|path| plain(&path)) else {
                continue;
            };
            if let Some((_, owner)) = taken.iter().find(|(there, _)| *there == path) {
                let shown = shown(&path.display().to_string());
                let found = format!("`{shown}` is already written by {owner}");
                let problem = Problem::error(sink.table.place(key.name), found, "a file of its own");
                sink.table.report(key.name, problem);
            }
            taken.push((path, format!("sink `{}`", sink.name)));
        }
    }
}
