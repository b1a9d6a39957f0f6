//! The text is read back by a parser that forgives nothing.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use proptest::prelude::*;
use trapline_schemas::Action;
use trapline_sink::Measure;

use super::*;
use crate::control::status::{Fault, Health, JournalStatus, ListenerStatus, ProcessStatus};
use crate::delivery::{SinkState, SinkStatus, Totals};

/// Name and labels of a sample.
type Key = (String, BTreeMap<String, String>);

#[derive(Debug, Default)]
struct Read {
    /// By family: its type.
    kinds: BTreeMap<String, String>,
    samples: BTreeMap<Key, f64>,
}

/// Reads the format 0.0.4. Panics at whatever a strict reader would refuse, or might take for something else.
fn read(text: &str) -> Read {
    assert!(text.is_empty() || text.ends_with('\n'));
    let mut read = Read::default();
    let mut lines = text.lines().peekable();
    while let Some(help) = lines.next() {
        let (name, help) = help
            .strip_prefix("# HELP ")
            .expect("HELP first")
            .split_once(' ')
            .unwrap();
        assert!(!help.is_empty() && is_name(name), "{name}");
        let kind = lines.next().unwrap().strip_prefix("# TYPE ").expect("TYPE second");
        let (same, kind) = kind.split_once(' ').unwrap();
        assert_eq!(same, name);
        assert!(["counter", "gauge", "histogram"].contains(&kind), "{kind}");
        assert_eq!(
            read.kinds.insert(name.into(), kind.into()),
            None,
            "{name} is there twice"
        );
        let mut count = 0;
        while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
            let (key, value) = sample(line);
            let suffix = key.0.strip_prefix(name).expect("a sample of its family");
            let suffixes: &[&str] = if kind == "histogram" {
                &["_bucket", "_sum", "_count"]
            } else {
                &[""]
            };
            assert!(suffixes.contains(&suffix), "{line}");
            assert_eq!(read.samples.insert(key, value), None, "twice: {line}");
            count += 1;
        }
        assert!(count > 0, "{name} has no samples");
    }
    read
}

fn sample(line: &str) -> (Key, f64) {
    let end = line.find(['{', ' ']).unwrap();
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name), "{line}");
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (label, value) = rest.split_once("=\"").unwrap();
            assert!(is_name(label), "{line}");
            let (value, after) = unescaped(value);
            assert_eq!(labels.insert(label.to_owned(), value), None, "{line}");
            rest = after;
            match rest.strip_prefix(',') {
                Some(next) => rest = next,
                None => break,
            }
        }
        rest = rest.strip_prefix('}').unwrap();
    }
    let value = rest.strip_prefix(' ').unwrap();
    assert!(!value.contains(' '), "{line}");
    ((name.to_owned(), labels), value.parse().unwrap())
}

fn unescaped(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut signs = text.char_indices();
    loop {
        match signs.next().expect("the label ends") {
            (at, '"') => return (value, &text[at + 1..]),
            (_, '\\') => value.push(match signs.next().unwrap().1 {
                'n' => '\n',
                sign @ ('"' | '\\') => sign,
                sign => panic!("\\{sign}"),
            }),
            (_, sign) => value.push(sign),
        }
    }
}

fn is_name(name: &str) -> bool {
    let plain = |sign: char| sign.is_ascii_lowercase() || sign.is_ascii_digit() || sign == '_';
    name.starts_with(|first: char| first.is_ascii_lowercase()) && name.chars().all(plain) && !name.contains("__")
}

