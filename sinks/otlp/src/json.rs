//! JSON values as OTLP values.

use serde_json::{Map, Number, Value};

use crate::proto::{Any, AnyValue, ArrayValue, KeyValue, KeyValueList};

/// The value with its kind: whole numbers, fractions, texts, lists and maps stay what they are; `null` is no kind.
pub(crate) fn any(value: Value) -> AnyValue {
    let value = match value {
        Value::Null => return AnyValue { value: None },
        Value::Bool(yes) => Any::BoolValue(yes),
        Value::Number(number) => of_number(&number),
        Value::String(text) => Any::StringValue(text),
        Value::Array(items) => Any::ArrayValue(ArrayValue {
            values: items.into_iter().map(any).collect(),
        }),
        Value::Object(entries) => Any::KvlistValue(KeyValueList {
            values: entries
                .into_iter()
                .map(|(key, value)| KeyValue::new(key, any(value)))
                .collect(),
        }),
    };
    value.into()
}

/// A number that fits neither kind goes as its digits.
fn of_number(number: &Number) -> Any {
    match (number.as_i64(), number.as_f64()) {
        (Some(whole), _) => Any::IntValue(whole),
        (None, Some(fraction)) if !number.is_u64() => Any::DoubleValue(fraction),
        _ => Any::StringValue(number.to_string()),
    }
}

/// The leaves of an object, each under its dotted path, in order. Lists are leaves.
pub(crate) fn leaves(object: Map<String, Value>) -> Vec<(String, Value)> {
    let mut out = Vec::new();
    descend(String::new(), object, &mut out);
    out
}

fn descend(path: String, object: Map<String, Value>, out: &mut Vec<(String, Value)>) {
    for (key, value) in object {
        let path = if path.is_empty() { key } else { format!("{path}.{key}") };
        match value {
            Value::Object(inner) => descend(path, inner, out),
            leaf => out.push((path, leaf)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_kind_of_json_stays_what_it_is() {
        let cases = [
            (json!(true), Any::BoolValue(true)),
            (json!(-7), Any::IntValue(-7)),
            (json!(50.0), Any::DoubleValue(50.0)),
            (json!(u64::MAX), Any::StringValue(u64::MAX.to_string())),
            (json!("x"), Any::StringValue("x".into())),
        ];
        for (json, expected) in cases {
            assert_eq!(any(json).value, Some(expected));
        }
        assert_eq!(any(Value::Null).value, None);
        let list = any(json!([1, {"k": null}]));
        let map = AnyValue::from(Any::KvlistValue(KeyValueList {
            values: vec![KeyValue::new("k", AnyValue { value: None })],
        }));
        let values = vec![Any::IntValue(1).into(), map];
        assert_eq!(list.value, Some(Any::ArrayValue(ArrayValue { values })));
    }

    #[test]
    fn leaves_are_found_under_their_whole_path() {
        let Value::Object(object) = json!({"a": {"b": 1, "c": {"d": [1, 2]}}, "e.f": "x"}) else {
            panic!("an object");
        };
        let expected = [("a.b", json!(1)), ("a.c.d", json!([1, 2])), ("e.f", json!("x"))];
        let expected: Vec<_> = expected.map(|(path, value)| (path.to_owned(), value)).into();
        assert_eq!(leaves(object), expected);
    }
}
