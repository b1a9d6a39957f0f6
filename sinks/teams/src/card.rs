//! A notice as a message with an Adaptive Card.
//!
//! In: a [`Notice`] and when its event happened. Out: the JSON of a message, in full or short. Invariants, for any
//! notice: 1. every text is a `TextRun`; 2. no text is empty or hides anything; 3. the message has at most
//! [`MESSAGE_MAX`] bytes however they are counted ([`cost`]): what is too long is lost after the workflow has said yes.

use serde_json::{Value, json};
use trapline_notice::{Fact, Notice, Weight};
use trapline_schemas::Timestamp;
use trapline_schemas::text::clean_within;
use trapline_sink::courier::Form;

/// Most bytes of a message. Teams refuses about 28 KB and does not say how it counts.
pub(crate) const MESSAGE_MAX: usize = 26_000;
/// Bounds of texts, characters.
const TITLE_MAX: usize = 160;
const WORDS_MAX: usize = 600;
const LABEL_MAX: usize = 60;
const VALUE_MAX: usize = 300;
/// Room for the line that says how many facts were left out.
const CUT_COST: usize = 300;

/// The message of a notice.
pub(crate) fn message(notice: &Notice, at: Timestamp, form: Form) -> Value {
    let title = title(notice);
    match form {
        Form::Short => wrapped(&title, vec![heading(notice, &title), foot(notice, at)]),
        Form::Full => {
            let around = |facts: Vec<Value>| wrapped(&title, body(notice, at, &title, facts));
            let room = MESSAGE_MAX.saturating_sub(cost(&around(Vec::new())) + CUT_COST);
            around(facts(notice, room))
        }
    }
}

/// A card in a message. `fallbackText` is for clients that know no cards, `summary` for notifications.
fn wrapped(title: &str, body: Vec<Value>) -> Value {
    let card = json!({
        "type": "AdaptiveCard",
        "version": "1.4",
        "fallbackText": title,
        "msteams": { "width": "Full" },
        "body": body,
    });
    json!({
        "type": "message",
        "summary": title,
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": card,
        }],
    })
}

fn body(notice: &Notice, at: Timestamp, title: &str, facts: Vec<Value>) -> Vec<Value> {
    let mut body = vec![heading(notice, title)];
    body.extend(words(&notice.opening));
    body.extend(facts);
    body.extend(words(&notice.closing));
    body.push(foot(notice, at));
    body
}

/// One mark of colour: what a notification shows of it, and a strip behind the title.
const fn mark(weight: Weight) -> (&'static str, &'static str) {
    match weight {
        Weight::News => ("🔵", "accent"),
        Weight::Contact => ("🟡", "emphasis"),
        Weight::Intent => ("🟠", "warning"),
        Weight::Proof => ("🔴", "attention"),
    }
}

fn title(notice: &Notice) -> String {
    plain(&format!("{} {}", mark(notice.weight).0, notice.subject), TITLE_MAX)
}

fn heading(notice: &Notice, title: &str) -> Value {
    let run = json!({ "type": "TextRun", "text": title, "size": "Large", "weight": "Bolder" });
    json!({ "type": "Container", "style": mark(notice.weight).1, "bleed": true, "items": [block(vec![run])] })
}

/// A paragraph of our own words.
fn words(words: &str) -> Option<Value> {
    let text = plain(words, WORDS_MAX);
    (!text.trim().is_empty()).then(|| block(vec![json!({ "type": "TextRun", "text": text })]))
}

/// When it was and what it is called.
fn foot(notice: &Notice, at: Timestamp) -> Value {
    let incident = notice.incident.map(|incident| format!(" · incident {incident}"));
    let text = format!("{at} · event {}{}", notice.event, incident.unwrap_or_default());
    let run = json!({ "type": "TextRun", "text": text, "size": "Small", "isSubtle": true });
    block(vec![run])
}

fn block(inlines: Vec<Value>) -> Value {
    json!({ "type": "RichTextBlock", "inlines": inlines })
}

/// A row per fact, as many as have room, and how many had none.
fn facts(notice: &Notice, room: usize) -> Vec<Value> {
    let ids = [Some(notice.event), notice.incident].map(|id| id.map(|id| id.to_string()));
    let is_id = |fact: &&Fact| !fact.foreign && ids.iter().flatten().any(|id| *id == fact.value);
    // The ids stand at the foot.
    let all: Vec<_> = notice.facts.iter().filter(|fact| !is_id(fact)).map(row).collect();
    let mut left = room;
    let fits = |row: &&Value| {
        let taken = cost(row) + 1;
        let has_room = taken <= left;
        left = left.saturating_sub(taken);
        has_room
    };
    let mut shown: Vec<_> = all.iter().take_while(fits).cloned().collect();
    let more = all.len() - shown.len();
    if more > 0 {
        let text = format!("cut: {more} more facts stand in the event");
        shown.push(block(vec![
            json!({ "type": "TextRun", "text": text, "isSubtle": true }),
        ]));
    }
    shown
}

