//! What goes to the sink, and what its answer means for the queue.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;
use trapline_sink::{Delivery, Fault, FaultKind, StreamSink};

use super::{Lane, Worker};
use crate::delivery::breakdown::{Broken, caught};
use crate::delivery::canary::sights;
use crate::delivery::divide::{Batch, divide};
use crate::journal::JournalError;

/// Longest wait for an answer, should a sink forget its own deadline.
const ANSWER_MAX: Duration = Duration::from_secs(600);

/// A batch that came back.
pub(super) struct Answered {
    lane: Lane,
    batch: Batch,
    delivery: Delivery,
    /// How many tries had failed when it went out.
    round: u32,
    /// How long it took.
    taken: Duration,
}

impl Worker {
    /// Sends what should go now. In trouble one batch at a time asks whether it is over.
    pub(super) fn send(&mut self, sink: &Arc<dyn StreamSink>) {
        let now = Instant::now();
        if self.not_before.is_some_and(|until| now < until) {
            return;
        }
        self.not_before = None;
        while !self.trouble.is_on() || self.under_way.is_empty() {
            let Some((lane, batch)) = self.cut(now) else {
                return;
            };
            self.reloads.mark_unchanged();
            self.tell_status(|status, _| status.totals.batches += 1);
            let answer = deliver(Arc::clone(sink), lane, batch, self.round);
            self.under_way.push(answer.boxed());
        }
    }

    pub(super) async fn answered(&mut self, answered: Answered) -> Result<(), JournalError> {
        let Answered {
            lane,
            batch,
            delivery,
            round,
            taken,
        } = answered;
        let sent = batch.len();
        self.tell_status(|status, now| {
            status.figures.answered(taken);
            if lane == Lane::Live {
                status.figures.delivered(&batch, &delivery, now);
            }
        });
        if lane == Lane::Live {
            self.see_canaries(&batch, &delivery);
        }
        let divided = divide(batch, &delivery);
        let moved = divided.has_moved(sent);
        let again: usize = divided.again.iter().map(Vec::len).sum();
        self.count(divided.delivered.len(), divided.dead.len(), again);
        self.remember(lane, &divided.delivered);
        self.weigh(divided.delivered.len(), &divided.dead).await;
        if delivery.fault.is_some() || delivery.retry_after.is_some() || !moved {
            self.failed(delivery.fault, delivery.retry_after, round).await;
        } else {
            self.worked().await;
        }
        if lane != Lane::Live {
            return self.settle_aside(lane, divided).await;
        }
        divided.delivered.iter().for_each(|offset| self.ledger.finish(*offset));
        self.bury(&divided.dead);
        self.queue.push_again(divided.again);
        self.note_cursor();
        self.settle().await
    }

    fn see_canaries(&self, batch: &Batch, delivery: &Delivery) {
        let (board, name) = (&self.parts.board, self.name());
        for (id, sight) in sights(batch, delivery, || board.word(name)) {
            board.canaries().note(id, name, sight);
        }
    }
}

/// Sends one batch. A sink that panics on it may have met an event it cannot bear, which is looked for by splitting; or
/// it panics on all, so it is paced and alarms, lest a bug make dead letters of everything.
async fn deliver(sink: Arc<dyn StreamSink>, lane: Lane, batch: Batch, round: u32) -> Answered {
    let (count, begun) = (batch.len(), Instant::now());
    let answer = caught(sink.deliver(&batch));
    let delivery = match tokio::time::timeout(ANSWER_MAX, answer).await {
        Ok(Ok(delivery)) => delivery,
        Ok(Err(Broken)) => Delivery {
            fault: Some(Fault {
                kind: FaultKind::Broken,
                message: "it broke down over a batch, which is a bug; see the log".to_owned(),
            }),
            ..Delivery::suspect(count, "the sink broke down over it")
        },
        Err(_) => Delivery::retry(
            count,
            Fault {
                kind: FaultKind::Unreachable,
                message: format!("no answer in {} s", ANSWER_MAX.as_secs()),
            },
        ),
    };
    Answered {
        lane,
        batch,
        delivery,
        round,
        taken: begun.elapsed(),
    }
}
