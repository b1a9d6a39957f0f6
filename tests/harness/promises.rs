//! What holds for any set of events: the promised events of each contact, and agreement of all receivers.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// An event's id.
pub fn id(event: &Value) -> String {
    event["event"]["id"]
        .as_str()
        .unwrap_or_else(|| panic!("no id in {event}"))
        .to_owned()
}

/// Ids as a set, and how many were doubles.
pub fn ids<'a>(events: impl IntoIterator<Item = &'a Value>) -> (BTreeSet<String>, usize) {
    let mut set = BTreeSet::new();
    let mut doubles = 0;
    for event in events {
        doubles += usize::from(!set.insert(id(event)));
    }
    (set, doubles)
}

/// An event's action.
pub fn action(event: &Value) -> &str {
    event["event"]["action"].as_str().unwrap_or_default()
}

/// Events by session, in order.
pub fn sessions(events: &[Value]) -> BTreeMap<String, Vec<&Value>> {
    let mut sessions: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for event in events {
        if let Some(session) = event["honeyport"]["session"]["id"].as_str() {
            sessions.entry(session.to_owned()).or_default().push(event);
        }
    }
    sessions
}

/// Every TCP session has exactly the promised events: one connect first, at most one handshake, payload and end, and
/// an end if anything but the connect happened.
pub fn check_sessions(events: &[Value]) {
    for (session, events) in sessions(events) {
        if events[0]["network"]["transport"] == "udp" {
            continue;
        }
        let actions: Vec<&str> = events.iter().map(|event| action(event)).collect();
        let count = |name: &str| actions.iter().filter(|action| **action == name).count();
        assert_eq!(count("decoy-connect"), 1, "{session}: {actions:?}");
        assert_eq!(actions[0], "decoy-connect", "{session}: {actions:?}");
        for once in ["decoy-handshake", "decoy-payload", "session-end"] {
            assert!(count(once) <= 1, "{session}: {actions:?}");
        }
        if actions.len() > 1 {
            assert_eq!(actions.last(), Some(&"session-end"), "{session}: {actions:?}");
        }
    }
}
