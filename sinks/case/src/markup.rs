//! A notice in the vendor's markup, in which what a peer chose is text and nothing else.
//!
//! Our own words hold no sign of any markup beyond names that were cleaned; they are escaped all the same.

use serde_json::{Value, json};
use trapline_notice::{Fact, defang};

/// A markup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Markup {
    /// CommonMark, as TheHive shows it: values stand in code spans.
    Markdown,
    /// Plain text, in which ServiceNow would take `[code]` for HTML.
    ServiceNow,
    /// Atlassian Document Format: a tree, so a text is one whatever it holds.
    Adf,
    /// Jira's wiki notation: signs are escaped.
    Wiki,
    /// Nothing is markup.
    Plain,
}

impl Markup {
    /// The words of a profile.
    pub(crate) const WORDS: &[(&str, Self)] = &[
        ("markdown", Self::Markdown),
        ("servicenow", Self::ServiceNow),
        ("adf", Self::Adf),
        ("wiki", Self::Wiki),
        ("plain", Self::Plain),
    ];

    /// Reads the word of a profile.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        Self::WORDS
            .iter()
            .find(|(known, _)| *known == word)
            .map(|(_, markup)| *markup)
    }

    /// Paragraphs before the facts, the facts, paragraphs after them.
    pub(crate) fn render(self, before: &[&str], facts: &[Fact], after: &[&str]) -> Value {
        match self {
            Self::Adf => document(before, facts, after),
            _ => {
                let paragraphs = |texts: &[&str]| texts.iter().map(|text| self.ours(text)).collect::<Vec<_>>();
                let list = facts.iter().map(|fact| self.fact(fact)).collect::<Vec<_>>().join("\n");
                let parts = [paragraphs(before), vec![list], paragraphs(after)].concat();
                let parts = parts.into_iter().filter(|part| !part.is_empty());
                parts.collect::<Vec<_>>().join("\n\n").into()
            }
        }
    }

    fn ours(self, text: &str) -> String {
        match self {
            Self::Markdown => escaped(text),
            Self::Wiki => wiki(text),
            Self::ServiceNow => without_code(text),
            Self::Adf | Self::Plain => text.to_owned(),
        }
    }

    fn fact(self, fact: &Fact) -> String {
        let label = self.ours(fact.label);
        let shown = fact.shown();
        match self {
            Self::Markdown => format!("- **{label}**: {}", code_span(&shown)),
            Self::Wiki => format!("* *{label}*: {}", wiki(&shown)),
            Self::ServiceNow => format!("{label}: {}", without_code(&shown)),
            Self::Adf | Self::Plain => format!("{label}: {shown}"),
        }
    }
}

/// Our words with every sign escaped that could be markup amid them, or begin a link (CommonMark section 2.4).
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut rest = text.chars();
    while let Some(ch) = rest.next() {
        let after = rest.clone().next();
        let is_dot_of_a_name = ch == '.' && after.is_some_and(char::is_alphabetic);
        if is_dot_of_a_name || "\\`*_{}[]<>#!|~&:@".contains(ch) {
            out.push('\\');
        }
        out.push(ch);
    }
    out
}

/// A code span (CommonMark section 6.1): between more backticks than the text has in a row. The text is one line.
fn code_span(text: &str) -> String {
    let longest = text.split(|ch| ch != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    match text.starts_with('`') || text.ends_with('`') || text.trim().is_empty() {
        true => format!("{fence} {text} {fence}"),
        false => format!("{fence}{text}{fence}"),
    }
}

/// What Jira's notation escapes.
const WIKI_SIGNS: &str = "-#*_+?^~|%{}[]()!@";

/// Jira's notation: a backslash before one of these signs takes its meaning, and before any other is shown. A backslash
/// itself has none that is escaped, and two are a line end, so it is told by its number. HTML is no markup there.
fn wiki(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    for ch in text.chars() {
        match ch {
            '\\' => out.push_str("&#92;"),
            '&' => out.push_str("&#38;"),
            ch if WIKI_SIGNS.contains(ch) => out.extend(['\\', ch]),
            ch => out.push(ch),
        }
    }
    out
}

/// A journal field takes what stands between `[code]` and `[/code]` for HTML.
fn without_code(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('[') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let word = from.get(1..).unwrap_or_default().trim_start_matches(['/', ' ']);
        let is_code = word.get(..4).is_some_and(|word| word.eq_ignore_ascii_case("code"));
        out.push(if is_code { '(' } else { '[' });
        rest = from.get(1..).unwrap_or_default();
    }
    out + rest
}

fn document(before: &[&str], facts: &[Fact], after: &[&str]) -> Value {
    let mut content: Vec<_> = before.iter().map(|text| paragraph(text)).collect();
    if !facts.is_empty() {
        let items: Vec<_> = facts.iter().map(item).collect();
        content.push(json!({ "type": "bulletList", "content": items }));
    }
    content.extend(after.iter().map(|text| paragraph(text)));
    json!({ "type": "doc", "version": 1, "content": content })
}

