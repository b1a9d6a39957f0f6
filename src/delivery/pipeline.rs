//! All of delivery, started and stopped as one: the feed, the windows, the workers.
//!
//! A reload that changes delivery stops one pipeline and starts the next: cursors are in the journal, identity is the
//! name. After any other the sinks that wait to be tried again are tried at once: [`Pipeline::retry_now`].

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info_span};
use trapline_sink::BatchLimits;
use trapline_sink::config::{Common, Factory};

use super::breakdown::{Breakdowns, caught};
use super::clock::Clock;
use super::feed::{Decoder, Feed};
use super::health::Recorder;
use super::pace::Pace;
use super::reader::Reader;
use super::status::{Board, SinkStatus};
use super::store::{Store, commit_unless_failing};
use super::windows::{Window, disband};
use super::worker::{ReaderAt, Worker};
use crate::fresh::{Fresh, Taker};
use crate::graph::incident::sink_of;
use crate::graph::window::sink_behind;
use crate::graph::{Graph, MachineSpec, Node};
use crate::journal::{Commit, JournalError, Offset};

/// Where a sink without a cursor begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// With what comes from now on.
    #[default]
    Now,
    /// With the oldest entry of the journal.
    Oldest,
}

/// What the configuration says about batches, over what the sink itself would take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BatchSettings {
    /// Events in a batch.
    pub events: Option<usize>,
    /// Rendered bytes in a batch.
    pub bytes: Option<usize>,
    /// How long a batch that is not full waits beside others.
    pub linger: Option<Duration>,
}

impl BatchSettings {
    /// The sink's limits, made smaller where the configuration says so; a sink is never given more than it takes.
    pub fn apply(self, own: BatchLimits) -> BatchLimits {
        BatchLimits {
            events: self.events.unwrap_or(own.events).min(own.events).max(1),
            bytes: self.bytes.unwrap_or(own.bytes).min(own.bytes),
            linger: self.linger.unwrap_or(own.linger),
            in_flight: own.in_flight.max(1),
        }
    }
}

/// One sink to be run.
#[derive(Debug, Clone)]
pub struct SinkPlan {
    /// Name, form, observer.
    pub common: Common,
    /// Makes the sink.
    pub factory: Arc<dyn Factory>,
    /// Where it begins if it has no cursor.
    pub start: Start,
    /// The waits between tries.
    pub pace: Pace,
    /// Smaller batches, if wanted.
    pub batch: BatchSettings,
}

/// What to run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The wiring; it names every sink of `sinks`.
    pub graph: Arc<Graph>,
    /// The sinks.
    pub sinks: Vec<SinkPlan>,
}

/// What delivery works with.
#[derive(Clone)]
pub struct Parts {
    /// The journal.
    pub store: Arc<dyn Store>,
    /// Takes health events.
    pub recorder: Arc<dyn Recorder>,
    /// The wall clock.
    pub clock: Clock,
    /// Shows what the sinks do.
    pub board: Arc<Board>,
    /// What was recorded a moment ago.
    pub fresh: Arc<Fresh>,
}

/// Delivery at work.
pub struct Pipeline {
    tasks: JoinSet<()>,
    helpers: JoinSet<()>,
    stop: CancellationToken,
    reloads: watch::Sender<()>,
    parts: Parts,
}

impl Pipeline {
    /// Starts the feed, a task for each windowed node and a worker for each sink.
    ///
    /// In: `grace`, how long a worker may go on after [`Pipeline::stop`]. A sink that cannot be made is retried by its
    /// worker. Errors: the journal's.
    pub async fn start(plan: Plan, parts: Parts, grace: Duration) -> Result<Self, JournalError> {
        let now = *parts.store.head().borrow();
        Self::start_at(plan, parts, now, grace).await
    }

    /// Like [`Pipeline::start`]. In: `now`, where a new consumer begins that is to begin now; not beyond the head.
    pub async fn start_at(plan: Plan, parts: Parts, now: Offset, grace: Duration) -> Result<Self, JournalError> {
        let names: Vec<_> = plan.sinks.iter().map(|sink| sink.common.name.as_str()).collect();
        let nodes: Vec<_> = plan.graph.windows().map(|(_, name, _)| name).collect();
        parts.board.retain(&names, &nodes);
        let head = *parts.store.head().borrow();
        let feed = Arc::new(Feed::new(head));
        let decoder = Decoder {
            store: Arc::clone(&parts.store),
            graph: Arc::clone(&plan.graph),
        };
        let mut pipeline = Self {
            tasks: JoinSet::new(),
            helpers: JoinSet::new(),
            stop: CancellationToken::new(),
            reloads: watch::Sender::new(()),
            parts,
        };
        disband(&pipeline.parts, &nodes).await?;
        for (node, name, spec) in plan.graph.windows() {
            let first = pipeline.first(window_start(&plan.sinks, name), now).await?;
            pipeline.start_window(&feed, &decoder, node, name, spec, first).await?;
        }
        for sink in plan.sinks {
            if let Some(node) = plan.graph.sink(&sink.common.name) {
                pipeline.start_worker(&feed, &decoder, node, sink, now, grace).await?;
            }
        }
        // Nobody to feed: nothing is read or decoded.
        if !pipeline.tasks.is_empty() {
            let span = info_span!("delivery", feed = true);
            let fresh = pipeline.parts.fresh.taker();
            pipeline
                .helpers
                .spawn(keep_feeding(feed, decoder, fresh).instrument(span));
        }
        Ok(pipeline)
    }

