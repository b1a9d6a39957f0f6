//! Where the engine stands, and who comes to it: the recorder with each hit, persons, set sinks with their reports.
//!
//! What comes of it is taken by the recorder alone ([`Desk::take`]), so that it reaches the journal in the order in which
//! it was decided. Whoever else asks something pokes the recorder.
//!
//! Members for the fast lane are handed over here, before anything is written: putting one in twice does no harm, and what
//! the journal lost with the power is found by comparing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use trapline_schemas::{Event, Timestamp};
use trapline_sink::set::{FastLane, Member, Scope};

use super::acts::{Actor, Acts, TargetRow};
use super::book::StateRow;
use super::caps::Full;
use super::decision::Decision;
use super::engine::Engine;
use super::reported::Reported;
use super::settings::Mode;
use super::telling;
use super::worker::Report;
use crate::control::decisions::moment;

/// A wall clock that is off by more than this against the monotonic one has been set.
const STEP_MIN: Duration = Duration::from_secs(5);
/// How often ends are looked at although none is near: the clock may be set.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A way into the kernel, and for whom.
pub type Lane = (Scope, Arc<dyn FastLane>);

/// The engine, shared.
pub struct Desk {
    engine: Mutex<Engine>,
    /// Whether rules decide anything: if not, a hit costs nothing here.
    decides: AtomicBool,
    lanes: RwLock<Arc<[Lane]>>,
    changes: watch::Sender<u64>,
    poke: Notify,
    clock: Mutex<Clock>,
    actors: RwLock<Arc<[Actor]>>,
    acts: Mutex<Acts>,
}

/// What the recorder takes.
#[derive(Debug)]
pub struct Taken {
    /// Events, in order; not stamped yet.
    pub events: Vec<Event>,
    /// State that goes into their commit.
    pub state: Vec<StateRow>,
    /// A bound that was reached, once a minute.
    pub full: Option<Full>,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}

impl Desk {
    /// With an engine that has been given what an earlier run left.
    pub fn new(engine: Engine) -> Arc<Self> {
        Arc::new(Self {
            decides: AtomicBool::new(engine.decides()),
            engine: Mutex::new(engine),
            lanes: RwLock::new(Arc::from([])),
            changes: watch::Sender::new(0),
            poke: Notify::new(),
            clock: Mutex::new(Clock::now()),
            actors: RwLock::new(Arc::from([])),
            acts: Mutex::default(),
        })
    }

    /// Decides about a hit; what came of it is in [`take`](Self::take). Waits for nobody but who is here for microseconds.
    pub fn see(&self, event: &Event) {
        if !self.decides.load(Ordering::Relaxed) {
            return;
        }
        let mut engine = self.lock();
        engine.see(event);
        let fast = engine.take_fast();
        drop(engine);
        self.shut(&fast);
    }

    /// What was decided and done since it was asked last, for the journal, in order. `None`: nothing.
    pub fn take(&self) -> Option<Taken> {
        if !self.decides.load(Ordering::Relaxed) {
            return None;
        }
        let mut engine = self.lock();
        if !engine.has_news() {
            return None;
        }
        let (out, mode) = (engine.take(), engine.mode());
        drop(engine);
        if out.changed {
            self.changes.send_modify(|count| *count = count.wrapping_add(1));
        }
        let told = out.told.iter().map(|told| telling::told(told, mode));
        Some(Taken {
            events: told.chain(out.acts).collect(),
            state: out.state,
            full: out.full,
        })
    }

    /// Asks the engine something on behalf of whoever is not the recorder, which is told to come.
    pub fn ask<R>(&self, asked: impl FnOnce(&mut Engine) -> R) -> R {
        let mut engine = self.lock();
        let answer = asked(&mut engine);
        self.decides.store(engine.decides(), Ordering::Relaxed);
        let fast = engine.take_fast();
        drop(engine);
        self.shut(&fast);
        self.poke.notify_one();
        answer
    }

    /// Looks at the engine.
    pub fn look<R>(&self, look: impl FnOnce(&Engine) -> R) -> R {
        look(&self.lock())
    }

