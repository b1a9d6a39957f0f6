//! A strict cluster on loopback: the bulk API as it is documented and as OpenSearch 2.19 answers it.
#![allow(dead_code, reason = "each test file uses the part it needs")]

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use trapline_schemas::Format;
use trapline_sink::StreamSink;
use trapline_sink::config::{Common, NoticeSettings, Table};
use trapline_sink::conformance::web::{Reply, Request, Service};
use trapline_sink::dial::Resolver;
use trapline_sink_elasticsearch::SINK;
use uuid::Uuid;

/// `id:api_key`, and as the header has it.
pub const KEY: (&str, &str) = ("lure:correct-horse", "ApiKey bHVyZTpjb3JyZWN0LWhvcnNl");

/// The other side of the wire.
#[derive(Debug, Default)]
pub struct Cluster {
    /// A document that holds this text does not fit the mapping.
    pub poison: Option<&'static str>,
    /// What a document with that text is answered, unless it does not fit the mapping: status and type.
    pub poison_as: Option<(u16, &'static str)>,
    /// Something on the way answers a page of this status to requests with this text.
    pub filtered: Option<(u16, &'static str)>,
    /// An ingest pipeline leaves out documents with this text.
    pub dropped: Option<&'static str>,
    /// Items are answered in another order.
    pub backwards: bool,
    /// Reasons are of a hundred thousand bytes.
    pub long_reasons: bool,
    /// No document fits the mapping.
    pub fits_nothing: bool,
    /// Nor that of an index with this text in its name.
    pub fits_nothing_in: Option<&'static str>,
    /// Requests with more events are refused with 413.
    pub events_max: Option<usize>,
    /// What every second item says instead of being stored: status and type.
    pub every_second: Option<(u16, &'static str)>,
    /// Every index is a data stream.
    pub streams: bool,
    /// Documents that are about no event.
    pub controls: Vec<Value>,
    /// Documents of events by index and id, in order of arrival.
    pub stored: Vec<(String, String, Value)>,
    /// What was wrong with requests, in words.
    pub wrong: Vec<String>,
    /// The query of the last bulk request.
    pub query: BTreeMap<String, String>,
    /// Items answered 409.
    pub conflicts: usize,
}

impl Cluster {
    pub fn ids(&self) -> Vec<Uuid> {
        self.stored.iter().map(|(_, id, _)| id.parse().unwrap()).collect()
    }

    fn bulk(&mut self, request: &Request) -> Reply {
        self.query = request.query();
        for (what, good) in [
            ("compression", request.header("content-encoding") == "gzip"),
            ("content type", request.header("content-type") == "application/x-ndjson"),
            ("what is asked for", self.query.contains_key("filter_path")),
        ] {
            if !good {
                self.wrong.push(what.to_owned());
            }
        }
        let content = String::from_utf8(request.content().unwrap_or_default()).unwrap_or_default();
        if let Some((status, _)) = self.filtered.filter(|(_, text)| content.contains(text)) {
            return Reply::text(status, "<html>blocked</html>");
        }
        if self.query.get("timeout").map(String::as_str) != Some("666ms") {
            self.wrong.push(format!("timeout in {:?}", self.query));
        }
        let lines: Vec<&str> = content.split('\n').collect();
        let Some((&"", lines)) = lines.split_last() else {
            return refused(
                "illegal_argument_exception",
                "The bulk request must be terminated by a newline [\\n]",
            );
        };
        if self.events_max.is_some_and(|max| lines.len() / 2 > max) {
            return Reply::status(413);
        }
        let in_path = request
            .path()
            .trim_start_matches('/')
            .strip_suffix("/_bulk")
            .map(str::to_owned);
        let mut items: Vec<Value> = lines
            .chunks(2)
            .enumerate()
            .map(|(at, pair)| self.item(at, in_path.as_deref(), pair))
            .collect();
        if self.backwards {
            items.reverse();
        }
        let errors = items.iter().any(|item| item.to_string().contains("\"error\""));
        Reply::json(200, &json!({"errors": errors, "items": items}))
    }

    fn item(&mut self, at: usize, in_path: Option<&str>, pair: &[&str]) -> Value {
        let action: Value = serde_json::from_str(pair[0]).unwrap_or_default();
        let Some((op, head)) = action.as_object().and_then(|action| action.iter().next()) else {
            self.wrong.push(format!("action {}", pair[0]));
            return Value::Null;
        };
        let index = head["_index"].as_str().or(in_path).unwrap_or_default().to_owned();
        let id = head["_id"].as_str().unwrap_or_default().to_owned();
        let document = pair.get(1).copied().unwrap_or_default();
        if self.dropped.is_some_and(|text| document.contains(text)) {
            return json!({op: {"_id": id, "status": 200, "result": "noop"}});
        }
        let (status, error) = self.store(at, op, &index, &id, document);
        let mut item = json!({"_id": id, "status": status});
        if let Some((word, reason)) = error {
            item["error"] = json!({"type": word, "reason": reason});
        }
        json!({op: item})
    }

    fn store(
        &mut self,
        at: usize,
        op: &str,
        index: &str,
        id: &str,
        document: &str,
    ) -> (u16, Option<(&'static str, String)>) {
        let Ok(document) = serde_json::from_str::<Value>(document) else {
            return (400, Some(("mapper_parsing_exception", "failed to parse".to_owned())));
        };
        if let Some((status, word)) = self.every_second.filter(|_| at % 2 == 1) {
            return (status, Some((word, "a reason".to_owned())));
        }
        if self.fits_nothing || self.fits_nothing_in.is_some_and(|text| index.contains(text)) {
            return (400, Some(("strict_dynamic_mapping_exception", "strict".to_owned())));
        }
        if self.poison.is_some_and(|poison| document.to_string().contains(poison)) {
            if let Some((status, word)) = self.poison_as {
                return (status, Some((word, "a reason".to_owned())));
            }
            let value = "x".repeat(if self.long_reasons { 100_000 } else { 1 });
            let reason = format!("failed to parse field [user.name] in document with id '{id}'. Preview: '{value}'");
            return (400, Some(("mapper_parsing_exception", reason)));
        }
        if self.streams && op != "create" {
            let reason = "only write ops with an op_type of create are allowed in data streams";
            return (400, Some(("illegal_argument_exception", reason.to_owned())));
        }
        if self.streams && !document["@timestamp"].is_string() {
            return (400, Some(("mapper_parsing_exception", "failed to parse".to_owned())));
        }
        if document["event"]["action"] == "record-control" {
            self.controls.push(document);
            return (201, None);
        }
        let known = self.stored.iter().position(|(i, d, _)| i == index && d == id);
        match (known, op) {
            (Some(_), "create") => {
                self.conflicts += 1;
                let reason = format!("[{id}]: version conflict, document already exists (current version [1])");
                (409, Some(("version_conflict_engine_exception", reason)))
            }
            (Some(known), _) => {
                self.stored[known].2 = document;
                (200, None)
            }
            (None, _) => {
                self.stored.push((index.to_owned(), id.to_owned(), document));
                (201, None)
            }
        }
    }

    fn resolve(&self, name: &str) -> Reply {
        let there = self.stored.iter().any(|(index, ..)| index == name);
        let named = if there { json!([{"name": name}]) } else { json!([]) };
        let (streams, indices) = if self.streams {
            (named, json!([]))
        } else {
            (json!([]), named)
        };
        Reply::json(
            200,
            &json!({"indices": indices, "aliases": [], "data_streams": streams}),
        )
    }
}

fn refused(word: &str, reason: &str) -> Reply {
    Reply::json(400, &json!({"error": {"type": word, "reason": reason}, "status": 400}))
}

impl Service for Cluster {
    fn answer(&mut self, request: &Request) -> Reply {
        if request.header("authorization") != KEY.1 {
            let error = json!({"type": "security_exception", "reason": "missing authentication credentials"});
            return Reply::json(401, &json!({"error": error, "status": 401}));
        }
        match (request.method.as_str(), request.path()) {
            ("GET", "/") => Reply::json(
                200,
                &json!({"version": {"number": "8.15.0"}, "tagline": "You Know, for Search"}),
            ),
            ("GET", path) if path.starts_with("/_resolve/index/") => self.resolve(&path["/_resolve/index/".len()..]),
            ("POST", path) if path.ends_with("/_bulk") => self.bulk(request),
            (method, path) => {
                self.wrong.push(format!("{method} {path}"));
                Reply::status(405)
            }
        }
    }

    fn meets_faults(&self, request: &Request) -> bool {
        request.path().ends_with("/_bulk")
    }
}

/// A sink for these lines beside `endpoint`.
pub fn sink(base: &str, lines: &str, format: Format, resolver: Resolver) -> Arc<dyn StreamSink> {
    let toml = format!(
        "endpoint = \"{base}\"\napi_key = \"{}\"\ntimeout = \"1s\"\n{lines}",
        KEY.0
    );
    let (table, problems) = Table::for_test(&toml, SINK.keys);
    assert_eq!(problems.count(), 0, "{:?}", problems.take());
    let common = Common {
        name: "search".into(),
        format,
        observer: "lure".into(),
        resolver,
        notices: NoticeSettings::default(),
    };
    (SINK.parse)(&table).build(&common).unwrap()
}