    async fn start_window(
        &mut self,
        feed: &Arc<Feed>,
        decoder: &Decoder,
        node: Node,
        name: &str,
        spec: &MachineSpec,
        first: Offset,
    ) -> Result<(), JournalError> {
        let next = self.place(&window_consumer(name), first).await?;
        let followed = decoder.graph.followed(node);
        let window = Window::restore(name, spec, followed, self.parts.clone(), next).await?;
        let (feed, decoder) = (Arc::clone(feed), decoder.clone());
        let reader_at = move |next| Reader::new(&feed, &decoder, node, None, next);
        let work = window.run(reader_at, self.stop.clone());
        let span = info_span!("delivery", transform.name = %name);
        self.tasks.spawn(work.instrument(span));
        Ok(())
    }

    async fn start_worker(
        &mut self,
        feed: &Arc<Feed>,
        decoder: &Decoder,
        node: Node,
        sink: SinkPlan,
        now: Offset,
        grace: Duration,
    ) -> Result<(), JournalError> {
        let first = self.first(sink.start, now).await?;
        let (name, form) = (sink.common.name.clone(), sink.common.format);
        let next = self.place(&sink_consumer(&name), first).await?;
        let (feed, decoder) = (Arc::clone(feed), decoder.clone());
        let reader_at: ReaderAt = Arc::new(move |next| Reader::new(&feed, &decoder, node, Some(form), next));
        let worker = Worker::new(
            sink,
            self.parts.clone(),
            (next, reader_at),
            self.stop.clone(),
            self.reloads.subscribe(),
        );
        let span = info_span!("delivery", sink.name = %name);
        self.tasks.spawn(worker.run(grace).instrument(span));
        Ok(())
    }

    async fn first(&self, start: Start, now: Offset) -> Result<Offset, JournalError> {
        match start {
            Start::Now => Ok(now),
            Start::Oldest => self.parts.store.oldest().await,
        }
    }

    /// The consumer's cursor. A consumer that has none gets it at `first`, kept at once: what "now" was is settled, but
    /// on a disk that fails, which nobody waits for.
    async fn place(&self, consumer: &str, first: Offset) -> Result<Offset, JournalError> {
        if let Some(cursor) = self.parts.store.cursor(consumer).await? {
            return Ok(cursor);
        }
        let commit = Commit {
            cursors: vec![(consumer.to_owned(), first)],
            ..Commit::default()
        };
        let store = self.parts.store.as_ref();
        if !commit_unless_failing(store, commit.clone()).await? {
            store.enqueue(commit).await?;
        }
        Ok(first)
    }

    /// What the sinks do at this moment.
    pub fn status(&self) -> Vec<SinkStatus> {
        let store = &self.parts.store;
        let head = *store.head().borrow();
        self.parts.board.snapshot(head, &store.skipped())
    }

    /// Tries every sink that waits after a failure at once, once: a person may have mended it. A try that is under way
    /// may have begun before, so one that fails is followed by another. What a destination asked for is waited out.
    pub fn retry_now(&self) {
        self.reloads.send_replace(());
    }

    /// Stops: each worker delivers what the journal held at this moment if its sink takes it, within the grace given
    /// at the start; then cursors are saved and sinks closed. Returns when all have ended.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                error!(%error, "a delivery task broke down");
            }
        }
        self.helpers.shutdown().await;
    }
}

/// Where a windowed node without a cursor begins: one that stands before a sink by itself with what the sink is to begin
/// with.
fn window_start(sinks: &[SinkPlan], node: &str) -> Start {
    let name = sink_behind(node).or_else(|| sink_of(node));
    let sink = name.and_then(|name| sinks.iter().find(|sink| sink.common.name == name));
    sink.map_or(Start::Now, |sink| sink.start)
}

/// Runs the feed; if it breaks down, which is a bug, it goes on where it was: every sink lives on it.
async fn keep_feeding(feed: Arc<Feed>, decoder: Decoder, fresh: Taker) {
    let mut breakdowns = Breakdowns::default();
    while caught(feed.run(&decoder, &fresh)).await.is_err() {
        error!("the feed of the sinks broke down, which is a bug, and goes on");
        tokio::time::sleep(breakdowns.wait(Instant::now(), 0.0)).await;
    }
}

/// The name under which a sink keeps its cursor.
pub fn sink_consumer(sink: &str) -> String {
    format!("sink/{sink}")
}

/// The name under which a windowed node keeps its cursor.
pub fn window_consumer(node: &str) -> String {
    format!("window/{node}")
}
