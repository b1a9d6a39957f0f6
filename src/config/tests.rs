//! Whole configurations, from texts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use trapline_schemas::Format;
use trapline_sink::StreamSink;
use trapline_sink::config::{
    Audience, Common, ExposeSecret, Factory, Key, KeyKind, Outside, OwnerMail, Problem, SinkType, SourceText, Table,
    Variables,
};
use trapline_sink::set::{Scope, SetCommon, SetFactory, SetSink, SetType, Verb};
use trapline_sink::stream::{Fault, FaultKind};

use super::*;
use crate::decoy::services::Transport;
use crate::graph::transforms::TransformKind;
use crate::graph::window::Policy;

mod decoys;
mod incidents;
mod notices;
mod response;
mod sinks;
mod web;

/// A sink that is only configured, never built.
#[derive(Debug)]
struct Paper(OwnerMail);

impl Factory for Paper {
    fn build(&self, _: &Common) -> Result<Arc<dyn StreamSink>, Fault> {
        let message = "paper sinks are not built".into();
        Err(Fault {
            kind: FaultKind::Local,
            message,
        })
    }

    fn owner_mail(&self) -> OwnerMail {
        self.0
    }
}

fn parse(table: &Table) -> Box<dyn Factory> {
    if table
        .text_opt("endpoint")
        .is_some_and(|url| !url.starts_with("https://"))
    {
        table.problem("endpoint", "no https URL", "https://…");
    }
    Box::new(Paper(OwnerMail::Never))
}

fn parse_mail(table: &Table) -> Box<dyn Factory> {
    Box::new(Paper(match table.choice("owners") {
        "also" => OwnerMail::Also,
        "alone" => OwnerMail::Alone,
        _ => OwnerMail::Never,
    }))
}

static FILE: SinkType = SinkType {
    name: "file",
    keys: &[
        Key::required("path", KeyKind::OutputPath, "The file."),
        Key::optional("endpoint", KeyKind::Text, "Unused."),
    ],
    audience: Audience::Machines,
    follows_incidents: false,
    formats: Format::ALL,
    parse,
    doc: "Lines in a file.",
};

static HEC: SinkType = SinkType {
    name: "splunk_hec",
    keys: &[
        Key::required("endpoint", KeyKind::Text, "Base URL."),
        Key::required("token", KeyKind::Secret, "Token."),
        Key::default("batch", KeyKind::Bool, "false", "Own key of a common name."),
    ],
    audience: Audience::Machines,
    follows_incidents: false,
    formats: &[Format::Ocsf, Format::Ecs],
    parse,
    doc: "Splunk.",
};

static MAIL: SinkType = SinkType {
    name: "mail",
    keys: &[
        Key::optional("tone", KeyKind::Text, "Tone."),
        Key::optional("endpoint", KeyKind::Text, "Unused."),
        Key::default(
            "owners",
            KeyKind::Choice(&["never", "also", "alone"]),
            "\"never\"",
            "Owners.",
        ),
    ],
    audience: Audience::People,
    follows_incidents: false,
    formats: &[Format::Text],
    parse: parse_mail,
    doc: "Letters.",
};

static PAGER: SinkType = SinkType {
    name: "pager",
    follows_incidents: true,
    ..MAIL
};

#[derive(Debug)]
struct Gate;

impl SetFactory for Gate {
    fn build(&self, _: &SetCommon) -> Result<Arc<dyn SetSink>, Fault> {
        let message = "gates are not built".into();
        Err(Fault {
            kind: FaultKind::Local,
            message,
        })
    }

    fn verb(&self) -> Verb {
        Verb::Block
    }
}

static FIREWALL: SetType = SetType {
    name: "gate",
    keys: &[Key::default(
        "width",
        KeyKind::Integer { min: 1, max: 9 },
        "3",
        "How wide.",
    )],
    scope: Scope::Both,
    interval: Duration::from_secs(5),
    parse: |_| Box::new(Gate),
    doc: "A gate.",
};

const SERVICES: &[ServiceRule] = &[
    ServiceRule {
        name: "ssh",
        transports: &[Transport::Tcp],
        personality: "openssh",
    },
    ServiceRule {
        name: "telnet",
        transports: &[Transport::Tcp],
        personality: "busybox",
    },
    ServiceRule {
        name: "snmp",
        transports: &[Transport::Udp],
        personality: "net_snmp",
    },
    ServiceRule {
        name: "dns",
        transports: &[Transport::Tcp, Transport::Udp],
        personality: "bind",
    },
];

