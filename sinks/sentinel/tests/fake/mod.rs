//! A strict Azure on loopback: the token endpoint of Microsoft Entra and the Logs Ingestion API, as they are documented.
#![allow(dead_code, reason = "each test file uses the part it needs")]

use std::sync::Arc;

use serde_json::{Value, json};
use trapline_schemas::Format;
use trapline_sink::StreamSink;
use trapline_sink::config::{Common, NoticeSettings, Table};
use trapline_sink::conformance::web::{Reply, Request, Service};
use trapline_sink::dial::Resolver;
use trapline_sink_sentinel::SINK;
use trapline_sink_sentinel::record::{COLUMNS, CONTROL};
use uuid::Uuid;

pub const RULE: &str = "dcr-0123456789abcdef0123456789abcdef";
pub const CLIENT: &str = "11111111-2222-3333-4444-555555555555";
pub const SECRET: &str = "hush~secret";
/// The service's own limit.
const BODY_BYTES_MAX: usize = 1_048_576;

/// The other side of the wire.
#[derive(Debug, Default)]
pub struct Azure {
    /// Requests with a record that holds this text are refused with 400.
    pub poison: Option<&'static str>,
    /// Something on the way answers a page of this status to requests with a record that holds this text.
    pub filtered: Option<(u16, &'static str)>,
    /// It breaks down with 500 over requests with a record that holds this text.
    pub breaks_over: Option<&'static str>,
    /// Requests with more records are refused with 413.
    pub records_max: Option<usize>,
    /// The token endpoint's refusal: status, `error`, `error_description`.
    pub no_token: Option<(u16, &'static str, &'static str)>,
    /// Tokens up to this number are not taken any longer.
    pub revoked: usize,
    /// Tokens given.
    pub given: usize,
    /// Records of events, in order of arrival.
    pub stored: Vec<Value>,
    /// Records that are about no event.
    pub controls: Vec<Value>,
    /// Numbers of requests with records that were taken.
    pub requests: usize,
    /// What was wrong with requests, in words.
    pub wrong: Vec<String>,
}

impl Azure {
    pub fn ids(&self) -> Vec<Uuid> {
        let id = |record: &Value| record["EventOriginalUid"].as_str().unwrap().parse().unwrap();
        self.stored.iter().map(id).collect()
    }

    fn token(&mut self, request: &Request) -> Reply {
        let form = request.form();
        let expected = [
            ("grant_type", "client_credentials"),
            ("client_id", CLIENT),
            ("client_secret", SECRET),
            ("scope", "https://monitor.azure.com/.default"),
        ];
        let is_good = expected
            .iter()
            .all(|(name, value)| form.get(*name).map(String::as_str) == Some(value));
        if !is_good || request.header("content-type") != "application/x-www-form-urlencoded" {
            self.wrong.push(format!("token request {form:?}"));
        }
        if let Some((status, word, said)) = self.no_token {
            return Reply::json(status, &json!({"error": word, "error_description": said}));
        }
        self.given += 1;
        let token = format!("eyJ.{}", self.given);
        Reply::json(
            200,
            &json!({"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": token}),
        )
    }

    fn ingest(&mut self, request: &Request) -> Reply {
        let token = request.header("authorization").strip_prefix("Bearer eyJ.");
        let number: usize = token.and_then(|number| number.parse().ok()).unwrap_or_default();
        if number <= self.revoked || number > self.given {
            return refused(401, "InvalidToken");
        }
        let content = request.content().unwrap_or_default();
        if content.len() > BODY_BYTES_MAX {
            return refused(413, "ContentLengthLimitExceeded");
        }
        for (what, good) in [
            (
                "version",
                request
                    .query()
                    .get("api-version")
                    .is_some_and(|version| version == "2023-01-01"),
            ),
            ("compression", request.header("content-encoding") == "gzip"),
            ("type", request.header("content-type") == "application/json"),
            (
                "request id",
                request.header("x-ms-client-request-id").parse::<Uuid>().is_ok(),
            ),
        ] {
            if !good {
                self.wrong.push(what.to_owned());
            }
        }
        let Ok(Value::Array(records)) = serde_json::from_slice(&content) else {
            return refused(400, "InvalidRequestBody");
        };
        self.keep(records)
    }

    fn keep(&mut self, records: Vec<Value>) -> Reply {
        if self.records_max.is_some_and(|max| records.len() > max) {
            return refused(413, "ContentLengthLimitExceeded");
        }
        let any_holds = |text: &str| records.iter().any(|record| record.to_string().contains(text));
        if self.poison.is_some_and(any_holds) {
            return refused(400, "InvalidPayload");
        }
        if let Some((status, _)) = self.filtered.filter(|(_, text)| any_holds(text)) {
            return Reply::text(status, "<html>blocked</html>");
        }
        if self.breaks_over.is_some_and(any_holds) {
            return refused(500, "InternalServerError");
        }
        for record in &records {
            let known = |name: &String| COLUMNS.iter().any(|column| column.name == name);
            let is_good = record["TimeGenerated"].is_string() && record.as_object().unwrap().keys().all(known);
            if !is_good {
                self.wrong.push(format!("columns of {record}"));
            }
        }
        self.requests += usize::from(!records.is_empty());
        let (controls, events): (Vec<_>, Vec<_>) = records
            .into_iter()
            .partition(|record| record["EventOriginalType"] == CONTROL);
        self.controls.extend(controls);
        self.stored.extend(events);
        Reply::status(204)
    }
}

fn refused(status: u16, code: &str) -> Reply {
    Reply::json(status, &json!({"error": {"code": code, "message": "a message"}}))
}

impl Service for Azure {
    fn answer(&mut self, request: &Request) -> Reply {
        let stream = format!("/dataCollectionRules/{RULE}/streams/Custom-Trapline_CL");
        match (request.method.as_str(), request.path()) {
            ("POST", "/example.org/oauth2/v2.0/token") => self.token(request),
            ("POST", path) if path == stream => self.ingest(request),
            _ => refused(404, "NotFound"),
        }
    }

    fn meets_faults(&self, request: &Request) -> bool {
        request.path().starts_with("/dataCollectionRules/")
    }
}

/// A sink for both endpoints at one address, with further lines.
pub fn sink(base: &str, lines: &str, resolver: Resolver) -> Arc<dyn StreamSink> {
    let toml = format!(
        "endpoint = \"{base}\"\nauthority = \"{base}\"\nrule = \"{RULE}\"\ntenant = \"example.org\"\n\
         client_id = \"{CLIENT}\"\nclient_secret = \"{SECRET}\"\ntimeout = \"1s\"\n{lines}"
    );
    let (table, problems) = Table::for_test(&toml, SINK.keys);
    assert_eq!(problems.count(), 0, "{:?}", problems.take());
    let common = Common {
        name: "sentinel".into(),
        format: Format::Ecs,
        observer: "lure".into(),
        resolver,
        notices: NoticeSettings::default(),
    };
    (SINK.parse)(&table).build(&common).unwrap()
}
