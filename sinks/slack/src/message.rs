//! A notice as a Slack message.
//!
//! In: a [`Notice`] and when its event happened. Out: the JSON of a message, in full or as a short plain text.
//! Invariants, for any notice: 1. what a peer chose is in `text` elements of `rich_text` alone, which know no markup, and
//! escaped in the text for notifications; 2. no text is empty or above its bound; 3. the blocks as JSON, with every
//! character beyond ASCII written as escapes, have at most [`BLOCKS_MAX`] characters.

use serde_json::{Value, json};
use trapline_notice::{Fact, Notice, Weight};
use trapline_schemas::Timestamp;
use uuid::Uuid;

use crate::text::{defanged, escaped, literal};
use crate::threads::Thread;

/// Slack's bound of a header.
const HEADER_MAX: usize = 150;
/// Our own bound of an opening or a closing; Slack's for a section is 3,000.
const WORDS_MAX: usize = 600;
/// Bound of a fact's label.
const LABEL_MAX: usize = 60;
/// Bound of a fact's value.
const VALUE_MAX: usize = 300;
/// Bound of the text for notifications. Slack asks for less than 4,000.
const TEXT_MAX: usize = 3000;
/// Bound of all blocks. Slack refuses somewhat above 13,000 and does not say how it counts.
const BLOCKS_MAX: usize = 10_000;
/// What the JSON of a fact has beside its texts.
const FACT_COST: usize = 120;
/// What Slack calls the metadata of our messages.
pub(crate) const EVENT_TYPE: &str = "trapline_notice";

/// A message, ready to be sent in either form.
#[derive(Debug)]
pub(crate) struct Message {
    event: Uuid,
    pub(crate) incident: Option<Uuid>,
    pub(crate) weight: Weight,
    /// The whole notice for notifications and screen readers.
    text: String,
    /// The notice in a line, for when the rest was refused.
    short: String,
    blocks: Vec<Value>,
}

/// How much of a message is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// All of it.
    Full,
    /// A line of text: what cannot be refused for its looks.
    Short,
}

impl Message {
    pub(crate) fn new(notice: &Notice, at: Timestamp) -> Self {
        Self {
            event: notice.event,
            incident: notice.incident,
            weight: notice.weight,
            text: text(notice),
            short: short(notice),
            blocks: blocks(notice, at),
        }
    }

    /// The body for a webhook.
    pub(crate) fn body(&self, form: Form) -> Value {
        let mut body = json!({
            "text": match form { Form::Full => &self.text, Form::Short => &self.short },
            "mrkdwn": false,
            "unfurl_links": false,
            "unfurl_media": false,
        });
        if form == Form::Full {
            body["blocks"] = Value::Array(self.blocks.clone());
        }
        body
    }

    /// The body for `chat.postMessage`: into a thread if there is one, and shown in the channel as well if it is graver
    /// than all in there.
    pub(crate) fn body_for(&self, channel: &str, thread: Option<&Thread>, form: Form) -> Value {
        let mut body = self.body(form);
        body["channel"] = channel.into();
        if form == Form::Full {
            body["metadata"] = json!({ "event_type": EVENT_TYPE, "event_payload": self.payload() });
        }
        if let Some(thread) = thread {
            body["thread_ts"] = thread.root.as_str().into();
            body["reply_broadcast"] = (self.weight > thread.weight).into();
        }
        body
    }

    fn payload(&self) -> Value {
        let mut payload = json!({ "event": self.event.to_string(), "weight": word(self.weight) });
        if let Some(incident) = self.incident {
            payload["incident"] = incident.to_string().into();
        }
        payload
    }
}

/// A weight in metadata.
pub(crate) const fn word(weight: Weight) -> &'static str {
    match weight {
        Weight::News => "news",
        Weight::Contact => "contact",
        Weight::Intent => "intent",
        Weight::Proof => "proof",
    }
}

/// One mark of colour for a message.
const fn mark(weight: Weight) -> &'static str {
    match weight {
        Weight::News => "⚪",
        Weight::Contact => "🟡",
        Weight::Intent => "🟠",
        Weight::Proof => "🔴",
    }
}

fn title(notice: &Notice) -> String {
    format!("{} {}", mark(notice.weight), notice.subject)
}