const LOOKS: &[(&str, &str)] = &[
    ("openssh", "ssh"),
    ("busybox", "telnet"),
    ("net_snmp", "snmp"),
    ("bind", "dns"),
];

fn look(name: &str) -> Result<KnownLook, UnknownLook> {
    match LOOKS.iter().find(|(look, _)| *look == name) {
        Some((look, service)) => Ok(KnownLook {
            service,
            upgrades: *look == "busybox",
        }),
        None => Err(UnknownLook {
            found: vec![format!("unknown personality `{name}`")],
            names: LOOKS.iter().map(|(look, _)| (*look).to_owned()).collect(),
        }),
    }
}

/// The graph's own check of conditions.
pub(super) fn condition(text: &str) -> Vec<ConditionMistake> {
    let problems = crate::graph::condition::check(text).err().unwrap_or_default();
    problems
        .into_iter()
        .map(|problem| ConditionMistake {
            offset: problem.offset,
            found: problem.message,
            hint: problem.hint,
        })
        .collect()
}

/// One recogniser, `monitoring`.
pub(super) fn recognisers() -> Recognisers {
    Recognisers {
        names: vec!["monitoring".into(), "vulnerability_scanner".into()],
        mistakes: Vec::new(),
    }
}

fn load_with(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    let variables: BTreeMap<_, _> = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let outside = Variables(variables.clone());
    load_from(text, variables, &outside)
}

fn load_from(text: &str, variables: BTreeMap<String, String>, outside: &dyn Outside) -> Result<Loaded, ConfigError> {
    let sources = Sources {
        source: Arc::new(SourceText {
            name: "t.toml".into(),
            text: text.into(),
        }),
        not_utf8: text.find(char::REPLACEMENT_CHARACTER),
        config_dir: "/etc/trapline".into(),
        default_state_dir: "/var/lib/trapline".into(),
        literal_secrets: false,
        variables,
        outside,
    };
    let rules = Rules {
        sinks: &[&FILE, &HEC, &MAIL, &PAGER],
        sets: &[&FIREWALL],
        services: SERVICES,
        look: &look,
        condition: &condition,
        recognisers: &recognisers(),
    };
    load(&sources, &rules)
}

fn good(text: &str) -> Config {
    match load_with(text, &[]) {
        Ok(loaded) => loaded.config,
        Err(error) => panic!("{error}"),
    }
}

fn problems(text: &str) -> Vec<Problem> {
    match load_with(text, &[]) {
        Ok(loaded) => loaded.warnings,
        Err(error) => error.problems,
    }
}

fn lines(text: &str) -> Vec<String> {
    problems(text).iter().map(ToString::to_string).collect()
}

/// The one problem of a text starts so.
fn only(text: &str, start: &str) {
    let found = lines(text);
    assert_eq!(found.len(), 1, "{text}\n{found:#?}");
    assert!(found[0].starts_with(start), "{}\n{start}", found[0]);
}

#[test]
fn an_empty_text_is_all_defaults() {
    let config = good("");
    assert_eq!(config.state_dir, PathBuf::from("/var/lib/trapline"));
    assert_eq!(config.journal.path, PathBuf::from("/var/lib/trapline/journal.db"));
    assert_eq!(config.journal.retain, Duration::from_secs(30 * 86_400));
    assert_eq!(config.journal.retain_bytes, 10 << 30);
    assert_eq!(
        config.observer.site_key,
        SiteKeySource::File("/var/lib/trapline/site.key".into())
    );
    assert_eq!(config.limits.events_per_source_per_minute, 10_000);
    assert_eq!(config.capture.secrets, SecretPolicy::Hmac);
    assert_eq!(config.log.level, "info");
    let inside = &config.zones[0];
    assert!(inside.inside && inside.networks.contains(&"10.0.0.0/8".parse().unwrap()));
    assert!(config.decoys.is_empty() && config.sinks.is_empty());
}

