//! `[notices]`: what people are told, and how often. It holds for every sink that people read.
//!
//! The bound for all of them together is divided: each has its share, whatever the others have to say. So no sink's
//! choice hangs on another's, and all choices are the same after a restart.

use std::time::Duration;

use trapline_sink::config::{Audience, Key, KeyKind, NoticeSettings, OwnerMail, Problem, SinkType, Table};

use super::load::Loader;
use super::sinks::SinkSettings;
use crate::graph::window::{First, NoticeRules, Policy, WindowSpec};

const WINDOW: KeyKind = KeyKind::Duration {
    min: Duration::from_secs(1),
    max: Duration::from_secs(7 * 86_400),
};
const FIRST: KeyKind = KeyKind::Choice(&["at_once", "never"]);

/// Keys of `[notices]`.
pub const KEYS: &[Key] = &[
    Key::optional(
        "tone",
        KeyKind::Text,
        "How notices are worded, where a sink says nothing else.",
    ),
    Key::optional(
        "contact",
        KeyKind::Text,
        "Who is named to those who want to be let in again. Default: nobody.",
    ),
    Key::default(
        "window",
        WINDOW,
        "\"15m\"",
        "How long what one source does is gathered for one digest, in the events' own time.",
    ),
    Key::default(
        "first",
        FIRST,
        "\"at_once\"",
        "Whether the first intent or proof of a source in a window is told at once, or \"never\": digests only.",
    ),
    Key::default(
        "per_recipient",
        KeyKind::Integer { min: 1, max: 100 },
        "20",
        "Sources in a window that a sink tells of one by one; the others are one digest.",
    ),
    Key::default(
        "in_all",
        KeyKind::Integer { min: 1, max: 1000 },
        "60",
        "The same for all sinks that people read together; each has an equal share of it.",
    ),
    Key::default(
        "benign",
        KeyKind::Bool,
        "false",
        "Whether benign noise and what `[ignore]` names are told as well.",
    ),
];

/// Keys that every sink of people has, unless its type has one of that name itself.
pub const OF_SINKS: &[Key] = &[
    Key::optional("window", WINDOW, "As in `[notices]`, for this sink."),
    Key::optional("first", FIRST, "As in `[notices]`, for this sink."),
];

/// What a sink of people goes by.
#[derive(Debug, Clone, PartialEq)]
pub struct Notices {
    /// How they are worded.
    pub words: NoticeSettings,
    /// What becomes a notice, and what is gathered.
    pub window: WindowSpec,
}

/// The keys that all sinks of a type have because people read them.
pub(super) fn keys(kind: &SinkType) -> &'static [Key] {
    match kind.audience {
        Audience::People => OF_SINKS,
        Audience::Machines => &[],
    }
}

/// Settles for each sink of people what it goes by. Sinks that are off have no share.
pub(super) fn settle(loader: &Loader<'_>, sinks: &mut [SinkSettings]) {
    let table = loader.single("notices", KEYS);
    let number = |key| table.integer(key).max(1).unsigned_abs();
    let (per_recipient, in_all) = (number("per_recipient"), number("in_all"));
    let people = sinks.iter_mut().filter(|sink| sink.kind.audience == Audience::People);
    // What is written to owners is counted by those who let it go.
    let has_share = |sink: &&mut SinkSettings| sink.enabled && sink.owners != OwnerMail::Alone;
    let (mut on, off): (Vec<_>, Vec<_>) = people.partition(has_share);
    let count = on.len() as u64;
    if in_all < count {
        let found = format!("{in_all} for {count} sinks that people read");
        let problem = Problem::error(table.place("in_all"), found, format!("{count} or more"));
        table.report("in_all", problem);
    }
    for (rank, sink) in (0..).zip(&mut on) {
        let keys = share(in_all, count, rank).min(per_recipient);
        sink.notices = Some(notices(loader, &table, &sink.table, keys));
    }
    for sink in off {
        sink.notices = Some(notices(loader, &table, &sink.table, per_recipient));
    }
}

/// The share of one of `count`; together they are the whole.
const fn share(whole: u64, count: u64, rank: u64) -> u64 {
    let rest = if rank < whole % count { 1 } else { 0 };
    let share = whole / count + rest;
    if share == 0 { 1 } else { share }
}

fn notices(loader: &Loader<'_>, table: &Table, sink: &Table, keys: u64) -> Notices {
    let own = |key| if sink.is_set(key) { sink } else { table };
    let first = match own("first").choice("first") {
        "never" => First::Never,
        _ => First::AtOnce,
    };
    let rules = NoticeRules {
        first,
        keys,
        benign: table.bool("benign"),
    };
    Notices {
        words: NoticeSettings {
            tone: table.text_opt("tone").unwrap_or_default(),
            contact: table.text_opt("contact").unwrap_or_default(),
            folder: Some(loader.context.config_dir.clone()),
        },
        window: WindowSpec {
            by: Vec::new(),
            window: own("window").duration("window").max(Duration::from_secs(1)),
            policy: Policy::Notices(rules),
        },
    }
}
