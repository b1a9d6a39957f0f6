//! An event as PagerDuty takes it.
//!
//! In: an event and the notice of it. Out: a JSON object within PagerDuty's bounds; the routing key is put into it by
//! whoever sends it, so that nothing here can show it.

use serde_json::{Map, Value, json};
use trapline_notice::{Notice, Weight};
use trapline_schemas::derive::actions::Subject;
use trapline_schemas::text::clean_within;
use trapline_schemas::{Action, Event, Field, Format};
use trapline_sink::Parcel;

/// Most bytes of a body with details; PagerDuty takes 512 KB.
pub(crate) const BODY_MAX: usize = 256 << 10;
/// Most bytes of the whole event in the details.
const EVENT_MAX: usize = 128 << 10;
/// PagerDuty's bound of a summary, in characters.
const SUMMARY_MAX: usize = 1024;
/// Our bound of source, component, group, class and client.
const WORD_MAX: usize = 200;
/// PagerDuty's bound of a key.
const KEY_MAX: usize = 255;
/// Bound of a detail, in characters: of several facts of one name, and of words of ours.
const DETAIL_MAX: usize = 2000;

/// How much of an event is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// All of it.
    Full,
    /// What cannot be refused for its looks.
    Short,
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
    /// Of what trapline says of itself by whether something is wrong: that it started is no reason to wake anybody.
    fn of(&self, action: Action, weight: Weight) -> &'static str {
        let row = action.row();
        match weight {
            _ if row.subject == Subject::Health && row.outcome == "failure" => self.news,
            _ if row.subject == Subject::Health => "info",
            Weight::News => self.news,
            Weight::Contact => self.contact,
            Weight::Intent => self.intent,
            Weight::Proof => self.proof,
        }
    }
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
    /// The body, but for the routing key.
    pub(crate) fn body(&self, parcel: &Parcel, notice: &Notice, form: Form) -> Value {
        let event = &*parcel.event;
        let key = self.key(event);
        if matches!(event.action, Action::IncidentClosed | Action::SinkRecovered) {
            return json!({ "event_action": "resolve", "dedup_key": key });
        }
        json!({
            "event_action": "trigger",
            "dedup_key": key,
            "client": format!("trapline on {}", self.observer(event)),
            "payload": self.payload(parcel, notice, form),
        })
    }

    /// What makes events one alert: the incident, the sink that failed, else the event itself.
    fn key(&self, event: &Event) -> String {
        let id = event.uuid(Field::IncidentId).unwrap_or(event.id);
        match (event.action, event.text(Field::SinkName)) {
            (Action::SinkFailed | Action::SinkRecovered, Some(sink)) => {
                line(&format!("trapline/{}/sink/{sink}", self.observer(event)), KEY_MAX)
            }
            _ => id.to_string(),
        }
    }

    /// Never blank: PagerDuty refuses an event without a source.
    fn observer(&self, event: &Event) -> String {
        let own = event.text(Field::ObserverName).map_or("", |name| name);
        let names = [own, &self.observer, "trapline"];
        let name = names.into_iter().find(|name| !name.trim().is_empty());
        line(name.unwrap_or_default(), WORD_MAX)
    }

    fn payload(&self, parcel: &Parcel, notice: &Notice, form: Form) -> Value {
        let event = &*parcel.event;
        let address = event.ip(Field::SourceIp).map(|ip| ip.to_string());
        let hidden = event.text(Field::SourceAddress).filter(|text| !text.trim().is_empty());
        let source = address
            .or(hidden.map(|text| line(text, WORD_MAX)))
            .unwrap_or_else(|| self.observer(event));
        let mut payload = json!({
            "summary": line(&notice.subject, SUMMARY_MAX),
            "source": source,
            "severity": self.severities.of(event.action, notice.weight),
            "timestamp": event.at.to_string(),
            "class": line(event.action_name(), WORD_MAX),
        });
        for (name, field) in [("component", Field::DecoyId), ("group", Field::Site)] {
            if let Some(text) = event.text(field).filter(|text| !text.is_empty()) {
                payload[name] = line(text, WORD_MAX).into();
            }
        }
        payload["custom_details"] = match form {
            Form::Full => self.details(parcel, notice),
            Form::Short => json!({ "event": event.id.to_string() }),
        };
        payload
    }

    /// The facts by name, the words around them, and the whole event if it is wanted and has room.
    fn details(&self, parcel: &Parcel, notice: &Notice) -> Value {
        let mut details = Map::new();
        for (name, words) in [("what", &notice.opening), ("what to do", &notice.closing)] {
            add(&mut details, name, words);
        }
        for fact in &notice.facts {
            add(&mut details, fact.label, &fact.shown());
        }
        let whole = self.whole.and_then(|form| parcel.rendered_within(form, EVENT_MAX));
        if let Some(event) = whole.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
            details.insert("whole event".to_owned(), event);
        }
        Value::Object(details)
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

/// A text that hides nothing, at most so many characters.
fn line(text: &str, chars_max: usize) -> String {
    clean_within(text.as_bytes(), usize::MAX)
        .chars()
        .take(chars_max)
        .collect()
}
