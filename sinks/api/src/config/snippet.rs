//! The line of a problem, with a caret under it.

use super::place::{BOM, Origin};
use super::problem::{Problem, Visible, escaped};

/// Longest line shown, in characters; a longer one is left out.
const LINE_CHARS_MAX: usize = 160;

/// The source line of a problem, its number, and carets under the place. Strings outside the place show as `…`.
pub(super) fn snippet(problem: &Problem, paint: impl Fn(&str) -> String) -> Option<String> {
    let Origin::Text { source, span } = &problem.place.origin else {
        return None;
    };
    let text = source.text.as_str();
    let start = text.get(..span.start)?.rfind('\n').map_or(0, |at| at + 1);
    let end = text.get(start..)?.find('\n').map_or(text.len(), |at| start + at);
    let stop = span.end.clamp(span.start.min(end), end);
    let start = match text.starts_with(BOM) && start == 0 {
        true => BOM.len_utf8().min(span.start),
        false => start,
    };
    let outside = |text: &str| match problem.visible {
        Visible::Line => printable(text),
        _ => masked(text),
    };
    let before = outside(text.get(start..span.start.min(end))?);
    let marked = match problem.visible {
        Visible::Nothing => "…".to_owned(),
        _ => super::problem::shown(text.get(span.start.min(end)..stop)?),
    };
    let after = outside(&without_bare(text.get(stop..end)?));
    let after = after.trim_end();
    if before.chars().count() + marked.chars().count() + after.chars().count() > LINE_CHARS_MAX {
        return None;
    }
    let (number, _) = problem.place.position()?;
    let gutter = " ".repeat(number.to_string().len());
    let blank: String = before.chars().map(|c| if c == '\t' { c } else { ' ' }).collect();
    let carets = paint(&"^".repeat(marked.chars().count().max(1)));
    Some(format!(
        "{gutter} |\n{number} | {before}{marked}{after}\n{gutter} | {blank}{carets}\n"
    ))
}

/// The text without a bare word after its `=`: a string that lacks its quotes.
fn without_bare(text: &str) -> String {
    let Some((name, value)) = text.split_once('=') else {
        return text.to_owned();
    };
    let value = value.trim_start();
    let is_value = value.starts_with("true") || value.starts_with("false");
    match value.starts_with(char::is_alphabetic) && !is_value {
        true => format!("{name}= …"),
        false => text.to_owned(),
    }
}

/// The text with what stands in quotes (and whatever follows an open quote) replaced by `…`; comments are left out.
fn masked(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '#' => break,
            '"' | '\'' => {
                out.push(c);
                out.push('…');
                if skip_string(c, &mut chars) {
                    out.push(c);
                }
            }
            c => out += &printable(c.encode_utf8(&mut [0; 4])),
        }
    }
    out
}

/// Escaped, but for tabs: the line of carets has them as well.
fn printable(text: &str) -> String {
    let parts: Vec<_> = text.split('\t').map(escaped).collect();
    parts.join("\t")
}

/// Goes past a string's closing quote; `false` if there is none.
fn skip_string(quote: char, chars: &mut std::str::Chars<'_>) -> bool {
    while let Some(c) = chars.next() {
        if c == '\\' && quote == '"' {
            chars.next();
        } else if c == quote {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::place::{Place, SourceText};
    use super::*;

    fn drawn(text: &str, word: &str, visible: Visible) -> String {
        let start = text.find(word).unwrap();
        let source = Arc::new(SourceText {
            name: "t".into(),
            text: text.into(),
        });
        let origin = Origin::Text {
            source,
            span: start..start + word.len(),
        };
        let place = Place {
            origin,
            key: String::new(),
        };
        let problem = Problem::error(place, "x", "y").show(visible);
        snippet(&problem, str::to_owned).unwrap()
    }

    #[test]
    fn the_caret_stands_under_the_word() {
        assert_eq!(
            drawn("a = 1\nbb = 22\n", "22", Visible::Place),
            "  |\n2 | bb = 22\n  |      ^^\n"
        );
    }

    #[test]
    fn a_mark_before_the_text_is_not_shown() {
        assert_eq!(
            drawn("\u{feff}bb = 22\n", "22", Visible::Place),
            "  |\n1 | bb = 22\n  |      ^^\n"
        );
    }

    #[test]
    fn strings_outside_the_place_are_not_shown() {
        let line = "t = { tokn = \"hush\\\"hush\", bad = 7 } # hush";
        assert_eq!(
            drawn(line, "bad", Visible::Place),
            "  |\n1 | t = { tokn = \"…\", bad = 7 }\n  |                   ^^^\n"
        );
        assert!(!drawn("tokn = 'hush", "tokn", Visible::Place).contains("hush"));
        assert!(!drawn("tokn = hush", "tokn", Visible::Place).contains("hush"));
        assert!(drawn("gzp = true", "gzp", Visible::Place).contains("true"));
    }

    #[test]
    fn the_caret_stands_under_the_word_behind_what_is_escaped() {
        assert_eq!(
            drawn("\"\u{202e}\" = 22", "22", Visible::Line),
            "  |\n1 | \"\\u{202e}\" = 22\n  |              ^^\n"
        );
    }

    #[test]
    fn a_line_without_secrets_is_shown_whole() {
        let line = "when = 'a.b == 1'";
        assert!(drawn(line, "b", Visible::Line).contains(line));
    }

    #[test]
    fn a_hidden_value_is_not_shown() {
        assert_eq!(
            drawn("token = 12345", "12345", Visible::Nothing),
            "  |\n1 | token = …\n  |         ^\n"
        );
    }
}
