//! What the sink remembers: given back when it is made, kept with the cursor behind the answer that taught it.

use tokio::time::Instant;
use trapline_sink::{Fault, FaultKind, StreamSink};

use super::Worker;
use crate::delivery::memory::{Memory, memory_prefix};
use crate::delivery::store::is_failing;

impl Worker {
    /// Gives a new sink what the journal has of it. Errors: the journal cannot be read now.
    pub(super) async fn remind(&mut self, sink: &dyn StreamSink) -> Result<(), Fault> {
        let rows = self.parts.store.states(&memory_prefix(self.name())).await;
        let rows = rows.map_err(|error| Fault {
            kind: FaultKind::Local,
            message: format!("what it remembers cannot be read: {error}"),
        })?;
        let (memory, told) = Memory::restore(rows, self.name(), self.parts.clock.now());
        self.memory = memory;
        sink.recall(told);
        self.note_memory();
        Ok(())
    }

    /// Takes what the sink wants kept since it was last asked.
    pub(super) fn learn(&mut self, sink: &dyn StreamSink) {
        let memos = sink.memos();
        if !memos.is_empty() {
            let now = self.parts.clock.now();
            self.memory.note(memos, now);
            self.note_memory();
        }
    }

    fn note_memory(&mut self) {
        if self.memory.unkept() > 0 {
            // A disk that fails is asked again when it is due, and not forgotten where the cursor does not move.
            let waits_for_disk = self.save_at.filter(|_| is_failing(self.parts.store.as_ref()));
            self.save_at = Some(waits_for_disk.unwrap_or_else(Instant::now));
        }
    }
}
