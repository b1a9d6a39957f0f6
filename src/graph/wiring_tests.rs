//! The wiring, against what its words say.

use std::time::Duration;

use proptest::prelude::*;
use trapline_schemas::{Action, Timestamp};
use uuid::Uuid;

use super::*;
use crate::graph::shape::{RedactSpec, With};
use crate::graph::window::{First, NoticeRules, Policy, WindowSpec};

const ACTIONS: [Action; 6] = [
    Action::Connect,
    Action::Scan,
    Action::Block,
    Action::SensorStarted,
    Action::SinkFailed,
    Action::HeldBack,
];
/// A condition and what it means.
type Meaning = (&'static str, fn(&Event) -> bool);

/// All conditions a random filter can have, and what they mean.
const CONDITIONS: [Meaning; 3] = [
    ("true", |_| true),
    ("destination.port == 22", |event| {
        event.int(Field::DestinationPort) == Some(22)
    }),
    ("!has(honeyport.touch.level)", |event| {
        event.text(Field::TouchLevel).is_none()
    }),
];

fn reach(graph: &Graph, origin: Origin<'_>, event: &Event, wanted: Reach) -> Reach {
    graph.follow(origin, &Arc::new(event.clone()), wanted).nodes
}

fn filter(name: &str, inputs: &[&str], when: &str) -> TransformSpec {
    let kind = TransformKind::Filter { when: when.to_owned() };
    transform(name, inputs, kind)
}

fn throttle(name: &str, inputs: &[&str]) -> TransformSpec {
    let spec = WindowSpec {
        by: vec![Field::SourceIp],
        window: Duration::from_secs(60),
        policy: Policy::Throttle { limit: 1 },
    };
    transform(name, inputs, TransformKind::Window(spec))
}

fn transform(name: &str, inputs: &[&str], kind: TransformKind) -> TransformSpec {
    let inputs = inputs.iter().map(|input| (*input).to_owned()).collect();
    TransformSpec {
        name: name.to_owned(),
        inputs,
        kind,
    }
}

fn sink(name: &str, inputs: &[&str]) -> SinkWiring {
    let inputs = inputs.iter().map(|input| (*input).to_owned()).collect();
    SinkWiring {
        name: name.to_owned(),
        inputs,
        notices: None,
        follows: None,
        canary: false,
        owners: OwnerMail::Never,
    }
}

fn spec(transforms: Vec<TransformSpec>, sinks: Vec<SinkWiring>) -> GraphSpec {
    GraphSpec {
        decoys: vec!["ssh".to_owned(), "web".to_owned()],
        transforms,
        sinks,
        ..GraphSpec::default()
    }
}

fn redact(name: &str, inputs: &[&str]) -> TransformSpec {
    let redact = RedactSpec {
        fields: vec![Field::UserName],
        with: With::Mask,
    };
    transform(name, inputs, TransformKind::Redact(redact))
}

fn event(action: Action) -> Event {
    Event::new(Uuid::nil(), Timestamp::default(), action)
}

fn hit(decoy: &str) -> Event {
    let mut event = event(Action::Connect);
    event.set(Field::DecoyId, decoy);
    event
}

fn reaches(graph: &Graph, origin: Origin<'_>, event: &Event, sink: &str) -> bool {
    let node = graph.sink(sink).expect("a sink of the test");
    let all = reach(graph, origin, event, Reach::ALL).contains(node);
    let asked = reach(graph, origin, event, graph.ancestry(node)).contains(node);
    assert_eq!(all, asked, "asking for one node gives the same answer");
    all
}

fn messages(spec: &GraphSpec) -> Vec<String> {
    let problems = Graph::build(spec).expect_err("a mistake");
    problems.into_iter().map(|problem| problem.message).collect()
}

#[test]
fn reserved_inputs_stand_for_classes_of_events() {
    let sinks =
        ["decoys", "findings", "decisions", "health", "*"].map(|input| sink(&format!("s{}", input.len()), &[input]));
    let graph = Graph::build(&spec(vec![], sinks.to_vec())).unwrap();
    let who = |action| ["s6", "s8", "s9", "s1"].map(|name| reaches(&graph, Origin::Recorded, &event(action), name));
    assert_eq!(who(Action::Connect), [true, false, false, true]);
    assert_eq!(who(Action::Scan), [false, true, false, true]);
    assert_eq!(who(Action::Block), [false, false, true, true]);
    assert_eq!(who(Action::HeldBack), [false; 4]);
}

#[test]
fn health_is_for_those_who_ask_for_it_by_name() {
    let graph = Graph::build(&spec(vec![], vec![sink("a", &["health"]), sink("b", &["*"])])).unwrap();
    let started = event(Action::SensorStarted);
    assert!(reaches(&graph, Origin::Recorded, &started, "a"));
    assert!(!reaches(&graph, Origin::Recorded, &started, "b"));
}

#[test]
fn a_decoys_name_is_its_hits_alone() {
    let graph = Graph::build(&spec(vec![], vec![sink("a", &["ssh"])])).unwrap();
    assert!(reaches(&graph, Origin::Recorded, &hit("ssh"), "a"));
    assert!(!reaches(&graph, Origin::Recorded, &hit("web"), "a"));
    let mut listens = event(Action::ListenerStarted);
    listens.set(Field::DecoyId, "ssh");
    assert!(!reaches(&graph, Origin::Recorded, &listens, "a"), "health is not a hit");
}

#[test]
fn no_sink_gets_a_health_event_about_itself_by_any_way() {
    let ways = vec![filter("f", &["health"], "true"), throttle("t", &["health"])];
    let sinks = vec![sink("a", &["health", "f", "t"]), sink("b", &["health"])];
    let graph = Graph::build(&spec(ways, sinks)).unwrap();
    for action in [Action::SinkFailed, Action::SinkRecovered] {
        let mut about_a = event(action);
        about_a.set(Field::SinkName, "a");
        assert!(!reaches(&graph, Origin::Recorded, &about_a, "a"));
        assert!(!reaches(&graph, Origin::Passed("t"), &about_a, "a"));
        assert!(reaches(&graph, Origin::Recorded, &about_a, "b"));
    }
}

#[test]
fn a_throttle_lets_nothing_through_but_passes_and_its_own_counts() {
    let ways = vec![
        throttle("t", &["decoys"]),
        filter("f", &["t"], "destination.port == 22"),
    ];
    let graph = Graph::build(&spec(ways, vec![sink("a", &["t"]), sink("b", &["f"])])).unwrap();
    let mut hit = hit("ssh");
    hit.set(Field::DestinationPort, 22i64);
    assert!(!reaches(&graph, Origin::Recorded, &hit, "a"));
    assert!(reaches(&graph, Origin::Passed("t"), &hit, "a"));
    assert!(
        reaches(&graph, Origin::Passed("t"), &hit, "b"),
        "a filter behind a throttle"
    );
    let mut counted = event(Action::HeldBack);
    counted.set(Field::TransformName, "t");
    assert!(reaches(&graph, Origin::Recorded, &counted, "a"));
    assert!(
        !reaches(&graph, Origin::Recorded, &counted, "b"),
        "the filter asks for a port"
    );
    assert!(
        !reaches(&graph, Origin::Passed("gone"), &hit, "a"),
        "a node that is no longer there"
    );
}

#[test]
fn mistakes_are_told_all_at_once() {
    let bad = spec(
        vec![
            filter("health", &["decoys"], "true"),
            filter("f", &[], "sorce.ip == 'x'"),
            filter("ssh", &["*"], "true"),
        ],
        vec![sink("a", &["decoy"]), sink("b", &["a"]), sink("white space", &["*"])],
    );
    let found = messages(&bad);
    for words in [
        "`health` is a reserved name",
        "`inputs` is empty",
        "`sorce.ip` is not a field",
        "`ssh` names a decoy and a transform",
        "`decoy` is not an input",
        "`a` is a sink, and sinks have no output",
        "`white space` is not a name",
    ] {
        assert!(
            found.iter().any(|message| message.contains(words)),
            "{words}: {found:?}"
        );
    }
    let hints: Vec<_> = Graph::build(&bad)
        .unwrap_err()
        .into_iter()
        .filter_map(|problem| problem.hint)
        .collect();
    assert!(hints.contains(&"did you mean `decoys`?".to_owned()), "{hints:?}");
}

#[test]
fn a_circle_is_refused() {
    let circle = vec![filter("a", &["b"], "true"), filter("b", &["a"], "true")];
    assert!(messages(&spec(circle, vec![]))[0].contains("feeds itself"));
}

#[test]
fn more_nodes_than_the_bound_are_refused() {
    let sinks = (0..=NODES_MAX).map(|n| sink(&format!("s{n}"), &["*"])).collect();
    assert!(messages(&spec(vec![], sinks))[0].contains("more than 127"));
}

fn read_by_people(name: &str, inputs: &[&str]) -> SinkWiring {
    let rules = NoticeRules {
        first: First::AtOnce,
        keys: 9,
        benign: false,
    };
    SinkWiring {
        notices: Some(WindowSpec {
            by: Vec::new(),
            window: Duration::from_secs(60),
            policy: Policy::Notices(rules),
        }),
        ..sink(name, inputs)
    }
}

#[test]
fn people_stand_behind_a_window_that_nobody_else_can_name() {
    let sinks = vec![read_by_people("mail", &["*"]), sink("siem", &["*"])];
    let graph = Graph::build(&spec(vec![], sinks)).unwrap();
    let windows: Vec<_> = graph.windows().map(|(_, name, _)| name.to_owned()).collect();
    assert_eq!(windows, ["notices/mail"]);
    assert!(!reaches(&graph, Origin::Recorded, &hit("ssh"), "mail"));
    assert!(reaches(&graph, Origin::Passed("notices/mail"), &hit("ssh"), "mail"));
    assert!(!reaches(&graph, Origin::Passed("notices/mail"), &hit("ssh"), "siem"));
    let told = messages(&spec(vec![], vec![read_by_people("mail", &["notices/mail"])]));
    assert_eq!(told, ["`notices/mail` is not an input"]);
    let told = messages(&spec(vec![throttle("notices/mail", &["*"])], vec![]));
    assert!(told[0].contains("is not a name"), "{told:?}");
}

#[test]
fn nor_is_a_sink_of_people_counted_for_its_own_digests() {
    let sinks = vec![read_by_people("a", &["health"]), read_by_people("b", &["health"])];
    let graph = Graph::build(&spec(vec![], sinks)).unwrap();
    let mut about_a = event(Action::SinkFailed);
    about_a.set(Field::SinkName, "a");
    let reached = reach(&graph, Origin::Recorded, &about_a, Reach::ALL);
    let counting: Vec<_> = graph
        .windows()
        .filter(|(node, ..)| reached.contains(*node))
        .map(|(_, name, _)| name)
        .collect();
    assert_eq!(counting, ["notices/b"]);
}

#[test]
fn a_sink_of_people_counts_twice_among_the_nodes() {
    let sinks = |count| {
        (0..count)
            .map(|n| read_by_people(&format!("s{n}"), &["findings"]))
            .collect()
    };
    let with_scans = |count| GraphSpec {
        scans: Some(ScanSpec {
            ports: 3,
            addresses: 3,
            within: Duration::from_secs(60),
            close_after: Duration::from_secs(60),
        }),
        ..spec(vec![], sinks(count))
    };
    assert!(Graph::build(&with_scans(63)).is_ok());
    assert!(messages(&with_scans(64))[0].contains("128 transforms and sinks are more than 127"));
}

/// A release that names sinks.
fn released(sinks: &[&str]) -> Arc<Event> {
    let mut event = Event::new(Uuid::nil(), Timestamp::from_micros(1), Action::NoticeReleased);
    event.set(Field::IncidentId, Uuid::from_u128(1));
    event.set(Field::TouchLevel, "proof");
    event.set(Field::ReleaseSinks, sinks.iter().map(SmolStr::new).collect::<Vec<_>>());
    Arc::new(event)
}

fn to_owners(owners: OwnerMail, sink: SinkWiring) -> SinkWiring {
    SinkWiring { owners, ..sink }
}

#[test]
fn a_release_goes_to_the_sinks_it_names_if_they_write_to_owners_and_is_a_decision_to_machines() {
    let sinks = vec![
        to_owners(OwnerMail::Also, read_by_people("both", &["decisions"])),
        to_owners(OwnerMail::Alone, read_by_people("alone", &["decisions"])),
        to_owners(OwnerMail::Also, read_by_people("later", &["decoys"])),
        read_by_people("team", &["*"]),
        sink("archive", &["*"]),
        sink("hits", &["decoys"]),
    ];
    let graph = Graph::build(&spec(Vec::new(), sinks)).unwrap();
    let reached = |event: &Arc<Event>| {
        let nodes = graph.follow(Origin::Recorded, event, Reach::ALL).nodes;
        let names = ["both", "alone", "later", "team", "archive", "hits"];
        let is_there = |name: &&str| nodes.contains(graph.sink(name).unwrap());
        names.into_iter().filter(is_there).collect::<Vec<_>>()
    };
    assert_eq!(
        reached(&released(&["both", "alone", "team", "hits"])),
        ["both", "alone", "archive"]
    );
    assert_eq!(reached(&released(&["later"])), ["later", "archive"]);
    assert_eq!(reached(&released(&[])), ["archive"]);
    let mut unnamed = Event::clone(&released(&[]));
    unnamed.remove(Field::ReleaseSinks);
    assert_eq!(reached(&Arc::new(unnamed)), ["archive"]);
    let event = released(&["both", "archive"]);
    let is_once = |name| graph.is_once(graph.sink(name).unwrap(), &event);
    assert_eq!((is_once("both"), is_once("archive")), (true, false));
}

#[test]
fn nothing_but_a_release_reaches_a_sink_that_writes_to_owners_alone() {
    let alone = to_owners(OwnerMail::Alone, read_by_people("alone", &["*", "health"]));
    let graph = Graph::build(&spec(Vec::new(), vec![alone, sink("archive", &["*"])])).unwrap();
    let node = graph.sink("alone").unwrap();
    for action in Action::ALL.iter().filter(|action| **action != Action::NoticeReleased) {
        let mut event = Event::clone(&released(&["alone"]));
        event.action = *action;
        let reached = graph.follow(Origin::Recorded, &Arc::new(event), Reach::ALL);
        assert!(!reached.nodes.contains(node), "{}", action.name());
    }
    assert!(!graph.windows().any(|(_, name, _)| name == node_before("alone")));
}

fn follower(sink: SinkWiring) -> SinkWiring {
    SinkWiring {
        follows: Some(FollowSpec::after(Duration::from_secs(60))),
        ..sink
    }
}

#[test]
fn the_end_of_an_incident_goes_to_the_sink_that_follows_it_and_to_nobody_else() {
    let sinks = vec![
        follower(read_by_people("pager", &["decoys"])),
        follower(sink("cases", &["ssh"])),
        read_by_people("mail", &["*"]),
        sink("siem", &["*", "health"]),
    ];
    let graph = Graph::build(&spec(vec![], sinks)).unwrap();
    let mut closed = event(Action::IncidentClosed);
    closed.set(Field::TransformName, "follow/pager");
    for (sink, is_told) in [("pager", true), ("cases", false), ("mail", false), ("siem", false)] {
        assert_eq!(reaches(&graph, Origin::Recorded, &closed, sink), is_told, "{sink}");
    }
    assert!(
        reaches(&graph, Origin::Recorded, &hit("ssh"), "cases"),
        "what it takes besides"
    );
    assert!(
        !reaches(&graph, Origin::Recorded, &hit("ssh"), "pager"),
        "that is for its window to say"
    );
}

#[test]
fn a_watch_sees_what_its_sink_takes_and_is_told_and_what_is_decided() {
    let sinks = vec![
        follower(read_by_people("pager", &["ssh"])),
        follower(sink("cases", &["web"])),
    ];
    let graph = Graph::build(&spec(vec![], sinks)).unwrap();
    let watch = |name: &str| {
        let mut windows = graph.windows();
        windows
            .find(|(_, window, _)| *window == name)
            .map(|(node, ..)| node)
            .unwrap()
    };
    let (pager, cases) = (watch("follow/pager"), watch("follow/cases"));
    let seen = |watch: Node, origin: Origin<'_>, event: &Event| {
        let reached = reach(&graph, origin, event, graph.ancestry(watch));
        let (counts, sink) = graph.followed(watch).unwrap();
        [watch, counts, sink].map(|node| reached.contains(node))
    };
    assert_eq!(seen(pager, Origin::Recorded, &hit("ssh")), [true, true, false]);
    assert_eq!(
        seen(pager, Origin::Passed("notices/pager"), &hit("ssh")),
        [true, false, true]
    );
    assert_eq!(seen(pager, Origin::Recorded, &hit("web")), [false; 3]);
    assert_eq!(seen(cases, Origin::Recorded, &hit("web")), [true, true, true]);
    assert_eq!(
        seen(cases, Origin::Recorded, &event(Action::Block)),
        [true, false, false]
    );
}

