//! Protobuf as the public .proto files have it, read without the sink's own messages: a table of fields per message.
//!
//! Out: OTLP JSON, with 64-bit numbers as texts. A field that the table lacks, another wire type, a torn length or bytes
//! that are no UTF-8 are errors.

use serde_json::{Map, Value, json};

type Rows = fn() -> &'static [Row];

/// What a field holds.
enum Kind {
    Text,
    Bool,
    /// `int64`.
    Whole,
    /// `int32` or an enum.
    Small,
    Fixed64,
    Double,
    One(Rows),
    Many(Rows),
}

struct Row(u64, &'static str, Kind);

fn request() -> &'static [Row] {
    &[Row(1, "resourceLogs", Kind::Many(resource_logs))]
}

fn resource_logs() -> &'static [Row] {
    &[
        Row(1, "resource", Kind::One(resource)),
        Row(2, "scopeLogs", Kind::Many(scope_logs)),
    ]
}

fn resource() -> &'static [Row] {
    &[Row(1, "attributes", Kind::Many(key_value))]
}

fn scope_logs() -> &'static [Row] {
    &[
        Row(1, "scope", Kind::One(scope)),
        Row(2, "logRecords", Kind::Many(log_record)),
    ]
}

fn scope() -> &'static [Row] {
    &[Row(1, "name", Kind::Text), Row(2, "version", Kind::Text)]
}

fn log_record() -> &'static [Row] {
    &[
        Row(1, "timeUnixNano", Kind::Fixed64),
        Row(2, "severityNumber", Kind::Small),
        Row(3, "severityText", Kind::Text),
        Row(5, "body", Kind::One(any_value)),
        Row(6, "attributes", Kind::Many(key_value)),
        Row(11, "observedTimeUnixNano", Kind::Fixed64),
        Row(12, "eventName", Kind::Text),
    ]
}

fn key_value() -> &'static [Row] {
    &[Row(1, "key", Kind::Text), Row(2, "value", Kind::One(any_value))]
}

fn any_value() -> &'static [Row] {
    &[
        Row(1, "stringValue", Kind::Text),
        Row(2, "boolValue", Kind::Bool),
        Row(3, "intValue", Kind::Whole),
        Row(4, "doubleValue", Kind::Double),
        Row(5, "arrayValue", Kind::One(array)),
        Row(6, "kvlistValue", Kind::One(key_values)),
    ]
}

fn array() -> &'static [Row] {
    &[Row(1, "values", Kind::Many(any_value))]
}

fn key_values() -> &'static [Row] {
    &[Row(1, "values", Kind::Many(key_value))]
}

/// An `ExportLogsServiceRequest` as OTLP JSON.
pub fn export_request(bytes: &[u8]) -> Result<Value, String> {
    read(bytes, request())
}

fn read(mut bytes: &[u8], rows: &[Row]) -> Result<Value, String> {
    let mut object = Map::new();
    for Row(_, name, kind) in rows {
        if matches!(kind, Kind::Many(_)) {
            object.insert((*name).to_owned(), json!([]));
        }
    }
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let row = rows.iter().find(|row| row.0 == tag >> 3);
        let Row(_, name, kind) = row.ok_or(format!("no field {} here", tag >> 3))?;
        let value = value(kind, tag & 7, &mut bytes).map_err(|why| format!("{name}: {why}"))?;
        match (kind, object.get_mut(*name)) {
            (Kind::Many(_), Some(Value::Array(values))) => values.push(value),
            (_, None) => drop(object.insert((*name).to_owned(), value)),
            _ => return Err(format!("{name} is there twice")),
        }
    }
    Ok(Value::Object(object))
}

fn value(kind: &Kind, wire: u64, bytes: &mut &[u8]) -> Result<Value, String> {
    Ok(match (kind, wire) {
        (Kind::Bool, 0) => json!(varint(bytes)? == 1),
        (Kind::Whole, 0) => json!((varint(bytes)? as i64).to_string()),
        (Kind::Small, 0) => json!(varint(bytes)? as i64),
        (Kind::Fixed64, 1) => json!(u64::from_le_bytes(eight(bytes)?).to_string()),
        (Kind::Double, 1) => json!(f64::from_le_bytes(eight(bytes)?)),
        (Kind::Text, 2) => json!(String::from_utf8(piece(bytes)?.to_vec()).map_err(|error| error.to_string())?),
        (Kind::One(rows) | Kind::Many(rows), 2) => read(piece(bytes)?, rows())?,
        _ => return Err(format!("wire type {wire}")),
    })
}

fn varint(bytes: &mut &[u8]) -> Result<u64, String> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().ok_or("ends within a number")?;
        *bytes = rest;
        number |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err("a number of more than ten bytes".to_owned())
}

fn eight(bytes: &mut &[u8]) -> Result<[u8; 8], String> {
    let (eight, rest) = bytes.split_first_chunk().ok_or("ends within eight bytes")?;
    *bytes = rest;
    Ok(*eight)
}

fn piece<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], String> {
    let length = usize::try_from(varint(bytes)?).map_err(|error| error.to_string())?;
    let piece = bytes.get(..length).ok_or("ends before its length")?;
    *bytes = &bytes[length..];
    Ok(piece)
}
