//! Keys declared as data.

use std::time::Duration;

/// What a key holds.
#[derive(Debug, Clone, Copy)]
pub enum KeyKind {
    /// Any text.
    Text,
    /// true or false.
    Bool,
    /// A whole number within bounds.
    Integer {
        /// Smallest allowed.
        min: i64,
        /// Largest allowed.
        max: i64,
    },
    /// `"15m"`, `"250ms"`, within bounds.
    Duration {
        /// Shortest allowed.
        min: Duration,
        /// Longest allowed.
        max: Duration,
    },
    /// `"10GiB"`, `"64KiB"`, `"1MB"` or a whole number of bytes, within bounds.
    Size {
        /// Smallest allowed.
        min: u64,
        /// Largest allowed.
        max: u64,
    },
    /// One of some words.
    Choice(&'static [&'static str]),
    /// A list of texts.
    Texts,
    /// A list of whole numbers within bounds.
    Integers {
        /// Smallest allowed.
        min: i64,
        /// Largest allowed.
        max: i64,
    },
    /// A URL or an address of a destination, or a part of one, as text. Whoever wrote it may have put a secret into it,
    /// so problems show no more than [`seen_address`](super::seen_address) of it.
    Address,
    /// A file read by trapline, resolved against the configuration's folder.
    InputPath,
    /// A file written by trapline, resolved against `state_dir`.
    OutputPath,
    /// A secret: `${ENV}`, `file:…`, a systemd credential; literal only in a 0600 file.
    Secret,
    /// A secret that trapline may make itself: `file:…` names a file in `state_dir`, made if absent (the getter is
    /// [`Table::path`](super::Table::path)); else as `Secret`.
    MadeSecret,
    /// A table of names of the user's choice. A value is a text or, as of `Secret`, a secret; that of a name which sounds
    /// like a credential is a secret.
    Pairs,
    /// A CEL condition.
    Condition,
    /// `"off"` or a table with these keys.
    OffOr(&'static [Key]),
    /// `true` or `false`, or a table with these keys.
    BoolOr(&'static [Key]),
    /// A table with these keys.
    Table(&'static [Key]),
    /// Tables with these keys, each under a name of the user's choice (the getter is
    /// [`Table::tables`](super::Table::tables)).
    Tables(&'static [Key]),
    /// A table of any keys, for a destination that has words of its own: texts, whole numbers, true or false, and lists
    /// and tables of them (the getter is [`Table::values`](super::Table::values)).
    Values,
}

impl KeyKind {
    /// Whether the value must never be shown as it is written.
    pub(super) const fn is_hidden(self) -> bool {
        matches!(self, Self::Secret | Self::MadeSecret | Self::Address | Self::Pairs)
    }

    /// What the key takes, for messages and documents.
    pub fn allowed(self) -> String {
        use super::units::{duration_text, size_text};
        match self {
            Self::Text => "text".into(),
            Self::Address => "an address as text".into(),
            Self::Bool => "true or false".into(),
            Self::Integer { min, max } => format!("a whole number in {min}..={max}"),
            Self::Duration { min, max } => format!(
                "a duration such as \"15m\" or \"250ms\", {} to {}",
                duration_text(min),
                duration_text(max)
            ),
            Self::Size { min, max } => format!(
                "a size such as \"64KiB\" or \"10GiB\", {} to {}",
                size_text(min),
                size_text(max)
            ),
            Self::Choice(words) => super::problem::one_of(words.iter().copied()),
            Self::Texts => "a list of texts".into(),
            Self::Integers { min, max } => format!("a list of whole numbers in {min}..={max}"),
            Self::InputPath | Self::OutputPath => "a path".into(),
            Self::Secret => "`${VARIABLE}`, `file:PATH` or `credential:NAME`".into(),
            Self::MadeSecret => "`file:PATH` (made if absent), `${VARIABLE}` or `credential:NAME`".into(),
            Self::Pairs => {
                "a table of names and texts; a credential as `${VARIABLE}`, `file:PATH` or `credential:NAME`".into()
            }
            Self::Condition => "a CEL condition".into(),
            Self::OffOr(keys) => format!("\"off\" or a table of {}", names(keys)),
            Self::BoolOr(keys) => format!("true, false or a table of {}", names(keys)),
            Self::Table(keys) => format!("a table of {}", names(keys)),
            Self::Tables(keys) => format!("tables with names, each of {}", names(keys)),
            Self::Values => "a table of texts, whole numbers, true or false, lists and tables".into(),
        }
    }
}

fn names(keys: &[Key]) -> String {
    super::problem::listed(keys.iter().map(|key| key.name))
}

/// One key of a table.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Lower snake case.
    pub name: &'static str,
    /// What it holds.
    pub kind: KeyKind,
    /// The default as it would be written in TOML, or `None`.
    pub default: Option<&'static str>,
    /// Whether it must be there.
    pub required: bool,
    /// What it does, with its unit.
    pub doc: &'static str,
}

impl Key {
    /// A key that must be there.
    pub const fn required(name: &'static str, kind: KeyKind, doc: &'static str) -> Self {
        Self {
            name,
            kind,
            default: None,
            required: true,
            doc,
        }
    }

    /// A key that may be left out.
    pub const fn optional(name: &'static str, kind: KeyKind, doc: &'static str) -> Self {
        Self {
            name,
            kind,
            default: None,
            required: false,
            doc,
        }
    }

    /// A key with a default. A [`KeyKind::Table`] with the default `{}` is always there, made of its keys' defaults.
    pub const fn default(name: &'static str, kind: KeyKind, default: &'static str, doc: &'static str) -> Self {
        Self {
            name,
            kind,
            default: Some(default),
            required: false,
            doc,
        }
    }

    /// The key `timeout` of a sink that sends requests; the default as it is written, such as `"\"10s\""`.
    pub const fn timeout(default: &'static str) -> Self {
        let kind = KeyKind::Duration {
            min: Duration::from_millis(100),
            max: Duration::from_secs(300),
        };
        let doc = "Longest wait for one answer, from the connection to its last byte.";
        Self::default("timeout", kind, default, doc)
    }
}