#[test]
fn people_are_told_of_no_end_before_their_last_digest() {
    let longest = |sink: SinkWiring| {
        let graph = Graph::build(&spec(vec![], vec![sink])).unwrap();
        let mut specs = graph.windows().map(|(_, _, spec)| spec.clone());
        specs.find_map(|spec| match spec {
            MachineSpec::Follow(spec) => Some(spec.close_after.as_secs()),
            _ => None,
        })
    };
    assert_eq!(longest(follower(sink("a", &["*"]))), Some(60));
    assert_eq!(longest(follower(read_by_people("a", &["*"]))), Some(65));
    assert_eq!(longest(read_by_people("a", &["*"])), None);
}

#[test]
fn a_watch_counts_among_the_nodes() {
    let sinks = |count| {
        (0..count)
            .map(|n| follower(read_by_people(&format!("s{n}"), &["decoys"])))
            .collect()
    };
    assert!(Graph::build(&spec(vec![], sinks(42))).is_ok());
    assert!(messages(&spec(vec![], sinks(43)))[0].contains("129 transforms and sinks are more than 127"));
}

/// A random graph: node n takes reserved names, decoys and nodes before it.
fn any_spec() -> impl Strategy<Value = GraphSpec> {
    let node = (0..5usize, prop::collection::vec(0..18usize, 1..4));
    let nodes = prop::collection::vec(node, 0..6);
    let sinks = prop::collection::vec(prop::collection::vec(0..18usize, 1..4), 1..5);
    (nodes, sinks).prop_map(|(nodes, sinks)| {
        let input = |pick: usize, before: usize| match pick {
            0..5 => RESERVED[pick].to_owned(),
            5 => "ssh".to_owned(),
            6 => "web".to_owned(),
            _ if before == 0 => "decoys".to_owned(),
            _ => format!("n{}", pick % before),
        };
        let names = |picks: &[usize], before| picks.iter().map(|pick| input(*pick, before)).collect::<Vec<_>>();
        let count = nodes.len();
        let mut transforms: Vec<_> = nodes
            .iter()
            .enumerate()
            .map(|(at, (kind, picks))| {
                let inputs = names(picks, at);
                let inputs: Vec<_> = inputs.iter().map(String::as_str).collect();
                match CONDITIONS.get(*kind) {
                    Some((when, _)) => filter(&format!("n{at}"), &inputs, when),
                    None if *kind == CONDITIONS.len() => throttle(&format!("n{at}"), &inputs),
                    None => redact(&format!("n{at}"), &inputs),
                }
            })
            .collect();
        // The order of the configuration means nothing.
        transforms.reverse();
        let sinks = sinks.iter().enumerate();
        let sinks = sinks.map(|(at, picks)| SinkWiring {
            name: format!("s{at}"),
            inputs: names(picks, count),
            notices: None,
            follows: None,
            canary: false,
            owners: OwnerMail::Never,
        });
        spec(transforms, sinks.collect())
    })
}