/// Facts with something in each place.
fn facts() -> Facts {
    let sink = SinkStatus {
        name: "siem".into(),
        state: SinkState::Retrying,
        cursor: 7,
        lag: 3,
        oldest_unsent: Some(Timestamp::from_micros(40_000_000)),
        totals: Totals {
            delivered: 5,
            rejected: 2,
            ..Totals::default()
        },
        figures: crate::delivery::Figures {
            failed: [("unreachable", 4)].into(),
            ..crate::delivery::Figures::default()
        },
        ..SinkStatus::default()
    };
    let mut commits = journal::Figures::default();
    commits.commits.add(Duration::from_millis(3));
    Facts {
        at: Timestamp::from_micros(100_000_000),
        status: status(),
        started_secs: 1.5,
        cpu_secs: 0.25,
        hits: Counted {
            hits: vec![
                ("ssh".into(), Action::Connect, 3),
                ("ssh".into(), Action::Credential, 2),
                ("dns".into(), Action::UdpProbe, 1),
            ],
            folded: 9,
            dropped: vec![("dns".into(), 4)],
        },
        sessions: Attended {
            open: 2,
            ..Attended::default()
        },
        certificates: vec![("ssh".into(), 1_900_000_000)],
        journal: commits,
        held: (0, 1),
        gone: vec![("trimmed", 6)],
        windows: vec![Sieved {
            node: "notices/mail".into(),
            passed: 1,
            held: 8,
        }],
        sinks: vec![sink],
        measures: vec![of_sink("siem", vec![Measure::gauge("queue_bytes", "Bytes.", 12.0)])],
    }
}

fn of_sink(sink: &str, measures: Vec<Measure>) -> OfSink {
    OfSink {
        sink: sink.to_owned(),
        kind: "kafka".into(),
        measures,
    }
}

fn status() -> Status {
    Status {
        response: None,
        acting: Vec::new(),
        web: None,
        health: Health::Degraded,
        faults: vec![Fault {
            health: Health::Degraded,
            part: "sink siem".into(),
            what: "down".into(),
            since: None,
            hint: String::new(),
        }],
        version: "1.2.3".into(),
        pid: 1,
        started: String::new(),
        uptime_secs: 60,
        config: None,
        state_dir: String::new(),
        journal: JournalStatus {
            path: String::new(),
            health: Health::Ok,
            head: 10,
            oldest: 1,
            entries: 9,
            bytes: 4096,
            index_lag: 0,
        },
        listeners: vec![listener(), listener()],
        sinks: Vec::new(),
        process: ProcessStatus {
            descriptors: 9,
            descriptors_max: 1024,
            memory_bytes: 8 << 20,
            panics: 0,
        },
        canary: Some(crate::control::status::CanaryStatus { ok: true, age_secs: 9 }),
    }
}

fn listener() -> ListenerStatus {
    ListenerStatus {
        decoy: "ssh".into(),
        service: "ssh".into(),
        personality: String::new(),
        transport: "tcp".into(),
        address: "[::]:2222".into(),
        bound: true,
        health: Health::Ok,
        error: None,
        since: String::new(),
        tls: false,
        certificate: None,
    }
}

fn value(read: &Read, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let labels = labels
        .iter()
        .map(|(label, value)| ((*label).to_owned(), (*value).to_owned()));
    read.samples.get(&(name.to_owned(), labels.collect())).copied()
}

#[test]
fn every_family_has_a_name_with_its_unit_and_a_sentence_and_is_there_once() {
    let units = [
        "_info",
        "_seconds",
        "_bytes",
        "_state",
        "_up",
        "_faults",
        "_entries",
        "_offset",
        "_descriptors",
        "_sessions",
        "_letters",
        "_batches",
    ];
    let mut names = HashSet::new();
    for family in FAMILIES {
        let name = family.name;
        assert!(
            is_name(name) && name.starts_with("trapline_") && names.insert(name),
            "{name}"
        );
        assert_eq!(name.ends_with("_total"), family.kind == text::Kind::Counter, "{name}");
        let has_unit = name.ends_with("_total") || units.iter().any(|unit| name.ends_with(unit));
        assert!(has_unit, "{name} has no unit");
        assert!(family.help.ends_with('.') && family.help.len() > 10, "{name}");
        assert!(
            !name.ends_with("_count") && !name.ends_with("_sum") && !name.ends_with("_bucket"),
            "{name}"
        );
    }
}

