//! What events of one window come together by.

use trapline_schemas::{Action, Event, Field, Value};

/// Stands between the values of a key; clean text has no control characters.
pub(super) const SEPARATOR: char = '\u{1f}';
/// Stands for an absent value.
const ABSENT: char = '\u{1e}';
/// The key that keys share when there are too many.
pub(super) const OTHERS: &str = "(others)";
/// How the one key of a node without fields is shown.
const ALL: &str = "(all)";

/// What a derived event takes over from the events it sums up, besides the key.
const IDENTITY: &[Field] = &[
    Field::ObserverName,
    Field::ObserverHostname,
    Field::ObserverVersion,
    Field::Site,
    Field::OrganizationId,
];

/// The key of an event: its values of the fields, told apart from absent ones.
pub(in crate::graph) fn key_of(by: &[Field], event: &Event) -> String {
    let mut key = String::new();
    for (index, field) in by.iter().enumerate() {
        if index > 0 {
            key.push(SEPARATOR);
        }
        match event.resolve(*field) {
            Some(value) => key.push_str(&text_of(&value)),
            None => key.push(ABSENT),
        }
    }
    key
}

/// The derived event of a key as its first event makes it, without counts.
pub(super) fn draft(node: &str, action: Action, by: &[Field], event: &Event, key: &str) -> Event {
    let shown = match by {
        [] => ALL.to_owned(),
        _ => key.replace(SEPARATOR, ", ").replace(ABSENT, "-"),
    };
    let mut draft = draft_shown(node, action, event, &shown);
    for field in by {
        draft.set_some(*field, event.get(*field).cloned().filter(|_| field.is_stored()));
    }
    draft
}

/// The derived event of the keys that found no room.
pub(super) fn draft_of_others(node: &str, action: Action, event: &Event) -> Event {
    draft_shown(node, action, event, OTHERS)
}

/// The derived event of a key that is shown so.
pub(super) fn draft_shown(node: &str, action: Action, event: &Event, shown: &str) -> Event {
    let mut draft = Event::new(event.id, event.at, action);
    for field in IDENTITY {
        draft.set_some(*field, event.get(*field).cloned());
    }
    draft.set(Field::TransformName, node);
    draft.set(Field::TransformKey, shown);
    draft
}

fn text_of(value: &Value) -> String {
    match value {
        Value::Text(text) => text.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::Ip(ip) => ip.to_string(),
        Value::Id(id) => id.to_string(),
        // Fields of other kinds are refused in `by`.
        Value::Float(_) | Value::Time(_) | Value::Bytes(_) => String::new(),
        Value::Texts(_) | Value::Ips(_) | Value::Ints(_) => String::new(),
    }
}
