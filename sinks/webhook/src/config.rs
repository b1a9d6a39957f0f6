//! The sink's keys and what becomes of them.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::HeaderMap;
use trapline_schemas::Format;
use trapline_sink::config::{Audience, Common, Factory, Key, KeyKind, Problem, SinkType, Table};
use trapline_sink::http::HttpClient;
use trapline_sink::said::Said;
use trapline_sink::secret_url::SecretUrl;
use trapline_sink::stream::{Fault, StreamSink};
use trapline_sink::tls::{self, Tls, TlsSettings};
use trapline_template::{Body, Condition, Mistake, Names, samples};

use crate::answer;
use crate::endpoint;
use crate::headers;
use crate::payload::{Payload, WHOLE, Writer};
use crate::signer::Signer;
use crate::sink::{Line, Webhook};

/// The registry row.
pub static SINK: SinkType = SinkType {
    name: "webhook",
    keys: KEYS,
    audience: Audience::Machines,
    follows_incidents: false,
    formats: &[Format::Ecs, Format::Ocsf],
    parse,
    doc: "Webhook: signed JSON requests (Standard Webhooks), whole events or a template, one by one or in batches",
};

const KEYS: &[Key] = &[
    Key::optional(
        "url",
        KeyKind::Address,
        "Where requests go, such as `https://soar.example/hooks/honeyport`. Either this or `secret_url`.",
    ),
    Key::optional(
        "secret_url",
        KeyKind::Secret,
        "The whole URL, where its path or its query is a credential.",
    ),
    Key::default(
        "method",
        KeyKind::Choice(&["POST", "PUT"]),
        "\"POST\"",
        "Method of the requests.",
    ),
    Key::default(
        "payload",
        KeyKind::Choice(Payload::WORDS),
        "\"event\"",
        "What a request holds: an event, an array of events, or lines of JSON (ndjson).",
    ),
    Key::optional(
        "body",
        KeyKind::Text,
        "JSON of an event as it is sent, with `{{ field }}` in its texts; the whole event in `format` if left out.",
    ),
    Key::optional(
        "secret",
        KeyKind::Secret,
        "Key of the signatures, `whsec_…`; while it changes two of them, the new one first, with a space between.",
    ),
    Key::optional("token", KeyKind::Secret, "Bearer token."),
    Key::optional(
        "username",
        KeyKind::Text,
        "User of basic authentication, with `password`.",
    ),
    Key::optional("password", KeyKind::Secret, "Password of basic authentication."),
    Key::optional(
        "headers",
        KeyKind::Pairs,
        "Further headers by name; a credential among them as `${VARIABLE}`.",
    ),
    Key::optional(
        "success",
        KeyKind::Text,
        "What must hold of an answer of 2xx, such as `body.ok == true`; it has `status` and `body`.",
    ),
    Key::default(
        "in_flight",
        KeyKind::Integer { min: 1, max: 64 },
        "1",
        "Requests under way at once; with more than 1 events may arrive in another order.",
    ),
    Key::default(
        "compression",
        KeyKind::Choice(&["none", "gzip"]),
        "\"none\"",
        "Encoding of the request body; a signature is over the compressed bytes.",
    ),
    Key::default(
        "event_bytes_max",
        KeyKind::Size {
            min: 1000,
            max: 4 << 20,
        },
        "\"256KiB\"",
        "Largest event as JSON; beyond it fields are left out in the drop order, and what a template makes is refused.",
    ),
    Key::default(
        "allow_link_local",
        KeyKind::Bool,
        "false",
        "Whether the host may have a link-local address, or one where clouds serve metadata.",
    ),
    Key::default(
        "timeout",
        KeyKind::Duration {
            min: Duration::from_millis(100),
            max: Duration::from_secs(300),
        },
        "\"10s\"",
        "Longest wait for one answer, from the connection to its last byte.",
    ),
    tls::KEY,
];

