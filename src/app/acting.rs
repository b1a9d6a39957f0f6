//! The sinks that act, at work: each is made, and held to what is decided by a worker of its own.
//!
//! One that cannot be made now (no right, no kernel module, no network) is tried again; it holds up nothing. One that a
//! reload takes out of the configuration first takes back what it did, within a time.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use trapline_schemas::{Timestamp, codec};
use trapline_sink::FaultKind;
use trapline_sink::published::Shelf;
use trapline_sink::set::{SetCommon, SetSink, Spared, Wanted};

use super::start::StartError;
use super::{Tasks, build};
use crate::config::{Config, SetSettings};
use crate::delivery::{Clock, Pace};
use crate::journal::{Commit, Journal};
use crate::respond::acts::Actor;
use crate::respond::book::{self, Book};
use crate::respond::desk::{Desk, observes};
use crate::respond::engine::Engine;
use crate::respond::history::{self, History};
use crate::respond::sparing::{self, Destination, Host, Sparing, Work, started_from};
use crate::respond::worker::{Board, Level, Report, Settings, Worker};

/// Reports that may wait.
const REPORTS_MAX: usize = 1024;
/// How long a worker has at a stop.
const GRACE: Duration = Duration::from_secs(1);
/// How long a sink that is taken out has to take back what it did.
const UNDO_TIME_MAX: Duration = Duration::from_secs(20);
/// How often it is tried to make a sink that could not be made.
const MAKE_EVERY: Duration = Duration::from_secs(30);
/// Rest between two looks at what is wanted, at least; and so many times as long as a look took.
const LOOK_REST: Duration = Duration::from_millis(10);
const LOOK_REST_TIMES: u32 = 4;
/// How often it is looked whether what is over is undone, while nothing changes.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Most entries that rules count again at a start, how many are read at once, and how many bytes of them.
const WARM_MAX: usize = 200_000;
const WARM_AT_ONCE: usize = 1_000;
const WARM_BYTES: usize = 4 << 20;

/// What all sinks that act share.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) desk: Arc<Desk>,
    pub(super) spared: watch::Receiver<Arc<Spared>>,
    pub(super) observer: String,
    pub(super) shelf: Shelf,
    pub(super) tasks: Tasks,
    pub(super) stop: CancellationToken,
}

/// The sinks that act.
#[derive(Debug, Clone)]
pub(super) struct Acting {
    shared: Shared,
    running: Arc<Mutex<Vec<Running>>>,
}

/// One sink at work.
#[derive(Debug)]
struct Running {
    settings: SetSettings,
    wanted: watch::Sender<Arc<Wanted>>,
    board: watch::Receiver<Board>,
    sink: watch::Receiver<Option<Made>>,
    stop: CancellationToken,
}

/// A sink that was made.
#[derive(Clone)]
pub(super) struct Made(Arc<dyn SetSink>);

impl std::fmt::Debug for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Made")
    }
}

/// How a sink that acts stands.
#[derive(Debug, Clone)]
pub(super) struct Stand {
    pub(super) settings: SetSettings,
    pub(super) board: Board,
    pub(super) destination: Option<String>,
}

impl Acting {
    /// Nothing acts yet.
    pub(super) fn new(shared: Shared) -> Self {
        Self {
            shared,
            running: Arc::default(),
        }
    }

    /// Puts the sinks of a configuration to work: what is the same goes on, what is gone takes back what it did.
    pub(super) fn settle(&self, config: &Config, restart_all: bool) {
        let wanted = |settings: &SetSettings| {
            let same = config.sets.iter().find(|set| *set == settings);
            same.is_some_and(|set| set.enabled) && !restart_all
        };
        let gone: Vec<_> = {
            let mut running = self.running();
            let (kept, gone) = std::mem::take(&mut *running)
                .into_iter()
                .partition(|one| wanted(&one.settings));
            *running = kept;
            gone
        };
        let stays = |settings: &SetSettings| config.sets.iter().any(|set| set.enabled && set.name == settings.name);
        for one in gone {
            // What comes back under its name finds what it did, and makes it its own.
            let undoes = !stays(&one.settings);
            self.shared.tasks.spawn("act: end", end(one, undoes));
        }
        for settings in config.sets.iter().filter(|set| set.enabled) {
            if !self.running().iter().any(|one| one.settings.name == settings.name) {
                let one = self.start(settings.clone(), config);
                self.running().push(one);
            }
        }
        let actors = config.sets.iter().filter(|set| set.enabled).map(actor);
        self.shared.desk.set_actors(actors.collect());
        self.aim();
    }

