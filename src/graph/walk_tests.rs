//! What nodes that change events make of what stands behind them.

use std::net::IpAddr;
use std::time::Duration;

use trapline_schemas::{Action, Event, Field, Timestamp};
use trapline_sink::config::OwnerMail;
use uuid::Uuid;

use super::*;
use crate::graph::shape::{RedactSpec, SampleSpec, With};
use crate::graph::transforms::{TransformKind, TransformSpec};
use crate::graph::window::{Policy, WindowSpec};
use crate::graph::{GraphSpec, SinkWiring};

fn transform(name: &str, inputs: &[&str], kind: TransformKind) -> TransformSpec {
    TransformSpec {
        name: name.to_owned(),
        inputs: inputs.iter().map(|input| (*input).to_owned()).collect(),
        kind,
    }
}

fn redact(name: &str, inputs: &[&str], fields: &[Field]) -> TransformSpec {
    let redact = RedactSpec {
        fields: fields.to_vec(),
        with: With::Remove,
    };
    transform(name, inputs, TransformKind::Redact(redact))
}

fn filter(name: &str, inputs: &[&str], when: &str) -> TransformSpec {
    transform(name, inputs, TransformKind::Filter { when: when.to_owned() })
}

fn dedupe(name: &str, inputs: &[&str]) -> TransformSpec {
    let window = WindowSpec {
        by: Vec::new(),
        window: Duration::from_secs(60),
        policy: Policy::Dedupe,
    };
    transform(name, inputs, TransformKind::Window(window))
}

fn sample(name: &str, inputs: &[&str], one_in: u64, keep: Option<&str>) -> TransformSpec {
    let sample = SampleSpec {
        one_in,
        by: Vec::new(),
        keep: keep.map(str::to_owned),
    };
    transform(name, inputs, TransformKind::Sample(sample))
}

fn graph(transforms: Vec<TransformSpec>, sinks: &[(&str, &[&str])]) -> Graph {
    let sinks = sinks.iter().map(|(name, inputs)| SinkWiring {
        name: (*name).to_owned(),
        inputs: inputs.iter().map(|input| (*input).to_owned()).collect(),
        notices: None,
        follows: None,
        canary: false,
        owners: OwnerMail::Never,
    });
    Graph::build(&GraphSpec {
        decoys: Vec::new(),
        transforms,
        sinks: sinks.collect(),
        ..GraphSpec::default()
    })
    .unwrap()
}

fn login(number: u128) -> Arc<Event> {
    let mut event = Event::new(Uuid::from_u128(number), Timestamp::default(), Action::Credential);
    event.set(Field::SourceIp, IpAddr::from([203, 0, 113, 7]));
    event.set(Field::UserName, "wolfgang");
    Arc::new(event)
}

/// What a sink gets; `None` if nothing.
fn got(graph: &Graph, origin: Origin<'_>, event: &Arc<Event>, sink: &str) -> Option<Arc<Event>> {
    let node = graph.sink(sink).unwrap();
    let seen = |wanted| {
        let reached = graph.follow(origin, event, wanted);
        let own = reached.versions.iter().find(|version| version.nodes.contains(node));
        let event = own.map_or(event, |own| &own.event);
        reached.nodes.contains(node).then(|| Arc::clone(event))
    };
    let all = seen(Reach::ALL);
    assert_eq!(
        all,
        seen(graph.ancestry(node)),
        "asking for one node gives the same answer"
    );
    all
}

fn user(graph: &Graph, origin: Origin<'_>, event: &Arc<Event>, sink: &str) -> Option<bool> {
    got(graph, origin, event, sink).map(|event| event.text(Field::UserName).is_some())
}

#[test]
fn who_stands_behind_a_redact_gets_less_and_the_others_get_the_recorded_event_itself() {
    let ways = vec![redact("hide", &["decoys"], &[Field::UserName])];
    let graph = graph(ways, &[("a", &["hide"]), ("b", &["hide"]), ("raw", &["decoys"])]);
    let event = login(1);
    assert_eq!(user(&graph, Origin::Recorded, &event, "a"), Some(false));
    assert_eq!(user(&graph, Origin::Recorded, &event, "raw"), Some(true));
    let reached = graph.follow(Origin::Recorded, &event, Reach::ALL);
    assert_eq!(reached.versions.len(), 1, "two sinks share one form");
    assert_eq!(reached.versions[0].event.id, event.id);
    let nobody = Arc::new(Event::new(Uuid::nil(), Timestamp::default(), Action::Connect));
    assert!(
        graph.follow(Origin::Recorded, &nobody, Reach::ALL).versions.is_empty(),
        "nothing to hide, nothing to copy"
    );
}

