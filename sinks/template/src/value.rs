//! Values in and out of the engine.

use minijinja::Value;
use minijinja::value::ValueKind;
use serde_json::{Map, Number};

use trapline_schemas::{Event, Format, render};

use crate::{BYTES_MAX, DEPTH_MAX};

/// The values that a template is rendered with. Cheap to copy.
#[derive(Clone, Default)]
pub struct Scope(Value);

impl Scope {
    /// The fields of an event by their ECS path, and `timestamp` for `@timestamp`: what [`Names::of_events`] names.
    ///
    /// [`Names::of_events`]: crate::Names::of_events
    pub fn of_event(event: &Event) -> Self {
        let mut bytes = Vec::new();
        render::render(event, Format::Ecs, &mut bytes);
        Self::of_ecs(&bytes)
    }

    /// Like [`of_event`](Self::of_event), from an event that was rendered as ECS.
    pub fn of_ecs(bytes: &[u8]) -> Self {
        let mut fields: Map<String, serde_json::Value> = serde_json::from_slice(bytes).unwrap_or_default();
        if let Some(at) = fields.remove("@timestamp") {
            fields.insert("timestamp".to_owned(), at);
        }
        Self::from(&serde_json::Value::Object(fields))
    }

    /// These values, and `name` on top.
    #[must_use]
    pub fn and(&self, name: &str, value: &serde_json::Value) -> Self {
        let own = self.0.try_iter().into_iter().flatten();
        let own = own.filter(|key| key.as_str() != Some(name)).map(|key| {
            let value = self.0.get_item(&key).unwrap_or_default();
            (key, value)
        });
        let all: Vec<_> = own.chain([(Value::from(name), inward(value))]).collect();
        Self(Value::from_pairs(all))
    }

    pub(crate) fn values(&self) -> Value {
        self.0.clone()
    }
}

/// The values of a peer are not for logs.
impl std::fmt::Debug for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scope(…)")
    }
}

impl From<&serde_json::Value> for Scope {
    fn from(value: &serde_json::Value) -> Self {
        Self(inward(value))
    }
}

impl From<Value> for Scope {
    fn from(value: Value) -> Self {
        Self(value)
    }
}

/// A JSON value for the engine. Its depth is that of the JSON reader, 128, or of who built it.
fn inward(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::from(()),
        serde_json::Value::Bool(value) => Value::from(*value),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Value::from(number),
            (_, Some(number)) => Value::from(number),
            _ => Value::from(number.as_f64().unwrap_or_default()),
        },
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Array(items) => items.iter().map(inward).collect(),
        serde_json::Value::Object(entries) => {
            Value::from_pairs(entries.iter().map(|(key, value)| (key.as_str(), inward(value))))
        }
    }
}

/// Why a value of the engine's is none of JSON's.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    TooLarge,
    NoValue(String),
}

/// What may still be built.
#[derive(Debug)]
pub(crate) struct Room {
    bytes: usize,
    depth: usize,
}

impl Room {
    pub(crate) fn new() -> Self {
        Self {
            bytes: BYTES_MAX,
            depth: DEPTH_MAX,
        }
    }

    /// Takes room for so many bytes and their punctuation.
    pub(crate) fn take(&mut self, bytes: usize) -> Result<(), Unfit> {
        let left = self.bytes.checked_sub(bytes.saturating_add(4));
        self.bytes = left.ok_or(Unfit::TooLarge)?;
        Ok(())
    }

    /// Builds something one level deeper.
    pub(crate) fn deeper<T, E: From<Unfit>>(&mut self, build: impl FnOnce(&mut Self) -> Result<T, E>) -> Result<T, E> {
        self.depth = self.depth.checked_sub(1).ok_or(Unfit::TooLarge)?;
        let built = build(self);
        self.depth += 1;
        built
    }
}

