//! Configuration tables: keys declared as data, read without stopping at the first mistake.
//!
//! A component declares its keys as a `&'static [Key]`. In comes a [`Node`]: a TOML text in which every key and value
//! knows its place, environment variables laid over it. [`check()`] holds it against the keys and hands out a [`Table`]
//! whose getters cannot fail. The same declarations make `schema config` ([`table_schema`]) and the completeness test
//! of `config/trapline.toml`.
//!
//! Invariants:
//! 1. All problems are found in one go ([`Problems`]); a wrong value is stood in for by its default or an empty value,
//!    and the configuration as a whole is refused by whoever holds the problems.
//! 2. A problem has a place: file, line and column, or the environment variable.
//! 3. No secret stands in a problem, a snippet or a `Debug` text.
//! 4. No I/O: variables, secret files and credentials come through [`Outside`].
//!
//! It does not know which tables a configuration has, nor what they mean to each other: that is the program's.

mod address;
mod check;
mod expand;
mod key;
mod name;
mod outside;
mod place;
mod places;
mod problem;
mod schema;
mod snippet;
mod table;
mod tree;
mod units;

#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;

use crate::dial::{Address, Resolver};
use crate::stream::{Fault, StreamSink};
use trapline_schemas::Format;

pub use address::{plain as plain_address, seen as seen_address};
pub use check::check;
pub use key::{Key, KeyKind};
pub use name::{NAME_CHARS_MAX, NAME_PATTERN, is_name, no_name};
pub use outside::{Context, Outside, Variables};
pub use place::{Origin, Place, SourceText};
pub use problem::{Facts, Problem, Problems, Severity, Visible, listed, nearest, one_of, shown};
pub use schema::{key_schema, table_schema};
pub use table::Table;
pub use tree::{Node, Raw};
pub use units::{duration_text, parse_duration, parse_size, size_text};

/// A value that must not be shown. `Debug` prints `***`.
pub type Secret = secrecy::SecretString;

/// Shows a [`Secret`] to the code that sends it.
pub use secrecy::ExposeSecret;

/// What every sink gets besides its own table.
#[derive(Debug, Clone)]
pub struct Common {
    /// The sink's name in the configuration.
    pub name: String,
    /// The form to send.
    pub format: Format,
    /// Name of the observer: that of `[observer]`, else the host name.
    pub observer: String,
    /// How the names of destinations become addresses.
    pub resolver: Resolver,
    /// What all sinks that tell people share.
    pub notices: NoticeSettings,
}

/// What all sinks that tell people share: how notices are worded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NoticeSettings {
    /// The tone of sinks that name none of their own; empty: the default one.
    pub tone: String,
    /// Who is asked by those who want to be let in again; empty: nobody is named.
    pub contact: String,
    /// Folder of the configuration; voices in the folder `notices` in it are preferred to those that the program carries.
    pub folder: Option<PathBuf>,
}

/// A sink's validated settings, ready to be made real.
pub trait Factory: Send + Sync + Debug {
    /// Opens what the sink needs (files, certificates); no event is sent. Called on start, reload and `check`.
    fn build(&self, common: &Common) -> Result<Arc<dyn StreamSink>, Fault>;

    /// What is wrong beyond the keys of `table`, the one this was read from: files that cannot be read, bounds that no
    /// event fits.
    /// Reaches nobody and changes nothing. Called on `check`.
    fn look(&self, _table: &Table, _common: &Common) -> Vec<Problem> {
        Vec::new()
    }

    /// The hosts that it sends to, which are never acted on; `table` is the one that this was read from. A port that is
    /// not written means nothing.
    fn places(&self, table: &Table) -> Vec<Address> {
        table.places()
    }

    /// Whether the sink writes to those who answer for a source, when an event `notice-released` that names it lets it.
    fn owner_mail(&self) -> OwnerMail {
        OwnerMail::Never
    }
}

/// Whether a sink writes to the owners of sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OwnerMail {
    /// Never: it is no such sink, or was not told to.
    #[default]
    Never,
    /// Beside what its inputs give it.
    Also,
    /// To nobody else: its inputs give it nothing.
    Alone,
}

/// Who reads what a sink sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Programs: every event, as it is.
    Machines,
    /// People: notices, in number such that they are read.
    People,
}

/// A sink type: one row of the registry.
#[derive(Debug, Clone, Copy)]
pub struct SinkType {
    /// The word after `type =`, also the crate's folder.
    pub name: &'static str,
    /// Its own keys; those common to all sinks are added by the loader.
    pub keys: &'static [Key],
    /// Who reads what it sends.
    pub audience: Audience,
    /// Whether it is told when an incident that it was told of is over, by an event `incident-closed`.
    pub follows_incidents: bool,
    /// Forms it can send, the default first.
    pub formats: &'static [Format],
    /// Reads the checked table.
    pub parse: fn(&Table) -> Box<dyn Factory>,
    /// One line for `README.md` and `schema config`.
    pub doc: &'static str,
}
