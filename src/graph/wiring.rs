//! Which entry reaches which node: the `inputs` of the configuration, made a small graph of bits.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use smol_str::SmolStr;
use trapline_schemas::ids::SiteKey;
use trapline_schemas::{Action, Event, Field, Value};
use trapline_sink::config::OwnerMail;

use super::condition::Condition;
use super::incident::{self, FollowSpec};
use super::inputs::{Class, RESERVED, is_about_a_sink};
use super::machine::MachineSpec;
use super::reach::{Node, Reach};
use super::scan::{self, ScanSpec};
use super::shape::{Enrich, Redact, Sample, Shaper, SharedTables};
use super::transforms::{TransformKind, TransformSpec};
use super::walk::{Reached, Walk};
use super::window::{LATENESS, WindowSpec, node_before, sink_behind};

/// Most transforms and sinks together, one more for a sink of people and for one that follows incidents; one more watches
/// for scans.
pub const NODES_MAX: usize = 127;
/// Longest name of a node, in characters.
pub const NAME_CHARS_MAX: usize = 64;

/// What the configuration says about the graph.
#[derive(Debug, Clone, Default)]
pub struct GraphSpec {
    /// Names of all decoys.
    pub decoys: Vec<String>,
    /// All transforms.
    pub transforms: Vec<TransformSpec>,
    /// All stream sinks.
    pub sinks: Vec<SinkWiring>,
    /// What makes a scan, if findings about them are wanted.
    pub scans: Option<ScanSpec>,
    /// The site key, for pseudonyms; none where nothing will run.
    pub key: Option<SiteKey>,
    /// By node, what it looks things up in; nothing where nothing will run.
    pub tables: HashMap<String, Arc<SharedTables>>,
}

/// A stream sink and its inputs.
#[derive(Debug, Clone)]
pub struct SinkWiring {
    /// Its name.
    pub name: String,
    /// Its inputs.
    pub inputs: Vec<String>,
    /// Of a sink of people: what they are told of that, by a windowed node of its own before it
    /// ([`node_before`]).
    pub notices: Option<WindowSpec>,
    /// Of a sink that follows incidents: when they are over, by a node of its own before it
    /// ([`incident::node_for`]).
    pub follows: Option<FollowSpec>,
    /// Whether it wants canaries.
    pub canary: bool,
    /// Whether it writes to the owners of sources, when a release names it.
    pub owners: OwnerMail,
}

/// A mistake in the wiring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WiringProblem {
    /// The transform, sink or decoy at fault.
    pub node: String,
    /// The key at fault: `inputs`, `when`, or empty for the name itself.
    pub key: &'static str,
    /// The value at fault, if it is one of several.
    pub value: Option<String>,
    /// Place within the value, bytes, for conditions.
    pub offset: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What to write instead, if that is known.
    pub hint: Option<String>,
}

/// Where an entry came into the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin<'a> {
    /// An event entry: by its class and decoy, or from the node that made it.
    Recorded,
    /// A pass entry of this windowed node.
    Passed(&'a str),
}

/// The wiring, ready to be asked. Transforms stand before what they feed.
#[derive(Debug)]
pub struct Graph {
    pub(super) vertices: Vec<Vertex>,
    /// Whether a node changes events: without one nothing keeps account of it.
    has_shapers: bool,
    by_name: HashMap<SmolStr, usize>,
    by_class: [Reach; Class::NAMED.len()],
    by_decoy: HashMap<SmolStr, Reach>,
    /// The sinks that want canaries, and all that feeds them.
    pub(super) canary_ways: Reach,
    /// The sinks that write to the owners of sources.
    to_owners: Reach,
}

#[derive(Debug)]
pub(super) struct Vertex {
    pub(super) name: SmolStr,
    pub(super) kind: VertexKind,
    /// Vertices whose output it takes.
    pub(super) inputs: Reach,
    /// It and all that feeds it.
    pub(super) ancestry: Reach,
}

