//! The way of a canary, as the graph has it.

use std::time::Duration;

use trapline_schemas::{Action, Event, Timestamp};
use trapline_sink::config::OwnerMail;
use uuid::Uuid;

use super::*;
use crate::graph::incident::FollowSpec;
use crate::graph::shape::SampleSpec;
use crate::graph::transforms::{TransformKind, TransformSpec};
use crate::graph::window::{Policy, WindowSpec};
use crate::graph::wiring::Origin;
use crate::graph::{GraphSpec, Reach, SinkWiring};

fn transform(name: &str, inputs: &[&str], kind: TransformKind) -> TransformSpec {
    TransformSpec {
        name: name.to_owned(),
        inputs: inputs.iter().map(|input| (*input).to_owned()).collect(),
        kind,
    }
}

fn filter(name: &str, inputs: &[&str], when: &str) -> TransformSpec {
    transform(name, inputs, TransformKind::Filter { when: when.to_owned() })
}

fn window(name: &str, inputs: &[&str]) -> TransformSpec {
    let spec = WindowSpec {
        by: Vec::new(),
        window: Duration::from_secs(60),
        policy: Policy::Dedupe,
    };
    transform(name, inputs, TransformKind::Window(spec))
}

fn sink(name: &str, inputs: &[&str], canary: bool) -> SinkWiring {
    SinkWiring {
        follows: None,
        name: name.to_owned(),
        inputs: inputs.iter().map(|input| (*input).to_owned()).collect(),
        notices: None,
        canary,
        owners: OwnerMail::Never,
    }
}

fn graph(transforms: Vec<TransformSpec>, sinks: Vec<SinkWiring>) -> Graph {
    let spec = GraphSpec {
        decoys: vec!["ssh".to_owned()],
        transforms,
        sinks,
        ..GraphSpec::default()
    };
    Graph::build(&spec).unwrap()
}

fn event(action: Action) -> Arc<Event> {
    Arc::new(Event::new(Uuid::from_u128(1), Timestamp::default(), action))
}

fn reaches(graph: &Graph, origin: Origin<'_>, sink: &str) -> bool {
    let reached = graph.follow(origin, &event(Action::Canary), Reach::ALL);
    reached.nodes.contains(graph.sink(sink).unwrap())
}

#[test]
fn a_canary_comes_by_every_input_to_the_sinks_that_want_it_and_to_no_other() {
    let inputs = ["decoys", "findings", "decisions", "health", "*", "ssh"];
    let name = |input: &str| format!("of-{}", input.replace('*', "all"));
    let wanted = inputs.map(|input| sink(&name(input), &[input], true));
    let graph = graph(
        Vec::new(),
        [wanted.to_vec(), vec![sink("no", &["*", "health"], false)]].concat(),
    );
    for input in inputs {
        assert!(reaches(&graph, Origin::Recorded, &name(input)), "{input}");
    }
    assert!(!reaches(&graph, Origin::Recorded, "no"));
    let hit = graph.follow(Origin::Recorded, &event(Action::Connect), Reach::ALL);
    assert!(hit.nodes.contains(graph.sink("no").unwrap()), "hits are for all");
}

#[test]
fn a_filter_judges_a_canary_as_any_event_and_a_sample_lets_every_one_through() {
    let one_in = SampleSpec {
        one_in: 1_000_000,
        by: Vec::new(),
        keep: None,
    };
    let transforms = vec![
        filter("open", &["decoys"], "event.action == \"canary\""),
        filter("shut", &["decoys"], "event.action != \"canary\""),
        transform("few", &["decoys"], TransformKind::Sample(one_in)),
    ];
    let sinks = ["open", "shut", "few"].map(|name| sink(&format!("behind-{name}"), &[name], true));
    let graph = graph(transforms, sinks.to_vec());
    let ways = ["behind-open", "behind-shut", "behind-few"].map(|sink| reaches(&graph, Origin::Recorded, sink));
    assert_eq!(ways, [true, false, true]);
    let passages = graph.passages(&event(Action::Canary));
    let shut = passages.iter().find(|passage| passage.node == "behind-shut").unwrap();
    assert_eq!(
        (shut.comes, shut.stopped_by.as_slice()),
        (false, ["shut".to_owned()].as_slice())
    );
}

#[test]
fn behind_a_window_it_comes_with_the_pass_and_what_feeds_nobody_who_wants_it_is_left_alone() {
    let transforms = vec![window("digest", &["decoys"]), window("other", &["decoys"])];
    let sinks = vec![sink("yes", &["digest"], true), sink("no", &["other"], false)];
    let graph = graph(transforms, sinks);
    assert!(!reaches(&graph, Origin::Recorded, "yes"));
    assert!(reaches(&graph, Origin::Passed("digest"), "yes"));
    let recorded = graph.follow(Origin::Recorded, &event(Action::Canary), Reach::ALL);
    let taken: Vec<_> = graph
        .windows()
        .filter(|(node, ..)| recorded.nodes.contains(*node))
        .map(|(_, name, _)| name)
        .collect();
    assert_eq!(taken, ["digest"]);
    let passages = graph.passages(&event(Action::Canary));
    let nodes: Vec<_> = passages
        .iter()
        .map(|passage| (passage.node.as_str(), passage.comes))
        .collect();
    assert_eq!(nodes, [("digest", true), ("yes", true)]);
    assert_eq!(passages[1].behind, ["digest"]);
}

#[test]
fn the_watch_over_incidents_of_a_sink_takes_no_canary_so_that_the_sink_gets_it_once() {
    let follows = Some(FollowSpec::after(Duration::from_secs(60)));
    let desk = SinkWiring {
        follows,
        ..sink("desk", &["*"], true)
    };
    let graph = graph(Vec::new(), vec![desk]);
    let recorded = graph.follow(Origin::Recorded, &event(Action::Canary), Reach::ALL);
    let watches = graph.windows().filter(|(node, ..)| recorded.nodes.contains(*node));
    assert_eq!(watches.count(), 0);
    assert!(reaches(&graph, Origin::Recorded, "desk"));
    let passages = graph.passages(&event(Action::Canary));
    let nodes: Vec<_> = passages.iter().map(|passage| passage.node.as_str()).collect();
    assert_eq!(nodes, ["desk"]);
    assert_eq!(passages[0].behind, Vec::<String>::new());
}
