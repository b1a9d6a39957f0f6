//! The worker of one sink: its loop.
//!
//! In: entries through its [`Reader`]. Out: batches to the sink (`sending`), dead letters and cursors to the journal
//! (`keeping`), its account to the status board and health events to the recorder (`telling`). What becomes of events
//! that a sink owes although it called them delivered is in `arrears`, and what becomes of a worker that broke down in
//! `restarting`.
//!
//! One task owns all of it; batches under way are futures within the task. The decisions (which batch, what an answer
//! means, when to try again, whom to tell, what the cursor is) are in the pure files beside this one.
//!
//! Bounds: twice `limits.events` parcels in wait, `limits.in_flight` batches under way and no more than they may hold
//! from the oldest open event to the newest sent, one answer in ten minutes.

mod arrears;
mod aside;
mod keeping;
mod letters;
mod remembering;
mod replay;
mod restarting;
mod sending;
mod telling;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};
use trapline_schemas::{Action, Timestamp};
use trapline_sink::{Arrears, Fault, FaultKind, Parcel, StreamSink};

use self::aside::{Aside, Lane};
use self::letters::Letters;
use self::sending::Answered;
use super::breakdown::{Breakdowns, caught};
use super::canary::Sight;
use super::ledger::Ledger;
use super::memory::Memory;
use super::pipeline::{Parts, SinkPlan};
use super::queue::Queue;
use super::reader::{Chunk, Reader};
use super::refusals::Refusals;
use super::status::{SinkState, SinkStatus, Totals};
use super::trouble::Trouble;
use crate::journal::{Cause, DeadLetter, JournalError, Loss, Offset};

/// How often a worker that cannot read looks whether retention has overtaken it.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Makes a reader of the sink's entries at an offset.
pub(super) type ReaderAt = Arc<dyn Fn(Offset) -> Reader + Send + Sync>;

/// The worker of one sink.
pub(super) struct Worker {
    plan: SinkPlan,
    parts: Parts,
    status: watch::Sender<SinkStatus>,
    stop: CancellationToken,
    reader: Reader,
    reader_at: ReaderAt,
    queue: Queue,
    ledger: Ledger,
    /// What goes beside what comes.
    aside: Aside,
    under_way: FuturesUnordered<BoxFuture<'static, Answered>>,
    trouble: Trouble,
    refusals: Refusals,
    breakdowns: Breakdowns,
    round: u32,
    /// Nothing is sent before this.
    not_before: Option<Instant>,
    /// The part of that wait that the destination asked for.
    asked_until: Option<Instant>,
    /// Changes at each reload that leaves delivery as it is; seen once a try has begun since.
    reloads: watch::Receiver<()>,
    saved: Offset,
    /// When the sink was last asked what is to be noted of it.
    noted: Option<Instant>,
    /// When the cursor, which has moved, dead letters or losses are to be kept.
    save_at: Option<Instant>,
    /// Dead letters that the journal does not have yet; the saved cursor is before each of them.
    letters: Vec<DeadLetter>,
    /// What the journal is still to be told that this sink will never have.
    losses: Vec<Loss>,
    /// What the sink remembers.
    memory: Memory,
    looked: Instant,
    last_fault: Option<Fault>,
    /// Since when tries fail.
    failing_since: Option<Timestamp>,
    /// What the sink knows of events that it called delivered, if it looks after them.
    arrears: Option<watch::Receiver<Arrears>>,
    /// The last of those events, in order, and where they came from.
    sent: VecDeque<(Lane, Offset)>,
    /// The trouble is about them.
    in_arrears: bool,
    /// How many of them were given up, as far as told.
    given_up: u64,
    /// Once told to stop: the offset to reach, if it can be.
    last: Option<Offset>,
}

impl Worker {
    pub(super) fn new(
        plan: SinkPlan,
        parts: Parts,
        (next, reader_at): (Offset, ReaderAt),
        stop: CancellationToken,
        reloads: watch::Receiver<()>,
    ) -> Self {
        let status = parts.board.enter(&plan.common.name);
        let (failing_since, refusals) = telling::unfinished(&status.borrow());
        let limits = plan.batch.apply(trapline_sink::BatchLimits {
            events: 1,
            bytes: 0,
            linger: Duration::ZERO,
            in_flight: 1,
        });
        let queue = Queue::new(limits, plan.common.format);
        Self {
            aside: Aside::new(parts.board.calls(), Letters::new(queue.like())),
            queue,
            plan,
            parts,
            status,
            stop,
            reader: reader_at(next),
            reader_at,
            ledger: Ledger::new(next),
            under_way: FuturesUnordered::new(),
            trouble: Trouble::default(),
            refusals,
            breakdowns: Breakdowns::default(),
            round: 0,
            not_before: None,
            asked_until: None,
            reloads,
            saved: next,
            noted: None,
            save_at: None,
            letters: Vec::new(),
            losses: Vec::new(),
            memory: Memory::default(),
            looked: Instant::now(),
            last_fault: None,
            failing_since,
            arrears: None,
            sent: VecDeque::new(),
            in_arrears: false,
            given_up: 0,
            last: None,
        }
    }

