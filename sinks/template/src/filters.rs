//! Filters and tests of expressions.
//!
//! Invariants: 1. of a value that is not there a filter makes one that is not there; only `default` says otherwise; 2.
//! no filter fails for a text, whatever the text holds: what has no answer (a number of a text without one, a date of
//! none) is not there; 3. what comes out is bounded by what went in.

use minijinja::value::{Rest, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Value};

use crate::value::{Room, outward};

/// The filters there are: name, and what takes part in it.
const NAMES: &[&str] = &[
    "default", "lower", "upper", "trim", "cut", "replace", "join", "split", "first", "last", "length", "unique",
    "json", "text", "int", "round", "unix", "unix_ms",
];
const TESTS: &[&str] = &["defined", "undefined", "none", "string", "number", "list", "object"];

pub(crate) fn add_to(env: &mut Environment<'static>) {
    env.add_filter("default", |value: &Value, other: Value| match absent(value) {
        true => other,
        false => value.clone(),
    });
    env.add_filter("lower", |value: &Value| on_text(value, str::to_lowercase));
    env.add_filter("upper", |value: &Value| on_text(value, str::to_uppercase));
    env.add_filter("trim", |value: &Value| on_text(value, |text| text.trim().to_owned()));
    env.add_filter("cut", |value: &Value, chars: usize| {
        on_text(value, |text| cut(text, chars))
    });
    env.add_filter("replace", |value: &Value, old: &str, new: &str| {
        replace(value, old, new)
    });
    env.add_filter("join", join);
    env.add_filter("split", split);
    env.add_filter("first", |value: &Value| items(value).next().unwrap_or_default());
    env.add_filter("last", |value: &Value| items(value).last().unwrap_or_default());
    env.add_filter("length", length);
    env.add_filter("unique", unique);
    env.add_filter("json", json);
    env.add_filter("text", |value: &Value| on_text(value, str::to_owned));
    env.add_filter("int", int);
    env.add_filter("round", round);
    env.add_filter("unix", |value: &Value| seconds(value, 1_000_000));
    env.add_filter("unix_ms", |value: &Value| seconds(value, 1_000));
    env.add_test("defined", |value: &Value| !value.is_undefined());
    env.add_test("undefined", Value::is_undefined);
    env.add_test("none", Value::is_none);
    env.add_test("string", |value: &Value| value.kind() == ValueKind::String);
    env.add_test("number", |value: &Value| value.is_number());
    env.add_test("list", |value: &Value| {
        matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable)
    });
    env.add_test("object", |value: &Value| value.kind() == ValueKind::Map);
}

/// The first filter or test of an expression that there is not, with its place.
///
/// The engine would find it only where the expression goes that way.
pub(crate) fn unknown(expression: &str) -> Option<(usize, &str)> {
    let words = words(expression);
    let pairs = words.iter().zip(words.iter().skip(1));
    let mut named = pairs.filter_map(|((_, before), word)| match *before {
        "|" => Some((word, NAMES)),
        "is" if word.1 == "not" => None,
        "is" => Some((word, TESTS)),
        _ => None,
    });
    let negated = words.iter().zip(words.iter().skip(1)).zip(words.iter().skip(2));
    let mut negated = negated.filter_map(|((is, not), word)| (is.1 == "is" && not.1 == "not").then_some((word, TESTS)));
    let wrong = |(word, known): &(&(usize, &str), &[&str])| !known.contains(&word.1);
    let found = named.find(wrong).or_else(|| negated.find(wrong));
    found.map(|((at, word), _)| (*at, *word))
}

