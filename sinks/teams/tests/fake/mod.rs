//! A strict workflow of Power Automate on loopback: it holds every message against what Teams takes, and against what
//! must not be live in it, keeps what it took, and answers as a workflow does.
#![allow(dead_code, unused_imports, reason = "each test file uses the part it needs")]

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::{Value, json};
use trapline_schemas::Format;
use trapline_schemas::text::is_clean;
use trapline_sink::StreamSink;
use trapline_sink::conformance::samples;
pub use trapline_sink::conformance::samples::{one, touch as event};
use trapline_sink::conformance::web::{Reply, Request, Service};
use trapline_sink::dial::Resolver;
use trapline_sink_teams::SINK;
use uuid::Uuid;

pub const PATH: &str =
    "/workflows/SECRET/triggers/manual/paths/invoke?api-version=1&sp=%2Ftriggers%2Fmanual%2Frun&sig=SECRET";

/// The other side of the wire.
#[derive(Debug, Default)]
pub struct Workflow {
    /// A message that holds this text is refused, and so is every other form of it.
    pub poison: Option<&'static str>,
    /// Statuses and codes by which the next messages are refused.
    pub refusals: VecDeque<(u16, &'static str)>,
    /// Messages, in order.
    pub kept: Vec<Value>,
    /// What was wrong with requests, in words.
    pub wrong: Vec<String>,
    pub poisoned: Vec<Uuid>,
}

impl Workflow {
    pub fn ids(&self) -> Vec<Uuid> {
        self.kept.iter().filter_map(event_of).collect()
    }

    fn is_poisoned(&mut self, message: &Value) -> bool {
        let Some((poison, id)) = self.poison.zip(event_of(message)) else {
            return false;
        };
        if message.to_string().contains(poison) {
            self.poisoned.push(id);
        }
        self.poisoned.contains(&id)
    }
}

/// As a workflow refuses.
pub fn refusal(status: u16, code: &str) -> Reply {
    Reply::json(
        status,
        &json!({ "error": { "code": code, "message": "Could not execute the workflow." } }),
    )
}

impl Service for Workflow {
    fn answer(&mut self, request: &Request) -> Reply {
        if request.method == "HEAD" {
            return Reply::status(404);
        }
        if request.method != "POST" || request.target != PATH {
            return refusal(401, "DirectApiAuthorizationRequired");
        }
        if let Some((status, code)) = self.refusals.pop_front() {
            return refusal(status, code);
        }
        let message = request.json();
        self.wrong.extend(wrong(&message, request.body.len()));
        if self.is_poisoned(&message) {
            return refusal(400, "InvalidRequestContent");
        }
        self.kept.push(message);
        Reply::status(202)
    }
}

/// The id of the event that a message is about.
pub fn event_of(message: &Value) -> Option<Uuid> {
    let text = message.to_string();
    let mut behind = text.split("event ").skip(1);
    behind.find_map(|rest| Uuid::try_parse(rest.get(..36)?).ok())
}

/// What Teams would not take, or would make live.
pub fn wrong(message: &Value, bytes: usize) -> Vec<String> {
    let mut wrong = Vec::new();
    let card = message.pointer("/attachments/0/content").cloned().unwrap_or_default();
    let is_card = message["type"] == "message"
        && message["attachments"][0]["contentType"] == "application/vnd.microsoft.card.adaptive"
        && card["type"] == "AdaptiveCard"
        && card["version"] == "1.4";
    if !is_card {
        wrong.push("no message with a card".to_owned());
    }
    // Teams does not say how it counts: the request, or the card as text within JSON, in UTF-8 or UTF-16.
    let nested = Value::from(message.to_string()).to_string();
    for bytes in [bytes, nested.len(), 2 * nested.encode_utf16().count()] {
        if bytes > 28_000 {
            wrong.push(format!("{bytes} bytes"));
        }
    }
    if card["msteams"].get("entities").is_some() {
        wrong.push("an entity, which makes a mention".to_owned());
    }
    let body = card["body"].as_array().cloned().unwrap_or_default();
    if body.is_empty() {
        wrong.push("a card with nothing in it".to_owned());
    }
    body.iter().for_each(|element| look(element, &mut wrong));
    for text in [&message["summary"], &card["fallbackText"]] {
        look_at_text(text, false, &mut wrong);
    }
    wrong
}

fn look(element: &Value, wrong: &mut Vec<String>) {
    let all = |key: &str| element[key].as_array().cloned().unwrap_or_default();
    match element["type"].as_str() {
        Some("Container" | "Column") => all("items").iter().for_each(|element| look(element, wrong)),
        Some("ColumnSet") => all("columns").iter().for_each(|element| look(element, wrong)),
        Some("RichTextBlock") => {
            if all("inlines").is_empty() {
                wrong.push("a block without a text".to_owned());
            }
            for run in all("inlines") {
                look_at_text(&run["text"], run["fontType"] == "Monospace", wrong);
                if run["type"] != "TextRun" || run.get("selectAction").is_some() {
                    wrong.push(format!("no plain run: {run}"));
                }
            }
        }
        other => wrong.push(format!("an element that may be live: {other:?}")),
    }
}

/// A text, perhaps with a part that a peer chose; our own may name an address.
fn look_at_text(text: &Value, foreign: bool, wrong: &mut Vec<String>) {
    let text = text.as_str().unwrap_or_default();
    let addresses = ["http://", "https://", "evil.example"];
    let is_address = foreign && addresses.iter().any(|word| text.contains(word));
    let is_live = is_address || text.contains("{{") || text.contains("${");
    if text.trim().is_empty() || !is_clean(text) || is_live {
        wrong.push(format!("a text that is empty, hides something or is live: {text:?}"));
    }
}

/// A sink for the configuration.
pub fn sink_with(toml: &str, resolver: Resolver) -> Arc<dyn StreamSink> {
    samples::sink(&SINK, toml, Format::Text, resolver)
}

/// A sink for a workflow at this base URL.
pub fn sink_at(base: &str) -> Arc<dyn StreamSink> {
    let toml = format!("webhook_url = \"{base}{PATH}\"\ninterval = \"250ms\"\ntimeout = \"1s\"");
    sink_with(&toml, Resolver::default())
}
