//! A notice as blocks.
//!
//! In: a [`Notice`] and when its event happened. Out: header, opening, facts, closing and foot. Invariants, for any
//! notice: 1. what a peer chose is in `text` elements of `rich_text` alone, which know no markup; 2. no text is empty or
//! above its bound; 3. the blocks as JSON, with every character beyond ASCII written as escapes, have at most
//! [`BLOCKS_MAX`] characters.

use serde_json::{Value, json};
use trapline_notice::{Fact, Notice};
use trapline_schemas::Timestamp;

use crate::message::{HEADER_MAX, title};
use crate::text::{escaped, literal};

/// Our own bound of an opening or a closing; Slack's for a section is 3,000.
const WORDS_MAX: usize = 600;
/// Bound of a fact's label.
const LABEL_MAX: usize = 60;
/// Bound of a fact's value.
const VALUE_MAX: usize = 300;
/// Bound of all blocks. Slack refuses somewhat above 13,000 and does not say how it counts.
pub(crate) const BLOCKS_MAX: usize = 10_000;
/// What the JSON of a fact has beside its texts.
const FACT_COST: usize = 120;

/// The blocks of a notice.
pub(crate) fn blocks(notice: &Notice, at: Timestamp) -> Vec<Value> {
    let header = plain("header", &title(notice), HEADER_MAX);
    let opening = plain("section", &notice.opening, WORDS_MAX);
    let closing = plain("section", &notice.closing, WORDS_MAX);
    let context = Some(context(notice, at));
    let around: usize = [&header, &opening, &closing, &context]
        .into_iter()
        .flatten()
        .map(cost)
        .sum();
    let facts = facts(notice, BLOCKS_MAX.saturating_sub(around));
    [header, opening, facts, closing, context]
        .into_iter()
        .flatten()
        .collect()
}

/// A block of our own words. In text objects `&`, `<` and `>` are entities, also where there is no markup.
fn plain(block: &str, words: &str, units_max: usize) -> Option<Value> {
    let text = escaped(words, units_max);
    (!text.trim().is_empty()).then(|| json!({ "type": block, "text": plain_text(&text) }))
}

fn plain_text(text: &str) -> Value {
    json!({ "type": "plain_text", "text": text, "emoji": false })
}

/// When it was and what it is called, each on one line if there is room.
fn context(notice: &Notice, at: Timestamp) -> Value {
    let mut words = vec![at.to_string(), format!("event {}", notice.event)];
    words.extend(notice.incident.map(|incident| format!("incident {incident}")));
    let elements: Vec<_> = words.iter().map(|words| plain_text(words)).collect();
    json!({ "type": "context", "elements": elements })
}

/// A fact as it is shown.
pub(crate) struct Line {
    pub(crate) label: String,
    pub(crate) value: String,
    foreign: bool,
}

/// The facts that are told; ids stand at the foot.
pub(crate) fn told(notice: &Notice) -> impl Iterator<Item = Line> {
    let ids = [Some(notice.event), notice.incident].map(|id| id.map(|id| id.to_string()));
    let is_id = move |fact: &&Fact| !fact.foreign && ids.iter().flatten().any(|id| *id == fact.value);
    notice.facts.iter().filter(move |fact| !is_id(fact)).map(|fact| Line {
        label: literal(fact.label, LABEL_MAX),
        value: value(fact),
        foreign: fact.foreign,
    })
}

/// What we know as a table, and below it what a peer chose, set apart in type so that none of it passes for a row; as
/// much as has room.
fn facts(notice: &Notice, room: usize) -> Option<Value> {
    let all: Vec<_> = told(notice).collect();
    let ours = all.iter().filter(|line| !line.foreign);
    let width = ours.map(|line| line.label.chars().count()).max().unwrap_or(0);
    let mut left = room.saturating_sub(4 * FACT_COST);
    let has_room = |line: &&Line| {
        let cost = FACT_COST + width + characters(&line.label) + characters(&line.value);
        left = left.saturating_sub(cost);
        left > 0
    };
    let shown: Vec<_> = all.iter().take_while(has_room).collect();
    let (theirs, ours): (Vec<&Line>, Vec<&Line>) = shown.iter().partition(|line| line.foreign);
    let parts = [table(&ours, width), sayings(&theirs, all.len() - shown.len())];
    let elements: Vec<_> = parts.into_iter().flatten().collect();
    (!elements.is_empty()).then(|| json!({ "type": "rich_text", "elements": elements }))
}

/// A row per fact, values below each other.
fn table(lines: &[&Line], width: usize) -> Option<Value> {
    let row = |(at, line): (usize, &&Line)| format!("{}{:width$}  {}", line_end(at), line.label, line.value);
    let rows = lines.iter().enumerate().map(row);
    let elements: Vec<_> = rows.map(|row| json!({ "type": "text", "text": row })).collect();
    (!elements.is_empty()).then(|| json!({ "type": "rich_text_preformatted", "elements": elements }))
}