    fn start(&self, settings: SetSettings, config: &Config) -> Running {
        let (wanted, wanted_in) = watch::channel(Arc::default());
        let (board, board_out) = watch::channel(Board::default());
        let (made, sink) = watch::channel(None);
        let stop = self.shared.stop.child_token();
        let keeping = Keeping {
            shared: self.shared.clone(),
            common: self.common(&settings, config),
            settings: settings.clone(),
            wanted: wanted_in,
            board,
            made,
            stop: stop.clone(),
            acting: self.clone(),
        };
        self.shared.tasks.spawn("act", keeping.run());
        Running {
            settings,
            wanted,
            board: board_out,
            sink,
            stop,
        }
    }

    fn common(&self, settings: &SetSettings, config: &Config) -> SetCommon {
        common(
            settings,
            config,
            &self.shared.observer,
            &self.shared.shelf,
            self.shared.desk.look(observes),
        )
    }

    /// Tells each sink what is wanted of it now, and the desk which have a way into the kernel.
    fn aim(&self) {
        let running = self.running();
        self.shared.desk.look(|engine| {
            for one in &*running {
                let wanted = engine
                    .book()
                    .wanted(&one.settings.name, one.settings.verb(), one.settings.scope);
                one.wanted.send_replace(Arc::new(wanted));
            }
        });
        let lanes = running.iter().filter_map(|one| {
            let made = one.sink.borrow().clone()?;
            Some((one.settings.scope, made.0.fast_lane()?))
        });
        self.shared.desk.set_lanes(lanes.collect());
    }

    /// Aims anew whenever what is wanted changes, until the stop.
    pub(super) async fn run(self) {
        let mut changes = self.shared.desk.changes();
        let stop = self.shared.stop.clone();
        loop {
            // Cancel: all are safe.
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(LOOK_EVERY) => {
                    self.look_at_what_is_over();
                    continue;
                }
                () = stop.cancelled() => return,
            }
            let begun = Instant::now();
            self.aim();
            tokio::time::sleep(LOOK_REST.max(begun.elapsed() * LOOK_REST_TIMES)).await;
        }
    }

    /// What is over and was in force at a sink is undone there once the sink has been found as wanted.
    fn look_at_what_is_over(&self) {
        for one in &*self.running() {
            let compared = {
                let board = one.board.borrow();
                board.compared.filter(|_| board.level == Level::Ok && board.failed == 0)
            };
            if let Some(compared) = compared {
                self.shared.desk.equalled(&actor(&one.settings), compared);
            }
        }
    }

    /// How each sink stands, by name.
    pub(super) fn stands(&self) -> Vec<Stand> {
        let running = self.running();
        let stand = |one: &Running| Stand {
            settings: one.settings.clone(),
            board: one.board.borrow().clone(),
            destination: one.sink.borrow().as_ref().and_then(|made| made.0.destination()),
        };
        running.iter().map(stand).collect()
    }

    /// Sinks that were made, by name.
    pub(super) fn made(&self) -> Vec<(SetSettings, Arc<dyn SetSink>)> {
        let running = self.running();
        let made = running
            .iter()
            .filter_map(|one| Some((one.settings.clone(), one.sink.borrow().clone()?.0)));
        made.collect()
    }

    fn running(&self) -> MutexGuard<'_, Vec<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a sink is made with.
pub(super) fn common(
    settings: &SetSettings,
    config: &Config,
    observer: &str,
    shelf: &Shelf,
    observes: bool,
) -> SetCommon {
    let inside = config.zones.iter().filter(|zone| zone.inside);
    SetCommon {
        observes,
        scope: settings.scope,
        inside: inside.flat_map(|zone| zone.networks.iter().copied()).collect(),
        shelf: shelf.clone(),
        ..SetCommon::new(&settings.name, observer, build::resolver())
    }
}