#[test]
fn every_section_is_read() {
    let config = good(
        r#"
        [observer]
        name = "lure"
        site = "lyon"
        [zones.dmz]
        networks = ["192.0.2.17/24", "2001:db8::1"]
        [journal]
        path = "state/journal.db"
        durability = "normal"
        [capture]
        secrets = "none"
        [limits]
        idle = "5s"
        [decoys.front]
        service = "ssh"
        listen = ["0.0.0.0:2222", "[::]:2222"]
        [decoys.agent]
        service = "snmp"
        listen = ["0.0.0.0:2222"]
        [transforms.worth]
        type = "filter"
        inputs = ["decoys"]
        when = 'honeyport.touch.level == "proof"'
        [transforms.calm]
        type = "throttle"
        inputs = ["worth", "front"]
        by = ["source.ip"]
        limit = 3
        window = "15m"
        [sinks.archive]
        type = "file"
        inputs = ["*", "calm"]
        format = "cef"
        path = "events.log"
        start = "oldest"
        batch = { events = 10, linger = "20ms" }
        retry.max = "10s"
        "#,
    );
    assert_eq!(config.state_dir, PathBuf::from("/etc/trapline/state"));
    assert_eq!(config.zones[0].networks[0].to_string(), "192.0.2.0/24");
    assert_eq!(config.zones[0].networks[1].to_string(), "2001:db8::1/128");
    assert_eq!(config.limits.idle, Duration::from_secs(5));
    let front = &config.decoys[1];
    assert_eq!(
        (front.name.as_str(), front.service, front.personality.as_str()),
        ("front", "ssh", "openssh")
    );
    assert_eq!(front.listen.len(), 2);
    let TransformKind::Window(throttle) = &config.transforms[0].kind else {
        panic!("calm is a throttle")
    };
    assert_eq!(throttle.by[0].name(), "source.ip");
    assert_eq!(
        (throttle.policy, throttle.window),
        (Policy::Throttle { limit: 3 }, Duration::from_secs(900))
    );
    let sink = &config.sinks[0];
    assert_eq!(
        (sink.format, sink.start, sink.enabled),
        (Format::Cef, crate::delivery::Start::Oldest, true)
    );
    assert_eq!(sink.batch.events, Some(10));
    assert_eq!(sink.batch.linger, Some(Duration::from_millis(20)));
    assert_eq!(sink.retry.max, Duration::from_secs(10));
    assert_eq!(
        sink.table.path("path").unwrap(),
        PathBuf::from("/etc/trapline/state/events.log")
    );
}

const FIVE: &str = r#"[decoys.front]
service = "ssh"
listen = ["0.0.0.0:2222"]
persnality = "openssh"

[limits]
sessions = "many"
credentials_per_session = 500000

[transforms.worth]
type = "filter"
inputs = ["front"]
when = 'has(source.ip) && honeyport.tuch.level == "proof"'

[sinks.archive]
type = "file"
inputs = ["worht"]
path = "events.jsonl"
"#;

#[test]
fn five_mistakes_are_five_errors_with_line_column_and_hint() {
    let error = load_with(FIVE, &[]).unwrap_err();
    let errors: Vec<_> = error
        .problems
        .iter()
        .filter(|p| p.severity == trapline_sink::config::Severity::Error)
        .collect();
    let told: Vec<_> = errors
        .iter()
        .map(|p| (p.place.label(), p.found.as_str(), p.hint.as_deref()))
        .collect();
    assert_eq!(
        told,
        [
            (
                "t.toml:4:1".into(),
                "unknown key `persnality` in `decoys.front`",
                Some("did you mean `personality`?")
            ),
            (
                "t.toml:7:12".into(),
                "text `many` for `sessions`",
                Some("Open sessions of all decoys; beyond it the longest idle one is closed; default 15000")
            ),
            (
                "t.toml:8:27".into(),
                "credentials_per_session `500000` is out of range 0..=100000",
                Some("Credentials of a session told one by one; the rest is a count; default 20")
            ),
            (
                "t.toml:13:27".into(),
                "`honeyport.tuch.level` is not a field",
                Some("did you mean `honeyport.touch.level`?")
            ),
            (
                "t.toml:17:11".into(),
                "unknown input `worht`",
                Some("did you mean `worth`?")
            ),
        ]
    );
    assert!(errors.iter().all(|p| !p.allowed.is_empty()));
    assert!(error.to_string().ends_with("\n5 configuration errors"));
}

