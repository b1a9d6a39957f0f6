//! A strict collector on loopback: Splunk's documented wire form, with faults to order.
//!
//! It stores what it accepted, checks every request against the documentation, and answers as a real one would.
#![allow(dead_code, reason = "each test file uses the part it needs")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};
use trapline_schemas::Format;
use trapline_sink::StreamSink;
use trapline_sink::config::{Common, NoticeSettings, Table};
use trapline_sink::conformance::web::{Fault, Reply, Request, Server, Service};
use trapline_sink::dial::Resolver;
use trapline_sink_splunk_hec::SINK;
use uuid::Uuid;

pub const TOKEN: &str = "11111111-2222-3333-4444-555555555555";

/// How the collector is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Indexer acknowledgement of the token.
    pub acknowledge: bool,
    /// How many questions are answered `false` before an event is indexed.
    pub acks_after: usize,
    /// Requests larger than this are refused with 413.
    pub body_bytes_max: usize,
    /// An event that holds this text is refused by number.
    pub poison: Option<&'static str>,
    /// Whether events before a refused one are kept, as some collectors do.
    pub keeps_before_poison: bool,
    /// Requests with more events than this are refused with 413.
    pub events_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            acknowledge: false,
            acks_after: 1,
            body_bytes_max: 1_000_000,
            poison: None,
            keeps_before_poison: true,
            events_max: usize::MAX,
        }
    }
}

/// The other side of the wire.
#[derive(Debug, Default)]
pub struct Hec {
    settings: Settings,
    stored: Vec<Value>,
    /// The status of every answer to `/ack` until it is healed.
    ack_status: Option<u16>,
    /// So many answers to `/ack` say that the channel is not known.
    unknown_channels: usize,
    /// The next request to `/event` finds all channels forgotten and is lost with them.
    restarts: bool,
    wrong: Vec<String>,
    acks: BTreeMap<(String, u64), Ack>,
    next_ack: BTreeMap<String, u64>,
}

#[derive(Debug)]
struct Ack {
    asked: usize,
    events: Vec<Value>,
}

/// A running collector; it stops when dropped.
pub struct Collector {
    pub address: SocketAddr,
    server: Server<Hec>,
}

impl Collector {
    pub async fn start(settings: Settings) -> Self {
        let server = Server::start(Hec::new(settings), None).await;
        let address = server.address;
        Self { address, server }
    }

    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Orders a fault for the next request to `/event`.
    pub fn order(&self, fault: Fault) {
        self.server.order(fault);
    }

    /// Orders a fault for every request to `/event` until it is healed.
    pub fn order_lasting(&self, fault: Fault) {
        self.server.order_lasting(fault);
    }

    /// Forgets all channels with the next request to `/event`, as after a restart: acknowledgements are lost, events not
    /// indexed yet too.
    pub fn restart(&self) {
        self.server.with(|hec| hec.restarts = true);
        self.server.order(Fault::ResetAfterStored);
    }

    /// Orders a status, without a body, for every question for acknowledgement until it is healed.
    pub fn order_ack_status(&self, status: u16) {
        self.server.with(|hec| hec.ack_status = Some(status));
    }

    /// Has the next `count` questions for acknowledgement answered with code 11; what their channels hold is forgotten.
    pub fn order_unknown_channels(&self, count: usize) {
        self.server.with(|hec| hec.unknown_channels = count);
    }

    /// Takes back all faults.
    pub fn heal(&self) {
        self.server.heal();
        self.server.with(|hec| hec.ack_status = None);
    }

    /// Ids of the events stored, in order, doubles included.
    pub fn ids(&self) -> Vec<String> {
        self.server.with(|hec| hec.stored.iter().map(event_id).collect())
    }

    /// The objects stored.
    pub fn stored(&self) -> Vec<Value> {
        self.server.with(|hec| hec.stored.clone())
    }

    /// Requests to `/event` so far.
    pub fn requests(&self) -> usize {
        let asked = self.server.asked();
        asked.iter().filter(|asked| asked.ends_with("/event")).count()
    }

    /// What was wrong with requests, in words.
    pub fn wrong(&self) -> Vec<String> {
        self.server.with(|hec| hec.wrong.clone())
    }
}

fn event_id(object: &Value) -> String {
    object["fields"]["event_id"].as_str().unwrap_or_default().to_owned()
}

/// A sink for the configuration.
pub fn sink_with(toml: &str, resolver: Resolver) -> Arc<dyn StreamSink> {
    let (table, problems) = Table::for_test(toml, SINK.keys);
    assert_eq!(problems.count(), 0, "{:?}", problems.take());
    let common = Common {
        name: "siem".into(),
        format: Format::Ecs,
        observer: "lure".into(),
        resolver,
        notices: NoticeSettings::default(),
    };
    (SINK.parse)(&table).build(&common).unwrap()
}

impl Service for Hec {
    fn answer(&mut self, request: &Request) -> Reply {
        let (status, body) = self.respond(request);
        match body {
            Value::Null => Reply::status(status),
            body => Reply::json(status, &body),
        }
    }

    fn meets_faults(&self, request: &Request) -> bool {
        request.path().ends_with("/event")
    }
}

