//! The sink's keys and what becomes of them.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::HeaderValue;
use trapline_notice::Voice;
use trapline_schemas::Format;
use trapline_sink::base_url;
use trapline_sink::config::{Audience, Common, ExposeSecret, Factory, Key, KeyKind, Problem, Secret, SinkType, Table};
use trapline_sink::courier::Dispatch;
use trapline_sink::dial::Address;
use trapline_sink::http::HttpClient;
use trapline_sink::pace::INTERVAL_MAX;
use trapline_sink::secret_url::SecretUrl;
use trapline_sink::stream::{Fault, FaultKind, StreamSink};
use trapline_sink::tls::{self, Tls, TlsSettings};

use crate::route::{Line, Route};
use crate::sink::Slack;

/// The registry row.
pub static SINK: SinkType = SinkType {
    name: "slack",
    keys: KEYS,
    audience: Audience::People,
    follows_incidents: false,
    // A notice has no form of events; the plainest one stands for it.
    formats: &[Format::Text],
    parse,
    doc: "Slack: a message per notice, by a webhook or as a bot with a thread per incident",
};

const KEYS: &[Key] = &[
    Key::optional(
        "webhook_url",
        KeyKind::Secret,
        "Incoming webhook, the whole URL; its path is the credential. Either this or `token` and `channel`.",
    ),
    Key::optional(
        "token",
        KeyKind::Secret,
        "Bot token, `xoxb-…`, with the scope chat:write; channels:history goes on with threads after a restart.",
    ),
    Key::optional(
        "channel",
        KeyKind::Text,
        "Channel to post in as a bot: its id, such as `C0123456789`, or its name.",
    ),
    Key::default(
        "threads",
        KeyKind::Bool,
        "true",
        "Whether a bot's further notices about an incident answer the first one.",
    ),
    Key::default(
        "endpoint",
        KeyKind::Address,
        "\"https://slack.com/api\"",
        "Base URL of the Web API, for a bot.",
    ),
    Key::default(
        "interval",
        KeyKind::Duration {
            min: Duration::from_millis(1),
            max: INTERVAL_MAX,
        },
        "\"1s\"",
        "Shortest time between two messages. Slack takes one a second in a channel.",
    ),
    Key::optional(
        "tone",
        KeyKind::Text,
        "Voice of the notices; that of `[notices]` if left out.",
    ),
    Key::timeout("\"10s\""),
    tls::KEY,
];

/// What the loader keeps.
#[derive(Debug)]
struct Settings {
    base: Url,
    way: Way,
    threads: bool,
    interval: Duration,
    tone: String,
    timeout: Duration,
    tls: Option<TlsSettings>,
}

#[derive(Debug)]
enum Way {
    Webhook(SecretUrl),
    Bot { token: Secret, channel: String },
}

impl Factory for Settings {
    fn build(&self, common: &Common) -> Result<Arc<dyn StreamSink>, Fault> {
        let tls = self.tls.as_ref().map(Tls::new).transpose()?;
        let voice = Voice::new(&self.tone, &common.notices)?;
        let client = HttpClient::new(self.base.clone(), tls, self.timeout, common.resolver.clone())?;
        let route = self.way.route()?;
        let channel = Slack::new(Line { client, route }, voice, self.threads);
        Ok(Arc::new(Dispatch::new(channel, self.interval)))
    }

    /// Either the webhook's or the bot's: the endpoint of a bot has a default.
    fn places(&self, _: &Table) -> Vec<Address> {
        let port = self.base.port_or_known_default();
        Address::parse(base_url::host(&self.base), port).into_iter().collect()
    }

    fn look(&self, table: &Table, common: &Common) -> Vec<Problem> {
        let mut problems = self.tls.as_ref().map(|_| tls::look(table)).unwrap_or_default();
        problems.extend(Voice::look(table, "tone", &common.notices));
        problems
    }
}

impl Way {
    fn route(&self) -> Result<Route, Fault> {
        Ok(match self {
            Self::Webhook(url) => Route::Webhook(url.clone()),
            Self::Bot { token, channel } => Route::Bot {
                authorization: bearer(token)?,
                token: token.clone(),
                channel: channel.clone(),
            },
        })
    }
}

fn bearer(token: &Secret) -> Result<HeaderValue, Fault> {
    let unusable = |_| Fault {
        kind: FaultKind::Local,
        message: "the token holds bytes that no header can carry".to_owned(),
    };
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret())).map_err(unusable)?;
    value.set_sensitive(true);
    Ok(value)
}

fn parse(table: &Table) -> Box<dyn Factory> {
    let (base, way) = match (table.is_set("webhook_url"), table.is_set("token")) {
        (true, false) => webhook(table),
        (false, true) => bot(table),
        (true, true) => {
            table.problem("token", "both `webhook_url` and `token`", "one of them");
            bot(table)
        }
        (false, false) => {
            table.problem(
                "webhook_url",
                "neither `webhook_url` nor `token`",
                "`webhook_url`, or `token` and `channel`",
            );
            bot(table)
        }
    };
    let encrypted = base.scheme() == "https";
    Box::new(Settings {
        base,
        way,
        threads: table.bool("threads"),
        interval: table.duration("interval"),
        tone: table.text("tone"),
        timeout: table.duration("timeout"),
        tls: TlsSettings::read(table).filter(|_| encrypted),
    })
}

/// The webhook's host, and its path as a secret.
fn webhook(table: &Table) -> (Url, Way) {
    for key in ["channel", "endpoint", "threads"] {
        if table.is_set(key) {
            table.problem(
                key,
                &format!("`{key}` beside `webhook_url`"),
                "no such key: it goes with `token`",
            );
        }
    }
    let secret = table.secret("webhook_url").unwrap_or_default();
    let url = Url::parse(secret.expose_secret().trim()).unwrap_or_else(|_| base_url::harmless());
    let objection = match url.path() {
        "/" => Some(WEBHOOK),
        _ => base_url::objection(&url, table.is_off("tls")),
    };
    let url = match objection {
        None => SecretUrl::of(url),
        Some(allowed) => {
            table.problem("webhook_url", "a URL that is no webhook's", allowed);
            SecretUrl::of(base_url::harmless())
        }
    };
    (url.base.clone(), Way::Webhook(url))
}

fn bot(table: &Table) -> (Url, Way) {
    let token = table.secret("token").unwrap_or_default();
    if bearer(&token).is_err() {
        table.problem(
            "token",
            "`token` holds bytes that no header can carry",
            "one line of printable characters",
        );
    }
    let channel = table.text("channel");
    let is_channel = (1..=80).contains(&channel.chars().count()) && !channel.contains(char::is_whitespace);
    if table.is_set("token") && !is_channel {
        let allowed = "a channel's id, such as `C0123456789`, or its name";
        table.problem("channel", "a token without the channel to post in", allowed);
    }
    let base = base_url::read(table, "endpoint", "https://slack.com/api");
    (base, Way::Bot { token, channel })
}

const WEBHOOK: &str = "`https://hooks.slack.com/services/T…/B…/…`, whole";
