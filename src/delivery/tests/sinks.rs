//! The scripted sink, and the rig around it.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::Instant;
use trapline_schemas::{Action, Event, Field, Format, Timestamp, ids};
use trapline_sink::config::{Common, Factory, NoticeSettings, OwnerMail};
use trapline_sink::dial::Resolver;
use trapline_sink::{Arrears, BatchLimits, Delivery, Fault, FaultKind, Memo, Parcel, StreamSink};
use uuid::Uuid;

use super::double::MemoryStore;
use crate::delivery::{
    BatchSettings, Board, Clock, Pace, Parts, Pipeline, Plan, Recorder, SinkPlan, SinkStatus, Start,
};
use crate::graph::incident::FollowSpec;
use crate::graph::transforms::TransformSpec;
use crate::graph::window::WindowSpec;
use crate::graph::{Graph, GraphSpec, SinkWiring};

/// How long a test waits for what must come; with the paused clock no time at all.
const PATIENCE: Duration = Duration::from_secs(100_000);

/// What the script says to one batch.
pub(super) enum Answer {
    Is(Delivery),
    /// As a peer that accepts and never answers.
    Never,
    /// As a bug in the sink.
    Panic,
}

/// One call of `deliver`.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) at: Instant,
    pub(super) offsets: Vec<u64>,
}

type Script = Box<dyn FnMut(usize, &[Arc<Parcel>]) -> Answer + Send>;

/// A sink that does as the test says.
pub(super) struct ScriptedSink {
    limits: Mutex<BatchLimits>,
    script: Mutex<Script>,
    calls: Mutex<Vec<Call>>,
    /// Events answered as delivered, in order of arrival.
    got: Mutex<Vec<Arc<Event>>>,
    count: watch::Sender<usize>,
    called: watch::Sender<usize>,
    /// Only as many answers as permits.
    gate: Option<tokio::sync::Semaphore>,
    /// What it knows of events that it called delivered.
    pub(super) arrears: watch::Sender<Arrears>,
    breaks: Mutex<Breaks>,
    memory: Mutex<Remembers>,
}

/// What it remembers: nothing, unless told to.
#[derive(Debug, Default)]
struct Remembers {
    /// A row for each event, under its offset.
    each: bool,
    told: Vec<Memo>,
    to_keep: Vec<Memo>,
}

/// How it takes its worker down.
#[derive(Debug, Default)]
struct Breaks {
    /// How often, each time after an answer.
    left: u32,
    /// The answers after which it did.
    after: usize,
    /// Also when it is closed, owing this many.
    owing_at_close: Option<u64>,
}

impl std::fmt::Debug for ScriptedSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ScriptedSink({:?})", self.calls.lock().unwrap())
    }
}

pub(super) const LIMITS: BatchLimits = BatchLimits {
    events: 8,
    bytes: 1 << 20,
    linger: Duration::from_millis(50),
    in_flight: 1,
};

impl ScriptedSink {
    pub(super) fn new(script: impl FnMut(usize, &[Arc<Parcel>]) -> Answer + Send + 'static) -> Arc<Self> {
        Self::with(LIMITS, None, script)
    }