#[test]
fn a_terminal_shows_line_and_caret_a_pipe_does_not() {
    let error = load_with(FIVE, &[]).unwrap_err();
    let rich = error.rich(false);
    assert!(
        rich.contains(
            "error: `honeyport.tuch.level` is not a field\n  --> t.toml:13:27\n   |\n\
         13 | when = 'has(source.ip) && honeyport.tuch.level == \"proof\"'\n   |                           ^\n"
        ),
        "{rich}"
    );
    assert!(error.rich(true).contains("\x1b[1;31merror\x1b[0m"));
    assert!(!error.to_string().contains('^') && !error.to_string().contains('\x1b'));
}

#[test]
fn tables_and_types_of_other_builds_are_refused_by_name() {
    only(
        "[web]\nlisten = 'x'",
        "t.toml:2:10: `x` is not an address and port; allowed: ADDRESS:PORT",
    );
    only(
        "[sinks.soar]
type = 'blocklist'
inputs = ['*']",
        "t.toml:2:8: this build has no sink of type `blocklist`; allowed: \"file\", \"splunk_hec\", \"mail\", \"pager\" or \"gate\"",
    );
    only(
        "[sinks.fw]\ntype = 'firewall'",
        "t.toml:2:8: this build has no sink of type `firewall`",
    );
    only(
        "[decoys.all]\nservice = 'ssh'\nlisten = ['all-tcp']",
        "t.toml:3:11: this build has no `all-tcp`",
    );
}

#[test]
fn what_should_be_a_table_is_told_once() {
    only("sinks = 3", "t.toml:1:9: `sinks` is not a table; allowed: [sinks.NAME]");
    only(
        "[[sinks]]\ntype = 'file'",
        "t.toml:1:1: `sinks` is not a table; allowed: [sinks.NAME]",
    );
    only(
        "[sinks]\nfile = 'x'",
        "t.toml:2:1: `sinks.file` is not a table; allowed: [sinks.NAME]",
    );
    only("limits = 3", "t.toml:1:10: `limits` is not a table; allowed: [limits]");
}

#[test]
fn unknown_names_of_every_kind_have_their_nearest() {
    let hinted = |text: &str, hint: &str| {
        let found = problems(text);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert_eq!(found[0].hint.as_deref(), Some(hint), "{}", found[0]);
    };
    hinted("[jurnal]", "did you mean `journal`?");
    hinted("sate_dir = 'x'", "did you mean `state_dir`?");
    hinted(
        "[sinks.s]\ntype = 'splunkhec'\ninputs = ['*']",
        "did you mean `splunk_hec`?",
    );
    hinted(
        "[decoys.d]\nservice = 'sssh'\nlisten = ['0.0.0.0:1']",
        "did you mean `ssh`?",
    );
    hinted(
        "[decoys.d]\nservice = 'ssh'\npersonality = 'openshh'\nlisten = ['0.0.0.0:1']",
        "did you mean `openssh`?",
    );
    hinted(
        "[transforms.t]\ntype = 'throttle'\ninputs = ['*']\nby = ['source.ipp']\nlimit = 1\nwindow = '1m'\n[sinks.f]\ntype = 'file'\n\
         path = 'x'\ninputs = ['t']",
        "did you mean `source.ip`?",
    );
    hinted(
        "[sinks.f]\ntype = 'file'\npath = 'x'\ninputs = ['decoy']",
        "did you mean `decoys`?",
    );
    hinted(
        "[sinks.f]\ntype = 'file'\npath = 'x'\ninputs = ['f']",
        "`f` is a sink; sinks give nothing on",
    );
    hinted("[zones.My-Zone]\nnetworks = ['10.0.0.0/8']", "did you mean `my_zone`?");
}

#[test]
fn what_follows_an_unclosed_head_is_no_mistake_of_its_own() {
    only("[decoys.a\nservice = 'x'", "t.toml:1:10: unclosed table");
}

#[test]
fn what_is_not_utf8_is_one_problem_beside_the_others() {
    let found = problems("[limits]\nidle = '1s' \u{fffd} \u{fffd}\nidel = 1\n");
    let said: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert_eq!(said[0], "t.toml:2:13: this is not UTF-8; allowed: UTF-8 text");
    assert!(said[1].starts_with("t.toml:3:1: unknown key `idel`"), "{said:?}");
    assert_eq!(said.len(), 2, "{said:?}");
}

