//! What an instance can be asked, by the control socket and whoever else comes.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use trapline_schemas::Timestamp;
use trapline_sink::config::{Problem, Severity};

use crate::app::acting::{Acting, Spares};
use crate::app::alarms::Alarms;
use crate::app::canary::Fared;
use crate::app::certificates::Certificates;
use crate::app::load::{LoadError, Source};
use crate::app::{Tasks, build, trial};
use crate::config::{Config, ConfigError};
use crate::control::protocol::{Answer, Reason, Refusal, SinkReport};
use crate::decoy::bind::ListenerStatus;
use crate::delivery::Board;
use crate::journal::Journal;
use crate::journal::index::Index;
use crate::record::key::KeyFile;
use crate::record::{Identity, Recorder};
use crate::respond::desk::Desk;
use crate::roles::Attendance;
use crate::web::Web;

/// A running instance.
#[derive(Debug)]
pub struct Core {
    pub(super) source: Source,
    pub(super) state_dir: PathBuf,
    pub(super) journal_path: PathBuf,
    pub(super) started: (Timestamp, Instant),
    pub(super) identity: Arc<Identity>,
    pub(super) journal: Journal,
    pub(super) index: Index,
    pub(super) recorder: Recorder,
    pub(super) alarms: Alarms,
    /// The site key's file, if it is one.
    pub(super) key_file: Option<KeyFile>,
    pub(super) board: Arc<Board>,
    pub(super) listeners: watch::Receiver<Vec<ListenerStatus>>,
    pub(super) certificates: Certificates,
    pub(super) tasks: Tasks,
    /// The live feed, if there is to be one.
    pub(super) web: Option<Arc<Web>>,
    /// What was wrong with the limits of the process at start.
    pub(super) shortage: Option<String>,
    /// How the last canary fared.
    pub(super) fared: Mutex<Option<Fared>>,
    /// Where it is decided what is done about sources.
    pub(super) desk: Arc<Desk>,
    /// Who is never acted on.
    pub(super) spares: Spares,
    /// Ends what serves.
    pub(super) serving: CancellationToken,
    /// The sinks that act, as they are.
    pub(super) acting: Acting,
    /// Held by whoever lets an owner be written to.
    pub(super) releasing: tokio::sync::Mutex<()>,
    /// How full the decoys are.
    pub(super) attendance: Arc<Attendance>,
    pub(super) reloads: mpsc::Sender<oneshot::Sender<Reloaded>>,
    pub(super) config: Mutex<Arc<Config>>,
}

/// What became of a reload: what changed, one line each.
pub(super) type Reloaded = Result<Vec<String>, Refused>;

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// What a caller makes of it.
    pub cause: Refusal,
    /// For a person, one line each.
    pub reasons: Vec<String>,
    /// How many mistakes refuse it: a reason may take several lines, and a warning is none.
    pub mistakes: usize,
    /// The first of them, one line.
    pub first: String,
    /// The same with their places, if it is the configuration.
    pub problems: Vec<Problem>,
}

impl Refused {
    pub(super) fn new(cause: Refusal, reason: impl std::fmt::Display) -> Self {
        Self::each(cause, vec![reason.to_string()])
    }

    /// For reasons each of which is a mistake.
    pub(super) fn each(cause: Refusal, reasons: Vec<String>) -> Self {
        Self {
            cause,
            mistakes: reasons.len(),
            first: reasons.first().cloned().unwrap_or_default(),
            reasons,
            problems: Vec::new(),
        }
    }

    fn wrong(error: &ConfigError) -> Self {
        let first = error.mistakes().next().map(ToString::to_string).unwrap_or_default();
        Self {
            cause: Refusal::Config,
            reasons: error.to_string().lines().map(str::to_owned).collect(),
            mistakes: error.mistakes().count(),
            // Without its hint.
            first: first.lines().next().unwrap_or_default().to_owned(),
            problems: error.problems.clone(),
        }
    }
}

impl From<LoadError> for Refused {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Wrong(wrong) => Self::wrong(&wrong),
            LoadError::Read(error) => Self::new(Refusal::Config, format!("{:#}", anyhow::Error::from(error))),
        }
    }
}

impl From<Refused> for Answer {
    fn from(refused: Refused) -> Self {
        let of = |severity| {
            let problems = refused
                .problems
                .iter()
                .filter(move |problem| problem.severity == severity);
            problems.map(Reason::from).collect()
        };
        let reasons: Vec<_> = of(Severity::Error);
        Self::Refused {
            cause: refused.cause,
            warnings: of(Severity::Warning),
            reasons: match reasons.is_empty() {
                true => refused.reasons.into_iter().map(Reason::from).collect(),
                false => reasons,
            },
        }
    }
}

impl Core {
    /// The journal.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// By which events are found.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Whether the state folder is still this instance's: another one may have taken it after it was removed.
    pub fn holds_state(&self) -> bool {
        self.journal.holds_lock()
    }

    /// Says what a person must hear of though it is over: in the log, in status and as an event.
    pub async fn alarm(&self, part: &'static str, what: String, hint: &'static str) {
        self.alarms.raise(&self.recorder, part, what, hint).await;
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<Config> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_config(&self, config: Config) {
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }

    /// Waits until hits can be recorded no more though nobody stopped it. Cancel: safe.
    pub(super) async fn deaf(&self) {
        tokio::select! {
            () = self.journal.ended() => {}
            () = self.recorder.ended() => {}
        }
    }

    /// Sends one marked test event through a sink.
    ///
    /// Errors: the names of all sinks, if it is none of them.
    pub async fn send_test(&self, name: &str) -> Result<SinkReport, Vec<String>> {
        let config = self.config();
        let Some(sink) = config.sinks.iter().find(|sink| sink.name == name) else {
            return Err(config.sinks.iter().map(|sink| sink.name.clone()).collect());
        };
        Ok(trial::try_send(sink, &self.identity.name, |event| self.identity.stamp(event)).await)
    }

    /// Reaches every enabled sink, all at once.
    pub async fn check_sinks(&self) -> Vec<SinkReport> {
        let config = self.config();
        let reached = build::enabled(&config).map(|sink| trial::reach(sink, &self.identity.name));
        futures_util::future::join_all(reached).await
    }

    /// Reads the configuration again and puts it in force, or changes nothing.
    ///
    /// Cancel: safe; the reload goes on.
    pub async fn reload(&self) -> Result<Vec<String>, Refused> {
        let (answer, answered) = oneshot::channel();
        let stopping = || Refused::new(Refusal::Busy, "trapline is stopping");
        self.reloads.send(answer).await.map_err(|_| stopping())?;
        answered.await.map_err(|_| stopping())?
    }
}
