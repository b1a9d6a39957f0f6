//! What is known of an object at a vendor's: its id and a few words.

use std::collections::BTreeMap;

use serde_json::Value;

/// Longest text of a slot, in characters.
const CHARS_MAX: usize = 200;
/// Most slots.
const SLOTS_MAX: usize = 12;

/// Named short values that a vendor gave; templates see them as `remote.NAME`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remote(BTreeMap<String, Value>);

impl Remote {
    /// Takes a value. `false`: it is no short value of one line, and was not taken. Nothing is a value that forgets.
    pub fn set(&mut self, name: &str, value: Value) -> bool {
        let fits = match &value {
            Value::Null => {
                self.0.remove(name);
                return true;
            }
            Value::String(text) => {
                let plain = !text.is_empty() && !text.chars().any(trapline_schemas::text::hidden);
                plain && text.chars().count() <= CHARS_MAX
            }
            Value::Bool(_) | Value::Number(_) => true,
            Value::Array(_) | Value::Object(_) => false,
        };
        let room = self.0.contains_key(name) || self.0.len() < SLOTS_MAX;
        if fits && room {
            self.0.insert(name.to_owned(), value);
        }
        fits && room
    }

    /// The text of a slot.
    pub fn text(&self, name: &str) -> Option<String> {
        match self.0.get(name)? {
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }

    /// Whether a slot is there.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Whether a slot says yes.
    pub fn is(&self, name: &str) -> bool {
        self.0.get(name) == Some(&Value::Bool(true))
    }

    /// Forgets a slot.
    pub fn forget(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// As a JSON object.
    pub fn to_json(&self) -> Value {
        Value::Object(self.0.clone().into_iter().collect())
    }

    /// From a JSON object; what is no short value is left out.
    pub fn from_json(value: &Value) -> Self {
        let mut remote = Self::default();
        for (name, value) in value.as_object().into_iter().flatten() {
            remote.set(name, value.clone());
        }
        remote
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_short_values_of_one_line_are_taken() {
        let mut remote = Remote::default();
        for (value, taken) in [
            (json!("~4128"), true),
            (json!(7), true),
            (json!(true), true),
            (json!(""), false),
            (json!("a\nb"), false),
            (json!("a\u{202e}b"), false),
            (json!("x".repeat(201)), false),
            (json!(["a"]), false),
            (json!({"a": 1}), false),
        ] {
            assert_eq!(remote.set("id", value.clone()), taken, "{value}");
        }
        assert!(remote.is("id") && remote.set("id", Value::Null) && !remote.has("id"));
    }

    #[test]
    fn slots_are_few_and_go_through_json() {
        let mut remote = Remote::default();
        for number in 0..20 {
            remote.set(&number.to_string(), json!(number));
        }
        assert_eq!(remote.0.len(), SLOTS_MAX);
        assert_eq!(Remote::from_json(&remote.to_json()), remote);
        assert_eq!(Remote::from_json(&json!([1])), Remote::default());
    }
}
