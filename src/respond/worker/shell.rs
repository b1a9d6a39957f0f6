//! The loop of a worker: what the pure core says is done, and what comes of it is told.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{debug, warn};
use trapline_sink::set::{Applied, Change, Spared};
use trapline_sink::{Fault, FaultKind};

use super::core::{Core, Moment, Step};
use super::{Level, Worker};

/// A call that lasts longer is broken off: sinks have deadlines of their own, far shorter.
const CALL_MAX: Duration = Duration::from_secs(600);

impl Worker {
    /// Holds the sink to what is wanted until told to stop; what stands then goes on standing.
    pub async fn run(mut self) {
        let mut core = Core::new(self.settings, self.sink.limits(), self.moment());
        let mut told = self.sink.told();
        let spared = self.spared.borrow_and_update().clone();
        self.spare(&mut core, spared);
        let wanted = self.wanted.borrow_and_update().clone();
        core.want(wanted, self.moment());
        while !self.stop.is_cancelled() {
            self.take_in(&mut core, &mut told);
            let step = core.next(self.moment());
            core.judge(self.moment());
            self.publish(&mut core).await;
            self.step(&mut core, &mut told, step).await;
        }
        self.publish(&mut core).await;
        self.close(core).await;
    }

    fn moment(&self) -> Moment {
        Moment {
            wall: self.clock.now(),
            at: Instant::now(),
            jitter: rand::random(),
        }
    }

    /// Takes in what has changed since.
    fn take_in(&mut self, core: &mut Core, told: &mut Option<watch::Receiver<u64>>) {
        core.limits = self.sink.limits();
        if self.spared.has_changed().unwrap_or(false) {
            let spared = self.spared.borrow_and_update().clone();
            self.spare(core, spared);
        }
        if self.wanted.has_changed().unwrap_or(false) {
            let wanted = self.wanted.borrow_and_update().clone();
            core.want(wanted, self.moment());
        }
        if let Some(told) = told.as_mut().filter(|told| told.has_changed().unwrap_or(false)) {
            told.borrow_and_update();
            core.told(self.moment());
        }
    }

    fn spare(&self, core: &mut Core, spared: Arc<Spared>) {
        self.sink.spare(spared.clone());
        core.spare(spared);
    }

    async fn step(&mut self, core: &mut Core, told: &mut Option<watch::Receiver<u64>>, step: Step) {
        let sink = self.sink.clone();
        match step {
            Step::Rest(at) => self.rest(told, at).await,
            Step::List => {
                let found = self.call(sink.stands(), Duration::ZERO).await;
                if let Some(found) = found {
                    core.listed(found.and_then(|found| found), self.moment());
                }
            }
            Step::Apply(batch) => self.apply(core, &batch).await,
            Step::Settle => {
                let found = self.call(sink.settled(), self.settings.grace / 2).await;
                if let Some(found) = found {
                    core.settled(found.and_then(|found| found), self.moment());
                }
            }
        }
    }

    async fn apply(&mut self, core: &mut Core, batch: &[Change]) {
        let sink = self.sink.clone();
        debug!(sink.name = %self.name, changes = batch.len(), "changes go to sink {}", self.name);
        let found = self.call(sink.apply(batch), self.settings.grace / 2).await;
        let applied = found.map(|found| found.unwrap_or_else(|fault| Applied::retry(batch.len(), fault)));
        if let Some(applied) = applied {
            core.applied(batch, applied, self.moment());
        }
    }

    /// A call to the sink. `None`: told to stop, and it did not end within `grace`. Errors: it broke down, or has no end.
    /// While it lasts the sink hears who is to be spared.
    async fn call<T>(&mut self, call: impl Future<Output = T>, grace: Duration) -> Option<Result<T, Fault>> {
        let call = timeout(CALL_MAX, AssertUnwindSafe(call).catch_unwind());
        let mut call = std::pin::pin!(call);
        let mut spared = self.spared.clone();
        let stopped = async {
            self.stop.cancelled().await;
            sleep(grace).await;
        };
        let mut stopped = std::pin::pin!(stopped);
        loop {
            tokio::select! {
                biased;
                found = &mut call => return Some(ended(found)),
                () = changed(&mut spared) => self.sink.spare(spared.borrow_and_update().clone()),
                () = &mut stopped => return None,
            }
        }
    }

    /// Waits until `at`, or until something changes.
    async fn rest(&self, told: &Option<watch::Receiver<u64>>, at: Instant) {
        // What changed is taken in at the top of the loop, so it must be seen as unseen there.
        let (mut wanted, mut spared) = (self.wanted.clone(), self.spared.clone());
        let mut told = told.clone();
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = changed(&mut wanted) => {}
            () = changed(&mut spared) => {}
            () = heard(&mut told) => {}
            () = sleep_until(at) => {}
        }
    }

    /// Tells what there is to tell.
    async fn publish(&self, core: &mut Core) {
        core.board.notes = self.sink.notes();
        let board = core.board.clone();
        self.board.send_if_modified(|before| {
            let is_new = *before != board;
            *before = board;
            is_new
        });
        for report in core.account.take() {
            tokio::select! {
                biased;
                _ = self.reports.send(report) => {}
                () = self.late() => {
                    warn!(sink.name = %self.name, "reports of sink {} find no room at the stop", self.name);
                    return;
                }
            }
        }
    }

    /// Nobody may be waited for any longer.
    async fn late(&self) {
        self.stop.cancelled().await;
        sleep(self.settings.grace / 4).await;
    }

    async fn close(&self, mut core: Core) {
        let closing = timeout(
            self.settings.grace / 2,
            AssertUnwindSafe(self.sink.close()).catch_unwind(),
        );
        if !matches!(closing.await, Ok(Ok(()))) {
            warn!(sink.name = %self.name, "sink {} did not close, or not in time", self.name);
        }
        core.board.level = Level::Stopped;
        core.board.since = self.clock.now();
        self.board.send_replace(core.board);
    }
}

/// What became of a call.
fn ended<T, E, P>(found: Result<Result<T, P>, E>) -> Result<T, Fault> {
    let fault = |kind, message: String| Fault { kind, message };
    match found {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(_)) => Err(fault(FaultKind::Broken, "the sink's own code broke down".to_owned())),
        Err(_) => {
            let bound = CALL_MAX.as_secs();
            Err(fault(FaultKind::Unreachable, format!("no answer within {bound} s")))
        }
    }
}

/// Returns when the value changes; never if nobody can change it any more.
async fn changed<T>(value: &mut watch::Receiver<T>) {
    if value.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn heard(told: &mut Option<watch::Receiver<u64>>) {
    match told {
        Some(told) => changed(told).await,
        None => std::future::pending().await,
    }
}
