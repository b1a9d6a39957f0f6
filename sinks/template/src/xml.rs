//! XML in which values stand as text or within an attribute's quotes.

use crate::engine::{Leaf, Part};
use crate::{Mistake, Names, RenderError, Scope};

/// A document whose elements, attributes and namespaces are literal.
#[derive(Debug)]
pub struct Xml(Leaf);

/// Where in a document a place for a value would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Between elements.
    Text,
    /// Within `<…>`, outside of quotes.
    Tag,
    /// In a value with these quotes.
    Quoted(char),
    /// In a comment, a CDATA section, a declaration or an instruction, up to this.
    Until(&'static str),
}

/// What has an end of its own, and where a value could end it.
const CLOSED: &[(&str, &str)] = &[("<!--", "-->"), ("<![CDATA[", "]]>"), ("<?", "?>"), ("<!", ">")];

impl Xml {
    /// Reads a template. Errors: the first mistake; a place for a value that is neither text nor within an attribute's
    /// quotes; markup that does not end.
    pub fn parse(text: &str, names: &Names) -> Result<Self, Mistake> {
        let leaf = Leaf::parse(text, "xml", names)?;
        let wrong = |found| {
            Mistake::new(
                "xml",
                text,
                0,
                found,
                "values as text or within quotes, and markup that ends",
            )
        };
        let mut at = At::Text;
        for part in leaf.parts() {
            match part {
                Part::Literal(literal) => at = after(at, literal),
                Part::Expression(_) if matches!(at, At::Text | At::Quoted(_)) => {}
                Part::Expression(_) => return Err(wrong("a value within markup")),
            }
        }
        match at {
            At::Text => Ok(Self(leaf)),
            _ => Err(wrong("markup that does not end")),
        }
    }

    /// The document for some values. Errors: a value is not there; an expression failed; too large.
    pub fn render(&self, scope: &Scope) -> Result<String, RenderError> {
        let place = || "xml".to_owned();
        let mut out = String::new();
        for part in self.0.parts() {
            let text = part
                .text(scope, "xml")?
                .ok_or_else(|| RenderError::Missing { place: place() })?;
            match part {
                Part::Literal(_) => out.push_str(&text),
                Part::Expression(_) => text.chars().for_each(|ch| push_escaped(ch, &mut out)),
            }
            if out.len() > crate::BYTES_MAX {
                return Err(RenderError::TooLarge { place: place() });
            }
        }
        Ok(out)
    }
}

/// Where a document is after a literal part.
fn after(mut at: At, literal: &str) -> At {
    let mut rest = literal;
    while let Some(ch) = rest.chars().next() {
        let closed = CLOSED.iter().find(|(open, _)| at == At::Text && rest.starts_with(open));
        let (next, length) = match (at, ch) {
            (At::Text, '<') => closed.map_or((At::Tag, 1), |(open, close)| (At::Until(close), open.len())),
            (At::Tag, '"' | '\'') => (At::Quoted(ch), 1),
            (At::Tag, '>') => (At::Text, 1),
            (At::Quoted(quote), _) if quote == ch => (At::Tag, 1),
            // A document type that declares things of its own ends behind them.
            (At::Until(">"), '[') => (At::Until("]>"), 1),
            (At::Until(close), _) if rest.starts_with(close) => (At::Text, close.len()),
            _ => (at, ch.len_utf8()),
        };
        at = next;
        rest = rest.get(length..).unwrap_or_default();
    }
    at
}

/// A character as a reader gives it back. White space but the plain one is written by number, for readers change it; what
/// XML 1.0 cannot hold (section 2.2) is `U+FFFD`.
fn push_escaped(ch: char, out: &mut String) {
    match ch {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        '"' => out.push_str("&quot;"),
        '\'' => out.push_str("&#39;"),
        '\t' | '\n' | '\r' => out.push_str(&format!("&#{};", u32::from(ch))),
        '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
        ch => out.push(ch),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn xml(template: &str, value: &str) -> String {
        let xml = Xml::parse(template, &Names::new(["a"])).unwrap();
        xml.render(&Scope::from(&json!({ "a": value }))).unwrap()
    }

    #[test]
    fn a_value_is_text_or_a_part_of_an_attribute() {
        let template = "<?xml version=\"1.0\"?><!-- it's -->\n<e ip=\"{{ a }}\" b='{{ a }}'><![CDATA[<\"]]>{{ a }}</e>";
        let value = "\"><x y='&amp;\n\0\u{ffff}";
        let escaped = "&quot;&gt;&lt;x y=&#39;&amp;amp;&#10;\u{fffd}\u{fffd}";
        assert_eq!(
            xml(template, value),
            format!(
                "<?xml version=\"1.0\"?><!-- it's -->\n<e ip=\"{escaped}\" b='{escaped}'><![CDATA[<\"]]>{escaped}</e>"
            )
        );
    }

    #[test]
    fn a_place_in_markup_and_markup_without_end_are_refused() {
        for template in [
            "<{{ a }}/>",
            "<e {{ a }}='1'/>",
            "<e a={{ a }}/>",
            "<!-- {{ a }} -->",
            "<![CDATA[{{ a }}]]>",
            "<?x {{ a }}?>",
            "<!DOCTYPE {{ a }}>",
            "<!DOCTYPE e [<!ENTITY b 'c'> {{ a }} ]><e/>",
            "<!DOCTYPE e [<!ENTITY b 'c'> ",
            "<e a='{{ a }}",
            "<e",
            "<!-- ",
        ] {
            assert!(Xml::parse(template, &Names::new(["a"])).is_err(), "{template}");
        }
        assert!(Xml::parse("<!DOCTYPE e [<!ENTITY b 'c'>]><e>{{ a }}</e>", &Names::new(["a"])).is_ok());
        let xml = Xml::parse("<e>{{ a }}</e>", &Names::new(["a"])).unwrap();
        assert!(matches!(
            xml.render(&Scope::default()),
            Err(RenderError::Missing { .. })
        ));
    }

    /// What a reader makes of an escaped text.
    fn read(escaped: &str) -> String {
        let pairs = [
            ("&lt;", "<"),
            ("&gt;", ">"),
            ("&quot;", "\""),
            ("&#39;", "'"),
            ("&#9;", "\t"),
            ("&#10;", "\n"),
            ("&#13;", "\r"),
            ("&amp;", "&"),
        ];
        pairs
            .iter()
            .fold(escaped.to_owned(), |text, (entity, sign)| text.replace(entity, sign))
    }

    proptest! {
        #[test]
        fn any_bytes_of_text_stay_one_text_and_come_back(text in any::<String>()) {
            let sent = xml("<e a=\"{{ a }}\">{{ a }}</e>", &text);
            prop_assert_eq!(sent.matches(['<', '>']).count(), 4);
            prop_assert_eq!(sent.matches('"').count(), 2);
            let inner = sent.split_once('>').unwrap().1.trim_end_matches("</e>");
            let can_be = |ch: char| if ch < ' ' && !"\t\n\r".contains(ch) || matches!(ch, '\u{fffe}' | '\u{ffff}') { '\u{fffd}' } else { ch };
            prop_assert_eq!(read(inner), text.chars().map(can_be).collect::<String>());
        }

        #[test]
        fn any_text_as_a_document_is_read_or_refused(text in any::<String>()) {
            let _ = Xml::parse(&text, &Names::new(["a"]));
        }
    }
}
