//! What the journal keeps of a node: the names of its rows, and the row of the node as a whole.

use serde::{Deserialize, Serialize};
use trapline_schemas::Action;

use super::notices;

/// The row of the node as a whole.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Meta {
    pub(super) v: u32,
    pub(super) epoch: u32,
    pub(super) mark: i64,
    pub(super) window: i64,
    pub(super) by: Vec<String>,
    /// The action of its derived events; rows of the first version have none.
    #[serde(default = "held_back")]
    pub(super) tells: String,
}

fn held_back() -> String {
    Action::HeldBack.name().to_owned()
}

/// A window that closes: which, and whether it is told before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ending {
    pub(super) epoch: u32,
    pub(super) start: i64,
    pub(super) is_partial: bool,
}

impl Ending {
    /// The name of the row of one of its keys.
    pub(super) fn row(self, node: &str, key: &str) -> String {
        row_key(node, self.epoch, self.start, key)
    }
}

/// The prefix of all rows of a node.
pub(super) fn prefix(node: &str) -> String {
    match notices::sink_behind(node) {
        // Not below that of a transform of the name `notices`.
        Some(_) => node.to_owned(),
        None => format!("window/{node}"),
    }
}

/// The name of the row of a key.
pub(super) fn row_key(node: &str, epoch: u32, start: i64, key: &str) -> String {
    format!("{}/{epoch}/{start}/{key}", prefix(node))
}

/// Epoch, start and key that the name of a row says.
pub(super) fn parse_row<'r>(prefix: &str, row: &'r str) -> Option<(u32, i64, &'r str)> {
    let mut parts = row.strip_prefix(prefix)?.strip_prefix('/')?.splitn(3, '/');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?))
}
