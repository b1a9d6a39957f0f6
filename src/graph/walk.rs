//! The way of one entry through a graph that has nodes which change events.
//!
//! A *chain* is the set of such nodes that an event came through, on whichever ways it came; each of them is applied
//! once, in the order of the graph. So a sink that an event reaches both as it was and redacted gets it redacted, once,
//! and sinks behind the same nodes share one form of it.

use std::sync::Arc;

use trapline_schemas::{Action, Event};

use super::reach::Reach;
use super::shape::{Shaped, Shaper};
use super::wiring::{Graph, Origin, VertexKind};

/// Where an entry goes, and as what.
#[derive(Debug, Default)]
pub struct Reached {
    /// The nodes that it reaches.
    pub nodes: Reach,
    /// Those of them that get it otherwise than it was recorded.
    pub versions: Vec<Version>,
}

/// An event as some nodes get it.
#[derive(Debug)]
pub struct Version {
    /// The nodes.
    pub nodes: Reach,
    /// The event, under its own id.
    pub event: Arc<Event>,
}

/// A walk under way.
pub(super) struct Walk<'g> {
    graph: &'g Graph,
    event: &'g Arc<Event>,
    /// By vertex: the chain of what it gives on, if it does.
    given: Vec<Option<Reach>>,
    /// By chain: what the event is after it.
    made: Vec<(Reach, Arc<Event>)>,
}

impl<'g> Walk<'g> {
    /// Follows an entry to the nodes of `wanted`. For a pass, `event` is the original.
    pub(super) fn of(graph: &'g Graph, origin: Origin<'_>, event: &'g Arc<Event>, wanted: Reach) -> Reached {
        let mut walk = Self {
            graph,
            event,
            given: vec![None; graph.vertices.len()],
            made: Vec::new(),
        };
        let (seeds, emitting) = graph.enter(origin, event);
        for at in emitting.iter() {
            let chain = match origin {
                Origin::Passed(_) => walk.chain_into(at),
                Origin::Recorded => Reach::default(),
            };
            walk.given[at] = Some(chain);
        }
        let came = walk.run(seeds, wanted, false);
        walk.reached(&came)
    }

    /// Follows a canary as if every window let it through at once: which nodes it comes to, and which give it on.
    pub(super) fn through(graph: &'g Graph, event: &'g Arc<Event>) -> (Reach, Reach) {
        let mut walk = Self {
            graph,
            event,
            given: vec![None; graph.vertices.len()],
            made: Vec::new(),
        };
        let (seeds, _) = graph.enter(Origin::Recorded, event);
        let came = walk.run(seeds, graph.canary_ways, true);
        let set = |chains: &[Option<Reach>]| {
            let there = chains.iter().enumerate().filter(|(_, chain)| chain.is_some());
            there.fold(Reach::default(), |set, (at, _)| set.with(at))
        };
        (set(&came), set(&walk.given))
    }

    /// The chain by which the original of a pass came to the node that let it through: what stands behind must see no
    /// more than the node did. If the configuration leads it there no more, all that could have been on its way.
    fn chain_into(&self, node: usize) -> Reach {
        let mut before = Walk {
            graph: self.graph,
            event: self.event,
            given: vec![None; self.graph.vertices.len()],
            made: Vec::new(),
        };
        let (seeds, emitting) = self.graph.enter(Origin::Recorded, self.event);
        emitting.iter().for_each(|at| before.given[at] = Some(Reach::default()));
        let ancestry = self.graph.vertices[node].ancestry;
        let came = before.run(seeds, ancestry, true);
        came[node].unwrap_or_else(|| self.graph.shapers(ancestry))
    }

    /// Goes through all vertices; out: by vertex, the chain by which the event came to it.
    fn run(&mut self, seeds: Reach, wanted: Reach, through_windows: bool) -> Vec<Option<Reach>> {
        let mut came = vec![None; self.given.len()];
        for (at, came) in came.iter_mut().enumerate() {
            let Some(chain) = self.came(at, seeds).filter(|_| wanted.has(at)) else {
                continue;
            };
            *came = Some(chain);
            if let Some(given) = self.give(at, chain, through_windows) {
                self.given[at] = Some(given);
            }
        }
        came
    }

    fn came(&self, at: usize, seeds: Reach) -> Option<Reach> {
        let seed = seeds.has(at).then(Reach::default);
        let inputs = self.graph.vertices[at].inputs;
        let given = inputs.iter().filter_map(|input| self.given[input]);
        seed.into_iter().chain(given).reduce(Reach::union)
    }

    /// The chain of what a vertex gives on of an event that came by `chain`.
    fn give(&mut self, at: usize, chain: Reach, through_windows: bool) -> Option<Reach> {
        let graph = self.graph;
        match &graph.vertices[at].kind {
            VertexKind::Filter(condition) => condition.holds(&self.version(chain)).then_some(chain),
            VertexKind::Window(_) => through_windows.then_some(chain),
            VertexKind::Sink => None,
            // Not by chance: whether the way is open is the question.
            VertexKind::Shaper(Shaper::Sample(_)) if self.event.action == Action::Canary => Some(chain),
            VertexKind::Shaper(shaper) => match shaper.shape(&self.version(chain)) {
                Shaped::Dropped => None,
                Shaped::Same => Some(chain),
                Shaped::Changed(event) => {
                    let longer = chain.with(at);
                    self.made.push((longer, Arc::from(event)));
                    Some(longer)
                }
            },
        }
    }

    /// The event after all nodes of a chain.
    fn version(&mut self, chain: Reach) -> Arc<Event> {
        let Some(last) = chain.last() else {
            return Arc::clone(self.event);
        };
        if let Some((_, made)) = self.made.iter().find(|(known, _)| *known == chain) {
            return Arc::clone(made);
        }
        let before = self.version(chain.without(last));
        let event = match &self.graph.vertices[last].kind {
            VertexKind::Shaper(shaper) => match shaper.shape(&before) {
                Shaped::Changed(event) => Arc::from(event),
                // It is there on another way.
                Shaped::Dropped | Shaped::Same => before,
            },
            _ => before,
        };
        self.made.push((chain, Arc::clone(&event)));
        event
    }

    fn reached(mut self, came: &[Option<Reach>]) -> Reached {
        let mut reached = Reached::default();
        for (at, chain) in came.iter().enumerate() {
            let Some(chain) = *chain else { continue };
            reached.nodes.insert(at);
            let takes = matches!(self.graph.vertices[at].kind, VertexKind::Sink | VertexKind::Window(_));
            if !takes || chain == Reach::default() {
                continue;
            }
            let event = self.version(chain);
            match reached
                .versions
                .iter_mut()
                .find(|version| Arc::ptr_eq(&version.event, &event))
            {
                Some(version) => version.nodes.insert(at),
                None => reached.versions.push(Version {
                    nodes: Reach::default().with(at),
                    event,
                }),
            }
        }
        reached
    }
}

#[cfg(test)]
#[path = "walk_tests.rs"]
mod tests;