#[derive(Debug)]
pub(super) enum VertexKind {
    Filter(Condition),
    Shaper(Shaper),
    Window(MachineSpec),
    Sink,
}

impl Graph {
    /// Makes the graph, or says all that is wrong with it.
    pub fn build(spec: &GraphSpec) -> Result<Self, Vec<WiringProblem>> {
        let mut problems = name_problems(spec);
        problems.extend(input_problems(spec));
        let order = match topological(&spec.transforms) {
            Ok(order) => order,
            Err(cycle) => {
                problems.push(*cycle);
                Vec::new()
            }
        };
        let kinds: HashMap<usize, VertexKind> = order
            .iter()
            .filter_map(|&at| Some((at, vertex_kind(spec, &spec.transforms[at], &mut problems)?)))
            .collect();
        if problems.is_empty() {
            Ok(Self::assemble(spec, &order, kinds))
        } else {
            Err(problems)
        }
    }

    fn assemble(spec: &GraphSpec, order: &[usize], mut kinds: HashMap<usize, VertexKind>) -> Self {
        let mut graph = Self {
            vertices: Vec::new(),
            has_shapers: kinds.values().any(|kind| matches!(kind, VertexKind::Shaper(_))),
            by_name: HashMap::new(),
            by_class: [Reach::default(); Class::NAMED.len()],
            by_decoy: HashMap::new(),
            canary_ways: Reach::default(),
            to_owners: Reach::default(),
        };
        for at in order {
            let transform = &spec.transforms[*at];
            if let Some(kind) = kinds.remove(at) {
                graph.add(&transform.name, kind, &transform.inputs, spec);
            }
        }
        for sink in &spec.sinks {
            graph.add_sink(sink, spec);
            let Some(node) = graph.sink(&sink.name) else { continue };
            if sink.canary {
                // The watch over its incidents tells it of ends alone: through it a canary would come once more.
                let watch = graph.transform(&incident::node_for(&sink.name));
                let ways = graph.ancestry(node);
                let ways = watch.map_or(ways, |watch| ways.without(watch));
                graph.canary_ways = graph.canary_ways.union(ways);
            }
            if sink.owners != OwnerMail::Never {
                graph.to_owners.insert(node.0.into());
            }
        }
        // Only where somebody listens: a watch costs a little for each contact.
        let is_heard = graph.by_class[Class::Findings as usize] != Reach::default();
        if let Some(scans) = spec.scans.as_ref().filter(|_| is_heard) {
            let kind = VertexKind::Window(MachineSpec::Scans(scans.clone()));
            graph.add(scan::NODE, kind, &["decoys".to_owned()], spec);
        }
        graph
    }

    /// Adds a sink, with what goes before it if people read it or if it follows incidents.
    fn add_sink(&mut self, sink: &SinkWiring, spec: &GraphSpec) {
        if sink.owners == OwnerMail::Alone {
            return self.add(&sink.name, VertexKind::Sink, &[], spec);
        }
        let mut inputs = sink.inputs.clone();
        if let Some(notices) = &sink.notices {
            let node = node_before(&sink.name);
            let window = VertexKind::Window(MachineSpec::Window(notices.clone()));
            self.add(&node, window, &sink.inputs, spec);
            inputs = vec![node];
        }
        if let Some(follows) = &sink.follows {
            let node = incident::node_for(&sink.name);
            // All that the sink takes and all that it is told, and what is done about somebody whether it is told or not.
            let watched = [&sink.inputs[..], &inputs[..], &["decisions".to_owned()]].concat();
            let watch = VertexKind::Window(MachineSpec::Follow(settled(follows, sink.notices.as_ref())));
            self.add(&node, watch, &watched, spec);
            inputs.push(node);
        }
        self.add(&sink.name, VertexKind::Sink, &inputs, spec);
    }

