//! `config/trapline.toml`: it runs as it is, and it shows every key there is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use trapline_sink::config::{Audience, Key, KeyKind, SourceText, Variables};
use trapline_sink::set::SetType;

use super::sections::TOP;
use super::{
    Config, ConfigError, EMBEDDED, EMBEDDED_NAME, Loaded, Rules, SECTIONS, ServiceRule, Sources, load, notices, sets,
    sinks, transforms,
};
use crate::decoy::services::Transport;
use crate::delivery::registry::{SETS, SINKS};
use crate::graph::transforms::TRANSFORMS;

/// The services that the file names, whatever their personalities.
const SERVICES: &[ServiceRule] = &[service("ssh"), service("telnet"), service("ftp"), service("http")];

const fn service(name: &'static str) -> ServiceRule {
    ServiceRule {
        name,
        transports: &[Transport::Tcp],
        personality: name,
    }
}

fn loaded(text: &str) -> Config {
    match load_text(text) {
        Ok(loaded) => loaded.config,
        Err(error) => panic!("{error}"),
    }
}

fn load_text(text: &str) -> Result<Loaded, ConfigError> {
    let variables = [
        ("AZURE_CLIENT_SECRET", "token"),
        ("ELASTIC_API_KEY", "token"),
        ("ELASTIC_TOKEN", "token"),
        ("HOOK_PASSWORD", "token"),
        ("HOOK_URL", "https://hooks.example/token?key=token"),
        ("JIRA_TOKEN", "token"),
        ("KAFKA_PASSWORD", "token"),
        ("OPENSEARCH_PASSWORD", "token"),
        ("PAGERDUTY_ROUTING_KEY", "0123456789abcdef0123456789abcdef"),
        ("SERVICENOW_SECRET", "token"),
        ("SLACK_TOKEN", "xoxb-token"),
        ("SLACK_WEBHOOK_URL", "https://hooks.slack.com/services/T0/B0/token"),
        ("SMTP_PASSWORD", "token"),
        ("SOAR_TOKEN", "token"),
        ("SOAR_WEBHOOK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        ("SPLUNK_HEC_TOKEN", "token"),
        ("THEHIVE_TOKEN", "token"),
        (
            "TEAMS_WEBHOOK_URL",
            "https://prod-1.westeurope.logic.azure.com/workflows/0/triggers/manual/paths/invoke?sig=token",
        ),
        ("OTLP_HEADERS", "api-key=token"),
        ("TSIG_SECRET", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="),
    ];
    let variables: BTreeMap<_, _> = variables
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let text = of_this_build(text);
    let outside = Variables(variables.clone());
    let sources = Sources {
        source: Arc::new(SourceText {
            name: EMBEDDED_NAME.into(),
            text: text.as_str().into(),
        }),
        not_utf8: None,
        config_dir: "/state".into(),
        default_state_dir: "/state".into(),
        literal_secrets: false,
        variables,
        outside: &outside,
    };
    let look = |name: &str| {
        let word = name.trim_start_matches("open");
        let service = SERVICES.iter().find(|service| word.starts_with(service.name));
        Ok(super::KnownLook {
            service: service.map_or("", |service| service.name),
            upgrades: true,
        })
    };
    let rules = Rules {
        sinks: SINKS,
        sets: SETS,
        services: SERVICES,
        look: &look,
        condition: &super::tests::condition,
        recognisers: &super::tests::recognisers(),
    };
    load(&sources, &rules)
}

/// Without the lines that this build refuses; those after them stay where they are.
fn of_this_build(text: &str) -> String {
    let is_refused = |table: &str, line: &str| {
        !cfg!(feature = "kafka-tls-system") && table == "[sinks.bus]" && line.starts_with("tls.")
    };
    let mut table = "";
    let lines = text.split('\n').map(|line| {
        table = if line.starts_with('[') { line } else { table };
        if is_refused(table, line) { "" } else { line }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Whether the line is a key or table that is switched off.
fn is_off(line: &str) -> bool {
    line.strip_prefix('#')
        .is_some_and(|rest| rest.starts_with(|c: char| c == '[' || c.is_ascii_lowercase()))
}

fn uncommented() -> String {
    let switch = |line: &str| {
        if is_off(line) {
            line[1..].to_owned()
        } else {
            line.to_owned()
        }
    };
    EMBEDDED.lines().map(switch).collect::<Vec<_>>().join("\n")
}

#[test]
fn as_it_is_four_decoys_listen_and_the_console_shows_them() {
    let config = loaded(EMBEDDED);
    let listening: BTreeMap<_, _> = config
        .decoys
        .iter()
        .map(|decoy| {
            (
                decoy.name.as_str(),
                decoy.listen.iter().map(|at| at.to_string()).collect::<Vec<_>>(),
            )
        })
        .collect();
    let both = |port: u16| vec![format!("0.0.0.0:{port}"), format!("[::]:{port}")];
    let expected = [
        ("ftp", both(2121)),
        ("http", both(8080)),
        ("ssh", both(2222)),
        ("telnet", both(2323)),
    ];
    assert_eq!(listening, BTreeMap::from(expected));
    let sinks: Vec<_> = config.sinks.iter().map(|sink| sink.kind.name).collect();
    assert_eq!(sinks, ["console"]);
    assert!(config.transforms.is_empty());
}

#[test]
fn with_everything_switched_on_it_is_good() {
    let config = loaded(&uncommented());
    let types: BTreeSet<_> = config.sinks.iter().map(|sink| sink.kind.name).collect();
    assert_eq!(types, SINKS.iter().map(|kind| kind.name).collect());
    let acting: BTreeSet<_> = config.sets.iter().map(|set| set.kind.name).collect();
    assert_eq!(acting, SETS.iter().map(|kind| kind.name).collect());
    assert_eq!(config.transforms.len(), TRANSFORMS.len());
}

#[test]
fn the_schema_takes_it_as_it_is_and_switched_on() {
    let schema = super::schema(SINKS, SETS, SERVICES);
    let validator = jsonschema::validator_for(&schema).unwrap();
    for text in [EMBEDDED, &uncommented()] {
        let json = serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap();
        let errors: Vec<_> = validator.iter_errors(&json).map(|error| error.to_string()).collect();
        assert_eq!(errors, Vec::<String>::new());
    }
}

#[test]
fn keys_that_are_switched_off_show_their_defaults() {
    let (off, on) = (loaded(EMBEDDED), loaded(&uncommented()));
    assert_eq!(off.journal.durability, on.journal.durability);
    assert_eq!(off.journal.retain, on.journal.retain);
    assert_eq!(off.journal.retain_bytes, on.journal.retain_bytes);
    assert_eq!((off.limits, off.capture, off.log), (on.limits, on.capture, on.log));
    assert_eq!(off.observer.site, on.observer.site);
    let all: toml::Table = uncommented().parse().unwrap();
    for kind in SINKS {
        for key in kind.keys.iter().filter(|key| key.default.is_some()) {
            let default: toml::Table = format!("v = {}", key.default.unwrap()).parse().unwrap();
            let shown = sink_tables(&all, kind.name).find_map(|table| table.get(key.name).cloned());
            assert_eq!(shown.as_ref(), default.get("v"), "{} of {}", key.name, kind.name);
        }
    }
}

#[test]
fn every_key_stands_in_it_and_nothing_else() {
    let all: toml::Table = uncommented().parse().unwrap();
    let mut declared: BTreeSet<String> = paths("", TOP);
    let mut shown: BTreeSet<String> = all
        .iter()
        .filter(|(_, v)| !v.is_table())
        .map(|(k, _)| k.clone())
        .collect();
    for section in SECTIONS {
        let table = all
            .get(section.name)
            .and_then(toml::Value::as_table)
            .unwrap_or_else(|| panic!("{}", section.name));
        match section.name {
            // Their keys depend on their type.
            "sinks" | "transforms" => {}
            name => {
                declared.extend(paths(name, section.keys));
                let tables = if section.named {
                    named(table).collect()
                } else {
                    vec![table]
                };
                let written = tables.iter().flat_map(|table| written(name, table));
                shown.extend(written.map(without_name));
            }
        }
    }
    declared.extend(paths("sinks", sinks::COMMON));
    if SINKS.iter().any(|kind| kind.audience == Audience::People) {
        declared.extend(paths("sinks", notices::OF_SINKS));
    }
    // A key that every type has of its own is shown as theirs.
    let has_not = |kind: &&SetType, name: &str| kind.keys.iter().all(|own| own.name != name);
    let common = sets::COMMON
        .iter()
        .filter(|key| SETS.iter().any(|kind| has_not(kind, key.name)));
    declared.extend(paths("sinks", &common.copied().collect::<Vec<_>>()));
    for kind in SETS {
        declared.extend(paths(&format!("sinks {}", kind.name), kind.keys));
        for table in sink_tables(&all, kind.name) {
            let own = |path: &str| kind.keys.iter().any(|key| path.split('.').next() == Some(key.name));
            shown.extend(split(table, "sinks", kind.name, own));
        }
    }
    declared.extend(paths("transforms", transforms::COMMON));
    for kind in SINKS {
        declared.extend(paths(&format!("sinks {}", kind.name), kind.keys));
        for table in sink_tables(&all, kind.name) {
            let own = |path: &str| kind.keys.iter().any(|key| path.split('.').next() == Some(key.name));
            shown.extend(split(table, "sinks", kind.name, own));
        }
    }
    for row in TRANSFORMS {
        declared.extend(paths(&format!("transforms {}", row.name), row.keys));
        for table in of_type(&all, "transforms", row.name) {
            let own = |path: &str| row.keys.iter().any(|key| path.split('.').next() == Some(key.name));
            shown.extend(split(table, "transforms", row.name, own));
        }
    }
    assert_eq!(shown, declared);
}

#[test]
fn every_key_has_a_line_that_says_what_it_is_for() {
    let mut told = BTreeSet::new();
    let mut before = "";
    let mut kind = "";
    for line in EMBEDDED.lines() {
        let key = line.strip_prefix('#').filter(|_| is_off(line)).unwrap_or(line);
        if key.starts_with('[') {
            kind = key.split(['.', ']']).next().unwrap_or(key);
        } else if let Some((name, _)) = key.split_once(" = ").filter(|_| !key.starts_with('#')) {
            let name = format!("{kind} {name}");
            assert!(before.starts_with("# ") || told.contains(&name), "{name}");
            told.insert(name);
        }
        before = line;
    }
}

/// Addresses with a secret in each of the places where people put one.
const LEAKY: &[&str] = &[
    "\"https://h:8088/?token=hush\"",
    "\"https://h:8088/services/collector?channel=X#hush\"",
    "\"https://hush:hush@h:8088\"",
    "\"https://me:hush/hush@h:8088\"",
    "\"Splunk hush\"",
    "\"user:hush@host:514\"",
    "[\"user:hush@host:514\"]",
    "https://h/hush",
];

#[test]
fn a_secret_in_a_wrong_address_is_in_no_message() {
    for (section, name, key) in addresses() {
        for value in LEAKY {
            let text = with_value(&section, &name, &key, value);
            let refused = load_text(&text).expect_err(&text);
            let facts = refused.problems.iter().map(|problem| problem.facts());
            let facts = serde_json::to_string(&facts.collect::<Vec<_>>()).unwrap();
            for told in [refused.to_string(), refused.rich(false), facts] {
                assert!(!told.contains("hush"), "{key} = {value}: {told}");
            }
        }
    }
}

/// Every key of every sink and section that takes an address, in a table of the file.
fn addresses() -> Vec<(String, String, String)> {
    let all: toml::Table = uncommented().parse().unwrap();
    let mut found = vec![("decoys".to_owned(), "ssh".to_owned(), "listen".to_owned())];
    for (name, table) in all["sinks"].as_table().unwrap() {
        let word = table["type"].as_str();
        let streams = SINKS.iter().map(|kind| (kind.name, kind.keys));
        let (_, keys) = streams
            .chain(SETS.iter().map(|kind| (kind.name, kind.keys)))
            .find(|(name, _)| Some(*name) == word)
            .unwrap();
        // A type of which the keys go not all together has several tables.
        for key in keys.iter().filter(|key| table.get(key.name).is_some()) {
            match key.kind {
                KeyKind::Address => found.push(("sinks".into(), name.clone(), key.name.into())),
                KeyKind::OffOr(keys) if keys.iter().any(|key| matches!(key.kind, KeyKind::Address)) => {
                    found.push(("sinks".into(), name.clone(), format!("{}.server_name", key.name)));
                }
                _ => {}
            }
        }
    }
    assert!(found.len() >= 4, "{found:?}");
    found
}

/// The file with one value, as it would be written, in the place of another.
fn with_value(section: &str, name: &str, key: &str, value: &str) -> String {
    let head = format!("[{section}.{name}]\n");
    let all = uncommented();
    let (before, table) = all.split_once(&head).unwrap();
    let old = table
        .lines()
        .find(|line| line.starts_with(&format!("{key} = ")))
        .unwrap();
    let new = match key == "listen" && value.starts_with('"') {
        true => format!("{key} = [{value}]"),
        false => format!("{key} = {value}"),
    };
    format!("{before}{head}{}", table.replacen(old, &new, 1))
}

#[test]
fn the_paths_in_it_are_relative_or_examples() {
    let config = loaded(&uncommented());
    assert!(config.journal.path.starts_with("/var/lib/trapline"));
    for line in EMBEDDED.lines().filter(|line| !line.starts_with("# ")) {
        assert!(!line.contains("\"/") || line.starts_with("#state_dir"), "{line}");
    }
}

fn sink_tables<'a>(all: &'a toml::Table, kind: &'a str) -> impl Iterator<Item = &'a toml::Table> {
    of_type(all, "sinks", kind)
}

fn of_type<'a>(all: &'a toml::Table, section: &str, kind: &'a str) -> impl Iterator<Item = &'a toml::Table> {
    let tables = all
        .get(section)
        .and_then(toml::Value::as_table)
        .into_iter()
        .flat_map(named);
    tables.filter(move |table| table.get("type").and_then(toml::Value::as_str) == Some(kind))
}

fn named(table: &toml::Table) -> impl Iterator<Item = &toml::Table> {
    table.values().filter_map(toml::Value::as_table)
}

/// The keys of one sink or transform: its type's own under the type, the others under the section.
fn split(table: &toml::Table, section: &str, kind: &str, own: impl Fn(&str) -> bool) -> Vec<String> {
    let under = |path: String| match own(&path) {
        // Names of the user's choice.
        true if path.starts_with("headers.") => format!("{section} {kind}.headers"),
        true if path.starts_with("fields.") => format!("{section} {kind}.fields"),
        true => format!("{section} {kind}.{path}"),
        false => format!("{section}.{path}"),
    };
    let all = written("", table).into_iter();
    all.map(|path| under(path.trim_start_matches('.').to_owned())).collect()
}

/// Dotted paths of all declared keys; of a table those of its own keys.
fn paths(parent: &str, keys: &[Key]) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    for key in keys {
        let path = if parent.is_empty() {
            key.name.to_owned()
        } else {
            format!("{parent}.{}", key.name)
        };
        match key.kind {
            KeyKind::Table(keys) | KeyKind::OffOr(keys) | KeyKind::Tables(keys) => out.extend(paths(&path, keys)),
            _ => {
                out.insert(path);
            }
        }
    }
    out
}

/// Without the name of a rule, which is the user's choice.
fn without_name(path: String) -> String {
    match path
        .strip_prefix("response.rules.")
        .and_then(|rest| rest.split_once('.'))
    {
        Some((_, key)) => format!("response.rules.{key}"),
        None => path,
    }
}

/// Dotted paths of all written keys.
fn written(parent: &str, table: &toml::Table) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    for (name, value) in table {
        let path = format!("{parent}.{name}");
        match value {
            toml::Value::Table(table) => out.extend(written(&path, table)),
            _ => {
                out.insert(path);
            }
        }
    }
    out
}

/// What takes a key, a value or the form of the file apart.
const WORDS: &[&str] = &[
    "=",
    "[",
    "]",
    "[[",
    "{",
    "}",
    "\"",
    "'",
    "'''",
    "\"\"\"",
    "\\",
    "\\u{d800}",
    ".",
    ",",
    "\n",
    "\r",
    "\0",
    "#",
    "é",
    "\u{202e}",
    "-1",
    "99999999999999999999",
    "1e999",
    "nan",
    "true",
    "1979-05-27",
    "\"10GiB\"",
    "\"15 parsecs\"",
    "[[[[[[[[",
    "${",
    "${A}",
    "file:",
    "[sinks.a]",
    "type = ",
    "inputs = [\"*\"]",
    "when = '",
    "source.ip == ",
    " && ",
    "0.0.0.0:0",
    "[::]:70000",
    "all-tcp",
];

/// Words and noise for places of the file, and how many characters each takes away.
fn damage() -> impl Strategy<Value = Vec<(prop::sample::Index, String, usize)>> {
    let word = prop::sample::select(WORDS).prop_map(str::to_owned);
    let noise = prop::collection::vec(any::<u8>(), 0..12);
    let noise = noise.prop_map(|noise| String::from_utf8_lossy(&noise).into_owned());
    let one = (any::<prop::sample::Index>(), prop_oneof![word, noise], 0_usize..30);
    prop::collection::vec(one, 0..6)
}

proptest! {
    #[test]
    fn any_bytes_in_the_file_are_read_or_refused_with_their_place(switched_on in any::<bool>(), damage in damage()) {
        let whole = if switched_on { uncommented() } else { EMBEDDED.to_owned() };
        let mut text: Vec<char> = whole.chars().collect();
        for (at, word, gone) in damage {
            let at = at.index(text.len());
            text.splice(at..text.len().min(at + gone), word.chars());
        }
        let text = String::from_iter(text);
        let problems = match load_text(&text) {
            Ok(loaded) => loaded.warnings,
            Err(error) => {
                prop_assert!(error.rich(true).contains("error") && !error.to_string().is_empty());
                error.problems
            }
        };
        let lines = text.matches('\n').count() + 1;
        for problem in problems {
            let place = problem.place.position();
            prop_assert!(place.is_none_or(|(line, _)| (1..=lines).contains(&line)), "{}", problem);
        }
    }
}