/// A line per fact, and how many had no room.
fn sayings(lines: &[&Line], more: usize) -> Option<Value> {
    let mut elements = Vec::with_capacity(2 * lines.len() + 1);
    for line in lines {
        let label = format!("{}{}  ", line_end(elements.len()), line.label);
        elements.push(json!({ "type": "text", "text": label, "style": { "bold": true } }));
        elements.push(json!({ "type": "text", "text": line.value, "style": { "code": true } }));
    }
    if more > 0 {
        let text = format!("{}and {more} more, in the event", line_end(elements.len()));
        elements.push(json!({ "type": "text", "text": text }));
    }
    (!elements.is_empty()).then(|| json!({ "type": "rich_text_section", "elements": elements }))
}

/// What ends the line before the element with this number.
const fn line_end(at: usize) -> &'static str {
    if at == 0 { "" } else { "\n" }
}

/// A fact's value: never empty, and no link if a peer chose it.
fn value(fact: &Fact) -> String {
    let value = literal(&fact.shown(), VALUE_MAX);
    if value.trim().is_empty() {
        "(empty)".to_owned()
    } else {
        value
    }
}

/// Characters of a block as JSON.
fn cost(block: &Value) -> usize {
    json_characters(&block.to_string())
}

/// Characters of a text within JSON.
fn characters(text: &str) -> usize {
    json_characters(&Value::from(text).to_string())
}

/// Characters of JSON once it is all ASCII, as some write it: a slash is two, what is not ASCII six for each unit.
fn json_characters(json: &str) -> usize {
    let of = |ch: char| match ch {
        '/' => 2,
        ch if ch.is_ascii() => 1,
        ch => 6 * ch.len_utf16(),
    };
    json.chars().map(of).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::samples::{any_notice, notice};

    fn of(notice: &Notice) -> Vec<Value> {
        blocks(notice, Timestamp::from_micros(1_772_619_370_007_999))
    }

    #[test]
    fn a_notice_is_header_opening_facts_closing_and_context() {
        let blocks = of(&notice());
        let kinds: Vec<_> = blocks.iter().map(|block| &block["type"]).collect();
        assert_eq!(kinds, ["header", "section", "rich_text", "section", "context"]);
        assert_eq!(blocks[0]["text"]["text"], "🟠 203.0.113.77 tries logins at ssh");
        let (ours, theirs) = (&blocks[2]["elements"][0], &blocks[2]["elements"][1]["elements"]);
        assert_eq!(ours["type"], "rich_text_preformatted");
        assert_eq!(ours["elements"][0]["text"], "source  203.0.113.77");
        assert_eq!(ours["elements"][1]["text"], "\ntimes   3");
        assert_eq!(theirs[0]["text"], "user tried  ");
        let value = json!("<!channel> hxxp[:]//evil[.]example");
        assert_eq!(
            (&theirs[1]["text"], &theirs[1]["style"]["code"]),
            (&value, &json!(true))
        );
        let foot = blocks[4]["elements"].as_array().unwrap();
        let foot: Vec<_> = foot.iter().map(|part| part["text"].as_str().unwrap()).collect();
        assert_eq!(
            foot,
            [
                "2026-03-04T10:16:10.007Z",
                "event 00000000-0000-0000-0000-000000000001",
                "incident 00000000-0000-0000-0000-000000000002"
            ]
        );
    }

    #[test]
    fn what_is_empty_is_left_out_or_said() {
        let mut empty = notice();
        empty.opening.clear();
        empty.closing = " ".to_owned();
        empty.facts.truncate(1);
        empty.facts[0].value.clear();
        let blocks = of(&empty);
        assert_eq!(blocks.len(), 3);
        assert_eq!(blocks[1]["elements"][0]["elements"][0]["text"], "source  (empty)");
        empty.facts.clear();
        assert_eq!(of(&empty).len(), 2);
    }

    #[test]
    fn what_has_no_room_is_counted() {
        let mut long = notice();
        long.facts = vec![
            Fact {
                value: "v".repeat(300),
                ..long.facts[0].clone()
            };
            60
        ];
        for foreign in [false, true] {
            long.facts.iter_mut().for_each(|fact| fact.foreign = foreign);
            let facts = of(&long)[2].to_string();
            let shown = facts.matches(&"v".repeat(300)).count();
            let more = format!("and {} more, in the event", 60 - shown);
            assert!(shown > 10 && facts.contains(&more), "{facts}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_of_a_notice_keep_the_bound(notice in any_notice()) {
            prop_assert!(of(&notice).iter().map(cost).sum::<usize>() <= BLOCKS_MAX);
        }
    }
}