#[test]
fn no_sink_writes_into_the_configuration_itself() {
    let sink = |path: &str| format!("state_dir = 'state'\n[sinks.f]\ntype = 'file'\ninputs = ['*']\npath = '{path}'");
    for path in ["/etc/trapline/t.toml", "../t.toml", "./x/../../t.toml"] {
        let found = lines(&sink(path));
        assert_eq!(found.len(), 1, "{found:?}");
        let said = &found[0];
        assert!(
            said.starts_with("t.toml:5:8: ") && said.contains("written by the configuration"),
            "{said}"
        );
    }
    good(&sink("t.toml"));
}

#[test]
fn a_key_or_table_that_stands_twice_is_named_with_its_first_place() {
    let twice = |text: &str| {
        let mut found = problems(text).into_iter();
        let problem = found.find(|problem| problem.found.contains("duplicate")).unwrap();
        format!(
            "{}; {}",
            problem.to_string().lines().next().unwrap(),
            problem.hint.unwrap()
        )
    };
    let text = "[limits]\nidle = '1s'\n[log]\nlevel = 'warn'\n level = 'info'\n[zones]\n";
    assert_eq!(
        twice(text),
        "t.toml:5:2: duplicate key `level`; allowed: each key and table once; the first one is at t.toml:4:1"
    );
    assert_eq!(
        twice("[sinks.a]\n[decoys.a]\n[decoys.b]\n[decoys.a]\n"),
        "t.toml:4:9: duplicate key `a`; allowed: each key and table once; the first one is at t.toml:2:9"
    );
    let last = problems("[log]\nlevel = 'info'\n[log]\nlevel = 'info'\n")
        .pop()
        .unwrap();
    assert_eq!((last.found.as_str(), last.hint), ("duplicate key `level`", None));
}

#[test]
fn inputs_that_lead_in_a_circle_are_refused_once() {
    let text = "[transforms.a]\ntype = 'filter'\nwhen = 'true'\ninputs = ['b']\n\
                [transforms.b]\ntype = 'filter'\nwhen = 'true'\ninputs = ['decoys', 'c']\n\
                [transforms.c]\ntype = 'filter'\nwhen = 'true'\ninputs = ['a']";
    only(
        text,
        "t.toml:12:11: inputs lead in a circle: `a` takes from `b` takes from `c` takes from `a`",
    );
    let own = "[transforms.a]\ntype = 'filter'\nwhen = 'true'\ninputs = ['a']";
    only(own, "t.toml:4:11: inputs lead in a circle: `a` takes from `a`");
}

#[test]
fn a_wrong_key_of_a_transform_hides_none_of_the_others() {
    let told = lines(
        "[transforms.t]\ntype = 'throttle'\ninputs = ['*']\nby = [7, 'sorce.ip', 'event.category']\nlimit = 0\n\
         window = 'x'\n[sinks.f]\ntype = 'file'\ninputs = ['t']\npath = 'x'",
    );
    let starts = ["4:7", "4:10", "4:22", "5:9", "6:10"].map(|at| format!("t.toml:{at}: "));
    let told: Vec<_> = told.iter().filter(|line| !line.starts_with(' ')).collect();
    assert_eq!(told.len(), starts.len(), "{told:?}");
    let each = told.iter().zip(&starts);
    assert!(
        each.clone().all(|(line, start)| line.starts_with(start.as_str())),
        "{told:?}"
    );
}

#[test]
fn a_name_that_is_two_things_is_one_of_the_allowed_inputs() {
    let told = lines(
        "[decoys.aa]\nservice = 'ssh'\nlisten = ['0.0.0.0:1']\n[transforms.aa]\ntype = 'filter'\nwhen = 'true'\n\
         inputs = ['*']\n[sinks.f]\ntype = 'file'\ninputs = ['nobody']\npath = 'x'",
    );
    let input = told.iter().find(|line| line.contains("nobody")).unwrap();
    assert_eq!(input.matches("aa").count(), 1, "{input}");
}

#[test]
fn a_key_that_nests_too_deep_is_told_at_its_line() {
    for before in ["", "[log]\nlevel = 'info'\n"] {
        let text = format!("{before}{}=1\n\n", vec!["a"; 3000].join("."));
        let line = before.lines().count() + 1;
        only(&text, &format!("t.toml:{line}:1: nested too deep"));
    }
}

#[test]
fn a_diamond_is_no_circle() {
    good(
        "[transforms.a]\ntype = 'filter'\nwhen = 'true'\ninputs = ['decoys']\n\
         [transforms.b]\ntype = 'filter'\nwhen = 'true'\ninputs = ['a']\n\
         [transforms.c]\ntype = 'filter'\nwhen = 'true'\ninputs = ['a', 'b']\n\
         [sinks.f]\ntype = 'file'\npath = 'x'\ninputs = ['b', 'c']",
    );
}

