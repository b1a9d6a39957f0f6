//! A worker that broke down, which is a bug, begins anew with what the journal has, at a bounded pace.
//!
//! What was read and is not settled is read again from the saved cursor, as after a kill: nothing is lost or passed
//! over, and a sink that keeps the order gets at most one batch twice. Memory is not trusted: the bug was in it.

use tokio::time::Instant;
use trapline_sink::{Fault, FaultKind};

use super::Worker;

impl Worker {
    /// Forgets all but how it stands with its sink; what it knows of breakdowns grows by one.
    pub(super) fn begin_anew(&mut self) {
        // What the sink owes may have grown since the cursor was saved.
        let next = self.saved.min(self.cursor());
        let fresh = Self::new(
            self.plan.clone(),
            self.parts.clone(),
            (next, self.reader_at.clone()),
            self.stop.clone(),
            self.reloads.clone(),
        );
        let broken = std::mem::replace(self, fresh);
        self.trouble = broken.trouble;
        // A pause that the destination asked for still holds.
        self.not_before = broken.not_before;
        self.asked_until = broken.asked_until;
        self.breakdowns = broken.breakdowns;
        self.note_breakdown();
    }

    fn note_breakdown(&mut self) {
        let now = Instant::now();
        let wait = self.breakdowns.wait(now, rand::random());
        self.tell_status(|status, _| status.totals.breakdowns += 1);
        let fault = Fault {
            kind: FaultKind::Broken,
            message: "its worker broke down, which is a bug, and begins anew; see the log".to_owned(),
        };
        self.note_failure(Some(fault), None, self.round);
        self.not_before = self.not_before.max(Some(now + wait));
    }

    /// Waits until the worker may begin; `false` if told to stop before. Nothing is read: that may be what broke down.
    pub(super) async fn rest(&mut self) -> bool {
        while let Some(until) = self.not_before.filter(|until| Instant::now() < *until) {
            self.tell().await;
            self.show();
            let wake = self.trouble.due().map_or(until, |due| due.min(until));
            tokio::select! {
                // Cancel: both are safe.
                () = self.stop.cancelled() => return false,
                () = tokio::time::sleep_until(wake) => {}
            }
        }
        true
    }
}