    /// Waits until somebody asked something, or until it is time to look whether a decision is over. Cancel: safe.
    pub async fn stirred(&self) {
        let rest = self.rest(Timestamp::now());
        // Cancel: both are safe.
        tokio::select! {
            () = self.poke.notified() => {}
            () = tokio::time::sleep(rest) => {}
        }
    }

    /// Ends what is over. A clock that was set moves all ends with it: nothing ends early or late by that.
    pub fn pass(&self) {
        let now = Timestamp::now();
        let step = self.clock().step(now);
        let mut engine = self.lock();
        if step != 0 {
            engine.shift(step);
        }
        engine.pass(now);
        if engine.has_news() {
            self.acts().keep(|id| engine.book().get(id).is_some());
        }
    }

    /// Counts up when what is wanted of set sinks changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The ways into the kernel, from now on.
    pub fn set_lanes(&self, lanes: Vec<Lane>) {
        *self.lanes.write().unwrap_or_else(PoisonError::into_inner) = lanes.into();
    }

    /// The sinks that act, from now on.
    pub fn set_actors(&self, actors: Vec<Actor>) {
        *self.actors.write().unwrap_or_else(PoisonError::into_inner) = actors.into();
    }

    /// How a decision stands with each sink that acts.
    pub fn acts_of(&self, decision: &Decision) -> Vec<TargetRow> {
        let actors = Arc::clone(&self.actors.read().unwrap_or_else(PoisonError::into_inner));
        self.acts().of(decision, &actors, moment)
    }

    /// A sink equalled what is wanted at that time: what was over by then is undone there, as after a restart, when nobody
    /// saw it end.
    pub fn equalled(&self, actor: &Actor, compared: Timestamp) {
        let undone = self.look(|engine| engine.undone(&actor.name, compared));
        for (target, id) in undone {
            self.report(
                actor,
                Report::Lifted {
                    target,
                    decision: Some(id),
                },
            );
        }
    }

    /// Takes what a sink reports.
    pub fn report(&self, actor: &Actor, report: Report) {
        let now = Timestamp::now();
        self.ask(|engine| Reported { engine, actor, now }.take(report, &mut self.acts()));
    }

    fn shut(&self, members: &[Member]) {
        if members.is_empty() {
            return;
        }
        let lanes = Arc::clone(&self.lanes.read().unwrap_or_else(PoisonError::into_inner));
        for member in members {
            let lanes = lanes.iter().filter(|(scope, _)| scope.takes(member.inside));
            lanes.for_each(|(_, lane)| lane.put(member));
        }
    }

    /// How long nothing ends.
    fn rest(&self, now: Timestamp) -> Duration {
        let next = self.look(|engine| engine.book().next_end());
        next.map_or(LOOK_EVERY, |next| next.since(now).min(LOOK_EVERY))
    }

    fn lock(&self) -> MutexGuard<'_, Engine> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn acts(&self) -> MutexGuard<'_, Acts> {
        self.acts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clock(&self) -> MutexGuard<'_, Clock> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The wall clock and the monotonic one, at one moment.
#[derive(Debug)]
struct Clock {
    wall: Timestamp,
    monotonic: Instant,
}

impl Clock {
    fn now() -> Self {
        Self {
            wall: Timestamp::now(),
            monotonic: Instant::now(),
        }
    }

    /// By how many microseconds the wall clock was set since it was asked last.
    fn step(&mut self, now: Timestamp) -> i64 {
        let passed = self.monotonic.elapsed();
        let micros = i64::try_from(passed.as_micros()).unwrap_or(i64::MAX);
        let step = now.micros() - self.wall.micros().saturating_add(micros);
        self.monotonic += passed;
        self.wall = now;
        let is_set = Duration::from_micros(step.unsigned_abs()) > STEP_MIN;
        if is_set { step } else { 0 }
    }
}

/// Whether set sinks may change nothing: nothing is done in this mode, and nothing is left of one before.
pub fn observes(engine: &Engine) -> bool {
    engine.mode() == Mode::Observe && engine.book().active() == 0
}
