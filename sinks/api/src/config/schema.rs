//! Declared keys as JSON Schema (2020-12).

use serde_json::{Map, Value, json};

use super::key::{Key, KeyKind};
use super::name::{NAME_CHARS_MAX, NAME_PATTERN};

/// The schema of a table with these keys and no others.
pub fn table_schema<'a>(keys: impl IntoIterator<Item = &'a Key>) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for key in keys {
        properties.insert(key.name.into(), key_schema(key));
        if key.required {
            required.push(key.name);
        }
    }
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

/// The schema of one key, with its doc line and default.
pub fn key_schema(key: &Key) -> Value {
    let mut schema = kind_schema(key.kind);
    schema["description"] = key.doc.into();
    if let Some(default) = key.default.and_then(json_of) {
        schema["default"] = default;
    }
    schema
}

fn kind_schema(kind: KeyKind) -> Value {
    match kind {
        KeyKind::Text | KeyKind::Address | KeyKind::InputPath | KeyKind::OutputPath | KeyKind::Condition => {
            json!({"type": "string"})
        }
        KeyKind::Secret | KeyKind::MadeSecret => json!({"type": "string", "writeOnly": true}),
        KeyKind::Pairs => json!({"type": "object", "additionalProperties": {"type": "string", "writeOnly": true}}),
        KeyKind::Bool => json!({"type": "boolean"}),
        KeyKind::Integer { min, max } => {
            json!({"type": "integer", "minimum": min, "maximum": max})
        }
        KeyKind::Integers { min, max } => json!({
            "type": "array",
            "items": {"type": "integer", "minimum": min, "maximum": max},
        }),
        KeyKind::Texts => json!({"type": "array", "items": {"type": "string"}}),
        KeyKind::Choice(words) => json!({"enum": words}),
        KeyKind::Duration { .. } => {
            json!({"type": "string", "pattern": "^([0-9]+(d|h|ms|m|s))+$"})
        }
        KeyKind::Size { min, max } => json!({"anyOf": [
            {"type": "string", "pattern": "^[0-9]+([KMGT]i?B|B)$"},
            {"type": "integer", "minimum": min, "maximum": max},
        ]}),
        KeyKind::OffOr(keys) => json!({"anyOf": [{"const": "off"}, table_schema(keys)]}),
        KeyKind::BoolOr(keys) => json!({"anyOf": [{"type": "boolean"}, table_schema(keys)]}),
        KeyKind::Table(keys) => table_schema(keys),
        KeyKind::Tables(keys) => json!({
            "type": "object",
            "propertyNames": {"pattern": NAME_PATTERN, "maxLength": NAME_CHARS_MAX},
            "additionalProperties": table_schema(keys),
        }),
        KeyKind::Values => json!({"type": "object"}),
    }
}

/// A default's TOML text as JSON.
fn json_of(text: &str) -> Option<Value> {
    let table: toml::Table = toml::from_str(&format!("v = {text}")).ok()?;
    serde_json::to_value(table.get("v")?).ok()
}
