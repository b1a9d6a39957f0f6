//! A text in which values stand: a header's, a field's.

use crate::engine::{Leaf, Part};
use crate::value::Room;
use crate::{Mistake, Names, RenderError, Scope};

/// A template of one text.
#[derive(Debug)]
pub struct Line {
    leaf: Leaf,
    place: String,
}

/// Longest header value, characters.
const HEADER_CHARS_MAX: usize = 4096;

impl Line {
    /// Reads a template; `place` names it in messages. Errors: the first mistake in it.
    pub fn parse(place: &str, text: &str, names: &Names) -> Result<Self, Mistake> {
        let leaf = Leaf::parse(text, place, names)?;
        let place = place.to_owned();
        Ok(Self { leaf, place })
    }

    /// Reads the template of a header's value. Errors: also what no header can carry, in the literal parts.
    pub fn parse_header(place: &str, text: &str, names: &Names) -> Result<Self, Mistake> {
        let line = Self::parse(place, text, names)?;
        let literals = line.leaf.parts().iter().filter_map(|part| match part {
            Part::Literal(literal) => Some(literal),
            Part::Expression(_) => None,
        });
        let unfit = literals
            .flat_map(|literal| literal.chars())
            .find(|ch| !is_header_sign(*ch));
        match unfit {
            None => Ok(line),
            Some(ch) => {
                let found = format!("U+{:04X}", u32::from(ch));
                let offset = text.find(ch).unwrap_or(0);
                Err(Mistake::new(
                    place,
                    text,
                    offset,
                    &found,
                    "visible signs of ASCII, and spaces",
                ))
            }
        }
    }

    /// The text for some values, as it is: whoever sends it encodes it. `None` if a value is not there.
    pub fn render(&self, scope: &Scope) -> Result<Option<String>, RenderError> {
        self.leaf.text(scope, &self.place, &mut Room::new())
    }

    /// The value of a header: at most 4,096 visible signs of ASCII; what is none is shown as `\x0a` or `\u{e4}`.
    pub fn render_header(&self, scope: &Scope) -> Result<Option<String>, RenderError> {
        Ok(self.render(scope)?.map(|text| header_value(&text)))
    }
}

fn header_value(text: &str) -> String {
    let mut out = String::new();
    for ch in text.trim().chars() {
        let before = out.len();
        match ch {
            ch if is_header_sign(ch) => out.push(ch),
            ch if ch.is_ascii() => out.push_str(&format!("\\x{:02x}", u32::from(ch))),
            ch => out.push_str(&format!("\\u{{{:x}}}", u32::from(ch))),
        }
        if out.len() > HEADER_CHARS_MAX {
            out.truncate(before);
            break;
        }
    }
    out
}

fn is_header_sign(ch: char) -> bool {
    matches!(ch, ' '..='~')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn header(template: &str, value: &str) -> Option<String> {
        let line = Line::parse_header("x-who", template, &Names::new(["a", "gone"])).unwrap();
        line.render_header(&Scope::from(&json!({"a": value}))).unwrap()
    }

    #[test]
    fn a_header_stays_one_line_and_is_left_out_without_its_value() {
        assert_eq!(
            header("by {{ a }}", "x\r\nevil: 1\0\u{e4}").as_deref(),
            Some("by x\\x0d\\x0aevil: 1\\x00\\u{e4}")
        );
        assert_eq!(header("by {{ gone }}", "x"), None);
        assert_eq!(header("{{ a }}", &"x".repeat(9000)).unwrap().len(), HEADER_CHARS_MAX);
    }

    #[test]
    fn what_no_header_can_carry_is_refused_where_it_is_written() {
        let mistake = Line::parse_header("x-who", "ab\n{{ a }}", &Names::new(["a"])).unwrap_err();
        assert_eq!((mistake.offset, mistake.found.as_str()), (2, "U+000A"));
    }

    proptest! {
        #[test]
        fn any_text_is_a_header_value_of_visible_signs(text in any::<String>()) {
            let value = header("{{ a }}", &text).unwrap();
            prop_assert!(value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && value.len() <= HEADER_CHARS_MAX);
        }

        #[test]
        fn any_text_stays_what_it_is_in_a_plain_text(text in any::<String>()) {
            let line = Line::parse("t", "<{{ a }}>", &Names::new(["a"])).unwrap();
            prop_assert_eq!(line.render(&Scope::from(&json!({"a": text}))).unwrap(), Some(format!("<{text}>")));
        }
    }
}