    fn add(&mut self, name: &str, kind: VertexKind, inputs: &[String], spec: &GraphSpec) {
        let index = self.vertices.len();
        let mut feeding = Reach::default();
        for input in inputs {
            for class in Class::named(input) {
                self.by_class[*class as usize].insert(index);
            }
            if spec.decoys.contains(input) {
                self.by_decoy.entry(input.into()).or_default().insert(index);
            } else if let Some(feeder) = self.transform(input) {
                feeding.insert(feeder);
            }
        }
        let mut ancestry = feeding;
        ancestry.insert(index);
        for (at, vertex) in self.vertices.iter().enumerate() {
            if feeding.has(at) {
                ancestry.0 |= vertex.ancestry.0;
            }
        }
        self.vertices.push(Vertex {
            name: name.into(),
            kind,
            inputs: feeding,
            ancestry,
        });
        self.by_name.entry(name.into()).or_insert(index);
    }

    fn transform(&self, name: &str) -> Option<usize> {
        let index = *self.by_name.get(name)?;
        (!matches!(self.vertices[index].kind, VertexKind::Sink)).then_some(index)
    }

    /// The nodes that an entry reaches, of those in `wanted` (see [`Graph::ancestry`]; [`Reach::ALL`] for every node),
    /// and what each of them gets.
    ///
    /// In: for a pass, `event` is the original. A pass of a node that is no longer there reaches nothing.
    pub fn follow(&self, origin: Origin<'_>, event: &Arc<Event>, wanted: Reach) -> Reached {
        let wanted = self.wanted_of(event, wanted);
        let mut reached = match self.has_shapers {
            true => Walk::of(self, origin, event, wanted),
            false => Reached {
                nodes: self.reach(origin, event, wanted),
                versions: Vec::new(),
            },
        };
        reached.nodes = self.without_itself(reached.nodes, event);
        reached
    }

    /// A canary goes to those who want it, and to nobody else.
    fn wanted_of(&self, event: &Event, wanted: Reach) -> Reach {
        match event.action {
            Action::Canary => wanted.both(self.canary_ways),
            _ => wanted,
        }
    }

    /// The nodes of a graph that changes no event.
    fn reach(&self, origin: Origin<'_>, event: &Event, wanted: Reach) -> Reach {
        let (seeds, mut emitting) = self.enter(origin, event);
        let mut reached = Reach::default();
        for (index, vertex) in self.vertices.iter().enumerate() {
            let enters = seeds.has(index) || vertex.inputs.meets(emitting);
            if !enters || !wanted.has(index) {
                continue;
            }
            reached.insert(index);
            if let VertexKind::Filter(condition) = &vertex.kind
                && condition.holds(event)
            {
                emitting.insert(index);
            }
        }
        reached
    }

    /// What takes the entry directly, and what has it for output.
    pub(super) fn enter(&self, origin: Origin<'_>, event: &Event) -> (Reach, Reach) {
        let class = Class::of(event.action);
        match origin {
            Origin::Passed(node) => (Reach::default(), self.output_of(node)),
            Origin::Recorded if class == Class::Derived => {
                let node = event.text(Field::TransformName).map(SmolStr::as_str);
                (Reach::default(), self.output_of(node.unwrap_or_default()))
            }
            Origin::Recorded if class == Class::Canary => (self.entrances(), Reach::default()),
            Origin::Recorded => (self.seeds(class, event), Reach::default()),
        }
    }

    /// All that takes anything that is recorded.
    fn entrances(&self) -> Reach {
        let all = self.by_class.iter().chain(self.by_decoy.values());
        all.copied().fold(Reach::default(), Reach::union)
    }

    fn output_of(&self, node: &str) -> Reach {
        let mut output = Reach::default();
        if let Some(index) = self.transform(node) {
            output.insert(index);
        }
        output
    }

