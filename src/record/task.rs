//! The recorder's task: takes hits in batches, makes events, hands their bodies to the journal.
//!
//! Shutdown: after `stop` it takes what is still in its channels, tells what was counted, and returns. Whoever reports
//! must have ended before.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use trapline_schemas::{Event, Timestamp};

use super::maker::Maker;
use super::sheet::Sheet;
use super::tally::Tally;
use super::{HITS_MAX, HostEvent, Order, Recorder, Settings};
use crate::fresh::Fresh;
use crate::journal::{Commit, HealthLevel, Journal, JournalError};
use crate::respond::book::StateRow;
use crate::respond::desk::Desk;
use crate::roles::{Hit, Missed};

/// Hits taken at once.
const BATCH: usize = 256;

/// Bodies handed over at once are at most about this large, bytes: a batch of full captures is split.
const BATCH_BYTES: usize = 1 << 20;

/// Counts of what the kernel dropped that may wait; what finds no room is counted on by the decoy.
const MISSED_MAX: usize = 64;

/// Host events that may wait.
const HOST_EVENTS_MAX: usize = 256;

/// How often counts are looked at, while there are any.
const COUNTED_EVERY: Duration = Duration::from_secs(1);

/// Where bodies go: the journal, and a channel in tests.
pub trait Append: Send + Sync {
    /// Hands bodies over with the state that goes with them, waiting for room but not for the disk.
    fn append(&self, commit: Commit) -> impl Future<Output = Result<(), JournalError>> + Send;
    /// Whether the disk fails, so that what is handed over crowds out hits.
    fn is_failing(&self) -> bool {
        false
    }
}

impl Append for Journal {
    async fn append(&self, commit: Commit) -> Result<(), JournalError> {
        self.enqueue(commit).await
    }
    fn is_failing(&self) -> bool {
        self.health().borrow().level == HealthLevel::Failing
    }
}

/// The recorder's task, to be run by whoever owns the journal.
#[derive(Debug)]
pub struct Task {
    hits: mpsc::Receiver<Hit>,
    missed: mpsc::Receiver<Missed>,
    host: mpsc::Receiver<HostEvent>,
    orders: mpsc::Receiver<Order>,
    maker: Maker,
    fresh: Arc<Fresh>,
    tally: Arc<Tally>,
    /// Where it is decided what is done about sources, if anything is.
    desk: Option<Arc<Desk>>,
    /// State of decisions that goes with what is handed over next.
    decided: Vec<StateRow>,
}

/// A recorder: the handle to report to, and the task to run.
pub fn start(settings: Settings) -> (Recorder, Task) {
    let (hits, hits_in) = mpsc::channel(HITS_MAX);
    let (missed, missed_in) = mpsc::channel(MISSED_MAX);
    let (host, host_in) = mpsc::channel(HOST_EVENTS_MAX);
    let (orders, orders_in) = mpsc::channel(1);
    let fresh = Arc::new(Fresh::default());
    let tally = Arc::new(Tally::default());
    let task = Task {
        hits: hits_in,
        missed: missed_in,
        host: host_in,
        orders: orders_in,
        maker: Maker::new(settings),
        fresh: Arc::clone(&fresh),
        tally: Arc::clone(&tally),
        desk: None,
        decided: Vec::new(),
    };
    (
        Recorder {
            hits,
            missed,
            host,
            orders,
            fresh,
            tally,
        },
        task,
    )
}

impl Task {
    /// Has it decided at this desk what is done because of each hit, in one commit with the hit.
    pub fn deciding(self, desk: Arc<Desk>) -> Self {
        Self {
            desk: Some(desk),
            ..self
        }
    }