#[test]
fn on_several_ways_every_redact_counts_and_the_event_comes_once() {
    let ways = vec![
        redact("no_user", &["decoys"], &[Field::UserName]),
        redact("no_ip", &["decoys"], &[Field::SourceIp]),
    ];
    let graph = graph(ways, &[("both", &["decoys", "no_user", "no_ip"])]);
    let event = got(&graph, Origin::Recorded, &login(1), "both").unwrap();
    assert_eq!((event.text(Field::UserName), event.ip(Field::SourceIp)), (None, None));
}

#[test]
fn a_filter_behind_a_redact_sees_no_more_than_a_sink_would() {
    let ways = vec![
        redact("hide", &["decoys"], &[Field::UserName]),
        filter("named", &["hide"], "has(user.name)"),
        filter("nameless", &["hide"], "!has(user.name)"),
    ];
    let graph = graph(ways, &[("a", &["named"]), ("b", &["nameless"])]);
    assert_eq!(user(&graph, Origin::Recorded, &login(1), "a"), None);
    assert_eq!(user(&graph, Origin::Recorded, &login(1), "b"), Some(false));
}

#[test]
fn what_a_window_behind_a_redact_lets_through_stays_redacted() {
    let ways = vec![
        redact("hide", &["decoys"], &[Field::UserName]),
        dedupe("inner", &["hide"]),
        dedupe("outer", &["inner"]),
    ];
    let graph = graph(ways, &[("a", &["inner"]), ("b", &["outer"])]);
    for (node, sink) in [("inner", "a"), ("outer", "b")] {
        let passed = Origin::Passed(node);
        assert_eq!(user(&graph, passed, &login(1), sink), Some(false), "{sink}");
    }
}

#[test]
fn a_pass_that_the_configuration_no_longer_explains_is_redacted_all_the_same() {
    let ways = vec![
        filter("never", &["decoys"], "false"),
        redact("hide", &["never"], &[Field::UserName]),
        dedupe("once", &["hide"]),
    ];
    let graph = graph(ways, &[("a", &["once"])]);
    assert_eq!(user(&graph, Origin::Passed("once"), &login(1), "a"), Some(false));
}

#[test]
fn a_sample_chooses_by_the_event_alone_and_says_for_how_many_one_stands() {
    let ways = vec![sample("some", &["decoys"], 10, None), sample("few", &["some"], 5, None)];
    let graph = graph(ways, &[("a", &["some"]), ("b", &["few"]), ("all", &["decoys"])]);
    let chosen = |sink| -> Vec<_> {
        let events = (0..10_000_u128).map(|number| login(number * 0x1_0000_0001));
        events
            .filter_map(|event| got(&graph, Origin::Recorded, &event, sink))
            .collect()
    };
    let (some, few) = (chosen("a"), chosen("b"));
    assert!((800..1200).contains(&some.len()), "{}", some.len());
    assert!(
        (120..280).contains(&few.len()),
        "one behind the other chooses anew: {}",
        few.len()
    );
    assert!(some.iter().all(|event| event.int(Field::SampleOneIn) == Some(10)));
    assert!(few.iter().all(|event| event.int(Field::SampleOneIn) == Some(50)));
    assert_eq!(some, chosen("a"), "in a replay the same");
    assert_eq!(chosen("all").len(), 10_000);
}

#[test]
fn what_a_sample_keeps_goes_on_unmarked_and_a_key_stays_together() {
    let mut by_source = sample("some", &["decoys"], 2, Some(r#"user.name == "wolfgang""#));
    if let TransformKind::Sample(spec) = &mut by_source.kind {
        spec.by = vec![Field::SourceIp];
    }
    let graph = graph(vec![by_source], &[("a", &["some"])]);
    let kept = got(&graph, Origin::Recorded, &login(1), "a").unwrap();
    assert_eq!(kept.get(Field::SampleOneIn), None);
    let mut sources = 0;
    for source in 0..100 {
        let come = (0..5).filter(|number| {
            let mut event = Event::new(Uuid::from_u128(*number), Timestamp::default(), Action::Connect);
            event.set(Field::SourceIp, IpAddr::from([192, 0, 2, source]));
            got(&graph, Origin::Recorded, &Arc::new(event), "a").is_some()
        });
        match come.count() {
            0 => {}
            5 => sources += 1,
            some => unreachable!("{some} of 5"),
        }
    }
    assert!((25..75).contains(&sources), "{sources}");
}