/// What the loader keeps.
#[derive(Debug)]
struct Settings {
    endpoint: SecretUrl,
    method: Method,
    headers: HeaderMap,
    signer: Option<Signer>,
    payload: Payload,
    body: Option<Arc<Body>>,
    success: Option<Arc<Condition>>,
    in_flight: usize,
    gzip: bool,
    event_bytes_max: usize,
    allow_link_local: bool,
    timeout: Duration,
    tls: Option<TlsSettings>,
}

impl Factory for Settings {
    fn build(&self, common: &Common) -> Result<Arc<dyn StreamSink>, Fault> {
        let tls = self.tls.as_ref().map(Tls::new).transpose()?;
        let resolver = match self.allow_link_local {
            true => common.resolver.clone(),
            false => common.resolver.clone().keeping(
                endpoint::is_safe,
                "it has link-local or metadata addresses alone, which `allow_link_local` allows",
            ),
        };
        let line = Line {
            client: HttpClient::new(self.endpoint.base.clone(), tls, self.timeout, resolver)?,
            method: self.method.clone(),
            path: self.endpoint.path.clone(),
            query: self.endpoint.query.clone(),
            headers: self.headers.clone(),
            signer: self.signer.clone(),
            gzip: self.gzip,
            success: self.success.clone(),
            said: Said::default(),
        };
        let writer = Writer {
            format: common.format,
            body: self.body.clone(),
            event_bytes_max: self.event_bytes_max,
        };
        let webhook = Webhook::new(line, writer, self.payload, self.in_flight, self.timeout);
        Ok(Arc::new(webhook))
    }

    fn look(&self, table: &Table, _: &Common) -> Vec<Problem> {
        self.tls.as_ref().map(|_| tls::look(table)).unwrap_or_default()
    }
}

fn parse(table: &Table) -> Box<dyn Factory> {
    let endpoint = endpoint::read(table);
    let payload = Payload::of(table.choice("payload"));
    let encrypted = endpoint.base.scheme() == "https";
    let method = match table.choice("method") {
        "PUT" => Method::PUT,
        _ => Method::POST,
    };
    Box::new(Settings {
        endpoint,
        method,
        headers: headers::read(table, payload.content_type()),
        signer: signer(table),
        payload,
        body: body(table).map(Arc::new),
        success: success(table).map(Arc::new),
        in_flight: usize::try_from(table.integer("in_flight")).unwrap_or(1),
        gzip: table.choice("compression") == "gzip",
        event_bytes_max: usize::try_from(table.size("event_bytes_max")).unwrap_or(usize::MAX),
        allow_link_local: table.bool("allow_link_local"),
        timeout: table.duration("timeout"),
        tls: TlsSettings::read(table).filter(|_| encrypted),
    })
}

fn signer(table: &Table) -> Option<Signer> {
    let read = Signer::parse(&table.secret("secret")?);
    let allowed = "`whsec_` and 24 to 64 bytes as base64; several with a space between";
    read.map_err(|found| table.problem("secret", found, allowed)).ok()
}

/// The template of an event, tried on an event with every field and on one with hardly any.
fn body(table: &Table) -> Option<Body> {
    let text = table.text_opt("body")?;
    match Body::parse_json(&text, &Names::of_events().and([WHOLE])) {
        Err(mistakes) => {
            mistakes.iter().for_each(|mistake| told(table, "body", mistake));
            None
        }
        Ok(body) => {
            let tried = samples().map(|scope| body.render(&scope.and(WHOLE, &serde_json::json!({}))));
            if let Some(error) = tried.into_iter().find_map(Result::err) {
                table.problem("body", &error.to_string(), "a template that gives JSON for every event");
            }
            Some(body)
        }
    }
}

fn success(table: &Table) -> Option<Condition> {
    let read = Condition::parse(&table.text_opt("success")?, &answer::names());
    read.map_err(|mistake| told(table, "success", &mistake)).ok()
}

fn told(table: &Table, key: &str, mistake: &Mistake) {
    let place = table.place_within(key, mistake.offset);
    let found = match mistake.place.as_str() {
        "" => mistake.found.clone(),
        pointer => format!("{} (in `{pointer}`)", mistake.found),
    };
    table.report(key, Problem::error(place, found, mistake.allowed.as_str()));
}
