//! The sink's keys and what becomes of them.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use trapline_schemas::Format;
use trapline_sink::base_url;
use trapline_sink::config::{Audience, Common, Factory, Key, KeyKind, Problem, SinkType, Table};
use trapline_sink::pattern::{Pattern, Rules, Signs, Word};
use trapline_sink::stream::{Fault, StreamSink};
use trapline_sink::tls::{self, Tls, TlsSettings};

use crate::auth::Auth;
use crate::sink::Elasticsearch;

/// The registry row.
pub static SINK: SinkType = SinkType {
    name: "elasticsearch",
    keys: KEYS,
    audience: Audience::Machines,
    formats: &[Format::Ecs, Format::Ocsf],
    parse,
    doc: "Elasticsearch and OpenSearch: bulk requests, each event once under its id",
};

/// What an index may be called: the signs that every version takes, so that nothing needs an escape in a path. A dot or a
/// hyphen would part the names of a data stream.
static INDEX: Rules = Rules {
    what: "index",
    whose: "Elasticsearch",
    chars_max: 255,
    signs: Signs::LowerCase,
    instead: '_',
    parting: &['.', '-'],
    not_first: &['.', '_', '-', '{'],
    refused: &[],
    words: &[
        Word::Site,
        Word::Observer,
        Word::Level,
        Word::Action,
        Word::Day,
        Word::Month,
    ],
};

const KEYS: &[Key] = &[
    Key::required(
        "endpoint",
        KeyKind::Address,
        "Base URL of the cluster or what stands before it, such as `https://es.example:9200`.",
    ),
    Key::default(
        "index",
        KeyKind::Text,
        "\"logs-trapline.events-default\"",
        "Data stream, index or alias to write to; `{site}`, `{observer}`, `{level}`, `{action}`, `{yyyy.mm.dd}` and \
         `{yyyy.mm}` stand for those of the event.",
    ),
    Key::default(
        "op",
        KeyKind::Choice(&["create", "index"]),
        "\"create\"",
        "`create`: an event that is there stays as it is, and data streams take nothing else. `index`: it is written over.",
    ),
    Key::optional("pipeline", KeyKind::Text, "Ingest pipeline to send events through."),
    Key::default(
        "require",
        KeyKind::Choice(&["none", "alias", "data_stream"]),
        "\"none\"",
        "What the index must be, or nothing is written: an alias, or a data stream (Elasticsearch from 8.13 on).",
    ),
    Key::optional(
        "api_key",
        KeyKind::Secret,
        "API key, as Elastic shows it encoded, or `id:api_key`.",
    ),
    Key::optional("username", KeyKind::Text, "User, with `password`."),
    Key::optional("password", KeyKind::Secret, "The user's password."),
    Key::optional("token", KeyKind::Secret, "Bearer token."),
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

/// How a document is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Create,
    Index,
}

impl Op {
    /// The action's name in a bulk request and its answer.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Index => "index",
        }
    }
}

/// What the index must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Require {
    Nothing,
    Alias,
    DataStream,
}

/// Validated settings.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) endpoint: Url,
    pub(crate) index: Pattern,
    pub(crate) op: Op,
    pub(crate) pipeline: Option<String>,
    pub(crate) require: Require,
    pub(crate) auth: Auth,
    pub(crate) gzip: bool,
    pub(crate) timeout: Duration,
}

/// What the loader keeps: settings, and the TLS table to be opened later.
#[derive(Debug)]
struct Cluster {
    settings: Settings,
    tls: Option<TlsSettings>,
}

impl Factory for Cluster {
    fn build(&self, common: &Common) -> Result<Arc<dyn StreamSink>, Fault> {
        let tls = self.tls.as_ref().map(Tls::new).transpose()?;
        Ok(Arc::new(Elasticsearch::new(self.settings.clone(), tls, common)?))
    }

    fn look(&self, table: &Table, _: &Common) -> Vec<Problem> {
        self.tls.as_ref().map(|_| tls::look(table)).unwrap_or_default()
    }
}

fn parse(table: &Table) -> Box<dyn Factory> {
    let settings = Settings::read(table);
    let encrypted = settings.endpoint.scheme() == "https";
    let tls = TlsSettings::read(table).filter(|_| encrypted);
    Box::new(Cluster { settings, tls })
}

impl Settings {
    fn read(table: &Table) -> Self {
        Self {
            endpoint: endpoint(table),
            index: index(table),
            op: match table.choice("op") {
                "index" => Op::Index,
                _ => Op::Create,
            },
            pipeline: pipeline(table),
            require: match table.choice("require") {
                "alias" => Require::Alias,
                "data_stream" => Require::DataStream,
                _ => Require::Nothing,
            },
            auth: auth(table),
            gzip: table.choice("compression") == "gzip",
            timeout: table.duration("timeout"),
        }
    }
}

fn endpoint(table: &Table) -> Url {
    let url = base_url::read(table, "endpoint", "https://es.example:9200");
    if url.path().contains("/_bulk") {
        table.problem_with_address("endpoint", "the base URL alone; `/_bulk` is added");
    }
    url
}

fn index(table: &Table) -> Pattern {
    let pattern = Pattern::parse(&table.text("index"), &INDEX).unwrap_or_else(|wrong| {
        table.problem("index", &wrong.found, &wrong.allowed);
        Pattern::parse("none", &INDEX).expect("a plain word is an index")
    });
    let is_stream = table.choice("require") == "data_stream";
    if is_stream && table.choice("op") == "index" {
        table.problem(
            "op",
            "`index` where a data stream is required",
            "`create`, which is all that one takes",
        );
    }
    pattern
}