#[test]
fn names_that_would_be_two_things_are_refused() {
    let filter = |name: &str| {
        format!(
            "[transforms.{name}]\ntype = 'filter'\nwhen = 'true'\ninputs = ['*']\n\
                 [sinks.f]\ntype = 'file'\npath = 'x'\ninputs = ['{name}']\n"
        )
    };
    only(&filter("findings"), "t.toml:1:13: `findings` is a reserved name");
    only(
        &(filter("d") + "[decoys.d]\nservice = 'ssh'\nlisten = ['0.0.0.0:1']"),
        "t.toml:1:13: `d` is a decoy already",
    );
    only(
        "[decoys.health]\nservice = 'ssh'\nlisten = ['0.0.0.0:1']",
        "t.toml:1:9: `health` is a reserved name",
    );
    for name in ["a__b", "A", "1a", "\"a b\"", "_a"] {
        only(&format!("[zones.{name}]\nnetworks = ['10.0.0.0/8']"), "t.toml:1:8: `");
    }
}

#[test]
fn variables_are_laid_over_the_text() {
    let text = "[decoys.front]\nservice = 'ssh'\nlisten = ['0.0.0.0:2222']\n[limits]\nidle = '5s'";
    let loaded = load_with(
        text,
        &[
            ("TRAPLINE__LIMITS__IDLE", "7s"),
            ("TRAPLINE__DECOYS__FRONT__LISTEN", "127.0.0.1:1, [::1]:1"),
            ("TRAPLINE__SINKS__FILE__TYPE", "file"),
            ("TRAPLINE__SINKS__FILE__INPUTS", "front"),
            ("TRAPLINE__SINKS__FILE__PATH", "x"),
            ("TRAPLINE__SINKS__FILE__BATCH__EVENTS", "5"),
            ("TRAPLINE_LOG", "debug"),
            ("PATH", "/bin"),
        ],
    );
    let config = loaded.unwrap().config;
    assert_eq!(config.limits.idle, Duration::from_secs(7));
    assert_eq!(config.decoys[0].listen[1], "[::1]:1".parse().unwrap());
    assert_eq!(config.sinks[0].inputs, ["front"]);
    assert_eq!(config.sinks[0].batch.events, Some(5));
}

/// An outside with a variable that is not UTF-8.
#[derive(Debug)]
struct Garbled(Vec<String>);

impl Outside for Garbled {
    fn variable(&self, _: &str) -> Option<String> {
        None
    }
    fn not_utf8(&self) -> &[String] {
        &self.0
    }
    fn secret_file(&self, _: &Path) -> Result<String, String> {
        Err("no files here".into())
    }
    fn credential(&self, _: &str) -> Result<String, String> {
        Err("no credentials here".into())
    }
}

#[test]
fn a_variable_that_is_not_utf8_is_told_by_its_name() {
    let names = ["TRAPLINE__JOURNAL__RETAIN_DAYS", "A", "LANG"].map(str::to_owned);
    let outside = Garbled(names.into());
    let text = "[sinks.f]\ntype = 'file'\ninputs = ['*']\npath = '${A}'";
    let refused = load_from(text, BTreeMap::new(), &outside).unwrap_err().to_string();
    assert!(
        refused.contains("environment variable TRAPLINE__JOURNAL__RETAIN_DAYS: the value is not UTF-8"),
        "{refused}"
    );
    assert!(
        refused.contains("4:9: the value of environment variable `A` is not UTF-8"),
        "{refused}"
    );
    assert!(refused.ends_with("2 configuration errors"), "{refused}");
}

