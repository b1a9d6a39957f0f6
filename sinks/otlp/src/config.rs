//! The sink's keys and what becomes of them.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::HeaderMap;
use trapline_schemas::Format;
use trapline_sink::config::{Audience, Common, Factory, Key, KeyKind, Problem, SinkType, Table};
use trapline_sink::stream::{Fault, StreamSink};
use trapline_sink::tls::{self, Tls, TlsSettings};

use crate::headers;
use crate::proto::KeyValue;
use crate::sink::Otlp;

/// The registry row.
pub static SINK: SinkType = SinkType {
    name: "otlp",
    keys: KEYS,
    audience: Audience::Machines,
    formats: &[Format::Text, Format::Ecs, Format::Ocsf, Format::Cef, Format::Leef],
    parse,
    doc: "OpenTelemetry: each event as an OTLP log record, over gRPC or HTTP",
};

/// The port that is gRPC's.
const GRPC_PORT: u16 = 4317;
/// Most attributes of the resource that can be configured.
const RESOURCE_MAX: usize = 64;

const KEYS: &[Key] = &[
    Key::required(
        "endpoint",
        KeyKind::Address,
        "Base URL of the receiver, such as `https://otel.example:4317`; over HTTP `/v1/logs` is added.",
    ),
    Key::default(
        "protocol",
        KeyKind::Choice(&["auto", "grpc", "http/protobuf", "http/json"]),
        "\"auto\"",
        "Transport and encoding; `auto` is grpc at port 4317, else http/protobuf.",
    ),
    Key::optional(
        "headers",
        KeyKind::Secret,
        "Headers of each request, as OTEL_EXPORTER_OTLP_HEADERS has them: `api-key=…,other=…`, values percent-encoded.",
    ),
    Key::default(
        "service_name",
        KeyKind::Text,
        "\"trapline\"",
        "The resource's `service.name`, by which backends group.",
    ),
    Key::default(
        "resource",
        KeyKind::Texts,
        "[]",
        "More attributes of the resource, each `NAME=VALUE`, such as `deployment.environment.name=prod`.",
    ),
    Key::default(
        "compression",
        KeyKind::Choice(&["auto", "gzip", "none"]),
        "\"auto\"",
        "Encoding of the request body; `auto` is gzip unless the receiver is on this host.",
    ),
    Key::default(
        "event_bytes_max",
        KeyKind::Size {
            min: 2000,
            max: 1 << 20,
        },
        "\"256KiB\"",
        "Largest rendering of an event; beyond it fields are left out in the drop order.",
    ),
    Key::default(
        "request_bytes_max",
        KeyKind::Size {
            min: 16_384,
            max: 64 << 20,
        },
        "4000000",
        "Largest request before it is compressed; receivers of gRPC take 4 MiB by default.",
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

/// How the receiver is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Grpc,
    HttpProtobuf,
    HttpJson,
}

/// Validated settings.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) endpoint: Url,
    pub(crate) protocol: Protocol,
    pub(crate) headers: HeaderMap,
    pub(crate) service_name: String,
    pub(crate) resource: Vec<(String, String)>,
    pub(crate) gzip: bool,
    pub(crate) event_bytes_max: usize,
    pub(crate) request_bytes_max: usize,
    pub(crate) timeout: Duration,
}

/// What the loader keeps: settings, and the TLS table to be opened later.
#[derive(Debug)]
struct Receiver {
    settings: Settings,
    tls: Option<TlsSettings>,
}

impl Factory for Receiver {
    fn build(&self, common: &Common) -> Result<Arc<dyn StreamSink>, Fault> {
        let tls = self.tls.as_ref().map(Tls::new).transpose()?;
        Ok(Arc::new(Otlp::new(self.settings.clone(), tls, common)?))
    }

    fn look(&self, table: &Table, _: &Common) -> Vec<Problem> {
        self.tls.as_ref().map(|_| tls::look(table)).unwrap_or_default()
    }
}

