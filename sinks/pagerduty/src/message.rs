//! An event as PagerDuty takes it.
//!
//! In: an event and the notice of it. Out: a JSON object within PagerDuty's bounds; the routing key is put into it by
//! whoever sends it, so that nothing here can show it.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use trapline_notice::{Notice, Weight, defang};
use trapline_schemas::derive::actions::Subject;
use trapline_schemas::text::clean_within;
use trapline_schemas::{Action, Event, Field, Format};
use trapline_sink::Parcel;
use trapline_sink::courier::Form;

/// Most bytes of a body; PagerDuty takes 512 KB.
pub(crate) const BODY_MAX: usize = 256 << 10;
/// Most bytes of the whole event in the details, before its texts are taken apart, which may make them three times as
/// long.
const EVENT_MAX: usize = 64 << 10;
/// PagerDuty's bound of a summary, in characters.
const SUMMARY_MAX: usize = 1024;
/// Our bound of source, component, group, class and client.
const WORD_MAX: usize = 200;
/// PagerDuty's bound of a key.
const KEY_MAX: usize = 255;
/// Bound of a detail, in characters: of several facts of one name, and of words of ours.
const DETAIL_MAX: usize = 2000;

/// An event's bodies, but for the routing key.
#[derive(Debug)]
pub(crate) struct Letter {
    full: Value,
    /// What cannot be refused for its looks; none where the full one is as short.
    pub(crate) short: Option<Value>,
}

impl Letter {
    pub(crate) fn body(&self, form: Form) -> Value {
        match (form, &self.short) {
            (Form::Short, Some(short)) => short.clone(),
            _ => self.full.clone(),
        }
    }
}

/// Which severity a notice has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Severities {
    pub(crate) news: &'static str,
    pub(crate) contact: &'static str,
    pub(crate) intent: &'static str,
    pub(crate) proof: &'static str,
}

impl Severities {
    /// Of what trapline says of itself by whether something is wrong: that it started is no reason to wake anybody, nor
    /// is a count of such.
    fn of(&self, event: &Event, weight: Weight) -> &'static str {
        match weight {
            _ if is_calm(event.action) => "info",
            _ if event.action.row().subject == Subject::Health => self.news,
            Weight::News if is_count_of_calm(event) => "info",
            Weight::News => self.news,
            Weight::Contact => self.contact,
            Weight::Intent => self.intent,
            Weight::Proof => self.proof,
        }
    }
}

/// Whether it is of trapline itself, and nothing is wrong.
fn is_calm(action: Action) -> bool {
    let row = action.row();
    row.subject == Subject::Health && row.outcome != "failure"
}

/// Whether all that a digest counted is calm. It says so by name: `listener-started=14`.
fn is_count_of_calm(event: &Event) -> bool {
    let Some(trapline_schemas::Value::Texts(tally)) = event.get(Field::DigestActions) else {
        return false;
    };
    let named = |entry: &str| Action::find(entry.rsplit_once('=').map_or(entry, |(name, _)| name));
    tally.iter().all(|entry| named(entry).is_some_and(is_calm))
}

/// What an alert is made of besides its event.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) severities: Severities,
    /// The form of the whole event in the details, if it is wanted.
    pub(crate) whole: Option<Format>,
    /// Name of the observer, where the event has none.
    pub(crate) observer: String,
}

impl Shape {
    /// The bodies of an event.
    pub(crate) fn letter(&self, parcel: &Parcel, notice: &Notice) -> Letter {
        let event = &*parcel.event;
        if matches!(event.action, Action::IncidentClosed | Action::SinkRecovered) {
            let full = json!({ "event_action": "resolve", "dedup_key": self.key(event) });
            return Letter { full, short: None };
        }
        let trigger = |payload: Value| {
            json!({
                "event_action": "trigger",
                "dedup_key": self.key(event),
                "client": format!("trapline on {}", self.observer(event)),
                "payload": payload,
            })
        };
        let mut full = trigger(self.payload(parcel, notice));
        if full.to_string().len() > BODY_MAX {
            full["payload"]["custom_details"] = Value::Object(details(notice));
        }
        let short = Some(trigger(self.bare(event, notice)));
        Letter { full, short }
    }