    fn seeds(&self, class: Class, event: &Event) -> Reach {
        let mut seeds = self.by_class[class as usize];
        if class == Class::Decoys
            && !self.by_decoy.is_empty()
            && let Some(decoy) = event.text(Field::DecoyId)
            && let Some(named) = self.by_decoy.get(decoy)
        {
            seeds.0 |= named.0;
        }
        match event.action {
            Action::NoticeReleased => seeds.union(self.released_to(event)),
            _ => seeds,
        }
    }

    /// The sinks that a release names, of those that write to owners: past inputs, filters and windows, for what a person
    /// let go is not to be sampled, held back or summed up, and no other sink may ever have it as a mail to send.
    fn released_to(&self, event: &Event) -> Reach {
        let Some(Value::Texts(named)) = event.get(Field::ReleaseSinks) else {
            return Reach::default();
        };
        let is_named = |at: &usize| named.contains(&self.vertices[*at].name);
        self.to_owners
            .iter()
            .filter(is_named)
            .fold(Reach::default(), Reach::with)
    }

    /// Whether the event is for the sink to have once and no more: a replay leaves it out, for a mail to an owner needs a
    /// release of its own.
    pub fn is_once(&self, sink: Node, event: &Event) -> bool {
        event.action == Action::NoticeReleased && self.to_owners.contains(sink)
    }

    /// No sink gets a health event about itself, whatever the way; nor is it counted for its digests.
    fn without_itself(&self, mut reached: Reach, event: &Event) -> Reach {
        if is_about_a_sink(event.action)
            && let Some(name) = event.text(Field::SinkName)
        {
            let is_it = |vertex: &Vertex| match vertex.kind {
                VertexKind::Sink => vertex.name == *name,
                VertexKind::Window(_) => sink_behind(&vertex.name) == Some(name.as_str()),
                _ => false,
            };
            let itself = self.vertices.iter().enumerate().filter(|(_, vertex)| is_it(vertex));
            reached = itself.fold(reached, |reached, (at, _)| reached.without(at));
        }
        reached
    }

    /// A sink by its name.
    pub fn sink(&self, name: &str) -> Option<Node> {
        let is_it = |vertex: &Vertex| vertex.name == name && matches!(vertex.kind, VertexKind::Sink);
        self.vertices.iter().position(is_it).map(node)
    }

    /// The windowed nodes, with their settings.
    pub fn windows(&self) -> impl Iterator<Item = (Node, &str, &MachineSpec)> {
        let vertices = self.vertices.iter().enumerate();
        vertices.filter_map(|(index, vertex)| match &vertex.kind {
            VertexKind::Window(spec) => Some((node(index), vertex.name.as_str(), spec)),
            _ => None,
        })
    }

    /// The node and all that feeds it: what must be asked to know whether an entry reaches it. Of a watch over incidents
    /// also its sink, for it asks whether that is reached.
    pub fn ancestry(&self, node: Node) -> Reach {
        let ancestry = self.vertices[usize::from(node.0)].ancestry;
        match self.followed(node) {
            Some((_, sink)) => ancestry.with(sink.0.into()),
            None => ancestry,
        }
    }

    /// Of a watch over incidents: the node whose entries count, which is the sink or the window before it, and the sink.
    pub fn followed(&self, watch: Node) -> Option<(Node, Node)> {
        let name = incident::sink_of(&self.vertices[usize::from(watch.0)].name)?;
        let sink = self.sink(name)?;
        let window = self.transform(&node_before(name)).map(node);
        Some((window.unwrap_or(sink), sink))
    }

    /// Those of some nodes that change events.
    pub(super) fn shapers(&self, nodes: Reach) -> Reach {
        let is_shaper = |at: &usize| matches!(self.vertices[*at].kind, VertexKind::Shaper(_));
        nodes.iter().filter(is_shaper).fold(Reach::default(), Reach::with)
    }