    pub(super) fn with(
        limits: BatchLimits,
        permits: Option<usize>,
        script: impl FnMut(usize, &[Arc<Parcel>]) -> Answer + Send + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            limits: Mutex::new(limits),
            script: Mutex::new(Box::new(script)),
            calls: Mutex::default(),
            got: Mutex::default(),
            count: watch::Sender::new(0),
            called: watch::Sender::new(0),
            gate: permits.map(tokio::sync::Semaphore::new),
            arrears: watch::Sender::default(),
            breaks: Mutex::default(),
            memory: Mutex::default(),
        })
    }

    /// Takes everything.
    pub(super) fn good() -> Arc<Self> {
        Self::new(|_, batch| Answer::Is(Delivery::all(batch.len())))
    }

    /// Takes so many batches at once from its next answer on.
    pub(super) fn allow(&self, in_flight: usize) {
        self.limits.lock().unwrap().in_flight = in_flight;
    }

    /// Takes its worker down this often, each time after an answer that is then not settled.
    pub(super) fn break_down(&self, times: u32) {
        self.breaks.lock().unwrap().left = times;
    }

    /// Breaks down when it is closed, `owed` events short.
    pub(super) fn break_down_at_close(&self, owed: u64) {
        self.breaks.lock().unwrap().owing_at_close = Some(owed);
    }

    /// Remembers each event that it takes from now on.
    pub(super) fn remember_each(&self) {
        self.memory.lock().unwrap().each = true;
    }

    /// Wants something kept with its next answer.
    pub(super) fn keep(&self, memo: Memo) {
        self.memory.lock().unwrap().to_keep.push(memo);
    }

    /// The keys of what it was told that it remembers, in order.
    pub(super) fn recalled(&self) -> Vec<String> {
        let memory = self.memory.lock().unwrap();
        let mut keys: Vec<_> = memory.told.iter().map(|memo| memo.key().to_owned()).collect();
        keys.sort_unstable();
        keys
    }

    fn learn(&self, batch: &[Arc<Parcel>]) {
        let mut memory = self.memory.lock().unwrap();
        if memory.each {
            let row = |parcel: &Arc<Parcel>| Memo::keep(&format!("{:04}", parcel.offset), b"taken").unwrap();
            memory.to_keep.extend(batch.iter().map(row));
        }
    }

    fn breaks_now(&self) -> bool {
        let (mut breaks, answers) = (self.breaks.lock().unwrap(), self.calls.lock().unwrap().len());
        answers > std::mem::replace(&mut breaks.after, answers) && take_one(&mut breaks.left)
    }

    /// Lets `count` more answers go out.
    pub(super) fn open_gate(&self, count: usize) {
        self.gate.as_ref().expect("a gated sink").add_permits(count);
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    /// The offsets of each call.
    pub(super) fn batches(&self) -> Vec<Vec<u64>> {
        self.calls().into_iter().map(|call| call.offsets).collect()
    }

    pub(super) fn got(&self) -> Vec<Arc<Event>> {
        self.got.lock().unwrap().clone()
    }

    /// The ids of all delivered events, in order of arrival.
    pub(super) fn ids(&self) -> Vec<Uuid> {
        self.got().iter().map(|event| event.id).collect()
    }

    pub(super) async fn wait_for(&self, count: usize) {
        wait(&self.count, count).await;
    }

    pub(super) async fn wait_for_calls(&self, count: usize) {
        wait(&self.called, count).await;
    }
}

async fn wait(counter: &watch::Sender<usize>, count: usize) {
    let mut counter = counter.subscribe();
    let reached = counter.wait_for(|now| *now >= count);
    let reached = tokio::time::timeout(PATIENCE, reached)
        .await
        .map(|reached| reached.is_ok());
    assert_eq!(reached, Ok(true), "waited for {count}");
}

