//! The sink's keys and what becomes of them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use trapline_schemas::Format;
use trapline_sink::config::{
    Audience, Common, ExposeSecret, Factory, Key, KeyKind, Problem, Secret, SinkType, Table, seen_address,
};
use trapline_sink::dial::Address;
use trapline_sink::stream::{Fault, StreamSink};
use trapline_sink::tls::{self, Tls, TlsError, TlsSettings};

use crate::record::KeyOf;
use crate::sink::Kafka;
use crate::topic::{self, Topic};

/// Whether this build has TLS, and with it SCRAM.
const HAS_TLS: bool = cfg!(feature = "kafka-tls-system");
const NEEDS_TLS: &str = "a build with `--features kafka-tls` (or `kafka-tls-system`)";
/// Kafka's usual port.
const PORT: u16 = 9092;
/// More addresses than any cluster is asked for its members by.
const BROKERS_MAX: usize = 64;

/// The registry row.
pub static SINK: SinkType = SinkType {
    name: "kafka",
    keys: KEYS,
    audience: Audience::Machines,
    follows_incidents: false,
    formats: &[Format::Ecs, Format::Ocsf, Format::Cef, Format::Leef, Format::Text],
    parse,
    doc: "Apache Kafka: idempotent producer, keyed by source, TLS and SASL",
};

const KEYS: &[Key] = &[
    Key::required(
        "brokers",
        KeyKind::Texts,
        "Brokers to ask for the cluster's members, HOST:PORT (9092).",
    ),
    Key::required(
        "topic",
        KeyKind::Text,
        "Topic to write to, which must be there; `{site}`, `{observer}`, `{level}` and `{action}` stand for those of the event.",
    ),
    Key::default(
        "key",
        KeyKind::Choice(&["source", "observer", "event", "none"]),
        "\"source\"",
        "Key of the records, which decides the partition: the source's address keeps one source in order.",
    ),
    Key::default(
        "compression",
        KeyKind::Choice(&["lz4", "zstd", "gzip", "snappy", "none"]),
        "\"lz4\"",
        "Compression of what is sent; zstd packs tighter, for brokers and readers from 2018 on.",
    ),
    Key::default(
        "event_bytes_max",
        KeyKind::Size {
            min: 1000,
            max: 8 << 20,
        },
        "\"1MB\"",
        "Largest event; beyond it fields are left out in the drop order. Topics take 1 MiB by default.",
    ),
    Key::default(
        "timeout",
        KeyKind::Duration {
            min: Duration::from_secs(1),
            max: Duration::from_secs(60),
        },
        "\"10s\"",
        "Longest wait for a broker while none can be reached.",
    ),
    Key::default(
        "delivery_timeout",
        KeyKind::Duration {
            min: Duration::from_secs(30),
            max: Duration::from_secs(120),
        },
        "\"60s\"",
        "How long the producer tries to get an event confirmed before it is sent anew.",
    ),
    Key::optional(
        "tls",
        KeyKind::OffOr(TLS_KEYS),
        "\"off\", which is the default, or a table {ca, cert, key}; needs a build with the feature `kafka-tls`.",
    ),
    Key::optional(
        "sasl",
        KeyKind::Table(SASL_KEYS),
        "Who we are to the brokers; the SCRAM mechanisms need a build with the feature `kafka-tls`.",
    ),
];

/// librdkafka can be given neither another name nor a fingerprint.
const TLS_KEYS: &[Key] = &[tls::CA, tls::CERT, tls::CERT_KEY];

const SASL_KEYS: &[Key] = &[
    Key::required(
        "mechanism",
        KeyKind::Choice(&["plain", "scram-sha-256", "scram-sha-512"]),
        "How the password is proved.",
    ),
    Key::required("user", KeyKind::Text, "User name."),
    Key::required("password", KeyKind::Secret, "Password."),
];

/// Validated settings.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) brokers: Vec<Address>,
    pub(crate) topic: Topic,
    pub(crate) key: KeyOf,
    pub(crate) compression: &'static str,
    pub(crate) event_bytes_max: usize,
    pub(crate) timeout: Duration,
    pub(crate) delivery_timeout: Duration,
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) sasl: Option<Sasl>,
}

/// A `tls` table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    pub(crate) ca: Option<PathBuf>,
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
}

/// A `sasl` table.
#[derive(Debug, Clone)]
pub(crate) struct Sasl {
    pub(crate) mechanism: &'static str,
    pub(crate) user: String,
    pub(crate) password: Secret,
}

impl Factory for Settings {
    fn build(&self, common: &Common) -> Result<Arc<dyn StreamSink>, Fault> {
        if let Some(files) = &self.tls {
            files.open()?;
        }
        Ok(Arc::new(Kafka::new(self.clone(), common)))
    }

