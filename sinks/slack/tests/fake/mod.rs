//! A strict Slack on loopback: one webhook and one workspace with one channel, with faults to order.
//!
//! It keeps what it took, holds every message against the documented limits and types ([`blocks`]), and answers as
//! Slack would; words and faults that were ordered override the next answers to messages.
#![allow(dead_code, unused_imports, reason = "each test file uses the part it needs")]

pub mod blocks;
pub mod notices;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};
use trapline_schemas::Format;
use trapline_sink::StreamSink;
use trapline_sink::conformance::samples;
use trapline_sink::conformance::web::{Fault, Reply, Request, Server, Service};
use trapline_sink::dial::Resolver;
use trapline_sink_slack::SINK;
use uuid::Uuid;

pub const TOKEN: &str = "xoxb-1111-2222-abcdefSECRET";
pub const CHANNEL: &str = "C0123456789";
pub const WEBHOOK: &str = "/services/T0SECRET/B0SECRET/abcdefSECRET";

/// How the workspace is set up.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Scopes that the token lacks.
    pub without: Vec<&'static str>,
    /// A message that holds this text is refused for its looks, and so is the short form of it.
    pub poison: Option<&'static str>,
    /// Messages on a page of the history, 100 if 0.
    pub page: usize,
}

/// The other side of the wire.
#[derive(Debug, Default)]
pub struct Slack {
    settings: Settings,
    /// Messages in order, each with its `ts`.
    kept: Vec<Value>,
    /// Code words by which the next messages are refused, in turn.
    refusals: VecDeque<&'static str>,
    /// Code words by which the history is refused, in turn.
    no_history: VecDeque<&'static str>,
    wrong: Vec<String>,
    poisoned: Vec<Uuid>,
}

/// A running Slack; it stops when dropped.
pub struct Workspace {
    pub address: SocketAddr,
    server: Server<Slack>,
}

impl Workspace {
    pub async fn start(settings: Settings) -> Self {
        let server = Server::start(Slack::new(settings), None).await;
        let address = server.address;
        Self { address, server }
    }

    /// Orders a fault for the next message.
    pub fn order(&self, fault: Fault) {
        self.server.order(fault);
    }

    /// Refuses the next message with this word, as the API and a webhook each say it.
    pub fn refuse(&self, word: &'static str) {
        self.server.with(|slack| slack.refusals.push_back(word));
    }

    /// Refuses the next question for the history with this word.
    pub fn refuse_history(&self, word: &'static str) {
        self.server.with(|slack| slack.no_history.push_back(word));
    }

    /// The messages kept, in order.
    pub fn kept(&self) -> Vec<Value> {
        self.server.with(|slack| slack.kept.clone())
    }

    /// Takes the messages kept out of the channel.
    pub fn take(&self) -> Vec<Value> {
        self.server.with(|slack| std::mem::take(&mut slack.kept))
    }

    /// Puts a message of somebody else, or of an earlier run, into the channel.
    pub fn put(&self, message: Value) {
        self.server.with(|slack| slack.kept.push(message));
    }

    /// Takes a message away.
    pub fn delete(&self, ts: &str) {
        self.server
            .with(|slack| slack.kept.retain(|message| message["ts"] != ts));
    }

    /// Ids of the events told, in order, doubles included.
    pub fn ids(&self) -> Vec<Uuid> {
        self.server.with(|slack| slack.ids())
    }

    /// What was asked for, in order: methods of the API and `webhook`.
    pub fn asked(&self) -> Vec<String> {
        let asked = self.server.asked();
        asked.iter().map(|asked| method(asked)).collect()
    }

    /// What was wrong with requests, in words.
    pub fn wrong(&self) -> Vec<String> {
        self.server.with(|slack| slack.wrong.clone())
    }
}

/// The API's method of `POST /api/…`, or `webhook`.
fn method(asked: &str) -> String {
    let path = asked.split(' ').next_back().unwrap_or_default();
    path.strip_prefix("/api/").unwrap_or("webhook").to_owned()
}