fn actor(settings: &SetSettings) -> Actor {
    Actor {
        name: settings.name.clone(),
        verb: settings.verb(),
        scope: settings.scope,
    }
}

/// Ends a sink; one that is gone for good takes back what it did, as far as that goes within a time.
async fn end(one: Running, undoes: bool) {
    if undoes {
        one.wanted.send_replace(Arc::default());
        let mut board = one.board.clone();
        let empty = board.wait_for(|board| board.wanted == 0 && board.standing == 0 && board.level != Level::Starting);
        if tokio::time::timeout(UNDO_TIME_MAX, empty).await.is_err() {
            tracing::warn!(sink.name = %one.settings.name, "the sink did not take back all it did in time");
        }
    }
    one.stop.cancel();
}

/// The desk, with what an earlier run left: decisions with the rest of their time, who was acted on before, and what rules
/// have counted in the last moments.
pub(super) async fn desk(config: &Config, journal: &Journal) -> Result<Arc<Desk>, StartError> {
    let settings = config.response.clone().unwrap_or_default();
    let rules = build::rules_of(&settings)?;
    let (book, mut unreadable) = Book::restore(journal.states(book::STATE).await?);
    let (history, more) = History::restore(settings.remember, journal.states(history::STATE).await?);
    unreadable.extend(more);
    if !unreadable.is_empty() {
        tracing::error!(
            decisions.lost = unreadable.len(),
            "decisions in the journal cannot be read, and are forgotten"
        );
        let state = unreadable.into_iter().map(|name| (name, None)).collect();
        let forget = Commit {
            state,
            ..Commit::default()
        };
        journal.commit(forget).await?;
    }
    let mut engine = Engine::new(settings, rules, book, history);
    warm(&mut engine, journal).await?;
    Ok(Desk::new(engine))
}

/// Lets rules that count, count what happened a moment ago.
async fn warm(engine: &mut Engine, journal: &Journal) -> Result<(), StartError> {
    let Some(within) = engine.counts_within() else {
        return Ok(());
    };
    let micros = i64::try_from(within.as_micros()).unwrap_or(i64::MAX);
    let since = Timestamp::from_micros(Timestamp::now().micros().saturating_sub(micros));
    let mut next = journal.offset_at(since).await?;
    let mut left = WARM_MAX;
    while left > 0 {
        let entries = journal.read(next, WARM_AT_ONCE, WARM_BYTES).await?;
        let Some(last) = entries.last() else { return Ok(()) };
        next = last.offset + 1;
        left = left.saturating_sub(entries.len());
        let events = entries.iter().filter_map(|entry| codec::decode(&entry.body).ok());
        events.for_each(|event| engine.warm(&event));
    }
    Ok(())
}

/// Who is never acted on: the list, and the work that keeps it, which begins once anything is to be decided.
#[derive(Debug)]
pub(super) struct Spares {
    pub(super) sparing: Sparing,
    work: Mutex<Option<Work>>,
}

impl Spares {
    /// The list as far as the configuration says it; this host has not been looked at.
    pub(super) fn new(config: &Config) -> Self {
        let connection = std::env::var("SSH_CONNECTION").ok();
        let host = Host {
            root: PathBuf::from("/"),
            resolver: build::resolver(),
            started_from: connection.as_deref().and_then(started_from),
        };
        let (sparing, work) = sparing::open(host, &spared_by(config));
        Self {
            sparing,
            work: Mutex::new(Some(work)),
        }
    }

    /// Looks at the host, now and whenever it changes, and tells the desk; once. Before rules decide anything.
    pub(super) async fn begin(&self, desk: &Arc<Desk>, tasks: &Tasks, stop: &CancellationToken) {
        let Some(work) = self.work.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return;
        };
        tasks.spawn_station("sparing", stop.clone(), work.run(stop.clone()));
        self.sparing.ready().await;
        let mut spared = self.sparing.watch();
        let first = spared.borrow_and_update().clone();
        desk.ask(|engine| engine.spare(first, Timestamp::now()));
        let (desk, stopped) = (Arc::clone(desk), stop.clone());
        let telling = async move {
            loop {
                // Cancel: both are safe.
                tokio::select! {
                    changed = spared.changed() => if changed.is_err() { return },
                    () = stopped.cancelled() => return,
                }
                let now = spared.borrow_and_update().clone();
                desk.ask(|engine| engine.spare(now, Timestamp::now()));
            }
        };
        tasks.spawn_station("spared", stop.clone(), telling);
    }
}