    fn places(&self, _: &Table) -> Vec<Address> {
        self.brokers.clone()
    }

    fn look(&self, table: &Table, _: &Common) -> Vec<Problem> {
        let error = self.tls.as_ref().and_then(|files| files.open().err());
        let problem = |error: TlsError| {
            let tls = table.table("tls")?;
            Some(Problem::error(
                tls.place(key_of(&error)),
                error.to_string(),
                "a PEM file to be read here",
            ))
        };
        error.and_then(problem).into_iter().collect()
    }
}

impl TlsFiles {
    /// Reads the files as OpenSSL will, to say what is wrong with them by their keys.
    fn open(&self) -> Result<(), TlsError> {
        let files = TlsSettings {
            ca: self.ca.clone(),
            cert: self.cert.clone(),
            key: self.key.clone(),
            ..TlsSettings::default()
        };
        Tls::new(&files).map(|_| ())
    }
}

fn key_of(error: &TlsError) -> &'static str {
    match error {
        TlsError::Pem {
            what: "certificate", ..
        } => "cert",
        TlsError::Pem {
            what: "private key", ..
        }
        | TlsError::Client(_)
        | TlsError::LoneCert => "key",
        _ => "ca",
    }
}

fn parse(table: &Table) -> Box<dyn Factory> {
    Box::new(Settings::read(table))
}

impl Settings {
    fn read(table: &Table) -> Self {
        let (tls, sasl) = (tls(table), sasl(table));
        if tls.is_none() && sasl.as_ref().is_some_and(|sasl| sasl.mechanism == "plain") {
            table.warning(
                "sasl",
                "a password that goes in clear",
                "a `tls` table, or a SCRAM mechanism",
            );
        }
        Self {
            brokers: brokers(table),
            topic: topic(table),
            key: KeyOf::of_word(table.choice("key")),
            compression: table.choice("compression"),
            event_bytes_max: usize::try_from(table.size("event_bytes_max")).unwrap_or(usize::MAX),
            timeout: table.duration("timeout"),
            delivery_timeout: table.duration("delivery_timeout"),
            tls,
            sasl,
        }
    }

    /// `timeout` in milliseconds, as librdkafka takes them.
    pub(crate) fn timeout_ms(&self) -> u64 {
        u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX)
    }
}

fn brokers(table: &Table) -> Vec<Address> {
    let texts = table.texts("brokers");
    if texts.is_empty() || texts.len() > BROKERS_MAX {
        let found = format!("{} brokers", texts.len());
        table.problem("brokers", &found, &format!("1 to {BROKERS_MAX} addresses"));
    }
    let mut brokers = Vec::with_capacity(texts.len());
    for (at, text) in texts.iter().enumerate() {
        match Address::parse(text, Some(PORT)) {
            Some(address) => brokers.push(address),
            None => table.problem_at(
                "brokers",
                at,
                &seen_address(text),
                "an address such as `kafka-1.example:9092`",
            ),
        }
    }
    brokers
}

fn topic(table: &Table) -> Topic {
    Topic::parse(&table.text("topic"), &topic::RULES).unwrap_or_else(|wrong| {
        table.problem("topic", &wrong.found, &wrong.allowed);
        Topic::parse("none", &topic::RULES).expect("a plain word is a topic")
    })
}

fn tls(table: &Table) -> Option<TlsFiles> {
    let tls = table.table("tls")?;
    if !HAS_TLS {
        table.problem("tls", "a table for `tls` in a build without it", NEEDS_TLS);
    }
    if tls.is_set("cert") != tls.is_set("key") {
        let lone = if tls.is_set("cert") { "cert" } else { "key" };
        tls.problem(lone, &format!("`{lone}` alone"), "`cert` and `key` together");
    }
    Some(TlsFiles {
        ca: tls.path("ca"),
        cert: tls.path("cert"),
        key: tls.path("key"),
    })
}