fn paragraph(text: &str) -> Value {
    // A text node must not be empty.
    let content = match text.is_empty() {
        true => json!([]),
        false => json!([{ "type": "text", "text": text }]),
    };
    json!({ "type": "paragraph", "content": content })
}

fn item(fact: &Fact) -> Value {
    let strong = json!([{ "type": "strong" }]);
    // Jira makes links of what looks like one when it shows a text.
    let value = match fact.foreign {
        true => json!({ "type": "text", "text": defang(&fact.value), "marks": [{ "type": "code" }] }),
        false => json!({ "type": "text", "text": fact.value }),
    };
    let label = json!({ "type": "text", "text": format!("{}: ", fact.label), "marks": strong });
    json!({ "type": "listItem", "content": [{ "type": "paragraph", "content": [label, value] }] })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fact(value: &str) -> Fact {
        Fact {
            label: "user",
            value: value.to_owned(),
            foreign: true,
        }
    }

    fn text(markup: Markup, value: &str) -> String {
        let made = markup.render(&["Somebody knocked."], &[fact(value)], &["Ask net_team."]);
        made.as_str().unwrap().to_owned()
    }

    #[test]
    fn a_notice_reads_well_in_each_markup() {
        assert_eq!(
            text(Markup::Markdown, "root"),
            "Somebody knocked.\n\n- **user**: `root`\n\nAsk net\\_team."
        );
        assert_eq!(
            text(Markup::Wiki, "ro{ot}"),
            "Somebody knocked.\n\n* *user*: ro\\{ot\\}\n\nAsk net\\_team."
        );
        assert_eq!(
            text(Markup::ServiceNow, "root"),
            "Somebody knocked.\n\nuser: root\n\nAsk net_team."
        );
        let adf = Markup::Adf.render(&["a"], &[fact("root")], &[]);
        assert_eq!(adf["content"][0]["content"][0]["text"], "a");
        assert_eq!(
            adf["content"][1]["content"][0]["content"][0]["content"][1]["text"],
            "root"
        );
    }

    #[test]
    fn hostile_values_stay_values() {
        for (markup, value, shown) in [
            (Markup::Markdown, "`</code><img src=x>`", "`` `</code><img src=x>` ``"),
            (Markup::Markdown, "a``b", "```a``b```"),
            (Markup::Wiki, "!http://x!", "\\!hxxp[:]//x\\!"),
            (Markup::Wiki, "<b>(y) (!)", "<b>\\(y\\) \\(\\!\\)"),
            (Markup::ServiceNow, "[code]<script>[/CODE]", "(code]<script>(/CODE]"),
            (Markup::ServiceNow, "[ code", "( code"),
        ] {
            let told = text(markup, value);
            let wanted = match markup {
                Markup::Wiki => shown.replace("[:]", "\\[:\\]"),
                _ => shown.to_owned(),
            };
            assert!(told.contains(&wanted), "{told} has no {wanted}");
        }
    }

    const SIGNS: &[&str] = &[
        "`",
        "``",
        "[code]",
        "[",
        "]",
        "{",
        "}",
        "{html}",
        "\\",
        "!",
        "|",
        "*",
        "_",
        "<b>",
        "&lt;",
        "x",
        " ",
        "http://a.b",
    ];

    fn hostile() -> impl Strategy<Value = String> {
        let parts = prop_oneof![prop::sample::select(SIGNS).prop_map(str::to_owned), "\\PC{0,4}"];
        prop::collection::vec(parts, 0..12).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn any_bytes_of_a_value_stay_within_its_code_span(value in hostile()) {
            let span = code_span(&value);
            let fence: String = span.chars().take_while(|ch| *ch == '`').collect();
            let inner = span.strip_prefix(&fence).and_then(|rest| rest.strip_suffix(&fence)).unwrap();
            let runs: Vec<_> = inner.split(|ch| ch != '`').map(str::len).filter(|length| *length > 0).collect();
            prop_assert!(!runs.contains(&fence.len()), "{span}");
        }

        #[test]
        fn any_bytes_of_a_value_are_no_sign_of_the_wiki_and_no_code_for_servicenow(value in hostile()) {
            let told = wiki(&value);
            let mut before = None;
            for ch in told.replace("&#92;", "").replace("&#38;", "").chars() {
                if WIKI_SIGNS.contains(ch) {
                    prop_assert_eq!(before, Some('\\'), "{}", told);
                }
                before = Some(ch);
            }
            prop_assert!(!told.contains("\\\\"));
            let plain = without_code(&value).to_lowercase().replace(' ', "");
            prop_assert!(!plain.contains("[code") && !plain.contains("[/code"), "{}", plain);
        }
    }
}