/// A pipeline's id goes into a query, which encodes it; only what is surely a mistake is refused.
fn pipeline(table: &Table) -> Option<String> {
    let name = table.text_opt("pipeline")?;
    if !(1..=255).contains(&name.len()) || name.contains(char::is_control) {
        table.problem("pipeline", "what is no pipeline's id", "1 to 255 printable characters");
    }
    Some(name)
}

/// One way at most, and a whole one.
fn auth(table: &Table) -> Auth {
    let ways = ["api_key", "username", "token"].map(|key| (key, table.is_set(key)));
    let mut set = ways.iter().filter(|(_, set)| *set).map(|(key, _)| *key);
    let (first, second) = (set.next(), set.next());
    if let (Some(first), Some(second)) = (first, second) {
        table.problem(second, &format!("both `{first}` and `{second}`"), "one of them");
    }
    if table.is_set("username") != table.is_set("password") {
        let lone = if table.is_set("username") {
            "username"
        } else {
            "password"
        };
        table.problem(lone, &format!("`{lone}` alone"), "`username` and `password` together");
    }
    let secret = |key| table.secret(key).unwrap_or_default();
    let auth = match first {
        Some("api_key") => Auth::ApiKey(secret("api_key")),
        Some("username") => basic(table),
        Some(_) => Auth::Token(secret("token")),
        None => Auth::None,
    };
    if let (Err(_), Some(key)) = (auth.header(), first) {
        table.problem(
            key,
            &format!("`{key}` holds bytes that no header can carry"),
            "one line of printable characters",
        );
    }
    auth
}

fn basic(table: &Table) -> Auth {
    let username = table.text("username");
    if username.is_empty() || username.contains(|sign: char| sign == ':' || sign.is_control()) {
        table.problem("username", "what is no user's name", "a name without `:`");
    }
    Auth::Basic {
        username,
        password: table.secret("password").unwrap_or_default(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const BASE: &str = "endpoint = \"http://127.0.0.1:1\"\n";

    /// Settings of a good table: the base and these lines.
    pub(crate) fn settings(lines: &str) -> Settings {
        let (table, problems) = Table::for_test(&format!("{BASE}{lines}"), KEYS);
        let settings = Settings::read(&table);
        assert!(!problems.has_errors(), "{:?}", problems.take());
        settings
    }

    fn problems(toml: &str) -> Vec<String> {
        let (table, problems) = Table::for_test(toml, KEYS);
        parse(&table);
        problems.take().iter().map(ToString::to_string).collect()
    }

    fn problem(lines: &str) -> String {
        let told = problems(&format!("{BASE}{lines}"));
        assert_eq!(told.len(), 1, "{told:?}");
        told[0].clone()
    }

    #[test]
    fn the_least_table_is_good_and_has_the_defaults() {
        let settings = settings("");
        assert_eq!(settings.index.fixed(), Some("logs-trapline.events-default"));
        assert_eq!((settings.op, settings.require), (Op::Create, Require::Nothing));
        assert!(settings.gzip && matches!(settings.auth, Auth::None) && settings.pipeline.is_none());
    }

    #[test]
    fn an_endpoint_is_a_base_url_and_a_wrong_one_does_not_show_its_secret() {
        for url in [
            "https://me:hush@es:9200",
            "http://es:9200",
            "https://es:9200/_bulk",
            "es:9200",
            "",
            "https://es/?a=hush",
        ] {
            let told = problems(&format!("endpoint = \"{url}\""));
            assert!(told.len() == 1 && !told[0].contains("hush"), "{url}: {told:?}");
        }
        assert_eq!(
            problems("endpoint = \"http://es:9200\"\ntls = \"off\""),
            Vec::<String>::new()
        );
        assert_eq!(problems("").len(), 1, "it is required");
    }

    #[test]
    fn an_index_is_one_that_every_version_takes() {
        assert!(problem("index = \"Logs-X\"").contains("`L` in the index"));
        assert!(problem("index = \"a,b\"").contains("`,` in the index"));
        assert!(problem("index = \"hp-{user.name}\"").contains("`{user.name}` in an index"));
        assert!(settings("index = \"hp-{site}-{yyyy.mm.dd}\"").index.fixed().is_none());
    }

    #[test]
    fn one_way_to_say_who_we_are_and_a_whole_one() {
        assert!(problem("api_key = \"hush\"\ntoken = \"hush\"").contains("both `api_key` and `token`"));
        assert!(problem("username = \"u\"").contains("`username` alone"));
        assert!(problem("password = \"hush\"").contains("`password` alone"));
        assert!(problem("username = \"a:b\"\npassword = \"hush\"").contains("without `:`"));
        let unfit = problem("token = \"hu\\u0000sh\"");
        assert!(
            unfit.contains("no header can carry") && !unfit.contains("hush"),
            "{unfit}"
        );
        let basic = settings("username = \"u\"\npassword = \"hush\"");
        assert!(matches!(basic.auth, Auth::Basic { .. }) && !format!("{basic:?}").contains("hush"));
    }

    #[test]
    fn a_data_stream_takes_nothing_but_create() {
        assert!(problem("op = \"index\"\nrequire = \"data_stream\"").contains("a data stream is required"));
        assert!(problem("pipeline = \"a\\nb\"").contains("pipeline"));
    }
}
