//! The worker of one sink.
//!
//! In: entries through its [`Reader`]. Out: batches to the sink, dead letters and cursors to the journal, its account
//! to the status board, health events to the recorder.
//!
//! One task owns all of it; batches under way are futures within the task. The decisions (which batch, what an answer
//! means, when to try again, whom to tell, what the cursor is) are in the pure files beside this one.
//!
//! Bounds: twice `limits.events` parcels in wait, `limits.in_flight` batches under way, one answer in
//! [`ANSWER_MAX`].

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use trapline_schemas::{Timestamp, codec};
use trapline_sink::{Arrears, Delivery, Fault, FaultKind, Parcel, StreamSink};

use super::divide::{Batch, divide};
use super::feed::Content;
use super::health::{kind_name, sink_failed, sink_recovered, sink_refuses, sink_takes_again};
use super::ledger::Ledger;
use super::pipeline::{Parts, SinkPlan, sink_consumer};
use super::queue::Queue;
use super::reader::{Chunk, Reader};
use super::refusals::{Change, Refusals};
use super::status::{FaultSeen, RefusalsSeen, SinkState, SinkStatus, Totals};
use super::store::{commit_unless_failing, is_failing};
use super::trouble::Trouble;
use crate::journal::{Commit, DeadLetter, JournalError, Loss, Offset};

/// Longest wait for an answer, should a sink forget its own deadline.
const ANSWER_MAX: Duration = Duration::from_secs(600);
/// How long a cursor that moved may be unsaved, where several batches are under way or nothing was sent.
const SAVE_AFTER: Duration = Duration::from_millis(200);
/// How often a sink at work is asked what is to be noted of it.
const NOTED_EVERY: Duration = Duration::from_secs(60);
/// Most events that a sink may come back to.
const SENT_MAX: usize = 10_000;
/// How often a worker that cannot read looks whether retention has overtaken it.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Wait after the journal could not keep a dead letter or cursor.
const KEEP_AGAIN: Duration = Duration::from_secs(1);
/// Most dead letters in memory while the journal's disk fails; then the sink waits for it.
const LETTERS_MAX: usize = 256;

/// A batch that came back.
struct Answered {
    batch: Batch,
    delivery: Delivery,
    /// How many tries had failed when it went out.
    round: u32,
}

/// The worker of one sink.
pub(super) struct Worker {
    plan: SinkPlan,
    parts: Parts,
    status: watch::Sender<SinkStatus>,
    stop: CancellationToken,
    reader: Reader,
    queue: Queue,
    ledger: Ledger,
    under_way: FuturesUnordered<BoxFuture<'static, Answered>>,
    trouble: Trouble,
    refusals: Refusals,
    round: u32,
    /// Nothing is sent before this.
    not_before: Option<Instant>,
    saved: Offset,
    /// When the sink was last asked what is to be noted of it.
    noted: Option<Instant>,
    /// When the cursor, which has moved, dead letters or losses are to be kept.
    save_at: Option<Instant>,
    /// Dead letters that the journal does not have yet; the saved cursor is before each of them.
    letters: Vec<DeadLetter>,
    /// What the journal is still to be told that this sink will never have.
    losses: Vec<Loss>,
    looked: Instant,
    in_order: bool,
    last_fault: Option<Fault>,
    /// Since when tries fail.
    failing_since: Option<Timestamp>,
    /// What the sink knows of events that it called delivered, if it looks after them.
    arrears: Option<watch::Receiver<Arrears>>,
    /// The last of those events, in order.
    sent: VecDeque<Offset>,
    /// The trouble is about them.
    in_arrears: bool,
    /// How many of them were given up, as far as told.
    given_up: u64,
    /// Once told to stop: the offset to reach, if it can be.
    last: Option<Offset>,
}

impl Worker {
    pub(super) fn new(plan: SinkPlan, parts: Parts, reader: Reader, stop: CancellationToken) -> Self {
        let next = reader.next_offset();
        let status = parts.board.enter(&plan.common.name);
        let (failing_since, refusals) = unfinished(&status.borrow());
        let limits = plan.batch.apply(trapline_sink::BatchLimits {
            events: 1,
            bytes: 0,
            linger: Duration::ZERO,
            in_flight: 1,
        });
        Self {
            queue: Queue::new(limits, plan.common.format),
            plan,
            parts,
            status,
            stop,
            reader,
            ledger: Ledger::new(next),
            under_way: FuturesUnordered::new(),
            trouble: Trouble::default(),
            refusals,
            round: 0,
            not_before: None,
            saved: next,
            noted: None,
            save_at: None,
            letters: Vec::new(),
            losses: Vec::new(),
            looked: Instant::now(),
            in_order: true,
            last_fault: None,
            failing_since,
            arrears: None,
            sent: VecDeque::new(),
            in_arrears: false,
            given_up: 0,
            last: None,
        }
    }