    /// What makes events one alert: the incident, the sink that failed, else the event itself.
    fn key(&self, event: &Event) -> String {
        let id = event.uuid(Field::IncidentId).unwrap_or(event.id);
        match (event.action, event.text(Field::SinkName)) {
            (Action::SinkFailed | Action::SinkRecovered, Some(sink)) => {
                let name = self.name(event);
                distinct(&line(&format!("trapline/{name}/sink/{sink}"), usize::MAX))
            }
            _ => id.to_string(),
        }
    }

    /// Never blank: PagerDuty refuses an event without a source.
    fn observer(&self, event: &Event) -> String {
        line(self.name(event), WORD_MAX)
    }

    fn name<'e>(&'e self, event: &'e Event) -> &'e str {
        let own = event.text(Field::ObserverName).map_or("", |name| name);
        let names = [own, &self.observer];
        names
            .into_iter()
            .find(|name| !name.trim().is_empty())
            .unwrap_or("trapline")
    }

    /// What PagerDuty asks for, and no more.
    fn bare(&self, event: &Event, notice: &Notice) -> Value {
        let address = event.ip(Field::SourceIp).map(|ip| ip.to_string());
        let hidden = event.text(Field::SourceAddress).filter(|text| !text.trim().is_empty());
        let source = address
            .or(hidden.map(|text| line(text, WORD_MAX)))
            .unwrap_or_else(|| self.observer(event));
        json!({
            "summary": line(&notice.subject, SUMMARY_MAX),
            "source": source,
            "severity": self.severities.of(event, notice.weight),
            "custom_details": { "event": event.id.to_string() },
        })
    }

    fn payload(&self, parcel: &Parcel, notice: &Notice) -> Value {
        let event = &*parcel.event;
        let mut payload = self.bare(event, notice);
        payload["timestamp"] = event.at.to_string().into();
        payload["class"] = line(event.action_name(), WORD_MAX).into();
        for (name, field) in [("component", Field::DecoyId), ("group", Field::Site)] {
            if let Some(text) = event.text(field).filter(|text| !text.trim().is_empty()) {
                payload[name] = line(text, WORD_MAX).into();
            }
        }
        let mut details = details(notice);
        let whole = self.whole.and_then(|form| parcel.rendered_within(form, EVENT_MAX));
        if let Some(event) = whole.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
            details.insert("whole event".to_owned(), without_links(event));
        }
        payload["custom_details"] = Value::Object(details);
        payload
    }
}

/// The facts by name, and the words around them.
fn details(notice: &Notice) -> Map<String, Value> {
    let mut details = Map::new();
    for (name, words) in [("what", &notice.opening), ("what to do", &notice.closing)] {
        add(&mut details, name, words);
    }
    for fact in &notice.facts {
        add(&mut details, fact.label, &fact.shown());
    }
    details
}

/// JSON in which no text is a link: PagerDuty makes one of whatever looks like it, and hands it on to mail and chat.
fn without_links(json: Value) -> Value {
    match json {
        Value::String(text) => defang(&text).into(),
        Value::Array(items) => items.into_iter().map(without_links).collect(),
        Value::Object(entries) => {
            let entries = entries.into_iter().map(|(name, value)| (name, without_links(value)));
            Value::Object(entries.collect())
        }
        other => other,
    }
}

/// Adds a detail; facts of one name stand behind each other.
fn add(details: &mut Map<String, Value>, name: &str, text: &str) {
    if text.trim().is_empty() {
        return;
    }
    let text = match details.get(name).and_then(Value::as_str) {
        Some(before) => format!("{before}; {text}"),
        None => text.to_owned(),
    };
    details.insert(name.to_owned(), line(&text, DETAIL_MAX).into());
}

/// A text that hides nothing, at most so many characters; if it was cut it says so.
fn line(text: &str, chars_max: usize) -> String {
    clean_within(text.as_bytes(), chars_max).into()
}

/// A key of at most [`KEY_MAX`] characters that no other text has: of a longer one, its beginning and a hash of all.
fn distinct(text: &str) -> String {
    if text.chars().count() <= KEY_MAX {
        return text.to_owned();
    }
    let hash: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
    let start: String = text.chars().take(KEY_MAX - hash.len() - 1).collect();
    format!("{start}/{hash}")
}
