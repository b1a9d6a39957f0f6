//! JSON Schemas and the field page, made from the catalogue: never written by hand.
//!
//! In: the catalogue and the table of OCSF classes. Out: JSON Schema (draft 2020-12) of what each JSON form emits, as
//! `trapline schema ecs` and `trapline schema ocsf` print it and as `schemas/json/` keeps it, and `FIELDS.md`.
//! The schemas are closed: a key that we do not emit is refused. They describe this program's output, not all that
//! ECS and OCSF allow.

mod ecs;
mod ocsf;

pub use ecs::ecs;
pub use ocsf::ocsf;

use serde_json::{Value, json};

use crate::derive::state::State;
use crate::fields::{CATALOGUE, Kind, Origin, Row};

/// A schema as it is printed and kept: indented, with a last line end.
pub fn pretty(schema: &Value) -> String {
    format!("{schema:#}\n")
}

/// The documentation of every field, in Markdown.
pub fn fields_page() -> String {
    let mut page = String::from(HEAD);
    for row in CATALOGUE {
        let ocsf = if row.ocsf.is_empty() {
            String::new()
        } else {
            format!("`{}`", row.ocsf)
        };
        let origin = match row.origin {
            Origin::Stored => "stored",
            Origin::Derived => "derived",
        };
        page += &format!(
            "| `{}` | {} | {origin} | {ocsf} | {} |\n",
            row.ecs,
            kind(row.kind),
            row.doc
        );
    }
    page
}

const HEAD: &str = "\
# Fields of an event

Made from the catalogue (`schemas/src/fields.rs`) by `TRAPLINE_REMAKE=1 cargo test -p trapline-schemas`; not to be edited.

The field is its ECS path, and its name in journal bodies and conditions. OCSF has the value at the path given, in
classes that have the attribute; else a stored value is under `unmapped` at the ECS path. A stored field is kept in the
journal, a derived one is computed when the event is shown or matched.

| field | type | origin | OCSF | what it says |
|---|---|---|---|---|
";

/// A kind as people say it.
const fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Keyword => "keyword",
        Kind::Text => "text",
        Kind::Long => "long",
        Kind::Float => "float",
        Kind::Bool => "boolean",
        Kind::Ip => "ip",
        Kind::Date => "date",
        Kind::Id => "uuid",
        Kind::Bytes => "base64",
        Kind::Keywords => "keywords",
        Kind::Ips => "ips",
        Kind::Longs => "longs",
    }
}

/// The schema of one row's value in nested form.
fn value(row: &Row) -> Value {
    let mut schema = of_kind(row.kind);
    if row.ecs.ends_with(".port") {
        schema["minimum"] = json!(0);
        schema["maximum"] = json!(65_535);
    }
    if let Some(words) = words(row.ecs) {
        schema["enum"] = json!(words);
    }
    schema["description"] = json!(row.doc);
    schema
}

fn of_kind(kind: Kind) -> Value {
    match kind {
        Kind::Keyword => json!({"type": "string", "maxLength": 1024}),
        Kind::Text => json!({"type": "string"}),
        Kind::Long => json!({"type": "integer"}),
        Kind::Float => json!({"type": "number"}),
        Kind::Bool => json!({"type": "boolean"}),
        Kind::Ip => json!({"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]}),
        Kind::Date => json!({"type": "string", "format": "date-time", "pattern": DATE}),
        Kind::Id => json!({"type": "string", "format": "uuid", "pattern": UUID}),
        Kind::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
        Kind::Keywords => json!({"type": "array", "items": of_kind(Kind::Keyword)}),
        Kind::Ips => json!({"type": "array", "items": of_kind(Kind::Ip)}),
        Kind::Longs => json!({"type": "array", "items": of_kind(Kind::Long)}),
    }
}

const DATE: &str = "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z$";
const UUID: &str = "^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$";

/// The words that a field is limited to, by its name; `None` if it takes any.
pub fn words(field: &str) -> Option<&'static [&'static str]> {
    Some(match field {
        "event.kind" => &["alert", "event"],
        "event.outcome" => &["failure", "success", "unknown"],
        "network.direction" => &["inbound", "internal"],
        "network.iana_number" => &["6", "17"],
        "network.type" => &["ipv4", "ipv6"],
        "network.transport" => &["tcp", "udp"],
        "rule.category" => &["decoy", "response", "health"],
        "honeyport.response.mode" => &["observe", "propose", "enforce"],
        "honeyport.response.state" => {
            &const {
                let mut words = [""; State::ALL.len()];
                let mut at = 0;
                while at < words.len() {
                    words[at] = State::ALL[at].name();
                    at += 1;
                }
                words
            }
        }
        "honeyport.touch.level" => &["contact", "intent", "proof"],
        _ => return None,
    })
}

/// An object that has only the given properties.
fn closed(properties: Value, required: &[&str]) -> Value {
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}