    /// Works until told to stop, then within `grace` finishes what it can.
    pub(super) async fn run(mut self, grace: Duration) {
        self.tell_status(|status, _| status.state = SinkState::Starting);
        if let Some(sink) = self.open().await {
            let result = self.work(&sink, grace).await;
            if let Err(error) = result {
                error!(sink.name = %self.name(), %error, "sink {} stops, the journal is gone", self.name());
            }
            // What is under way now counts as not delivered.
            self.under_way = FuturesUnordered::new();
            self.save_last().await;
            if tokio::time::timeout(grace, sink.close()).await.is_err() {
                warn!(sink.name = %self.name(), "sink {} did not close in time", self.name());
            }
            self.settle_arrears().await;
        }
        self.tell_status(|status, _| {
            status.state = SinkState::Stopped;
            status.retry_at = None;
        });
    }

    fn name(&self) -> &str {
        &self.plan.common.name
    }

    /// Makes the sink, trying for ever: a folder or certificate that is missing now may come.
    async fn open(&mut self) -> Option<Arc<dyn StreamSink>> {
        loop {
            match build(&self.plan).await {
                Ok(sink) => {
                    self.opened(sink.as_ref());
                    return Some(sink);
                }
                Err(fault) => self.failed(Some(fault), None, self.round).await,
            }
            let until = self.not_before.unwrap_or_else(Instant::now);
            while Instant::now() < until {
                self.show();
                let wake = self.trouble.due().map_or(until, |due| due.min(until));
                tokio::select! {
                    // Cancel: all are safe.
                    () = self.stop.cancelled() => return None,
                    // The first event in wait says how far behind the sink is.
                    chunk = self.reader.read(1), if self.queue.is_empty() => self.take(chunk.ok()?),
                    () = tokio::time::sleep_until(wake.min(self.looked + LOOK_EVERY)) => {}
                }
                self.tell().await;
                self.look().await.ok()?;
            }
        }
    }

    fn opened(&mut self, sink: &dyn StreamSink) {
        let limits = self.plan.batch.apply(sink.limits());
        self.queue.set_limits(limits);
        self.in_order = limits.in_flight <= 1;
        self.arrears = sink.arrears();
        self.tell_status(|status, _| status.unconfirmed = !sink.confirms());
        self.note(sink);
        // The first answer may tell more.
        self.noted = None;
    }

    /// Shows what is to be noted of the sink: days run, and a destination may turn out to promise less.
    fn note(&mut self, sink: &dyn StreamSink) {
        let now = Instant::now();
        if self.noted.is_some_and(|noted| now < noted + NOTED_EVERY) {
            return;
        }
        self.noted = Some(now);
        let notes = sink.notes();
        self.tell_status(|status, _| status.notes = notes);
    }

    async fn work(&mut self, sink: &Arc<dyn StreamSink>, grace: Duration) -> Result<(), JournalError> {
        let mut deadline = None;
        loop {
            self.send(sink);
            self.show();
            if deadline.is_some_and(|at| Instant::now() >= at) || self.is_done() {
                return Ok(());
            }
            let room = self.queue.room();
            let wake = self.wake_at(deadline);
            tokio::select! {
                // Answers first: they make room. Cancel: a stream's `next`, a reader's `read`, sleeps and tokens are
                // all safe to drop.
                biased;
                Some(answered) = self.under_way.next() => {
                    self.note(sink.as_ref());
                    self.answered(answered).await?;
                }
                arrears = changed(&mut self.arrears) => self.look_after(arrears).await,
                () = self.stop.cancelled(), if self.last.is_none() => {
                    self.last = Some(*self.parts.store.head().borrow());
                    deadline = Some(Instant::now() + grace);
                }
                chunk = self.reader.read(room), if room > 0 => self.take(chunk?),
                () = sleep_until(wake), if wake.is_some() => self.woken().await?,
            }
        }
    }

