//! A strict PagerDuty on loopback, with faults to order.
//!
//! It holds every event against the documented fields, types, words and lengths, takes what is good into alerts by
//! `dedup_key`, and answers as PagerDuty would.
#![allow(dead_code, unused_imports, reason = "each test file uses the part it needs")]

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use trapline_schemas::{Event, Field, Format};
use trapline_sink::StreamSink;
use trapline_sink::conformance::samples;
pub use trapline_sink::conformance::samples::one as batch;
use trapline_sink::conformance::web::{Reply, Request, Service};
use trapline_sink::dial::Resolver;
use trapline_sink_pagerduty::SINK;
use uuid::Uuid;

pub const KEY: &str = "SECRETSECRET0123456789abcdef0123";

/// What a sink of PagerDuty may hold, by path: the longest text, or none where it is no text.
const FIELDS: &[(&str, usize)] = &[
    ("routing_key", 32),
    ("event_action", 16),
    ("dedup_key", 255),
    ("client", 255),
    ("client_url", 2048),
];
const PAYLOAD: &[(&str, usize)] = &[
    ("summary", 1024),
    ("source", 255),
    ("severity", 16),
    ("timestamp", 40),
    ("component", 255),
    ("group", 255),
    ("class", 255),
];

/// The other side of the wire.
#[derive(Debug, Default)]
pub struct PagerDuty {
    /// An event that holds this text is refused for its looks, and so is the short form of it.
    pub poison: Option<&'static str>,
    /// Refuses details that have this name.
    pub no_detail: Option<&'static str>,
    /// Refuses a payload that has this field.
    pub no_field: Option<&'static str>,
    pub poisoned: Vec<Value>,
    /// Events taken, in order.
    pub taken: Vec<Value>,
    /// Alerts by key: whether they are open, and how often they were triggered.
    pub alerts: BTreeMap<String, (bool, usize)>,
}

impl PagerDuty {
    /// Ids of the events told, in order, doubles included.
    pub fn ids(&self) -> Vec<Uuid> {
        let id = |event: &Value| Uuid::try_parse(event["payload"]["custom_details"]["event"].as_str()?).ok();
        self.taken.iter().filter_map(id).collect()
    }

    fn take(&mut self, event: Value) -> Reply {
        let errors = self.errors(&event);
        if !errors.is_empty() {
            let body = json!({ "status": "invalid event", "message": "Event object is invalid", "errors": errors });
            return Reply::json(400, &body);
        }
        let key = event["dedup_key"].as_str().unwrap().to_owned();
        let alert = self.alerts.entry(key.clone()).or_default();
        match event["event_action"].as_str() {
            Some("trigger") => *alert = (true, alert.1 + 1),
            _ => alert.0 = false,
        }
        self.taken.push(event);
        Reply::json(
            202,
            &json!({ "status": "success", "message": "Event processed", "dedup_key": key }),
        )
    }

    fn errors(&mut self, event: &Value) -> Vec<String> {
        let mut errors = Vec::new();
        let key = event["routing_key"].as_str().unwrap_or_default();
        if key.len() != 32 {
            errors.push("Length of 'routing_key' is incorrect (should be 32 characters)".to_owned());
        }
        unknown(event, FIELDS, &["payload", "links", "images"], &mut errors);
        match event["event_action"].as_str() {
            Some("trigger") => self.payload_errors(&event["payload"], &mut errors),
            Some("acknowledge" | "resolve") if event["dedup_key"].is_string() => {}
            Some("acknowledge" | "resolve") => errors.push("'dedup_key' is missing or blank".to_owned()),
            _ => errors.push("'event_action' is missing or invalid".to_owned()),
        }
        errors
    }

    fn payload_errors(&mut self, payload: &Value, errors: &mut Vec<String>) {
        for name in ["summary", "source", "severity"] {
            if payload[name].as_str().is_none_or(str::is_empty) {
                errors.push(format!("'payload.{name}' is missing or blank"));
            }
        }
        if !["critical", "error", "warning", "info"].contains(&payload["severity"].as_str().unwrap_or_default()) {
            errors.push("'payload.severity' is invalid (must be one of the following: 'critical', …)".to_owned());
        }
        let at = payload["timestamp"].as_str().unwrap_or("1970-01-01T00:00:00Z");
        if at.len() < 20 || !at.ends_with('Z') || at.as_bytes()[10] != b'T' {
            errors.push("'payload.timestamp' is invalid".to_owned());
        }
        unknown(payload, PAYLOAD, &["custom_details"], errors);
        let details = &payload["custom_details"];
        if self.no_detail.is_some_and(|name| details.get(name).is_some()) {
            errors.push("'payload.custom_details' is invalid".to_owned());
        }
        if self.no_field.is_some_and(|name| payload.get(name).is_some()) {
            errors.push("'payload' has a field that is invalid".to_owned());
        }
        let holds = self.poison.is_some_and(|poison| payload.to_string().contains(poison));
        if holds || self.poisoned.contains(&details["event"]) {
            self.poisoned.push(details["event"].clone());
            errors.push("'payload' is invalid".to_owned());
        }
    }
}

/// What is not documented, not a text, or too long.
fn unknown(object: &Value, fields: &[(&str, usize)], others: &[&str], errors: &mut Vec<String>) {
    for (name, value) in object.as_object().into_iter().flatten() {
        let bound = fields.iter().find(|(known, _)| known == name).map(|(_, bound)| *bound);
        let is_good = match (bound, value.as_str()) {
            (Some(bound), Some(text)) => text.chars().count() <= bound,
            (None, _) => others.contains(&name.as_str()) && (value.is_object() || value.is_array()),
            (Some(_), None) => false,
        };
        if !is_good {
            errors.push(format!("'{name}' is invalid"));
        }
    }
}

impl Service for PagerDuty {
    fn answer(&mut self, request: &Request) -> Reply {
        if (request.method.as_str(), request.target.as_str()) != ("POST", "/v2/enqueue") {
            return Reply::text(404, "<html>no such page</html>");
        }
        if request.header("content-type") != "application/json" || request.body.len() > 512_000 {
            return Reply::status(if request.body.len() > 512_000 { 413 } else { 415 });
        }
        match request.json() {
            event @ Value::Object(_) => self.take(event),
            _ => Reply::json(
                400,
                &json!({ "status": "invalid event", "message": "Event is not JSON" }),
            ),
        }
    }
}

/// A sink for the configuration.
pub fn sink_with(toml: &str, resolver: Resolver) -> Arc<dyn StreamSink> {
    samples::sink(&SINK, toml, Format::Ecs, resolver)
}

/// A sink for the server at a URL, with further keys.
pub fn sink(url: &str, keys: &str) -> Arc<dyn StreamSink> {
    let toml = format!("endpoint = \"{url}\"\nrouting_key = \"{KEY}\"\n{keys}");
    sink_with(&toml, Resolver::default())
}

/// A touch of an incident, with this level, at a site.
pub fn event(incident: u128, level: &str) -> Event {
    let mut event = samples::touch(incident, level);
    event.set(Field::Site, "lyon");
    event
}
