//! A strict Slack on loopback: one webhook and one workspace with one channel, with faults to order.
//!
//! It keeps what it took, holds every message against the documented limits and types ([`blocks`]), and answers as
//! Slack would; a queue of [`Fault`]s overrides the next answers to messages.
#![allow(dead_code, reason = "each test file uses the part it needs")]

pub mod blocks;
pub mod notices;
mod web;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use trapline_schemas::Format;
use trapline_sink::StreamSink;
use trapline_sink::config::{Common, NoticeSettings, Table};
use trapline_sink::dial::Resolver;
use trapline_sink_slack::SINK;
use uuid::Uuid;

use web::{Request, form};

pub const TOKEN: &str = "xoxb-1111-2222-abcdefSECRET";
pub const CHANNEL: &str = "C0123456789";
pub const WEBHOOK: &str = "/services/T0SECRET/B0SECRET/abcdefSECRET";

/// What goes wrong with the next message.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Answer with this status, extra header lines and body; nothing is kept.
    Answer(u16, &'static str, Vec<u8>),
    /// The API's way to refuse, also told as a webhook would.
    Error(&'static str),
    /// Keep the message, then reset instead of an answer.
    ResetAfterStored,
    /// Read the request and never answer.
    Silence,
    /// Answer with a body without end.
    Endless,
    /// Wait, then answer as usual.
    Slow(Duration),
    /// Announce a longer body than is sent, then close.
    ShortBody,
}

/// How the workspace is set up.
#[derive(Clone, Default)]
pub struct Settings {
    /// Scopes that the token lacks.
    pub without: Vec<&'static str>,
    /// A message that holds this text is refused for its looks, and so is the short form of it.
    pub poison: Option<&'static str>,
    /// Messages on a page of the history, 100 if 0.
    pub page: usize,
    /// Whether a connection serves one request alone.
    pub closes: bool,
    /// The server's TLS; plain without.
    pub tls: Option<Arc<rustls::ServerConfig>>,
}

#[derive(Debug, Default)]
struct State {
    /// Messages in order, each with its `ts`.
    kept: Vec<Value>,
    faults: VecDeque<Fault>,
    lasting: Option<Fault>,
    /// Code words by which the history is refused, in turn.
    no_history: VecDeque<&'static str>,
    wrong: Vec<String>,
    poisoned: Vec<Uuid>,
    /// Requests by method, in order.
    asked: Vec<String>,
}

/// A running Slack; it stops when dropped.
pub struct Workspace {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl Drop for Workspace {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Workspace {
    pub async fn start(settings: Settings) -> Self {
        Self::start_on("127.0.0.1:0".parse().unwrap(), settings).await
    }

    pub async fn start_on(address: SocketAddr, settings: Settings) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let task = tokio::spawn(web::accept(listener, settings, state.clone()));
        Self { address, state, task }
    }

    /// Orders a fault for the next message.
    pub fn order(&self, fault: Fault) {
        self.state.lock().unwrap().faults.push_back(fault);
    }

    /// Orders a fault for every message until it is healed.
    pub fn order_lasting(&self, fault: Fault) {
        self.state.lock().unwrap().lasting = Some(fault);
    }

    /// Refuses the next question for the history with this word.
    pub fn refuse_history(&self, word: &'static str) {
        self.state.lock().unwrap().no_history.push_back(word);
    }

    /// Takes back all faults.
    pub fn heal(&self) {
        let mut state = self.state.lock().unwrap();
        state.faults.clear();
        state.lasting = None;
    }

    /// The messages kept, in order.
    pub fn kept(&self) -> Vec<Value> {
        self.state.lock().unwrap().kept.clone()
    }

    /// Takes the messages kept out of the channel.
    pub fn take(&self) -> Vec<Value> {
        std::mem::take(&mut self.state.lock().unwrap().kept)
    }

    /// Puts a message of somebody else, or of an earlier run, into the channel.
    pub fn put(&self, message: Value) {
        self.state.lock().unwrap().kept.push(message);
    }

    /// Takes a message away.
    pub fn delete(&self, ts: &str) {
        self.state.lock().unwrap().kept.retain(|message| message["ts"] != ts);
    }

    /// Ids of the events told, in order, doubles included.
    pub fn ids(&self) -> Vec<Uuid> {
        self.kept().iter().filter_map(event_of).collect()
    }

    /// What was asked for, in order: methods of the API and `webhook`.
    pub fn asked(&self) -> Vec<String> {
        self.state.lock().unwrap().asked.clone()
    }

    /// What was wrong with requests, in words.
    pub fn wrong(&self) -> Vec<String> {
        self.state.lock().unwrap().wrong.clone()
    }
}

/// The id of the event that a message is about, which both forms tell.
pub fn event_of(message: &Value) -> Option<Uuid> {
    let text = message.to_string();
    let mut behind = text.split("event ").skip(1);
    behind.find_map(|rest| Uuid::try_parse(rest.get(..36)?).ok())
}

/// A sink for the configuration.
pub fn sink_with(toml: &str, resolver: Resolver) -> Arc<dyn StreamSink> {
    let (table, problems) = Table::for_test(toml, SINK.keys);
    assert_eq!(problems.count(), 0, "{:?}", problems.take());
    let common = Common {
        name: "channel".into(),
        format: Format::Text,
        observer: "lure".into(),
        resolver,
        notices: NoticeSettings::default(),
    };
    (SINK.parse)(&table).build(&common).unwrap()
}

/// A bot's sink, with further keys.
pub fn bot(workspace: &Workspace, keys: &str) -> Arc<dyn StreamSink> {
    let address = workspace.address;
    let toml = format!(
        "endpoint = \"http://{address}/api\"\ntoken = \"{TOKEN}\"\nchannel = \"{CHANNEL}\"\ninterval = \"1ms\"\n{keys}"
    );
    sink_with(&toml, Resolver::default())
}

/// A webhook's sink, with further keys.
pub fn webhook(workspace: &Workspace, keys: &str) -> Arc<dyn StreamSink> {
    let address = workspace.address;
    let toml = format!("webhook_url = \"http://{address}{WEBHOOK}\"\ninterval = \"1ms\"\n{keys}");
    sink_with(&toml, Resolver::default())
}

impl State {
    fn next_fault(&mut self) -> Option<Fault> {
        self.faults.pop_front().or_else(|| self.lasting.clone())
    }

    fn respond(&mut self, settings: &Settings, request: &Request) -> (u16, Vec<u8>) {
        if request.path == WEBHOOK {
            return self.take_from_webhook(settings, request);
        }
        let Some(method) = request.path.strip_prefix("/api/") else {
            return (404, b"<html>no such page</html>".to_vec());
        };
        let reply = self.call(settings, method, request);
        let reply = reply.unwrap_or_else(|word| json!({ "ok": false, "error": word }));
        (200, reply.to_string().into_bytes())
    }

    fn take_from_webhook(&mut self, settings: &Settings, request: &Request) -> (u16, Vec<u8>) {
        match self.take(settings, request) {
            Ok(_) => (200, b"ok".to_vec()),
            Err(word) => (400, word.as_bytes().to_vec()),
        }
    }

    fn call(&mut self, settings: &Settings, method: &str, request: &Request) -> Result<Value, &'static str> {
        let bearer = request.headers.get("authorization").map(String::as_str);
        if bearer != Some(&format!("Bearer {TOKEN}")) {
            return Err("invalid_auth");
        }
        match method {
            "auth.test" => Ok(json!({ "ok": true, "user": "trapline", "team": "Lab" })),
            "conversations.info" => self.info(settings, request),
            "conversations.history" => self.history(settings, request),
            "chat.postMessage" => self.take(settings, request),
            _ => Err("unknown_method"),
        }
    }

    fn info(&self, settings: &Settings, request: &Request) -> Result<Value, &'static str> {
        has_scope(settings, "channels:read")?;
        match form(&request.body).get("channel").map(String::as_str) {
            Some(CHANNEL) => Ok(json!({ "ok": true, "channel": { "name": "security", "is_member": true } })),
            _ => Err("channel_not_found"),
        }
    }

    /// A page of the messages in the channel itself, newest first.
    fn history(&mut self, settings: &Settings, request: &Request) -> Result<Value, &'static str> {
        if let Some(word) = self.no_history.pop_front() {
            return Err(word);
        }
        has_scope(settings, "channels:history")?;
        let asked = form(&request.body);
        if asked.get("channel").map(String::as_str) != Some(CHANNEL) {
            return Err("channel_not_found");
        }
        let oldest: f64 = asked["oldest"].parse().map_err(|_| "invalid_ts_oldest")?;
        let page = if settings.page == 0 { 100 } else { settings.page };
        let from: usize = asked
            .get("cursor")
            .map_or(Ok(0), |cursor| cursor.parse())
            .map_err(|_| "invalid_cursor")?;
        let shown = |message: &&Value| message["thread_ts"].is_null() || message["reply_broadcast"] == true;
        let recent = |message: &&Value| message["ts"].as_str().unwrap().parse::<f64>().unwrap() >= oldest;
        let mut all: Vec<Value> = self.kept.iter().rev().filter(shown).filter(recent).cloned().collect();
        if asked.get("include_all_metadata").map(String::as_str) != Some("true") {
            all.iter_mut().for_each(|message| message["metadata"] = Value::Null);
        }
        let messages: Vec<_> = all.iter().skip(from).take(page).cloned().collect();
        let next = if from + page < all.len() {
            (from + page).to_string()
        } else {
            String::new()
        };
        Ok(json!({ "ok": true, "messages": messages, "response_metadata": { "next_cursor": next } }))
    }

    /// Takes a message; what a strict reader has against it is noted and refused.
    fn take(&mut self, settings: &Settings, request: &Request) -> Result<Value, &'static str> {
        let mut message: Value = serde_json::from_slice(&request.body).map_err(|_| "invalid_payload")?;
        let kind = request.headers.get("content-type").map(String::as_str);
        if kind != Some("application/json; charset=utf-8") {
            self.wrong.push(format!("content type {kind:?}"));
        }
        let wrong = blocks::wrong(&message, request.path != WEBHOOK);
        if !wrong.is_empty() {
            self.wrong.extend(wrong);
            return Err("invalid_blocks");
        }
        let event = event_of(&message).unwrap_or_default();
        if settings
            .poison
            .is_some_and(|poison| message.to_string().contains(poison))
        {
            self.poisoned.push(event);
        }
        if self.poisoned.contains(&event) {
            return Err("invalid_blocks");
        }
        if request.path != WEBHOOK {
            self.is_for_us(&message)?;
        }
        let ts = format!("{}.{:06}", 4_000_000_000_u64, self.kept.len() + 1);
        message["ts"] = ts.clone().into();
        let reply = json!({ "ok": true, "channel": CHANNEL, "ts": ts, "message": message });
        self.kept.push(message);
        Ok(reply)
    }

    fn is_for_us(&self, message: &Value) -> Result<(), &'static str> {
        if message["channel"] != CHANNEL && message["channel"] != "#security" {
            return Err("channel_not_found");
        }
        let root = &message["thread_ts"];
        let is_root = |kept: &Value| kept["ts"] == *root && kept["thread_ts"].is_null();
        if !root.is_null() && !self.kept.iter().any(is_root) {
            return Err("thread_not_found");
        }
        Ok(())
    }
}

fn has_scope(settings: &Settings, scope: &'static str) -> Result<(), &'static str> {
    if settings.without.contains(&scope) {
        Err("missing_scope")
    } else {
        Ok(())
    }
}
