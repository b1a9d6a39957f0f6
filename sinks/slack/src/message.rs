//! A notice as a Slack message.
//!
//! In: a [`Notice`] and when its event happened. Out: the JSON of a message, in full or as a short plain text.
//! Invariants, for any notice: 1. what a peer chose is in `text` elements of `rich_text` alone, which know no markup,
//! and escaped in the text for notifications; 2. no text is empty or above its bound; 3. the blocks as JSON, with every
//! character beyond ASCII written as escapes, have at most [`BLOCKS_MAX`] characters.

use serde_json::{Value, json};
use trapline_notice::{Fact, Notice, Weight};
use trapline_schemas::Timestamp;
use uuid::Uuid;

use crate::text::{escaped, literal};
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
        Weight::News => "🔵",
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
    lines.extend(told(notice).map(|fact| format!("{}: {}", fact.label, fact.value)));
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
struct Line {
    label: String,
    value: String,
    foreign: bool,
}

/// The facts that are told; ids stand at the foot.
fn told(notice: &Notice) -> impl Iterator<Item = Line> {
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
                fact("times", "3", false),
                fact("incident", "00000000-0000-0000-0000-000000000002", false),
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
        let (ours, theirs) = (
            &body["blocks"][2]["elements"][0],
            &body["blocks"][2]["elements"][1]["elements"],
        );
        assert_eq!(ours["type"], "rich_text_preformatted");
        assert_eq!(ours["elements"][0]["text"], "source  203.0.113.77");
        assert_eq!(ours["elements"][1]["text"], "\ntimes   3");
        assert_eq!(theirs[0]["text"], "user tried  ");
        let value = json!("<!channel> hxxp[:]//evil[.]example");
        assert_eq!(
            (&theirs[1]["text"], &theirs[1]["style"]["code"]),
            (&value, &json!(true))
        );
        let foot = body["blocks"][4]["elements"].as_array().unwrap();
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
    fn the_text_for_notifications_has_all_of_it_and_nothing_live() {
        assert_eq!(
            message(&notice())["text"],
            "🟠 203.0.113.77 tries logins at ssh\nSomebody &amp; &lt;friends&gt; try the door.\nsource: 203.0.113.77\n\
             user tried: &lt;!channel&gt; hxxp[:]//evil[.]example\ntimes: 3\nAsk it-security about it."
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
        assert_eq!(
            body["blocks"][1]["elements"][0]["elements"][0]["text"],
            "source  (empty)"
        );
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
        for foreign in [false, true] {
            long.facts.iter_mut().for_each(|fact| fact.foreign = foreign);
            let facts = message(&long)["blocks"][2].to_string();
            let shown = facts.matches(&"v".repeat(300)).count();
            let more = format!("and {} more, in the event", 60 - shown);
            assert!(shown > 10 && facts.contains(&more), "{facts}");
        }
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
