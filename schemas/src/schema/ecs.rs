//! The JSON Schema of the ECS form.

use serde_json::{Map, Value, json};

use crate::fields::CATALOGUE;
use crate::schema::value;

/// What every event has, by object; `""` is the event itself.
const REQUIRED: [(&str, &[&str]); 4] = [
    ("", &["@timestamp", "ecs", "event", "message", "observer", "rule"]),
    ("ecs", &["version"]),
    (
        "event",
        &[
            "action",
            "category",
            "code",
            "dataset",
            "id",
            "kind",
            "module",
            "provider",
            "risk_score",
            "severity",
            "type",
        ],
    ),
    ("rule", &["category", "id", "name", "ruleset", "version"]),
];

/// The JSON Schema of an event rendered as ECS.
pub fn ecs() -> Value {
    let mut root = object("");
    for row in CATALOGUE {
        insert(&mut root, "", row.ecs, value(row));
    }
    root["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    root["title"] = json!("trapline event as ECS 9.4.0");
    root
}

/// Puts a field's schema at its path, making the objects on the way.
fn insert(parent: &mut Value, prefix: &str, path: &str, schema: Value) {
    let Some((segment, rest)) = path.split_once('.') else {
        parent["properties"][path] = schema;
        return;
    };
    let prefix = if prefix.is_empty() {
        segment.to_owned()
    } else {
        format!("{prefix}.{segment}")
    };
    if parent["properties"].get(segment).is_none() {
        parent["properties"][segment] = object(&prefix);
    }
    insert(&mut parent["properties"][segment], &prefix, rest, schema);
}

/// An object without properties yet, that will take no others.
fn object(path: &str) -> Value {
    let mut object = json!({"type": "object", "properties": Map::new(), "additionalProperties": false});
    if let Some((_, required)) = REQUIRED.iter().find(|(of, _)| *of == path) {
        object["required"] = json!(required);
    }
    object
}
