//! The text part of a mail: all that the HTML part says, in lines of at most [`WIDTH`] characters. Pure.

use trapline_notice::{Fact, Notice};

/// Longest line.
pub(crate) const WIDTH: usize = 72;
/// Widest column of labels; a longer label has a line of its own.
const LABEL_MAX: usize = 22;

/// The body, lines ending in CRLF. `footer`: lines below the signature mark.
pub(crate) fn body(notice: &Notice, footer: &[String]) -> String {
    let mut lines = wrapped(&notice.subject, WIDTH);
    lines.push(String::new());
    lines.extend(wrapped(&notice.opening, WIDTH));
    if !notice.facts.is_empty() {
        lines.push(String::new());
        lines.extend(table(&notice.facts));
    }
    if !notice.closing.is_empty() {
        lines.push(String::new());
        lines.extend(wrapped(&notice.closing, WIDTH));
    }
    // What readers grey out or fold away (RFC 3676 section 4.3).
    lines.push(String::new());
    lines.push("-- ".to_owned());
    lines.extend(footer.iter().flat_map(|line| wrapped(line, WIDTH)));
    lines.iter().flat_map(|line| [line.as_str(), "\r\n"]).collect()
}

/// Labels in one column, values in the other. What a peer chose stands behind a bar, so that no line of it can pass for
/// one of ours.
fn table(facts: &[Fact]) -> Vec<String> {
    let width = |fact: &Fact| fact.label.chars().count();
    let column = facts
        .iter()
        .map(width)
        .filter(|width| *width <= LABEL_MAX)
        .max()
        .unwrap_or(0);
    facts.iter().flat_map(|fact| row(fact, column)).collect()
}

fn row(fact: &Fact, column: usize) -> Vec<String> {
    let bar = if fact.foreign { "| " } else { "  " };
    let indent = format!("{:column$} {bar}", "");
    let values = wrapped(&fact.shown(), WIDTH - column - 3);
    let is_long = fact.label.chars().count() > column;
    let mut lines = if is_long {
        wrapped(fact.label, WIDTH)
    } else {
        Vec::new()
    };
    for (at, value) in values.iter().enumerate() {
        match at == 0 && !is_long {
            true => lines.push(format!("{:column$} {bar}{value}", fact.label)),
            false => lines.push(format!("{indent}{value}")),
        }
    }
    lines
}

/// `text` in lines of at most `width` characters, broken between words, and within one that is longer. One line or more.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut used = 0;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let mut word: Vec<char> = word.chars().collect();
        if used > 0 && used + 1 + word.len() > width {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        if used > 0 {
            line.push(' ');
            used += 1;
        }
        while word.len() > width {
            let rest = word.split_off(width);
            lines.push(word.iter().collect());
            word = rest;
        }
        used += word.len();
        line.extend(word);
    }
    if !line.is_empty() || lines.is_empty() {
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use trapline_notice::Weight;
    use uuid::Uuid;

    use super::*;

    fn notice(value: &str) -> Notice {
        let fact = |label, value: &str, foreign| Fact {
            label,
            value: value.to_owned(),
            foreign,
        };
        Notice {
            event: Uuid::nil(),
            incident: None,
            weight: Weight::Proof,
            subject: "Somebody at 203.0.113.7".to_owned(),
            opening: "No rush. Somebody tried the door of a house that has no door, and then again, as one does."
                .to_owned(),
            facts: vec![fact("source", "203.0.113.7", false), fact("user tried", value, true)],
            closing: "Do let us know.".to_owned(),
        }
    }

    #[test]
    fn facts_stand_in_columns_and_what_a_peer_chose_behind_a_bar() {
        let long = format!("root {}", "x".repeat(70));
        let text = body(&notice(&long), &["trapline on lure".to_owned()]);
        let x = "x".repeat(59);
        let wanted = format!(
            "Somebody at 203.0.113.7\r\n\r\nNo rush. Somebody tried the door of a house that has no door, and then\r\nagain, as one does.\r\n\r\n\
             source       203.0.113.7\r\nuser tried | root\r\n           | {x}\r\n           | {}\r\n\r\n\
             Do let us know.\r\n\r\n-- \r\ntrapline on lure\r\n",
            "x".repeat(11)
        );
        assert_eq!(text, wanted);
    }

    proptest! {
        #[test]
        fn any_bytes_of_a_fact_stay_in_lines_that_are_not_too_long(value in "\\PC{0,300}") {
            let text = body(&notice(&value), &[]);
            prop_assert!(text.split("\r\n").all(|line| line.chars().count() <= WIDTH && !line.contains(['\r', '\n'])));
            let bare = |text: &str| text.replace([' ', '|', '\r', '\n'], "");
            prop_assert!(bare(&text).contains(&bare(&trapline_notice::defang(&value))), "{}", text);
        }
    }
}
