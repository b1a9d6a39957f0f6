//! A JSON value whose texts are templates.

use serde_json::{Map, Value};

use crate::engine::{Leaf, unfit_at};
use crate::names::Mistake;
use crate::value::Room;
use crate::{Names, RenderError, Scope};

/// A body that is built of values. Keys, and whatever is no text, are literal.
#[derive(Debug)]
pub struct Body(Tree);

enum Tree {
    /// What no value can change.
    Fixed(Value),
    Leaf(Leaf),
    List(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

impl std::fmt::Debug for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

/// Most mistakes of one body that are told.
const MISTAKES_MAX: usize = 20;

impl Body {
    /// Reads a tree, such as a table of a profile. Errors: every mistake in it, up to 20, each with the JSON Pointer of
    /// its leaf and its place in the leaf's text.
    pub fn new(tree: &Value, names: &Names) -> Result<Self, Vec<Mistake>> {
        let mut reader = Reader {
            names,
            mistakes: Vec::new(),
        };
        let tree = reader.tree(tree, "", crate::DEPTH_MAX);
        reader.mistakes.truncate(MISTAKES_MAX);
        match reader.mistakes.is_empty() {
            true => Ok(Self(tree)),
            false => Err(reader.mistakes),
        }
    }

    /// Reads a JSON text. Errors: as [`new`](Self::new), with places in the text; or that it is no JSON.
    pub fn parse_json(text: &str, names: &Names) -> Result<Self, Vec<Mistake>> {
        let tree: Value = serde_json::from_str(text).map_err(|error| vec![no_json(text, &error)])?;
        Self::new(&tree, names).map_err(|mistakes| {
            let placed = |mistake: Mistake| placed(mistake, &tree, text);
            mistakes.into_iter().map(placed).collect()
        })
    }

    /// The body for some values.
    ///
    /// Errors: an expression failed, the body is too large, or nothing is left of it.
    pub fn render(&self, scope: &Scope) -> Result<Value, RenderError> {
        let missing = || RenderError::Missing { place: "/".to_owned() };
        render(&self.0, scope, "", &mut Room::new())?.ok_or_else(missing)
    }
}

struct Reader<'a> {
    names: &'a Names,
    mistakes: Vec<Mistake>,
}

impl Reader<'_> {
    fn tree(&mut self, value: &Value, pointer: &str, depth: usize) -> Tree {
        let Some(depth) = depth.checked_sub(1) else {
            let allowed = format!("at most {} levels", crate::DEPTH_MAX);
            self.mistakes
                .push(Mistake::new(pointer, "", 0, "a body that nests too deep", allowed));
            return Tree::Fixed(Value::Null);
        };
        match value {
            Value::String(text) => self.leaf(text, pointer),
            Value::Array(items) => {
                let items = items.iter().enumerate();
                Tree::List(
                    items
                        .map(|(at, item)| self.tree(item, &format!("{pointer}/{at}"), depth))
                        .collect(),
                )
            }
            Value::Object(entries) => Tree::Object(
                entries
                    .iter()
                    .map(|(key, value)| (key.clone(), self.entry(key, value, pointer, depth)))
                    .collect(),
            ),
            fixed => Tree::Fixed(fixed.clone()),
        }
    }

    fn entry(&mut self, key: &str, value: &Value, pointer: &str, depth: usize) -> Tree {
        let pointer = format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
        if key.contains("{{") {
            self.mistakes.push(Mistake::new(
                &pointer,
                "",
                0,
                "an expression in a key",
                "a key that is literal",
            ));
        }
        self.tree(value, &pointer, depth)
    }

    fn leaf(&mut self, text: &str, pointer: &str) -> Tree {
        match Leaf::parse(text, pointer, self.names) {
            Ok(leaf) if leaf.is_literal() => Tree::Fixed(Value::from(text)),
            Ok(leaf) => Tree::Leaf(leaf),
            Err(mistake) => {
                self.mistakes.push(mistake);
                Tree::Fixed(Value::Null)
            }
        }
    }
}