/// Whether anything is decided, or left of what was.
pub(super) fn decides(config: &Config, desk: &Desk) -> bool {
    config.response.is_some() || desk.look(|engine| !engine.book().is_empty())
}

/// What the configuration says of who is never acted on.
pub(super) fn spared_by(config: &Config) -> sparing::Settings {
    let streams = build::enabled(config).map(|sink| Destination {
        sink: sink.name.clone(),
        places: sink.factory.places(&sink.table),
    });
    let sets = config.sets.iter().filter(|set| set.enabled).map(|set| Destination {
        sink: set.name.clone(),
        places: set.factory.places(&set.table),
    });
    sparing::Settings {
        allow: config
            .response
            .as_ref()
            .map_or_else(Vec::new, |response| response.allow.clone()),
        sinks: streams.chain(sets).collect(),
    }
}

/// Keeps one sink at work.
struct Keeping {
    shared: Shared,
    common: SetCommon,
    settings: SetSettings,
    wanted: watch::Receiver<Arc<Wanted>>,
    board: watch::Sender<Board>,
    made: watch::Sender<Option<Made>>,
    stop: CancellationToken,
    acting: Acting,
}

impl Keeping {
    async fn run(self) {
        let Some(sink) = self.make().await else { return };
        sink.spare(self.shared.spared.borrow().clone());
        self.made.send_replace(Some(Made(Arc::clone(&sink))));
        self.acting.aim();
        let (reports, mut told) = mpsc::channel::<Report>(REPORTS_MAX);
        let (desk, actor) = (Arc::clone(&self.shared.desk), actor(&self.settings));
        let taking = async move {
            while let Some(report) = told.recv().await {
                desk.report(&actor, report);
            }
        };
        let worker = Worker {
            name: self.settings.name.clone(),
            sink,
            settings: Settings {
                interval: self.settings.interval,
                retry: Pace {
                    first: self.settings.retry.first,
                    max: self.settings.retry.max,
                },
                observes: self.common.observes,
                grace: GRACE,
            },
            clock: Clock::system(),
            wanted: self.wanted,
            spared: self.shared.spared,
            reports,
            board: self.board,
            stop: self.stop,
        };
        tokio::join!(worker.run(), taking);
    }

    /// Makes the sink, however often that takes; `None`: told to stop.
    async fn make(&self) -> Option<Arc<dyn SetSink>> {
        let mut attempts = 0;
        loop {
            let (factory, common) = (Arc::clone(&self.settings.factory), self.common.clone());
            let built = tokio::task::spawn_blocking(move || factory.build(&common)).await;
            let why = match built {
                Ok(Ok(sink)) => return Some(sink),
                Ok(Err(fault)) => (Some(fault.kind), fault.message),
                Err(broken) => (Some(FaultKind::Broken), broken.to_string()),
            };
            attempts += 1;
            self.say(why, attempts);
            // Cancel: both are safe.
            tokio::select! {
                () = self.stop.cancelled() => return None,
                () = tokio::time::sleep(MAKE_EVERY) => {}
            }
        }
    }

    fn say(&self, (kind, why): (Option<FaultKind>, String), attempts: u32) {
        if attempts == 1 {
            tracing::error!(sink.name = %self.settings.name, "sink {} cannot be made: {why}", self.settings.name);
        }
        let wanted = self.wanted.borrow().len();
        self.board.send_modify(|board| {
            if board.level != Level::Failing {
                board.since = Timestamp::now();
            }
            board.level = Level::Failing;
            (board.kind, board.fault, board.attempts) = (kind, Some(why), attempts);
            board.wanted = u64::try_from(wanted).unwrap_or(u64::MAX);
        });
    }
}
