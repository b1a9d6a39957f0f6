//! Events that were called delivered and that the sink may come back to: a protocol without acknowledgements learns
//! late that a connection was lost.

use tokio::sync::watch;
use tracing::{error, warn};
use trapline_sink::{Arrears, Fault, FaultKind};

use super::{Lane, Worker};
use crate::delivery::health::sink_failed;
use crate::journal::Offset;

/// Most events that a sink may come back to.
const SENT_MAX: usize = 10_000;

impl Worker {
    /// Remembers what was delivered, for a sink that may come back to it.
    pub(super) fn remember(&mut self, lane: Lane, delivered: &[Offset]) {
        if self.arrears.is_some() {
            self.sent.extend(delivered.iter().map(|offset| (lane, *offset)));
            let beyond = self.sent.len().saturating_sub(SENT_MAX);
            self.sent.drain(..beyond);
        }
    }

    /// Events of a lane that were called delivered and that the sink may come back to, in order.
    pub(super) fn owed(&self, lane: Lane) -> impl Iterator<Item = Offset> {
        let owed = self.arrears.as_ref().map_or(0, |arrears| arrears.borrow().owed);
        let owed = usize::try_from(owed).unwrap_or(usize::MAX);
        let owed = self.sent.iter().skip(self.sent.len().saturating_sub(owed));
        owed.filter(move |(of, _)| *of == lane).map(|(_, offset)| *offset)
    }

    /// What became of events that were called delivered.
    pub(super) async fn look_after(&mut self, arrears: Arrears) {
        self.write_off(arrears.given_up).await;
        self.note_cursor();
        match arrears.fault {
            Some(fault) => {
                self.in_arrears = true;
                let message = format!("{}; {} events sent before may be unread", fault.message, arrears.owed);
                self.failed(Some(Fault { message, ..fault }), None, self.round).await;
            }
            None if std::mem::take(&mut self.in_arrears) => {
                self.not_before = None;
                self.worked().await;
            }
            None => {}
        }
    }

    /// The sink is closed: what it still owes is read and sent again by the next worker.
    pub(super) async fn settle_arrears(&mut self) {
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
}

/// Waits for news of events that were called delivered; for ever if the sink has none. Cancel: safe.
pub(super) async fn changed(arrears: &mut Option<watch::Receiver<Arrears>>) -> Arrears {
    if let Some(arrears) = arrears
        && arrears.changed().await.is_ok()
    {
        return arrears.borrow_and_update().clone();
    }
    std::future::pending().await
}
