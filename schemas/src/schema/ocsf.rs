//! The JSON Schema of the OCSF form.

use serde_json::{Map, Value, json};

use crate::fields::CATALOGUE;
use crate::render::ocsf::VERSION;
use crate::render::ocsf::class::{CLASSES, Class};
use crate::schema::{UUID, closed};

/// What every class requires.
const REQUIRED: [&str; 13] = [
    "time",
    "class_uid",
    "class_name",
    "category_uid",
    "category_name",
    "activity_id",
    "activity_name",
    "type_uid",
    "type_name",
    "severity_id",
    "severity",
    "message",
    "metadata",
];

/// The JSON Schema of an event rendered as OCSF: the attributes that we emit, and what each class requires.
pub fn ocsf() -> Value {
    let mut schema = closed(attributes(), &REQUIRED);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!(format!("trapline event as OCSF {VERSION}"));
    schema["oneOf"] = CLASSES.iter().map(|class| of_class(class)).collect();
    schema["$defs"] = definitions();
    schema
}

/// What makes an event one of `class`.
fn of_class(class: &Class) -> Value {
    let mut ids: Vec<u8> = class.activities.iter().map(|(id, _)| *id).collect();
    ids.push(crate::render::ocsf::class::OTHER);
    let types: Vec<u32> = ids
        .iter()
        .map(|id| u32::from(class.uid) * 100 + u32::from(*id))
        .collect();
    let mut schema = json!({
        "title": class.name,
        "properties": {
            "class_uid": {"const": class.uid},
            "class_name": {"const": class.name},
            "category_uid": {"const": class.category()},
            "category_name": {"const": class.category_name()},
            "activity_id": {"enum": ids},
            "type_uid": {"enum": types},
        },
        "required": class.required,
    });
    if !class.one_of.is_empty() {
        schema["anyOf"] = class.one_of.iter().map(|one| json!({"required": [one]})).collect();
    }
    schema
}

fn attributes() -> Value {
    let mut attributes = Map::new();
    let mut add = |schema: Value, names: &[&str]| {
        for name in names {
            attributes.insert((*name).to_owned(), described(name, schema.clone()));
        }
    };
    add(json!({"$ref": "#/$defs/millis"}), &["time", "start_time", "end_time"]);
    add(
        json!({"type": "string"}),
        &[
            "class_name",
            "category_name",
            "activity_name",
            "type_name",
            "severity",
            "message",
            "action",
            "disposition",
            "confidence",
            "risk_level",
            "status",
            "status_code",
            "status_detail",
            "logon_type",
            "auth_protocol",
            "app_protocol_name",
            "raw_data",
            "protocol_ver",
            "type",
            "identifier_cookie",
            "share",
            "command",
            "command_uid",
        ],
    );
    add(
        json!({"type": "integer", "minimum": 0}),
        &[
            "class_uid",
            "category_uid",
            "activity_id",
            "type_uid",
            "action_id",
            "disposition_id",
            "confidence_id",
            "risk_level_id",
            "status_id",
            "logon_type_id",
            "auth_protocol_id",
            "type_id",
            "raw_data_size",
            "count",
            "duration",
        ],
    );
    add(json!({"type": "integer", "minimum": 1, "maximum": 5}), &["severity_id"]);
    add(
        json!({"type": "integer", "minimum": 0, "maximum": 100}),
        &["risk_score"],
    );
    add(json!({"type": "boolean"}), &["is_alert", "is_remote", "is_cleartext"]);
    add(
        json!({"type": "array", "items": {"type": "string"}}),
        &["client_dialects"],
    );
    add(json!({"type": "object"}), &["unmapped"]);
    add(json!({"$ref": "#/$defs/endpoint"}), &["src_endpoint", "dst_endpoint"]);
    add(json!({"$ref": "#/$defs/fingerprint"}), &["raw_data_hash"]);
    for name in [
        "metadata",
        "connection_info",
        "traffic",
        "user",
        "actor",
        "service",
        "database",
        "query_info",
        "file",
        "http_request",
        "http_response",
        "tls",
        "client_hassh",
        "app",
        "finding_info",
        "assignee_group",
        "firewall_rule",
        "policy",
        "remediation",
    ] {
        add(json!({"$ref": format!("#/$defs/{name}")}), &[name]);
    }
    for (name, item) in [
        ("attacks", "attack"),
        ("observables", "observable"),
        ("packet_list", "packet"),
        ("auth_factors", "auth_factor"),
        ("evidences", "evidence"),
        ("finding_info_list", "finding_info"),
        ("countermeasures", "countermeasure"),
        ("ja4_fingerprint_list", "ja4"),
    ] {
        let items = json!({"$ref": format!("#/$defs/{item}")});
        add(json!({"type": "array", "minItems": 1, "items": items}), &[name]);
    }
    Value::Object(attributes)
}