/// A label and a value beside each other. What a peer chose is set in another type, so that it passes for nothing else.
fn row(fact: &Fact) -> Value {
    let label = json!({ "type": "TextRun", "text": plain(fact.label, LABEL_MAX), "weight": "Bolder" });
    let mut value = json!({ "type": "TextRun", "text": value(fact) });
    if fact.foreign {
        value["fontType"] = "Monospace".into();
    }
    let column = |width: &str, run| json!({ "type": "Column", "width": width, "items": [block(vec![run])] });
    json!({ "type": "ColumnSet", "spacing": "Small", "columns": [column("110px", label), column("stretch", value)] })
}

/// A fact's value: never empty, and no link if a peer chose it.
fn value(fact: &Fact) -> String {
    let value = plain(&fact.shown(), VALUE_MAX);
    match value.trim().is_empty() {
        true => "(empty)".to_owned(),
        false => value,
    }
}

/// A text that hides nothing. `{{DATE(…)}}` and `${…}` are words of cards and their templates, so they are parted.
fn plain(text: &str, chars_max: usize) -> String {
    let mut out = String::with_capacity(text.len());
    let mut before = ' ';
    for ch in text.chars() {
        if ch == '{' && matches!(before, '{' | '$') {
            out.push(' ');
        }
        out.push(ch);
        before = ch;
    }
    clean_within(out.as_bytes(), chars_max).to_string()
}

/// The most bytes that JSON has in any way it may be counted: as ASCII, where what is beyond takes six for each UTF-16
/// unit; or in UTF-16 as a text within JSON, as Teams keeps a card, where quotes and backslashes are two units.
fn cost(value: &Value) -> usize {
    let json = value.to_string();
    let ascii = |ch: char| if ch.is_ascii() { 1 } else { 6 * ch.len_utf16() };
    let nested = |ch: char| 2 * if matches!(ch, '"' | '\\') { 2 } else { ch.len_utf16() };
    let sum = |of: fn(char) -> usize| json.chars().map(of).sum::<usize>();
    sum(ascii).max(sum(nested))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use trapline_schemas::text::is_clean;
    use uuid::Uuid;

    use super::*;

    fn notice(facts: Vec<(&str, bool)>) -> Notice {
        let fact = |(value, foreign): (&str, bool)| Fact {
            label: "User",
            value: value.to_owned(),
            foreign,
        };
        Notice {
            event: Uuid::from_u128(1),
            incident: Some(Uuid::from_u128(2)),
            weight: Weight::Proof,
            subject: "Somebody knocked".to_owned(),
            opening: "Hello.".to_owned(),
            facts: facts.into_iter().map(fact).collect(),
            closing: "Bye.".to_owned(),
        }
    }

    fn texts(value: &Value) -> Vec<String> {
        match value {
            Value::Object(entries) => {
                let own = entries.get("text").and_then(Value::as_str).map(str::to_owned);
                own.into_iter().chain(entries.values().flat_map(texts)).collect()
            }
            Value::Array(items) => items.iter().flat_map(texts).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn a_card_tells_all_in_order_and_parts_what_cards_would_work_out() {
        let full = message(
            &notice(vec![("{{DATE(2017-02-14T06:08:39Z)}} ${x}", true), ("", false)]),
            Timestamp::default(),
            Form::Full,
        );
        assert_eq!(
            texts(&full),
            [
                "🔴 Somebody knocked",
                "Hello.",
                "User",
                "{ {DATE(2017-02-14T06:08:39Z)}} $ {x}",
                "User",
                "(empty)",
                "Bye.",
                "1970-01-01T00:00:00.000Z · event 00000000-0000-0000-0000-000000000001 · incident 00000000-0000-0000-0000-000000000002",
            ]
        );
        let short = message(&notice(vec![("x", true)]), Timestamp::default(), Form::Short);
        assert_eq!(texts(&short).len(), 2);
    }

    #[test]
    fn what_has_no_room_is_left_out_from_the_end_and_counted() {
        let long = "界".repeat(300);
        let full = message(
            &notice(vec![(long.as_str(), true); 40]),
            Timestamp::default(),
            Form::Full,
        );
        assert!(
            cost(&full) <= MESSAGE_MAX && cost(&full) > MESSAGE_MAX - 3000,
            "{}",
            cost(&full)
        );
        let told = texts(&full);
        let values = told.iter().filter(|text| text.starts_with('界')).count();
        assert!(
            told.contains(&format!("cut: {} more facts stand in the event", 40 - values)),
            "{told:?}"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_of_facts_keep_the_bound_and_hide_nothing(
            values in prop::collection::vec((any::<String>(), 1_usize..200, any::<bool>()), 0..60),
        ) {
            let long: Vec<_> = values.iter().map(|(text, times, foreign)| (text.repeat(*times), *foreign)).collect();
            let facts = long.iter().map(|(text, foreign)| (text.as_str(), *foreign)).collect();
            let full = message(&notice(facts), Timestamp::default(), Form::Full);
            prop_assert!(cost(&full) <= MESSAGE_MAX);
            for text in texts(&full) {
                prop_assert!(is_clean(&text) && !text.trim().is_empty() && !text.contains("{{"), "{}", text);
            }
        }
    }
}
