//! The tables of the configuration, as data.

use trapline_sink::config::{Key, KeyKind};

use super::{benign, canary, decoys, findings, incidents, notices, observer, response, storage, web};

/// One table of the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// The word in brackets.
    pub name: &'static str,
    /// Whether there is one table per name: `[decoys.NAME]`.
    pub named: bool,
    /// Its keys; for transforms and sinks those that all types share.
    pub keys: &'static [Key],
    /// What it is for.
    pub doc: &'static str,
}

/// Keys outside any table.
pub const TOP: &[Key] = &[Key::optional(
    "state_dir",
    KeyKind::OutputPath,
    "Folder of journal, index, lock, site key and control socket; relative outputs resolve here. \
     Default: the folder of `journal.path`, else $XDG_STATE_HOME/trapline.",
)];

/// Every table of this build.
pub const SECTIONS: &[Section] = &[
    Section {
        name: "observer",
        named: false,
        keys: observer::OBSERVER,
        doc: "This host, as events name it.",
    },
    Section {
        name: "zones",
        named: true,
        keys: observer::ZONE,
        doc: "Networks that sources come from. Default: one zone `inside` of RFC 1918, ULA, loopback, link-local.",
    },
    Section {
        name: "owners",
        named: true,
        keys: observer::OWNER,
        doc: "Who answers for a network.",
    },
    Section {
        name: "benign",
        named: true,
        keys: benign::BENIGN,
        doc: "Recognisers of benign noise, by the name of a file in config/benign or of one beside this file.",
    },
    Section {
        name: "ignore",
        named: true,
        keys: benign::IGNORE,
        doc: "Sources that raise no notice and no act for a time; what they do is recorded all the same.",
    },
    Section {
        name: "journal",
        named: false,
        keys: storage::JOURNAL,
        doc: "Where events are kept, and how long.",
    },
    Section {
        name: "capture",
        named: false,
        keys: storage::CAPTURE,
        doc: "What is kept of what peers send.",
    },
    Section {
        name: "limits",
        named: false,
        keys: storage::LIMITS,
        doc: "Bounds of sessions and of what one source can cause.",
    },
    Section {
        name: "decoys",
        named: true,
        keys: decoys::KEYS,
        doc: "Listeners that have no honest users.",
    },
    Section {
        name: "findings",
        named: false,
        keys: findings::KEYS,
        doc: "What trapline looks for over several contacts.",
    },
    Section {
        name: "incidents",
        named: false,
        keys: incidents::KEYS,
        doc: "When an incident is over, for sinks that follow incidents.",
    },
    Section {
        name: "notices",
        named: false,
        keys: notices::KEYS,
        doc: "What sinks that people read tell them, and how often.",
    },
    Section {
        name: "transforms",
        named: true,
        keys: super::transforms::COMMON,
        doc: "Nodes between decoys and sinks.",
    },
    Section {
        name: "sinks",
        named: true,
        keys: super::sinks::COMMON,
        doc: "Destinations of events.",
    },
    Section {
        name: "response",
        named: false,
        keys: response::KEYS,
        doc: "What is done about sources. Nothing is, and nothing is said of it, if this table is absent.",
    },
    Section {
        name: "web",
        named: false,
        keys: web::KEYS,
        doc: "The live feed and the API over HTTP. Nothing listens if this table is absent.",
    },
    Section {
        name: "canary",
        named: false,
        keys: canary::KEYS,
        doc: "How often trapline tries the way through journal and transforms to its sinks.",
    },
    Section {
        name: "log",
        named: false,
        keys: storage::LOG,
        doc: "What trapline says about itself on standard error.",
    },
];
