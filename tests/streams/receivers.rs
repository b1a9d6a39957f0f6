//! Everything that speaks HTTP, behind one server: each destination has the first segment of the path for itself, takes
//! what its documentation says it takes, and keeps the ids of the events it was sent.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use trapline_sink::conformance::web::{Reply, Request, Server, Service};

use crate::desk::{Desk, Ticket, Vendor};
use crate::harness::killer::Killer;

/// A token that every receiver knows.
pub const TOKEN: &str = "11111111-2222-3333-4444-555555555555";

/// What became of a request: ids of the events in it, and the answer.
type Taken = (Vec<String>, Reply);

/// A receiver, by the first segment of its path.
type Receiver = (&'static str, fn(&Request) -> Taken);

const RECEIVERS: &[Receiver] = &[
    ("azure", azure),
    ("elastic", elastic),
    ("hec", hec),
    ("otlp", otlp),
    ("pagerduty", pagerduty),
    ("slack", slack),
    ("teams", teams),
    ("webhook", webhook),
];

/// All receivers behind their server.
pub type Web = Server<Killer<Receivers>>;

/// All receivers.
pub struct Receivers {
    held: BTreeMap<String, Vec<String>>,
    bodies: BTreeMap<String, Vec<Value>>,
    /// Where cases are, at TheHive.
    desks: BTreeMap<&'static str, Desk>,
    /// What nobody could take, in words.
    wrong: Vec<String>,
}

impl Default for Receivers {
    fn default() -> Self {
        let desks = ["desk", "corner"].map(|name| (name, Desk::new(Vendor::TheHive)));
        Self {
            held: BTreeMap::new(),
            bodies: BTreeMap::new(),
            desks: desks.into(),
            wrong: Vec::new(),
        }
    }
}

impl Service for Receivers {
    fn answer(&mut self, request: &Request) -> Reply {
        let name = request.path().split('/').nth(1).unwrap_or_default().to_owned();
        if let Some(desk) = self.desks.get_mut(name.as_str()) {
            let reply = at_desk(desk, &name, request);
            self.wrong.append(&mut desk.wrong);
            return reply;
        }
        let Some((_, take)) = RECEIVERS.iter().find(|(known, _)| *known == name) else {
            self.wrong.push(format!("nobody is at {}", request.target));
            return Reply::status(404);
        };
        let (ids, reply) = take(request);
        if reply.status >= 300 {
            self.wrong
                .push(format!("{} was answered {}", request.target, reply.status));
        } else if request.method != "GET" {
            self.bodies.entry(name.clone()).or_default().push(request.json());
        }
        self.held.entry(name).or_default().extend(ids);
        reply
    }
}

/// The ids that a receiver holds, doubles included.
pub fn held(server: &Web, name: &str) -> Vec<String> {
    server.with(|web| web.service.held.get(name).cloned().unwrap_or_default())
}

/// The bodies that a receiver took; `Null` where it is no JSON value.
pub fn bodies(server: &Web, name: &str) -> Vec<Value> {
    server.with(|web| web.service.bodies.get(name).cloned().unwrap_or_default())
}

/// The cases of a desk.
pub fn tickets(server: &Web, name: &str) -> Vec<Ticket> {
    server.with(|web| web.service.desks[name].there())
}

/// A desk knows nothing of the path that it is behind. Whatever it refuses is wrong.
fn at_desk(desk: &mut Desk, name: &str, request: &Request) -> Reply {
    let mut inner = request.clone();
    inner.target = request.target.replacen(&format!("/{name}"), "", 1);
    let reply = desk.answer(&inner);
    if reply.status >= 300 {
        desk.wrong.push(format!(
            "{} {} was answered {}",
            request.method, request.target, reply.status
        ));
    }
    reply
}

/// What nobody could take.
pub fn wrong(server: &Web) -> Vec<String> {
    server.with(|web| web.service.wrong.clone())
}

/// Kills a process as soon as this receiver of people has been told something by it.
pub fn kill_at(server: &Web, pid: u32, name: &str) {
    let begin = format!("/{name}/");
    let is_told = |path: &str| !path.contains("/api/v1/") || path.ends_with("/comment");
    server.with(|web| web.arm(pid, move |path| path.starts_with(&begin) && is_told(path)));
}

/// The JSON values of a body, one after the other.
fn values(request: &Request) -> Vec<Value> {
    let content = request.content().unwrap_or_default();
    let values = serde_json::Deserializer::from_slice(&content).into_iter::<Value>();
    values.map(Result::unwrap).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn hec(request: &Request) -> Taken {
    if request.header("authorization") != format!("Splunk {TOKEN}") {
        return (Vec::new(), Reply::status(403));
    }
    let ids = values(request)
        .iter()
        .map(|object| text(&object["fields"]["event_id"]))
        .collect();
    (ids, Reply::json(200, &json!({"text": "Success", "code": 0})))
}

fn slack(_request: &Request) -> Taken {
    (Vec::new(), Reply::text(200, "ok"))
}

/// Standard Webhooks, one event a request.
fn webhook(request: &Request) -> Taken {
    let signed = request.header("webhook-signature").starts_with("v1,") && !request.header("webhook-id").is_empty();
    let ids = values(request)
        .iter()
        .map(|event| text(&event["event"]["id"]))
        .collect();
    (ids, Reply::status(if signed { 204 } else { 401 }))
}

/// `_bulk`: each action line names the document on the next one.
fn elastic(request: &Request) -> Taken {
    if request.method == "GET" {
        return (
            Vec::new(),
            Reply::json(
                200,
                &json!({"version": {"number": "8.19.0"}, "tagline": "You Know, for Search"}),
            ),
        );
    }
    let lines = values(request);
    let ids: Vec<_> = lines
        .iter()
        .step_by(2)
        .map(|action| text(&action["create"]["_id"]))
        .collect();
    let items: Vec<_> = ids
        .iter()
        .map(|id| json!({"create": {"_index": "x", "_id": id, "status": 201, "result": "created"}}))
        .collect();
    (ids, Reply::json(200, &json!({"errors": false, "items": items})))
}

/// Azure: tokens, and records of a table.
fn azure(request: &Request) -> Taken {
    if request.path().ends_with("/oauth2/v2.0/token") {
        let token = json!({"token_type": "Bearer", "expires_in": 3599, "access_token": TOKEN});
        return (Vec::new(), Reply::json(200, &token));
    }
    if request.header("authorization") != format!("Bearer {TOKEN}") {
        return (Vec::new(), Reply::status(401));
    }
    let records = request.json();
    let records = records.as_array().into_iter().flatten();
    (
        records.map(|record| text(&record["EventOriginalUid"])).collect(),
        Reply::status(204),
    )
}

/// OTLP over HTTP, in its JSON form.
fn otlp(request: &Request) -> Taken {
    let body = request.json();
    let records = body["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
        .as_array()
        .cloned();
    let id = |record: &Value| {
        let attributes = record["attributes"].as_array()?;
        let id = attributes.iter().find(|attribute| attribute["key"] == "event.id")?;
        Some(text(&id["value"]["stringValue"]))
    };
    let ids = records.unwrap_or_default().iter().filter_map(id).collect();
    (ids, Reply::json(200, &json!({})))
}

fn teams(_request: &Request) -> Taken {
    (Vec::new(), Reply::status(202))
}

fn pagerduty(request: &Request) -> Taken {
    let key = request.json()["dedup_key"].clone();
    let taken = json!({"status": "success", "message": "Event processed", "dedup_key": key});
    (Vec::new(), Reply::json(202, &taken))
}
