//! Everything that speaks HTTP, behind one server: each destination has the first segment of the path for itself, takes
//! what its documentation says it takes, and keeps the ids of the events it was sent.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use trapline_sink::conformance::web::{Reply, Request, Server, Service};

/// A token that every receiver knows.
pub const TOKEN: &str = "11111111-2222-3333-4444-555555555555";

/// What became of a request: ids of the events in it, and the answer.
type Taken = (Vec<String>, Reply);

/// A receiver, by the first segment of its path.
type Receiver = (&'static str, fn(&Request) -> Taken);

const RECEIVERS: &[Receiver] = &[("hec", hec), ("slack", slack)];

/// All receivers.
#[derive(Default)]
pub struct Receivers {
    held: BTreeMap<String, Vec<String>>,
    bodies: BTreeMap<String, Vec<Value>>,
    /// What nobody could take, in words.
    pub wrong: Vec<String>,
}

impl Service for Receivers {
    fn answer(&mut self, request: &Request) -> Reply {
        let name = request.path().split('/').nth(1).unwrap_or_default().to_owned();
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
pub fn held(server: &Server<Receivers>, name: &str) -> Vec<String> {
    server.with(|receivers| receivers.held.get(name).cloned().unwrap_or_default())
}

/// The bodies that a receiver took; `Null` where it is no JSON value.
pub fn bodies(server: &Server<Receivers>, name: &str) -> Vec<Value> {
    server.with(|receivers| receivers.bodies.get(name).cloned().unwrap_or_default())
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
