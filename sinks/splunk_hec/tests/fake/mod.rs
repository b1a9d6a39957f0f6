//! A strict HTTP Event Collector on loopback, after Splunk's documented wire form, with faults to order.
//!
//! It stores what it accepted, checks every request against the documentation, and answers as a real one would; a
//! queue of [`Fault`]s overrides the next answers.
#![allow(dead_code, reason = "each test file uses the part it needs")]

use std::collections::{BTreeMap, VecDeque};
use std::io::Read;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What goes wrong with the next request to `/event`.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Answer with this status, extra header lines and body; nothing is stored.
    Answer(u16, &'static str, Vec<u8>),
    /// Answer with this body and 200 without storing.
    Garbage(&'static [u8]),
    /// Store the events, then reset instead of an answer.
    ResetAfterStored,
    /// Read the request and never answer.
    Silence,
    /// Answer with a body without end.
    Endless,
    /// Wait, then answer as usual.
    Slow(Duration),
    /// Announce a longer body than is sent, then close.
    ShortBody,
    /// Forget all channels, as after a restart: acknowledgements are lost, events not indexed yet too.
    Restart,
}

/// How the collector is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    pub token: &'static str,
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
    /// Whether a connection serves more than one request.
    pub keeps_connections: bool,
    /// The server's TLS; plain without.
    pub tls: Option<Arc<rustls::ServerConfig>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            token: "11111111-2222-3333-4444-555555555555",
            acknowledge: false,
            acks_after: 1,
            body_bytes_max: 1_000_000,
            poison: None,
            keeps_before_poison: true,
            events_max: usize::MAX,
            keeps_connections: true,
            tls: None,
        }
    }
}

#[derive(Debug, Default)]
struct State {
    stored: Vec<Value>,
    faults: VecDeque<Fault>,
    /// A fault of every request until it is healed.
    lasting: Option<Fault>,
    /// The status of every answer to `/ack` until it is healed.
    ack_status: Option<u16>,
    /// So many answers to `/ack` say that the channel is not known.
    unknown_channels: usize,
    wrong: Vec<String>,
    requests: usize,
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
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Collector {
    pub async fn start(settings: Settings) -> Self {
        Self::start_on("127.0.0.1:0".parse().unwrap(), settings).await
    }

    pub async fn start_on(address: SocketAddr, settings: Settings) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let task = tokio::spawn(accept(listener, settings, state.clone()));
        Self { address, state, task }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Orders a fault for the next request to `/event`.
    pub fn order(&self, fault: Fault) {
        self.state.lock().unwrap().faults.push_back(fault);
    }

    /// Orders a fault for every request to `/event` until it is healed.
    pub fn order_lasting(&self, fault: Fault) {
        self.state.lock().unwrap().lasting = Some(fault);
    }

    /// Orders a status, without a body, for every question for acknowledgement until it is healed.
    pub fn order_ack_status(&self, status: u16) {
        self.state.lock().unwrap().ack_status = Some(status);
    }

    /// Has the next `count` questions for acknowledgement answered with code 11; what their channels hold is forgotten.
    pub fn order_unknown_channels(&self, count: usize) {
        self.state.lock().unwrap().unknown_channels = count;
    }

    /// Takes back all faults.
    pub fn heal(&self) {
        let mut state = self.state.lock().unwrap();
        state.faults.clear();
        state.lasting = None;
        state.ack_status = None;
    }

    /// Ids of the events stored, in order, doubles included.
    pub fn ids(&self) -> Vec<String> {
        self.state.lock().unwrap().stored.iter().map(event_id).collect()
    }

    /// The objects stored.
    pub fn stored(&self) -> Vec<Value> {
        self.state.lock().unwrap().stored.clone()
    }

    /// Requests to `/event` so far.
    pub fn requests(&self) -> usize {
        self.state.lock().unwrap().requests
    }

    /// What was wrong with requests, in words.
    pub fn wrong(&self) -> Vec<String> {
        self.state.lock().unwrap().wrong.clone()
    }
}

fn event_id(object: &Value) -> String {
    object["fields"]["event_id"].as_str().unwrap_or_default().to_owned()
}

async fn accept(listener: TcpListener, settings: Settings, state: Arc<Mutex<State>>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let (settings, state) = (settings.clone(), state.clone());
        tokio::spawn(async move {
            match settings.tls.clone() {
                None => serve(stream, &settings, &state).await,
                Some(tls) => {
                    if let Ok(stream) = tokio_rustls::TlsAcceptor::from(tls).accept(stream).await {
                        serve(stream, &settings, &state).await;
                    }
                }
            }
        });
    }
}

