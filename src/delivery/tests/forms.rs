//! Forms that several sinks need are there before the sinks are told of the entry.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use trapline_schemas::Format;

use super::double::MemoryStore;
use super::sinks::{ScriptedSink, Sunk, hit, hits, plan, sunk};
use crate::delivery::feed::{Content, Decoder, Feed, Item, Taken};
use crate::fresh::Fresh;
use crate::graph::{Graph, Node};
use crate::journal::Offset;

/// How many hits come.
const HITS: u64 = 600;

/// A feed, and who takes from it: a node, a form, and the place where it stands.
struct Stand {
    store: MemoryStore,
    graph: Arc<Graph>,
    feed: Feed,
    places: Vec<Arc<AtomicU64>>,
}

impl Stand {
    /// Hits that are there already, and a feed that goes on behind them; sink `far` hears of health alone.
    fn new() -> Self {
        let store = MemoryStore::new();
        hits(&store, usize::try_from(HITS).unwrap());
        let sink = ScriptedSink::good();
        let far = Sunk {
            inputs: &["health"],
            ..sunk("far", &sink)
        };
        let plan = plan(Vec::new(), vec![sunk("a", &sink), sunk("b", &sink), far]);
        Self {
            feed: Feed::new(HITS + 1),
            graph: plan.graph,
            store,
            places: Vec::new(),
        }
    }

    fn register(&mut self, sink: &str, form: Option<Format>, place: Offset) {
        let place = Arc::new(AtomicU64::new(place));
        self.feed.register(&place, self.node(sink), form);
        self.places.push(place);
    }

    fn node(&self, sink: &str) -> Node {
        self.graph.sink(sink).unwrap()
    }

    /// The forms that the next hit has when the feed tells of it.
    async fn forms(&self) -> Vec<Format> {
        self.store.append(&hit(1, 1));
        let decoder = Decoder {
            store: Arc::new(self.store.clone()),
            graph: Arc::clone(&self.graph),
        };
        let fresh = Arc::new(Fresh::default()).taker();
        let mut tip = self.feed.tip();
        tokio::select! {
            () = self.feed.run(&decoder, &fresh) => unreachable!("the store is open"),
            told = tip.changed() => told.unwrap(),
        }
        match self.feed.take(HITS + 1, 1) {
            Taken::Items(items, _) => rendered(&items[0]),
            _ => panic!("the hit is in the ring"),
        }
    }
}

fn rendered(item: &Item) -> Vec<Format> {
    let Content::Parcel(parcel) = &item.content else {
        panic!("a hit is there to be delivered")
    };
    let there = |form: &Format| parcel.is_rendered(*form);
    Format::ALL.iter().copied().filter(there).collect()
}

#[tokio::test]
async fn what_two_sinks_need_is_rendered_before_they_are_told_and_what_one_needs_is_not() {
    let mut stand = Stand::new();
    stand.register("a", Some(Format::Ecs), HITS + 1);
    stand.register("b", Some(Format::Ecs), HITS + 1);
    stand.register("a", Some(Format::Ocsf), HITS + 1);
    stand.register("b", None, HITS + 1);
    assert_eq!(stand.forms().await, [Format::Ecs]);
}

#[tokio::test]
async fn a_sink_that_is_a_little_behind_counts() {
    let mut stand = Stand::new();
    stand.register("a", Some(Format::Cef), HITS + 1);
    stand.register("b", Some(Format::Cef), HITS + 1 - 512);
    assert_eq!(stand.forms().await, [Format::Cef]);
}

#[tokio::test]
async fn a_sink_that_the_event_does_not_reach_does_not_count() {
    let mut stand = Stand::new();
    stand.register("a", Some(Format::Ecs), HITS + 1);
    stand.register("far", Some(Format::Ecs), HITS + 1);
    assert_eq!(stand.forms().await, []);
}

#[tokio::test]
async fn a_sink_that_lags_or_is_gone_does_not_count() {
    let mut stand = Stand::new();
    stand.register("a", Some(Format::Ecs), HITS + 1);
    stand.register("b", Some(Format::Ecs), HITS + 1 - 513);
    stand.register("b", Some(Format::Ecs), HITS + 1);
    drop(stand.places.pop());
    assert_eq!(stand.forms().await, []);
}