fn any_event() -> impl Strategy<Value = (Event, Option<String>)> {
    let facts = (0..ACTIONS.len(), any::<bool>(), any::<bool>(), any::<bool>(), 0..6usize);
    (facts, prop::option::of(0..6usize)).prop_map(|((action, ssh, port, touched, about), pass)| {
        let mut event = event(ACTIONS[action]);
        event.set(Field::DecoyId, if ssh { "ssh" } else { "web" });
        event.set(Field::DestinationPort, if port { 22i64 } else { 80 });
        event.set(Field::UserName, "root");
        event.set_some(Field::TouchLevel, touched.then_some("proof"));
        event.set(Field::SinkName, format!("s{about}"));
        event.set(Field::TransformName, format!("n{about}"));
        (event, pass.map(|node| format!("n{node}")))
    })
}

/// The naive model: walk back from the name to what feeds it, by the words of the design.
fn model(spec: &GraphSpec, event: &Event, pass: Option<&str>, inputs: &[String]) -> bool {
    inputs.iter().any(|input| gives(spec, event, pass, input))
}

fn gives(spec: &GraphSpec, event: &Event, pass: Option<&str>, input: &str) -> bool {
    let class = Class::of(event.action);
    let recorded = pass.is_none();
    match spec.transforms.iter().find(|transform| transform.name == input) {
        None if RESERVED.contains(&input) => recorded && Class::named(input).contains(&class),
        None => recorded && class == Class::Decoys && event.text(Field::DecoyId).is_some_and(|id| id == input),
        Some(TransformSpec {
            kind: TransformKind::Window(_),
            ..
        }) => own(event, pass, input),
        Some(TransformSpec {
            kind: TransformKind::Redact(_),
            inputs,
            ..
        }) => own(event, pass, input) || model(spec, event, pass, inputs),
        Some(TransformSpec {
            kind: TransformKind::Sample(_) | TransformKind::Enrich(_),
            ..
        }) => unreachable!("no random graph has one"),
        Some(TransformSpec {
            kind: TransformKind::Filter { when },
            inputs,
            ..
        }) => {
            let (_, holds) = CONDITIONS
                .iter()
                .find(|(text, _)| text == when)
                .expect("a known condition");
            own(event, pass, input) || (model(spec, event, pass, inputs) && holds(event))
        }
    }
}

/// What a windowed node says itself.
fn own(event: &Event, pass: Option<&str>, node: &str) -> bool {
    match pass {
        Some(pass) => pass == node,
        None => event.action == Action::HeldBack && event.text(Field::TransformName).is_some_and(|name| name == node),
    }
}

proptest! {
    #[test]
    fn random_graphs_reach_what_a_naive_walk_reaches(spec in any_spec(), (event, pass) in any_event()) {
        let graph = Graph::build(&spec).expect("the strategy makes sound graphs");
        let origin = pass.as_deref().map_or(Origin::Recorded, Origin::Passed);
        for sink in &spec.sinks {
            let about_itself = is_about_a_sink(event.action) && event.text(Field::SinkName).is_some_and(|n| n == sink.name.as_str());
            let expected = model(&spec, &event, pass.as_deref(), &sink.inputs) && !about_itself;
            prop_assert_eq!(reaches(&graph, origin, &event, &sink.name), expected, "{} of {:?}", sink.name, spec);
        }
    }
}