/// A value of the engine's as JSON; `None` for one that is not there, which an object then lacks.
pub(crate) fn outward(value: &Value, room: &mut Room) -> Result<Option<serde_json::Value>, Unfit> {
    Ok(Some(match value.kind() {
        ValueKind::Undefined => return Ok(None),
        ValueKind::None => serde_json::Value::Null,
        ValueKind::Bool => value.is_true().into(),
        ValueKind::Number => number(value)?.into(),
        ValueKind::String | ValueKind::Bytes => {
            let text = value.to_str().unwrap_or_default();
            room.take(text.len())?;
            text.as_ref().into()
        }
        ValueKind::Seq | ValueKind::Iterable => room.deeper(|room| list(value, room))?,
        ValueKind::Map => room.deeper(|room| object(value, room))?,
        other => return Err(Unfit::NoValue(format!("a {other} is no value"))),
    }))
}

fn number(value: &Value) -> Result<Number, Unfit> {
    let whole = || {
        let signed = i64::try_from(value.clone()).ok().map(Number::from);
        signed.or_else(|| u64::try_from(value.clone()).ok().map(Number::from))
    };
    let float = || f64::try_from(value.clone()).ok().and_then(Number::from_f64);
    let number = match value.is_integer() {
        true => whole(),
        false => float(),
    };
    number.ok_or_else(|| Unfit::NoValue("a number that JSON cannot hold".to_owned()))
}

fn list(value: &Value, room: &mut Room) -> Result<serde_json::Value, Unfit> {
    let mut items = Vec::new();
    for item in iterated(value)? {
        room.take(0)?;
        items.extend(outward(&item, room)?);
    }
    Ok(items.into())
}

fn object(value: &Value, room: &mut Room) -> Result<serde_json::Value, Unfit> {
    let mut entries = Map::new();
    for key in iterated(value)? {
        let name = key.to_str().map_or_else(|| key.to_string(), |text| text.to_string());
        room.take(name.len())?;
        let entry = value.get_item(&key).map_err(|_| broken())?;
        if let Some(entry) = outward(&entry, room)? {
            entries.insert(name, entry);
        }
    }
    Ok(entries.into())
}

fn iterated(value: &Value) -> Result<impl Iterator<Item = Value>, Unfit> {
    value.try_iter().map_err(|_| broken())
}

fn broken() -> Unfit {
    Unfit::NoValue("a value that cannot be read".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn back(value: &serde_json::Value) -> Result<Option<serde_json::Value>, Unfit> {
        outward(&inward(value), &mut Room::new())
    }

    #[test]
    fn json_goes_through_the_engine_unchanged() {
        let all = json!({
            "n": null, "t": true, "i": -9_223_372_036_854_775_808_i64, "u": 18_446_744_073_709_551_615_u64, "f": 0.5,
            "s": "\u{0}\"\\\u{2028}", "l": [1, [2, {}], []], "o": {"": {"a.b": 1}},
        });
        assert_eq!(back(&all), Ok(Some(all.clone())));
    }

    #[test]
    fn what_is_too_deep_or_too_long_is_refused() {
        let mut deep = json!(1);
        for _ in 0..=DEPTH_MAX {
            deep = json!([deep]);
        }
        assert_eq!(back(&deep), Err(Unfit::TooLarge));
        assert_eq!(back(&json!("x".repeat(BYTES_MAX))), Err(Unfit::TooLarge));
        assert_eq!(back(&json!(vec![0; BYTES_MAX])), Err(Unfit::TooLarge));
    }

    #[test]
    fn a_number_beyond_json_is_refused() {
        for number in [
            Value::from(f64::NAN),
            Value::from(f64::INFINITY),
            Value::from(u128::MAX),
        ] {
            assert!(matches!(outward(&number, &mut Room::new()), Err(Unfit::NoValue(_))));
        }
    }

    #[test]
    fn a_name_put_on_top_wins() {
        let scope = Scope::from(&json!({"a": 1, "b": 2}))
            .and("b", &json!([3]))
            .and("c", &json!(4));
        let all = outward(&scope.values(), &mut Room::new());
        assert_eq!(all, Ok(Some(json!({"a": 1, "b": [3], "c": 4}))));
        let first = Scope::default().and("a", &json!(1));
        assert_eq!(outward(&first.values(), &mut Room::new()), Ok(Some(json!({"a": 1}))));
    }
}