/// A connection that can be reset instead of closed.
trait Connection: AsyncRead + AsyncWrite + Unpin + Send {
    fn reset(&self);
}

impl Connection for TcpStream {
    fn reset(&self) {
        let _ = self.set_zero_linger();
    }
}

impl Connection for tokio_rustls::server::TlsStream<TcpStream> {
    fn reset(&self) {
        let _ = self.get_ref().0.set_zero_linger();
    }
}

struct Request {
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

async fn serve(mut stream: impl Connection, settings: &Settings, state: &Mutex<State>) {
    let mut pending = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut pending).await {
        let fault = next_fault(&request, state);
        match fault {
            None => answer(&mut stream, settings, state, &request).await,
            Some(Fault::Slow(wait)) => {
                tokio::time::sleep(wait).await;
                answer(&mut stream, settings, state, &request).await;
            }
            Some(Fault::Answer(status, headers, body)) => reply(&mut stream, status, headers, &body).await,
            Some(Fault::Garbage(body)) => reply(&mut stream, 200, "", body).await,
            Some(Fault::ResetAfterStored) => {
                respond(settings, state, &request);
                return stream.reset();
            }
            Some(Fault::Silence) => std::future::pending().await,
            Some(Fault::Endless) => return endless(&mut stream).await,
            Some(Fault::ShortBody) => {
                let _ = stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{\"text\":")
                    .await;
                return;
            }
            Some(Fault::Restart) => {
                let mut state = state.lock().unwrap();
                state.acks.clear();
                state.next_ack.clear();
                return;
            }
        }
    }
}

fn next_fault(request: &Request, state: &Mutex<State>) -> Option<Fault> {
    if request.path.ends_with("/ack") {
        let status = state.lock().unwrap().ack_status?;
        return Some(Fault::Answer(status, "", Vec::new()));
    }
    if !request.path.ends_with("/event") {
        return None;
    }
    let mut state = state.lock().unwrap();
    state.requests += 1;
    let once = state.faults.pop_front();
    once.or_else(|| state.lasting.clone())
}

