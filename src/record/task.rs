//! The recorder's task: takes hits in batches, makes events, hands their bodies to the journal.
//!
//! Shutdown: after `stop` it takes what is still in its channels, tells what was folded, and returns. Whoever reports
//! must have ended before.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use trapline_schemas::{Event, Timestamp, codec};

use super::maker::Maker;
use super::{HITS_MAX, HostEvent, Recorder, Settings};
use crate::journal::{Commit, Journal, JournalError};
use crate::roles::Hit;

/// Hits taken at once.
const BATCH: usize = 256;

/// Bodies handed over at once are at most about this large, bytes: a batch of full captures is split.
const BATCH_BYTES: usize = 1 << 20;

/// Host events that may wait.
const HOST_EVENTS_MAX: usize = 256;

/// How often folded counts are looked at, while there are any.
const FOLDED_EVERY: Duration = Duration::from_secs(1);

/// Where bodies go: the journal, and a channel in tests.
pub trait Append: Send + Sync {
    /// Hands bodies over, waiting for room but not for the disk.
    fn append(&self, bodies: Vec<Bytes>) -> impl Future<Output = Result<(), JournalError>> + Send;
}

impl Append for Journal {
    async fn append(&self, bodies: Vec<Bytes>) -> Result<(), JournalError> {
        let commit = Commit {
            append: bodies,
            ..Commit::default()
        };
        self.enqueue(commit).await
    }
}

/// The recorder's task, to be run by whoever owns the journal.
#[derive(Debug)]
pub struct Task {
    hits: mpsc::Receiver<Hit>,
    host: mpsc::Receiver<HostEvent>,
    maker: Maker,
}

/// A recorder: the handle to report to, and the task to run.
pub fn start(settings: Settings) -> (Recorder, Task) {
    let (hits, hits_in) = mpsc::channel(HITS_MAX);
    let (host, host_in) = mpsc::channel(HOST_EVENTS_MAX);
    let task = Task {
        hits: hits_in,
        host: host_in,
        maker: Maker::new(settings),
    };
    (Recorder { hits, host }, task)
}

impl Task {
    /// Records until `stop`, then what is left.
    pub async fn run(mut self, journal: impl Append, stop: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut tick = tokio::time::interval(FOLDED_EVERY);
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
                _ = tick.tick(), if self.maker.is_folding() => self.tell_folded(&journal).await,
                () = stop.cancelled() => break,
            }
        }
        self.drain(&mut batch, &journal).await;
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
        let mut bodies = Vec::with_capacity(batch.len());
        let mut size = 0;
        for hit in batch.drain(..) {
            let Some(event) = self.maker.event(hit) else {
                continue;
            };
            let body = codec::encode(&event);
            size += body.len();
            bodies.push(Bytes::from(body));
            if size >= BATCH_BYTES {
                hand_over(std::mem::take(&mut bodies), journal).await;
                size = 0;
            }
        }
        hand_over(bodies, journal).await;
    }

    async fn record_host(&mut self, told: HostEvent, journal: &impl Append) {
        let event = self.maker.host(told);
        hand_over(encode(&[event]), journal).await;
    }

    async fn tell_folded(&mut self, journal: &impl Append) {
        let events = self.maker.folded_before(Timestamp::now());
        hand_over(encode(&events), journal).await;
    }

    async fn drain(mut self, batch: &mut Vec<Hit>, journal: &impl Append) {
        self.hits.close();
        self.host.close();
        while self.hits.recv_many(batch, BATCH).await > 0 {
            self.record(batch, journal).await;
        }
        while let Some(told) = self.host.recv().await {
            self.record_host(told, journal).await;
        }
        let events = self.maker.folded();
        hand_over(encode(&events), journal).await;
    }
}

fn encode(events: &[Event]) -> Vec<Bytes> {
    events.iter().map(|event| codec::encode(event).into()).collect()
}

/// The journal keeps what it cannot write yet; it only refuses when it is closed.
async fn hand_over(bodies: Vec<Bytes>, journal: &impl Append) {
    let count = bodies.len();
    if count == 0 {
        return;
    }
    if let Err(error) = journal.append(bodies).await {
        tracing::error!(events.lost = count, error = %error, "journal refused events");
    }
}