fn parse(table: &Table) -> Box<dyn Factory> {
    let tls_off = table.is_off("tls");
    let endpoint = endpoint(table, tls_off);
    let encrypted = endpoint.scheme() == "https";
    let protocol = protocol(table, &endpoint);
    let gzip = match table.choice("compression") {
        "auto" => !is_loopback(&endpoint),
        compression => compression == "gzip",
    };
    let bytes = |key| usize::try_from(table.size(key)).unwrap_or(usize::MAX);
    let settings = Settings {
        protocol,
        headers: read_headers(table, protocol),
        service_name: table.text("service_name"),
        resource: resource(table),
        gzip,
        event_bytes_max: bytes("event_bytes_max"),
        request_bytes_max: bytes("request_bytes_max"),
        timeout: table.duration("timeout"),
        endpoint,
    };
    if settings.service_name.is_empty() {
        table.problem("service_name", "an empty text", "the name of a service");
    }
    let tls = TlsSettings::read(table).filter(|_| encrypted);
    Box::new(Receiver { settings, tls })
}

fn protocol(table: &Table, endpoint: &Url) -> Protocol {
    let protocol = match table.choice("protocol") {
        "grpc" => Protocol::Grpc,
        "http/protobuf" => Protocol::HttpProtobuf,
        "http/json" => Protocol::HttpJson,
        _ if endpoint.port() == Some(GRPC_PORT) => Protocol::Grpc,
        _ => Protocol::HttpProtobuf,
    };
    if protocol == Protocol::Grpc && endpoint.path() != "/" {
        table.problem_with_address("endpoint", "a URL without a path: gRPC has its own");
    }
    protocol
}

fn read_headers(table: &Table, protocol: Protocol) -> HeaderMap {
    const FORM: &str = "`name=value,other=value`, with %2C for a comma in a value";
    let Some(secret) = table.secret("headers") else {
        return HeaderMap::new();
    };
    let headers = headers::read(&secret).unwrap_or_else(|mistake| {
        table.problem("headers", &mistake.to_string(), FORM);
        HeaderMap::new()
    });
    let is_binary = |name: &reqwest::header::HeaderName| name.as_str().ends_with("-bin");
    if protocol == Protocol::Grpc && headers.keys().any(is_binary) {
        let allowed = "names without `-bin` at the end, which is gRPC's mark of bytes";
        table.problem("headers", "a header whose name ends in `-bin`", allowed);
    }
    headers
}

/// Attributes that trapline sets itself cannot be configured beside `service_name`.
fn resource(table: &Table) -> Vec<(String, String)> {
    const OWN: &[&str] = &["service.name", "service.version", "service.instance.id", "host.name"];
    let mut attributes: Vec<(String, String)> = Vec::new();
    for (at, written) in table.texts("resource").iter().enumerate() {
        let pair = written.split_once('=').map(|(name, value)| (name.trim(), value.trim()));
        let objection = match pair {
            Some((name, _)) if OWN.contains(&name) => Some("a name that trapline does not set itself"),
            Some((name, _)) if attributes.iter().any(|(known, _)| known == name) => Some("each name once"),
            Some((name, _)) if is_name(name) && attributes.len() < RESOURCE_MAX => None,
            _ => Some("`NAME=VALUE`, a name of letters, digits, `.`, `_` and `-`, at most 64 of them"),
        };
        match (objection, pair) {
            (None, Some((name, value))) => attributes.push((name.to_owned(), value.to_owned())),
            (objection, _) => table.problem_at("resource", at, &format!("`{written}`"), objection.unwrap_or_default()),
        }
    }
    attributes
}

fn is_name(name: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !name.is_empty() && name.len() <= 255 && name.bytes().all(good)
}

impl Settings {
    /// The resource: who tells.
    pub(crate) fn attributes(&self, observer: &str, host: &str) -> Vec<KeyValue> {
        let own = [
            ("service.name", self.service_name.as_str()),
            ("service.version", env!("CARGO_PKG_VERSION")),
            ("service.instance.id", observer),
            ("host.name", host),
        ];
        let more = self
            .resource
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        own.into_iter()
            .chain(more)
            .map(|(name, value)| KeyValue::new(name, value))
            .collect()
    }
}

