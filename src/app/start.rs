//! The way up, and the loop that an instance is.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use smol_str::SmolStr;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use trapline_schemas::{Action, Field, Timestamp};
use trapline_sink::published;
use uuid::Uuid;

use crate::app::acting::{self, Acting, Spares};
use crate::app::alarms::Alarms;
use crate::app::build::{self, BuildError, Made};
use crate::app::certificates::Certificates;
use crate::app::core::{Core, Reloaded};
use crate::app::load::{Folders, LoadError, Source};
use crate::app::stop::{Signals, Stations, Stops, Wake};
use crate::app::{
    Tasks, arming, banner, canary, chores, facts, folder, hosts, indexed, keeper, manager, process, surroundings,
    tables,
};
use crate::config::Config;
use crate::control::{self, server};
use crate::decoy::bind::{BindError, Binder, ListenerStatus, Wanted};
use crate::decoy::handed::Shelf;
use crate::decoy::personality::Install;
use crate::decoy::role::Role;
use crate::delivery::{Board, Clock, Parts, Pipeline};
use crate::journal::index::{self, Index};
use crate::journal::{Journal, JournalError, JournalReport, Offset};
use crate::record::key::{KeyError, KeyFile};
use crate::record::{self, Benign, HostEvent, Identity};
use crate::respond::desk::Desk;
use crate::respond::sparing::Sparing;
use crate::roles::Attendance;
use crate::telemetry;
use crate::web::server::{self as feed, Look};
use crate::web::{CONNECTIONS_MAX, Web};

/// How long sessions may go on once decoys stop accepting.
const SESSION_GRACE: Duration = Duration::from_secs(1);
/// How long workers may go on delivering once they are told to stop.
pub(super) const DELIVERY_GRACE: Duration = Duration::from_secs(1);
/// How long a reload that is under way may go on once a signal to stop came.
const RELOAD_GRACE: Duration = Duration::from_secs(1);
/// How long threads that wait for the system are waited for at the very end.
const THREADS_GRACE: Duration = Duration::from_millis(200);
/// Orders to the decoy role that may wait.
const ORDERS_MAX: usize = 64;