#[test]
fn variables_that_mean_nothing_are_errors() {
    let error = |name: &str, value: &str| {
        load_with("[limits]\nidle = '5s'", &[(name, value)])
            .unwrap_err()
            .to_string()
    };
    let starts = |name: &str, value: &str, start: &str| {
        let found = error(name, value);
        let start = format!("environment variable {name}: {start}");
        assert!(found.starts_with(&start), "{found}\n{start}");
    };
    starts("TRAPLINE__LIMITS__IDEL", "1s", "unknown key `idel` in `limits`");
    starts("TRAPLINE__LIMIT__IDLE", "1s", "unknown table `[limit]`");
    starts("TRAPLINE__LIMITS__IDLE", "soon", "text `soon` for `idle`");
    starts("TRAPLINE__LIMITS__IDLE__X", "1s", "no key can stand at `limits.idle.x`");
    starts("TRAPLINE__LIMITS____IDLE", "1s", "no key can stand at");
    starts("TRAPLINE__LIMITS", "1s", "`limits` is not a table");
    starts(
        "TRAPLINE__SINKS__A__INPUTS",
        "nix",
        "key `type` is missing in `sinks.a`",
    );
    assert!(error("TRAPLINE__LIMITS__IDEL", "1s").contains("hint: did you mean `idle`?"));
    let twice = load_with(
        "",
        &[("TRAPLINE__LOG__LEVEL", "warn"), ("trapline__log__level", "info")],
    );
    assert!(twice.unwrap_err().to_string().contains("stand for the same key"));
}

#[test]
fn a_transform_for_nobody_is_a_warning_and_no_error() {
    let loaded = load_with(
        "[transforms.t]\ntype = 'filter'\nwhen = 'true'\ninputs = ['*', '*']",
        &[],
    )
    .unwrap();
    let told: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "t.toml:1:13: warning: nothing takes from transform `t`\n  hint: put \"t\" into the `inputs` of a sink",
            "t.toml:4:16: warning: input `*` is named twice; allowed: each once",
        ]
    );
}

#[test]
fn syntax_errors_come_with_all_the_others() {
    let found = lines("[limits]\nidle = \nsessions = 'x'\n[limits]\n[nonsense]\n");
    assert!(found.iter().any(|p| p.starts_with("t.toml:2:8: ")), "{found:#?}");
    assert!(
        found
            .iter()
            .any(|p| p.starts_with("t.toml:3:12: text `x` for `sessions`")),
        "{found:#?}"
    );
    assert!(
        found.iter().any(|p| p.starts_with("t.toml:4:2: duplicate key")),
        "{found:#?}"
    );
    assert!(
        found
            .iter()
            .any(|p| p.starts_with("t.toml:5:2: unknown table `[nonsense]`")),
        "{found:#?}"
    );
}

#[test]
fn a_site_key_is_a_file_of_the_state_folder_or_long_enough() {
    let key = |variable: &str| load_with("[observer]\nsite_key = '${KEY}'", &[("KEY", variable)]);
    assert!(matches!(
        key("0123456789abcdef").unwrap().config.observer.site_key,
        SiteKeySource::Given(_)
    ));
    let short = key("short-key").unwrap_err();
    assert!(
        short
            .to_string()
            .starts_with("t.toml:2:12: site_key of 9 bytes; allowed: 16 bytes or more")
    );
    assert!(!short.rich(false).contains("short-key"));
    let file = good("state_dir = 'state'\n[observer]\nsite_key = 'file:keys/site'");
    assert_eq!(
        file.observer.site_key,
        SiteKeySource::File("/etc/trapline/state/keys/site".into())
    );
}

#[test]
fn deep_nesting_costs_little_and_is_an_error() {
    let text = format!("state_dir = {}", "[".repeat(100_000));
    assert!(load_with(&text, &[]).is_err());
}

#[test]
fn a_reload_names_what_changes_and_what_it_cannot_change() {
    let old = good(
        "[decoys.a]\nservice = 'ssh'\nlisten = ['0.0.0.0:1']\n[decoys.b]\nservice = 'ssh'\nlisten = ['0.0.0.0:2']\n\
         [sinks.f]\ntype = 'file'\ninputs = ['*']\npath = 'x'",
    );
    let new = good(
        "[decoys.b]\nservice = 'ssh'\nlisten = ['0.0.0.0:3']\n[decoys.c]\nservice = 'ssh'\nlisten = ['0.0.0.0:4']\n\
         [sinks.f]\n# the same, elsewhere\ninputs = [ \"*\" ]\ntype = 'file'\npath = 'x'\n[log]\nlevel = 'warn'\n\
         [journal]\npath = '/var/lib/trapline/other.db'\nretain_days = 7\n[observer]\nsite = 'lyon'",
    );
    let changes = changes(&old, &new);
    assert_eq!(changes.restart_only, ["observer.site", "journal.path"]);
    assert_eq!(changes.decoys.added, ["c"]);
    assert_eq!(changes.decoys.removed, ["a"]);
    assert_eq!(changes.decoys.changed, ["b"]);
    assert!(changes.sinks.is_empty() && changes.log && !changes.limits && !changes.zones);
    assert!(changes.retention, "days that events are kept can change while it runs");
    assert!(super::changes(&old, &old.clone()).is_empty());
}