/// The words and the signs outside of quotes, with their places; `true` and such are words too, and so are the tests'
/// names, even where they are a value's.
fn words(expression: &str) -> Vec<(usize, &str)> {
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(rest) = expression.get(at..).filter(|rest| !rest.is_empty()) {
        let first = rest.chars().next().unwrap_or_default();
        let length = match first {
            '"' | '\'' => quoted(rest),
            _ if is_word(first) => rest.find(|ch| !is_word(ch)).unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        let word = rest.get(..length).unwrap_or_default();
        if !first.is_whitespace() {
            words.push((at, word));
        }
        at += length.max(1);
    }
    words
}

fn is_word(ch: char) -> bool {
    ch.is_alphanumeric() || ch == '_'
}

/// How long the text in quotes at the beginning is.
fn quoted(rest: &str) -> usize {
    let open = rest.as_bytes().first();
    let mut escaped = false;
    for (at, byte) in rest.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            _ if Some(&byte) == open => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

fn absent(value: &Value) -> bool {
    value.is_undefined() || value.is_none()
}

/// A value of one piece as text.
fn text_of(value: &Value) -> Option<String> {
    match value.kind() {
        ValueKind::String | ValueKind::Bytes => value.to_str().map(|text| text.to_string()),
        ValueKind::Number | ValueKind::Bool => match outward(value, &mut Room::new()) {
            Ok(Some(value)) => Some(value.to_string()),
            _ => None,
        },
        _ => None,
    }
}

fn on_text(value: &Value, change: impl Fn(&str) -> String) -> Value {
    text_of(value).map_or(Value::UNDEFINED, |text| change(&text).into())
}

/// At most `chars` characters; what was cut ends in `…`.
fn cut(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        None => text.to_owned(),
        Some(_) => text
            .chars()
            .take(chars.saturating_sub(1))
            .chain(['…'])
            .take(chars)
            .collect(),
    }
}

/// What is not there is replaced by nothing that is longer, so that texts grow by no more than a template says.
fn replace(value: &Value, old: &str, new: &str) -> Result<Value, Error> {
    if old.is_empty() {
        return Err(Error::new(ErrorKind::InvalidOperation, "`replace` of nothing"));
    }
    let Some(text) = text_of(value) else {
        return Ok(Value::UNDEFINED);
    };
    let times = text.matches(old).count();
    match text.len() + times.saturating_mul(new.len()) > crate::BYTES_MAX {
        true => Err(Error::new(
            ErrorKind::InvalidOperation,
            "`replace` gives too long a text",
        )),
        false => Ok(text.replace(old, new).into()),
    }
}

/// The elements of a list; of anything else none.
fn items(value: &Value) -> impl Iterator<Item = Value> {
    let is_list = matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable);
    is_list.then(|| value.try_iter().ok()).flatten().into_iter().flatten()
}

fn join(value: &Value, rest: Rest<String>) -> Value {
    if absent(value) {
        return Value::UNDEFINED;
    }
    let separator = rest.first().map_or("", String::as_str);
    let texts: Vec<_> = items(value).filter_map(|item| text_of(&item)).collect();
    texts.join(separator).into()
}

fn split(value: &Value, separator: &str) -> Value {
    match text_of(value) {
        Some(text) if separator.is_empty() => [Value::from(text)].into_iter().collect(),
        Some(text) => text.split(separator).map(Value::from).collect(),
        None => Value::UNDEFINED,
    }
}

fn length(value: &Value) -> Value {
    let length = match text_of(value) {
        Some(text) => Some(text.chars().count()),
        None => value.len(),
    };
    length.filter(|_| !absent(value)).map_or(Value::UNDEFINED, Value::from)
}

fn unique(value: &Value) -> Value {
    if absent(value) {
        return Value::UNDEFINED;
    }
    let mut seen = std::collections::BTreeSet::new();
    items(value).filter(|item| seen.insert(item.clone())).collect()
}

/// The value as a JSON text.
fn json(value: &Value) -> Result<Value, Error> {
    let refused = |_| Error::new(ErrorKind::InvalidOperation, "no JSON can be made of this");
    let json = outward(value, &mut Room::new()).map_err(refused)?;
    Ok(json.map_or(Value::UNDEFINED, |json| json.to_string().into()))
}

fn int(value: &Value) -> Value {
    let whole = i64::try_from(value.clone()).ok();
    #[expect(clippy::cast_possible_truncation, reason = "bounded by `fits`")]
    let cut = || {
        f64::try_from(value.clone())
            .ok()
            .filter(fits)
            .map(|number| number as i64)
    };
    let read = || text_of(value)?.trim().parse().ok();
    whole.or_else(cut).or_else(read).map_or(Value::UNDEFINED, Value::from)
}

fn round(value: &Value) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "bounded by `fits`")]
    let rounded = f64::try_from(value.clone())
        .ok()
        .map(f64::round)
        .filter(fits)
        .map(|number| number as i64);
    rounded.map_or(Value::UNDEFINED, Value::from)
}

/// Whether a float is a whole number's size.
fn fits(number: &f64) -> bool {
    number.is_finite() && number.abs() < 9.0e18
}

