//! The sink's keys and what becomes of them.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use trapline_schemas::Format;
use trapline_sink::base_url;
use trapline_sink::config::{Audience, Common, Factory, Key, KeyKind, Problem, SinkType, Table};
use trapline_sink::http::HttpClient;
use trapline_sink::oauth::{Credentials, Tokens};
use trapline_sink::stream::{Fault, StreamSink};
use trapline_sink::tls::{self, Tls, TlsSettings};

use crate::answer::HINTS;
use crate::sink::Sentinel;

/// The registry row.
pub static SINK: SinkType = SinkType {
    name: "sentinel",
    keys: KEYS,
    audience: Audience::Machines,
    formats: &[Format::Ecs, Format::Ocsf],
    parse,
    doc: "Microsoft Sentinel: records of a Log Analytics table, by the Logs Ingestion API",
};

const KEYS: &[Key] = &[
    Key::required(
        "endpoint",
        KeyKind::Address,
        "Logs ingestion URL of the rule or of a data collection endpoint, `https://….ingest.monitor.azure.com`.",
    ),
    Key::required(
        "rule",
        KeyKind::Text,
        "Immutable id of the data collection rule, `dcr-` and 32 hex digits.",
    ),
    Key::default(
        "stream",
        KeyKind::Text,
        "\"Custom-Trapline_CL\"",
        "Stream that the rule declares, `Custom-` and a name.",
    ),
    Key::required(
        "tenant",
        KeyKind::Text,
        "Directory (tenant) of the application: its id or a domain of it.",
    ),
    Key::required("client_id", KeyKind::Text, "Application (client) id."),
    Key::required(
        "client_secret",
        KeyKind::Secret,
        "Value of a secret of the application.",
    ),
    Key::default(
        "authority",
        KeyKind::Address,
        "\"https://login.microsoftonline.com\"",
        "Who gives tokens; a sovereign cloud has its own, such as `https://login.microsoftonline.us`.",
    ),
    Key::default(
        "scope",
        KeyKind::Text,
        "\"https://monitor.azure.com/.default\"",
        "What the token is for; in a sovereign cloud such as `https://monitor.azure.us/.default`.",
    ),
    Key::default(
        "compression",
        KeyKind::Choice(&["gzip", "none"]),
        "\"gzip\"",
        "Encoding of the request body.",
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

/// Validated settings.
#[derive(Debug)]
struct Settings {
    endpoint: Url,
    path: String,
    authority: Url,
    token_path: String,
    credentials: Credentials,
    gzip: bool,
    timeout: Duration,
    tls: Option<TlsSettings>,
}

impl Factory for Settings {
    fn build(&self, common: &Common) -> Result<Arc<dyn StreamSink>, Fault> {
        let client = |url: &Url, tls: Option<&TlsSettings>| {
            let tls = tls.filter(|_| url.scheme() == "https").map(Tls::new).transpose()?;
            HttpClient::new(url.clone(), tls, self.timeout, common.resolver.clone())
        };
        let token_client = client(&self.authority, self.of_authority().as_ref())?;
        let tokens = Tokens::new(token_client, &self.token_path, self.credentials.clone(), HINTS);
        let ingestion = client(&self.endpoint, self.tls.as_ref())?;
        Ok(Arc::new(Sentinel::new(
            ingestion,
            tokens,
            &self.path,
            common.format,
            self.gzip,
        )))
    }

    fn look(&self, table: &Table, _: &Common) -> Vec<Problem> {
        self.tls.as_ref().map(|_| tls::look(table)).unwrap_or_default()
    }
}

impl Settings {
    /// The authority is another host: whom to trust holds there too, who we are and what the other is called does not.
    fn of_authority(&self) -> Option<TlsSettings> {
        let ca = self.tls.as_ref().and_then(|tls| tls.ca.clone());
        Some(TlsSettings {
            ca,
            ..TlsSettings::default()
        })
    }
}

fn parse(table: &Table) -> Box<dyn Factory> {
    Box::new(read(table))
}

fn read(table: &Table) -> Settings {
    let rule = text(
        table,
        "rule",
        is_rule,
        "`dcr-` and 32 hex digits: the rule's immutable id, not its name",
    );
    let stream = text(table, "stream", is_stream, "`Custom-`, then letters, digits and `_`");
    let tenant = text(table, "tenant", is_tenant, "a tenant's id or domain");
    Settings {
        endpoint: endpoint(table),
        path: format!("dataCollectionRules/{rule}/streams/{stream}"),
        authority: base_url::read(table, "authority", "https://login.microsoftonline.com"),
        token_path: format!("{tenant}/oauth2/v2.0/token"),
        credentials: Credentials {
            client_id: text(table, "client_id", is_tenant, "an application's id"),
            client_secret: table.secret("client_secret").unwrap_or_default(),
            scope: text(table, "scope", is_scope, "a URI that ends in `/.default`"),
        },
        gzip: table.choice("compression") == "gzip",
        timeout: table.duration("timeout"),
        tls: TlsSettings::read(table),
    }
}

/// A text that must be of some form; what is wrong is told, for none of them is a secret.
fn text(table: &Table, key: &str, is_good: fn(&str) -> bool, allowed: &str) -> String {
    let text = table.text(key);
    if table.is_good(key) && !text.is_empty() && !is_good(&text) {
        table.problem(key, &format!("`{}`", trapline_sink::config::shown(&text)), allowed);
    }
    text
}

fn is_rule(text: &str) -> bool {
    let id = text.strip_prefix("dcr-").unwrap_or_default();
    id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_stream(text: &str) -> bool {
    let name = text.strip_prefix("Custom-").unwrap_or_default();
    (1..=100).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Also an application: an id, or a domain.
fn is_tenant(text: &str) -> bool {
    let of_domain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    (1..=253).contains(&text.len()) && text.bytes().all(of_domain) && !text.contains("..")
}

fn is_scope(text: &str) -> bool {
    text.len() <= 253 && text.ends_with("/.default") && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn endpoint(table: &Table) -> Url {
    let url = base_url::read(
        table,
        "endpoint",
        "https://trapline-x1y2.westeurope-1.ingest.monitor.azure.com",
    );
    if url.path().contains("/dataCollectionRules") {
        table.problem_with_address("endpoint", "the base URL alone; `/dataCollectionRules/…` is added");
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "endpoint = \"https://x.westeurope-1.ingest.monitor.azure.com\"\n\
                        rule = \"dcr-0123456789abcdef0123456789abcdef\"\ntenant = \"example.org\"\n\
                        client_id = \"00000000-0000-0000-0000-000000000000\"\nclient_secret = \"hush\"\n";

    fn problems(toml: &str) -> Vec<String> {
        let (table, problems) = Table::for_test(toml, KEYS);
        read(&table);
        problems.take().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_least_table_is_good_and_has_the_defaults() {
        let (table, problems) = Table::for_test(BASE, KEYS);
        let settings = read(&table);
        assert_eq!(problems.count(), 0, "{:?}", problems.take());
        assert_eq!(
            settings.path,
            "dataCollectionRules/dcr-0123456789abcdef0123456789abcdef/streams/Custom-Trapline_CL"
        );
        assert_eq!(settings.authority.as_str(), "https://login.microsoftonline.com/");
        assert_eq!(settings.token_path, "example.org/oauth2/v2.0/token");
        assert_eq!(settings.credentials.scope, "https://monitor.azure.com/.default");
        assert!(settings.gzip && !format!("{settings:?}").contains("hush"));
    }

    #[test]
    fn nothing_is_put_into_a_path_that_is_not_what_it_should_be() {
        for (key, good, bad) in [
            ("rule", "dcr-0123456789abcdef0123456789abcdef", "my-rule"),
            (
                "rule",
                "dcr-0123456789abcdef0123456789abcdef",
                "dcr-../../../../../../../../../../x",
            ),
            ("tenant", "example.org", "example.org/x"),
            ("tenant", "example.org", ".."),
            ("client_id", "00000000-0000-0000-0000-000000000000", "a b"),
        ] {
            let told = problems(&BASE.replace(&format!("{key} = \"{good}\""), &format!("{key} = \"{bad}\"")));
            assert!(told.len() == 1 && told[0].contains(bad), "{key}: {told:?}");
        }
        for line in [
            "stream = \"Trapline_CL\"",
            "stream = \"Custom-a/b\"",
            "scope = \"https://monitor.azure.com\"",
        ] {
            assert_eq!(problems(&format!("{BASE}{line}")).len(), 1, "{line}");
        }
        assert_eq!(problems("").len(), 5, "what is required");
    }

    #[test]
    fn both_urls_go_encrypted_or_stay_here_and_show_no_secret() {
        for line in [
            "authority = \"http://login.example\"",
            "authority = \"https://me:hush@login.example\"",
        ] {
            let told = problems(&format!("{BASE}{line}"));
            assert!(told.len() == 1 && !told[0].contains("hush"), "{told:?}");
        }
        let endpoint = problems(&BASE.replace(".com\"", ".com/dataCollectionRules/dcr-1\""));
        assert!(endpoint[0].contains("the base URL alone"), "{endpoint:?}");
    }

    #[test]
    fn the_authority_shares_whom_we_trust_and_nothing_else() {
        let lines = "tls = { ca = \"ca.pem\", cert = \"c.pem\", key = \"k.pem\", server_name = \"x.example\" }";
        let (table, _) = Table::for_test(&format!("{BASE}{lines}"), KEYS);
        let tls = read(&table).of_authority().unwrap();
        assert!(tls.ca.is_some() && tls.cert.is_none() && tls.key.is_none() && tls.server_name.is_none());
    }
}