    /// All that stands behind a transform, whatever the filters on the way say of an event.
    pub fn downstream(&self, transform: &str) -> Reach {
        let mut behind = Reach::default();
        if let Some(index) = self.transform(transform) {
            let fed = |(_, vertex): &(usize, &Vertex)| vertex.ancestry.has(index);
            for (at, _) in self.vertices.iter().enumerate().filter(fed) {
                behind.insert(at);
            }
        }
        behind
    }

    /// How many evaluations ended in an error, by node with a condition.
    pub fn condition_errors(&self) -> impl Iterator<Item = (&str, u64)> {
        self.vertices.iter().filter_map(|vertex| match &vertex.kind {
            VertexKind::Filter(condition) => Some((vertex.name.as_str(), condition.errors())),
            VertexKind::Shaper(Shaper::Sample(sample)) => Some((vertex.name.as_str(), sample.keep()?.errors())),
            _ => None,
        })
    }
}

/// When the incidents of a sink are over: of what people are told in digests not before these have come.
fn settled(follows: &FollowSpec, notices: Option<&WindowSpec>) -> FollowSpec {
    let Some(notices) = notices else {
        return follows.clone();
    };
    let settle = 5 * LATENESS;
    FollowSpec {
        close_after: follows.close_after.max(notices.window + settle),
        settle,
    }
}

fn node(index: usize) -> Node {
    Node(u8::try_from(index).expect("at most NODES_MAX vertices pass the build"))
}

fn vertex_kind(spec: &GraphSpec, transform: &TransformSpec, problems: &mut Vec<WiringProblem>) -> Option<VertexKind> {
    Some(match &transform.kind {
        TransformKind::Window(window) => VertexKind::Window(MachineSpec::Window(window.clone())),
        TransformKind::Filter { when } => VertexKind::Filter(compiled(transform, "when", when, problems)?),
        TransformKind::Sample(sample) => {
            let keep = match &sample.keep {
                Some(keep) => Some(compiled(transform, "keep", keep, problems)?),
                None => None,
            };
            VertexKind::Shaper(Shaper::Sample(Sample::new(&transform.name, sample, keep)))
        }
        TransformKind::Redact(redact) => {
            let key = spec.key.clone().unwrap_or_else(|| SiteKey::new([0; 32]));
            VertexKind::Shaper(Shaper::Redact(Redact::new(redact, key)))
        }
        TransformKind::Enrich(enrich) => {
            let tables = spec.tables.get(&transform.name).cloned().unwrap_or_default();
            VertexKind::Shaper(Shaper::Enrich(Enrich::new(enrich, tables)))
        }
    })
}

fn compiled(
    transform: &TransformSpec,
    key: &'static str,
    text: &str,
    problems: &mut Vec<WiringProblem>,
) -> Option<Condition> {
    Condition::compile(text)
        .map_err(|found| {
            problems.extend(found.into_iter().map(|problem| WiringProblem {
                offset: Some(problem.offset),
                hint: problem.hint,
                ..problem_at(&transform.name, key, None, problem.message)
            }));
        })
        .ok()
}

fn problem_at(node: &str, key: &'static str, value: Option<&str>, message: String) -> WiringProblem {
    WiringProblem {
        node: node.to_owned(),
        key,
        value: value.map(str::to_owned),
        offset: None,
        message,
        hint: None,
    }
}

fn name_problems(spec: &GraphSpec) -> Vec<WiringProblem> {
    let mut problems = Vec::new();
    let transforms = spec.transforms.iter().map(|transform| &transform.name);
    let sinks = spec.sinks.iter().map(|sink| &sink.name);
    let mut sources = HashSet::new();
    for name in spec.decoys.iter().chain(transforms) {
        problems.extend(name_problem(name));
        if !sources.insert(name) {
            let message = format!("`{name}` names a decoy and a transform");
            problems.push(problem_at(name, "", None, message));
        }
    }
    problems.extend(sinks.filter_map(|name| name_problem(name)));
    let of_people = spec.sinks.iter().filter(|sink| sink.notices.is_some()).count();
    let following = spec.sinks.iter().filter(|sink| sink.follows.is_some()).count();
    let nodes = spec.transforms.len() + spec.sinks.len() + of_people + following;
    if nodes > NODES_MAX {
        let message = format!(
            "{nodes} transforms and sinks are more than {NODES_MAX}, sinks of people and those that follow incidents \
             counted once more"
        );
        problems.push(problem_at("", "", None, message));
    }
    problems
}