#[test]
fn the_schema_has_every_table_and_no_others() {
    let schema = schema(&[&FILE, &HEC], &[&FIREWALL], SERVICES);
    let tables: Vec<_> = schema["properties"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(tables.len(), SECTIONS.len() + 1);
    let hec = &schema["properties"]["sinks"]["additionalProperties"]["anyOf"][1];
    assert_eq!(hec["properties"]["format"]["enum"], serde_json::json!(["ocsf", "ecs"]));
    assert_eq!(hec["properties"]["type"]["const"], "splunk_hec");
}

#[test]
fn the_schema_takes_what_the_loader_takes_and_refuses_what_it_refuses() {
    let schema = schema(&[&FILE, &HEC], &[&FIREWALL], SERVICES);
    let validator = jsonschema::validator_for(&schema).unwrap();
    let json = |text: &str| serde_json::to_value(toml::from_str::<toml::Table>(text).unwrap()).unwrap();
    let decoy = "[decoys.a]\nservice = 'ssh'\nlisten = ['0.0.0.0:1']\n";
    assert!(validator.is_valid(&json(decoy)));
    assert!(validator.is_valid(&json(
        "[sinks.f]\ntype='file'\ninputs=['*']\npath='x'\nbatch={events=1}"
    )));
    for wrong in [
        "[decoys.A]\nservice = 'ssh'\nlisten = []",
        "[decoys.a]\nservice = 'nix'\nlisten = []",
        "[limits]\nsessions = 0",
        "[limits]\nidle = '5'",
        "[response]\nmode = 'enforced'",
        "[sinks.f]\ntype='file'\ninputs=['*']",
        "[sinks.f]\ntype='file'\ninputs=['*']\npath='x'\nfoo=1",
    ] {
        assert!(!validator.is_valid(&json(wrong)), "{wrong}");
        assert!(load_with(wrong, &[]).is_err(), "{wrong}");
    }
}

#[test]
fn what_a_redact_cannot_hide_is_said_with_what_it_is_made_of() {
    let with = |fields: &str| {
        lines(&format!(
            "[transforms.t]\ntype = 'redact'\ninputs = ['*']\nfields = {fields}\n[sinks.f]\ntype = 'file'\n\
             inputs = ['t']\npath = 'x'"
        ))
    };
    assert!(with("['user.*', 'source.ip', 'honeyport.payload.*']").is_empty());
    for (fields, place, words) in [
        ("['sorce.ip']", "4:11", "did you mean `source.ip`"),
        (
            "['source.ip', 'message']",
            "4:24",
            "made of other fields when it is shown",
        ),
        ("['event.original']", "4:11", "honeyport.payload.base64"),
        ("['usr.*']", "4:11", "`usr.*` is no path"),
        ("[]", "4:10", "at least one field"),
    ] {
        let told = with(fields).join("\n");
        assert!(
            told.contains(&format!("t.toml:{place}: ")) && told.contains(words),
            "{told}"
        );
    }
}

#[test]
fn a_column_that_means_nothing_is_said_and_a_known_one_is_taken() {
    let with = |columns: &str| {
        lines(&format!(
            "[transforms.t]\ntype = 'enrich'\ninputs = ['*']\ntable = 'x.csv'\ncolumns = {columns}\n[sinks.f]\n\
             type = 'file'\ninputs = ['t']\npath = 'x'"
        ))
    };
    assert!(with("['Asset Owner = owner', 'IP=address', 'Team = honeyport.source.tags']").is_empty());
    let told = with("['Asset Owner = owner', 'Name = hots']").join("\n");
    assert!(told.contains("t.toml:5:35: `Name = hots` names no column"), "{told}");
    assert!(told.contains("did you mean `host`"), "{told}");
    let none =
        lines("[transforms.t]\ntype = 'enrich'\ninputs = ['*']\n[sinks.f]\ntype = 'file'\ninputs = ['t']\npath = 'x'");
    assert!(none.join("\n").contains("`geoip`, `asn` or `table`"), "{none:?}");
}