/// The id of the event that a message is about, which both forms tell.
pub fn event_of(message: &Value) -> Option<Uuid> {
    let text = message.to_string();
    let mut behind = text.split("event ").skip(1);
    behind.find_map(|rest| Uuid::try_parse(rest.get(..36)?).ok())
}

/// A sink for the configuration.
pub fn sink_with(toml: &str, resolver: Resolver) -> Arc<dyn StreamSink> {
    samples::sink(&SINK, toml, Format::Text, resolver)
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

impl Service for Slack {
    fn answer(&mut self, request: &Request) -> Reply {
        if request.path() == WEBHOOK {
            return self.take_from_webhook(request);
        }
        let Some(method) = request.path().strip_prefix("/api/") else {
            return Reply::text(404, "<html>no such page</html>");
        };
        let reply = self.call(method, request);
        Reply::json(200, &reply.unwrap_or_else(|word| json!({ "ok": false, "error": word })))
    }

    fn meets_faults(&self, request: &Request) -> bool {
        let is_webhook = request.path() == WEBHOOK && request.method == "POST";
        is_webhook || request.path() == "/api/chat.postMessage"
    }
}

impl Slack {
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            ..Self::default()
        }
    }

    /// Ids of the events told, in order, doubles included.
    pub fn ids(&self) -> Vec<Uuid> {
        self.kept.iter().filter_map(event_of).collect()
    }

    fn take_from_webhook(&mut self, request: &Request) -> Reply {
        match self.take(request) {
            Ok(_) => Reply::text(200, "ok"),
            Err(word) => Reply::text(400, word),
        }
    }

    fn call(&mut self, method: &str, request: &Request) -> Result<Value, &'static str> {
        if request.header("authorization") != format!("Bearer {TOKEN}") {
            return Err("invalid_auth");
        }
        match method {
            "auth.test" => Ok(json!({ "ok": true, "user": "trapline", "team": "Lab" })),
            "conversations.info" => self.info(request),
            "conversations.history" => self.history(request),
            "chat.postMessage" => self.take(request),
            _ => Err("unknown_method"),
        }
    }

    fn info(&self, request: &Request) -> Result<Value, &'static str> {
        self.has_scope("channels:read")?;
        match request.form().get("channel").map(String::as_str) {
            Some(CHANNEL) => Ok(json!({ "ok": true, "channel": { "name": "security", "is_member": true } })),
            _ => Err("channel_not_found"),
        }
    }

    /// A page of the messages in the channel itself, newest first.
    fn history(&mut self, request: &Request) -> Result<Value, &'static str> {
        if let Some(word) = self.no_history.pop_front() {
            return Err(word);
        }
        self.has_scope("channels:history")?;
        let asked = request.form();
        if asked.get("channel").map(String::as_str) != Some(CHANNEL) {
            return Err("channel_not_found");
        }
        let oldest: f64 = asked["oldest"].parse().map_err(|_| "invalid_ts_oldest")?;
        let page = if self.settings.page == 0 {
            100
        } else {
            self.settings.page
        };
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
    fn take(&mut self, request: &Request) -> Result<Value, &'static str> {
        let mut message: Value = serde_json::from_slice(&request.body).map_err(|_| "invalid_payload")?;
        let kind = request.header("content-type");
        if kind != "application/json; charset=utf-8" {
            self.wrong.push(format!("content type {kind:?}"));
        }
        if let Some(word) = self.refusals.pop_front() {
            return Err(word);
        }
        let wrong = blocks::wrong(&message, request.path() != WEBHOOK);
        if !wrong.is_empty() {
            self.wrong.extend(wrong);
            return Err("invalid_blocks");
        }
        let event = event_of(&message).unwrap_or_default();
        if self
            .settings
            .poison
            .is_some_and(|poison| message.to_string().contains(poison))
        {
            self.poisoned.push(event);
        }
        if self.poisoned.contains(&event) {
            return Err("invalid_blocks");
        }
        if request.path() != WEBHOOK {
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

    fn has_scope(&self, scope: &'static str) -> Result<(), &'static str> {
        if self.settings.without.contains(&scope) {
            Err("missing_scope")
        } else {
            Ok(())
        }
    }
}