#[async_trait]
impl StreamSink for ScriptedSink {
    fn limits(&self) -> BatchLimits {
        *self.limits.lock().unwrap()
    }
    async fn deliver(&self, batch: &[Arc<Parcel>]) -> Delivery {
        let offsets = batch.iter().map(|parcel| parcel.offset).collect();
        let number = {
            let mut calls = self.calls.lock().unwrap();
            calls.push(Call {
                at: Instant::now(),
                offsets,
            });
            calls.len()
        };
        self.called.send_replace(number);
        self.learn(batch);
        if let Some(gate) = &self.gate {
            gate.acquire().await.unwrap().forget();
        }
        let answer = (self.script.lock().unwrap())(number, batch);
        match answer {
            Answer::Is(delivery) => {
                let mut got = self.got.lock().unwrap();
                for (parcel, outcome) in batch.iter().zip(&delivery.outcomes) {
                    if *outcome == trapline_sink::Outcome::Delivered {
                        got.push(parcel.event.clone());
                    }
                }
                self.count.send_replace(got.len());
                delivery
            }
            Answer::Never => std::future::pending().await,
            Answer::Panic => panic!("the script says so"),
        }
    }
    fn arrears(&self) -> Option<watch::Receiver<Arrears>> {
        Some(self.arrears.subscribe())
    }
    async fn check(&self) -> Result<String, Fault> {
        Ok("scripted".to_owned())
    }
    fn recall(&self, rows: Vec<Memo>) {
        self.memory.lock().unwrap().told = rows;
    }
    fn memos(&self) -> Vec<Memo> {
        std::mem::take(&mut self.memory.lock().unwrap().to_keep)
    }
    async fn close(&self) {
        let owing = self.breaks.lock().unwrap().owing_at_close.take();
        if let Some(owed) = owing {
            let owes = Arrears {
                owed,
                ..Arrears::default()
            };
            self.arrears.send_replace(owes);
            panic!("on purpose");
        }
    }
    fn notes(&self) -> Vec<String> {
        assert!(!self.breaks_now(), "on purpose");
        let answered = !self.calls.lock().unwrap().is_empty();
        let told = answered.then(|| "promises less than was asked".to_owned());
        std::iter::once("a double".to_owned()).chain(told).collect()
    }
}

/// Counts down; whether there was one left.
pub(super) fn take_one(left: &mut u32) -> bool {
    let some = *left > 0;
    *left = left.saturating_sub(1);
    some
}

/// Gives the sink out; fails first as often as told.
#[derive(Debug)]
pub(super) struct DoubleFactory {
    pub(super) sink: Arc<ScriptedSink>,
    pub(super) fails: Mutex<u32>,
}

impl Factory for DoubleFactory {
    fn build(&self, _common: &Common) -> Result<Arc<dyn StreamSink>, Fault> {
        let mut fails = self.fails.lock().unwrap();
        if *fails > 0 {
            *fails -= 1;
            return Err(fault(FaultKind::Local));
        }
        Ok(self.sink.clone())
    }
}

pub(super) fn fault(kind: FaultKind) -> Fault {
    Fault {
        kind,
        message: "scripted fault".to_owned(),
    }
}

/// A sink of a test.
pub(super) struct Sunk {
    pub(super) name: &'static str,
    pub(super) inputs: &'static [&'static str],
    pub(super) start: Start,
    pub(super) sink: Arc<ScriptedSink>,
    pub(super) fails: u32,
    /// What people are told, if it is people who read it.
    pub(super) notices: Option<WindowSpec>,
    /// After how long incidents are over, if it follows them.
    pub(super) follows: Option<Duration>,
    /// Whether it writes to owners.
    pub(super) owners: OwnerMail,
}

pub(super) fn sunk(name: &'static str, sink: &Arc<ScriptedSink>) -> Sunk {
    Sunk {
        name,
        inputs: &["decoys"],
        start: Start::Oldest,
        sink: sink.clone(),
        fails: 0,
        notices: None,
        follows: None,
        owners: OwnerMail::Never,
    }
}

/// Health events, as the recorder would append them.
#[derive(Debug)]
pub(super) struct StoreRecorder(MemoryStore);

#[async_trait]
impl Recorder for StoreRecorder {
    async fn record(&self, event: Event) {
        self.0.append(&event);
    }
}

/// One run of delivery over a journal in memory.
pub(super) struct Rig {
    pub(super) board: Arc<Board>,
    pub(super) pipeline: Pipeline,
}

impl Rig {
    pub(super) async fn start(store: &MemoryStore, sinks: Vec<Sunk>) -> Self {
        Self::start_with(store, Vec::new(), sinks).await
    }

    pub(super) async fn start_with(store: &MemoryStore, transforms: Vec<TransformSpec>, sinks: Vec<Sunk>) -> Self {
        Self::start_on(Board::new(), store, transforms, sinks).await
    }

