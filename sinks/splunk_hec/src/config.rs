//! The sink's keys and what becomes of them.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::HeaderValue;
use trapline_schemas::Format;
use trapline_sink::base_url;
use trapline_sink::config::{Audience, Common, ExposeSecret, Factory, Key, KeyKind, Problem, Secret, SinkType, Table};
use trapline_sink::stream::{Fault, StreamSink};
use trapline_sink::tls::{self, Tls, TlsSettings};

use crate::sink::SplunkHec;

/// The registry row.
pub static SINK: SinkType = SinkType {
    name: "splunk_hec",
    keys: KEYS,
    audience: Audience::Machines,
    follows_incidents: false,
    formats: &[Format::Ecs, Format::Ocsf, Format::Cef, Format::Leef, Format::Text],
    parse,
    doc: "Splunk HTTP Event Collector: batches, gzip, indexer acknowledgement",
};

const KEYS: &[Key] = &[
    Key::required(
        "endpoint",
        KeyKind::Address,
        "Base URL of the collector, such as `https://hec.example:8088`.",
    ),
    Key::required("token", KeyKind::Secret, "The collector's token."),
    Key::default(
        "acknowledge",
        KeyKind::Bool,
        "false",
        "Wait until an indexer has the event; the token must have acknowledgement on.",
    ),
    Key::default(
        "acknowledge_timeout",
        KeyKind::Duration {
            min: Duration::from_secs(1),
            max: Duration::from_secs(3600),
        },
        "\"5m\"",
        "How long to wait for an acknowledgement before the events are sent again.",
    ),
    Key::default(
        "acknowledge_interval",
        KeyKind::Duration {
            min: Duration::from_millis(50),
            max: Duration::from_secs(60),
        },
        "\"2s\"",
        "Longest pause between two questions for an acknowledgement.",
    ),
    Key::optional(
        "index",
        KeyKind::Text,
        "Index to write to; the token's default if left out.",
    ),
    Key::optional("source", KeyKind::Text, "Value of `source`; `trapline` if left out."),
    Key::optional(
        "sourcetype",
        KeyKind::Text,
        "Value of `sourcetype`; `trapline:` and the format if left out.",
    ),
    Key::default(
        "compression",
        KeyKind::Choice(&["auto", "gzip", "none"]),
        "\"auto\"",
        "Encoding of the request body; `auto` is gzip unless the collector is on this host.",
    ),
    Key::default(
        "event_bytes_max",
        KeyKind::Size {
            min: 1000,
            max: 1_000_000,
        },
        "9500",
        "Largest event; beyond it fields are left out in the drop order. Splunk cuts at 10000 by default.",
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

/// Validated settings.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) endpoint: reqwest::Url,
    pub(crate) token: Secret,
    pub(crate) acknowledge: bool,
    pub(crate) acknowledge_timeout: Duration,
    pub(crate) acknowledge_interval: Duration,
    pub(crate) index: Option<String>,
    pub(crate) source: String,
    pub(crate) sourcetype: Option<String>,
    pub(crate) gzip: bool,
    pub(crate) event_bytes_max: usize,
    pub(crate) timeout: Duration,
}

/// What the loader keeps: settings, and the TLS table to be opened later.
#[derive(Debug)]
struct Hec {
    settings: Settings,
    tls: Option<TlsSettings>,
}

impl Factory for Hec {
    fn build(&self, common: &Common) -> Result<Arc<dyn StreamSink>, Fault> {
        let tls = self.tls.as_ref().map(Tls::new).transpose()?;
        Ok(Arc::new(SplunkHec::new(self.settings.clone(), tls, common)?))
    }

    fn look(&self, table: &Table, _: &Common) -> Vec<Problem> {
        self.tls.as_ref().map(|_| tls::look(table)).unwrap_or_default()
    }
}

fn parse(table: &Table) -> Box<dyn Factory> {
    let token = table.secret("token").unwrap_or_default();
    if HeaderValue::from_str(token.expose_secret()).is_err() {
        table.problem(
            "token",
            "`token` holds bytes that no header can carry",
            "one line of printable characters",
        );
    }
    let endpoint = endpoint(table);
    let encrypted = endpoint.scheme() == "https";
    let gzip = match table.choice("compression") {
        "auto" => !base_url::is_loopback(&endpoint),
        compression => compression == "gzip",
    };
    let settings = Settings {
        endpoint,
        token,
        acknowledge: table.bool("acknowledge"),
        acknowledge_timeout: table.duration("acknowledge_timeout"),
        acknowledge_interval: table.duration("acknowledge_interval"),
        index: table.text_opt("index"),
        source: table.text_opt("source").unwrap_or_else(|| "trapline".to_owned()),
        sourcetype: table.text_opt("sourcetype"),
        gzip,
        event_bytes_max: usize::try_from(table.size("event_bytes_max")).unwrap_or(usize::MAX),
        timeout: table.duration("timeout"),
    };
    let tls = TlsSettings::read(table).filter(|_| encrypted);
    Box::new(Hec { settings, tls })
}

fn endpoint(table: &Table) -> reqwest::Url {
    let url = base_url::read(table, "endpoint", "https://hec.example:8088");
    if url.path().contains("/services/collector") {
        table.problem_with_address("endpoint", "the base URL alone; `/services/collector/event` is added");
    }
    url
}
