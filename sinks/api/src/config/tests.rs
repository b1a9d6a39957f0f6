//! Tables against keys, from the text to the message.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

const BATCH: &[Key] = &[Key::default(
    "events",
    KeyKind::Integer { min: 1, max: 1000 },
    "100",
    "Events in a batch.",
)];

const KEYS: &[Key] = &[
    Key::required("endpoint", KeyKind::Text, "Base URL."),
    Key::optional("token", KeyKind::Secret, "Token."),
    Key::optional("key_file", KeyKind::MadeSecret, "Key."),
    Key::default("channel", KeyKind::Choice(&["one", "two"]), "\"two\"", "Channel."),
    Key::default(
        "linger",
        KeyKind::Duration {
            min: Duration::ZERO,
            max: MINUTE,
        },
        "\"5s\"",
        "Linger.",
    ),
    Key::default("bytes", KeyKind::Size { min: 1, max: 1 << 20 }, "\"64KiB\"", "Bytes."),
    Key::optional("hosts", KeyKind::Texts, "Hosts."),
    Key::optional("ports", KeyKind::Integers { min: 1, max: 65_535 }, "Ports."),
    Key::optional("ca", KeyKind::InputPath, "Certificate."),
    Key::optional("out", KeyKind::OutputPath, "File."),
    Key::optional("when", KeyKind::Condition, "Condition."),
    Key::default("gzip", KeyKind::Bool, "true", "Compress."),
    Key::optional("tls", KeyKind::OffOr(BATCH), "TLS."),
    Key::default("batch", KeyKind::Table(BATCH), "{}", "Batch."),
];

