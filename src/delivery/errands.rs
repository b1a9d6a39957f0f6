//! What a person left for a sink's worker to do beside what comes: dead letters to send again, and a replay. Pure.
//!
//! Both stand in the journal's state, so that they outlive whatever ends the process; the worker is called to look
//! ([`super::Board::call`]) and looks by itself when it begins.
//!
//! | key of the state | value |
//! |---|---|
//! | `retry/SINK/OFFSET` | nothing: the dead letter at that offset is to be sent again |
//! | `replay/SINK/order` | an [`Order`], while the replay is wanted |
//! | `replay/SINK/progress` | the [`Progress`] of the last one |
//!
//! A replay under way has the cursor `replay/SINK` besides, for the journal's retention to respect.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::journal::Offset;

/// A replay that somebody asked for: the entries from `first` to before `end`, once each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Tells it from others: when it was asked for, in microseconds since 1970.
    pub id: i64,
    /// The first offset.
    pub first: Offset,
    /// The offset after the last.
    pub end: Offset,
    /// The times it was asked for with, as they were written.
    pub asked: (String, Option<String>),
}

/// How a replay ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All of it was sent.
    Done,
    /// Somebody cancelled it.
    Cancelled,
}

/// How far a replay came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The order it belongs to.
    pub order: Order,
    /// All before this offset is done with.
    pub next: Offset,
    /// Events delivered.
    pub sent: u64,
    /// Events that the sink refused, which are dead letters now.
    pub refused: u64,
    /// Entries that were gone or unreadable.
    pub missing: u64,
    /// How it ended, and when, in microseconds since 1970; `None` while it is under way.
    pub ended: Option<(Outcome, i64)>,
}

impl Progress {
    /// Nothing done yet.
    pub fn new(order: Order) -> Self {
        Self {
            next: order.first,
            order,
            sent: 0,
            refused: 0,
            missing: 0,
            ended: None,
        }
    }
}

/// The name under which a replay to a sink keeps its cursor.
pub fn replay_consumer(sink: &str) -> String {
    format!("replay/{sink}")
}

/// State key of the order for a sink.
pub fn order_key(sink: &str) -> String {
    format!("replay/{sink}/order")
}

/// State key of how far the replay to a sink came.
pub fn progress_key(sink: &str) -> String {
    format!("replay/{sink}/progress")
}

/// A value as it stands in the state.
pub fn encode(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("texts and numbers are always JSON")
}

/// Reads what stands in the state under exactly `key`; `None` if it is not there, or of a version that means otherwise.
pub fn find<T: DeserializeOwned>(rows: &[(String, Vec<u8>)], key: &str) -> Option<T> {
    let (_, value) = rows.iter().find(|(found, _)| found == key)?;
    serde_json::from_slice(value).ok()
}

/// Under which the dead letters of a sink stand that are to be sent again.
pub fn retry_prefix(sink: &str) -> String {
    format!("retry/{sink}/")
}

/// State key that says that the dead letter of a sink at an offset is to be sent again.
pub fn retry_key(sink: &str, offset: Offset) -> String {
    format!("retry/{sink}/{offset:020}")
}

/// The sink and offset of a [`retry_key`].
pub fn retry_of(key: &str) -> Option<(&str, Offset)> {
    let (sink, offset) = key.strip_prefix("retry/")?.rsplit_once('/')?;
    Some((sink, offset.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_names_its_sink_whatever_signs_that_has() {
        for sink in ["siem", "a/b", "replay/x", ""] {
            assert_eq!(retry_of(&retry_key(sink, 7)), Some((sink, 7)));
            assert!(retry_key(sink, 7).starts_with(&retry_prefix(sink)));
        }
        assert_eq!(retry_of("retry/siem/x"), None);
        assert!(retry_key("a", 9) < retry_key("a", 10), "they stand in order");
    }

    #[test]
    fn what_is_left_in_the_state_is_read_back_and_another_key_is_not() {
        let order = Order {
            id: 5,
            first: 1,
            end: 9,
            asked: ("1d".into(), None),
        };
        let rows = [(order_key("a"), encode(&order)), (progress_key("a"), b"?".to_vec())];
        assert_eq!(find(&rows, &order_key("a")), Some(order));
        assert_eq!(find::<Order>(&rows, &order_key("b")), None);
        assert_eq!(find::<Progress>(&rows, &progress_key("a")), None);
    }
}