/// The schema with the catalogue's words for the field that stands there, if one does.
fn described(name: &str, mut schema: Value) -> Value {
    if let Some(row) = CATALOGUE.iter().find(|row| row.ocsf == name) {
        schema["description"] = json!(row.doc);
    }
    schema
}

fn definitions() -> Value {
    let mut all = Map::new();
    for part in [scalars(), endpoints(), contents(), findings(), acts()] {
        if let Value::Object(part) = part {
            all.extend(part);
        }
    }
    Value::Object(all)
}

/// A property that is any text.
fn text() -> Value {
    json!({"type": "string"})
}

/// A property that is a whole number, not negative.
fn number() -> Value {
    json!({"type": "integer", "minimum": 0})
}

fn scalars() -> Value {
    json!({
        "millis": {
            "type": "integer", "minimum": 0, "maximum": 253_402_300_799_999_i64,
            "description": "Milliseconds since 1970-01-01T00:00:00Z.",
        },
        "uuid": {"type": "string", "pattern": UUID},
        "ip": {"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]},
        "port": {"type": "integer", "minimum": 0, "maximum": 65_535},
        "named": closed(json!({"uid": text(), "name": text()}), &["name"]),
        "fingerprint": closed(
            json!({"algorithm_id": number(), "algorithm": text(), "value": {"type": "string", "pattern": "^[0-9A-Fa-f]+$"}}),
            &["algorithm_id", "value"],
        ),
    })
}

fn endpoints() -> Value {
    json!({
        "endpoint": closed(
            json!({
                "ip": {"$ref": "#/$defs/ip"}, "port": {"$ref": "#/$defs/port"},
                "hostname": {"type": "string", "maxLength": 255, "pattern": "^[A-Za-z0-9_.-]+$"},
                "mac": {"type": "string", "pattern": "^([0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}$"}, "svc_name": text(),
                "uid": text(), "owner": closed(json!({"name": text()}), &["name"]),
                "location": closed(
                    json!({"city": text(), "country": text(), "lat": {"type": "number"}, "long": {"type": "number"}, "region": text()}),
                    &[],
                ),
                "autonomous_system": closed(json!({"name": text(), "number": number()}), &[]),
            }),
            &[],
        ),
        "connection_info": closed(
            json!({
                "direction_id": {"enum": [0, 1, 3]}, "direction": text(), "protocol_num": {"enum": [6, 17]},
                "protocol_name": text(), "protocol_ver_id": {"enum": [4, 6]}, "community_uid": text(),
                "uid": {"$ref": "#/$defs/uuid"},
            }),
            &["direction_id"],
        ),
        "traffic": closed(
            json!({
                "bytes": number(), "bytes_in": number(), "bytes_out": number(), "packets": number(),
                "packets_in": number(),
            }),
            &[],
        ),
        "tls": closed(
            json!({"version": text(), "cipher": text(), "client_ciphers": {"type": "array", "items": text()}, "sni": text(), "ja3_hash": {"$ref": "#/$defs/fingerprint"}}),
            &["version"],
        ),
        "ja4": closed(json!({"type_id": number(), "type": text(), "value": text()}), &["type_id", "value"]),
        "client_hassh": closed(
            json!({"algorithm": text(), "fingerprint": {"$ref": "#/$defs/fingerprint"}}),
            &["fingerprint"],
        ),
        "user": closed(json!({"name": text(), "domain": text()}), &["name"]),
        "service": closed(json!({"name": text()}), &["name"]),
        "assignee_group": closed(json!({"name": text()}), &["name"]),
        "actor": closed(
            json!({
                "user": {"$ref": "#/$defs/user"},
                "session": closed(json!({"uid": {"$ref": "#/$defs/uuid"}, "is_remote": {"type": "boolean"}}), &[]),
            }),
            &["session"],
        ),
    })
}

fn contents() -> Value {
    json!({
        "metadata": closed(
            json!({
                "version": {"const": VERSION}, "uid": {"$ref": "#/$defs/uuid"}, "event_code": text(),
                "logged_time": {"$ref": "#/$defs/millis"}, "log_name": text(), "product": {"$ref": "#/$defs/app"},
                "tags": {"type": "array", "items": closed(json!({"name": text(), "value": text()}), &["name", "value"])},
                "profiles": {"type": "array", "items": {"const": "security_control"}},
                "correlation_uid": {"$ref": "#/$defs/uuid"}, "sequence": {"type": "integer"}, "tenant_uid": text(),
                "is_truncated": {"const": true},
            }),
            &["version", "uid", "event_code", "log_name", "product"],
        ),
        "app": closed(
            json!({
                "name": text(), "vendor_name": text(), "version": text(),
                "feature": closed(json!({"name": text(), "uid": text()}), &["name"]),
            }),
            &["name", "vendor_name"],
        ),
        "http_request": closed(
            json!({
                "http_method": text(), "version": text(), "user_agent": text(), "referrer": text(),
                "body_length": number(),
                "url": closed(json!({"url_string": text(), "path": text(), "domain": text()}), &[]),
            }),
            &[],
        ),
        "http_response": closed(json!({"code": number()}), &["code"]),
        "file": closed(
            json!({
                "name": text(), "type_id": number(), "type": text(), "size": number(),
                "hashes": {"type": "array", "items": {"$ref": "#/$defs/fingerprint"}},
            }),
            &["name", "type_id"],
        ),
        "packet": closed(
            json!({
                "sequence_number": number(), "source_id": number(), "source": text(), "encoding_id": number(),
                "encoding": text(), "value": {"type": "string", "contentEncoding": "base64"},
            }),
            &["value"],
        ),
        "database": closed(json!({"name": text(), "type_id": number(), "type": text()}), &["name", "type_id"]),
        "query_info": closed(json!({"name": text(), "query_string": text()}), &["name", "query_string"]),
        "auth_factor": closed(json!({"factor_type_id": number(), "factor_type": text()}), &["factor_type_id"]),
    })
}

fn findings() -> Value {
    let named = json!({"$ref": "#/$defs/named"});
    json!({
        "attack": closed(json!({"tactic": named, "technique": named, "sub_technique": named}), &["tactic", "technique"]),
        "observable": closed(
            json!({"name": text(), "type_id": number(), "type": text(), "value": text()}),
            &["name", "type_id", "type", "value"],
        ),
        "finding_info": closed(
            json!({
                "uid": {"$ref": "#/$defs/uuid"}, "title": text(), "types": {"type": "array", "items": text()},
                "created_time": {"$ref": "#/$defs/millis"}, "first_seen_time": {"$ref": "#/$defs/millis"},
                "last_seen_time": {"$ref": "#/$defs/millis"},
                "attacks": {"type": "array", "items": {"$ref": "#/$defs/attack"}},
                "analytic": closed(
                    json!({"uid": text(), "name": text(), "type_id": number(), "type": text(), "version": text()}),
                    &["uid", "name", "type_id"],
                ),
                "data_sources": {"type": "array", "items": text()}, "related_events_count": number(),
                "related_events": {"type": "array", "items": closed(json!({"uid": {"$ref": "#/$defs/uuid"}}), &["uid"])},
            }),
            &["uid", "title"],
        ),
        "evidence": closed(
            json!({
                "src_endpoint": {"$ref": "#/$defs/endpoint"}, "dst_endpoint": {"$ref": "#/$defs/endpoint"},
                "data": closed(json!({"ports": {"type": "array", "items": {"$ref": "#/$defs/port"}}}), &["ports"]),
            }),
            &[],
        ),
    })
}

fn acts() -> Value {
    let named = json!({"$ref": "#/$defs/named"});
    json!({
        "remediation": closed(json!({"desc": text()}), &["desc"]),
        "countermeasure": closed(json!({"d3f_tactic": named, "d3f_technique": named}), &["d3f_technique"]),
        "firewall_rule": closed(
            json!({
                "name": text(), "type": text(), "duration": number(),
                "match_details": {"type": "array", "items": {"anyOf": [{"$ref": "#/$defs/ip"}, text()]}},
            }),
            &["name"],
        ),
        "policy": closed(json!({"name": text()}), &["name"]),
    })
}