fn sasl(table: &Table) -> Option<Sasl> {
    let sasl = table.table("sasl")?;
    let mechanism = sasl.choice("mechanism");
    if !HAS_TLS && mechanism != "plain" {
        let found = format!("`{mechanism}` in a build without TLS");
        sasl.problem("mechanism", &found, NEEDS_TLS);
    }
    let (user, password) = (sasl.text("user"), sasl.secret("password").unwrap_or_default());
    if user.is_empty() || user.contains('\0') {
        sasl.problem("user", "a user name that is empty or holds NUL", "a user name");
    }
    if password.expose_secret().contains('\0') {
        sasl.problem("password", "a password that holds NUL", "a password without it");
    }
    Some(Sasl {
        mechanism,
        user,
        password,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use trapline_sink::config::NoticeSettings;
    use trapline_sink::dial::Resolver;

    use super::*;

    pub(crate) const BASE: &str = "brokers = [\"127.0.0.1:1\"]\ntopic = \"honeyport.events\"\n";

    /// Settings of a good table: the base and these lines.
    pub(crate) fn settings(lines: &str) -> Settings {
        let (table, problems) = Table::for_test(&format!("{BASE}{lines}"), KEYS);
        let settings = Settings::read(&table);
        assert!(!problems.has_errors(), "{:?}", problems.take());
        settings
    }

    pub(crate) fn common() -> Common {
        Common {
            name: "bus".into(),
            format: Format::Ecs,
            observer: "lure".into(),
            resolver: Resolver::default(),
            notices: NoticeSettings::default(),
        }
    }

    fn problems(toml: &str) -> Vec<String> {
        let (table, problems) = Table::for_test(toml, KEYS);
        Settings::read(&table);
        problems.take().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_least_table_is_good_and_has_the_defaults() {
        let settings = settings("");
        assert_eq!((settings.key, settings.compression), (KeyOf::Source, "lz4"));
        assert_eq!(
            (settings.timeout_ms(), settings.delivery_timeout.as_secs()),
            (10_000, 60)
        );
        assert!(settings.tls.is_none() && settings.sasl.is_none());
        assert_eq!(settings.brokers.len(), 1);
    }

    #[test]
    fn every_broker_is_a_place_also_without_a_port() {
        let (table, _) = Table::for_test("topic = \"t\"\nbrokers = [\"kafka-1\", \"[2001:db8::1]:9093\"]", KEYS);
        let places = Settings::read(&table).places(&table);
        let places: Vec<_> = places.iter().map(ToString::to_string).collect();
        assert_eq!(places, ["kafka-1:9092", "[2001:db8::1]:9093"]);
    }

    #[test]
    fn brokers_are_addresses_and_a_wrong_one_does_not_show_its_secret() {
        let told = problems("topic = \"t\"\nbrokers = [\"a\", \"me:hush@b:9092\", \"b:70000\"]");
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(
            told.iter()
                .all(|text| !text.contains("hush") && text.contains("kafka-1.example:9092"))
        );
        let told = problems("topic = \"t\"\nbrokers = []");
        assert!(told[0].contains("0 brokers") && told[0].contains("1 to 64"), "{told:?}");
    }

    #[test]
    fn a_topic_is_checked_where_it_stands() {
        let told = problems("brokers = [\"a\"]\ntopic = \"hp.{user.name}\"");
        assert!(told[0].contains("test.toml:2:9: `{user.name}` in a topic"), "{told:?}");
    }

    #[test]
    fn what_needs_tls_says_which_build_has_it() {
        let tls = problems(&format!("{BASE}tls = {{}}"));
        let scram = problems(&format!(
            "{BASE}sasl = {{ mechanism = \"scram-sha-512\", user = \"u\", password = \"hush\" }}"
        ));
        if HAS_TLS {
            assert_eq!((tls, scram), (vec![], vec![]));
        } else {
            let named = |told: &[String]| told.len() == 1 && told[0].contains("--features kafka-tls");
            assert!(
                named(&tls) && named(&scram) && !scram[0].contains("hush"),
                "{tls:?} {scram:?}"
            );
        }
    }

    #[test]
    fn a_password_in_clear_is_warned_of_and_never_shown() {
        let lines = "sasl = { mechanism = \"plain\", user = \"u\", password = \"hush\" }";
        let told = problems(&format!("{BASE}{lines}"));
        assert!(told.len() == 1 && told[0].contains("in clear"), "{told:?}");
        assert!(!format!("{:?}", settings(lines)).contains("hush"));
        let nul = problems(&format!("{BASE}tls = \"off\"\n{}", lines.replace("hush", "a\\u0000b")));
        assert!(nul.iter().any(|text| text.contains("holds NUL")), "{nul:?}");
    }

    #[test]
    #[cfg(feature = "kafka-tls-system")]
    fn files_that_cannot_be_read_are_told_at_their_key() {
        for (lines, place) in [
            ("tls = { ca = \"/nowhere/ca.pem\" }", "test.toml:3:14"),
            (
                "tls = { cert = \"/nowhere/c.pem\", key = \"/nowhere/k.pem\" }",
                "test.toml:3:16",
            ),
        ] {
            let (table, _) = Table::for_test(&format!("{BASE}{lines}"), KEYS);
            let told = Settings::read(&table).look(&table, &common());
            let told: Vec<_> = told.iter().map(ToString::to_string).collect();
            assert!(told.len() == 1 && told[0].starts_with(place), "{told:?}");
            assert!(Settings::read(&table).build(&common()).is_err());
        }
        let lone = problems(&format!("{BASE}tls = {{ cert = \"c.pem\" }}"));
        assert!(lone[0].contains("`cert` alone"), "{lone:?}");
    }
}
