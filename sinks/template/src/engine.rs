//! Expressions: compiled once, evaluated within bounds.
//!
//! In: a text with `{{ … }}` in it. Out: a [`Leaf`]: literal parts and compiled expressions, which name only what there
//! is. One environment serves all: it holds filters and tests, no function, no global and no other template.

use std::sync::LazyLock;

use minijinja::{Environment, ErrorKind, Expression, UndefinedBehavior, Value};

use crate::filters;
use crate::value::{Room, Unfit, outward};
use crate::{Mistake, Names, RenderError, Scope};

/// The filters, for messages and documents.
pub const FILTERS: &str = "default(value), lower, upper, trim, cut(chars), replace(old, new), join(separator), split(separator), first, last, length, unique, json, text, int, round, unix, unix_ms";

/// Steps of one expression; ours take a few dozen, and long texts some hundred.
const FUEL: u64 = 200_000;
/// How deep an expression nests.
const NESTING: usize = 32;
/// Longest template of one text, bytes.
const LEAF_BYTES_MAX: usize = 16 << 10;

static ENGINE: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut env = Environment::empty();
    env.set_undefined_behavior(UndefinedBehavior::Chainable);
    env.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    env.set_fuel(Some(FUEL));
    env.set_recursion_limit(NESTING);
    filters::add_to(&mut env);
    env
});

type Compiled = Expression<'static, 'static>;

/// A text of a template.
pub(crate) struct Leaf {
    parts: Vec<Part>,
}

pub(crate) enum Part {
    Literal(String),
    Expression(Compiled),
}

impl Leaf {
    /// Reads a text; `place` is where it stands. Errors: the first mistake in it.
    pub(crate) fn parse(text: &str, place: &str, names: &Names) -> Result<Self, Mistake> {
        if text.len() > LEAF_BYTES_MAX {
            let found = format!("a text of {} bytes", text.len());
            return Err(Mistake::new(
                place,
                text,
                0,
                &found,
                format!("at most {LEAF_BYTES_MAX}"),
            ));
        }
        let mut parts = Vec::new();
        let mut at = 0;
        while let Some((literal, rest)) = text.get(at..).and_then(|rest| rest.split_once("{{")) {
            no_blocks(literal, text, at, place)?;
            parts.extend((!literal.is_empty()).then(|| Part::Literal(literal.to_owned())));
            let start = at + literal.len() + 2;
            let Some(length) = length_of(rest) else {
                return Err(Mistake::new(
                    place,
                    text,
                    start - 2,
                    "`{{` without its `}}`",
                    "`{{ expression }}`",
                ));
            };
            let expression = text.get(start..start + length).unwrap_or_default();
            parts.push(Part::Expression(compile(expression, text, start, place, names)?));
            at = start + length + 2;
        }
        let literal = text.get(at..).unwrap_or_default();
        no_blocks(literal, text, at, place)?;
        parts.extend((!literal.is_empty()).then(|| Part::Literal(literal.to_owned())));
        Ok(Self { parts })
    }

    /// Its parts, in order.
    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Its parts, for whoever puts them together in another way.
    pub(crate) fn into_parts(self) -> Vec<Part> {
        self.parts
    }

    /// Whether nothing of it depends on values.
    pub(crate) fn is_literal(&self) -> bool {
        !self.parts.iter().any(|part| matches!(part, Part::Expression(_)))
    }

    /// Its value: that of the expression if it is exactly one, else a text. `None` if a value of it is not there.
    pub(crate) fn value(
        &self,
        scope: &Scope,
        place: &str,
        room: &mut Room,
    ) -> Result<Option<serde_json::Value>, RenderError> {
        if let [Part::Expression(expression)] = self.parts.as_slice() {
            let value = evaluate(expression, scope, place)?;
            return outward(&value, room).map_err(|unfit| unfit_at(unfit, place));
        }
        Ok(self.text(scope, place, room)?.map(Into::into))
    }