fn render(tree: &Tree, scope: &Scope, pointer: &str, room: &mut Room) -> Result<Option<Value>, RenderError> {
    match tree {
        Tree::Fixed(value) => Ok(Some(value.clone())),
        Tree::Leaf(leaf) => leaf.value(scope, place(pointer), room),
        Tree::List(items) => {
            let mut list = Vec::with_capacity(items.len());
            for (at, item) in items.iter().enumerate() {
                take(room, 0, pointer)?;
                list.extend(render(item, scope, &format!("{pointer}/{at}"), room)?);
            }
            Ok(Some(list.into()))
        }
        Tree::Object(entries) => {
            let mut object = Map::new();
            for (key, value) in entries {
                take(room, key.len(), pointer)?;
                if let Some(value) = render(value, scope, &format!("{pointer}/{key}"), room)? {
                    object.insert(key.clone(), value);
                }
            }
            Ok(Some(object.into()))
        }
    }
}

fn take(room: &mut Room, bytes: usize, pointer: &str) -> Result<(), RenderError> {
    room.take(bytes).map_err(|unfit| unfit_at(unfit, place(pointer)))
}

fn place(pointer: &str) -> &str {
    if pointer.is_empty() { "/" } else { pointer }
}

fn no_json(text: &str, error: &serde_json::Error) -> Mistake {
    let lines = text.split_inclusive('\n').take(error.line().saturating_sub(1));
    let line_start: usize = lines.map(str::len).sum();
    let offset = (line_start + error.column().saturating_sub(1)).min(text.len());
    let said = error.to_string();
    // Its place comes from us.
    let said = said.split(" at line ").next().unwrap_or_default();
    Mistake::new(
        "",
        text,
        floor(text, offset),
        &format!("no JSON: {said}"),
        "one JSON value",
    )
}

