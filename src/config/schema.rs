//! `schema config`: the configuration as a JSON Schema, from the same keys that check it.

use serde_json::{Map, Value, json};
use trapline_sink::config::{NAME_CHARS_MAX, NAME_PATTERN, SinkType, duration_text, key_schema, table_schema};
use trapline_sink::set::SetType;

use super::rules::ServiceRule;
use super::sections::{SECTIONS, Section, TOP};
use super::{sets, sinks, transforms};
use crate::graph::transforms::{TRANSFORMS, TransformType};

/// The JSON Schema (2020-12) of a configuration with these sinks and services.
pub fn schema(kinds: &[&'static SinkType], acting: &[&'static SetType], services: &[ServiceRule]) -> Value {
    let mut properties = Map::new();
    for key in TOP {
        properties.insert(key.name.into(), key_schema(key));
    }
    for section in SECTIONS {
        let table = match section.name {
            "sinks" => any_of(
                kinds
                    .iter()
                    .map(|kind| sink_schema(kind))
                    .chain(acting.iter().map(|kind| set_schema(kind))),
            ),
            "transforms" => any_of(TRANSFORMS.iter().map(transform_schema)),
            "decoys" => decoy_schema(section, services),
            _ => table_schema(section.keys),
        };
        properties.insert(section.name.into(), section_schema(section, table));
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "trapline configuration",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    })
}

fn section_schema(section: &Section, table: Value) -> Value {
    let mut schema = match section.named {
        true => json!({
            "type": "object",
            "propertyNames": {"pattern": NAME_PATTERN, "maxLength": NAME_CHARS_MAX},
            "additionalProperties": table,
        }),
        false => table,
    };
    schema["description"] = section.doc.into();
    schema
}

fn any_of(tables: impl Iterator<Item = Value>) -> Value {
    json!({"anyOf": tables.collect::<Vec<_>>()})
}

fn sink_schema(kind: &'static SinkType) -> Value {
    let mut schema = table_schema(sinks::keys(kind));
    schema["description"] = kind.doc.into();
    schema["properties"]["type"] = json!({"const": kind.name, "description": kind.doc});
    if !kind.keys.iter().any(|key| key.name == "format") {
        let formats: Vec<_> = kind.formats.iter().map(|format| format.name()).collect();
        schema["properties"]["format"]["default"] = formats.first().copied().into();
        schema["properties"]["format"]["enum"] = formats.into();
    }
    schema
}

fn set_schema(kind: &'static SetType) -> Value {
    let mut schema = table_schema(sets::keys(kind));
    schema["description"] = kind.doc.into();
    schema["properties"]["type"] = json!({"const": kind.name, "description": kind.doc});
    schema["properties"]["scope"]["default"] = kind.scope.name().into();
    schema["properties"]["interval"]["default"] = duration_text(kind.interval).into();
    schema
}

fn transform_schema(row: &TransformType) -> Value {
    let mut schema = table_schema(transforms::COMMON.iter().chain(row.keys));
    schema["description"] = row.doc.into();
    schema["properties"]["type"] = json!({"const": row.name, "description": row.doc});
    schema
}

fn decoy_schema(section: &Section, services: &[ServiceRule]) -> Value {
    let mut schema = table_schema(section.keys);
    let names: Vec<_> = services.iter().map(|service| service.name).collect();
    schema["properties"]["service"]["enum"] = names.into();
    schema
}