    /// Told to stop, and everything that was in the journal then is delivered, or the sink does not take it now.
    fn is_done(&self) -> bool {
        self.last
            .is_some_and(|last| self.under_way.is_empty() && (self.ledger.cursor() >= last || self.trouble.is_on()))
    }

    fn wake_at(&self, deadline: Option<Instant>) -> Option<Instant> {
        let waits = !self.queue.is_empty();
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
            deadline,
        ];
        all.into_iter().flatten().min()
    }

    async fn woken(&mut self) -> Result<(), JournalError> {
        self.tell().await;
        let change = self.refusals.look(Instant::now());
        self.tell_refusals(change, "").await;
        self.look().await?;
        if self.save_at.is_none_or(|at| Instant::now() < at) {
            return Ok(());
        }
        if self.letters.is_empty() {
            self.enqueue_cursor().await
        } else {
            self.keep().await
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
        let now = Instant::now();
        let mut counts = Totals {
            missing: chunk.missing.iter().map(|(first, last)| last - first + 1).sum(),
            ..Totals::default()
        };
        self.note_losses(&chunk.missing);
        for item in &chunk.items {
            match &item.content {
                Content::Parcel(parcel) => {
                    self.ledger.take(item.offset, item.appended_at);
                    self.queue.push(Arc::clone(parcel), now);
                }
                Content::Lost => {
                    counts.lost += 1;
                    self.note_losses(&[(item.offset, item.offset)]);
                }
                Content::Unreadable => counts.unreadable += 1,
            }
        }
        self.ledger.read_to(chunk.next);
        self.note_cursor();
        if counts != Totals::default() {
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

    /// Sends what should go now. In trouble one batch at a time asks whether it is over.
    fn send(&mut self, sink: &Arc<dyn StreamSink>) {
        let now = Instant::now();
        if self.not_before.is_some_and(|until| now < until) {
            return;
        }
        self.not_before = None;
        while !self.trouble.is_on() || self.under_way.is_empty() {
            let Some(batch) = self.queue.cut(self.under_way.len(), now) else {
                return;
            };
            self.tell_status(|status, _| status.totals.batches += 1);
            let answer = deliver(Arc::clone(sink), batch, self.round);
            self.under_way.push(answer.boxed());
        }
    }

    async fn answered(&mut self, answered: Answered) -> Result<(), JournalError> {
        let Answered { batch, delivery, round } = answered;
        let sent = batch.len();
        let divided = divide(batch, &delivery);
        let moved = divided.has_moved(sent);
        let again: usize = divided.again.iter().map(Vec::len).sum();
        self.count(divided.delivered.len(), divided.dead.len(), again);
        divided.delivered.iter().for_each(|offset| self.ledger.finish(*offset));
        self.remember(&divided.delivered);
        self.weigh(divided.delivered.len(), &divided.dead).await;
        self.bury(&divided.dead);
        self.queue.push_again(divided.again);
        if delivery.fault.is_some() || delivery.retry_after.is_some() || !moved {
            self.failed(delivery.fault, delivery.retry_after, round).await;
        } else {
            self.worked().await;
        }
        self.note_cursor();
        if self.in_order { self.keep().await } else { Ok(()) }
    }

    /// Looks whether the sink refuses much of what it gets.
    async fn weigh(&mut self, delivered: usize, dead: &[(Arc<Parcel>, String)]) {
        let change = self.refusals.count(delivered as u64, dead.len() as u64, Instant::now());
        let reason = dead.last().map_or("", |(_, reason)| reason.as_str());
        self.tell_refusals(change, reason).await;
        let Some(refused) = self.refusals.refused() else { return };
        self.tell_status(|status, now| {
            let since = status.refuses.as_ref().map_or(now, |seen| seen.since);
            let last = status.refuses.take().map(|seen| seen.reason);
            status.refuses = Some(RefusalsSeen {
                events: refused,
                reason: last.filter(|_| dead.is_empty()).unwrap_or_else(|| reason.to_owned()),
                since,
            });
        });
    }

    /// Tells once that it refuses, and once that it is over.
    async fn tell_refusals(&mut self, change: Option<Change>, reason: &str) {
        let (name, at) = (self.name().to_owned(), self.parts.clock.now());
        let event = match change {
            None => return,
            Some(Change::Refuses) => {
                error!(sink.name = %name, %reason, "sink {name} refuses events, somebody should look");
                sink_refuses(&name, reason, at)
            }
            Some(Change::Over { dead }) => {
                let begun = self.status.borrow().refuses.as_ref().map_or(at, |seen| seen.since);
                let lasted = at.since(begun);
                info!(sink.name = %name, events = dead, lasted_secs = lasted.as_secs(), "sink {name} takes events again");
                self.tell_status(|status, _| status.refuses = None);
                sink_takes_again(&name, lasted, dead, at)
            }
        };
        self.parts.recorder.record(event).await;
    }

    /// Takes what the sink refused for good; it is kept before the cursor passes it, in one commit.
    fn bury(&mut self, dead: &[(Arc<Parcel>, String)]) {
        if !dead.is_empty() {
            self.save_at.get_or_insert_with(Instant::now);
        }
        for (parcel, reason) in dead {
            warn!(
                sink.name = %self.name(), journal.offset = parcel.offset, reason = %reason,
                "sink {} refused an event, it is kept as a dead letter", self.name(),
            );
            self.ledger.finish(parcel.offset);
            let letter = self.letter(parcel, reason);
            self.letters.push(letter);
        }
    }

    fn letter(&self, parcel: &Parcel, reason: &str) -> DeadLetter {
        DeadLetter {
            sink: self.name().to_owned(),
            offset: parcel.offset,
            reason: reason.to_owned(),
            body: codec::encode(&parcel.event).into(),
        }
    }

    /// Remembers what the journal is to be told with the next cursor.
    fn note_losses(&mut self, missing: &[(Offset, Offset)]) {
        if !missing.is_empty() {
            self.save_at.get_or_insert_with(|| Instant::now() + SAVE_AFTER);
        }
        for (first, last) in missing.iter().copied() {
            match self.losses.last_mut().filter(|loss| loss.last + 1 == first) {
                Some(before) => before.last = last,
                None => self.losses.push(Loss {
                    consumer: sink_consumer(self.name()),
                    first,
                    last,
                }),
            }
        }
    }

    fn note_cursor(&mut self) {
        if self.cursor() != self.saved {
            self.save_at.get_or_insert_with(|| Instant::now() + SAVE_AFTER);
        }
    }

    /// Where a restart goes on: with the first event that the sink owes, if it owes any.
    fn cursor(&self) -> Offset {
        let owed = self.arrears.as_ref().map_or(0, |arrears| arrears.borrow().owed);
        let at = self
            .sent
            .len()
            .saturating_sub(usize::try_from(owed).unwrap_or(usize::MAX));
        let done = self.ledger.cursor();
        self.sent.get(at).map_or(done, |first| done.min(*first))
    }

    /// Remembers what was delivered, for a sink that may come back to it.
    fn remember(&mut self, delivered: &[Offset]) {
        if self.arrears.is_some() {
            self.sent.extend(delivered);
            let beyond = self.sent.len().saturating_sub(SENT_MAX);
            self.sent.drain(..beyond);
        }
    }

    fn commit(&self) -> Commit {
        Commit {
            cursors: vec![(sink_consumer(self.name()), self.cursor())],
            losses: self.losses.clone(),
            dead_letters: self.letters.clone(),
            ..Commit::default()
        }
    }

    /// Saves cursor and dead letters, and returns when they are kept: no batch starts before, so a kill repeats one at
    /// most. While the journal's disk fails they stay in memory, up to [`LETTERS_MAX`], and delivery goes on.
    async fn keep(&mut self) -> Result<(), JournalError> {
        while self.save_at.is_some() {
            let cursor = self.cursor();
            match commit_unless_failing(self.parts.store.as_ref(), self.commit()).await {
                Ok(true) => {
                    (self.saved, self.save_at) = (cursor, None);
                    self.letters.clear();
                    self.losses.clear();
                    return Ok(());
                }
                Ok(false) => {}
                Err(JournalError::Closed) => return Err(JournalError::Closed),
                Err(error) => {
                    warn!(sink.name = %self.name(), %error, "the journal does not keep the cursor of sink {} yet", self.name());
                }
            }
            self.save_at = Some(Instant::now() + KEEP_AGAIN);
            if self.letters.len() < LETTERS_MAX {
                return Ok(());
            }
            tokio::time::sleep(KEEP_AGAIN).await;
        }
        Ok(())
    }

    /// Saves the cursor with the next group, without waiting for it. A disk that fails is left alone: cursors would
    /// crowd out the hits that memory holds for it.
    async fn enqueue_cursor(&mut self) -> Result<(), JournalError> {
        if is_failing(self.parts.store.as_ref()) {
            self.save_at = Some(Instant::now() + KEEP_AGAIN);
            return Ok(());
        }
        let commit = self.commit();
        self.saved = self.cursor();
        self.save_at = None;
        match self.parts.store.enqueue(commit).await {
            Err(JournalError::Closed) => Err(JournalError::Closed),
            Ok(()) => {
                self.losses.clear();
                Ok(())
            }
            // The next save makes up for one that was shed.
            Err(_) => Ok(()),
        }
    }

    async fn save_last(&mut self) {
        if let Err(error) = self.parts.store.commit(self.commit()).await {
            warn!(sink.name = %self.name(), %error, "the last cursor of sink {} is not saved", self.name());
        }
    }

    async fn failed(&mut self, fault: Option<Fault>, asked: Option<Duration>, round: u32) {
        let now = Instant::now();
        let kind = fault.as_ref().map(|fault| fault.kind);
        // Batches that were under way together fail together: that is one try.
        let counts = round == self.round;
        let attempts = self.trouble.failed(kind, counts, now);
        self.round = self.round.wrapping_add(u32::from(counts));
        let wait = self.plan.pace.wait(kind, attempts, asked, rand::random());
        self.not_before = self.not_before.max(Some(now + wait));
        let fault = fault.unwrap_or_else(|| nameless(asked));
        if attempts == 1 && counts {
            warn!(
                sink.name = %self.name(), error.type = kind_name(kind), error.message = %fault.message,
                retry.delay_ms = wait.as_millis() as u64, "sink {} did not take a batch, retrying", self.name(),
            );
        }
        let message = fault.message.clone();
        self.last_fault = Some(fault);
        let since = *self.failing_since.get_or_insert_with(|| self.parts.clock.now());
        self.tell_status(|status, _| {
            status.last_fault = Some(FaultSeen {
                kind,
                message,
                since,
                attempts,
                over: false,
            });
        });
        self.tell().await;
    }

    async fn worked(&mut self) {
        self.not_before = None;
        if self.failing_since.take().is_some() {
            self.tell_status(|status, _| status.last_fault.iter_mut().for_each(|fault| fault.over = true));
        }
        let Some(recovery) = self.trouble.worked(Instant::now()) else {
            return;
        };
        self.round = self.round.wrapping_add(1);
        info!(
            sink.name = %self.name(), attempts = recovery.attempts, lasted_secs = recovery.lasted.as_secs(),
            "sink {} works again", self.name(),
        );
        if recovery.told {
            let at = self.parts.clock.now();
            let event = sink_recovered(self.name(), recovery.lasted, recovery.attempts, at);
            self.parts.recorder.record(event).await;
        }
    }

    /// What became of events that were called delivered.
    async fn look_after(&mut self, arrears: Arrears) {
        self.write_off(arrears.given_up).await;
        self.note_cursor();
        match arrears.fault {
            Some(fault) => {
                self.in_arrears = true;
                let message = format!("{}; {} events sent before may be unread", fault.message, arrears.owed);
                self.failed(Some(Fault { message, ..fault }), None, self.round).await;
            }
            None if std::mem::take(&mut self.in_arrears) => self.worked().await,
            None => {}
        }
    }

    /// The sink is closed: what it still owes is read and sent again by the next worker.
    async fn settle_arrears(&mut self) {
        let last = self.arrears.as_ref().map(|arrears| arrears.borrow().clone());
        let Some(Arrears { owed, given_up, .. }) = last else {
            return;
        };
        self.write_off(given_up).await;
        if owed > 0 {
            let name = self.name();
            warn!(sink.name = %name, events = owed, "sink {name}: {owed} events sent before may be unread, they are sent again at the next start");
            self.save_last().await;
        }
    }

    /// Tells that events were given up, `total` since the sink was opened.
    async fn write_off(&mut self, total: u64) {
        let count = total.saturating_sub(self.given_up);
        if count == 0 {
            return;
        }
        self.given_up = total;
        let message = format!("{count} events were sent, perhaps never read, and are not sent again");
        error!(sink.name = %self.name(), events = count, "sink {}: {message}", self.name());
        self.tell_status(|status, _| status.totals.given_up += count);
        let event = sink_failed(
            self.name(),
            Some(FaultKind::Unreachable),
            &message,
            self.parts.clock.now(),
        );
        self.parts.recorder.record(event).await;
    }

    /// Tells those who must know by now, each once.
    async fn tell(&mut self) {
        let tell = self.trouble.tell(Instant::now());
        let Some(fault) = self.last_fault.as_ref().filter(|_| tell.event || tell.alarm) else {
            return;
        };
        if tell.alarm {
            error!(
                sink.name = %self.name(), error.type = kind_name(Some(fault.kind)), error.message = %fault.message,
                "sink {} does not take events, somebody should look", self.name(),
            );
        }
        if tell.event {
            let at = self.parts.clock.now();
            let event = sink_failed(self.name(), Some(fault.kind), &fault.message, at);
            self.parts.recorder.record(event).await;
        }
    }

    fn count(&self, delivered: usize, rejected: usize, again: usize) {
        self.tell_status(|status, _| {
            status.totals.delivered += delivered as u64;
            status.totals.rejected += rejected as u64;
            status.totals.retried += again as u64;
        });
    }

    /// Puts the present state on the board.
    fn show(&self) {
        let state = match (self.trouble.is_on(), self.trouble.is_alarmed()) {
            (false, _) if self.status.borrow().totals.delivered == 0 => SinkState::Starting,
            (false, _) => SinkState::Working,
            (true, false) => SinkState::Retrying,
            (true, true) => SinkState::Failing,
        };
        let (cursor, oldest) = (self.ledger.cursor(), self.ledger.oldest());
        let (taken, read_to) = (self.ledger.unfinished(), self.reader.next_offset());
        let wait = self
            .not_before
            .map(|until| until.saturating_duration_since(Instant::now()));
        self.tell_status(|status, now| {
            status.state = state;
            status.cursor = cursor;
            (status.taken, status.read_to) = (taken, read_to);
            status.oldest_unsent = oldest;
            status.retry_at = wait.map(|wait| super::clock::after(now, wait));
        });
    }

    fn tell_status(&self, change: impl FnOnce(&mut SinkStatus, Timestamp)) {
        let now = self.parts.clock.now();
        self.status.send_modify(|status| change(status, now));
    }
}

/// What an earlier worker of this sink has left: since when it fails, and that it refuses.
fn unfinished(status: &SinkStatus) -> (Option<Timestamp>, Refusals) {
    let fault = status.last_fault.as_ref().filter(|fault| !fault.over);
    let refused = status.refuses.as_ref().map(|seen| seen.events);
    (
        fault.map(|fault| fault.since),
        Refusals::resumed(refused, Instant::now()),
    )
}

/// Makes the sink off the runtime's threads: it may open files.
async fn build(plan: &SinkPlan) -> Result<Arc<dyn StreamSink>, Fault> {
    let (factory, common) = (Arc::clone(&plan.factory), plan.common.clone());
    let built = tokio::task::spawn_blocking(move || factory.build(&common)).await;
    built.unwrap_or_else(|error| {
        Err(Fault {
            kind: FaultKind::Local,
            message: format!("the sink could not be made: {error}"),
        })
    })
}

/// A sink that gives no reason.
fn nameless(asked: Option<Duration>) -> Fault {
    match asked {
        Some(asked) => Fault {
            kind: FaultKind::Busy,
            message: format!("asked for a pause of {} s", asked.as_secs()),
        },
        None => Fault {
            kind: FaultKind::Server,
            message: "took nothing and gave no reason".to_owned(),
        },
    }
}

/// Sends one batch. A sink that panics on it has met an event it cannot bear: it is looked for by splitting.
async fn deliver(sink: Arc<dyn StreamSink>, batch: Batch, round: u32) -> Answered {
    let count = batch.len();
    let answer = AssertUnwindSafe(sink.deliver(&batch)).catch_unwind();
    let delivery = match tokio::time::timeout(ANSWER_MAX, answer).await {
        Ok(Ok(delivery)) => delivery,
        Ok(Err(_)) => Delivery::suspect(count, "the sink broke down over it"),
        Err(_) => Delivery::retry(
            count,
            Fault {
                kind: FaultKind::Unreachable,
                message: format!("no answer in {} s", ANSWER_MAX.as_secs()),
            },
        ),
    };
    Answered { batch, delivery, round }
}

/// Waits for news of events that were called delivered; for ever if the sink has none. Cancel: safe.
async fn changed(arrears: &mut Option<watch::Receiver<Arrears>>) -> Arrears {
    if let Some(arrears) = arrears
        && arrears.changed().await.is_ok()
    {
        return arrears.borrow_and_update().clone();
    }
    std::future::pending().await
}

/// Sleeps until `wake`; for ever without one.
async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