fn text(notice: &Notice) -> String {
    let mut lines = vec![title(notice), notice.opening.clone()];
    for fact in &notice.facts {
        lines.push(format!("{}: {}", fact.label, value(fact)));
    }
    lines.push(notice.closing.clone());
    let mut text = String::new();
    for line in lines.iter().filter(|line| !line.trim().is_empty()) {
        let left = TEXT_MAX.saturating_sub(text.encode_utf16().count() + 1);
        if left == 0 {
            break;
        }
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&escaped(line, left));
    }
    text
}

fn short(notice: &Notice) -> String {
    format!("{} (event {})", escaped(&title(notice), HEADER_MAX), notice.event)
}

fn blocks(notice: &Notice, at: Timestamp) -> Vec<Value> {
    let header = plain("header", &title(notice), HEADER_MAX);
    let opening = plain("section", &notice.opening, WORDS_MAX);
    let closing = plain("section", &notice.closing, WORDS_MAX);
    let context = context(notice, at);
    let around: usize = [&header, &opening, &closing, &context]
        .into_iter()
        .flatten()
        .map(cost)
        .sum();
    let facts = facts(&notice.facts, BLOCKS_MAX.saturating_sub(around));
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

fn context(notice: &Notice, at: Timestamp) -> Option<Value> {
    let mut ids = format!("{at}  ·  event {}", notice.event);
    if let Some(incident) = notice.incident {
        ids = format!("{ids}  ·  incident {incident}");
    }
    Some(json!({ "type": "context", "elements": [plain_text(&escaped(&ids, HEADER_MAX))] }))
}

/// A line per fact, as many as have room.
fn facts(facts: &[Fact], room: usize) -> Option<Value> {
    let mut elements = Vec::with_capacity(2 * facts.len());
    let mut left = room.saturating_sub(2 * FACT_COST);
    for (at, fact) in facts.iter().enumerate() {
        let label = literal(fact.label, LABEL_MAX);
        let value = value(fact);
        let cost = FACT_COST + characters(&label) + characters(&value);
        let Some(after) = left.checked_sub(cost) else {
            let more = format!("{}and {} more, in the event", line_end(at), facts.len() - at);
            elements.push(json!({ "type": "text", "text": more }));
            break;
        };
        left = after;
        let label = format!("{}{label}   ", line_end(at));
        elements.push(json!({ "type": "text", "text": label, "style": { "bold": true } }));
        elements.push(match fact.foreign {
            true => json!({ "type": "text", "text": value, "style": { "code": true } }),
            false => json!({ "type": "text", "text": value }),
        });
    }
    let section = json!({ "type": "rich_text_section", "elements": elements });
    (!facts.is_empty()).then(|| json!({ "type": "rich_text", "elements": [section] }))
}

/// What ends the line before this one.
const fn line_end(at: usize) -> &'static str {
    if at == 0 { "" } else { "\n" }
}

