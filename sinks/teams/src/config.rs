//! The sink's keys and what becomes of them.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use trapline_notice::Voice;
use trapline_schemas::Format;
use trapline_sink::base_url::{self, has_login, is_loopback, objection_to_way};
use trapline_sink::config::{Audience, Common, ExposeSecret, Factory, Key, KeyKind, Problem, SinkType, Table};
use trapline_sink::courier::Dispatch;
use trapline_sink::http::HttpClient;
use trapline_sink::pace::INTERVAL_MAX;
use trapline_sink::secret_url::SecretUrl;
use trapline_sink::stream::{Fault, StreamSink};
use trapline_sink::tls::{self, Tls, TlsSettings};

use crate::sink::Workflow;

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
            max: INTERVAL_MAX,
        },
        "\"1s\"",
        "Shortest time between two messages. Teams takes about four a second.",
    ),
    Key::optional(
        "tone",
        KeyKind::Text,
        "Voice of the notices; that of `[notices]` if left out.",
    ),
    Key::timeout("\"30s\""),
    tls::KEY,
];

/// What the loader keeps.
#[derive(Debug)]
struct Settings {
    url: SecretUrl,
    interval: Duration,
    tone: String,
    timeout: Duration,
    tls: Option<TlsSettings>,
}

impl Factory for Settings {
    fn build(&self, common: &Common) -> Result<Arc<dyn StreamSink>, Fault> {
        let tls = self.tls.as_ref().map(Tls::new).transpose()?;
        let voice = Voice::new(&self.tone, &common.notices)?;
        let workflow = Workflow {
            client: HttpClient::new(self.url.base.clone(), tls, self.timeout, common.resolver.clone())?,
            url: self.url.clone(),
            voice,
        };
        Ok(Arc::new(Dispatch::new(workflow, self.interval)))
    }

    fn look(&self, table: &Table, common: &Common) -> Vec<Problem> {
        let mut problems = self.tls.as_ref().map(|_| tls::look(table)).unwrap_or_default();
        problems.extend(Voice::look(table, "tone", &common.notices));
        problems
    }
}

fn parse(table: &Table) -> Box<dyn Factory> {
    let url = webhook(table);
    let encrypted = url.scheme() == "https";
    Box::new(Settings {
        url: SecretUrl::of(url),
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
            base_url::harmless()
        }
    }
}

const WEBHOOK: &str = "the URL that the workflow shows, whole, from `https://` to the end of `sig=…`";

/// Hosts of the connectors of Office 365, and all that is below them.
const RETIRED: [&str; 3] = ["webhook.office.com", "outlook.office.com", "outlook.office365.com"];

fn objection(url: &Url, tls_off: bool) -> Option<&'static str> {
    if RETIRED.iter().any(|host| is_below(base_url::host(url), host)) {
        Some("a workflow's URL: connectors of Office 365 are retired; make a workflow in the channel's menu")
    } else if url.fragment().is_some() || has_login(url) {
        Some("a URL without user, password or fragment")
    } else if !matches!(url.scheme(), "http" | "https") || url.path() == "/" {
        Some(WEBHOOK)
    } else {
        objection_to_way(url, tls_off)
    }
}

/// Whether a host is this one or below it.
fn is_below(host: &str, above: &str) -> bool {
    let before = host.strip_suffix(above);
    before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
}