    /// Records until `stop`, then what is left.
    pub async fn run(mut self, journal: impl Append, stop: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH);
        let left = self.maker.left_over();
        self.hand_over_all(left, &journal).await;
        let mut tick = tokio::time::interval(COUNTED_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // Cancel: recv_many, recv and tick are safe.
            tokio::select! {
                count = self.hits.recv_many(&mut batch, BATCH) => match count {
                    0 => break,
                    _ => {
                        self.gather(&mut batch).await;
                        self.record(&mut batch, &journal).await;
                    }
                },
                Some(told) = self.host.recv() => self.record_host(told, &journal).await,
                Some(missed) = self.missed.recv() => self.miss(missed),
                Some(order) = self.orders.recv() => self.obey(order, &journal).await,
                () = stirred(self.desk.as_deref()) => self.decide(&journal).await,
                _ = tick.tick(), if self.maker.is_counting() => self.tell_counted(&journal).await,
                () = stop.cancelled() => break,
            }
        }
        self.drain(&mut batch, &journal).await;
    }

    async fn obey(&mut self, order: Order, journal: &impl Append) {
        match order {
            Order::Settle(rules) => self.maker.settle(*rules),
            // Who asked may have given up.
            Order::Pulse(taken) => drop(taken.send(())),
            Order::Decided(handed_over) => {
                self.decide(journal).await;
                // Who asked may have given up.
                let _ = handed_over.send(());
            }
        }
    }

    /// Lets the sessions that are ready report as well: one hand-over for several hits wakes the journal once. Alone,
    /// a hit waits for nobody.
    async fn gather(&mut self, batch: &mut Vec<Hit>) {
        tokio::task::yield_now().await;
        while batch.len() < BATCH
            && let Ok(hit) = self.hits.try_recv()
        {
            batch.push(hit);
        }
    }

    async fn record(&mut self, batch: &mut Vec<Hit>, journal: &impl Append) {
        let mut sheet = self.sheet(batch.len());
        let mut folded = 0;
        self.tally.hits(batch);
        for hit in batch.drain(..) {
            let Some(event) = self.maker.event(hit) else {
                folded += 1;
                continue;
            };
            if let Some(desk) = &self.desk {
                desk.see(&event);
            }
            sheet.write(event);
            self.write_decided(&mut sheet);
            if sheet.bytes() >= BATCH_BYTES {
                let full = std::mem::replace(&mut sheet, self.sheet(0));
                self.hand_over(full, journal).await;
            }
        }
        if folded > 0 {
            self.tally.folded(folded);
        }
        self.hand_over(sheet, journal).await;
    }

    /// Decisions that came of the last hit, of a person or of time.
    fn write_decided(&mut self, sheet: &mut Sheet) {
        let Some(taken) = self.desk.as_ref().and_then(|desk| desk.take()) else {
            return;
        };
        if let Some(full) = taken.full {
            tracing::error!("no more is decided: {full}");
        }
        for mut event in taken.events {
            self.maker.stamp(&mut event);
            sheet.write(event);
        }
        self.decided.extend(taken.state);
    }

    /// What is over ends; what others asked the desk is kept and told.
    async fn decide(&mut self, journal: &impl Append) {
        if let Some(desk) = &self.desk {
            desk.pass();
        }
        let mut sheet = self.sheet(1);
        self.write_decided(&mut sheet);
        self.hand_over(sheet, journal).await;
    }

    fn miss(&mut self, missed: Missed) {
        self.tally.missed(&missed);
        self.maker.miss(missed);
    }

    async fn record_host(&mut self, told: HostEvent, journal: &impl Append) {
        let event = self.maker.host(told);
        self.hand_over_all([event], journal).await;
    }

    async fn tell_counted(&mut self, journal: &impl Append) {
        let events = self.maker.counted_before(Timestamp::now());
        self.hand_over_all(events, journal).await;
        if !journal.is_failing() {
            self.keep_counts(journal).await;
        }
    }

    /// What is counted and not told yet, for the next run to tell if this one is killed.
    async fn keep_counts(&mut self, journal: &impl Append) {
        let state = self.maker.count_rows();
        if state.is_empty() {
            return;
        }
        let commit = Commit {
            state,
            ..Commit::default()
        };
        if let Err(error) = journal.append(commit).await {
            tracing::debug!(%error, "counts are not kept for the next run");
        }
    }

    async fn drain(mut self, batch: &mut Vec<Hit>, journal: &impl Append) {
        self.hits.close();
        self.missed.close();
        self.host.close();
        while self.hits.recv_many(batch, BATCH).await > 0 {
            self.record(batch, journal).await;
        }
        while let Some(told) = self.host.recv().await {
            self.record_host(told, journal).await;
        }
        while let Some(missed) = self.missed.recv().await {
            self.miss(missed);
        }
        let events = self.maker.counted();
        self.hand_over_all(events, journal).await;
        self.decide(journal).await;
    }

    fn sheet(&self, events: usize) -> Sheet {
        Sheet::new(events, self.fresh.is_wanted())
    }

    async fn hand_over_all(&mut self, events: impl IntoIterator<Item = Event>, journal: &impl Append) {
        let mut sheet = self.sheet(1);
        events.into_iter().for_each(|event| sheet.write(event));
        self.hand_over(sheet, journal).await;
    }

    /// Hands bodies over with the state that changed as they were made. The journal keeps what it cannot write yet; it
    /// only refuses when it is closed.
    async fn hand_over(&mut self, sheet: Sheet, journal: &impl Append) {
        let (bodies, events) = sheet.finish();
        let count = bodies.len();
        let mut state = std::mem::take(&mut self.decided);
        if count == 0 && state.is_empty() {
            return;
        }
        if !events.is_empty() {
            self.fresh.put(bodies.iter().cloned().zip(events));
        }
        if count > 0 {
            state.extend(self.maker.state());
        }
        let commit = Commit {
            append: bodies,
            state,
            ..Commit::default()
        };
        if let Err(error) = journal.append(commit).await {
            tracing::error!(events.lost = count, error = %error, "journal refused events");
        }
    }
}

/// Waits until there is something to decide; for ever where nothing is. Cancel: safe.
async fn stirred(desk: Option<&Desk>) {
    match desk {
        Some(desk) => desk.stirred().await,
        None => std::future::pending().await,
    }
}