/// A fact's value: never empty, and no link if a peer chose it.
fn value(fact: &Fact) -> String {
    let value = match fact.foreign {
        true => literal(&defanged(&fact.value), VALUE_MAX),
        false => literal(&fact.value, VALUE_MAX),
    };
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

    fn notice() -> Notice {
        let fact = |label, value: &str, foreign| Fact {
            label,
            value: value.to_owned(),
            foreign,
        };
        Notice {
            event: Uuid::from_u128(1),
            incident: Some(Uuid::from_u128(2)),
            weight: Weight::Intent,
            subject: "203.0.113.77 tries logins at ssh".to_owned(),
            opening: "Somebody & <friends> try the door.".to_owned(),
            facts: vec![
                fact("source", "203.0.113.77", false),
                fact("user tried", "<!channel> http://evil.example", true),
            ],
            closing: "Ask it-security about it.".to_owned(),
        }
    }

    fn message(notice: &Notice) -> Value {
        Message::new(notice, Timestamp::from_micros(1_772_619_370_007_999)).body(Form::Full)
    }

    #[test]
    fn a_notice_is_header_opening_facts_closing_and_context() {
        let body = message(&notice());
        let kinds: Vec<_> = body["blocks"]
            .as_array()
            .unwrap()
            .iter()
            .map(|block| &block["type"])
            .collect();
        assert_eq!(kinds, ["header", "section", "rich_text", "section", "context"]);
        assert_eq!(body["blocks"][0]["text"]["text"], "🟠 203.0.113.77 tries logins at ssh");
        let facts = &body["blocks"][2]["elements"][0]["elements"];
        assert_eq!(
            facts[3]["text"], "<!channel> http[:]//evil[.]example",
            "no markup is read there"
        );
        assert_eq!(facts[3]["style"]["code"], true);
        assert_eq!(facts[1].get("style"), None);
        let ids = body["blocks"][4]["elements"][0]["text"].as_str().unwrap();
        assert!(
            ids.starts_with("2026-03-04T10:16:10.007Z") && ids.contains("incident 00000000"),
            "{ids}"
        );
    }

    #[test]
    fn the_text_for_notifications_has_all_of_it_and_nothing_live() {
        assert_eq!(
            message(&notice())["text"],
            "🟠 203.0.113.77 tries logins at ssh\nSomebody &amp; &lt;friends&gt; try the door.\nsource: 203.0.113.77\n\
             user tried: &lt;!channel&gt; http[:]//evil[.]example\nAsk it-security about it."
        );
    }

    #[test]
    fn what_is_empty_is_left_out_or_said() {
        let mut empty = notice();
        empty.opening.clear();
        empty.closing = " ".to_owned();
        empty.facts.truncate(1);
        empty.facts[0].value.clear();
        let body = message(&empty);
        assert_eq!(body["blocks"].as_array().unwrap().len(), 3);
        assert_eq!(body["blocks"][1]["elements"][0]["elements"][1]["text"], "(empty)");
        empty.facts.clear();
        assert_eq!(message(&empty)["blocks"].as_array().unwrap().len(), 2);
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
        let body = message(&long);
        let facts = body["blocks"][2]["elements"][0]["elements"].as_array().unwrap();
        let (shown, last) = (facts.len() / 2, facts.last().unwrap()["text"].as_str().unwrap());
        assert_eq!(last, format!("\nand {} more, in the event", 60 - shown));
        assert!(shown > 10);
    }

    #[test]
    fn in_a_thread_only_what_is_graver_is_shown_in_the_channel() {
        let thread = |weight| Thread {
            root: crate::threads::MessageId::parse("1.2").unwrap(),
            weight,
        };
        let message = Message::new(&notice(), Timestamp::from_micros(0));
        let body = |weight| message.body_for("C1", Some(&thread(weight)), Form::Full);
        assert_eq!(body(Weight::Contact)["reply_broadcast"], true);
        assert_eq!(body(Weight::Intent)["reply_broadcast"], false);
        assert_eq!(body(Weight::Intent)["thread_ts"], "1.2");
        let (event, incident) = (Uuid::from_u128(1).to_string(), Uuid::from_u128(2).to_string());
        let payload = json!({ "event": event, "incident": incident, "weight": "intent" });
        assert_eq!(body(Weight::Proof)["metadata"]["event_payload"], payload);
        let short = message.body_for("C1", None, Form::Short);
        assert!(short.get("blocks").is_none() && short.get("metadata").is_none() && short.get("thread_ts").is_none());
    }

    fn any_notice() -> impl Strategy<Value = Notice> {
        let hard = prop_oneof![".{0,400}", "[\u{1F600}-\u{1F640}]{0,400}", "[<>&\"\\\\/]{0,400}"];
        let fact = (hard.clone(), any::<bool>());
        let facts = prop::collection::vec(fact, 0..50);
        (hard.clone(), hard.clone(), facts, hard).prop_map(|(subject, opening, facts, closing)| Notice {
            subject,
            opening,
            facts: facts
                .into_iter()
                .map(|(value, foreign)| Fact {
                    label: "user <tried>",
                    value,
                    foreign,
                })
                .collect(),
            closing,
            ..notice()
        })
    }

    proptest! {
        #[test]
        fn any_notice_keeps_the_bounds(notice in any_notice()) {
            let body = message(&notice);
            let blocks = body["blocks"].as_array().unwrap();
            prop_assert!(blocks.iter().map(cost).sum::<usize>() <= BLOCKS_MAX);
            prop_assert!(body["text"].as_str().unwrap().encode_utf16().count() <= TEXT_MAX);
            prop_assert!(!body["text"].as_str().unwrap().contains(['<', '>']));
        }
    }
}