/// Why an instance does not run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration: exit code 78.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A personality or the wiring: exit code 78.
    #[error("the configuration cannot be put to work")]
    Build(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The journal; [`JournalError::Held`] is exit code 3.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The journal's disk refuses.
    #[error("the journal `{}` cannot be opened", path.display())]
    Disk {
        /// Its file.
        path: PathBuf,
        /// What the disk or SQLite said.
        source: JournalError,
    },
    /// The site key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A port of a strict decoy.
    #[error("decoy `{decoy}` cannot listen, and is strict")]
    Listener {
        /// The decoy.
        decoy: SmolStr,
        /// Why.
        source: Arc<BindError>,
    },
    /// A bug: what records has broken down, and a decoy that records nothing must not stand.
    #[error("events cannot be recorded any more, see the log")]
    Deaf,
    /// The state folder, the control socket, threads or signals.
    #[error("cannot use `{}`", path.display())]
    Local {
        /// What it was about.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl From<BuildError> for StartError {
    fn from(error: BuildError) -> Self {
        Self::Build(Box::new(error))
    }
}

/// Runs an instance until a signal ends it.
///
/// Blocking; makes its own runtime. In: `is_watched`, whether a person at a terminal sees standard output, and is shown
/// the banner.
pub fn run(source: &Source, is_watched: bool) -> Result<(), StartError> {
    crate::sys::use_few_arenas();
    trapline_nftables::real_time_by(crate::sys::real_time);
    let (loaded, folders) = source.load()?;
    let config = loaded.config;
    // At a terminal the banner says what these lines would.
    let quiet = is_watched && config.log.level == "info";
    telemetry::start(if quiet { "warn" } else { config.log.level });
    for warning in &loaded.warnings {
        tracing::warn!("configuration: {warning}");
    }
    let local = |path: &std::path::Path| {
        let path = path.to_owned();
        move |source| StartError::Local { path, source }
    };
    folder::prepare(&config.state_dir).map_err(local(&config.state_dir))?;
    process::forbid_core_dumps();
    let limit = process::raise_descriptor_limit();
    let (key, key_file) = folder::site_key(&config.observer.site_key)?;
    let identity = Arc::new(identity(&config, key));
    let install = folder::install(&identity.key, &identity.name);
    // Made before anything is opened: a look that cannot be read must not leave a half-started instance.
    let decoys = build::decoys(&config, &folders.personalities, &install, &[])?;
    let web = build::web(&config)?;
    let opened = Journal::open(build::journal(&config, facts::bodies(identity.clone())));
    let (journal, report) = opened.map_err(|error| unopened(&config.journal.path, error))?;
    tell(&report, &config);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("trapline")
        .build()
        .map_err(local(&config.state_dir))?;
    let parts = Ready {
        shortage: shortage(&config, &decoys, limit),
        source: source.clone(),
        config,
        identity,
        key_file,
        install,
        decoys,
        web,
        folders,
        journal,
        opened_at: report.head,
    };
    let ended = runtime.block_on(async {
        let (app, inbox) = App::start(parts).await?;
        app.greet(is_watched).await;
        app.serve(inbox).await
    });
    // All is saved. A thread that hangs in a resolver or on a disk must not keep the process.
    runtime.shutdown_timeout(THREADS_GRACE);
    telemetry::say_held_back(true);
    ended
}

/// Storage errors do not say which file they are about.
fn unopened(path: &Path, error: JournalError) -> StartError {
    match error {
        source @ JournalError::Storage(_) => StartError::Disk {
            path: path.to_owned(),
            source,
        },
        other => other.into(),
    }
}

/// Everything that is made before the runtime.
struct Ready {
    source: Source,
    config: Config,
    identity: Arc<Identity>,
    key_file: Option<KeyFile>,
    install: Install,
    decoys: Vec<Made>,
    /// The files of the live feed, if there is to be one.
    web: Option<Look>,
    folders: Folders,
    journal: Journal,
    /// The journal's head when it was opened.
    opened_at: Offset,
    shortage: Option<String>,
}

/// An instance at work: what only its own loop touches.
pub(super) struct App {
    pub(super) core: Arc<Core>,
    pub(super) install: Install,
    pub(super) decoys: Vec<Made>,
    pub(super) benign: Arc<Benign>,
    pub(super) wishes: mpsc::Sender<Vec<Wanted>>,
    pub(super) pipeline: Option<Pipeline>,
    pub(super) tables: tables::InUse,
    pub(super) stops: Stops,
    pub(super) stations: Stations,
}

/// What wakes an instance up.
struct Inbox {
    signals: Signals,
    reloads: mpsc::Receiver<oneshot::Sender<Reloaded>>,
}

impl Inbox {
    /// Cancel: safe.
    async fn next(&mut self) -> Wake {
        // Cancel: both are safe.
        tokio::select! {
            wake = self.signals.next() => wake,
            Some(answer) = self.reloads.recv() => Wake::Reload(Some(answer)),
        }
    }
}

impl App {
    async fn start(mut ready: Ready) -> Result<(Self, Inbox), StartError> {
        let state_dir = ready.config.state_dir.clone();
        let local = |source| StartError::Local {
            path: state_dir.clone(),
            source,
        };
        let signals = Signals::new().map_err(local)?;
        let stops = Stops::default();
        let folder = &ready.folders.benign;
        let benign = Arc::new(build::benign(&ready.config, folder, surroundings::resolvers()));
        // Recording comes first, then delivery, then the first hit: a new sink's "now" is before the start itself.
        let (mut core, recorded) = CoreParts::begin(&mut ready, &benign, &stops).await?;
        let (pipeline, tables) = core.deliver(&ready, &stops).await?;
        let spares = Spares::new(&ready.config);
        if acting::decides(&ready.config, &core.desk) {
            spares.begin(&core.desk, &core.tasks, &stops.serving).await;
        }
        let shelf = published::Shelf::default();
        let acting = act(&core, &ready.config, &spares.sparing, &shelf, &stops);
        let (decoys_task, listeners_task, wishes, listeners) = core.open(&ready.decoys, &stops).await;
        refuse_missing(&ready.config, &listeners.borrow())?;
        let (reload, reloads) = mpsc::channel(1);
        let control = server::bind(&control::socket_path(&state_dir)).map_err(local)?;
        let web = web(&ready.config, ready.web.take(), &stops)
            .map(|web| Arc::new(web.with_shelf(shelf).with_admins(spares.sparing.admins())));
        let core = Arc::new(core.into_core(
            ready.config,
            (acting, spares, stops.serving.clone()),
            listeners,
            reload,
            web,
        ));
        core.certificates.set(&ready.decoys);
        let stations = Stations {
            decoys: decoys_task,
            listeners: listeners_task,
            recorder: recorded,
            control: serve_control(&core, &stops, control),
            web: serve_web(&core, &stops),
            chores: spawn_chores(&core, &stops),
            keeper: spawn_keeper(&core, &stops),
            index: spawn_index(&core, &stops),
            manager: spawn_manager(&core, &stops),
            canary: spawn_canary(&core, &stops),
        };
        let arming = arming::run(core.clone(), stops.acting.clone());
        core.tasks.spawn_station("arming", stops.acting.clone(), arming);
        let app = Self {
            core,
            install: ready.install,
            decoys: ready.decoys,
            benign,
            wishes,
            pipeline: Some(pipeline),
            tables,
            stops,
            stations,
        };
        Ok((app, Inbox { signals, reloads }))
    }

    async fn greet(&self, is_watched: bool) {
        tracing::info!(
            process.pid = std::process::id(),
            "trapline {} runs",
            env!("CARGO_PKG_VERSION")
        );
        manager::ready(&self.core.status().await);
        if is_watched {
            banner::print(&self.core.status().await);
            telemetry::set_level(self.core.config().log.level);
        }
    }

    /// Waits for signals and reloads until it is told to stop, then stops.
    ///
    /// Errors: [`StartError::Deaf`], after the stop.
    async fn serve(mut self, mut inbox: Inbox) -> Result<(), StartError> {
        let core = self.core.clone();
        let outcome = loop {
            // Cancel: both are safe.
            let wake = tokio::select! {
                wake = inbox.next() => wake,
                () = core.deaf() => break Err(StartError::Deaf),
            };
            let Wake::Reload(answer) = wake else { break Ok(()) };
            let Some(reloaded) = self.reload_unless_stopped(&mut inbox.signals).await else {
                break Ok(());
            };
            if let Some(answer) = answer {
                // The caller may have gone; the log has it too.
                let _ = answer.send(reloaded);
            }
        };
        self.stop(inbox.signals).await;
        outcome
    }

    /// Reloads; `None` if a signal to stop came meanwhile. A reload waits for the journal, whose disk may fail for
    /// long: it then ends where it stands, which costs no more than a kill would.
    async fn reload_unless_stopped(&mut self, signals: &mut Signals) -> Option<Reloaded> {
        let mut reload = std::pin::pin!(self.reload());
        // Cancel: the reload is not dropped here, signals are safe.
        tokio::select! {
            reloaded = &mut reload => return Some(reloaded),
            () = signals.stop() => {}
        }
        if tokio::time::timeout(RELOAD_GRACE, reload).await.is_err() {
            tracing::warn!("the reload did not end in time, stopping without");
        }
        None
    }

    /// The way down, unless a second signal cuts it short.
    async fn stop(self, mut signals: Signals) {
        let Self {
            core,
            pipeline,
            stops,
            stations,
            ..
        } = self;
        manager::stopping();
        tracing::info!("stopping, a second signal ends at once");
        let down = super::stop::down(core, pipeline, stops, stations);
        // Cancel: the process ends with whichever comes first.
        tokio::select! {
            () = down => tracing::info!("stopped"),
            () = signals.stop() => std::process::exit(0),
        }
    }
}

/// Puts the sinks that act to work.
fn act(core: &CoreParts, config: &Config, sparing: &Sparing, shelf: &published::Shelf, stops: &Stops) -> Acting {
    let acting = Acting::new(acting::Shared {
        desk: Arc::clone(&core.desk),
        spared: sparing.watch(),
        observer: core.identity.name.to_string(),
        shelf: shelf.clone(),
        tasks: core.tasks.clone(),
        stop: stops.acting.clone(),
    });
    acting.settle(config, false);
    core.tasks
        .spawn_station("aim", stops.acting.clone(), acting.clone().run());
    acting
}

/// Refuses the start if a strict decoy cannot have a port. A family that the machine has not is no port.
fn refuse_missing(config: &Config, listeners: &[ListenerStatus]) -> Result<(), StartError> {
    let is_strict = |name: &str| config.decoys.iter().any(|decoy| decoy.name == name && decoy.strict);
    for listener in listeners.iter().filter(|listener| is_strict(&listener.decoy)) {
        if let Some(source) = listener
            .degraded
            .clone()
            .filter(|error| error.kind() != "family-missing")
        {
            let decoy = listener.decoy.clone();
            return Err(StartError::Listener { decoy, source });
        }
    }
    Ok(())
}

/// Core before its listeners are open.
struct CoreParts {
    source: Source,
    identity: Arc<Identity>,
    journal: Journal,
    recorder: record::Recorder,
    alarms: Alarms,
    key_file: Option<KeyFile>,
    board: Arc<Board>,
    tasks: Tasks,
    shortage: Option<String>,
    attendance: Arc<Attendance>,
    desk: Arc<Desk>,
}

type Opened = (
    tokio::task::JoinHandle<()>,
    tokio::task::JoinHandle<()>,
    mpsc::Sender<Vec<Wanted>>,
    tokio::sync::watch::Receiver<Vec<crate::decoy::bind::ListenerStatus>>,
);

impl CoreParts {
    /// Starts what records.
    async fn begin(
        ready: &mut Ready,
        benign: &Arc<Benign>,
        stops: &Stops,
    ) -> Result<(Self, tokio::task::JoinHandle<()>), StartError> {
        let tasks = Tasks::default();
        let mut state = ready.journal.states(record::STATE).await?;
        state.extend(ready.journal.states(record::FOLDS).await?);
        let desk = acting::desk(&ready.config, &ready.journal).await?;
        let (recorder, record) = record::start(record::Settings {
            identity: ready.identity.clone(),
            rules: build::rules(&ready.config, Arc::clone(benign)),
            hosts: hosts::look_around(&ready.config.observer, &tasks, &stops.serving),
            state,
        });
        let record = record.deciding(Arc::clone(&desk));
        let run = record.run(ready.journal.clone(), stops.recording.clone());
        let recorded = tasks.spawn_station("recorder", stops.recording.clone(), run);
        recorder.host(HostEvent::new(Action::SensorStarted, Vec::new())).await;
        let core = Self {
            source: ready.source.clone(),
            identity: ready.identity.clone(),
            key_file: ready.key_file.take(),
            journal: ready.journal.clone(),
            recorder,
            alarms: Alarms::default(),
            board: Board::new(),
            tasks,
            shortage: ready.shortage.take(),
            attendance: Arc::default(),
            desk,
        };
        let made = core.key_file.as_ref().is_some_and(KeyFile::is_new);
        let key = (made, ready.opened_at);
        keeper::compare_key(&core.journal, &core.identity, key, &core.alarms, &core.recorder).await?;
        Ok((core, recorded))
    }

    /// Starts delivery, and the watch over the tables that it looks things up in.
    async fn deliver(&self, ready: &Ready, stops: &Stops) -> Result<(Pipeline, tables::InUse), StartError> {
        let watched = tables::load(&ready.config).map_err(BuildError::from)?;
        let plan = build::plan(&ready.config, &self.identity, &watched)?;
        let tables = tables::InUse::default();
        tables.put(watched);
        let watch = tables::run(tables.clone(), stops.serving.clone());
        self.tasks.spawn_station("tables", stops.serving.clone(), watch);
        let pipeline = Pipeline::start_at(plan, self.delivery(), ready.opened_at, DELIVERY_GRACE).await?;
        Ok((pipeline, tables))
    }

    fn delivery(&self) -> Parts {
        delivery_parts(&self.journal, &self.recorder, &self.board)
    }

    /// Starts the decoy role and binds every listener once.
    async fn open(&mut self, decoys: &[Made], stops: &Stops) -> Opened {
        let (orders, orders_in) = mpsc::channel(ORDERS_MAX);
        let role = Role::new(self.recorder.hits(), self.recorder.missed(), SESSION_GRACE);
        self.attendance = role.attendance();
        let role = role.run(orders_in, stops.accepting.clone());
        let decoys_task = self.tasks.spawn_station("decoys", stops.accepting.clone(), role);
        let (mut binder, listeners) = Binder::new(orders, self.recorder.clone(), Shelf::of_the_manager());
        binder
            .apply(decoys.iter().map(|made| made.wanted.clone()).collect())
            .await;
        let (wishes, wishes_in) = mpsc::channel(1);
        let binder = binder.run(wishes_in, stops.accepting.clone());
        let listeners_task = self.tasks.spawn_station("listeners", stops.accepting.clone(), binder);
        (decoys_task, listeners_task, wishes, listeners)
    }

    fn into_core(
        self,
        config: Config,
        (acting, spares, serving): (Acting, Spares, CancellationToken),
        listeners: tokio::sync::watch::Receiver<Vec<crate::decoy::bind::ListenerStatus>>,
        reloads: mpsc::Sender<oneshot::Sender<Reloaded>>,
        web: Option<Arc<Web>>,
    ) -> Core {
        Core {
            index: Index::new(
                index::beside(&config.journal.path),
                self.journal.clone(),
                indexed::extract(),
            ),
            source: self.source,
            state_dir: config.state_dir.clone(),
            journal_path: config.journal.path.clone(),
            started: (Timestamp::now(), Instant::now()),
            identity: self.identity,
            journal: self.journal,
            recorder: self.recorder,
            alarms: self.alarms,
            key_file: self.key_file,
            board: self.board,
            listeners,
            certificates: Certificates::default(),
            tasks: self.tasks,
            web,
            shortage: self.shortage,
            attendance: self.attendance,
            fared: Mutex::default(),
            desk: self.desk,
            spares,
            serving,
            acting,
            releasing: tokio::sync::Mutex::default(),
            reloads,
            config: Mutex::new(Arc::new(config)),
        }
    }
}

/// What delivery works with.
pub(super) fn delivery_parts(journal: &Journal, recorder: &record::Recorder, board: &Arc<Board>) -> Parts {
    Parts {
        store: Arc::new(journal.clone()),
        recorder: Arc::new(Health(recorder.clone())),
        clock: Clock::system(),
        board: board.clone(),
        fresh: recorder.fresh(),
    }
}

/// Takes delivery's health events to the recorder, which binds the observer's identity.
struct Health(record::Recorder);

#[async_trait::async_trait]
impl crate::delivery::Recorder for Health {
    async fn record(&self, event: trapline_schemas::Event) {
        let facts: Vec<(Field, _)> = event.facts().to_vec();
        let told = HostEvent {
            id: None,
            action: event.action,
            at: event.at,
            facts,
        };
        self.0.host(told).await;
    }
}

fn serve_control(core: &Arc<Core>, stops: &Stops, listener: server::Bound) -> tokio::task::JoinHandle<()> {
    let serving = server::serve(listener, core.clone(), core.tasks.clone(), stops.serving.clone());
    core.tasks.spawn_station("control", stops.serving.clone(), serving)
}

/// The live feed, if there is to be one.
fn web(config: &Config, look: Option<Look>, stops: &Stops) -> Option<Web> {
    let (settings, look) = (config.web.as_ref()?, look?);
    let web = Web::new(settings, look, &config.state_dir, stops.serving.clone());
    Some(web)
}

fn serve_web(core: &Arc<Core>, stops: &Stops) -> Option<tokio::task::JoinHandle<()>> {
    let web = core.web.clone()?;
    let (tasks, stop) = (core.tasks.clone(), stops.serving.clone());
    // Here, not in its task: whoever sees the instance answer finds the feed open.
    let first = web.bind();
    let serving = feed::serve(web, core.clone(), tasks, stop.clone(), first);
    Some(core.tasks.spawn_station("web", stop, serving))
}

fn spawn_chores(core: &Arc<Core>, stops: &Stops) -> tokio::task::JoinHandle<()> {
    let chores = chores::run(core.clone(), stops.serving.clone());
    core.tasks.spawn_station("chores", stops.serving.clone(), chores)
}

fn spawn_keeper(core: &Arc<Core>, stops: &Stops) -> tokio::task::JoinHandle<()> {
    let keeper = keeper::run(core.clone(), stops.serving.clone());
    core.tasks.spawn_station("keeper", stops.serving.clone(), keeper)
}

fn spawn_index(core: &Arc<Core>, stops: &Stops) -> tokio::task::JoinHandle<()> {
    let (index, stop) = (core.index.clone(), stops.serving.clone());
    let run = async move { index.run(stop).await };
    core.tasks.spawn_station("index", stops.serving.clone(), run)
}

fn spawn_manager(core: &Arc<Core>, stops: &Stops) -> tokio::task::JoinHandle<()> {
    let run = manager::run(core.clone(), stops.serving.clone());
    core.tasks.spawn_station("manager", stops.serving.clone(), run)
}

fn spawn_canary(core: &Arc<Core>, stops: &Stops) -> tokio::task::JoinHandle<()> {
    let run = canary::run(core.clone(), stops.serving.clone());
    core.tasks.spawn_station("canary", stops.serving.clone(), run)
}

/// What this host calls itself: the configured name, else that of the host.
pub fn observer_name(config: &Config) -> SmolStr {
    config.observer.name.as_deref().map_or_else(hostname, SmolStr::from)
}

/// The host's name, clean of what a terminal or a header would take for a command.
pub fn hostname() -> SmolStr {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    trapline_schemas::text::clean(name.as_bytes())
}

/// Writes into an event who this host is, for a command that has no instance to ask.
pub fn stamp(config: &Config, event: &mut trapline_schemas::Event) {
    // The key hides and names; neither is asked of it here.
    identity(config, trapline_schemas::ids::SiteKey::new([0; 32])).stamp(event);
}

pub(super) fn identity(config: &Config, key: trapline_schemas::ids::SiteKey) -> Identity {
    Identity {
        name: observer_name(config),
        hostname: hostname(),
        site: Some(config.observer.site.as_str().into()),
        organization: None,
        boot: Uuid::new_v4(),
        key,
    }
}

/// Says what the journal found at its start.
fn tell(report: &JournalReport, config: &Config) {
    let path = config.journal.path.display();
    tracing::info!(journal.path = %path, journal.head = report.head, "journal {path} is open");
    if let Some(pid) = report.took_over {
        tracing::warn!(
            process.pid = pid,
            "process {pid} had left without closing the journal, it goes on from there"
        );
    }
    if let Some(salvaged) = &report.salvaged {
        tracing::error!(
            journal.kept_as = %salvaged.kept_as.display(),
            journal.entries = salvaged.entries,
            journal.refused = salvaged.refused,
            "the journal file was damaged and salvaged: {}", salvaged.reason
        );
    }
}

/// Descriptors that the live feed may need.
pub fn web_descriptors(config: &Config) -> u64 {
    // The listener, and the connection that waits for a seat.
    config.web.as_ref().map_or(0, |_| 2 + CONNECTIONS_MAX as u64)
}

/// What is wrong with the limit of descriptors.
fn shortage(config: &Config, decoys: &[Made], limit: u64) -> Option<String> {
    let listeners: u64 = decoys.iter().map(|made| made.wanted.endpoints.len() as u64).sum();
    let listeners = listeners + web_descriptors(config);
    let short = process::shortage(limit, config.limits.sessions as u64, listeners)?;
    tracing::warn!(
        files.limit = limit,
        "{short}: raise LimitNOFILE= or ulimit -n, or lower `limits.sessions`; meanwhile the longest idle sessions go first"
    );
    Some(short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_that_the_disk_refuses_is_named() {
        let full = JournalError::Storage("database or disk is full".into());
        let said = format!("{:#}", anyhow::Error::from(unopened(Path::new("/s/journal.db"), full)));
        assert_eq!(
            said,
            "the journal `/s/journal.db` cannot be opened: journal storage failed: database or disk is full"
        );
        let closed = unopened(Path::new("/s"), JournalError::Closed);
        assert!(matches!(closed, StartError::Journal(_)));
    }
}
