//! Signals, and the way down.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use trapline_schemas::Action;

use crate::app::core::{Core, Reloaded};
use crate::control;
use crate::delivery::Pipeline;
use crate::journal::Commit;
use crate::record::HostEvent;

/// The whole way down takes at most this long.
pub const STOP_TIME_MAX: Duration = Duration::from_secs(5);
/// Decoys and sessions have ended by then; twice the grace that sessions have, and a bit.
const DECOYS_TIME_MAX: Duration = Duration::from_millis(2_300);
/// What was recorded is in the journal by then, counted from the end of the decoys.
const RECORDER_TIME_MAX: Duration = Duration::from_millis(700);
/// Workers have ended by then, counted from the end of the recorder.
const DELIVERY_TIME_MAX: Duration = Duration::from_millis(1_400);
/// The index has taken the last entries by then, counted from the end of delivery.
const INDEX_TIME_MAX: Duration = Duration::from_millis(300);

/// The tree of tokens: cancelled one by one, in this order.
#[derive(Debug)]
pub(super) struct Stops {
    /// Control socket, live feed and chores.
    pub(super) serving: CancellationToken,
    /// Listeners, decoys, sessions.
    pub(super) accepting: CancellationToken,
    /// The recorder.
    pub(super) recording: CancellationToken,
    /// The sinks that act.
    pub(super) acting: CancellationToken,
}

impl Default for Stops {
    fn default() -> Self {
        let root = CancellationToken::new();
        Self {
            serving: root.child_token(),
            accepting: root.child_token(),
            recording: root.child_token(),
            acting: root.child_token(),
        }
    }
}

/// The tasks that the way down waits for.
#[derive(Debug)]
pub(super) struct Stations {
    pub(super) decoys: JoinHandle<()>,
    pub(super) listeners: JoinHandle<()>,
    pub(super) recorder: JoinHandle<()>,
    pub(super) control: JoinHandle<()>,
    /// The live feed, if there is one.
    pub(super) web: Option<JoinHandle<()>>,
    pub(super) chores: JoinHandle<()>,
    pub(super) keeper: JoinHandle<()>,
    pub(super) index: JoinHandle<()>,
    pub(super) manager: JoinHandle<()>,
    pub(super) canary: JoinHandle<()>,
}

/// What an instance wakes up for.
#[derive(Debug)]
pub(super) enum Wake {
    /// SIGTERM or SIGINT.
    Stop,
    /// SIGHUP, or somebody who wants an answer.
    Reload(Option<oneshot::Sender<Reloaded>>),
}

/// The signals an instance listens to.
#[derive(Debug)]
pub(super) struct Signals {
    term: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The next signal. Cancel: safe; a signal that came stays.
    pub(super) async fn next(&mut self) -> Wake {
        tokio::select! {
            _ = self.term.recv() => Wake::Stop,
            _ = self.interrupt.recv() => Wake::Stop,
            _ = self.hangup.recv() => Wake::Reload(None),
        }
    }

    /// The next signal to stop; a hangup stays for later. Cancel: safe.
    pub(super) async fn stop(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Stop accepting, end sessions, flush the journal, let workers finish, release.
pub(super) async fn down(core: Arc<Core>, pipeline: Option<Pipeline>, stops: Stops, stations: Stations) {
    let end = Instant::now() + STOP_TIME_MAX;
    stops.serving.cancel();
    stops.accepting.cancel();
    // What stands goes on standing, where the destination ends it by itself.
    stops.acting.cancel();
    let web = async {
        if let Some(web) = stations.web {
            let _ = web.await;
        }
    };
    let decoys = async {
        let _ = tokio::join!(
            web,
            stations.listeners,
            stations.decoys,
            stations.control,
            stations.chores,
            stations.keeper,
            stations.index,
            stations.manager,
            stations.canary,
        );
    };
    within("decoys", end, DECOYS_TIME_MAX, decoys).await;
    within(
        "recorder",
        end,
        RECORDER_TIME_MAX,
        flush(&core, &stops, stations.recorder),
    )
    .await;
    if let Some(pipeline) = pipeline {
        within("delivery", end, DELIVERY_TIME_MAX, pipeline.stop()).await;
    }
    within("index", end, INDEX_TIME_MAX, core.index.catch_up()).await;
    within("journal", end, STOP_TIME_MAX, core.journal.close()).await;
    // Gone or not, nobody listens any more.
    let _ = std::fs::remove_file(control::socket_path(&core.state_dir));
}

async fn flush(core: &Core, stops: &Stops, recorder: JoinHandle<()>) {
    core.recorder
        .host(HostEvent::new(Action::SensorStopped, Vec::new()))
        .await;
    stops.recording.cancel();
    let _ = recorder.await;
    // An empty commit is answered when all before it is durable.
    if let Err(error) = core.journal.commit(Commit::default()).await {
        tracing::error!(error = %error, "the journal could not be flushed");
    }
}

async fn within(part: &str, end: Instant, time_max: Duration, work: impl Future<Output = ()>) {
    let until = end.min(Instant::now() + time_max);
    if timeout_at(until, work).await.is_err() {
        tracing::warn!("{part} did not end in time, going on without");
    }
}
