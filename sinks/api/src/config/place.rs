//! Where a key or value was written.

use std::ops::Range;
use std::sync::Arc;

use super::problem::escaped;

/// A configuration text with the name that messages show for it.
#[derive(PartialEq, Eq)]
pub struct SourceText {
    /// The file's path as given, or a name such as `built-in configuration`.
    pub name: String,
    /// The whole text.
    pub text: String,
}

/// The name only: the text may hold secrets.
impl std::fmt::Debug for SourceText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SourceText({})", self.name)
    }
}

/// What a key or value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Bytes of a text.
    Text {
        /// The text.
        source: Arc<SourceText>,
        /// Byte range in it.
        span: Range<usize>,
    },
    /// An environment variable.
    Variable(String),
    /// A default of the program.
    Default,
}

/// An origin and the dotted path of the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Where it was written.
    pub origin: Origin,
    /// `sinks.siem.endpoint`; empty for the whole document.
    pub key: String,
}

/// The mark that some editors put before the text: no editor counts it as a column.
pub(super) const BOM: char = '\u{feff}';

impl Place {
    /// Line and column, both from 1; columns count characters. `None` for variables and defaults.
    pub fn position(&self) -> Option<(usize, usize)> {
        let Origin::Text { source, span } = &self.origin else {
            return None;
        };
        let before = source.text.get(..span.start).unwrap_or(&source.text);
        let before = before.strip_prefix(BOM).unwrap_or(before);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.matches('\n').count() + 1;
        let column = before.get(line_start..).unwrap_or("").chars().count() + 1;
        Some((line, column))
    }

    /// `FILE:LINE:COLUMN`, or the variable, or the default's key.
    pub fn label(&self) -> String {
        match (&self.origin, self.position()) {
            (Origin::Text { source, .. }, Some((line, column))) => {
                format!("{}:{line}:{column}", escaped(&source.name))
            }
            (Origin::Variable(name), _) => format!("environment variable {}", escaped(name)),
            _ => format!("default of `{}`", escaped(&self.key)),
        }
    }

    /// The place of byte `offset` of the decoded string value that is written here: into the quotes, past escapes.
    pub(super) fn within(&self, offset: usize) -> Self {
        let Origin::Text { source, span } = &self.origin else {
            return self.clone();
        };
        let raw = source.text.get(span.clone()).unwrap_or("");
        let start = span.start + raw_offset(raw, offset).min(raw.len().saturating_sub(1));
        let width = source.text.get(start..).and_then(|rest| rest.chars().next());
        let span = start..start + width.map_or(0, char::len_utf8);
        let source = source.clone();
        let origin = Origin::Text { source, span };
        Self { origin, ..self.clone() }
    }
}

/// Byte offset in a string's TOML text (with its quotes) of byte `offset` of its value.
fn raw_offset(raw: &str, offset: usize) -> usize {
    let quotes = if raw.starts_with("'''") || raw.starts_with("\"\"\"") {
        3
    } else {
        1
    };
    let mut at = quotes;
    if quotes == 3 {
        // A line end right after the opening quotes is no part of the value.
        at += raw.get(at..).map_or(0, leading_line_end);
    }
    if raw.starts_with('\'') {
        return at + offset;
    }
    let mut decoded = 0;
    // Joined lines make no value: those that stand before the byte looked for are gone past as well.
    while let Some(rest) = raw.get(at..).filter(|rest| !rest.is_empty()) {
        let (read, made) = step(rest);
        if decoded >= offset && made > 0 {
            break;
        }
        at += read;
        decoded += made;
    }
    at
}

fn leading_line_end(text: &str) -> usize {
    if text.starts_with("\r\n") {
        2
    } else {
        usize::from(text.starts_with('\n'))
    }
}

/// Bytes read from a basic string's text and bytes of value they make, for one character, escape or joined line.
fn step(rest: &str) -> (usize, usize) {
    let mut chars = rest.chars();
    let first = chars.next().map_or(1, char::len_utf8);
    if !rest.starts_with('\\') {
        return (first, first);
    }
    let digits = match chars.next() {
        Some('x') => 2,
        Some('u') => 4,
        Some('U') => 8,
        Some(c) if c.is_whitespace() => {
            let tail = rest.get(1..).unwrap_or("");
            return (1 + tail.len() - tail.trim_start().len(), 0);
        }
        _ => return (2, 1),
    };
    let made = rest
        .get(2..2 + digits)
        .and_then(|hex| char::from_u32(u32::from_str_radix(hex, 16).ok()?))
        .map_or(1, char::len_utf8);
    (2 + digits, made)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str, span: Range<usize>) -> Place {
        let source = Arc::new(SourceText {
            name: "t.toml".into(),
            text: text.into(),
        });
        Place {
            origin: Origin::Text { source, span },
            key: "k".into(),
        }
    }

    #[test]
    fn lines_and_columns_count_from_one_and_in_characters() {
        assert_eq!(place("a = 1\né = 2\n", 0..1).position(), Some((1, 1)));
        assert_eq!(place("a = 1\né = 2\n", 11..12).position(), Some((2, 5)));
        assert_eq!(place("a = 1", 5..5).label(), "t.toml:1:6");
        assert_eq!(
            place("\u{feff}a = 1\nb = 2", 3..4).position(),
            Some((1, 1)),
            "a mark is no column"
        );
        assert_eq!(place("\u{feff}a = 1\nb = 2", 9..10).position(), Some((2, 1)));
    }

    #[test]
    fn a_place_within_a_string_goes_past_quotes_and_escapes() {
        let column = |text: &str, offset| place(text, 4..text.len()).within(offset).position().unwrap();
        assert_eq!(column("w = 'a.b'", 2), (1, 8));
        assert_eq!(column(r#"w = "a\"b.c""#, 4), (1, 11));
        assert_eq!(column(r#"w = "\u00e9x""#, 2), (1, 12));
        assert_eq!(column("w = '''\na &&\nb'''", 5), (3, 1));
        assert_eq!(column("w = \"\"\"a \\\n   b\"\"\"", 2), (2, 4));
        assert_eq!(column("w = 'ab'", 99), (1, 8));
    }
}