    /// Its text, values in it as they are. `None` if one is not there.
    pub(crate) fn text(&self, scope: &Scope, place: &str, room: &mut Room) -> Result<Option<String>, RenderError> {
        let mut out = String::new();
        for part in &self.parts {
            match part.text(scope, place)? {
                Some(text) => out.push_str(&text),
                None => return Ok(None),
            }
            if out.len() > crate::BYTES_MAX {
                return Err(unfit_at(Unfit::TooLarge, place));
            }
        }
        room.take(out.len()).map_err(|unfit| unfit_at(unfit, place))?;
        Ok(Some(out))
    }
}

impl Part {
    /// The literal, or the value as text; `None` if it is not there.
    pub(crate) fn text(&self, scope: &Scope, place: &str) -> Result<Option<String>, RenderError> {
        match self {
            Self::Literal(literal) => Ok(Some(literal.clone())),
            Self::Expression(expression) => text_of(&evaluate(expression, scope, place)?, place),
        }
    }
}

/// Templates may hold what is nobody's business.
impl std::fmt::Debug for Leaf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Leaf({} parts)", self.parts.len())
    }
}

/// A value as a part of a text. Lists and objects have no form of their own there.
fn text_of(value: &Value, place: &str) -> Result<Option<String>, RenderError> {
    let scalar = outward(value, &mut Room::new()).map_err(|unfit| unfit_at(unfit, place))?;
    let not_text = |found| {
        let place = place.to_owned();
        Err(RenderError::NotText { place, found })
    };
    match scalar {
        None => Ok(None),
        Some(serde_json::Value::String(text)) => Ok(Some(text)),
        Some(serde_json::Value::Array(_)) => not_text("a list"),
        Some(serde_json::Value::Object(_)) => not_text("an object"),
        Some(serde_json::Value::Null) => Ok(Some(String::new())),
        Some(other) => Ok(Some(other.to_string())),
    }
}

fn evaluate(expression: &Compiled, scope: &Scope, place: &str) -> Result<Value, RenderError> {
    expression.eval(scope.values()).map_err(|error| RenderError::Failed {
        place: place.to_owned(),
        // Its detail may hold a value.
        why: match error.range() {
            Some(range) => format!("{} at byte {} of the expression", error.kind(), range.start),
            None => error.kind().to_string(),
        },
    })
}

pub(crate) fn unfit_at(unfit: Unfit, place: &str) -> RenderError {
    let place = place.to_owned();
    match unfit {
        Unfit::TooLarge => RenderError::TooLarge { place },
        Unfit::NoValue(why) => RenderError::Failed { place, why },
    }
}

/// How long the expression at the beginning of `rest` is: up to a `}}` that is neither in quotes nor in braces.
fn length_of(rest: &str) -> Option<usize> {
    let (mut quote, mut escaped, mut braces) = (None, false, 0_usize);
    for (at, byte) in rest.bytes().enumerate() {
        match (quote, byte) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), b'\\') => escaped = true,
            (Some(open), _) if open == byte => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b'{') => braces += 1,
            (None, b'}') if braces > 0 => braces -= 1,
            (None, b'}') if rest.get(at..at + 2) == Some("}}") => return Some(at),
            _ => {}
        }
    }
    None
}

/// Refuses what a template of minijinja's may hold besides expressions: here it would be plain text, and a surprise.
fn no_blocks(literal: &str, text: &str, at: usize, place: &str) -> Result<(), Mistake> {
    let unknown = ["{%", "{#", "}}"]
        .iter()
        .find_map(|word| Some((literal.find(word)?, *word)));
    let Some((offset, word)) = unknown else { return Ok(()) };
    let allowed = "expressions alone: `{{ a if b else c }}`; for the characters themselves `{{ '{%' }}`";
    Err(Mistake::new(place, text, at + offset, &format!("`{word}`"), allowed))
}