    /// Works until told to stop, then within `grace` finishes what it can. A worker that broke down begins anew.
    pub(super) async fn run(mut self, grace: Duration) {
        self.tell_status(|status, _| status.state = SinkState::Starting);
        while caught(self.live(grace)).await.is_err() && !self.stop.is_cancelled() {
            self.begin_anew();
        }
        self.tell_status(|status, _| {
            status.state = SinkState::Stopped;
            status.retry_at = None;
        });
    }

    async fn live(&mut self, grace: Duration) {
        if !self.rest().await {
            return;
        }
        if let Some(sink) = self.open().await {
            let result = self.work(&sink, grace).await;
            if let Err(error) = result {
                error!(sink.name = %self.name(), %error, "sink {} stops, the journal is gone", self.name());
            }
            // What is under way now counts as not delivered.
            self.under_way = FuturesUnordered::new();
            self.learn(sink.as_ref());
            self.save_last().await;
            self.close(sink, grace).await;
            self.settle_arrears().await;
        }
    }

    /// Closes the sink. What it owes is looked for afterwards in any case.
    async fn close(&mut self, sink: Arc<dyn StreamSink>, grace: Duration) {
        let closing = caught(sink.close());
        if !matches!(tokio::time::timeout(grace, closing).await, Ok(Ok(()))) {
            warn!(sink.name = %self.name(), "sink {} did not close, or not in time", self.name());
        }
    }

    fn name(&self) -> &str {
        &self.plan.common.name
    }

    /// Makes the sink, trying for ever: a folder or certificate that is missing now may come.
    async fn open(&mut self) -> Option<Arc<dyn StreamSink>> {
        loop {
            self.reloads.mark_unchanged();
            match self.build().await {
                Ok(sink) => {
                    self.parts.board.at_work(self.name(), &sink);
                    self.opened(sink.as_ref());
                    return Some(sink);
                }
                Err(fault) => self.failed(Some(fault), None, self.round).await,
            }
            self.wait_out().await?;
        }
    }

    /// Waits until the next try is due. `None`: told to stop, or the journal is closed.
    async fn wait_out(&mut self) -> Option<()> {
        while let Some(until) = self.not_before.filter(|until| Instant::now() < *until) {
            self.show();
            let wake = self.trouble.due().map_or(until, |due| due.min(until));
            tokio::select! {
                // Cancel: all are safe.
                () = self.stop.cancelled() => return None,
                Ok(()) = self.reloads.changed() => self.hurry(),
                // The first event in wait says how far behind the sink is.
                chunk = self.reader.read(1), if self.queue.is_empty() => self.take(chunk.ok()?),
                () = tokio::time::sleep_until(wake.min(self.looked + LOOK_EVERY)) => {}
            }
            self.tell().await;
            self.look().await.ok()?;
            // A sink that cannot be made may never be: what it misses meanwhile is told now.
            if self.has_to_keep() {
                self.keep().await.ok()?;
            }
        }
        Some(())
    }

    /// A person may have mended what was wrong: the next try is due now, unless the destination asked for the wait.
    fn hurry(&mut self) {
        self.not_before = self.asked_until.filter(|until| Instant::now() < *until);
    }

    /// Makes the sink and gives it back what it remembers.
    async fn build(&mut self) -> Result<Arc<dyn StreamSink>, Fault> {
        let sink = build(&self.plan).await?;
        self.remind(sink.as_ref()).await?;
        Ok(sink)
    }

    fn opened(&mut self, sink: &dyn StreamSink) {
        self.heed_limits(sink);
        self.arrears = sink.arrears();
        self.tell_status(|status, _| status.unconfirmed = !sink.confirms());
        self.note(sink);
        // The first answer may tell more.
        self.noted = None;
    }

    /// Takes over what the sink can take at a time, which it may know only by its first answers.
    fn heed_limits(&mut self, sink: &dyn StreamSink) {
        let limits = self.plan.batch.apply(sink.limits());
        self.queue.set_limits(limits);
        self.aside.set_limits(limits);
    }

    async fn work(&mut self, sink: &Arc<dyn StreamSink>, grace: Duration) -> Result<(), JournalError> {
        let mut deadline = None;
        self.look_aside().await?;
        loop {
            self.send(sink);
            self.show();
            if deadline.is_some_and(|at| Instant::now() >= at) || self.is_done() {
                return Ok(());
            }
            let room = self.queue.room();
            let wake = self.wake_at(deadline);
            tokio::select! {
                // A person's word first, it is rare; then answers: they make room. Cancel: a stream's `next`, a reader's
                // `read`, sleeps and tokens are all safe to drop.
                biased;
                Ok(()) = self.aside.calls.changed() => self.look_aside().await?,
                Some(answered) = self.under_way.next() => {
                    self.note(sink.as_ref());
                    self.heed_limits(sink.as_ref());
                    self.learn(sink.as_ref());
                    self.answered(answered).await?;
                }
                arrears = arrears::changed(&mut self.arrears) => self.look_after(arrears).await,
                () = self.stop.cancelled(), if self.last.is_none() => {
                    self.last = Some(*self.parts.store.head().borrow());
                    deadline = Some(Instant::now() + grace);
                }
                Ok(()) = self.reloads.changed(), if self.not_before.is_some() => self.hurry(),
                chunk = aside::read(&mut self.aside.replay) => self.take_replay(chunk?),
                chunk = self.reader.read(room), if room > 0 => self.take(chunk?),
                () = sleep_until(wake), if wake.is_some() => self.woken().await?,
            }
        }
    }