async fn read_request(stream: &mut impl Connection, pending: &mut Vec<u8>) -> Option<Request> {
    let head_end = loop {
        if let Some(end) = pending.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(pending).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(pending[..head_end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let mut words = lines.next()?.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let headers: BTreeMap<_, _> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers
        .get("content-length")
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    while pending.len() < head_end + 4 + length {
        if stream.read_buf(pending).await.ok()? == 0 {
            return None;
        }
    }
    let body = pending[head_end + 4..head_end + 4 + length].to_vec();
    pending.drain(..head_end + 4 + length);
    Some(Request {
        method,
        path,
        headers,
        body,
    })
}

async fn answer(stream: &mut impl Connection, settings: &Settings, state: &Mutex<State>, request: &Request) {
    let (status, body) = respond(settings, state, request);
    let headers = if settings.keeps_connections {
        ""
    } else {
        "Connection: close\r\n"
    };
    reply(stream, status, headers, body.to_string().as_bytes()).await;
}

async fn reply(stream: &mut impl Connection, status: u16, headers: &str, body: &[u8]) {
    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(body).await;
}

async fn endless(stream: &mut impl Connection) {
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
    while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
}

fn respond(settings: &Settings, state: &Mutex<State>, request: &Request) -> (u16, Value) {
    let path = request.path.strip_prefix("/services/collector").unwrap_or("");
    match (request.method.as_str(), path) {
        ("GET", "/health") => (200, json!({"text": "HEC is healthy", "code": 17})),
        _ if !authorized(settings, request) => (403, json!({"text": "Invalid token", "code": 4})),
        ("POST", "/event") => take_events(settings, state, request),
        ("POST", "/ack") => answer_acks(settings, state, request),
        _ => (
            404,
            json!({"text": "The requested URL was not found on this server.", "code": 404}),
        ),
    }
}

fn authorized(settings: &Settings, request: &Request) -> bool {
    request
        .headers
        .get("authorization")
        .is_some_and(|value| *value == format!("Splunk {}", settings.token))
}

fn take_events(settings: &Settings, state: &Mutex<State>, request: &Request) -> (u16, Value) {
    let mut state = state.lock().unwrap();
    let Some(channel) = request.headers.get("x-splunk-request-channel").cloned() else {
        return (400, json!({"text": "Data channel is missing", "code": 10}));
    };
    let count = inflate(request).map_or(0, |text| text.split(|byte| *byte == b'\n').count().saturating_sub(1));
    if request.body.len() > settings.body_bytes_max || count > settings.events_max {
        return (413, json!({"text": "Request entity too large", "code": 413}));
    }
    let Some(text) = inflate(request) else {
        return (400, json!({"text": "Invalid data format", "code": 6}));
    };
    let (events, refusal) = read_events(settings, &text, &mut state.wrong);
    if let Some((number, code)) = refusal {
        if settings.keeps_before_poison {
            state.stored.extend(events);
        }
        return (
            400,
            json!({"text": "refused", "code": code, "invalid-event-number": number}),
        );
    }
    if events.is_empty() {
        return (400, json!({"text": "No data", "code": 5}));
    }
    if !settings.acknowledge {
        state.stored.extend(events);
        return (200, json!({"text": "Success", "code": 0}));
    }
    let next = state.next_ack.entry(channel.clone()).or_default();
    let id = *next;
    *next += 1;
    state.acks.insert((channel, id), Ack { asked: 0, events });
    (200, json!({"text": "Success", "code": 0, "ackId": id}))
}

fn inflate(request: &Request) -> Option<Vec<u8>> {
    if request.headers.get("content-encoding").map(String::as_str) != Some("gzip") {
        return Some(request.body.clone());
    }
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(request.body.as_slice())
        .read_to_end(&mut text)
        .ok()?;
    Some(text)
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

fn answer_acks(settings: &Settings, state: &Mutex<State>, request: &Request) -> (u16, Value) {
    if !settings.acknowledge {
        return (400, json!({"text": "ACK is disabled", "code": 14}));
    }
    let mut state = state.lock().unwrap();
    let channel = request
        .headers
        .get("x-splunk-request-channel")
        .cloned()
        .unwrap_or_default();
    if let Some(left) = state.unknown_channels.checked_sub(1) {
        state.unknown_channels = left;
        state.acks.retain(|(known, _), _| *known != channel);
        return (400, json!({"text": "Data channel is not valid", "code": 11}));
    }
    let question: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let mut answers = serde_json::Map::new();
    for id in question["acks"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_u64)
    {
        let done = indexed(settings, &mut state, (channel.clone(), id));
        answers.insert(id.to_string(), Value::Bool(done));
    }
    (200, json!({ "acks": answers }))
}

/// A number is answered `true` once and then forgotten.
fn indexed(settings: &Settings, state: &mut State, key: (String, u64)) -> bool {
    let Some(ack) = state.acks.get_mut(&key) else {
        return false;
    };
    ack.asked += 1;
    if ack.asked <= settings.acks_after {
        return false;
    }
    let events = state.acks.remove(&key).map(|ack| ack.events).unwrap_or_default();
    state.stored.extend(events);
    true
}
