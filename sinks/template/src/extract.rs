//! One value out of an answer.

use serde_json::Value;

use crate::Mistake;

/// The way to a value: `data[0]._id`, `result.sys_id`, `["odd key"].id`; empty for the answer itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    Place(usize),
}

/// Most steps of a path.
const STEPS_MAX: usize = 16;

impl Path {
    /// Reads a path. Errors: where it is none.
    pub fn parse(text: &str) -> Result<Self, Mistake> {
        let allowed = "names with dots between them, `[0]` for an element, `[\"…\"]` for an odd name; at most 16";
        let mut steps = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let offset = text.len() - rest.len();
            let dotted = if steps.is_empty() {
                Some(rest)
            } else {
                rest.strip_prefix('.')
            };
            let step = bracketed(rest).or_else(|| named(dotted?));
            let Some((step, tail)) = step.filter(|_| steps.len() < STEPS_MAX) else {
                return Err(Mistake::new("", text, offset, "no step of a path", allowed));
            };
            steps.push(step);
            rest = tail;
        }
        Ok(Self(steps))
    }

    /// The value, if the answer has it.
    pub fn find<'v>(&self, answer: &'v Value) -> Option<&'v Value> {
        self.0.iter().try_fold(answer, |value, step| match step {
            Step::Key(key) => value.get(key.as_str()),
            Step::Place(at) => value.get(at),
        })
    }

    /// The value as a text: of a text, a number, true or false, and of no more than `bytes_max` bytes. A longer one is
    /// none: half an id is the id of something else.
    pub fn text(&self, answer: &Value, bytes_max: usize) -> Option<String> {
        let text = match self.find(answer)? {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(value) => value.to_string(),
            _ => return None,
        };
        (text.len() <= bytes_max).then_some(text)
    }
}

/// `[0]` or `["key"]`, and what follows.
fn bracketed(text: &str) -> Option<(Step, &str)> {
    let inner = text.strip_prefix('[')?;
    if let Some(quoted) = inner.strip_prefix('"') {
        let (key, rest) = quoted.split_once("\"]")?;
        return Some((Step::Key(key.to_owned()), rest));
    }
    let (digits, rest) = inner.split_once(']')?;
    let is_number = digits.bytes().all(|digit| digit.is_ascii_digit());
    Some((Step::Place(digits.parse().ok().filter(|_| is_number)?), rest))
}

/// A name up to the next `.` or `[`, and what follows.
fn named(text: &str) -> Option<(Step, &str)> {
    let end = text.find(['.', '[']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    (!name.is_empty() && !name.contains([']', '"'])).then(|| (Step::Key(name.to_owned()), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_is_found_by_names_and_places() {
        let answer = json!({"data": [{"_id": "~81", "n": 7}], "result": {"sys_id": true}, "a.b": {"": 0.5}});
        for (path, expected) in [
            ("data[0]._id", Some("~81")),
            ("data[0].n", Some("7")),
            ("result.sys_id", Some("true")),
            ("[\"a.b\"][\"\"]", Some("0.5")),
            ("data[1]._id", None),
            ("data", None),
            ("data._id", None),
            ("result[0]", None),
        ] {
            assert_eq!(
                Path::parse(path).unwrap().text(&answer, 64).as_deref(),
                expected,
                "{path}"
            );
        }
        assert_eq!(Path::parse("").unwrap().find(&answer), Some(&answer));
        assert_eq!(Path::parse("data[0]._id").unwrap().text(&answer, 2), None, "too long");
    }

    #[test]
    fn what_is_no_path_is_refused_with_its_place() {
        for (path, column) in [
            (".a", 1),
            ("a..b", 2),
            ("a[", 2),
            ("a[x]", 2),
            ("a[+1]", 2),
            ("a[0]b", 5),
            ("a]", 1),
            ("a.", 2),
        ] {
            assert_eq!(Path::parse(path).unwrap_err().column, column, "{path}");
        }
        assert!(Path::parse(&"a.".repeat(20)).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_as_a_path_or_an_answer_do_no_harm(path in any::<String>(), answer in any::<Vec<u8>>()) {
            let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
            if let Ok(path) = Path::parse(&path) {
                let _ = path.text(&answer, 8);
            }
        }
    }
}