fn problems(toml: &str) -> Vec<String> {
    Table::for_test(toml, KEYS)
        .1
        .take()
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn a_right_table_gives_every_kind_of_value() {
    let (table, problems) = Table::for_test(
        r#"
        endpoint = "https://x"
        token = "hush"
        key_file = "file:site.key"
        channel = "one"
        linger = "1s500ms"
        bytes = 4096
        hosts = ["a", "b"]
        ports = [1, 0xffff]
        ca = "ca.pem"
        out = "/var/out"
        when = 'a == "${b}"'
        gzip = false
        tls = "off"
        batch.events = 7
        "#,
        KEYS,
    );
    assert_eq!(problems.take(), []);
    assert_eq!(table.text("endpoint"), "https://x");
    assert_eq!(table.secret("token").unwrap().expose_secret(), "hush");
    assert_eq!(table.path("key_file").unwrap(), PathBuf::from("/state/site.key"));
    assert_eq!(table.choice("channel"), "one");
    assert_eq!(table.duration("linger"), Duration::from_millis(1500));
    assert_eq!(table.size("bytes"), 4096);
    assert_eq!(table.texts("hosts"), ["a", "b"]);
    assert_eq!(table.integers("ports"), [1, 65_535]);
    assert_eq!(table.path("ca").unwrap(), PathBuf::from("/config/ca.pem"));
    assert_eq!(table.path("out").unwrap(), PathBuf::from("/var/out"));
    assert_eq!(table.text("when"), r#"a == "${b}""#);
    assert!(!table.bool("gzip"));
    assert!(table.is_off("tls") && table.table("tls").is_none());
    assert_eq!(table.table("batch").unwrap().integer("events"), 7);
}

#[test]
fn absent_keys_have_their_defaults() {
    let (table, problems) = Table::for_test("endpoint = 'x'", KEYS);
    assert_eq!(problems.take(), []);
    assert_eq!(table.choice("channel"), "two");
    assert_eq!(table.duration("linger"), Duration::from_secs(5));
    assert_eq!(table.size("bytes"), 65_536);
    assert!(table.bool("gzip") && !table.is_set("gzip") && table.is_set("endpoint"));
    assert_eq!(table.table("batch").unwrap().integer("events"), 100);
    assert!(table.table("tls").is_none() && !table.is_off("tls"));
    assert!(table.secret("token").is_none() && table.texts("hosts").is_empty());
}

#[test]
fn all_mistakes_are_told_at_once_each_at_its_place() {
    let found = problems(
        "endpint = 'x'\nchannel = 'onee'\nlinger = '2h'\nbytes = '1kb'\nports = [1, 0]\n\
         gzip = 'yes'\nbatch = { events = 0, evnts = 1 }\n",
    );
    let starts = [
        "test.toml:1:1: unknown key `endpint`; allowed: endpoint, token,",
        "test.toml:2:11: text `onee` for `channel`; allowed: \"one\" or \"two\"\n  hint: did you mean `one`?",
        "test.toml:3:10: linger `2h` is out of range 0s to 1m; allowed: a duration such as",
        "test.toml:4:9: text `1kb` for `bytes`; allowed: a size such as",
        "test.toml:5:13: ports `0` is out of range 1..=65535; allowed: a list",
        "test.toml:6:8: text `yes` for `gzip`; allowed: true or false",
        "test.toml:7:20: events `0` is out of range 1..=1000; allowed:",
        "test.toml:7:23: unknown key `evnts` in `batch`; allowed: events\n  hint: did you mean `events`?",
    ];
    assert_eq!(found.len(), starts.len(), "{found:#?}");
    for (found, start) in found.iter().zip(starts) {
        assert!(found.starts_with(start), "{found}\n{start}");
    }
}

#[test]
fn a_missing_key_is_told_at_its_table() {
    let found = problems("gzip = true");
    assert_eq!(
        found,
        ["test.toml:1:1: key `endpoint` is missing; allowed: text\n  hint: endpoint = …: Base URL"]
    );
}

#[test]
fn syntax_mistakes_have_places_and_the_rest_is_still_checked() {
    let found = problems("endpoint = 'x'\nchannel = \ngzip = 7\ngzip = true\n");
    assert!(found.iter().any(|p| p.starts_with("test.toml:2:11: ")), "{found:#?}");
    assert!(
        found
            .iter()
            .any(|p| p.starts_with("test.toml:3:8: number `7` for `gzip`")),
        "{found:#?}"
    );
    assert!(
        found.iter().any(|p| p.starts_with("test.toml:4:1: duplicate key")),
        "{found:#?}"
    );
}

#[test]
fn a_wrong_value_is_stood_in_for_by_its_default() {
    let (table, problems) = Table::for_test("endpoint = 5\nbytes = 'x'\nbatch = 3", KEYS);
    assert_eq!(problems.count(), 3);
    assert_eq!(table.text("endpoint"), "");
    assert_eq!(table.size("bytes"), 65_536);
    assert_eq!(table.table("batch").unwrap().integer("events"), 100);
}

#[derive(Debug)]
struct World(BTreeMap<&'static str, &'static str>);

impl Outside for World {
    fn variable(&self, name: &str) -> Option<String> {
        self.0.get(name).map(ToString::to_string)
    }
    fn secret_file(&self, path: &Path) -> Result<String, String> {
        let name = path.display().to_string();
        self.0
            .get(name.as_str())
            .map(ToString::to_string)
            .ok_or("cannot be read".into())
    }
    fn credential(&self, name: &str) -> Result<String, String> {
        self.secret_file(Path::new(name))
    }
}

fn in_world(toml: &str, variables: &[(&str, &str)]) -> (Table, Problems) {
    let problems = Problems::default();
    let source = Arc::new(SourceText {
        name: "t.toml".into(),
        text: toml.into(),
    });
    let mut node = Node::parse(&source, &problems);
    for (path, text) in variables {
        assert!(node.set(&path.split("__").collect::<Vec<_>>(), path, text));
    }
    let context = Context {
        outside: &World(BTreeMap::from([
            ("TOKEN", "from-env"),
            ("/config/token", "from-file"),
            ("cred", "from-credential"),
        ])),
        config_dir: "/config".into(),
        state_dir: "/state".into(),
        literal_secrets: false,
        problems: problems.clone(),
    };
    (check(&node, &KEYS.iter().collect::<Vec<_>>(), &context), problems)
}

#[test]
fn secrets_come_from_variables_files_and_credentials() {
    for (written, secret) in [
        ("${TOKEN}", "from-env"),
        ("a${TOKEN}$${", "afrom-env${"),
        ("file:token", "from-file"),
        ("credential:cred", "from-credential"),
    ] {
        let (table, problems) = in_world(&format!("endpoint = 'x'\ntoken = '{written}'"), &[]);
        assert_eq!(problems.take(), []);
        assert_eq!(table.secret("token").unwrap().expose_secret(), secret);
    }
}

#[test]
fn secrets_that_cannot_be_had_are_problems_that_show_no_secret() {
    for (written, found) in [
        (
            "'hush-hush'",
            "`token`: a literal secret, but others may read this file",
        ),
        ("'${TOKN}'", "environment variable `TOKN` is not set"),
        ("'${hush-hush}'", "is not the name of a variable"),
        ("'file:none'", "`token`: cannot be read"),
        ("''", "`token`: a literal secret"),
        ("[ 'hush-hush' ]", "a list for `token`"),
    ] {
        let (_, problems) = in_world(&format!("endpoint = 'x'\ntoken = {written}"), &[]);
        let all = problems.take();
        assert_eq!(all.len(), 1, "{written}");
        assert!(all[0].found.contains(found), "{}", all[0]);
        if !written.contains('$') {
            assert!(!all[0].rich(false).contains("hush-hush"), "{}", all[0].rich(false));
        }
    }
}

#[test]
fn variables_take_the_type_of_their_key_and_are_named_in_problems() {
    let (table, problems) = in_world(
        "endpoint = 'x'\nbytes = 7",
        &[
            ("bytes", "8"),
            ("gzip", "false"),
            ("hosts", "a, b"),
            ("ports", "[1, 2]"),
            ("batch__events", "9"),
            ("token", "literal"),
        ],
    );
    assert_eq!(problems.take(), []);
    assert_eq!((table.size("bytes"), table.bool("gzip")), (8, false));
    assert_eq!(table.texts("hosts"), ["a", "b"]);
    assert_eq!(table.integers("ports"), [1, 2]);
    assert_eq!(table.table("batch").unwrap().integer("events"), 9);
    assert_eq!(table.secret("token").unwrap().expose_secret(), "literal");

    let (_, problems) = in_world("endpoint = 'x'", &[("batch__evnts", "1"), ("gzip", "maybe")]);
    let found: Vec<_> = problems.take().iter().map(ToString::to_string).collect();
    assert!(found[0].starts_with("environment variable batch__evnts: unknown key `evnts` in `batch`"));
    assert!(found[1].starts_with("environment variable gzip: text `maybe` for `gzip`"));
}

#[test]
fn tables_are_equal_by_value_wherever_they_stand() {
    let table = |toml: &str| Table::for_test(toml, KEYS).0;
    let one = table("endpoint = 'x'\ntoken = 'a'");
    assert_eq!(
        one,
        table("token = \"a\" # same\n\nendpoint = \"x\"\nbatch.events = 100")
    );
    assert_ne!(one, table("endpoint = 'x'\ntoken = 'b'"));
    assert_ne!(one, table("endpoint = 'x'\ntoken = 'a'\nbatch.events = 99"));
}

#[test]
fn no_secret_stands_in_a_debug_text() {
    let (table, problems) = Table::for_test("endpoint = 'x'\ntoken = 'hush-hush'", KEYS);
    assert_eq!(problems.count(), 0);
    assert!(!format!("{:?}", table.secret("token")).contains("hush-hush"));
    assert!(!format!("{table:?}").contains("hush-hush"));
}

#[test]
fn a_component_adds_problems_at_a_key_an_element_or_a_column() {
    let (table, problems) = Table::for_test(
        "endpoint = 'x'\nhosts = ['a', 'b']\nwhen = 'a.b && c'\ntoken = 'hush'",
        KEYS,
    );
    table.problem("endpoint", "no URL", "https://…");
    table.problem_at("hosts", 1, "no host", "a host");
    let place = table.place_within("when", 7);
    table.report(
        "when",
        Problem::error(place, "unknown path `c`", "").show(Visible::Line),
    );
    table.problem("token", "too short", "16 bytes");
    let all = problems.take();
    let labels: Vec<_> = all.iter().map(|p| p.place.label()).collect();
    assert_eq!(
        labels,
        ["test.toml:1:12", "test.toml:2:15", "test.toml:3:16", "test.toml:4:9"]
    );
    assert!(all[2].rich(false).contains("when = 'a.b && c'\n  |                ^\n"));
    assert!(!all[3].rich(false).contains("hush"));
}

#[test]
fn a_password_in_a_url_is_not_shown() {
    let (table, problems) = Table::for_test("endpoint = 'ftp://me:hush@host/x'", KEYS);
    table.problem("endpoint", "`ftp://me:hush@host/x` is no URL", "https://…");
    let problem = &problems.take()[0];
    assert_eq!(problem.found, "`ftp://…@host/x` is no URL");
    assert!(!problem.rich(false).contains("hush"), "{}", problem.rich(false));
}

#[test]
fn the_schema_says_what_the_check_says() {
    let schema = table_schema(KEYS);
    assert_eq!(schema["required"], serde_json::json!(["endpoint"]));
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["properties"]["channel"]["default"], "two");
    assert_eq!(schema["properties"]["batch"]["properties"]["events"]["maximum"], 1000);
    assert_eq!(schema["properties"]["tls"]["anyOf"][0]["const"], "off");
}

#[test]
fn of_an_address_that_is_wrong_no_more_than_the_host_is_shown() {
    const HOST: &[Key] = &[Key::required("host", KeyKind::Address, "Host.")];
    let (table, problems) = Table::for_test("host = 'https://h:1/?token=hush'", HOST);
    table.problem_with_address("host", "a host");
    for wrong in ["host = ['hush']", "host = { hush = 1 }"] {
        problems.push(Table::for_test(wrong, HOST).1.take().remove(0));
    }
    let all = problems.take();
    assert_eq!(all[0].found, "`https://h:1` with a query");
    let shown = all.iter().map(|problem| problem.rich(false)).collect::<String>();
    assert!(all.len() == 3 && !shown.contains("hush"), "{shown}");
}

#[test]
fn names_of_the_users_choice_have_texts_and_what_sounds_like_a_credential_is_a_secret() {
    const PAIRS: &[Key] = &[Key::optional("headers", KeyKind::Pairs, "Headers.")];
    let (table, problems) = Table::for_test("headers = { X-Source = 'a', b = 'c' }", PAIRS);
    assert_eq!(problems.count(), 0);
    let pairs = table.pairs("headers");
    let read: Vec<_> = pairs
        .iter()
        .map(|(name, value)| (name.as_str(), value.expose_secret()))
        .collect();
    assert_eq!(read, [("X-Source", "a"), ("b", "c")]);
    assert!(!format!("{pairs:?}").contains("\"a\""));
    let source = SourceText {
        name: "test.toml".into(),
        text: "headers.x-source = 'shown'\nheaders.x-api-key = 'hush'\nheaders.n = 7".into(),
    };
    let problems = Problems::default();
    let node = Node::parse(&Arc::new(source), &problems);
    let context = Context {
        outside: &Variables::default(),
        config_dir: "/config".into(),
        state_dir: "/state".into(),
        literal_secrets: false,
        problems: problems.clone(),
    };
    let table = check(&node, &PAIRS.iter().collect::<Vec<_>>(), &context);
    assert_eq!(table.pairs("headers").len(), 1, "the one that anybody may read");
    let told: String = problems.take().iter().map(|problem| problem.rich(false)).collect();
    assert!(
        told.contains("test.toml:2:") && told.contains("test.toml:3:") && !told.contains("hush"),
        "{told}"
    );
}
