//! The sink's keys and what becomes of them.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use trapline_notice::Voice;
use trapline_schemas::Format;
use trapline_sink::base_url;
use trapline_sink::config::{Audience, Common, ExposeSecret, Factory, Key, KeyKind, Problem, Secret, SinkType, Table};
use trapline_sink::courier::Dispatch;
use trapline_sink::http::HttpClient;
use trapline_sink::stream::{Fault, StreamSink};
use trapline_sink::tls::{self, Tls, TlsSettings};

use crate::message::{Severities, Shape};
use crate::sink::PagerDuty;

/// The registry row.
pub static SINK: SinkType = SinkType {
    name: "pagerduty",
    keys: KEYS,
    audience: Audience::People,
    follows_incidents: true,
    // The form of the whole event among the details.
    formats: &[Format::Ecs, Format::Ocsf],
    parse,
    doc: "PagerDuty: an alert per incident, resolved when the incident closes",
};

/// The severities there are.
const SEVERITIES: &[&str] = &["critical", "error", "warning", "info"];

const SEVERITY: &[Key] = &[
    Key::default(
        "proof",
        KeyKind::Choice(SEVERITIES),
        "\"critical\"",
        "Somebody left proof.",
    ),
    Key::default(
        "intent",
        KeyKind::Choice(SEVERITIES),
        "\"warning\"",
        "Somebody meant it.",
    ),
    Key::default("contact", KeyKind::Choice(SEVERITIES), "\"info\"", "Somebody knocked."),
    Key::default(
        "news",
        KeyKind::Choice(SEVERITIES),
        "\"warning\"",
        "Something of trapline itself is wrong: a sink that failed, a gap. What only started or stopped is `info`.",
    ),
];

const KEYS: &[Key] = &[
    Key::required(
        "routing_key",
        KeyKind::Secret,
        "Integration key of a service's integration `Events API V2`: 32 letters and digits.",
    ),
    Key::default(
        "endpoint",
        KeyKind::Address,
        "\"https://events.pagerduty.com\"",
        "Base URL of the Events API; accounts in the EU: `https://events.eu.pagerduty.com`.",
    ),
    Key::default(
        "severity",
        KeyKind::Table(SEVERITY),
        "{ proof = \"critical\", intent = \"warning\", contact = \"info\", news = \"warning\" }",
        "PagerDuty's severity by what was done; what is left out stays as it is.",
    ),
    Key::default(
        "whole_event",
        KeyKind::Bool,
        "false",
        "Whether the whole event, in `format`, stands among the details as well; no text in it is a link.",
    ),
    Key::default(
        "tone",
        KeyKind::Text,
        "\"plain\"",
        "Voice of the summaries; not that of `[notices]`, for they wake people.",
    ),
    Key::timeout("\"10s\""),
    tls::KEY,
];

/// Validated settings.
#[derive(Debug)]
struct Settings {
    endpoint: Url,
    routing_key: Secret,
    severities: Severities,
    whole_event: bool,
    tone: String,
    timeout: Duration,
    tls: Option<TlsSettings>,
}

impl Factory for Settings {
    fn build(&self, common: &Common) -> Result<Arc<dyn StreamSink>, Fault> {
        let tls = self.tls.as_ref().map(Tls::new).transpose()?;
        let voice = Voice::new(&self.tone, &common.notices)?;
        let service = PagerDuty {
            client: HttpClient::new(self.endpoint.clone(), tls, self.timeout, common.resolver.clone())?,
            routing_key: self.routing_key.clone(),
            voice,
            shape: Shape {
                severities: self.severities.clone(),
                whole: self.whole_event.then_some(common.format),
                observer: common.observer.clone(),
            },
        };
        // PagerDuty asks for no pace beforehand, only for pauses.
        Ok(Arc::new(Dispatch::new(service, Duration::ZERO)))
    }

    fn look(&self, table: &Table, common: &Common) -> Vec<Problem> {
        let mut problems = self.tls.as_ref().map(|_| tls::look(table)).unwrap_or_default();
        problems.extend(Voice::look(table, "tone", &common.notices));
        problems
    }
}