#[test]
fn what_is_known_is_read_back_by_a_strict_reader() {
    let read = read(&render(&facts()));
    let credential = [("decoy", "ssh"), ("action", "decoy-credential")];
    let unreachable = [("sink", "siem"), ("kind", "unreachable")];
    let held = [("transform", "notices/mail"), ("verdict", "held")];
    let commits = "trapline_journal_commit_duration_seconds";
    let (bucket, sum) = (format!("{commits}_bucket"), format!("{commits}_sum"));
    let expected: [(&str, text::Labels<'_>, f64); 16] = [
        ("trapline_build_info", &[("version", "1.2.3")], 1.0),
        (
            "trapline_contacts_total",
            &[("decoy", "ssh"), ("transport", "tcp")],
            3.0,
        ),
        (
            "trapline_contacts_total",
            &[("decoy", "dns"), ("transport", "udp")],
            1.0,
        ),
        ("trapline_hits_total", &credential, 2.0),
        ("trapline_health_state", &[("state", "degraded")], 1.0),
        ("trapline_health_state", &[("state", "ok")], 0.0),
        ("trapline_sink_state", &[("sink", "siem"), ("state", "retrying")], 1.0),
        ("trapline_sink_state", &[("sink", "siem"), ("state", "working")], 0.0),
        ("trapline_sink_lag_seconds", &[("sink", "siem")], 60.0),
        ("trapline_sink_failed_tries_total", &unreachable, 4.0),
        ("trapline_sink_kafka_queue_bytes", &[("sink", "siem")], 12.0),
        ("trapline_window_events_total", &held, 8.0),
        (&bucket, &[("le", "0.0025")], 0.0),
        (&bucket, &[("le", "0.005")], 1.0),
        (&bucket, &[("le", "+Inf")], 1.0),
        (&sum, &[], 0.003),
    ];
    for (name, labels, wanted) in expected {
        assert_eq!(value(&read, name, labels), Some(wanted), "{name} {labels:?}");
    }
    // Only what has samples is there: facts() has some for all but the sinks that `status` lists.
    let without: BTreeSet<_> = FAMILIES
        .iter()
        .map(|family| family.name)
        .filter(|name| !read.kinds.contains_key(*name))
        .collect();
    assert_eq!(
        without,
        BTreeSet::from(["trapline_sink_dead_letters", "trapline_sink_info"])
    );
}

#[test]
fn buckets_only_grow_and_end_with_all() {
    let read = read(&render(&facts()));
    let histograms = read.kinds.iter().filter(|(_, kind)| *kind == "histogram");
    for (name, _) in histograms {
        let bucket = format!("{name}_bucket");
        let mut rows: Vec<(f64, f64)> = Vec::new();
        for ((_, labels), count) in read.samples.iter().filter(|((of, _), _)| *of == bucket) {
            rows.push((labels["le"].parse().unwrap(), *count));
        }
        rows.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert!(rows.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{name}");
        assert_eq!(rows.last().unwrap().0, f64::INFINITY);
    }
}

#[test]
fn two_sinks_of_a_type_share_a_family_and_what_is_not_well_formed_is_left_out() {
    let mut facts = facts();
    let figures = || {
        vec![
            Measure::counter("broker_errors_total", "Errors.", 1.0).with("broker", "1"),
            Measure::counter("broker_errors_total", "Errors.", 9.0).with("broker", "1"),
            Measure::gauge("Broken Name", "?", 1.0),
            Measure::gauge("queue_bytes", "?", 1.0).with("sink", "another"),
        ]
    };
    facts.measures = vec![of_sink("a", figures()), of_sink("b", figures())];
    let read = read(&render(&facts));
    for sink in ["a", "b"] {
        let labels = [("sink", sink), ("broker", "1")];
        assert_eq!(
            value(&read, "trapline_sink_kafka_broker_errors_total", &labels),
            Some(1.0)
        );
    }
    assert!(!read.kinds.contains_key("trapline_sink_kafka_queue_bytes"));
}

proptest! {
    #[test]
    fn any_bytes_in_a_label_are_read_back_as_one_label(value in ".*", bytes in any::<Vec<u8>>()) {
        let mut facts = facts();
        let said = String::from_utf8_lossy(&bytes);
        facts.measures = vec![of_sink(&value, vec![Measure::gauge("x_bytes", "X.", 1.0).with("said", said)])];
        let value = value.replace('\r', "");
        prop_assume!(!value.is_empty());
        facts.measures[0].sink.clone_from(&value);
        let read = read(&render(&facts));
        let labels = read.samples.keys().find(|(name, _)| name == "trapline_sink_kafka_x_bytes").unwrap();
        prop_assert_eq!(&labels.1["sink"], &value);
        prop_assert!(labels.1["said"].chars().all(|sign| !sign.is_control()));
    }
}
