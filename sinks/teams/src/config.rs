//! The sink's keys and what becomes of them.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use trapline_notice::Voice;
use trapline_schemas::Format;
use trapline_sink::config::{Audience, Common, ExposeSecret, Factory, Key, KeyKind, Problem, Secret, SinkType, Table};
use trapline_sink::http::HttpClient;
use trapline_sink::stream::{Fault, FaultKind, StreamSink};
use trapline_sink::tls::{self, Tls, TlsSettings};

use crate::sink::{Line, Teams};

/// The registry row.
pub static SINK: SinkType = SinkType {
    name: "teams",
    keys: KEYS,
    audience: Audience::People,
    follows_incidents: false,
    // A notice has no form of events; the plainest one stands for it.
    formats: &[Format::Text],
    parse,
    doc: "Microsoft Teams: a card per notice, by the webhook of a workflow",
};

const KEYS: &[Key] = &[
    Key::required(
        "webhook_url",
        KeyKind::Secret,
        "Webhook of a workflow, the whole URL; its query is the credential.",
    ),
    Key::default(
        "interval",
        KeyKind::Duration {
            min: Duration::from_millis(250),
            max: Duration::from_secs(3600),
        },
        "\"1s\"",
        "Shortest time between two messages. Teams takes about four a second.",
    ),
    Key::optional(
        "tone",
        KeyKind::Text,
        "Voice of the notices; that of `[notices]` if left out.",
    ),
    Key::default(
        "timeout",
        KeyKind::Duration {
            min: Duration::from_millis(100),
            max: Duration::from_secs(300),
        },
        "\"30s\"",
        "Longest wait for one answer, from the connection to its last byte.",
    ),
    tls::KEY,
];

/// What the loader keeps.
#[derive(Debug)]
struct Settings {
    base: Url,
    path: Secret,
    query: Option<Secret>,
    interval: Duration,
    tone: String,
    timeout: Duration,
    tls: Option<TlsSettings>,
}

impl Factory for Settings {
    fn build(&self, common: &Common) -> Result<Arc<dyn StreamSink>, Fault> {
        let tls = self.tls.as_ref().map(Tls::new).transpose()?;
        let voice = Voice::new(&self.tone, &common.notices).map_err(|error| Fault {
            kind: FaultKind::Config,
            message: error.to_string(),
        })?;
        let line = Line {
            client: HttpClient::new(self.base.clone(), tls, self.timeout, common.resolver.clone())?,
            path: self.path.clone(),
            query: self.query.clone(),
        };
        Ok(Arc::new(Teams::new(line, voice, self.interval)))
    }

    fn look(&self, table: &Table, common: &Common) -> Vec<Problem> {
        let mut problems = self.tls.as_ref().map(|_| tls::look(table)).unwrap_or_default();
        problems.extend(Voice::look(table, "tone", &common.notices));
        problems
    }
}

fn parse(table: &Table) -> Box<dyn Factory> {
    let mut base = webhook(table);
    let encrypted = base.scheme() == "https";
    let path = base.path().trim_start_matches('/').to_owned().into();
    let query = base.query().map(|query| query.to_owned().into());
    base.set_path("");
    base.set_query(None);
    Box::new(Settings {
        base,
        path,
        query,
        interval: table.duration("interval"),
        tone: table.text("tone"),
        timeout: table.duration("timeout"),
        tls: TlsSettings::read(table).filter(|_| encrypted),
    })
}

/// The webhook's URL; a harmless one stands in for what is wrong, which is told.
fn webhook(table: &Table) -> Url {
    let secret = table.secret("webhook_url").unwrap_or_default();
    let found = Url::parse(secret.expose_secret().trim()).map_err(|_| WEBHOOK);
    match found.and_then(|url| objection(&url, table.is_off("tls")).map_or(Ok(url), Err)) {
        Ok(url) => {
            if !is_loopback(&url) && !url.query_pairs().any(|(name, _)| name == "sig") {
                let found = "a URL without `sig=`, which is the credential";
                table.warning("webhook_url", found, WEBHOOK);
            }
            url
        }
        Err(allowed) => {
            table.problem("webhook_url", "a URL that is no workflow's", allowed);
            Url::parse("https://localhost").expect("a constant URL parses")
        }
    }
}

const WEBHOOK: &str = "the URL that the workflow shows, whole, from `https://` to the end of `sig=…`";

fn objection(url: &Url, tls_off: bool) -> Option<&'static str> {
    let host = url.host_str().unwrap_or_default();
    if host.ends_with(".webhook.office.com") || host == "outlook.office.com" {
        Some("a workflow's URL: connectors of Office 365 are retired; make a workflow in the channel's menu")
    } else if url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        Some("a URL without user, password or fragment")
    } else if !matches!(url.scheme(), "http" | "https") || url.path() == "/" {
        Some(WEBHOOK)
    } else if url.scheme() == "http" && !tls_off && !is_loopback(url) {
        Some("`https://`; `http://` goes to this machine only, or with `tls = \"off\"`")
    } else {
        None
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let address = host.parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}