fn parse(table: &Table) -> Box<dyn Factory> {
    let endpoint = base_url::read_with(table, "endpoint", "https://events.eu.pagerduty.com", has_path);
    let encrypted = endpoint.scheme() == "https";
    Box::new(Settings {
        endpoint,
        routing_key: routing_key(table),
        severities: severities(table),
        whole_event: table.bool("whole_event"),
        tone: table.text("tone"),
        timeout: table.duration("timeout"),
        tls: TlsSettings::read(table).filter(|_| encrypted),
    })
}

fn routing_key(table: &Table) -> Secret {
    let key: Secret = table.secret("routing_key").unwrap_or_default();
    let text = key.expose_secret().trim();
    let is_key = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if table.is_set("routing_key") && !is_key {
        let found = format!("a key of {} characters, or with other signs", text.chars().count());
        table.problem(
            "routing_key",
            &found,
            "32 letters and digits: an integration key, no API key",
        );
    }
    text.to_owned().into()
}

fn severities(table: &Table) -> Severities {
    let severity = table.table("severity");
    let word = |key| severity.as_ref().map_or("warning", |severity| severity.choice(key));
    Severities {
        news: word("news"),
        contact: word("contact"),
        intent: word("intent"),
        proof: word("proof"),
    }
}

/// The whole URL that PagerDuty's documentation shows is no base of it.
fn has_path(url: &Url) -> Option<&'static str> {
    let is_whole = url.path().trim_end_matches('/').ends_with("/v2/enqueue") || url.path().ends_with("/v2");
    is_whole.then_some("the base URL alone; `/v2/enqueue` is added")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "routing_key = '0123456789abcdef0123456789ABCDEF'\n";

    /// What is wrong with a table, each with its place.
    fn problems(toml: &str) -> Vec<String> {
        let (table, problems) = Table::for_test(toml, SINK.keys);
        (SINK.parse)(&table);
        problems.take().iter().map(ToString::to_string).collect()
    }

    fn only(toml: &str, said: &str) {
        let found = problems(toml);
        assert!(found.len() == 1 && found[0].contains(said), "{said}: {found:?}");
    }

    #[test]
    fn a_key_is_enough_and_without_it_nothing_is() {
        assert_eq!(problems(KEY), [""; 0]);
        only("", "routing_key");
    }

    #[test]
    fn a_key_of_another_kind_is_told_without_being_shown() {
        for key in ["u+SECRETSECRETSECRE", "0123456789abcdef0123456789abcSECRET", ""] {
            let found = problems(&format!("routing_key = '{key}'"));
            assert_eq!(found.len(), 1, "{key}: {found:?}");
            assert!(
                found[0].contains("32 letters and digits") && !found[0].contains("SECRET"),
                "{found:?}"
            );
        }
    }

    #[test]
    fn the_endpoint_is_a_base_url_that_is_encrypted_or_here() {
        for (endpoint, said) in [
            ("events.pagerduty.com", "a URL such as"),
            ("http://events.pagerduty.com", "this machine only"),
            ("https://events.pagerduty.com/v2/enqueue", "is added"),
            ("https://u:p@events.pagerduty.com", "without user"),
            ("https://events.pagerduty.com?x=1", "without user"),
        ] {
            only(&format!("{KEY}endpoint = '{endpoint}'"), said);
        }
        for good in [
            "http://127.0.0.1:1",
            "http://[::1]:1",
            "https://events.eu.pagerduty.com/",
        ] {
            assert_eq!(problems(&format!("{KEY}endpoint = '{good}'")), [""; 0]);
        }
        assert_eq!(
            problems(&format!("{KEY}endpoint = 'http://relay.example'\ntls = 'off'")),
            [""; 0]
        );
    }

    #[test]
    fn a_severity_is_one_of_pagerdutys() {
        only(&format!("{KEY}severity.proof = 'fatal'"), "critical");
        assert_eq!(
            problems(&format!("{KEY}severity = {{ proof = 'error', news = 'info' }}")),
            [""; 0]
        );
    }
}