impl Hec {
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            ..Self::default()
        }
    }

    /// Ids of the events stored, in order, doubles included.
    pub fn ids(&self) -> Vec<Uuid> {
        self.stored
            .iter()
            .map(|object| event_id(object).parse().unwrap())
            .collect()
    }

    fn respond(&mut self, request: &Request) -> (u16, Value) {
        let path = request.path().strip_prefix("/services/collector").unwrap_or("");
        match (request.method.as_str(), path) {
            ("GET", "/health") => (200, json!({"text": "HEC is healthy", "code": 17})),
            ("POST", "/ack") if self.ack_status.is_some() => (self.ack_status.unwrap(), Value::Null),
            _ if request.header("authorization") != format!("Splunk {TOKEN}") => {
                (403, json!({"text": "Invalid token", "code": 4}))
            }
            ("POST", "/event") if std::mem::take(&mut self.restarts) => self.forget(),
            ("POST", "/event") => self.take_events(request),
            ("POST", "/ack") => self.answer_acks(request),
            _ => (
                404,
                json!({"text": "The requested URL was not found on this server.", "code": 404}),
            ),
        }
    }

    fn forget(&mut self) -> (u16, Value) {
        self.acks.clear();
        self.next_ack.clear();
        (503, Value::Null)
    }

    fn take_events(&mut self, request: &Request) -> (u16, Value) {
        let Some(channel) = request.headers.get("x-splunk-request-channel") else {
            return (400, json!({"text": "Data channel is missing", "code": 10}));
        };
        let Some(text) = request.content() else {
            return (400, json!({"text": "Invalid data format", "code": 6}));
        };
        let count = text.split(|byte| *byte == b'\n').count().saturating_sub(1);
        if request.body.len() > self.settings.body_bytes_max || count > self.settings.events_max {
            return (413, json!({"text": "Request entity too large", "code": 413}));
        }
        let (events, refusal) = read_events(&self.settings, &text, &mut self.wrong);
        if let Some((number, code)) = refusal {
            if self.settings.keeps_before_poison {
                self.stored.extend(events);
            }
            return (
                400,
                json!({"text": "refused", "code": code, "invalid-event-number": number}),
            );
        }
        if events.is_empty() {
            return (400, json!({"text": "No data", "code": 5}));
        }
        (200, self.keep(channel, events))
    }

    /// Stores events at once, or when their acknowledgement is asked for.
    fn keep(&mut self, channel: &str, events: Vec<Value>) -> Value {
        if !self.settings.acknowledge {
            self.stored.extend(events);
            return json!({"text": "Success", "code": 0});
        }
        let next = self.next_ack.entry(channel.to_owned()).or_default();
        let id = *next;
        *next += 1;
        self.acks.insert((channel.to_owned(), id), Ack { asked: 0, events });
        json!({"text": "Success", "code": 0, "ackId": id})
    }

    fn answer_acks(&mut self, request: &Request) -> (u16, Value) {
        if !self.settings.acknowledge {
            return (400, json!({"text": "ACK is disabled", "code": 14}));
        }
        let channel = request.header("x-splunk-request-channel").to_owned();
        if let Some(left) = self.unknown_channels.checked_sub(1) {
            self.unknown_channels = left;
            self.acks.retain(|(known, _), _| *known != channel);
            return (400, json!({"text": "Data channel is not valid", "code": 11}));
        }
        let question = request.json();
        let asked = question["acks"].as_array().into_iter().flatten();
        let mut answers = serde_json::Map::new();
        for id in asked.filter_map(Value::as_u64) {
            let done = self.is_indexed((channel.clone(), id));
            answers.insert(id.to_string(), Value::Bool(done));
        }
        (200, json!({ "acks": answers }))
    }

    /// A number is answered `true` once and then forgotten.
    fn is_indexed(&mut self, key: (String, u64)) -> bool {
        let Some(ack) = self.acks.get_mut(&key) else {
            return false;
        };
        ack.asked += 1;
        if ack.asked <= self.settings.acks_after {
            return false;
        }
        let events = self.acks.remove(&key).map(|ack| ack.events).unwrap_or_default();
        self.stored.extend(events);
        true
    }
}

/// Reads concatenated objects up to the first that is refused; says its number and code.
fn read_events(settings: &Settings, text: &[u8], wrong: &mut Vec<String>) -> (Vec<Value>, Option<(usize, i64)>) {
    let mut events = Vec::new();
    for (number, object) in serde_json::Deserializer::from_slice(text)
        .into_iter::<Value>()
        .enumerate()
    {
        let Ok(object) = object else {
            return (events, Some((number, 6)));
        };
        check_object(&object, wrong);
        match &object["event"] {
            Value::Null => return (events, Some((number, 12))),
            Value::String(text) if text.is_empty() => return (events, Some((number, 13))),
            event if settings.poison.is_some_and(|poison| event.to_string().contains(poison)) => {
                return (events, Some((number, 6)));
            }
            _ => events.push(object),
        }
    }
    (events, None)
}

fn check_object(object: &Value, wrong: &mut Vec<String>) {
    const KNOWN: [&str; 7] = ["time", "host", "source", "sourcetype", "index", "event", "fields"];
    let Some(map) = object.as_object() else {
        return wrong.push(format!("not an object: {object}"));
    };
    for key in map.keys().filter(|key| !KNOWN.contains(&key.as_str())) {
        wrong.push(format!("unknown key `{key}`"));
    }
    let time = object["time"].as_f64().unwrap_or_default();
    if !(1e9..1e10).contains(&time) {
        wrong.push(format!("`time` is not seconds: {}", object["time"]));
    }
    let flat = object["fields"]
        .as_object()
        .is_some_and(|fields| fields.values().all(Value::is_string));
    if !flat {
        wrong.push(format!("`fields` is not flat: {}", object["fields"]));
    }
}