fn name_problem(name: &str) -> Option<WiringProblem> {
    let plain = |sign: char| sign.is_ascii_alphanumeric() || "_-".contains(sign);
    let message = if RESERVED.contains(&name) {
        format!("`{name}` is a reserved name")
    } else if name.is_empty() || name.len() > NAME_CHARS_MAX || !name.chars().all(plain) {
        format!("`{name}` is not a name: letters, digits, `_` and `-`, 1..={NAME_CHARS_MAX} of them")
    } else {
        return None;
    };
    Some(problem_at(name, "", None, message))
}

fn input_problems(spec: &GraphSpec) -> Vec<WiringProblem> {
    let transforms = spec.transforms.iter().map(|t| (&t.name, &t.inputs));
    let sinks = spec.sinks.iter().map(|sink| (&sink.name, &sink.inputs));
    let mut problems = Vec::new();
    for (name, inputs) in transforms.chain(sinks) {
        if inputs.is_empty() {
            let mut problem = problem_at(name, "inputs", None, "`inputs` is empty".to_owned());
            problem.hint = Some("`inputs = [\"decoys\"]` takes every hit".to_owned());
            problems.push(problem);
        }
        problems.extend(inputs.iter().filter_map(|input| input_problem(spec, name, input)));
    }
    problems
}

fn input_problem(spec: &GraphSpec, name: &str, input: &str) -> Option<WiringProblem> {
    let known = || {
        let transforms = spec.transforms.iter().map(|t| t.name.as_str());
        let decoys = spec.decoys.iter().map(String::as_str);
        RESERVED.iter().copied().chain(decoys).chain(transforms)
    };
    if known().any(|other| other == input) {
        return None;
    }
    let is_sink = spec.sinks.iter().any(|sink| sink.name == input);
    let message = if is_sink {
        format!("`{input}` is a sink, and sinks have no output")
    } else {
        format!("`{input}` is not an input")
    };
    let nearest = known()
        .map(|other| (strsim::jaro_winkler(input, other), other))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(likeness, _)| *likeness > 0.8);
    let mut problem = problem_at(name, "inputs", Some(input), message);
    problem.hint = nearest.map(|(_, other)| format!("did you mean `{other}`?"));
    Some(problem)
}

/// The transforms in an order where each stands behind its inputs (Kahn), or one of those that feed themselves.
fn topological(transforms: &[TransformSpec]) -> Result<Vec<usize>, Box<WiringProblem>> {
    let place: HashMap<&str, usize> = transforms
        .iter()
        .enumerate()
        .map(|(at, transform)| (transform.name.as_str(), at))
        .collect();
    let mut order: Vec<usize> = Vec::with_capacity(transforms.len());
    loop {
        let is_ready = |at: &usize| {
            let inputs = &transforms[*at].inputs;
            let mut feeders = inputs.iter().filter_map(|input| place.get(input.as_str()));
            !order.contains(at) && feeders.all(|feeder| order.contains(feeder))
        };
        match (0..transforms.len()).find(is_ready) {
            Some(ready) => order.push(ready),
            None => break,
        }
    }
    match (0..transforms.len()).find(|at| !order.contains(at)) {
        None => Ok(order),
        Some(stuck) => {
            let name = &transforms[stuck].name;
            let message = format!("`{name}` feeds itself, or waits for a transform that does");
            Err(Box::new(problem_at(name, "inputs", None, message)))
        }
    }
}

#[cfg(test)]
#[path = "wiring_tests.rs"]
mod tests;
