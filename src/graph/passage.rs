//! What becomes of a canary at each node on its way, as far as the graph alone can say.

use std::sync::Arc;

use trapline_schemas::Event;

use super::walk::Walk;
use super::wiring::{Graph, VertexKind};

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Station {
    /// It lets through or not, by the event alone.
    Filter,
    /// It changes events.
    Shaper,
    /// It has a task of its own, whose word is a pass.
    Window,
    /// It sends.
    Sink,
}

/// One node on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// Its name.
    pub node: String,
    /// What it is.
    pub station: Station,
    /// Whether the event comes to it, if every window lets it through.
    pub comes: bool,
    /// The nodes that feed it, however far up, and stop the event.
    pub stopped_by: Vec<String>,
    /// The windows that feed it.
    pub behind: Vec<String>,
    /// Whether it gives the event on itself.
    pub goes_on: bool,
}

impl Passage {
    /// Whether it is of the sink of this name; a transform may have the same.
    pub fn is_of_sink(&self, name: &str) -> bool {
        self.station == Station::Sink && self.node == name
    }
}

impl Graph {
    /// The way of a canary: each node that feeds a sink which wants it, and these sinks, in order.
    pub fn passages(&self, canary: &Arc<Event>) -> Vec<Passage> {
        let (came, given) = Walk::through(self, canary);
        let ways = self.canary_ways.iter();
        ways.filter_map(|at| {
            let vertex = self.vertices.get(at)?;
            let above = || {
                vertex
                    .ancestry
                    .both(self.canary_ways)
                    .iter()
                    .filter(move |up| *up != at)
            };
            let name = |up: usize| self.vertices.get(up).map(|vertex| vertex.name.to_string());
            let stops = |up: &usize| came.has(*up) && !given.has(*up);
            let is_window = |up: &usize| {
                self.vertices
                    .get(*up)
                    .is_some_and(|vertex| station(&vertex.kind) == Station::Window)
            };
            Some(Passage {
                node: vertex.name.to_string(),
                station: station(&vertex.kind),
                comes: came.has(at),
                stopped_by: above().filter(stops).filter_map(name).collect(),
                behind: above().filter(is_window).filter_map(name).collect(),
                goes_on: given.has(at),
            })
        })
        .collect()
    }
}

const fn station(kind: &VertexKind) -> Station {
    match kind {
        VertexKind::Filter(_) => Station::Filter,
        VertexKind::Shaper(_) => Station::Shaper,
        VertexKind::Window(_) => Station::Window,
        VertexKind::Sink => Station::Sink,
    }
}

#[cfg(test)]
#[path = "passage_tests.rs"]
mod tests;
