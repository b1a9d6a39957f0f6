//! What a configuration refers to and the check of it must ask for: variables, secret files, credentials.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::{Path, PathBuf};

use super::problem::Problems;

/// The world as far as a configuration may look at it. The check itself does no I/O: it asks here.
pub trait Outside: Debug {
    /// An environment variable.
    fn variable(&self, name: &str) -> Option<String>;
    /// Names of environment variables whose value is not UTF-8; [`Outside::variable`] does not give these.
    fn not_utf8(&self) -> &[String] {
        &[]
    }
    /// The text of a secret's file, without line ends at its end; or why not, as a lower-case fragment.
    fn secret_file(&self, path: &Path) -> Result<String, String>;
    /// A systemd credential by name; or why not.
    fn credential(&self, name: &str) -> Result<String, String>;
}

/// An outside that consists of some variables: for tests, and for configurations that need nothing else.
#[derive(Debug, Default, Clone)]
pub struct Variables(pub BTreeMap<String, String>);

impl Outside for Variables {
    fn variable(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }
    fn secret_file(&self, _: &Path) -> Result<String, String> {
        Err("no files here".into())
    }
    fn credential(&self, _: &str) -> Result<String, String> {
        Err("no credentials here".into())
    }
}

/// What the check of a table needs besides the table.
#[derive(Debug, Clone)]
pub struct Context<'a> {
    /// Variables, secret files, credentials.
    pub outside: &'a dyn Outside,
    /// Folder that relative inputs are resolved against.
    pub config_dir: PathBuf,
    /// Folder that relative outputs are resolved against.
    pub state_dir: PathBuf,
    /// Whether the file's mode allows secrets in it: 0600 or tighter.
    pub literal_secrets: bool,
    /// Takes all that is wrong.
    pub problems: Problems,
}
