//! A strict receiver of webhooks on loopback. It checks every signature on its own account, and keeps what it took.
#![allow(dead_code, reason = "each test file uses the part it needs")]

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use trapline_schemas::Format;
use trapline_sink::StreamSink;
use trapline_sink::config::{Common, NoticeSettings, Table};
use trapline_sink::conformance::web::{Reply, Request, Service};
use trapline_sink::dial::Resolver;
use trapline_sink_webhook::SINK;
use uuid::Uuid;

pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// The other side of the wire.
#[derive(Debug)]
pub struct Receiver {
    /// What it took: the requests, in order.
    pub kept: Vec<Request>,
    /// Refuses, with 400, what holds this text.
    pub poison: Option<&'static str>,
    /// Refuses, with 413, what holds more events.
    pub events_max: usize,
    /// Statuses of the next answers.
    pub statuses: VecDeque<u16>,
    /// Whether requests must be signed.
    pub signed: bool,
    /// By request id: the content that came under it.
    pub contents: BTreeMap<String, Vec<u8>>,
    pub wrong: Vec<String>,
}

impl Default for Receiver {
    fn default() -> Self {
        Self {
            kept: Vec::new(),
            poison: None,
            events_max: usize::MAX,
            statuses: VecDeque::new(),
            signed: true,
            contents: BTreeMap::new(),
            wrong: Vec::new(),
        }
    }
}

impl Receiver {
    /// Ids of the events, in order of arrival.
    pub fn stored(&self) -> Vec<Uuid> {
        self.kept.iter().flat_map(events).map(|event| id(&event)).collect()
    }

    fn look(&mut self, request: &Request) {
        if self.signed && !signature_holds(request) {
            self.wrong
                .push(format!("a signature does not hold: {:?}", request.headers));
        }
        let id = request.header("webhook-id").to_owned();
        if id.is_empty() || id.contains('.') {
            self.wrong.push(format!("an id that is none: `{id}`"));
        }
        let before = self.contents.insert(id, request.body.clone());
        if before.is_some_and(|before| before != request.body) {
            self.wrong.push("one id for two contents".to_owned());
        }
    }
}

impl Service for Receiver {
    fn answer(&mut self, request: &Request) -> Reply {
        if request.method == "HEAD" {
            return Reply::status(204);
        }
        self.look(request);
        if let Some(status) = self.statuses.pop_front() {
            return Reply::status(status);
        }
        let content = String::from_utf8(request.content().unwrap_or_default()).unwrap_or_default();
        if self.poison.is_some_and(|poison| content.contains(poison)) {
            return Reply::json(400, &json!({ "ok": false }));
        }
        if events(request).len() > self.events_max {
            return Reply::status(413);
        }
        self.kept.push(request.clone());
        Reply::json(200, &json!({ "ok": true }))
    }
}

/// The events of a request, whichever way they share it.
pub fn events(request: &Request) -> Vec<Value> {
    let content = request.content().unwrap_or_default();
    match request.header("content-type") {
        "application/x-ndjson" => {
            let lines = content.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
        }
        _ => match serde_json::from_slice(&content).unwrap() {
            Value::Array(events) => events,
            event => vec![event],
        },
    }
}

fn id(event: &Value) -> Uuid {
    let id = event.pointer("/event/id").or_else(|| event.pointer("/metadata/uid"));
    id.and_then(Value::as_str).unwrap().parse().unwrap()
}

/// Whether one of the signatures is that of the bytes that came, of these minutes.
fn signature_holds(request: &Request) -> bool {
    let (id, timestamp) = (request.header("webhook-id"), request.header("webhook-timestamp"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let is_fresh = timestamp.parse::<u64>().is_ok_and(|at| now.abs_diff(at) < 300);
    let key = STANDARD.decode(SECRET.trim_start_matches("whsec_")).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(id.as_bytes());
    mac.update(b".");
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(&request.body);
    let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    is_fresh
        && request
            .header("webhook-signature")
            .split(' ')
            .any(|signature| signature == expected)
}

/// A sink for the configuration, in a form.
pub fn sink_in(format: Format, toml: &str, resolver: Resolver) -> Arc<dyn StreamSink> {
    let (table, problems) = Table::for_test(toml, SINK.keys);
    let factory = (SINK.parse)(&table);
    assert_eq!(problems.count(), 0, "{:?}", problems.take());
    let common = Common {
        name: "soar".into(),
        format,
        observer: "lure".into(),
        resolver,
        notices: NoticeSettings::default(),
    };
    factory.build(&common).unwrap()
}

/// A sink for the configuration.
pub fn sink_with(toml: &str, resolver: Resolver) -> Arc<dyn StreamSink> {
    sink_in(Format::Ecs, toml, resolver)
}

/// What is wrong with a configuration, as it is told: places, words, what is allowed.
pub fn problems(toml: &str) -> String {
    let (table, problems) = Table::for_test(toml, SINK.keys);
    let _ = (SINK.parse)(&table);
    problems
        .take()
        .iter()
        .map(|problem| format!("{}\n", problem.rich(false)))
        .collect()
}