/// A time of RFC 3339 as seconds since 1970, or as a finer unit of so many microseconds a `unit`.
fn seconds(value: &Value, micros: i64) -> Value {
    let at = text_of(value).and_then(|text| text.parse::<jiff::Timestamp>().ok());
    at.map_or(Value::UNDEFINED, |at| {
        Value::from(at.as_microsecond().div_euclid(micros))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use crate::engine::Leaf;
    use crate::value::Room;
    use crate::{Names, Scope};

    fn of(expression: &str, value: serde_json::Value) -> Option<serde_json::Value> {
        let leaf = Leaf::parse(&format!("{{{{ {expression} }}}}"), "", &Names::new(["v", "gone"])).unwrap();
        leaf.value(&Scope::from(&json!({ "v": value })), "", &mut Room::new())
            .unwrap()
    }

    #[test]
    fn each_filter_does_what_its_name_says() {
        for (expression, value, expected) in [
            ("v | default('x')", json!(null), json!("x")),
            ("gone | default(7)", json!(0), json!(7)),
            ("v | default('x')", json!(""), json!("")),
            ("v | lower", json!("ÀB"), json!("àb")),
            ("v | upper", json!("àß"), json!("ÀSS")),
            ("v | trim", json!(" a "), json!("a")),
            ("v | cut(3)", json!("äöüß"), json!("äö…")),
            ("v | cut(4)", json!("äöüß"), json!("äöüß")),
            ("v | cut(0)", json!("a"), json!("")),
            ("v | replace('/', '_')", json!("a/b/"), json!("a_b_")),
            ("v | join(', ')", json!(["a", 1, true, null]), json!("a, 1, true")),
            ("v | split(',')", json!("a,,b"), json!(["a", "", "b"])),
            ("v | first", json!([3, 4]), json!(3)),
            ("v | last", json!([3, 4]), json!(4)),
            ("v | length", json!("äö"), json!(2)),
            ("v | length", json!([1, 2, 3]), json!(3)),
            ("v | unique | length", json!([2, 1, 2]), json!(2)),
            ("v | json", json!({"a": ["\""]}), json!("{\"a\":[\"\\\"\"]}")),
            ("v | text", json!(5), json!("5")),
            ("v | int", json!(" 12 "), json!(12)),
            ("v | int", json!(12.9), json!(12)),
            ("v | round", json!(12.5), json!(13)),
            ("v | unix", json!("2026-03-04T11:48:51.123456Z"), json!(1_772_624_931)),
            (
                "v | unix_ms",
                json!("2026-03-04T11:48:51.123456Z"),
                json!(1_772_624_931_123_i64),
            ),
            ("{'low': 1, 'high': 3}[v]", json!("high"), json!(3)),
            ("'b' if v == 'a' else 'c'", json!("a"), json!("b")),
            ("v is string and v is not number", json!("a"), json!(true)),
            ("'x' in v", json!(["x"]), json!(true)),
            ("v ~ '!'", json!("a"), json!("a!")),
        ] {
            assert_eq!(of(expression, value), Some(expected), "{expression}");
        }
    }

    #[test]
    fn of_nothing_every_filter_makes_nothing() {
        for filter in super::NAMES.iter().filter(|name| **name != "default") {
            let arguments = match *filter {
                "cut" => "(3)",
                "replace" => "('a', 'b')",
                "split" => "(',')",
                _ => "",
            };
            assert_eq!(of(&format!("gone | {filter}{arguments}"), json!(1)), None, "{filter}");
        }
    }

    #[test]
    fn filters_and_tests_that_there_are_not_are_found_wherever_they_stand() {
        for (expression, found) in [
            ("v | nope", Some((4, "nope"))),
            ("1 if true else (v|nope(2))", Some((18, "nope"))),
            ("v is nope", Some((5, "nope"))),
            ("v is not nope", Some((9, "nope"))),
            ("'a | nope' ~ \"\\\" is nope\"", None),
            ("v | lower | cut(3) is defined", None),
        ] {
            assert_eq!(super::unknown(expression), found, "{expression}");
        }
    }

    proptest! {
        #[test]
        fn any_text_goes_through_any_filter_without_a_failure(text in any::<String>(), at in 0..super::NAMES.len()) {
            let name = super::NAMES[at];
            let arguments = match name {
                "default" => "('x')",
                "cut" => "(5)",
                "replace" => "('a', 'b')",
                "split" => "('a')",
                _ => "",
            };
            of(&format!("v | {name}{arguments}"), json!(text));
        }

        #[test]
        fn any_text_as_an_expression_is_read_or_refused(text in any::<String>()) {
            let _ = Leaf::parse(&text, "", &Names::new(["v"]));
            let _ = Leaf::parse(&format!("{{{{{text}}}}}"), "", &Names::new(["v"]));
            let _ = super::unknown(&text);
        }
    }
}
