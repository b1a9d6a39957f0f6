//! The end of a windowed node that the configuration has no more: what its open windows held back is told.

use std::collections::BTreeMap;
use std::time::Duration;

use trapline_schemas::{Event, Field};

use super::policy::{First, Policy, WindowSpec};
use super::{StateRow, Windows};

/// State rows by the windowed node that they are of, given all rows of such nodes.
pub fn by_node(rows: Vec<(String, Vec<u8>)>) -> BTreeMap<String, Vec<(String, Vec<u8>)>> {
    let mut nodes: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for (key, row) in rows {
        if let Some(node) = node_of(&key) {
            nodes.entry(node.to_owned()).or_default().push((key, row));
        }
    }
    nodes
}

/// The node of a row: what stands before EPOCH/START, which a name has not in it, or all of the row of the node itself.
fn node_of(key: &str) -> Option<&str> {
    let name = key.strip_prefix(Windows::prefix("").as_str())?;
    let is_number = |word: Option<&str>| word.is_some_and(|word| word.parse::<i64>().is_ok());
    let ends_here = |(at, _): &(usize, &str)| {
        let mut words = name.get(at + 1..).unwrap_or_default().splitn(3, '/');
        is_number(words.next()) && is_number(words.next())
    };
    let end = name.match_indices('/').find(ends_here).map_or(name.len(), |(at, _)| at);
    name.get(..end)
}

/// The open windows of a node that is no more.
#[derive(Debug)]
pub struct Disbanded(Windows);

impl Disbanded {
    /// Takes the rows of the node; `None` if it held nothing open. Its own row stays: by it, windows of a node that gets
    /// this name again have other ids.
    pub fn restore(node: &str, rows: Vec<(String, Vec<u8>)>) -> Option<Self> {
        let prefix = Windows::prefix(node);
        if rows.iter().all(|(key, _)| *key == prefix) {
            return None;
        }
        // No node has such windows, so all that is open is told as it stands.
        let spec = WindowSpec {
            by: Vec::new(),
            window: Duration::ZERO,
            policy: Policy::Aggregate { first: First::AtOnce },
        };
        let (windows, _) = Windows::restore(node, &spec, rows);
        Some(Self(windows))
    }

    /// Up to `max` events to tell, with the rows that go with them; without rows all is told.
    pub fn close(&mut self, max: usize) -> (Vec<Event>, Vec<StateRow>) {
        let mut events = self.0.close(max);
        for event in events
            .iter_mut()
            .filter(|event| event.get(Field::EventReason).is_none())
        {
            event.set(Field::EventReason, "held back before its node was removed");
        }
        (events, self.0.changes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_of_the_node_that_its_key_begins_with_whatever_its_own_key_is() {
        let of = |key: &str| node_of(key).map(str::to_owned);
        for (key, node) in [
            ("window/digest", "digest"),
            ("window/digest/0/1772600400000000/10.0.0.1", "digest"),
            ("window/digest/3/-60/a/5/6/b", "digest"),
            ("window/notices/siem", "notices/siem"),
            ("window/notices/siem/0/60/x", "notices/siem"),
            ("window/findings/2001:db8::1", "findings/2001:db8::1"),
        ] {
            assert_eq!(of(key).as_deref(), Some(node), "{key}");
        }
        assert_eq!(of("incidents/x"), None);
    }
}