    /// Told to stop, and everything that was in the journal then is delivered, or the sink does not take it now.
    fn is_done(&self) -> bool {
        let takes_nothing = self.trouble.is_on() || self.not_before.is_some();
        self.last
            .is_some_and(|last| self.under_way.is_empty() && (self.ledger.cursor() >= last || takes_nothing))
    }

    fn wake_at(&self, deadline: Option<Instant>) -> Option<Instant> {
        let waits = !self.queue.is_empty() || !self.aside.is_empty();
        let retry = self.not_before.filter(|_| waits);
        // While a sink is in trouble one batch at a time goes, so beside another nothing is due.
        let paused = self.not_before.is_some() || (self.trouble.is_on() && !self.under_way.is_empty());
        let linger = self.queue.lingers_until(self.under_way.len()).filter(|_| !paused);
        let look = (self.queue.room() == 0).then(|| self.looked + LOOK_EVERY);
        let all = [
            retry,
            linger,
            look,
            self.save_at,
            self.trouble.due(),
            self.refusals.due(),
            self.aside.wake_at(self.under_way.len(), paused),
            deadline,
        ];
        all.into_iter().flatten().min()
    }

    async fn woken(&mut self) -> Result<(), JournalError> {
        self.tell().await;
        let change = self.refusals.look(Instant::now());
        self.tell_refusals(change, "").await;
        self.look().await?;
        self.wake_aside().await?;
        if self.save_at.is_none_or(|at| Instant::now() < at) {
            return Ok(());
        }
        if self.has_to_keep() {
            self.keep().await
        } else {
            self.enqueue_cursor().await
        }
    }

    /// Looks whether retention has overtaken a reader that has no room to read: a sink that takes nothing for days
    /// must not be told of its losses when it is mended.
    async fn look(&mut self) -> Result<(), JournalError> {
        if Instant::now() < self.looked + LOOK_EVERY {
            return Ok(());
        }
        self.looked = Instant::now();
        if let Some(chunk) = self.reader.pass_over().await? {
            self.take(chunk);
            self.show();
        }
        Ok(())
    }

    fn take(&mut self, chunk: Chunk) {
        let (now, node) = (Instant::now(), self.reader.node());
        for item in &chunk.items {
            if let Some(parcel) = item.for_node(node) {
                self.ledger.take(item.offset, item.appended_at);
                self.queue.push(Arc::clone(parcel), now);
                self.see_canary(parcel);
            }
        }
        let lost = chunk.losses();
        self.tell_losses(&lost);
        self.note_losses(lost);
        self.ledger.read_to(chunk.next);
        self.note_cursor();
    }

    fn see_canary(&self, parcel: &Parcel) {
        if parcel.event.action == Action::Canary {
            self.parts
                .board
                .canaries()
                .note(parcel.event.id, self.name(), Sight::Queued);
        }
    }

    fn tell_losses(&self, lost: &[((Offset, Offset), Cause)]) {
        let mut counts = Totals::default();
        for ((first, last), cause) in lost {
            let count = match cause {
                Cause::Gone => &mut counts.missing,
                Cause::Trimmed => &mut counts.lost,
                Cause::Unreadable => &mut counts.unreadable,
            };
            *count += last - first + 1;
        }
        if counts == Totals::default() {
            return;
        }
        warn!(
            sink.name = %self.name(), missing = counts.missing, lost = counts.lost, unreadable = counts.unreadable,
            "sink {} passes over entries that the journal no longer has or cannot be read", self.name(),
        );
        self.tell_status(|status, _| {
            status.totals.missing += counts.missing;
            status.totals.lost += counts.lost;
            status.totals.unreadable += counts.unreadable;
        });
    }
}

/// Makes the sink off the runtime's threads: it may open files.
async fn build(plan: &SinkPlan) -> Result<Arc<dyn StreamSink>, Fault> {
    let (factory, common) = (Arc::clone(&plan.factory), plan.common.clone());
    let built = tokio::task::spawn_blocking(move || factory.build(&common)).await;
    built.unwrap_or_else(|error| {
        Err(Fault {
            kind: FaultKind::Broken,
            message: format!("the sink could not be made: {error}"),
        })
    })
}

/// Sleeps until `wake`; for ever without one.
async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