    /// As after a reload: with the board of the run before.
    pub(super) async fn start_on(
        board: Arc<Board>,
        store: &MemoryStore,
        transforms: Vec<TransformSpec>,
        sinks: Vec<Sunk>,
    ) -> Self {
        Self::start_by(Clock::with_tokio(at(0)), board, store, transforms, sinks).await
    }

    /// With a clock that may go on from an earlier run.
    pub(super) async fn start_by(
        clock: Clock,
        board: Arc<Board>,
        store: &MemoryStore,
        transforms: Vec<TransformSpec>,
        sinks: Vec<Sunk>,
    ) -> Self {
        let parts = Parts {
            store: Arc::new(store.clone()),
            recorder: Arc::new(StoreRecorder(store.clone())),
            clock,
            board: board.clone(),
            fresh: Arc::default(),
        };
        let plan = plan(transforms, sinks);
        let pipeline = Pipeline::start(plan, parts, Duration::from_secs(5)).await.unwrap();
        Self { board, pipeline }
    }

    pub(super) fn status(&self, name: &str) -> SinkStatus {
        let all = self.pipeline.status();
        all.into_iter()
            .find(|status| status.name == name)
            .expect("a sink of the test")
    }

    /// Waits until the status of a sink is as wanted.
    pub(super) async fn wait_for_status(&self, name: &str, wanted: impl FnMut(&SinkStatus) -> bool) {
        let mut status = self.board.watch(name).expect("a sink of the test");
        let reached = tokio::time::timeout(PATIENCE, status.wait_for(wanted)).await;
        assert!(reached.is_ok_and(|reached| reached.is_ok()), "status of {name}");
    }
}

pub(super) fn plan(transforms: Vec<TransformSpec>, sinks: Vec<Sunk>) -> Plan {
    let wiring = |sink: &Sunk| SinkWiring {
        name: sink.name.to_owned(),
        inputs: sink.inputs.iter().map(|input| (*input).to_owned()).collect(),
        notices: sink.notices.clone(),
        follows: sink.follows.map(FollowSpec::after),
        canary: false,
        owners: sink.owners,
    };
    let spec = GraphSpec {
        decoys: vec!["ssh".to_owned()],
        transforms,
        sinks: sinks.iter().map(wiring).collect(),
        ..GraphSpec::default()
    };
    let graph = Arc::new(Graph::build(&spec).unwrap());
    let sinks = sinks.into_iter().map(|sink| SinkPlan {
        common: Common {
            name: sink.name.to_owned(),
            format: Format::Ecs,
            observer: "lure-1".to_owned(),
            resolver: Resolver::default(),
            notices: NoticeSettings::default(),
        },
        factory: Arc::new(DoubleFactory {
            sink: sink.sink,
            fails: Mutex::new(sink.fails),
        }),
        start: sink.start,
        pace: Pace::default(),
        batch: BatchSettings::default(),
    });
    Plan {
        graph,
        sinks: sinks.collect(),
    }
}

/// The wall time, seconds after the start of the test.
pub(super) fn at(secs: i64) -> Timestamp {
    Timestamp::from_micros((1_700_000_040 + secs) * 1_000_000)
}

/// A hit of `source`, at a second of the test.
pub(super) fn hit(secs: i64, source: u8) -> Event {
    let at = at(secs);
    let mut event = Event::new(ids::fresh(at), at, Action::Connect);
    event.set(Field::DecoyId, "ssh");
    event.set(Field::SourceIp, IpAddr::from([192, 0, 2, source]));
    event
}

/// Appends `count` hits and gives their ids.
pub(super) fn hits(store: &MemoryStore, count: usize) -> Vec<Uuid> {
    let one = |_| {
        let event = hit(0, 1);
        store.append(&event);
        event.id
    };
    (0..count).map(one).collect()
}