fn floor(text: &str, offset: usize) -> usize {
    (0..=offset).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// The mistake at its byte of the JSON text, as far as that can be told: the first leaf that is written like this one.
fn placed(mistake: Mistake, tree: &Value, text: &str) -> Mistake {
    let leaf = tree.pointer(&mistake.place).and_then(Value::as_str);
    let written = leaf.map(|leaf| Value::from(leaf).to_string());
    let Some((leaf, written)) = leaf.zip(written) else {
        return mistake;
    };
    let Some(start) = text.find(&written) else {
        return mistake;
    };
    let before = leaf.get(..mistake.offset).unwrap_or_default();
    // Without the quotes.
    let offset = start + Value::from(before).to_string().len() - 1;
    mistake.at(text, offset)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn names() -> Names {
        Names::new(["a", "b", "source.ip", "list", "object", "number"])
    }

    fn rendered(template: Value, values: Value) -> Result<Value, RenderError> {
        Body::new(&template, &names()).unwrap().render(&Scope::from(&values))
    }

    #[test]
    fn a_leaf_that_is_one_expression_keeps_the_type_of_its_value() {
        let template =
            json!({"n": "{{ number }}", "l": "{{list}}", "o": "{{ object }}", "t": "{{ number }}!", "f": 5, "g": null});
        let values = json!({"number": 7, "list": [1, "x"], "object": {"k": null}});
        let expected = json!({"n": 7, "l": [1, "x"], "o": {"k": null}, "t": "7!", "f": 5, "g": null});
        assert_eq!(rendered(template, values).unwrap(), expected);
    }

    #[test]
    fn what_is_not_there_is_left_out_unless_a_default_stands_in() {
        let template = json!({
            "gone": "{{ source.ip }}", "text": "from {{ source.ip }}", "list": ["{{ a }}", "{{ b }}"],
            "default": "{{ source.ip | default('nobody') }}", "nothing": "{{ a if false }}", "null": "{{ none }}",
        });
        let expected = json!({"list": [1], "default": "nobody", "null": null});
        assert_eq!(rendered(template, json!({"b": 1})).unwrap(), expected);
        let nothing = rendered(json!("{{ a }}"), json!({})).unwrap_err();
        assert!(matches!(nothing, RenderError::Missing { .. }), "{nothing}");
    }

    #[test]
    fn braces_and_quotes_in_an_expression_do_not_end_it() {
        let template = json!([
            "{{ '}}' }}",
            "{{ {'k': {'l': a}} }}",
            "{{ \"\\\"}}\" ~ a }}",
            "{{ '{{' }}x"
        ]);
        let expected = json!(["}}", {"k": {"l": "v"}}, "\"}}v", "{{x"]);
        assert_eq!(rendered(template, json!({"a": "v"})).unwrap(), expected);
    }

    fn mistakes(text: &str) -> Vec<String> {
        let mistakes = Body::parse_json(text, &names()).unwrap_err();
        mistakes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_mistake_is_told_with_its_line_and_column() {
        let text = "{\n  \"t\": \"x \\\" {{ source.ipp }}\",\n  \"u\": [1, \"{{ a | nope }}\"],\n  \"v\": \"{{ a + }}\",\n  \"w\": \"{{ a\"\n}";
        let told = mistakes(text);
        for (told, expected) in told.iter().zip([
            "/t line 2 column 17: there is no `source.ipp`; allowed: source.ip",
            "/u/1 line 3 column 20: there is no filter `nope`; allowed: default(value)",
            "/v line 4 column ",
            "/w line 5 column 9: `{{` without its `}}`",
        ]) {
            assert!(told.starts_with(expected), "{told} instead of {expected}");
        }
        assert_eq!(told.len(), 4);
        assert!(
            mistakes("{\"a\": \n 1,}")[0].starts_with("line 2 column 4: no JSON: trailing comma"),
            "{:?}",
            mistakes("{\"a\": \n 1,}")
        );
        assert!(mistakes(r#"{"{{ a }}": 1}"#)[0].contains("an expression in a key"));
        assert!(mistakes(r#"["{% if a %}"]"#)[0].contains("`{%`"));
        assert!(mistakes(&format!("{}1{}", "[".repeat(40), "]".repeat(40)))[0].contains("too deep"));
        assert!(mistakes(r#""{{ range(9) }}""#)[0].contains("there is no `range`"));
    }

    #[test]
    fn what_runs_away_is_stopped() {
        let values = json!({"a": "x".repeat(200_000), "list": vec![0; 1000]});
        let long = json!(vec!["{{ a }}"; 30]);
        assert!(matches!(
            rendered(long, values.clone()),
            Err(RenderError::TooLarge { .. })
        ));
        for template in ["{{ a * 100 }}", "{{ list * 100000 }}", "{{ a | replace('x', a) }}"] {
            assert!(rendered(json!(template), values.clone()).is_err(), "{template}");
        }
    }

    #[test]
    fn a_failure_names_the_leaf_and_no_value() {
        let error = rendered(json!({"x": ["{{ a + 1 }}"]}), json!({"a": "hush"})).unwrap_err();
        assert!(error.to_string().starts_with("`/x/0`: "), "{error}");
        assert!(!format!("{error:?} {error}").contains("hush"), "{error:?}");
        let error = rendered(json!("{{ object }}!"), json!({"object": {"hush": 1}})).unwrap_err();
        assert!(matches!(error, RenderError::NotText { found: "an object", .. }));
    }

    proptest! {
        #[test]
        fn any_bytes_of_text_in_any_place_of_a_body_are_the_same_when_read_back(one in any::<String>(), two in any::<String>()) {
            let template = json!({"a": "{{ a }}", "mixed": "<{{ a }}|{{ b }}>", "l": ["{{ b }}", {"deep": "{{ a }}{{ b }}"}]});
            let body = rendered(template, json!({"a": one, "b": two})).unwrap();
            let sent = body.to_string();
            let read: Value = serde_json::from_str(&sent).unwrap();
            let expected = json!({
                "a": one, "mixed": format!("<{one}|{two}>"), "l": [two, {"deep": format!("{one}{two}")}],
            });
            prop_assert_eq!(read, expected);
        }

        #[test]
        fn any_text_as_a_template_is_read_or_refused_with_a_place(text in any::<String>()) {
            if let Err(mistakes) = Body::parse_json(&text, &names()) {
                for mistake in mistakes {
                    prop_assert!(text.is_char_boundary(mistake.offset) && mistake.line >= 1 && mistake.column >= 1);
                }
            }
            if let Ok(body) = Body::new(&json!([text]), &names()) {
                let _ = body.render(&Scope::from(&json!({"a": 1})));
            }
        }
    }
}
