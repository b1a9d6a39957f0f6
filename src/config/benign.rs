//! `[benign.NAME]` and `[ignore.NAME]`: who may touch decoys without meaning harm.

use ipnet::IpNet;
use trapline_schemas::Timestamp;
use trapline_sink::config::{Key, KeyKind, Problem, Table, Visible, listed, shown};

use super::load::Loader;
use super::observer::networks;

/// Keys of `[benign.NAME]`.
pub const BENIGN: &[Key] = &[
    Key::default(
        "enabled",
        KeyKind::Bool,
        "true",
        "Whether this recogniser marks anybody.",
    ),
    Key::optional(
        "sources",
        KeyKind::Texts,
        "Sources that are this, as addresses or CIDR; then it knows nobody else, and their events have risk 0.",
    ),
    Key::default(
        "touch",
        KeyKind::Choice(&["contact", "intent", "proof"]),
        "\"intent\"",
        "Highest level of touch up to which all that these sources do is benign; \"proof\" covers logins, too.",
    ),
];

/// Keys of `[ignore.NAME]`.
pub const IGNORE: &[Key] = &[
    Key::required(
        "sources",
        KeyKind::Texts,
        "Sources that are ignored, as addresses or CIDR.",
    ),
    Key::optional(
        "decoys",
        KeyKind::Texts,
        "Names of decoys at which they are. Default: all.",
    ),
    Key::default(
        "touch",
        KeyKind::Choice(&["contact", "intent", "proof"]),
        "\"contact\"",
        "Highest level of touch that is ignored.",
    ),
    Key::required("reason", KeyKind::Text, "Why, for whoever reads the event."),
    Key::required(
        "until",
        KeyKind::Text,
        "When it ends: a day (2027-01-31, its beginning in UTC) or RFC 3339.",
    ),
];

/// A recogniser as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BenignSettings {
    /// Its name.
    pub name: String,
    /// Whether it marks anybody.
    pub enabled: bool,
    /// Sources that are declared for it.
    pub sources: Vec<IpNet>,
    /// Highest level of touch of theirs that is benign whatever it is.
    pub touch: &'static str,
}

/// Sources that are ignored for a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IgnoreSettings {
    /// Its name.
    pub name: String,
    /// Who.
    pub sources: Vec<IpNet>,
    /// At which decoys; empty: at all.
    pub decoys: Vec<String>,
    /// Highest level of touch.
    pub touch: &'static str,
    /// Why.
    pub reason: String,
    /// When it ends.
    pub until: Timestamp,
}

/// Reads the recognisers' tables; files that cannot be used are problems, whether a table names them or not.
pub(super) fn benign(loader: &Loader<'_>) -> Vec<BenignSettings> {
    for found in &loader.rules.recognisers.mistakes {
        let problem = Problem::error(loader.place("benign"), found.clone(), "a recogniser, see config/benign");
        loader.context.problems.push(problem.show(Visible::Nothing));
    }
    let tables = loader.named("benign", BENIGN).into_iter();
    tables
        .filter_map(|(name, table)| recogniser(loader, name, &table))
        .collect()
}

fn recogniser(loader: &Loader<'_>, name: String, table: &Table) -> Option<BenignSettings> {
    let names = || loader.rules.recognisers.names.iter().map(String::as_str);
    if !names().any(|known| known == name) {
        let found = format!("unknown recogniser `{}`", shown(&name));
        let problem = Problem::error(table.own_place(), found, listed(names())).did_you_mean(&name, names());
        loader.context.problems.push(problem);
        return None;
    }
    Some(BenignSettings {
        enabled: table.bool("enabled"),
        sources: networks(table, "sources"),
        touch: table.choice("touch"),
        name,
    })
}

/// Reads the ignore lists.
pub(super) fn ignores(loader: &Loader<'_>) -> Vec<IgnoreSettings> {
    let decoys: Vec<String> = loader.entries("decoys").into_iter().map(|(name, _)| name).collect();
    let tables = loader.named("ignore", IGNORE).into_iter();
    tables
        .filter_map(|(name, table)| ignore(name, &table, &decoys))
        .collect()
}

fn ignore(name: String, table: &Table, decoys: &[String]) -> Option<IgnoreSettings> {
    let named = table.texts("decoys");
    for (index, decoy) in named.iter().enumerate().filter(|(_, decoy)| !decoys.contains(decoy)) {
        let names = || decoys.iter().map(String::as_str);
        let found = format!("there is no decoy `{}`", shown(decoy));
        let problem = Problem::error(table.item_place("decoys", index), found, listed(names()));
        table.report("decoys", problem.did_you_mean(decoy, names()));
    }
    let sources = networks(table, "sources");
    let until = until(table)?;
    Some(IgnoreSettings {
        sources,
        decoys: named,
        touch: table.choice("touch"),
        reason: table.text("reason"),
        until,
        name,
    })
}

fn until(table: &Table) -> Option<Timestamp> {
    let text = table.text_opt("until")?;
    let instant = instant(&text);
    if instant.is_none() {
        let allowed = "a day such as \"2027-01-31\" or an instant such as \"2027-01-31T18:00:00Z\"";
        table.problem("until", &format!("`{}` is no time", shown(&text)), allowed);
    }
    instant
}

fn instant(text: &str) -> Option<Timestamp> {
    let day = || {
        text.parse::<jiff::civil::Date>()
            .ok()?
            .to_zoned(jiff::tz::TimeZone::UTC)
            .ok()
    };
    let instant = text
        .parse::<jiff::Timestamp>()
        .ok()
        .or_else(|| Some(day()?.timestamp()))?;
    Some(Timestamp::from_micros(instant.as_microsecond()))
}