fn compile(expression: &str, text: &str, at: usize, place: &str, names: &Names) -> Result<Compiled, Mistake> {
    let compiled = ENGINE
        .compile_expression_owned(expression.to_owned())
        .map_err(|error| wrong(&error, text, at, place))?;
    let mut paths: Vec<_> = compiled.undeclared_variables(true).into_iter().collect();
    paths.sort();
    if let Some(path) = paths.into_iter().find(|path| !names.knows(path)) {
        let offset = at + expression.find(path.as_str()).unwrap_or(0);
        let found = format!("there is no `{path}`");
        return Err(Mistake::new(place, text, offset, &found, names.beside(&path)));
    }
    if let Some((offset, name)) = filters::unknown(expression) {
        let found = format!("there is no filter `{name}`");
        return Err(Mistake::new(place, text, at + offset, &found, FILTERS));
    }
    Ok(compiled)
}

/// What the engine says of a syntax error, in our form.
fn wrong(error: &minijinja::Error, text: &str, at: usize, place: &str) -> Mistake {
    let offset = at + error.range().map_or(0, |range| range.start);
    let found = match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    };
    let allowed = match error.kind() {
        ErrorKind::UnknownFilter => format!("the filters {FILTERS}"),
        _ => "an expression: a value, `a if b else c`, `value | filter`".to_owned(),
    };
    Mistake::new(place, text, offset, &found, allowed)
}

/// A yes or no about values: `status == 200 and not body.error`.
pub struct Condition(Compiled);

impl Condition {
    /// Reads an expression, without braces around it. Errors: the first mistake in it.
    pub fn parse(text: &str, names: &Names) -> Result<Self, Mistake> {
        compile(text, text, 0, "", names).map(Self)
    }

    /// Whether it holds: whether its value is anything but false, nothing, 0 or empty. Errors: it failed.
    pub fn holds(&self, scope: &Scope) -> Result<bool, RenderError> {
        evaluate(&self.0, scope, "condition").map(|value| value.is_true())
    }
}

impl std::fmt::Debug for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Condition(…)")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn holds(text: &str) -> Result<bool, RenderError> {
        let scope = Scope::from(&json!({"status": 200, "body": {"error": 0, "ids": ["x"]}}));
        Condition::parse(text, &Names::new(["status", "body"]))
            .unwrap()
            .holds(&scope)
    }

    #[test]
    fn a_condition_holds_or_does_not() {
        for (text, expected) in [
            ("status == 200 and body.error == 0", true),
            ("status in [200, 202] and 'x' in body.ids", true),
            ("status > 299", false),
            ("body.missing", false),
            ("body.missing.deeper is defined", false),
            ("not body.error", true),
        ] {
            assert_eq!(holds(text), Ok(expected), "{text}");
        }
        assert!(holds("status + body").is_err());
    }

    #[test]
    fn a_condition_that_names_what_there_is_not_is_refused() {
        for text in [
            "stat == 1",
            "status ==",
            "status | nope",
            "status is nope",
            "range(3)",
            "",
        ] {
            assert!(
                Condition::parse(text, &Names::new(["status", "body"])).is_err(),
                "{text}"
            );
        }
    }

    #[test]
    fn nothing_shows_a_template() {
        let names = Names::new(["a"]);
        let leaf = Leaf::parse("hush {{ a }}", "", &names).unwrap();
        let condition = Condition::parse("a == 'hush'", &names).unwrap();
        assert!(!format!("{leaf:?} {condition:?}").contains("hush"));
    }

    #[test]
    fn a_leaf_has_a_longest_text_and_an_expression_a_deepest() {
        assert!(Leaf::parse(&"x".repeat(LEAF_BYTES_MAX + 1), "", &Names::default()).is_err());
        let nested = format!("{{{{ {}1{} }}}}", "(".repeat(9000), ")".repeat(7000));
        assert!(Leaf::parse(&nested, "", &Names::default()).is_err());
    }

    #[test]
    fn an_expression_runs_out_of_steps() {
        let list = format!("[{}]", "a,".repeat(2000));
        let text = format!("{{{{ ({list} | join) * 40 }}}}");
        let leaf = Leaf::parse(&text, "", &Names::new(["a"])).unwrap();
        let scope = Scope::from(&json!({"a": "x".repeat(5000)}));
        assert!(leaf.value(&scope, "", &mut Room::new()).is_err());
    }
}
