//! `[sinks.NAME]` of sinks that act: destinations that are to equal what is decided.

use std::sync::Arc;
use std::time::Duration;

use trapline_sink::config::{Key, KeyKind, Node, Table};
use trapline_sink::set::{Scope, SetFactory, SetType, Verb};

use super::load::Loader;
use super::sinks::{RETRY, RetrySettings, retry};

/// Keys that every sink that acts has.
pub const COMMON: &[Key] = &[
    Key::required("type", KeyKind::Text, "Which destination."),
    Key::default(
        "enabled",
        KeyKind::Bool,
        "true",
        "Whether it acts; what stands when it is switched off stands until its end.",
    ),
    Key::optional(
        "scope",
        KeyKind::Choice(Scope::WORDS),
        "Whom it acts on: sources in zones that are inside, all others, or both. Default: the type's own.",
    ),
    Key::optional(
        "interval",
        KeyKind::Duration {
            min: Duration::from_secs(1),
            max: Duration::from_secs(86_400),
        },
        "How often what stands is compared with what is wanted. Default: the type's own.",
    ),
    Key::default(
        "retry",
        KeyKind::Table(RETRY),
        "{}",
        "Pace of retries, which never end.",
    ),
];

/// A sink that acts, as configured.
#[derive(Debug, Clone)]
pub struct SetSettings {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: &'static SetType,
    /// Whether it acts.
    pub enabled: bool,
    /// Whom it acts on.
    pub scope: Scope,
    /// How often what stands is compared.
    pub interval: Duration,
    /// Pace of retries.
    pub retry: RetrySettings,
    /// Makes it.
    pub factory: Arc<dyn SetFactory>,
    /// All its keys as written, to tell whether a reload changed it.
    pub table: Table,
}

impl SetSettings {
    /// What it does.
    pub fn verb(&self) -> Verb {
        self.factory.verb()
    }
}

/// Equal if every key is.
impl PartialEq for SetSettings {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.kind.name == other.kind.name && self.table == other.table
    }
}

/// The keys of a type: its own, and the common ones it does not have itself.
pub fn keys(kind: &'static SetType) -> impl Iterator<Item = &'static Key> {
    let own = |name: &str| kind.keys.iter().any(|key| key.name == name);
    COMMON.iter().filter(move |key| !own(key.name)).chain(kind.keys)
}

/// Reads all sinks that act, also those with problems. An unknown type is a problem of the sinks that events go to.
pub(super) fn sets(loader: &Loader<'_>) -> Vec<SetSettings> {
    let entries = loader.entries("sinks").into_iter();
    entries.filter_map(|(name, node)| set(loader, name, node)).collect()
}

fn set(loader: &Loader<'_>, name: String, node: &Node) -> Option<SetSettings> {
    let kind = of_type(loader, node)?;
    let table = loader.check(node, keys(kind));
    let factory: Arc<dyn SetFactory> = (kind.parse)(&table).into();
    Some(SetSettings {
        enabled: table.bool("enabled"),
        scope: table
            .text_opt("scope")
            .as_deref()
            .and_then(Scope::find)
            .unwrap_or(kind.scope),
        interval: table.duration_opt("interval").unwrap_or(kind.interval),
        retry: retry(&table),
        factory,
        name,
        kind,
        table,
    })
}

/// The type of a sink that acts; `None` if it is another sink, or none.
pub(super) fn of_type(loader: &Loader<'_>, node: &Node) -> Option<&'static SetType> {
    let word = node.get("type")?.as_text()?;
    loader.rules.sets.iter().copied().find(|kind| kind.name == word)
}
