//! Conditions, asked of events.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use trapline_schemas::{Action, CATALOGUE, Event, Field, Timestamp};
use uuid::Uuid;

use super::{Condition, ConditionProblem, TEXT_BYTES_MAX, check};

fn event() -> Event {
    let at = Timestamp::from_micros(1_772_619_330_123_456);
    let mut event = Event::new(Uuid::nil(), at, Action::Credential);
    event.set(Field::SourceIp, "10.1.2.3".parse::<IpAddr>().unwrap());
    event.set(Field::DestinationPort, 22i64);
    event.set(Field::EventRiskScore, 73.0);
    event.set(Field::TouchLevel, "proof");
    event.set(Field::UserName, "admin");
    event
}

fn holds(text: &str) -> bool {
    Condition::compile(text).unwrap().holds(&event())
}

fn problems(text: &str) -> Vec<ConditionProblem> {
    check(text).unwrap_err()
}

#[test]
fn a_condition_asks_for_fields_by_their_ecs_path() {
    assert!(holds(
        r#"honeyport.touch.level in ["intent", "proof"] && !has(honeyport.benign.name)"#
    ));
    assert!(holds(r#"destination.port == 22 && user.name.startsWith("adm")"#));
    assert!(holds(r#"event.action == "decoy-credential""#));
    assert!(!holds(r#"source.ip == "10.1.2.4""#));
}

#[test]
fn whole_numbers_and_fractions_compare_freely() {
    assert!(holds("event.risk_score > 50 && event.risk_score < 73.5"));
    assert!(holds("destination.port < 22.5 && destination.port == 22.0"));
}

#[test]
fn presence_is_asked_of_dotted_paths() {
    assert!(holds("has(source.ip) && !has(source.port)"));
    assert!(holds("has(user.name) ? user.name == 'admin' : false"));
}

#[test]
fn an_absent_field_makes_the_whole_false_and_is_counted() {
    let condition = Condition::compile(r#"user_agent.original != "x""#).unwrap();
    assert!(!condition.holds(&event()));
    assert_eq!(condition.errors(), 1);
    assert!(
        holds(r#"user_agent.original == "x" || destination.port == 22"#),
        "the other side decides"
    );
}

/// Failures that no check can foresee: the condition is false, each is counted, the log hears of each kind once.
#[test]
fn what_fails_with_an_event_is_counted_and_logged_once() {
    let condition = Condition::compile("dyn(destination.port) && true").unwrap();
    let division = Condition::compile("10 / (destination.port - 22) > 1 || has(user_agent.original)").unwrap();
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, || {
        for _ in 0..3 {
            assert!(!condition.holds(&event()) && !division.holds(&event()));
        }
    });
    assert_eq!((condition.errors(), division.errors()), (3, 3));
    let said = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert_eq!(said.matches("a condition failed").count(), 2, "{said}");
}

/// Lines of the log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn timestamp_stands_for_the_time_of_the_event() {
    assert!(holds(r#"timestamp > "2026-01-01T00:00:00.000Z" && timestamp < "2027""#));
    assert!(holds(r#"timestamp == "2026-03-04T10:15:30.123Z""#));
}

#[test]
fn in_cidr_asks_for_membership() {
    assert!(holds(r#"in_cidr(source.ip, "10.0.0.0/8")"#));
    assert!(!holds(r#"in_cidr(source.ip, "192.0.2.0/24")"#));
    assert!(holds(r#"in_cidr(source.ip, "10.1.2.3")"#));
    assert!(!holds(r#"in_cidr(source.ip, "2001:db8::/32")"#));
}

#[test]
fn loops_go_over_lists_and_their_names_are_their_own() {
    let mut event = event();
    event.set(Field::ScanPorts, vec![22i64, 23]);
    let condition = Condition::compile("honeyport.scan.ports.exists(source, source == 23)").unwrap();
    assert!(condition.holds(&event), "`source` is the loop's name here");
}

#[test]
fn an_unknown_path_is_told_with_its_place_and_a_guess() {
    let found = problems(r#"has(source.ip) && sorce.ip == "é" && source.prt == 1"#);
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].offset, 18);
    assert_eq!(found[0].message, "`sorce.ip` is not a field");
    assert_eq!(found[0].hint.as_deref(), Some("did you mean `source.ip`?"));
    assert_eq!(found[1].offset, 39, "bytes, not characters");
    assert_eq!(found[1].hint.as_deref(), Some("did you mean `source.port`?"));
}

#[test]
fn a_group_of_fields_is_not_a_field() {
    let found = problems("has(honeyport.benign)");
    assert_eq!(found[0].message, "`honeyport.benign` is a group of fields");
    assert!(found[0].hint.as_deref().unwrap().contains("honeyport.benign.name"));
}

#[test]
fn mistakes_that_would_be_false_for_ever_are_refused() {
    for (text, words) in [
        (r#"destination.port == "22""#, "is a number"),
        ("user.name == 7", "is a text"),
        (r#"in_cidr(source.ip, "10.0.0.0/33")"#, "is not a network"),
        ("in_cidr(source.ip)", "takes an address and a network"),
        (r#"user.name.startWith("a")"#, "is not a function"),
    ] {
        let found = problems(text);
        assert!(found[0].message.contains(words), "{text}: {found:?}");
    }
}

#[test]
fn a_condition_that_is_never_true_is_refused_with_one_problem() {
    for (text, at, words) in [
        ("1 + 1", 2, "a condition is true or false, not a number"),
        (r#""x""#, 0, "not a text"),
        ("source.ip", 0, "not a text"),
        ("source.port", 0, "not a number"),
        ("has(source.ip) ? 1 : 2", 15, "not a number"),
        ("has(source.ip) ? 1 : true", 15, "both are of one kind"),
        ("source.ip ? true : false", 0, "what stands before `?`"),
        ("1/0 == 1", 1, "division by zero"),
        (r#"timestamp > "yesterday""#, 12, "is a date"),
        (r#"timestamp == "2026""#, 13, "is a date"),
        (r#"honeyport.touch.level == "intnet""#, 25, "is never `intnet`"),
        (r#""decoy-conect" != event.action"#, 0, "is never `decoy-conect`"),
        (r#"network.transport in ["tcp", "icmp"]"#, 29, "is never `icmp`"),
        (r#"source.ip == "10.0.0.0/8""#, 13, "is an address"),
        (r#"source.ip == "2001:DB8::1""#, 13, "is an address"),
        ("in_cidr(source.ip, source.ip)", 19, "is not a network"),
        (r#"in_cidr(event.id, "10.0.0.0/8")"#, 8, "is not an address"),
        ("source.port > 1 && source.ip", 19, "each side of `&&`"),
        ("source.ip || has(source.ip)", 0, "each side of `||`"),
        ("!source.port", 1, "each side of `!`"),
        (r#"source.port + 1 == "2""#, 16, "a number never compares with a text"),
        (
            "event.risk_score + 1 > 2.0",
            17,
            "does not go with a fraction and a number",
        ),
        (r#"22 in source.ip"#, 3, "`in` asks a list"),
        (r#""a" in honeyport.scan.ports"#, 4, "never in a list of numbers"),
        ("honeyport.scan.ports > [1]", 21, "has no order"),
        ("honeyport.scan.ports.exists(p, p)", 30, "each side of `||`"),
        ("source.ip.exists(p, p == 1)", 16, "a loop goes over a list"),
        ("source.port.startsWith('2')", 22, "does not take a number"),
        ("startsWith('2', '2')", 10, "is written"),
        ("size(1) > 0", 4, "does not take a number"),
    ] {
        let found = problems(text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].message.contains(words), "{text}: {found:?}");
        assert!(found[0].offset.abs_diff(at) <= 1, "{text}: {found:?}");
    }
    let hints = problems(r#"honeyport.touch.level == "intnet""#);
    assert_eq!(hints[0].hint.as_deref(), Some("did you mean `intent`?"));
}

#[test]
fn what_may_be_true_is_taken() {
    for text in [
        "true",
        "has(source.ip) ? source.port > 1 : false",
        "['10.0.0.0/8', '192.0.2.0/24'].exists(n, in_cidr(source.ip, n))",
        "honeyport.scan.ports.filter(p, p > 20).size() >= 3",
        "honeyport.scan.ports.map(p, p + 1)[0] == 23",
        "honeyport.scan.ports.exists_one(p, p == 22)",
        "22 in honeyport.scan.ports && 'T1110' in threat.technique.id",
        "source.ip in ['10.1.2.3', '2001:db8::1']",
        "string(source.port) + 'x' == '22x'",
        "event.risk_score + double(source.port) > 2.0",
        "source.port % 2 == 0 && -source.port < 0",
        "type(source.ip) == type('')",
        "dyn(source.ip) == 1",
        "{'a': 1}.a == 1",
        "timestamp >= '2026-01-31T00:00:00Z'",
        "timestamp != '2026-01-31T00:00:00.000Z'",
        "source.ip.startsWith('10.')",
    ] {
        assert_eq!(check(text), Ok(()), "{text}");
    }
}

#[test]
fn bad_syntax_is_told_with_its_place() {
    let found = problems("destination.port == ");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].offset >= 19, "{found:?}");
    assert!(!found[0].message.is_empty());
}

#[test]
fn size_depth_and_loops_are_bounded() {
    let long = format!("has(source.ip){}", " ".repeat(TEXT_BYTES_MAX));
    assert!(problems(&long)[0].message.contains("longer than"));
    let deep = format!("{}true{}", "(".repeat(200), ")".repeat(200));
    assert!(check(&deep).is_err());
    for open in ["[", "(", "{1:", "!", "-", "f(", "a ? "] {
        let found = problems(&open.repeat(300));
        assert!(found.len() <= 3, "{open}: {found:?}");
        let raw = |found: &ConditionProblem| found.message.contains("Error") || found.message.contains('{');
        assert!(!found.iter().any(raw), "{open}: {found:?}");
    }
    assert_eq!(
        problems(&"[".repeat(300))[0].message,
        "condition is nested more than 32 deep"
    );
    let wide = format!("[{}1].size() > 0", "1,".repeat(1500));
    assert!(problems(&wide)[0].message.contains("parts"));
    let loops = "[1].all(a, [1].all(b, [1].all(c, true)))";
    assert!(problems(loops)[0].message.contains("loops"));
}

/// Every field can be named, and asking for it of an event that has none of it is no error of the compiler.
#[test]
fn every_field_of_the_catalogue_can_be_asked_for() {
    for row in CATALOGUE {
        let path = if row.field == Field::Timestamp {
            "timestamp"
        } else {
            row.ecs
        };
        let condition = Condition::compile(&format!("{path} == {path} || true")).unwrap();
        assert!(condition.holds(&event()), "{path}");
        assert_eq!(condition.fields().collect::<Vec<_>>(), [row.field]);
    }
}

const WORDS: &[&str] = &[
    "source.ip",
    "user.name",
    "destination.port",
    "event.risk_score",
    "honeyport.touch.level",
    "timestamp",
    "has(",
    "in_cidr(",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ".",
    ",",
    ":",
    "?",
    "!",
    "-",
    " == ",
    " != ",
    " < ",
    " in ",
    " && ",
    " || ",
    " + ",
    " / ",
    " % ",
    "0",
    "-9223372036854775808",
    "99999999999999999999",
    "1e308",
    "0u",
    "'x'",
    "\"",
    "'",
    "\\",
    "b'\\xff'",
    "r'",
    "null",
    "true",
    "[1]",
    ".exists(x, x",
    ".all(x, ",
    ".map(x, ",
    ".filter(x, ",
    ".size()",
    ".matches('(a*)*b')",
    ".startsWith(",
    "duration('1h')",
    "é",
];

fn part() -> impl Strategy<Value = String> {
    let word = prop::sample::select(WORDS).prop_map(str::to_owned);
    prop_oneof![9 => word, 1 => ".{0,8}"]
}

proptest! {
    #[test]
    fn any_bytes_as_a_condition_are_refused_in_their_place_or_asked(parts in prop::collection::vec(part(), 0..20)) {
        let text = parts.concat();
        match Condition::compile(&text) {
            Ok(condition) => {
                let held = condition.holds(&event());
                prop_assert!(!held || condition.errors() == 0);
            }
            Err(problems) => {
                prop_assert!(!problems.is_empty());
                prop_assert!(problems.iter().all(|problem| problem.offset <= text.len()), "{:?}", problems);
            }
        }
    }
}