/// The base URL: `https`, or `http` to this machine or with `tls = "off"`.
fn endpoint(table: &Table, tls_off: bool) -> Url {
    let text = table.text("endpoint");
    let harmless = Url::parse("https://localhost").expect("a constant URL parses");
    let Ok(url) = Url::parse(&text) else {
        if !text.is_empty() {
            table.problem_with_address("endpoint", "a URL such as `https://otel.example:4317`");
        }
        return harmless;
    };
    if let Some(allowed) = objection(&url, tls_off) {
        table.problem_with_address("endpoint", allowed);
        return harmless;
    }
    url
}

fn objection(url: &Url, tls_off: bool) -> Option<&'static str> {
    let plain = url.scheme() == "http";
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        Some("a base URL without user, password, query or fragment; credentials go into `headers`")
    } else if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        Some("a URL with `https://` (or `http://` to this machine) and a host, also for gRPC")
    } else if url.path().trim_end_matches('/').ends_with("/v1/logs") {
        Some("the base URL alone; `/v1/logs` is added")
    } else if plain && !tls_off && !is_loopback(url) {
        Some("`https://`; `http://` goes to this machine only, or with `tls = \"off\"`")
    } else {
        None
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(toml: &str) -> Vec<String> {
        let (table, problems) = Table::for_test(toml, SINK.keys);
        let _ = (SINK.parse)(&table);
        problems.take().iter().map(|problem| problem.rich(false)).collect()
    }

    fn settled(toml: &str) -> (Protocol, bool) {
        let (table, problems) = Table::for_test(toml, SINK.keys);
        let url = endpoint(&table, table.is_off("tls"));
        let settled = (protocol(&table, &url), is_loopback(&url));
        assert_eq!(problems.count(), 0, "{:?}", problems.take());
        settled
    }

    #[test]
    fn the_port_says_which_protocol_unless_it_is_written() {
        let of = |toml: &str| settled(toml).0;
        assert_eq!(of("endpoint = 'https://otel.example:4317'"), Protocol::Grpc);
        assert_eq!(of("endpoint = 'https://otel.example:4318'"), Protocol::HttpProtobuf);
        assert_eq!(of("endpoint = 'https://otel.example/otlp'"), Protocol::HttpProtobuf);
        assert_eq!(
            of("endpoint = 'https://otel.example'\nprotocol = 'grpc'"),
            Protocol::Grpc
        );
        assert_eq!(
            of("endpoint = 'http://[::1]:4317'\nprotocol = 'http/json'"),
            Protocol::HttpJson
        );
    }

    #[test]
    fn every_mistake_is_told_with_what_is_allowed() {
        let good = "endpoint = 'https://otel.example:4317'\n";
        for (toml, said) in [
            ("endpoint = 'otel.example:4317'".to_owned(), "`https://`"),
            ("endpoint = 'http://otel.example:4317'".to_owned(), "tls = \"off\""),
            (
                "endpoint = 'https://user:hush@otel.example'".to_owned(),
                "credentials go into `headers`",
            ),
            (
                "endpoint = 'https://otel.example/v1/logs'".to_owned(),
                "`/v1/logs` is added",
            ),
            (
                "endpoint = 'https://otel.example:4317/otlp'".to_owned(),
                "gRPC has its own",
            ),
            (format!("{good}headers = 'hush'"), "no `name=value` as header 1"),
            (format!("{good}headers = 'key-bin=hush'"), "`-bin`"),
            (format!("{good}headers = 'te=hush'"), "`te`, which trapline sets itself"),
            (format!("{good}resource = ['a']"), "NAME=VALUE"),
            (format!("{good}resource = ['host.name=x']"), "does not set itself"),
            (format!("{good}resource = ['a=1', 'a=2']"), "each name once"),
            (format!("{good}service_name = ''"), "the name of a service"),
            (format!("{good}protocol = 'http'"), "http/protobuf"),
        ] {
            let told = problems(&toml);
            assert_eq!(told.len(), 1, "{toml}: {told:?}");
            assert!(told[0].contains(said), "{toml}: {told:?}");
            assert!(!told[0].contains("hush"), "{told:?}");
        }
        assert_eq!(
            problems("endpoint = 'http://otel.example:4317'\ntls = 'off'"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn settings_show_no_header_value() {
        let (table, _) = Table::for_test("endpoint = 'https://o.example'\nheaders = 'api-key=hush'", SINK.keys);
        assert!(!format!("{:?}", (SINK.parse)(&table)).contains("hush"));
    }
}
